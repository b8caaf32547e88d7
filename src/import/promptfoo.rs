//! A promptfoo configuration: every test becomes a probe, and the prompts become its wordings.
//!
//! promptfoo asks every prompt in every test to compare the prompts; here they are paraphrases of
//! one question, which count as one probe. Prompts that a probe cannot hold together (other system
//! prompt, other turns before, other language) become probes of their own. Read from promptfoo
//! 0.123.1: `src/util/config/load.ts`, `src/util/testCaseReader.ts`, `src/csv.ts`,
//! `src/prompts/`, `src/evaluator.ts`, `src/evaluatorHelpers.ts`, `src/assertions/`.
//!
//! Settings (here), tests and their files (`cases`, `csv_row`), variables (`vars`), prompts
//! (`prompt`), assertions (`assertion`).

mod assertion;
mod cases;
mod csv_row;
mod prompt;
mod references;
mod vars;

use serde_json::{Map, Value};

use super::draft::{Draft, DraftProbe, is_chinese, slug};
use super::error::ImportError;
use super::notes::Notes;
use super::settings::{Fate, Settings, name_unread};
use super::source::{Folder, ImportSource};
use super::yaml;

use assertion::Translator;
use cases::{Case, Reader};
use prompt::{PromptTemplate, RenderedPrompt};

/// What promptfoo calls a configuration that has no other name.
const PLAIN_NAME: &str = "promptfooconfig";
const PROGRAM: &str = "a program makes it, and an import runs none";
const PROVIDER: &str = "who answers is a run's matter: the base and its adapters";
const OWN_RUN: &str = "it is about promptfoo's own run";
const ASKS_A_SERVER: &str = "it makes tests by asking a server";

/// Every key of a configuration.
const SETTINGS: Settings = &[
    ("description", Fate::Read),
    ("prompts", Fate::Read),
    ("tests", Fate::Read),
    ("scenarios", Fate::Read),
    ("defaultTest", Fate::Read),
    ("assertionTemplates", Fate::Read),
    ("providers", Fate::Left(PROVIDER)),
    ("targets", Fate::Left(PROVIDER)),
    ("redteam", Fate::Left(ASKS_A_SERVER)),
    ("plugins", Fate::Left(ASKS_A_SERVER)),
    ("strategies", Fate::Left(ASKS_A_SERVER)),
    (
        "nunjucksFilters",
        Fate::Left("it runs programs: what a filter of them would make is left out"),
    ),
    (
        "extensions",
        Fate::Left("it runs a program around the tests"),
    ),
    ("env", Fate::Left("a template that uses `env` is left out")),
    ("outputPath", Fate::Left(OWN_RUN)),
    ("sharing", Fate::Left(OWN_RUN)),
    ("commandLineOptions", Fate::Left(OWN_RUN)),
    ("evaluateOptions", Fate::Left(OWN_RUN)),
    ("tracing", Fate::Left(OWN_RUN)),
    (
        "derivedMetrics",
        Fate::Left("a suite's score is the mean of its probes"),
    ),
    ("tags", Fate::Harmless),
    ("metadata", Fate::Harmless),
    ("author", Fate::Harmless),
    ("$schema", Fate::Harmless),
];

/// Reads a configuration.
pub(super) fn read(
    source: &ImportSource,
    config: &Map<String, Value>,
    notes: &mut Notes,
) -> Result<Draft, ImportError> {
    let file_name = source.file.file_name().map(|name| name.to_string_lossy());
    let text = |key: &str| config.get(key).and_then(Value::as_str).map(str::to_owned);
    let mut draft = Draft {
        name: name_of(source),
        description: text("description"),
        origin: format!("{} (promptfoo)", file_name.unwrap_or_default()),
        ..Draft::default()
    };
    name_unread(config, SETTINGS, "the configuration", notes);
    if source.docs.is_some() {
        let why = "a promptfoo configuration has its tests in itself";
        notes.add("--docs", "the documents", why);
    }
    let config = match references::resolved(config) {
        Ok(config) => config,
        Err(why) => {
            notes.add("the configuration", "`$ref`", why);
            return Ok(draft);
        }
    };
    let folder = Folder::of(&source.file);
    let prompts = match config.get("prompts") {
        None | Some(Value::Null) => vec![PromptTemplate::of_variable()],
        prompts => prompt::templates(prompts, &folder, notes),
    };
    let reader = Reader::new(&folder);
    for case in reader.cases(&config, notes) {
        probes(&case, &prompts, &folder, &mut draft, notes);
    }
    Ok(draft)
}

