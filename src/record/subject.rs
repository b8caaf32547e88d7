//! What a subject on the command line means.

use std::path::{Path, PathBuf};

use super::store::checkpoint_step;
use super::{RecordError, Run, Store};
use crate::digest;
use crate::flow::{AdapterRef, ServedModel, Subject};

/// A subject as the user named it, found on disk.
#[derive(Debug, Clone, PartialEq)]
pub struct SubjectSpec {
    /// As the user wrote it: `ckpt-40@0.5`.
    pub name: String,
    /// What it is.
    pub source: SubjectSource,
    /// Multiplies the adapter's own scale; 1 unless written after `@`.
    pub scale: f64,
}

/// Where a subject lies.
#[derive(Debug, Clone, PartialEq)]
pub enum SubjectSource {
    /// The base alone.
    Base,
    /// A checkpoint of a run.
    Checkpoint {
        /// The run.
        run: Run,
        /// Its step.
        step: usize,
        /// Its PEFT folder.
        folder: PathBuf,
    },
    /// A model behind a server.
    Server {
        /// `http://host:8000/v1#model`.
        address: String,
    },
    /// A PEFT folder from anywhere.
    Folder {
        /// The folder.
        folder: PathBuf,
    },
}

impl SubjectSpec {
    /// The adapter's folder; `None` for the base.
    pub fn folder(&self) -> Option<&Path> {
        match &self.source {
            SubjectSource::Base | SubjectSource::Server { .. } => None,
            SubjectSource::Checkpoint { folder, .. } | SubjectSource::Folder { folder } => {
                Some(folder)
            }
        }
    }

    /// The subject under the name that its own run's records use: `ckpt-40`, also when the user
    /// wrote `RUN/ckpt-40`. Other subjects keep the user's name. Reads the adapter for its digest.
    ///
    /// # Errors
    /// A file of the adapter is missing or cannot be read.
    pub fn subject(&self) -> Result<Subject, RecordError> {
        if let SubjectSource::Server { address } = &self.source {
            let (url, model) = address.split_once('#').unwrap_or((address, ""));
            return Ok(Subject {
                name: self.name.clone(),
                adapter: None,
                server: Some(ServedModel {
                    url: url.trim_end_matches('/').to_owned(),
                    model: model.to_owned(),
                }),
            });
        }
        let Some(folder) = self.folder() else {
            return Ok(Subject::base());
        };
        let not_an_adapter = |error: std::io::Error| RecordError::NotAnAdapter {
            spec: self.name.clone(),
            path: folder.to_path_buf(),
            reason: error.to_string(),
        };
        let (name, step) = match &self.source {
            SubjectSource::Checkpoint { step, .. } => (format!("ckpt-{step}"), Some(*step)),
            _ => (self.name.clone(), folder_step(folder)),
        };
        let scaled = matches!(self.source, SubjectSource::Checkpoint { .. }) && self.scale != 1.0;
        let name = if scaled {
            format!("{name}@{}", self.scale)
        } else {
            name
        };
        let adapter = AdapterRef {
            path: folder.to_path_buf(),
            digest: digest::adapter_folder(folder).map_err(not_an_adapter)?,
            scale: self.scale,
            step,
        };
        Ok(Subject {
            name,
            adapter: Some(adapter),
            server: None,
        })
    }
}

pub(super) fn resolve(store: &Store, spec: &str) -> Result<SubjectSpec, RecordError> {
    let whole = |source| SubjectSpec {
        name: spec.to_owned(),
        source,
        scale: 1.0,
    };
    if spec == "base" {
        return Ok(whole(SubjectSource::Base));
    }
    let scheme = spec.get(..8).unwrap_or(spec).to_ascii_lowercase();
    if scheme.starts_with("http://") || scheme.starts_with("https://") {
        let address = spec.to_owned();
        return Ok(whole(SubjectSource::Server { address }));
    }
    // A folder may have an `@` of its own: its whole name comes first.
    if spec.contains('@') && Path::new(spec).is_dir() {
        return Ok(whole(adapter_folder(spec, Path::new(spec))?));
    }
    let Some((name, scale)) = spec.rsplit_once('@') else {
        return Ok(whole(find(store, spec, spec)?));
    };
    if name == "base" {
        return Err(RecordError::ScaledBase {
            spec: spec.to_owned(),
        });
    }
    let number = scale
        .parse()
        .ok()
        .filter(|scale: &f64| scale.is_finite() && *scale >= 0.0);
    let Some(number) = number else {
        return Err(RecordError::Scale {
            spec: spec.to_owned(),
            scale: scale.to_owned(),
        });
    };
    Ok(SubjectSpec {
        scale: number,
        ..whole(find(store, spec, name)?)
    })
}

