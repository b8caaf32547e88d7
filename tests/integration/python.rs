//! CPython, locked down: what it runs in place of the embedded interpreter, and what a program
//! cannot do there. Where the system cannot lock it down, or has no Python, the tests say so and
//! pass.

use std::net::TcpListener;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use qeval::check::{CaseResult, Program, ProgramCase, ProgramOutcome};
use qeval::run::{Sandbox, SandboxLimits};
use serde_json::{Value, json};

/// Python that the embedded interpreter lacks, so that CPython has its turn.
const LACKING: &str = "class A:\n    pass\n\nclass B(A):\n    pass\n\n";

fn program(source: &str, cases: &[(Value, Value)]) -> Program {
    let cases = cases.iter().map(|(arg, returns)| ProgramCase {
        args: vec![arg.clone()],
        returns: returns.clone(),
    });
    Program {
        source: format!("{LACKING}{source}"),
        entry: "f".into(),
        cases: cases.collect(),
    }
}

fn outcome(python: Option<&str>, program: &Program) -> ProgramOutcome {
    within(SandboxLimits::default(), python, program)
}

fn within(limits: SandboxLimits, python: Option<&str>, program: &Program) -> ProgramOutcome {
    let executable = PathBuf::from(env!("CARGO_BIN_EXE_qeval"));
    let sandbox = Sandbox::new(executable, limits).with_python(python.map(Into::into));
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .unwrap()
        .block_on(sandbox.run(program))
}

/// What each case did; `None` where nothing could be run.
fn run(source: &str, cases: &[(Value, Value)]) -> Option<Vec<CaseResult>> {
    ran(outcome(Some("python3"), &program(source, cases)))
}

fn ran(outcome: ProgramOutcome) -> Option<Vec<CaseResult>> {
    let skipped = ["refused: this system", "refused: only", "did not start"];
    match outcome {
        ProgramOutcome::Ran(results) => Some(results),
        ProgramOutcome::Unsupported(what) if skipped.iter().any(|why| what.contains(why)) => {
            println!("skipped: {what}");
            None
        }
        other => panic!("{other:?}"),
    }
}

/// Asserts that `f(1)` fails, and that the evidence says one of these.
fn fails(source: &str, because: &[&str]) {
    let Some(results) = run(source, &[(json!(1), json!(1))]) else {
        return;
    };
    let detail = &results[0].detail;
    assert!(!results[0].passed, "{source}: {detail}");
    let told = because.iter().any(|reason| detail.contains(reason));
    assert!(told, "{source}: {detail}");
}

/// Asserts that `f(1)` returns 1.
fn passes(source: &str) {
    if let Some(results) = run(source, &[(json!(1), json!(1))]) {
        assert!(results[0].passed, "{source}: {}", results[0].detail);
        assert!(results[0].detail.ends_with(" (CPython)"), "{results:?}");
    }
}

const DENIED: [&str; 2] = ["PermissionError", "Operation not permitted"];

#[test]
fn what_the_embedded_interpreter_lacks_runs() {
    for source in [
        "def g(x):\n    yield x\n\ndef f(x):\n    return next(g(x))",
        "class C:\n    def one(self):\n        return 1\n\nclass D(C):\n    pass\n\ndef f(x):\n    return D().one()",
        "from functools import lru_cache, reduce\n@lru_cache(maxsize=None)\ndef f(x):\n    return reduce(max, [x])",
        "import heapq, itertools, bisect, string, decimal, fractions, statistics, enum, typing, abc\ndef f(x):\n    return statistics.mean([x])",
        "from dataclasses import dataclass\n@dataclass\nclass P:\n    x: 'int'\ndef f(x):\n    return P(x).x",
        "import asyncio\nasync def g(x):\n    await asyncio.sleep(0)\n    return x\ndef f(x):\n    return asyncio.run(g(x))",
        "def f(x):\n    return x\n\nif __name__ == '__main__':\n    raise SystemExit(f(1))",
        "def f(x):\n    return x\n\nname = input('Your name? ')",
    ] {
        passes(source);
    }
}

