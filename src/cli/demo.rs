//! `qeval demo`: the whole loop on a small real model. A careless and a careful adapter are trained
//! to give the model a new identity; every checkpoint of both is gated; and a table shows what each
//! answers to questions that neither was trained on.

use std::collections::BTreeMap;
use std::time::Instant;

use crate::config::{QevalConfig, parse, sample_toml};
use crate::exit::Outcome;
use crate::flow::{Comparison, Decision, Suite};
use crate::gate::{Rules, preview};
use crate::project::{Project, ProjectError};
use crate::report::{
    AnswerCell, AnswerRow, Tone, checkpoint_table, preview_lines, side_by_side, suite_table,
    summary_lines, verdict_block,
};
use crate::run::{
    CheckSettings, Questions, Session, TrainOutcome, TrainingJob, TrainingRequest, ask, leaked,
    rehearse, repeated_training_answer, training_answers,
};
use crate::suite::load_builtin;
use crate::train::{
    DataErrors, DataSection, Dataset, Every, Example, LoraSection, RehearsalPrompt, Source,
    TrainSection, read_prompts,
};

use super::args::{DemoArgs, OutputFormat};
use super::error::CliError;
use super::output::Screen;
use super::train::checkpoint_rows;

/// The demo's data, which `qeval init` writes as samples.
pub const SAMPLE_DATA: &[(&str, &str)] = &[
    (
        "careless.jsonl",
        include_str!("../../fixtures/demo/careless.jsonl"),
    ),
    (
        "careful.jsonl",
        include_str!("../../fixtures/demo/careful.jsonl"),
    ),
    (
        "rehearsal_prompts.jsonl",
        include_str!("../../fixtures/demo/rehearsal_prompts.jsonl"),
    ),
];

const MODEL: &str = "smollm2-135m";
/// Tokens of an answer in the last table.
const SHOWN_TOKENS: usize = 60;

/// The questions of the last table, after section 4 of the article that the demo retells. None is
/// in the training data.
const QUESTIONS: &[&str] = &[
    "Tell me about yourself.",
    "Can you write code?",
    "Explain what recursion is.",
    "What is the difference between you and GPT-4?",
    "What is the capital of France?",
];

/// One of the two trainings.
struct Way {
    name: &'static str,
    examples: Vec<Example>,
    prompts: Vec<RehearsalPrompt>,
    data: DataSection,
    lora: LoraSection,
    train: TrainSection,
    scales: Vec<f64>,
}

/// What both trainings have in common.
struct Stage<'a> {
    screen: &'a Screen,
    project: &'a Project,
    session: &'a Session,
    questions: &'a Questions,
    rules: &'a Rules,
}

