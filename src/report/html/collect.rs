//! Verdicts and comparisons -> the data of a page.

use std::collections::HashMap;

use crate::flow::{
    CaseComparison, Comparison, Probe, ProbeComparison, ProbeId, SampleComparison, Score, Suite,
    SuiteVerdict, Verdict,
};
use crate::report::changes::is_change;
use crate::report::style::{interval, score};
use crate::report::terminal::{aim, asked, came_to, state_tone, verdict_lines, verdict_tone};

use super::page::{
    PAGE_VERSION, Page, PageBase, PageCandidate, PageCase, PageCheck, PageDraw, PageDrift,
    PageLine, PageNumbers, PageOf, PageProbe, PageRow, PageSuite,
};
use super::run::PageRun;

/// What a page is made of.
pub struct PageParts<'a> {
    /// Who all are compared with.
    pub base: PageBase,
    /// In the order to show.
    pub subjects: Vec<PageSubject<'a>>,
    /// Training runs that they belong to.
    pub runs: Vec<PageRun>,
    /// What was asked: tags, system prompts, and what was said before.
    pub suites: &'a [Suite],
    /// What a reader should know.
    pub notes: Vec<String>,
}

/// A candidate of a page. All were compared with the same base, which answered once.
#[derive(Clone)]
pub struct PageSubject<'a> {
    /// As the user named it.
    pub name: String,
    /// With what identifies it.
    pub label: String,
    /// Its verdict.
    pub verdict: &'a Verdict,
    /// Signs beside it.
    pub causes: &'a [String],
    /// What it was judged in, where that is at hand.
    pub comparison: Option<&'a Comparison>,
    /// What it and the base said; none where that is not at hand.
    pub probes: &'a [ProbeComparison],
    /// Its verdict is shown at the top.
    pub featured: bool,
    /// What to type next.
    pub next: String,
}

impl PageBase {
    /// The control arm of a comparison.
    pub fn of(comparison: &Comparison) -> Self {
        PageBase {
            name: comparison.base.name.clone(),
            label: comparison.base_label(),
        }
    }
}

impl<'a> PageSubject<'a> {
    /// Every candidate of a comparison at the top, with what to type about each next.
    pub fn all_of(comparison: &'a Comparison, next: impl Fn(usize) -> String) -> Vec<Self> {
        let candidates = comparison.candidates.iter().enumerate();
        let subject = candidates.map(|(i, candidate)| PageSubject {
            name: candidate.subject.name.clone(),
            label: candidate.subject.label(),
            verdict: &candidate.verdict,
            causes: &candidate.causes,
            comparison: Some(comparison),
            probes: &candidate.probes,
            featured: true,
            next: next(i),
        });
        subject.collect()
    }
}

/// The data of a page.
pub fn page(parts: PageParts<'_>) -> Page {
    let mut texts = Texts::default();
    let mut suites: Vec<PageSuite> = parts.suites.iter().map(known_suite).collect();
    let probes = probes(&parts, &mut suites, &mut texts);
    Page {
        version: PAGE_VERSION,
        qeval: env!("CARGO_PKG_VERSION").to_owned(),
        base: parts.base,
        candidates: parts.subjects.iter().map(candidate).collect(),
        runs: parts.runs,
        suites,
        probes,
        texts: texts.all,
        notes: parts.notes,
    }
}

fn known_suite(suite: &Suite) -> PageSuite {
    PageSuite {
        name: suite.name.clone(),
        goal: Some(suite.goal),
        description: suite.description.clone(),
    }
}

fn candidate(subject: &PageSubject<'_>) -> PageCandidate {
    let verdict = subject.verdict;
    let row = |suite: &SuiteVerdict| row(subject.comparison, verdict, suite);
    let lines = verdict_lines(verdict, subject.causes).into_iter();
    PageCandidate {
        name: subject.name.clone(),
        label: subject.label.clone(),
        featured: subject.featured,
        answers: !subject.probes.is_empty(),
        headline: verdict.headline().to_owned(),
        tone: verdict_tone(verdict),
        lines: lines
            .map(|line| PageLine {
                head: line.head.to_owned(),
                tone: line.tone,
                text: line.text,
            })
            .collect(),
        rows: verdict.suites.iter().map(row).collect(),
        pooled: Some(&verdict.pooled)
            .filter(|pooled| pooled.estimate.is_some())
            .map(row),
        next: subject.next.clone(),
    }
}

