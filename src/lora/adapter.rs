//! A PEFT folder on disk to plain matrices and back.
//!
//! `adapter_model.safetensors` holds, for every targeted module,
//! `base_model.model.<path>.lora_A.weight` of shape `[r, in]` and `....lora_B.weight` of shape
//! `[out, r]`. What qeval knows beside that is in a file of its own, `qeval_adapter.json`, which
//! PEFT and vLLM do not look at.

use std::collections::{BTreeMap, HashMap};
use std::io::Write;
use std::path::Path;

use safetensors::Dtype;
use safetensors::tensor::TensorView;
use serde::{Deserialize, Serialize};

use super::{LoraConfig, LoraError};
use crate::digest;
use crate::model::{ModelConfig, ModuleId, TensorFile};

const CONFIG: &str = "adapter_config.json";
const WEIGHTS: &str = "adapter_model.safetensors";
const TRAINED_ON: &str = "qeval_adapter.json";
const PREFIX: &str = "base_model.model.";

/// The two matrices on one linear layer: `y = W x + scale * B (A x)`.
#[derive(Debug, Clone, PartialEq)]
pub struct LowRank {
    /// Rows of A and columns of B.
    pub rank: usize,
    /// `alpha / r`, or `alpha / sqrt(r)` for rank-stabilized LoRA.
    pub scale: f32,
    /// A, row-major `[rank, in]`.
    pub a: Vec<f32>,
    /// B, row-major `[out, rank]`.
    pub b: Vec<f32>,
}

/// Matrices for some of a model's linear layers.
#[derive(Debug, Clone, PartialEq)]
pub struct Adapter {
    /// Where its ranks, scales and targets come from.
    pub config: LoraConfig,
    /// The matrices, layer by layer.
    pub modules: BTreeMap<ModuleId, LowRank>,
    /// SHA-256 in hex of modules, ranks, scales and matrices as F32: equal for equal mathematics,
    /// however they are stored.
    pub digest: String,
    /// Which base it was trained on, when qeval wrote it.
    pub trained_on: Option<TrainedOn>,
}

/// Which base an adapter was trained on: the content of `qeval_adapter.json`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TrainedOn {
    /// Version of this file's form, 1.
    pub version: u32,
    /// Digest of the base's weights.
    pub base_digest: String,
    /// The base as the user named it.
    pub base_name: String,
    /// Version of the qeval that trained it.
    pub qeval: String,
}

impl Adapter {
    /// An adapter of matrices at hand; the digest is computed.
    pub fn new(config: LoraConfig, modules: BTreeMap<ModuleId, LowRank>) -> Adapter {
        let digest = modules_digest(&modules);
        Adapter { config, modules, digest, trained_on: None }
    }

    /// Reads a PEFT folder for a base.
    ///
    /// # Errors
    /// What [`LoraConfig::read`] refuses; a file that is missing or damaged; matrices of another
    /// base, without their partner, of another rank than the configuration says; a targeted module
    /// without matrices; tensors beside them; values that are not finite.
    pub fn read(folder: &Path, model: &ModelConfig) -> Result<Adapter, LoraError> {
        let config_path = folder.join(CONFIG);
        if !config_path.exists() {
            return Err(not_an_adapter(folder));
        }
        let config = LoraConfig::read(&config_path)?;
        let path = folder.join(WEIGHTS);
        if !path.exists() {
            return Err(not_an_adapter(folder));
        }
        let file = TensorFile::open(&path)?;
        let reader = Reader { file, config: &config, model };
        let found = reader.modules_in_file()?;
        let targets = match config.targets(model, false) {
            // The expression is Python's and was matched there; the file shows the result.
            Err(LoraError::Pattern { key: "target_modules" | "exclude_modules", .. }) => {
                found.clone()
            }
            other => other?,
        };
        if let Some(module) = found.iter().find(|m| !targets.contains(m)) {
            return Err(LoraError::ExtraTensor {
                path,
                name: a_name(*module),
                rule: format!("`target_modules` ({}) does not take it in", config.target_modules),
            });
        }
        if let Some(module) = targets.iter().find(|m| !found.contains(m)) {
            return Err(LoraError::Mismatch {
                path,
                problem: format!(
                    "`{module}` is among the `target_modules` ({}) and has no matrices",
                    config.target_modules
                ),
            });
        }
        let modules = targets
            .into_iter()
            .map(|module| Ok((module, reader.low_rank(module)?)))
            .collect::<Result<BTreeMap<_, _>, LoraError>>()?;
        let mut adapter = Adapter::new(config, modules);
        adapter.trained_on = TrainedOn::read(folder)?;
        Ok(adapter)
    }

