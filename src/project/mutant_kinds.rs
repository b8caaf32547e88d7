//! The kinds of mutants, what is wanted of each, and how each is made.

use crate::flow::Wanted;
use crate::half_type::HalfType;
use crate::lora::MutantChange;
use crate::run::BadTraining;

/// How a mutant is made.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Source {
    /// Of the adapter's matrices, at its own size.
    Change(MutantChange),
    /// Of the adapter's matrices, as large as it takes to be told from the base: matrices without a
    /// direction do nothing at a size at which one base is harmed, and ruin another.
    Sized(MutantChange),
    /// By a training of its own.
    Training(BadTraining),
}

/// A kind of mutant.
#[derive(Debug, Clone, Copy)]
pub(super) struct Kind {
    pub name: &'static str,
    pub made: &'static str,
    pub wanted: Wanted,
    pub source: Source,
}

/// Every kind that is made of matrices. What a careful adapter of usual size does at another place is
/// often harmless, and so is one without its largest part: such kinds are counted on neither side. As
/// large as it takes they are not.
const CHANGES: [Kind; 18] = {
    use MutantChange::{
        Crossed, LayerZeroed, LayersShuffled, Noise, ProjectionZeroed, Random, RankPadded,
        RanksPermuted, Refactored, Rounded, Scaled,
    };
    use Wanted::{Either, Killed, Spared};
    const fn kind(
        name: &'static str,
        made: &'static str,
        wanted: Wanted,
        change: MutantChange,
    ) -> Kind {
        Kind {
            name,
            made,
            wanted,
            source: Source::Change(change),
        }
    }
    const fn sized(name: &'static str, made: &'static str, change: MutantChange) -> Kind {
        Kind {
            name,
            made,
            wanted: Killed,
            source: Source::Sized(change),
        }
    }
    [
        kind("scaled 4", "taken 4 times as far", Killed, Scaled(4.0)),
        kind("scaled 8", "taken 8 times as far", Killed, Scaled(8.0)),
        sized("random, large", "random matrices", Random),
        sized("shuffled, large", "layers shuffled", LayersShuffled),
        sized("crossed, large", "A and B of two layers", Crossed),
        kind("scaled 2", "taken twice as far", Either, Scaled(2.0)),
        kind("random", "random matrices of its norm", Either, Random),
        kind("shuffled", "layers shuffled", Either, LayersShuffled),
        kind("crossed", "A and B of two layers", Either, Crossed),
        kind(
            "no layer",
            "without the layer that weighs most",
            Either,
            LayerZeroed,
        ),
        kind(
            "no projection",
            "without the projections that weigh most",
            Either,
            ProjectionZeroed,
        ),
        kind("scale 0", "taken no step: the base", Spared, Scaled(0.0)),
        kind(
            "refactored",
            "the same product of other matrices",
            Spared,
            Refactored,
        ),
        kind(
            "noise",
            "each number off by up to a thousandth",
            Spared,
            Noise,
        ),
        kind(
            "bf16",
            "rounded to bf16",
            Spared,
            Rounded(HalfType::Bfloat16),
        ),
        kind("f16", "rounded to f16", Spared, Rounded(HalfType::Float16)),
        kind("permuted", "ranks in another order", Spared, RanksPermuted),
        kind(
            "padded",
            "twice the rank, the new half zero",
            Spared,
            RankPadded,
        ),
    ]
};

/// Every kind, those that do harm first. Of an adapter that was `named` large changes do harm; one that
/// was trained for the test may have learned so little that they do not.
pub(super) fn kinds(named: bool) -> Vec<Kind> {
    let trained = BadTraining::HARMFUL.map(|training| Kind {
        name: training.name(),
        made: training.made(),
        wanted: Wanted::Killed,
        source: Source::Training(training),
    });
    let changes = CHANGES.map(|kind| match (kind.wanted, named) {
        (Wanted::Killed, false) => Kind {
            wanted: Wanted::Either,
            ..kind
        },
        _ => kind,
    });
    let mut all: Vec<Kind> = changes.into_iter().chain(trained).collect();
    // The order within each is kept.
    all.sort_by_key(|kind| match kind.wanted {
        Wanted::Killed => 0,
        Wanted::Either => 1,
        Wanted::Spared => 2,
    });
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kinds_are_told_apart_by_name_and_those_that_do_harm_come_first() {
        for (named, harmful) in [(true, 12), (false, 7)] {
            let kinds = kinds(named);
            let count = |wanted| kinds.iter().filter(|kind| kind.wanted == wanted).count();
            assert_eq!(count(Wanted::Killed), harmful);
            assert_eq!(count(Wanted::Spared), 7);
            let first = &kinds[..harmful];
            assert!(first.iter().all(|kind| kind.wanted == Wanted::Killed));
        }
        let kinds = kinds(true);
        let mut names: Vec<&str> = kinds.iter().map(|kind| kind.name).collect();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), kinds.len());
    }
}
