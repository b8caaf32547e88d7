//! Processes that end with the one that started them, even where that one is killed and can end
//! nobody itself.
//!
//! Linux has a signal for it, which belongs to the thread that started the process: that thread has
//! to live as long as the process is wanted. Other systems have none; there a child ends by its own
//! limits.

use std::process::Command;

mod git;

pub use git::git;

/// A command whose process ends with the calling thread.
pub fn ends_with_this_thread(command: &mut Command) -> &mut Command {
    #[cfg(target_os = "linux")]
    {
        use std::os::unix::process::CommandExt;
        let parent = std::process::id();
        // SAFETY: what runs between fork and exec makes two system calls and takes no memory.
        unsafe {
            command.pre_exec(move || match end_with_parent(parent) {
                true => Ok(()),
                false => Err(std::io::ErrorKind::NotFound.into()),
            });
        }
    }
    command
}

/// From now on this process ends with the thread that started it. False: its parent is another one
/// than `parent` already.
#[cfg(target_os = "linux")]
pub fn end_with_parent(parent: u32) -> bool {
    // SAFETY: takes numbers; the signal ends the process wherever it is.
    unsafe { libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL) };
    // It is sent for a death that comes, not for one that came before the call.
    std::os::unix::process::parent_id() == parent
}

/// From now on this process ends with the thread that started it. False: its parent is another one
/// than `parent` already.
#[cfg(not(target_os = "linux"))]
pub fn end_with_parent(_parent: u32) -> bool {
    true
}

#[cfg(test)]
#[cfg(target_os = "linux")]
mod tests {
    use std::process::{Command, Stdio};
    use std::time::{Duration, Instant};

    use super::*;

    #[test]
    fn a_child_ends_with_the_thread_that_started_it() {
        let start = || {
            let mut command = Command::new("sleep");
            command.arg("60").stdin(Stdio::null());
            ends_with_this_thread(&mut command).spawn().unwrap()
        };
        let mut child = std::thread::spawn(start).join().unwrap();
        let started = Instant::now();
        let status = child.wait().unwrap();
        assert!(!status.success() && started.elapsed() < Duration::from_secs(30));
    }

    #[test]
    fn an_orphan_is_told() {
        assert!(!end_with_parent(1 + std::process::id()));
    }
}
