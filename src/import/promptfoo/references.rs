//! `$ref` in a configuration: what stands at another place of it, with the keys beside the `$ref`
//! over it. References to other files are refused, and one that leads back to itself too.

use serde_json::{Map, Value};

/// Deepest nesting, references followed.
const DEEPEST: usize = 64;
/// Most values, those that references repeat counted.
const MOST_VALUES: usize = 1_000_000;

/// The configuration with every reference replaced.
pub(super) fn resolved(config: &Map<String, Value>) -> Result<Map<String, Value>, String> {
    let root = Value::Object(config.clone());
    let mut walk = Walk {
        root: &root,
        left: MOST_VALUES,
    };
    match walk.value(&root, 0)? {
        Value::Object(map) => Ok(map),
        _ => Ok(config.clone()),
    }
}

struct Walk<'a> {
    root: &'a Value,
    left: usize,
}

impl Walk<'_> {
    fn value(&mut self, value: &Value, depth: usize) -> Result<Value, String> {
        if depth > DEEPEST {
            return Err(format!(
                "references and values nest more than {DEEPEST} deep, or lead back to themselves"
            ));
        }
        let left = self.left.checked_sub(1);
        self.left = left.ok_or(format!("references make more than {MOST_VALUES} values"))?;
        match value {
            Value::Array(items) => {
                let items = items.iter().map(|item| self.value(item, depth + 1));
                Ok(Value::Array(items.collect::<Result<_, _>>()?))
            }
            Value::Object(map) => match map.get("$ref").and_then(Value::as_str) {
                Some(reference) => self.reference(reference, map, depth),
                None => {
                    let pairs = map.iter();
                    let pairs =
                        pairs.map(|(key, item)| Ok((key.clone(), self.value(item, depth + 1)?)));
                    Ok(Value::Object(pairs.collect::<Result<_, String>>()?))
                }
            },
            other => Ok(other.clone()),
        }
    }

    fn reference(
        &mut self,
        reference: &str,
        map: &Map<String, Value>,
        depth: usize,
    ) -> Result<Value, String> {
        let pointer = reference.strip_prefix('#');
        let found = pointer.and_then(|pointer| self.root.pointer(pointer));
        // A schema may have references into itself: they are left to whoever reads it.
        let Some(found) = found else {
            return match reference.starts_with("#/") {
                true => Ok(Value::Object(map.clone())),
                false => Err(format!("`{reference}` is in another file")),
            };
        };
        let found = self.value(found, depth + 1)?;
        let Value::Object(mut whole) = found else {
            return Ok(found);
        };
        for (key, value) in map.iter().filter(|(key, _)| *key != "$ref") {
            whole.insert(key.clone(), self.value(value, depth + 1)?);
        }
        Ok(Value::Object(whole))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn resolve(config: &Value) -> String {
        match resolved(config.as_object().unwrap()) {
            Ok(map) => Value::Object(map).to_string(),
            Err(why) => why,
        }
    }

    #[test]
    fn references_are_replaced_or_told_of() {
        let mut doubling = Map::new();
        doubling.insert("a0".into(), json!(["x", "x"]));
        for n in 1..40 {
            let before = json!({"$ref": format!("#/a{}", n - 1)});
            doubling.insert(format!("a{n}"), json!([before, before]));
        }
        let shown = [
            resolve(
                &json!({"t": {"x": {"type": "contains", "value": "a"}}, "u": {"$ref": "#/t/x", "value": "b"}}),
            ),
            resolve(&json!({"a": {"$ref": "#/a"}})),
            resolve(&json!({"a": {"$ref": "#/definitions/x"}})),
            resolve(&json!({"a": {"$ref": "other.yaml#/x"}})),
            resolve(&Value::Object(doubling)),
        ];
        insta::assert_snapshot!(shown.join("\n"), @r##"
        {"t":{"x":{"type":"contains","value":"a"}},"u":{"type":"contains","value":"b"}}
        references and values nest more than 64 deep, or lead back to themselves
        {"a":{"$ref":"#/definitions/x"}}
        `other.yaml#/x` is in another file
        references make more than 1000000 values
        "##);
    }
}
