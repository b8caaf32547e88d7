//! Templates of both programs, rendered by minijinja: Jinja2 for lm-evaluation-harness, and the
//! part of Nunjucks that is Jinja2 for promptfoo. A variable without a value is an error and not
//! an empty text: a prompt with a hole in it asks something else.

use std::collections::BTreeSet;

use minijinja::syntax::SyntaxConfig;
use minijinja::value::ValueKind;
use minijinja::{AutoEscape, Environment, Error, ErrorKind, State, UndefinedBehavior, Value};
use regex::Regex;

use super::yaml;

/// Renders templates.
pub(super) struct Renderer {
    environment: Environment<'static>,
}

impl Renderer {
    pub(super) fn new() -> Self {
        let mut environment = Environment::new();
        let mut syntax = SyntaxConfig::builder();
        syntax.keep_trailing_newline(true);
        // Only delimiters can be wrong, and those are the usual ones.
        if let Ok(syntax) = syntax.build() {
            environment.set_syntax(syntax);
        }
        environment.set_auto_escape_callback(|_| AutoEscape::None);
        environment.set_undefined_behavior(UndefinedBehavior::SemiStrict);
        environment.set_unknown_method_callback(method);
        environment.add_filter("regex_replace", regex_replace);
        // Nunjucks' name of `tojson`.
        environment.add_filter("dump", |value: Value| {
            json_of(&value).map(|json| json.to_string())
        });
        Renderer { environment }
    }

    /// The text of a template.
    ///
    /// # Errors
    /// Why it cannot be rendered, in words.
    pub(super) fn text(&self, template: &str, vars: &serde_json::Value) -> Result<String, String> {
        if !template.contains("{{") && !template.contains("{%") && !template.contains("{#") {
            return Ok(template.to_owned());
        }
        let rendered = self.environment.render_str(template, of_json(vars));
        rendered.map_err(|error| self.reason(&error, template, vars))
    }

    /// The value of a template: of one that is a single `{{expression}}` what it evaluates to, of
    /// another its text, read as a list where it looks like one.
    ///
    /// # Errors
    /// As [`Renderer::text`].
    pub(super) fn value(
        &self,
        template: &str,
        vars: &serde_json::Value,
    ) -> Result<serde_json::Value, String> {
        let trimmed = template.trim();
        let inner = trimmed
            .strip_prefix("{{")
            .and_then(|rest| rest.strip_suffix("}}"));
        if let Some(Ok(expression)) = inner.map(|e| self.environment.compile_expression(e)) {
            let value = expression
                .eval(of_json(vars))
                .map_err(|error| self.reason(&error, template, vars))?;
            if value.is_undefined() {
                return Err(unnamed(&self.missing(template, vars)));
            }
            return json_of(&value).map_err(|error| self.reason(&error, template, vars));
        }
        let text = self.text(template, vars)?;
        let bare = text.trim();
        // Python prints lists with either kind of quotes, and both are YAML.
        if bare.starts_with('[')
            && bare.ends_with(']')
            && let Ok(list) = yaml::parse("", bare)
        {
            return Ok(list);
        }
        Ok(serde_json::Value::String(text))
    }

    fn reason(&self, error: &Error, template: &str, vars: &serde_json::Value) -> String {
        if error.kind() == ErrorKind::UndefinedError {
            return unnamed(&self.missing(template, vars));
        }
        match error.detail() {
            Some(detail) => format!("{}: {detail}", error.kind()),
            None => error.kind().to_string(),
        }
    }

    /// Variables of a template that have no value, in order.
    fn missing(&self, template: &str, vars: &serde_json::Value) -> BTreeSet<String> {
        let Ok(template) = self.environment.template_from_str(template) else {
            return BTreeSet::new();
        };
        let names = template.undeclared_variables(false).into_iter();
        names.filter(|name| vars.get(name).is_none()).collect()
    }
}

fn unnamed(names: &BTreeSet<String>) -> String {
    if names.is_empty() {
        return "a part of it has no value".into();
    }
    let names: Vec<String> = names.iter().map(|name| format!("`{name}`")).collect();
    format!("there is no value for {}", crate::text::all_of(&names))
}

fn of_json(json: &serde_json::Value) -> Value {
    match json {
        serde_json::Value::Null => Value::from(()),
        serde_json::Value::Bool(flag) => Value::from(*flag),
        serde_json::Value::Number(number) => match (number.as_i64(), number.as_u64()) {
            (Some(whole), _) => Value::from(whole),
            (None, Some(whole)) => Value::from(whole),
            (None, None) => Value::from(number.as_f64().unwrap_or_default()),
        },
        serde_json::Value::String(text) => Value::from(text.as_str()),
        serde_json::Value::Array(items) => items.iter().map(of_json).collect::<Vec<_>>().into(),
        serde_json::Value::Object(map) => Value::from_pairs(
            map.iter()
                .map(|(key, value)| (key.as_str(), of_json(value))),
        ),
    }
}

