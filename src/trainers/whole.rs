//! Whether a checkpoint is whole: its adapter's weights have the length that their own header says,
//! and what is written after them is there and parses.

use std::fs::{self, File};
use std::io::Read;
use std::path::Path;
use std::time::SystemTime;

use serde_json::Value;

use super::lenient_json::{self, Unread};
use super::state::{STATE, TrainerState};
use crate::digest;

const CONFIG: &str = "adapter_config.json";
const WEIGHTS: &str = "adapter_model.safetensors";
/// The longest header that safetensors allows, in bytes.
const LONGEST_HEADER: u64 = 100_000_000;

/// What a folder is at this moment.
#[derive(Debug, Clone, PartialEq)]
pub enum Wholeness {
    /// Everything that is judged is there.
    Whole(TrainerState),
    /// Something is missing yet, as said: `trainer_state.json is not there`.
    Writing(String),
    /// It will never be an adapter that can be judged: why, and what to do.
    Other(String),
    /// There is no such folder any more.
    Gone,
}

/// Lengths and times of what is looked at: as long as it is the same, the folder is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Signature(Vec<Option<(u64, Option<SystemTime>)>>);

impl Signature {
    /// Of a folder, whatever it holds.
    pub fn of(folder: &Path) -> Self {
        let names = [CONFIG, WEIGHTS, STATE, "config.json", "adapter_model.bin"];
        let each = names.map(|name| {
            let meta = fs::metadata(folder.join(name)).ok()?;
            Some((meta.len(), meta.modified().ok()))
        });
        Signature(each.to_vec())
    }

    /// When the newest of them was written.
    pub fn last_written(&self) -> Option<SystemTime> {
        self.0.iter().flatten().filter_map(|(_, time)| *time).max()
    }
}

impl Wholeness {
    /// Of a checkpoint's folder.
    pub fn of(folder: &Path) -> Self {
        if !folder.is_dir() {
            return Wholeness::Gone;
        }
        // The last file first: what is missing before it is there is on its way.
        let state = match TrainerState::read(folder) {
            Ok(state) => state,
            Err(unread) => return waiting(STATE, &unread),
        };
        match lenient_json::read(&folder.join(CONFIG)) {
            Ok(Value::Object(_)) => {}
            Ok(_) => return Wholeness::Other(format!("its {CONFIG} is no object")),
            Err(Unread::Missing) if folder.join("config.json").is_file() => {
                return Wholeness::Other(a_whole_model(folder));
            }
            Err(unread) => return waiting(CONFIG, &unread),
        }
        let weights = folder.join(WEIGHTS);
        if !weights.is_file() && in_another_format(folder) {
            return Wholeness::Other(digest::why_no_adapter(folder));
        }
        match length_of(&weights) {
            Length::Whole => Wholeness::Whole(state),
            Length::Other(what) => Wholeness::Writing(format!("{WEIGHTS} {what}")),
        }
    }
}

fn waiting(name: &str, unread: &Unread) -> Wholeness {
    Wholeness::Writing(match unread {
        Unread::Missing => format!("{name} is not there"),
        Unread::Partial(what) => format!("{name} {what}"),
    })
}

/// A base that was trained whole has no adapter that is turned off, and two models are not loaded at
/// once.
fn a_whole_model(folder: &Path) -> String {
    let shown = folder.display();
    format!(
        "it is a whole model, and an adapter is judged beside its base; ask it by itself \
         (`qeval run base --model {shown}`), or train with LoRA"
    )
}

/// Weights in PEFT's other format, or in parts.
fn in_another_format(folder: &Path) -> bool {
    let part = |name: &str| name.starts_with("adapter_model-") && name.ends_with(".safetensors");
    folder.join("adapter_model.bin").is_file()
        || fs::read_dir(folder)
            .into_iter()
            .flatten()
            .flatten()
            .any(|entry| part(&entry.file_name().to_string_lossy()))
}

enum Length {
    Whole,
    Other(String),
}

