//! Child processes for the programs of answers: one process a program, several at once, beside
//! decoding. Each is this program's own executable in its worker mode, see
//! [`crate::check::run_worker_if_asked`], and is killed when its time is up or nobody waits for it
//! any more.
//!
//! Who is to blame when a worker does not finish: out of time or out of memory is the answer's
//! doing, a failed case. Any other death (a crash of the interpreter, a kill from outside, an
//! executable that does not start) says nothing of the answer: broken, unscored.
//!
//! A program for which the embedded interpreter lacks something is run again, by a CPython that is
//! locked down, where one is configured.

use std::collections::HashMap;
use std::path::PathBuf;
use std::process::{ExitStatus, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt};
use tokio::process::Command;
use tokio::sync::{OnceCell, Semaphore};

use crate::check::{
    ALL_CASES_SECONDS, CaseResult, PARENT_VARIABLE, PYTHON_VARIABLE, Program, ProgramOutcome,
    WORKER_CODE, WORKER_MEMORY_MIB, WORKER_PYTHON, WORKER_VARIABLE, python_outcome,
};
use crate::text::ellipsize;

/// Variables a worker keeps: without them an executable may not find its libraries. The
/// interpreter itself sees no environment at all.
const KEPT: [&str; 5] = [
    "LD_LIBRARY_PATH",
    "DYLD_LIBRARY_PATH",
    "DYLD_FALLBACK_LIBRARY_PATH",
    "PATH",
    "SystemRoot",
];

/// Most of a worker's last words that is kept, in bytes.
const LAST_WORDS: u64 = 8 << 10;

/// What a worker may use, beyond the limits that it sets itself.
#[derive(Debug, Clone, PartialEq)]
pub struct SandboxLimits {
    /// Workers at once; at least 1. Default: the number of cores.
    pub at_once: usize,
    /// Time from start to end of one worker. Default: what a worker allows all cases, and 5 s to
    /// start on a busy machine.
    pub wall_time: Duration,
    /// Bytes on its standard output. Default: 1 MiB. What a program prints does not get there.
    pub output_bytes: u64,
}

impl Default for SandboxLimits {
    fn default() -> Self {
        SandboxLimits {
            at_once: std::thread::available_parallelism().map_or(1, usize::from),
            wall_time: Duration::from_secs(ALL_CASES_SECONDS + 5),
            output_bytes: 1 << 20,
        }
    }
}

type Known = HashMap<String, Arc<OnceCell<ProgramOutcome>>>;

/// Runs programs in child processes and remembers what they did.
#[derive(Debug)]
pub struct Sandbox {
    executable: PathBuf,
    python: Option<String>,
    limits: SandboxLimits,
    permits: Semaphore,
    known: Mutex<Known>,
}

/// Who runs a program.
#[derive(Debug, Clone, Copy)]
enum Interpreter<'a> {
    Embedded,
    /// The CPython of this command.
    Python(&'a str),
}

impl Interpreter<'_> {
    /// What a worker's line says after so many results; `None`: it is no line of a worker.
    fn outcome(self, program: &Program, results: usize, line: &[u8]) -> Option<ProgramOutcome> {
        match self {
            Interpreter::Embedded => serde_json::from_slice(line).ok(),
            Interpreter::Python(_) => python_outcome(program, results, line),
        }
    }
}

/// How a worker ended.
#[derive(Debug)]
enum End {
    Exited(ExitStatus),
    OutOfTime,
    Flooded,
}

impl Sandbox {
    /// A sandbox whose workers are `executable`, a program that calls
    /// [`crate::check::run_worker_if_asked`] first.
    pub fn new(executable: PathBuf, limits: SandboxLimits) -> Self {
        let permits = Semaphore::new(limits.at_once.max(1));
        Sandbox {
            executable,
            python: None,
            limits,
            permits,
            known: Mutex::default(),
        }
    }

    /// The same, with a command that starts CPython, for what the embedded interpreter lacks.
    #[must_use]
    pub fn with_python(self, python: Option<String>) -> Self {
        Sandbox { python, ..self }
    }

    /// Runs a program, or returns what the same program did before. Waits while enough other
    /// workers run. Dropping the future ends the worker.
    pub async fn run(&self, program: &Program) -> ProgramOutcome {
        let Ok(request) = serde_json::to_string(program) else {
            return ProgramOutcome::Broken("the program cannot be written as JSON".into());
        };
        let cell = {
            let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
            Arc::clone(known.entry(request.clone()).or_default())
        };
        // What is broken may work the next time; it is not remembered.
        let outcome = cell.get_or_try_init(|| async {
            let _permit = self.permits.acquire().await;
            match self.interpret(program, &request).await {
                ProgramOutcome::Broken(how) => Err(how),
                outcome => Ok(outcome),
            }
        });
        match outcome.await {
            Ok(outcome) => outcome.clone(),
            Err(how) => ProgramOutcome::Broken(how),
        }
    }

