//! How much work a JSON Schema makes.
//!
//! A schema is somebody's program: definitions that name the next one twice double at each step, and
//! thirty of them are a thousand million. So it is counted as it would be written out, each reference
//! in its place; one that refers to itself is counted once, and is as deep as the value.

use std::collections::HashMap;

use serde_json::Value;

/// Most keywords of a schema that is written out.
const MOST: u64 = 100_000;

/// Why a schema is too large to be followed.
pub(super) fn too_large(schema: &Value) -> Option<String> {
    let mut sizes = HashMap::new();
    let size = size(schema, schema, &mut sizes, 0);
    (size > MOST).then(|| {
        format!("is too large: with each `$ref` written out it has more than {MOST} keywords")
    })
}

/// Keywords of a part. `known` holds those of references, 0 while one is being counted.
fn size<'s>(
    root: &'s Value,
    part: &'s Value,
    known: &mut HashMap<&'s str, u64>,
    depth: u64,
) -> u64 {
    // The parser that made it has such a limit too.
    if depth > 500 {
        return MOST + 1;
    }
    match part {
        Value::Array(all) => all.iter().fold(1, |sum: u64, part| {
            sum.saturating_add(size(root, part, known, depth + 1))
        }),
        Value::Object(map) => {
            let mut sum = 1_u64;
            for (key, value) in map {
                let more = match (key.as_str(), value) {
                    // They count where they are referred to.
                    ("$defs" | "definitions", _) => 0,
                    ("$ref" | "$dynamicRef", Value::String(to)) => match known.get(to.as_str()) {
                        Some(size) => *size,
                        None => {
                            known.insert(to, 0);
                            let target = to.strip_prefix('#').and_then(|at| root.pointer(at));
                            let size = target.map_or(1, |t| size(root, t, known, depth + 1));
                            known.insert(to, size);
                            size
                        }
                    },
                    _ => size(root, value, known, depth + 1),
                };
                sum = sum.saturating_add(more);
            }
            sum
        }
        _ => 1,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    /// Definitions of which each names the next one twice.
    fn doubling(steps: usize) -> Value {
        let mut defs = serde_json::Map::new();
        for i in 0..steps {
            let next = json!({"$ref": format!("#/$defs/d{}", i + 1)});
            defs.insert(format!("d{i}"), json!({"allOf": [next, next]}));
        }
        defs.insert(format!("d{steps}"), json!({"type": "object"}));
        json!({"$defs": defs, "$ref": "#/$defs/d0"})
    }

    #[test]
    fn a_schema_that_doubles_is_too_large() {
        assert_eq!(too_large(&doubling(8)), None);
        insta::assert_snapshot!(too_large(&doubling(30)).unwrap(), @"is too large: with each `$ref` written out it has more than 100000 keywords");
        assert!(too_large(&doubling(100_000)).is_some(), "and deep");
    }

    #[test]
    fn a_schema_that_refers_to_itself_is_counted_once() {
        let tree = json!({
            "$defs": {"node": {
                "type": "object",
                "properties": {"left": {"$ref": "#/$defs/node"}, "right": {"$ref": "#/$defs/node"}}
            }},
            "$ref": "#/$defs/node"
        });
        assert_eq!(too_large(&tree), None);
        assert_eq!(too_large(&json!({"$ref": "#"})), None);
        assert_eq!(too_large(&json!({"$ref": "#/nowhere"})), None);
    }
}
