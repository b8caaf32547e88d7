//! The suites of a project put to mutants: adapters that are known to be bad, and others that are known
//! to be harmless, each judged by the gate's rule as a candidate by itself.
//!
//! The base, and the adapter that mutants are made of, answer in the runs of the project. Mutants
//! answer in a store of their own below it, where the trained ones lie too: no run is taken for the
//! latest one, and no answer is asked twice.

use std::path::{Path, PathBuf};

use thiserror::Error;

use crate::digest;
use crate::flow::{
    AdapterRef, Candidate, Decision, Goal, Measurement, MutantReport, Score, ScoreTable, Subject,
    SuiteState, Wanted,
};
use crate::gate::{Look, decide};
use crate::lora::{Adapter, Inert, LoadedAdapter, Mutated, OwnRows};
use crate::record::Store;
use crate::run::{
    BadTraining, BuiltChecks, LoadedSubject, MUTANTS, RunError, Session, TrainedMutants,
    train_mutants,
};
use crate::text::{all_of, plural, shell_word};
use crate::train::{Language, TrainError};

use super::apart::Apart;
use super::error::ProjectError;
use super::mutant_kinds::{Kind, Source, kinds};
use super::mutant_report::{Judged, mutant_report};
use super::open::{Project, matrices};
use super::order::Order;

/// Bytes of adapters that are in memory at once.
const ROOM: usize = 2 << 30;
/// Decides what is drawn for mutants.
const SEED: u64 = 20;

/// Why the suites cannot be tested with mutants.
#[derive(Debug, Error)]
pub enum MutantsError {
    /// Matrices cannot be changed behind a server.
    #[error(
        "mutants are adapters that are changed in memory: the base has to be loaded here, and not \
         behind a server\n  Name it by its folder, file, or hub id: `--model PATH`."
    )]
    Served,
    /// What is named is the base.
    #[error(
        "{subject:?} is no adapter to make mutants of\n  \
         Name a checkpoint (`ckpt-40`, `run-0001/ckpt-40`) or a PEFT folder, or leave it out: then a \
         careful adapter is trained for it."
    )]
    NoAdapter {
        /// As written.
        subject: String,
    },
    /// Nothing that could be lost is asked.
    #[error(
        "none of the suites has `goal = \"keep\"`: an adapter does harm where something is lost that the \
         base could do\n  Name suites that keep: `--suite code`, or `suites` under [gate]."
    )]
    NoKeep,
    /// Nothing that the base can do is asked.
    #[error(
        "{model} is too weak for these suites to be harmed: it scores {mean:.2} over {probes}, and an \
         adapter that failed every one of them would be no regression\n  \
         Ask what the base can do (`qeval suite check --base` tells), more probes, or another base."
    )]
    TooWeak {
        /// The base.
        model: String,
        /// Its mean over all `keep` probes.
        mean: f64,
        /// How many, in words.
        probes: String,
    },
    /// Its mutants would be the base.
    #[error(
        "{subject} changes nothing: {why}\n  Its mutants would change nothing either. Name an adapter \
         that was trained, or leave it out."
    )]
    Inert {
        /// As written.
        subject: String,
        /// Why.
        why: Inert,
    },
    /// Harmless changes of it would be as harmful as it is.
    #[error(
        "{subject} is itself a regression, and so are mutants that change nothing of it: {sentence}\n  \
         Name an adapter that passes, or this one at a smaller scale: `qeval adapter scale {}` finds it.",
        shell_word(subject)
    )]
    Harmful {
        /// As written.
        subject: String,
        /// What the gate says.
        sentence: String,
    },
}

/// The folder of a trained mutant, or why there is none.
type Trained = Result<PathBuf, TrainError>;

/// What mutants are made of.
struct Origin {
    /// For people.
    name: String,
    folder: PathBuf,
    adapter: Adapter,
    /// Multiplies its own scale.
    scale: f32,
}

