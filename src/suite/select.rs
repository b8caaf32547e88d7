//! Which probes of the suites take part: by name, by tag, by shard.

use crate::digest;
use crate::flow::{Probe, ProbeId, Suite};
use crate::text::nearest;

use super::error::SelectError;

/// A choice of probes. The default takes all.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Selection {
    /// A probe has to match one of them; none takes every probe. `*` stands for any characters
    /// and `?` for one. With `::` a pattern is matched with `suite::probe`, without it with the
    /// suite's name and with the probe's id.
    pub patterns: Vec<String>,
    /// A probe has to satisfy all of them. `en,zh` is satisfied by either tag. The sizes
    /// `smoke`, `standard`, and `full` nest: a probe is tagged with the smallest that has it, and
    /// one without a size is of `full` alone.
    pub tags: Vec<String>,
    /// Only the first so many prompts of each probe; at least 1. `None` asks all.
    pub prompts: Option<usize>,
    /// One part of the probes.
    pub shard: Option<Shard>,
}

/// Part `k` of `n`, written `k/n` with k from 1. A probe's part comes from the digest of its
/// name: adding or removing other probes moves no probe to another part.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Shard {
    part: u64,
    parts: u64,
}

impl std::str::FromStr for Shard {
    type Err = SelectError;

    fn from_str(text: &str) -> Result<Self, SelectError> {
        let parsed = text.split_once('/').and_then(|(part, parts)| {
            Some(Shard {
                part: part.trim().parse().ok()?,
                parts: parts.trim().parse().ok()?,
            })
        });
        parsed
            .filter(|shard| (1..=shard.parts).contains(&shard.part))
            .ok_or_else(|| SelectError::Shard(text.to_owned()))
    }
}

impl std::fmt::Display for Shard {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}/{}", self.part, self.parts)
    }
}

impl Shard {
    fn holds(&self, probe: &ProbeId) -> bool {
        let digest = digest::bytes(probe.to_string());
        let hash = u64::from_str_radix(&digest[..16], 16).unwrap_or_default();
        hash % self.parts == self.part - 1
    }
}

impl Selection {
    /// The suites with the probes that are selected; a suite without any is left out. Digests
    /// stay those of the whole suites, since a selection changes no answer and no score.
    ///
    /// # Errors
    /// A pattern or a tag that no probe has, and a selection that leaves nothing.
    pub fn apply(&self, suites: &[Suite]) -> Result<Vec<Suite>, SelectError> {
        for pattern in &self.patterns {
            self.known_pattern(pattern, suites)?;
        }
        for tag in self.tags.iter().flat_map(|tags| tags.split(',')) {
            if !SIZES.contains(&tag.trim()) {
                known_tag(tag.trim(), suites)?;
            }
        }
        let mut selected = Vec::new();
        for whole in suites {
            let mut suite = whole.clone();
            suite.probes.retain(|probe| self.takes(whole, probe));
            if let Some(most) = self.prompts {
                for probe in &mut suite.probes {
                    probe.prompts.truncate(most.max(1));
                }
            }
            if !suite.probes.is_empty() {
                selected.push(suite);
            }
        }
        if selected.is_empty() {
            let all: usize = suites.iter().map(|suite| suite.probes.len()).sum();
            return Err(SelectError::Empty {
                probes: crate::text::plural(all, "probe"),
                asked: self.asked(),
            });
        }
        Ok(selected)
    }

    /// The suites of which a tag or a shard leaves no probe, whatever the patterns are: who asks
    /// for a name has said what is not wanted, but a tag may stand in a file that somebody else
    /// wrote.
    pub fn leaves_out(&self, suites: &[Suite]) -> Vec<String> {
        let selection = Selection {
            patterns: Vec::new(),
            ..self.clone()
        };
        let left = |suite: &&Suite| {
            let kept = |probe| selection.takes(suite, probe);
            !suite.probes.iter().any(kept)
        };
        let names = suites.iter().filter(left).map(|suite| suite.name.clone());
        names.collect()
    }

