//! Verdicts of the past: each gate leaves a line, and a training run is read from its own records.

use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

use crate::digest;
use crate::flow::{Candidate, Comparison, PastVerdict, Suite, asked_digest};
use crate::gate::select_best;
use crate::record::{RecordError, Run, TrainLog, commit_of, keep_verdict, read_history, read_kept};
use crate::run::{
    GateResult, GatedCheckpoint, RunProvenance, SUITES_FILE, TrainEntry, probe_digest,
};

use super::error::ProjectError;
use super::gate_record;
use super::open::Project;

/// Verdicts of the past.
#[derive(Debug, Default)]
pub struct History {
    /// The oldest first.
    pub verdicts: Vec<PastVerdict>,
    /// What could not be read, and is left out.
    pub left_out: Vec<String>,
}

impl Project {
    /// Every verdict that is on record: of gates and watched checkpoints by the history, of training
    /// runs what stands for each, and gates of versions that kept no history.
    ///
    /// # Errors
    /// The folder of runs cannot be listed. A record that cannot be read is named, and left out.
    pub fn history(&self) -> Result<History, ProjectError> {
        let (verdicts, errors) = read_history(&self.store)?;
        let mut history = History {
            verdicts,
            left_out: Vec::new(),
        };
        let mut left_out: Vec<RecordError> = errors;
        left_out.extend(self.store.damaged()?);
        for run in self.store.list()? {
            match of_run(&run) {
                Ok(found) => history.verdicts.extend(found),
                Err(error) => left_out.push(error),
            }
        }
        for (digest, path) in gate_record::stored(self.store.root()) {
            if history.verdicts.iter().any(|v| v.order == digest) {
                continue;
            }
            match gate_record::read(&path) {
                Ok(Some(comparison)) => {
                    history
                        .verdicts
                        .extend(of_gate(&digest, &path, &comparison))
                }
                Ok(None) => {}
                Err(error) => left_out.push(error),
            }
        }
        history.left_out = left_out.iter().map(ToString::to_string).collect();
        history.verdicts.sort_by_key(|verdict| verdict.unix_ms);
        Ok(history)
    }

    /// Keeps a verdict for [`Project::history`]. One that cannot be kept is said, and stays a verdict.
    pub(super) fn remember(
        &self,
        command: &str,
        order: &str,
        subject: &str,
        (comparison, candidate): (&Comparison, &Candidate),
    ) {
        let verdict = PastVerdict {
            unix_ms: unix_ms(SystemTime::now()),
            qeval: env!("CARGO_PKG_VERSION").to_owned(),
            command: command.to_owned(),
            commit: commit_of(&self.config.folder),
            subject: subject.to_owned(),
            order: order.to_owned(),
            ..PastVerdict::of(comparison, candidate)
        };
        if let Err(error) = keep_verdict(&self.store, verdict) {
            self.notice(format!("the history was not kept: {error}"));
        }
    }
}

fn unix_ms(time: SystemTime) -> u64 {
    let since_1970 = time.duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since_1970.as_millis()).unwrap_or(u64::MAX)
}

/// A gate of a version that kept no history: when it was is told by its file.
fn of_gate(digest: &str, path: &Path, comparison: &Comparison) -> Option<PastVerdict> {
    let candidate = comparison.candidates.first()?;
    let written = path.metadata().and_then(|meta| meta.modified());
    Some(PastVerdict {
        unix_ms: written.map_or(0, unix_ms),
        command: "gate".to_owned(),
        order: digest.to_owned(),
        ..PastVerdict::of(comparison, candidate)
    })
}

