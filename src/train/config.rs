//! Every knob of a training run, with its unit, default, and effect: `[lora]`, `[data]`, `[train]`
//! of `qeval.toml`.
//!
//! Names are those of PEFT (`[lora]`) and of the Hugging Face trainer (`[train]`). The structs
//! hold resolved values; reading the file, with its places and near misses, is `config`'s work.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Deserializer, Serialize};

use super::rehearsal::Language;

/// `[lora]`: the adapter.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct LoraSection {
    /// Rank r of the low-rank update. Default 8.
    pub rank: usize,
    /// LoRA numerator: the update is scaled by alpha / rank. Default 16.
    pub alpha: f64,
    /// Chance that an input of the low-rank path is dropped while training, in [0, 1). Default 0.
    pub dropout: f64,
    /// Which projections get A and B. Default `"all-linear"`.
    pub target_modules: TargetSelection,
    /// Scale by alpha / sqrt(rank) instead (rsLoRA). Default false.
    pub use_rslora: bool,
    /// Other ranks for modules whose path a pattern matches, as in PEFT. Default none.
    pub rank_pattern: BTreeMap<String, usize>,
    /// Other alphas for modules whose path a pattern matches, as in PEFT. Default none.
    pub alpha_pattern: BTreeMap<String, f64>,
}

impl Default for LoraSection {
    fn default() -> Self {
        LoraSection {
            rank: 8,
            alpha: 16.0,
            dropout: 0.0,
            target_modules: TargetSelection::AllLinear,
            use_rslora: false,
            rank_pattern: BTreeMap::new(),
            alpha_pattern: BTreeMap::new(),
        }
    }
}

/// Which projections get low-rank parts, as a user writes it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum TargetSelection {
    /// Every linear layer but the LM head, as PEFT's `all-linear`.
    AllLinear,
    /// Module names (`q_proj`) or regular expressions over module paths.
    Named(Vec<String>),
}

/// `[data]`: the examples.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct DataSection {
    /// Files of examples. Default none; training asks for one at least.
    pub sources: Vec<Source>,
    /// Form of the rows. Default `"auto"`: told by each row's keys.
    pub format: RowFormat,
    /// Part of the examples that is held out for the validation loss, by group, in [0, 1).
    /// Default 0: no validation loss. The gate needs none.
    pub validation_ratio: f64,
    /// Decides which rows `path#200` and a share take and which groups are held out. Default 42.
    pub seed: u64,
    /// What happens to a row that cannot be trained on as it stands: no answer, unknown form,
    /// longer than `max_length`. Default `"refuse"`.
    pub bad_rows: BadRows,
    /// Whether a row that repeats an earlier one word for word is left out. Default true.
    pub drop_duplicates: bool,
    /// Further wordings of each row's question that the base makes before step 1, and one in the
    /// other language; fewer where it cannot. Default 0: none.
    pub paraphrase: usize,
    /// The languages that rows are asked in. Default none: each in its own, and in the other where
    /// the base knows both.
    pub paraphrase_languages: Vec<Language>,
    /// What the base itself answers, to stay as it is there: files of prompts, relative to the
    /// folder of `qeval.toml`, and `"built-in"` for the pool that comes with qeval. Default none.
    #[serde(deserialize_with = "one_or_several")]
    pub rehearsal: Vec<String>,
    /// Prompts that are taken of the built-in pool; a file's are all used. Default 150.
    // On two models many prompts of few tokens kept more than few of many (the guide's page on
    // training has the table of ten runs a model); 300 kept no more than 150.
    pub rehearsal_prompts: usize,
    /// What is learned of the base's answers. Default `"distribution"`.
    pub rehearsal_target: RehearsalTarget,
    /// Most tokens of an answer of rehearsal. Default 16.
    pub rehearsal_tokens: usize,
    /// Questions made of the rows' own question words about other things, which the base answers:
    /// so many, 0 for none. Default: none.
    // As text they halve what leaks without rehearsal, and cost what is learned beside it; as
    // distributions they keep beside it too (the guide's page on training has the table).
    pub near_miss: Option<usize>,
    /// What is learned of the base's answers to them. Default `"distribution"`.
    pub near_miss_target: RehearsalTarget,
    /// What a token of such an answer counts: as text beside a token of the rows, as a
    /// distribution beside one of the other rehearsal prompts. Default 1.
    pub near_miss_weight: f64,
}

