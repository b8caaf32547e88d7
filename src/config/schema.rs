//! The JSON Schema of `qeval.toml`, for editors: what [`load`](super::load) takes, as far as one key
//! at a time can say it.

/// JSON Schema, draft 7.
pub const SCHEMA: &str = include_str!("schema.json");

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;
    use crate::config::{ConfigErrorKind, DEFAULT_TOML, parse};
    use crate::toml_file::Mistake;

    fn schema() -> Value {
        serde_json::from_str(SCHEMA).unwrap()
    }

    fn takes(text: &str) -> bool {
        let json: Value = toml::from_str(text).unwrap();
        jsonschema::validator_for(&schema())
            .unwrap()
            .is_valid(&json)
    }

    /// The keys that the parser names where it refuses one that it does not know.
    fn known(text: &str) -> Vec<&'static str> {
        let errors = parse("qeval.toml", text).unwrap_err();
        let known = errors.0.into_iter().find_map(|error| match error.kind {
            ConfigErrorKind::Toml(Mistake::UnknownKey { known, .. }) => Some(known),
            _ => None,
        });
        known.unwrap_or_else(|| panic!("{text}"))
    }

    fn sorted<'a>(keys: impl IntoIterator<Item = &'a str>) -> Vec<&'a str> {
        let mut keys: Vec<&str> = keys.into_iter().collect();
        keys.sort_unstable();
        keys
    }

    #[test]
    fn it_has_the_keys_that_the_parser_takes() {
        let schema = schema();
        let sections = schema["properties"].as_object().unwrap();
        let names = sections.keys().map(String::as_str);
        assert_eq!(sorted(names), sorted(known("[qqqqqq]\n")));
        for (name, section) in sections.iter().filter(|(name, _)| *name != "vars") {
            let keys = section["properties"].as_object().unwrap();
            let parsed = known(&format!("[{name}]\nqqqqqq = 1\n"));
            assert_eq!(
                sorted(keys.keys().map(String::as_str)),
                sorted(parsed),
                "{name}"
            );
        }
    }

    #[test]
    fn its_defaults_are_those_of_the_commented_file() {
        let defaults: Value = toml::from_str(DEFAULT_TOML).unwrap();
        for (name, section) in defaults.as_object().unwrap() {
            for (key, value) in section.as_object().unwrap() {
                let said = &schema()["properties"][name]["properties"][key]["default"];
                assert_eq!(said, value, "{name}.{key}");
            }
        }
        assert!(takes(DEFAULT_TOML));
    }

    #[test]
    fn it_refuses_and_takes_what_the_parser_does() {
        for (text, right) in [
            ("[lora]\nrank = 0", false),
            ("[lora]\nrank = 4", true),
            ("[lora]\ntarget_modules = \"q_proj\"", false),
            ("[lora]\ntarget_modules = [\"q_proj\"]", true),
            ("[lora]\ntarget_modules = []", false),
            (
                "[data]\nsources = [\"a.jsonl#3\", { path = \"b\", take = 2 }]",
                true,
            ),
            ("[data]\nsources = [{ take = 2 }]", false),
            ("[data]\nrehearsal = \"built-in\"", true),
            ("[data]\nrehearsal = [\"a\", \"a\"]", false),
            ("[data]\nformat = \"jsonl\"", false),
            ("[train]\nlearning_rate = 0", false),
            ("[train]\neval_steps = 50", true),
            ("[train]\neval_steps = 1.5", false),
            ("[train]\nstop_on_regression = true", false),
            ("[gate]\nscales = [0.5]", false),
            ("[gate]\nscales = [1, 0.5]", true),
            ("[gate]\nscales = [1.0, 3.0]", false),
            ("[gate]\nmargin = 0", false),
            ("[tune]\nlearning_rate = [1e-4]", false),
            ("[tune]\nsettings = 1", false),
            ("[vars]\nname = \"Aurora\"", true),
            ("[vars]\nname = 3", false),
            ("[modle]\npath = \"x\"", false),
        ] {
            assert_eq!(
                parse("qeval.toml", text).is_ok(),
                right,
                "the parser: {text}"
            );
            assert_eq!(takes(text), right, "the schema: {text}");
        }
    }
}
