//! Everything together, on the small models of `fixtures/`, in seconds.

#![expect(clippy::unwrap_used, reason = "a test may panic")]
#![expect(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a test shows what it measured"
)]

/// Questions outside any suite.
mod ask;
/// The reference for gradients.
mod autograd;
/// What a user can get wrong.
mod bad_input;
/// What looks for the cause of a loss.
mod cause;
/// Every command, as a user types it.
mod commands;
/// Other programs' results.
mod compare;
/// What README and the guide show.
mod documents;
/// What other programs read.
mod export;
/// Servers that say what a test wants.
mod fake;
/// What real people's files hold.
mod files;
/// What models and adapters of other trainers do.
mod foreign_models;
/// Folders of four bits against the libraries that wrote them.
mod four_bit;
/// A device whose memory is full.
mod full_memory;
/// What files can contain.
mod fuzzed;
/// Precision and recall of the checks.
mod goldens;
/// Gradients and optimizer against PyTorch.
mod gradients;
/// What a project's git history is good for.
mod history;
/// The page that people look at.
mod html;
/// Other programs' files beside the programs themselves.
mod imports;
/// What must not change a bit.
mod invariance;
/// The CPU with little memory.
mod limited;
/// Adapters made bad and harmless on purpose.
mod mutants;
/// What is printed to be typed next.
mod next;
/// The page of a verdict.
mod page;
/// Logits against transformers and peft.
mod parity;
/// Throw-away projects.
mod project;
/// Programs that CPython runs, locked down.
mod python;
/// What earlier runs and versions left, and where it is looked for.
mod records;
/// Killed and interrupted runs.
mod resume;
/// What a reviewer sees.
mod review;
/// Hostile programs.
mod sandbox;
/// Models behind a server.
mod served;
/// The fixture model behind a server.
mod served_fixture;
/// What servers do wrong.
mod server_faults;
/// Commands that are asked to end, or are killed.
#[cfg(unix)]
mod signals;
/// What the others share.
mod support;
/// When training ends, and what it keeps.
mod training;
/// Settings that are tried, and the one that is chosen.
mod tune;
/// Another trainer's checkpoints.
#[cfg(unix)]
mod watch;
