//! The rows of a data file, each with the line at which it begins.
//!
//! A file whose first character is `[` is one JSON array, one that begins as parquet is a table;
//! any other is JSONL. Rows are handed over one by one: a row as JSON takes many times the memory
//! of its text, and a file may hold a million.

use serde::Deserializer;
use serde::de::{SeqAccess, Visitor};
use serde_json::Value as Json;

use crate::file_text::{decode, is_lfs_pointer};

use super::error::DataError;
use super::example::Origin;
use super::parquet::{each_parquet_row, is_parquet};

/// A row before its form is known.
#[derive(Debug, Clone, PartialEq)]
pub struct RawRow {
    /// Its place.
    pub origin: Origin,
    /// Its value.
    pub json: Json,
}

/// All rows of a file.
///
/// Errors: as [`each_row`].
pub fn read_rows(file: &str, bytes: Vec<u8>) -> Result<Vec<RawRow>, DataError> {
    let mut rows = Vec::new();
    each_row(file, bytes, |row| rows.push(row))?;
    Ok(rows)
}

/// Hands every row of a file over, in order.
///
/// Errors: bytes that are no UTF-8 and no parquet, text that is no JSON, a file without rows. Rows
/// before the mistake have been handed over.
pub fn each_row(file: &str, bytes: Vec<u8>, mut take: impl FnMut(RawRow)) -> Result<(), DataError> {
    let mut rows = 0usize;
    let counted = |row| {
        rows += 1;
        take(row);
    };
    if is_parquet(&bytes) {
        each_parquet_row(file, bytes, counted)?;
    } else {
        let text = decode(&bytes).map_err(|problem| DataError::NotText {
            file: file.to_string(),
            problem,
        })?;
        if is_lfs_pointer(text.as_bytes()) {
            return Err(DataError::LfsPointer {
                file: file.to_string(),
            });
        }
        if text.trim_start().starts_with('[') {
            array_rows(file, &text, counted)?;
        } else {
            line_rows(file, &text, counted)?;
        }
    }
    if rows == 0 {
        return Err(DataError::NoRows {
            file: file.to_string(),
        });
    }
    Ok(())
}

fn line_rows(file: &str, text: &str, mut take: impl FnMut(RawRow)) -> Result<(), DataError> {
    for (i, line) in text
        .lines()
        .enumerate()
        .filter(|(_, line)| !line.trim().is_empty())
    {
        let json = serde_json::from_str(line).map_err(|e| DataError::Syntax {
            file: file.to_string(),
            line: i + 1,
            column: e.column(),
            reason: reason(&e, line),
        })?;
        take(RawRow {
            origin: Origin {
                file: file.to_string(),
                line: i + 1,
            },
            json,
        });
    }
    Ok(())
}

fn array_rows(file: &str, text: &str, take: impl FnMut(RawRow)) -> Result<(), DataError> {
    let mut reader = serde_json::Deserializer::from_str(text);
    let elements = Elements {
        file,
        lines: ElementLines::new(text),
        take,
    };
    let read = reader.deserialize_seq(elements).and_then(|()| reader.end());
    read.map_err(|e| DataError::Syntax {
        file: file.to_string(),
        line: e.line(),
        column: e.column(),
        reason: reason(
            &e,
            text.lines()
                .nth(e.line().saturating_sub(1))
                .unwrap_or_default(),
        ),
    })
}

/// Reads an array, each element handed over before the next is read.
struct Elements<'f, 't, F> {
    file: &'f str,
    lines: ElementLines<'t>,
    take: F,
}

impl<'de, F: FnMut(RawRow)> Visitor<'de> for Elements<'_, '_, F> {
    type Value = ();

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("an array of rows")
    }

    fn visit_seq<A: SeqAccess<'de>>(mut self, mut array: A) -> Result<(), A::Error> {
        while let Some(json) = array.next_element()? {
            let line = self.lines.next().unwrap_or(1);
            let file = self.file.to_string();
            (self.take)(RawRow {
                origin: Origin { file, line },
                json,
            });
        }
        Ok(())
    }
}

