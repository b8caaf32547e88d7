//! One decoder for every architecture, which is flags of its configuration.
//!
//! Answering runs rows of many sequences together (each row a token at a position of a slot);
//! training runs whole sequences side by side and walks back layer by layer. Only chosen rows
//! reach the head.

use std::ops::Range;
use std::sync::Arc;

use super::cpu::Cpu;
use super::device::Device;
use super::layers::{
    Attention, Gated, LayerSite, Linear, LowRank, LowRankGradient, Mixed, Mlp, RmsNorm, Site,
};
use super::weights::is_of_layers;
use super::{Format, KvCache, ModelConfig, ModelError, Span, Weights};

/// What of a layer's inner activations stays in memory between forward and backward.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Keep {
    /// All that the backward reads: beside the results of products, the inputs of those that an
    /// adapter is trained at.
    All,
    /// The results of products; norms, rotation, activation, and softmax are computed again.
    Products,
    /// The layer's input alone; the whole forward is computed again.
    Input,
}

impl Keep {
    /// What to keep where this does not fit.
    pub fn less(self) -> Option<Self> {
        match self {
            Keep::All => Some(Keep::Products),
            Keep::Products => Some(Keep::Input),
            Keep::Input => None,
        }
    }
}

struct Layer<D: Device> {
    input_norm: RmsNorm<D>,
    attention: Attention<D>,
    middle_norm: RmsNorm<D>,
    mlp: Mlp<D>,
    /// Norms of what attention and MLP add, before they do.
    branch_norms: Option<[RmsNorm<D>; 2]>,
    /// Whether it has the rotary embedding of layers with a window.
    is_local: bool,
}

/// A loaded base model.
pub struct Decoder<D: Device = Cpu> {
    device: D,
    config: ModelConfig,
    embedding: Arc<D::Weight>,
    head: Arc<D::Weight>,
    layers: Vec<Layer<D>>,
    norm: RmsNorm<D>,
    rotary: D::Rotary,
    /// That of layers with a window, where theirs is another.
    local_rotary: Option<D::Rotary>,
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
struct Saved<D: Device> {
    input: D::Mat,
    inner: Option<Inner<D>>,
}

struct Inner<D: Device> {
    mixed: Mixed<D>,
    /// The residual stream between attention and MLP.
    middle: D::Mat,
    gated: Gated<D>,
    /// Inputs of attention's first product and of the MLP's, by what is kept.
    normed: [Option<D::Mat>; 2],
    /// The share of a low-rank part in attention's output projection.
    share: Option<D::Factored>,
    /// What attention and MLP gave before their norms, where they have some.
    branches: Option<[D::Mat; 2]>,
}

/// What a training forward leaves for its backward.
pub struct Tape<D: Device = Cpu> {
    rows: D::Rows,
    layers: Vec<Saved<D>>,
}

/// Where a decoder's numbers come from.
enum Source<'a> {
    Files(&'a Weights),
    /// Random ones, for measuring without a model.
    Random {
        format: Format,
        seed: u64,
    },
}

impl Decoder {
    /// Reads and packs every weight for the CPU.
    ///
    /// # Errors
    /// A missing tensor, a wrong shape, a NaN.
    pub fn load(config: &ModelConfig, weights: &Weights) -> Result<Self, ModelError> {
        Decoder::load_on(Cpu, config, weights)
    }
}

impl<D: Device> Decoder<D> {
    /// Reads every weight into a device's memory.
    ///
    /// # Errors
    /// A missing tensor, a wrong shape, a NaN, too little memory.
    pub fn load_on(device: D, config: &ModelConfig, weights: &Weights) -> Result<Self, ModelError> {
        Decoder::build(device, config, &Source::Files(weights))
    }

    /// A decoder of random weights, for measuring a shape without its model.
    ///
    /// # Errors
    /// Too little memory.
    pub fn random(
        device: D,
        config: &ModelConfig,
        format: Format,
        seed: u64,
    ) -> Result<Self, ModelError> {
        Decoder::build(device, config, &Source::Random { format, seed })
    }

