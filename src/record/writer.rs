//! Appends to one subject's record: a line per finished item, one `write` call each.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use super::format::Line;
use super::{Answered, Header, MeasuredText, RecordError, RunLock, Scored, SubjectRecord, reader};
use crate::atomic_file::{FileError, LineAppender};
use crate::digest;

/// Writes one subject's record. Shared by threads as it is.
#[derive(Debug)]
pub struct RecordWriter {
    lines: LineAppender,
    finished: SubjectRecord,
}

impl RecordWriter {
    /// Opens a subject's record in a run, or begins it. `suites` are the digests by name of the
    /// suites that are about to be scored; scores of suites that have changed no longer count.
    ///
    /// If the record there is of another subject of the same name (an adapter that was trained
    /// again, another base), it is set aside and a new one begins.
    ///
    /// # Errors
    /// The record there cannot be read, or the file not be written.
    pub fn open(
        lock: &RunLock,
        header: Header,
        suites: &BTreeMap<String, String>,
    ) -> Result<Self, RecordError> {
        let folder = lock.run().answers_folder();
        fs::create_dir_all(&folder).map_err(FileError::at("create", &folder))?;
        let path = folder.join(file_name(&header.subject.name));
        let mut finished = match existing(&path)? {
            Some(record) if record.header.digest == header.digest => record,
            Some(record) => {
                let aside = superseded(&path, &record.header.digest);
                fs::rename(&path, &aside).map_err(FileError::at("set aside", &path))?;
                SubjectRecord::new(header)
            }
            None => SubjectRecord::new(header),
        };
        let lines = LineAppender::open(&path)?;
        let writer = |line: &Line| -> Result<(), RecordError> {
            Ok(lines.append(&to_json(lines.path(), line)?)?)
        };
        if fs::metadata(&path)
            .map_err(FileError::at("read", &path))?
            .len()
            == 0
        {
            writer(&Line::Header(finished.header.clone()))?;
        }
        let changed: BTreeMap<String, String> = suites
            .iter()
            .filter(|(name, digest)| finished.suites.get(*name) != Some(digest))
            .map(|(name, digest)| (name.clone(), digest.clone()))
            .collect();
        if !changed.is_empty() {
            let line = Line::Suites(changed);
            writer(&line)?;
            finished.take(line);
        }
        Ok(RecordWriter { lines, finished })
    }

    /// What earlier processes finished, as it was at opening.
    pub fn finished(&self) -> &SubjectRecord {
        &self.finished
    }

    /// The file.
    pub fn path(&self) -> &Path {
        self.lines.path()
    }

    /// Appends a finished answer.
    ///
    /// # Errors
    /// A log-probability is not finite, or the file cannot be written.
    pub fn answered(&self, line: Answered) -> Result<(), RecordError> {
        let answer = &line.answer;
        all_finite(&answer.logprobs, || {
            format!("a log-probability of the answer to {}", answer.case)
        })?;
        self.append(&Line::Answered(line))
    }

    /// Appends a measured likelihood.
    ///
    /// # Errors
    /// As [`Self::answered`].
    pub fn measured(&self, line: MeasuredText) -> Result<(), RecordError> {
        let likelihood = &line.likelihood;
        all_finite(&likelihood.logprobs, || {
            format!(
                "a log-probability of {:?} as the answer to {}",
                likelihood.text, likelihood.case
            )
        })?;
        self.append(&Line::Measured(line))
    }

    /// Appends what the checks said of a sample.
    ///
    /// # Errors
    /// A score is not finite, or the file cannot be written.
    pub fn scored(&self, line: Scored) -> Result<(), RecordError> {
        let values = line
            .checks
            .iter()
            .map(|check| &check.score)
            .chain([&line.score]);
        if values
            .filter_map(|score| score.value())
            .any(|value| !value.is_finite())
        {
            return Err(RecordError::NotFinite {
                what: format!("a score of {}", line.case),
            });
        }
        self.append(&Line::Scored(line))
    }

    fn append(&self, line: &Line) -> Result<(), RecordError> {
        Ok(self.lines.append(&to_json(self.lines.path(), line)?)?)
    }
}

/// The record at a path; `None` if there is none or the first line of it was torn.
fn existing(path: &Path) -> Result<Option<SubjectRecord>, RecordError> {
    match reader::read_header(path) {
        Ok(None) => Ok(None),
        Err(error) if error.is_not_found() => Ok(None),
        Ok(Some(_)) => reader::read_record(path).map(Some),
        Err(error) => Err(error),
    }
}

