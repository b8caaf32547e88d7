//! What the harness in CPython says of a case, and the result that it makes.
//!
//! The values that calls have to return are compared here, outside of the process that runs the
//! program: it never sees them, so that it cannot pass without computing them, and both
//! interpreters are held to one rule.

use monty_types::MontyObject;
use serde::Deserialize;
use serde_json::Value;

use crate::check::evidence::{CaseResult, Program, ProgramOutcome};
use crate::text::ellipsize;

use super::value::SHOWN;
use super::worker::{failed, returned};

/// A line of the harness.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Reply {
    /// Everything after this line is the program's doing.
    Started,
    Returned(Value),
    /// What happened instead of a value.
    Failed(String),
    Unsupported(String),
    Broken(String),
}

/// The outcome that a line of the worker [`super::WORKER_PYTHON`] stands for, `case` being the
/// number of results before it. `None`: not such a line.
///
/// ```
/// use qeval::check::{Program, ProgramCase, ProgramOutcome, python_outcome};
///
/// let program = Program {
///     source: "def f(): return 1".into(),
///     entry: "f".into(),
///     cases: vec![ProgramCase { args: Vec::new(), returns: 1.into() }],
/// };
/// let Some(ProgramOutcome::Ran(results)) =
///     python_outcome(&program, 0, br#"{"returned": {"int": "1"}}"#)
/// else {
///     panic!("not a line of the worker");
/// };
/// assert!(results[0].passed);
/// assert_eq!(python_outcome(&program, 0, b"something that the program printed"), None);
/// ```
pub fn python_outcome(program: &Program, case: usize, line: &[u8]) -> Option<ProgramOutcome> {
    let result: CaseResult = match serde_json::from_slice(line).ok()? {
        Reply::Started => return Some(ProgramOutcome::Ran(Vec::new())),
        Reply::Unsupported(what) => return Some(ProgramOutcome::Unsupported(what)),
        Reply::Broken(how) => return Some(ProgramOutcome::Broken(how)),
        Reply::Returned(value) => returned(program, program.cases.get(case)?, &object(value)?),
        Reply::Failed(what) => failed(
            program,
            program.cases.get(case)?,
            &ellipsize(&what, 3 * SHOWN),
        ),
    };
    Some(ProgramOutcome::Ran(vec![result]))
}

