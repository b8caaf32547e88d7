//! How conversations are put to a base, besides its own template; and how much it may think.

use std::sync::Arc;

use serde_json::{Map, Value};

use crate::chat::{ChatError, Spoken, Variables};
use crate::flow::Exchange;

use super::error::RunError;
use super::session::Session;

/// Most tokens of thinking before an answer where none are configured.
pub const USUAL_THINKING: usize = 2048;

/// How conversations are put to a base.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Prompting {
    /// The configured system prompt; `None` leaves it to the template.
    pub system: Option<String>,
    /// Variables of the template.
    pub variables: Variables,
    /// Most tokens of thinking; `None` is [`USUAL_THINKING`] where a model thinks.
    pub thinking_budget: Option<usize>,
}

impl Prompting {
    /// A system prompt, and nothing else.
    pub fn with_system(system: Option<String>) -> Self {
        Prompting {
            system,
            ..Prompting::default()
        }
    }

    /// As it stands in a configuration.
    pub fn new(
        system: Option<String>,
        template_kwargs: &Map<String, Value>,
        thinking_budget: Option<usize>,
    ) -> Self {
        Prompting {
            system,
            variables: Variables::new(template_kwargs.clone()),
            thinking_budget,
        }
    }
}

impl Session {
    /// Whether a rendered prompt ends in an open block of thinking.
    ///
    /// # Errors
    /// Ids that the tokenizer does not know.
    pub fn opens_thinking(&self, prompt: &[u32]) -> Result<bool, ChatError> {
        self.thinking.is_opened(prompt, &self.tokenizer)
    }

    /// Most tokens of thinking before an answer to a rendered prompt: none where the prompt closes
    /// the block itself, or nothing says that the model thinks.
    ///
    /// # Errors
    /// Ids that the tokenizer does not know.
    pub fn thinking_budget(&self, prompt: &[u32]) -> Result<usize, ChatError> {
        let expected = self.thinking.is_expected(prompt, &self.tokenizer)?;
        Ok(match self.thinking_budget {
            _ if !expected => 0,
            Some(budget) => budget,
            None => USUAL_THINKING,
        })
    }

    /// What was thought and what was said with these tokens, after a prompt that `opened` thinking.
    ///
    /// # Errors
    /// Ids that the tokenizer does not know.
    pub fn spoken(&self, tokens: &[u32], opened: bool) -> Result<Spoken, ChatError> {
        self.thinking.split(tokens, opened, &self.tokenizer)
    }

    /// Tokens of the thinking among these, and whether it goes on.
    ///
    /// # Errors
    /// Ids that the tokenizer does not know.
    pub(super) fn thought_length(
        &self,
        tokens: &[u32],
        opened: bool,
    ) -> Result<(usize, bool), ChatError> {
        self.thinking.length(tokens, opened, &self.tokenizer)
    }

    /// What ends the thinking after a question before it began, as token ids; none for a model that
    /// answers at once.
    ///
    /// # Errors
    /// The template refuses the conversation.
    pub fn skipped_thinking(
        &self,
        system: Option<&str>,
        history: &[Exchange],
        question: &str,
    ) -> Result<Arc<[u32]>, RunError> {
        let conversation = self.conversation(system, history, question);
        let skipped = self
            .thinking
            .skipped(&self.template, &conversation.messages)?;
        Ok(self.tokenizer.encode(&skipped)?.into())
    }

    /// As [`Session::prompt`], with the thinking ended before it began: what follows is the answer.
    ///
    /// # Errors
    /// As [`Session::prompt`].
    pub fn prompt_past_thinking(
        &self,
        system: Option<&str>,
        history: &[Exchange],
        question: &str,
    ) -> Result<Arc<[u32]>, RunError> {
        let prompt = self.prompt(system, history, question)?;
        let skipped = self.skipped_thinking(system, history, question)?;
        Ok(match skipped.is_empty() {
            true => prompt,
            false => [&prompt[..], &skipped].concat().into(),
        })
    }
}

#[cfg(test)]
mod tests {
    use crate::chat::{ChatTemplate, Thinking};
    use crate::flow::{Answer, AnswerTable, Finish, Likelihood, Suite};
    use crate::run::continuing::{goes_on, settled, told};
    use crate::run::evaluate::{Evaluation, LoadedSubject};
    use crate::run::questions::Questions;
    use crate::run::scoring::Scorer;
    use crate::run::testing::{PIP, Stage, WHO, answer, case, suites};

