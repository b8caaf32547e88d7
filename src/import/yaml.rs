//! YAML to JSON values, typed as the program that reads the file types it: PyYAML (YAML 1.1) for
//! lm-evaluation-harness, js-yaml (the core schema of YAML 1.2 with merge keys) for promptfoo.
//!
//! A tag of no YAML type stays visible: `!function utils.f` becomes `{"!function": "utils.f"}`, so
//! that whoever reads a key sees that a program stands behind it. Depth, size, and what aliases
//! expand to have limits: a file of some hundred bytes can stand for gigabytes.

mod scalar;

use std::collections::HashMap;

pub(super) use scalar::javascript_number;

use saphyr_parser::{Event, Parser, ScalarStyle, Tag};
use serde_json::{Map, Value};

use super::error::{ImportError, ImportErrorKind};

/// Deepest nesting.
const DEEPEST: usize = 64;
/// Most values, those that aliases repeat counted.
const MOST_VALUES: usize = 2_000_000;
/// Most bytes of text, those that aliases repeat counted.
const MOST_BYTES: usize = 128 << 20;
const CORE: &str = "tag:yaml.org,2002:";

/// Whose rules type a plain scalar.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Dialect {
    /// PyYAML: `yes` is a boolean, `1e5` a text, `010` eight.
    Python,
    /// js-yaml: `yes` is a text, `1e5` a number, `9.0` the number 9.
    JavaScript,
}

/// Reads the only document of a text; an empty text is null.
pub(super) fn parse(name: &str, text: &str, dialect: Dialect) -> Result<Value, ImportError> {
    let text = text.strip_prefix('\u{FEFF}').unwrap_or(text);
    let mut builder = Builder {
        dialect,
        frames: Vec::new(),
        anchors: HashMap::new(),
        root: None,
        values: 0,
        bytes: 0,
    };
    let refused =
        |line: usize, what: String| ImportErrorKind::Yaml(what).at(format!("{name}:{line}"));
    for event in Parser::new_from_str(text) {
        let (event, span) =
            event.map_err(|error| refused(error.marker().line(), told(error.info())))?;
        builder
            .take(event)
            .map_err(|what| refused(span.start.line(), what))?;
    }
    Ok(builder.root.unwrap_or(Value::Null))
}

/// What the scanner says, its limit in our words.
fn told(info: &str) -> String {
    match info {
        "recursion limit exceeded" => format!("nested more than {DEEPEST} deep"),
        other => other.to_owned(),
    }
}

/// A list or a map that is not closed yet.
struct Frame {
    anchor: usize,
    tag: Option<String>,
    values: usize,
    bytes: usize,
    content: Content,
}

enum Content {
    List(Vec<Value>),
    Map {
        own: Map<String, Value>,
        merged: Map<String, Value>,
        key: Option<Key>,
    },
}

enum Key {
    Name(String),
    Merge,
}

struct Builder {
    dialect: Dialect,
    frames: Vec<Frame>,
    anchors: HashMap<usize, Anchored>,
    root: Option<Value>,
    values: usize,
    bytes: usize,
}

/// What an alias repeats, and what that costs.
struct Anchored {
    value: Value,
    values: usize,
    bytes: usize,
}

impl Builder {
    fn take(&mut self, event: Event<'_>) -> Result<(), String> {
        match event {
            Event::Scalar(text, style, anchor, tag) => {
                let plain = style == ScalarStyle::Plain;
                if plain && text == "<<" && self.wants_key() && tag.is_none() {
                    return self.set_key(Key::Merge);
                }
                self.charge(1, text.len())?;
                let value = scalar::typed(&text, plain, tag.as_deref(), self.dialect)?;
                self.close(value, anchor, 1, text.len())
            }
            Event::SequenceStart(anchor, tag) => {
                self.open(anchor, tag.as_deref(), Content::List(Vec::new()))
            }
            Event::MappingStart(anchor, tag) => {
                let content = Content::Map {
                    own: Map::new(),
                    merged: Map::new(),
                    key: None,
                };
                self.open(anchor, tag.as_deref(), content)
            }
            Event::SequenceEnd | Event::MappingEnd => {
                let Some(frame) = self.frames.pop() else {
                    return Ok(());
                };
                let value = match frame.content {
                    Content::List(items) => Value::Array(items),
                    Content::Map {
                        mut own, merged, ..
                    } => {
                        // Own keys win over merged ones, wherever `<<` stands.
                        for (key, value) in merged {
                            own.entry(key).or_insert(value);
                        }
                        Value::Object(own)
                    }
                };
                let value = match frame.tag {
                    Some(tag) => Value::Object(Map::from_iter([(tag, value)])),
                    None => value,
                };
                let (values, bytes) = (self.values - frame.values, self.bytes - frame.bytes);
                self.close(value, frame.anchor, values, bytes)
            }
            Event::Alias(anchor) => {
                let known = self.anchors.get(&anchor);
                let known = known.ok_or("an alias without its anchor, or inside of it")?;
                let (value, values, bytes) = (known.value.clone(), known.values, known.bytes);
                self.charge(values, bytes)?;
                self.close(value, 0, values, bytes)
            }
            _ => Ok(()),
        }
    }

