//! Which examples an optimizer step sees, and how they are cut into passes.
//!
//! The order is a function of (seed, epoch), so a resumed run finds its place from the step number
//! alone. A step's examples are packed by length into micro-batches of a token budget: rows of
//! several examples one after another, each attending to its own only, nothing padded. The split
//! depends on the examples and the budget, never on free memory.

use std::sync::Arc;

use crate::model::Mat;
use crate::random::{Purpose, shuffled};

use super::labels::TokenizedExample;

/// The steps of a run: which examples, in which order.
#[derive(Debug, Clone, PartialEq)]
pub struct StepPlan {
    examples: usize,
    per_step: usize,
    total_steps: usize,
    seed: u64,
}

impl StepPlan {
    /// Plans a run over `examples` examples, `per_step` of them at each optimizer step; an epoch's
    /// last step takes what is left. A fraction of an epoch is rounded up to a step.
    pub fn new(examples: usize, per_step: usize, epochs: f64, seed: u64) -> Self {
        let per_step = per_step.max(1);
        let total_steps = (epochs * examples.div_ceil(per_step) as f64).ceil() as usize;
        StepPlan {
            examples,
            per_step,
            total_steps,
            seed,
        }
    }

    /// Optimizer steps of an epoch.
    pub fn steps_per_epoch(&self) -> usize {
        self.examples.div_ceil(self.per_step)
    }

    /// Optimizer steps of the run.
    pub fn total_steps(&self) -> usize {
        self.total_steps
    }

    /// The epoch, counted from 0, that a step, counted from 0, belongs to.
    pub fn epoch(&self, step: usize) -> usize {
        step / self.steps_per_epoch().max(1)
    }

    /// The examples of a step, counted from 0: places in the list that the plan was made for.
    pub fn examples(&self, step: usize) -> Vec<usize> {
        let order = shuffled(
            self.examples,
            self.seed,
            Purpose::Order,
            self.epoch(step) as u64,
        );
        let first = step % self.steps_per_epoch().max(1) * self.per_step;
        order.into_iter().skip(first).take(self.per_step).collect()
    }
}

/// Rows of one forward and backward pass.
#[derive(Debug, Clone, PartialEq)]
pub struct MicroBatch {
    /// Input ids of all segments, one after another.
    pub tokens: Vec<u32>,
    /// Position of each row within its segment, from 0.
    pub positions: Vec<usize>,
    /// Row at which each segment begins; a segment is one example and attends to itself only.
    pub segments: Vec<usize>,
    /// The token to predict at each row; `None` carries no such loss.
    pub labels: Vec<Option<u32>>,
    /// Rows of rehearsal, and the base's last layer's result at each; see
    /// [`TokenizedExample::base`].
    pub rehearsed: Vec<(usize, Arc<Mat>, usize)>,
}

impl MicroBatch {
    /// Packs examples into one batch.
    ///
    /// An example ends before its last label: the rows after it predict nothing, and no other row
    /// sees them.
    pub fn pack<'a>(examples: impl IntoIterator<Item = &'a TokenizedExample>) -> Self {
        let mut batch = MicroBatch {
            tokens: Vec::new(),
            positions: Vec::new(),
            segments: Vec::new(),
            labels: Vec::new(),
            rehearsed: Vec::new(),
        };
        for example in examples {
            let rows = example.rows();
            batch.segments.push(batch.tokens.len());
            batch.tokens.extend(&example.tokens[..rows]);
            batch.positions.extend(0..rows);
            let first = batch.labels.len();
            let label = |next: usize| example.is_label[next].then(|| example.tokens[next]);
            match &example.base {
                None => batch.labels.extend((1..=rows).map(label)),
                Some(base) => {
                    batch.labels.extend(std::iter::repeat_n(None, rows));
                    let labelled = (0..rows).filter(|&row| example.is_label[row + 1]);
                    let places = labelled.enumerate();
                    batch
                        .rehearsed
                        .extend(places.map(|(i, row)| (first + row, base.clone(), i)));
                }
            }
        }
        batch
    }

    /// Rows with loss.
    pub fn labelled(&self) -> usize {
        self.labels.iter().flatten().count()
    }
}

