//! The suite that an import is making: probes and checks that are known to load. What would be
//! refused at load time is refused here, where the reason can still be told with its place.

use std::collections::{BTreeMap, HashMap, HashSet};

use serde_json::{Map, Value};

use crate::check::registry;
use crate::flow::{CheckSpec, Exchange};
use crate::suite::fill;
use crate::text::is_cjk;

use super::notes::Notes;

/// Longest prompt in characters, as suites allow it.
const LONGEST_TEXT: usize = 100_000;
/// Longest name of a suite or probe made here: a file is named by it.
const LONGEST_NAME: usize = 60;

/// A suite in the making.
#[derive(Debug, Default)]
pub(super) struct Draft {
    pub(super) name: String,
    pub(super) description: Option<String>,
    /// What it was made of, for the first line of the file.
    pub(super) origin: String,
    /// `[generation]`.
    pub(super) generation: Map<String, Value>,
    pub(super) probes: Vec<DraftProbe>,
    pub(super) ids: HashSet<String>,
    /// The last number that was put behind an id.
    pub(super) numbers: HashMap<String, usize>,
}

/// A probe in the making.
#[derive(Debug, Default)]
pub(super) struct DraftProbe {
    pub(super) id: String,
    /// A comment above it.
    pub(super) title: Option<String>,
    pub(super) system: Option<String>,
    pub(super) history: Vec<Exchange>,
    pub(super) prompts: Vec<String>,
    pub(super) checks: Vec<CheckSpec>,
}

impl Draft {
    /// Takes a probe in, or says why it would not load.
    pub(super) fn admit(&mut self, mut probe: DraftProbe, place: &str, notes: &mut Notes) {
        let turns = probe.history.iter().flat_map(|e| [&e.user, &e.assistant]);
        let texts = probe.prompts.iter().chain(&probe.system).chain(turns);
        let refused = texts.map(String::as_str).find_map(unwritable);
        if let Some(why) = refused {
            notes.add(place, "the probe", why);
            return;
        }
        if probe.prompts.is_empty() || probe.prompts.iter().any(|p| p.trim().is_empty()) {
            notes.add(place, "the probe", "its prompt is empty");
            return;
        }
        if probe.checks.is_empty() {
            notes.add(
                place,
                "the probe",
                "no check is left that could score its answers",
            );
            return;
        }
        probe.id = self.free_id(&probe.id);
        self.probes.push(probe);
    }

    fn free_id(&mut self, wanted: &str) -> String {
        let mut id = wanted.to_owned();
        // Ids alike are numbered from where the last one of them ended.
        let n = self.numbers.entry(wanted.to_owned()).or_insert(1);
        while !self.ids.insert(id.clone()) {
            *n += 1;
            id = format!("{wanted}-{n}");
        }
        id
    }
}

/// The check, if it is one here.
///
/// # Errors
/// Why it is not.
pub(super) fn accept(
    kind: &str,
    negated: bool,
    params: Map<String, Value>,
) -> Result<CheckSpec, String> {
    if let Some(why) = params.values().find_map(unwritable_value) {
        return Err(why);
    }
    let spec = CheckSpec {
        kind: kind.to_owned(),
        negated,
        params,
    };
    match registry::build(&spec) {
        Ok(_) => Ok(spec),
        Err(error) => {
            let problems = error.problems.iter().map(ToString::to_string);
            Err(problems.collect::<Vec<_>>().join("; "))
        }
    }
}

/// A number as a suite writes it: `5` rather than `5.0`.
pub(super) fn whole(number: f64) -> Value {
    // Below 2^53 every whole number is exact.
    if number.fract() == 0.0 && number.abs() < 9e15 {
        #[expect(clippy::cast_possible_truncation, reason = "whole, and in range")]
        return Value::from(number as i64);
    }
    Value::from(number)
}

/// Why a text cannot stand in a suite.
fn unwritable(text: &str) -> Option<String> {
    if text.chars().count() > LONGEST_TEXT {
        return Some(format!("a text has more than {LONGEST_TEXT} characters"));
    }
    let names = fill(text, &BTreeMap::new()).err()?;
    let shown = names.first()?;
    Some(format!(
        "its text has `{{{{{shown}}}}}`, which a suite would fill from [vars]"
    ))
}

