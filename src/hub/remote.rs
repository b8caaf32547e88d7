//! Files of the Hugging Face hub, through `hf-hub` and its cache.
//!
//! `hf-hub` sets no timeouts, so that a machine behind a silent firewall would wait for minutes:
//! the host is tried first, with a short timeout, and a download that stands still is given up.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::time::Duration;

use hf_hub::api::Progress;
use hf_hub::api::sync::{Api, ApiBuilder};
use hf_hub::{Cache, Repo, RepoType};
use serde::Deserialize;

use crate::text::ellipsize;

use super::reach::{proxy, reach};
use super::{HubError, OnBytes};

/// Longest time without a byte.
const STALL: Duration = Duration::from_secs(60);
/// What a folder may have beside its weights; absent ones are no problem.
const OPTIONAL: [&str; 6] = [
    "tokenizer_config.json",
    "chat_template.jinja",
    "generation_config.json",
    "special_tokens_map.json",
    "added_tokens.json",
    "README.md",
];
const WEIGHTS: &str = "model.safetensors";
const INDEX: &str = "model.safetensors.index.json";

/// The hub, as far as the environment lets us reach it.
#[derive(Debug, Clone)]
pub(super) struct Remote {
    cache: Cache,
    offline: bool,
    /// In place of `HF_ENDPOINT` and the hub's own address.
    endpoint: Option<String>,
}

/// What the hub says of a repository.
#[derive(Debug, Deserialize)]
struct Listing {
    sha: String,
    siblings: Vec<ListedFile>,
}

#[derive(Debug, Deserialize)]
struct ListedFile {
    rfilename: String,
    #[serde(default)]
    size: Option<u64>,
}

/// The part of a sharded model's index that names its files.
#[derive(Deserialize)]
struct Index {
    weight_map: BTreeMap<String, String>,
}

impl Remote {
    /// As `HF_HOME`, `HF_HUB_CACHE`, and `HF_HUB_OFFLINE` say.
    pub fn from_env() -> Self {
        let cache = match std::env::var_os("HF_HUB_CACHE").filter(|v| !v.is_empty()) {
            Some(folder) => Cache::new(folder.into()),
            None => Cache::from_env(),
        };
        let offline = std::env::var("HF_HUB_OFFLINE").is_ok_and(|value| {
            ["1", "ON", "YES", "TRUE"].contains(&value.trim().to_uppercase().as_str())
        });
        Remote {
            cache,
            offline,
            endpoint: None,
        }
    }

    /// Only what is in this cache folder.
    #[cfg(test)]
    pub fn offline(cache: PathBuf) -> Self {
        Remote {
            cache: Cache::new(cache),
            offline: true,
            endpoint: None,
        }
    }

    /// Another hub.
    #[cfg(test)]
    pub fn at(cache: PathBuf, endpoint: String) -> Self {
        Remote {
            cache: Cache::new(cache),
            offline: false,
            endpoint: Some(endpoint),
        }
    }

    /// Whether the network is not to be used.
    pub fn is_offline(&self) -> bool {
        self.offline
    }

    /// The folder in the hub's cache that has all these files.
    pub fn cached(&self, id: &str, revision: &str, names: &[&str]) -> Option<PathBuf> {
        let repo = repo(id, revision);
        let commit = self.commit(id, revision)?;
        let folder = self.cache.repo(repo).pointer_path(&commit);
        names
            .iter()
            .all(|name| folder.join(name).exists())
            .then_some(folder)
    }

    /// Fetches some files, and returns their folder.
    ///
    /// # Errors
    /// One line on what went wrong.
    pub fn files(
        &self,
        id: &str,
        revision: &str,
        names: &[&str],
        progress: OnBytes<'_>,
    ) -> Result<PathBuf, String> {
        let (api, listing) = self.list(id, revision)?;
        let names: Vec<String> = names.iter().map(|&n| n.to_owned()).collect();
        let folder = self.download(&api, id, &listing, &names, 0, progress)?;
        self.note_commit(id, revision, &listing.sha);
        Ok(folder)
    }

