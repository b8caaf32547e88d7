//! Questions put to the base and some adapters in one batch, outside any suite, heard while they
//! are answered.

use crate::chat::TextStream;
use crate::flow::{Exchange, Finish, Generation, Phase, RunEvent};
use crate::generate::{Finished, Request, Sampling, Work};
use crate::lora::LoadedAdapter;

use super::asking::{Asking, Bar, Piece};
use super::error::RunError;
use super::session::{Session, sampling};

/// A question put to one subject.
#[derive(Debug, Clone, Copy)]
pub struct Put<'a> {
    /// Which adapter answers, a place in the list of them; `None` is the base.
    pub adapter: Option<usize>,
    /// What was said before.
    pub history: &'a [Exchange],
    /// The question.
    pub question: &'a str,
}

/// How questions are answered.
#[derive(Debug, Clone, PartialEq)]
pub struct AnswerSettings {
    /// How tokens are chosen.
    pub sampling: Sampling,
    /// Most tokens of an answer, at least 1; less where the context has no room for them.
    pub max_new_tokens: usize,
    /// Key of the random draws, the same for all subjects.
    pub seed: u64,
}

impl AnswerSettings {
    /// Answers of a base and its adapters at a temperature, 0 being greedy; what else decides a draw
    /// is as the model's authors want it, as for a probe.
    pub fn at(session: &Session, temperature: f64, max_new_tokens: usize, seed: u64) -> Self {
        let asked = Generation {
            max_new_tokens,
            samples: 1,
            temperature: Some(temperature),
            top_k: None,
            top_p: None,
            repetition_penalty: None,
        };
        AnswerSettings {
            sampling: sampling(&session.resolve(&asked)),
            max_new_tokens,
            seed,
        }
    }

    /// Greedy answers of at most so many tokens.
    pub fn greedy(max_new_tokens: usize) -> Self {
        AnswerSettings {
            sampling: Sampling::default(),
            max_new_tokens,
            seed: 0,
        }
    }
}

/// What a subject said.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Said {
    /// The answer, without what was thought before it.
    pub text: String,
    /// What was thought before it; `None` when nothing was.
    pub thinking: Option<String>,
    /// Tokens of both.
    pub tokens: usize,
    /// Most that it could have had.
    pub budget: usize,
    /// Why it ended; `None` when the user stopped it: it is then as far as it was heard.
    pub finish: Option<Finish>,
}

