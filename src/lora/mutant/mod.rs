//! Adapters made of another in memory: changes of its matrices that do harm, and changes that cannot.
//!
//! Suites are tested with them as tests are with mutants of a program: what catches no bad adapter
//! watches nothing. What stands beside the matrices (DoRA's gains, biases, rows of the embedding or the
//! head) is kept as it is, and taken as far as the mutant's scale says. Nothing here touches a disk.

mod change;
mod products;
mod shuffled;

pub use change::{MutantChange, Mutated, NoMutant};
