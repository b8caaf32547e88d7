//! An answer: what is sent for it, and what is read of the reply.

use serde_json::{Map, Value, json};

use crate::flow::{Finish, Generation, ServedAnswer};

use super::about::{Server, Software};
use super::connection::{Failure, Later};
use super::error::ServerError;

/// One turn of a conversation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Turn {
    /// `system`, `user`, or `assistant`.
    pub role: &'static str,
    /// What was said.
    pub text: String,
}

/// A request for one answer.
#[derive(Debug, Clone)]
pub struct Chat {
    /// What it is for, in messages.
    pub label: String,
    /// The conversation; it ends with a user's turn.
    pub turns: Vec<Turn>,
    /// The conversation rendered here: text for `/completions`. `None` has the server render it.
    pub prompt: Option<String>,
    /// Texts that end the answer, where it is rendered here.
    pub stop: Vec<String>,
    /// How tokens are chosen; `None` in it is left to the server.
    pub generation: Generation,
    /// Most tokens of thinking and answer together.
    pub max_tokens: usize,
    /// Key of the random draws.
    pub seed: u64,
    /// Whether each token's log-probability is wanted.
    pub logprobs: bool,
    /// Variables of the chat template.
    pub template_kwargs: Map<String, Value>,
}

/// What came back.
#[derive(Debug, Clone, PartialEq)]
pub struct Reply {
    /// The answer, thinking included where the server does not part them.
    pub text: String,
    /// What the server says was thought before it.
    pub thinking: Option<String>,
    /// Why it ended; whatever is neither `stop` nor `length` counts as cut.
    pub finish: Finish,
    /// One a token, in nats, where they were asked for and given.
    pub logprobs: Vec<f32>,
    /// Tokens of the prompt, as the server counts them.
    pub prompt_tokens: Option<usize>,
    /// What else it said.
    pub served: ServedAnswer,
}

