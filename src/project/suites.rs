//! Which suites a project asks, and which of their probes.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use crate::config::QevalConfig;
use crate::flow::Suite;
use crate::suite::{self, Selection, SuiteErrors, SuiteSource};
use crate::text::all_of;

use super::error::ProjectError;
use super::open::Project;

/// Suites that are named where they are left out.
const NAMED: usize = 6;

impl Project {
    /// The suites that arguments and configuration name, with the probes they select, read once.
    ///
    /// # Errors
    /// No such suite, a wrong one, or a selection that leaves nothing.
    pub fn suites(&self) -> Result<&[Suite], ProjectError> {
        if let Some(suites) = self.loaded_suites.get() {
            return Ok(suites);
        }
        let suites = self.read_suites(suite::load)?;
        let suites = self.selected(&suites)?;
        Ok(self.loaded_suites.get_or_init(|| suites))
    }

    /// Every probe of those suites, whatever is selected: what is not asked today is not gone.
    ///
    /// # Errors
    /// No such suite, or a wrong one.
    pub fn every_suite(&self) -> Result<Vec<Suite>, ProjectError> {
        self.read_suites(suite::load)
    }

    /// The suites and probes that the configuration asks for, whatever the overrides say.
    ///
    /// # Errors
    /// As [`Project::suites`].
    pub(super) fn configured_suites(&self) -> Result<Vec<Suite>, ProjectError> {
        let suites = self.read_suites(suite::load)?;
        Ok(self
            .configured_selection(Selection::default())
            .apply(&suites)?)
    }

    /// As [`Project::suites`], with golden answers that are judged otherwise than they expect.
    ///
    /// # Errors
    /// As [`Project::suites`], but for golden answers.
    pub fn unjudged_suites(&self) -> Result<Vec<Suite>, ProjectError> {
        let suites = self.read_suites(suite::load_unjudged)?;
        self.selected(&suites)
    }

    /// One line on the suites that tags, languages, or a shard leave out whole; `None` where none
    /// is. Suites that cannot be read are told of elsewhere.
    pub fn left_out(&self) -> Option<String> {
        let all = self.read_suites(suite::load_unjudged).ok()?;
        let selection = self.selection();
        let names = selection.leaves_out(&all);
        if names.is_empty() {
            return self.nameless();
        }
        let mut shown: Vec<String> = names.iter().take(NAMED).map(|n| format!("`{n}`")).collect();
        if names.len() > NAMED {
            shown.push(format!("{} more", names.len() - NAMED));
        }
        let asked = Selection {
            patterns: Vec::new(),
            ..selection
        };
        Some(format!(
            "not asked: {}, no probe of which has {}",
            all_of(&shown),
            asked.asked().join(" and ")
        ))
    }

    /// The suites of the sources. Without a configuration there are no names to put in: built-in suites
    /// that ask for one are left out, see [`Project::nameless`].
    pub(super) fn read_suites(&self, load: Load) -> Result<Vec<Suite>, ProjectError> {
        let sources = self.suite_sources()?;
        if self.is_nameless()? {
            let sources: Vec<SuiteSource> = sources
                .into_iter()
                .filter(|source| !asks_for_names(source))
                .collect();
            return Ok(load(&sources, &stand_in("Aurora"))?);
        }
        Ok(load(&sources, &self.config.vars)?)
    }

    /// Whether the built-in suites are asked because nothing is configured or named.
    fn is_nameless(&self) -> Result<bool, ProjectError> {
        let own = &self.config.gate.suites;
        Ok(!self.has_file
            && self.overrides.suites.is_empty()
            && self.config.vars.is_empty()
            && *own == QevalConfig::default().gate.suites
            && self.found(&self.config.resolve(&own[0]))?.is_none())
    }

    /// Suite files at a path: of the exam's revision, else on disk; `None` where nothing is there.
    fn found(&self, path: &Path) -> Result<Option<Vec<SuiteSource>>, ProjectError> {
        match &self.exam {
            Some(exam) => Ok(exam.suites(path)?),
            None => Ok(path.exists().then(|| suite::read(&[path.to_owned()]))),
        }
    }

