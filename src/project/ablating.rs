//! Where in an adapter the harm sits, and where the learning: parts of it are switched off, all in
//! one batch, and what comes back, or goes, is what the part carried.
//!
//! Parts act together, so what they carry need not add up to the whole. Answers of parts are kept
//! in a store of their own beside the runs (`apart`): no report counts them as a subject, and an
//! interrupted ablation goes on where it was.

use std::collections::BTreeSet;
use std::path::PathBuf;

use crate::digest::Parts;
use crate::flow::{
    AdapterRef, Candidate, Estimate, Goal, Measurement, ProbeId, ProbeState, Subject, Suite,
};
use crate::gate::decide;
use crate::lora::{AdapterPart, LoadedAdapter, layers_pattern};
use crate::model::Projection;
use crate::random::{Purpose, shuffled};
use crate::record::Store;
use crate::run::{BuiltChecks, LoadedSubject, RunError, Session};

use super::apart::Apart;
use super::error::ProjectError;
use super::open::{Project, matrices};
use super::order::Order;

/// Folder of the answers of subjects that nobody named, in that of the runs.
const FOLDER: &str = "apart";
/// A part carries learning where at least this share of what was learned goes with it.
const WORTH_TELLING: f64 = 0.1;
/// A part carries harm where chance alone would show as much at most so often.
const PROVEN: f64 = 0.05;

/// What is switched off, and what is asked.
#[derive(Debug, Clone, PartialEq)]
pub struct Ablation {
    /// The adapter, as a subject is named.
    pub subject: String,
    /// Bands of layers; `None` switches no layers off.
    pub bands: Option<usize>,
    /// Whether each kind of linear layer is switched off.
    pub modules: bool,
    /// This part alone is switched off, whatever the others say.
    pub only: Option<AdapterPart>,
    /// Whether every probe is asked, not those alone that were lost and as many that were kept.
    pub all: bool,
}

/// What an ablation asks of the `keep` suites, and of the `learn` suites.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct AblationProbes {
    /// `keep` probes that the adapter loses against the base.
    pub lost: usize,
    /// `keep` probes that it keeps, of those that are asked.
    pub kept: usize,
    /// `learn` probes.
    pub learn: usize,
    /// `keep` probes in all.
    pub keep_in_all: usize,
}

/// What a part carries, by what is measured without it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Carries {
    /// What was lost comes back, and what was learned stays.
    Harm,
    /// Both come with it.
    HarmAndLearning,
    /// What was learned goes, and nothing that was lost is shown to come back.
    Learning,
    /// Neither is shown.
    NothingShown,
}

/// The adapter without one part.
#[derive(Debug, Clone, PartialEq)]
pub struct AblatedPart {
    /// What is off.
    pub part: AdapterPart,
    /// How much of the low-rank update it is, in [0, 1]; `None` for rows of the embedding and the
    /// head.
    pub share: Option<f64>,
    /// `keep`: the adapter without it against the base, on the probes that are asked.
    pub kept: Option<Estimate>,
    /// `keep`: the adapter without it against the whole adapter: what it carries of the loss.
    pub back: Option<Estimate>,
    /// `learn`: mean score without it.
    pub learned: Option<f64>,
    /// What that comes to.
    pub carries: Carries,
}

/// What was found.
#[derive(Debug, Clone, PartialEq)]
pub struct Ablated {
    /// The adapter as its records name it.
    pub name: String,
    /// Its folder.
    pub folder: PathBuf,
    /// The layers that it changes.
    pub layers: Vec<usize>,
    /// The kinds of linear layers that it changes, and the embedding and the head.
    pub kinds: Vec<AdapterPart>,
    /// What was asked.
    pub probes: AblationProbes,
    /// `keep`: the whole adapter against the base, on these probes.
    pub whole: Option<Estimate>,
    /// `learn`: mean scores of the base, where it has one, and of the whole adapter.
    pub learn: Option<(Option<f64>, f64)>,
    /// What carries most of the loss first. Empty where nothing was lost and not every probe was
    /// asked for.
    pub parts: Vec<AblatedPart>,
}

impl AblatedPart {
    /// How much of the loss is gone without it, in points of the mean score.
    pub fn harm(&self) -> f64 {
        self.back.as_ref().map_or(0.0, |back| back.difference)
    }
}

