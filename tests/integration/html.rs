//! The page that `--html` writes: that it holds everything, and that a browser shows what models said
//! as text, whatever they said. Without Chromium the tests of the browser say so and pass; a browser
//! at another place is named by `QEVAL_CHROMIUM`.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::Command;

use qeval::flow::{
    AdapterRef, Candidate, CaseComparison, CheckComparison, Comparison, Decision, Estimate, Goal,
    LearnRule, ProbeComparison, ProbeId, SampleComparison, Score, Subject, SuiteState,
    SuiteVerdict, Verdict,
};
use qeval::report::{Page, PageBase, PageParts, PageSubject, html, page};
use serde_json::Value;

use crate::project::Project;

/// The data of a page, cut out as a browser does.
fn data(html: &[u8]) -> Page {
    let html = std::str::from_utf8(html).unwrap();
    let opening = "<script type=\"application/json\" id=\"data\">";
    let (_, rest) = html.split_once(opening).unwrap();
    serde_json::from_str(rest.split_once("</script").unwrap().0).unwrap()
}

/// Every answer of a page's subject (0 is the base) that was given, by `suite::probe#prompt`.
fn answers(page: &Page, subject: usize) -> BTreeMap<String, String> {
    let mut all = BTreeMap::new();
    for probe in &page.probes {
        for (prompt, case) in probe.cases.iter().enumerate() {
            if let Some(text) = case.draws[0].answers[subject] {
                let suite = &page.suites[probe.suite].name;
                let case = format!("{suite}::{}#{prompt}", probe.id);
                all.insert(case, page.texts[text].clone());
            }
        }
    }
    all
}

/// What the records say of a subject.
fn recorded(project: &Project, subject: &str) -> BTreeMap<String, String> {
    let record = project.record("run-0001", subject);
    let text = |value: &Value| value["answer"]["text"].as_str().unwrap().to_owned();
    record
        .answers
        .iter()
        .map(|(case, value)| (case.clone(), text(value)))
        .collect()
}

fn listed(project: &Project) -> BTreeSet<String> {
    let list = project.qeval("list --format json").exits(0).json();
    let suites = list["suites"].as_array().unwrap();
    let of = |suite: &Value| -> Vec<String> {
        let probes = suite["probes"].as_array().unwrap();
        let name = |p: &Value| {
            format!(
                "{}::{}",
                suite["suite"].as_str().unwrap(),
                p["probe"].as_str().unwrap()
            )
        };
        probes.iter().map(name).collect()
    };
    suites.iter().flat_map(of).collect()
}

#[test]
fn gate_and_diff_write_every_probe_and_answer() {
    let project = Project::with_model();
    let gated = project
        .qeval("gate adapters/harmful --html gate.html --format json")
        .exits(1)
        .json();
    let page = data(&project.read("gate.html"));
    let candidate = &page.candidates[0];
    assert_eq!(candidate.name, "adapters/harmful");
    assert_eq!(
        candidate.headline,
        gated["candidates"][0]["verdict"]["decision"]
            .as_str()
            .unwrap()
    );
    assert_eq!(candidate.next, "qeval diff base adapters/harmful");
    let names: BTreeSet<String> = page
        .probes
        .iter()
        .map(|p| format!("{}::{}", page.suites[p.suite].name, p.id))
        .collect();
    assert_eq!(names, listed(&project));
    assert_eq!(answers(&page, 0), recorded(&project, "base"));
    assert_eq!(answers(&page, 1), recorded(&project, "adapters-harmful"));
    assert!(
        page.probes.iter().any(|probe| !probe.tags.is_empty()),
        "tags are those of the suites"
    );

    project
        .qeval("diff base adapters/good adapters/harmful --html diff.html")
        .exits(1);
    let both = data(&project.read("diff.html"));
    let names: Vec<&str> = both.candidates.iter().map(|c| c.name.as_str()).collect();
    assert_eq!(names, ["adapters/good", "adapters/harmful"]);
    assert_eq!(answers(&both, 0), answers(&page, 0));
    assert_eq!(answers(&both, 2), answers(&page, 1));
    assert_eq!(both.candidates[1].rows, candidate.rows);
}