    fn build(device: D, config: &ModelConfig, source: &Source<'_>) -> Result<Self, ModelError> {
        device.supports(config)?;
        let (hidden, heads) = (config.hidden_size, config.heads());
        let eps = config.rms_norm_eps as f32;
        // One draw of random numbers a weight, told apart by its place.
        let mut place = 0u64;
        let mut matrix = |names: &[(String, usize)], inputs: usize| match source {
            Source::Files(weights) => {
                let parts = names
                    .iter()
                    .map(|(name, outputs)| weights.tensor(name, &[*outputs, inputs]))
                    .collect::<Result<Vec<_>, _>>()?;
                device.weight(&parts)
            }
            Source::Random { format, seed } => {
                place += 1;
                let outputs = names.iter().map(|(_, n)| n).sum();
                let format = format.of_matrix(names.len() > 1 || is_of_layers(&names[0].0), inputs);
                device.random_weight(outputs, inputs, format, seed ^ (place << 32))
            }
        };
        let vector = |names: &[(String, usize)], random: f32| {
            let mut values = Vec::new();
            for (name, n) in names {
                match source {
                    Source::Files(weights) => values.extend(weights.get(name, &[*n])?),
                    Source::Random { .. } => values.resize(values.len() + n, random),
                }
            }
            device.vector(&values)
        };
        // `times` is what a norm's result is multiplied by.
        let norm = |name: String, n: usize, times: f32| {
            let mut weight = match source {
                Source::Files(weights) => weights.get(&(name + ".weight"), &[n])?,
                Source::Random { .. } => vec![f32::from(!config.norms_less_one); n],
            };
            let more = f32::from(config.norms_less_one);
            weight.iter_mut().for_each(|w| *w = (*w + more) * times);
            let weight = device.vector(&weight)?;
            Ok::<_, ModelError>(RmsNorm { weight, eps })
        };
        let vocabulary = |name: &str| [(name.to_owned(), config.vocab_size)];
        let embedding = Arc::new(matrix(&vocabulary("model.embed_tokens.weight"), hidden)?);
        let head = if config.tie_word_embeddings {
            embedding.clone()
        } else {
            Arc::new(matrix(&vocabulary("lm_head.weight"), hidden)?)
        };
        let mut layers = Vec::with_capacity(config.num_hidden_layers);
        for layer in 0..config.num_hidden_layers {
            let in_layer = |name: &str, n: usize, times: f32| {
                norm(format!("model.layers.{layer}.{name}"), n, times)
            };
            let of_stream = |name: &str| in_layer(name, hidden, 1.0);
            let head_norm = |name, times| {
                let norm = || in_layer(name, heads.dim, times);
                config.qk_norm.then(norm).transpose()
            };
            let (middle, branches) = match config.branch_norms {
                false => ("post_attention_layernorm", None),
                true => (
                    "pre_feedforward_layernorm",
                    Some([
                        of_stream("post_attention_layernorm")?,
                        of_stream("post_feedforward_layernorm")?,
                    ]),
                ),
            };
            let window = config.window_of(layer);
            let mut linear = |site: Site, has_bias: bool| {
                let of = |kind: &str| -> Vec<(String, usize)> {
                    let name = |p: &super::Projection| {
                        let path = format!("model.layers.{layer}.{}.{}", p.block(), p.hf_name());
                        (format!("{path}.{kind}"), p.out_features(config))
                    };
                    site.projections().iter().map(name).collect()
                };
                let inputs = site.projections()[0].in_features(config);
                Ok::<_, ModelError>(Linear {
                    weight: matrix(&of("weight"), inputs)?,
                    bias: has_bias.then(|| vector(&of("bias"), 0.0)).transpose()?,
                    place: LayerSite { layer, site },
                })
            };
            layers.push(Layer {
                input_norm: of_stream("input_layernorm")?,
                middle_norm: of_stream(middle)?,
                branch_norms: branches,
                is_local: window.is_some(),
                attention: Attention {
                    q_norm: head_norm("self_attn.q_norm", config.query_times())?,
                    k_norm: head_norm("self_attn.k_norm", 1.0)?,
                    window,
                    qkv: linear(Site::Qkv, config.qkv_bias)?,
                    o: linear(Site::O, config.o_bias)?,
                    heads,
                },
                mlp: Mlp {
                    gate_up: linear(Site::GateUp, config.mlp_bias)?,
                    down: linear(Site::Down, config.mlp_bias)?,
                    activation: config.activation,
                },
            });
        }
        let norm = norm("model.norm".into(), hidden, 1.0)?;
        let rotary = |frequencies: Vec<f32>| {
            let positions = config.max_position_embeddings;
            device.rotary(&frequencies, positions)
        };
        let local_rotary = config.window_inv_freq().map(&rotary).transpose()?;
        let rotary = rotary(config.inv_freq())?;
        Ok(Decoder {
            config: config.clone(),
            embedding,
            head,
            layers,
            norm,
            rotary,
            local_rotary,
            device,
        })
    }

    /// Sizes and flags.
    pub fn config(&self) -> &ModelConfig {
        &self.config
    }

