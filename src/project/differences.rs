//! What `qeval.toml` says now against what a training run was asked to do: a checkpoint is judged as
//! its run was, and who has changed the file since has to hear of it.

use std::path::Path;

use crate::flow::{LearnRule, SignRule, Suite};
use crate::record::Run;
use crate::run::{RunProvenance, TrainingConfig};
use crate::text::all_of;

use super::open::Project;
use super::training::model_path;

/// Suites that are named of those that differ.
const NAMED: usize = 4;

impl Project {
    /// One line on where the file differs from the settings of a run that is judged by its own;
    /// `None` where it does not, or there is none.
    pub(super) fn differences(
        &self,
        run: Option<&Run>,
        provenance: &RunProvenance,
        trained: &TrainingConfig,
        asked: &[Suite],
    ) -> Option<String> {
        if !self.has_file {
            return None;
        }
        let run = run.map_or("its run", Run::id);
        let (gate, rules) = (&self.config.gate, &trained.rules);
        let mut all = Vec::new();
        for (name, file, of_run) in [
            ("margin", gate.margin, rules.margin),
            ("suite_margin", gate.suite_margin, rules.suite_margin),
            ("max_unscored", gate.max_unscored, rules.max_unscored_share),
        ] {
            if file != of_run {
                all.push(format!("{name} {file} (the run: {of_run})"));
            }
        }
        if gate.learn != rules.learn {
            let word = |rule: LearnRule| {
                let words = LearnRule::WORDS.iter().find(|(_, known)| *known == rule);
                words.map_or("", |(word, _)| word)
            };
            let (file, of_run) = (word(gate.learn), word(rules.learn));
            all.push(format!("learn \"{file}\" (the run: \"{of_run}\")"));
        }
        if gate.signs != rules.signs {
            let word = |rule: SignRule| {
                let words = SignRule::WORDS.iter().find(|(_, known)| *known == rule);
                words.map_or("", |(word, _)| word)
            };
            let (file, of_run) = (word(gate.signs), word(rules.signs));
            all.push(format!("signs \"{file}\" (the run: \"{of_run}\")"));
        }
        if self.config.train.system != trained.train.system {
            all.push("another system prompt".to_owned());
        }
        let of_file = model_path(&self.config);
        if is_other_path(&of_file, &provenance.base.name) {
            all.push(format!(
                "the model {of_file} (the run: {})",
                provenance.base.name
            ));
        }
        match self.configured_suites() {
            Ok(suites) => all.extend(other_suites(&suites, asked)),
            // Only its first line: whoever asks by the file is told the rest.
            Err(error) => {
                let error = error.to_string();
                let first = error.lines().next().unwrap_or_default();
                all.push(format!("suites that cannot be read ({first})"));
            }
        }
        if all.is_empty() {
            return None;
        }
        Some(format!(
            "judged by the settings of {run}; qeval.toml has since come to say otherwise: {}. \
             `--config qeval.toml` judges by the file",
            all.join(", ")
        ))
    }
}

/// Whether both are paths, and lead to different places.
fn is_other_path(one: &str, other: &str) -> bool {
    let real = |path: &str| Path::new(path).canonicalize().ok();
    match (real(one), real(other)) {
        (Some(one), Some(other)) => one != other,
        _ => false,
    }
}

/// Suites that only one of the two has, or that are not the same in both.
fn other_suites(file: &[Suite], run: &[Suite]) -> Vec<String> {
    let named = |suites: Vec<&Suite>, what: &str| -> Option<String> {
        let mut names: Vec<String> = suites
            .iter()
            .take(NAMED)
            .map(|suite| format!("`{}`", suite.name))
            .collect();
        if suites.len() > NAMED {
            names.push(format!("{} more", suites.len() - NAMED));
        }
        (!names.is_empty()).then(|| format!("{} {what}", all_of(&names)))
    };
    let of = |suites: &[Suite], name: &str| suites.iter().position(|suite| suite.name == name);
    let changed = |suite: &&Suite| {
        of(run, &suite.name).is_some_and(|place| {
            let other = &run[place];
            let asks = |suite: &Suite| -> Vec<(String, usize)> {
                let probes = suite.probes.iter();
                probes.map(|p| (p.id.clone(), p.prompts.len())).collect()
            };
            let judged = |suite: &Suite| (suite.goal, suite.margin, suite.target);
            suite.digest != other.digest
                || judged(suite) != judged(other)
                || asks(suite) != asks(other)
        })
    };
    let only = |suites: &'_ [Suite], others: &[Suite]| -> Vec<usize> {
        let places = 0..suites.len();
        places
            .filter(|&i| of(others, &suites[i].name).is_none())
            .collect()
    };
    let added = only(file, run).into_iter().map(|i| &file[i]).collect();
    let gone = only(run, file).into_iter().map(|i| &run[i]).collect();
    [
        named(file.iter().filter(changed).collect(), "changed"),
        named(added, "added"),
        named(gone, "left out"),
    ]
    .into_iter()
    .flatten()
    .collect()
}
