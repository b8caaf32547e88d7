//! Finished work of every run, found by its key, so that nothing is generated twice.
//!
//! There is no second store to keep in step: the records themselves are searched, newest run
//! first, and only those of the subjects asked for. A deleted run takes its answers with it.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::path::{Path, PathBuf};

use super::format::Line;
use super::reader::{WholeLines, read_header};
use super::{RecordError, Store};
use crate::flow::{Answer, CaseId, Likelihood};

/// Looks finished answers and likelihoods up by key.
#[derive(Debug, Default)]
pub struct AnswerCache {
    answers: HashMap<String, Answer>,
    likelihoods: HashMap<String, Likelihood>,
    /// When they were made, by key, where the record says.
    times: HashMap<String, u64>,
    /// Records that may hold more; the next to read is last.
    unread: Vec<PathBuf>,
    notices: Vec<String>,
}

impl AnswerCache {
    /// A cache over all runs, for the subjects of these digests ([`super::Header::digest`]).
    /// Records are read when a key is not found in those read before.
    ///
    /// # Errors
    /// The runs folder cannot be listed.
    pub fn open(store: &Store, subjects: &[String]) -> Result<Self, RecordError> {
        let mut cache = AnswerCache::default();
        for run in store.list()? {
            for path in run.record_files()? {
                match read_header(&path) {
                    Ok(Some(header)) if subjects.contains(&header.digest) => {
                        cache.unread.push(path);
                    }
                    Ok(_) => {}
                    // Another run's broken file must not stop this one: it only holds less.
                    Err(error) => cache.note(&error),
                }
            }
        }
        Ok(cache)
    }

    /// The finished answer of this key, as the answer to this case and sample.
    pub fn answer(&mut self, key: &str, case: &CaseId, sample: usize) -> Option<Answer> {
        self.read_until(|cache| cache.answers.contains_key(key));
        let found = self.answers.get(key)?.clone();
        Some(Answer {
            case: case.clone(),
            sample,
            ..found
        })
    }

    /// The measured likelihood of this key, as that of this case.
    pub fn likelihood(&mut self, key: &str, case: &CaseId) -> Option<Likelihood> {
        self.read_until(|cache| cache.likelihoods.contains_key(key));
        let found = self.likelihoods.get(key)?.clone();
        Some(Likelihood {
            case: case.clone(),
            ..found
        })
    }

    /// When the answer or likelihood of a key was made, once it was found.
    pub fn time_of(&self, key: &str) -> Option<u64> {
        self.times.get(key).copied()
    }

    /// Remembers an answer for this process; the record keeps it for later ones.
    pub fn put_answer(&mut self, key: String, answer: Answer) {
        self.answers.insert(key, answer);
    }

    /// Remembers a likelihood, as [`Self::put_answer`] does an answer.
    pub fn put_likelihood(&mut self, key: String, likelihood: Likelihood) {
        self.likelihoods.insert(key, likelihood);
    }

    /// What could not be read, since the last call.
    pub fn take_notices(&mut self) -> Vec<String> {
        std::mem::take(&mut self.notices)
    }

    fn read_until(&mut self, found: impl Fn(&Self) -> bool) {
        while !found(self) {
            let Some(path) = self.unread.pop() else {
                return;
            };
            if let Err(error) = self.read(&path) {
                self.note(&error);
            }
        }
    }

    fn read(&mut self, path: &Path) -> Result<(), RecordError> {
        let mut lines = WholeLines::open(path)?;
        loop {
            match lines.next_line() {
                Ok(None) => return Ok(()),
                // The newest run was read first, and what it says stays.
                Ok(Some(Line::Answered(line))) => {
                    if let Entry::Vacant(entry) = self.answers.entry(line.key) {
                        let key = entry.key().clone();
                        self.times.extend(line.at.map(|at| (key, at)));
                        entry.insert(line.answer);
                    }
                }
                Ok(Some(Line::Measured(line))) => {
                    if let Entry::Vacant(entry) = self.likelihoods.entry(line.key) {
                        let key = entry.key().clone();
                        self.times.extend(line.at.map(|at| (key, at)));
                        entry.insert(line.likelihood);
                    }
                }
                Ok(Some(_)) => {}
                Err(error @ RecordError::CorruptLine { .. }) => self.note(&error),
                Err(error) => return Err(error),
            }
        }
    }