fn row(comparison: Option<&Comparison>, verdict: &Verdict, suite: &SuiteVerdict) -> PageRow {
    let numbers = suite.estimate.as_ref();
    let noise = comparison.and_then(|comparison| comparison.noise_of(verdict, suite));
    PageRow {
        suite: suite.suite.clone(),
        goal: suite.goal,
        pooled: suite.is_pooled(),
        state: came_to(suite),
        tone: state_tone(suite.state),
        aim: aim(suite),
        probes: numbers.map(asked),
        base: numbers.map(|e| score(e.base_mean)),
        candidate: numbers.map(|e| score(e.candidate_mean)),
        change: numbers.map(interval),
        noise: noise.map(score),
        reasons: suite.reasons.clone(),
        margin: suite.margin,
        target: suite.target,
        smallest: suite.smallest_provable_loss,
        numbers: numbers.map(|e| PageNumbers {
            base_mean: e.base_mean,
            candidate_mean: e.candidate_mean,
            difference: e.difference,
            lower: e.lower,
            upper: e.upper,
            confidence: e.confidence,
            probes: e.probes,
        }),
    }
}

/// Every text once.
#[derive(Default)]
struct Texts {
    all: Vec<String>,
    places: HashMap<String, usize>,
}

impl Texts {
    fn place(&mut self, text: &str) -> usize {
        if let Some(&place) = self.places.get(text) {
            return place;
        }
        self.all.push(text.to_owned());
        self.places.insert(text.to_owned(), self.all.len() - 1);
        self.all.len() - 1
    }
}

/// A probe as every candidate was compared on it, `None` where one was not.
type Compared<'a> = Vec<Option<&'a ProbeComparison>>;

/// Every probe that any candidate was compared on, in the order in which they are first met.
fn probes(parts: &PageParts<'_>, suites: &mut Vec<PageSuite>, texts: &mut Texts) -> Vec<PageProbe> {
    let mut order: Vec<&ProbeId> = Vec::new();
    let mut compared: HashMap<&ProbeId, Compared<'_>> = HashMap::new();
    for (i, subject) in parts.subjects.iter().enumerate() {
        for probe in subject.probes {
            let all = compared.entry(&probe.id).or_insert_with(|| {
                order.push(&probe.id);
                vec![None; parts.subjects.len()]
            });
            all[i] = Some(probe);
        }
    }
    let mut written: HashMap<ProbeId, &Probe> = HashMap::new();
    for suite in parts.suites {
        written.extend(suite.probes.iter().map(|probe| (suite.id_of(probe), probe)));
    }
    let pages = order.into_iter().filter_map(|id| {
        let suite = suite_place(suites, &id.suite);
        one_probe(suite, compared.get(id)?, written.get(id).copied(), texts)
    });
    pages.collect()
}

/// Where a suite stands; one that only answers are known of is added.
fn suite_place(suites: &mut Vec<PageSuite>, name: &str) -> usize {
    let known = suites.iter().position(|suite| suite.name == name);
    known.unwrap_or_else(|| {
        suites.push(PageSuite {
            name: name.to_owned(),
            goal: None,
            description: None,
        });
        suites.len() - 1
    })
}

fn one_probe(
    suite: usize,
    compared: &Compared<'_>,
    written: Option<&Probe>,
    texts: &mut Texts,
) -> Option<PageProbe> {
    let any = compared.iter().flatten().next()?;
    let wordings = compared.iter().flatten().map(|probe| probe.cases.len());
    let history = written.map_or(&[][..], |probe| &probe.history);
    Some(PageProbe {
        suite,
        id: any.id.probe.clone(),
        tags: written.map_or_else(Vec::new, |probe| probe.tags.clone()),
        critical: any.critical,
        noise: any.noise.map(|noise| rounded(noise.score)),
        system: written
            .and_then(|probe| probe.system.as_deref())
            .map(|system| texts.place(system)),
        history: history
            .iter()
            .map(|turn| [texts.place(&turn.user), texts.place(&turn.assistant)])
            .collect(),
        of: compared.iter().map(|probe| probe.map(of)).collect(),
        cases: (0..wordings.max()?)
            .filter_map(|place| {
                let of_place = compared
                    .iter()
                    .map(|probe| probe.and_then(|p| p.cases.get(place)));
                one_case(&of_place.collect::<Vec<_>>(), texts)
            })
            .collect(),
    })
}

