//! The text of a snapshot, read back: what was accepted.

use super::render::INDENT;

/// A probe as its snapshot shows it.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct SavedProbe {
    /// One a wording.
    pub cases: Vec<SavedCase>,
}

/// One wording.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct SavedCase {
    /// The prompt.
    pub prompt: String,
    /// The base's answer; `None` where none was generated, empty where it was silent.
    pub base: Option<String>,
    /// The candidate's answer.
    pub candidate: Option<String>,
    /// One a check.
    pub checks: Vec<SavedCheck>,
}

/// One check's scores; `None` is unscored.
#[derive(Debug, Clone, PartialEq)]
pub struct SavedCheck {
    /// As written in the suite.
    pub kind: String,
    /// Of the base.
    pub base: Option<f64>,
    /// Of the candidate.
    pub candidate: Option<f64>,
}

impl SavedProbe {
    /// Reads the text below the header. `None` when it is not what qeval writes.
    pub fn parse(text: &str) -> Option<Self> {
        let mut probe = SavedProbe::default();
        let mut lines = text.lines().peekable();
        while let Some(line) = lines.next() {
            if line.is_empty() {
                continue;
            }
            let (head, rest) = line.split_once(':')?;
            let mut quoted: Vec<&str> = Vec::new();
            while let Some(line) = lines.next_if(|l| l.is_empty() || l.starts_with(INDENT)) {
                quoted.push(line.strip_prefix(INDENT).unwrap_or(line));
            }
            while quoted.last().is_some_and(|l| l.is_empty()) {
                quoted.pop();
            }
            if head == "Prompt" {
                probe.cases.push(SavedCase::default());
            }
            if head == "Probe" {
                return (!probe.cases.is_empty()).then_some(probe);
            }
            let case = probe.cases.last_mut()?;
            let block = quoted.join("\n");
            match (head, rest.trim()) {
                ("Prompt", _) => case.prompt = block,
                ("Base", _) => case.base = Some(block),
                ("Candidate", "as the base") => case.candidate = case.base.clone(),
                ("Candidate", _) => case.candidate = Some(block),
                ("Checks", _) => {
                    for line in quoted {
                        case.checks.push(SavedCheck::parse(line)?);
                    }
                }
                _ => return None,
            }
        }
        None
    }
}

impl SavedCheck {
    /// Reads `KIND: BASE -> CANDIDATE  REASON`.
    fn parse(line: &str) -> Option<Self> {
        let (kind, rest) = line.split_once(": ")?;
        let (base, rest) = rest.split_once(" -> ")?;
        let candidate = rest.split("  ").next()?;
        Some(SavedCheck {
            kind: kind.to_owned(),
            base: value(base)?,
            candidate: value(candidate)?,
        })
    }
}

/// A score in words; the outer `None` is no score.
fn value(word: &str) -> Option<Option<f64>> {
    match word.trim() {
        "pass" => Some(Some(1.0)),
        "fail" => Some(Some(0.0)),
        "unscored" => Some(None),
        number => number.parse().ok().map(Some),
    }
}
