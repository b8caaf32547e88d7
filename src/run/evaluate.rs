//! Subjects answer questions: what no record has is generated, all in one batch; every finished
//! piece is on disk before the next step; checks then score.

use std::collections::BTreeMap;
use std::time::{SystemTime, UNIX_EPOCH};

use crate::flow::{
    AnswerOrigin, AnswerTable, Calibration, Likelihood, Measurement, OwnAnswers, Phase, ProbeId,
    RunEvent, Subject,
};
use crate::lora::LoadedAdapter;
use crate::record::{AnswerCache, Answered, Header, MeasuredText, RecordWriter, RunLock, Store};

use super::asking::{Asking, Bar};
use super::calibration::write_calibration;
use super::error::RunError;
use super::further::Further;
use super::judge::{JUDGES, Judge, JudgeSettings};
use super::own_answers::own_answers;
use super::questions::Questions;
use super::respondent::{Found, Local, Piece, PieceOf, Respondent, Round};
use super::rubric::RubricQuestion;
use super::scoring::{CheckPlace, Scorer, Scoring};
use super::stored::scored_suites;

/// A subject with what it needs in memory.
pub struct LoadedSubject {
    /// Who.
    pub subject: Subject,
    /// Its adapter; `None` is the base.
    pub adapter: Option<LoadedAdapter>,
}

impl LoadedSubject {
    /// The base, which needs nothing.
    pub fn base() -> Self {
        LoadedSubject {
            subject: Subject::base(),
            adapter: None,
        }
    }
}

impl Said {
    /// Nothing yet, by whoever the header names.
    fn of(header: &Header) -> Self {
        Said {
            origin: AnswerOrigin::of(&header.engine, &header.base),
            ..Said::default()
        }
    }
}

/// Now, in seconds since 1970.
fn now() -> Option<u64> {
    let since_1970 = SystemTime::now().duration_since(UNIX_EPOCH);
    since_1970.ok().map(|since| since.as_secs())
}

/// Everything an evaluation works with.
#[derive(Clone, Copy)]
pub struct Evaluation<'a> {
    /// The base.
    pub asking: Asking<'a>,
    /// What is asked.
    pub questions: &'a Questions,
    /// All records, for answers that exist.
    pub store: &'a Store,
    /// The run that new answers go to.
    pub run: &'a RunLock,
    /// Turns answers into scores.
    pub scoring: &'a Scoring,
}

/// What a subject has said so far.
#[derive(Default)]
struct Said {
    origin: AnswerOrigin,
    answers: AnswerTable,
    likelihoods: BTreeMap<(usize, usize), Likelihood>,
}

impl Evaluation<'_> {
    /// Has every subject answer everything, and scores it. The first one is the base of the others:
    /// critical probes that one of them lost are asked further. Progress goes to `on_event`.
    ///
    /// # Errors
    /// A record that cannot be read or written, or an interrupt; finished answers are on disk.
    pub fn run(
        &self,
        subjects: Vec<LoadedSubject>,
        on_event: &mut dyn FnMut(RunEvent),
    ) -> Result<Vec<Measurement>, RunError> {
        let mut batch = Batch::new(self, subjects);
        let all: Vec<usize> = (0..batch.measured.len()).collect();
        batch.ask(&|_| true, &all, on_event)?;
        Ok(batch.measured)
    }

    /// The same of subjects without a base among them: nothing is asked further.
    ///
    /// # Errors
    /// As [`Evaluation::run`].
    pub fn first_draws(
        &self,
        subjects: Vec<LoadedSubject>,
        on_event: &mut dyn FnMut(RunEvent),
    ) -> Result<Vec<Measurement>, RunError> {
        let mut batch = Batch::new(self, subjects);
        let all: Vec<usize> = (0..batch.measured.len()).collect();
        batch.answer(self.questions, &all, on_event)?;
        Ok(batch.measured)
    }
}

/// Subjects that are asked together, some questions at a time, the base first.
pub(super) struct Batch<'e> {
    evaluation: &'e Evaluation<'e>,
    adapters: Vec<LoadedAdapter>,
    places: Vec<Option<usize>>,
    measured: Vec<Measurement>,
}

impl<'e> Batch<'e> {
    pub(super) fn new(evaluation: &'e Evaluation<'e>, subjects: Vec<LoadedSubject>) -> Self {
        // Adapters move to one list; a subject keeps its place in it.
        let (mut adapters, mut places, mut measured) = (Vec::new(), Vec::new(), Vec::new());
        for LoadedSubject { subject, adapter } in subjects {
            places.push(adapter.map(|adapter| {
                adapters.push(adapter);
                adapters.len() - 1
            }));
            measured.push(Measurement::of(subject));
        }
        Batch {
            evaluation,
            adapters,
            places,
            measured,
        }
    }