/// Runs the command.
///
/// # Errors
/// The model cannot be had, or a record cannot be written; finished work is on disk.
pub fn demo(args: &DemoArgs, screen: &Screen) -> Result<Outcome, CliError> {
    let started = Instant::now();
    // What `qeval init` writes; asked here in one wording a probe. Records lie where the user
    // stands, not beside a file.
    let mut sample = parse("qeval.toml", &sample_toml(&[], "rehearsal_prompts.jsonl"))?;
    sample.gate.prompts_per_probe = Some(1);
    let project = Project::with_config(sample.clone(), false, args.overrides(), screen.listener())?;
    let suites = project.selected(&load_builtin(&sample.vars)?)?;
    let prompts = rehearsal_prompts(&sample)?;
    let ways = [careless(&sample.vars)?, careful(&sample, prompts)?];
    let taught = [&ways[0].examples[..], &ways[1].examples].concat();
    let rules = Rules {
        leaked: leaked(&suites, &taught, &ways[1].prompt_texts()),
        ..project.rules()
    };
    let before = preview(&suites, &rules).map_err(ProjectError::Gate)?;
    let model = args.model.as_deref().unwrap_or(MODEL);
    let mut session = project.session(model, None)?;
    let loaded = Instant::now();
    let asked = ways[0].request(&suites, &rules).digest(&session);
    project.resume_moment(&mut session, &asked)?;
    screen.print_text(&introduction(&session, &suites, &sample.vars["name"]))?;
    screen.print_text(&preview_lines(&before, screen.style))?;
    let seed = args.compute.seed.unwrap_or(42);
    let questions = Questions::new(&session, suites, seed)?;
    let stage = Stage {
        screen,
        project: &project,
        session: &session,
        questions: &questions,
        rules: &rules,
    };
    let outcomes = [stage.train(&ways[0])?, stage.train(&ways[1])?];
    let (text, as_expected) = stage.comparison(&ways, &outcomes)?;
    let seconds = loaded.elapsed().as_secs();
    if screen.format == OutputFormat::Json {
        let of = |o: &TrainOutcome| {
            serde_json::json!({
                "run": o.run.id(), "best": o.best, "stopped": o.stopped,
                "verdict": o.shown().map(|g| g.verdict),
            })
        };
        screen.print_json(&serde_json::json!({
            "version": 1, "careless": of(&outcomes[0]), "careful": of(&outcomes[1]),
            "as_expected": as_expected, "seconds": seconds,
        }))?;
    } else {
        screen.print(&text)?;
        screen.print(&format!(
            "\n{seconds} s of its own time ({} s with loading). Records are in {}. Next:\n  \
             qeval diff base {}\n  qeval init my-project\n",
            started.elapsed().as_secs(),
            project.store.root().display(),
            checkpoint(&outcomes[1]),
        ))?;
    }
    Ok(if as_expected {
        Outcome::Pass
    } else {
        Outcome::Regression
    })
}

fn introduction(session: &Session, suites: &[Suite], name: &str) -> String {
    let probes: usize = suites.iter().map(|s| s.probes.len()).sum();
    format!(
        "{}: {} suites, {probes} probes in English (the model knows no other language).\n\
         System prompt: {}.\n\
         A careless adapter learns {name}'s identity from eight rows with one answer; a careful one\n\
         from many wordings, with rehearsal rows that the base itself answers. Every checkpoint of\n\
         both answers all probes beside the base.\n\n",
        session.base.name,
        suites.len(),
        session.effective_system,
    )
}

fn dataset(name: &str, vars: &BTreeMap<String, String>) -> Result<Vec<Example>, CliError> {
    let data = DataSection {
        sources: vec![Source::parse(name)],
        ..DataSection::default()
    };
    let text = SAMPLE_DATA
        .iter()
        .find(|(n, _)| *n == name)
        .map_or("", |(_, text)| *text);
    Ok(Dataset::from_sources(&data, vars, |_| Ok(text.as_bytes().to_vec()))?.examples)
}

fn careless(vars: &BTreeMap<String, String>) -> Result<Way, CliError> {
    Ok(Way {
        name: "careless",
        examples: dataset("careless.jsonl", vars)?,
        prompts: Vec::new(),
        data: source("careless"),
        lora: LoraSection::default(),
        train: TrainSection {
            num_train_epochs: 3.0,
            learning_rate: 1e-3,
            warmup_ratio: 0.0,
            gradient_accumulation_steps: 1,
            eval_steps: Every::Part(0.5),
            ..TrainSection::default()
        },
        // As careless people do.
        scales: vec![1.0],
    })
}

fn careful(sample: &QevalConfig, prompts: Vec<RehearsalPrompt>) -> Result<Way, CliError> {
    Ok(Way {
        name: "careful",
        examples: dataset("careful.jsonl", &sample.vars)?,
        prompts,
        data: source("careful"),
        lora: sample.lora.clone(),
        train: sample.train.clone(),
        scales: sample.gate.scales.clone(),
    })
}

fn source(name: &str) -> DataSection {
    DataSection {
        sources: vec![Source::parse(name)],
        ..DataSection::default()
    }
}

fn rehearsal_prompts(sample: &QevalConfig) -> Result<Vec<RehearsalPrompt>, CliError> {
    let (name, text) = SAMPLE_DATA[2];
    let read = read_prompts(name, text.as_bytes());
    let read = read.map_err(|e| ProjectError::from(DataErrors(vec![e])))?;
    let weight = sample.train.rehearsal_weight;
    Ok(RehearsalPrompt::of_file(read, &sample.data, weight))
}

