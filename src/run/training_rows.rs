//! The rows of a training run as token ids, and what of its settings would silently do nothing.

use crate::gate::preview;
use crate::train::{
    Example, Preflight, ProbeSystem, Split, StepPlan, Tokenized, TokenizedExample, TrainSection,
    split, total_steps,
};

use super::error::RunError;
use super::training::TrainingJob;

/// The rows of a run as token ids.
pub(super) struct TrainingRows {
    /// All of them, as read.
    pub rows: Vec<Example>,
    /// The same as token ids.
    pub tokenized: Tokenized,
    /// Which of them are learned, and which are validated on.
    pub sides: Split,
    /// Those to learn, and after them those to stay at, with the base's distributions.
    pub examples: Vec<TokenizedExample>,
    /// Those to validate on.
    pub validation: Vec<TokenizedExample>,
}

/// The steps over some rows.
pub(super) fn plan_of(examples: &[TokenizedExample], train: &TrainSection) -> StepPlan {
    StepPlan::new(
        examples,
        train.examples_per_step(),
        train.num_train_epochs,
        train.seed,
    )
}

impl TrainingJob<'_> {
    /// Reads the rows as token ids, and finds what the run would silently not do.
    ///
    /// # Errors
    /// What the preflight or the gate's preview refuses.
    pub(super) fn rows(&self) -> Result<TrainingRows, RunError> {
        let session = self.asking.session;
        let request = &self.request;
        let max_length = request
            .train
            .max_length
            .min(session.decoder.config().max_position_embeddings);
        let rows: Vec<Example> = request.examples.iter().chain(self.made).cloned().collect();
        let tokenized = Tokenized::new(
            &rows,
            &session.template,
            &session.tokenizer,
            session.system.as_deref(),
            max_length,
        );
        // Rehearsal rows come last and are never validated on: there is nothing to learn in them.
        let anchors = tokenized.examples.len() - tokenized.learned();
        let groups = &tokenized.groups()[..tokenized.learned()];
        let mut sides = split(groups, request.data.validation_ratio, request.data.seed);
        let learned = groups.len();
        sides.train.extend(learned..learned + anchors);
        self.preflight_of(&rows, &tokenized, &sides)?;
        if !self.questions.suites.is_empty() {
            preview(&self.questions.suites, request.rules).map_err(RunError::Gate)?;
        }
        let pick = |places: &[usize]| {
            places
                .iter()
                .map(|&i| tokenized.examples[i].clone())
                .collect::<Vec<_>>()
        };
        let validation = pick(&sides.validation);
        let examples = pick(&sides.train)
            .into_iter()
            .map(|e| e.anchored(&session.decoder))
            .collect::<Result<_, _>>()?;
        Ok(TrainingRows {
            rows,
            tokenized,
            sides,
            examples,
            validation,
        })
    }

    /// Finds what a run over rows that were read before would silently not do.
    ///
    /// # Errors
    /// What the preflight refuses.
    pub(super) fn preflight(&self, rows: &TrainingRows) -> Result<(), RunError> {
        self.preflight_of(&rows.rows, &rows.tokenized, &rows.sides)
    }

    fn preflight_of(
        &self,
        rows: &[Example],
        tokenized: &Tokenized,
        sides: &Split,
    ) -> Result<(), RunError> {
        let train = self.request.train;
        let probes = self.probe_systems();
        Preflight {
            data: self.request.data,
            train,
            examples: rows,
            tokenized,
            split: sides,
            total_steps: total_steps(
                sides.train.len(),
                train.examples_per_step(),
                train.num_train_epochs,
            ),
            system: &self.asking.session.effective_system.text,
            probes: &probes,
        }
        .check()
        .map_err(|e| RunError::Preflight(e.findings.iter().map(ToString::to_string).collect()))
    }

    fn probe_systems(&self) -> Vec<ProbeSystem> {
        let usual = &self.asking.session.effective_system.text;
        let suites = self.questions.suites.iter();
        suites
            .flat_map(|s| s.probes.iter().map(move |p| (s, p)))
            .map(|(suite, probe)| ProbeSystem {
                suite: suite.name.clone(),
                probe: probe.id.clone(),
                system: probe.system.clone().unwrap_or_else(|| usual.clone()),
            })
            .collect()
    }
}
