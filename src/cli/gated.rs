//! One candidate against the base, measured once and stored: `qeval gate` and the test harness
//! read the same record, and only the first of them measures.

use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions};
use std::path::{Path, PathBuf};

use crate::atomic_file::{self, FileError};
use crate::digest;
use crate::flow::{GateRecord, Goal, Subject, Suite, SuiteVerdict};
use crate::record::SubjectSpec;
use crate::run::{Changed, compare_probes, drifts};
use crate::snapshot::{Asserted, Change, Context, Snapshots, Update, WithinNoise};

use super::args::MeasureArgs;
use super::error::CliError;
use super::judge::causes;
use super::measure::{Assignment, Measured, assign, load_adapter, measure, open, verdicts};
use super::setup::Setup;

/// Folder of the records, in that of the runs.
const FOLDER: &str = "gates";

/// A candidate that is about to be judged: what it is asked, and where its record lies.
pub struct Gating {
    /// What is measured.
    pub assignment: Assignment,
    specs: Vec<SubjectSpec>,
    path: PathBuf,
}

impl Gating {
    /// Works out what is asked of a candidate. Reads neither model nor record.
    ///
    /// # Errors
    /// Settings, suites, or a candidate that are wrong.
    pub fn new(setup: &Setup, args: &MeasureArgs, candidate: &str) -> Result<Self, CliError> {
        let specs = vec![
            setup.store.resolve("base")?,
            setup.store.resolve(candidate)?,
        ];
        let assignment = assign(args, &specs)?;
        let key = key(&assignment, &specs)?;
        let path = setup.store.root().join(FOLDER).join(key + ".json");
        Ok(Gating {
            assignment,
            specs,
            path,
        })
    }

    /// The stored record, else one that is measured now. Of several processes one measures, and
    /// the others wait for it.
    ///
    /// # Errors
    /// A model, adapter, or record that cannot be used, or an interrupt; finished answers are on
    /// disk.
    pub fn record(&self, setup: &Setup) -> Result<GateRecord, CliError> {
        if let Some(record) = self.stored() {
            return Ok(record);
        }
        let _lock = self.lock()?;
        if let Some(record) = self.stored() {
            return Ok(record);
        }
        let mut measured = measure(setup, &self.assignment, &self.specs)?;
        let record = self.build(setup, &mut measured)?;
        self.store(&record)?;
        Ok(record)
    }

    /// Keeps the record of what was measured elsewhere, so that a test finds it.
    ///
    /// # Errors
    /// As [`Gating::record`].
    pub fn keep(&self, setup: &Setup, measured: &mut Measured) -> Result<GateRecord, CliError> {
        if let Some(record) = self.stored() {
            return Ok(record);
        }
        let record = self.build(setup, measured)?;
        self.store(&record)?;
        Ok(record)
    }

    /// The accepted answers of the project.
    pub fn snapshots(&self) -> Snapshots {
        Snapshots::at(&self.assignment.snapshots)
    }

    /// Probes whose answer is not the accepted one by more than noise, with the reason.
    ///
    /// # Errors
    /// A snapshot that cannot be read.
    pub fn changed_snapshots(
        &self,
        record: &GateRecord,
    ) -> Result<Vec<(String, String)>, CliError> {
        let snapshots = self.snapshots();
        let mut changed = Vec::new();
        for probe in &record.probes {
            if let Some(Change::Beyond { why }) = snapshots.change(probe)? {
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
    pub fn leave_for_review(&self, record: &GateRecord) -> Result<usize, CliError> {
        let (snapshots, update) = (self.snapshots(), Update::from_environment()?);
        let mut differing = 0;
        for probe in &record.probes {
            let context = snapshot_context(record, &probe.id.suite);
            let asserted = snapshots.assert(probe, &context, update)?;
            differing += usize::from(matches!(asserted, Asserted::Differs { .. }));
        }
        Ok(differing)
    }

    fn stored(&self) -> Option<GateRecord> {
        let bytes = fs::read(&self.path).ok()?;
        let record: GateRecord = serde_json::from_slice(&bytes).ok()?;
        (record.version == GateRecord::VERSION).then_some(record)
    }

    fn store(&self, record: &GateRecord) -> Result<(), CliError> {
        self.folder()?;
        atomic_file::write(&self.path, serde_json::to_vec_pretty(record)?)?;
        Ok(())
    }

    fn folder(&self) -> Result<(), CliError> {
        let folder = self.path.parent().unwrap_or(Path::new("."));
        fs::create_dir_all(folder).map_err(FileError::at("create", folder))?;
        Ok(())
    }

    /// Waits until no other process measures the same. The system lets go of the lock when its
    /// holder ends, however it ends.
    fn lock(&self) -> Result<File, CliError> {
        self.folder()?;
        let path = self.path.with_extension("lock");
        let file = OpenOptions::new()
            .create(true)
            .truncate(false)
            .write(true)
            .open(&path)
            .map_err(FileError::at("open", &path))?;
        file.lock().map_err(FileError::at("lock", &path))?;
        Ok(file)
    }

    fn build(&self, setup: &Setup, measured: &mut Measured) -> Result<GateRecord, CliError> {
        let verdict = verdicts(&self.assignment, measured)
            .pop()
            .ok_or(CliError::NoCandidate)?;
        let causes = causes(&self.assignment, measured, 1);
        let noise = measured.noise.take().unwrap_or_default();
        let loaded = measured.session.take();
        let measured = &*measured;
        let (base, candidate) = (&measured.measurements[0], &measured.measurements[1]);
        let mut probes = compare_probes(&self.assignment.suites, base, candidate, Some(&noise));
        let found = self.changed(&probes, measured)?;
        if !found.is_empty() {
            let session = match loaded {
                Some(session) => session,
                None => open(setup, &self.assignment)?,
            };
            let spec = &self.specs[1];
            let adapter = match spec.folder() {
                None => None,
                Some(folder) => Some(load_adapter(setup, &session, spec, folder)?),
            };
            let changed: Vec<Changed<'_>> = found.iter().map(|f| f.changed()).collect();
            let all = drifts(&session, adapter, &changed, setup.slots)?;
            for (found, drift) in found.iter().zip(all) {
                if let Some(case) = probes
                    .get_mut(found.place.0)
                    .and_then(|p| p.cases.get_mut(found.place.1))
                {
                    case.drift = drift;
                }
            }
        }
        Ok(GateRecord {
            version: GateRecord::VERSION,
            base: named(&measured.subjects[0], &self.assignment.model),
            candidate: named(&measured.subjects[1], ""),
            verdict,
            causes,
            probes,
            noise: noise.suites,
        })
    }

    /// Answers that differ from the accepted ones by more than noise.
    fn changed<'a>(
        &'a self,
        probes: &[crate::flow::ProbeComparison],
        measured: &'a Measured,
    ) -> Result<Vec<Found<'a>>, CliError> {
        let snapshots = self.snapshots();
        let asked: Vec<(&Suite, &crate::flow::Probe)> = self
            .assignment
            .suites
            .iter()
            .flat_map(|s| s.probes.iter().map(move |p| (s, p)))
            .collect();
        let mut found = Vec::new();
        for (p, (comparison, (_, probe))) in probes.iter().zip(&asked).enumerate() {
            let Some(saved) = snapshots.saved(&comparison.id)? else {
                continue;
            };
            let noise = WithinNoise {
                noise: comparison.noise,
            };
            for (c, (case, saved)) in comparison.cases.iter().zip(saved.cases).enumerate() {
                let (Some(new), Some(accepted)) = (&case.candidate, saved.candidate) else {
                    continue;
                };
                let place = (
                    crate::flow::CaseId {
                        suite: comparison.id.suite.clone(),
                        probe: comparison.id.probe.clone(),
                        prompt: c,
                    },
                    0,
                );
                let answer = measured.measurements[1].answers.get(&place);
                if let (true, Some(answer)) = (noise.differs(&accepted, new), answer) {
                    found.push(Found {
                        place: (p, c),
                        probe,
                        accepted,
                        answer,
                    });
                }
            }
        }
        Ok(found)
    }
}

/// An answer that differs from the accepted one.
struct Found<'a> {
    place: (usize, usize),
    probe: &'a crate::flow::Probe,
    accepted: String,
    answer: &'a crate::flow::Answer,
}

