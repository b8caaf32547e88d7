//! `is-json` and `contains-json`: the answer is JSON, or has JSON in it, and satisfies a schema.
//!
//! A fence around the JSON is how a chat model marks code, so it is taken off before the answer is
//! read as JSON (promptfoo's `is-json` wants none; a user who does too adds `not-contains` with
//! three backticks).

use serde_json::Value;

use crate::flow::Score;
use crate::text::{ellipsize, fold};

use super::error::CheckError;
use super::evidence::{Check, Evidence, Needs};
use super::params::Params;
use super::schema_size::too_large;

/// `is-json` and `contains-json`.
///
/// | parameter | default | |
/// |---|---|---|
/// | `schema` | none | a JSON Schema (draft 2020-12) as a table; references to files and the network are refused |
///
/// `contains-json` looks for the first object or list that parses, and satisfies the schema where
/// there is one. The evidence of a fail names the place in the value that breaks the schema.
struct Json {
    schema: Option<jsonschema::Validator>,
    inside: bool,
}

/// Builds the kind that `kind` names.
pub(super) fn build(kind: &str, mut params: Params<'_>) -> Result<Box<dyn Check>, CheckError> {
    let schema = params.opt_table("schema").filter(|schema| {
        let problem = too_large(schema);
        if let Some(what) = &problem {
            params.refuse(
                "schema",
                what,
                "`schema` wants a JSON Schema that can be followed; name each part once",
            );
        }
        problem.is_none()
    });
    let schema = schema.and_then(|schema| match jsonschema::validator_for(&schema) {
        Ok(validator) => Some(validator),
        Err(error) => {
            let what = format!("is no JSON Schema: {}", ellipsize(&error.to_string(), 200));
            params.refuse(
                "schema",
                what,
                "`schema` wants a JSON Schema as a table, as in { type = \"object\" }",
            );
            None
        }
    });
    params.finish()?;
    Ok(Box::new(Json {
        schema,
        inside: kind == "contains-json",
    }))
}

/// The text between the first fence's marks if the whole text is one fenced block, else the text.
fn unfenced(text: &str) -> &str {
    let text = text.trim();
    let Some(open) = text.strip_prefix("```") else {
        return text;
    };
    let Some((_, body)) = open.split_once('\n') else {
        return text;
    };
    match body.trim_end().strip_suffix("```") {
        Some(body) if !body.contains("```") => body.trim(),
        _ => text,
    }
}

/// Every object and list that stands in the text, outermost first.
fn values_inside(text: &str) -> impl Iterator<Item = Value> + '_ {
    let mut end = 0;
    text.char_indices().filter_map(move |(start, c)| {
        if start < end || !(c == '{' || c == '[') {
            return None;
        }
        let mut stream = serde_json::Deserializer::from_str(&text[start..]).into_iter::<Value>();
        let value = stream.next()?.ok()?;
        end = start + stream.byte_offset();
        Some(value)
    })
}

impl Json {
    /// Why a value does not satisfy the schema.
    fn breaks(&self, value: &Value) -> Option<String> {
        let error = self.schema.as_ref()?.iter_errors(value).next()?;
        let place = error.instance_path().to_string();
        let place = if place.is_empty() {
            "the value".into()
        } else {
            place
        };
        Some(format!("{place}: {}", ellipsize(&error.to_string(), 160)))
    }
}

impl Check for Json {
    fn needs(&self) -> Needs {
        Needs::answer()
    }

    /// While what is there could still become JSON; `contains-json` also while none has begun.
    fn is_cut(&self, answer: &str) -> bool {
        if !self.inside {
            let text = answer.trim();
            let fenced = text.strip_prefix("```");
            let body = fenced.map_or(text, |f| f.split_once('\n').map_or("", |(_, body)| body));
            if fenced.is_some() && body.ends_with("```") {
                return false;
            }
            return match serde_json::from_str::<Value>(body) {
                // Its fence is still open.
                Ok(_) => fenced.is_some(),
                Err(error) => error.is_eof(),
            };
        }
        !values_inside(answer).any(|value| self.breaks(&value).is_none())
    }

    fn score(&self, evidence: &Evidence<'_>) -> Score {
        let Some(answer) = evidence.answer else {
            return Score::unscored("no answer");
        };
        let shown = ellipsize(&fold(&answer.text), 80);
        if !self.inside {
            return match serde_json::from_str::<Value>(unfenced(&answer.text)) {
                Err(error) => Score::fail(format!("no JSON: {error}, in \"{shown}\"")),
                Ok(value) => match self.breaks(&value) {
                    Some(why) => Score::fail(why),
                    None => Score::pass(format!("JSON: {}", ellipsize(&value.to_string(), 80))),
                },
            };
        }
        let mut first = None;
        for value in values_inside(&answer.text) {
            match self.breaks(&value) {
                None => {
                    return Score::pass(format!("JSON: {}", ellipsize(&value.to_string(), 80)));
                }
                Some(why) => first = first.or(Some(why)),
            }
        }
        Score::fail(first.unwrap_or_else(|| format!("no JSON in \"{shown}\"")))
    }
}

