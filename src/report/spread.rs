//! What lies behind the numbers of a suite: flips beside those of chance alone, and which differences
//! move together.

use std::collections::BTreeMap;

use super::style::{Style, Tone};
use super::wrap::wrapped;
use crate::flow::{Goal, SuiteNoise, SuiteVerdict, Verdict};
use crate::text::plural;

/// A few lines a `keep` suite of a verdict, pooled last; nothing where nothing changed. `noise` is the
/// base beside itself, by suite.
pub fn spread_lines(
    verdict: &Verdict,
    noise: &BTreeMap<String, SuiteNoise>,
    style: Style,
) -> String {
    let kept = verdict.suites.iter().filter(|s| s.goal == Goal::Keep);
    let rows = kept.chain(std::iter::once(&verdict.pooled));
    rows.flat_map(|row| lines_of(row, noise))
        .map(|(tone, line)| wrapped("", &[(tone, line)], style))
        .collect()
}

fn lines_of(row: &SuiteVerdict, noise: &BTreeMap<String, SuiteNoise>) -> Vec<(Tone, String)> {
    let name = match row.is_pooled() {
        true => "all `keep` suites".to_owned(),
        false => format!("`{}`", row.suite),
    };
    let mut lines = Vec::new();
    if let Some(estimate) = &row.estimate
        && estimate.losses + estimate.gains > 0
    {
        let chance = noise.get(&row.suite).map_or_else(String::new, |noise| {
            format!(
                "; the base beside itself {} and {} of {}",
                noise.losses, noise.gains, noise.probes
            )
        });
        lines.push((
            Tone::Plain,
            format!(
                "{name}: {} and {} of {}{chance}",
                plural_of(estimate.losses, "loss", "losses"),
                plural(estimate.gains, "gain"),
                plural(estimate.probes, "probe"),
            ),
        ));
    }
    let Some(spread) = row.spread else {
        return lines;
    };
    if let Some(answers) = spread
        .answers
        .filter(|a| a.values as f64 - a.effective >= 1.0)
    {
        lines.push((
            Tone::Dim,
            format!(
                "{name}: answers to one probe change together (correlation {:.2}): {} are worth {:.0}",
                answers.correlation, answers.values, answers.effective
            ),
        ));
    }
    if let Some(tags) = spread.tags.filter(|t| t.clear) {
        lines.push((
            Tone::Open,
            format!(
                "{name}: probes with a tag in common change together (correlation {:.2}, design \
                 effect {:.1}): {} are worth {:.0}, and intervals and p-values take them for {}",
                tags.correlation, tags.design_effect, tags.values, tags.effective, tags.values
            ),
        ));
    }
    lines
}

fn plural_of(count: usize, one: &str, many: &str) -> String {
    format!("{count} {}", if count == 1 { one } else { many })
}

#[cfg(test)]
mod tests {
    use super::super::testing::careless;
    use super::*;
    use crate::flow::{Alike, Spread};

    #[test]
    fn flips_stand_beside_those_of_chance_and_groups_beside_what_they_are_worth() {
        let mut verdict = careless();
        let alike = |correlation, design_effect, values: usize, clear| {
            Some(Alike {
                correlation,
                design_effect,
                values,
                effective: values as f64 / design_effect,
                clear,
            })
        };
        let code = verdict
            .suites
            .iter_mut()
            .find(|s| s.suite == "code")
            .unwrap();
        code.spread = Some(Spread {
            answers: alike(0.62, 2.24, 180, true),
            tags: alike(0.3, 3.1, 60, true),
        });
        verdict.pooled.estimate = None;
        verdict.pooled.spread = Some(Spread {
            answers: None,
            tags: alike(0.01, 1.02, 100, false),
        });
        let only = |verdict: &Verdict, noise: &BTreeMap<String, SuiteNoise>| -> String {
            let text = spread_lines(verdict, noise, Style::plain(80));
            text.lines()
                .skip_while(|line| !line.starts_with("`code`"))
                .collect::<Vec<_>>()
                .join(" ")
        };
        let noise = SuiteNoise {
            mean_change: 0.02,
            difference: 0.0,
            probes: 60,
            losses: 3,
            gains: 2,
        };
        let known = BTreeMap::from([("code".to_owned(), noise)]);
        let text = only(&verdict, &known);
        assert!(
            text.contains("the base beside itself 3 and 2 of 60"),
            "{text}"
        );
        assert!(text.contains("180 are worth 80"), "{text}");
        assert!(text.contains("60 are worth 19"), "{text}");
        assert!(!text.contains("worth 98"), "no clear correlation: {text}");
        let unknown = only(&verdict, &BTreeMap::new());
        assert!(!unknown.contains("beside itself"), "{unknown}");
    }
}
