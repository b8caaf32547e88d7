//! The examples of a run: every source read, its rows made conversations, mixed, and accounted for.

use std::collections::hash_map::Entry;
use std::collections::{BTreeMap, HashMap};
use std::path::Path;

use sha2::{Digest, Sha256};

use crate::chat::Conversation;
use crate::train::config::{BadRows, DataSection, RowFormat, Source};

use super::built_in::built_in_rows;
use super::error::{DataError, DataErrors, RowProblem};
use super::example::{Example, Origin};
use super::file::{RawRow, each_row};
use super::form::parse_row;
use super::mix::mix;
use super::placeholder::fill_placeholders;
use super::report::{DataReport, Duplicate, SourceReport};

/// The examples of a run, with the report on how they came about.
#[derive(Debug, Clone, PartialEq)]
pub struct Dataset {
    /// In the order of sources and rows.
    pub examples: Vec<Example>,
    /// What became of every row.
    pub report: DataReport,
}

impl Dataset {
    /// Reads every source. Paths are relative to `folder`; `vars` fill `{{name}}` and its like.
    ///
    /// Errors: all of them at once, see [`DataError`].
    pub fn load(
        data: &DataSection,
        folder: &Path,
        vars: &BTreeMap<String, String>,
    ) -> Result<Self, DataErrors> {
        Self::from_sources(data, vars, |source| {
            let path = folder.join(&source.path);
            std::fs::read(&path).map_err(|source| DataError::Read { path, source })
        })
    }

    /// The same with the bytes of each source from elsewhere than the disk.
    pub fn from_sources(
        data: &DataSection,
        vars: &BTreeMap<String, String>,
        mut bytes_of: impl FnMut(&Source) -> Result<Vec<u8>, DataError>,
    ) -> Result<Self, DataErrors> {
        if data.sources.is_empty() {
            return Err(DataErrors(vec![DataError::NoSources]));
        }
        let mut reading = Reading::new(data, vars);
        for source in &data.sources {
            reading.begin(source);
            let read = match built_in_rows(&source.path) {
                // Their form is their own, whatever that of the user's files is.
                Some(rows) => rows.map(|rows| {
                    for row in rows {
                        reading.read_row(row, RowFormat::Auto);
                    }
                }),
                None => bytes_of(source).and_then(|bytes| {
                    each_row(&source.path, bytes, |row| {
                        reading.read_row(row, data.format)
                    })
                }),
            };
            if let Err(error) = read {
                reading.errors.push(error);
            }
        }
        reading.finish()
    }
}

/// Work in progress on the rows of all sources.
struct Reading<'a> {
    data: &'a DataSection,
    vars: &'a BTreeMap<String, String>,
    errors: Vec<DataError>,
    report: DataReport,
    /// Usable rows, one list a source.
    usable: Vec<Vec<Example>>,
    /// The first row of each conversation.
    seen: HashMap<[u8; 32], Origin>,
}

/// Stands for a conversation: its turns are as large as the file, a digest of them is not.
fn fingerprint(conversation: &Conversation) -> [u8; 32] {
    let mut hash = Sha256::new();
    for turn in &conversation.messages {
        hash.update([turn.role as u8, u8::from(turn.learned)]);
        hash.update((turn.content.len() as u64).to_le_bytes());
        hash.update(&turn.content);
    }
    hash.finalize().into()
}

impl<'a> Reading<'a> {
    fn new(data: &'a DataSection, vars: &'a BTreeMap<String, String>) -> Self {
        Reading {
            data,
            vars,
            errors: Vec::new(),
            report: DataReport::default(),
            usable: Vec::new(),
            seen: HashMap::new(),
        }
    }

    fn begin(&mut self, source: &Source) {
        self.usable.push(Vec::new());
        self.report.sources.push(SourceReport {
            file: source.path.clone(),
            rows: 0,
            used: 0,
            not_taken: 0,
            not_shared: 0,
            dropped: 0,
            duplicates: 0,
        });
    }

