//! Real models, where the small ones of `fixtures/` cannot speak for one: SmolLM2-135M-Instruct here,
//! Qwen2.5-Coder-0.5B-Instruct in `qwen.rs`, Gemma 3 270M in `gemma.rs`.
//!
//! `QEVAL_REAL_MODEL=/path/to/SmolLM2-135M-Instruct.Q4_1.gguf cargo test --test real_model` runs the
//! tests of the first, `QEVAL_REAL_MODEL_QWEN=/path/to/qwen2.5-coder-0.5b-instruct-q4_k_m.gguf` those
//! of the second; without its variable a test is ignored, with the reason beside it. The expected
//! numbers are those of `fixtures/reference/make_smollm2_expected.py`: transformers in F32 over the
//! same weights, dequantized.

#![expect(clippy::unwrap_used, reason = "a test may panic")]
#![expect(clippy::print_stdout, reason = "a test shows what it measured")]

mod gemma;
mod likelihoods;
mod meaning;
mod qwen;

use std::collections::BTreeMap;
use std::ops::ControlFlow::Continue;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::OnceLock;

use libtest_mimic::{Arguments, Trial};
use qeval::chat::{ChatTemplate, Conversation, Tokenizer};
use qeval::flow::Finish;
use qeval::generate::{Engine, EngineOptions, Finished, Request, Sampling, Work};
use qeval::half_type::HalfType;
use qeval::lora::{Adapter, LoadedAdapter, LoraConfig, Trainable};
use qeval::model::{Batch, Decoder, KvCache, ModelFiles, NoLowRank, Span, Storage};
use qeval::random::{Philox, Purpose};
use serde::Deserialize;

struct RealModel {
    files: ModelFiles,
    decoder: Decoder,
    tokenizer: Tokenizer,
    template: ChatTemplate,
}

/// Trials of the functions named, ignored for a reason where there is one.
macro_rules! trials {
    ($ignored:expr; $($name:path),+ $(,)?) => {
        vec![$(trial(stringify!($name), $name, $ignored)),+]
    };
}

fn main() -> ExitCode {
    let smollm2 = path()
        .is_none()
        .then_some("QEVAL_REAL_MODEL names no model");
    let mut trials = trials![
        smollm2;
        tokens_are_those_of_transformers,
        blocks_of_the_file_answer_as_their_numbers_do,
        quantized_weights_suit_half_precision,
        prompts_are_rendered_as_transformers_does,
        logits_are_those_of_transformers,
        greedy_answers_are_those_of_transformers,
        answers_have_equal_bits_for_any_slots_and_subjects,
        likelihoods::what_the_model_finds_probable,
        meaning::similar_is_right_about_golden_answers,
        meaning::a_paraphrase_keeps_its_snapshot_and_a_wrong_answer_does_not,
    ];
    let qwen = qwen::path()
        .is_none()
        .then_some("QEVAL_REAL_MODEL_QWEN names no model");
    trials.extend(trials![
        qwen;
        qwen::tokens_are_those_of_transformers,
        qwen::prompts_are_rendered_as_transformers_does,
        qwen::logits_are_those_of_transformers,
        qwen::greedy_answers_are_those_of_transformers,
        qwen::a_gate_tells_a_harmless_adapter_from_a_harmful_one,
        qwen::blocks_of_the_file_answer_as_their_numbers_do,
    ]);
    let gemma = gemma::path()
        .is_none()
        .then_some("QEVAL_REAL_MODEL_GEMMA names no model");
    trials.extend(trials![
        gemma;
        gemma::tokens_are_those_of_transformers,
        gemma::logits_and_greedy_answers_are_those_of_transformers,
    ]);
    libtest_mimic::run(&Arguments::from_args(), trials).exit_code()
}

/// A test, ignored for a reason where there is one.
fn trial(name: &str, test: fn(), ignored: Option<&str>) -> Trial {
    let trial = Trial::test(name, move || {
        test();
        Ok(())
    });
    match ignored {
        None => trial,
        Some(reason) => trial.with_kind(reason).with_ignored_flag(true),
    }
}

