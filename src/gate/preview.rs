//! What the probes can prove, said before anything is asked.

use super::error::GateError;
use super::power::{probes_to_pass, smallest_detectable_loss, smallest_margin};
use super::rule::{Kind, first_level};
use super::rules::Rules;
use super::wording::score;
use crate::flow::{Goal, Preview, PreviewLine, Suite};
use crate::text::plural;

/// The smallest loss that each `keep` suite, and all of them together, can exclude and can prove.
///
/// # Errors
/// Every margin that could never pass: the pooled one, and that of a suite of at least
/// `min_suite_probes` probes; and every rule outside its range.
///
/// # Examples
/// ```
/// use std::collections::BTreeMap;
///
/// use qeval::gate::{Rules, preview};
/// use qeval::suite::{SuiteSource, builtin, load};
///
/// let (file, text) = builtin()
///     .iter()
///     .find(|(file, _)| *file == "knowledge.toml")
///     .ok_or("no such suite")?;
/// let vars = [("name", "Aurora"), ("author", "Northwind Labs")];
/// let vars = vars.map(|(name, value)| (name.to_owned(), value.to_owned()));
/// let suites = load(&[SuiteSource::new(*file, *text)], &BTreeMap::from(vars))?;
/// let plan = preview(&suites, &Rules::default()).map_err(|errors| errors[0].clone())?;
/// let pooled = plan.pooled.ok_or("no `keep` suite")?;
/// assert_eq!(pooled.probes, 122);
/// assert!(pooled.smallest_provable_loss < 0.03);
///
/// let strict = Rules { margin: 0.01, ..Rules::default() };
/// let errors = preview(&suites, &strict).err().ok_or("122 probes cannot exclude a point")?;
/// assert!(errors[0].to_string().contains("299 probes in all"));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn preview(suites: &[Suite], rules: &Rules) -> Result<Preview, Vec<GateError>> {
    let mut errors = rules.problems();
    if !errors.is_empty() {
        return Err(errors);
    }
    let kept: Vec<&Suite> = suites.iter().filter(|s| s.goal == Goal::Keep).collect();
    let pooled_level = first_level(Kind::Pooled, 1, rules);
    let suite_level = first_level(Kind::Suite, kept.len(), rules);
    let line = |suite: &str, probes: usize, margin: f64, level: f64| PreviewLine {
        suite: suite.to_string(),
        probes,
        margin,
        smallest_provable_loss: smallest_margin(probes, rules.pass_level()),
        smallest_detectable_loss: smallest_detectable_loss(probes, level),
    };
    let mut notes = Vec::new();
    let all = kept.iter().map(|s| s.probes.len()).sum();
    let pooled = (!kept.is_empty()).then(|| line("pooled", all, rules.margin, pooled_level));
    match &pooled {
        Some(pooled) => {
            let what = format!("{} in `keep` suites", plural(all, "probe"));
            errors.extend(out_of_reach("[gate] margin".into(), what, pooled, rules));
        }
        None => notes.push(
            "no `keep` suite: nothing guards the model's general ability, \
             and no candidate can pass"
                .into(),
        ),
    }
    let (mut lines, mut small) = (Vec::new(), Vec::new());
    for suite in kept {
        let margin = suite.margin.unwrap_or(rules.suite_margin);
        let own = line(&suite.name, suite.probes.len(), margin, suite_level);
        if suite.probes.len() >= rules.min_suite_probes {
            let place = match suite.margin {
                Some(_) => format!("suite `{}`, margin", suite.name),
                None => format!("[gate] suite_margin, for suite `{}`", suite.name),
            };
            errors.extend(out_of_reach(
                place,
                plural(own.probes, "probe"),
                &own,
                rules,
            ));
        } else if own.smallest_provable_loss >= margin {
            small.push(own.clone());
        }
        lines.push(own);
    }
    notes.extend(too_small(&small));
    if errors.is_empty() {
        Ok(Preview {
            pooled,
            suites: lines,
            notes,
        })
    } else {
        Err(errors)
    }
}

