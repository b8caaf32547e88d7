//! What the working tree would have asked and judged otherwise.

use std::collections::BTreeSet;

use serde::Serialize;
use serde_json::{Map, Value};

use crate::config::QevalConfig;
use crate::flow::{ExamSide, Goal, Probe, SettingDifference, Suite, SuiteDifference};
use crate::text::ellipsize;

/// Longest value that is shown, in characters.
const LONGEST: usize = 60;

/// The settings that a verdict depends on, by section and key. [`super::open`] takes the same ones from
/// the revision.
fn deciding(config: &QevalConfig) -> Vec<(&'static str, Map<String, Value>)> {
    let object = |value: Value| match value {
        Value::Object(map) => map,
        _ => Map::new(),
    };
    let section = |section: &dyn ErasedSection| object(section.json());
    let mut gate = section(&config.gate);
    for own in ["candidate", "snapshots"] {
        gate.remove(own);
    }
    let mut train = section(&config.train);
    train.retain(|key, _| matches!(key.as_str(), "system" | "seed"));
    vec![
        ("model", section(&config.model)),
        ("train", train),
        ("gate", gate),
        ("checks", section(&config.checks)),
        ("server", section(&config.server)),
        ("vars", section(&config.vars)),
    ]
}

/// A section of any type, as JSON.
trait ErasedSection {
    fn json(&self) -> Value;
}

impl<T: Serialize> ErasedSection for T {
    fn json(&self) -> Value {
        serde_json::to_value(self).unwrap_or_default()
    }
}

/// Settings that differ, in the order of the file.
pub(super) fn settings(there: &QevalConfig, here: &QevalConfig) -> Vec<SettingDifference> {
    let sections = deciding(there).into_iter().zip(deciding(here));
    let mut all = Vec::new();
    for ((section, there), (_, here)) in sections {
        let keys: BTreeSet<&String> = there.keys().chain(here.keys()).collect();
        for key in keys {
            let (there, here) = (there.get(key), here.get(key));
            let nothing = |value: Option<&Value>| value.is_none_or(Value::is_null);
            if there != here && !(nothing(there) && nothing(here)) {
                all.push(SettingDifference {
                    key: format!("`{key}` under [{section}]"),
                    there: shown(there),
                    here: shown(here),
                });
            }
        }
    }
    all
}

fn shown(value: Option<&Value>) -> String {
    match value {
        None | Some(Value::Null) => "none".to_owned(),
        Some(value) => ellipsize(&value.to_string(), LONGEST),
    }
}

/// Suites that differ, in the order of the revision, then those that only the working tree has.
pub(super) fn suites(there: &[Suite], here: &[Suite]) -> Vec<SuiteDifference> {
    let only = |suite: &Suite, side| SuiteDifference {
        suite: suite.name.clone(),
        only: Some(side),
        ..SuiteDifference::default()
    };
    let named = |suites: &'_ [Suite], name: &str| suites.iter().position(|s| s.name == name);
    let mut all: Vec<SuiteDifference> = there
        .iter()
        .map(|suite| match named(here, &suite.name) {
            Some(place) => one_suite(suite, &here[place]),
            None => only(suite, ExamSide::There),
        })
        .filter(SuiteDifference::is_some)
        .collect();
    let new = here.iter().filter(|s| named(there, &s.name).is_none());
    all.extend(new.map(|suite| only(suite, ExamSide::Here)));
    all
}

fn one_suite(there: &Suite, here: &Suite) -> SuiteDifference {
    let goal = |suite: &Suite| match suite.goal {
        Goal::Keep => "keep".to_owned(),
        Goal::Learn => "learn".to_owned(),
    };
    let number = |number: Option<f64>| number.map_or_else(|| "none".to_owned(), |n| n.to_string());
    let settings = [
        ("goal", goal(there), goal(here)),
        ("margin", number(there.margin), number(here.margin)),
        ("target", number(there.target), number(here.target)),
    ];
    let settings = settings
        .into_iter()
        .filter(|(_, there, here)| there != here);
    let mut difference = SuiteDifference {
        suite: there.name.clone(),
        settings: settings
            .map(|(key, there, here)| SettingDifference {
                key: key.to_owned(),
                there,
                here,
            })
            .collect(),
        ..SuiteDifference::default()
    };
    let find = |suite: &'_ Suite, id: &str| suite.probes.iter().position(|p| p.id == id);
    for probe in &there.probes {
        let Some(place) = find(here, &probe.id) else {
            difference.only_there.push(probe.id.clone());
            continue;
        };
        let other = &here.probes[place];
        if asked(probe) != asked(other) {
            difference.changed.push(probe.id.clone());
        }
        match (probe.critical, other.critical) {
            (true, false) => difference.critical_there.push(probe.id.clone()),
            (false, true) => difference.critical_here.push(probe.id.clone()),
            _ => {}
        }
    }
    let new = here.probes.iter().filter(|p| find(there, &p.id).is_none());
    difference.only_here = new.map(|p| p.id.clone()).collect();
    difference
}

