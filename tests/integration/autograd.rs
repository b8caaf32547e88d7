//! A decoder in candle's differentiable operations, in F64 and for one text at a time: what the
//! gradients written by hand are held against.

use std::collections::BTreeMap;

use candle_core::backprop::GradStore;
use candle_core::{D, DType, Device, Result, Tensor, Var};
use qeval::lora::LowRankPair;
use qeval::model::{Activation, ModelConfig, ModelFiles, ModuleId, Projection};

use crate::support::Tiny;

/// The low-rank matrices of one module, with gradients.
struct Pair {
    a: Var,
    b: Var,
    scale: f64,
}

/// A base with trained low-rank matrices.
pub struct Autograd<'a> {
    files: &'a ModelFiles,
    pairs: BTreeMap<ModuleId, Pair>,
}

/// Token ids, and by row the token to predict.
pub type Text = (Vec<u32>, Vec<(usize, u32)>);

/// Loss and gradients: `A` as `[rank, in]`, `B` as `[out, rank]`.
pub struct Gradients {
    pub loss: f64,
    pub of: BTreeMap<ModuleId, (Vec<f32>, Vec<f32>)>,
}

impl<'a> Autograd<'a> {
    pub fn new(tiny: &'a Tiny, matrices: &BTreeMap<ModuleId, LowRankPair>) -> Result<Self> {
        let config = &tiny.files.config;
        let var = |x: &[f32], rows: usize, cols: usize| {
            Var::from_tensor(
                &Tensor::from_slice(x, (rows, cols), &Device::Cpu)?.to_dtype(DType::F64)?,
            )
        };
        let mut pairs = BTreeMap::new();
        for (id, m) in matrices {
            let (inputs, outputs) = (
                id.projection.in_features(config),
                id.projection.out_features(config),
            );
            let (a, b) = (var(&m.a, m.rank, inputs)?, var(&m.b, outputs, m.rank)?);
            pairs.insert(
                *id,
                Pair {
                    a,
                    b,
                    scale: f64::from(m.scale),
                },
            );
        }
        Ok(Autograd {
            files: &tiny.files,
            pairs,
        })
    }

    /// Mean cross-entropy over the labelled tokens of all texts, and its gradients.
    pub fn gradients(&self, texts: &[Text]) -> Result<Gradients> {
        let labelled: usize = texts.iter().map(|(_, labels)| labels.len()).sum();
        let mut loss = Tensor::zeros((), DType::F64, &Device::Cpu)?;
        for (ids, labels) in texts {
            let logprobs = candle_nn::ops::log_softmax(&self.logits(ids)?, D::Minus1)?;
            for &(row, label) in labels {
                loss = (loss - logprobs.get(row)?.get(label as usize)?)?;
            }
        }
        let loss = (loss / labelled as f64)?;
        let grads = loss.backward()?;
        let mut of = BTreeMap::new();
        for (id, pair) in &self.pairs {
            of.insert(
                *id,
                (gradient(&grads, &pair.a)?, gradient(&grads, &pair.b)?),
            );
        }
        Ok(Gradients {
            loss: loss.to_scalar()?,
            of,
        })
    }

    fn config(&self) -> &ModelConfig {
        &self.files.config
    }

    fn weight(&self, name: &str, shape: &[usize]) -> Result<Tensor> {
        let values = self.files.weights.get(name, shape).unwrap();
        Tensor::from_vec(values, shape, &Device::Cpu)?.to_dtype(DType::F64)
    }

    /// `[rows, vocabulary]`.
    fn logits(&self, ids: &[u32]) -> Result<Tensor> {
        let (vocabulary, hidden) = (self.config().vocab_size, self.config().hidden_size);
        let embedding = self.weight("model.embed_tokens.weight", &[vocabulary, hidden])?;
        let mut x = embedding.index_select(&Tensor::new(ids, &Device::Cpu)?, 0)?;
        x = (x * f64::from(self.config().embedding_scale))?;
        for layer in 0..self.config().num_hidden_layers {
            let norm =
                |x: &Tensor, name: &str| self.norm(x, &format!("model.layers.{layer}.{name}"));
            let branches = self.config().branch_norms;
            let normed = norm(&x, "input_layernorm")?;
            let mut added = self.attention(&normed, layer)?;
            if branches {
                added = norm(&added, "post_attention_layernorm")?;
            }
            x = (x + added)?;
            let normed = match branches {
                true => norm(&x, "pre_feedforward_layernorm")?,
                false => norm(&x, "post_attention_layernorm")?,
            };
            let gate = self.linear(&normed, layer, Projection::Gate)?;
            let gate = match self.config().activation {
                Activation::Silu => gate.silu()?,
                Activation::GeluTanh => gate.gelu()?,
            };
            let up = self.linear(&normed, layer, Projection::Up)?;
            let mut added = self.linear(&(gate * up)?, layer, Projection::Down)?;
            if branches {
                added = norm(&added, "post_feedforward_layernorm")?;
            }
            x = (x + added)?;
        }
        let head = match self.config().tie_word_embeddings {
            true => embedding,
            false => self.weight("lm_head.weight", &[vocabulary, hidden])?,
        };
        self.norm(&x, "model.norm")?.matmul(&head.t()?)
    }

