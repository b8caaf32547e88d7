//! A task of lm-evaluation-harness: every document becomes a probe, and the templates fill it.
//!
//! The harness continues a text, here a chat is answered. So a task is read as the harness reads
//! it with `--apply_chat_template` and no few-shot examples: `description` is the system turn,
//! `doc_to_text` the user's, and what stands between question and answer (`target_delimiter`) is
//! left out. Which key gives the right answer, and of which type it is, depends on the output type
//! and on `doc_to_choice`: [`formats`] gives what each key gives there, [`gold`] what the harness
//! makes of it. Read from `lm_eval/api/task.py` and `lm_eval/config/task.py` of version 0.4.13.

mod documents;
mod formats;
mod gold;
mod reading;
mod scoring;

use std::collections::HashSet;
use std::path::{Path, PathBuf};

use serde_json::{Map, Value};

use super::draft::{Draft, DraftProbe, slug};
use super::error::{ImportError, ImportErrorKind};
use super::notes::Notes;
use super::settings::{Fate, Settings, name_unread, shown};
use super::source::{Folder, ImportSource, read_yaml};
use super::yaml::{self, Dialect};

use documents::Documents;
use formats::Formats;
use scoring::Scoring;

/// Most files that a task is made of.
const MOST_INCLUDED: usize = 64;
const PLACE: &str = "the task";
const FEW_SHOT: &str = "a probe is asked without examples before it";

/// Every key of a task. Those of the data set say where the documents come from, which `--docs`
/// replaces.
const SETTINGS: Settings = &[
    ("task", Fate::Read),
    ("include", Fate::Read),
    ("dataset_path", Fate::Read),
    ("dataset_name", Fate::Read),
    ("dataset_kwargs", Fate::Read),
    ("training_split", Fate::Read),
    ("validation_split", Fate::Read),
    ("test_split", Fate::Read),
    ("process_docs", Fate::Read),
    ("custom_dataset", Fate::Read),
    ("doc_to_text", Fate::Read),
    ("doc_to_target", Fate::Read),
    ("doc_to_choice", Fate::Read),
    ("description", Fate::Read),
    ("target_delimiter", Fate::Read),
    ("output_type", Fate::Read),
    ("generation_kwargs", Fate::Read),
    ("metric_list", Fate::Read),
    ("filter_list", Fate::Read),
    ("num_fewshot", Fate::Read),
    ("repeats", Fate::Read),
    ("fewshot_config", Fate::Left(FEW_SHOT)),
    ("fewshot_split", Fate::Left(FEW_SHOT)),
    ("fewshot_delimiter", Fate::Left(FEW_SHOT)),
    (
        "gen_prefix",
        Fate::Left("an answer begins where the chat template lets it begin"),
    ),
    (
        "should_decontaminate",
        Fate::Left("`qeval suite check --data` looks for probes in the training data"),
    ),
    (
        "doc_to_decontamination_query",
        Fate::Left("`qeval suite check --data` looks for probes in the training data"),
    ),
    ("task_alias", Fate::Harmless),
    ("tag", Fate::Harmless),
    // Until version 0.4.4 the name of `tag`.
    ("group", Fate::Harmless),
    ("group_alias", Fate::Harmless),
    ("metadata", Fate::Harmless),
    ("unsafe_code", Fate::Harmless),
    ("recipe", Fate::Harmless),
    (
        "doc_to_image",
        Fate::Decides("its prompts have images, and a probe is text"),
    ),
    (
        "doc_to_audio",
        Fate::Decides("its prompts have sounds, and a probe is text"),
    ),
    (
        "process_results",
        Fate::Decides("a program scores the answers, and an import runs none"),
    ),
    (
        "use_prompt",
        Fate::Decides("its prompts are kept by promptsource"),
    ),
    (
        "class",
        Fate::Decides("a program is the task, and an import runs none"),
    ),
];