    /// Where it runs.
    pub fn device(&self) -> &D {
        &self.device
    }

    /// Bytes of weights in memory.
    pub fn bytes(&self) -> usize {
        let [layers, head] = self.bytes_read();
        let tied = Arc::ptr_eq(&self.head, &self.embedding);
        let embedding = if tied {
            0
        } else {
            self.device.bytes(&self.embedding)
        };
        layers + head + embedding
    }

    /// Bytes of weights that a step reads: the layers', and the head's.
    pub fn bytes_read(&self) -> [usize; 2] {
        let device = &self.device;
        let layer = |l: &Layer<D>| {
            [
                &l.attention.qkv,
                &l.attention.o,
                &l.mlp.gate_up,
                &l.mlp.down,
            ]
            .map(|w| device.bytes(&w.weight))
            .iter()
            .sum::<usize>()
        };
        [
            self.layers.iter().map(layer).sum(),
            device.bytes(&self.head),
        ]
    }

    /// Runs one step: stores the rows' keys and values, and returns the last layer's result,
    /// `[rows, hidden]`, before the final norm.
    ///
    /// # Errors
    /// The device's memory is full.
    ///
    /// # Panics
    /// When a token is outside the vocabulary or a position outside the cache.
    pub fn forward(
        &self,
        batch: &Batch,
        cache: &mut KvCache<D>,
        low_rank: &mut dyn LowRank<D>,
    ) -> Result<D::Mat, ModelError> {
        let rows = self
            .device
            .rows(&batch.tokens, &batch.spans, cache.capacity());
        self.forward_rows(&rows, cache, low_rank)
    }

    /// As [`Decoder::forward`], of rows that are on the device already.
    ///
    /// # Errors
    /// The device's memory is full.
    pub fn forward_rows(
        &self,
        rows: &D::Rows,
        cache: &mut KvCache<D>,
        low_rank: &mut dyn LowRank<D>,
    ) -> Result<D::Mat, ModelError> {
        let mut stream = Stream::new(self.embed(rows, low_rank));
        for (layer, kv) in self.layers.iter().zip(&mut cache.layers) {
            let (_, next, _) = layer.forward(self, stream, rows, Some(kv), Keep::Input, low_rank);
            stream = next;
        }
        let hidden = stream.settle(&self.device);
        self.device.had_room().map(|()| hidden)
    }

    fn embed(&self, rows: &D::Rows, low_rank: &mut dyn LowRank<D>) -> D::Mat {
        let scale = self.config.embedding_scale;
        let mut x = self.device.embed(&self.embedding, rows, scale);
        low_rank.embed(rows, scale, &mut x);
        x
    }

    fn rotary_of(&self, layer: &Layer<D>) -> &D::Rotary {
        match &self.local_rotary {
            Some(local) if layer.is_local => local,
            _ => &self.rotary,
        }
    }

    /// Final norm and head: `[rows, hidden] -> [rows, vocabulary]`.
    ///
    /// # Errors
    /// The device's memory is full.
    pub fn logits(&self, hidden: &D::Mat) -> Result<D::Mat, ModelError> {
        self.logits_with(hidden, &mut super::NoLowRank)
    }

    /// The same where adapters may have heads of their own; `low_rank` is of the rows of `hidden`.
    ///
    /// # Errors
    /// The device's memory is full.
    pub fn logits_with(
        &self,
        hidden: &D::Mat,
        low_rank: &mut dyn LowRank<D>,
    ) -> Result<D::Mat, ModelError> {
        let normed = self.device.norm(&self.norm, hidden);
        let mut logits = self.device.logits(&self.head, &normed);
        low_rank.head(&normed, &mut logits);
        self.device.had_room().map(|()| logits)
    }

    fn head_logits(&self, hidden: &D::Mat) -> D::Mat {
        let normed = self.device.norm(&self.norm, hidden);
        self.device.logits(&self.head, &normed)
    }

    /// Runs whole sequences side by side for training: the last layer's result, and what
    /// [`Decoder::backward`] needs.
    ///
    /// # Errors
    /// The device's memory is full.
    ///
    /// # Panics
    /// When a token is outside the vocabulary.
    pub fn forward_training(
        &self,
        tokens: &[u32],
        sequences: &[Range<usize>],
        keep: Keep,
        low_rank: &mut dyn LowRank<D>,
    ) -> Result<(D::Mat, Tape<D>), ModelError> {
        let rows = self.device.sequences(tokens, sequences);
        let mut stream = Stream::new(self.embed(&rows, low_rank));
        let mut layers = Vec::with_capacity(self.layers.len());
        for layer in &self.layers {
            let (input, next, inner) = layer.forward(self, stream, &rows, None, keep, low_rank);
            self.device.had_room()?;
            stream = next;
            layers.push(Saved {
                input,
                inner: (keep != Keep::Input).then_some(inner),
            });
        }
        let hidden = stream.settle(&self.device);
        self.device.had_room()?;
        Ok((hidden, Tape { rows, layers }))
    }

