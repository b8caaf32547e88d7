//! The forms of a data row, and the conversation in each.
//!
//! alpaca (`instruction`, `input`, `output`), OpenAI `messages`, ShareGPT `conversations`, ms-swift's
//! `conversation`, and a question with its answer under names of their own: `query`/`response`,
//! `question`/`answer`, TRL's `prompt`/`completion`, each a text or a list of turns. Those of a pair
//! may have an earlier `history`, and every form a `system` beside it. A row's form is told by its
//! keys; a row that fits none or two is refused, not guessed at, and so is one that holds what
//! training on text would leave out.

use serde_json::{Map, Value as Json};

use crate::chat::{Conversation, Message, Role};
use crate::train::config::RowFormat;

use super::error::RowReason;
use super::fields::{is_empty, present, text, type_of, wrong_type};
use super::turns::{Turns, read_turns};

/// A row as a conversation that ends with an answer.
#[derive(Debug, Clone, PartialEq)]
pub struct ParsedRow {
    /// The turns.
    pub conversation: Conversation,
    /// The row's own group.
    pub group: Option<String>,
    /// Keys that its form does not know; those of turns as `messages[].name`.
    pub ignored_keys: Vec<String>,
}

/// A form: its name in `format`, and what its keys mean.
#[derive(Debug, PartialEq)]
struct Form {
    format: RowFormat,
    name: &'static str,
    body: Body,
}

/// Where a form has its turns.
#[derive(Debug, PartialEq)]
enum Body {
    /// In one list, under one of these names.
    List(&'static [&'static str]),
    /// In a question and an answer, each under one of several names, with earlier rounds.
    Pair {
        question: &'static [&'static str],
        /// What is asked about, on a line of its own.
        input: Option<&'static str>,
        answer: &'static [&'static str],
        /// Names that tell the form by themselves.
        telling: &'static [&'static str],
    },
}

const FORMS: [Form; 4] = [
    Form {
        format: RowFormat::Alpaca,
        name: "alpaca",
        body: Body::Pair {
            question: &["instruction"],
            input: Some("input"),
            answer: &["output"],
            telling: &["instruction", "output"],
        },
    },
    Form {
        format: RowFormat::Messages,
        name: "messages",
        body: Body::List(&["messages"]),
    },
    Form {
        format: RowFormat::Sharegpt,
        name: "sharegpt",
        body: Body::List(&["conversations", "conversation"]),
    },
    Form {
        format: RowFormat::QueryResponse,
        name: "query-response",
        body: Body::Pair {
            question: &["query", "question", "prompt"],
            input: None,
            answer: &["response", "answer", "completion"],
            // The others stand in rows of every form.
            telling: &["query", "response"],
        },
    },
];

const SYSTEM: [&str; 2] = ["system", "system_prompt"];

/// Keys of a row without which its text is not what was said.
const UNSAID: [(&str, &str); 8] = [
    ("tools", "the template would show the model these tools"),
    ("images", MEDIA),
    ("image", MEDIA),
    ("videos", MEDIA),
    ("video", MEDIA),
    ("audios", MEDIA),
    ("audio", MEDIA),
    ("rejected_images", MEDIA),
];
const MEDIA: &str = "training is on text alone";

/// Marks of rows that are collected for what must not be said.
const VERDICTS: [&str; 2] = ["label", "kto_tag"];

