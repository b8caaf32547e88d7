//! `qeval diff`: candidates against a base, with the answers that changed.

use crate::exit::Outcome;
use crate::flow::{Candidate, Comparison, LearnRule, Preview, Verdict};
use crate::project::Order;
use crate::report::{
    AnswerLength, Glance, Report, Style, baseline_lines, changed_answers, exam_lines,
    preview_lines, spread_lines, suite_table, summary_lines, verdict_block,
};

use super::args::{DiffArgs, OutputFormat};
use super::error::CliError;
use super::gate::ROWS;
use super::outcome::worst;
use super::output::Screen;
use super::page;

/// Changed answers that are shown of a candidate.
const SHOWN: usize = 10;

/// Runs the command.
///
/// # Errors
/// Whatever stops it; finished answers are on disk.
pub fn diff(args: &DiffArgs, screen: &Screen) -> Result<Outcome, CliError> {
    let project = screen.open(args.overrides())?;
    let names: Vec<&String> = std::iter::once(&args.base)
        .chain(&args.candidates)
        .collect();
    let mut order = Order::new(&project, &names)?;
    // What was learned is shown. Whether it is enough to ship is asked by `gate` and `train`: two
    // checkpoints can be compared long before either is.
    order.rules.learn = LearnRule::Warn;
    let (before, judges) = order.preview_of_a_look()?;
    let measured = project.measure(&order)?;
    let comparison = order.compare(&measured.measurements, measured.noise.as_ref());
    let next = |name: &str| match judges {
        true => project.next(name).gate(),
        // The same probes would be refused there.
        false => String::new(),
    };
    let shown = Shown {
        comparison: &comparison,
        before: &before,
        // A look is no verdict: that has to be seen.
        asked: match judges {
            true => &order.notes,
            false => &before.notes,
        },
        names: &names,
        next: &next,
        most: if args.all { usize::MAX } else { SHOWN },
        unchanged: !args.measure.select.probes.is_empty(),
        verbose: args.verbose,
    };
    if screen.format == OutputFormat::Json {
        screen.print_json(&Report::new(&comparison, Some(&before)))?;
    } else {
        screen.print(&shown.text(screen.style))?;
    }
    if let Some(file) = &args.html {
        let candidates: Vec<&str> = args.candidates.iter().map(String::as_str).collect();
        let parts = page::of_comparison(&comparison, &order.suites, &candidates, next);
        page::write(file, parts)?;
    }
    let verdicts: Vec<&Verdict> = comparison.candidates.iter().map(|c| &c.verdict).collect();
    Ok(worst(&verdicts))
}

/// What is shown to people.
struct Shown<'a> {
    comparison: &'a Comparison,
    before: &'a Preview,
    /// What a reader should know of what is asked.
    asked: &'a [String],
    /// What the user called the base and the candidates.
    names: &'a [&'a String],
    /// What to type about a candidate next; empty where nothing would do.
    next: &'a dyn Fn(&str) -> String,
    /// How many answers are shown of a candidate.
    most: usize,
    /// Whether those that did not change are shown too: who names a probe wants to see it.
    unchanged: bool,
    /// Whether everything is shown, or a page a candidate below its answers.
    verbose: bool,
}

