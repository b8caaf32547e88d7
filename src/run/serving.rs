//! A model behind a server as what answers an evaluation: conversations go there, texts with a finish
//! reason come back, and everything after that is as with the local engine.
//!
//! A cut answer stays cut: there is no cache to go on from. Where the server cannot say how likely it
//! finds a given text, the probes that want to know are left out ([`Score::why_not_measurable`]).
//!
//! [`Score::why_not_measurable`]: crate::flow::Score::why_not_measurable

use std::cell::RefCell;

use serde_json::{Map, Value, json};

use crate::digest;
use crate::flow::{
    AdapterRef, Answer, Finish, Likelihood, Measurement, Probe, RunEvent, Subject, Thought,
};
use crate::record::{
    Header, RunLock, ServerRecord, Store, served_answer_key, served_likelihood_key,
};
use crate::server::{
    Asked, Chat, Replied, Reply, Server, ServerError, Turn, Weigh, WeighAfter, Weighing,
};
use crate::text::plural;

use super::asking::{Asking, Bar};
use super::built_checks::ProbeChecks;
use super::error::RunError;
use super::evaluate::Measuring;
use super::interrupt::Interrupt;
use super::judge::JudgeSettings;
use super::questions::{Question, Questions};
use super::rendering::Rendering;
use super::respondent::{Found, OnFound, PieceOf, Respondent, Round};
use super::scoring::Scoring;

/// A prompt of this many bytes has more than a few tokens.
const LONG_PROMPT: usize = 600;
/// No tokenizer has so many bytes a token over a prompt of [`LONG_PROMPT`].
const MOST_BYTES_A_TOKEN: usize = 24;

/// A subject behind a server.
pub struct Serving<'a> {
    /// The server, with the adapter that the subject asks for.
    pub server: Server,
    /// The configured system prompt.
    pub system: Option<String>,
    /// Variables of the chat template.
    pub template_kwargs: Map<String, Value>,
    /// The template and tokenizer of the model, where they are known here.
    pub rendering: Option<&'a Rendering>,
    /// How likelihoods are measured there, or why they cannot be.
    pub weighing: Result<Weighing, String>,
    /// A loaded base, which may judge.
    pub base: Option<Asking<'a>>,
    /// The user's wish to stop.
    pub interrupt: &'a Interrupt,
}

