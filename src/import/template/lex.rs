//! A template cut into text and tags, and the tags into tokens.

use super::value::Language;

/// A piece of a template.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Piece {
    Text(String),
    /// `{{ .. }}`
    Output(Vec<Token>),
    /// `{% .. %}`
    Statement(Vec<Token>),
}

/// A token of a tag.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Token {
    Name(String),
    Text(String),
    Int(i64),
    Float(f64),
    /// Brackets, operators, and marks.
    Mark(&'static str),
}

/// Longest first, so that `//` is not two of `/`.
const MARKS: &[&str] = &[
    "===", "!==", "==", "!=", "<=", ">=", "**", "//", "<", ">", "+", "-", "*", "/", "%", "~", "|",
    ".", ",", ":", "(", ")", "[", "]", "{", "}", "=",
];

/// Cuts a template.
pub(super) fn pieces(source: &str, language: Language) -> Result<Vec<Piece>, String> {
    let source = match language {
        // Jinja reads every line end as `\n`.
        Language::Python => source.replace("\r\n", "\n").replace('\r', "\n"),
        Language::JavaScript => source.to_owned(),
    };
    let mut pieces = Vec::new();
    let mut rest = source.as_str();
    let mut trims = false;
    while !rest.is_empty() {
        let open = ["{{", "{%", "{#"].iter().filter_map(|m| rest.find(m)).min();
        let (before, tag) = rest.split_at(open.unwrap_or(rest.len()));
        let mut before = before;
        if trims {
            before = before.trim_start();
        }
        if tag.get(2..3) == Some("-") {
            before = before.trim_end();
        }
        if !before.is_empty() {
            pieces.push(Piece::Text(before.to_owned()));
        }
        if tag.is_empty() {
            break;
        }
        (rest, trims) = taken(tag, language, &mut pieces)?;
    }
    Ok(pieces)
}

/// Takes the tag at the start; what follows it, and whether white space after it is cut.
fn taken<'a>(
    tag: &'a str,
    language: Language,
    pieces: &mut Vec<Piece>,
) -> Result<(&'a str, bool), String> {
    let (opening, inside) = tag.split_at(2);
    if opening == "{#" {
        let (comment, after) = inside.split_once("#}").ok_or("a comment is not closed")?;
        return Ok((after, comment.ends_with('-')));
    }
    let close = if opening == "{{" { "}}" } else { "%}" };
    let inside = inside.strip_prefix(['-', '+']).unwrap_or(inside);
    let (tokens, after, trims) = tokens(inside, close, language)?;
    if opening == "{{" {
        pieces.push(Piece::Output(tokens));
        return Ok((after, trims));
    }
    let raw = match tokens.as_slice() {
        [Token::Name(name)] if name == "raw" => Some("raw"),
        [Token::Name(name)] if name == "verbatim" && language == Language::JavaScript => {
            Some("verbatim")
        }
        _ => None,
    };
    let Some(raw) = raw else {
        pieces.push(Piece::Statement(tokens));
        return Ok((after, trims));
    };
    let (text, after, end_trims) = raw_end(after, raw).ok_or(format!("`{raw}` is not closed"))?;
    let text = if trims { text.trim_start() } else { text };
    pieces.push(Piece::Text(text.to_owned()));
    Ok((after, end_trims))
}

/// Text until `{% endraw %}`, what follows it, and whether white space after it is cut.
fn raw_end<'a>(text: &'a str, name: &str) -> Option<(&'a str, &'a str, bool)> {
    let mut from = 0;
    while let Some(at) = text.get(from..)?.find("{%") {
        let at = from + at;
        let inside = text.get(at + 2..)?;
        let trimmed = inside.strip_prefix(['-', '+']).unwrap_or(inside);
        let word = trimmed.trim_start().strip_prefix("end");
        if let Some(rest) = word.and_then(|rest| rest.strip_prefix(name)) {
            let rest = rest.trim_start();
            let (rest, trims) = match rest.strip_prefix('-') {
                Some(rest) => (rest, true),
                None => (rest, false),
            };
            if let Some(after) = rest.strip_prefix("%}") {
                let before = text.get(..at)?;
                let before = match inside.starts_with('-') {
                    true => before.trim_end(),
                    false => before,
                };
                return Some((before, after, trims));
            }
        }
        from = at + 2;
    }
    None
}

type Tokens<'a> = (Vec<Token>, &'a str, bool);

