//! The rules that a machine can check: which module imports which, how long a file may be, and
//! what must not stand in the tree.
//!
//! An edge that [`EDGES`] does not list is a design decision: change the list and the crate doc
//! together, or put the code where its imports are allowed.

#![expect(clippy::unwrap_used, reason = "a test may panic")]

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

/// Modules that import nothing of ours.
const LEAVES: [&str; 10] = [
    "atomic_file",
    "child_process",
    "digest",
    "exit",
    "file_text",
    "guide",
    "half_type",
    "python_json",
    "random",
    "text",
];

/// What each module may import beside itself, leaves, and `flow` (which [`NO_FLOW`] may not). A
/// path such as `check::registry` allows that part alone.
const EDGES: [(&str, &[&str]); 22] = [
    ("toml_file", &[]),
    ("flow", &[]),
    ("check", &[]),
    ("gate", &[]),
    ("record", &[]),
    ("report", &[]),
    ("results", &[]),
    ("snapshot", &[]),
    ("suite", &["check::registry", "toml_file"]),
    ("import", &["check::registry", "suite"]),
    ("trainers", &[]),
    ("chat", &[]),
    ("gpu", &[]),
    ("model", &["gpu"]),
    ("lora", &["gpu", "model"]),
    ("generate", &["chat", "gpu", "lora", "model"]),
    ("train", &["chat", "gpu", "lora", "model"]),
    (
        "config",
        &[
            "gate",
            "lora",
            "model::Dtype",
            "model::Storage",
            "server",
            "suite",
            "toml_file",
            "train",
        ],
    ),
    ("hub", &[]),
    ("server", &[]),
    (
        "run",
        &[
            "chat", "check", "config", "gate", "generate", "hub", "lora", "model", "record",
            "server", "suite", "train",
        ],
    ),
    (
        "project",
        &[
            "chat", "check", "config", "gate", "lora", "model", "record", "run", "server",
            "snapshot", "suite", "train", "trainers",
        ],
    ),
];

/// Modules below or beside the nouns.
const NO_FLOW: [&str; 7] = [
    "chat",
    "gpu",
    "hub",
    "lora",
    "model",
    "toml_file",
    "trainers",
];

