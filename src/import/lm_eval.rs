//! A task of lm-evaluation-harness: every document becomes a probe, and the templates fill it.
//!
//! The harness continues a text, here a chat is answered: what stands between question and answer
//! there (`target_delimiter`) is the turn's end here, and so it is in the harness when it applies
//! a chat template. Few-shot examples are not carried: a suite asks the model, not its context.

use std::path::{Path, PathBuf};

use serde_json::{Map, Value};

use super::draft::{Draft, DraftProbe, slug};
use super::error::{ImportError, ImportErrorKind};
use super::notes::Notes;
use super::reasons::{self, name_unread};
use super::render::Renderer;
use super::scoring::Scoring;
use super::source::{Folder, ImportSource, read_documents, read_yaml};
use super::yaml;

/// Most files that include one another.
const DEEPEST_INCLUDE: usize = 16;
/// Keys that are read, here and in [`super::scoring`]. Those of the data set say where the
/// documents come from, which `--docs` replaces.
const READ: &[&str] = &[
    "task",
    "include",
    "dataset_path",
    "dataset_name",
    "dataset_kwargs",
    "training_split",
    "validation_split",
    "test_split",
    "doc_to_text",
    "doc_to_target",
    "doc_to_choice",
    "description",
    "target_delimiter",
    "output_type",
    "generation_kwargs",
    "metric_list",
    "filter_list",
    "process_docs",
    "num_fewshot",
    "repeats",
];

/// Reads a task with its documents.
pub(super) fn read(
    source: &ImportSource,
    config: Map<String, Value>,
    notes: &mut Notes,
) -> Result<Draft, ImportError> {
    let config = with_includes(&source.file, config, 0)?;
    let place = source.file.display().to_string();
    if config.contains_key("group") || config.get("task").is_some_and(Value::is_array) {
        return Err(ImportErrorKind::Group.at(place));
    }
    let text = |key: &str| config.get(key).and_then(Value::as_str);
    let stem = source.file.file_stem().map(|stem| stem.to_string_lossy());
    let task = text("task")
        .map(str::to_owned)
        .or(stem.map(Into::into))
        .unwrap_or_default();

    name_unread(&config, READ, "the task", reasons::task_key, notes);
    if let Some(program) = config.get("process_docs") {
        let shown = yaml::tagged(program).unwrap_or_else(|| program.to_string());
        let why = "it runs a program on every document: give documents that are processed already";
        notes.add("the task", format!("`process_docs: {shown}`"), why);
    }
    if let Some(shots) = config
        .get("num_fewshot")
        .filter(|n| n.as_u64() != Some(0) && !n.is_null())
    {
        let why = "a probe is asked without examples before it";
        notes.add("the task", format!("`num_fewshot: {shots}`"), why);
    }
    if let Some(times) = config
        .get("repeats")
        .filter(|n| n.as_u64() != Some(1) && !n.is_null())
    {
        let why = "write `samples` and a temperature under [generation]";
        notes.add("the task", format!("`repeats: {times}`"), why);
    }
    let mut draft = Draft {
        name: slug(&task).unwrap_or_else(|| "task".into()),
        description: None,
        origin: format!("the lm-evaluation-harness task {task}"),
        ..Draft::default()
    };
    let Some(scoring) = Scoring::of(&config, notes) else {
        return Ok(draft);
    };
    draft.generation = scoring.generation(&config, notes);
    let documents = documents(source, &config, &place)?;
    let templates = Templates {
        config: &config,
        renderer: Renderer::new(),
    };
    for (document, n) in documents.into_iter().zip(1..) {
        let place = format!("document {n}");
        let id = ["id", "doc_id", "_id"]
            .iter()
            .find_map(|key| document.get(*key));
        let id = id.and_then(yaml::scalar_text).and_then(|id| slug(&id));
        let id = id.unwrap_or_else(|| format!("{}-{n}", draft.name));
        let document = Value::Object(document);
        let prompt = templates.prompt(&document);
        let check = prompt.and_then(|prompt| {
            let target = templates.target(&document, scoring.has_choices())?;
            let options = match scoring.has_choices() {
                true => templates.options(&document)?,
                false => Vec::new(),
            };
            Ok((prompt, scoring.check(&target, options)?))
        });
        match check {
            Ok((prompt, check)) => {
                let probe = DraftProbe {
                    id,
                    prompts: vec![prompt],
                    checks: vec![check],
                    ..DraftProbe::default()
                };
                draft.admit(probe, &place, notes);
            }
            Err(why) => notes.add(place, "the document", why),
        }
    }
    Ok(draft)
}

