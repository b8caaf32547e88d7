//! The first bad checkpoint of a run with the fewest answers: verdicts that are recorded cost nothing,
//! and what they leave open is halved until two neighbours part.
//!
//! Harm is taken to stay once it is there. Where recorded verdicts say otherwise, that is told, and
//! the first bad one among them is still what is found. Every checkpoint that is judged has the same
//! share of the error rate, as the looks of a training run have.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use crate::flow::{ScaledCheckpoint, Suite, Verdict};
use crate::gate::Look;
use crate::record::{Run, TrainLog};
use crate::run::{Session, TrainEntry};

use super::error::ProjectError;
use super::open::Project;
use super::order::Order;

/// What is searched through.
#[derive(Debug, Clone, PartialEq)]
pub struct BisectSearch {
    /// A run's name, or a folder with `checkpoint-STEP` folders in it.
    pub run: String,
    /// Every checkpoint is judged at this multiple of its own scale.
    pub scale: f64,
}

/// Where a verdict comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum VerdictSource {
    /// The run's own log.
    Recorded,
    /// Judged now; so many answers were asked for it, with those of the base.
    Judged {
        /// Answers and likelihoods that no record had.
        asked: u64,
    },
}

/// A checkpoint with its verdict.
#[derive(Debug, Clone, PartialEq)]
pub struct BisectLook {
    /// Optimizer steps taken.
    pub step: usize,
    /// As a subject is named.
    pub name: String,
    /// Its verdict against the base.
    pub verdict: Verdict,
    /// Where that comes from.
    pub by: VerdictSource,
}

impl BisectLook {
    /// Whether the checkpoint may be kept.
    pub fn is_good(&self) -> bool {
        self.verdict.may_keep()
    }
}

/// What was found.
#[derive(Debug, Clone, PartialEq)]
pub struct Bisected {
    /// Every verdict that was used, by step.
    pub looks: Vec<BisectLook>,
    /// The steps that were judged now, in their order.
    pub path: Vec<usize>,
    /// The first bad checkpoint; `None` where every one may be kept.
    pub first_bad: Option<usize>,
    /// The last good one before it; `None` where the first is bad already, or there is none.
    pub last_good: Option<usize>,
    /// Steps of checkpoints that are there.
    pub there: Vec<usize>,
    /// Steps that stand in the log of the run, and whose folders are gone.
    pub gone: Vec<usize>,
    /// Good ones after the first bad one: harm did not stay.
    pub good_after: Vec<usize>,
    /// Answers and likelihoods of one checkpoint; 0 where none was judged now.
    pub answers_each: usize,
}

impl Bisected {
    /// The look at a step.
    pub fn look(&self, step: usize) -> Option<&BisectLook> {
        self.looks.iter().find(|look| look.step == step)
    }

    /// Answers that were asked for.
    pub fn asked(&self) -> u64 {
        let each = self.looks.iter().map(|look| match look.by {
            VerdictSource::Recorded => 0,
            VerdictSource::Judged { asked } => asked,
        });
        each.sum()
    }
}

/// Steps in order, with what is known of each.
#[derive(Debug, Default)]
struct Known {
    /// Whether the checkpoint may be kept, where that is known.
    steps: BTreeMap<usize, Option<bool>>,
}

impl Known {
    /// The first that is known to be bad.
    fn first_bad(&self) -> Option<usize> {
        let mut bad = self.steps.iter().filter(|(_, good)| **good == Some(false));
        bad.next().map(|(step, _)| *step)
    }

    /// The last before the first bad one that is known to be good.
    fn last_good(&self) -> Option<usize> {
        let end = self.first_bad().unwrap_or(usize::MAX);
        let mut good = self.steps.range(..end).rev();
        good.find(|(_, g)| **g == Some(true)).map(|(step, _)| *step)
    }

    /// What lies between the two.
    fn open(&self) -> Vec<usize> {
        let end = self.first_bad().unwrap_or(usize::MAX);
        let begin = self.last_good().map_or(0, |good| good + 1);
        let open = self.steps.range(begin..end.max(begin));
        open.map(|(step, _)| *step).collect()
    }

    /// The step to judge next; `None` when the search is over.
    fn next(&self) -> Option<usize> {
        let open = self.open();
        open.get(open.len() / 2).copied()
    }

    /// How many are judged at most.
    fn looks(&self) -> usize {
        (self.open().len() + 1).next_power_of_two().ilog2() as usize
    }
}