/// `name` is `spec` without its scale.
fn find(store: &Store, spec: &str, name: &str) -> Result<SubjectSource, RecordError> {
    if let Some(step) = checkpoint_step(name) {
        return in_latest(store, spec, step);
    }
    if let Some((run, checkpoint)) = name.rsplit_once('/')
        && let Some(step) = checkpoint_step(checkpoint)
        && !run.contains('/')
    {
        if let Some(run) = store.find(run) {
            return checkpoint_of(store, spec, &run, step);
        }
        if !Path::new(name).exists() && run != "." && run != ".." {
            store.run(run)?;
        }
    }
    if Path::new(name).exists() {
        return adapter_folder(spec, Path::new(name));
    }
    let mut known = vec!["base".to_owned()];
    for run in store.list()? {
        known.extend(
            run.checkpoints()?
                .iter()
                .map(|c| format!("{}/ckpt-{}", run.id(), c.step)),
        );
    }
    Err(RecordError::NoSubject {
        spec: spec.to_owned(),
        known,
    })
}

fn in_latest(store: &Store, spec: &str, step: usize) -> Result<SubjectSource, RecordError> {
    for run in store.list()?.into_iter().rev() {
        // Runs that only answered are passed over: `qeval run ckpt-40` makes one, and the
        // `qeval diff base ckpt-40` after it means the same checkpoint.
        if !run.checkpoints()?.is_empty() {
            return checkpoint_of(store, spec, &run, step);
        }
    }
    // The run that is meant may be one that cannot be read.
    match store.damaged()?.into_iter().next() {
        Some(damaged) => Err(damaged),
        None => Err(RecordError::NoCheckpoints {
            spec: spec.to_owned(),
            runs: store.root().to_path_buf(),
        }),
    }
}

fn checkpoint_of(
    store: &Store,
    spec: &str,
    run: &Run,
    step: usize,
) -> Result<SubjectSource, RecordError> {
    let checkpoints = run.checkpoints()?;
    if let Some(found) = checkpoints
        .iter()
        .find(|checkpoint| checkpoint.step == step)
    {
        let folder = found.folder.clone();
        return Ok(SubjectSource::Checkpoint {
            run: run.clone(),
            step,
            folder,
        });
    }
    let mut elsewhere = Vec::new();
    for other in store.list()? {
        if other != *run && other.checkpoints()?.iter().any(|c| c.step == step) {
            elsewhere.push(format!("{}/ckpt-{step}", other.id()));
        }
    }
    Err(RecordError::NoCheckpoint {
        spec: spec.to_owned(),
        run: run.id().to_owned(),
        step,
        known: checkpoints
            .iter()
            .map(|checkpoint| format!("ckpt-{}", checkpoint.step))
            .collect(),
        elsewhere,
    })
}

fn adapter_folder(spec: &str, path: &Path) -> Result<SubjectSource, RecordError> {
    let has = |name: &str| path.join(name).is_file();
    if has("adapter_config.json") && has("adapter_model.safetensors") {
        return Ok(SubjectSource::Folder {
            folder: path.to_path_buf(),
        });
    }
    Err(RecordError::NotAnAdapter {
        spec: spec.to_owned(),
        path: path.to_path_buf(),
        reason: digest::why_no_adapter(path),
    })
}

/// Other trainers name their folders as ours are named.
fn folder_step(folder: &Path) -> Option<usize> {
    checkpoint_step(folder.file_name()?.to_str()?)
}

#[cfg(test)]
mod tests {
    use std::fs;

    use tempfile::TempDir;

    use super::super::testing::redacted;
    use super::*;
    use crate::record::Provenance;

    fn write_adapter(folder: &Path) {
        fs::create_dir_all(folder).unwrap();
        fs::write(folder.join("adapter_config.json"), "{}").unwrap();
        fs::write(folder.join("adapter_model.safetensors"), "weights").unwrap();
    }

    /// `careless` with steps 3 and 6, `careful` with step 4, and a later run that only answered.
    fn three_runs() -> (TempDir, Store) {
        let runs = tempfile::tempdir().unwrap();
        let store = Store::open(runs.path()).unwrap();
        let all = [
            ("careless", vec![3, 6]),
            ("careful", vec![4]),
            ("answers-only", vec![]),
        ];
        for ((name, steps), created_unix_ms) in all.into_iter().zip(1..) {
            let provenance = Provenance {
                created_unix_ms,
                ..Provenance::started("train")
            };
            let run = store.create(Some(name), &provenance).unwrap();
            for step in steps {
                write_adapter(&run.checkpoint_folder(step));
            }
        }
        (runs, store)
    }

    fn place(source: &SubjectSource) -> String {
        match source {
            SubjectSource::Base => "base".into(),
            SubjectSource::Checkpoint { run, step, .. } => format!("{} {step}", run.id()),
            SubjectSource::Folder { .. } => "folder".into(),
            SubjectSource::Server { .. } => "server".into(),
        }
    }

