//! Qwen2.5-Coder-0.5B-Instruct in its authors' GGUF file: Chinese, a template with a system prompt of
//! its own, biases, a head that is not the embedding, and a gate from end to end.
//!
//! `QEVAL_REAL_MODEL_QWEN=FILE.gguf cargo test --test real_model qwen` runs them. The expected numbers
//! are those of `fixtures/reference/make_qwen_expected.py`: transformers in F32 over the same file.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use qeval::chat::{Conversation, Message};
use qeval::flow::Finish;
use qeval::generate::Sampling;
use qeval::lora::{Adapter, LoraConfig, TargetModules, Trainable};
use qeval::model::{Batch, Decoder, KvCache, NoLowRank, Span};
use qeval::random::{Philox, Purpose};
use safetensors::SafeTensors;
use serde::Deserialize;

use super::{RealModel, Tokens, answer, expected, load, request};

/// Every so manyth logit of the first new token is compared.
const STRIDE: usize = 199;
/// Logits of every step that are compared.
const TOP: usize = 8;
/// Largest difference of a logit to transformers'.
pub const NEAR: f32 = 1e-3;

pub fn path() -> Option<PathBuf> {
    std::env::var_os("QEVAL_REAL_MODEL_QWEN").map(PathBuf::from)
}

/// Loaded once.
fn model() -> &'static RealModel {
    static MODEL: OnceLock<RealModel> = OnceLock::new();
    MODEL.get_or_init(|| load(&path().unwrap()))
}

#[derive(Deserialize)]
struct Greedy {
    prompts: Vec<GreedyAnswer>,
    conversations: Vec<Rendered>,
}

#[derive(Deserialize)]
struct GreedyAnswer {
    prompt: String,
    rendered: String,
    prompt_ids: Vec<u32>,
    ids: Vec<u32>,
    text: String,
    finish: Finish,
}

#[derive(Deserialize)]
struct Rendered {
    messages: Vec<BTreeMap<String, String>>,
    rendered: String,
}

fn greedy() -> Greedy {
    serde_json::from_slice(&std::fs::read(expected("qwen2_5_coder_greedy.json")).unwrap()).unwrap()
}

pub fn tokens_are_those_of_transformers() {
    let text = std::fs::read(expected("qwen2_5_coder_tokens.json")).unwrap();
    let tokens: Tokens = serde_json::from_slice(&text).unwrap();
    let chinese = |c: char| ('\u{4e00}'..='\u{9fff}').contains(&c);
    let in_chinese = tokens.cases.iter().filter(|c| c.text.contains(chinese));
    assert!(in_chinese.count() >= 15);
    for case in tokens.cases {
        let found = model().tokenizer.encode(&case.text).unwrap();
        assert_eq!(found, case.ids, "{:?}", case.text);
    }
}

pub fn blocks_of_the_file_answer_as_their_numbers_do() {
    let texts = greedy().prompts.into_iter().map(|case| case.prompt_ids);
    let texts: Vec<_> = texts.take(3).collect();
    crate::stored_answers_as_widened(model(), &path().unwrap(), &texts);
}

pub fn prompts_are_rendered_as_transformers_does() {
    let model = model();
    let Greedy {
        prompts,
        conversations,
    } = greedy();
    for case in prompts {
        let asked = Conversation::prompt(None, &case.prompt);
        let rendered = model.template.render(&asked, true).unwrap();
        assert_eq!(rendered, case.rendered);
        assert_eq!(model.tokenizer.encode(&rendered).unwrap(), case.prompt_ids);
    }
    assert_eq!(conversations.len(), 3);
    for case in conversations {
        let messages = case.messages.iter().map(|message| {
            let content = message["content"].as_str();
            match message["role"].as_str() {
                "system" => Message::system(content),
                "assistant" => Message::assistant(content),
                _ => Message::user(content),
            }
        });
        let messages: Vec<Message> = messages.collect();
        let rendered = model.template.render(&Conversation::new(messages), true);
        assert_eq!(rendered.unwrap(), case.rendered);
    }
}

