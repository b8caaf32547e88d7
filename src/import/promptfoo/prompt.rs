//! The prompts of a configuration: texts and files with texts, rendered as promptfoo renders them
//! (`src/prompts`, `renderPrompt`), and the turns that a chat model is then given
//! (`parseChatPrompt`): a list of them where the text is JSON, or YAML that begins with `- role:`,
//! else one turn of the user. A prompt that a program makes is named.

use std::path::Path;
use std::sync::LazyLock;

use regex::Regex;
use serde_json::{Map, Value};

use crate::flow::Exchange;
use crate::import::csv::{self, Blanks};
use crate::import::glob;
use crate::import::notes::Notes;
use crate::import::pattern;
use crate::import::settings::{Fate, Settings, name_unread};
use crate::import::source::Folder;
use crate::import::template::{Language, Template, Vars};
use crate::import::yaml::{self, Dialect};

use super::{PROGRAM, is_program};

/// Line between the prompts of a text file.
const SEPARATOR: &str = "---";

/// Every key of a prompt that is a table.
const SETTINGS: Settings = &[
    ("raw", Fate::Read),
    ("id", Fate::Read),
    ("label", Fate::Read),
    ("config", Fate::Left("it is for the provider")),
    ("function", Fate::Decides(PROGRAM)),
];

// A tag that is not closed on its line makes the whole text one without templates.
static OPEN_TAG: LazyLock<Regex> =
    LazyLock::new(|| pattern::constant(r"(?m)(?:\{%[^%]*$|\{\{[^}]*$|\{#[^#]*$)"));
static RAW: LazyLock<Regex> = LazyLock::new(|| {
    pattern::constant(
        r"(?s)\{%\s*raw\s*%\}.*\{%\s*endraw\s*%\}|\{%\s*endraw\s*%\}.*\{%\s*raw\s*%\}",
    )
});
static COMMENT: LazyLock<Regex> = LazyLock::new(|| pattern::constant(r"(?s)\{#.*?#\}"));
static REFERENCE: LazyLock<Regex> = LazyLock::new(|| {
    pattern::constant(
        r"\{\{\s*([^{}\s|]+)\s*(?:\|[^}]+)?\}\}|\{%\s*(?:if|for)\s+([^{}\s]+)\s*.*?%\}",
    )
});
static LOOP: LazyLock<Regex> = LazyLock::new(|| {
    pattern::constant(r"\{%\s*for\s+([0-9A-Za-z_]+)\s+in\s+([0-9A-Za-z_]+)\s*%\}")
});
static ROOT: LazyLock<Regex> = LazyLock::new(|| pattern::constant(r"^[A-Za-z_][0-9A-Za-z_]*"));

/// A prompt before its variables are filled in.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct PromptTemplate {
    /// `prompt 2`.
    pub(super) place: String,
    raw: String,
    label: String,
    id: Option<String>,
}

/// A prompt as it is asked.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct RenderedPrompt {
    pub(super) system: Option<String>,
    pub(super) history: Vec<Exchange>,
    pub(super) user: String,
}

/// Every prompt that `prompts` names.
pub(super) fn templates(
    prompts: Option<&Value>,
    folder: &Folder,
    notes: &mut Notes,
) -> Vec<PromptTemplate> {
    let entries: Vec<Value> = match prompts {
        Some(Value::Array(items)) => items.clone(),
        // An old form: the file's name, and what it is called.
        Some(Value::Object(map)) if yaml::tagged(&Value::Object(map.clone())).is_none() => map
            .iter()
            .map(|(raw, label)| {
                let pairs = [("raw", raw.as_str().into()), ("label", label.clone())];
                Value::Object(
                    pairs
                        .map(|(key, value)| (key.to_owned(), value))
                        .into_iter()
                        .collect(),
                )
            })
            .collect(),
        Some(other) => vec![other.clone()],
        None => Vec::new(),
    };
    let mut found = Vec::new();
    for (n, entry) in entries.iter().enumerate() {
        let place = format!("prompt {}", n + 1);
        match of_entry(entry, folder, &place, notes) {
            Ok(prompts) => found.extend(prompts),
            Err(why) => notes.add(&place, "the prompt", why),
        }
    }
    found
}

