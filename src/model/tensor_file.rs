//! One safetensors file, mapped: names, shapes, and tensors as they are stored.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use safetensors::{Dtype, SafeTensors, tensor::TensorInfo};

use crate::text::nearest;

use super::ModelError;
use super::mapped::{Mapped, map};
use super::stored::{Bytes, Format, StoredTensor};

/// One safetensors file, mapped; every offset of its header lies inside it.
pub struct TensorFile {
    path: PathBuf,
    map: Mapped,
    data: usize,
    infos: BTreeMap<String, TensorInfo>,
}

impl TensorFile {
    /// Maps a file and checks its header against its length.
    ///
    /// # Errors
    /// Unreadable, cut off, damaged.
    pub fn open(path: &Path) -> Result<TensorFile, ModelError> {
        let map = map(path)?;
        let (header, metadata) =
            SafeTensors::read_metadata(&map).map_err(|e| ModelError::Corrupt {
                path: path.to_path_buf(),
                problem: format!("{e} ({} bytes long)", map.len()),
            })?;
        let infos = metadata
            .tensors()
            .into_iter()
            .map(|(name, info)| (name, info.clone()))
            .collect();
        Ok(TensorFile {
            path: path.to_path_buf(),
            map,
            data: 8 + header,
            infos,
        })
    }

    /// The file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Names of its tensors, sorted.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.infos.keys().map(String::as_str)
    }

    /// A tensor's shape.
    pub fn shape(&self, name: &str) -> Option<&[usize]> {
        self.infos.get(name).map(|info| &info.shape[..])
    }

    /// A tensor's kind, shape, and bytes, whatever they stand for.
    pub(super) fn raw(&self, name: &str) -> Option<(Dtype, &[usize], &[u8])> {
        let info = self.infos.get(name)?;
        let (start, end) = info.data_offsets;
        let bytes = &self.map[self.data + start..self.data + end];
        Some((info.dtype, &info.shape, bytes))
    }

    /// Gives the memory of a tensor's bytes back.
    pub(super) fn release(&self, name: &str) {
        if let Some((_, _, bytes)) = self.raw(name) {
            self.map.release(bytes);
        }
    }

    pub(super) fn stored_bytes(&self, name: &str) -> Option<u64> {
        let (start, end) = self.infos.get(name)?.data_offsets;
        Some((end - start) as u64)
    }

    /// How a tensor's numbers are stored; `None` also for a kind that cannot be read.
    pub(super) fn format(&self, name: &str) -> Option<Format> {
        match self.infos.get(name)?.dtype {
            Dtype::F32 => Some(Format::F32),
            Dtype::F16 => Some(Format::F16),
            Dtype::BF16 => Some(Format::Bf16),
            _ => None,
        }
    }

    /// The whole file.
    pub(super) fn content(&self) -> &Mapped {
        &self.map
    }

    /// A tensor's shape and values, widened to F32.
    ///
    /// # Errors
    /// No such tensor, numbers other than F32, F16 and BF16, a value that is not finite.
    pub fn get(&self, name: &str) -> Result<(Vec<usize>, Vec<f32>), ModelError> {
        let tensor = self.tensor(name)?;
        Ok((tensor.shape().to_vec(), tensor.values()?.into_owned()))
    }

    fn tensor<'a>(&'a self, name: &'a str) -> Result<StoredTensor<'a>, ModelError> {
        let (shape, bytes) = self.stored(name)?;
        Ok(StoredTensor::in_file(shape, bytes))
    }

    /// A tensor's shape and bytes.
    ///
    /// # Errors
    /// No such tensor, numbers other than F32, F16 and BF16.
    pub(super) fn stored<'a>(
        &'a self,
        name: &'a str,
    ) -> Result<(&'a [usize], Bytes<'a>), ModelError> {
        let info = self
            .infos
            .get(name)
            .ok_or_else(|| ModelError::MissingTensor {
                path: self.path.clone(),
                name: name.to_owned(),
                nearest: nearest(name, self.names()),
            })?;
        let (start, end) = info.data_offsets;
        let format = self.format(name).ok_or_else(|| ModelError::Dtype {
            path: self.path.clone(),
            name: name.to_owned(),
            dtype: info.dtype.to_string(),
            rule: "weights must be F32, F16 or BF16; give the unquantized model",
        })?;
        let numbers = Cow::Borrowed(&self.map[self.data + start..self.data + end]);
        let bytes = Bytes {
            map: Some(&self.map),
            ..Bytes::new(&self.path, name, format, numbers)
        };
        Ok((&info.shape, bytes))
    }
}