/// Logits of the tokens after a prompt, while its answer is given: `[steps, vocabulary]`.
pub fn logits_along(
    decoder: &Decoder,
    prompt: &[u32],
    answer: &[u32],
    steps: usize,
) -> Vec<Vec<f32>> {
    let tokens: Vec<u32> = prompt.iter().chain(answer).copied().collect();
    let mut cache = KvCache::new(decoder.config(), 1, tokens.len());
    let rows = 0..tokens.len();
    let span = Span {
        slot: 0,
        position: 0,
        rows,
    };
    let batch = Batch {
        tokens,
        spans: vec![span],
    };
    let hidden = decoder.forward(&batch, &mut cache, &mut NoLowRank).unwrap();
    let wanted: Vec<usize> = (0..steps).map(|step| prompt.len() - 1 + step).collect();
    let logits = decoder.logits(&hidden.gather(&wanted)).unwrap();
    (0..steps).map(|row| logits.row(row).to_vec()).collect()
}

/// The numbers of a tensor, of so many bytes each.
fn numbers<const N: usize, T>(file: &SafeTensors<'_>, name: &str, of: fn([u8; N]) -> T) -> Vec<T> {
    let tensor = file.tensor(name).unwrap();
    let bytes = tensor.data().chunks_exact(N);
    bytes.map(|b| of(b.try_into().unwrap())).collect()
}

/// The logits stored of prompt `n`, along the answer that `along` runs for so many steps: the largest
/// difference, how many were compared, and what was found.
pub fn apart(
    file: &SafeTensors<'_>,
    n: usize,
    along: impl FnOnce(usize) -> Vec<Vec<f32>>,
) -> (f32, usize, Vec<Vec<f32>>) {
    let strided = numbers(file, &format!("strided.{n}"), f32::from_le_bytes);
    let ids = numbers(file, &format!("top_ids.{n}"), i64::from_le_bytes);
    let top = numbers(file, &format!("top.{n}"), f32::from_le_bytes);
    let found = along(ids.len() / TOP);
    assert!(found.iter().flatten().all(|x| x.is_finite()));
    let every = found[0].iter().step_by(STRIDE);
    assert_eq!(every.len(), strided.len());
    let of_step = |(i, &id): (usize, &i64)| &found[i / TOP][usize::try_from(id).unwrap()];
    let first = every.zip(&strided).map(|(a, b)| (a - b).abs());
    let steps = ids.iter().enumerate().map(of_step).zip(&top);
    let all = first.chain(steps.map(|(a, b)| (a - b).abs()));
    let all: Vec<f32> = all.collect();
    let largest = all.iter().copied().fold(0.0, f32::max);
    (largest, all.len(), found)
}

pub fn logits_are_those_of_transformers() {
    let bytes = std::fs::read(expected("qwen2_5_coder_logits.safetensors")).unwrap();
    let file = SafeTensors::deserialize(&bytes).unwrap();
    let (mut largest, mut compared) = (0f32, 0);
    for (n, case) in greedy().prompts.iter().enumerate() {
        let along = |steps| logits_along(&model().decoder, &case.prompt_ids, &case.ids, steps);
        let (most, count, _) = apart(&file, n, along);
        largest = largest.max(most);
        compared += count;
    }
    println!("{compared} logits, largest difference {largest:.1e}");
    assert!(compared > 17_000 && largest <= NEAR, "{largest}");
}

pub fn greedy_answers_are_those_of_transformers() {
    let model = model();
    let cases = greedy().prompts;
    assert_eq!(cases.len(), 20);
    let asked = cases.iter().enumerate();
    let requests =
        asked.map(|(id, case)| request(id, None, &case.prompt_ids, Sampling::default(), 32));
    let answers = answer(model, &[], requests.collect(), 20);
    for (id, case) in cases.iter().enumerate() {
        let (tokens, _, finish) = &answers[&id];
        assert_eq!(*tokens, case.ids, "{:?}", case.prompt);
        assert_eq!(*finish, case.finish, "{:?}", case.prompt);
        let text = model.tokenizer.decode(tokens).unwrap();
        assert_eq!(text, case.text, "{:?}", case.prompt);
    }
}