    fn takes(&self, suite: &Suite, probe: &Probe) -> bool {
        let id = suite.id_of(probe);
        let named = self.patterns.is_empty() || self.patterns.iter().any(|p| matches(p, &id));
        let mut tags = self.tags.iter();
        let tagged = tags.all(|tags| {
            let mut either = tags.split(',');
            either.any(|tag| is_tagged(&probe.tags, tag.trim()))
        });
        named && tagged && self.shard.is_none_or(|shard| shard.holds(&id))
    }

    /// What a probe has to be, in words.
    pub fn asked(&self) -> Vec<String> {
        let mut asked = Vec::new();
        if !self.patterns.is_empty() {
            let patterns: Vec<String> = self.patterns.iter().map(|p| format!("`{p}`")).collect();
            asked.push(format!("the name {}", patterns.join(" or ")));
        }
        asked.extend(self.tags.iter().map(|tag| format!("the tag `{tag}`")));
        if let Some(Shard { part, parts }) = self.shard {
            asked.push(format!("the shard `{part}/{parts}`"));
        }
        asked
    }

    fn known_pattern(&self, pattern: &str, suites: &[Suite]) -> Result<(), SelectError> {
        let ids = || {
            suites
                .iter()
                .flat_map(|suite| suite.probes.iter().map(|probe| suite.id_of(probe)))
        };
        if ids().any(|id| matches(pattern, &id)) {
            return Ok(());
        }
        let names: Vec<String> = match pattern.contains("::") {
            true => ids().map(|id| id.to_string()).collect(),
            false => suites
                .iter()
                .map(|suite| suite.name.clone())
                .chain(ids().map(|id| id.probe))
                .collect(),
        };
        Err(SelectError::Pattern {
            pattern: pattern.to_owned(),
            nearest: nearest(pattern, names.iter().map(String::as_str)),
            suites: suites.iter().map(|suite| suite.name.clone()).collect(),
        })
    }
}

/// Sizes of suites, the smallest first.
const SIZES: [&str; 3] = ["smoke", "standard", "full"];

/// Whether a probe with the tags `own` is among those of `tag`.
fn is_tagged(own: &[String], tag: &str) -> bool {
    let has = |tag: &str| own.iter().any(|own| own == tag);
    match SIZES.iter().position(|size| *size == tag) {
        Some(size) => tag == "full" || SIZES[..=size].iter().any(|size| has(size)),
        None => has(tag),
    }
}

fn known_tag(tag: &str, suites: &[Suite]) -> Result<(), SelectError> {
    let mut tags: Vec<String> = suites
        .iter()
        .flat_map(|suite| {
            suite
                .probes
                .iter()
                .flat_map(|probe| probe.tags.iter().cloned())
        })
        .collect();
    tags.sort();
    tags.dedup();
    if tags.iter().any(|known| known == tag) {
        return Ok(());
    }
    let nearest = nearest(tag, tags.iter().map(String::as_str));
    Err(SelectError::Tag {
        tag: tag.to_owned(),
        nearest,
        tags,
    })
}

/// Whether a pattern, in which `*` stands for any characters and `?` for one, fits a text.
pub fn matches_glob(pattern: &str, text: &str) -> bool {
    let chars = |text: &str| text.chars().collect::<Vec<_>>();
    glob_matches(&chars(pattern), &chars(text))
}

fn matches(pattern: &str, id: &ProbeId) -> bool {
    let glob: Vec<char> = pattern.chars().collect();
    let fits = |text: &str| glob_matches(&glob, &text.chars().collect::<Vec<_>>());
    if pattern.contains("::") {
        fits(&id.to_string())
    } else {
        fits(&id.suite) || fits(&id.probe)
    }
}

