//! The header of a GGUF file: metadata and tensor table, checked against the file's length.
//!
//! Parsed here and not by candle, whose reader divides by an alignment that the file gives and
//! spends 32 bytes on each byte of an array: a damaged file must be an error, never a panic or a
//! large allocation. Nothing is allocated from a count; entries end where the file does.
//! Format: <https://github.com/ggml-org/ggml/blob/master/docs/gguf.md>, versions 2 and 3.

use std::collections::{BTreeMap, HashMap};
use std::fmt;

use candle_core::quantized::GgmlDType;

/// A metadata value. Integers of every width are one kind.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Value {
    Int(i128),
    Float(f64),
    Bool(bool),
    Text(String),
    Ints(Vec<i64>),
    Floats(Vec<f64>),
    Texts(Vec<String>),
    /// An array that no one here reads: of booleans, of arrays.
    OtherArray,
}

impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Value::Int(n) => write!(f, "{n}"),
            Value::Float(x) => write!(f, "{x}"),
            Value::Bool(b) => write!(f, "{b}"),
            Value::Text(text) => write!(f, "\"{text}\""),
            Value::Ints(_) | Value::Floats(_) | Value::Texts(_) | Value::OtherArray => {
                f.write_str("a list")
            }
        }
    }
}

/// Where a tensor lies in the file.
pub(super) struct Info {
    /// Outermost dimension first, as Hugging Face writes a shape.
    pub shape: Vec<usize>,
    /// Its block format, or the id of one that candle does not know.
    pub dtype: Result<GgmlDType, u32>,
    /// First byte.
    pub start: usize,
    /// Bytes.
    pub bytes: usize,
}

fn ggml_dtype(id: u32) -> Result<GgmlDType, u32> {
    Ok(match id {
        0 => GgmlDType::F32,
        1 => GgmlDType::F16,
        2 => GgmlDType::Q4_0,
        3 => GgmlDType::Q4_1,
        6 => GgmlDType::Q5_0,
        7 => GgmlDType::Q5_1,
        8 => GgmlDType::Q8_0,
        10 => GgmlDType::Q2K,
        11 => GgmlDType::Q3K,
        12 => GgmlDType::Q4K,
        13 => GgmlDType::Q5K,
        14 => GgmlDType::Q6K,
        30 => GgmlDType::BF16,
        other => return Err(other),
    })
}

/// The name of a block format that candle does not know.
pub(super) fn ggml_name(id: u32) -> String {
    let name = match id {
        9 => "Q8_1",
        15 => "Q8_K",
        16 => "IQ2_XXS",
        17 => "IQ2_XS",
        18 => "IQ3_XXS",
        19 => "IQ1_S",
        20 => "IQ4_NL",
        21 => "IQ3_S",
        22 => "IQ2_S",
        23 => "IQ4_XS",
        24 => "I8",
        25 => "I16",
        26 => "I32",
        27 => "I64",
        28 => "F64",
        29 => "IQ1_M",
        34 => "TQ1_0",
        35 => "TQ2_0",
        39 => "MXFP4",
        other => return format!("GGML type {other}"),
    };
    name.to_owned()
}

/// What the header says, before tensors are placed.
pub(super) struct Header {
    metadata: HashMap<String, Value>,
    tensors: Vec<(String, Vec<usize>, u32, u64)>,
    end: usize,
}

pub(super) type Placed = (HashMap<String, Value>, BTreeMap<String, Info>);

impl Header {
    pub fn parse(bytes: &[u8]) -> Result<Header, String> {
        let mut reader = Reader { bytes, at: 0 };
        if reader.take(4).ok() != Some(b"GGUF".as_slice()) {
            return Err("it does not begin with `GGUF`".to_owned());
        }
        let version = reader.u32()?;
        if !matches!(version, 2 | 3) {
            return Err(format!(
                "GGUF version {version}; versions 2 and 3 can be read"
            ));
        }
        let tensor_count = reader.u64()?;
        let metadata_count = reader.u64()?;
        let mut metadata = HashMap::new();
        for _ in 0..metadata_count {
            let key = reader.string()?;
            let kind = reader.u32()?;
            let value = reader
                .value(kind, 0)
                .map_err(|e| format!("metadata `{key}`: {e}"))?;
            metadata.insert(key, value);
        }
        let mut tensors = Vec::new();
        for _ in 0..tensor_count {
            let name = reader.string()?;
            let dimensions = reader.u32()?;
            if !(1..=4).contains(&dimensions) {
                return Err(format!("tensor `{name}` has {dimensions} dimensions"));
            }
            let mut shape = (0..dimensions)
                .map(|_| {
                    usize::try_from(reader.u64()?)
                        .map_err(|_| format!("tensor `{name}` is too large"))
                })
                .collect::<Result<Vec<_>, String>>()?;
            shape.reverse();
            tensors.push((name, shape, reader.u32()?, reader.u64()?));
        }
        Ok(Header {
            metadata,
            tensors,
            end: reader.at,
        })
    }