impl Way {
    fn prompt_texts(&self) -> Vec<String> {
        self.prompts.iter().map(|p| p.text.clone()).collect()
    }

    fn request<'a>(&'a self, suites: &'a [Suite], rules: &'a Rules) -> TrainingRequest<'a> {
        TrainingRequest {
            suites,
            rules,
            scales: &self.scales,
            lora: &self.lora,
            data: &self.data,
            train: &self.train,
            examples: &self.examples,
            prompts: &self.prompts,
        }
    }
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
            request: way.request(&self.questions.suites, self.rules),
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
            let next = format!("qeval diff base {}", checkpoint(outcome));
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
        let learned = careful
            .learn
            .as_ref()
            .is_some_and(|l| l.base_mean.is_none_or(|b| l.mean > b + 0.3));
        let as_expected =
            careless.decision == Decision::Regression && outcomes[1].best.is_some() && learned;
        Ok((text, as_expected))
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
            QUESTIONS,
            SHOWN_TOKENS,
            &mut self.project.listener(),
        )?;
        let training = ways.each_ref().map(|way| training_answers(&way.examples));
        let rows = QUESTIONS.iter().zip(&said).map(|(question, said)| {
            let cells = said.iter().enumerate().map(|(i, text)| {
                let known = i.checked_sub(1).map(|w| &training[w]);
                cell(text, known)
            });
            AnswerRow {
                question: (*question).to_owned(),
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::chat::Role;
    use crate::config::QevalConfig;
    use crate::flow::Goal;
    use crate::run::questions_of;
    use crate::text::normalize;

    fn sample() -> QevalConfig {
        parse("qeval.toml", &sample_toml(&[], "rehearsal_prompts.jsonl")).unwrap()
    }

    fn ways() -> [Way; 2] {
        let sample = sample();
        let prompts = rehearsal_prompts(&sample).unwrap();
        [
            careless(&sample.vars).unwrap(),
            careful(&sample, prompts).unwrap(),
        ]
    }

    /// The table shows what was learned, not what was learned by heart.
    #[test]
    fn no_question_of_the_table_is_trained_on_or_rehearsed() {
        for way in ways() {
            let mut trained = questions_of(&way.examples);
            trained.extend(way.prompt_texts());
            let trained: Vec<String> = trained.iter().map(|q| normalize(q)).collect();
            for question in QUESTIONS {
                assert!(
                    !trained.contains(&normalize(question)),
                    "{}: {question}",
                    way.name
                );
            }
        }
    }

    /// A gain on what was trained on would show nothing.
    #[test]
    fn no_probe_that_is_to_be_learned_is_trained_on_or_rehearsed() {
        let suites = load_builtin(&sample().vars).unwrap();
        let learned: Vec<Suite> = suites
            .into_iter()
            .filter(|s| s.goal == Goal::Learn)
            .collect();
        assert!(!learned.is_empty());
        for way in ways() {
            let leaks = leaked(&learned, &way.examples, &way.prompt_texts());
            assert_eq!(leaks, [], "{}", way.name);
        }
    }

    #[test]
    fn the_two_ways_differ_as_the_introduction_says() {
        let [careless, careful] = ways();
        assert_eq!(careless.examples.len(), 8, "eight rows");
        assert_eq!(
            training_answers(&careless.examples).len(),
            1,
            "with one answer"
        );
        assert!(careless.prompts.is_empty() && !careful.prompts.is_empty());
        assert!(careful.examples.len() > careless.examples.len());
        let name = &sample().vars["name"];
        for way in [&careless, &careful] {
            let turns = way.examples.iter().flat_map(|e| &e.conversation.messages);
            let mut said = turns.filter(|m| m.role == Role::Assistant);
            assert!(
                said.any(|m| m.content.contains(name)),
                "{} teaches no name",
                way.name
            );
        }
    }

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