    /// Cross-entropy of the rows named against their labels, in nats, summed; each row's gradient
    /// times `weight` is added to `d_hidden` when it is wanted. The head runs over some rows at a
    /// time, and over no others.
    ///
    /// # Errors
    /// The device's memory is full.
    pub fn loss(
        &self,
        hidden: &D::Mat,
        labels: &[(usize, u32)],
        weight: f32,
        mut d_hidden: Option<&mut D::Mat>,
    ) -> Result<f64, ModelError> {
        let device = &self.device;
        let mut total = D::Total::default();
        for chunk in labels.chunks(device.loss_rows()) {
            let (rows, wanted): (Vec<usize>, Vec<u32>) = chunk.iter().copied().unzip();
            let x = device.gather(hidden, &rows);
            let mut logits = self.head_logits(&x);
            device.cross_entropy(&mut logits, &wanted, weight, &mut total);
            if let Some(target) = d_hidden.as_deref_mut() {
                self.head_backward(&x, &logits, &rows, target);
            }
            device.had_room()?;
        }
        Ok(device.total(total))
    }

    /// KL(base || this) of the next-token distributions of the rows named, in nats, summed; each
    /// row's gradient times `weight` is added to `d_hidden`. `base` is the base's last layer's
    /// result at the same rows, `[rows, hidden]`: a row of it stands for a whole distribution.
    ///
    /// # Errors
    /// The device's memory is full.
    pub fn divergence(
        &self,
        hidden: &D::Mat,
        rows: &[usize],
        base: &super::Mat,
        weight: f32,
        d_hidden: &mut D::Mat,
    ) -> Result<f64, ModelError> {
        let device = &self.device;
        let mut total = D::Total::default();
        for (c, chunk) in rows.chunks(device.loss_rows()).enumerate() {
            let first = c * device.loss_rows();
            let x = device.gather(hidden, chunk);
            let base = base.gather(&(first..first + chunk.len()).collect::<Vec<_>>());
            let mut logits = self.head_logits(&x);
            let mut target = self.head_logits(&device.upload_stream(&base));
            device.divergence(&mut logits, &mut target, weight, &mut total);
            drop(target);
            self.head_backward(&x, &logits, chunk, d_hidden);
            device.had_room()?;
        }
        Ok(device.total(total))
    }

    /// Adds the gradient by `rows` of the last layer's result, from that by their logits.
    fn head_backward(&self, x: &D::Mat, d_logits: &D::Mat, rows: &[usize], target: &mut D::Mat) {
        let device = &self.device;
        let d_normed = device.product_backward(&self.head, d_logits, None);
        let mut dx = device.zeros(device.height(x), device.width(x));
        device.norm_backward(&self.norm, x, &d_normed, &mut dx);
        device.scatter_add(&dx, rows, target);
    }

    /// Walks back through the layers from the gradient by the last layer's result, adding up the
    /// low-rank gradients. Stops at the first layer that is trained.
    ///
    /// # Errors
    /// The device's memory is full; then the gradients are those of a part.
    pub fn backward(
        &self,
        tape: Tape<D>,
        mut gradient: D::Mat,
        low_rank: &mut dyn LowRankGradient<D>,
    ) -> Result<(), ModelError> {
        let Tape { rows, layers } = tape;
        for (layer, saved) in self.layers.iter().zip(layers).rev() {
            if layer.attention.qkv.place.layer < low_rank.first_layer() {
                break;
            }
            let Saved { mut input, inner } = saved;
            let inner = inner.unwrap_or_else(|| {
                let empty = self.device.zeros(0, self.config.hidden_size);
                let stream = Stream::new(std::mem::replace(&mut input, empty));
                let inner;
                (input, _, inner) = layer.forward(self, stream, &rows, None, Keep::All, low_rank);
                inner
            });
            let below = layer.backward(self, &input, inner, gradient, &rows, low_rank);
            self.device.had_room()?;
            let Some(below) = below else {
                break;
            };
            gradient = below;
        }
        self.device.had_room()
    }
}

/// The residual stream: its numbers, and what a block has still to add. Adding and the norm that
/// follows are one pass over memory.
struct Stream<D: Device> {
    x: D::Mat,
    pending: Option<D::Mat>,
}

impl<D: Device> Stream<D> {
    fn new(x: D::Mat) -> Self {
        Stream { x, pending: None }
    }

