//! How fast this machine answers and trains, beside what its memory and arithmetic allow.
//!
//! Everything goes through the engine and the trainer as a run does, on random weights of a known
//! shape or on a real model. The floor of a measurement is the longer of two times: the bytes that
//! must be read over the measured rate of a copy, and the operations over the measured rate of a
//! large product.

use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::time::Instant;

use serde::Serialize;

use crate::generate::{Engine, EngineOptions, Request, Sampling, Work};
use crate::lora::{Adapter, DropoutKey, LoadedAdapter, LoraConfig, Trainable};
use crate::model::{
    Activation, Architecture, Format, Keep, Model, ModelConfig, ModelError, ModelRef, ModuleId,
    Projection,
};
use crate::random::{Philox, Purpose};
use crate::train::{AdamW, MicroBatch, StepBatch, TrainSection, learner};

use super::error::RunError;
use super::memory;

/// Prompt and answer of a row, in tokens.
const PROMPT: usize = 64;
const ANSWER: usize = 64;
/// Rank of the adapters.
const RANK: usize = 8;
/// Least steps of a training measurement; the first two warm up.
const STEPS: usize = 6;
/// Seconds that a training measurement takes at least: a GPU at its limit of power settles in some.
const STEADY: f64 = 4.0;

/// What the machine can do at best.
#[derive(Debug, Clone, Copy, Serialize)]
pub struct Rates {
    /// Bytes read plus written by a copy, a second.
    pub bytes_per_second: f64,
    /// Operations of a large product, a second.
    pub operations_per_second: f64,
}

/// One measurement.
#[derive(Debug, Clone, Serialize)]
pub struct Benchmark {
    /// What was done.
    pub work: String,
    /// Tokens a second over the whole of it.
    pub tokens_per_second: f64,
    /// A step's time, the median.
    pub milliseconds: f64,
    /// The least that a step can take.
    pub floor_milliseconds: f64,
    /// Floor over time.
    pub share_of_floor: f64,
    /// Most memory in use so far, in GB: the device's, on the CPU the process's where the system
    /// tells it.
    pub peak_gigabytes: Option<f64>,
}

/// Which measurements to make.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Part {
    /// Tokens of many answers.
    Decode,
    /// Prompts.
    Prefill,
    /// Steps of training.
    Train,
}

/// Known shapes by name.
pub fn shape(name: &str) -> Option<ModelConfig> {
    let qwen2 = |hidden, layers, heads, kv, dim, mlp, vocab, tied| ModelConfig {
        architecture: Architecture::Qwen2,
        hidden_size: hidden,
        intermediate_size: mlp,
        num_hidden_layers: layers,
        num_attention_heads: heads,
        num_key_value_heads: kv,
        head_dim: dim,
        rms_norm_eps: 1e-6,
        rope_theta: 1e6,
        rope_scaling: None,
        vocab_size: vocab,
        max_position_embeddings: 32768,
        tie_word_embeddings: tied,
        qkv_bias: true,
        o_bias: false,
        mlp_bias: false,
        qk_norm: false,
        norms_less_one: false,
        branch_norms: false,
        embedding_scale: 1.0,
        query_pre_attn_scalar: dim as f64,
        activation: Activation::Silu,
        window: None,
    };
    Some(match name {
        "qwen2.5-7b" => qwen2(3584, 28, 28, 4, 128, 18944, 152_064, false),
        "qwen2.5-14b" => qwen2(5120, 48, 40, 8, 128, 13824, 152_064, false),
        "qwen2.5-32b" => qwen2(5120, 64, 40, 8, 128, 27648, 152_064, false),
        "qwen2.5-0.5b" | "0.5b" => qwen2(896, 24, 14, 2, 64, 4864, 151_936, true),
        "smollm2" => ModelConfig {
            architecture: Architecture::Llama,
            qkv_bias: false,
            rope_theta: 1e5,
            rms_norm_eps: 1e-5,
            max_position_embeddings: 8192,
            ..qwen2(576, 30, 9, 3, 64, 1536, 49152, true)
        },
        _ => return None,
    })
}

/// Numbers of the layers' matrices, and of the head's.
fn parameters(config: &ModelConfig) -> (f64, f64) {
    let one = |p: Projection| (p.in_features(config) * p.out_features(config)) as f64;
    let layer: f64 = Projection::ALL.into_iter().map(one).sum();
    (
        layer * config.num_hidden_layers as f64,
        (config.vocab_size * config.hidden_size) as f64,
    )
}

