//! The tensors of an adapter's file, held against its configuration and its base.

use std::collections::{BTreeMap, BTreeSet};

use super::adapter::{LowRankPair, a_name, b_name};
use super::beside::{Axis, Beside, Outputs, OwnRows, dora_gain, whole_rows};
use super::loaded::transposed;
use super::tensor_names::{Part, Table, TablePart, TensorRole, is_of_pictures};
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
    /// Names in the file of what stands at linear layers.
    parts: BTreeMap<(ModuleId, Part), String>,
    /// Names of what stands at the embedding and the head.
    tables: BTreeMap<(Table, TablePart), String>,
    /// Whether it has matrices for pictures.
    sees: bool,
    /// Whether its text is one level down, as in a model that sees pictures.
    is_below: bool,
}

impl<'a> Reader<'a> {
    /// Sorts the tensors of a file; every one must have a role.
    ///
    /// # Errors
    /// Another tensor, one that stands there twice, or a layer that the base lacks.
    pub(super) fn new(
        file: TensorFile,
        config: &'a LoraConfig,
        model: &'a ModelConfig,
    ) -> Result<Self, LoraError> {
        let mut reader = Reader {
            file,
            config,
            model,
            parts: BTreeMap::new(),
            tables: BTreeMap::new(),
            sees: false,
            is_below: false,
        };
        let names: Vec<String> = reader.file.names().map(str::to_owned).collect();
        reader.is_below = names.iter().any(|name| name.contains(".language_model."));
        for name in names {
            let other = match TensorRole::of(&name) {
                Some(TensorRole::Of(module, part)) => {
                    if module.layer >= model.num_hidden_layers {
                        return Err(reader.other_base(format!(
                            "tensor `{name}` is of layer {}, this base has {} layers",
                            module.layer, model.num_hidden_layers
                        )));
                    }
                    reader.parts.insert((module, part), name.clone())
                }
                Some(TensorRole::OfTable(table, part)) => {
                    reader.tables.insert((table, part), name.clone())
                }
                None if is_of_pictures(&name) => {
                    reader.sees = true;
                    continue;
                }
                None => return Err(reader.extra_tensor(&name)),
            };
            if let Some(other) = other {
                return Err(reader.extra(
                    &name,
                    format!(
                        "it is the same as `{other}`: two adapters are in one file; save one of them \
                         alone, with PEFT's `save_pretrained(folder, \
                         selected_adapters=[\"default\"])`"
                    ),
                ));
            }
        }
        Ok(reader)
    }

    /// The modules that the configuration takes in.
    pub(super) fn targets(&self) -> Result<Vec<ModuleId>, LoraError> {
        match self.is_below {
            true => self.config.targets_below(self.model),
            false => self.config.targets(self.model, false),
        }
    }

    /// Modules that have at least one matrix.
    pub(super) fn modules(&self) -> Vec<ModuleId> {
        let matrices = self.parts.keys();
        let matrices = matrices.filter(|(_, part)| matches!(part, Part::A | Part::B));
        let modules: BTreeSet<ModuleId> = matrices.map(|(module, _)| *module).collect();
        modules.into_iter().collect()
    }

    /// The two matrices of a module.
    pub(super) fn low_rank(&self, module: ModuleId) -> Result<LowRankPair, LoraError> {
        let (rank, scale) = self.config.rank_and_scale(module)?;
        let name = |part| self.parts.get(&(module, part));
        let names = match (name(Part::A), name(Part::B)) {
            (Some(a), Some(b)) => [a, b],
            (Some(a), None) => {
                let b = b_name(module);
                return Err(self.mismatch(format!("`{a}` is there without `{b}`")));
            }
            (None, b) => {
                let (a, usual) = (a_name(module), b_name(module));
                let b = b.unwrap_or(&usual);
                return Err(self.mismatch(format!("`{b}` is there without `{a}`")));
            }
        };
        let inputs = module.projection.in_features(self.model);
        let outputs = module.projection.out_features(self.model);
        let [a, b] = self.pair_of(names, rank, inputs, outputs)?;
        Ok(LowRankPair { rank, scale, a, b })
    }

    /// A as `[rank, inputs]` and B as `[outputs, rank]`.
    fn pair_of(
        &self,
        [a_name, b_name]: [&String; 2],
        rank: usize,
        inputs: usize,
        outputs: usize,
    ) -> Result<[Vec<f32>; 2], LoraError> {
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
        Ok([self.file.get(a_name)?.1, self.file.get(b_name)?.1])
    }

