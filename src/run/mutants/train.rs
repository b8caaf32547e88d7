//! Trains the mutants, each once: a run of the same base, rows, and settings is found again.

use std::path::PathBuf;

use crate::flow::RunEvent;
use crate::gate::Rules;
use crate::record::Store;
use crate::train::{Language, TrainError};

use super::super::asking::Asking;
use super::super::error::RunError;
use super::super::interrupt::Interrupt;
use super::super::questions::Questions;
use super::super::rehearsal::rehearse;
use super::super::scoring::Scoring;
use super::super::session::Session;
use super::super::training::TrainingJob;
use super::super::training_request::TrainingRequest;
use super::recipe::{BadTraining, Recipe};

/// The folder of mutants below that of runs: their adapters and their answers.
pub const MUTANTS: &str = "mutants";

/// What trained mutants need beside a base.
#[derive(Clone, Copy)]
pub struct TrainedMutants<'a> {
    /// Where their runs are: the folder [`MUTANTS`].
    pub store: &'a Store,
    /// The languages that the base is asked in.
    pub languages: &'a [Language],
    /// Sequences answered at once; 0 is as many as suit the device.
    pub slots: usize,
    /// The user's wish to stop.
    pub interrupt: &'a Interrupt,
    /// Turns answers into scores; none is asked for.
    pub scoring: &'a Scoring,
}

/// Trains some mutants, or finds them trained: the PEFT folder of each, in their order, or why a training
/// came to no end: its numbers left the range of the device. The session's chat template is another one
/// meanwhile where a training asks for it.
///
/// # Errors
/// A base that cannot be trained, records that cannot be written, or an interrupt; finished ones are on
/// disk.
pub fn train_mutants(
    session: &mut Session,
    trainings: &[BadTraining],
    mutants: TrainedMutants<'_>,
    on_event: &mut dyn FnMut(RunEvent),
) -> Result<Vec<Result<PathBuf, TrainError>>, RunError> {
    let mut folders = Vec::new();
    for training in trainings {
        let mut recipe = training.recipe(session, mutants.languages)?;
        let other = recipe.template.take();
        let own = other.map(|other| std::mem::replace(&mut session.template, other));
        let trained = train(session, &recipe, mutants, on_event);
        if let Some(own) = own {
            session.template = own;
        }
        folders.push(match trained {
            Ok(folder) => Ok(folder),
            Err(RunError::Train(error @ TrainError::NotFinite { .. })) => Err(error),
            Err(error) => return Err(error),
        });
    }
    Ok(folders)
}

fn train(
    session: &Session,
    recipe: &Recipe,
    mutants: TrainedMutants<'_>,
    on_event: &mut dyn FnMut(RunEvent),
) -> Result<PathBuf, RunError> {
    let asking = Asking {
        session,
        slots: mutants.slots,
        interrupt: mutants.interrupt,
    };
    let tokens = recipe.data.rehearsal_tokens;
    let made = rehearse(asking, &recipe.prompts, tokens, on_event)?;
    let questions = Questions::new(session, Vec::new(), recipe.train.seed)?;
    let job = TrainingJob {
        asking,
        request: TrainingRequest {
            suites: &[],
            rules: &Rules::default(),
            scales: &[1.0],
            lora: &recipe.lora,
            data: &recipe.data,
            train: &recipe.train,
            examples: &recipe.examples,
            prompts: &recipe.prompts,
        },
        questions: &questions,
        made: &made,
        store: mutants.store,
        name: None,
        command: "suite check --mutants",
    };
    // What is told of a run and its gates is about checkpoints that nobody asked for.
    let mut quiet = |event| match event {
        RunEvent::Notice(_) => {}
        event => on_event(event),
    };
    let outcome = job.run(mutants.scoring, &mut quiet)?;
    Ok(outcome.run.checkpoint_folder(outcome.steps))
}
