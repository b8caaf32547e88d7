//! Chat templates, rendered as Hugging Face transformers renders them.
//!
//! transformers (`utils/chat_template_utils.py`) sets Jinja up with `trim_blocks`,
//! `lstrip_blocks`, loop controls, a `generation` block, its own `tojson`, `raise_exception` and
//! `strftime_now`; Python's string and dict methods come with the language there and from
//! minijinja-contrib here. Nothing is added to what the template writes: no system prompt, no
//! special token.

use std::collections::BTreeMap;
use std::fmt;
use std::path::Path;
use std::sync::{Arc, LazyLock};
use std::time::{SystemTime, UNIX_EPOCH};

use minijinja::syntax::SyntaxConfig;
use minijinja::{AutoEscape, Environment, Error, ErrorKind, Value};
use regex::Regex;
use serde::{Deserialize, Serialize};
use serde_json::Value as Json;

use super::json_format::tojson;
use super::template_clock::strftime;
use super::{ChatError, Conversation, Message};

const NAME: &str = "chat";

static GENERATION_TAG: LazyLock<Regex> = LazyLock::new(|| {
    #[expect(clippy::unwrap_used, reason = "a constant that a test compiles")]
    Regex::new(r"\{%([-+]?)\s*(end)?generation\s*([-+]?)%\}").unwrap()
});

/// A model's chat template with its special tokens.
#[derive(Debug, Clone)]
pub struct ChatTemplate {
    environment: Arc<Environment<'static>>,
    special_tokens: BTreeMap<String, String>,
    source: String,
}

/// Where the effective system prompt comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum SystemOrigin {
    /// `system` in the configuration, or a probe's own.
    Configured,
    /// The template puts it in when a conversation has none.
    Template,
    /// There is none.
    None,
}

/// What a model is told before the first question.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct EffectiveSystem {
    /// The system prompt; empty where there is none and where an empty one is configured.
    pub text: String,
    /// Who puts it there.
    pub origin: SystemOrigin,
    /// Everything that is rendered before the text of the first question, special tokens and
    /// printed dates included.
    pub preamble: String,
}

impl fmt::Display for EffectiveSystem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.origin {
            SystemOrigin::Configured if self.text.is_empty() => f.write_str("empty (configured)"),
            SystemOrigin::Configured => write!(f, "{:?} (configured)", self.text),
            SystemOrigin::Template => write!(f, "{:?} (from the chat template)", self.text),
            SystemOrigin::None => f.write_str("none"),
        }
    }
}