    #[test]
    fn every_form_is_understood() {
        let (runs, store) = three_runs();
        let folder = runs.path().join("peft@2");
        write_adapter(&folder);
        let folder = folder.display().to_string();
        let checkpoint_folder = runs
            .path()
            .join("careful/checkpoint-4")
            .display()
            .to_string();
        for (spec, source, scale, name) in [
            ("base", "base", 1.0, "base"),
            ("ckpt-4", "careful 4", 1.0, "ckpt-4"),
            ("checkpoint-4", "careful 4", 1.0, "ckpt-4"),
            ("ckpt-4@0.50", "careful 4", 0.5, "ckpt-4@0.5"),
            ("ckpt-4@1", "careful 4", 1.0, "ckpt-4"),
            ("careless/ckpt-6", "careless 6", 1.0, "ckpt-6"),
            ("careless/ckpt-3@0", "careless 3", 0.0, "ckpt-3@0"),
            (&folder, "folder", 1.0, &folder),
            (
                &format!("{folder}@1.5"),
                "folder",
                1.5,
                &format!("{folder}@1.5"),
            ),
            (&checkpoint_folder, "folder", 1.0, &checkpoint_folder),
        ] {
            let found = store.resolve(spec).unwrap();
            assert_eq!(
                (place(&found.source).as_str(), found.scale),
                (source, scale),
                "{spec}"
            );
            let subject = found.subject().unwrap();
            assert_eq!(subject.name, name, "{spec}");
            assert_eq!(
                subject.adapter.map(|a| a.scale),
                (spec != "base").then_some(scale),
                "{spec}"
            );
        }
        let subject = store
            .resolve(&checkpoint_folder)
            .unwrap()
            .subject()
            .unwrap();
        assert_eq!(subject.adapter.unwrap().step, Some(4));
    }

    #[test]
    fn refusals_list_what_exists() {
        let (runs, store) = three_runs();
        fs::write(runs.path().join("file"), "").unwrap();
        fs::create_dir(runs.path().join("empty")).unwrap();
        let shown = |spec: &str| redacted(store.resolve(spec).unwrap_err(), &runs);
        insta::assert_snapshot!(shown("ckpt-3"), @r#"
        subject "ckpt-3": run careful has no checkpoint 3; there is ckpt-4
          Another run has it: careless/ckpt-3
        "#);
        insta::assert_snapshot!(shown("careless/ckpt-9"), @r#"subject "careless/ckpt-9": run careless has no checkpoint 9; there are ckpt-3, ckpt-6"#);
        insta::assert_snapshot!(shown("careles/ckpt-3"), @r#"[runs]: there is no run "careles"; there are careless, careful, answers-only"#);
        insta::assert_snapshot!(shown("aurora"), @r#"
        subject "aurora" is not known, and no such folder exists
          A subject is `base`, `ckpt-N` of the latest run that trained, `RUN/ckpt-N`, a PEFT folder, each adapter with an optional scale such as `@0.5`, or `http://HOST:PORT/v1#MODEL`. There are base, careless/ckpt-3, careless/ckpt-6, careful/ckpt-4
        "#);
        insta::assert_snapshot!(shown("base@0.5"), @r#"
        subject "base@0.5": the base has no adapter to scale
          Write `base` alone.
        "#);
        insta::assert_snapshot!(shown("ckpt-4@half"), @r#"
        subject "ckpt-4@half": "half" is not a scale
          A scale after `@` is a number from 0 up that multiplies the adapter's own, such as `@0.5`.
        "#);
        insta::assert_snapshot!(shown(&runs.path().join("file").display().to_string()), @r#"
        subject "[runs]/file": [runs]/file is not an adapter: it is a file
          An adapter is a PEFT folder with adapter_config.json and adapter_model.safetensors.
        "#);
        insta::assert_snapshot!(shown(&runs.path().join("empty").display().to_string()), @r#"
        subject "[runs]/empty": [runs]/empty is not an adapter: adapter_config.json is missing
          An adapter is a PEFT folder with adapter_config.json and adapter_model.safetensors.
        "#);
        for scale in ["-1", "nan", "inf", ""] {
            let refused = store.resolve(&format!("ckpt-4@{scale}"));
            assert!(matches!(refused, Err(RecordError::Scale { .. })), "{scale}");
        }
    }

    #[test]
    fn without_checkpoints_the_way_to_one_is_shown() {
        let runs = tempfile::tempdir().unwrap();
        let store = Store::open(runs.path()).unwrap();
        insta::assert_snapshot!(redacted(store.resolve("ckpt-3").unwrap_err(), &runs), @r#"
        subject "ckpt-3": no run in [runs] has a checkpoint
          `qeval train` makes them; an adapter of another trainer is named by its folder.
        "#);
    }

    #[test]
    fn adapter_without_weights_is_refused_by_name() {
        let (runs, store) = three_runs();
        fs::remove_file(
            runs.path()
                .join("careful/checkpoint-4/adapter_model.safetensors"),
        )
        .unwrap();
        let refused = store.resolve("ckpt-4").unwrap().subject().unwrap_err();
        insta::assert_snapshot!(redacted(refused, &runs), @r#"
        subject "ckpt-4": [runs]/careful/checkpoint-4 is not an adapter: cannot read [runs]/careful/checkpoint-4/adapter_model.safetensors: No such file or directory (os error 2)
          An adapter is a PEFT folder with adapter_config.json and adapter_model.safetensors.
        "#);
    }
}
