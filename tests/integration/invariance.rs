//! What must not change, to the bit: an answer with its neighbours, the base with adapters about,
//! an adapter with an interruption of its training.

use std::collections::BTreeMap;
use std::ops::ControlFlow::{self, Break, Continue};
use std::path::Path;
use std::sync::Arc;

use qeval::flow::Finish;
use qeval::generate::{Engine, EngineOptions, Finished, Request, Sampling, StepReport, Work};
use qeval::lora::{Adapter, BatchAdapters, DropoutKey, LoadedAdapter, LoraConfig, TrainedOn};
use qeval::model::{Keep, NoLowRank, log_sum_exp};
use qeval::train::{
    AdamW, CheckpointHook, CheckpointView, Every, StepBatch, TokenizedExample, TrainEnd,
    TrainError, TrainLine, TrainSection, Training, accumulate, clip,
};

use crate::support::{Expected, TINY, Tiny, bits, example, largest_difference, logits, prompts};

const VARIANTS: [&str; 3] = ["plain", "patterns", "qv"];
/// Pieces of work of every request.
const PIECES: usize = 5;
const MAX_NEW_TOKENS: usize = 24;

fn adapters(tiny: &Tiny) -> Vec<LoadedAdapter> {
    VARIANTS
        .iter()
        .map(|variant| tiny.loaded(variant))
        .collect()
}

/// Every prompt to the base and every adapter: greedy, sampled three times, and a given text.
fn requests(tiny: &Tiny) -> Vec<Request> {
    let subjects: Vec<Option<usize>> = std::iter::once(None)
        .chain((0..VARIANTS.len()).map(Some))
        .collect();
    let prompts = prompts(tiny);
    let mut requests = Vec::new();
    for (p, prompt) in prompts.iter().enumerate() {
        for (s, &adapter) in subjects.iter().enumerate() {
            let first = (p * subjects.len() + s) * PIECES;
            let generate = |piece: usize, sampling| Work::Generate {
                id: first + piece,
                sampling,
                max_new_tokens: MAX_NEW_TOKENS,
                seed: (p * PIECES + piece) as u64,
            };
            let warm = Sampling {
                temperature: 0.8,
                top_p: 0.9,
                ..Sampling::default()
            };
            let hot = Sampling {
                temperature: 1.3,
                top_k: 60,
                repetition_penalty: 1.2,
                ..Sampling::default()
            };
            let text = prompts[(p + 1) % prompts.len()].clone();
            let work = vec![
                generate(0, Sampling::default()),
                generate(1, warm),
                generate(2, warm),
                generate(3, hot),
                Work::Score {
                    id: first + 4,
                    text,
                },
            ];
            requests.push(Request {
                adapter,
                prompt: prompt.clone(),
                work,
            });
        }
    }
    requests
}

/// Tokens, bits of their log-probabilities, and why it ended.
type Result = (Vec<u32>, Vec<u32>, Option<Finish>);

fn run(
    tiny: &Tiny,
    adapters: &[LoadedAdapter],
    requests: Vec<Request>,
    slots: usize,
    step_rows: usize,
) -> BTreeMap<usize, Result> {
    let options = EngineOptions {
        slots,
        step_rows,
        // Random models seldom end a turn: with these ids some answers do and some do not.
        end_of_turn: (0..8)
            .chain(tiny.files.eos_token_ids.iter().copied())
            .collect(),
        usable_vocab: tiny.files.usable_vocab,
        report_tokens: true,
    };
    let mut results = BTreeMap::new();
    let mut on_finished = |finished| {
        let (id, result) = match finished {
            Finished::Generated {
                id,
                tokens,
                logprobs,
                finish,
            } => (id, (tokens, bits(&logprobs), Some(finish))),
            Finished::Scored { id, logprobs } => (id, (Vec::new(), bits(&logprobs), None)),
        };
        assert!(
            results.insert(id, result).is_none(),
            "{id} is finished twice"
        );
        Continue(())
    };
    let (mut steps, mut told) = (0, BTreeMap::<usize, Vec<u32>>::new());
    let mut on_step = |step: StepReport| {
        for (id, token) in step.tokens {
            told.entry(id).or_default().push(token);
        }
        steps += 1;
        assert!(steps < 100_000, "the engine does not end");
        Continue(())
    };
    Engine::new(&tiny.decoder, adapters, options)
        .run(requests, &mut on_finished, &mut on_step)
        .unwrap();
    for (id, (tokens, ..)) in &results {
        let heard = told.remove(id).unwrap_or_default();
        assert_eq!(heard, *tokens, "{id} as it was heard");
    }
    assert!(told.is_empty(), "{told:?}");
    results
}