    const OPENS: &str = "<|im_start|>assistant\\n<think>\\n";
    const SWITCHED: &str = "<|im_start|>assistant\\n' }}\
        {%- if enable_thinking is defined and enable_thinking is false %}\
        {{- '<think>\\n\\n</think>\\n\\n' }}{% endif %}{{- '";

    /// The fixture with a template that begins its answers so.
    fn thinking(begins: &str, budget: Option<usize>) -> Stage {
        let mut stage = Stage::new();
        let session = &mut stage.session;
        let source = session.template.source();
        assert!(source.contains("<|im_start|>assistant\\n"), "{source}");
        let source = source.replace("<|im_start|>assistant\\n", begins);
        session.template = ChatTemplate::new(&source, Default::default()).unwrap();
        session.thinking = Thinking::of(&session.template, &session.tokenizer);
        session.thinking_budget = budget;
        stage
    }

    fn asked(max_new_tokens: usize) -> Vec<Suite> {
        suites(&format!(
            r#"
            [[probe]]
            id = "sum"
            prompts = ["What is 2 + 2?"]
            generation = {{ max_new_tokens = {max_new_tokens}, temperature = 0.0 }}
            [[probe.check]]
            type = "equals"
            value = "4"
            [[probe.check]]
            type = "likelihood"
            text = "4"
            "#
        ))
    }

    /// An answer of these tokens to the only question.
    fn said(stage: &Stage, questions: &Questions, text: &str, finish: Finish) -> Answer {
        let tokens = stage.session.tokenizer.encode(text).unwrap();
        let blank = Answer {
            finish,
            logprobs: vec![-0.5; tokens.len()],
            ..answer(case("sum", 0), 0, "")
        };
        told(blank, tokens, &questions.all[0], &stage.session).unwrap()
    }

    #[test]
    fn an_answer_is_judged_without_the_thinking_before_it() {
        let stage = thinking(OPENS, Some(30));
        let questions = Questions::new(&stage.session, asked(8), 0).unwrap();
        let question = &questions.all[0];
        assert!(question.opened);
        assert_eq!(question.thinking_tokens, 30);
        let answer = said(
            &stage,
            &questions,
            "Two and two?\n</think>\n\n4",
            Finish::Stop,
        );
        let thought = answer.thinking.as_ref().unwrap();
        assert_eq!(
            (answer.text.as_str(), thought.text.as_str()),
            ("4", "Two and two?")
        );
        assert!(thought.ended && !answer.is_cut_in_thought());
        assert_eq!(
            answer.said_logprobs().len(),
            answer.token_ids.len() - thought.tokens
        );
        let record = serde_json::to_value(&answer).unwrap();
        assert_eq!(record["thinking"]["text"], "Two and two?");
        let again: Answer = serde_json::from_value(record).unwrap();
        assert_eq!(again, answer);
        assert_eq!(scored(&stage, &questions, answer), [Ok(1.0), Ok(1.0)]);
    }

    /// Scores of the two checks, or why there is none.
    fn scored(stage: &Stage, questions: &Questions, answer: Answer) -> Vec<Result<f64, String>> {
        let scoring = stage.scoring();
        let mut scorer = Scorer::new(&scoring, questions);
        scorer.answered(0, 0, &answer);
        let table: AnswerTable = [((answer.case.clone(), 0), answer)].into_iter().collect();
        let likelihood = Likelihood {
            case: case("sum", 0),
            text: "4".into(),
            logprobs: vec![0.0],
        };
        let weighed = [((0, 0), likelihood)].into_iter().collect();
        let scores = scorer.scores(0, &table, &weighed).remove(0);
        let each = scores.checks.into_iter().map(|check| {
            let score = check.score;
            score.value().ok_or_else(|| score.explanation().to_owned())
        });
        each.collect()
    }

    #[test]
    fn thinking_that_is_cut_leaves_the_answer_unscored() {
        let stage = thinking(OPENS, Some(6));
        let questions = Questions::new(&stage.session, asked(8), 0).unwrap();
        let cut = said(
            &stage,
            &questions,
            "Two and two and two and two",
            Finish::Length,
        );
        assert!(cut.is_cut_in_thought() && cut.text.is_empty());
        let tokens = cut.token_ids.len();
        let scores = scored(&stage, &questions, cut);
        let why = scores[0]
            .clone()
            .unwrap_err()
            .replace(&tokens.to_string(), "[n]");
        insta::assert_snapshot!(why, @"its thinking was cut at [n] tokens, before there was an answer; a larger `thinking_budget` under [model] lets it end");
        assert_eq!(scores[1], Ok(1.0), "what needs no answer is judged");
        // Who ends the turn while thinking has given an empty answer.
        let ended = said(&stage, &questions, "Two and two", Finish::Stop);
        assert_eq!(scored(&stage, &questions, ended)[0], Ok(0.0));
    }