    fn charge(&mut self, values: usize, bytes: usize) -> Result<(), String> {
        self.values = self.values.saturating_add(values);
        self.bytes = self.bytes.saturating_add(bytes);
        if self.values > MOST_VALUES || self.bytes > MOST_BYTES {
            return Err(format!(
                "its aliases make more than {MOST_VALUES} values or {} of it",
                crate::text::bytes(MOST_BYTES as u64)
            ));
        }
        Ok(())
    }

    fn open(&mut self, anchor: usize, tag: Option<&Tag>, content: Content) -> Result<(), String> {
        if self.frames.len() >= DEEPEST {
            return Err(format!("nested more than {DEEPEST} deep"));
        }
        let (values, bytes) = (self.values, self.bytes);
        self.charge(1, 0)?;
        let tag = tag.filter(|tag| tag.handle != CORE);
        self.frames.push(Frame {
            anchor,
            tag: tag.map(|tag| format!("!{}", tag.suffix)),
            values,
            bytes,
            content,
        });
        Ok(())
    }

    fn wants_key(&self) -> bool {
        matches!(
            self.frames.last().map(|frame| &frame.content),
            Some(Content::Map { key: None, .. })
        )
    }

    fn set_key(&mut self, new: Key) -> Result<(), String> {
        if let Some(Frame {
            content: Content::Map { key, .. },
            ..
        }) = self.frames.last_mut()
        {
            *key = Some(new);
        }
        Ok(())
    }

    /// Puts a finished value where it belongs.
    fn close(
        &mut self,
        value: Value,
        anchor: usize,
        values: usize,
        bytes: usize,
    ) -> Result<(), String> {
        if anchor != 0 {
            let value = value.clone();
            self.charge(values, bytes)?;
            self.anchors.insert(
                anchor,
                Anchored {
                    value,
                    values,
                    bytes,
                },
            );
        }
        let dialect = self.dialect;
        let Some(frame) = self.frames.last_mut() else {
            if self.root.is_some() {
                return Err("several documents in one file".into());
            }
            self.root = Some(value);
            return Ok(());
        };
        match &mut frame.content {
            Content::List(items) => items.push(value),
            Content::Map { own, merged, key } => match key.take() {
                None => *key = Some(Key::Name(key_text(&value, dialect))),
                Some(Key::Merge) => merge(merged, value)?,
                Some(Key::Name(name)) => {
                    if own.contains_key(&name) && dialect == Dialect::JavaScript {
                        return Err(format!("the key `{name}` stands twice"));
                    }
                    own.insert(name, value);
                }
            },
        }
        Ok(())
    }
}

fn key_text(key: &Value, dialect: Dialect) -> String {
    let language = match dialect {
        Dialect::Python => super::template::Language::Python,
        Dialect::JavaScript => super::template::Language::JavaScript,
    };
    super::template::printed(key, language).unwrap_or_else(|_| key.to_string())
}

/// Of several merged maps the first has its way.
fn merge(into: &mut Map<String, Value>, value: Value) -> Result<(), String> {
    match value {
        Value::Object(map) => {
            for (key, value) in map {
                into.entry(key).or_insert(value);
            }
            Ok(())
        }
        Value::Array(maps) => maps.into_iter().try_for_each(|map| merge(into, map)),
        _ => Err("`<<` merges a map or a list of maps".into()),
    }
}

/// The tag of a value, as in `!function utils.f`.
pub(super) fn tagged(value: &Value) -> Option<String> {
    let (key, inner) = value.as_object()?.iter().next()?;
    let tag = key.strip_prefix('!')?;
    Some(match inner {
        Value::String(text) => format!("!{tag} {text}"),
        other => format!("!{tag} {other}"),
    })
}