/// Those of `all` that belong to `requests`.
fn part_of(all: &BTreeMap<usize, Result>, requests: &[Request]) -> BTreeMap<usize, Result> {
    let ids = requests.iter().flat_map(|r| &r.work).map(id_of);
    ids.map(|id| (id, all[&id].clone())).collect()
}

fn id_of(work: &Work) -> usize {
    match work {
        Work::Generate { id, .. } | Work::Score { id, .. } => *id,
    }
}

#[test]
fn the_answers_under_test_differ_where_they_should() {
    let tiny = Tiny::load("tiny-qwen3");
    let all = run(&tiny, &adapters(&tiny), requests(&tiny), 4, 64);
    let finishes: Vec<Finish> = all.values().filter_map(|(_, _, finish)| *finish).collect();
    let stopped = finishes.iter().filter(|f| **f == Finish::Stop).count();
    assert!(
        stopped > 5 && finishes.len() - stopped > 5,
        "{stopped} of {}",
        finishes.len()
    );
    let tokens = |id: usize| &all[&id].0;
    // Greedy and sampled; two seeds; base and an adapter.
    assert_ne!(tokens(0), tokens(1));
    assert_ne!(tokens(1), tokens(2));
    assert_ne!(tokens(0), tokens(PIECES));
    assert_ne!(all[&4].1, all[&(PIECES + 4)].1);
}

#[test]
fn answers_are_the_same_for_any_slots_rows_and_threads() {
    for name in TINY {
        let tiny = Tiny::load(name);
        let adapters = adapters(&tiny);
        let requests = requests(&tiny);
        let expected = run(&tiny, &adapters, requests.clone(), 4, 64);
        assert_eq!(expected.len(), requests.len() * PIECES);
        for (slots, step_rows) in [(4, 64), (1, 256), (4, 8), (16, 256), (100, 1)] {
            let found = run(&tiny, &adapters, requests.clone(), slots, step_rows);
            assert_eq!(found, expected, "{name}, {slots} slots, {step_rows} rows");
        }
        for threads in [1, 3] {
            let pool = rayon::ThreadPoolBuilder::new()
                .num_threads(threads)
                .build()
                .unwrap();
            let found = pool.install(|| run(&tiny, &adapters, requests.clone(), 16, 48));
            assert_eq!(found, expected, "{name}, {threads} threads");
        }
    }
}

#[test]
fn answers_do_not_depend_on_what_else_is_asked() {
    let tiny = Tiny::load("tiny-qwen3");
    let adapters = adapters(&tiny);
    let requests = requests(&tiny);
    let all = run(&tiny, &adapters, requests.clone(), 8, 64);
    for request in &requests {
        let alone = vec![request.clone()];
        assert_eq!(
            run(&tiny, &adapters, alone.clone(), 4, 256),
            part_of(&all, &alone)
        );
    }
    let mut reversed = requests.clone();
    reversed.reverse();
    assert_eq!(run(&tiny, &adapters, reversed, 3, 16), all);
    for (every, first) in [(2, 0), (3, 1), (5, 4)] {
        let some: Vec<Request> = requests
            .iter()
            .skip(first)
            .step_by(every)
            .cloned()
            .collect();
        assert_eq!(
            run(&tiny, &adapters, some.clone(), 8, 32),
            part_of(&all, &some)
        );
    }
}