/// `*` matches any run of characters, `?` one. Linear: only the last `*` is ever tried again.
fn glob_matches(pattern: &[char], text: &[char]) -> bool {
    let (mut p, mut t) = (0, 0);
    let mut retry: Option<(usize, usize)> = None;
    while t < text.len() {
        match pattern.get(p) {
            Some('*') => {
                retry = Some((p + 1, t));
                p += 1;
            }
            Some(c) if *c == '?' || *c == text[t] => {
                p += 1;
                t += 1;
            }
            _ => {
                let Some((after, from)) = retry else {
                    return false;
                };
                retry = Some((after, from + 1));
                p = after;
                t = from + 1;
            }
        }
    }
    pattern[p..].iter().all(|c| *c == '*')
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::suite::{SuiteSource, load};

    fn suites() -> Vec<Suite> {
        let file = |name: &str, probes: &[(&str, &str)]| {
            let head = format!("[suite]\nname = \"{name}\"\ngoal = \"keep\"\n");
            let probe = |(id, tags): &(&str, &str)| {
                format!(
                    "[[probe]]\nid = \"{id}\"\ntags = {tags}\nprompts = [\"x\"]\n\
                     [[probe.check]]\ntype = \"contains\"\nvalue = \"x\"\n"
                )
            };
            let text = head + &probes.iter().map(probe).collect::<String>();
            SuiteSource::new(format!("{name}.toml"), text)
        };
        let sources = [
            file(
                "code",
                &[
                    ("quicksort", r#"["en", "python"]"#),
                    ("quicksort-zh", r#"["zh", "python"]"#),
                ],
            ),
            file(
                "knowledge",
                &[("capital", r#"["en"]"#), ("code", r#"["en"]"#)],
            ),
        ];
        load(&sources, &BTreeMap::new()).unwrap()
    }

    fn selected(patterns: &[&str], tags: &[&str], shard: Option<&str>) -> Result<String, String> {
        let strings = |texts: &[&str]| texts.iter().map(|t| (*t).to_owned()).collect();
        let selection = Selection {
            patterns: strings(patterns),
            tags: strings(tags),
            prompts: None,
            shard: shard.map(|s| s.parse().unwrap()),
        };
        let suites = selection.apply(&suites()).map_err(|e| e.to_string())?;
        let ids = suites
            .iter()
            .flat_map(|s| s.probes.iter().map(|p| format!("{}::{}", s.name, p.id)))
            .collect::<Vec<_>>();
        Ok(ids.join(" "))
    }

    #[test]
    fn sizes_nest() {
        let own = |tags: &[&str]| tags.iter().map(|t| (*t).to_owned()).collect::<Vec<_>>();
        let (smoke, standard, none) = (own(&["en", "smoke"]), own(&["standard"]), own(&["en"]));
        let in_size = |size: &str| [&smoke, &standard, &none].map(|own| is_tagged(own, size));
        assert_eq!(in_size("smoke"), [true, false, false]);
        assert_eq!(in_size("standard"), [true, true, false]);
        assert_eq!(in_size("full"), [true, true, true]);
        assert_eq!(in_size("en"), [true, false, true]);
    }

    #[test]
    fn fewer_prompts_leave_every_probe() {
        let selection = Selection {
            prompts: Some(1),
            ..Selection::default()
        };
        let all: usize = suites().iter().map(|s| s.probes.len()).sum();
        let selected = selection.apply(&suites()).unwrap();
        let probes: Vec<_> = selected.iter().flat_map(|s| &s.probes).collect();
        assert_eq!(probes.len(), all);
        assert!(probes.iter().all(|p| p.prompts.len() == 1));
    }

    #[test]
    fn patterns_name_probes_suites_or_both() {
        let all = "code::quicksort code::quicksort-zh knowledge::capital knowledge::code";
        for (patterns, expected) in [
            (&[][..], all),
            (&["*"], all),
            (
                &["code"],
                "code::quicksort code::quicksort-zh knowledge::code",
            ),
            (&["code::*"], "code::quicksort code::quicksort-zh"),
            (&["*::code"], "knowledge::code"),
            (&["*sort"], "code::quicksort"),
            (
                &["quick*", "capital"],
                "code::quicksort code::quicksort-zh knowledge::capital",
            ),
            (&["c?de::*zh"], "code::quicksort-zh"),
        ] {
            assert_eq!(
                selected(patterns, &[], None).as_deref(),
                Ok(expected),
                "{patterns:?}"
            );
        }
    }

    #[test]
    fn tags_narrow_and_commas_widen() {
        assert_eq!(
            selected(&[], &["zh"], None).as_deref(),
            Ok("code::quicksort-zh")
        );
        assert_eq!(
            selected(&[], &["en", "python"], None).as_deref(),
            Ok("code::quicksort")
        );
        assert_eq!(
            selected(&[], &["en, zh", "python"], None).as_deref(),
            Ok("code::quicksort code::quicksort-zh")
        );
    }

    #[test]
    fn shards_part_the_probes_without_overlap() {
        let part = |k: usize| {
            let shard = Selection {
                shard: format!("{k}/3").parse().ok(),
                ..Selection::default()
            };
            shard
                .apply(&suites())
                .map_or(0, |s| s.iter().map(|s| s.probes.len()).sum())
        };
        assert_eq!(part(1) + part(2) + part(3), 4);
        assert_eq!(selected(&[], &[], Some("1/1")), selected(&[], &[], None));
    }

    #[test]
    fn stars_match_any_run() {
        let fits = |pattern: &str, text: &str| {
            glob_matches(
                &pattern.chars().collect::<Vec<_>>(),
                &text.chars().collect::<Vec<_>>(),
            )
        };
        for (pattern, text, expected) in [
            ("", "", true),
            ("", "a", false),
            ("**", "", true),
            ("a*b*c", "aXbYbZc", true),
            ("a*b*c", "aXbYbZ", false),
            ("*ab", "aab", true),
            ("?", "递", true),
            ("?", "", false),
            ("*?", "a", true),
        ] {
            assert_eq!(fits(pattern, text), expected, "{pattern} {text}");
        }
        assert!(!fits(&"*a".repeat(40), &"a".repeat(39)));
    }

    #[test]
    fn what_selects_nothing_is_an_error_with_the_nearest_name() {
        let errors = [
            selected(&["knowlege"], &[], None),
            selected(&["code::quiksort"], &[], None),
            selected(&["zzz"], &[], None),
            selected(&[], &["pyhton"], None),
            selected(&["capital"], &["zh"], None),
        ];
        let mut shown: Vec<String> = errors.into_iter().filter_map(Result::err).collect();
        for shard in ["0/4", "5/4", "1", "a/b", "1/0"] {
            shown.extend(shard.parse::<Shard>().map_err(|e| e.to_string()).err());
        }
        insta::assert_snapshot!(shown.join("\n"), @r"
        no probe matches `knowlege` (nearest: `knowledge`): a pattern is `suite::probe`, a suite, or a probe, with `*` and `?`; the suites are code and knowledge
        no probe matches `code::quiksort` (nearest: `code::quicksort`): a pattern is `suite::probe`, a suite, or a probe, with `*` and `?`; the suites are code and knowledge
        no probe matches `zzz`: a pattern is `suite::probe`, a suite, or a probe, with `*` and `?`; the suites are code and knowledge
        no probe has the tag `pyhton` (nearest: `python`): the tags are en, python, and zh
        none of 4 probes is at once of the name `capital` and the tag `zh`: leave one of these out (`--probe`, `--tag`, `--shard`, or `tags` and `languages` under [gate] in qeval.toml)
        `0/4` is no shard: a shard is `k/n` with k from 1 to n, as in `2/4`
        `5/4` is no shard: a shard is `k/n` with k from 1 to n, as in `2/4`
        `1` is no shard: a shard is `k/n` with k from 1 to n, as in `2/4`
        `a/b` is no shard: a shard is `k/n` with k from 1 to n, as in `2/4`
        `1/0` is no shard: a shard is `k/n` with k from 1 to n, as in `2/4`
        ");
    }
}