/// The name of the built-in pool under `rehearsal`.
pub const BUILT_IN: &str = "built-in";
impl DataSection {
    /// Near-miss questions asked for.
    pub fn near_misses(&self) -> usize {
        self.near_miss.unwrap_or(0)
    }
}

/// What is learned of an answer that the base gave itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum RehearsalTarget {
    /// The base's next-token distribution at each token: nothing pulls but to stay.
    Distribution,
    /// The tokens, as of any row.
    Text,
    /// Both of them.
    Both,
}

impl RehearsalTarget {
    /// Every target by its name in `qeval.toml`.
    pub const WORDS: [(&str, Self); 3] = [
        ("distribution", RehearsalTarget::Distribution),
        ("text", RehearsalTarget::Text),
        ("both", RehearsalTarget::Both),
    ];

    /// Its name in `qeval.toml`.
    pub fn name(self) -> &'static str {
        match self {
            RehearsalTarget::Distribution => "distribution",
            RehearsalTarget::Text => "text",
            RehearsalTarget::Both => "both",
        }
    }
}

/// A list, or what older records have: one text, or none.
fn one_or_several<'de, D: Deserializer<'de>>(value: D) -> Result<Vec<String>, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Written {
        None,
        One(String),
        Several(Vec<String>),
    }
    Ok(match Written::deserialize(value)? {
        Written::None => Vec::new(),
        Written::One(one) => vec![one],
        Written::Several(several) => several,
    })
}

impl Default for DataSection {
    fn default() -> Self {
        DataSection {
            sources: Vec::new(),
            format: RowFormat::Auto,
            validation_ratio: 0.0,
            seed: 42,
            bad_rows: BadRows::Refuse,
            drop_duplicates: true,
            paraphrase: 0,
            paraphrase_languages: Vec::new(),
            rehearsal: Vec::new(),
            rehearsal_prompts: 150,
            rehearsal_target: RehearsalTarget::Distribution,
            rehearsal_tokens: 16,
            near_miss: None,
            near_miss_target: RehearsalTarget::Distribution,
            near_miss_weight: 1.0,
        }
    }
}

/// One file of examples.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Source {
    /// JSON array or JSONL; relative to the folder of `qeval.toml`.
    pub path: String,
    /// Takes so many rows, chosen by the seed. `None` takes all.
    pub take: Option<usize>,
    /// Weight of this source in the mix. Either all sources have one or none has. Rows are left
    /// out until the weights hold; no row is ever repeated.
    pub share: Option<f64>,
}

impl Source {
    /// Reads the short form: `path` or `path#200`. A `#` without a number after it belongs to the
    /// path.
    pub fn parse(text: &str) -> Self {
        if let Some((path, count)) = text.rsplit_once('#')
            && let Ok(take) = count.parse()
            && !path.is_empty()
        {
            return Source {
                path: path.to_string(),
                take: Some(take),
                share: None,
            };
        }
        Source {
            path: text.to_string(),
            take: None,
            share: None,
        }
    }
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.take {
            Some(take) => write!(f, "{}#{take}", self.path),
            None => f.write_str(&self.path),
        }
    }
}

/// Form of a data row.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum RowFormat {
    /// Told by each row's keys.
    Auto,
    /// `instruction`, `output`; optional `input`, `history`. Every form may have a `system`.
    Alpaca,
    /// `messages`: a list of `role` and `content`.
    Messages,
    /// `conversations`, `conversation`: a list of `from` and `value`, or of rounds.
    Sharegpt,
    /// `query`, `question`, or `prompt`, with `response`, `answer`, or `completion`; optional
    /// `history`.
    QueryResponse,
}

/// What happens to rows that cannot be trained on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum BadRows {
    /// All of them are named and nothing is trained.
    Refuse,
    /// They are left out, counted, and named.
    Drop,
}

