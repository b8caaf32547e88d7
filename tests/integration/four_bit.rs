//! Folders of four bits a number against the libraries that wrote them, and against their own numbers
//! in F32. `fixtures/reference/make_quantized_models.py` made folders and numbers.

use std::path::Path;

use half::{bf16, f16};
use qeval::lora::{DropoutKey, Trainable};
use qeval::model::{
    Batch, Decoder, Format, Keep, KvCache, ModelFiles, NoLowRank, Span, Storage, Weights,
};
use qeval::train::{AdamW, MicroBatch, StepBatch, TrainSection, accumulate};
use safetensors::Dtype;
use safetensors::tensor::TensorView;

use crate::support::{Expected, bits, example, fixture, largest_difference, logits};

/// Each with the format that its matrices are held in.
const FOLDERS: [(&str, &str); 7] = [
    ("tiny-nf4", "Codes(Nf4)"),
    ("tiny-nf4-single", "Codes(Nf4)"),
    ("tiny-fp4", "Codes(Fp4)"),
    ("tiny-gptq", "Int4 { inputs: 128 }"),
    (
        "tiny-gptq-act-order",
        "Int4ByInput(ByInput { groups: 4, inputs: 128 })",
    ),
    ("tiny-gptq-v2", "Int4 { inputs: 64 }"),
    ("tiny-awq", "Int4 { inputs: 128 }"),
];

fn open(name: &str) -> ModelFiles {
    ModelFiles::open(&fixture(&format!("models/{name}"))).unwrap()
}

fn expected(name: &str) -> Expected {
    Expected::read(&format!("{name}.quantized.safetensors"))
}

fn load(name: &str, storage: Storage) -> Decoder {
    let mut files = open(name);
    files.weights.hold(storage).unwrap();
    Decoder::load(&files.config, &files.weights).unwrap()
}

/// How a library rounds what it dequantizes.
type Round = fn(f32) -> f32;

/// By what numbers of each kind are called.
const ROUNDED: [(&str, Round); 3] = [
    ("weight.", |x| x),
    ("weight_float16.", |x| f16::from_f32(x).to_f32()),
    ("weight_bfloat16.", |x| bf16::from_f32(x).to_f32()),
];

#[test]
fn matrices_have_the_bits_that_their_library_makes_of_them() {
    for (name, _) in FOLDERS {
        let (files, expected) = (open(name), expected(name));
        let mut compared = 0;
        for key in expected.names() {
            for (prefix, round) in ROUNDED {
                let Some(module) = key.strip_prefix(prefix) else {
                    continue;
                };
                let tensor = format!("{module}.weight");
                let shape = files.weights.shape(&tensor).unwrap();
                let ours = files.weights.get(&tensor, &shape).unwrap();
                let ours: Vec<f32> = ours.into_iter().map(round).collect();
                let theirs = expected.floats_of_any(&key);
                assert!(bits(&ours) == bits(&theirs), "{name}: {key}");
                compared += 1;
            }
        }
        assert!(compared >= 3, "{name}: {compared}");
    }
}

#[test]
fn logits_are_those_of_the_dequantized_model() {
    for (name, _) in FOLDERS {
        let (decoder, expected) = (load(name, Storage::Stored), expected(name));
        let (mut worst, mut library) = (0.0f32, 0.0f32);
        for text in 0..3 {
            let ids = expected.ids(&format!("ids.{text}"));
            let ours = logits(&decoder, &ids, &mut NoLowRank).data;
            let theirs = expected.floats(&format!("logits.{text}"));
            worst = worst.max(largest_difference(&ours, &theirs));
            let theirs = expected.floats(&format!("logits_library.{text}"));
            library = library.max(largest_difference(&ours, &theirs));
        }
        println!("{name}: {worst:.1e} to transformers in F32, {library:.1e} to its own library");
        assert!(worst < 3e-5, "{name}: {worst}");
    }
}

/// One token a step, as an answer is decoded: products of one row.
fn one_by_one(decoder: &Decoder, ids: &[u32]) -> Vec<f32> {
    let mut cache = KvCache::new(decoder.config(), 1, ids.len());
    let each = ids.iter().enumerate().map(|(position, &id)| {
        let batch = Batch {
            tokens: vec![id],
            spans: vec![Span {
                slot: 0,
                position,
                rows: 0..1,
            }],
        };
        let hidden = decoder.forward(&batch, &mut cache, &mut NoLowRank).unwrap();
        decoder.logits(&hidden).unwrap().data
    });
    each.collect::<Vec<_>>().concat()
}

