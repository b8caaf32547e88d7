//! The forms of a data row, and the conversation in each.
//!
//! alpaca (`instruction`, `input`, `output`), OpenAI `messages`, ShareGPT `conversations`, and
//! `query`/`response`, the last and the first with an optional `history`. A row's form is told by
//! its keys; a row that fits none or two is refused, not guessed at.

use serde_json::{Map, Value as Json};

use crate::chat::{Conversation, Message, Role};
use crate::train::config::RowFormat;

use super::error::RowReason;

/// A row as a conversation that ends with an answer.
#[derive(Debug, Clone, PartialEq)]
pub struct ParsedRow {
    /// The turns.
    pub conversation: Conversation,
    /// The row's own group.
    pub group: Option<String>,
    /// Keys that its form does not know.
    pub ignored_keys: Vec<String>,
}

/// A form: its name in `format`, the keys that tell it, and the other keys that it knows.
struct Form {
    format: RowFormat,
    name: &'static str,
    telling: &'static [&'static str],
    optional: &'static [&'static str],
}

const FORMS: [Form; 4] = [
    Form {
        format: RowFormat::Alpaca,
        name: "alpaca",
        telling: &["instruction", "output"],
        optional: &["input", "system", "history"],
    },
    Form {
        format: RowFormat::Messages,
        name: "messages",
        telling: &["messages"],
        optional: &[],
    },
    Form {
        format: RowFormat::Sharegpt,
        name: "sharegpt",
        telling: &["conversations"],
        optional: &["system"],
    },
    Form {
        format: RowFormat::QueryResponse,
        name: "query-response",
        telling: &["query", "response"],
        optional: &["system", "history"],
    },
];

/// Makes a row a conversation.
pub fn parse_row(json: &Json, format: RowFormat) -> Result<ParsedRow, RowReason> {
    let Some(row) = json.as_object() else {
        return Err(RowReason::NotAnObject {
            found: type_of(json).into(),
        });
    };
    let form = form_of(row, format)?;
    let mut turns = match form.format {
        RowFormat::Messages => turn_list(row, "messages")?,
        RowFormat::Sharegpt => turn_list(row, "conversations")?,
        RowFormat::QueryResponse => pair(row, "query", None, "response")?,
        RowFormat::Alpaca | RowFormat::Auto => pair(row, "instruction", Some("input"), "output")?,
    };
    if form.optional.contains(&"system")
        && let Some(system) = text(row, "system")?
    {
        turns.insert(0, Message::system(system));
    }
    check_order(&turns, form)?;
    let known =
        |key: &str| key == "group" || form.telling.contains(&key) || form.optional.contains(&key);
    Ok(ParsedRow {
        conversation: Conversation::new(turns),
        group: group(row)?,
        ignored_keys: row.keys().filter(|key| !known(key)).cloned().collect(),
    })
}

fn form_of(row: &Map<String, Json>, format: RowFormat) -> Result<&'static Form, RowReason> {
    let keys = || {
        row.keys()
            .map(String::as_str)
            .collect::<Vec<_>>()
            .join(", ")
    };
    let fits = |form: &&Form| form.telling.iter().any(|key| row.contains_key(*key));
    if let Some(forced) = FORMS.iter().find(|form| form.format == format) {
        return match forced.telling.iter().find(|key| !row.contains_key(**key)) {
            Some(missing) if !fits(&forced) => Err(RowReason::MissingKey {
                key: (*missing).to_string(),
                format: forced.name.into(),
                keys: keys(),
            }),
            _ => Ok(forced),
        };
    }
    let fitting: Vec<&Form> = FORMS.iter().filter(fits).collect();
    match fitting[..] {
        [form] => Ok(form),
        [] => Err(RowReason::UnknownForm { keys: keys() }),
        _ => Err(RowReason::AmbiguousForm {
            keys: keys(),
            forms: fitting
                .iter()
                .map(|form| form.name)
                .collect::<Vec<_>>()
                .join(" and "),
        }),
    }
}

/// Question and answer under a key each, after the turns of `history`.
fn pair(
    row: &Map<String, Json>,
    question_key: &str,
    input_key: Option<&str>,
    answer_key: &str,
) -> Result<Vec<Message>, RowReason> {
    let mut turns = history(row)?;
    let input = input_key.map_or(Ok(None), |key| text(row, key))?;
    let parts: Vec<String> = text(row, question_key)?.into_iter().chain(input).collect();
    if parts.is_empty() {
        return Err(RowReason::NoQuestion {
            key: question_key.to_string(),
        });
    }
    let answer = text(row, answer_key)?;
    let answer = answer.ok_or_else(|| RowReason::NoAnswer {
        key: answer_key.to_string(),
    })?;
    turns.push(Message::user(parts.join("\n")));
    turns.push(Message::assistant(answer));
    Ok(turns)
}

