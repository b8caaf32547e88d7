//! CSV: `SUBJECT.csv`, one row an answer, as RFC 4180 has it, in UTF-8 with a line feed.
//!
//! A spreadsheet takes a cell that begins with `=`, `+`, `-`, `@`, a tab, or a carriage return for a
//! formula, and answers are not to be trusted: such text has an apostrophe in front. NUL, which many
//! readers end at, is U+FFFD. Numbers are never changed, and Parquet keeps all text as it was.

use std::path::Path;

use crate::flow::Recorded;

use super::PutFile;
use super::columns::{COLUMNS, Cell};
use super::file_name::file_name;

/// Writes a subject.
///
/// # Errors
/// What `put` returns.
pub fn csv<E>(recorded: &Recorded, put: PutFile<'_, E>) -> Result<(), E> {
    let names: Vec<&str> = COLUMNS.iter().map(|column| column.name).collect();
    let mut text = names.join(",");
    text.push('\n');
    for suite in &recorded.suites {
        for answer in recorded.answers(suite) {
            let cells: Vec<String> = COLUMNS
                .iter()
                .map(|column| written((column.cell)(recorded, &answer)))
                .collect();
            text.push_str(&cells.join(","));
            text.push('\n');
        }
    }
    let file = file_name(&recorded.subject().name) + ".csv";
    put(Path::new(&file), text.as_bytes())
}

fn written(cell: Cell) -> String {
    match cell {
        Cell::Text(text) => text.as_deref().map_or_else(String::new, quoted),
        Cell::Whole(number) => number.map_or_else(String::new, |n| n.to_string()),
        Cell::Real(number) => number.map_or_else(String::new, |x| x.to_string()),
        Cell::Flag(flag) => flag.to_string(),
    }
}

fn quoted(text: &str) -> String {
    let formula = text.starts_with(['=', '+', '-', '@', '\t', '\r']);
    let apostrophe = if formula { "'" } else { "" };
    let special = text.contains([',', '"', '\n', '\r', '\0']);
    match special || formula || text.starts_with(' ') || text.ends_with(' ') {
        true => {
            let text = text.replace('"', "\"\"").replace('\0', "\u{fffd}");
            format!("\"{apostrophe}{text}\"")
        }
        false => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_cell_is_a_formula_or_ends_its_row() {
        let shown: Vec<String> = [
            "plain",
            "a,b",
            "say \"no\"",
            "two\nlines",
            "=1+1",
            "@SUM(A1)",
            "-2",
            "\t=1",
            "nul\0",
            "模型",
            "",
        ]
        .map(quoted)
        .to_vec();
        insta::assert_snapshot!(shown.join("\n"), @r#"
        plain
        "a,b"
        "say ""no"""
        "two
        lines"
        "'=1+1"
        "'@SUM(A1)"
        "'-2"
        "'	=1"
        "nul�"
        模型
        "#);
    }
}
