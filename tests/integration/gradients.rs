//! Gradients written by hand against PyTorch's, against automatic differentiation, and, with
//! dropout, against finite differences.
//!
//! PyTorch's numbers are those of `fixtures/reference/make_peft_expected.py`.

use std::sync::Arc;

use qeval::lora::{DropoutKey, Trainable};
use qeval::model::{Decoder, Keep, ModuleId, NoLowRank};
use qeval::random::{Philox, Purpose};
use qeval::train::{
    AdamW, AnchorRow, MicroBatch, Stay, StepBatch, TextRow, TrainSection, accumulate, clip,
    gradient_norm, validate,
};

use crate::autograd::{Autograd, Text};
use crate::support::{Expected, TINY, Tiny, bits, norm, relative_difference, transposed};

/// Loss and gradients of one step from zero.
fn step(decoder: &Decoder, trainable: &mut Trainable, batch: &StepBatch, keep: Keep) -> f64 {
    trainable.clear_gradients();
    let key = DropoutKey::default();
    let step = accumulate(decoder, trainable, batch, keep, 1.0, key);
    step.unwrap().loss
}

/// Every gradient: module, `A` as `[rank, in]`, `B` as `[out, rank]`.
fn gradients(trainable: &Trainable) -> Vec<(ModuleId, Vec<f32>, Vec<f32>)> {
    let modules = trainable.modules().map(|(id, m)| {
        let outputs = m.b.gradient.len() / m.rank;
        (
            *id,
            m.a.gradient.clone(),
            transposed(&m.b.gradient, outputs),
        )
    });
    modules.collect()
}

fn gradient_bits(trainable: &Trainable) -> Vec<Vec<u32>> {
    trainable
        .matrices()
        .map(|(_, m)| bits(&m.gradient))
        .collect()
}

/// The key of a tensor in a PEFT file.
fn peft_key(id: ModuleId, side: &str) -> String {
    format!("base_model.model.{id}.{side}.weight")
}

#[test]
fn gradients_are_those_of_pytorch() {
    for name in TINY {
        let (tiny, expected) = (
            Tiny::load(name),
            Expected::read(&format!("{name}.train.safetensors")),
        );
        let mut trainable = tiny.trainable("plain", 0.0);
        let loss = step(
            &tiny.decoder,
            &mut trainable,
            &expected.step(),
            Keep::Products,
        );
        let expected_loss = f64::from(expected.floats("loss")[0]);
        assert!(
            (loss - expected_loss).abs() <= 1e-5,
            "{name}: {loss} against {expected_loss}"
        );
        let found = gradients(&trainable);
        let stored = expected
            .names()
            .into_iter()
            .filter(|n| n.starts_with("grad."))
            .count();
        assert_eq!(
            2 * found.len(),
            stored,
            "{name}: every matrix of peft's is trained"
        );
        let mut most: f64 = 0.0;
        for (id, a, b) in &found {
            for (side, gradient) in [("lora_A", a), ("lora_B", b)] {
                let key = peft_key(*id, side);
                let off = relative_difference(gradient, &expected.floats(&format!("grad.{key}")));
                assert!(off <= 1e-4, "{name} {key}: {off}");
                most = most.max(off);
            }
        }
        println!(
            "{name}: loss {:.1e}, gradients {most:.1e} relative",
            loss - expected_loss
        );
    }
}

#[test]
fn computing_a_layer_again_gives_equal_bits() {
    for name in TINY {
        let tiny = Tiny::load(name);
        let batch = Expected::read(&format!("{name}.train.safetensors")).step();
        for dropout in [0.0, 0.3] {
            let [all, some, none] = [Keep::All, Keep::Products, Keep::Input].map(|keep| {
                let mut trainable = tiny.trainable("plain", dropout);
                let loss = step(&tiny.decoder, &mut trainable, &batch, keep);
                (loss.to_bits(), gradient_bits(&trainable))
            });
            assert_eq!(all, none, "{name}, dropout {dropout}");
            assert_eq!(some, none, "{name}, dropout {dropout}");
        }
    }
}

