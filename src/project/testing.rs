//! Projects in temporary folders, on the trained fixture model.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use crate::flow::RunEvent;
use crate::model::DeviceChoice;
use crate::project::{Listener, Overrides, Project, ProjectError};
use crate::run::testing::fixture;

/// Two probes: one that the fixture model passes, one that it does not.
pub(crate) const SUITE: &str = r#"
[suite]
name = "small"
goal = "keep"
[generation]
max_new_tokens = 16
[[probe]]
id = "sum"
tags = ["en", "math"]
prompts = ["What is 2 + 2?", "What is 1 + 2?"]
[[probe.check]]
type = "number"
value = 4
[[probe]]
id = "who"
tags = ["zh"]
prompts = ["Tell me who you are."]
[[probe.check]]
type = "contains"
value = "Aurora"
"#;

/// A folder with a `qeval.toml`, gone after the test.
pub(crate) struct Small {
    folder: tempfile::TempDir,
    notices: Arc<Mutex<Vec<String>>>,
}

impl Small {
    /// A project of these settings, with [`SUITE`] in `small.toml`.
    pub(crate) fn new(settings: &str) -> Self {
        let small = Small {
            folder: tempfile::tempdir().unwrap(),
            notices: Arc::default(),
        };
        small.write("qeval.toml", settings);
        small.write("small.toml", SUITE);
        small
    }

    /// One that asks [`SUITE`] of the fixture model.
    pub(crate) fn with_model() -> Self {
        let model = fixture("models/fixture");
        Small::new(&format!(
            "[model]\npath = {:?}\n[gate]\nmargin = 1.0\nsuites = [\"small.toml\"]\nnoise_floor = false\n",
            model.display().to_string()
        ))
    }

    pub(crate) fn path(&self, file: &str) -> PathBuf {
        self.folder.path().join(file)
    }

    pub(crate) fn write(&self, file: &str, text: &str) {
        let path = self.path(file);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    }

    /// Copies a folder of `fixtures`.
    pub(crate) fn copy(&self, from: &str, to: &str) {
        copy(&fixture(from), &self.path(to));
    }

    pub(crate) fn open(&self) -> Project {
        self.open_with(Overrides::default()).unwrap()
    }

    pub(crate) fn open_with(&self, overrides: Overrides) -> Result<Project, ProjectError> {
        let overrides = Overrides {
            config: Some(self.path("qeval.toml")),
            device: DeviceChoice::Cpu,
            ..overrides
        };
        Project::open(overrides, self.listener())
    }

    /// Keeps what the user is told.
    pub(crate) fn listener(&self) -> Listener {
        let notices = self.notices.clone();
        Box::new(move |event| {
            if let RunEvent::Notice(text) = event {
                notices.lock().unwrap().push(text.clone());
            }
        })
    }

    /// What the user was told so far.
    pub(crate) fn notices(&self) -> String {
        self.notices.lock().unwrap().join("\n")
    }
}

fn copy(from: &Path, to: &Path) {
    if !from.is_dir() {
        std::fs::copy(from, to).unwrap();
        return;
    }
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        copy(&entry.path(), &to.join(entry.file_name()));
    }
}
