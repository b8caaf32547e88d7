//! Writing a finished report to standard output.

use std::io::{self, Write};

/// Writes the text and flushes it.
///
/// # Errors
/// What standard output says, except a closed pipe: a reader that has seen enough (`| head`) is no
/// failure.
pub fn print(text: &str) -> io::Result<()> {
    let mut out = io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        written => written,
    }
}
