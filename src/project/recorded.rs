//! What the records hold, found by name: for exports, which load no model and measure nothing.

use crate::check::Taught;
use crate::flow::{Comparison, Measurement, Recorded, Suite};
use crate::gate::Rules;
use crate::record::{RecordEntry, Run, read_kept, read_record};
use crate::run::{
    BuiltChecks, Further, RunError, RunProvenance, SUITES_FILE, StoredPart, compare, recorded,
    second_base, stored_part,
};
use crate::text::{all_of, plural};

use super::error::ProjectError;
use super::open::Project;
use super::order::{leaked_by, look};

/// A record with the run that it lies in.
struct Found {
    run: Run,
    entry: RecordEntry,
}

impl Found {
    /// `run-0001/ckpt-40`.
    fn name(&self) -> String {
        format!("{}/{}", self.run.id(), self.entry.header.subject.name)
    }
}

impl Project {
    /// What is recorded under these names, in their order and each once: a run stands for all its
    /// subjects, `RUN/SUBJECT` for one, and a subject for the newest run that has it. Without a name
    /// the newest run that has answers. Tells what of a record is left out, and why.
    ///
    /// # Errors
    /// Nothing is recorded of a name, or only of suites that are no longer known; a record or a
    /// suite that cannot be read.
    pub fn recorded(&self, names: &[String]) -> Result<Vec<Recorded>, ProjectError> {
        let mut found: Vec<Found> = Vec::new();
        for one in self.found_records(names)? {
            if found.iter().all(|other| other.entry.path != one.entry.path) {
                found.push(one);
            }
        }
        found.iter().map(|one| self.read(one)).collect()
    }

    /// Every candidate among what is recorded, judged against the base of its run by the run's own
    /// rules, as `gate` would.
    ///
    /// # Errors
    /// A run without a base, or nothing but bases.
    pub fn recorded_comparisons(
        &self,
        recorded: &[Recorded],
    ) -> Result<Vec<Comparison>, ProjectError> {
        let mut comparisons = Vec::new();
        for candidate in recorded.iter().filter(|r| !is_base(r)) {
            let run = self.store.run(&candidate.run)?;
            let Some(entry) = run.record_of("base")? else {
                let missing = format!("{} has no base", run.id());
                return Err(nothing(std::slice::from_ref(candidate), missing));
            };
            let base = self.read(&Found {
                run: run.clone(),
                entry,
            })?;
            let asked = |suite: &Suite| base.suites.iter().any(|s| s.name == suite.name);
            let suites: Vec<Suite> = candidate
                .suites
                .iter()
                .filter(|s| asked(s))
                .cloned()
                .collect();
            let (rules, training) = self.rules_of(&run, &suites)?;
            let measured = vec![base.measurement, candidate.measurement.clone()];
            let measured = self.with_recorded_further(&run, &suites, measured)?;
            comparisons.push(compare(
                &candidate.model,
                &suites,
                &rules,
                &Taught::new(training.as_deref(), &self.check_settings().names),
                &measured,
                None,
            ));
        }
        match comparisons.is_empty() {
            true => Err(nothing(recorded, "no candidate is among them".to_owned())),
            false => Ok(comparisons),
        }
    }

    /// Adds what was recorded of further draws, where all of it was.
    fn with_recorded_further(
        &self,
        run: &Run,
        suites: &[Suite],
        mut measured: Vec<Measurement>,
    ) -> Result<Vec<Measurement>, ProjectError> {
        let built = BuiltChecks::of(suites).map_err(RunError::from)?;
        let Some(further) = Further::of(suites, &built, &measured) else {
            return Ok(measured);
        };
        let settings = self.check_settings();
        let asked = further.places().into_iter().map(|place| {
            let subject = Further::subject(&measured[place].subject);
            recorded(run, &subject, &further.suites, &built, &settings)
        });
        if let Some(said) = asked.collect::<Result<Option<Vec<_>>, _>>()? {
            further.join(&mut measured, said);
        }
        Ok(measured)
    }

    /// How candidates of a run are judged, and what they were trained to say.
    fn rules_of(
        &self,
        run: &Run,
        suites: &[Suite],
    ) -> Result<(Rules, Option<Vec<String>>), ProjectError> {
        let provenance: RunProvenance = run.provenance()?;
        let Some(trained) = provenance.config.training() else {
            let rules = Rules {
                leaked: leaked_by(self, suites),
                ..self.rules()
            };
            return Ok((rules, None));
        };
        let rules = Rules {
            margin: self.overrides.margin.unwrap_or(trained.rules.margin),
            ..trained.rules.clone()
        };
        let training = Some(trained.training_answers.clone());
        Ok((look(rules, Some(run))?, training))
    }

