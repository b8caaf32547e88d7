//! Logits against transformers, with adapters against peft, and adapters back to disk.
//!
//! The expected numbers are those of `fixtures/reference/make_tiny_models.py` and
//! `make_peft_expected.py`.

use std::collections::BTreeSet;

use qeval::lora::{Adapter, BatchAdapters, LoadedAdapter};
use qeval::model::NoLowRank;

use crate::support::{Expected, TINY, Tiny, bits, largest_difference, logits};

/// The bound that is promised. In F32 the figures are near 1e-5.
const TOLERANCE: f32 = 1e-3;
const VARIANTS: [&str; 4] = ["plain", "rslora", "patterns", "qv"];
/// Only for `tiny-llama`.
const MORE_VARIANTS: [&str; 3] = ["rslora_patterns", "regex", "layers"];

fn variants(name: &str) -> impl Iterator<Item = &'static str> {
    let more: &[&str] = if name == "tiny-llama" {
        &MORE_VARIANTS
    } else {
        &[]
    };
    VARIANTS.into_iter().chain(more.iter().copied())
}

fn base_differs_by(tiny: &Tiny, expected: &Expected) -> f32 {
    let differences = (0..3).map(|n| {
        let found = logits(
            &tiny.decoder,
            &expected.ids(&format!("ids.{n}")),
            &mut NoLowRank,
        );
        largest_difference(&found.data, &expected.floats(&format!("logits.{n}")))
    });
    differences.fold(0.0, f32::max)
}

/// The same architectures with other keys in `config.json`, and with pictures beside the text:
/// each with the model whose numbers are expected.
const OTHER_CONFIGS: [(&str, &str); 5] = [
    ("tiny-mistral", "tiny-mistral"),
    ("tiny-gemma3-released", "tiny-gemma3-released"),
    ("tiny-gemma3-scaled", "tiny-gemma3-scaled"),
    ("tiny-gemma3-vision", "tiny-gemma3-vision"),
    ("tiny-gemma3-vision-names", "tiny-gemma3-vision"),
];

#[test]
fn base_logits_are_those_of_transformers() {
    let own = TINY.map(|name| (name, name));
    for (name, expected) in own.into_iter().chain(OTHER_CONFIGS) {
        let expected = Expected::read(&format!("{expected}.logits.safetensors"));
        let most = base_differs_by(&Tiny::load(name), &expected);
        println!("{name}: largest difference {most:.2e}");
        assert!(most <= TOLERANCE, "{name}: {most}");
    }
}

#[test]
fn weights_in_several_files_are_the_same_model() {
    let (whole, sharded) = (Tiny::load("tiny-llama"), Tiny::load("tiny-llama-sharded"));
    let expected = Expected::read("tiny-llama.logits.safetensors");
    assert!(base_differs_by(&sharded, &expected) <= TOLERANCE);
    let ids = expected.ids("ids.2");
    let [whole, sharded] =
        [whole, sharded].map(|tiny| logits(&tiny.decoder, &ids, &mut NoLowRank).data);
    assert_eq!(bits(&whole), bits(&sharded));
}

#[test]
fn adapted_logits_are_those_of_peft() {
    for name in TINY {
        let tiny = Tiny::load(name);
        let expected = Expected::read(&format!("{name}.adapters.safetensors"));
        for variant in variants(name) {
            let adapters = [tiny.loaded(variant)];
            for n in 0..2 {
                let ids = expected.ids(&format!("ids.{n}"));
                let rows = vec![Some(0); ids.len()];
                let mut low_rank = BatchAdapters::new(&adapters, &rows);
                let found = logits(&tiny.decoder, &ids, &mut low_rank).data;
                let base = logits(&tiny.decoder, &ids, &mut NoLowRank).data;
                let most =
                    largest_difference(&found, &expected.floats(&format!("{variant}.logits.{n}")));
                let moved = largest_difference(&found, &base);
                println!("{name} {variant} {n}: {most:.2e}, the adapter moves them by {moved:.1e}");
                assert!(most <= TOLERANCE, "{name} {variant} {n}: {most}");
                assert!(
                    moved > 100.0 * TOLERANCE,
                    "{name} {variant} {n} has no effect: {moved}"
                );
            }
        }
    }
}

#[test]
fn adapter_scale_multiplies_what_the_adapter_adds() {
    let tiny = Tiny::load("tiny-qwen3");
    let adapter = tiny.adapter("plain");
    let ids = Expected::read("tiny-qwen3.adapters.safetensors").ids("ids.1");
    let rows = vec![Some(0); ids.len()];
    let at_scale = |adapter: &Adapter, scale: f32| {
        let adapters = [LoadedAdapter::new(adapter, &tiny.files.config, scale)];
        logits(
            &tiny.decoder,
            &ids,
            &mut BatchAdapters::new(&adapters, &rows),
        )
        .data
    };
    let base = logits(&tiny.decoder, &ids, &mut NoLowRank).data;
    assert_eq!(at_scale(&adapter, 0.0), base);
    let mut halved = adapter.clone();
    halved
        .modules
        .values_mut()
        .for_each(|m| m.b.iter_mut().for_each(|b| *b *= 0.5));
    assert!(largest_difference(&at_scale(&adapter, 0.5), &at_scale(&halved, 1.0)) < 1e-4);
    assert!(largest_difference(&at_scale(&adapter, 0.5), &at_scale(&adapter, 1.0)) > 0.1);
}

/// The fields that the oldest PEFT with rank-stabilized LoRA and patterns knows.
const CLASSIC_FIELDS: [&str; 19] = [
    "alpha_pattern",
    "auto_mapping",
    "base_model_name_or_path",
    "bias",
    "fan_in_fan_out",
    "inference_mode",
    "init_lora_weights",
    "layers_pattern",
    "layers_to_transform",
    "lora_alpha",
    "lora_dropout",
    "modules_to_save",
    "peft_type",
    "r",
    "rank_pattern",
    "revision",
    "target_modules",
    "task_type",
    "use_rslora",
];

#[test]
fn written_adapter_loads_with_equal_bits_and_classic_fields() {
    for name in TINY {
        let tiny = Tiny::load(name);
        for variant in variants(name) {
            let adapter = tiny.adapter(variant);
            let folder = tempfile::tempdir().unwrap();
            adapter.write(folder.path(), Some("a/base")).unwrap();
            let again = Adapter::read(folder.path(), &tiny.files.config).unwrap();
            assert_eq!(again.digest, adapter.digest, "{name} {variant}");
            assert_eq!(again.modules.len(), adapter.modules.len());
            for (id, module) in &adapter.modules {
                let other = &again.modules[id];
                assert_eq!(
                    (module.rank, module.scale.to_bits()),
                    (other.rank, other.scale.to_bits())
                );
                assert_eq!(bits(&module.a), bits(&other.a), "{name} {variant} {id}");
                assert_eq!(bits(&module.b), bits(&other.b), "{name} {variant} {id}");
            }
            let text = std::fs::read_to_string(folder.path().join("adapter_config.json")).unwrap();
            let written: serde_json::Map<String, serde_json::Value> =
                serde_json::from_str(&text).unwrap();
            let fields: BTreeSet<&str> = written.keys().map(String::as_str).collect();
            assert_eq!(fields, CLASSIC_FIELDS.into(), "{name} {variant}");
        }
    }
}
