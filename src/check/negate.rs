//! `not-`: the opposite of another check.

use crate::flow::Score;

use super::evidence::{Check, Evidence, Needs, Program};

/// Swaps pass and fail, and turns a graded value into 1 minus it. Unscored stays unscored: what
/// could not be judged is no pass. The evidence stays as it is, since it states what was seen.
pub(super) struct Negated(pub(super) Box<dyn Check>);

impl Check for Negated {
    fn needs(&self) -> Needs {
        self.0.needs()
    }

    fn program(&self, answer: &str) -> Option<Program> {
        self.0.program(answer)
    }

    fn is_cut(&self, answer: &str) -> bool {
        self.0.is_cut(answer)
    }

    fn score(&self, evidence: &Evidence<'_>) -> Score {
        match self.0.score(evidence) {
            Score::Scored { value, evidence } => Score::Scored {
                value: 1.0 - value,
                evidence,
            },
            unscored @ Score::Unscored { .. } => unscored,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Says(Score);

    impl Check for Says {
        fn needs(&self) -> Needs {
            Needs {
                training_answers: true,
                ..Needs::default()
            }
        }

        fn program(&self, answer: &str) -> Option<Program> {
            Some(Program {
                source: answer.into(),
                entry: "f".into(),
                cases: Vec::new(),
            })
        }

        fn is_cut(&self, answer: &str) -> bool {
            answer.ends_with("...")
        }

        fn score(&self, _: &Evidence<'_>) -> Score {
            self.0.clone()
        }
    }

    fn negated(score: Score) -> Score {
        Negated(Box::new(Says(score))).score(&Evidence::default())
    }

    #[test]
    fn pass_and_fail_swap_and_unscored_stays() {
        assert_eq!(negated(Score::pass("seen")), Score::fail("seen"));
        assert_eq!(negated(Score::fail("seen")), Score::pass("seen"));
        assert_eq!(negated(Score::unscored("why")), Score::unscored("why"));
        let graded = Score::Scored {
            value: 0.25,
            evidence: "seen".into(),
        };
        assert_eq!(negated(graded).value(), Some(0.75));
    }

    #[test]
    fn needs_cut_and_program_are_those_of_the_check() {
        let check = Negated(Box::new(Says(Score::pass(""))));
        assert!(check.needs().training_answers);
        assert!(check.is_cut("x...") && !check.is_cut("x."));
        assert_eq!(check.program("x").map(|p| p.source), Some("x".into()));
    }
}