#[test]
fn a_page_that_cannot_be_written_is_an_error() {
    let project = Project::with_model();
    project.write("file", "");
    let refusal = project
        .qeval("gate adapters/noop --html file/gate.html")
        .refusal();
    for part in ["cannot write file/gate.html: ", "choose another path"] {
        assert!(refusal.contains(part), "{part} in {refusal}");
    }
}

#[test]
fn training_draws_its_checkpoints_and_shows_what_they_said() {
    let project = Project::with_model();
    let told = project
        .qeval("train --html train.html --format json")
        .exits(0)
        .json();
    let page = data(&project.read("train.html"));
    let run = &page.runs[0];
    let checkpoints = told["checkpoints"].as_array().unwrap();
    assert_eq!(run.checkpoints.len(), checkpoints.len());
    for (drawn, told) in run.checkpoints.iter().zip(checkpoints) {
        assert_eq!(drawn.step as u64, told["step"].as_u64().unwrap());
        assert_eq!(drawn.train_loss, told["train_loss"].as_f64());
        assert_eq!(drawn.learn, told["verdict"]["learn"]["mean"].as_f64());
        let kept = &told["verdict"]["pooled"]["estimate"];
        assert_eq!(drawn.lower, kept["lower"].as_f64());
    }
    let best: Vec<&str> = run
        .checkpoints
        .iter()
        .filter(|c| c.best)
        .map(|c| c.place.as_str())
        .collect();
    assert_eq!(best, ["21"]);
    assert_eq!(run.losses.len(), 42, "a point a step");
    let names: Vec<(&str, bool)> = page
        .candidates
        .iter()
        .map(|c| (c.name.as_str(), c.featured))
        .collect();
    assert_eq!(names, [("ckpt-21", true), ("ckpt-42", false)]);
    assert_eq!(answers(&page, 1), recorded(&project, "ckpt-21"));
    assert_eq!(answers(&page, 2), recorded(&project, "ckpt-42"));

    // The second time little is asked: the curve is there, and where the answers are is said.
    project.qeval("train --html again.html").exits(0);
    let again = data(&project.read("again.html"));
    assert_eq!(again.runs[0].losses, run.losses);
    assert_eq!(again.candidates[0].headline, "pass");
    let heard: Vec<(&str, bool)> = again
        .candidates
        .iter()
        .map(|c| (c.name.as_str(), c.answers))
        .collect();
    assert_eq!(
        heard,
        [("ckpt-21", false), ("ckpt-42", true)],
        "the last one is judged again"
    );
    insta::assert_snapshot!(again.notes.join("\n"), @"What `ckpt-21` answered was heard by an earlier command: `qeval diff base run-0001/ckpt-21 --html FILE` shows it.");
    project
        .qeval("diff base run-0001/ckpt-21 --html shown.html")
        .exits(0);
    let shown = data(&project.read("shown.html"));
    assert_eq!(answers(&shown, 1), answers(&page, 1));
}

#[test]
fn a_job_of_github_gets_the_verdict_on_its_page() {
    let project = Project::with_model();
    project.write("summary.md", "# before\n");
    let file = project.path("summary.md").display().to_string();
    let project = project.env("GITHUB_STEP_SUMMARY", &file);
    project
        .qeval("gate adapters/harmful --markdown comment.md")
        .exits(1);
    let summary = String::from_utf8(project.read("summary.md")).unwrap();
    let comment = String::from_utf8(project.read("comment.md")).unwrap();
    assert_eq!(summary, format!("# before\n{comment}\n"));
    // A summary that cannot be written stops no gate.
    let project = project.env("GITHUB_STEP_SUMMARY", "no/such/folder/summary.md");
    let said = project.qeval("gate adapters/harmful").exits(1);
    assert!(
        said.stderr
            .contains("GITHUB_STEP_SUMMARY was not written: no/such/folder/summary.md: "),
        "{}",
        said.stderr
    );
}

