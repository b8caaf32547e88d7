//! The `qeval` program.

fn main() -> std::process::ExitCode {
    qeval::cli::main()
}