#[test]
fn values_compare_as_in_the_embedded_interpreter() {
    let source = "from collections import OrderedDict, namedtuple\nfrom fractions import Fraction\n\
        from decimal import Decimal\nPair = namedtuple('Pair', 'a b')\ndef f(x):\n    return eval(x)";
    let table = [
        ("1.0", json!(1), true),
        ("True", json!(1), true),
        ("0.1 + 0.2", json!(0.3), true),
        ("Fraction(1, 2)", json!(0.5), true),
        ("Decimal('0.3')", json!(0.3), true),
        ("2**63", json!(9_223_372_036_854_775_808_u64), true),
        ("10**4000", json!(1), false),
        ("float('nan')", json!(0), false),
        ("'1'", json!(1), false),
        ("(1, [2])", json!([1, [2]]), true),
        ("Pair(1, 2)", json!([1, 2]), true),
        ("{1: (2,), 'a': None}", json!({"1": [2], "a": null}), true),
        ("OrderedDict(a=1)", json!({"a": 1}), true),
        ("{1, 2}", json!([1, 2]), false),
        ("(n for n in [1])", json!([1]), false),
        ("'排序'", json!("排序"), true),
        ("'\\ud800'", json!("?"), true),
        ("list(range(10**6))", json!([]), false),
    ];
    let cases = table.clone().map(|(arg, returns, _)| (json!(arg), returns));
    let Some(results) = run(source, &cases) else {
        return;
    };
    for ((value, returns, expected), result) in table.iter().zip(&results) {
        assert_eq!(
            result.passed, *expected,
            "{value}, {returns}: {}",
            result.detail
        );
    }
}