    /// Finds every tensor inside a file of `len` bytes.
    pub fn place(self, len: usize) -> Result<Placed, String> {
        let alignment = match self.metadata.get("general.alignment") {
            None => 32,
            Some(Value::Int(n)) if *n >= 8 && *n % 8 == 0 && *n <= 1 << 20 => *n as usize,
            Some(other) => return Err(format!("general.alignment is {other}, not 8, 16, 24, ...")),
        };
        let data = self.end.next_multiple_of(alignment);
        let mut infos = BTreeMap::new();
        for (name, shape, id, offset) in self.tensors {
            let dtype = ggml_dtype(id);
            let elements = shape
                .iter()
                .try_fold(1usize, |n, &d| n.checked_mul(d))
                .ok_or_else(|| format!("tensor `{name}` is too large: {shape:?}"))?;
            // Of unknown formats not even the size is known; asking for such a tensor fails.
            let bytes = match dtype {
                Err(_) => 0,
                Ok(dtype) => {
                    let row = shape[shape.len() - 1];
                    if row % dtype.block_size() != 0 {
                        return Err(format!("tensor `{name}` has rows of {row} in {dtype:?}"));
                    }
                    (elements / dtype.block_size()).saturating_mul(dtype.type_size())
                }
            };
            let start = usize::try_from(offset)
                .ok()
                .filter(|offset| offset % alignment == 0)
                .and_then(|offset| data.checked_add(offset))
                .ok_or_else(|| format!("tensor `{name}` has offset {offset}"))?;
            if start.checked_add(bytes).is_none_or(|end| end > len) {
                return Err(format!(
                    "tensor `{name}` needs {bytes} bytes from {start}, the file ends at {len}"
                ));
            }
            let info = Info {
                shape,
                dtype,
                start,
                bytes,
            };
            if infos.insert(name.clone(), info).is_some() {
                return Err(format!("tensor `{name}` is there twice"));
            }
        }
        Ok((self.metadata, infos))
    }
}

struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Reader<'a> {
    fn take(&mut self, count: usize) -> Result<&'a [u8], String> {
        let end = self
            .at
            .checked_add(count)
            .filter(|end| *end <= self.bytes.len());
        let end = end.ok_or_else(|| {
            format!(
                "the header needs {count} bytes from {}, the file ends at {}",
                self.at,
                self.bytes.len()
            )
        })?;
        let part = &self.bytes[self.at..end];
        self.at = end;
        Ok(part)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], String> {
        let mut out = [0; N];
        out.copy_from_slice(self.take(N)?);
        Ok(out)
    }

    fn u32(&mut self) -> Result<u32, String> {
        self.array().map(u32::from_le_bytes)
    }

    fn u64(&mut self) -> Result<u64, String> {
        self.array().map(u64::from_le_bytes)
    }

    fn string(&mut self) -> Result<String, String> {
        let len = self.u64()?;
        let len = usize::try_from(len).map_err(|_| format!("a string of {len} bytes"))?;
        let bytes = self.take(len)?;
        // Some writers end strings with a zero byte.
        let text = String::from_utf8_lossy(bytes);
        Ok(text.trim_end_matches('\0').to_owned())
    }

    fn value(&mut self, kind: u32, depth: u32) -> Result<Value, String> {
        Ok(match kind {
            0 => Value::Int(self.array::<1>()?[0].into()),
            1 => Value::Int(i8::from_le_bytes(self.array()?).into()),
            2 => Value::Int(u16::from_le_bytes(self.array()?).into()),
            3 => Value::Int(i16::from_le_bytes(self.array()?).into()),
            4 => Value::Int(self.u32()?.into()),
            5 => Value::Int(i32::from_le_bytes(self.array()?).into()),
            6 => Value::Float(f32::from_le_bytes(self.array()?).into()),
            7 => Value::Bool(self.array::<1>()?[0] != 0),
            8 => Value::Text(self.string()?),
            9 => return self.list(depth),
            10 => Value::Int(self.u64()?.into()),
            11 => Value::Int(i64::from_le_bytes(self.array()?).into()),
            12 => Value::Float(f64::from_le_bytes(self.array()?)),
            other => return Err(format!("a value of unknown type {other}")),
        })
    }

    fn list(&mut self, depth: u32) -> Result<Value, String> {
        let kind = self.u32()?;
        let count = self.u64()?;
        if depth > 4 {
            return Err("arrays nested too deep".to_owned());
        }
        match kind {
            0..=5 | 10 | 11 => {
                let mut all = Vec::new();
                for _ in 0..count {
                    match self.value(kind, depth)? {
                        Value::Int(n) => {
                            all.push(i64::try_from(n).map_err(|_| "a number above 2^63")?)
                        }
                        other => return Err(format!("{other} among integers")),
                    }
                }
                Ok(Value::Ints(all))
            }
            6 | 12 => {
                let mut all = Vec::new();
                for _ in 0..count {
                    match self.value(kind, depth)? {
                        Value::Float(x) => all.push(x),
                        other => return Err(format!("{other} among floats")),
                    }
                }
                Ok(Value::Floats(all))
            }
            8 => {
                let mut all = Vec::new();
                for _ in 0..count {
                    all.push(self.string()?);
                }
                Ok(Value::Texts(all))
            }
            _ => {
                for _ in 0..count {
                    if kind == 9 {
                        self.list(depth + 1)?;
                    } else {
                        self.value(kind, depth)?;
                    }
                }
                Ok(Value::OtherArray)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::gguf_model::sample::Sample;
    use super::*;

    fn place(bytes: &[u8]) -> Result<Placed, String> {
        Header::parse(bytes)?.place(bytes.len())
    }

    /// A header written by hand: no tensors, the given metadata entries.
    fn header(entries: &[(&str, u32, &[u8])]) -> Vec<u8> {
        let mut out = b"GGUF".to_vec();
        out.extend(3u32.to_le_bytes());
        out.extend(0u64.to_le_bytes());
        out.extend((entries.len() as u64).to_le_bytes());
        for (key, kind, value) in entries {
            out.extend((key.len() as u64).to_le_bytes());
            out.extend(key.as_bytes());
            out.extend(kind.to_le_bytes());
            out.extend(*value);
        }
        out
    }

    fn array(kind: u32, count: u64, items: &[u8]) -> Vec<u8> {
        [&kind.to_le_bytes()[..], &count.to_le_bytes(), items].concat()
    }

    #[test]
    fn values_of_every_type_are_read() {
        let list = array(5, 2, &[[1, 0, 0, 0], [0xff; 4]].concat());
        let text = [&2u64.to_le_bytes()[..], b"hi"].concat();
        let texts = array(8, 1, &text);
        let nested = array(9, 1, &array(6, 1, &1f32.to_le_bytes()));
        let bytes = header(&[
            ("u8", 0, &[255]),
            ("i8", 1, &[255]),
            ("i64", 11, &(-5i64).to_le_bytes()),
            ("u64", 10, &u64::MAX.to_le_bytes()),
            ("f32", 6, &1.5f32.to_le_bytes()),
            ("f64", 12, &2.5f64.to_le_bytes()),
            ("bool", 7, &[1]),
            ("text", 8, &text),
            ("ints", 9, &list),
            ("texts", 9, &texts),
            ("nested", 9, &nested),
        ]);
        let (found, _) = place(&bytes).unwrap();
        for (key, value) in [
            ("u8", Value::Int(255)),
            ("i8", Value::Int(-1)),
            ("i64", Value::Int(-5)),
            ("u64", Value::Int(u64::MAX.into())),
            ("f32", Value::Float(1.5)),
            ("f64", Value::Float(2.5)),
            ("bool", Value::Bool(true)),
            ("text", Value::Text("hi".into())),
            ("ints", Value::Ints(vec![1, -1])),
            ("texts", Value::Texts(vec!["hi".into()])),
            ("nested", Value::OtherArray),
        ] {
            assert_eq!(found[key], value, "{key}");
        }
    }

    #[test]
    fn hostile_counts_are_errors_without_allocation() {
        let huge = u64::MAX.to_le_bytes();
        let mut tensors = header(&[]);
        tensors[8..16].copy_from_slice(&huge);
        let mut entries = header(&[]);
        entries[16..24].copy_from_slice(&huge);
        let mut deep = Vec::new();
        for _ in 0..100 {
            deep.extend(array(9, 1, &[]));
        }
        let mut old = header(&[]);
        old[4] = 1;
        let all = [
            b"GGML".to_vec(),
            old,
            tensors,
            entries,
            header(&[("k", 8, &huge)]),
            header(&[("k", 9, &array(4, 1 << 60, &[]))]),
            header(&[("k", 9, &deep)]),
            header(&[("k", 77, &[])]),
            header(&[("general.alignment", 4, &[0; 4])]),
        ];
        let texts: Vec<String> = all
            .iter()
            .map(|bytes| place(bytes).err().unwrap())
            .collect();
        insta::assert_snapshot!(texts.join("\n"), @r"
        it does not begin with `GGUF`
        GGUF version 1; versions 2 and 3 can be read
        the header needs 8 bytes from 24, the file ends at 24
        the header needs 8 bytes from 24, the file ends at 24
        metadata `k`: the header needs 18446744073709551615 bytes from 45, the file ends at 45
        metadata `k`: the header needs 4 bytes from 49, the file ends at 49
        metadata `k`: arrays nested too deep
        metadata `k`: a value of unknown type 77
        general.alignment is 0, not 8, 16, 24, ...
        ");
    }

    #[test]
    fn tensors_beyond_the_file_are_refused() {
        let tensor = |dims: &[u64], dtype: u32, offset: u64| {
            let mut out = header(&[]);
            out[8] = 1;
            out.extend(1u64.to_le_bytes());
            out.push(b't');
            out.extend((dims.len() as u32).to_le_bytes());
            dims.iter().for_each(|d| out.extend(d.to_le_bytes()));
            out.extend(dtype.to_le_bytes());
            out.extend(offset.to_le_bytes());
            out.resize(out.len().next_multiple_of(32) + 64, 0);
            place(&out).err().unwrap_or_else(|| "placed".to_owned())
        };
        let all = [
            tensor(&[16], 0, 0),
            tensor(&[17], 0, 0),
            tensor(&[u64::MAX, u64::MAX], 0, 0),
            tensor(&[1 << 40, 1 << 20], 0, 0),
            tensor(&[16], 0, u64::MAX - 31),
            tensor(&[8], 0, 4),
            tensor(&[16], 2, 0),
            tensor(&[], 0, 0),
            tensor(&[1; 5], 0, 0),
        ];
        insta::assert_snapshot!(all.join("\n"), @r"
        placed
        tensor `t` needs 68 bytes from 64, the file ends at 128
        tensor `t` is too large: [18446744073709551615, 18446744073709551615]
        tensor `t` needs 4611686018427387904 bytes from 96, the file ends at 160
        tensor `t` has offset 18446744073709551584
        tensor `t` has offset 4
        tensor `t` has rows of 16 in Q4_0
        tensor `t` has 0 dimensions
        tensor `t` has 5 dimensions
        ");
    }

    #[test]
    fn no_cut_or_flipped_file_panics() {
        let whole = Sample::new("tiny-llama", "gpt-2").bytes();
        let end = Header::parse(&whole).unwrap().end;
        for cut in (0..end)
            .step_by(11)
            .chain((end..whole.len() - 31).step_by(9973))
        {
            assert!(place(&whole[..cut]).is_err(), "cut at {cut}");
        }
        let mut refused = 0;
        for at in (0..end).step_by(3) {
            let mut flipped = whole.clone();
            flipped[at] ^= 1 << (at % 8);
            refused += usize::from(place(&flipped).is_err());
        }
        assert!(refused > 0);
    }
}
