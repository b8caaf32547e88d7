//! Answers and likelihoods -> evidence -> scores. Programs of answers run in child processes while
//! the engine decodes; embeddings are made together at the end.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, PoisonError};

use serde::Serialize;
use tokio::task::JoinHandle;

use crate::check::{Evidence, Judgement, Judgements, Program, ProgramOutcome, Taught};
use crate::flow::{Answer, AnswerTable, CheckScore, Likelihood, Score};
use crate::record::Scored;

use super::embed::Embeddings;
use super::judge::JudgeSettings;
use super::questions::Questions;
use super::rubric::RubricQuestion;
use super::sandbox::{Sandbox, SandboxLimits};

/// What checks may use, as configured.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct CheckSettings {
    /// Who answers `llm-rubric`.
    pub judge: JudgeSettings,
    /// The sentence encoder of `similar`.
    pub encoder: String,
    /// The Python that runs what the embedded interpreter lacks.
    pub python: Option<String>,
    /// What the candidates are taught to be called, as far as the project knows.
    pub names: Vec<String>,
}

impl Default for CheckSettings {
    fn default() -> Self {
        CheckSettings {
            judge: JudgeSettings::default(),
            encoder: "all-minilm-l6-v2".into(),
            python: None,
            names: Vec::new(),
        }
    }
}

/// What scoring needs besides answers.
pub struct Scoring {
    /// Where programs are started.
    pub runtime: tokio::runtime::Handle,
    /// Runs programs.
    pub sandbox: Arc<Sandbox>,
    /// Distinct assistant turns that the candidate was trained on; `None` when unknown.
    pub training_answers: Option<Vec<String>>,
    /// What checks may use.
    pub settings: CheckSettings,
    /// Sentence embeddings, loaded when a check first wants one.
    pub embeddings: Mutex<Embeddings>,
    /// What the user should hear of missing evidence, each once.
    pub notices: Mutex<Vec<String>>,
}

impl Scoring {
    /// Scoring with programs run by `executable` under `runtime`.
    pub fn new(
        runtime: tokio::runtime::Handle,
        executable: std::path::PathBuf,
        training_answers: Option<Vec<String>>,
        settings: CheckSettings,
    ) -> Self {
        Scoring {
            runtime,
            sandbox: Arc::new(
                Sandbox::new(executable, SandboxLimits::default())
                    .with_python(settings.python.clone()),
            ),
            training_answers,
            embeddings: Mutex::new(Embeddings::new(settings.encoder.clone())),
            settings,
            notices: Mutex::default(),
        }
    }

    /// What the candidates were taught.
    pub fn taught(&self) -> Taught {
        Taught::new(self.training_answers.as_deref(), &self.settings.names)
    }

    /// Tells the user something once.
    pub fn notice(&self, notice: String) {
        let mut notices = self.notices.lock().unwrap_or_else(PoisonError::into_inner);
        if !notices.contains(&notice) {
            notices.push(notice);
        }
    }

    /// Sentence embeddings by text; `None`, with a notice, when there is no encoder.
    pub fn embed(&self, texts: &[String]) -> Option<HashMap<String, Arc<[f32]>>> {
        let mut embeddings = self
            .embeddings
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        match embeddings.embed(texts.iter().map(String::as_str), &mut |_, _| {}) {
            Ok(known) => Some(known.clone()),
            Err(error) => {
                drop(embeddings);
                self.notice(format!(
                    "no sentence encoder, so `similar` checks stay unscored: {error}"
                ));
                None
            }
        }
    }

