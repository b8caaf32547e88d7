//! Answers of the engine: those of the CPU, and the same whatever is beside them.

use std::collections::BTreeMap;
use std::ops::ControlFlow;

use qeval::generate::{Engine, EngineOptions, Finished, Request, Sampling, Work};
use qeval::lora::{Adapter, LoadedAdapter};
use qeval::model::ModelRef;

use crate::support::{changing, gpu, lora_config, matrices, pair, tokens};

const SLOTS: usize = 12;

fn options(usable: usize, step_rows: usize) -> EngineOptions {
    EngineOptions {
        slots: SLOTS,
        step_rows,
        end_of_turn: vec![3, 5],
        usable_vocab: usable,
        report_tokens: false,
    }
}

type Answers = BTreeMap<usize, (Vec<u32>, Vec<f32>)>;

fn run(
    model: ModelRef<'_>,
    adapters: &[LoadedAdapter],
    step_rows: usize,
    requests: Vec<Request>,
) -> Answers {
    let mut answers = Answers::new();
    let options = options(model.config().vocab_size - 4, step_rows);
    let mut on_finished = |finished| {
        match finished {
            Finished::Generated {
                id,
                tokens,
                logprobs,
                ..
            } => answers.insert(id, (tokens, logprobs)),
            Finished::Scored { id, logprobs } => answers.insert(id, (Vec::new(), logprobs)),
        };
        ControlFlow::Continue(())
    };
    Engine::new(model, adapters, options)
        .run(requests, &mut on_finished, &mut |_| {
            ControlFlow::Continue(())
        })
        .unwrap();
    answers
}

fn requests(config: &qeval::model::ModelConfig, adapters: usize) -> Vec<Request> {
    let request = |i: usize| {
        let length = 5 + (i * 37) % 150;
        let sampling = match i % 3 {
            2 => Sampling {
                temperature: 0.8,
                top_p: 0.9,
                ..Sampling::default()
            },
            _ => Sampling::default(),
        };
        let generate = |id, seed| Work::Generate {
            id,
            sampling,
            max_new_tokens: 4 + i % 20,
            seed,
        };
        let text: Vec<u32> = tokens(1 + i % 9, config, 500 + i as u64);
        let score = Work::Score {
            id: 1000 + i,
            text: text.into(),
        };
        Request {
            adapter: (i % (adapters + 1)).checked_sub(1),
            prompt: tokens(length, config, i as u64).into(),
            work: match i % 4 {
                0 => vec![generate(i, 1), score, generate(2000 + i, 2)],
                1 => vec![score],
                _ => vec![generate(i, 1)],
            },
        }
    };
    (0..60).map(request).collect()
}

fn adapters(config: &qeval::model::ModelConfig) -> Vec<LoadedAdapter> {
    let plain = [(&["q_proj", "v_proj"][..], 1), (&[], 700)].map(|(names, seed)| {
        let adapter = Adapter::new(lora_config(), matrices(config, names, 8, seed));
        LoadedAdapter::new(&adapter, config, 1.0)
    });
    plain.into_iter().chain([changing(config)]).collect()
}

pub fn answers_are_those_of_the_cpu() {
    let cuda = gpu();
    for kind in ["llama", "qwen2", "qwen3", "mistral", "gemma3"] {
        let pair = pair(&cuda, kind);
        let adapters = adapters(&pair.config);
        let all = requests(&pair.config, adapters.len());
        let host = run((&pair.cpu).into(), &adapters, 64, all.clone());
        let card = run((&pair.gpu).into(), &adapters, 64, all);
        assert_eq!(
            host.keys().collect::<Vec<_>>(),
            card.keys().collect::<Vec<_>>()
        );
        let (mut scored, mut equal, mut answers) = (Vec::new(), 0, 0);
        for (id, (ids, logprobs)) in &host {
            let (found, found_logprobs) = &card[id];
            if ids.is_empty() && found.is_empty() {
                scored.extend(
                    logprobs
                        .iter()
                        .zip(found_logprobs)
                        .map(|(a, b)| (a - b).abs()),
                );
                continue;
            }
            answers += 1;
            equal += usize::from(ids == found);
            // Up to where they part, both saw the same tokens.
            let same = ids.iter().zip(found).take_while(|(a, b)| a == b).count();
            for i in 0..same {
                assert!(
                    (logprobs[i] - found_logprobs[i]).abs() < 0.5,
                    "{kind} {id} {i}"
                );
            }
        }
        let mean = scored.iter().sum::<f32>() / scored.len() as f32;
        eprintln!(
            "{kind}: {equal} of {answers} answers equal, log-probabilities of texts {mean:.4} apart"
        );
        // The logits of random weights spread over tens of nats; bf16 is off by a hundredth of that.
        assert!(
            mean < 0.2 && equal * 2 > answers,
            "{kind}: {mean} {equal} of {answers}"
        );
    }
}

pub fn answers_keep_their_bits_whatever_is_beside_them() {
    let cuda = gpu();
    for kind in ["qwen2", "qwen3", "gemma3"] {
        let pair = pair(&cuda, kind);
        let adapters = adapters(&pair.config);
        let all = requests(&pair.config, adapters.len());
        let expected = run((&pair.gpu).into(), &adapters, 64, all.clone());
        let again = run((&pair.gpu).into(), &adapters, 64, all.clone());
        assert!(expected == again, "the same run again");
        let mut turned = all.clone();
        turned.reverse();
        let other = run((&pair.gpu).into(), &adapters, 2048, turned);
        assert!(
            expected == other,
            "another order and other chunks of prompts"
        );
        let few: Vec<Request> = all.into_iter().skip(17).step_by(9).collect();
        let fewer = run((&pair.gpu).into(), &adapters, 64, few);
        assert!(!fewer.is_empty());
        for (id, answer) in fewer {
            assert!(expected[&id] == answer, "{kind}: {id} among few");
        }
    }
}
