//! What can be wrong with `qeval.toml`.

use std::fmt;
use std::path::PathBuf;

use thiserror::Error;

/// One failure.
#[derive(Debug, Error)]
pub enum ConfigError {
    /// The file could not be read.
    #[error(
        "cannot read {}: {source}\n(`qeval init` writes a commented qeval.toml into an empty folder)",
        path.display()
    )]
    Read {
        /// Which file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// Bytes that are no UTF-8.
    #[error(
        "{file}: not UTF-8: the byte at offset {offset} belongs to no character\n(TOML files are UTF-8)"
    )]
    NotUtf8 {
        /// The file.
        file: String,
        /// Place of the first wrong byte, from 0.
        offset: usize,
    },
    /// A mistake at a place in the file.
    #[error(transparent)]
    Problem(#[from] Problem),
}

/// A mistake at a place in the file.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub struct Problem {
    /// The file as it was named.
    pub file: String,
    /// From 1.
    pub line: usize,
    /// In characters, from 1.
    pub column: usize,
    /// The line's text.
    pub text: String,
    /// Characters that are meant, at least 1.
    pub width: usize,
    /// What is wrong.
    pub what: String,
    /// The rule and the way out.
    pub rule: String,
}

impl Problem {
    /// Finds the place of a byte range in the file's text.
    pub(super) fn at(
        file: &str,
        source: &str,
        span: std::ops::Range<usize>,
        what: String,
        rule: String,
    ) -> Self {
        let start = floor(source, span.start);
        let line_start = source[..start].rfind('\n').map_or(0, |i| i + 1);
        let text = source[line_start..].lines().next().unwrap_or("");
        let line_end = line_start + text.len();
        let end = floor(source, span.end).clamp(start, line_end.max(start));
        Problem {
            file: file.to_string(),
            line: source[..start].matches('\n').count() + 1,
            column: source[line_start..start].chars().count() + 1,
            text: text.to_string(),
            width: source[start..end].chars().count().max(1),
            what,
            rule,
        }
    }
}

fn floor(text: &str, offset: usize) -> usize {
    let mut offset = offset.min(text.len());
    while !text.is_char_boundary(offset) {
        offset -= 1;
    }
    offset
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let number = self.line.to_string();
        let margin = " ".repeat(number.len());
        writeln!(
            f,
            "{}:{}:{}: {}",
            self.file, self.line, self.column, self.what
        )?;
        writeln!(f, "  {number} | {}", self.text)?;
        let (blanks, carets) = (" ".repeat(self.column - 1), "^".repeat(self.width));
        writeln!(f, "  {margin} | {blanks}{carets}")?;
        write!(f, "  ({})", self.rule)
    }
}

/// All failures of a file, never only the first.
#[derive(Debug, Error)]
pub struct ConfigErrors(
    /// At least one.
    pub Vec<ConfigError>,
);

impl fmt::Display for ConfigErrors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, error) in self.0.iter().enumerate() {
            if i > 0 {
                writeln!(f)?;
            }
            write!(f, "{error}")?;
        }
        Ok(())
    }
}
