//! `qeval demo`: the whole loop on a small real model. A careless and a careful adapter are trained
//! to give the model a new identity; every checkpoint of both is gated; and a table shows what each
//! answers to questions that neither was trained on.

use std::collections::BTreeMap;
use std::num::NonZeroUsize;
use std::time::Instant;

use crate::config::{QevalConfig, parse, sample_toml};
use crate::exit::Outcome;
use crate::flow::{CaseId, Decision, RunEvent, Suite, Verdict};
use crate::gate::{Rules, preview};
use crate::model::Dtype;
use crate::report::{
    AnswerCell, AnswerRow, Tone, checkpoint_table, preview_lines, repeated_training_answer,
    side_by_side, suite_table, summary_lines, verdict_block,
};
use crate::run::{
    Questions, Session, TrainOutcome, TrainingJob, ask, leaked, rehearse, training_answers,
};
use crate::suite::load_builtin;
use crate::train::{
    DataErrors, DataSection, Dataset, Every, Example, LoraSection, Source, TrainSection,
    read_prompts,
};

use super::args::{DemoArgs, Format, OutputArgs, SelectArgs};
use super::error::CliError;
use super::judge::view;
use super::measure::Measured;
use super::setup::{Setup, check_settings, rules, selected};
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
    rehearsal: Vec<Example>,
    lora: LoraSection,
    train: TrainSection,
}