fn of_entry(
    entry: &Value,
    folder: &Folder,
    place: &str,
    notes: &mut Notes,
) -> Result<Vec<PromptTemplate>, String> {
    let made = |raw: String, label: String, id: Option<String>| PromptTemplate {
        place: place.to_owned(),
        raw,
        label,
        id,
    };
    let (written, label, id) = match entry {
        Value::String(text) => (text.clone(), None, None),
        Value::Object(map) if yaml::tagged(entry).is_none() => {
            name_unread(map, SETTINGS, place, notes).ok_or(PROGRAM)?;
            let text = |key: &str| map.get(key).and_then(Value::as_str).map(str::to_owned);
            let raw = text("raw")
                .filter(|raw| !raw.is_empty())
                .or_else(|| text("id"));
            (
                raw.ok_or("it has neither `raw` nor `id`")?,
                text("label"),
                text("id"),
            )
        }
        other => {
            let shown = crate::text::ellipsize(&other.to_string(), 40);
            return Err(format!("it is no text: {shown}"));
        }
    };
    for server in ["langfuse://", "portkey://", "helicone://"] {
        if written.starts_with(server) {
            return Err("it is kept on a server".into());
        }
    }
    if written.starts_with("exec:") {
        return Err(PROGRAM.into());
    }
    let whole = |written: String| {
        let label = label.clone().unwrap_or_else(|| written.clone());
        vec![made(written, label, id.clone())]
    };
    if !names_a_file(&written) {
        return Ok(whole(written));
    }
    let name = written.strip_prefix("file://").unwrap_or(&written);
    if glob::is_pattern(name) {
        let found = folder.files(name).unwrap_or_default();
        if found.is_empty() {
            // promptfoo takes what names no file as the prompt itself.
            return Ok(whole(written));
        }
        let mut prompts = Vec::new();
        for path in found {
            for raw in of_file(&path.display().to_string(), folder)? {
                prompts.push(made(
                    raw.clone(),
                    format!("{}: {raw}", path.display()),
                    None,
                ));
            }
        }
        return Ok(prompts);
    }
    let texts = of_file(name, folder)?;
    let texts = texts.into_iter().map(|raw| {
        let label = label.clone().unwrap_or_else(|| format!("{name}: {raw}"));
        made(raw, label, id.clone())
    });
    Ok(texts.collect())
}

/// promptfoo's `maybeFilePath`: a text with a slash, a star, or a dot near its end may be the name
/// of a file.
fn names_a_file(text: &str) -> bool {
    const ENDS: [&str; 14] = [
        ".cjs", ".cts", ".j2", ".js", ".json", ".jsonl", ".md", ".mjs", ".mts", ".py", ".ts",
        ".txt", ".yml", ".yaml",
    ];
    if text.contains('\n') {
        return false;
    }
    let mut parts = text.rsplit(':');
    let (last, before) = (parts.next(), parts.next());
    let ends = |part: Option<&str>| part.is_some_and(|p| ENDS.iter().any(|end| p.ends_with(end)));
    let units: Vec<u16> = text.encode_utf16().collect();
    let dot = |back: usize| {
        let at = units.len().checked_sub(back);
        at.and_then(|at| units.get(at)) == Some(&u16::from(b'.'))
    };
    text.starts_with("file://")
        || ends(last)
        || ends(before)
        || dot(3)
        || dot(4)
        || text.contains(['*', '/', '\\'])
}

