//! Which metric of a task is judged, and its values as scores.

use std::str::FromStr;

use super::error::ResultsError;
use super::inspect::FAILED;
use super::item::{Item, Task, Value};
use crate::flow::Score;
use crate::text::one_of;

/// A metric that the user chooses: `exact_match`, `exact_match,strict`, `gsm8k=exact_match`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Metric {
    /// Of which task; `None` for all.
    pub task: Option<String>,
    /// Its name, the filter of lm-eval after a comma.
    pub name: String,
}

impl FromStr for Metric {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (task, name) = match text.split_once('=') {
            Some((task, name)) => (Some(task.to_owned()), name),
            None => (None, text),
        };
        match name.is_empty() || task.as_ref().is_some_and(String::is_empty) {
            true => Err("give METRIC, or TASK=METRIC, such as gsm8k=exact_match,strict".into()),
            false => Ok(Metric {
                task,
                name: name.to_owned(),
            }),
        }
    }
}

/// The metric of a task that is judged, by its whole name: what is chosen for the task, else what is
/// chosen for all, else the task's own first one.
pub(super) fn chosen(name: &str, task: &Task, wanted: &[Metric]) -> Result<String, ResultsError> {
    let own = wanted.iter().find(|m| m.task.as_deref() == Some(name));
    let all = wanted.iter().find(|m| m.task.is_none());
    let Some(wanted) = own.or(all) else {
        return Ok(task.usual.clone());
    };
    let is_wanted = |metric: &&String| {
        let plain = metric.rsplit_once(',').map(|(plain, _)| plain);
        **metric == wanted.name || plain == Some(&wanted.name)
    };
    let found = task.metrics.iter().find(is_wanted);
    found.cloned().ok_or_else(|| ResultsError::NoMetric {
        task: name.to_owned(),
        name: wanted.name.clone(),
        file: task.file.clone(),
        known: one_of(&shown(task)),
    })
}

/// Names of a task's metrics that are shown.
pub(super) fn shown(task: &Task) -> Vec<&str> {
    let named = task.metrics.iter().filter(|name| *name != FAILED);
    named.map(String::as_str).collect()
}

/// An item's score by a metric. One of which less is better is turned: 1 minus it.
pub(super) fn score(item: &Item, task: &Task, metric: &str) -> Result<Score, ResultsError> {
    let value = item.scores.get(metric).or_else(|| item.scores.get(FAILED));
    let refused = |value: String| {
        let others: Vec<&str> = shown(task).into_iter().filter(|m| *m != metric).collect();
        ResultsError::NoScore {
            file: task.file.clone().into(),
            line: item.line,
            item: item.id.clone().into(),
            metric: metric.into(),
            value: value.into(),
            others: match others.as_slice() {
                [] => "There is no other metric: evaluate with one that is a score.".into(),
                others => format!("Choose another: --metric {}", one_of(others)).into(),
            },
        }
    };
    match value {
        None => Ok(Score::unscored(format!("no score `{metric}`"))),
        Some(Value::Missing(why)) => Ok(Score::unscored(why.clone())),
        Some(Value::Other(what)) => Err(refused((*what).to_owned())),
        Some(Value::Number(number)) if !(0.0..=1.0).contains(number) => {
            Err(refused(number.to_string()))
        }
        Some(Value::Number(number)) => {
            let (value, evidence) = match task.lower_is_better.contains(metric) {
                true => (1.0 - number, format!("1 - {metric}")),
                false => (*number, metric.to_owned()),
            };
            Ok(Score::Scored { value, evidence })
        }
    }
}