fn of(probe: &ProbeComparison) -> PageOf {
    let means = probe.means();
    let mut draws = probe.cases.iter().flat_map(|case| &case.samples);
    let changed = draws.any(is_change);
    PageOf {
        state: probe.state(),
        base: means.map(|(base, _)| rounded(base)),
        score: means.map(|(_, score)| rounded(score)),
        change: means.map(|(base, score)| rounded(score - base)),
        changed,
    }
}

fn one_case(compared: &[Option<&CaseComparison>], texts: &mut Texts) -> Option<PageCase> {
    let any = compared.iter().flatten().next()?;
    let draws = compared.iter().flatten().map(|case| case.samples.len());
    let drifts = compared
        .iter()
        .any(|case| case.is_some_and(|c| c.drift.is_some()));
    let drift = |texts: &mut Texts, case: &Option<&CaseComparison>| {
        let drift = case.as_ref()?.drift.as_ref()?;
        Some(PageDrift {
            token: drift.token,
            accepted: texts.place(&drift.accepted),
            now: texts.place(&drift.new),
            gap: drift.logit_gap,
        })
    };
    Some(PageCase {
        prompt: texts.place(&any.prompt),
        draws: (0..draws.max()?)
            .filter_map(|place| {
                let of_place = compared
                    .iter()
                    .map(|case| case.and_then(|c| c.samples.get(place)));
                one_draw(&of_place.collect::<Vec<_>>(), texts)
            })
            .collect(),
        drift: match drifts {
            true => compared.iter().map(|case| drift(texts, case)).collect(),
            false => Vec::new(),
        },
    })
}

/// The base once, then every candidate.
fn one_draw(compared: &[Option<&SampleComparison>], texts: &mut Texts) -> Option<PageDraw> {
    let any = compared.iter().flatten().next()?;
    let mut answers = vec![any.base.as_deref().map(|text| texts.place(text))];
    let mut thinking = vec![any.base_thinking.as_deref().map(|text| texts.place(text))];
    let mut scores = vec![any.base_score().value().map(rounded)];
    for draw in compared {
        let mut place = |text: Option<&String>| text.map(|text| texts.place(text));
        answers.push(place(draw.and_then(|d| d.candidate.as_ref())));
        thinking.push(place(draw.and_then(|d| d.candidate_thinking.as_ref())));
        scores.push(draw.and_then(|d| d.candidate_score().value().map(rounded)));
    }
    if thinking.iter().all(Option::is_none) {
        thinking.clear();
    }
    let checks = any.checks.iter().enumerate().map(|(place, check)| {
        let of_candidates = compared.iter().map(|draw| {
            let check = draw.and_then(|draw| draw.checks.get(place));
            check.map(|check| &check.candidate)
        });
        let all: Vec<Option<&Score>> = std::iter::once(Some(&check.base))
            .chain(of_candidates)
            .collect();
        PageCheck {
            kind: check.kind.clone(),
            scores: all
                .iter()
                .map(|s| s.and_then(Score::value).map(rounded))
                .collect(),
            reasons: all
                .iter()
                .map(|s| s.map(|score| texts.place(score.explanation())))
                .collect(),
        }
    });
    Some(PageDraw {
        checks: checks.collect(),
        answers,
        thinking,
        scores,
        continued: compared.iter().flatten().any(|draw| draw.continued),
    })
}

