//! Runs one program in the embedded interpreter and prints what each case did.
//!
//! The interpreter reaches no files, environment, or network, and checks time, recursion, and
//! large allocations itself. An abort inside it would take the process along, so it runs in a
//! child process that limits its own address space, processor time, files, and processes before
//! it looks at the program. Protocol: the [`Program`] as JSON on standard input; on standard
//! output one [`ProgramOutcome`] as JSON a line, a `Ran` with one result for every finished case,
//! or an `Unsupported` or `Broken` that stands for the whole. Lines missing at the end mean that
//! the process died in that case.
//!
//! Where the interpreter differs from Python without saying so: `map`, `filter`, `zip`, and
//! generator expressions are lists at once, and an `except Exception` of the answer catches what
//! the interpreter lacks.

use std::io::{Read, Write};
use std::process::ExitCode;
use std::sync::LazyLock;
use std::time::{Duration, Instant};

use monty::MontyRun;
use monty_types::{
    AssertMessageAnnotations, CompileOptions, ExcType, MontyException, MontyObject, PrintWriter,
    ResourceLimits, ResourceTracker,
};
use regex::Regex;

use crate::check::evidence::{CaseResult, Program, ProgramCase, ProgramOutcome};
use crate::child_process::end_with_parent;
use crate::text::ellipsize;

use super::jail::{self, WORKER_PYTHON};
use super::python;
use super::value::{SHOWN, equal, shown, to_python};

/// The environment variable that turns the program into a worker.
pub const WORKER_VARIABLE: &str = "QEVAL_WORKER";
/// The environment variable with the id of the process that a worker does not outlive.
pub const PARENT_VARIABLE: &str = "QEVAL_WORKER_PARENT";
/// The variable's value for this worker.
pub const WORKER_CODE: &str = "code";
/// Address space that a worker may add to what it has at its start, in MiB.
pub const WORKER_MEMORY_MIB: u64 = 768;
/// Time for all cases of a program together, in seconds.
pub const ALL_CASES_SECONDS: u64 = 10;

/// Time for one case. Right answers of the built-in suites take less than a millisecond.
pub(super) const CASE_TIME: Duration = Duration::from_secs(2);
/// One allocation of more than this is refused with a `MemoryError`.
const LARGEST_ALLOCATION: usize = 256 << 20;
/// Python's own default.
pub(super) const RECURSION: usize = 1000;
/// Room for that recursion and for the deepest source that the parser takes.
const STACK: usize = 64 << 20;
/// Longest program read.
const INPUT_LIMIT: u64 = 16 << 20;
/// The name of the arguments inside the program, and of its last value.
const MARK: &str = "__qeval__";

/// Does a worker's work if the environment asks for it, and returns the code to exit with.
/// `None`: this process is no worker. To be called before anything else.
///
/// ```
/// // The first line of a program that runs answers' code in copies of itself.
/// if let Some(_code) = qeval::check::run_worker_if_asked() {
///     unreachable!("QEVAL_WORKER is not set");
/// }
/// ```
pub fn run_worker_if_asked() -> Option<ExitCode> {
    let mode = std::env::var_os(WORKER_VARIABLE)?;
    // Whoever is killed cannot end its workers, and nobody else does.
    let parent = std::env::var(PARENT_VARIABLE).ok();
    if let Some(parent) = parent.and_then(|id| id.parse().ok())
        && !end_with_parent(parent)
    {
        return Some(ExitCode::FAILURE);
    }
    let input = std::io::stdin().lock();
    let outcome = if mode == WORKER_CODE {
        work(input)
    } else if mode == WORKER_PYTHON {
        read(input).map(|program| emit(&ProgramOutcome::Unsupported(jail::run(&program))))
    } else {
        Err(format!(
            "{WORKER_VARIABLE} is {mode:?}; workers are \"{WORKER_CODE}\" and \"{WORKER_PYTHON}\""
        ))
    };
    Some(match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(how) => {
            emit(&ProgramOutcome::Broken(how));
            ExitCode::FAILURE
        }
    })
}