/// The prompts of one file.
fn of_file(name: &str, folder: &Folder) -> Result<Vec<String>, String> {
    if is_program(name) {
        return Err(PROGRAM.into());
    }
    let extension = Path::new(name)
        .extension()
        .map(|end| end.to_string_lossy().into_owned());
    let extension = extension.unwrap_or_default();
    if !["csv", "j2", "json", "jsonl", "md", "txt", "yml", "yaml"].contains(&extension.as_str()) {
        let shown = crate::text::ellipsize(name, 60);
        return Err(format!(
            "promptfoo takes {shown:?} for the name of a file, for it has a slash, a star, or a \
             dot near its end: put it on two lines"
        ));
    }
    let text = folder.text(name);
    let text = text.map_err(|why| format!("{name} cannot be read: {why}"))?;
    let texts = match extension.as_str() {
        "txt" => parts(&text),
        "jsonl" => text
            .lines()
            .filter(|line| !line.is_empty())
            .map(str::to_owned)
            .collect(),
        "csv" => table(&text).map_err(|why| format!("{name}: {why}"))?,
        "yml" | "yaml" => vec![match yaml::parse(name, &text, Dialect::JavaScript) {
            Ok(value) => with_files_refused(&value)?.to_string(),
            Err(_) => text,
        }],
        "json" => vec![match serde_json::from_str::<Value>(&text) {
            Ok(value) => with_files_refused(&yaml::in_javascript(value))?.to_string(),
            Err(_) => text,
        }],
        _ => vec![text],
    };
    match texts.is_empty() {
        true => Err(format!("there are no prompts in {name}")),
        false => Ok(texts),
    }
}

/// promptfoo reads files that a chat names; no probe of a chat needs one.
fn with_files_refused(value: &Value) -> Result<&Value, String> {
    let inside = match value {
        Value::String(text) if text.starts_with("file://") => {
            return Err(format!("it names another file, {text}"));
        }
        Value::Array(items) => items.iter().collect(),
        Value::Object(map) => map.values().collect(),
        _ => Vec::new(),
    };
    for value in inside {
        with_files_refused(value)?;
    }
    Ok(value)
}

/// The texts between lines of `---`.
fn parts(text: &str) -> Vec<String> {
    let mut texts = vec![String::new()];
    for line in text.lines() {
        match texts.last_mut() {
            Some(last) if line.trim() != SEPARATOR => {
                last.push_str(line);
                last.push('\n');
            }
            _ => texts.push(String::new()),
        }
    }
    let texts = texts.iter().map(|text| text.trim().to_owned());
    texts.filter(|text| !text.is_empty()).collect()
}

/// Prompts of a table: its column `prompt`, or its lines where it has no commas.
fn table(text: &str) -> Result<Vec<String>, String> {
    if text.contains(',') {
        let rows = csv::rows(text, Blanks::Cut)?;
        let prompts = rows.iter().filter_map(|row| row.get("prompt")?.as_str());
        let prompts = prompts.filter(|text| !text.is_empty());
        return Ok(prompts.map(str::to_owned).collect());
    }
    let mut lines = text
        .lines()
        .filter(|line| !line.trim().is_empty())
        .peekable();
    lines.next_if(|line| line.trim().eq_ignore_ascii_case("prompt"));
    Ok(lines.map(str::to_owned).collect())
}

impl PromptTemplate {
    /// What promptfoo asks where a configuration has no prompts.
    pub(super) fn of_variable() -> Self {
        PromptTemplate {
            place: "prompts".into(),
            raw: "{{prompt}}".into(),
            label: "{{prompt}}".into(),
            id: None,
        }
    }

    /// Whether a test that names it means this prompt: label or id, whole, with a star at the end,
    /// or the part before a colon.
    pub(super) fn is_called(&self, name: &str) -> bool {
        [Some(&self.label), self.id.as_ref()]
            .into_iter()
            .flatten()
            .any(|own| {
                let starts = name
                    .strip_suffix('*')
                    .is_some_and(|start| own.starts_with(start));
                let group = own
                    .strip_prefix(name)
                    .is_some_and(|rest| rest.starts_with(':'));
                own == name || starts || group
            })
    }

    /// The prompt with its variables filled in, between a prefix and a suffix.
    ///
    /// # Errors
    /// Why it cannot be asked.
    pub(super) fn render(
        &self,
        vars: &Map<String, Value>,
        prefix: &str,
        suffix: &str,
    ) -> Result<RenderedPrompt, String> {
        asked(&rendered(&format!("{prefix}{}{suffix}", self.raw), vars)?)
    }
}