impl Body {
    /// Names of the answer, or of the list.
    fn last_names(&self) -> &'static [&'static str] {
        match self {
            Body::List(names) => names,
            Body::Pair { answer, .. } => answer,
        }
    }

    fn fits(&self, row: &Map<String, Json>) -> bool {
        let any = |names: &[&str]| names.iter().any(|key| present(row, key).is_some());
        match self {
            Body::List(names) => any(names),
            Body::Pair {
                question,
                answer,
                telling,
                ..
            } => any(telling) || any(question) && any(answer),
        }
    }

    /// Whether a row has all that the form asks for.
    fn is_whole(&self, row: &Map<String, Json>) -> bool {
        let any = |names: &[&str]| names.iter().any(|key| present(row, key).is_some());
        match self {
            Body::List(names) => any(names),
            Body::Pair {
                question,
                input,
                answer,
                ..
            } => (any(question) || input.is_some_and(|key| any(&[key]))) && any(answer),
        }
    }

    fn knows(&self, key: &str) -> bool {
        match self {
            Body::List(names) => names.contains(&key),
            Body::Pair {
                question,
                input,
                answer,
                ..
            } => {
                question.contains(&key)
                    || *input == Some(key)
                    || answer.contains(&key)
                    || key == "history"
            }
        }
    }
}

/// Makes a row a conversation.
pub fn parse_row(json: &Json, format: RowFormat) -> Result<ParsedRow, RowReason> {
    let Some(row) = json.as_object() else {
        return Err(RowReason::NotAnObject {
            found: type_of(json).into(),
        });
    };
    let form = form_of(row, format)?;
    refuse_unsaid(row)?;
    let (key, mut read) = body(row, &form.body)?;
    put_system(row, key, &mut read.turns)?;
    check_order(&read.turns, key)?;
    let known = |key: &str| {
        key == "group"
            || form.body.knows(key)
            || SYSTEM.contains(&key)
            || UNSAID.iter().any(|(unsaid, _)| *unsaid == key)
    };
    let unknown = row.iter().filter(|(_, value)| !value.is_null());
    let mut ignored_keys = read.ignored_keys;
    ignored_keys.extend(
        unknown
            .map(|(key, _)| key)
            .filter(|key| !known(key))
            .cloned(),
    );
    Ok(ParsedRow {
        conversation: Conversation::new(read.turns),
        group: group(row)?,
        ignored_keys,
    })
}

/// The first question of a row, whatever its form, with the text that it is asked about; `None`
/// where it has none. What else the row holds does not count.
pub fn first_question(json: &Json) -> Option<String> {
    let row = json.as_object()?;
    let of_turns = |place: &str, list: &[Json]| {
        // A turn after the question may be one that cannot be trained on.
        (1..=list.len()).find_map(|n| {
            let turns = read_turns(place, &list[..n]).ok()?.turns;
            let asked = turns.into_iter().find(|turn| turn.role == Role::User)?;
            Some(asked.content)
        })
    };
    let of = |form: &Form| match form.body {
        Body::List(names) => {
            let (key, value) = first_of(row, names)?;
            of_turns(key, value.as_array()?)
        }
        Body::Pair {
            question, input, ..
        } => {
            let (key, value) = first_of(row, question)?;
            if let Json::Array(list) = value {
                return of_turns(key, list);
            }
            let input = input.and_then(|key| text(row, key).ok()?);
            let parts: Vec<String> = text(row, key).ok()?.into_iter().chain(input).collect();
            Some(parts.join("\n"))
        }
    };
    let mut questions = FORMS.iter().filter_map(of);
    questions.find(|text| !text.trim().is_empty())
}

fn keys(row: &Map<String, Json>) -> String {
    let there = row.iter().filter(|(_, value)| !value.is_null());
    let names: Vec<&str> = there.map(|(key, _)| key.as_str()).collect();
    names.join(", ")
}

fn form_of(row: &Map<String, Json>, format: RowFormat) -> Result<&'static Form, RowReason> {
    if let Some(forced) = FORMS.iter().find(|form| form.format == format) {
        if forced.body.fits(row) {
            return Ok(forced);
        }
        return Err(RowReason::MissingKey {
            key: forced.body.last_names()[0].to_string(),
            format: forced.name.into(),
            keys: keys(row),
        });
    }
    // Whatever form its question has: a preference is no answer of that form that is missing.
    if present(row, "chosen").is_some() && present(row, "rejected").is_some() {
        return Err(RowReason::Preference { keys: keys(row) });
    }
    let fitting: Vec<&Form> = FORMS.iter().filter(|form| form.body.fits(row)).collect();
    let names = || {
        let names: Vec<&str> = fitting.iter().map(|form| form.name).collect();
        names.join(" and ")
    };
    match fitting[..] {
        [form] => Ok(form),
        [] => Err(unknown_form(row)),
        _ if fitting.iter().any(|form| form.body.is_whole(row)) => Err(RowReason::AmbiguousForm {
            keys: keys(row),
            forms: names(),
        }),
        _ => Err(RowReason::MixedForms {
            keys: keys(row),
            forms: names(),
        }),
    }
}

