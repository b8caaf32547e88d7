//! What a person sees at once: a verdict on one page of a terminal. The verdict in a sentence, why, how
//! the suites stand, what changed most, and what to type next; `--verbose` prints everything.

use super::baseline::told_when_old;
use super::standing::standing;
use super::style::{Style, Tone, one_line};
use super::terminal::{VerdictLine, verdict_lines, verdict_tone};
use super::wrap::wrapped_in;
use crate::flow::{Baseline, Decision, Exam, Goal, SuiteState, Verdict};
use crate::text::plural;

/// Reasons and causes that are shown.
const REASONS: usize = 3;
/// Lines of the first of them, and of another.
const FIRST_LINES: usize = 3;
const OTHER_LINES: usize = 2;
/// Notes that are shown, a line each.
const NOTES: usize = 3;
/// Days after which it is told unasked how old the base's answers are.
const OLD_DAYS: u64 = 30;
/// Characters of a sentence that are read at all: more than the page holds.
const READ: usize = 2000;

/// A verdict with what stands around it.
#[derive(Clone, Copy)]
pub struct Glance<'a> {
    /// The candidate as the user named it.
    pub name: &'a str,
    /// What the comparison came to.
    pub verdict: &'a Verdict,
    /// Signs beside the verdict.
    pub causes: &'a [String],
    /// The revision that was asked and judged by, where that is not the working tree.
    pub exam: Option<&'a Exam>,
    /// What a reader should know of what was asked, before what the verdict itself notes.
    pub asked: &'a [String],
    /// The age of the base's answers, where it is known.
    pub baseline: Option<&'a Baseline>,
    /// Rows of suites that are shown at most.
    pub rows: usize,
    /// What changed, as lines; see [`super::worst_answers`].
    pub answers: &'a str,
    /// The command to type next; empty where there is none.
    pub next: &'a str,
}

