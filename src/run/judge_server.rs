//! A judge behind an OpenAI-compatible server (vLLM, llama.cpp, a hosted model): one chat
//! completion of one token a question, read by its log-probabilities.

use std::sync::Mutex;
use std::sync::PoisonError;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use serde::Deserialize;
use serde_json::json;

use crate::check::Judgement;
use crate::flow::RunEvent;

use super::asking::Bar;
use super::error::RunError;
use super::interrupt::Interrupt;
use super::rubric::{RubricQuestion, SYSTEM};

/// Requests under way at once.
const AT_ONCE: usize = 8;
/// Time for one request.
const TIMEOUT: Duration = Duration::from_secs(60);
/// Tries of one request; a busy server is asked again after a pause that doubles.
const TRIES: u32 = 4;
/// The first pause.
const PAUSE: Duration = Duration::from_millis(250);
/// Alternatives of the first token that are asked for; more is refused by OpenAI's servers.
const ALTERNATIVES: usize = 20;

/// A server and one of its models.
#[derive(Debug)]
pub struct JudgeServer {
    url: String,
    /// The model's name on the server.
    pub model: String,
    key: Option<String>,
    agent: ureq::Agent,
}

#[derive(Deserialize)]
struct Reply {
    choices: Vec<Choice>,
}

#[derive(Deserialize)]
struct Choice {
    message: Message,
    #[serde(default)]
    logprobs: Option<Logprobs>,
}

#[derive(Deserialize)]
struct Message {
    #[serde(default)]
    content: Option<String>,
}

#[derive(Deserialize)]
struct Logprobs {
    #[serde(default)]
    content: Option<Vec<TokenLogprobs>>,
}

#[derive(Deserialize)]
struct TokenLogprobs {
    #[serde(default)]
    top_logprobs: Vec<Alternative>,
}

#[derive(Deserialize)]
struct Alternative {
    token: String,
    logprob: f64,
}

impl JudgeServer {
    /// The server of `http://host:8000/v1#model`.
    ///
    /// # Errors
    /// The text is no such address.
    pub fn new(address: &str, key_variable: &str) -> Result<Self, RunError> {
        let parts = address.split_once('#').filter(|(url, model)| {
            (url.starts_with("http://") || url.starts_with("https://")) && !model.is_empty()
        });
        let Some((url, model)) = parts else {
            return Err(RunError::Judge {
                judge: address.to_owned(),
            });
        };
        let config = ureq::Agent::config_builder()
            .timeout_global(Some(TIMEOUT))
            .http_status_as_error(false)
            .build();
        Ok(JudgeServer {
            url: format!("{}/chat/completions", url.trim_end_matches('/')),
            model: model.to_owned(),
            key: std::env::var(key_variable).ok().filter(|k| !k.is_empty()),
            agent: config.into(),
        })
    }

    /// What the server says of each answer; `None` where it did not reply, or neither with yes
    /// nor with no. The first problem becomes a notice.
    ///
    /// # Errors
    /// An interrupt: no further question is asked, and those under way are waited for.
    pub fn ask(
        &self,
        asks: &[RubricQuestion],
        bar: Bar,
        interrupt: &Interrupt,
        on_event: &mut dyn FnMut(RunEvent),
    ) -> Result<Vec<Option<Judgement>>, RunError> {
        let phase = bar.phase;
        on_event(RunEvent::Begin {
            phase,
            total: bar.total,
            done: bar.done,
            label: bar.label,
        });
        let next = AtomicUsize::new(0);
        let said = Mutex::new(vec![None; asks.len()]);
        let problem = Mutex::new(None);
        let (done, finished) = std::sync::mpsc::channel();
        std::thread::scope(|scope| {
            for _ in 0..AT_ONCE.min(asks.len()) {
                let (next, said, problem, done) = (&next, &said, &problem, done.clone());
                scope.spawn(move || {
                    loop {
                        let place = next.fetch_add(1, Ordering::Relaxed);
                        let Some(ask) = asks.get(place).filter(|_| !interrupt.is_set()) else {
                            return;
                        };
                        let judged = self.judge(ask);
                        match judged {
                            Ok(judgement) => {
                                said.lock().unwrap_or_else(PoisonError::into_inner)[place] =
                                    judgement;
                            }
                            Err(what) => {
                                problem
                                    .lock()
                                    .unwrap_or_else(PoisonError::into_inner)
                                    .get_or_insert(what);
                            }
                        }
                        // The receiver outlives the threads.
                        let _ = done.send(());
                    }
                });
            }
            drop(done);
            for () in finished {
                on_event(RunEvent::Progress {
                    phase,
                    more: 1,
                    tokens: 0,
                    note: None,
                });
            }
        });
        if let Some(what) = problem.into_inner().unwrap_or_else(PoisonError::into_inner) {
            on_event(RunEvent::Notice(format!(
                "{} did not judge every answer, and those stay unscored: {what}",
                self.url
            )));
        }
        on_event(RunEvent::End { phase });
        match interrupt.is_set() {
            true => Err(RunError::Interrupted),
            false => Ok(said.into_inner().unwrap_or_else(PoisonError::into_inner)),
        }
    }

