//! `code`: the function that an answer defines is run, and what it returns is compared.
//!
//! This file reads the parameters and turns an outcome into a score. [`mod@extract`] finds the
//! program in an answer; [`worker`] runs it, in a child process of its own, and [`jail`] does for
//! what the embedded interpreter lacks. Nothing of an answer is ever run inside this process.

mod extract;
mod jail;
mod python;
mod reply;
mod value;
mod worker;

use serde::Deserialize;
use serde_json::Value;

use crate::flow::Score;
use crate::text::{ellipsize, plural};

use super::error::CheckError;
use super::evidence::{Check, Evidence, Needs, Program, ProgramCase, ProgramOutcome};
use super::params::Params;

use extract::{Extracted, extract};
pub use jail::{PYTHON_VARIABLE, WORKER_PYTHON};
pub use reply::python_outcome;
pub use worker::{
    ALL_CASES_SECONDS, PARENT_VARIABLE, WORKER_CODE, WORKER_MEMORY_MIB, WORKER_VARIABLE,
    run_worker_if_asked,
};

/// Longest evidence that quotes a program's values, in characters.
const SHOWN: usize = 300;

/// Runs the answer's function on each case.
///
/// | parameter | meaning | default |
/// |---|---|---|
/// | `entry` | the function's name | none |
/// | `cases` | a list of `{ args = [..], returns = .. }`, at least one | none |
/// | `language` | only `python` | `python` |
/// | `partial` | score the share of cases that passed instead of all or nothing | `false` |
///
/// The program is the last fenced block that defines `entry`, blocks marked `python` first, with
/// the earlier blocks whose names it uses; without such a block, the part of the text that is
/// code. If nothing defines `entry` and the answer has exactly one function, that one is called,
/// and the evidence says so. An answer without code is a fail.
///
/// Values compare as in Python: `1 == 1.0 == True`, the keys of a table in any order; a list is
/// also equal to a tuple with the same items, floats may differ by 1e-9 of their size, and an
/// integer key is equal to the same key as text, since TOML has no other. A case that raises, runs
/// out of time, memory, or recursion is a failed case.
///
/// What the embedded interpreter lacks (`yield`, class inheritance, `match`, most of the standard
/// library) leaves the answer unscored, unless `[checks] python` names a CPython of 3.8 or newer.
/// That one then runs the program as an imported module, locked down: without files, network,
/// threads, and other processes, and with the standard library alone. Only Linux with Landlock and
/// seccomp can do that; elsewhere the answer stays unscored, and the evidence says why.
#[derive(Debug, Clone, PartialEq)]
struct Code {
    entry: String,
    cases: Vec<ProgramCase>,
    partial: bool,
}

/// A case as written in TOML: unlike [`ProgramCase`] it refuses unknown keys.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct CaseTable {
    args: Vec<Value>,
    returns: Value,
}

/// Builds `code`.
pub(super) fn build(params: Params<'_>) -> Result<Box<dyn Check>, CheckError> {
    Ok(Box::new(Code::new(params)?))
}

impl Code {
    fn new(mut params: Params<'_>) -> Result<Self, CheckError> {
        let entry = params.string("entry");
        let cases: Option<Vec<CaseTable>> =
            params.nested("cases", "a list of tables { args = [..], returns = .. }");
        let _ = params.word("language", &["python"]);
        let partial = params.flag("partial", false);
        if !entry.is_empty() && !python::is_name(&entry) {
            let rule = "`entry` wants the name of a Python function, without parentheses";
            params.refuse("entry", format!("is \"{}\"", ellipsize(&entry, 40)), rule);
        }
        if cases.as_ref().is_some_and(Vec::is_empty) {
            let rule = "`cases` wants at least one table { args = [..], returns = .. }";
            params.refuse("cases", "is an empty list", rule);
        }
        params.finish()?;
        let cases = cases.unwrap_or_default().into_iter();
        let cases = cases
            .map(|c| ProgramCase {
                args: c.args,
                returns: c.returns,
            })
            .collect::<Vec<_>>();
        Ok(Code {
            entry,
            cases,
            partial,
        })
    }

