//! What a model takes in memory, from its sizes alone: told before anything is loaded.
//!
//! The file does not say it: a format that the device does not compute with is widened, and answering
//! and training need room beside the weights.

use super::cpu::{LayerKv, Packed, bytes_of_blocks};
use super::tiles::Tiles;
use super::weights::is_of_layers;
use super::{Format, ModelConfig, ModelError, Projection, Site, Weights};

/// Where a model is to be loaded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MemoryOf {
    /// The host's memory: as stored where the CPU computes with the format, else in F32.
    Host,
    /// A GPU's memory: as stored where its kernels compute with the format, else in 16 bits.
    Gpu {
        /// Bytes that are free there.
        free: u64,
    },
}

impl MemoryOf {
    /// Sequences that are answered at once there when nothing else is asked for.
    pub fn usual_slots(self) -> usize {
        match self {
            MemoryOf::Host => 32,
            MemoryOf::Gpu { .. } => 64,
        }
    }
}

/// Where the matrices of a model come from.
#[derive(Clone, Copy)]
pub enum Matrices<'a> {
    /// Its files.
    Of(&'a Weights),
    /// Made up, or what they would be: all in a format.
    In(Format),
}

/// What a model takes in memory at a place.
#[derive(Clone, Copy)]
pub struct Footprint<'a> {
    config: &'a ModelConfig,
    place: MemoryOf,
    matrices: Matrices<'a>,
}

/// Projections that share an input, stacked, or a table of rows.
struct Matrix {
    /// Names and rows of what is stacked.
    parts: Vec<(String, usize)>,
    cols: usize,
}

impl Matrix {
    fn rows(&self) -> usize {
        self.parts
            .iter()
            .fold(0, |rows, (_, more)| rows.saturating_add(*more))
    }
}

impl<'a> Footprint<'a> {
    /// Of a model at a place.
    pub fn new(config: &'a ModelConfig, place: MemoryOf, matrices: Matrices<'a>) -> Self {
        Footprint {
            config,
            place,
            matrices,
        }
    }

    /// The same at another place.
    pub fn at(self, place: MemoryOf) -> Self {
        Footprint { place, ..self }
    }

    /// Whether weights stay as they are stored.
    pub fn keeps_stored(&self) -> bool {
        matrices(self.config).any(|matrix| self.stored(&matrix).is_some())
    }

    /// Bytes of the weights.
    pub fn weights(&self) -> u64 {
        self.loading().0
    }

    /// The most bytes at once while the weights are read: each is decoded before it is laid out for
    /// the kernels. At least [`Footprint::weights`].
    pub fn while_loading(&self) -> u64 {
        self.loading().1
    }

    fn loading(&self) -> (u64, u64) {
        let (mut held, mut most) = (self.tables(), 0u64);
        for matrix in matrices(self.config) {
            let stored = self.stored(&matrix);
            held = held.saturating_add(stored.unwrap_or_else(|| self.laid_out(&matrix)));
            let decoded = stored.map_or_else(|| self.decoded(&matrix), |_| 0);
            most = most.max(held.saturating_add(decoded));
        }
        (held, most.max(held))
    }

    /// Bytes of a matrix that stays as it is stored.
    fn stored(&self, matrix: &Matrix) -> Option<u64> {
        let formats = matrix.parts.iter().map(|(name, rows)| {
            let format = match self.matrices {
                Matrices::Of(weights) => weights.held_format(name)?,
                Matrices::In(format) => format.of_matrix(is_of_layers(name), matrix.cols),
            };
            Some((format, *rows))
        });
        let parts: Vec<(Format, usize)> = formats.collect::<Option<_>>()?;
        match self.place {
            MemoryOf::Host => {
                let of = |&(format, rows)| bytes_of_blocks(format, rows, matrix.cols);
                parts.iter().map(of).sum()
            }
            MemoryOf::Gpu { .. } => {
                let tiles = Tiles::of_all(parts.iter().map(|(format, _)| *format), matrix.cols)?;
                Some(tiles.bytes(matrix.rows(), matrix.cols) as u64)
            }
        }
    }

