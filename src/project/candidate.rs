//! Who is judged when nobody is named.

use crate::flow::{ScaledCheckpoint, Verdict};
use crate::gate::{select_best, select_leading};
use crate::record::{Checkpoint, Run, TrainLog};
use crate::run::TrainEntry;

use super::error::ProjectError;
use super::open::Project;

impl Project {
    /// The subject that is judged: the one named, else the configured one, else of the latest run that
    /// trained the best, which is what ships, else its newest checkpoint.
    ///
    /// # Errors
    /// There is none of them, or the records cannot be read.
    pub fn candidate(&self, named: Option<&str>) -> Result<String, ProjectError> {
        if let Some(named) = named {
            return Ok(named.to_owned());
        }
        if let Some(configured) = self.configured_candidate() {
            return Ok(configured);
        }
        self.tell_passed_over()?;
        for run in self.store.list()?.into_iter().rev() {
            let kept = run.checkpoints()?;
            let Some(newest) = kept.last() else {
                continue;
            };
            let judged = Judged::of(self, &run, &kept);
            if let Some(best) = select_best(&judged.verdicts()) {
                return Ok(format!("{}/{best}", run.id()));
            }
            if !judged.0.is_empty() {
                self.notice(format!(
                    "{} named no best: none of its checkpoints may ship, and the newest is judged",
                    run.id()
                ));
            }
            return Ok(format!("{}/ckpt-{}", run.id(), newest.step));
        }
        // "Train one" would be no way out where one is there that cannot be read.
        match self.store.damaged()?.into_iter().next() {
            Some(damaged) => Err(damaged.into()),
            None => Err(ProjectError::NoCandidate),
        }
    }

    /// The subject that is asked beside the base when none is named: the configured candidate, else
    /// of the latest run that trained its best checkpoint, else the newest one that is there. `None`
    /// where nothing was trained.
    ///
    /// # Errors
    /// The records cannot be read.
    pub fn usual_subject(&self) -> Result<Option<String>, ProjectError> {
        if let Some(configured) = self.configured_candidate() {
            return Ok(Some(configured));
        }
        self.tell_passed_over()?;
        for run in self.store.list()?.into_iter().rev() {
            let kept = run.checkpoints()?;
            let Some(newest) = kept.last() else {
                continue;
            };
            let judged = Judged::of(self, &run, &kept);
            let shown = select_leading(&judged.verdicts()).unwrap_or(ScaledCheckpoint {
                step: newest.step,
                scale: 1.0,
            });
            return Ok(Some(format!("{}/{shown}", run.id())));
        }
        Ok(None)
    }

    /// Says which folders hold work and are not searched: what is found may not be what was meant.
    fn tell_passed_over(&self) -> Result<(), ProjectError> {
        for passed_over in self.store.passed_over()? {
            self.notice(format!("passed over: {passed_over}"));
        }
        Ok(())
    }

    /// A folder is meant from where the configuration lies. It may have an `@` of its own: its whole
    /// name comes first.
    fn configured_candidate(&self) -> Option<String> {
        let name = self.config.gate.candidate.as_ref()?;
        let whole = self.config.resolve(name);
        if whole.is_dir() {
            return Some(whole.display().to_string());
        }
        if let Some((folder, scale)) = name.rsplit_once('@') {
            let folder = self.config.resolve(folder);
            if folder.is_dir() {
                return Some(format!("{}@{scale}", folder.display()));
            }
        }
        Some(name.clone())
    }
}

/// What a run's gates came to, of checkpoints that are still there.
struct Judged(Vec<TrainEntry>, Vec<usize>);

impl Judged {
    /// A log that cannot be read keeps nobody from asking; it is told.
    fn of(project: &Project, run: &Run, kept: &[Checkpoint]) -> Self {
        let log: Result<Vec<TrainEntry>, _> = TrainLog::read(&run.train_log());
        let entries = log.unwrap_or_else(|error| {
            project.notice(format!(
                "the newest checkpoint is asked, since which is best is not known: {error}"
            ));
            Vec::new()
        });
        let gates = entries
            .into_iter()
            .filter(|e| matches!(e, TrainEntry::Gate(_)));
        Judged(gates.collect(), kept.iter().map(|c| c.step).collect())
    }

