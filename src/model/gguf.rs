//! The GGUF container: metadata, tensor table, and tensors as they are stored.
//!
//! Tensors carry Hugging Face names here: see [`GgufFile::stored`].

use std::borrow::Cow;
use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};

use super::ModelError;
use super::architecture::Architecture;
use super::gguf_header::{Header, Info, Value, ggml_name};
use super::mapped::{Mapped, map};
use super::stored::{Bytes, Format, StoredTensor};

/// A mapped GGUF file; every tensor lies inside it.
pub struct GgufFile {
    path: PathBuf,
    map: Mapped,
    metadata: HashMap<String, Value>,
    infos: BTreeMap<String, Tensor>,
}

struct Tensor {
    info: Info,
    /// Heads whose rows are interleaved, for queries and keys.
    interleaved_heads: Option<usize>,
}

impl GgufFile {
    /// Maps a file and reads its header.
    ///
    /// # Errors
    /// Not GGUF, cut off, damaged.
    pub fn open(path: &Path) -> Result<GgufFile, ModelError> {
        let map = map(path)?;
        let parsed = Header::parse(&map).and_then(|header| header.place(map.len()));
        let (metadata, infos) = parsed.map_err(|problem| ModelError::Corrupt {
            path: path.to_path_buf(),
            problem,
        })?;
        let mut file = GgufFile {
            path: path.to_path_buf(),
            map,
            metadata,
            infos: BTreeMap::new(),
        };
        let name = file.text("general.architecture");
        let architecture = name.and_then(Architecture::named);
        let interleaved = architecture.filter(|a| a.is_interleaved());
        let is_gemma = architecture.is_some_and(Architecture::is_gemma);
        let heads = |key: &str| -> Option<usize> {
            let heads = file.int(&format!("{}.attention.{key}", interleaved?))?;
            heads.try_into().ok()
        };
        let q = heads("head_count");
        let k = heads("head_count_kv").or(q);
        for (name, info) in infos {
            let (name, is_q, is_k) = hugging_face_name(name, is_gemma);
            let interleaved_heads = if is_q {
                q
            } else if is_k {
                k
            } else {
                None
            };
            file.infos.insert(
                name,
                Tensor {
                    info,
                    interleaved_heads,
                },
            );
        }
        Ok(file)
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    pub(super) fn content(&self) -> &Mapped {
        &self.map
    }

    pub(super) fn names(&self) -> impl Iterator<Item = &str> {
        self.infos.keys().map(String::as_str)
    }

    pub(super) fn shape(&self, name: &str) -> Option<&[usize]> {
        self.infos.get(name).map(|t| &t.info.shape[..])
    }

    pub(super) fn stored_bytes(&self, name: &str) -> Option<u64> {
        self.infos.get(name).map(|t| t.info.bytes as u64)
    }

    /// How a tensor's numbers are stored; `None` also for a format that cannot be read.
    pub(super) fn format(&self, name: &str) -> Option<Format> {
        Format::of_ggml(self.infos.get(name)?.info.dtype.ok()?)
    }

    pub(super) fn value(&self, key: &str) -> Option<&Value> {
        self.metadata.get(key)
    }

    pub(super) fn text(&self, key: &str) -> Option<&str> {
        match self.value(key) {
            Some(Value::Text(text)) => Some(text),
            _ => None,
        }
    }

    pub(super) fn int(&self, key: &str) -> Option<i128> {
        match self.value(key) {
            Some(Value::Int(n)) => Some(*n),
            _ => None,
        }
    }

    pub(super) fn float(&self, key: &str) -> Option<f64> {
        match self.value(key) {
            Some(Value::Float(x)) => Some(*x),
            Some(Value::Int(n)) => Some(*n as f64),
            _ => None,
        }
    }

    pub(super) fn boolean(&self, key: &str) -> Option<bool> {
        match self.value(key) {
            Some(Value::Bool(b)) => Some(*b),
            _ => None,
        }
    }

    /// Decodes a tensor to F32 under its Hugging Face name, in Hugging Face's layout.
    ///
    /// # Errors
    /// A block format that cannot be read, a value that is not finite.
    pub(super) fn get(&self, name: &str) -> Result<Vec<f32>, ModelError> {
        let (shape, bytes) = self.stored(name)?;
        Ok(StoredTensor::in_file(shape, bytes).values()?.into_owned())
    }

    /// A tensor's shape and bytes under its Hugging Face name. Where files of an architecture hold
    /// the rows of queries and keys interleaved, it says so.
    ///
    /// # Errors
    /// A block format that cannot be read.
    pub(super) fn stored<'a>(
        &'a self,
        name: &'a str,
    ) -> Result<(&'a [usize], Bytes<'a>), ModelError> {
        let Tensor {
            info,
            interleaved_heads,
        } = self
            .infos
            .get(name)
            .ok_or_else(|| ModelError::MissingTensor {
                path: self.path.clone(),
                name: name.to_owned(),
                nearest: None,
            })?;
        let format = info
            .dtype
            .map_err(ggml_name)
            .and_then(|dtype| Format::of_ggml(dtype).ok_or_else(|| format!("{dtype:?}")));
        let format = format.map_err(|dtype| ModelError::Dtype {
            path: self.path.clone(),
            name: name.to_owned(),
            dtype,
            rule: "readable are F32, F16, BF16, Q4_0, Q4_1, Q5_0, Q5_1, Q8_0 and Q2_K to Q6_K; \
                   take another quantization of the model",
        })?;
        let blocks = Cow::Borrowed(&self.map[info.start..info.start + info.bytes]);
        let bytes = Bytes {
            interleaved_heads: *interleaved_heads,
            map: Some(&self.map),
            ..Bytes::new(&self.path, name, format, blocks)
        };
        Ok((&info.shape, bytes))
    }
}