impl Serving<'_> {
    /// The subject of this name and adapter as it is recorded.
    pub fn subject(&self, name: &str, adapter: Option<AdapterRef>) -> Subject {
        Subject {
            name: name.to_owned(),
            adapter,
            server: Some(self.server.served.clone()),
        }
    }

    /// Has one subject answer everything, and scores it. Progress goes to `on_event`.
    ///
    /// # Errors
    /// A server that was given up or refuses, a record that cannot be written, or an interrupt;
    /// finished answers are on disk.
    pub fn measure(
        &self,
        subject: Subject,
        questions: &Questions,
        (store, run, scoring): (&Store, &RunLock, &Scoring),
        on_event: &mut dyn FnMut(RunEvent),
    ) -> Result<Measurement, RunError> {
        let measuring = Measuring {
            questions,
            store,
            run,
            scoring,
        };
        let measured = measuring.measure(self, vec![subject.clone()], on_event)?;
        Ok(measured
            .into_iter()
            .next()
            .unwrap_or_else(|| Measurement::of(subject)))
    }

    fn turns(&self, probe: Option<&Probe>, prompt: &str) -> Vec<Turn> {
        let turn = |role, text: &str| Turn {
            role,
            text: text.to_owned(),
        };
        let own = probe.and_then(|probe| probe.system.as_deref());
        let system = own.or(self.system.as_deref());
        let mut turns: Vec<Turn> = system
            .map(|text| turn("system", text))
            .into_iter()
            .collect();
        for exchange in probe.into_iter().flat_map(|probe| &probe.history) {
            turns.push(turn("user", &exchange.user));
            turns.push(turn("assistant", &exchange.assistant));
        }
        turns.push(turn("user", prompt));
        turns
    }

    fn template(&self) -> &'static str {
        self.server.section().template.word()
    }

    /// Whether conversations are rendered here.
    fn renders(&self) -> Option<&Rendering> {
        self.rendering.filter(|_| self.template() == "here")
    }

    /// What a question is sent as, in one form: part of the key of its answers.
    fn conversation(&self, question: &Question) -> String {
        let turns = self.turns(question.probe.as_deref(), &question.prompt);
        let turns: Vec<Value> = turns.iter().map(|t| json!([t.role, t.text])).collect();
        let rendered = self.renders().map(|rendering| &rendering.digest);
        json!({
            "turns": turns,
            "template": self.template(),
            "template_kwargs": self.template_kwargs,
            "rendered": rendered,
            "max_tokens": most_tokens(question),
        })
        .to_string()
    }

    fn chat(
        &self,
        question: &Question,
        checks: &ProbeChecks,
        seed: u64,
    ) -> Result<Asked, RunError> {
        let turns = self.turns(question.probe.as_deref(), &question.prompt);
        let (prompt, stop) = match self.renders() {
            Some(rendering) => {
                let text = rendering.render(&turns)?;
                (Some(text), rendering.stop.clone())
            }
            None => (None, Vec::new()),
        };
        Ok(Asked::Chat(Chat {
            label: question.case.to_string(),
            turns,
            prompt,
            stop,
            generation: question.generation.clone(),
            max_tokens: most_tokens(question),
            seed,
            logprobs: checks.kinds.iter().any(|kind| kind.ends_with("perplexity")),
            template_kwargs: self.template_kwargs.clone(),
        }))
    }

    fn weigh(&self, question: &Question, text: &str, by: Weighing) -> Result<Asked, RunError> {
        let turns = self.turns(question.probe.as_deref(), &question.prompt);
        let after = match self.rendering {
            Some(rendering) => WeighAfter::Ids {
                prompt: rendering.ids(&turns)?,
                text: rendering.text_ids(text)?,
            },
            None => WeighAfter::Turns {
                turns,
                template_kwargs: self.template_kwargs.clone(),
                text: text.to_owned(),
            },
        };
        Ok(Asked::Weigh(Weigh {
            label: format!("{}, {:?}", question.case, crate::text::ellipsize(text, 30)),
            by,
            after,
        }))
    }

    /// Whether the server read the whole prompt, as far as its count says.
    fn whole_prompt(&self, question: &Question, counted: usize) -> Result<(), ServerError> {
        let turns = self.turns(question.probe.as_deref(), &question.prompt);
        let bytes: usize = turns.iter().map(|turn| turn.text.len()).sum();
        if bytes < LONG_PROMPT || counted * MOST_BYTES_A_TOKEN >= bytes {
            return Ok(());
        }
        Err(ServerError::Refused {
            url: self.server.served.url.clone(),
            asked: format!("POST for {}", question.case),
            said: format!("an answer to {counted} tokens of a prompt of {bytes} bytes"),
            way_out:
                "It cuts prompts, so its answers are to other questions: serve the model with a \
                      larger context, or shorten the prompt."
                    .into(),
        })
    }

    fn answer(&self, question: &Question, sample: usize, seed: u64, reply: Reply) -> Answer {
        let (text, thinking) = parted(&reply);
        Answer {
            case: question.case.clone(),
            sample,
            text,
            token_ids: Vec::new(),
            logprobs: reply.logprobs,
            finish: reply.finish,
            seed,
            prompt_tokens: reply.prompt_tokens.unwrap_or(0),
            continued: false,
            thinking,
            served: Some(reply.served),
        }
    }
}

/// Most tokens of an answer with the thinking before it.
fn most_tokens(question: &Question) -> usize {
    question.thinking_tokens + question.generation.max_new_tokens
}

