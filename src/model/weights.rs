//! Tensors by their Hugging Face names, whatever file they come from.
//!
//! Files are mapped, not read: a tensor is decoded when it is asked for, and only then touched.
//! Headers are checked whole at open, so that a cut-off download fails before any work.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::text::nearest;

use super::ModelError;
use super::folder::Folder;
use super::gguf::GgufFile;
use super::mapped::Mapped;
use super::stored::{Bytes, Code, Format, StoredTensor};
use crate::half_type::HalfType;

/// Told the stored bytes of every tensor that was decoded.
type Progress = Box<dyn Fn(u64) + Send + Sync>;

/// The weights of a model. Every tensor can be asked for any number of times, from any thread.
pub struct Weights {
    path: PathBuf,
    source: Source,
    progress: Option<Progress>,
    /// Numbers are rounded to these.
    rounded: Option<HalfType>,
    storage: Storage,
}

/// How a device holds matrices.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Storage {
    /// As they are stored, where it computes with their format, else widened.
    #[default]
    Stored,
    /// As numbers of 16 or 32 bits.
    Widened,
    /// Those of the layers in four bits, quantized as they are loaded (NF4, QLoRA).
    Nf4,
}

impl Storage {
    /// What `weights` under `[model]` may be.
    pub const WORDS: [(&str, Storage); 2] =
        [("stored", Storage::Stored), ("widened", Storage::Widened)];
}

enum Source {
    Folder(Folder),
    Gguf(GgufFile),
}

impl Weights {
    /// Opens the safetensors of a folder: `model.safetensors`, else the shards that
    /// `model.safetensors.index.json` names.
    ///
    /// # Errors
    /// No safetensors, a missing shard, a damaged header, an index that does not fit its shards, a
    /// quantization that is not read or of which a part is missing.
    pub fn open_folder(folder: &Path) -> Result<Weights, ModelError> {
        let source = Source::Folder(Folder::open(folder)?);
        Ok(Weights::of(folder.to_path_buf(), source))
    }

    fn of(path: PathBuf, source: Source) -> Weights {
        Weights {
            path,
            source,
            progress: None,
            rounded: None,
            storage: Storage::default(),
        }
    }

    pub(super) fn from_gguf(file: GgufFile) -> Weights {
        Weights::of(file.path().to_path_buf(), Source::Gguf(file))
    }

    /// Lets `report` hear the stored size of every tensor that [`Weights::get`] decodes, in bytes.
    /// All tensors together are [`Weights::stored_bytes`]; a model may leave some unused.
    pub fn on_progress(&mut self, report: impl Fn(u64) + Send + Sync + 'static) {
        self.progress = Some(Box::new(report));
    }

    /// Rounds every number as a GPU does: what a comparison of devices begins from. Those of a
    /// quantized file move by up to 0.4 percent in bf16 and 0.05 in half precision.
    pub fn round_to(&mut self, half_type: HalfType) {
        self.rounded = Some(half_type);
    }

    /// Says how a device is to hold matrices.
    ///
    /// # Errors
    /// Four bits for what is quantized already.
    pub fn hold(&mut self, storage: Storage) -> Result<(), ModelError> {
        if storage == Storage::Nf4
            && let Some(format) = self.quantized()
        {
            return Err(ModelError::Unsupported {
                path: self.path.clone(),
                what: format!("`load_in_4bit` of weights that are quantized already ({format})"),
                rule: "leave it out: they stay as they are stored".to_owned(),
            });
        }
        self.storage = storage;
        Ok(())
    }

    /// How a device is to hold them.
    pub fn storage(&self) -> Storage {
        self.storage
    }

    /// The name of a quantized format that matrices of the layers have, if one is.
    pub fn quantized(&self) -> Option<String> {
        let mut names = self.names().into_iter().filter(|name| is_of_layers(name));
        names.find_map(|name| self.format(name)?.quantized_name())
    }

