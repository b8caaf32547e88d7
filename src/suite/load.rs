//! Suite files to suites: every error of every file at once, or all suites.

use std::collections::{BTreeMap, HashMap};
use std::fs;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use crate::digest;
use crate::flow::Suite;
use crate::toml_file::{Issue, Place, in_order, text};

use super::error::{SuiteError, SuiteErrorKind, SuiteErrors};
use super::file::parse;
use super::validate::Validator;

/// Largest suite file, in bytes: what is larger is no suite.
const LARGEST_FILE: u64 = 64 << 20;

/// A suite file's name and content; a file that could not be read is an error of [`load`], told
/// together with the errors of the others.
#[derive(Debug, Clone, PartialEq)]
pub struct SuiteSource {
    /// The name that errors show: a path, or `built-in/identity.toml`.
    pub name: String,
    content: Result<Vec<u8>, String>,
    /// Its golden answers hold for the names that it was tested with; those of a user can turn
    /// one of them, and are no fault of the suite.
    tested: bool,
}

impl SuiteSource {
    /// A file with this content.
    pub fn new(name: impl Into<String>, content: impl Into<Vec<u8>>) -> Self {
        SuiteSource {
            name: name.into(),
            content: Ok(content.into()),
            tested: false,
        }
    }

    /// A suite that comes with qeval: its golden answers are judged in qeval's own tests.
    pub fn built_in(name: &str, content: &str) -> Self {
        SuiteSource {
            tested: true,
            ..SuiteSource::new(format!("built-in/{name}"), content)
        }
    }

    fn unreadable(path: &Path, reason: impl Into<String>) -> Self {
        SuiteSource {
            name: path.display().to_string(),
            content: Err(reason.into()),
            tested: false,
        }
    }
}

/// Reads suite files, and the `*.toml` files of folders in the order of their names.
pub fn read(paths: &[PathBuf]) -> Vec<SuiteSource> {
    let mut sources = Vec::new();
    for path in paths {
        if !path.is_dir() {
            sources.push(read_file(path));
            continue;
        }
        match toml_files(path) {
            Ok(files) if files.is_empty() => {
                sources.push(SuiteSource::unreadable(
                    path,
                    "the folder has no *.toml file",
                ));
            }
            Ok(files) => sources.extend(files.iter().map(|file| read_file(file))),
            Err(error) => sources.push(SuiteSource::unreadable(path, error.to_string())),
        }
    }
    sources
}

fn toml_files(folder: &Path) -> std::io::Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if path
            .extension()
            .is_some_and(|extension| extension == "toml")
        {
            files.push(path);
        }
    }
    files.sort();
    Ok(files)
}

fn read_file(path: &Path) -> SuiteSource {
    let read = || -> Result<Vec<u8>, String> {
        let size = fs::metadata(path).map_err(|e| e.to_string())?.len();
        if size > LARGEST_FILE {
            return Err(format!(
                "{size} bytes, and a suite has at most {LARGEST_FILE}"
            ));
        }
        fs::read(path).map_err(|e| e.to_string())
    };
    SuiteSource {
        name: path.display().to_string(),
        content: read(),
        tested: false,
    }
}

/// Loads suites; `{{name}}` is replaced from `vars`.
///
/// # Errors
/// Every error of every file, in the order of files and places. A golden answer that its checks
/// judge otherwise is one.
pub fn load(
    sources: &[SuiteSource],
    vars: &BTreeMap<String, String>,
) -> Result<Vec<Suite>, SuiteErrors> {
    read_all(sources, vars, true)
}

/// As [`load`], for whoever measures golden answers: one that is judged otherwise is no error.
///
/// # Errors
/// As [`load`], but for golden answers.
pub fn load_unjudged(
    sources: &[SuiteSource],
    vars: &BTreeMap<String, String>,
) -> Result<Vec<Suite>, SuiteErrors> {
    read_all(sources, vars, false)
}