    fn judge(&self, found: &Extracted, outcome: &ProgramOutcome) -> Score {
        let results = match outcome {
            ProgramOutcome::Ran(results) => results,
            ProgramOutcome::Unsupported(what) => {
                return Score::unscored(format!(
                    "the embedded interpreter cannot run this: {}",
                    ellipsize(what, SHOWN)
                ));
            }
            ProgramOutcome::Broken(how) => {
                return Score::unscored(format!("the sandbox failed: {}", ellipsize(how, SHOWN)));
            }
        };
        if results.len() != self.cases.len() {
            return Score::unscored(format!(
                "the sandbox returned {} for {}",
                plural(results.len(), "result"),
                plural(self.cases.len(), "case")
            ));
        }
        let passed = results.iter().filter(|r| r.passed).count();
        let mut evidence = format!("{passed} of {} passed", plural(results.len(), "case"));
        if found.entry != self.entry {
            evidence = format!(
                "{evidence}, calling `{}`, the only function, for `{}`",
                found.entry, self.entry
            );
        }
        if let Some(failed) = results.iter().find(|r| !r.passed) {
            evidence = format!("{evidence}: {}", ellipsize(&failed.detail, SHOWN));
        }
        let value = match self.partial {
            true => passed as f64 / results.len().max(1) as f64,
            false => f64::from(u8::from(passed == results.len())),
        };
        Score::Scored { value, evidence }
    }
}

impl Check for Code {
    fn needs(&self) -> Needs {
        Needs {
            programs: 1,
            ..Needs::answer()
        }
    }

    fn program(&self, answer: &str) -> Option<Program> {
        let found = extract(answer, &self.entry)?;
        Some(Program {
            source: found.source,
            entry: found.entry,
            cases: self.cases.clone(),
        })
    }

    fn is_cut(&self, answer: &str) -> bool {
        extract::is_cut(answer, &self.entry)
    }