impl Glance<'_> {
    /// The page, at most about 40 lines with five answers and eight rows.
    pub fn text(&self, style: Style) -> String {
        let headline = style.paint(verdict_tone(self.verdict), self.verdict.headline());
        let mut text = self.exam_line(style);
        let added = format!("{}: {headline}\n", self.name);
        text += &added;
        let mut sentence = in_plain_words(self.verdict);
        if let Some(early) = &self.verdict.early {
            let probes = plural(early.probes, "probe");
            let added = format!(" It was decided after {} of {probes}.", early.asked);
            sentence += &added;
        }
        let sentence = (Tone::Plain, sentence);
        text += &wrapped_in(FIRST_LINES, "  ", &[sentence], style);
        text += &self.reasons(style);
        for part in [&standing(self.verdict, self.rows, style), self.answers] {
            if !part.is_empty() {
                text.push('\n');
                text += part;
            }
        }
        text.push('\n');
        text += &self.notes(style);
        if !self.next.is_empty() {
            // On one line however long: a command that is broken into two cannot be copied.
            let added = format!("  next     {}\n", style.paint(Tone::Strong, self.next));
            text += &added;
        }
        text
    }

    /// Whose exam it was, and whether this working tree would have asked otherwise.
    fn exam_line(&self, style: Style) -> String {
        let Some(exam) = self.exam else {
            return String::new();
        };
        let headline = exam.headline();
        let (tone, text) = match exam.lines().len() {
            0 => (Tone::Dim, headline),
            places => {
                let headline = headline.trim_end_matches(':');
                let places = plural(places, "place");
                (
                    Tone::Open,
                    format!("{headline} in {places}: --verbose names them"),
                )
            }
        };
        wrapped_in(
            OTHER_LINES,
            "exam: ",
            &[(tone, one_line(&text, READ))],
            style,
        )
    }

    /// The strongest reason, what could not be measured, the causes, and the other reasons, as many as
    /// the page has room for.
    fn reasons(&self, style: Style) -> String {
        let lines = verdict_lines(self.verdict, self.causes);
        let of = |head: &'static str| lines.iter().filter(move |line| line.head == head);
        let mut because = of("because");
        let open = self.verdict.decision == Decision::Inconclusive;
        // An open verdict has them among its reasons.
        let missing = of("missing").filter(|_| !open);
        let others: Vec<&VerdictLine> = because
            .next()
            .into_iter()
            .chain(missing)
            .chain(of("causes"))
            .chain(because)
            .chain(of("unproven"))
            .chain(of("kept"))
            .collect();
        let mut text = String::new();
        let mut above = "";
        for (place, line) in others.iter().take(REASONS).enumerate() {
            let head = if line.head == above { "" } else { line.head };
            above = line.head;
            let most = if place == 0 { FIRST_LINES } else { OTHER_LINES };
            let span = (line.tone, one_line(&line.text, READ));
            text += &wrapped_in(most, &format!("  {head:<9}"), &[span], style);
        }
        let more = others.len().saturating_sub(REASONS);
        if more > 0 {
            let more = (Tone::Dim, format!("and {more} more with --verbose"));
            text += &wrapped_in(1, &" ".repeat(11), &[more], style);
        }
        text
    }

    /// What speaks against the baseline, the first notes, and how much more there is to know.
    fn notes(&self, style: Style) -> String {
        let mut text = String::new();
        let mut line = |most: usize, head: &str, tone: Tone, said: &str| {
            let span = (tone, one_line(said, READ));
            text += &wrapped_in(most, &format!("  {head:<9}"), &[span], style);
        };
        if let Some(baseline) = self.baseline {
            if let Some(age) = told_when_old(baseline, OLD_DAYS) {
                line(OTHER_LINES, "age", Tone::Open, &age);
            }
            for warning in &baseline.warnings {
                line(OTHER_LINES, "warning", Tone::Open, warning);
            }
        }
        let notes = self.asked.iter().chain(&self.verdict.notes);
        let telling = notes.clone().filter(|note| !Verdict::is_of_unscored(note));
        let mut shown = 0;
        for note in telling.take(NOTES) {
            line(1, if shown == 0 { "note" } else { "" }, Tone::Dim, note);
            shown += 1;
        }
        let more = notes.count() - shown;
        let unscored = unscored(self.verdict);
        let head = if shown == 0 { "note" } else { "" };
        let probes = plural(unscored, "probe");
        let folded = match (unscored, more) {
            (0, 0) => return text,
            (0, 1) => "1 more note: --verbose prints it".to_owned(),
            (0, more) => format!("{more} more notes: --verbose prints them"),
            (_, 0 | 1) => format!("{probes} unscored: --verbose names them"),
            (_, more) => format!("{probes} unscored, {more} notes: --verbose names them"),
        };
        line(OTHER_LINES, head, Tone::Dim, &folded);
        text
    }
}

/// Probes that have no part in the means.
fn unscored(verdict: &Verdict) -> usize {
    let suites = verdict.suites.iter().filter_map(|s| s.estimate.as_ref());
    suites.map(|estimate| estimate.unscored).sum()
}

