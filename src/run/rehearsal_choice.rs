//! Which prompts a run rehearses: those of the user's files, of the built-in pool, and near misses
//! of what is taught, none of them a probe or a training question.

use crate::flow::Suite;
use crate::suite::audit::Wordings;
use crate::train::{
    BUILT_IN, DataSection, Example, Language, Origin, PromptKind, RehearsalPrompt, Stay,
    TrainSection, near_misses, take_pool,
};

use super::audit::first_questions;

/// The prompts of one file of `[data] rehearsal`.
pub struct RehearsalFile {
    /// As the configuration names it.
    pub name: String,
    /// Each with its place.
    pub prompts: Vec<(Origin, String)>,
}

/// What is rehearsed, and how much of it could be had.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct RehearsalChoice {
    /// In the order of `rehearsal`, the near misses last.
    pub prompts: Vec<RehearsalPrompt>,
    /// Prompts of the pool that were asked for.
    pub pool_asked: usize,
    /// Near misses that were asked for.
    pub near_misses_asked: usize,
}

impl RehearsalChoice {
    /// Their texts.
    pub fn texts(&self) -> Vec<String> {
        self.prompts.iter().map(|p| p.text.clone()).collect()
    }

    /// The prompts of one kind.
    pub fn of_kind(&self, kind: PromptKind) -> impl Iterator<Item = &RehearsalPrompt> {
        self.prompts.iter().filter(move |p| p.kind == kind)
    }

    /// What could not be had in full, a line each.
    pub fn shortfalls(&self) -> Vec<String> {
        let had = |kind| self.of_kind(kind).count();
        let (pool, near) = (had(PromptKind::Pool), had(PromptKind::NearMiss));
        let mut lines = Vec::new();
        if pool < self.pool_asked {
            lines.push(format!(
                "{pool} of {} built-in rehearsal prompts: the pool has no more in the languages of the \
                 rows and probes",
                self.pool_asked
            ));
        }
        if near < self.near_misses_asked {
            lines.push(format!(
                "{near} of {} near misses: the question words of the rows lead to no more",
                self.near_misses_asked
            ));
        }
        lines
    }
}

