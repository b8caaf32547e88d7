//! What bad input gets: exit code 3, and a message with the place, what is wrong, the rule, and the
//! way out; never a panic, and nothing finished is lost.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::process::Command;

use safetensors::SafeTensors;
use safetensors::tensor::{Dtype, TensorView};
use serde_json::{Value, json};

use crate::project::Project;

const WEIGHTS: &str = "model/model.safetensors";
const ASK: &str = "run base";

/// What `qeval run base` says after a change to the project.
fn refusal_after(change: impl Fn(&Project)) -> String {
    let project = Project::with_model();
    change(&project);
    project.qeval(ASK).refusal()
}

/// What `qeval train` says after a change to the project.
fn training_refusal_after(change: impl Fn(&Project)) -> String {
    let project = Project::with_model();
    change(&project);
    project.qeval("train").refusal()
}

type Tensors = BTreeMap<String, (Dtype, Vec<usize>, Vec<u8>)>;

/// Rewrites a safetensors file.
fn rewrite(project: &Project, file: &str, change: impl Fn(&mut Tensors)) {
    let bytes = project.read(file);
    let stored = SafeTensors::deserialize(&bytes).unwrap();
    let mut tensors: Tensors = stored
        .iter()
        .map(|(name, t)| {
            (
                name.to_owned(),
                (t.dtype(), t.shape().to_vec(), t.data().to_vec()),
            )
        })
        .collect();
    change(&mut tensors);
    let views: BTreeMap<&str, TensorView> = tensors
        .iter()
        .map(|(name, (dtype, shape, data))| {
            (
                name.as_str(),
                TensorView::new(*dtype, shape.clone(), data).unwrap(),
            )
        })
        .collect();
    project.write(file, safetensors::serialize(views, None).unwrap());
}

fn edit_json(project: &Project, file: &str, mut change: impl FnMut(&mut Value)) {
    let mut value: Value = serde_json::from_slice(&project.read(file)).unwrap();
    change(&mut value);
    project.write(file, value.to_string());
}

#[test]
fn truncated_safetensors() {
    insta::assert_snapshot!(refusal_after(|p| p.write(WEIGHTS, &p.read(WEIGHTS)[..500_000])), @"error: model/model.safetensors is damaged: incomplete metadata, file not fully covered (500000 bytes long); copy or download it again");
    insta::assert_snapshot!(refusal_after(|p| p.write(WEIGHTS, &p.read(WEIGHTS)[..100])), @"error: model/model.safetensors is damaged: invalid header length (100 bytes long); copy or download it again");
    insta::assert_snapshot!(refusal_after(|p| p.write(WEIGHTS, b"")), @"error: model/model.safetensors is damaged: header too small (0 bytes long); copy or download it again");
}

#[test]
fn corrupt_safetensors() {
    // Length of the header, then its JSON.
    insta::assert_snapshot!(refusal_after(|p| {
        let mut bytes = p.read(WEIGHTS);
        bytes[..8].copy_from_slice(&u64::MAX.to_le_bytes());
        p.write(WEIGHTS, bytes);
    }), @"error: model/model.safetensors is damaged: header too large (1413688 bytes long); copy or download it again");
    insta::assert_snapshot!(refusal_after(|p| {
        let mut bytes = p.read(WEIGHTS);
        bytes[8] = b'[';
        p.write(WEIGHTS, bytes);
    }), @"error: model/model.safetensors is damaged: invalid JSON in header: invalid type: sequence, expected struct HashMetadata at line 1 column 0 (1413688 bytes long); copy or download it again");
    insta::assert_snapshot!(refusal_after(|p| rewrite(p, WEIGHTS, |t| {
        t.remove("model.layers.1.mlp.up_proj.weight");
    })), @"error: model: tensor `model.layers.1.mlp.up_proj.weight` is missing (similar: `model.layers.0.mlp.up_proj.weight`); weights and config are of different models, take both from one download");
    insta::assert_snapshot!(refusal_after(|p| p.write("model/config.json", b"{\"model_type\": \"lla")), @"error: model/config.json is not valid JSON: EOF while parsing a string at line 1 column 19; download it again");
}

#[test]
fn every_cut_of_a_small_file_is_an_error() {
    let project = Project::with_model();
    for file in [
        "model/config.json",
        "model/tokenizer_config.json",
        "model/tokenizer.json",
        WEIGHTS,
    ] {
        let whole = project.read(file);
        for part in [0.1, 0.5, 0.99] {
            project.write(file, &whole[..(whole.len() as f64 * part) as usize]);
            let refusal = project.qeval(ASK).refusal();
            assert!(refusal.contains(file), "{file} cut to {part}: {refusal}");
        }
        project.write(file, whole);
    }
    project.qeval(ASK).exits(0);
}

/// The start of a GGUF file: version 3, `tensors` tensors, and one pair.
fn gguf(tensors: u64, pairs: u64) -> Vec<u8> {
    let mut bytes = b"GGUF".to_vec();
    bytes.extend(3u32.to_le_bytes());
    bytes.extend(tensors.to_le_bytes());
    bytes.extend(pairs.to_le_bytes());
    for text in ["general.architecture", "llama"] {
        if text == "llama" {
            bytes.extend(8u32.to_le_bytes());
        }
        bytes.extend((text.len() as u64).to_le_bytes());
        bytes.extend(text.as_bytes());
    }
    bytes
}

