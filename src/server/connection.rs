//! One request: a key, a deadline, no redirects, a limit on what is read, tries with pauses.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use serde_json::Value;

use crate::random::Philox;
use crate::text::{ellipsize, harmless};

use super::address::Address;
use super::error::ServerError;
use super::section::{Key, ServerSection};

/// Most bytes of a reply that are read.
const MOST_BYTES: u64 = 16 << 20;
/// The first pause.
const PAUSE: Duration = Duration::from_millis(250);
/// The longest pause of ours.
const LONGEST_PAUSE: Duration = Duration::from_secs(30);
/// The longest pause that a server may ask for.
const LONGEST_ASKED_PAUSE: Duration = Duration::from_secs(600);
/// Time for a connection to open.
const CONNECT: Duration = Duration::from_secs(10);
/// How often a pause looks for the wish to stop.
const GLANCE: Duration = Duration::from_millis(20);
/// Characters of what a server says that are shown.
const SHOWN: usize = 300;

/// What requests are made through.
#[derive(Debug)]
pub(super) struct Connection {
    pub(super) address: Address,
    pub(super) section: ServerSection,
    agent: ureq::Agent,
    key: Option<Key>,
    /// Of the jitter of pauses.
    seed: u64,
}

/// What is sent.
#[derive(Debug, Clone)]
pub(super) struct Sent<'a> {
    /// The whole URL.
    pub url: String,
    /// `None` is a GET.
    pub body: Option<&'a Value>,
    /// What it is, for messages: `POST /v1/chat/completions for code::sort#0`.
    pub asked: String,
}

/// Why one request got nothing.
#[derive(Debug)]
pub(super) enum Failure {
    /// It may succeed later.
    Later(Later),
    /// It never will.
    Never(ServerError),
}

/// Why a request that may succeed later got nothing now.
#[derive(Debug)]
pub(super) struct Later {
    /// In words.
    pub what: String,
    /// How long the server wants to be left alone.
    pub after: Option<Duration>,
    /// The deadline passed: what was waited for so long is not waited for again at once.
    pub timed_out: bool,
    /// The server is there and not ready (503).
    pub loading: bool,
}

impl Later {
    pub(super) fn of(what: String) -> Self {
        Later {
            what,
            after: None,
            timed_out: false,
            loading: false,
        }
    }
}

impl Connection {
    pub(super) fn new(
        address: &Address,
        section: &ServerSection,
        folder: &std::path::Path,
        seed: u64,
    ) -> Result<Self, ServerError> {
        let mut config = ureq::Agent::config_builder()
            .timeout_global(Some(section.timeout()))
            .timeout_connect(Some(CONNECT.min(section.timeout())))
            .http_status_as_error(false)
            .max_redirects(0)
            .max_redirects_will_error(false)
            .max_idle_connections(section.concurrency.max(1))
            .max_idle_connections_per_host(section.concurrency.max(1))
            .user_agent(concat!("qeval/", env!("CARGO_PKG_VERSION")));
        if is_loopback(address) {
            // A proxy of the environment knows another machine's loopback.
            config = config.proxy(None);
        }
        Ok(Connection {
            address: address.clone(),
            section: section.clone(),
            agent: config.build().into(),
            key: section.key(folder)?,
            seed,
        })
    }

    /// A request for the API: `path` begins with a slash.
    pub(super) fn api(&self, path: &str) -> String {
        format!("{}{path}", self.address.url)
    }

    /// A request beside the API.
    pub(super) fn beside(&self, path: &str) -> String {
        format!("{}{path}", self.address.root())
    }

    /// Asks until there is a reply, at most `tries` times, pausing in between.
    pub(super) fn ask<T>(
        &self,
        sent: &Sent<'_>,
        stop: &AtomicBool,
        read: &dyn Fn(Value) -> Result<T, Failure>,
    ) -> Result<T, Failure> {
        let mut attempt = 0;
        loop {
            let later = match self.once(sent).and_then(read) {
                Ok(reply) => return Ok(reply),
                Err(Failure::Never(error)) => return Err(Failure::Never(error)),
                Err(Failure::Later(later)) => later,
            };
            attempt += 1;
            if attempt >= self.section.tries || later.timed_out {
                return Err(Failure::Later(later));
            }
            if !slept(self.pause(&later, 0, attempt), stop) {
                return Err(Failure::Never(ServerError::Interrupted));
            }
        }
    }

    /// How long a request is left alone after so many tries: as the server says, else a pause that
    /// doubles, between half of it and the whole, so that many who failed together do not come back
    /// together. `place` keys the draw.
    pub(super) fn pause(&self, later: &Later, place: u64, attempt: usize) -> Duration {
        if let Some(asked) = later.after {
            return asked;
        }
        let doublings = u32::try_from(attempt.saturating_sub(1))
            .unwrap_or(u32::MAX)
            .min(16);
        let pause = (PAUSE * 2_u32.pow(doublings)).min(LONGEST_PAUSE);
        let counter = [attempt as u32, place as u32, (place >> 32) as u32, 0];
        let word = Philox::new(self.seed).block(counter)[0];
        pause.mul_f64(0.5 + 0.5 * f64::from(word) / f64::from(u32::MAX))
    }

