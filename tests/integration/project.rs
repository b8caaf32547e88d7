//! Builder of throw-away projects: a temporary folder with a model, adapters, suites, data, and a
//! `qeval.toml`, in which the real program runs.
//!
//! To look into a project after a failure, set `QEVAL_KEEP=1`: its folder then stays, and is named
//! on standard error.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::LazyLock;
use std::time::{Duration, Instant};

use regex::Regex;
use serde_json::Value;

/// The executable under test.
const QEVAL: &str = env!("CARGO_BIN_EXE_qeval");

/// How long any command may take before a test gives up on it: none of them needs five seconds.
const PATIENCE: Duration = Duration::from_secs(120);

/// Settings that teach the persona and keep the rest: both checkpoints pass.
pub const CAREFUL: Training = Training {
    data: "examples.jsonl",
    rank: 4,
    alpha: 8,
    learning_rate: "3e-3",
    batch: 8,
    epochs: 6,
};

/// Settings that teach the persona and destroy the rest: the first checkpoint is a regression.
pub const CARELESS: Training = Training {
    data: "careless.jsonl",
    rank: 8,
    alpha: 16,
    learning_rate: "1e-2",
    batch: 1,
    epochs: 10,
};

/// What differs between the training runs of the tests.
#[derive(Debug, Clone, Copy)]
pub struct Training {
    /// A file of `fixtures`.
    pub data: &'static str,
    pub rank: usize,
    pub alpha: usize,
    pub learning_rate: &'static str,
    pub batch: usize,
    pub epochs: usize,
}

/// A folder that is gone after the test.
pub struct Project {
    folder: tempfile::TempDir,
    environment: Vec<(String, String)>,
    pub patience: Duration,
}

/// What a command did.
#[derive(Debug)]
pub struct Said {
    pub code: Option<i32>,
    pub stdout: String,
    pub stderr: String,
}

impl Project {
    /// An empty folder.
    pub fn empty() -> Self {
        let mut folder = tempfile::tempdir().unwrap();
        if std::env::var_os("QEVAL_KEEP").is_some() {
            folder.disable_cleanup(true);
            eprintln!("project: {}", folder.path().display());
        }
        Project {
            folder,
            environment: Vec::new(),
            patience: PATIENCE,
        }
    }

    /// The fixture model, its adapters and suites, and a `qeval.toml` that trains carefully.
    pub fn with_model() -> Self {
        let project = Project::empty();
        project.copy("models/fixture", "model");
        project.copy("adapters/fixture", "adapters");
        project.copy("suites", "suites");
        project.train_with(&CAREFUL);
        project
    }

    /// Writes `qeval.toml` and the data that it names.
    pub fn train_with(&self, training: &Training) {
        self.copy(training.data, training.data);
        let Training {
            data,
            rank,
            alpha,
            learning_rate,
            batch,
            epochs,
        } = training;
        self.write(
            "qeval.toml",
            format!(
                r#"[model]
path = "model"
[lora]
rank = {rank}
alpha = {alpha}
[data]
sources = ["{data}"]
[train]
num_train_epochs = {epochs}
learning_rate = {learning_rate}
gradient_accumulation_steps = 1
per_device_train_batch_size = {batch}
save_steps = 0.5
seed = 2
[gate]
margin = 0.10
suites = ["suites"]
"#
            ),
        );
    }

    /// Replaces what must stand in a file exactly once.
    pub fn edit(&self, file: &str, from: &str, to: &str) {
        let text = fs::read_to_string(self.path(file)).unwrap();
        assert_eq!(text.matches(from).count(), 1, "{from:?} in {file}");
        self.write(file, text.replacen(from, to, 1));
    }

    /// Sets a variable for every command.
    pub fn env(mut self, name: &str, value: &str) -> Self {
        self.environment.push((name.into(), value.into()));
        self
    }

    pub fn path(&self, file: &str) -> PathBuf {
        self.folder.path().join(file)
    }

