//! Folders that other programs' trainers write -> checkpoints, whether each is whole, and what stands
//! in them of base, system prompt, template, and data. Read only: nothing in them is changed.
//!
//! Hugging Face's Trainer writes a checkpoint file by file into `checkpoint-STEP`, `trainer_state.json`
//! last; ms-swift, LLaMA-Factory, axolotl, unsloth, and TRL build on it, and write files of their own
//! beside it. A folder is therefore told by that name and that file, and is whole when what is judged
//! and the last file are, not when it appears.

mod claims;
mod find;
mod lenient_json;
mod state;
mod whole;

pub use claims::{Claim, Claims, Trainer};
pub use find::{CheckpointFolder, Found, find, is_checkpoint_name};
pub use state::{TrainerState, has_ended};
pub use whole::{Signature, Wholeness};
