//! The step loop: rows of every slot, whatever each is doing, go through the decoder together.
//!
//! An answer does not depend on what else is in the batch: every operation of the decoder is
//! row-wise, so slots, chunks, and neighbours only decide when a row is computed.

use std::ops::ControlFlow;
use std::sync::Arc;

use rayon::prelude::*;

use super::request::{Finished, Request, Work};
use super::sampler::draw;
use super::slots::{Active, Pending, Slots, State};
use crate::flow::Finish;
use crate::lora::{BatchAdapters, LoadedAdapter};
use crate::model::{Batch, Decoder, KvCache, Mat, Span, log_sum_exp};

/// Rows whose logits are in memory together.
const LOGIT_ROWS: usize = 64;

/// How the engine runs. None of it changes an answer.
#[derive(Debug, Clone)]
pub struct EngineOptions {
    /// Sequences in the cache at once, at least 1.
    pub slots: usize,
    /// Most rows of a step; prompts are cut into chunks that fit.
    pub step_rows: usize,
    /// Ids that end a turn.
    pub end_of_turn: Vec<u32>,
    /// Ids from here on stand for no token and are never chosen.
    pub usable_vocab: usize,
}

/// A base with adapters, ready to answer.
pub struct Engine<'a> {
    decoder: &'a Decoder,
    adapters: &'a [LoadedAdapter],
    options: EngineOptions,
}

/// What one step did.
#[derive(Debug, Clone, Copy, Default)]
pub struct StepReport {
    /// Rows of prompts and given texts.
    pub prompt_rows: usize,
    /// Tokens chosen.
    pub generated: usize,
}

/// What a row of a step is for.
enum Wanted {
    /// Chooses the next token of an answer.
    Choose { slot: usize },
    /// The log-probability of token `place` of a given text.
    Score { slot: usize, place: usize },
}