    /// The folder of a model: configuration, tokenizer, template, and safetensors, from the hub's
    /// cache if it is complete there.
    ///
    /// # Errors
    /// The repository cannot be reached, or has no such model.
    pub fn model(
        &self,
        id: &str,
        revision: &str,
        progress: OnBytes<'_>,
    ) -> Result<PathBuf, HubError> {
        if let Some(folder) = self.cached(id, revision, &["config.json", "tokenizer.json"])
            && has_weights(&folder)
        {
            return Ok(folder);
        }
        self.fetch_model(id, revision, progress)
            .map_err(|problem| HubError::Repository {
                id: id.to_owned(),
                revision: revision.to_owned(),
                problem,
            })
    }

    fn fetch_model(
        &self,
        id: &str,
        revision: &str,
        progress: OnBytes<'_>,
    ) -> Result<PathBuf, String> {
        let (api, listing) = self.list(id, revision)?;
        let has = |name: &str| listing.siblings.iter().any(|f| f.rfilename == name);
        let weights = if has(WEIGHTS) { WEIGHTS } else { INDEX };
        check_listing(&listing)?;
        // Weights last: a folder that has them is complete.
        let mut names: Vec<String> = OPTIONAL
            .iter()
            .filter(|n| has(n))
            .map(|&n| n.to_owned())
            .collect();
        names.extend(["config.json", "tokenizer.json", weights].map(str::to_owned));
        let mut folder = self.download(&api, id, &listing, &names, 0, progress)?;
        if weights == INDEX {
            let shards = shards(&folder.join(INDEX)).ok_or(format!("{INDEX} cannot be read"))?;
            let done = listing.bytes(&names).unwrap_or(0);
            folder = self.download(&api, id, &listing, &shards, done, progress)?;
        }
        self.note_commit(id, revision, &listing.sha);
        Ok(folder)
    }

    /// What the repository has at a revision. Everything is then fetched from that one commit.
    fn list(&self, id: &str, revision: &str) -> Result<(Api, Listing), String> {
        if self.offline {
            return Err("it is not in the hub's cache, and HF_HUB_OFFLINE is set".into());
        }
        let mut builder = ApiBuilder::from_env()
            .with_cache_dir(self.cache.path().clone())
            .with_progress(false)
            .with_retries(2);
        if let Some(endpoint) = &self.endpoint {
            builder = builder.with_endpoint(endpoint.clone());
        }
        let api = builder.build().map_err(|e| e.to_string())?;
        let repository = api.repo(repo(id, revision));
        reach(&proxy().unwrap_or_else(|| repository.url("config.json")))?;
        let (tell, told) = channel();
        std::thread::spawn(move || {
            let listing = repository.info_request().query("blobs", "true").call();
            let listing = listing.map_err(|e| e.to_string()).and_then(|mut response| {
                response
                    .body_mut()
                    .read_json::<Listing>()
                    .map_err(|e| e.to_string())
            });
            // Nobody listens any more when the time is up.
            let _ = tell.send(listing);
        });
        match told.recv_timeout(STALL) {
            Ok(Ok(listing)) => Ok((api, listing)),
            Ok(Err(problem)) => Err(explained(&problem)),
            Err(_) => Err(format!("no answer within {} s", STALL.as_secs())),
        }
    }

    fn download(
        &self,
        api: &Api,
        id: &str,
        listing: &Listing,
        names: &[String],
        before: u64,
        progress: OnBytes<'_>,
    ) -> Result<PathBuf, String> {
        let total = listing.bytes(names).map(|bytes| bytes + before);
        let repository = api.repo(repo(id, &listing.sha));
        let snapshot = self
            .cache
            .repo(repo(id, &listing.sha))
            .pointer_path(&listing.sha);
        let (tell, told) = channel();
        let wanted = names.to_vec();
        std::thread::spawn(move || {
            for name in &wanted {
                let path = snapshot.join(name);
                let file = match std::fs::metadata(&path) {
                    Ok(here) => {
                        let _ = tell.send(Told::Bytes(here.len()));
                        Ok(path)
                    }
                    Err(_) => repository
                        .download_with_progress(name, Meter(tell.clone()))
                        .map_err(|error| format!("{name}: {error}")),
                };
                // Nobody listens any more when the download was given up.
                if tell.send(Told::File(file)).is_err() {
                    return;
                }
            }
        });
        let folder = listen(&told, names.len(), before, total, progress)?;
        folder.ok_or_else(|| "nothing to download".to_owned())
    }

