//! Rehearsal: prompts that the base itself answers, trained on so that its ways stay.
//!
//! The answers are the base's own greedy ones. What is learned of them stands with each prompt: at
//! each token the base's whole next-token distribution, in which there is nothing but to stay, or
//! the text, which pulls towards certainty as well, or both.
//!
//! A model that thinks answers without it here: what a template shows of an earlier answer, and what
//! rows teach, are answers.

use crate::chat::{Conversation, Message};
use crate::flow::{Finish, Phase, RunEvent};
use crate::generate::{Finished, Request, Sampling, Work};
use crate::train::{Example, Rehearsal, RehearsalPrompt};

use super::asking::{Asking, Bar};
use super::error::RunError;

/// Has the base answer every prompt, greedily, in at most `max_new_tokens`.
///
/// # Errors
/// A prompt that the template refuses or the context cannot hold, or an interrupt.
pub fn rehearse(
    asking: Asking<'_>,
    prompts: &[RehearsalPrompt],
    max_new_tokens: usize,
    on_event: &mut dyn FnMut(RunEvent),
) -> Result<Vec<Example>, RunError> {
    let session = asking.session;
    let mut requests = Vec::new();
    for (id, prompt) in prompts.iter().enumerate() {
        let work = vec![Work::Generate {
            id,
            sampling: Sampling::default(),
            max_new_tokens,
            seed: 0,
        }];
        requests.push(Request {
            adapter: None,
            prompt: session.prompt_past_thinking(None, &[], &prompt.text)?,
            work,
        });
    }
    let mut answers: Vec<Option<(Vec<u32>, Finish)>> = vec![None; prompts.len()];
    let bar = Bar::new(Phase::Answering, "rehearsal by the base", prompts.len());
    asking.run(&[], requests, bar, on_event, &mut |finished| {
        if let Finished::Generated {
            id, tokens, finish, ..
        } = finished
        {
            answers[id] = Some((tokens, finish));
        }
        Ok(1)
    })?;
    let mut examples = Vec::new();
    for (prompt, answer) in prompts.iter().zip(answers) {
        let Some((tokens, finish)) = answer else {
            continue;
        };
        let text = session.tokenizer.decode(&tokens)?;
        if text.trim().is_empty() {
            continue;
        }
        let turns = [Message::user(&prompt.text), Message::assistant(text)];
        examples.push(Example {
            rehearsal: Some(Rehearsal {
                stay: prompt.stay,
                cut: finish != Finish::Stop,
            }),
            ..Example::new(Conversation::new(turns), prompt.origin.clone())
        });
    }
    Ok(examples)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::run::ask;
    use crate::run::testing::{Heard, PIP, Stage, WHO, rehearsed as asked};
    use crate::train::Stay;

    const SUM: &str = "What is 2 + 2?";

    fn rehearsed(stage: &Stage, prompts: &[&str]) -> Vec<Example> {
        rehearse(stage.asking(), &asked(prompts), 24, &mut |_| {}).unwrap()
    }

    fn answers(examples: &[Example]) -> Vec<&str> {
        let turns = examples.iter().map(|e| e.conversation.messages.last());
        turns.map(|turn| turn.unwrap().content.as_str()).collect()
    }

    #[test]
    fn answers_are_the_bases_own_and_greedy() {
        let stage = Stage::new();
        let examples = rehearsed(&stage, &[WHO, SUM]);
        assert_eq!(answers(&examples), [PIP, "4"]);
        let whole = |e: &Example| {
            e.rehearsal
                .is_some_and(|r| !r.cut && r.stay == Stay::DISTRIBUTION)
        };
        assert!(examples.iter().all(whole));
        let said = ask(stage.asking(), &[], &[WHO, SUM], 24, &mut |_| {}).unwrap();
        assert_eq!(answers(&examples), said.concat());
        assert_eq!(
            rehearsed(&stage, &[WHO, SUM]),
            examples,
            "the same every time"
        );
    }

    /// Its text ends before its turn does.
    #[test]
    fn an_answer_that_reaches_its_longest_is_cut() {
        let stage = Stage::new();
        let examples = rehearse(stage.asking(), &asked(&[WHO, SUM]), 3, &mut |_| {}).unwrap();
        let cut: Vec<bool> = examples.iter().map(|e| e.rehearsal.unwrap().cut).collect();
        assert_eq!(cut, [true, false]);
    }

    /// A row without an answer has nothing to stay at, and would be a bad row.
    #[test]
    fn a_prompt_that_the_base_leaves_unanswered_is_no_row() {
        let mut stage = Stage::new();
        let four = stage.session.tokenizer.encode("4").unwrap();
        stage.session.end_of_turn.push(four[0]);
        let examples = rehearsed(&stage, &[SUM, WHO]);
        assert_eq!(answers(&examples), [PIP]);
        assert_eq!(examples[0].origin.line, 2, "its place among all prompts");
    }

    #[test]
    fn nothing_to_rehearse_asks_nothing() {
        let (stage, heard) = (Stage::new(), Heard::default());
        let none = rehearse(stage.asking(), &[], 24, &mut |e| heard.hear(e));
        assert_eq!((none.unwrap(), heard.asked()), (Vec::new(), Vec::new()));
    }
}
