//! `qeval adapter ablate`: which parts of an adapter carry the harm, and which the learning.

use crate::exit::Outcome;
use crate::lora::{AdapterPart, write_without};
use crate::project::{Ablated, AblatedPart, Ablation, Carries, ProjectError};
use crate::report::{
    AblatedRow, AblationReport, AskedProbes, VERSION, WrittenWithout, ablation_text,
};
use crate::run::RunError;

use super::adapter::refuse_what_is_there;
use super::args::{AblateBy, AdapterAblateArgs, OutputFormat};
use super::error::CliError;
use super::output::Screen;

/// Runs the command. Its outcome says nothing of the adapter: that is what `gate` is for.
///
/// # Errors
/// Whatever stops it; finished answers are on disk.
pub(super) fn ablate(args: &AdapterAblateArgs, screen: &Screen) -> Result<Outcome, CliError> {
    let project = screen.open(args.measure.overrides())?;
    if let Some(out) = &args.out {
        refuse_what_is_there(out)?;
    }
    let ablation = Ablation {
        subject: args.subject.clone(),
        bands: (args.by != AblateBy::Modules).then_some(args.layers as usize),
        modules: args.by != AblateBy::Layers,
        only: args.without,
        all: args.all,
    };
    let found = project.ablate(&ablation)?;
    let worst = found.worst().map(|worst| worst.part);
    let written = match (&args.out, args.without.or(worst)) {
        (Some(out), Some(part)) => {
            write_without(&found.folder, out, &part)
                .map_err(|error| ProjectError::from(RunError::from(error)))?;
            Some((out.clone(), part))
        }
        (Some(_), None) => {
            screen.notice("nothing was written: no part is shown to carry the harm");
            None
        }
        (None, _) => None,
    };
    let written = written.map(|(folder, part)| WrittenWithout {
        folder,
        part: part.to_string(),
    });
    let report = report(args, &found, written);
    if screen.format == OutputFormat::Json {
        screen.print_json(&report)?;
        return Ok(Outcome::Pass);
    }
    let options = project.overrides.options();
    screen.print(&ablation_text(&report, &options, screen.style))?;
    if let Some(written) = &report.written {
        let next = project.next(&written.folder.display().to_string());
        screen.print(&format!("  next     {}\n", next.gate()))?;
    }
    Ok(Outcome::Pass)
}

fn report(
    args: &AdapterAblateArgs,
    found: &Ablated,
    written: Option<WrittenWithout>,
) -> AblationReport {
    let row = |part: &AblatedPart| AblatedRow {
        part: part.part.to_string(),
        typed: AdapterPart::typed(&part.part),
        share: part.share,
        kept: part.kept.clone(),
        back: part.back.clone(),
        learned: part.learned,
        carries_harm: matches!(part.carries, Carries::Harm | Carries::HarmAndLearning),
        carries_learning: matches!(part.carries, Carries::Learning | Carries::HarmAndLearning),
        train_without: found.training_without(&part.part),
    };
    AblationReport {
        version: VERSION,
        subject: args.subject.clone(),
        probes: AskedProbes {
            all: args.all,
            lost: found.probes.lost,
            others: found.probes.kept,
            learn: found.probes.learn,
            keep_in_all: found.probes.keep_in_all,
        },
        whole: found.whole.clone(),
        learned_by_base: found.learn.and_then(|(base, _)| base),
        learned: found.learn.map(|(_, whole)| whole),
        parts: found.parts.iter().map(row).collect(),
        worst: found.worst().map(|worst| worst.part.typed()),
        written,
    }
}
