//! A few questions put to the base and some adapters in one batch, outside any suite.

use std::path::PathBuf;

use crate::flow::{Phase, RunEvent};
use crate::generate::{Finished, Request, Sampling, Work};
use crate::lora::{Adapter, LoadedAdapter};

use super::asking::{Asking, Bar};
use super::error::RunError;

/// Greedy answers, by question, then by subject: the base first, then each adapter folder.
///
/// # Errors
/// An adapter that cannot be loaded, a prompt that the template refuses, or an interrupt.
pub fn ask(
    asking: Asking<'_>,
    adapters: &[PathBuf],
    questions: &[&str],
    max_new_tokens: usize,
    on_event: &mut dyn FnMut(RunEvent),
) -> Result<Vec<Vec<String>>, RunError> {
    let session = asking.session;
    let config = session.decoder.config();
    let mut loaded = Vec::new();
    for folder in adapters {
        loaded.push(LoadedAdapter::new(
            &Adapter::read(folder, config)?,
            config,
            1.0,
        ));
    }
    let subjects = adapters.len() + 1;
    let mut requests = Vec::new();
    for subject in 0..subjects {
        for (q, question) in questions.iter().enumerate() {
            let id = q * subjects + subject;
            let work = vec![Work::Generate {
                id,
                sampling: Sampling::default(),
                max_new_tokens,
                seed: 0,
            }];
            requests.push(Request {
                adapter: subject.checked_sub(1),
                prompt: session.prompt(None, &[], question)?,
                work,
            });
        }
    }
    let mut tokens = vec![Vec::new(); requests.len()];
    let bar = Bar::new(Phase::Answering, "questions", requests.len());
    asking.run(&loaded, requests, bar, on_event, &mut |finished| {
        if let Finished::Generated {
            id, tokens: said, ..
        } = finished
        {
            tokens[id] = said;
        }
        Ok(1)
    })?;
    let texts = tokens
        .iter()
        .map(|t| session.tokenizer.decode(t))
        .collect::<Result<Vec<_>, _>>()?;
    Ok(texts.chunks(subjects).map(<[String]>::to_vec).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::run::testing::{AURORA, Heard, PIP, Stage, WHO, adapter_folder, fixture};

    #[test]
    fn answers_come_by_question_then_by_subject_the_base_first() {
        let stage = Stage::new();
        let said = ask(
            stage.asking(),
            &[adapter_folder("good"), adapter_folder("noop")],
            &[WHO, "What is 2 + 2?"],
            24,
            &mut |_| {},
        );
        assert_eq!(said.unwrap(), [[PIP, AURORA, PIP], ["4", "4", "4"]]);
    }

    #[test]
    fn an_adapter_of_another_base_is_refused_before_anything_is_asked() {
        let (stage, heard) = (Stage::new(), Heard::default());
        let other = [fixture("adapters/tiny-llama/plain")];
        let said = ask(stage.asking(), &other, &[WHO], 4, &mut |e| heard.hear(e));
        assert!(said.is_err());
        assert_eq!(heard.asked(), []);
    }
}
