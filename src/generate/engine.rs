//! The step loop: rows of every slot, whatever each is doing, go through the decoder together.
//!
//! An answer does not depend on what else is in the batch: every operation of the decoder is
//! row-wise, so slots, chunks, and neighbours only decide when a row is computed.

use std::ops::ControlFlow;

use super::request::{Finished, Request, Work};
use super::sampler::draw;
use super::slots::{Active, Pending, Slots, State};
use super::stepper::{Ask, CpuStepper, Plan, Row, Stepper, Wanted};
use crate::flow::Finish;
use crate::lora::LoadedAdapter;
use crate::model::{ModelError, ModelRef, Span};

/// How the engine runs. None of it changes an answer.
#[derive(Debug, Clone)]
pub struct EngineOptions {
    /// Sequences in the cache at once; 0 is as many as suit the device.
    pub slots: usize,
    /// Most rows of a step; prompts are cut into chunks that fit.
    pub step_rows: usize,
    /// Ids that end a turn.
    pub end_of_turn: Vec<u32>,
    /// Ids from here on stand for no token and are never chosen.
    pub usable_vocab: usize,
    /// Name every token in the report of the step that chose it. Default: false.
    pub report_tokens: bool,
}

/// Rows of a step that are worth filling with prompts.
const STEP_ROWS: usize = 192;

impl EngineOptions {
    /// So many sequences at once, and steps with room for prompts beside them.
    pub fn new(slots: usize, end_of_turn: Vec<u32>, usable_vocab: usize) -> Self {
        EngineOptions {
            slots,
            step_rows: STEP_ROWS.max(slots),
            end_of_turn,
            usable_vocab,
            report_tokens: false,
        }
    }
}

/// A base with adapters, ready to answer.
pub struct Engine<'a> {
    model: ModelRef<'a>,
    adapters: &'a [LoadedAdapter],
    options: EngineOptions,
}

/// What one step did.
#[derive(Debug, Clone, Default)]
pub struct StepReport {
    /// Rows of prompts and given texts.
    pub prompt_rows: usize,
    /// Tokens chosen.
    pub generated: usize,
    /// Each token that goes on with an answer, with the answer's `id`; empty unless asked for by
    /// [`EngineOptions::report_tokens`]. The answer that ends with one is heard before it.
    pub tokens: Vec<(usize, u32)>,
    /// Sequences at once: fewer than asked for when there is no more work, or no more memory.
    pub slots: usize,
}

/// What a row of a step is for.
enum Purpose {
    /// Chooses the next token of an answer.
    Choose { slot: usize },
    /// The log-probability of token `place` of a given text.
    Score { slot: usize, place: usize },
}

impl<'a> Engine<'a> {
    /// An engine over a model and its adapters.
    pub fn new(
        model: impl Into<ModelRef<'a>>,
        adapters: &'a [LoadedAdapter],
        options: EngineOptions,
    ) -> Self {
        Engine {
            model: model.into(),
            adapters,
            options,
        }
    }

    /// Positions that a request needs.
    pub fn positions(request: &Request) -> usize {
        request.prompt.len() + request.work.iter().map(Work::positions).max().unwrap_or(0)
    }

    /// Works through all requests. `on_finished` hears each result as it is done and `on_step`
    /// each step; either can end the run, and what is in flight is dropped then.
    ///
    /// # Errors
    /// Not even one sequence fits the device's memory, or a step does not fit beside the sequences.
    ///
    /// # Panics
    /// When a prompt is empty, an adapter is not loaded, or a request needs more positions than
    /// the model has: the caller checks.
    pub fn run(
        &self,
        requests: Vec<Request>,
        on_finished: &mut dyn FnMut(Finished) -> ControlFlow<()>,
        on_step: &mut dyn FnMut(StepReport) -> ControlFlow<()>,
    ) -> Result<(), ModelError> {
        self.run_while(requests, &mut |_, _| true, on_finished, on_step)
    }