impl Ablated {
    /// What the whole adapter loses on the probes that were asked.
    pub fn loss(&self) -> f64 {
        self.whole.as_ref().map_or(0.0, |whole| -whole.difference)
    }

    /// How much of what was learned goes with a part.
    pub fn unlearned(&self, part: &AblatedPart) -> Option<f64> {
        Some(self.learn?.1 - part.learned?)
    }

    /// What the adapter scores more than the base on `learn` suites.
    pub fn gain(&self) -> Option<f64> {
        let (base, whole) = self.learn?;
        Some(whole - base.unwrap_or(0.0))
    }

    /// What leaves a part out when training again, as it is written under `[lora]`; `None` where
    /// nothing would be left.
    pub fn training_without(&self, part: &AdapterPart) -> Option<String> {
        let is_left =
            |kind: &&AdapterPart| *kind != part && matches!(kind, AdapterPart::Modules(_));
        let kinds: Vec<String> = self
            .kinds
            .iter()
            .filter(is_left)
            .map(AdapterPart::typed)
            .collect();
        match part {
            AdapterPart::Layers { first, last } => {
                let mut left = self.layers.clone();
                left.retain(|layer| !(first..=last).contains(&layer));
                let modules = match kinds.len() == Projection::ALL.len() {
                    true => "_proj".to_owned(),
                    false => format!(r"\.({})", kinds.join("|")),
                };
                // One entry with a sign that no name has is an expression over whole paths.
                let layers = layers_pattern(&left);
                let names = format!(r"target_modules = ['.*\.layers\.({layers})\..*{modules}']");
                (!left.is_empty() && !kinds.is_empty()).then_some(names)
            }
            AdapterPart::Modules(_) => {
                (!kinds.is_empty()).then(|| format!("target_modules = {kinds:?}"))
            }
            AdapterPart::Embedding | AdapterPart::Head => None,
        }
    }

    /// The part to do something about: that which carries most of the loss, where one is shown to
    /// carry any; but where the learning goes with it, one that carries at least half as much and
    /// no learning.
    pub fn worst(&self) -> Option<&AblatedPart> {
        let harms =
            |p: &&AblatedPart| matches!(p.carries, Carries::Harm | Carries::HarmAndLearning);
        let most = self.parts.iter().find(harms)?;
        let mut alone = self.parts.iter().filter(|p| p.carries == Carries::Harm);
        let alone = alone.next().filter(|p| 2.0 * p.harm() >= most.harm());
        alone.or(Some(most))
    }
}