#[test]
fn answers_do_not_depend_on_how_many_subjects_answer() {
    let tiny = Tiny::load("tiny-llama3");
    let (adapters, requests) = (adapters(&tiny), requests(&tiny));
    let all = run(&tiny, &adapters, requests.clone(), 8, 64);
    for subject in [None, Some(0), Some(1), Some(2)] {
        let own: Vec<Request> = requests
            .iter()
            .filter(|r| r.adapter == subject)
            .cloned()
            .collect();
        assert!(!own.is_empty());
        assert_eq!(
            run(&tiny, &adapters, own.clone(), 8, 64),
            part_of(&all, &own)
        );
        // Loaded alone, the adapter has another number.
        let renamed = own.iter().map(|r| Request {
            adapter: subject.map(|_| 0),
            ..r.clone()
        });
        let loaded: Vec<LoadedAdapter> =
            subject.iter().map(|s| tiny.loaded(VARIANTS[*s])).collect();
        assert_eq!(
            run(&tiny, &loaded, renamed.collect(), 8, 64),
            part_of(&all, &own)
        );
    }
}

#[test]
fn samples_of_one_prefill_are_those_asked_one_by_one() {
    let tiny = Tiny::load("tiny-qwen2");
    let (adapters, requests) = (adapters(&tiny), requests(&tiny));
    let together = run(&tiny, &adapters, requests.clone(), 4, 64);
    let apart: Vec<Request> = requests
        .iter()
        .flat_map(|r| {
            r.work.iter().map(|work| Request {
                work: vec![work.clone()],
                ..r.clone()
            })
        })
        .collect();
    for slots in [1, 16] {
        assert_eq!(
            run(&tiny, &adapters, apart.clone(), slots, 64),
            together,
            "{slots} slots"
        );
    }
}

/// Logits at every position of a text by one pass without any neighbours.
fn plain_logits(
    tiny: &Tiny,
    adapters: &[LoadedAdapter],
    adapter: Option<usize>,
    ids: &[u32],
) -> qeval::model::Mat {
    logits(
        &tiny.decoder,
        ids,
        &mut BatchAdapters::new(adapters, &vec![adapter; ids.len()]),
    )
}

#[test]
fn log_probabilities_are_those_of_a_plain_pass() {
    for name in TINY {
        let tiny = Tiny::load(name);
        let (adapters, requests) = (adapters(&tiny), requests(&tiny));
        let all = run(&tiny, &adapters, requests.clone(), 8, 24);
        for request in &requests {
            for work in &request.work {
                let (tokens, logprobs, _) = &all[&id_of(work)];
                let tokens = match work {
                    Work::Generate { .. } => tokens,
                    Work::Score { text, .. } => &text.to_vec(),
                };
                let ids: Vec<u32> = request.prompt.iter().chain(tokens).copied().collect();
                let logits = plain_logits(&tiny, &adapters, request.adapter, &ids);
                let logprob = |(i, token): (usize, &u32)| {
                    let row = logits.row(request.prompt.len() - 1 + i);
                    row[*token as usize] - log_sum_exp(row)
                };
                let expected: Vec<f32> = tokens.iter().enumerate().map(logprob).collect();
                assert_eq!(*logprobs, bits(&expected), "{name} {work:?}");
                assert!(expected.iter().all(|x| x.is_finite() && *x <= 0.0));
            }
        }
    }
}

