//! What the tests of this folder share: small models, expected numbers, differences, requests.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use qeval::lora::{Adapter, LoadedAdapter, LoraError, Trainable};
use qeval::model::{Batch, Decoder, KvCache, LowRank, Mat, ModelFiles, Span};
use qeval::train::{MicroBatch, Origin, StepBatch, TokenizedExample};

/// One a supported architecture, and one with stretched rotary frequencies; Mistral's and Gemma's
/// have a window.
pub const TINY: [&str; 6] = [
    "tiny-llama",
    "tiny-llama3",
    "tiny-qwen2",
    "tiny-qwen3",
    "tiny-mistral-window",
    "tiny-gemma3",
];

/// A path below `fixtures/`.
pub fn fixture(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("fixtures")
        .join(path)
}

/// A model of `fixtures/models`.
pub struct Tiny {
    pub name: &'static str,
    pub files: ModelFiles,
    pub decoder: Decoder,
}

impl Tiny {
    pub fn load(name: &'static str) -> Self {
        let files = ModelFiles::open(&fixture(&format!("models/{name}"))).unwrap();
        let decoder = Decoder::load(&files.config, &files.weights).unwrap();
        Tiny {
            name,
            files,
            decoder,
        }
    }

    /// An adapter of `fixtures/adapters` for this model.
    pub fn adapter(&self, variant: &str) -> Adapter {
        let folder = fixture(&format!("adapters/{}/{variant}", self.name));
        Adapter::read(&folder, &self.files.config).unwrap()
    }

    /// An adapter in a folder, held against this model's weights.
    pub fn read(&self, folder: &Path) -> Result<Adapter, LoraError> {
        let config = &self.files.config;
        let base = |name: &str, shape: &[usize]| {
            let tied = name == "lm_head.weight" && config.tie_word_embeddings;
            let name = if tied {
                "model.embed_tokens.weight"
            } else {
                name
            };
            self.files.weights.get(name, shape).ok()
        };
        Ok(Adapter::read_on(folder, config, &base)?.0)
    }

    /// The same, laid out for answering.
    pub fn loaded(&self, variant: &str) -> LoadedAdapter {
        LoadedAdapter::new(&self.adapter(variant), &self.files.config, 1.0)
    }

    /// The same, laid out for training.
    pub fn trainable(&self, variant: &str, dropout: f32) -> Trainable {
        Trainable::new(&self.files.config, self.adapter(variant).modules, dropout)
    }

    /// Matrices as a training run begins with them, on every linear layer.
    pub fn fresh(&self, rank: usize, scale: f32, seed: u64) -> Trainable {
        let config = &self.files.config;
        let targets = qeval::lora::LoraConfig::default()
            .targets(config, true)
            .unwrap();
        let first = |id| (id, Trainable::initial_values(config, id, rank, scale, seed));
        Trainable::new(config, targets.into_iter().map(first).collect(), 0.0)
    }
}

/// Numbers that a script of `fixtures/reference` stored.
pub struct Expected(Vec<u8>);

impl Expected {
    /// A file of `fixtures/expected`.
    pub fn read(file: &str) -> Self {
        Expected(std::fs::read(fixture(&format!("expected/{file}"))).unwrap())
    }

    pub fn names(&self) -> Vec<String> {
        let file = safetensors::SafeTensors::deserialize(&self.0).unwrap();
        file.names().into_iter().map(str::to_owned).collect()
    }

    pub fn floats(&self, name: &str) -> Vec<f32> {
        let bytes = self.bytes(name, safetensors::Dtype::F32);
        bytes
            .chunks_exact(4)
            .map(|b| f32::from_le_bytes(b.try_into().unwrap()))
            .collect()
    }

    /// Floats of 32 or 16 bits.
    pub fn floats_of_any(&self, name: &str) -> Vec<f32> {
        let file = safetensors::SafeTensors::deserialize(&self.0).unwrap();
        let tensor = file.tensor(name).unwrap();
        let halves = tensor.data().as_chunks::<2>().0.iter();
        match tensor.dtype() {
            safetensors::Dtype::F16 => halves
                .map(|&b| half::f16::from_le_bytes(b).to_f32())
                .collect(),
            safetensors::Dtype::BF16 => halves
                .map(|&b| half::bf16::from_le_bytes(b).to_f32())
                .collect(),
            _ => self.floats(name),
        }
    }