impl Project {
    /// Asks an adapter without each of its parts. What the base and the whole adapter said is taken
    /// from records where it is there.
    ///
    /// # Errors
    /// The subject is no adapter, has no part of the wanted kind, or whatever stops a measurement;
    /// finished answers are on disk.
    pub fn ablate(&self, ablation: &Ablation) -> Result<Ablated, ProjectError> {
        let spec = self.store.resolve(&ablation.subject)?;
        let Some(folder) = spec.folder() else {
            return Err(ProjectError::NoAdapterFor {
                subject: ablation.subject.clone(),
                what: "only an adapter has parts to switch off",
            });
        };
        let mut order = Order::new(self, &["base", &ablation.subject])?;
        order.noise = false;
        for note in &order.notes {
            self.notice(note.as_str());
        }
        let mut measured = self.measure(&order)?;
        let whole = order.compare(&measured.measurements, None);
        let Some(candidate) = whole.candidates.first() else {
            return Err(ProjectError::NoCandidate);
        };
        let (suites, probes) = chosen(&order.suites, candidate, ablation.all, order.seed);
        let session = self.session_left(&order, measured.session.take())?;
        let config = session.decoder.config().clone();
        let (adapter, _) = matrices(&session, folder)?;
        let parts = match ablation.only {
            Some(part) if adapter.has(&part) => vec![part],
            Some(part) => {
                return Err(ProjectError::NoSuchPart {
                    subject: ablation.subject.clone(),
                    part: part.to_string(),
                    layers: adapter.layers(),
                    kinds: adapter.kinds().iter().map(ToString::to_string).collect(),
                });
            }
            None => {
                let bands = ablation.bands.map_or(Vec::new(), |n| adapter.bands(n));
                let kinds = ablation.modules.then(|| adapter.kinds());
                bands
                    .into_iter()
                    .chain(kinds.into_iter().flatten())
                    .collect()
            }
        };
        let mut found = Ablated {
            name: candidate.subject.name.clone(),
            folder: folder.to_path_buf(),
            layers: adapter.layers(),
            kinds: adapter.kinds(),
            probes,
            whole: None,
            learn: None,
            parts: Vec::new(),
        };
        order.built = BuiltChecks::of(&suites).map_err(RunError::from)?;
        order.suites = suites;
        let whole = order.compare(&measured.measurements, None);
        if let Some(candidate) = whole.candidates.first() {
            found.whole = candidate.verdict.pooled.estimate.clone();
            let learn = candidate.verdict.learn.as_ref();
            found.learn = learn.map(|learn| (learn.base_mean, learn.mean));
        }
        if probes.lost == 0 && !ablation.all {
            return Ok(found);
        }
        let subjects = parts.iter().map(|part| LoadedSubject {
            subject: without(&candidate.subject, part),
            adapter: Some(LoadedAdapter::without(
                &adapter,
                &config,
                spec.scale as f32,
                part,
            )),
        });
        let answered = self.answer_apart(&order, &session, subjects.collect())?;
        let shares = adapter.shares(&parts);
        let parts: Vec<_> = parts.into_iter().zip(shares).collect();
        found.parts = judged(&order, &measured.measurements, &answered, &found, &parts);
        found.parts.sort_by(|a, b| b.harm().total_cmp(&a.harm()));
        Ok(found)
    }

    /// Has subjects answer that nobody named, into a store that is theirs.
    ///
    /// # Errors
    /// Whatever stops a measurement; finished answers are on disk.
    pub(super) fn answer_apart(
        &self,
        order: &Order,
        session: &Session,
        subjects: Vec<LoadedSubject>,
    ) -> Result<Vec<Measurement>, ProjectError> {
        let store = Store::open(self.store.root().join(FOLDER))?;
        let moment = match session.template.prints_date() {
            true => session.template.moment(),
            false => 0,
        };
        // One run per base, and prompts as they are put to it.
        let identity = Parts::new("apart")
            .part("base", &session.base.digest)
            .part("system", session.dateless_system()?)
            .part(
                "template",
                crate::digest::json(&session.base.template_kwargs),
            )
            .part("moment", moment.to_le_bytes())
            .finish();
        let apart = Apart::open(store, identity, "apart", order, session)?;
        let training = order.training_answers.clone();
        self.answers_apart(&apart, order, session, training, subjects)
    }
}

/// The adapter under the name and the digest of what is left of it.
fn without(subject: &Subject, part: &AdapterPart) -> Subject {
    let adapter = subject.adapter.as_ref().map(|adapter| AdapterRef {
        digest: Parts::new("adapter without a part")
            .part("adapter", &adapter.digest)
            .part("part", part.typed())
            .finish(),
        ..adapter.clone()
    });
    Subject {
        name: format!("{} without {part}", subject.name),
        adapter,
        server: None,
    }
}

/// The probes that are asked: of `keep` suites those that were lost, and as many of those that were
/// kept, chosen by the seed; all of `learn` suites.
fn chosen(
    suites: &[Suite],
    candidate: &Candidate,
    all: bool,
    seed: u64,
) -> (Vec<Suite>, AblationProbes) {
    let keep: BTreeSet<&str> = suites
        .iter()
        .filter(|suite| suite.goal == Goal::Keep)
        .map(|suite| suite.name.as_str())
        .collect();
    let of = |state: ProbeState| -> Vec<&ProbeId> {
        let probes = candidate.probes.iter();
        let probes = probes.filter(|p| keep.contains(p.id.suite.as_str()) && p.state() == state);
        probes.map(|p| &p.id).collect()
    };
    let (lost, kept) = (of(ProbeState::Lost), of(ProbeState::Kept));
    let mut asked: BTreeSet<&ProbeId> = lost.iter().copied().collect();
    let control = shuffled(kept.len(), seed, Purpose::Ablation, 0);
    asked.extend(control.into_iter().take(lost.len()).map(|i| kept[i]));
    let mut selected = suites.to_vec();
    if !all {
        for suite in &mut selected {
            let name = suite.name.clone();
            let is_asked = |probe: &str| {
                asked.contains(&ProbeId {
                    suite: name.clone(),
                    probe: probe.to_owned(),
                })
            };
            if suite.goal == Goal::Keep {
                suite.probes.retain(|probe| is_asked(&probe.id));
            }
        }
        selected.retain(|suite| !suite.probes.is_empty());
    }
    let count = |suites: &[Suite], goal| {
        let of_goal = suites.iter().filter(|suite| suite.goal == goal);
        of_goal.map(|suite| suite.probes.len()).sum::<usize>()
    };
    let probes = AblationProbes {
        lost: lost.len(),
        kept: count(&selected, Goal::Keep) - lost.len(),
        learn: count(&selected, Goal::Learn),
        keep_in_all: count(suites, Goal::Keep),
    };
    (selected, probes)
}