#[test]
fn greedy_answer_takes_the_most_likely_token_each_time() {
    for name in TINY {
        let tiny = Tiny::load(name);
        let (adapters, requests) = (adapters(&tiny), requests(&tiny));
        let all = run(&tiny, &adapters, requests.clone(), 8, 24);
        for request in &requests {
            let (tokens, _, _) = &all[&id_of(&request.work[0])];
            let ids: Vec<u32> = request.prompt.iter().chain(tokens).copied().collect();
            let logits = plain_logits(&tiny, &adapters, request.adapter, &ids);
            for (i, token) in tokens.iter().enumerate() {
                let row = &logits.row(request.prompt.len() - 1 + i)[..tiny.files.usable_vocab];
                let most = row.iter().copied().fold(f32::NEG_INFINITY, f32::max);
                assert_eq!(row[*token as usize], most, "{name}, token {i}");
            }
        }
    }
}

#[test]
fn base_is_untouched_by_adapters_in_the_batch() {
    for name in TINY {
        let tiny = Tiny::load(name);
        let adapters = adapters(&tiny);
        let base: Vec<Request> = requests(&tiny)
            .into_iter()
            .filter(|r| r.adapter.is_none())
            .collect();
        let mixed = run(&tiny, &adapters, requests(&tiny), 16, 64);
        assert_eq!(
            run(&tiny, &[], base.clone(), 16, 64),
            part_of(&mixed, &base),
            "{name}"
        );
        let ids = Expected::read(&format!("{name}.logits.safetensors")).ids("ids.2");
        let off = plain_logits(&tiny, &adapters, None, &ids);
        assert_eq!(
            bits(&off.data),
            bits(&logits(&tiny.decoder, &ids, &mut NoLowRank).data)
        );
        let on = plain_logits(&tiny, &adapters, Some(0), &ids);
        assert!(largest_difference(&on.data, &off.data) > 0.1);
    }
}

#[test]
fn training_leaves_the_base_alone_and_every_matrix_learns() {
    for name in TINY {
        let tiny = Tiny::load(name);
        let expected = Expected::read(&format!("{name}.train.safetensors"));
        let ids = expected.ids("row.0.ids");
        let before = logits(&tiny.decoder, &ids, &mut NoLowRank).data;
        let mut trainable = tiny.fresh(4, 2.0, 7);
        let layers = tiny.files.config.num_hidden_layers;
        assert_eq!(trainable.modules().count(), 7 * layers);
        // B is zero at first: nothing is added.
        assert_eq!(logits(&tiny.decoder, &ids, &mut trainable).data, before);
        let mut optimizer = AdamW::new(&TrainSection::default(), &trainable);
        let mut losses = Vec::new();
        for step in 0..5 {
            trainable.clear_gradients();
            let key = DropoutKey {
                seed: 1,
                step,
                micro_batch: 0,
            };
            losses.push(
                accumulate(
                    &tiny.decoder,
                    &mut trainable,
                    &expected.step(),
                    Keep::Products,
                    1.0,
                    key,
                )
                .unwrap()
                .loss,
            );
            for (matrix, trained) in trainable.matrices() {
                assert!(
                    trained.gradient.iter().all(|g| g.is_finite()),
                    "{name} {matrix}"
                );
                let moves = trained.gradient.iter().any(|g| *g != 0.0);
                assert_eq!(
                    moves,
                    step > 0 || matrix.ends_with("lora_B"),
                    "{name} {matrix}"
                );
            }
            clip(&mut trainable, 1.0);
            optimizer.update(&mut trainable, 1e-3);
        }
        assert!(
            losses.windows(2).all(|pair| pair[1] < pair[0]),
            "{name}: {losses:?}"
        );
        let after = logits(&tiny.decoder, &ids, &mut NoLowRank).data;
        assert_eq!(bits(&before), bits(&after), "{name}");

        // What was trained is what answers.
        let trained = logits(&tiny.decoder, &ids, &mut trainable).data;
        let config = LoraConfig {
            rank: 4,
            alpha: 8.0,
            ..LoraConfig::default()
        };
        let adapter = Adapter::new(config, trainable.values());
        let loaded = [LoadedAdapter::new(&adapter, &tiny.files.config, 1.0)];
        let answering = plain_logits(&tiny, &loaded, Some(0), &ids).data;
        assert!(largest_difference(&trained, &answering) < 1e-4, "{name}");
        assert!(largest_difference(&trained, &before) > 1e-2, "{name}");
    }
}