    /// As [`Engine::run`], asking `goes_on` after every token of an answer that neither ended its
    /// turn nor reached its `max_new_tokens`, with the work's `id` and all its tokens so far. A no
    /// ends the answer there, as [`Finish::Length`] does. An answer that goes on keeps its slot
    /// and its cache, so its tokens are those of an answer that was never asked about. The device
    /// waits for the reply.
    ///
    /// # Errors
    /// As [`Engine::run`].
    ///
    /// # Panics
    /// As [`Engine::run`].
    pub fn run_while(
        &self,
        requests: Vec<Request>,
        goes_on: &mut dyn FnMut(usize, &[u32]) -> bool,
        on_finished: &mut dyn FnMut(Finished) -> ControlFlow<()>,
        on_step: &mut dyn FnMut(StepReport) -> ControlFlow<()>,
    ) -> Result<(), ModelError> {
        let pieces: usize = requests.iter().map(|r| r.work.len()).sum();
        let count = self.slots().min(pieces.max(requests.len())).max(1);
        let capacity = requests.iter().map(Self::positions).max().unwrap_or(1);
        let (mut stepper, count, step_rows) = self.stepper(count, capacity)?;
        let mut slots = Slots::new(count, requests);
        // What a step finished is heard while the next one runs.
        let mut heard: Option<(StepReport, Vec<Finished>)> = None;
        loop {
            slots.fill(|from, to, positions| stepper.copy(from, to, positions));
            let begun = if slots.idle() {
                None
            } else {
                let mut report = StepReport {
                    slots: count,
                    ..StepReport::default()
                };
                let mut plan = self.plan(&slots, step_rows, &mut report);
                let purposes = self.collect(&mut slots, &mut plan);
                stepper.start(&plan)?;
                Some((plan, purposes, report))
            };
            if let Some((report, finished)) = heard.take() {
                for result in finished {
                    if on_finished(result).is_break() {
                        return Ok(());
                    }
                }
                if on_step(report).is_break() {
                    return Ok(());
                }
            }
            let Some((plan, purposes, mut report)) = begun else {
                return Ok(());
            };
            let answers = stepper.finish(&plan)?;
            let mut finished = Vec::new();
            for (purpose, (token, logprob)) in purposes.iter().zip(answers) {
                self.advance(
                    &mut slots,
                    purpose,
                    token,
                    logprob,
                    goes_on,
                    &mut report,
                    &mut finished,
                );
            }
            heard = Some((report, finished));
        }
    }

    fn slots(&self) -> usize {
        match self.options.slots {
            0 => self.model.usual_slots(),
            slots => slots,
        }
    }

    /// A stepper for `count` slots or, where memory is short, for fewer; and the rows of a step.
    fn stepper(
        &self,
        count: usize,
        capacity: usize,
    ) -> Result<(Box<dyn Stepper + 'a>, usize, usize), ModelError> {
        let usable = self.options.usable_vocab;
        match self.model {
            ModelRef::Cpu(decoder) => {
                let stepper = CpuStepper::new(decoder, self.adapters, count, capacity, usable);
                Ok((Box::new(stepper), count, self.options.step_rows))
            }
            #[cfg(feature = "gpu")]
            ModelRef::Gpu(decoder) => {
                // The number of slots is the height of the graph's products: by what was asked
                // for, not by how much work there happens to be, so that answers keep their bits.
                let mut count = self.slots();
                let rows = super::gpu::step_rows(decoder).max(self.options.step_rows);
                loop {
                    match super::gpu::GpuStepper::new(
                        decoder,
                        self.adapters,
                        count,
                        capacity,
                        usable,
                    ) {
                        Ok(stepper) => return Ok((Box::new(stepper), count, rows)),
                        Err(ModelError::OutOfMemory { .. }) if count > 1 => count /= 2,
                        Err(error) => return Err(error),
                    }
                }
            }
        }
    }

    /// The rows of the next step, and each row's adapter. Rows of one adapter stand together.
    fn plan(&self, slots: &Slots, step_rows: usize, report: &mut StepReport) -> Plan {
        let mut order: Vec<usize> = (0..slots.states.len()).collect();
        order.sort_by_key(|&slot| match &slots.states[slot] {
            State::Prompt { request, .. } => request.adapter,
            State::Active(active) => active.request.adapter,
            State::Free | State::Waiting => None,
        });
        let decoding = slots
            .states
            .iter()
            .filter(|s| matches!(s, State::Active(a) if a.next_row().is_some()))
            .count();
        // Room for prompts beside the rows that decode; one row at least, so that they end.
        let mut room = step_rows.saturating_sub(decoding).max(1);
        let mut plan = Plan::default();
        for slot in order {
            let (request, position, tokens): (&Pending, usize, &[u32]) = match &slots.states[slot] {
                State::Prompt { request, done } if room > 0 => {
                    let take = (request.prompt.len() - done).min(room);
                    room -= take;
                    report.prompt_rows += take;
                    (request, *done, &request.prompt[*done..done + take])
                }
                State::Active(active) => {
                    let Some((position, tokens)) = active.next_row() else {
                        continue;
                    };
                    (&active.request, position, tokens)
                }
                _ => continue,
            };
            let batch = &mut plan.batch;
            let rows = batch.tokens.len()..batch.tokens.len() + tokens.len();
            batch.tokens.extend_from_slice(tokens);
            plan.adapters.resize(rows.end, request.adapter);
            plan.writes
                .push(matches!(&slots.states[slot], State::Active(a) if a.writes()));
            batch.spans.push(Span {
                slot,
                position,
                rows,
            });
        }
        plan
    }