impl Project {
    /// Finds the first checkpoint that may not be kept; `on_look` hears of each one that is judged.
    ///
    /// # Errors
    /// No such run, one without checkpoints, or whatever stops a measurement; finished answers are
    /// on disk.
    pub fn first_bad_checkpoint(
        &self,
        search: &BisectSearch,
        on_look: &mut dyn FnMut(&BisectLook),
    ) -> Result<Bisected, ProjectError> {
        let place = self.searched(&search.run)?;
        let recorded = match &place {
            Searched::Run(run) => recorded(run, search.scale)?,
            Searched::Folder(_) => Recorded::default(),
        };
        let there = place.steps()?;
        let mut looks: Vec<BisectLook> = Vec::new();
        let mut known = Known::default();
        known.steps.extend(there.iter().map(|step| (*step, None)));
        for (step, verdict) in recorded.verdicts {
            known.steps.insert(step, Some(verdict.may_keep()));
            looks.push(BisectLook {
                step,
                name: place.name(step, search.scale),
                verdict,
                by: VerdictSource::Recorded,
            });
        }
        if known.steps.is_empty() {
            return Err(ProjectError::NoCheckpointsIn {
                path: place.folder().to_path_buf(),
                known: self.runs_with_checkpoints()?,
            });
        }
        let planned = known.looks();
        let (mut session, mut path, mut answers_each): (Option<Session>, _, _) =
            (None, Vec::new(), 0);
        while let Some(step) = known.next() {
            let name = place.name(step, search.scale);
            let mut order = Order::new(self, &["base", &name])?;
            order.noise = false;
            order.rules.look = Look::Checkpoint {
                index: path.len() + 1,
                planned: Some(planned),
            };
            order.rules.chosen_from = planned.max(1);
            let before = self.pieces_asked();
            let measured = self.measure_in(&order, session.take())?;
            session = measured.session;
            let asked = self.pieces_asked() - before;
            answers_each = measured
                .measurements
                .get(1)
                .map_or(0, |m| m.answers.len() + weighed(&order));
            let comparison = order.compare(&measured.measurements, None);
            let Some(candidate) = comparison.candidates.into_iter().next() else {
                break;
            };
            let look = BisectLook {
                step,
                name,
                verdict: candidate.verdict,
                by: VerdictSource::Judged { asked },
            };
            known.steps.insert(step, Some(look.is_good()));
            path.push(step);
            on_look(&look);
            looks.push(look);
        }
        looks.sort_by_key(|look| look.step);
        let first_bad = known.first_bad();
        let after = |step: &usize| first_bad.is_some_and(|bad| *step > bad);
        let good = looks.iter().filter(|l| l.is_good()).map(|l| l.step);
        Ok(Bisected {
            path,
            first_bad,
            last_good: known.last_good(),
            gone: {
                let gone = recorded.steps.iter().filter(|step| !there.contains(step));
                gone.copied().collect()
            },
            good_after: good.filter(after).collect(),
            looks,
            there,
            answers_each,
        })
    }

    /// What a name means: a run, else a folder of another trainer.
    fn searched(&self, name: &str) -> Result<Searched, ProjectError> {
        if let Some(run) = self.store.find(name) {
            return Ok(Searched::Run(run));
        }
        let folder = Path::new(name);
        match folder.is_dir() {
            true => Ok(Searched::Folder(folder.to_path_buf())),
            // Its error lists the runs.
            false => Ok(Searched::Run(self.store.run(name)?)),
        }
    }

    fn runs_with_checkpoints(&self) -> Result<Vec<String>, ProjectError> {
        let mut known = Vec::new();
        for run in self.store.list()? {
            if !run.checkpoints()?.is_empty() {
                known.push(run.id().to_owned());
            }
        }
        known.reverse();
        Ok(known)
    }
}

/// Where checkpoints lie.
enum Searched {
    Run(Run),
    Folder(PathBuf),
}

impl Searched {
    fn folder(&self) -> &Path {
        match self {
            Searched::Run(run) => run.folder(),
            Searched::Folder(folder) => folder,
        }
    }

    /// Steps of its checkpoints that are adapters, in order.
    fn steps(&self) -> Result<Vec<usize>, ProjectError> {
        let folder = match self {
            Searched::Run(run) => {
                return Ok(run.checkpoints()?.iter().map(|c| c.step).collect());
            }
            Searched::Folder(folder) => folder,
        };
        let listed =
            std::fs::read_dir(folder).map_err(crate::atomic_file::FileError::at("list", folder))?;
        let mut steps: Vec<usize> = listed
            .flatten()
            .filter(|entry| entry.path().join("adapter_config.json").is_file())
            .filter_map(|entry| {
                let name = entry.file_name().to_string_lossy().into_owned();
                name.strip_prefix("checkpoint-")?.parse().ok()
            })
            .collect();
        steps.sort_unstable();
        Ok(steps)
    }

    /// A checkpoint as a subject is named.
    fn name(&self, step: usize, scale: f64) -> String {
        let at = ScaledCheckpoint { step, scale };
        match self {
            Searched::Run(run) => format!("{}/{at}", run.id()),
            Searched::Folder(folder) => {
                let checkpoint = folder.join(format!("checkpoint-{step}"));
                match scale {
                    1.0 => checkpoint.display().to_string(),
                    scale => format!("{}@{scale}", checkpoint.display()),
                }
            }
        }
    }
}

