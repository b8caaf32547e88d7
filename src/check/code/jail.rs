//! Runs one program in CPython, for what the embedded interpreter lacks.
//!
//! Python reaches whatever its process reaches. So this worker first gives up all that a function
//! has no need of, and then becomes Python, which starts with `harness.py`:
//!
//! | what is kept from a program | by |
//! |---|---|
//! | files, but for reading Python's own and the system's libraries | Landlock |
//! | network, new and other processes, what Landlock leaves of files | seccomp, see `calls.rs` |
//! | what root may do | no capabilities, no new privileges |
//! | more memory, processor time, or open files than its share | resource limits |
//! | more wall time and output than its share | who started the worker |
//! | a life beyond that of who started it | the signal of its parent's end, limits of time |
//! | the environment, standard streams, and whatever else was open | nothing is handed on |
//! | the values that it has to return | compared elsewhere, see [`super::reply`] |
//!
//! Nothing runs where the system lacks Landlock or seccomp: a program is refused there, which
//! leaves it as unsupported as it was. What a program may still learn is which files exist, and
//! what the machine is.
//!
//! Protocol: as for [`super::worker`], but the lines are those that [`super::reply`] reads.

#[cfg(all(
    target_os = "linux",
    any(target_arch = "x86_64", target_arch = "aarch64")
))]
mod confine;

#[cfg(all(
    target_os = "linux",
    any(target_arch = "x86_64", target_arch = "aarch64")
))]
pub(super) use confine::run;

/// The value of [`super::WORKER_VARIABLE`] for this worker.
pub const WORKER_PYTHON: &str = "python";
/// The environment variable that names the Python to run.
pub const PYTHON_VARIABLE: &str = "QEVAL_WORKER_PYTHON";

/// Says why the program was not run.
#[cfg(not(all(
    target_os = "linux",
    any(target_arch = "x86_64", target_arch = "aarch64")
)))]
pub(super) fn run(_program: &crate::check::evidence::Program) -> String {
    "refused: only Linux on x86-64 or ARM64 can lock it down".to_owned()
}