    /// One try, of what is answered in JSON.
    pub(super) fn once(&self, sent: &Sent<'_>) -> Result<Value, Failure> {
        let text = self.text(sent)?;
        serde_json::from_str(&text).map_err(|error| {
            let begins = self.said(text.get(..80).unwrap_or(&text));
            Failure::Later(Later::of(format!(
                "a reply that is no JSON ({error}): {begins:?}"
            )))
        })
    }

    /// One try, with the reply as it stands.
    pub(super) fn text(&self, sent: &Sent<'_>) -> Result<String, Failure> {
        let authorization = self.key.as_ref().map(Key::header);
        let replied = match sent.body {
            None => {
                let mut request = self.agent.get(&sent.url);
                if let Some(key) = &authorization {
                    request = request.header("Authorization", key);
                }
                request.call()
            }
            Some(body) => {
                let mut request = self.agent.post(&sent.url);
                if let Some(key) = &authorization {
                    request = request.header("Authorization", key);
                }
                request.send_json(body)
            }
        };
        let mut response = replied.map_err(|error| self.unsent(&error))?;
        let status = response.status().as_u16();
        if (300..400).contains(&status) {
            let to = response.headers().get("location");
            let to = to.and_then(|to| to.to_str().ok()).unwrap_or("nowhere");
            return Err(Failure::Never(ServerError::Redirect {
                url: self.address.url.clone(),
                asked: sent.asked.clone(),
                to: self.said(to),
            }));
        }
        let after = response.headers().get("retry-after");
        let after = after.and_then(|after| retry_after(after.to_str().ok()?));
        let body = response.body_mut().with_config().limit(MOST_BYTES);
        let bytes = match body.read_to_vec() {
            Ok(bytes) => bytes,
            Err(ureq::Error::BodyExceedsLimit(limit)) => {
                return Err(Failure::Never(ServerError::NotAnApi {
                    url: self.address.url.clone(),
                    asked: sent.asked.clone(),
                    what: format!("more than {} MiB", limit >> 20),
                }));
            }
            Err(error) => return Err(self.unsent(&error)),
        };
        let text = String::from_utf8_lossy(&bytes).into_owned();
        let text = match &self.key {
            Some(key) => key.taken_out_of(text),
            None => text,
        };
        if !(200..300).contains(&status) {
            return Err(self.refused(sent, status, &text, after));
        }
        Ok(text)
    }

    fn refused(
        &self,
        sent: &Sent<'_>,
        status: u16,
        text: &str,
        after: Option<Duration>,
    ) -> Failure {
        let said = self.said(&message_of(text));
        let (url, asked) = (self.address.url.clone(), sent.asked.clone());
        let what = format!("{status}: {said}");
        match status {
            408 | 425 | 429 | 500..600 => Failure::Later(Later {
                after,
                loading: status == 503,
                ..Later::of(what)
            }),
            401 | 403 => Failure::Never(ServerError::Key {
                url,
                asked,
                status,
                said,
                variable: self.section.api_key_env.clone(),
            }),
            _ => Failure::Never(ServerError::Refused {
                url,
                asked,
                said: what,
                way_out: way_out(status, &said),
            }),
        }
    }

    fn unsent(&self, error: &ureq::Error) -> Failure {
        let timed_out = matches!(
            error,
            ureq::Error::Timeout(timeout) if !matches!(timeout, ureq::Timeout::Connect | ureq::Timeout::Resolve)
        );
        let what = match timed_out {
            true => format!("no reply within {} s", self.section.timeout_s),
            false => self.said(&error.to_string()),
        };
        Failure::Later(Later {
            timed_out,
            ..Later::of(what)
        })
    }

    /// What a server said, fit to be shown.
    pub(super) fn said(&self, text: &str) -> String {
        let text = match &self.key {
            Some(key) => key.taken_out_of(text.to_owned()),
            None => text.to_owned(),
        };
        let one_line: Vec<&str> = text.split_whitespace().collect();
        ellipsize(&harmless(&one_line.join(" ")), SHOWN)
    }
}

/// Waits; `false` when it was told to stop.
pub(super) fn slept(wait: Duration, stop: &AtomicBool) -> bool {
    let until = Instant::now() + wait.min(LONGEST_ASKED_PAUSE);
    while !stop.load(Ordering::Relaxed) {
        let left = until.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return true;
        }
        std::thread::sleep(left.min(GLANCE));
    }
    false
}

fn is_loopback(address: &Address) -> bool {
    let authority = address.root().split("://").nth(1).unwrap_or_default();
    let authority = authority.split('/').next().unwrap_or_default();
    authority.starts_with("localhost")
        || authority.starts_with("127.")
        || authority.starts_with("[::1]")
}