// ---- in a browser

/// Answers that would run, fetch, or hide something wherever a text became markup.
const HOSTILE: [&str; 7] = [
    "</script><script>document.title = 'owned'</script>",
    "<img src=x onerror=\"document.title='owned'\"><svg onload=\"document.title='owned'\">",
    "<!--<script> ]]> --><style>body{display:none}</style>",
    "<a href=\"javascript:document.title='owned'\">x</a><iframe srcdoc=\"<script>parent.document.title='owned'</script>\">",
    "photo\u{202e}gpj.exe\u{2066} \u{1b}[31mred\u{0} zero\u{200b}width \u{2028} end",
    "{{script}} {{data}} `${document.title='owned'}`",
    "' onmouseover='document.title=\"owned\"' \" onfocus=\"document.title='owned'\" autofocus x=\"",
];

/// A comparison in which every text is hostile, but for the names of probes, which suites forbid it.
fn hostile() -> Comparison {
    let long = "long ".repeat(20_000);
    let answers = HOSTILE.iter().copied().chain([long.as_str(), "", "plain"]);
    let score = |value: f64, evidence: &str| Score::Scored {
        value,
        evidence: evidence.into(),
    };
    let probes = answers.enumerate().map(|(i, answer)| ProbeComparison {
        id: ProbeId {
            suite: "code".into(),
            probe: format!("p{i}"),
        },
        critical: false,
        digest: String::new(),
        cases: vec![CaseComparison {
            prompt: format!("prompt {i}: {}", HOSTILE[i % HOSTILE.len()]),
            samples: vec![SampleComparison {
                base: Some(format!("the base says {i}")),
                candidate: Some(answer.into()),
                checks: vec![CheckComparison {
                    kind: "contains".into(),
                    base: score(1.0, "found"),
                    candidate: score(0.0, HOSTILE[i % HOSTILE.len()]),
                }],
                continued: false,
                further: false,
                base_thinking: None,
                candidate_thinking: Some(HOSTILE[(i + 1) % HOSTILE.len()].into()),
            }],
            drift: None,
        }],
        noise: None,
    });
    let probes: Vec<ProbeComparison> = probes.collect();
    let estimate = Estimate {
        base_mean: 1.0,
        candidate_mean: 0.0,
        difference: -1.0,
        lower: -1.0,
        upper: -0.7,
        confidence: 0.95,
        probes: probes.len(),
        losses: probes.len(),
        gains: 0,
        unscored: 0,
    };
    let row = |suite: &str| SuiteVerdict {
        suite: suite.into(),
        goal: Goal::Keep,
        state: SuiteState::Regression,
        estimate: Some(estimate.clone()),
        margin: Some(0.1),
        target: None,
        p_loss: Some(0.001),
        smallest_provable_loss: Some(0.03),
        reasons: vec![HOSTILE[0].into()],
        spread: None,
    };
    let name = HOSTILE[1].to_owned();
    Comparison {
        model: HOSTILE[2].into(),
        base: Subject::base(),
        candidates: vec![Candidate {
            subject: Subject {
                name: name.clone(),
                adapter: Some(AdapterRef {
                    path: name.into(),
                    digest: "c0ffee".into(),
                    scale: 1.0,
                    step: None,
                }),
                server: None,
            },
            verdict: Verdict {
                decision: Decision::Regression,
                sentence: HOSTILE[0].into(),
                pooled: row("pooled"),
                suites: vec![row("code")],
                critical: Vec::new(),
                signs: Vec::new(),
                early: None,
                learn: None,
                learn_rule: LearnRule::Require,
                reasons: HOSTILE.map(String::from).to_vec(),
                notes: vec![format!("`{}`", HOSTILE[0])],
                could_not_measure: Vec::new(),
            },
            causes: HOSTILE.map(String::from).to_vec(),
            own_answers: None,
            probes,
        }],
        noise: BTreeMap::new(),
        exam: None,
        baseline: None,
    }
}

