//! The prompts of a promptfoo configuration: texts, chats as lists of turns, and files with
//! either. A prompt that a program makes is named.

use serde_json::Value;

use crate::flow::Exchange;

use super::notes::Notes;
use super::render::Renderer;
use super::source::Folder;
use super::yaml;

/// Line between the prompts of a text file.
const SEPARATOR: &str = "---";
const PROGRAM: &str = "a program makes it, and an import runs none";

/// A prompt before its variables are filled in.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct PromptTemplate {
    /// `prompt 2`.
    pub(super) place: String,
    turns: Vec<(Role, String)>,
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Role {
    System,
    User,
    Assistant,
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
        Some(Value::Object(map)) if yaml::tagged(&Value::Object(map.clone())).is_none() => {
            map.keys().cloned().map(Value::String).collect()
        }
        Some(other) => vec![other.clone()],
        None => Vec::new(),
    };
    let mut found = Vec::new();
    for (entry, n) in entries.iter().zip(1..) {
        let place = format!("prompt {n}");
        match texts(entry, folder, &place, notes) {
            Ok(texts) => {
                for text in texts {
                    match turns(&text) {
                        Ok(turns) => found.push(PromptTemplate {
                            place: place.clone(),
                            turns,
                        }),
                        Err(why) => notes.add(&place, "the prompt", why),
                    }
                }
            }
            Err(why) => notes.add(&place, "the prompt", why),
        }
    }
    found
}

/// The texts of one entry: a file may have several.
fn texts(
    entry: &Value,
    folder: &Folder,
    place: &str,
    notes: &mut Notes,
) -> Result<Vec<String>, String> {
    match entry {
        Value::String(text) if is_file(text) => of_file(text, folder),
        Value::String(text) => {
            let scheme = text.split_once(':').map_or("", |(scheme, _)| scheme);
            match scheme {
                "exec" => Err(PROGRAM.into()),
                "langfuse" | "portkey" | "helicone" | "http" | "https" => {
                    Err("it is kept on a server".into())
                }
                _ => Ok(vec![text.clone()]),
            }
        }
        Value::Object(map) => {
            let read = ["raw", "id", "label", "prefix", "suffix"];
            super::reasons::name_unread(map, &read, place, |_| None, notes);
            if let Some(label) = map.get("label") {
                let what = format!("`label: {}`", yaml::scalar_text(label).unwrap_or_default());
                notes.add(place, what, "the wordings of a probe have no names");
            }
            let Some(source) = map.get("raw").or(map.get("id")).filter(|v| v.is_string()) else {
                return Err("it has neither `raw` nor `id`".into());
            };
            let around = |text: String| {
                let part = |key| map.get(key).and_then(Value::as_str).unwrap_or_default();
                format!("{}{text}{}", part("prefix"), part("suffix"))
            };
            let texts = texts(source, folder, place, notes)?;
            Ok(texts.into_iter().map(around).collect())
        }
        other => Err(format!(
            "it is no text: {}",
            crate::text::ellipsize(&other.to_string(), 40)
        )),
    }
}

/// `file://` in front, or nothing but the name of a file of a kind that prompts are kept in.
fn is_file(text: &str) -> bool {
    let kinds = [
        ".txt", ".json", ".jsonl", ".yaml", ".yml", ".md", ".j2", ".py", ".js",
    ];
    text.starts_with("file://")
        || (!text.contains(char::is_whitespace) && kinds.iter().any(|kind| text.ends_with(kind)))
}

