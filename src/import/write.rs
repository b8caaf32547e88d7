//! A draft as the text of a suite file, in the form in which the suites that come with qeval are
//! written: one key a line, a blank line between probes, long texts over several lines. `toml`'s
//! own serializer would put every table of a check into one form or the other, never this one.

use std::fmt::Write as _;

use serde_json::{Map, Value};

use crate::flow::{CheckSpec, Exchange};
use crate::text::plural;

use super::draft::{Draft, DraftProbe};
use super::notes::NotCarried;

/// Longest line, where it can be helped.
const LINE: usize = 100;

/// The file's text.
pub(super) fn toml(draft: &Draft, not_carried: &[NotCarried]) -> String {
    let mut lines = Lines::default();
    let probes = plural(draft.probes.len(), "probe");
    lines.comment("# ", &format!("Imported from {}: {probes}.", draft.origin));
    if !not_carried.is_empty() {
        lines.push("#");
        lines.push("# Not carried over:");
        for note in not_carried {
            lines.comment("# - ", &note.to_string());
        }
    }
    lines.push("");
    lines.push("[suite]");
    lines.key("name", &text(&draft.name));
    if let Some(description) = &draft.description {
        lines.key("description", &text(description));
    }
    lines.key("goal", &text("keep"));
    if !draft.generation.is_empty() {
        lines.push("");
        lines.push("[generation]");
        lines.map(&draft.generation);
    }
    for probe in &draft.probes {
        lines.push("");
        lines.probe(probe);
    }
    lines.text
}

#[derive(Default)]
struct Lines {
    text: String,
}

impl Lines {
    fn push(&mut self, line: &str) {
        self.text.push_str(line);
        self.text.push('\n');
    }

    fn key(&mut self, key: &str, value: &str) {
        self.push(&format!("{} = {value}", bare_key(key)));
    }

    /// A text as a comment, cut at blanks into lines of [`LINE`] characters.
    fn comment(&mut self, lead: &str, text: &str) {
        let next = format!("#{}", " ".repeat(lead.chars().count().saturating_sub(1)));
        let mut line = lead.trim_end().to_owned();
        let mut empty = true;
        for word in text.split(|c: char| c.is_whitespace() || c.is_control()) {
            if word.is_empty() {
                continue;
            }
            if !empty && line.chars().count() + 1 + word.chars().count() > LINE {
                self.push(&line);
                line = next.trim_end().to_owned();
                line.push_str(&" ".repeat(next.len() - line.len() - 1));
            }
            line.push(' ');
            line.push_str(word);
            empty = false;
        }
        self.push(&line);
    }

    fn map(&mut self, map: &Map<String, Value>) {
        for (key, value) in map {
            match value {
                Value::String(long) => self.key(key, &text(long)),
                Value::Array(items) => self.key(key, &list(key, items)),
                other => self.key(key, &inline(other)),
            }
        }
    }

    fn probe(&mut self, probe: &DraftProbe) {
        if let Some(title) = &probe.title {
            self.comment("# ", title);
        }
        self.push("[[probe]]");
        self.key("id", &text(&probe.id));
        if let Some(system) = &probe.system {
            self.key("system", &text(system));
        }
        if !probe.history.is_empty() {
            self.push("history = [");
            for Exchange { user, assistant } in &probe.history {
                let (user, assistant) = (one_line(user), one_line(assistant));
                self.push(&format!("  {{ user = {user}, assistant = {assistant} }},"));
            }
            self.push("]");
        }
        let prompts: Vec<Value> = probe.prompts.iter().cloned().map(Value::String).collect();
        self.key("prompts", &list("prompts", &prompts));
        for CheckSpec {
            kind,
            negated,
            params,
        } in &probe.checks
        {
            self.push("[[probe.check]]");
            let not = if *negated { "not-" } else { "" };
            self.key("type", &text(&format!("{not}{kind}")));
            self.map(params);
        }
    }
}

/// A list on one line if it fits, else with an item a line.
fn list(key: &str, items: &[Value]) -> String {
    let line: Vec<String> = items.iter().map(inline).collect();
    let line = format!("[{}]", line.join(", "));
    let breaks = |item: &Value| item.as_str().is_some_and(|text| text.contains('\n'));
    let fits = key.len() + " = ".len() + line.chars().count() <= LINE;
    if fits && !items.iter().any(breaks) {
        return line;
    }
    let mut lines = vec!["[".to_owned()];
    for item in items {
        let item = match item {
            Value::String(long) => text(long),
            other => inline(other),
        };
        lines.push(format!("  {item},"));
    }
    lines.push("]".into());
    lines.join("\n")
}

fn inline(value: &Value) -> String {
    match value {
        // Refused before it gets here: TOML has no null.
        Value::Null => "\"\"".into(),
        Value::Bool(flag) => flag.to_string(),
        Value::Number(number) => number.to_string(),
        Value::String(text) => one_line(text),
        Value::Array(items) => {
            let items: Vec<String> = items.iter().map(inline).collect();
            format!("[{}]", items.join(", "))
        }
        Value::Object(map) => {
            let pairs = map.iter();
            let pairs = pairs.map(|(key, value)| format!("{} = {}", bare_key(key), inline(value)));
            let pairs: Vec<String> = pairs.collect();
            match pairs.is_empty() {
                true => "{}".into(),
                false => format!("{{ {} }}", pairs.join(", ")),
            }
        }
    }
}

