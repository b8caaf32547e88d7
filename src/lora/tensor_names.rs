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
    /// A of a linear layer.
    A(ModuleId),
    /// B of a linear layer.
    B(ModuleId),
    /// A whole tensor of the base, by its name there: the embedding or the head.
    Saved(&'static str),
}

impl TensorRole {
    /// What the tensor of this name is; `None` for what no adapter here can have.
    pub(super) fn of(name: &str) -> Option<TensorRole> {
        let parts: Vec<&str> = name.split('.').filter(|p| !WRAPPERS.contains(p)).collect();
        // `model` stands once in a path of the base, and once in PEFT's prefix.
        let head = parts.iter().take_while(|p| **p == "model").count();
        let path = &parts[head..];
        if let [module @ ("embed_tokens" | "lm_head"), end @ ..] = path {
            let whole = matches!(
                end,
                ["weight"]
                    | ["base_layer", "weight"]
                    | ["modules_to_save", _, "weight"]
                    | ["modules_to_save", "weight"]
            );
            return whole.then_some(TensorRole::Saved(match *module {
                "lm_head" => "lm_head.weight",
                _ => "model.embed_tokens.weight",
            }));
        }
        let at = path
            .iter()
            .position(|p| matches!(*p, "lora_A" | "lora_B"))?;
        // The adapter's name may stand before the end.
        match &path[at + 1..] {
            ["weight"] | [_, "weight"] => {}
            _ => return None,
        }
        let module = ModuleId::parse(&format!("model.{}", path[..at].join(".")))?;
        Some(match path[at] {
            "lora_A" => TensorRole::A(module),
            _ => TensorRole::B(module),
        })
    }
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
        ] {
            assert_eq!(TensorRole::of(&name), Some(TensorRole::A(module)), "{name}");
            let b = name.replace("lora_A", "lora_B");
            assert_eq!(TensorRole::of(&b), Some(TensorRole::B(module)), "{b}");
        }
    }

    #[test]
    fn what_is_no_matrix_of_a_layer_is_not_taken_for_one() {
        for name in [
            "base_model.model.model.layers.0.self_attn.q_proj.lora_magnitude_vector",
            "base_model.model.model.layers.0.self_attn.q_proj.lora_A.default.bias",
            "base_model.model.model.layers.0.self_attn.q_proj.weight",
            "base_model.model.transformer.h.0.attn.c_attn.lora_A.weight",
            "base_model.model.language_model.model.layers.0.self_attn.q_proj.lora_A.weight",
            "base_model.model.lm_head.lora_A.weight",
            "base_model.model.model.embed_tokens.lora_embedding_A",
            "",
            "lora_A.weight",
        ] {
            assert_eq!(TensorRole::of(name), None, "{name}");
        }
    }

    #[test]
    fn saved_tensors_are_known_by_the_bases_name() {
        let of = |name| match TensorRole::of(name) {
            Some(TensorRole::Saved(name)) => name,
            other => panic!("{other:?}"),
        };
        for name in [
            "base_model.model.model.embed_tokens.weight",
            "base_model.model.model.embed_tokens.base_layer.weight",
            "base_model.model.model.embed_tokens.modules_to_save.default.weight",
        ] {
            assert_eq!(of(name), "model.embed_tokens.weight");
        }
        for name in [
            "base_model.model.lm_head.weight",
            "base_model.model.lm_head.modules_to_save.weight",
        ] {
            assert_eq!(of(name), "lm_head.weight");
        }
    }
}
