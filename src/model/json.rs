//! Typed reading of the keys of a JSON object, with errors that name file and key.
//!
//! `null` counts as absent everywhere, as in the Python that writes these files.

use std::path::{Path, PathBuf};

use serde_json::{Map, Value};

use super::ModelError;

/// Largest size (rows, columns, layers, positions) that a key may hold. Products of two stay far
/// below the range of 64 bits.
pub(super) const LARGEST: u64 = 1 << 31;

/// A JSON object and the file it came from.
pub(super) struct Keys {
    path: PathBuf,
    prefix: String,
    map: Map<String, Value>,
}

impl Keys {
    /// Reads a file that has to hold an object.
    pub fn read(path: &Path) -> Result<Keys, ModelError> {
        let bytes = std::fs::read(path).map_err(|source| ModelError::Io {
            path: path.to_path_buf(),
            source,
        })?;
        Keys::parse(path, &bytes)
    }

    /// The same, for a file that may be absent.
    pub fn read_optional(path: &Path) -> Result<Option<Keys>, ModelError> {
        match Keys::read(path) {
            Err(ModelError::Io { source, .. }) if source.kind() == std::io::ErrorKind::NotFound => {
                Ok(None)
            }
            other => other.map(Some),
        }
    }

    /// The same, from text at hand; `path` is for errors.
    pub fn parse(path: &Path, bytes: &[u8]) -> Result<Keys, ModelError> {
        let map = serde_json::from_slice(bytes).map_err(|source| ModelError::Json {
            path: path.to_path_buf(),
            source,
        })?;
        Ok(Keys {
            path: path.to_path_buf(),
            prefix: String::new(),
            map,
        })
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    pub fn get(&self, key: &str) -> Option<&Value> {
        self.map.get(key).filter(|v| !v.is_null())
    }

    /// An error at a key.
    pub fn wrong(&self, key: &str, problem: impl Into<String>) -> ModelError {
        ModelError::Key {
            path: self.path.clone(),
            key: format!("{}{key}", self.prefix),
            problem: problem.into(),
        }
    }

    /// An error that refuses a key's value by name.
    pub fn unsupported(&self, key: &str, value: &Value, rule: &str) -> ModelError {
        ModelError::Unsupported {
            path: self.path.clone(),
            what: format!("`{}{key}` = {value}", self.prefix),
            rule: rule.into(),
        }
    }

    pub fn text(&self, key: &str) -> Result<Option<&str>, ModelError> {
        self.get(key)
            .map(|v| {
                v.as_str()
                    .ok_or_else(|| self.wrong(key, format!("is {v}, not a string")))
            })
            .transpose()
    }

    pub fn boolean(&self, key: &str, default: bool) -> Result<bool, ModelError> {
        self.get(key).map_or(Ok(default), |v| {
            v.as_bool()
                .ok_or_else(|| self.wrong(key, format!("is {v}, not true or false")))
        })
    }

    pub fn float(&self, key: &str) -> Result<Option<f64>, ModelError> {
        self.get(key)
            .map(|v| {
                v.as_f64()
                    .filter(|x| x.is_finite())
                    .ok_or_else(|| self.wrong(key, format!("is {v}, not a finite number")))
            })
            .transpose()
    }

    /// A number above zero.
    pub fn positive(&self, key: &str) -> Result<Option<f64>, ModelError> {
        match self.float(key)? {
            Some(x) if x <= 0.0 => Err(self.wrong(key, format!("is {x}; it must be above 0"))),
            x => Ok(x),
        }
    }

    /// A whole number from 1 to [`LARGEST`].
    pub fn size(&self, key: &str) -> Result<Option<usize>, ModelError> {
        self.get(key)
            .map(|v| {
                v.as_u64()
                    .filter(|n| (1..=LARGEST).contains(n))
                    .map(|n| n as usize)
                    .ok_or_else(|| {
                        let rule = format!("must be a whole number from 1 to {LARGEST}");
                        self.wrong(key, format!("is {v}; it {rule}"))
                    })
            })
            .transpose()
    }

    pub fn required_size(&self, key: &str) -> Result<usize, ModelError> {
        self.size(key)?.ok_or_else(|| self.wrong(key, "is missing"))
    }

    /// One token id or a list of them.
    pub fn token_ids(&self, key: &str) -> Result<Vec<u32>, ModelError> {
        let id = |v: &Value| v.as_u64().and_then(|n| u32::try_from(n).ok());
        let ids = match self.get(key) {
            None => Some(vec![]),
            Some(Value::Array(list)) => list.iter().map(id).collect(),
            Some(v) => id(v).map(|id| vec![id]),
        };
        ids.ok_or_else(|| self.wrong(key, "must be a token id or a list of token ids"))
    }

    /// An object below a key.
    pub fn object(&self, key: &str) -> Result<Option<Keys>, ModelError> {
        self.get(key)
            .map(|v| {
                let map = v
                    .as_object()
                    .ok_or_else(|| self.wrong(key, "must be an object"))?;
                Ok(Keys {
                    path: self.path.clone(),
                    prefix: format!("{}{key}.", self.prefix),
                    map: map.clone(),
                })
            })
            .transpose()
    }

    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.map.keys().map(String::as_str)
    }
}