/// A benchmark of one loaded model.
pub struct Bench<'a> {
    model: ModelRef<'a>,
    /// What the machine can do at best.
    pub rates: Rates,
    /// Bytes of weights that a step reads: the layers', and the head's.
    weights: [f64; 2],
    /// Bytes of a number of keys and values.
    number: f64,
}

impl<'a> Bench<'a> {
    /// Measures the machine itself.
    ///
    /// # Errors
    /// The device's memory is full.
    pub fn new(model: &'a Model) -> Result<Self, RunError> {
        let weights = model.bytes_read().map(|bytes| bytes as f64);
        let model = model.as_ref();
        let (rates, number) = match model {
            ModelRef::Cpu(_) => (cpu_rates(), 4.0),
            #[cfg(feature = "gpu")]
            ModelRef::Gpu(decoder) => {
                let found = decoder.device().ceilings().map_err(ModelError::from)?;
                let rates = Rates {
                    bytes_per_second: found.bytes_per_second,
                    operations_per_second: found.operations_per_second,
                };
                (rates, 2.0)
            }
        };
        Ok(Bench {
            model,
            rates,
            weights,
            number,
        })
    }

    /// Makes the measurements of some parts; `hear` is told each. `large` are the sizes of a GPU.
    ///
    /// # Errors
    /// The device's memory is full.
    pub fn run(
        &self,
        parts: &[Part],
        large: bool,
        hear: &mut dyn FnMut(&Benchmark),
    ) -> Result<Vec<Benchmark>, RunError> {
        let mut all = Vec::new();
        let mut add = |measured: Benchmark| {
            hear(&measured);
            all.push(measured);
        };
        if parts.contains(&Part::Decode) {
            let rows: &[usize] = if large {
                &[1, 16, 64, 80, 128]
            } else {
                &[1, 16, 32, 48]
            };
            for &rows in rows {
                add(self.decode(rows, "none", 0)?);
            }
            let rows = if large { 64 } else { 16 };
            add(self.decode(rows, "q,v", 1)?);
            add(self.decode(rows, "all-linear", 1)?);
            let (rows, adapters) = if large { (80, 4) } else { (48, 2) };
            add(self.decode(rows, "q,v", adapters)?);
        }
        if parts.contains(&Part::Prefill) {
            let (rows, length) = if large { (16, 256) } else { (4, 128) };
            add(self.prefill(rows, length)?);
        }
        if parts.contains(&Part::Train) {
            let (rows, length) = if large { (8, 512) } else { (8, 128) };
            let (even, long) = (vec![length; rows], vec![4 * length]);
            // Lengths as of chat data, packed without padding.
            let mut draws = Philox::new(5).draws(Purpose::Init, 1);
            let ragged: Vec<usize> = (0..2 * rows)
                .map(|_| 40 + draws.below(361) as usize)
                .collect();
            let ragged = if large { ragged } else { vec![40, 90, 130, 60] };
            for (adapter, lengths, keep) in [
                ("q,v", &even, Keep::All),
                ("all-linear", &even, Keep::All),
                ("all-linear", &even, Keep::Input),
                ("q,v", &long, Keep::Input),
                ("q,v", &long, Keep::All),
                ("q,v", &ragged, Keep::All),
            ] {
                add(self.train(adapter, lengths, keep)?);
            }
        }
        Ok(all)
    }

    fn measured(
        &self,
        work: String,
        tokens: f64,
        step: f64,
        bytes: f64,
        operations: f64,
    ) -> Benchmark {
        // A copy reads and writes a byte; weights are only read.
        let floor = (bytes / self.rates.bytes_per_second)
            .max(operations / self.rates.operations_per_second);
        Benchmark {
            work,
            tokens_per_second: tokens,
            milliseconds: step * 1e3,
            floor_milliseconds: floor * 1e3,
            share_of_floor: floor / step,
            peak_gigabytes: self.peak(),
        }
    }

    fn peak(&self) -> Option<f64> {
        match self.model {
            ModelRef::Cpu(_) => memory::peak_resident().map(|bytes| bytes as f64 / 1e9),
            #[cfg(feature = "gpu")]
            ModelRef::Gpu(decoder) => Some(decoder.device().memory().peak as f64 / 1e9),
        }
    }

