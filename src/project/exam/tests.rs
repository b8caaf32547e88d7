//! Exams of real repositories.

use std::path::Path;
use std::process::Command;

use crate::project::testing::{SUITE, Small};
use crate::project::{Order, Overrides, Project, ProjectError};

const SETTINGS: &str = "[gate]\nmargin = 1.0\nsuites = [\"small.toml\"]\n[vars]\nname = \"Pip\"\n";

fn git(folder: &Path, arguments: &[&str]) -> String {
    let output = Command::new("git")
        .arg("-C")
        .arg(folder)
        .args(["-c", "user.name=A", "-c", "user.email=a@example.org"])
        .args([
            "-c",
            "init.defaultBranch=main",
            "-c",
            "commit.gpgsign=false",
        ])
        .args(["-c", "protocol.file.allow=always"])
        .args(arguments)
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "git {arguments:?}: {said}");
    String::from_utf8_lossy(&output.stdout).trim().to_owned()
}

fn commit(small: &Small) {
    git(&small.path(""), &["add", "-A"]);
    git(&small.path(""), &["commit", "-q", "-m", "state"]);
}

/// A project whose first state is committed.
fn committed(settings: &str) -> Small {
    let small = Small::new(settings);
    git(&small.path(""), &["init", "-q"]);
    commit(&small);
    small
}

fn from(revision: &str) -> Overrides {
    Overrides {
        suites_from: Some(revision.to_owned()),
        ..Overrides::default()
    }
}

fn refused(small: &Small, overrides: Overrides) -> String {
    let opened = small.open_with(overrides);
    let error = opened.and_then(|project| project.suites().map(<[_]>::to_vec));
    redacted(small, &error.unwrap_err())
}

fn redacted(small: &Small, error: &ProjectError) -> String {
    let folder = small.path("").canonicalize().unwrap();
    let as_named = small.path("").display().to_string();
    error
        .to_string()
        .replace(&folder.display().to_string(), "[project]")
        .replace(as_named.trim_end_matches('/'), "[project]")
}

/// Commits are other ones every time.
fn told(project: &Project) -> String {
    let exam = project.exam().unwrap();
    let lines = std::iter::once(exam.headline()).chain(exam.lines());
    let lines: Vec<String> = lines.collect();
    lines.join("\n").replace(&exam.commit[..12], "[commit]")
}