    pub fn integers(&self, name: &str) -> Vec<i64> {
        let bytes = self.bytes(name, safetensors::Dtype::I64);
        bytes
            .chunks_exact(8)
            .map(|b| i64::from_le_bytes(b.try_into().unwrap()))
            .collect()
    }

    pub fn ids(&self, name: &str) -> Vec<u32> {
        self.integers(name)
            .into_iter()
            .map(|id| u32::try_from(id).unwrap())
            .collect()
    }

    fn bytes(&self, name: &str, dtype: safetensors::Dtype) -> Vec<u8> {
        let file = safetensors::SafeTensors::deserialize(&self.0).unwrap();
        let tensor = file.tensor(name).unwrap();
        assert_eq!(tensor.dtype(), dtype, "{name}");
        tensor.data().to_vec()
    }

    /// The two rows of a `*.train.safetensors` as one optimizer step.
    pub fn step(&self) -> StepBatch {
        let rows: Vec<TokenizedExample> = (0..2)
            .map(|row| {
                let labels = self.integers(&format!("row.{row}.labels"));
                let is_label = labels.iter().map(|label| *label != -100).collect();
                example(self.ids(&format!("row.{row}.ids")), is_label)
            })
            .collect();
        let micro = MicroBatch::pack(&rows);
        StepBatch::of(vec![micro])
    }
}

/// A training example that no file has.
pub fn example(tokens: Vec<u32>, is_label: Vec<bool>) -> TokenizedExample {
    let origin = Origin {
        file: "test".into(),
        line: 1,
    };
    TokenizedExample {
        tokens,
        is_label,
        group: String::new(),
        origin,
        rehearsal: None,
        base: None,
    }
}

/// Logits at every position of one text.
pub fn logits(decoder: &Decoder, ids: &[u32], low_rank: &mut dyn LowRank) -> Mat {
    let mut cache = KvCache::new(decoder.config(), 1, ids.len());
    let rows = Span {
        slot: 0,
        position: 0,
        rows: 0..ids.len(),
    };
    let batch = Batch {
        tokens: ids.to_vec(),
        spans: vec![rows],
    };
    let hidden = decoder.forward(&batch, &mut cache, low_rank).unwrap();
    decoder.logits_with(&hidden, low_rank).unwrap()
}

/// The largest absolute difference; infinite when lengths differ or a value is no number.
pub fn largest_difference(a: &[f32], b: &[f32]) -> f32 {
    if a.len() != b.len() {
        return f32::INFINITY;
    }
    let differences = a.iter().zip(b).map(|(a, b)| (a - b).abs());
    differences.fold(0.0, |most, d| {
        if d.is_nan() {
            f32::INFINITY
        } else {
            most.max(d)
        }
    })
}

/// Norm of the difference by norm of `expected`; infinite when lengths differ.
pub fn relative_difference(found: &[f32], expected: &[f32]) -> f64 {
    if found.len() != expected.len() {
        return f64::INFINITY;
    }
    let off: Vec<f32> = found.iter().zip(expected).map(|(a, b)| a - b).collect();
    let relative = norm(&off) / norm(expected);
    if relative.is_nan() {
        f64::INFINITY
    } else {
        relative
    }
}

/// Euclidean norm.
pub fn norm(x: &[f32]) -> f64 {
    x.iter().map(|x| f64::from(*x).powi(2)).sum::<f64>().sqrt()
}

/// The transpose of a row-major matrix of `cols` columns.
pub fn transposed(x: &[f32], cols: usize) -> Vec<f32> {
    let rows = x.len() / cols;
    (0..x.len())
        .map(|i| x[i % rows * cols + i / rows])
        .collect()
}

/// Bit patterns, for comparisons that take no rounding for granted.
pub fn bits(x: &[f32]) -> Vec<u32> {
    x.iter().map(|x| x.to_bits()).collect()
}

/// Some prompts of different lengths; the later ones begin alike.
pub fn prompts(tiny: &Tiny) -> Vec<Arc<[u32]>> {
    let texts = [
        "The answer is",
        "What is the capital of France?",
        "def fact(n):",
        "You are a helpful assistant. What is the difference between the question and the answer?",
        "You are a helpful assistant. What is a model?",
        "You are a helpful assistant. 递归是函数。",
    ];
    texts
        .iter()
        .map(|t| {
            tiny.files
                .tokenizer
                .encode(*t, false)
                .unwrap()
                .get_ids()
                .into()
        })
        .collect()
}
