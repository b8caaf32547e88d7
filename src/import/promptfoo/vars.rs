//! The variables of a test, in the order of promptfoo's own steps: a list of texts stands for a
//! test a text (`generateVarCombinations`), files are read, a line break at the end is cut, names
//! in braces are replaced by the variables that they name (`resolveVariables`).

use std::sync::LazyLock;

use regex::Regex;
use serde_json::{Map, Value};

use crate::import::glob;
use crate::import::pattern;
use crate::import::source::Folder;
use crate::import::template::{Language, printed};
use crate::import::yaml::{self, Dialect};

use super::{PROGRAM, is_program};

/// Most tests that lists among one test's variables make.
const MOST_COMBINATIONS: usize = 10_000;
/// Most bytes of one variable.
const LONGEST: usize = 4 << 20;
/// How often promptfoo looks for names in braces.
const PASSES: usize = 5;

static NAMED: LazyLock<Regex> =
    LazyLock::new(|| pattern::constant(r"\{\{\s*([0-9A-Za-z_]+)\s*\}\}"));

/// Every choice of values.
///
/// # Errors
/// There are too many, or a file is not there.
pub(super) fn combinations(
    vars: &Map<String, Value>,
    folder: &Folder,
    expands: bool,
) -> Result<Vec<Map<String, Value>>, String> {
    let mut combinations = vec![Map::new()];
    if !expands {
        return Ok(vec![vars.clone()]);
    }
    for (name, value) in vars {
        let values = match value {
            Value::String(written) if written.starts_with("file://") => files(written, folder)?,
            // A list of anything but texts is one value.
            Value::Array(items) if items.first().is_some_and(Value::is_string) => items.clone(),
            other => vec![other.clone()],
        };
        if combinations.len() * values.len() > MOST_COMBINATIONS {
            return Err(format!(
                "its variables make more than {MOST_COMBINATIONS} tests"
            ));
        }
        let with = |map: &Map<String, Value>, value: &Value| {
            let mut map = map.clone();
            map.insert(name.clone(), value.clone());
            map
        };
        let all = combinations.iter();
        combinations = all
            .flat_map(|map| values.iter().map(move |value| with(map, value)))
            .collect();
    }
    Ok(combinations)
}

/// The files that a variable names, one value each.
fn files(written: &str, folder: &Folder) -> Result<Vec<Value>, String> {
    let name = written.strip_prefix("file://").unwrap_or(written);
    if !glob::is_pattern(name) {
        return Ok(vec![Value::from(written)]);
    }
    let found = folder.files(name)?;
    if found.is_empty() {
        return Err(format!("there is no file {name}"));
    }
    Ok(found
        .iter()
        .map(|path| Value::from(format!("file://{}", path.display())))
        .collect())
}

/// The variables as assertions see them.
///
/// # Errors
/// A file cannot be read, or a program would make one.
pub(super) fn loaded(
    mut vars: Map<String, Value>,
    folder: &Folder,
) -> Result<Map<String, Value>, String> {
    for (name, value) in &mut vars {
        let Value::String(written) = value else {
            continue;
        };
        if written.starts_with("package:") {
            return Err(format!("`{name}`: {PROGRAM}"));
        }
        if written.starts_with("file://") {
            *written = of_file(written, folder).map_err(|why| format!("`{name}`: {why}"))?;
        }
        if written.ends_with('\n') {
            written.pop();
        }
    }
    resolve(&mut vars)?;
    Ok(vars)
}

fn of_file(written: &str, folder: &Folder) -> Result<String, String> {
    if is_program(written) {
        return Err(PROGRAM.into());
    }
    let extension = written
        .rsplit('.')
        .next()
        .unwrap_or_default()
        .to_ascii_lowercase();
    let text = || {
        let text = folder.text(written);
        text.map_err(|why| format!("{written} cannot be read: {why}"))
    };
    match extension.as_str() {
        "yaml" | "yml" => {
            let value = yaml::parse(written, &text()?, Dialect::JavaScript);
            value
                .map(|value| value.to_string())
                .map_err(|error| error.kind.to_string())
        }
        "pdf" => Err(format!("{written} is no text")),
        _ => Ok(text()?.trim().to_owned()),
    }
}

