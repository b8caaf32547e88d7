//! `git` as a child process: what it prints, or what it says of why not.

use std::io;
use std::path::Path;
use std::process::{Command, Stdio};

use super::ends_with_this_thread;

/// Runs git in a folder. The inner error is what git said.
///
/// # Errors
/// It cannot be started.
pub fn git(folder: &Path, arguments: &[&str]) -> Result<Result<Vec<u8>, String>, io::Error> {
    let mut command = Command::new("git");
    command
        .arg("-C")
        .arg(folder)
        .args(arguments)
        // Paths are names and no patterns, objects are those of the commit, and nobody is asked.
        .env("GIT_LITERAL_PATHSPECS", "1")
        .env("GIT_NO_REPLACE_OBJECTS", "1")
        .env("GIT_OPTIONAL_LOCKS", "0")
        .env("GIT_TERMINAL_PROMPT", "0")
        .env("LC_ALL", "C")
        .stdin(Stdio::null());
    let output = ends_with_this_thread(&mut command).output()?;
    if output.status.success() {
        return Ok(Ok(output.stdout));
    }
    let said = String::from_utf8_lossy(&output.stderr);
    let said = said.trim().trim_start_matches("fatal: ");
    Ok(Err(match said.is_empty() {
        true => output.status.to_string(),
        false => said.to_owned(),
    }))
}
