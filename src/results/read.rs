//! From a path to results: whose file it is, or which files of a folder.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

use super::error::{ResultsError, Unreadable};
use super::item::{Results, Task};
use super::lines::{Lines, failed};
use super::{evalscope, inspect, lm_eval};
use crate::python_json::without_nan;

/// Deepest folder below one that is named: `reviews/MODEL`, or a model's folder of lm-eval.
const DEEPEST: usize = 3;

/// Reads a file of results, or a folder of them.
///
/// # Errors
/// A file that cannot be read, or is none of these; a folder with none, or with several of one task.
pub fn read(path: &Path) -> Result<Results, ResultsError> {
    let meta = std::fs::metadata(path).map_err(|error| failed(path, 0, error))?;
    if meta.is_dir() {
        return read_folder(path);
    }
    if !meta.is_file() {
        return Err(failed(path, 0, Unreadable::NoFile));
    }
    read_file(path)
}

fn read_file(file: &Path) -> Result<Results, ResultsError> {
    let of = |program, (name, task): (String, Task)| Results {
        program,
        tasks: BTreeMap::from([(name, task)]),
    };
    match kind(file)? {
        Kind::Samples => Ok(of("lm-eval", lm_eval::read(file)?)),
        Kind::Reviews => Ok(of("evalscope", evalscope::read(file)?)),
        Kind::Value(bytes) => match shape(file, &bytes)? {
            Shape::Log => Ok(of("Inspect", inspect::read(file, &bytes)?)),
            Shape::Summary => match lm_eval::samples_of(file).as_slice() {
                [] => Err(failed(file, 0, Unreadable::NoSamples)),
                files => read_all(file, files),
            },
            Shape::Report => Err(failed(file, 0, Unreadable::Report)),
            Shape::Unknown => Err(failed(file, 0, Unreadable::Unknown)),
        },
    }
}

/// Reads files as one set of results; `named` is what the user named.
fn read_all(named: &Path, files: &[PathBuf]) -> Result<Results, ResultsError> {
    let mut all: Option<Results> = None;
    for file in files {
        let one = read_file(file)?;
        let Some(all) = &mut all else {
            all = Some(one);
            continue;
        };
        if all.program != one.program {
            let both = format!("{} and {}", all.program, one.program);
            return Err(failed(named, 0, Unreadable::SeveralPrograms(both)));
        }
        for (name, task) in one.tasks {
            if let Some(other) = all.tasks.get(&name) {
                let files = [&other.file, &task.file].map(|f| f.display().to_string());
                let (task, files) = (format!("`{name}`"), files.join(", "));
                return Err(failed(named, 0, Unreadable::Several { task, files }));
            }
            all.tasks.insert(name, task);
        }
    }
    all.ok_or_else(|| failed(named, 0, Unreadable::NoResults))
}

/// What a file holds at a glance.
enum Kind {
    /// Lines of lm-eval.
    Samples,
    /// Lines of evalscope.
    Reviews,
    /// One value, with the bytes of it.
    Value(Vec<u8>),
}

fn kind(file: &Path) -> Result<Kind, ResultsError> {
    const PACKED: &[u8] = b"PK\x03\x04";
    let mut start = [0; 4];
    let mut opened = File::open(file).map_err(|error| failed(file, 0, error))?;
    let read = opened
        .read(&mut start)
        .map_err(|error| failed(file, 0, error))?;
    if start[..read] == *PACKED {
        return Err(failed(file, 0, Unreadable::EvalLog(file.to_owned())));
    }
    // A file of lines is known by its first one; the first line of another is no whole value, or
    // the only one.
    if let Ok(Some((_, line))) = Lines::open(file).and_then(|mut lines| lines.next_object()) {
        if lm_eval::is_sample(&line) {
            return Ok(Kind::Samples);
        }
        if evalscope::is_review(&line) {
            return Ok(Kind::Reviews);
        }
        if evalscope::is_prediction(&line) {
            return Err(failed(file, 1, Unreadable::Predictions));
        }
    }
    let bytes = std::fs::read(file).map_err(|error| failed(file, 0, error))?;
    if bytes.iter().all(u8::is_ascii_whitespace) {
        return Err(failed(file, 0, Unreadable::Empty));
    }
    Ok(Kind::Value(bytes))
}

