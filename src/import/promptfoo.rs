//! A promptfoo configuration: every test becomes a probe, and the prompts become its wordings.
//!
//! promptfoo asks every prompt in every test to compare the prompts; here they are paraphrases of
//! one question, which count as one probe. Prompts that a probe cannot hold together (other system
//! prompt, other turns before, other language) become probes of their own.

use serde_json::{Map, Value};

use super::assertion::Translator;
use super::draft::{Draft, DraftProbe, is_chinese, slug};
use super::error::ImportError;
use super::notes::Notes;
use super::prompt::{PromptTemplate, RenderedPrompt, is_program, templates};
use super::reasons::{self, name_unread};
use super::render::Renderer;
use super::source::{Folder, ImportSource};
use super::yaml;

const CONFIG_READ: &[&str] = &[
    "description",
    "prompts",
    "tests",
    "defaultTest",
    "assertionTemplates",
];
const TEST_READ: &[&str] = &["description", "vars", "assert", "threshold", "options"];
const OPTIONS_READ: &[&str] = &["prefix", "suffix", "disableVarExpansion"];
/// What promptfoo calls a configuration that has no other name.
const PLAIN_NAME: &str = "promptfooconfig";
/// Most tests that lists among one test's variables make.
const MOST_COMBINATIONS: usize = 10_000;

/// A test with the defaults in it.
#[derive(Debug, Default, Clone)]
struct Test {
    description: Option<String>,
    vars: Map<String, Value>,
    asserts: Vec<Value>,
    threshold: Option<f64>,
    options: Map<String, Value>,
}

/// Reads a configuration.
pub(super) fn read(
    source: &ImportSource,
    config: &Map<String, Value>,
    notes: &mut Notes,
) -> Result<Draft, ImportError> {
    let reader = Reader {
        folder: Folder::of(&source.file),
        renderer: Renderer::new(),
        templates: config.get("assertionTemplates").and_then(Value::as_object),
    };
    let file_name = source.file.file_name().map(|name| name.to_string_lossy());
    let text = |key: &str| config.get(key).and_then(Value::as_str).map(str::to_owned);
    let mut draft = Draft {
        name: name_of(source),
        description: text("description"),
        origin: format!("{} (promptfoo)", file_name.unwrap_or_default()),
        ..Draft::default()
    };
    name_unread(
        config,
        CONFIG_READ,
        "the configuration",
        reasons::promptfoo_key,
        notes,
    );
    if source.docs.is_some() {
        notes.add(
            "--docs",
            "the documents",
            "a promptfoo configuration has its tests in itself",
        );
    }
    let prompts = templates(config.get("prompts"), &reader.folder, notes);
    let defaults = match reader.table(config.get("defaultTest"), "defaultTest", notes) {
        Some(map) => reader.test(&map, &Test::default(), "defaultTest", notes),
        None => Test::default(),
    };
    let tests = reader.tests(config.get("tests"), &defaults, notes);
    for (place, test) in &tests {
        let combinations = reader.combinations(test, place, notes);
        let several = combinations.len() > 1;
        for (vars, n) in combinations.into_iter().zip(1..) {
            let place = match several {
                true => format!("{place}.{n}"),
                false => place.clone(),
            };
            reader.probes(
                test,
                &prompts,
                &Value::Object(vars),
                &place,
                &mut draft,
                notes,
            );
        }
    }
    Ok(draft)
}

/// The file's name, or where that is the usual one its folder's.
fn name_of(source: &ImportSource) -> String {
    let stem = source
        .file
        .file_stem()
        .map(|stem| stem.to_string_lossy().into_owned());
    let stem = stem
        .filter(|stem| stem != PLAIN_NAME)
        .and_then(|stem| slug(&stem));
    let folder = source.file.parent().and_then(|parent| parent.file_name());
    let folder = folder.and_then(|name| slug(&name.to_string_lossy()));
    stem.or(folder).unwrap_or_else(|| "promptfoo".into())
}

struct Reader<'a> {
    folder: Folder,
    renderer: Renderer,
    templates: Option<&'a Map<String, Value>>,
}

