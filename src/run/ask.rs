//! A few questions put to the base and some adapters in one batch, outside any suite.

use std::path::PathBuf;

use crate::flow::RunEvent;
use crate::lora::{Adapter, LoadedAdapter};

use super::answer::{AnswerSettings, Put, answer};
use super::asking::Asking;
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
    let config = asking.session.decoder.config();
    let mut loaded = Vec::new();
    for folder in adapters {
        loaded.push(LoadedAdapter::new(
            &Adapter::read(folder, config)?,
            config,
            1.0,
        ));
    }
    let subjects = adapters.len() + 1;
    let puts: Vec<Put<'_>> = questions
        .iter()
        .flat_map(|question| {
            (0..subjects).map(|subject| Put {
                adapter: subject.checked_sub(1),
                history: &[],
                question,
            })
        })
        .collect();
    let settings = AnswerSettings::greedy(max_new_tokens);
    let said = answer(asking, &loaded, &puts, &settings, on_event, None)?;
    if said.iter().any(|said| said.finish.is_none()) {
        return Err(RunError::Interrupted);
    }
    let texts: Vec<String> = said.into_iter().map(|said| said.text).collect();
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