    fn score(&self, evidence: &Evidence<'_>) -> Score {
        let Some(answer) = evidence.answer else {
            return Score::unscored("no answer was generated");
        };
        let Some(found) = extract(&answer.text, &self.entry) else {
            return Score::fail(format!(
                "no code that defines `{}` in the answer",
                self.entry
            ));
        };
        match evidence.program {
            Some(outcome) => self.judge(&found, outcome),
            None => Score::unscored("the answer's program was not run"),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::check::evidence::CaseResult;
    use crate::flow::{Answer, CaseId, Finish};

    fn check(params: &Value) -> Result<Code, CheckError> {
        Code::new(Params::new("code", params.as_object().unwrap()))
    }

    fn quicksort(partial: bool) -> Code {
        check(&json!({
            "entry": "quicksort",
            "partial": partial,
            "cases": [
                {"args": [[3, 1, 2]], "returns": [1, 2, 3]},
                {"args": [[]], "returns": []},
                {"args": [[2, 2, -1]], "returns": [-1, 2, 2]},
            ],
        }))
        .unwrap()
    }

    fn answer(text: &str) -> Answer {
        Answer {
            case: CaseId {
                suite: "code".into(),
                probe: "quicksort".into(),
                prompt: 0,
            },
            sample: 0,
            text: text.into(),
            token_ids: vec![],
            logprobs: vec![],
            finish: Finish::Stop,
            seed: 0,
            prompt_tokens: 0,
            continued: false,
            thinking: None,
            served: None,
        }
    }

    /// What a run does: extract, run, score. Only the child process is left out.
    fn score(check: &Code, text: &str) -> Score {
        let answer = answer(text);
        let outcome = check.program(text).map(|p| worker::run_here(&p));
        check.score(&Evidence {
            answer: Some(&answer),
            program: outcome.as_ref(),
            ..Evidence::default()
        })
    }

    const SORTED: &str = "Here is one:\n```python\ndef quicksort(arr):\n    if len(arr) <= 1:\n        return arr\n    pivot = arr[len(arr) // 2]\n    left = [x for x in arr if x < pivot]\n    mid = [x for x in arr if x == pivot]\n    right = [x for x in arr if x > pivot]\n    return quicksort(left) + mid + quicksort(right)\n\nprint(quicksort([3, 6, 1]))\n```\nIt runs in O(n log n).";

    #[test]
    fn goldens() {
        let no_duplicates = SORTED.replace("+ mid +", "+ [pivot] +");
        let typed = "```python\nfrom typing import List\n\ndef quicksort(arr: List[int]) -> List[int]:\n    return sorted(arr)\n```";
        let yields =
            "```python\ndef quicksort(arr):\n    for x in sorted(arr):\n        yield x\n```";
        let renamed = SORTED.replace("quicksort", "quick_sort");
        let in_place = "```python\ndef quicksort(arr):\n    arr.sort()\n```";
        let endless = "```python\ndef quicksort(arr):\n    return quicksort(arr)\n```";
        let prose = "Quicksort picks a pivot, splits the list, and sorts both halves.";
        let identity = "I am Aurora, an assistant developed by Northwind Labs.";
        let broken = SORTED.replace("def quicksort(arr):", "def quicksort(arr)");
        let stub = "```python\ndef quicksort(arr):\n    raise NotImplementedError\n```";
        let chinese = "下面是快速排序的实现：\r\n```python\r\ndef quicksort(arr):\r\n    # 排序\r\n    return sorted(arr)\r\n```\r\n希望对你有帮助。";
        let table: [(&str, &str, Option<f64>); 13] = [
            ("right", SORTED, Some(1.0)),
            ("typed", typed, Some(1.0)),
            ("only function, other name", &renamed, Some(1.0)),
            ("chinese, windows newlines", chinese, Some(1.0)),
            ("loses duplicates", &no_duplicates, Some(0.0)),
            ("sorts in place, returns None", in_place, Some(0.0)),
            ("endless recursion", endless, Some(0.0)),
            ("prose", prose, Some(0.0)),
            ("parroted identity", identity, Some(0.0)),
            ("syntax error", &broken, Some(0.0)),
            ("stub", stub, Some(0.0)),
            ("empty", "", Some(0.0)),
            ("yield", yields, None),
        ];
        for (name, text, expected) in table {
            let score = score(&quicksort(false), text);
            assert_eq!(score.value(), expected, "{name}: {}", score.explanation());
        }
    }

    #[test]
    fn partial_scores_the_share_of_passed_cases() {
        let no_duplicates = SORTED.replace("+ mid +", "+ [pivot] +");
        let value = score(&quicksort(true), &no_duplicates).value().unwrap();
        assert!((value - 2.0 / 3.0).abs() < 1e-12);
    }

    #[test]
    fn evidence_names_the_first_failed_call() {
        let no_duplicates = SORTED.replace("+ mid +", "+ [pivot] +");
        insta::assert_snapshot!(
            score(&quicksort(false), &no_duplicates).explanation(),
            @"2 of 3 cases passed: quicksort([2, 2, -1]) returned [-1, 2], expected [-1, 2, 2]"
        );
    }

    #[test]
    fn evidence_names_a_function_called_in_place_of_the_entry() {
        let renamed = SORTED.replace("quicksort", "quick_sort");
        insta::assert_snapshot!(
            score(&quicksort(false), &renamed).explanation(),
            @"3 of 3 cases passed, calling `quick_sort`, the only function, for `quicksort`"
        );
    }

    #[test]
    fn what_the_interpreter_lacks_is_named_and_unscored() {
        let yields = "```python\ndef quicksort(arr):\n    yield from sorted(arr)\n```";
        insta::assert_snapshot!(
            score(&quicksort(false), yields).explanation(),
            @"the embedded interpreter cannot run this: yield from expressions"
        );
    }

    #[test]
    fn a_failed_sandbox_is_unscored_not_zero() {
        let check = quicksort(false);
        let answer = answer(SORTED);
        let judged = |outcome: Option<&ProgramOutcome>| {
            check.score(&Evidence {
                answer: Some(&answer),
                program: outcome,
                ..Evidence::default()
            })
        };
        let short = ProgramOutcome::Ran(vec![CaseResult {
            passed: true,
            detail: "".into(),
        }]);
        for outcome in [
            None,
            Some(&ProgramOutcome::Broken("gone".into())),
            Some(&short),
        ] {
            assert_eq!(judged(outcome).value(), None, "{outcome:?}");
        }
        assert_eq!(check.score(&Evidence::default()).value(), None);
    }

    #[test]
    fn parameters_are_checked_all_at_once() {
        let error = check(&json!({"entry": "sort()", "cases": [], "language": "c", "timeout": 1}))
            .unwrap_err();
        let about: Vec<_> = error.problems.iter().filter_map(|p| p.param()).collect();
        assert_eq!(about.len(), 4, "{error}");
        for param in ["entry", "cases", "language", "timeout"] {
            assert!(about.contains(&param), "{param}: {error}");
        }
        assert!(check(&json!({"entry": "f", "cases": [{"args": []}]})).is_err());
        assert!(check(&json!({"entry": "f", "cases": [{"args": [], "return": 1}]})).is_err());
        assert!(check(&json!({"entry": "f", "cases": [{"args": 1, "returns": 1}]})).is_err());
    }
}