/// A mutant that is ready to answer.
struct Ready {
    kind: Kind,
    /// What was done to make it.
    made: String,
    folder: PathBuf,
    mutated: Mutated,
}

impl Project {
    /// Puts the `keep` suites to mutants of an adapter: the one named, else the configured candidate or
    /// the best checkpoint, else one that is trained with care for it.
    ///
    /// # Errors
    /// [`MutantsError`], settings or suites that are wrong, whatever stops a measurement or a training;
    /// finished answers and trainings are on disk.
    pub fn check_mutants(&self, named: Option<&str>) -> Result<MutantReport, ProjectError> {
        let named = match named {
            Some(named) => Some(named.to_owned()),
            None => self.usual_subject()?,
        };
        let (order, mut notes) = self.order_of_mutants(named.as_deref())?;
        let mut measured = self.measure(&order)?;
        let base = measured.measurements[0].clone();
        refuse_weak(&order, &base)?;
        let judge = |measured: Vec<Measurement>| -> Vec<Candidate> {
            let all: Vec<Measurement> = std::iter::once(base.clone()).chain(measured).collect();
            order.compare(&all, None).candidates
        };
        // Before anything is trained.
        let mut own = None;
        if measured.measurements.len() > 1 {
            let candidate = judge(vec![measured.measurements.swap_remove(1)]).swap_remove(0);
            own = Some(refuse_harmful(&order.subjects[1].name, candidate)?);
        }
        let mut session = match measured.session.take() {
            Some(session) => session,
            None => {
                let mut session = self.session_of(&order)?;
                self.run_of(&order, &mut session)?;
                session
            }
        };
        let store = Store::open(self.store.root().join(MUTANTS))?.of_project(&self.config.folder);
        let mut trained = self.trained_mutants(&order, &store, &mut session, own.is_none())?;
        let apart = apart(&store, &order, &session)?;
        let ask = |subjects| self.answers_apart(&apart, &order, &session, None, subjects);

        let (name, folder, scale) = match order.subjects.get(1) {
            Some(spec) => (
                spec.name.clone(),
                spec.folder().unwrap_or(Path::new("")).to_path_buf(),
                spec.scale as f32,
            ),
            None => {
                notes.push(
                    "no adapter was named or found: one is trained with care; what is made of it is \
                     counted on neither side, since it may have learned too little to do harm"
                        .to_owned(),
                );
                let folder = trained.remove(0).map_err(RunError::from)?;
                (BadTraining::Careful.name().to_owned(), folder, 1.0)
            }
        };
        let origin = Origin {
            adapter: matrices(&session, &folder)?.0,
            name,
            folder,
            scale,
        };
        let own = match own {
            Some(own) => own,
            None => {
                let whole = Mutated {
                    adapter: origin.adapter.clone(),
                    scale: origin.scale,
                };
                let subject = subject(&session, &origin.name, &origin.folder, &whole);
                refuse_harmful(&origin.name, judge(ask(vec![subject])?).swap_remove(0))?
            }
        };
        let mut largest = bytes(&origin.adapter);
        if let Some(Ok(folder)) = trained.first() {
            largest = largest.max(bytes(&matrices(&session, folder)?.0));
        }
        let mut judged = Vec::new();
        let kinds = kinds(order.subjects.len() > 1);
        for group in kinds.chunks(at_once(largest, ROOM)) {
            let ready = self.ready(
                &session,
                (&order, &base),
                &origin,
                group,
                &trained,
                &mut notes,
            )?;
            let subjects = ready
                .iter()
                .map(|r| subject(&session, r.kind.name, &r.folder, &r.mutated));
            let candidates = judge(ask(subjects.collect())?);
            let each = ready.iter().zip(candidates);
            judged.extend(each.map(|(ready, candidate)| Judged {
                name: ready.kind.name,
                made: ready.made.clone(),
                wanted: ready.kind.wanted,
                candidate,
            }));
        }
        let red = verdict_of_failing(&order, &base);
        let can_kill = |suite: &str| {
            let row = red.suites.iter().find(|row| row.suite == suite);
            row.is_some_and(|row| row.state == SuiteState::Regression)
        };
        Ok(MutantReport {
            notes,
            ..mutant_report(
                &order.model,
                &origin.name,
                &own,
                judged,
                &order.suites,
                can_kill,
            )
        })
    }

