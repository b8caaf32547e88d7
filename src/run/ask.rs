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
