//! What a run would silently not do, found before step 1.
//!
//! A stop rule that can never fire, a gate that never comes, an answer that is cut before its end,
//! a system prompt in training that no probe sees: trainers accept all of these without a word.
//! Every finding is collected; any one refuses the run. The gradients of steps 1 and 2 are checked
//! where they are made, by the trainer.

use std::collections::{BTreeMap, BTreeSet};

use super::config::{BadRows, DataSection, TrainSection};
use super::data::Example;
use super::data::Split;
use super::error::{PreflightError, PreflightFinding};
use super::labels::Tokenized;

/// Most rows or probes that one finding names.
const NAMED: usize = 5;

/// Everything that is known before step 1.
#[derive(Debug, Clone, Copy)]
pub struct Preflight<'a> {
    /// `[data]`.
    pub data: &'a DataSection,
    /// `[train]`.
    pub train: &'a TrainSection,
    /// The examples, with their own system turns.
    pub examples: &'a [Example],
    /// The same as token ids.
    pub tokenized: &'a Tokenized,
    /// Training and validation side of `tokenized`.
    pub split: &'a Split,
    /// Optimizer steps that are planned.
    pub total_steps: usize,
    /// What a conversation without a system turn of its own is told: the text of
    /// [`crate::chat::EffectiveSystem`].
    pub system: &'a str,
    /// Probes with the system prompt that each one's prompt has, in effect; none when no suite is
    /// asked.
    pub probes: &'a [ProbeSystem],
}

/// A probe and what its model is told before the question.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProbeSystem {
    /// Its suite.
    pub suite: String,
    /// Its name there.
    pub probe: String,
    /// The system prompt in effect: the probe's own, else the configured, else the template's.
    pub system: String,
}