/// The length of a safetensors file beside the one that its header says: 8 bytes, the header, and
/// the last tensor's end.
fn length_of(path: &Path) -> Length {
    let other = |what: &str| Length::Other(what.to_owned());
    let Ok(mut file) = File::open(path) else {
        return other("is not there");
    };
    let Ok(length) = file.metadata().map(|meta| meta.len()) else {
        return other("cannot be read");
    };
    let mut size = [0; 8];
    if file.read_exact(&mut size).is_err() {
        return other("is not whole");
    }
    let header = u64::from_le_bytes(size);
    if header > LONGEST_HEADER {
        return other("is no safetensors file");
    }
    let mut bytes = Vec::new();
    let read = file.take(header).read_to_end(&mut bytes);
    if !read.is_ok_and(|read| read as u64 == header) {
        return other("is not whole");
    }
    let Ok(Value::Object(tensors)) = serde_json::from_slice::<Value>(&bytes) else {
        return other("has a header that is not whole");
    };
    let ends = tensors
        .iter()
        .filter(|(name, _)| *name != "__metadata__")
        .filter_map(|(_, tensor)| tensor.get("data_offsets")?.get(1)?.as_u64());
    let wanted = ends
        .max()
        .unwrap_or(0)
        .checked_add(8)
        .and_then(|end| end.checked_add(header));
    match wanted {
        Some(wanted) if wanted == length => Length::Whole,
        Some(wanted) => Length::Other(format!("has {length} of {wanted} bytes")),
        None => other("is no safetensors file"),
    }
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::*;

    const LAST: &str = r#"{"global_step": 4, "max_steps": 8, "save_steps": 4, "log_history": []}"#;

    /// A folder as a trainer has begun it.
    struct Begun(tempfile::TempDir);

    impl Begun {
        fn new() -> Self {
            Begun(tempfile::tempdir().unwrap())
        }

        fn at(&self, name: &str) -> PathBuf {
            self.0.path().join(name)
        }

        fn write(&self, name: &str, bytes: impl AsRef<[u8]>) -> &Self {
            fs::write(self.at(name), bytes).unwrap();
            self
        }

        fn told(&self) -> String {
            match Wholeness::of(self.0.path()) {
                Wholeness::Whole(_) => "whole".into(),
                Wholeness::Writing(what) => format!("writing: {what}"),
                Wholeness::Other(why) => {
                    let folder = self.0.path().display().to_string();
                    format!("other: {}", why.replace(&folder, "[folder]"))
                }
                Wholeness::Gone => "gone".into(),
            }
        }
    }

    fn adapter(name: &str) -> Vec<u8> {
        let good = concat!(
            env!("CARGO_MANIFEST_DIR"),
            "/fixtures/adapters/fixture/good"
        );
        fs::read(Path::new(good).join(name)).unwrap()
    }

    /// Every length of every file, in the Trainer's order: only the last byte of the last makes the
    /// folder whole.
    #[test]
    fn a_folder_written_piece_by_piece_is_whole_at_its_last_byte() {
        let begun = Begun::new();
        let (config, weights) = (adapter(CONFIG), adapter(WEIGHTS));
        let header =
            8 + usize::try_from(u64::from_le_bytes(weights[..8].try_into().unwrap())).unwrap();
        let ends = [
            0,
            1,
            7,
            8,
            9,
            header / 2,
            header,
            header + 1,
            weights.len() - 1,
        ];
        for end in ends {
            begun.write(WEIGHTS, &weights[..end]);
            assert!(begun.told().starts_with("writing"), "{end}");
        }
        begun.write(WEIGHTS, &weights);
        for end in [0, 1, config.len() / 2, config.len() - 1] {
            begun.write(CONFIG, &config[..end]);
            assert!(begun.told().starts_with("writing"), "{end}");
        }
        begun.write(CONFIG, &config);
        for end in 0..LAST.len() {
            begun.write(STATE, &LAST[..end]);
            assert!(begun.told().starts_with("writing"), "{end}");
        }
        begun.write(STATE, LAST);
        assert_eq!(begun.told(), "whole");
    }

    /// Network disks show files in any order: the last one may be there before the others.
    #[test]
    fn what_is_missing_is_named_whatever_came_first() {
        let begun = Begun::new();
        let (config, weights) = (adapter(CONFIG), adapter(WEIGHTS));
        let mut told = vec![begun.told()];
        begun.write(STATE, &LAST[..9]);
        told.push(begun.told());
        begun.write(STATE, LAST);
        told.push(begun.told());
        begun.write(CONFIG, &config[..40]);
        told.push(begun.told());
        begun.write(CONFIG, &config);
        told.push(begun.told());
        for end in [4, 100, weights.len() - 3] {
            begun.write(WEIGHTS, &weights[..end]);
            told.push(begun.told());
        }
        begun.write(WEIGHTS, [&weights[..], b"more"].concat());
        told.push(begun.told());
        begun.write(WEIGHTS, u64::MAX.to_le_bytes());
        told.push(begun.told());
        insta::assert_snapshot!(told.join("\n"), @r"
        writing: trainer_state.json is not there
        writing: trainer_state.json is not whole
        writing: adapter_config.json is not there
        writing: adapter_config.json is not whole
        writing: adapter_model.safetensors is not there
        writing: adapter_model.safetensors is not whole
        writing: adapter_model.safetensors is not whole
        writing: adapter_model.safetensors has 69045 of 69048 bytes
        writing: adapter_model.safetensors has 69052 of 69048 bytes
        writing: adapter_model.safetensors is no safetensors file
        ");
    }

    #[test]
    fn what_is_no_adapter_is_refused_with_a_way_out() {
        let model = Begun::new();
        model.write(STATE, LAST).write("config.json", "{}");
        let bin = Begun::new();
        bin.write(STATE, LAST)
            .write(CONFIG, adapter(CONFIG))
            .write("adapter_model.bin", "pickle");
        let list = Begun::new();
        list.write(STATE, LAST).write(CONFIG, "[]");
        let told = [model.told(), bin.told(), list.told()]
            .map(|t| t.chars().take(150).collect::<String>());
        insta::assert_snapshot!(told.join("\n"), @"
        other: it is a whole model, and an adapter is judged beside its base; ask it by itself (`qeval run base --model [folder]`), or train with LoRA
        other: its weights are in adapter_model.bin, a format that can hold programs and is not read; write them as safetensors, in Python in that folder: imp
        other: its adapter_config.json is no object
        ");
        assert_eq!(Wholeness::of(&model.at("gone")), Wholeness::Gone);
    }

    #[test]
    fn a_folder_that_was_rewritten_has_another_signature() {
        let begun = Begun::new();
        begun.write(STATE, LAST);
        let before = Signature::of(begun.0.path());
        assert_eq!(Signature::of(begun.0.path()), before);
        begun.write(WEIGHTS, "x");
        assert_ne!(Signature::of(begun.0.path()), before);
    }
}
