//! Low-rank adapters: `y = W x + scale * B A x`, on disk as PEFT writes them, in memory as rows of a
//! batch need them, and as matrices that are trained.

mod adapter;
mod base_name;
mod beside;
mod config;
mod error;
#[cfg(feature = "gpu")]
mod gpu;
mod inert;
mod loaded;
mod mutant;
mod partial;
mod parts;
mod reading;
mod scaled;
mod targets;
mod tensor_names;
mod trainable;

pub use adapter::{Adapter, LowRankPair, TrainedOn};
pub use base_name::same_base;
pub use beside::{Beside, Outputs, OwnRows};
pub use config::{LoraConfig, TrainedBeside};
pub use error::LoraError;
#[cfg(feature = "gpu")]
pub(crate) use gpu::Lists;
#[cfg(feature = "gpu")]
pub use gpu::{AdapterTable, GpuTrainable, RowAdapters};
pub use inert::Inert;
pub use loaded::{BatchAdapters, LoadedAdapter};
pub use mutant::{MutantChange, Mutated, NoMutant};
pub use partial::write_without;
pub use parts::{AdapterPart, layers_pattern};
pub use reading::BaseTensor;
pub use scaled::write_scaled;
pub use targets::TargetModules;
pub use trainable::{DropoutKey, Trainable, TrainableModule, TrainedMatrix};