    /// Takes what the user has not heard yet.
    pub fn take_notices(&self) -> Vec<String> {
        std::mem::take(&mut self.notices.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// Which answer of whom, judged by which check.
pub type CheckPlace = (usize, usize, usize, usize);

/// Collects what one evaluation says, and scores it.
pub struct Scorer<'a> {
    scoring: &'a Scoring,
    questions: &'a Questions,
    running: BTreeMap<CheckPlace, JoinHandle<ProgramOutcome>>,
    judged: BTreeMap<CheckPlace, Judgements>,
    /// Why likelihoods cannot be had.
    unweighed: Option<String>,
}

impl<'a> Scorer<'a> {
    /// A scorer that has heard nothing yet.
    pub fn new(scoring: &'a Scoring, questions: &'a Questions) -> Self {
        Scorer {
            scoring,
            questions,
            running: BTreeMap::new(),
            judged: BTreeMap::new(),
            unweighed: None,
        }
    }

    /// The same, where likelihoods cannot be measured: checks that want one are left out.
    pub fn without_likelihoods(self, why: Option<String>) -> Self {
        Scorer {
            unweighed: why,
            ..self
        }
    }

    /// Hears an answer, and starts its programs.
    pub fn answered(&mut self, subject: usize, question: usize, answer: &Answer) {
        let checks = &self.questions.checks[self.questions.all[question].checks];
        if answer.is_cut_in_thought() {
            return;
        }
        for (c, rule) in checks.rules.iter().enumerate() {
            let Some(program) = rule.program(&answer.text) else {
                continue;
            };
            let task = self.start(program);
            self.running
                .insert((subject, question, answer.sample, c), task);
        }
    }

    /// What a judge is to be asked about one subject's answers.
    pub fn asks(&self, subject: usize, answers: &AnswerTable) -> Vec<(CheckPlace, RubricQuestion)> {
        let mut asks = Vec::new();
        for (q, question) in self.questions.all.iter().enumerate() {
            let rubrics = &self.questions.checks[question.checks].rubrics;
            let wanted = rubrics
                .iter()
                .enumerate()
                .flat_map(|(c, all)| all.iter().map(move |r| (c, r)));
            for (c, rubric) in wanted {
                for sample in 0..self.questions.samples(question) {
                    let answer = answers.get(&(question.case.clone(), sample));
                    let Some(answer) = answer.filter(|a| !a.is_cut_in_thought()) else {
                        continue;
                    };
                    let ask = RubricQuestion {
                        prompt: question.prompt.clone(),
                        answer: answer.text.clone(),
                        rubric: rubric.clone(),
                    };
                    asks.push(((subject, q, sample, c), ask));
                }
            }
        }
        asks
    }

    /// Hears what the judge said to one statement.
    pub fn judged(&mut self, place: CheckPlace, rubric: String, judgement: Judgement) {
        let judgements = self.judged.entry(place).or_default();
        judgements.insert(rubric, judgement);
    }

    fn start(&self, program: Program) -> JoinHandle<ProgramOutcome> {
        let sandbox = self.scoring.sandbox.clone();
        self.scoring
            .runtime
            .spawn(async move { sandbox.run(&program).await })
    }

    /// Every score of one subject, in the order of questions and samples.
    pub fn scores(
        &mut self,
        subject: usize,
        answers: &AnswerTable,
        likelihoods: &BTreeMap<(usize, usize), Likelihood>,
    ) -> Vec<Scored> {
        let embeddings = self.embed(answers);
        let mut scored = Vec::new();
        for (q, question) in self.questions.all.iter().enumerate() {
            let checks = &self.questions.checks[question.checks];
            let measured: Vec<(&String, &Likelihood)> = checks
                .continuations
                .iter()
                .enumerate()
                .filter_map(|(t, text)| Some((text, likelihoods.get(&(q, t))?)))
                .collect();
            for sample in 0..self.questions.samples(question) {
                let answer = answers.get(&(question.case.clone(), sample));
                if checks.answer && answer.is_none() {
                    continue;
                }
                let (siblings, sibling_cut) = self.siblings(q, sample, answers);
                let cut = answer.filter(|a| a.is_cut_in_thought());
                let mut scores = Vec::new();
                for (c, rule) in checks.rules.iter().enumerate() {
                    let wanted = rule.needs().continuations;
                    let own: Vec<Likelihood> = wanted
                        .iter()
                        .filter_map(|text| {
                            measured
                                .iter()
                                .find(|(t, _)| *t == text)
                                .map(|(_, l)| (*l).clone())
                        })
                        .collect();
                    let outcome = self
                        .running
                        .remove(&(subject, q, sample, c))
                        .map(|task| self.wait(task));
                    let evidence = Evidence {
                        prompt: &question.prompt,
                        answer,
                        likelihoods: if own.len() == wanted.len() { &own } else { &[] },
                        embeddings: embeddings.as_ref(),
                        training_answers: self.scoring.training_answers.as_deref(),
                        siblings: &siblings,
                        judgements: self.judged.get(&(subject, q, sample, c)),
                        program: outcome.as_ref(),
                    };
                    let needs = rule.needs();
                    let cut = match (cut, sibling_cut && needs.siblings) {
                        (Some(answer), _) if needs.generates() => Some(answer.tokens()),
                        (_, true) => Some(question.most_thinking()),
                        _ => None,
                    };
                    let unweighed = self.unweighed.as_ref();
                    let unweighed = unweighed.filter(|_| !needs.continuations.is_empty());
                    scores.push(CheckScore {
                        kind: checks.kinds[c].clone(),
                        score: match (unweighed, cut) {
                            (Some(why), _) => Score::not_measurable(why),
                            (None, Some(tokens)) => Score::unscored(cut_in_thought(tokens)),
                            (None, None) => rule.score(&evidence),
                        },
                    });
                }
                let score = Score::lowest(scores.iter().map(|s| &s.score));
                scored.push(Scored {
                    case: question.case.clone(),
                    sample,
                    checks: scores,
                    score,
                });
            }
        }
        scored
    }

    /// What the subject answered to the other wordings of a question's probe, and whether the
    /// thinking before one of them was cut.
    fn siblings<'t>(
        &self,
        question: usize,
        sample: usize,
        answers: &'t AnswerTable,
    ) -> (Vec<&'t str>, bool) {
        let own = &self.questions.all[question];
        if !self.questions.checks[own.checks].siblings {
            return (Vec::new(), false);
        }
        let others = self
            .questions
            .all
            .iter()
            .filter(|other| other.checks == own.checks && other.case.prompt != own.case.prompt);
        let said: Vec<&Answer> = others
            .filter_map(|other| answers.get(&(other.case.clone(), sample)))
            .collect();
        let cut = said.iter().any(|answer| answer.is_cut_in_thought());
        (said.iter().map(|a| a.text.as_str()).collect(), cut)
    }

    fn wait(&self, task: JoinHandle<ProgramOutcome>) -> ProgramOutcome {
        let joined = self.scoring.runtime.block_on(task);
        joined.unwrap_or_else(|error| ProgramOutcome::Broken(error.to_string()))
    }

    /// Embeddings of every text that a check of an answered question compares, or `None` when no
    /// check does, or there is no encoder.
    fn embed(&self, answers: &AnswerTable) -> Option<HashMap<String, Arc<[f32]>>> {
        let mut texts = Vec::new();
        for question in &self.questions.all {
            let checks = &self.questions.checks[question.checks];
            let references: Vec<String> = checks
                .rules
                .iter()
                .flat_map(|r| r.needs().embeddings)
                .collect();
            if references.is_empty() {
                continue;
            }
            texts.extend(references);
            let samples = (0..self.questions.samples(question)).map(|s| (question.case.clone(), s));
            texts.extend(
                samples
                    .filter_map(|place| answers.get(&place))
                    .map(|a| a.text.clone()),
            );
        }
        if texts.is_empty() {
            return None;
        }
        self.scoring.embed(&texts)
    }
}

/// Why an answer cannot be judged whose thinking took all tokens that it was given.
fn cut_in_thought(tokens: usize) -> String {
    format!(
        "its thinking was cut at {tokens} tokens, before there was an answer; a larger \
         `thinking_budget` under [model] lets it end"
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::flow::CaseId;
    use crate::run::testing::{Stage, answer, case, suites};

    fn table(said: &[(&str, usize, &str)]) -> AnswerTable {
        let each = said.iter().map(|(probe, prompt, text)| {
            let case = case(probe, *prompt);
            ((case.clone(), 0), answer(case, 0, text))
        });
        each.collect()
    }

    /// What a subject's answers score, without a likelihood measured.
    fn scored(probes: &str, said: &[(&str, usize, &str)]) -> Vec<(CaseId, Option<f64>)> {
        let stage = Stage::new();
        let questions = Questions::new(&stage.session, suites(probes), 0).unwrap();
        let scoring = stage.scoring();
        let mut scorer = Scorer::new(&scoring, &questions);
        let scores = scorer.scores(0, &table(said), &BTreeMap::new());
        scores
            .into_iter()
            .map(|s| (s.case, s.score.value()))
            .collect()
    }

    const POLITE: &str = r#"
        [[probe]]
        id = "polite"
        prompts = ["Say no."]
        [[probe.check]]
        type = "llm-rubric"
        value = "It is polite."
        [[probe.check]]
        type = "llm-rubric"
        value = "It says no."
    "#;

    #[test]
    fn each_rubric_is_asked_and_each_judgement_reaches_its_check() {
        let stage = Stage::new();
        let questions = Questions::new(&stage.session, suites(POLITE), 0).unwrap();
        let scoring = stage.scoring();
        let mut scorer = Scorer::new(&scoring, &questions);
        let said = table(&[("polite", 0, "No!")]);
        let asks = scorer.asks(3, &said);
        let asked: Vec<(CheckPlace, &str)> = asks
            .iter()
            .map(|(place, ask)| (*place, ask.rubric.as_str()))
            .collect();
        assert_eq!(
            asked,
            [
                ((3, 0, 0, 0), "It is polite."),
                ((3, 0, 0, 1), "It says no.")
            ]
        );
        assert!(
            asks.iter()
                .all(|(_, a)| a.prompt == "Say no." && a.answer == "No!")
        );
        for ((place, ask), yes) in asks.into_iter().zip([0.1, 0.9]) {
            let judgement = Judgement {
                yes_first: yes,
                no_first: yes,
            };
            scorer.judged(place, ask.rubric, judgement);
        }
        let values = |scored: &[Scored]| -> Vec<Option<f64>> {
            scored[0].checks.iter().map(|c| c.score.value()).collect()
        };
        let none = BTreeMap::new();
        assert_eq!(
            values(&scorer.scores(3, &said, &none)),
            [Some(0.0), Some(1.0)]
        );
        // Another subject's answer was not judged by it.
        assert_eq!(values(&scorer.scores(0, &said, &none)), [None, None]);
    }

    #[test]
    fn an_answer_is_compared_with_those_to_the_other_wordings() {
        let probes = r#"
            [[probe]]
            id = "peru"
            prompts = ["Capital of Peru?", "Peru's capital?", "Name Peru's capital."]
            [[probe.check]]
            type = "consistent"
        "#;
        let said = [
            ("peru", 0, "Lima"),
            ("peru", 1, "Lima"),
            ("peru", 2, "Quito"),
        ];
        let values = |said: &[(&str, usize, &str)]| -> Vec<Option<f64>> {
            scored(probes, said)
                .into_iter()
                .map(|(_, value)| value)
                .collect()
        };
        assert_eq!(values(&said), [Some(0.5), Some(0.5), Some(0.0)]);
        assert_eq!(values(&said[..2]), [Some(1.0), Some(1.0)]);
        assert_eq!(
            values(&said[..1]),
            [None],
            "there is nothing to compare with"
        );
    }

    #[test]
    fn what_was_not_answered_or_not_measured_is_no_zero() {
        let probes = r#"
            [[probe]]
            id = "sum"
            prompts = ["What is 2 + 2?", "2 + 2?"]
            [[probe.check]]
            type = "number"
            value = 4
            [[probe]]
            id = "weighed"
            prompts = ["Capital of Peru?"]
            [[probe.check]]
            type = "choice"
            options = ["Lima", "Rome"]
            answer = "Lima"
        "#;
        let scores = scored(probes, &[("sum", 1, "4")]);
        assert_eq!(
            scores,
            [(case("sum", 1), Some(1.0)), (case("weighed", 0), None)]
        );
    }

    #[test]
    fn the_lowest_check_decides_and_a_missing_encoder_is_told_once() {
        let probes = r#"
            [[probe]]
            id = "peru"
            prompts = ["Capital of Peru?", "Peru's capital?"]
            [[probe.check]]
            type = "contains"
            value = "Lima"
            [[probe.check]]
            type = "similar"
            accepted = ["The capital is Lima."]
            rejected = ["The capital is Rome."]
        "#;
        let stage = Stage::new();
        let questions = Questions::new(&stage.session, suites(probes), 0).unwrap();
        let scoring = stage.scoring();
        let mut scorer = Scorer::new(&scoring, &questions);
        let said = table(&[("peru", 0, "Lima"), ("peru", 1, "Rome")]);
        for _ in 0..2 {
            let scores = scorer.scores(0, &said, &BTreeMap::new());
            let values: Vec<_> = scores.iter().map(|s| s.score.value()).collect();
            assert_eq!(
                values,
                [None, Some(0.0)],
                "a fail is one whatever else is missing"
            );
        }
        let notices = scoring.take_notices();
        assert_eq!(notices.len(), 1, "{notices:?}");
        assert!(notices[0].contains("no sentence encoder"), "{notices:?}");
        assert_eq!(scoring.take_notices(), Vec::<String>::new());
    }
}
