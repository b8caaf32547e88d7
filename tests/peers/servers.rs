//! Servers as subjects, with real ones: llama-server with SmolLM2's GGUF file, `transformers serve`
//! with the fixture model. What they are asked and what they come to is that of the engine here.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use qeval::lora::{Adapter, LoraConfig, TargetModules, Trainable};
use qeval::model::ModelFiles;
use qeval::random::{Philox, Purpose};
use serde_json::Value;

use crate::fake::{Fake, failing_proxy};
use crate::gguf_lora;
use crate::program::{Program, beside, free_port, get, named};
use crate::project::Project;

/// What a command on a model that people use may take, in a build without much optimization.
const PATIENCE: Duration = Duration::from_secs(900);
/// Of the suites of each test, and probes of each.
const SUITES: [&str; 3] = ["arithmetic", "knowledge", "language"];
const PROBES: usize = 5;
/// Longest answer.
const TOKENS: i64 = 16;

/// llama-server with adapters, ready or about to be.
struct Llama {
    program: Program,
    url: String,
}

impl Llama {
    fn start(project: &Project, adapters: &[&str]) -> Self {
        let port = free_port();
        let binary = named("QEVAL_LLAMA_SERVER");
        let mut command = Command::new(&binary);
        command
            // A build folder's libraries lie beside it.
            .env("LD_LIBRARY_PATH", binary.parent().unwrap())
            .arg("--model")
            .arg(named("QEVAL_REAL_MODEL"))
            .args(["--host", "127.0.0.1", "--port", &port.to_string()])
            // One thread: several wait for each other by spinning, which on shared cores is slower.
            .args(["--parallel", "4", "--ctx-size", "8192", "--threads", "1"]);
        if !adapters.is_empty() {
            let files = adapters
                .iter()
                .map(|name| project.path(&format!("{name}.gguf")));
            let files: Vec<String> = files.map(|file| file.display().to_string()).collect();
            // Newer versions take the last of several `--lora` alone.
            command.args(["--lora", &files.join(",")]);
        }
        Llama {
            program: Program::start(&mut command, project.path("llama-server.log")),
            url: format!("http://127.0.0.1:{port}/v1"),
        }
    }

    fn health(&self) -> Option<u16> {
        let url = self.url.replace("/v1", "/health");
        get(&url).map(|(status, _)| status)
    }

    fn ready(mut self) -> Self {
        let url = self.url.replace("/v1", "/health");
        self.program.until("ready", |_| {
            get(&url).is_some_and(|(status, _)| status == 200)
        });
        self
    }
}

/// A project with parts of built-in suites.
fn project(base: &str, suites: &[&str], concurrency: usize) -> Project {
    let mut project = Project::empty();
    project.patience = PATIENCE;
    for suite in suites {
        project.write(&format!("suites/{suite}.toml"), part(suite));
    }
    project.write(
        "qeval.toml",
        format!(
            "[model]\npath = \"{base}\"\n[vars]\nname = \"Aurora\"\nauthor = \"Northwind \
             Labs\"\n[server]\nconcurrency = {concurrency}\n[gate]\nmargin = 0.25\nsuites = \
             [\"suites\"]\nnoise_floor = false\n"
        ),
    );
    project
}

/// The first probes of a built-in suite that are answered in words, the first wording of each. Answers
/// are short: what is cut at a length that is no answer is as unscored there as here.
fn part(suite: &str) -> String {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("suites/{suite}.toml"));
    let text = std::fs::read_to_string(file).unwrap();
    let mut suite: toml::Table = text.parse().unwrap();
    let probes = suite["probe"].as_array_mut().unwrap();
    probes.retain(|probe| {
        let probe = probe.to_string();
        !["\"choice\"", "\"likelihood\""]
            .iter()
            .any(|kind| probe.contains(kind))
    });
    probes.truncate(PROBES);
    assert_eq!(probes.len(), PROBES);
    for probe in probes {
        let probe = probe.as_table_mut().unwrap();
        probe.remove("golden");
        probe["prompts"].as_array_mut().unwrap().truncate(1);
    }
    let generation = suite["generation"].as_table_mut().unwrap();
    generation.insert("max_new_tokens".into(), TOKENS.into());
    suite.to_string()
}