/// An answer and what was thought before it, which some servers part and others leave in the text.
fn parted(reply: &Reply) -> (String, Option<Thought>) {
    const OPEN: &str = "<think>";
    const CLOSE: &str = "</think>";
    let thought = |text: &str, ended: bool| {
        // How many of the tokens are its own is not said.
        let tokens = 0;
        let text = text.trim().to_owned();
        (!text.is_empty() || !ended).then_some(Thought {
            text,
            tokens,
            ended,
        })
    };
    if let Some(text) = &reply.thinking {
        let said = !reply.text.trim().is_empty() || reply.finish == Finish::Stop;
        return (reply.text.trim_start().to_owned(), thought(text, said));
    }
    if let Some((before, after)) = reply.text.split_once(CLOSE) {
        let before = before.trim_start();
        let before = before.strip_prefix(OPEN).unwrap_or(before);
        return (after.trim_start().to_owned(), thought(before, true));
    }
    match reply.text.trim_start().strip_prefix(OPEN) {
        Some(open) => (String::new(), thought(open, false)),
        None => (reply.text.clone(), None),
    }
}

impl Respondent for Serving<'_> {
    fn header(&self, subject: &Subject) -> Header {
        let about = &self.server.about;
        let engine = format!("{}, template {}", self.server.name(), self.template());
        Header::new(subject.clone(), engine, &about.identity).with_server(ServerRecord {
            software: about.software.name().to_owned(),
            version: about.version.clone(),
            template: self.template().to_owned(),
            models: about.models.clone(),
            about: about.about.clone(),
        })
    }

    fn answer_key(&self, header: &Header, question: &Question, seed: u64, sample: usize) -> String {
        let conversation = self.conversation(question);
        let generation = &question.generation;
        served_answer_key(&header.digest, &conversation, generation, seed, sample)
    }

    fn likelihood_key(&self, header: &Header, question: &Question, text: &str) -> String {
        served_likelihood_key(&header.digest, &self.conversation(question), text)
    }

    fn settled(
        &self,
        answer: Answer,
        _question: &Question,
        _checks: &ProbeChecks,
    ) -> Result<Option<Answer>, RunError> {
        Ok(Some(answer))
    }

    fn cannot_weigh(&self) -> Option<String> {
        self.weighing.clone().err()
    }

    fn respond(
        &self,
        round: Round<'_>,
        on_event: &mut dyn FnMut(RunEvent),
        on_found: OnFound<'_>,
    ) -> Result<(), RunError> {
        let Round {
            questions,
            pieces,
            bar,
        } = round;
        if pieces.is_empty() {
            return Ok(());
        }
        let _looks = self.interrupt.glances();
        let Bar {
            phase,
            label,
            total,
            done,
        } = bar;
        on_event(RunEvent::Begin {
            phase,
            total,
            done,
            label,
        });
        let events = RefCell::new(on_event);
        let made: RefCell<Option<RunError>> = RefCell::default();
        let make = |place: usize| {
            let piece = &pieces[place];
            let question = &questions.all[piece.question];
            let checks = &questions.checks[question.checks];
            let asked = match (&piece.of, &self.weighing) {
                (PieceOf::Text { text }, Ok(by)) => {
                    self.weigh(question, &checks.continuations[*text], *by)
                }
                (PieceOf::Answer { seed, .. }, _) => self.chat(question, checks, *seed),
                // No text is asked for where none can be weighed.
                (PieceOf::Text { .. }, Err(_)) => self.chat(question, checks, 0),
            };
            asked
                .map_err(|error| _ = made.borrow_mut().get_or_insert(error))
                .ok()
        };
        let mut counts = Counts::default();
        let ran = self.server.ask_all::<RunError>(
            pieces.len(),
            &make,
            &|| self.interrupt.is_set(),
            &mut |notice| (events.borrow_mut())(RunEvent::Notice(notice)),
            &mut |place, replied| {
                let piece = &pieces[place];
                let question = &questions.all[piece.question];
                let checks = &questions.checks[question.checks];
                let mut tokens = 0;
                let found = match (replied, &piece.of) {
                    (Replied::Chat(reply), PieceOf::Answer { sample, seed }) => {
                        if let Some(counted) = reply.prompt_tokens {
                            self.whole_prompt(question, counted)?;
                            self.count(question, counted, &mut counts)?;
                        }
                        tokens = reply.served.tokens.unwrap_or(0) as u64;
                        counts.other_ends += usize::from(reply.served.reason.is_some());
                        Found::Answer(self.answer(question, *sample, *seed, reply))
                    }
                    (Replied::Weighed(logprobs), PieceOf::Text { text }) => {
                        Found::Likelihood(Likelihood {
                            case: question.case.clone(),
                            text: checks.continuations[*text].clone(),
                            logprobs,
                        })
                    }
                    // A reply is read as what was asked.
                    (_, _) => return Ok(()),
                };
                on_found(place, found)?;
                (events.borrow_mut())(RunEvent::Progress {
                    phase,
                    more: 1,
                    tokens,
                    note: None,
                });
                Ok(())
            },
        );
        let on_event = events.into_inner();
        on_event(RunEvent::End { phase });
        for notice in counts.notices(&self.server.served.url) {
            on_event(RunEvent::Notice(notice));
        }
        match made.into_inner() {
            Some(error) => Err(error),
            None => ran,
        }
    }

    fn interrupt(&self) -> &Interrupt {
        self.interrupt
    }

    fn base(&self) -> Option<Asking<'_>> {
        self.base
    }

    /// The base judges by default; where none is loaded, the server that answers does.
    fn judge(&self, settings: &JudgeSettings) -> JudgeSettings {
        if settings.judge != "base" || self.base.is_some() {
            return settings.clone();
        }
        JudgeSettings {
            judge: self.server.served.to_string(),
            key_variable: self.server.section().api_key_env.clone(),
            least: settings.least,
        }
    }
}