#[test]
fn stored_matrices_answer_and_train_with_the_bits_of_widened_ones() {
    for (name, format) in FOLDERS {
        let ids = expected(name).ids("ids.1");
        let (stored, widened) = (load(name, Storage::Stored), load(name, Storage::Widened));
        assert!(3 * stored.bytes() < 2 * widened.bytes(), "{name}");
        let kept = open(name);
        let kept = kept
            .weights
            .held_format("model.layers.0.self_attn.q_proj.weight");
        assert_eq!(
            kept.map(|f| format!("{f:?}")).as_deref(),
            Some(format),
            "{name}"
        );
        let whole = logits(&stored, &ids, &mut NoLowRank).data;
        assert_eq!(
            bits(&whole),
            bits(&one_by_one(&stored, &ids)),
            "{name}: rows"
        );
        let of_widened = logits(&widened, &ids, &mut NoLowRank).data;
        assert_eq!(bits(&whole), bits(&of_widened), "{name}: answers");
        let trained = [&stored, &widened].map(|decoder| bits(&after_two_steps(decoder, &ids)));
        assert!(trained[0] == trained[1], "{name}: training");
    }
}

/// All numbers of an adapter after two steps on one text.
fn after_two_steps(decoder: &Decoder, ids: &[u32]) -> Vec<f32> {
    let config = decoder.config();
    let targets = qeval::lora::LoraConfig::default()
        .targets(config, true)
        .unwrap();
    let first = |id| (id, Trainable::initial_values(config, id, 4, 2.0, 3));
    let mut trainable = Trainable::new(config, targets.into_iter().map(first).collect(), 0.0);
    let mut optimizer = AdamW::new(&TrainSection::default(), &trainable);
    let text = example(ids.to_vec(), vec![true; ids.len()]);
    let batch = StepBatch::of(vec![MicroBatch::pack(&[text])]);
    for step in 0..2 {
        let key = DropoutKey {
            step,
            ..DropoutKey::default()
        };
        trainable.clear_gradients();
        let kept = Keep::Input;
        accumulate(decoder, &mut trainable, &batch, kept, 1.0, key).unwrap();
        optimizer.update(&mut trainable, 1e-2);
    }
    let modules = trainable.values().into_values();
    modules.flat_map(|pair| [pair.a, pair.b].concat()).collect()
}

/// Four bits at load are those of bitsandbytes, in the layers alone.
#[test]
fn a_base_of_16_bits_is_quantized_as_it_is_loaded() {
    let expected = expected("tiny-nf4-single");
    let input = expected.floats("quantize.input");
    let folder = tempfile::tempdir().unwrap();
    let tensor = |name: &str| (name.to_owned(), input.clone());
    let layer = "model.layers.0.mlp.up_proj.weight";
    write(
        folder.path(),
        &[tensor(layer), tensor("model.embed_tokens.weight")],
    );
    let mut weights = Weights::open_folder(folder.path()).unwrap();
    weights.hold(Storage::Nf4).unwrap();
    let quantized = weights.get(layer, &[64, 128]).unwrap();
    assert!(bits(&quantized) == bits(&expected.floats("quantize.dequantized")));
    let table = weights
        .get("model.embed_tokens.weight", &[64, 128])
        .unwrap();
    assert!(bits(&table) == bits(&input));
    assert_eq!(
        weights.held_format(layer),
        Some(Format::Codes(qeval::model::Code::Nf4))
    );
}

/// Matrices of 64 by 128.
fn write(folder: &Path, tensors: &[(String, Vec<f32>)]) {
    let bytes = |values: &Vec<f32>| values.iter().flat_map(|v| v.to_le_bytes()).collect();
    let all: Vec<Vec<u8>> = tensors.iter().map(|(_, values)| bytes(values)).collect();
    let views = tensors.iter().zip(&all).map(|((name, _), bytes)| {
        let view = TensorView::new(Dtype::F32, vec![64, 128], bytes);
        (name.as_str(), view.unwrap())
    });
    let file = safetensors::serialize(views, None).unwrap();
    std::fs::write(folder.join("model.safetensors"), file).unwrap();
}

#[test]
fn what_is_quantized_already_is_not_quantized_again() {
    let mut files = open("tiny-gptq");
    let error = files.weights.hold(Storage::Nf4).unwrap_err().to_string();
    let error = error.replace(&fixture("models").display().to_string(), "models");
    insta::assert_snapshot!(error, @"models/tiny-gptq: `load_in_4bit` of weights that are quantized already (int4) is not supported; leave it out: they stay as they are stored");
}
