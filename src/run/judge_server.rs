//! A judge behind an OpenAI-compatible server (vLLM, llama.cpp, a hosted model): one chat
//! completion of one token a question, read by its log-probabilities.
//!
//! A server may accept and never answer. Requests are therefore made by threads that nobody has to
//! wait for: an interrupt is obeyed at once, and after a few requests in a row without a reply the
//! server is given up for the rest of the run.

use std::sync::atomic::{AtomicBool, AtomicU32, AtomicUsize, Ordering};
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

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
/// Time for one request: a server may first have to load its model.
const TIMEOUT: Duration = Duration::from_secs(60);
/// Time without any reply after which the user is told what is waited for.
const SILENCE: Duration = Duration::from_secs(10);
/// Requests in a row without a reply after which the server is given up.
const GIVE_UP: u32 = 4;
/// How often the wish to stop is looked for.
const GLANCE: Duration = Duration::from_millis(50);
/// Tries of one request; a busy server is asked again after a pause that doubles.
const TRIES: u32 = 4;
/// The first pause.
const PAUSE: Duration = Duration::from_millis(250);
/// Alternatives of the first token that are asked for; more is refused by OpenAI's servers.
const ALTERNATIVES: usize = 20;

/// A server and one of its models.
#[derive(Debug)]
pub struct JudgeServer {
    /// The model's name on the server.
    pub model: String,
    connection: Arc<Connection>,
}

/// What requests are made through.
#[derive(Debug)]
struct Connection {
    url: String,
    model: String,
    key: Option<String>,
    agent: ureq::Agent,
    timeout: Duration,
    /// Requests without a reply since the last one that got one.
    failed: AtomicU32,
    /// Whether any request got none.
    missed: AtomicBool,
    /// The first problem of those that led to giving up.
    given_up: Mutex<Option<String>>,
}

/// Questions that are shared out among threads.
struct Round {
    asks: Vec<RubricQuestion>,
    next: AtomicUsize,
    /// Nobody waits any more.
    over: AtomicBool,
}

/// What came of one question.
struct Judged {
    place: usize,
    judgement: Result<Option<Judgement>, String>,
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
        Ok(Self::with_timeout(
            url,
            model,
            std::env::var(key_variable).ok(),
            TIMEOUT,
        ))
    }

    fn with_timeout(url: &str, model: &str, key: Option<String>, timeout: Duration) -> Self {
        let config = ureq::Agent::config_builder()
            .timeout_global(Some(timeout))
            .http_status_as_error(false)
            .build();
        JudgeServer {
            model: model.to_owned(),
            connection: Arc::new(Connection {
                url: format!("{}/chat/completions", url.trim_end_matches('/')),
                model: model.to_owned(),
                key: key.filter(|k| !k.is_empty()),
                agent: config.into(),
                timeout,
                failed: AtomicU32::new(0),
                missed: AtomicBool::new(false),
                given_up: Mutex::default(),
            }),
        }
    }

    /// Whether the server was given up: it is asked nothing more.
    pub fn is_given_up(&self) -> bool {
        self.connection.given_up().is_some()
    }

    /// Whether any question got no reply, so that what was not said tells nothing of a judgement.
    pub fn has_missed(&self) -> bool {
        self.connection.missed.load(Ordering::Relaxed)
    }

    /// What the server says of each answer; `None` where it did not reply, or neither with yes
    /// nor with no. The first problem becomes a notice. A server that is given up is asked nothing
    /// more.
    ///
    /// # Errors
    /// An interrupt: no further question is asked, and those under way are not waited for.
    pub fn ask(
        &self,
        asks: &[RubricQuestion],
        bar: Bar,
        interrupt: &Interrupt,
        on_event: &mut dyn FnMut(RunEvent),
    ) -> Result<Vec<Option<Judgement>>, RunError> {
        let mut said = vec![None; asks.len()];
        let url = &self.connection.url;
        // Said when it was given up.
        if self.is_given_up() {
            return Ok(said);
        }
        let _looks = interrupt.glances();
        let phase = bar.phase;
        on_event(RunEvent::Begin {
            phase,
            total: bar.total,
            done: bar.done,
            label: bar.label,
        });
        let round = Arc::new(Round {
            asks: asks.to_vec(),
            next: AtomicUsize::new(0),
            over: interrupt.is_set().into(),
        });
        let (tell, told) = channel();
        for _ in 0..AT_ONCE.min(asks.len()) {
            let (connection, round, tell) = (self.connection.clone(), round.clone(), tell.clone());
            std::thread::spawn(move || connection.work(&round, &tell));
        }
        drop(tell);
        let (mut judged, mut problem) = (0, None);
        let mut silent_since = Some(Instant::now());
        loop {
            if interrupt.is_set() {
                round.over.store(true, Ordering::Relaxed);
                on_event(RunEvent::End { phase });
                return Err(RunError::Interrupted);
            }
            match told.recv_timeout(GLANCE) {
                Ok(Judged { place, judgement }) => {
                    silent_since = None;
                    match judgement {
                        Ok(judgement) => {
                            said[place] = judgement;
                            judged += 1;
                        }
                        Err(what) => _ = problem.get_or_insert(what),
                    }
                    on_event(RunEvent::Progress {
                        phase,
                        more: 1,
                        tokens: 0,
                        note: None,
                    });
                }
                Err(RecvTimeoutError::Disconnected) => break,
                Err(RecvTimeoutError::Timeout) => {
                    if silent_since.is_some_and(|since| since.elapsed() >= SILENCE) {
                        silent_since = None;
                        on_event(RunEvent::Notice(format!(
                            "{url} accepts questions and has not replied for {} s; it is given up \
                             after {} s",
                            SILENCE.as_secs(),
                            self.connection.timeout.as_secs()
                        )));
                    }
                }
            }
        }
        if let Some(what) = self.connection.given_up() {
            on_event(RunEvent::Notice(format!(
                "{url} was given up after {GIVE_UP} requests in a row without a reply ({what}): \
                 {judged} of {} answers were judged, the others stay unscored; when it replies \
                 again, the same command judges them",
                asks.len()
            )));
        } else if let Some(what) = problem {
            on_event(RunEvent::Notice(format!(
                "{url} did not judge every answer, and those stay unscored: {what}"
            )));
        }
        on_event(RunEvent::End { phase });
        Ok(said)
    }
}