impl Preflight<'_> {
    /// Refuses the run when anything in it would silently do nothing.
    pub fn check(&self) -> Result<(), PreflightError> {
        let mut findings = Vec::new();
        self.rows(&mut findings);
        self.validation_side(&mut findings);
        self.steps(&mut findings);
        self.stop_rule(&mut findings);
        self.system_prompts(&mut findings);
        if findings.is_empty() {
            Ok(())
        } else {
            Err(PreflightError { findings })
        }
    }

    fn rows(&self, findings: &mut Vec<PreflightFinding>) {
        if self.data.bad_rows == BadRows::Refuse {
            findings.extend(self.tokenized.problems.iter().map(|problem| {
                finding(
                    problem.origin.to_string(),
                    problem.reason.to_string(),
                    "an answer is trained on whole or not at all",
                    "mend the row, or leave such rows out, counted and named, with \
                     bad_rows = \"drop\" under [data]",
                )
            }));
        }
        if self.tokenized.examples.is_empty() {
            findings.push(finding(
                "[data] sources",
                format!("no example is left of {}", self.examples.len()),
                "training needs one at least",
                "mend the rows named above, or raise max_length",
            ));
        }
        let endless = &self.tokenized.without_end_of_turn;
        if let Some(first) = endless.first() {
            findings.push(finding(
                "the chat template",
                format!(
                    "no end-of-turn token after the answers of {} ({first} is the first)",
                    count(endless.len(), "example")
                ),
                "an adapter trained without it does not learn to stop",
                "take an instruct model, or the `eos_token_id` that its template writes in \
                 generation_config.json",
            ));
        }
    }

    fn validation_side(&self, findings: &mut Vec<PreflightFinding>) {
        if self.data.validation_ratio > 0.0 && self.split.validation.is_empty() {
            findings.push(finding(
                "[data] validation_ratio",
                format!(
                    "{} asks for a validation side, but there {} in {}",
                    self.data.validation_ratio,
                    match self.tokenized.examples.len() {
                        1 => "is 1 example".to_string(),
                        n => format!("are {n} examples"),
                    },
                    count(self.split.groups, "group")
                ),
                "whole groups are held out (a row's `group`, else its normalised question), \
                 and neither side may be empty",
                "add rows with other questions, give the rows a `group` key, or set \
                 validation_ratio = 0",
            ));
        }
    }

    fn steps(&self, findings: &mut Vec<PreflightFinding>) {
        let total = self.total_steps;
        if total == 0 {
            return;
        }
        let gates = ("[train] save_steps", self.train.gate_every(), "gate");
        let validations = ("[train] eval_steps", self.train.eval_steps, "validation");
        let mut rhythms = vec![gates];
        if self.train.save_steps.is_none() {
            rhythms[0].0 = "[train] eval_steps";
        } else if !self.split.validation.is_empty() {
            rhythms.push(validations);
        }
        for (place, every, what) in rhythms {
            let every = every.steps(total);
            if every > total {
                findings.push(finding(
                    place,
                    format!(
                        "{every} steps to the first {what}, but the run has {}",
                        count(total, "step")
                    ),
                    format!("the first {what} has to come before the run is over"),
                    "write a number up to the run's steps, or a part of them such as 0.25",
                ));
            }
        }
    }

    fn stop_rule(&self, findings: &mut Vec<PreflightFinding>) {
        let Some(patience) = self.train.early_stopping_patience else {
            return;
        };
        let place = "[train] early_stopping_patience";
        if self.probes.is_empty() {
            findings.push(finding(
                place,
                format!(
                    "patience of {}, but no suite is asked at a gate",
                    count(patience, "gate")
                ),
                "patience counts gates without a better checkpoint",
                "name suites under [gate], or take early_stopping_patience out",
            ));
            return;
        }
        let total = self.total_steps;
        let gates = self.train.gate_every().times(total).len();
        if patience >= gates {
            findings.push(finding(
                place,
                format!(
                    "{patience} can never stop this run: it has {} and {} planned",
                    count(total, "step"),
                    count(gates, "gate")
                ),
                "the base is the first to beat, so patience has to be smaller than the number of \
                 gates to end a run early",
                "lower early_stopping_patience, gate more often (save_steps), or take the key out",
            ));
        }
    }

    fn system_prompts(&self, findings: &mut Vec<PreflightFinding>) {
        if self.probes.is_empty() || self.examples.is_empty() {
            return;
        }
        let rows = by_system(self.examples.iter().map(|example| {
            let own = example.conversation.system();
            (own.unwrap_or(self.system), example.origin.to_string())
        }));
        let name = |p: &ProbeSystem| format!("{}::{}", p.suite, p.probe);
        let probes = by_system(self.probes.iter().map(|p| (p.system.as_str(), name(p))));
        for (system, names) in rows
            .iter()
            .filter(|(system, _)| !probes.contains_key(*system))
        {
            findings.push(finding(
                "[data] sources",
                format!(
                    "{} trained under the system prompt {system:?}, which no probe has: {}",
                    if names.len() == 1 { "1 row is".into() } else { format!("{} rows are", names.len()) },
                    named(names)
                ),
                "training and probes share their system prompts, or the gate measures another model",
                "set `system` under [train] to it and take it out of the rows, or give probes this \
                 `system`",
            ));
        }
        // A single probe under a system prompt of its own asks whether the model obeys it; a suite
        // that is asked under no other measures a model that was not trained.
        let trained = |p: &&ProbeSystem| rows.contains_key(p.system.as_str());
        let shared: BTreeSet<&str> = self
            .probes
            .iter()
            .filter(trained)
            .map(|p| p.suite.as_str())
            .collect();
        let apart = self
            .probes
            .iter()
            .filter(|p| !shared.contains(p.suite.as_str()));
        for (system, names) in by_system(apart.map(|p| (p.system.as_str(), name(p)))) {
            findings.push(finding(
                "[gate] suites",
                format!(
                    "{} asked under the system prompt {system:?}, which no row is trained under: {}",
                    if names.len() == 1 { "1 probe is".into() } else { format!("{} probes are", names.len()) },
                    named(&names)
                ),
                "training and the probes of a suite share a system prompt, or the gate measures another \
                 model",
                "set `system` under [train] for both, or take `system` out of these probes",
            ));
        }
    }
}

fn finding(
    place: impl Into<String>,
    problem: impl Into<String>,
    rule: impl Into<String>,
    way_out: impl Into<String>,
) -> PreflightFinding {
    PreflightFinding {
        place: place.into(),
        problem: problem.into(),
        rule: rule.into(),
        way_out: way_out.into(),
    }
}

fn count(n: usize, noun: &str) -> String {
    if n == 1 {
        format!("1 {noun}")
    } else {
        format!("{n} {noun}s")
    }
}

fn by_system<'s>(items: impl Iterator<Item = (&'s str, String)>) -> BTreeMap<&'s str, Vec<String>> {
    let mut groups: BTreeMap<&str, Vec<String>> = BTreeMap::new();
    for (system, name) in items {
        groups.entry(system).or_default().push(name);
    }
    groups
}