fn read(input: impl Read) -> Result<Program, String> {
    let mut text = String::new();
    input
        .take(INPUT_LIMIT)
        .read_to_string(&mut text)
        .map_err(|e| format!("the program could not be read: {e}"))?;
    serde_json::from_str(&text).map_err(|e| format!("the program is not valid: {e}"))
}

fn work(input: impl Read) -> Result<(), String> {
    let program = read(input)?;
    limit_memory_and_time();
    let interpreter = std::thread::Builder::new()
        .stack_size(STACK)
        .spawn(move || run(&program, &mut |outcome| emit(&outcome)))
        .map_err(|e| format!("no thread for the interpreter: {e}"))?;
    limit_processes_and_files();
    interpreter
        .join()
        .map_err(|_| "the interpreter panicked".to_owned())
}

/// A closed pipe means that nobody waits for the outcome any more: nothing to report, no one to
/// report it to.
fn emit(outcome: &ProgramOutcome) {
    if let Ok(mut line) = serde_json::to_string(outcome) {
        line.push('\n');
        let mut out = std::io::stdout().lock();
        let _ = out.write_all(line.as_bytes()).and_then(|()| out.flush());
    }
}

/// The same work without a child process, for tests of programs that end by themselves.
#[cfg(test)]
pub fn run_here(program: &Program) -> ProgramOutcome {
    let mut results = Vec::new();
    let mut whole = None;
    run(program, &mut |outcome| match outcome {
        ProgramOutcome::Ran(more) => results.extend(more),
        other => whole = Some(other),
    });
    whole.unwrap_or(ProgramOutcome::Ran(results))
}

/// Runs every case, or says what the interpreter lacks for one of them.
fn run(program: &Program, tell: &mut dyn FnMut(ProgramOutcome)) {
    let start = Instant::now();
    let mut source = program.source.as_str();
    let mut case = 0;
    let mut lacking = None;
    while let Some(this) = program.cases.get(case) {
        let left = Duration::from_secs(ALL_CASES_SECONDS).saturating_sub(start.elapsed());
        let result = match left.is_zero() {
            true => Ok(failed(
                program,
                this,
                "not run, the time for all cases was used up",
            )),
            false => run_case(program, source, this, left.min(CASE_TIME)),
        };
        match result {
            // Without its end the source is another program: only its passes count.
            Ok(result) if result.passed || lacking.is_none() => {
                tell(ProgramOutcome::Ran(vec![result]));
                case += 1;
            }
            Ok(_) => break,
            Err(Lacking { what, end }) => {
                match end.filter(|_| lacking.is_none()) {
                    Some(end) => source = &program.source[..end],
                    None => {
                        lacking.get_or_insert(what);
                        break;
                    }
                }
                lacking = Some(what);
            }
        }
    }
    if let Some(what) = lacking.filter(|_| case < program.cases.len()) {
        tell(ProgramOutcome::Unsupported(what));
    }
}

/// Something of Python that the interpreter does not have.
struct Lacking {
    what: String,
    /// Where the top-level statement starts that needs it, when it comes after the entry's
    /// definition: sample calls at the end of an answer, which the cases do not need.
    end: Option<usize>,
}

