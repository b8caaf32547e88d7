//! Steps on a GPU: answers that are being written in a recorded graph of fixed slots, prompts and
//! given texts in tiles beside it.
//!
//! An answer's bits are its own. Its prompt and a given text go through products whose algorithm
//! does not depend on the rows beside them, its tokens through the graph, whose number of rows
//! never changes; the first token, and every token of a given text, through a head of fixed height.

use std::sync::Arc;

use super::stepper::{Ask, Plan, Row, Stepper};
use crate::lora::{LoadedAdapter, adapter_table};
use crate::model::cuda::{AdapterTable, Chosen, Cuda, CudaMat, Graph, Numbers, RowAdapters, SingleRows};
use crate::model::{
    Batch, Decoder, Device, KvCache, LowRank, ModelError, NoLowRank, Span,
};

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
    single: SingleRows,
    /// Adapter of each slot.
    whose: Arc<Numbers<i32>>,
    /// The graph of a token of every slot, with its logits and what it chose.
    graph: Option<(Graph, CudaMat, Chosen)>,
    greedy: Numbers<i32>,
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
            adapters => Some(Arc::new(adapter_table(cuda, adapters)?)),
        };
        Ok(GpuStepper {
            cache: KvCache::on(cuda, decoder.config(), slots, capacity)?,
            kept: cuda.zeros(slots, decoder.config().hidden_size),
            single: SingleRows::new(cuda, slots, capacity),
            whose: Arc::new(Numbers::room(cuda, slots)),
            greedy: Numbers::of(cuda, &vec![-1; slots.max(LOGIT_ROWS)]),
            graph: None,
            table,
            usable,
            slots,
            decoder,
        })
    }

    fn low_rank(&self, rows: Arc<Numbers<i32>>) -> Box<dyn LowRank<Cuda>> {
        match &self.table {
            Some(table) => Box::new(RowAdapters::new(table.clone(), rows)),
            None => Box::new(NoLowRank),
        }
    }

    /// Runs the spans that are no single tokens of answers. Returns their results, and where each
    /// row of the plan is among them.
    fn run_tiles(&mut self, plan: &Plan) -> (Option<CudaMat>, Vec<usize>) {
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
                adapters.push(plan.adapters[row].map_or(-1, |a| a as i32));
            }
            batch.spans.push(Span {
                rows: start..batch.tokens.len(),
                ..span.clone()
            });
        }
        if batch.tokens.is_empty() {
            return (None, places);
        }
        let rows = Arc::new(Numbers::of(self.decoder.device(), &adapters));
        let mut low_rank = self.low_rank(rows);
        let hidden = self
            .decoder
            .forward(&batch, &mut self.cache, low_rank.as_mut());
        (Some(hidden), places)
    }

    /// Starts a token of every answer that is being written; whether there is any.
    fn start_tokens(&mut self, plan: &Plan) -> bool {
        let mut next = vec![None; self.slots];
        let mut whose = vec![-1i32; self.slots];
        for (span, _) in plan.batch.spans.iter().zip(&plan.writes).filter(|(_, w)| **w) {
            let row = span.rows.start;
            next[span.slot] = Some((plan.batch.tokens[row], span.position));
            whose[span.slot] = plan.adapters[row].map_or(-1, |a| a as i32);
        }
        if next.iter().all(Option::is_none) {
            return false;
        }
        self.single.set(&next);
        self.whose.set(&whose);
        if self.graph.is_none() {
            let rows = self.single.rows();
            let mut low_rank = self.low_rank(self.whose.clone());
            let (decoder, usable) = (self.decoder, self.usable);
            let (cache, greedy) = (&mut self.cache, &self.greedy);
            let (graph, (logits, chosen)) = decoder.device().record(|| {
                let hidden = decoder.forward_rows(&rows, cache, low_rank.as_mut());
                let logits = decoder.logits(&hidden);
                let chosen = decoder.device().choose(&logits, greedy, usable);
                (logits, chosen)
            });
            self.graph = Some((graph, logits, chosen));
        }
        if let Some((graph, ..)) = &self.graph {
            graph.replay();
        }
        true
    }
}

impl Stepper for GpuStepper<'_> {
    fn copy(&mut self, from: usize, to: usize, positions: usize) {
        self.cache.copy(from, to, positions);
    }

    fn step(&mut self, plan: &Plan) -> Vec<(u32, f32)> {
        let (hidden, places) = self.run_tiles(plan);
        let written = self.start_tokens(plan);
        let cuda = self.decoder.device().clone();
        let mut answers = vec![(0, 0.0); plan.wanted.len()];
        // Rows beside the graph, in groups of one height.
        let slot_of = |row: usize| {
            let spans = plan.batch.spans.iter().zip(&plan.writes);
            let mut mine = spans.filter(|(s, w)| **w && s.rows.start == row);
            mine.next().map(|(s, _)| s.slot)
        };
        let beside: Vec<usize> = (0..plan.wanted.len())
            .filter(|&i| !matches!(plan.wanted[i].row, Row::Now(row) if places[row] == usize::MAX))
            .collect();
        for chunk in beside.chunks(LOGIT_ROWS) {
            let (mut now, mut kept) = (vec![-1i64; LOGIT_ROWS], vec![-1i64; LOGIT_ROWS]);
            let mut asked = vec![-1i32; LOGIT_ROWS];
            for (at, &i) in chunk.iter().enumerate() {
                match plan.wanted[i].row {
                    Row::Now(row) => now[at] = places[row] as i64,
                    Row::Kept(slot) => kept[at] = slot as i64,
                }
                if let Ask::Score(token) = plan.wanted[i].ask {
                    asked[at] = token as i32;
                }
            }
            let mut rows = cuda.pick(&self.kept, &kept);
            if let Some(hidden) = &hidden {
                rows = cuda.sum(&rows, cuda.pick(hidden, &now));
            }
            let logits = self.decoder.logits(&rows);
            let chosen = cuda.choose(&logits, &Numbers::of(&cuda, &asked), self.usable);
            let (tokens, logprobs) = (chosen.tokens.get(), chosen.logprobs.get());
            for (at, &i) in chunk.iter().enumerate() {
                answers[i] = match &plan.wanted[i].ask {
                    ask if drawn(ask) => ask.answer(&cuda.row(&logits, at), self.usable),
                    _ => (tokens[at] as u32, logprobs[at]),
                };
            }
        }
        if let (true, Some((_, logits, chosen))) = (written, &self.graph) {
            let (tokens, logprobs) = (chosen.tokens.get(), chosen.logprobs.get());
            for (i, wanted) in plan.wanted.iter().enumerate() {
                let Row::Now(row) = wanted.row else { continue };
                let Some(slot) = slot_of(row) else { continue };
                answers[i] = match &wanted.ask {
                    ask if drawn(ask) => ask.answer(&cuda.row(logits, slot), self.usable),
                    _ => (tokens[slot] as u32, logprobs[slot]),
                };
            }
        }
        if let Some(hidden) = &hidden
            && !plan.keep.is_empty()
        {
            let (rows, slots): (Vec<usize>, Vec<usize>) =
                plan.keep.iter().map(|&(row, slot)| (places[row], slot)).unzip();
            cuda.scatter(&cuda.gather(hidden, &rows), &slots, &self.kept);
        }
        answers
    }
}

/// Whether the host draws the token: it needs the whole row of logits.
fn drawn(ask: &Ask) -> bool {
    match ask {
        Ask::Choose { sampling, .. } => {
            sampling.temperature > 0.0 || sampling.repetition_penalty != 1.0
        }
        Ask::Score(_) => false,
    }
}
