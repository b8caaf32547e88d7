//! What a judge is asked about an answer, whoever it is: one statement, twice, with its two replies
//! in either order.

/// Replies that count as yes and as no.
pub(super) const YES: [&str; 2] = ["Yes", "yes"];
pub(super) const NO: [&str; 2] = ["No", "no"];
/// What a judge is told first.
pub(super) const SYSTEM: &str = "You check answers. You reply with one word.";

/// An answer to be judged.
#[derive(Debug, Clone, PartialEq)]
pub struct RubricQuestion {
    /// What was asked.
    pub prompt: String,
    /// What was answered.
    pub answer: String,
    /// What should be true of it.
    pub rubric: String,
}

impl RubricQuestion {
    /// The question put to the judge.
    pub(super) fn question(&self, yes_first: bool) -> String {
        let replies = if yes_first { "yes or no" } else { "no or yes" };
        format!(
            "Question:\n{}\n\nAnswer:\n{}\n\nStatement: {}\n\nIs the statement true? Reply with {replies}.",
            self.prompt.trim(),
            self.answer.trim(),
            self.rubric.trim()
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_orders_ask_the_same() {
        let ask = RubricQuestion {
            prompt: "What is 2 + 2?\n".into(),
            answer: "4".into(),
            rubric: "The answer is 4.".into(),
        };
        insta::assert_snapshot!(ask.question(false), @r"
        Question:
        What is 2 + 2?

        Answer:
        4

        Statement: The answer is 4.

        Is the statement true? Reply with no or yes.
        ");
        assert_eq!(
            ask.question(true),
            ask.question(false).replace("no or yes", "yes or no")
        );
    }
}