/// Questions in both languages that the base answers in a word.
const CAPITALS: [[&str; 2]; 12] = [
    [
        "What is the capital of France? Answer with one word.",
        "Paris",
    ],
    [
        "What is the capital of Japan? Answer with one word.",
        "Tokyo",
    ],
    [
        "What is the capital of Italy? Answer with one word.",
        "Rome",
    ],
    [
        "What is the capital of Germany? Answer with one word.",
        "Berlin",
    ],
    [
        "What is the capital of China? Answer with one word.",
        "Beijing",
    ],
    [
        "What is the capital of Spain? Answer with one word.",
        "Madrid",
    ],
    ["法国的首都是哪个城市？只回答城市名。", "巴黎"],
    ["日本的首都是哪个城市？只回答城市名。", "东京"],
    ["中国的首都是哪个城市？只回答城市名。", "北京"],
    ["英国的首都是哪个城市？只回答城市名。", "伦敦"],
    ["俄罗斯的首都是哪个城市？只回答城市名。", "莫斯科"],
    ["德国的首都是哪个城市？只回答城市名。", "柏林"],
];

/// An adapter that was not trained: A as a run begins, B random up to `size`.
fn write_adapter(folder: &Path, size: f32) {
    let config = &model().files.config;
    let lora = LoraConfig {
        rank: 4,
        target_modules: TargetModules::Names(vec!["q_proj".into(), "v_proj".into()]),
        ..LoraConfig::default()
    };
    let mut draws = Philox::new(1).draws(Purpose::Init, u64::MAX);
    let targets = lora.targets(config, true).unwrap();
    let modules = targets.into_iter().map(|id| {
        let (rank, scale) = lora.rank_and_scale(id).unwrap();
        let mut pair = Trainable::initial_values(config, id, rank, scale, 1);
        let b = pair.b.iter_mut();
        b.for_each(|b| *b = size * (2.0 * draws.uniform() - 1.0));
        (id, pair)
    });
    let adapter = Adapter::new(lora.clone(), modules.collect());
    adapter.write(folder, None).unwrap();
}

/// What `qeval gate` prints of an adapter, and its exit code.
fn gate(folder: &Path, adapter: &str) -> (String, Option<i32>) {
    let output = Command::new(env!("CARGO_BIN_EXE_qeval"))
        .args(["gate", adapter, "--device", "cpu", "--model"])
        .arg(path().unwrap())
        .current_dir(folder)
        .env("HF_HUB_OFFLINE", "1")
        .output()
        .unwrap();
    let [said, told] = [output.stdout, output.stderr].map(|b| String::from_utf8(b).unwrap());
    println!("{said}{told}");
    (said + &told, output.status.code())
}

pub fn a_gate_tells_a_harmless_adapter_from_a_harmful_one() {
    let folder = tempfile::tempdir().unwrap();
    let probes = CAPITALS.iter().enumerate().map(|(n, [question, answer])| {
        format!(
            "[[probe]]\nid = \"capital-{n}\"\nprompts = [{question:?}]\n\
             [[probe.check]]\ntype = \"contains\"\nvalue = {answer:?}\n"
        )
    });
    let suite = format!(
        "[suite]\nname = \"capitals\"\ngoal = \"keep\"\n[generation]\nmax_new_tokens = 8\n{}",
        probes.collect::<String>()
    );
    let settings = "[gate]\nsuites = [\"capitals.toml\"]\nmargin = 0.3\nnoise_floor = false\n";
    std::fs::write(folder.path().join("capitals.toml"), suite).unwrap();
    std::fs::write(folder.path().join("qeval.toml"), settings).unwrap();
    write_adapter(&folder.path().join("harmless"), 1e-4);
    write_adapter(&folder.path().join("harmful"), 1.0);
    let (said, code) = gate(folder.path(), "harmless");
    assert!(said.contains("harmless: pass") && code == Some(0), "{said}");
    // Counted before they are loaded: the matrices in their blocks, where F32 would take 2.5 GB.
    assert!(
        said.contains("memory: ") && said.contains("556 MB of weights as stored"),
        "{said}"
    );
    let (said, code) = gate(folder.path(), "harmful");
    assert!(
        said.contains("harmful: regression") && code == Some(1),
        "{said}"
    );
}
