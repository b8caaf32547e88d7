//! The files that an import reads: the named one, what stands beside it, and documents.

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::{Map, Value};

use crate::file_text::decode;

use super::error::{ImportError, ImportErrorKind};
use super::glob;
use super::yaml::{self, Dialect};

/// Largest file that is read, in bytes: a suite made of more would not load.
const LARGEST_FILE: u64 = 64 << 20;

/// What is imported.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct ImportSource {
    /// The configuration or the task.
    pub file: PathBuf,
    /// Documents of a task; `None` takes those that the task names.
    pub docs: Option<PathBuf>,
    /// The suite's name; `None` makes one of the file's.
    pub name: Option<String>,
}

/// The folder of an imported file: names in it are meant from there.
#[derive(Debug, Clone)]
pub(super) struct Folder {
    root: PathBuf,
}

impl Folder {
    pub(super) fn of(file: &Path) -> Self {
        Folder {
            root: file.parent().unwrap_or(Path::new("")).to_owned(),
        }
    }

    /// The folder as a message names it.
    pub(super) fn shown(&self) -> String {
        match self.root.as_os_str().is_empty() {
            true => ".".into(),
            false => self.root.display().to_string(),
        }
    }

    /// A path as the file names it, `file://` in front or not.
    pub(super) fn path(&self, written: &str) -> PathBuf {
        self.root
            .join(written.strip_prefix("file://").unwrap_or(written))
    }

    /// The files that a name or a pattern of names stands for, as names in this folder, in their
    /// order.
    ///
    /// # Errors
    /// The pattern is not read, or names too many.
    pub(super) fn files(&self, written: &str) -> Result<Vec<PathBuf>, String> {
        let found = glob::files(&self.root, written)?.into_iter();
        let named = found.map(|path| match path.strip_prefix(&self.root) {
            Ok(name) => name.to_owned(),
            Err(_) => path,
        });
        Ok(named.collect())
    }

    /// The text of a file.
    ///
    /// # Errors
    /// Why it cannot be read, in words.
    pub(super) fn text(&self, written: &str) -> Result<String, String> {
        read(&self.path(written))
    }
}

/// The text of a file, line ends made the same on every system.
fn read(path: &Path) -> Result<String, String> {
    let size = fs::metadata(path).map_err(|e| e.to_string())?.len();
    if size > LARGEST_FILE {
        return Err(format!("{size} bytes, and at most {LARGEST_FILE} are read"));
    }
    let bytes = fs::read(path).map_err(|e| e.to_string())?;
    let text = decode(&bytes).map_err(|problem| {
        let way_out = problem.way_out(&path.display().to_string());
        format!("{problem} ({way_out})")
    })?;
    Ok(text.into_owned())
}

/// A YAML file.
pub(super) fn read_yaml(path: &Path, dialect: Dialect) -> Result<Value, ImportError> {
    let name = path.display().to_string();
    let text = read(path).map_err(|why| ImportErrorKind::Unreadable(why).at(&name))?;
    yaml::parse(&name, &text, dialect)
}

/// Documents of a JSONL file, or of a JSON file with a list of them, at `field` if one is named.
pub(super) fn read_documents(
    path: &Path,
    field: Option<&str>,
) -> Result<Vec<Map<String, Value>>, ImportError> {
    let name = path.display().to_string();
    let text = read(path).map_err(|why| ImportErrorKind::Unreadable(why).at(&name))?;
    let bad = |place: String, what: String| ImportErrorKind::Documents(what).at(place);
    let whole: Option<Value> = serde_json::from_str(&text).ok();
    let values: Vec<(usize, Value)> = match whole.map(|value| at_field(value, field)) {
        Some(Value::Array(items)) => items.into_iter().map(|item| (1, item)).collect(),
        Some(value) => vec![(1, value)],
        None => {
            let lines = text.lines().zip(1..);
            let lines = lines.filter(|(line, _)| !line.trim().is_empty());
            let read = lines.map(|(line, n)| match serde_json::from_str(line) {
                Ok(value) => Ok((n, value)),
                Err(error) => Err(bad(format!("{name}:{n}"), error.to_string())),
            });
            read.collect::<Result<_, _>>()?
        }
    };
    if values.is_empty() {
        return Err(bad(name, "it is empty".into()));
    }
    let documents = values.into_iter().map(|(n, value)| match value {
        Value::Object(map) => Ok(map),
        other => Err(bad(
            format!("{name}:{n}"),
            format!(
                "{} is no object",
                crate::text::ellipsize(&other.to_string(), 40)
            ),
        )),
    });
    documents.collect()
}

fn at_field(value: Value, field: Option<&str>) -> Value {
    match (value, field) {
        (Value::Object(mut map), Some(field)) if map.contains_key(field) => {
            map.remove(field).unwrap_or_default()
        }
        (value, _) => value,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The trap: a file below a folder that is named from the working directory.
    #[test]
    fn files_of_a_pattern_are_named_from_their_folder() {
        // Tests run in the package's folder.
        let folder = Folder::of(Path::new("fixtures/import/promptfoo/patterns.yaml"));
        let found = folder.files("cases/*.yaml").unwrap();
        assert_eq!(found, [Path::new("cases/a.yaml")]);
        assert!(folder.text("cases/a.yaml").unwrap().starts_with("- vars"));
        let absolute = folder.root.canonicalize().unwrap().join("cases/a.yaml");
        let found = folder.files(&absolute.display().to_string()).unwrap();
        assert_eq!(found, [absolute]);
    }

    #[test]
    fn documents_are_lines_or_a_list() {
        let folder = tempfile::tempdir().unwrap();
        let read = |text: &str, field: Option<&str>| {
            let path = folder.path().join("docs.jsonl");
            fs::write(&path, text).unwrap();
            match read_documents(&path, field) {
                Ok(documents) => serde_json::to_string(&documents).unwrap(),
                Err(error) => error
                    .to_string()
                    .replace(&folder.path().display().to_string(), "FOLDER"),
            }
        };
        let two = r#"[{"a":1},{"a":2}]"#;
        assert_eq!(read("{\"a\":1}\r\n\n{\"a\":2}\n", None), two);
        assert_eq!(read(two, None), two);
        assert_eq!(read(&format!("{{\"data\":{two}}}"), Some("data")), two);
        let refused = [
            read("", None),
            read("{\"a\":1}\n{\"a\":", None),
            read("[1]", None),
        ];
        insta::assert_snapshot!(refused.join("\n\n"), @"
        FOLDER/docs.jsonl: holds no documents: it is empty
          rule: documents are JSON objects, one a line, or a JSON list of them
          way out: name a JSONL file with `--docs`

        FOLDER/docs.jsonl:2: holds no documents: EOF while parsing a value at line 1 column 5
          rule: documents are JSON objects, one a line, or a JSON list of them
          way out: name a JSONL file with `--docs`

        FOLDER/docs.jsonl:1: holds no documents: 1 is no object
          rule: documents are JSON objects, one a line, or a JSON list of them
          way out: name a JSONL file with `--docs`
        ");
    }
}
