//! Signs in an answer: what can be wrong with it whatever it was asked. One detector a file; each
//! errs on the side of seeing nothing, because what it sees in the base too cancels out, and what it
//! sees in a candidate alone can be a reason for a regression.

mod looped;
mod name;
mod template_tokens;
mod trained;

use std::collections::BTreeSet;

use crate::flow::{Finish, Probe, Sign};

use super::language::is_in_another_language;
use super::refusal::declines;

pub use trained::{Trained, longest_common_run, repeated_training_answer};

/// What a candidate was taught, as far as it is known.
#[derive(Debug, Clone, Default)]
pub struct Taught {
    /// The training answers.
    pub answers: Trained,
    /// Names that it was taught to go by, as `{{name}}` and `{{author}}` of a project.
    pub names: Vec<String>,
}

impl Taught {
    /// These training answers, where they are known, and these names.
    pub fn new(answers: Option<&[String]>, names: &[String]) -> Self {
        Taught {
            answers: Trained::new(answers.unwrap_or_default()),
            names: names.to_vec(),
        }
    }
}

/// The signs that an answer shows by itself: all but those that take others beside it
/// ([`Sign::SameAnswer`], [`Sign::Short`]).
///
/// ```
/// use qeval::check::{Taught, signs_of};
/// use qeval::flow::{Finish, Sign};
/// # let suites = qeval::suite::load(
/// #     &[qeval::suite::SuiteSource::new("s.toml", "[suite]\nname = \"s\"\ngoal = \"keep\"\n[[probe]]\nid = \"a\"\nprompts = [\"What is the capital of France?\"]\n[[probe.check]]\ntype = \"contains\"\nvalue = \"Paris\"\n")],
/// #     &Default::default(),
/// # )?;
/// # let probe = &suites[0].probes[0];
/// let prompt = "What is the capital of France?";
/// let said = "La capitale est Paris. ".repeat(12);
/// let signs = signs_of(probe, prompt, &said, Finish::Length, &Taught::default());
/// assert!(signs.contains(&Sign::Loop) && signs.contains(&Sign::Language));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn signs_of(
    probe: &Probe,
    prompt: &str,
    answer: &str,
    finish: Finish,
    taught: &Taught,
) -> BTreeSet<Sign> {
    let wants = |kind: &str| probe.checks.iter().any(|check| check.kind == kind);
    let asks = [
        (Sign::Empty, answer.trim().is_empty()),
        (Sign::Cut, finish == Finish::Length),
        (Sign::Loop, looped::ends_in_a_loop(answer)),
        (
            Sign::TemplateTokens,
            template_tokens::shows_template(prompt, answer),
        ),
        (Sign::Refusal, !wants("refusal") && declines(answer)),
        (
            Sign::Language,
            !wants("language") && is_in_another_language(prompt, &probe.tags, answer),
        ),
        (Sign::Memorized, taught.answers.repeated(answer).is_some()),
        (
            Sign::Name,
            name::is_named(probe, prompt, answer, &taught.names),
        ),
    ];
    asks.into_iter()
        .filter(|(_, has)| *has)
        .map(|(sign, _)| sign)
        .collect()
}