/// One optimizer step's passes.
#[derive(Debug, Clone, PartialEq)]
pub struct StepBatch {
    /// The passes, in order; their gradients are added.
    pub micro_batches: Vec<MicroBatch>,
    /// Labelled tokens of the whole step. The loss is the mean over them: each pass adds the sum
    /// over its own divided by this number, so that the split changes nothing.
    pub labelled: usize,
    /// Rows of rehearsal of the whole step.
    pub rehearsed: usize,
}

impl StepBatch {
    /// Packs the examples of a step into passes of at most `token_budget` rows, first fit by
    /// falling length; an example longer than the budget gets a pass of its own.
    pub fn pack(examples: &[&TokenizedExample], token_budget: usize) -> Self {
        let mut order: Vec<usize> = (0..examples.len()).collect();
        order.sort_by_key(|&i| (std::cmp::Reverse(examples[i].rows()), i));
        let mut bins: Vec<(usize, Vec<usize>)> = Vec::new();
        for i in order {
            let rows = examples[i].rows();
            match bins
                .iter_mut()
                .find(|(used, _)| used + rows <= token_budget)
            {
                Some((used, members)) => {
                    *used += rows;
                    members.push(i);
                }
                None => bins.push((rows, vec![i])),
            }
        }
        let micro_batches: Vec<MicroBatch> = bins
            .iter()
            .map(|(_, members)| MicroBatch::pack(members.iter().map(|&i| examples[i])))
            .collect();
        let labelled = micro_batches.iter().map(MicroBatch::labelled).sum();
        let rehearsed = micro_batches.iter().map(|m| m.rehearsed.len()).sum();
        StepBatch {
            micro_batches,
            labelled,
            rehearsed,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn example(tokens: &[u32], labels: &[usize]) -> TokenizedExample {
        let is_label = (0..tokens.len()).map(|i| labels.contains(&i)).collect();
        TokenizedExample::of(tokens.to_vec(), is_label)
    }

    #[test]
    fn an_epoch_sees_every_example_once() {
        let plan = StepPlan::new(10, 4, 2.0, 7);
        assert_eq!((plan.steps_per_epoch(), plan.total_steps()), (3, 6));
        let epoch = |steps: std::ops::Range<usize>| -> Vec<usize> {
            steps.flat_map(|s| plan.examples(s)).collect()
        };
        assert_eq!(plan.examples(2).len(), 2);
        let (first, second) = (epoch(0..3), epoch(3..6));
        assert_ne!(first, second);
        for mut seen in [first, second] {
            seen.sort_unstable();
            assert_eq!(seen, (0..10).collect::<Vec<_>>());
        }
    }

    #[test]
    fn a_fraction_of_an_epoch_is_rounded_up_to_a_step() {
        assert_eq!(StepPlan::new(50, 16, 0.3, 0).total_steps(), 2);
        assert_eq!(StepPlan::new(0, 16, 3.0, 0).total_steps(), 0);
    }

    #[test]
    fn labels_are_the_next_token_of_the_same_segment() {
        let a = example(&[1, 2, 3, 4, 5], &[2, 3]);
        let b = example(&[6, 7, 8], &[1, 2]);
        let batch = MicroBatch::pack([&a, &b]);
        assert_eq!(batch.tokens, [1, 2, 3, 6, 7]);
        assert_eq!(batch.positions, [0, 1, 2, 0, 1]);
        assert_eq!(batch.segments, [0, 3]);
        assert_eq!(batch.labels, [None, Some(3), Some(4), Some(7), Some(8)]);
        assert_eq!(batch.labelled(), 4);
    }

    #[test]
    fn packing_keeps_the_budget_and_every_label() {
        let lengths = [9, 3, 40, 7, 2, 5, 12];
        let examples: Vec<TokenizedExample> = lengths
            .iter()
            .map(|&n| example(&vec![1; n], &(1..n).collect::<Vec<_>>()))
            .collect();
        let all: Vec<&TokenizedExample> = examples.iter().collect();
        let step = StepBatch::pack(&all, 16);
        let rows: Vec<usize> = step.micro_batches.iter().map(|m| m.tokens.len()).collect();
        assert_eq!(rows, [39, 16, 16]);
        assert_eq!(step.labelled, lengths.iter().map(|n| n - 1).sum::<usize>());
        assert_eq!(step, StepBatch::pack(&all, 16));
    }
}
