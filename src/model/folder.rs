//! The tensors of a Hugging Face folder: one file of safetensors or several, by the names that a model
//! of text alone has, and matrices that a quantization spreads over several tensors as one.

use std::collections::BTreeMap;
use std::path::{Component, Path};

use serde_json::Value;

use super::ModelError;
use super::four_bit::{FourBit, Places, Quantization};
use super::json::Keys;
use super::mapped::Mapped;
use super::stored::{Format, Stored};
use super::tensor_file::TensorFile;

/// The mapped files of a folder.
pub(super) struct Folder {
    files: Vec<TensorFile>,
    /// Of tensors that are stored as they are, by the name that a model of text alone has.
    places: Places,
    /// Matrices of four bits.
    four_bit: Option<FourBit>,
}

impl Folder {
    /// See [`Weights::open_folder`](super::Weights::open_folder).
    pub fn open(folder: &Path) -> Result<Self, ModelError> {
        let single = folder.join("model.safetensors");
        let index = folder.join("model.safetensors.index.json");
        let (files, names) = if single.exists() {
            let file = TensorFile::open(&single)?;
            let names = file.names().map(|name| (name.to_owned(), 0)).collect();
            (vec![file], names)
        } else if let Some(keys) = Keys::read_optional(&index)? {
            open_shards(folder, &keys)?
        } else {
            return Err(no_safetensors(folder));
        };
        let of_text = |(name, file): (String, usize)| (name_of_text(&name), (file, name));
        let mut places = names.into_iter().map(of_text).collect();
        let config = Keys::read_optional(&folder.join("config.json"))?;
        let quantization = config.as_ref().map(Quantization::read).transpose()?;
        let four_bit = quantization
            .flatten()
            .map(|quantization| FourBit::take_from(quantization, &mut places, &files))
            .transpose()?;
        Ok(Folder {
            files,
            places,
            four_bit,
        })
    }

    /// The mapped files and their content.
    pub fn contents(&self) -> impl Iterator<Item = (&Path, &Mapped)> {
        self.files.iter().map(|f| (f.path(), f.content()))
    }

    /// Names of all tensors, sorted.
    pub fn names(&self) -> Vec<&str> {
        let four_bit = self.four_bit.iter().flat_map(FourBit::names);
        let mut names: Vec<&str> = self.places.keys().map(String::as_str).collect();
        names.extend(four_bit);
        names.sort_unstable();
        names.dedup();
        names
    }

    pub fn shape(&self, name: &str) -> Option<&[usize]> {
        match self.plain(name) {
            Some((file, stored)) => file.shape(stored),
            None => self.four_bit.as_ref()?.shape(name),
        }
    }

    /// How a tensor's numbers are stored; `None` also for a kind that cannot be read.
    pub fn format(&self, name: &str) -> Option<Format> {
        match self.plain(name) {
            Some((file, stored)) => file.format(stored),
            None => self.four_bit.as_ref()?.format(name),
        }
    }

    pub fn stored_bytes(&self, name: &str) -> Option<u64> {
        match self.plain(name) {
            Some((file, stored)) => file.stored_bytes(stored),
            None => self.four_bit.as_ref()?.stored_bytes(&self.files, name),
        }
    }

    /// The file of a tensor, and its name there.
    pub fn place<'a>(&'a self, name: &'a str) -> Option<(&'a Path, &'a str)> {
        match self.plain(name) {
            Some((file, stored)) => Some((file.path(), stored)),
            None => Some((self.four_bit.as_ref()?.path(&self.files, name)?, name)),
        }
    }

    /// Looks whether a tensor that is there can be read, and decodes nothing. Matrices of four bits
    /// were looked at when the folder was opened.
    pub fn readable(&self, name: &str) -> Result<(), ModelError> {
        match self.plain(name) {
            Some((file, stored)) => file.stored(stored).map(drop),
            None => Ok(()),
        }
    }

    /// A tensor and its shape; `None` where there is none.
    pub fn stored<'a>(&'a self, name: &'a str) -> Option<Stored<'a>> {
        match self.plain(name) {
            Some((file, stored)) => Some(file.stored(stored)),
            None => self.four_bit.as_ref()?.stored(&self.files, name),
        }
    }

    fn plain(&self, name: &str) -> Option<(&TensorFile, &str)> {
        let (file, stored) = self.places.get(name)?;
        Some((&self.files[*file], stored))
    }
}

/// The name that a tensor has in a model of text alone: those that see pictures keep theirs one level
/// down, under either of two names.
fn name_of_text(stored: &str) -> String {
    if let Some(rest) = stored.strip_prefix("model.language_model.") {
        return format!("model.{rest}");
    }
    let own = stored.strip_prefix("language_model.");
    own.unwrap_or(stored).to_owned()
}

type Shards = (Vec<TensorFile>, BTreeMap<String, usize>);

fn open_shards(folder: &Path, keys: &Keys) -> Result<Shards, ModelError> {
    let Some(Value::Object(map)) = keys.get("weight_map") else {
        return Err(keys.wrong("weight_map", "is missing; it must map tensors to files"));
    };
    let mut files: Vec<TensorFile> = Vec::new();
    let mut opened: BTreeMap<&str, usize> = BTreeMap::new();
    let mut place = BTreeMap::new();
    for (name, shard) in map {
        // A name like `../x` would read outside of the model's folder.
        let shard = shard
            .as_str()
            .filter(|s| {
                matches!(
                    Path::new(s).components().collect::<Vec<_>>()[..],
                    [Component::Normal(_)]
                )
            })
            .ok_or_else(|| {
                keys.wrong(
                    "weight_map",
                    format!(
                        "gives {shard} for `{name}`; it must be the \
                                                  name of a file in the same folder"
                    ),
                )
            })?;
        let file = match opened.get(shard) {
            Some(&file) => file,
            None => {
                let path = folder.join(shard);
                if !path.exists() {
                    return Err(ModelError::MissingShard {
                        index: keys.path().to_path_buf(),
                        shard: shard.to_owned(),
                    });
                }
                files.push(TensorFile::open(&path)?);
                opened.insert(shard, files.len() - 1);
                files.len() - 1
            }
        };
        if files[file].shape(name).is_none() {
            return Err(keys.wrong(
                "weight_map",
                format!(
                    "says that `{name}` is in {shard}, which does not hold it; the files are \
                         of different downloads"
                ),
            ));
        }
        place.insert(name.clone(), file);
    }
    Ok((files, place))
}

/// A folder without safetensors: says what is there instead.
fn no_safetensors(folder: &Path) -> ModelError {
    let mut names: Vec<String> = std::fs::read_dir(folder)
        .into_iter()
        .flatten()
        .filter_map(|entry| entry.ok()?.file_name().into_string().ok())
        .collect();
    names.sort();
    let found = |end: &str| names.iter().find(|name| name.ends_with(end)).cloned();
    if let Some(found) = found(".bin")
        .or_else(|| found(".pth"))
        .or_else(|| found(".pt"))
    {
        return ModelError::OtherFormat {
            path: folder.to_path_buf(),
            found,
        };
    }
    let problem = if let Some(gguf) = found(".gguf") {
        format!("it has no model.safetensors, but {gguf}: give the path of that file")
    } else if let Some(other) = found(".safetensors") {
        format!("it holds {other}, but neither model.safetensors nor its index")
    } else {
        "it has no model.safetensors".to_owned()
    };
    ModelError::NotAModel {
        path: folder.to_path_buf(),
        problem,
    }
}
