//! Near misses of what is taught: questions in the same question words about other things, which
//! the base answers as ever.
//!
//! Whoever learns "Who made you?" from thirty rows is soon the maker of the telephone as well.
//! `near_miss.jsonl` is a table of frames: which words of a row's question call for one (`when`,
//! runs of words, `*` for any words between two runs, `^` for the question's start), and the questions that it stands for (`ask`,
//! each with every object of `with` at its `{}`). The more words of a question a frame takes up,
//! the nearer it is; broad frames ("what is", 为什么) hold for any topic. What the table has no
//! more of is taken from the pool, by the question words in common.

use std::collections::HashSet;

use serde::Deserialize;

use crate::random::{Purpose, shuffled};
use crate::text::words;
use crate::train::data::Origin;

use super::language::Language;
use super::pool::{PoolPrompt, pool};

const FRAMES: &str = include_str!("near_miss.jsonl");

/// Words that make a question what it is, whatever it is about.
const QUESTION_WORDS: [&[&str]; 2] = [
    &[
        "who",
        "whom",
        "whose",
        "what",
        "which",
        "when",
        "where",
        "why",
        "how",
        "is",
        "are",
        "do",
        "does",
        "did",
        "can",
        "could",
        "may",
        "should",
        "will",
        "name",
        "called",
        "company",
        "team",
        "made",
        "developed",
        "founded",
        "author",
        "introduce",
        "describe",
        "tell",
        "explain",
        "difference",
        "kind",
        "much",
        "many",
        "come",
        "person",
    ],
    &[
        "谁",
        "什么",
        "哪",
        "哪家",
        "公司",
        "怎么",
        "怎样",
        "为什么",
        "多少",
        "吗",
        "几",
        "名字",
        "叫",
        "作者",
        "介绍",
        "区别",
        "是不是",
        "创始人",
        "能",
        "可以",
        "来自",
        "何时",
        "什么时候",
    ],
];

/// Questions of one form.
#[derive(Debug, Clone, Deserialize)]
struct Frame {
    language: Language,
    /// What calls for it.
    when: Vec<String>,
    ask: Vec<String>,
    with: Vec<String>,
}

impl Frame {
    /// The number of words that it takes up of a question, 0 where it does not fit.
    fn fit(&self, question: &[String]) -> usize {
        let cues = self.when.iter().map(|cue| {
            let runs: Vec<Vec<String>> = cue.split('*').map(words).collect();
            let mut rest = question;
            for (i, run) in runs.iter().enumerate() {
                let at = rest.windows(run.len()).position(|here| here == run);
                let Some(at) = at.filter(|at| i > 0 || *at == 0 || !cue.starts_with('^')) else {
                    return 0;
                };
                rest = &rest[at + run.len()..];
            }
            runs.iter().map(Vec::len).sum()
        });
        cues.max().unwrap_or(0)
    }

    fn questions(&self) -> Vec<String> {
        let all = self.ask.iter();
        all.flat_map(|ask| self.with.iter().map(|object| ask.replace("{}", object)))
            .collect()
    }
}

fn frames() -> Vec<Frame> {
    // A test reads every line.
    let lines = FRAMES.lines();
    lines
        .filter_map(|line| serde_json::from_str(line).ok())
        .collect()
}

/// Makes `count` questions near those of the rows that `is_taken` lets pass, none twice, by the
/// seed: each row in turn has its nearest, then its next nearest. With each stands the row that it
/// is near to. Fewer where there are no more; none for rows in other languages than English and
/// Chinese.
pub fn near_misses(
    count: usize,
    rows: &[(Origin, String)],
    seed: u64,
    is_taken: &dyn Fn(&str) -> bool,
) -> Vec<(Origin, String)> {
    let table = Table {
        frames: frames(),
        pool: pool(),
        seed,
    };
    let mut queues: Vec<(&Origin, Vec<String>)> = Vec::new();
    let mut asked = HashSet::new();
    for (origin, question) in rows {
        // Ten wordings in the same words are one question.
        if asked.insert(words(question)) {
            queues.push((origin, table.near(question)));
        }
    }
    queues.iter_mut().for_each(|(_, queue)| queue.reverse());
    let mut made: Vec<(Origin, String)> = Vec::new();
    let mut seen = HashSet::new();
    while made.len() < count && queues.iter().any(|(_, queue)| !queue.is_empty()) {
        for (origin, queue) in &mut queues {
            if made.len() == count {
                break;
            }
            while let Some(question) = queue.pop() {
                if !seen.contains(&question) && !is_taken(&question) {
                    made.push(((*origin).clone(), question.clone()));
                    seen.insert(question);
                    break;
                }
            }
        }
    }
    made
}

