//! Commands that are asked to end, or are killed: what they started ends with them.

use std::process::Child;
use std::time::{Duration, Instant};

use crate::project::{Project, Said};
use crate::resume::has_line;

const INTERRUPTED: &str =
    "error: interrupted; what was finished is kept, and the same command goes on from there\n";

/// Far less than the time that programs of answers are given.
const SOON: Duration = Duration::from_secs(5);

/// Golden answers that CPython runs without an end.
const LOOPS: &str = r#"[suite]
name = "loops"
goal = "keep"
[[probe]]
id = "loop"
prompts = ["Write f."]
[[probe.check]]
type = "code"
entry = "f"
cases = [{ args = [1], returns = 1 }, { args = [2], returns = 2 }, { args = [3], returns = 3 }]
[[probe.golden]]
answer = "class A:\n    pass\n\nclass B(A):\n    pass\n\ndef f(x):\n    while True:\n        try:\n            while True:\n                pass\n        except BaseException:\n            pass"
expect = "fail"
"#;

fn signal(child: &Child, signal: i32) {
    let id = libc::pid_t::try_from(child.id()).unwrap();
    // SAFETY: a signal to a child of ours, which has not been waited for.
    assert_eq!(unsafe { libc::kill(id, signal) }, 0);
}

fn wait_until(what: &str, mut reached: impl FnMut() -> bool) {
    let started = Instant::now();
    while !reached() {
        assert!(started.elapsed() < Duration::from_secs(60), "never {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// Sends a signal to a command that got somewhere, and tells how long it took to end.
fn ended_by(
    project: &Project,
    command: &str,
    number: i32,
    reached: impl Fn(&Child) -> bool,
) -> (Said, Duration) {
    let child = project.start(command);
    wait_until(command, || reached(&child));
    signal(&child, number);
    let sent = Instant::now();
    let said = project.wait(child);
    (said, sent.elapsed())
}

/// Processes that `parent` started and that run.
#[cfg(target_os = "linux")]
fn children(parent: u32) -> Vec<u32> {
    let running = std::fs::read_dir("/proc").unwrap().filter_map(|entry| {
        let id: u32 = entry.ok()?.file_name().to_str()?.parse().ok()?;
        let stat = std::fs::read_to_string(format!("/proc/{id}/stat")).ok()?;
        // Behind the name in parentheses: state, parent.
        let (_, rest) = stat.rsplit_once(") ")?;
        let mut fields = rest.split(' ');
        let state = fields.next()?;
        let of = fields.next()?.parse::<u32>().ok()?;
        (of == parent && state != "Z").then_some(id)
    });
    running.collect()
}

/// Whether a process runs what answers' code is run by in CPython.
#[cfg(target_os = "linux")]
fn is_cpython(id: u32) -> bool {
    std::fs::read(format!("/proc/{id}/cmdline")).is_ok_and(|text| {
        String::from_utf8_lossy(&text).contains("Calls one function on each case")
    })
}

/// Whether a process is still there; one that only waits to be reaped is not.
#[cfg(target_os = "linux")]
fn runs(id: u32) -> bool {
    std::fs::read_to_string(format!("/proc/{id}/stat"))
        .ok()
        .and_then(|stat| Some(!stat.rsplit_once(") ")?.1.starts_with('Z')))
        .unwrap_or(false)
}

/// A project whose golden answers loop in CPython; `None` where nothing can be locked down.
#[cfg(target_os = "linux")]
fn looping() -> Option<(Project, Child, u32)> {
    let project = Project::empty();
    project.copy("models/fixture", "model");
    project.write(
        "qeval.toml",
        "[model]\npath = \"model\"\n[checks]\npython = \"python3\"\n",
    );
    project.write("loops.toml", LOOPS);
    let mut child = project.start("suite check --suite loops.toml");
    let started = Instant::now();
    loop {
        if let Some(id) = children(child.id()).into_iter().find(|id| is_cpython(*id)) {
            return Some((project, child, id));
        }
        if child.try_wait().unwrap().is_some() {
            let said = project.wait(child);
            println!("skipped, CPython ran nothing: {}", said.stdout);
            return None;
        }
        assert!(started.elapsed() < Duration::from_secs(60));
        std::thread::sleep(Duration::from_millis(2));
    }
}

#[cfg(target_os = "linux")]
#[test]
fn python_of_an_answer_dies_with_a_killed_parent() {
    let Some((_project, mut child, python)) = looping() else {
        return;
    };
    child.kill().unwrap();
    child.wait().unwrap();
    let killed = Instant::now();
    wait_until("ended", || !runs(python));
    assert!(killed.elapsed() < SOON, "{:?}", killed.elapsed());
}

#[cfg(target_os = "linux")]
#[test]
fn suite_check_obeys_the_first_interrupt_while_answers_run() {
    let Some((project, child, python)) = looping() else {
        return;
    };
    signal(&child, libc::SIGINT);
    let sent = Instant::now();
    let said = project.wait(child);
    assert!(sent.elapsed() < SOON, "{:?}", sent.elapsed());
    assert!(said.refusal().ends_with(INTERRUPTED));
    wait_until("ended", || !runs(python));
}

/// A request to end and a terminal that closes are as good as Ctrl-C.
#[test]
fn a_request_to_end_keeps_what_was_finished() {
    for number in [libc::SIGTERM, libc::SIGHUP] {
        let project = Project::with_model();
        // Enough to do that a loaded machine cannot be done before the signal comes.
        let scaled = |scale| format!("adapters/good@0.{scale} adapters/harmful@0.{scale}");
        let scaled: Vec<String> = (1..=6).map(scaled).collect();
        let everybody = format!("run base adapters/noop {}", scaled.join(" "));
        let command = format!("{everybody} --slots 1 --threads 1");
        let answers = "runs/run-0001/answers/base.jsonl";
        let (said, _) = ended_by(&project, &command, number, |_| {
            has_line(&project, answers, "answered")
        });
        assert!(said.refusal().ends_with(INTERRUPTED), "{number}");
        let recorded = || {
            let files = project.files("runs/run-0001/answers").into_values();
            files.map(|bytes| bytes.len()).sum::<usize>()
        };
        let finished = recorded();
        project.qeval(&everybody).exits(0);
        assert!(finished > 0 && finished < recorded());
    }
}

/// A judge that accepts and never answers is not waited for.
#[test]
fn a_silent_judge_does_not_keep_an_interrupt_waiting() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let (tell, told) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        let mut open = Vec::new();
        for stream in listener.incoming() {
            open.push(stream.unwrap());
            if tell.send(()).is_err() {
                return;
            }
        }
    });
    let project = Project::empty();
    project.copy("models/fixture", "model");
    project.write(
        "qeval.toml",
        format!("[model]\npath = \"model\"\n[checks]\njudge = \"http://{address}/v1#m\"\n"),
    );
    project.write(
        "polite.toml",
        "[suite]\nname = \"polite\"\ngoal = \"keep\"\n[generation]\nmax_new_tokens = 8\n[[probe]]\nid = \"no\"\nprompts = [\"Say no.\"]\n\
         [[probe.check]]\ntype = \"llm-rubric\"\nvalue = \"It is polite.\"\n",
    );
    let command = "run base --suite polite.toml";
    let asked = |_: &Child| told.recv_timeout(Duration::from_secs(30)).is_ok();
    let (said, took) = ended_by(&project, command, libc::SIGINT, asked);
    assert!(took < SOON, "{took:?}");
    assert!(said.refusal().ends_with(INTERRUPTED));
}
