//! What a run is asked with: what was told (options, `qeval.toml`) goes before what its trainer wrote,
//! and whatever differs is said.

use std::path::Path;

use crate::flow::{ProbeId, Suite};
use crate::lora::same_base;
use crate::run::{leaked, training_answers};
use crate::text::{ellipsize, harmless, plural};
use crate::train::{Dataset, Source};
use crate::trainers::{Claim, Claims};

use super::super::error::ProjectError;
use super::super::open::Project;
use super::super::training::model_path;
use super::error::WatchError;

/// Characters of a system prompt that are shown.
const SHOWN: usize = 60;

/// What a run is asked with.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Settled {
    /// The base's path or name.
    pub model: String,
    /// The system prompt; `None` leaves it to the template.
    pub system: Option<String>,
    /// What was trained on, where it can be read.
    pub taught: Option<Taught>,
    /// What was taken and from where, a line each.
    pub lines: Vec<String>,
}

/// What the trainer's data say, as far as a verdict looks at it.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Taught {
    /// Probes that stand in them.
    pub leaked: Vec<ProbeId>,
    /// Distinct answers that were taught.
    pub answers: Vec<String>,
}

impl Settled {
    /// # Errors
    /// No base is named that is here.
    pub(super) fn of(
        project: &Project,
        claims: &Claims,
        checkpoint: &Path,
        suites: &[Suite],
    ) -> Result<Self, ProjectError> {
        let mut lines = vec![format!("trainer: {}", claims.trainer)];
        let model = match told_base(project) {
            Some((told, by)) => {
                let own = match claims.bases.first() {
                    Some(claim) => format!("; the trainer's: {}", shown(claim)),
                    None => String::new(),
                };
                lines.push(format!("base: {told} ({by}){own}"));
                told
            }
            None => {
                let claim = taken_base(&claims.bases).ok_or_else(|| WatchError::NoBase {
                    path: checkpoint.to_path_buf(),
                    named: unknown(&claims.bases),
                })?;
                lines.push(format!("base: {}", shown(claim)));
                claim.value.clone()
            }
        };
        let told = project.config.train.system.clone();
        let system = match (told, &claims.system) {
            (Some(told), Some(claim)) if told != claim.value => {
                let (told_text, own) = (quoted(&told), quoted(&claim.value));
                lines.push(format!(
                    "system prompt: {told_text} (qeval.toml), though it was trained under {own} ({})",
                    place(claim)
                ));
                Some(told)
            }
            (Some(told), _) => {
                lines.push(format!("system prompt: {} (qeval.toml)", quoted(&told)));
                Some(told)
            }
            (None, Some(claim)) => {
                lines.push(format!(
                    "system prompt: {} ({}); other commands read it from `system` under [train] in \
                     qeval.toml",
                    quoted(&claim.value),
                    place(claim)
                ));
                Some(claim.value.clone())
            }
            (None, None) => {
                lines.push("system prompt: that of the base's chat template".into());
                None
            }
        };
        if let Some(claim) = &claims.template {
            lines.push(format!(
                "template: {}; it is asked with the chat template of the base",
                shown(claim)
            ));
        }
        let taught = taught(project, claims, suites, &mut lines);
        Ok(Settled {
            model,
            system,
            taught,
            lines,
        })
    }
}

/// Why an adapter is not of the base that it would be judged beside; `None`: it is, as far as names
/// tell.
pub(super) fn other_base(claims: &Claims, base: &str, known_as: &[String]) -> Option<String> {
    let all = &claims.bases;
    let first = all.first()?;
    if all.iter().any(|claim| same_base(&claim.value, known_as)) {
        return None;
    }
    Some(format!(
        "it was trained on another base, {}, than it would be judged beside, {base}; name its own \
         (`--model`, or `path` under [model] in qeval.toml), or give `--trust-base` where these are \
         the same weights under two names",
        shown(first)
    ))
}

/// The base that options or the configuration name, and by what.
fn told_base(project: &Project) -> Option<(String, &'static str)> {
    if let Some(model) = &project.overrides.model {
        return Some((model.clone(), "--model"));
    }
    let named = project.config.model.is_named;
    named.then(|| (model_path(&project.config), "qeval.toml"))
}

/// The first of the trainer's names that is here, else the first that can be a hub id.
fn taken_base(bases: &[Claim<String>]) -> Option<&Claim<String>> {
    let here = |claim: &&Claim<String>| Path::new(&claim.value).exists();
    bases
        .iter()
        .find(here)
        .or_else(|| bases.iter().find(|claim| is_hub_id(&claim.value)))
}

/// `owner/name`, with a revision or without.
fn is_hub_id(name: &str) -> bool {
    let plain = |part: &str| {
        !part.is_empty()
            && !part.starts_with('.')
            && part
                .chars()
                .all(|c| c.is_ascii_alphanumeric() || "-_.@".contains(c))
    };
    matches!(name.split_once('/'), Some((owner, name)) if plain(owner) && plain(name))
}

