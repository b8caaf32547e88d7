//! The sections of `qeval.toml` that are no other module's: `[model]`, `[gate]`, and `[checks]`,
//! with their defaults.

use serde::{Deserialize, Serialize};

use crate::flow::{LearnRule, SignRule};
use crate::gate::{EarlyStop, USUAL_SCALES};
use crate::model::{Dtype, Storage};

/// `[model]`: the base.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ModelSection {
    /// A Hugging Face folder or a GGUF file (relative to the folder of `qeval.toml`), a hub id, or
    /// a built-in name: `smollm2-135m`, `qwen2.5-coder-0.5b`. Default `"smollm2-135m"`.
    pub path: String,
    /// What a GPU computes in: `"auto"`, `"bfloat16"`, or `"float16"`. A CPU computes in F32.
    /// Default `"auto"`: float16 for weights stored as F16 or quantized, else bfloat16.
    pub dtype: Dtype,
    /// How matrices are held: `"stored"`, as their file has them, where the device computes with
    /// their format (a CPU with GGUF's of 4 to 8 bits, NF4, GPTQ, and AWQ), or `"widened"`, to F32
    /// on a CPU and 16 bits on a GPU. On a CPU answers have the same bits. Default `"stored"`.
    #[serde(default, skip_serializing_if = "is_stored")]
    pub weights: Storage,
    /// Quantizes the matrices of the layers to four bits as a base of 16 or 32 bits is loaded (NF4,
    /// as QLoRA does). It is another base then, with answers of its own. Default false.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub load_in_4bit: bool,
    /// Variables of the model's chat template, such as `{ enable_thinking = false }` of Qwen3, which
    /// `enable_thinking` beside it says in short. One that the template does not read is refused.
    /// Default: none.
    #[serde(default, skip_serializing_if = "serde_json::Map::is_empty")]
    pub template_kwargs: serde_json::Map<String, serde_json::Value>,
    /// Most tokens that a model may think before its answer; these do not count as the answer's,
    /// and are not judged. Default: 2048 where template or vocabulary know thinking.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub thinking_budget: Option<usize>,
    /// Whether the file names `path`, and not the default.
    #[serde(skip)]
    pub is_named: bool,
}

fn is_stored(weights: &Storage) -> bool {
    *weights == Storage::Stored
}

impl ModelSection {
    /// How matrices are held.
    pub fn storage(&self) -> Storage {
        match self.load_in_4bit {
            true => Storage::Nf4,
            false => self.weights,
        }
    }
}

impl Default for ModelSection {
    fn default() -> Self {
        ModelSection {
            path: "smollm2-135m".into(),
            dtype: Dtype::Auto,
            weights: Storage::Stored,
            load_in_4bit: false,
            template_kwargs: serde_json::Map::new(),
            thinking_budget: None,
            is_named: false,
        }
    }
}

/// `[gate]`: what a checkpoint is asked, and how much may be lost.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct GateSection {
    /// Loss of the mean score over all `keep` probes that a pass excludes, in (0, 1].
    /// Default 0.03.
    pub margin: f64,
    /// The same for a `keep` suite without a margin of its own, asked of suites with 60 probes or
    /// more, in (0, 1]. Default 0.15.
    pub suite_margin: f64,
    /// Multiples of its own scale at which training judges each checkpoint, in (0, 2], 1 among
    /// them, the largest first. What ships is the best that passes, at its scale.
    /// Default `[1.0, 0.7, 0.5]`.
    pub scales: Vec<f64>,
    /// What it means that a `learn` suite misses its target: `"require"`, the candidate does not
    /// ship, or `"warn"`. Default `"require"`.
    pub learn: LearnRule,
    /// What it means that more answers show a sign (a loop, an empty answer, another language, a
    /// training answer, ...): `"judge"`, where it is proven it is a regression, or `"tell"`.
    /// Default `"judge"`.
    pub signs: SignRule,
    /// Which candidates may be decided after a part of the `keep` probes, where there are
    /// 200 or more: `"training"`, the checkpoints of a run, or `"never"`. Default `"training"`.
    pub early_stop: EarlyStop,
    /// Suite files, folders of them (relative to the folder of `qeval.toml`), or names of built-in
    /// suites. Default `["suites"]`.
    pub suites: Vec<String>,
    /// Only probes with one of these tags. Default: all.
    pub tags: Vec<String>,
    /// Only probes in one of these languages, `en` or `zh`. Default: all.
    pub languages: Vec<String>,
    /// Only the first so many prompts of each probe; 0 asks all. Default: all.
    pub prompts_per_probe: Option<usize>,
    /// The subject that `qeval gate` judges. Default: the newest checkpoint of the latest run.
    pub candidate: Option<String>,
    /// Ask the base twice, with other draws, and show how much it differs from itself beside every
    /// difference. Default true.
    pub noise_floor: bool,
    /// Folder of the accepted answers, relative to that of `qeval.toml`.
    /// Default `"snapshots/answers"`.
    pub snapshots: String,
    /// Part of a suite's probes that may stay unscored before it could not be measured, in
    /// [0, 1]. Default 0.1.
    pub max_unscored: f64,
}

impl Default for GateSection {
    fn default() -> Self {
        GateSection {
            margin: 0.03,
            suite_margin: 0.15,
            scales: USUAL_SCALES.to_vec(),
            learn: LearnRule::Require,
            signs: SignRule::Judge,
            early_stop: EarlyStop::Training,
            suites: vec!["suites".into()],
            tags: Vec::new(),
            languages: Vec::new(),
            prompts_per_probe: None,
            candidate: None,
            noise_floor: true,
            snapshots: "snapshots/answers".into(),
            max_unscored: 0.1,
        }
    }
}

/// `[checks]`: what checks may use besides the answer.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ChecksSection {
    /// A Python that runs what the embedded interpreter lacks, locked down: no network, no files,
    /// limits on time, memory, and processes. Linux only. Default: none.
    pub python: Option<String>,
    /// The sentence encoder of `similar`: `all-minilm-l6-v2`, a folder (relative to that of
    /// `qeval.toml`), or a hub id of a BERT model. Default `"all-minilm-l6-v2"`.
    pub encoder: String,
    /// Who answers `llm-rubric`: `base`, or an OpenAI-compatible server and its model, as in
    /// `http://localhost:8000/v1#Qwen2.5-7B-Instruct`. Default `"base"`.
    pub judge: String,
    /// Environment variable with the key of the judge's server. Default `"QEVAL_JUDGE_KEY"`.
    pub judge_key_variable: String,
    /// Least mean of sensitivity and specificity on golden answers of a judge that is used, in
    /// [0, 1]. Default 0.8.
    pub judge_accuracy: f64,
}

impl Default for ChecksSection {
    fn default() -> Self {
        ChecksSection {
            python: None,
            encoder: "all-minilm-l6-v2".into(),
            judge: "base".into(),
            judge_key_variable: "QEVAL_JUDGE_KEY".into(),
            judge_accuracy: 0.8,
        }
    }
}
