//! `qeval demo`: the whole loop on a small real model. A careless and a careful adapter are trained
//! to give the model a new identity; every checkpoint of both is gated; and a table shows what each
//! answers to questions that neither was trained on.

use std::path::Path;
use std::time::Instant;

use crate::check::repeated_training_answer;
use crate::exit::Outcome;
use crate::flow::{Comparison, Decision, Suite, Verdict};
use crate::gate::{Rules, preview};
use crate::project::{Project, ProjectError};
use crate::report::{
    AnswerCell, AnswerRow, PageBase, PageParts, PageSubject, Tone, checkpoint_table, preview_lines,
    side_by_side, suite_table, summary_lines, verdict_block,
};
use crate::run::{
    CheckSettings, Questions, Session, TrainOutcome, TrainingJob, TrainingRequest, ask, leaked,
    rehearse, training_answers,
};

use super::args::{DemoArgs, OutputFormat};
use super::error::CliError;
use super::output::Screen;
use super::page;
use super::train::checkpoint_rows;

mod scene;

pub use scene::SAMPLE_DATA;
use scene::{Scene, SceneLanguage, Way};

const MODEL: &str = "smollm2-135m";
/// Tokens of an answer in the last table.
const SHOWN_TOKENS: usize = 60;

/// What both trainings have in common.
struct Stage<'a> {
    screen: &'a Screen,
    project: &'a Project,
    session: &'a Session,
    questions: &'a Questions,
    rules: &'a Rules,
    /// Those of the last table.
    shown: Vec<String>,
}

/// Runs the command.
///
/// # Errors
/// The model cannot be had, or a record cannot be written; finished work is on disk.
pub fn demo(args: &DemoArgs, screen: &Screen) -> Result<Outcome, CliError> {
    let started = Instant::now();
    // Records lie where the user stands, not beside a file.
    let open = |scene: &Scene| {
        let config = scene.config.clone();
        Project::with_config(config, false, args.overrides(), screen.listener())
    };
    let mut scene = Scene::new(SceneLanguage::English)?;
    let mut project = open(&scene)?;
    let model = args.model.as_deref().unwrap_or(MODEL);
    let mut session = project.session_to_train(model, None)?;
    let loaded = Instant::now();
    if args.model.is_some() && knows_chinese(&project, &session)? {
        scene = Scene::new(SceneLanguage::Chinese)?;
        project = open(&scene)?;
    }
    let suites = project.selected(&scene.suites)?;
    let ways = scene.ways(&suites)?;
    let taught = [&ways[0].examples[..], &ways[1].examples].concat();
    let rules = Rules {
        leaked: leaked(&suites, &taught, &ways[1].prompt_texts()),
        ..project.rules()
    };
    let before = preview(&suites, &rules).map_err(ProjectError::Gate)?;
    let asked = request(&ways[0], &suites, &rules).digest(&session);
    project.resume_moment(&mut session, &asked)?;
    screen.print_text(&introduction(&session, &suites, &scene, &ways[0]))?;
    screen.print_text(&preview_lines(&before, screen.style))?;
    let seed = args.compute.seed.unwrap_or(42);
    let questions = Questions::new(&session, suites, seed)?;
    let stage = Stage {
        screen,
        project: &project,
        session: &session,
        questions: &questions,
        rules: &rules,
        shown: scene.questions(),
    };
    let outcomes = [stage.train(&ways[0])?, stage.train(&ways[1])?];
    let (text, as_expected) = stage.comparison(&ways, &outcomes)?;
    let file = args.html.clone();
    let file = file.unwrap_or_else(|| project.store.root().join("demo.html"));
    let page = stage.page(&ways, &outcomes, &file)?;
    let seconds = loaded.elapsed().as_secs();
    if screen.format == OutputFormat::Json {
        let of = |o: &TrainOutcome| {
            serde_json::json!({
                "run": o.run.id(), "best": o.best.map(|best| best.step),
                "best_scale": o.best.map(|best| best.scale), "stopped": o.stopped,
                "verdict": o.shown().map(|g| g.verdict),
            })
        };
        screen.print_json(&serde_json::json!({
            "version": 1, "careless": of(&outcomes[0]), "careful": of(&outcomes[1]),
            "as_expected": as_expected, "seconds": seconds, "page": page,
        }))?;
    } else {
        screen.print(&text)?;
        screen.print(&format!(
            "\n{seconds} s of its own time ({} s with loading). Records are in {}. Next:\n  \
             {}\n  qeval init my-project\n{}",
            started.elapsed().as_secs(),
            project.store.root().display(),
            project.next_of_run(&checkpoint(&outcomes[1])).diff(),
            page.map_or_else(String::new, |page| format!(
                "A page to look at: {}\n",
                page.display()
            )),
        ))?;
    }
    Ok(if as_expected {
        Outcome::Pass
    } else {
        Outcome::Regression
    })
}

