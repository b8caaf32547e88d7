//! Which probes a look asks: a seeded half of those that a gate asks, in one wording each.
//!
//! The other half has no part in the choice, so that the gate of the chosen run can be read on
//! probes that did not choose it. Short looks ask the first so many of the half: a longer one asks
//! the same and more, and repeats no answer.

use crate::flow::{Goal, ProbeId, Suite};
use crate::random::{Philox, Purpose};

/// One in so many probes of a look is of a `learn` suite, where there are as many.
const LEARN_PART: usize = 3;

/// The probes to choose on, in the order in which looks take them.
pub struct Pool {
    learn: Vec<ProbeId>,
    keep: Vec<ProbeId>,
}

impl Pool {
    /// A half of every suite's probes, of small ones the larger half; those in `leaked` are left out
    /// of `learn` suites, since a gain on them shows nothing.
    pub fn new(suites: &[Suite], leaked: &[ProbeId], seed: u64) -> Self {
        let half = |goal: Goal| -> Vec<ProbeId> {
            let suites = suites.iter().enumerate().filter(|(_, s)| s.goal == goal);
            let halves = suites.map(|(place, suite)| {
                let mut ids: Vec<ProbeId> = suite.probes.iter().map(|p| suite.id_of(p)).collect();
                ids.retain(|id| goal == Goal::Keep || !leaked.contains(id));
                let mut draws = Philox::new(seed).draws(Purpose::Tuning, (1 << 32) + place as u64);
                draws.shuffle(&mut ids);
                ids.truncate(ids.len().div_ceil(2));
                ids
            });
            in_turn(halves.collect())
        };
        Pool {
            learn: half(Goal::Learn),
            keep: half(Goal::Keep),
        }
    }

    /// How many probes there are to choose on.
    pub fn len(&self) -> usize {
        self.learn.len() + self.keep.len()
    }

    /// Whether something can be learned, and something lost.
    pub fn goals(&self) -> (bool, bool) {
        (!self.learn.is_empty(), !self.keep.is_empty())
    }

    /// The first `count` of them, those to learn in front.
    pub fn first(&self, count: usize) -> Vec<ProbeId> {
        let learn = self.learn.len().min(count.div_ceil(LEARN_PART));
        let keep = self.keep.len().min(count - learn);
        let learn = self.learn.len().min(count - keep);
        self.learn[..learn]
            .iter()
            .chain(&self.keep[..keep])
            .cloned()
            .collect()
    }
}

/// One of each list in turn, as long as it has some.
fn in_turn(lists: Vec<Vec<ProbeId>>) -> Vec<ProbeId> {
    let longest = lists.iter().map(Vec::len).max().unwrap_or(0);
    let turns = (0..longest).flat_map(|i| lists.iter().filter_map(move |list| list.get(i)));
    turns.cloned().collect()
}

/// The suites with these probes alone, each in one wording and one draw.
pub fn asked(suites: &[Suite], probes: &[ProbeId]) -> Vec<Suite> {
    let mut asked = only(suites, |id| probes.contains(id));
    for probe in asked.iter_mut().flat_map(|suite| &mut suite.probes) {
        probe.prompts.truncate(1);
        probe.generation.samples = 1;
    }
    asked
}

/// The suites without these probes.
pub fn unseen(suites: &[Suite], probes: &[ProbeId]) -> Vec<Suite> {
    only(suites, |id| !probes.contains(id))
}

fn only(suites: &[Suite], wanted: impl Fn(&ProbeId) -> bool) -> Vec<Suite> {
    let mut kept = suites.to_vec();
    for suite in &mut kept {
        let name = suite.name.clone();
        suite.probes.retain(|probe| {
            wanted(&ProbeId {
                suite: name.clone(),
                probe: probe.id.clone(),
            })
        });
    }
    kept.retain(|suite| !suite.probes.is_empty());
    kept
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::run::testing::suites;

    /// Two `keep` suites of 20 and 3 probes in two wordings, and a `learn` suite of 9.
    fn some() -> Vec<Suite> {
        let of = |name: &str, goal: Goal, count: usize| {
            let probe = |i: usize| {
                format!(
                    "[[probe]]\nid = \"p{i}\"\nprompts = [\"{i}?\", \"And {i}?\"]\n\
                     generation = {{ temperature = 0.7, samples = 4 }}\n\
                     [[probe.check]]\ntype = \"number\"\nvalue = {i}\n"
                )
            };
            let mut suite = suites(&(0..count).map(probe).collect::<String>()).remove(0);
            suite.name = name.into();
            suite.goal = goal;
            suite
        };
        vec![
            of("large", Goal::Keep, 20),
            of("small", Goal::Keep, 3),
            of("new", Goal::Learn, 9),
        ]
    }

    fn count(probes: &[ProbeId], suite: &str) -> usize {
        probes.iter().filter(|p| p.suite == suite).count()
    }

    #[test]
    fn half_of_every_suite_chooses() {
        let pool = Pool::new(&some(), &[], 42);
        let all = pool.first(pool.len());
        let counts = ["large", "small", "new"].map(|suite| count(&all, suite));
        assert_eq!((counts, all.len()), ([10, 2, 5], 17));
        let rest: usize = unseen(&some(), &all).iter().map(|s| s.probes.len()).sum();
        assert_eq!(rest, 15);
        assert_ne!(Pool::new(&some(), &[], 43).first(17), all, "by the seed");
    }

    #[test]
    fn a_longer_look_asks_the_same_and_more() {
        let pool = Pool::new(&some(), &[], 42);
        for count in 1..pool.len() {
            let (short, long) = (pool.first(count), pool.first(count + 1));
            assert_eq!((short.len(), long.len()), (count, count + 1));
            assert!(short.iter().all(|probe| long.contains(probe)), "{count}");
        }
        let nine = pool.first(9);
        let counts = ["large", "small", "new"].map(|suite| count(&nine, suite));
        assert_eq!(counts, [4, 2, 3], "a third to learn, suites in turn");
    }

    #[test]
    fn what_was_trained_on_shows_no_learning() {
        let leaked = |suite: &str| -> Vec<ProbeId> {
            let id = |i: usize| ProbeId {
                suite: suite.into(),
                probe: format!("p{i}"),
            };
            (0..20).map(id).collect()
        };
        assert_eq!(
            Pool::new(&some(), &leaked("new"), 42).goals(),
            (false, true)
        );
        assert_eq!(Pool::new(&some(), &leaked("large"), 42).len(), 17);
        assert_eq!(Pool::new(&some()[2..], &[], 42).goals(), (true, false));
    }

    #[test]
    fn a_look_is_at_one_wording_and_one_draw() {
        let pool = Pool::new(&some(), &[], 42);
        let asked = asked(&some(), &pool.first(6));
        let probes: Vec<_> = asked.iter().flat_map(|s| &s.probes).collect();
        assert_eq!(probes.len(), 6);
        assert!(
            probes
                .iter()
                .all(|p| p.prompts.len() == 1 && p.generation.samples == 1)
        );
    }
}
