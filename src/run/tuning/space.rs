//! The settings that are tried: the configured one, and others that cover the space.
//!
//! They are a Latin hypercube (M. D. McKay, R. J. Beckman, W. J. Conover, "A comparison of three
//! methods for selecting values of input variables", Technometrics 1979): each dimension is cut into
//! as many parts as there are settings and each part is taken once, so that sixteen settings hold
//! every value of every list as often as it can be, and rates all over their range. Of several such
//! designs the one whose nearest two settings are farthest apart is taken (M. D. Morris,
//! T. J. Mitchell, "Exploratory designs for computational experiments", 1995).

use crate::config::TuneSection;
use crate::random::{Draws, Philox, Purpose};
use crate::train::{LoraSection, TargetSelection, TrainSection};

use super::super::error::RunError;

/// Designs that are drawn, of which one is taken.
const DESIGNS: u64 = 64;
/// Rate, rank, modules, weight of rehearsal, epochs.
const DIMENSIONS: usize = 5;
/// How far from the configured rate others lie where no range is given.
const RATE_FACTOR: f64 = 5.0;

/// A setting: the sections of `qeval.toml` that it changes.
#[derive(Debug, Clone, PartialEq)]
pub struct Setting {
    /// `[lora]`.
    pub lora: LoraSection,
    /// `[train]`.
    pub train: TrainSection,
}

/// The values of every dimension.
#[derive(Debug, Clone, PartialEq)]
struct Space {
    rate: (f64, f64),
    ranks: Vec<usize>,
    modules: Vec<TargetSelection>,
    weights: Vec<f64>,
    epochs: Vec<f64>,
}

impl Space {
    fn new(asked: &TuneSection, configured: &Setting, rehearses: bool) -> Self {
        let (rate, weight, epochs) = (
            configured.train.learning_rate,
            configured.train.rehearsal_weight,
            configured.train.num_train_epochs,
        );
        let around = |middle: f64, factors: [f64; 3]| -> Vec<f64> {
            let mut values: Vec<f64> = factors.iter().map(|f| rounded(middle * f)).collect();
            values.dedup();
            values
        };
        let weights = match (&asked.rehearsal_weight, rehearses) {
            (Some(given), true) => given.clone(),
            (None, true) => around(weight, [0.3, 1.0, 3.0]),
            (_, false) => vec![weight],
        };
        let usual = (rate / RATE_FACTOR, rate * RATE_FACTOR);
        Space {
            rate: asked.learning_rate.unwrap_or(usual),
            ranks: asked.rank.clone(),
            modules: asked.target_modules.clone(),
            weights,
            epochs: asked
                .num_train_epochs
                .clone()
                .unwrap_or_else(|| around(epochs, [0.5, 1.0, 2.0])),
        }
    }

    /// Distinct settings that it holds; `None` where the rate makes them endless.
    fn size(&self) -> Option<usize> {
        let lists = self.ranks.len() * self.modules.len() * self.weights.len() * self.epochs.len();
        (self.rate.0 >= self.rate.1).then_some(lists)
    }

    /// The setting at a place of the unit cube.
    fn at(&self, place: &[f64; DIMENSIONS], configured: &Setting) -> Setting {
        let (low, high) = (self.rate.0.ln(), self.rate.1.ln());
        let mut setting = configured.clone();
        let (lora, train) = (&mut setting.lora, &mut setting.train);
        train.learning_rate = rounded((low + (high - low) * place[0]).exp());
        let rank = *pick(&self.ranks, place[1]);
        lora.alpha = alpha(&configured.lora, rank);
        lora.rank = rank;
        lora.target_modules = pick(&self.modules, place[2]).clone();
        train.rehearsal_weight = *pick(&self.weights, place[3]);
        train.num_train_epochs = *pick(&self.epochs, place[4]);
        setting
    }

    /// Every setting of a space that can be counted.
    fn all(&self, configured: &Setting) -> Vec<Setting> {
        let sizes = [
            1,
            self.ranks.len(),
            self.modules.len(),
            self.weights.len(),
            self.epochs.len(),
        ];
        let count: usize = sizes.iter().product();
        let at = |mut index: usize| {
            let place = sizes.map(|size| {
                let part = index % size;
                index /= size;
                (part as f64 + 0.5) / size as f64
            });
            self.at(&place, configured)
        };
        (0..count).map(at).collect()
    }
}

