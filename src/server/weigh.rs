//! The likelihood of a given text as the answer: `/completions` with the prompt and the text as token
//! ids, and the log-probabilities of the text's.

use serde_json::{Map, Value, json};

use super::about::{Server, Software};
use super::chat::Turn;
use super::connection::{Failure, Later, Sent};
use super::error::ServerError;

/// How a server says how likely it finds what it is given.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Weighing {
    /// vLLM's `prompt_logprobs`.
    PromptLogprobs,
    /// `echo` with `logprobs`.
    Echo,
}

/// A text to be weighed.
#[derive(Debug, Clone)]
pub struct Weigh {
    /// What it is for, in messages.
    pub label: String,
    /// How.
    pub by: Weighing,
    /// After which prompt.
    pub after: WeighAfter,
}

/// A prompt and the text after it.
#[derive(Debug, Clone)]
pub enum WeighAfter {
    /// Token ids of both, made here.
    Ids {
        /// Of the rendered prompt.
        prompt: Vec<u32>,
        /// Of the text, one at least.
        text: Vec<u32>,
    },
    /// A conversation that the server renders, and the text.
    Turns {
        /// The conversation.
        turns: Vec<Turn>,
        /// Variables of the chat template.
        template_kwargs: Map<String, Value>,
        /// The text.
        text: String,
    },
}

/// Token ids to be weighed.
#[derive(Debug)]
pub(super) struct Weighed {
    by: Weighing,
    prompt: Vec<u32>,
    text: Vec<u32>,
}

impl Weigh {
    /// The token ids, of the server's own tokenizer where they were not made here.
    pub(super) fn resolved(&self, server: &Server) -> Result<Weighed, Failure> {
        let by = self.by;
        let (prompt, text) = match &self.after {
            WeighAfter::Ids { prompt, text } => (prompt.clone(), text.clone()),
            WeighAfter::Turns {
                turns,
                template_kwargs,
                text,
            } => (
                server
                    .prompt_ids(turns, template_kwargs)
                    .map_err(Failure::Never)?,
                server.text_ids(text).map_err(Failure::Never)?,
            ),
        };
        Ok(Weighed { by, prompt, text })
    }
}

impl Weighed {
    pub(super) fn body(&self, server: &Server) -> Value {
        let ids: Vec<u32> = [&self.prompt[..], &self.text].concat();
        let mut body = json!({
            "model": server.asked_as(),
            "prompt": ids,
            "max_tokens": 1,
            "temperature": 0,
            "stream": false,
        });
        match self.by {
            Weighing::PromptLogprobs => body["prompt_logprobs"] = 0.into(),
            Weighing::Echo => {
                body["echo"] = true.into();
                body["logprobs"] = 1.into();
            }
        }
        body
    }

    pub(super) fn read(&self, value: &Value) -> Result<Vec<f32>, Failure> {
        let later = |what: &str| Failure::Later(Later::of(what.to_owned()));
        let choice = value
            .pointer("/choices/0")
            .ok_or_else(|| later("a reply without `choices`"))?;
        let (before, all) = (self.prompt.len(), self.prompt.len() + self.text.len());
        let number = |value: &Value| value.as_f64().map(|n| n as f32);
        let found: Option<Vec<f32>> = match self.by {
            Weighing::PromptLogprobs => {
                let each = choice.get("prompt_logprobs").and_then(Value::as_array);
                let each = each.filter(|each| each.len() == all);
                each.and_then(|each| {
                    let of_text = each[before..].iter().zip(&self.text);
                    of_text
                        .map(|(entry, id)| number(entry.get(id.to_string())?.get("logprob")?))
                        .collect()
                })
            }
            Weighing::Echo => {
                let each = choice.pointer("/logprobs/token_logprobs");
                let each = each
                    .and_then(Value::as_array)
                    .filter(|each| each.len() >= all);
                each.and_then(|each| each[before..all].iter().map(number).collect())
            }
        };
        found.ok_or_else(|| {
            later("a reply without a log-probability of every token that was given; is the prompt cut there?")
        })
    }
}

impl Server {
    /// Whether it tells the token ids of a conversation.
    pub fn tokenizes(&self) -> bool {
        self.about.software == Software::Vllm
    }