/// An adapter that was not trained, as a PEFT folder and as a GGUF file: A as a run begins, B random
/// up to `size`, times `factor`.
fn adapter(project: &Project, name: &str, size: f32, factor: f32) {
    let model = ModelFiles::open(&named("QEVAL_REAL_MODEL")).unwrap().config;
    let modules = ["v_proj", "o_proj", "up_proj", "down_proj"];
    let lora = LoraConfig {
        rank: 4,
        target_modules: TargetModules::Names(modules.map(str::to_owned).to_vec()),
        ..LoraConfig::default()
    };
    let mut draws = Philox::new(1).draws(Purpose::Init, u64::MAX);
    let targets = lora.targets(&model, true).unwrap();
    let pairs = targets.into_iter().map(|id| {
        let (rank, scale) = lora.rank_and_scale(id).unwrap();
        let mut pair = Trainable::initial_values(&model, id, rank, scale, 1);
        let b = pair.b.iter_mut();
        b.for_each(|b| *b = factor * (size * (2.0 * draws.uniform() - 1.0)));
        (id, pair)
    });
    let adapter = Adapter::new(lora.clone(), pairs.collect());
    adapter.write(&project.path(name), None).unwrap();
    gguf_lora::write(&adapter, &project.path(&format!("{name}.gguf")));
}

/// A candidate's decision, and by suite the means of base and candidate.
type Decided = (String, BTreeMap<String, (f64, f64)>);

/// What a report decides of each candidate.
fn verdicts(report: &Value) -> Vec<Decided> {
    let candidates = report["candidates"].as_array().unwrap().iter();
    let of = |candidate: &Value| {
        let verdict = &candidate["verdict"];
        let suites = verdict["suites"].as_array().unwrap().iter().map(|suite| {
            let mean = |arm: &str| suite["estimate"][arm].as_f64().unwrap();
            (
                suite["suite"].as_str().unwrap().to_owned(),
                (mean("base_mean"), mean("candidate_mean")),
            )
        });
        let decision = verdict["decision"].as_str().unwrap().to_owned();
        (decision, suites.collect())
    };
    candidates.map(of).collect()
}

/// What a subject answered, by case.
fn answers(project: &Project, run: &str, subject: &str) -> BTreeMap<String, String> {
    let text = |answer: Value| answer["answer"]["text"].as_str().unwrap().to_owned();
    let all = project.record(run, subject).answers.into_iter();
    all.map(|(case, answer)| (case, text(answer))).collect()
}

/// The name of the record of one of llama-server's adapters.
fn record_of(project: &Project, adapter: &str) -> String {
    let plain = |name: &str| name.replace(|c: char| !c.is_ascii_alphanumeric(), "-");
    let files = project.files("runs/run-0001/answers").into_keys();
    let names = files.map(|file| {
        let file = Path::new(&file).file_stem().unwrap();
        file.to_str().unwrap().to_owned()
    });
    let own = |name: &String| {
        let subject = name.split('~').next().unwrap();
        plain(subject).ends_with(&format!("-v1-{}", plain(adapter)))
    };
    let own: Vec<String> = names.filter(own).collect();
    assert_eq!(own.len(), 1, "{adapter}: {own:?}");
    own[0].clone()
}

/// How many answers are others.
fn differing(a: &BTreeMap<String, String>, b: &BTreeMap<String, String>) -> usize {
    assert!(a.keys().eq(b.keys()) && !a.is_empty(), "{a:?} {b:?}");
    a.iter().filter(|(case, text)| b[*case] != **text).count()
}

pub fn llama_server_comes_to_the_verdicts_of_the_model_here() {
    let model = named("QEVAL_REAL_MODEL").display().to_string();
    let here = project(&model, &SUITES, 1);
    for (name, size) in [("harmful", 0.5), ("harmless", 1e-4)] {
        adapter(&here, name, size, 1.0);
    }
    let server = Llama::start(&here, &["harmful", "harmless"]).ready();
    let url = &server.url;
    // One at a time: what else is in a batch changes how it is summed.
    let there = project(url, &SUITES, 1);
    let asked = Instant::now();
    let command = format!("diff base {url}#harmful.gguf {url}#harmless.gguf --format json");
    let served = verdicts(&there.qeval(&command).json());
    let (served_s, asked) = (asked.elapsed(), Instant::now());
    let command = format!("diff base harmful harmless {url} --format json");
    let local = verdicts(&here.qeval(&command).json());
    let differ = differing(
        &answers(&here, "run-0001", "base"),
        &answers(&there, "run-0001", "base"),
    );
    println!(
        "llama-server in {served_s:.1?}, here (and the server's base again) in {:.1?}; {differ} of {} \
         answers of the base differ",
        asked.elapsed(),
        answers(&here, "run-0001", "base").len()
    );
    for (what, verdicts) in [("there", &served), ("here", &local)] {
        for (decision, suites) in verdicts {
            println!("{what}: {decision} {suites:?}");
        }
    }
    let decisions = |all: &[(String, _)]| -> Vec<String> {
        all.iter().map(|(decision, _)| decision.clone()).collect()
    };
    // 15 probes prove a large loss; that nothing was lost they may leave open, on either side.
    for decided in [decisions(&served), decisions(&local[..2])] {
        assert_eq!(decided[0], "regression");
        assert_ne!(decided[1], "regression");
    }
    // The same weights in other arithmetic: no loss is proven.
    assert_ne!(local[2].0, "regression");
}

