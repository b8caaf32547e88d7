//! From the process's arguments to its exit code.

use std::io::Write;
use std::process::ExitCode;

use crate::check::run_worker_if_asked;
use crate::config::sample_toml;
use crate::exit::{Outcome, install_panic_hook};

use super::args::{Cli, Command};
use super::error::CliError;
use super::init::{InitFiles, init};
use super::parse::parse;
use super::{bench, demo, judge, snapshot, suite, train};

/// Runs the program. A process that was started to run an answer's code does only that.
pub fn main() -> ExitCode {
    if let Some(code) = run_worker_if_asked() {
        return code;
    }
    install_panic_hook();
    let cli = match parse() {
        Ok(cli) => cli,
        Err(early) => {
            say(early.outcome == Outcome::Pass, &early.text);
            return early.outcome.into();
        }
    };
    match run(&cli) {
        Ok(outcome) => outcome.into(),
        Err(error) => {
            say(false, &format!("error: {error}\n"));
            Outcome::CouldNotMeasure.into()
        }
    }
}

fn run(cli: &Cli) -> Result<Outcome, CliError> {
    match &cli.command {
        Command::Init(args) => {
            let suites: Vec<(&str, &str)> = crate::suite::builtin()
                .iter()
                .map(|(name, text)| (name.trim_end_matches(".toml"), *text))
                .collect();
            let files = InitFiles {
                config: &sample_toml(&["data/careful.jsonl"], "data/rehearsal_prompts.jsonl"),
                suites: &suites,
                data: demo::SAMPLE_DATA,
            };
            let written = init(&args.folder, files)?;
            let list: String = written.iter().map(|name| format!("  {name}\n")).collect();
            say(
                true,
                &format!(
                    "wrote to {}:\n{list}next: `qeval train` trains on the sample data; name yours in qeval.toml\n",
                    args.folder.display()
                ),
            );
            Ok(Outcome::Pass)
        }
        Command::Demo(args) => demo::demo(args, &cli.output),
        Command::Train(args) => train::train(args, &cli.output),
        Command::Run(args) => judge::run(args, &cli.output),
        Command::Diff(args) => judge::diff(args, &cli.output),
        Command::Gate(args) => judge::gate(args, &cli.output),
        Command::Suite(args) => suite::suite(args, &cli.output),
        Command::Snapshot(args) => snapshot::snapshot(args, &cli.output),
        Command::Bench(args) => bench::bench(args, &cli.output),
    }
}

/// Writes to standard output or error; a reader that has gone is no reason to fail.
fn say(to_stdout: bool, text: &str) {
    let _ = if to_stdout {
        std::io::stdout().lock().write_all(text.as_bytes())
    } else {
        std::io::stderr().lock().write_all(text.as_bytes())
    };
}