/// Texts whose likelihood one subject is asked for.
fn weighed(order: &Order) -> usize {
    let of_suite = |suite: &Suite| -> usize {
        let texts = suite.probes.iter().map(|probe| {
            let checks = order.built.of_probe(&suite.id_of(probe));
            checks.map_or(0, |checks| checks.continuations.len() * probe.prompts.len())
        });
        texts.sum()
    };
    order.suites.iter().map(of_suite).sum()
}

/// What a run's log says.
#[derive(Default)]
struct Recorded {
    /// Verdicts at the scale that is searched, by step.
    verdicts: BTreeMap<usize, Verdict>,
    /// Every step that was judged at any scale.
    steps: Vec<usize>,
}

fn recorded(run: &Run, scale: f64) -> Result<Recorded, ProjectError> {
    let log: Vec<TrainEntry> = TrainLog::read(&run.train_log())?;
    let mut recorded = Recorded::default();
    for entry in &log {
        let TrainEntry::Gate(gated) = entry else {
            continue;
        };
        recorded.steps.push(gated.step);
        let own = gated.each().find(|each| each.at.scale == scale);
        if let Some(own) = own {
            recorded.verdicts.insert(gated.step, own.verdict.clone());
        }
    }
    recorded.steps.sort_unstable();
    recorded.steps.dedup();
    Ok(recorded)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::project::testing::Small;
    use crate::record::Provenance;
    use crate::run::testing::verdict;

    fn known(steps: usize) -> Known {
        Known {
            steps: (1..=steps).map(|step| (step, None)).collect(),
        }
    }

    #[test]
    fn the_first_bad_one_is_found_in_the_planned_looks_and_its_neighbour_was_judged() {
        for steps in 1..20 {
            for bad_from in 1..=steps + 1 {
                let mut known = known(steps);
                let planned = known.looks();
                let mut judged = 0;
                while let Some(step) = known.next() {
                    known.steps.insert(step, Some(step < bad_from));
                    judged += 1;
                }
                assert!(judged <= planned, "{steps} {bad_from}: {judged}");
                assert_eq!(known.first_bad(), (bad_from <= steps).then_some(bad_from));
                let before = (bad_from > 1).then_some(bad_from - 1);
                assert_eq!(known.last_good(), before);
            }
        }
    }

    #[test]
    fn recorded_verdicts_leave_less_open() {
        let mut known = known(20);
        assert_eq!(known.looks(), 5);
        known.steps.insert(8, Some(true));
        known.steps.insert(12, Some(false));
        assert_eq!(known.open(), [9, 10, 11]);
        assert_eq!((known.looks(), known.next()), (2, Some(10)));
        known.steps.insert(14, Some(true));
        assert_eq!(known.first_bad(), Some(12), "the first bad one counts");
    }

    /// A run with these verdicts, whose checkpoints are all gone.
    fn logged(small: &Small, gates: &[(usize, usize)]) -> Project {
        let project = small.open();
        let run = project
            .store
            .create(None, &Provenance::started("train"))
            .unwrap();
        let lines = gates.iter().map(|(step, kept)| {
            let entry =
                serde_json::json!({ "gate": { "step": step, "verdict": verdict(*kept, 9) } });
            format!("{entry}\n")
        });
        let log: String = lines.collect();
        small.write(&format!("runs/{}/train.jsonl", run.id()), &log);
        project
    }

    fn search(run: &str) -> BisectSearch {
        BisectSearch {
            run: run.to_owned(),
            scale: 1.0,
        }
    }

    #[test]
    fn recorded_verdicts_need_neither_model_nor_folders() {
        let small = Small::new("");
        let project = logged(&small, &[(10, 90), (20, 90), (30, 20), (40, 90), (50, 20)]);
        let found = project
            .first_bad_checkpoint(&search("run-0001"), &mut |_| panic!("judged"))
            .unwrap();
        assert_eq!((found.first_bad, found.last_good), (Some(30), Some(20)));
        assert_eq!(found.good_after, [40]);
        assert_eq!((found.gone.len(), found.asked()), (5, 0));
    }

    #[test]
    fn a_run_without_checkpoints_is_told_with_those_that_have_some() {
        let small = Small::new("");
        let project = logged(&small, &[]);
        small.write("runs/run-0001/checkpoint-5/adapter_config.json", "{}");
        project
            .store
            .create(None, &Provenance::started("run"))
            .unwrap();
        let refused = |run: &str| {
            let found = project.first_bad_checkpoint(&search(run), &mut |_| ());
            let folder = small.path("").display().to_string();
            found
                .unwrap_err()
                .to_string()
                .replace(&folder, "[project]/")
        };
        insta::assert_snapshot!(refused("run-0002"), @"
        [project]/runs/run-0002 has no checkpoint: there is nothing to search through
          Name a run that trained (`qeval bisect run-0001`), or a folder with checkpoint-STEP folders in it. Runs with checkpoints: run-0001.
        ");
        insta::assert_snapshot!(refused("run-0009"), @r#"[project]/runs: there is no run "run-0009"; there are run-0001, run-0002"#);
    }
}
