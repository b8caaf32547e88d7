//! The whole decoder: logits, gradients, a few steps of training.

use std::sync::Arc;

use qeval::gpu::Cuda;
use qeval::lora::{
    AdapterTable, BatchAdapters, DropoutKey, GpuTrainable, LoadedAdapter, RowAdapters, Trainable,
};
use qeval::model::cuda::Next;
use qeval::model::{Batch, Keep, KvCache, LowRankGradient, NoLowRank, Span};

use crate::support::{
    assert_close, changing, down, gpu, gpus, lora_config, matrices, numbers, pair, tokens,
    trainable,
};

fn adapter(config: &qeval::model::ModelConfig, names: &[&str], seed: u64) -> LoadedAdapter {
    let adapter = qeval::lora::Adapter::new(lora_config(), matrices(config, names, 8, seed));
    LoadedAdapter::new(&adapter, config, 1.0)
}

pub fn logits_of_base_and_adapters_in_one_batch() {
    let cuda = gpu();
    for kind in ["llama", "qwen2", "qwen3", "mistral", "gemma3"] {
        let pair = pair(&cuda, kind);
        let adapters = [
            adapter(&pair.config, &["q_proj", "v_proj"], 1),
            adapter(&pair.config, &[], 900),
            changing(&pair.config),
        ];
        for (len, label) in [(50, "few rows"), (250, "many rows")] {
            let ids = tokens(len, &pair.config, 3);
            let span = |slot: usize| Span {
                slot,
                position: 0,
                rows: slot * len..(slot + 1) * len,
            };
            let batch = Batch {
                tokens: ids.repeat(4),
                spans: (0..4).map(span).collect(),
            };
            let which: Vec<Option<usize>> = [None, Some(0), Some(1), Some(2)]
                .into_iter()
                .flat_map(|a| vec![a; len])
                .collect();
            let mut cache = KvCache::new(&pair.config, 4, len);
            let mut of_rows = BatchAdapters::new(&adapters, &which);
            let hidden = pair.cpu.forward(&batch, &mut cache, &mut of_rows).unwrap();
            let table = Arc::new(AdapterTable::new(&cuda, &adapters).unwrap());
            let numbers: Vec<i32> = which.iter().map(|w| w.map_or(-1, |w| w as i32)).collect();
            let mut rows = RowAdapters::new(table.clone(), &numbers);
            let mut cache = KvCache::on(&cuda, &pair.config, 4, len).unwrap();
            let found = pair.gpu.forward(&batch, &mut cache, &mut rows).unwrap();
            assert_close(
                &format!("{kind} {label} hidden"),
                &down(&cuda, &found),
                &hidden.data,
                3e-2,
            );
            let last: Vec<usize> = (1..=4).map(|s| s * len - 1).collect();
            let which = [None, Some(0), Some(1), Some(2)];
            let mut of_rows = BatchAdapters::new(&adapters, &which);
            let expected = pair.cpu.logits_with(&hidden.gather(&last), &mut of_rows);
            let expected = expected.unwrap();
            let last = qeval::model::Device::gather(&cuda, &found, &last);
            let mut rows = RowAdapters::new(table, &[-1, 0, 1, 2]);
            let found = pair.gpu.logits_with(&last, &mut rows).unwrap();
            assert_close(
                &format!("{kind} {label} logits"),
                &down(&cuda, &found),
                &expected.data,
                3e-2,
            );
        }
    }
}

struct Step {
    sequences: Vec<std::ops::Range<usize>>,
    ids: Vec<u32>,
    labels: Vec<(usize, u32)>,
}

fn ragged(config: &qeval::model::ModelConfig) -> Step {
    let (mut sequences, mut at) = (Vec::new(), 0);
    for len in [70usize, 3, 129, 64] {
        sequences.push(at..at + len);
        at += len;
    }
    let ids = tokens(at, config, 8);
    let labels = sequences
        .iter()
        .flat_map(|s| (s.start + 1..s.end - 1).map(|row| (row, ids[row + 1])))
        .collect();
    Step {
        sequences,
        ids,
        labels,
    }
}

