//! What the tests share: the GPU, random numbers, small random models, differences.

use std::collections::BTreeMap;
use std::path::Path;

use half::bf16;
use qeval::gpu::Cuda;
use qeval::half_type::HalfType;
use qeval::lora::{
    Adapter, Beside, LoadedAdapter, LoraConfig, LowRankPair, Outputs, OwnRows, Trainable,
};
use qeval::model::{
    Activation, Architecture, Cpu, Decoder, Device, Mat, ModelConfig, ModuleId, Weights, Window,
};
use qeval::random::{Philox, Purpose};

/// The GPU.
pub fn gpu() -> Cuda {
    Cuda::open(0, HalfType::Bfloat16).unwrap()
}

/// The GPU, in both kinds of numbers, and the same one as if it were the oldest that qeval runs on:
/// kernels that a newer one has better ones for are tried too.
pub fn gpus() -> Vec<Cuda> {
    let open = |half_type| {
        [
            Cuda::open(0, half_type).unwrap(),
            Cuda::open_as_oldest(0, half_type).unwrap(),
        ]
    };
    let kinds = [HalfType::Bfloat16, HalfType::Float16];
    kinds.into_iter().flat_map(open).collect()
}

/// Random numbers in +-1, rounded to bf16, so that both devices begin with the same.
pub fn numbers(rows: usize, cols: usize, seed: u64) -> Mat {
    let mut draws = Philox::new(seed).draws(Purpose::Init, 7);
    let data = (0..rows * cols).map(|_| half(2.0 * draws.uniform() - 1.0));
    Mat {
        data: data.collect(),
        cols,
    }
}

pub fn half(x: f32) -> f32 {
    HalfType::Bfloat16.round(x)
}

/// Length of the difference over the length of what is expected.
pub fn difference(found: &[f32], expected: &[f32]) -> f64 {
    assert_eq!(found.len(), expected.len());
    let square = |x: f64| x * x;
    let (mut apart, mut length) = (0.0, 0.0);
    for (&f, &e) in found.iter().zip(expected) {
        assert!(f.is_finite(), "a number that is none");
        apart += square(f64::from(f) - f64::from(e));
        length += square(f64::from(e));
    }
    (apart / length.max(1e-30)).sqrt()
}

#[track_caller]
pub fn assert_close(what: &str, found: &[f32], expected: &[f32], limit: f64) {
    let apart = difference(found, expected);
    eprintln!("{what}: {apart:.2e}");
    assert!(
        apart < limit,
        "{what} differs by {apart:.2e}, more than {limit:.0e}"
    );
}

/// Sizes of a small model in the manner of an architecture.
pub fn config(kind: &str) -> ModelConfig {
    let (heads, kv, dim) = match kind {
        "qwen2" => (14, 2, 64),
        "qwen3" => (4, 2, 128),
        "gemma3" => (4, 1, 256),
        _ => (3, 1, 64),
    };
    let is_gemma = kind == "gemma3";
    let window = |layers: [bool; 3], rope_theta| Window {
        size: 40,
        layers: layers.to_vec(),
        rope_theta,
    };
    ModelConfig {
        architecture: Architecture::named(kind).unwrap(),
        hidden_size: 256,
        intermediate_size: 448,
        num_hidden_layers: 3,
        num_attention_heads: heads,
        num_key_value_heads: kv,
        head_dim: dim,
        rms_norm_eps: 1e-5,
        rope_theta: 10_000.0,
        rope_scaling: None,
        vocab_size: 1004,
        max_position_embeddings: 2048,
        tie_word_embeddings: kind != "qwen2",
        qkv_bias: kind == "qwen2",
        o_bias: false,
        mlp_bias: false,
        qk_norm: kind == "qwen3" || is_gemma,
        norms_less_one: is_gemma,
        branch_norms: is_gemma,
        embedding_scale: if is_gemma { 16.0 } else { 1.0 },
        query_pre_attn_scalar: if is_gemma { 168.0 } else { dim as f64 },
        activation: match is_gemma {
            true => Activation::GeluTanh,
            false => Activation::Silu,
        },
        window: match kind {
            "mistral" => Some(window([true; 3], None)),
            "gemma3" => Some(window([true, false, true], Some(1_000.0))),
            _ => None,
        },
    }
}

/// The same small random model on both devices.
pub struct Pair {
    pub config: ModelConfig,
    pub cpu: Decoder<Cpu>,
    pub gpu: Decoder<Cuda>,
}

pub fn pair(cuda: &Cuda, kind: &str) -> Pair {
    let config = config(kind);
    let folder = tempfile::tempdir().unwrap();
    write_model(folder.path(), &config);
    let weights = Weights::open_folder(folder.path()).unwrap();
    Pair {
        cpu: Decoder::load(&config, &weights).unwrap(),
        gpu: Decoder::load_on(cuda.clone(), &config, &weights).unwrap(),
        config,
    }
}

