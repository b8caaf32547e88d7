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

use super::beside::{Beside, OwnRows};
use super::reading::{BaseTensor, Reader};
use super::{LoraConfig, LoraError};
use crate::digest;
use crate::model::{ModelConfig, ModuleId, TensorFile};

pub(super) const CONFIG: &str = "adapter_config.json";
pub(super) const WEIGHTS: &str = "adapter_model.safetensors";
pub(super) const TRAINED_ON: &str = "qeval_adapter.json";
const PREFIX: &str = "base_model.model.";

/// The two matrices on one linear layer: `y = W x + scale * B (A x)`.
#[derive(Debug, Clone, PartialEq)]
pub struct LowRankPair {
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
    pub modules: BTreeMap<ModuleId, LowRankPair>,
    /// What it changes beside them; where that is something, it cannot be written.
    pub beside: Beside,
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
    pub fn new(config: LoraConfig, modules: BTreeMap<ModuleId, LowRankPair>) -> Adapter {
        Adapter::with(config, modules, Beside::default())
    }

    /// The same, with what it changes beside them.
    pub fn with(
        config: LoraConfig,
        modules: BTreeMap<ModuleId, LowRankPair>,
        beside: Beside,
    ) -> Adapter {
        let digest = digest_of(&modules, &beside);
        Adapter {
            config,
            modules,
            beside,
            digest,
            trained_on: None,
        }
    }

    /// Reads a PEFT folder for a base of which nothing but the configuration is known.
    ///
    /// # Errors
    /// What [`LoraConfig::read`] refuses; a file that is missing or damaged; matrices of another
    /// base, without their partner, of another rank than the configuration says; a targeted module
    /// without matrices; tensors beside them; values that are not finite.
    pub fn read(folder: &Path, model: &ModelConfig) -> Result<Adapter, LoraError> {
        Ok(Self::read_on(folder, model, &|_, _| None)?.0)
    }

