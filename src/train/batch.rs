//! Which examples an optimizer step sees, and how they are cut into passes.
//!
//! The order is a function of (seed, epoch), so a resumed run finds its place from the step number
//! alone. Rehearsal is spread evenly over an epoch: a step that learns from a row then feels in the
//! same update what the base would say elsewhere, which steps of one kind after another do not. A step's examples are packed by length into micro-batches of a token budget: rows of
//! several examples one after another, each attending to its own only, nothing padded. The split
//! depends on the examples and the budget, never on free memory.

use std::sync::Arc;

use crate::model::Mat;
use crate::random::{Purpose, shuffled};

use super::data::Rehearsal;
use super::labels::TokenizedExample;

/// The steps of a run: which examples, in which order.
#[derive(Debug, Clone, PartialEq)]
pub struct StepPlan {
    /// Places of the examples to learn, and of those to stay at.
    kinds: [Vec<usize>; 2],
    per_step: usize,
    total_steps: usize,
    seed: u64,
}

impl StepPlan {
    /// Plans a run over `examples`, `per_step` of them at each optimizer step; an epoch's last step
    /// takes what is left. A fraction of an epoch is rounded up to a step.
    pub fn new(examples: &[TokenizedExample], per_step: usize, epochs: f64, seed: u64) -> Self {
        let (rehearsal, learned) =
            (0..examples.len()).partition(|&place| examples[place].rehearsal.is_some());
        StepPlan {
            kinds: [learned, rehearsal],
            per_step: per_step.max(1),
            total_steps: total_steps(examples.len(), per_step, epochs),
            seed,
        }
    }

    /// Optimizer steps of an epoch.
    pub fn steps_per_epoch(&self) -> usize {
        let examples: usize = self.kinds.iter().map(Vec::len).sum();
        examples.div_ceil(self.per_step)
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
        let first = step % self.steps_per_epoch().max(1) * self.per_step;
        let order = self.order(self.epoch(step) as u64);
        order.into_iter().skip(first).take(self.per_step).collect()
    }

    /// Each kind in an order of its own, member `i` of `n` at the part `(i + 1/2) / n` of the epoch.
    fn order(&self, epoch: u64) -> Vec<usize> {
        let [learned, rehearsal] = self.kinds.each_ref().map(|members| {
            let order = shuffled(members.len(), self.seed, Purpose::Order, epoch);
            order.into_iter().map(|i| members[i]).collect::<Vec<_>>()
        });
        let all = learned.len() + rehearsal.len();
        let (mut order, mut i, mut j) = (Vec::with_capacity(all), 0, 0);
        while order.len() < all {
            // The parts as fractions; at one part what is to be learned comes first.
            let learns = (2 * i + 1) * rehearsal.len() <= (2 * j + 1) * learned.len();
            if i < learned.len() && (learns || j == rehearsal.len()) {
                order.push(learned[i]);
                i += 1;
            } else {
                order.push(rehearsal[j]);
                j += 1;
            }
        }
        order
    }
}

/// Optimizer steps of a run over so many examples; see [`StepPlan::new`].
pub fn total_steps(examples: usize, per_step: usize, epochs: f64) -> usize {
    (epochs * examples.div_ceil(per_step.max(1)) as f64).ceil() as usize
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
    /// Rows of rehearsal whose token is learned.
    pub texts: Vec<TextRow>,
    /// Rows of rehearsal that stay at the base's distribution.
    pub anchors: Vec<AnchorRow>,
}

/// A row at which a token of the base's own answer is learned.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct TextRow {
    /// Which row.
    pub row: usize,
    /// The token to predict.
    pub token: u32,
    /// What it counts beside a labelled token.
    pub weight: f64,
}

/// A row that stays at the base's next-token distribution.
#[derive(Debug, Clone, PartialEq)]
pub struct AnchorRow {
    /// Which row.
    pub row: usize,
    /// What stands for the distributions of its example; see [`TokenizedExample::base`].
    pub base: Arc<Mat>,
    /// The row of `base` that is this one's.
    pub at: usize,
    /// What it counts beside other such rows.
    pub weight: f64,
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
            texts: Vec::new(),
            anchors: Vec::new(),
        };
        for example in examples {
            let rows = example.rows();
            batch.segments.push(batch.tokens.len());
            batch.tokens.extend(&example.tokens[..rows]);
            batch.positions.extend(0..rows);
            let first = batch.labels.len();
            let label = |next: usize| example.is_label[next].then(|| example.tokens[next]);
            match example.rehearsal {
                None => batch.labels.extend((1..=rows).map(label)),
                Some(rehearsal) => {
                    batch.labels.extend(std::iter::repeat_n(None, rows));
                    batch.rehearse(example, rehearsal, first);
                }
            }
        }
        batch
    }

    /// Adds the rows of an answer of the base's own; `first` is the row at which its example begins.
    fn rehearse(&mut self, example: &TokenizedExample, rehearsal: Rehearsal, first: usize) {
        let Rehearsal { stay, cut } = rehearsal;
        let rows = (0..example.rows()).filter(|&row| example.is_label[row + 1]);
        let rows: Vec<usize> = rows.collect();
        if stay.text > 0.0 {
            // An answer that was cut has no end of its own: to learn one would be to learn to stop
            // in mid-sentence.
            let said = rows.len() - usize::from(cut && !rows.is_empty());
            self.texts.extend(rows[..said].iter().map(|&row| TextRow {
                row: first + row,
                token: example.tokens[row + 1],
                weight: stay.text,
            }));
        }
        if let Some(base) = &example.base {
            let places = rows.iter().enumerate();
            self.anchors.extend(places.map(|(at, &row)| AnchorRow {
                row: first + row,
                base: base.clone(),
                at,
                weight: stay.distribution,
            }));
        }
    }

    /// Rows of training examples with loss.
    pub fn labelled(&self) -> usize {
        self.labels.iter().flatten().count()
    }
}

