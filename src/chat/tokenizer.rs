//! Text to token ids and back.

use std::collections::BTreeSet;
use std::path::Path;

use super::ChatError;
use crate::exit::caught;

/// A model's tokenizer with the ids that end its turn.
#[derive(Debug, Clone)]
pub struct Tokenizer {
    inner: tokenizers::Tokenizer,
    origin: String,
    end_of_turn: BTreeSet<u32>,
    largest_id: u32,
}

impl Tokenizer {
    /// Reads a `tokenizer.json`.
    pub fn from_file(path: &Path) -> Result<Self, ChatError> {
        let bytes = std::fs::read(path).map_err(|source| ChatError::Read {
            path: path.to_path_buf(),
            source,
        })?;
        Self::from_bytes(&bytes, &path.display().to_string())
    }

    /// Parses the bytes of a `tokenizer.json`; `origin` names them in errors.
    pub fn from_bytes(bytes: &[u8], origin: &str) -> Result<Self, ChatError> {
        // Where a decoder or a normalizer in it is damaged, the dependency panics.
        let read = caught(|| tokenizers::Tokenizer::from_bytes(bytes).map_err(|e| e.to_string()));
        let inner = read.and_then(|read| read);
        let inner = inner.map_err(|reason| ChatError::Tokenizer {
            origin: origin.to_string(),
            reason,
        })?;
        Self::from_tokenizer(inner, origin)
    }

    /// Takes a tokenizer made elsewhere, from a GGUF file for instance.
    ///
    /// Truncation and padding are switched off, whatever the file says: a text is never cut here.
    pub fn from_tokenizer(
        mut inner: tokenizers::Tokenizer,
        origin: &str,
    ) -> Result<Self, ChatError> {
        let failed = |reason: String| ChatError::Tokenizer {
            origin: origin.to_string(),
            reason,
        };
        inner
            .with_truncation(None)
            .map_err(|e| failed(e.to_string()))?;
        inner.with_padding(None);
        let largest_id = inner.get_vocab(true).into_values().max();
        let largest_id = largest_id.ok_or_else(|| failed("its vocabulary is empty".into()))?;
        Ok(Tokenizer {
            inner,
            origin: origin.to_owned(),
            end_of_turn: BTreeSet::new(),
            largest_id,
        })
    }

    /// Sets the ids that end an answer: `eos_token_id` of generation_config.json (one or a list)
    /// and the id of `eos_token`. An id that no token has is refused.
    pub fn with_end_of_turn(
        mut self,
        ids: impl IntoIterator<Item = u32>,
    ) -> Result<Self, ChatError> {
        for id in ids {
            if self.inner.id_to_token(id).is_none() {
                return Err(ChatError::EndOfTurnId {
                    id,
                    largest: self.largest_id,
                });
            }
            self.end_of_turn.insert(id);
        }
        Ok(self)
    }

    /// The ids that end an answer.
    pub fn end_of_turn(&self) -> &BTreeSet<u32> {
        &self.end_of_turn
    }

    /// Whether an id ends an answer.
    pub fn ends_turn(&self, id: u32) -> bool {
        self.end_of_turn.contains(&id)
    }

    /// Ids of a text. Special tokens written in the text are taken as such; none is added, since
    /// the chat template writes them.
    pub fn encode(&self, text: &str) -> Result<Vec<u32>, ChatError> {
        let encoded = caught(|| {
            self.inner
                .encode_fast(text, false)
                .map_err(|e| e.to_string())
        });
        match encoded.and_then(|encoded| encoded) {
            Ok(encoding) => Ok(encoding.get_ids().to_vec()),
            Err(reason) => Err(ChatError::Encode {
                origin: self.origin.clone(),
                chars: text.chars().count(),
                reason,
            }),
        }
    }

    /// Text of ids, special tokens left out. Bytes that are no UTF-8 become U+FFFD.
    pub fn decode(&self, ids: &[u32]) -> Result<String, ChatError> {
        self.decode_with(ids, true)
    }

    /// Text of ids, special tokens written out.
    pub fn decode_with_special(&self, ids: &[u32]) -> Result<String, ChatError> {
        self.decode_with(ids, false)
    }

    fn decode_with(&self, ids: &[u32], skip_special: bool) -> Result<String, ChatError> {
        let decoded = caught(|| {
            let decoded = self.inner.decode(ids, skip_special);
            decoded.map_err(|e| e.to_string())
        });
        decoded
            .and_then(|decoded| decoded)
            .map_err(|reason| ChatError::Decode {
                origin: self.origin.clone(),
                tokens: ids.len(),
                reason,
            })
    }

    /// The id of one token as the vocabulary writes it.
    pub fn id_of(&self, token: &str) -> Option<u32> {
        self.inner.token_to_id(token)
    }

    /// Whether a token was put into the vocabulary by name (`added_tokens`), as every special one
    /// is: ordinary text is not cut into it by the model of the tokenizer.
    pub fn is_named(&self, id: u32) -> bool {
        self.inner.get_added_tokens_decoder().contains_key(&id)
    }

    /// One token as the vocabulary writes it.
    pub fn token_of(&self, id: u32) -> Option<String> {
        self.inner.id_to_token(id)
    }

    /// Rows that an embedding needs for every id: the largest id plus one, added tokens included.
    pub fn vocab_size(&self) -> usize {
        self.largest_id as usize + 1
    }

    /// A decoder for ids that arrive one at a time.
    pub fn stream(&self) -> TextStream<'_> {
        TextStream {
            tokenizer: self,
            ids: Vec::new(),
            shown_ids: 0,
            context: 0,
        }
    }
}

