//! How often is the rule right? Comparisons whose truth is known, judged by the rule itself.
//!
//! [`SuiteModel`] says how the probes of a suite answer, measured from a base that was asked twice
//! or made up for a table. [`World`] adds the rules, the looks of a run, and what is true of the
//! candidate; [`World::simulate`] draws comparisons and counts what the rule said. A harmless
//! candidate answers as the base would answer again; a harmful one fails every answer to some of the
//! probes, so that the mean falls by the loss that was asked for. Every comparison draws new probes
//! like those at hand: a verdict is about the ones that were not asked.
//!
//! Comparison i draws from its own row of random numbers, so the counts are the same whatever the
//! number of threads.

mod answers;
mod grid;
mod group;
mod memo;
mod model;
mod plan;
mod rates;
mod world;

pub use answers::Together;
pub use grid::{grid, grid_rates};
pub use model::{Answers, SuiteModel, SuitePart};
pub use plan::{SimulationSettings, simulate};
pub use world::{Counts, Truth, World};
