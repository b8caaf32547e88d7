//! One file under its rules: where issues are noted, names are judged, and variables filled in.

use std::collections::BTreeMap;
use std::ops::Range;

use toml::Spanned;

use crate::suite::error::SuiteErrorKind;
use crate::suite::template::fill;
use crate::text::{ellipsize, nearest};
use crate::toml_file::{Broken, Issue, Mistake};

/// Longest prompt, system prompt, or golden answer, in characters.
const LONGEST_TEXT: usize = 100_000;
/// Longest name of a suite or probe, in characters: both name files.
const LONGEST_NAME: usize = 80;

/// One file under its rules.
pub(in crate::suite) struct Validator<'a> {
    pub(super) file: &'a str,
    pub(super) source: &'a str,
    pub(super) vars: &'a BTreeMap<String, String>,
    pub(super) issues: &'a mut Vec<Issue<SuiteErrorKind>>,
}

impl<'a> Validator<'a> {
    pub(in crate::suite) fn new(
        file: &'a str,
        source: &'a str,
        vars: &'a BTreeMap<String, String>,
        issues: &'a mut Vec<Issue<SuiteErrorKind>>,
    ) -> Self {
        Validator {
            file,
            source,
            vars,
            issues,
        }
    }

    pub(super) fn bad(
        &mut self,
        span: Range<usize>,
        what: impl Into<String>,
        rule: impl Into<String>,
    ) {
        self.issues.push((span, Mistake::bad(what, rule).into()));
    }

    pub(super) fn missing(
        &mut self,
        broken: &Broken,
        span: Range<usize>,
        table: &'static str,
        key: &'static str,
        rule: &'static str,
    ) {
        if broken.contains(&key) {
            return;
        }
        let mistake = Mistake::MissingKey { key, table, rule };
        self.issues.push((span, mistake.into()));
    }

    pub(super) fn name(
        &mut self,
        name: &Option<Spanned<String>>,
        broken: &Broken,
        span: &Range<usize>,
        table: &'static str,
        key: &'static str,
    ) -> String {
        let Some(name) = name else {
            let rule = "a name of a-z, 0-9, `-`, and `_`: records and snapshots are named by it";
            self.missing(broken, span.clone(), table, key, rule);
            return String::new();
        };
        let text = name.get_ref();
        let legal = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-' || c == '_';
        if text.is_empty() || text.chars().count() > LONGEST_NAME || !text.chars().all(legal) {
            let suggestion: String = text
                .to_lowercase()
                .chars()
                .map(|c| if legal(c) { c } else { '-' })
                .collect();
            let suggestion = suggestion.trim_matches('-');
            let mistake = Mistake::BadValue {
                what: format!("`{key}` in {table} is \"{}\"", ellipsize(text, 40)),
                rule: format!(
                    "`{key}` wants 1 to {LONGEST_NAME} of the characters a-z, 0-9, `-`, and `_`"
                ),
                nearest: (!suggestion.is_empty()).then(|| ellipsize(suggestion, LONGEST_NAME)),
            };
            self.issues.push((name.span(), mistake.into()));
        }
        text.clone()
    }

    /// A text with its variables filled in.
    pub(super) fn text(&mut self, text: &Spanned<String>, key: &str) -> String {
        let length = text.get_ref().chars().count();
        if length > LONGEST_TEXT {
            let rule = format!("`{key}` has at most {LONGEST_TEXT} characters");
            self.bad(
                text.span(),
                format!("`{key}` has {length} characters"),
                rule,
            );
        }
        self.fill(text.get_ref(), &text.span())
    }

    pub(super) fn fill(&mut self, text: &str, span: &Range<usize>) -> String {
        self.fill_from(text, span, self.vars)
    }

    pub(super) fn fill_from(
        &mut self,
        text: &str,
        span: &Range<usize>,
        vars: &BTreeMap<String, String>,
    ) -> String {
        fill(text, vars).unwrap_or_else(|unknown| {
            for name in unknown {
                // Point at the braces where the source shows them as they are.
                let source = self.source.get(span.clone()).unwrap_or_default();
                let at = source
                    .find(&format!("{{{{{name}}}}}"))
                    .map(|at| span.start + at);
                let place = at.map_or(span.clone(), |at| at..at + name.len() + 4);
                let known: Vec<String> = self.vars.keys().cloned().collect();
                let nearest = nearest(&name, known.iter().map(String::as_str));
                self.issues.push((
                    place,
                    SuiteErrorKind::UnknownVar {
                        name,
                        nearest,
                        known,
                    },
                ));
            }
            text.to_owned()
        })
    }
}