/// `[train]`: the optimizer and the loop.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct TrainSection {
    /// Passes over the examples; a fraction ends in mid-epoch. Default 2.
    pub num_train_epochs: f64,
    /// Highest learning rate, reached after the warmup. Default 1e-4.
    pub learning_rate: f64,
    /// Part of all steps in which the rate rises from 0, in [0, 1]. Default 0.05.
    pub warmup_ratio: f64,
    /// How the rate falls afterwards. Default `"cosine"`.
    pub lr_scheduler_type: SchedulerType,
    /// AdamW's decoupled weight decay. Default 0.
    pub weight_decay: f64,
    /// AdamW's decay of the first moment, in [0, 1). Default 0.9.
    pub adam_beta1: f64,
    /// AdamW's decay of the second moment, in [0, 1). Default 0.999.
    pub adam_beta2: f64,
    /// AdamW's denominator guard. Default 1e-8.
    pub adam_epsilon: f64,
    /// Gradients are scaled down to this norm over all adapter matrices; 0 switches it off.
    /// Default 1.
    pub max_grad_norm: f64,
    /// With `per_device_train_batch_size`: their product is the examples of an optimizer step.
    /// Default 16.
    pub gradient_accumulation_steps: usize,
    /// See `gradient_accumulation_steps`. Default 1.
    pub per_device_train_batch_size: usize,
    /// Tokens of one forward and backward pass: a step's examples are packed into passes of at
    /// most so many, without changing the step. A longer example gets a pass of its own.
    /// Default 1024.
    pub micro_batch_tokens: usize,
    /// Most tokens of an example. A longer one is a bad row, never cut. Default 2048.
    pub max_length: usize,
    /// When the validation loss is taken, in optimizer steps or as a part of all steps, and at the
    /// last step. Default 0.25.
    pub eval_steps: Every,
    /// When a checkpoint is saved and gated, and at the last step. Default: as `eval_steps`.
    pub save_steps: Option<Every>,
    /// Optimizer steps from one line of `train.jsonl` to the next. Default 1.
    pub logging_steps: usize,
    /// Checkpoints kept besides best and newest. Default: all (0 in the file).
    pub save_total_limit: Option<usize>,
    /// Stops after so many gates in a row without a better checkpoint; the base is the first to
    /// beat. Default: off (0 in the file).
    pub early_stopping_patience: Option<usize>,
    /// When checkpoints whose loss is proven at every scale end the run. Default `"twice"`.
    #[serde(skip_serializing_if = "StopOnRegression::is_usual")]
    pub stop_on_regression: StopOnRegression,
    /// Weight of staying at the base's answers to rehearsal prompts, against learning the examples:
    /// the factor of their mean KL divergence beside the mean cross-entropy, and with
    /// [`RehearsalTarget::Text`] what one of their tokens counts in that mean. Default 10.
    pub rehearsal_weight: f64,
    /// Decides A's first values, the order of examples, and dropout. Default 42.
    pub seed: u64,
    /// System prompt of training rows without their own, and of probes without their own.
    /// Default: none is added; the chat template may put in its own. `""` asks for an empty one.
    pub system: Option<String>,
    /// What a layer keeps for the backward pass. Default `"auto"`.
    pub recompute: Recompute,
    /// Where runs are written; relative to the folder of `qeval.toml`. Default `"runs"`.
    pub output_dir: String,
}

impl Default for TrainSection {
    fn default() -> Self {
        TrainSection {
            num_train_epochs: 2.0,
            learning_rate: 1e-4,
            warmup_ratio: 0.05,
            lr_scheduler_type: SchedulerType::Cosine,
            weight_decay: 0.0,
            adam_beta1: 0.9,
            adam_beta2: 0.999,
            adam_epsilon: 1e-8,
            max_grad_norm: 1.0,
            gradient_accumulation_steps: 16,
            per_device_train_batch_size: 1,
            micro_batch_tokens: 1024,
            max_length: 2048,
            eval_steps: Every::Part(0.25),
            save_steps: None,
            logging_steps: 1,
            save_total_limit: None,
            early_stopping_patience: None,
            stop_on_regression: StopOnRegression::Twice,
            rehearsal_weight: 10.0,
            seed: 42,
            system: None,
            recompute: Recompute::Auto,
            output_dir: "runs".into(),
        }
    }
}

impl TrainSection {
    /// When a checkpoint is saved and gated.
    pub fn gate_every(&self) -> Every {
        self.save_steps.unwrap_or(self.eval_steps)
    }

    /// Examples of one optimizer step.
    pub fn examples_per_step(&self) -> usize {
        self.gradient_accumulation_steps * self.per_device_train_batch_size
    }
}

/// When checkpoints whose loss is proven at every scale end a run. A checkpoint in mid-run, with the
/// rate at its peak, looks worse than the same run's end: one is no proof that the end fails.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum StopOnRegression {
    /// At the first of them.
    Once,
    /// At two in a row.
    Twice,
    /// Never: the run goes to its last step.
    Never,
}