fn hostile_page() -> String {
    let comparison = hostile();
    let parts = PageParts {
        base: PageBase::of(&comparison),
        subjects: PageSubject::all_of(&comparison, |_| HOSTILE[0].into()),
        runs: Vec::new(),
        suites: &[],
        notes: vec![HOSTILE[3].into()],
    };
    html(&page(parts)).unwrap()
}

/// Where Chromium is; `None`, and a word, where it is not.
fn chromium() -> Option<PathBuf> {
    let named = std::env::var_os("QEVAL_CHROMIUM").map(PathBuf::from);
    let usual = [
        "/usr/bin/chromium",
        "/usr/bin/chromium-browser",
        "/usr/bin/google-chrome",
    ];
    let found = named
        .into_iter()
        .chain(usual.map(PathBuf::from))
        .find(|path| path.is_file());
    if found.is_none() {
        println!(
            "skipped: no Chromium at {}, and QEVAL_CHROMIUM names none",
            usual.join(", ")
        );
    }
    found
}

/// The document as it stands after its script ran, at an address of the page; `None` without a
/// browser.
fn dom(page: &str, address: &str) -> Option<String> {
    let chromium = chromium()?;
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("page.html");
    std::fs::write(&file, page).unwrap();
    let said = Command::new(chromium)
        .args([
            "--headless",
            "--no-sandbox",
            "--disable-gpu",
            "--no-first-run",
            "--disable-quic",
        ])
        .args([
            "--disable-background-networking",
            "--disable-component-update",
            "--disable-sync",
        ])
        .arg("--virtual-time-budget=3000")
        .arg(profile(folder.path()))
        .arg("--dump-dom")
        .arg(format!("file://{}{address}", file.display()))
        .output()
        .unwrap();
    let dom = String::from_utf8(said.stdout).unwrap();
    assert!(
        dom.contains("</html>"),
        "{}",
        String::from_utf8_lossy(&said.stderr)
    );
    Some(dom)
}

fn profile(folder: &Path) -> String {
    format!("--user-data-dir={}", folder.join("profile").display())
}

/// The document without its data and its script: what is shown.
fn shown(dom: &str) -> &str {
    dom.split_once("<script").unwrap().0
}

/// A text as a browser writes it in a document.
fn as_text(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
}

#[test]
fn a_browser_shows_hostile_answers_as_text_and_runs_none() {
    let page = hostile_page();
    for (i, answer) in HOSTILE.iter().enumerate() {
        let Some(dom) = dom(&page, &format!("#code::p{i}")) else {
            return;
        };
        let title = dom
            .split_once("<title>")
            .unwrap()
            .1
            .split_once("</title>")
            .unwrap()
            .0;
        assert!(title.starts_with("regression: "), "{i}: {title}");
        assert!(
            dom.split_once("<body")
                .unwrap()
                .1
                .matches("<script")
                .count()
                == 2,
            "{i}: a script was added"
        );
        let shown = shown(&dom);
        // The probe of the address is open, with what both said.
        assert!(
            shown.contains("aria-expanded=\"true\""),
            "{i}: {}",
            shown.len()
        );
        assert!(shown.contains(&format!("the base says {i}")), "{i}");
        for element in [
            "<img",
            "<iframe",
            "<svg on",
            "<style>body",
            "<a href=\"java",
        ] {
            assert!(
                !shown.split_once("<body").unwrap().1.contains(element),
                "{i}: {element}"
            );
        }
        match i {
            4 => {
                for name in ["U+202E", "U+2066", "U+001B", "U+0000", "U+200B", "U+2028"] {
                    assert!(shown.contains(&format!(">{name}</span>")), "{name}");
                }
                let steering = ['\u{202e}', '\u{2066}', '\u{1b}', '\u{200b}', '\u{2028}'];
                assert!(!shown.contains(steering));
            }
            _ => assert!(shown.contains(&as_text(answer)), "{i}: {answer}"),
        }
    }
}

