//! Where what was asked was read from, when that is not the working tree: a pull request is not to
//! loosen its own exam, and a reader is told where it would have.

use serde::{Deserialize, Serialize};

use crate::text::{all_of, plural};

/// Probes that are named of those that differ in one way.
const NAMED: usize = 3;

/// The revision that suites and rules were read from, with what the working tree says otherwise.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Exam {
    /// As it was asked for: `origin/main`.
    pub revision: String,
    /// Its commit, in hex.
    pub commit: String,
    /// Settings of `qeval.toml` that differ.
    pub settings: Vec<SettingDifference>,
    /// Suites that differ.
    pub suites: Vec<SuiteDifference>,
    /// Why the suites of the working tree could not be compared, where they could not be read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unreadable: Option<String>,
}

/// A setting that the working tree has otherwise.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SettingDifference {
    /// `` `margin` under [gate] ``.
    pub key: String,
    /// What the revision says, which holds.
    pub there: String,
    /// What the working tree says.
    pub here: String,
}

/// A suite that the working tree has otherwise. Of a suite that only one of the two has, the lists
/// are empty.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct SuiteDifference {
    /// Its name.
    pub suite: String,
    /// The only one that has it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub only: Option<ExamSide>,
    /// Goal, margin, and target.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub settings: Vec<SettingDifference>,
    /// Probes that are asked or judged otherwise.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub changed: Vec<String>,
    /// Probes that the working tree has no more.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub only_there: Vec<String>,
    /// Probes that only the working tree has.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub only_here: Vec<String>,
    /// Probes that are critical at the revision alone.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub critical_there: Vec<String>,
    /// Probes that are critical in the working tree alone.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub critical_here: Vec<String>,
}

/// One of the two.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ExamSide {
    /// The working tree.
    Here,
    /// The revision.
    There,
}

impl Exam {
    /// Whether the working tree would have asked or judged otherwise.
    pub fn differs(&self) -> bool {
        !self.settings.is_empty() || !self.suites.is_empty() || self.unreadable.is_some()
    }

    /// One sentence: from where, and whether that makes a difference.
    pub fn headline(&self) -> String {
        let of = format!(
            "asked and judged by {} ({})",
            self.revision,
            crate::digest::short(&self.commit)
        );
        match self.differs() {
            false => format!("{of}; this working tree says the same"),
            true => format!("{of}, not by this working tree, which says otherwise:"),
        }
    }

    /// One line a setting or suite that differs; nothing of the working tree's was used.
    pub fn lines(&self) -> Vec<String> {
        let settings = self.settings.iter().map(SettingDifference::line);
        let suites = self.suites.iter().map(SuiteDifference::line);
        let unreadable = self.unreadable.iter();
        let unreadable = unreadable.map(|why| format!("suites that cannot be read: {why}"));
        settings.chain(suites).chain(unreadable).collect()
    }
}

impl SettingDifference {
    fn line(&self) -> String {
        let SettingDifference { key, there, here } = self;
        format!("{key}: {there} there, {here} here")
    }
}

impl SuiteDifference {
    /// Whether anything differs.
    pub fn is_some(&self) -> bool {
        *self
            != SuiteDifference {
                suite: self.suite.clone(),
                ..SuiteDifference::default()
            }
    }

    fn line(&self) -> String {
        let suite = format!("suite `{}`", self.suite);
        match self.only {
            Some(ExamSide::Here) => return format!("{suite}: only here"),
            Some(ExamSide::There) => return format!("{suite}: only there"),
            None => {}
        }
        let mut parts: Vec<String> = self.settings.iter().map(SettingDifference::line).collect();
        for (probes, what) in [
            (&self.changed, "changed"),
            (&self.only_there, "only there"),
            (&self.only_here, "only here"),
            (&self.critical_there, "critical only there"),
            (&self.critical_here, "critical only here"),
        ] {
            if !probes.is_empty() {
                let count = plural(probes.len(), "probe");
                parts.push(format!("{count} {what} ({})", named(probes)));
            }
        }
        format!("{suite}: {}", parts.join("; "))
    }
}

/// The first of some probes.
fn named(probes: &[String]) -> String {
    let mut names: Vec<String> = probes.iter().take(NAMED).cloned().collect();
    if probes.len() > NAMED {
        names.push(format!("{} more", probes.len() - NAMED));
    }
    all_of(&names)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_difference_is_a_line() {
        let names = |names: &[&str]| names.iter().map(|n| (*n).to_owned()).collect();
        let exam = Exam {
            revision: "origin/main".into(),
            commit: "1f2e3d4c5b6a79880123".into(),
            settings: vec![SettingDifference {
                key: "`margin` under [gate]".into(),
                there: "0.03".into(),
                here: "0.2".into(),
            }],
            suites: vec![
                SuiteDifference {
                    suite: "code".into(),
                    settings: vec![SettingDifference {
                        key: "margin".into(),
                        there: "0.05".into(),
                        here: "none".into(),
                    }],
                    changed: names(&["a", "b", "c", "d", "e"]),
                    only_there: names(&["f"]),
                    critical_there: names(&["g"]),
                    ..SuiteDifference::default()
                },
                SuiteDifference {
                    suite: "zh".into(),
                    only: Some(ExamSide::There),
                    ..SuiteDifference::default()
                },
            ],
            unreadable: None,
        };
        insta::assert_snapshot!(exam.headline(), @"asked and judged by origin/main (1f2e3d4c5b6a), not by this working tree, which says otherwise:");
        insta::assert_snapshot!(exam.lines().join("\n"), @"
        `margin` under [gate]: 0.03 there, 0.2 here
        suite `code`: margin: 0.05 there, none here; 5 probes changed (a, b, c, and 2 more); 1 probe only there (f); 1 probe critical only there (g)
        suite `zh`: only there
        ");
        let same = Exam {
            settings: Vec::new(),
            suites: Vec::new(),
            ..exam
        };
        insta::assert_snapshot!(same.headline(), @"asked and judged by origin/main (1f2e3d4c5b6a); this working tree says the same");
    }
}