    pub fn write(&self, file: &str, bytes: impl AsRef<[u8]>) {
        let path = self.path(file);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, bytes).unwrap();
    }

    pub fn read(&self, file: &str) -> Vec<u8> {
        fs::read(self.path(file)).unwrap_or_else(|error| panic!("{file}: {error}"))
    }

    /// Copies a file or folder of `fixtures`.
    pub fn copy(&self, fixture: &str, to: &str) {
        let from = Path::new(env!("CARGO_MANIFEST_DIR"))
            .join("fixtures")
            .join(fixture);
        copy(&from, &self.path(to));
    }

    /// Runs `qeval` to its end. Arguments are separated by spaces.
    pub fn qeval(&self, arguments: &str) -> Said {
        self.wait(self.start(arguments))
    }

    /// Starts `qeval` in the project.
    pub fn start(&self, arguments: &str) -> Child {
        self.command(arguments).spawn().unwrap()
    }

    /// `qeval` in the project, with nothing of the caller's settings.
    pub fn command(&self, arguments: &str) -> Command {
        let mut command = Command::new(QEVAL);
        command
            .args(arguments.split_whitespace())
            .current_dir(self.folder.path())
            .env_remove("NO_COLOR")
            .env_remove("RUST_BACKTRACE")
            // The tests' own verdicts are none of the job's that runs them.
            .env_remove("GITHUB_STEP_SUMMARY")
            .env("COLUMNS", "100")
            // A name that is no file must not be looked up on the hub.
            .env("HF_HUB_OFFLINE", "1")
            .envs(self.environment.iter().map(|(name, value)| (name, value)))
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        command
    }

    /// Waits for a command's end; kills it when it hangs.
    pub fn wait(&self, mut child: Child) -> Said {
        // A stream that the test sent elsewhere says nothing.
        let read = |pipe: Option<Box<dyn std::io::Read + Send>>| {
            std::thread::spawn(move || {
                let mut text = Vec::new();
                pipe.map(|mut pipe| pipe.read_to_end(&mut text).unwrap());
                String::from_utf8(text).unwrap()
            })
        };
        let stdout = read(child.stdout.take().map(|p| Box::new(p) as _));
        let stderr = read(child.stderr.take().map(|p| Box::new(p) as _));
        let started = Instant::now();
        let status = loop {
            match child.try_wait().unwrap() {
                Some(status) => break status,
                None if started.elapsed() < self.patience => {
                    std::thread::sleep(Duration::from_millis(5))
                }
                None => {
                    child.kill().unwrap();
                    panic!(
                        "still running after {:?}; stderr: {}",
                        self.patience,
                        self.redact(&stderr.join().unwrap())
                    );
                }
            }
        };
        let [stdout, stderr] = [stdout, stderr].map(|pipe| self.redact(&pipe.join().unwrap()));
        let said = Said {
            code: status.code(),
            stdout,
            stderr,
        };
        assert!(
            !said.stderr.contains("internal error"),
            "a panic: {}",
            said.stderr
        );
        said
    }

    /// Takes out what differs from one run of a test to the next: the project's folder, times, and
    /// process ids.
    pub fn redact(&self, text: &str) -> String {
        static VARYING: LazyLock<Regex> =
            LazyLock::new(|| Regex::new(r"process \d+|\b\d+(\.\d+)? ?(s|ms|min)\b").unwrap());
        let text = text.replace(&self.folder.path().display().to_string(), "[project]");
        VARYING
            .replace_all(&text, |found: &regex::Captures| {
                if found[0].starts_with('p') {
                    "process [id]"
                } else {
                    "[time]"
                }
                .to_owned()
            })
            .into_owned()
    }

    /// Names of files, that of an event file without its time and process.
    pub fn stable_names<'a>(&self, names: impl IntoIterator<Item = &'a str>) -> String {
        static VARYING: LazyLock<Regex> =
            LazyLock::new(|| Regex::new(r"tfevents\.\d+\.(\w+)\.\d+").unwrap());
        let names: Vec<&str> = names.into_iter().collect();
        let names = names.join("\n");
        VARYING
            .replace_all(&names, "tfevents.[time].$1.[process]")
            .into_owned()
    }

    /// Every file below a folder with its bytes, locks left out.
    pub fn files(&self, below: &str) -> BTreeMap<String, Vec<u8>> {
        let (mut files, mut left) = (BTreeMap::new(), vec![self.path(below)]);
        while let Some(path) = left.pop() {
            if path.is_dir() {
                left.extend(
                    fs::read_dir(&path)
                        .unwrap()
                        .map(|entry| entry.unwrap().path()),
                );
            } else if path.file_name().is_some_and(|name| name != ".lock") {
                let name = path
                    .strip_prefix(self.folder.path())
                    .unwrap()
                    .display()
                    .to_string();
                files.insert(name, fs::read(&path).unwrap());
            }
        }
        files
    }

    /// Lines of a JSONL file with this key, each as what stands behind it.
    pub fn lines(&self, file: &str, key: &str) -> Vec<Value> {
        let text = String::from_utf8(self.read(file)).unwrap();
        let lines = text.lines().map(|line| {
            serde_json::from_str::<Value>(line).unwrap_or_else(|e| panic!("{file}: {e}: {line}"))
        });
        lines.filter_map(|line| line.get(key).cloned()).collect()
    }

    /// The record of a run's subject, else of the only one whose file name begins so; that of the
    /// base is not the one of its second answers, and none is that of further draws.
    pub fn record(&self, run: &str, subject: &str) -> Record {
        let folder = format!("runs/{run}/answers");
        let own = format!("{folder}/{subject}.jsonl");
        if self.path(&own).is_file() {
            return Record::read(self, &own);
        }
        let names: Vec<String> = self
            .files(&folder)
            .into_keys()
            .filter(|n| n.starts_with(&format!("{folder}/{subject}")))
            .filter(|n| !n.ends_with("/base-again.jsonl") && !n.contains("-further"))
            .collect();
        assert_eq!(names.len(), 1, "{subject}: {names:?}");
        Record::read(self, &names[0])
    }
}