#[test]
fn five_steps_of_adamw_are_those_of_pytorch() {
    for name in TINY {
        let (tiny, expected) = (
            Tiny::load(name),
            Expected::read(&format!("{name}.train.safetensors")),
        );
        let batch = expected.step();
        let mut trainable = tiny.trainable("plain", 0.0);
        let section = TrainSection {
            adam_beta1: 0.9,
            adam_beta2: 0.999,
            adam_epsilon: 1e-8,
            weight_decay: 0.0,
            ..TrainSection::default()
        };
        let mut optimizer = AdamW::new(&section, &trainable);
        let mut loss_off: f64 = 0.0;
        let (losses, norms) = (
            expected.floats("step_losses"),
            expected.floats("step_norms"),
        );
        for (loss, norm) in losses.into_iter().zip(norms) {
            let found = step(&tiny.decoder, &mut trainable, &batch, Keep::Products);
            assert!(
                (found - f64::from(loss)).abs() <= 1e-5,
                "{name}: {found} against {loss}"
            );
            loss_off = loss_off.max((found - f64::from(loss)).abs());
            let found = clip(&mut trainable, 1.0);
            assert!(
                (found / f64::from(norm) - 1.0).abs() <= 1e-5,
                "{name}: {found} against {norm}"
            );
            assert!(gradient_norm(&trainable) <= 1.0 + 1e-6);
            optimizer.update(&mut trainable, 1e-3);
        }
        let mut most: f64 = 0.0;
        for (id, m) in trainable.values() {
            for (side, value) in [("lora_A", &m.a), ("lora_B", &m.b)] {
                let key = peft_key(id, side);
                let off = relative_difference(value, &expected.floats(&format!("step5.{key}")));
                assert!(off <= 1e-4, "{name} {key}: {off}");
                most = most.max(off);
            }
        }
        println!("{name}: losses {loss_off:.1e}, matrices after five steps {most:.1e} relative");
    }
}

#[test]
fn gradients_are_those_of_automatic_differentiation() {
    for name in TINY {
        let tiny = Tiny::load(name);
        let batch = Expected::read(&format!("{name}.train.safetensors")).step();
        for variant in ["plain", "patterns", "qv"] {
            let mut trainable = tiny.trainable(variant, 0.0);
            let loss = step(&tiny.decoder, &mut trainable, &batch, Keep::Products);
            let reference = Autograd::new(&tiny, &tiny.adapter(variant).modules).unwrap();
            let reference = reference
                .gradients(&texts(&batch.micro_batches[0]))
                .unwrap();
            assert!(
                (loss - reference.loss).abs() <= 1e-5,
                "{loss} against {}",
                reference.loss
            );
            let found = gradients(&trainable);
            assert_eq!(found.len(), reference.of.len());
            let mut most: f64 = 0.0;
            for (id, a, b) in &found {
                let (expected_a, expected_b) = &reference.of[id];
                for (gradient, expected) in [(a, expected_a), (b, expected_b)] {
                    let off = relative_difference(gradient, expected);
                    assert!(off <= 1e-4, "{name} {variant} {id}: {off}");
                    most = most.max(off);
                }
            }
            println!("{name} {variant}: {most:.1e} relative");
        }
    }
}

/// The texts of a micro-batch with their labels by row.
fn texts(micro: &MicroBatch) -> Vec<Text> {
    let ends = micro
        .segments
        .iter()
        .skip(1)
        .copied()
        .chain([micro.tokens.len()]);
    let segments = micro.segments.iter().zip(ends);
    let text = |(&start, end): (&usize, usize)| {
        let labels = micro.labels[start..end].iter().enumerate();
        let labels = labels.filter_map(|(row, label)| label.map(|label| (row, label)));
        (micro.tokens[start..end].to_vec(), labels.collect())
    };
    segments.map(text).collect()
}

#[test]
fn passes_add_up_to_the_gradient_of_the_whole_step() {
    let tiny = Tiny::load("tiny-qwen2");
    let whole = Expected::read("tiny-qwen2.train.safetensors").step();
    let micro = &whole.micro_batches[0];
    let split = texts(micro).into_iter().map(|(tokens, labels)| {
        let mut by_row = vec![None; tokens.len()];
        labels
            .into_iter()
            .for_each(|(row, label)| by_row[row] = Some(label));
        let positions = (0..tokens.len()).collect();
        MicroBatch {
            tokens,
            positions,
            segments: vec![0],
            texts: Vec::new(),
            anchors: Vec::new(),
            labels: by_row,
        }
    });
    let split = StepBatch::of(split.collect());
    assert_eq!(split.labelled, whole.labelled);
    assert_eq!(split.micro_batches.len(), 2);
    let [(loss, together), (split_loss, added)] = [&whole, &split].map(|batch| {
        let mut trainable = tiny.trainable("plain", 0.0);
        let loss = step(&tiny.decoder, &mut trainable, batch, Keep::Products);
        (loss, gradients(&trainable))
    });
    assert!(
        (loss - split_loss).abs() < 1e-6,
        "{loss} against {split_loss}"
    );
    for ((id, a, b), (_, other_a, other_b)) in together.iter().zip(&added) {
        assert!(relative_difference(a, other_a) < 1e-5, "{id}");
        assert!(relative_difference(b, other_b) < 1e-5, "{id}");
    }
}