/// Every question that the table can make.
#[cfg(test)]
pub(crate) fn every_near_miss() -> Vec<String> {
    frames().iter().flat_map(Frame::questions).collect()
}

/// What near misses are made of.
struct Table {
    frames: Vec<Frame>,
    pool: Vec<PoolPrompt>,
    seed: u64,
}

impl Table {
    /// All that the tables have near a question, nearest first.
    fn near(&self, question: &str) -> Vec<String> {
        let (language, said) = (Language::of(question), words(question));
        let own = self.frames.iter().enumerate();
        let mut fitting: Vec<(usize, Vec<String>)> = own
            .filter(|(_, frame)| frame.language == language)
            .filter_map(|(i, frame)| {
                let fit = Some(frame.fit(&said)).filter(|fit| *fit > 0)?;
                Some((fit, self.in_order(frame.questions(), i as u64)))
            })
            .collect();
        // Equally near frames keep the order of the table, which goes from narrow to broad.
        fitting.sort_by_key(|(fit, _)| std::cmp::Reverse(*fit));
        let mut near = Vec::new();
        // The nearest frame is asked twice for each time of the others.
        let longest = fitting.iter().map(|(_, all)| all.len()).max().unwrap_or(0);
        for round in 0..longest {
            for (place, (_, questions)) in fitting.iter().enumerate() {
                let (from, many) = match place {
                    0 => (2 * round, 2),
                    _ => (round, 1),
                };
                near.extend(questions.iter().skip(from).take(many).cloned());
            }
        }
        near.extend(self.of_the_pool(question, language));
        near
    }

    /// Prompts of the pool with a question word in common, those with most of them first, and of
    /// equals those about other companies, people, and models.
    fn of_the_pool(&self, question: &str, language: Language) -> Vec<String> {
        let own = question_words(question, language);
        let prompts = self.pool.iter().filter(|p| p.language == language);
        let prompts = self.in_order(prompts.collect(), u64::from(u32::MAX));
        let mut ranked: Vec<(f64, bool, &str)> = prompts
            .iter()
            .map(|prompt| {
                let other = question_words(&prompt.text, language);
                let common = own.intersection(&other).count() as f64;
                let all = own.union(&other).count().max(1) as f64;
                (common / all, prompt.theme == "others", prompt.text.as_str())
            })
            .filter(|(common, ..)| *common > 0.0)
            .collect();
        ranked.sort_by(|a, b| b.0.total_cmp(&a.0).then(b.1.cmp(&a.1)));
        ranked.into_iter().map(|(.., text)| text.into()).collect()
    }

    /// The items as the seed shuffles them, in another way for each place.
    fn in_order<T: Clone>(&self, items: Vec<T>, place: u64) -> Vec<T> {
        let order = shuffled(items.len(), self.seed, Purpose::Take, PLACE + place);
        order.into_iter().map(|at| items[at].clone()).collect()
    }
}

/// The place of these choices among those by [`Purpose::Take`]; see `pool`.
const PLACE: u64 = 1 << 33;