impl Reader<'_> {
    /// A table, or the file of one.
    fn table(
        &self,
        value: Option<&Value>,
        place: &str,
        notes: &mut Notes,
    ) -> Option<Map<String, Value>> {
        match value? {
            Value::Object(map) => Some(map.clone()),
            Value::String(written) => match self.parsed(written) {
                Ok(Value::Object(map)) => Some(map),
                Ok(_) => {
                    notes.add(place, format!("`{written}`"), "it holds no table");
                    None
                }
                Err(why) => {
                    notes.add(place, format!("`{written}`"), why);
                    None
                }
            },
            Value::Null => None,
            other => {
                notes.add(place, other.to_string(), "it is no table");
                None
            }
        }
    }

    fn parsed(&self, written: &str) -> Result<Value, String> {
        if is_program(written) {
            return Err("a program makes it, and an import runs none".into());
        }
        let extension = written.rsplit('.').next().unwrap_or_default();
        if !["yaml", "yml", "json", "jsonl"].contains(&extension) {
            return Err("of files of tests and variables, YAML, JSON, and JSONL are read".into());
        }
        let text = self.folder.text(written);
        let text = text.map_err(|why| format!("it cannot be read: {why}"))?;
        if extension == "jsonl" {
            let lines = text.lines().filter(|line| !line.trim().is_empty());
            let read = lines.map(|line| serde_json::from_str(line).map_err(|e| e.to_string()));
            return Ok(Value::Array(read.collect::<Result<_, _>>()?));
        }
        yaml::parse(written, &text).map_err(|error| error.kind.to_string())
    }

    fn tests(
        &self,
        tests: Option<&Value>,
        defaults: &Test,
        notes: &mut Notes,
    ) -> Vec<(String, Test)> {
        let mut entries = Vec::new();
        match tests {
            // promptfoo asks its prompts once then.
            None | Some(Value::Null) => return vec![("defaultTest".into(), defaults.clone())],
            Some(Value::Array(items)) => items.iter().for_each(|item| entries.push(item.clone())),
            Some(other) => entries.push(other.clone()),
        }
        let mut maps = Vec::new();
        for entry in entries {
            match entry {
                Value::String(written) => match self.parsed(&written) {
                    Ok(Value::Array(items)) => maps.extend(items),
                    Ok(other) => maps.push(other),
                    Err(why) => notes.add("tests", format!("`{written}`"), why),
                },
                other => maps.push(other),
            }
        }
        let mut found = Vec::new();
        for (map, n) in maps.iter().zip(1..) {
            let place = format!("test {n}");
            match map.as_object().filter(|_| yaml::tagged(map).is_none()) {
                Some(map) => found.push((place.clone(), self.test(map, defaults, &place, notes))),
                None => notes.add(
                    place,
                    crate::text::ellipsize(&map.to_string(), 40),
                    "it is no test",
                ),
            }
        }
        found
    }

    fn test(
        &self,
        map: &Map<String, Value>,
        defaults: &Test,
        place: &str,
        notes: &mut Notes,
    ) -> Test {
        name_unread(map, TEST_READ, place, reasons::promptfoo_key, notes);
        let mut test = defaults.clone();
        test.description = map.get("description").and_then(yaml::scalar_text);
        test.threshold = map
            .get("threshold")
            .and_then(Value::as_f64)
            .or(test.threshold);
        let own = |key: &str, notes: &mut Notes| {
            let place = format!("{place}, {key}");
            self.table(map.get(key), &place, notes).unwrap_or_default()
        };
        test.vars.extend(own("vars", notes));
        let options = own("options", notes);
        name_unread(
            &options,
            OPTIONS_READ,
            &format!("{place}, options"),
            reasons::promptfoo_key,
            notes,
        );
        test.options.extend(options);
        match map.get("assert") {
            Some(Value::Array(items)) => test.asserts.extend(items.iter().cloned()),
            None | Some(Value::Null) => {}
            Some(_) => notes.add(place, "`assert`", "it is no list"),
        }
        test
    }

    /// The variables of a test: a list of values stands for one test a value.
    fn combinations(&self, test: &Test, place: &str, notes: &mut Notes) -> Vec<Map<String, Value>> {
        let expands = test.options.get("disableVarExpansion") != Some(&Value::Bool(true));
        let mut combinations = vec![Map::new()];
        for (name, value) in &test.vars {
            let values = match value {
                Value::Array(items) if expands && !items.is_empty() => items.clone(),
                other => vec![other.clone()],
            };
            if combinations.len() * values.len() > MOST_COMBINATIONS {
                let why = format!("its variables make more than {MOST_COMBINATIONS} tests");
                notes.add(place, "the test", why);
                return Vec::new();
            }
            let with = |map: &Map<String, Value>, value: &Value| {
                let mut map = map.clone();
                map.insert(name.clone(), value.clone());
                map
            };
            let all = combinations.iter();
            combinations = all
                .flat_map(|map| values.iter().map(move |value| with(map, value)))
                .collect();
        }
        combinations
    }

    /// Variables with their files read, and filled in from each other.
    fn filled(&self, vars: &Value) -> Result<Value, String> {
        let mut read = Map::new();
        for (name, value) in vars.as_object().into_iter().flatten() {
            let value = match value {
                Value::String(written) if written.starts_with("file://") => {
                    if is_program(written) {
                        return Err(format!("a program makes `{name}`, and an import runs none"));
                    }
                    let text = self.folder.text(written);
                    let text = text.map_err(|why| format!("{written} cannot be read: {why}"))?;
                    Value::String(text.trim().to_owned())
                }
                other => other.clone(),
            };
            read.insert(name.clone(), value);
        }
        let read = Value::Object(read);
        let mut filled = Map::new();
        for (name, value) in read.as_object().into_iter().flatten() {
            let value = match value {
                Value::String(text) => Value::String(self.renderer.text(text, &read)?),
                other => other.clone(),
            };
            filled.insert(name.clone(), value);
        }
        Ok(Value::Object(filled))
    }

    /// The probes of one test with one choice of variables.
    fn probes(
        &self,
        test: &Test,
        prompts: &[PromptTemplate],
        vars: &Value,
        place: &str,
        draft: &mut Draft,
        notes: &mut Notes,
    ) {
        for program in ["transform", "postprocess", "transformVars"] {
            if test.options.contains_key(program) {
                let why = format!("`{program}` runs a program on what it asks or judges");
                notes.add(place, "the test", why);
                return;
            }
        }
        let vars = match self.filled(vars) {
            Ok(vars) => vars,
            Err(why) => {
                notes.add(place, "the test", why);
                return;
            }
        };
        let translator = Translator {
            renderer: &self.renderer,
            folder: &self.folder,
            templates: self.templates,
            vars: &vars,
        };
        let checks = translator.checks(&test.asserts, test.threshold, place, notes);
        let first_var = || vars.as_object()?.values().find_map(yaml::scalar_text);
        let id = test.description.as_deref().and_then(slug);
        let id = id.or_else(|| first_var().as_deref().and_then(slug));
        let id = id.unwrap_or_else(|| slug(place).unwrap_or_else(|| "test".into()));
        let mut groups: Vec<(RenderedPrompt, DraftProbe)> = Vec::new();
        for prompt in prompts {
            let rendered = match prompt.render(&self.renderer, &vars) {
                Ok(rendered) => self.surrounded(rendered, test, &vars),
                Err(why) => Err(why),
            };
            let rendered = match rendered {
                Ok(rendered) => rendered,
                Err(why) => {
                    notes.add(format!("{place}, {}", prompt.place), "the prompt", why);
                    continue;
                }
            };
            let fits = |(first, _): &&mut (RenderedPrompt, DraftProbe)| {
                first.system == rendered.system
                    && first.history == rendered.history
                    && is_chinese(&first.user) == is_chinese(&rendered.user)
            };
            match groups.iter_mut().find(fits) {
                Some((_, probe)) if probe.prompts.contains(&rendered.user) => {}
                Some((_, probe)) => probe.prompts.push(rendered.user),
                None => {
                    let probe = DraftProbe {
                        id: id.clone(),
                        title: test.description.clone(),
                        system: rendered.system.clone(),
                        history: rendered.history.clone(),
                        prompts: vec![rendered.user.clone()],
                        checks: checks.clone(),
                    };
                    groups.push((rendered, probe));
                }
            }
        }
        for (_, probe) in groups {
            draft.admit(probe, place, notes);
        }
    }

    /// `prefix` and `suffix` of the test's options around a prompt.
    fn surrounded(
        &self,
        mut rendered: RenderedPrompt,
        test: &Test,
        vars: &Value,
    ) -> Result<RenderedPrompt, String> {
        let part = |key: &str| match test.options.get(key).and_then(Value::as_str) {
            Some(template) => self.renderer.text(template, vars),
            None => Ok(String::new()),
        };
        rendered.user = format!("{}{}{}", part("prefix")?, rendered.user, part("suffix")?);
        Ok(rendered)
    }
}

#[cfg(test)]
mod tests;
