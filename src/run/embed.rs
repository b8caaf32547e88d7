//! The sentence encoder behind a cache by text. It is fetched and loaded when the first text is
//! asked for: a run without a check that compares meanings needs none.

use std::collections::HashMap;
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
pub struct Embeddings {
    name: String,
    encoder: Option<SentenceEncoder>,
    known: HashMap<String, Arc<[f32]>>,
}

impl Embeddings {
    /// With the encoder of this name: see [`hub::sentence_encoder`].
    pub fn new(name: impl Into<String>) -> Self {
        Embeddings {
            name: name.into(),
            encoder: None,
            known: HashMap::new(),
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
                    let folder = hub::sentence_encoder(&self.name, progress)?;
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
        let mut embeddings = Embeddings::new("nowhere");
        assert!(embeddings.embed([], &mut |_, _| {}).unwrap().is_empty());
        let error = embeddings.embed(["a text"], &mut |_, _| {}).unwrap_err();
        assert!(error.to_string().contains("nowhere"), "{error}");
    }

    #[test]
    fn a_known_text_needs_no_encoder() {
        let mut embeddings = Embeddings::new("nowhere");
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
