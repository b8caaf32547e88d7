//! The rows of a data file, each with the line at which it begins.
//!
//! A file whose first character is `[` is one JSON array; any other is JSONL. A byte order mark
//! is taken off.

use serde_json::Value as Json;

use super::error::DataError;
use super::example::Origin;

/// A row before its form is known.
#[derive(Debug, Clone, PartialEq)]
pub struct RawRow {
    /// Its place.
    pub origin: Origin,
    /// Its value.
    pub json: Json,
}

/// Splits a file into rows.
///
/// Errors: bytes that are no UTF-8, text that is no JSON, a file without rows.
pub fn read_rows(file: &str, bytes: &[u8]) -> Result<Vec<RawRow>, DataError> {
    let text = std::str::from_utf8(bytes).map_err(|e| {
        let offset = e.valid_up_to();
        DataError::NotUtf8 {
            file: file.to_string(),
            line: line_at(bytes, offset),
            offset,
            byte: bytes.get(offset).copied().unwrap_or(0),
        }
    })?;
    let text = text.strip_prefix('\u{FEFF}').unwrap_or(text);
    let rows = if text.trim_start().starts_with('[') {
        array_rows(file, text)?
    } else {
        line_rows(file, text)?
    };
    if rows.is_empty() {
        return Err(DataError::NoRows {
            file: file.to_string(),
        });
    }
    Ok(rows)
}

fn line_at(bytes: &[u8], offset: usize) -> usize {
    1 + bytes[..offset].iter().filter(|&&b| b == b'\n').count()
}

fn line_rows(file: &str, text: &str) -> Result<Vec<RawRow>, DataError> {
    let mut rows = Vec::new();
    for (i, line) in text
        .lines()
        .enumerate()
        .filter(|(_, line)| !line.trim().is_empty())
    {
        let json = serde_json::from_str(line).map_err(|e| DataError::Syntax {
            file: file.to_string(),
            line: i + 1,
            column: e.column(),
            reason: reason(&e),
        })?;
        rows.push(RawRow {
            origin: Origin {
                file: file.to_string(),
                line: i + 1,
            },
            json,
        });
    }
    Ok(rows)
}

fn array_rows(file: &str, text: &str) -> Result<Vec<RawRow>, DataError> {
    let values: Vec<Json> = serde_json::from_str(text).map_err(|e| DataError::Syntax {
        file: file.to_string(),
        line: e.line(),
        column: e.column(),
        reason: reason(&e),
    })?;
    let lines = element_lines(text);
    Ok(values
        .into_iter()
        .zip(lines)
        .map(|(json, line)| RawRow {
            origin: Origin {
                file: file.to_string(),
                line,
            },
            json,
        })
        .collect())
}

/// serde_json ends its messages with the place, which is written in front here.
fn reason(error: &serde_json::Error) -> String {
    let text = error.to_string();
    text.split(" at line ").next().unwrap_or(&text).to_string()
}

/// The line at which each element of the outermost array begins; the text is valid JSON.
fn element_lines(text: &str) -> Vec<usize> {
    let (mut lines, mut line, mut depth) = (Vec::new(), 1, 0usize);
    let (mut in_string, mut escaped, mut awaited) = (false, false, false);
    for byte in text.bytes() {
        if in_string {
            match byte {
                _ if escaped => escaped = false,
                b'\\' => escaped = true,
                b'"' => in_string = false,
                _ => {}
            }
            continue;
        }
        let begins = awaited && depth == 1 && !byte.is_ascii_whitespace() && byte != b']';
        if begins {
            lines.push(line);
            awaited = false;
        }
        match byte {
            b'\n' => line += 1,
            b'"' => in_string = true,
            b'[' | b'{' => {
                depth += 1;
                awaited |= depth == 1;
            }
            b']' | b'}' => depth -= 1,
            b',' if depth == 1 => awaited = true,
            _ => {}
        }
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(text: &str) -> Vec<usize> {
        read_rows("d", text.as_bytes())
            .unwrap()
            .iter()
            .map(|r| r.origin.line)
            .collect()
    }

    fn error(bytes: &[u8]) -> String {
        read_rows("data.json", bytes).unwrap_err().to_string()
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
        insta::assert_snapshot!(error(b"{}\n{\"a\": \"\xd6\xd0\"}"), @r"
        data.json:2: not UTF-8: the byte at offset 10 (0xd6) belongs to no character
        (data files are UTF-8, with or without a byte order mark; convert it, for instance with `iconv -f GB18030 -t UTF-8`)
        ");
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
