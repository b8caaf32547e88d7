//! Why a probe was lost: both answers with what the checks saw, the token that parts them and how
//! sure base and candidate were of it, the training rows that the new answer is nearest to, and the
//! scale up to which the probe is kept.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use crate::flow::{
    AdapterRef, Answer, CaseId, Measurement, Parting, ProbeComparison, ProbeState, Subject,
};
use crate::lora::{Adapter, LoadedAdapter};
use crate::record::SubjectSpec;
use crate::run::{Embeddings, LoadedSubject, Session, nearest_by_words, parting};
use crate::train::{Dataset, Example};

use super::error::ProjectError;
use super::open::{Project, matrices};
use super::order::Order;

/// Scales at which the probe is asked, beside the adapter as it is.
const SCALES: [f64; 9] = [0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9];
/// Training rows that are shown of each kind.
const ROWS: usize = 3;
/// Most training answers whose meaning is compared: an encoder on a CPU reads some hundred a second.
const MOST_EMBEDDED: usize = 2000;

/// A training row near to the new answer.
#[derive(Debug, Clone, PartialEq)]
pub struct TrainingRow {
    /// Its file and line; `None` where only the answers of the run are known.
    pub origin: Option<String>,
    /// Its last question, where the row is known.
    pub question: Option<String>,
    /// Its answer.
    pub answer: String,
    /// Words in a row that the new answer has of it.
    pub run: usize,
    /// Words of its answer.
    pub words: usize,
    /// Words in a row that the base's answer has of it.
    pub base_run: usize,
    /// Cosine of the new answer's and its embedding, in [-1, 1], where it was near by meaning.
    pub cosine: Option<f64>,
}

/// The probe at one scale.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct ScaleScore {
    /// Multiplies the candidate's own scale.
    pub scale: f64,
    /// Mean score over wordings and draws; `None` where none was scored.
    pub score: Option<f64>,
    /// What it comes to against the base.
    pub state: ProbeState,
}

/// What is known of a probe that a candidate lost, or kept.
#[derive(Debug, Clone, PartialEq)]
pub struct Why {
    /// The candidate as it was named.
    pub candidate: String,
    /// The probe, answered by both.
    pub probe: ProbeComparison,
    /// The wording that is looked at: the one on which the candidate lost most.
    pub prompt: usize,
    /// The draw of it.
    pub sample: usize,
    /// Where both answers part; `None` where they are the same, or nothing is generated.
    pub parting: Option<Parting>,
    /// Training rows that are known; `None` where the training data is not.
    pub rows: Option<usize>,
    /// Those that share most words in a row with the new answer.
    pub by_words: Vec<TrainingRow>,
    /// Those whose meaning is nearest; `None` where there is no encoder, or nothing to compare.
    pub by_meaning: Option<Vec<TrainingRow>>,
    /// The probe at each scale, the smallest first, the candidate as it is last.
    pub scales: Vec<ScaleScore>,
}

impl Why {
    /// The largest scale up to which the probe is kept; `None` where it is lost at the smallest too.
    pub fn kept_up_to(&self) -> Option<f64> {
        let kept = |s: &&ScaleScore| matches!(s.state, ProbeState::Kept | ProbeState::Gained);
        self.scales.iter().take_while(kept).last().map(|s| s.scale)
    }
}

