//! A few questions put to the base and some adapters in one batch, outside any suite.

use std::ops::ControlFlow;
use std::path::PathBuf;

use crate::flow::{Phase, RunEvent};
use crate::generate::{Engine, Finished, Request, Sampling, Work};
use crate::lora::{Adapter, LoadedAdapter};

use super::error::RunError;
use super::session::Session;

/// Greedy answers, by question, then by subject: the base first, then each adapter folder.
///
/// # Errors
/// An adapter that cannot be loaded, or a prompt that the template refuses.
pub fn ask(
    session: &Session,
    adapters: &[PathBuf],
    questions: &[&str],
    max_new_tokens: usize,
    slots: usize,
    on_event: &mut dyn FnMut(RunEvent),
) -> Result<Vec<Vec<String>>, RunError> {
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
    let phase = Phase::Answering;
    on_event(RunEvent::Begin {
        phase,
        total: requests.len() as u64,
        done: 0,
        label: "questions".into(),
    });
    let options = session.engine_options(slots);
    let mut tokens = vec![Vec::new(); requests.len()];
    Engine::new(&session.decoder, &loaded, options).run(
        requests,
        &mut |finished| {
            if let Finished::Generated {
                id, tokens: said, ..
            } = finished
            {
                tokens[id] = said;
            }
            on_event(RunEvent::Progress {
                phase,
                more: 1,
                tokens: 0,
                note: None,
            });
            ControlFlow::Continue(())
        },
        &mut |_| ControlFlow::Continue(()),
    )?;
    on_event(RunEvent::End { phase });
    let texts = tokens
        .iter()
        .map(|t| session.tokenizer.decode(t))
        .collect::<Result<Vec<_>, _>>()?;
    Ok(texts.chunks(subjects).map(<[String]>::to_vec).collect())
}
