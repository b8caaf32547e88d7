//! An adapter at several scales: what was learned and kept at each, and the largest that may be kept.

use serde::{Deserialize, Serialize};

use super::json::VERSION;
use super::style::{ROWS, Style, Tone, interval, score};
use super::terminal::decision_tone;
use crate::flow::Verdict;

/// A scale and what was said of it.
#[derive(Debug, Clone, Copy)]
pub struct ScaleRow<'a> {
    /// Multiple of the adapter's own scale.
    pub scale: f64,
    /// Its verdict against the base.
    pub verdict: &'a Verdict,
}

/// One row a scale, the largest first; `found` is the largest that may be kept.
pub fn scale_table(rows: &[ScaleRow<'_>], found: Option<f64>, style: Style) -> String {
    let mut rows = rows.to_vec();
    rows.sort_by(|a, b| b.scale.total_cmp(&a.scale));
    let heads = ["scale", "learn score", "keep difference", "verdict"];
    let mut table = style.table(ROWS, &heads);
    for row in &rows {
        let kept = row.verdict.pooled.estimate.as_ref();
        let mark = match found == Some(row.scale) {
            true => " (largest)",
            false => "",
        };
        let verdict = format!("{}{mark}", row.verdict.decision);
        let learned = row.verdict.learn.as_ref().map(|l| score(l.mean));
        let kept = kept.map(interval);
        let or_none = |text: Option<String>| text.unwrap_or_else(|| "-".into());
        let cells = [
            (Tone::Plain, row.scale.to_string()),
            (Tone::Plain, or_none(learned)),
            (Tone::Plain, or_none(kept)),
            (decision_tone(row.verdict.decision), verdict),
        ];
        table.add_row(cells.iter().map(|(tone, text)| style.cell(*tone, text)));
    }
    style.rendered(&table)
}

/// The search for machines (`--format json`).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ScaleReport {
    /// [`VERSION`] at the time of writing.
    pub version: u32,
    /// The adapter, as it was named.
    pub subject: String,
    /// The largest scale that may be kept; `None` where none may.
    pub scale: Option<f64>,
    /// The PEFT folder that was written.
    pub folder: Option<std::path::PathBuf>,
    /// In the order in which they were judged.
    pub looks: Vec<ScaleLookReport>,
}

/// One scale.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ScaleLookReport {
    /// Multiple of the adapter's own scale.
    pub scale: f64,
    /// Its verdict against the base.
    pub verdict: Verdict,
}

impl ScaleReport {
    /// A search as a report.
    pub fn new(
        subject: &str,
        rows: &[ScaleRow<'_>],
        scale: Option<f64>,
        folder: Option<std::path::PathBuf>,
    ) -> Self {
        let looks = rows.iter().map(|row| ScaleLookReport {
            scale: row.scale,
            verdict: row.verdict.clone(),
        });
        ScaleReport {
            version: VERSION,
            subject: subject.to_owned(),
            scale,
            folder,
            looks: looks.collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::testing::{careful, careless};

    #[test]
    fn scales_stand_from_the_largest_whatever_the_search_did() {
        let (pass, lost) = (careful(), careless());
        let row = |scale, verdict| ScaleRow { scale, verdict };
        let rows = [row(1.0, &lost), row(0.5, &pass), row(0.75, &lost)];
        let table = scale_table(&rows, Some(0.5), Style::plain(80));
        insta::assert_snapshot!(table, @"
        ┌───────┬─────────────┬──────────────────────┬────────────────┐
        │ scale ┆ learn score ┆ keep difference      ┆ verdict        │
        ╞═══════╪═════════════╪══════════════════════╪════════════════╡
        │ 1     ┆ 1.00        ┆ -0.66 [-0.75, -0.55] ┆ regression     │
        │ 0.75  ┆ 1.00        ┆ -0.66 [-0.75, -0.55] ┆ regression     │
        │ 0.5   ┆ 0.88        ┆ -0.01 [-0.05, +0.03] ┆ pass (largest) │
        └───────┴─────────────┴──────────────────────┴────────────────┘
        ");
        let report = ScaleReport::new("mine", &rows, Some(0.5), None);
        let text = serde_json::to_string(&report).unwrap();
        assert_eq!(serde_json::from_str::<ScaleReport>(&text).unwrap(), report);
    }
}
