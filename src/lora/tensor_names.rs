//! What a tensor of an adapter's file is, by its name.
//!
//! PEFT writes `base_model.model.<path>.lora_A.weight`. Other programs, and PEFT's own state with
//! another call, write the same matrix with the adapter's name after `lora_A`, without the prefix, with
//! the prefix twice, or with the marks of the wrappers it was trained in (`torch.compile`,
//! distributed training). All of them mean one thing.

use crate::model::ModuleId;

/// Names of wrappers that add nothing to a path.
const WRAPPERS: [&str; 5] = [
    "_orig_mod",
    "_fsdp_wrapped_module",
    "_checkpoint_wrapped_module",
    "module",
    "base_model",
];

/// What a tensor is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum TensorRole {
    /// Of a linear layer.
    Of(ModuleId, Part),
    /// Of the embedding or the head.
    OfTable(Table, TablePart),
}

/// Whether a tensor stands at what a model sees pictures with: where an adapter's targets name modules
/// alone, those of the eyes are among them, and no text needs them.
pub(super) fn is_of_pictures(name: &str) -> bool {
    let parts: Vec<&str> = name.split('.').collect();
    let eyes = ["vision_tower", "multi_modal_projector"];
    parts.iter().any(|part| eyes.contains(part))
}

/// A tensor of a linear layer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Part {
    /// `[rank, in]`.
    A,
    /// `[out, rank]`.
    B,
    /// Added to B's result.
    BBias,
    /// DoRA's magnitude, a number an output.
    Magnitude,
    /// The layer's own bias, trained.
    Bias,
}

/// A table of rows, one a token.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Table {
    /// The embedding.
    Embedding,
    /// The head.
    Head,
}

impl Table {
    /// Both.
    pub const ALL: [Table; 2] = [Table::Embedding, Table::Head];

    /// Name of its weight in a base.
    pub fn of_base(self) -> &'static str {
        match self {
            Table::Embedding => "model.embed_tokens.weight",
            Table::Head => "lm_head.weight",
        }
    }

    /// Path of its module in a base.
    pub fn module(self) -> &'static str {
        match self {
            Table::Embedding => "model.embed_tokens",
            Table::Head => "lm_head",
        }
    }
}

/// A tensor of the embedding or the head.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum TablePart {
    /// All rows.
    Whole,
    /// Rows of some tokens, which the configuration lists.
    Tokens,
    /// `[rank, in]`; of an embedding `[rank, vocabulary]`.
    A,
    /// `[out, rank]`; of an embedding `[hidden, rank]`.
    B,
    /// DoRA's magnitude.
    Magnitude,
}

impl TensorRole {
    /// What the tensor of this name is; `None` for what no adapter here can have.
    pub(super) fn of(name: &str) -> Option<TensorRole> {
        let parts: Vec<&str> = name.split('.').filter(|p| !WRAPPERS.contains(p)).collect();
        // `model` stands once in a path of the base, and once in PEFT's prefix. Models that see
        // pictures have their text one level down.
        let head = parts.iter().take_while(|p| **p == "model").count();
        let path = &parts[head..];
        let path = path.strip_prefix(&["language_model"]).unwrap_or(path);
        let path = path.strip_prefix(&["model"]).unwrap_or(path);
        if let [module @ ("embed_tokens" | "lm_head"), end @ ..] = path {
            let table = match *module {
                "lm_head" => Table::Head,
                _ => Table::Embedding,
            };
            return Some(TensorRole::OfTable(table, table_part(end)?));
        }
        let at = path
            .iter()
            .position(|p| p.starts_with("lora_") || matches!(*p, "base_layer" | "bias"))?;
        let part = match (path[at], &path[at + 1..]) {
            // The adapter's name may stand before the end.
            ("lora_A", ["weight"] | [_, "weight"]) => Part::A,
            ("lora_B", ["weight"] | [_, "weight"]) => Part::B,
            ("lora_B", ["bias"] | [_, "bias"]) => Part::BBias,
            ("lora_magnitude_vector", [] | ["weight"] | [_, "weight"] | [_]) => Part::Magnitude,
            ("base_layer", ["bias"]) | ("bias", []) => Part::Bias,
            _ => return None,
        };
        let module = ModuleId::parse(&format!("model.{}", path[..at].join(".")))?;
        Some(TensorRole::Of(module, part))
    }
}

