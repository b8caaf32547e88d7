//! From the bytes of a file to its text, one way for every file that people write.
//!
//! A byte order mark is taken off and every line ends with `\n`, whatever system the file was
//! written on: Jinja reads a template so (`newline_sequence` is `"\n"`, and `\r\n` and a lone `\r`
//! become it), Python a text file, and what is read here may not tell a model apart by an editor's
//! line ends. A file that is no UTF-8 is told by what it is: packed and binary files by their first
//! bytes, other encodings by what their bytes would read as. Nothing is converted here: what reads
//! wrongly in one encoding is only seen by a person, and a conversion cannot be taken back.

use std::borrow::Cow;
use std::fmt;

use encoding_rs::{Encoding, GB18030, WINDOWS_1252};

/// Most characters of a line that are shown in each encoding.
const SHOWN: usize = 40;

/// The text of a file.
///
/// # Errors
/// Bytes that are no UTF-8, with what they are.
pub fn decode(bytes: &[u8]) -> Result<Cow<'_, str>, NotText> {
    if let Some(kind) = by_first_bytes(bytes) {
        return Err(NotText {
            line: 1,
            column: 1,
            kind,
        });
    }
    match std::str::from_utf8(bytes) {
        Ok(text) => Ok(unix_lines(text.strip_prefix('\u{FEFF}').unwrap_or(text))),
        Err(error) => Err(NotText::at(bytes, error.valid_up_to())),
    }
}

/// A text with `\n` at the end of every line.
pub fn unix_lines(text: &str) -> Cow<'_, str> {
    if text.contains('\r') {
        Cow::Owned(text.replace("\r\n", "\n").replace('\r', "\n"))
    } else {
        Cow::Borrowed(text)
    }
}

/// Whether these are what Git LFS leaves in place of a file that was not fetched.
pub fn is_lfs_pointer(bytes: &[u8]) -> bool {
    bytes.starts_with(b"version https://git-lfs.github.com/spec/")
}

/// Why the bytes of a file are no text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NotText {
    /// Line of the first wrong byte, from 1.
    pub line: usize,
    /// Its place in that line in characters, from 1.
    pub column: usize,
    /// What they are.
    pub kind: NotTextKind,
}

/// What a file is that is no UTF-8.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NotTextKind {
    /// Known by its first bytes.
    Known {
        /// What it is.
        what: &'static str,
        /// The program that makes a text of it, and what stands around the file's name.
        command: Option<[&'static str; 2]>,
    },
    /// Text in another encoding.
    Encoding {
        /// Place of the first wrong byte in the file, from 0.
        offset: usize,
        /// That byte.
        byte: u8,
        /// Encodings that it can be in, the likely one first, as `iconv` names them, each with how
        /// the line would read. None where none of those that are known fits.
        readings: Vec<(&'static str, String)>,
    },
}

impl NotText {
    fn at(bytes: &[u8], offset: usize) -> Self {
        let before = &bytes[..offset];
        let start = before
            .iter()
            .rposition(|&b| b == b'\n')
            .map_or(0, |n| n + 1);
        let line = 1 + before.iter().filter(|&&b| b == b'\n').count();
        let rest = &bytes[start..];
        let end = rest.iter().position(|&b| matches!(b, b'\n' | b'\r'));
        let reads = |(name, encoding): &(&'static str, &'static Encoding)| {
            // One wrong byte anywhere in the file rules an encoding out; the five that Windows-1252
            // leaves free are controls that no text has.
            let all = encoding.decode_without_bom_handling_and_without_replacement(bytes)?;
            if all.contains(|c| ('\u{80}'..'\u{a0}').contains(&c)) {
                return None;
            }
            let decode = |bytes| encoding.decode_without_bom_handling(bytes).0;
            let whole = decode(&rest[..end.unwrap_or(rest.len())]);
            let before = decode(&bytes[start..offset]).chars().count();
            Some((*name, around(&whole, before)))
        };
        NotText {
            line,
            column: 1 + String::from_utf8_lossy(&bytes[start..offset])
                .chars()
                .count(),
            kind: NotTextKind::Encoding {
                offset,
                byte: bytes.get(offset).copied().unwrap_or_default(),
                readings: likely(bytes).iter().filter_map(reads).collect(),
            },
        }
    }

    /// What is wrong, without the place.
    pub fn problem(&self) -> String {
        match &self.kind {
            NotTextKind::Known { what, .. } => format!("this is {what}, not UTF-8 text"),
            NotTextKind::Encoding {
                offset,
                byte,
                readings,
            } => {
                let problem = format!(
                    "not UTF-8: the byte at offset {offset} ({byte:#04x}) belongs to no character"
                );
                let read = readings.iter().enumerate().map(|(i, (name, reading))| {
                    let says = if i == 0 { "; as" } else { ", as" };
                    format!("{says} {name} it reads `{reading}`")
                });
                std::iter::once(problem).chain(read).collect()
            }
        }
    }

    /// How a text of it is made, in a new file: what is converted wrongly is lost.
    pub fn way_out(&self, file: &str) -> String {
        let name = quoted(file);
        let new = quoted(&format!("{file}.utf8"));
        match &self.kind {
            NotTextKind::Known {
                command: Some([before, after]),
                ..
            } => {
                let after = after.replace("NEW", &new);
                format!("make it text: `{before}{name}{after}`")
            }
            NotTextKind::Known { command: None, .. } => "name a text file here".to_owned(),
            NotTextKind::Encoding { readings, .. } => {
                let commands: Vec<String> = readings
                    .iter()
                    .map(|(from, _)| format!("`iconv -f {from} -t UTF-8 {name} > {new}`"))
                    .collect();
                match &commands[..] {
                    [] => {
                        "it is neither GB18030 nor Windows-1252 either; save it as UTF-8 with the \
                           program that wrote it"
                            .to_owned()
                    }
                    [one] => format!("if it reads right, convert it: {one}"),
                    _ => format!("convert it as what reads right: {}", commands.join(", or ")),
                }
            }
        }
    }
}

impl fmt::Display for NotText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.problem())
    }
}

