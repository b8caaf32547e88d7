//! Turns as data rows write them, and what a turn says beside its text.
//!
//! Three shapes of a list: `{role, content}` (OpenAI, Hugging Face), `{from, value}` (ShareGPT), and
//! rounds, `{human, assistant}` (ms-swift). Whether an answer is learned is said by `loss` and
//! `loss_scale` (ms-swift), `train` (axolotl), or `weight` (OpenAI), all of which mean one thing
//! here. What a turn says beside its text, and what cannot be learned from text alone, refuses the
//! row: an answer that calls a tool is another answer without the call. A key that is null is not
//! there; every other key is named.

use serde_json::{Map, Value as Json};

use crate::chat::{Message, Role};

use super::error::RowReason;
use super::fields::{is_empty, wrong_type};

const SYSTEM: [&str; 1] = ["system"];
const USER: [&str; 2] = ["user", "human"];
const ASSISTANT: [&str; 4] = ["assistant", "gpt", "bot", "model"];

/// Keys that mark an answer as learned or not, and what their values are.
const MARKS: [(&str, &str); 4] = [
    ("loss", "true or false"),
    ("train", "true or false"),
    ("weight", "0 or 1"),
    ("loss_scale", "0 or 1"),
];

/// Keys of a turn that say what its text does not.
const UNSAID: [(&str, &str); 8] = [
    ("tool_calls", CALL),
    ("function_call", CALL),
    ("tool_call_id", CALL),
    ("reasoning_content", THINKING),
    ("reasoning", THINKING),
    ("thinking", THINKING),
    ("train_detail", "loss lies on an answer as a whole"),
    ("refusal", "it is an answer beside the answer"),
];
const CALL: &str = "the call of a tool is no text, and the answer is another one without it";
const THINKING: &str = "its place in the answer is the template's: write it into the text as the \
                        model does (`<think>...</think>`)";

/// Turns with the keys that nobody reads.
#[derive(Debug, Default)]
pub(super) struct Turns {
    pub turns: Vec<Message>,
    pub ignored_keys: Vec<String>,
}

/// Reads a list of turns; `place` names it.
pub(super) fn read_turns(place: &str, list: &[Json]) -> Result<Turns, RowReason> {
    let mut read = Turns::default();
    for (i, item) in list.iter().enumerate() {
        let at = format!("{place}[{i}]");
        let Some(turn) = item.as_object() else {
            return Err(wrong_type(&at, item, "an object"));
        };
        let turn = Turn {
            place,
            at: &at,
            keys: turn,
        };
        if turn.is_round() {
            turn.round(&mut read)?;
        } else {
            turn.single(&mut read)?;
        }
    }
    Ok(read)
}

struct Turn<'a> {
    /// The list.
    place: &'a str,
    /// The turn in it.
    at: &'a str,
    keys: &'a Map<String, Json>,
}

