//! A TOML table that notes every mistake and goes on.
//!
//! Read by hand from `toml`'s spanned tree and not through a derived deserializer, which stops at
//! the first mistake. Each key is asked for by name and type, a wrong value reads as `None`, and
//! what was never asked for is an unknown key.

use std::collections::BTreeMap;
use std::fmt::Display;
use std::ops::{Bound, Range, RangeBounds};

use toml::Spanned;
use toml::de::{DeString, DeTable, DeValue};

use crate::text::{ellipsize, nearest, one_of};

use super::mistake::{Issue, Mistake};
use super::value::{describe, number, whole, written};

/// The keys of a table that are there, but misspelled or wrong: each is a mistake already, and not
/// missing besides.
pub type Broken = Vec<&'static str>;

/// What was found wrong with a file so far.
#[derive(Debug)]
pub(super) struct Notes {
    pub(super) mistakes: Vec<Issue<Mistake>>,
    foreign: &'static [(&'static str, &'static str)],
}

impl Notes {
    pub(super) fn new(foreign: &'static [(&'static str, &'static str)]) -> Self {
        Notes {
            mistakes: Vec::new(),
            foreign,
        }
    }
}

/// One table being read. A table that is not written reads as one without keys.
#[derive(Debug)]
pub struct Table<'a, 'n> {
    name: String,
    span: Option<Range<usize>>,
    table: Option<&'a DeTable<'a>>,
    notes: &'n mut Notes,
    asked: Vec<&'static str>,
    broken: Broken,
    free: bool,
}

impl<'a, 'n> Table<'a, 'n> {
    pub(super) fn top(name: &str, tree: &'a Spanned<DeTable<'a>>, notes: &'n mut Notes) -> Self {
        Table {
            name: name.to_owned(),
            span: Some(tree.span()),
            table: Some(tree.get_ref()),
            notes,
            asked: Vec::new(),
            broken: Broken::new(),
            free: false,
        }
    }

    /// Where the table stands, if it is written.
    pub fn span(&self) -> Option<Range<usize>> {
        self.span.clone()
    }

    /// A value as it was parsed, for what no other method reads.
    pub fn value(&mut self, key: &'static str) -> Option<&'a Spanned<DeValue<'a>>> {
        if !self.asked.contains(&key) {
            self.asked.push(key);
        }
        self.table?.get(key)
    }

    /// The values of the keys that were not asked for, for a table whose other keys are free:
    /// none of them is unknown then.
    pub fn rest(&mut self) -> Vec<(&'a Spanned<DeString<'a>>, &'a Spanned<DeValue<'a>>)> {
        self.free = true;
        let entries = self.table.into_iter().flatten();
        entries
            .filter(|(key, _)| !self.asked.contains(&key.get_ref().as_ref()))
            .collect()
    }

    /// A string.
    pub fn string(&mut self, key: &'static str) -> Option<Spanned<String>> {
        self.typed(key, "a string", |value| value.as_str().map(str::to_owned))
    }

    /// A string that is not empty.
    pub fn filled_string(&mut self, key: &'static str) -> Option<Spanned<String>> {
        let text = self.string(key)?;
        if text.get_ref().is_empty() {
            self.refuse(key, text.span(), "empty", "a string that is not empty");
            return None;
        }
        Some(text)
    }

    /// `true` or `false`.
    pub fn flag(&mut self, key: &'static str) -> Option<Spanned<bool>> {
        self.typed(key, "true or false", DeValue::as_bool)
    }

    /// A finite number that `fits`, which is what `wants` says.
    pub fn number(
        &mut self,
        key: &'static str,
        wants: &str,
        fits: impl Fn(f64) -> bool,
    ) -> Option<Spanned<f64>> {
        let read = self.typed(key, wants, |value| Some((number(value)?, written(value)?)))?;
        let (number, written) = read.get_ref();
        if !fits(*number) {
            self.refuse(key, read.span(), written, wants);
            return None;
        }
        Some(Spanned::new(read.span(), *number))
    }

