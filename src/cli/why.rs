//! `qeval why`: one probe of a candidate, from every side.

use crate::exit::Outcome;
use crate::project::{TrainingRow, Why};
use crate::report::{NearestRow, VERSION, WhyReport, WhyScale, why_text};

use super::args::{OutputFormat, WhyArgs};
use super::error::CliError;
use super::output::Screen;

/// Runs the command. Its outcome says nothing of the candidate: that is what `gate` is for.
///
/// # Errors
/// Whatever stops it; finished answers are on disk.
pub fn why(args: &WhyArgs, screen: &Screen) -> Result<Outcome, CliError> {
    let project = screen.open(args.overrides())?;
    let candidate = project.candidate(args.candidate.as_deref())?;
    let why = project.why(&args.probe, &candidate)?;
    let next = project.next(&candidate);
    let report = report(why);
    match screen.format {
        OutputFormat::Json => screen.print_json(&report)?,
        OutputFormat::Text => screen.print(&why_text(&report, &next, screen.style))?,
    }
    Ok(Outcome::Pass)
}

fn report(why: Why) -> WhyReport {
    let kept_up_to = why.kept_up_to();
    let rows = |rows: Vec<TrainingRow>| -> Vec<NearestRow> {
        let each = rows.into_iter().map(|row| NearestRow {
            origin: row.origin,
            question: row.question,
            answer: row.answer,
            run: row.run,
            words: row.words,
            base_run: row.base_run,
            cosine: row.cosine,
        });
        each.collect()
    };
    let scales = why.scales.iter().map(|at| WhyScale {
        scale: at.scale,
        score: at.score,
        state: at.state,
    });
    WhyReport {
        version: VERSION,
        candidate: why.candidate,
        state: why.probe.state(),
        probe: why.probe,
        prompt: why.prompt,
        sample: why.sample,
        parting: why.parting,
        rows: why.rows,
        by_words: rows(why.by_words),
        by_meaning: why.by_meaning.map(rows),
        scales: scales.collect(),
        kept_up_to,
    }
}