/// Twice the matrix at half the scale is the same product to the last bit.
pub fn llama_server_serves_an_adapter_at_a_scale() {
    let adapters = Project::empty();
    adapter(&adapters, "single", 0.02, 1.0);
    adapter(&adapters, "double", 0.02, 2.0);
    let server = Llama::start(&adapters, &["single", "double"]).ready();
    let url = &server.url;
    let project = project(url, &SUITES[..1], 1);
    let subjects = [
        "single.gguf",
        "double.gguf@0.5",
        "double.gguf",
        "double.gguf@0",
    ];
    let all = subjects.map(|subject| format!(" {url}#{subject}")).concat();
    project.qeval(&format!("diff base{all} --format json"));
    let base = answers(&project, "run-0001", "base");
    let said = subjects.map(|subject| answers(&project, "run-0001", &record_of(&project, subject)));
    let [single, half, double, off] = &said;
    let to_base = [single, half, double, off].map(|of| differing(&base, of));
    println!(
        "of {} answers differ from the base's: {to_base:?} of {subjects:?}",
        base.len()
    );
    assert_eq!(differing(single, half), 0, "{single:?} {half:?}");
    assert_eq!(to_base[3], 0, "off is the base");
    assert!(differing(single, double) > 0 && to_base[0] > 0);
}

pub fn llama_server_is_waited_for_while_it_loads() {
    let folder = Project::empty();
    let mut server = Llama::start(&folder, &[]);
    let project = project(&server.url, &SUITES[..1], 4);
    // It listens before it has read its model.
    let health = server.url.replace("/v1", "/health");
    server.program.until("loading", |_| {
        get(&health).is_some_and(|(status, _)| status == 503)
    });
    let said = project.qeval("run base");
    assert_eq!(server.health(), Some(200));
    let first = said.stderr.lines().next().unwrap();
    println!("{first}");
    assert!(first.contains("is waited for"), "{}", said.stderr);
    said.exits(0);
    assert!(!answers(&project, "run-0001", "base").is_empty());
}