    fn reset_peak(&self) {
        match self.model {
            // Measuring the machine took more than most models do.
            ModelRef::Cpu(_) => memory::reset_peak(),
            #[cfg(feature = "gpu")]
            ModelRef::Gpu(decoder) => decoder.device().reset_peak(),
        }
    }

    fn targets(adapter: &str) -> Vec<Projection> {
        match adapter {
            "q,v" => vec![Projection::Q, Projection::V],
            "all-linear" => Projection::ALL.to_vec(),
            _ => Vec::new(),
        }
    }

    fn modules(&self, adapter: &str, seed: u64) -> BTreeMap<ModuleId, crate::lora::LowRankPair> {
        let (config, targets) = (self.model.config(), Self::targets(adapter));
        ModuleId::all(config)
            .filter(|id| targets.contains(&id.projection))
            .map(|id| (id, Trainable::initial_values(config, id, RANK, 2.0, seed)))
            .collect()
    }

    fn prompt(&self, length: usize, seed: u64) -> Vec<u32> {
        let mut draws = Philox::new(seed).draws(Purpose::Take, 0);
        let vocabulary = self.model.config().vocab_size as u32;
        (0..length).map(|_| draws.below(vocabulary)).collect()
    }

    fn requests(&self, rows: usize, prompt: usize, answer: usize, adapters: usize) -> Vec<Request> {
        let request = |id: usize| Request {
            // The base and each adapter in equal parts.
            adapter: match adapters {
                0 => None,
                1 => Some(0),
                n => (id * (n + 1) / rows).checked_sub(1),
            },
            prompt: self.prompt(prompt, id as u64).into(),
            work: vec![Work::Generate {
                id,
                sampling: Sampling::default(),
                max_new_tokens: answer,
                seed: 0,
            }],
        };
        (0..rows).map(request).collect()
    }

    fn options(&self, slots: usize) -> EngineOptions {
        EngineOptions::new(slots, Vec::new(), self.model.config().vocab_size)
    }

    /// `rows` answers at once, by `adapters` adapters and the base, or by the one adapter alone.
    fn decode(&self, rows: usize, adapter: &str, adapters: usize) -> Result<Benchmark, RunError> {
        let config = self.model.config();
        let loaded: Vec<LoadedAdapter> = (0..adapters)
            .map(|i| {
                let mut modules = self.modules(adapter, i as u64);
                for module in modules.values_mut() {
                    module.b.iter_mut().for_each(|b| *b = 0.001);
                }
                LoadedAdapter::new(&Adapter::new(LoraConfig::default(), modules), config, 1.0)
            })
            .collect();
        let engine = Engine::new(self.model, &loaded, self.options(rows));
        self.reset_peak();
        let mut whole = f64::MAX;
        let mut steps = Vec::new();
        for _ in 0..2 {
            let requests = self.requests(rows, PROMPT, ANSWER, adapters);
            let (start, mut last) = (Instant::now(), Instant::now());
            steps.clear();
            engine.run(requests, &mut |_| ControlFlow::Continue(()), &mut |step| {
                let now = Instant::now();
                if step.prompt_rows == 0 {
                    steps.push((now - last).as_secs_f64());
                }
                last = now;
                ControlFlow::Continue(())
            })?;
            whole = whole.min(start.elapsed().as_secs_f64());
        }
        let (layers, head) = parameters(config);
        let heads = config.heads();
        let positions = (rows * (PROMPT + ANSWER / 2) * config.num_hidden_layers) as f64;
        let cache = positions * 2.0 * (heads.kv * heads.dim) as f64;
        let bytes = self.weights[0] + self.weights[1] + self.number * cache;
        let operations = 2.0 * rows as f64 * (layers + head);
        let work = match adapters {
            0 => format!("decode, {rows} rows"),
            1 => format!("decode, {rows} rows, {adapter} adapter"),
            n => format!("decode, {rows} rows: base and {n} {adapter} adapters"),
        };
        let step = median(&mut steps);
        Ok(self.measured(
            work,
            (rows * ANSWER) as f64 / whole,
            step,
            bytes,
            operations,
        ))
    }