fn unwritable_value(value: &Value) -> Option<String> {
    match value {
        Value::Null => Some("a null, which TOML does not have".into()),
        Value::String(text) => unwritable(text),
        Value::Array(items) => items.iter().find_map(unwritable_value),
        Value::Object(map) => map.values().find_map(unwritable_value),
        // TOML's whole numbers have 64 bits with their sign.
        Value::Number(number) if number.is_u64() && !number.is_i64() => {
            Some(format!("{number} is beyond the whole numbers of TOML"))
        }
        _ => None,
    }
}

/// A name for files and reports; `None` when nothing of the text can stand in one.
pub(super) fn slug(text: &str) -> Option<String> {
    let mut slug = String::new();
    for c in text.chars().flat_map(char::to_lowercase) {
        if c.is_ascii_lowercase() || c.is_ascii_digit() || (c == '_' && !slug.is_empty()) {
            slug.push(c);
        } else if !slug.is_empty() && !slug.ends_with('-') && c != '\'' {
            slug.push('-');
        }
    }
    if slug.len() > LONGEST_NAME {
        // At a word's end, if there is one.
        let end = slug[..LONGEST_NAME].rfind('-').unwrap_or(LONGEST_NAME);
        slug.truncate(end);
    }
    let slug = slug.trim_matches(['-', '_']);
    (!slug.is_empty()).then(|| slug.to_owned())
}

/// Whether a text has Chinese characters: the prompts of one probe all have, or none has.
pub(super) fn is_chinese(text: &str) -> bool {
    text.chars().any(is_cjk)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn probe(prompt: &str) -> DraftProbe {
        let params = Map::from_iter([("value".to_owned(), json!("x"))]);
        DraftProbe {
            id: "p".into(),
            prompts: vec![prompt.into()],
            checks: vec![accept("contains", false, params).unwrap()],
            ..DraftProbe::default()
        }
    }

    #[test]
    fn what_would_not_load_is_named() {
        let (mut draft, mut notes) = (Draft::default(), Notes::default());
        for prompt in ["One?", "Two?", " ", "Use {{name}}.", "f\"{{x + 1}}\""] {
            draft.admit(probe(prompt), prompt, &mut notes);
        }
        let bare = DraftProbe {
            checks: Vec::new(),
            ..probe("Three?")
        };
        draft.admit(bare, "Three?", &mut notes);
        let ids: Vec<&str> = draft.probes.iter().map(|p| p.id.as_str()).collect();
        assert_eq!(ids, ["p", "p-2", "p-3"]);
        let shown: Vec<String> = notes.into_list().iter().map(ToString::to_string).collect();
        insta::assert_snapshot!(shown.join("\n"), @"
         : the probe: its prompt is empty
        Use {{name}}.: the probe: its text has `{{name}}`, which a suite would fill from [vars]
        Three?: the probe: no check is left that could score its answers
        ");
    }

    #[test]
    fn checks_are_refused_with_their_own_rules() {
        let refused = |kind: &str, params: Value| {
            let params = params.as_object().unwrap().clone();
            accept(kind, false, params).unwrap_err()
        };
        let shown = [
            refused("regex", json!({"value": "(?=x)"})),
            refused("levenshtein", json!({"value": "Paris", "max": 5})),
            refused("is-json", json!({"schema": {"const": null}})),
            refused("contains", json!({"value": "{{name}}"})),
        ];
        insta::assert_snapshot!(shown.join("\n"), @r#"
        `value` is no regular expression: look-around, including look-ahead and look-behind, is not supported
        `max` is 5, half of "Paris" or more
        a null, which TOML does not have
        its text has `{{name}}`, which a suite would fill from [vars]
        "#);
    }

    #[test]
    fn slugs_name_files() {
        for (text, expected) in [
            (
                "What is the capital of France?",
                Some("what-is-the-capital-of-france"),
            ),
            ("It's 2+2", Some("its-2-2")),
            ("arc_easy", Some("arc_easy")),
            ("法国的首都", None),
            ("--", None),
        ] {
            assert_eq!(slug(text).as_deref(), expected, "{text}");
        }
        assert!(slug(&"word ".repeat(50)).unwrap().len() <= LONGEST_NAME);
    }
}