/// Modules that see no tensors.
const NO_CANDLE: [&str; 12] = [
    "check",
    "config",
    "flow",
    "gate",
    "import",
    "record",
    "report",
    "results",
    "snapshot",
    "suite",
    "toml_file",
    "trainers",
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
    if target == module {
        return true;
    }
    // Siblings that show the same things; only the program itself starts one of them.
    if TOP.contains(&target) {
        return module == "main";
    }
    if TOP.contains(&module) {
        return true;
    }
    if LEAVES.contains(&module) {
        return false;
    }
    if LEAVES.contains(&target) {
        // Only who ends the process knows exit codes: a second Ctrl-C ends it in `project`. What a
        // library panics at is no end of the process.
        return target != "exit" || module == "project" || import == "exit::caught";
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

/// The first word of a text.
fn word(text: &str) -> &str {
    let end = text
        .find(|c: char| !c.is_alphanumeric() && c != '_')
        .unwrap_or(text.len());
    &text[..end]
}

/// The types that a line at the outermost level declares for everyone: `pub struct Name`.
fn public_type(line: &str) -> Option<&str> {
    let declared = line.strip_prefix("pub ")?;
    let kinds = ["struct ", "enum ", "trait ", "type ", "union "];
    kinds
        .iter()
        .find_map(|kind| declared.strip_prefix(kind))
        .map(word)
}

/// The item that a line shows to other files, with whatever restriction, at whatever depth.
fn offered(line: &str) -> Option<&str> {
    let rest = line.trim_start().strip_prefix("pub")?;
    let rest = match rest.strip_prefix('(') {
        Some(restricted) => restricted.split_once(')')?.1,
        None => rest,
    };
    let rest = rest.strip_prefix(' ')?;
    let qualifiers = ["async", "const", "extern", "\"C\"", "unsafe"];
    let mut words = rest.split(' ').skip_while(|w| qualifiers.contains(w));
    match words.next()? {
        "fn" | "struct" | "enum" | "trait" | "type" | "union" | "mod" => words.next().map(word),
        "static" => words.find(|w| *w != "mut").map(word),
        name if rest.starts_with("const ") => Some(word(name)),
        _ => None,
    }
}

/// Code without its `pub use ..;`: to pass a name on is not to use it.
fn without_passing_on(code: &str) -> String {
    let mut kept = String::new();
    let mut passing = false;
    for line in code.lines() {
        let start = line.trim_start();
        passing |= start.starts_with("pub") && start.contains(" use ");
        if !passing {
            kept.push_str(line);
            kept.push('\n');
        }
        passing &= !line.contains(';');
    }
    kept
}

/// Every name of a piece of code.
fn names(code: &str) -> BTreeSet<&str> {
    code.split(|c: char| !c.is_alphanumeric() && c != '_')
        .filter(|name| !name.is_empty())
        .collect()
}

/// The file that has to declare a file as a module: `src/a/b.rs` is declared in `src/a/mod.rs` or
/// `src/a.rs`. `None` for the crates' roots.
fn declared_in(name: &str) -> Option<(Vec<String>, &str)> {
    let path = name.strip_suffix(".rs")?;
    let path = path.strip_suffix("/mod").unwrap_or(path);
    let (folder, module) = path.rsplit_once('/')?;
    match folder {
        "src" if ["lib", "main"].contains(&module) => None,
        "src" => Some((vec!["src/lib.rs".into()], module)),
        _ => Some((
            vec![format!("{folder}/mod.rs"), format!("{folder}.rs")],
            module,
        )),
    }
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
fn every_public_type_has_a_name_of_its_own() {
    let mut declared: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for source in files("src", &["rs"]) {
        for name in source.code().filter_map(|(_, line)| public_type(line)) {
            let places = declared.entry(name.to_owned()).or_default();
            places.push(source.name.clone());
        }
    }
    // Two variants of one type behind a `cfg` stand in one file.
    declared.values_mut().for_each(Vec::dedup);
    declared.retain(|_, places| places.len() > 1);
    let doubled = declared
        .iter()
        .map(|(name, places)| format!("`{name}`: {}", places.join(", ")));
    let problems: Vec<String> = doubled.collect();
    assert_none(
        &problems,
        "one word, one meaning: name these public types apart:",
    );
}

#[test]
fn every_file_is_declared() {
    let sources = files("src", &["rs"]);
    let mut problems = Vec::new();
    for source in &sources {
        let Some((parents, module)) = declared_in(&source.name) else {
            continue;
        };
        let declaration = format!("mod {module};");
        let declares = |parent: &Source| {
            let mut lines = parent.code().map(|(_, line)| line.trim_end());
            parents.contains(&parent.name) && lines.any(|line| line.ends_with(&declaration))
        };
        if !sources.iter().any(declares) {
            problems.push(format!("{}: no `{declaration}`", source.name));
        }
    }
    assert_none(&problems, "files that are not compiled:");
}

/// A file is used when another one names something that it offers. Methods count too, since a
/// file may hold some of another's type, but not those that many files have, such as `new`.
#[test]
fn every_file_is_used() {
    const FEW: usize = 3;
    let sources = files("src", &["rs"]);
    let tests = files("tests", &["rs"]);
    let code_of = |source: &Source| -> String {
        let code: String = source.code().map(|(_, line)| format!("{line}\n")).collect();
        without_passing_on(&code)
    };
    let codes: Vec<String> = sources.iter().chain(&tests).map(code_of).collect();
    let used: Vec<BTreeSet<&str>> = codes.iter().map(|code| names(code)).collect();
    let offers: Vec<BTreeSet<(&str, bool)>> = sources
        .iter()
        .map(|source| {
            let lines = source.code().map(|(_, line)| line);
            lines
                .filter_map(|line| Some((offered(line)?, !line.starts_with(' '))))
                .collect()
        })
        .collect();
    let mut problems = Vec::new();
    for (at, source) in sources.iter().enumerate() {
        let here = &offers[at];
        let offered_by = |name: &str| {
            let has = |offers: &&BTreeSet<_>| offers.iter().any(|(other, _)| *other == name);
            offers.iter().filter(has).count()
        };
        let elsewhere = |name: &str| {
            let mut others = used.iter().enumerate().filter(|(other, _)| *other != at);
            others.any(|(_, names)| names.contains(name))
        };
        let is_used = here
            .iter()
            .any(|(name, outermost)| (*outermost || offered_by(name) <= FEW) && elsewhere(name));
        // A file that offers nothing holds implementations of traits, or tests.
        if !here.is_empty() && !is_used {
            let names: Vec<&str> = here.iter().map(|(name, _)| *name).collect();
            problems.push(format!("{}: nobody uses {}", source.name, names.join(", ")));
        }
    }
    assert_none(&problems, "files that no other file uses:");
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
        ("train", "exit::caught", true),
        ("cli", "exit::Outcome", true),
        ("run", "record::Store", true),
        ("run", "report::view", false),
        ("run", "project::Order", false),
        ("project", "run::compare", true),
        ("project", "report::Style", false),
        ("project", "cli::Screen", false),
        ("cli", "project::Project", true),
        ("cli", "harness::Harness", false),
        ("harness", "cli::main", false),
    ] {
        assert_eq!(is_allowed(module, import), allowed, "{module} -> {import}");
    }
}

#[test]
fn public_types_are_found_at_the_outermost_level() {
    for (line, found) in [
        ("pub struct Place<'a> {", Some("Place")),
        ("pub enum Goal {", Some("Goal")),
        ("pub trait Check: Send {", Some("Check")),
        ("pub type Issue<K> = (usize, K);", Some("Issue")),
        ("pub(super) struct Notes;", None),
        ("    pub struct Inner;", None),
        ("struct Own;", None),
        ("pub fn structure() {}", None),
    ] {
        assert_eq!(public_type(line), found, "{line}");
    }
}

#[test]
fn offered_items_are_found_in_every_form() {
    for (line, found) in [
        ("pub fn read<T>(text: &str) -> T {", Some("read")),
        ("    pub(super) const fn new() -> Self {", Some("new")),
        (
            "pub(in crate::suite) struct Validator<'a> {",
            Some("Validator"),
        ),
        ("pub unsafe extern \"C\" fn start() {", Some("start")),
        ("pub(crate) const LONGEST: usize = 3;", Some("LONGEST")),
        ("pub static mut COUNT: u8 = 0;", Some("COUNT")),
        ("pub mod text;", Some("text")),
        ("    pub name: String,", None),
        ("pub use error::Problem;", None),
        ("publish fn x() {}", None),
        ("fn own() {}", None),
    ] {
        assert_eq!(offered(line), found, "{line}");
    }
}

#[test]
fn passing_a_name_on_does_not_use_it() {
    let code =
        "pub use a::{\n    B,\n    C,\n};\nuse d::E;\npub(super) use f::G;\nfn h() -> E {}\n";
    assert_eq!(without_passing_on(code), "use d::E;\nfn h() -> E {}\n");
    let expected = BTreeSet::from(["use", "d", "E", "fn", "h"]);
    assert_eq!(names(&without_passing_on(code)), expected);
}

#[test]
fn every_file_has_a_parent_that_declares_it() {
    let parents = |name| declared_in(name).map(|(parents, module)| (parents.join(" "), module));
    assert_eq!(parents("src/lib.rs"), None);
    assert_eq!(parents("src/text.rs"), Some(("src/lib.rs".into(), "text")));
    assert_eq!(
        parents("src/suite/mod.rs"),
        Some(("src/lib.rs".into(), "suite"))
    );
    let two = "src/suite/audit/mod.rs src/suite/audit.rs".to_owned();
    assert_eq!(parents("src/suite/audit/leaks.rs"), Some((two, "leaks")));
}
