//! Content hashes of weights, adapters, suites, and prompts: SHA-256, lower-case hex.
//!
//! A digest over several parts takes each part with its label and both lengths, so that no two
//! lists of parts run together into the same bytes (`"ab" + "c"` against `"a" + "bc"`).

use std::fmt::Write as _;
use std::fs::{self, File};
use std::io::{self, Read};
use std::path::Path;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use sha2::{Digest, Sha256};

/// Characters of [`short`]: 48 bits, plenty to tell apart what one project holds.
const SHORT_CHARS: usize = 12;
/// Bytes read at a time from a file.
const CHUNK_BYTES: usize = 1 << 20;
/// The files that make an adapter, in PEFT's names.
const ADAPTER_FILES: [&str; 2] = ["adapter_config.json", "adapter_model.safetensors"];

/// Digest of some bytes: 64 hex characters.
pub fn bytes(bytes: impl AsRef<[u8]>) -> String {
    hex(&Sha256::digest(bytes.as_ref()))
}

/// Digest of a text as a Content-Security-Policy names it: `sha256-` and base64.
///
/// ```
/// let policy = qeval::digest::policy_source("");
/// assert_eq!(policy, "sha256-47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=");
/// ```
pub fn policy_source(text: &str) -> String {
    let digest = Sha256::digest(text.as_bytes());
    format!("sha256-{}", BASE64_STANDARD.encode(digest))
}

/// Digest of a file's bytes, read in pieces: a file larger than memory is fine.
///
/// # Errors
/// The file cannot be opened or read; the text names it.
pub fn file(path: &Path) -> io::Result<String> {
    let mut hasher = Sha256::new();
    read_into(path, &mut hasher).map_err(|error| name_file(path, &error))?;
    Ok(hex(&hasher.finalize()))
}

/// Digest of a PEFT folder: its config and its weights, and nothing else that lies beside them.
///
/// # Errors
/// One of the two files is missing or cannot be read; the text names it.
pub fn adapter_folder(folder: &Path) -> io::Result<String> {
    let mut parts = Parts::new("adapter");
    for name in ADAPTER_FILES {
        parts = parts.part(name, file(&folder.join(name))?);
    }
    Ok(parts.finish())
}

/// Why a path is no adapter's folder, and what to do instead.
pub fn why_no_adapter(path: &Path) -> String {
    let shown = path.display();
    let name = |path: &Path| path.file_name().map(|n| n.to_string_lossy().into_owned());
    if !path.exists() {
        return "there is no such folder".into();
    }
    if !path.is_dir() {
        return match path
            .parent()
            .filter(|folder| folder.join(ADAPTER_FILES[0]).is_file())
        {
            Some(folder) if !folder.as_os_str().is_empty() => {
                format!("it is a file; name its folder: {}", folder.display())
            }
            _ => "it is a file".into(),
        };
    }
    let inside: Vec<String> = fs::read_dir(path)
        .into_iter()
        .flatten()
        .filter_map(|entry| name(&entry.ok()?.path()))
        .collect();
    let has = |name: &str| path.join(name).is_file();
    let weights =
        |name: &&String| name.starts_with("adapter_model-") && name.ends_with(".safetensors");
    if has(ADAPTER_FILES[0]) && has("adapter_model.bin") {
        return format!(
            "its weights are in adapter_model.bin, a format that can hold programs and is not read; \
             write them as safetensors, in Python in that folder: import torch; from \
             safetensors.torch import save_file; save_file({{k: v.contiguous() for k, v in \
             torch.load(\"adapter_model.bin\", map_location=\"cpu\", weights_only=True).items()}}, \
             \"{}\")",
            ADAPTER_FILES[1]
        );
    }
    if has(ADAPTER_FILES[0]) && inside.iter().any(|name| weights(&name)) {
        return format!(
            "its weights are in parts (adapter_model-*.safetensors); join them, in Python in that \
             folder: import glob; from safetensors.torch import load_file, save_file; \
             save_file({{k: v for f in glob.glob(\"adapter_model-*.safetensors\") for k, v in \
             load_file(f).items()}}, \"{}\")",
            ADAPTER_FILES[1]
        );
    }
    if has(ADAPTER_FILES[0]) {
        return format!("{} is missing", ADAPTER_FILES[1]);
    }
    if has("config.json") {
        return format!(
            "it is a whole model, no adapter; ask it by itself: `--model {shown}`, with the subject \
             `base`"
        );
    }
    let step = |name: &String| {
        let step = name.strip_prefix("checkpoint-")?.parse::<usize>().ok()?;
        path.join(name)
            .join(ADAPTER_FILES[0])
            .is_file()
            .then_some(step)
    };
    if let Some(newest) = inside.iter().filter_map(step).max() {
        return format!(
            "it holds checkpoints, of which one has to be named, such as {}, the newest",
            path.join(format!("checkpoint-{newest}")).display()
        );
    }
    format!("{} is missing", ADAPTER_FILES[0])
}

