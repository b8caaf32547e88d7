//! From which revision a verdict was asked and judged, and what the working tree would have said: in
//! the terminal, for a pull request, and on the page.

use std::fmt::Write as _;

use super::style::{Style, Tone, one_line};
use super::wrap::wrapped;
use crate::flow::Exam;

/// Differences that are told; the others are counted.
const TOLD: usize = 12;
/// Longest of them, in characters.
const LONGEST: usize = 400;

/// What differs, with how many more there are.
fn told(exam: &Exam) -> Vec<String> {
    let all = exam.lines();
    let more = all.len().saturating_sub(TOLD);
    let mut told: Vec<String> = all
        .iter()
        .take(TOLD)
        .map(|l| one_line(l, LONGEST))
        .collect();
    if more > 0 {
        told.push(format!("and {more} more"));
    }
    told
}

/// The lines of a terminal; none where the working tree itself was asked.
pub fn exam_lines(exam: Option<&Exam>, style: Style) -> String {
    let Some(exam) = exam else {
        return String::new();
    };
    let tone = match exam.differs() {
        true => Tone::Open,
        false => Tone::Dim,
    };
    let mut text = wrapped("exam: ", &[(tone, exam.headline())], style);
    for line in told(exam) {
        text += &wrapped("  ", &[(Tone::Plain, line)], style);
    }
    text
}

/// The same as Markdown; `plain` makes a text mean nothing there.
pub(super) fn exam_markdown(exam: Option<&Exam>, plain: impl Fn(&str) -> String) -> String {
    let Some(exam) = exam else {
        return String::new();
    };
    let mut text = format!("Exam: {}\n", plain(&exam.headline()));
    for line in told(exam) {
        // Writing to a string cannot fail.
        let _ = writeln!(text, "- {}", plain(&line));
    }
    text.push('\n');
    text
}

/// The same as sentences of the page.
pub fn exam_notes(exam: Option<&Exam>) -> Vec<String> {
    let Some(exam) = exam else {
        return Vec::new();
    };
    let head = format!("Exam: {}", exam.headline());
    std::iter::once(head).chain(told(exam)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::flow::{ExamSide, SettingDifference, SuiteDifference};

    fn exam(suites: usize) -> Exam {
        Exam {
            revision: "origin/main".into(),
            commit: "1f2e3d4c5b6a79880123".into(),
            settings: vec![SettingDifference {
                key: "`margin` under [gate]".into(),
                there: "0.03".into(),
                here: "0.2".into(),
            }],
            suites: (0..suites)
                .map(|i| SuiteDifference {
                    suite: format!("s{i}"),
                    only: Some(ExamSide::There),
                    ..SuiteDifference::default()
                })
                .collect(),
            unreadable: None,
        }
    }

    #[test]
    fn an_exam_is_few_lines_everywhere() {
        insta::assert_snapshot!(exam_lines(Some(&exam(1)), Style::plain(60)), @"
        exam: asked and judged by origin/main (1f2e3d4c5b6a), not by
              this working tree, which says otherwise:
          `margin` under [gate]: 0.03 there, 0.2 here
          suite `s0`: only there
        ");
        let text = exam_markdown(Some(&exam(1)), str::to_owned);
        insta::assert_snapshot!(text, @"
        Exam: asked and judged by origin/main (1f2e3d4c5b6a), not by this working tree, which says otherwise:
        - `margin` under [gate]: 0.03 there, 0.2 here
        - suite `s0`: only there
        ");
        let many = exam_notes(Some(&exam(40)));
        assert_eq!((many.len(), many[13].as_str()), (14, "and 29 more"));
        assert_eq!(exam_lines(None, Style::plain(80)), "");
    }
}