/// The name that Hugging Face gives a tensor, and whether it belongs to queries or to keys.
fn hugging_face_name(name: String, is_gemma: bool) -> (String, bool, bool) {
    let whole = match name.as_str() {
        "token_embd.weight" => Some("model.embed_tokens.weight"),
        "output_norm.weight" => Some("model.norm.weight"),
        "output.weight" => Some("lm_head.weight"),
        _ => None,
    };
    if let Some(whole) = whole {
        return (whole.to_owned(), false, false);
    }
    let part = |rest: &str| {
        let (layer, rest) = rest.split_once('.')?;
        let (part, end) = rest.rsplit_once('.')?;
        let hf = match part {
            "attn_q" => "self_attn.q_proj",
            "attn_k" => "self_attn.k_proj",
            "attn_v" => "self_attn.v_proj",
            "attn_output" => "self_attn.o_proj",
            "attn_q_norm" => "self_attn.q_norm",
            "attn_k_norm" => "self_attn.k_norm",
            "ffn_gate" => "mlp.gate_proj",
            "ffn_up" => "mlp.up_proj",
            "ffn_down" => "mlp.down_proj",
            "attn_norm" => "input_layernorm",
            "ffn_norm" if is_gemma => "pre_feedforward_layernorm",
            "ffn_norm" => "post_attention_layernorm",
            "post_attention_norm" if is_gemma => "post_attention_layernorm",
            "post_ffw_norm" if is_gemma => "post_feedforward_layernorm",
            _ => return None,
        };
        Some((
            format!("model.layers.{layer}.{hf}.{end}"),
            part == "attn_q",
            part == "attn_k",
        ))
    };
    name.strip_prefix("blk.")
        .and_then(part)
        .unwrap_or((name, false, false))
}

#[cfg(test)]
mod tests {
    use candle_core::Device;
    use candle_core::quantized::{GgmlDType, QTensor};

    use super::super::Weights;
    use super::super::gguf_model::sample::{Sample, fixture, quantized};
    use super::*;

    fn open(sample: &Sample) -> GgufFile {
        let folder = tempfile::tempdir().unwrap();
        // The map outlives the name.
        GgufFile::open(&sample.write(folder.path())).unwrap()
    }