/// Each part against the base and against the whole adapter, in their order.
fn judged(
    order: &Order,
    measured: &[Measurement],
    answered: &[Measurement],
    found: &Ablated,
    parts: &[(AdapterPart, Option<f64>)],
) -> Vec<AblatedPart> {
    let [base, whole, ..] = measured else {
        return Vec::new();
    };
    let judge = |arm: &Measurement, part: &Measurement| {
        decide(&order.suites, &arm.scores, &part.scores, &order.rules)
    };
    let pairs = answered.iter().zip(parts);
    let judged = pairs.map(|(answered, &(part, share))| {
        let (to_base, to_whole) = (judge(base, answered), judge(whole, answered));
        let mut part = AblatedPart {
            part,
            share,
            kept: to_base.pooled.estimate,
            back: to_whole.pooled.estimate,
            learned: to_base.learn.map(|learn| learn.mean),
            carries: Carries::NothingShown,
        };
        // The gate's own test of a loss, of the adapter without the part as it is switched on.
        let switched_on = judge(answered, whole).pooled;
        let harms = switched_on.p_loss.is_some_and(|p| p <= PROVEN)
            && part.back.as_ref().is_some_and(|back| back.difference > 0.0);
        let learns = match (found.unlearned(&part), found.gain()) {
            (Some(gone), Some(gain)) => gain > 0.0 && gone >= WORTH_TELLING * gain,
            _ => false,
        };
        part.carries = match (harms, learns) {
            (true, false) => Carries::Harm,
            (true, true) => Carries::HarmAndLearning,
            (false, true) => Carries::Learning,
            (false, false) => Carries::NothingShown,
        };
        part
    });
    judged.collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lora::Adapter;
    use crate::lora::{LoraConfig, TargetModules};
    use crate::model::{ModelConfig, ModuleId};
    use crate::project::testing::Small;
    use crate::run::testing::{adapter_folder, fixture};

    fn ablation(name: &str) -> Ablation {
        Ablation {
            subject: adapter_folder(name).display().to_string(),
            bands: Some(6),
            modules: true,
            only: None,
            all: false,
        }
    }

    fn carried(found: &Ablated) -> Vec<(String, Carries)> {
        let parts = found.parts.iter();
        parts.map(|p| (p.part.to_string(), p.carries)).collect()
    }

    /// A project that asks what the harmful adapter loses.
    fn facts() -> Small {
        let small = Small::with_model();
        let suite = std::fs::read_to_string(fixture("suites/facts.toml")).unwrap();
        small.write("small.toml", &suite);
        small
    }

    #[test]
    fn what_comes_back_without_a_part_is_what_it_carried() {
        let small = facts();
        let project = small.open();
        let found = project.ablate(&ablation("harmful")).unwrap();
        assert!(found.probes.lost > 10, "{:?}", found.probes);
        assert!(found.loss() > 0.0);
        let parts = carried(&found);
        assert_eq!(parts.len(), found.layers.len() + found.kinds.len());
        let harm: Vec<f64> = found.parts.iter().map(AblatedPart::harm).collect();
        assert!(harm.is_sorted_by(|a, b| a >= b), "{harm:?}");
        for part in &found.parts {
            let (kept, back) = (part.kept.clone().unwrap(), part.back.clone().unwrap());
            let sum = kept.difference - back.difference;
            assert!((sum + found.loss()).abs() < 1e-9, "{part:?}");
        }
        // Nothing of it is a subject of the project, and nothing is asked twice.
        let runs = project.store.list().unwrap();
        let names: Vec<String> = runs
            .iter()
            .flat_map(|run| run.records().unwrap())
            .map(|record| record.header.subject.name)
            .collect();
        assert!(
            names.iter().all(|name| !name.contains("without")),
            "{names:?}"
        );
        let asked = project.pieces_asked();
        assert_eq!(project.ablate(&ablation("harmful")).unwrap(), found);
        assert_eq!(project.pieces_asked(), asked);
    }

    #[test]
    fn an_adapter_that_lost_nothing_has_no_harm_to_look_for() {
        let small = Small::with_model();
        let project = small.open();
        let noop = project.ablate(&ablation("noop")).unwrap();
        assert_eq!((noop.probes.lost, noop.parts.len()), (0, 0));
        let all = Ablation {
            all: true,
            ..ablation("noop")
        };
        let noop = project.ablate(&all).unwrap();
        assert!(!noop.parts.is_empty());
        assert!(noop.worst().is_none());
        assert!(
            noop.parts
                .iter()
                .all(|p| p.carries == Carries::NothingShown)
        );
    }

    #[test]
    fn what_has_no_parts_is_told() {
        let small = Small::with_model();
        let project = small.open();
        let refused = |ablation: &Ablation| {
            let folder = adapter_folder("").display().to_string();
            let error = project.ablate(ablation).unwrap_err().to_string();
            error.replace(&folder, "adapters/")
        };
        let named = |subject: &str| Ablation {
            subject: subject.into(),
            ..ablation("good")
        };
        insta::assert_snapshot!(refused(&named("base")), @r#"
        "base" is no adapter: only an adapter has parts to switch off
          Name a checkpoint (`ckpt-40`, `run-0001/ckpt-40`) or a PEFT folder.
        "#);
        insta::assert_snapshot!(refused(&named("http://127.0.0.1:9/v1#m")), @r#"
        "http://127.0.0.1:9/v1#m" is no adapter: only an adapter has parts to switch off
          Name a checkpoint (`ckpt-40`, `run-0001/ckpt-40`) or a PEFT folder.
        "#);
        let gone = Ablation {
            only: Some(AdapterPart::Layers {
                first: 40,
                last: 44,
            }),
            ..ablation("good")
        };
        insta::assert_snapshot!(refused(&gone), @"
        adapters/good has nothing on layers 40-44
          It changes q_proj, k_proj, v_proj, o_proj, gate_proj, up_proj, and down_proj on layers 0 to 1.
        ");
    }

    /// The key that is proposed is read by `qeval.toml`, and trains exactly what it says.
    #[test]
    fn training_without_a_part_leaves_it_out_and_nothing_else() {
        let model = ModelConfig::read(&fixture("models/fixture/config.json")).unwrap();
        let adapter = Adapter::read(&adapter_folder("good"), &model).unwrap();
        let found = Ablated {
            name: String::new(),
            folder: PathBuf::new(),
            layers: adapter.layers(),
            kinds: adapter.kinds(),
            probes: AblationProbes::default(),
            whole: None,
            learn: None,
            parts: Vec::new(),
        };
        for part in adapter.bands(99).iter().chain(&adapter.kinds()) {
            let key = found.training_without(part).unwrap();
            let small = Small::new(&format!("[lora]\n{key}\n"));
            let crate::train::TargetSelection::Named(names) =
                small.open().config.lora.target_modules
            else {
                panic!("{key}")
            };
            let config = LoraConfig {
                target_modules: match &names[..] {
                    [one] if one.contains('*') => TargetModules::Pattern(one.clone()),
                    names => TargetModules::Names(names.to_vec()),
                },
                ..LoraConfig::default()
            };
            let mut expected: Vec<ModuleId> = ModuleId::all(&model).collect();
            expected.retain(|id| !part.holds(*id) && adapter.modules.contains_key(id));
            assert_eq!(config.targets(&model, true).unwrap(), expected, "{key}");
        }
    }
}
