//! Why a file could not be imported at all: where, what, the rule, and the way out. What is merely
//! left out of an import is no error but a [`NotCarried`].

use thiserror::Error;

use crate::suite::SuiteErrors;

use super::notes::NotCarried;

/// Why a file could not be imported.
#[derive(Debug, Error)]
#[error("{place}: {kind}\n  rule: {}\n  way out: {}", .kind.rule(), .kind.way_out())]
pub struct ImportError {
    /// The file, with its line where that is known.
    pub place: String,
    /// What is wrong with it.
    pub kind: ImportErrorKind,
}

/// What is wrong with a file that was to be imported.
#[derive(Debug, Error)]
pub enum ImportErrorKind {
    /// The file cannot be read.
    #[error("cannot be read: {0}")]
    Unreadable(String),
    /// The file is no YAML.
    #[error("is no YAML: {0}")]
    Yaml(String),
    /// The file is YAML, but of neither program.
    #[error("is neither a promptfoo configuration nor an lm-evaluation-harness task")]
    UnknownFormat,
    /// A list of tasks instead of a task.
    #[error("is a group of tasks")]
    Group,
    /// Files that include each other, or too many.
    #[error("is one include too many")]
    IncludeLoop,
    /// An lm-evaluation-harness task without documents on this machine.
    #[error("its documents are not here: {0}")]
    NoDocuments(String),
    /// A task whose documents a program makes: its name, the folder that it stands in, and the
    /// setting.
    #[error("its documents are made by a program: {setting}")]
    MadeDocuments {
        /// The task's name.
        task: String,
        /// The folder of its file.
        folder: String,
        /// The setting that names the program.
        setting: String,
    },
    /// Documents that cannot be read.
    #[error("holds no documents: {0}")]
    Documents(String),
    /// Nothing is left of it.
    #[error("nothing in it could be carried over{}", listed(.0))]
    Nothing(Vec<NotCarried>),
    /// The written suite does not load: a fault of the import.
    #[error("the suite made of it does not load: {0}")]
    DoesNotLoad(SuiteErrors),
}

impl ImportErrorKind {
    /// The same with its place.
    pub(super) fn at(self, place: impl Into<String>) -> ImportError {
        ImportError {
            place: place.into(),
            kind: self,
        }
    }

    fn rule(&self) -> &'static str {
        match self {
            Self::Unreadable(_) => "every file that an import needs has to be readable UTF-8 text",
            Self::Yaml(_) => "both formats are YAML of some size and depth (https://yaml.org)",
            Self::UnknownFormat => {
                "a promptfoo configuration has `prompts` and `tests`, a task has `doc_to_text`"
            }
            Self::Group => "a suite is made of one task",
            Self::IncludeLoop => {
                "an included file does not lead back to itself, and a task has at most 64"
            }
            Self::NoDocuments(_) => {
                "a task's templates are filled from documents: JSON objects, one a line"
            }
            Self::MadeDocuments { .. } => "an import runs no program that a file names",
            Self::Documents(_) => "documents are JSON objects, one a line, or a JSON list of them",
            Self::Nothing(_) => "a suite has at least one probe with a prompt and a check",
            Self::DoesNotLoad(_) => "what is imported loads",
        }
    }

    fn way_out(&self) -> String {
        let fixed = match self {
            Self::MadeDocuments { task, folder, .. } => return made_documents(task, folder),
            Self::Unreadable(_) => "name another file, or change its permissions",
            Self::Yaml(_) => "mend the file at that place",
            Self::UnknownFormat => "name a promptfooconfig.yaml or the YAML of a single task",
            Self::Group => "import the YAML of each task by itself",
            Self::IncludeLoop => "take one of the `include` lines out",
            Self::NoDocuments(_) => {
                "write them with Python's `datasets` \
                 (load_dataset(PATH, NAME, split=SPLIT).to_json(\"docs.jsonl\")) and add \
                 `--docs docs.jsonl`"
            }
            Self::Documents(_) => "name a JSONL file with `--docs`",
            Self::Nothing(_) => {
                "write the probes by hand: `qeval init` leaves suites to start from"
            }
            Self::DoesNotLoad(_) => "this is a bug in qeval: report it with the file",
        };
        fixed.into()
    }
}

/// How the harness writes the documents as its program leaves them.
fn made_documents(task: &str, folder: &str) -> String {
    let quoted = |text: &str| format!("{text:?}").replace('\'', "'\\''");
    let (task, folder) = (quoted(task), quoted(folder));
    format!(
        "let the harness write them: python -c 'import json; from lm_eval.tasks import \
         TaskManager; task = TaskManager(include_path={folder}).load([{task}])[\"tasks\"][{task}]; \
         print(*(json.dumps(dict(doc)) for doc in task.eval_docs), sep=\"\\n\")' > docs.jsonl; \
         then add `--docs docs.jsonl`"
    )
}

fn listed(notes: &[NotCarried]) -> String {
    let lines = notes.iter().map(|note| format!("\n  - {note}"));
    let lines: String = lines.collect();
    if lines.is_empty() {
        lines
    } else {
        format!(":{lines}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_name_place_rule_and_way_out() {
        let note = NotCarried {
            place: "test 1".into(),
            what: "`javascript`".into(),
            why: "it runs a program".into(),
        };
        let shown: Vec<String> = [
            ImportErrorKind::UnknownFormat.at("a.yaml"),
            ImportErrorKind::Nothing(vec![note]).at("b.yaml"),
            ImportErrorKind::NoDocuments("`dataset_path` is \"x\"".into()).at("c.yaml"),
            ImportErrorKind::MadeDocuments {
                task: "quiz".into(),
                folder: "tasks".into(),
                setting: "`process_docs: !function utils.f`".into(),
            }
            .at("d.yaml"),
        ]
        .iter()
        .map(ToString::to_string)
        .collect();
        insta::assert_snapshot!(shown.join("\n\n"), @r#"
        a.yaml: is neither a promptfoo configuration nor an lm-evaluation-harness task
          rule: a promptfoo configuration has `prompts` and `tests`, a task has `doc_to_text`
          way out: name a promptfooconfig.yaml or the YAML of a single task

        b.yaml: nothing in it could be carried over:
          - test 1: `javascript`: it runs a program
          rule: a suite has at least one probe with a prompt and a check
          way out: write the probes by hand: `qeval init` leaves suites to start from

        c.yaml: its documents are not here: `dataset_path` is "x"
          rule: a task's templates are filled from documents: JSON objects, one a line
          way out: write them with Python's `datasets` (load_dataset(PATH, NAME, split=SPLIT).to_json("docs.jsonl")) and add `--docs docs.jsonl`

        d.yaml: its documents are made by a program: `process_docs: !function utils.f`
          rule: an import runs no program that a file names
          way out: let the harness write them: python -c 'import json; from lm_eval.tasks import TaskManager; task = TaskManager(include_path="tasks").load(["quiz"])["tasks"]["quiz"]; print(*(json.dumps(dict(doc)) for doc in task.eval_docs), sep="\n")' > docs.jsonl; then add `--docs docs.jsonl`
        "#);
    }
}