impl Turn<'_> {
    fn there(&self, key: &str) -> bool {
        self.keys.get(key).is_some_and(|value| !value.is_null())
    }

    fn first(&self, names: &[&'static str]) -> Option<&'static str> {
        names.iter().find(|name| self.there(name)).copied()
    }

    /// ms-swift's test: neither a role nor a content, but both speakers by their names.
    fn is_round(&self) -> bool {
        let told = ["role", "content", "from", "value"];
        self.first(&told).is_none() && self.first(&USER).is_some()
    }

    fn round(&self, read: &mut Turns) -> Result<(), RowReason> {
        let mut known = Vec::new();
        for (role, names) in [(Role::User, &USER[..]), (Role::Assistant, &ASSISTANT[..])] {
            let key = self.first(names).unwrap_or(names[0]);
            read.turns.push(Message::new(role, self.text(key)?));
            known.push(key);
        }
        self.finish(&known, read)
    }

    fn single(&self, read: &mut Turns) -> Result<(), RowReason> {
        let key = |names: [&'static str; 2]| {
            let there = names.iter().find(|name| self.there(name));
            there.copied().unwrap_or(names[0])
        };
        let role_key = key(["role", "from"]);
        let text_key = key(["content", "value"]);
        let role = match self.text(role_key)? {
            role if SYSTEM.contains(&role) => Role::System,
            role if USER.contains(&role) => Role::User,
            role if ASSISTANT.contains(&role) => Role::Assistant,
            role => {
                return Err(RowReason::UnknownRole {
                    key: format!("{}.{role_key}", self.at),
                    role: role.to_string(),
                });
            }
        };
        // What an answer says beside its text is told before a text that is missing for it.
        self.unsaid()?;
        let text = self.text(text_key)?;
        read.turns.push(Message::new(role, text));
        self.finish(&[role_key, text_key], read)
    }

    fn text(&self, key: &str) -> Result<&str, RowReason> {
        match self.keys.get(key) {
            Some(Json::String(text)) => Ok(text),
            other => {
                let found = other.unwrap_or(&Json::Null);
                Err(wrong_type(&format!("{}.{key}", self.at), found, "a text"))
            }
        }
    }

    fn unsaid(&self) -> Result<(), RowReason> {
        let found = UNSAID
            .iter()
            .find(|(key, _)| self.keys.get(*key).is_some_and(|value| !is_empty(value)));
        match found {
            None => Ok(()),
            Some((key, why)) => Err(RowReason::Unsaid {
                key: format!("{}.{key}", self.at),
                why: (*why).to_string(),
            }),
        }
    }

    /// Reads what stands beside the text of the turn that was read last.
    fn finish(&self, known: &[&str], read: &mut Turns) -> Result<(), RowReason> {
        self.unsaid()?;
        if let (Some(learned), Some(turn)) = (self.learned()?, read.turns.last_mut()) {
            if turn.role == Role::Assistant {
                turn.learned = learned;
            } else if learned {
                let (key, _) = MARKS
                    .iter()
                    .find(|(key, _)| self.there(key))
                    .unwrap_or(&MARKS[0]);
                return Err(RowReason::LossOnQuestion {
                    key: format!("{}.{key}", self.at),
                    role: turn.role.name().to_string(),
                });
            }
        }
        let read_elsewhere = |key: &str| {
            known.contains(&key)
                || MARKS.iter().any(|(mark, _)| *mark == key)
                || UNSAID.iter().any(|(unsaid, _)| *unsaid == key)
        };
        for (key, value) in self.keys {
            let name = format!("{}[].{key}", self.place);
            if !value.is_null() && !read_elsewhere(key) && !read.ignored_keys.contains(&name) {
                read.ignored_keys.push(name);
            }
        }
        Ok(())
    }

    /// Whether its loss counts, where a key says so.
    fn learned(&self) -> Result<Option<bool>, RowReason> {
        let mut said: Option<(&str, bool)> = None;
        for (key, wanted) in MARKS.iter().filter(|(key, _)| self.there(key)) {
            let value = &self.keys[*key];
            let learned = match value.as_f64() {
                Some(0.0) => false,
                Some(1.0) => true,
                Some(_) => {
                    return Err(RowReason::PartialLoss {
                        key: format!("{}.{key}", self.at),
                        value: value.to_string(),
                    });
                }
                None => value
                    .as_bool()
                    .ok_or_else(|| wrong_type(&format!("{}.{key}", self.at), value, wanted))?,
            };
            match said {
                Some((first, other)) if other != learned => {
                    return Err(RowReason::LossDisagrees {
                        turn: self.at.to_string(),
                        first: first.to_string(),
                        second: (*key).to_string(),
                    });
                }
                _ => said = Some((*key, learned)),
            }
        }
        Ok(said.map(|(_, learned)| learned))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn read(list: Json) -> Result<Turns, String> {
        read_turns("messages", list.as_array().unwrap()).map_err(|e| e.to_string())
    }

    fn learned(list: Json) -> Vec<bool> {
        let turns = read(list).unwrap().turns;
        let answers = turns.iter().filter(|turn| turn.role == Role::Assistant);
        answers.map(|turn| turn.learned).collect()
    }

    #[test]
    fn the_three_shapes_of_a_list_are_one_conversation() {
        let openai =
            json!([{"role": "user", "content": "q"}, {"role": "assistant", "content": "a"}]);
        let sharegpt = json!([{"from": "human", "value": "q"}, {"from": "gpt", "value": "a"}]);
        let rounds = json!([{"human": "q", "assistant": "a"}]);
        let turns = [openai, sharegpt, rounds].map(|list| read(list).unwrap().turns);
        assert_eq!(turns[0], turns[1]);
        assert_eq!(turns[0], turns[2]);
    }

    #[test]
    fn loss_train_and_weight_decide_what_is_learned() {
        for (key, no, yes) in [
            ("loss", json!(false), json!(true)),
            ("train", json!(false), json!(true)),
            ("weight", json!(0), json!(1)),
            ("loss_scale", json!(0.0), json!(1.0)),
        ] {
            let answer = |mark: &Json| json!({"role": "assistant", "content": "a", key: mark});
            assert_eq!(
                learned(json!([answer(&no), answer(&yes), answer(&Json::Null)])),
                [false, true, true],
                "{key}"
            );
        }
        let round = json!([{"human": "q", "assistant": "a", "loss": false}]);
        assert_eq!(learned(round), [false]);
    }

    #[test]
    fn null_keys_of_a_turn_are_absent() {
        let list = json!([{"role": "user", "content": "q", "from": null, "value": null,
            "tool_calls": null, "name": null}]);
        let read = read(list).unwrap();
        assert_eq!(read.turns, [Message::user("q")]);
        assert!(read.ignored_keys.is_empty());
    }

    #[test]
    fn unknown_keys_of_a_turn_are_told() {
        let list = json!([{"role": "user", "content": "q", "name": "Ada", "id": 1},
            {"role": "assistant", "content": "a", "id": 2, "tool_calls": []}]);
        assert_eq!(
            read(list).unwrap().ignored_keys,
            ["messages[].name", "messages[].id"]
        );
    }

    #[test]
    fn what_a_turn_says_beside_its_text_refuses_the_row() {
        let answer =
            |key: &str, value: Json| json!([{"role": "assistant", "content": "a", key: value}]);
        let reasons = [
            answer("tool_calls", json!([{"type": "function"}])),
            json!([{"role": "assistant", "content": null, "tool_calls": [{"type": "function"}]}]),
            answer("reasoning_content", json!("Well.")),
            answer("loss", json!("no")),
            answer("weight", json!(0.5)),
            json!([{"role": "assistant", "content": "a", "weight": 0, "loss": true}]),
            json!([{"role": "user", "content": "q", "train": true}]),
            json!([{"role": "tool", "content": "12 degrees"}]),
            json!([{"human": "q"}]),
        ]
        .map(|list| read(list).unwrap_err());
        insta::assert_snapshot!(reasons.join("\n"), @r#"
        `messages[0].tool_calls` says what the text does not: the call of a tool is no text, and the answer is another one without it; take the row out, or the key where it does not count
        `messages[0].tool_calls` says what the text does not: the call of a tool is no text, and the answer is another one without it; take the row out, or the key where it does not count
        `messages[0].reasoning_content` says what the text does not: its place in the answer is the template's: write it into the text as the model does (`<think>...</think>`); take the row out, or the key where it does not count
        `messages[0].loss` is a text, not true or false
        `messages[0].weight` is 0.5: an answer is learned or not, 1 or 0
        `loss` and `weight` of `messages[0]` disagree; take one out
        `messages[0].train` asks for loss on a user turn; loss lies on answers alone: take the key out
        unknown speaker "tool" in `messages[0].role`; known: system, user or human, assistant, gpt, bot, or model
        `messages[0].assistant` is null or missing, not a text
        "#);
    }
}
