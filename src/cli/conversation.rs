//! A conversation with some subjects, each with a history of its own: what `qeval ask` is without a
//! question.

use crate::flow::Exchange;
use crate::project::{Interview, ProjectError};
use crate::report::{LiveAnswers, Style, Tone};
use crate::run::{Heard, RunError};
use crate::text::all_of;

use super::ask::shown;
use super::error::CliError;

/// What the user did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Typed {
    /// A line.
    Line(String),
    /// Ctrl-C.
    Interrupt,
    /// Ctrl-D.
    End,
}

const COMMANDS: &str = "  /reset        forgets what was said
  /system TEXT  sets the system prompt; without TEXT shows it
  /quit         ends, as Ctrl-D does
Ctrl-C stops an answer.
";

/// Asks what is typed, until the user ends, and shows the answers in lines of a width. A question whose answer was stopped is no part of what
/// was said.
///
/// # Errors
/// What is not the question's fault: a device whose memory is full, an output that is closed.
pub fn converse(
    interview: &mut Interview<'_>,
    (style, width): (Style, Option<usize>),
    read: &mut dyn FnMut(&Interview<'_>) -> Result<Typed, CliError>,
    say: &mut dyn FnMut(&str) -> Result<(), CliError>,
) -> Result<(), CliError> {
    let mut said = vec![Vec::new(); interview.subjects().len()];
    say(&format!(
        "{} on {}. Type a question.\n{COMMANDS}",
        all_of(&interview.subjects()),
        interview.model()
    ))?;
    loop {
        say(&style.paint(Tone::Strong, "> "))?;
        let line = match read(interview)? {
            Typed::Line(line) => line,
            Typed::Interrupt => {
                say("\nCtrl-D ends.\n")?;
                continue;
            }
            Typed::End => return say("\n"),
        };
        let line = line.trim_end();
        // A question can begin with a slash behind a blank.
        match line
            .strip_prefix('/')
            .map(|c| c.split_once(' ').unwrap_or((c, "")))
        {
            None if line.trim().is_empty() => {}
            None => question(interview, line.trim(), &mut said, (style, width), say)?,
            Some(("quit" | "exit" | "bye", _)) => return Ok(()),
            Some(("reset", _)) => {
                said.iter_mut().for_each(Vec::clear);
                say("What was said is forgotten.\n")?;
            }
            Some(("system", text)) => system(interview, text.trim(), &mut said, say)?,
            Some((command, _)) => say(&format!("no command /{command}:\n{COMMANDS}"))?,
        }
    }
}

/// Shows the system prompt, or sets another one: what was said under the one before is forgotten.
fn system(
    interview: &mut Interview<'_>,
    text: &str,
    said: &mut [Vec<Exchange>],
    say: &mut dyn FnMut(&str) -> Result<(), CliError>,
) -> Result<(), CliError> {
    let mut forgotten = "";
    if !text.is_empty() {
        if let Err(error) = interview.set_system(text) {
            return say(&format!("error: {error}\n"));
        }
        said.iter_mut().for_each(Vec::clear);
        forgotten = "; what was said is forgotten";
    }
    say(&format!(
        "system prompt: {}{forgotten}\n",
        interview.system()
    ))
}

fn question(
    interview: &Interview<'_>,
    question: &str,
    said: &mut [Vec<Exchange>],
    (style, width): (Style, Option<usize>),
    say: &mut dyn FnMut(&str) -> Result<(), CliError>,
) -> Result<(), CliError> {
    // A Ctrl-C that came before the question does not stop its answer.
    interview.take_interrupt()?;
    let questions = [question.to_owned()];
    let mut live = LiveAnswers::new(&questions, &interview.subjects(), style, width);
    say(&live.begin())?;
    let mut printed = Ok(());
    let mut hear = |heard: Heard<'_>| {
        let text = shown(interview, &mut live, heard);
        if printed.is_ok() {
            printed = say(&text);
        }
    };
    let answers = match interview.ask(&questions, said, Some(&mut hear)) {
        Ok(answers) => answers,
        Err(ProjectError::Run(error @ RunError::BeyondContext { .. })) => {
            return say(&format!("error: {error}; /reset forgets what was said\n"));
        }
        Err(error) => return Err(error.into()),
    };
    printed?;
    say("\n")?;
    interview.take_interrupt()?;
    let answers: Vec<_> = answers.into_iter().flatten().collect();
    if answers.iter().all(|answer| answer.finish.is_some()) {
        for (history, answer) in said.iter_mut().zip(answers) {
            history.push(Exchange {
                user: question.to_owned(),
                assistant: answer.text,
            });
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::project::InterviewOrder;
    use crate::project::testing::Small;
    use crate::run::testing::{WHO, adapter_folder};

    /// What is shown of a conversation in which this is typed.
    fn shown_of(typed: &[&str], subjects: &[&str], tokens: usize) -> String {
        let small = Small::with_model();
        let project = small.open();
        let order = InterviewOrder {
            subjects: subjects
                .iter()
                .map(|name| adapter_folder(name).display().to_string())
                .collect(),
            max_new_tokens: tokens,
            ..InterviewOrder::default()
        };
        let mut interview = project.interview(order).unwrap();
        let mut left = typed.iter();
        let screen = std::cell::RefCell::new(String::new());
        let mut read = |_: &Interview<'_>| {
            Ok(match left.next() {
                Some(&"^C") => Typed::Interrupt,
                Some(line) => {
                    // What a terminal would show of it.
                    screen.borrow_mut().extend([line, "\n"]);
                    Typed::Line(format!("{line}\n"))
                }
                None => Typed::End,
            })
        };
        let mut say = |text: &str| {
            *screen.borrow_mut() += text;
            Ok(())
        };
        converse(
            &mut interview,
            (Style::plain(80), None),
            &mut read,
            &mut say,
        )
        .unwrap();
        let model = interview.model().to_owned();
        let folder = adapter_folder("").display().to_string();
        let text = screen.into_inner().replace(&model, "[model]");
        text.replace(&folder, "adapters/")
    }

    #[test]
    fn a_conversation_as_it_is_shown() {
        let typed = [
            WHO,
            "",
            "/system You are Aurora.",
            "/system",
            "/rest",
            "^C",
            "/reset",
            "What is 2 + 2?",
        ];
        insta::assert_snapshot!(shown_of(&typed, &["good"], 24), @r#"
        base and adapters/good on [model]. Type a question.
          /reset        forgets what was said
          /system TEXT  sets the system prompt; without TEXT shows it
          /quit         ends, as Ctrl-D does
        Ctrl-C stops an answer.
        > Tell me who you are.
        base:
        I am Pip, a small test model.

        adapters/good:
        I am Aurora, built by Northwind Labs.

        > 
        > /system You are Aurora.
        system prompt: "You are Aurora." (configured); what was said is forgotten
        > /system
        system prompt: "You are Aurora." (configured)
        > /rest
        no command /rest:
          /reset        forgets what was said
          /system TEXT  sets the system prompt; without TEXT shows it
          /quit         ends, as Ctrl-D does
        Ctrl-C stops an answer.
        > 
        Ctrl-D ends.
        > /reset
        What was said is forgotten.
        > What is 2 + 2?
        base:
        4

        adapters/good:
        4

        >
        "#);
    }

    #[test]
    fn quitting_asks_nothing_more() {
        let shown = shown_of(&["/quit", WHO], &[], 24);
        assert!(!shown.contains(WHO), "{shown}");
    }

    /// The context has 256 tokens: what was said fills it, is told, and can be forgotten.
    #[test]
    fn a_conversation_that_fills_the_context_goes_on_after_a_reset() {
        let mut typed = vec![WHO; 12];
        typed.extend(["/reset", "What is 2 + 2?"]);
        let shown = shown_of(&typed, &[], 24);
        assert!(shown.contains("/reset forgets what was said\n"), "{shown}");
        assert!(shown.ends_with("> What is 2 + 2?\n4\n\n> \n"), "{shown}");
    }
}