    fn found_records(&self, names: &[String]) -> Result<Vec<Found>, ProjectError> {
        // The newest run first.
        let mut runs = self.store.list()?;
        runs.reverse();
        if names.is_empty() {
            for run in &runs {
                let all = all_of_run(run)?;
                if !all.is_empty() {
                    return Ok(all);
                }
            }
            return Err(self.no_record(None, &runs)?);
        }
        let mut found = Vec::new();
        for name in names {
            let some = self.named(name, &runs)?;
            if some.is_empty() {
                return Err(self.no_record(Some(name), &runs)?);
            }
            found.extend(some);
        }
        Ok(found)
    }

    fn named(&self, name: &str, runs: &[Run]) -> Result<Vec<Found>, ProjectError> {
        if let Some(run) = self.store.find(name) {
            return all_of_run(&run);
        }
        if let Some((run, subject)) = name.split_once('/')
            && let Some(run) = self.store.find(run)
        {
            return Ok(of_run(&run, subject)?.into_iter().collect());
        }
        for run in runs {
            if let Some(found) = of_run(run, name)? {
                return Ok(vec![found]);
            }
        }
        Ok(Vec::new())
    }

    fn no_record(&self, name: Option<&String>, runs: &[Run]) -> Result<ProjectError, ProjectError> {
        let mut known = Vec::new();
        for run in runs.iter().rev() {
            known.extend(all_of_run(run)?.iter().map(Found::name));
        }
        Ok(ProjectError::NoRecord {
            name: name.cloned(),
            runs: self.store.root().to_owned(),
            known,
        })
    }

    fn read(&self, found: &Found) -> Result<Recorded, ProjectError> {
        let provenance: RunProvenance = found.run.provenance()?;
        let record = read_record(&found.entry.path)?;
        let mut suites = Vec::new();
        // As the run asked them; later ones may have been asked too.
        let own: Option<Vec<Suite>> = read_kept(&found.run.folder().join(SUITES_FILE))?;
        if let Some(own) = own {
            suites.extend(self.asked_probes().apply(&own)?);
        }
        let is_known = |name: &String| {
            let digest = record.suites.get(name);
            suites
                .iter()
                .any(|s: &Suite| s.name == *name && Some(&s.digest) == digest)
        };
        if !record.suites.keys().all(is_known) {
            suites.extend_from_slice(self.suites()?);
        }
        let part = stored_part(&record, &suites, &self.check_settings())?;
        self.tell(found, &part)?;
        let system = record.header.server.is_none().then_some(provenance.system);
        Ok(Recorded {
            run: found.run.id().to_owned(),
            created_unix_ms: provenance.created_unix_ms,
            model: provenance.base.name,
            base_digest: record.header.base,
            template_digest: provenance.base.template,
            engine: record.header.engine,
            system: system.flatten(),
            seed: provenance.seed,
            suites: part.suites,
            measurement: part.measurement,
        })
    }

    /// Says what of a record is left out.
    fn tell(&self, found: &Found, part: &StoredPart) -> Result<(), ProjectError> {
        let mut why = Vec::new();
        if !part.changed.is_empty() {
            why.push(format!(
                "changed since, or judged by other settings: {}",
                all_of(&part.changed)
            ));
        }
        if !part.others.is_empty() {
            why.push(format!("not selected: {}", all_of(&part.others)));
        }
        if part.left_out > 0 {
            why.push(format!(
                "{} of probes that are not selected",
                plural(part.left_out, "answer")
            ));
        }
        if part.suites.is_empty() {
            return Err(ProjectError::OtherSuites {
                record: found.name(),
                subject: found.entry.header.subject.name.clone(),
                why: match why.is_empty() {
                    true => "it has none at all".to_owned(),
                    false => why.join("; "),
                },
            });
        }
        if !why.is_empty() {
            let why = why.join("; ");
            self.notice(format!("{}: left out of its suites: {why}", found.name()));
        }
        Ok(())
    }
}

/// Whether it is the base itself, with no other model behind its name.
fn is_base(recorded: &Recorded) -> bool {
    recorded.subject().name == "base"
}

fn nothing(recorded: &[Recorded], missing: String) -> ProjectError {
    let name = |r: &Recorded| format!("{}/{}", r.run, r.subject().name);
    ProjectError::NothingToCompare {
        names: recorded.iter().map(name).collect(),
        missing,
    }
}

/// Every subject of a run; answers that only the noise floor was made of are none, nor are further
/// draws.
fn all_of_run(run: &Run) -> Result<Vec<Found>, ProjectError> {
    let second = second_base().name;
    let entries = run.records()?.into_iter();
    Ok(entries
        .filter(|entry| {
            let name = &entry.header.subject.name;
            *name != second && !Further::is_record_of(name)
        })
        .map(|entry| Found {
            run: run.clone(),
            entry,
        })
        .collect())
}

/// The record of a subject by the name that records use, or by that of its folder.
fn of_run(run: &Run, subject: &str) -> Result<Option<Found>, RunError> {
    let as_folder = subject.strip_prefix("checkpoint-");
    let name = as_folder.map_or_else(|| subject.to_owned(), |step| format!("ckpt-{step}"));
    let entry = run.record_of(&name)?;
    Ok(entry.map(|entry| Found {
        run: run.clone(),
        entry,
    }))
}