/// The text of a prompt (`renderPrompt`).
fn rendered(raw: &str, vars: &Map<String, Value>) -> Result<String, String> {
    if let Ok(json) = serde_json::from_str::<Value>(raw) {
        let values = Vars::new(vars, Language::JavaScript);
        let json = in_strings(yaml::in_javascript(json), &values)?;
        return serde_json::to_string_pretty(&json).map_err(|error| error.to_string());
    }
    // In a text the variables are templates too.
    let values = Vars::new(vars, Language::JavaScript);
    let mut filled = Map::new();
    for (name, value) in vars {
        let value = match value {
            Value::String(text) if !refers_to_nothing(text, vars) => {
                Value::String(template(text, &values)?)
            }
            other => other.clone(),
        };
        filled.insert(name.clone(), value);
    }
    template(raw, &Vars::new(&filled, Language::JavaScript))
}

/// Every text of a JSON value as a template.
fn in_strings(value: Value, vars: &Vars) -> Result<Value, String> {
    Ok(match value {
        Value::String(text) => {
            Value::String(Template::parse(&text, Language::JavaScript)?.render(vars)?)
        }
        Value::Array(items) => {
            let items = items.into_iter().map(|item| in_strings(item, vars));
            Value::Array(items.collect::<Result<_, _>>()?)
        }
        Value::Object(map) => {
            let pairs = map.into_iter();
            let pairs = pairs.map(|(key, item)| Ok((key, in_strings(item, vars)?)));
            Value::Object(pairs.collect::<Result<_, String>>()?)
        }
        other => other,
    })
}

/// A template, unless a tag is open at the end of a line: then it is no template at all.
fn template(text: &str, vars: &Vars) -> Result<String, String> {
    if OPEN_TAG.is_match(text) && !RAW.is_match(text) {
        return Ok(text.to_owned());
    }
    Template::parse(text, Language::JavaScript)?.render(vars)
}

/// Whether a variable's text names a variable that is not there: it stays as it is then.
fn refers_to_nothing(text: &str, vars: &Map<String, Value>) -> bool {
    let text = COMMENT.replace_all(text, "");
    let found = REFERENCE.captures_iter(&text);
    let found = found.filter_map(|found| found.get(1).or_else(|| found.get(2)));
    let mut names: Vec<&str> = found.map(|name| name.as_str()).collect();
    for found in LOOP.captures_iter(&text) {
        names.retain(|name| *name != &found[1]);
        if let Some(list) = found.get(2) {
            names.push(list.as_str());
        }
    }
    let roots = names.iter().filter_map(|name| ROOT.find(name));
    let mut roots = roots.map(|root| root.as_str());
    roots.any(|root| root != "env" && !vars.contains_key(root))
}

/// What a chat model is given for a text (`parseChatPrompt`).
fn asked(text: &str) -> Result<RenderedPrompt, String> {
    let start = text.trim();
    let value = if start.starts_with("- role:") {
        let read = yaml::parse("", text, Dialect::JavaScript);
        Some(read.map_err(|_| "a chat that is no YAML once its variables are filled in")?)
    } else {
        serde_json::from_str::<Value>(text).ok()
    };
    match value {
        Some(Value::Array(turns)) => chat(&turns),
        Some(_) => Err("it is JSON and no list of turns, which a chat model refuses".into()),
        None if looks_like_json(start) => {
            Err("it looks like JSON and is none, which promptfoo refuses".into())
        }
        None => Ok(RenderedPrompt {
            system: None,
            history: Vec::new(),
            user: text.to_owned(),
        }),
    }
}

fn looks_like_json(text: &str) -> bool {
    if text.starts_with('{') && text.ends_with('}') {
        return true;
    }
    let inside = text
        .strip_prefix('[')
        .filter(|_| text.ends_with(']'))
        .map(str::trim_start);
    inside.is_some_and(|inside| {
        inside.starts_with(['"', '{', '[', '-'])
            || inside.starts_with(|c: char| c.is_ascii_digit())
            || ["true", "false", "null"]
                .iter()
                .any(|word| inside.starts_with(word))
            || inside.is_empty()
    })
}