    /// What stands beside the matrices. B of a module with a magnitude takes in the gain of its
    /// outputs. Second, what is left out: tensors that are the base's own, matrices for pictures.
    ///
    /// # Errors
    /// The base cannot be looked at, a tensor of another shape, a magnitude where there should be none,
    /// or none where there should be one.
    pub(super) fn beside(
        &self,
        modules: &mut BTreeMap<ModuleId, LowRankPair>,
        base: BaseTensor<'_>,
    ) -> Result<(Beside, Vec<String>), LoraError> {
        let mut beside = Beside::default();
        self.check_promised(modules)?;
        let all: BTreeSet<ModuleId> = self.parts.keys().map(|(module, _)| *module).collect();
        for module in all {
            if let Some(outputs) = self.outputs(module, modules.get_mut(&module), base)? {
                beside.outputs.insert(module, outputs);
            }
        }
        let mut left_out = Vec::new();
        if self.sees {
            left_out.push("its matrices for pictures".to_owned());
        }
        for table in Table::ALL {
            let rows = self.table(table, base, &mut left_out)?;
            match table {
                Table::Embedding => beside.embedding = rows,
                Table::Head => beside.head = rows,
            }
        }
        // Tokens that are trained in a tied embedding are so in the head; whole tables are apart.
        if let (Some(OwnRows::Some(rows)), None, true) = (
            &beside.embedding,
            &beside.head,
            self.model.tie_word_embeddings,
        ) {
            beside.head = Some(OwnRows::Some(rows.clone()));
        }
        Ok((beside, left_out))
    }

    /// Whether what the configuration says was trained is in the file.
    fn check_promised(&self, modules: &BTreeMap<ModuleId, LowRankPair>) -> Result<(), LoraError> {
        let trained = &self.config.beside;
        for (key, is_set, part, name) in [
            (
                "use_dora",
                trained.use_dora,
                Part::Magnitude,
                "lora_magnitude_vector",
            ),
            ("lora_bias", trained.lora_bias, Part::BBias, "lora_B.bias"),
        ] {
            let without = |m: &&ModuleId| !self.parts.contains_key(&(**m, part));
            if let Some(module) = modules.keys().find(without).filter(|_| is_set) {
                return Err(self.mismatch(format!("`{key}` is set, and `{module}` has no {name}")));
            }
        }
        let lists = |table: Table| match table {
            Table::Embedding => &trained.tokens,
            Table::Head => &trained.head_tokens,
        };
        for table in Table::ALL {
            let has = |part| self.tables.contains_key(&(table, part));
            let module = table.module();
            let named = |name: &String| module == name || module.ends_with(&format!(".{name}"));
            for (key, is_set, part) in [
                (
                    "modules_to_save",
                    trained.saved.iter().any(named),
                    TablePart::Whole,
                ),
                (
                    "trainable_token_indices",
                    !lists(table).is_empty(),
                    TablePart::Tokens,
                ),
            ] {
                if is_set && !has(part) {
                    return Err(self.mismatch(format!(
                        "`{key}` takes in `{module}`, of which the file holds nothing"
                    )));
                }
            }
        }
        Ok(())
    }

    /// A row of numbers at a module, one an output.
    fn vector(&self, module: ModuleId, part: Part) -> Result<Option<Vec<f32>>, LoraError> {
        let Some(name) = self.parts.get(&(module, part)) else {
            return Ok(None);
        };
        let (shape, values) = self.file.get(name)?;
        let outputs = module.projection.out_features(self.model);
        // Old versions keep magnitudes as a column.
        if values.len() != outputs || shape.iter().filter(|n| **n > 1).count() > 1 {
            return Err(self.other_base(format!(
                "tensor `{name}` has shape {shape:?}, this base asks for [{outputs}]"
            )));
        }
        Ok(Some(values))
    }

    fn outputs(
        &self,
        module: ModuleId,
        pair: Option<&mut LowRankPair>,
        base: BaseTensor<'_>,
    ) -> Result<Option<Outputs>, LoraError> {
        let magnitude = self.vector(module, Part::Magnitude)?;
        let bias = self.vector(module, Part::Bias)?;
        let b_bias = self.vector(module, Part::BBias)?;
        if magnitude.is_none() && bias.is_none() && b_bias.is_none() {
            return Ok(None);
        }
        let (inputs, count) = (
            module.projection.in_features(self.model),
            module.projection.out_features(self.model),
        );
        let has_bias = module.projection.has_bias(self.model);
        if bias.is_some() && !has_bias {
            return Err(self.other_base(format!("it has a bias of `{module}`, this base has none")));
        }
        let of_base = |kind: &str, shape: &[usize]| {
            let name = format!("{module}.{kind}");
            base(&name, shape).ok_or_else(|| self.base_unseen(&name))
        };
        let own_bias = match has_bias {
            true => of_base("bias", &[count])?,
            false => vec![0.0; count],
        };
        let mut outputs = Outputs::unchanged(count);
        if let Some(magnitude) = &magnitude {
            let (true, Some(pair)) = (self.config.beside.use_dora, pair) else {
                return Err(self.mismatch(format!(
                    "`{module}` has a lora_magnitude_vector, and the config's `use_dora` is not set"
                )));
            };
            outputs.gain = dora_gain(&of_base("weight", &[count, inputs])?, pair, magnitude);
            let rows = pair.b.chunks_exact_mut(pair.rank).zip(&outputs.gain);
            rows.for_each(|(row, gain)| row.iter_mut().for_each(|b| *b *= gain));
        }
        // The gain is of the product alone, and what is multiplied has the base's bias in it.
        let biases = bias.as_ref().unwrap_or(&own_bias).iter().zip(&own_bias);
        for ((shift, gain), (new, own)) in outputs.shift.iter_mut().zip(&outputs.gain).zip(biases) {
            *shift = new - gain * own;
        }
        if let Some(b_bias) = b_bias {
            let (_, scale) = self.config.rank_and_scale(module)?;
            let shifts = outputs.shift.iter_mut().zip(b_bias);
            shifts.for_each(|(shift, b)| *shift += scale * b);
        }
        Ok(Some(outputs))
    }