    /// RMSNorm over the last dimension.
    fn norm(&self, x: &Tensor, name: &str) -> Result<Tensor> {
        let weight = self.weight(&format!("{name}.weight"), &[x.dim(D::Minus1)?])?;
        let weight = (weight + f64::from(u8::from(self.config().norms_less_one)))?;
        let mean = x.sqr()?.mean_keepdim(D::Minus1)?;
        let root = (mean + self.config().rms_norm_eps)?.sqrt()?;
        x.broadcast_div(&root)?.broadcast_mul(&weight)
    }

    /// `x W^T + bias + scale (x A^T) B^T`.
    fn linear(&self, x: &Tensor, layer: usize, projection: Projection) -> Result<Tensor> {
        let id = ModuleId { layer, projection };
        let outputs = projection.out_features(self.config());
        let weight = self.weight(
            &format!("{id}.weight"),
            &[outputs, projection.in_features(self.config())],
        )?;
        let mut y = x.matmul(&weight.t()?)?;
        if projection.has_bias(self.config()) {
            y = y.broadcast_add(&self.weight(&format!("{id}.bias"), &[outputs])?)?;
        }
        match self.pairs.get(&id) {
            Some(Pair { a, b, scale }) => y + (x.matmul(&a.t()?)?.matmul(&b.t()?)? * *scale)?,
            None => Ok(y),
        }
    }

    fn attention(&self, x: &Tensor, layer: usize) -> Result<Tensor> {
        let config = self.config();
        let (rows, dim) = (x.dim(0)?, config.head_dim);
        let (heads, kv) = (config.num_attention_heads, config.num_key_value_heads);
        // [heads, rows, dim]
        let split = |projection, heads| {
            self.linear(x, layer, projection)?
                .reshape((rows, heads, dim))?
                .transpose(0, 1)?
                .contiguous()
        };
        let (mut q, mut k) = (split(Projection::Q, heads)?, split(Projection::K, kv)?);
        if config.qk_norm {
            q = self.norm(&q, &format!("model.layers.{layer}.self_attn.q_norm"))?;
            k = self.norm(&k, &format!("model.layers.{layer}.self_attn.k_norm"))?;
        }
        let shared = |x: Tensor| {
            let x = x.unsqueeze(1)?.broadcast_as((kv, heads / kv, rows, dim))?;
            x.contiguous()?.reshape((heads, rows, dim))
        };
        let (q, k) = (self.rotate(&q, layer)?, shared(self.rotate(&k, layer)?)?);
        let v = shared(split(Projection::V, kv)?)?;
        let root = config.query_pre_attn_scalar.sqrt();
        let scores = (q.matmul(&k.transpose(1, 2)?.contiguous()?)? / root)?;
        let window = config.window_of(layer).unwrap_or(rows);
        let mask = (0..rows * rows).map(|i| {
            let (query, key) = (i / rows, i % rows);
            let sees = key <= query && query - key < window;
            if sees { 0.0 } else { -1e30 }
        });
        let mask = Tensor::from_iter(mask, &Device::Cpu)?.reshape((1, rows, rows))?;
        let weights = candle_nn::ops::softmax(&scores.broadcast_add(&mask)?, D::Minus1)?;
        let mixed = weights.matmul(&v)?.transpose(0, 1)?.contiguous()?;
        self.linear(&mixed.reshape((rows, heads * dim))?, layer, Projection::O)
    }

    /// Rotary embedding of `[heads, rows, dim]`, halves apart.
    fn rotate(&self, x: &Tensor, layer: usize) -> Result<Tensor> {
        let (rows, half) = (x.dim(1)?, self.config().head_dim / 2);
        let local = self.config().window_of(layer);
        let local = local.and_then(|_| self.config().window_inv_freq());
        let frequencies = local.unwrap_or_else(|| self.config().inv_freq());
        let angles = (0..rows * half).map(|i| (i / half) as f64 * f64::from(frequencies[i % half]));
        let angles = Tensor::from_iter(angles, &Device::Cpu)?.reshape((1, rows, half))?;
        let (cos, sin) = (angles.cos()?, angles.sin()?);
        let (a, b) = (x.narrow(2, 0, half)?, x.narrow(2, half, half)?);
        let first = (a.broadcast_mul(&cos)? - b.broadcast_mul(&sin)?)?;
        let second = (b.broadcast_mul(&cos)? + a.broadcast_mul(&sin)?)?;
        Tensor::cat(&[first, second], 2)
    }
}

/// A missing gradient is an error: candle leaves one out without a word where an operation has no
/// backward.
fn gradient(grads: &GradStore, var: &Var) -> Result<Vec<f32>> {
    let found = grads
        .get(var)
        .ok_or_else(|| candle_core::Error::msg("no gradient"))?;
    found.to_dtype(DType::F32)?.flatten_all()?.to_vec1()
}