/// A task with the files that it includes: its own keys win.
fn with_includes(
    file: &Path,
    config: Map<String, Value>,
    depth: usize,
) -> Result<Map<String, Value>, ImportError> {
    let included = match config.get("include") {
        Some(Value::String(one)) => vec![one.clone()],
        Some(Value::Array(all)) => all.iter().filter_map(yaml::scalar_text).collect(),
        _ => return Ok(config),
    };
    let mut whole = Map::new();
    for name in included {
        let path = Folder::of(file).path(&name);
        if depth >= DEEPEST_INCLUDE {
            return Err(ImportErrorKind::IncludeLoop.at(path.display().to_string()));
        }
        if let Value::Object(base) = read_yaml(&path)? {
            whole.extend(with_includes(&path, base, depth + 1)?);
        }
    }
    whole.extend(config);
    Ok(whole)
}

/// The documents that `--docs` names, else those that the task has in files.
fn documents(
    source: &ImportSource,
    config: &Map<String, Value>,
    place: &str,
) -> Result<Vec<Map<String, Value>>, ImportError> {
    if let Some(docs) = &source.docs {
        return read_documents(docs, None);
    }
    let kwargs = config.get("dataset_kwargs");
    let named = kwargs.and_then(|kwargs| kwargs.get("data_files"));
    let split = ["test_split", "validation_split", "training_split"]
        .iter()
        .find_map(|key| config.get(*key)?.as_str());
    let files = match named {
        Some(Value::Object(splits)) => split
            .and_then(|split| splits.get(split))
            .or_else(|| splits.values().next()),
        other => other,
    };
    let files: Vec<String> = match files {
        Some(Value::String(one)) => vec![one.clone()],
        Some(Value::Array(all)) => all.iter().filter_map(yaml::scalar_text).collect(),
        _ => Vec::new(),
    };
    if files.is_empty() {
        let path = config.get("dataset_path").and_then(yaml::scalar_text);
        let why = match path {
            Some(path) => format!("`dataset_path` is \"{path}\""),
            None => "it names none".into(),
        };
        return Err(ImportErrorKind::NoDocuments(why).at(place));
    }
    let field = kwargs.and_then(|kwargs| kwargs.get("field")?.as_str());
    let folder = Folder::of(&source.file);
    let mut documents = Vec::new();
    for file in &files {
        let path: PathBuf = folder.path(file);
        if !path.is_file() {
            let why = format!("there is no file {}", path.display());
            return Err(ImportErrorKind::NoDocuments(why).at(place));
        }
        documents.extend(read_documents(&path, field)?);
    }
    Ok(documents)
}

struct Templates<'a> {
    config: &'a Map<String, Value>,
    renderer: Renderer,
}

impl Templates<'_> {
    /// The question with the description before it.
    fn prompt(&self, document: &Value) -> Result<String, String> {
        let question = match self.value("doc_to_text", document)? {
            Value::Number(_) => {
                return Err(
                    "`doc_to_text` gives a number: of several contexts the best is chosen, \
                            and a probe has one"
                        .into(),
                );
            }
            other => yaml::scalar_text(&other).ok_or("`doc_to_text` gives no text")?,
        };
        let part = |key: &str| match self.config.get(key) {
            Some(Value::String(template)) => {
                let text = self.renderer.text(template, document);
                text.map_err(|why| format!("`{key}`: {why}"))
            }
            Some(other) if !other.is_null() => Err(format!("`{key}` is no text: {other}")),
            _ => Ok(String::new()),
        };
        // Blanks between question and answer are the turn's end; words belong to the question.
        let delimiter = part("target_delimiter")?;
        Ok(format!(
            "{}{question}{}",
            part("description")?,
            delimiter.trim_end()
        ))
    }

    /// The right answer. Where there are options its digits are the number of one.
    fn target(&self, document: &Value, choices: bool) -> Result<Value, String> {
        let target = self.value("doc_to_target", document)?;
        let digits = |text: &str| text.trim().parse::<u64>().ok().filter(|_| choices);
        Ok(match &target {
            Value::String(text) => digits(text).map_or(target.clone(), Value::from),
            _ => target,
        })
    }

    fn options(&self, document: &Value) -> Result<Vec<String>, String> {
        let options = match self.value("doc_to_choice", document)? {
            Value::Array(items) => items,
            Value::Object(map) => map.into_iter().map(|(_, value)| value).collect(),
            other => return Err(format!("`doc_to_choice` gives no list: {other}")),
        };
        let texts = options.iter().map(yaml::scalar_text);
        let texts: Option<Vec<String>> = texts.collect();
        texts.ok_or("`doc_to_choice` gives a list with more than texts".into())
    }

    /// What a template, the name of a field, or a fixed value gives for a document.
    fn value(&self, key: &str, document: &Value) -> Result<Value, String> {
        let template = self.config.get(key).unwrap_or(&Value::Null);
        if let Some(tagged) = yaml::tagged(template) {
            return Err(format!("`{key}: {tagged}` runs a program"));
        }
        match template {
            Value::Null => Err(format!("the task has no `{key}`")),
            Value::String(written) => match document.get(written) {
                Some(value) => Ok(value.clone()),
                None => {
                    let value = self.renderer.value(written, document);
                    value.map_err(|why| format!("`{key}`: {why}"))
                }
            },
            other => Ok(other.clone()),
        }
    }
}

#[cfg(test)]
mod tests;
