//! Runs that are killed or interrupted, at any moment, end as undisturbed ones do.
//!
//! A few moments are tried by default; `QEVAL_KILLS=20` tries that many of each kind.

use std::collections::BTreeMap;
use std::process::Child;
use std::time::{Duration, Instant};

use crate::project::{Project, Record, Said};

const EVALUATION: &str = "run base adapters/good adapters/harmful";
const SUBJECTS: [&str; 3] = ["base", "adapters-good", "adapters-harmful"];

/// Moments to kill at: numbers in [0, 1) from a fixed seed, by the generator of Steele et al.,
/// "Fast splittable pseudorandom number generators" (2014).
struct Moments(u64);

impl Moments {
    fn next(&mut self) -> f64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((z ^ (z >> 31)) >> 11) as f64 / (1u64 << 53) as f64
    }
}

fn kills() -> usize {
    std::env::var("QEVAL_KILLS").map_or(4, |n| n.parse().unwrap())
}

/// Kills a command at random moments of its undisturbed duration and starts it again, until it has
/// been killed as often as wanted; every project that got to its end is compared.
fn kill_and_compare(
    command: &str,
    seed: u64,
    make: impl Fn() -> Project,
    compare: impl Fn(&Project, &Said),
) {
    let undisturbed = make();
    let started = Instant::now();
    undisturbed.qeval(command).exits(0);
    let duration = started.elapsed();
    let (mut moments, mut killed, mut projects) = (Moments(seed), Vec::new(), 0);
    while killed.len() < kills() {
        let project = make();
        loop {
            let moment = duration.mul_f64(moments.next());
            let mut child = project.start(command);
            std::thread::sleep(moment);
            if killed.len() == kills() || child.try_wait().unwrap().is_some() {
                break compare(&project, &project.wait(child));
            }
            child.kill().unwrap();
            child.wait().unwrap();
            killed.push(moment.as_millis());
        }
        projects += 1;
    }
    println!(
        "`{command}` of {} ms was killed after {killed:?} ms, {} times in {projects} projects: every end is the same",
        duration.as_millis(),
        killed.len()
    );
}

fn training_project() -> Project {
    let project = Project::with_model();
    project.edit("qeval.toml", "save_steps = 0.5", "save_steps = 0.25");
    project.edit("qeval.toml", "margin = 0.10", "margin = 0.15");
    project
}

/// What a training run leaves that must not depend on how it got there: the checkpoints with
/// optimizer and adapter, the log of losses and verdicts, and every record.
#[derive(Debug, PartialEq)]
struct TrainingResult {
    files: BTreeMap<String, Vec<u8>>,
    records: Vec<Record>,
}

impl TrainingResult {
    fn of(project: &Project) -> Self {
        let mut files = project.files("runs");
        // An event file tells the time; what TensorBoard makes of several is tested with it.
        let differs = ["/answers/", "/provenance.json", "/events.out.tfevents."];
        files.retain(|name, _| !differs.iter().any(|part| name.contains(part)));
        let steps = [11, 22, 33, 42].map(|step| format!("ckpt-{step}"));
        let subjects = std::iter::once("base").chain(steps.iter().map(String::as_str));
        TrainingResult {
            files,
            records: subjects.map(|s| project.record("run-0001", s)).collect(),
        }
    }

    #[track_caller]
    fn is(&self, other: &TrainingResult) {
        let names = |r: &TrainingResult| r.files.keys().cloned().collect::<Vec<_>>();
        assert_eq!(names(self), names(other));
        for (name, bytes) in &self.files {
            assert!(*bytes == other.files[name], "{name} differs");
        }
        assert!(self.records == other.records, "a record differs");
    }
}

#[test]
fn killed_training_ends_as_undisturbed_training() {
    let undisturbed = training_project();
    let expected = undisturbed.qeval("train").exits(0);
    let result = TrainingResult::of(&undisturbed);
    assert!(
        result
            .files
            .contains_key("runs/run-0001/checkpoint-42/adapter_model.safetensors")
    );
    kill_and_compare("train", 1, training_project, |project, said| {
        assert_eq!((said.code, &said.stdout), (Some(0), &expected.stdout));
        TrainingResult::of(project).is(&result);
    });
}