fn of_file(written: &str, folder: &Folder) -> Result<Vec<String>, String> {
    if is_program(written) {
        return Err(PROGRAM.into());
    }
    if written.contains('*') {
        return Err(format!(
            "{written} stands for several files: name each by itself"
        ));
    }
    let text = folder
        .text(written)
        .map_err(|why| format!("{written} cannot be read: {why}"))?;
    let extension = written.rsplit('.').next().unwrap_or_default();
    Ok(match extension {
        "txt" => {
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
        "jsonl" => text
            .lines()
            .filter(|l| !l.trim().is_empty())
            .map(str::to_owned)
            .collect(),
        "csv" => return Err("a table of prompts is not read: write them as texts".into()),
        _ => vec![text.trim().to_owned()],
    })
}

/// Whether a file holds a program: promptfoo would run it.
pub(super) fn is_program(written: &str) -> bool {
    let name = written.strip_prefix("file://").unwrap_or(written);
    // `file://a.py:function`
    let name = name.rsplit_once(':').map_or(name, |(name, _)| name);
    let extension = name.rsplit('.').next().unwrap_or_default();
    let programs = [
        "js", "cjs", "mjs", "ts", "cts", "mts", "py", "rb", "go", "sh", "exe", "bat",
    ];
    programs.contains(&extension)
}

/// The turns of a text: a chat where it is a list of them, else one turn of the user.
fn turns(text: &str) -> Result<Vec<(Role, String)>, String> {
    let start = text.trim_start();
    let chat = start.starts_with("- role:") || (start.starts_with('[') && start.contains("role"));
    if !chat {
        return Ok(vec![(Role::User, text.to_owned())]);
    }
    let refused = |what: &str| format!("a chat {what}");
    let read = yaml::parse("", text)
        .map_err(|_| refused("that is no list before its template is filled"))?;
    let turn = |turn: &Value| {
        let role = match turn.get("role").and_then(Value::as_str) {
            Some("system" | "developer") => Role::System,
            Some("user") => Role::User,
            Some("assistant") => Role::Assistant,
            _ => {
                return Err(refused(
                    "with another role than system, user, and assistant",
                ));
            }
        };
        match turn.get("content") {
            Some(Value::String(content)) => Ok((role, content.clone())),
            _ => Err(refused("with a turn that is no text")),
        }
    };
    let items = read.as_array().map(Vec::as_slice).unwrap_or_default();
    items.iter().map(turn).collect()
}

impl PromptTemplate {
    /// The prompt with its variables filled in.
    ///
    /// # Errors
    /// Why it cannot be asked.
    pub(super) fn render(
        &self,
        renderer: &Renderer,
        vars: &Value,
    ) -> Result<RenderedPrompt, String> {
        let mut system = None;
        let mut history = Vec::new();
        let mut user: Option<String> = None;
        for (role, template) in &self.turns {
            let text = renderer.text(template, vars)?;
            match (role, user.take()) {
                (Role::System, None) if system.is_none() && history.is_empty() => {
                    system = Some(text);
                }
                (Role::User, None) => user = Some(text),
                (Role::Assistant, Some(asked)) => history.push(Exchange {
                    user: asked,
                    assistant: text,
                }),
                _ => {
                    return Err(
                        "a chat is one system turn at most, then user and assistant in \
                                turn"
                            .into(),
                    );
                }
            }
        }
        Ok(RenderedPrompt {
            system,
            history,
            user: user.ok_or("a chat ends with a turn of the user")?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn prompts_are_texts_chats_and_files() {
        let folder = tempfile::tempdir().unwrap();
        let write =
            |name: &str, text: &str| std::fs::write(folder.path().join(name), text).unwrap();
        write("two.txt", "First {{q}}\n\n---\nSecond {{q}}\n");
        write(
            "chat.json",
            r#"[{"role": "system", "content": "Be {{q}}."}, {"role": "user", "content": "Hi"},
                {"role": "assistant", "content": "Hello"}, {"role": "user", "content": "{{q}}?"}]"#,
        );
        let mut notes = Notes::default();
        let prompts = json!([
            "Inline {{q}}",
            "file://two.txt",
            {"id": "file://chat.json", "label": "chat"},
            "file://make.py:prompt",
            "file://none.txt",
            "file://many/*.txt",
            "[{\"role\": \"tool\", \"content\": \"x\"}]",
        ]);
        let file = folder.path().join("promptfooconfig.yaml");
        let found = templates(Some(&prompts), &Folder::of(&file), &mut notes);
        let (renderer, vars) = (Renderer::new(), json!({"q": "kind"}));
        let shown = found
            .iter()
            .map(|t| format!("{:?}", t.render(&renderer, &vars).unwrap()));
        let shown: Vec<String> = shown.collect();
        insta::assert_snapshot!(shown.join("\n"), @r#"
        RenderedPrompt { system: None, history: [], user: "Inline kind" }
        RenderedPrompt { system: None, history: [], user: "First kind" }
        RenderedPrompt { system: None, history: [], user: "Second kind" }
        RenderedPrompt { system: Some("Be kind."), history: [Exchange { user: "Hi", assistant: "Hello" }], user: "kind?" }
        "#);
        let notes: Vec<String> = notes.into_list().iter().map(ToString::to_string).collect();
        insta::assert_snapshot!(notes.join("\n"), @"
        prompt 3: `label: chat`: the wordings of a probe have no names
        prompt 4: the prompt: a program makes it, and an import runs none
        prompt 5: the prompt: file://none.txt cannot be read: No such file or directory (os error 2)
        prompt 6: the prompt: file://many/*.txt stands for several files: name each by itself
        prompt 7: the prompt: a chat with another role than system, user, and assistant
        ");
    }

    #[test]
    fn chat_without_a_question_is_refused() {
        let texts = [
            r#"[{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}]"#,
            r#"[{"role": "user", "content": "a"}, {"role": "user", "content": "b"}]"#,
        ];
        for text in texts {
            let template = PromptTemplate {
                place: "prompt 1".into(),
                turns: turns(text).unwrap(),
            };
            template.render(&Renderer::new(), &json!({})).unwrap_err();
        }
    }
}