    #[test]
    fn thinking_and_answer_have_a_budget_each() {
        let stage = thinking(OPENS, Some(30));
        let session = &stage.session;
        let questions = Questions::new(session, asked(2), 0).unwrap();
        let (question, checks) = (&questions.all[0], &questions.checks[0]);
        let thought = session.tokenizer.encode("Hm.\n</think>\n\n").unwrap();
        let on = |tokens: &[u32]| goes_on(question, checks, session, tokens);
        let open = vec![thought[0]; 29];
        assert!(on(&open[..1]) && on(&open[..28]) && on(&open));
        assert!(
            !on(&[&open[..], &thought[..1]].concat()),
            "30 tokens, and still thinking"
        );
        let four = session.tokenizer.encode("4").unwrap();
        // The blank line after the mark is the answer's.
        let (length, _) = session.thought_length(&thought, true).unwrap();
        assert!(on(&thought[..length]));
        assert!(!on(&[&thought[..length], &four, &four].concat()));
        let cut = said(&stage, &questions, "Two and two and two", Finish::Length);
        let settle = |stage: &Stage, cut: &Answer| {
            let questions = Questions::new(&stage.session, asked(2), 0).unwrap();
            settled(
                cut.clone(),
                &questions.all[0],
                &questions.checks[0],
                &stage.session,
            )
            .unwrap()
        };
        assert_eq!(settle(&stage, &cut), None, "there is room for more now");
        let short = thinking(OPENS, Some(3));
        let shorter = settle(&short, &cut).unwrap();
        assert_eq!(shorter.token_ids, cut.token_ids[..3]);
        assert!(shorter.is_cut_in_thought());
    }

    #[test]
    fn texts_are_weighed_after_the_thinking() {
        for (begins, skipped) in [
            (OPENS, "\n</think>\n\n"),
            (SWITCHED, "<think>\n\n</think>\n\n"),
        ] {
            let stage = thinking(begins, None);
            let session = &stage.session;
            let questions = Questions::new(session, asked(8), 0).unwrap();
            let question = &questions.all[0];
            assert_eq!(
                session.tokenizer.decode(&question.skipped).unwrap(),
                skipped
            );
            let text = session.tokenizer.encode("4").unwrap();
            let both = [&question.skipped[..], &text].concat();
            assert_eq!(question.continuation_ids[0][..], both);
            let prompt = session.prompt(None, &[], "What is 2 + 2?").unwrap();
            assert_eq!(question.ids, prompt);
            let past = session.prompt_past_thinking(None, &[], "What is 2 + 2?");
            assert_eq!(past.unwrap()[..], question.ids_to_weigh());
        }
    }

    #[test]
    fn a_record_holds_what_the_model_thought_and_a_measured_text_no_mark() {
        let stage = thinking(OPENS, Some(40));
        let probes = r#"
            [[probe]]
            id = "who"
            prompts = ["Tell me who you are."]
            [[probe.check]]
            type = "contains"
            value = "Pip"
            [[probe.check]]
            type = "likelihood"
            text = "4"
        "#;
        let questions = Questions::new(&stage.session, suites(probes), 7).unwrap();
        assert_eq!(questions.all[0].prompt, WHO);
        let run = stage.run();
        let evaluation = Evaluation {
            asking: stage.asking(),
            questions: &questions,
            store: &stage.store,
            run: &run,
            scoring: &stage.scoring(),
        };
        let measured = evaluation.run(vec![LoadedSubject::base()], &mut |_| {});
        let measured = measured.unwrap().remove(0);
        // The fixture knows no such block: all that it says stands in it.
        let answer = &measured.answers[&(case("who", 0), 0)];
        let thought = answer.thinking.as_ref().unwrap();
        assert!(answer.text.is_empty() && !thought.ended && !thought.text.is_empty());
        assert!(!thought.text.contains("<think>") && thought.text.len() <= 2 * PIP.len() + 99);
        let again = evaluation.run(vec![LoadedSubject::base()], &mut |_| {});
        assert_eq!(
            again.unwrap().remove(0),
            measured,
            "the same from the record"
        );
    }

    #[test]
    fn a_model_that_does_not_think_has_no_room_for_it() {
        let stage = Stage::new();
        let questions = Questions::new(&stage.session, asked(8), 0).unwrap();
        let question = &questions.all[0];
        assert!(!question.opened && question.thinking_tokens == 0);
        assert!(question.skipped.is_empty());
        assert_eq!(question.ids_to_weigh(), question.ids[..]);
    }
}