    /// Bytes of the largest matrix that products of many rows widen on their way.
    fn widened_on_the_way(&self) -> u64 {
        let kept = matrices(self.config).filter(|matrix| self.stored(matrix).is_some());
        let wide = kept.map(|matrix| self.laid_out(&matrix));
        match self.place {
            MemoryOf::Host => 0,
            MemoryOf::Gpu { .. } => wide.max().unwrap_or(0),
        }
    }

    fn laid_out(&self, matrix: &Matrix) -> u64 {
        match self.place {
            MemoryOf::Host => Packed::bytes_of(matrix.rows(), matrix.cols),
            MemoryOf::Gpu { .. } => numbers(&[matrix.rows(), matrix.cols, 2]),
        }
    }

    /// Bytes of a matrix as it is decoded. A GPU's are decoded in the host's memory.
    fn decoded(&self, matrix: &Matrix) -> u64 {
        match self.place {
            MemoryOf::Host => numbers(&[matrix.rows(), matrix.cols, size_of::<f32>()]),
            MemoryOf::Gpu { .. } => 0,
        }
    }

    /// Cosines and sines of every position, in F32 everywhere.
    fn tables(&self) -> u64 {
        let config = self.config;
        let of_window = config.window.as_ref().and_then(|w| w.rope_theta);
        numbers(&[
            1 + usize::from(of_window.is_some()),
            config.max_position_embeddings,
            config.head_dim,
            size_of::<f32>(),
        ])
    }

    /// Bytes of keys and values of so many sequences of so many positions.
    pub fn answers(&self, slots: usize, positions: usize) -> u64 {
        let heads = self.config.heads();
        let layer = match self.place {
            MemoryOf::Host => LayerKv::bytes(heads, slots, positions),
            MemoryOf::Gpu { .. } => numbers(&[2, slots, positions, heads.kv, heads.dim, 2]),
        };
        layer.saturating_mul(self.config.num_hidden_layers as u64)
    }

    /// Bytes that a step of answering computes in: so many rows, and the logits of so many.
    pub fn step(&self, rows: usize, logits: usize) -> u64 {
        let config = self.config;
        let row = 6 * config.hidden_size + config.heads().row() + 3 * config.intermediate_size;
        let number = size_of::<f32>();
        numbers(&[rows, row, number])
            .saturating_add(numbers(&[logits, config.vocab_size, number]))
            .saturating_add(self.widened_on_the_way())
    }

    /// Bytes of activations that one training pass over so many tokens holds at least: the input of
    /// every layer, and the inner ones of the layer at hand.
    pub fn activations(&self, tokens: usize) -> u64 {
        let config = self.config;
        let number = match self.place {
            MemoryOf::Host => 4,
            MemoryOf::Gpu { .. } => 2,
        };
        let inner = config.heads().row() + 4 * config.hidden_size + 3 * config.intermediate_size;
        let row = config
            .hidden_size
            .saturating_mul(config.num_hidden_layers)
            .saturating_add(2 * inner);
        numbers(&[tokens, row, number])
    }
}

impl ModelConfig {
    /// Holds names and shapes of all matrices against a file's, without decoding any.
    ///
    /// # Errors
    /// One is missing, or has another shape.
    pub fn check_shapes(&self, weights: &Weights) -> Result<(), ModelError> {
        for matrix in matrices(self) {
            for (name, rows) in &matrix.parts {
                weights.check(name, &[*rows, matrix.cols])?;
            }
        }
        Ok(())
    }
}

