//! The targets, and how a fuzzer runs one.

use std::sync::{Mutex, OnceLock, PoisonError};

mod targets;

pub use targets::*;

/// Runs a target under a fuzzer. A panic of a library that qeval turns into a message is no finding,
/// so libFuzzer's hook, which ends the process at any panic, makes room for one that only keeps what
/// was said; a panic that leaves the target is printed and goes on to libFuzzer.
pub fn run(target: Target, data: &[u8]) {
    static SAID: Mutex<String> = Mutex::new(String::new());
    static HOOK: OnceLock<()> = OnceLock::new();
    HOOK.get_or_init(|| {
        std::panic::set_hook(Box::new(|panic| {
            *SAID.lock().unwrap_or_else(PoisonError::into_inner) = panic.to_string();
        }));
    });
    if let Err(panic) = std::panic::catch_unwind(|| target(data)) {
        eprintln!("{}", SAID.lock().unwrap_or_else(PoisonError::into_inner));
        std::panic::resume_unwind(panic);
    }
}