#[test]
fn a_change_cannot_loosen_its_exam() {
    let small = committed(SETTINGS);
    let same = small.open_with(from("HEAD")).unwrap();
    insta::assert_snapshot!(told(&same), @"asked and judged by HEAD ([commit]); this working tree says the same");
    small.write(
        "qeval.toml",
        "[model]\npath = \"other\"\n[train]\nseed = 7\noutput_dir = \"out\"\n[gate]\nmargin = 0.9\n\
         max_unscored = 1.0\ntags = [\"zh\"]\nlearn = \"warn\"\ncandidate = \"mine\"\n\
         suites = [\"small.toml\", \"more.toml\"]\n[vars]\nname = \"Nobody\"\n",
    );
    let loose = SUITE.replace("\"Aurora\"", "\"a\"").replace("16", "8");
    small.write("small.toml", &loose);
    small.write("more.toml", &SUITE.replace("\"small\"", "\"more\""));
    // In a commit of its own or not.
    for _ in 0..2 {
        let project = small.open_with(from("HEAD")).unwrap();
        insta::allow_duplicates! {
            insta::assert_snapshot!(told(&project), @r#"
            asked and judged by HEAD ([commit]), not by this working tree, which says otherwise:
            `path` under [model]: "smollm2-135m" there, "other" here
            `seed` under [train]: 42 there, 7 here
            `learn` under [gate]: "require" there, "warn" here
            `margin` under [gate]: 1.0 there, 0.9 here
            `max_unscored` under [gate]: 0.1 there, 1.0 here
            `suites` under [gate]: ["small.toml"] there, ["small.toml","more.toml"] here
            `tags` under [gate]: [] there, ["zh"] here
            `name` under [vars]: "Pip" there, "Nobody" here
            suite `small`: 2 probes changed (sum and who)
            suite `more`: only here
            "#);
        }
        let order = Order::new(&project, &["base"]).unwrap();
        assert_eq!((order.rules.margin, order.seed), (1.0, 42));
        assert_eq!(order.suites[0].probes.len(), 2);
        assert_eq!(
            order.suites[0].probes[1].checks[0].params["value"],
            "Aurora"
        );
        assert_eq!(order.model, "smollm2-135m");
        assert_eq!(order.exam.as_ref(), project.exam());
        // Whom to judge, and where records lie, is the change's to say.
        assert_eq!(project.config.gate.candidate.as_deref(), Some("mine"));
        assert_eq!(project.store.root(), small.path("out"));
        git(&small.path(""), &["branch", "-f", "before"]);
        git(&small.path(""), &["tag", "-f", "first"]);
    }
    commit(&small);
    assert!(
        small
            .open_with(from("HEAD"))
            .unwrap()
            .exam()
            .unwrap()
            .suites
            .is_empty()
    );
    let before = small.open_with(from("before")).unwrap();
    assert_eq!(before.exam().unwrap().suites.len(), 2);
    assert_eq!(small.open_with(from("first")).unwrap().rules().margin, 1.0);
}

#[test]
fn a_folder_of_suites_is_that_of_the_revision() {
    let small = Small::new("[gate]\nmargin = 1.0\n");
    small.write("suites/b.toml", &SUITE.replace("\"small\"", "\"b\""));
    small.write("suites/a.toml", &SUITE.replace("\"small\"", "\"a\""));
    small.write("suites/notes.md", "no suite");
    small.write("suites/more/c.toml", "no suite of the folder");
    git(&small.path(""), &["init", "-q"]);
    commit(&small);
    std::fs::remove_dir_all(small.path("suites")).unwrap();
    std::fs::remove_file(small.path("qeval.toml")).unwrap();
    let project = small.open_with(from("HEAD")).unwrap();
    let names: Vec<&str> = project
        .suites()
        .unwrap()
        .iter()
        .map(|s| s.name.as_str())
        .collect();
    assert_eq!(names, ["a", "b"]);
    // The built-in suites stand for a folder that is nowhere; here they are asked without names.
    assert!(project.exam().unwrap().differs());
    // One that is typed is read there too.
    let one = Overrides {
        suites: vec![small.path("suites/b.toml").display().to_string()],
        ..from("HEAD")
    };
    assert_eq!(small.open_with(one).unwrap().suites().unwrap().len(), 1);
}

#[test]
fn what_no_revision_can_say_is_refused_with_a_way_out() {
    let small = committed(SETTINGS);
    insta::assert_snapshot!(refused(&small, from("origin/main")), @"
    --suites-from origin/main: [project] has no such revision
      Name a branch, tag, or commit that `git rev-parse` knows, such as origin/main; one that was not fetched: `git fetch --depth=1 origin REVISION`, and then FETCH_HEAD.
    ");
    for odd in ["--all", "", "HEAD:qeval.toml", "HEAD..HEAD"] {
        assert!(
            refused(&small, from(odd)).contains("has no such revision"),
            "{odd}"
        );
    }
    small.write(
        "qeval.toml",
        "[gate]\nmargin = 1.0\nsuites = [\"../other.toml\"]\n",
    );
    commit(&small);
    let folder = small.path("");
    let parent = folder.canonicalize().unwrap();
    let parent = parent.parent().unwrap().display().to_string();
    let outside = refused(&small, from("HEAD"));
    insta::assert_snapshot!(outside.replace(&parent, "[parent]"), @"
    [project]/../other.toml lies outside of the repository [project], so it has no state at HEAD
      Move it into the repository, or leave --suites-from out.
    ");
    small.write(
        "qeval.toml",
        "[gate]\nmargin = 1.0\nsuites = [\"gone.toml\"]\n",
    );
    commit(&small);
    small.write("gone.toml", SUITE);
    let gone = refused(&small, from("HEAD"));
    let (gone, _) = gone.split_once(", and the built-in").unwrap();
    insta::assert_snapshot!(gone, @r#"no suite "gone.toml": it is no file or folder (HEAD:gone.toml)"#);
    small.write("qeval.toml", "[gate]\nmargin = 0\n");
    commit(&small);
    small.write("qeval.toml", SETTINGS);
    insta::assert_snapshot!(refused(&small, from("HEAD")), @"
    HEAD:qeval.toml:2:10: `margin` in [gate] is 0
      2 | margin = 0
        |          ^
      rule: `margin` wants a number above 0, at most 1

    1 error in HEAD:qeval.toml
    ");
    git(&folder, &["rm", "-q", "--cached", "qeval.toml"]);
    git(&folder, &["commit", "-q", "-m", "without"]);
    insta::assert_snapshot!(refused(&small, from("HEAD")), @"
    qeval.toml is not there at HEAD, so there are no rules to judge by
      Name a revision that has it; the change that brings it is judged without --suites-from.
    ");
}

#[test]
fn a_folder_without_a_repository_is_refused() {
    let small = Small::new(SETTINGS);
    // Some folder above may be a repository, on somebody's machine.
    let said = refused(&small, from("origin/no-such-branch"));
    assert!(
        said.starts_with("--suites-from origin/no-such-branch: "),
        "{said}"
    );
    if !said.contains("has no such revision") {
        insta::assert_snapshot!(said, @"
        --suites-from origin/no-such-branch: [project] is in no working tree of git: not a git repository (or any of the parent directories): .git
          Suites are read from the repository that qeval.toml lies in. Run it in a checkout, or leave --suites-from out.
        ");
    }
}

#[test]
fn a_suite_that_is_broken_at_the_revision_names_it() {
    let small = committed(SETTINGS);
    small.write(
        "small.toml",
        &SUITE.replace("goal = \"keep\"", "goal = \"kep\""),
    );
    commit(&small);
    let broken = refused(&small, from("HEAD"));
    assert!(broken.starts_with("HEAD:small.toml:4:8: "), "{broken}");
    // One that is broken here is told, and the other holds.
    let project = small.open_with(from("HEAD~1")).unwrap();
    let exam = project.exam().unwrap();
    assert!(exam.unreadable.as_ref().unwrap().contains("small.toml:4:8"));
    assert_eq!(project.suites().unwrap().len(), 1);
}

#[test]
#[cfg(unix)]
fn links_and_what_a_checkout_brings_have_no_part() {
    let small = committed(SETTINGS);
    std::fs::remove_file(small.path("small.toml")).unwrap();
    small.write("easy.toml", SUITE);
    std::os::unix::fs::symlink("easy.toml", small.path("small.toml")).unwrap();
    commit(&small);
    insta::assert_snapshot!(refused(&small, from("HEAD")), @"
    small.toml is a symbolic link at HEAD: what it leads to is not read
      Name the file or folder itself under `suites`.
    ");
    // Links of the working tree are not followed: before it was a file.
    assert_eq!(
        small
            .open_with(from("HEAD~1"))
            .unwrap()
            .suites()
            .unwrap()
            .len(),
        1
    );

    // Records that a change brings.
    small.write("runs/run-0001/checkpoint-4/adapter_config.json", "{}");
    commit(&small);
    assert!(
        small.open_with(from("HEAD~2")).is_ok(),
        "what is examined may come"
    );
    small.write("runs/gates/0123.json", "{}");
    assert!(
        small.open_with(from("HEAD~2")).is_ok(),
        "records of this machine"
    );
    commit(&small);
    insta::assert_snapshot!(refused(&small, from("HEAD~3")), @"
    runs/gates/0123.json is tracked by git, in the folder of records [project]/runs: a pull request could bring answers and verdicts with it
      Name another folder for records, `--runs FOLDER`, and a checkpoint that is tracked by its path.
    ");
    let elsewhere = Overrides {
        runs: Some(small.path("elsewhere")),
        ..from("HEAD~3")
    };
    assert!(small.open_with(elsewhere).is_ok());
}

/// A folder of the name of a hub's model would be taken for it.
#[test]
fn a_base_that_a_change_brings_is_refused() {
    let small = committed(SETTINGS);
    small.write("smollm2-135m/config.json", "{}");
    assert!(small.open_with(from("HEAD")).is_ok(), "nobody committed it");
    commit(&small);
    insta::assert_snapshot!(refused(&small, from("HEAD~1")), @"
    smollm2-135m, which `path` under [model] names, is not as it was at HEAD~1 (smollm2-135m/config.json), and weights are not read from there
      Judge that change by itself, without --suites-from; `git diff HEAD~1 -- smollm2-135m` shows it.
    ");
    assert!(small.open_with(from("HEAD")).is_ok());
    // One that is taken away would be looked for on the hub.
    git(&small.path(""), &["rm", "-q", "-r", "smollm2-135m"]);
    let gone = refused(&small, from("HEAD"));
    assert!(gone.contains("is not as it was at HEAD"), "{gone}");
}

/// What actions/checkout and a clone of one branch leave; the command that is told mends both.
#[test]
fn a_shallow_clone_is_told_what_to_fetch() {
    let small = committed(SETTINGS);
    git(&small.path(""), &["checkout", "-q", "-b", "feature"]);
    small.write("small.toml", &SUITE.replace("16", "8"));
    commit(&small);
    let address = format!("file://{}", small.path("").display());
    for more in [
        &["--branch=feature"][..],
        &["--no-single-branch", "--branch=feature"],
    ] {
        let clone = tempfile::tempdir().unwrap();
        let folder = clone.path().display().to_string();
        let mut clone_it = vec!["clone", "-q", "--depth=1"];
        clone_it.extend(more);
        clone_it.extend([address.as_str(), &folder]);
        git(clone.path(), &clone_it);
        if more.len() > 1 {
            git(
                clone.path(),
                &["update-ref", "-d", "refs/remotes/origin/main"],
            );
        }
        let open = || {
            let overrides = Overrides {
                config: Some(clone.path().join("qeval.toml")),
                ..from("origin/main")
            };
            Project::open(overrides, Box::new(|_| {}))
        };
        let said = open().err().unwrap().to_string();
        let top = clone.path().canonicalize().unwrap().display().to_string();
        insta::allow_duplicates! {
            insta::assert_snapshot!(said.replace(&top, "[clone]"), @"
            --suites-from origin/main: [clone] has no such revision, and it is a shallow clone
              Fetch it: `git fetch --depth=1 origin +refs/heads/main:refs/remotes/origin/main`; with actions/checkout `fetch-depth: 0` fetches all.
            ");
        }
        let command = said.split('`').nth(1).unwrap();
        let words: Vec<&str> = command.split(' ').skip(1).collect();
        git(clone.path(), &words);
        assert_eq!(open().unwrap().exam().unwrap().suites.len(), 1);
    }
}
