//! An adapter's configuration: PEFT's `adapter_config.json`, both ways.
//!
//! Read: the classic fields. A field that would change the mathematics is refused by name; one
//! that PEFT writes with an empty value (null, false, zero, nothing) is of no effect and ignored.
//! Written: the classic fields only, so that old versions of PEFT and vLLM read it too.

use std::collections::BTreeMap;
use std::path::Path;

use serde::de::DeserializeOwned;
use serde_json::{Map, Value, json};

use super::{LoraError, TargetModules};
use crate::model::Projection;

/// What an adapter is: `y = W x + scale * B (A x)` on the targeted modules.
#[derive(Debug, Clone, PartialEq)]
pub struct LoraConfig {
    /// `r`: rows of A, columns of B; at least 1. Default 8.
    pub rank: usize,
    /// `lora_alpha`: the scale is `alpha / r`. Default 8, as in PEFT.
    pub alpha: f64,
    /// `lora_dropout`: share of A's inputs dropped in training, in [0, 1). Default 0.
    pub dropout: f64,
    /// The scale is `alpha / sqrt(r)` (rank-stabilized LoRA, arXiv 2312.03732). Default false.
    pub use_rslora: bool,
    /// Where it sits. Default: all linear layers.
    pub target_modules: TargetModules,
    /// Where it does not, whatever the targets say.
    pub exclude_modules: Option<TargetModules>,
    /// Only these layers, counted from 0; `None` is all of them.
    pub layers_to_transform: Option<Vec<usize>>,
    /// Names of the list of layers, regular expressions; empty takes any.
    pub layers_pattern: Vec<String>,
    /// Other ranks by the end of a module's path, first match wins.
    pub rank_pattern: Vec<(String, usize)>,
    /// Other alphas by the end of a module's path, first match wins.
    pub alpha_pattern: Vec<(String, f64)>,
    /// `base_model_name_or_path`: a hub id or a path, for people.
    pub base_model: Option<String>,
    /// What was trained beside plain matrices. Nothing here is written.
    pub beside: TrainedBeside,
}

/// What a configuration says of training beside plain matrices; the file holds the rest.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct TrainedBeside {
    /// `use_dora`: each output's magnitude is trained apart from its direction (Liu et al. 2024).
    pub use_dora: bool,
    /// `lora_bias`: B has a bias.
    pub lora_bias: bool,
    /// `trainable_token_indices` of the embedding: tokens whose rows were trained, in their order.
    pub tokens: Vec<u32>,
    /// The same of the head, where it has its own.
    pub head_tokens: Vec<u32>,
    /// `modules_to_save`: names of modules that were trained whole.
    pub saved: Vec<String>,
}

impl Default for LoraConfig {
    fn default() -> Self {
        LoraConfig {
            rank: 8,
            alpha: 8.0,
            dropout: 0.0,
            use_rslora: false,
            target_modules: TargetModules::AllLinear,
            exclude_modules: None,
            layers_to_transform: None,
            layers_pattern: Vec::new(),
            rank_pattern: Vec::new(),
            alpha_pattern: Vec::new(),
            base_model: None,
            beside: TrainedBeside::default(),
        }
    }
}

/// No effect on the mathematics, whatever the value: who wrote it, where, and in which type.
const NO_EFFECT: [&str; 14] = [
    "auto_mapping",
    "ensure_weight_tying",
    "eva_config",
    "inference_mode",
    "lora_dtype",
    "lorap_emb_lr",
    "lorap_lr_ratio",
    "megatron_core",
    "merge_weights",
    "peft_type",
    "peft_version",
    "qalora_group_size",
    "revision",
    "runtime_config",
];

const TEXT: &str = "a string";
const NUMBER: &str = "a number";
const RANK: &str = "a whole number of at least 1";
const NAMES: &str = "a string or a list of strings";
const LAYERS: &str = "a layer, counted from 0, or a list of layers";

const MERGE: &str = "merge it into its base with PEFT's `merge_and_unload()` and give the merged \
                     folder as a model";