/// Ends a run at a checkpoint or at a step between two.
#[derive(Default)]
struct Hook {
    end_at_checkpoint: Option<usize>,
    end_at_step: Option<usize>,
    checkpoints: Vec<usize>,
    lines: Vec<TrainLine>,
}

impl CheckpointHook for Hook {
    fn at_checkpoint(&mut self, checkpoint: &CheckpointView<'_>) -> ControlFlow<String> {
        self.checkpoints.push(checkpoint.step);
        assert!(
            checkpoint
                .folder
                .join("adapter_model.safetensors")
                .is_file()
        );
        match self.end_at_checkpoint {
            Some(step) if step == checkpoint.step => Break("enough".into()),
            _ => Continue(()),
        }
    }

    fn at_line(&mut self, line: &TrainLine, _: f64) -> ControlFlow<String> {
        self.lines.push(line.clone());
        match self.end_at_step {
            Some(step) if step == line.step => Break("enough".into()),
            _ => Continue(()),
        }
    }
}

fn examples(tiny: &Tiny) -> Vec<TokenizedExample> {
    let prompts = prompts(tiny);
    let pairs = (0..10).map(|i| {
        (
            &prompts[i % prompts.len()],
            &prompts[(i * i + 1) % prompts.len()],
        )
    });
    let row = |(question, answer): (&Arc<[u32]>, &Arc<[u32]>)| {
        let tokens = [&question[..], &answer[..]].concat();
        let is_label = (0..tokens.len()).map(|i| i >= question.len()).collect();
        example(tokens, is_label)
    };
    pairs.map(row).collect()
}

/// Six steps in two epochs, with dropout, several passes a step, a checkpoint every second step.
fn train(
    tiny: &Tiny,
    folder: &Path,
    identity: &str,
    hook: &mut Hook,
) -> std::result::Result<TrainEnd, TrainError> {
    let examples = examples(tiny);
    let section = TrainSection {
        num_train_epochs: 2.0,
        learning_rate: 1e-2,
        gradient_accumulation_steps: 4,
        micro_batch_tokens: 60,
        eval_steps: Every::Steps(3),
        save_steps: Some(Every::Steps(2)),
        ..TrainSection::default()
    };
    let batch = StepBatch::pack(
        &examples[..4].iter().collect::<Vec<_>>(),
        section.micro_batch_tokens,
    );
    assert!(batch.micro_batches.len() > 1);
    let training = Training {
        model: (&tiny.decoder).into(),
        examples: &examples[..9],
        validation: &examples[9..],
        section: &section,
        lora: LoraConfig {
            rank: 4,
            alpha: 8.0,
            dropout: 0.1,
            ..LoraConfig::default()
        },
        base_name: None,
        trained_on: TrainedOn::new("digest", "base"),
        identity: identity.into(),
        folder: folder.to_path_buf(),
        keep: Keep::Products,
        rungs: &[],
    };
    training.run(hook)
}

/// Every file of a checkpoint.
fn files(checkpoint: &Path) -> BTreeMap<String, Vec<u8>> {
    let entries = std::fs::read_dir(checkpoint)
        .unwrap()
        .map(|entry| entry.unwrap());
    let file = |e: std::fs::DirEntry| {
        (
            e.file_name().into_string().unwrap(),
            std::fs::read(e.path()).unwrap(),
        )
    };
    entries.map(file).collect()
}

