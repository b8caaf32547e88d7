//! Gemma 3 270M in a GGUF file: windows, SentencePiece, norms behind each block, a head that is the
//! embedding. The released base model, which has no chat template.
//!
//! `QEVAL_REAL_MODEL_GEMMA=FILE.gguf cargo test --test real_model gemma` runs them. The expected numbers
//! are those of `fixtures/reference/make_gemma3_expected.py`: transformers in F32 over the same file.

use std::path::PathBuf;
use std::sync::OnceLock;

use qeval::chat::Tokenizer;
use qeval::model::{Decoder, ModelFiles};
use safetensors::SafeTensors;
use serde::Deserialize;

use super::expected;
use super::qwen::{NEAR, apart, logits_along};

pub fn path() -> Option<PathBuf> {
    std::env::var_os("QEVAL_REAL_MODEL_GEMMA").map(PathBuf::from)
}

struct Gemma {
    decoder: Decoder,
    tokenizer: Tokenizer,
}

/// Loaded once.
fn model() -> &'static Gemma {
    static MODEL: OnceLock<Gemma> = OnceLock::new();
    MODEL.get_or_init(|| {
        let path = path().unwrap();
        let files = ModelFiles::open(&path).unwrap();
        let origin = path.display().to_string();
        Gemma {
            decoder: Decoder::load(&files.config, &files.weights).unwrap(),
            tokenizer: Tokenizer::from_tokenizer(files.tokenizer.clone(), &origin).unwrap(),
        }
    })
}

#[derive(Deserialize)]
struct Cut {
    text: String,
    ids: Vec<u32>,
    /// Where llama.cpp cuts in another way.
    llama_cpp: Option<Vec<u32>>,
}

#[derive(Deserialize)]
struct Tokens {
    cases: Vec<Cut>,
}

pub fn tokens_are_those_of_transformers() {
    let text = std::fs::read(expected("gemma3_270m_tokens.json")).unwrap();
    let tokens: Tokens = serde_json::from_slice(&text).unwrap();
    assert!(tokens.cases.len() > 40);
    for case in tokens.cases {
        let found = model().tokenizer.encode(&case.text).unwrap();
        let as_llama_cpp = case.llama_cpp.as_ref() == Some(&found);
        assert!(
            found == case.ids || as_llama_cpp,
            "{:?}: {found:?}",
            case.text
        );
    }
}

#[derive(Deserialize)]
struct Answer {
    ids: Vec<u32>,
    text: String,
}

#[derive(Deserialize)]
struct Case {
    text: String,
    ids: Vec<u32>,
    transformers: Answer,
}

#[derive(Deserialize)]
struct Greedy {
    prompts: Vec<Case>,
}

fn greedy() -> Greedy {
    serde_json::from_slice(&std::fs::read(expected("gemma3_270m_greedy.json")).unwrap()).unwrap()
}

/// Logits along transformers' greedy answers: where they agree to [`NEAR`], the same token is the most
/// likely one at every step, since no two are as near.
pub fn logits_and_greedy_answers_are_those_of_transformers() {
    let bytes = std::fs::read(expected("gemma3_270m_logits.safetensors")).unwrap();
    let file = SafeTensors::deserialize(&bytes).unwrap();
    let Gemma { decoder, tokenizer } = model();
    let (mut largest, mut compared) = (0f32, 0);
    let prompts = greedy().prompts;
    assert!(
        prompts.iter().any(|case| case.ids.len() > 512),
        "longer than the window"
    );
    for (n, case) in prompts.iter().enumerate() {
        assert_eq!(
            tokenizer.encode(&case.text).unwrap(),
            case.ids,
            "{:?}",
            case.text
        );
        let answer = &case.transformers;
        let along = |steps| logits_along(decoder, &case.ids, &answer.ids, steps);
        let (most, count, found) = apart(&file, n, along);
        largest = largest.max(most);
        compared += count;
        for (step, row) in found.iter().enumerate() {
            let most = (0..row.len()).max_by(|a, b| row[*a].total_cmp(&row[*b]));
            assert_eq!(most, Some(answer.ids[step] as usize), "{n}, step {step}");
        }
        assert_eq!(tokenizer.decode(&answer.ids).unwrap(), answer.text);
    }
    println!("{compared} logits, largest difference {largest:.1e}");
    assert!(compared > 7_000 && largest <= NEAR, "{largest}");
}