/// What stands for a training run: the best of its checkpoints, else the last one, as trained.
fn of_run(run: &Run) -> Result<Option<PastVerdict>, RecordError> {
    let entries: Vec<TrainEntry> = TrainLog::read(&run.train_log())?;
    let mut gated = entries.iter().filter_map(|entry| match entry {
        TrainEntry::Gate(gated) => Some(gated.as_ref()),
        TrainEntry::Line(_) => None,
    });
    let all: Vec<GateResult<'_>> = gated.clone().flat_map(GatedCheckpoint::each).collect();
    let judged: Vec<_> = all.iter().map(|g| (g.at, g.verdict)).collect();
    let best = select_best(&judged);
    let best = all.iter().copied().find(|g| Some(g.at) == best);
    let last = || gated.next_back().and_then(|gated| gated.each().next());
    let Some(shown) = best.or_else(last) else {
        return Ok(None);
    };
    let provenance: RunProvenance = run.provenance()?;
    let suites: Vec<Suite> = read_kept(&run.folder().join(SUITES_FILE))?.unwrap_or_default();
    let asked = |name: &str| match suites.iter().find(|suite| suite.name == name) {
        Some(suite) => {
            let digests: Vec<String> = suite.probes.iter().map(probe_digest).collect();
            let ids = suite.probes.iter().map(|probe| probe.id.as_str());
            asked_digest(ids.zip(digests.iter().map(String::as_str)))
        }
        // A run of a version that kept no suites is comparable with none but its like.
        None => {
            let mut kept = provenance.suites.iter();
            let kept = kept.find(|suite| suite.name == name);
            kept.map_or_else(String::new, |suite| format!("suite {}", suite.digest))
        }
    };
    let subject = format!("{}/{}", run.id(), shown.at);
    Ok(Some(PastVerdict {
        unix_ms: provenance.created_unix_ms,
        qeval: provenance.qeval.clone(),
        command: "train".to_owned(),
        commit: provenance.commit.clone(),
        order: digest::bytes(&subject),
        ..PastVerdict::of_verdict(&subject, &provenance.base.name, shown.verdict, asked)
    }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::project::testing::Small;
    use crate::project::{Order, Overrides};
    use crate::record::{Provenance, history_file};
    use crate::run::testing::{adapter_folder, verdict};

    #[test]
    fn each_gate_leaves_one_verdict_and_a_changed_suite_splits_them() {
        let small = Small::with_model();
        let good = adapter_folder("good").display().to_string();
        let gate = || {
            let project = small.open();
            let order = Order::new(&project, &["base", &good]).unwrap();
            project.gate(&order).unwrap();
            project.history().unwrap()
        };
        let first = gate();
        assert_eq!((first.verdicts.len(), first.left_out.len()), (1, 0));
        let verdict = &first.verdicts[0];
        assert_eq!(
            (verdict.word(), verdict.subject.as_str()),
            ("pass", good.as_str())
        );
        assert_eq!(verdict.keep.unwrap().probes, 2);
        assert_eq!(gate().verdicts.len(), 1, "nothing new was judged");
        let suite = crate::project::testing::SUITE;
        small.write("small.toml", &suite.replace("1 + 2", "2 + 1"));
        let second = gate().verdicts;
        assert_eq!(second.len(), 2);
        assert_eq!(second[1].changes_since(&second[0]), ["`small` changed"]);
        // A gate of a version that kept no history is read from its record.
        std::fs::remove_file(history_file(&small.open().store)).unwrap();
        let old = small.open().history().unwrap().verdicts;
        assert_eq!(old.len(), 2);
        assert!(
            old.iter()
                .all(|v| v.command == "gate" && v.qeval.is_empty())
        );
    }

    /// A run as it was trained, and beside it one that is damaged.
    #[test]
    fn a_run_is_a_verdict_and_a_damaged_one_is_named() {
        let small = Small::new("");
        small.copy("records/run-v1/runs", "runs");
        let runs = Overrides {
            runs: Some(small.path("runs")),
            ..Overrides::default()
        };
        let project = small.open_with(runs.clone()).unwrap();
        let whole = project.history().unwrap();
        assert_eq!(whole.left_out, [""; 0]);
        let of_run = |history: &History| -> Vec<String> {
            let own = history.verdicts.iter().filter(|v| v.command == "train");
            own.map(|v| format!("{} {}", v.subject, v.word())).collect()
        };
        assert_eq!(of_run(&whole).len(), 1, "{:?}", whole.verdicts);
        let damaged = project
            .store
            .create(None, &Provenance::started("train"))
            .unwrap();
        std::fs::write(damaged.folder().join("provenance.json"), "{").unwrap();
        small.write("runs/gates/odd.json", "{");
        let project = small.open_with(runs).unwrap();
        let told = small.notices();
        assert!(told.contains("passed over: "), "{told}");
        let history = project.history().unwrap();
        assert_eq!(of_run(&history), of_run(&whole));
        assert_eq!(history.left_out.len(), 2, "{:?}", history.left_out);
    }

    #[test]
    fn a_run_that_judged_nothing_is_no_verdict() {
        let small = Small::new("");
        let project = small.open();
        let run = project
            .store
            .create(None, &Provenance::started("run"))
            .unwrap();
        assert_eq!(of_run(&run).unwrap(), None);
        // One of its lines alone is: it stands for the run.
        let gate = serde_json::json!({"gate": {"step": 4, "verdict": verdict(90, 8)}});
        std::fs::write(run.train_log(), format!("{gate}\n")).unwrap();
        let path = run.folder().join("provenance.json");
        let mut kept: serde_json::Value =
            serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
        kept["config"] = serde_json::json!({"kind": "evaluation", "identity": ""});
        std::fs::write(&path, kept.to_string()).unwrap();
        let verdict = of_run(&run).unwrap().unwrap();
        assert_eq!(verdict.subject, "run-0001/ckpt-4");
        assert!(verdict.suites.iter().all(|suite| suite.asked.is_empty()));
    }
}