/// `history`: earlier rounds, a list of [question, answer].
fn history(row: &Map<String, Json>) -> Result<Vec<Message>, RowReason> {
    let rounds = match row.get("history") {
        None | Some(Json::Null) => return Ok(Vec::new()),
        Some(Json::Array(rounds)) => rounds,
        Some(other) => return Err(wrong_type("history", other, "a list of [question, answer]")),
    };
    let mut turns = Vec::new();
    for (i, round) in rounds.iter().enumerate() {
        match round.as_array().map(Vec::as_slice) {
            Some([Json::String(question), Json::String(answer)]) => {
                turns.push(Message::user(question));
                turns.push(Message::assistant(answer));
            }
            _ => {
                return Err(wrong_type(
                    &format!("history[{i}]"),
                    round,
                    "[question, answer]",
                ));
            }
        }
    }
    Ok(turns)
}

/// A list of turns, each `{role, content}` or `{from, value}`.
fn turn_list(row: &Map<String, Json>, key: &str) -> Result<Vec<Message>, RowReason> {
    let list = match row.get(key) {
        Some(Json::Array(list)) => list,
        Some(other) => return Err(wrong_type(key, other, "a list of turns")),
        None => {
            return Err(RowReason::NoAnswer {
                key: key.to_string(),
            });
        }
    };
    let mut turns = Vec::with_capacity(list.len());
    for (i, item) in list.iter().enumerate() {
        let place = format!("{key}[{i}]");
        let Some(turn) = item.as_object() else {
            return Err(wrong_type(&place, item, "an object"));
        };
        let (role_key, text_key) = if turn.contains_key("from") {
            ("from", "value")
        } else {
            ("role", "content")
        };
        let field = |field: &str| match turn.get(field) {
            Some(Json::String(text)) => Ok(text.as_str()),
            other => {
                let found = other.unwrap_or(&Json::Null);
                Err(wrong_type(&format!("{place}.{field}"), found, "a text"))
            }
        };
        let role = match field(role_key)? {
            "system" => Role::System,
            "user" | "human" => Role::User,
            "assistant" | "gpt" => Role::Assistant,
            role => {
                let key = format!("{place}.{role_key}");
                return Err(RowReason::UnknownRole {
                    key,
                    role: role.to_string(),
                });
            }
        };
        turns.push(Message::new(role, field(text_key)?));
    }
    Ok(turns)
}

/// System first, then user and assistant in turns, an answer last; nothing but the system empty.
fn check_order(turns: &[Message], form: &Form) -> Result<(), RowReason> {
    let spoken = match turns.first() {
        Some(first) if first.role == Role::System => &turns[1..],
        _ => turns,
    };
    let key = || form.telling.last().copied().unwrap_or_default().to_string();
    match spoken.last() {
        Some(last) if last.role == Role::Assistant => {}
        _ => return Err(RowReason::NoAnswer { key: key() }),
    }
    for (i, turn) in spoken.iter().enumerate() {
        let expected = if i % 2 == 0 {
            Role::User
        } else {
            Role::Assistant
        };
        if turn.role != expected {
            let roles: Vec<&str> = turns.iter().map(|t| t.role.name()).collect();
            return Err(RowReason::TurnOrder {
                found: roles.join(", "),
            });
        }
        if turn.content.trim().is_empty() {
            return Err(match turn.role {
                Role::Assistant => RowReason::NoAnswer { key: key() },
                _ => RowReason::NoQuestion { key: key() },
            });
        }
    }
    Ok(())
}

/// A text; nothing where it is missing, null, or blank.
fn text(row: &Map<String, Json>, key: &str) -> Result<Option<String>, RowReason> {
    match row.get(key) {
        None | Some(Json::Null) => Ok(None),
        Some(Json::String(text)) if text.trim().is_empty() => Ok(None),
        Some(Json::String(text)) => Ok(Some(text.clone())),
        Some(other) => Err(wrong_type(key, other, "a text")),
    }
}

fn group(row: &Map<String, Json>) -> Result<Option<String>, RowReason> {
    match row.get("group") {
        None | Some(Json::Null) => Ok(None),
        // The prefix keeps a given group apart from the question of another row.
        Some(Json::String(text)) => Ok(Some(format!("group {text}"))),
        Some(Json::Number(number)) => Ok(Some(format!("group {number}"))),
        Some(other) => Err(wrong_type("group", other, "a text or a number")),
    }
}

fn wrong_type(key: &str, found: &Json, wanted: &str) -> RowReason {
    RowReason::WrongType {
        key: key.to_string(),
        found: type_of(found).to_string(),
        wanted: wanted.to_string(),
    }
}

