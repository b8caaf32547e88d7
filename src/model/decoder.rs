//! One decoder for llama, qwen2, and qwen3: an architecture is flags of its configuration.
//!
//! Answering runs rows of many sequences together (each row a token at a position of a slot);
//! training runs whole sequences side by side and walks back layer by layer. Only chosen rows
//! reach the head.

use std::ops::Range;
use std::sync::Arc;

use super::cpu::{self, Packed, Span};
use super::layers::{
    Attention, Linear, LowRank, LowRankGradient, Mlp, Place, RmsNorm, Rotary, Site,
};
use super::{KvCache, Mat, ModelConfig, ModelError, Weights};

/// Rows whose logits are in memory together while a loss is formed.
const LOSS_ROWS: usize = 128;

/// What of a layer's inner activations stays in memory between forward and backward.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Keep {
    /// The results of products; norms, rotation, activation, and softmax are computed again.
    Products,
    /// The layer's input alone; the whole forward is computed again.
    Input,
}

struct Layer {
    input_norm: RmsNorm,
    attention: Attention,
    post_norm: RmsNorm,
    mlp: Mlp,
}

/// A loaded base model.
pub struct Decoder {
    config: ModelConfig,
    embedding: Arc<Packed>,
    head: Arc<Packed>,
    layers: Vec<Layer>,
    norm: RmsNorm,
    rotary: Rotary,
}

/// The rows of one step: tokens, and which positions of which slots they are.
#[derive(Debug, Clone, Default)]
pub struct Batch {
    /// One a row.
    pub tokens: Vec<u32>,
    /// Cover all rows in order, each slot at most once.
    pub spans: Vec<Span>,
}

/// What the backward needs of one layer.
struct Saved {
    input: Mat,
    inner: Option<Inner>,
}

struct Inner {
    /// Raw queries, keys, and values.
    qkv: Mat,
    /// Attention's result before the output projection.
    mixed: Mat,
    /// The residual stream between attention and MLP.
    middle: Mat,
    gate_up: Mat,
}

/// What a training forward leaves for its backward.
pub struct Tape {
    sequences: Vec<Range<usize>>,
    layers: Vec<Saved>,
}

impl Decoder {
    /// Reads and packs every weight.
    ///
    /// # Errors
    /// A missing tensor, a wrong shape, a NaN.
    pub fn load(config: &ModelConfig, weights: &Weights) -> Result<Self, ModelError> {
        let (hidden, heads) = (config.hidden_size, config.heads());
        let get = |name: &str, shape: &[usize]| weights.get(name, shape);
        let eps = config.rms_norm_eps as f32;
        let embedding = get("model.embed_tokens.weight", &[config.vocab_size, hidden])?;
        let embedding = Arc::new(Packed::stack(&[&embedding], hidden));
        let head = if config.tie_word_embeddings {
            embedding.clone()
        } else {
            let head = get("lm_head.weight", &[config.vocab_size, hidden])?;
            Arc::new(Packed::stack(&[&head], hidden))
        };
        let mut layers = Vec::with_capacity(config.num_hidden_layers);
        for layer in 0..config.num_hidden_layers {
            let norm = |name: &str, n: usize| {
                let weight = get(&format!("model.layers.{layer}.{name}.weight"), &[n])?;
                Ok::<_, ModelError>(RmsNorm { weight, eps })
            };
            let input_norm = norm("input_layernorm", hidden)?;
            let post_norm = norm("post_attention_layernorm", hidden)?;
            let head_norm = |name| config.qk_norm.then(|| norm(name, heads.dim)).transpose();
            let (q_norm, k_norm) = (
                head_norm("self_attn.q_norm")?,
                head_norm("self_attn.k_norm")?,
            );
            let linear = |site: Site, has_bias: bool| {
                let (mut parts, mut bias) = (Vec::new(), Vec::new());
                let inputs = site.projections()[0].in_features(config);
                for projection in site.projections() {
                    let path = format!(
                        "model.layers.{layer}.{}.{}",
                        projection.block(),
                        projection.hf_name()
                    );
                    let outputs = projection.out_features(config);
                    parts.push(get(&format!("{path}.weight"), &[outputs, inputs])?);
                    if has_bias {
                        bias.extend(get(&format!("{path}.bias"), &[outputs])?);
                    }
                }
                let parts: Vec<&[f32]> = parts.iter().map(Vec::as_slice).collect();
                let weight = Packed::stack(&parts, inputs);
                Ok::<_, ModelError>(Linear {
                    weight,
                    bias: has_bias.then_some(bias),
                    place: Place { layer, site },
                })
            };
            layers.push(Layer {
                input_norm,
                post_norm,
                attention: Attention {
                    qkv: linear(Site::Qkv, config.qkv_bias)?,
                    o: linear(Site::O, config.o_bias)?,
                    q_norm,
                    k_norm,
                    heads,
                },
                mlp: Mlp {
                    gate_up: linear(Site::GateUp, config.mlp_bias)?,
                    down: linear(Site::Down, config.mlp_bias)?,
                },
            });
        }
        let norm = RmsNorm {
            weight: get("model.norm.weight", &[hidden])?,
            eps,
        };
        let rotary = Rotary::new(&config.inv_freq(), config.max_position_embeddings);
        Ok(Decoder {
            config: config.clone(),
            embedding,
            head,
            layers,
            norm,
            rotary,
        })
    }