/// What a JSON value is.
enum Shape {
    /// A log of Inspect.
    Log,
    /// lm-eval's results.
    Summary,
    /// evalscope's report.
    Report,
    /// Something else.
    Unknown,
}

fn shape(file: &Path, bytes: &[u8]) -> Result<Shape, ResultsError> {
    let text = std::str::from_utf8(bytes).map_err(|_| failed(file, 0, Unreadable::NoText))?;
    if !text
        .trim_start_matches('\u{feff}')
        .trim_start()
        .starts_with('{')
    {
        return Ok(Shape::Unknown);
    }
    // Only the keys of the outermost object are kept.
    let keys: BTreeMap<String, serde::de::IgnoredAny> = serde_json::from_str(&without_nan(text))
        .map_err(|error| failed(file, 0, Unreadable::Json(error.to_string())))?;
    let has = |key: &str| keys.contains_key(key);
    Ok(match () {
        () if has("eval") && (has("samples") || has("status")) => Shape::Log,
        () if has("schema_version") && has("dataset_name") => Shape::Report,
        () if has("results") && (has("configs") || has("versions")) => Shape::Summary,
        () => Shape::Unknown,
    })
}

fn read_folder(folder: &Path) -> Result<Results, ResultsError> {
    let mut files = Vec::new();
    find(folder, 0, &mut files)?;
    files.sort();
    let samples: Vec<PathBuf> = files
        .iter()
        .filter(|file| lm_eval::named(file).is_some())
        .cloned()
        .collect();
    let reviews: Vec<PathBuf> = files.iter().filter(|f| is_review(f)).cloned().collect();
    let logs: Vec<PathBuf> = files.iter().filter(|f| is_log(f)).cloned().collect();
    let found = [samples, reviews, logs];
    let mut kinds = found.iter().filter(|kind| !kind.is_empty());
    let (Some(first), None) = (kinds.next(), kinds.next()) else {
        return Err(failed(
            folder,
            0,
            match found.iter().all(Vec::is_empty) {
                true => packed(&files).unwrap_or(Unreadable::NoResults),
                false => Unreadable::SeveralPrograms("several programs".into()),
            },
        ));
    };
    let mut homes: Vec<&Path> = first.iter().filter_map(|file| file.parent()).collect();
    homes.dedup();
    if homes.len() > 1 {
        let names: Vec<String> = homes.iter().map(|h| h.display().to_string()).collect();
        let names = names.join(", ");
        return Err(failed(folder, 0, Unreadable::SeveralModels(names)));
    }
    read_all(folder, first)
}

/// Where a folder has packed logs alone.
fn packed(files: &[PathBuf]) -> Option<Unreadable> {
    let log = files
        .iter()
        .find(|f| f.extension().is_some_and(|e| e == "eval"));
    log.map(|log| Unreadable::EvalLog(log.clone()))
}

fn find(folder: &Path, depth: usize, files: &mut Vec<PathBuf>) -> Result<(), ResultsError> {
    let entries = std::fs::read_dir(folder).map_err(|error| failed(folder, 0, error))?;
    for entry in entries {
        let path = entry.map_err(|error| failed(folder, 0, error))?.path();
        if path.is_file() {
            files.push(path);
        } else if path.is_dir() && depth < DEEPEST {
            find(&path, depth + 1, files)?;
        }
    }
    Ok(())
}

fn is_review(file: &Path) -> bool {
    let above = file
        .parent()
        .and_then(Path::parent)
        .and_then(Path::file_name);
    file.extension().is_some_and(|e| e == "jsonl")
        && (above.is_some_and(|name| name == "reviews") || matches!(kind(file), Ok(Kind::Reviews)))
}

fn is_log(file: &Path) -> bool {
    if file.extension().is_none_or(|e| e != "json") {
        return false;
    }
    let Ok(bytes) = std::fs::read(file) else {
        return false;
    };
    matches!(shape(file, &bytes), Ok(Shape::Log))
}
