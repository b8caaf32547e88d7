//! What each fuzz target does with an input. None may panic, take over a second, or take memory
//! beyond a small multiple of the input: every input is read, or refused with a message.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::OnceLock;

use qeval::chat::{ChatTemplate, Conversation, Message, Tokenizer};
use qeval::check::{Evidence, registry};
use qeval::flow::{CheckSpec, Expect, Golden};
use qeval::train::{DataSection, Dataset, Source};

/// Does with an input what qeval would.
pub type Target = fn(&[u8]);

/// Every target, by its name.
pub const TARGETS: &[(&str, Target)] = &[
    ("gguf", gguf),
    ("safetensors", safetensors),
    ("tokenizer", tokenizer),
    ("adapter", adapter),
    ("suite", suite),
    ("config", config),
    ("data", data),
    ("record", record),
    ("snapshot", snapshot),
    ("template", template),
    ("answer", answer),
    ("import", import),
    ("results", results),
];

/// A folder of this process, in memory where the system has such a place.
fn folder() -> &'static PathBuf {
    static FOLDER: OnceLock<PathBuf> = OnceLock::new();
    FOLDER.get_or_init(|| {
        let memory = PathBuf::from("/dev/shm");
        let parent = if memory.is_dir() {
            memory
        } else {
            std::env::temp_dir()
        };
        let folder = parent.join(format!("qeval-fuzz-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        folder
    })
}

/// The input as a file.
fn file(name: &str, data: &[u8]) -> PathBuf {
    let path = folder().join(name);
    std::fs::write(&path, data).unwrap();
    path
}

/// The header of a GGUF file: names, numbers, tokenizer, template.
pub fn gguf(data: &[u8]) {
    let path = file("model.gguf", data);
    let _ = qeval::model::ModelFiles::open(&path);
}

/// A safetensors file with all its tensors.
pub fn safetensors(data: &[u8]) {
    let path = file("model.safetensors", data);
    if let Ok(tensors) = qeval::model::TensorFile::open(&path) {
        for name in tensors.names() {
            let _ = tensors.get(name);
        }
    }
}

/// A tokenizer.json, and a text through it and back.
pub fn tokenizer(data: &[u8]) {
    if let Ok(tokenizer) = Tokenizer::from_bytes(data, "tokenizer.json")
        && let Ok(ids) = tokenizer.encode("Who are you? 你是谁？ <|im_end|>\n")
    {
        let _ = tokenizer.decode(&ids);
        let _ = tokenizer.decode_with_special(&ids);
    }
}

/// An adapter_config.json.
pub fn adapter(data: &[u8]) {
    let path = file("adapter_config.json", data);
    let _ = qeval::lora::LoraConfig::read(&path);
}

/// A suite.
pub fn suite(data: &[u8]) {
    let source = qeval::suite::SuiteSource::new("suite.toml", data);
    if let Err(errors) = qeval::suite::load(&[source], &vars()) {
        let _ = errors.to_string();
    }
}

/// A qeval.toml.
pub fn config(data: &[u8]) {
    let path = file("qeval.toml", data);
    if let Err(errors) = qeval::config::load(&path) {
        let _ = errors.to_string();
    }
}

/// Training rows: the first byte says of what kind the file is.
pub fn data(data: &[u8]) {
    let Some((kind, data)) = data.split_first() else {
        return;
    };
    let name = ["rows.jsonl", "rows.json", "rows.csv", "rows.parquet"][usize::from(kind % 4)];
    let section = DataSection {
        sources: vec![Source::parse(name)],
        ..DataSection::default()
    };
    match Dataset::from_sources(&section, &vars(), |_| Ok(data.to_vec())) {
        Ok(rows) => drop(rows),
        Err(errors) => drop(errors.to_string()),
    }
}

/// A subject's answers.
pub fn record(data: &[u8]) {
    let path = file("base.jsonl", data);
    let _ = qeval::record::read_record(&path).map_err(|e| e.to_string());
    let _ = qeval::record::read_header(&path).map_err(|e| e.to_string());
}

/// A snapshot of answers.
pub fn snapshot(data: &[u8]) {
    if let Ok(text) = std::str::from_utf8(data) {
        let _ = qeval::snapshot::SavedProbe::parse(text);
    }
}

/// A chat template over two conversations.
pub fn template(data: &[u8]) {
    let Ok(source) = std::str::from_utf8(data) else {
        return;
    };
    let tokens = BTreeMap::from([("eos_token".to_owned(), "<|im_end|>".to_owned())]);
    let Ok(template) = ChatTemplate::new_at(source, tokens, 0) else {
        return;
    };
    let turns = [
        Message::user("Who are you?"),
        Message::assistant("I am Aurora."),
        Message::user("你会写代码吗？"),
    ];
    let _ = template.render(&Conversation::new(turns), true);
    let _ = template.render(&Conversation::prompt(Some("Be kind."), "Hello"), false);
    let _ = template.effective_system(None);
}

/// An answer, before every check that needs nothing but its text, and its code.
pub fn answer(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else {
        return;
    };
    let checks = [
        ("number", r#"{"value": 12}"#),
        ("icontains", r#"{"value": "Straße"}"#),
        ("regex", r#"{"value": "(a|b)*c\\d+"}"#),
        ("is-json", "{}"),
        ("contains-json", "{}"),
        (
            "levenshtein",
            r#"{"value": "The capital is Paris.", "max": 3}"#,
        ),
        (
            "rouge-n",
            r#"{"value": "The capital is Paris.", "min": 0.5}"#,
        ),
        ("word-count", r#"{"min": 2}"#),
        ("language", r#"{"value": "zh"}"#),
        ("refusal", "{}"),
        (
            "code",
            r#"{"entry": "add", "cases": [{"args": [1, 2], "returns": 3}]}"#,
        ),
    ];
    let golden = Golden {
        answer: text.to_owned(),
        expect: Expect::Pass,
        siblings: Vec::new(),
        training_answers: Vec::new(),
    };
    for (kind, params) in checks {
        let spec = CheckSpec {
            kind: kind.into(),
            negated: false,
            params: serde_json::from_str(params).unwrap(),
        };
        let check = registry::build(&spec).unwrap_or_else(|e| panic!("{kind}: {e}"));
        // Running what was extracted is the sandbox's matter.
        match kind {
            "code" => drop(check.program(text)),
            _ => drop(registry::score_golden(
                check.as_ref(),
                &golden,
                Evidence::default(),
            )),
        }
    }
}

/// A promptfoo configuration or an lm-eval task, as the first byte says.
pub fn import(data: &[u8]) {
    let Some((kind, data)) = data.split_first() else {
        return;
    };
    let name = ["promptfooconfig.yaml", "task.yaml"][usize::from(kind % 2)];
    let path = file(name, data);
    file(
        "docs.jsonl",
        b"{\"question\": \"2 + 2?\", \"choices\": [\"3\", \"4\"], \"answer\": 1}\n",
    );
    let source = qeval::import::ImportSource {
        file: path,
        docs: (kind % 4 > 1).then(|| folder().join("docs.jsonl")),
        name: None,
    };
    let _ = qeval::import::import(&source).map_err(|e| e.to_string());
}

/// Results of lm-eval, Inspect, or evalscope, compared with themselves.
pub fn results(data: &[u8]) {
    let path = file("results.jsonl", data);
    if let Ok(read) = qeval::results::read(&path) {
        let paired = qeval::results::pair(&read, &read, &[], &[]);
        drop(paired.map_err(|error| error.to_string()));
    }
}

fn vars() -> BTreeMap<String, String> {
    let pairs = [("name", "Aurora"), ("author", "Northwind Labs")];
    pairs.map(|(k, v)| (k.to_owned(), v.to_owned())).into()
}