/// Fields whose refusal deserves more than the general way out.
const REFUSED: [(&str, &str); 4] = [
    (
        "alora_invocation_tokens",
        "an activated adapter works on a part of the text only; train \
                                 without it",
    ),
    (
        "fan_in_fan_out",
        "the weights of this base are [out, in]; set it to false",
    ),
    (
        "layer_replication",
        "it builds another base; give that base as a model",
    ),
    (
        "megatron_config",
        "save the adapter from an unsharded model",
    ),
];

impl LoraConfig {
    /// Reads an `adapter_config.json`.
    ///
    /// # Errors
    /// Missing or impossible values, and by name whatever would change the mathematics in another way:
    /// an initialization that changed the base, unknown fields with a value.
    pub fn read(path: &Path) -> Result<LoraConfig, LoraError> {
        let bytes = std::fs::read(path).map_err(|source| LoraError::Io {
            action: "read",
            path: path.to_path_buf(),
            source,
        })?;
        let map = serde_json::from_slice(&bytes).map_err(|source| LoraError::Json {
            path: path.to_path_buf(),
            source,
        })?;
        Fields { path, map }.into_config()
    }

    /// The text of an `adapter_config.json` with sorted keys. `targets` are names of modules, or
    /// paths where not every layer has an adapter.
    pub(super) fn to_json(&self, base_name: Option<&str>, targets: &[String]) -> String {
        let patterns = |pairs: Vec<(&String, Value)>| -> Value {
            Value::Object(pairs.into_iter().map(|(k, v)| (k.clone(), v)).collect())
        };
        let fields: BTreeMap<&str, Value> = BTreeMap::from([
            (
                "alpha_pattern",
                patterns(
                    self.alpha_pattern
                        .iter()
                        .map(|(k, v)| (k, number(*v)))
                        .collect(),
                ),
            ),
            ("auto_mapping", Value::Null),
            ("base_model_name_or_path", json!(base_name)),
            ("bias", json!("none")),
            ("fan_in_fan_out", json!(false)),
            ("inference_mode", json!(true)),
            ("init_lora_weights", json!(true)),
            ("layers_pattern", Value::Null),
            ("layers_to_transform", Value::Null),
            ("lora_alpha", number(self.alpha)),
            ("lora_dropout", json!(self.dropout)),
            ("modules_to_save", Value::Null),
            ("peft_type", json!("LORA")),
            ("r", json!(self.rank)),
            (
                "rank_pattern",
                patterns(
                    self.rank_pattern
                        .iter()
                        .map(|(k, v)| (k, json!(v)))
                        .collect(),
                ),
            ),
            ("revision", Value::Null),
            ("target_modules", json!(targets)),
            ("task_type", json!("CAUSAL_LM")),
            ("use_rslora", json!(self.use_rslora)),
        ]);
        // A map of JSON values always becomes text.
        let mut text = serde_json::to_string_pretty(&fields).unwrap_or_default();
        text.push('\n');
        text
    }

    /// `target_modules` as it is written: names that hold in every layer, or every path.
    pub(super) fn written_targets(&self, paths: impl Iterator<Item = String>) -> Vec<String> {
        let every_layer = self.exclude_modules.is_none() && self.layers_to_transform.is_none();
        match &self.target_modules {
            TargetModules::AllLinear if every_layer => {
                let mut names = Projection::ALL.map(|p| p.hf_name().to_owned()).to_vec();
                names.sort();
                names
            }
            TargetModules::Names(names) if every_layer => {
                let mut names = names.clone();
                names.sort();
                names.dedup();
                names
            }
            _ => paths.collect(),
        }
    }
}

/// PEFT declares alphas as integers and reads both.
fn number(x: f64) -> Value {
    if x.fract() == 0.0 && x.abs() < 1e15 {
        json!(x as i64)
    } else {
        json!(x)
    }
}

/// The object of the file; known keys are taken out one by one.
struct Fields<'a> {
    path: &'a Path,
    map: Map<String, Value>,
}

