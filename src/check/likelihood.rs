//! `likelihood` and `choice`: how probable the model finds given texts as its answer. No answer
//! is generated: one forward pass a text, and a graded value instead of a yes or no, so that
//! small losses show.

use crate::flow::{Likelihood, Score};
use crate::text::{ellipsize, nearest};

use super::error::CheckError;
use super::evidence::{Check, Evidence, Needs};
use super::params::Params;

/// `likelihood`.
///
/// | parameter | default | |
/// |---|---|---|
/// | `text` | required | the expected answer |
/// | `normalize` | `"tokens"` | `"tokens"` or `"bytes"`: what the mean is taken over |
///
/// With log-probabilities l_1..l_n of the text's n tokens (nats, temperature 1, end of turn not
/// counted), the value is `exp((l_1 + .. + l_n) / n)`: the geometric mean of the tokens'
/// probabilities, 1 over the perplexity, in [0, 1]. With `"bytes"` the sum is divided by the
/// text's UTF-8 bytes instead, which compares across tokenizers but is nearer to 1.
#[derive(Debug)]
struct TextLikelihood {
    text: String,
    normalize: &'static str,
}

/// Builds `likelihood`.
pub(super) fn build(mut params: Params<'_>) -> Result<Box<dyn Check>, CheckError> {
    let text = params.string("text");
    let normalize = params.word("normalize", &["tokens", "bytes"]);
    params.finish()?;
    Ok(Box::new(TextLikelihood { text, normalize }))
}

/// Why a likelihood cannot be used; `None` when it can.
fn unusable(likelihood: &Likelihood) -> Option<String> {
    let text = ellipsize(&likelihood.text, 40);
    if likelihood.logprobs.is_empty() {
        return Some(format!("\"{text}\" has no tokens"));
    }
    let wrong = |l: &&f32| l.is_nan() || **l == f32::INFINITY;
    let wrong = likelihood.logprobs.iter().find(wrong)?;
    Some(format!("the log-likelihood of \"{text}\" is {wrong}"))
}

impl Check for TextLikelihood {
    fn needs(&self) -> Needs {
        Needs {
            continuations: vec![self.text.clone()],
            ..Needs::default()
        }
    }

    fn score(&self, evidence: &Evidence<'_>) -> Score {
        let Some(likelihood) = evidence.likelihoods.first() else {
            return Score::unscored("the likelihood was not measured");
        };
        if let Some(reason) = unusable(likelihood) {
            return Score::unscored(reason);
        }
        let (mean, unit) = match self.normalize {
            "bytes" => (likelihood.per_byte(), "byte"),
            _ => (
                likelihood.total() / likelihood.logprobs.len() as f64,
                "token",
            ),
        };
        let value = mean.exp().clamp(0.0, 1.0);
        Score::Scored {
            value,
            evidence: format!(
                "\"{}\" has probability {value:.3} per {unit} ({:.2} nats in all)",
                ellipsize(&self.text, 60),
                likelihood.total()
            ),
        }
    }
}

/// `choice`.
///
/// | parameter | default | |
/// |---|---|---|
/// | `options` | required | two or more texts, one of them right |
/// | `answer` | required | the right one, written as in `options` |
/// | `normalize` | `"none"` | `"none"` or `"bytes"` |
///
/// With L_i the sum of the log-probabilities of option i's tokens, the value is the probability
/// of the right option r among the options: `exp(L_r) / sum_i exp(L_i)`. With `"bytes"` each L_i
/// is divided by the option's UTF-8 bytes first, for options of unlike length; the value is then
/// flatter. Guessing scores 1 over the number of options. Options should be alike in style and
/// length: a sentence that is odd as such is improbable whether or not it is right. A sentence that
/// a candidate was trained on is no option either: all of its probability stands in one wording,
/// while that of the right answer is spread over many, and it wins although the candidate never says
/// it.
#[derive(Debug)]
struct Choice {
    options: Vec<String>,
    right: usize,
    normalize: &'static str,
}