    /// Writes `adapter_config.json` and `adapter_model.safetensors` (F32) into a folder, which is
    /// made if need be, and `qeval_adapter.json` when [`Adapter::trained_on`] is known. Equal
    /// adapters give equal bytes. Files are synced one by one; whoever needs all or nothing writes
    /// into a temporary folder and renames it.
    ///
    /// # Errors
    /// The folder cannot be written.
    pub fn write(&self, folder: &Path, base_name: Option<&str>) -> Result<(), LoraError> {
        std::fs::create_dir_all(folder).map_err(|source| LoraError::Io {
            action: "write",
            path: folder.to_path_buf(),
            source,
        })?;
        let targets = self.config.written_targets(self.modules.keys().map(ModuleId::to_string));
        write(&folder.join(CONFIG), self.config.to_json(base_name, &targets).as_bytes())?;
        write(&folder.join(WEIGHTS), &self.to_safetensors(&folder.join(WEIGHTS))?)?;
        match &self.trained_on {
            Some(trained_on) => trained_on.write(folder),
            None => Ok(()),
        }
    }

    fn to_safetensors(&self, path: &Path) -> Result<Vec<u8>, LoraError> {
        let mut tensors: Vec<(String, Vec<usize>, Vec<u8>)> = Vec::new();
        for (module, low_rank) in &self.modules {
            let LowRank { rank, a, b, .. } = low_rank;
            tensors.push((a_name(*module), vec![*rank, a.len() / rank], le_bytes(a)));
            tensors.push((b_name(*module), vec![b.len() / rank, *rank], le_bytes(b)));
        }
        let invalid = |e: safetensors::SafeTensorError| LoraError::Mismatch {
            path: path.to_path_buf(),
            problem: e.to_string(),
        };
        let views = tensors
            .iter()
            .map(|(name, shape, bytes)| {
                Ok((name, TensorView::new(Dtype::F32, shape.clone(), bytes)?))
            })
            .collect::<Result<Vec<_>, _>>()
            .map_err(invalid)?;
        // One key only: the metadata is a hash map, and two keys would come in any order.
        let metadata = HashMap::from([("format".to_owned(), "pt".to_owned())]);
        safetensors::serialize(views, Some(metadata)).map_err(invalid)
    }
}

impl TrainedOn {
    /// What this qeval writes beside an adapter that it trained.
    pub fn new(base_digest: impl Into<String>, base_name: impl Into<String>) -> TrainedOn {
        TrainedOn {
            version: 1,
            base_digest: base_digest.into(),
            base_name: base_name.into(),
            qeval: env!("CARGO_PKG_VERSION").to_owned(),
        }
    }

    /// Reads it from an adapter's folder; `None` when another trainer wrote the adapter.
    ///
    /// # Errors
    /// The file is there and cannot be read.
    pub fn read(folder: &Path) -> Result<Option<TrainedOn>, LoraError> {
        let path = folder.join(TRAINED_ON);
        let bytes = match std::fs::read(&path) {
            Ok(bytes) => bytes,
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Err(source) => return Err(LoraError::Io { action: "read", path, source }),
        };
        let found: TrainedOn = serde_json::from_slice(&bytes)
            .map_err(|source| LoraError::Json { path: path.clone(), source })?;
        if found.version != 1 {
            return Err(LoraError::Unsupported {
                path,
                key: "version".to_owned(),
                value: found.version.to_string(),
                way_out: "this qeval reads version 1; use a newer one".to_owned(),
            });
        }
        Ok(Some(found))
    }

    fn write(&self, folder: &Path) -> Result<(), LoraError> {
        let path = folder.join(TRAINED_ON);
        let mut text = serde_json::to_string_pretty(self)
            .map_err(|source| LoraError::Json { path: path.clone(), source })?;
        text.push('\n');
        write(&path, text.as_bytes())
    }
}

fn a_name(module: ModuleId) -> String {
    format!("{PREFIX}{module}.lora_A.weight")
}

fn b_name(module: ModuleId) -> String {
    format!("{PREFIX}{module}.lora_B.weight")
}

fn write(path: &Path, bytes: &[u8]) -> Result<(), LoraError> {
    let write = || {
        let mut file = std::fs::File::create(path)?;
        file.write_all(bytes)?;
        file.sync_all()
    };
    write().map_err(|source| LoraError::Io { action: "write", path: path.to_path_buf(), source })
}

fn not_an_adapter(folder: &Path) -> LoraError {
    let has = |name: &str| folder.join(name).exists();
    let problem = if !folder.exists() {
        "there is no such folder"
    } else if has(CONFIG) && has("adapter_model.bin") {
        "it holds adapter_model.bin, but no safetensors: load it with PEFT and \
         `save_pretrained(folder)`"
    } else if has(CONFIG) {
        "it has no adapter_model.safetensors"
    } else if has("config.json") {
        "it is a whole model"
    } else {
        "it has no adapter_config.json"
    };
    LoraError::NotAnAdapter { path: folder.to_path_buf(), problem: problem.to_owned() }
}

