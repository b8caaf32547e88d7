//! Checks and snapshots that compare meanings, with the real sentence encoder.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::Arc;

use qeval::check::{Evidence, registry};
use qeval::flow::{
    CaseComparison, CheckComparison, Expect, Golden, Probe, ProbeComparison, ProbeId, ProbeNoise,
    SampleComparison, Suite,
};
use qeval::run::{CheckSettings, JudgeSettings, Scoring, judge_goldens};
use qeval::snapshot::{Change, Context, Snapshots, Update};
use qeval::suite::{SuiteSource, load_unjudged};

type Embeddings = HashMap<String, Arc<[f32]>>;

fn suites(name: &str) -> Vec<Suite> {
    let file = PathBuf::from(env!("CARGO_MANIFEST_DIR"))
        .join("fixtures/goldens")
        .join(name);
    let source = SuiteSource::new(name, std::fs::read(file).unwrap());
    load_unjudged(&[source], &Default::default()).unwrap_or_else(|errors| panic!("{errors}"))
}

fn scoring(runtime: &tokio::runtime::Runtime) -> Scoring {
    let settings = CheckSettings {
        judge: JudgeSettings::default(),
        encoder: "all-minilm-l6-v2".into(),
        python: None,
        names: Vec::new(),
    };
    let executable = PathBuf::from(env!("CARGO_BIN_EXE_qeval"));
    Scoring::new(runtime.handle().clone(), executable, None, settings)
}

/// The references were written by hand and the golden answers by someone else; what this encoder
/// cannot judge stands in the documentation of `similar`.
pub fn similar_is_right_about_golden_answers() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let scoring = scoring(&runtime);
    let outcome = judge_goldens(&suites("similar.toml"), &scoring, None, &mut |_| {}).unwrap();
    let [line] = outcome.kinds.as_slice() else {
        panic!("{:?}", scoring.take_notices());
    };
    let (precision, recall) = (line.precision().unwrap(), line.recall().unwrap());
    println!(
        "similar: {} pass, {} fail, precision {precision:.3}, recall {recall:.3}",
        line.pass, line.fail,
    );
    assert!(line.pass >= 20 && line.fail >= 20);
    assert!(
        precision >= 0.95 && recall >= 0.95,
        "{:#?}",
        outcome.misjudged
    );
}

/// A probe that the candidate answered so, and the base always the same.
fn answered(probe: &Probe, text: &str, base: &str, embeddings: &Embeddings) -> ProbeComparison {
    let golden = |text: &str| Golden {
        answer: text.into(),
        expect: Expect::Pass,
        siblings: Vec::new(),
        training_answers: Vec::new(),
    };
    let evidence = Evidence {
        embeddings: Some(embeddings),
        ..Evidence::default()
    };
    let checks = probe.checks.iter().map(|spec| {
        let check = registry::build(spec).unwrap();
        let score = |text: &str| registry::score_golden(check.as_ref(), &golden(text), evidence);
        CheckComparison {
            kind: match spec.negated {
                true => format!("not-{}", spec.kind),
                false => spec.kind.clone(),
            },
            base: score(base),
            candidate: score(text),
        }
    });
    ProbeComparison {
        id: ProbeId {
            suite: "paraphrase".into(),
            probe: probe.id.clone(),
        },
        critical: false,
        digest: "0123456789abcdef".into(),
        cases: vec![CaseComparison {
            prompt: probe.prompts[0].clone(),
            samples: vec![SampleComparison {
                base: Some(base.into()),
                candidate: Some(text.into()),
                checks: checks.collect(),
                continued: false,
                further: false,
                base_thinking: None,
                candidate_thinking: None,
            }],
            drift: None,
        }],
        noise: Some(ProbeNoise {
            score: 0.0,
            text: 0.2,
        }),
    }
}

pub fn a_paraphrase_keeps_its_snapshot_and_a_wrong_answer_does_not() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let scoring = scoring(&runtime);
    let suites = suites("paraphrase.toml");
    let probes = &suites[0].probes;
    assert_eq!(probes.len(), 20);
    let (mut kept, mut contested) = (0, 0);
    for probe in probes {
        // The accepted answer is the first accepted reference.
        let similar = probe.checks.iter().find(|c| c.kind == "similar").unwrap();
        let accepted = similar.params["accepted"][0].as_str().unwrap();
        let of = |expect| {
            let golden = probe.goldens.iter().find(|g| g.expect == expect);
            golden.unwrap().answer.as_str()
        };
        let (paraphrase, wrong) = (of(Expect::Pass), of(Expect::Fail));
        let mut texts: Vec<String> = [accepted, paraphrase, wrong].map(str::to_owned).to_vec();
        for check in &probe.checks {
            texts.extend(registry::build(check).unwrap().needs().embeddings);
        }
        let embeddings = scoring.embed(&texts).unwrap();
        let folder = tempfile::tempdir().unwrap();
        let snapshots = Snapshots::at(folder.path());
        let before = answered(probe, accepted, accepted, &embeddings);
        let always = Update::always();
        snapshots
            .assert(&before, &Context::default(), always)
            .unwrap();
        let change = |text| {
            let now = answered(probe, text, accepted, &embeddings);
            snapshots.change(&now).unwrap().unwrap()
        };
        assert_eq!(change(accepted), Change::None);
        let (reworded, contradicted) = (change(paraphrase), change(wrong));
        kept += usize::from(reworded.is_accepted());
        contested += usize::from(!contradicted.is_accepted());
        if !reworded.is_accepted() || contradicted.is_accepted() {
            println!("{}: {reworded:?}; {contradicted:?}", probe.id);
        }
    }
    println!("{kept} of 20 paraphrases kept, {contested} of 20 wrong answers contested");
    assert_eq!((kept, contested), (20, 20));
}
