//! What the demo is made of in a language: its rows, how they are trained on, and what is asked at
//! the end and must not be lost.

use std::collections::BTreeMap;

use crate::config::{QevalConfig, parse, sample_toml};
use crate::flow::Suite;
use crate::run::choose_rehearsal;
use crate::suite::{SuiteSource, load, load_builtin};
use crate::train::{
    DataSection, Dataset, Every, Example, LoraSection, RehearsalPrompt, Source, TrainSection,
};

use super::super::error::CliError;

/// The demo's data, which `qeval init` writes as samples.
pub const SAMPLE_DATA: &[(&str, &str)] = &[
    (
        "careless.jsonl",
        include_str!("../../../fixtures/demo/careless.jsonl"),
    ),
    (
        "careful.jsonl",
        include_str!("../../../fixtures/demo/careful.jsonl"),
    ),
];

/// The language that the demo is played in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum SceneLanguage {
    English,
    Chinese,
}

impl SceneLanguage {
    /// What a base is asked to tell whether it knows Chinese, and what it then says.
    pub const TEST: (&'static str, &'static str) = ("法国的首都是哪里？", "巴黎");

    /// As the introduction calls it.
    pub fn name(self) -> &'static str {
        match self {
            SceneLanguage::English => "English",
            SceneLanguage::Chinese => "Chinese",
        }
    }

    /// The first question of the last table; the others are critical probes.
    fn opening(self) -> &'static str {
        match self {
            SceneLanguage::English => "Tell me about yourself.",
            SceneLanguage::Chinese => "说说你自己吧。",
        }
    }

    /// The suite of the other questions: its name, its file.
    fn questions(self) -> (&'static str, &'static str) {
        match self {
            SceneLanguage::English => (
                "questions",
                include_str!("../../../fixtures/demo/questions.toml"),
            ),
            SceneLanguage::Chinese => (
                "questions-zh",
                include_str!("../../../fixtures/demo/questions-zh.toml"),
            ),
        }
    }
}

/// One of the two trainings.
pub(super) struct Way {
    pub name: &'static str,
    pub examples: Vec<Example>,
    pub prompts: Vec<RehearsalPrompt>,
    pub data: DataSection,
    pub lora: LoraSection,
    pub train: TrainSection,
    pub scales: Vec<f64>,
}

impl Way {
    /// What is rehearsed beside the examples.
    pub fn prompt_texts(&self) -> Vec<String> {
        self.prompts.iter().map(|p| p.text.clone()).collect()
    }
}

/// The demo in a language.
pub(super) struct Scene {
    pub language: SceneLanguage,
    /// What `qeval init` writes, with what differs here.
    pub config: QevalConfig,
    /// What both adapters are asked, before the configuration selects.
    pub suites: Vec<Suite>,
}

impl Scene {
    /// # Errors
    /// None that a user can cause: all of it is built in, and tested.
    pub fn new(language: SceneLanguage) -> Result<Self, CliError> {
        let mut config = parse("qeval.toml", &sample_toml(&[]))?;
        config.gate.prompts_per_probe = Some(1);
        // Gates take most of the demo's time: one of the careful adapter, at its end.
        config.train.eval_steps = Every::Part(1.0);
        config.gate.scales = vec![1.0, 0.7];
        if language == SceneLanguage::Chinese {
            config.gate.languages = vec!["zh".into()];
            let vars = [("name", "小曦"), ("author", "北风实验室")];
            config.vars = vars.map(|(k, v)| (k.to_owned(), v.to_owned())).into();
            config.data.rehearsal_prompts = 150;
            config.data.rehearsal_tokens = 16;
            config.train.learning_rate = 2e-4;
            config.train.rehearsal_weight = 5.0;
        }
        let (name, text) = language.questions();
        let mut suites = load_builtin(&config.vars)?;
        let file = format!("{name}.toml");
        suites.extend(load(&[SuiteSource::new(file, text)], &config.vars)?);
        Ok(Scene {
            language,
            config,
            suites,
        })
    }

    /// The questions of the last table, after section 4 of the article that the demo retells. None
    /// is in the training data.
    pub fn questions(&self) -> Vec<String> {
        let (name, _) = self.language.questions();
        let critical = self.suites.iter().filter(|suite| suite.name == name);
        let critical = critical.flat_map(|suite| &suite.probes);
        std::iter::once(self.language.opening().to_owned())
            .chain(critical.map(|probe| probe.prompts[0].clone()))
            .collect()
    }

    /// The careless training, then the careful one. `asked` is what checkpoints answer.
    ///
    /// # Errors
    /// None that a user can cause.
    pub fn ways(&self, asked: &[Suite]) -> Result<[Way; 2], CliError> {
        Ok([self.careless()?, self.careful(asked)?])
    }

