//! A tensor as a file or the host's memory holds it.

use std::borrow::Cow;
use std::path::Path;

use rayon::prelude::*;

use super::Format;
use super::codes::{self, Code};
use crate::half_type::HalfType;
use crate::model::ModelError;
use crate::model::mapped::Mapped;

/// A tensor that is still stored. Nothing of it is touched before it is asked for.
pub struct StoredTensor<'a> {
    shape: Cow<'a, [usize]>,
    data: Data<'a>,
}

enum Data<'a> {
    /// In the host's memory.
    Numbers(&'a [f32]),
    /// In a file.
    Bytes(Bytes<'a>),
}

/// A tensor's bytes in a mapped file, and what is to be done with its numbers.
pub(in crate::model) struct Bytes<'a> {
    /// The file, for messages.
    pub path: &'a Path,
    /// The tensor's name, for messages.
    pub name: &'a str,
    pub format: Format,
    /// Those of the file, or laid out anew where a file spreads a matrix over several tensors.
    pub bytes: Cow<'a, [u8]>,
    /// Whether a device may compute with them as they are.
    pub kept: bool,
    /// Heads whose rows are stored interleaved; `None` for rows in order.
    pub interleaved_heads: Option<usize>,
    /// What numbers are rounded to.
    pub rounded: Option<HalfType>,
    /// The file that the bytes are mapped from, where they are its own.
    pub map: Option<&'a Mapped>,
    /// Bytes that it takes in its file.
    pub stored: u64,
    /// Told the stored bytes of what is decoded.
    pub progress: Option<&'a (dyn Fn(u64) + Send + Sync)>,
}

/// A tensor's shape and bytes, or why they cannot be had.
pub(in crate::model) type Stored<'a> = Result<(&'a [usize], Bytes<'a>), ModelError>;

impl<'a> Bytes<'a> {
    /// In the order in which they are meant, that a device may keep.
    pub fn new(path: &'a Path, name: &'a str, format: Format, bytes: Cow<'a, [u8]>) -> Self {
        Bytes {
            path,
            name,
            format,
            stored: bytes.len() as u64,
            bytes,
            kept: true,
            interleaved_heads: None,
            rounded: None,
            map: None,
            progress: None,
        }
    }
}

impl<'a> StoredTensor<'a> {
    /// Rows of `cols` numbers in the host's memory.
    ///
    /// # Panics
    /// When the last row is not whole.
    pub fn of(values: &'a [f32], cols: usize) -> Self {
        assert!(values.len().is_multiple_of(cols), "rows of {cols} numbers");
        StoredTensor {
            shape: Cow::Owned(vec![values.len() / cols, cols]),
            data: Data::Numbers(values),
        }
    }

    /// Rows in the bytes of a format, that are in no file.
    pub fn made(shape: &'a [usize], format: Format, bytes: Vec<u8>) -> Self {
        let bytes = Bytes::new(Path::new("memory"), "made", format, Cow::Owned(bytes));
        StoredTensor::in_file(shape, bytes)
    }

    pub(in crate::model) fn in_file(shape: &'a [usize], bytes: Bytes<'a>) -> Self {
        StoredTensor {
            shape: Cow::Borrowed(shape),
            data: Data::Bytes(bytes),
        }
    }

    /// The matrix quantized to NF4, where its numbers are whole blocks of it.
    ///
    /// # Errors
    /// As for [`StoredTensor::values`].
    pub(in crate::model) fn in_nf4(self) -> Result<Self, ModelError> {
        let Data::Bytes(bytes) = &self.data else {
            return Ok(self);
        };
        let whole = self
            .shape
            .get(1)
            .is_some_and(|cols| cols.is_multiple_of(codes::BLOCK));
        let Some(codes) = codes::encode(&self.values()?).filter(|_| whole) else {
            return Ok(self);
        };
        // It was told as it was decoded.
        let bytes = Bytes {
            rounded: bytes.rounded,
            kept: bytes.kept,
            ..Bytes::new(
                bytes.path,
                bytes.name,
                Format::Codes(Code::Nf4),
                codes.into(),
            )
        };
        Ok(StoredTensor {
            shape: self.shape,
            data: Data::Bytes(bytes),
        })
    }