fn run_case(
    program: &Program,
    source: &str,
    case: &ProgramCase,
    time: Duration,
) -> Result<CaseResult, Lacking> {
    // The mark tells the call's value from that of a `return` at the top level, which the
    // interpreter takes for the end of the program.
    let code = format!("{source}\n['{MARK}', {}(*{MARK})]\n", program.entry);
    let options = CompileOptions {
        assert_message_annotations: AssertMessageAnnotations::Off,
    };
    let raised = |error: &MontyException, compiling: bool| match lacking(error, compiling, source) {
        Some(what) => Err(Lacking {
            what,
            end: sample_call(error, program, source),
        }),
        None => Ok(failed(program, case, &format!("raised {}", told(error)))),
    };
    let compiled = match MontyRun::new(code, "answer.py", vec![MARK.to_owned()], options) {
        Ok(compiled) => compiled,
        Err(error) => return raised(&error, true),
    };
    let args = MontyObject::List(case.args.iter().map(to_python).collect());
    let limits = ResourceLimits::default()
        .max_duration(time)
        .max_memory(LARGEST_ALLOCATION)
        .max_recursion_depth(RECURSION);
    let tracker = ResourceTracker::new(limits);
    let value = match compiled.run(vec![args], tracker, PrintWriter::Disabled) {
        Ok(MontyObject::List(mut pair))
            if pair.len() == 2 && pair[0] == MontyObject::String(MARK.to_owned()) =>
        {
            pair.swap_remove(1)
        }
        Ok(_) => {
            return Ok(failed(
                program,
                case,
                "did not run, `return` outside of a function",
            ));
        }
        Err(error) => return raised(&error, false),
    };
    Ok(returned(program, case, &value))
}

/// A case that returned: whether it is the expected value, and both values if not.
pub(super) fn returned(program: &Program, case: &ProgramCase, value: &MontyObject) -> CaseResult {
    let passed = equal(value, &case.returns);
    let mut detail = format!("{} returned {}", call(program, case), shown(value));
    if !passed {
        detail = format!("{detail}, expected {}", shown(&to_python(&case.returns)));
    }
    CaseResult { passed, detail }
}

/// A failed case: the call, and what happened instead of a value.
pub(super) fn failed(program: &Program, case: &ProgramCase, what: &str) -> CaseResult {
    CaseResult {
        passed: false,
        detail: format!("{} {what}", call(program, case)),
    }
}

/// A case's call as Python writes it, shortened.
pub fn call(program: &Program, case: &ProgramCase) -> String {
    let args: Vec<String> = case.args.iter().map(|a| shown(&to_python(a))).collect();
    format!("{}({})", program.entry, ellipsize(&args.join(", "), SHOWN))
}

/// An exception in one line, with the line of the answer that raised it.
fn told(error: &MontyException) -> String {
    let summary = ellipsize(&error.summary(), SHOWN);
    let place = error.traceback().last();
    let line = place
        .and_then(|f| f.preview_line.as_deref())
        .map(str::trim)
        .unwrap_or_default();
    match line.is_empty() || line.contains(MARK) {
        true => summary,
        false => format!("{summary}, in `{}`", ellipsize(line, SHOWN / 2)),
    }
}

/// What of Python is missing, if that is why the exception was raised. `None`: Python would have
/// raised too.
///
/// The interpreter reports syntax that it does not know as `NotImplementedError` (it parses all of
/// Python first, so a `SyntaxError` is one in Python too, its own size limits aside), a module that
/// it does not have as `ImportError`. A module's missing attribute is always taken for a gap of
/// the interpreter; a built-in name or attribute when Python has it.
fn lacking(error: &MontyException, compiling: bool, source: &str) -> Option<String> {
    let message = error.message().unwrap_or_default();
    let last = error
        .traceback()
        .last()
        .and_then(|f| f.preview_line.as_deref());
    if !compiling && last.is_some_and(|line| line.trim_start().starts_with("raise")) {
        return None;
    }
    let quoted = || message.split('\'').skip(1).step_by(2);
    let missing = match error.exc_type() {
        ExcType::NotImplementedError | ExcType::ImportError | ExcType::ModuleNotFoundError => true,
        ExcType::SyntaxError => {
            let gaps = [
                "not yet supported",
                "maximum is",
                "supports up to",
                "too deeply nested",
            ];
            compiling && gaps.iter().any(|gap| message.contains(gap))
        }
        ExcType::NameError => quoted().next().is_some_and(python::is_builtin),
        ExcType::AttributeError => {
            let mut names = quoted();
            let (owner, attribute) = (names.next().unwrap_or_default(), names.next());
            owner == "module"
                || message.starts_with("module ")
                || attribute.is_some_and(|name| python::has_attribute(owner, name))
        }
        ExcType::TypeError => {
            message.contains("is not supported")
                || lacks_operator(message, source)
                || message == "'list' object is not an iterator"
        }
        _ => false,
    };
    let what = message.trim_start_matches("The monty syntax parser does not yet support ");
    missing.then(|| {
        ellipsize(
            if what.is_empty() {
                "an unnamed part of Python"
            } else {
                what
            },
            2 * SHOWN,
        )
    })
}