/// Loss as a function of every matrix, under one draw of dropout.
struct Landscape<'a> {
    tiny: &'a Tiny,
    batch: StepBatch,
    trainable: Trainable,
    key: DropoutKey,
    origin: Vec<Vec<f32>>,
}

impl Landscape<'_> {
    /// The loss at `origin + distance * direction`; its gradients stay in `trainable`.
    fn loss(&mut self, direction: &[Vec<f32>], distance: f32) -> f64 {
        let origin = &self.origin;
        self.trainable.update(|i, matrix| {
            let places = origin[i].iter().zip(&direction[i]);
            matrix.value = places.map(|(x, d)| x + distance * d).collect();
        });
        self.trainable.clear_gradients();
        let weight = 1.0;
        let said = accumulate(
            &self.tiny.decoder,
            &mut self.trainable,
            &self.batch,
            Keep::Products,
            weight,
            self.key,
        )
        .unwrap();
        let of = |mean: Option<f64>| mean.unwrap_or(0.0);
        let (labelled, texts) = (self.batch.labelled as f64, self.batch.texts as f64);
        let nats = labelled * said.loss + TEXT * texts * of(said.text);
        nats / self.batch.text_weight + weight * of(said.rehearsal)
    }

    /// The slope along a direction by central differences.
    fn slope(&mut self, direction: &[Vec<f32>]) -> f64 {
        const DISTANCE: f32 = 4e-3;
        let ahead = self.loss(direction, DISTANCE);
        (ahead - self.loss(direction, -DISTANCE)) / (2.0 * f64::from(DISTANCE))
    }
}

/// How rehearsal is stayed at.
const DISTRIBUTION: Stay = Stay::DISTRIBUTION;
/// What a token of rehearsal counts as text in these tests.
const TEXT: f64 = 0.4;

/// The same step with every second labelled row as rehearsal of the base.
fn half_rehearsed(tiny: &Tiny, mut batch: StepBatch, stay: Stay) -> StepBatch {
    for micro in &mut batch.micro_batches {
        let ends = micro.segments.iter().skip(1).copied();
        let ends = ends.chain([micro.tokens.len()]);
        let sequences: Vec<_> = micro
            .segments
            .iter()
            .zip(ends)
            .map(|(a, b)| *a..b)
            .collect();
        let keep = Keep::Input;
        let forward =
            tiny.decoder
                .forward_training(&micro.tokens, &sequences, keep, &mut NoLowRank);
        let base = Arc::new(forward.unwrap().0);
        let labelled = (0..micro.labels.len()).filter(|&row| micro.labels[row].is_some());
        for row in labelled.step_by(2).collect::<Vec<_>>() {
            let token = micro.labels[row].take().unwrap();
            if stay.text > 0.0 {
                let weight = stay.text;
                micro.texts.push(TextRow { row, token, weight });
            }
            if stay.distribution > 0.0 {
                micro.anchors.push(AnchorRow {
                    row,
                    base: base.clone(),
                    at: row,
                    weight: stay.distribution,
                });
            }
        }
    }
    let batch = StepBatch::of(batch.micro_batches);
    assert!(batch.labelled > 2 && batch.texts + batch.anchors > 2);
    batch
}