fn write_model(folder: &Path, config: &ModelConfig) {
    let mut tensors: BTreeMap<String, (Vec<usize>, Vec<u8>)> = BTreeMap::new();
    let mut seed = 100;
    let mut add = |name: String, shape: &[usize], center: f32, width: f32| {
        seed += 1;
        let cols = *shape.last().unwrap();
        let x = numbers(shape.iter().product::<usize>() / cols, cols, seed);
        let bytes = x.data.iter().map(|v| bf16::from_f32(center + v * width));
        let bytes = bytes.flat_map(bf16::to_le_bytes).collect();
        tensors.insert(name, (shape.to_vec(), bytes));
    };
    let hidden = config.hidden_size;
    let center = if config.norms_less_one { 0.0 } else { 1.0 };
    add(
        "model.embed_tokens.weight".into(),
        &[config.vocab_size, hidden],
        0.0,
        1.0,
    );
    add("model.norm.weight".into(), &[hidden], center, 0.3);
    if !config.tie_word_embeddings {
        add(
            "lm_head.weight".into(),
            &[config.vocab_size, hidden],
            0.0,
            0.2,
        );
    }
    for id in ModuleId::all(config) {
        let (n, k) = (
            id.projection.out_features(config),
            id.projection.in_features(config),
        );
        add(
            format!("{id}.weight"),
            &[n, k],
            0.0,
            1.7 / (k as f32).sqrt(),
        );
        if id.projection.has_bias(config) {
            add(format!("{id}.bias"), &[n], 0.0, 0.5);
        }
    }
    for layer in 0..config.num_hidden_layers {
        let at = format!("model.layers.{layer}");
        let mut norms = vec!["input_layernorm", "post_attention_layernorm"];
        if config.branch_norms {
            norms.extend(["pre_feedforward_layernorm", "post_feedforward_layernorm"]);
        }
        for norm in norms {
            add(format!("{at}.{norm}.weight"), &[hidden], center, 0.3);
        }
        if config.qk_norm {
            for norm in ["q_norm", "k_norm"] {
                add(
                    format!("{at}.self_attn.{norm}.weight"),
                    &[config.head_dim],
                    center,
                    0.3,
                );
            }
        }
    }
    let views = tensors.iter().map(|(name, (shape, bytes))| {
        let view =
            safetensors::tensor::TensorView::new(safetensors::Dtype::BF16, shape.clone(), bytes);
        (name.clone(), view.unwrap())
    });
    let bytes = safetensors::serialize(views, None).unwrap();
    std::fs::write(folder.join("model.safetensors"), bytes).unwrap();
}

/// Random matrices, A and B, on the modules named (all without names).
pub fn matrices(
    config: &ModelConfig,
    names: &[&str],
    rank: usize,
    seed: u64,
) -> BTreeMap<ModuleId, LowRankPair> {
    let chosen = ModuleId::all(config)
        .filter(|id| names.is_empty() || names.contains(&id.projection.hf_name()));
    // What they add is as large at every rank.
    let size = 0.2 * (8.0 / rank as f32).sqrt();
    let one = |(i, id): (usize, ModuleId)| {
        let (n, k) = (
            id.projection.out_features(config),
            id.projection.in_features(config),
        );
        let a = numbers(rank, k, seed + 2 * i as u64).data;
        let b = numbers(n, rank, seed + 2 * i as u64 + 1).data;
        let pair = LowRankPair {
            rank,
            scale: if i % 3 == 0 { 0.25 } else { 0.5 },
            a: a.iter().map(|x| half(x * 0.2)).collect(),
            b: b.iter().map(|x| half(x * size)).collect(),
        };
        (id, pair)
    };
    chosen.enumerate().map(one).collect()
}

pub fn trainable(config: &ModelConfig, names: &[&str], rank: usize, dropout: f32) -> Trainable {
    Trainable::new(config, matrices(config, names, rank, 40), dropout)
}

pub fn lora_config() -> LoraConfig {
    LoraConfig::default()
}

/// One that changes outputs of some products too, with matrices there and without.
pub fn changing(config: &ModelConfig) -> LoadedAdapter {
    let modules = matrices(config, &["q_proj", "down_proj"], 8, 500);
    let outputs = |(seed, path): (u64, &str)| {
        let id = ModuleId::parse(path).unwrap();
        let count = id.projection.out_features(config);
        let gain = numbers(1, count, seed)
            .data
            .iter()
            .map(|x| 1.0 + 0.3 * x)
            .collect();
        let shift = numbers(1, count, seed + 1)
            .data
            .iter()
            .map(|x| 0.3 * x)
            .collect();
        (id, Outputs { gain, shift })
    };
    let paths = [
        "model.layers.0.self_attn.q_proj",
        "model.layers.1.mlp.down_proj",
        "model.layers.1.mlp.up_proj",
        "model.layers.2.self_attn.v_proj",
    ];
    let (vocabulary, hidden) = (config.vocab_size, config.hidden_size);
    let tokens = [3u32, 77, 1003].map(|token| (token, numbers(1, hidden, token.into()).data));
    let tokens = tokens.into_iter();
    let beside = Beside {
        outputs: (700..).step_by(2).zip(paths).map(outputs).collect(),
        embedding: Some(OwnRows::All(numbers(vocabulary, hidden, 720).data)),
        head: Some(OwnRows::Some(tokens.collect())),
    };
    let adapter = Adapter::with(lora_config(), modules, beside);
    LoadedAdapter::new(&adapter, config, 0.9)
}

/// Tokens of a made-up text.
pub fn tokens(n: usize, config: &ModelConfig, seed: u64) -> Vec<u32> {
    let mut draws = Philox::new(seed).draws(Purpose::Init, 9);
    (0..n)
        .map(|_| draws.below(config.vocab_size as u32))
        .collect()
}

pub fn down(cuda: &Cuda, x: &<Cuda as Device>::Mat) -> Vec<f32> {
    cuda.download(x).data
}