fn type_of(json: &Json) -> &'static str {
    match json {
        Json::Null => "null or missing",
        Json::Bool(_) => "true or false",
        Json::Number(_) => "a number",
        Json::String(_) => "a text",
        Json::Array(_) => "a list",
        Json::Object(_) => "an object",
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn turns(row: Json) -> String {
        let parsed = parse_row(&row, RowFormat::Auto).unwrap();
        let turns = parsed.conversation.messages;
        turns
            .iter()
            .map(|t| format!("{}: {}", t.role, t.content))
            .collect::<Vec<_>>()
            .join(" | ")
    }

    fn refused(row: Json) -> String {
        parse_row(&row, RowFormat::Auto).unwrap_err().to_string()
    }

    #[test]
    fn every_form_becomes_the_same_conversation() {
        let expected = "system: s | user: q0 | assistant: a0 | user: q | assistant: a";
        let history = json!([["q0", "a0"]]);
        let rows = [
            json!({"instruction": "q", "output": "a", "system": "s", "history": history}),
            json!({"query": "q", "response": "a", "system": "s", "history": history}),
            json!({"messages": [
                {"role": "system", "content": "s"}, {"role": "user", "content": "q0"},
                {"role": "assistant", "content": "a0"}, {"role": "user", "content": "q"},
                {"role": "assistant", "content": "a"}]}),
            json!({"system": "s", "conversations": [
                {"from": "human", "value": "q0"}, {"from": "gpt", "value": "a0"},
                {"from": "user", "value": "q"}, {"from": "assistant", "value": "a"}]}),
        ];
        for row in rows {
            assert_eq!(turns(row), expected);
        }
    }

    #[test]
    fn alpaca_input_follows_the_instruction_on_a_new_line() {
        let row = json!({"instruction": "add", "input": "1, 2", "output": "3"});
        assert_eq!(turns(row), "user: add\n1, 2 | assistant: 3");
        let row = json!({"instruction": "add", "input": "", "output": "3", "system": null});
        assert_eq!(turns(row), "user: add | assistant: 3");
    }

    #[test]
    fn empty_system_turn_of_messages_is_kept() {
        let row = json!({"messages": [{"role": "system", "content": ""},
            {"role": "user", "content": "q"}, {"role": "assistant", "content": "a"}]});
        assert_eq!(turns(row), "system:  | user: q | assistant: a");
    }

    #[test]
    fn unknown_keys_are_told() {
        let row = json!({"instruction": "q", "output": "a", "id": 3, "group": "g"});
        let parsed = parse_row(&row, RowFormat::Auto).unwrap();
        assert_eq!(parsed.ignored_keys, ["id"]);
        assert_eq!(parsed.group.as_deref(), Some("group g"));
    }

    #[test]
    fn unfit_rows_say_why() {
        let asked = |answer: Json| json!({"instruction": "q", "output": answer});
        let speaks = |role: &str| json!({"messages": [{"role": role, "content": "x"}]});
        let reasons = [
            json!([1]),
            json!({"prompt": "q", "completion": "a"}),
            json!({"instruction": "q", "response": "a"}),
            asked(json!(" ")),
            asked(json!(null)),
            asked(json!(3)),
            json!({"output": "a"}),
            speaks("user"),
            speaks("assistant"),
            speaks("tool"),
            json!({"messages": [{"role": "user"}]}),
            json!({"messages": "x"}),
            json!({"query": "q", "response": "a", "history": [["x"]]}),
            json!({"query": "q", "response": "a", "group": []}),
        ]
        .map(refused);
        insta::assert_snapshot!(reasons.join("\n"), @r#"
        a row is a JSON object, this is a list
        keys [prompt, completion] fit no known form; known: alpaca (instruction, output; optional input, system, history), messages (messages: role, content), sharegpt (conversations: from, value), query-response (query, response; optional system, history)
        keys [instruction, response] fit alpaca and query-response; take one out, or set `format` under [data] to the one that counts
        no answer: `output` is missing or empty
        no answer: `output` is missing or empty
        `output` is a number, not a text
        no question: `instruction` is missing or empty
        no answer: `messages` is missing or empty
        turns go assistant; after an optional system turn, user and assistant take turns
        unknown speaker "tool" in `messages[0].role`; known: system, user or human, assistant or gpt
        `messages[0].content` is null or missing, not a text
        `messages` is a text, not a list of turns
        `history[0]` is a list, not [question, answer]
        `group` is a list, not a text or a number
        "#);
    }

    #[test]
    fn given_format_decides_between_two_forms() {
        let row = json!({"instruction": "q", "output": "a", "response": "b"});
        let parsed = parse_row(&row, RowFormat::Alpaca).unwrap();
        assert_eq!(parsed.ignored_keys, ["response"]);
        let error = parse_row(&json!({"query": "q"}), RowFormat::Messages).unwrap_err();
        insta::assert_snapshot!(error, @r#"no `messages`, which `format = "messages"` asks for; keys: [query]"#);
    }
}