fn path() -> Option<PathBuf> {
    std::env::var_os("QEVAL_REAL_MODEL").map(PathBuf::from)
}

/// Loaded once.
fn model() -> &'static RealModel {
    static MODEL: OnceLock<RealModel> = OnceLock::new();
    MODEL.get_or_init(|| load(&path().unwrap()))
}

fn load(path: &Path) -> RealModel {
    let files = ModelFiles::open(path).unwrap();
    let decoder = Decoder::load(&files.config, &files.weights).unwrap();
    let origin = path.display().to_string();
    let tokenizer = Tokenizer::from_tokenizer(files.tokenizer.clone(), &origin).unwrap();
    let tokenizer = tokenizer
        .with_end_of_turn(files.eos_token_ids.iter().copied())
        .unwrap();
    let special = [
        ("bos_token", &files.bos_token),
        ("eos_token", &files.eos_token),
    ];
    let special = special
        .into_iter()
        .filter_map(|(k, v)| Some((k.to_owned(), v.clone()?)));
    let template = files.chat_template.as_deref().unwrap();
    let template = ChatTemplate::new(template, special.collect()).unwrap();
    RealModel {
        files,
        decoder,
        tokenizer,
        template,
    }
}

fn expected(file: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("fixtures/expected")
        .join(file)
}

#[derive(Deserialize)]
struct Tokens {
    cases: Vec<TokensOf>,
}

#[derive(Deserialize)]
struct TokensOf {
    text: String,
    ids: Vec<u32>,
}

#[derive(Deserialize)]
struct Greedy {
    prompts: Vec<GreedyAnswer>,
}

#[derive(Deserialize)]
struct GreedyAnswer {
    prompt: String,
    rendered: String,
    prompt_ids: Vec<u32>,
    ids: Vec<u32>,
    text: String,
    finish: Finish,
    /// The highest logits of the first new token.
    first_top: Vec<(u32, f32)>,
}

fn greedy() -> Greedy {
    serde_json::from_slice(&std::fs::read(expected("smollm2_greedy.json")).unwrap()).unwrap()
}

fn tokens_are_those_of_transformers() {
    let model = model();
    let text = std::fs::read(expected("smollm2_tokens.json")).unwrap();
    let tokens: Tokens = serde_json::from_slice(&text).unwrap();
    assert!(tokens.cases.len() > 50);
    for case in tokens.cases {
        assert_eq!(
            model.tokenizer.encode(&case.text).unwrap(),
            case.ids,
            "{:?}",
            case.text
        );
    }
}

fn quantized_weights_suit_half_precision() {
    let model = model();
    assert_eq!(model.files.weights.half_type(), HalfType::Float16);
}

fn prompts_are_rendered_as_transformers_does() {
    let model = model();
    for case in greedy().prompts {
        let rendered = model
            .template
            .render(&Conversation::prompt(None, &case.prompt), true)
            .unwrap();
        assert_eq!(rendered, case.rendered);
        assert_eq!(model.tokenizer.encode(&rendered).unwrap(), case.prompt_ids);
    }
}

fn blocks_of_the_file_answer_as_their_numbers_do() {
    let texts = greedy().prompts.into_iter().map(|case| case.prompt_ids);
    stored_answers_as_widened(model(), &path().unwrap(), &texts.collect::<Vec<_>>());
}

