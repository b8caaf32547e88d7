//! How long an answer may be: its budget, and more while a check cannot judge what was cut.
//!
//! A budget keeps an answer that rambles from costing much. One that works in steps needs more, and
//! where the budget cuts it, nothing can be said of it. So whenever an answer is as long as its
//! budget, or a multiple of it, its own checks are asked; if one says that it is cut
//! ([`crate::check::Check::is_cut`]), the answer goes on from its cache, up to [`MOST_BUDGETS`]
//! budgets. That depends on the answer and its checks alone: whose answer it is does not matter,
//! nor what else is in the batch, nor whether it was generated now or stands in a record.

use crate::chat::ChatError;
use crate::flow::{Answer, Finish, Thought};

use super::built_checks::ProbeChecks;
use super::questions::Question;
use super::session::Session;

/// Most tokens of an answer, in budgets (`max_new_tokens`).
pub const MOST_BUDGETS: usize = 4;

/// Most tokens of an answer with this budget where the context has so much room for it.
pub(super) fn most_tokens(budget: usize, room: usize) -> usize {
    budget.saturating_mul(MOST_BUDGETS).min(room).max(budget)
}

/// Whether an answer that has these tokens, and has not ended, goes on. Thinking has a budget of its
/// own; that of the answer begins after it.
pub(super) fn goes_on(
    question: &Question,
    checks: &ProbeChecks,
    session: &Session,
    tokens: &[u32],
) -> bool {
    // Where no thinking is expected, it is looked for at the budget alone: this runs at each token.
    if !question.opened
        && question.thinking_tokens == 0
        && !tokens
            .len()
            .is_multiple_of(question.generation.max_new_tokens)
    {
        return tokens.len() < question.most_tokens;
    }
    // What cannot be decoded is told when the answer is written down.
    let thought = session.thought_length(tokens, question.opened);
    let (thought, open) = thought.unwrap_or_default();
    if open {
        return tokens.len() < question.most_thinking();
    }
    let said = tokens.len() - thought;
    if said >= question.most_tokens {
        return false;
    }
    if said == 0 || !said.is_multiple_of(question.generation.max_new_tokens) {
        return true;
    }
    let text = session.tokenizer.decode(&tokens[thought..]);
    checks.is_cut(&text.unwrap_or_default())
}

/// What a recorded answer is under the question's checks as they are now: the answer as it stands,
/// its beginning where these checks can judge that, or `None` where they want more than there is
/// and it has to be asked again. So an answer is the same whichever checks an earlier run had, and
/// whichever budget for thinking.
///
/// # Errors
/// Tokens that the tokenizer does not know.
pub(super) fn settled(
    answer: Answer,
    question: &Question,
    checks: &ProbeChecks,
    session: &Session,
) -> Result<Option<Answer>, ChatError> {
    let cut_at = |length: usize, answer: Answer| {
        let tokens = answer.token_ids[..length].to_vec();
        let logprobs = answer.logprobs.iter().copied().take(length).collect();
        let cut = Answer {
            logprobs,
            finish: Finish::Length,
            ..answer
        };
        told(cut, tokens, question, session).map(Some)
    };
    let (thought, open) = session.thought_length(&answer.token_ids, question.opened)?;
    let most = question.most_thinking();
    if thought > most || open && answer.token_ids.len() >= most {
        return cut_at(most, answer);
    }
    if open && answer.finish == Finish::Length {
        return Ok(None);
    }
    let budget = question.generation.max_new_tokens;
    let said = answer.token_ids.len() - thought;
    let mut length = budget;
    while length <= said {
        let text = session
            .tokenizer
            .decode(&answer.token_ids[thought..][..length])?;
        if length >= question.most_tokens || !checks.is_cut(&text) {
            return cut_at(thought + length, answer);
        }
        length += budget;
    }
    let whole = answer.finish == Finish::Stop || said >= question.most_tokens;
    if !whole {
        return Ok(None);
    }
    let (tokens, continued) = (answer.token_ids.clone(), answer.continued);
    let answer = told(answer, tokens, question, session)?;
    Ok(Some(Answer {
        continued,
        ..answer
    }))
}