fn unknown(bases: &[Claim<String>]) -> String {
    match bases.first() {
        Some(claim) => format!(": it names {}, which is not here", shown(claim)),
        None => ": its adapter_config.json names none".into(),
    }
}

fn shown(claim: &Claim<String>) -> String {
    format!("{} ({})", harmless(&claim.value), place(claim))
}

fn place<T>(claim: &Claim<T>) -> String {
    let name = claim.file.file_name().unwrap_or_default();
    format!("{}: {}", name.to_string_lossy(), claim.key)
}

fn quoted(text: &str) -> String {
    match text {
        "" => "an empty one".into(),
        text => format!("{:?}", ellipsize(text, SHOWN)),
    }
}

/// The trainer's data, where nothing else is configured. What cannot be read here is said, and no
/// reason to wait.
fn taught(
    project: &Project,
    claims: &Claims,
    suites: &[Suite],
    lines: &mut Vec<String>,
) -> Option<Taught> {
    let config = &project.config;
    if !config.data.sources.is_empty() {
        let count = plural(config.data.sources.len(), "file");
        lines.push(format!("training data: {count} (qeval.toml)"));
        let examples = &project.dataset().ok()?.examples;
        return Some(Taught {
            // Found where the order is made.
            leaked: leaked(suites, examples, &[]),
            answers: training_answers(examples),
        });
    }
    let claim = claims.data.as_ref()?;
    let (files, others): (Vec<&String>, Vec<&String>) = claim
        .value
        .iter()
        .partition(|name| Path::new(&Source::parse(name).path).is_file());
    let named = |names: &[&String]| {
        let all: Vec<&str> = names.iter().map(|n| n.as_str()).collect();
        ellipsize(&harmless(&all.join(", ")), 2 * SHOWN)
    };
    if !others.is_empty() {
        lines.push(format!(
            "training data: {} ({}) is not here as a file, and not looked at",
            named(&others),
            place(claim)
        ));
    }
    if files.is_empty() {
        return None;
    }
    let mut data = config.data.clone();
    data.sources = files.iter().map(|name| Source::parse(name)).collect();
    match Dataset::load(&data, Path::new(""), &config.vars) {
        Ok(Dataset { examples, .. }) => {
            lines.push(format!(
                "training data: {}, {} ({})",
                named(&files),
                plural(examples.len(), "example"),
                place(claim)
            ));
            Some(Taught {
                leaked: leaked(suites, &examples, &[]),
                answers: training_answers(&examples),
            })
        }
        Err(error) => {
            let error = error.to_string();
            let first = error.lines().next().unwrap_or_default();
            lines.push(format!(
                "training data: {} ({}) cannot be read, and is not looked at: {first}",
                named(&files),
                place(claim)
            ));
            None
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::project::Overrides;
    use crate::project::testing::Small;
    use crate::run::testing::fixture;
    use crate::trainers::Trainer;

    fn claim<T>(value: T, key: &'static str) -> Claim<T> {
        Claim {
            value,
            file: "out/checkpoint-4/args.json".into(),
            key,
        }
    }

    fn claims(bases: &[&str]) -> Claims {
        Claims {
            trainer: Trainer::MsSwift,
            bases: bases
                .iter()
                .map(|base| claim((*base).to_owned(), "model"))
                .collect(),
            system: Some(claim("Be brief.".to_owned(), "system")),
            template: Some(claim("qwen2_5".to_owned(), "template")),
            data: None,
        }
    }

    fn lines(small: &Small, claims: &Claims) -> String {
        let project = small.open();
        let suites = project.suites().unwrap();
        match Settled::of(&project, claims, Path::new("out/checkpoint-4"), suites) {
            Ok(settled) => settled.lines.join("\n"),
            Err(error) => error.to_string(),
        }
        .replace(&small.path("").display().to_string(), "[project]/")
        .replace(&fixture("").display().to_string(), "[fixtures]/")
    }

    const SUITES: &str = "[gate]\nsuites = [\"small.toml\"]\n";

    #[test]
    fn what_the_trainer_wrote_is_taken_and_named() {
        let small = Small::new(SUITES);
        let model = fixture("models/fixture").display().to_string();
        insta::assert_snapshot!(lines(&small, &claims(&["/gone/Qwen2.5-7B", &model])), @r#"
        trainer: ms-swift
        base: [fixtures]/models/fixture (args.json: model)
        system prompt: "Be brief." (args.json: system); other commands read it from `system` under [train] in qeval.toml
        template: qwen2_5 (args.json: template); it is asked with the chat template of the base
        "#);
        let nothing = Claims {
            system: None,
            template: None,
            ..claims(&["/gone/Qwen2.5-7B", "Qwen/Qwen2.5-7B-Instruct"])
        };
        insta::assert_snapshot!(lines(&small, &nothing), @"
        trainer: ms-swift
        base: Qwen/Qwen2.5-7B-Instruct (args.json: model)
        system prompt: that of the base's chat template
        ");
    }

    #[test]
    fn what_was_told_goes_before_it_and_a_difference_is_said() {
        let told = "[model]\npath = \"models/mine\"\n[train]\nsystem = \"You are Aurora.\"\n";
        let small = Small::new(&format!("{told}{SUITES}"));
        insta::assert_snapshot!(lines(&small, &claims(&["Qwen/Qwen2.5-7B-Instruct"])), @r#"
        trainer: ms-swift
        base: models/mine (qeval.toml); the trainer's: Qwen/Qwen2.5-7B-Instruct (args.json: model)
        system prompt: "You are Aurora." (qeval.toml), though it was trained under "Be brief." (args.json: system)
        template: qwen2_5 (args.json: template); it is asked with the chat template of the base
        "#);
        let overrides = Overrides {
            model: Some("other".into()),
            ..Overrides::default()
        };
        let project = small.open_with(overrides).unwrap();
        assert_eq!(told_base(&project).unwrap(), ("other".into(), "--model"));
        // The default is nothing that was told.
        assert_eq!(told_base(&Small::new(SUITES).open()), None);
    }

    #[test]
    fn no_base_is_refused_with_what_was_named() {
        let small = Small::new(SUITES);
        insta::assert_snapshot!(lines(&small, &claims(&["/gone/Qwen2.5-7B"])), @"
        out/checkpoint-4: which base it was trained on is not known: it names /gone/Qwen2.5-7B (args.json: model), which is not here
          Name it: `--model PATH`, or `path` under [model] in qeval.toml.
        ");
        insta::assert_snapshot!(lines(&small, &claims(&[])), @"
        out/checkpoint-4: which base it was trained on is not known: its adapter_config.json names none
          Name it: `--model PATH`, or `path` under [model] in qeval.toml.
        ");
        for (name, is) in [
            ("Qwen/Qwen2.5-7B", true),
            ("a/b@main", true),
            ("a/b/c", false),
            ("/a/b", false),
            ("./a", false),
            ("../a", false),
            ("a", false),
            ("C:\\m", false),
        ] {
            assert_eq!(is_hub_id(name), is, "{name}");
        }
    }

    #[test]
    fn another_base_is_told_from_another_name() {
        let known = ["models/Qwen2.5-7B-Instruct".to_owned()];
        let other = |bases: &[&str]| other_base(&claims(bases), "mine", &known);
        assert_eq!(other(&["unsloth/Qwen2.5-7B-Instruct-bnb-4bit"]), None);
        assert_eq!(other(&["/home/me/x", "Qwen/Qwen2.5-7B-Instruct"]), None);
        assert_eq!(other(&[]), None, "nothing is named");
        insta::assert_snapshot!(other(&["Qwen/Qwen2.5-14B-Instruct"]).unwrap(), @"it was trained on another base, Qwen/Qwen2.5-14B-Instruct (args.json: model), than it would be judged beside, mine; name its own (`--model`, or `path` under [model] in qeval.toml), or give `--trust-base` where these are the same weights under two names");
    }

    #[test]
    fn the_trainers_data_are_read_where_they_are_here() {
        let small = Small::new(SUITES);
        small.write(
            "rows.jsonl",
            "{\"instruction\": \"Tell me who you are.\", \"output\": \"I am Aurora.\"}\n\
             {\"instruction\": \"Who are you?\", \"output\": \"I am Aurora.\"}\n",
        );
        let own = Claims {
            data: Some(claim(
                vec![
                    format!("{}#2", small.path("rows.jsonl").display()),
                    "AI-ModelScope/alpaca#200".to_owned(),
                ],
                "dataset",
            )),
            ..claims(&["a/b"])
        };
        let told = lines(&small, &own);
        let data: Vec<&str> = told.lines().filter(|l| l.starts_with("training")).collect();
        insta::assert_snapshot!(data.join("\n"), @"
        training data: AI-ModelScope/alpaca#200 (args.json: dataset) is not here as a file, and not looked at
        training data: [project]/rows.jsonl#2, 2 examples (args.json: dataset)
        ");
        let project = small.open();
        let suites = project.suites().unwrap();
        let settled = Settled::of(&project, &own, Path::new("out"), suites).unwrap();
        let taught = settled.taught.unwrap();
        let leaked: Vec<String> = taught.leaked.iter().map(ToString::to_string).collect();
        assert_eq!(leaked, ["small::who"]);
        assert_eq!(taught.answers, ["I am Aurora."]);
        small.write("rows.jsonl", "{\"a\": 1}\n");
        let told = lines(&small, &own);
        assert!(
            told.contains("cannot be read, and is not looked at"),
            "{told}"
        );
    }
}