    /// One line on the built-in suites that are left out because nothing gives them a name.
    fn nameless(&self) -> Option<String> {
        if !self.is_nameless().ok()? {
            return None;
        }
        let sources = self.suite_sources().ok()?;
        let names: Vec<String> = sources
            .iter()
            .filter(|source| asks_for_names(source))
            .map(|source| {
                format!(
                    "`{}`",
                    stem(source.name.rsplit('/').next().unwrap_or_default())
                )
            })
            .collect();
        (!names.is_empty()).then(|| {
            format!(
                "not asked: {}, which need names under [vars] in qeval.toml (`qeval init` writes one)",
                all_of(&names)
            )
        })
    }

    fn suite_sources(&self) -> Result<Vec<SuiteSource>, ProjectError> {
        let (config, overrides) = (&self.config, &self.overrides);
        let mut sources = Vec::new();
        let named = if overrides.suites.is_empty() {
            &config.gate.suites
        } else {
            &overrides.suites
        };
        for name in named {
            let path = if overrides.suites.is_empty() {
                config.resolve(name)
            } else {
                PathBuf::from(name)
            };
            let builtin = suite::builtin()
                .iter()
                .find(|(known, _)| stem(known) == stem(name));
            if let Some(found) = self.found(&path)? {
                sources.extend(found);
            } else if let Some((name, text)) = builtin {
                sources.push(SuiteSource::built_in(name, text));
            } else if *named == QevalConfig::default().gate.suites {
                sources.extend(
                    suite::builtin()
                        .iter()
                        .map(|(name, text)| SuiteSource::built_in(name, text)),
                );
            } else {
                let known = suite::builtin()
                    .iter()
                    .map(|(name, _)| stem(name))
                    .collect::<Vec<_>>()
                    .join(", ");
                let name = name.clone();
                let path = match &self.exam {
                    Some(exam) => exam.name_of(&path).into(),
                    None => path,
                };
                let error = ProjectError::NoSuite { name, path, known };
                return Err(match overrides.suites.is_empty() {
                    true => self.named_by("gate", "suites", error),
                    false => error,
                });
            }
        }
        Ok(sources)
    }

    /// The probes that the overrides ask for, else the configuration.
    ///
    /// # Errors
    /// A selection that selects nothing.
    pub fn selected(&self, suites: &[Suite]) -> Result<Vec<Suite>, ProjectError> {
        Ok(self.selection().apply(suites)?)
    }

    /// What is asked for and what is configured, together.
    fn selection(&self) -> Selection {
        self.configured_selection(self.asked_probes())
    }

    /// A selection with what the configuration adds to it.
    fn configured_selection(&self, mut selection: Selection) -> Selection {
        let gate = &self.config.gate;
        if selection.tags.is_empty() {
            selection.tags.extend(
                [&gate.tags, &gate.languages]
                    .into_iter()
                    .filter(|t| !t.is_empty())
                    .map(|t| t.join(",")),
            );
        }
        selection.prompts = selection.prompts.or(gate.prompts_per_probe);
        selection
    }

    /// The probes that the overrides ask for, whatever is configured.
    pub(super) fn asked_probes(&self) -> Selection {
        let overrides = &self.overrides;
        Selection {
            patterns: overrides.probes.clone(),
            tags: overrides.tags.clone(),
            prompts: overrides.prompts,
            shard: overrides.shard,
        }
    }
}

/// How suites are read of their sources.
pub(super) type Load =
    fn(&[SuiteSource], &BTreeMap<String, String>) -> Result<Vec<Suite>, SuiteErrors>;

/// Values for the names that built-in suites put into golden answers, where nobody gave any.
fn stand_in(name: &str) -> BTreeMap<String, String> {
    let values = [
        ("name", name.to_owned()),
        ("author", format!("{name} Labs")),
    ];
    values.map(|(key, value)| (key.to_owned(), value)).into()
}

/// Whether what a suite asks, or how it judges, depends on a name: golden answers test the checks
/// alone and are no part of its digest.
fn asks_for_names(source: &SuiteSource) -> bool {
    let digests = ["Aurora", "Borealis"].map(|name| {
        let suites = suite::load_unjudged(std::slice::from_ref(source), &stand_in(name));
        suites.ok().map(|suites| suites[0].digest.clone())
    });
    digests[0] != digests[1]
}