    /// Its shape; of a matrix `[out, in]`.
    pub fn shape(&self) -> &[usize] {
        &self.shape
    }

    /// The columns of matrices that are to be stacked.
    ///
    /// # Panics
    /// When there is none, or their columns differ.
    pub fn same_cols(parts: &[StoredTensor<'_>]) -> usize {
        let cols = |part: &StoredTensor<'_>| part.shape[1];
        let first = cols(&parts[0]);
        assert!(parts.iter().all(|part| cols(part) == first), "columns");
        first
    }

    /// Numbers that it holds.
    pub fn count(&self) -> usize {
        self.shape.iter().product()
    }

    /// The rows of a matrix as they are stored: for a device that computes with a format as it is.
    /// What they hold has not been looked at. `None` where numbers are to be rounded or widened, and
    /// where bytes are no whole rows.
    pub fn rows(&self) -> Option<StoredRows<'_>> {
        let Data::Bytes(b) = &self.data else {
            return None;
        };
        let &[count, _] = &*self.shape else {
            return None;
        };
        let heads = b.interleaved_heads.unwrap_or(0);
        let whole = count > 0 && b.bytes.len().is_multiple_of(count);
        let of_heads = heads == 0 || count.is_multiple_of(2 * heads);
        (whole && of_heads && b.kept && b.rounded.is_none()).then_some(StoredRows {
            format: b.format,
            bytes: &b.bytes,
            count,
            heads,
        })
    }

    /// Says that its bytes were taken as they are.
    pub fn taken(&self) {
        if let Data::Bytes(bytes) = &self.data {
            bytes.taken();
        }
    }

    /// Its numbers as F32, row after row.
    ///
    /// # Errors
    /// A value that is not finite, rows that are not of so many heads.
    pub fn values(&self) -> Result<Cow<'a, [f32]>, ModelError> {
        match &self.data {
            Data::Numbers(values) => Ok(Cow::Borrowed(values)),
            Data::Bytes(bytes) => bytes.values(&self.shape).map(Cow::Owned),
        }
    }
}

/// Rows of a matrix in the bytes of their format.
#[derive(Clone, Copy)]
pub struct StoredRows<'a> {
    format: Format,
    bytes: &'a [u8],
    count: usize,
    /// Heads whose rows are interleaved; 0 for rows in order.
    heads: usize,
}

impl<'a> StoredRows<'a> {
    /// Their format.
    pub fn format(&self) -> Format {
        self.format
    }

    /// How many.
    pub fn count(&self) -> usize {
        self.count
    }

    /// Bytes of a row.
    ///
    /// # Panics
    /// When there is no such row.
    pub fn row(&self, row: usize) -> &'a [u8] {
        let width = self.bytes.len() / self.count;
        let at = match self.heads {
            0 => row,
            heads => interleaved(row, self.count / heads),
        };
        &self.bytes[at * width..(at + 1) * width]
    }
}

/// Where row `(h, half * d/2 + i)` of heads of `d` rows is stored: at `(h, 2 i + half)`.
fn interleaved(row: usize, d: usize) -> usize {
    let (head, j) = (row / d, row % d);
    let (half, i) = (j / (d / 2), j % (d / 2));
    head * d + 2 * i + half
}

