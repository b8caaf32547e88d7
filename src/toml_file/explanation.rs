//! How something wrong with a file is told: where, what, the line, the rule, and the way out.

use std::fmt;

use crate::text::plural;

use super::place::Place;

/// One thing wrong with a file, in the one shape that all are told in.
#[derive(Debug, Clone)]
pub struct Explanation<'a> {
    /// Where.
    pub place: &'a Place,
    /// What is wrong.
    pub what: String,
    /// The rule that it breaks.
    pub rule: String,
    /// The name that was probably meant.
    pub nearest: Option<&'a str>,
    /// What to write instead, where that is no name.
    pub way_out: Option<&'a str>,
}

impl fmt::Display for Explanation<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (place, what, rule) = (self.place, &self.what, &self.rule);
        write!(f, "{place}: {what}{}\n  rule: {rule}", place.excerpt())?;
        if let Some(name) = self.nearest {
            write!(f, "\n  nearest: `{name}`")?;
        }
        if let Some(way_out) = self.way_out {
            write!(f, "\n  way out: {way_out}")?;
        }
        Ok(())
    }
}

/// Explanations that are told of one loading: whoever made more mends these first.
const MOST: usize = 50;

/// The first explanations, and how many there are in `files`.
pub fn list(explanations: &[String], files: &str) -> String {
    let count = plural(explanations.len(), "error");
    let shown = explanations.len().min(MOST);
    let rest = match explanations.len() - shown {
        0 => String::new(),
        _ => format!("; the first {shown} are shown"),
    };
    format!(
        "{}\n\n{count} in {files}{rest}",
        explanations[..shown].join("\n\n")
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_part_has_its_line() {
        let place = Place::at("f.toml", "rnak = 3", &(0..4));
        let mut explanation = Explanation {
            place: &place,
            what: "unknown key `rnak`".into(),
            rule: "known is rank".into(),
            nearest: Some("rank"),
            way_out: None,
        };
        let first = explanation.to_string();
        explanation.nearest = None;
        explanation.way_out = Some("write `rank` under [lora]");
        insta::assert_snapshot!(list(&[first, explanation.to_string()], "f.toml"), @"
        f.toml:1:1: unknown key `rnak`
          1 | rnak = 3
            | ^^^^
          rule: known is rank
          nearest: `rank`

        f.toml:1:1: unknown key `rnak`
          1 | rnak = 3
            | ^^^^
          rule: known is rank
          way out: write `rank` under [lora]

        2 errors in f.toml
        ");
    }
}
