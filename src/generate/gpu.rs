//! Steps on a GPU: answers that are being written in a recorded graph of fixed slots, prompts and
//! given texts in tiles beside it.
//!
//! An answer's bits are its own. Its prompt and a given text go through products whose algorithm
//! does not depend on the rows beside them, its tokens through the graph, whose number of rows
//! never changes; the first token, and every token of a given text, through a head of fixed height.

use std::sync::Arc;

use super::stepper::{Ask, Plan, Row, Stepper};
use crate::gpu::{Cuda, Graph, Numbers};
use crate::lora::{AdapterTable, LoadedAdapter, RowAdapters};
use crate::model::cuda::{Chosen, CudaMat, Next, SingleRows};
use crate::model::{Batch, Decoder, Device, KvCache, LowRank, ModelError, NoLowRank, Span};

/// Rows whose logits are formed together, always as many.
const LOGIT_ROWS: usize = 64;

/// Most rows of a step: as many as keep the GPU's units busy, less where memory is short.
pub(super) fn step_rows(decoder: &Decoder<Cuda>) -> usize {
    let config = decoder.config();
    let row = 2 * (6 * config.hidden_size + config.heads().row() + 3 * config.intermediate_size);
    (decoder.device().memory().free / 4 / row).clamp(64, 2048)
}

/// Steps on a GPU.
pub(super) struct GpuStepper<'a> {
    decoder: &'a Decoder<Cuda>,
    cache: KvCache<Cuda>,
    table: Option<Arc<AdapterTable>>,
    usable: usize,
    slots: usize,
    /// The last row of each slot's prompt.
    kept: CudaMat,
    /// The adapter of each, -1 for the base.
    kept_adapters: Vec<i32>,
    single: SingleRows,
    /// The graph of a token of every slot, with its logits and what it chose.
    graph: Option<(Graph, CudaMat, Chosen)>,
    greedy: Numbers<i32>,
    /// How each slot's token is drawn, and whether any is.
    settings: (Numbers<f32>, bool),
    /// What the step under way has begun.
    begun: Begun,
}

/// A step under way.
#[derive(Default)]
struct Begun {
    /// The graph runs.
    graph: bool,
    /// Wanted rows beside the graph, in groups of one height: places in the plan, logits, and what
    /// they chose.
    beside: Vec<(Vec<usize>, CudaMat, Chosen)>,
}

impl<'a> GpuStepper<'a> {
    /// Room for `slots` sequences.
    pub fn new(
        decoder: &'a Decoder<Cuda>,
        adapters: &[LoadedAdapter],
        slots: usize,
        capacity: usize,
        usable: usize,
    ) -> Result<Self, ModelError> {
        let cuda = decoder.device();
        let table = match adapters {
            [] => None,
            adapters => Some(Arc::new(AdapterTable::new(cuda, adapters)?)),
        };
        let stepper = GpuStepper {
            cache: KvCache::on(cuda, decoder.config(), slots, capacity)?,
            kept: cuda.zeros(slots, decoder.config().hidden_size),
            kept_adapters: vec![-1; slots],
            single: SingleRows::new(cuda, slots, capacity),
            greedy: Numbers::of(cuda, &vec![-1; slots.max(LOGIT_ROWS)]),
            settings: (Numbers::of(cuda, &vec![0.0; 4 * slots]), false),
            graph: None,
            begun: Begun::default(),
            table,
            usable,
            slots,
            decoder,
        };
        cuda.had_room()?;
        Ok(stepper)
    }

    /// What adds to rows that have these adapters.
    fn low_rank(&self, adapters: &[i32]) -> Box<dyn LowRank<Cuda>> {
        match &self.table {
            Some(table) => Box::new(RowAdapters::new(table.clone(), adapters)),
            None => Box::new(NoLowRank),
        }
    }

    /// Runs the spans that are no single tokens of answers. Returns their results, and where each
    /// row of the plan is among them.
    fn run_tiles(&mut self, plan: &Plan) -> Result<(Option<CudaMat>, Vec<usize>), ModelError> {
        let mut places = vec![usize::MAX; plan.batch.tokens.len()];
        let (mut batch, mut adapters) = (Batch::default(), Vec::new());
        for (span, writes) in plan.batch.spans.iter().zip(&plan.writes) {
            if *writes {
                continue;
            }
            let start = batch.tokens.len();
            for row in span.rows.clone() {
                places[row] = batch.tokens.len();
                batch.tokens.push(plan.batch.tokens[row]);
                adapters.push(number_of(plan.adapters[row]));
            }
            batch.spans.push(Span {
                rows: start..batch.tokens.len(),
                ..span.clone()
            });
        }
        if batch.tokens.is_empty() {
            return Ok((None, places));
        }
        let mut low_rank = self.low_rank(&adapters);
        let hidden = self
            .decoder
            .forward(&batch, &mut self.cache, low_rank.as_mut())?;
        Ok((Some(hidden), places))
    }