    /// The commit that a branch or tag was when it was last fetched. A commit is itself.
    fn commit(&self, id: &str, revision: &str) -> Option<String> {
        let repo = repo(id, revision);
        let folder = self.cache.path().join(repo.folder_name());
        let noted = std::fs::read_to_string(folder.join("refs").join(revision));
        let commit = noted.map_or(revision.to_owned(), |text| text.trim().to_owned());
        folder
            .join("snapshots")
            .join(&commit)
            .is_dir()
            .then_some(commit)
    }

    /// A cache that cannot be written was complete without this note.
    fn note_commit(&self, id: &str, revision: &str, commit: &str) {
        let _ = self.cache.repo(repo(id, revision)).create_ref(commit);
    }
}

fn repo(id: &str, revision: &str) -> Repo {
    Repo::with_revision(id.to_owned(), RepoType::Model, revision.to_owned())
}

impl Listing {
    /// Bytes of some files together, if the hub gave all of their sizes.
    fn bytes(&self, names: &[String]) -> Option<u64> {
        let size = |name: &String| self.siblings.iter().find(|f| f.rfilename == *name)?.size;
        names.iter().map(size).sum()
    }
}

/// Whether a repository has a model that can be loaded; if not, what it has instead.
fn check_listing(listing: &Listing) -> Result<(), String> {
    let has = |name: &str| listing.siblings.iter().any(|f| f.rfilename == name);
    let ending = |end: &str| -> Vec<&str> {
        let names = listing.siblings.iter().map(|f| f.rfilename.as_str());
        names.filter(|n| n.ends_with(end)).collect()
    };
    let gguf = ending(".gguf");
    if !has("config.json") || !(has(WEIGHTS) || has(INDEX)) {
        return Err(if has("adapter_config.json") {
            "it is an adapter; give its base model".into()
        } else if !gguf.is_empty() {
            format!(
                "it has GGUF files and no safetensors; download one of them and give its path: {}",
                ellipsize(&gguf.join(", "), 200)
            )
        } else {
            format!("it has no config.json with {WEIGHTS}; only safetensors can be loaded")
        });
    }
    match has("tokenizer.json") {
        true => Ok(()),
        false => Err(
            "it has no tokenizer.json; save its tokenizer with transformers' fast \
                      tokenizers and give the folder"
                .into(),
        ),
    }
}

fn has_weights(folder: &Path) -> bool {
    folder.join(WEIGHTS).exists()
        || shards(&folder.join(INDEX))
            .is_some_and(|names| names.iter().all(|name| folder.join(name).exists()))
}

/// The files that an index names. `None`: no index, or one with names that leave the folder.
fn shards(index: &Path) -> Option<Vec<String>> {
    let index: Index = serde_json::from_slice(&std::fs::read(index).ok()?).ok()?;
    let names: BTreeSet<String> = index.weight_map.into_values().collect();
    let plain = |n: &String| !n.is_empty() && !n.contains(['/', '\\']) && !n.starts_with('.');
    (!names.is_empty() && names.iter().all(plain)).then(|| names.into_iter().collect())
}

/// What a download's thread says.
enum Told {
    Bytes(u64),
    File(Result<PathBuf, String>),
}

/// Passes on the bytes of one file.
struct Meter(Sender<Told>);

impl Progress for Meter {
    fn init(&mut self, _size: usize, _filename: &str) {}

    fn update(&mut self, size: usize) {
        // The listener is gone when the download was given up.
        let _ = self.0.send(Told::Bytes(size as u64));
    }