/// All matrices in the order in which they are loaded.
fn matrices(config: &ModelConfig) -> impl Iterator<Item = Matrix> {
    let table = |name: &str| Matrix {
        parts: vec![(name.to_owned(), config.vocab_size)],
        cols: config.hidden_size,
    };
    let head = (!config.tie_word_embeddings).then(|| table("lm_head.weight"));
    let layers = (0..config.num_hidden_layers).flat_map(move |layer| {
        Site::ALL.map(|site| {
            let part = |p: &Projection| {
                let path = format!("model.layers.{layer}.{}.{}", p.block(), p.hf_name());
                (format!("{path}.weight"), p.out_features(config))
            };
            Matrix {
                parts: site.projections().iter().map(part).collect(),
                cols: site.projections()[0].in_features(config),
            }
        })
    });
    [table("model.embed_tokens.weight")]
        .into_iter()
        .chain(head)
        .chain(layers)
}

/// A product that ends at the largest number there is: a file may claim any size.
fn numbers(sizes: &[usize]) -> u64 {
    sizes
        .iter()
        .fold(1, |product: u64, &size| product.saturating_mul(size as u64))
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use candle_core::quantized::{GgmlDType, QTensor};

    use super::*;
    use crate::model::cpu::Cpu;
    use crate::model::gguf_model::sample::Sample;
    use crate::model::{Batch, Decoder, KvCache, ModelFiles, NoLowRank, Span};

    const MODELS: [&str; 7] = [
        "fixture",
        "tiny-llama",
        "tiny-llama3",
        "tiny-qwen2",
        "tiny-qwen3",
        "tiny-mistral",
        "tiny-gemma3",
    ];

    fn open(name: &str) -> ModelFiles {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/models");
        ModelFiles::open(&folder.join(name)).unwrap()
    }

    #[test]
    fn weights_take_what_is_foretold() {
        for name in MODELS {
            let files = open(name);
            let footprint =
                Footprint::new(&files.config, MemoryOf::Host, Matrices::Of(&files.weights));
            let decoder = Decoder::load(&files.config, &files.weights).unwrap();
            let foretold = footprint.weights() - footprint.tables();
            assert_eq!(foretold, decoder.bytes() as u64, "{name}");
            assert!(footprint.while_loading() > footprint.weights(), "{name}");
        }
    }

    #[test]
    fn every_matrix_of_a_file_is_counted() {
        for name in MODELS {
            let files = open(name);
            files.config.check_shapes(&files.weights).unwrap();
            let mut counted: Vec<String> = matrices(&files.config)
                .flat_map(|matrix| matrix.parts)
                .map(|(name, _)| name)
                .collect();
            counted.sort();
            let is_matrix = |n: &&str| files.weights.shape(n).unwrap().len() == 2;
            let stored: Vec<&str> = files
                .weights
                .names()
                .into_iter()
                .filter(is_matrix)
                .collect();
            assert_eq!(counted, stored, "{name}");
        }
    }

    /// A file of blocks stays in them, also where rows of heads are interleaved; what it answers has
    /// the bits of the same numbers in F32.
    #[test]
    fn a_quantized_file_stays_as_it_is_and_answers_as_its_numbers_do() {
        let dtypes = [GgmlDType::Q4_1, GgmlDType::Q5_0, GgmlDType::Q8_0];
        for (name, dtype) in ["tiny-llama", "tiny-qwen2", "tiny-qwen3"]
            .into_iter()
            .zip(dtypes)
        {
            let folder = tempfile::tempdir().unwrap();
            let load = |sample: &Sample| {
                let files = ModelFiles::open(&sample.write(folder.path())).unwrap();
                let footprint =
                    Footprint::new(&files.config, MemoryOf::Host, Matrices::Of(&files.weights));
                let foretold = footprint.weights() - footprint.tables();
                let keeps = footprint.keeps_stored();
                let decoder = Decoder::load(&files.config, &files.weights).unwrap();
                assert_eq!(foretold, decoder.bytes() as u64, "{name}");
                (keeps, foretold, decoder)
            };
            let mut sample = Sample::new(name, "gpt-2");
            for tensor in sample.tensors.values_mut().filter(|t| t.rank() == 2) {
                *tensor = QTensor::quantize(&widened(tensor), dtype).unwrap();
            }
            let (kept, small, blocks) = load(&sample);
            for tensor in sample.tensors.values_mut() {
                *tensor = QTensor::quantize(&widened(tensor), GgmlDType::F32).unwrap();
            }
            let (widened, large, floats) = load(&sample);
            assert_eq!((kept, widened), (true, false), "{name}");
            assert!(small < large, "{name}: {small} of {large} bytes");
            let logits = |decoder: &Decoder<Cpu>| {
                let mut cache = KvCache::new(decoder.config(), 1, 8);
                let batch = Batch {
                    tokens: vec![3, 1, 4, 1, 5],
                    spans: vec![Span {
                        slot: 0,
                        position: 0,
                        rows: 0..5,
                    }],
                };
                let hidden = decoder.forward(&batch, &mut cache, &mut NoLowRank).unwrap();
                decoder.logits(&hidden).unwrap().data
            };
            let (of_blocks, of_floats) = (logits(&blocks), logits(&floats));
            assert!(of_blocks.iter().any(|x| *x != 0.0));
            assert_eq!(of_blocks, of_floats, "{name}");
        }
    }

    fn widened(tensor: &QTensor) -> candle_core::Tensor {
        tensor.dequantize(&candle_core::Device::Cpu).unwrap()
    }

    /// Figures of Qwen2.5-Coder-0.5B-Instruct in its authors' GGUF file, whose head is not tied.
    fn qwen() -> ModelConfig {
        ModelConfig {
            hidden_size: 896,
            intermediate_size: 4864,
            num_hidden_layers: 24,
            num_attention_heads: 14,
            num_key_value_heads: 2,
            head_dim: 64,
            vocab_size: 151_936,
            max_position_embeddings: 32_768,
            tie_word_embeddings: false,
            ..open("tiny-qwen2").config
        }
    }

    #[test]
    fn half_a_billion_weights_with_a_head_of_their_own_take_2_5_gigabytes() {
        let config = qwen();
        let footprint = Footprint::new(&config, MemoryOf::Host, Matrices::In(Format::F32));
        // 2 * 151,936 * 896 + 24 * (896 * (1152 + 896 + 3 * 4864)) numbers of 4 bytes, and tables.
        let numbers = 2 * 151_936 * 896 + 24 * 896 * (1152 + 896 + 3 * 4864);
        assert_eq!(footprint.weights(), 4 * numbers + 32_768 * 64 * 4);
        assert_eq!(footprint.weights(), 2_528_772_096);
        // The decoded last matrix is small beside the tables that are laid out by then.
        assert!(footprint.while_loading() - footprint.weights() < 20_000_000);
        // Keys and values of 24 layers, 2 heads of 64 numbers.
        assert_eq!(footprint.answers(32, 512), 32 * 512 * 24 * 2 * 2 * 64 * 4);
        // A head that is the embedding is held once.
        let tied = ModelConfig {
            tie_word_embeddings: true,
            ..config.clone()
        };
        let tied = Footprint::new(&tied, MemoryOf::Host, Matrices::In(Format::F32)).weights();
        assert_eq!(footprint.weights() - tied, 4 * 151_936 * 896);
    }

    #[cfg(feature = "gpu")]
    #[test]
    fn keys_and_values_on_a_gpu_take_what_is_foretold() {
        let config = qwen();
        let foretold = Footprint::new(
            &config,
            MemoryOf::Gpu { free: 0 },
            Matrices::In(Format::F32),
        )
        .answers(7, 300);
        let layer = 2 * crate::model::cuda::CudaKv::bytes(config.heads(), 7, 300);
        assert_eq!(foretold, 24 * layer as u64);
    }

    /// A damaged or made-up configuration may hold any number.
    #[test]
    fn sizes_beyond_all_memory_are_the_largest_number_and_no_panic() {
        let config = ModelConfig {
            hidden_size: usize::MAX / 64,
            num_hidden_layers: 2,
            ..qwen()
        };
        let footprint = Footprint::new(&config, MemoryOf::Host, Matrices::In(Format::F32));
        assert_eq!(footprint.weights(), u64::MAX);
        assert_eq!(footprint.activations(usize::MAX), u64::MAX);
    }
}