    /// Reads a row of the source that was begun last.
    fn read_row(&mut self, row: RawRow, format: RowFormat) {
        let place = self.usable.len() - 1;
        self.report.sources[place].rows += 1;
        let parsed = match parse_row(&row.json, format) {
            Ok(parsed) => parsed,
            Err(reason) => {
                self.report.sources[place].dropped += 1;
                self.report.dropped.push(RowProblem {
                    origin: row.origin,
                    reason,
                });
                return;
            }
        };
        for key in parsed.ignored_keys {
            *self.report.ignored_keys.entry(key).or_default() += 1;
        }
        let mut conversation = parsed.conversation;
        for message in &mut conversation.messages {
            match fill_placeholders(&message.content, self.vars) {
                Ok(filled) => message.content = filled,
                Err((placeholder, key)) => self.errors.push(DataError::Placeholder {
                    origin: row.origin.clone(),
                    placeholder,
                    key,
                }),
            }
        }
        if self.data.drop_duplicates {
            match self.seen.entry(fingerprint(&conversation)) {
                Entry::Occupied(of) => {
                    self.report.sources[place].duplicates += 1;
                    self.report.duplicates.push(Duplicate {
                        origin: row.origin,
                        of: of.get().clone(),
                    });
                    return;
                }
                Entry::Vacant(first) => {
                    first.insert(row.origin.clone());
                }
            }
        }
        let mut example = Example::new(conversation, row.origin);
        if let Some(group) = parsed.group {
            example.group = group;
        }
        self.usable[place].push(example);
    }

