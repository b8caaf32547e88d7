//! evalscope: `reports/SUBJECT/SUITE.json`, schema 2, as its dashboard reads it.
//!
//! A suite is a dataset with one metric, `check_score` (a plain `score` is refused), and one subset. A report has no answers: what could
//! not be judged is counted as errored there. Extra keys are refused by it, and so none is here. Read
//! with evalscope 1.14.1.

use std::path::Path;

use serde_json::{Value, json};

use crate::flow::{Recorded, Suite};

use super::PutFile;
use super::file_name::file_name;
use super::tally::Tally;

/// Writes a subject.
///
/// # Errors
/// What `put` returns.
pub fn evalscope<E>(recorded: &Recorded, put: PutFile<'_, E>) -> Result<(), E> {
    let folder = Path::new("reports").join(file_name(&recorded.subject().name));
    for suite in &recorded.suites {
        let text = serde_json::to_string_pretty(&report(recorded, suite)).unwrap_or_default();
        let file = file_name(&suite.name) + ".json";
        put(&folder.join(file), (text + "\n").as_bytes())?;
    }
    Ok(())
}

fn report(recorded: &Recorded, suite: &Suite) -> Value {
    let name = &recorded.subject().name;
    let tally = Tally::of(recorded, suite);
    let identity = json!({"name": "check_score", "aggregation": "mean", "dimensions": {}});
    let requested = tally.scored + tally.unscored + recorded.unasked(suite);
    let errored = requested - tally.scored;
    let done = json!({"requested": requested, "succeeded": tally.scored, "errored": errored});
    json!({
        "schema_version": 2,
        "name": format!("{name}@{}", suite.name),
        "dataset_name": suite.name,
        "dataset_pretty_name": suite.name,
        "dataset_description": suite.description.as_deref().unwrap_or_default(),
        "model_name": name,
        "metrics": [{
            "identity": identity,
            "num": tally.scored,
            "score": tally.mean,
            "macro_score": tally.mean,
            "categories": [{
                "name": ["default"],
                "num": tally.scored,
                "score": tally.mean,
                "macro_score": tally.mean,
                "subsets": [{"name": suite.name, "score": tally.mean, "num": tally.scored}],
            }],
            "semantics": {
                "semantic_id": "quality.check_score.ratio",
                "metric_name": "check score",
                "kind": "quality",
                "direction": "higher_is_better",
                "value_range": {"min": 0.0, "max": 1.0},
                "display_kind": "percent",
                "display_multiplier": 100.0,
                "display_unit": "%",
                "display_precision": 1,
            },
        }],
        "analysis": "N/A",
        "primary_metric_identity": identity,
        "execution_summary": {
            "requested": requested,
            "succeeded": tally.scored,
            "errored": errored,
            "incomplete": errored > 0,
            "subsets": {&suite.name: done},
        },
        "num": tally.scored,
    })
}
