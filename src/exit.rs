//! How a command ended, and the exit code that says so.
//!
//! Only this file knows exit codes. Scripts and CI rely on them, so a code never changes its
//! meaning: a mistyped flag must not read as "inconclusive" (clap's own usage error is 2) and a
//! panic must not read as anything but "could not measure" (Rust's own code is 101).

use std::backtrace::{Backtrace, BacktraceStatus};
use std::cell::Cell;
use std::io::Write;
use std::process::ExitCode;

/// How a command ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// Everything asked for was done, and every verdict passes. Exit code 0.
    Pass,
    /// A loss is proven, too little was learned, or nothing may ship. Exit code 1.
    Regression,
    /// Neither a pass nor a regression is proven. Exit code 2.
    Inconclusive,
    /// Usage error, bad input, missing model, or a crash of a part. Exit code 3.
    CouldNotMeasure,
}

/// The exit codes as `--help` shows them.
pub const EXIT_CODES: &str = "\
Exit codes:
  0  pass
  1  regression, too little learned, or nothing may ship
  2  inconclusive: neither is proven, and the report says what would do
  3  could not measure: usage error, bad input, missing model, or a crash";

impl Outcome {
    /// The process exit code.
    pub const fn code(self) -> u8 {
        match self {
            Outcome::Pass => 0,
            Outcome::Regression => 1,
            Outcome::Inconclusive => 2,
            Outcome::CouldNotMeasure => 3,
        }
    }
}

impl From<Outcome> for ExitCode {
    fn from(outcome: Outcome) -> Self {
        ExitCode::from(outcome.code())
    }
}

/// From now on a panic on any thread ends the process with exit code 3 and a short text, so that
/// a bug is never taken for a verdict. `RUST_BACKTRACE=1` adds the backtrace.
///
/// A reader that closes its end of a pipe (`qeval diff ... | head`) ends the process with the
/// same code, but without a text: nothing is wrong with qeval then.
pub fn install_panic_hook() {
    std::panic::set_hook(Box::new(|info| {
        if FOREIGN.get() {
            return;
        }
        let message = info.payload_as_str().unwrap_or("no message");
        if !is_closed_pipe(message) {
            let place = info.location().map(ToString::to_string);
            let backtrace = Backtrace::capture();
            let mut text = panic_text(message, place.as_deref());
            if backtrace.status() == BacktraceStatus::Captured {
                text = format!("{text}\n{backtrace}");
            }
            // Nothing can be done where even stderr is closed.
            let _ = writeln!(std::io::stderr(), "{text}");
        }
        std::process::exit(i32::from(Outcome::CouldNotMeasure.code()));
    }));
}

thread_local! {
    /// Whether this thread runs what [`caught`] was given.
    static FOREIGN: Cell<bool> = const { Cell::new(false) };
}

/// Runs a dependency on what a file holds. Where it panics, the file is damaged in a way that the
/// dependency does not check: that is the caller's to tell, with the file's name, and no bug of
/// qeval.
///
/// # Errors
/// What the panic says.
pub fn caught<T>(work: impl FnOnce() -> T) -> Result<T, String> {
    let before = FOREIGN.replace(true);
    let done = std::panic::catch_unwind(std::panic::AssertUnwindSafe(work));
    FOREIGN.set(before);
    done.map_err(|payload| {
        let text = payload.downcast_ref::<&str>().map(ToString::to_string);
        let text = text.or_else(|| payload.downcast_ref::<String>().cloned());
        text.unwrap_or_else(|| "no message".to_owned())
    })
}

/// Whether a panic is the standard library's answer to printing into a closed pipe.
fn is_closed_pipe(message: &str) -> bool {
    message.starts_with("failed printing to std") && message.contains("Broken pipe")
}

fn panic_text(message: &str, place: Option<&str>) -> String {
    let place = place.unwrap_or("an unknown place");
    format!(
        "error: internal error at {place}: {message}\n  \
         This is a bug in qeval, not a verdict. Finished answers and checkpoints are kept: the \
         same command goes on from them. RUST_BACKTRACE=1 shows where it came from."
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_the_documented_ones() {
        let all = [
            Outcome::Pass,
            Outcome::Regression,
            Outcome::Inconclusive,
            Outcome::CouldNotMeasure,
        ];
        for (outcome, code) in all.into_iter().zip(0u8..) {
            assert_eq!(outcome.code(), code);
            assert_eq!(ExitCode::from(outcome), ExitCode::from(code));
            assert!(
                EXIT_CODES.contains(&format!("\n  {code}  ")),
                "{code} is not in the help"
            );
        }
    }

    #[test]
    fn closed_pipe_is_no_bug() {
        assert!(is_closed_pipe(
            "failed printing to stdout: Broken pipe (os error 32)"
        ));
        assert!(!is_closed_pipe(
            "failed printing to stdout: No space left on device"
        ));
        assert!(!is_closed_pipe("index out of bounds"));
    }

    #[test]
    fn a_panic_over_a_file_is_its_callers_to_tell() {
        assert_eq!(caught(|| 3), Ok(3));
        let empty: Vec<u8> = Vec::new();
        let said = caught(|| empty[0]).unwrap_err();
        assert!(said.starts_with("index out of bounds"), "{said}");
        assert!(!FOREIGN.get());
    }

    #[test]
    fn panic_text_names_place_and_way_out() {
        insta::assert_snapshot!(panic_text("index out of bounds", Some("src/gate/decide.rs:3:7")), @"
        error: internal error at src/gate/decide.rs:3:7: index out of bounds
          This is a bug in qeval, not a verdict. Finished answers and checkpoints are kept: the same command goes on from them. RUST_BACKTRACE=1 shows where it came from.
        ");
    }
}