/// Whether Python has the operator that an "unsupported operand" message is about: formatting with
/// `%`, arithmetic of truth values, and the operators of sets and tables. A source without a format
/// such as `%d` formats nothing: its `"12" % 3` raises in Python too.
fn lacks_operator(message: &str, source: &str) -> bool {
    static FORMAT: LazyLock<Option<Regex>> =
        LazyLock::new(|| Regex::new(r"%[-+0#]*(?:\(\w+\))?[\d*]*(?:\.\d+)?[a-zA-Z]").ok());
    let formats = || FORMAT.as_ref().is_none_or(|format| format.is_match(source));
    let Some(rest) = message.strip_prefix("unsupported operand type(s) for ") else {
        return false;
    };
    let Some((operator, types)) = rest.split_once(": ") else {
        return false;
    };
    let mut types = types.split('\'').skip(1).step_by(2);
    let (left, right) = (types.next().unwrap_or(""), types.next().unwrap_or(""));
    let number = |t: &str| matches!(t, "int" | "float" | "bool");
    let set = |t: &str| matches!(t, "set" | "frozenset");
    match operator {
        "%" if left == "str" => {
            matches!(right, "tuple" | "str" | "int" | "float" | "dict") && formats()
        }
        "|" | "|=" if left == "dict" => right == "dict",
        "|" | "&" | "^" | "-" | "<=" | "<" | ">=" | ">" if set(left) => set(right),
        _ => number(left) && number(right) && (left == "bool" || right == "bool"),
    }
}

/// The byte where a sample call at the end of the source starts: the top-level statement that
/// raised, when the entry is defined above it.
fn sample_call(error: &MontyException, program: &Program, source: &str) -> Option<usize> {
    let frame = error.traceback().first()?;
    let line = usize::try_from(frame.start.line).ok()?.checked_sub(1)?;
    let mut starts = Vec::new();
    let mut at = 0;
    for text in source.split_inclusive('\n') {
        starts.push((at, text));
        at += text.len();
    }
    let top = |text: &str| text.starts_with(|c: char| !c.is_whitespace());
    let place = (0..=line)
        .rev()
        .find(|&i| starts.get(i).is_some_and(|(_, text)| top(text)))?;
    let head = format!("def {}", program.entry);
    let defined = starts[..place].iter().any(|(_, text)| {
        text.strip_prefix("async ")
            .unwrap_or(text)
            .starts_with(&head)
    });
    defined.then_some(starts[place].0)
}

/// Before the program runs: an address space and processor time that the operating system ends
/// the process at, should the interpreter's own limits not hold. macOS does not enforce the
/// first; time bounds it there.
#[cfg(unix)]
fn limit_memory_and_time() {
    let limit = |most: u64| libc::rlimit {
        rlim_cur: most as _,
        rlim_max: most as _,
    };
    // SAFETY: setrlimit reads a struct that outlives the call. A limit that is refused is not
    // needed for the interpreter's own to hold.
    unsafe {
        if let Some(now) = address_space() {
            libc::setrlimit(libc::RLIMIT_AS, &limit(now + (WORKER_MEMORY_MIB << 20)));
        }
        libc::setrlimit(libc::RLIMIT_CPU, &limit(ALL_CASES_SECONDS + 2));
        libc::setrlimit(libc::RLIMIT_CORE, &limit(0));
    }
}

