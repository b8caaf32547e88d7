//! Chat templates, rendered as Hugging Face transformers renders them.
//!
//! transformers (`utils/chat_template_utils.py`) sets Jinja up with `trim_blocks`,
//! `lstrip_blocks`, loop controls, a `generation` block, its own `tojson`, `raise_exception` and
//! `strftime_now`; Jinja itself makes every line end of a template `\n`. Python's string and dict methods come with the language there and from
//! minijinja-contrib here. Nothing is added to what the template writes: no system prompt, no
//! special token.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, LazyLock};
use std::time::{SystemTime, UNIX_EPOCH};

use minijinja::syntax::SyntaxConfig;
use minijinja::{AutoEscape, Environment, Error, ErrorKind, Value};
use regex::Regex;
use serde::{Deserialize, Serialize};

use crate::file_text::unix_lines;

use super::json_format::tojson;
use super::template_clock::strftime;
use super::template_limits::{self, with_room};
use super::template_variables::Variables;
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
    variables: Variables,
    source: String,
    /// In seconds since 1970.
    now: u64,
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
    pub fn new(source: &str, special_tokens: BTreeMap<String, String>) -> Result<Self, ChatError> {
        let now = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .map_or(0, |d| d.as_secs());
        Self::new_at(source, special_tokens, now)
    }

    /// The same with a given moment, in seconds since 1970, for templates that print the date.
    pub fn new_at(
        source: &str,
        special_tokens: BTreeMap<String, String>,
        now: u64,
    ) -> Result<Self, ChatError> {
        let source = unix_lines(source);
        let own = source.clone().into_owned();
        let environment = with_room(move || compiled(&own, now))
            .and_then(|compiled| compiled)
            .map_err(|e| syntax_error(&e))?;
        Ok(ChatTemplate {
            environment: Arc::new(environment),
            special_tokens,
            variables: Variables::default(),
            source: source.into_owned(),
            now,
        })
    }

    /// Whether what it writes can depend on the date.
    pub fn prints_date(&self) -> bool {
        self.source.contains("strftime_now")
    }

    /// The moment that it was given, in seconds since 1970.
    pub fn moment(&self) -> u64 {
        self.now
    }

    /// The same template at another moment.
    ///
    /// # Errors
    /// None that a template can cause that was compiled before.
    pub fn at(&self, now: u64) -> Result<Self, ChatError> {
        let template = Self::new_at(&self.source, self.special_tokens.clone(), now)?;
        Ok(template.with_variables(self.variables.clone()))
    }

    /// The same template with variables of its own set; see [`Variables`].
    pub fn with_variables(self, variables: Variables) -> Self {
        ChatTemplate { variables, ..self }
    }

    /// The variables that are set.
    pub fn variables(&self) -> &Variables {
        &self.variables
    }

    /// Names that it reads without setting them itself, functions included.
    pub(super) fn names_read(&self) -> Vec<String> {
        let environment = self.environment.clone();
        let names = with_room(move || {
            let template = environment.get_template(NAME)?;
            Ok::<_, Error>(template.undeclared_variables(false))
        });
        // A template that was compiled before has its names.
        let mut names: Vec<String> = names
            .and_then(|names| names)
            .into_iter()
            .flatten()
            .collect();
        names.sort();
        names
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
        let messages = turns
            .iter()
            .map(|t| Value::from_pairs([("role", t.role.name()), ("content", &t.content)]));
        let special = self.special_tokens.iter();
        let special = special.map(|(k, v)| (k.as_str(), Value::from(v.as_str())));
        let given = Value::from_pairs(special.chain(self.variables.values()).chain([
            ("messages", Value::from(messages.collect::<Vec<_>>())),
            ("tools", Value::from(())),
            ("documents", Value::from(())),
            ("add_generation_prompt", Value::from(add_generation_prompt)),
        ]));
        let environment = self.environment.clone();
        let roles: Vec<&str> = turns.iter().map(|t| t.role.name()).collect();
        let roles = roles.join(", ");
        let heard = roles.clone();
        // An error holds what the template made, however deep: it is told of and dropped in there.
        let rendered = with_room(move || {
            let template = environment.get_template(NAME);
            let rendered = template.and_then(|template| template.render(given));
            rendered.map_err(|e| render_error(&e, &heard))
        });
        rendered.unwrap_or_else(|e| Err(render_error(&e, &roles)))
    }

    /// The system prompt that a conversation without its own gets: the configured one, else what
    /// the template itself puts in.
    ///
    /// Errors when a configured, not empty one would be refused or dropped by the template.
    pub fn effective_system(&self, configured: Option<&str>) -> Result<EffectiveSystem, ChatError> {
        const QUESTION: &str = "a2f1-the-question";
        const SYSTEM: &str = "b7c4-the-system-prompt";
        let render =
            |system: Option<&str>| self.render(&Conversation::prompt(system, QUESTION), true);
        let before_question = |text: &str| text.split(QUESTION).next().unwrap_or("").to_string();
        if let Some(system) = configured {
            let rendered = render(configured)?;
            if !rendered.contains(QUESTION) {
                return Err(ChatError::QuestionIgnored { written: rendered });
            }
            if system.is_empty() && rendered == render(None)? {
                // An empty system turn is the same as none, so the template's own is put in.
                let own = self.effective_system(None)?;
                if own.origin == SystemOrigin::Template {
                    return Ok(own);
                }
            }
            if !rendered.contains(system.trim()) {
                return Err(ChatError::SystemIgnored {
                    system: system.to_string(),
                });
            }
            return Ok(EffectiveSystem {
                text: system.to_string(),
                origin: SystemOrigin::Configured,
                preamble: before_question(&rendered),
            });
        }
        let plain = render(None)?;
        if !plain.contains(QUESTION) {
            return Err(ChatError::QuestionIgnored { written: plain });
        }
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
        let origin = if text.is_empty() {
            SystemOrigin::None
        } else {
            SystemOrigin::Template
        };
        Ok(EffectiveSystem {
            text,
            origin,
            preamble,
        })
    }
}

