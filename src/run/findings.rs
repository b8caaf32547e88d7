//! What is found in a model's files before it is asked or trained, for every command alike: where its
//! answers end, and under which names it is known.

use std::path::Path;

use crate::chat::{ChatTemplate, Tokenizer};

use super::error::RunError;

/// Where answers end.
pub(super) struct Ends {
    /// Ids that end a turn, sorted.
    pub ids: Vec<u32>,
    /// The one that only the template knows.
    pub of_template: Option<u32>,
    /// What the user should know of it.
    pub notice: Option<String>,
}

/// Where answers end: at the tokens that the model's files name, and at what its template writes
/// after an answer, which is what an adapter learns to write.
///
/// # Errors
/// No token ends an answer: every one would run to its length, and be judged as if it had ended.
pub(super) fn ends(
    model: &Path,
    template: &ChatTemplate,
    tokenizer: &Tokenizer,
    named: &[u32],
) -> Result<Ends, RunError> {
    let end = template.turn_end(tokenizer)?;
    let name = |id: &u32| match tokenizer.token_of(*id) {
        Some(token) => format!("`{token}`"),
        None => format!("id {id}"),
    };
    let names = named.iter().map(name).collect::<Vec<_>>().join(", ");
    let mut ids = named.to_vec();
    let notice = match end.token {
        Some(id) if named.contains(&id) => None,
        Some(id) => {
            ids.push(id);
            ids.sort_unstable();
            let files = match names.as_str() {
                "" => "no token that ends a text".to_owned(),
                names => format!("{names} alone"),
            };
            Some(format!(
                "the chat template ends an answer with {}, and the files of {} name {files}: \
                 answers end there too; a server has to be told (`eos_token_id` of \
                 generation_config.json, or `stop_token_ids`: {id})",
                name(&id),
                model.display(),
            ))
        }
        None if named.is_empty() => {
            return Err(RunError::NoEnd {
                path: model.to_path_buf(),
            });
        }
        None => Some(format!(
            "the chat template of {} writes no token after an answer{}: answers end only where the \
             model itself writes {names}",
            model.display(),
            match end.text.as_str() {
                "" => String::new(),
                text => format!(", but {text:?}"),
            },
        )),
    };
    Ok(Ends {
        of_template: end.token.filter(|id| !named.contains(id)),
        ids,
        notice,
    })
}

/// Names that a base is known under: as typed, as it lies on disk, on the hub, and as its own files
/// call it.
pub(super) fn names(
    typed: &str,
    path: &Path,
    hub_id: Option<String>,
    own: Vec<String>,
) -> Vec<String> {
    let real = path.canonicalize().unwrap_or_else(|_| path.to_path_buf());
    let mut names = vec![typed.to_owned(), real.display().to_string()];
    names.extend(hub_id);
    names.extend(own);
    names
}
