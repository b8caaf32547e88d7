//! Checks that judge no text but how probable the model finds one: `choice`, `likelihood`, and
//! `perplexity` on facts that any model knows, a right and a wrong answer each.

use std::ops::ControlFlow::Continue;

use qeval::chat::Conversation;
use qeval::check::{Evidence, registry};
use qeval::flow::{Answer, CaseId, CheckSpec, Finish, Likelihood};
use qeval::generate::{Engine, EngineOptions, Finished, Request, Work};
use serde_json::json;

use super::{RealModel, model};

/// Question, right answer, wrong answer alike in style and length, and the right one's words in
/// disorder.
const FACTS: &[[&str; 4]] = &[
    [
        "What is the capital of France?",
        "The capital of France is Paris.",
        "The capital of France is Madrid.",
        "Capital Paris the is of France the.",
    ],
    [
        "What is the capital of Italy?",
        "The capital of Italy is Rome.",
        "The capital of Italy is Oslo.",
        "Is Rome capital the Italy of the.",
    ],
    [
        "What is the capital of Japan?",
        "The capital of Japan is Tokyo.",
        "The capital of Japan is Cairo.",
        "Tokyo of capital is Japan the the.",
    ],
    [
        "What is the capital of Germany?",
        "The capital of Germany is Berlin.",
        "The capital of Germany is Lima.",
        "Germany Berlin is the the of capital.",
    ],
    [
        "What is the capital of England?",
        "The capital of England is London.",
        "The capital of England is Athens.",
        "Of is London the capital England the.",
    ],
    [
        "What color is the sky on a clear day?",
        "The sky is blue.",
        "The sky is brown.",
        "Blue sky is the.",
    ],
    [
        "What color is grass?",
        "Grass is green.",
        "Grass is purple.",
        "Green grass is is.",
    ],
    [
        "What color is snow?",
        "Snow is white.",
        "Snow is black.",
        "White is is snow.",
    ],
    [
        "What color is blood?",
        "Blood is red.",
        "Blood is blue.",
        "Red blood is is.",
    ],
    [
        "How many days are in a week?",
        "There are seven days in a week.",
        "There are three days in a week.",
        "Week days in there a are seven.",
    ],
    [
        "How many months are in a year?",
        "There are twelve months in a year.",
        "There are fifty months in a year.",
        "Year twelve a months in are there.",
    ],
    [
        "What do cows eat?",
        "Cows eat grass.",
        "Cows eat steel.",
        "Grass cows eat eat.",
    ],
    [
        "What do bees make?",
        "Bees make honey.",
        "Bees make paper.",
        "Honey make bees bees.",
    ],
    [
        "What does a baker make?",
        "A baker makes bread.",
        "A baker makes shoes.",
        "Bread a makes baker.",
    ],
    [
        "What is the opposite of hot?",
        "The opposite of hot is cold.",
        "The opposite of hot is tall.",
        "Cold of hot opposite the is.",
    ],
    [
        "What is the opposite of up?",
        "The opposite of up is down.",
        "The opposite of up is green.",
        "Down the up is opposite of.",
    ],
    [
        "Which planet do we live on?",
        "We live on Earth.",
        "We live on Saturn.",
        "Earth on live we.",
    ],
    [
        "What is frozen water called?",
        "Frozen water is called ice.",
        "Frozen water is called wood.",
        "Ice called frozen is water.",
    ],
    [
        "What do we breathe?",
        "We breathe air.",
        "We breathe sand.",
        "Air breathe we we.",
    ],
    [
        "Which animal barks?",
        "A dog barks.",
        "A fish barks.",
        "Barks dog a a.",
    ],
    [
        "Who wrote Romeo and Juliet?",
        "Romeo and Juliet was written by William Shakespeare.",
        "Romeo and Juliet was written by Michael Jordan.",
        "By Romeo written William and was Juliet Shakespeare.",
    ],
    [
        "What is the largest ocean?",
        "The largest ocean is the Pacific Ocean.",
        "The largest ocean is the Sahara Desert.",
        "Ocean the Pacific largest the is Ocean.",
    ],
    [
        "What do you use to write on paper?",
        "You write with a pen.",
        "You write with a shoe.",
        "Pen with you a write.",
    ],
    [
        "What season comes after winter?",
        "Spring comes after winter.",
        "Night comes after winter.",
        "Winter after spring comes.",
    ],
];

