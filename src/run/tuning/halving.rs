//! Successive halving: many settings train for a short while, the better half for twice as long, and
//! so on (K. Jamieson, A. Talwalkar, "Non-stochastic best arm identification and hyperparameter
//! optimization", AISTATS 2016; the rungs of L. Li et al., "Hyperband", JMLR 2018, with eta = 2).
//!
//! Two things differ from the papers. Every rung ends with a learning rate that has fallen (see
//! [`crate::train::Restarts`]): where one schedule is cut, a high rate is looked at near its peak,
//! where its adapter is worse than at the end of the same run, and halving would throw away what
//! would have won. And a rung has a budget of steps rather than a number of settings: the best go on
//! as long as it holds them, so that settings of many epochs cannot make tuning longer than planned.

use crate::flow::{TunePoint, TuneRung, TuneSetting};

/// Fewest optimizer steps of a setting's first rung: the rate of the very first may be 0.
const LEAST_STEPS: usize = 2;
/// Fewest probes of a look.
pub const LEAST_PROBES: usize = 24;
/// Probes of the last look where as many are there; fewer where time is short.
const MOST_PROBES: usize = 120;
/// The fewest that are asked for the sake of a longer first rung.
const ENOUGH_PROBES: usize = 60;

/// What a rung costs beside its steps.
pub struct Prices {
    /// Seconds of an optimizer step.
    pub step: f64,
    /// Seconds of an answer.
    pub answer: f64,
    /// Scales at which an adapter is looked at.
    pub scales: usize,
}

/// Steps of a setting at the end of a rung.
pub fn steps_at(total: usize, share: f64) -> usize {
    ((total as f64 * share).ceil() as usize).clamp(1, total.max(1))
}

/// The ends of a setting's rungs.
pub fn ends(total: usize, rungs: &[TuneRung]) -> Vec<usize> {
    rungs
        .iter()
        .map(|rung| steps_at(total, rung.share))
        .collect()
}

/// Steps that a setting takes in a rung.
pub fn steps_in(total: usize, rungs: &[TuneRung], rung: usize) -> usize {
    let ends = ends(total, rungs);
    ends[rung] - rung.checked_sub(1).map_or(0, |before| ends[before])
}

/// So many rungs: each takes twice the steps and half of the settings of the one before, and asks up
/// to twice the probes; the last is whole. `None` where the first would be too short, or a rung
/// would have no setting to leave out.
fn rungs_of(totals: &[usize], count: usize, probes: usize) -> Option<Vec<TuneRung>> {
    let shortest = totals.iter().min().copied().unwrap_or(0);
    let halvings = count - 1;
    if shortest >> halvings < LEAST_STEPS || totals.len() >> halvings == 0 {
        return None;
    }
    let mut rungs: Vec<TuneRung> = (0..count)
        .map(|rung| {
            let left = halvings - rung;
            TuneRung {
                share: 0.5f64.powi(left as i32),
                settings: totals.len().div_ceil(1 << rung),
                steps: 0,
                probes: (probes >> left).max(LEAST_PROBES).min(probes),
            }
        })
        .collect();
    for rung in 0..count {
        let all: usize = totals
            .iter()
            .map(|&total| steps_in(total, &rungs, rung))
            .sum();
        // Which go on is not known yet: a rung may take the mean of them all for each.
        let settings = rungs[rung].settings;
        rungs[rung].steps = (all * settings).div_ceil(totals.len());
    }
    Some(rungs)
}

/// Answers of all looks: the candidates', and the base's, which gives each once.
pub fn answers(rungs: &[TuneRung], scales: usize) -> usize {
    let looked: usize = rungs.iter().map(|r| r.settings * scales * r.probes).sum();
    looked + rungs.last().map_or(0, |last| last.probes)
}

/// Seconds of all rungs.
pub fn seconds(rungs: &[TuneRung], prices: &Prices) -> f64 {
    let steps: usize = rungs.iter().map(|r| r.steps).sum();
    steps as f64 * prices.step + answers(rungs, prices.scales) as f64 * prices.answer
}