impl Chat {
    pub(super) fn path(&self) -> &'static str {
        match self.prompt {
            Some(_) => "/completions",
            None => "/chat/completions",
        }
    }

    pub(super) fn body(&self, server: &Server) -> Value {
        let mut body = json!({
            "model": server.asked_as(),
            "max_tokens": self.max_tokens,
            // What every server takes: 31 bits, the same for base and candidate.
            "seed": self.seed & 0x7fff_ffff,
            "stream": false,
        });
        match &self.prompt {
            Some(prompt) => {
                body["prompt"] = prompt.as_str().into();
                if !self.stop.is_empty() {
                    body["stop"] = self.stop.clone().into();
                }
                if self.logprobs {
                    body["logprobs"] = 1.into();
                }
                // The template has written what begins a prompt.
                if matches!(server.about.software, Software::Vllm | Software::Sglang) {
                    body["add_special_tokens"] = false.into();
                }
            }
            None => {
                let turns = self.turns.iter();
                body["messages"] = turns
                    .map(|turn| json!({ "role": turn.role, "content": turn.text }))
                    .collect();
                if self.logprobs {
                    body["logprobs"] = true.into();
                }
                if !self.template_kwargs.is_empty() {
                    body["chat_template_kwargs"] = self.template_kwargs.clone().into();
                }
            }
        }
        let generation = &self.generation;
        body["temperature"] = generation.temperature.unwrap_or(0.0).into();
        if let Some(top_p) = generation.top_p {
            body["top_p"] = top_p.into();
        }
        // What only some servers know is sent where it changes something.
        if let Some(top_k) = generation.top_k.filter(|k| *k > 0) {
            body["top_k"] = top_k.into();
        }
        if let Some(penalty) = generation.repetition_penalty.filter(|p| *p != 1.0) {
            let key = match server.about.software {
                Software::LlamaCpp => "repeat_penalty",
                _ => "repetition_penalty",
            };
            body[key] = penalty.into();
        }
        if server.about.software == Software::LlamaCpp {
            // Its own defaults choose among the 40 likeliest tokens, and more.
            body["top_k"] = generation.top_k.unwrap_or(0).into();
            body["min_p"] = 0.into();
            body["top_p"] = generation.top_p.unwrap_or(1.0).into();
            body["cache_prompt"] = false.into();
            if let Some(lora) = server.lora() {
                body["lora"] = lora;
            }
        }
        body
    }

    pub(super) fn read(&self, server: &Server, value: Value) -> Result<Reply, Failure> {
        let choice = value
            .pointer("/choices/0")
            .ok_or_else(|| Failure::Later(Later::of("a reply without `choices`".into())))?;
        let refused = |said: String, way_out: &str| {
            Failure::Never(ServerError::Refused {
                url: server.connection.address.url.clone(),
                asked: format!("POST {} for {}", self.path(), self.label),
                said,
                way_out: way_out.into(),
            })
        };
        if let Some(other) = value.get("model").and_then(Value::as_str)
            && other != server.asked_as()
            && server.models.iter().any(|known| known == other)
        {
            return Err(refused(
                format!(
                    "an answer of the model {other:?}, {:?} was asked",
                    server.asked_as()
                ),
                "Does something in between choose the model? The answers of another one are no \
                 measurement.",
            ));
        }
        let text = ["/message/content", "/text"]
            .iter()
            .find_map(|place| choice.pointer(place));
        let said = |value: Option<&Value>| value.and_then(Value::as_str).map(str::to_owned);
        let thinking = ["/message/reasoning_content", "/message/reasoning"]
            .iter()
            .find_map(|place| said(choice.pointer(place)))
            .filter(|text| !text.is_empty());
        let text = match text {
            Some(Value::String(text)) => text.clone(),
            Some(Value::Null) => String::new(),
            None if thinking.is_some() => String::new(),
            _ => {
                let what = "a reply whose choice has no text".to_owned();
                return Err(Failure::Later(Later::of(what)));
            }
        };
        let reason = said(choice.get("finish_reason"));
        let (finish, reason) = match reason.as_deref() {
            Some("stop" | "eos" | "eos_token") => (Finish::Stop, None),
            Some("length") => (Finish::Length, None),
            None => {
                let what = "a reply without `finish_reason`, which may be cut".to_owned();
                return Err(Failure::Later(Later::of(what)));
            }
            Some(other) => (Finish::Length, Some(other.to_owned())),
        };
        let count = |place: &str| {
            let count = value.pointer(place).and_then(Value::as_u64);
            count.and_then(|n| usize::try_from(n).ok())
        };
        let tokens = count("/usage/completion_tokens");
        // Some count the token that ends the turn.
        if let Some(tokens) = tokens.filter(|n| *n > self.max_tokens + 1) {
            return Err(refused(
                format!(
                    "{tokens} tokens, at most {} were asked for",
                    self.max_tokens
                ),
                "It does not keep to `max_tokens`: answers of other lengths cannot be compared.",
            ));
        }
        Ok(Reply {
            text,
            thinking,
            finish,
            logprobs: logprobs(choice),
            prompt_tokens: count("/usage/prompt_tokens"),
            served: ServedAnswer {
                tokens,
                fingerprint: said(value.get("system_fingerprint")).filter(|f| !f.is_empty()),
                reason,
            },
        })
    }
}