    fn verdicts(&self) -> Vec<(ScaledCheckpoint, &Verdict)> {
        let gates = self.0.iter().filter_map(|entry| match entry {
            TrainEntry::Gate(gated) => Some(gated.each()),
            TrainEntry::Line(_) => None,
        });
        let all = gates.flatten().map(|gated| (gated.at, gated.verdict));
        all.filter(|(at, _)| self.1.contains(&at.step)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::project::testing::Small;
    use crate::record::Provenance;
    use crate::run::testing::verdict;

    fn configured(candidate: &str) -> Small {
        Small::new(&format!("[gate]\ncandidate = \"{candidate}\"\n"))
    }

    /// A run with these checkpoints.
    fn trained(project: &Project, steps: &[usize]) -> String {
        let run = project
            .store
            .create(None, &Provenance::started("train"))
            .unwrap();
        for step in steps {
            let folder = run.checkpoint_folder(*step);
            std::fs::create_dir(&folder).unwrap();
            std::fs::write(folder.join("adapter_config.json"), "{}").unwrap();
        }
        run.id().to_owned()
    }

    #[test]
    fn the_one_named_goes_before_the_configured_one_before_the_newest() {
        let small = configured("ckpt-7");
        let project = small.open();
        trained(&project, &[10]);
        assert_eq!(project.candidate(Some("ckpt-3")).unwrap(), "ckpt-3");
        assert_eq!(project.candidate(None).unwrap(), "ckpt-7");
        small.write("qeval.toml", "[gate]\n");
        assert_eq!(small.open().candidate(None).unwrap(), "run-0001/ckpt-10");
    }

    #[test]
    fn the_newest_checkpoint_is_that_of_the_last_run_that_trained() {
        let small = Small::new("");
        let project = small.open();
        assert!(matches!(
            project.candidate(None),
            Err(ProjectError::NoCandidate)
        ));
        trained(&project, &[30, 5]);
        trained(&project, &[20, 100]);
        trained(&project, &[]);
        assert_eq!(project.candidate(None).unwrap(), "run-0002/ckpt-100");
    }

    #[test]
    fn the_best_checkpoint_is_asked_else_the_newest_else_the_base_alone() {
        let small = Small::new("");
        let project = small.open();
        assert_eq!(project.usual_subject().unwrap(), None);
        let run = trained(&project, &[10, 20, 30]);
        let usual = || project.usual_subject().unwrap().unwrap();
        assert_eq!(usual(), format!("{run}/ckpt-30"));
        let gate = |step, learned| {
            let verdict = verdict(90, learned);
            let entry = serde_json::json!({ "gate": { "step": step, "verdict": verdict } });
            format!("{entry}\n")
        };
        // The highest score is gone from the disk, and is not named.
        let log = [gate(10, 8), gate(15, 10), gate(20, 9), gate(30, 4)].concat();
        small.write(&format!("runs/{run}/train.jsonl"), &log);
        assert_eq!(usual(), format!("{run}/ckpt-20"));
        small.write("qeval.toml", "[gate]\ncandidate = \"ckpt-10\"\n");
        assert_eq!(small.open().usual_subject().unwrap().unwrap(), "ckpt-10");
    }

    #[test]
    fn a_configured_folder_is_meant_from_where_the_file_lies() {
        for (written, folder, scale) in [
            ("mine", "mine", ""),
            ("mine@0.5", "mine", "@0.5"),
            ("me@home", "me@home", ""),
            ("me@home@0.5", "me@home", "@0.5"),
        ] {
            let small = configured(written);
            std::fs::create_dir(small.path(folder)).unwrap();
            let expected = format!("{}{scale}", small.path(folder).display());
            assert_eq!(small.open().candidate(None).unwrap(), expected, "{written}");
        }
        // What is no folder there is a name: a checkpoint, or a mistake that is told later.
        for name in ["ckpt-40@0.5", "run-0001/ckpt-40"] {
            assert_eq!(configured(name).open().candidate(None).unwrap(), name);
        }
    }

    #[test]
    fn what_is_passed_over_in_the_search_is_named() {
        let small = Small::new("");
        let project = small.open();
        let first = trained(&project, &[10, 20]);
        let second = trained(&project, &[30]);
        let gone = format!("runs/{first}/checkpoint-20/adapter_config.json");
        std::fs::remove_file(small.path(&gone)).unwrap();
        std::fs::remove_file(small.path(&format!("runs/{second}/provenance.json"))).unwrap();
        assert_eq!(project.candidate(None).unwrap(), "run-0001/ckpt-10");
        let told = small
            .notices()
            .replace(&small.path("").display().to_string(), "[project]/");
        insta::assert_snapshot!(told, @"
        passed over: [project]/runs/run-0001/checkpoint-20: it has no adapter_config.json
        passed over: [project]/runs/run-0002: it has no provenance.json
        ");
    }

    #[test]
    fn a_damaged_record_is_not_taken_for_none() {
        let small = Small::new("");
        let project = small.open();
        let run = trained(&project, &[10]);
        small.write(&format!("runs/{run}/provenance.json"), "{ \"format\"");
        let error = project.candidate(None).unwrap_err();
        assert!(matches!(error, ProjectError::Record(_)), "{error}");
        assert!(error.to_string().contains("provenance.json"), "{error}");
    }
}