    /// The format of a tensor in its file; `None` also for one that cannot be read.
    fn format(&self, name: &str) -> Option<Format> {
        match &self.source {
            Source::Folder(folder) => folder.format(name),
            Source::Gguf(file) => file.format(name),
        }
    }

    /// The 16-bit numbers that suit how matrices are stored: half precision where all are F16 or
    /// quantized in blocks whose scales are; else bf16, which has the range of what they may hold.
    pub fn half_type(&self) -> HalfType {
        let is_matrix = |name: &str| self.shape(name).is_some_and(|shape| shape.len() == 2);
        let is_wide = |name: &str| match &self.source {
            Source::Folder(_) => self.format(name).is_none_or(Format::has_range_of_f32),
            Source::Gguf(_) => self.format(name).is_some_and(Format::has_range_of_f32),
        };
        let names = self.names().into_iter();
        match names.filter(|name| is_matrix(name)).any(is_wide) {
            true => HalfType::Bfloat16,
            false => HalfType::Float16,
        }
    }

    /// The format of a tensor whose bytes a device may compute with as they are; `None` for one that
    /// is widened.
    pub fn held_format(&self, name: &str) -> Option<Format> {
        if self.rounded.is_some() {
            return None;
        }
        match self.storage {
            Storage::Widened => None,
            Storage::Nf4 if is_of_layers(name) => Some(Format::Codes(Code::Nf4)),
            Storage::Stored | Storage::Nf4 => self.format(name).filter(|f| *f != Format::F32),
        }
    }

    /// Names of all tensors, sorted.
    pub fn names(&self) -> Vec<&str> {
        match &self.source {
            Source::Folder(folder) => folder.names(),
            Source::Gguf(file) => file.names().collect(),
        }
    }

    /// Whether there is such a tensor.
    pub fn contains(&self, name: &str) -> bool {
        self.shape(name).is_some()
    }

    /// A tensor's shape; of a matrix `[out, in]`.
    pub fn shape(&self, name: &str) -> Option<Vec<usize>> {
        let shape = match &self.source {
            Source::Folder(folder) => folder.shape(name),
            Source::Gguf(file) => file.shape(name),
        };
        shape.map(<[usize]>::to_vec)
    }

    /// Bytes of all tensors as stored.
    pub fn stored_bytes(&self) -> u64 {
        let of = |name| match &self.source {
            Source::Folder(folder) => folder.stored_bytes(name),
            Source::Gguf(file) => file.stored_bytes(name),
        };
        self.names().into_iter().filter_map(of).sum()
    }

    /// Holds a tensor's shape against what the configuration asks for, and looks whether it can be
    /// read; nothing is decoded.
    ///
    /// # Errors
    /// No such tensor (with the most similar name), another shape, a type of numbers that cannot be
    /// read.
    pub fn check(&self, name: &str, expected: &[usize]) -> Result<(), ModelError> {
        let found = self.shape(name).ok_or_else(|| self.missing(name))?;
        let (path, stored) = match &self.source {
            Source::Folder(folder) => folder.place(name).unwrap_or((&self.path, name)),
            Source::Gguf(file) => (file.path(), name),
        };
        if found != expected {
            return Err(ModelError::Shape {
                path: path.to_path_buf(),
                name: stored.to_owned(),
                found,
                expected: expected.to_vec(),
            });
        }
        match &self.source {
            Source::Folder(folder) => folder.readable(name),
            Source::Gguf(file) => file.stored(name).map(drop),
        }
    }

