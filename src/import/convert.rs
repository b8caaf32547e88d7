//! From a file to a suite: told by its keys whose it is, translated, written, and loaded once.

use serde_json::{Map, Value};

use crate::suite::{SuiteSource, load};

use super::draft::{Draft, slug};
use super::error::{ImportError, ImportErrorKind};
use super::notes::{NotCarried, Notes};
use super::source::{ImportSource, read_yaml};
use super::yaml::Dialect;
use super::{lm_eval, promptfoo, template, write};

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
    template::begin();
    // The keys are the same in either dialect, the values are not.
    let table = |dialect| match read_yaml(&source.file, dialect)? {
        Value::Object(config) => Ok(config),
        _ => Err(ImportErrorKind::UnknownFormat.at(&place)),
    };
    let mut notes = Notes::default();
    let config = table(Dialect::Python)?;
    let mut draft = match Format::of(&config) {
        Some(Format::LmEval) => lm_eval::read(source, config, &mut notes)?,
        Some(Format::Promptfoo) => {
            promptfoo::read(source, &table(Dialect::JavaScript)?, &mut notes)?
        }
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