    /// The base and the adapter, asked all that is to be kept, and what a reader should know of it.
    fn order_of_mutants(&self, named: Option<&str>) -> Result<(Order, Vec<String>), ProjectError> {
        let subjects: Vec<&str> = std::iter::once("base").chain(named).collect();
        let mut order = Order::new(self, &subjects)?;
        if order.is_served() {
            return Err(MutantsError::Served.into());
        }
        if let Some(spec) = order.subjects.get(1) {
            let subject = spec.name.clone();
            let Some(folder) = spec.folder() else {
                return Err(MutantsError::NoAdapter { subject }.into());
            };
            if let Some(why) = Inert::of(folder, spec.scale).map_err(RunError::from)? {
                return Err(MutantsError::Inert { subject, why }.into());
            }
        }
        let learned = order.suites.iter().filter(|s| s.goal == Goal::Learn);
        let learned: Vec<String> = learned.map(|s| format!("`{}`", s.name)).collect();
        order.suites.retain(|suite| suite.goal == Goal::Keep);
        if order.suites.is_empty() {
            return Err(MutantsError::NoKeep.into());
        }
        order.built = BuiltChecks::of(&order.suites).map_err(RunError::from)?;
        order.noise = false;
        order.rules.look = Look::Single;
        order.rules.chosen_from = 1;
        order.preview()?;
        let notes = match learned.is_empty() {
            true => Vec::new(),
            false => vec![format!(
                "not asked: {}, where something is learned and nothing lost",
                all_of(&learned)
            )],
        };
        Ok((order, notes))
    }

    /// The folders of the trained mutants, after that of the careful one where it is needed.
    fn trained_mutants(
        &self,
        order: &Order,
        store: &Store,
        session: &mut Session,
        careful: bool,
    ) -> Result<Vec<Trained>, ProjectError> {
        let prompts = order.suites.iter().flat_map(|suite| &suite.probes);
        let prompts = prompts.flat_map(|probe| probe.prompts.iter().map(String::as_str));
        let languages = Language::among(prompts);
        let first = careful.then_some(BadTraining::Careful);
        let trainings: Vec<BadTraining> = first.into_iter().chain(BadTraining::HARMFUL).collect();
        let scoring = self.scoring(None, order.checks.clone())?;
        let mutants = TrainedMutants {
            store,
            languages: &languages,
            slots: self.overrides.slots,
            interrupt: self.interrupt()?,
            scoring: &scoring,
        };
        let mut on_event = self.listener();
        let folders = train_mutants(session, &trainings, mutants, &mut on_event)?;
        self.pass_on_notices(&scoring);
        Ok(folders)
    }