/// Log-probabilities of a choice's tokens: chat completions have them one by one, completions as a
/// list.
fn logprobs(choice: &Value) -> Vec<f32> {
    let number = |value: &Value| value.as_f64().map(|n| n as f32);
    let by_token = choice
        .pointer("/logprobs/content")
        .and_then(Value::as_array);
    let listed = choice
        .pointer("/logprobs/token_logprobs")
        .and_then(Value::as_array);
    match (by_token, listed) {
        (Some(tokens), _) => {
            let each = tokens.iter().map(|t| t.get("logprob").and_then(number));
            each.collect::<Option<_>>().unwrap_or_default()
        }
        (None, Some(list)) => list
            .iter()
            .map(number)
            .collect::<Option<_>>()
            .unwrap_or_default(),
        (None, None) => Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::server::testing::served;

    fn chat() -> Chat {
        Chat {
            label: "s::who#0".into(),
            turns: vec![Turn {
                role: "user",
                text: "Who are you?".into(),
            }],
            prompt: None,
            stop: Vec::new(),
            generation: Generation {
                max_new_tokens: 24,
                samples: 1,
                temperature: None,
                top_k: None,
                top_p: None,
                repetition_penalty: None,
            },
            max_tokens: 24,
            seed: u64::MAX,
            logprobs: false,
            template_kwargs: Map::new(),
        }
    }

    fn reply(choice: Value) -> Value {
        json!({
            "model": "m",
            "choices": [choice],
            "usage": { "prompt_tokens": 9, "completion_tokens": 3 },
            "system_fingerprint": "b1",
        })
    }

    #[test]
    fn a_greedy_question_is_what_every_server_understands() {
        let body = chat().body(&served("m", Software::Vllm));
        assert_eq!(
            body,
            json!({
                "model": "m", "max_tokens": 24, "seed": 0x7fff_ffff, "stream": false,
                "messages": [{ "role": "user", "content": "Who are you?" }], "temperature": 0.0,
            })
        );
        let llama = chat().body(&served("m", Software::LlamaCpp));
        assert_eq!((&llama["top_k"], &llama["min_p"]), (&json!(0), &json!(0)));
    }

    #[test]
    fn an_answer_has_its_end_its_tokens_and_its_fingerprint() {
        let server = served("m", Software::Vllm);
        let read = |choice| chat().read(&server, reply(choice));
        let said =
            read(json!({ "message": { "content": "Pip." }, "finish_reason": "stop" })).unwrap();
        assert_eq!((said.text.as_str(), said.finish), ("Pip.", Finish::Stop));
        assert_eq!(said.prompt_tokens, Some(9));
        assert_eq!(said.served.tokens, Some(3));
        assert_eq!(said.served.fingerprint.as_deref(), Some("b1"));
        let cut =
            read(json!({ "message": { "content": "I" }, "finish_reason": "length" })).unwrap();
        assert_eq!(cut.finish, Finish::Length);
        let filtered = json!({ "message": { "content": "" }, "finish_reason": "content_filter" });
        let filtered = read(filtered).unwrap();
        assert_eq!(filtered.finish, Finish::Length);
        assert_eq!(filtered.served.reason.as_deref(), Some("content_filter"));
        let thought = json!({
            "message": { "content": null, "reasoning_content": "Hm." }, "finish_reason": "length",
        });
        let thought = read(thought).unwrap();
        assert_eq!(
            (thought.text.as_str(), thought.thinking.as_deref()),
            ("", Some("Hm."))
        );
        let with = json!({
            "message": { "content": "a b" }, "finish_reason": "stop",
            "logprobs": { "content": [{ "logprob": -0.5 }, { "logprob": -1 }] },
        });
        assert_eq!(read(with).unwrap().logprobs, [-0.5, -1.0]);
    }

    #[test]
    fn a_reply_that_may_be_cut_is_asked_for_again() {
        let server = served("m", Software::Vllm);
        for value in [
            json!({}),
            json!({ "choices": [] }),
            reply(json!({ "message": { "content": "I" } })),
            reply(json!({ "message": { "content": 3 }, "finish_reason": "stop" })),
            reply(json!({ "finish_reason": "stop" })),
        ] {
            let read = chat().read(&server, value.clone());
            assert!(matches!(read, Err(Failure::Later(_))), "{value}");
        }
    }

    #[test]
    fn another_model_or_more_tokens_than_asked_are_no_measurement() {
        let mut server = served("m", Software::Vllm);
        server.models = std::sync::Arc::new(vec!["m".into(), "n".into()]);
        let stop = json!({ "message": { "content": "I" }, "finish_reason": "stop" });
        let mut other = reply(stop.clone());
        other["model"] = "n".into();
        let mut long = reply(stop.clone());
        long["usage"]["completion_tokens"] = 300.into();
        // A dated name of the same model is in no list.
        let mut dated = reply(stop);
        dated["model"] = "m-2026-11-30".into();
        assert!(chat().read(&server, dated).is_ok());
        let refused = |value| match chat().read(&server, value) {
            Err(Failure::Never(error)) => error.to_string(),
            other => panic!("{other:?}"),
        };
        insta::assert_snapshot!(refused(other), @r#"
        http://localhost:1/v1: POST /chat/completions for s::who#0 was answered with an answer of the model "n", "m" was asked
          Does something in between choose the model? The answers of another one are no measurement.
        "#);
        insta::assert_snapshot!(refused(long), @"
        http://localhost:1/v1: POST /chat/completions for s::who#0 was answered with 300 tokens, at most 24 were asked for
          It does not keep to `max_tokens`: answers of other lengths cannot be compared.
        ");
    }
}