    /// Runs a program in the embedded interpreter, and in CPython if that one lacks something.
    async fn interpret(&self, program: &Program, request: &str) -> ProgramOutcome {
        let outcome = self.spawn(program, request, Interpreter::Embedded).await;
        let (ProgramOutcome::Unsupported(lacking), Some(python)) = (&outcome, &self.python) else {
            return outcome;
        };
        let python = Interpreter::Python(python);
        match self.spawn(program, request, python).await {
            ProgramOutcome::Ran(mut results) => {
                for result in &mut results {
                    result.detail.push_str(" (CPython)");
                }
                ProgramOutcome::Ran(results)
            }
            ProgramOutcome::Unsupported(why) => {
                ProgramOutcome::Unsupported(format!("{lacking}; CPython: {why}"))
            }
            ProgramOutcome::Broken(how) => {
                ProgramOutcome::Broken(format!("{how} (CPython, for: {lacking})"))
            }
        }
    }

    async fn spawn(
        &self,
        program: &Program,
        request: &str,
        interpreter: Interpreter<'_>,
    ) -> ProgramOutcome {
        let mut command = Command::new(&self.executable);
        command
            .env_clear()
            .envs(
                KEPT.iter()
                    .filter_map(|name| Some((name, std::env::var_os(name)?))),
            )
            .env(PARENT_VARIABLE, std::process::id().to_string())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true);
        match interpreter {
            Interpreter::Embedded => command.env(WORKER_VARIABLE, WORKER_CODE),
            Interpreter::Python(python) => command
                .env(WORKER_VARIABLE, WORKER_PYTHON)
                .env(PYTHON_VARIABLE, python),
        };
        // Ctrl-C is for the run, which ends its workers itself.
        #[cfg(unix)]
        command.process_group(0);
        let mut child = match command.spawn() {
            Ok(child) => child,
            Err(error) => {
                let place = self.executable.display();
                return ProgramOutcome::Broken(format!("{place} did not start: {error}"));
            }
        };
        let (input, output, errors) =
            (child.stdin.take(), child.stdout.take(), child.stderr.take());
        let (mut told, mut last_words) = (Vec::new(), Vec::new());
        let talk = async {
            let write = async {
                if let Some(mut input) = input {
                    // A worker that died says so by its status.
                    let _ = input.write_all(request.as_bytes()).await;
                }
            };
            let most = self.limits.output_bytes;
            tokio::join!(
                write,
                read(output, &mut told, most.saturating_add(1)),
                read(errors, &mut last_words, LAST_WORDS)
            );
        };
        let end = tokio::time::timeout(self.limits.wall_time, async {
            talk.await;
            child.wait().await
        });
        let end = match end.await {
            Ok(Ok(status)) => End::Exited(status),
            Ok(Err(error)) => {
                return ProgramOutcome::Broken(format!("the worker was lost: {error}"));
            }
            Err(_) => {
                // Reaped here, so that a long run does not collect dead processes.
                let _ = child.kill().await;
                End::OutOfTime
            }
        };
        let end = if told.len() as u64 > self.limits.output_bytes {
            End::Flooded
        } else {
            end
        };
        let wall_time = self.limits.wall_time;
        judge(program, interpreter, &told, &last_words, &end, wall_time)
    }
}

/// Reads up to `most` bytes and then closes the pipe, so that a flood ends its writer.
async fn read(pipe: Option<impl AsyncRead + Unpin>, into: &mut Vec<u8>, most: u64) {
    if let Some(pipe) = pipe {
        // What was read until an error is all there is.
        let _ = pipe.take(most).read_to_end(into).await;
    }
}

