//! The `qeval` program.

/// The commit that was built: here, so that a commit builds this file again and not the library.
/// Empty where the source is no git checkout.
const COMMIT: &str = git_version::git_version!(
    args = ["--always", "--exclude=*", "--abbrev=9"],
    fallback = ""
);

fn main() -> std::process::ExitCode {
    qeval::cli::main(COMMIT)
}