fn chat(turns: &[Value]) -> Result<RenderedPrompt, String> {
    let order = || {
        "a chat is one system turn at most, then user and assistant in turn, the user last"
            .to_owned()
    };
    let mut system = None;
    let mut history = Vec::new();
    let mut user: Option<String> = None;
    for turn in turns {
        let text = content(turn)?;
        match (turn.get("role").and_then(Value::as_str), user.take()) {
            (Some("system" | "developer"), None) if system.is_none() && history.is_empty() => {
                system = Some(text);
            }
            (Some("user"), None) => user = Some(text),
            (Some("assistant"), Some(asked)) => history.push(Exchange {
                user: asked,
                assistant: text,
            }),
            (Some("system" | "developer" | "user" | "assistant"), _) => return Err(order()),
            _ => return Err("a chat with another role than system, user, and assistant".into()),
        }
    }
    Ok(RenderedPrompt {
        system,
        history,
        user: user.ok_or_else(order)?,
    })
}

/// A turn's text, also where it is the only part of a list.
fn content(turn: &Value) -> Result<String, String> {
    let more = turn.as_object().and_then(|turn| {
        let known = ["role", "content", "name"];
        turn.keys()
            .find(|key| !known.contains(&key.as_str()))
            .cloned()
    });
    if let Some(more) = more {
        return Err(format!("a turn with `{more}`"));
    }
    match turn.get("content") {
        Some(Value::String(content)) => Ok(content.clone()),
        Some(Value::Array(parts)) => match parts.as_slice() {
            [part] if part.get("type").and_then(Value::as_str) == Some("text") => {
                let text = part.get("text").and_then(Value::as_str);
                text.map(str::to_owned)
                    .ok_or_else(|| "a turn that is no text".into())
            }
            _ => Err("a turn of several parts".into()),
        },
        _ => Err("a turn that is no text".into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn shown(prompts: &Value, files: &[(&str, &str)], vars: &Value) -> String {
        let folder = tempfile::tempdir().unwrap();
        for (name, text) in files {
            std::fs::write(folder.path().join(name), text).unwrap();
        }
        let mut notes = Notes::default();
        let file = folder.path().join("promptfooconfig.yaml");
        let found = templates(Some(prompts), &Folder::of(&file), &mut notes);
        let vars = vars.as_object().unwrap();
        let rendered = found.iter().map(|t| match t.render(vars, "", "") {
            Ok(prompt) => format!("{}: {prompt:?}", t.place),
            Err(why) => format!("{}: {why}", t.place),
        });
        let notes: Vec<String> = notes.into_list().iter().map(ToString::to_string).collect();
        rendered.chain(notes).collect::<Vec<_>>().join("\n")
    }

    #[test]
    fn prompts_are_texts_chats_and_files() {
        let files = [
            ("two.txt", "First {{q}}\n\n---\nSecond {{q}}\n"),
            (
                "chat.json",
                r#"[{"role": "system", "content": "Be {{q}}."}, {"role": "user", "content": "Hi"},
                {"role": "assistant", "content": "Hello"}, {"role": "user", "content": "{{q}}?"}]"#,
            ),
            (
                "chat.yaml",
                "# what is asked\n-   role: system\n    content: Be {{q}}.\n-   role: user\n    content: \"{{q}}\"\n",
            ),
            ("many1.md", "One {{q}}\n"),
            ("many2.md", "Two {{q}}\n"),
            ("table.csv", "prompt,label\n\"Say, {{q}}\",a\n"),
        ];
        let prompts = json!([
            "Inline {{q}}",
            "file://two.txt",
            {"id": "file://chat.json", "label": "chat"},
            "chat.yaml",
            "file://make.py:prompt",
            "file://none.txt",
            "file://many*.md",
            "table.csv",
            "[{\"role\": \"tool\", \"content\": \"x\"}]",
            "[INST] {{q}} [/INST]",
            "Was it 3/4 of {{q}}",
            "- role: user\n  content: Be {{q}}",
            "{\"ask\": \"{{q}}\"}",
            "[\"{{q}}\"",
        ]);
        insta::assert_snapshot!(shown(&prompts, &files, &json!({"q": "kind"})), @r#"
        prompt 1: RenderedPrompt { system: None, history: [], user: "Inline kind" }
        prompt 2: RenderedPrompt { system: None, history: [], user: "First kind" }
        prompt 2: RenderedPrompt { system: None, history: [], user: "Second kind" }
        prompt 3: RenderedPrompt { system: Some("Be kind."), history: [Exchange { user: "Hi", assistant: "Hello" }], user: "kind?" }
        prompt 4: RenderedPrompt { system: Some("Be kind."), history: [], user: "kind" }
        prompt 7: RenderedPrompt { system: None, history: [], user: "One kind\n" }
        prompt 7: RenderedPrompt { system: None, history: [], user: "Two kind\n" }
        prompt 8: RenderedPrompt { system: None, history: [], user: "Say, kind" }
        prompt 9: a chat with another role than system, user, and assistant
        prompt 10: RenderedPrompt { system: None, history: [], user: "[INST] kind [/INST]" }
        prompt 12: RenderedPrompt { system: None, history: [], user: "Be kind" }
        prompt 13: it is JSON and no list of turns, which a chat model refuses
        prompt 14: RenderedPrompt { system: None, history: [], user: "[\"kind\"" }
        prompt 5: the prompt: a program makes it, and an import runs none
        prompt 6: the prompt: none.txt cannot be read: No such file or directory (os error 2)
        prompt 11: the prompt: promptfoo takes "Was it 3/4 of {{q}}" for the name of a file, for it has a slash, a star, or a dot near its end: put it on two lines
        "#);
    }

    #[test]
    fn chats_that_a_probe_cannot_have_are_refused() {
        let prompts = json!([
            r#"[{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}]"#,
            r#"[{"role": "user", "content": "a"}, {"role": "user", "content": "b"}]"#,
            r#"[{"role": "user", "content": [{"type": "text", "text": "a"}]}]"#,
            r#"[{"role": "user", "content": [{"type": "image_url"}]}]"#,
            r#"[{"role": "user", "content": "a", "tool_calls": []}]"#,
            "[]",
        ]);
        insta::assert_snapshot!(shown(&prompts, &[], &json!({})), @r#"
        prompt 1: a chat is one system turn at most, then user and assistant in turn, the user last
        prompt 2: a chat is one system turn at most, then user and assistant in turn, the user last
        prompt 3: RenderedPrompt { system: None, history: [], user: "a" }
        prompt 4: a turn of several parts
        prompt 5: a turn with `tool_calls`
        prompt 6: a chat is one system turn at most, then user and assistant in turn, the user last
        "#);
    }

    /// promptfoo 0.123.1's own `renderPrompt` prints the same.
    #[test]
    fn variables_are_templates_in_texts_and_not_in_json() {
        let vars = json!({"a": "{{b}}!", "b": "{% if c %}x{% endif %}", "c": true, "n": 9, "d": "{{none}}"});
        let prompts = json!([
            "{{a}} {{n}}",
            "{{d}}",
            r#"[{"role": "user", "content": "{{a}} {{n}} {{c}}"}]"#,
            "{{a}} {{",
        ]);
        insta::assert_snapshot!(shown(&prompts, &[], &vars), @r#"
        prompt 1: RenderedPrompt { system: None, history: [], user: "{% if c %}x{% endif %}! 9" }
        prompt 2: it looks like JSON and is none, which promptfoo refuses
        prompt 3: RenderedPrompt { system: None, history: [], user: "{{b}}! 9 true" }
        prompt 4: RenderedPrompt { system: None, history: [], user: "{{a}} {{" }
        "#);
    }
}
