//! Regular expressions of Python and JavaScript as those of the `regex` crate: what is written
//! alike and means another thing is rewritten, what the crate lacks is refused.
//!
//! | written | Python | JavaScript | here |
//! |---|---|---|---|
//! | `\d`, `\w`, `\b` | of Unicode | of ASCII | rewritten for JavaScript |
//! | `$` | also before a last line break | the end | rewritten for Python |
//! | `\Z` | the end | the letter Z | rewritten |
//! | `[[a]`, `[a&&b]`, `[a--b]` | a class | a class | escaped: operators of classes here |
//! | `a{,3}` | at most 3 | these letters | rewritten |
//! | `{`, `}` alone | themselves | themselves | escaped |
//! | `(?i)` in front | a flag | refused by JavaScript | refused for JavaScript |
//! | look-around, back references | | | refused: the crate is linear in the answer |

use regex::Regex;

use super::template::Language;

/// Longest expression in bytes.
const LONGEST: usize = 10_000;

/// An expression that stands in this source and not in a file.
pub(super) fn constant(source: &str) -> Regex {
    #[expect(clippy::unwrap_used, reason = "constants, which tests compile")]
    Regex::new(source).unwrap()
}

/// Why an expression cannot be carried over.
pub(super) fn refused(source: &str) -> String {
    let shown = crate::text::ellipsize(source, 60);
    format!("`{shown}` is no regular expression of Rust's regex crate")
}

/// The expression as the `regex` crate writes it. It may still be one that the crate refuses.
pub(super) fn translated(source: &str, language: Language) -> Result<String, String> {
    if source.len() > LONGEST {
        return Err(format!("a regular expression of more than {LONGEST} bytes"));
    }
    let javascript = language == Language::JavaScript;
    let chars: Vec<char> = source.chars().collect();
    let mut made = String::with_capacity(source.len());
    let mut in_class = false;
    let mut class_start = 0;
    // Python's `(?m)` lets `$` match at every line's end.
    let multiline = !javascript && flags(source).contains('m');
    if javascript && !flags(source).is_empty() {
        return Err(
            "JavaScript has no flags in front of an expression: it never matches there".into(),
        );
    }
    let mut at = 0;
    while let Some(c) = chars.get(at).copied() {
        at += 1;
        let next = chars.get(at).copied();
        match c {
            '\\' => {
                let Some(escaped) = next else {
                    return Err(refused(source));
                };
                at += 1;
                made.push_str(&escape(escaped, in_class, javascript));
            }
            '[' if in_class => made.push_str("\\["),
            '[' => {
                in_class = true;
                made.push('[');
                if next == Some('^') {
                    made.push('^');
                    at += 1;
                }
                class_start = at;
                // A bracket in front is a member in Python, and ends the class in JavaScript.
                if chars.get(at) == Some(&']') {
                    if javascript {
                        return Err(refused(source));
                    }
                    made.push_str("\\]");
                    at += 1;
                }
            }
            ']' if in_class => {
                in_class = false;
                made.push(']');
            }
            '&' | '~' if in_class => {
                made.push('\\');
                made.push(c);
            }
            '-' if in_class && next == Some('-') && at > class_start => made.push_str("\\-"),
            _ if in_class => made.push(c),
            '$' if !javascript && !multiline => made.push_str(r"(?:\n?\z)"),
            '{' => match repetition(&chars, at) {
                Some((written, length)) => {
                    match (written.strip_prefix(','), javascript) {
                        (Some(_), true) => made.push_str(&format_literal(&written)),
                        (Some(most), false) => {
                            made.push_str("{0,");
                            made.push_str(most);
                            made.push('}');
                        }
                        (None, _) => {
                            made.push('{');
                            made.push_str(&written);
                            made.push('}');
                        }
                    }
                    at += length;
                }
                None => made.push_str("\\{"),
            },
            '}' => made.push_str("\\}"),
            ']' => made.push_str("\\]"),
            c => made.push(c),
        }
    }
    Ok(made)
}

fn format_literal(written: &str) -> String {
    format!("\\{{{written}\\}}")
}

/// The flags in front of an expression.
fn flags(source: &str) -> &str {
    let rest = source.strip_prefix("(?").unwrap_or_default();
    let end = rest.find(|c: char| !c.is_ascii_alphabetic());
    rest.get(..end.unwrap_or(0)).unwrap_or_default()
}

fn escape(escaped: char, in_class: bool, javascript: bool) -> String {
    let ascii = |inside: &str, outside: &str| match in_class {
        true => inside.to_owned(),
        false => outside.to_owned(),
    };
    match (escaped, javascript) {
        ('d', true) => ascii("0-9", "[0-9]"),
        ('w', true) => ascii("0-9A-Za-z_", "[0-9A-Za-z_]"),
        ('D', true) => "[^0-9]".into(),
        ('W', true) => "[^0-9A-Za-z_]".into(),
        ('b', true) if !in_class => r"(?-u:\b)".into(),
        ('B', true) if !in_class => r"(?-u:\B)".into(),
        ('b', _) if in_class => r"\x08".into(),
        ('Z', false) => r"\z".into(),
        ('Z', true) => "Z".into(),
        // Letters without a meaning are themselves in JavaScript.
        (c, true) if c.is_ascii_alphabetic() && !"dDwWsSbBnrtfvxupPk0c".contains(c) => {
            c.to_string()
        }
        (c, _) if c.is_ascii_punctuation() || c.is_ascii_alphanumeric() => format!("\\{c}"),
        (c, _) => c.to_string(),
    }
}

/// What stands between the braces of `{2}`, `{2,}`, `{,3}`, or `{2,3}`, and its length with the
/// closing one.
fn repetition(chars: &[char], at: usize) -> Option<(String, usize)> {
    let rest = chars.get(at..)?;
    let end = rest.iter().position(|c| *c == '}')?;
    let written: String = rest.get(..end)?.iter().collect();
    let digits = written.chars().all(|c| c.is_ascii_digit() || c == ',');
    let commas = written.matches(',').count();
    (digits && commas <= 1 && !written.is_empty() && written != ",").then_some((written, end + 1))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What `re.search` of Python 3.11 and `RegExp.test` of Node 20 say.
    #[test]
    fn expressions_match_what_they_match_in_their_language() {
        for (source, answer, python, javascript) in [
            (r"^\d+$", "42", true, true),
            (r"^\d+$", "42\n", true, false),
            (r"^\d+$", "٣", true, false),
            (r"^\w+$", "é", true, false),
            (r"\bé", "é", true, false),
            (r"[[a]+x", "[ax", true, true),
            (r"^[a&&b]+$", "a&b", true, true),
            (r"^[\w--]+$", "a-b", true, true),
            (r"^a{,2}$", "aa", true, false),
            (r"^a{,2}$", "a{,2}", false, true),
            (r"^\{x}$", "{x}", true, true),
            (r"^{x$", "{x", true, true),
            (r"^x{2}$", "xx", true, true),
            (r"a\/b", "a/b", true, true),
            (r"(?m)^b$", "a\nb\nc", true, false),
            (r"^[]a]+$", "]a", true, false),
            (r"€|EUR", "5 €", true, true),
            (r"^[^\d]+$", "ab", true, true),
        ] {
            for (language, expected) in [
                (Language::Python, python),
                (Language::JavaScript, javascript),
            ] {
                let made = translated(source, language);
                let found = made.is_ok_and(|made| Regex::new(&made).unwrap().is_match(answer));
                assert_eq!(found, expected, "{source} {answer:?} {language:?}");
            }
        }
    }
}