/// One optimizer step's passes.
#[derive(Debug, Clone, PartialEq)]
pub struct StepBatch {
    /// The passes, in order; their gradients are added.
    pub micro_batches: Vec<MicroBatch>,
    /// Labelled tokens of the whole step.
    pub labelled: usize,
    /// Rows of rehearsal whose token is learned, of the whole step.
    pub texts: usize,
    /// Rows of rehearsal that stay at a distribution, of the whole step.
    pub anchors: usize,
    /// What the labelled tokens and the texts of the whole step count. The loss is the weighted
    /// mean over them: each pass adds the sum over its own divided by this number, so that the
    /// split changes nothing.
    pub text_weight: f64,
    /// The same of the anchors, whose mean is their own.
    pub anchor_weight: f64,
}

impl StepBatch {
    /// A step of these passes.
    pub fn of(micro_batches: Vec<MicroBatch>) -> Self {
        let all = || micro_batches.iter();
        let labelled: usize = all().map(MicroBatch::labelled).sum();
        let texts = || all().flat_map(|m| &m.texts);
        let anchors = || all().flat_map(|m| &m.anchors);
        StepBatch {
            labelled,
            texts: texts().count(),
            anchors: anchors().count(),
            text_weight: labelled as f64 + texts().map(|t| t.weight).sum::<f64>(),
            anchor_weight: anchors().map(|a| a.weight).sum(),
            micro_batches,
        }
    }

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
        let passes = bins.iter();
        StepBatch::of(
            passes
                .map(|(_, members)| MicroBatch::pack(members.iter().map(|&i| examples[i])))
                .collect(),
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::train::rehearsal::Stay;

    fn example(tokens: &[u32], labels: &[usize]) -> TokenizedExample {
        let is_label = (0..tokens.len()).map(|i| labels.contains(&i)).collect();
        TokenizedExample::of(tokens.to_vec(), is_label)
    }

    #[test]
    fn an_epoch_sees_every_example_once() {
        let plan = StepPlan::new(&vec![example(&[1, 2], &[1]); 10], 4, 2.0, 7);
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
        let fifty = vec![example(&[1, 2], &[1]); 50];
        assert_eq!(StepPlan::new(&fifty, 16, 0.3, 0).total_steps(), 2);
        assert_eq!(StepPlan::new(&[], 16, 3.0, 0).total_steps(), 0);
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

    fn rehearsed(text: f64, distribution: f64, cut: bool) -> TokenizedExample {
        let base = (distribution > 0.0).then(|| {
            Arc::new(Mat {
                data: vec![0.0; 4],
                cols: 2,
            })
        });
        TokenizedExample {
            rehearsal: Some(Rehearsal {
                stay: Stay { text, distribution },
                cut,
            }),
            base,
            ..example(&[6, 7, 8], &[1, 2])
        }
    }

    /// A run of steps of one kind forgets, or learns nothing, until the other kind comes.
    #[test]
    fn rehearsal_is_spread_over_the_steps() {
        let mut examples = vec![rehearsed(0.0, 1.0, false); 9];
        examples.extend(vec![example(&[1, 2], &[1]); 3]);
        let plan = StepPlan::new(&examples, 4, 2.0, 7);
        for step in 0..6 {
            let mut kinds = plan.examples(step);
            kinds.sort_unstable_by_key(|&place| place >= 9);
            let learned = kinds.iter().filter(|&&place| place >= 9).count();
            assert_eq!((kinds.len(), learned), (4, 1), "step {step}");
        }
        assert_ne!(
            plan.examples(0),
            plan.examples(3),
            "another order in the next epoch"
        );
    }

    #[test]
    fn rows_of_rehearsal_are_no_labels_and_count_by_their_weights() {
        let learned = example(&[1, 2, 3], &[1, 2]);
        let both = rehearsed(0.5, 3.0, false);
        let step = StepBatch::pack(&[&learned, &both], 64);
        let micro = &step.micro_batches[0];
        assert_eq!(micro.labels, [Some(2), Some(3), None, None]);
        let texts: Vec<(usize, u32)> = micro.texts.iter().map(|t| (t.row, t.token)).collect();
        assert_eq!(texts, [(2, 7), (3, 8)]);
        let anchors: Vec<(usize, usize)> = micro.anchors.iter().map(|a| (a.row, a.at)).collect();
        assert_eq!(anchors, [(2, 0), (3, 1)]);
        assert_eq!((step.labelled, step.texts, step.anchors), (2, 2, 2));
        assert_eq!((step.text_weight, step.anchor_weight), (3.0, 6.0));
        let text = MicroBatch::pack([&rehearsed(1.0, 0.0, false)]);
        assert_eq!((text.texts.len(), text.anchors.len()), (2, 0));
    }

    #[test]
    fn the_end_of_an_answer_that_was_cut_is_not_learned_as_text() {
        let micro = MicroBatch::pack([&rehearsed(1.0, 1.0, true)]);
        assert_eq!(micro.texts.iter().map(|t| t.token).collect::<Vec<_>>(), [7]);
        assert_eq!(
            micro.anchors.len(),
            2,
            "the base's own opinion of the end stays"
        );
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
