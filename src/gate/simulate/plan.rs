//! Everything that is simulated of a project: each suite, all of them, and the run that is planned.

use super::answers::mean_of;
use super::group::GroupModel;
use super::model::SuiteModel;
use super::world::{Truth, World};
use crate::flow::{FoundInRun, FoundShare, SimulatedGroup, SimulatedRun, Simulation, SuiteVerdict};
use crate::gate::error::GateError;
use crate::gate::power::{probes_to_pass, smallest_detectable_loss, smallest_margin};
use crate::gate::rule::{Kind, level_beside_signs};
use crate::gate::rules::Rules;
use crate::gate::sequence::Look;
use crate::gate::wording::some_of;
use crate::text::plural;

/// Losses whose power is told.
const LOSSES: [f64; 4] = [0.03, 0.05, 0.10, 0.20];

/// How much is simulated.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SimulationSettings {
    /// Comparisons a setting, from 1000 to 1,000,000. Default 10,000.
    pub comparisons: u64,
    /// Decides every draw. Default 0.
    pub seed: u64,
    /// Looks of the planned run, at each checkpoint at each scale, from 1 to 2000. Default 1: no run
    /// is planned, and one gate alone is simulated.
    pub looks: usize,
}

impl Default for SimulationSettings {
    fn default() -> Self {
        Self {
            comparisons: 10_000,
            seed: 0,
            looks: 1,
        }
    }
}

impl SimulationSettings {
    /// Fewest and most comparisons of a setting: a share of fewer says too little.
    pub const COMPARISONS: (u64, u64) = (1000, 1_000_000);
    /// Fewest and most looks.
    pub const LOOKS: (u64, u64) = (1, 2000);

    /// Every value outside its range.
    pub fn problems(&self) -> Vec<GateError> {
        let usual = Self::default();
        [
            (
                "comparisons",
                self.comparisons,
                Self::COMPARISONS,
                usual.comparisons,
            ),
            ("looks", self.looks as u64, Self::LOOKS, usual.looks as u64),
        ]
        .into_iter()
        .filter(|(_, value, (least, most), _)| !(least..=most).contains(&value))
        .map(
            |(key, value, (least, most), default)| GateError::SimulationRange {
                key,
                value,
                least,
                most,
                default,
            },
        )
        .collect()
    }
}

/// Simulates the rule on these `keep` suites. `on_part` hears the name of each part before it is
/// simulated.
///
/// # Errors
/// Settings or rules outside their range.
pub fn simulate(
    suites: &[SuiteModel],
    rules: &Rules,
    settings: &SimulationSettings,
    on_part: &mut dyn FnMut(&str),
) -> Result<Simulation, Vec<GateError>> {
    let mut problems = rules.problems();
    problems.extend(settings.problems());
    if !problems.is_empty() {
        return Err(problems);
    }
    let rules = Rules {
        look: Look::Single,
        chosen_from: 1,
        ..rules.clone()
    };
    let mut groups = vec![GroupModel {
        kind: Kind::Pooled,
        suites: suites.to_vec(),
        margin: rules.margin,
        level: level_beside_signs(Kind::Pooled, 1, &rules),
    }];
    groups.extend(suites.iter().map(|suite| GroupModel {
        kind: Kind::Suite,
        suites: vec![suite.clone()],
        margin: suite.margin(&rules),
        level: level_beside_signs(Kind::Suite, suites.len(), &rules),
    }));
    let mut simulated: Vec<SimulatedGroup> = Vec::new();
    for group in &groups {
        let name = match group.kind {
            Kind::Pooled => SuiteVerdict::POOLED,
            _ => &group.suites[0].name,
        };
        on_part(name);
        simulated.push(of_group(name, group, &rules, settings));
    }
    let mut runs = Vec::new();
    let any_unscored = suites.iter().any(|suite| suite.unscored > 0.0);
    for looks in [1, settings.looks]
        .into_iter()
        .take(1 + usize::from(settings.looks > 1))
    {
        for unscored in [true, false]
            .into_iter()
            .take(1 + usize::from(any_unscored))
        {
            on_part(&match looks {
                1 => "one gate".to_owned(),
                looks => format!("a run of {looks} looks"),
            });
            let with = any_unscored && unscored;
            runs.push(of_run(suites, &rules, settings, looks, with));
        }
    }
    let pooled = simulated.remove(0);
    let notes = notes(suites, &simulated, &rules);
    Ok(Simulation {
        comparisons: settings.comparisons,
        seed: settings.seed,
        claimed: 1.0 - rules.confidence,
        pooled,
        suites: simulated,
        runs,
        notes,
    })
}

