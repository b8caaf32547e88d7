//! Sources that come with qeval: `built-in:NAME`, and `built-in:NAME:LANGUAGE` for one language.
//!
//! `self-cognition` is what users of other trainers know by this name: who the model is and who
//! made it, with `{{name}}` and `{{author}}`. Its wordings are of one theme each, in English and in
//! Chinese, and a theme is a group: no validation sees a sibling of what is trained on, in either
//! language.

use serde_json::Value;

use super::error::DataError;
use super::file::{RawRow, read_rows};

/// What names of built-in sources begin with.
const PREFIX: &str = "built-in:";
/// Every built-in source with its rows, one JSON object a line.
const SOURCES: [(&str, &str); 1] = [("self-cognition", include_str!("self_cognition.jsonl"))];
/// The languages that such a source has.
const LANGUAGES: [&str; 2] = ["en", "zh"];

/// Whether a source of this name would come with qeval, and is no file.
pub fn names_built_in(path: &str) -> bool {
    path.starts_with(PREFIX)
}

/// The rows of a built-in source; `None` for the path of a file.
pub fn built_in_rows(path: &str) -> Option<Result<Vec<RawRow>, DataError>> {
    let name = path.strip_prefix(PREFIX)?;
    let (name, language) = match name.split_once(':') {
        Some((name, language)) => (name, Some(language)),
        None => (name, None),
    };
    let known = SOURCES.iter().find(|(known, _)| *known == name);
    let (Some((_, text)), true) = (known, language.is_none_or(|l| LANGUAGES.contains(&l))) else {
        return Some(Err(DataError::NoBuiltIn { path: path.into() }));
    };
    Some(read_rows(path, text.as_bytes().to_vec()).map(|rows| of_language(rows, language)))
}

/// Every name under which a built-in source may be asked for.
pub fn built_in_names() -> Vec<String> {
    let of = |name: &str| {
        let whole = format!("{PREFIX}{name}");
        let parts = LANGUAGES.map(|language| format!("{PREFIX}{name}:{language}"));
        std::iter::once(whole).chain(parts)
    };
    SOURCES.iter().flat_map(|(name, _)| of(name)).collect()
}

/// The rows of one language, or all; the key that says so is no part of a row.
fn of_language(rows: Vec<RawRow>, language: Option<&str>) -> Vec<RawRow> {
    let mut kept = Vec::new();
    for mut row in rows {
        let own = row
            .json
            .as_object_mut()
            .and_then(|keys| keys.remove("language"));
        let own = own.as_ref().and_then(Value::as_str);
        if language.is_none() || own == language {
            kept.push(row);
        }
    }
    kept
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::text::is_cjk;

    fn rows(path: &str) -> Vec<RawRow> {
        built_in_rows(path).unwrap().unwrap()
    }

    #[test]
    fn a_source_is_whole_or_of_one_language() {
        let all = rows("built-in:self-cognition");
        let of = |language: &str| rows(&format!("built-in:self-cognition:{language}"));
        let (english, chinese) = (of("en"), of("zh"));
        assert!(all.len() >= 100);
        assert_eq!(english.len(), chinese.len(), "as many of each");
        assert_eq!(english.len() + chinese.len(), all.len());
        let is_chinese = |row: &RawRow| row.json["response"].as_str().unwrap().contains(is_cjk);
        assert!(chinese.iter().all(is_chinese));
        assert!(!english.iter().any(is_chinese));
    }

    /// In both languages: a group is split off whole, with all its siblings.
    #[test]
    fn every_wording_stands_in_a_theme_of_several_and_names_who_it_is_about() {
        let all = rows("built-in:self-cognition");
        let text = |row: &RawRow, key: &str| row.json[key].as_str().unwrap().to_owned();
        for row in &all {
            let answer = text(row, "response");
            assert!(
                answer.contains("{{name}}") || answer.contains("{{author}}"),
                "{row:?}"
            );
            assert!(!text(row, "query").contains("{{"), "{row:?}");
            let siblings = all
                .iter()
                .filter(|r| text(r, "group") == text(row, "group"));
            let chinese = siblings
                .clone()
                .filter(|r| text(r, "query").contains(is_cjk));
            let (all, chinese) = (siblings.count(), chinese.count());
            assert!(all >= 4 && 2 * chinese == all, "{row:?}");
        }
    }

    #[test]
    fn a_path_that_begins_otherwise_is_a_file() {
        assert!(built_in_rows("built-in/rows.jsonl").is_none());
        assert!(built_in_rows("./built-in:self-cognition").is_none());
    }

    #[test]
    fn an_unknown_source_is_named_with_what_there_is() {
        let error = |path| built_in_rows(path).unwrap().err().unwrap().to_string();
        insta::assert_snapshot!(error("built-in:self-cognitoin"), @r#"
        no source is called "built-in:self-cognitoin"; nearest: built-in:self-cognition
        (built in are built-in:self-cognition, built-in:self-cognition:en, and built-in:self-cognition:zh; a file of that name is "./built-in:self-cognitoin")
        "#);
        let error = error("built-in:self-cognition:fr");
        assert!(error.contains("built-in:self-cognition:zh"), "{error}");
    }
}