    /// The rows of a table, where they are others than the base's.
    fn table(
        &self,
        table: Table,
        base: BaseTensor<'_>,
        left_out: &mut Vec<String>,
    ) -> Result<Option<OwnRows>, LoraError> {
        let name = |part| self.tables.get(&(table, part));
        let (hidden, vocabulary) = (self.model.hidden_size, self.model.vocab_size);
        let shape = [vocabulary, hidden];
        let own = || base(table.of_base(), &shape).ok_or_else(|| self.base_unseen(table.of_base()));
        let mut whole = None;
        if let Some(name) = name(TablePart::Whole) {
            let (found, values) = self.file.get(name)?;
            if found != shape {
                return Err(self.saved_tensor(name, &found, shape));
            }
            let differs = |(a, b): (&f32, &f32)| (a - b).abs() > ROUNDING * b.abs().max(1e-6);
            match values.iter().zip(&own()?).any(differs) {
                true => whole = Some(values),
                false => left_out.push(format!("`{}`, as the base has it", table.of_base())),
            }
        }
        match (name(TablePart::A), name(TablePart::B)) {
            (None, None) => {}
            (Some(a), Some(b)) => {
                let weight = match whole.take() {
                    Some(weight) => weight,
                    None => own()?,
                };
                whole = Some(self.table_with_pair(table, [a, b], weight)?);
            }
            (a, b) => {
                let one = a.or(b).cloned().unwrap_or_default();
                return Err(self.mismatch(format!("`{one}` is there without its other matrix")));
            }
        }
        let Some(name) = name(TablePart::Tokens) else {
            return Ok(whole.map(OwnRows::All));
        };
        let tokens = match table {
            Table::Embedding => &self.config.beside.tokens,
            Table::Head => &self.config.beside.head_tokens,
        };
        let (found, values) = self.file.get(name)?;
        if found != [tokens.len(), hidden] || tokens.iter().any(|t| *t as usize >= vocabulary) {
            return Err(self.mismatch(format!(
                "`{name}` has shape {found:?}, and the config's `trainable_token_indices` lists {} \
                 tokens of {vocabulary}",
                tokens.len()
            )));
        }
        let rows = tokens.iter().zip(values.chunks_exact(hidden));
        Ok(Some(match whole {
            None => OwnRows::Some(rows.map(|(token, row)| (*token, row.to_vec())).collect()),
            Some(mut whole) => {
                for (token, row) in rows {
                    whole[*token as usize * hidden..][..hidden].copy_from_slice(row);
                }
                OwnRows::All(whole)
            }
        }))
    }

    fn table_with_pair(
        &self,
        table: Table,
        names: [&String; 2],
        weight: Vec<f32>,
    ) -> Result<Vec<f32>, LoraError> {
        let (hidden, vocabulary) = (self.model.hidden_size, self.model.vocab_size);
        let (rank, scale) = self.config.rank_and_scale_at(table.module())?;
        let (pair, axis) = match table {
            Table::Head => {
                let [a, b] = self.pair_of(names, rank, hidden, vocabulary)?;
                (LowRankPair { rank, scale, a, b }, Axis::Rows)
            }
            // An embedding is looked up, not multiplied: its weight is the transpose of a layer's.
            Table::Embedding => {
                let [a, b] = self.pair_of(names, rank, vocabulary, hidden)?;
                let (a, b) = (transposed(&b, rank), transposed(&a, vocabulary));
                (LowRankPair { rank, scale, a, b }, Axis::Columns)
            }
        };
        let Some(name) = self.tables.get(&(table, TablePart::Magnitude)) else {
            return Ok(whole_rows(weight, &pair, None));
        };
        let count = match axis {
            Axis::Rows => vocabulary,
            Axis::Columns => hidden,
        };
        let (shape, magnitude) = self.file.get(name)?;
        if magnitude.len() != count {
            return Err(self.other_base(format!(
                "tensor `{name}` has shape {shape:?}, this base asks for [{count}]"
            )));
        }
        Ok(whole_rows(weight, &pair, Some((&magnitude, axis))))
    }