#[test]
fn training_again_gives_equal_bits_with_any_number_of_threads() {
    let tiny = Tiny::load("tiny-qwen3");
    let results = [1, 2, 2, 3].map(|threads| {
        let folder = tempfile::tempdir().unwrap();
        let pool = rayon::ThreadPoolBuilder::new()
            .num_threads(threads)
            .build()
            .unwrap();
        let mut hook = Hook::default();
        pool.install(|| train(&tiny, folder.path(), "run", &mut hook))
            .unwrap();
        (files(&folder.path().join("checkpoint-6")), hook.lines)
    });
    assert_eq!(results[0].0.len(), 5, "{:?}", results[0].0.keys());
    for other in &results[1..] {
        assert_eq!(results[0], *other);
    }
}

#[test]
fn resumed_run_ends_with_the_bytes_of_an_undisturbed_one() {
    let tiny = Tiny::load("tiny-llama");
    let undisturbed = tempfile::tempdir().unwrap();
    let mut hook = Hook::default();
    let end = train(&tiny, undisturbed.path(), "run", &mut hook).unwrap();
    assert_eq!(
        end,
        TrainEnd {
            step: 6,
            stopped: None
        }
    );
    assert_eq!(hook.checkpoints, [2, 4, 6]);
    let expected = files(&undisturbed.path().join("checkpoint-6"));
    let lines = hook.lines;

    // At a checkpoint; between two, where a step is lost; before the first; by turns.
    let at_checkpoint = |step| Hook {
        end_at_checkpoint: Some(step),
        ..Hook::default()
    };
    let at_step = |step| Hook {
        end_at_step: Some(step),
        ..Hook::default()
    };
    let interruptions = [
        vec![at_checkpoint(2)],
        vec![at_checkpoint(4)],
        vec![at_step(4)],
        vec![at_step(1)],
        vec![at_step(3), at_checkpoint(4), at_step(6)],
    ];
    for (i, hooks) in interruptions.into_iter().enumerate() {
        let folder = tempfile::tempdir().unwrap();
        for mut hook in hooks {
            let end = train(&tiny, folder.path(), "run", &mut hook).unwrap();
            assert_eq!(end.stopped.as_deref(), Some("enough"));
        }
        let mut rest = Hook::default();
        let end = train(&tiny, folder.path(), "run", &mut rest).unwrap();
        assert_eq!(
            end,
            TrainEnd {
                step: 6,
                stopped: None
            }
        );
        assert_eq!(
            files(&folder.path().join("checkpoint-6")),
            expected,
            "interruption {i}"
        );
        // The log goes on as it would have, and the newest checkpoint is shown again.
        assert_eq!(
            rest.lines,
            lines[lines.len() - rest.lines.len()..],
            "interruption {i}"
        );
        let shown = rest.checkpoints.len();
        assert_eq!(rest.checkpoints, [2, 4, 6][3 - shown..], "interruption {i}");
    }
}

#[test]
fn finished_run_is_shown_again_and_not_trained_again() {
    let tiny = Tiny::load("tiny-llama");
    let folder = tempfile::tempdir().unwrap();
    train(&tiny, folder.path(), "run", &mut Hook::default()).unwrap();
    let before = files(&folder.path().join("checkpoint-6"));
    let mut hook = Hook::default();
    let end = train(&tiny, folder.path(), "run", &mut hook).unwrap();
    assert_eq!(
        end,
        TrainEnd {
            step: 6,
            stopped: None
        }
    );
    assert_eq!((hook.checkpoints, hook.lines), (vec![6], vec![]));
    assert_eq!(files(&folder.path().join("checkpoint-6")), before);
}

#[test]
fn checkpoint_of_another_run_is_refused() {
    let tiny = Tiny::load("tiny-llama");
    let folder = tempfile::tempdir().unwrap();
    let mut hook = Hook {
        end_at_checkpoint: Some(2),
        ..Hook::default()
    };
    train(&tiny, folder.path(), "one", &mut hook).unwrap();
    let refused = train(&tiny, folder.path(), "another", &mut Hook::default());
    assert!(
        matches!(refused, Err(TrainError::OtherRun { .. })),
        "{refused:?}"
    );
}
