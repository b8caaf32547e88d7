//! `qeval compare`: two result files of another program, judged as `gate` judges.

use crate::atomic_file;
use crate::check::Taught;
use crate::exit::Outcome;
use crate::flow::{Candidate, Comparison, Decision, NextCommands, Preview, SuiteState, Verdict};
use crate::gate::preview;
use crate::project::ProjectError;
use crate::report::{
    Glance, Report, Style, all_tests, junit, markdown, preview_lines, suite_table, verdict_block,
    worst_answers,
};
use crate::results::{pair, read};
use crate::run::compare as judge;
use crate::text::shell_word;

use super::args::{CompareArgs, OutputFormat};
use super::error::CliError;
use super::gate::{ROWS, WORST};
use super::outcome::outcome_of;
use super::output::Screen;
use super::page;

/// Runs the command.
///
/// # Errors
/// A file that cannot be read, or two that cannot be compared; a margin that so few items cannot
/// reach.
pub fn compare(args: &CompareArgs, screen: &Screen) -> Result<Outcome, CliError> {
    let project = screen.open(args.overrides())?;
    let (base, candidate) = (read(&args.base)?, read(&args.candidate)?);
    let mut paired = pair(&base, &candidate, &args.tasks, &args.metrics)?;
    let rules = project.rules();
    let before = preview(&paired.suites, &rules).map_err(ProjectError::Gate)?;
    let names = [&args.base, &args.candidate].map(|path| path.display().to_string());
    paired.candidate.subject.name.clone_from(&names[1]);
    let measured = [paired.base, paired.candidate];
    let mut comparison = judge(
        &names[0],
        &paired.suites,
        &rules,
        &Taught::default(),
        &measured,
        None,
    );
    for candidate in &mut comparison.candidates {
        nothing_to_lose(&mut candidate.verdict);
        let own = std::mem::replace(&mut candidate.verdict.notes, paired.notes.clone());
        candidate.verdict.notes.extend(own);
    }
    let Some(candidate) = comparison.candidates.first() else {
        return Ok(Outcome::CouldNotMeasure);
    };
    let again = again(args);
    let shown = Shown {
        comparison: &comparison,
        before: &before,
        candidate,
        again: &again,
    };
    if screen.format == OutputFormat::Json {
        screen.print_json(&Report::new(&comparison, Some(&before)))?;
    } else {
        screen.print(&match args.verbose {
            true => shown.everything(screen.style),
            false => shown.page(screen.style),
        })?;
    }
    let next = NextCommands::asked_by(again.clone());
    if let Some(file) = &args.junit {
        let tests = all_tests(&comparison, candidate, &next);
        atomic_file::write(file, junit("qeval", &tests)?)?;
    }
    if let Some(file) = &args.markdown {
        atomic_file::write(file, markdown(&comparison, candidate, None, &next))?;
    }
    if let Some(file) = &args.html {
        let parts =
            page::of_comparison(&comparison, &paired.suites, &[&names[1]], |_| again.clone());
        page::write(file, parts)?;
    }
    Ok(outcome_of(&candidate.verdict))
}

/// By a metric in which the base has nothing, as under a filter that matches no answer, nothing can be
/// lost: that is no pass, of the suite or of all.
fn nothing_to_lose(verdict: &mut Verdict) {
    let mut told = Vec::new();
    for row in &mut verdict.suites {
        if row.estimate.as_ref().is_some_and(|e| e.base_mean == 0.0) {
            row.state = SuiteState::NotMeasured;
            told.push(format!(
                "`{}`: the base scores 0 in all of it, so that nothing could be lost: choose another \
                 metric (--metric), or leave it out (--task)",
                row.suite
            ));
        }
    }
    // What could not be lost makes any loss of all together smaller.
    if !told.is_empty() && verdict.pooled.state == SuiteState::Pass {
        verdict.pooled.state = SuiteState::NotMeasured;
    }
    if let (Some(first), Decision::Pass) = (told.first(), verdict.decision) {
        let reason = format!("could not measure {first}");
        verdict.decision = Decision::Inconclusive;
        verdict.sentence = format!("{}: {reason}", verdict.decision);
        verdict.reasons = vec![reason];
    }
    verdict.could_not_measure.extend(told);
}

/// The command that shows every answer of the same comparison.
fn again(args: &CompareArgs) -> String {
    let word = |text: String| shell_word(&text);
    let mut command = format!(
        "qeval compare {} {}",
        word(args.base.display().to_string()),
        word(args.candidate.display().to_string())
    );
    for task in &args.tasks {
        command += " --task ";
        command += &shell_word(task);
    }
    for metric in &args.metrics {
        let task = metric.task.iter().map(|task| format!("{task}="));
        let whole = task.collect::<String>() + &metric.name;
        command += " --metric ";
        command += &shell_word(&whole);
    }
    if let Some(margin) = args.margin {
        command += " --margin ";
        command += &margin.to_string();
    }
    command + " --html compare.html"
}

/// What is shown to people.
struct Shown<'a> {
    comparison: &'a Comparison,
    before: &'a Preview,
    candidate: &'a Candidate,
    /// The command that shows every answer.
    again: &'a str,
}

impl Shown<'_> {
    fn page(&self, style: Style) -> String {
        let candidate = self.candidate;
        let glance = Glance {
            name: &candidate.subject.name,
            verdict: &candidate.verdict,
            causes: &candidate.causes,
            exam: None,
            asked: &[],
            baseline: None,
            rows: ROWS,
            // No command shows one item alone.
            answers: &worst_answers(candidate, WORST, &|_| String::new(), style),
            next: self.again,
        };
        glance.text(style)
    }

    fn everything(&self, style: Style) -> String {
        let candidate = self.candidate;
        preview_lines(self.before, style)
            + &suite_table(self.comparison, style)
            + &verdict_block(
                &candidate.subject.name,
                &candidate.verdict,
                &candidate.causes,
                self.again,
                style,
            )
    }
}
