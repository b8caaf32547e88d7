//! Questions without answers: the prompts of rehearsal.

use super::error::{DataError, RowProblem, RowReason};
use super::example::Origin;
use super::file::each_row;
use super::form::first_question;

/// Reads the first question of every row, whatever its form, with its place: `instruction` (with its
/// `input`), `query`, `question`, `prompt`, or the first user turn of a list of turns. Answers, where
/// there are any, are left out.
///
/// Errors: a file that is no JSON, or a row without a question, which is named.
pub fn read_prompts(file: &str, bytes: Vec<u8>) -> Result<Vec<(Origin, String)>, DataError> {
    let mut prompts = Vec::new();
    let mut bad = None;
    each_row(file, bytes, |row| match first_question(&row.json) {
        Some(question) => prompts.push((row.origin, question)),
        None if bad.is_none() => bad = Some(row.origin),
        None => {}
    })?;
    match bad {
        None => Ok(prompts),
        Some(origin) => Err(DataError::BadRow(RowProblem {
            origin,
            reason: RowReason::NoPrompt,
        })),
    }
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
{"conversation": [{"human": "r", "assistant": "g"}], "prompt": null}
{"prompt": [{"role": "user", "content": "t"}], "completion": [{"role": "assistant", "content": "c"}]}
{"question": "n", "answer": "a"}
{"messages": [{"role": "user", "content": "w"}, {"role": "assistant", "content": null, "tool_calls": [1]}]}
"#;
        let prompts = read_prompts("r.jsonl", rows.into()).unwrap();
        let texts: Vec<&str> = prompts.iter().map(|(_, text)| text.as_str()).collect();
        assert_eq!(texts, ["a\nb", "q", "p", "u", "h", "r", "t", "n", "w"]);
        assert_eq!(prompts[2].0.line, 3);
    }

    #[test]
    fn a_row_without_a_question_is_named() {
        let rows = b"{\"prompt\": \"p\"}\n{\"answer\": 3}\n";
        insta::assert_snapshot!(read_prompts("r.jsonl", rows.to_vec()).unwrap_err(), @r#"
        r.jsonl:2: no question: a rehearsal row has `instruction`, `query`, `question`, `prompt`, `messages`, or `conversations`
        (mend the row, or leave such rows out, counted and named, with bad_rows = "drop" under [data])
        "#);
    }
}