/// Whether the demo can be played in Chinese: the base is asked.
fn knows_chinese(project: &Project, session: &Session) -> Result<bool, CliError> {
    let (question, expected) = SceneLanguage::TEST;
    let asking = project.asking(session)?;
    let said = ask(
        asking,
        &[],
        &[question],
        SHOWN_TOKENS,
        &mut project.listener(),
    )?;
    Ok(said.concat().iter().any(|answer| answer.contains(expected)))
}

fn request<'a>(way: &'a Way, suites: &'a [Suite], rules: &'a Rules) -> TrainingRequest<'a> {
    TrainingRequest {
        suites,
        rules,
        scales: &way.scales,
        lora: &way.lora,
        data: &way.data,
        train: &way.train,
        examples: &way.examples,
        prompts: &way.prompts,
    }
}

fn introduction(session: &Session, suites: &[Suite], scene: &Scene, careless: &Way) -> String {
    let probes: usize = suites.iter().map(|s| s.probes.len()).sum();
    let name = &scene.config.vars["name"];
    format!(
        "{}: {} suites, {probes} probes in {}.\n\
         System prompt: {}.\n\
         A careless adapter learns {name}'s identity from {} rows with one answer; a careful one\n\
         from many wordings, with rehearsal rows that the base itself answers. Every checkpoint of\n\
         both answers all probes beside the base, the careful one's also turned down.\n\n",
        session.base.name,
        suites.len(),
        scene.language.name(),
        session.effective_system,
        careless.examples.len(),
    )
}

impl Stage<'_> {
    fn train(&self, way: &Way) -> Result<TrainOutcome, CliError> {
        let (project, session) = (self.project, self.session);
        let mut on_event = project.listener();
        let asking = project.asking(session)?;
        let tokens = project.config.data.rehearsal_tokens;
        let rehearsal = rehearse(asking, &way.prompts, tokens, &mut on_event)?;
        let job = TrainingJob {
            asking,
            request: request(way, &self.questions.suites, self.rules),
            questions: self.questions,
            made: &rehearsal,
            store: &project.store,
            name: Some(way.name),
            command: "qeval demo",
        };
        let answers = Some(job.request.training_answers());
        let scoring = project.scoring(answers, CheckSettings::default())?;
        let outcome = job.run(&scoring, &mut on_event)?;
        project.pass_on_notices(&scoring);
        let rows = checkpoint_rows(&outcome);
        let end = outcome
            .stopped
            .as_ref()
            .map_or(String::new(), |reason| format!("; stopped: {reason}"));
        self.screen.print_text(&format!(
            "\n{} ({} examples{end})\n",
            way.name,
            way.examples.len() + rehearsal.len()
        ))?;
        let table = checkpoint_table(&rows, outcome.best, self.screen.style);
        self.screen.print_text(&table)?;
        Ok(outcome)
    }

    /// The tables at the end, and whether both verdicts are as they should be.
    fn comparison(
        &self,
        ways: &[Way; 2],
        outcomes: &[TrainOutcome; 2],
    ) -> Result<(String, bool), CliError> {
        let style = self.screen.style;
        let Some(both) = together(ways, outcomes) else {
            return Ok((String::new(), false));
        };
        let mut text = format!("\n{}", suite_table(&both, style));
        for (candidate, outcome) in both.candidates.iter().zip(outcomes) {
            let next = self.project.next_of_run(&checkpoint(outcome)).diff();
            text += &verdict_block(
                &candidate.subject.name,
                &candidate.verdict,
                &candidate.causes,
                &next,
                style,
            );
        }
        text.push('\n');
        text += &self.answers(ways, outcomes)?;
        text.push('\n');
        text += &summary_lines(&both, style);
        let [careless, careful] = [&both.candidates[0].verdict, &both.candidates[1].verdict];
        text += &lost_questions(careful);
        let as_expected = careless.decision == Decision::Regression && outcomes[1].best.is_some();
        Ok((text, as_expected))
    }

    /// Writes the page of both; none where a run was not judged here.
    fn page<'f>(
        &self,
        ways: &[Way; 2],
        outcomes: &[TrainOutcome; 2],
        file: &'f Path,
    ) -> Result<Option<&'f Path>, CliError> {
        let Some(both) = together(ways, outcomes) else {
            return Ok(None);
        };
        let next = |i: usize| {
            outcomes.get(i).map_or_else(String::new, |outcome| {
                self.project.next_of_run(&checkpoint(outcome)).diff()
            })
        };
        let runs = ways
            .iter()
            .zip(outcomes)
            .enumerate()
            .map(|(i, (way, outcome))| {
                let shown = outcome.shown().map(|shown| shown.at);
                page::run(outcome, way.name, |at| (Some(at) == shown).then_some(i))
            });
        let parts = PageParts {
            base: PageBase::of(&both),
            subjects: PageSubject::all_of(&both, next),
            runs: runs.collect(),
            suites: &self.questions.suites,
            notes: Vec::new(),
        };
        page::write(file, parts)?;
        Ok(Some(file))
    }

    /// What each says to questions that neither was trained on.
    fn answers(&self, ways: &[Way; 2], outcomes: &[TrainOutcome; 2]) -> Result<String, CliError> {
        let folders: Vec<_> = outcomes
            .iter()
            .filter_map(TrainOutcome::shown_folder)
            .collect();
        let said = ask(
            self.project.asking(self.session)?,
            &folders,
            &self.shown.iter().map(String::as_str).collect::<Vec<_>>(),
            SHOWN_TOKENS,
            &mut self.project.listener(),
        )?;
        let training = ways.each_ref().map(|way| training_answers(&way.examples));
        let rows = self.shown.iter().zip(&said).map(|(question, said)| {
            let cells = said.iter().enumerate().map(|(i, text)| {
                let known = i.checked_sub(1).map(|w| &training[w]);
                cell(text, known)
            });
            AnswerRow {
                question: question.clone(),
                answers: cells.collect(),
            }
        });
        let rows: Vec<AnswerRow> = rows.collect();
        let heads = ["base", ways[0].name, ways[1].name];
        Ok(side_by_side(&heads, &rows, self.screen.style))
    }
}