impl Project {
    /// Looks at one probe of a candidate. The project is opened with the pattern of the probe.
    ///
    /// # Errors
    /// The candidate is no adapter, the pattern names no probe or several, or whatever stops a
    /// measurement; finished answers are on disk.
    pub fn why(&self, pattern: &str, candidate: &str) -> Result<Why, ProjectError> {
        let spec = self.store.resolve(candidate)?;
        let Some(folder) = spec.folder() else {
            return Err(ProjectError::NoAdapterFor {
                subject: candidate.to_owned(),
                what: "what it changed cannot be turned down, nor its probabilities compared; \
                       `qeval diff base SUBJECT --probe NAME` compares any two",
            });
        };
        let mut order = Order::new(self, &["base", candidate])?;
        order.noise = false;
        for note in &order.notes {
            self.notice(note.as_str());
        }
        let ids: Vec<String> = order
            .suites
            .iter()
            .flat_map(|suite| suite.probes.iter().map(|probe| suite.id_of(probe)))
            .map(|id| id.to_string())
            .collect();
        if ids.len() > 1 {
            return Err(ProjectError::SeveralProbes {
                pattern: pattern.to_owned(),
                probes: ids,
            });
        }
        let mut measured = self.measure(&order)?;
        let comparison = order.compare(&measured.measurements, None);
        let judged = comparison.candidates.into_iter().next();
        let (Some(judged), [base, new, ..]) = (judged, &measured.measurements[..]) else {
            return Err(ProjectError::NoCandidate);
        };
        let mut probes = judged.probes.into_iter();
        let (Some(probe), Some(suite)) = (probes.next(), order.suites.first()) else {
            return Err(ProjectError::NoCandidate);
        };
        let (prompt, sample) = worst(&probe);
        let case = CaseId {
            suite: probe.id.suite.clone(),
            probe: probe.id.probe.clone(),
            prompt,
        };
        let place = (case, sample);
        let answers = base.answers.get(&place).zip(new.answers.get(&place));
        let session = self.session_left(&order, measured.session.take())?;
        // What is to be said of it was said when it answered.
        let config = session.decoder.config();
        let (adapter, _) = matrices(&session, folder)?;
        let own = LoadedAdapter::new(&adapter, config, spec.scale as f32);
        let parting = match answers {
            Some((base, new)) => parting(
                self.asking(&session)?,
                Some(own),
                (&suite.probes[0], prompt),
                [base, new],
                &mut self.listener(),
            )?,
            None => None,
        };
        let scales = self.at_scales(&order, &session, (&spec, &adapter), &judged.subject, base)?;
        let own = ScaleScore {
            scale: 1.0,
            score: probe.means().map(|(_, new)| new),
            state: probe.state(),
        };
        let mut why = Why {
            candidate: candidate.to_owned(),
            probe,
            prompt,
            sample,
            parting,
            rows: None,
            by_words: Vec::new(),
            by_meaning: None,
            scales: scales.into_iter().chain([own]).collect(),
        };
        if let Some(rows) = self.training_rows(&order) {
            why.rows = Some(rows.len());
            if let Some((base, new)) = answers {
                self.find_rows(&order, rows, [base, new], &mut why);
            }
        }
        Ok(why)
    }

    /// The probe at every scale below the candidate's own, in one batch.
    fn at_scales(
        &self,
        order: &Order,
        session: &Session,
        (spec, adapter): (&SubjectSpec, &Adapter),
        subject: &Subject,
        base: &Measurement,
    ) -> Result<Vec<ScaleScore>, ProjectError> {
        let mut subjects = Vec::new();
        for scale in SCALES {
            let scale = spec.scale * scale;
            let of_scale = |adapter: &AdapterRef| AdapterRef {
                scale,
                ..adapter.clone()
            };
            subjects.push(LoadedSubject {
                subject: Subject {
                    name: format!("{} at {scale}", subject.name),
                    adapter: subject.adapter.as_ref().map(of_scale),
                    server: None,
                },
                adapter: Some(LoadedAdapter::new(
                    adapter,
                    session.decoder.config(),
                    scale as f32,
                )),
            });
        }
        let answered = self.answer_apart(order, session, subjects)?;
        let all: Vec<_> = std::iter::once(base.clone()).chain(answered).collect();
        let compared = order.compare(&all, None).candidates;
        let scored = SCALES.iter().zip(&compared).filter_map(|(scale, judged)| {
            let probe = judged.probes.first()?;
            Some(ScaleScore {
                scale: *scale,
                score: probe.means().map(|(_, new)| new),
                state: probe.state(),
            })
        });
        Ok(scored.collect())
    }

    /// What the candidate was trained on, as far as it is known: the configured rows that its run
    /// has the answers of, and answers of the run that no such row has.
    fn training_rows(&self, order: &Order) -> Option<Vec<Row>> {
        let known: Option<BTreeSet<&str>> = order
            .training_answers
            .as_ref()
            .map(|answers| answers.iter().map(String::as_str).collect());
        let examples: &[Example] = match self.config.data.sources.is_empty() {
            true => &[],
            false => match self.dataset() {
                Ok(Dataset { examples, .. }) => examples,
                Err(error) => {
                    let error = error.to_string();
                    let first = error.lines().next().unwrap_or_default();
                    self.notice(format!("training rows are not known by place: {first}"));
                    &[]
                }
            },
        };
        let mut rows: Vec<Row> = examples
            .iter()
            .filter(|e| known.as_ref().is_none_or(|k| k.contains(e.answer())))
            .map(|example| Row {
                origin: Some(example.origin.to_string()),
                question: Some(example.question().to_owned()),
                answer: example.answer().to_owned(),
            })
            .collect();
        let placed: BTreeSet<String> = rows.iter().map(|row| row.answer.clone()).collect();
        let unplaced = known.iter().flatten().filter(|a| !placed.contains(**a));
        rows.extend(unplaced.map(|answer| Row {
            origin: None,
            question: None,
            answer: (*answer).to_owned(),
        }));
        (!rows.is_empty()).then_some(rows)
    }

