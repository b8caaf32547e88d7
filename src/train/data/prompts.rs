//! Questions without answers: the prompts of rehearsal.

use serde_json::Value;

use super::error::{DataError, RowProblem, RowReason};
use super::example::Origin;
use super::file::read_rows;

/// Reads the first question of every row, with its place: `instruction` (with its `input`), `query`, `prompt`, the
/// first user turn of `messages` or of `conversations`. Answers, where there are any, are left out.
///
/// Errors: a file that is no JSON, or a row without a question, which is named.
pub fn read_prompts(file: &str, bytes: &[u8]) -> Result<Vec<(Origin, String)>, DataError> {
    let rows = read_rows(file, bytes)?;
    rows.into_iter()
        .map(|row| match question(&row.json) {
            Some(question) => Ok((row.origin, question)),
            None => Err(DataError::BadRow(RowProblem {
                origin: row.origin,
                reason: RowReason::NoPrompt,
            })),
        })
        .collect()
}

fn question(row: &Value) -> Option<String> {
    let text = |key: &str| {
        row.get(key)
            .and_then(Value::as_str)
            .filter(|t| !t.trim().is_empty())
    };
    if let Some(instruction) = text("instruction") {
        let input = text("input").map_or(String::new(), |input| format!("\n{input}"));
        return Some(instruction.to_owned() + &input);
    }
    let turn = |turns: &str, role: &str, content: &str| {
        let said =
            |turn: &&Value| matches!(turn.get(role)?.as_str()?, "user" | "human").then_some(());
        let turns = row.get(turns)?.as_array()?;
        let first = turns.iter().find(|turn| said(turn).is_some())?;
        Some(first.get(content)?.as_str()?.to_owned())
    };
    text("query")
        .or(text("prompt"))
        .map(str::to_owned)
        .or_else(|| turn("messages", "role", "content"))
        .or_else(|| turn("conversations", "from", "value"))
        .filter(|text| !text.trim().is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_form_gives_its_first_question() {
        let rows = r#"{"instruction": "a", "input": "b", "output": "c"}
{"query": "q", "response": "r"}
{"prompt": "p"}
{"messages": [{"role": "system", "content": "s"}, {"role": "user", "content": "u"}]}
{"conversations": [{"from": "human", "value": "h"}, {"from": "gpt", "value": "g"}]}
"#;
        let prompts = read_prompts("r.jsonl", rows.as_bytes()).unwrap();
        let texts: Vec<&str> = prompts.iter().map(|(_, text)| text.as_str()).collect();
        assert_eq!(texts, ["a\nb", "q", "p", "u", "h"]);
        assert_eq!(prompts[2].0.line, 3);
    }

    #[test]
    fn a_row_without_a_question_is_named() {
        let rows = b"{\"prompt\": \"p\"}\n{\"answer\": 3}\n";
        insta::assert_snapshot!(read_prompts("r.jsonl", rows).unwrap_err(), @r#"
        r.jsonl:2: no question: a rehearsal row has `instruction`, `query`, `prompt`, `messages`, or `conversations`
        (mend the row, or leave such rows out, counted and named, with bad_rows = "drop" under [data])
        "#);
    }
}
