//! The base model: files on disk -> configuration, weights, and one decoder that runs them.
//!
//! Forward and backward are written by hand over the operations of a [`Device`]. Nothing here knows
//! of adapters but the joint [`LowRank`], which `lora` implements.

mod any;
mod architecture;
mod config;
pub mod cpu;
#[cfg(feature = "gpu")]
pub mod cuda;
mod decoder;
mod device;
mod dtype;
mod encoder;
mod error;
mod files;
mod folder;
mod footprint;
mod four_bit;
mod generation;
mod gguf;
mod gguf_header;
mod gguf_model;
mod gguf_pieces;
mod gguf_tokenizer;
mod json;
mod kv_cache;
mod layers;
mod mapped;
mod mat;
mod module;
mod rope;
mod shapes;
mod stored;
mod tensor_file;
mod tiles;
mod tokenizer_file;
mod weights;
mod window;

pub use any::{Compute, DeviceChoice, GpuSet, MayLoad, Model, ModelRef};
pub use architecture::Architecture;
pub use config::{Activation, ModelConfig};
pub use cpu::{Cpu, log_sum_exp};
pub use decoder::{Batch, Decoder, Keep, Tape};
pub use device::{Device, HeadNorms};
pub use dtype::Dtype;
pub use encoder::SentenceEncoder;
pub use error::{ModelError, TooLarge};
pub use files::ModelFiles;
pub use footprint::{Footprint, Matrices, MemoryOf};
pub use generation::GenerationDefaults;
pub use kv_cache::KvCache;
pub use layers::{LayerSite, Linear, LowRank, LowRankGradient, NoLowRank, RmsNorm, Share, Site};
pub use mat::Mat;
pub use module::{ModuleId, Projection};
pub use rope::RopeScaling;
pub use shapes::{Heads, Span};
pub use stored::{ByInput, Code, Format, StoredRows, StoredTensor};
pub use tensor_file::TensorFile;
pub use weights::{Storage, Weights};
pub use window::Window;
