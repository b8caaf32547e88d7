//! The tokenizer that a GGUF file carries.
//!
//! The file holds tokens, merges and the name of a way to cut text into words
//! (`tokenizer.ggml.pre`). Candle's reader takes GPT-2's way for every name that it does not know,
//! which gives other ids without a word; here an unknown name is refused.

use std::collections::HashMap;

use tokenizers::decoders::byte_level::ByteLevel as ByteLevelDecoder;
use tokenizers::models::bpe::BPE;
use tokenizers::normalizers::unicode::NFC;
use tokenizers::pre_tokenizers::PreTokenizerWrapper;
use tokenizers::pre_tokenizers::byte_level::ByteLevel;
use tokenizers::pre_tokenizers::digits::Digits;
use tokenizers::pre_tokenizers::sequence::Sequence;
use tokenizers::pre_tokenizers::split::{Split, SplitPattern};
use tokenizers::processors::template::TemplateProcessing;
use tokenizers::tokenizer::SplitDelimiterBehavior;
use tokenizers::{AddedToken, Tokenizer};

use super::ModelError;
use super::gguf::GgufFile;
use super::gguf_header::Value;

/// Words of Qwen2: one digit at a time. From its tokenizer.json.
const QWEN2: &str = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+";
/// Words of Llama 3: up to three digits. From its tokenizer.json.
const LLAMA3: &str = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+";

/// A tokenizer with what else the file says of tokens.
pub(super) struct GgufTokenizer {
    pub tokenizer: Tokenizer,
    pub bos: Option<u32>,
    /// Every id that ends an answer: end of text, of turn, of message.
    pub eos: Vec<u32>,
    pub notices: Vec<String>,
}

/// Builds the tokenizer.
///
/// # Errors
/// Another kind than byte-level BPE, an unknown `tokenizer.ggml.pre`, missing or impossible lists.
pub(super) fn tokenizer(file: &GgufFile) -> Result<GgufTokenizer, ModelError> {
    let wrong = |problem: String| ModelError::Tokenizer {
        path: file.path().to_path_buf(),
        problem,
    };
    let library = |e: tokenizers::Error| wrong(e.to_string());
    match file.text("tokenizer.ggml.model") {
        Some("gpt2") => {}
        Some(other) => {
            return Err(wrong(format!(
                "`tokenizer.ggml.model` = \"{other}\" is not supported; qeval reads byte-level \
                 BPE (\"gpt2\") from GGUF; give the model's Hugging Face folder instead"
            )));
        }
        None => return Err(wrong("`tokenizer.ggml.model` is missing".to_owned())),
    }
    let texts = |key: &str| match file.value(key) {
        Some(Value::Texts(list)) => Ok(list),
        _ => Err(wrong(format!("`{key}` is missing or no list of strings"))),
    };
    let tokens = texts("tokenizer.ggml.tokens")?;
    let merges = texts("tokenizer.ggml.merges")?
        .iter()
        .map(|merge| {
            merge
                .split_once(' ')
                .map(|(a, b)| (a.to_owned(), b.to_owned()))
                .ok_or_else(|| wrong(format!("merge `{merge}` is not two tokens")))
        })
        .collect::<Result<Vec<_>, _>>()?;
    let mut notices = Vec::new();
    let pre = file.text("tokenizer.ggml.pre").unwrap_or("default");
    if pre == "default" {
        notices.push(format!(
            "{}: `tokenizer.ggml.pre` is missing or `default`; text is cut as GPT-2 does, which \
             may give other tokens than the model was trained on",
            file.path().display()
        ));
    }
    let way = way(pre).ok_or_else(|| {
        wrong(format!(
            "`tokenizer.ggml.pre` = \"{pre}\" is not supported; known are smollm, qwen2, \
             llama-bpe, llama3, gpt-2 and default; give the model's Hugging Face folder instead"
        ))
    })?;

    // A wrong piece would make the builder fail with less to say.
    let vocab: HashMap<String, u32> =
        tokens.iter().enumerate().map(|(id, token)| (token.clone(), id as u32)).collect();
    let bpe = BPE::builder()
        .vocab_and_merges(vocab.into_iter().collect::<tokenizers::models::bpe::Vocab>(), merges)
        .ignore_merges(way.ignore_merges)
        .build()
        .map_err(library)?;
    let mut tokenizer = Tokenizer::new(bpe);
    if way.nfc {
        tokenizer.with_normalizer(Some(NFC)).map_err(library)?;
    }
    tokenizer.with_pre_tokenizer(Some(way.pre_tokenizer().map_err(library)?));
    tokenizer.with_decoder(Some(ByteLevelDecoder::default()));
    add_special_tokens(&mut tokenizer, file, tokens).map_err(library)?;

    let id = |key: &str| {
        file.int(&format!("tokenizer.ggml.{key}_token_id"))
            .and_then(|id| u32::try_from(id).ok())
            .filter(|id| (*id as usize) < tokens.len())
    };
    let bos = id("bos");
    if let (Some(bos), Some(true)) = (bos, file.boolean("tokenizer.ggml.add_bos_token")) {
        let token = &tokens[bos as usize];
        let template = TemplateProcessing::builder()
            .try_single(vec![token.clone(), "$0".to_owned()])
            .map_err(|e| wrong(e.to_string()))?
            .special_tokens(vec![(token.clone(), bos)])
            .build()
            .map_err(|e| wrong(e.to_string()))?;
        tokenizer.with_post_processor(Some(template));
    }
    let mut eos: Vec<u32> = ["eos", "eot", "eom"].into_iter().filter_map(id).collect();
    eos.sort_unstable();
    eos.dedup();
    Ok(GgufTokenizer { tokenizer, bos, eos, notices })
}