    /// A tensor as it is stored. `expected` is the shape that the configuration asks for. A matrix
    /// that its files spread over several tensors is laid out, and one that is to be held in four bits
    /// is quantized.
    ///
    /// # Errors
    /// As for [`Weights::check`], and what cannot be laid out or quantized.
    pub fn tensor<'a>(
        &'a self,
        name: &'a str,
        expected: &[usize],
    ) -> Result<StoredTensor<'a>, ModelError> {
        self.check(name, expected)?;
        let (shape, bytes) = match &self.source {
            Source::Folder(folder) => folder.stored(name).ok_or_else(|| self.missing(name))?,
            Source::Gguf(file) => file.stored(name),
        }?;
        let bytes = Bytes {
            rounded: self.rounded,
            progress: self.progress.as_deref(),
            kept: self.held_format(name).is_some(),
            ..bytes
        };
        let tensor = StoredTensor::in_file(shape, bytes);
        match self.storage == Storage::Nf4 && shape.len() == 2 && is_of_layers(name) {
            true => tensor.in_nf4(),
            false => Ok(tensor),
        }
    }

    /// Decodes a tensor to F32, row-major. `expected` is the shape that the configuration asks for.
    ///
    /// # Errors
    /// As for [`Weights::tensor`], and a value that is not finite.
    pub fn get(&self, name: &str, expected: &[usize]) -> Result<Vec<f32>, ModelError> {
        Ok(self.tensor(name, expected)?.values()?.into_owned())
    }

    /// The mapped files and their content, sorted by path, for digests.
    pub(super) fn contents(&self) -> Vec<(&Path, &Mapped)> {
        let mut all: Vec<(&Path, &Mapped)> = match &self.source {
            Source::Folder(folder) => folder.contents().collect(),
            Source::Gguf(file) => vec![(file.path(), file.content())],
        };
        all.sort_by_key(|(path, _)| *path);
        all
    }

    fn missing(&self, name: &str) -> ModelError {
        ModelError::MissingTensor {
            path: self.path.clone(),
            name: name.to_owned(),
            nearest: nearest(name, self.names()),
        }
    }
}

