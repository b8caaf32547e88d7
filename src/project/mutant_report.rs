//! What the suites made of mutants, counted: by mutant, by suite, by probe.

use std::collections::{BTreeMap, BTreeSet};

use crate::flow::{
    Candidate, LoneProbe, MutantLine, MutantReport, MutantSuite, ProbeComparison, ProbeId,
    SignVerdict, Suite, SuiteState, SuiteVerdict, Wanted,
};

/// Mean score from which a probe is passed.
const PASSED: f64 = 0.5;

/// A mutant with what the gate says of it.
pub(super) struct Judged {
    pub name: &'static str,
    pub made: String,
    pub wanted: Wanted,
    pub candidate: Candidate,
}

/// Counts. `own` is the adapter that they were made of, `can_kill` whether a suite would kill an adapter
/// that fails all of it.
pub(super) fn mutant_report(
    model: &str,
    adapter: &str,
    own: &Candidate,
    judged: Vec<Judged>,
    suites: &[Suite],
    can_kill: impl Fn(&str) -> bool,
) -> MutantReport {
    let passed: BTreeSet<ProbeId> = own
        .probes
        .iter()
        .chain(judged.iter().flat_map(|j| &j.candidate.probes))
        .filter(|probe| probe.means().is_some_and(|(base, _)| base >= PASSED))
        .map(|probe| probe.id.clone())
        .collect();
    let mutants: Vec<MutantLine> = judged.into_iter().map(line).collect();
    let harmful = || mutants.iter().filter(|m| m.wanted == Wanted::Killed);
    let of_suites = suites.iter().map(|suite| {
        let name = &suite.name;
        let killed = |m: &&MutantLine| m.killed_by.contains(name);
        let alone = harmful().filter(|m| m.killed_by == [name.clone()]);
        let ids = suite.probes.iter().map(|probe| ProbeId {
            suite: name.clone(),
            probe: probe.id.clone(),
        });
        let own_passed: Vec<ProbeId> = ids.filter(|id| passed.contains(id)).collect();
        let spared = mutants.iter().filter(|m| m.wanted == Wanted::Spared);
        MutantSuite {
            suite: name.clone(),
            probes: suite.probes.len(),
            passed: own_passed.len(),
            can_kill: can_kill(name),
            kills: harmful().filter(killed).count(),
            alone: alone.map(|m| m.name.clone()).collect(),
            false_alarms: spared.filter(killed).count(),
            silent: own_passed
                .into_iter()
                .filter(|id| !harmful().any(|m| m.lost.contains(id)))
                .collect(),
        }
    });
    let suites = of_suites.collect();
    let mut lone: BTreeMap<&ProbeId, Vec<String>> = BTreeMap::new();
    for mutant in harmful() {
        if let [only] = &mutant.lost[..] {
            lone.entry(only).or_default().push(mutant.name.clone());
        }
    }
    let lone = lone.into_iter().map(|(probe, mutants)| LoneProbe {
        probe: probe.clone(),
        mutants,
    });
    MutantReport {
        model: model.to_owned(),
        adapter: adapter.to_owned(),
        adapter_decision: own.verdict.decision,
        lone: lone.collect(),
        mutants,
        suites,
        notes: Vec::new(),
    }
}

fn line(judged: Judged) -> MutantLine {
    let verdict = judged.candidate.verdict;
    let red = |row: &&SuiteVerdict| row.state == SuiteState::Regression;
    let critical = verdict.critical.iter().filter(|probe| probe.regression);
    let critical: BTreeSet<&str> = critical.map(|probe| probe.probe.suite.as_str()).collect();
    let rows = verdict.suites.iter();
    let suites = rows.filter(|row| red(row) || critical.contains(row.suite.as_str()));
    let pooled = std::iter::once(&verdict.pooled).filter(red);
    let signs: Vec<String> = verdict
        .signs
        .iter()
        .filter(|sign| sign.regression)
        .map(SignVerdict::counted)
        .collect();
    let of_signs = (!signs.is_empty()).then(|| MutantLine::SIGNS.to_owned());
    let lost = judged
        .candidate
        .probes
        .iter()
        .filter(|probe| is_lost(probe));
    MutantLine {
        name: judged.name.to_owned(),
        made: judged.made,
        wanted: judged.wanted,
        decision: verdict.decision,
        killed_by: suites
            .chain(pooled)
            .map(|row| row.suite.clone())
            .chain(of_signs)
            .collect(),
        signs,
        lost: lost.map(|probe| probe.id.clone()).collect(),
        sentence: verdict.sentence,
        pooled: verdict.pooled,
        could_not_measure: verdict.could_not_measure,
    }
}

/// Whether the base passes a probe and the candidate does not.
fn is_lost(probe: &ProbeComparison) -> bool {
    probe
        .means()
        .is_some_and(|(base, candidate)| base >= PASSED && candidate < PASSED)
}