impl<'a> Engine<'a> {
    /// An engine over a decoder and its adapters.
    pub fn new(
        decoder: &'a Decoder,
        adapters: &'a [LoadedAdapter],
        options: EngineOptions,
    ) -> Self {
        Engine {
            decoder,
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
    /// # Panics
    /// When a prompt is empty, an adapter is not loaded, or a request needs more positions than
    /// the model has: the caller checks.
    pub fn run(
        &self,
        requests: Vec<Request>,
        on_finished: &mut dyn FnMut(Finished) -> ControlFlow<()>,
        on_step: &mut dyn FnMut(StepReport) -> ControlFlow<()>,
    ) {
        let pieces: usize = requests.iter().map(|r| r.work.len()).sum();
        let count = self.options.slots.min(pieces.max(requests.len())).max(1);
        let capacity = requests.iter().map(Self::positions).max().unwrap_or(1);
        let mut cache = KvCache::new(self.decoder.config(), count, capacity);
        let mut slots = Slots::new(count, requests);
        loop {
            slots.fill(|from, to, positions| cache.copy(from, to, positions));
            if slots.idle() {
                return;
            }
            let (report, finished) = self.step(&mut slots, &mut cache);
            for result in finished {
                if on_finished(result).is_break() {
                    return;
                }
            }
            if on_step(report).is_break() {
                return;
            }
        }
    }

    fn step(&self, slots: &mut Slots, cache: &mut KvCache) -> (StepReport, Vec<Finished>) {
        let mut report = StepReport::default();
        let (plan, rows_of) = self.plan(slots, &mut report);
        let hidden = if plan.tokens.is_empty() {
            Mat::zeros(0, self.decoder.config().hidden_size)
        } else {
            let mut adapters = BatchAdapters::new(self.adapters, &rows_of);
            self.decoder.forward(&plan, cache, &mut adapters)
        };
        let wanted = self.collect(slots, &plan, &hidden);
        let mut finished = Vec::new();
        for chunk in wanted.chunks(LOGIT_ROWS) {
            let mut rows = Mat::zeros(chunk.len(), hidden.cols);
            for (i, (_, row)) in chunk.iter().enumerate() {
                rows.row_mut(i).copy_from_slice(row);
            }
            let logits = self.decoder.logits(&rows);
            let chosen: Vec<(u32, f32)> = (0..chunk.len())
                .into_par_iter()
                .map(|i| self.choose(slots, &chunk[i].0, logits.row(i)))
                .collect();
            for ((want, _), (token, logprob)) in chunk.iter().zip(chosen) {
                self.advance(slots, want, token, logprob, &mut report, &mut finished);
            }
        }
        (report, finished)
    }

    /// The rows of the next step, and each row's adapter. Rows of one adapter stand together.
    fn plan(&self, slots: &Slots, report: &mut StepReport) -> (Batch, Vec<Option<usize>>) {
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
        let mut room = self.options.step_rows.saturating_sub(decoding).max(1);
        let mut batch = Batch::default();
        let mut adapters = Vec::new();
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
            let rows = batch.tokens.len()..batch.tokens.len() + tokens.len();
            batch.tokens.extend_from_slice(tokens);
            adapters.resize(rows.end, request.adapter);
            batch.spans.push(Span {
                slot,
                position,
                rows,
            });
        }
        (batch, adapters)
    }

    /// Marks what the step computed, and gathers the rows whose logits are wanted.
    fn collect(&self, slots: &mut Slots, batch: &Batch, hidden: &Mat) -> Vec<(Wanted, Arc<[f32]>)> {
        let mut wanted = Vec::new();
        for span in &batch.spans {
            let row = |i: usize| Arc::<[f32]>::from(hidden.row(span.rows.start + i));
            match &mut slots.states[span.slot] {
                State::Prompt { request, done } => {
                    *done += span.rows.len();
                    if *done == request.prompt.len() {
                        let request = request.clone();
                        slots.prompt_done(span.slot, request, row(span.rows.len() - 1));
                    }
                }
                State::Active(active) => match &active.request.work[active.piece] {
                    Work::Generate { .. } => {
                        wanted.push((Wanted::Choose { slot: span.slot }, row(0)))
                    }
                    Work::Score { .. } => {
                        let rows = (0..span.rows.len()).map(|i| {
                            (
                                Wanted::Score {
                                    slot: span.slot,
                                    place: i + 1,
                                },
                                row(i),
                            )
                        });
                        wanted.extend(rows);
                    }
                },
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
            match &active.request.work[active.piece] {
                Work::Generate { .. } => wanted.push((Wanted::Choose { slot }, start)),
                Work::Score { .. } => wanted.push((Wanted::Score { slot, place: 0 }, start)),
            }
        }
        wanted
    }

    /// The token that a row of logits gives, and its log-probability.
    fn choose(&self, slots: &Slots, want: &Wanted, logits: &[f32]) -> (u32, f32) {
        let (Wanted::Choose { slot } | Wanted::Score { slot, .. }) = want;
        let State::Active(active) = &slots.states[*slot] else {
            return (0, 0.0);
        };
        let token = match (&active.request.work[active.piece], want) {
            (Work::Generate { sampling, seed, .. }, _) => {
                let context = active.request.prompt.iter().chain(&active.tokens).copied();
                let usable = &logits[..self.options.usable_vocab.min(logits.len())];
                sampling.choose(usable, context, draw(*seed, active.tokens.len()))
            }
            (Work::Score { text, .. }, Wanted::Score { place, .. }) => text[*place],
            (Work::Score { .. }, Wanted::Choose { .. }) => return (0, 0.0),
        };
        (token, logits[token as usize] - log_sum_exp(logits))
    }

    fn advance(
        &self,
        slots: &mut Slots,
        want: &Wanted,
        token: u32,
        logprob: f32,
        report: &mut StepReport,
        finished: &mut Vec<Finished>,
    ) {
        let (Wanted::Choose { slot } | Wanted::Score { slot, .. }) = want;
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
                    active.tokens.push(token);
                    active.logprobs.push(logprob);
                }
                let finish = match ended {
                    true => Some(Finish::Stop),
                    false => (active.tokens.len() >= *max_new_tokens).then_some(Finish::Length),
                };
                finish.map(|finish| Finished::Generated {
                    id: *id,
                    tokens: std::mem::take(&mut active.tokens),
                    logprobs: std::mem::take(&mut active.logprobs),
                    finish,
                })
            }
            (Work::Score { id, .. }, Wanted::Score { place, .. }) => {
                report.prompt_rows += 1;
                active.logprobs[*place] = logprob;
                active.open -= 1;
                (active.open == 0).then(|| Finished::Scored {
                    id: *id,
                    logprobs: std::mem::take(&mut active.logprobs),
                })
            }
            (Work::Score { .. }, Wanted::Choose { .. }) => None,
        };
        if let Some(done) = done {
            finished.push(done);
            slots.finish(*slot);
        }
    }
}

impl Active {
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
