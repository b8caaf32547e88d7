//! `qeval watch` beside real trainers of the fixture model, with the guide's callbacks: the stop that
//! fires, each checkpoint's verdict, and nothing of theirs touched.

use std::path::Path;
use std::process::Command;
use std::time::Instant;

use serde_json::Value;

use crate::program::{Program, beside, named};
use crate::project::{Project, Said};

/// Steps of a run, far beyond those after which it is asked to stop.
const STEPS: usize = 200;
/// Steps from one checkpoint to the next.
const SAVE_STEPS: usize = 4;
/// Seconds that a step takes: the fixture model takes milliseconds, a real one leaves time to judge.
const PAUSE: &str = "0.25";
/// A callback that takes them.
const SLOW: &str = r"
import time

class Slow(TrainerCallback):
    def on_step_end(self, args, state, control, **kwargs):
        time.sleep(0.25)
";

/// The fixture model, data that spoil it, and suites. The trainers write to `run`, and look at
/// `output/stop` as the guide says.
fn project() -> Project {
    let project = Project::empty();
    project.copy("models/fixture", "fixture");
    project.copy("suites", "suites");
    std::fs::create_dir(project.path("data")).unwrap();
    project.copy("careless.jsonl", "data/careless.jsonl");
    project.write(
        "qeval.toml",
        "[gate]\nmargin = 0.10\nsuites = [\"suites\"]\nnoise_floor = false\n",
    );
    std::fs::create_dir(project.path("output")).unwrap();
    std::fs::create_dir(project.path("run")).unwrap();
    project
}

/// The guide's Python: the callback, LLaMA-Factory's program, ms-swift's registration.
fn shown() -> [String; 3] {
    let guide = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/guide/trainers.md");
    let guide = std::fs::read_to_string(guide).unwrap();
    let blocks = guide.split("```python\n").skip(1);
    let blocks: Vec<String> = blocks
        .map(|block| block.split("```").next().unwrap().to_owned())
        .collect();
    blocks.try_into().unwrap()
}

fn events(said: &Said, key: &str) -> Vec<Value> {
    let lines = said.stdout.lines();
    let all = lines.map(|line| {
        serde_json::from_str::<Value>(line).unwrap_or_else(|error| panic!("{error}: {line}"))
    });
    all.filter_map(|event| event.get(key).cloned()).collect()
}

/// Checkpoints with their verdicts, in the order in which they were judged.
fn judged(said: &Said) -> Vec<(String, String)> {
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let each = events(said, "judged");
    each.iter()
        .map(|j| (text(&j["checkpoint"]), text(&j["verdict"]["decision"])))
        .collect()
}

/// Steps of the checkpoints below a folder, in order.
fn saved(project: &Project, run: &str) -> Vec<usize> {
    let files = project.files(run);
    let steps = files.keys().filter_map(|file| {
        let (_, rest) = file.split_once("checkpoint-")?;
        rest.strip_suffix("/trainer_state.json")?.parse().ok()
    });
    let mut steps: Vec<usize> = steps.collect();
    steps.sort_unstable();
    steps
}

/// A trainer from its beginning to its end, with a watcher that began before it and asks it to stop.
/// `why` is why the watcher ends; `model` stands where the base is not what the trainer says.
fn watched(project: &Project, trainer: &mut Command, why: &str, model: &str) {
    let command = format!(
        "watch run --poll 0.2 --format json --stop-file output/stop --keep-best best{model}"
    );
    let watch = project.start(&command);
    let mut trainer = Program::start(
        trainer.current_dir(project.path("")),
        project.path("trainer.log"),
    );
    let begun = Instant::now();
    assert!(trainer.wait().success(), "{}", trainer.said());
    let trained = begun.elapsed();
    let left = project.files("run");
    let said = project.wait(watch);
    let waited = begun.elapsed() - trained;
    // The last is as bad as those that stopped it.
    let said = said.exits(1);
    let steps = saved(project, "run");
    let all = judged(&said);
    println!("trained in {trained:.1?}, watched {waited:.1?} longer: {all:?}");
    for notice in said.stderr.lines().filter(|line| line.starts_with("run")) {
        println!("{notice}");
    }
    assert_eq!(all.len(), steps.len(), "{steps:?}");
    for ((name, _), step) in all.iter().zip(&steps) {
        assert!(name.ends_with(&format!("checkpoint-{step}")), "{name}");
    }
    assert!(*steps.last().unwrap() < STEPS, "it was not stopped");
    assert_eq!(all.last().unwrap().1, "regression");
    let stopped = events(&said, "stopped");
    let reason = stopped[0]["reason"].as_str().unwrap();
    assert!(reason.ends_with("are regressions"), "{reason}");
    assert_eq!(events(&said, "ended")[0]["why"], why);
    assert_eq!(
        project.files("run"),
        left,
        "something of the trainer's changed"
    );
    // Anew, all in one look: the same verdicts, and still nothing is changed.
    let again = project.qeval(&format!(
        "watch run --once --format json --runs anew{model}"
    ));
    assert_eq!(judged(&again), all);
    assert_eq!(
        project.files("run"),
        left,
        "something of the trainer's changed"
    );
}