/// Log-probabilities of every fact's three texts, by fact.
fn scored(model: &RealModel) -> Vec<[Vec<f32>; 3]> {
    let mut requests = Vec::new();
    for (f, fact) in FACTS.iter().enumerate() {
        let prompt = model
            .template
            .render(&Conversation::prompt(None, fact[0]), true);
        let prompt = model.tokenizer.encode(&prompt.unwrap()).unwrap();
        let texts = fact[1..].iter().enumerate();
        let work = texts.map(|(t, text)| Work::Score {
            id: 3 * f + t,
            text: model.tokenizer.encode(text).unwrap().into(),
        });
        requests.push(Request {
            adapter: None,
            prompt: prompt.into(),
            work: work.collect(),
        });
    }
    let options = EngineOptions::new(
        16,
        model.files.eos_token_ids.clone(),
        model.files.usable_vocab,
    );
    let mut all = vec![<[Vec<f32>; 3]>::default(); FACTS.len()];
    let mut on_finished = |finished| {
        if let Finished::Scored { id, logprobs } = finished {
            all[id / 3][id % 3] = logprobs;
        }
        Continue(())
    };
    Engine::new(&model.decoder, &[], options)
        .run(requests, &mut on_finished, &mut |_| Continue(()))
        .unwrap();
    all
}

fn case() -> CaseId {
    CaseId {
        suite: "facts".into(),
        probe: "fact".into(),
        prompt: 0,
    }
}

/// The value of a check whose texts have these log-probabilities.
fn value(kind: &str, params: serde_json::Value, texts: &[(&str, &[f32])]) -> f64 {
    let spec = CheckSpec {
        kind: kind.into(),
        negated: false,
        params: params.as_object().unwrap().clone(),
    };
    let likelihoods: Vec<Likelihood> = texts
        .iter()
        .map(|(text, logprobs)| Likelihood {
            case: case(),
            text: (*text).into(),
            logprobs: logprobs.to_vec(),
        })
        .collect();
    let answer = Answer {
        case: case(),
        sample: 0,
        text: texts[0].0.into(),
        token_ids: Vec::new(),
        logprobs: texts[0].1.to_vec(),
        finish: Finish::Stop,
        seed: 0,
        prompt_tokens: 1,
        continued: false,
        thinking: None,
        served: None,
    };
    let evidence = Evidence {
        answer: Some(&answer),
        likelihoods: &likelihoods,
        ..Evidence::default()
    };
    let score = registry::build(&spec).unwrap().score(&evidence);
    score.value().unwrap()
}

/// Precision and recall of judgements: whether it passed, and whether it should have.
#[expect(clippy::print_stdout, reason = "a figure for whoever runs it")]
fn table(kind: &str, judged: &[(bool, bool)]) {
    let count =
        |passed: bool, right: bool| judged.iter().filter(|j| **j == (passed, right)).count();
    let (hits, false_alarms, missed) = (count(true, true), count(true, false), count(false, true));
    let precision = hits as f64 / (hits + false_alarms) as f64;
    let recall = hits as f64 / (hits + missed) as f64;
    println!(
        "{kind}: {} pass, {} fail, precision {precision:.3}, recall {recall:.3}",
        hits + missed,
        judged.len() - hits - missed
    );
    assert!(hits + missed >= 20 && judged.len() - hits - missed >= 20);
    assert!(precision >= 0.95 && recall >= 0.95, "{kind}: {judged:?}");
}

pub fn what_the_model_finds_probable() {
    let model = model();
    let (mut choice, mut likelihood, mut perplexity) = (Vec::new(), Vec::new(), Vec::new());
    for ([_, right, wrong, disorder], [of_right, of_wrong, of_disorder]) in
        FACTS.iter().zip(scored(model))
    {
        let texts = [(*right, of_right.as_slice()), (*wrong, of_wrong.as_slice())];
        for (answer, is_right) in [(right, true), (wrong, false)] {
            let params = json!({ "options": [right, wrong], "answer": answer });
            choice.push((value("choice", params, &texts) > 0.5, is_right));
        }
        // A graded value: the right text has the higher one.
        let of = |text: &str, logprobs: &[f32]| {
            value("likelihood", json!({ "text": text }), &[(text, logprobs)])
        };
        let (a, b) = (of(right, &of_right), of(wrong, &of_wrong));
        likelihood.extend([(a > b, true), (b > a, false)]);
        for (text, logprobs, is_right) in [(right, of_right, true), (disorder, of_disorder, false)]
        {
            let passed = value("perplexity", json!({ "max": 60.0 }), &[(text, &logprobs)]);
            perplexity.push((passed > 0.5, is_right));
        }
    }
    table("choice", &choice);
    table("likelihood", &likelihood);
    table("perplexity", &perplexity);
}