fn records(project: &Project) -> Vec<Record> {
    SUBJECTS
        .iter()
        .map(|s| project.record("run-0001", s))
        .collect()
}

#[test]
fn killed_evaluation_ends_as_an_undisturbed_one() {
    let undisturbed = Project::with_model();
    let expected = undisturbed.qeval(EVALUATION).exits(0);
    let result = records(&undisturbed);
    kill_and_compare(EVALUATION, 2, Project::with_model, |project, said| {
        assert_eq!((said.code, &said.stdout), (Some(0), &expected.stdout));
        assert!(records(project) == result, "a record differs");
    });
}

/// Sends Ctrl-C to a command once `reached` says so, and returns what it said.
pub fn interrupt(project: &Project, command: &str, reached: impl Fn(&Project) -> bool) -> Said {
    let child = project.start(command);
    let started = Instant::now();
    while !reached(project) {
        assert!(
            started.elapsed() < Duration::from_secs(60),
            "{command} never got there"
        );
        std::thread::sleep(Duration::from_millis(1));
    }
    press_ctrl_c(&child);
    project.wait(child)
}

fn press_ctrl_c(child: &Child) {
    let id = libc::pid_t::try_from(child.id()).unwrap();
    // SAFETY: a signal to a child of ours, which has not been waited for.
    assert_eq!(unsafe { libc::kill(id, libc::SIGINT) }, 0);
}

const INTERRUPTED: &str =
    "error: interrupted; what was finished is kept, and the same command goes on from there\n";

pub fn has_line(project: &Project, file: &str, part: &str) -> bool {
    std::fs::read_to_string(project.path(file))
        .is_ok_and(|text| text.lines().any(|line| line.contains(part)))
}

#[test]
fn interrupted_training_goes_on_where_it_was() {
    let undisturbed = training_project();
    let expected = undisturbed.qeval("train").exits(0);
    let result = TrainingResult::of(&undisturbed);
    // In the middle of steps, and while a checkpoint is asked. Few slots make the latter long
    // enough to be met.
    let moments: [(&str, &str); 2] = [
        ("train.jsonl", "\"step\":15,"),
        ("answers/ckpt-22.jsonl", "answered"),
    ];
    for (file, part) in moments {
        let project = training_project();
        let command = "train --slots 1 --threads 1";
        let said = interrupt(&project, command, |p| {
            has_line(p, &format!("runs/run-0001/{file}"), part)
        });
        assert!(said.refusal().ends_with(INTERRUPTED));
        let said = project.qeval("train").exits(0);
        assert_eq!(said.stdout, expected.stdout);
        TrainingResult::of(&project).is(&result);
    }
}

#[test]
fn interrupted_evaluation_goes_on_where_it_was() {
    let undisturbed = Project::with_model();
    let expected = undisturbed.qeval(EVALUATION).exits(0);
    let result = records(&undisturbed);
    let project = Project::with_model();
    let command = format!("{EVALUATION} --slots 1 --threads 1");
    let said = interrupt(&project, &command, |p| {
        has_line(p, "runs/run-0001/answers/base.jsonl", "answered")
    });
    assert!(said.refusal().ends_with(INTERRUPTED));
    let finished = project.record("run-0001", "base");
    assert!(
        finished.len() > 0 && finished.len() < result[0].len(),
        "{} of {}",
        finished.len(),
        result[0].len()
    );
    let said = project.qeval(EVALUATION).exits(0);
    assert_eq!(said.stdout, expected.stdout);
    assert!(records(&project) == result, "a record differs");
}

#[test]
fn second_process_on_the_same_run_is_refused() {
    let project = training_project();
    let mut first = project.start("train --slots 1 --threads 1");
    while !has_line(&project, "runs/run-0001/train.jsonl", "\"step\":2,") {
        std::thread::sleep(Duration::from_millis(1));
    }
    let refusal = project.qeval("train").refusal();
    first.kill().unwrap();
    first.wait().unwrap();
    insta::assert_snapshot!(refusal, @"
    error: run run-0001 is in use by another qeval process (process [id])
      Wait until it has ended, or choose another folder with --runs. (Its lock is runs/run-0001/.lock.)
    ");
    // The lock ends with its holder.
    project.qeval("train").exits(0);
}