/// Reads a task with its documents.
pub(super) fn read(
    source: &ImportSource,
    config: Map<String, Value>,
    notes: &mut Notes,
) -> Result<Draft, ImportError> {
    let place = source.file.display().to_string();
    let mut including = Including {
        files: 0,
        open: HashSet::new(),
    };
    let config = including.whole(&source.file, config)?;
    if config.get("task").is_some_and(|task| !task.is_string())
        || config.contains_key("task_list")
        || (config.contains_key("group") && !config.contains_key("task"))
    {
        return Err(ImportErrorKind::Group.at(place));
    }
    let text = |key: &str| config.get(key).and_then(Value::as_str);
    let stem = source.file.file_stem().map(|stem| stem.to_string_lossy());
    let task = text("task").map(str::to_owned);
    let task = task.or(stem.map(Into::into)).unwrap_or_default();
    let mut draft = Draft {
        name: slug(&task).unwrap_or_else(|| "task".into()),
        description: None,
        origin: format!("the lm-evaluation-harness task {task}"),
        ..Draft::default()
    };
    let readable = name_unread(&config, SETTINGS, PLACE, notes);
    name_runtime(&config, source, notes);
    let scoring = Scoring::of(&config, notes);
    let (Some(()), Some(scoring)) = (readable, scoring) else {
        return Ok(draft);
    };
    draft.generation = scoring.generation(&config, notes);
    let documents = Documents::of(source, &config, &place, notes)?;
    let formats = match Formats::of(&config, &documents) {
        Ok(formats) => formats,
        Err(why) => {
            notes.add(PLACE, "the task", why);
            return Ok(draft);
        }
    };
    if let Some(delimiter) = text("target_delimiter").filter(|text| !text.trim().is_empty()) {
        notes.add(
            PLACE,
            format!("`target_delimiter: {delimiter}`"),
            "with a chat template the harness leaves it out too",
        );
    }
    for (n, document) in documents.iter().enumerate() {
        let place = format!("document {}", n + 1);
        let id = ["id", "doc_id", "_id"]
            .iter()
            .find_map(|key| document.get(*key));
        let id = id.and_then(yaml::shown).and_then(|id| slug(&id));
        let id = id.unwrap_or_else(|| format!("{}-{}", draft.name, n + 1));
        let asked = formats.document(document);
        let probe = asked.prompt().and_then(|(system, prompt)| {
            let check = scoring.check(&asked, &place, notes)?;
            Ok(DraftProbe {
                id,
                system,
                prompts: vec![prompt],
                checks: vec![check],
                ..DraftProbe::default()
            })
        });
        match probe {
            Ok(probe) => draft.admit(probe, &place, notes),
            Err(why) => notes.add(place, "the document", why),
        }
    }
    Ok(draft)
}

/// Settings that are read and still lose something.
fn name_runtime(config: &Map<String, Value>, source: &ImportSource, notes: &mut Notes) {
    let mut name = |key: &str, harmless: u64, why: &str| {
        if let Some(value) = config.get(key)
            && !value.is_null()
            && value.as_u64() != Some(harmless)
        {
            notes.add(PLACE, shown(key, value), why);
        }
    };
    name("num_fewshot", 0, FEW_SHOT);
    name(
        "repeats",
        1,
        "write `samples` and a temperature under [generation]",
    );
    if source.docs.is_some() {
        for key in ["process_docs", "custom_dataset"] {
            name(
                key,
                0,
                "a program makes the documents: those of `--docs` are taken as it has left them",
            );
        }
    }
}

/// A task with the files that it includes: its own keys win.
struct Including {
    files: usize,
    open: HashSet<PathBuf>,
}

impl Including {
    fn whole(
        &mut self,
        file: &Path,
        mut config: Map<String, Value>,
    ) -> Result<Map<String, Value>, ImportError> {
        let included = match config.remove("include") {
            Some(Value::String(one)) => vec![one],
            Some(Value::Array(all)) => all.iter().filter_map(yaml::shown).collect(),
            _ => return Ok(config),
        };
        let mut whole = Map::new();
        for name in included {
            let path = Folder::of(file).path(&name);
            let known = path.canonicalize().unwrap_or_else(|_| path.clone());
            self.files += 1;
            if self.files > MOST_INCLUDED || !self.open.insert(known.clone()) {
                return Err(ImportErrorKind::IncludeLoop.at(path.display().to_string()));
            }
            if let Value::Object(base) = read_yaml(&path, Dialect::Python)? {
                let mut base = self.whole(&path, base)?;
                // It defines tasks of the included file only.
                base.remove("task_list");
                whole.extend(base);
            }
            self.open.remove(&known);
        }
        whole.extend(config);
        Ok(whole)
    }
}

#[cfg(test)]
mod tests;
