//! Logits against transformers, with adapters against peft, and adapters back to disk.
//!
//! The expected numbers are those of `fixtures/reference/make_tiny_models.py` and
//! `make_peft_expected.py`.

use std::collections::BTreeSet;

use qeval::chat::Tokenizer;
use qeval::lora::{Adapter, BatchAdapters, LoadedAdapter};
use qeval::model::{Decoder, ModelFiles, NoLowRank};

use crate::support::{Expected, TINY, Tiny, bits, fixture, largest_difference, logits};

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

/// Trained on the whole of a model that sees pictures: by names that its eyes have too, and by paths.
#[test]
fn adapters_of_a_model_that_sees_pictures_change_its_text() {
    let tiny = Tiny::load("tiny-gemma3-vision");
    let expected = Expected::read("tiny-gemma3-vision.adapters.safetensors");
    for variant in ["qv", "text"] {
        let folder = fixture(&format!("adapters/tiny-gemma3-vision/{variant}"));
        let adapters = [LoadedAdapter::new(
            &tiny.read(&folder).unwrap(),
            &tiny.files.config,
            1.0,
        )];
        for n in 0..2 {
            let found = adapted(&tiny, &adapters, &expected.ids(&format!("ids.{n}")));
            let expected = expected.floats(&format!("{variant}.logits.{n}"));
            let most = largest_difference(&found, &expected);
            println!("{variant} {n}: {most:.1e}");
            assert!(most <= TOLERANCE, "{variant} {n}: {most}");
        }
    }
}

/// One adapter of `fixtures/reference/make_adapter_kinds.py`.
#[derive(serde::Deserialize)]
struct Kind {
    name: String,
    base: String,
    /// Whose logits are expected; `None` is to be refused.
    logits: Option<String>,
    /// The word of the refusal.
    names: Option<String>,
    folders: Option<Vec<String>>,
}

#[derive(serde::Deserialize)]
struct Kinds {
    adapters: Vec<Kind>,
}

/// What is refused although peft loads it, with a word of the way out or of the cause.
const REFUSED_KINDS: [(&str, &str); 11] = [
    ("norms_saved", "http://HOST"),
    ("head_norms_saved", "http://HOST"),
    ("projection_saved", "http://HOST"),
    ("pissa", "path_initial_model_for_weight_conversion"),
    ("olora", "path_initial_model_for_weight_conversion"),
    ("parameters", "target_parameters"),
    ("resized", "http://HOST"),
    ("resized_embedding_layers", "http://HOST"),
    ("resized_tokens", "http://HOST"),
    ("tied_resized", "http://HOST"),
    ("tied_resized_embedding_layers", "http://HOST"),
];

#[test]
fn adapters_of_every_kind_give_the_logits_of_peft_or_say_what_to_do() {
    let text = std::fs::read(fixture("expected/adapter_kinds.json")).unwrap();
    let kinds: Kinds = serde_json::from_slice(&text).unwrap();
    let tiny = ["tiny-llama", "tiny-qwen2", "tiny-qwen3"].map(Tiny::load);
    let (mut loaded, mut refused) = (0, 0);
    for kind in &kinds.adapters {
        if kind.folders.is_some() && !kind.name.starts_with("combined") {
            continue; // Two folders at once.
        }
        let tiny = tiny.iter().find(|tiny| tiny.name == kind.base).unwrap();
        let folder = fixture(&format!("adapters/kinds/{}", kind.name));
        let read = tiny.read(&folder);
        let word = REFUSED_KINDS.iter().find(|(name, _)| *name == kind.name);
        let word = match kind.name.starts_with("bin") {
            true => Some("save_file"),
            false => word.map(|(_, word)| *word).or(kind.names.as_deref()),
        };
        let adapter = match (read, word) {
            (Ok(adapter), None) => adapter,
            (Err(error), Some(word)) => {
                let text = error.to_string();
                assert!(text.contains(word), "{}: {text}", kind.name);
                println!("{}: {text}", kind.name);
                refused += 1;
                continue;
            }
            (Err(error), None) => panic!("{}: {error}", kind.name),
            (Ok(_), Some(word)) => panic!("{} is read, and not refused for {word}", kind.name),
        };
        let of = kind.logits.as_ref().unwrap();
        let expected = Expected::read(&format!("adapter_kinds/{of}.safetensors"));
        let adapters = [LoadedAdapter::new(&adapter, &tiny.files.config, 1.0)];
        for n in 0..2 {
            let ids = expected.ids(&format!("ids.{n}"));
            let most = largest_difference(
                &adapted(tiny, &adapters, &ids),
                &expected.floats(&format!("logits.{n}")),
            );
            println!("{} {n}: {most:.1e}", kind.name);
            assert!(most <= TOLERANCE, "{} {n}: {most}", kind.name);
        }
        loaded += 1;
    }
    println!("{loaded} loaded, {refused} refused");
    assert!(loaded >= 40 && refused >= 29, "{loaded} and {refused}");
    // What one of the files would make if it were unpickled.
    assert!(!std::path::Path::new("executed-by-the-pickle").exists());
}

