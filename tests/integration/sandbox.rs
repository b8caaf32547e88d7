//! The sandbox with the real executable as its worker: what hostile and ordinary programs get.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use qeval::check::{Program, ProgramCase, ProgramOutcome};
use qeval::run::{Sandbox, SandboxLimits};
use serde_json::{Value, json};

fn sandbox() -> Sandbox {
    Sandbox::new(
        PathBuf::from(env!("CARGO_BIN_EXE_qeval")),
        SandboxLimits::default(),
    )
}

fn program(source: &str, cases: &[(Value, Value)]) -> Program {
    let cases = cases.iter().map(|(arg, returns)| ProgramCase {
        args: vec![arg.clone()],
        returns: returns.clone(),
    });
    Program {
        source: source.into(),
        entry: "f".into(),
        cases: cases.collect(),
    }
}

fn block_on<T>(future: impl Future<Output = T>) -> T {
    let mut runtime = tokio::runtime::Builder::new_multi_thread();
    runtime
        .worker_threads(2)
        .enable_all()
        .build()
        .expect("a runtime starts")
        .block_on(future)
}

fn run(source: &str, cases: &[(Value, Value)]) -> ProgramOutcome {
    block_on(sandbox().run(&program(source, cases)))
}

/// Passed or not, and the detail, of a program's only case.
fn one(source: &str) -> (bool, String) {
    match run(source, &[(json!(1), json!(1))]) {
        ProgramOutcome::Ran(results) => (results[0].passed, results[0].detail.clone()),
        other => panic!("{source}: {other:?}"),
    }
}

const QUICKSORT: &str = "def f(arr):
    if len(arr) <= 1:
        return arr
    pivot = arr[len(arr) // 2]
    left = [x for x in arr if x < pivot]
    middle = [x for x in arr if x == pivot]
    right = [x for x in arr if x > pivot]
    return f(left) + middle + f(right)
";

fn sorting() -> [(Value, Value); 3] {
    [
        (json!([3, 1, 2]), json!([1, 2, 3])),
        (json!([]), json!([])),
        (json!([2, 2, -1]), json!([-1, 2, 2])),
    ]
}

#[test]
fn a_right_quicksort_passes_every_case() {
    let ProgramOutcome::Ran(results) = run(QUICKSORT, &sorting()) else {
        panic!()
    };
    assert!(
        results.len() == 3 && results.iter().all(|r| r.passed),
        "{results:?}"
    );
}

#[test]
fn a_wrong_quicksort_fails_the_case_that_shows_it() {
    let wrong = QUICKSORT.replace("+ middle +", "+ [pivot] +");
    let ProgramOutcome::Ran(results) = run(&wrong, &sorting()) else {
        panic!()
    };
    let passed: Vec<bool> = results.iter().map(|r| r.passed).collect();
    assert_eq!(passed, [true, true, false]);
    assert_eq!(
        results[2].detail,
        "f([2, 2, -1]) returned [-1, 2], expected [-1, 2, 2]"
    );
}

#[test]
fn an_endless_loop_ends_as_a_failed_case() {
    let start = Instant::now();
    let (passed, detail) = one("def f(x):\n    while True:\n        pass");
    assert!(!passed && detail.contains("time limit"), "{detail}");
    assert!(start.elapsed() < Duration::from_secs(15));
}

#[test]
fn a_case_out_of_time_leaves_the_others_their_turn() {
    let source = "def f(x):\n    while x == 1:\n        pass\n    return x";
    let ProgramOutcome::Ran(results) = run(
        source,
        &[
            (json!(0), json!(0)),
            (json!(1), json!(1)),
            (json!(2), json!(2)),
        ],
    ) else {
        panic!()
    };
    let passed: Vec<bool> = results.iter().map(|r| r.passed).collect();
    assert_eq!(passed, [true, false, true]);
}

#[test]
fn endless_recursion_is_a_failed_case() {
    let (passed, detail) = one("def f(x):\n    return f(x + 1)");
    assert!(!passed && detail.contains("RecursionError"), "{detail}");
}

#[test]
fn a_string_of_ten_gigabytes_is_a_failed_case() {
    let (passed, detail) = one("def f(x):\n    return len('a' * 10**10)");
    assert!(!passed && detail.contains("MemoryError"), "{detail}");
}

#[test]
fn memory_taken_in_small_pieces_is_a_failed_case() {
    let (passed, detail) =
        one("def f(x):\n    kept = []\n    while True:\n        kept.append('a' * 1000000)");
    let out = detail.contains("memory") || detail.contains("time limit");
    assert!(!passed && out, "{detail}");
}

#[test]
fn a_flood_of_output_goes_nowhere() {
    let flood = "def f(x):\n    for i in range(2000):\n        print('a' * 10000)\n    return x";
    let (passed, detail) = one(flood);
    assert!(passed, "{detail}");
    let (passed, detail) = one("def f(x):\n    while True:\n        print('a' * 10000)");
    assert!(!passed && detail.contains("time limit"), "{detail}");
}

#[test]
fn what_the_interpreter_lacks_is_neither_a_pass_nor_a_fail() {
    let sources = [
        ("def f(x):\n    yield x", "yield"),
        (
            "import os\ndef f(x):\n    while True:\n        os.fork()",
            "fork",
        ),
        (
            "import subprocess\ndef f(x):\n    return subprocess.run(['ls'])",
            "subprocess",
        ),
        (
            "import socket\ndef f(x):\n    return socket.socket()",
            "socket",
        ),
        ("def f(x):\n    return open('/etc/passwd').read()", "open"),
        (
            "def f(x):\n    return __import__('os').system('ls')",
            "__import__",
        ),
    ];
    for (source, named) in sources {
        match run(source, &[(json!(1), json!(1))]) {
            ProgramOutcome::Unsupported(what) => assert!(what.contains(named), "{what}"),
            // A name that Python hides from `dir` is an unknown name here.
            ProgramOutcome::Ran(results) => {
                assert!(
                    !results[0].passed && named == "__import__",
                    "{source}: {results:?}"
                );
            }
            broken => panic!("{source}: {broken:?}"),
        }
    }
}

#[test]
fn source_nested_beyond_reason_breaks_nothing() {
    for source in [
        format!(
            "def f(x):\n    return {}x{}",
            "(".repeat(100_000),
            ")".repeat(100_000)
        ),
        format!("def f(x):\n    return {}x", "-".repeat(100_000)),
        format!(
            "def f(x):\n    return {}x{}",
            "[".repeat(100_000),
            "]".repeat(100_000)
        ),
        format!("def f(x):\n    return x{}", " + x".repeat(100_000)),
        "x".repeat(1_000_000),
    ] {
        let outcome = run(&source, &[(json!(1), json!(1))]);
        let passed = matches!(&outcome, ProgramOutcome::Ran(r) if r[0].passed);
        assert!(!passed, "{}", &source[..40]);
    }
}

#[test]
fn many_programs_run_beside_each_other() {
    let sandbox = sandbox();
    let programs: Vec<Program> = (0..8)
        .map(|i| {
            program(
                &format!("def f(x):\n    return x + {i}"),
                &[(json!(1), json!(1 + i))],
            )
        })
        .collect();
    let outcomes = block_on(async {
        let mut outcomes = Vec::new();
        for pair in programs.chunks(2) {
            let (a, b) = tokio::join!(sandbox.run(&pair[0]), sandbox.run(&pair[1]));
            outcomes.extend([a, b]);
        }
        outcomes
    });
    for outcome in outcomes {
        assert!(
            matches!(&outcome, ProgramOutcome::Ran(r) if r[0].passed),
            "{outcome:?}"
        );
    }
}
