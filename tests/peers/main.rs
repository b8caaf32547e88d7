//! Other people's programs beside qeval: servers that answer, trainers that write checkpoints, and
//! those that open what it writes.
//!
//! `.ci/peers` fetches them and prints the variables that name them; without its variable a test is
//! ignored, with the reason beside it:
//!
//! | variable | names |
//! |---|---|
//! | `QEVAL_LLAMA_SERVER` | llama.cpp's `llama-server` |
//! | `QEVAL_REAL_MODEL` | the GGUF file of SmolLM2-135M-Instruct |
//! | `QEVAL_PEERS_PYTHON` | a Python with transformers, peft, trl, inspect-ai, lm-eval, evalscope, … |
//! | `QEVAL_SWIFT_PYTHON` | a Python with ms-swift |
//! | `QEVAL_LLAMAFACTORY_PYTHON` | a Python with llamafactory |
//!
//! `cargo test --test peers -- --nocapture` prints what was measured.

#![expect(clippy::unwrap_used, reason = "a test may panic")]
#![expect(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a test shows what it measured"
)]

/// What other programs read of an export, and of a run that trains.
mod exports;
/// A proxy between a program and a server.
#[path = "../integration/fake.rs"]
#[expect(dead_code, reason = "the other tests' fakes need more of it")]
mod fake;
/// LoRA as llama.cpp reads it.
mod gguf_lora;
/// Programs that run beside a test.
mod program;
/// Throw-away projects.
#[path = "../integration/project.rs"]
#[expect(dead_code, reason = "the other tests need more of it")]
mod project;
/// Servers as subjects.
mod servers;
/// Checkpoints as others write them.
mod trainers;

use std::process::ExitCode;

use libtest_mimic::{Arguments, Trial};

/// Trials of the functions named, ignored where a variable that they need is missing.
macro_rules! trials {
    ($needs:expr; $($name:path),+ $(,)?) => {
        vec![$(trial(stringify!($name), $name, $needs)),+]
    };
}

fn main() -> ExitCode {
    let mut trials = trials![
        &["QEVAL_LLAMA_SERVER", "QEVAL_REAL_MODEL"];
        servers::llama_server_comes_to_the_verdicts_of_the_model_here,
        servers::llama_server_serves_an_adapter_at_a_scale,
        servers::llama_server_is_waited_for_while_it_loads,
        servers::llama_server_takes_no_adapter_while_it_runs,
        servers::llama_server_answers_the_same_twice_within_the_noise_floor,
        servers::llama_server_behind_a_proxy_that_fails_answers_each_once,
    ];
    trials.extend(trials![
        &["QEVAL_PEERS_PYTHON"];
        servers::transformers_serve_comes_to_the_scores_of_the_model_here,
        trainers::the_guides_callback_stops_a_trainer,
        trainers::a_stop_file_that_is_there_stops_a_trainer_at_its_first_save,
        trainers::the_guides_callback_stops_trl,
        exports::inspect_reads_every_log,
        exports::lm_eval_reads_results_and_samples,
        exports::evalscope_reads_every_report,
        exports::pyarrow_and_csv_read_the_same_table,
        exports::tensorboard_shows_what_was_logged_once_whatever_killed_it,
        exports::transformers_reads_the_state_of_a_checkpoint,
    ]);
    trials.extend(trials![
        &["QEVAL_SWIFT_PYTHON"];
        trainers::the_guides_callback_stops_ms_swift,
    ]);
    trials.extend(trials![
        &["QEVAL_LLAMAFACTORY_PYTHON"];
        trainers::the_guides_callback_stops_llama_factory,
    ]);
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