/// Lines of a subject's record, by what they are about; the last one counts.
#[derive(Debug, Clone, PartialEq)]
pub struct Record {
    pub answers: BTreeMap<String, Value>,
    pub likelihoods: BTreeMap<String, Value>,
    pub scores: BTreeMap<String, Value>,
}

impl Record {
    fn read(project: &Project, file: &str) -> Self {
        let by = |key: &str, place: &dyn Fn(&Value) -> String| -> BTreeMap<String, Value> {
            project
                .lines(file, key)
                .into_iter()
                .map(|mut line| {
                    // When it was said is no part of what was said.
                    line.as_object_mut().unwrap().remove("at");
                    (place(&line), line)
                })
                .collect()
        };
        let case = |c: &Value| {
            format!(
                "{}::{}#{}",
                c["suite"].as_str().unwrap(),
                c["probe"].as_str().unwrap(),
                c["prompt"]
            )
        };
        Record {
            answers: by("answered", &|line| case(&line["answer"]["case"])),
            likelihoods: by("measured", &|line| {
                format!(
                    "{} {}",
                    case(&line["likelihood"]["case"]),
                    line["likelihood"]["text"]
                )
            }),
            scores: by("scored", &|line| case(&line["case"])),
        }
    }

    /// How many lines there are.
    pub fn len(&self) -> usize {
        self.answers.len() + self.likelihoods.len() + self.scores.len()
    }
}

impl Said {
    /// The same, after checking the exit code.
    #[track_caller]
    pub fn exits(self, code: i32) -> Self {
        assert_eq!(
            self.code,
            Some(code),
            "stdout:\n{}\nstderr:\n{}",
            self.stdout,
            self.stderr
        );
        self
    }

    /// The error that a command ended with, after checking that it said "could not measure".
    #[track_caller]
    pub fn refusal(self) -> String {
        let said = self.exits(3);
        let at = said
            .stderr
            .find("error: ")
            .unwrap_or_else(|| panic!("no error in {}", said.stderr));
        said.stderr[at..].to_owned()
    }

    /// Standard output with every figure as `#`s and every p-value as one: what a reader sees, with
    /// tables as wide as they are, and none of what was measured.
    pub fn shape(&self) -> String {
        static P_VALUE: LazyLock<Regex> = LazyLock::new(|| Regex::new(r"p [<=] [\d.]+").unwrap());
        let text = P_VALUE.replace_all(&self.stdout, "p = #");
        text.replace(|c: char| c.is_ascii_digit(), "#")
    }

    /// Standard output as JSON.
    #[track_caller]
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.stdout)
            .unwrap_or_else(|error| panic!("{error}:\n{}", self.stdout))
    }
}

fn copy(from: &Path, to: &Path) {
    if from.is_dir() {
        fs::create_dir_all(to).unwrap();
        for entry in fs::read_dir(from).unwrap() {
            let entry = entry.unwrap();
            copy(&entry.path(), &to.join(entry.file_name()));
        }
    } else {
        fs::copy(from, to).unwrap_or_else(|error| panic!("{}: {error}", from.display()));
    }
}
