//! How far an adapter moves the model: the Kullback-Leibler divergence from the base, per token.

use std::ops::Range;

use super::sampler::Sampling;
use crate::lora::{BatchAdapters, LoadedAdapter};
use crate::model::{
    Batch, Decoder, Device, KvCache, LowRank, ModelError, ModelRef, NoLowRank, Span, log_sum_exp,
};

/// Rows whose logits are in memory together, for each of the two.
const LOGIT_ROWS: usize = 32;

/// Divergence over one text.
#[derive(Debug, Clone, PartialEq)]
pub struct Divergence {
    /// KL(base || candidate) of each next-token distribution of the text, in nats.
    pub nats: Vec<f32>,
    /// Share of its tokens that both would choose greedily.
    pub agreement: f64,
}

/// KL(base || candidate) at each token of `text` after `prompt`, both in one batch. The direction
/// and its use as a sign of forgetting: Shenfeld et al. 2025 (RL's Razor). It is a cause that is
/// reported, never a verdict.
///
/// # Errors
/// The device's memory is full.
///
/// # Panics
/// When prompt or text is empty or they exceed the model's positions.
pub fn divergence<'a>(
    model: impl Into<ModelRef<'a>>,
    adapter: &LoadedAdapter,
    prompt: &[u32],
    text: &[u32],
) -> Result<Divergence, ModelError> {
    let n = prompt.len() + text.len() - 1;
    let adapters = std::slice::from_ref(adapter);
    match model.into() {
        ModelRef::Cpu(decoder) => {
            let rows: Vec<Option<usize>> = (0..2 * n).map(|row| (row >= n).then_some(0)).collect();
            measure(
                decoder,
                &mut BatchAdapters::new(adapters, &rows),
                &|rows| Box::new(BatchAdapters::new(adapters, &vec![Some(0); rows])),
                prompt,
                text,
            )
        }
        #[cfg(feature = "gpu")]
        ModelRef::Gpu(decoder) => {
            use std::sync::Arc;

            use crate::lora::{AdapterTable, RowAdapters};
            let table = Arc::new(AdapterTable::new(decoder.device(), adapters)?);
            let rows: Vec<i32> = (0..2 * n).map(|row| if row < n { -1 } else { 0 }).collect();
            measure(
                decoder,
                &mut RowAdapters::new(table.clone(), &rows),
                &|rows| Box::new(RowAdapters::new(table.clone(), &vec![0; rows])),
                prompt,
                text,
            )
        }
    }
}

/// Runs the text twice in one batch; `low_rank` is of the second half's rows, and `of_rows` of so many
/// rows that all have the adapter.
fn measure<'a, D: Device>(
    decoder: &Decoder<D>,
    low_rank: &mut dyn LowRank<D>,
    of_rows: &dyn Fn(usize) -> Box<dyn LowRank<D> + 'a>,
    prompt: &[u32],
    text: &[u32],
) -> Result<Divergence, ModelError> {
    let tokens: Vec<u32> = prompt
        .iter()
        .chain(&text[..text.len() - 1])
        .copied()
        .collect();
    let n = tokens.len();
    let device = decoder.device();
    let mut cache = KvCache::on(device, decoder.config(), 2, n)?;
    let span = |slot: usize, rows: Range<usize>| Span {
        slot,
        position: 0,
        rows,
    };
    let batch = Batch {
        tokens: tokens.repeat(2),
        spans: vec![span(0, 0..n), span(1, n..2 * n)],
    };
    let hidden = decoder.forward(&batch, &mut cache, low_rank)?;
    let rows: Vec<usize> = (prompt.len() - 1..n).collect();
    let (mut nats, mut agreed) = (Vec::with_capacity(rows.len()), 0usize);
    for chunk in rows.chunks(LOGIT_ROWS) {
        let logits = |rows: &[usize], low_rank: &mut dyn LowRank<D>| {
            let logits = decoder.logits_with(&device.gather(&hidden, rows), low_rank)?;
            Ok::<_, ModelError>(device.download(&logits))
        };
        let base = logits(chunk, &mut NoLowRank)?;
        let other: Vec<usize> = chunk.iter().map(|row| row + n).collect();
        let other = logits(&other, of_rows(chunk.len()).as_mut())?;
        for i in 0..chunk.len() {
            let (p, q) = (base.row(i), other.row(i));
            let (p_sum, q_sum) = (log_sum_exp(p), log_sum_exp(q));
            let kl = |(p, q): (&f32, &f32)| {
                let (p, q) = (f64::from(p - p_sum), f64::from(q - q_sum));
                p.exp() * (p - q)
            };
            nats.push(p.iter().zip(q).map(kl).sum::<f64>().max(0.0) as f32);
            let best = |x: &[f32]| Sampling::default().choose(x, std::iter::empty(), 0.0);
            agreed += usize::from(best(p) == best(q));
        }
    }
    Ok(Divergence {
        agreement: agreed as f64 / nats.len() as f64,
        nats,
    })
}