/// Builds `choice`.
pub(super) fn build_choice(mut params: Params<'_>) -> Result<Box<dyn Check>, CheckError> {
    let options = params.strings("options");
    let answer = params.string("answer");
    let normalize = params.word("normalize", &["none", "bytes"]);
    let rule = "`options` wants two or more different texts";
    if options.len() == 1 {
        params.refuse("options", "has one text only", rule);
    }
    let repeated = |(i, option): (usize, &String)| options[..i].contains(option);
    if let Some(twice) = options.iter().enumerate().find(|(i, o)| repeated((*i, o))) {
        params.refuse(
            "options",
            format!("has \"{}\" twice", ellipsize(twice.1, 40)),
            rule,
        );
    }
    let begins = |a: &String| {
        options
            .iter()
            .find(|b| a != *b && b.starts_with(a.as_str()))
    };
    if normalize == "none"
        && let Some((short, long)) = options.iter().find_map(|a| Some((a, begins(a)?)))
    {
        params.refuse(
            "options",
            format!(
                "has \"{}\", with which \"{}\" begins",
                ellipsize(short, 40),
                ellipsize(long, 40)
            ),
            "the end of an option is not counted, so one that begins another is always at least as \
             probable: end both in a full stop, or set normalize = \"bytes\"",
        );
    }
    let right = options.iter().position(|option| *option == answer);
    if right.is_none() && !options.is_empty() && !answer.is_empty() {
        let near = nearest(&answer, options.iter().map(String::as_str));
        let near = near.map_or(String::new(), |near| format!("; \"{near}\" is"));
        params.refuse(
            "answer",
            format!(
                "is \"{}\", which is not among the options{near}",
                ellipsize(&answer, 40)
            ),
            "`answer` is written exactly as in `options`",
        );
    }
    params.finish()?;
    Ok(Box::new(Choice {
        options,
        right: right.unwrap_or_default(),
        normalize,
    }))
}

impl Check for Choice {
    fn needs(&self) -> Needs {
        Needs {
            continuations: self.options.clone(),
            ..Needs::default()
        }
    }