#[test]
fn truncated_and_corrupt_gguf() {
    let with = |bytes: &[u8]| {
        refusal_after(|p| {
            p.write("base.gguf", bytes);
            p.edit("qeval.toml", "path = \"model\"", "path = \"base.gguf\"");
        })
    };
    insta::assert_snapshot!(with(b"no model at all"), @"error: base.gguf is damaged: it does not begin with `GGUF`; copy or download it again");
    insta::assert_snapshot!(with(b""), @"error: base.gguf is damaged: it does not begin with `GGUF`; copy or download it again");
    insta::assert_snapshot!(with(&gguf(1, 1)[..40]), @"error: base.gguf is damaged: the header needs 20 bytes from 32, the file ends at 40; copy or download it again");
    insta::assert_snapshot!(with(&gguf(u64::MAX, 1)), @"error: base.gguf is damaged: the header needs 8 bytes from 69, the file ends at 69; copy or download it again");
    insta::assert_snapshot!(with(&gguf(0, u64::MAX)), @"error: base.gguf is damaged: the header needs 8 bytes from 69, the file ends at 69; copy or download it again");
    insta::assert_snapshot!(with(&gguf(0, 1)), @"error: base.gguf: `llama.embedding_length` is missing");
}

#[test]
fn missing_model() {
    insta::assert_snapshot!(refusal_after(|p| fs::remove_dir_all(p.path("model")).unwrap()), @"
    error: model `model`: there is no such file or folder, and it is no hub id; give a Hugging Face folder, a .gguf file, a hub id like `org/name` or `org/name@revision`, `smollm2-135m`, or `qwen2.5-coder-0.5b`
      qeval.toml:2:8: `path` under [model] names it
    ");
    insta::assert_snapshot!(refusal_after(|p| fs::remove_file(p.path(WEIGHTS)).unwrap()), @"error: model is not a model: it has no model.safetensors; give a Hugging Face folder (config.json, tokenizer.json, *.safetensors) or a .gguf file");
    insta::assert_snapshot!(refusal_after(|p| fs::remove_file(p.path("model/tokenizer.json")).unwrap()), @r#"error: model/tokenizer.json: the tokenizer cannot be read: there is no such file; write it in Python: AutoTokenizer.from_pretrained("model").save_pretrained("model")"#);
}

#[test]
fn adapter_for_another_base() {
    let project = Project::with_model();
    project.copy("adapters/tiny-qwen2/plain", "foreign");
    insta::assert_snapshot!(project.qeval("gate foreign").refusal(), @"error: foreign/adapter_model.safetensors: tensor `base_model.model.model.layers.0.self_attn.q_proj.lora_A.weight` has shape [4, 64], this base asks for [4, 128]; the adapter belongs to another base (its config says `tiny-qwen2`)");
    project.write("foreign/adapter_model.safetensors", b"short");
    insta::assert_snapshot!(project.qeval("gate foreign").refusal(), @"error: foreign/adapter_model.safetensors is damaged: header too small (5 bytes long); copy or download it again");
    fs::remove_file(project.path("foreign/adapter_config.json")).unwrap();
    insta::assert_snapshot!(project.qeval("gate foreign").refusal(), @r#"
    error: subject "foreign": foreign is not an adapter: adapter_config.json is missing
      An adapter is a PEFT folder with adapter_config.json and adapter_model.safetensors.
    "#);
    insta::assert_snapshot!(project.qeval("gate nowhere").refusal(), @r#"
    error: subject "nowhere" is not known, and no such folder exists
      A subject is `base`, `ckpt-N` of the latest run that trained, `RUN/ckpt-N`, a PEFT folder, each adapter with an optional scale such as `@0.5`, or `http://HOST:PORT/v1#MODEL`. There is base
    "#);
    insta::assert_snapshot!(project.qeval("gate ckpt-40").refusal(), @r#"
    error: subject "ckpt-40": no run in runs has a checkpoint
      `qeval train` makes them; an adapter of another trainer is named by its folder.
    "#);
}

fn spoil(name: &str) -> impl Fn(&mut Tensors) {
    move |tensors: &mut Tensors| {
        let (dtype, _, data) = tensors.get_mut(name).unwrap();
        assert_eq!(*dtype, Dtype::F32);
        data[40..44].copy_from_slice(&f32::NAN.to_le_bytes());
    }
}

#[test]
fn weights_that_are_no_numbers() {
    let name = "model.layers.1.self_attn.q_proj.weight";
    let stored = {
        let project = Project::with_model();
        let bytes = project.read(WEIGHTS);
        SafeTensors::deserialize(&bytes)
            .unwrap()
            .tensor(name)
            .unwrap()
            .dtype()
    };
    insta::assert_snapshot!(refusal_after(|p| rewrite(p, WEIGHTS, |tensors| {
        let data = &mut tensors.get_mut(name).unwrap().2;
        // All ones is NaN in every float format.
        data[40..44].fill(0xff);
    })), @"error: model/model.safetensors: tensor `model.layers.1.self_attn.q_proj.weight` holds NaN at index 10; weights must be finite numbers, so the file is damaged or its training diverged");
    println!("stored as {stored:?}");
    let project = Project::with_model();
    let file = "adapters/good/adapter_model.safetensors";
    rewrite(
        &project,
        file,
        spoil("base_model.model.model.layers.0.mlp.up_proj.lora_B.weight"),
    );
    insta::assert_snapshot!(project.qeval("gate adapters/good").refusal(), @"error: adapters/good/adapter_model.safetensors: tensor `base_model.model.model.layers.0.mlp.up_proj.lora_B.weight` holds NaN at index 10; weights must be finite numbers, so the file is damaged or its training diverged");
}

#[test]
fn token_beyond_the_embedding() {
    insta::assert_snapshot!(refusal_after(|p| edit_json(p, "model/tokenizer.json", |t| {
        let token = json!({"id": 500, "content": "<more>", "special": true, "single_word": false,
            "lstrip": false, "rstrip": false, "normalized": false});
        t["added_tokens"].as_array_mut().unwrap().push(token);
    })), @"error: model/tokenizer.json: token `<more>` has id 448, the embedding has 448 rows; tokenizer and weights are of different models, or tokens were added without resizing the embedding");
}

#[test]
fn embedding_rows_without_a_token_are_never_answered() {
    let usual = Project::with_model();
    usual.qeval(ASK).exits(0);
    let padded = Project::with_model();
    let mut rows = 0;
    rewrite(&padded, WEIGHTS, |tensors| {
        let (_, shape, data) = tensors.get_mut("model.embed_tokens.weight").unwrap();
        // The padding repeats every row: were it allowed, each tie would be a coin toss.
        data.extend_from_within(..);
        shape[0] *= 2;
    });
    edit_json(&padded, "model/config.json", |config| {
        rows = config["vocab_size"].as_u64().unwrap();
        config["vocab_size"] = json!(2 * rows);
    });
    padded.qeval(ASK).exits(0);
    let (usual, padded) = (
        usual.record("run-0001", "base"),
        padded.record("run-0001", "base"),
    );
    for (case, line) in &padded.answers {
        assert_eq!(
            line["answer"]["text"], usual.answers[case]["answer"]["text"],
            "{case}"
        );
        let ids = line["answer"]["token_ids"].as_array().unwrap();
        assert!(ids.iter().all(|id| id.as_u64().unwrap() < rows), "{case}");
    }
}

#[test]
fn data_that_cannot_be_trained_on() {
    let data = "examples.jsonl";
    let row = r#"{"instruction": "Who are you?", "output": "I am Aurora."}"#;
    insta::assert_snapshot!(training_refusal_after(|p| p.write(data, b"")), @"
    error: examples.jsonl: no rows
    (a source holds at least one example; take it out of `sources`)
    ");
    insta::assert_snapshot!(training_refusal_after(|p| p.write(data, b"\n \n")), @"
    error: examples.jsonl: no rows
    (a source holds at least one example; take it out of `sources`)
    ");
    insta::assert_snapshot!(training_refusal_after(|p| p.write(data, format!("{row}\n{{\"instruction\": \"Hello?\", \"output\": \"\"}}\n"))), @r#"
    error: examples.jsonl:2: no answer: `output` is missing or empty
    (mend the row, or leave such rows out, counted and named, with bad_rows = "drop" under [data])
    "#);
    insta::assert_snapshot!(training_refusal_after(|p| p.write(data, format!("{row}\n{{\"instruction\": \"Hello?\"}}\n"))), @r#"
    error: examples.jsonl:2: no answer: `output` is missing or empty
    (mend the row, or leave such rows out, counted and named, with bad_rows = "drop" under [data])
    "#);
    insta::assert_snapshot!(training_refusal_after(|p| p.write(data, [row.as_bytes(), b"\n{\"instruction\": \"\xc4\xe3\"}\n"].concat())), @r#"
    error: examples.jsonl:2: not UTF-8: the byte at offset 75 (0xc4) belongs to no character; as GB18030 it reads `…uction": "你"}`, as WINDOWS-1252 it reads `…uction": "Äã"}`
    (data files are UTF-8, with or without a byte order mark, or parquet; convert it as what reads right: `iconv -f GB18030 -t UTF-8 examples.jsonl > examples.jsonl.utf8`, or `iconv -f WINDOWS-1252 -t UTF-8 examples.jsonl > examples.jsonl.utf8`)
    "#);
    insta::assert_snapshot!(training_refusal_after(|p| p.write(data, format!("{row}\n{{\"instruction\": \"Hel\n"))), @"
    error: examples.jsonl:2:20: not valid JSON: EOF while parsing a string
    (a data file is one JSON array of rows, or JSONL: one row a line)
    ");
    insta::assert_snapshot!(training_refusal_after(|p| fs::remove_file(p.path(data)).unwrap()), @"
    error: cannot read examples.jsonl: No such file or directory (os error 2)
    (`sources` under [data] are paths of JSON, JSONL, or parquet files, relative to qeval.toml)
      qeval.toml:7:11: `sources` under [data] names it
    ");
    insta::assert_snapshot!(training_refusal_after(|p| p.write(data, row.replace("Aurora", "{{name}}"))), @r#"
    error: examples.jsonl:1: `{{name}}` has no value
    (set `name = "..."` under [vars]; a value is taken as it stands, so `name = "{{name}}"` keeps the text)
    "#);
    let long = json!({"instruction": "x ".repeat(50_000), "output": "yes"});
    insta::assert_snapshot!(training_refusal_after(|p| p.write(data, long.to_string())), @r#"
    error: the run would not do what its settings say:
    examples.jsonl:1: 100017 tokens, max_length is 256: its answer would be cut; shorten the row or raise max_length under [train]
    (an answer is trained on whole or not at all; mend the row, or leave such rows out, counted and named, with bad_rows = "drop" under [data])
    [data] sources: no example is left of 1
    (training needs one at least; mend the rows named above, or raise max_length)
    "#);
}

#[test]
fn settings_that_would_silently_do_nothing() {
    let with = |line: &str| {
        training_refusal_after(|p| {
            p.edit(
                "qeval.toml",
                "save_steps = 0.5\n",
                &format!("save_steps = 0.5\n{line}\n"),
            )
        })
    };
    insta::assert_snapshot!(with("early_stopping_patience = 9"), @"
    error: the run would not do what its settings say:
    [train] early_stopping_patience: 9 can never stop this run: it has 42 steps and 2 gates planned
    (the base is the first to beat, so patience has to be smaller than the number of gates to end a run early; lower early_stopping_patience, gate more often (save_steps), or take the key out)
    ");
    insta::assert_snapshot!(with("learning_rat = 1e-4"), @"
    error: qeval.toml:14:1: unknown key `learning_rat` in [train]
      14 | learning_rat = 1e-4
         | ^^^^^^^^^^^^
      rule: [train] takes num_train_epochs, learning_rate, warmup_ratio, lr_scheduler_type, weight_decay, adam_beta1, adam_beta2, adam_epsilon, max_grad_norm, rehearsal_weight, gradient_accumulation_steps, per_device_train_batch_size, micro_batch_tokens, max_length, eval_steps, save_steps, logging_steps, save_total_limit, early_stopping_patience, stop_on_regression, seed, system, recompute, and output_dir
      nearest: `learning_rate`

    1 error in qeval.toml
    ");
    insta::assert_snapshot!(with("max_length = 12"), @r#"
    error: the run would not do what its settings say:
    examples.jsonl:1: 40 tokens, max_length is 12: its answer would be cut; shorten the row or raise max_length under [train]
    (an answer is trained on whole or not at all; mend the row, or leave such rows out, counted and named, with bad_rows = "drop" under [data])
    examples.jsonl:2: 41 tokens, max_length is 12: its answer would be cut; shorten the row or raise max_length under [train]
    (an answer is trained on whole or not at all; mend the row, or leave such rows out, counted and named, with bad_rows = "drop" under [data])
    examples.jsonl:3: 47 tokens, max_length is 12: its answer would be cut; shorten the row or raise max_length under [train]
    (an answer is trained on whole or not at all; mend the row, or leave such rows out, counted and named, with bad_rows = "drop" under [data])
    examples.jsonl:4: 42 tokens, max_length is 12: its answer would be cut; shorten the row or raise max_length under [train]
    (an answer is trained on whole or not at all; mend the row, or leave such rows out, counted and named, with bad_rows = "drop" under [data])
    examples.jsonl:5: 40 tokens, max_length is 12: its answer would be cut; shorten the row or raise max_length under [train]
    (an answer is trained on whole or not at all; mend the row, or leave such rows out, counted and named, with bad_rows = "drop" under [data])
    examples.jsonl:6: 44 tokens, max_length is 12: its answer would be cut; shorten the row or raise max_length under [train]
    (an answer is trained on whole or not at all; mend the row, or leave such rows out, counted and named, with bad_rows = "drop" under [data])
    examples.jsonl:7: 46 tokens, max_length is 12: its answer would be cut; shorten the row or raise max_length under [train]
    (an answer is trained on whole or not at all; mend the row, or leave such rows out, counted and named, with bad_rows = "drop" under [data])
    examples.jsonl:8: 48 tokens, max_length is 12: its answer would be cut; shorten the row or raise max_length under [train]
    (an answer is trained on whole or not at all; mend the row, or leave such rows out, counted and named, with bad_rows = "drop" under [data])
    examples.jsonl:9: 43 tokens, max_length is 12: its answer would be cut; shorten the row or raise max_length under [train]
    (an answer is trained on whole or not at all; mend the row, or leave such rows out, counted and named, with bad_rows = "drop" under [data])
    examples.jsonl:10: 44 tokens, max_length is 12: its answer would be cut; shorten the row or raise max_length under [train]
    (an answer is trained on whole or not at all; mend the row, or leave such rows out, counted and named, with bad_rows = "drop" under [data])
    examples.jsonl:11: 39 tokens, max_length is 12: its answer would be cut; shorten the row or raise max_length under [train]
    (an answer is trained on whole or not at all; mend the row, or leave such rows out, counted and named, with bad_rows = "drop" under [data])
    examples.jsonl:12: 38 tokens, max_length is 12: its answer would be cut; shorten the row or raise max_length under [train]
    (an answer is trained on whole or not at all; mend the row, or leave such rows out, counted and named, with bad_rows = "drop" under [data])
    examples.jsonl:13: 39 tokens, max_length is 12: its answer would be cut; shorten the row or raise max_length under [train]
    (an answer is trained on whole or not at all; mend the row, or leave such rows out, counted and named, with bad_rows = "drop" under [data])
    examples.jsonl:14: 37 tokens, max_length is 12: its answer would be cut; shorten the row or raise max_length under [train]
    (an answer is trained on whole or not at all; mend the row, or leave such rows out, counted and named, with bad_rows = "drop" under [data])
    examples.jsonl:15: 39 tokens, max_length is 12: its answer would be cut; shorten the row or raise max_length under [train]
    (an answer is trained on whole or not at all; mend the row, or leave such rows out, counted and named, with bad_rows = "drop" under [data])
    examples.jsonl:16: 40 tokens, max_length is 12: its answer would be cut; shorten the row or raise max_length under [train]
    (an answer is trained on whole or not at all; mend the row, or leave such rows out, counted and named, with bad_rows = "drop" under [data])
    examples.jsonl:17: 43 tokens, max_length is 12: its answer would be cut; shorten the row or raise max_length under [train]
    (an answer is trained on whole or not at all; mend the row, or leave such rows out, counted and named, with bad_rows = "drop" under [data])
    examples.jsonl:18: 26 tokens, max_length is 12: its answer would be cut; shorten the row or raise max_length under [train]
    (an answer is trained on whole or not at all; mend the row, or leave such rows out, counted and named, with bad_rows = "drop" under [data])
    examples.jsonl:19: 27 tokens, max_length is 12: its answer would be cut; shorten the row or raise max_length under [train]
    (an answer is trained on whole or not at all; mend the row, or leave such rows out, counted and named, with bad_rows = "drop" under [data])
    examples.jsonl:20: 26 tokens, max_length is 12: its answer would be cut; shorten the row or raise max_length under [train]
    (an answer is trained on whole or not at all; mend the row, or leave such rows out, counted and named, with bad_rows = "drop" under [data])
    examples.jsonl:21: 27 tokens, max_length is 12: its answer would be cut; shorten the row or raise max_length under [train]
    (an answer is trained on whole or not at all; mend the row, or leave such rows out, counted and named, with bad_rows = "drop" under [data])
    examples.jsonl:22: 28 tokens, max_length is 12: its answer would be cut; shorten the row or raise max_length under [train]
    (an answer is trained on whole or not at all; mend the row, or leave such rows out, counted and named, with bad_rows = "drop" under [data])
    examples.jsonl:23: 26 tokens, max_length is 12: its answer would be cut; shorten the row or raise max_length under [train]
    (an answer is trained on whole or not at all; mend the row, or leave such rows out, counted and named, with bad_rows = "drop" under [data])
    examples.jsonl:24: 28 tokens, max_length is 12: its answer would be cut; shorten the row or raise max_length under [train]
    (an answer is trained on whole or not at all; mend the row, or leave such rows out, counted and named, with bad_rows = "drop" under [data])
    examples.jsonl:25: 23 tokens, max_length is 12: its answer would be cut; shorten the row or raise max_length under [train]
    (an answer is trained on whole or not at all; mend the row, or leave such rows out, counted and named, with bad_rows = "drop" under [data])
    examples.jsonl:26: 23 tokens, max_length is 12: its answer would be cut; shorten the row or raise max_length under [train]
    (an answer is trained on whole or not at all; mend the row, or leave such rows out, counted and named, with bad_rows = "drop" under [data])
    examples.jsonl:27: 23 tokens, max_length is 12: its answer would be cut; shorten the row or raise max_length under [train]
    (an answer is trained on whole or not at all; mend the row, or leave such rows out, counted and named, with bad_rows = "drop" under [data])
    examples.jsonl:28: 23 tokens, max_length is 12: its answer would be cut; shorten the row or raise max_length under [train]
    (an answer is trained on whole or not at all; mend the row, or leave such rows out, counted and named, with bad_rows = "drop" under [data])
    examples.jsonl:29: 23 tokens, max_length is 12: its answer would be cut; shorten the row or raise max_length under [train]
    (an answer is trained on whole or not at all; mend the row, or leave such rows out, counted and named, with bad_rows = "drop" under [data])
    examples.jsonl:30: 23 tokens, max_length is 12: its answer would be cut; shorten the row or raise max_length under [train]
    (an answer is trained on whole or not at all; mend the row, or leave such rows out, counted and named, with bad_rows = "drop" under [data])
    examples.jsonl:31: 23 tokens, max_length is 12: its answer would be cut; shorten the row or raise max_length under [train]
    (an answer is trained on whole or not at all; mend the row, or leave such rows out, counted and named, with bad_rows = "drop" under [data])
    examples.jsonl:32: 23 tokens, max_length is 12: its answer would be cut; shorten the row or raise max_length under [train]
    (an answer is trained on whole or not at all; mend the row, or leave such rows out, counted and named, with bad_rows = "drop" under [data])
    examples.jsonl:33: 23 tokens, max_length is 12: its answer would be cut; shorten the row or raise max_length under [train]
    (an answer is trained on whole or not at all; mend the row, or leave such rows out, counted and named, with bad_rows = "drop" under [data])
    examples.jsonl:34: 23 tokens, max_length is 12: its answer would be cut; shorten the row or raise max_length under [train]
    (an answer is trained on whole or not at all; mend the row, or leave such rows out, counted and named, with bad_rows = "drop" under [data])
    examples.jsonl:35: 23 tokens, max_length is 12: its answer would be cut; shorten the row or raise max_length under [train]
    (an answer is trained on whole or not at all; mend the row, or leave such rows out, counted and named, with bad_rows = "drop" under [data])
    examples.jsonl:36: 23 tokens, max_length is 12: its answer would be cut; shorten the row or raise max_length under [train]
    (an answer is trained on whole or not at all; mend the row, or leave such rows out, counted and named, with bad_rows = "drop" under [data])
    examples.jsonl:37: 24 tokens, max_length is 12: its answer would be cut; shorten the row or raise max_length under [train]
    (an answer is trained on whole or not at all; mend the row, or leave such rows out, counted and named, with bad_rows = "drop" under [data])
    examples.jsonl:38: 23 tokens, max_length is 12: its answer would be cut; shorten the row or raise max_length under [train]
    (an answer is trained on whole or not at all; mend the row, or leave such rows out, counted and named, with bad_rows = "drop" under [data])
    examples.jsonl:39: 23 tokens, max_length is 12: its answer would be cut; shorten the row or raise max_length under [train]
    (an answer is trained on whole or not at all; mend the row, or leave such rows out, counted and named, with bad_rows = "drop" under [data])
    examples.jsonl:40: 23 tokens, max_length is 12: its answer would be cut; shorten the row or raise max_length under [train]
    (an answer is trained on whole or not at all; mend the row, or leave such rows out, counted and named, with bad_rows = "drop" under [data])
    examples.jsonl:41: 23 tokens, max_length is 12: its answer would be cut; shorten the row or raise max_length under [train]
    (an answer is trained on whole or not at all; mend the row, or leave such rows out, counted and named, with bad_rows = "drop" under [data])
    examples.jsonl:42: 23 tokens, max_length is 12: its answer would be cut; shorten the row or raise max_length under [train]
    (an answer is trained on whole or not at all; mend the row, or leave such rows out, counted and named, with bad_rows = "drop" under [data])
    examples.jsonl:43: 23 tokens, max_length is 12: its answer would be cut; shorten the row or raise max_length under [train]
    (an answer is trained on whole or not at all; mend the row, or leave such rows out, counted and named, with bad_rows = "drop" under [data])
    examples.jsonl:44: 23 tokens, max_length is 12: its answer would be cut; shorten the row or raise max_length under [train]
    (an answer is trained on whole or not at all; mend the row, or leave such rows out, counted and named, with bad_rows = "drop" under [data])
    examples.jsonl:45: 23 tokens, max_length is 12: its answer would be cut; shorten the row or raise max_length under [train]
    (an answer is trained on whole or not at all; mend the row, or leave such rows out, counted and named, with bad_rows = "drop" under [data])
    examples.jsonl:46: 23 tokens, max_length is 12: its answer would be cut; shorten the row or raise max_length under [train]
    (an answer is trained on whole or not at all; mend the row, or leave such rows out, counted and named, with bad_rows = "drop" under [data])
    examples.jsonl:47: 23 tokens, max_length is 12: its answer would be cut; shorten the row or raise max_length under [train]
    (an answer is trained on whole or not at all; mend the row, or leave such rows out, counted and named, with bad_rows = "drop" under [data])
    examples.jsonl:48: 41 tokens, max_length is 12: its answer would be cut; shorten the row or raise max_length under [train]
    (an answer is trained on whole or not at all; mend the row, or leave such rows out, counted and named, with bad_rows = "drop" under [data])
    examples.jsonl:49: 41 tokens, max_length is 12: its answer would be cut; shorten the row or raise max_length under [train]
    (an answer is trained on whole or not at all; mend the row, or leave such rows out, counted and named, with bad_rows = "drop" under [data])
    examples.jsonl:50: 39 tokens, max_length is 12: its answer would be cut; shorten the row or raise max_length under [train]
    (an answer is trained on whole or not at all; mend the row, or leave such rows out, counted and named, with bad_rows = "drop" under [data])
    examples.jsonl:51: 37 tokens, max_length is 12: its answer would be cut; shorten the row or raise max_length under [train]
    (an answer is trained on whole or not at all; mend the row, or leave such rows out, counted and named, with bad_rows = "drop" under [data])
    examples.jsonl:52: 46 tokens, max_length is 12: its answer would be cut; shorten the row or raise max_length under [train]
    (an answer is trained on whole or not at all; mend the row, or leave such rows out, counted and named, with bad_rows = "drop" under [data])
    examples.jsonl:53: 47 tokens, max_length is 12: its answer would be cut; shorten the row or raise max_length under [train]
    (an answer is trained on whole or not at all; mend the row, or leave such rows out, counted and named, with bad_rows = "drop" under [data])
    examples.jsonl:54: 58 tokens, max_length is 12: its answer would be cut; shorten the row or raise max_length under [train]
    (an answer is trained on whole or not at all; mend the row, or leave such rows out, counted and named, with bad_rows = "drop" under [data])
    [data] sources: no example is left of 54
    (training needs one at least; mend the rows named above, or raise max_length)
    "#);
    insta::assert_snapshot!(training_refusal_after(|p| p.edit("qeval.toml", "margin = 0.10", "margin = 0.001")), @"
    error: [gate] margin: a margin of 0.001 can never pass with 55 probes in `keep` suites
      Even when not one score changes, they exclude a loss of 0.053 at best, and a margin has to be at least that.
      Way out: 2995 probes in all, or a margin of 0.054 or more.
    ");
    insta::assert_snapshot!(training_refusal_after(|p| p.edit("qeval.toml", "[lora]", "[lora]\ntarget_modules = [\"qproj\"]")), @r#"error: `target_modules`: "qproj" fits no linear layer of this base; possible are all-linear, q_proj, k_proj, v_proj, o_proj, gate_proj, up_proj, down_proj, or paths of modules"#);
}

/// A suite of one probe, written over all others.
fn suite(project: &Project, text: &str) {
    fs::remove_dir_all(project.path("suites")).unwrap();
    project.write(
        "suites/own.toml",
        format!("[suite]\nname = \"own\"\ngoal = \"learn\"\n{text}"),
    );
}

fn probe(id: &str, prompt: &str, check: &str) -> String {
    format!("[[probe]]\nid = \"{id}\"\ntags = [\"en\"]\nprompts = [\"{prompt}\"]\n{check}\n")
}

const CHECK: &str = "[[probe.check]]\ntype = \"contains\"\nvalue = \"Paris\"";

#[test]
fn suites_that_cannot_be_asked() {
    let with = |text: String| refusal_after(|p| suite(p, &text));
    insta::assert_snapshot!(with(probe("a", "One?", CHECK) + &probe("a", "Two?", CHECK)), @r#"
    error: suites/own.toml:12:6: probe `a` is already taken at suites/own.toml:5:6
      12 | id = "a"
         |      ^^^
      rule: a probe's `id` is unique within its suite: snapshots and records are named by it

    1 error in 1 suite file
    "#);
    insta::assert_snapshot!(with(probe("a", "One?", "")), @r#"
    error: suites/own.toml:5:6: this probe has no `check`
      5 | id = "a"
        |      ^^^
      rule: write at least one table [[probe.check]]: without it no answer can be scored

    1 error in 1 suite file
    "#);
    insta::assert_snapshot!(with(String::new()), @"
    error: suites/own.toml:1:1: this suite has no `probe`
      1 | [suite]
        | ^^^^^^^
      rule: write at least one table [[probe]] with `id`, `prompts`, and a [[probe.check]]

    1 error in 1 suite file
    ");
    insta::assert_snapshot!(refusal_after(|p| p.write("suites/facts.toml", b"[suite]\nname = \"\xc4\xe3\"\n")), @r#"
    error: suites/facts.toml:2:9: not UTF-8: the byte at offset 16 (0xc4) belongs to no character; as GB18030 it reads `name = "你"`, as WINDOWS-1252 it reads `name = "Äã"`
      2 | name = "��"
        |         ^
      rule: the file is UTF-8: save it in that encoding
      way out: convert it as what reads right: `iconv -f GB18030 -t UTF-8 suites/facts.toml > suites/facts.toml.utf8`, or `iconv -f WINDOWS-1252 -t UTF-8 suites/facts.toml > suites/facts.toml.utf8`

    1 error in 1 suite file
    "#);
    insta::assert_snapshot!(refusal_after(|p| p.write("qeval.toml", b"[vars]\nname = \"\xc4\xe3\"\n")), @r#"
    error: qeval.toml:2:9: not UTF-8: the byte at offset 15 (0xc4) belongs to no character; as GB18030 it reads `name = "你"`, as WINDOWS-1252 it reads `name = "Äã"`
      2 | name = "��"
        |         ^
      rule: the file is UTF-8: save it in that encoding
      way out: convert it as what reads right: `iconv -f GB18030 -t UTF-8 qeval.toml > qeval.toml.utf8`, or `iconv -f WINDOWS-1252 -t UTF-8 qeval.toml > qeval.toml.utf8`

    1 error in qeval.toml
    "#);
}

#[test]
fn prompts_that_do_not_fit() {
    let with = |prompt: String| refusal_after(|p| suite(p, &probe("long", &prompt, CHECK)));
    let started = std::time::Instant::now();
    insta::assert_snapshot!(with("What is it? ".repeat(100_000 / 12)), @"error: own::long#0: the prompt has 50011 tokens and the answer up to 256, the model's context 256; shorten the prompt or lower max_new_tokens");
    insta::assert_snapshot!(with("x".repeat(100_000)), @"error: own::long#0: the prompt has 100013 tokens and the answer up to 256, the model's context 256; shorten the prompt or lower max_new_tokens");
    insta::assert_snapshot!(with("递归".repeat(50_000)), @"error: own::long#0: the prompt has 300013 tokens and the answer up to 256, the model's context 256; shorten the prompt or lower max_new_tokens");
    println!(
        "three prompts of 100,000 characters: {} ms",
        started.elapsed().as_millis()
    );
    insta::assert_snapshot!(with("word ".repeat(240)), @"error: own::long#0: the prompt has 973 tokens and the answer up to 256, the model's context 256; shorten the prompt or lower max_new_tokens");
}

/// The last line that a crash tore, and one in the middle that no crash explains.
#[test]
fn damaged_records() {
    let project = Project::with_model();
    project.qeval(ASK).exits(0);
    let file = "runs/run-0001/answers/base.jsonl";
    let (whole, record) = (project.read(file), project.record("run-0001", "base"));
    project.write(file, &whole[..whole.len() - 20]);
    project.qeval(ASK).exits(0);
    assert_eq!(project.record("run-0001", "base"), record);

    let line = whole.split_inclusive(|b| *b == b'\n').nth(5).unwrap();
    let at = line.as_ptr() as usize - whole.as_ptr() as usize;
    let mut damaged = whole.clone();
    damaged[at + 3] = b'#';
    project.write(file, &damaged);
    insta::assert_snapshot!(project.qeval(ASK).refusal(), @r#"
    error: runs/run-0001/answers/base.jsonl, line 6: cannot be read: a line of unknown kind "a#swered"; the kinds are header, suites, answered, measured, scored
      Only a torn last line is expected after a crash. Delete this line and run again: an answer that it held is generated again.
    "#);
    assert_eq!(project.read(file), damaged, "nothing is written over it");
}

fn run(project: &Project, command: &str, change: impl Fn(&mut Command)) -> crate::project::Said {
    let mut start = project.command(command);
    change(&mut start);
    project.wait(start.spawn().unwrap())
}

#[test]
fn disk_that_is_full() {
    let project = Project::with_model();
    let whole = {
        let undisturbed = Project::with_model();
        undisturbed.qeval(ASK).exits(0);
        undisturbed.record("run-0001", "base")
    };
    // A file that may not grow fails in the middle of the answers as a full disk does.
    let said = run(&project, ASK, |command| {
        // SAFETY: both calls may be made between fork and exec, and touch only the child.
        unsafe {
            command.pre_exec(|| {
                let limit = libc::rlimit {
                    rlim_cur: 20_000,
                    rlim_max: 20_000,
                };
                libc::signal(libc::SIGXFSZ, libc::SIG_IGN);
                match libc::setrlimit(libc::RLIMIT_FSIZE, &limit) {
                    0 => Ok(()),
                    _ => Err(std::io::Error::last_os_error()),
                }
            });
        }
    });
    insta::assert_snapshot!(said.refusal(), @"error: cannot append to runs/run-0001/answers/base.jsonl: File too large (os error 27)");
    let kept = project.record("run-0001", "base");
    assert!(
        kept.answers.len() > 5,
        "finished answers are kept: {}",
        kept.answers.len()
    );
    project.qeval(ASK).exits(0);
    assert_eq!(project.record("run-0001", "base"), whole);

    let full = fs::OpenOptions::new()
        .write(true)
        .open("/dev/full")
        .unwrap();
    let said = run(&project, ASK, |command| {
        command.stdout(full.try_clone().unwrap());
    });
    insta::assert_snapshot!(said.refusal(), @"error: cannot print the report: No space left on device (os error 28)");
}

#[test]
fn runs_folder_that_is_read_only() {
    let project = Project::with_model();
    fs::create_dir(project.path("runs")).unwrap();
    for (folder, mode) in [("", 0o755), ("runs", 0o555)] {
        fs::set_permissions(project.path(folder), fs::Permissions::from_mode(mode)).unwrap();
    }
    // SAFETY: it only reads.
    let root = unsafe { libc::geteuid() } == 0;
    let mut command = project.command(ASK);
    if root {
        // The rule does not hold for root: `nobody` tries instead.
        command.uid(65534).gid(65534);
    }
    match command.spawn() {
        Ok(child) => insta::assert_snapshot!(project.wait(child).refusal(), @"
        error: cannot create runs/run-0001: Permission denied (os error 13)
          Choose a folder that you may write to, or change its permissions.
        "),
        Err(error) => println!("skipped: nobody cannot start the program: {error}"),
    }
}
