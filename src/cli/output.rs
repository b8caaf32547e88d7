//! Where a command's results go: text for people or JSON for machines on standard output, progress
//! and notices on standard error.

use std::io::IsTerminal;
use std::sync::Arc;

use serde::Serialize;

use crate::flow::RunEvent;
use crate::project::{Listener, Overrides, Project};
use crate::report::{Progress, Style, print};

use super::args::{OutputArgs, OutputFormat};
use super::error::CliError;

/// What every command shows its results on.
pub struct Screen {
    /// How tables are drawn.
    pub style: Style,
    /// For people or for machines.
    pub format: OutputFormat,
    progress: Arc<Progress>,
}

impl Screen {
    /// As the arguments say.
    pub fn new(output: &OutputArgs) -> Self {
        Screen {
            style: Style {
                color: output.color.on_stdout(),
                ..Style::for_stdout()
            },
            format: output.format,
            progress: Arc::new(Progress::new(
                output.quiet || output.format == OutputFormat::Json,
            )),
        }
    }

    /// Opens a project whose progress is shown here.
    ///
    /// # Errors
    /// As [`Project::open`].
    pub fn open(&self, overrides: Overrides) -> Result<Project, CliError> {
        Ok(Project::open(overrides, self.listener())?)
    }

    /// Columns of the terminal that text is printed to; `None` where lines are the reader's.
    pub fn columns(&self) -> Option<usize> {
        let terminal = std::io::stdout().is_terminal();
        terminal.then_some(self.style.width)
    }

    /// Shows progress and notices.
    pub fn listener(&self) -> Listener {
        let progress = self.progress.clone();
        Box::new(move |event| progress.hear(event))
    }

    /// Shows a sentence beside the progress bars.
    pub fn notice(&self, text: impl Into<String>) {
        self.progress.hear(&RunEvent::Notice(text.into()));
    }

    /// Prints to standard output.
    ///
    /// # Errors
    /// The output is closed or full.
    pub fn print(&self, text: &str) -> Result<(), CliError> {
        self.progress
            .suspend(|| print(text, self.style.color))
            .map_err(CliError::Print)
    }

    /// Prints for people only.
    ///
    /// # Errors
    /// As [`Screen::print`].
    pub fn print_text(&self, text: &str) -> Result<(), CliError> {
        match self.format {
            OutputFormat::Text => self.print(text),
            OutputFormat::Json => Ok(()),
        }
    }

    /// Prints a report for machines, indented, with a line end.
    ///
    /// # Errors
    /// As [`Screen::print`].
    pub fn print_json(&self, report: &impl Serialize) -> Result<(), CliError> {
        self.print(&(serde_json::to_string_pretty(report)? + "\n"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::args::Color;

    fn screen(format: OutputFormat, color: Color) -> Screen {
        Screen::new(&OutputArgs {
            format,
            color,
            quiet: true,
        })
    }

    #[test]
    fn colours_are_as_asked_whatever_the_terminal_is() {
        for (color, colored) in [(Color::Always, true), (Color::Never, false)] {
            let screen = screen(OutputFormat::Text, color);
            assert_eq!(screen.style.color, colored, "{color:?}");
        }
    }

    #[test]
    fn a_report_that_cannot_be_written_is_an_error() {
        struct Broken;
        impl Serialize for Broken {
            fn serialize<S: serde::Serializer>(&self, _: S) -> Result<S::Ok, S::Error> {
                Err(serde::ser::Error::custom("no such number"))
            }
        }
        let error = screen(OutputFormat::Json, Color::Never).print_json(&Broken);
        assert!(matches!(error, Err(CliError::Json(_))));
    }
}