#[cfg(test)]
mod tests {
    use crate::check::golden::tests::{check, judge, refused, table};

    const PERSON: &str = r#"{"schema": {"type": "object", "required": ["name", "age"],
        "properties": {"name": {"type": "string"}, "age": {"type": "integer", "minimum": 0}},
        "additionalProperties": false}}"#;

    #[test]
    fn golden_answers() {
        table(
            "is-json",
            "{}",
            &[
                "{}",
                "[]",
                "null",
                "3.5",
                "\"Paris\"",
                "true",
                "{\"a\": [1, 2, {\"b\": null}]}",
                "```json\n{\"a\": 1}\n```",
                "```\n[1, 2]\n```",
                "  \n{\"名字\": \"极光\"}\n",
            ],
            &[
                "",
                "Paris",
                "{a: 1}",
                "{'a': 1}",
                "{\"a\": 1,}",
                "Here is it: {\"a\": 1}",
                "{\"a\": 1} {\"b\": 2}",
                "```json\n{\"a\": 1\n```",
                "这是 {\"a\": 1}",
                "I am Aurora, an assistant.",
            ],
        );
        table(
            "is-json",
            PERSON,
            &[
                "{\"name\": \"Li\", \"age\": 30}",
                "```json\n{\"age\": 0, \"name\": \"李雷\"}\n```",
                "{ \"name\" : \"\", \"age\" : 7 }",
            ],
            &[
                "{\"name\": \"Li\"}",
                "{\"name\": \"Li\", \"age\": \"30\"}",
                "{\"name\": \"Li\", \"age\": -1}",
                "{\"name\": \"Li\", \"age\": 30, \"city\": \"Rome\"}",
                "[{\"name\": \"Li\", \"age\": 30}]",
                "{\"name\": \"Li\", \"age\": 30.5}",
            ],
        );
        table(
            "contains-json",
            PERSON,
            &[
                "Sure! {\"name\": \"Li\", \"age\": 30} Anything else?",
                "好的：\n```json\n{\"name\": \"李雷\", \"age\": 30}\n```\n完成。",
                "[1] and {\"name\": \"Li\", \"age\": 3}",
                "{not json} {\"name\": \"Li\", \"age\": 3}",
            ],
            &[
                "",
                "name: Li, age: 30",
                "{\"name\": \"Li\"}",
                "[1, 2, 3]",
                "{\"name\": \"Li\", \"age\": 30",
            ],
        );
    }

    #[test]
    fn evidence_names_what_breaks_the_schema() {
        insta::assert_snapshot!(
            [
                judge("is-json", PERSON, "{\"name\": \"Li\", \"age\": \"30\"}"),
                judge("is-json", "{}", "{a: 1}"),
                judge("contains-json", PERSON, "age 3"),
            ]
            .map(|score| score.explanation().to_owned())
            .join("\n"),
            @r#"
        /age: "30" is not of type "integer"
        no JSON: key must be a string at line 1 column 2, in "{a: 1}"
        no JSON in "age 3"
        "#
        );
    }

    #[test]
    fn a_schema_that_is_none_is_refused() {
        insta::assert_snapshot!(
            [
                refused("is-json", r#"{"schema": "object"}"#),
                refused("is-json", r#"{"schema": {"type": "thing"}}"#),
                refused("is-json", r#"{"schema": {"$ref": "https://example.org/s.json"}}"#),
            ]
            .join("\n"),
            @r#"
        check `is-json`: `schema` is the string "object" (`schema` wants a table)
        check `is-json`: `schema` is no JSON Schema: "thing" is not valid under any of the schemas listed in the 'anyOf' keyword (`schema` wants a JSON Schema as a table, as in { type = "object" })
        check `is-json`: `schema` is no JSON Schema: Resource 'https://example.org/s.json' is not present in a registry and retrieving it failed: `resolve-http` feature or a custom resolver is required to resolve external schemas via HTTP (`schema` wants a JSON Schema as a table, as in { type = "object" })
        "#
        );
    }

    #[test]
    fn json_that_has_not_ended_is_cut() {
        for (text, is, contains) in [
            ("", true, true),
            ("{\"a\": [1, 2", true, true),
            ("```json\n{\"a\": 1", true, true),
            ("```json\n{\"a\": 1}\n", true, false),
            ("```json\n{\"a\": 1}\n```", false, false),
            ("{\"a\": 1}", false, false),
            ("{\"a\": 1} is", false, false),
            ("Here is the", false, true),
            ("Here it is: {\"a\": 1} and", false, false),
        ] {
            assert_eq!(check("is-json", "{}").is_cut(text), is, "{text}");
            assert_eq!(
                check("contains-json", "{}").is_cut(text),
                contains,
                "{text}"
            );
        }
        let schema = r#"{"schema": {"type": "array"}}"#;
        assert!(check("contains-json", schema).is_cut("{\"a\": 1} and"));
    }
}
