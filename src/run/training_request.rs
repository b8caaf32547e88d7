//! What a training run is asked for: settings, rows, and suites as they were read, with a digest by
//! which a run that was cut short is found again.

use crate::chat::Role;
use crate::digest::{Parts, json};
use crate::flow::Suite;
use crate::gate::{EarlyStop, Rules};
use crate::train::{DataSection, Example, LoraSection, Recompute, RehearsalPrompt, TrainSection};

use super::session::Session;

/// What a training run is asked for, before a prompt is rendered.
#[derive(Clone, Copy)]
pub struct TrainingRequest<'a> {
    /// What every checkpoint is asked; may be empty.
    pub suites: &'a [Suite],
    /// How it is judged.
    pub rules: &'a Rules,
    /// Multiples of its own scale at which each checkpoint is judged, 1 among them.
    pub scales: &'a [f64],
    /// `[lora]`.
    pub lora: &'a LoraSection,
    /// `[data]`.
    pub data: &'a DataSection,
    /// `[train]`.
    pub train: &'a TrainSection,
    /// The rows, as read.
    pub examples: &'a [Example],
    /// Prompts that the base itself answers, to be trained on beside the rows.
    pub prompts: &'a [RehearsalPrompt],
}

impl TrainingRequest<'_> {
    /// Digest of it for a base. A killed run is found by it on any day: nothing in it depends on
    /// the date that a template prints.
    pub fn digest(&self, session: &Session) -> String {
        let mut parts = Parts::new("training asked for")
            .part("base", &session.base.digest)
            .part("numbers", session.decoder.as_ref().number_type())
            .part("system", json(&session.system))
            .part("lora", json(self.lora))
            .part("data", json(self.data))
            .part("train", json(&deciding(self.train)))
            .part("rules", json(&judging(self.rules)))
            .part("scales", json(&self.scales))
            .part("prompts", json(&self.prompts));
        if !session.base.template_kwargs.is_empty() {
            parts = parts.part("template", json(&session.base.template_kwargs));
        }
        for example in self.examples {
            parts = parts.part("example", json(&example.conversation.messages));
        }
        for suite in self.suites {
            parts = parts.part("suite", &suite.digest);
        }
        parts.finish()
    }

    /// Distinct assistant turns of the examples, rehearsal left out.
    pub fn training_answers(&self) -> Vec<String> {
        training_answers(self.examples)
    }
}

/// The settings that decide a result: what only decides where and when things are written is set to
/// one value.
pub(super) fn deciding(train: &TrainSection) -> TrainSection {
    TrainSection {
        output_dir: String::new(),
        logging_steps: 1,
        save_total_limit: None,
        recompute: Recompute::Auto,
        ..train.clone()
    }
}

/// Distinct assistant turns of some examples.
pub fn training_answers(examples: &[Example]) -> Vec<String> {
    let mut answers: Vec<String> = examples
        .iter()
        .flat_map(|e| &e.conversation.messages)
        .filter(|m| m.role == Role::Assistant)
        .map(|m| m.content.clone())
        .collect();
    answers.sort();
    answers.dedup();
    answers
}

/// The rules as far as they make a run another one. Where a checkpoint is decided early, the rest of
/// its probes is asked less, and nothing is judged otherwise: a run goes on under either setting.
pub(super) fn judging(rules: &Rules) -> Rules {
    Rules {
        early_stop: EarlyStop::Never,
        ..rules.clone()
    }
}