fn modules_digest(modules: &BTreeMap<ModuleId, LowRank>) -> String {
    let mut parts = digest::Parts::new("adapter modules");
    for (module, LowRank { rank, scale, a, b }) in modules {
        parts = parts
            .part("module", module.to_string())
            .part("rank", (*rank as u64).to_le_bytes())
            .part("scale", scale.to_le_bytes())
            .part("a", le_bytes(a))
            .part("b", le_bytes(b));
    }
    parts.finish()
}

fn le_bytes(values: &[f32]) -> Vec<u8> {
    values.iter().flat_map(|x| x.to_le_bytes()).collect()
}

struct Reader<'a> {
    file: TensorFile,
    config: &'a LoraConfig,
    model: &'a ModelConfig,
}

impl Reader<'_> {
    /// Modules that have at least one matrix; every tensor must be one of theirs.
    fn modules_in_file(&self) -> Result<Vec<ModuleId>, LoraError> {
        let mut found = Vec::new();
        for name in self.file.names() {
            let end = |end| name.strip_prefix(PREFIX)?.strip_suffix(end).and_then(ModuleId::parse);
            let module = end(".lora_A.weight").or_else(|| end(".lora_B.weight"));
            let Some(module) = module else { return Err(self.extra_tensor(name)) };
            if module.layer >= self.model.num_hidden_layers {
                return Err(self.other_base(format!(
                    "tensor `{name}` is of layer {}, this base has {} layers",
                    module.layer, self.model.num_hidden_layers
                )));
            }
            found.push(module);
        }
        found.sort_unstable();
        found.dedup();
        Ok(found)
    }

    fn low_rank(&self, module: ModuleId) -> Result<LowRank, LoraError> {
        let (rank, scale) = self.config.rank_and_scale(module)?;
        let (a_name, b_name) = (a_name(module), b_name(module));
        let shapes = (self.file.shape(&a_name), self.file.shape(&b_name));
        let (a_shape, b_shape) = match shapes {
            (Some(&[a0, a1]), Some(&[b0, b1])) => ([a0, a1], [b0, b1]),
            (Some(a), Some(b)) => {
                return Err(self.mismatch(format!(
                    "`{a_name}` and `{b_name}` have shapes {a:?} and {b:?}, and are no matrices"
                )));
            }
            (Some(_), None) => {
                return Err(self.mismatch(format!("`{a_name}` is there without `{b_name}`")));
            }
            (None, _) => {
                return Err(self.mismatch(format!("`{b_name}` is there without `{a_name}`")));
            }
        };
        let inputs = module.projection.in_features(self.model);
        let outputs = module.projection.out_features(self.model);
        for (name, shape, expected) in [
            (&a_name, a_shape, [a_shape[0], inputs]),
            (&b_name, b_shape, [outputs, b_shape[1]]),
        ] {
            if shape != expected {
                return Err(self.other_base(format!(
                    "tensor `{name}` has shape {shape:?}, this base asks for {expected:?}"
                )));
            }
        }
        if (a_shape[0], b_shape[1]) != (rank, rank) {
            return Err(self.mismatch(format!(
                "`{module}` has matrices of rank {} and {}, the config says {rank}",
                a_shape[0], b_shape[1]
            )));
        }
        let (_, a) = self.file.get(&a_name)?;
        let (_, b) = self.file.get(&b_name)?;
        Ok(LowRank { rank, scale, a, b })
    }

    fn extra_tensor(&self, name: &str) -> LoraError {
        let rule = if name.contains("lora_magnitude_vector") {
            "it belongs to DoRA; merge the adapter with PEFT and give the merged folder as a model"
        } else if name.contains("lora_embedding") || name.contains("lm_head") {
            "adapters on the embedding or the head are not supported"
        } else if name.contains("lora_A.") || name.contains("lora_B.") {
            "its module is no linear layer of this decoder, so the adapter belongs to another base"
        } else {
            "a PEFT file of LoRA holds `base_model.model.<module>.lora_A.weight` and `lora_B` only"
        };
        LoraError::ExtraTensor {
            path: self.file.path().to_path_buf(),
            name: name.to_owned(),
            rule: rule.to_owned(),
        }
    }

    fn other_base(&self, problem: String) -> LoraError {
        LoraError::OtherBase {
            path: self.file.path().to_path_buf(),
            problem,
            base: self.config.base_model.clone(),
        }
    }

    fn mismatch(&self, problem: String) -> LoraError {
        LoraError::Mismatch { path: self.file.path().to_path_buf(), problem }
    }
}