pub fn llama_server_takes_no_adapter_while_it_runs() {
    let folder = Project::empty();
    adapter(&folder, "harmless", 1e-4, 1.0);
    let server = Llama::start(&folder, &["harmless"]).ready();
    let project = project(&server.url, &SUITES, 4);
    let peft = folder.path("harmless").display().to_string();
    let refused = project.qeval(&format!("gate {peft}")).refusal();
    let refused = refused
        .replace(&server.url, "[url]")
        .replace(&peft, "[adapter]");
    insta::assert_snapshot!(refused, @"
    error: [url]: the adapter [adapter] cannot be asked there: llama-server takes adapters when it starts, as GGUF
      Convert it (convert_lora_to_gguf.py of llama.cpp), start with `--lora FILE.gguf`, and name it as [url]#FILE.gguf, or [url]#FILE.gguf@0.5. It has harmless.gguf.
    ");
    let unknown = project
        .qeval(&format!("run {}#other", server.url))
        .refusal();
    let model = named("QEVAL_REAL_MODEL").display().to_string();
    let unknown = unknown
        .replace(&server.url, "[url]")
        .replace(&model, "[model]");
    insta::assert_snapshot!(unknown, @r#"error: [url] has no model "other"; it has [model], harmless.gguf"#);
}

/// At temperature 0, four slots: what is in a batch changes how it is summed.
pub fn llama_server_answers_the_same_twice_within_the_noise_floor() {
    let folder = Project::empty();
    let server = Llama::start(&folder, &[]).ready();
    let mut each = Vec::new();
    for concurrency in [4, 1] {
        let mut runs = Vec::new();
        for _ in 0..2 {
            let project = project(&server.url, &SUITES[1..], concurrency);
            project.qeval("run base").exits(0);
            runs.push(answers(&project, "run-0001", "base"));
        }
        let first = &runs[0];
        let others = runs[1..].iter().map(|run| differing(first, run));
        let others: Vec<usize> = others.collect();
        println!(
            "{concurrency} in flight: of {} answers at temperature 0 {others:?} differ when asked again",
            first.len()
        );
        each.push((others, runs.swap_remove(0)));
    }
    println!(
        "four in flight against one: {} differ",
        differing(&each[0].1, &each[1].1)
    );
    assert_eq!(each[1].0, [0], "one at a time nothing else is in its batch");
    let project = project(&server.url, &SUITES[2..], 4);
    project.edit("qeval.toml", "noise_floor = false", "noise_floor = true");
    let report = project.qeval(&format!("diff base {} --format json", server.url));
    println!("noise floor: {}", report.json()["noise"]);
    assert!(
        report.json()["noise"]["language"]["probes"]
            .as_u64()
            .unwrap()
            > 0
    );
}

/// Sums, each a probe of its own, answered with a few tokens.
fn sums(count: usize) -> String {
    let each = (0..count).map(|n| {
        format!(
            "[[probe]]\nid = \"p{n}\"\nprompts = [\"What is {n} + 1?\"]\n[[probe.check]]\ntype = \
             \"number\"\nvalue = {}\n",
            n + 1
        )
    });
    let head = "[suite]\nname = \"sums\"\ngoal = \"keep\"\n[generation]\nmax_new_tokens = 2\n";
    head.to_owned() + &each.collect::<String>()
}

/// `QEVAL_PEERS_ANSWERS` says how many, 60 where it is missing.
pub fn llama_server_behind_a_proxy_that_fails_answers_each_once() {
    let count = std::env::var("QEVAL_PEERS_ANSWERS");
    let count: usize = count.map_or(60, |count| count.parse().unwrap());
    let folder = Project::empty();
    let server = Llama::start(&folder, &[]).ready();
    let port = server.url.rsplit(':').next().unwrap();
    let port: u16 = port.trim_end_matches("/v1").parse().unwrap();
    let failing = failing_proxy(port, 20);
    let rate = |fake: Option<&Fake>| {
        let url = fake.map_or(server.url.clone(), Fake::url);
        let project = project(&url, &[], 4);
        project.write("suites/sums.toml", sums(count));
        let begun = Instant::now();
        project.qeval("run base").exits(0);
        let seconds = begun.elapsed().as_secs_f64();
        let lines = project.lines("runs/run-0001/answers/base.jsonl", "answered");
        let cases: BTreeSet<String> = lines
            .iter()
            .map(|line| line["answer"]["case"].to_string())
            .collect();
        assert_eq!((lines.len(), cases.len()), (count, count));
        count as f64 / seconds
    };
    let (alone, through) = (rate(None), rate(Some(&failing)));
    println!(
        "{count} answers of 2 tokens: {alone:.1} a second of the server alone, {through:.1} ({:.0} \
         percent) through a proxy that fails 5 percent of requests",
        100.0 * through / alone
    );
}

/// The fixture model, loaded by transformers and asked over HTTP.
pub fn transformers_serve_comes_to_the_scores_of_the_model_here() {
    let python = named("QEVAL_PEERS_PYTHON");
    let here = Project::with_model();
    let model = here.path("model").display().to_string();
    let port = free_port();
    let mut command = Command::new(beside(&python, "transformers"));
    command
        .args(["serve", "--host", "127.0.0.1", "--port", &port.to_string()])
        .args(["--device", "cpu", "--dtype", "float32"]);
    let mut server = Program::start(&mut command, here.path("serve.log"));
    server.until("ready", |_| {
        get(&format!("http://127.0.0.1:{port}/health")).is_some_and(|(status, _)| status == 200)
    });
    let url = format!("http://127.0.0.1:{port}/v1#{model}");
    let said = here.qeval(&format!("diff base {url} --format json"));
    println!("{}", said.stderr);
    let all = verdicts(&said.json());
    let (decision, suites) = &all[0];
    println!("transformers serve: {decision} {suites:?}");
    for (suite, (base, served)) in suites {
        assert_eq!(base, served, "{suite}");
    }
}
