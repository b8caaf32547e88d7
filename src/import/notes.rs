//! What an import leaves out: every piece is named with its place and the reason, and pieces that
//! many documents share are named once.

use std::collections::HashMap;
use std::fmt;

use serde::Serialize;

/// Most places that are named for one and the same piece.
const SHOWN_PLACES: usize = 3;

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
    found: Vec<(Vec<String>, String, String)>,
    known: HashMap<(String, String), usize>,
}

impl Notes {
    pub(super) fn add(
        &mut self,
        place: impl Into<String>,
        what: impl Into<String>,
        why: impl Into<String>,
    ) {
        let (place, what, why) = (place.into(), one_line(&what.into()), one_line(&why.into()));
        match self.known.get(&(what.clone(), why.clone())) {
            Some(index) => {
                if let Some((places, ..)) = self.found.get_mut(*index)
                    && !places.contains(&place)
                {
                    places.push(place);
                }
            }
            None => {
                self.known
                    .insert((what.clone(), why.clone()), self.found.len());
                self.found.push((vec![place], what, why));
            }
        }
    }

    /// Everything that was added, in the order of first appearance.
    pub(super) fn into_list(self) -> Vec<NotCarried> {
        let found = self.found.into_iter();
        found
            .map(|(places, what, why)| NotCarried {
                place: some_of(&places),
                what,
                why,
            })
            .collect()
    }
}

fn some_of(places: &[String]) -> String {
    let shown = places.get(..SHOWN_PLACES).unwrap_or(places).join(", ");
    match places.len().checked_sub(SHOWN_PLACES) {
        Some(more) if more > 0 => format!("{shown}, and {more} more"),
        _ => shown,
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