/// What stands behind the embedding's or the head's path.
fn table_part(end: &[&str]) -> Option<TablePart> {
    Some(match end {
        ["weight"]
        | ["base_layer", "weight"]
        | ["modules_to_save", _, "weight"]
        | ["modules_to_save", "weight"]
        | ["token_adapter", "base_layer", "weight"] => TablePart::Whole,
        ["token_adapter", "trainable_tokens_delta"]
        | ["token_adapter", "trainable_tokens_delta", _] => TablePart::Tokens,
        ["lora_embedding_A" | "lora_A", ..] => TablePart::A,
        ["lora_embedding_B" | "lora_B", rest @ ..] if rest.last() != Some(&"bias") => TablePart::B,
        ["lora_magnitude_vector", ..] => TablePart::Magnitude,
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_matrix_has_many_names() {
        let path = "layers.1.self_attn.q_proj";
        let module = ModuleId::parse(&format!("model.{path}")).unwrap();
        for name in [
            format!("base_model.model.model.{path}.lora_A.weight"),
            format!("base_model.model.model.{path}.lora_A.default.weight"),
            format!("base_model.model.model.{path}.lora_A.my-adapter.weight"),
            format!("model.{path}.lora_A.weight"),
            format!("{path}.lora_A.weight"),
            format!("base_model.model.base_model.model.model.{path}.lora_A.weight"),
            format!("base_model.model._orig_mod.model.{path}.lora_A.weight"),
            format!("_orig_mod.base_model.model.model.{path}.lora_A.default.weight"),
            format!("module.base_model.model.model.{path}.lora_A.weight"),
            "base_model.model.model.layers.1._fsdp_wrapped_module.self_attn.q_proj.lora_A.weight"
                .to_owned(),
            format!("base_model.model.model.language_model.{path}.lora_A.weight"),
            format!("base_model.model.language_model.model.{path}.lora_A.weight"),
        ] {
            assert_eq!(
                TensorRole::of(&name),
                Some(TensorRole::Of(module, Part::A)),
                "{name}"
            );
            let b = name.replace("lora_A", "lora_B");
            assert_eq!(
                TensorRole::of(&b),
                Some(TensorRole::Of(module, Part::B)),
                "{b}"
            );
        }
    }

    #[test]
    fn what_is_no_part_of_an_adapter_is_not_taken_for_one() {
        for name in [
            "base_model.model.model.layers.0.self_attn.q_proj.weight",
            "base_model.model.model.layers.0.input_layernorm.weight",
            "base_model.model.transformer.h.0.attn.c_attn.lora_A.weight",
            "base_model.model.model.vision_tower.encoder.layers.0.self_attn.q_proj.lora_A.weight",
            "base_model.model.lm_head.bias",
            "base_model.model.score.weight",
            "",
            "lora_A.weight",
        ] {
            assert_eq!(TensorRole::of(name), None, "{name}");
        }
    }

    /// Names that PEFT 0.21 writes.
    #[test]
    fn what_stands_beside_matrices_is_known_by_name() {
        let path = "layers.1.self_attn.q_proj";
        let module = ModuleId::parse(&format!("model.{path}")).unwrap();
        for (end, part) in [
            ("lora_magnitude_vector", Part::Magnitude),
            ("lora_magnitude_vector.default.weight", Part::Magnitude),
            ("lora_B.bias", Part::BBias),
            ("base_layer.bias", Part::Bias),
            ("bias", Part::Bias),
        ] {
            let name = format!("base_model.model.model.{path}.{end}");
            assert_eq!(TensorRole::of(&name), Some(TensorRole::Of(module, part)));
        }
        for (name, table, part) in [
            (
                "model.embed_tokens.weight",
                Table::Embedding,
                TablePart::Whole,
            ),
            (
                "model.embed_tokens.modules_to_save.default.weight",
                Table::Embedding,
                TablePart::Whole,
            ),
            (
                "model.embed_tokens.lora_embedding_A",
                Table::Embedding,
                TablePart::A,
            ),
            (
                "model.embed_tokens.lora_embedding_B",
                Table::Embedding,
                TablePart::B,
            ),
            (
                "model.embed_tokens.token_adapter.trainable_tokens_delta",
                Table::Embedding,
                TablePart::Tokens,
            ),
            (
                "lm_head.modules_to_save.weight",
                Table::Head,
                TablePart::Whole,
            ),
            ("lm_head.base_layer.weight", Table::Head, TablePart::Whole),
            ("lm_head.lora_A.weight", Table::Head, TablePart::A),
            (
                "lm_head.lora_magnitude_vector",
                Table::Head,
                TablePart::Magnitude,
            ),
        ] {
            let found = TensorRole::of(&format!("base_model.model.{name}"));
            assert_eq!(found, Some(TensorRole::OfTable(table, part)), "{name}");
        }
    }
}
