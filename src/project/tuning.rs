//! Tuning of a project: settings are tried, and the chosen one becomes a configuration that trains.

use std::path::{Path, PathBuf};

use crate::atomic_file::{self, FileError};
use crate::config::{TuneSection, with_settings};
use crate::flow::{Subject, Tuning, Verdict};
use crate::gate::decide;
use crate::record::{RecordError, Run};
use crate::run::{
    BuiltChecks, RunError, TrainOutcome, TuneBudget, TuneOutcome, TuningJob, recorded, unseen,
};

use super::error::ProjectError;
use super::training::PreparedTraining;

/// How the file that tuning writes begins: one that begins so may be replaced.
const WRITTEN: &str = "# Written by `qeval tune`";

/// What tuning came to.
pub struct Tuned {
    /// Where its records are.
    pub run: Run,
    /// What was seen and chosen.
    pub tuning: Tuning,
    /// The configuration with the chosen setting, if one was chosen.
    pub file: Option<PathBuf>,
}

impl PreparedTraining<'_> {
    /// Tries settings of this training run, after `on_plan` has seen the plan and returned true, and
    /// writes the chosen one beside the configuration: `qeval.toml` -> `qeval.tuned.toml`.
    ///
    /// # Errors
    /// A file of that name that tuning has not written, and whatever stops the work; what is
    /// finished is on disk.
    pub fn tune(
        &self,
        command: &str,
        asked: &TuneSection,
        budget: TuneBudget,
        on_plan: &mut dyn FnMut(&Tuning) -> bool,
    ) -> Result<Option<Tuned>, ProjectError> {
        let from = self.project.overrides.config.clone();
        let from = from.unwrap_or_else(|| "qeval.toml".into());
        let file = tuned_file(&from)?;
        let outcome = self.with_job(command, |job, scoring, on_event| {
            let tuning = TuningJob { job, asked, budget };
            tuning.run(scoring, on_plan, on_event)
        })?;
        let Some(TuneOutcome {
            run,
            tuning,
            chosen,
        }) = outcome
        else {
            return Ok(None);
        };
        let Some(setting) = chosen else {
            return Ok(Some(Tuned {
                run,
                tuning,
                file: None,
            }));
        };
        let text = std::fs::read_to_string(&from).map_err(FileError::at("read", &from))?;
        let note = format!("chosen by {}", run.id());
        let changed = with_settings(&text, &setting.lora, &setting.train, &note)
            .map_err(|problem| RunError::Tune(format!("{}: {problem}", from.display())))?;
        let head = format!(
            "{WRITTEN} ({}) from {}: only what it chose differs.\n",
            run.id(),
            from.file_name().unwrap_or_default().display()
        );
        atomic_file::write(&file, head + &changed)?;
        Ok(Some(Tuned {
            run,
            tuning,
            file: Some(file),
        }))
    }

    /// What the best checkpoint of a run comes to on the probes that did not choose its setting, by
    /// its records; `None` where it has no best one, or no record of it is whole.
    ///
    /// # Errors
    /// The records cannot be read.
    pub fn unseen(
        &self,
        outcome: &TrainOutcome,
        tuning: &Tuning,
    ) -> Result<Option<Verdict>, ProjectError> {
        let Some(best) = outcome.best else {
            return Ok(None);
        };
        let project = self.project;
        let suites = unseen(project.suites()?, &tuning.plan.chosen_on);
        let built = BuiltChecks::of(&suites).map_err(RunError::from)?;
        let settings = project.check_settings();
        let said = |subject: &Subject| recorded(&outcome.run, subject, &suites, &built, &settings);
        let Some(entry) = outcome.run.record_of(&best.to_string())? else {
            return Ok(None);
        };
        let both = (said(&Subject::base())?, said(&entry.header.subject)?);
        let (Some(base), Some(candidate)) = both else {
            return Ok(None);
        };
        let verdict = decide(&suites, &base.scores, &candidate.scores, &self.rules);
        Ok(Some(verdict))
    }
}

/// Where the chosen setting goes: beside the file that it comes from, since its paths start there.
fn tuned_file(from: &Path) -> Result<PathBuf, ProjectError> {
    let stem = from.file_stem().unwrap_or_default().to_string_lossy();
    let file = from.with_file_name(format!("{stem}.tuned.toml"));
    let there = match std::fs::read(&file) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(file),
        there => there
            .map_err(FileError::at("read", &file))
            .map_err(RecordError::from)?,
    };
    if there.starts_with(WRITTEN.as_bytes()) {
        return Ok(file);
    }
    Err(ProjectError::Run(RunError::Tune(format!(
        "{} is there, and `qeval tune` has not written it\n  The chosen setting goes there: move \
         the file away.",
        file.display()
    ))))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_of_the_users_is_never_replaced() {
        let folder = tempfile::tempdir().unwrap();
        let from = folder.path().join("mine.toml");
        let file = folder.path().join("mine.tuned.toml");
        assert_eq!(tuned_file(&from).unwrap(), file);
        std::fs::write(&file, format!("{WRITTEN} (tune-0001)\n")).unwrap();
        assert_eq!(tuned_file(&from).unwrap(), file);
        std::fs::write(&file, "[lora]\n").unwrap();
        let refused = tuned_file(&from).unwrap_err().to_string();
        let refused = refused.replace(&folder.path().display().to_string(), "[folder]");
        insta::assert_snapshot!(refused, @"
        [folder]/mine.tuned.toml is there, and `qeval tune` has not written it
          The chosen setting goes there: move the file away.
        ");
    }
}
