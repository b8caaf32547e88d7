//! One candidate against the base, measured once and stored under the digest of its order: `qeval
//! gate`, its reports, and the test harness read the same record, and only the first of them
//! measures.
//!
//! # Format 2
//! `gates/DIGEST.json` in the folder of runs: `{"version": 2, "comparison": {..}}`, a
//! [`Comparison`] with one candidate. Version 1 kept the first draw of each wording alone, and names
//! instead of subjects; it is read as it is.

use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::atomic_file::{self, FileError};
use crate::flow::{
    AdapterRef, Candidate, CaseComparison, CaseId, CheckComparison, Comparison, Drift, Goal, Probe,
    ProbeComparison, ProbeId, ProbeNoise, SampleComparison, Subject, SuiteNoise, SuiteVerdict,
    Verdict,
};
use crate::record::{RecordError, SubjectSpec, damaged, read_kept};
use crate::run::{Changed, drifts, own_answers};
use crate::snapshot::{Asserted, Change, Context, Snapshots, Update, WithinNoise};

use super::error::ProjectError;
use super::measure::MeasuredOrder;
use super::open::Project;
use super::order::Order;

/// Folder of the records, in that of the runs.
const FOLDER: &str = "gates";
/// The layout that this version writes.
const VERSION: u32 = 2;

/// A candidate that was judged, with what the project's snapshots say of it.
pub struct GatedCandidate {
    /// The base and one candidate.
    pub comparison: Comparison,
    /// The accepted answers of the project.
    pub snapshots: Snapshots,
}

impl Project {
    /// Judges the one candidate of an order: from the stored record, else measured now. Of several
    /// processes one measures, and the others wait for it.
    ///
    /// # Errors
    /// A model, adapter, or record that cannot be used, or an interrupt; finished answers are on
    /// disk.
    pub fn gate(&self, order: &Order) -> Result<GatedCandidate, ProjectError> {
        let gated = self.judged(order)?;
        if let (Some(candidate), Some(spec)) = (gated.candidate(), order.subjects.get(1)) {
            let of = (&gated.comparison, candidate);
            self.remember("gate", &order.digest()?, &spec.name, of);
        }
        Ok(gated)
    }

    fn judged(&self, order: &Order) -> Result<GatedCandidate, ProjectError> {
        let digest = order.digest()?;
        let path = self
            .store
            .root()
            .join(FOLDER)
            .join(format!("{digest}.json"));
        let gated = |comparison| GatedCandidate {
            // The same questions can come from another revision.
            comparison: Comparison {
                exam: order.exam.clone(),
                ..comparison
            },
            snapshots: Snapshots::at(&order.snapshots),
        };
        // What stands behind a server's name can change: its answers are kept, no verdict is.
        let kept = !order.is_served();
        if kept && let Ok(Some(comparison)) = read(&path) {
            return Ok(gated(comparison));
        }
        let _lock = lock(&path)?;
        match read(&path) {
            Ok(Some(comparison)) if kept => return Ok(gated(comparison)),
            Ok(_) => {}
            Err(error) => self.notice(format!("the gate is judged again: {error}")),
        }
        let measured = self.measure(order)?;
        let mut comparison = order.compare(&measured.measurements, measured.noise.as_ref());
        self.weigh_own_answers(order, &measured, &mut comparison)?;
        let mut gated = gated(comparison);
        // A server says nothing of the probability of what was accepted.
        if kept {
            self.find_drift(order, measured, &mut gated)?;
        }
        let record = Stored {
            version: VERSION,
            comparison: &gated.comparison,
        };
        atomic_file::write(&path, serde_json::to_vec_pretty(&record)?)?;
        Ok(gated)
    }

