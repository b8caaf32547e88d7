//! What is refused: which mistake at which place, and with which way out.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use crate::suite::error::{SuiteError, SuiteErrorKind, SuiteErrors};
use crate::suite::load::load;
use crate::suite::source::{SuiteSource, read};
use crate::suite::testing::{load_text, one_probe, vars};

/// Everything wrong with these files, each once.
fn errors(sources: &[SuiteSource]) -> Vec<SuiteError> {
    match load(sources, &vars()) {
        Ok(suites) => panic!("accepted: {suites:?}"),
        Err(SuiteErrors(errors)) => errors,
    }
}

/// Place, kind, what it is about, and the name that was probably meant. What it is about is the
/// last name in the message.
fn decision(error: &SuiteError) -> String {
    let variant = |debug: String| {
        let end = debug.find(|c: char| !c.is_alphanumeric());
        debug[..end.unwrap_or(debug.len())].to_owned()
    };
    let kind = match &error.kind {
        SuiteErrorKind::Toml(mistake) => variant(format!("{mistake:?}")),
        kind => variant(format!("{kind:?}")),
    };
    let what = error.kind.to_string();
    let about = what.rsplit('`').nth(1);
    let about = about.map_or(String::new(), |name| format!(" {name}"));
    let nearest = error.kind.nearest();
    let nearest = nearest.map_or(String::new(), |name| format!(" -> {name}"));
    format!("{} {kind}{about}{nearest}", error.place)
}

fn decisions(errors: &[SuiteError]) -> Vec<String> {
    errors.iter().map(decision).collect()
}

fn bad_suites() -> Vec<SuiteSource> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/bad-suites");
    let mut sources = read(&[folder.clone(), folder.join("none.toml")]);
    for source in &mut sources {
        let path = PathBuf::from(&source.name);
        source.name = path.file_name().unwrap().to_string_lossy().into_owned();
    }
    sources
}

#[test]
fn every_error_of_every_file_is_told_at_once() {
    let errors = errors(&bad_suites());
    let expected = [
        "checks.toml:4:10 BadValue margin",
        "checks.toml:10:8 Check contians -> contains",
        "checks.toml:14:1 Check value",
        "checks.toml:15:1 Check tolerence -> tolerance",
        "checks.toml:18:1 Check value",
        "checks.toml:22:1 Check answer",
        "checks.toml:24:8 Check rejected",
        "checks.toml:26:6 BadValue on",
        "checks.toml:35:10 Golden pass",
        "checks.toml:38:10 Golden fail",
        "empty.toml:1:1 MissingKey suite",
        "empty.toml:1:1 MissingKey probe",
        "keys.toml:2:1 UnknownKey nmae -> name",
        "keys.toml:3:8 BadValue goal",
        "keys.toml:4:10 BadValue margin",
        "keys.toml:6:2 UnknownKey generatoin -> generation",
        "keys.toml:10:6 BadValue id -> quick-sort",
        "keys.toml:11:1 UnknownKey tagz -> tags",
        "keys.toml:12:32 WrongType prompts",
        "keys.toml:13:12 WrongType critical",
        "keys.toml:15:1 BadValue typ -> type",
        "keys.toml:18:1 UnknownKey answr -> answer",
        "keys.toml:19:10 BadValue expect -> pass",
        "latin1.toml:2:12 NotText …ame = \"café\"",
        "rules.toml:2:8 Duplicate rules",
        "rules.toml:4:10 BadValue margin",
        "rules.toml:5:10 BadValue target",
        "rules.toml:8:11 BadValue temperature",
        "rules.toml:10:9 BadValue top_p",
        "rules.toml:11:18 BadValue max_new_tokens",
        "rules.toml:21:6 Duplicate twice",
        "rules.toml:21:6 MissingKey check",
        "rules.toml:22:15 BadValue",
        "rules.toml:23:32 BadValue",
        "rules.toml:25:1 MissingKey id",
        "rules.toml:26:11 BadValue prompts",
        "rules.toml:33:34 BadValue",
        "rules.toml:40:21 UnknownVar {{naem}} -> name",
        "rules.toml:43:9 UnknownVar {{creator}}",
        "syntax.toml:3:8 Syntax",
        "syntax.toml:5:9 Syntax ]",
        "none.toml Unreadable",
    ];
    assert_eq!(decisions(&errors), expected);
}