/// A probe without what changes neither an answer nor its score: golden answers test the checks, and
/// a critical mark is told by itself.
fn asked(probe: &Probe) -> Probe {
    Probe {
        critical: false,
        goldens: Vec::new(),
        ..probe.clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config;
    use crate::suite::{SuiteSource, load_unjudged};

    fn suite(text: &str) -> Vec<Suite> {
        load_unjudged(&[SuiteSource::new("s.toml", text)], &Default::default()).unwrap()
    }

    fn probe(id: &str, more: &str) -> String {
        format!(
            "[[probe]]\nid = \"{id}\"\nprompts = [\"{id}?\"]\n{more}\n[[probe.check]]\n\
             type = \"contains\"\nvalue = \"x\"\n"
        )
    }

    fn lines(there: &str, here: &str) -> Vec<SuiteDifference> {
        suites(&suite(there), &suite(here))
    }

    #[test]
    fn every_way_to_loosen_a_suite_is_seen() {
        let head = "[suite]\nname = \"s\"\ngoal = \"keep\"\nmargin = 0.9\n";
        let there = head.to_owned() + &probe("a", "critical = true") + &probe("b", "");
        assert!(lines(&there, &there).is_empty());
        // Golden answers test the checks and decide nothing of a verdict.
        let golden = "[[probe.golden]]\nanswer = \"x\"\nexpect = \"pass\"\n";
        assert!(lines(&there, &(there.clone() + golden)).is_empty());
        let one = |here: String| lines(&there, &here).remove(0);
        assert_eq!(one(there.replace("0.9", "0.95")).settings[0].here, "0.95");
        assert_eq!(
            one(there.replace("critical = true", "")).critical_there,
            ["a"]
        );
        assert_eq!(one(there.replace("\"x\"", "\"y\"")).changed, ["a", "b"]);
        assert_eq!(one(there.replace("b?", "B?")).changed, ["b"]);
        assert_eq!(
            one(there.replace("id = \"a\"", "id = \"z\"")).only_there,
            ["a"]
        );
        assert_eq!(one(there.clone() + &probe("c", "")).only_here, ["c"]);
        assert_eq!(
            one(there.replace("critical", "generation = { max_new_tokens = 1 }\ncritical")).changed,
            ["a"]
        );
        assert_eq!(
            one(there.replace("\"keep\"\nmargin = 0.9", "\"learn\"\ntarget = 0.1"))
                .settings
                .len(),
            3
        );
        assert_eq!(
            one(there.replace("\"s\"", "\"t\"")).only,
            Some(ExamSide::There)
        );
    }

    #[test]
    fn every_setting_that_decides_is_compared_and_no_other() {
        let parse = |text: &str| config::parse("qeval.toml", text).unwrap();
        let usual = parse("");
        let keys = |text: &str| -> Vec<String> {
            let all = settings(&usual, &parse(text)).into_iter();
            all.map(|d| format!("{} {} {}", d.key, d.there, d.here))
                .collect()
        };
        assert_eq!(
            keys("[gate]\nmargin = 0.5"),
            ["`margin` under [gate] 0.03 0.5"]
        );
        assert_eq!(
            keys("[vars]\nname = \"A\""),
            ["`name` under [vars] none \"A\""]
        );
        assert_eq!(keys("[train]\nseed = 7\nsystem = \"Hm\"").len(), 2);
        assert_eq!(keys("[checks]\njudge_accuracy = 0.1").len(), 1);
        assert_eq!(keys("[model]\npath = \"m\"\nthinking_budget = 1").len(), 2);
        let own = "[train]\noutput_dir = \"out\"\nlearning_rate = 1\n[data]\nsources = [\"a\"]\n\
                   [lora]\nrank = 2\n[gate]\ncandidate = \"c\"\nsnapshots = \"s\"\n";
        assert_eq!(keys(own), [""; 0]);
    }
}