/// Once the interpreter's thread runs: no other process or thread, no file.
#[cfg(unix)]
fn limit_processes_and_files() {
    let limit = libc::rlimit {
        rlim_cur: 0,
        rlim_max: 0,
    };
    // SAFETY: as above.
    unsafe {
        libc::setrlimit(libc::RLIMIT_NPROC, &limit);
        libc::setrlimit(libc::RLIMIT_NOFILE, &limit);
    }
}

#[cfg(not(unix))]
fn limit_memory_and_time() {}

#[cfg(not(unix))]
fn limit_processes_and_files() {}

/// Bytes of address space in use. The libraries of a GPU build take gigabytes of it, so that a
/// limit has to be counted from here.
#[cfg(unix)]
fn address_space() -> Option<u64> {
    let sizes = std::fs::read_to_string("/proc/self/statm").ok()?;
    let pages: u64 = sizes.split(' ').next()?.parse().ok()?;
    // SAFETY: sysconf takes a number and returns one.
    let page = unsafe { libc::sysconf(libc::_SC_PAGESIZE) };
    Some(pages * u64::try_from(page).ok()?)
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn outcome(source: &str, args: Value, returns: Value) -> ProgramOutcome {
        let args = args.as_array().unwrap().clone();
        run_here(&Program {
            source: source.into(),
            entry: "f".into(),
            cases: vec![ProgramCase { args, returns }],
        })
    }

    /// Whether the one case passed, and its detail.
    fn ran(source: &str, args: Value, returns: Value) -> (bool, String) {
        match outcome(source, args, returns) {
            ProgramOutcome::Ran(results) => {
                assert_eq!(results.len(), 1);
                (results[0].passed, results[0].detail.clone())
            }
            other => panic!("{source}: {other:?}"),
        }
    }

    fn unsupported(source: &str) -> Option<String> {
        unsupported_of(source, json!([]))
    }

    fn unsupported_of(source: &str, args: Value) -> Option<String> {
        match outcome(source, args, json!(1)) {
            ProgramOutcome::Unsupported(what) => Some(what),
            _ => None,
        }
    }

    #[test]
    fn values_compare_as_in_python() {
        let table = [
            ("1", json!(1), true),
            ("1.0", json!(1), true),
            ("True", json!(1), true),
            ("1", json!(true), true),
            ("0", json!(false), true),
            ("'1'", json!(1), false),
            ("1", json!("1"), false),
            ("0.1 + 0.2", json!(0.3), true),
            ("0.3001", json!(0.3), false),
            ("2.9999999999", json!(3), true),
            ("-0.0", json!(0), true),
            ("float('nan')", json!(0), false),
            ("float('inf')", json!(1), false),
            ("10**4000", json!(1), false),
            ("2**63", json!(9_223_372_036_854_775_808_u64), true),
            ("2**63 + 1", json!(9_223_372_036_854_775_808_u64), false),
            ("2**53 + 1", json!(9_007_199_254_740_992_i64), false),
            ("10**30", json!(1e30), true),
            ("None", json!(null), true),
            ("None", json!(0), false),
            ("None", json!([]), false),
            ("[]", json!(null), false),
            ("(1, 2)", json!([1, 2]), true),
            ("[(1, 2)]", json!([[1, 2]]), true),
            ("[1, 2]", json!([1, 2, 3]), false),
            ("{1, 2}", json!([1, 2]), false),
            ("range(2)", json!([0, 1]), false),
            ("'ab'", json!(["a", "b"]), false),
            ("{'b': 2, 'a': 1}", json!({"a": 1, "b": 2}), true),
            ("{1: 2}", json!({"1": 2}), true),
            ("{'a': 1, 'b': 2}", json!({"a": 1}), false),
            ("{}", json!({}), true),
            ("b'a'", json!("a"), false),
            ("'排序'", json!("排序"), true),
        ];
        for (python, json, expected) in table {
            let source = format!("def f():\n    return {python}");
            let (passed, detail) = ran(&source, json!([]), json.clone());
            assert_eq!(passed, expected, "{python} against {json}: {detail}");
        }
    }

    #[test]
    fn arguments_arrive_as_they_are() {
        let args = json!([1, -2.5, "a'b", true, null, [1, [2]], {"k": [3]}, u64::MAX]);
        let expected = args.clone();
        assert!(ran("def f(*args):\n    return args", args, expected).0);
    }

    #[test]
    fn what_an_answer_does_wrong_is_a_failed_case() {
        let table = [
            ("def f(x)\n    return x", "SyntaxError"),
            ("def f(x):\n    return (x +", "SyntaxError"),
            ("print \"hello\"\ndef f(x):\n    return x", "SyntaxError"),
            ("def f(x):\n    return y", "NameError"),
            ("def g(x):\n    return x", "NameError"),
            ("def f(x):\n    return x.push(1)", "AttributeError"),
            ("def f(x):\n    return x[9]", "IndexError"),
            ("def f(x):\n    return 1 / 0", "ZeroDivisionError"),
            ("def f(x):\n    return x + 1", "TypeError"),
            ("def f():\n    return 1", "TypeError"),
            ("def f(x):\n    return f(x)", "RecursionError"),
            (
                "def f(x):\n    raise NotImplementedError('todo')",
                "NotImplementedError",
            ),
            ("def f(x):\n    raise ImportError('x')", "ImportError"),
            ("def f(x):\n    assert x == 1", "AssertionError"),
            ("def f(x):\n    return len('a' * 10**10)", "MemoryError"),
            ("def f(x):\n    return 9**9**9", "MemoryError"),
            (
                "def f(x):\n    return x\nreturn [1]",
                "`return` outside of a function",
            ),
        ];
        for (source, expected) in table {
            let (passed, detail) = ran(source, json!([[1]]), json!([1]));
            assert!(!passed && detail.contains(expected), "{source}: {detail}");
        }
    }

    #[test]
    fn what_the_interpreter_lacks_is_named() {
        let table = [
            ("def f():\n    yield 1", "yield expressions"),
            (
                "class A:\n    pass\nclass B(A):\n    pass\ndef f():\n    return 1",
                "class inheritance",
            ),
            (
                "def f():\n    match 1:\n        case 1: return 1",
                "pattern matching",
            ),
            (
                "def f():\n    x = [1]\n    del x[0]\n    return 1",
                "'del' statement",
            ),
            (
                "from functools import lru_cache\ndef f():\n    return 1",
                "lru_cache",
            ),
            ("import numpy as np\ndef f():\n    return 1", "numpy"),
            ("import math\ndef f():\n    return math.prod([1])", "prod"),
            ("import os\ndef f():\n    return os.fork()", "fork"),
            ("def f():\n    return open('/etc/passwd').read()", "open"),
            ("def f():\n    return input()", "input"),
            ("def f():\n    return '%d' % 1", "unsupported operand"),
            ("def f():\n    return 1 @ 1", "matrix multiplication"),
            ("def f():\n    return 1j", "complex constants"),
            ("def f():\n    return 'a'.maketrans('a', 'b')", "maketrans"),
            ("def f():\n    return (1).__sizeof__()", "__sizeof__"),
        ];
        for (source, expected) in table {
            let what = unsupported(source).unwrap_or_default();
            assert!(what.contains(expected), "{source}: {what}");
        }
        let deep = format!(
            "def f():\n    return {}1{}",
            "(".repeat(5000),
            ")".repeat(5000)
        );
        assert!(unsupported(&deep).is_some());
    }

    #[test]
    fn one_unsupported_case_leaves_the_whole_unsupported() {
        let source = "def f(x):\n    if x > 1:\n        return input()\n    return x";
        let case = |x: i64| ProgramCase {
            args: vec![json!(x)],
            returns: json!(x),
        };
        let program = Program {
            source: source.into(),
            entry: "f".into(),
            cases: vec![case(1), case(2)],
        };
        assert!(matches!(run_here(&program), ProgramOutcome::Unsupported(_)));
    }

    #[test]
    fn sample_calls_that_the_interpreter_lacks_do_not_matter_to_a_right_function() {
        let right =
            "def f():\n    return 1\n\nif True:\n    name = input('?')\n    print(f(), name)\n";
        assert!(ran(right, json!([]), json!(1)).0);
        assert!(unsupported(right.replace("return 1", "return 2").as_str()).is_some());
        let before = "name = input('?')\ndef f():\n    return 1\n";
        assert!(unsupported(before).is_some());
        let inside = "def f():\n    return input()\n\nprint(f())\n";
        assert!(unsupported(inside).is_some());
    }

    #[test]
    fn a_remainder_of_a_text_is_a_mistake_and_a_format_is_not() {
        let (passed, detail) = ran(
            "def f(n):\n    return str(n) % 3 == 0",
            json!([9]),
            json!(true),
        );
        assert!(!passed && detail.contains("TypeError"), "{detail}");
        for format in ["'%d' % n", "'%-5.2f' % n", "template % n  # '%(n)s'"] {
            let source = format!("template = '%s'\ndef f(n):\n    return {format}");
            assert!(unsupported_of(&source, json!([9])).is_some(), "{format}");
        }
    }

    #[test]
    fn typical_answers_run() {
        let sources = [
            "from typing import List, Optional, Dict\n\ndef f(x: List[int]) -> Optional[int]:\n    \"\"\"Doc.\"\"\"\n    return sum(x) if x else None",
            "import math\n\ndef f(x):\n    return math.floor(math.sqrt(sum(n ** 2 for n in x) + 23)) ",
            "from collections import Counter\ndef f(x):\n    return Counter(x).most_common(1)[0][1] * 6 // 1",
            "class Stack:\n    def __init__(self):\n        self.items = []\n    def push(self, x):\n        self.items.append(x)\ndef f(x):\n    s = Stack()\n    for n in x:\n        s.push(n)\n    return s.items[0] + 5",
            "def f(x):\n    try:\n        return x['a']\n    except (KeyError, TypeError):\n        return 6\n    finally:\n        pass",
            "def f(x):\n    total = 0\n    while x:\n        total, *x = [total + x[0], *x[1:]]\n    return total\nif __name__ == '__main__':\n    print(f'{f([1]):>5}')",
            "f = lambda x: sum(map(lambda n: n, filter(None, x)))",
        ];
        for source in sources {
            let (passed, detail) = ran(source, json!([[1, 2, 3]]), json!(6));
            assert!(passed, "{source}: {detail}");
        }
    }

    #[test]
    fn an_endless_loop_ends_as_a_failed_case() {
        let (passed, detail) = ran("def f():\n    while True: pass", json!([]), json!(1));
        assert!(!passed);
        assert!(
            detail.starts_with("f() raised TimeoutError: time limit exceeded"),
            "{detail}"
        );
    }

    #[test]
    fn details_stay_short_whatever_is_returned() {
        let sources = [
            "def f():\n    return list(range(10**6))",
            "def f():\n    return 'é' * 10**6",
            "def f():\n    return {i: i for i in range(10**5)}",
            "def f():\n    return 10**4000",
            "def f():\n    a = []\n    for i in range(10**5): a = [a]\n    return a",
            "def f():\n    a = []\n    a.append(a)\n    return a",
            "def f():\n    raise ValueError('x' * 10**6)",
        ];
        for source in sources {
            let (passed, detail) = ran(source, json!([]), json!(1));
            assert!(
                !passed && detail.chars().count() < 400,
                "{source}: {}",
                detail.len()
            );
        }
    }

    #[test]
    fn what_is_not_a_program_is_refused_before_anything_runs() {
        assert!(work("".as_bytes()).unwrap_err().contains("not valid"));
        assert!(
            work("{\"source\": 1}".as_bytes())
                .unwrap_err()
                .contains("not valid")
        );
        assert!(
            work(&b"\xff\xfe"[..])
                .unwrap_err()
                .contains("could not be read")
        );
    }
}