fn by_first_bytes(bytes: &[u8]) -> Option<NotTextKind> {
    let known = |what, command| Some(NotTextKind::Known { what, command });
    let iconv = |what, before| known(what, Some([before, " > NEW"]));
    match bytes {
        [0xff, 0xfe, 0, 0, ..] | [0, 0, 0xfe, 0xff, ..] => {
            iconv("UTF-32", "iconv -f UTF-32 -t UTF-8 ")
        }
        [0xff, 0xfe, ..] | [0xfe, 0xff, ..] => iconv("UTF-16", "iconv -f UTF-16 -t UTF-8 "),
        // JSON and TOML begin with ASCII.
        [1..=0x7f, 0, 1..=0x7f, 0, ..] => iconv("UTF-16", "iconv -f UTF-16LE -t UTF-8 "),
        [0, 1..=0x7f, 0, 1..=0x7f, ..] => iconv("UTF-16", "iconv -f UTF-16BE -t UTF-8 "),
        [0x1f, 0x8b, ..] => known("a gzip file", Some(["gzip -dc ", " > NEW"])),
        [b'B', b'Z', b'h', b'1'..=b'9', ..] => {
            known("a bzip2 file", Some(["bzip2 -dc ", " > NEW"]))
        }
        [0xfd, b'7', b'z', b'X', b'Z', 0, ..] => known("an xz file", Some(["xz -dc ", " > NEW"])),
        [0x28, 0xb5, 0x2f, 0xfd, ..] => known("a zstd file", Some(["zstd -dc ", " > NEW"])),
        [b'P', b'K', 3, 4, ..] => known(
            "a zip archive (an .xlsx table is one, too)",
            Some(["unzip -p ", " > NEW"]),
        ),
        [b'P', b'A', b'R', b'1', ..] => known("a parquet file", None),
        [b'A', b'R', b'R', b'O', b'W', b'1', ..] => known("an Arrow file", None),
        [b'G', b'G', b'U', b'F', ..] => known("a GGUF model", None),
        [b'%', b'P', b'D', b'F', b'-', ..] => known("a PDF", None),
        [b'S', b'Q', b'L', b'i', b't', b'e', b' ', b'f', ..] => known("an SQLite database", None),
        _ => None,
    }
}