/// What a worker's lines and its end say of the program.
fn judge(
    program: &Program,
    interpreter: Interpreter<'_>,
    told: &[u8],
    last_words: &[u8],
    end: &End,
    wall_time: Duration,
) -> ProgramOutcome {
    if let End::Flooded = end {
        return ProgramOutcome::Broken("the worker printed more than it may".into());
    }
    let mut results: Vec<CaseResult> = Vec::new();
    // A line without its end was cut off when the worker died.
    let whole = told
        .split_inclusive(|&b| b == b'\n')
        .filter(|line| line.ends_with(b"\n"));
    for line in whole {
        match interpreter.outcome(program, results.len(), line) {
            Some(ProgramOutcome::Ran(more)) => results.extend(more),
            Some(outcome) => return outcome,
            None => {
                let line = ellipsize(String::from_utf8_lossy(line).trim(), 80);
                return ProgramOutcome::Broken(format!("the worker printed `{line}`"));
            }
        }
    }
    if results.len() == program.cases.len() {
        return ProgramOutcome::Ran(results);
    }
    let last_words = String::from_utf8_lossy(last_words);
    // CPython says when it starts: what its process does from then on is the program's doing. The
    // embedded interpreter lets no program end it.
    let python = matches!(interpreter, Interpreter::Python(_));
    let started = !told.is_empty();
    let cause = match end {
        End::OutOfTime if python && !started => {
            return ProgramOutcome::Broken("Python did not start in time".into());
        }
        End::OutOfTime => format!("did not return within {} s", wall_time.as_secs_f32()),
        End::Exited(status) if ran_out_of_time(status) => "used up its processor time".to_owned(),
        End::Exited(_) if last_words.contains("memory allocation of") => {
            format!("ran out of memory ({WORKER_MEMORY_MIB} MiB)")
        }
        End::Exited(status) if python && started && !was_killed(status) => {
            format!("ended the interpreter ({status})")
        }
        End::Exited(status) => {
            let words = last_words
                .lines()
                .rfind(|l| !l.trim().is_empty())
                .unwrap_or_default();
            let words = ellipsize(words.trim(), 160);
            let case = results.len() + 1;
            return ProgramOutcome::Broken(format!(
                "the worker died in case {case} ({status}) {words}"
            ));
        }
        End::Flooded => "printed too much".to_owned(),
    };
    let died_in = results.len();
    for (i, case) in program.cases.iter().enumerate().skip(died_in) {
        let args: Vec<String> = case.args.iter().map(ToString::to_string).collect();
        let call = format!("{}({})", program.entry, ellipsize(&args.join(", "), 120));
        let what = if i == died_in {
            cause.as_str()
        } else {
            "was not run after that"
        };
        results.push(CaseResult {
            passed: false,
            detail: format!("{call} {what}"),
        });
    }
    ProgramOutcome::Ran(results)
}

#[cfg(unix)]
fn ran_out_of_time(status: &ExitStatus) -> bool {
    use std::os::unix::process::ExitStatusExt;
    status.signal() == Some(libc::SIGXCPU)
}

/// From outside: the worker's own limits send other signals, and a program may send none.
#[cfg(unix)]
fn was_killed(status: &ExitStatus) -> bool {
    use std::os::unix::process::ExitStatusExt;
    status.signal() == Some(libc::SIGKILL)
}

#[cfg(not(unix))]
fn ran_out_of_time(_status: &ExitStatus) -> bool {
    false
}

#[cfg(not(unix))]
fn was_killed(_status: &ExitStatus) -> bool {
    false
}

#[cfg(test)]
#[cfg(unix)]
mod tests {
    use std::os::unix::fs::PermissionsExt;
    use std::os::unix::process::ExitStatusExt;

    use serde_json::json;

    use super::*;
    use crate::check::ProgramCase;

    const PASSED: &str = r#"{"ran":[{"passed":true,"detail":"f(1) returned 1"}]}"#;

    fn program(cases: i64) -> Program {
        let case = |n: i64| ProgramCase {
            args: vec![json!(n)],
            returns: json!(n),
        };
        let cases = (1..=cases).map(case).collect();
        Program {
            source: "def f(x): return x".into(),
            entry: "f".into(),
            cases,
        }
    }

    fn judged(told: &str, last_words: &str, end: End) -> ProgramOutcome {
        let wall_time = Duration::from_millis(1500);
        judge(
            &program(3),
            Interpreter::Embedded,
            told.as_bytes(),
            last_words.as_bytes(),
            &end,
            wall_time,
        )
    }

    fn details(outcome: ProgramOutcome) -> String {
        match outcome {
            ProgramOutcome::Ran(results) => {
                let line = |r: &CaseResult| format!("{} {}", r.passed, r.detail);
                results.iter().map(line).collect::<Vec<_>>().join("\n")
            }
            other => format!("{other:?}"),
        }
    }

    fn signal(number: i32) -> End {
        End::Exited(ExitStatus::from_raw(number))
    }

    #[test]
    fn all_results_are_the_outcome_whatever_the_end() {
        let told = format!("{PASSED}\n{PASSED}\n{PASSED}\n");
        for end in [End::OutOfTime, signal(0), signal(libc::SIGABRT)] {
            assert!(matches!(judged(&told, "", end), ProgramOutcome::Ran(r) if r.len() == 3));
        }
    }