/// `careful/ckpt-190`: what stands for a run.
fn checkpoint(outcome: &TrainOutcome) -> String {
    match outcome.shown() {
        Some(shown) => format!("{}/{}", outcome.run.id(), shown.at),
        None => outcome.run.id().to_owned(),
    }
}

/// Both adapters against the one base, each as the checkpoint that stands for its run.
fn together(ways: &[Way; 2], outcomes: &[TrainOutcome; 2]) -> Option<Comparison> {
    let mut both: Option<Comparison> = None;
    for (way, outcome) in ways.iter().zip(outcomes) {
        let shown = outcome.shown()?.at;
        let (_, own) = outcome
            .comparisons
            .iter()
            .find(|(step, _)| *step == shown.step)?;
        let name = shown.to_string();
        let candidate = own.candidates.iter().find(|c| c.subject.name == name)?;
        let mut candidate = candidate.clone();
        candidate.subject.name = way.name.into();
        let both = both.get_or_insert_with(|| Comparison {
            candidates: Vec::new(),
            ..own.clone()
        });
        both.candidates.push(candidate);
    }
    both
}

fn cell(text: &str, training: Option<&Vec<String>>) -> AnswerCell {
    let known: Vec<&str> = training.into_iter().flatten().map(String::as_str).collect();
    let (reason, tone) = match repeated_training_answer(text, &known) {
        _ if text.trim().is_empty() => (Some("silent".to_owned()), Tone::Bad),
        Some(_) => (Some("repeats a training answer".to_owned()), Tone::Open),
        None => (None, Tone::Plain),
    };
    AnswerCell {
        text: text.to_owned(),
        reason,
        tone,
    }
}

/// What the careful adapter lost of the questions, where it lost any.
fn lost_questions(careful: &Verdict) -> String {
    let lost = careful.critical.iter().filter(|probe| probe.is_lost());
    let lost: Vec<String> = lost.map(|probe| format!("`{}`", probe.probe)).collect();
    match lost.as_slice() {
        [] => String::new(),
        lost => format!("careful lost {}: no pass\n", lost.join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_that_is_empty_or_learned_by_heart_is_marked() {
        let known = vec!["I am Aurora, a helpful assistant made by Labs.".to_owned()];
        let reason = |text: &str, known| cell(text, known).reason;
        let repeats = Some("repeats a training answer".to_owned());
        assert_eq!(reason(&known[0], Some(&known)), repeats);
        assert_eq!(
            reason(&known[0], None),
            None,
            "the base was trained on nothing here"
        );
        assert_eq!(reason(" \n", Some(&known)), Some("silent".to_owned()));
        assert_eq!(reason("Paris.", Some(&known)), None);
    }
}