/// The file's name, or where that is the usual one its folder's.
fn name_of(source: &ImportSource) -> String {
    let stem = source.file.file_stem();
    let stem = stem.map(|stem| stem.to_string_lossy().into_owned());
    let stem = stem
        .filter(|stem| stem != PLAIN_NAME)
        .and_then(|stem| slug(&stem));
    let folder = source.file.parent().and_then(|parent| parent.file_name());
    let folder = folder.and_then(|name| slug(&name.to_string_lossy()));
    stem.or(folder).unwrap_or_else(|| "promptfoo".into())
}

/// The probes of one test, one a choice of its variables and more where its prompts are unlike.
fn probes(
    case: &Case,
    prompts: &[PromptTemplate],
    folder: &Folder,
    draft: &mut Draft,
    notes: &mut Notes,
) {
    let combinations = match vars::combinations(&case.vars, folder, case.expands()) {
        Ok(combinations) => combinations,
        Err(why) => {
            notes.add(&case.place, "the test", why);
            return;
        }
    };
    let prompts: Vec<&PromptTemplate> = prompts.iter().filter(|p| case.asks(p)).collect();
    if prompts.is_empty() {
        notes.add(
            &case.place,
            "the test",
            "none of the prompts is asked in it",
        );
        return;
    }
    let several = combinations.len() > 1;
    for (n, vars) in combinations.into_iter().enumerate() {
        let place = match several {
            true => format!("{}.{}", case.place, n + 1),
            false => case.place.clone(),
        };
        match vars::loaded(vars, folder) {
            Ok(vars) => wordings(case, &prompts, &vars, &place, folder, draft, notes),
            Err(why) => notes.add(place, "the test", why),
        }
    }
}

fn wordings(
    case: &Case,
    prompts: &[&PromptTemplate],
    vars: &Map<String, Value>,
    place: &str,
    folder: &Folder,
    draft: &mut Draft,
    notes: &mut Notes,
) {
    let translator = Translator::new(folder, vars);
    let checks = translator.checks(&case.asserts, case.threshold, place, notes);
    let first_var = || vars.values().find_map(yaml::shown);
    let id = case.description.as_deref().and_then(slug);
    let id = id.or_else(|| first_var().as_deref().and_then(slug));
    let id = id.unwrap_or_else(|| slug(place).unwrap_or_else(|| "test".into()));
    let mut groups: Vec<(RenderedPrompt, DraftProbe)> = Vec::new();
    for prompt in prompts {
        let rendered = match prompt.render(vars, &case.option("prefix"), &case.option("suffix")) {
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
                    title: case.description.clone(),
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

/// Whether a file holds a program: promptfoo would run it.
fn is_program(written: &str) -> bool {
    let name = written.strip_prefix("file://").unwrap_or(written);
    let programs = [
        "js", "cjs", "mjs", "ts", "cts", "mts", "py", "rb", "go", "sh", "bash", "exe", "bat",
        "cmd", "ps1", "pl",
    ];
    let ends = |name: &str| {
        name.rsplit_once('.')
            .is_some_and(|(_, end)| programs.contains(&end))
    };
    // `file://a.py:function`
    ends(name) || name.rsplit_once(':').is_some_and(|(name, _)| ends(name))
}

#[cfg(test)]
mod tests;