fn read_all(
    sources: &[SuiteSource],
    vars: &BTreeMap<String, String>,
    judge_goldens: bool,
) -> Result<Vec<Suite>, SuiteErrors> {
    let mut errors = Vec::new();
    let mut suites = Vec::new();
    let mut names: HashMap<String, String> = HashMap::new();
    for source in sources {
        let text = match decode(source) {
            Ok(text) => text,
            Err(error) => {
                errors.push(*error);
                continue;
            }
        };
        let read = parse(text);
        let mistakes = read.mistakes.into_iter();
        let mut issues: Vec<Issue<SuiteErrorKind>> = mistakes
            .map(|(span, mistake)| (span, mistake.into()))
            .collect();
        if let Some(file) = read.value {
            let mut suite = Validator::new(&source.name, text, vars, &mut issues).suite_of(&file);
            if source.tested || !judge_goldens {
                issues.retain(|(_, kind)| !matches!(kind, SuiteErrorKind::Golden { .. }));
            }
            suite.digest = digest(&suite);
            let name = file
                .suite
                .as_ref()
                .and_then(|suite| suite.get_ref().name.as_ref());
            if let Some(name) = name {
                let place = Place::at(&source.name, text, &name.span()).to_string();
                if let Some(first) = names.get(name.get_ref()) {
                    let kind = SuiteErrorKind::Duplicate {
                        what: "suite",
                        name: name.get_ref().clone(),
                        first: first.clone(),
                        rule: "a suite's `name` is unique among all suites of a run: snapshots \
                               and records are named by it",
                    };
                    issues.push((name.span(), kind));
                } else {
                    names.insert(name.get_ref().clone(), place);
                }
            }
            suites.push(suite);
        }
        let issues = in_order(&source.name, text, issues);
        errors.extend(issues.map(|(place, kind)| SuiteError { place, kind }));
    }
    if errors.is_empty() {
        Ok(suites)
    } else {
        Err(SuiteErrors(errors))
    }
}

/// The text of a source, or why there is none.
fn decode(source: &SuiteSource) -> Result<&str, Box<SuiteError>> {
    let bytes = source.content.as_ref().map_err(|reason| {
        Box::new(SuiteError {
            place: Place::file(&source.name),
            kind: SuiteErrorKind::Unreadable(reason.clone()),
        })
    })?;
    text(&source.name, bytes).map_err(|error| {
        let (place, mistake) = *error;
        Box::new(SuiteError {
            place,
            kind: mistake.into(),
        })
    })
}