    /// The mutants of some kinds that can be made. What cannot is told in the notes.
    fn ready(
        &self,
        session: &Session,
        (order, base): (&Order, &Measurement),
        origin: &Origin,
        kinds: &[Kind],
        trained: &[Trained],
        notes: &mut Vec<String>,
    ) -> Result<Vec<Ready>, ProjectError> {
        let mut all = Vec::new();
        for &kind in kinds {
            let (mut kind, mut made) = (kind, kind.made.to_owned());
            let (folder, mutated) = match kind.source {
                Source::Change(change) | Source::Sized(change) => {
                    let mut mutated = match change.of(&origin.adapter, SEED) {
                        Ok(mutated) => mutated,
                        Err(why) => {
                            notes.push(format!(
                                "no mutant `{}` of {}: {why}",
                                kind.name, origin.name
                            ));
                            continue;
                        }
                    };
                    mutated.scale *= origin.scale;
                    if matches!(kind.source, Source::Sized(_)) {
                        let size = self.harmful_size(session, order, base, &mutated)?;
                        mutated.scale *= size.times;
                        made = format!("{made}, {}", size.told());
                        if !size.harms {
                            kind.wanted = Wanted::Either;
                        }
                    }
                    (origin.folder.clone(), mutated)
                }
                Source::Training(training) => {
                    let place = BadTraining::HARMFUL.iter().position(|t| *t == training);
                    let folder = match place.and_then(|place| trained.get(place)) {
                        Some(Ok(folder)) => folder,
                        Some(Err(why)) => {
                            notes.push(format!("no mutant `{}`: {why}", kind.name));
                            continue;
                        }
                        None => continue,
                    };
                    let adapter = matrices(session, folder)?.0;
                    (
                        folder.clone(),
                        Mutated {
                            adapter,
                            scale: 1.0,
                        },
                    )
                }
            };
            all.push(Ready {
                kind,
                made,
                folder,
                mutated,
            });
        }
        Ok(all)
    }
}

/// Where mutants' answers lie: one run a base and system prompt.
fn apart(store: &Store, order: &Order, session: &Session) -> Result<Apart, ProjectError> {
    let identity = digest::Parts::new("mutants")
        .part("base", &session.base.digest)
        .part("system", session.dateless_system()?)
        .part("template", digest::json(&session.base.template_kwargs))
        .finish();
    let command = "suite check --mutants";
    Apart::open(store.clone(), identity, command, order, session)
}

/// A mutant as it is asked; its record is known by the digest of its matrices, and its scale.
fn subject(session: &Session, name: &str, folder: &Path, mutated: &Mutated) -> LoadedSubject {
    let Mutated { adapter, scale } = mutated;
    LoadedSubject {
        subject: Subject {
            name: name.to_owned(),
            adapter: Some(AdapterRef {
                path: folder.to_path_buf(),
                digest: adapter.digest.clone(),
                scale: f64::from(*scale),
                step: None,
            }),
            server: None,
        },
        adapter: Some(LoadedAdapter::new(
            adapter,
            session.decoder.config(),
            *scale,
        )),
    }
}

/// Bytes of an adapter that answers: as it is, with its scale, and laid out for the device.
fn bytes(adapter: &Adapter) -> usize {
    let pairs = adapter.modules.values();
    let matrices: usize = pairs.map(|pair| pair.a.len() + pair.b.len()).sum();
    let tables = [&adapter.beside.embedding, &adapter.beside.head];
    let rows = tables.into_iter().flatten().map(|rows| match rows {
        OwnRows::All(values) => values.len(),
        OwnRows::Some(rows) => rows.values().map(Vec::len).sum(),
    });
    4 * (3 * matrices + 2 * rows.sum::<usize>())
}

/// How many adapters of so many bytes answer in one batch: as many as there is room for, one at least.
fn at_once(each: usize, room: usize) -> usize {
    (room / each.max(1)).max(1)
}

/// Harmless changes of a harmful adapter are harmful.
fn refuse_harmful(name: &str, own: Candidate) -> Result<Candidate, MutantsError> {
    match own.verdict.decision {
        Decision::Regression => Err(MutantsError::Harmful {
            subject: name.to_owned(),
            sentence: own.verdict.sentence,
        }),
        _ => Ok(own),
    }
}

/// What the gate would say of an adapter that fails every probe.
fn verdict_of_failing(order: &Order, base: &Measurement) -> crate::flow::Verdict {
    let failing: ScoreTable = base
        .scores
        .iter()
        .map(|(place, score)| {
            let failed = match score.value() {
                Some(_) => Score::of(false, "fails every probe"),
                None => score.clone(),
            };
            (place.clone(), failed)
        })
        .collect();
    decide(&order.suites, &base.scores, &failing, &order.rules)
}

