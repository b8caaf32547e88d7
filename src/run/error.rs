//! Why a run could not measure.

use std::path::PathBuf;

use thiserror::Error;

use crate::chat::ChatError;
use crate::check::CheckError;
use crate::flow::CaseId;
use crate::gate::GateError;
use crate::hub::HubError;
use crate::lora::LoraError;
use crate::model::ModelError;
use crate::record::RecordError;
use crate::server::ServerError;
use crate::suite::SuiteErrors;
use crate::train::{DataError, TrainError};

/// Why a run could not measure. Everything that was finished before is on disk.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum RunError {
    /// The model could not be found or fetched.
    #[error(transparent)]
    Hub(#[from] HubError),
    /// The model cannot be loaded.
    #[error(transparent)]
    Model(#[from] ModelError),
    /// Tokenizer or chat template.
    #[error(transparent)]
    Chat(#[from] ChatError),
    /// An adapter cannot be loaded.
    #[error(transparent)]
    Adapter(#[from] LoraError),
    /// A suite is wrong.
    #[error(transparent)]
    Suite(#[from] SuiteErrors),
    /// A check is wrong.
    #[error(transparent)]
    Check(#[from] CheckError),
    /// Records cannot be read or written.
    #[error(transparent)]
    Record(#[from] RecordError),
    /// Training data is wrong.
    #[error(transparent)]
    Data(#[from] DataError),
    /// Training failed.
    #[error(transparent)]
    Train(#[from] TrainError),
    /// The gate's settings are wrong.
    #[error("{}", .0.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n"))]
    Gate(Vec<GateError>),
    /// The preflight found what would silently do nothing.
    #[error("the run would not do what its settings say:\n{}", .0.join("\n"))]
    Preflight(Vec<String>),
    /// The model has no chat template.
    #[error(
        "{} has no chat template, so prompts cannot be put to it as its authors trained it; write \
         one, or copy that of the model which it was made from, to {}",
        path.display(),
        if path.is_dir() { path.join("chat_template.jinja") } else { path.with_extension("jinja") }
            .display()
    )]
    NoTemplate {
        /// The model.
        path: PathBuf,
    },
    /// Nothing ends an answer.
    #[error(
        "{}: no token ends an answer: neither its files nor its chat template name one, so every \
         answer would run to `max_new_tokens`; write `eos_token_id` into generation_config.json \
         beside it, or take a model whose chat template ends its turns", path.display()
    )]
    NoEnd {
        /// The model.
        path: PathBuf,
    },
    /// A prompt does not fit the model's context.
    #[error(
        "{case}: the prompt has {prompt} tokens and the answer up to {answer}, the model's context \
         {context}; shorten the prompt or lower max_new_tokens"
    )]
    TooLong {
        /// Which prompt.
        case: CaseId,
        /// Tokens of the rendered prompt.
        prompt: usize,
        /// Tokens wanted after it.
        answer: usize,
        /// Positions that the model has.
        context: usize,
    },
    /// Something outside the suites does not fit the model's context.
    #[error(
        "{what}: the longest prompt with its answer has {positions} tokens, the model's context \
         {context}; shorten it"
    )]
    BeyondContext {
        /// What was asked.
        what: String,
        /// Tokens wanted.
        positions: usize,
        /// Positions that the model has.
        context: usize,
    },
    /// Not even one answer fits into memory beside the model.
    #[error(
        "{what}: memory is full: one answer with its prompt, of up to {positions} tokens, takes \
         {takes}, and {available} are available; lower `max_new_tokens`, shorten the longest prompt, \
         or end other programs"
    )]
    NoRoom {
        /// What was asked.
        what: String,
        /// Tokens wanted.
        positions: usize,
        /// How much they take.
        takes: String,
        /// How much there is.
        available: String,
    },
    /// A text whose likelihood is wanted has no token.
    #[error("{case}: the text {text:?} has no token, so it has no likelihood; give a longer one")]
    NoTokens {
        /// Which prompt.
        case: CaseId,
        /// The text.
        text: String,
    },
    /// A judge's address is none.
    #[error(
        "the judge `{judge}` is neither `base` nor a server with a model, such as \
         http://localhost:8000/v1#Qwen2.5-7B-Instruct"
    )]
    Judge {
        /// What was written.
        judge: String,
    },
    /// The asynchronous runtime could not start.
    #[error(
        "cannot start the runtime for child processes: {0}; close other programs and try again"
    )]
    Runtime(std::io::Error),
    /// What is to be tuned cannot be.
    #[error("{0}")]
    Tune(String),
    /// A model behind a server where one has to be loaded.
    #[error(
        "{model} is a model behind a server, and this needs one that is loaded here: `run`, `show`, \
         `diff`, and `gate` ask servers; for the rest name a folder, a GGUF file, or a hub id with \
         `--model`"
    )]
    NotLoadedHere {
        /// Its address.
        model: String,
    },
    /// Devices that would have to share answers and are not of one kind.
    #[error(
        "`--device` names {one} and {other}: answers would not have the same bits; name GPUs of one \
         kind, or one of them"
    )]
    UnlikeDevices {
        /// The first one.
        one: String,
        /// One that differs.
        other: String,
    },
    /// A server could not be asked.
    #[error(transparent)]
    Server(ServerError),
    /// The user ended the run.
    #[error("interrupted; what was finished is kept, and the same command goes on from there")]
    Interrupted,
}

impl From<ServerError> for RunError {
    fn from(error: ServerError) -> Self {
        match error {
            ServerError::Interrupted => RunError::Interrupted,
            error => RunError::Server(error),
        }
    }
}