    fn note(&mut self, error: &RecordError) {
        self.notices
            .push(format!("finished answers are passed over: {error}"));
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::super::testing::*;
    use super::*;
    use crate::record::{Provenance, RecordWriter};

    #[test]
    fn finished_work_of_every_run_is_found_by_key() {
        let (runs, first) = locked_run();
        let store = Store::open(runs.path()).unwrap();
        let second = store
            .create(None, &Provenance::started("run"))
            .unwrap()
            .lock()
            .unwrap();
        let none = BTreeMap::new();
        let writer = RecordWriter::open(&first, header("base"), &none).unwrap();
        writer.answered(answered(0, 0)).unwrap();
        writer.measured(measured(0, "Paris")).unwrap();
        let writer = RecordWriter::open(&second, header("base"), &none).unwrap();
        writer.answered(answered(1, 2)).unwrap();

        let mut cache = AnswerCache::open(&store, &[header("base").digest]).unwrap();
        assert_eq!(
            cache.answer("key-1-2", &case(1), 2),
            Some(answered(1, 2).answer)
        );
        // Found in the newest run, so the older one is not read yet.
        assert_eq!(cache.unread.len(), 1);
        assert_eq!(
            cache.answer("key-0-0", &case(0), 0),
            Some(answered(0, 0).answer)
        );
        let other = cache.answer("key-0-0", &case(5), 0).unwrap();
        assert_eq!(
            other.case,
            case(5),
            "a renamed case takes the answer under its own name"
        );
        let likelihood = cache.likelihood("key-0-Paris", &case(0));
        assert_eq!(likelihood, Some(measured(0, "Paris").likelihood));
        assert_eq!(cache.answer("key-9-9", &case(9), 9), None);
        cache.put_answer("key-9-9".into(), answered(9, 9).answer);
        assert_eq!(
            cache.answer("key-9-9", &case(9), 9),
            Some(answered(9, 9).answer)
        );
        cache.put_likelihood("key-9-x".into(), measured(9, "x").likelihood);
        assert_eq!(
            cache.likelihood("key-9-x", &case(9)),
            Some(measured(9, "x").likelihood)
        );
        assert!(cache.take_notices().is_empty());
    }

    #[test]
    fn other_subjects_are_not_read() {
        let (runs, lock) = locked_run();
        let store = Store::open(runs.path()).unwrap();
        let writer = RecordWriter::open(&lock, header("base"), &BTreeMap::new()).unwrap();
        writer.answered(answered(0, 0)).unwrap();
        let mut cache = AnswerCache::open(&store, &["another".into()]).unwrap();
        assert_eq!(cache.answer("key-0-0", &case(0), 0), None);
    }

    #[test]
    fn superseded_record_keeps_its_answers() {
        let (runs, lock) = locked_run();
        let store = Store::open(runs.path()).unwrap();
        let none = BTreeMap::new();
        let writer = RecordWriter::open(&lock, header("base"), &none).unwrap();
        writer.answered(answered(0, 0)).unwrap();
        let other = super::super::Header::new(crate::flow::Subject::base(), "cpu", "b2");
        RecordWriter::open(&lock, other, &none).unwrap();
        let mut cache = AnswerCache::open(&store, &[header("base").digest]).unwrap();
        assert_eq!(
            cache.answer("key-0-0", &case(0), 0),
            Some(answered(0, 0).answer)
        );
    }

    #[test]
    fn broken_record_of_another_run_costs_its_line_only() {
        let (runs, lock) = locked_run();
        let store = Store::open(runs.path()).unwrap();
        let none = BTreeMap::new();
        let writer = RecordWriter::open(&lock, header("base"), &none).unwrap();
        writer.answered(answered(0, 0)).unwrap();
        writer.answered(answered(1, 0)).unwrap();
        let path = writer.path().to_path_buf();
        drop(writer);
        let text = std::fs::read_to_string(&path).unwrap();
        std::fs::write(&path, text.replace("key-0-0\",", "key-0-0\"")).unwrap();
        std::fs::write(path.with_file_name("torn.jsonl"), "{\"header\"").unwrap();
        std::fs::write(path.with_file_name("foreign.jsonl"), "hello\n").unwrap();

        let mut cache = AnswerCache::open(&store, &[header("base").digest]).unwrap();
        assert_eq!(cache.answer("key-0-0", &case(0), 0), None);
        assert_eq!(
            cache.answer("key-1-0", &case(1), 0),
            Some(answered(1, 0).answer)
        );
        let notices = redacted(cache.take_notices().join("\n"), &runs);
        insta::assert_snapshot!(notices, @"
        finished answers are passed over: [runs]/run-0001/answers/foreign.jsonl: not a record of answers: its first line is no header
          Move the file away and run again; what other records hold is not generated again.
        finished answers are passed over: [runs]/run-0001/answers/base.jsonl, line 2: cannot be read: expected `,` or `}` at line 1 column 29
          Only a torn last line is expected after a crash. Delete this line and run again: an answer that it held is generated again.
        ");
    }
}