    /// What each has said so far.
    pub(super) fn measured(&self) -> &[Measurement] {
        &self.measured
    }

    /// What the candidates make of the base's own answers, by place; none of the base.
    pub(super) fn own_answers(
        &self,
        on_event: &mut dyn FnMut(RunEvent),
    ) -> Result<Vec<Option<OwnAnswers>>, RunError> {
        let Evaluation {
            asking, questions, ..
        } = *self.evaluation;
        let Some(base) = self.measured.first() else {
            return Ok(Vec::new());
        };
        let own = own_answers(asking, &questions.suites, base, &self.adapters, on_event)?;
        let places = self.places.iter();
        Ok(places
            .map(|place| place.and_then(|place| own[place]))
            .collect())
    }

    /// Has some subjects, by their places and the base first, answer the probes that are wanted, and
    /// what their critical probes then leave open.
    pub(super) fn ask(
        &mut self,
        wanted: &dyn Fn(&ProbeId) -> bool,
        who: &[usize],
        on_event: &mut dyn FnMut(RunEvent),
    ) -> Result<(), RunError> {
        let questions = self.evaluation.questions;
        match questions.all.iter().all(|q| wanted(&q.case.probe_id())) {
            true => self.answer(questions, who, on_event)?,
            false => self.answer(&questions.only(wanted), who, on_event)?,
        }
        self.ask_further(who, on_event)
    }

    fn answer(
        &mut self,
        questions: &Questions,
        who: &[usize],
        on_event: &mut dyn FnMut(RunEvent),
    ) -> Result<(), RunError> {
        let subjects = who.iter().map(|&p| self.measured[p].subject.clone());
        let said = self.said(questions, subjects.collect(), who, on_event)?;
        for (&place, more) in who.iter().zip(said) {
            self.measured[place].add(more);
        }
        Ok(())
    }

    fn ask_further(
        &mut self,
        who: &[usize],
        on_event: &mut dyn FnMut(RunEvent),
    ) -> Result<(), RunError> {
        let questions = self.evaluation.questions;
        let built = questions.built();
        let mut measured: Vec<Measurement> =
            who.iter().map(|&p| self.measured[p].clone()).collect();
        let Some(open) = Further::of(&questions.suites, &built, &measured) else {
            return Ok(());
        };
        let (suites, seed) = (open.suites.clone(), Further::seed(questions.seed));
        let session = self.evaluation.asking.session;
        let further = Questions::with_checks(session, suites, &built, seed)?;
        let asked: Vec<usize> = open.places().into_iter().map(|place| who[place]).collect();
        let subjects = asked
            .iter()
            .map(|&p| Further::subject(&self.measured[p].subject));
        let said = self.said(&further, subjects.collect(), &asked, on_event)?;
        open.join(&mut measured, said);
        for (&place, measured) in who.iter().zip(measured) {
            self.measured[place] = measured;
        }
        Ok(())
    }

    /// What subjects say, with the adapters of those at these places.
    fn said(
        &self,
        questions: &Questions,
        subjects: Vec<Subject>,
        who: &[usize],
        on_event: &mut dyn FnMut(RunEvent),
    ) -> Result<Vec<Measurement>, RunError> {
        let Evaluation {
            asking,
            store,
            run,
            scoring,
            ..
        } = *self.evaluation;
        let local = Local {
            asking,
            adapters: &self.adapters,
            places: who.iter().map(|&place| self.places[place]).collect(),
        };
        let measuring = Measuring {
            questions,
            store,
            run,
            scoring,
        };
        measuring.measure(&local, subjects, on_event)
    }
}

/// One path for whatever answers: what is recorded is not asked again, each finished piece is on disk
/// before the next, and scores are made of what stands there.
#[derive(Clone, Copy)]
pub(super) struct Measuring<'a> {
    pub questions: &'a Questions,
    pub store: &'a Store,
    pub run: &'a RunLock,
    pub scoring: &'a Scoring,
}

