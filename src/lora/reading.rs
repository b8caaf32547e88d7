//! The tensors of an adapter's file, held against its configuration and its base.

use std::collections::BTreeMap;

use super::adapter::{LowRankPair, a_name, b_name};
use super::tensor_names::TensorRole;
use super::{LoraConfig, LoraError};
use crate::model::{ModelConfig, ModuleId, TensorFile};

/// Looks at a tensor of the base: its values, when it is there in this shape.
pub type BaseTensor<'a> = &'a dyn Fn(&str, &[usize]) -> Option<Vec<f32>>;

/// Largest difference, as a part of the value, of numbers that were rounded to bfloat16 on the way.
const ROUNDING: f32 = 1.0 / 128.0;

pub(super) struct Reader<'a> {
    file: TensorFile,
    config: &'a LoraConfig,
    model: &'a ModelConfig,
    /// Names of A and B in the file.
    matrices: BTreeMap<ModuleId, [Option<String>; 2]>,
    /// Tensors of the base that stand beside them: name here, name there.
    saved: Vec<(String, &'static str)>,
}

impl<'a> Reader<'a> {
    /// Sorts the tensors of a file; every one must be a matrix, or a tensor of the base.
    ///
    /// # Errors
    /// Another tensor, a matrix that stands there twice, or a layer that the base lacks.
    pub(super) fn new(
        file: TensorFile,
        config: &'a LoraConfig,
        model: &'a ModelConfig,
    ) -> Result<Self, LoraError> {
        let mut reader = Reader {
            file,
            config,
            model,
            matrices: BTreeMap::new(),
            saved: Vec::new(),
        };
        let names: Vec<String> = reader.file.names().map(str::to_owned).collect();
        for name in names {
            let (module, side) = match TensorRole::of(&name) {
                Some(TensorRole::A(module)) => (module, 0),
                Some(TensorRole::B(module)) => (module, 1),
                Some(TensorRole::Saved(of_base)) => {
                    reader.saved.push((name, of_base));
                    continue;
                }
                None => return Err(reader.extra_tensor(&name)),
            };
            if module.layer >= model.num_hidden_layers {
                return Err(reader.other_base(format!(
                    "tensor `{name}` is of layer {}, this base has {} layers",
                    module.layer, model.num_hidden_layers
                )));
            }
            let place = &mut reader.matrices.entry(module).or_default()[side];
            if let Some(other) = place.replace(name.clone()) {
                return Err(LoraError::ExtraTensor {
                    path: reader.file.path().to_path_buf(),
                    name,
                    rule: format!(
                        "it is the same matrix as `{other}`: two adapters are in one file; save one \
                         of them alone, with PEFT's `save_pretrained(folder, \
                         selected_adapters=[\"default\"])`"
                    ),
                });
            }
        }
        Ok(reader)
    }

    /// Modules that have at least one matrix.
    pub(super) fn modules(&self) -> Vec<ModuleId> {
        self.matrices.keys().copied().collect()
    }

    /// The two matrices of a module.
    pub(super) fn low_rank(&self, module: ModuleId) -> Result<LowRankPair, LoraError> {
        let (rank, scale) = self.config.rank_and_scale(module)?;
        let none = [None, None];
        let (a_name, b_name) = match self.matrices.get(&module).unwrap_or(&none) {
            [Some(a), Some(b)] => (a, b),
            [Some(a), None] => {
                let b = b_name(module);
                return Err(self.mismatch(format!("`{a}` is there without `{b}`")));
            }
            [None, b] => {
                let (a, usual) = (a_name(module), b_name(module));
                let b = b.as_ref().unwrap_or(&usual);
                return Err(self.mismatch(format!("`{b}` is there without `{a}`")));
            }
        };
        let shapes = (self.file.shape(a_name), self.file.shape(b_name));
        let (a_shape, b_shape) = match shapes {
            (Some(&[a0, a1]), Some(&[b0, b1])) => ([a0, a1], [b0, b1]),
            (a, b) => {
                let (a, b) = (a.unwrap_or_default(), b.unwrap_or_default());
                return Err(self.mismatch(format!(
                    "`{a_name}` and `{b_name}` have shapes {a:?} and {b:?}, and are no matrices"
                )));
            }
        };
        let inputs = module.projection.in_features(self.model);
        let outputs = module.projection.out_features(self.model);
        for (name, shape, expected) in [
            (a_name, a_shape, [a_shape[0], inputs]),
            (b_name, b_shape, [outputs, b_shape[1]]),
        ] {
            if shape != expected {
                return Err(self.other_base(format!(
                    "tensor `{name}` has shape {shape:?}, this base asks for {expected:?}"
                )));
            }
        }
        if (a_shape[0], b_shape[1]) != (rank, rank) {
            return Err(self.mismatch(format!(
                "`{a_name}` has rank {} and its lora_B {}, the config says {rank}",
                a_shape[0], b_shape[1]
            )));
        }
        let (_, a) = self.file.get(a_name)?;
        let (_, b) = self.file.get(b_name)?;
        Ok(LowRankPair { rank, scale, a, b })
    }