/// Runs the command.
///
/// # Errors
/// The model cannot be had, or a record cannot be written; finished work is on disk.
pub fn demo(args: &DemoArgs, output: &OutputArgs) -> Result<Outcome, CliError> {
    let started = Instant::now();
    let setup = Setup::new(output, &args.compute, &args.store.runs)?;
    // What `qeval init` writes; asked here in one wording a probe.
    let sample = parse("qeval.toml", &sample_toml(&[], "rehearsal_prompts.jsonl"))?;
    let select = SelectArgs {
        prompts: Some(NonZeroUsize::MIN),
        ..SelectArgs::default()
    };
    let suites = selected(&sample, &select, &load_builtin(&sample.vars)?)?;
    let prompts = rehearsal_prompts()?;
    let (careless, mut careful) = (careless(&sample.vars)?, careful(&sample)?);
    let taught = [&careless.examples[..], &careful.examples].concat();
    let rules = Rules {
        leaked: leaked(&suites, &taught, &prompts),
        ..rules(&sample)
    };
    let before = preview(&suites, &rules).map_err(CliError::Gate)?;
    let mut on_event = setup.listener();
    let model = args.model.as_deref().unwrap_or(MODEL);
    let session = Session::open(model, None, setup.compute(Dtype::Auto), &mut on_event)?;
    let loaded = Instant::now();
    session
        .notices
        .iter()
        .for_each(|n| setup.notice(n.as_str()));
    setup.print_text(&introduction(&session, &suites, &sample.vars["name"]))?;
    setup.print_text(&preview_lines(&before, setup.style))?;
    let questions = Questions::new(&session, suites, args.compute.seed.unwrap_or(42))?;

    let first = train(
        &setup,
        &session,
        &questions,
        &rules,
        &careless,
        &mut on_event,
    )?;
    print_checkpoints(&setup, &careless, &first)?;
    careful.rehearsal = rehearse(
        &session,
        &prompts,
        sample.data.rehearsal_tokens,
        setup.slots,
        &setup.interrupt,
        &mut on_event,
    )?;
    let second = train(
        &setup,
        &session,
        &questions,
        &rules,
        &careful,
        &mut on_event,
    )?;
    print_checkpoints(&setup, &careful, &second)?;

    let shown = [(&careless, &first), (&careful, &second)];
    let (text, as_expected) = comparison(&setup, &session, &questions, &shown, &mut on_event)?;
    let seconds = |d: std::time::Duration| d.as_secs();
    if setup.format == Format::Json {
        let of = |o: &TrainOutcome| serde_json::json!({ "run": o.run.id(), "best": o.best, "stopped": o.stopped, "verdict": o.verdict() });
        let report = serde_json::json!({
            "version": 1, "careless": of(&first), "careful": of(&second), "as_expected": as_expected,
            "seconds": seconds(loaded.elapsed()),
        });
        setup.print(&(serde_json::to_string_pretty(&report)? + "\n"))?;
    } else {
        setup.print(&text)?;
        let best = format!("{}/ckpt-{}", second.run.id(), shown_step(&second));
        setup.print(&format!(
            "\n{} s of its own time ({} s with loading). Records are in {}. Next:\n  qeval diff base {best}\n  qeval init my-project\n",
            seconds(loaded.elapsed()),
            seconds(started.elapsed()),
            setup.store.root().display(),
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
        rehearsal: Vec::new(),
        lora: LoraSection::default(),
        train: TrainSection {
            num_train_epochs: 3.0,
            learning_rate: 1e-3,
            warmup_ratio: 0.0,
            gradient_accumulation_steps: 1,
            eval_steps: Every::Part(0.5),
            ..TrainSection::default()
        },
    })
}

fn careful(sample: &QevalConfig) -> Result<Way, CliError> {
    Ok(Way {
        name: "careful",
        examples: dataset("careful.jsonl", &sample.vars)?,
        rehearsal: Vec::new(),
        lora: sample.lora.clone(),
        train: sample.train.clone(),
    })
}

fn rehearsal_prompts() -> Result<Vec<String>, CliError> {
    let (name, text) = SAMPLE_DATA[2];
    read_prompts(name, text.as_bytes()).map_err(|e| DataErrors(vec![e]).into())
}

fn train(
    setup: &Setup,
    session: &Session,
    questions: &Questions,
    rules: &Rules,
    way: &Way,
    on_event: &mut dyn FnMut(RunEvent),
) -> Result<TrainOutcome, CliError> {
    let data = DataSection {
        sources: vec![Source::parse(way.name)],
        ..DataSection::default()
    };
    let job = TrainingJob {
        session,
        questions,
        rules,
        lora: &way.lora,
        data: &data,
        train: &way.train,
        examples: &way.examples,
        rehearsal: &way.rehearsal,
        store: &setup.store,
        name: Some(way.name),
        command: "qeval demo",
        slots: setup.slots,
        interrupt: &setup.interrupt,
    };
    let scoring = setup.scoring(
        Some(job.training_answers()),
        check_settings(&QevalConfig::default()),
    );
    let outcome = job.run(&scoring, on_event)?;
    scoring
        .take_notices()
        .into_iter()
        .for_each(|n| setup.notice(n));
    Ok(outcome)
}

fn print_checkpoints(setup: &Setup, way: &Way, outcome: &TrainOutcome) -> Result<(), CliError> {
    let rows = checkpoint_rows(outcome);
    let end = outcome
        .stopped
        .as_ref()
        .map_or(String::new(), |reason| format!("; stopped: {reason}"));
    setup.print_text(&format!(
        "\n{} ({} examples{end})\n",
        way.name,
        way.examples.len() + way.rehearsal.len()
    ))?;
    setup.print_text(&checkpoint_table(&rows, outcome.best, setup.style))
}

/// The checkpoint that stands for a run: its best, else its last.
fn shown_step(outcome: &TrainOutcome) -> usize {
    outcome
        .best
        .or_else(|| outcome.gated().last().map(|g| g.step))
        .unwrap_or(0)
}

fn verdict_at(outcome: &TrainOutcome, step: usize) -> Option<&Verdict> {
    outcome.gated().find(|g| g.step == step).map(|g| &g.verdict)
}

/// The tables at the end, and whether both verdicts are as they should be.
fn comparison(
    setup: &Setup,
    session: &Session,
    questions: &Questions,
    ways: &[(&Way, &TrainOutcome); 2],
    on_event: &mut dyn FnMut(RunEvent),
) -> Result<(String, bool), CliError> {
    let (mut measured, mut verdicts, mut causes) = (None, Vec::new(), Vec::new());
    let mut folders = Vec::new();
    for (way, outcome) in ways {
        let step = shown_step(outcome);
        let (Some(verdict), Some(base)) = (verdict_at(outcome, step), outcome.base.clone()) else {
            return Ok((String::new(), false));
        };
        let Some((_, said)) = outcome.measured.iter().find(|(s, _)| *s == step) else {
            return Ok((String::new(), false));
        };
        let subject = crate::flow::Subject {
            name: way.name.into(),
            adapter: None,
        };
        let one = measured.get_or_insert_with(|| Measured {
            subjects: vec![crate::flow::Subject::base()],
            measurements: vec![base],
            noise: None,
            session: None,
        });
        one.subjects.push(subject);
        one.measurements.push(said.clone());
        verdicts.push(verdict.clone());
        causes.push(keep_causes(
            questions,
            one,
            one.subjects.len() - 1,
            &training_answers(&way.examples),
        ));
        folders.push(outcome.run.checkpoint_folder(step));
    }
    let Some(measured) = measured else {
        return Ok((String::new(), false));
    };
    let view = view(&questions.suites, &measured, &verdicts, &causes);
    let mut text = format!("\n{}", suite_table(&view, setup.style));
    for (candidate, (way, outcome)) in view.candidates.iter().zip(ways) {
        let next = format!(
            "qeval diff base {}/ckpt-{}",
            outcome.run.id(),
            shown_step(outcome)
        );
        text += &verdict_block(
            way.name,
            candidate.verdict,
            candidate.causes,
            &next,
            setup.style,
        );
    }
    let answers = ask(
        session,
        &folders,
        QUESTIONS,
        SHOWN_TOKENS,
        setup.slots,
        on_event,
    )?;
    let training: Vec<Vec<String>> = ways
        .iter()
        .map(|(way, _)| training_answers(&way.examples))
        .collect();
    let rows: Vec<AnswerRow> = QUESTIONS
        .iter()
        .zip(&answers)
        .map(|(question, said)| AnswerRow {
            question: (*question).to_owned(),
            answers: said
                .iter()
                .enumerate()
                .map(|(i, text)| cell(text, i.checked_sub(1).map(|w| &training[w])))
                .collect(),
        })
        .collect();
    text.push('\n');
    text += &side_by_side(
        &["base", ways[0].0.name, ways[1].0.name],
        &rows,
        setup.style,
    );
    text.push('\n');
    text += &summary_lines(&view, setup.style);
    let learned = verdicts[1]
        .learn
        .as_ref()
        .is_some_and(|l| l.base_mean.is_none_or(|b| l.mean > b + 0.3));
    let as_expected =
        verdicts[0].decision == Decision::Regression && ways[1].1.best.is_some() && learned;
    Ok((text, as_expected))
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

fn keep_causes(
    questions: &Questions,
    measured: &Measured,
    i: usize,
    training: &[String],
) -> Vec<String> {
    let keep = |case: &CaseId| {
        questions
            .suites
            .iter()
            .any(|s| s.name == case.suite && s.goal == crate::flow::Goal::Keep)
    };
    let pairs: Vec<(&str, &str)> = measured.measurements[0]
        .answers
        .iter()
        .filter(|((case, _), _)| keep(case))
        .filter_map(|(place, a)| {
            Some((
                a.text.as_str(),
                measured.measurements[i].answers.get(place)?.text.as_str(),
            ))
        })
        .collect();
    let training: Vec<&str> = training.iter().map(String::as_str).collect();
    crate::report::answer_causes(&pairs, &training)
}
