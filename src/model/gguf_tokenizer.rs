//! The tokenizer that a GGUF file carries.
//!
//! The file holds tokens, and either their scores (SentencePiece) or merges and the name of a way to
//! cut text into words (`tokenizer.ggml.pre`). Candle's reader takes GPT-2's way for every name that it does not know,
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
use super::gguf_pieces;

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
/// Another kind than byte-level BPE and SentencePiece, an unknown `tokenizer.ggml.pre`, missing or impossible lists.
pub(super) fn tokenizer(file: &GgufFile) -> Result<GgufTokenizer, ModelError> {
    let wrong = |problem: String| ModelError::Tokenizer {
        path: file.path().to_path_buf(),
        problem,
    };
    let library = |e: tokenizers::Error| wrong(e.to_string());
    let texts = |key: &str| match file.value(key) {
        Some(Value::Texts(list)) => Ok(list),
        _ => Err(wrong(format!("`{key}` is missing or no list of strings"))),
    };
    let mut notices = Vec::new();
    let kind = file.text("tokenizer.ggml.model");
    let tokens = texts("tokenizer.ggml.tokens")?;
    let mut tokenizer = match kind {
        Some("gpt2") => {
            let merges = texts("tokenizer.ggml.merges")?;
            byte_level(file, tokens, merges, &mut notices)?
        }
        Some("llama") => pieces(file, tokens)?,
        Some(other) => {
            return Err(wrong(format!(
                "`tokenizer.ggml.model` = \"{other}\" is not supported; qeval reads byte-level \
                 BPE (\"gpt2\") and SentencePiece (\"llama\") from GGUF; give the model's Hugging \
                 Face folder instead"
            )));
        }
        None => return Err(wrong("`tokenizer.ggml.model` is missing".to_owned())),
    };
    add_special_tokens(&mut tokenizer, file, tokens).map_err(library)?;

    let id = |key: &str| {
        file.int(&format!("tokenizer.ggml.{key}_token_id"))
            .and_then(|id| u32::try_from(id).ok())
            .filter(|id| (*id as usize) < tokens.len())
    };
    let bos = id("bos");
    // SentencePiece's models begin with it unless they say otherwise, as in llama.cpp.
    let adds_bos = file.boolean("tokenizer.ggml.add_bos_token");
    if let (Some(bos), true) = (bos, adds_bos.unwrap_or(kind == Some("llama"))) {
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
    Ok(GgufTokenizer {
        tokenizer,
        bos,
        eos,
        notices,
    })
}

/// Byte-level BPE.
fn byte_level(
    file: &GgufFile,
    tokens: &[String],
    merges: &[String],
    notices: &mut Vec<String>,
) -> Result<Tokenizer, ModelError> {
    let wrong = |problem: String| ModelError::Tokenizer {
        path: file.path().to_path_buf(),
        problem,
    };
    let library = |e: tokenizers::Error| wrong(e.to_string());
    let merges = merges
        .iter()
        .map(|merge| {
            merge
                .split_once(' ')
                .map(|(a, b)| (a.to_owned(), b.to_owned()))
                .ok_or_else(|| wrong(format!("merge `{merge}` is not two tokens")))
        })
        .collect::<Result<Vec<_>, _>>()?;
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
    let vocab: HashMap<String, u32> = tokens
        .iter()
        .enumerate()
        .map(|(id, token)| (token.clone(), id as u32))
        .collect();
    let bpe = BPE::builder()
        .vocab_and_merges(
            vocab
                .into_iter()
                .collect::<tokenizers::models::bpe::Vocab>(),
            merges,
        )
        .ignore_merges(way.ignore_merges)
        .build()
        .map_err(library)?;
    let mut tokenizer = Tokenizer::new(bpe);
    if way.nfc {
        tokenizer.with_normalizer(Some(NFC)).map_err(library)?;
    }
    tokenizer.with_pre_tokenizer(Some(way.pre_tokenizer().map_err(library)?));
    tokenizer.with_decoder(Some(ByteLevelDecoder::default()));
    Ok(tokenizer)
}

/// SentencePiece.
fn pieces(file: &GgufFile, tokens: &[String]) -> Result<Tokenizer, ModelError> {
    let wrong = |problem: String| ModelError::Tokenizer {
        path: file.path().to_path_buf(),
        problem,
    };
    let Some(Value::Floats(scores)) = file.value("tokenizer.ggml.scores") else {
        return Err(wrong(
            "`tokenizer.ggml.scores` is missing or no list of numbers".to_owned(),
        ));
    };
    if scores.len() != tokens.len() {
        return Err(wrong(format!(
            "`tokenizer.ggml.scores` has {} numbers for {} tokens",
            scores.len(),
            tokens.len()
        )));
    }
    let unknown = file.int("tokenizer.ggml.unknown_token_id");
    let unknown = unknown.and_then(|id| tokens.get(usize::try_from(id).ok()?));
    let prefix = file.boolean("tokenizer.ggml.add_space_prefix");
    gguf_pieces::tokenizer(
        tokens,
        scores,
        unknown.map(String::as_str),
        prefix.unwrap_or(true),
    )
    .map_err(|e| wrong(e.to_string()))
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
    Some(Way {
        nfc,
        ignore_merges,
        words,
    })
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
    let Some(Value::Ints(types)) = file.value("tokenizer.ggml.token_type") else {
        return Ok(());
    };
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

#[cfg(test)]
mod tests {
    use super::super::gguf_model::sample::{Sample, Value as Written, fixture};
    use super::*;

    const TEXTS: [&str; 8] = [
        "Hello, world!",
        "  two  spaces, 12 345 6789, it's I'VE",
        "\n\n\ttabs\r\n and lines \n",
        "你好，世界！123",
        "naïve café e\u{301} — ½ ²",
        "<|im_start|>user\nhi<|im_end|>",
        "a <|im_end|> b",
        "😀👩‍👩‍👧 ok",
    ];

    fn read(sample: &Sample) -> Result<GgufTokenizer, ModelError> {
        let folder = tempfile::tempdir().unwrap();
        tokenizer(&GgufFile::open(&sample.write(folder.path())).unwrap())
    }

    fn ids(tokenizer: &Tokenizer, text: &str) -> Vec<u32> {
        tokenizer.encode(text, false).unwrap().get_ids().to_vec()
    }

    #[test]
    fn ids_equal_those_of_tokenizer_json() {
        for (name, pre) in [("tiny-llama", "gpt-2"), ("fixture", "smollm")] {
            let json = Tokenizer::from_file(fixture(name).join("tokenizer.json")).unwrap();
            let mut sample = Sample::new("tiny-llama", pre);
            sample.set_tokenizer(name, pre);
            let found = read(&sample).unwrap();
            assert!(found.notices.is_empty());
            assert_eq!(found.eos, [2]);
            for text in TEXTS {
                let expected = ids(&json, text);
                assert_eq!(ids(&found.tokenizer, text), expected, "{name}: {text:?}");
                for skip in [false, true] {
                    let decoded = found.tokenizer.decode(&expected, skip).unwrap();
                    assert_eq!(
                        decoded,
                        json.decode(&expected, skip).unwrap(),
                        "{name}: {text:?}"
                    );
                }
            }
        }
    }

    /// The words that byte-level BPE sees, back as text.
    fn words(pre: &str, text: &str) -> Vec<String> {
        use tokenizers::{OffsetReferential, OffsetType, PreTokenizedString, PreTokenizer};
        let mut split = PreTokenizedString::from(text);
        way(pre)
            .unwrap()
            .pre_tokenizer()
            .unwrap()
            .pre_tokenize(&mut split)
            .unwrap();
        split
            .get_splits(OffsetReferential::Original, OffsetType::Byte)
            .into_iter()
            .map(|(_, (start, end), _)| text[start..end].to_owned())
            .collect()
    }

    /// From the `pre_tokenizer` of each model's tokenizer.json, by hand.
    #[test]
    fn digits_and_spaces_are_cut_each_models_way() {
        let text = "It'S  1234\n x";
        assert_eq!(
            words("smollm", text),
            ["It", "'", "S", "  ", "1", "2", "3", "4", "\n", " x"]
        );
        assert_eq!(
            words("gpt-2", text),
            ["It", "'", "S", " ", " 1234", "\n", " x"]
        );
        assert_eq!(
            words("qwen2", text),
            ["It", "'S", " ", " ", "1", "2", "3", "4", "\n", " x"]
        );
        assert_eq!(
            words("llama-bpe", text),
            ["It", "'S", " ", " ", "123", "4", "\n", " x"]
        );
    }

    #[test]
    fn qwen2_composes_accents_and_llama3_takes_whole_tokens() {
        let mut sample = Sample::new("tiny-llama", "qwen2");
        let composed = read(&sample).unwrap().tokenizer;
        assert_eq!(ids(&composed, "e\u{301}"), ids(&composed, "é"));
        // A token that no merge makes: "zqx".
        sample.edit_tokens(|tokens| tokens.push("zqx".to_owned()));
        assert_ne!(ids(&read(&sample).unwrap().tokenizer, "zqx"), [300]);
        sample.set("tokenizer.ggml.pre", Written::String("llama-bpe".into()));
        assert_eq!(ids(&read(&sample).unwrap().tokenizer, "zqx"), [300]);
    }

    #[test]
    fn bos_is_added_only_where_the_file_says_so() {
        let mut sample = Sample::new("tiny-llama", "gpt-2");
        sample.set("tokenizer.ggml.bos_token_id", Written::U32(1));
        let with_special = |sample: &Sample| {
            let found = read(sample).unwrap();
            assert_eq!(found.bos, Some(1));
            found
                .tokenizer
                .encode("x", true)
                .unwrap()
                .get_ids()
                .to_vec()
        };
        assert_eq!(with_special(&sample).len(), 1);
        sample.set("tokenizer.ggml.add_bos_token", Written::Bool(true));
        assert_eq!(with_special(&sample)[0], 1);
    }

    #[test]
    fn user_defined_tokens_are_whole_words_that_stay_in_the_text() {
        let mut sample = Sample::new("tiny-llama", "gpt-2");
        sample.edit_tokens(|tokens| tokens.push("<tool>".to_owned()));
        let Some(Written::Array(kinds)) = sample.metadata.get_mut("tokenizer.ggml.token_type")
        else {
            panic!("no types")
        };
        kinds.push(Written::I32(4));
        let tokenizer = read(&sample).unwrap().tokenizer;
        let found = ids(&tokenizer, "a<tool>");
        assert_eq!(found[1..], [300]);
        assert_eq!(tokenizer.decode(&found, true).unwrap(), "a<tool>");
    }

    #[test]
    fn a_missing_way_of_cutting_is_noticed() {
        let mut sample = Sample::new("tiny-llama", "gpt-2");
        sample.metadata.remove("tokenizer.ggml.pre");
        let found = read(&sample).unwrap();
        assert_eq!(found.notices.len(), 1);
        assert!(
            found.notices[0].contains("cut as GPT-2 does"),
            "{}",
            found.notices[0]
        );
    }

    #[test]
    fn what_cannot_be_built_is_refused_by_name() {
        let refused = |change: &dyn Fn(&mut Sample)| {
            let mut sample = Sample::new("tiny-llama", "gpt-2");
            change(&mut sample);
            let text = read(&sample).err().unwrap().to_string();
            text.split_once("model.gguf").unwrap().1.to_owned()
        };
        let text = |text: &str| Written::String(text.to_owned());
        let all = [
            refused(&|s| s.set("tokenizer.ggml.model", text("bert"))),
            refused(&|s| s.set("tokenizer.ggml.model", text("llama"))),
            refused(&|s| {
                s.set("tokenizer.ggml.model", text("llama"));
                s.set(
                    "tokenizer.ggml.scores",
                    Written::Array(vec![Written::F32(0.0)]),
                );
            }),
            refused(&|s| s.set("tokenizer.ggml.pre", text("tekken"))),
            refused(&|s| s.set("tokenizer.ggml.tokens", text("a"))),
            refused(&|s| s.set("tokenizer.ggml.merges", Written::Array(vec![text("ab")]))),
            refused(&|s| s.set("tokenizer.ggml.merges", Written::Array(vec![text("zz qq")]))),
            refused(&|s| drop(s.metadata.remove("tokenizer.ggml.model"))),
        ];
        insta::assert_snapshot!(all.join("\n"), @r#"
        : the tokenizer cannot be read: `tokenizer.ggml.model` = "bert" is not supported; qeval reads byte-level BPE ("gpt2") and SentencePiece ("llama") from GGUF; give the model's Hugging Face folder instead
        : the tokenizer cannot be read: `tokenizer.ggml.scores` is missing or no list of numbers
        : the tokenizer cannot be read: `tokenizer.ggml.scores` has 1 numbers for 300 tokens
        : the tokenizer cannot be read: `tokenizer.ggml.pre` = "tekken" is not supported; known are smollm, qwen2, llama-bpe, llama3, gpt-2 and default; give the model's Hugging Face folder instead
        : the tokenizer cannot be read: `tokenizer.ggml.tokens` is missing or no list of strings
        : the tokenizer cannot be read: merge `ab` is not two tokens
        : the tokenizer cannot be read: Token `zz` out of vocabulary
        : the tokenizer cannot be read: `tokenizer.ggml.model` is missing
        "#);
    }
}