/// Gradients are linear in the weights: rows of several weights in one pass have the gradients of
/// a pass for each, weighted as they are.
#[test]
fn a_row_counts_by_its_weight() {
    let tiny = Tiny::load("tiny-qwen3");
    let learned = Expected::read("tiny-qwen3.train.safetensors").step();
    let both = Stay {
        text: 1.0,
        distribution: 1.0,
    };
    let whole = half_rehearsed(&tiny, learned, both);
    let weights = [0.5, 2.0];
    let gradient = |batch: &StepBatch| {
        let mut trainable = tiny.trainable("plain", 0.0);
        step(&tiny.decoder, &mut trainable, batch, Keep::Products);
        gradients(&trainable)
    };
    // Rows of even places count half, those of odd places double; and each kind of them alone.
    let only = |kept: Option<usize>| {
        let mut micro = whole.micro_batches[0].clone();
        let (texts, anchors) = (micro.texts.len(), micro.anchors.len());
        for (i, text) in micro.texts.iter_mut().enumerate() {
            text.weight = weights[i % 2];
        }
        for (i, anchor) in micro.anchors.iter_mut().enumerate() {
            anchor.weight = weights[i % 2];
        }
        if let Some(kept) = kept {
            let mut place = 0..texts;
            micro.texts.retain(|_| place.next().unwrap() % 2 == kept);
            let mut place = 0..anchors;
            micro.anchors.retain(|_| place.next().unwrap() % 2 == kept);
            micro.labels.fill(None);
        }
        StepBatch::of(vec![micro])
    };
    let mut labels = whole.micro_batches[0].clone();
    labels.texts.clear();
    labels.anchors.clear();
    let labels = StepBatch::of(vec![labels]);
    let (all, even, odd) = (only(None), only(Some(0)), only(Some(1)));
    assert!(even.texts > 0 && odd.texts > 0 && odd.anchors > 0);
    // A part's own mean is taken over itself: it stands for its share of the whole's.
    let text = |part: &StepBatch| part.text_weight / all.text_weight;
    let anchor = |part: &StepBatch| part.anchor_weight / all.anchor_weight;
    let text_only = |part: &StepBatch| {
        let mut micro = part.micro_batches[0].clone();
        micro.anchors.clear();
        gradient(&StepBatch::of(vec![micro]))
    };
    let anchor_only = |part: &StepBatch| {
        let mut micro = part.micro_batches[0].clone();
        micro.texts.clear();
        micro.labels.fill(None);
        gradient(&StepBatch::of(vec![micro]))
    };
    let parts = [
        (text(&labels), gradient(&labels)),
        (text(&even), text_only(&even)),
        (text(&odd), text_only(&odd)),
        (anchor(&even), anchor_only(&even)),
        (anchor(&odd), anchor_only(&odd)),
    ];
    for (place, (id, a, b)) in gradient(&all).iter().enumerate() {
        let sum = |of: &dyn Fn(usize) -> Vec<f32>| -> Vec<f32> {
            let mut sum = vec![0.0; of(0).len()];
            for (i, (share, _)) in parts.iter().enumerate() {
                let part = of(i);
                sum.iter_mut()
                    .zip(part)
                    .for_each(|(s, x)| *s += *share as f32 * x);
            }
            sum
        };
        let expected_a = sum(&|i| parts[i].1[place].1.clone());
        let expected_b = sum(&|i| parts[i].1[place].2.clone());
        assert!(relative_difference(a, &expected_a) < 1e-4, "{id}");
        assert!(relative_difference(b, &expected_b) < 1e-4, "{id}");
    }
}

#[test]
fn rehearsal_has_no_gradient_at_the_base_itself() {
    let tiny = Tiny::load("tiny-llama");
    let step = Expected::read("tiny-llama.train.safetensors").step();
    let mut batch = half_rehearsed(&tiny, step, DISTRIBUTION);
    for micro in &mut batch.micro_batches {
        micro.labels.fill(None);
    }
    let batch = StepBatch::of(batch.micro_batches);
    let mut trainable = tiny.trainable("plain", 0.0);
    let said = accumulate(
        &tiny.decoder,
        &mut trainable,
        &batch,
        Keep::Products,
        1.0,
        DropoutKey::default(),
    )
    .unwrap();
    assert!(said.rehearsal.unwrap() > 1e-4 && gradient_norm(&trainable) > 1e-4);
    trainable.update(|_, matrix| matrix.value.fill(0.0));
    trainable.clear_gradients();
    let said = accumulate(
        &tiny.decoder,
        &mut trainable,
        &batch,
        Keep::Products,
        1.0,
        DropoutKey::default(),
    )
    .unwrap();
    assert!(said.rehearsal.unwrap() < 1e-6, "{said:?}");
    assert!(gradient_norm(&trainable) < 1e-6);
}