/// Chooses what is rehearsed beside `examples`, for checkpoints that are asked `suites`. The pool is
/// taken in the languages of both. A file's prompts are all taken, whatever they are.
pub fn choose_rehearsal(
    data: &DataSection,
    train: &TrainSection,
    files: Vec<RehearsalFile>,
    examples: &[Example],
    suites: &[Suite],
) -> RehearsalChoice {
    let questions = first_questions(examples);
    let probes = || {
        let probes = suites.iter().flat_map(|suite| &suite.probes);
        probes.flat_map(|probe| probe.prompts.iter().map(String::as_str))
    };
    let trained = || questions.iter().map(|(_, text)| text.as_str());
    let mut choice = RehearsalChoice::default();
    for file in files {
        let prompts = RehearsalPrompt::of_file(file.prompts, data, train.rehearsal_weight);
        choice.prompts.extend(prompts);
    }
    let has_pool = data.rehearsal.iter().any(|source| source == BUILT_IN);
    choice.pool_asked = if has_pool { data.rehearsal_prompts } else { 0 };
    choice.near_misses_asked = data.near_misses();
    if choice.pool_asked + choice.near_misses_asked == 0 {
        return choice;
    }
    let of_files = choice.texts();
    let known = Wordings::new(
        probes()
            .chain(trained())
            .chain(of_files.iter().map(String::as_str)),
    );
    let near = near_misses(choice.near_misses_asked, &questions, data.seed, &|text| {
        known.overlap(text)
    });
    let languages = Language::among(probes().chain(trained()));
    let is_near = |text: &str| near.iter().any(|(_, other)| other == text);
    let pool = take_pool(choice.pool_asked, &languages, data.seed, &|text| {
        known.overlap(text) || is_near(text)
    });
    let stay = Stay::new(data.rehearsal_target, train.rehearsal_weight, 1.0);
    choice
        .prompts
        .extend(pool.into_iter().map(|prompt| RehearsalPrompt {
            text: prompt.text,
            origin: Origin {
                file: format!("{BUILT_IN}:rehearsal"),
                line: prompt.line,
            },
            kind: PromptKind::Pool,
            stay,
        }));
    let weight = data.near_miss_weight;
    let stay = Stay::new(data.near_miss_target, weight, weight);
    choice
        .prompts
        .extend(near.into_iter().map(|(row, text)| RehearsalPrompt {
            text,
            origin: Origin {
                file: format!("near miss of {}", row.file),
                line: row.line,
            },
            kind: PromptKind::NearMiss,
            stay,
        }));
    choice
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::run::questions_of;
    use crate::run::testing::{example, suites};
    use crate::suite::audit::leaks;
    use crate::suite::load_builtin;
    use crate::train::{Dataset, RehearsalTarget, Source, every_near_miss, pool};

    fn vars() -> BTreeMap<String, String> {
        let vars = [("name", "Aurora"), ("author", "Northwind Labs")];
        vars.map(|(key, value)| (key.into(), value.into())).into()
    }

    /// What is trained on or rehearsed can show neither a gain nor a loss.
    #[test]
    fn nothing_built_in_is_a_probe_of_a_built_in_suite() {
        let suites = load_builtin(&vars()).unwrap();
        let pool = pool().into_iter().map(|prompt| prompt.text);
        let taught = DataSection {
            sources: vec![Source::parse("built-in:self-cognition")],
            ..DataSection::default()
        };
        let taught = Dataset::from_sources(&taught, &vars(), |_| Ok(Vec::new())).unwrap();
        let taught = questions_of(&taught.examples);
        let questions: Vec<String> = pool.chain(every_near_miss()).chain(taught).collect();
        assert!(questions.len() > 1100);
        let leaks = leaks(&suites, &questions);
        let named = leaks
            .iter()
            .map(|leak| format!("{}: {:?} is {:?}", leak.probe, leak.prompt, leak.trained));
        assert_eq!(named.collect::<Vec<_>>(), Vec::<String>::new());
    }

    fn data(rehearsal: &[&str]) -> DataSection {
        DataSection {
            rehearsal: rehearsal.iter().map(ToString::to_string).collect(),
            ..DataSection::default()
        }
    }

    fn choose(data: &DataSection, rows: &[&str], suites: &[Suite]) -> RehearsalChoice {
        let rows: Vec<Example> = rows.iter().map(|q| example(q, "I am Aurora.")).collect();
        choose_rehearsal(data, &TrainSection::default(), Vec::new(), &rows, suites)
    }

    #[test]
    fn the_demos_rows_have_forty_near_misses_and_none_of_them_is_a_row() {
        let sources = DataSection {
            sources: vec![Source::parse("careful.jsonl")],
            near_miss: Some(40),
            ..data(&["built-in"])
        };
        let text = include_bytes!("../../fixtures/demo/careful.jsonl");
        let read = Dataset::from_sources(&sources, &vars(), |_| Ok(text.to_vec()));
        let examples = read.unwrap().examples;
        let suites = load_builtin(&vars()).unwrap();
        let train = TrainSection::default();
        let choice = choose_rehearsal(&sources, &train, Vec::new(), &examples, &suites);
        assert_eq!(choice.shortfalls(), Vec::<String>::new());
        assert_eq!(choice.of_kind(PromptKind::Pool).count(), 150);
        let near: Vec<String> = choice
            .of_kind(PromptKind::NearMiss)
            .map(|p| p.text.clone())
            .collect();
        assert_eq!(near.len(), 40);
        let rows = first_questions(&examples);
        let rows = Wordings::new(rows.iter().map(|(_, text)| text.as_str()));
        for question in &near {
            assert!(!rows.overlap(question), "{question}");
            assert_eq!(Language::of(question), Language::En, "{question}");
        }
        assert_eq!(leaks(&suites, &choice.texts()), []);
    }

    #[test]
    fn the_pool_is_in_the_languages_of_rows_and_probes() {
        let some = data(&["built-in"]);
        let english = suites(
            "[[probe]]\nid = \"a\"\nprompts = [\"What is basalt?\"]\n[[probe.check]]\ntype = \"refusal\"\n",
        );
        let of = |choice: &RehearsalChoice| {
            let pool = choice.of_kind(PromptKind::Pool);
            let line = |prompt: &RehearsalPrompt| pool_language(prompt.origin.line);
            let mut languages: Vec<Language> = pool.map(line).collect();
            languages.sort_unstable();
            languages.dedup();
            languages
        };
        let chinese = ["你是谁？"];
        assert_eq!(of(&choose(&some, &chinese, &[])), [Language::Zh]);
        let both = [Language::En, Language::Zh];
        assert_eq!(of(&choose(&some, &chinese, &english)), both);
        assert_eq!(
            of(&choose(&some, &["Who are you?"], &english)),
            [Language::En]
        );
    }

    fn pool_language(line: usize) -> Language {
        pool()[line - 1].language
    }

    #[test]
    fn a_probe_of_the_users_own_is_never_chosen() {
        let some = DataSection {
            rehearsal_prompts: 20,
            near_miss: Some(5),
            ..data(&["built-in"])
        };
        let first = choose(&some, &["Who made you?"], &[]);
        let prompts: Vec<String> = first
            .prompts
            .iter()
            .map(|p| format!("{:?}", p.text))
            .collect();
        let own = suites(&format!(
            "[[probe]]\nid = \"a\"\nprompts = [{}]\n[[probe.check]]\ntype = \"refusal\"\n",
            prompts.join(", ")
        ));
        let second = choose(&some, &["Who made you?"], &own);
        assert_eq!(second.prompts.len(), first.prompts.len());
        assert_eq!(leaks(&own, &second.texts()), []);
    }

    #[test]
    fn each_kind_is_stayed_at_in_its_own_way() {
        let train = TrainSection {
            rehearsal_weight: 5.0,
            ..TrainSection::default()
        };
        let some = DataSection {
            rehearsal_prompts: 2,
            rehearsal_target: RehearsalTarget::Both,
            near_miss: Some(2),
            near_miss_weight: 3.0,
            ..data(&["own.jsonl", "built-in"])
        };
        let origin = Origin {
            file: "own.jsonl".into(),
            line: 4,
        };
        let file = RehearsalFile {
            name: "own.jsonl".into(),
            prompts: vec![(origin, "What is basalt?".into())],
        };
        let rows = [example("Who made you?", "Labs.")];
        let choice = choose_rehearsal(&some, &train, vec![file], &rows, &[]);
        let lines = choice.prompts.iter().map(|p| {
            let Stay { text, distribution } = p.stay;
            format!("{:?} {text} {distribution} {}", p.kind, p.origin.file)
        });
        insta::assert_snapshot!(lines.collect::<Vec<_>>().join("\n"), @r"
        File 5 1 own.jsonl
        Pool 5 1 built-in:rehearsal
        Pool 5 1 built-in:rehearsal
        NearMiss 0 3 near miss of rows.jsonl
        NearMiss 0 3 near miss of rows.jsonl
        ");
    }

    #[test]
    fn what_cannot_be_had_in_full_is_said() {
        let some = DataSection {
            rehearsal_prompts: 900,
            near_miss: Some(900),
            ..data(&["built-in"])
        };
        let choice = choose(&some, &["Who made you?"], &[]);
        insta::assert_snapshot!(choice.shortfalls().join("\n"), @r"
        225 of 900 built-in rehearsal prompts: the pool has no more in the languages of the rows and probes
        41 of 900 near misses: the question words of the rows lead to no more
        ");
        assert_eq!(
            choose(&data(&[]), &["Who made you?"], &[]),
            RehearsalChoice::default()
        );
    }
}
