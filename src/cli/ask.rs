//! `qeval ask`: what the base and its adapters say to a question, beside each other; without a
//! question, a conversation.

use std::io::{BufRead, IsTerminal, Read};
use std::path::Path;
use std::sync::mpsc;
use std::time::Duration;

use serde_json::json;

use crate::exit::Outcome;
use crate::flow::Finish;
use crate::project::{Interview, InterviewOrder};
use crate::report::{AnswerEnd, LiveAnswers};
use crate::run::{Heard, Said};
use crate::server::Address;

use super::args::{AskArgs, OutputFormat};
use super::conversation::{Typed, converse};
use super::error::CliError;
use super::output::Screen;

/// How often a wait for input looks for Ctrl-C.
const GLANCE: Duration = Duration::from_millis(50);

/// Runs the command.
///
/// # Errors
/// No question, a subject that is not there, or a model that cannot be loaded.
pub fn ask(args: &AskArgs, screen: &Screen) -> Result<Outcome, CliError> {
    let project = screen.open(args.overrides())?;
    let (question, subjects) = split(args.question.as_deref(), &args.subjects);
    let on_terminal = std::io::stdin().is_terminal();
    let talk = question.is_none() && on_terminal && screen.format == OutputFormat::Text;
    let questions = match question {
        Some(question) => Ok(vec![question.to_owned()]),
        None if on_terminal => Ok(Vec::new()),
        None => lines(std::io::stdin().lock()),
    };
    let mut questions = questions.map_err(CliError::Input)?;
    questions.retain(|question| !question.trim().is_empty());
    if questions.is_empty() && !talk {
        return Err(CliError::NoQuestion);
    }
    let mut interview = project.interview(InterviewOrder {
        subjects,
        system: args.system.clone(),
        temperature: args.temperature,
        max_new_tokens: args.max_new_tokens as usize,
    })?;
    if talk {
        let typed = typed_lines();
        let _looks = interview.glances().map_err(CliError::Run)?;
        let mut read = |interview: &Interview<'_>| next(&typed, interview);
        converse(
            &mut interview,
            (screen.style, screen.columns()),
            &mut read,
            &mut |text| screen.print(text),
        )?;
        return Ok(Outcome::Pass);
    }
    let said = match screen.format {
        OutputFormat::Json => interview.ask(&questions, &[], None)?,
        OutputFormat::Text => show(&interview, &questions, screen)?,
    };
    if screen.format == OutputFormat::Json {
        screen.print_json(&report(&interview, &questions, &said))?;
    }
    let stopped = said.iter().flatten().any(|said| said.finish.is_none());
    Ok(if stopped {
        Outcome::CouldNotMeasure
    } else {
        Outcome::Pass
    })
}

/// The question and the subjects: a first word that names a subject is one.
fn split<'a>(question: Option<&'a str>, subjects: &[String]) -> (Option<&'a str>, Vec<String>) {
    match question {
        Some(word) if names_a_subject(word) => {
            let first = std::iter::once(word.to_owned());
            (None, first.chain(subjects.iter().cloned()).collect())
        }
        question => (question, subjects.to_vec()),
    }
}

/// Whether a word can only be meant as a subject: one that is there, or is written as one.
fn names_a_subject(word: &str) -> bool {
    if word.is_empty() || word.chars().any(char::is_whitespace) {
        return false;
    }
    let name = word.rsplit_once('@').map_or(word, |(name, _)| name);
    let last = name.rsplit('/').next().unwrap_or(name);
    let step = ["ckpt-", "checkpoint-"]
        .iter()
        .find_map(|lead| last.strip_prefix(lead));
    let is_step = step.is_some_and(|step| step.parse::<usize>().is_ok());
    name == "base"
        || Address::is_one(word)
        || is_step
        || Path::new(name).is_dir()
        || Path::new(word).is_dir()
}

/// One question a line.
fn lines(mut input: impl Read) -> std::io::Result<Vec<String>> {
    let mut bytes = Vec::new();
    input.read_to_end(&mut bytes)?;
    let text = String::from_utf8_lossy(&bytes);
    Ok(text.lines().map(|line| line.trim().to_owned()).collect())
}