    fn prefill(&self, rows: usize, length: usize) -> Result<Benchmark, RunError> {
        let engine = Engine::new(self.model, &[], self.options(rows));
        self.reset_peak();
        let mut times: Vec<f64> = (0..3)
            .map(|_| {
                let mut seconds = 0.0;
                let mut last = Instant::now();
                let requests = self.requests(rows, length, 1, 0);
                last.clone_from(&Instant::now());
                engine.run(requests, &mut |_| ControlFlow::Continue(()), &mut |_| {
                    seconds = last.elapsed().as_secs_f64();
                    ControlFlow::Continue(())
                })?;
                Ok(seconds)
            })
            .collect::<Result<_, ModelError>>()?;
        let step = median(&mut times);
        let (layers, _) = parameters(self.model.config());
        let tokens = (rows * length) as f64;
        let bytes = self.weights[0];
        Ok(self.measured(
            format!("prompts, {rows} of {length} tokens"),
            tokens / step,
            step,
            bytes,
            2.0 * tokens * layers,
        ))
    }

    fn train(&self, adapter: &str, lengths: &[usize], keep: Keep) -> Result<Benchmark, RunError> {
        let config = self.model.config();
        let mut micro = MicroBatch {
            tokens: Vec::new(),
            positions: Vec::new(),
            segments: Vec::new(),
            labels: Vec::new(),
            texts: Vec::new(),
            anchors: Vec::new(),
        };
        for (i, &length) in lengths.iter().enumerate() {
            let ids = self.prompt(length, 100 + i as u64);
            micro.segments.push(micro.tokens.len());
            micro.positions.extend(0..length);
            micro.labels.extend(ids[1..].iter().map(|&id| Some(id)));
            micro.labels.push(None);
            micro.tokens.extend(ids);
        }
        let tokens = micro.tokens.len() as f64;
        let batch = StepBatch::of(vec![micro]);
        let trainable = Trainable::new(config, self.modules(adapter, 1), 0.0);
        let optimizer = AdamW::new(&TrainSection::default(), &trainable);
        let mut learner = learner(self.model, trainable, optimizer, keep)?;
        self.reset_peak();
        let mut times = Vec::new();
        let began = Instant::now();
        while times.len() < STEPS || began.elapsed().as_secs_f64() < STEADY {
            let start = Instant::now();
            let key = DropoutKey {
                step: times.len() as u32,
                ..DropoutKey::default()
            };
            learner.accumulate(&batch, 0.0, key)?;
            learner.update(1.0, 1e-4);
            times.push(start.elapsed().as_secs_f64());
        }
        let step = median(&mut times[2..]);
        let (layers, head) = parameters(config);
        let passes = if keep == Keep::Input { 6.0 } else { 4.0 };
        let operations = tokens * (passes * layers + 4.0 * head);
        let sizes = match lengths {
            [one] => format!("1x{one}"),
            [first, ..] if lengths.iter().all(|l| l == first) => {
                format!("{}x{first}", lengths.len())
            }
            _ => format!("{} ragged examples, {tokens} tokens", lengths.len()),
        };
        let memory = if keep == Keep::Input {
            ", low memory"
        } else {
            ""
        };
        let work = format!("train {adapter} r={RANK}, {sizes}{memory}");
        Ok(self.measured(
            work,
            tokens / step,
            step,
            self.weights[0] + self.weights[1],
            operations,
        ))
    }
}

fn median(times: &mut [f64]) -> f64 {
    times.sort_by(f64::total_cmp);
    times.get(times.len() / 2).copied().unwrap_or(f64::NAN)
}

/// A copy and a product on all cores.
fn cpu_rates() -> Rates {
    use crate::model::{Cpu, Device, Mat};
    use rayon::prelude::*;
    let from = vec![1.0f32; 64 << 20];
    let mut to = vec![0.0f32; from.len()];
    let mut copy = || {
        let start = Instant::now();
        to.par_chunks_mut(1 << 20)
            .zip(from.par_chunks(1 << 20))
            .for_each(|(to, from)| to.copy_from_slice(from));
        start.elapsed().as_secs_f64()
    };
    let mut copies: Vec<f64> = (0..5).map(|_| copy()).collect();
    let side = 1536;
    let x = Mat {
        data: vec![0.5; side * side],
        cols: side,
    };
    let mut products = Vec::new();
    if let Ok(weight) = Cpu.random_weight(side, side, Format::F32, 1) {
        for _ in 0..5 {
            let start = Instant::now();
            std::hint::black_box(Cpu.logits(&weight, &x));
            products.push(start.elapsed().as_secs_f64());
        }
    }
    Rates {
        bytes_per_second: 8.0 * (64 << 20) as f64 / median(&mut copies),
        operations_per_second: 2.0 * (side as f64).powi(3) / median(&mut products),
    }
}