impl StopOnRegression {
    /// Proven losses in a row at which a run ends; `None`: it never does.
    pub fn in_a_row(self) -> Option<usize> {
        match self {
            StopOnRegression::Once => Some(1),
            StopOnRegression::Twice => Some(2),
            StopOnRegression::Never => None,
        }
    }

    /// Whether it is the default, which no record names: versions that had one rule wrote none, and
    /// their runs are found and go on.
    fn is_usual(&self) -> bool {
        *self == StopOnRegression::Twice
    }
}

/// How the learning rate falls after the warmup.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum SchedulerType {
    /// Half a cosine, to 0 at the last step.
    Cosine,
    /// A line, to 0 at the last step.
    Linear,
    /// Not at all.
    Constant,
}

/// What a layer keeps for the backward pass, against memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Recompute {
    /// Decided once from the memory that is free, and stored with the run.
    Auto,
    /// All that the backward pass reads is kept: most memory, least time.
    None,
    /// Outputs of matrix products are kept; norms, rotations, softmax, and silu are recomputed.
    Selective,
    /// A layer's input is kept and everything else recomputed: least memory, most time.
    Full,
}

/// A rhythm in optimizer steps.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Every {
    /// Every so many optimizer steps, at least 1.
    Steps(usize),
    /// A part of all steps, in (0, 1): 0.25 is four times in a run.
    Part(f64),
}

impl Every {
    /// Optimizer steps from one time to the next, at least 1; a part is rounded up, as in the
    /// Hugging Face trainer.
    pub fn steps(self, total_steps: usize) -> usize {
        match self {
            Every::Steps(steps) => steps.max(1),
            Every::Part(part) => ((part * total_steps as f64).ceil() as usize).max(1),
        }
    }

    /// The steps at which it happens, counted from 1; the last step is always one of them.
    pub fn times(self, total_steps: usize) -> Vec<usize> {
        let mut times: Vec<usize> = (1..=total_steps / self.steps(total_steps))
            .map(|i| i * self.steps(total_steps))
            .collect();
        if total_steps > 0 && times.last() != Some(&total_steps) {
            times.push(total_steps);
        }
        times
    }
}

impl fmt::Display for Every {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Every::Steps(steps) => write!(f, "{steps}"),
            Every::Part(part) => write!(f, "{part}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn short_form_of_a_source_takes_rows() {
        assert_eq!(Source::parse("a.jsonl#200").take, Some(200));
        assert_eq!(Source::parse("a.jsonl#200").path, "a.jsonl");
        assert_eq!(Source::parse("c#/a.json").path, "c#/a.json");
        assert_eq!(Source::parse("a.json#x").path, "a.json#x");
        assert_eq!(Source::parse("#3").path, "#3");
    }

    #[test]
    fn near_misses_are_made_where_they_are_asked_for() {
        let near = |rehearsal: &[&str], near_miss| {
            let data = DataSection {
                rehearsal: rehearsal.iter().map(ToString::to_string).collect(),
                near_miss,
                ..DataSection::default()
            };
            data.near_misses()
        };
        assert_eq!(near(&[], None), 0);
        assert_eq!(near(&[BUILT_IN], None), 0);
        assert_eq!(near(&[], Some(7)), 7);
    }

    #[test]
    fn records_of_one_file_or_none_are_read() {
        let read = |text: &str| serde_json::from_str::<DataSection>(text).unwrap().rehearsal;
        assert_eq!(read("{}"), Vec::<String>::new());
        assert_eq!(read(r#"{"rehearsal": null}"#), Vec::<String>::new());
        assert_eq!(read(r#"{"rehearsal": "r.jsonl"}"#), ["r.jsonl"]);
        assert_eq!(read(r#"{"rehearsal": ["a", "b"]}"#), ["a", "b"]);
    }

    #[test]
    fn last_step_is_always_one_of_the_times() {
        assert_eq!(Every::Steps(20).times(40), [20, 40]);
        assert_eq!(Every::Steps(20).times(45), [20, 40, 45]);
        assert_eq!(Every::Steps(20).times(7), [7]);
        assert_eq!(Every::Part(0.25).times(10), [3, 6, 9, 10]);
        assert_eq!(Every::Part(0.25).times(1), [1]);
        assert_eq!(Every::Steps(5).times(0), [0usize; 0]);
    }
}