/// The encodings that non-ASCII bytes can be in, the likely one first.
///
/// Chinese text writes pairs: both bytes of a character of GB 2312, which is nearly all of it, are
/// above 0xa0. In a Western text a byte above 0x7f stands between ASCII letters. Bytes that pair
/// with an ASCII letter are valid GB18030, too, which is why validity alone says nothing.
fn likely(bytes: &[u8]) -> Vec<(&'static str, &'static Encoding)> {
    let (mut pairs, mut single) = (0usize, 0usize);
    let mut rest = bytes;
    while let [first, after @ ..] = rest {
        rest = after;
        if *first < 0x80 {
            continue;
        }
        match after {
            [0xa1..=0xfe, left @ ..] if *first >= 0xa1 => {
                pairs += 1;
                rest = left;
            }
            _ => single += 1,
        }
    }
    let (chinese, western) = (("GB18030", GB18030), ("WINDOWS-1252", WINDOWS_1252));
    if single > 9 * pairs {
        vec![western, chinese]
    } else {
        vec![chinese, western]
    }
}

/// The part of a line around its character of this number, from 0.
fn around(line: &str, at: usize) -> String {
    let chars: Vec<char> = line.chars().collect();
    let from = at.saturating_sub(SHOWN / 4).min(chars.len());
    let end = (from + SHOWN).min(chars.len());
    let shown: String = chars[from..end].iter().collect();
    let (front, back) = (
        if from > 0 { "…" } else { "" },
        if end < chars.len() { "…" } else { "" },
    );
    format!("{front}{shown}{back}")
}