impl Measuring<'_> {
    /// Has every subject answer everything, and scores it.
    pub fn measure(
        &self,
        respondent: &dyn Respondent,
        subjects: Vec<Subject>,
        on_event: &mut dyn FnMut(RunEvent),
    ) -> Result<Vec<Measurement>, RunError> {
        let digests = scored_suites(
            &self.questions.suites,
            &self.questions.built(),
            &self.scoring.settings,
        );
        let headers: Vec<Header> = subjects.iter().map(|s| respondent.header(s)).collect();
        let mut cache = AnswerCache::open(
            self.store,
            &headers.iter().map(|h| h.digest.clone()).collect::<Vec<_>>(),
        )?;
        let writers = headers
            .iter()
            .map(|header| RecordWriter::open(self.run, header.clone(), &digests))
            .collect::<Result<Vec<_>, _>>()?;

        let unweighed = respondent.cannot_weigh();
        let mut scorer =
            Scorer::new(self.scoring, self.questions).without_likelihoods(unweighed.clone());
        let mut said: Vec<Said> = headers.iter().map(Said::of).collect();
        let mut pieces = Vec::new();
        let mut known = 0;
        for (subject, header) in headers.iter().enumerate() {
            let finished = writers[subject].finished();
            for (q, question) in self.questions.all.iter().enumerate() {
                let checks = &self.questions.checks[question.checks];
                let samples = match checks.answer {
                    true => self.questions.samples(question),
                    false => 0,
                };
                for sample in 0..samples {
                    let seed = self.questions.seed_of(&question.case, sample);
                    let key = respondent.answer_key(header, question, seed, sample);
                    let place = (question.case.clone(), sample);
                    let own = finished.answers.get(&place).filter(|a| a.key == key);
                    let recorded = own.map(|a| a.answer.clone());
                    let found = match recorded.clone() {
                        Some(answer) => Some(answer),
                        None => cache.answer(&key, &question.case, sample),
                    };
                    let found = match found {
                        Some(answer) => respondent.settled(answer, question, checks)?,
                        None => None,
                    };
                    if let Some(answer) = found {
                        let at = own.map_or_else(|| cache.time_of(&key), |own| own.at);
                        if recorded.as_ref() != Some(&answer) {
                            writers[subject].answered(Answered {
                                key: key.clone(),
                                answer: answer.clone(),
                                at,
                            })?;
                        }
                        said[subject].origin.count(at);
                        known += 1;
                        scorer.answered(subject, q, &answer);
                        said[subject].answers.insert(place, answer);
                        continue;
                    }
                    pieces.push(Piece {
                        subject,
                        question: q,
                        key,
                        of: PieceOf::Answer { sample, seed },
                    });
                }
                let texts = match &unweighed {
                    None => &checks.continuations[..],
                    Some(_) => &[],
                };
                for (t, text) in texts.iter().enumerate() {
                    let key = respondent.likelihood_key(header, question, text);
                    let place = (question.case.clone(), text.clone());
                    let recorded = finished.likelihoods.get(&place);
                    let recorded = recorded.filter(|m| m.key == key);
                    let found = match recorded {
                        Some(own) => Some((own.likelihood.clone(), own.at)),
                        None => match cache.likelihood(&key, &question.case) {
                            Some(likelihood) => {
                                let at = cache.time_of(&key);
                                writers[subject].measured(MeasuredText {
                                    key: key.clone(),
                                    likelihood: likelihood.clone(),
                                    at,
                                })?;
                                Some((likelihood, at))
                            }
                            None => None,
                        },
                    };
                    if let Some((likelihood, at)) = found {
                        said[subject].origin.count(at);
                        known += 1;
                        said[subject].likelihoods.insert((q, t), likelihood);
                        continue;
                    }
                    pieces.push(Piece {
                        subject,
                        question: q,
                        key,
                        of: PieceOf::Text { text: t },
                    });
                }
            }
        }
        let names: Vec<&str> = subjects.iter().map(|s| s.name.as_str()).collect();
        for notice in cache.take_notices() {
            on_event(RunEvent::Notice(notice));
        }
        let round = Round {
            questions: self.questions,
            pieces: &pieces,
            bar: Bar {
                phase: Phase::Answering,
                label: names.join(", "),
                total: known + pieces.len() as u64,
                done: known,
            },
        };
        respondent.respond(round, on_event, &mut |place, found| {
            let piece = &pieces[place];
            self.finished(piece, found, &writers, &mut said, &mut scorer)
        })?;
        let calibration = self.judge(respondent, &said, &mut scorer, on_event)?;
        let mut measurements = Vec::new();
        for (place, (said, subject)) in said.into_iter().zip(subjects).enumerate() {
            let finished = writers[place].finished();
            let mut measurement = Measurement::of(subject);
            for scored in scorer.scores(place, &said.answers, &said.likelihoods) {
                let key = (scored.case.clone(), scored.sample);
                measurement.scores.insert(key.clone(), scored.score.clone());
                measurement
                    .checks
                    .insert(key.clone(), scored.checks.clone());
                if finished.scores.get(&key) != Some(&scored) {
                    writers[place].scored(scored)?;
                }
            }
            measurement.answers = said.answers;
            measurement.origin = Some(said.origin);
            measurement.judge.clone_from(&calibration);
            measurements.push(measurement);
        }
        Ok(measurements)
    }

    /// Has the judge say what it is asked about every answer, if it is accurate enough.
    fn judge(
        &self,
        respondent: &dyn Respondent,
        said: &[Said],
        scorer: &mut Scorer<'_>,
        on_event: &mut dyn FnMut(RunEvent),
    ) -> Result<Option<Calibration>, RunError> {
        if !self.questions.wants_judge() {
            return Ok(None);
        }
        let settings: JudgeSettings = respondent.judge(&self.scoring.settings.judge);
        let judge = Judge::calibrated(
            respondent.base(),
            respondent.interrupt(),
            &settings,
            &self.questions.suites,
            &self.store.root().join(JUDGES),
            on_event,
        )?;
        let calibration = judge.calibration.clone();
        write_calibration(self.run.run(), &calibration)?;
        self.scoring.notice(calibration.to_string());
        if calibration.is_accepted() {
            let asks: Vec<(CheckPlace, RubricQuestion)> = said
                .iter()
                .enumerate()
                .flat_map(|(subject, said)| scorer.asks(subject, &said.answers))
                .collect();
            let (places, asks): (Vec<CheckPlace>, Vec<RubricQuestion>) = asks.into_iter().unzip();
            let judgements = judge.ask(&asks, on_event)?;
            for ((place, ask), judgement) in places.into_iter().zip(asks).zip(judgements) {
                if let Some(judgement) = judgement {
                    scorer.judged(place, ask.rubric, judgement);
                }
            }
        }
        Ok(Some(calibration))
    }

    /// Writes down one finished piece.
    fn finished(
        &self,
        piece: &Piece,
        found: Found,
        writers: &[RecordWriter],
        said: &mut [Said],
        scorer: &mut Scorer<'_>,
    ) -> Result<(), RunError> {
        let (subject, key) = (piece.subject, piece.key.clone());
        match (&piece.of, found) {
            (PieceOf::Answer { .. }, Found::Answer(answer)) => {
                let at = now();
                writers[subject].answered(Answered {
                    key,
                    answer: answer.clone(),
                    at,
                })?;
                said[subject].origin.count(at);
                scorer.answered(subject, piece.question, &answer);
                let place = (answer.case.clone(), answer.sample);
                said[subject].answers.insert(place, answer);
            }
            (PieceOf::Text { text }, Found::Likelihood(likelihood)) => {
                let at = now();
                writers[subject].measured(MeasuredText {
                    key,
                    likelihood: likelihood.clone(),
                    at,
                })?;
                said[subject].origin.count(at);
                let place = (piece.question, *text);
                said[subject].likelihoods.insert(place, likelihood);
            }
            // Whoever answers gives each piece its own kind back.
            (_, other) => self
                .scoring
                .notice(format!("{other:?} came back for other work")),
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::flow::{AdapterRef, Suite};
    use crate::record::read_record;
    use crate::run::testing::{
        AURORA, Heard, PIP, Stage, WHO, adapter_folder, case, loaded, suites,
    };

    /// One probe that is answered, one that is sampled, and one that is weighed.
    fn probes() -> Vec<Suite> {
        suites(
            r#"
            [[probe]]
            id = "who"
            prompts = ["Tell me who you are."]
            [[probe.check]]
            type = "contains"
            value = "Pip"
            [[probe]]
            id = "drawn"
            prompts = ["What is 2 + 2?"]
            generation = { temperature = 0.9, samples = 2 }
            [[probe.check]]
            type = "number"
            value = 4
            [[probe]]
            id = "weighed"
            prompts = ["What is the capital of Peru?"]
            [[probe.check]]
            type = "choice"
            options = ["Lima", "Rome"]
            answer = "Lima"
            "#,
        )
    }

    /// Answers and texts that [`probes`] ask one subject for.
    const PIECES: u64 = 5;

    fn good(stage: &Stage) -> LoadedSubject {
        let adapter = AdapterRef {
            path: adapter_folder("good"),
            digest: "good".into(),
            scale: 1.0,
            step: None,
        };
        LoadedSubject {
            subject: Subject {
                name: "good".into(),
                adapter: Some(adapter),
                server: None,
            },
            adapter: Some(loaded(&stage.session, "good")),
        }
    }

    /// What the subjects say, asked in `lock`'s run.
    fn measured(
        stage: &Stage,
        lock: &RunLock,
        subjects: Vec<LoadedSubject>,
        on_event: &mut dyn FnMut(RunEvent),
    ) -> Result<Vec<Measurement>, RunError> {
        let questions = Questions::new(&stage.session, probes(), 7)?;
        let evaluation = Evaluation {
            asking: stage.asking(),
            questions: &questions,
            store: &stage.store,
            run: lock,
            scoring: &stage.scoring(),
        };
        evaluation.run(subjects, on_event)
    }

    #[test]
    fn what_any_run_has_recorded_is_not_asked_again() {
        let (stage, heard) = (Stage::new(), Heard::default());
        let first = stage.run();
        let base = || vec![LoadedSubject::base()];
        let once = measured(&stage, &first, base(), &mut |e| heard.hear(e)).unwrap();
        assert_eq!(heard.asked(), [(0, PIECES)]);
        let record = || {
            let entry = first.run().record_of("base").unwrap().unwrap();
            std::fs::read(entry.path).unwrap()
        };
        let before = record();
        // The same run reads its own record, and another one takes the answers over.
        let other = stage.run();
        for lock in [&first, &other] {
            let again = measured(&stage, lock, base(), &mut |e| heard.hear(e)).unwrap();
            assert_eq!(again, once);
        }
        assert_eq!(heard.asked(), [(0, PIECES)], "the engine was asked again");
        assert_eq!(record(), before);
        let taken = other.run().record_of("base").unwrap().unwrap();
        let taken = read_record(&taken.path).unwrap();
        let pieces = taken.answers.len() + taken.likelihoods.len();
        assert_eq!(pieces as u64, PIECES);
    }

    #[test]
    fn the_base_beside_itself_says_the_same_to_the_last_bit() {
        let stage = Stage::new();
        let again = LoadedSubject {
            subject: Subject {
                name: "again".into(),
                adapter: None,
                server: None,
            },
            adapter: None,
        };
        let subjects = vec![LoadedSubject::base(), again];
        let both = measured(&stage, &stage.run(), subjects, &mut |_| {}).unwrap();
        assert_eq!(both[0].answers, both[1].answers);
        assert_eq!(both[0].checks, both[1].checks);
        let drawn = |sample| &both[0].answers[&(case("drawn", 0), sample)];
        assert_ne!(drawn(0).seed, drawn(1).seed, "every draw has its own");
    }

    /// Adapters move to a list of their own: a subject before the base must keep its own.
    #[test]
    fn each_subject_answers_with_its_own_adapter() {
        let stage = Stage::new();
        let subjects = vec![good(&stage), LoadedSubject::base()];
        let both = measured(&stage, &stage.run(), subjects, &mut |_| {}).unwrap();
        let who = |m: &Measurement| m.answers[&(case("who", 0), 0)].text.clone();
        assert_eq!([who(&both[0]), who(&both[1])], [AURORA, PIP], "{WHO}");
        assert_eq!(both[0].scores[&(case("who", 0), 0)].value(), Some(0.0));
    }

    #[test]
    fn what_an_interrupt_left_is_gone_on_with() {
        let (mut stage, heard) = (Stage::new(), Heard::default());
        let lock = stage.run();
        let ran = measured(&stage, &lock, vec![LoadedSubject::base()], &mut |event| {
            if matches!(event, RunEvent::Progress { more: 1.., .. }) {
                stage.interrupt.set();
            }
        });
        assert!(matches!(ran, Err(RunError::Interrupted)));
        let entry = lock.run().record_of("base").unwrap().unwrap();
        let left = read_record(&entry.path).unwrap();
        let kept = (left.answers.len() + left.likelihoods.len()) as u64;
        assert!((1..PIECES).contains(&kept), "{kept}");
        stage.interrupt = crate::run::Interrupt::default();
        let base = vec![LoadedSubject::base()];
        measured(&stage, &lock, base, &mut |e| heard.hear(e)).unwrap();
        assert_eq!(heard.asked(), [(kept, PIECES)]);
    }
}
