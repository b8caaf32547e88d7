//! The rules that a machine can check: which module imports which, how long a file may be, and
//! what must not stand in the tree.
//!
//! An edge that [`EDGES`] does not list is a design decision: change the list and the crate doc
//! together, or put the code where its imports are allowed.

#![expect(clippy::unwrap_used, reason = "a test may panic")]

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

/// Modules that import nothing of ours.
const LEAVES: [&str; 6] = [
    "atomic_file",
    "digest",
    "exit",
    "half_type",
    "random",
    "text",
];

/// What each module may import beside itself, leaves, and `flow` (which [`NO_FLOW`] may not). A
/// path such as `check::registry` allows that part alone.
const EDGES: [(&str, &[&str]); 16] = [
    ("flow", &[]),
    ("check", &[]),
    ("gate", &[]),
    ("record", &[]),
    ("report", &[]),
    ("snapshot", &[]),
    ("suite", &["check::registry"]),
    ("chat", &[]),
    ("gpu", &[]),
    ("model", &["gpu"]),
    ("lora", &["gpu", "model"]),
    ("generate", &["chat", "gpu", "lora", "model"]),
    ("train", &["chat", "gpu", "lora", "model"]),
    (
        "config",
        &["gate", "lora", "model::Dtype", "suite", "train"],
    ),
    ("hub", &[]),
    (
        "run",
        &[
            "chat", "check", "config", "gate", "generate", "hub", "lora", "model", "record",
            "suite", "train",
        ],
    ),
];

/// Modules below or beside the nouns.
const NO_FLOW: [&str; 5] = ["chat", "gpu", "hub", "lora", "model"];

/// Modules that see no tensors.
const NO_CANDLE: [&str; 8] = [
    "check", "config", "flow", "gate", "record", "report", "snapshot", "suite",
];

/// Modules that import everything.
const TOP: [&str; 3] = ["cli", "harness", "main"];

const LONGEST_FILE: usize = 800;

struct Source {
    /// From the repository's root, with `/`.
    name: String,
    text: String,
}

impl Source {
    /// The module right under `src/`; `None` for the crate's root.
    fn module(&self) -> Option<&str> {
        let below = self.name.strip_prefix("src/")?;
        let module = below.split('/').next()?;
        let module = module.strip_suffix(".rs").unwrap_or(module);
        (module != "lib").then_some(module)
    }