/// What a message says of its own case, and what may be written instead.
#[test]
fn messages_name_the_case_and_what_may_be_written() {
    let errors = errors(&bad_suites());
    for (place, phrase) in [
        ("checks.toml:4:10", "a \"learn\" suite has a `target`"),
        ("checks.toml:10:8", "equals, contains, contains-any"),
        ("checks.toml:10:8", "after `not-`"),
        ("checks.toml:15:1", "value, tolerance, which, and unit"),
        ("checks.toml:18:1", "no look-around"),
        ("checks.toml:22:1", "exactly as in `options`"),
        ("checks.toml:24:8", "a list of strings"),
        (
            "keys.toml:2:1",
            "[suite] takes name, description, goal, margin, and target",
        ),
        ("keys.toml:3:8", "\"keep\" or \"learn\""),
        ("keys.toml:4:10", "above 0, at most 1"),
        ("keys.toml:6:2", "takes suite, generation, and probe"),
        ("keys.toml:10:6", "1 to 80 of the characters a-z, 0-9"),
        (
            "keys.toml:11:1",
            "id, tags, critical, system, history, prompts, generation, check, and golden",
        ),
        (
            "keys.toml:18:1",
            "answer, expect, siblings, and training_answers",
        ),
        ("keys.toml:19:10", "\"pass\", \"fail\", or \"unscored\""),
        ("rules.toml:4:10", "99 probes"),
        ("rules.toml:10:9", "above 0, at most 1"),
        ("rules.toml:11:18", "from 1 to 1000000"),
        ("rules.toml:33:34", "a second probe for the other"),
        ("rules.toml:40:21", "which has author and name"),
        ("none.toml", "readable"),
        ("checks.toml:14:1", "is the string \"4\""),
        ("checks.toml:26:6", "the date 2026-01-01"),
        ("checks.toml:35:10", "no \"巴黎\""),
        ("checks.toml:38:10", "checks pass"),
        ("empty.toml:1:1", "[suite] with `name` and `goal`"),
        ("keys.toml:15:1", "the parameters of that type"),
        ("latin1.toml:2:12", "(0xe9) belongs to no character"),
        ("rules.toml:2:8", "at checks.toml:2:8"),
        (
            "rules.toml:4:10",
            "5 probes cannot exclude a loss below 0.451",
        ),
        ("rules.toml:5:10", "goal \"keep\""),
        ("rules.toml:8:11", "every sample is the same answer"),
        ("rules.toml:21:6", "at rules.toml:14:6"),
        ("rules.toml:22:15", "a tag is one word"),
        ("rules.toml:23:32", "not white space"),
        ("rules.toml:26:11", "at least one prompt"),
        ("syntax.toml:3:8", "must be quoted"),
    ] {
        let told = errors.iter().find(|error| error.place.to_string() == place);
        let told = told.map_or(String::new(), ToString::to_string);
        assert!(told.contains(phrase), "{place}: {told}");
    }
    let listed = SuiteErrors(errors).to_string();
    assert!(listed.ends_with("42 errors in 7 suite files"), "{listed}");
}

/// The shape in which all of them are told.
#[test]
fn a_variable_without_a_value_is_told_once() {
    let text = one_probe(
        "",
        "tags = [\"en\"]\nsystem = \"You are {{who}}, {{naem}}.\"\n[[probe.golden]]\n\
         answer = \"x, {{who}}\"\nexpect = \"pass\"",
    );
    insta::assert_snapshot!(load_text(&text).unwrap_err(), @r#"
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
fn mistakes_of_the_shape_are_named() {
    let of = |text: &str| decisions(&load_text(text).unwrap_err().0);
    assert_eq!(
        of("suite = 3\nprobe = \"x\""),
        ["s.toml:1:9 WrongType suite", "s.toml:2:9 WrongType probe"]
    );
    // What is there, but broken, is not missing besides.
    assert_eq!(
        of("[[suite]]\nname = \"s\""),
        ["s.toml:1:1 WrongType suite", "s.toml:1:1 MissingKey probe"]
    );
    let head = "[suite]\nname = \"s\"\ngoal = \"keep\"\n";
    assert_eq!(
        of(&format!("{head}[probe]\nid = \"p\"")),
        ["s.toml:4:1 WrongType probe"]
    );
    let lists = format!("{head}[[probe]]\nid = \"p\"\nprompts = \"Hello\"\ncheck = [1]");
    assert_eq!(
        of(&lists),
        [
            "s.toml:6:11 WrongType prompts",
            "s.toml:7:10 WrongType check"
        ]
    );
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
fn a_backslash_that_became_a_control_character_is_told() {
    let with =
        |value: &str| one_probe("", "").replace("value = \"x\"", &format!("value = {value}"));
    insta::assert_snapshot!(load_text(&with(r#""C:\new""#)).unwrap_err(), @r#"
    s.toml:11:9: `value` holds a line break (\n), where a backslash was probably meant: "C:\new"
      11 | value = "C:\new"
         |         ^^^^^^^^
      rule: in "..." a backslash begins an escape: write '...', which has none, or \\ for a backslash; a line break that is meant goes into """..."""

    1 error in 1 suite file
    "#);
    for (value, right) in [
        (r#""\bParis\b""#, false),
        (r#""C:\temp""#, false),
        (r#""C:\\temp""#, true),
        (r"'C:\new'", true),
        // What answers do have.
        (r#""def f():\n    return 1""#, true),
        (r#""```python\nx.sort()\n```""#, true),
        ("\"\"\"one\ntwo\"\"\"", true),
    ] {
        let loaded = load_text(&with(value));
        assert_eq!(loaded.is_ok(), right, "{value}: {loaded:?}");
    }
    let list = with(r#"["x", "C:\new"]"#).replace("\"contains\"", "\"contains-any\"");
    assert!(load_text(&list).is_err());
}

#[test]
fn very_long_prompts_load_and_longer_ones_do_not() {
    let with = |n: usize| one_probe("", "").replace("Hello", &"a".repeat(n));
    assert_eq!(
        load_text(&with(100_000)).unwrap()[0].probes[0].prompts[0].len(),
        100_000
    );
    let error = load_text(&with(100_001)).unwrap_err().to_string();
    assert!(error.contains("`prompts` has 100001 characters"), "{error}");
    assert!(error.len() < 500, "a long line is cut: {}", error.len());
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