fn compiled(source: &str, now: u64) -> Result<Environment<'static>, Error> {
    template_limits::check(source)?;
    let mut environment = Environment::new();
    let syntax = SyntaxConfig::builder()
        .trim_blocks(true)
        .lstrip_blocks(true)
        .build();
    environment.set_syntax(syntax?);
    template_limits::limit(&mut environment);
    environment.set_auto_escape_callback(|_| AutoEscape::None);
    environment.set_unknown_method_callback(minijinja_contrib::pycompat::unknown_method_callback);
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
    environment.add_template_owned(NAME, tolerated.into_owned())?;
    Ok(environment)
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
    ChatError::TemplateSyntax {
        line: error.line().unwrap_or(1),
        reason: plain_reason(error),
    }
}

fn render_error(error: &Error, roles: &str) -> ChatError {
    let mut cause: Option<&(dyn std::error::Error + 'static)> = std::error::Error::source(error);
    while let Some(inner) = cause {
        if let Some(raised) = inner.downcast_ref::<RaisedByTemplate>() {
            return ChatError::TemplateRefuses {
                message: raised.0.clone(),
                roles: roles.to_owned(),
            };
        }
        cause = inner.source();
    }
    let line = error.line().unwrap_or(1);
    if error.kind() == ErrorKind::OutOfFuel {
        return ChatError::TemplateWithoutEnd {
            line,
            steps: template_limits::FUEL,
        };
    }
    ChatError::TemplateRender {
        line,
        reason: plain_reason(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CHATML: &str = "{% for message in messages %}{{ '<|im_start|>' + message.role + '\\n' + \
        message.content + '<|im_end|>\\n' }}{% endfor %}{% if add_generation_prompt %}\
        {{ '<|im_start|>assistant\\n' }}{% endif %}";

    fn template(source: &str) -> ChatTemplate {
        ChatTemplate::new_at(source, BTreeMap::new(), 1_735_689_600).unwrap()
    }

    fn render(source: &str) -> String {
        template(source)
            .render(&Conversation::prompt(None, "hi"), true)
            .unwrap()
    }

    fn refused(source: &str) -> String {
        let render = |t: ChatTemplate| t.render(&Conversation::prompt(None, "hi"), true);
        ChatTemplate::new(source, BTreeMap::new())
            .and_then(render)
            .unwrap_err()
            .to_string()
    }

    #[derive(Deserialize)]
    struct Expected {
        templates: Vec<ExpectedTemplate>,
    }

    #[derive(Deserialize)]
    struct ExpectedTemplate {
        name: String,
        template: String,
        bos_token: Option<String>,
        eos_token: Option<String>,
        cases: Vec<ExpectedCase>,
    }

    #[derive(Deserialize)]
    struct ExpectedCase {
        messages: Vec<Message>,
        add_generation_prompt: bool,
        text: Option<String>,
        error: Option<String>,
    }

    /// Texts of transformers' `apply_chat_template(tokenize=False)`; the file names its version.
    /// A template that was saved on Windows: Jinja trims the line end after a block whole, and
    /// writes `\n` for those that are left.
    #[test]
    fn windows_line_ends_of_a_template_change_nothing() {
        let unix = "{% for message in messages %}\n{{ '<|' + message.role + '|>' }}\n\
            {{ message.content }}\n{% endfor %}\n{% if add_generation_prompt %}\n<|go|>\n{% endif %}\n";
        let rendered = |source: &str| {
            let template = ChatTemplate::new(source, BTreeMap::new()).unwrap();
            template
                .render(&Conversation::prompt(None, "Hi\r\nyou"), true)
                .unwrap()
        };
        assert_eq!(rendered(unix), "<|user|>\nHi\r\nyou\n<|go|>\n");
        assert_eq!(rendered(&unix.replace('\n', "\r\n")), rendered(unix));
        assert_eq!(rendered(&unix.replace('\n', "\r")), rendered(unix));
    }

    #[test]
    fn texts_are_those_of_transformers() {
        let path = concat!(
            env!("CARGO_MANIFEST_DIR"),
            "/fixtures/expected/chat_templates.json"
        );
        let text = std::fs::read_to_string(path).unwrap();
        let expected: Expected = serde_json::from_str(&text).unwrap();
        assert!(expected.templates.len() > 1);
        for t in expected.templates {
            let tokens = [("bos_token", t.bos_token), ("eos_token", t.eos_token)];
            let tokens = tokens
                .into_iter()
                .filter_map(|(key, value)| Some((key.to_string(), value?)));
            let template = ChatTemplate::new(&t.template, tokens.collect()).unwrap();
            for case in t.cases {
                let conversation = Conversation::new(case.messages);
                let rendered = template.render(&conversation, case.add_generation_prompt);
                match (case.text, rendered) {
                    (Some(text), Ok(rendered)) => assert_eq!(rendered, text, "{}", t.name),
                    (None, Err(ChatError::TemplateRefuses { message, .. })) => {
                        assert!(case.error.unwrap().contains(&message), "{}", t.name);
                    }
                    (text, rendered) => panic!("{}: {text:?} against {rendered:?}", t.name),
                }
            }
        }
    }

    #[test]
    fn blocks_take_their_line_with_them() {
        assert_eq!(
            render("a\n  {% if true %}\n  b\n  {% endif %}\nc\n"),
            "a\n  b\nc"
        );
    }

    #[test]
    fn python_methods_slices_and_loop_controls_work() {
        assert_eq!(
            render("{{ ' a,b '.strip().split(',')[-1].startswith('b') }}"),
            "True"
        );
        assert_eq!(
            render("{% for m in messages[::-1] %}{{ m['content'].upper() }}{% endfor %}"),
            "HI"
        );
        assert_eq!(
            render(
                "{% for i in range(9) %}{% if i == 2 %}{% break %}{% endif %}{{ i }}{% endfor %}"
            ),
            "01"
        );
        assert_eq!(
            render(
                "{% set ns = namespace(x=1) %}{% for m in messages %}{% set ns.x = 2 %}{% endfor %}{{ ns.x }}"
            ),
            "2"
        );
        assert_eq!(
            render("{{ none }}{{ tools is none }}{{ undefined_name }}"),
            "NoneTrue"
        );
    }

    #[test]
    fn generation_block_renders_what_it_holds() {
        let source = "{% for m in messages %}\n{% generation %}\n{{ m.content }}{%- endgeneration -%}\n x{% endfor %}";
        assert_eq!(render(source), "hix");
    }

    /// Python's `json.dumps(x, ensure_ascii=False)` and its `indent` and `sort_keys`.
    #[test]
    fn tojson_writes_as_python_does() {
        let source =
            "{% set x = {'b': [1, 2.5, true, none], 'a': '<\u{4f60}\u{597d}>&\\'\\n', 'c': {}} %}";
        let render = |filter: &str| render(&format!("{source}{{{{ x | {filter} }}}}"));
        insta::assert_snapshot!(render("tojson"), @r#"{"b": [1, 2.5, true, null], "a": "<你好>&'\n", "c": {}}"#);
        insta::assert_snapshot!(render("tojson(indent=2)"), @r#"
        {
          "b": [
            1,
            2.5,
            true,
            null
          ],
          "a": "<你好>&'\n",
          "c": {}
        }
        "#);
        insta::assert_snapshot!(render("tojson(ensure_ascii=true, sort_keys=true, separators=[',', ':'])"), @r#"{"a":"<\u4f60\u597d>&'\n","b":[1,2.5,true,null],"c":{}}"#);
    }

    #[test]
    fn date_is_that_of_the_given_moment() {
        assert_eq!(render("{{ strftime_now('%d %b %Y') }}"), "01 Jan 2025");
    }

    #[test]
    fn refusals_say_what_the_template_says() {
        insta::assert_snapshot!(refused("{{ raise_exception('Roles must alternate!') }}"), @r"
        the chat template refuses this conversation (user): Roles must alternate!
        (the rule is the model's own; change the turns, not the template)
        ");
        insta::assert_snapshot!(refused("a\n{{ messages[0].content.nosuch() }}"), @r"
        chat template: line 2: unknown method: string has no method named nosuch
        (the model's own template fails on this conversation; put a corrected chat_template.jinja into its folder, or FILE.jinja beside a FILE.gguf)
        ");
        insta::assert_snapshot!(refused("a\n{% if %}"), @r"
        chat template: line 2: syntax error: unexpected end of block
        (templates are Jinja as Hugging Face transformers renders it)
        ");
    }

    #[test]
    fn template_without_a_default_adds_no_system_prompt() {
        let system = template(CHATML).effective_system(None).unwrap();
        assert_eq!(
            (system.text.as_str(), system.origin),
            ("", SystemOrigin::None)
        );
        assert_eq!(system.preamble, "<|im_start|>user\n");
    }

    #[test]
    fn default_of_the_template_is_found() {
        let source = format!(
            "{{% if messages[0].role != 'system' %}}{{{{ '<|im_start|>system\\nBe kind.<|im_end|>\\n' }}}}{{% endif %}}{CHATML}"
        );
        let template = template(&source);
        let own = template.effective_system(None).unwrap();
        assert_eq!(
            (own.text.as_str(), own.origin),
            ("Be kind.", SystemOrigin::Template)
        );
        insta::assert_snapshot!(own, @r#""Be kind." (from the chat template)"#);
        let empty = template.effective_system(Some("")).unwrap();
        assert_eq!(
            (empty.text.as_str(), empty.origin),
            ("", SystemOrigin::Configured)
        );
        assert_eq!(
            empty.preamble,
            "<|im_start|>system\n<|im_end|>\n<|im_start|>user\n"
        );
        insta::assert_snapshot!(empty, @"empty (configured)");
    }

    #[test]
    fn template_that_fills_an_empty_system_prompt_is_not_believed() {
        let source = "{% set s = messages[0].content if messages[0].role == 'system' else '' %}\
            {{ s or 'Be kind.' }} {{ messages[-1].content }}";
        let system = template(source).effective_system(Some("")).unwrap();
        assert_eq!(
            (system.text.as_str(), system.origin),
            ("Be kind.", SystemOrigin::Template)
        );
    }

    #[test]
    fn template_without_a_system_role_is_told_from_one_that_drops_it() {
        let refusing = "{% if messages[0].role == 'system' %}{{ raise_exception('System role not supported') }}{% endif %}{{ messages[0].content }}";
        let refusing = template(refusing);
        assert_eq!(
            refusing.effective_system(None).unwrap().origin,
            SystemOrigin::None
        );
        insta::assert_snapshot!(refusing.effective_system(Some("x")).unwrap_err(), @r"
        the chat template refuses this conversation (system, user): System role not supported
        (the rule is the model's own; change the turns, not the template)
        ");
        let dropping =
            template("{% for m in messages if m.role == 'user' %}{{ m.content }}{% endfor %}");
        insta::assert_snapshot!(dropping.effective_system(Some("Be kind.")).unwrap_err(), @r#"
        the chat template ignores a system prompt: "Be kind." does not appear in what it renders
        (this model knows no system role; leave `system` out of [train] and of the suites)
        "#);
    }

    /// What a template can do to whoever runs it; each of these took all time or memory, or ended
    /// the process.
    #[test]
    fn a_template_without_end_is_stopped() {
        let looping =
            "{% for i in range(99999) %}{% for j in range(99999) %}{% endfor %}{% endfor %}x";
        insta::assert_snapshot!(refused(looping), @r"
        chat template: line 1: one conversation took more than 4000000 steps, an instruction or 64 bytes of text each: it loops or grows without end
        (put a corrected chat_template.jinja into the model's folder, or FILE.jinja beside a FILE.gguf)
        ");
        let growing = |step: &str| {
            format!(
                "{{% set ns = namespace(s='xxxxxxxx', l=['x']) %}}{{% for i in range(60) %}}{step}{{% endfor %}}x"
            )
        };
        for step in [
            "{% set ns.s = ns.s + ns.s %}",
            "{% set ns.s = ns.s ~ ns.s %}",
            "{% set ns.s = ns.s * 9 %}",
            "{% set ns.s = ns.s.replace('x', ns.s) %}",
            "{% set ns.s = ns.s | replace('x', ns.s) %}",
            "{% set ns.s = ns.s.join(ns.s) %}",
            "{% set ns.s %}{{ ns.s }}{{ ns.s }}{% endset %}",
            "{% set ns.l = ns.l * 9 %}",
            "{% set ns.s = ns.s | indent(999999999) %}",
            "{% set ns.s = ns.s | tojson | tojson | tojson | tojson %}",
            "{% set ns.l = [ns.l, ns.l] %}{{ ns.l | tojson | length }}",
            "{% set ns.l = [ns.l, ns.l] %}{{ ns.l }}",
            "{% set ns.s = '%999999999s' | format('x') %}",
            "{% set ns.s = '{:999999999}'.format('x') %}",
            "{% set ns.s = ns.s | list | batch(999999999, 'x') | list %}",
            "{{ [ns.l] | tojson(indent=999999999) }}",
        ] {
            let said = refused(&growing(step));
            assert!(
                said.contains("without end") || said.contains("line 1"),
                "{step}: {said}"
            );
        }
        let called = "{% macro m() %}{{ m() }}{% endmacro %}{{ m() }}";
        assert!(
            refused(called).contains("recursion limit"),
            "{}",
            refused(called)
        );
    }

    #[test]
    fn an_expression_is_refused_before_it_overflows_the_stack() {
        let n = 50_000;
        for (head, sign, tail) in [
            ("", "not ", "1"),
            ("", "-", "1"),
            ("m", ".a", ""),
            ("m", "|upper", ""),
            ("1", "+1", ""),
            ("", "(", ""),
            ("", "[", ""),
            ("1", " if 1 else 1", ""),
        ] {
            let source = format!("{{{{ {head}{}{tail} }}}}", sign.repeat(n));
            let said = refused(&source);
            assert!(
                said.contains("words and signs") || said.contains("bytes; at most"),
                "{sign}: {said}"
            );
        }
        insta::assert_snapshot!(refused(&format!("x\n{{{{ {}1 }}}}", "not ".repeat(n))), @r"
        chat template: line 1: syntax error: the expression in line 2 has 50002 words and signs; at most 4000 are read
        (templates are Jinja as Hugging Face transformers renders it)
        ");
        // As deep as is read.
        for sign in ["not ", "-"] {
            let source = format!("{{{{ {}1 }}}}", sign.repeat(3990));
            let _ = ChatTemplate::new(&source, BTreeMap::new()).map(|t| t.names_read());
        }
        let branches = format!("{{% if 0 %}}{}{{% endif %}}", "{%elif 0%}".repeat(20_000));
        let template = ChatTemplate::new(&branches, BTreeMap::new()).unwrap();
        let rendered = template.render(&Conversation::prompt(None, "hi"), true);
        assert_eq!(rendered.unwrap(), "");
        let deep = "{% set ns = namespace(x=[]) %}{% for i in range(90000) %}{% set ns.x = [ns.x] %}{% endfor %}";
        let rendered = |end: &str| {
            let template = ChatTemplate::new(&format!("{deep}{end}"), BTreeMap::new()).unwrap();
            let rendered = template.render(&Conversation::prompt(None, "hi"), true);
            rendered.map_err(|e| e.to_string())
        };
        assert_eq!(rendered("x").unwrap(), "x");
        for end in ["{{ ns.x }}", "{{ ns.x | tojson }}", "{{ ns.x == [ns.x] }}"] {
            let _ = rendered(end);
        }
    }

    /// An empty template was taken for a bug of ours.
    #[test]
    fn a_template_that_leaves_the_question_out_is_refused() {
        for (source, system) in [
            ("", None),
            ("Hello.", Some("Be kind.")),
            ("{{ tools }}", None),
        ] {
            let refused = template(source).effective_system(system).unwrap_err();
            assert!(
                matches!(refused, ChatError::QuestionIgnored { .. }),
                "{refused}"
            );
        }
        insta::assert_snapshot!(template("Hello.").effective_system(None).unwrap_err(), @r#"
        the chat template does not write the user's question: all that it renders is "Hello."
        (it is empty, or damaged; put the model's own as chat_template.jinja into its folder, or as FILE.jinja beside a FILE.gguf)
        "#);
    }
}
