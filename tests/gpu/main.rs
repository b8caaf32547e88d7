//! The GPU against the CPU: every operation, the decoder, answers, and training. Each test is
//! ignored, with the reason beside its name, where there is no GPU, or no real model for those that
//! need one.

#![expect(clippy::unwrap_used, reason = "a test may panic")]
#![expect(
    clippy::print_stderr,
    reason = "how far apart the devices are is worth seeing"
)]

mod answers;
mod blocks;
mod decoder;
mod operations;
mod real_model;
mod support;
mod training;

use std::process::ExitCode;

use libtest_mimic::{Arguments, Trial};
use qeval::gpu::Cuda;

/// Trials of the functions named, module by module.
macro_rules! trials {
    ($($module:ident: $($name:ident),+;)+) => {
        vec![$($(trial(stringify!($module), stringify!($name), $module::$name)),+),+]
    };
}

fn main() -> ExitCode {
    let trials = trials! {
        answers: answers_are_those_of_the_cpu, answers_keep_their_bits_whatever_is_beside_them;
        blocks: tables_hold_the_numbers_of_their_format, many_rows_have_the_bits_of_the_widened_weight, few_rows_in_every_format, few_rows_of_large_weights, models_as_they_are_stored;
        decoder: logits_of_base_and_adapters_in_one_batch, gradients_are_those_of_the_cpu, adamw_is_that_of_the_cpu, a_graph_repeats_its_work;
        operations: norm_with_residual_and_its_gradient, gate_and_its_gradient, a_product_with_the_gate_in_it, products_both_ways, attention_over_whole_sequences_and_its_gradient, the_product_with_queries_keys_and_values_in_attention, chunks_of_a_prompt_and_single_rows_continue_it, losses_and_their_gradients, tokens_are_chosen_as_on_the_cpu, rows_are_gathered_and_added_back, products_of_answers_do_not_depend_on_other_rows, products_of_few_rows, draws_are_those_of_the_host;
        real_model: greedy_answers_of_smollm2, greedy_answers_of_smollm2_in_bfloat16, greedy_answers_as_stored_and_widened, fifty_steps_on_smollm2, gradients_of_smollm2;
        training: loss_falls_as_on_the_cpu_and_bits_repeat,
            full_memory_is_answered_with_a_smaller_plan_and_the_same_bits,
            half_precision_computes_again_what_was_too_large_for_it;
    };
    libtest_mimic::run(&Arguments::from_args(), trials).exit_code()
}

/// A test, ignored where this machine lacks what it needs.
fn trial(module: &str, name: &str, test: fn()) -> Trial {
    let reason = match module {
        _ if !Cuda::driver_is_there() => Some("no NVIDIA driver"),
        "real_model" if real_model::path().is_none() => Some("QEVAL_REAL_MODEL names no model"),
        _ => None,
    };
    let trial = Trial::test(format!("{module}::{name}"), move || {
        test();
        Ok(())
    });
    match reason {
        None => trial,
        Some(reason) => trial.with_kind(reason).with_ignored_flag(true),
    }
}