fn reference(python: &Path) -> Command {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/reference/watch_trainer.py");
    let mut command = Command::new(python);
    command.arg(script).arg("run");
    command
}

/// The model that `watch_trainer.py` trains.
fn trained_model() -> String {
    let model = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/models/fixture");
    format!(" --trust-base --model {}", model.display())
}

pub fn the_guides_callback_stops_a_trainer() {
    let mut trainer = reference(&named("QEVAL_PEERS_PYTHON"));
    trainer.args(["--steps", &STEPS.to_string(), "--pause", PAUSE]);
    watched(&project(), &mut trainer, "stopped", &trained_model());
}

pub fn the_guides_callback_stops_trl() {
    let mut trainer = reference(&named("QEVAL_PEERS_PYTHON"));
    trainer.args(["--trl", "--steps", &STEPS.to_string(), "--pause", PAUSE]);
    watched(&project(), &mut trainer, "stopped", &trained_model());
}

pub fn a_stop_file_that_is_there_stops_a_trainer_at_its_first_save() {
    let project = project();
    project.write("output/stop", "of an earlier run\n");
    let mut trainer = reference(&named("QEVAL_PEERS_PYTHON"));
    trainer
        .args(["--steps", "8", "--pause", "0"])
        .current_dir(project.path(""));
    let mut trainer = Program::start(&mut trainer, project.path("trainer.log"));
    assert!(trainer.wait().success(), "{}", trainer.said());
    assert!(
        trainer.said().contains("ended at step 4 of 8"),
        "{}",
        trainer.said()
    );
    let said = project.qeval(&format!(
        "watch run --poll 0.2 --format json --stop-file output/stop{}",
        trained_model()
    ));
    assert_eq!(judged(&said)[0].0, "checkpoint-4");
    assert_eq!(events(&said, "ended")[0]["why"], "stopped");
}

pub fn the_guides_callback_stops_ms_swift() {
    let project = project();
    let [callback, _, registration] = shown();
    let own = "from swift.callbacks import TrainerCallback";
    let callback = callback.replace("from transformers import TrainerCallback", own);
    assert!(callback.contains(own));
    let slow = format!("{SLOW}\ncallbacks_map[\"slow\"] = Slow\n");
    project.write("stop_file.py", callback + &registration + &slow);
    let python = named("QEVAL_SWIFT_PYTHON");
    let mut trainer = Command::new(beside(&python, "swift"));
    let steps = STEPS.to_string();
    let saves = SAVE_STEPS.to_string();
    trainer
        .args(["sft", "--model"])
        .arg(project.path("fixture"))
        .args(["--model_type", "llama", "--template", "chatml"])
        .args(["--dataset", "data/careless.jsonl", "--output_dir", "run"])
        .args(["--tuner_type", "lora", "--target_modules", "all-linear"])
        .args([
            "--lora_rank",
            "8",
            "--lora_alpha",
            "16",
            "--torch_dtype",
            "float32",
        ])
        .args([
            "--max_steps",
            &steps,
            "--save_steps",
            &saves,
            "--logging_steps",
            "1",
        ])
        .args(["--learning_rate", "1e-2", "--lr_scheduler_type", "constant"])
        .args([
            "--per_device_train_batch_size",
            "1",
            "--gradient_accumulation_steps",
            "1",
        ])
        .args(["--dataset_num_proc", "1", "--dataloader_num_workers", "0"])
        .args(["--eval_strategy", "no", "--report_to", "none"])
        .args([
            "--external_plugins",
            "stop_file.py",
            "--callbacks",
            "stop_file",
            "slow",
        ]);
    watched(&project, &mut trainer, "finished", "");
}

pub fn the_guides_callback_stops_llama_factory() {
    let project = project();
    let [callback, program, _] = shown();
    let both = "callbacks=[StopFile(), Slow()]";
    let program = program.replace("callbacks=[StopFile()]", both);
    assert!(program.contains(both));
    project.write("train.py", callback + SLOW + &program);
    project.write(
        "data/dataset_info.json",
        r#"{"careless": {"file_name": "careless.jsonl"}}"#,
    );
    project.write(
        "config.yaml",
        format!(
            "model_name_or_path: {}\nstage: sft\ndo_train: true\nfinetuning_type: lora\n\
             lora_rank: 8\nlora_alpha: 16\nlora_target: all\ndataset: careless\ndataset_dir: data\n\
             template: chatml\ncutoff_len: 256\noutput_dir: run\nlogging_steps: 1\n\
             save_steps: {SAVE_STEPS}\nmax_steps: {STEPS}\nlearning_rate: 0.01\n\
             lr_scheduler_type: constant\nper_device_train_batch_size: 1\n\
             gradient_accumulation_steps: 1\nreport_to: none\nuse_cpu: true\n\
             preprocessing_num_workers: 1\n",
            project.path("fixture").display()
        ),
    );
    let mut trainer = Command::new(named("QEVAL_LLAMAFACTORY_PYTHON"));
    trainer.args(["train.py", "config.yaml"]);
    watched(&project, &mut trainer, "finished", "");
}