    /// Marks what the step will have computed, and names the rows whose logits are wanted.
    fn collect(&self, slots: &mut Slots, plan: &mut Plan) -> Vec<Purpose> {
        let mut purposes = Vec::new();
        let mut rows = Vec::new();
        for span in &plan.batch.spans {
            let row = |i: usize| Row::Now(span.rows.start + i);
            let slot = span.slot;
            match &mut slots.states[slot] {
                State::Prompt { request, done } => {
                    *done += span.rows.len();
                    if *done == request.prompt.len() {
                        let request = request.clone();
                        slots.prompt_done(slot, request);
                        plan.keep.push((span.rows.end - 1, slot));
                    }
                }
                State::Active(active) if active.writes() => {
                    purposes.push(Purpose::Choose { slot });
                    rows.push(row(0));
                }
                State::Active(_) => {
                    for i in 0..span.rows.len() {
                        purposes.push(Purpose::Score { slot, place: i + 1 });
                        rows.push(row(i));
                    }
                }
                State::Free | State::Waiting => {}
            }
        }
        for (slot, state) in slots.states.iter_mut().enumerate() {
            let State::Active(active) = state else {
                continue;
            };
            let Some(start) = active.start.take() else {
                continue;
            };
            purposes.push(match active.writes() {
                true => Purpose::Choose { slot },
                false => Purpose::Score { slot, place: 0 },
            });
            rows.push(Row::Kept(start));
        }
        let wanted = purposes.iter().zip(rows).map(|(purpose, row)| Wanted {
            row,
            ask: ask(slots, purpose),
        });
        plan.wanted = wanted.collect();
        purposes
    }

    #[expect(
        clippy::too_many_arguments,
        reason = "the parts of one step, each borrowed by itself"
    )]
    fn advance(
        &self,
        slots: &mut Slots,
        want: &Purpose,
        token: u32,
        logprob: f32,
        goes_on: &mut dyn FnMut(usize, &[u32]) -> bool,
        report: &mut StepReport,
        finished: &mut Vec<Finished>,
    ) {
        let (Purpose::Choose { slot } | Purpose::Score { slot, .. }) = want;
        let State::Active(active) = &mut slots.states[*slot] else {
            return;
        };
        let done = match (&active.request.work[active.piece], want) {
            (
                Work::Generate {
                    id, max_new_tokens, ..
                },
                _,
            ) => {
                report.generated += 1;
                let ended = self.options.end_of_turn.contains(&token);
                if !ended {
                    if self.options.report_tokens {
                        report.tokens.push((*id, token));
                    }
                    active.tokens.push(token);
                    active.logprobs.push(logprob);
                }
                let finish = match ended {
                    true => Some(Finish::Stop),
                    false => (active.tokens.len() >= *max_new_tokens
                        || !goes_on(*id, &active.tokens))
                    .then_some(Finish::Length),
                };
                finish.map(|finish| Finished::Generated {
                    id: *id,
                    tokens: std::mem::take(&mut active.tokens),
                    logprobs: std::mem::take(&mut active.logprobs),
                    finish,
                })
            }
            (Work::Score { id, .. }, Purpose::Score { place, .. }) => {
                report.prompt_rows += 1;
                active.logprobs[*place] = logprob;
                active.open -= 1;
                (active.open == 0).then(|| Finished::Scored {
                    id: *id,
                    logprobs: std::mem::take(&mut active.logprobs),
                })
            }
            (Work::Score { .. }, Purpose::Choose { .. }) => None,
        };
        if let Some(done) = done {
            finished.push(done);
            slots.finish(*slot);
        }
    }
}

/// What a row of logits is asked.
fn ask(slots: &Slots, purpose: &Purpose) -> Ask {
    let (Purpose::Choose { slot } | Purpose::Score { slot, .. }) = purpose;
    let State::Active(active) = &slots.states[*slot] else {
        return Ask::Score(0);
    };
    match (&active.request.work[active.piece], purpose) {
        (Work::Generate { sampling, seed, .. }, _) => {
            let context = active.request.prompt.iter().chain(&active.tokens);
            Ask::Choose {
                sampling: *sampling,
                draw: draw(*seed, active.tokens.len()),
                context: match sampling.repetition_penalty == 1.0 {
                    true => Vec::new(),
                    false => context.copied().collect(),
                },
            }
        }
        (Work::Score { text, .. }, Purpose::Score { place, .. }) => Ask::Score(text[*place]),
        (Work::Score { .. }, Purpose::Choose { .. }) => Ask::Score(0),
    }
}

impl Active {
    /// Whether it is an answer that is being written, not a text that is given.
    fn writes(&self) -> bool {
        matches!(self.request.work[self.piece], Work::Generate { .. })
    }

    /// Position and tokens of its rows in the next step; `None` when its first token comes from
    /// the prompt's row alone.
    fn next_row(&self) -> Option<(usize, &[u32])> {
        let prompt = self.request.prompt.len();
        match &self.request.work[self.piece] {
            Work::Generate { .. } => {
                let last = self.tokens.len().checked_sub(1)?;
                Some((prompt + last, &self.tokens[last..]))
            }
            Work::Score { text, .. } => {
                (text.len() > 1).then(|| (prompt, &self.tokens[..text.len() - 1]))
            }
        }
    }
}