/// The rungs for settings of so many steps: of those that the budget holds the ones whose first is
/// longest. Where none is held, the shortest there are, so that it can be told what is missing.
/// `pool` is how many probes there are to choose on.
///
/// # Errors
/// Seconds of the least that there is, which the budget does not hold; `None` where the runs are so
/// short that not even one rung is possible.
pub fn plan(
    totals: &[usize],
    pool: usize,
    prices: &Prices,
    budget: f64,
) -> Result<Vec<TuneRung>, Option<f64>> {
    let most = pool.min(MOST_PROBES);
    let mut sizes = vec![most];
    while sizes[sizes.len() - 1] > LEAST_PROBES {
        let last = sizes[sizes.len() - 1];
        sizes.push((last / 2).max(LEAST_PROBES));
    }
    let (enough, few): (Vec<usize>, Vec<usize>) = sizes
        .into_iter()
        .partition(|&s| s == most || s >= ENOUGH_PROBES);
    let mut least: Option<f64> = None;
    for sizes in [enough, few] {
        for count in 2.. {
            let mut possible = false;
            for &probes in &sizes {
                let Some(rungs) = rungs_of(totals, count, probes) else {
                    continue;
                };
                possible = true;
                let cost = seconds(&rungs, prices);
                if cost <= budget {
                    return Ok(rungs);
                }
                least = Some(least.map_or(cost, |l| l.min(cost)));
            }
            if !possible {
                break;
            }
        }
    }
    Err(least)
}

/// Which of two looks is the better, the better one first: no proven loss and one that is allowed,
/// then no proven loss; then what was learned, then what was kept, then the earlier number, then the
/// smaller scale. Where two have learned nothing yet the one whose training came farther is better:
/// by what was kept, short rungs would choose whatever changes nothing.
///
/// A look is at few probes, so a proven loss alone would let pass what loses three times the margin;
/// and a loss that was merely seen says too little to throw a setting away for good.
pub fn better(a: &TunePoint, b: &TunePoint, margin: f64) -> std::cmp::Ordering {
    let class = |p: &TunePoint| match (p.lost, p.keeps(margin)) {
        (true, _) => 2,
        (false, false) => 1,
        (false, true) => 0,
    };
    class(a)
        .cmp(&class(b))
        .then(b.learn.total_cmp(&a.learn))
        .then(match a.has_learned() {
            // Both have learned as much: the base is the same.
            true => b.kept().total_cmp(&a.kept()),
            false => a.loss.total_cmp(&b.loss),
        })
        .then(a.setting.cmp(&b.setting))
        .then(a.scale.total_cmp(&b.scale))
}

/// The settings of a rung's looks, the best first, each by the best of its scales.
pub fn ranked(points: &[TunePoint], rung: usize, margin: f64) -> Vec<&TunePoint> {
    let mut points: Vec<&TunePoint> = points.iter().filter(|p| p.rung == rung).collect();
    points.sort_by(|a, b| better(a, b, margin));
    let mut best: Vec<&TunePoint> = Vec::new();
    for point in points {
        if best.iter().all(|b| b.setting != point.setting) {
            best.push(point);
        }
    }
    best
}