/// Digest of what can change an answer or a score: prompts, system prompts, generation, and
/// checks, in file order, whatever the order of keys; variables are filled in. Tags, golden
/// answers, margins, and descriptions do not count.
fn digest(suite: &Suite) -> String {
    let probes: Vec<Value> = suite
        .probes
        .iter()
        .map(|probe| {
            let mut content = json!({
                "id": probe.id,
                "system": probe.system,
                "prompts": probe.prompts,
                "generation": probe.generation,
                "checks": probe.checks,
            });
            if !probe.history.is_empty() {
                content["history"] = json!(probe.history);
            }
            content
        })
        .collect();
    let mut content = json!({ "name": suite.name, "probes": probes });
    content.sort_all_objects();
    digest::bytes(content.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn vars() -> BTreeMap<String, String> {
        BTreeMap::from([
            ("name".to_owned(), "Aurora".to_owned()),
            ("author".to_owned(), "Northwind Labs".to_owned()),
        ])
    }

    fn errors(sources: &[SuiteSource]) -> String {
        match load(sources, &vars()) {
            Ok(suites) => panic!("accepted: {suites:?}"),
            Err(errors) => errors.to_string(),
        }
    }

    /// A suite of one probe: `head` after [suite], `probe` after its prompts.
    fn file(head: &str, probe: &str) -> String {
        format!(
            "[suite]\nname = \"s\"\ngoal = \"keep\"\n{head}\n[[probe]]\nid = \"p\"\n\
             prompts = [\"Hello\"]\n{probe}\n[[probe.check]]\ntype = \"contains\"\nvalue = \"x\"\n"
        )
    }

    fn of(text: &str) -> Result<Vec<Suite>, SuiteErrors> {
        load(&[SuiteSource::new("s.toml", text)], &vars())
    }

    #[test]
    fn a_variable_in_a_regular_expression_stands_for_itself() {
        let vars = BTreeMap::from([("author".to_owned(), "Acme [AI] (UK)".to_owned())]);
        let text = "[suite]\nname = \"s\"\ngoal = \"keep\"\n[[probe]]\nid = \"p\"\n\
                    prompts = [\"Who?\"]\n[[probe.check]]\ntype = \"regex\"\n\
                    value = '^by {{author}}$'\n[[probe.check]]\ntype = \"any\"\n\
                    checks = [{ type = \"not-regex\", value = 'not {{author}}' }]\n\
                    [[probe.golden]]\nanswer = \"by {{author}}\"\nexpect = \"pass\"\n";
        let loaded = load(&[SuiteSource::new("s.toml", text)], &vars);
        assert!(loaded.is_ok(), "{loaded:?}");
    }

    #[test]
    fn every_error_of_every_file_is_told_at_once() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/bad-suites");
        let mut sources = read(&[folder.clone(), folder.join("none.toml")]);
        for source in &mut sources {
            let path = PathBuf::from(&source.name);
            source.name = path.file_name().unwrap().to_string_lossy().into_owned();
        }
        insta::assert_snapshot!(errors(&sources), @r#"
        checks.toml:4:10: `margin` in a suite with goal "learn"
          4 | margin = 0.5
            |          ^^^
          rule: `margin` is the loss that a suite with goal "keep" tolerates; a "learn" suite has a `target`

        checks.toml:10:8: check `contians`: unknown check type `contians`
          10 | type = "contians"
             |        ^^^^^^^^^^
          rule: a check's type is equals, contains, contains-any, contains-all, icontains, icontains-any, icontains-all, starts-with, regex, number, levenshtein, rouge-n, word-count, is-json, contains-json, code, language, refusal, similar, consistent, likelihood, choice, perplexity, memorized, llm-rubric, all, or any, or one of these after `not-`
          nearest: `contains`

        checks.toml:14:1: check `number`: `value` is the string "4"
          14 | value = "4"
             | ^^^^^^^^^^^
          rule: `value` wants a number

        checks.toml:15:1: check `number`: unknown parameter `tolerence`
          15 | tolerence = 0.1
             | ^^^^^^^^^^^^^^^
          rule: this check takes value, tolerance, which, and unit
          nearest: `tolerance`

        checks.toml:18:1: check `not-regex`: `value` is no regular expression: look-around, including look-ahead and look-behind, is not supported
          18 | value = '(?<=a)b'
             | ^^^^^^^^^^^^^^^^^
          rule: `value` wants the syntax of Rust's regex crate: no look-around, no back references; in TOML a literal string ('\d+') needs no doubled backslashes

        checks.toml:22:1: check `choice`: `answer` is "Four", which is not among the options; "four" is
          22 | answer = "Four"
             | ^^^^^^^^^^^^^^^
          rule: `answer` is written exactly as in `options`

        checks.toml:24:8: check `similar`: missing parameter `rejected`
          24 | type = "similar"
             |        ^^^^^^^^^
          rule: `rejected` wants a list of strings

        checks.toml:26:6: `on` in [[probe.check]] has the date 2026-01-01
          26 | on = 2026-01-01
             |      ^^^^^^^^^^
          rule: a check's parameters are strings, finite numbers, booleans, lists, and tables

        checks.toml:35:10: this golden answer expects `pass`, but the checks fail: no "巴黎" in "法国的首都是里昂."
          35 | answer = "法国的首都是里昂。"
             |          ^^^^^^^^^^^^^^^^^^^^
          rule: golden answers test the checks: mend the check, the answer, or what it expects

        checks.toml:38:10: this golden answer expects `fail`, but the checks pass: found "巴黎" in "巴黎"
          38 | answer = "巴黎"
             |          ^^^^^^
          rule: golden answers test the checks: mend the check, the answer, or what it expects

        empty.toml:1:1: a suite file has no `suite`
          1 |
            | ^
          rule: write a table [suite] with `name` and `goal`

        empty.toml:1:1: this suite has no `probe`
          1 |
            | ^
          rule: write at least one table [[probe]] with `id`, `prompts`, and a [[probe.check]]

        keys.toml:2:1: unknown key `nmae` in [suite]
          2 | nmae = "keys"
            | ^^^^
          rule: [suite] takes name, description, goal, margin, and target
          nearest: `name`

        keys.toml:3:8: `goal` in [suite] is "kept"
          3 | goal = "kept"
            |        ^^^^^^
          rule: `goal` wants "keep" or "learn"

        keys.toml:4:10: `margin` in [suite] is 1.5
          4 | margin = 1.5
            |          ^^^
          rule: `margin` wants a share of the mean score: above 0, at most 1

        keys.toml:6:2: unknown key `generatoin` in a suite file
          6 | [generatoin]
            |  ^^^^^^^^^^
          rule: a suite file takes suite, generation, and probe
          nearest: `generation`

        keys.toml:10:6: `id` in [[probe]] is "Quick Sort"
          10 | id = "Quick Sort"
             |      ^^^^^^^^^^^^
          rule: `id` wants 1 to 80 of the characters a-z, 0-9, `-`, and `_`
          nearest: `quick-sort`

        keys.toml:11:1: unknown key `tagz` in [[probe]]
          11 | tagz = ["en"]
             | ^^^^
          rule: [[probe]] takes id, tags, critical, system, history, prompts, generation, check, and golden
          nearest: `tags`

        keys.toml:12:32: `prompts` in [[probe]] is the number 3
          12 | prompts = ["Write quicksort.", 3]
             |                                ^
          rule: `prompts` wants a list of strings

        keys.toml:13:12: `critical` in [[probe]] is the string "yes"
          13 | critical = "yes"
             |            ^^^^^
          rule: `critical` wants true or false

        keys.toml:15:1: unknown key `typ` in [[probe.check]]
          15 | typ = "contains"
             | ^^^
          rule: [[probe.check]] takes type and the parameters of that type
          nearest: `type`

        keys.toml:18:1: unknown key `answr` in [[probe.golden]]
          18 | answr = "def"
             | ^^^^^
          rule: [[probe.golden]] takes answer, expect, siblings, and training_answers
          nearest: `answer`

        keys.toml:19:10: `expect` in [[probe.golden]] is "passed"
          19 | expect = "passed"
             |          ^^^^^^^^
          rule: `expect` wants "pass", "fail", or "unscored"
          nearest: `pass`

        latin1.toml:2:12: invalid UTF-8: byte 0xe9
          2 | name = "caf�"
            |            ^
          rule: the file is UTF-8: save it in that encoding

        rules.toml:2:8: suite `rules` is already taken at checks.toml:2:8
          2 | name = "rules"
            |        ^^^^^^^
          rule: a suite's `name` is unique among all suites of a run: snapshots and records are named by it

        rules.toml:4:10: `margin` is 0.03, but 5 probes cannot exclude a loss below 0.451, even if no answer changes
          4 | margin = 0.03
            |          ^^^^
          rule: n probes can exclude a loss of 1 - 0.05^(1/n): write 99 probes, a larger margin, or none (the suite then counts in the pooled verdict)

        rules.toml:5:10: `target` in a suite with goal "keep"
          5 | target = 0.9
            |          ^^^
          rule: `target` is the score that a suite with goal "learn" has to reach; a "keep" suite is compared with the base, within its `margin`

        rules.toml:8:11: `samples` is 4 with `temperature` 0
          8 | samples = 4
            |           ^
          rule: at temperature 0 every sample is the same answer: ask for one sample, or set a temperature above 0

        rules.toml:10:9: `top_p` in [generation] is 1.5
          10 | top_p = 1.5
             |         ^^^
          rule: `top_p` wants a number above 0, at most 1

        rules.toml:11:18: `max_new_tokens` in [generation] is 0
          11 | max_new_tokens = 0
             |                  ^
          rule: `max_new_tokens` wants a whole number from 1 to 1000000

        rules.toml:21:6: probe `twice` is already taken at rules.toml:14:6
          21 | id = "twice"
             |      ^^^^^^^
          rule: a probe's `id` is unique within its suite: snapshots and records are named by it

        rules.toml:21:6: this probe has no `check`
          21 | id = "twice"
             |      ^^^^^^^
          rule: write at least one table [[probe.check]]: without it no answer can be scored

        rules.toml:22:15: the tag "data structures"
          22 | tags = ["en", "data structures"]
             |               ^^^^^^^^^^^^^^^^^
          rule: a tag is one word, without blanks and commas

        rules.toml:23:32: this prompt is empty
          23 | prompts = ["What is a queue?", "  "]
             |                                ^^^^
          rule: a prompt has at least one character that is not white space

        rules.toml:25:1: [[probe]] has no `id`
          25 | [[probe]]
             | ^^^^^^^^^
          rule: a name of a-z, 0-9, `-`, and `_`: records and snapshots are named by it

        rules.toml:26:11: `prompts` is empty
          26 | prompts = []
             |           ^^
          rule: a probe has at least one prompt

        rules.toml:33:34: this prompt has Chinese characters, the first prompt of the probe has none
          33 | prompts = ["What is recursion?", "什么是递归？"]
             |                                  ^^^^^^^^^^^^^^
          rule: the prompts of a probe are in one language: write a second probe for the other, and name the language in `tags`

        rules.toml:40:21: `{{naem}}` has no value
          40 | prompts = ["Are you {{naem}}, made by {{author}}?"]
             |                     ^^^^^^^^
          rule: give `naem` a value under [vars] in qeval.toml, which has author and name
          nearest: `name`

        rules.toml:43:9: `{{creator}}` has no value
          43 | value = "{{ creator }}"
             |         ^^^^^^^^^^^^^^^
          rule: give `creator` a value under [vars] in qeval.toml, which has author and name

        syntax.toml:3:8: string values must be quoted, expected literal string
          3 | goal = keep
            |        ^^^^
          rule: the file is TOML (https://toml.io)

        syntax.toml:5:9: unclosed array table, expected `]`
          5 | [[probe]
            |         ^
          rule: the file is TOML (https://toml.io)

        none.toml: cannot be read: No such file or directory (os error 2)
          rule: every suite that is named has to be readable

        42 errors in 7 suite files
        "#);
    }

    #[test]
    fn a_variable_without_a_value_is_told_once() {
        let text = file(
            "",
            "tags = [\"en\"]\nsystem = \"You are {{who}}, {{naem}}.\"\n[[probe.golden]]\n\
             answer = \"x, {{who}}\"\nexpect = \"pass\"",
        );
        insta::assert_snapshot!(of(&text).unwrap_err(), @r#"
        s.toml:9:19: `{{who}}` has no value
          9 | system = "You are {{who}}, {{naem}}."
            |                   ^^^^^^^
          rule: give `who` a value under [vars] in qeval.toml, which has author and name
          and at 1 other place

        s.toml:9:28: `{{naem}}` has no value
          9 | system = "You are {{who}}, {{naem}}."
            |                            ^^^^^^^^
          rule: give `naem` a value under [vars] in qeval.toml, which has author and name
          nearest: `name`

        2 errors in 1 suite file
        "#);
    }

    #[test]
    fn a_right_file_becomes_nouns() {
        let suites = of(&file(
            "description = \"d\"\nmargin = 1",
            "tags = [\"en\"]\ncritical = true\nsystem = \"You are {{name}}.\"",
        ))
        .unwrap();
        let suite = &suites[0];
        assert_eq!((suite.name.as_str(), suite.margin), ("s", Some(1.0)));
        let probe = &suite.probes[0];
        assert!(probe.critical);
        assert_eq!(probe.system.as_deref(), Some("You are Aurora."));
        assert_eq!(
            (probe.generation.samples, probe.generation.temperature),
            (1, None)
        );
        assert_eq!(probe.checks[0].params["value"], "x");
    }

    #[test]
    fn digest_follows_what_changes_scores_only() {
        let digest = |text: &str| of(text).unwrap()[0].digest.clone();
        let plain = digest(&file("", ""));
        assert_eq!(
            plain,
            digest(&file("description = \"other\"", "tags = [\"en\"]"))
        );
        assert_ne!(plain, digest(&file("", "system = \"\"")));
        assert_ne!(plain, digest(&file("[generation]\nsamples = 2", "")));
        assert_ne!(plain, digest(&file("", "").replace("Hello", "Hello!")));
        let swapped = file("", "").replace(
            "type = \"contains\"\nvalue = \"x\"",
            "value = \"x\"\ntype = \"contains\"",
        );
        assert_eq!(plain, digest(&swapped));
    }

    #[test]
    fn negated_kinds_are_split() {
        let suite = of(&file("", "").replace("\"contains\"", "\"not-contains\"")).unwrap();
        let check = &suite[0].probes[0].checks[0];
        assert_eq!((check.kind.as_str(), check.negated), ("contains", true));
    }

    #[test]
    fn very_long_prompts_load_and_longer_ones_do_not() {
        let with = |n: usize| file("", "").replace("Hello", &"a".repeat(n));
        assert_eq!(
            of(&with(100_000)).unwrap()[0].probes[0].prompts[0].len(),
            100_000
        );
        let error = of(&with(100_001)).unwrap_err().to_string();
        assert!(error.contains("`prompts` has 100001 characters"), "{error}");
        assert!(error.len() < 500, "a long line is cut: {}", error.len());
    }

    #[test]
    fn byte_order_mark_and_windows_line_ends_are_fine() {
        let text = format!("\u{FEFF}{}", file("", "").replace('\n', "\r\n"));
        assert_eq!(of(&text), of(&file("", "")));
    }

    #[test]
    fn mistakes_of_the_shape_are_named() {
        let shown: Vec<String> = [
            "suite = 3\nprobe = \"x\"",
            "[[suite]]\nname = \"s\"",
            "[suite]\nname = \"s\"\ngoal = \"keep\"\n[probe]\nid = \"p\"",
            "[suite]\nname = \"s\"\ngoal = \"keep\"\n[[probe]]\nid = \"p\"\nprompts = \"Hello\"\ncheck = [1]",
        ]
        .iter()
        .map(|text| of(text).unwrap_err().to_string())
        .collect();
        insta::assert_snapshot!(shown.join("\n\n"), @r#"
        s.toml:1:9: `suite` in a suite file is the number 3
          1 | suite = 3
            |         ^
          rule: `suite` wants a table

        s.toml:2:9: `probe` in a suite file is the string "x"
          2 | probe = "x"
            |         ^^^
          rule: `probe` wants tables, each under its own [[..]]

        2 errors in 1 suite file

        s.toml:1:1: `suite` in a suite file is a list
          1 | [[suite]]
            | ^^^^^^^^^
          rule: `suite` wants a table

        s.toml:1:1: this suite has no `probe`
          1 | [[suite]]
            | ^^^^^^^^^
          rule: write at least one table [[probe]] with `id`, `prompts`, and a [[probe.check]]

        2 errors in 1 suite file

        s.toml:4:1: `probe` in a suite file is a table
          4 | [probe]
            | ^^^^^^^
          rule: `probe` wants tables, each under its own [[..]]

        1 error in 1 suite file

        s.toml:6:11: `prompts` in [[probe]] is the string "Hello"
          6 | prompts = "Hello"
            |           ^^^^^^^
          rule: `prompts` wants a list of strings

        s.toml:7:10: `check` in [[probe]] is the number 1
          7 | check = [1]
            |          ^
          rule: `check` wants tables, each under its own [[..]]

        2 errors in 1 suite file
        "#);
    }

    #[test]
    fn odd_text_never_panics() {
        let text = std::fs::read_to_string(
            Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/bad-suites/rules.toml"),
        )
        .unwrap();
        for end in (0..text.len()).filter(|i| text.is_char_boundary(*i)) {
            let cut = SuiteSource::new("cut.toml", &text[..end]);
            assert!(!errors(&[cut]).is_empty());
        }
    }

    #[test]
    fn unreadable_paths_are_told_with_the_rest() {
        let folder = tempfile::tempdir().unwrap();
        let sources = read(&[folder.path().to_owned(), folder.path().join("none.toml")]);
        let shown = errors(&sources).replace(&folder.path().display().to_string(), "FOLDER");
        insta::assert_snapshot!(shown, @r"
        FOLDER: cannot be read: the folder has no *.toml file
          rule: every suite that is named has to be readable

        FOLDER/none.toml: cannot be read: No such file or directory (os error 2)
          rule: every suite that is named has to be readable

        2 errors in 2 suite files
        ");
    }
}