    /// Sizes and flags.
    pub fn config(&self) -> &ModelConfig {
        &self.config
    }

    /// Bytes of weights in memory.
    pub fn bytes(&self) -> usize {
        let layer = |l: &Layer| {
            [
                &l.attention.qkv,
                &l.attention.o,
                &l.mlp.gate_up,
                &l.mlp.down,
            ]
            .map(|w| w.weight.bytes())
            .iter()
            .sum::<usize>()
        };
        let head = if Arc::ptr_eq(&self.head, &self.embedding) {
            0
        } else {
            self.head.bytes()
        };
        self.embedding.bytes() + head + self.layers.iter().map(layer).sum::<usize>()
    }

    fn embed(&self, tokens: &[u32]) -> Mat {
        let mut x = Mat::zeros(tokens.len(), self.config.hidden_size);
        for (row, &token) in tokens.iter().enumerate() {
            self.embedding.read_row(token as usize, x.row_mut(row));
        }
        x
    }

    /// Runs one step: stores the rows' keys and values, and returns the last layer's result,
    /// `[rows, hidden]`, before the final norm.
    ///
    /// # Panics
    /// When a token is outside the vocabulary or a position outside the cache.
    pub fn forward(&self, batch: &Batch, cache: &mut KvCache, low_rank: &mut dyn LowRank) -> Mat {
        let mut x = self.embed(&batch.tokens);
        for (layer, kv) in self.layers.iter().zip(&mut cache.layers) {
            layer.forward(&mut x, &batch.spans, &self.rotary, kv, low_rank);
        }
        x
    }

    /// Final norm and head: `[rows, hidden] -> [rows, vocabulary]`.
    pub fn logits(&self, hidden: &Mat) -> Mat {
        let normed = self.norm.forward(hidden);
        let mut logits = Mat::zeros(hidden.rows(), self.config.vocab_size);
        cpu::product(
            &normed.data,
            normed.rows(),
            &self.head,
            &mut logits.data,
            false,
        );
        logits
    }

    /// Runs whole sequences side by side for training: the last layer's result, and what
    /// [`Decoder::backward`] needs.
    pub fn forward_training(
        &self,
        tokens: &[u32],
        sequences: &[Range<usize>],
        keep: Keep,
        low_rank: &mut dyn LowRank,
    ) -> (Mat, Tape) {
        let spans = super::layers::whole(sequences);
        let longest = sequences.iter().map(Range::len).max().unwrap_or(0);
        // Keys and values are used inside a layer only: one layer's room serves all.
        let mut kv = cpu::LayerKv::new(self.config.heads(), sequences.len(), longest);
        let mut x = self.embed(tokens);
        let mut layers = Vec::with_capacity(self.layers.len());
        for layer in &self.layers {
            let input = x.clone();
            let inner = layer.forward(&mut x, &spans, &self.rotary, &mut kv, low_rank);
            layers.push(Saved {
                input,
                inner: (keep == Keep::Products).then_some(inner),
            });
        }
        (
            x,
            Tape {
                sequences: sequences.to_vec(),
                layers,
            },
        )
    }

    /// Cross-entropy of the rows named against their labels, in nats, summed; each row's gradient
    /// times `weight` is added to `d_hidden` when it is wanted. The head runs over some rows at a
    /// time, and over no others.
    pub fn loss(
        &self,
        hidden: &Mat,
        labels: &[(usize, u32)],
        weight: f32,
        mut d_hidden: Option<&mut Mat>,
    ) -> f64 {
        let mut total = 0.0;
        for chunk in labels.chunks(LOSS_ROWS) {
            let rows: Vec<usize> = chunk.iter().map(|(row, _)| *row).collect();
            let x = hidden.gather(&rows);
            let mut logits = self.logits(&x);
            let losses: Vec<f32> = {
                use rayon::prelude::*;
                let cols = logits.cols;
                let rows = logits.data.par_chunks_exact_mut(cols).zip(chunk.par_iter());
                rows.map(|(row, (_, label))| cpu::cross_entropy(row, *label as usize, weight))
                    .collect()
            };
            total += losses.iter().map(|&l| f64::from(l)).sum::<f64>();
            if let Some(target) = d_hidden.as_deref_mut() {
                self.head_backward(&x, &logits, &rows, target);
            }
        }
        total
    }