/// Logits of every position with the first adapter.
fn adapted(tiny: &Tiny, adapters: &[LoadedAdapter], ids: &[u32]) -> Vec<f32> {
    let rows = vec![Some(0); ids.len()];
    let mut low_rank = BatchAdapters::new(adapters, &rows);
    logits(&tiny.decoder, ids, &mut low_rank).data
}

/// Between the base and the adapter, whatever it changes: half of the way is the mean of the weights,
/// and none of it the base to the bit.
#[test]
fn every_kind_of_adapter_has_a_scale() {
    let tiny = Tiny::load("tiny-qwen2");
    let ids = Expected::read("tiny-qwen2.adapters.safetensors").ids("ids.1");
    for name in ["dora_qwen2", "bias_all", "tied_both_saved", "tied_tokens"] {
        let folder = fixture(&format!("adapters/kinds/{name}"));
        let adapter = tiny.read(&folder).unwrap();
        let at = |scale: f32| {
            let adapters = [LoadedAdapter::new(&adapter, &tiny.files.config, scale)];
            adapted(&tiny, &adapters, &ids)
        };
        let base = logits(&tiny.decoder, &ids, &mut NoLowRank).data;
        assert_eq!(bits(&at(0.0)), bits(&base), "{name}");
        let (little, whole) = (at(1e-3), at(1.0));
        let apart = |x: &[f32]| largest_difference(x, &base);
        // Near the base the change is a thousandth of its slope there, which is of the whole's size.
        assert!(apart(&little) < apart(&whole) / 20.0, "{name}");
        assert!(apart(&at(0.5)) > apart(&little), "{name}");
    }
}

/// Token ids that llama.cpp gives for a text.
#[derive(serde::Deserialize)]
struct Cut {
    text: String,
    ids: Vec<u32>,
}

#[derive(serde::Deserialize)]
struct OfGguf {
    cases: Vec<Cut>,
}

/// Files as llama.cpp's converter writes them, which llama-server reads: see
/// `fixtures/reference/make_tiny_gguf.py`.
#[test]
fn gguf_files_of_gemma_and_mistral_give_the_tokens_and_logits_of_their_folders() {
    let text = std::fs::read(fixture("expected/tiny-gguf.json")).unwrap();
    let all: serde_json::Value = serde_json::from_slice(&text).unwrap();
    for name in ["tiny-gemma3", "tiny-gemma3-scaled", "tiny-mistral"] {
        let path = fixture(&format!("models/tiny-gguf/{name}.gguf"));
        let files = ModelFiles::open(&path).unwrap();
        let decoder = Decoder::load(&files.config, &files.weights).unwrap();
        let expected = Expected::read(&format!("tiny-gguf.{name}.safetensors"));
        for n in 0..3 {
            let found = logits(&decoder, &expected.ids(&format!("ids.{n}")), &mut NoLowRank);
            let expected = expected.floats(&format!("logits.{n}"));
            let most = largest_difference(&found.data, &expected);
            println!("{name} {n}: {most:.1e}");
            assert!(most <= TOLERANCE, "{name} {n}: {most}");
        }
        let tokenizer = Tokenizer::from_tokenizer(files.tokenizer.clone(), name).unwrap();
        let of: OfGguf = serde_json::from_value(all[name].clone()).unwrap();
        assert!(of.cases.len() > 20);
        for Cut { text, ids } in of.cases {
            assert_eq!(tokenizer.encode(&text).unwrap(), ids, "{name}: {text:?}");
        }
    }
}
