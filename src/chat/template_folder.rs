//! The chat template of a Hugging Face folder.

use std::collections::BTreeMap;
use std::path::Path;

use serde_json::Value as Json;

use super::{ChatError, ChatTemplate};

impl ChatTemplate {
    /// Reads a Hugging Face folder: `chat_template.jinja` when it is there, else `chat_template`
    /// in `tokenizer_config.json`, a string or a list of named ones of which `default` is taken.
    pub fn from_folder(folder: &Path) -> Result<Self, ChatError> {
        let config_path = folder.join("tokenizer_config.json");
        let config = match read_if_there(&config_path)? {
            Some(text) => {
                let origin = config_path.display().to_string();
                serde_json::from_str(&text).map_err(|e| ChatError::TokenizerConfig {
                    origin,
                    problem: format!("not valid JSON: {e}"),
                    rule: "fetch the file again, it may be cut off",
                })?
            }
            None => Json::Null,
        };
        let own = read_if_there(&folder.join("chat_template.jinja"))?;
        let source = match own {
            Some(source) => Some(source),
            None => template_of(&config, &config_path)?,
        };
        let Some(source) = source else {
            return Err(ChatError::NoTemplate {
                folder: folder.to_path_buf(),
            });
        };
        Self::new(&source, special_tokens_of(&config))
    }
}

fn read_if_there(path: &Path) -> Result<Option<String>, ChatError> {
    match std::fs::read_to_string(path) {
        Ok(text) => Ok(Some(text)),
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(source) => Err(ChatError::Read {
            path: path.to_path_buf(),
            source,
        }),
    }
}

fn template_of(config: &Json, path: &Path) -> Result<Option<String>, ChatError> {
    let wrong = |problem: String| ChatError::TokenizerConfig {
        origin: path.display().to_string(),
        problem,
        rule: "`chat_template` is a string, or a list of {name, template} with one named `default`",
    };
    match config.get("chat_template") {
        None | Some(Json::Null) => Ok(None),
        Some(Json::String(source)) => Ok(Some(source.clone())),
        Some(Json::Array(named)) => {
            let name = |t: &Json| {
                t.get("name")
                    .and_then(Json::as_str)
                    .unwrap_or("?")
                    .to_string()
            };
            let default = named.iter().find(|t| name(t) == "default");
            match default
                .and_then(|t| t.get("template"))
                .and_then(Json::as_str)
            {
                Some(source) => Ok(Some(source.to_string())),
                None => {
                    let names: Vec<String> = named.iter().map(name).collect();
                    Err(wrong(format!(
                        "no chat template `default` among [{}]",
                        names.join(", ")
                    )))
                }
            }
        }
        Some(_) => Err(wrong(
            "`chat_template` is neither a string nor a list".into(),
        )),
    }
}

/// Every `*_token` of tokenizer_config.json, as text or as `{"content": text, ...}`.
fn special_tokens_of(config: &Json) -> BTreeMap<String, String> {
    let Some(map) = config.as_object() else {
        return BTreeMap::new();
    };
    map.iter()
        .filter(|(key, _)| key.ends_with("_token"))
        .filter_map(|(key, value)| {
            let text = value.as_str().or_else(|| value.get("content")?.as_str())?;
            Some((key.clone(), text.to_string()))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::chat::Conversation;

    fn folder(files: &[(&str, &str)]) -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        for (name, text) in files {
            std::fs::write(folder.path().join(name), text).unwrap();
        }
        folder
    }

    #[test]
    fn own_file_comes_before_tokenizer_config() {
        let config = r#"{"chat_template": "c{{ bos_token }}", "bos_token": {"content": "<s>"}}"#;
        let read = |files: &[(&str, &str)]| {
            let template = ChatTemplate::from_folder(folder(files).path()).unwrap();
            template.render(&Conversation::default(), false).unwrap()
        };
        assert_eq!(read(&[("tokenizer_config.json", config)]), "c<s>");
        let both = [
            ("tokenizer_config.json", config),
            ("chat_template.jinja", "j{{ bos_token }}"),
        ];
        assert_eq!(read(&both), "j<s>");
        let list = r#"{"chat_template": [{"name": "rag", "template": "r"}, {"name": "default", "template": "d"}]}"#;
        assert_eq!(read(&[("tokenizer_config.json", list)]), "d");
    }

    #[test]
    fn missing_and_unusable_templates_are_named() {
        let error = |files: &[(&str, &str)]| {
            let folder = folder(files);
            let error = ChatTemplate::from_folder(folder.path())
                .unwrap_err()
                .to_string();
            error.replace(&folder.path().display().to_string(), "MODEL")
        };
        insta::assert_snapshot!(error(&[("tokenizer_config.json", "{}")]), @r"
        MODEL: no chat template
        (looked for chat_template.jinja and for `chat_template` in tokenizer_config.json; take an instruct model, or put its chat_template.jinja there)
        ");
        let list = r#"{"chat_template": [{"name": "rag", "template": "r"}]}"#;
        insta::assert_snapshot!(error(&[("tokenizer_config.json", list)]), @r"
        MODEL/tokenizer_config.json: no chat template `default` among [rag]
        (`chat_template` is a string, or a list of {name, template} with one named `default`)
        ");
        insta::assert_snapshot!(error(&[("tokenizer_config.json", "{\"chat_")]), @r"
        MODEL/tokenizer_config.json: not valid JSON: EOF while parsing a string at line 1 column 7
        (fetch the file again, it may be cut off)
        ");
    }
}