fn bare_key(key: &str) -> String {
    let bare = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
    if !key.is_empty() && key.chars().all(bare) {
        key.to_owned()
    } else {
        basic(key)
    }
}

/// A string over several lines if it has several, else on one.
fn text(text: &str) -> String {
    if !text.contains('\n') {
        return one_line(text);
    }
    let plain = |c: char| c == '\n' || c == '\t' || !c.is_control();
    if text.chars().all(plain) && !text.contains("'''") && !text.ends_with('\'') {
        return format!("'''\n{text}'''");
    }
    let mut escaped = String::new();
    for c in text.chars() {
        match c {
            '\n' => escaped.push('\n'),
            other => push_escaped(&mut escaped, other),
        }
    }
    format!("\"\"\"\n{escaped}\"\"\"")
}

/// A string on one line: a literal one where that saves escapes.
fn one_line(text: &str) -> String {
    let escapes = text.contains(['"', '\\']);
    if escapes && !text.contains('\'') && !text.chars().any(char::is_control) {
        return format!("'{text}'");
    }
    basic(text)
}

fn basic(text: &str) -> String {
    let mut escaped = String::from("\"");
    text.chars().for_each(|c| push_escaped(&mut escaped, c));
    escaped.push('"');
    escaped
}

fn push_escaped(escaped: &mut String, c: char) {
    match c {
        '"' => escaped.push_str("\\\""),
        '\\' => escaped.push_str("\\\\"),
        '\n' => escaped.push_str("\\n"),
        '\r' => escaped.push_str("\\r"),
        '\t' => escaped.push_str("\\t"),
        c if c.is_control() => {
            // A `String` takes all that is written to it.
            let _ = write!(escaped, "\\u{:04X}", u32::from(c));
        }
        c => escaped.push(c),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn every_text_comes_back_as_it_was() {
        for original in [
            "plain",
            "say \"hi\"",
            "it's \\d+",
            "a\nb",
            "\n\nleading and trailing\n",
            "'''\n\\d",
            "ends with '\nand '",
            "quotes \"\"\"\" and\n'''",
            "bell \u{7} and\r\nreturn\t.",
            "中文\n问题？",
            "",
            " ",
            "\u{85}\u{2028}",
        ] {
            for written in [text(original), one_line(original)] {
                let table: toml::Table = toml::from_str(&format!("a = {written}")).unwrap();
                assert_eq!(table["a"].as_str(), Some(original), "{written}");
            }
        }
    }

    #[test]
    fn values_come_back_as_they_were() {
        let value = json!({
            "list": ["a", 1, 2.5, true, []],
            "nested": {"$ref": "x", "empty": {}, "中": "文"},
        });
        let table: toml::Table = toml::from_str(&format!("a = {}", inline(&value))).unwrap();
        assert_eq!(serde_json::to_value(&table["a"]).unwrap(), value);
    }

    #[test]
    fn suite_reads_like_one_written_by_hand() {
        let check = |kind: &str, negated, params: Value| CheckSpec {
            kind: kind.into(),
            negated,
            params: params.as_object().unwrap().clone(),
        };
        let mut draft = Draft {
            name: "capitals".into(),
            description: Some("Capitals of \"old\" Europe.".into()),
            origin: "a.yaml (promptfoo)".into(),
            ..Draft::default()
        };
        draft.generation.insert("temperature".into(), json!(0));
        draft.probes.push(DraftProbe {
            id: "france".into(),
            title: Some("France".into()),
            system: Some("Be brief.".into()),
            history: vec![Exchange {
                user: "Hi.".into(),
                assistant: "Hello!".into(),
            }],
            prompts: vec!["Capital of France?".into(), "Q: France?\nA:".into()],
            checks: vec![
                check("icontains", false, json!({"value": "Paris"})),
                check("regex", true, json!({"value": "\\bLyon\\b"})),
            ],
        });
        let note = NotCarried {
            place: "test 2".into(),
            what: "`javascript`".into(),
            why: "it runs a program of its own, and the checks of a suite are data, which can be \
                  read and reviewed before a run"
                .into(),
        };
        insta::assert_snapshot!(toml(&draft, &[note]), @r#"
        # Imported from a.yaml (promptfoo): 1 probe.
        #
        # Not carried over:
        # - test 2: `javascript`: it runs a program of its own, and the checks of a suite are data, which
        #   can be read and reviewed before a run

        [suite]
        name = "capitals"
        description = 'Capitals of "old" Europe.'
        goal = "keep"

        [generation]
        temperature = 0

        # France
        [[probe]]
        id = "france"
        system = "Be brief."
        history = [
          { user = "Hi.", assistant = "Hello!" },
        ]
        prompts = [
          "Capital of France?",
          '''
        Q: France?
        A:''',
        ]
        [[probe.check]]
        type = "icontains"
        value = "Paris"
        [[probe.check]]
        type = "not-regex"
        value = '\bLyon\b'
        "#);
    }
}