    /// Starts a token of every answer that is being written; whether there is any.
    fn start_tokens(&mut self, plan: &Plan) -> Result<bool, ModelError> {
        let mut next = vec![None; self.slots];
        for (span, _) in plan
            .batch
            .spans
            .iter()
            .zip(&plan.writes)
            .filter(|(_, w)| **w)
        {
            let row = span.rows.start;
            next[span.slot] = Some(Next {
                token: plan.batch.tokens[row],
                position: span.position,
                adapter: number_of(plan.adapters[row]),
            });
        }
        if next.iter().all(Option::is_none) {
            return Ok(false);
        }
        self.single.set(&next);
        let mut asks = vec![None; self.slots];
        for wanted in &plan.wanted {
            let Row::Now(row) = wanted.row else { continue };
            let spans = plan.batch.spans.iter().zip(&plan.writes);
            if let Some((span, _)) = spans.into_iter().find(|(s, w)| **w && s.rows.start == row) {
                asks[span.slot] = Some(&wanted.ask);
            }
        }
        let settings = settings(&asks);
        let drawn = settings.iter().any(|s| *s != 0.0);
        if drawn || self.settings.1 {
            self.settings.0.set(&settings);
            self.settings.1 = drawn;
        }
        if self.graph.is_none() {
            let rows = self.single.rows();
            let mut low_rank: Box<dyn LowRank<Cuda>> = match &self.table {
                Some(table) => Box::new(RowAdapters::of_slots(table.clone(), &self.single)),
                None => Box::new(NoLowRank),
            };
            let (decoder, usable) = (self.decoder, self.usable);
            let (cache, greedy, settings) = (&mut self.cache, &self.greedy, &self.settings.0);
            let (graph, (logits, chosen)) = decoder.device().record(|| {
                let hidden = decoder.forward_rows(&rows, cache, low_rank.as_mut())?;
                let logits = decoder.logits_with(&hidden, low_rank.as_mut())?;
                let chosen = decoder.device().choose(&logits, greedy, usable);
                decoder.device().draw(&logits, &chosen, settings, usable);
                Ok::<_, ModelError>((logits, chosen))
            })?;
            self.graph = Some((graph, logits, chosen));
        }
        if let Some((graph, ..)) = &self.graph {
            graph.replay();
        }
        Ok(true)
    }

    /// Starts the head over wanted rows that are not the graph's.
    fn start_beside(
        &mut self,
        plan: &Plan,
        hidden: Option<&CudaMat>,
        places: &[usize],
    ) -> Result<(), ModelError> {
        let cuda = self.decoder.device();
        let is_beside = |row: Row| !matches!(row, Row::Now(row) if places[row] == usize::MAX);
        let beside: Vec<usize> = (0..plan.wanted.len())
            .filter(|&i| is_beside(plan.wanted[i].row))
            .collect();
        for chunk in beside.chunks(LOGIT_ROWS) {
            let (mut now, mut kept) = (vec![-1i64; LOGIT_ROWS], vec![-1i64; LOGIT_ROWS]);
            let mut asked = vec![-1i32; LOGIT_ROWS];
            let mut adapters = vec![-1i32; LOGIT_ROWS];
            for (at, &i) in chunk.iter().enumerate() {
                match plan.wanted[i].row {
                    Row::Now(row) => {
                        now[at] = places[row] as i64;
                        adapters[at] = number_of(plan.adapters[row]);
                    }
                    Row::Kept(slot) => {
                        kept[at] = slot as i64;
                        adapters[at] = self.kept_adapters[slot];
                    }
                }
                if let Ask::Score(token) = plan.wanted[i].ask {
                    asked[at] = token as i32;
                }
            }
            let mut rows = cuda.pick(&self.kept, &kept);
            if let Some(hidden) = hidden {
                rows = cuda.sum(&rows, cuda.pick(hidden, &now));
            }
            let mut low_rank = self.low_rank(&adapters);
            let logits = self.decoder.logits_with(&rows, low_rank.as_mut())?;
            let chosen = cuda.choose(&logits, &Numbers::of(cuda, &asked), self.usable);
            let mut asks = vec![None; LOGIT_ROWS];
            for (at, &i) in chunk.iter().enumerate() {
                asks[at] = Some(&plan.wanted[i].ask);
            }
            let settings = settings(&asks);
            if settings.iter().any(|s| *s != 0.0) {
                cuda.draw(&logits, &chosen, &Numbers::of(cuda, &settings), self.usable);
            }
            self.begun.beside.push((chunk.to_vec(), logits, chosen));
        }
        Ok(())
    }

