//! Suites out of other programs' files: a promptfoo configuration, or a task of
//! lm-evaluation-harness with its documents.
//!
//! Whoever changes the tool should not have to write the probes again, and should not find out
//! later which of them changed their meaning. So what has the same meaning here is carried over,
//! and all the rest is named, with its place and the reason: in the report, and as comments in
//! the file. Programs (`!function`, `javascript`) are never run.
//!
//! [`import`] reads (`source`, `yaml`), translates (`promptfoo`, `lm_eval`) into a draft
//! that is known to load (`draft`), and writes it as TOML ([`write`]).

mod assertion;
mod draft;
mod error;
mod lm_eval;
mod notes;
mod prompt;
mod promptfoo;
mod reading;
mod reasons;
mod render;
mod scoring;
mod source;
mod write;
mod yaml;

use std::path::PathBuf;

use serde_json::{Map, Value};

use crate::suite::{SuiteSource, load};

pub use error::{ImportError, ImportErrorKind};
pub use notes::NotCarried;

use draft::{Draft, slug};
use notes::Notes;

/// What is imported.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct ImportSource {
    /// The configuration or the task.
    pub file: PathBuf,
    /// Documents of a task; `None` takes those that the task names.
    pub docs: Option<PathBuf>,
    /// The suite's name; `None` makes one of the file's.
    pub name: Option<String>,
}

/// A suite made of another program's file.
#[derive(Debug, Clone, PartialEq)]
pub struct Imported {
    /// The suite's name, fit for a file's.
    pub name: String,
    /// The suite file's text; it loads.
    pub toml: String,
    /// What was left out, in the order of the file.
    pub not_carried: Vec<NotCarried>,
    /// How many probes it has, at least one.
    pub probes: usize,
}

/// Makes a suite of a promptfoo configuration or an lm-evaluation-harness task.
///
/// # Errors
/// A file cannot be read, is of neither program, or has nothing that could be carried over.
pub fn import(source: &ImportSource) -> Result<Imported, ImportError> {
    let place = source.file.display().to_string();
    let Value::Object(config) = source::read_yaml(&source.file)? else {
        return Err(ImportErrorKind::UnknownFormat.at(place));
    };
    let mut notes = Notes::default();
    let mut draft = match Format::of(&config) {
        Some(Format::Promptfoo) => promptfoo::read(source, &config, &mut notes)?,
        Some(Format::LmEval) => lm_eval::read(source, config, &mut notes)?,
        None => return Err(ImportErrorKind::UnknownFormat.at(place)),
    };
    if let Some(name) = source.name.as_deref().and_then(slug) {
        draft.name = name;
    }
    finish(draft, notes, place)
}

fn finish(draft: Draft, notes: Notes, place: String) -> Result<Imported, ImportError> {
    let not_carried = notes.into_list();
    if draft.probes.is_empty() {
        return Err(ImportErrorKind::Nothing(not_carried).at(place));
    }
    let toml = write::toml(&draft, &not_carried);
    let written = SuiteSource::new(format!("{}.toml", draft.name), toml.as_str());
    load(&[written], &Default::default())
        .map_err(|errors| ImportErrorKind::DoesNotLoad(errors).at(place))?;
    Ok(Imported {
        name: draft.name,
        toml,
        not_carried,
        probes: draft.probes.len(),
    })
}

enum Format {
    Promptfoo,
    LmEval,
}

impl Format {
    /// Told by the keys that only one of them has.
    fn of(config: &Map<String, Value>) -> Option<Format> {
        let has = |keys: &[&str]| keys.iter().any(|key| config.contains_key(*key));
        if has(&["prompts", "providers", "tests", "targets"]) {
            Some(Format::Promptfoo)
        } else if has(&[
            "doc_to_text",
            "task",
            "output_type",
            "dataset_path",
            "include",
        ]) {
            Some(Format::LmEval)
        } else {
            None
        }
    }
}

/// Names every key that nothing reads; `why` knows the reason of some.
fn name_unread(
    map: &Map<String, Value>,
    read: &[&str],
    place: &str,
    why: fn(&str) -> Option<&'static str>,
    notes: &mut Notes,
) {
    for (key, value) in map {
        if read.contains(&key.as_str()) || value.is_null() {
            continue;
        }
        let shown = match yaml::tagged(value).or_else(|| yaml::scalar_text(value)) {
            Some(text) => format!("`{key}: {}`", crate::text::ellipsize(&text, 40)),
            None => format!("`{key}`"),
        };
        notes.add(
            place,
            shown,
            why(key).unwrap_or("a suite has no such setting"),
        );
    }
}

#[cfg(test)]
mod tests;
