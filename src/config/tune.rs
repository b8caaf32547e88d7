//! `[tune]`: what `qeval tune` tries, and how much of it.

use serde::{Deserialize, Serialize};
use toml::Spanned;
use toml::de::DeValue;

use crate::toml_file::{Table, describe, number, whole};
use crate::train::TargetSelection;

/// `[tune]`: the settings among which `qeval tune` chooses.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct TuneSection {
    /// Lowest and highest learning rate, above 0. Default: a fifth of the configured one to five
    /// times as much.
    pub learning_rate: Option<(f64, f64)>,
    /// Ranks, each at least 1; alpha changes with them, so that alpha / rank stays as configured.
    /// Default `[4, 8, 16]`.
    pub rank: Vec<usize>,
    /// Which projections get low-rank parts. Default: all, those of the MLP, those of attention,
    /// and q and v alone.
    pub target_modules: Vec<TargetSelection>,
    /// Weights of rehearsal, 0 or more. Default: 0.3, 1, and 3 times the configured one; without
    /// rehearsal none.
    pub rehearsal_weight: Option<Vec<f64>>,
    /// Passes over the examples, above 0. Default: half of those configured, those, and twice as
    /// many.
    pub num_train_epochs: Option<Vec<f64>>,
    /// How many settings are tried, at least 2; the configured one is always among them.
    /// Default 16.
    pub settings: usize,
    /// What tuning may take, in full training runs with their gates, above 0. Default 6.
    pub budget_runs: f64,
}

impl Default for TuneSection {
    fn default() -> Self {
        let named = |names: &[&str]| {
            TargetSelection::Named(names.iter().map(ToString::to_string).collect())
        };
        TuneSection {
            learning_rate: None,
            rank: vec![4, 8, 16],
            target_modules: vec![
                TargetSelection::AllLinear,
                named(&["gate_proj", "up_proj", "down_proj"]),
                named(&["q_proj", "k_proj", "v_proj", "o_proj"]),
                named(&["q_proj", "v_proj"]),
            ],
            rehearsal_weight: None,
            num_train_epochs: None,
            settings: 16,
            budget_runs: 6.0,
        }
    }
}

const RATES: &str = "two numbers above 0, the lower one first, such as [2e-5, 5e-4]";
const RANKS: &str = "a list of whole numbers, each 1 or more, such as [4, 8, 16]";
const WEIGHTS: &str = "a list of numbers, each 0 or more, such as [1, 3, 10]";
const EPOCHS: &str = "a list of numbers above 0, such as [1, 2, 4]";
const MODULES: &str = "a list whose entries are \"all-linear\" or lists of module names, such as \
                       [\"all-linear\", [\"q_proj\", \"v_proj\"]]";

pub(super) fn read_tune(mut table: Table<'_, '_>) -> TuneSection {
    let mut tune = TuneSection::default();
    let positive = |value: &DeValue<'_>| number(value).filter(|n| *n > 0.0);
    if let Some(rates) = list(&mut table, "learning_rate", RATES, positive) {
        match rates.get_ref()[..] {
            [low, high] if low <= high => tune.learning_rate = Some((low, high)),
            _ => {
                let what = "`learning_rate` in [tune] is no range";
                table.bad(rates.span(), what, format!("`learning_rate` wants {RATES}"));
            }
        }
    }
    let count = |value: &DeValue<'_>| {
        let count = whole(value).and_then(|n| usize::try_from(n).ok());
        count.filter(|n| *n > 0)
    };
    if let Some(ranks) = list(&mut table, "rank", RANKS, count) {
        tune.rank = distinct(ranks.into_inner());
    }
    if let Some(modules) = list(&mut table, "target_modules", MODULES, selection) {
        tune.target_modules = distinct(modules.into_inner());
    }
    let weight = |value: &DeValue<'_>| number(value).filter(|n| *n >= 0.0);
    if let Some(weights) = list(&mut table, "rehearsal_weight", WEIGHTS, weight) {
        tune.rehearsal_weight = Some(distinct(weights.into_inner()));
    }
    if let Some(epochs) = list(&mut table, "num_train_epochs", EPOCHS, positive) {
        tune.num_train_epochs = Some(distinct(epochs.into_inner()));
    }
    if let Some(settings) = table.count("settings", 2..=1024) {
        tune.settings = settings.into_inner();
    }
    if let Some(runs) = table.number("budget_runs", "a number above 0", |n| n > 0.0) {
        tune.budget_runs = runs.into_inner();
    }
    table.finish();
    tune
}

