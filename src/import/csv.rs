//! Tables with commas between their fields, as npm's `csv-parse` reads them for promptfoo: the
//! first row names the columns, every row has as many fields, and a quote inside of a field is
//! doubled. A quote in the middle of a field that has none in front is itself.

use serde_json::{Map, Value};

/// Most rows: more would not make a suite that loads.
const MOST_ROWS: usize = 200_000;

/// What stands around fields and between rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Blanks {
    /// They belong to the table.
    Kept,
    /// Blanks around fields are cut, and empty lines are no rows.
    Cut,
}

/// The rows of a table, by the names of their columns.
///
/// # Errors
/// Where it is no such table.
pub(super) fn rows(text: &str, blanks: Blanks) -> Result<Vec<Map<String, Value>>, String> {
    let mut records = records(text, blanks)?.into_iter();
    let Some((_, header)) = records.next() else {
        return Ok(Vec::new());
    };
    let rows = records.map(|(line, record)| {
        if record.len() != header.len() {
            return Err(format!(
                "line {line} has {}, and the first has {}",
                crate::text::plural(record.len(), "field"),
                header.len()
            ));
        }
        let fields = header
            .iter()
            .cloned()
            .zip(record.into_iter().map(Value::from));
        Ok(fields.collect())
    });
    rows.collect()
}

/// Every record with the line that it begins on.
fn records(text: &str, blanks: Blanks) -> Result<Vec<(usize, Vec<String>)>, String> {
    let text = text.strip_prefix('\u{FEFF}').unwrap_or(text);
    let mut records = Vec::new();
    let mut fields: Vec<String> = Vec::new();
    let mut chars = text.chars().peekable();
    let (mut line, mut begun) = (1, 1);
    let cut = blanks == Blanks::Cut;
    let is_blank = |c: &char| cut && (*c == ' ' || *c == '\t');
    while chars.peek().is_some() {
        while chars.next_if(is_blank).is_some() {}
        let (field, end) = if chars.next_if_eq(&'"').is_some() {
            let field = quoted(&mut chars, &mut line, begun)?;
            while chars.next_if(is_blank).is_some() {}
            (field, chars.next())
        } else {
            let mut field = String::new();
            let end = loop {
                match chars.next() {
                    Some(c) if c != ',' && c != '\n' => field.push(c),
                    end => break end,
                }
            };
            (field, end)
        };
        fields.push(if cut { field.trim().to_owned() } else { field });
        match end {
            Some(',') if chars.peek().is_none() => fields.push(String::new()),
            Some(',') => continue,
            Some('\n') => line += 1,
            None => {}
            Some(c) => {
                return Err(format!("line {line} has `{c}` behind a closing quote"));
            }
        }
        let record = std::mem::take(&mut fields);
        let empty = cut && record.iter().all(String::is_empty) && record.len() == 1;
        if !empty {
            records.push((begun, record));
        }
        if records.len() > MOST_ROWS {
            return Err(format!("it has more than {MOST_ROWS} rows"));
        }
        begun = line;
    }
    if !fields.is_empty() {
        records.push((begun, fields));
    }
    Ok(records)
}

fn quoted(
    chars: &mut std::iter::Peekable<std::str::Chars<'_>>,
    line: &mut usize,
    begun: usize,
) -> Result<String, String> {
    let mut field = String::new();
    while let Some(c) = chars.next() {
        match c {
            '"' if chars.next_if_eq(&'"').is_some() => field.push('"'),
            '"' => return Ok(field),
            c => {
                *line += usize::from(c == '\n');
                field.push(c);
            }
        }
    }
    Err(format!(
        "a quote that is opened in the row of line {begun} is not closed"
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> String {
        match rows(text, Blanks::Kept) {
            Ok(rows) => serde_json::to_string(&rows).unwrap(),
            Err(why) => why,
        }
    }

    #[test]
    fn blanks_around_fields_can_be_cut() {
        let rows = rows(
            "prompt,label\n\"Tell, {{q}}\" , \"a\" \n\n x ,b\n",
            Blanks::Cut,
        )
        .unwrap();
        assert_eq!(
            serde_json::to_string(&rows).unwrap(),
            r#"[{"prompt":"Tell, {{q}}","label":"a"},{"prompt":"x","label":"b"}]"#
        );
    }

    /// As csv-parse 6 reads it with `columns: true, bom: true`.
    #[test]
    fn rows_have_the_names_of_their_columns() {
        insta::assert_snapshot!(
            [
                read("question,__expected\n\"What is the capital of Peru?\",icontains: lima\nWhat is 2+2?,contains: 4\n"),
                read("a,b\n\"x, \"\"y\"\"\nz\",\n5' 10\" tall,2"),
                read("a,b\n1\n"),
                read("a,b\n1,2\n\n"),
                read("a\n\"x\"y\n"),
                read("a\n\"x\n"),
                read("\u{FEFF}a\n1\n"),
                read(""),
                read("a,b\n1,"),
            ]
            .join("\n"),
            @r#"
            [{"question":"What is the capital of Peru?","__expected":"icontains: lima"},{"question":"What is 2+2?","__expected":"contains: 4"}]
            [{"a":"x, \"y\"\nz","b":""},{"a":"5' 10\" tall","b":"2"}]
            line 2 has 1 field, and the first has 2
            line 3 has 1 field, and the first has 2
            line 2 has `y` behind a closing quote
            a quote that is opened in the row of line 2 is not closed
            [{"a":"1"}]
            []
            [{"a":"1","b":""}]
            "#
        );
    }
}