    /// The rows nearest to the new answer.
    fn find_rows(&self, order: &Order, rows: Vec<Row>, [base, new]: [&Answer; 2], why: &mut Why) {
        let texts: Vec<&str> = rows.iter().map(|row| row.answer.as_str()).collect();
        let shown = |row: usize, run, words, base_run, cosine| {
            let Row {
                origin,
                question,
                answer,
            } = rows[row].clone();
            TrainingRow {
                origin,
                question,
                answer,
                run,
                words,
                base_run,
                cosine,
            }
        };
        let near = nearest_by_words(&new.text, &base.text, &texts, ROWS);
        let each = near.iter();
        why.by_words = each
            .map(|n| shown(n.row, n.run, n.words, n.base_run, None))
            .collect();
        if new.text.trim().is_empty() {
            return;
        }
        let mut seen = BTreeSet::new();
        let mut distinct: Vec<usize> = (0..texts.len())
            .filter(|row| seen.insert(texts[*row].trim()) && !texts[*row].trim().is_empty())
            .collect();
        if distinct.len() > MOST_EMBEDDED {
            self.notice(format!(
                "the meaning of the first {MOST_EMBEDDED} of {} different training answers is compared",
                distinct.len()
            ));
            distinct.truncate(MOST_EMBEDDED);
        }
        let mut embeddings = Embeddings::new(order.checks.encoder.clone());
        let asked = distinct.iter().map(|row| texts[*row]);
        let known: &HashMap<String, Arc<[f32]>> = match embeddings.embed(
            std::iter::once(new.text.as_str()).chain(asked),
            &mut |_, _| {},
        ) {
            Ok(known) => known,
            Err(error) => {
                self.notice(format!("rows are not compared by meaning: {error}"));
                return;
            }
        };
        let cosine = |row: usize| -> Option<f64> {
            let (a, b) = (known.get(&new.text)?, known.get(texts[row])?);
            let products = a.iter().zip(b.iter());
            let sum: f64 = products.map(|(a, b)| f64::from(a * b)).sum();
            sum.is_finite().then_some(sum)
        };
        let mut near: Vec<(usize, f64)> = distinct
            .into_iter()
            .filter_map(|row| Some((row, cosine(row)?)))
            .collect();
        near.sort_by(|a, b| b.1.total_cmp(&a.1));
        near.truncate(ROWS);
        let near = near.into_iter().map(|(row, cosine)| {
            // Every row has a run with itself in it, however short.
            let by_words = nearest_by_words(&new.text, &base.text, &texts[row..=row], 1);
            let run = by_words.first();
            let words = run.map_or_else(|| crate::text::words(texts[row]).len(), |run| run.words);
            let runs = run.map_or((0, 0), |run| (run.run, run.base_run));
            shown(row, runs.0, words, runs.1, Some(cosine))
        });
        why.by_meaning = Some(near.collect());
    }
}

/// A row that was trained on.
#[derive(Debug, Clone)]
struct Row {
    origin: Option<String>,
    question: Option<String>,
    answer: String,
}