impl Fields<'_> {
    fn into_config(mut self) -> Result<LoraConfig, LoraError> {
        match self.take::<String>("peft_type", TEXT)?.as_deref() {
            Some("LORA") => {}
            Some(other) => {
                return Err(self.unsupported("peft_type", &json!(other), "qeval loads LORA"));
            }
            None => return Err(self.wrong("peft_type", "is missing; it must be \"LORA\"")),
        }
        if let Some(other) = self
            .take::<String>("task_type", TEXT)?
            .filter(|t| t != "CAUSAL_LM")
        {
            return Err(self.unsupported("task_type", &json!(other), "it must be CAUSAL_LM"));
        }
        let bias = self.take::<String>("bias", TEXT)?;
        if let Some(other) = bias.filter(|b| !["none", "all", "lora_only"].contains(&b.as_str())) {
            return Err(self.wrong(
                "bias",
                format!("is {other}; it must be none, all, or lora_only"),
            ));
        }
        let beside = self.beside()?;
        self.check_init()?;

        let rank = self.take("r", RANK)?.unwrap_or(8);
        self.check_rank("r", rank)?;
        let alpha = self.take("lora_alpha", NUMBER)?.unwrap_or(8.0);
        let dropout: f64 = self.take("lora_dropout", NUMBER)?.unwrap_or(0.0);
        if !(0.0..1.0).contains(&dropout) {
            return Err(self.wrong(
                "lora_dropout",
                format!("is {dropout}; it must be in [0, 1)"),
            ));
        }
        let rank_pattern = self.pattern::<usize>("rank_pattern", RANK)?;
        for (_, rank) in &rank_pattern {
            self.check_rank("rank_pattern", *rank)?;
        }
        // With these an adapter may have no other targets.
        let parameters = self.map.get("target_parameters");
        if let Some(other) = parameters.filter(|v| v.as_array().is_some_and(|v| !v.is_empty())) {
            let rule = "adapters go on whole linear layers only; use `target_modules`";
            return Err(self.unsupported("target_parameters", other, rule));
        }
        let target_modules = self.modules("target_modules")?.ok_or_else(|| {
            self.wrong(
                "target_modules",
                "is missing or empty; it must name the modules with an adapter",
            )
        })?;
        let layers_to_transform = match self.map.shift_remove("layers_to_transform") {
            None | Some(Value::Null) => None,
            Some(value @ Value::Number(_)) => {
                Some(vec![self.parse("layers_to_transform", value, LAYERS)?])
            }
            Some(value) => Some(self.parse::<Vec<usize>>("layers_to_transform", value, LAYERS)?)
                .filter(|list| !list.is_empty()),
        };
        if layers_to_transform.is_some() && matches!(target_modules, TargetModules::Pattern(_)) {
            return Err(self.wrong(
                "layers_to_transform",
                "is set while `target_modules` is a regular expression; PEFT allows one of them",
            ));
        }
        let layers_pattern = match self.map.shift_remove("layers_pattern") {
            None | Some(Value::Null) => Vec::new(),
            Some(Value::String(pattern)) => vec![pattern],
            Some(value) => self.parse("layers_pattern", value, NAMES)?,
        };
        let config = LoraConfig {
            rank,
            alpha,
            dropout,
            use_rslora: self.take("use_rslora", "true or false")?.unwrap_or(false),
            target_modules,
            exclude_modules: self.modules("exclude_modules")?,
            layers_to_transform,
            layers_pattern: layers_pattern
                .into_iter()
                .filter(|p| !p.is_empty())
                .collect(),
            rank_pattern,
            alpha_pattern: self.pattern("alpha_pattern", NUMBER)?,
            base_model: self.take("base_model_name_or_path", TEXT)?,
            beside,
        };
        self.check_rest()?;
        Ok(config)
    }

    fn beside(&mut self) -> Result<TrainedBeside, LoraError> {
        let key = "trainable_token_indices";
        const TOKENS: &str = "a list of token ids, or lists by `embed_tokens` and `lm_head`";
        let (tokens, head_tokens) = match self.map.shift_remove(key) {
            None | Some(Value::Null) => (Vec::new(), Vec::new()),
            Some(Value::Object(mut by_module)) => {
                let mut of = |name: &str| match by_module.shift_remove(name) {
                    None | Some(Value::Null) => Ok(Vec::new()),
                    Some(value) => self.parse(key, value, TOKENS),
                };
                let both = (of("embed_tokens")?, of("lm_head")?);
                if let Some(other) = by_module.keys().next() {
                    let problem = format!("names `{other}`; it must be {TOKENS}");
                    return Err(self.wrong(key, problem));
                }
                both
            }
            Some(value) => (self.parse(key, value, TOKENS)?, Vec::new()),
        };
        const FLAG: &str = "true or false";
        Ok(TrainedBeside {
            use_dora: self.take("use_dora", FLAG)?.unwrap_or(false),
            lora_bias: self.take("lora_bias", FLAG)?.unwrap_or(false),
            tokens,
            head_tokens,
            saved: self
                .take("modules_to_save", "a list of strings")?
                .unwrap_or_default(),
        })
    }

    fn check_rank(&self, key: &str, rank: usize) -> Result<(), LoraError> {
        if (1..=1 << 20).contains(&rank) {
            return Ok(());
        }
        Err(self.wrong(key, format!("holds {rank}; a rank must be at least 1")))
    }

    /// Whatever its start, an adapter is what its file holds, unless the start took something out
    /// of the base.
    fn check_init(&mut self) -> Result<(), LoraError> {
        let key = "init_lora_weights";
        match self.map.shift_remove(key) {
            None | Some(Value::Null | Value::Bool(_)) => Ok(()),
            Some(Value::String(kind))
                if ["gaussian", "eva", "mica", "orthogonal"].contains(&kind.as_str()) =>
            {
                Ok(())
            }
            Some(other) => Err(self.unsupported(
                key,
                &other,
                "it changed the base's weights before training; save the adapter with PEFT's \
                 `path_initial_model_for_weight_conversion`, or merge it and give the merged \
                 folder as a model",
            )),
        }
    }

    /// Every key that is left has to be of no effect.
    fn check_rest(&self) -> Result<(), LoraError> {
        for (key, value) in &self.map {
            let empty = match value {
                Value::Null | Value::Bool(false) => true,
                Value::Number(n) => n.as_f64() == Some(0.0),
                Value::String(text) => text.is_empty(),
                Value::Array(list) => list.is_empty(),
                Value::Object(map) => map.is_empty(),
                Value::Bool(true) => false,
            };
            if empty || NO_EFFECT.contains(&key.as_str()) {
                continue;
            }
            let own = REFUSED.iter().find(|(refused, _)| refused == key);
            return Err(self.unsupported(key, value, own.map_or(MERGE, |(_, way_out)| way_out)));
        }
        Ok(())
    }

    fn modules(&mut self, key: &str) -> Result<Option<TargetModules>, LoraError> {
        match self.map.shift_remove(key) {
            None | Some(Value::Null) => Ok(None),
            Some(Value::String(all)) if all.eq_ignore_ascii_case("all-linear") => {
                Ok(Some(TargetModules::AllLinear))
            }
            Some(Value::String(pattern)) if pattern.is_empty() => Ok(None),
            Some(Value::String(pattern)) => Ok(Some(TargetModules::Pattern(pattern))),
            Some(value) => {
                let list: Vec<String> = self.parse(key, value, NAMES)?;
                Ok(Some(TargetModules::Names(list)).filter(|m| *m != TargetModules::Names(vec![])))
            }
        }
    }

    fn pattern<T: DeserializeOwned>(
        &mut self,
        key: &str,
        rule: &str,
    ) -> Result<Vec<(String, T)>, LoraError> {
        let rule = format!("an object of which every value is {rule}");
        let map: Map<String, Value> = self.take(key, &rule)?.unwrap_or_default();
        map.into_iter()
            .map(|(name, value)| Ok((name, self.parse(key, value, &rule)?)))
            .collect()
    }

    fn take<T: DeserializeOwned>(&mut self, key: &str, rule: &str) -> Result<Option<T>, LoraError> {
        match self.map.shift_remove(key) {
            None | Some(Value::Null) => Ok(None),
            Some(value) => self.parse(key, value, rule).map(Some),
        }
    }

    fn parse<T: DeserializeOwned>(
        &self,
        key: &str,
        value: Value,
        rule: &str,
    ) -> Result<T, LoraError> {
        let text = value.to_string();
        serde_json::from_value(value)
            .map_err(|_| self.wrong(key, format!("is {text}; it must be {rule}")))
    }

    fn wrong(&self, key: &str, problem: impl Into<String>) -> LoraError {
        LoraError::Key {
            path: self.path.to_path_buf(),
            key: key.to_owned(),
            problem: problem.into(),
        }
    }

    fn unsupported(&self, key: &str, value: &Value, way_out: &str) -> LoraError {
        LoraError::Unsupported {
            path: self.path.to_path_buf(),
            key: key.to_owned(),
            value: value.to_string(),
            way_out: way_out.to_owned(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<LoraConfig, LoraError> {
        let path = Path::new("adapter_config.json");
        let map = serde_json::from_str(text).map_err(|source| LoraError::Json {
            path: path.to_path_buf(),
            source,
        })?;
        Fields { path, map }.into_config()
    }

    /// The shortest configuration, with some keys set.
    fn with(changes: Value) -> Result<LoraConfig, LoraError> {
        let mut config = json!({"peft_type": "LORA", "target_modules": ["q_proj"]});
        for (key, value) in changes.as_object().unwrap() {
            config[key] = value.clone();
        }
        parse(&config.to_string())
    }

    fn refused(changes: Value) -> String {
        with(changes).unwrap_err().to_string()
    }

    #[test]
    fn absent_and_null_keys_take_the_defaults_of_peft() {
        let names = TargetModules::Names(vec!["q_proj".into()]);
        let expected = LoraConfig {
            target_modules: names,
            ..LoraConfig::default()
        };
        assert_eq!(with(json!({})).unwrap(), expected);
        let nulls = json!({
            "r": null, "lora_alpha": null, "lora_dropout": null, "use_rslora": null, "bias": null,
            "task_type": null, "rank_pattern": null, "alpha_pattern": null,
            "exclude_modules": null, "layers_to_transform": null, "layers_pattern": null,
            "init_lora_weights": null, "base_model_name_or_path": null
        });
        assert_eq!(with(nulls).unwrap(), expected);
    }

    #[test]
    fn every_classic_field_is_read() {
        let found = with(json!({
            "r": 4, "lora_alpha": 8.5, "lora_dropout": 0.05, "use_rslora": true,
            "target_modules": "all-linear", "exclude_modules": ".*k_proj",
            "layers_to_transform": 3, "layers_pattern": "layers", "bias": "none",
            "rank_pattern": {"z": 2, "a": 3}, "alpha_pattern": {"q_proj": 1},
            "task_type": "CAUSAL_LM", "base_model_name_or_path": "Qwen/Qwen2.5-7B-Instruct",
            "init_lora_weights": "gaussian", "peft_version": "0.21.2", "inference_mode": true
        }));
        let expected = LoraConfig {
            rank: 4,
            alpha: 8.5,
            dropout: 0.05,
            use_rslora: true,
            target_modules: TargetModules::AllLinear,
            exclude_modules: Some(TargetModules::Pattern(".*k_proj".into())),
            layers_to_transform: Some(vec![3]),
            layers_pattern: vec!["layers".into()],
            // In the order of the file: the first that fits wins.
            rank_pattern: vec![("z".into(), 2), ("a".into(), 3)],
            alpha_pattern: vec![("q_proj".into(), 1.0)],
            base_model: Some("Qwen/Qwen2.5-7B-Instruct".into()),
            beside: TrainedBeside::default(),
        };
        assert_eq!(found.unwrap(), expected);
    }

    #[test]
    fn unknown_keys_without_a_value_are_ignored() {
        let config = with(json!({
            "of_the_future": null, "another": false, "third": {}, "fourth": [], "fifth": 0,
            "loftq_config": {}, "lora_bias": false, "modules_to_save": []
        }));
        assert_eq!(config.unwrap(), with(json!({})).unwrap());
    }

    #[test]
    fn what_was_trained_beside_matrices_is_read() {
        let beside = |changes: Value| with(changes).unwrap().beside;
        let found = beside(json!({
            "use_dora": true, "bias": "all", "lora_bias": false, "modules_to_save": ["lm_head"],
            "trainable_token_indices": [3, 1]
        }));
        let expected = TrainedBeside {
            use_dora: true,
            tokens: vec![3, 1],
            saved: vec!["lm_head".into()],
            ..TrainedBeside::default()
        };
        assert_eq!(found, expected);
        let both = json!({"embed_tokens": [1], "lm_head": [2]});
        let found = beside(json!({"trainable_token_indices": both, "bias": "lora_only"}));
        assert_eq!((found.tokens, found.head_tokens), (vec![1], vec![2]));
        let all = [
            json!({"bias": "some"}),
            json!({"trainable_token_indices": {"wte": [1]}}),
            json!({"trainable_token_indices": [-1]}),
            json!({"modules_to_save": 1}),
        ];
        insta::assert_snapshot!(all.map(refused).join("\n"), @r#"
        adapter_config.json: `bias` is some; it must be none, all, or lora_only
        adapter_config.json: `trainable_token_indices` names `wte`; it must be a list of token ids, or lists by `embed_tokens` and `lm_head`
        adapter_config.json: `trainable_token_indices` is [-1]; it must be a list of token ids, or lists by `embed_tokens` and `lm_head`
        adapter_config.json: `modules_to_save` is 1; it must be a list of strings
        "#);
    }

    #[test]
    fn what_changes_the_mathematics_is_refused_by_name() {
        let all = [
            json!({"peft_type": "LOHA"}),
            json!({"task_type": "SEQ_CLS"}),
            json!({"init_lora_weights": "pissa_niter_16"}),
            json!({"target_parameters": ["x.weight"]}),
            json!({"layer_replication": [[0, 2]]}),
            json!({"alora_invocation_tokens": [1]}),
            json!({"megatron_config": {"a": 1}}),
            json!({"fan_in_fan_out": true}),
            json!({"of_the_future": 1}),
        ];
        insta::assert_snapshot!(all.map(refused).join("\n"), @r#"
        adapter_config.json: `peft_type` = "LOHA" is not supported; qeval loads LORA
        adapter_config.json: `task_type` = "SEQ_CLS" is not supported; it must be CAUSAL_LM
        adapter_config.json: `init_lora_weights` = "pissa_niter_16" is not supported; it changed the base's weights before training; save the adapter with PEFT's `path_initial_model_for_weight_conversion`, or merge it and give the merged folder as a model
        adapter_config.json: `target_parameters` = ["x.weight"] is not supported; adapters go on whole linear layers only; use `target_modules`
        adapter_config.json: `layer_replication` = [[0,2]] is not supported; it builds another base; give that base as a model
        adapter_config.json: `alora_invocation_tokens` = [1] is not supported; an activated adapter works on a part of the text only; train without it
        adapter_config.json: `megatron_config` = {"a":1} is not supported; save the adapter from an unsharded model
        adapter_config.json: `fan_in_fan_out` = true is not supported; the weights of this base are [out, in]; set it to false
        adapter_config.json: `of_the_future` = 1 is not supported; merge it into its base with PEFT's `merge_and_unload()` and give the merged folder as a model
        "#);
    }

    #[test]
    fn impossible_values_are_refused_by_key() {
        let all = [
            json!({"peft_type": null}),
            json!({"target_modules": null}),
            json!({"target_modules": []}),
            json!({"target_modules": 3}),
            json!({"r": 0}),
            json!({"r": -1}),
            json!({"r": "8"}),
            json!({"rank_pattern": {"q_proj": 0}}),
            json!({"rank_pattern": ["q_proj"]}),
            json!({"lora_alpha": "high"}),
            json!({"lora_dropout": 1.0}),
            json!({"layers_to_transform": [-1]}),
            json!({"layers_to_transform": [1], "target_modules": ".*q_proj"}),
        ];
        insta::assert_snapshot!(all.map(refused).join("\n"), @r#"
        adapter_config.json: `peft_type` is missing; it must be "LORA"
        adapter_config.json: `target_modules` is missing or empty; it must name the modules with an adapter
        adapter_config.json: `target_modules` is missing or empty; it must name the modules with an adapter
        adapter_config.json: `target_modules` is 3; it must be a string or a list of strings
        adapter_config.json: `r` holds 0; a rank must be at least 1
        adapter_config.json: `r` is -1; it must be a whole number of at least 1
        adapter_config.json: `r` is "8"; it must be a whole number of at least 1
        adapter_config.json: `rank_pattern` holds 0; a rank must be at least 1
        adapter_config.json: `rank_pattern` is ["q_proj"]; it must be an object of which every value is a whole number of at least 1
        adapter_config.json: `lora_alpha` is "high"; it must be a number
        adapter_config.json: `lora_dropout` is 1; it must be in [0, 1)
        adapter_config.json: `layers_to_transform` is [-1]; it must be a layer, counted from 0, or a list of layers
        adapter_config.json: `layers_to_transform` is set while `target_modules` is a regular expression; PEFT allows one of them
        "#);
        insta::assert_snapshot!(parse("{\"r\": 8,").unwrap_err(), @"adapter_config.json is not valid JSON: EOF while parsing a value at line 1 column 8; copy it again");
    }

    #[test]
    fn written_text_has_sorted_keys_and_reads_back() {
        let config = LoraConfig {
            rank: 4,
            alpha: 16.0,
            rank_pattern: vec![("q_proj".into(), 2)],
            alpha_pattern: vec![("q_proj".into(), 1.5)],
            target_modules: TargetModules::Names(vec!["v_proj".into(), "q_proj".into()]),
            base_model: Some("org/base".into()),
            ..LoraConfig::default()
        };
        let targets = config.written_targets(std::iter::empty());
        let text = config.to_json(Some("org/base"), &targets);
        insta::assert_snapshot!(text, @r#"
        {
          "alpha_pattern": {
            "q_proj": 1.5
          },
          "auto_mapping": null,
          "base_model_name_or_path": "org/base",
          "bias": "none",
          "fan_in_fan_out": false,
          "inference_mode": true,
          "init_lora_weights": true,
          "layers_pattern": null,
          "layers_to_transform": null,
          "lora_alpha": 16,
          "lora_dropout": 0.0,
          "modules_to_save": null,
          "peft_type": "LORA",
          "r": 4,
          "rank_pattern": {
            "q_proj": 2
          },
          "revision": null,
          "target_modules": [
            "q_proj",
            "v_proj"
          ],
          "task_type": "CAUSAL_LM",
          "use_rslora": false
        }
        "#);
        let mut expected = config;
        expected.target_modules = TargetModules::Names(targets);
        assert_eq!(parse(&text).unwrap(), expected);
    }

    #[test]
    fn targets_are_written_as_names_or_else_as_every_path() {
        let paths = || ["model.layers.1.self_attn.q_proj".to_owned()].into_iter();
        let all = LoraConfig::default();
        let names = all.written_targets(paths());
        assert_eq!(
            names.join(" "),
            "down_proj gate_proj k_proj o_proj q_proj up_proj v_proj"
        );
        let layers = LoraConfig {
            layers_to_transform: Some(vec![1]),
            ..all.clone()
        };
        assert_eq!(layers.written_targets(paths()), paths().collect::<Vec<_>>());
        let pattern = TargetModules::Pattern(".*1.*q_proj".into());
        let pattern = LoraConfig {
            target_modules: pattern,
            ..all
        };
        assert_eq!(
            pattern.written_targets(paths()),
            paths().collect::<Vec<_>>()
        );
    }
}