    fn finish(&mut self) {}
}

/// Follows a download of `files` files to its end, and returns the folder of the last one.
fn listen(
    told: &Receiver<Told>,
    files: usize,
    before: u64,
    total: Option<u64>,
    progress: OnBytes<'_>,
) -> Result<Option<PathBuf>, String> {
    let (mut done, mut finished, mut folder) = (before, 0, None);
    while finished < files {
        match told.recv_timeout(STALL) {
            Ok(Told::Bytes(more)) => {
                done += more;
                progress(done, total);
            }
            Ok(Told::File(Ok(path))) => {
                finished += 1;
                folder = path.parent().map(Path::to_owned);
            }
            Ok(Told::File(Err(problem))) => return Err(explained(&problem)),
            Err(RecvTimeoutError::Timeout) => {
                return Err(format!(
                    "no byte came for {} s; start again, what was fetched is kept",
                    STALL.as_secs()
                ));
            }
            Err(RecvTimeoutError::Disconnected) => {
                return Err("the download ended without a word; start again".into());
            }
        }
    }
    Ok(folder)
}

/// The hub's refusals in words.
fn explained(problem: &str) -> String {
    let why = if problem.contains("401") || problem.contains("403") {
        "; it does not exist, or it is private or gated: accept its terms on the hub and log in \
         with `hf auth login`"
    } else if problem.contains("404") {
        "; there is no such repository or revision"
    } else {
        ""
    };
    format!("{}{why}", ellipsize(problem, 300))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hub::testing::local_hub;

    fn listing(names: &[&str]) -> Listing {
        let file = |name: &&str| ListedFile {
            rfilename: (*name).to_owned(),
            size: Some(10),
        };
        Listing {
            sha: "abc".into(),
            siblings: names.iter().map(file).collect(),
        }
    }

    #[test]
    fn what_a_repository_lacks_is_told_with_what_it_has() {
        let table: [&[&str]; 5] = [
            &["model-Q4.gguf", "model-Q8.gguf", "README.md"],
            &["adapter_config.json", "adapter_model.safetensors"],
            &["config.json", "pytorch_model.bin", "tokenizer.json"],
            &["config.json", "model.safetensors"],
            &[
                "config.json",
                "tokenizer.json",
                "model.safetensors.index.json",
            ],
        ];
        let texts = table.map(|names| format!("{:?}", check_listing(&listing(names))));
        insta::assert_snapshot!(texts.join("\n"), @r#"
        Err("it has GGUF files and no safetensors; download one of them and give its path: model-Q4.gguf, model-Q8.gguf")
        Err("it is an adapter; give its base model")
        Err("it has no config.json with model.safetensors; only safetensors can be loaded")
        Err("it has no tokenizer.json; save its tokenizer with transformers' fast tokenizers and give the folder")
        Ok(())
        "#);
    }

    #[test]
    fn shards_never_leave_the_folder() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(INDEX);
        let read = |text: &str| {
            std::fs::write(&path, text).unwrap();
            shards(&path)
        };
        let good = r#"{"weight_map": {"a": "1.safetensors", "b": "1.safetensors"}}"#;
        assert_eq!(read(good), Some(vec!["1.safetensors".to_owned()]));
        for bad in ["../x", "/etc/passwd", "a\\b", ".hidden", ""] {
            let text = serde_json::json!({"weight_map": {"a": bad}}).to_string();
            assert_eq!(read(&text), None, "{bad}");
        }
        assert_eq!(read("{}"), None);
        assert_eq!(shards(&folder.path().join("none")), None);
    }

    #[test]
    fn a_model_is_fetched_once_and_then_found_without_asking() {
        let index = r#"{"weight_map": {"a": "1.safetensors", "b": "2.safetensors"}}"#;
        let Some((address, asked)) = local_hub(&[
            ("config.json", "{}".into()),
            ("tokenizer.json", "{\"a\": 1}".into()),
            ("chat_template.jinja", "x".into()),
            (INDEX, index.into()),
            ("1.safetensors", "1".repeat(100_000)),
            ("2.safetensors", "2".repeat(5)),
            ("pytorch_model.bin", "not wanted".into()),
        ]) else {
            return;
        };
        let temp = tempfile::tempdir().unwrap();
        let remote = Remote::at(temp.path().join("hub"), address);
        let mut last = (0, None);
        let folder = remote
            .model("org/name", "main", &mut |done, total| last = (done, total))
            .unwrap();
        let mut names: Vec<String> = std::fs::read_dir(&folder)
            .unwrap()
            .map(|e| e.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        let expected = [
            "1.safetensors",
            "2.safetensors",
            "chat_template.jinja",
            "config.json",
        ];
        assert_eq!(names[..4], expected);
        assert_eq!(names[4..], [INDEX, "tokenizer.json"]);
        let first = std::fs::read_to_string(folder.join("1.safetensors")).unwrap();
        assert_eq!(first, "1".repeat(100_000));
        let bytes = 2 + 8 + 1 + index.len() as u64 + 100_005;
        assert_eq!(last, (bytes, Some(bytes)));
        assert!(asked.try_iter().count() > 6);

        for revision in ["main", "c0ffee"] {
            let again = remote.model("org/name", revision, &mut |_, _| {}).unwrap();
            assert_eq!(again, folder, "{revision}");
        }
        assert_eq!(asked.try_iter().count(), 0, "asked the hub again");

        // One file lost: only it is fetched again.
        std::fs::remove_file(folder.join("2.safetensors")).unwrap();
        remote
            .model("org/name", "main", &mut |done, total| last = (done, total))
            .unwrap();
        assert_eq!(last, (bytes, Some(bytes)));
        let asked: Vec<String> = asked
            .try_iter()
            .filter(|p| p.contains("safetensors"))
            .collect();
        assert!(
            asked.iter().all(|p| p.ends_with("/2.safetensors")),
            "{asked:?}"
        );
    }

    #[test]
    fn a_repository_that_is_not_there_is_told() {
        let Some((address, _asked)) = local_hub(&[("model.gguf", "x".into())]) else {
            return;
        };
        let temp = tempfile::tempdir().unwrap();
        let remote = Remote::at(temp.path().join("hub"), address);
        let told = |id: &str| {
            remote
                .model(id, "main", &mut |_, _| {})
                .unwrap_err()
                .to_string()
        };
        insta::assert_snapshot!(format!("{}\n{}", told("org/other"), told("org/name")), @r"
        hub repository `org/other` at `main`: http status: 404; there is no such repository or revision
        hub repository `org/name` at `main`: it has GGUF files and no safetensors; download one of them and give its path: model.gguf
        ");
    }

    #[test]
    fn progress_counts_over_all_files() {
        let (tell, told) = channel();
        for told in [Told::Bytes(3), Told::File(Ok("f/a".into())), Told::Bytes(4)] {
            tell.send(told).unwrap();
        }
        tell.send(Told::File(Ok("f/b".into()))).unwrap();
        let mut seen = Vec::new();
        let folder = listen(&told, 2, 10, Some(17), &mut |done, total| {
            seen.push((done, total))
        });
        assert_eq!(folder.unwrap(), Some(PathBuf::from("f")));
        assert_eq!(seen, [(13, Some(17)), (17, Some(17))]);
        tell.send(Told::File(Err("http status: 404".into())))
            .unwrap();
        let failed = listen(&told, 1, 0, None, &mut |_, _| {});
        assert!(failed.unwrap_err().contains("no such repository"));
    }

    #[test]
    fn sizes_are_known_or_not_claimed() {
        let mut list = listing(&["a", "b"]);
        assert_eq!(list.bytes(&["a".into(), "b".into()]), Some(20));
        assert_eq!(list.bytes(&["a".into(), "c".into()]), None);
        list.siblings[0].size = None;
        assert_eq!(list.bytes(&["a".into()]), None);
    }
}