/// The answer of these tokens: its text, what was thought before it, and whether it went on beyond
/// its budget.
///
/// # Errors
/// Tokens that the tokenizer does not know.
pub(super) fn told(
    answer: Answer,
    tokens: Vec<u32>,
    question: &Question,
    session: &Session,
) -> Result<Answer, ChatError> {
    let budget = question.generation.max_new_tokens;
    let spoken = session.spoken(&tokens, question.opened)?;
    let said = tokens.len() - spoken.thinking_tokens;
    Ok(Answer {
        text: spoken.text,
        thinking: spoken.thinking.map(|text| Thought {
            text,
            tokens: spoken.thinking_tokens,
            ended: !spoken.open,
        }),
        // An answer that ends by itself at its budget was asked about there.
        continued: said > budget || said == budget && answer.finish == Finish::Stop,
        token_ids: tokens,
        ..answer
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::flow::{Measurement, RunEvent, Suite};
    use crate::record::{Answered, RunLock, read_record};
    use crate::run::evaluate::{Evaluation, LoadedSubject};
    use crate::run::questions::Questions;
    use crate::run::testing::{Heard, PIP, Stage, WHO, case, suites};

    /// One question with one check, and another beside it that is answered at length.
    fn probes(check: &str, budget: usize, temperature: f64) -> Vec<Suite> {
        let samples = if temperature > 0.0 { 2 } else { 1 };
        suites(&format!(
            r#"
            [[probe]]
            id = "who"
            prompts = ["{WHO}"]
            generation = {{ max_new_tokens = {budget}, temperature = {temperature}, samples = {samples} }}
            [[probe.check]]
            {check}
            [[probe]]
            id = "beside"
            prompts = ["What is 2 + 2?"]
            [[probe.check]]
            type = "contains"
            value = "4"
            "#
        ))
    }

    const NUMBER: &str = "type = \"number\"\nvalue = 4";
    const CONTAINS: &str = "type = \"contains\"\nvalue = \"Pip\"";

    fn measured(
        stage: &Stage,
        lock: &RunLock,
        suites: Vec<Suite>,
        on_event: &mut dyn FnMut(RunEvent),
    ) -> Measurement {
        let questions = Questions::new(&stage.session, suites, 7).unwrap();
        let evaluation = Evaluation {
            asking: stage.asking(),
            questions: &questions,
            store: &stage.store,
            run: lock,
            scoring: &stage.scoring(),
        };
        let mut measured = evaluation.run(vec![LoadedSubject::base()], on_event);
        measured.as_mut().unwrap().remove(0)
    }

    fn who(measurement: &Measurement, sample: usize) -> Answer {
        measurement.answers[&(case("who", 0), sample)].clone()
    }

    /// An answer of the base to the same question with as large a budget as it can want.
    fn uncut(stage: &Stage, temperature: f64, sample: usize) -> Answer {
        let roomy = probes(CONTAINS, 64, temperature);
        who(&measured(stage, &stage.run(), roomy, &mut |_| {}), sample)
    }

    #[test]
    fn what_a_check_calls_cut_goes_on_as_if_its_budget_had_been_larger() {
        let stage = Stage::new();
        for temperature in [0.0, 0.9] {
            for sample in 0..if temperature > 0.0 { 2 } else { 1 } {
                let whole = uncut(&stage, temperature, sample);
                let budget = whole.token_ids.len().div_ceil(3).max(2);
                let asked = probes(NUMBER, budget, temperature);
                let said = who(&measured(&stage, &stage.run(), asked, &mut |_| {}), sample);
                assert!(said.token_ids.len() > budget && said.continued);
                assert_eq!(
                    said,
                    Answer {
                        continued: true,
                        ..whole
                    }
                );
            }
        }
    }

    #[test]
    fn an_answer_has_four_budgets_and_no_more() {
        let stage = Stage::new();
        let whole = uncut(&stage, 0.0, 0);
        assert!(whole.token_ids.len() > 4, "{PIP}");
        let said = who(
            &measured(&stage, &stage.run(), probes(NUMBER, 1, 0.0), &mut |_| {}),
            0,
        );
        assert_eq!(said.token_ids, whole.token_ids[..4]);
        assert_eq!((said.finish, said.continued), (Finish::Length, true));
        for (budget, room, most) in [(60, 1000, 240), (60, 100, 100), (60, 60, 60)] {
            assert_eq!(most_tokens(budget, room), most);
        }
    }

    #[test]
    fn what_a_check_can_judge_ends_at_its_budget() {
        let stage = Stage::new();
        let whole = uncut(&stage, 0.0, 0);
        let said = who(
            &measured(&stage, &stage.run(), probes(CONTAINS, 3, 0.0), &mut |_| {}),
            0,
        );
        assert_eq!(said.token_ids, whole.token_ids[..3]);
        assert_eq!((said.finish, said.continued), (Finish::Length, false));
    }

    /// A version that threw cut answers away left them in its records.
    #[test]
    fn a_recorded_answer_that_is_cut_is_asked_again_and_kept_whole() {
        let stage = Stage::new();
        let lock = stage.run();
        let asked = || probes(NUMBER, 3, 0.0);
        let first = measured(&stage, &lock, asked(), &mut |_| {});
        let path = lock.run().record_of("base").unwrap().unwrap().path;
        let place = (case("who", 0), 0);
        let key = read_record(&path).unwrap().answers[&place].key.clone();
        let whole = who(&first, 0);
        let old = Answer {
            text: stage
                .session
                .tokenizer
                .decode(&whole.token_ids[..3])
                .unwrap(),
            token_ids: whole.token_ids[..3].to_vec(),
            logprobs: whole.logprobs[..3].to_vec(),
            finish: Finish::Length,
            continued: false,
            thinking: None,
            ..whole.clone()
        };
        let line = serde_json::json!({"answered": Answered { key, answer: old, at: None }});
        let text = std::fs::read_to_string(&path).unwrap();
        assert!(
            !line.to_string().contains("continued"),
            "as older versions wrote it"
        );
        std::fs::write(&path, format!("{text}{line}\n")).unwrap();
        let heard = Heard::default();
        let again = measured(&stage, &lock, asked(), &mut |e| heard.hear(e));
        assert_eq!(
            heard.asked(),
            [(1, 2)],
            "one of two answers was asked again"
        );
        assert_eq!(who(&again, 0), whole);
        assert_eq!(read_record(&path).unwrap().answers[&place].answer, whole);
        let kept = measured(&stage, &lock, asked(), &mut |e| heard.hear(e));
        assert_eq!(heard.asked().len(), 1, "what is whole is not asked again");
        assert_eq!(kept, again);
    }

    /// Otherwise a base from a record would have more room than a candidate that is asked now.
    #[test]
    fn of_a_recorded_answer_counts_what_its_checks_would_have_let_it_say() {
        let stage = Stage::new();
        let long = measured(&stage, &stage.run(), probes(NUMBER, 3, 0.0), &mut |_| {});
        assert!(who(&long, 0).continued);
        let heard = Heard::default();
        let short = probes(CONTAINS, 3, 0.0);
        let short = measured(&stage, &stage.run(), short, &mut |e| heard.hear(e));
        assert_eq!(heard.asked(), [], "the record holds enough");
        let said = who(&short, 0);
        assert_eq!(said.token_ids, who(&long, 0).token_ids[..3]);
        assert_eq!((said.finish, said.continued), (Finish::Length, false));
    }
}