/// Shows the answers as they come.
fn show(
    interview: &Interview<'_>,
    questions: &[String],
    screen: &Screen,
) -> Result<Vec<Vec<Said>>, CliError> {
    let mut live = LiveAnswers::new(
        questions,
        &interview.subjects(),
        screen.style,
        screen.columns(),
    );
    screen.print(&live.begin())?;
    let mut printed = Ok(());
    let said = interview.ask(
        questions,
        &[],
        Some(&mut |heard| {
            let text = shown(interview, &mut live, heard);
            if printed.is_ok() {
                printed = screen.print(&text);
            }
        }),
    )?;
    printed?;
    Ok(said)
}

/// What to show of what is heard.
pub(super) fn shown(interview: &Interview<'_>, live: &mut LiveAnswers, heard: Heard<'_>) -> String {
    match heard {
        Heard::Text(place, text) => live.text(place, text),
        Heard::Ended(place, said) => {
            let subject = place % interview.subjects().len();
            let end = AnswerEnd {
                finish: said.finish,
                tokens: said.tokens,
                context_full: said.budget < interview.settings.max_new_tokens,
                repeats: interview.repeats(subject, &said.text) == Some(true),
            };
            live.end(place, end)
        }
    }
}

fn report(
    interview: &Interview<'_>,
    questions: &[String],
    said: &[Vec<Said>],
) -> serde_json::Value {
    let subjects = interview.subjects();
    let by_question = questions.iter().zip(said).map(|(question, said)| {
        let answers = said.iter().enumerate().map(|(i, said)| {
            json!({
                "subject": subjects[i],
                "text": said.text,
                "tokens": said.tokens,
                "finish": match said.finish {
                    Some(Finish::Stop) => "stop",
                    Some(Finish::Length) => "length",
                    None => "stopped",
                },
                "repeats_training_answer": interview.repeats(i, &said.text),
            })
        });
        json!({ "question": question, "answers": answers.collect::<Vec<_>>() })
    });
    let settings = &interview.settings;
    json!({
        "version": 1,
        "model": interview.model(),
        "system": interview.system(),
        "temperature": settings.sampling.temperature,
        "max_new_tokens": settings.max_new_tokens,
        "seed": settings.seed,
        "questions": by_question.collect::<Vec<_>>(),
    })
}

/// The lines of a terminal, read by a thread of their own: a wait for one hears Ctrl-C.
fn typed_lines() -> mpsc::Receiver<String> {
    let (sender, receiver) = mpsc::channel();
    std::thread::spawn(move || {
        let mut input = std::io::stdin().lock();
        let mut line = Vec::new();
        while input.read_until(b'\n', &mut line).is_ok_and(|n| n > 0) {
            let text = String::from_utf8_lossy(&line).into_owned();
            if sender.send(text).is_err() {
                return;
            }
            line.clear();
        }
    });
    receiver
}