    /// What candidates make of the base's own answers, where the base is loaded anyway.
    pub(super) fn weigh_own_answers(
        &self,
        order: &Order,
        measured: &MeasuredOrder,
        comparison: &mut Comparison,
    ) -> Result<(), ProjectError> {
        let (Some(session), Some(base)) = (&measured.session, measured.measurements.first()) else {
            return Ok(());
        };
        if order.is_served() || base.subject.adapter.is_some() {
            return Ok(());
        }
        let candidates = comparison.candidates.iter_mut().zip(&order.subjects[1..]);
        for (candidate, spec) in candidates {
            let Some(adapter) = self.adapter_again(session, spec)? else {
                continue;
            };
            let (asking, mut on_event) = (self.asking(session)?, self.listener());
            let own = own_answers(asking, &order.suites, base, &[adapter], &mut on_event)?;
            candidate.with_own_answers(own.first().copied().flatten());
        }
        Ok(())
    }

    /// Where answers part from the accepted ones, for those that differ by more than noise.
    fn find_drift(
        &self,
        order: &Order,
        measured: MeasuredOrder,
        gated: &mut GatedCandidate,
    ) -> Result<(), ProjectError> {
        let (Some(candidate), Some(measurement), Some(spec)) = (
            gated.comparison.candidates.first_mut(),
            measured.measurements.get(1),
            order.subjects.get(1),
        ) else {
            return Ok(());
        };
        let found = beyond_noise(order, &candidate.probes, &gated.snapshots)?;
        let changed: Vec<(Place, Changed<'_>)> = found
            .iter()
            .filter_map(|(place, probe, accepted)| {
                let case = CaseId {
                    suite: candidate.probes[place.0].id.suite.clone(),
                    probe: probe.id.clone(),
                    prompt: place.1,
                };
                let changed = Changed {
                    probe,
                    prompt: place.1,
                    accepted,
                    answer: measurement.answers.get(&(case, 0))?,
                };
                Some((*place, changed))
            })
            .collect();
        if changed.is_empty() {
            return Ok(());
        }
        let (places, changed): (Vec<Place>, Vec<Changed<'_>>) = changed.into_iter().unzip();
        let all = self.drift_of(order, measured.session, spec, &changed)?;
        for ((probe, case), drift) in places.into_iter().zip(all) {
            candidate.probes[probe].cases[case].drift = drift;
        }
        Ok(())
    }

    fn drift_of(
        &self,
        order: &Order,
        session: Option<crate::run::Session>,
        spec: &SubjectSpec,
        changed: &[Changed<'_>],
    ) -> Result<Vec<Option<Drift>>, ProjectError> {
        let session = self.session_left(order, session)?;
        let adapter = self.adapter(&session, spec)?;
        let asking = self.asking(&session)?;
        Ok(drifts(asking, adapter, changed, &mut self.listener())?)
    }
}

/// Place of a probe in a comparison, and of one of its wordings.
type Place = (usize, usize);

/// First answers that differ from the accepted ones by more than noise, with what was accepted.
fn beyond_noise<'o>(
    order: &'o Order,
    probes: &[ProbeComparison],
    snapshots: &Snapshots,
) -> Result<Vec<(Place, &'o Probe, String)>, ProjectError> {
    let asked = order.suites.iter().flat_map(|s| &s.probes);
    let mut found = Vec::new();
    for (p, (comparison, probe)) in probes.iter().zip(asked).enumerate() {
        let Some(saved) = snapshots.saved(&comparison.id)? else {
            continue;
        };
        let noise = WithinNoise {
            noise: comparison.noise,
        };
        for (c, (case, saved)) in comparison.cases.iter().zip(saved.cases).enumerate() {
            let new = case.samples.first().and_then(|s| s.candidate.as_ref());
            let (Some(new), Some(accepted)) = (new, saved.candidate) else {
                continue;
            };
            if noise.differs(&accepted, new) {
                found.push(((p, c), probe, accepted));
            }
        }
    }
    Ok(found)
}

impl GatedCandidate {
    /// The candidate. A comparison without one is never stored.
    pub fn candidate(&self) -> Option<&Candidate> {
        self.comparison.candidates.first()
    }

    /// Probes whose answer is not the accepted one by more than noise, with the reason.
    ///
    /// # Errors
    /// A snapshot that cannot be read.
    pub fn changed_snapshots(&self) -> Result<Vec<(String, String)>, ProjectError> {
        let mut changed = Vec::new();
        for probe in self.candidate().iter().flat_map(|c| &c.probes) {
            if let Some(Change::Beyond { why }) = self.snapshots.change(probe)? {
                changed.push((probe.id.to_string(), why));
            }
        }
        Ok(changed)
    }

    /// Writes what differs from the accepted answers beside them, as `INSTA_UPDATE` asks, and
    /// counts it.
    ///
    /// # Errors
    /// A snapshot that cannot be read or written.
    pub fn leave_for_review(&self) -> Result<usize, ProjectError> {
        let update = Update::from_environment()?;
        let mut differing = 0;
        let Some(candidate) = self.candidate() else {
            return Ok(0);
        };
        for probe in &candidate.probes {
            let context = snapshot_context(&self.comparison, candidate, &probe.id.suite);
            let asserted = self.snapshots.assert(probe, &context, update)?;
            differing += usize::from(matches!(asserted, Asserted::Differs { .. }));
        }
        Ok(differing)
    }
}

/// What of a comparison stands in the header of a probe's snapshot.
pub fn snapshot_context(comparison: &Comparison, candidate: &Candidate, suite: &str) -> Context {
    let own = candidate.verdict.suites.iter().find(|s| s.suite == suite);
    Context {
        base: comparison.base_label(),
        candidate: candidate.subject.label(),
        interval: own.map(interval).unwrap_or_default(),
    }
}

/// A suite's paired difference with its interval.
fn interval(suite: &SuiteVerdict) -> String {
    match (&suite.estimate, suite.goal) {
        (Some(e), Goal::Keep) => {
            format!("{:+.2} [{:+.2}, {:+.2}]", e.difference, e.lower, e.upper)
        }
        (Some(e), Goal::Learn) => format!("{:.2} from {:.2}", e.candidate_mean, e.base_mean),
        (None, _) => String::new(),
    }
}

/// Waits until no other process measures the same. The system lets go of the lock when its holder
/// ends, however it ends.
fn lock(record: &Path) -> Result<File, ProjectError> {
    let folder = record.parent().unwrap_or(Path::new("."));
    fs::create_dir_all(folder).map_err(FileError::at("create", folder))?;
    let path: PathBuf = record.with_extension("lock");
    let file = OpenOptions::new()
        .create(true)
        .truncate(false)
        .write(true)
        .open(&path)
        .map_err(FileError::at("open", &path))?;
    file.lock().map_err(FileError::at("lock", &path))?;
    Ok(file)
}

#[derive(Serialize)]
struct Stored<'a> {
    version: u32,
    comparison: &'a Comparison,
}

/// A record of any version; `None` where there is none.
///
/// # Errors
/// What is there is no record.
pub(super) fn read(path: &Path) -> Result<Option<Comparison>, RecordError> {
    #[derive(Deserialize)]
    struct Versioned {
        version: u32,
    }
    #[derive(Deserialize)]
    struct Version2 {
        comparison: Comparison,
    }
    let comparison: Option<Comparison> = match read_kept::<Versioned>(path)?.map(|v| v.version) {
        None => None,
        Some(1) => read_kept::<Version1>(path)?.map(Into::into),
        Some(VERSION) => read_kept::<Version2>(path)?.map(|record| record.comparison),
        Some(other) => {
            let reason = format!("its version is {other}, this qeval reads {VERSION}");
            return Err(damaged(path, reason));
        }
    };
    match comparison {
        Some(comparison) if comparison.candidates.is_empty() => {
            Err(damaged(path, "it judges nobody".to_owned()))
        }
        comparison => Ok(comparison),
    }
}

/// Every record in a folder of runs, by the digest of its order.
pub(super) fn stored(runs: &Path) -> Vec<(String, PathBuf)> {
    let entries = fs::read_dir(runs.join(FOLDER)).into_iter().flatten();
    let mut all: Vec<(String, PathBuf)> = entries
        .flatten()
        .map(|entry| entry.path())
        .filter(|path| path.extension().is_some_and(|e| e == "json"))
        .filter_map(|path| Some((path.file_stem()?.to_str()?.to_owned(), path)))
        .collect();
    all.sort();
    all
}

/// What version 1 wrote.
#[derive(Deserialize)]
struct Version1 {
    base: String,
    candidate: String,
    verdict: Verdict,
    causes: Vec<String>,
    probes: Vec<Probe1>,
    noise: BTreeMap<String, SuiteNoise>,
}

#[derive(Deserialize)]
struct Probe1 {
    id: ProbeId,
    critical: bool,
    digest: String,
    cases: Vec<Case1>,
    noise: Option<ProbeNoise>,
}

#[derive(Deserialize)]
struct Case1 {
    prompt: String,
    base: Option<String>,
    candidate: Option<String>,
    checks: Vec<CheckComparison>,
    drift: Option<Drift>,
}

impl From<Version1> for Comparison {
    fn from(old: Version1) -> Self {
        let case = |case: Case1| CaseComparison {
            prompt: case.prompt,
            samples: vec![SampleComparison {
                base: case.base,
                candidate: case.candidate,
                checks: case.checks,
                continued: false,
                further: false,
                base_thinking: None,
                candidate_thinking: None,
            }],
            drift: case.drift,
        };
        let probes = old.probes.into_iter().map(|probe| ProbeComparison {
            id: probe.id,
            critical: probe.critical,
            digest: probe.digest,
            cases: probe.cases.into_iter().map(case).collect(),
            noise: probe.noise,
        });
        Comparison {
            model: old.base,
            base: Subject::base(),
            candidates: vec![Candidate {
                subject: labelled(&old.candidate),
                verdict: old.verdict,
                causes: old.causes,
                own_answers: None,
                probes: probes.collect(),
            }],
            noise: old.noise,
            exam: None,
            baseline: None,
        }
    }
}

/// `ckpt-40 c0ffee12 at 0.5` -> the subject of which this is the label.
fn labelled(label: &str) -> Subject {
    let (label, scale) = label.rsplit_once(" at ").unwrap_or((label, "1"));
    let (name, digest) = label.rsplit_once(' ').unwrap_or((label, ""));
    Subject {
        name: name.to_owned(),
        adapter: Some(AdapterRef {
            path: PathBuf::new(),
            digest: digest.to_owned(),
            scale: scale.parse().unwrap_or(1.0),
            step: None,
        }),
        server: None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Written by qeval 0.1.0 before draws were kept. Never edited: old records stay readable.
    #[test]
    fn version_1_stays_readable() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/fixtures/records/gate-v1.json");
        let comparison = read(Path::new(path)).unwrap().unwrap();
        assert_eq!(comparison.base_label(), "model");
        let candidate = &comparison.candidates[0];
        assert_eq!(candidate.subject.label(), "ckpt-42 7e48e5b0f64b");
        assert!(!candidate.probes.is_empty());
        assert!(candidate.probes.iter().all(|p| p.means().is_some()));
        let pooled = candidate.verdict.pooled.estimate.as_ref().unwrap();
        let keep: Vec<&ProbeComparison> = candidate
            .probes
            .iter()
            .filter(|p| {
                let mut suites = candidate.verdict.suites.iter();
                suites.any(|s| s.suite == p.id.suite && s.goal == Goal::Keep)
            })
            .collect();
        let means = keep.iter().filter_map(|p| p.means());
        let mean = means.map(|(_, new)| new).sum::<f64>() / keep.len() as f64;
        assert!((mean - pooled.candidate_mean).abs() < 1e-9);
    }

    #[test]
    fn what_is_no_record_is_told_and_not_taken_for_none() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("r.json");
        assert_eq!(read(&path).unwrap(), None);
        for text in ["", "{", "{}", r#"{"version": 9}"#, r#"{"version": 2}"#] {
            fs::write(&path, text).unwrap();
            let error = read(&path).unwrap_err().to_string();
            assert!(error.contains("r.json: cannot be read"), "{text}: {error}");
        }
    }

    #[test]
    fn a_label_names_its_subject() {
        for label in [
            "ckpt-40 c0ffee12",
            "ckpt-40@0.5 c0ffee12 at 0.5",
            "a b c0ffee12",
        ] {
            assert_eq!(labelled(label).label(), label);
        }
    }
}