/// JSON has no NaN: written as `null`, it would make the whole line unreadable.
fn all_finite(values: &[f32], what: impl FnOnce() -> String) -> Result<(), RecordError> {
    match values.iter().all(|value| value.is_finite()) {
        true => Ok(()),
        false => Err(RecordError::NotFinite { what: what() }),
    }
}

fn to_json(path: &Path, line: &Line) -> Result<String, RecordError> {
    serde_json::to_string(line)
        .map_err(|error| FileError::at("append to", path)(error.into()).into())
}

/// File name of a subject's record. Names of checkpoints stay as they are; any other is made safe
/// for every file system and told apart by a piece of its digest.
pub(super) fn file_name(subject: &str) -> String {
    const LONGEST: usize = 60;
    let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || "._@-".contains(c);
    let ours = subject.is_empty() || subject.starts_with('.') || subject.ends_with("superseded");
    if subject.chars().all(plain) && !ours && subject.len() <= LONGEST {
        return format!("{subject}.jsonl");
    }
    let safe: String = subject
        .chars()
        .map(|c| c.to_ascii_lowercase())
        .map(|c| if plain(c) { c } else { '-' })
        .collect();
    // The end of a path says more than its beginning.
    let tail = safe
        .get(safe.len().saturating_sub(LONGEST)..)
        .unwrap_or(&safe);
    let tail = tail.trim_start_matches(['.', '-']);
    format!("{tail}~{}.jsonl", digest::short(&digest::bytes(subject)))
}

const SUPERSEDED: &str = "superseded.jsonl";

/// Whether a file is the record of a subject whose name another one now has.
pub(super) fn is_superseded(path: &Path) -> bool {
    path.file_name()
        .is_some_and(|name| name.to_string_lossy().ends_with(SUPERSEDED))
}

/// A free name for a record that makes way.
fn superseded(path: &Path, digest: &str) -> PathBuf {
    let digest = digest::short(digest);
    let first = path.with_extension(format!("{digest}.{SUPERSEDED}"));
    let numbered = (2u32..).map(|n| path.with_extension(format!("{digest}-{n}.{SUPERSEDED}")));
    let mut names = std::iter::once(first.clone()).chain(numbered);
    names.find(|name| !name.exists()).unwrap_or(first)
}

#[cfg(test)]
mod tests {
    use super::super::testing::*;
    use super::*;
    use crate::flow::{Score, Subject};
    use crate::record::read_record;

    #[test]
    fn what_is_written_is_read_back_bit_for_bit() {
        let (_runs, lock) = locked_run();
        let suites: BTreeMap<String, String> = [("code".into(), "c1".into())].into();
        let writer = RecordWriter::open(&lock, header("base"), &suites).unwrap();
        let mut item = answered(0, 3);
        // Every kind of finite f32, from a generator of bit patterns.
        let mut bits = 1u32;
        item.answer.logprobs = std::iter::repeat_with(|| {
            bits = bits.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            f32::from_bits(bits)
        })
        .filter(|value| value.is_finite())
        .take(2000)
        .collect();
        item.answer.text = "line\nbreak, \u{2028}, \"quotes\", 中文, \0".into();
        writer.answered(item.clone()).unwrap();
        writer.measured(measured(1, "Paris")).unwrap();
        writer
            .scored(scored(
                0,
                3,
                Score::Scored {
                    value: 0.1 + 0.2,
                    evidence: "e".into(),
                },
            ))
            .unwrap();
        writer
            .scored(scored(1, 0, Score::unscored("no code block")))
            .unwrap();

        let record = read_record(writer.path()).unwrap();
        assert_eq!(record.header, header("base"));
        assert_eq!(record.suites, suites);
        let back = &record.answers[&(case(0), 3)];
        let bits = |line: &Answered| -> Vec<u32> {
            line.answer
                .logprobs
                .iter()
                .map(|value| value.to_bits())
                .collect()
        };
        assert_eq!(bits(back), bits(&item));
        assert_eq!(*back, item);
        assert_eq!(
            record.likelihoods[&(case(1), "Paris".into())],
            measured(1, "Paris")
        );
        assert_eq!(record.scores[&(case(0), 3)].score.value(), Some(0.1 + 0.2));
        assert_eq!(record.scores[&(case(1), 0)].score.value(), None);
    }