fn of_group(
    name: &str,
    group: &GroupModel,
    rules: &Rules,
    settings: &SimulationSettings,
) -> SimulatedGroup {
    let (comparisons, seed) = (settings.comparisons, settings.seed);
    let probes = group.probes();
    let mean_of = |value: fn(&SuiteModel) -> f64| {
        let all = group.suites.iter().map(|s| value(s) * s.probes() as f64);
        all.sum::<f64>() / probes.max(1) as f64
    };
    let can_lose = |loss: f64| loss <= group.can_lose() + 1e-9;
    let rates = |loss| group.rates(loss, rules, comparisons, seed);
    let harmless = rates(0.0);
    let needs = needs(group, rules, settings);
    let found = LOSSES.map(|loss| {
        let share = can_lose(loss).then(|| rates(loss).alarms);
        // A search needs fewer comparisons than a share that is told.
        let search = (comparisons / 5).max(1000);
        let more = |goal: f64| {
            let short = share.is_some_and(|share| share < goal);
            let found = || group.more_to_find(loss, goal, rules, search, seed);
            short.then(found).flatten()
        };
        FoundShare {
            loss,
            share,
            more_for_80: more(0.80),
            more_for_95: more(0.95),
        }
    });
    SimulatedGroup {
        suite: name.to_owned(),
        probes,
        base_mean: mean_of(SuiteModel::mean),
        flips: mean_of(SuiteModel::flips),
        unscored: mean_of(|s| s.unscored),
        margin: group.margin,
        false_alarms: harmless.alarms,
        passes: harmless.passes,
        passes_at_margin: can_lose(group.margin).then(|| rates(group.margin).passes),
        found: found.to_vec(),
        needs,
    }
}

/// Probes from which on a group can decide something, where it can neither exclude its margin nor
/// prove the loss of everything that it has.
fn needs(group: &GroupModel, rules: &Rules, settings: &SimulationSettings) -> Option<usize> {
    let (probes, level) = (group.probes(), rules.pass_level());
    let excludes = smallest_margin(probes, level) < group.margin;
    let most = group.can_lose();
    let proves = smallest_detectable_loss(probes, group.level).is_some_and(|loss| loss <= most)
        && most >= group.margin / 2.0;
    if excludes || proves {
        return None;
    }
    let to_pass = probes_to_pass(group.margin, level, 0)?;
    let to_find = group.more_to_find(most.min(0.2), 0.8, rules, 1000, settings.seed);
    Some(to_pass.min(to_find.map_or(usize::MAX, |more| probes + more)))
}

fn of_run(
    suites: &[SuiteModel],
    rules: &Rules,
    settings: &SimulationSettings,
    looks: usize,
    unscored: bool,
) -> SimulatedRun {
    let mut suites = suites.to_vec();
    if !unscored {
        suites.iter_mut().for_each(|suite| suite.unscored = 0.0);
    }
    let most = mean_of(&suites);
    let world = World {
        looks,
        ..World::of(suites, rules.clone())
    };
    let (comparisons, seed) = (settings.comparisons, settings.seed);
    let harmless = world.simulate(Truth::Harmless, comparisons, seed);
    let passes_at_margin = (rules.margin <= most + 1e-9).then(|| {
        let counts = world.simulate(Truth::Loss(rules.margin), comparisons, seed);
        counts.share(counts.picked_passes)
    });
    let found = LOSSES.into_iter().filter(|loss| *loss <= most + 1e-9);
    let found = found.map(|loss| {
        let counts = world.simulate(Truth::Loss(loss), comparisons, seed);
        FoundInRun {
            loss,
            at_one_look: counts.share(counts.first_alarms),
            in_the_run: counts.share(counts.run_alarms),
        }
    });
    SimulatedRun {
        looks,
        unscored,
        false_alarms: harmless.share(harmless.run_alarms),
        pooled_alarms: harmless.share(harmless.pooled_alarms),
        critical_alarms: harmless.share(harmless.critical_alarms),
        passes: harmless.share(harmless.picked_passes),
        passes_at_margin,
        found: found.collect(),
    }
}

fn notes(suites: &[SuiteModel], simulated: &[SimulatedGroup], rules: &Rules) -> Vec<String> {
    let mut notes = Vec::new();
    let never: Vec<String> = suites
        .iter()
        .filter(|s| s.mean() < s.margin(rules) / 2.0)
        .map(|s| format!("`{}`", s.name))
        .collect();
    if !never.is_empty() {
        notes.push(format!(
            "{}: the base passes too little of {} for a loss of half the margin, whatever the \
             number of probes",
            some_of(&never, 5, ", "),
            if never.len() == 1 { "it" } else { "them" },
        ));
    }
    let unscored: Vec<String> = suites
        .iter()
        .filter(|s| s.unscored > rules.max_unscored_share)
        .map(|s| format!("`{}`", s.name))
        .collect();
    if !unscored.is_empty() {
        notes.push(format!(
            "{}: the base leaves more unscored than `max_unscored` allows, so no candidate can pass",
            some_of(&unscored, 5, ", "),
        ));
    }
    notes.extend(simulated.iter().filter_map(|group| {
        let needs = group.needs?;
        Some(format!(
            "`{}` cannot decide anything: its {} can neither exclude a loss of {} nor prove one; \
             {needs} could",
            group.suite,
            plural(group.probes, "probe"),
            group.margin,
        ))
    }));
    notes
}