/// serde_json ends its messages with the place, which is written in front here.
fn reason(error: &serde_json::Error, line: &str) -> String {
    let text = error.to_string();
    let plain = text.split(" at line ").next().unwrap_or(&text);
    if plain.contains("surrogate") || plain.contains("hex escape") && line.contains("\\u") {
        return format!(
            "{plain}: a `\\uD83D` and its like is half a character, and the half after it is \
             missing; the text was cut there, so write the character whole, or take it out"
        );
    }
    plain.to_string()
}

/// The line at which each element of the outermost array begins.
struct ElementLines<'t> {
    bytes: std::str::Bytes<'t>,
    line: usize,
    depth: usize,
    in_string: bool,
    escaped: bool,
    awaited: bool,
}

impl<'t> ElementLines<'t> {
    fn new(text: &'t str) -> Self {
        ElementLines {
            bytes: text.bytes(),
            line: 1,
            depth: 0,
            in_string: false,
            escaped: false,
            awaited: false,
        }
    }
}

impl Iterator for ElementLines<'_> {
    type Item = usize;

    fn next(&mut self) -> Option<usize> {
        for byte in self.bytes.by_ref() {
            if self.in_string {
                match byte {
                    _ if self.escaped => self.escaped = false,
                    b'\\' => self.escaped = true,
                    b'"' => self.in_string = false,
                    _ => {}
                }
                continue;
            }
            let begins =
                self.awaited && self.depth == 1 && !byte.is_ascii_whitespace() && byte != b']';
            self.awaited &= !begins;
            match byte {
                b'\n' => self.line += 1,
                b'"' => self.in_string = true,
                b'[' | b'{' => {
                    self.depth += 1;
                    self.awaited |= self.depth == 1;
                }
                b']' | b'}' => self.depth = self.depth.saturating_sub(1),
                b',' if self.depth == 1 => self.awaited = true,
                _ => {}
            }
            if begins {
                return Some(self.line);
            }
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(text: &str) -> Vec<usize> {
        read_rows("d", text.as_bytes().to_vec())
            .unwrap()
            .iter()
            .map(|r| r.origin.line)
            .collect()
    }

    fn error(bytes: &[u8]) -> String {
        read_rows("data.json", bytes.to_vec())
            .unwrap_err()
            .to_string()
    }

    #[test]
    fn rows_know_their_lines() {
        assert_eq!(lines("{}\n\n{\"a\":1}\r\n{}"), [1, 3, 4]);
        assert_eq!(
            lines("\u{FEFF}[{\"a\": \"[,\\\"{\"},\n {},\n\n [1,\n2], 3]\n"),
            [1, 2, 4, 5]
        );
    }

    #[test]
    fn byte_order_mark_is_taken_off() {
        assert_eq!(lines("\u{FEFF}{}"), [1]);
    }

    #[test]
    fn bad_files_are_named_with_their_place() {
        insta::assert_snapshot!(error(b"{}\n{\"a\": \"\xd6\xd0\"}"), @r#"
        data.json:2: not UTF-8: the byte at offset 10 (0xd6) belongs to no character; as GB18030 it reads `{"a": "中"}`, as WINDOWS-1252 it reads `{"a": "ÖÐ"}`
        (data files are UTF-8, with or without a byte order mark, or parquet; convert it as what reads right: `iconv -f GB18030 -t UTF-8 data.json > data.json.utf8`, or `iconv -f WINDOWS-1252 -t UTF-8 data.json > data.json.utf8`)
        "#);
        insta::assert_snapshot!(error(b"[{\"a\": 1},\n {\"a\": }]"), @r"
        data.json:2:8: not valid JSON: expected value
        (a data file is one JSON array of rows, or JSONL: one row a line)
        ");
        insta::assert_snapshot!(error(b"{\n  \"a\": 1\n}"), @r"
        data.json:1:1: not valid JSON: EOF while parsing an object
        (a data file is one JSON array of rows, or JSONL: one row a line)
        ");
        insta::assert_snapshot!(error(b" \n"), @r"
        data.json: no rows
        (a source holds at least one example; take it out of `sources`)
        ");
        assert_eq!(error(b"[]"), error(b"\n"));
    }
}
