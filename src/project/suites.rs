//! Which suites a project asks, and which of their probes.

use std::path::PathBuf;

use crate::config::QevalConfig;
use crate::flow::Suite;
use crate::suite::{self, Selection, SuiteSource};

use super::error::ProjectError;
use super::open::Project;

impl Project {
    /// The suites that arguments and configuration name, with the probes they select, read once.
    ///
    /// # Errors
    /// No such suite, a wrong one, or a selection that leaves nothing.
    pub fn suites(&self) -> Result<&[Suite], ProjectError> {
        if let Some(suites) = self.loaded_suites.get() {
            return Ok(suites);
        }
        let suites = suite::load(&self.suite_sources()?, &self.config.vars)?;
        let suites = self.selected(&suites)?;
        Ok(self.loaded_suites.get_or_init(|| suites))
    }

    /// As [`Project::suites`], with golden answers that are judged otherwise than they expect.
    ///
    /// # Errors
    /// As [`Project::suites`], but for golden answers.
    pub fn unjudged_suites(&self) -> Result<Vec<Suite>, ProjectError> {
        let suites = suite::load_unjudged(&self.suite_sources()?, &self.config.vars)?;
        self.selected(&suites)
    }

    fn suite_sources(&self) -> Result<Vec<SuiteSource>, ProjectError> {
        let (config, overrides) = (&self.config, &self.overrides);
        let mut sources = Vec::new();
        let named = if overrides.suites.is_empty() {
            &config.gate.suites
        } else {
            &overrides.suites
        };
        for name in named {
            let path = if overrides.suites.is_empty() {
                config.resolve(name)
            } else {
                PathBuf::from(name)
            };
            let builtin = suite::builtin()
                .iter()
                .find(|(known, _)| stem(known) == stem(name));
            if path.exists() {
                sources.extend(suite::read(&[path]));
            } else if let Some((name, text)) = builtin {
                sources.push(SuiteSource::built_in(name, text));
            } else if *named == QevalConfig::default().gate.suites {
                sources.extend(
                    suite::builtin()
                        .iter()
                        .map(|(name, text)| SuiteSource::built_in(name, text)),
                );
            } else {
                let known = suite::builtin()
                    .iter()
                    .map(|(name, _)| stem(name))
                    .collect::<Vec<_>>()
                    .join(", ");
                return Err(ProjectError::NoSuite {
                    name: name.clone(),
                    path,
                    known,
                });
            }
        }
        Ok(sources)
    }

    /// The probes that the overrides ask for, else the configuration.
    ///
    /// # Errors
    /// A selection that selects nothing.
    pub fn selected(&self, suites: &[Suite]) -> Result<Vec<Suite>, ProjectError> {
        let gate = &self.config.gate;
        let mut selection = self.asked_probes();
        if selection.tags.is_empty() {
            selection.tags.extend(
                [&gate.tags, &gate.languages]
                    .into_iter()
                    .filter(|t| !t.is_empty())
                    .map(|t| t.join(",")),
            );
        }
        selection.prompts = selection.prompts.or(gate.prompts_per_probe);
        Ok(selection.apply(suites)?)
    }

    /// The probes that the overrides ask for, whatever is configured.
    pub(super) fn asked_probes(&self) -> Selection {
        let overrides = &self.overrides;
        Selection {
            patterns: overrides.probes.clone(),
            tags: overrides.tags.clone(),
            prompts: overrides.prompts,
            shard: overrides.shard,
        }
    }
}

/// A suite's name without the ending of its file.
fn stem(name: &str) -> &str {
    name.strip_suffix(".toml").unwrap_or(name)
}
