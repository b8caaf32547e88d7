//! Two sets of results -> suites and what both sides scored, joined item by item.
//!
//! A task is a suite, an item a probe, and an epoch a draw of it, so that repeats never add to the
//! number of probes. What one side lacks stays in: without a score there it counts as missing, and as
//! lost where a pass would rest on it.

use std::collections::{BTreeMap, BTreeSet};

use super::choose::{Metric, chosen, score, shown};
use super::error::ResultsError;
use super::item::{Item, Results, Task};
use crate::flow::{
    Answer, CaseId, CheckScore, CheckSpec, Generation, Goal, Measurement, Probe, Score, Subject,
    Suite, SuiteVerdict,
};
use crate::text::{all_of, plural};

/// Items that are named where they are missing.
const NAMED: usize = 10;

/// Two sets of results as a gate judges them.
#[derive(Debug, Clone, PartialEq)]
pub struct Paired {
    /// One a task.
    pub suites: Vec<Suite>,
    /// What the base said and scored.
    pub base: Measurement,
    /// What the candidate did.
    pub candidate: Measurement,
    /// What a reader should know: which metric, what is missing where.
    pub notes: Vec<String>,
}

/// Joins the results of a base and a candidate. `tasks` are those to judge, none for all; `metrics`
/// the chosen ones.
///
/// # Errors
/// Nothing in common, other versions or prompts, a metric that is not there or is no score.
pub fn pair(
    base: &Results,
    candidate: &Results,
    tasks: &[String],
    metrics: &[Metric],
) -> Result<Paired, ResultsError> {
    if base.program != candidate.program {
        return Err(ResultsError::OtherProgram {
            base: base.program,
            candidate: candidate.program,
        });
    }
    let mut names: BTreeSet<&String> = base.tasks.keys().chain(candidate.tasks.keys()).collect();
    let known = all_of(&names.iter().collect::<Vec<_>>());
    let chosen_tasks = metrics.iter().filter_map(|metric| metric.task.as_ref());
    for name in tasks.iter().chain(chosen_tasks) {
        if !names.contains(name) {
            let name = name.clone();
            return Err(ResultsError::NoTask { name, known });
        }
    }
    if !tasks.is_empty() {
        names.retain(|name| tasks.contains(name));
    }
    let in_both =
        |name: &&&String| base.tasks.contains_key(**name) && candidate.tasks.contains_key(**name);
    if names.iter().filter(in_both).count() == 0 {
        let of = |side: &Results| all_of(&side.tasks.keys().collect::<Vec<_>>());
        return Err(ResultsError::NoCommonTask {
            base: of(base),
            candidate: of(candidate),
        });
    }
    let side = |name: &str| {
        Measurement::of(Subject {
            name: name.to_owned(),
            adapter: None,
            server: None,
        })
    };
    let mut paired = Paired {
        suites: Vec::new(),
        base: side("base"),
        candidate: side("candidate"),
        notes: Vec::new(),
    };
    for name in names {
        let (base, candidate) = (base.tasks.get(name), candidate.tasks.get(name));
        paired.add(name, base, candidate, metrics)?;
    }
    Ok(paired)
}

/// One item of both sides, by its draws.
#[derive(Default)]
struct Both<'a> {
    base: BTreeMap<usize, &'a Item>,
    candidate: BTreeMap<usize, &'a Item>,
}

impl Paired {
    fn add(
        &mut self,
        name: &str,
        base: Option<&Task>,
        candidate: Option<&Task>,
        metrics: &[Metric],
    ) -> Result<(), ResultsError> {
        let Some(either) = base.or(candidate) else {
            return Ok(());
        };
        let metric = chosen(name, either, metrics)?;
        if let (Some(base), Some(candidate)) = (base, candidate) {
            same_version(name, base, candidate)?;
            if !candidate.metrics.contains(&metric) {
                return Err(ResultsError::NoMetric {
                    task: name.to_owned(),
                    name: metric,
                    file: candidate.file.clone(),
                    known: all_of(&shown(candidate)),
                });
            }
        }
        let mut order: Vec<&String> = Vec::new();
        let mut items: BTreeMap<&String, Both<'_>> = BTreeMap::new();
        for (task, is_base) in [(base, true), (candidate, false)] {
            for item in task.iter().flat_map(|task| &task.items) {
                let both = items.entry(&item.key).or_insert_with(|| {
                    order.push(&item.key);
                    Both::default()
                });
                let side = match is_base {
                    true => &mut both.base,
                    false => &mut both.candidate,
                };
                side.insert(item.draw, item);
            }
        }
        if let (Some(base), Some(candidate)) = (base, candidate) {
            asked_alike(name, (base, candidate), items.values())?;
        }
        self.note(name, (base, candidate), &metric, either, (&order, &items));
        // A row of a verdict is known by this name.
        let suite_name = match name {
            SuiteVerdict::POOLED => format!("{name} (task)"),
            name => name.to_owned(),
        };
        let mut suite = Suite {
            name: suite_name,
            description: None,
            goal: Goal::Keep,
            margin: None,
            target: None,
            probes: Vec::new(),
            digest: String::new(),
        };
        let mut ids: BTreeMap<&str, usize> = BTreeMap::new();
        for key in order {
            let both = &items[key];
            let Some(first) = both.base.values().chain(both.candidate.values()).next() else {
                continue;
            };
            let count = ids.entry(&first.id).or_default();
            *count += 1;
            let id = match *count {
                1 => first.id.clone(),
                again => format!("{} ({again})", first.id),
            };
            for (task, items, side) in [
                (base, &both.base, &mut self.base),
                (candidate, &both.candidate, &mut self.candidate),
            ] {
                let Some(task) = task else { continue };
                for (draw, item) in items {
                    let case = CaseId {
                        suite: suite.name.clone(),
                        probe: id.clone(),
                        prompt: 0,
                    };
                    put(
                        side,
                        (case, *draw),
                        item,
                        score(item, task, &metric)?,
                        &metric,
                    );
                }
            }
            suite.probes.push(probe(id, &first.question, &metric));
        }
        self.suites.push(suite);
        Ok(())
    }

