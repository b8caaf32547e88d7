//! From the process's arguments to its exit code.

use std::io::Write;
use std::process::ExitCode;

use crate::check::run_worker_if_asked;
use crate::exit::{Outcome, install_panic_hook};
use crate::text::harmless;

use super::args::{Cli, Command};
use super::error::CliError;
use super::output::Screen;
use super::parse::parse;
use super::{
    adapter, ask, bench, bisect, compare, data, demo, diff, editor, export, gate, help, history,
    init, list, run, show, snapshot, suite, train, tune, watch, why,
};

/// Runs the program that was built of `commit`, empty where nobody knows. A process that was started
/// to run an answer's code does only that.
pub fn main(commit: &str) -> ExitCode {
    if let Some(code) = run_worker_if_asked() {
        return code;
    }
    install_panic_hook();
    let cli = match parse(commit) {
        Ok(cli) => cli,
        Err(early) => {
            say(early.outcome == Outcome::Pass, &early.text);
            return early.outcome.into();
        }
    };
    match dispatch(&cli) {
        Ok(outcome) => outcome.into(),
        Err(error) => {
            // It names files and what stands in them.
            say(false, &harmless(&format!("error: {error}\n")));
            Outcome::CouldNotMeasure.into()
        }
    }
}

fn dispatch(cli: &Cli) -> Result<Outcome, CliError> {
    let screen = Screen::new(&cli.output);
    match &cli.command {
        Command::Init(args) => init::init(args, &screen),
        Command::Demo(args) => demo::demo(args, &screen),
        Command::Train(args) => train::train(args, &screen),
        Command::Tune(args) => tune::tune(args, &screen),
        Command::Run(args) => run::run(args, &screen),
        Command::Show(args) => show::show(args, &screen),
        Command::List(args) => list::list(args, &screen),
        Command::Ask(args) => ask::ask(args, &screen),
        Command::Diff(args) => diff::diff(args, &screen),
        Command::Gate(args) => gate::gate(args, &screen),
        Command::Export(args) => export::export(args, &screen),
        Command::Compare(args) => compare::compare(args, &screen),
        Command::History(args) => history::history(args, &screen),
        Command::Bisect(args) => bisect::bisect(args, &screen),
        Command::Why(args) => why::why(args, &screen),
        Command::Watch(args) => watch::watch(args, &screen),
        Command::Data(args) => data::data(args, &screen),
        Command::Adapter(args) => adapter::adapter(args, &screen),
        Command::Suite(args) => suite::suite(args, &screen),
        Command::Snapshot(args) => snapshot::snapshot(args, &screen),
        Command::Help(args) => help::help(args, &screen),
        Command::Bench(args) => bench::bench(args, &screen),
        Command::Schema(args) => editor::schema(args, &screen),
        Command::Completions(args) => editor::completions(args, &screen),
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