/// The first 12 characters of a digest, for people. A shorter text is returned whole.
pub fn short(digest: &str) -> &str {
    digest.get(..SHORT_CHARS).unwrap_or(digest)
}

/// A value as a part of a digest. One that cannot be written changes with nothing, which no plain
/// data can.
pub fn json(value: &impl serde::Serialize) -> String {
    serde_json::to_string(value).unwrap_or_default()
}

/// Several labelled parts on their way to one digest.
#[derive(Debug, Clone)]
pub struct Parts(Sha256);

impl Parts {
    /// No parts yet. `purpose` keeps digests of different things apart whatever their parts are.
    pub fn new(purpose: &str) -> Self {
        Parts(Sha256::new()).part("purpose", purpose)
    }

    /// Adds a part. Label and content are taken with their lengths.
    #[must_use]
    pub fn part(mut self, label: &str, content: impl AsRef<[u8]>) -> Self {
        for piece in [label.as_bytes(), content.as_ref()] {
            self.0.update((piece.len() as u64).to_le_bytes());
            self.0.update(piece);
        }
        self
    }

    /// The digest of all parts in their order: 64 hex characters.
    pub fn finish(self) -> String {
        hex(&self.0.finalize())
    }
}

fn read_into(path: &Path, hasher: &mut Sha256) -> io::Result<()> {
    let mut file = File::open(path)?;
    let mut chunk = vec![0; CHUNK_BYTES];
    loop {
        match file.read(&mut chunk)? {
            0 => return Ok(()),
            n => hasher.update(&chunk[..n]),
        }
    }
}

fn name_file(path: &Path, error: &io::Error) -> io::Error {
    io::Error::new(
        error.kind(),
        format!("cannot read {}: {error}", path.display()),
    )
}

fn hex(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(2 * bytes.len());
    for byte in bytes {
        // Writing to a String does not fail.
        let _ = write!(text, "{byte:02x}");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    // FIPS 180-2, appendix B.1, and `printf '' | sha256sum`.
    const ABC: &str = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
    const EMPTY: &str = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

    #[test]
    fn published_vectors_hold() {
        assert_eq!(bytes("abc"), ABC);
        assert_eq!(bytes(""), EMPTY);
    }

    #[test]
    fn file_in_pieces_equals_bytes_at_once() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("weights");
        for len in [0, 1, CHUNK_BYTES - 1, CHUNK_BYTES, CHUNK_BYTES + 1] {
            let content: Vec<u8> = (0..len).map(|i| (i * 7 % 251) as u8).collect();
            std::fs::write(&path, &content).unwrap();
            assert_eq!(file(&path).unwrap(), bytes(&content), "{len} bytes");
        }
    }

    #[test]
    fn parts_do_not_run_together() {
        let digests = [
            Parts::new("x").part("a", "bc").part("d", "").finish(),
            Parts::new("x").part("ab", "c").part("d", "").finish(),
            Parts::new("x").part("a", "b").part("c", "d").finish(),
            Parts::new("x").part("d", "").part("a", "bc").finish(),
            Parts::new("xa").part("a", "bc").part("d", "").finish(),
        ];
        for (i, one) in digests.iter().enumerate() {
            assert!(
                !digests[..i].contains(one),
                "number {i} is not the only one of its kind"
            );
        }
        assert_eq!(
            digests[0],
            Parts::new("x").part("a", "bc").part("d", "").finish()
        );
    }

    #[test]
    fn adapter_digest_sees_both_files_and_no_others() {
        let folder = tempfile::tempdir().unwrap();
        let write = |name: &str, text: &str| std::fs::write(folder.path().join(name), text);
        write("adapter_config.json", "{}").unwrap();
        let missing = adapter_folder(folder.path()).unwrap_err();
        assert_eq!(missing.kind(), io::ErrorKind::NotFound);
        assert!(
            missing.to_string().contains("adapter_model.safetensors"),
            "{missing}"
        );

        write("adapter_model.safetensors", "weights").unwrap();
        let first = adapter_folder(folder.path()).unwrap();
        write("optimizer.safetensors", "moments").unwrap();
        assert_eq!(adapter_folder(folder.path()).unwrap(), first);
        for name in ADAPTER_FILES {
            write(name, "other").unwrap();
            assert_ne!(adapter_folder(folder.path()).unwrap(), first, "{name}");
        }
    }

    #[test]
    fn short_never_cuts_inside_a_character() {
        assert_eq!(short(ABC), "ba7816bf8f01");
        assert_eq!(short("abc"), "abc");
        assert_eq!(short("零一二三四五六七八"), "零一二三");
        assert_eq!(short("x零一二三四"), "x零一二三四");
    }
}