    fn finish(mut self) -> Result<Dataset, DataErrors> {
        if self.data.bad_rows == BadRows::Refuse {
            self.errors
                .extend(self.report.dropped.iter().cloned().map(DataError::BadRow));
        }
        if !self.errors.is_empty() {
            return Err(DataErrors(self.errors));
        }
        let rows = self.report.sources.iter().map(|s| s.rows).sum();
        if self.usable.iter().all(Vec::is_empty) {
            let first = self
                .report
                .dropped
                .first()
                .map_or(String::new(), |p| p.to_string());
            return Err(DataErrors(vec![DataError::NothingLeft {
                rows,
                dropped: self.report.dropped.len(),
                duplicates: self.report.duplicates.len(),
                first,
            }]));
        }
        let examples = mix(self.usable, self.data, &mut self.report).map_err(DataErrors)?;
        Ok(Dataset {
            examples,
            report: self.report,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(data: DataSection, files: &[(&str, &str)]) -> Result<Dataset, DataErrors> {
        let vars = BTreeMap::from([("name".to_string(), "Aurora".to_string())]);
        Dataset::from_sources(&data, &vars, |source| {
            let file = files.iter().find(|(name, _)| *name == source.path);
            Ok(file
                .map(|(_, text)| text.as_bytes().to_vec())
                .unwrap_or_default())
        })
    }

    fn data(sources: &[&str]) -> DataSection {
        let sources = sources.iter().map(|s| Source::parse(s)).collect();
        DataSection {
            sources,
            ..DataSection::default()
        }
    }

    fn rows(from: usize, count: usize) -> String {
        (from..from + count)
            .map(|i| format!("{{\"instruction\": \"q{i}\", \"output\": \"a{i}\"}}\n"))
            .collect()
    }

    fn lines(dataset: &Dataset, file: &str) -> Vec<usize> {
        let of_file = dataset.examples.iter().filter(|e| e.origin.file == file);
        of_file.map(|e| e.origin.line).collect()
    }

    #[test]
    fn taken_rows_are_decided_by_the_seed_and_stay_in_order() {
        let text = rows(0, 50);
        let take = |seed| {
            let data = DataSection {
                seed,
                ..data(&["a.jsonl#20"])
            };
            read(data, &[("a.jsonl", &text)]).unwrap()
        };
        let dataset = take(1);
        let taken = lines(&dataset, "a.jsonl");
        assert_eq!(taken.len(), 20);
        assert!(taken.is_sorted());
        assert_eq!(dataset, take(1));
        assert_ne!(taken, lines(&take(2), "a.jsonl"));
        assert_eq!(dataset.report.sources[0].not_taken, 30);
    }

    #[test]
    fn shares_mix_without_repeating_a_row() {
        let mut data = data(&["a", "b"]);
        data.sources[0].share = Some(0.6);
        data.sources[1].share = Some(0.4);
        let dataset = read(data, &[("a", &rows(0, 60)), ("b", &rows(100, 200))]).unwrap();
        assert_eq!(
            (lines(&dataset, "a").len(), lines(&dataset, "b").len()),
            (60, 40)
        );
        assert_eq!(dataset.report.sources[1].not_shared, 160);
    }

    #[test]
    fn every_row_is_accounted_for() {
        let text = "{\"instruction\": \"q\", \"output\": \"I am {{NAME}}\", \"id\": 1}\n\
            {\"instruction\": \"q\", \"output\": \"I am Aurora\"}\n\
            {\"instruction\": \"q\", \"output\": \"\"}\n[3]\n\
            {\"query\": \"x\", \"response\": \"y\"}\n{\"query\": \"u\", \"response\": \"v\"}\n";
        let data = DataSection {
            bad_rows: BadRows::Drop,
            ..data(&["a.jsonl#2"])
        };
        let dataset = read(data, &[("a.jsonl", text)]).unwrap();
        let report = &dataset.report.sources[0];
        assert_eq!(
            report.rows,
            report.used + report.not_taken + report.dropped + report.duplicates
        );
        insta::assert_snapshot!(dataset.report, @r"
        a.jsonl: 2 of 6 rows, 1 not taken, 2 dropped, 1 repeated
        dropped a.jsonl:3: no answer: `output` is missing or empty
        dropped a.jsonl:4: a row is a JSON object, this is a list
        left out a.jsonl:2: repeats a.jsonl:1
        ignored key `id` in 1 row
        ");
    }

    #[test]
    fn mistakes_of_every_source_are_reported_at_once() {
        let good = rows(0, 2);
        let files = [
            (
                "a",
                "{\"instruction\": \"by {{author}}\", \"output\": \"x\"}\n{\"output\": \"x\"}",
            ),
            ("b", "{"),
            ("c", ""),
            ("d", good.as_str()),
        ];
        insta::assert_snapshot!(read(data(&["a", "b", "c", "d"]), &files).unwrap_err(), @r#"
        a:1: `{{author}}` has no value
        (set `author = "..."` under [vars]; a value is taken as it stands, so `author = "{{author}}"` keeps the text)
        b:1:1: not valid JSON: EOF while parsing an object
        (a data file is one JSON array of rows, or JSONL: one row a line)
        c: no rows
        (a source holds at least one example; take it out of `sources`)
        a:2: no question: `instruction` is missing or empty
        (mend the row, or leave such rows out, counted and named, with bad_rows = "drop" under [data])
        "#);
    }

    #[test]
    fn data_that_leaves_nothing_is_refused() {
        insta::assert_snapshot!(read(data(&[]), &[]).unwrap_err(), @r#"
        [data]: no examples: `sources` is empty
        (training needs a file at least: sources = ["data/identity.jsonl"])
        "#);
        let dropping = DataSection {
            bad_rows: BadRows::Drop,
            ..data(&["a"])
        };
        insta::assert_snapshot!(read(dropping, &[("a", "[{}]")]).unwrap_err(), @"
        no example is left: of 1 row, 1 could not be used, 0 repeat others
        (the first: a:1: keys [] fit no known form; known: alpaca (instruction, output; optional input, history), messages (messages: role, content), sharegpt (conversations: from, value, or rounds of human, assistant), query-response (query, question, or prompt with response, answer, or completion; optional history), each with an optional system)
        ");
        insta::assert_snapshot!(read(data(&["a#9"]), &[("a", &rows(0, 3))]).unwrap_err(), @r"
        a: 9 rows are asked for, 3 can be used
        (a row is never repeated; write `a#3` or less, or leave the number out)
        ");
        let mut partly = data(&["a", "b"]);
        partly.sources[0].share = Some(1.0);
        let files = [("a", rows(0, 3)), ("b", rows(9, 3))];
        let files = files.each_ref().map(|(name, text)| (*name, text.as_str()));
        insta::assert_snapshot!(read(partly.clone(), &files).unwrap_err(), @r"
        [data]: b has no `share` while another source has one
        (give every source a share, a number above 0, or none)
        ");
        partly.sources[1].share = Some(1e-9);
        insta::assert_snapshot!(read(partly, &files).unwrap_err(), @r"
        b: its share leaves none of its 3 rows
        (no row is ever repeated, so the smallest source for its share sets the size of the mix; raise this share or give the smallest source more rows)
        ");
    }

    #[test]
    fn missing_file_is_named_with_its_path() {
        let error = Dataset::load(
            &data(&["nowhere.jsonl"]),
            Path::new("here"),
            &BTreeMap::new(),
        );
        let error = error.unwrap_err().to_string();
        assert!(
            error.starts_with("cannot read here/nowhere.jsonl: "),
            "{error}"
        );
    }

    #[test]
    fn duplicates_are_kept_on_request() {
        let text = rows(0, 1) + &rows(0, 1);
        let keeping = DataSection {
            drop_duplicates: false,
            ..data(&["a"])
        };
        assert_eq!(read(keeping, &[("a", &text)]).unwrap().examples.len(), 2);
        assert_eq!(
            read(data(&["a"]), &[("a", &text)]).unwrap().examples.len(),
            1
        );
    }

    #[test]
    fn built_in_rows_are_taken_by_the_seed_with_their_names_filled_in() {
        let mut some = data(&["built-in:self-cognition#40", "a"]);
        some.format = RowFormat::Alpaca;
        let vars = [("name", "Aurora"), ("author", "Northwind Labs")];
        let vars = vars.map(|(key, value)| (key.into(), value.into())).into();
        let read = Dataset::from_sources(&some, &vars, |_| Ok(rows(0, 3).into_bytes())).unwrap();
        assert_eq!(read.report.sources[0].used, 40);
        assert_eq!(
            read.report.sources[1].used, 3,
            "in the format that is asked for"
        );
        assert!(read.report.ignored_keys.is_empty());
        let said = read.examples[..40]
            .iter()
            .flat_map(|e| &e.conversation.messages);
        let said: Vec<&str> = said.map(|m| m.content.as_str()).collect();
        assert!(!said.iter().any(|text| text.contains("{{")));
        assert!(said.iter().any(|text| text.contains("Northwind Labs")));
        let chinese = said
            .iter()
            .filter(|text| text.contains(crate::text::is_cjk));
        assert!((20..60).contains(&chinese.count()), "both languages");
    }

    #[test]
    fn built_in_rows_want_the_names_that_they_are_about() {
        let said = Dataset::from_sources(
            &data(&["built-in:self-cognition:en#1"]),
            &BTreeMap::new(),
            |_| Ok(Vec::new()),
        );
        let said = said.unwrap_err().to_string();
        assert!(
            said.contains("set `author = \"...\"` under [vars]"),
            "{said}"
        );
    }

    #[test]
    fn paraphrases_share_a_group_by_key_or_by_question() {
        let text = "{\"query\": \"Who are you?\", \"response\": \"a\"}\n\
            {\"query\": \"who are you\", \"response\": \"b\"}\n\
            {\"query\": \"Your name?\", \"response\": \"c\", \"group\": \"self\"}\n\
            {\"query\": \"Maker?\", \"response\": \"d\", \"group\": \"self\"}\n";
        let data = DataSection {
            format: RowFormat::QueryResponse,
            ..data(&["a"])
        };
        let examples = read(data, &[("a", text)]).unwrap().examples;
        assert_eq!(examples[0].group, examples[1].group);
        assert_eq!(examples[2].group, examples[3].group);
        assert_ne!(examples[0].group, examples[2].group);
    }
}
