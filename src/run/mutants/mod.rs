//! Adapters that are trained badly on purpose, and one that is trained with care: the mutants that no
//! change of matrices makes.

mod recipe;
mod rows;
mod train;

pub use recipe::BadTraining;
pub use train::{MUTANTS, TrainedMutants, train_mutants};
