//! Every way in which an adapter is changed, and the adapter that comes of it.

use std::collections::BTreeMap;

use thiserror::Error;

use super::products::{noisy, norm, padded, permuted, random_like, refactored, with};
use super::shuffled::{crossed, shuffled};
use crate::half_type::HalfType;
use crate::lora::{Adapter, LowRankPair};
use crate::model::{ModuleId, Projection};

/// Largest relative change of a number under [`MutantChange::Noise`].
const NOISE: f32 = 1e-3;

/// A way to change an adapter.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum MutantChange {
    /// It is taken so many times as far; 0 is the base.
    Scaled(f32),
    /// Random numbers in the place of A and B, whose product has the norm of theirs.
    Random,
    /// The matrices of each layer stand at another, for each projection by itself.
    LayersShuffled,
    /// Each A with the B of another layer.
    Crossed,
    /// The layer that weighs most is taken out.
    LayerZeroed,
    /// The kind of projection that weighs most is taken out of every layer.
    ProjectionZeroed,
    /// The same product of two other matrices: `B R` and `R^-1 A`, as after merging and splitting.
    Refactored,
    /// Each number is off by up to a thousandth of itself.
    Noise,
    /// Numbers of 16 bits.
    Rounded(HalfType),
    /// Rows of A and columns of B in another order.
    RanksPermuted,
    /// Twice the rank, the new half zero.
    RankPadded,
}

/// An adapter that was changed, to be loaded at a scale.
#[derive(Debug, Clone, PartialEq)]
pub struct Mutated {
    /// Its matrices, and what stands beside them. Its configuration is that of the adapter that it was
    /// made of, whose ranks it may not have: it is no adapter to write.
    pub adapter: Adapter,
    /// Multiplies its own scale.
    pub scale: f32,
}

/// Why a change makes no mutant of an adapter.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum NoMutant {
    /// All that it changes stands beside matrices.
    #[error("it has no low-rank matrices")]
    NoMatrices,
    /// No two layers have matrices of one shape.
    #[error("no two of its layers have matrices of one shape")]
    OneLayer,
}

impl MutantChange {
    /// The adapter changed so. Equal seeds make equal mutants.
    ///
    /// # Errors
    /// The adapter has nothing that can be changed so.
    pub fn of(self, adapter: &Adapter, seed: u64) -> Result<Mutated, NoMutant> {
        if let MutantChange::Scaled(scale) = self {
            let adapter = adapter.clone();
            return Ok(Mutated { adapter, scale });
        }
        let modules = &adapter.modules;
        if modules.is_empty() {
            return Err(NoMutant::NoMatrices);
        }
        let each = |change: &dyn Fn(ModuleId, &LowRankPair) -> LowRankPair| {
            let changed = modules.iter().map(|(id, pair)| (*id, change(*id, pair)));
            changed.collect::<BTreeMap<_, _>>()
        };
        let modules = match self {
            MutantChange::Scaled(_) => modules.clone(),
            MutantChange::Random => each(&|id, pair| random_like(pair, seed, id)),
            MutantChange::LayersShuffled => shuffled(modules, seed).ok_or(NoMutant::OneLayer)?,
            MutantChange::Crossed => crossed(modules, seed).ok_or(NoMutant::OneLayer)?,
            MutantChange::LayerZeroed => without_heaviest(modules, |id| id.layer),
            MutantChange::ProjectionZeroed => without_heaviest(modules, |id| {
                let mut all = Projection::ALL.iter();
                all.position(|projection| *projection == id.projection)
                    .unwrap_or_default()
            }),
            MutantChange::Refactored => each(&|id, pair| refactored(pair, seed, id)),
            MutantChange::Noise => each(&|id, pair| noisy(pair, NOISE, seed, id)),
            MutantChange::Rounded(half) => each(&|_, pair| with(pair, |x| half.round(x))),
            MutantChange::RanksPermuted => each(&|id, pair| permuted(pair, seed, id)),
            MutantChange::RankPadded => each(&|_, pair| padded(pair, pair.rank)),
        };
        Ok(Mutated {
            adapter: Adapter {
                trained_on: adapter.trained_on.clone(),
                ..Adapter::with(adapter.config.clone(), modules, adapter.beside.clone())
            },
            scale: 1.0,
        })
    }
}