/// Decodes an answer as it grows and never hands out half a character.
///
/// Text of the last few ids is decoded with and without the newest one and the difference is
/// handed out, so that blanks between tokens come out as in a decoding of the whole.
#[derive(Debug, Clone)]
pub struct TextStream<'a> {
    tokenizer: &'a Tokenizer,
    ids: Vec<u32>,
    /// Where the window of decoded ids begins.
    context: usize,
    /// Ids whose text was handed out.
    shown_ids: usize,
}

impl TextStream<'_> {
    /// Takes the next id; returns the text that it completes, empty while a character is open.
    pub fn push(&mut self, id: u32) -> Result<String, ChatError> {
        self.ids.push(id);
        let (before, after) = self.texts()?;
        if after.ends_with('\u{FFFD}') || after.len() <= before.len() {
            return Ok(String::new());
        }
        Ok(self.hand_out(&before, &after))
    }

    /// The text still held back: an open character as U+FFFD, as decoding the whole gives it.
    pub fn finish(mut self) -> Result<String, ChatError> {
        let (before, after) = self.texts()?;
        Ok(self.hand_out(&before, &after))
    }

    fn texts(&self) -> Result<(String, String), ChatError> {
        let before = self
            .tokenizer
            .decode(&self.ids[self.context..self.shown_ids])?;
        let after = self.tokenizer.decode(&self.ids[self.context..])?;
        Ok((before, after))
    }

    fn hand_out(&mut self, before: &str, after: &str) -> String {
        self.context = self.shown_ids;
        self.shown_ids = self.ids.len();
        after.strip_prefix(before).unwrap_or(after).to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fixture() -> Tokenizer {
        let path = concat!(
            env!("CARGO_MANIFEST_DIR"),
            "/fixtures/models/fixture/tokenizer.json"
        );
        Tokenizer::from_file(Path::new(path)).unwrap()
    }

    #[test]
    fn text_survives_both_ways() {
        let tokenizer = fixture();
        for text in [
            "Who are you?",
            "  blanks \n",
            "你是谁？🙂",
            "a\u{0}b\u{FFFD}",
            "",
        ] {
            assert_eq!(
                tokenizer.decode(&tokenizer.encode(text).unwrap()).unwrap(),
                text
            );
        }
    }

    /// The dependency panics where a decoder is no JSON.
    #[test]
    fn a_file_that_ends_within_its_decoder_is_refused() {
        let text =
            r#"{"version": "1.0", "added_tokens": [], "decoder": {"type": "ByteLevel", "add_pre"#;
        let error = Tokenizer::from_bytes(text.as_bytes(), "tokenizer.json").unwrap_err();
        assert!(error.to_string().contains("tokenizer.json"), "{error}");
    }

    #[test]
    fn special_tokens_are_left_out_unless_asked_for() {
        let tokenizer = fixture();
        let ids = tokenizer.encode("a<|im_end|>").unwrap();
        assert_eq!(ids.last(), tokenizer.id_of("<|im_end|>").as_ref());
        assert_eq!(tokenizer.decode(&ids).unwrap(), "a");
        assert_eq!(tokenizer.decode_with_special(&ids).unwrap(), "a<|im_end|>");
    }

    #[test]
    fn stream_says_what_the_whole_says_and_never_half_a_character() {
        let tokenizer = fixture();
        for text in ["Hello, how are you?", "你是谁？🙂🙂 end", "tail \u{1F642}"] {
            let ids = tokenizer.encode(text).unwrap();
            let mut stream = tokenizer.stream();
            let mut said = String::new();
            for &id in &ids {
                let piece = stream.push(id).unwrap();
                assert!(!piece.contains('\u{FFFD}'), "{text}: {piece:?}");
                said += &piece;
            }
            said += &stream.finish().unwrap();
            assert_eq!(said, text);
        }
    }

    #[test]
    fn character_cut_off_by_the_end_is_handed_out_at_last() {
        let tokenizer = fixture();
        let mut ids = tokenizer.encode("a🙂").unwrap();
        ids.pop();
        let mut stream = tokenizer.stream();
        let mut said = String::new();
        for &id in &ids {
            said += &stream.push(id).unwrap();
        }
        assert_eq!(said, "a");
        said += &stream.finish().unwrap();
        assert_eq!(said, tokenizer.decode(&ids).unwrap());
    }

    /// A tokenizer.json may bring a truncation of its own, which would cut prompts silently.
    #[test]
    fn truncation_of_the_file_is_switched_off() {
        let mut inner = fixture().inner;
        let cut = tokenizers::TruncationParams {
            max_length: 2,
            ..Default::default()
        };
        inner.with_truncation(Some(cut)).unwrap();
        let tokenizer = Tokenizer::from_tokenizer(inner, "test").unwrap();
        assert!(tokenizer.encode("a long enough text").unwrap().len() > 2);
    }

    #[test]
    fn end_of_turn_ids_are_known_ones() {
        let tokenizer = fixture();
        let end = tokenizer.id_of("<|im_end|>").unwrap();
        let tokenizer = tokenizer.with_end_of_turn([end]).unwrap();
        assert!(tokenizer.ends_turn(end) && !tokenizer.ends_turn(end + 1));
        let largest = tokenizer.vocab_size() - 1;
        let error = tokenizer
            .with_end_of_turn([999_999])
            .unwrap_err()
            .to_string();
        assert!(
            error.contains("id 999999") && error.contains(&largest.to_string()),
            "{error}"
        );
    }

    #[test]
    fn broken_file_is_named() {
        let error = Tokenizer::from_bytes(b"{\"version\": ", "tokenizer.json").unwrap_err();
        insta::assert_snapshot!(error, @r"
        tokenizer.json: not a tokenizer: EOF while parsing a value at line 1 column 12
        (a tokenizer is a complete `tokenizer.json` of the Hugging Face tokenizers library; fetch the file again, or name another with `tokenizer` under [model])
        ");
    }
}