    /// KL(base || this) of the next-token distributions of the rows named, in nats, summed; each
    /// row's gradient times `weight` is added to `d_hidden`. `base` is the base's last layer's
    /// result at the same rows, `[rows, hidden]`: a row of it stands for a whole distribution.
    pub fn divergence(
        &self,
        hidden: &Mat,
        rows: &[usize],
        base: &Mat,
        weight: f32,
        d_hidden: &mut Mat,
    ) -> f64 {
        use rayon::prelude::*;
        let mut total = 0.0;
        for (c, chunk) in rows.chunks(LOSS_ROWS).enumerate() {
            let first = c * LOSS_ROWS;
            let x = hidden.gather(chunk);
            let base = base.gather(&(first..first + chunk.len()).collect::<Vec<_>>());
            let (mut logits, mut target) = (self.logits(&x), self.logits(&base));
            let cols = logits.cols;
            let pairs = logits.data.par_chunks_exact_mut(cols);
            let pairs = pairs.zip(target.data.par_chunks_exact_mut(cols));
            let losses: Vec<f32> = pairs
                .map(|(row, target)| cpu::divergence(row, target, weight))
                .collect();
            total += losses.iter().map(|&l| f64::from(l)).sum::<f64>();
            self.head_backward(&x, &logits, chunk, d_hidden);
        }
        total
    }

    /// Adds the gradient by `rows` of the last layer's result, from that by their logits.
    fn head_backward(&self, x: &Mat, d_logits: &Mat, rows: &[usize], target: &mut Mat) {
        let mut d_normed = Mat::zeros(x.rows(), x.cols);
        cpu::product_backward(
            &d_logits.data,
            d_logits.rows(),
            &self.head,
            &mut d_normed.data,
            false,
        );
        let mut dx = Mat::zeros(x.rows(), x.cols);
        self.norm.backward(x, &d_normed, &mut dx);
        for (i, &row) in rows.iter().enumerate() {
            cpu::add(dx.row(i), target.row_mut(row));
        }
    }

    /// Walks back through the layers from the gradient by the last layer's result, adding up the
    /// low-rank gradients. Stops at the first layer that is trained.
    pub fn backward(&self, tape: Tape, mut gradient: Mat, low_rank: &mut dyn LowRankGradient) {
        let Tape { sequences, layers } = tape;
        let spans = super::layers::whole(&sequences);
        for (layer, saved) in self.layers.iter().zip(layers).rev() {
            if layer.attention.qkv.place.layer < low_rank.first_layer() {
                return;
            }
            let inner = saved.inner.unwrap_or_else(|| {
                let longest = sequences.iter().map(Range::len).max().unwrap_or(0);
                let mut kv = cpu::LayerKv::new(self.config.heads(), sequences.len(), longest);
                layer.forward(
                    &mut saved.input.clone(),
                    &spans,
                    &self.rotary,
                    &mut kv,
                    low_rank,
                )
            });
            let Some(below) = layer.backward(
                &saved.input,
                inner,
                gradient,
                &sequences,
                &self.rotary,
                low_rank,
            ) else {
                return;
            };
            gradient = below;
        }
    }
}

impl Layer {
    /// `x` becomes the layer's result.
    fn forward(
        &self,
        x: &mut Mat,
        spans: &[Span],
        rotary: &Rotary,
        kv: &mut cpu::LayerKv,
        low_rank: &mut dyn LowRank,
    ) -> Inner {
        let (qkv, mixed) =
            self.attention
                .mix(&self.input_norm.forward(x), spans, rotary, kv, low_rank);
        let attended = self.attention.o.forward(&mixed, low_rank);
        cpu::add(&attended.data, &mut x.data);
        let middle = x.clone();
        let (gate_up, y) = self.mlp.forward(&self.post_norm.forward(&middle), low_rank);
        cpu::add(&y.data, &mut x.data);
        Inner {
            qkv,
            mixed,
            middle,
            gate_up,
        }
    }

    /// The gradient by the layer's input, or `None` when nothing below is trained.
    fn backward(
        &self,
        input: &Mat,
        inner: Inner,
        mut gradient: Mat,
        sequences: &[Range<usize>],
        rotary: &Rotary,
        low_rank: &mut dyn LowRankGradient,
    ) -> Option<Mat> {
        let Inner {
            qkv,
            mixed,
            middle,
            gate_up,
        } = inner;
        let d_normed = self.mlp.backward(
            &self.post_norm.forward(&middle),
            &gate_up,
            &gradient,
            low_rank,
        );
        drop(gate_up);
        self.post_norm.backward(&middle, &d_normed, &mut gradient);
        drop((d_normed, middle));
        let d_mixed = self.attention.o.backward(&mixed, &gradient, low_rank);
        let normed = self.input_norm.forward(input);
        let d_normed = self
            .attention
            .mix_backward(&normed, &qkv, &d_mixed, sequences, rotary, low_rank)?;
        self.input_norm.backward(input, &d_normed, &mut gradient);
        Some(gradient)
    }
}
