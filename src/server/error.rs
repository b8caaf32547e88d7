//! Why a server could not be asked: where, what was asked, what came, and what to do.

use std::path::PathBuf;

use thiserror::Error;

/// Why a server could not be asked. Answers that were finished before are kept.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum ServerError {
    /// An address that is none.
    #[error(
        "the server's address {written} {why}\n  An address is http://HOST:PORT/v1#MODEL. A key comes \
         from the environment variable that `api_key_env` under [server] names, or from the file of \
         `api_key_file`."
    )]
    Address {
        /// As written, without what may be a key.
        written: String,
        /// What is wrong with it.
        why: &'static str,
    },
    /// The file of the key.
    #[error(
        "cannot read a key from {}: {why}\n  `api_key_file` under [server] names a file with the key \
         alone; a server that wants none needs no such line.",
        path.display()
    )]
    KeyFile {
        /// Which file.
        path: PathBuf,
        /// Why not.
        why: String,
    },
    /// Nobody answers there.
    #[error(
        "{url}: no server answers there ({what})\n  Start it, or correct the address; inside a \
         container `localhost` is the container itself."
    )]
    NotThere {
        /// The address.
        url: String,
        /// What happened.
        what: String,
    },
    /// It was loading for too long.
    #[error(
        "{url}: still loading after {seconds} s ({what})\n  Wait until it is ready and type the same \
         command again, or raise `wait_s` under [server]."
    )]
    Loading {
        /// The address.
        url: String,
        /// How long it was waited for.
        seconds: usize,
        /// What it said last.
        what: String,
    },
    /// It wants a key, or another one.
    #[error(
        "{url}: {asked} was answered with {status}: {said}\n  It wants a key: set the environment \
         variable {variable}, or name a file of it as `api_key_file` under [server]."
    )]
    Key {
        /// The address.
        url: String,
        /// What was asked.
        asked: String,
        /// The status.
        status: u16,
        /// What it said.
        said: String,
        /// The variable that is read.
        variable: String,
    },
    /// It points elsewhere.
    #[error(
        "{url}: {asked} was redirected to {to}, which is not followed\n  Only the host that was named \
         is asked. If that one is meant, write its address."
    )]
    Redirect {
        /// The address.
        url: String,
        /// What was asked.
        asked: String,
        /// Where to.
        to: String,
    },
    /// It does not speak the API.
    #[error(
        "{url}: {asked} was answered with {what}\n  An OpenAI-compatible API is wanted there; for most \
         servers the address ends in /v1."
    )]
    NotAnApi {
        /// The address.
        url: String,
        /// What was asked.
        asked: String,
        /// What came.
        what: String,
    },
    /// A model has to be named.
    #[error("{url} has {}: name one after `#`, as in {url}#{}", 
        if models.is_empty() { "no model".to_owned() } else { models.join(", ") },
        models.first().map_or("MODEL", String::as_str))]
    WhichModel {
        /// The address.
        url: String,
        /// Its models.
        models: Vec<String>,
    },
    /// It has no such model.
    #[error("{url} has no model {model:?}; it has {}", 
        if models.is_empty() { "none".to_owned() } else { models.join(", ") })]
    NoModel {
        /// The address.
        url: String,
        /// As asked for.
        model: String,
        /// Its models.
        models: Vec<String>,
    },
    /// It refused a request.
    #[error("{url}: {asked} was answered with {said}\n  {way_out}")]
    Refused {
        /// The address.
        url: String,
        /// What was asked.
        asked: String,
        /// Status and text.
        said: String,
        /// What to do.
        way_out: String,
    },
    /// It was given up.
    #[error(
        "{url} was given up: {failures} requests in a row got no usable reply in {tries} tries each; the \
         last, {asked}: {what}\n  {done} of {total} were finished and are kept. When it answers again, \
         the same command goes on from there; `tries` and `timeout_s` under [server] make it more \
         patient."
    )]
    GivenUp {
        /// The address.
        url: String,
        /// What was asked last.
        asked: String,
        /// Requests without a reply.
        failures: usize,
        /// Tries of each.
        tries: usize,
        /// What came.
        what: String,
        /// Replies before.
        done: usize,
        /// Requests in all.
        total: usize,
    },
    /// An adapter cannot be put there.
    #[error("{url}: the adapter {adapter} cannot be asked there: {why}\n  {way_out}")]
    Adapter {
        /// The address.
        url: String,
        /// Which adapter.
        adapter: String,
        /// Why not.
        why: String,
        /// What to do.
        way_out: String,
    },
    /// The user stopped it.
    #[error("interrupted")]
    Interrupted,
}