/// The tokens of a tag, what follows it, and whether white space after it is cut.
fn tokens<'a>(inside: &'a str, close: &str, language: Language) -> Result<Tokens<'a>, String> {
    let mut tokens = Vec::new();
    let mut rest = inside;
    // Jinja lets a map's braces stand before the tag's own.
    let mut braces = 0usize;
    loop {
        rest = rest.trim_start();
        if braces == 0 || language == Language::JavaScript {
            if let Some(after) = rest.strip_prefix(close) {
                return Ok((tokens, after, false));
            }
            if let Some(after) = rest.strip_prefix('-').and_then(|r| r.strip_prefix(close)) {
                return Ok((tokens, after, true));
            }
        }
        let Some(first) = rest.chars().next() else {
            return Err(format!("a tag is not closed by `{close}`"));
        };
        let (token, after) = token(rest, first, language)?;
        match token {
            Token::Mark("{") => braces += 1,
            Token::Mark("}") => braces = braces.saturating_sub(1),
            _ => {}
        }
        tokens.push(token);
        rest = after;
    }
}

fn token(rest: &str, first: char, language: Language) -> Result<(Token, &str), String> {
    if first == '"' || first == '\'' {
        return text(rest, first, language);
    }
    if first.is_ascii_digit() {
        return number(rest, language);
    }
    let is_name =
        |c: char| c.is_alphanumeric() || c == '_' || (c == '$' && language == Language::JavaScript);
    if is_name(first) {
        let end = rest.find(|c| !is_name(c)).unwrap_or(rest.len());
        let (name, after) = rest.split_at(end);
        return Ok((Token::Name(name.to_owned()), after));
    }
    for mark in MARKS {
        if let Some(after) = rest.strip_prefix(mark) {
            return Ok((Token::Mark(mark), after));
        }
    }
    Err(format!("`{first}` is not read in a tag"))
}

fn number(rest: &str, language: Language) -> Result<(Token, &str), String> {
    let digits = |from: &str| {
        let groups = language == Language::Python;
        let digit = |c: char| c.is_ascii_digit() || (groups && c == '_');
        from.find(|c| !digit(c)).unwrap_or(from.len())
    };
    let mut end = digits(rest);
    let mut whole = true;
    let after = rest.get(end..).unwrap_or_default();
    if let Some(fraction) = after.strip_prefix('.')
        && fraction.starts_with(|c: char| c.is_ascii_digit())
    {
        end += 1 + digits(fraction);
        whole = false;
    }
    let after = rest.get(end..).unwrap_or_default();
    if after.starts_with(|c: char| c.is_alphanumeric() || c == '_') {
        return Err(format!(
            "`{}` is no number that is read",
            crate::text::ellipsize(rest, 20)
        ));
    }
    let (written, after) = rest.split_at(end);
    let written = written.replace('_', "");
    let refused = || format!("`{written}` is no number that is read");
    let token = match whole {
        true => Token::Int(written.parse().map_err(|_| refused())?),
        false => Token::Float(written.parse().map_err(|_| refused())?),
    };
    Ok((token, after))
}

/// A text in quotes, with the escapes of its language.
fn text(rest: &str, quote: char, language: Language) -> Result<(Token, &str), String> {
    let mut made = String::new();
    let mut chars = rest.char_indices().skip(1);
    while let Some((at, c)) = chars.next() {
        if c == quote {
            let after = rest.get(at + c.len_utf8()..).unwrap_or_default();
            return Ok((Token::Text(made), after));
        }
        if c != '\\' {
            made.push(c);
            continue;
        }
        let Some((_, escaped)) = chars.next() else {
            break;
        };
        match (escaped, language) {
            ('n', _) => made.push('\n'),
            ('t', _) => made.push('\t'),
            ('r', _) => made.push('\r'),
            // Nunjucks takes what follows a backslash as it is.
            (other, Language::JavaScript) => made.push(other),
            ('\\' | '\'' | '"', _) => made.push(escaped),
            ('\n', _) => {}
            ('a', _) => made.push('\u{7}'),
            ('b', _) => made.push('\u{8}'),
            ('f', _) => made.push('\u{c}'),
            ('v', _) => made.push('\u{b}'),
            ('0', _) => made.push('\0'),
            ('x' | 'u' | 'U', _) => {
                let width = match escaped {
                    'x' => 2,
                    'u' => 4,
                    _ => 8,
                };
                let digits: String = (&mut chars).take(width).map(|(_, c)| c).collect();
                let code = u32::from_str_radix(&digits, 16).ok();
                let code = code.filter(|_| digits.chars().count() == width);
                let c = code.and_then(char::from_u32);
                made.push(c.ok_or(format!("`\\{escaped}{digits}` is no character"))?);
            }
            ('1'..='9' | 'N', _) => return Err(format!("the escape `\\{escaped}` is not read")),
            (other, _) => {
                made.push('\\');
                made.push(other);
            }
        }
    }
    Err("a text in a tag is not closed".into())
}

/// The tokens of an expression that stands alone, as `ast.literal_eval` reads it.
pub(super) fn expression(source: &str) -> Result<Vec<Token>, String> {
    let mut found = Vec::new();
    let mut rest = source.trim();
    while let Some(first) = rest.chars().next() {
        let (token, after) = token(rest, first, Language::Python)?;
        found.push(token);
        rest = after.trim_start();
    }
    Ok(found)
}