/// What a refusal says, in the shapes that servers give it.
fn message_of(text: &str) -> String {
    let parsed: Option<Value> = serde_json::from_str(text).ok();
    let found = parsed.as_ref().and_then(|value| {
        ["/error/message", "/message", "/detail", "/error"]
            .iter()
            .find_map(|place| value.pointer(place)?.as_str())
    });
    match found {
        Some(message) => message.to_owned(),
        None if text.trim().is_empty() => "nothing".to_owned(),
        None => text.to_owned(),
    }
}

fn way_out(status: u16, said: &str) -> String {
    let lower = said.to_lowercase();
    let too_long = ["context", "maximum", "too long", "exceed", "n_ctx"];
    match status {
        404 => "The API or the model is not there: is it the right address, ending in /v1, and the right \
                model?"
            .into(),
        400 | 413 | 422 if too_long.iter().any(|word| lower.contains(word)) => {
            "The prompt with its answer has no room there: serve the model with a larger context \
             (`--max-model-len` of vLLM, `-c` of llama-server), or shorten the prompt or \
             `max_new_tokens`."
                .into()
        }
        _ => "The same request would be refused again, so nothing more was asked.".into(),
    }
}

/// `Retry-After`: seconds, or a date.
fn retry_after(text: &str) -> Option<Duration> {
    let text = text.trim();
    if let Ok(seconds) = text.parse::<f64>() {
        return (seconds >= 0.0 && seconds.is_finite())
            .then(|| Duration::from_secs_f64(seconds.min(LONGEST_ASKED_PAUSE.as_secs_f64())));
    }
    let at = http_date(text)?;
    let now = SystemTime::now().duration_since(UNIX_EPOCH).ok()?.as_secs();
    Some(Duration::from_secs(at.saturating_sub(now)).min(LONGEST_ASKED_PAUSE))
}

/// Seconds since 1970 of `Sun, 06 Nov 1994 08:49:37 GMT`.
fn http_date(text: &str) -> Option<u64> {
    let (_, date) = text.split_once(", ")?;
    let mut parts = date.split([' ', ':']);
    let number = |of: Option<&str>| of?.parse::<u64>().ok();
    let day = number(parts.next()).filter(|day| (1..=31).contains(day))?;
    let month = parts.next()?;
    let months = "JanFebMarAprMayJunJulAugSepOctNovDec";
    let month = months.find(month).filter(|at| at % 3 == 0)? as u64 / 3 + 1;
    let year = number(parts.next()).filter(|year| (1970..10_000).contains(year))?;
    let mut below = |most: u64| number(parts.next()).filter(|n| *n < most);
    let (hour, minute, second) = (below(24)?, below(60)?, below(61)?);
    // Days since 1970 by the civil calendar, years beginning in March.
    let (y, m) = match month {
        1 | 2 => (year - 1, month + 9),
        _ => (year, month - 3),
    };
    let days = 365 * y + y / 4 - y / 100 + y / 400 + (153 * m + 2) / 5 + day;
    days.checked_sub(719_469)
        .map(|days| days * 86_400 + hour * 3600 + minute * 60 + second)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_says_when_to_come_back_in_seconds_or_by_a_date() {
        assert_eq!(retry_after("2"), Some(Duration::from_secs(2)));
        assert_eq!(retry_after("0.5"), Some(Duration::from_millis(500)));
        assert_eq!(retry_after("1e99"), Some(LONGEST_ASKED_PAUSE));
        assert_eq!(retry_after("-1"), None);
        assert_eq!(retry_after("soon"), None);
        // date -u -d 'Sun, 06 Nov 1994 08:49:37 GMT' +%s
        assert_eq!(
            http_date("Sun, 06 Nov 1994 08:49:37 GMT"),
            Some(784_111_777)
        );
        // date -u -d 'Thu, 29 Feb 2024 23:59:59 GMT' +%s
        assert_eq!(
            http_date("Thu, 29 Feb 2024 23:59:59 GMT"),
            Some(1_709_251_199)
        );
        assert_eq!(http_date("Thu, 01 Jan 1970 00:00:00 GMT"), Some(0));
        assert_eq!(http_date("Thu, 01 Foo 1970 00:00:00 GMT"), None);
        assert_eq!(
            http_date(&format!("Thu, {} Jan 1970 00:00:00 GMT", u64::MAX)),
            None
        );
        assert_eq!(
            retry_after("Sun, 06 Nov 1994 08:49:37 GMT"),
            Some(Duration::ZERO)
        );
    }

    #[test]
    fn what_a_refusal_says_is_found_in_every_shape() {
        for text in [
            r#"{"error": {"message": "no such model", "code": 404}}"#,
            r#"{"object": "error", "message": "no such model"}"#,
            r#"{"detail": "no such model"}"#,
            r#"{"error": "no such model"}"#,
            "no such model",
        ] {
            assert_eq!(message_of(text), "no such model");
        }
        assert_eq!(message_of(" "), "nothing");
    }
}