/// Loss and gradients of one step on either device.
fn step<D: qeval::model::Device>(
    decoder: &qeval::model::Decoder<D>,
    step: &Step,
    keep: Keep,
    rehearsed: Option<&qeval::model::Mat>,
    low_rank: &mut impl LowRankGradient<D>,
) -> (f64, f64) {
    let (hidden, tape) = decoder
        .forward_training(&step.ids, &step.sequences, keep, low_rank)
        .unwrap();
    let device = decoder.device();
    let mut d = device.zeros(device.height(&hidden), device.width(&hidden));
    let weight = 1.0 / step.labels.len() as f32;
    let loss = decoder
        .loss(&hidden, &step.labels, weight, Some(&mut d))
        .unwrap();
    let nats = rehearsed.map_or(0.0, |base| {
        let rows: Vec<usize> = (0..base.rows()).map(|i| 2 * i).collect();
        decoder
            .divergence(&hidden, &rows, base, 0.1, &mut d)
            .unwrap()
    });
    decoder.backward(tape, d, low_rank).unwrap();
    (loss, nats)
}

pub fn gradients_are_those_of_the_cpu() {
    gpus().iter().for_each(gradients);
}

fn gradients(cuda: &Cuda) {
    for kind in ["llama", "qwen2", "qwen3", "mistral", "gemma3"] {
        let pair = pair(cuda, kind);
        let data = ragged(&pair.config);
        let base = numbers(20, pair.config.hidden_size, 77);
        // Ranks of less and more than one step of a product, and where only one of gate and up has
        // an adapter.
        for (names, rank, dropout) in [
            (&["q_proj", "v_proj"][..], 8, 0.0),
            (&[], 8, 0.0),
            (&[], 8, 0.2),
            (&["gate_proj", "down_proj"], 6, 0.0),
            (&["up_proj", "o_proj"], 72, 0.0),
            (&[], 128, 0.0),
        ] {
            let mut host = trainable(&pair.config, names, rank, dropout);
            let key = DropoutKey {
                seed: 5,
                step: 3,
                micro_batch: 2,
            };
            host.dropout_key = Some(key);
            let mut card = GpuTrainable::new(cuda, &host).unwrap();
            card.set_dropout(Some(key));
            let (loss, nats) = step(&pair.cpu, &data, Keep::Products, Some(&base), &mut host);
            let mut bits: Vec<Vec<Vec<f32>>> = Vec::new();
            for keep in [Keep::All, Keep::Products, Keep::Input] {
                card.clear_gradients();
                let (found, found_nats) = step(&pair.gpu, &data, keep, Some(&base), &mut card);
                assert!(
                    (found - loss).abs() < 5e-3 * loss,
                    "{kind}: loss {found}, {loss}"
                );
                assert!(
                    (found_nats - nats).abs() < 2e-2 * nats.max(0.1),
                    "{found_nats}, {nats}"
                );
                bits.push(card.gradients());
            }
            for less in &bits[1..] {
                assert_eq!(&bits[0], less, "what is kept changes no bit");
            }
            let (mut worst, mut all) = (0.0f64, (Vec::new(), Vec::new()));
            for ((name, matrix), found) in host.matrices().zip(&bits[0]) {
                let apart = crate::support::difference(found, &matrix.gradient);
                if apart > worst {
                    eprintln!("{kind} {names:?} {rank} {dropout} {name}: {apart:.2e}");
                    worst = apart;
                }
                all.0.extend_from_slice(found);
                all.1.extend_from_slice(&matrix.gradient);
            }
            assert_close(
                &format!("{kind} {names:?} {rank} {dropout} all gradients"),
                &all.0,
                &all.1,
                2e-2,
            );
        }
    }
}