    /// How it can be asked for likelihoods, found out by asking; `None`, with why, where it cannot.
    pub fn weighing(&self) -> Result<Weighing, String> {
        let by = match self.about.software {
            Software::LlamaCpp => {
                return Err("llama-server gives no log-probabilities of a given text".into());
            }
            Software::Vllm => Weighing::PromptLogprobs,
            Software::Sglang | Software::Other(_) => Weighing::Echo,
        };
        let trial = Weighed {
            by,
            prompt: vec![1, 2],
            text: vec![3],
        };
        let body = trial.body(self);
        let sent = Sent {
            url: self.connection.api("/completions"),
            body: Some(&body),
            asked: "POST /completions".into(),
        };
        match self
            .connection
            .once(&sent)
            .and_then(|value| trial.read(&value))
        {
            Ok(_) => Ok(by),
            Err(Failure::Later(Later { what, .. })) => Err(what),
            Err(Failure::Never(ServerError::Refused { said, .. })) => Err(said),
            Err(Failure::Never(error)) => Err(error.to_string()),
        }
    }

    /// Token ids of a conversation with the beginning of an answer, as the server renders it.
    ///
    /// # Errors
    /// It has no `/tokenize` that takes conversations, or refuses this one.
    pub fn prompt_ids(
        &self,
        turns: &[Turn],
        template_kwargs: &Map<String, Value>,
    ) -> Result<Vec<u32>, ServerError> {
        let turns = turns
            .iter()
            .map(|turn| json!({ "role": turn.role, "content": turn.text }));
        let mut body = json!({
            "model": self.asked_as(),
            "messages": turns.collect::<Value>(),
            "add_generation_prompt": true,
        });
        if !template_kwargs.is_empty() {
            body["chat_template_kwargs"] = template_kwargs.clone().into();
        }
        self.tokenize(&body)
    }

    /// Token ids of a text by itself.
    ///
    /// # Errors
    /// As [`Server::prompt_ids`].
    pub fn text_ids(&self, text: &str) -> Result<Vec<u32>, ServerError> {
        let body = json!({ "model": self.asked_as(), "prompt": text, "add_special_tokens": false });
        self.tokenize(&body)
    }

    fn tokenize(&self, body: &Value) -> Result<Vec<u32>, ServerError> {
        let sent = Sent {
            url: self.connection.beside("/tokenize"),
            body: Some(body),
            asked: "POST /tokenize".into(),
        };
        let never = std::sync::atomic::AtomicBool::new(false);
        let read = |value: Value| {
            let ids = value.get("tokens").and_then(Value::as_array);
            let ids = ids.and_then(|ids| {
                let each = ids
                    .iter()
                    .map(|id| id.as_u64().and_then(|id| u32::try_from(id).ok()));
                each.collect::<Option<Vec<u32>>>()
            });
            ids.ok_or_else(|| Failure::Later(Later::of("a reply without `tokens`".into())))
        };
        match self.connection.ask(&sent, &never, &read) {
            Ok(ids) => Ok(ids),
            Err(Failure::Never(error)) => Err(error),
            Err(Failure::Later(Later { what, .. })) => Err(ServerError::NotAnApi {
                url: self.connection.address.url.clone(),
                asked: "POST /tokenize".into(),
                what,
            }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::server::testing::served;

    fn weigh(by: Weighing) -> Weighed {
        Weighed {
            by,
            prompt: vec![5, 6],
            text: vec![7, 8],
        }
    }

    fn choice(choice: Value) -> Value {
        json!({ "choices": [choice] })
    }

    #[test]
    fn the_texts_own_tokens_are_read_by_their_ids() {
        let reply = choice(json!({ "prompt_logprobs": [
            null,
            { "6": { "logprob": -9.0 } },
            { "1": { "logprob": -0.1, "rank": 1 }, "7": { "logprob": -2.5, "rank": 3 } },
            { "8": { "logprob": -0.25 } },
        ] }));
        assert_eq!(
            weigh(Weighing::PromptLogprobs).read(&reply).unwrap(),
            [-2.5, -0.25]
        );
        let echo =
            choice(json!({ "logprobs": { "token_logprobs": [null, -9.0, -2.5, -0.25, -1.0] } }));
        assert_eq!(weigh(Weighing::Echo).read(&echo).unwrap(), [-2.5, -0.25]);
    }

    #[test]
    fn a_prompt_that_was_cut_is_no_likelihood() {
        for (by, reply) in [
            (
                Weighing::PromptLogprobs,
                json!({ "prompt_logprobs": [null, { "8": { "logprob": -1.0 } }] }),
            ),
            (Weighing::PromptLogprobs, json!({ "prompt_logprobs": null })),
            (
                Weighing::Echo,
                json!({ "logprobs": { "token_logprobs": [null, -1.0] } }),
            ),
            (Weighing::Echo, json!({ "text": "x" })),
        ] {
            assert!(matches!(
                weigh(by).read(&choice(reply)),
                Err(Failure::Later(_))
            ));
        }
    }

    #[test]
    fn llama_server_is_named_as_one_that_cannot() {
        let said = served("m", Software::LlamaCpp).weighing().unwrap_err();
        insta::assert_snapshot!(said, @"llama-server gives no log-probabilities of a given text");
    }
}