/// Logits of texts, all rows at once and one a step, have the bits of those with the same numbers in
/// F32, from a fraction of the memory.
fn stored_answers_as_widened(model: &RealModel, path: &Path, texts: &[Vec<u32>]) {
    let mut files = ModelFiles::open(path).unwrap();
    files.weights.hold(Storage::Widened).unwrap();
    let widened = Decoder::load(&files.config, &files.weights).unwrap();
    let bytes = [&model.decoder, &widened].map(Decoder::bytes);
    println!(
        "{} bytes of weights as stored, {} widened",
        bytes[0], bytes[1]
    );
    assert!(4 * bytes[0] < bytes[1], "{bytes:?}");
    for ids in texts {
        let all = |decoder: &Decoder, at_once: usize| {
            let mut cache = KvCache::new(decoder.config(), 1, ids.len());
            let parts = ids.chunks(at_once).enumerate().map(|(part, tokens)| {
                let span = Span {
                    slot: 0,
                    position: part * at_once,
                    rows: 0..tokens.len(),
                };
                let batch = Batch {
                    tokens: tokens.to_vec(),
                    spans: vec![span],
                };
                let hidden = decoder.forward(&batch, &mut cache, &mut NoLowRank).unwrap();
                let last = hidden.gather(&[tokens.len() - 1]);
                decoder.logits(&last).unwrap().data
            });
            parts.last().unwrap()
        };
        let expected = all(&widened, ids.len());
        assert!(expected.iter().all(|logit| logit.is_finite()));
        assert!(all(&model.decoder, ids.len()) == expected, "at once");
        assert!(all(&model.decoder, 1) == expected, "one by one");
    }
}

/// Logits of the token after a prompt.
fn last_logits(model: &RealModel, ids: &[u32]) -> Vec<f32> {
    let mut cache = KvCache::new(model.decoder.config(), 1, ids.len());
    let rows = Span {
        slot: 0,
        position: 0,
        rows: 0..ids.len(),
    };
    let batch = Batch {
        tokens: ids.to_vec(),
        spans: vec![rows],
    };
    let decoder = &model.decoder;
    let hidden = decoder.forward(&batch, &mut cache, &mut NoLowRank).unwrap();
    decoder
        .logits(&hidden.gather(&[ids.len() - 1]))
        .unwrap()
        .data
}

fn logits_are_those_of_transformers() {
    let model = model();
    let bytes = std::fs::read(expected("smollm2_logits.safetensors")).unwrap();
    let file = safetensors::SafeTensors::deserialize(&bytes).unwrap();
    for n in 0..2 {
        let ids = file.tensor(&format!("ids.{n}")).unwrap();
        let ids = ids
            .data()
            .chunks_exact(8)
            .map(|b| i64::from_le_bytes(b.try_into().unwrap()));
        let ids: Vec<u32> = ids.map(|id| u32::try_from(id).unwrap()).collect();
        let logits = file.tensor(&format!("logits.{n}")).unwrap();
        let logits = logits
            .data()
            .chunks_exact(4)
            .map(|b| f32::from_le_bytes(b.try_into().unwrap()));
        let found = last_logits(model, &ids);
        assert_eq!(found.len(), logits.len());
        let most = found
            .iter()
            .zip(logits)
            .map(|(a, b)| (a - b).abs())
            .fold(0.0, f32::max);
        println!(
            "prompt {n}: {} tokens, largest difference {most:.1e}",
            ids.len()
        );
        assert!(
            most <= 1e-3 && found.iter().all(|x| x.is_finite()),
            "prompt {n}: {most}"
        );
    }
    for case in greedy().prompts {
        let found = last_logits(model, &case.prompt_ids);
        for (id, logit) in case.first_top {
            let off = (found[id as usize] - logit).abs();
            assert!(off <= 1e-3, "{:?}, token {id}: {off}", case.prompt);
        }
    }
}

/// Adapters that change answers, without training: A as a run begins, B random and small.
fn adapters(model: &RealModel, count: u64) -> Vec<LoadedAdapter> {
    let config = &model.files.config;
    let lora = LoraConfig::default();
    let targets = lora.targets(config, true).unwrap();
    let adapter = |seed: u64| {
        let mut draws = Philox::new(seed).draws(Purpose::Init, u64::MAX);
        let modules = targets.iter().map(|id| {
            let (rank, scale) = lora.rank_and_scale(*id).unwrap();
            let mut pair = Trainable::initial_values(config, *id, rank, scale, seed);
            pair.b
                .iter_mut()
                .for_each(|b| *b = 0.02 * (draws.uniform() - 0.5));
            (*id, pair)
        });
        LoadedAdapter::new(&Adapter::new(lora.clone(), modules.collect()), config, 1.0)
    };
    (0..count).map(adapter).collect()
}