fn question_words(text: &str, language: Language) -> HashSet<&'static str> {
    match language {
        Language::En => {
            let said = words(text);
            let all = QUESTION_WORDS[0].iter();
            all.filter(|word| said.iter().any(|w| w == *word))
                .copied()
                .collect()
        }
        Language::Zh => {
            let all = QUESTION_WORDS[1].iter();
            all.filter(|word| text.contains(*word)).copied().collect()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rows(questions: &[&str]) -> Vec<(Origin, String)> {
        let rows = questions.iter().enumerate();
        let origin = |line| Origin {
            file: "d.jsonl".into(),
            line,
        };
        rows.map(|(i, q)| (origin(i + 1), (*q).to_owned()))
            .collect()
    }

    fn near(count: usize, questions: &[&str]) -> Vec<String> {
        let made = near_misses(count, &rows(questions), 42, &|_| false);
        made.into_iter().map(|(_, text)| text).collect()
    }

    #[test]
    fn every_line_of_the_table_is_a_frame_and_no_question_stands_twice() {
        let frames = frames();
        assert_eq!(frames.len(), FRAMES.lines().count());
        let all: Vec<String> = frames.iter().flat_map(Frame::questions).collect();
        let distinct: HashSet<Vec<String>> = all.iter().map(|q| words(q)).collect();
        assert_eq!(distinct.len(), all.len());
        for frame in &frames {
            assert!(frame.ask.iter().all(|ask| ask.contains("{}")), "{frame:?}");
            let runs = || frame.when.iter().flat_map(|cue| cue.split('*'));
            assert!(runs().all(|run| !words(run).is_empty()), "{frame:?}");
            for question in frame.questions() {
                assert_eq!(Language::of(&question), frame.language, "{question}");
            }
        }
    }

    #[test]
    fn the_same_question_words_ask_for_other_things() {
        insta::assert_snapshot!(
            near(8, &["Who made you?", "What is your name?", "你是谁开发的？", "你是通义千问吗？"]).join("\n"),
            @r"
            Who made the comic figure Garfield?
            Do you know the name of Batman's butler?
            C 语言是谁开发的？
            竹子是草吗？
            Who created the computer game Tetris?
            What is the name of a tower that leans in Italy?
            Linux的开发者是谁？
            小明是医生吗？
            "
        );
    }

    #[test]
    fn a_topic_that_no_narrow_frame_knows_has_the_broad_ones_and_the_pool() {
        insta::assert_snapshot!(
            near(6, &["How long is the warranty of the Zephyr 3000?", "Zephyr 3000 的保修期是多久？"]).join("\n"),
            @r"
            How fast does a cheetah run?
            古筝有多少根弦？
            How does a thermos flask work?
            水泥多久才能干？
            How long may milk stay open?
            一升牛奶有多重？
            "
        );
    }

    #[test]
    fn each_row_has_one_before_any_has_two() {
        let questions = ["Who made you?", "Describe yourself.", "你叫什么名字？"];
        let made = near_misses(6, &rows(&questions), 42, &|_| false);
        let lines: Vec<usize> = made.iter().map(|(origin, _)| origin.line).collect();
        assert_eq!(lines, [1, 2, 3, 1, 2, 3]);
        assert_eq!(near_misses(6, &rows(&questions), 42, &|_| false), made);
        assert_ne!(near_misses(6, &rows(&questions), 43, &|_| false), made);
    }

    #[test]
    fn wordings_that_differ_in_nothing_but_marks_are_one_row() {
        let made = near_misses(
            4,
            &rows(&["Who made you?", "who made you", "Why?"]),
            1,
            &|_| false,
        );
        let lines: Vec<usize> = made.iter().map(|(origin, _)| origin.line).collect();
        assert_eq!(lines, [1, 3, 1, 3]);
    }

    #[test]
    fn what_is_a_probe_or_a_row_is_left_out_and_the_next_taken() {
        let first = near(1, &["Who made you?"]);
        let rows = rows(&["Who made you?"]);
        let made = near_misses(1, &rows, 42, &|text| text == first[0]);
        assert_eq!(made.len(), 1);
        assert_ne!(made[0].1, first[0]);
    }

    #[test]
    fn what_the_tables_cannot_make_is_fewer_and_no_error() {
        assert!(near(5, &["Zephyr"]).is_empty());
        let all = near(10_000, &["Who made you?", "谁？"]);
        assert!(all.len() > 50 && all.len() < 1000, "{}", all.len());
    }
}