impl Found<'_> {
    fn changed(&self) -> Changed<'_> {
        Changed {
            probe: self.probe,
            prompt: self.place.1,
            accepted: &self.accepted,
            answer: self.answer,
        }
    }
}

/// What of a record stands in the header of a probe's snapshot.
pub fn snapshot_context(record: &GateRecord, suite: &str) -> Context {
    let own = record.verdict.suites.iter().find(|s| s.suite == suite);
    Context {
        base: record.base.clone(),
        candidate: record.candidate.clone(),
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

/// A subject's name with what identifies it.
fn named(subject: &Subject, model: &str) -> String {
    match &subject.adapter {
        None => {
            let name = Path::new(model).file_name().map(|n| n.to_string_lossy());
            name.map_or_else(|| model.to_owned(), |name| name.into_owned())
        }
        Some(adapter) => {
            let scale = match adapter.scale {
                1.0 => String::new(),
                scale => format!(" at {scale}"),
            };
            format!("{} {}{scale}", subject.name, digest::short(&adapter.digest))
        }
    }
}

/// Digest of everything that can change the record. The model's files count by name, size, and
/// time: reading gigabytes would take longer than most runs.
fn key(assignment: &Assignment, specs: &[SubjectSpec]) -> Result<String, CliError> {
    let mut parts = digest::Parts::new("gate")
        .part("version", env!("CARGO_PKG_VERSION"))
        .part("layout", GateRecord::VERSION.to_le_bytes())
        .part("model", &assignment.model)
        .part("files", files(Path::new(&assignment.model)))
        .part("dtype", json(&assignment.dtype))
        .part("system", json(&assignment.system))
        .part("rules", json(&assignment.rules))
        .part("training", json(&assignment.training_answers))
        .part("noise", [u8::from(assignment.noise)])
        .part("seed", assignment.seed.to_le_bytes());
    for suite in &assignment.suites {
        parts = parts.part("suite", json(suite));
    }
    for spec in specs {
        let subject = spec.subject()?;
        parts = parts.part("subject", json(&subject));
    }
    Ok(parts.finish()[..24].to_owned())
}

/// A value for a digest. One that cannot be written changes with nothing, which no value here can.
fn json(value: &impl serde::Serialize) -> String {
    serde_json::to_string(value).unwrap_or_default()
}

/// Names, sizes, and times of a model's files.
fn files(path: &Path) -> String {
    let mut all = BTreeMap::new();
    let mut add = |path: &Path| {
        if let Ok(meta) = fs::metadata(path)
            && meta.is_file()
        {
            let time = meta
                .modified()
                .ok()
                .and_then(|t| t.duration_since(std::time::UNIX_EPOCH).ok());
            let name = path.file_name().map(|n| n.to_string_lossy().into_owned());
            all.insert(name.unwrap_or_default(), (meta.len(), time));
        }
    };
    add(path);
    for entry in fs::read_dir(path).into_iter().flatten().flatten() {
        add(&entry.path());
    }
    format!("{all:?}")
}