/// One way of cutting text into words before BPE.
struct Way {
    nfc: bool,
    /// A word that is a token is taken whole, whatever the merges say.
    ignore_merges: bool,
    words: Words,
}

enum Words {
    /// GPT-2's own expression, which is built into the byte-level step.
    Gpt2,
    /// Each digit alone, then GPT-2's.
    DigitsThenGpt2,
    Pattern(&'static str),
}

fn way(pre: &str) -> Option<Way> {
    let (nfc, ignore_merges, words) = match pre {
        "smollm" => (false, false, Words::DigitsThenGpt2),
        "qwen2" => (true, false, Words::Pattern(QWEN2)),
        "llama-bpe" | "llama3" | "llama-v3" => (false, true, Words::Pattern(LLAMA3)),
        "gpt-2" | "gpt2" | "default" => (false, false, Words::Gpt2),
        _ => return None,
    };
    Some(Way { nfc, ignore_merges, words })
}

impl Way {
    fn pre_tokenizer(&self) -> tokenizers::Result<PreTokenizerWrapper> {
        let bytes = |use_regex| ByteLevel::new(false, true, use_regex);
        Ok(match self.words {
            Words::Gpt2 => bytes(true).into(),
            Words::DigitsThenGpt2 => {
                Sequence::new(vec![Digits::new(true).into(), bytes(true).into()]).into()
            }
            Words::Pattern(pattern) => {
                let split = Split::new(
                    SplitPattern::Regex(pattern.to_owned()),
                    SplitDelimiterBehavior::Isolated,
                    false,
                )?;
                Sequence::new(vec![split.into(), bytes(false).into()]).into()
            }
        })
    }
}

/// Control and unknown tokens are special (left out of decoded text); user-defined ones are whole
/// words that stay in the text. Unused ones are padding of the embedding and never match.
fn add_special_tokens(
    tokenizer: &mut Tokenizer,
    file: &GgufFile,
    tokens: &[String],
) -> tokenizers::Result<()> {
    const UNKNOWN: i64 = 2;
    const CONTROL: i64 = 3;
    const USER_DEFINED: i64 = 4;
    let Some(Value::Ints(types)) = file.value("tokenizer.ggml.token_type") else { return Ok(()) };
    let (mut special, mut whole) = (Vec::new(), Vec::new());
    for (token, kind) in tokens.iter().zip(types) {
        match *kind {
            UNKNOWN | CONTROL => special.push(AddedToken::from(token.clone(), true)),
            USER_DEFINED => whole.push(AddedToken::from(token.clone(), false).normalized(false)),
            _ => {}
        }
    }
    tokenizer.add_special_tokens(special)?;
    tokenizer.add_tokens(whole)?;
    Ok(())
}