/// A value as the harness writes it: JSON's own kinds as they are, any other as a table of one
/// entry that names it.
fn object(value: Value) -> Option<MontyObject> {
    let list = |items: Vec<Value>| items.into_iter().map(object).collect::<Option<Vec<_>>>();
    Some(match value {
        Value::Null => MontyObject::None,
        Value::Bool(b) => MontyObject::Bool(b),
        Value::String(text) => MontyObject::String(text),
        Value::Array(items) => MontyObject::List(list(items)?),
        Value::Number(_) => return None,
        Value::Object(table) => {
            let (kind, value) = table.into_iter().next()?;
            match (kind.as_str(), value) {
                ("int", Value::String(digits)) => match digits.parse() {
                    Ok(int) => MontyObject::Int(int),
                    Err(_) => MontyObject::BigInt(digits.parse().ok()?),
                },
                ("float", Value::String(digits)) => MontyObject::Float(digits.parse().ok()?),
                ("tuple", Value::Array(items)) => MontyObject::Tuple(list(items)?),
                ("dict", Value::Array(pairs)) => {
                    let pair = |pair| match object(pair)? {
                        MontyObject::List(pair) => <[_; 2]>::try_from(pair).ok().map(Into::into),
                        _ => None,
                    };
                    let pairs = pairs.into_iter().map(pair);
                    MontyObject::dict(pairs.collect::<Option<Vec<(_, _)>>>()?)
                }
                ("other", Value::String(text)) => MontyObject::Repr(text),
                _ => return None,
            }
        }
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::check::evidence::ProgramCase;

    fn outcome(line: &str, returns: Value) -> Option<ProgramOutcome> {
        let program = Program {
            source: "def f(x): yield x".into(),
            entry: "f".into(),
            cases: vec![ProgramCase {
                args: vec![json!(1)],
                returns,
            }],
        };
        python_outcome(&program, 0, line.as_bytes())
    }

    /// Whether a returned value passes, and what is said of it.
    fn told(value: &str, returns: Value) -> (bool, String) {
        let line = format!("{{\"returned\": {value}}}\n");
        match outcome(&line, returns) {
            Some(ProgramOutcome::Ran(results)) => (results[0].passed, results[0].detail.clone()),
            other => panic!("{value}: {other:?}"),
        }
    }

    #[test]
    fn values_compare_as_those_of_the_embedded_interpreter() {
        let table = [
            ("null", json!(null), true),
            ("true", json!(1), true),
            (r#"{"int": "1"}"#, json!(1.0), true),
            (r#"{"int": "1"}"#, json!("1"), false),
            (
                r#"{"int": "9223372036854775808"}"#,
                json!(9_223_372_036_854_775_808_u64),
                true,
            ),
            (r#"{"float": "0.30000000000000004"}"#, json!(0.3), true),
            (r#"{"float": "1e+16"}"#, json!(1e16), true),
            (r#"{"float": "inf"}"#, json!(1), false),
            (r#"{"float": "nan"}"#, json!(0), false),
            (r#"[{"int": "1"}, "a"]"#, json!([1, "a"]), true),
            (r#"{"tuple": [{"int": "1"}]}"#, json!([1]), true),
            (
                r#"{"dict": [[{"int": "1"}, "a"], ["b", []]]}"#,
                json!({"1": "a", "b": []}),
                true,
            ),
            (r#"{"dict": []}"#, json!([]), false),
            (r#"{"other": "[1]"}"#, json!([1]), false),
            (r#"{"other": "a"}"#, json!("a"), false),
        ];
        for (value, returns, expected) in table {
            let (passed, detail) = told(value, returns.clone());
            assert_eq!(passed, expected, "{value} against {returns}: {detail}");
        }
    }

    #[test]
    fn a_failed_case_says_what_happened() {
        insta::assert_snapshot!(
            told(r#"{"other": "a generator"}"#, json!([1])).1,
            @"f(1) returned a generator, expected [1]"
        );
        let raised = outcome(r#"{"failed": "raised ValueError: bad"}"#, json!(1));
        let Some(ProgramOutcome::Ran(results)) = raised else {
            panic!("{raised:?}")
        };
        insta::assert_snapshot!(results[0].detail, @"f(1) raised ValueError: bad");
        assert!(!results[0].passed);
    }

    #[test]
    fn other_lines_stand_for_themselves_or_for_nothing() {
        let started = Some(ProgramOutcome::Ran(vec![]));
        assert_eq!(outcome("\"started\"\n", json!(1)), started);
        let lacking = Some(ProgramOutcome::Unsupported("threads".into()));
        assert_eq!(outcome(r#"{"unsupported":"threads"}"#, json!(1)), lacking);
        for line in [
            "",
            "hello",
            "{}",
            r#"{"returned": 1}"#,
            r#"{"returned": {}}"#,
            r#"{"returned": {"int": "x"}}"#,
            r#"{"returned": {"dict": [[1]]}}"#,
            r#"{"passed": true}"#,
        ] {
            assert_eq!(outcome(line, json!(1)), None, "{line}");
        }
        let deep = format!(
            r#"{{"returned": {}{}}}"#,
            "[".repeat(1000),
            "]".repeat(1000)
        );
        assert_eq!(outcome(&deep, json!(1)), None);
        let program = Program {
            source: "".into(),
            entry: "f".into(),
            cases: vec![],
        };
        assert_eq!(python_outcome(&program, 0, br#"{"returned": null}"#), None);
    }
}