/// A list that is not empty, and whose every entry `read` takes.
fn list<T>(
    table: &mut Table<'_, '_>,
    key: &'static str,
    wants: &str,
    read: impl Fn(&DeValue<'_>) -> Option<T>,
) -> Option<Spanned<Vec<T>>> {
    let value = table.value(key)?;
    let rule = || format!("`{key}` wants {wants}");
    let Some(entries) = value.get_ref().as_array() else {
        let found = describe(value.get_ref());
        table.bad(
            value.span(),
            format!("`{key}` in [tune] is {found}"),
            rule(),
        );
        return None;
    };
    if entries.is_empty() {
        table.bad(
            value.span(),
            format!("`{key}` in [tune] is empty: nothing would be tried"),
            rule(),
        );
        return None;
    }
    let mut read_all = Vec::new();
    for entry in entries.iter() {
        match read(entry.get_ref()) {
            Some(one) => read_all.push(one),
            None => {
                let found = describe(entry.get_ref());
                table.bad(
                    entry.span(),
                    format!("`{key}` in [tune] has {found}"),
                    rule(),
                );
            }
        }
    }
    (read_all.len() == entries.len()).then(|| Spanned::new(value.span(), read_all))
}

/// `"all-linear"`, or a list of names that is not empty.
fn selection(value: &DeValue<'_>) -> Option<TargetSelection> {
    if value.as_str() == Some("all-linear") {
        return Some(TargetSelection::AllLinear);
    }
    let names = value.as_array()?.iter();
    let names = names.map(|name| {
        let name = name.get_ref().as_str()?;
        (!name.is_empty()).then(|| name.to_owned())
    });
    let names: Vec<String> = names.collect::<Option<_>>()?;
    (!names.is_empty()).then_some(TargetSelection::Named(names))
}

/// What stands twice is tried once.
fn distinct<T: PartialEq>(all: Vec<T>) -> Vec<T> {
    let mut kept: Vec<T> = Vec::new();
    for one in all {
        if !kept.contains(&one) {
            kept.push(one);
        }
    }
    kept
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::parse;

    fn tune(text: &str) -> Result<TuneSection, String> {
        let parsed = parse("qeval.toml", &format!("[tune]\n{text}"));
        parsed.map(|c| c.tune).map_err(|errors| errors.to_string())
    }

    #[test]
    fn every_key_is_read_and_what_stands_twice_counts_once() {
        let read = tune(
            "learning_rate = [1e-5, 1e-3]\nrank = [4, 8, 4]\n\
             target_modules = [\"all-linear\", [\"q_proj\", \"v_proj\"]]\n\
             rehearsal_weight = [0, 10]\nnum_train_epochs = [0.5, 2]\nsettings = 8\n\
             budget_runs = 2.5\n",
        );
        let named = TargetSelection::Named(vec!["q_proj".into(), "v_proj".into()]);
        let expected = TuneSection {
            learning_rate: Some((1e-5, 1e-3)),
            rank: vec![4, 8],
            target_modules: vec![TargetSelection::AllLinear, named],
            rehearsal_weight: Some(vec![0.0, 10.0]),
            num_train_epochs: Some(vec![0.5, 2.0]),
            settings: 8,
            budget_runs: 2.5,
        };
        assert_eq!(read, Ok(expected));
        assert_eq!(tune(""), Ok(TuneSection::default()));
    }

    #[test]
    fn what_cannot_be_tried_is_told_with_its_place() {
        let told = tune(
            "learning_rate = [1e-3, 1e-5]\nrank = [4, 0]\ntarget_modules = [\"mlp\", []]\n\
             rehearsal_weight = []\nnum_train_epochs = 2\nsettings = 1\nepochs = [1]\n",
        );
        insta::assert_snapshot!(told.unwrap_err(), @r#"
        qeval.toml:2:17: `learning_rate` in [tune] is no range
          2 | learning_rate = [1e-3, 1e-5]
            |                 ^^^^^^^^^^^^
          rule: `learning_rate` wants two numbers above 0, the lower one first, such as [2e-5, 5e-4]

        qeval.toml:3:12: `rank` in [tune] has the number 0
          3 | rank = [4, 0]
            |            ^
          rule: `rank` wants a list of whole numbers, each 1 or more, such as [4, 8, 16]

        qeval.toml:4:19: `target_modules` in [tune] has the string "mlp"
          4 | target_modules = ["mlp", []]
            |                   ^^^^^
          rule: `target_modules` wants a list whose entries are "all-linear" or lists of module names, such as ["all-linear", ["q_proj", "v_proj"]]

        qeval.toml:4:26: `target_modules` in [tune] has a list
          4 | target_modules = ["mlp", []]
            |                          ^^
          rule: `target_modules` wants a list whose entries are "all-linear" or lists of module names, such as ["all-linear", ["q_proj", "v_proj"]]

        qeval.toml:5:20: `rehearsal_weight` in [tune] is empty: nothing would be tried
          5 | rehearsal_weight = []
            |                    ^^
          rule: `rehearsal_weight` wants a list of numbers, each 0 or more, such as [1, 3, 10]

        qeval.toml:6:20: `num_train_epochs` in [tune] is the number 2
          6 | num_train_epochs = 2
            |                    ^
          rule: `num_train_epochs` wants a list of numbers above 0, such as [1, 2, 4]

        qeval.toml:7:12: `settings` in [tune] is 1
          7 | settings = 1
            |            ^
          rule: `settings` wants a whole number from 2 to 1024

        qeval.toml:8:1: unknown key `epochs` in [tune]
          8 | epochs = [1]
            | ^^^^^^
          rule: [tune] takes learning_rate, rank, target_modules, rehearsal_weight, num_train_epochs, settings, and budget_runs
          way out: write `num_train_epochs` under [train]

        8 errors in qeval.toml
        "#);
    }
}