/// Tokens, bits of their log-probabilities, and why it ended, by id.
type Answers = BTreeMap<usize, (Vec<u32>, Vec<u32>, Finish)>;

fn answer(
    model: &RealModel,
    adapters: &[LoadedAdapter],
    requests: Vec<Request>,
    slots: usize,
) -> Answers {
    let options = EngineOptions {
        slots,
        step_rows: 256,
        end_of_turn: model.files.eos_token_ids.clone(),
        usable_vocab: model.files.usable_vocab,
        report_tokens: false,
    };
    let mut answers = Answers::new();
    let mut on_finished = |finished| {
        if let Finished::Generated {
            id,
            tokens,
            logprobs,
            finish,
        } = finished
        {
            let logprobs = logprobs.iter().map(|x: &f32| x.to_bits()).collect();
            answers.insert(id, (tokens, logprobs, finish));
        }
        Continue(())
    };
    Engine::new(&model.decoder, adapters, options)
        .run(requests, &mut on_finished, &mut |_| Continue(()))
        .unwrap();
    answers
}

fn request(
    id: usize,
    adapter: Option<usize>,
    prompt: &[u32],
    sampling: Sampling,
    max_new_tokens: usize,
) -> Request {
    let work = vec![Work::Generate {
        id,
        sampling,
        max_new_tokens,
        seed: 7,
    }];
    Request {
        adapter,
        prompt: prompt.into(),
        work,
    }
}

fn greedy_answers_are_those_of_transformers() {
    let model = model();
    let cases = greedy().prompts;
    assert_eq!(cases.len(), 20);
    let requests = cases
        .iter()
        .enumerate()
        .map(|(id, c)| request(id, None, &c.prompt_ids, Sampling::default(), 32));
    let answers = answer(model, &[], requests.collect(), 16);
    for (id, case) in cases.iter().enumerate() {
        let (tokens, _, finish) = &answers[&id];
        assert_eq!(*tokens, case.ids, "{:?}", case.prompt);
        assert_eq!(*finish, case.finish, "{:?}", case.prompt);
        assert_eq!(
            model.tokenizer.decode(tokens).unwrap(),
            case.text,
            "{:?}",
            case.prompt
        );
    }
}

fn answers_have_equal_bits_for_any_slots_and_subjects() {
    let model = model();
    let adapters = adapters(model, 2);
    let warm = Sampling {
        temperature: 0.7,
        top_p: 0.9,
        ..Sampling::default()
    };
    let mut requests = Vec::new();
    for (p, case) in greedy().prompts.iter().take(5).enumerate() {
        for (s, adapter) in [None, Some(0), Some(1)].into_iter().enumerate() {
            let sampling = if p % 2 == 0 {
                Sampling::default()
            } else {
                warm
            };
            requests.push(request(p * 3 + s, adapter, &case.prompt_ids, sampling, 12));
        }
    }
    let expected = answer(model, &adapters, requests.clone(), 4);
    assert_eq!(expected.len(), requests.len());
    assert_ne!(expected[&0], expected[&1], "the adapter has an effect");
    assert_eq!(answer(model, &adapters, requests.clone(), 16), expected);
    for subject in [None, Some(1)] {
        let own: Vec<Request> = requests
            .iter()
            .filter(|r| r.adapter == subject)
            .cloned()
            .collect();
        let part = answer(model, &adapters, own, 16);
        assert_eq!(part.len(), 5);
        assert!(
            part.iter().all(|(id, answer)| expected[id] == *answer),
            "{subject:?}"
        );
    }
}