    fn judge(&self, ask: &RubricQuestion) -> Result<Option<Judgement>, String> {
        let yes_first = self.reply(&ask.question(true))?;
        let no_first = self.reply(&ask.question(false))?;
        Ok(yes_first
            .zip(no_first)
            .map(|(yes_first, no_first)| Judgement {
                yes_first,
                no_first,
            }))
    }

    /// Probability of yes against no.
    fn reply(&self, question: &str) -> Result<Option<f64>, String> {
        let body = json!({
            "model": self.model,
            "messages": [
                { "role": "system", "content": SYSTEM },
                { "role": "user", "content": question },
            ],
            "max_tokens": 1,
            "temperature": 0,
            "logprobs": true,
            "top_logprobs": ALTERNATIVES,
        });
        let mut pause = PAUSE;
        for last in (0..TRIES).rev() {
            let mut request = self.agent.post(&self.url);
            if let Some(key) = &self.key {
                request = request.header("Authorization", format!("Bearer {key}"));
            }
            let problem = match request.send_json(&body) {
                Ok(mut response) if response.status().is_success() => {
                    let reply: Reply = response
                        .body_mut()
                        .read_json()
                        .map_err(|e| format!("a reply that is no chat completion: {e}"))?;
                    return Ok(reply.choices.first().and_then(share_of_yes));
                }
                Ok(mut response) => {
                    let status = response.status();
                    let text = response.body_mut().read_to_string().unwrap_or_default();
                    let said = crate::text::ellipsize(text.trim(), 200);
                    let problem = format!("{status} {said}");
                    if !(status.is_server_error() || status.as_u16() == 429) {
                        return Err(problem);
                    }
                    problem
                }
                Err(error) => error.to_string(),
            };
            if last == 0 {
                return Err(problem);
            }
            std::thread::sleep(pause);
            pause *= 2;
        }
        Ok(None)
    }
}

/// The first word of a reply as yes (true) or no.
fn word(text: &str) -> Option<bool> {
    let text = text.trim().to_lowercase();
    let starts = |words: &[&str]| words.iter().any(|w| text == *w);
    if starts(&["yes", "是"]) {
        Some(true)
    } else {
        starts(&["no", "否", "不"]).then_some(false)
    }
}

fn share_of_yes(choice: &Choice) -> Option<f64> {
    let tokens = choice.logprobs.as_ref().and_then(|l| l.content.as_ref());
    let alternatives = tokens.and_then(|t| t.first()).map(|t| &t.top_logprobs);
    let mass = |wanted: bool| -> f64 {
        let all = alternatives.into_iter().flatten();
        all.filter(|a| word(&a.token) == Some(wanted))
            .map(|a| a.logprob.exp())
            .sum()
    };
    let (yes, no) = (mass(true), mass(false));
    if yes + no > 0.0 {
        return Some(yes / (yes + no));
    }
    // A server without log-probabilities still says a word.
    let said = choice.message.content.as_deref().unwrap_or_default();
    let first = said.split(|c: char| !c.is_alphanumeric()).next();
    first.and_then(word).map(|yes| f64::from(u8::from(yes)))
}

#[cfg(test)]
mod tests {
    use std::io::{BufRead, BufReader, Read, Write};
    use std::net::TcpListener;

    use super::*;
    use crate::flow::Phase;

    fn choice(json: serde_json::Value) -> Choice {
        serde_json::from_value(json).unwrap()
    }

    #[test]
    fn log_probabilities_are_read_before_the_word() {
        let by_mass = choice(json!({
            "message": { "content": "No" },
            "logprobs": { "content": [ { "top_logprobs": [
                { "token": " Yes", "logprob": 0.6_f64.ln() },
                { "token": "no", "logprob": 0.2_f64.ln() },
                { "token": "Maybe", "logprob": 0.1_f64.ln() },
            ] } ] },
        }));
        assert!((share_of_yes(&by_mass).unwrap() - 0.75).abs() < 1e-9);
        let by_word = choice(json!({ "message": { "content": "Yes." } }));
        assert_eq!(share_of_yes(&by_word), Some(1.0));
        let neither = choice(json!({ "message": { "content": "Perhaps" } }));
        assert_eq!(share_of_yes(&neither), None);
    }

