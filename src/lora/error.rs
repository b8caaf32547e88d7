//! Why an adapter cannot be loaded or written.

use std::path::{Path, PathBuf};

use thiserror::Error;

use crate::atomic_file::FileError;

use crate::model::ModelError;

/// Why an adapter cannot be loaded or written. Every text says where, what, the rule and the way
/// out.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum LoraError {
    /// A file cannot be read or written.
    #[error("cannot {action} {}: {source}", path.display())]
    Io {
        /// `read` or `write`.
        action: &'static str,
        /// Which file.
        path: PathBuf,
        /// What the system says.
        source: std::io::Error,
    },
    /// The path is no PEFT folder.
    #[error(
        "{} is not an adapter: {problem}; give a PEFT folder (adapter_config.json, \
         adapter_model.safetensors)",
        path.display()
    )]
    NotAnAdapter {
        /// What was given.
        path: PathBuf,
        /// Why it is none.
        problem: String,
    },
    /// A folder cannot be written.
    #[error(transparent)]
    File(#[from] FileError),
    /// A JSON file does not parse.
    #[error("{} is not valid JSON: {source}; copy it again", path.display())]
    Json {
        /// Which file.
        path: PathBuf,
        /// Position and reason.
        source: serde_json::Error,
    },
    /// A key is missing, of the wrong type or out of range.
    #[error("{}: `{key}` {problem}", path.display())]
    Key {
        /// Which file.
        path: PathBuf,
        /// The key.
        key: String,
        /// What is wrong, and the rule.
        problem: String,
    },
    /// The adapter needs mathematics that are not built in.
    #[error("{}: `{key}` = {value} is not supported; {way_out}", path.display())]
    Unsupported {
        /// Which file says so.
        path: PathBuf,
        /// The key.
        key: String,
        /// Its value as JSON.
        value: String,
        /// What to do instead.
        way_out: String,
    },
    /// A pattern is no regular expression that can be matched here.
    #[error(
        "`{key}`: cannot match \"{pattern}\": {problem}; write it without look-around and \
         back-references, or list the names of the modules"
    )]
    Pattern {
        /// The key that holds it.
        key: &'static str,
        /// As written.
        pattern: String,
        /// What the parser says.
        problem: String,
    },
    /// Any of these, of an adapter's configuration.
    #[error("{}: {source}", path.display())]
    InConfig {
        /// The configuration.
        path: PathBuf,
        /// What is wrong in it.
        source: Box<LoraError>,
    },
    /// A target, a pattern or a layer fits no linear layer of this base.
    #[error("`{key}`: \"{target}\" fits no linear layer of this base; {rule}")]
    NoMatch {
        /// The key that holds it.
        key: &'static str,
        /// As written.
        target: String,
        /// What would fit.
        rule: String,
    },
    /// A target fits the embedding or the head.
    #[error(
        "`target_modules`: \"{target}\" takes in `{module}`; adapters go on the linear layers of \
         the decoder only ({names})"
    )]
    OutsideDecoder {
        /// As written.
        target: String,
        /// The module it fits.
        module: &'static str,
        /// The names that are possible.
        names: String,
    },
    /// A tensor or module does not fit the base.
    #[error(
        "{}: {problem}; the adapter belongs to another base{}",
        path.display(),
        base.as_deref().map(|b| format!(" (its config says `{b}`)")).unwrap_or_default()
    )]
    OtherBase {
        /// File of the tensor.
        path: PathBuf,
        /// Tensor, what it has, what this base asks for.
        problem: String,
        /// `base_model_name_or_path` of its config.
        base: Option<String>,
    },
    /// The matrices of a module contradict each other or the configuration.
    #[error("{}: {problem}; the files are of different adapters, or damaged", path.display())]
    Mismatch {
        /// File of the tensor.
        path: PathBuf,
        /// What contradicts what.
        problem: String,
    },
    /// A tensor that is no low-rank matrix of a targeted module.
    #[error("{}: tensor `{name}` is not supported; {rule}", path.display())]
    ExtraTensor {
        /// File of the tensor.
        path: PathBuf,
        /// Its name.
        name: String,
        /// What is possible, or the way out.
        rule: String,
    },
    /// An adapter of more than matrices is to be written.
    #[error(
        "cannot write {}: more than low-rank matrices was trained (DoRA, biases, an embedding, or a \
         head), which is read and not written; keep the folder that it came from",
        path.display()
    )]
    NotPlain {
        /// Where to.
        path: PathBuf,
    },
    /// An adapter is to be written at a scale, and holds what alpha does not multiply.
    #[error(
        "{} cannot be written at another scale: PEFT's alpha does not multiply `{name}`; ask it with \
         `@SCALE`, which goes that far from the base, or train it again at a lower rate",
        path.display()
    )]
    NotScalable {
        /// Which folder.
        path: PathBuf,
        /// The tensor.
        name: String,
    },
    /// An adapter is to be written without a part.
    #[error("{} cannot be written without {part}: {why}", path.display())]
    NotPartible {
        /// Which folder.
        path: PathBuf,
        /// The part.
        part: String,
        /// Why not.
        why: &'static str,
    },
    /// The file of weights cannot be read, or a weight is not finite.
    #[error(transparent)]
    Weights(#[from] ModelError),
}
impl LoraError {
    /// What `map_err` makes of a system's error about `path`.
    pub(super) fn at(action: &'static str, path: &Path) -> impl FnOnce(std::io::Error) -> Self {
        move |source| LoraError::Io {
            action,
            path: path.to_path_buf(),
            source,
        }
    }
}