/// Names in braces replaced by the variables that they name: in every text the first one, five
/// times over.
fn resolve(vars: &mut Map<String, Value>) -> Result<(), String> {
    let names: Vec<String> = vars.keys().cloned().collect();
    for _ in 0..PASSES {
        let mut changed = false;
        for name in &names {
            let Some(Value::String(text)) = vars.get(name) else {
                continue;
            };
            let Some(found) = NAMED.captures(text) else {
                continue;
            };
            let (whole, named) = (&found[0], &found[1]);
            let Some(value) = vars.get(named) else {
                continue;
            };
            let value = printed(value, Language::JavaScript)?;
            let value = replacement(&value, whole)?;
            let made = text.replacen(whole, &value, 1);
            if made.len() > LONGEST {
                return Err(format!(
                    "`{name}` grows beyond {}",
                    crate::text::bytes(LONGEST as u64)
                ));
            }
            vars.insert(name.clone(), Value::String(made));
            changed = true;
        }
        if !changed {
            break;
        }
    }
    Ok(())
}

/// JavaScript's `replace` reads `$$` and `$&` in what it puts in.
fn replacement(value: &str, whole: &str) -> Result<String, String> {
    if value.contains("$`") || value.contains("$'") {
        return Err("a variable with `$'`, which JavaScript's `replace` takes for an order".into());
    }
    Ok(value
        .replace("$$", "\u{0}")
        .replace("$&", whole)
        .replace('\u{0}', "$"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;
    use std::path::Path;

    fn load(vars: &Value) -> String {
        let folder = Folder::of(Path::new("/none/promptfooconfig.yaml"));
        match loaded(vars.as_object().unwrap().clone(), &folder) {
            Ok(map) => Value::Object(map).to_string(),
            Err(why) => why,
        }
    }

    #[test]
    fn names_in_braces_are_replaced() {
        insta::assert_snapshot!(
            [
                load(&json!({"a": "{{b}} {{b}}", "b": "x\n", "c": "{{ d }}"})),
                load(&json!({"a": "{{b}}", "b": 9, "c": "{{e}}", "e": {"x": 1}})),
                load(&json!({"a": "{{b}}", "b": "$5, $$6, $&"})),
                load(&json!({"a": "{{a}}{{a}}"})),
                load(&json!({"a": "package:x:y"})),
                load(&json!({"a": "file://x.py:f"})),
                load(&json!({"a": "file://none.txt"})),
            ]
            .join("\n"),
            @r#"
            {"a":"x x","b":"x","c":"{{ d }}"}
            {"a":"9","b":9,"c":"[object Object]","e":{"x":1}}
            {"a":"$5, $6, $5, $6, $5, $6, $5, $6, $5, $6, {{b}}","b":"$5, $$6, $&"}
            {"a":"{{a}}{{a}}{{a}}{{a}}{{a}}{{a}}{{a}}{{a}}{{a}}{{a}}{{a}}{{a}}{{a}}{{a}}{{a}}{{a}}{{a}}{{a}}{{a}}{{a}}{{a}}{{a}}{{a}}{{a}}{{a}}{{a}}{{a}}{{a}}{{a}}{{a}}{{a}}{{a}}{{a}}"}
            `a`: a program makes it, and an import runs none
            `a`: a program makes it, and an import runs none
            `a`: file://none.txt cannot be read: No such file or directory (os error 2)
            "#
        );
    }

    #[test]
    fn a_list_of_texts_is_a_test_a_text() {
        let folder = Folder::of(Path::new("/none/promptfooconfig.yaml"));
        let count = |vars: &Value, expands| {
            let vars = vars.as_object().unwrap();
            combinations(vars, &folder, expands).map(|all| all.len())
        };
        assert_eq!(
            count(&json!({"a": ["x", "y"], "b": ["z", "w"]}), true),
            Ok(4)
        );
        assert_eq!(count(&json!({"a": [1, 2]}), true), Ok(1));
        assert_eq!(count(&json!({"a": []}), true), Ok(1));
        assert_eq!(count(&json!({"a": ["x", "y"]}), false), Ok(1));
        let many: Vec<String> = (0..200).map(|n| n.to_string()).collect();
        count(&json!({"a": many, "b": many}), true).unwrap_err();
    }
}