fn json_of(value: &Value) -> Result<serde_json::Value, Error> {
    Ok(match value.kind() {
        ValueKind::Undefined | ValueKind::None => serde_json::Value::Null,
        ValueKind::Bool => value.is_true().into(),
        ValueKind::Number if value.is_integer() => i64::try_from(value.clone())?.into(),
        ValueKind::Number => f64::try_from(value.clone())?.into(),
        ValueKind::String => value.to_string().into(),
        ValueKind::Seq | ValueKind::Iterable => {
            let items = value.try_iter()?.map(|item| json_of(&item));
            serde_json::Value::Array(items.collect::<Result<_, _>>()?)
        }
        ValueKind::Map => {
            let keys = value.try_iter()?;
            let pairs = keys.map(|key| Ok((key.to_string(), json_of(&value.get_item(&key)?)?)));
            serde_json::Value::Object(pairs.collect::<Result<_, Error>>()?)
        }
        _ => return Err(invalid("it is no text, number, list, or map")),
    })
}

fn invalid(error: impl std::fmt::Display) -> Error {
    Error::new(ErrorKind::InvalidOperation, error.to_string())
}

/// Python's methods, with `index` of lists, by which tasks find the number of a label.
fn method(
    state: &mut State<'_, '_>,
    value: &Value,
    name: &str,
    args: &[Value],
) -> Result<Value, Error> {
    if let ("index", [wanted]) = (name, args)
        && let Ok(mut items) = value.try_iter()
        && value.as_str().is_none()
    {
        let missing = || invalid(format!("{wanted:?} is not in the list"));
        return items
            .position(|item| item == *wanted)
            .map(Value::from)
            .ok_or_else(missing);
    }
    minijinja_contrib::pycompat::unknown_method_callback(state, value, name, args)
}

/// A filter that lm-evaluation-harness adds to Jinja: Python's `re.sub`.
fn regex_replace(text: &str, pattern: &str, replacement: &str) -> Result<String, Error> {
    let regex = Regex::new(pattern).map_err(invalid)?;
    let group = Regex::new(r"\\(\d+)").map_err(invalid)?;
    let literal = replacement.replace('$', "$$");
    let replacement = group.replace_all(&literal, "$${$1}");
    Ok(regex.replace_all(text, replacement.as_ref()).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn templates_of_tasks_are_rendered() {
        let renderer = Renderer::new();
        let vars = json!({
            "text": "The cat sat down",
            "choices": {"text": ["mat", "hat"], "label": ["A", "B"]},
            "key": "B",
        });
        for (template, expected) in [
            ("{{text.split(' ')[:-1]|join(' ')}}", "The cat sat"),
            ("{{' '+text.split(' ')[-1]}}", " down"),
            (
                "{{ text | regex_replace('(c)at', '\\\\1ow') }}",
                "The cow sat down",
            ),
            ("no variables\n", "no variables\n"),
            ("{% if hint is defined %}{{hint}}{% endif %}-", "-"),
        ] {
            assert_eq!(
                renderer.text(template, &vars).as_deref(),
                Ok(expected),
                "{template}"
            );
        }
        for (template, expected) in [
            ("{{choices.label.index(key)}}", json!(1)),
            ("{{choices.text}}", json!(["mat", "hat"])),
            ("['yes', \"it's {{key}}\"]", json!(["yes", "it's B"])),
            ("{{key}} and {{key}}", json!("B and B")),
        ] {
            assert_eq!(renderer.value(template, &vars), Ok(expected), "{template}");
        }
    }

    #[test]
    fn what_fails_is_said() {
        let renderer = Renderer::new();
        let vars = json!({"a": ["x"]});
        let shown: Vec<String> = [
            "{{b}} {{c}}",
            "{{a.index('y')}}",
            "{{a",
            "{{a|nope}}",
            "{{a.b.c}}",
        ]
        .iter()
        .map(|template| renderer.text(template, &vars).unwrap_err())
        .collect();
        insta::assert_snapshot!(shown.join("\n"), @"
        there is no value for `b` and `c`
        invalid operation: 'y' is not in the list
        syntax error: unexpected end of input, expected end of variable block
        unknown filter: filter nope is unknown
        a part of it has no value
        ");
    }
}