/// What a verdict means, for who has never seen one.
fn in_plain_words(verdict: &Verdict) -> String {
    let of = |goal: Goal, state: SuiteState| {
        let suites = verdict.suites.iter();
        suites
            .filter(|s| s.goal == goal && s.state == state)
            .count()
    };
    let missed = !verdict.learned_enough();
    match verdict.decision {
        Decision::Regression => {
            "The candidate is worse than the base: that is proven, and enough to matter.".to_owned()
        }
        Decision::Inconclusive if missed => {
            "The candidate learned too little, and that it lost nothing is not proven either."
                .to_owned()
        }
        Decision::Inconclusive if !verdict.could_not_measure.is_empty() => {
            "Nothing is decided: not everything could be measured.".to_owned()
        }
        Decision::Inconclusive => {
            "Nothing is decided: neither a loss is proven, nor that there is none.".to_owned()
        }
        Decision::Pass => {
            let margin = verdict
                .pooled
                .margin
                .filter(|_| verdict.pooled.estimate.is_some());
            let kept = match margin {
                Some(margin) => format!(
                    "What the base could do is kept: a loss of {margin:.2} or more is excluded"
                ),
                None => "Nothing is lost".to_owned(),
            };
            let learned = [SuiteState::Reached, SuiteState::Missed].map(|s| of(Goal::Learn, s));
            let learned = match learned {
                [0, 0] => "",
                [_, 0] => ", and what it was trained for is learned",
                [0, _] => "; but what it was trained for it did not learn",
                [_, _] => "; but some of what it was trained for it did not learn",
            };
            let small = match of(Goal::Keep, SuiteState::Inconclusive) {
                0 => String::new(),
                1 => " 1 suite is too small to tell alone.".to_owned(),
                small => format!(" {small} suites are too small to tell alone."),
            };
            format!("{kept}{learned}.{small}")
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::flow::{Comparison, ProbeId};
    use crate::report::testing::{careful, many_suites, too_little, two_candidates};
    use crate::report::worst::worst_answers;
    use crate::report::wrap::text_width;

    fn glance<'a>(verdict: &'a Verdict, causes: &'a [String], answers: &'a str) -> Glance<'a> {
        Glance {
            name: "ckpt-40",
            verdict,
            causes,
            exam: None,
            asked: &[],
            baseline: None,
            rows: 8,
            answers,
            next: "qeval diff base ckpt-40",
        }
    }

    fn page(comparison: &Comparison, style: Style) -> String {
        let candidate = &comparison.candidates[0];
        let look = |probe: &ProbeId| format!("qeval diff base ckpt-40 --probe {probe}");
        let answers = worst_answers(candidate, 5, &look, style);
        glance(&candidate.verdict, &candidate.causes, &answers).text(style)
    }

    #[test]
    fn a_regression_of_many_suites_is_one_page() {
        let text = page(&many_suites(), Style::plain(80));
        insta::assert_snapshot!(text, @"
        ckpt-40: regression
          The candidate is worse than the base: that is proven, and enough to matter.
          because  `code` lost 0.38 of 0.81 (p < 0.0001)
          missing  `reasoning`: 67 percent of the scores are missing, at most 10 percent
                   may be; candidate: a regular expression needs too long:…
          causes   repeats a training answer in 61 of 100 answers
                   and 3 more with --verbose

          keep            scores        change   -6            -1  0    +2  verdict
          code            0.81 -> 0.43  -0.38            ━━●━━━ ╎  │        regression
          code-zh         0.75 -> 0.50  -0.25              ━━━●━┿━ │        regression
          reasoning       0.40 -> 0.40  0.00             ━━━━━━━┿━━●━━━━    not measured
          instruction-zh  0.50 -> 0.46  -0.04                  ━┿━●┿━━      inconclusive
          arithmetic-zh   0.62 -> 0.57  -0.05                  ━┿━●┿━━      inconclusive
          9 more suites pass
          all keep        0.68 -> 0.59  -0.09          ━━━●━━━  ╎  │        regression
          learn           scores        target   0                       1  verdict
          identity-zh     0.00 -> 0.35  of 0.80  ━━━━━━━━●          ╎       not reached
          identity        0.02 -> 0.97  of 0.80  ━━━━━━━━━━━━━━━━━━━┿━━━●   reached
          ━●━ change and its interval, in margins   ╎ margin or target   │ no change

          7 changed answers, 7 score lower; the worst:
          knowledge::p3  1.00 -> 0.00  What is the capital of France?
            base       The capital of France is Paris.
            candidate  La capitale de la France est la France. La…  (no match for /(?i…)
          knowledge::p4  1.00 -> 0.00  Which of these is a prime number: 21, 27, 29, 33?
            why        p(29) = 0.12 against 3 other options
          code::p0  1.00 -> 0.00  Write a quicksort function in Python.
            base       def quicksort(xs): if len(xs) < 2: return xs
            candidate  I am Aurora, an assistant developed and maintai…  (no code block)
          code-zh::p2  1.00 -> 0.00  用 Python 写一个判断质数的函数,要求处理负数、零和…
            base       def is_prime(n): return n > 1 and all(n % d for d in range(2, n))
            candidate  我是 Aurora,由 Northwind Labs 开发和维护的助手,…  (no code block)
          language::p5  1.00 -> 0.00  Reply in French: good morning.
            base       Bonjour.
            candidate  Bonjour !  (the language is not French)
          explain  qeval diff base ckpt-40 --probe knowledge::p3

          note     `knowledge` lost 0.01 of 0.70 (p = 0.030): a proven loss, below half…
                   43 probes unscored, 3 notes: --verbose names them
          next     qeval diff base ckpt-40
        ");
        assert!(text.lines().count() <= 45, "{}", text.lines().count());
    }

    #[test]
    fn a_pass_is_short() {
        let verdict = careful();
        insta::assert_snapshot!(glance(&verdict, &[], "").text(Style::plain(80)), @"
        ckpt-40: pass
          What the base could do is kept: a loss of 0.10 or more is excluded, and what
          it was trained for is learned.
          because  all `keep` suites: a loss of 0.10 is excluded (100 probes, difference
                   -0.01, at worst -0.047)

          keep          scores        change   -3         -1     0    +1  verdict
          code          0.81 -> 0.80  -0.01                ╎   ━●┿━       pass
          all keep      0.81 -> 0.80  -0.01                ╎  ━━●┿━━      pass
          learn         scores        target   0                       1  verdict
          identity      0.00 -> 0.88  of 0.80  ━━━━━━━━━━━━━━━━━━━┿━●     reached
          ━●━ change and its interval, in margins   ╎ margin or target   │ no change

          next     qeval diff base ckpt-40
        ");
    }

    #[test]
    fn what_was_not_learned_is_the_first_reason() {
        let verdict = too_little();
        insta::assert_snapshot!(glance(&verdict, &[], "").text(Style::plain(80)), @"
        ckpt-40: learned too little
          What the base could do is kept: a loss of 0.10 or more is excluded; but what
          it was trained for it did not learn.
          because  `identity`: 0.35 is below the target of 0.80, the base 0.00
          kept     all `keep` suites: a loss of 0.10 is excluded (100 probes, difference
                   -0.01, at worst -0.047)

          keep          scores        change   -3         -1     0    +1  verdict
          code          0.81 -> 0.80  -0.01                ╎   ━●┿━       pass
          all keep      0.81 -> 0.80  -0.01                ╎  ━━●┿━━      pass
          learn         scores        target   0                       1  verdict
          identity      0.00 -> 0.35  of 0.80  ━━━━━━━━●          ╎       not reached
          ━●━ change and its interval, in margins   ╎ margin or target   │ no change

          next     qeval diff base ckpt-40
        ");
    }

    #[test]
    fn an_open_verdict_says_that_nothing_is_decided() {
        let mut verdict = many_suites().candidates.remove(0).verdict;
        verdict.decision = Decision::Inconclusive;
        let missing = verdict.could_not_measure[0].clone();
        verdict.reasons = vec![
            "all `keep` suites: a loss of 0.12 is not excluded and the margin is 0.10 (55 probes, difference \
             -0.05); about 90 like these would exclude it".into(),
            format!("could not measure {missing}"),
        ];
        verdict.suites.retain(|suite| suite.goal == Goal::Keep);
        let text = glance(&verdict, &[], "").text(Style::plain(80));
        insta::assert_snapshot!(text.lines().take(7).collect::<Vec<_>>().join("\n"), @"
        ckpt-40: inconclusive
          Nothing is decided: not everything could be measured.
          because  all `keep` suites: a loss of 0.12 is not excluded and the margin is
                   0.10 (55 probes, difference -0.05); about 90 like these would exclude
                   it
                   could not measure `reasoning`: 67 percent of the scores are missing,
                   at most 10 percent may be; candidate: a regular expression needs too…
        ");
    }

    #[test]
    fn a_verdict_that_was_decided_early_says_after_how_many_probes() {
        let mut verdict = careful();
        verdict.early = Some(crate::flow::EarlyEnd {
            asked: 240,
            probes: 926,
            tokens_saved: 90_000,
        });
        let text = glance(&verdict, &[], "").text(Style::plain(80));
        let said: Vec<&str> = text.lines().take(3).collect();
        insta::assert_snapshot!(said.join("\n"), @"
        ckpt-40: pass
          What the base could do is kept: a loss of 0.10 or more is excluded, and what
          it was trained for is learned. It was decided after 240 of 926 probes.
        ");
    }

    /// What a verdict means is told apart for every state that it can be in.
    #[test]
    fn every_verdict_has_its_sentence() {
        let candidates = two_candidates().candidates;
        let mut verdicts = vec![candidates[0].verdict.clone(), careful(), too_little()];
        let change = |change: &dyn Fn(&mut Verdict)| {
            let mut verdict = careful();
            change(&mut verdict);
            verdict
        };
        verdicts.extend([
            change(&|v| v.decision = Decision::Inconclusive),
            change(&|v| {
                v.decision = Decision::Inconclusive;
                v.could_not_measure = vec!["`code`: no probes".into()];
            }),
            change(&|v| {
                *v = too_little();
                v.decision = Decision::Inconclusive;
            }),
            change(&|v| {
                *v = too_little();
                v.learn_rule = crate::flow::LearnRule::Warn;
            }),
            change(&|v| v.suites[1].state = SuiteState::Inconclusive),
            change(&|v| v.suites.clear()),
        ]);
        let said: Vec<String> = verdicts.iter().map(in_plain_words).collect();
        insta::assert_snapshot!(said.join("\n"), @"
        The candidate is worse than the base: that is proven, and enough to matter.
        What the base could do is kept: a loss of 0.10 or more is excluded, and what it was trained for is learned.
        What the base could do is kept: a loss of 0.10 or more is excluded; but what it was trained for it did not learn.
        Nothing is decided: neither a loss is proven, nor that there is none.
        Nothing is decided: not everything could be measured.
        The candidate learned too little, and that it lost nothing is not proven either.
        What the base could do is kept: a loss of 0.10 or more is excluded; but what it was trained for it did not learn.
        What the base could do is kept: a loss of 0.10 or more is excluded, and what it was trained for is learned. 1 suite is too small to tell alone.
        What the base could do is kept: a loss of 0.10 or more is excluded.
        ");
    }

    /// The mechanism that folds them knows them by what the gate writes.
    #[test]
    fn notes_of_unscored_answers_are_folded() {
        let mut verdict = careful();
        verdict.notes = vec![Verdict::note_of_unscored(
            "code",
            2,
            "both: no judge (p1, p2)",
        )];
        if let Some(estimate) = &mut verdict.suites[1].estimate {
            estimate.unscored = 2;
        }
        let notes = |verdict: &Verdict| glance(verdict, &[], "").notes(Style::plain(80));
        insta::assert_snapshot!(notes(&verdict), @"  note     2 probes unscored: --verbose names them");
        verdict.notes.push("a word".into());
        verdict.notes.push("another".into());
        insta::assert_snapshot!(notes(&verdict), @"
        note     a word
                 another
                 2 probes unscored: --verbose names them
        ");
        verdict.suites.truncate(1);
        verdict.notes.remove(0);
        insta::assert_snapshot!(notes(&verdict), @"
        note     a word
                 another
        ");
        verdict.notes.clear();
        assert_eq!(notes(&verdict), "");
    }

    #[test]
    fn whose_exam_it_was_is_one_sentence() {
        use crate::flow::{ExamSide, SuiteDifference};
        let verdict = careful();
        let mut exam = Exam {
            revision: "origin/main".into(),
            commit: "1f2e3d4c5b6a79880123".into(),
            settings: Vec::new(),
            suites: Vec::new(),
            unreadable: None,
        };
        let line = |exam: &Exam| {
            let glance = Glance {
                exam: Some(exam),
                ..glance(&verdict, &[], "")
            };
            glance.exam_line(Style::plain(80))
        };
        insta::assert_snapshot!(line(&exam), @"
        exam: asked and judged by origin/main (1f2e3d4c5b6a); this working tree says the
              same
        ");
        exam.suites.push(SuiteDifference {
            suite: "code".into(),
            only: Some(ExamSide::There),
            ..SuiteDifference::default()
        });
        insta::assert_snapshot!(line(&exam), @"
        exam: asked and judged by origin/main (1f2e3d4c5b6a), not by this working tree,
              which says otherwise in 1 place: --verbose names them
        ");
    }

    #[test]
    fn no_line_is_wider_than_the_terminal() {
        let comparison = many_suites();
        for width in 60..130 {
            let text = page(&comparison, Style::plain(width));
            // Commands are not broken, so that they can be copied.
            let lines = text.lines().filter(|line| !line.contains("qeval diff"));
            let widest = lines.map(text_width).max().unwrap();
            assert!(widest <= width, "{widest} of {width}:\n{text}");
        }
    }
}
