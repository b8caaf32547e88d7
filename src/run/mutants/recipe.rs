//! What each badly trained mutant learns, and how.

use std::collections::BTreeMap;
use std::path::Path;

use crate::chat::ChatTemplate;
use crate::train::{
    DataError, DataErrors, DataSection, Dataset, Every, Example, Language, LoraSection, Origin,
    Recompute, RehearsalPrompt, Source, StopOnRegression, TrainSection,
};

use super::super::error::RunError;
use super::super::session::Session;
use super::rows;

/// A training that makes a mutant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BadTraining {
    /// Not bad: who the model is, at the usual settings, beside rehearsal by the base. What other
    /// mutants are made of where no adapter is there.
    Careful,
    /// Right answers, under a chat template that is not the base's.
    WrongTemplate,
    /// A few rows on who the model is, twenty times over at twenty times the usual rate.
    Identity,
    /// Answers with their words shuffled.
    Garbled,
    /// Answers to other questions.
    Slipped,
    /// Refusals of harmless questions.
    Refusals,
    /// Answers in another language than the question's.
    OtherLanguage,
    /// Right answers at fifty times the usual rate.
    HighRate,
}

/// What one training is made of.
pub(super) struct Recipe {
    pub lora: LoraSection,
    pub data: DataSection,
    pub train: TrainSection,
    pub examples: Vec<Example>,
    pub prompts: Vec<RehearsalPrompt>,
    /// A chat template in the place of the base's.
    pub template: Option<ChatTemplate>,
}

/// Rows of the built-in identity that are learned by heart.
const FEW: usize = 12;
/// `{{name}}` and `{{author}}` of its rows.
const VARS: [(&str, &str); 2] = [("name", "Nimbus"), ("author", "Harbour Works")];

impl BadTraining {
    /// All that do harm.
    pub const HARMFUL: [BadTraining; 7] = [
        BadTraining::WrongTemplate,
        BadTraining::Identity,
        BadTraining::Garbled,
        BadTraining::Slipped,
        BadTraining::Refusals,
        BadTraining::OtherLanguage,
        BadTraining::HighRate,
    ];

    /// A name for tables.
    pub fn name(self) -> &'static str {
        match self {
            BadTraining::Careful => "careful",
            BadTraining::WrongTemplate => "wrong template",
            BadTraining::Identity => "identity by heart",
            BadTraining::Garbled => "garbled text",
            BadTraining::Slipped => "slipped answers",
            BadTraining::Refusals => "refusals",
            BadTraining::OtherLanguage => "other language",
            BadTraining::HighRate => "high rate",
        }
    }

    /// What was done, in a sentence's end.
    pub fn made(self) -> &'static str {
        match self {
            BadTraining::Careful => "trained on an identity, with rehearsal by the base",
            BadTraining::WrongTemplate => "trained on right answers under another chat template",
            BadTraining::Identity => "trained on a few rows of an identity, 20 epochs at rate 2e-3",
            BadTraining::Garbled => "trained on answers with their words shuffled",
            BadTraining::Slipped => "trained on the answers to other questions",
            BadTraining::Refusals => "trained to refuse harmless questions",
            BadTraining::OtherLanguage => {
                "trained on answers in another language than the question's"
            }
            BadTraining::HighRate => "trained on right answers at a rate of 5e-3",
        }
    }

    /// The recipe for a base and the languages that it is asked in.
    pub(super) fn recipe(
        self,
        session: &Session,
        languages: &[Language],
    ) -> Result<Recipe, RunError> {
        let (epochs, rate, examples_a_step) = match self {
            BadTraining::Careful => (3.0, 2e-4, 8),
            BadTraining::Identity => (20.0, 2e-3, 4),
            BadTraining::HighRate => (8.0, 5e-3, 4),
            _ => (8.0, 2e-3, 4),
        };
        let examples = match self {
            BadTraining::Careful => identity(languages, None)?,
            BadTraining::Identity => identity(languages, Some(FEW))?,
            BadTraining::WrongTemplate | BadTraining::HighRate => rows::right(languages),
            BadTraining::Garbled => rows::garbled(languages),
            BadTraining::Slipped => rows::slipped(languages),
            BadTraining::Refusals => rows::refused(languages),
            BadTraining::OtherLanguage => rows::in_another_language(languages),
        };
        let data = DataSection::default();
        let train = TrainSection {
            num_train_epochs: epochs,
            learning_rate: rate,
            gradient_accumulation_steps: examples_a_step,
            // One checkpoint, at the end, and no gate in between.
            eval_steps: Every::Part(1.0),
            save_steps: Some(Every::Part(1.0)),
            stop_on_regression: StopOnRegression::Never,
            recompute: Recompute::Auto,
            ..TrainSection::default()
        };
        let prompts = match self {
            BadTraining::Careful => rehearsed(languages, &data, train.rehearsal_weight),
            _ => Vec::new(),
        };
        let template = match self {
            BadTraining::WrongTemplate => Some(wrong_template(session)?),
            _ => None,
        };
        Ok(Recipe {
            lora: LoraSection::default(),
            data,
            train,
            examples,
            prompts,
            template,
        })
    }
}

/// Rows of the built-in identity in these languages; so many of each, or all.
fn identity(languages: &[Language], each: Option<usize>) -> Result<Vec<Example>, DataError> {
    let sources = languages.iter().map(|language| Source {
        path: match language {
            Language::En => "built-in:self-cognition:en".into(),
            Language::Zh => "built-in:self-cognition:zh".into(),
        },
        take: each,
        share: None,
    });
    let data = DataSection {
        sources: sources.collect(),
        ..DataSection::default()
    };
    let vars = VARS.map(|(name, value)| (name.to_owned(), value.to_owned()));
    let read = Dataset::load(&data, Path::new(""), &BTreeMap::from(vars));
    let first = |DataErrors(errors): DataErrors| errors.into_iter().next();
    let read = read.map_err(|errors| first(errors).unwrap_or(DataError::NoSources))?;
    Ok(read.examples)
}

/// The everyday questions, which the base answers itself.
fn rehearsed(languages: &[Language], data: &DataSection, weight: f64) -> Vec<RehearsalPrompt> {
    let rows = rows::right(languages).into_iter();
    let prompts = rows.map(|row| -> (Origin, String) {
        let question = row.question().to_owned();
        (row.origin, question)
    });
    RehearsalPrompt::of_file(prompts, data, weight)
}

/// A template that the base was not trained with: another family's marks, as text where the tokenizer
/// does not know them, with the base's own end so that the answer ends at all.
fn wrong_template(session: &Session) -> Result<ChatTemplate, RunError> {
    let end = session.end_of_turn.first();
    let end = end.and_then(|id| session.tokenizer.token_of(*id));
    let end = end.unwrap_or_default();
    let [before, between, after] = match session.template.source().contains("[INST]") {
        true => ["### Instruction:\n", "\n\n### Response:\n", "</response>"],
        false => ["[INST] ", " [/INST] ", " </s>"],
    };
    let quoted = |text: &str| serde_json::to_string(text).unwrap_or_default();
    let source = format!(
        "{{% for message in messages %}}{{% if message.role == 'assistant' %}}\
         {{{{ message.content + {} }}}}{{% elif message.role == 'user' %}}\
         {{{{ {} + message.content + {} }}}}{{% endif %}}{{% endfor %}}",
        quoted(&format!("{after}{end}")),
        quoted(before),
        quoted(between),
    );
    Ok(ChatTemplate::new_at(
        &source,
        BTreeMap::new(),
        session.template.moment(),
    )?)
}