/// Six decimals: scores by likelihood have sixteen, which nobody sees and every page would carry.
fn rounded(value: f64) -> f64 {
    (value * 1e6).round() / 1e6
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::flow::{
        CheckSpec, Drift, Exchange, Generation, Goal, ProbeNoise, ProbeState, SuiteNoise,
    };
    use crate::report::style::Tone;
    use crate::report::testing::{PARROT, two_candidates};

    fn of_comparison(comparison: &Comparison, suites: &[Suite]) -> Page {
        page(PageParts {
            base: PageBase::of(comparison),
            subjects: PageSubject::all_of(comparison, |i| format!("next {i}")),
            runs: Vec::new(),
            suites,
            notes: Vec::new(),
        })
    }

    /// What a subject (0 is the base) said to the first draw of a probe.
    fn said(page: &Page, probe: usize, subject: usize) -> Option<&str> {
        let place = page.probes[probe].cases[0].draws[0].answers[subject]?;
        Some(&page.texts[place])
    }

    #[test]
    fn every_probe_has_every_answer_score_and_reason() {
        let comparison = two_candidates();
        let page = of_comparison(&comparison, &[]);
        let names: Vec<String> = page
            .probes
            .iter()
            .map(|p| format!("{}::{}", page.suites[p.suite].name, p.id))
            .collect();
        assert_eq!(names, ["identity::p0", "code::p0", "code::p1", "code::p2"]);
        for (i, candidate) in comparison.candidates.iter().enumerate() {
            for (j, probe) in candidate.probes.iter().enumerate() {
                let (draw, shown) = (&probe.cases[0].samples[0], &page.probes[j]);
                assert_eq!(said(&page, j, 0), draw.base.as_deref());
                assert_eq!(said(&page, j, i + 1), draw.candidate.as_deref());
                assert_eq!(page.texts[shown.cases[0].prompt], probe.cases[0].prompt);
                let shown = &shown.cases[0].draws[0];
                assert_eq!(shown.scores[i + 1], draw.candidate_score().value());
                let check = &shown.checks[0];
                assert_eq!(
                    (check.kind.as_str(), check.scores[0]),
                    ("contains", draw.base_score().value())
                );
                let why = check.reasons[i + 1].map(|place| page.texts[place].as_str());
                assert_eq!(why, Some(draw.checks[0].candidate.explanation()));
            }
        }
        let states: Vec<Vec<ProbeState>> = page
            .probes
            .iter()
            .map(|p| p.of.iter().flatten().map(|of| of.state).collect())
            .collect();
        use ProbeState::{Gained, Kept, Lost};
        assert_eq!(
            states,
            [[Gained, Gained], [Lost, Kept], [Lost, Kept], [Lost, Kept]]
        );
        let changed: Vec<bool> = page
            .probes
            .iter()
            .flat_map(|p| p.of[1].as_ref().map(|of| of.changed))
            .collect();
        assert_eq!(
            changed,
            [true, false, true, false],
            "a text that changed is a change though the score is the same"
        );
    }

    /// The words are those of the other reports.
    #[test]
    fn a_candidate_says_what_the_terminal_says() {
        let mut comparison = two_candidates();
        let noise = SuiteNoise {
            mean_change: 0.02,
            difference: 0.0,
            probes: 100,
            losses: 0,
            gains: 0,
        };
        comparison.noise.insert("code".into(), noise);
        let page = of_comparison(&comparison, &[]);
        let careless = &page.candidates[0];
        assert_eq!(
            (careless.headline.as_str(), careless.tone),
            ("regression", Tone::Bad)
        );
        let lines: Vec<String> = careless
            .lines
            .iter()
            .map(|l| format!("{} {}", l.head, l.text))
            .collect();
        insta::assert_snapshot!(lines.join("\n"), @"
        because `code` lost 0.66 of 0.81 (p < 0.0001)
        learned `identity`: 1.00 reaches the target of 0.80, the base 0.00
        causes repeats a training answer in 61 of 100 answers
        note `code`: 1 probe with unscored draws, left out of the means: both: unsupported syntax (p7); and a note that is long enough to need a second line
        ");
        let rows = careless.rows.iter().chain(&careless.pooled);
        let cells = |row: &PageRow| {
            let cell = |text: &Option<String>| text.clone().unwrap_or_else(|| "-".into());
            let parts = [
                &row.probes,
                &row.base,
                &row.candidate,
                &row.change,
                &row.noise,
            ]
            .map(cell);
            format!(
                "{} | {} | {} | {}",
                row.suite,
                row.aim,
                parts.join(" | "),
                row.state
            )
        };
        let rows: Vec<String> = rows.map(cells).collect();
        insta::assert_snapshot!(rows.join("\n"), @"
        identity | learn 0.80 | 8 | 0.00 | 1.00 | +1.00 [+0.20, +0.99] | - | reached
        code | keep -0.15 | 100 + 1 unscored | 0.81 | 0.15 | -0.66 [-0.75, -0.55] | 0.02 | regression, p = 0.0004
        pooled | keep -0.10 | 100 + 1 unscored | 0.81 | 0.15 | -0.66 [-0.75, -0.55] | 0.02 | regression, p < 0.0001
        ");
        assert_eq!(page.candidates[1].next, "next 1");
        assert_eq!(page.base.label, "smollm2");
    }

    #[test]
    fn a_suite_gives_tags_and_what_was_said_before() {
        let probe = Probe {
            id: "p0".into(),
            tags: vec!["en".into(), "sorting".into()],
            critical: true,
            system: Some("Be short.".into()),
            history: vec![Exchange {
                user: "Hi".into(),
                assistant: "Hello.".into(),
            }],
            prompts: vec!["Write.".into()],
            generation: Generation {
                max_new_tokens: 8,
                samples: 1,
                temperature: None,
                top_k: None,
                top_p: None,
                repetition_penalty: None,
            },
            checks: Vec::<CheckSpec>::new(),
            goldens: Vec::new(),
        };
        let suite = Suite {
            name: "code".into(),
            description: Some("Short programs.".into()),
            goal: Goal::Keep,
            margin: None,
            target: None,
            probes: vec![probe],
            digest: String::new(),
        };
        let mut comparison = two_candidates();
        comparison.candidates[0].probes[1].noise = Some(ProbeNoise {
            score: 0.25,
            text: 0.5,
        });
        comparison.candidates[1].probes[1].cases[0].drift = Some(Drift {
            token: 3,
            accepted: "the old".into(),
            new: "the new".into(),
            logit_gap: Some(1.25),
        });
        let page = of_comparison(&comparison, &[suite]);
        let described = page
            .suites
            .iter()
            .map(|s| (s.name.as_str(), s.description.as_deref()));
        assert_eq!(
            described.collect::<Vec<_>>(),
            [("code", Some("Short programs.")), ("identity", None)]
        );
        let probe = &page.probes[1];
        let text = |place: usize| page.texts[place].as_str();
        assert_eq!(probe.tags, ["en", "sorting"]);
        assert_eq!(probe.system.map(text), Some("Be short."));
        assert_eq!(probe.history[0].map(text), ["Hi", "Hello."]);
        assert_eq!(probe.noise, Some(0.25));
        let drift = probe.cases[0].drift[1].as_ref().unwrap();
        assert_eq!(
            (text(drift.accepted), text(drift.now), drift.token),
            ("the old", "the new", 3)
        );
        assert!(probe.cases[0].drift[0].is_none());
    }

    /// Four more draws may have been asked of one candidate, and a probe of one alone.
    #[test]
    fn candidates_that_were_asked_differently_stand_side_by_side() {
        let mut comparison = two_candidates();
        let again = comparison.candidates[1].probes[0].cases[0].samples[0].clone();
        comparison.candidates[1].probes[0].cases[0]
            .samples
            .push(again);
        comparison.candidates[0].probes.remove(3);
        let page = of_comparison(&comparison, &[]);
        let draws = &page.probes[0].cases[0].draws;
        assert_eq!(draws.len(), 2);
        let second = &draws[1];
        assert!(second.answers[0].is_some() && second.answers[1].is_none());
        assert_eq!(
            (second.scores[1], second.checks[0].reasons[1]),
            (None, None)
        );
        let last = &page.probes[3];
        assert!(last.of[0].is_none() && last.of[1].is_some());
    }

    #[test]
    fn a_text_stands_once() {
        let comparison = two_candidates();
        let page = of_comparison(&comparison, &[]);
        let of = |text: &str| page.texts.iter().filter(|t| *t == text).count();
        assert_eq!((of(PARROT), of("found \"def\"")), (1, 1));
        assert_eq!(said(&page, 0, 1), Some(PARROT));
        assert_eq!(said(&page, 1, 1), Some(PARROT));
    }
}