/// The alpha that leaves the scale of the update as configured: a rate then means the same at every
/// rank.
fn alpha(configured: &LoraSection, rank: usize) -> f64 {
    let ratio = rank as f64 / configured.rank as f64;
    let ratio = if configured.use_rslora {
        ratio.sqrt()
    } else {
        ratio
    };
    rounded(configured.alpha * ratio)
}

/// Three significant digits, which is what a person would write.
fn rounded(value: f64) -> f64 {
    format!("{value:.2e}").parse().unwrap_or(value)
}

fn pick<T>(values: &[T], place: f64) -> &T {
    let index = (place * values.len() as f64) as usize;
    &values[index.min(values.len() - 1)]
}

/// The configured setting, and others up to `asked.settings` in all.
///
/// # Errors
/// There is one setting only, or weights are asked for where nothing is rehearsed.
pub fn settings(
    asked: &TuneSection,
    configured: &Setting,
    rehearses: bool,
    seed: u64,
) -> Result<Vec<Setting>, RunError> {
    if asked.rehearsal_weight.is_some() && !rehearses {
        return Err(RunError::Tune(
            "[tune] rehearsal_weight names weights, but nothing is rehearsed: each of them would \
             train the same\n  Name prompts with `rehearsal` under [data], or take the key out."
                .into(),
        ));
    }
    let space = Space::new(asked, configured, rehearses);
    let mut found = vec![configured.clone()];
    let mut take = |setting: Setting| {
        if found.len() < asked.settings && !found.contains(&setting) {
            found.push(setting);
        }
    };
    if space.size().is_some_and(|size| size < 4 * asked.settings) {
        let mut all = space.all(configured);
        let mut draws = Philox::new(seed).draws(Purpose::Tuning, 0);
        draws.shuffle(&mut all);
        all.into_iter().for_each(&mut take);
    } else {
        // What repeats another is drawn anew: a place of its own in a further design.
        for design in 0..4 {
            let places = spread(asked.settings - 1, seed, design);
            places
                .iter()
                .for_each(|place| take(space.at(place, configured)));
        }
    }
    if found.len() < 2 {
        return Err(RunError::Tune(
            "[tune] holds one setting, the configured one: there is nothing to choose\n  Give a \
             key under [tune] more values, or train it: `qeval train`."
                .into(),
        ));
    }
    Ok(found)
}

/// The design of `count` places whose nearest two are farthest apart.
fn spread(count: usize, seed: u64, round: u64) -> Vec<[f64; DIMENSIONS]> {
    let philox = Philox::new(seed);
    let mut best = (f64::NEG_INFINITY, Vec::new());
    for design in 0..DESIGNS {
        let mut draws = philox.draws(Purpose::Tuning, 1 + round * DESIGNS + design);
        let places = hypercube(count, &mut draws);
        let nearest = nearest(&places);
        if nearest > best.0 {
            best = (nearest, places);
        }
    }
    best.1
}

fn hypercube(count: usize, draws: &mut Draws) -> Vec<[f64; DIMENSIONS]> {
    let mut places = vec![[0.0; DIMENSIONS]; count];
    for dimension in 0..DIMENSIONS {
        let mut parts: Vec<usize> = (0..count).collect();
        draws.shuffle(&mut parts);
        for (place, part) in places.iter_mut().zip(parts) {
            place[dimension] = (part as f64 + f64::from(draws.uniform())) / count as f64;
        }
    }
    places
}

/// Square of the distance of the nearest two.
fn nearest(places: &[[f64; DIMENSIONS]]) -> f64 {
    let mut nearest = f64::INFINITY;
    for (i, a) in places.iter().enumerate() {
        for b in &places[..i] {
            let square = a.iter().zip(b).map(|(a, b)| (a - b).powi(2)).sum();
            nearest = f64::min(nearest, square);
        }
    }
    nearest
}