/// All modules but those of one group: the group whose products have the largest norm together.
fn without_heaviest(
    modules: &BTreeMap<ModuleId, LowRankPair>,
    group_of: impl Fn(&ModuleId) -> usize,
) -> BTreeMap<ModuleId, LowRankPair> {
    let mut squares: BTreeMap<usize, f64> = BTreeMap::new();
    for (id, pair) in modules {
        *squares.entry(group_of(id)).or_default() += norm(pair).powi(2);
    }
    // Of equals the first one.
    let heaviest =
        squares.iter().fold(
            None,
            |most: Option<(usize, f64)>, (&group, &square)| match most {
                Some((_, other)) if other >= square => most,
                _ => Some((group, square)),
            },
        );
    let kept = modules
        .iter()
        .filter(|(id, _)| heaviest.is_none_or(|(group, _)| group_of(id) != group));
    kept.map(|(id, pair)| (*id, pair.clone())).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lora::mutant::products::product;
    use crate::model::ModelConfig;
    use std::path::Path;

    fn good() -> Adapter {
        let fixtures = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures");
        let model = ModelConfig::read(&fixtures.join("models/fixture/config.json")).unwrap();
        Adapter::read(&fixtures.join("adapters/fixture/good"), &model).unwrap()
    }

    const ALL: [MutantChange; 13] = [
        MutantChange::Scaled(8.0),
        MutantChange::Scaled(0.0),
        MutantChange::Random,
        MutantChange::LayersShuffled,
        MutantChange::Crossed,
        MutantChange::LayerZeroed,
        MutantChange::ProjectionZeroed,
        MutantChange::Refactored,
        MutantChange::Noise,
        MutantChange::Rounded(HalfType::Bfloat16),
        MutantChange::Rounded(HalfType::Float16),
        MutantChange::RanksPermuted,
        MutantChange::RankPadded,
    ];

    fn furthest(a: &[f64], b: &[f64]) -> f64 {
        assert_eq!(a.len(), b.len());
        a.iter()
            .zip(b)
            .map(|(a, b)| (a - b).abs())
            .fold(0.0, f64::max)
    }

    #[test]
    fn equal_seeds_make_equal_mutants_and_other_seeds_others() {
        let good = good();
        for change in ALL {
            let once = change.of(&good, 7).unwrap();
            assert_eq!(once, change.of(&good, 7).unwrap(), "{change:?}");
        }
        for drawn in [
            MutantChange::Random,
            MutantChange::Refactored,
            MutantChange::Noise,
        ] {
            let [one, other] = [7, 8].map(|seed| drawn.of(&good, seed).unwrap().adapter.digest);
            assert_ne!(one, other, "{drawn:?}");
        }
    }

    /// Records are kept by digest and scale: two mutants of one key would share their answers.
    #[test]
    fn no_two_mutants_have_one_digest_and_scale() {
        let good = good();
        let mut keys: Vec<(String, u32)> = ALL
            .iter()
            .map(|change| {
                let Mutated { adapter, scale } = change.of(&good, 7).unwrap();
                (adapter.digest, scale.to_bits())
            })
            .collect();
        keys.sort();
        keys.dedup();
        assert_eq!(keys.len(), ALL.len());
    }

    #[test]
    fn another_factorization_has_the_same_product() {
        let good = good();
        for change in [
            MutantChange::Refactored,
            MutantChange::RanksPermuted,
            MutantChange::RankPadded,
        ] {
            let mutant = change.of(&good, 7).unwrap().adapter;
            for (id, pair) in &good.modules {
                let other = &mutant.modules[id];
                assert_ne!(other.a, pair.a, "{change:?} {id}");
                let (one, two) = (product(pair), product(other));
                let most = one.iter().fold(0.0, |most: f64, x| most.max(x.abs()));
                assert!(furthest(&one, &two) <= 1e-6 * most, "{change:?} {id}");
                assert_eq!(other.scale, pair.scale);
            }
        }
    }

    #[test]
    fn small_errors_stay_small() {
        let good = good();
        for (change, most) in [
            (MutantChange::Noise, 1e-3),
            (MutantChange::Rounded(HalfType::Bfloat16), 1.0 / 256.0),
            // Numbers below 6e-5 have fewer bits.
            (MutantChange::Rounded(HalfType::Float16), 1.0 / 1024.0),
        ] {
            let mutant = change.of(&good, 7).unwrap().adapter;
            let mut largest: f32 = 0.0;
            for (id, pair) in &good.modules {
                let other = &mutant.modules[id];
                let numbers = pair.a.iter().chain(&pair.b);
                for (one, two) in numbers.zip(other.a.iter().chain(&other.b)) {
                    let off = (one - two).abs();
                    assert!(off <= most * one.abs() + 6e-8, "{change:?} {one} {two}");
                    largest = largest.max(off);
                }
            }
            assert!(largest > 0.0, "{change:?} changed nothing");
        }
    }

    #[test]
    fn random_matrices_weigh_what_the_trained_ones_do() {
        let good = good();
        let mutant = MutantChange::Random.of(&good, 7).unwrap().adapter;
        for (id, pair) in &good.modules {
            let other = &mutant.modules[id];
            let (one, two) = (norm(pair), norm(other));
            assert!((one - two).abs() <= 1e-5 * one, "{id}: {one} {two}");
            // Nearly at right angles: a direction of its own.
            let (p, q) = (product(pair), product(other));
            let dot: f64 = p.iter().zip(&q).map(|(p, q)| p * q).sum();
            assert!(dot.abs() < 0.5 * one * two, "{id}");
        }
    }

    #[test]
    fn shuffled_layers_are_the_same_matrices_and_none_stays() {
        let good = good();
        let mutant = MutantChange::LayersShuffled.of(&good, 7).unwrap().adapter;
        for (id, pair) in &mutant.modules {
            assert_ne!(pair, &good.modules[id], "{id}");
            let from = good
                .modules
                .iter()
                .find(|(other, own)| other.projection == id.projection && *own == pair);
            assert!(from.is_some(), "{id} has matrices of its own");
        }
        let crossed = MutantChange::Crossed.of(&good, 7).unwrap().adapter;
        for (id, pair) in &crossed.modules {
            assert_eq!(pair.a, good.modules[id].a, "{id}");
            assert_ne!(pair.b, good.modules[id].b, "{id}");
        }
    }

    #[test]
    fn what_weighs_most_is_taken_out() {
        let good = good();
        let layers = |adapter: &Adapter| {
            let mut all: Vec<usize> = adapter.modules.keys().map(|id| id.layer).collect();
            all.dedup();
            all.len()
        };
        let kinds = |adapter: &Adapter| {
            let mut all: Vec<Projection> = adapter.modules.keys().map(|id| id.projection).collect();
            all.sort();
            all.dedup();
            all.len()
        };
        let no_layer = MutantChange::LayerZeroed.of(&good, 7).unwrap().adapter;
        assert_eq!(layers(&no_layer), layers(&good) - 1);
        let no_kind = MutantChange::ProjectionZeroed.of(&good, 7).unwrap().adapter;
        assert_eq!(kinds(&no_kind), kinds(&good) - 1);
        let weight = |adapter: &Adapter, layer: usize| -> f64 {
            let own = adapter.modules.iter().filter(|(id, _)| id.layer == layer);
            own.map(|(_, pair)| norm(pair).powi(2)).sum()
        };
        let gone = (0..layers(&good)).find(|l| weight(&no_layer, *l) == 0.0);
        let gone = gone.unwrap();
        assert!((0..layers(&good)).all(|l| weight(&good, l) <= weight(&good, gone)));
    }

    #[test]
    fn what_cannot_be_changed_so_is_refused() {
        let good = good();
        let none = Adapter::new(good.config.clone(), BTreeMap::new());
        assert_eq!(MutantChange::Noise.of(&none, 7), Err(NoMutant::NoMatrices));
        assert!(MutantChange::Scaled(2.0).of(&none, 7).is_ok());
        let mut one = good.modules.clone();
        one.retain(|id, _| id.layer == 0);
        let one = Adapter::new(good.config, one);
        for change in [MutantChange::LayersShuffled, MutantChange::Crossed] {
            assert_eq!(change.of(&one, 7), Err(NoMutant::OneLayer));
        }
    }
}