    /// A token, by the device or, where it cannot, by the host from its row of logits.
    fn answer(&self, ask: &Ask, logits: &CudaMat, row: usize, found: (u32, f32)) -> (u32, f32) {
        if penalized(ask) || found.0 == u32::MAX {
            ask.answer(&self.decoder.device().row(logits, row), self.usable)
        } else {
            found
        }
    }
}

impl Stepper for GpuStepper<'_> {
    fn copy(&mut self, from: usize, to: usize, positions: usize) {
        self.cache.copy(from, to, positions);
    }

    fn start(&mut self, plan: &Plan) -> Result<(), ModelError> {
        self.begun = Begun::default();
        let (hidden, places) = self.run_tiles(plan)?;
        self.begun.graph = self.start_tokens(plan)?;
        self.start_beside(plan, hidden.as_ref(), &places)?;
        if let Some(hidden) = &hidden
            && !plan.keep.is_empty()
        {
            let cuda = self.decoder.device();
            let kept = plan.keep.iter().map(|&(row, slot)| (places[row], slot));
            let (rows, slots): (Vec<usize>, Vec<usize>) = kept.unzip();
            cuda.scatter(&cuda.gather(hidden, &rows), &slots, &self.kept);
            for &(row, slot) in &plan.keep {
                self.kept_adapters[slot] = number_of(plan.adapters[row]);
            }
        }
        Ok(self.decoder.device().had_room()?)
    }

    fn finish(&mut self, plan: &Plan) -> Result<Vec<(u32, f32)>, ModelError> {
        let begun = std::mem::take(&mut self.begun);
        let mut answers = vec![(0, 0.0); plan.wanted.len()];
        for (places, logits, chosen) in begun.beside {
            for (at, (&i, found)) in places.iter().zip(chosen.get()).enumerate() {
                answers[i] = self.answer(&plan.wanted[i].ask, &logits, at, found);
            }
        }
        if let (true, Some((_, logits, chosen))) = (begun.graph, &self.graph) {
            let found = chosen.get();
            let mut slot_of = vec![usize::MAX; plan.batch.tokens.len()];
            for (span, writes) in plan.batch.spans.iter().zip(&plan.writes) {
                if *writes {
                    slot_of[span.rows.start] = span.slot;
                }
            }
            for (i, wanted) in plan.wanted.iter().enumerate() {
                let Row::Now(row) = wanted.row else { continue };
                if slot_of[row] != usize::MAX {
                    let slot = slot_of[row];
                    answers[i] = self.answer(&wanted.ask, logits, slot, found[slot]);
                }
            }
        }
        Ok(answers)
    }
}

/// A row's adapter as the device knows it: -1 is the base.
fn number_of(adapter: Option<usize>) -> i32 {
    adapter.map_or(-1, |place| place as i32)
}

/// Whether the token depends on those before it beyond the logits.
fn penalized(ask: &Ask) -> bool {
    matches!(ask, Ask::Choose { sampling, .. } if sampling.repetition_penalty != 1.0)
}

/// How the device draws each row's token: all temperatures, then top-p, numbers in [0, 1), top-k.
fn settings(asks: &[Option<&Ask>]) -> Vec<f32> {
    let mut settings = vec![0.0; 4 * asks.len()];
    for (row, ask) in asks.iter().enumerate() {
        if let Some(ask @ Ask::Choose { sampling, draw, .. }) = ask
            && sampling.temperature > 0.0
            && !penalized(ask)
        {
            let of_row = [
                sampling.temperature,
                sampling.top_p,
                *draw,
                sampling.top_k as f32,
            ];
            for (column, value) in of_row.into_iter().enumerate() {
                settings[column * asks.len() + row] = value;
            }
        }
    }
    settings
}