impl ChatTemplate {
    /// Compiles a template. `special_tokens` are variables of the template by their names in
    /// tokenizer_config.json: `bos_token`, `eos_token`, `pad_token`, ...
    pub fn new(
        source: &str,
        special_tokens: BTreeMap<String, String>,
    ) -> Result<Self, ChatError> {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |d| d.as_secs());
        Self::new_at(source, special_tokens, now)
    }

    /// The same with a given moment, in seconds since 1970, for templates that print the date.
    pub fn new_at(
        source: &str,
        special_tokens: BTreeMap<String, String>,
        now: u64,
    ) -> Result<Self, ChatError> {
        let mut environment = Environment::new();
        let syntax = SyntaxConfig::builder().trim_blocks(true).lstrip_blocks(true).build();
        environment.set_syntax(syntax.map_err(|e| syntax_error(&e))?);
        environment.set_auto_escape_callback(|_| AutoEscape::None);
        environment
            .set_unknown_method_callback(minijinja_contrib::pycompat::unknown_method_callback);
        environment.add_filter("tojson", tojson);
        environment.add_function("raise_exception", |message: String| {
            Err::<Value, _>(
                Error::new(ErrorKind::InvalidOperation, message.clone())
                    .with_source(RaisedByTemplate(message)),
            )
        });
        environment.add_function("strftime_now", move |format: String| strftime(now, &format));
        // A block with a scope of its own, like the `generation` block that it stands for.
        let tolerated = GENERATION_TAG.replace_all(source, "{%$1 ${2}with $3%}");
        environment
            .add_template_owned(NAME, tolerated.into_owned())
            .map_err(|e| syntax_error(&e))?;
        Ok(ChatTemplate {
            environment: Arc::new(environment),
            special_tokens,
            source: source.to_string(),
        })
    }

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
            return Err(ChatError::NoTemplate { folder: folder.to_path_buf() });
        };
        Self::new(&source, special_tokens_of(&config))
    }

    /// The template's text as the model brings it.
    pub fn source(&self) -> &str {
        &self.source
    }

    /// Renders a conversation to text. With `add_generation_prompt` it ends where an answer
    /// begins.
    pub fn render(
        &self,
        conversation: &Conversation,
        add_generation_prompt: bool,
    ) -> Result<String, ChatError> {
        self.render_turns(&conversation.messages, add_generation_prompt)
    }

    pub(super) fn render_turns(
        &self,
        turns: &[Message],
        add_generation_prompt: bool,
    ) -> Result<String, ChatError> {
        let refused = |e: Error| render_error(&e, turns);
        let template = self.environment.get_template(NAME).map_err(refused)?;
        let messages: Vec<Value> = turns
            .iter()
            .map(|t| Value::from_pairs([("role", t.role.name()), ("content", &t.content)]))
            .collect();
        let special = self.special_tokens.iter().map(|(k, v)| (k.as_str(), Value::from(v.as_str())));
        let variables = special.chain([
            ("messages", Value::from(messages)),
            ("tools", Value::from(())),
            ("documents", Value::from(())),
            ("add_generation_prompt", Value::from(add_generation_prompt)),
        ]);
        template.render(Value::from_pairs(variables)).map_err(refused)
    }

    /// The system prompt that a conversation without its own gets: the configured one, else what
    /// the template itself puts in.
    ///
    /// Errors when a configured, not empty one would be refused or dropped by the template.
    pub fn effective_system(
        &self,
        configured: Option<&str>,
    ) -> Result<EffectiveSystem, ChatError> {
        const QUESTION: &str = "a2f1-the-question";
        const SYSTEM: &str = "b7c4-the-system-prompt";
        let render =
            |system: Option<&str>| self.render(&Conversation::prompt(system, QUESTION), true);
        let before_question = |text: &str| text.split(QUESTION).next().unwrap_or("").to_string();
        if let Some(system) = configured {
            let rendered = render(configured)?;
            if !rendered.contains(system.trim()) {
                return Err(ChatError::SystemIgnored { system: system.to_string() });
            }
            return Ok(EffectiveSystem {
                text: system.to_string(),
                origin: SystemOrigin::Configured,
                preamble: before_question(&rendered),
            });
        }
        let plain = render(None)?;
        let preamble = before_question(&plain);
        // A template without a system role refuses this rendering; then it adds none either.
        let text = match render(Some(SYSTEM)) {
            Ok(explicit) => explicit
                .split_once(SYSTEM)
                .and_then(|(head, tail)| plain.strip_prefix(head)?.strip_suffix(tail))
                .unwrap_or("")
                .to_string(),
            Err(ChatError::TemplateRefuses { .. }) => String::new(),
            Err(other) => return Err(other),
        };
        let origin = if text.is_empty() { SystemOrigin::None } else { SystemOrigin::Template };
        Ok(EffectiveSystem { text, origin, preamble })
    }
}

/// Marks the errors that a template makes itself, so that its words reach the user unadorned.
#[derive(Debug)]
struct RaisedByTemplate(String);

impl fmt::Display for RaisedByTemplate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for RaisedByTemplate {}

fn plain_reason(error: &Error) -> String {
    match error.detail() {
        Some(detail) => format!("{}: {detail}", error.kind()),
        None => error.kind().to_string(),
    }
}

fn syntax_error(error: &Error) -> ChatError {
    ChatError::TemplateSyntax { line: error.line().unwrap_or(1), reason: plain_reason(error) }
}

fn render_error(error: &Error, turns: &[Message]) -> ChatError {
    let mut cause: Option<&(dyn std::error::Error + 'static)> = std::error::Error::source(error);
    while let Some(inner) = cause {
        if let Some(raised) = inner.downcast_ref::<RaisedByTemplate>() {
            let roles: Vec<&str> = turns.iter().map(|t| t.role.name()).collect();
            return ChatError::TemplateRefuses {
                message: raised.0.clone(),
                roles: roles.join(", "),
            };
        }
        cause = inner.source();
    }
    ChatError::TemplateRender { line: error.line().unwrap_or(1), reason: plain_reason(error) }
}

fn read_if_there(path: &Path) -> Result<Option<String>, ChatError> {
    match std::fs::read_to_string(path) {
        Ok(text) => Ok(Some(text)),
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(source) => Err(ChatError::Read { path: path.to_path_buf(), source }),
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
            let name = |t: &Json| t.get("name").and_then(Json::as_str).unwrap_or("?").to_string();
            let default = named.iter().find(|t| name(t) == "default");
            match default.and_then(|t| t.get("template")).and_then(Json::as_str) {
                Some(source) => Ok(Some(source.to_string())),
                None => {
                    let names: Vec<String> = named.iter().map(name).collect();
                    Err(wrong(format!("no chat template `default` among [{}]", names.join(", "))))
                }
            }
        }
        Some(_) => Err(wrong("`chat_template` is neither a string nor a list".into())),
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