fn named(names: &[String]) -> String {
    let shown = names
        .iter()
        .take(NAMED)
        .cloned()
        .collect::<Vec<_>>()
        .join(", ");
    match names.len().saturating_sub(NAMED) {
        0 => shown,
        more => format!("{shown} and {more} more"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::chat::{Conversation, Message};
    use crate::train::config::Every;
    use crate::train::data::split;
    use crate::train::data::{Origin, RowProblem, RowReason};
    use crate::train::labels::TokenizedExample;
    use crate::train::total_steps;

    /// A run of as many examples as given, each a group of its own unless told otherwise.
    struct Case {
        data: DataSection,
        train: TrainSection,
        examples: Vec<Example>,
        tokenized: Tokenized,
        probes: Vec<ProbeSystem>,
    }

    fn origin(line: usize) -> Origin {
        Origin {
            file: "d.jsonl".into(),
            line,
        }
    }

    fn probe(name: &str, system: &str) -> ProbeSystem {
        let (suite, probe) = name.split_once("::").unwrap();
        ProbeSystem {
            suite: suite.into(),
            probe: probe.into(),
            system: system.into(),
        }
    }

    impl Case {
        fn new(count: usize) -> Self {
            let example = |i: usize| {
                let turns = [Message::user(format!("q{i}")), Message::assistant("a")];
                Example::new(Conversation::new(turns), origin(i + 1))
            };
            let examples: Vec<Example> = (0..count).map(example).collect();
            let rows = examples.iter().map(|e| TokenizedExample {
                group: e.group.clone(),
                ..TokenizedExample::of(vec![1, 2, 3], vec![false, true, true])
            });
            let tokenized = Tokenized {
                examples: rows.collect(),
                ..Tokenized::default()
            };
            Case {
                data: DataSection::default(),
                train: TrainSection::default(),
                examples,
                tokenized,
                probes: vec![probe("code::quicksort", "Be kind.")],
            }
        }

        fn refused(&self) -> String {
            self.check().unwrap_err().to_string()
        }

        fn check(&self) -> Result<(), PreflightError> {
            let (data, train) = (&self.data, &self.train);
            let split = split(&self.tokenized.groups(), data.validation_ratio, data.seed);
            let per_step = train.examples_per_step();
            let total_steps = total_steps(split.train.len(), per_step, train.num_train_epochs);
            Preflight {
                data,
                train,
                examples: &self.examples,
                tokenized: &self.tokenized,
                split: &split,
                total_steps,
                system: "Be kind.",
                probes: &self.probes,
            }
            .check()
        }
    }

    #[test]
    fn a_sound_run_passes() {
        assert_eq!(Case::new(40).check(), Ok(()));
        let mut case = Case::new(200);
        case.train.early_stopping_patience = Some(3);
        case.data.validation_ratio = 0.1;
        assert_eq!(case.check(), Ok(()));
    }

    /// 320 rows, 16 a step, 2 epochs, a gate every 20 steps: the second gate is the run's end.
    #[test]
    fn patience_that_could_only_fire_at_the_end_is_refused() {
        let mut case = Case::new(320);
        case.train.early_stopping_patience = Some(2);
        case.train.eval_steps = Every::Steps(20);
        insta::assert_snapshot!(case.refused(), @r"
        the preflight refuses this run before step 1:
        [train] early_stopping_patience: 2 can never stop this run: it has 40 steps and 2 gates planned
        (the base is the first to beat, so patience has to be smaller than the number of gates to end a run early; lower early_stopping_patience, gate more often (save_steps), or take the key out)
        ");
        case.train.save_steps = Some(Every::Steps(10));
        assert_eq!(case.check(), Ok(()));
    }

    #[test]
    fn patience_without_gates_is_refused() {
        let mut case = Case::new(40);
        case.train.early_stopping_patience = Some(1);
        case.probes.clear();
        insta::assert_snapshot!(case.refused(), @r"
        the preflight refuses this run before step 1:
        [train] early_stopping_patience: patience of 1 gate, but no suite is asked at a gate
        (patience counts gates without a better checkpoint; name suites under [gate], or take early_stopping_patience out)
        ");
    }

    #[test]
    fn gate_that_never_comes_is_refused() {
        let mut case = Case::new(40);
        case.train.eval_steps = Every::Steps(100);
        insta::assert_snapshot!(case.refused(), @r"
        the preflight refuses this run before step 1:
        [train] eval_steps: 100 steps to the first gate, but the run has 6 steps
        (the first gate has to come before the run is over; write a number up to the run's steps, or a part of them such as 0.25)
        ");
    }

    #[test]
    fn empty_validation_side_is_refused() {
        let mut case = Case::new(8);
        case.data.validation_ratio = 0.1;
        for row in &mut case.tokenized.examples {
            row.group = "who are you".into();
        }
        insta::assert_snapshot!(case.refused(), @r"
        the preflight refuses this run before step 1:
        [data] validation_ratio: 0.1 asks for a validation side, but there are 8 examples in 1 group
        (whole groups are held out (a row's `group`, else its normalised question), and neither side may be empty; add rows with other questions, give the rows a `group` key, or set validation_ratio = 0)
        ");
    }

    #[test]
    fn bad_rows_are_refused_unless_they_may_be_dropped() {
        let mut case = Case::new(8);
        let reason = RowReason::TooLong {
            tokens: 3000,
            max_length: 2048,
        };
        case.tokenized.problems.push(RowProblem {
            origin: origin(9),
            reason,
        });
        insta::assert_snapshot!(case.refused(), @r#"
        the preflight refuses this run before step 1:
        d.jsonl:9: 3000 tokens, max_length is 2048: its answer would be cut; shorten the row or raise max_length under [train]
        (an answer is trained on whole or not at all; mend the row, or leave such rows out, counted and named, with bad_rows = "drop" under [data])
        "#);
        case.data.bad_rows = BadRows::Drop;
        assert_eq!(case.check(), Ok(()));
    }

    #[test]
    fn system_prompts_have_to_be_the_same_on_both_sides() {
        let mut case = Case::new(9);
        for example in &mut case.examples[2..] {
            example.conversation = example
                .conversation
                .clone()
                .with_system(Some("You are a helpful assistant."));
        }
        case.probes.push(probe("identity::who", "You are Qwen."));
        insta::assert_snapshot!(case.refused(), @r#"
        the preflight refuses this run before step 1:
        [data] sources: 7 rows are trained under the system prompt "You are a helpful assistant.", which no probe has: d.jsonl:3, d.jsonl:4, d.jsonl:5, d.jsonl:6, d.jsonl:7 and 2 more
        (training and probes share their system prompts, or the gate measures another model; set `system` under [train] to it and take it out of the rows, or give probes this `system`)
        [gate] suites: 1 probe is asked under the system prompt "You are Qwen.", which no row is trained under: identity::who
        (training and the probes of a suite share a system prompt, or the gate measures another model; set `system` under [train] for both, or take `system` out of these probes)
        "#);
    }

    #[test]
    fn a_system_prompt_beside_the_turns_of_a_row_is_seen() {
        use crate::train::config::Source;
        use crate::train::data::Dataset;
        let mut case = Case::new(1);
        let data = DataSection {
            sources: vec![Source::parse("d.jsonl")],
            ..DataSection::default()
        };
        let row = r#"{"system": "You are Aurora.", "messages":
            [{"role": "user", "content": "q"}, {"role": "assistant", "content": "a"}]}"#;
        let read = Dataset::from_sources(&data, &BTreeMap::new(), |_| {
            Ok(row.replace('\n', "").into_bytes())
        });
        case.examples = read.unwrap().examples;
        let refused = case.refused();
        assert!(
            refused.contains("trained under the system prompt \"You are Aurora.\""),
            "{refused}"
        );
    }

    #[test]
    fn a_single_probe_may_have_a_system_prompt_of_its_own() {
        let mut case = Case::new(9);
        let usual = case.probes.clone();
        assert!(!usual.is_empty());
        case.probes
            .push(probe(&format!("{}::capitals", usual[0].suite), "Shout."));
        assert_eq!(case.check(), Ok(()));
        case.probes.push(probe("other::capitals", "Shout."));
        assert!(case.check().is_err());
    }

    #[test]
    fn all_findings_are_told_at_once() {
        let mut case = Case::new(1);
        case.tokenized.without_end_of_turn.push(origin(1));
        case.data.validation_ratio = 0.5;
        case.train.early_stopping_patience = Some(5);
        case.train.eval_steps = Every::Steps(9);
        let findings = case.check().unwrap_err().findings;
        let places: Vec<&str> = findings.iter().map(|f| f.place.as_str()).collect();
        assert_eq!(
            places,
            [
                "the chat template",
                "[data] validation_ratio",
                "[train] eval_steps",
                "[train] early_stopping_patience"
            ]
        );
    }
}