    /// Tensors of the base that stand in the file as the base has them, up to rounding: PEFT saves
    /// the embedding and the head of their own accord where a vocabulary may have grown.
    ///
    /// # Errors
    /// One that differs.
    pub(super) fn saved_as_in(&self, base: BaseTensor<'_>) -> Result<Vec<String>, LoraError> {
        let mut equal = Vec::new();
        for (name, of_base) in &self.saved {
            let (shape, values) = self.file.get(name)?;
            let Some(own) = base(of_base, &shape) else {
                let hidden = self.model.hidden_size;
                let wanted = [self.model.vocab_size, hidden];
                let problem = match shape == wanted {
                    true => "it cannot be compared with this base's".to_owned(),
                    false => format!("it has shape {shape:?}, this base's {wanted:?}"),
                };
                return Err(self.saved_tensor(name, &problem));
            };
            let differs = |(a, b): (&f32, &f32)| (a - b).abs() > ROUNDING * b.abs().max(1e-6);
            let other = values
                .iter()
                .zip(&own)
                .filter(|pair| differs(*pair))
                .count();
            if other > 0 {
                let problem = format!(
                    "{other} of its {} numbers differ from this base's",
                    own.len()
                );
                return Err(self.saved_tensor(name, &problem));
            }
            equal.push(format!("`{of_base}`"));
        }
        Ok(equal)
    }

    fn saved_tensor(&self, name: &str, problem: &str) -> LoraError {
        LoraError::ExtraTensor {
            path: self.file.path().to_path_buf(),
            name: name.to_owned(),
            rule: format!(
                "{problem}; where it was trained beside the adapter, merge both into the base with PEFT's \
                 `merge_and_unload()` and give the merged folder as a model"
            ),
        }
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
        LoraError::Mismatch {
            path: self.file.path().to_path_buf(),
            problem,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::path::{Path, PathBuf};

    use serde::Deserialize;

    use super::*;
    use crate::lora::{Adapter, Inert};
    use crate::model::ModelFiles;

    fn fixture(name: &str) -> PathBuf {
        Path::new(env!("CARGO_MANIFEST_DIR"))
            .join("fixtures")
            .join(name)
    }

    #[derive(Deserialize)]
    struct Layouts {
        folders: Vec<Layout>,
    }

    #[derive(Deserialize)]
    struct Layout {
        name: String,
        by: String,
        word: Option<String>,
    }

    /// Folders that several versions of PEFT wrote, and what other trainers leave: each loads as the
    /// one adapter that it is, or is refused with the word that matters.
    #[test]
    fn every_layout_of_an_adapter_loads_or_says_what_it_is() {
        let files = ModelFiles::open(&fixture("models/tiny-llama")).unwrap();
        let base = |name: &str, shape: &[usize]| files.weights.get(name, shape).ok();
        let text = std::fs::read_to_string(fixture("expected/adapter_layouts.json")).unwrap();
        let layouts: Layouts = serde_json::from_str(&text).unwrap();
        assert!(layouts.folders.len() >= 20);
        let read = |name: &str| {
            let folder = fixture("adapters/layouts").join(name);
            Adapter::read_on(&folder, &files.config, &base)
        };
        let newest = layouts
            .folders
            .iter()
            .find(|l| l.name.starts_with("peft-0.21"));
        let (plain, _) = read(&newest.unwrap().name).unwrap();
        for Layout { name, by, word } in &layouts.folders {
            match (word, read(name)) {
                (None, Ok((adapter, dropped))) => {
                    // Older versions draw other numbers from the same seed.
                    if !name.starts_with("peft-") {
                        assert_eq!(adapter.modules, plain.modules, "{name} ({by})");
                    }
                    assert_eq!(adapter.modules.len(), 2, "{name}");
                    assert_eq!(dropped.is_empty(), name != "embedding-saved", "{name}");
                    let folder = fixture("adapters/layouts").join(name);
                    assert_eq!(Inert::of(&folder, 1.0).unwrap(), None, "{name}");
                }
                (Some(word), Err(error)) => {
                    let error = error.to_string();
                    assert!(error.contains(word), "{name} ({by}): {error}");
                }
                (word, other) => panic!("{name} ({by}): {word:?}, but {:?}", other.map(|_| ())),
            }
        }
    }

    #[test]
    fn what_is_saved_beside_an_adapter_is_held_against_the_base() {
        let files = ModelFiles::open(&fixture("models/tiny-llama")).unwrap();
        let base = |name: &str, shape: &[usize]| files.weights.get(name, shape).ok();
        let refused = |name: &str, base: BaseTensor<'_>| {
            let folder = fixture("adapters/layouts").join(name);
            let error = Adapter::read_on(&folder, &files.config, base).unwrap_err();
            error
                .to_string()
                .replace(&folder.display().to_string(), "[adapter]")
        };
        let all = [
            refused("embedding-trained", &base),
            refused("vocabulary-grown", &base),
            refused("embedding-saved", &|_, _| None),
            refused("two-adapters", &base),
        ];
        insta::assert_snapshot!(all.join("\n"), @r#"
        [adapter]/adapter_model.safetensors: tensor `base_model.model.model.embed_tokens.weight` is not supported; 19200 of its 19200 numbers differ from this base's; where it was trained beside the adapter, merge both into the base with PEFT's `merge_and_unload()` and give the merged folder as a model
        [adapter]/adapter_model.safetensors: tensor `base_model.model.model.embed_tokens.weight` is not supported; it has shape [600, 64], this base's [300, 64]; where it was trained beside the adapter, merge both into the base with PEFT's `merge_and_unload()` and give the merged folder as a model
        [adapter]/adapter_model.safetensors: tensor `base_model.model.lm_head.weight` is not supported; it cannot be compared with this base's; where it was trained beside the adapter, merge both into the base with PEFT's `merge_and_unload()` and give the merged folder as a model
        [adapter]/adapter_model.safetensors: tensor `base_model.model.model.layers.0.self_attn.q_proj.lora_A.weight` is not supported; it is the same matrix as `base_model.model.model.layers.0.self_attn.q_proj.lora_A.other.weight`: two adapters are in one file; save one of them alone, with PEFT's `save_pretrained(folder, selected_adapters=["default"])`
        "#);
    }
}
