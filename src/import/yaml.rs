//! YAML to JSON values. A tag of no YAML type stays visible: `!function utils.f` becomes
//! `{"!function": "utils.f"}`, so that whoever reads a key sees that a program stands behind it.
//! Keys become strings, and `<<` merges as in YAML 1.1, which both programs read.

use saphyr::{LoadableYamlNode, ScalarOwned, YamlOwned};
use serde_json::{Map, Number, Value};

use super::error::{ImportError, ImportErrorKind};

/// Reads the first document of a text; an empty text is null.
pub(super) fn parse(name: &str, text: &str) -> Result<Value, ImportError> {
    let text = text.strip_prefix('\u{FEFF}').unwrap_or(text);
    let documents = YamlOwned::load_from_str(text).map_err(|error| {
        let place = format!("{name}:{}", error.marker().line());
        ImportErrorKind::Yaml(error.info().to_owned()).at(place)
    })?;
    match documents.first() {
        Some(document) => json(document).map_err(|what| ImportErrorKind::Yaml(what).at(name)),
        None => Ok(Value::Null),
    }
}

fn json(node: &YamlOwned) -> Result<Value, String> {
    Ok(match node {
        YamlOwned::Value(scalar) => of_scalar(scalar),
        YamlOwned::Representation(text, ..) => Value::String(text.clone()),
        YamlOwned::Sequence(items) => {
            Value::Array(items.iter().map(json).collect::<Result<_, _>>()?)
        }
        YamlOwned::Mapping(pairs) => {
            let mut map = Map::new();
            let mut merged = Map::new();
            for (key, value) in pairs {
                let (key, value) = (of_key(&json(key)?), json(value)?);
                if key == "<<" {
                    merge(&mut merged, value);
                } else {
                    map.insert(key, value);
                }
            }
            // Own keys win over merged ones, wherever `<<` stands.
            for (key, value) in merged {
                map.entry(key).or_insert(value);
            }
            Value::Object(map)
        }
        YamlOwned::Tagged(tag, inner) => {
            let inner = json(inner)?;
            if tag.is_yaml_core_schema() {
                inner
            } else {
                Value::Object(Map::from_iter([(format!("!{}", tag.suffix), inner)]))
            }
        }
        YamlOwned::Alias(_) => return Err("an alias without its anchor".into()),
        YamlOwned::BadValue => return Err("a value that is not of the type of its tag".into()),
    })
}

fn of_scalar(scalar: &ScalarOwned) -> Value {
    match scalar {
        ScalarOwned::Null => Value::Null,
        ScalarOwned::Boolean(flag) => Value::Bool(*flag),
        ScalarOwned::Integer(number) => Value::from(*number),
        ScalarOwned::FloatingPoint(number) => match Number::from_f64(number.into_inner()) {
            Some(number) => Value::Number(number),
            // JSON has no infinity; as a text it is refused where a number is wanted.
            None => Value::String(number.to_string()),
        },
        ScalarOwned::String(text) => Value::String(text.clone()),
    }
}

fn of_key(key: &Value) -> String {
    match key {
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

/// Of several merged maps the first has its way.
fn merge(into: &mut Map<String, Value>, value: Value) {
    match value {
        Value::Object(map) => {
            for (key, value) in map {
                into.entry(key).or_insert(value);
            }
        }
        Value::Array(maps) => maps.into_iter().for_each(|map| merge(into, map)),
        _ => {}
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

/// A scalar as the text that a template would show; `None` for lists and maps.
pub(super) fn scalar_text(value: &Value) -> Option<String> {
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
        match parse("a.yaml", text) {
            Ok(value) => value.to_string(),
            Err(error) => error.to_string(),
        }
    }

    #[test]
    fn tags_of_no_type_stay_visible() {
        insta::assert_snapshot!(
            read("process_docs: !function utils.process\nn: !!str 3\nlist: !pick [1, two]"),
            @r#"{"process_docs":{"!function":"utils.process"},"n":"3","list":{"!pick":[1,"two"]}}"#
        );
        let value = parse("a.yaml", "f: !function utils.f").unwrap();
        assert_eq!(tagged(&value["f"]).as_deref(), Some("!function utils.f"));
        assert_eq!(tagged(&value), None);
    }

    #[test]
    fn merged_keys_give_way_to_own_ones() {
        let text = "base: &b {a: 1, c: 2}\nown:\n  <<: *b\n  a: 3";
        assert_eq!(read(text), r#"{"base":{"a":1,"c":2},"own":{"a":3,"c":2}}"#);
    }

    #[test]
    fn mistakes_have_their_line() {
        insta::assert_snapshot!(read("a: 1\nb: [1, 2\nc: 3"), @"
        a.yaml:3: is no YAML: illegal placement of ':' indicator
          rule: both formats are YAML 1.2 (https://yaml.org)
          way out: mend the file at that place
        ");
    }

    #[test]
    fn empty_text_is_null() {
        assert_eq!(read(""), "null");
    }
}
