//! Matrices that stand at other layers than they were trained at.

use std::collections::BTreeMap;

use crate::lora::LowRankPair;
use crate::model::ModuleId;
use crate::random::{Philox, Purpose};

/// Place of the draws beyond those of modules.
const PLACE: u64 = 1 << 40;

/// The matrices of every module at another layer's. Modules without another of their shape stay; none
/// where all do.
pub(super) fn shuffled(
    modules: &BTreeMap<ModuleId, LowRankPair>,
    seed: u64,
) -> Option<BTreeMap<ModuleId, LowRankPair>> {
    moved(modules, seed, |_, from| from.clone())
}

/// Every A with another layer's B, as [`shuffled`].
pub(super) fn crossed(
    modules: &BTreeMap<ModuleId, LowRankPair>,
    seed: u64,
) -> Option<BTreeMap<ModuleId, LowRankPair>> {
    moved(modules, seed, |own, from| LowRankPair {
        b: from.b.clone(),
        ..own.clone()
    })
}

/// Puts together each module's own pair and that of the layer which comes before it in a random circle
/// of all layers with that projection and shape.
fn moved(
    modules: &BTreeMap<ModuleId, LowRankPair>,
    seed: u64,
    put: impl Fn(&LowRankPair, &LowRankPair) -> LowRankPair,
) -> Option<BTreeMap<ModuleId, LowRankPair>> {
    let mut alike: BTreeMap<_, Vec<ModuleId>> = BTreeMap::new();
    for (id, pair) in modules {
        let shape = (id.projection, pair.rank, pair.a.len(), pair.b.len());
        alike.entry(shape).or_default().push(*id);
    }
    let mut moved = modules.clone();
    let mut any = false;
    for circle in alike.values_mut().filter(|ids| ids.len() > 1) {
        any = true;
        // The same draws for each projection: where all layers have all of them, whole layers move.
        let mut draws = Philox::new(seed).draws(Purpose::Mutant, PLACE);
        draws.shuffle(circle);
        for (i, id) in circle.iter().enumerate() {
            let from = circle[(i + 1) % circle.len()];
            moved.insert(*id, put(&modules[id], &modules[&from]));
        }
    }
    any.then_some(moved)
}
