//! SentencePiece tokens of a GGUF file (`tokenizer.ggml.model` = "llama"), as Gemma and the first
//! Mistrals have them: pieces with scores, no merges.
//!
//! The library's BPE wants merges. Any two pieces whose join is a piece are one, and the join with the
//! higher score comes first; so does transformers (`convert_slow_tokenizer.py`, `generate_merges`).

use std::cmp::Ordering;
use std::collections::HashMap;

use tokenizers::Tokenizer;
use tokenizers::decoders::byte_fallback::ByteFallback;
use tokenizers::decoders::fuse::Fuse;
use tokenizers::decoders::sequence::Sequence as Decoders;
use tokenizers::decoders::strip::Strip;
use tokenizers::models::bpe::{BPE, Vocab};
use tokenizers::normalizers::prepend::Prepend;
use tokenizers::normalizers::replace::Replace;
use tokenizers::normalizers::utils::Sequence as Normalizers;

/// What a space is written as.
const SPACE: &str = "\u{2581}";

/// Builds the tokenizer; special tokens are still to be added. `prefix` puts a space before a text, and
/// after each special token.
///
/// # Errors
/// What the library says.
pub(super) fn tokenizer(
    tokens: &[String],
    scores: &[f64],
    unknown: Option<&str>,
    prefix: bool,
) -> tokenizers::Result<Tokenizer> {
    // Of two equal pieces the first counts, as in llama.cpp.
    let mut ids: HashMap<&str, u32> = HashMap::with_capacity(tokens.len());
    for (id, token) in tokens.iter().enumerate() {
        ids.entry(token).or_insert(id as u32);
    }
    let merges = merges(&ids, scores);
    let vocab: Vocab = ids
        .iter()
        .map(|(token, id)| ((*token).to_owned(), *id))
        .collect();
    let mut bpe = BPE::builder()
        .vocab_and_merges(vocab, merges)
        .byte_fallback(true)
        .fuse_unk(true);
    if let Some(unknown) = unknown {
        bpe = bpe.unk_token(unknown.to_owned());
    }
    let mut tokenizer = Tokenizer::new(bpe.build()?);
    let mut normalizers = vec![];
    if prefix {
        normalizers.push(Prepend::new(SPACE.to_owned()).into());
    }
    normalizers.push(Replace::new(" ", SPACE)?.into());
    tokenizer.with_normalizer(Some(Normalizers::new(normalizers)))?;
    let mut decoders = vec![
        Replace::new(SPACE, " ")?.into(),
        ByteFallback::new().into(),
        Fuse::new().into(),
    ];
    if prefix {
        decoders.push(Strip::new(' ', 1, 0).into());
    }
    tokenizer.with_decoder(Some(Decoders::new(decoders)));
    Ok(tokenizer)
}

/// Every two pieces that make one, in the order in which they are joined.
fn merges(ids: &HashMap<&str, u32>, scores: &[f64]) -> Vec<(String, String)> {
    let mut pieces: Vec<(&str, u32)> = ids.iter().map(|(piece, id)| (*piece, *id)).collect();
    pieces.sort_unstable_by_key(|(_, id)| *id);
    let mut all: Vec<(f64, &str, &str)> = Vec::new();
    for (piece, id) in pieces {
        let halves = piece.char_indices().skip(1).filter_map(|(at, _)| {
            let (left, right) = piece.split_at(at);
            Some(((*ids.get(left)?, *ids.get(right)?), left, right))
        });
        let mut halves: Vec<_> = halves.collect();
        halves.sort_unstable_by_key(|(ids, ..)| *ids);
        let score = scores[id as usize];
        all.extend(
            halves
                .into_iter()
                .map(|(_, left, right)| (score, left, right)),
        );
    }
    // Equal ones stay in the order of their ids; the longer the halves, the earlier.
    let length = |text: &str| text.chars().count();
    all.sort_by(|(a, al, ar), (b, bl, br)| {
        let by_score = b.partial_cmp(a).unwrap_or(Ordering::Equal);
        by_score
            .then_with(|| length(bl).cmp(&length(al)))
            .then_with(|| length(br).cmp(&length(ar)))
    });
    all.into_iter()
        .map(|(_, left, right)| (left.to_owned(), right.to_owned()))
        .collect()
}