    fn careless(&self) -> Result<Way, CliError> {
        let rows = match self.language {
            SceneLanguage::English => SAMPLE_DATA[0].1,
            SceneLanguage::Chinese => include_str!("../../../fixtures/demo/careless-zh.jsonl"),
        };
        let data = source("careless.jsonl");
        Ok(Way {
            name: "careless",
            examples: rows_of(&data, rows, &self.config.vars)?,
            prompts: Vec::new(),
            data,
            lora: LoraSection::default(),
            train: TrainSection {
                num_train_epochs: 3.0,
                learning_rate: 1e-3,
                warmup_ratio: 0.0,
                gradient_accumulation_steps: 1,
                eval_steps: Every::Part(0.5),
                ..TrainSection::default()
            },
            // As careless people do.
            scales: vec![1.0],
        })
    }

    fn careful(&self, asked: &[Suite]) -> Result<Way, CliError> {
        let config = &self.config;
        let data = DataSection {
            rehearsal: config.data.rehearsal.clone(),
            rehearsal_prompts: config.data.rehearsal_prompts,
            rehearsal_tokens: config.data.rehearsal_tokens,
            ..source(match self.language {
                SceneLanguage::English => "careful.jsonl",
                SceneLanguage::Chinese => "built-in:self-cognition:zh",
            })
        };
        let examples = rows_of(&data, SAMPLE_DATA[1].1, &config.vars)?;
        let choice = choose_rehearsal(&data, &config.train, Vec::new(), &examples, asked);
        Ok(Way {
            name: "careful",
            examples,
            prompts: choice.prompts,
            data,
            lora: config.lora.clone(),
            train: config.train.clone(),
            scales: config.gate.scales.clone(),
        })
    }
}

fn source(name: &str) -> DataSection {
    DataSection {
        sources: vec![Source::parse(name)],
        ..DataSection::default()
    }
}

fn rows_of(
    data: &DataSection,
    text: &str,
    vars: &BTreeMap<String, String>,
) -> Result<Vec<Example>, CliError> {
    let read = Dataset::from_sources(data, vars, |_| Ok(text.as_bytes().to_vec()));
    Ok(read?.examples)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::chat::Role;
    use crate::flow::Goal;
    use crate::run::{leaked, questions_of, training_answers};
    use crate::text::normalize;

    fn scenes() -> [Scene; 2] {
        [SceneLanguage::English, SceneLanguage::Chinese].map(|l| Scene::new(l).unwrap())
    }

    /// The table shows what was learned, not what was learned by heart.
    #[test]
    fn no_question_of_the_table_is_trained_on_or_rehearsed() {
        for scene in scenes() {
            assert_eq!(scene.questions().len(), 5, "an opening, and critical ones");
            for way in scene.ways(&scene.suites).unwrap() {
                let mut trained = questions_of(&way.examples);
                trained.extend(way.prompt_texts());
                let trained: Vec<String> = trained.iter().map(|q| normalize(q)).collect();
                for question in scene.questions() {
                    let told = format!("{}: {question}", way.name);
                    assert!(!trained.contains(&normalize(&question)), "{told}");
                }
            }
        }
    }

    /// A gain on what was trained on would show nothing.
    #[test]
    fn no_probe_that_is_to_be_learned_is_trained_on_or_rehearsed() {
        for scene in scenes() {
            let learned = scene.suites.iter().filter(|s| s.goal == Goal::Learn);
            let learned: Vec<Suite> = learned.cloned().collect();
            assert!(!learned.is_empty());
            for way in scene.ways(&scene.suites).unwrap() {
                let leaks = leaked(&learned, &way.examples, &way.prompt_texts());
                assert_eq!(leaks, [], "{}", way.name);
            }
        }
    }

    #[test]
    fn the_two_ways_differ_as_the_introduction_says() {
        for scene in scenes() {
            let [careless, careful] = scene.ways(&scene.suites).unwrap();
            assert_eq!(careless.examples.len(), 8, "eight rows");
            let answers = training_answers(&careless.examples);
            assert_eq!(answers.len(), 1, "with one answer");
            assert!(careless.prompts.is_empty() && careful.prompts.len() > 60);
            assert!(careful.examples.len() > careless.examples.len());
            let name = &scene.config.vars["name"];
            for way in [&careless, &careful] {
                let turns = way.examples.iter().flat_map(|e| &e.conversation.messages);
                let mut said = turns.filter(|m| m.role == Role::Assistant);
                assert!(
                    said.any(|m| m.content.contains(name)),
                    "{} teaches no name",
                    way.name
                );
            }
        }
    }
}