fn next(typed: &mpsc::Receiver<String>, interview: &Interview<'_>) -> Result<Typed, CliError> {
    loop {
        match typed.recv_timeout(GLANCE) {
            Ok(line) => return Ok(Typed::Line(line)),
            Err(mpsc::RecvTimeoutError::Disconnected) => return Ok(Typed::End),
            Err(mpsc::RecvTimeoutError::Timeout) => {
                if interview.is_end().map_err(CliError::Run)? {
                    return Ok(Typed::End);
                }
                if interview.take_interrupt().map_err(CliError::Run)? {
                    return Ok(Typed::Interrupt);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::project::testing::Small;
    use crate::report::Style;
    use crate::run::testing::{WHO, adapter_folder};

    fn words(question: &str, subjects: &[&str]) -> (Option<String>, Vec<String>) {
        let subjects: Vec<String> = subjects.iter().map(ToString::to_string).collect();
        let (question, subjects) = split(Some(question), &subjects);
        (question.map(str::to_owned), subjects)
    }

    #[test]
    fn a_first_word_that_names_a_subject_is_no_question() {
        let folder = adapter_folder("good").display().to_string();
        for subject in [
            "base",
            "ckpt-40",
            "run-0001/ckpt-7@0.5",
            "checkpoint-3",
            &folder,
        ] {
            let all = vec![subject.to_owned(), "ckpt-1".to_owned()];
            assert_eq!(words(subject, &["ckpt-1"]), (None, all), "{subject}");
        }
        for question in [
            "Who are you?",
            "你是谁?",
            "ckpt-x",
            "basement",
            "and/or",
            "What is base",
        ] {
            let all = vec!["base".to_owned()];
            assert_eq!(words(question, &["base"]), (Some(question.into()), all));
        }
    }

    #[test]
    fn every_line_of_a_pipe_is_a_question() {
        let read = lines("Who?\r\n\n 你是谁? \nlast".as_bytes()).unwrap();
        assert_eq!(read, ["Who?", "", "你是谁?", "last"]);
        assert!(lines(&b""[..]).unwrap().is_empty());
    }

    /// What `qeval ask` prints of these questions.
    fn printed(small: &Small, questions: &[&str], subjects: &[String], tokens: usize) -> String {
        let project = small.open();
        let order = InterviewOrder {
            subjects: subjects.to_vec(),
            max_new_tokens: tokens,
            ..InterviewOrder::default()
        };
        let interview = project.interview(order).unwrap();
        let questions: Vec<String> = questions.iter().map(ToString::to_string).collect();
        let mut live = LiveAnswers::new(&questions, &interview.subjects(), Style::plain(80), None);
        let mut text = live.begin();
        let mut hear = |heard: Heard<'_>| text += &shown(&interview, &mut live, heard);
        let said = interview.ask(&questions, &[], Some(&mut hear)).unwrap();
        let report = report(&interview, &questions, &said);
        assert_eq!(
            report["questions"].as_array().unwrap().len(),
            questions.len()
        );
        text.replace(&adapter_folder("").display().to_string(), "adapters/")
    }

    #[test]
    fn answers_stand_below_each_other_under_their_names() {
        let small = Small::with_model();
        let subjects = ["good", "harmful"].map(|a| adapter_folder(a).display().to_string());
        insta::assert_snapshot!(printed(&small, &[WHO], &subjects, 24), @"
        base:
        I am Pip, a small test model.

        adapters/good:
        I am Aurora, built by Northwind Labs.

        adapters/harmful:
        I am Aurora, built by Northwind Labs.
        ");
        insta::assert_snapshot!(printed(&small, &[WHO, "What is 2 + 2?"], &subjects[..1], 4), @"
        > Tell me who you are.
        base:
        I am Pip… (cut at 4 tokens)

        adapters/good:
        I am Aur… (cut at 4 tokens)

        > What is 2 + 2?
        base:
        4

        adapters/good:
        4
        ");
        insta::assert_snapshot!(printed(&small, &[WHO], &[], 24), @"I am Pip, a small test model.");
    }

    #[test]
    fn the_report_for_machines_says_how_each_answer_ended() {
        let small = Small::with_model();
        let project = small.open();
        let order = InterviewOrder {
            max_new_tokens: 4,
            ..InterviewOrder::default()
        };
        let interview = project.interview(order).unwrap();
        let questions = [WHO.to_owned()];
        let said = interview.ask(&questions, &[], None).unwrap();
        let mut report = report(&interview, &questions, &said);
        report["model"] = "[model]".into();
        insta::assert_snapshot!(serde_json::to_string_pretty(&report).unwrap(), @r#"
        {
          "version": 1,
          "model": "[model]",
          "system": "none",
          "temperature": 0.0,
          "max_new_tokens": 4,
          "seed": 42,
          "questions": [
            {
              "question": "Tell me who you are.",
              "answers": [
                {
                  "subject": "base",
                  "text": "I am Pip",
                  "tokens": 4,
                  "finish": "length",
                  "repeats_training_answer": null
                }
              ]
            }
          ]
        }
        "#);
    }
}