impl Bytes<'_> {
    /// Tells it, and gives the memory of the file back.
    fn taken(&self) {
        if let Some(report) = self.progress {
            report(self.stored);
        }
        if let Some(map) = self.map {
            map.release(&self.bytes);
        }
    }

    fn values(&self, shape: &[usize]) -> Result<Vec<f32>, ModelError> {
        let corrupt = |problem| ModelError::Corrupt {
            path: self.path.to_path_buf(),
            problem,
        };
        let name = self.name;
        let mut values = self
            .format
            .decode(&self.bytes)
            .ok_or_else(|| corrupt(format!("tensor `{name}` is no {:?}", self.format)))?;
        check_finite(self.path, name, &values)?;
        if let Some(heads) = self.interleaved_heads {
            let width = shape.get(1).copied().unwrap_or(1);
            values = in_order(&values, heads, width).ok_or_else(|| {
                corrupt(format!(
                    "tensor `{name}` of shape {shape:?} has not {heads} heads"
                ))
            })?;
        }
        self.taken();
        if let Some(half_type) = self.rounded {
            let values = values.par_iter().with_min_len(1 << 16);
            return Ok(values.map(|&v| half_type.round(v)).collect());
        }
        Ok(values)
    }
}

/// The rows in the order of a model that rotates halves of each head.
fn in_order(values: &[f32], heads: usize, width: usize) -> Option<Vec<f32>> {
    let rows = values.len().checked_div(width)?;
    let head = rows.checked_div(heads)?;
    if head * heads != rows || !head.is_multiple_of(2) {
        return None;
    }
    let order = (0..rows).map(|row| interleaved(row, head));
    let rows = order.map(|row| &values[row * width..(row + 1) * width]);
    Some(rows.flatten().copied().collect())
}

fn check_finite(path: &Path, name: &str, values: &[f32]) -> Result<(), ModelError> {
    let bad = |chunk: &[f32]| chunk.iter().position(|x| !x.is_finite());
    let chunk = 1 << 16;
    let first = values
        .par_chunks(chunk)
        .enumerate()
        .find_map_first(|(i, part)| bad(part).map(|at| i * chunk + at));
    match first {
        None => Ok(()),
        Some(index) => Err(ModelError::NotFinite {
            path: path.to_path_buf(),
            name: name.to_owned(),
            index,
            value: values[index],
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn interleaved_rows_come_in_halves_of_each_head() {
        // Two heads of four rows: rows in turns (first half, second half, ...) to halves.
        let rows = [0.0, 2.0, 1.0, 3.0, 4.0, 6.0, 5.0, 7.0];
        let halves = in_order(&rows, 2, 1).unwrap();
        assert_eq!(halves, [0.0, 1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0]);
        assert_eq!(in_order(&rows, 3, 1), None);
        assert_eq!(in_order(&rows, 0, 1), None);
    }

    #[test]
    fn rows_are_handed_out_in_order_as_they_are_stored() {
        let (path, bytes) = (Path::new("file"), [0, 60, 0, 64, 0, 66, 0, 68]);
        let stored = |interleaved_heads, rounded| {
            let bytes = Bytes {
                interleaved_heads,
                rounded,
                ..Bytes::new(path, "w", Format::F16, Cow::Borrowed(&bytes))
            };
            StoredTensor::in_file(&[4, 1], bytes)
        };
        let firsts = |stored: &StoredTensor<'_>| {
            let rows = stored.rows()?;
            let rows = (0..rows.count()).map(move |row| rows.row(row)[1]);
            Some(rows.collect::<Vec<u8>>())
        };
        let plain = stored(None, None);
        assert_eq!(firsts(&plain).unwrap(), [60, 64, 66, 68]);
        assert_eq!(*plain.values().unwrap(), [1.0, 2.0, 3.0, 4.0]);
        let turned = stored(Some(1), None);
        assert_eq!(firsts(&turned).unwrap(), [60, 66, 64, 68]);
        assert_eq!(*turned.values().unwrap(), [1.0, 3.0, 2.0, 4.0]);
        assert_eq!(firsts(&stored(Some(3), None)), None);
        assert_eq!(firsts(&stored(None, Some(HalfType::Bfloat16))), None);
        let numbers = [5.0, 6.0];
        let numbers = StoredTensor::of(&numbers, 2);
        assert_eq!((numbers.shape(), numbers.count()), (&[1, 2][..], 2));
        assert!(numbers.rows().is_none());
        assert_eq!(*numbers.values().unwrap(), [5.0, 6.0]);
    }
}