/// What is heard while answers are written; places are those of the questions.
#[derive(Debug)]
pub enum Heard<'a> {
    /// More text, in whole characters.
    Text(usize, &'a str),
    /// The answer is done.
    Ended(usize, &'a Said),
}

/// Who hears answers while they are written.
pub type Listening<'a> = &'a mut dyn FnMut(Heard<'_>);

/// Has every question answered, in one batch. An interrupt ends all answers where they are.
///
/// # Errors
/// A conversation that the template refuses or the context has no room for, or a device whose
/// memory is full.
pub fn answer(
    asking: Asking<'_>,
    adapters: &[LoadedAdapter],
    puts: &[Put<'_>],
    settings: &AnswerSettings,
    on_event: &mut dyn FnMut(RunEvent),
    mut heard: Option<Listening<'_>>,
) -> Result<Vec<Said>, RunError> {
    let session = asking.session;
    let mut said = vec![Said::default(); puts.len()];
    let mut opened = vec![false; puts.len()];
    let mut requests = Vec::new();
    for (id, put) in puts.iter().enumerate() {
        let prompt = session.prompt(None, put.history, put.question)?;
        let context = session.decoder.config().max_position_embeddings;
        // Without room for one token the request is beyond the context, which is told as such.
        let room = context.saturating_sub(prompt.len()).max(1);
        let thinking = session.thinking_budget(&prompt)?;
        said[id].budget = (settings.max_new_tokens + thinking).min(room);
        opened[id] = session.opens_thinking(&prompt)?;
        requests.push(Request {
            adapter: put.adapter,
            prompt,
            work: vec![Work::Generate {
                id,
                sampling: settings.sampling,
                max_new_tokens: said[id].budget,
                seed: settings.seed,
            }],
        });
    }
    let bar = Bar::new(Phase::Answering, "questions", requests.len());
    let mut streams: Vec<Option<TextStream<'_>>> = match heard {
        Some(_) => puts
            .iter()
            .map(|_| Some(session.tokenizer.stream()))
            .collect(),
        None => puts.iter().map(|_| None).collect(),
    };
    let listened = heard.is_some();
    let mut tell = |event: Heard<'_>| {
        if let Some(heard) = &mut heard {
            heard(event);
        }
    };
    let ran = asking.run_by_token(adapters, requests, bar, on_event, listened, &mut |piece| {
        match piece {
            Piece::Token { id, token } => {
                // The last token of an answer comes after its end, which has told it.
                if let Some(stream) = &mut streams[id] {
                    let text = stream.push(token)?;
                    said[id].tokens += 1;
                    said[id].text += &text;
                    if !text.is_empty() {
                        tell(Heard::Text(id, &text));
                    }
                }
                Ok(0)
            }
            Piece::Finished(Finished::Generated {
                id, tokens, finish, ..
            }) => {
                if let Some(mut stream) = streams[id].take() {
                    let mut rest = String::new();
                    for token in tokens.get(said[id].tokens..).unwrap_or_default() {
                        rest += &stream.push(*token)?;
                    }
                    rest += &stream.finish()?;
                    if !rest.is_empty() {
                        tell(Heard::Text(id, &rest));
                    }
                }
                let one = &mut said[id];
                let spoken = session.spoken(&tokens, opened[id])?;
                (one.text, one.thinking) = (spoken.text, spoken.thinking);
                (one.tokens, one.finish) = (tokens.len(), Some(finish));
                tell(Heard::Ended(id, one));
                Ok(1)
            }
            Piece::Finished(Finished::Scored { .. }) => Ok(0),
        }
    });
    match ran {
        Ok(()) => {}
        Err(RunError::Interrupted) => {
            for (id, one) in said.iter().enumerate().filter(|(_, s)| s.finish.is_none()) {
                tell(Heard::Ended(id, one));
            }
        }
        Err(error) => return Err(error),
    }
    Ok(said)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::run::testing::{AURORA, PIP, Stage, WHO, loaded};

    fn put(adapter: Option<usize>, question: &str) -> Put<'_> {
        Put {
            adapter,
            history: &[],
            question,
        }
    }

    /// What was heard of each, and what was said.
    fn listened(
        stage: &Stage,
        puts: &[Put<'_>],
        settings: &AnswerSettings,
        mut at_text: impl FnMut(),
    ) -> (Vec<String>, Vec<Said>, usize) {
        let adapters = [loaded(&stage.session, "good")];
        let (mut texts, mut ended) = (vec![String::new(); puts.len()], 0);
        let mut hear = |heard: Heard<'_>| match heard {
            Heard::Text(place, text) => {
                texts[place] += text;
                at_text();
            }
            Heard::Ended(..) => ended += 1,
        };
        let said = answer(
            stage.asking(),
            &adapters,
            puts,
            settings,
            &mut |_| {},
            Some(&mut hear),
        );
        (texts, said.unwrap(), ended)
    }

    #[test]
    fn what_is_heard_is_what_was_said_token_by_token() {
        let stage = Stage::new();
        let puts = [put(None, WHO), put(Some(0), WHO)];
        let mut pieces = 0;
        let settings = AnswerSettings::greedy(24);
        let (texts, said, ended) = listened(&stage, &puts, &settings, || pieces += 1);
        assert_eq!(texts, [PIP, AURORA]);
        let whole: Vec<&str> = said.iter().map(|s| s.text.as_str()).collect();
        assert_eq!(whole, texts);
        assert!(said.iter().all(|s| s.finish == Some(Finish::Stop)));
        assert_eq!(ended, 2);
        assert!(pieces > 4, "{pieces}");
        let adapters = [loaded(&stage.session, "good")];
        let unheard = answer(
            stage.asking(),
            &adapters,
            &puts,
            &settings,
            &mut |_| {},
            None,
        );
        assert_eq!(unheard.unwrap(), said);
    }

    /// Draws at a high temperature tear characters apart; what is heard stays the whole.
    #[test]
    fn a_cut_answer_is_heard_to_its_last_character() {
        let stage = Stage::new();
        for (seed, budget) in [(1, 1), (2, 2), (3, 5), (4, 9)] {
            let settings = AnswerSettings {
                sampling: Sampling {
                    temperature: 3.0,
                    ..Sampling::default()
                },
                seed,
                ..AnswerSettings::greedy(budget)
            };
            let (texts, said, _) = listened(&stage, &[put(None, "你是谁?")], &settings, || ());
            assert_eq!(texts[0], said[0].text, "seed {seed}");
            let cut = said[0].finish == Some(Finish::Length);
            assert_eq!(cut, said[0].tokens == budget, "seed {seed}: {said:?}");
        }
    }

    #[test]
    fn what_was_said_before_is_part_of_the_question() {
        let stage = Stage::new();
        let history = [Exchange {
            user: "What is 2 + 2?".into(),
            assistant: "4".into(),
        }];
        let with = Put {
            history: &history,
            ..put(None, WHO)
        };
        let settings = AnswerSettings::greedy(300);
        let (_, said, _) = listened(&stage, &[put(None, WHO), with], &settings, || ());
        // The context has 256 tokens: what the prompt takes is not left for the answer.
        assert!(
            said[0].budget > said[1].budget && said[0].budget < 256,
            "{said:?}"
        );
    }

    #[test]
    fn a_question_beyond_the_context_is_told() {
        let stage = Stage::new();
        let long = "word ".repeat(400);
        let asked = answer(
            stage.asking(),
            &[],
            &[put(None, &long)],
            &AnswerSettings::greedy(8),
            &mut |_| {},
            None,
        );
        assert!(
            matches!(asked, Err(RunError::BeyondContext { .. })),
            "{asked:?}"
        );
    }

    #[test]
    fn an_interrupt_keeps_what_was_heard() {
        let stage = Stage::new();
        let settings = AnswerSettings::greedy(24);
        let puts = [put(None, WHO), put(Some(0), WHO)];
        let stop = || stage.interrupt.set();
        let (texts, said, ended) = listened(&stage, &puts, &settings, stop);
        assert_eq!((said[0].finish, said[1].finish), (None, None));
        assert!(
            PIP.starts_with(&texts[0]) && texts[0].len() < PIP.len(),
            "{texts:?}"
        );
        assert!(
            !texts[0].is_empty() && said[0].text == texts[0],
            "{texts:?}"
        );
        assert_eq!(ended, 2);
    }
}