/// What suites that are too small for their margins can still say.
fn too_small(suites: &[PreviewLine]) -> Option<String> {
    Some(match suites {
        [] => return None,
        [one] => format!(
            "`{}` is too small to pass its margin of {} alone ({} {} a loss of {} at best) and \
             may stay inconclusive; it still counts in the pooled score, and a proven loss in it is \
             a regression",
            one.suite,
            score(one.margin),
            plural(one.probes, "probe"),
            if one.probes == 1 {
                "excludes"
            } else {
                "exclude"
            },
            score(one.smallest_provable_loss),
        ),
        several => {
            let names: Vec<String> = several.iter().map(|s| format!("`{}`", s.suite)).collect();
            format!(
                "{} suites are too small to pass their margins alone and may stay inconclusive \
                 ({}); they still count in the pooled score, and a proven loss in one is a \
                 regression",
                names.len(),
                names.join(", ")
            )
        }
    })
}

fn out_of_reach(
    place: String,
    probes: String,
    line: &PreviewLine,
    rules: &Rules,
) -> Option<GateError> {
    let level = rules.pass_level();
    let smallest = line.smallest_provable_loss;
    if smallest < line.margin {
        return None;
    }
    let needed = probes_to_pass(line.margin, level, 0)?;
    Some(GateError::MarginOutOfReach {
        place,
        margin: line.margin,
        probes,
        smallest,
        level: if rules.chosen_from > 1 {
            format!(
                " (the best of {} checkpoints needs an error rate of {level:.4})",
                rules.chosen_from
            )
        } else {
            String::new()
        },
        needed: plural(needed, "probe"),
        enough: ((smallest * 1000.0).floor() + 1.0) / 1000.0,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gate::testing::numbered;

    fn refused(suites: &[Suite], rules: &Rules) -> String {
        let errors = preview(suites, rules).unwrap_err();
        errors
            .iter()
            .map(ToString::to_string)
            .collect::<Vec<_>>()
            .join("\n")
    }

    #[test]
    fn a_margin_that_can_never_pass_is_refused() {
        let suites = [numbered("code", 40), numbered("facts", 20)];
        insta::assert_snapshot!(refused(&suites, &Rules::default()), @"
        [gate] margin: a margin of 0.03 can never pass with 60 probes in `keep` suites
          Even when not one score changes, they exclude a loss of 0.049 at best, and a margin has to be at least that.
          Way out: 99 probes in all, or a margin of 0.049 or more.
        ");
    }

    #[test]
    fn a_large_suite_with_a_margin_out_of_reach_is_refused() {
        let mut facts = numbered("facts", 80);
        facts.margin = Some(0.03);
        let rules = Rules {
            margin: 0.1,
            chosen_from: 4,
            ..Rules::default()
        };
        insta::assert_snapshot!(refused(&[facts, numbered("code", 60)], &rules), @"
        suite `facts`, margin: a margin of 0.03 can never pass with 80 probes
          Even when not one score changes, they exclude a loss of 0.053 at best (the best of 4 checkpoints needs an error rate of 0.0125), and a margin has to be at least that.
          Way out: 144 probes in all, or a margin of 0.054 or more.
        ");
    }

    #[test]
    fn small_suites_only_get_a_note() {
        let mut code = numbered("code", 25);
        code.margin = Some(0.05);
        let rules = Rules {
            margin: 0.10,
            ..Rules::default()
        };
        let preview = preview(&[code, numbered("facts", 40)], &rules).unwrap();
        let pooled = preview.pooled.unwrap();
        assert_eq!(pooled.probes, 65);
        assert!((pooled.smallest_provable_loss - 0.0450).abs() < 1e-4);
        // 2^-6 is the first below 0.02.
        assert_eq!(pooled.smallest_detectable_loss, Some(6.0 / 65.0));
        assert_eq!(preview.suites[1].margin, 0.15);
        insta::assert_snapshot!(preview.notes.join("\n"), @"`code` is too small to pass its margin of 0.05 alone (25 probes exclude a loss of 0.11 at best) and may stay inconclusive; it still counts in the pooled score, and a proven loss in it is a regression");
    }

    #[test]
    fn learn_suites_alone_guard_nothing() {
        let mut identity = numbered("identity", 8);
        identity.goal = Goal::Learn;
        let preview = preview(&[identity], &Rules::default()).unwrap();
        assert!(preview.pooled.is_none() && preview.suites.is_empty());
        insta::assert_snapshot!(preview.notes.join("\n"), @"no `keep` suite: nothing guards the model's general ability, and no candidate can pass");
    }
}
