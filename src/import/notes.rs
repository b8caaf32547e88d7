//! What an import leaves out: every piece is named with its place and the reason, and pieces that
//! many documents share are named once.

use std::collections::{HashMap, HashSet};
use std::fmt;

use serde::Serialize;

/// Most places that are named for one and the same piece.
const SHOWN_PLACES: usize = 3;
/// Most reasons that are named for one and the same thing, such as a document.
const MOST_REASONS: usize = 50;
const OTHER_REASONS: &str = "for other reasons of the same kinds";

/// Something that a suite cannot say, or says otherwise.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct NotCarried {
    /// Where it stands: `test 2`, `document 7`, `defaultTest`.
    pub place: String,
    /// What it is.
    pub what: String,
    /// Why it was left out.
    pub why: String,
}

impl fmt::Display for NotCarried {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}: {}", self.place, self.what, self.why)
    }
}

/// Collects what is left out.
#[derive(Debug, Default)]
pub(super) struct Notes {
    found: Vec<Piece>,
    known: HashMap<(String, String), usize>,
    /// How many reasons a thing has.
    reasons: HashMap<String, usize>,
}

#[derive(Debug)]
struct Piece {
    /// The first of its places.
    shown: Vec<String>,
    places: HashSet<String>,
    what: String,
    why: String,
}

impl Notes {
    pub(super) fn add(
        &mut self,
        place: impl Into<String>,
        what: impl Into<String>,
        why: impl Into<String>,
    ) {
        let (place, what) = (place.into(), one_line(&what.into()));
        let mut why = one_line(&why.into());
        if !self.known.contains_key(&(what.clone(), why.clone())) {
            let reasons = self.reasons.entry(what.clone()).or_default();
            *reasons += 1;
            if *reasons > MOST_REASONS {
                why = OTHER_REASONS.to_owned();
            }
        }
        let found = &mut self.found;
        let index = self
            .known
            .entry((what.clone(), why.clone()))
            .or_insert_with(|| {
                found.push(Piece {
                    shown: Vec::new(),
                    places: HashSet::new(),
                    what,
                    why,
                });
                found.len() - 1
            });
        if let Some(piece) = self.found.get_mut(*index)
            && piece.places.insert(place.clone())
            && piece.shown.len() < SHOWN_PLACES
        {
            piece.shown.push(place);
        }
    }

    /// Everything that was added, in the order of first appearance.
    pub(super) fn into_list(self) -> Vec<NotCarried> {
        let found = self.found.into_iter();
        found
            .map(|piece| NotCarried {
                place: some_of(&piece.shown, piece.places.len()),
                what: piece.what,
                why: piece.why,
            })
            .collect()
    }
}

fn some_of(shown: &[String], count: usize) -> String {
    let named = shown.join(", ");
    match count.saturating_sub(shown.len()) {
        0 => named,
        more => format!("{named}, and {more} more"),
    }
}

/// Notes are lines of a report and comments of a TOML file: no line may break in them.
fn one_line(text: &str) -> String {
    let words = text.split(|c: char| c.is_whitespace() || c.is_control());
    let words: Vec<&str> = words.filter(|word| !word.is_empty()).collect();
    words.join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A file of documents that are all wrong in their own way makes no report of its length.
    #[test]
    fn reasons_of_one_thing_are_counted_after_the_first() {
        let mut notes = Notes::default();
        for n in 1..=1000 {
            notes.add(
                format!("document {n}"),
                "the document",
                format!("no answer {n}"),
            );
        }
        let notes = notes.into_list();
        assert_eq!(notes.len(), MOST_REASONS + 1);
        insta::assert_snapshot!(notes.last().unwrap(), @"document 51, document 52, document 53, and 947 more: the document: for other reasons of the same kinds");
    }

    #[test]
    fn same_piece_of_many_places_is_one_note() {
        let mut notes = Notes::default();
        for n in 1..=5 {
            notes.add(format!("document {n}"), "the document", "no\nanswer");
            notes.add(format!("document {n}"), "the document", "no answer");
        }
        notes.add("the task", "`process_docs`", "a program");
        let shown: Vec<String> = notes.into_list().iter().map(ToString::to_string).collect();
        insta::assert_snapshot!(shown.join("\n"), @"
        document 1, document 2, document 3, and 2 more: the document: no answer
        the task: `process_docs`: a program
        ");
    }
}