/// A file's name as a shell takes it.
fn quoted(file: &str) -> String {
    let plain = |c: char| c.is_alphanumeric() || "/._-+@%:,".contains(c);
    if file.chars().all(plain) && !file.is_empty() && !file.starts_with('-') {
        file.to_owned()
    } else {
        format!("'{}'", file.replace('\'', r"'\''"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(bytes: &[u8]) -> String {
        let error = decode(bytes).unwrap_err();
        let (line, column) = (error.line, error.column);
        format!("{line}:{column}: {error}; {}", error.way_out("data.jsonl"))
    }

    #[test]
    fn every_line_end_is_the_same() {
        for text in ["a\nb\n\nc\n", "a\r\nb\r\n\r\nc\r\n", "a\rb\r\rc\r"] {
            assert_eq!(decode(text.as_bytes()).unwrap(), "a\nb\n\nc\n");
        }
        assert_eq!(decode(b"\xEF\xBB\xBFa\r\n").unwrap(), "a\n");
        assert!(matches!(decode(b"a\n").unwrap(), Cow::Borrowed("a\n")));
    }

    #[test]
    fn western_and_chinese_bytes_are_told_apart_by_what_they_read_as() {
        insta::assert_snapshot!(told(b"{}\n{\"a\": \"na\xefve caf\xe9s, cr\xe8me br\xfbl\xe9e\"}"), @r#"2:10: not UTF-8: the byte at offset 12 (0xef) belongs to no character; as WINDOWS-1252 it reads `{"a": "naïve cafés, crème brûlée"}`, as GB18030 it reads `{"a": "na飗e caf閟, cr鑝e br鹟閑"}`; convert it as what reads right: `iconv -f WINDOWS-1252 -t UTF-8 data.jsonl > data.jsonl.utf8`, or `iconv -f GB18030 -t UTF-8 data.jsonl > data.jsonl.utf8`"#);
        let (chinese, _, _) = GB18030.encode("{\"a\": \"你好,我是一个语言模型。\"}");
        insta::assert_snapshot!(told(&chinese), @r#"1:8: not UTF-8: the byte at offset 7 (0xc4) belongs to no character; as GB18030 it reads `{"a": "你好,我是一个语言模型。"}`, as WINDOWS-1252 it reads `{"a": "ÄãºÃ,ÎÒÊÇÒ»¸öÓïÑÔÄ£ÐÍ¡£"}`; convert it as what reads right: `iconv -f GB18030 -t UTF-8 data.jsonl > data.jsonl.utf8`, or `iconv -f WINDOWS-1252 -t UTF-8 data.jsonl > data.jsonl.utf8`"#);
        insta::assert_snapshot!(told(b"na\x81ve"), @"1:3: not UTF-8: the byte at offset 2 (0x81) belongs to no character; as GB18030 it reads `na乿e`; if it reads right, convert it: `iconv -f GB18030 -t UTF-8 data.jsonl > data.jsonl.utf8`");
    }

    #[test]
    fn packed_and_binary_files_are_known_by_their_first_bytes() {
        let files: [&[u8]; 9] = [
            b"\xff\xfe{\0}\0",
            b"\xfe\xff\0{\0}",
            b"{\0\"\0a\0",
            b"\0{\0\"\0a",
            b"\x1f\x8b\x08\0",
            b"PK\x03\x04",
            b"\x28\xb5\x2f\xfd",
            b"PAR1",
            b"%PDF-1.4",
        ];
        let all: Vec<String> = files.iter().map(|bytes| told(bytes)).collect();
        insta::assert_snapshot!(all.join("\n"), @"
        1:1: this is UTF-16, not UTF-8 text; make it text: `iconv -f UTF-16 -t UTF-8 data.jsonl > data.jsonl.utf8`
        1:1: this is UTF-16, not UTF-8 text; make it text: `iconv -f UTF-16 -t UTF-8 data.jsonl > data.jsonl.utf8`
        1:1: this is UTF-16, not UTF-8 text; make it text: `iconv -f UTF-16LE -t UTF-8 data.jsonl > data.jsonl.utf8`
        1:1: this is UTF-16, not UTF-8 text; make it text: `iconv -f UTF-16BE -t UTF-8 data.jsonl > data.jsonl.utf8`
        1:1: this is a gzip file, not UTF-8 text; make it text: `gzip -dc data.jsonl > data.jsonl.utf8`
        1:1: this is a zip archive (an .xlsx table is one, too), not UTF-8 text; make it text: `unzip -p data.jsonl > data.jsonl.utf8`
        1:1: this is a zstd file, not UTF-8 text; make it text: `zstd -dc data.jsonl > data.jsonl.utf8`
        1:1: this is a parquet file, not UTF-8 text; name a text file here
        1:1: this is a PDF, not UTF-8 text; name a text file here
        ");
    }

    /// What is advised is run as it is printed, in a folder with blanks in a file's name: the text
    /// comes back whole, and the file that was there is as it was.
    #[test]
    #[cfg(target_os = "linux")]
    fn advice_that_is_followed_destroys_no_text() {
        let text = "{\"a\": \"naïve cafés, crème brûlée\"}\n";
        let chinese = "{\"a\": \"你好,我是一个语言模型。\"}\n";
        let utf16 = |text: &str, big: bool, mark: bool| -> Vec<u8> {
            let mark = mark.then_some('\u{FEFF}');
            let units: Vec<u16> = mark
                .into_iter()
                .chain(text.chars())
                .collect::<String>()
                .encode_utf16()
                .collect();
            let bytes = |unit: &u16| {
                if big {
                    unit.to_be_bytes()
                } else {
                    unit.to_le_bytes()
                }
            };
            units.iter().flat_map(bytes).collect()
        };
        let files = [
            (WINDOWS_1252.encode(text).0.into_owned(), text),
            (GB18030.encode(chinese).0.into_owned(), chinese),
            (utf16(chinese, false, true), chinese),
            (utf16(chinese, true, true), chinese),
            (utf16(text, false, false), text),
            (utf16(text, true, false), text),
        ];
        for (bytes, wanted) in files {
            let folder = tempfile::tempdir().unwrap();
            let path = folder.path().join("my data.jsonl");
            std::fs::write(&path, &bytes).unwrap();
            let told = decode(&bytes).unwrap_err().way_out("my data.jsonl");
            let command = told.split('`').nth(1).unwrap();
            let done = std::process::Command::new("sh")
                .args(["-c", command])
                .current_dir(folder.path())
                .status()
                .unwrap();
            assert!(done.success(), "{command}");
            let made = std::fs::read(folder.path().join("my data.jsonl.utf8")).unwrap();
            assert_eq!(decode(&made).unwrap(), wanted, "{command}");
            assert_eq!(std::fs::read(&path).unwrap(), bytes);
        }
    }
}