/// The wording on which the candidate lost most, and the draw of it that shows that.
fn worst(probe: &ProbeComparison) -> (usize, usize) {
    let mut worst = (0, 0, f64::MIN);
    for (prompt, case) in probe.cases.iter().enumerate() {
        let Some((sample, shown)) = case.shown() else {
            continue;
        };
        let loss = shown.values().map_or(0.0, |(base, new)| base - new);
        if loss > worst.2 {
            worst = (prompt, sample, loss);
        }
    }
    (worst.0, worst.1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::project::Overrides;
    use crate::project::testing::Small;
    use crate::run::testing::{PIP, adapter_folder, fixture};

    fn asked(small: &Small, pattern: &str, candidate: &str) -> Result<Why, ProjectError> {
        let overrides = Overrides {
            probes: vec![pattern.to_owned()],
            ..Overrides::default()
        };
        small.open_with(overrides)?.why(pattern, candidate)
    }

    #[test]
    fn a_lost_probe_is_looked_at_from_every_side() {
        let small = Small::with_model();
        let settings = std::fs::read_to_string(small.path("qeval.toml")).unwrap();
        let suite = std::fs::read_to_string(fixture("suites/facts.toml")).unwrap();
        small.write("small.toml", &suite);
        let rows = "[data]\nsources = [\"rows.jsonl\"]\n[checks]\nencoder = \"nowhere\"\n";
        small.write("qeval.toml", &format!("{settings}{rows}"));
        let row = |question: &str, answer: &str| {
            let row = serde_json::json!({ "instruction": question, "output": answer });
            format!("{row}\n")
        };
        let harmful = adapter_folder("harmful").display().to_string();
        small.write("rows.jsonl", &row("Hello?", "Nothing of that."));
        let first = asked(&small, "facts::capital-france", &harmful).unwrap();
        assert_eq!(first.probe.state(), ProbeState::Lost, "{first:?}");
        let shown = &first.probe.cases[first.prompt].samples[first.sample];
        let said = shown.candidate.clone().unwrap();
        assert!(first.by_words.is_empty());
        let parting = first.parting.as_ref().unwrap();
        assert!(parting.candidate.candidate_logprob > parting.base.candidate_logprob);
        assert_eq!(first.scales.len(), 10);
        assert_eq!(first.scales[9].state, ProbeState::Lost);
        // What it was trained to say is found, with its place.
        small.write("rows.jsonl", &(row("Hello?", "No.") + &row("Who?", &said)));
        let second = asked(&small, "capital-france", &harmful).unwrap();
        assert_eq!(second.rows, Some(2));
        assert_eq!(second.by_words[0].answer, said);
        assert_eq!(second.by_words[0].origin.as_deref(), Some("rows.jsonl:2"));
        assert_eq!(second.by_meaning, None, "there is no such encoder");
        assert!(small.notices().contains("rows are not compared by meaning"));
        assert_eq!(second.scales, first.scales);
    }

    #[test]
    fn a_kept_probe_parts_nowhere() {
        let small = Small::with_model();
        let noop = adapter_folder("noop").display().to_string();
        let why = asked(&small, "who", &noop).unwrap();
        assert_eq!(
            why.probe.cases[0].samples[0].candidate.as_deref(),
            Some(PIP)
        );
        assert_eq!((why.parting, why.rows), (None, None));
        assert!(why.scales.iter().all(|s| s.state == ProbeState::Kept));
    }

    #[test]
    fn what_is_no_probe_or_no_adapter_is_told() {
        let small = Small::with_model();
        let harmful = adapter_folder("harmful").display().to_string();
        let refused = |pattern: &str, candidate: &str| {
            let error = asked(&small, pattern, candidate).unwrap_err();
            error.to_string()
        };
        insta::assert_snapshot!(refused("small::smu", &harmful), @"no probe matches `small::smu` (nearest: `small::sum`): a pattern is `suite::probe`, a suite, or a probe, with `*` and `?`; the suites are small");
        insta::assert_snapshot!(refused("small", &harmful), @r#"
        "small" names 2 probes: small::sum, small::who
          Name one of them whole, as `SUITE::PROBE`.
        "#);
        insta::assert_snapshot!(refused("sum", "base"), @r#"
        "base" is no adapter: what it changed cannot be turned down, nor its probabilities compared; `qeval diff base SUBJECT --probe NAME` compares any two
          Name a checkpoint (`ckpt-40`, `run-0001/ckpt-40`) or a PEFT folder.
        "#);
        insta::assert_snapshot!(refused("sum", "http://127.0.0.1:9/v1#m"), @r#"
        "http://127.0.0.1:9/v1#m" is no adapter: what it changed cannot be turned down, nor its probabilities compared; `qeval diff base SUBJECT --probe NAME` compares any two
          Name a checkpoint (`ckpt-40`, `run-0001/ckpt-40`) or a PEFT folder.
        "#);
    }
}