    /// Lines of code with their numbers: neither comments nor docs.
    fn code(&self) -> impl Iterator<Item = (usize, &str)> {
        let lines = self
            .text
            .lines()
            .enumerate()
            .map(|(index, line)| (index + 1, line));
        lines.filter(|(_, line)| !line.trim_start().starts_with("//"))
    }
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Every file below a path with one of these extensions, in order.
fn files(below: &str, extensions: &[&str]) -> Vec<Source> {
    let mut sources = Vec::new();
    let mut left: Vec<PathBuf> = vec![root().join(below)];
    while let Some(path) = left.pop() {
        if path.is_dir() {
            left.extend(
                fs::read_dir(&path)
                    .unwrap()
                    .map(|entry| entry.unwrap().path()),
            );
        } else if path
            .extension()
            .is_some_and(|e| extensions.iter().any(|wanted| e == *wanted))
        {
            let name = path
                .strip_prefix(root())
                .unwrap()
                .display()
                .to_string()
                .replace('\\', "/");
            sources.push(Source {
                name,
                text: String::from_utf8_lossy(&fs::read(&path).unwrap()).into_owned(),
            });
        }
    }
    sources.sort_by(|a, b| a.name.cmp(&b.name));
    assert!(!sources.is_empty(), "nothing found below {below}");
    sources
}

/// The paths behind every `crate::` of a piece of code, up to two names deep, groups taken apart.
fn imports(code: &str) -> Vec<String> {
    let mut paths = Vec::new();
    for (start, _) in code.match_indices("crate::") {
        let before = code[..start].chars().next_back();
        if before.is_some_and(|c| c.is_alphanumeric() || "_:$".contains(c)) {
            continue;
        }
        paths.extend(expand(&code[start + "crate::".len()..], 2));
    }
    paths
}

/// `a::{b, c::d}` -> `a::b`, `a::c`, for the path at the start of a text.
fn expand(text: &str, depth: usize) -> Vec<String> {
    let text = text.trim_start();
    if depth == 0 {
        return vec![String::new()];
    }
    if let Some(group) = text.strip_prefix('{') {
        return members(group)
            .into_iter()
            .flat_map(|member| expand(member, depth))
            .collect();
    }
    let end = text
        .find(|c: char| !c.is_alphanumeric() && c != '_')
        .unwrap_or(text.len());
    let (name, rest) = text.split_at(end);
    if name.is_empty() {
        return Vec::new();
    }
    match rest.strip_prefix("::") {
        None => vec![name.to_owned()],
        Some(rest) => expand(rest, depth - 1)
            .into_iter()
            .map(|below| {
                if below.is_empty() {
                    name.into()
                } else {
                    format!("{name}::{below}")
                }
            })
            .collect(),
    }
}

/// The members of a `{..}` whose opening brace was taken off.
fn members(group: &str) -> Vec<&str> {
    let (mut depth, mut start, mut found) = (0, 0, Vec::new());
    for (at, c) in group.char_indices() {
        match c {
            '{' => depth += 1,
            '}' if depth == 0 => {
                found.push(&group[start..at]);
                break;
            }
            '}' => depth -= 1,
            ',' if depth == 0 => {
                found.push(&group[start..at]);
                start = at + 1;
            }
            _ => {}
        }
    }
    found
}

fn is_allowed(module: &str, import: &str) -> bool {
    let target = import.split("::").next().unwrap_or(import);
    if TOP.contains(&module) || target == module {
        return true;
    }
    if LEAVES.contains(&module) {
        return false;
    }
    if LEAVES.contains(&target) {
        // Only who ends the process knows exit codes.
        return target != "exit";
    }
    if target == "flow" {
        return !NO_FLOW.contains(&module);
    }
    let edges = EDGES
        .iter()
        .find(|(name, _)| *name == module)
        .map_or(&[][..], |(_, edges)| edges);
    edges.iter().any(|edge| {
        import == *edge
            || import
                .strip_prefix(edge)
                .is_some_and(|rest| rest.starts_with("::"))
    })
}

fn assert_none(problems: &[String], rule: &str) {
    assert!(problems.is_empty(), "{rule}\n  {}", problems.join("\n  "));
}

#[test]
fn imports_follow_the_rule() {
    let mut problems = Vec::new();
    for source in files("src", &["rs"]) {
        let Some(module) = source.module() else {
            continue;
        };
        let code: String = source.code().map(|(_, line)| format!("{line}\n")).collect();
        let known = LEAVES.contains(&module)
            || TOP.contains(&module)
            || EDGES.iter().any(|(name, _)| *name == module);
        if !known {
            problems.push(format!(
                "{}: module `{module}` is in no list of this test",
                source.name
            ));
            continue;
        }
        let wrong: BTreeSet<String> = imports(&code)
            .into_iter()
            .filter(|import| !is_allowed(module, import))
            .collect();
        problems.extend(
            wrong
                .iter()
                .map(|w| format!("{}: `{module}` imports `{w}`", source.name)),
        );
    }
    assert_none(
        &problems,
        "imports that the rule in src/lib.rs does not allow:",
    );
}

#[test]
fn tensors_stay_in_their_modules() {
    let mut problems = Vec::new();
    for source in files("src", &["rs"]) {
        if source
            .module()
            .is_some_and(|module| NO_CANDLE.contains(&module))
        {
            let lines = source.code().filter(|(_, line)| line.contains("candle_"));
            problems.extend(lines.map(|(number, _)| format!("{}:{number}", source.name)));
        }
    }
    assert_none(&problems, "candle in a module that sees no tensors:");
}

#[test]
fn files_are_short_enough_to_read() {
    let mut problems = Vec::new();
    for folder in ["src", "tests"] {
        for source in files(folder, &["rs"]) {
            let lines = source.text.lines().count();
            if lines > LONGEST_FILE {
                problems.push(format!("{}: {lines} lines", source.name));
            }
        }
    }
    assert_none(
        &problems,
        &format!("files of more than {LONGEST_FILE} lines; split by concept:"),
    );
}

#[test]
fn nothing_is_left_unfinished() {
    let mut problems = Vec::new();
    for folder in ["src", "tests"] {
        for source in files(folder, &["rs"]) {
            // Put together, so that this file does not find itself.
            let macros = ["todo", "unimplemented"].map(|name| format!("{name}!("));
            let lines = source
                .code()
                .filter(|(_, line)| macros.iter().any(|m| line.contains(m)));
            problems.extend(lines.map(|(number, _)| format!("{}:{number}", source.name)));
        }
    }
    assert_none(&problems, "unfinished code:");
}

#[test]
fn no_path_of_one_machine_stands_in_the_tree() {
    let mut problems = Vec::new();
    let trees = [
        ("src", "rs"),
        ("suites", "toml"),
        ("README.md", "md"),
        ("fixtures", "toml"),
    ];
    for (below, extension) in trees {
        for source in files(below, &[extension]) {
            for (index, line) in source.text.lines().enumerate() {
                if line.contains("/work/") || line.contains("/tmp/") || line.contains("/root/") {
                    problems.push(format!("{}:{}: {}", source.name, index + 1, line.trim()));
                }
            }
        }
    }
    assert_none(&problems, "paths that exist on one machine only:");
}

#[test]
fn every_suite_is_toml() {
    let mut problems = Vec::new();
    for source in files("suites", &["toml"]) {
        if let Err(error) = source.text.parse::<toml::Table>() {
            problems.push(format!("{}: {error}", source.name));
        }
    }
    assert_none(&problems, "suites that do not parse:");
}

#[test]
fn program_starts_in_the_library() {
    let main = fs::read_to_string(root().join("src/main.rs")).unwrap();
    assert!(
        main.lines().count() < 20,
        "src/main.rs only calls `cli`; logic belongs in src/cli/"
    );
}

#[test]
fn imports_are_found_in_every_form() {
    for (code, expected) in [
        ("use crate::flow::Answer;", vec!["flow::Answer"]),
        (
            "use crate::{flow::{Answer, Score}, text};",
            vec!["flow::Answer", "flow::Score", "text"],
        ),
        (
            "use crate::check::registry::{self, Kind};",
            vec!["check::registry"],
        ),
        ("let x = crate::gate::decide(1);", vec!["gate::decide"]),
        ("pub(in crate::model) fn x() {}", vec!["model"]),
        ("pub(crate) use std::fmt;", vec![]),
        ("use $crate::flow; use my_crate::flow;", vec![]),
        (
            "use crate::{\n    a::{b::{c, d}, e},\n    f,\n};",
            vec!["a::b", "a::e", "f"],
        ),
    ] {
        let mut found = imports(code);
        found.dedup();
        assert_eq!(found, expected, "{code}");
    }
}

#[test]
fn rule_refuses_what_it_should() {
    for (module, import, allowed) in [
        ("check", "flow::Answer", true),
        ("check", "text::words", true),
        ("check", "gate::decide", false),
        ("record", "report::view", false),
        ("suite", "check::registry", true),
        ("suite", "check::registry::Kind", true),
        ("suite", "check::code", false),
        ("model", "lora::Adapter", false),
        ("lora", "model::Decoder", true),
        ("lora", "flow::Subject", false),
        ("train", "generate::Engine", false),
        ("gpu", "model::Mat", false),
        ("digest", "text::cut", false),
        ("gate", "exit::Outcome", false),
        ("cli", "exit::Outcome", true),
        ("run", "record::Store", true),
        ("run", "report::view", false),
    ] {
        assert_eq!(is_allowed(module, import), allowed, "{module} -> {import}");
    }
}