    #[test]
    fn tensors_equal_those_of_the_folder() {
        for name in ["tiny-llama", "tiny-qwen2", "tiny-qwen3"] {
            let folder = Weights::open_folder(&fixture(name)).unwrap();
            let file = open(&Sample::new(name, "gpt-2"));
            assert_eq!(file.names().collect::<Vec<_>>(), folder.names());
            for tensor in folder.names() {
                let shape = folder.shape(tensor).unwrap();
                assert_eq!(file.shape(tensor), Some(&shape[..]));
                assert_eq!(
                    file.get(tensor).unwrap(),
                    folder.get(tensor, &shape).unwrap()
                );
            }
        }
    }

    #[test]
    fn every_block_format_decodes_as_candle_does() {
        // More blocks than one task decodes, and a last task with fewer.
        let values: Vec<f32> = (0..256 * 20_000)
            .map(|i| ((i % 1009) as f32 - 504.0) / 64.0)
            .collect();
        for dtype in [
            GgmlDType::F32,
            GgmlDType::F16,
            GgmlDType::BF16,
            GgmlDType::Q4_0,
            GgmlDType::Q4_1,
            GgmlDType::Q5_0,
            GgmlDType::Q5_1,
            GgmlDType::Q8_0,
            GgmlDType::Q2K,
            GgmlDType::Q3K,
            GgmlDType::Q4K,
            GgmlDType::Q5K,
            GgmlDType::Q6K,
        ] {
            let rows = if matches!(dtype, GgmlDType::Q4_1) {
                20_000
            } else {
                40
            };
            let tensor = quantized(values[..rows * 256].to_vec(), &[rows, 256], dtype);
            let expected = dequantized(&tensor);
            let mut sample = Sample::new("tiny-llama", "gpt-2");
            sample.tensors.insert("extra.weight".into(), tensor);
            let file = open(&sample);
            assert_eq!(file.get("extra.weight").unwrap(), expected, "{dtype:?}");
            assert_eq!(file.shape("extra.weight"), Some(&[rows, 256][..]));
            let wide = matches!(dtype, GgmlDType::F32 | GgmlDType::BF16);
            let format = file.format("extra.weight").unwrap();
            assert_eq!(format.has_range_of_f32(), wide, "{dtype:?}");
        }
    }

    fn dequantized(tensor: &QTensor) -> Vec<f32> {
        let tensor = tensor.dequantize(&Device::Cpu).unwrap();
        tensor.flatten_all().unwrap().to_vec1().unwrap()
    }

    #[test]
    fn weights_that_are_not_finite_are_refused() {
        let mut sample = Sample::new("tiny-llama", "gpt-2");
        let bad = quantized(vec![1.0, f32::NAN, 1.0], &[3], GgmlDType::F32);
        sample.tensors.insert("output_norm.weight".into(), bad);
        let error = open(&sample)
            .get("model.norm.weight")
            .unwrap_err()
            .to_string();
        assert!(
            error.contains("`model.norm.weight` holds NaN at index 1"),
            "{error}"
        );
    }

    #[test]
    fn unknown_block_formats_are_refused_when_asked_for() {
        let sample = Sample::new("tiny-llama", "gpt-2");
        let folder = tempfile::tempdir().unwrap();
        let path = sample.write(folder.path());
        let mut bytes = std::fs::read(&path).unwrap();
        // Behind the name come the number of dimensions, one of 8 bytes, and the format.
        let name = b"output_norm.weight";
        let at = bytes.windows(name.len()).position(|w| w == name).unwrap() + name.len() + 4 + 8;
        bytes[at..at + 4].copy_from_slice(&23u32.to_le_bytes());
        std::fs::write(&path, bytes).unwrap();
        let file = GgufFile::open(&path).unwrap();
        let error = file.get("model.norm.weight").unwrap_err().to_string();
        insta::assert_snapshot!(error.split_once("model.gguf").unwrap().1, @": tensor `model.norm.weight` is stored as IQ4_XS; readable are F32, F16, BF16, Q4_0, Q4_1, Q5_0, Q5_1, Q8_0 and Q2_K to Q6_K; take another quantization of the model");
        assert!(file.get("lm_head.weight").is_ok());
    }
}