/// What is told once of many replies.
#[derive(Default)]
struct Counts {
    /// Prompts whose tokens there and here are not as many, the first with both counts.
    differing: usize,
    first: Option<(String, usize, usize)>,
    other_ends: usize,
}

impl Serving<'_> {
    /// Compares the count of a prompt's tokens with ours, where there is a tokenizer.
    fn count(
        &self,
        question: &Question,
        there: usize,
        counts: &mut Counts,
    ) -> Result<(), RunError> {
        let Some(rendering) = self.rendering else {
            return Ok(());
        };
        let turns = self.turns(question.probe.as_deref(), &question.prompt);
        let here = rendering.ids(&turns)?.len();
        if there != here {
            counts.differing += 1;
            let case = question.case.to_string();
            counts.first.get_or_insert((case, there, here));
        }
        Ok(())
    }
}

impl Counts {
    fn notices(&self, url: &str) -> Vec<String> {
        let mut notices = Vec::new();
        if let Some((case, there, here)) = &self.first {
            notices.push(format!(
                "{url}: {} other tokens there than by the template and tokenizer here, the first \
                 {case}: {there} there, {here} here. Another template, a special token twice, or a cut \
                 prompt: answers of the two cannot be compared until that is known",
                match self.differing {
                    1 => "1 prompt has".to_owned(),
                    n => format!("{n} prompts have"),
                }
            ));
        }
        if self.other_ends > 0 {
            notices.push(format!(
                "{url}: {} ended for another reason than `stop` or `length` (a filter, a tool), and \
                 counts as cut",
                plural(self.other_ends, "answer")
            ));
        }
        notices
    }
}

/// Digest of what answers of a served base have in common: by it their run is found again.
pub fn served_identity(
    server: &Server,
    system: Option<&str>,
    kwargs: &Map<String, Value>,
) -> String {
    digest::Parts::new("served evaluation")
        .part("base", &server.about.identity)
        .part("system", system.unwrap_or_default())
        .part("template", digest::json(kwargs))
        .finish()
}