    #[test]
    fn out_of_time_is_a_failed_case() {
        insta::assert_snapshot!(details(judged(&format!("{PASSED}\n"), "", End::OutOfTime)), @r"
        true f(1) returned 1
        false f(2) did not return within 1.5 s
        false f(3) was not run after that
        ");
        assert!(details(judged("", "", signal(libc::SIGXCPU))).contains("processor time"));
    }

    #[test]
    fn out_of_memory_is_a_failed_case() {
        let words = "memory allocation of 1073741824 bytes failed\n";
        insta::assert_snapshot!(details(judged("", words, signal(libc::SIGABRT))), @r"
        false f(1) ran out of memory (768 MiB)
        false f(2) was not run after that
        false f(3) was not run after that
        ");
    }

    #[test]
    fn any_other_death_is_broken_not_failed() {
        let words = "\nthread 'x' has overflowed its stack\n\n";
        let ends = [
            ("", words, signal(libc::SIGABRT)),
            (PASSED, "", signal(libc::SIGKILL)),
            ("", "", signal(0)),
            ("", "", End::Flooded),
            ("hello\n", "", signal(0)),
            (
                "{\"broken\":\"the interpreter panicked\"}\n",
                "",
                signal(256),
            ),
        ];
        for (told, words, end) in ends {
            let shown = format!("{end:?}");
            assert!(
                matches!(judged(told, words, end), ProgramOutcome::Broken(_)),
                "{shown}"
            );
        }
        insta::assert_snapshot!(
            details(judged(&format!("{PASSED}\n"), words, signal(libc::SIGABRT))),
            @r#"Broken("the worker died in case 2 (signal: 6 (SIGABRT)) thread 'x' has overflowed its stack")"#
        );
    }

    #[test]
    fn unsupported_stands_for_the_whole() {
        let told = format!("{PASSED}\n{{\"unsupported\":\"yield\"}}\n");
        assert_eq!(
            judged(&told, "", signal(0)),
            ProgramOutcome::Unsupported("yield".into())
        );
    }

    /// A shell script in place of the worker: what a worker may do wrong, and what it is given.
    fn scripted(script: &str, limits: SandboxLimits) -> (tempfile::TempDir, Sandbox) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("worker");
        std::fs::write(
            &path,
            format!("#!/bin/sh\ncd '{}'\n{script}", folder.path().display()),
        )
        .unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
        (folder, Sandbox::new(path, limits))
    }

    fn block_on<T>(future: impl Future<Output = T>) -> T {
        tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .enable_all()
            .build()
            .unwrap()
            .block_on(future)
    }

    #[test]
    fn an_executable_that_does_not_start_is_broken() {
        let sandbox = Sandbox::new("/nowhere/qeval".into(), SandboxLimits::default());
        let outcome = block_on(sandbox.run(&program(1)));
        let ProgramOutcome::Broken(how) = outcome else {
            panic!("{outcome:?}")
        };
        assert!(how.starts_with("/nowhere/qeval did not start: "), "{how}");
    }

    #[test]
    fn the_worker_gets_the_program_and_no_environment() {
        let script = format!("cat > request\nenv > seen\necho '{PASSED}'\n");
        let (folder, sandbox) = scripted(&script, SandboxLimits::default());
        let outcome = block_on(sandbox.run(&program(1)));
        assert!(matches!(outcome, ProgramOutcome::Ran(_)), "{outcome:?}");
        let request = std::fs::read_to_string(folder.path().join("request")).unwrap();
        assert_eq!(
            serde_json::from_str::<Program>(&request).unwrap(),
            program(1)
        );
        let seen = std::fs::read_to_string(folder.path().join("seen")).unwrap();
        assert!(
            seen.contains("QEVAL_WORKER=code") && !seen.contains("CARGO"),
            "{seen}"
        );
    }

    /// A worker that lacks something in its first mode and runs this in its second.
    fn lacking(python: &str) -> (tempfile::TempDir, Sandbox) {
        let script = format!(
            "if [ $QEVAL_WORKER = code ]; then echo '{{\"unsupported\":\"yield\"}}'; exit; fi\n{python}\n"
        );
        scripted(&script, SandboxLimits::default())
    }

    #[test]
    fn cpython_runs_what_the_embedded_interpreter_lacks() {
        let returned = r#"echo '"started"'; echo '{"returned":{"int":"1"}}'"#;
        let outcome = |script: &str| {
            let (_folder, sandbox) = lacking(script);
            details(block_on(
                sandbox.with_python(Some("a".into())).run(&program(2)),
            ))
        };
        let script = format!("[ $QEVAL_WORKER_PYTHON = a ] || exit\n{returned}\nexit 3");
        insta::assert_snapshot!(outcome(&script), @r"
        true f(1) returned 1 (CPython)
        false f(2) ended the interpreter (exit status: 3) (CPython)
        ");
        let refused = r#"echo '{"unsupported":"refused: no Landlock"}'"#;
        insta::assert_snapshot!(
            outcome(refused),
            @r#"Unsupported("yield; CPython: refused: no Landlock")"#
        );
        for broken in ["exit 1", "echo x", &format!("{returned}; kill -9 $$")] {
            let outcome = outcome(broken);
            assert!(
                outcome.starts_with("Broken(") && outcome.contains("for: yield"),
                "{outcome}"
            );
        }
        let (_folder, sandbox) = lacking(returned);
        assert_eq!(
            block_on(sandbox.run(&program(1))),
            ProgramOutcome::Unsupported("yield".into())
        );
    }

    #[test]
    fn a_python_that_does_not_start_in_time_is_broken() {
        let end = End::OutOfTime;
        let judged = |told: &[u8]| {
            let wall_time = Duration::from_millis(1500);
            judge(
                &program(1),
                Interpreter::Python("a"),
                told,
                b"",
                &end,
                wall_time,
            )
        };
        assert!(matches!(judged(b""), ProgramOutcome::Broken(_)));
        assert!(details(judged(b"\"started\"\n")).contains("did not return within 1.5 s"));
    }

    #[test]
    fn a_worker_is_killed_when_its_time_is_up() {
        let limits = SandboxLimits {
            wall_time: Duration::from_millis(300),
            ..SandboxLimits::default()
        };
        let (_folder, sandbox) = scripted(&format!("echo '{PASSED}'\nexec sleep 60\n"), limits);
        let start = std::time::Instant::now();
        let outcome = details(block_on(sandbox.run(&program(2))));
        assert!(start.elapsed() < Duration::from_secs(20));
        assert!(
            outcome.ends_with("false f(2) did not return within 0.3 s"),
            "{outcome}"
        );
    }

    #[test]
    fn a_flood_of_output_is_cut_off() {
        let (_folder, sandbox) = scripted("exec yes\n", SandboxLimits::default());
        assert!(matches!(
            block_on(sandbox.run(&program(1))),
            ProgramOutcome::Broken(_)
        ));
    }

    #[test]
    fn the_same_program_runs_once_unless_it_broke() {
        let script = format!("echo x >> count\nsleep 0.1\necho '{PASSED}'\n");
        let (folder, sandbox) = scripted(&script, SandboxLimits::default());
        let one = program(1);
        let outcomes = block_on(async {
            tokio::join!(sandbox.run(&one), sandbox.run(&one), sandbox.run(&one))
        });
        assert_eq!(outcomes.0, outcomes.2);
        block_on(sandbox.run(&one));
        let count = |folder: &tempfile::TempDir| {
            std::fs::read_to_string(folder.path().join("count"))
                .unwrap()
                .lines()
                .count()
        };
        assert_eq!(count(&folder), 1);

        let (folder, sandbox) = scripted("echo x >> count\nexit 1\n", SandboxLimits::default());
        for _ in 0..2 {
            assert!(matches!(
                block_on(sandbox.run(&one)),
                ProgramOutcome::Broken(_)
            ));
        }
        assert_eq!(count(&folder), 2);
    }

    #[test]
    fn no_more_workers_at_once_than_allowed() {
        // Each worker notes how many others it finds; noting and leaving are not atomic together,
        // so that only one at a time gives a count that cannot be wrong.
        let script =
            format!("mkdir busy || echo x >> clash\nsleep 0.05\nrmdir busy\necho '{PASSED}'\n");
        let limits = SandboxLimits {
            at_once: 1,
            ..SandboxLimits::default()
        };
        let (folder, sandbox) = scripted(&script, limits);
        let programs: Vec<Program> = (0..4)
            .map(|i| Program {
                source: format!("def f(x): return x # {i}"),
                ..program(1)
            })
            .collect();
        block_on(async {
            let (a, b, c, d) = tokio::join!(
                sandbox.run(&programs[0]),
                sandbox.run(&programs[1]),
                sandbox.run(&programs[2]),
                sandbox.run(&programs[3])
            );
            assert!(
                [a, b, c, d]
                    .iter()
                    .all(|o| matches!(o, ProgramOutcome::Ran(_)))
            );
        });
        assert!(!folder.path().join("clash").exists());
    }
}