pub fn adamw_is_that_of_the_cpu() {
    let cuda = gpu();
    let pair = pair(&cuda, "llama");
    let section = qeval::train::TrainSection {
        weight_decay: 0.1,
        ..Default::default()
    };
    let mut host: Trainable = trainable(&pair.config, &["q_proj", "down_proj"], 8, 0.0);
    let mut optimizer = qeval::train::AdamW::new(&section, &host);
    let mut card = GpuTrainable::new(&cuda, &host).unwrap();
    let mut updates = qeval::train::AdamW::new(&section, &host);
    let mut on_card = qeval::train::GpuAdamW::new(&card, &updates.moments).unwrap();
    for round in 0..3 {
        let gradients: Vec<Vec<f32>> = host
            .matrices()
            .enumerate()
            .map(|(i, (_, m))| numbers(1, m.value.len(), 1000 + 50 * round + i as u64).data)
            .collect();
        host.update(|i, m| m.gradient.copy_from_slice(&gradients[i]));
        card.set_gradients(&gradients.iter().map(Vec::as_slice).collect::<Vec<_>>());
        let norm = qeval::train::gradient_norm(&host);
        assert!((on_card.gradient_norm(&card) - norm).abs() < 1e-5 * norm);
        optimizer.update(&mut host, 1e-3);
        let update = updates.next_update(1e-3);
        on_card.update(&mut card, &update, 1.0);
        let found = card.values();
        for ((_, m), found) in host.matrices().zip(found) {
            assert_close("value", &found, &m.value, 1e-6);
        }
    }
}

pub fn a_graph_repeats_its_work() {
    let cuda = gpu();
    let pair = pair(&cuda, "qwen2");
    let rows = qeval::model::cuda::SingleRows::new(&cuda, 4, 64);
    let mut cache = KvCache::on(&cuda, &pair.config, 4, 64).unwrap();
    let ids = tokens(12, &pair.config, 4);
    let row = |token: u32, position: usize| {
        Some(Next {
            token,
            position,
            adapter: -1,
        })
    };
    let next = |position: usize| {
        vec![
            row(ids[position], position),
            None,
            row(ids[11 - position], position),
            None,
        ]
    };
    rows.set(&next(0));
    let described = rows.rows();
    let (graph, hidden) = cuda
        .record(|| {
            pair.gpu
                .forward_rows(&described, &mut cache, &mut NoLowRank)
        })
        .unwrap();
    let mut replayed = Vec::new();
    for position in 0..12 {
        rows.set(&next(position));
        graph.replay();
        replayed.push(down(&cuda, &hidden));
    }
    let mut cache = KvCache::on(&cuda, &pair.config, 4, 64).unwrap();
    for (position, replayed) in replayed.into_iter().enumerate() {
        rows.set(&next(position));
        let again = pair
            .gpu
            .forward_rows(&described, &mut cache, &mut NoLowRank)
            .unwrap();
        let again = down(&cuda, &again);
        assert_eq!(again[..256], replayed[..256]);
        assert_eq!(again[512..768], replayed[512..768]);
    }
    let mut cache = KvCache::new(&pair.config, 1, 64);
    let span = Span {
        slot: 0,
        position: 0,
        rows: 0..12,
    };
    let batch = Batch {
        tokens: ids.clone(),
        spans: vec![span],
    };
    let expected = pair
        .cpu
        .forward(&batch, &mut cache, &mut NoLowRank)
        .unwrap();
    rows.set(&next(11));
    let mut cache = KvCache::on(&cuda, &pair.config, 4, 64).unwrap();
    let mut last = Vec::new();
    for position in 0..12 {
        rows.set(&next(position));
        last = down(
            &cuda,
            &pair
                .gpu
                .forward_rows(&described, &mut cache, &mut NoLowRank)
                .unwrap(),
        );
    }
    assert_close("token by token", &last[..256], expected.row(11), 3e-2);
}