/// JSON with its numbers as JavaScript has them: `9.0` is 9.
pub(super) fn in_javascript(value: Value) -> Value {
    match value {
        Value::Number(number) => number
            .as_f64()
            .map_or(Value::Null, scalar::javascript_number),
        Value::Array(items) => items.into_iter().map(in_javascript).collect(),
        Value::Object(map) => map
            .into_iter()
            .map(|(key, value)| (key, in_javascript(value)))
            .collect(),
        other => other,
    }
}

/// A scalar as a note shows it; `None` for lists and maps.
pub(super) fn shown(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        Value::Bool(flag) => Some(flag.to_string()),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> String {
        match parse("a.yaml", text, Dialect::Python) {
            Ok(value) => value.to_string(),
            Err(error) => format!("{}: {}", error.place, error.kind),
        }
    }

    #[test]
    fn tags_of_no_type_stay_visible() {
        insta::assert_snapshot!(
            read("process_docs: !function utils.process\nn: !!str 3\nlist: !pick [1, two]"),
            @r#"{"process_docs":{"!function":"utils.process"},"n":"3","list":{"!pick":[1,"two"]}}"#
        );
        let value = parse("a.yaml", "f: !function utils.f", Dialect::Python).unwrap();
        assert_eq!(tagged(&value["f"]).as_deref(), Some("!function utils.f"));
        assert_eq!(tagged(&value), None);
    }

    #[test]
    fn merged_keys_give_way_to_own_ones() {
        let text = "base: &b {a: 1, c: 2}\nown:\n  <<: *b\n  a: 3";
        assert_eq!(read(text), r#"{"base":{"a":1,"c":2},"own":{"a":3,"c":2}}"#);
        let list = "x: &x {a: 1}\ny: &y {a: 2, b: 3}\nz: {<<: [*x, *y]}";
        assert!(read(list).ends_with(r#""z":{"a":1,"b":3}}"#));
    }

    #[test]
    fn mistakes_have_their_line() {
        insta::assert_snapshot!(
            [read("a: 1\nb: [1, 2\nc: 3"), read("a: 1\n---\nb: 2")].join("\n"),
            @"
            a.yaml:3: is no YAML: illegal placement of ':' indicator
            a.yaml:4: is no YAML: several documents in one file
            "
        );
        let twice = parse("a.yaml", "a: 1\na: 2", Dialect::JavaScript).unwrap_err();
        insta::assert_snapshot!(twice.kind.to_string(), @"is no YAML: the key `a` stands twice");
        assert_eq!(read("a: 1\na: 2"), r#"{"a":2}"#);
    }

    #[test]
    fn empty_text_is_null() {
        assert_eq!(read(""), "null");
    }

    /// A bomb is told of, whatever it is made of: nesting, or aliases of aliases.
    #[test]
    fn bombs_are_told_of() {
        let deep = format!("a: {}{}", "[".repeat(100_000), "]".repeat(100_000));
        let level = |n: usize| {
            let before = match n.checked_sub(1) {
                None => "lol".to_owned(),
                Some(before) => format!("*a{before}"),
            };
            format!("a{n}: &a{n} [{}]\n", vec![before; 9].join(", "))
        };
        let laughs: String = (0..12).map(level).collect();
        let long = format!(
            "a: &a \"{}\"\nb: [{}]",
            "x".repeat(1 << 20),
            "*a, ".repeat(200)
        );
        let itself = "a: &a [1, *a]".to_owned();
        let indented: String = (0..500).map(|n| format!("{}a:\n", " ".repeat(n))).collect();
        let shown = [deep, laughs, long, itself, indented].map(|text| {
            let error = parse("a.yaml", &text, Dialect::Python).unwrap_err();
            format!("{} {}", error.place, error.kind)
        });
        insta::assert_snapshot!(shown.join("\n"), @"
        a.yaml:1 is no YAML: nested more than 64 deep
        a.yaml:7 is no YAML: its aliases make more than 2000000 values or 135 MB of it
        a.yaml:2 is no YAML: its aliases make more than 2000000 values or 135 MB of it
        a.yaml:1 is no YAML: an alias without its anchor, or inside of it
        a.yaml:65 is no YAML: nested more than 64 deep
        ");
    }
}