impl Shown<'_> {
    fn text(&self, style: Style) -> String {
        match self.verbose {
            true => self.everything(style),
            false => self.pages(style),
        }
    }

    fn answers(&self, candidate: &Candidate, length: AnswerLength, style: Style) -> String {
        changed_answers(
            self.comparison,
            candidate,
            (self.most, length),
            self.unchanged,
            style,
        )
    }

    /// The changed answers of each candidate, and below them what they come to: a reader begins at the
    /// end of a long output.
    fn pages(&self, style: Style) -> String {
        let comparison = self.comparison;
        let length = match self.unchanged {
            true => AnswerLength::Whole,
            false => AnswerLength::Lines,
        };
        let mut text = String::new();
        for (i, candidate) in comparison.candidates.iter().enumerate() {
            text += &self.answers(candidate, length, style);
            let name = self.names[i + 1];
            let glance = Glance {
                name,
                verdict: &candidate.verdict,
                causes: &candidate.causes,
                exam: comparison.exam.as_ref(),
                asked: self.asked,
                baseline: comparison.baseline.as_ref(),
                rows: ROWS,
                answers: "",
                next: &(self.next)(name),
            };
            text += &glance.text(style);
        }
        if comparison.candidates.len() > 1 {
            text += &summary_lines(comparison, style);
        }
        text
    }

    fn everything(&self, style: Style) -> String {
        let comparison = self.comparison;
        let mut text = exam_lines(comparison.exam.as_ref(), style);
        text += &preview_lines(self.before, style);
        text += &suite_table(comparison, style);
        text += &baseline_lines(comparison.baseline.as_ref(), style);
        for (candidate, name) in comparison.candidates.iter().zip(&self.names[1..]) {
            text += &self.answers(candidate, AnswerLength::Whole, style);
            let next = (self.next)(name);
            text += &spread_lines(&candidate.verdict, &comparison.noise, style);
            text += &verdict_block(name, &candidate.verdict, &candidate.causes, &next, style);
        }
        if comparison.candidates.len() > 1 {
            text += &summary_lines(comparison, style);
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::project::testing::Small;
    use crate::run::testing::adapter_folder;

    /// What `diff` is about: these candidates against the base.
    fn compared(candidates: &[&str]) -> (Comparison, Preview, Vec<String>) {
        let small = Small::with_model();
        let project = small.open();
        let folders = candidates
            .iter()
            .map(|c| adapter_folder(c).display().to_string());
        let names: Vec<String> = std::iter::once("base".to_owned()).chain(folders).collect();
        let order = Order::new(&project, &names).unwrap();
        let measured = project.measure(&order).unwrap();
        let comparison = order.compare(&measured.measurements, None);
        (comparison, order.preview().unwrap(), names)
    }

    fn text(compared: &(Comparison, Preview, Vec<String>)) -> String {
        let (comparison, before, names) = compared;
        let names: Vec<&String> = names.iter().collect();
        let shown = Shown {
            comparison,
            before,
            asked: &[],
            names: &names,
            next: &|name| format!("qeval gate {name}"),
            most: SHOWN,
            unchanged: false,
            verbose: false,
        };
        shown.text(Style::plain(400))
    }

    #[test]
    fn each_candidate_has_its_answers_its_verdict_and_its_next_command() {
        let both = compared(&["good", "harmful"]);
        let said = text(&both);
        let (_, _, names) = &both;
        for (name, candidate) in names[1..].iter().zip(&both.0.candidates) {
            let verdict = format!("{name}: {}", candidate.verdict.headline());
            assert!(said.contains(&verdict), "{verdict} in {said}");
            assert!(said.contains(&format!("qeval gate {name}")), "{said}");
        }
        // Both learned the name, so it is shown of each.
        assert_eq!(
            said.matches("small::who#0  0.00 -> 1.00").count(),
            2,
            "{said}"
        );
        let next = format!("qeval gate {}", names[1]);
        let of_first = said.find(&next).unwrap();
        let second = said.find("small::sum#0").unwrap();
        assert!(
            of_first < second,
            "what changed of the second stands with the second: {said}"
        );
    }

    /// A summary of one would say everything twice.
    #[test]
    fn one_candidate_has_no_summary() {
        let one = compared(&["good"]);
        let summary = summary_lines(&one.0, Style::plain(400));
        assert!(!text(&one).ends_with(&summary));
        let two = compared(&["good", "noop"]);
        assert!(text(&two).ends_with(&summary_lines(&two.0, Style::plain(400))));
    }

    #[test]
    fn text_and_json_tell_of_the_same_comparison() {
        let compared = compared(&["good", "harmful"]);
        let report = serde_json::to_value(Report::new(&compared.0, Some(&compared.1))).unwrap();
        let said = text(&compared);
        let candidates = report["candidates"].as_array().unwrap();
        assert_eq!(candidates.len(), 2);
        for (candidate, name) in candidates.iter().zip(&compared.2[1..]) {
            let decision = candidate["verdict"]["decision"].as_str().unwrap();
            assert!(said.contains(&format!("{name}: {decision}")), "{said}");
        }
    }
}