/// A base that nothing can be lost of tells nothing of the suites.
fn refuse_weak(order: &Order, base: &Measurement) -> Result<(), MutantsError> {
    let verdict = verdict_of_failing(order, base);
    if verdict.decision == Decision::Regression {
        return Ok(());
    }
    let estimate = verdict.pooled.estimate.as_ref();
    Err(MutantsError::TooWeak {
        model: order.model.clone(),
        mean: estimate.map_or(0.0, |estimate| estimate.base_mean),
        probes: plural(estimate.map_or(0, |estimate| estimate.probes), "probe"),
    })
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::lora::{LoraConfig, LowRankPair};
    use crate::model::{ModuleId, Projection};
    use crate::project::Overrides;
    use crate::project::testing::Small;
    use crate::run::testing::adapter_folder;

    /// A batch of large adapters has as many as there is room for, and one at least.
    #[test]
    fn adapters_that_are_too_large_together_answer_one_after_another() {
        let pair = LowRankPair {
            rank: 1,
            scale: 1.0,
            a: vec![0.0; 6],
            b: vec![0.0; 4],
        };
        let id = ModuleId {
            layer: 0,
            projection: Projection::Q,
        };
        let modules = BTreeMap::from([(id, pair)]);
        let each = bytes(&Adapter::new(LoraConfig::default(), modules));
        assert_eq!(each, 120, "12 bytes a number");
        let in_a_batch = [600, 599, 120, 1].map(|room| at_once(each, room));
        assert_eq!(in_a_batch, [5, 4, 1, 1]);
        assert_eq!(at_once(0, 7), 7, "what weighs nothing");
    }

    fn refused(small: &Small, named: Option<&str>) -> String {
        let refused = small.open().check_mutants(named).unwrap_err().to_string();
        refused.replace(&small.path("").display().to_string(), "[project]/")
    }

    #[test]
    fn what_tells_nothing_of_the_suites_is_refused() {
        let small = Small::with_model();
        insta::assert_snapshot!(refused(&small, Some("base")), @r#"
        "base" is no adapter to make mutants of
          Name a checkpoint (`ckpt-40`, `run-0001/ckpt-40`) or a PEFT folder, or leave it out: then a careful adapter is trained for it.
        "#);
        let noop = adapter_folder("noop").display().to_string();
        let inert = refused(&small, Some(&noop)).replace(&noop, "[noop]");
        insta::assert_snapshot!(inert, @"
        [noop] changes nothing: every lora_B is zero
          Its mutants would change nothing either. Name an adapter that was trained, or leave it out.
        ");
        let good = adapter_folder("good").display().to_string();
        // One of two probes is passed: failing it proves nothing.
        let weak = refused(&small, Some(&good));
        let weak = weak.split_once(" is too weak").map(|(_, said)| said);
        insta::assert_snapshot!(weak.unwrap(), @"
         for these suites to be harmed: it scores 0.25 over 2 probes, and an adapter that failed every one of them would be no regression
          Ask what the base can do (`qeval suite check --base` tells), more probes, or another base.
        ");
        let suite = crate::project::testing::SUITE.replace("\"keep\"", "\"learn\"\ntarget = 0.5");
        small.write("small.toml", &suite);
        insta::assert_snapshot!(refused(&small, Some(&good)), @r#"
        none of the suites has `goal = "keep"`: an adapter does harm where something is lost that the base could do
          Name suites that keep: `--suite code`, or `suites` under [gate].
        "#);
        let served = Overrides {
            model: Some("http://127.0.0.1:1/v1#none".into()),
            ..Overrides::default()
        };
        let project = small.open_with(served).unwrap();
        let served = project.check_mutants(Some(&good)).unwrap_err();
        insta::assert_snapshot!(served, @"
        mutants are adapters that are changed in memory: the base has to be loaded here, and not behind a server
          Name it by its folder, file, or hub id: `--model PATH`.
        ");
    }
}