fn unknown_form(row: &Map<String, Json>) -> RowReason {
    if present(row, "chosen").is_some() || present(row, "rejected").is_some() {
        return RowReason::Preference { keys: keys(row) };
    }
    if present(row, "text").is_some() {
        return RowReason::PlainText { keys: keys(row) };
    }
    RowReason::UnknownForm { keys: keys(row) }
}

fn refuse_unsaid(row: &Map<String, Json>) -> Result<(), RowReason> {
    for (key, why) in UNSAID {
        if row.get(key).is_some_and(|value| !is_empty(value)) {
            return Err(RowReason::Unsaid {
                key: key.to_string(),
                why: why.to_string(),
            });
        }
    }
    match VERDICTS
        .iter()
        .find(|key| row.get(**key) == Some(&Json::Bool(false)))
    {
        Some(key) => Err(RowReason::Rejected {
            key: (*key).to_string(),
        }),
        None => Ok(()),
    }
}

/// The first of several keys that is there.
fn first_of<'r>(
    row: &'r Map<String, Json>,
    names: &[&'static str],
) -> Option<(&'static str, &'r Json)> {
    names
        .iter()
        .find_map(|key| Some((*key, present(row, key)?)))
}

/// The one of several keys that is there, else the first.
fn only<'n>(row: &Map<String, Json>, names: &'n [&'n str]) -> Result<&'n str, RowReason> {
    let there: Vec<&str> = names
        .iter()
        .filter(|key| present(row, key).is_some())
        .copied()
        .collect();
    match there[..] {
        [first, second, ..] => Err(RowReason::TwoKeys {
            first: first.to_string(),
            second: second.to_string(),
        }),
        [key] => Ok(key),
        [] => Ok(names[0]),
    }
}

/// The turns, and the key of the last one.
fn body(row: &Map<String, Json>, body: &Body) -> Result<(&'static str, Turns), RowReason> {
    match *body {
        Body::List(names) => {
            let key = only(row, names)?;
            match present(row, key) {
                Some(Json::Array(list)) => Ok((key, read_turns(key, list)?)),
                Some(other) => Err(wrong_type(key, other, "a list of turns")),
                None => Err(RowReason::NoAnswer { key: key.into() }),
            }
        }
        Body::Pair {
            question,
            input,
            answer,
            ..
        } => {
            let question = only(row, question)?;
            let answer = only(row, answer)?;
            Ok((answer, pair(row, question, input, answer)?))
        }
    }
}

/// Question and answer under a key each, after the turns of `history`. Where the question is a list
/// of turns, loss lies on what stands under the answer alone, as in TRL.
fn pair(
    row: &Map<String, Json>,
    question_key: &str,
    input_key: Option<&str>,
    answer_key: &str,
) -> Result<Turns, RowReason> {
    let mut read = Turns {
        turns: history(row)?,
        ..Turns::default()
    };
    if let Some(Json::Array(list)) = present(row, question_key) {
        let asked = read_turns(question_key, list)?;
        let said = asked.turns.into_iter();
        read.turns.extend(said.map(|turn| match turn.role {
            Role::Assistant => turn.unlearned(),
            Role::System | Role::User => turn,
        }));
        read.ignored_keys.extend(asked.ignored_keys);
    } else {
        let input = input_key.map_or(Ok(None), |key| text(row, key))?;
        let parts: Vec<String> = text(row, question_key)?.into_iter().chain(input).collect();
        if parts.is_empty() {
            return Err(RowReason::NoQuestion {
                key: question_key.to_string(),
            });
        }
        read.turns.push(Message::user(parts.join("\n")));
    }
    if let Some(Json::Array(list)) = present(row, answer_key) {
        let said = read_turns(answer_key, list)?;
        read.turns.extend(said.turns);
        read.ignored_keys.extend(said.ignored_keys);
    } else {
        let answer = text(row, answer_key)?.ok_or_else(|| RowReason::NoAnswer {
            key: answer_key.to_string(),
        })?;
        read.turns.push(Message::assistant(answer));
    }
    Ok(read)
}

/// `history`: earlier rounds, a list of [question, answer].
fn history(row: &Map<String, Json>) -> Result<Vec<Message>, RowReason> {
    let rounds = match present(row, "history") {
        None => return Ok(Vec::new()),
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

/// Puts a system prompt that stands beside the turns before them.
fn put_system(
    row: &Map<String, Json>,
    list: &str,
    turns: &mut Vec<Message>,
) -> Result<(), RowReason> {
    let key = only(row, &SYSTEM)?;
    let Some(system) = text(row, key)? else {
        return Ok(());
    };
    match turns.first() {
        Some(first) if first.role == Role::System && first.content == system => Ok(()),
        Some(first) if first.role == Role::System => Err(RowReason::TwoSystems {
            key: key.to_string(),
            list: list.to_string(),
        }),
        _ => {
            turns.insert(0, Message::system(system));
            Ok(())
        }
    }
}

/// System first, then user and assistant in turns, an answer last; nothing but the system empty,
/// and an answer to learn.
fn check_order(turns: &[Message], key: &str) -> Result<(), RowReason> {
    let spoken = match turns.first() {
        Some(first) if first.role == Role::System => &turns[1..],
        _ => turns,
    };
    let roles = || {
        let roles: Vec<&str> = turns.iter().map(|turn| turn.role.name()).collect();
        roles.join(", ")
    };
    for (i, turn) in spoken.iter().enumerate() {
        let expected = if i % 2 == 0 {
            Role::User
        } else {
            Role::Assistant
        };
        if turn.role != expected {
            return Err(RowReason::TurnOrder { found: roles() });
        }
        if turn.content.trim().is_empty() {
            return Err(match turn.role {
                Role::Assistant => RowReason::NoAnswer { key: key.into() },
                _ => RowReason::NoQuestion { key: key.into() },
            });
        }
    }
    let mut answers = spoken.iter().filter(|turn| turn.role == Role::Assistant);
    match spoken.last() {
        None => Err(RowReason::NoAnswer { key: key.into() }),
        Some(last) if last.role != Role::Assistant => Err(RowReason::EndsWithQuestion {
            key: key.into(),
            found: roles(),
        }),
        Some(_) if !answers.any(|turn| turn.learned) => Err(RowReason::NothingLearned),
        Some(_) => Ok(()),
    }
}

fn group(row: &Map<String, Json>) -> Result<Option<String>, RowReason> {
    match present(row, "group") {
        None => Ok(None),
        // The prefix keeps a given group apart from the question of another row.
        Some(Json::String(text)) => Ok(Some(format!("group {text}"))),
        Some(Json::Number(number)) => Ok(Some(format!("group {number}"))),
        Some(other) => Err(wrong_type("group", other, "a text or a number")),
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
            json!({"system": "s", "conversation": [
                {"human": "q0", "assistant": "a0"}, {"human": "q", "assistant": "a"}]}),
            json!({"system": "s", "messages": [
                {"role": "user", "content": "q0"}, {"role": "assistant", "content": "a0"},
                {"role": "user", "content": "q"}, {"role": "assistant", "content": "a"}]}),
            json!({"question": "q", "answer": "a", "system_prompt": "s", "history": history}),
            json!({"prompt": "q", "completion": "a", "system": "s", "history": history}),
            json!({"completion": [{"role": "assistant", "content": "a"}], "prompt": [
                {"role": "system", "content": "s"}, {"role": "user", "content": "q0"},
                {"role": "assistant", "content": "a0"}, {"role": "user", "content": "q"}]}),
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

    /// ms-swift and LLaMA-Factory write it so; without it the model is trained under another prompt.
    #[test]
    fn a_system_prompt_beside_messages_counts() {
        let said = |system: Json, turns: Json| {
            let mut all = turns.as_array().unwrap().clone();
            all.push(json!({"role": "user", "content": "q"}));
            all.push(json!({"role": "assistant", "content": "a"}));
            json!({"system": system, "messages": all})
        };
        let own = |text: &str| json!([{"role": "system", "content": text}]);
        assert_eq!(
            turns(said(json!("s"), json!([]))),
            "system: s | user: q | assistant: a"
        );
        assert_eq!(
            turns(said(json!("s"), own("s"))),
            "system: s | user: q | assistant: a"
        );
        for nothing in [json!(null), json!(""), json!(" ")] {
            assert_eq!(turns(said(nothing, json!([]))), "user: q | assistant: a");
        }
        insta::assert_snapshot!(refused(said(json!("s"), own("t"))), @"`system` and the system turn of `messages` differ; take one out");
    }

    /// TRL's loss lies on the completion.
    #[test]
    fn answers_within_a_prompt_are_not_learned() {
        let row = json!({"completion": [{"role": "assistant", "content": "a"}], "prompt": [
            {"role": "user", "content": "q0"}, {"role": "assistant", "content": "a0"},
            {"role": "user", "content": "q"}]});
        let parsed = parse_row(&row, RowFormat::Auto).unwrap();
        let turns = parsed.conversation.messages.iter();
        let learned: Vec<bool> = turns
            .filter(|t| t.role == Role::Assistant)
            .map(|t| t.learned)
            .collect();
        assert_eq!(learned, [false, true]);
    }

    /// A table of rows of two forms has the keys of both in each row.
    #[test]
    fn null_columns_are_absent_in_every_format() {
        let two = [
            json!({"instruction": "q", "output": "a", "messages": null, "tools": null, "id": null}),
            json!({"instruction": null, "output": null, "messages": [
                {"role": "user", "content": "q"}, {"role": "assistant", "content": "a"}]}),
        ];
        for row in &two {
            assert_eq!(turns(row.clone()), "user: q | assistant: a");
            assert!(
                parse_row(row, RowFormat::Auto)
                    .unwrap()
                    .ignored_keys
                    .is_empty()
            );
        }
        assert!(parse_row(&two[0], RowFormat::Alpaca).is_ok());
        let error = parse_row(&two[1], RowFormat::Alpaca).unwrap_err();
        insta::assert_snapshot!(error, @r#"no `output`, which `format = "alpaca"` asks for; keys: [messages]"#);
    }

    #[test]
    fn a_key_that_stands_in_rows_of_every_form_decides_nothing() {
        let list = json!([{"role": "user", "content": "q"}, {"role": "assistant", "content": "a"}]);
        let row = json!({"prompt": "q", "prompt_id": "1", "messages": list});
        let parsed = parse_row(&row, RowFormat::Auto).unwrap();
        assert_eq!(parsed.ignored_keys, ["prompt", "prompt_id"]);
        let row = json!({"messages": list, "answer": "42"});
        assert_eq!(turns(row), "user: q | assistant: a");
    }

    /// What training on text would leave out is not left out without a word.
    #[test]
    fn a_row_that_says_more_than_its_text_is_refused() {
        let with = |key: &str, value: Json| json!({"query": "q", "response": "a", key: value});
        for (key, empty) in [
            ("tools", json!("[]")),
            ("images", json!([])),
            ("label", json!(true)),
        ] {
            assert_eq!(turns(with(key, empty)), "user: q | assistant: a", "{key}");
        }
        let reasons = [
            with("tools", json!([{"type": "function"}])),
            with("images", json!(["a.png"])),
            with("label", json!(false)),
            with("kto_tag", json!(false)),
            json!({"prompt": "q", "chosen": "a", "rejected": "b"}),
            json!({"conversations": [{"from": "human", "value": "q"}],
                "chosen": {"from": "gpt", "value": "a"}, "rejected": {"from": "gpt", "value": "b"}}),
            json!({"instruction": "q", "input": "", "chosen": "a", "rejected": "b"}),
            json!({"text": "Once upon a time"}),
            json!({"query": "q", "question": "q", "response": "a"}),
            json!({"messages": [{"role": "user", "content": "q"},
                {"role": "assistant", "content": "a", "loss": false}]}),
            json!({"messages": [{"role": "user", "content": "q"}, {"role": "assistant", "content": "a"},
                {"role": "user", "content": "Thanks."}]}),
        ]
        .map(refused);
        insta::assert_snapshot!(reasons.join("\n"), @"
        `tools` says what the text does not: the template would show the model these tools; take the row out, or the key where it does not count
        `images` says what the text does not: training is on text alone; take the row out, or the key where it does not count
        `label` is false: the answer is one that must not be learned; take the row out, or the key where it means something else
        `kto_tag` is false: the answer is one that must not be learned; take the row out, or the key where it means something else
        keys [prompt, chosen, rejected] are those of a preference, and qeval learns answers: write the chosen one as the row's answer (`response` beside a `query`, `output` beside an `instruction`, the last turn of `messages` or `conversations`), and leave the other out
        keys [conversations, chosen, rejected] are those of a preference, and qeval learns answers: write the chosen one as the row's answer (`response` beside a `query`, `output` beside an `instruction`, the last turn of `messages` or `conversations`), and leave the other out
        keys [instruction, input, chosen, rejected] are those of a preference, and qeval learns answers: write the chosen one as the row's answer (`response` beside a `query`, `output` beside an `instruction`, the last turn of `messages` or `conversations`), and leave the other out
        keys [text]: a plain `text` has no question and no answer; loss lies on answers alone: write rows of one of these forms: alpaca (instruction, output; optional input, history), messages (messages: role, content), sharegpt (conversations: from, value, or rounds of human, assistant), query-response (query, question, or prompt with response, answer, or completion; optional history), each with an optional system
        `query` and `question` mean the same in a row; take one out
        no answer of it is to be learned: each is marked to be left out; take the row out
        `messages` ends with a question (turns go user, assistant, user), and a row ends with an answer: take the last turn out, or add its answer
        ");
    }

    #[test]
    fn unfit_rows_say_why() {
        let asked = |answer: Json| json!({"instruction": "q", "output": answer});
        let speaks = |role: &str| json!({"messages": [{"role": role, "content": "x"}]});
        let reasons = [
            json!([1]),
            json!({"ask": "q", "reply": "a"}),
            json!({"instruction": "q", "response": "a"}),
            json!({"instruction": "q", "output": "a", "response": "b"}),
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
        keys [ask, reply] fit no known form; known: alpaca (instruction, output; optional input, history), messages (messages: role, content), sharegpt (conversations: from, value, or rounds of human, assistant), query-response (query, question, or prompt with response, answer, or completion; optional history), each with an optional system
        keys [instruction, response] are of alpaca and query-response, and neither has both its question and its answer; rename them as one form has them: alpaca (instruction, output; optional input, history), messages (messages: role, content), sharegpt (conversations: from, value, or rounds of human, assistant), query-response (query, question, or prompt with response, answer, or completion; optional history), each with an optional system
        keys [instruction, output, response] fit alpaca and query-response; take one out, or set `format` under [data] to the one that counts
        no answer: `output` is missing or empty
        no answer: `output` is missing or empty
        `output` is a number, not a text
        no question: `instruction` is missing or empty
        `messages` ends with a question (turns go user), and a row ends with an answer: take the last turn out, or add its answer
        turns go assistant; after an optional system turn, user and assistant take turns
        unknown speaker "tool" in `messages[0].role`; known: system, user or human, assistant, gpt, bot, or model
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
