//! Template and tokenizer of a model that is served elsewhere, without its weights: conversations can
//! be rendered here, and the server's count of a prompt's tokens compared with ours.

use std::path::Path;

use crate::chat::{ChatTemplate, Conversation, Message, Tokenizer, Variables};
use crate::digest;
use crate::model::ModelFiles;
use crate::server::Turn;

use super::error::RunError;
use super::findings::{self, Ends};

/// A template and a tokenizer.
pub struct Rendering {
    template: ChatTemplate,
    tokenizer: Tokenizer,
    /// Texts that end a turn.
    pub stop: Vec<String>,
    /// Digest of both.
    pub digest: String,
}

/// How a model's files put a conversation into tokens, and what ends a turn of it. Takes the template
/// out of the files.
///
/// # Errors
/// There is no template, or one that cannot be read or does not read the variables; a damaged
/// tokenizer; no token that ends an answer.
pub(super) fn speech_of(
    path: &Path,
    files: &mut ModelFiles,
    variables: Variables,
) -> Result<(ChatTemplate, Tokenizer, Ends), RunError> {
    let source = files.chat_template.take().ok_or(RunError::NoTemplate {
        path: path.to_owned(),
    })?;
    let special = [
        ("bos_token", &files.bos_token),
        ("eos_token", &files.eos_token),
    ];
    let special = special
        .into_iter()
        .filter_map(|(k, v)| Some((k.to_owned(), v.clone()?)))
        .collect();
    let template = ChatTemplate::new(&source, special)?.with_checked_variables(variables)?;
    let name = path.display().to_string();
    let tokenizer = Tokenizer::from_tokenizer(files.tokenizer.clone(), &name)?;
    let ends = findings::ends(path, &template, &tokenizer, &files.eos_token_ids)?;
    Ok((template, tokenizer, ends))
}

impl Rendering {
    /// Reads them from a model's folder or GGUF file.
    ///
    /// # Errors
    /// It is no model, or has no chat template.
    pub fn open(path: &Path, variables: Variables) -> Result<Self, RunError> {
        let mut files = ModelFiles::open(path)?;
        let (template, tokenizer, ends) = speech_of(path, &mut files, variables)?;
        let stop = ends
            .ids
            .iter()
            .filter_map(|id| tokenizer.token_of(*id))
            .collect();
        Ok(Rendering {
            digest: digest::Parts::new("rendering")
                .part("template", template.source())
                .part("tokenizer", &files.tokenizer_digest)
                .finish(),
            template,
            tokenizer,
            stop,
        })
    }

    /// A conversation as text, up to where the answer begins.
    ///
    /// # Errors
    /// The template refuses it.
    pub fn render(&self, turns: &[Turn]) -> Result<String, RunError> {
        let messages = turns.iter().map(|turn| match turn.role {
            "system" => Message::system(&turn.text),
            "assistant" => Message::assistant(&turn.text),
            _ => Message::user(&turn.text),
        });
        Ok(self
            .template
            .render(&Conversation::new(messages.collect::<Vec<_>>()), true)?)
    }

    /// The same as token ids.
    ///
    /// # Errors
    /// The template refuses it.
    pub fn ids(&self, turns: &[Turn]) -> Result<Vec<u32>, RunError> {
        Ok(self.tokenizer.encode(&self.render(turns)?)?)
    }

    /// Token ids of a text by itself.
    ///
    /// # Errors
    /// The tokenizer refuses it.
    pub fn text_ids(&self, text: &str) -> Result<Vec<u32>, RunError> {
        Ok(self.tokenizer.encode(text)?)
    }
}
