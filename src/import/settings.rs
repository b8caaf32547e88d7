//! The settings of a source program, one by one: which are read, which change nothing that a suite
//! keeps, which are left out with a reason, and which decide what is asked or what is right, so
//! that without them nothing may be imported.
//!
//! Every table of them stands beside the code that reads its file. A key that no table knows is
//! named too.

use serde_json::{Map, Value};

use crate::text::ellipsize;

use super::notes::Notes;
use super::yaml;

/// What becomes of a setting.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fate {
    /// It is read.
    Read,
    /// It changes neither prompts nor checks.
    Harmless,
    /// It is left out, for this reason.
    Left(&'static str),
    /// It decides what is asked or what is right: its owner is left out, for this reason.
    Decides(&'static str),
}

/// Why a harmless setting is named.
const HARMLESS: &str = "it changes neither prompts nor checks";

/// A table of settings.
pub(super) type Settings = &'static [(&'static str, Fate)];

/// Names every setting that is not read. `None` when one decides and cannot be carried over, which
/// is named as well.
pub(super) fn name_unread(
    map: &Map<String, Value>,
    settings: Settings,
    place: &str,
    notes: &mut Notes,
) -> Option<()> {
    let mut decided = Some(());
    for (key, value) in map {
        if value.is_null() {
            continue;
        }
        let known = settings.iter().find(|(name, _)| name == key);
        let why = match known.map(|(_, fate)| *fate) {
            Some(Fate::Read) => continue,
            Some(Fate::Harmless) => HARMLESS,
            Some(Fate::Left(why)) => why,
            Some(Fate::Decides(_)) if matches!(value, Value::Bool(false)) => continue,
            Some(Fate::Decides(why)) => {
                decided = None;
                why
            }
            None => "it is no setting that is known here",
        };
        notes.add(place, shown(key, value), why);
    }
    decided
}

/// A setting as a note shows it.
pub(super) fn shown(key: &str, value: &Value) -> String {
    match yaml::tagged(value).or_else(|| yaml::shown(value)) {
        Some(text) => format!("`{key}: {}`", ellipsize(&text, 40)),
        None => format!("`{key}`"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn every_setting_that_is_not_read_is_named() {
        const SETTINGS: Settings = &[
            ("read", Fate::Read),
            ("tag", Fate::Harmless),
            ("lost", Fate::Left("a suite has no place for it")),
            ("program", Fate::Decides("it runs a program")),
        ];
        let mut notes = Notes::default();
        let map = json!({"read": 1, "tag": ["a"], "lost": "x", "empty": null, "other": true});
        let mut named =
            |map: &Value| name_unread(map.as_object().unwrap(), SETTINGS, "the task", &mut notes);
        assert_eq!(named(&map), Some(()));
        assert_eq!(named(&json!({"program": false})), Some(()));
        assert_eq!(named(&json!({"program": {"!function": "a.b"}})), None);
        let shown: Vec<String> = notes.into_list().iter().map(ToString::to_string).collect();
        insta::assert_snapshot!(shown.join("\n"), @"
        the task: `tag`: it changes neither prompts nor checks
        the task: `lost: x`: a suite has no place for it
        the task: `other: true`: it is no setting that is known here
        the task: `program: !function a.b`: it runs a program
        ");
    }
}