    /// Reads a PEFT folder for a base whose tensors can be looked at by name and shape, as what was
    /// trained beside the matrices asks for. What is left out is told second: an embedding or a head
    /// that is saved there and equal to the base's, matrices for pictures.
    ///
    /// # Errors
    /// As [`Adapter::read`], and an embedding or a head of another size than the base's.
    pub fn read_on(
        folder: &Path,
        model: &ModelConfig,
        base: BaseTensor<'_>,
    ) -> Result<(Adapter, Vec<String>), LoraError> {
        let config_path = folder.join(CONFIG);
        if !config_path.exists() {
            return Err(not_an_adapter(folder));
        }
        let config = LoraConfig::read(&config_path)?;
        let path = folder.join(WEIGHTS);
        if !path.exists() {
            return Err(not_an_adapter(folder));
        }
        let reader = Reader::new(TensorFile::open(&path)?, &config, model)?;
        let found = reader.modules();
        let targets = match reader.targets() {
            // The expression is Python's and was matched there; the file shows the result.
            Err(LoraError::Pattern {
                key: "target_modules" | "exclude_modules",
                ..
            }) => found.clone(),
            // Only the embedding, the head, or biases were trained.
            Err(LoraError::NoMatch { .. }) if found.is_empty() => Vec::new(),
            other => other.map_err(|error| LoraError::InConfig {
                path: folder.join(CONFIG),
                source: Box::new(error),
            })?,
        };
        if let Some(module) = found.iter().find(|m| !targets.contains(m)) {
            return Err(LoraError::ExtraTensor {
                path,
                name: a_name(*module),
                rule: format!(
                    "`target_modules` ({}) does not take it in",
                    config.target_modules
                ),
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
        let mut modules = targets
            .into_iter()
            .map(|module| Ok((module, reader.low_rank(module)?)))
            .collect::<Result<BTreeMap<_, _>, LoraError>>()?;
        let (beside, left_out) = reader.beside(&mut modules, base)?;
        if modules.is_empty() && beside.is_empty() {
            return Err(LoraError::NoMatch {
                key: "target_modules",
                target: config.target_modules.to_string(),
                rule: "the file holds nothing else that is trained".to_owned(),
            });
        }
        let mut adapter = Adapter::with(config, modules, beside);
        adapter.trained_on = TrainedOn::read(folder)?;
        Ok((adapter, left_out))
    }

    /// Writes `adapter_config.json` and `adapter_model.safetensors` (F32) into a folder, which is
    /// made if need be, and `qeval_adapter.json` when [`Adapter::trained_on`] is known. Equal
    /// adapters give equal bytes. Files are synced one by one; whoever needs all or nothing writes
    /// into a temporary folder and renames it.
    ///
    /// # Errors
    /// The folder cannot be written, or more than matrices was trained.
    pub fn write(&self, folder: &Path, base_name: Option<&str>) -> Result<(), LoraError> {
        if !self.beside.is_empty() {
            return Err(LoraError::NotPlain {
                path: folder.to_path_buf(),
            });
        }
        std::fs::create_dir_all(folder).map_err(|source| LoraError::Io {
            action: "write",
            path: folder.to_path_buf(),
            source,
        })?;
        let targets = self
            .config
            .written_targets(self.modules.keys().map(ModuleId::to_string));
        write(
            &folder.join(CONFIG),
            self.config.to_json(base_name, &targets).as_bytes(),
        )?;
        write(
            &folder.join(WEIGHTS),
            &self.to_safetensors(&folder.join(WEIGHTS))?,
        )?;
        match &self.trained_on {
            Some(trained_on) => trained_on.write(folder),
            None => Ok(()),
        }
    }

    fn to_safetensors(&self, path: &Path) -> Result<Vec<u8>, LoraError> {
        let mut tensors: Vec<(String, Vec<usize>, Vec<u8>)> = Vec::new();
        for (module, low_rank) in &self.modules {
            let LowRankPair { rank, a, b, .. } = low_rank;
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
            Err(source) => {
                return Err(LoraError::Io {
                    action: "read",
                    path,
                    source,
                });
            }
        };
        let found: TrainedOn =
            serde_json::from_slice(&bytes).map_err(|source| LoraError::Json {
                path: path.clone(),
                source,
            })?;
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
        let mut text = serde_json::to_string_pretty(self).map_err(|source| LoraError::Json {
            path: path.clone(),
            source,
        })?;
        text.push('\n');
        write(&path, text.as_bytes())
    }
}

pub(super) fn a_name(module: ModuleId) -> String {
    format!("{PREFIX}{module}.lora_A.weight")
}

pub(super) fn b_name(module: ModuleId) -> String {
    format!("{PREFIX}{module}.lora_B.weight")
}

fn write(path: &Path, bytes: &[u8]) -> Result<(), LoraError> {
    let write = || {
        let mut file = std::fs::File::create(path)?;
        file.write_all(bytes)?;
        file.sync_all()
    };
    write().map_err(|source| LoraError::Io {
        action: "write",
        path: path.to_path_buf(),
        source,
    })
}

fn not_an_adapter(folder: &Path) -> LoraError {
    LoraError::NotAnAdapter {
        path: folder.to_path_buf(),
        problem: digest::why_no_adapter(folder),
    }
}

fn digest_of(modules: &BTreeMap<ModuleId, LowRankPair>, beside: &Beside) -> String {
    let mut parts = digest::Parts::new("adapter modules");
    for (module, LowRankPair { rank, scale, a, b }) in modules {
        parts = parts
            .part("module", module.to_string())
            .part("rank", (*rank as u64).to_le_bytes())
            .part("scale", scale.to_le_bytes())
            .part("a", le_bytes(a))
            .part("b", le_bytes(b));
    }
    for (module, outputs) in &beside.outputs {
        parts = parts
            .part("outputs", module.to_string())
            .part("gain", le_bytes(&outputs.gain))
            .part("shift", le_bytes(&outputs.shift));
    }
    for (name, rows) in [("embedding", &beside.embedding), ("head", &beside.head)] {
        match rows {
            None => {}
            Some(OwnRows::All(rows)) => parts = parts.part(name, le_bytes(rows)),
            Some(OwnRows::Some(rows)) => {
                for (token, row) in rows {
                    parts = parts.part(name, token.to_le_bytes());
                    parts = parts.part("row", le_bytes(row));
                }
            }
        }
    }
    parts.finish()
}

fn le_bytes(values: &[f32]) -> Vec<u8> {
    values.iter().flat_map(|x| x.to_le_bytes()).collect()
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use serde_json::Value;

    use super::*;
    use crate::lora::TargetModules;
    use crate::model::{ModelError, Projection};

    fn fixture(name: &str) -> PathBuf {
        Path::new(env!("CARGO_MANIFEST_DIR"))
            .join("fixtures")
            .join(name)
    }

    fn model(name: &str) -> ModelConfig {
        ModelConfig::read(&fixture("models").join(name).join("config.json")).unwrap()
    }

    /// Copies an adapter and sets keys of its configuration.
    fn copy(name: &str, changes: &Value) -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        let from = fixture("adapters").join(name);
        for entry in std::fs::read_dir(from).unwrap() {
            let path = entry.unwrap().path();
            std::fs::copy(&path, folder.path().join(path.file_name().unwrap())).unwrap();
        }
        let path = folder.path().join(CONFIG);
        let mut config: Value = serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
        for (key, value) in changes.as_object().into_iter().flatten() {
            config[key] = value.clone();
        }
        std::fs::write(path, config.to_string()).unwrap();
        folder
    }

    fn refused(folder: &Path, base: &str) -> String {
        let text = Adapter::read(folder, &model(base)).unwrap_err().to_string();
        text.replace(&folder.display().to_string(), "[adapter]")
    }

    #[test]
    fn every_adapter_of_peft_loads_and_reads_back_after_writing() {
        let mut count = 0;
        for base in ["tiny-llama", "tiny-llama3", "tiny-qwen2", "tiny-qwen3"] {
            let model = model(base);
            for entry in std::fs::read_dir(fixture("adapters").join(base)).unwrap() {
                let from = entry.unwrap().path();
                let adapter = Adapter::read(&from, &model).unwrap();
                assert_eq!(adapter.trained_on, None);
                for (id, low_rank) in &adapter.modules {
                    let LowRankPair { rank, a, b, .. } = low_rank;
                    assert_eq!(a.len(), rank * id.projection.in_features(&model));
                    assert_eq!(b.len(), rank * id.projection.out_features(&model));
                }
                let folder = tempfile::tempdir().unwrap();
                adapter.write(folder.path(), Some(base)).unwrap();
                let again = Adapter::read(folder.path(), &model).unwrap();
                assert_eq!(again.modules, adapter.modules, "{}", from.display());
                assert_eq!(again.digest, adapter.digest);
                assert_eq!(again.config.base_model.as_deref(), Some(base));
                count += 1;
            }
        }
        assert!(count >= 16, "{count} adapters");
    }

    /// Ranks and scales of `fixtures/reference/make_peft_expected.py`: r 4, alpha 8,
    /// `rank_pattern` layers.1.self_attn.q_proj 2, mlp.down_proj 8, q_proj 6; `alpha_pattern`
    /// ^model.layers.1.self_attn.v_proj 5, layers.0.mlp.down_proj 32, q_proj 3.
    #[test]
    fn patterns_give_ranks_and_scales() {
        let folder = fixture("adapters/tiny-llama/patterns");
        let adapter = Adapter::read(&folder, &model("tiny-llama")).unwrap();
        let of = |layer, projection| {
            let low_rank = &adapter.modules[&ModuleId { layer, projection }];
            (low_rank.rank, low_rank.scale)
        };
        assert_eq!(of(0, Projection::K), (4, 2.0));
        assert_eq!(of(0, Projection::Q), (6, 0.5));
        assert_eq!(of(1, Projection::Q), (2, 1.5));
        assert_eq!(of(0, Projection::Down), (8, 4.0));
        assert_eq!(of(1, Projection::Down), (8, 1.0));
        assert_eq!(of(1, Projection::V), (4, 1.25));
    }

    #[test]
    fn layers_and_expressions_select_the_modules_of_the_file() {
        let modules = |name: &str| -> Vec<String> {
            let folder = fixture("adapters/tiny-llama").join(name);
            let adapter = Adapter::read(&folder, &model("tiny-llama")).unwrap();
            adapter.modules.keys().map(ModuleId::to_string).collect()
        };
        let (k, o) = (
            "model.layers.1.self_attn.k_proj",
            "model.layers.1.self_attn.o_proj",
        );
        assert_eq!(modules("layers"), [k, o]);
        let (q, gate) = (
            "model.layers.1.self_attn.q_proj",
            "model.layers.1.mlp.gate_proj",
        );
        assert_eq!(modules("regex"), [q, gate]);
    }

    #[test]
    fn an_expression_that_only_python_reads_is_settled_by_the_file() {
        let pattern = serde_json::json!({"target_modules": r"(?!lm_head).*\.1\..*(q|gate)_proj"});
        let folder = copy("tiny-llama/regex", &pattern);
        let adapter = Adapter::read(folder.path(), &model("tiny-llama")).unwrap();
        assert_eq!(adapter.modules.len(), 2);
        // What is written holds paths, which every reader understands.
        let written = tempfile::tempdir().unwrap();
        adapter.write(written.path(), None).unwrap();
        let again = Adapter::read(written.path(), &model("tiny-llama")).unwrap();
        assert_eq!(again.modules, adapter.modules);
        assert!(matches!(
            again.config.target_modules,
            TargetModules::Names(_)
        ));
    }

    /// Every case of the list that `fixtures/reference/make_peft_expected.py` made.
    #[test]
    fn every_refusal_names_its_cause() {
        let text = std::fs::read(fixture("expected/refused_adapters.json")).unwrap();
        let cases: Vec<Value> = serde_json::from_slice(&text).unwrap();
        assert!(cases.len() > 30);
        let mut all = Vec::new();
        for case in &cases {
            let field = |key: &str| case[key].as_str().unwrap();
            let folder = copy(field("adapter"), &case["set"]);
            let text = refused(folder.path(), field("base"));
            assert!(text.contains(field("names")), "{case}: {text}");
            if case["set"].is_null() {
                all.push(text);
            }
        }
        insta::assert_snapshot!(all.join("\n"), @r#"
        [adapter]/adapter_config.json: `alora_invocation_tokens` = [1,2] is not supported; an activated adapter works on a part of the text only; train without it
        [adapter]/adapter_config.json: `init_lora_weights` = "pissa" is not supported; it changed the base's weights before training; save the adapter with PEFT's `path_initial_model_for_weight_conversion`, or merge it and give the merged folder as a model
        [adapter]/adapter_config.json: `peft_type` = "IA3" is not supported; qeval loads LORA
        [adapter]/adapter_config.json: `peft_type` = "LOHA" is not supported; qeval loads LORA
        [adapter]/adapter_model.safetensors: tensor `base_model.model.model.layers.0.self_attn.q_proj.lora_A.weight` holds NaN at index 0; weights must be finite numbers, so the file is damaged or its training diverged
        [adapter]/adapter_model.safetensors: `base_model.model.model.layers.0.self_attn.q_proj.lora_A.weight` is there without `base_model.model.model.layers.0.self_attn.q_proj.lora_B.weight`; the files are of different adapters, or damaged
        [adapter]/adapter_model.safetensors: `model.layers.1.self_attn.q_proj` is among the `target_modules` (model.layers.0.mlp.down_proj, model.layers.0.mlp.gate_proj, ... 14 in all) and has no matrices; the files are of different adapters, or damaged
        [adapter]/adapter_model.safetensors: tensor `base_model.model.model.layers.2.mlp.down_proj.lora_A.weight` is of layer 2, this base has 2 layers; the adapter belongs to another base (its config says `tiny-llama`)
        [adapter]/adapter_model.safetensors: `base_model.model.model.layers.0.self_attn.q_proj.lora_A.weight` has rank 2 and its lora_B 2, the config says 4; the files are of different adapters, or damaged
        [adapter]/adapter_model.safetensors is damaged: incomplete metadata, file not fully covered (22117 bytes long); copy or download it again
        [adapter]/adapter_model.safetensors: tensor `base_model.model.model.layers.0.self_attn.q_proj.lora_B.weight` has shape [96, 4], this base asks for [64, 4]; the adapter belongs to another base (its config says `tiny-qwen3`)
        "#);
    }

    #[test]
    fn narrow_types_are_widened() {
        let folder = copy("tiny-llama/plain", &Value::Null);
        let path = folder.path().join(WEIGHTS);
        let wide = Adapter::read(folder.path(), &model("tiny-llama")).unwrap();
        let file = TensorFile::open(&path).unwrap();
        let narrow: Vec<_> = file
            .names()
            .map(|name| {
                let (shape, values) = file.get(name).unwrap();
                let bytes: Vec<u8> = values
                    .iter()
                    .flat_map(|&x| half::bf16::from_f32(x).to_le_bytes())
                    .collect();
                (name.to_owned(), shape, bytes)
            })
            .collect();
        drop(file);
        let views = narrow.iter().map(|(name, shape, bytes)| {
            (
                name,
                TensorView::new(Dtype::BF16, shape.clone(), bytes).unwrap(),
            )
        });
        std::fs::write(&path, safetensors::serialize(views, None).unwrap()).unwrap();
        let narrow = Adapter::read(folder.path(), &model("tiny-llama")).unwrap();
        assert_ne!(narrow.digest, wide.digest);
        for (id, low_rank) in &narrow.modules {
            for (found, exact) in low_rank.a.iter().zip(&wide.modules[id].a) {
                assert_eq!(*found, half::bf16::from_f32(*exact).to_f32());
            }
        }
    }

    #[test]
    fn equal_adapters_give_equal_bytes() {
        let folder = fixture("adapters/tiny-qwen2/rslora");
        let model = model("tiny-qwen2");
        let folders = [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()];
        for to in &folders {
            let adapter = Adapter::read(&folder, &model).unwrap();
            adapter.write(to.path(), Some("base")).unwrap();
        }
        for name in [CONFIG, WEIGHTS] {
            let bytes = |i: usize| std::fs::read(folders[i].path().join(name)).unwrap();
            assert_eq!(bytes(0), bytes(1), "{name}");
        }
        assert!(!folders[0].path().join(TRAINED_ON).exists());
    }

    #[test]
    fn digest_follows_the_mathematics() {
        let read = |changes: Value| {
            let folder = copy("tiny-llama/plain", &changes);
            Adapter::read(folder.path(), &model("tiny-llama"))
                .unwrap()
                .digest
        };
        let plain = read(Value::Null);
        assert_eq!(
            plain,
            read(serde_json::json!({"lora_dropout": 0.5, "revision": "main"}))
        );
        assert_ne!(plain, read(serde_json::json!({"lora_alpha": 9})));
        assert_ne!(plain, read(serde_json::json!({"use_rslora": true})));
    }

    #[test]
    fn the_base_of_training_is_kept_beside_the_adapter() {
        let model = model("tiny-llama");
        let mut adapter = Adapter::read(&fixture("adapters/tiny-llama/qv"), &model).unwrap();
        adapter.trained_on = Some(TrainedOn::new("abc", "smollm2-135m"));
        let folder = tempfile::tempdir().unwrap();
        adapter.write(folder.path(), Some("org/base")).unwrap();
        let again = Adapter::read(folder.path(), &model).unwrap();
        assert_eq!(again.trained_on, adapter.trained_on);
        let path = folder.path().join(TRAINED_ON);
        for (text, words) in [
            (
                r#"{"version": 2, "base_digest": "", "base_name": "", "qeval": ""}"#,
                "use a newer one",
            ),
            ("{", "is not valid JSON"),
        ] {
            std::fs::write(&path, text).unwrap();
            let error = refused(folder.path(), "tiny-llama");
            assert!(error.contains(words), "{error}");
        }
    }

    #[test]
    fn folders_that_are_no_adapter_say_why() {
        let folder = tempfile::tempdir().unwrap();
        let mut all = vec![refused(folder.path(), "tiny-llama")];
        std::fs::write(folder.path().join("config.json"), "{}").unwrap();
        all.push(refused(folder.path(), "tiny-llama"));
        std::fs::write(folder.path().join(CONFIG), "{}").unwrap();
        all.push(refused(folder.path(), "tiny-llama"));
        let whole = copy("tiny-llama/plain", &Value::Null);
        std::fs::remove_file(whole.path().join(WEIGHTS)).unwrap();
        all.push(refused(whole.path(), "tiny-llama"));
        std::fs::write(whole.path().join("adapter_model.bin"), "").unwrap();
        all.push(refused(whole.path(), "tiny-llama"));
        all.push(refused(&folder.path().join("nothing"), "tiny-llama"));
        insta::assert_snapshot!(all.join("\n"), @r#"
        [adapter] is not an adapter: adapter_config.json is missing; give a PEFT folder (adapter_config.json, adapter_model.safetensors)
        [adapter] is not an adapter: it is a whole model, no adapter; ask it by itself: `--model [adapter]`, with the subject `base`; give a PEFT folder (adapter_config.json, adapter_model.safetensors)
        [adapter]/adapter_config.json: `peft_type` is missing; it must be "LORA"
        [adapter] is not an adapter: adapter_model.safetensors is missing; give a PEFT folder (adapter_config.json, adapter_model.safetensors)
        [adapter] is not an adapter: its weights are in adapter_model.bin, a format that can hold programs and is not read; write them as safetensors, in Python in that folder: import torch; from safetensors.torch import save_file; save_file({k: v.contiguous() for k, v in torch.load("adapter_model.bin", map_location="cpu", weights_only=True).items()}, "adapter_model.safetensors"); give a PEFT folder (adapter_config.json, adapter_model.safetensors)
        [adapter] is not an adapter: there is no such folder; give a PEFT folder (adapter_config.json, adapter_model.safetensors)
        "#);
    }

    #[test]
    fn no_cut_or_flipped_file_panics() {
        let folder = copy("tiny-llama/plain", &Value::Null);
        let path = folder.path().join(WEIGHTS);
        let whole = std::fs::read(&path).unwrap();
        let model = model("tiny-llama");
        for cut in (0..whole.len()).step_by(257) {
            std::fs::write(&path, &whole[..cut]).unwrap();
            let error = Adapter::read(folder.path(), &model).unwrap_err();
            assert!(
                matches!(error, LoraError::Weights(ModelError::Corrupt { .. })),
                "{error}"
            );
        }
        let header = 8 + u64::from_le_bytes(whole[..8].try_into().unwrap()) as usize;
        let mut refused = 0;
        for at in (0..header).step_by(5) {
            let mut flipped = whole.clone();
            flipped[at] ^= 1 << (at % 8);
            std::fs::write(&path, &flipped).unwrap();
            refused += usize::from(Adapter::read(folder.path(), &model).is_err());
        }
        assert!(refused > 0);
    }

    #[test]
    fn a_folder_that_cannot_be_written_is_named() {
        let model = model("tiny-llama");
        let adapter = Adapter::read(&fixture("adapters/tiny-llama/qv"), &model).unwrap();
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("file");
        std::fs::write(&file, "").unwrap();
        let error = adapter
            .write(&file.join("ckpt"), None)
            .unwrap_err()
            .to_string();
        assert!(error.starts_with("cannot write "), "{error}");
    }
}