/// Whether a matrix is one of the layers'; the tables of tokens are quantized by nobody.
pub(super) fn is_of_layers(name: &str) -> bool {
    name.starts_with("model.layers.") && name.ends_with("_proj.weight")
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicU64, Ordering};

    use half::{bf16, f16};
    use safetensors::Dtype;
    use safetensors::tensor::TensorView;

    use super::super::tensor_file::TensorFile;
    use super::*;

    fn fixture(name: &str) -> PathBuf {
        Path::new(env!("CARGO_MANIFEST_DIR"))
            .join("fixtures/models")
            .join(name)
    }

    /// Writes a safetensors file of one tensor `w`.
    fn one_tensor(folder: &Path, dtype: Dtype, shape: &[usize], bytes: &[u8]) -> PathBuf {
        let view = TensorView::new(dtype, shape.to_vec(), bytes).unwrap();
        let path = folder.join("model.safetensors");
        std::fs::write(&path, safetensors::serialize([("w", view)], None).unwrap()).unwrap();
        path
    }

    fn refused(folder: &Path, result: Result<Vec<f32>, ModelError>) -> String {
        result
            .unwrap_err()
            .to_string()
            .replace(&folder.display().to_string(), "[model]")
    }

    #[test]
    fn every_type_is_widened_without_loss() {
        let folder = tempfile::tempdir().unwrap();
        let numbers = [0.0f32, -1.5, 0.333_251_95, 65504.0];
        let f32s: Vec<u8> = numbers.iter().flat_map(|x| x.to_le_bytes()).collect();
        let f16s: Vec<u8> = numbers
            .iter()
            .flat_map(|&x| f16::from_f32(x).to_le_bytes())
            .collect();
        let bf16s: Vec<u8> = numbers
            .iter()
            .flat_map(|&x| bf16::from_f32(x).to_le_bytes())
            .collect();
        for (dtype, bytes) in [(Dtype::F32, f32s), (Dtype::F16, f16s), (Dtype::BF16, bf16s)] {
            let path = one_tensor(folder.path(), dtype, &[2, 2], &bytes);
            let (shape, values) = TensorFile::open(&path).unwrap().get("w").unwrap();
            assert_eq!(shape, [2, 2]);
            let expected = numbers.map(|x| match dtype {
                Dtype::BF16 => bf16::from_f32(x).to_f32(),
                _ => x,
            });
            assert_eq!(values, expected, "{dtype}");
        }
    }

    #[test]
    fn half_type_follows_what_matrices_are_stored_in() {
        let folder = tempfile::tempdir().unwrap();
        let half_type = |dtype, shape: &[usize], bytes: &[u8]| {
            one_tensor(folder.path(), dtype, shape, bytes);
            Weights::open_folder(folder.path()).unwrap().half_type()
        };
        let half = HalfType::Float16;
        assert_eq!(half_type(Dtype::F16, &[2, 2], &[0; 8]), half);
        // A norm that is F32 says nothing.
        assert_eq!(half_type(Dtype::F32, &[2], &[0; 8]), half);
        let wide = HalfType::Bfloat16;
        assert_eq!(half_type(Dtype::BF16, &[2, 2], &[0; 8]), wide);
        assert_eq!(half_type(Dtype::F32, &[1, 2], &[0; 8]), wide);
    }

    #[test]
    fn shards_hold_what_the_single_file_holds() {
        let single = Weights::open_folder(&fixture("tiny-llama")).unwrap();
        let shards = Weights::open_folder(&fixture("tiny-llama-sharded")).unwrap();
        assert_eq!(single.names(), shards.names());
        assert_eq!(single.stored_bytes(), shards.stored_bytes());
        for name in single.names() {
            let shape = single.shape(name).unwrap();
            assert_eq!(
                single.get(name, &shape).unwrap(),
                shards.get(name, &shape).unwrap()
            );
        }
    }

    #[test]
    fn progress_adds_up_to_the_stored_bytes() {
        let mut weights = Weights::open_folder(&fixture("tiny-llama")).unwrap();
        let heard = Arc::new(AtomicU64::new(0));
        let sum = heard.clone();
        weights.on_progress(move |bytes| {
            sum.fetch_add(bytes, Ordering::Relaxed);
        });
        for name in weights.names() {
            weights.get(name, &weights.shape(name).unwrap()).unwrap();
        }
        assert_eq!(heard.load(Ordering::Relaxed), weights.stored_bytes());
    }

    #[test]
    fn missing_and_misshapen_tensors_are_named() {
        let folder = fixture("tiny-llama");
        let weights = Weights::open_folder(&folder).unwrap();
        let get = |name: &str, shape: &[usize]| refused(&folder, weights.get(name, shape));
        insta::assert_snapshot!(get("model.layers.0.self_attn.q_norm.weight", &[16]), @"[model]: tensor `model.layers.0.self_attn.q_norm.weight` is missing (similar: `model.layers.0.self_attn.q_proj.weight`); weights and config are of different models, take both from one download");
        insta::assert_snapshot!(get("zzz", &[1]), @"[model]: tensor `zzz` is missing; weights and config are of different models, take both from one download");
        insta::assert_snapshot!(get("model.norm.weight", &[128]), @"[model]/model.safetensors: tensor `model.norm.weight` has shape [64], the config asks for [128]; weights and config are of different models, take both from one download");
    }

    #[test]
    fn integers_are_refused_by_tensor_and_type() {
        let folder = tempfile::tempdir().unwrap();
        one_tensor(folder.path(), Dtype::I8, &[4], &[1, 2, 3, 4]);
        let weights = Weights::open_folder(folder.path()).unwrap();
        insta::assert_snapshot!(refused(folder.path(), weights.get("w", &[4])), @"[model]/model.safetensors: tensor `w` is stored as I8; weights must be F32, F16 or BF16; give the unquantized model");
    }

    #[test]
    fn the_first_value_that_is_not_finite_is_named() {
        let folder = tempfile::tempdir().unwrap();
        // More than one chunk of the parallel search, with a second culprit in the last.
        let mut values = vec![1.0f32; 200_000];
        values[70_000] = f32::NEG_INFINITY;
        values[199_999] = f32::NAN;
        let bytes: Vec<u8> = values.iter().flat_map(|x| x.to_le_bytes()).collect();
        one_tensor(folder.path(), Dtype::F32, &[200_000], &bytes);
        let weights = Weights::open_folder(folder.path()).unwrap();
        insta::assert_snapshot!(refused(folder.path(), weights.get("w", &[200_000])), @"[model]/model.safetensors: tensor `w` holds -inf at index 70000; weights must be finite numbers, so the file is damaged or its training diverged");
    }

    #[test]
    fn folders_without_safetensors_say_what_they_hold() {
        let folder = tempfile::tempdir().unwrap();
        let open = || match Weights::open_folder(folder.path()) {
            Ok(_) => panic!("opened"),
            Err(e) => e
                .to_string()
                .replace(&folder.path().display().to_string(), "[model]"),
        };
        insta::assert_snapshot!(open(), @"[model] is not a model: it has no model.safetensors; give a Hugging Face folder (config.json, tokenizer.json, *.safetensors) or a .gguf file");
        for (name, words) in [
            ("odd.safetensors", "holds odd.safetensors"),
            ("model-q4.gguf", "give the path of that file"),
            ("pytorch_model.bin", "convert it in Python"),
        ] {
            std::fs::write(folder.path().join(name), "").unwrap();
            assert!(open().contains(words), "{}", open());
        }
    }

    #[test]
    fn an_index_that_does_not_fit_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let shard = "model-00001-of-00002.safetensors";
        std::fs::copy(
            fixture("tiny-llama-sharded").join(shard),
            folder.path().join(shard),
        )
        .unwrap();
        let open = |map: &str| {
            let text = format!("{{\"weight_map\": {map}}}");
            std::fs::write(folder.path().join("model.safetensors.index.json"), text).unwrap();
            match Weights::open_folder(folder.path()) {
                Ok(_) => panic!("opened"),
                Err(e) => e
                    .to_string()
                    .replace(&folder.path().display().to_string(), "[model]"),
            }
        };
        insta::assert_snapshot!(open(r#"{"a": "model-00002-of-00002.safetensors"}"#), @"[model]/model.safetensors.index.json names `model-00002-of-00002.safetensors`, which is not in the folder; download it");
        insta::assert_snapshot!(open(&format!("{{\"a\": \"{shard}\"}}")), @"[model]/model.safetensors.index.json: `weight_map` says that `a` is in model-00001-of-00002.safetensors, which does not hold it; the files are of different downloads");
        insta::assert_snapshot!(open(r#"{"a": "../secret.safetensors"}"#), @r#"[model]/model.safetensors.index.json: `weight_map` gives "../secret.safetensors" for `a`; it must be the name of a file in the same folder"#);
        insta::assert_snapshot!(open("null"), @"[model]/model.safetensors.index.json: `weight_map` is missing; it must map tensors to files");
    }

    #[test]
    fn no_cut_or_flipped_header_panics() {
        let whole = std::fs::read(fixture("tiny-llama").join("model.safetensors")).unwrap();
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("model.safetensors");
        let header = 8 + u64::from_le_bytes(whole[..8].try_into().unwrap()) as usize;
        let cuts = (0..header)
            .step_by(7)
            .chain((header..whole.len()).step_by(9973));
        for cut in cuts {
            std::fs::write(&path, &whole[..cut]).unwrap();
            let error = TensorFile::open(&path).err().map(|e| e.to_string());
            assert!(
                error.is_some_and(|e| e.contains("is damaged")),
                "cut at {cut}"
            );
        }
        for at in (0..header).step_by(5) {
            let mut flipped = whole.clone();
            flipped[at] ^= 1 << (at % 8);
            std::fs::write(&path, &flipped).unwrap();
            // A flip inside a name or of a digit that cancels out may still be a file.
            if let Ok(file) = TensorFile::open(&path) {
                for name in file.names() {
                    let _ = file.get(name);
                }
            }
        }
    }
}