    fn score(&self, evidence: &Evidence<'_>) -> Score {
        let likelihoods = evidence.likelihoods;
        if likelihoods.len() != self.options.len() {
            return Score::unscored("the likelihoods of the options were not measured");
        }
        if let Some(reason) = likelihoods.iter().find_map(unusable) {
            return Score::unscored(reason);
        }
        let of = |l: &Likelihood| match self.normalize {
            "bytes" => l.per_byte(),
            _ => l.total(),
        };
        let logs: Vec<f64> = likelihoods.iter().map(of).collect();
        let highest = logs.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        if highest == f64::NEG_INFINITY {
            return Score::unscored("every option has probability 0");
        }
        // Subtracting the highest keeps exp() within range and changes no ratio.
        let weights: Vec<f64> = logs.iter().map(|l| (l - highest).exp()).collect();
        let all: f64 = weights.iter().sum();
        let mut order: Vec<usize> = (0..weights.len()).collect();
        order.sort_by(|a, b| weights[*b].total_cmp(&weights[*a]));
        let shown: Vec<String> = order
            .iter()
            .take(4)
            .map(|&i| {
                let mark = if i == self.right { " (right)" } else { "" };
                format!(
                    "\"{}\"{mark} {:.3}",
                    ellipsize(&self.options[i], 30),
                    weights[i] / all
                )
            })
            .collect();
        Score::Scored {
            value: weights[self.right] / all,
            evidence: shown.join(", "),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check::golden::tests::{check, refused};
    use crate::flow::CaseId;

    fn likelihood(text: &str, logprobs: &[f32]) -> Likelihood {
        let case = CaseId {
            suite: "s".into(),
            probe: "p".into(),
            prompt: 0,
        };
        Likelihood {
            case,
            text: text.into(),
            logprobs: logprobs.to_vec(),
        }
    }

    fn judged(kind: &str, params: &str, likelihoods: &[Likelihood]) -> Score {
        check(kind, params).score(&Evidence {
            likelihoods,
            ..Evidence::default()
        })
    }

    #[test]
    fn likelihood_is_the_geometric_mean_probability() {
        let of = |text: &str, normalize: &str, logprobs: &[f32]| {
            let params = format!(r#"{{"text": "{text}", "normalize": "{normalize}"}}"#);
            judged("likelihood", &params, &[likelihood(text, logprobs)]).value()
        };
        // python3 -c "import math; print(math.exp(-1), math.exp(-2/5), math.exp(-6/6))"
        for (text, normalize, logprobs, expected) in [
            ("Paris", "tokens", vec![0.0], 1.0),
            ("Paris", "tokens", vec![-1.0], 0.367_879_441),
            ("Paris", "tokens", vec![-0.5, -1.5], 0.367_879_441),
            ("Paris", "bytes", vec![-0.5, -1.5], 0.670_320_046),
            ("巴黎", "bytes", vec![-6.0], 0.367_879_441),
            ("巴黎", "tokens", vec![-6.0], 0.002_478_752),
            ("Paris", "tokens", vec![f32::NEG_INFINITY], 0.0),
            ("Paris", "tokens", vec![-0.0, -1e-9], 1.0),
        ] {
            let value = of(text, normalize, &logprobs).unwrap();
            assert!(
                (value - expected).abs() < 1e-6,
                "{text} {normalize} {logprobs:?}: {value}"
            );
        }
    }

    #[test]
    fn what_was_not_measured_is_unscored() {
        let text = r#"{"text": "Paris"}"#;
        assert_eq!(judged("likelihood", text, &[]).value(), None);
        assert_eq!(
            judged("likelihood", text, &[likelihood("Paris", &[])]).value(),
            None
        );
        assert_eq!(
            judged("likelihood", text, &[likelihood("Paris", &[f32::NAN])]).value(),
            None
        );
        assert_eq!(judged("not-likelihood", text, &[]).value(), None);
        let choice = r#"{"options": ["a", "b"], "answer": "a"}"#;
        assert_eq!(
            judged("choice", choice, &[likelihood("a", &[-1.0])]).value(),
            None
        );
        let zero = [f32::NEG_INFINITY];
        let none = [likelihood("a", &zero), likelihood("b", &zero)];
        assert_eq!(judged("choice", choice, &none).value(), None);
        let nan = [likelihood("a", &[-1.0]), likelihood("b", &[f32::NAN])];
        assert_eq!(judged("choice", choice, &nan).value(), None);
    }

    #[test]
    fn choice_is_the_probability_of_the_right_option() {
        let of = |normalize: &str, logs: [f32; 3]| {
            let params = format!(
                r#"{{"options": ["Paris", "Lyon", "里昂"], "answer": "Paris", "normalize": "{normalize}"}}"#
            );
            let measured = [
                likelihood("Paris", &[logs[0]]),
                likelihood("Lyon", &[logs[1] / 2.0, logs[1] / 2.0]),
                likelihood("里昂", &[logs[2]]),
            ];
            judged("choice", &params, &measured).value().unwrap()
        };
        // python3: e = [math.exp(x) for x in (a, b, c)]; e[0] / sum(e), with x / bytes (5, 4, 6)
        for (normalize, logs, expected) in [
            ("none", [-1.0, -1.0, -1.0], 1.0 / 3.0),
            ("none", [0.0, -50.0, -50.0], 1.0),
            ("none", [-50.0, 0.0, -50.0], 0.0),
            ("none", [-1.0, -2.0, -3.0], 0.665_240_956),
            ("none", [-1000.0, -1001.0, -1002.0], 0.665_240_956),
            ("none", [-1.0, f32::NEG_INFINITY, -1.0], 0.5),
            ("none", [f32::NEG_INFINITY, -1.0, -1.0], 0.0),
            ("bytes", [-5.0, -4.0, -6.0], 1.0 / 3.0),
            ("bytes", [-5.0, -8.0, -18.0], 0.665_240_956),
        ] {
            let value = of(normalize, logs);
            assert!(
                (value - expected).abs() < 1e-6,
                "{normalize} {logs:?}: {value}"
            );
        }
    }

    #[test]
    fn nothing_is_decoded_for_them() {
        let needs = check("choice", r#"{"options": ["a", "b"], "answer": "b"}"#).needs();
        assert!(!needs.answer);
        assert_eq!(needs.continuations, ["a", "b"]);
        assert!(!check("likelihood", r#"{"text": "a"}"#).needs().answer);
    }

    #[test]
    fn evidence_shows_the_probabilities() {
        let params = r#"{"options": ["Paris", "Lyon"], "answer": "Paris"}"#;
        let measured = [likelihood("Paris", &[-2.0]), likelihood("Lyon", &[-1.0])];
        insta::assert_snapshot!(judged("choice", params, &measured).explanation(), @r#""Lyon" 0.731, "Paris" (right) 0.269"#);
        let score = judged("likelihood", r#"{"text": "Paris"}"#, &measured[..1]);
        insta::assert_snapshot!(score.explanation(), @r#""Paris" has probability 0.135 per token (-2.00 nats in all)"#);
    }

    #[test]
    fn options_without_the_answer_are_refused() {
        insta::assert_snapshot!(
            [
                refused("choice", r#"{"options": ["Paris", "Lyon"], "answer": "paris"}"#),
                refused("choice", r#"{"options": ["Paris"], "answer": "Paris"}"#),
                refused("choice", r#"{"options": ["a", "b", "a"], "answer": "b"}"#),
                refused("choice", r#"{"answer": "b", "normalise": "bytes"}"#),
                refused("likelihood", r#"{"text": "", "normalize": "words"}"#),
            ]
            .join("\n"),
            @r#"
            check `choice`: `answer` is "paris", which is not among the options; "Paris" is (`answer` is written exactly as in `options`)
            check `choice`: `options` has one text only (`options` wants two or more different texts)
            check `choice`: `options` has "a" twice (`options` wants two or more different texts)
            check `choice`: 2 problems: missing parameter `options` (`options` wants a list of strings); unknown parameter `normalise` (this check takes options, answer, and normalize; nearest: `normalize`)
            check `likelihood`: 2 problems: `text` is empty (`text` wants text that can be found); `normalize` is "words" (`normalize` is one of "tokens", "bytes")
            "#
        );
    }
}