#[test]
fn a_browser_cuts_a_long_answer_and_names_a_silent_one() {
    let page = hostile_page();
    let Some(long) = dom(&page, "#code::p7") else {
        return;
    };
    let long = shown(&long);
    assert!(long.contains("Show all 100,000 characters"));
    assert!(
        !long.contains(&"long ".repeat(1000)),
        "the rest is made when it is asked for"
    );
    let silent = dom(&page, "#code::p8").unwrap();
    assert!(shown(&silent).contains("(silent)"));
    let unknown = dom(&page, "#code::no-such").unwrap();
    assert!(shown(&unknown).contains("There is no probe code::no-such here."));
}

#[test]
fn a_browser_opens_a_probe_whatever_its_link_filters() {
    let page = hostile_page();
    let Some(filtered) = dom(&page, "#show=gained") else {
        return;
    };
    assert!(shown(&filtered).contains("0 probes of 10"));
    let linked = dom(&page, "#code::p9&show=gained").unwrap();
    assert!(shown(&linked).contains("10 probes of 10"));
    assert!(shown(&linked).contains("the base says 9"));
    // Words that changed are marked in both.
    assert!(shown(&linked).contains("<pre dir=\"auto\">plain</pre>"));
}

/// Two candidates, of which the second says the same to everything.
fn two_hostile() -> String {
    let mut comparison = hostile();
    let mut other = comparison.candidates[0].clone();
    other.subject.name = "other".into();
    let cases = other.probes.iter_mut().flat_map(|probe| &mut probe.cases);
    for draw in cases.flat_map(|case| &mut case.samples) {
        draw.candidate = Some("I am Pip.".into());
    }
    comparison.candidates.push(other);
    let parts = PageParts {
        base: PageBase::of(&comparison),
        subjects: PageSubject::all_of(&comparison, |_| String::new()),
        runs: Vec::new(),
        suites: &[],
        notes: Vec::new(),
    };
    html(&page(parts)).unwrap()
}

/// Who is looked at, and why something was lost, can be shared as an address.
#[test]
fn a_browser_takes_candidates_and_a_cause_from_the_address() {
    let page = two_hostile();
    for (address, found) in [
        ("#show=lost&cause=silent", 1),
        ("#show=lost&cause=silent&beside=1", 0),
        ("#show=lost&cause=same&beside=1", 10),
        ("#show=lost&cause=same&beside=0", 0),
        ("#show=lost&cause=contains&beside=0,1", 10),
        // As links of earlier versions name a check, and as a chat writes a link.
        ("#show=lost&check=contains", 10),
        ("#show%3Dlost&cause%3Dsame&beside%3D1", 10),
        // Nobody is there: as it was.
        ("#show=lost&beside=7,x", 10),
    ] {
        let Some(dom) = dom(&page, address) else {
            return;
        };
        let said = format!("{found} probe{} of 10", if found == 1 { "" } else { "s" });
        assert!(shown(&dom).contains(&said), "{address}");
    }
    // A cause that nothing was lost by is shown as what was chosen.
    let none = dom(&page, "#show=lost&cause=same&beside=0").unwrap();
    assert!(shown(&none).contains(">the same answer as to most</option>"));
    let one = dom(&page, "#show=lost&beside=1").unwrap();
    assert!(shown(&one).contains("title=\"other: lost"));
    let names = shown(&one).matches(": lost, ").count();
    assert!(names > 0 && names <= 10, "one candidate a row: {names}");
}