impl Connection {
    /// Asks what is left of a round, until nothing is, nobody waits, or the server is given up.
    fn work(&self, round: &Round, tell: &Sender<Judged>) {
        while !round.over.load(Ordering::Relaxed) && self.given_up().is_none() {
            let place = round.next.fetch_add(1, Ordering::Relaxed);
            let Some(ask) = round.asks.get(place) else {
                return;
            };
            let judgement = self.judge(ask);
            if tell.send(Judged { place, judgement }).is_err() {
                return;
            }
        }
    }

    fn given_up(&self) -> Option<String> {
        let given_up = self.given_up.lock();
        given_up.unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Counts a request without a reply.
    fn failed(&self, what: String) -> String {
        self.missed.store(true, Ordering::Relaxed);
        if self.failed.fetch_add(1, Ordering::Relaxed) + 1 >= GIVE_UP {
            let given_up = self.given_up.lock();
            let mut given_up = given_up.unwrap_or_else(PoisonError::into_inner);
            given_up.get_or_insert_with(|| what.clone());
        }
        what
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
            let (problem, again) = match request.send_json(&body) {
                Ok(mut response) if response.status().is_success() => {
                    match response.body_mut().read_json::<Reply>() {
                        Ok(reply) => {
                            self.failed.store(0, Ordering::Relaxed);
                            return Ok(reply.choices.first().and_then(share_of_yes));
                        }
                        Err(error) => {
                            let timed_out = matches!(error, ureq::Error::Timeout(_));
                            let what = match timed_out {
                                true => self.no_reply(),
                                false => format!("a reply that is no chat completion: {error}"),
                            };
                            (what, false)
                        }
                    }
                }
                Ok(mut response) => {
                    let status = response.status();
                    let text = response.body_mut().read_to_string().unwrap_or_default();
                    let said = crate::text::ellipsize(text.trim(), 200);
                    let again = status.is_server_error() || status.as_u16() == 429;
                    (format!("{status} {said}"), again)
                }
                // What was waited for so long is not waited for once more.
                Err(ureq::Error::Timeout(_)) => (self.no_reply(), false),
                Err(error) => (error.to_string(), true),
            };
            if last == 0 || !again || self.given_up().is_some() {
                return Err(self.failed(problem));
            }
            std::thread::sleep(pause);
            pause *= 2;
        }
        Ok(None)
    }

    fn no_reply(&self) -> String {
        format!("no reply within {} s", self.timeout.as_secs_f32())
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
        assert_eq!(
            server.connection.url,
            "http://host:8000/v1/chat/completions"
        );
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

    /// A server that accepts connections and says nothing, and how many it has accepted.
    fn silent() -> (String, Arc<AtomicUsize>) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}/v1", listener.local_addr().unwrap());
        let accepted = Arc::new(AtomicUsize::new(0));
        let count = accepted.clone();
        std::thread::spawn(move || {
            let mut open = Vec::new();
            for stream in listener.incoming() {
                count.fetch_add(1, Ordering::Relaxed);
                open.push(stream.unwrap());
            }
        });
        (url, accepted)
    }

    #[test]
    fn a_server_that_accepts_and_never_answers_is_given_up() {
        let (url, accepted) = silent();
        let timeout = Duration::from_millis(200);
        let server = JudgeServer::with_timeout(&url, "m", None, timeout);
        let mut notices = Vec::new();
        let mut hear = |event| {
            if let RunEvent::Notice(text) = event {
                notices.push(text);
            }
        };
        let started = Instant::now();
        for _ in 0..2 {
            let asks = vec![ask("4"); 100];
            let bar = Bar::new(Phase::Judging, "judge", 100);
            let said = server.ask(&asks, bar, &Interrupt::default(), &mut hear);
            assert_eq!(said.unwrap(), vec![None; 100]);
        }
        assert!(server.is_given_up());
        assert!(started.elapsed() < Duration::from_secs(10));
        // Those that were under way beside each other, and no more.
        let accepted = accepted.load(Ordering::Relaxed);
        assert!(accepted <= 2 * AT_ONCE, "{accepted}");
        let notice = notices.join("\n").replace(&url, "[url]");
        insta::assert_snapshot!(notice, @"[url]/chat/completions was given up after 4 requests in a row without a reply (no reply within 0.2 s): 0 of 100 answers were judged, the others stay unscored; when it replies again, the same command judges them");
    }

    #[test]
    fn an_interrupt_does_not_wait_for_a_server_that_is_silent() {
        let (url, accepted) = silent();
        let server = JudgeServer::with_timeout(&url, "m", None, TIMEOUT);
        let interrupt = Interrupt::default();
        let user = interrupt.clone();
        std::thread::spawn(move || {
            while accepted.load(Ordering::Relaxed) == 0 {
                std::thread::sleep(Duration::from_millis(1));
            }
            user.set();
        });
        let started = Instant::now();
        let said = put(&server, &interrupt, &mut |_| {});
        assert!(matches!(said, Err(RunError::Interrupted)));
        assert!(started.elapsed() < TIMEOUT / 4);
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
