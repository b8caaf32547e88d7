//! Why a model cannot be loaded.

use std::path::PathBuf;

use thiserror::Error;

/// Why a model cannot be loaded. Every text says where, what, the rule and the way out.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum ModelError {
    /// The GPU cannot be used.
    #[error("the GPU cannot be used: {problem}")]
    Gpu {
        /// Why, and the way out.
        problem: String,
    },
    /// The GPU's memory is full.
    #[error(
        "the GPU's memory is full: {} MB are in use and {} MB more were wanted; ask for fewer \
         `--slots`, a smaller `micro_batch_tokens`, or `recompute = \"full\"`",
        used >> 20, wanted >> 20
    )]
    OutOfMemory {
        /// Bytes of the allocation that failed.
        wanted: usize,
        /// Bytes in use.
        used: usize,
    },
    /// It takes more memory than there is, told before anything is loaded.
    #[error(transparent)]
    TooLarge(Box<TooLarge>),
    /// A file or folder cannot be read.
    #[error("cannot read {}: {source}", path.display())]
    Io {
        /// Which.
        path: PathBuf,
        /// What the system says.
        source: std::io::Error,
    },
    /// The path is no model.
    #[error(
        "{} is not a model: {problem}; give a Hugging Face folder (config.json, tokenizer.json, \
         *.safetensors) or a .gguf file",
        path.display()
    )]
    NotAModel {
        /// What was given.
        path: PathBuf,
        /// Why it is none.
        problem: String,
    },
    /// A JSON file does not parse.
    #[error("{} is not valid JSON: {source}; download it again", path.display())]
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
        /// The key as the file writes it.
        key: String,
        /// What is wrong, and the rule.
        problem: String,
    },
    /// The model needs mathematics that are not built in.
    #[error("{}: {what} is not supported; {rule}", path.display())]
    Unsupported {
        /// Which file says so.
        path: PathBuf,
        /// The feature, with the key that names it.
        what: String,
        /// What is supported, or the way out.
        rule: String,
    },
    /// The folder has weights in another form only.
    #[error(
        "{} holds {found} but no safetensors; convert it in Python: \
         AutoModelForCausalLM.from_pretrained(\"{}\").save_pretrained(\"new-folder\")",
        path.display(),
        path.display()
    )]
    OtherFormat {
        /// The folder.
        path: PathBuf,
        /// The file that was found.
        found: String,
    },
    /// A file of weights is cut off or damaged.
    #[error("{} is damaged: {problem}; copy or download it again", path.display())]
    Corrupt {
        /// Which file.
        path: PathBuf,
        /// What does not hold.
        problem: String,
    },
    /// What Git LFS leaves in place of a file that was not fetched.
    #[error(
        "{} is a pointer of Git LFS, not the file itself; fetch it: `git lfs pull` in its repository",
        path.display()
    )]
    LfsPointer {
        /// Which file.
        path: PathBuf,
    },
    /// The index names a file that is not there.
    #[error("{} names `{shard}`, which is not in the folder; download it", index.display())]
    MissingShard {
        /// The index file.
        index: PathBuf,
        /// The missing file.
        shard: String,
    },
    /// A tensor that the configuration asks for is not there.
    #[error("{}: tensor `{name}` is missing{}; \
         weights and config are of different models, take both from one download",
        path.display(), nearest_hint(nearest.as_deref()))]
    MissingTensor {
        /// File or folder of the weights.
        path: PathBuf,
        /// Its Hugging Face name.
        name: String,
        /// The most similar name that is there.
        nearest: Option<String>,
    },
    /// A tensor has another shape than the configuration says.
    #[error(
        "{}: tensor `{name}` has shape {found:?}, the config asks for {expected:?}; \
         weights and config are of different models, take both from one download",
        path.display()
    )]
    Shape {
        /// File of the tensor.
        path: PathBuf,
        /// Its name.
        name: String,
        /// As stored.
        found: Vec<usize>,
        /// As the configuration says.
        expected: Vec<usize>,
    },
    /// A tensor is stored as numbers of another kind.
    #[error("{}: tensor `{name}` is stored as {dtype}; {rule}", path.display())]
    Dtype {
        /// File of the tensor.
        path: PathBuf,
        /// Its name.
        name: String,
        /// How it is stored.
        dtype: String,
        /// What can be read, and the way out.
        rule: &'static str,
    },
    /// A weight is not a number.
    #[error(
        "{}: tensor `{name}` holds {value} at index {index}; weights must be finite numbers, \
         so the file is damaged or its training diverged",
        path.display()
    )]
    NotFinite {
        /// File of the tensor.
        path: PathBuf,
        /// Its name.
        name: String,
        /// Place of the first one, counted over the flat tensor.
        index: usize,
        /// NaN or an infinity.
        value: f32,
    },
    /// The tokenizer cannot be built.
    #[error("{}: the tokenizer cannot be read: {problem}", path.display())]
    Tokenizer {
        /// Which file.
        path: PathBuf,
        /// What does not hold, and the way out.
        problem: String,
    },
    /// The tokenizer makes ids that the embedding does not have.
    #[error(
        "{}: token `{token}` has id {id}, the embedding has {vocab_size} rows; tokenizer and \
         weights are of different models, or tokens were added without resizing the embedding",
        path.display()
    )]
    TokenBeyondEmbedding {
        /// The tokenizer's file.
        path: PathBuf,
        /// The token with the highest id.
        token: String,
        /// Its id.
        id: u32,
        /// Rows of the embedding.
        vocab_size: usize,
    },
}

/// A model that takes more memory than there is.
#[derive(Debug, Error)]
#[error(
    "{model} does not fit into {place}: it takes {takes}, and {available} are available{limit}; \
     {way_out}"
)]
pub struct TooLarge {
    /// What was to be loaded.
    pub model: String,
    /// Whose memory.
    pub place: &'static str,
    /// How much it takes, and what for.
    pub takes: String,
    /// How much there is.
    pub available: String,
    /// What sets that bound, where it is not the machine itself.
    pub limit: String,
    /// What would work.
    pub way_out: String,
}

#[cfg(feature = "gpu")]
impl From<crate::gpu::GpuError> for ModelError {
    fn from(error: crate::gpu::GpuError) -> Self {
        use crate::gpu::GpuError;
        match error {
            GpuError::Unusable { problem } => ModelError::Gpu { problem },
            GpuError::OutOfMemory { wanted, used } => ModelError::OutOfMemory { wanted, used },
        }
    }
}

fn nearest_hint(nearest: Option<&str>) -> String {
    nearest
        .map(|name| format!(" (similar: `{name}`)"))
        .unwrap_or_default()
}
