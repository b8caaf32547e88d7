//! The JSON Schema of a suite file, for editors: what [`load`](super::load()) takes, as far as one key
//! at a time can say it.

/// JSON Schema, draft 7.
pub const SCHEMA: &str = include_str!("schema.json");

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::check::registry::{self, CheckProblem};
    use crate::flow::CheckSpec;
    use crate::suite::builtin;
    use crate::suite::testing::{load_text, one_probe};

    fn schema() -> Value {
        serde_json::from_str(SCHEMA).unwrap()
    }

    fn problems(text: &str) -> Vec<String> {
        let json: Value = toml::from_str(text).unwrap();
        let validator = jsonschema::validator_for(&schema()).unwrap();
        let errors = validator.iter_errors(&json);
        errors
            .map(|e| format!("{}: {e}", e.instance_path()))
            .collect()
    }

    #[test]
    fn it_takes_every_built_in_suite() {
        for (name, text) in builtin() {
            assert_eq!(problems(text), [""; 0], "{name}");
        }
    }

    #[test]
    fn it_has_the_parameters_that_each_check_takes() {
        let schema = schema();
        let check = &schema["definitions"]["check"];
        let rules = check["allOf"].as_array().unwrap();
        let mut kinds = Vec::new();
        for rule in rules {
            let kind = rule["if"]["properties"]["type"]["enum"][0]
                .as_str()
                .unwrap();
            kinds.push(kind);
            let spec = CheckSpec {
                kind: kind.to_owned(),
                negated: false,
                // A group knows `min` where it is written.
                params: json!({ "qqqqqq": 1, "min": 1 })
                    .as_object()
                    .unwrap()
                    .clone(),
            };
            let error = registry::build(&spec).err().unwrap();
            let known = error.problems.iter().find_map(|problem| match problem {
                CheckProblem::UnknownParam { known, .. } => Some(known.clone()),
                _ => None,
            });
            let mut known = known.unwrap();
            known.sort();
            let said = rule["then"]["properties"].as_object().unwrap();
            let mut said: Vec<&String> = said
                .keys()
                .filter(|key| !["type", "weight"].contains(&key.as_str()))
                .collect();
            said.sort();
            assert_eq!(said, known.iter().collect::<Vec<_>>(), "{kind}");
        }
        assert_eq!(kinds, registry::kinds());
        let both =
            ["", "not-"].map(|not| registry::kinds().iter().map(move |k| format!("{not}{k}")));
        let both: Vec<String> = both.into_iter().flatten().collect();
        assert_eq!(check["properties"]["type"]["enum"], json!(both));
    }

    #[test]
    fn it_refuses_and_takes_what_the_loader_does() {
        for (text, right) in [
            (
                one_probe("margin = 1.0", "tags = [\"en\"]\ncritical = true"),
                true,
            ),
            (one_probe("margin = 1.5", ""), false),
            (one_probe("margn = 0.5", ""), false),
            (one_probe("", "tagz = []"), false),
            (one_probe("", "critical = \"yes\""), false),
            (
                one_probe("", "history = [{ user = \"a\", assistant = \"b\" }]"),
                true,
            ),
            (one_probe("", "history = [{ user = \"a\" }]"), false),
            (one_probe("", "generation = { samples = 0 }"), false),
            (one_probe("", "generation = { top_p = 0.5 }"), true),
            (one_probe("", "").replace("\"keep\"", "\"kept\""), false),
            (one_probe("", "").replace("value =", "valeu ="), false),
            (
                one_probe("", "").replace("\"contains\"", "\"contians\""),
                false,
            ),
            (
                one_probe("", "").replace("\"contains\"", "\"not-icontains\""),
                true,
            ),
            (
                one_probe("", "").replace("\"contains\"", "\"contains-any\""),
                true,
            ),
            (
                one_probe("", "").replace("value = \"x\"", "value = 3"),
                false,
            ),
        ] {
            let loaded = load_text(&text);
            assert_eq!(loaded.is_ok(), right, "the loader: {text}\n{loaded:?}");
            let problems = problems(&text);
            assert_eq!(
                problems.is_empty(),
                right,
                "the schema: {text}\n{problems:?}"
            );
        }
    }
}