    #[test]
    fn an_address_has_a_model() {
        for wrong in [
            "",
            "gpt-4",
            "http://host/v1",
            "http://host/v1#",
            "ftp://host#m",
        ] {
            assert!(JudgeServer::new(wrong, "NONE").is_err(), "{wrong}");
        }
        let server = JudgeServer::new("http://host:8000/v1/#m", "NONE").unwrap();
        assert_eq!(server.url, "http://host:8000/v1/chat/completions");
    }

    /// Serves what `reply` says to each request body, one connection after another.
    fn serve(
        reply: impl Fn(usize, &serde_json::Value) -> (u16, String) + Send + 'static,
    ) -> String {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        std::thread::spawn(move || {
            for (n, stream) in listener.incoming().enumerate() {
                let mut stream = stream.unwrap();
                let mut reader = BufReader::new(stream.try_clone().unwrap());
                let mut length = 0;
                loop {
                    let mut line = String::new();
                    reader.read_line(&mut line).unwrap();
                    let lower = line.to_lowercase();
                    if let Some(value) = lower.strip_prefix("content-length:") {
                        length = value.trim().parse().unwrap();
                    }
                    if line.trim().is_empty() {
                        break;
                    }
                }
                let mut body = vec![0; length];
                reader.read_exact(&mut body).unwrap();
                let (status, text) = reply(n, &serde_json::from_slice(&body).unwrap());
                let head = format!(
                    "HTTP/1.1 {status} X\r\ncontent-length: {}\r\nconnection: close\r\n\r\n",
                    text.len()
                );
                stream.write_all((head + &text).as_bytes()).unwrap();
            }
        });
        format!("http://{address}/v1#judge")
    }

    fn ask(answer: &str) -> RubricQuestion {
        RubricQuestion {
            prompt: "What is 2 + 2?".into(),
            answer: answer.into(),
            rubric: "The answer is 4.".into(),
        }
    }

    fn put(
        server: &JudgeServer,
        interrupt: &Interrupt,
        on_event: &mut dyn FnMut(RunEvent),
    ) -> Result<Vec<Option<Judgement>>, RunError> {
        let bar = Bar::new(Phase::Judging, "judge", 2);
        server.ask(&[ask("4"), ask("5")], bar, interrupt, on_event)
    }

    #[test]
    fn an_interrupt_asks_nothing_more() {
        let address = serve(|_, _| panic!("nothing is asked after an interrupt"));
        let server = JudgeServer::new(&address, "NONE").unwrap();
        let interrupt = Interrupt::default();
        interrupt.set();
        let said = put(&server, &interrupt, &mut |_| {});
        assert!(matches!(said, Err(RunError::Interrupted)));
    }

    #[test]
    fn a_busy_server_is_asked_again_and_both_orders_are_asked() {
        let address = serve(|n, body| {
            let question = body["messages"][1]["content"].as_str().unwrap();
            let yes = question.contains("Answer:\n4");
            let word = if yes { "Yes" } else { "No" };
            match n {
                0 => (503, "busy".into()),
                _ => (
                    200,
                    json!({ "choices": [{ "message": { "content": word } }] }).to_string(),
                ),
            }
        });
        let server = JudgeServer::new(&address, "NONE").unwrap();
        let said = put(&server, &Interrupt::default(), &mut |_| {}).unwrap();
        let both = |p: f64| Judgement {
            yes_first: p,
            no_first: p,
        };
        assert_eq!(said, [Some(both(1.0)), Some(both(0.0))]);
    }

    #[test]
    fn a_refusal_is_told_once_and_judges_nothing() {
        let address = serve(|_, _| (401, "wrong key".into()));
        let server = JudgeServer::new(&address, "NONE").unwrap();
        let mut notices = Vec::new();
        let said = put(&server, &Interrupt::default(), &mut |event| {
            if let RunEvent::Notice(text) = event {
                notices.push(text);
            }
        });
        let said = said.unwrap();
        assert_eq!(said, [None, None]);
        assert_eq!(notices.len(), 1);
        assert!(
            notices[0].contains("401") && notices[0].contains("wrong key"),
            "{notices:?}"
        );
    }
}