    fn note(
        &mut self,
        name: &str,
        (base, candidate): (Option<&Task>, Option<&Task>),
        metric: &str,
        task: &Task,
        (order, items): (&[&String], &BTreeMap<&String, Both<'_>>),
    ) {
        let others: Vec<&str> = shown(task).into_iter().filter(|m| *m != metric).collect();
        let mut told = format!("`{name}` is judged by `{metric}`");
        if task.lower_is_better.contains(metric) {
            told += ", turned (1 minus it), as less of it is better";
        } else if !task.knows_direction {
            told += ", of which more is taken to be better: the file does not say";
        }
        if !others.is_empty() {
            told += "; --metric chooses ";
            told += &all_of(&others);
        }
        self.notes.push(told);
        for (side, task, other) in [("base", base, candidate), ("candidate", candidate, base)] {
            match task {
                None => self
                    .notes
                    .push(format!("`{name}` is not in the {side}'s results")),
                Some(task) => {
                    let why = task.incomplete.iter();
                    self.notes
                        .extend(why.map(|why| format!("`{name}` of the {side}: {why}")));
                }
            }
            if other.is_none() {
                continue;
            }
            let lacks = |both: &Both<'_>| match side {
                "base" => both.base.is_empty(),
                _ => both.candidate.is_empty(),
            };
            let missing: Vec<&str> = order
                .iter()
                .filter(|key| lacks(&items[**key]))
                .filter_map(|key| {
                    let both = &items[*key];
                    let mut each = both.base.values().chain(both.candidate.values());
                    each.next().map(|item| item.id.as_str())
                })
                .collect();
            if task.is_some() && !missing.is_empty() {
                let count = plural(missing.len(), "item");
                let more = match missing.len().saturating_sub(NAMED) {
                    0 => String::new(),
                    more => format!(", and {more} more"),
                };
                let named = missing[..missing.len().min(NAMED)].join(", ");
                self.notes.push(format!(
                    "`{name}`: {count} of the other side missing in the {side}: {named}{more}"
                ));
            }
        }
    }
}

fn put(side: &mut Measurement, place: (CaseId, usize), item: &Item, score: Score, metric: &str) {
    let check = CheckScore {
        kind: metric.to_owned(),
        score: score.clone(),
    };
    side.scores.insert(place.clone(), score);
    side.checks.insert(place.clone(), vec![check]);
    if let Some(text) = &item.answer {
        let answer = Answer::of_text(place.0.clone(), place.1, text.clone());
        side.answers.insert(place, answer);
    }
}

/// A probe of an item; what it was generated with is the other program's business.
fn probe(id: String, question: &str, metric: &str) -> Probe {
    Probe {
        id,
        tags: Vec::new(),
        critical: false,
        system: None,
        history: Vec::new(),
        prompts: vec![question.to_owned()],
        generation: Generation {
            max_new_tokens: 1,
            samples: 1,
            temperature: None,
            top_k: None,
            top_p: None,
            repetition_penalty: None,
        },
        checks: vec![CheckSpec {
            kind: metric.to_owned(),
            negated: false,
            params: serde_json::Map::new(),
        }],
        goldens: Vec::new(),
    }
}

fn same_version(name: &str, base: &Task, candidate: &Task) -> Result<(), ResultsError> {
    match (&base.version, &candidate.version) {
        (Some(old), Some(new)) if old != new => Err(ResultsError::OtherVersion {
            task: name.to_owned(),
            base: old.clone(),
            candidate: new.clone(),
        }),
        _ => Ok(()),
    }
}

fn asked_alike<'a>(
    name: &str,
    (base, candidate): (&Task, &Task),
    items: impl Iterator<Item = &'a Both<'a>>,
) -> Result<(), ResultsError> {
    let firsts = |both: &'a Both<'a>| {
        let old = both.base.values().next()?;
        Some((*old, *both.candidate.values().next()?))
    };
    let pairs: Vec<(&Item, &Item)> = items.filter_map(firsts).collect();
    if pairs.is_empty() {
        return Err(ResultsError::NothingInCommon {
            task: name.to_owned(),
            base: base.items.len(),
            candidate: candidate.items.len(),
        });
    }
    let place = |task: &Task, item: &Item| match item.line {
        0 => task.file.display().to_string(),
        line => format!("{}, line {line}", task.file.display()),
    };
    let differ = |of: fn(&Item) -> &String, what, way_out| {
        let mut other = pairs.iter().filter(|(old, new)| of(old) != of(new));
        let count = other.clone().count();
        match other.next() {
            None => Ok(()),
            Some((old, new)) => Err(ResultsError::AskedOtherwise {
                task: name.to_owned(),
                count,
                all: pairs.len(),
                what,
                first: format!(
                    "{} ({}; {})",
                    old.id,
                    place(base, old),
                    place(candidate, new)
                ),
                way_out,
            }),
        }
    };
    differ(
        |item| &item.asked,
        "put with different prompts",
        "Evaluate both with the same examples, chat template, and system prompt.",
    )?;
    differ(
        |item| &item.target,
        "judged by different targets",
        "Evaluate both on the same data.",
    )
}