    /// The stream and its norm.
    fn norm(self, device: &D, norm: &RmsNorm<D>) -> (D::Mat, D::Mat) {
        match self.pending {
            Some(y) => device.sum_norm(norm, &self.x, y),
            None => {
                let normed = device.norm(norm, &self.x);
                (self.x, normed)
            }
        }
    }

    fn settle(self, device: &D) -> D::Mat {
        match self.pending {
            Some(y) => device.sum(&self.x, y),
            None => self.x,
        }
    }
}

impl<D: Device> Layer<D> {
    /// The layer's input, the stream after it, and what its backward needs beside the input.
    fn forward(
        &self,
        decoder: &Decoder<D>,
        stream: Stream<D>,
        rows: &D::Rows,
        kv: Option<&mut D::Kv>,
        keep: Keep,
        low_rank: &mut dyn LowRank<D>,
    ) -> (D::Mat, Stream<D>, Inner<D>) {
        let device = &decoder.device;
        let read = |linear: &Linear<D>, low_rank: &dyn LowRank<D>| {
            keep == Keep::All && low_rank.reads(linear.place)
        };
        let rotary = decoder.rotary_of(self);
        let (input, normed) = stream.norm(device, &self.input_norm);
        let mixed = self
            .attention
            .mix(device, &normed, rows, rotary, kv, low_rank);
        let first = read(&self.attention.qkv, low_rank).then_some(normed);
        let (attended, share) = self.attention.o.forward(device, &mixed.mixed, low_rank);
        let (added, attended) = match &self.branch_norms {
            Some([norm, _]) => (device.norm(norm, &attended), Some(attended)),
            None => (attended, None),
        };
        let (middle, normed) = device.sum_norm(&self.middle_norm, &input, added);
        let (y, gated) = self.mlp.forward(device, &normed, low_rank);
        let (added, branches) = match (&self.branch_norms, attended) {
            (Some([_, norm]), Some(attended)) => (device.norm(norm, &y), Some([attended, y])),
            _ => (y, None),
        };
        let stream = Stream {
            x: device.share(&middle),
            pending: Some(added),
        };
        let inner = Inner {
            mixed,
            middle,
            normed: [first, read(&self.mlp.gate_up, low_rank).then_some(normed)],
            gated: Gated {
                active: gated.active.filter(|_| read(&self.mlp.down, low_rank)),
                ..gated
            },
            share,
            branches,
        };
        (input, stream, inner)
    }

    /// The gradient by the layer's input, or `None` when nothing below is trained.
    fn backward(
        &self,
        decoder: &Decoder<D>,
        input: &D::Mat,
        inner: Inner<D>,
        mut gradient: D::Mat,
        rows: &D::Rows,
        low_rank: &mut dyn LowRankGradient<D>,
    ) -> Option<D::Mat> {
        let device = &decoder.device;
        let Inner {
            mixed,
            middle,
            gated,
            normed: [first, second],
            share,
            branches,
        } = inner;
        // The gradient by what a branch gave, from that by what was added.
        let by_branch = |i: usize, gradient: &D::Mat| {
            let (norms, branches) = (self.branch_norms.as_ref()?, branches.as_ref()?);
            let mut d = device.zeros(device.height(gradient), device.width(gradient));
            device.norm_backward(&norms[i], &branches[i], gradient, &mut d);
            Some(d)
        };
        let normed = || second.unwrap_or_else(|| device.norm(&self.middle_norm, &middle));
        let dy = by_branch(1, &gradient);
        let dy = dy.as_ref().unwrap_or(&gradient);
        let d_normed = self.mlp.backward(device, normed, gated, dy, low_rank);
        device.norm_backward(&self.middle_norm, &middle, &d_normed, &mut gradient);
        drop((d_normed, middle));
        let x = || device.share(&mixed.mixed);
        let dy = by_branch(0, &gradient);
        let dy = dy.as_ref().unwrap_or(&gradient);
        let d_mixed = self
            .attention
            .o
            .backward(device, x, share.as_ref(), dy, low_rank);
        let d_normed = self.attention.mix_backward(
            device,
            || first.unwrap_or_else(|| device.norm(&self.input_norm, input)),
            mixed,
            d_mixed,
            rows,
            decoder.rotary_of(self),
            low_rank,
        )?;
        device.norm_backward(&self.input_norm, input, &d_normed, &mut gradient);
        Some(gradient)
    }
}