/// Projections in short, as tables have room for them.
pub fn short(modules: &TargetSelection) -> String {
    let TargetSelection::Named(names) = modules else {
        return "all".into();
    };
    let mut sorted: Vec<&str> = names.iter().map(String::as_str).collect();
    sorted.sort_unstable();
    match sorted[..] {
        ["down_proj", "gate_proj", "up_proj"] => "mlp".into(),
        ["k_proj", "o_proj", "q_proj", "v_proj"] => "attn".into(),
        _ => {
            let names = names
                .iter()
                .map(|name| name.strip_suffix("_proj").unwrap_or(name));
            names.collect::<Vec<_>>().join(",")
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    fn configured() -> Setting {
        Setting {
            lora: LoraSection::default(),
            train: TrainSection::default(),
        }
    }

    fn drawn(asked: &TuneSection, rehearses: bool) -> Vec<Setting> {
        settings(asked, &configured(), rehearses, 42).unwrap()
    }

    fn counts<T: Ord>(values: impl Iterator<Item = T>) -> Vec<usize> {
        let mut counts: BTreeMap<T, usize> = BTreeMap::new();
        for value in values {
            *counts.entry(value).or_default() += 1;
        }
        counts.into_values().collect()
    }

    #[test]
    fn sixteen_settings_hold_every_value_as_often_as_can_be() {
        let all = drawn(&TuneSection::default(), true);
        assert_eq!((all.len(), &all[0]), (16, &configured()));
        let others = &all[1..];
        assert_eq!(counts(others.iter().map(|s| s.lora.rank)), [5, 5, 5]);
        let modules = counts(others.iter().map(|s| short(&s.lora.target_modules)));
        assert!(
            modules.len() == 4 && modules.iter().all(|n| [3, 4].contains(n)),
            "{modules:?}"
        );
        let bits = |f: fn(&Setting) -> f64| counts(others.iter().map(|s| f(s).to_bits()));
        assert_eq!(bits(|s| s.train.rehearsal_weight), [5, 5, 5]);
        assert_eq!(bits(|s| s.train.num_train_epochs), [5, 5, 5]);
        // A rate in every fifteenth of the range, on a logarithmic scale.
        let part = |s: &Setting| ((s.train.learning_rate / 2e-5).ln() / 25f64.ln() * 15.0) as usize;
        assert_eq!(counts(others.iter().map(part)), [1; 15]);
        assert!(
            others
                .iter()
                .all(|s| s.lora.alpha == 2.0 * s.lora.rank as f64)
        );
    }

    #[test]
    fn the_seed_decides_and_nothing_stands_twice() {
        let asked = TuneSection::default();
        assert_eq!(drawn(&asked, true), drawn(&asked, true));
        let other = settings(&asked, &configured(), true, 43).unwrap();
        assert_ne!(other, drawn(&asked, true));
        for (i, setting) in other.iter().enumerate() {
            assert!(!other[..i].contains(setting), "{i}");
        }
    }

    #[test]
    fn without_rehearsal_no_weight_is_tried() {
        let all = drawn(&TuneSection::default(), false);
        let weight = TrainSection::default().rehearsal_weight;
        assert!(all.iter().all(|s| s.train.rehearsal_weight == weight));
        let asked = TuneSection {
            rehearsal_weight: Some(vec![1.0, 3.0]),
            ..TuneSection::default()
        };
        let refused = settings(&asked, &configured(), false, 42).unwrap_err();
        insta::assert_snapshot!(refused, @"
        [tune] rehearsal_weight names weights, but nothing is rehearsed: each of them would train the same
          Name prompts with `rehearsal` under [data], or take the key out.
        ");
    }

    #[test]
    fn a_small_space_is_tried_whole_and_one_setting_is_no_choice() {
        let mut asked = TuneSection {
            learning_rate: Some((1e-4, 1e-4)),
            rank: vec![8, 16],
            target_modules: vec![TargetSelection::AllLinear],
            num_train_epochs: Some(vec![2.0, 4.0]),
            ..TuneSection::default()
        };
        let all = drawn(&asked, false);
        assert_eq!(all.len(), 4);
        asked.rank = vec![8];
        asked.num_train_epochs = Some(vec![2.0]);
        let refused = settings(&asked, &configured(), false, 42).unwrap_err();
        insta::assert_snapshot!(refused, @"
        [tune] holds one setting, the configured one: there is nothing to choose
          Give a key under [tune] more values, or train it: `qeval train`.
        ");
    }

    #[test]
    fn the_scale_of_the_update_stays_as_configured() {
        let plain = LoraSection::default();
        assert_eq!([4, 16].map(|rank| alpha(&plain, rank)), [8.0, 32.0]);
        let rslora = LoraSection {
            use_rslora: true,
            ..plain
        };
        assert_eq!(alpha(&rslora, 32), 32.0);
    }

    #[test]
    fn modules_are_told_in_short() {
        let named = |names: &[&str]| {
            short(&TargetSelection::Named(
                names.iter().map(ToString::to_string).collect(),
            ))
        };
        assert_eq!(short(&TargetSelection::AllLinear), "all");
        assert_eq!(named(&["gate_proj", "up_proj", "down_proj"]), "mlp");
        assert_eq!(named(&["q_proj", "k_proj", "v_proj", "o_proj"]), "attn");
        assert_eq!(named(&["q_proj", "v_proj"]), "q,v");
    }
}