/// The numbers of the settings that take part in a rung: all in the first, then the best of the rung
/// before, as many as the rung's number and its steps allow, one at least.
pub fn taking_part(
    settings: &[TuneSetting],
    rungs: &[TuneRung],
    points: &[TunePoint],
    rung: usize,
    margin: f64,
) -> Vec<usize> {
    let Some(before) = rung.checked_sub(1) else {
        return settings.iter().map(|s| s.number).collect();
    };
    let (mut taken, mut steps) = (Vec::new(), 0);
    for point in ranked(points, before, margin) {
        let Some(setting) = settings.iter().find(|s| s.number == point.setting) else {
            continue;
        };
        let own = steps_in(setting.steps, rungs, rung);
        let fits = taken.len() < rungs[rung].settings && steps + own <= rungs[rung].steps;
        if fits || taken.is_empty() {
            taken.push(setting.number);
            steps += own;
        }
    }
    taken
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::flow::tuning_testing::{plan as small_plan, point};

    const PRICES: Prices = Prices {
        step: 1.0,
        answer: 0.01,
        scales: 3,
    };

    fn shares(rungs: &[TuneRung]) -> Vec<(f64, usize, usize, usize)> {
        let each = rungs
            .iter()
            .map(|r| (r.share, r.settings, r.steps, r.probes));
        each.collect()
    }

    #[test]
    fn a_rung_halves_the_settings_and_doubles_the_steps() {
        let rungs = rungs_of(&[64; 16], 4, 120).unwrap();
        let expected = [
            (0.125, 16, 128, 24),
            (0.25, 8, 64, 30),
            (0.5, 4, 64, 60),
            (1.0, 2, 64, 120),
        ];
        assert_eq!(shares(&rungs), expected);
        assert_eq!(ends(64, &rungs), [8, 16, 32, 64]);
        // 16 settings in five full runs of steps.
        assert_eq!(rungs.iter().map(|r| r.steps).sum::<usize>(), 5 * 64);
        let looks = 16 * 3 * 24 + 8 * 3 * 30 + 4 * 3 * 60 + 2 * 3 * 120 + 120;
        assert_eq!(answers(&rungs, 3), looks);
    }

    #[test]
    fn the_ends_of_odd_runs_rise_to_the_last_step() {
        for total in 2..200 {
            for count in 2..8 {
                if let Some(rungs) = rungs_of(&[total; 64], count, 40) {
                    let ends = ends(total, &rungs);
                    assert!(ends.windows(2).all(|w| w[0] < w[1]), "{ends:?}");
                    assert!(
                        ends[0] >= LEAST_STEPS && ends[count - 1] == total,
                        "{ends:?}"
                    );
                }
            }
        }
    }

    #[test]
    fn a_larger_budget_makes_the_first_rung_longer() {
        let first = |budget: f64| plan(&[64; 16], 200, &PRICES, budget).map(|r| r[0].share);
        assert_eq!(first(600.0), Ok(0.25));
        assert_eq!(first(360.0), Ok(0.125));
        assert_eq!(first(230.0), Ok(0.0625));
        let least = first(100.0).unwrap_err().unwrap();
        assert!((100.0..230.0).contains(&least), "{least}");
        assert_eq!(first(least), Ok(1.0 / 16.0), "what is told is enough");
    }

    #[test]
    fn fewer_probes_come_after_shorter_rungs() {
        let dear = Prices {
            answer: 0.1,
            ..PRICES
        };
        let rungs = |budget: f64| plan(&[64; 16], 200, &dear, budget).unwrap();
        let shape = |budget: f64| {
            let rungs = rungs(budget);
            (rungs.len(), rungs[rungs.len() - 1].probes)
        };
        assert_eq!(
            [650.0, 510.0, 450.0, 418.0].map(shape),
            [(4, 60), (5, 120), (5, 60), (5, 24)]
        );
    }

    #[test]
    fn runs_of_a_few_steps_cannot_be_halved() {
        assert_eq!(plan(&[3; 16], 200, &PRICES, 1e9), Err(None));
        assert_eq!(plan(&[4; 16], 200, &PRICES, 1e9).unwrap().len(), 2);
        assert_eq!(plan(&[400; 2], 200, &PRICES, 1e9).unwrap().len(), 2);
    }

    #[test]
    fn learning_counts_among_those_that_keep() {
        let margin = 0.03;
        let sorted = |points: Vec<TunePoint>| -> Vec<usize> {
            ranked(&points, 0, margin)
                .iter()
                .map(|p| p.setting)
                .collect()
        };
        let order = sorted(vec![
            point(1, 0, 1.0, 0.9, -0.2),  // a proven loss
            point(2, 0, 1.0, 0.8, -0.05), // more than is allowed was seen
            point(3, 0, 1.0, 0.5, -0.03),
            point(4, 0, 1.0, 0.5, 0.0),
            point(5, 0, 1.0, 0.6, -0.02),
        ]);
        assert_eq!(order, [5, 4, 3, 2, 1]);
        // An overshooting adapter counts by the scale at which it keeps.
        let order = sorted(vec![
            point(1, 0, 1.0, 0.9, -0.2),
            point(1, 0, 0.5, 0.7, -0.01),
            point(2, 0, 1.0, 0.6, 0.0),
        ]);
        assert_eq!(order, [1, 2]);
    }

    #[test]
    fn where_nothing_is_learned_yet_the_lower_loss_goes_on() {
        // A setting's loss falls with its number here; the first changes nothing.
        let points = vec![
            point(1, 0, 1.0, 0.0, 0.0),
            point(2, 0, 1.0, 0.0, -0.02),
            point(3, 0, 1.0, 0.0, -0.01),
            point(4, 0, 1.0, 0.1, -0.02),
        ];
        let order: Vec<usize> = ranked(&points, 0, 0.03).iter().map(|p| p.setting).collect();
        assert_eq!(order, [4, 3, 2, 1]);
    }

    #[test]
    fn a_rung_takes_the_best_that_its_steps_hold() {
        let mut plan = small_plan(4);
        let points: Vec<TunePoint> = (1..=4)
            .map(|n| point(n, 0, 1.0, n as f64 / 10.0, 0.0))
            .collect();
        let part = |plan: &crate::flow::TunePlan| {
            taking_part(&plan.settings, &plan.rungs, &points, 1, 0.03)
        };
        assert_eq!(part(&plan), [4, 3]);
        // The best is three times as long: the next finds no room, a short one does.
        plan.settings[3].steps = 24;
        plan.settings[1].steps = 8;
        assert_eq!(part(&plan), [4, 2]);
        plan.settings[3].steps = 240;
        assert_eq!(part(&plan), [4], "the best goes on in any case");
        let all = taking_part(&plan.settings, &plan.rungs, &[], 0, 0.03);
        assert_eq!(all, [1, 2, 3, 4]);
    }
}