    fn saved_tensor(&self, name: &str, found: &[usize], wanted: [usize; 2]) -> LoraError {
        let rule = format!(
            "it has shape {found:?}, this base's {wanted:?}: the vocabulary was resized; {OTHER_WAY}"
        );
        self.extra(name, rule)
    }

    fn base_unseen(&self, tensor: &str) -> LoraError {
        self.other_base(format!(
            "what it trained beside its matrices is held against `{tensor}` of its base, which is \
             not there"
        ))
    }

    fn extra_tensor(&self, name: &str) -> LoraError {
        let rule = if name.contains("norm") {
            format!("a norm was trained beside the adapter; {OTHER_WAY}")
        } else if name.contains("lora_A") || name.contains("lora_B") {
            "its module is no linear layer of this decoder, so the adapter belongs to another base"
                .to_owned()
        } else if name.ends_with("_proj.weight") {
            format!("a whole layer was trained beside the adapter; {OTHER_WAY}")
        } else {
            "a PEFT file of LoRA holds `base_model.model.<module>.lora_A.weight` and `lora_B`, and \
             what DoRA, biases, and saved embeddings and heads add"
                .to_owned()
        };
        self.extra(name, rule)
    }

    fn extra(&self, name: &str, rule: String) -> LoraError {
        LoraError::ExtraTensor {
            path: self.file.path().to_path_buf(),
            name: name.to_owned(),
            rule,
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

/// What to do with an adapter that trained more than can be loaded beside its base.
const OTHER_WAY: &str = "merge it with PEFT's `merge_and_unload()`, then ask the merged folder by itself \
                         (`--model FOLDER`), or serve base and merged model and judge \
                         `http://HOST:PORT/v1#NAME`";

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
                    let saved = ["embedding-saved", "embedding-trained"].contains(&&name[..]);
                    assert_eq!(!dropped.is_empty(), saved, "{name}");
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
        let read = |name: &str, base: BaseTensor<'_>| {
            let folder = fixture("adapters").join(name);
            let read = Adapter::read_on(&folder, &files.config, base);
            read.map_err(|error| {
                let text = error.to_string();
                text.replace(&folder.display().to_string(), "[adapter]")
            })
        };
        let (trained, dropped) = read("layouts/embedding-trained", &base).unwrap();
        assert!(matches!(trained.beside.embedding, Some(OwnRows::All(_))));
        assert_eq!(dropped, ["`lm_head.weight`, as the base has it"]);
        let refused = |name: &str, base: BaseTensor<'_>| read(name, base).unwrap_err();
        let all = [
            refused("layouts/vocabulary-grown", &base),
            refused("layouts/embedding-saved", &|_, _| None),
            refused("layouts/two-adapters", &base),
            refused("kinds/dora", &|_, _| None),
            refused("kinds/norms_saved", &base),
        ];
        insta::assert_snapshot!(all.join("\n"), @r#"
        [adapter]/adapter_model.safetensors: tensor `base_model.model.model.embed_tokens.weight` is not supported; it has shape [600, 64], this base's [300, 64]: the vocabulary was resized; merge it with PEFT's `merge_and_unload()`, then ask the merged folder by itself (`--model FOLDER`), or serve base and merged model and judge `http://HOST:PORT/v1#NAME`
        [adapter]/adapter_model.safetensors: what it trained beside its matrices is held against `model.embed_tokens.weight` of its base, which is not there; the adapter belongs to another base (its config says `tiny-llama`)
        [adapter]/adapter_model.safetensors: tensor `base_model.model.model.layers.0.self_attn.q_proj.lora_A.weight` is not supported; it is the same as `base_model.model.model.layers.0.self_attn.q_proj.lora_A.other.weight`: two adapters are in one file; save one of them alone, with PEFT's `save_pretrained(folder, selected_adapters=["default"])`
        [adapter]/adapter_model.safetensors: what it trained beside its matrices is held against `model.layers.0.self_attn.q_proj.weight` of its base, which is not there; the adapter belongs to another base (its config says `tiny-llama`)
        [adapter]/adapter_model.safetensors: tensor `base_model.model.model.layers.0.input_layernorm.weight` is not supported; a norm was trained beside the adapter; merge it with PEFT's `merge_and_unload()`, then ask the merged folder by itself (`--model FOLDER`), or serve base and merged model and judge `http://HOST:PORT/v1#NAME`
        "#);
    }
}
