//! Other people's programs beside qeval: those that open what it writes.
//!
//! Without its variable a test is ignored, with the reason beside it:
//!
//! | variable | names |
//! |---|---|
//! | `QEVAL_PEERS_PYTHON` | a Python with inspect-ai, lm-eval, evalscope, tensorboard, transformers, and pyarrow |

#![expect(clippy::unwrap_used, reason = "a test may panic")]
#![expect(clippy::print_stderr, reason = "a kept project is named")]

/// What other programs read of an export, and of a run that trains.
mod exports;
/// Throw-away projects.
#[path = "../integration/project.rs"]
#[expect(dead_code, reason = "the other tests need more of it")]
mod project;

use std::process::ExitCode;

use libtest_mimic::{Arguments, Trial};

/// Trials of the functions named, ignored where a variable that they need is missing.
macro_rules! trials {
    ($needs:expr; $($name:path),+ $(,)?) => {
        vec![$(trial(stringify!($name), $name, $needs)),+]
    };
}

fn main() -> ExitCode {
    let trials = trials![
        &["QEVAL_PEERS_PYTHON"];
        exports::inspect_reads_every_log,
        exports::lm_eval_reads_results_and_samples,
        exports::evalscope_reads_every_report,
        exports::pyarrow_and_csv_read_the_same_table,
        exports::tensorboard_shows_what_was_logged_once_whatever_killed_it,
        exports::transformers_reads_the_state_of_a_checkpoint,
    ];
    let mut arguments = Arguments::from_args();
    // Two programs share the cores in each test.
    arguments.test_threads.get_or_insert(1);
    libtest_mimic::run(&arguments, trials).exit_code()
}

/// A test, ignored where a variable that it needs is missing.
fn trial(name: &str, test: fn(), needs: &[&str]) -> Trial {
    let trial = Trial::test(name, move || {
        test();
        Ok(())
    });
    match needs.iter().find(|name| std::env::var_os(name).is_none()) {
        None => trial,
        Some(missing) => trial
            .with_kind(format!("{missing} names nothing"))
            .with_ignored_flag(true),
    }
}