    /// A whole number of a range such as `1..` or `1..=1000`.
    pub fn count(
        &mut self,
        key: &'static str,
        range: impl RangeBounds<usize>,
    ) -> Option<Spanned<usize>> {
        let least = match range.start_bound() {
            Bound::Included(least) => *least,
            Bound::Excluded(below) => below + 1,
            Bound::Unbounded => 0,
        };
        let wants = match range.end_bound() {
            Bound::Included(most) => format!("a whole number from {least} to {most}"),
            Bound::Excluded(beyond) => format!("a whole number from {least} to below {beyond}"),
            Bound::Unbounded => format!("a whole number, {least} or more"),
        };
        self.whole(key, &wants, |n| {
            let count = usize::try_from(n).ok()?;
            range.contains(&count).then_some(count)
        })
    }

    /// A whole number of 64 bits.
    pub fn seed(&mut self, key: &'static str) -> Option<Spanned<u64>> {
        self.whole(key, "a whole number from 0 to 2^64 - 1", |n| {
            u64::try_from(n).ok()
        })
    }

    /// One of some words.
    pub fn word<T: Copy>(
        &mut self,
        key: &'static str,
        words: &[(&'static str, T)],
    ) -> Option<Spanned<T>> {
        let quoted: Vec<String> = words
            .iter()
            .map(|(word, _)| format!("\"{word}\""))
            .collect();
        let wants = one_of(&quoted);
        let written = self.typed(key, &wants, |value| value.as_str().map(str::to_owned))?;
        let meant = words.iter().find(|(word, _)| word == written.get_ref());
        if meant.is_none() {
            self.broken.push(key);
            let text = written.get_ref();
            let mistake = Mistake::BadValue {
                what: format!("`{key}` in {} is \"{}\"", self.name, ellipsize(text, 40)),
                rule: format!("`{key}` wants {wants}"),
                nearest: nearest(text, words.iter().map(|(word, _)| *word)),
            };
            self.note(written.span(), mistake);
        }
        meant.map(|(_, meaning)| Spanned::new(written.span(), *meaning))
    }

    /// A list of strings. What is none is left out of it.
    pub fn strings(&mut self, key: &'static str) -> Option<Spanned<Vec<Spanned<String>>>> {
        const WANTS: &str = "a list of strings";
        let items = self.typed(key, WANTS, DeValue::as_array)?;
        let mut texts = Vec::new();
        for item in items.get_ref().iter() {
            match item.get_ref().as_str() {
                Some(text) => texts.push(Spanned::new(item.span(), text.to_owned())),
                None => self.wrong_type(key, WANTS, item),
            }
        }
        Some(Spanned::new(items.span(), texts))
    }

    /// A list of strings, none of them empty.
    pub fn filled_strings(&mut self, key: &'static str) -> Option<Spanned<Vec<Spanned<String>>>> {
        let texts = self.strings(key)?;
        for text in texts
            .get_ref()
            .iter()
            .filter(|text| text.get_ref().is_empty())
        {
            let wants = "a list of strings, none of them empty";
            self.refuse(key, text.span(), "an empty string", wants);
        }
        Some(texts)
    }

    /// A table of free keys whose values `read` takes; what it does not take is left out.
    pub fn map<V>(
        &mut self,
        key: &'static str,
        wants: &str,
        read: impl Fn(&DeValue<'_>) -> Option<V>,
    ) -> Option<BTreeMap<String, V>> {
        let table = self.typed(key, "a table", DeValue::as_table)?;
        let mut map = BTreeMap::new();
        for (name, value) in table.get_ref().iter() {
            let name = name.get_ref();
            match read(value.get_ref()) {
                Some(read) => {
                    map.insert(name.to_string(), read);
                }
                None => self.wrong_type(&format!("{key}.{name}"), wants, value),
            }
        }
        Some(map)
    }

    /// A table inside this one, under the name that messages have for it.
    pub fn section(&mut self, key: &'static str, name: &str) -> Table<'a, '_> {
        let table = self.typed(key, "a table", DeValue::as_table);
        self.inside(name, table)
    }

    /// A list of tables, each under its own `[[..]]`, read one by one.
    pub fn sections<T>(
        &mut self,
        key: &'static str,
        name: &str,
        mut read: impl FnMut(Table<'a, '_>) -> T,
    ) -> Vec<Spanned<T>> {
        const WANTS: &str = "tables, each under its own [[..]]";
        let Some(items) = self.typed(key, WANTS, DeValue::as_array) else {
            return Vec::new();
        };
        let mut tables = Vec::new();
        for item in items.into_inner().iter() {
            match item.get_ref().as_table() {
                Some(table) => {
                    let table = self.inside(name, Some(Spanned::new(item.span(), table)));
                    tables.push(Spanned::new(item.span(), read(table)));
                }
                None => {
                    self.broken.push(key);
                    self.wrong_type(key, WANTS, item);
                }
            }
        }
        tables
    }

    /// A table that was found inside of a value.
    pub fn inside(&mut self, name: &str, table: Option<Spanned<&'a DeTable<'a>>>) -> Table<'a, '_> {
        Table {
            name: name.to_owned(),
            span: table.as_ref().map(Spanned::span),
            table: table.map(Spanned::into_inner),
            notes: self.notes,
            asked: Vec::new(),
            broken: Broken::new(),
            free: false,
        }
    }

    /// Notes a value that breaks a rule.
    pub fn bad(&mut self, span: Range<usize>, what: impl Into<String>, rule: impl Into<String>) {
        self.note(span, Mistake::bad(what, rule));
    }

    fn note(&mut self, span: Range<usize>, mistake: Mistake) {
        self.notes.mistakes.push((span, mistake));
    }

    /// Every key that nobody asked for is a mistake. Returns what is there but broken.
    pub fn finish(mut self) -> Broken {
        let keys = self.table.filter(|_| !self.free).into_iter();
        for key in keys.flat_map(DeTable::keys) {
            let written: &str = key.get_ref();
            if self.asked.contains(&written) {
                continue;
            }
            let foreign = self.notes.foreign.iter();
            let foreign = foreign
                .filter(|(name, _)| *name == written)
                .map(|(_, ours)| *ours)
                .next();
            let nearest = match foreign {
                Some(_) => None,
                None => nearest(written, self.asked.iter().copied()),
            };
            let meant = self
                .asked
                .iter()
                .filter(|asked| nearest.as_deref() == Some(**asked));
            self.broken.extend(meant);
            let mistake = Mistake::UnknownKey {
                key: written.to_owned(),
                table: self.name.clone(),
                known: self.asked.clone(),
                nearest,
                way_out: foreign.map(|ours| format!("write {ours}")),
            };
            self.note(key.span(), mistake);
        }
        self.broken
    }

    fn typed<T>(
        &mut self,
        key: &'static str,
        wants: &str,
        read: impl FnOnce(&'a DeValue<'a>) -> Option<T>,
    ) -> Option<Spanned<T>> {
        let value = self.value(key)?;
        let read = read(value.get_ref());
        if read.is_none() {
            self.broken.push(key);
            self.wrong_type(key, wants, value);
        }
        read.map(|read| Spanned::new(value.span(), read))
    }

    fn whole<T>(
        &mut self,
        key: &'static str,
        wants: &str,
        fit: impl FnOnce(i128) -> Option<T>,
    ) -> Option<Spanned<T>> {
        let read = self.typed(key, wants, whole)?;
        let fitting = fit(*read.get_ref());
        if fitting.is_none() {
            self.refuse(key, read.span(), read.get_ref(), wants);
        }
        fitting.map(|value| Spanned::new(read.span(), value))
    }

    /// A value of the right type that is not what the key wants.
    fn refuse(&mut self, key: &'static str, span: Range<usize>, is: impl Display, wants: &str) {
        self.broken.push(key);
        let what = format!("`{key}` in {} is {is}", self.name);
        self.bad(span, what, format!("`{key}` wants {wants}"));
    }

    fn wrong_type(&mut self, key: &str, wants: &str, value: &Spanned<DeValue<'_>>) {
        let mistake = Mistake::WrongType {
            key: key.to_owned(),
            table: self.name.clone(),
            wants: wants.to_owned(),
            found: describe(value.get_ref()),
        };
        self.note(value.span(), mistake);
    }
}

#[cfg(test)]
mod tests {
    use super::super::read::{in_order, read};
    use super::*;

    const FOREIGN: &[(&str, &str)] = &[("r", "`rank` under [lora]")];

    /// Every mistake that `keys` notes, with its way out.
    fn mistakes(text: &str, keys: impl FnOnce(Table<'_, '_>)) -> String {
        let read = read(text, "f.toml", FOREIGN, keys);
        let told = in_order("f.toml", text, read.mistakes).map(|(place, mistake)| {
            let out = mistake.nearest().or(mistake.way_out());
            let out = out.map_or(String::new(), |out| format!(" -> {out}"));
            format!(
                "{}:{} {mistake} | {}{out}",
                place.line,
                place.column,
                mistake.rule()
            )
        });
        told.collect::<Vec<_>>().join("\n")
    }

    #[test]
    fn every_mistake_is_noted_and_reading_goes_on() {
        let text = "flag = 1\nnumber = 2\nbig = nan\ncount = -1\nmore = 12\nseed = 1.5\nword = \"ful\"\n\
                    name = \"\"\nlist = [\"a\", 3, \"\"]\n[map]\na = 1\nb = \"x\"\n[[rows]]\nid = 3\n[[rows]]\nid = \"x\"\n\
                    [section]\nnmae = 1\nr = 8\n[plain]\n";
        let shown = mistakes(text, |mut top| {
            assert!(top.flag("flag").is_none());
            assert_eq!(
                top.number("number", "a number", |_| true)
                    .map(Spanned::into_inner),
                Some(2.0)
            );
            assert!(top.number("big", "a number below 1", |n| n < 1.0).is_none());
            assert!(top.count("count", 1..).is_none());
            assert!(top.count("more", 1..=9).is_none());
            assert!(top.seed("seed").is_none());
            assert!(top.word("word", &[("full", 1), ("none", 0)]).is_none());
            assert!(top.filled_string("name").is_none());
            let list = top.filled_strings("list").unwrap();
            assert_eq!(list.get_ref().len(), 2);
            let map = top.map("map", "a string", |value| value.as_str().map(str::to_owned));
            assert_eq!(map.unwrap().len(), 1);
            let rows = top.sections("rows", "[[rows]]", |mut row| row.string("id").is_some());
            let rows: Vec<bool> = rows.into_iter().map(Spanned::into_inner).collect();
            assert_eq!(rows, [false, true]);
            let mut section = top.section("section", "[section]");
            assert!(section.span().is_some());
            section.string("name");
            // Misspelled, so not missing besides.
            assert_eq!(section.finish(), ["name"]);
            assert!(top.section("absent", "[absent]").span().is_none());
            assert_eq!(top.finish().len(), 8);
        });
        insta::assert_snapshot!(shown, @r#"
        1:8 `flag` in f.toml is the number 1 | `flag` wants true or false
        3:7 `big` in f.toml is the number nan | `big` wants a number below 1
        4:9 `count` in f.toml is -1 | `count` wants a whole number, 1 or more
        5:8 `more` in f.toml is 12 | `more` wants a whole number from 1 to 9
        6:8 `seed` in f.toml is the number 1.5 | `seed` wants a whole number from 0 to 2^64 - 1
        7:8 `word` in f.toml is "ful" | `word` wants "full" or "none" -> full
        8:8 `name` in f.toml is empty | `name` wants a string that is not empty
        9:14 `list` in f.toml is the number 3 | `list` wants a list of strings
        9:17 `list` in f.toml is an empty string | `list` wants a list of strings, none of them empty
        11:5 `map.a` in f.toml is the number 1 | `map.a` wants a string
        14:6 `id` in [[rows]] is the number 3 | `id` wants a string
        18:1 unknown key `nmae` in [section] | [section] takes name -> name
        19:1 unknown key `r` in [section] | [section] takes name -> write `rank` under [lora]
        20:2 unknown key `plain` in f.toml | f.toml takes flag, number, big, count, more, seed, word, name, list, map, rows, section, and absent
        "#);
    }

    #[test]
    fn free_keys_are_not_unknown() {
        let shown = mistakes("type = \"x\"\nother = 1\nmore = 2\n", |mut top| {
            top.string("type");
            let rest: Vec<&str> = top
                .rest()
                .iter()
                .map(|(key, _)| key.get_ref().as_ref())
                .collect();
            assert_eq!(rest, ["other", "more"]);
            assert!(top.finish().is_empty());
        });
        assert_eq!(shown, "");
    }
}