#[test]
fn gradients_with_dropout_are_those_of_finite_differences() {
    let text = Stay {
        text: TEXT,
        distribution: 0.0,
    };
    let both = Stay {
        distribution: 2.0,
        ..text
    };
    for (name, rehearsal) in [
        ("tiny-qwen3", None),
        ("tiny-qwen2", None),
        ("tiny-qwen3", Some(DISTRIBUTION)),
        ("tiny-qwen3", Some(text)),
        ("tiny-qwen3", Some(both)),
    ] {
        let tiny = Tiny::load(name);
        let trainable = tiny.trainable("plain", 0.4);
        let batch = Expected::read(&format!("{name}.train.safetensors")).step();
        let mut landscape = Landscape {
            tiny: &tiny,
            batch: match rehearsal {
                Some(stay) => half_rehearsed(&tiny, batch, stay),
                None => batch,
            },
            origin: trainable.matrices().map(|(_, m)| m.value.clone()).collect(),
            trainable,
            key: DropoutKey {
                seed: 5,
                step: 3,
                micro_batch: 0,
            },
        };
        let zero: Vec<Vec<f32>> = landscape
            .origin
            .iter()
            .map(|x| vec![0.0; x.len()])
            .collect();
        landscape.loss(&zero, 0.0);
        let gradient: Vec<Vec<f32>> = landscape
            .trainable
            .matrices()
            .map(|(_, m)| m.gradient.clone())
            .collect();

        // Every matrix alone along its gradient with noise of the same length, then all at once.
        let mut draws = Philox::new(9).draws(Purpose::Sampling, 0);
        let mut noisy = |matrix: &Vec<f32>| -> Vec<f32> {
            let noise: Vec<f32> = matrix.iter().map(|_| draws.uniform() - 0.5).collect();
            let factor = (norm(matrix) / norm(&noise)) as f32;
            matrix
                .iter()
                .zip(noise)
                .map(|(g, n)| g + factor * n)
                .collect()
        };
        let mut directions: Vec<Vec<Vec<f32>>> = Vec::new();
        for i in 0..gradient.len() {
            let mut direction = zero.clone();
            direction[i] = noisy(&gradient[i]);
            directions.push(direction);
        }
        directions.push(gradient.iter().map(noisy).collect());
        let mut most: f64 = 0.0;
        for (i, mut direction) in directions.into_iter().enumerate() {
            let length = direction
                .iter()
                .map(|d| norm(d).powi(2))
                .sum::<f64>()
                .sqrt() as f32;
            direction.iter_mut().flatten().for_each(|x| *x /= length);
            let dot = |(g, d): (&f32, &f32)| f64::from(*g) * f64::from(*d);
            let pairs = gradient.iter().zip(&direction);
            let expected: f64 = pairs
                .map(|(g, d)| g.iter().zip(d).map(dot).sum::<f64>())
                .sum();
            let found = landscape.slope(&direction);
            let off = (found - expected).abs() / expected.abs();
            assert!(
                off < 1e-2,
                "{name}, direction {i}: slope {found}, gradient says {expected}"
            );
            most = most.max(off);
        }
        println!("{name}: {most:.1e} relative");
    }
}

#[test]
fn dropout_depends_on_its_key_alone_and_spares_validation() {
    let tiny = Tiny::load("tiny-llama");
    let batch = Expected::read("tiny-llama.train.safetensors").step();
    let loss = |dropout: f32, key: DropoutKey| {
        let mut trainable = tiny.trainable("plain", dropout);
        accumulate(
            &tiny.decoder,
            &mut trainable,
            &batch,
            Keep::Products,
            1.0,
            key,
        )
        .unwrap()
        .loss
    };
    let key = DropoutKey {
        seed: 1,
        step: 2,
        micro_batch: 0,
    };
    let dropped = loss(0.5, key);
    assert_eq!(dropped, loss(0.5, key));
    assert_ne!(dropped, loss(0.5, DropoutKey { step: 3, ..key }));
    assert_ne!(dropped, loss(0.5, DropoutKey { seed: 2, ..key }));
    assert_ne!(dropped, loss(0.0, key));
    let mut trainable = tiny.trainable("plain", 0.5);
    step(&tiny.decoder, &mut trainable, &batch, Keep::Products);
    let validated = validate(&tiny.decoder, &mut trainable, &batch).unwrap();
    assert_eq!(validated, loss(0.0, key));
}