/// A suite's name without the ending of its file.
fn stem(name: &str) -> &str {
    name.strip_suffix(".toml").unwrap_or(name)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::project::Overrides;
    use crate::project::testing::Small;

    const SMALL: &str = "[gate]\nsuites = [\"small.toml\"]\n";

    /// The probes that are asked, with their number of wordings.
    fn asked(project: &Project) -> Vec<String> {
        let suites = project.suites().unwrap();
        let probes = suites.iter().flat_map(|s| &s.probes);
        probes
            .map(|p| format!("{} {}", p.id, p.prompts.len()))
            .collect()
    }

    fn with(small: &Small, overrides: Overrides) -> Vec<String> {
        asked(&small.open_with(overrides).unwrap())
    }

    #[test]
    fn a_suite_that_is_nowhere_is_told_with_those_there_are() {
        let small = Small::new("[gate]\nsuites = [\"smal\"]\n");
        let error = small.open().suites().unwrap_err().to_string();
        let error = error.replace(&small.path("").display().to_string(), "[project]/");
        let (said, known) = error.split_once("are ").unwrap();
        assert_eq!(
            said,
            "no suite \"smal\": it is no file or folder ([project]/smal), and the built-in suites "
        );
        for (name, _) in suite::builtin() {
            assert!(known.contains(stem(name)), "{name} in {known}");
        }
    }

    #[test]
    fn suites_are_files_beside_the_settings_else_built_in_ones() {
        assert_eq!(asked(&Small::new(SMALL).open()), ["sum 2", "who 1"]);
        let named = |name: &str| {
            let small = Small::new(&format!(
                "[vars]\nname = \"Aurora\"\nauthor = \"Labs\"\n[gate]\nsuites = [\"{name}\"]\n"
            ));
            let project = small.open();
            project
                .suites()
                .unwrap()
                .iter()
                .map(|s| s.name.clone())
                .collect::<Vec<_>>()
        };
        let (first, _) = suite::builtin()[0];
        assert_eq!(named(stem(first)).len(), 1);
        assert_eq!(named(first), named(stem(first)));
        // A new project has no folder `suites` yet.
        assert_eq!(named("suites").len(), suite::builtin().len());
    }

    #[test]
    fn suites_that_are_named_stand_for_the_configured_ones() {
        let small = Small::new("[gate]\nsuites = [\"nowhere\"]\n");
        let named = Overrides {
            suites: vec![small.path("small.toml").display().to_string()],
            ..Overrides::default()
        };
        assert_eq!(with(&small, named), ["sum 2", "who 1"]);
    }

    #[test]
    fn configured_tags_and_languages_both_have_to_fit() {
        let fit = |tags: &str| asked(&Small::new(&format!("{SMALL}{tags}")).open());
        assert_eq!(
            fit("tags = [\"math\", \"zh\"]\n"),
            ["sum 2", "who 1"],
            "either"
        );
        assert_eq!(fit("languages = [\"zh\"]\n"), ["who 1"]);
        assert_eq!(fit("tags = [\"math\"]\nlanguages = [\"en\"]\n"), ["sum 2"]);
        let none = Small::new(&format!("{SMALL}tags = [\"math\"]\nlanguages = [\"zh\"]\n"));
        assert!(matches!(none.open().suites(), Err(ProjectError::Select(_))));
    }

    #[test]
    fn what_is_asked_for_replaces_what_is_configured() {
        let small = Small::new(&format!(
            "{SMALL}languages = [\"zh\"]\nprompts_per_probe = 1\n"
        ));
        assert_eq!(asked(&small.open()), ["who 1"]);
        let tags = Overrides {
            tags: vec!["math".into()],
            ..Overrides::default()
        };
        assert_eq!(with(&small, tags), ["sum 1"]);
        let prompts = Overrides {
            tags: vec!["math".into()],
            prompts: Some(2),
            ..Overrides::default()
        };
        assert_eq!(with(&small, prompts), ["sum 2"]);
        let probes = Overrides {
            probes: vec!["small::sum".into()],
            ..Overrides::default()
        };
        let both = small.open_with(probes).unwrap();
        assert!(
            matches!(both.suites(), Err(ProjectError::Select(_))),
            "a pattern frees no language"
        );
    }

    /// Only whoever tests golden answers wants suites in which one is judged otherwise.
    #[test]
    fn a_golden_answer_that_fails_stops_all_but_its_test() {
        let small = Small::new(SMALL);
        let golden = "[[probe.golden]]\nanswer = \"I am Pip.\"\nexpect = \"pass\"\n";
        small.write(
            "small.toml",
            &format!("{}{golden}", crate::project::testing::SUITE),
        );
        let project = small.open();
        assert!(matches!(project.suites(), Err(ProjectError::Suites(_))));
        assert_eq!(project.unjudged_suites().unwrap()[0].probes.len(), 2);
    }
}