    #[test]
    fn nothing_that_cannot_be_read_back_is_written() {
        let (_runs, lock) = locked_run();
        let writer = RecordWriter::open(&lock, header("base"), &BTreeMap::new()).unwrap();
        for bad in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
            let mut answer = answered(0, 0);
            answer.answer.logprobs[1] = bad;
            writer.answered(answer).unwrap_err();
            let mut likelihood = measured(0, "Paris");
            likelihood.likelihood.logprobs[0] = bad;
            writer.measured(likelihood).unwrap_err();
            let score = Score::Scored {
                value: bad.into(),
                evidence: String::new(),
            };
            writer.scored(scored(0, 0, score)).unwrap_err();
        }
        let mut answer = answered(0, 0);
        answer.answer.logprobs[1] = f32::NAN;
        insta::assert_snapshot!(writer.answered(answer).unwrap_err(), @r#"
        a log-probability of the answer to code::quicksort#0 is not a finite number: nothing can be compared with it
          The model's weights or the adapter may hold NaN or infinite values. On a GPU in float16 they may be beyond its
          range: set dtype = "bfloat16" under [model].
        "#);
        assert_eq!(
            read_record(writer.path()).unwrap(),
            SubjectRecord::new(header("base"))
        );
    }

    #[test]
    fn reopened_record_goes_on_where_it_was_torn() {
        let (_runs, lock) = locked_run();
        let suites: BTreeMap<String, String> = [("code".into(), "c1".into())].into();
        let writer = RecordWriter::open(&lock, header("base"), &suites).unwrap();
        writer.answered(answered(0, 0)).unwrap();
        let two = fs::read(writer.path()).unwrap();
        writer.answered(answered(1, 0)).unwrap();
        let three = fs::read(writer.path()).unwrap();
        let path = writer.path().to_path_buf();
        drop(writer);

        // Killed at every byte of the header, the suites, and the last answer.
        for end in (0..two.len()).step_by(7).chain(two.len()..three.len()) {
            fs::write(&path, &three[..end]).unwrap();
            let writer = RecordWriter::open(&lock, header("base"), &suites).unwrap();
            let found = writer.finished().answers.len();
            assert_eq!(found, usize::from(end >= two.len()), "killed at byte {end}");
            for prompt in found..2 {
                writer.answered(answered(prompt, 0)).unwrap();
            }
            assert_eq!(fs::read(&path).unwrap(), three, "killed at byte {end}");
        }
    }

    #[test]
    fn another_adapter_of_the_same_name_begins_a_new_record() {
        let (_runs, lock) = locked_run();
        let other = |base: &str| Header::new(Subject::base(), "cpu", base);
        let none = BTreeMap::new();
        for (base, count) in [("b1", 0), ("b2", 0), ("b1", 0), ("b2", 0), ("b2", 1)] {
            let writer = RecordWriter::open(&lock, other(base), &none).unwrap();
            assert_eq!(writer.finished().answers.len(), count, "{base}");
            writer.answered(answered(0, 0)).unwrap();
        }
        let records = lock.run().records().unwrap();
        assert_eq!(records.len(), 1);
        assert_eq!(records[0].header, other("b2"));
        assert_eq!(
            fs::read_dir(lock.run().answers_folder()).unwrap().count(),
            4
        );
    }

    #[test]
    fn many_threads_write_one_record() {
        let (_runs, lock) = locked_run();
        let writer = RecordWriter::open(&lock, header("base"), &BTreeMap::new()).unwrap();
        std::thread::scope(|scope| {
            for prompt in 0..8 {
                let writer = &writer;
                scope.spawn(move || {
                    for sample in 0..25 {
                        writer.answered(answered(prompt, sample)).unwrap();
                    }
                });
            }
        });
        assert_eq!(read_record(writer.path()).unwrap().answers.len(), 200);
    }

    #[test]
    fn file_names_are_safe_and_tell_subjects_apart() {
        let plain = ["base", "ckpt-40", "ckpt-40@0.5"];
        for name in plain {
            assert_eq!(file_name(name), format!("{name}.jsonl"));
        }
        let long = "x".repeat(300);
        let others = [
            "a.superseded",
            "run-0001/ckpt-40",
            "run-0001-ckpt-40",
            "Base",
            "../up",
            "..",
            "",
            "适配器",
            "a b",
            "CON",
            &long,
        ];
        let mut names: Vec<String> = plain
            .iter()
            .chain(&others)
            .map(|name| file_name(name))
            .collect();
        for name in &names {
            assert!(name.len() < 100 && !name.starts_with('.'), "{name}");
            assert!(
                name.chars()
                    .all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || "._@~-".contains(c)),
                "{name}"
            );
        }
        let count = names.len();
        names.sort();
        names.dedup();
        assert_eq!(names.len(), count);
        insta::assert_snapshot!(file_name("../out/Adapter (final)@0.5"), @"out-adapter--final-@0.5~251b93d3339f.jsonl");
    }
}