#[test]
fn without_a_python_nothing_is_run() {
    let program = program("def f(x):\n    return x", &[(json!(1), json!(1))]);
    let ProgramOutcome::Unsupported(lacking) = outcome(None, &program) else {
        panic!("no CPython was asked for")
    };
    match outcome(Some("/nowhere/python3"), &program) {
        ProgramOutcome::Unsupported(what) => {
            let both = format!("{lacking}; CPython: refused: ");
            assert!(what.starts_with(&both), "{what}");
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn files_are_out_of_reach() {
    let folder = tempfile::tempdir().unwrap();
    let here = folder.path().display();
    std::fs::write(folder.path().join("secret"), "1").unwrap();
    for source in [
        "def f(x):\n    return open('/etc/passwd').read()".to_owned(),
        format!("def f(x):\n    return int(open('{here}/secret').read())"),
        format!("import os\ndef f(x):\n    return len(os.listdir('{here}'))"),
        format!("def f(x):\n    return open('{here}/new', 'w').write('a')"),
        format!("import os\ndef f(x):\n    os.mkdir('{here}/new')\n    return x"),
        format!("import os\ndef f(x):\n    os.symlink('/', '{here}/new')\n    return x"),
        format!("import os\ndef f(x):\n    os.remove('{here}/secret')\n    return x"),
        format!("import os\ndef f(x):\n    os.truncate('{here}/secret', 0)\n    return x"),
        format!("import os\ndef f(x):\n    os.chmod('{here}/secret', 0)\n    return x"),
        format!("import os\ndef f(x):\n    os.utime('{here}/secret', (0, 0))\n    return x"),
        "import os\ndef f(x):\n    os.close(os.open(os.__file__, os.O_TRUNC))\n    return x".into(),
        "import sqlite3\ndef f(x):\n    return 2 + sqlite3.connect('new').total_changes".into(),
    ] {
        fails(
            &source,
            &[
                "PermissionError",
                "unable to open",
                "unsupported",
                "returned 2",
            ],
        );
    }
    let left: Vec<_> = std::fs::read_dir(folder.path()).unwrap().collect();
    assert_eq!(left.len(), 1);
    let secret = std::fs::read_to_string(folder.path().join("secret")).unwrap();
    assert_eq!(secret, "1");
}

#[test]
fn the_network_is_out_of_reach() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    listener.set_nonblocking(true).unwrap();
    let port = listener.local_addr().unwrap().port();
    for source in [
        format!("import socket\ndef f(x):\n    socket.create_connection(('127.0.0.1', {port}))\n    return x"),
        format!("import urllib.request\ndef f(x):\n    urllib.request.urlopen('http://127.0.0.1:{port}')\n    return x"),
        "import socket\ndef f(x):\n    socket.socket(socket.AF_UNIX)\n    return x".to_owned(),
        "import socket\ndef f(x):\n    socket.socket(socket.AF_INET, socket.SOCK_DGRAM)\n    return x".to_owned(),
        "import socket\ndef f(x):\n    socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)\n    return x".to_owned(),
    ] {
        fails(&source, &DENIED);
    }
    assert!(listener.accept().is_err());
}

#[test]
fn there_are_no_other_processes() {
    for source in [
        "import os\ndef f(x):\n    while True:\n        os.fork()",
        "import subprocess\ndef f(x):\n    subprocess.run(['true'])\n    return x",
        "import os\ndef f(x):\n    os.execv('/bin/true', ['true'])",
        "import os, sys\ndef f(x):\n    os.execv(sys.executable, [sys.executable, '-c', ''])",
        "import os\ndef f(x):\n    os.posix_spawn('/bin/true', ['true'], {})\n    return x",
        "import multiprocessing\ndef f(x):\n    return multiprocessing.Pool(2).map(abs, [1])[0]",
        "import os\ndef f(x):\n    os.kill(os.getppid(), 9)\n    return x",
        "import os\ndef f(x):\n    os.kill(os.getpid(), 9)",
    ] {
        fails(source, &DENIED);
    }
    fails(
        "import os\ndef f(x):\n    return os.system('true')",
        &["returned 32512"],
    );
    let threads = "import threading\ndef f(x):\n    threading.Thread(target=print).start()";
    let lacking = outcome(Some("python3"), &program(threads, &[(json!(1), json!(1))]));
    assert!(
        matches!(lacking, ProgramOutcome::Unsupported(_)),
        "{lacking:?}"
    );
}

#[test]
fn calls_that_only_newer_or_other_systems_have_are_denied() {
    // `io_uring_setup`, `clone3`, one that there is not yet, and `socket` by its x32 number.
    let source = "import ctypes\ndef f(x):\n    libc = ctypes.CDLL(None, use_errno=True)\n    \
        called = [(libc.syscall(n, 2, 1, 0), ctypes.get_errno()) for n in \
        (425, 435, 999, 0x40000029)]\n    return int(called == [(-1, 38)] * 4)";
    passes(source);
}

#[test]
fn the_process_has_neither_capabilities_nor_an_environment() {
    // `capget` of x86-64 or of ARM64.
    let source = "import ctypes, os, platform\ndef f(x):\n    libc = ctypes.CDLL(None)\n    \
        header, sets = (ctypes.c_uint32 * 2)(0x20080522, 0), (ctypes.c_uint32 * 6)(*[1] * 6)\n    \
        number = 125 if platform.machine() == 'x86_64' else 90\n    \
        assert libc.syscall(number, header, sets) == 0 and not any(sets), list(sets)\n    \
        assert set(os.environ) <= {'PYTHONHASHSEED', 'LC_CTYPE'}, os.environ\n    return x";
    passes(source);
}

#[test]
fn what_has_to_be_returned_cannot_be_found() {
    let source = "import re, sys\ndef f(x):\n    found, frame = '', sys._getframe()\n    \
        while frame:\n        found += repr((frame.f_locals, frame.f_globals))\n        \
        frame = frame.f_back\n    return re.search('secret-[0-9]+', found)[0]";
    if let Some(results) = run(source, &[(json!("x"), json!("secret-4711"))]) {
        assert!(!results[0].passed, "{results:?}");
    }
}

#[test]
fn every_case_has_a_module_of_its_own() {
    let source = "seen = []\ndef f(x):\n    seen.append(x)\n    return len(seen)";
    let cases = [1, 2, 3].map(|n| (json!(n), json!(1)));
    if let Some(results) = run(source, &cases) {
        assert!(results.iter().all(|r| r.passed), "{results:?}");
    }
}

#[test]
fn a_program_does_the_same_each_time() {
    let source = "def f(x):\n    return list({'a', 'b', 'c', 'd', 'e', 'f', 'g', 'h'}), B().__class__.__name__, A()";
    let run = || run(source, &[(json!(1), json!(1))]);
    assert_eq!(run(), run());
}

#[test]
fn endless_programs_end() {
    let start = Instant::now();
    for source in [
        "def f(x):\n    while True:\n        pass",
        "import time\ndef f(x):\n    time.sleep(1000)",
        "def f(x):\n    return 10 ** 10 ** 9",
    ] {
        fails(source, &["time limit", "did not return", "processor time"]);
    }
    assert!(start.elapsed() < Duration::from_secs(60));
}

#[test]
fn who_ignores_every_signal_is_killed() {
    let source = "import signal\ndef f(x):\n    signal.signal(signal.SIGALRM, signal.SIG_IGN)\n    \
        signal.signal(signal.SIGXCPU, signal.SIG_IGN)\n    while True:\n        pass";
    let limits = SandboxLimits {
        wall_time: Duration::from_secs(5),
        ..SandboxLimits::default()
    };
    let program = program(source, &[(json!(1), json!(1))]);
    if let Some(results) = ran(within(limits, Some("python3"), &program)) {
        let killed = "f(1) did not return within 5 s (CPython)";
        assert_eq!(results[0].detail, killed);
    }
}

#[test]
fn a_case_out_of_time_leaves_the_others_their_turn() {
    let source = "def f(x):\n    while x == 1:\n        pass\n    return x";
    let cases = [0, 1, 2].map(|n| (json!(n), json!(n)));
    if let Some(results) = run(source, &cases) {
        let passed: Vec<bool> = results.iter().map(|r| r.passed).collect();
        assert_eq!(passed, [true, false, true], "{results:?}");
    }
}

#[test]
fn memory_is_limited() {
    for source in [
        "def f(x):\n    return len('a' * 10**10)",
        "def f(x):\n    kept = []\n    while True:\n        kept.append(bytes(10**7))",
        "def f(x):\n    kept = []\n    while True:\n        kept = [kept, list(range(10**5))]",
    ] {
        fails(
            source,
            &["MemoryError", "time limit", "ended the interpreter"],
        );
    }
    fails("def f(x):\n    return f(x + 1)", &["RecursionError"]);
}

#[test]
fn a_flood_of_output_goes_nowhere() {
    let flood = "import sys\ndef f(x):\n    for i in range(2000):\n        print('a' * 10000)\n        \
        print('a' * 10000, file=sys.stderr)\n    return x";
    passes(flood);
}

#[test]
fn ending_the_process_is_a_failed_case() {
    fails("import sys\ndef f(x):\n    sys.exit(0)", &["SystemExit"]);
    for source in [
        "import os\ndef f(x):\n    os._exit(0)",
        "import os\ndef f(x):\n    os.abort()",
        "import os\ndef f(x):\n    os.closerange(0, 50)\n    return x",
        "import ctypes\ndef f(x):\n    ctypes.string_at(0)",
    ] {
        fails(source, &["f(1) ended the interpreter ("]);
    }
}

#[test]
fn an_exception_is_told_with_its_line() {
    fails(
        "def f(x):\n    raise ValueError('bad')",
        &["f(1) raised ValueError: bad, in `raise ValueError('bad')` (CPython)"],
    );
}
