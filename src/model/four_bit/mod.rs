//! Folders whose matrices have four bits a number: bitsandbytes, GPTQ, AWQ.
//!
//! Each spreads a matrix over several tensors, in an order of its own. Here they are one tensor with
//! the name that an unquantized model has for it, and its rows are laid out as blocks of a
//! [`Format`] when they are asked for. A kind of folder is a file here.

mod awq;
mod bitsandbytes;
mod gptq;
mod grouped;

use std::collections::BTreeMap;
use std::path::Path;

use safetensors::Dtype;

use super::json::Keys;
use super::stored::{Bytes, Format, Stored};
use super::{ModelError, TensorFile};

/// Where tensors are: the file of several, and the name there.
pub(super) type Places = BTreeMap<String, (usize, String)>;

/// What `quantization_config` says of a folder.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Quantization {
    BitsAndBytes,
    Gptq {
        /// Zero points are stored less one, as all but `gptq_v2` do.
        zeros_less_one: bool,
    },
    Awq,
}

/// The rule that every kind that is not read breaks.
const READ: &str = "qeval reads bitsandbytes of 4 bits, and GPTQ and AWQ (gemm) of 4 bits; give one \
                    of them, the unquantized weights, or a GGUF file";

impl Quantization {
    /// Of a `config.json`; `None` where it says nothing.
    ///
    /// # Errors
    /// A kind that is not read.
    pub fn read(keys: &Keys) -> Result<Option<Self>, ModelError> {
        let Some(section) = keys.object("quantization_config")? else {
            return Ok(None);
        };
        let refuse = |key: &str| {
            let value = section.get(key).cloned().unwrap_or_default();
            Err(section.unsupported(key, &value, READ))
        };
        let method = section.text("quant_method")?.map(str::to_ascii_lowercase);
        let four = section.size("bits")?.is_none_or(|bits| bits == 4);
        match method.as_deref() {
            Some("bitsandbytes") | None => match section.boolean("load_in_4bit", false)? {
                true => Ok(Some(Quantization::BitsAndBytes)),
                false if section.boolean("load_in_8bit", false)? => refuse("load_in_8bit"),
                false => refuse("quant_method"),
            },
            Some("gptq" | "awq") if !four => refuse("bits"),
            Some("gptq") => match section.text("checkpoint_format")? {
                None | Some("gptq") => Ok(Some(Quantization::Gptq {
                    zeros_less_one: true,
                })),
                Some("gptq_v2") => Ok(Some(Quantization::Gptq {
                    zeros_less_one: false,
                })),
                Some(_) => refuse("checkpoint_format"),
            },
            Some("awq") => match section.text("version")?.map(str::to_ascii_lowercase) {
                None => Ok(Some(Quantization::Awq)),
                Some(version) if version == "gemm" => Ok(Some(Quantization::Awq)),
                Some(_) => refuse("version"),
            },
            Some(_) => refuse("quant_method"),
        }
    }

    /// Ends of names that stand for one matrix, that of its numbers first.
    fn ends(self) -> &'static [&'static str] {
        match self {
            Quantization::BitsAndBytes => &bitsandbytes::ENDS,
            Quantization::Gptq { .. } => &["qweight", "qzeros", "scales", "g_idx"],
            Quantization::Awq => &["qweight", "qzeros", "scales"],
        }
    }

    /// The end whose tensor says that a module is quantized.
    fn signs(self) -> &'static [&'static str] {
        match self {
            Quantization::BitsAndBytes => &bitsandbytes::STATES,
            Quantization::Gptq { .. } | Quantization::Awq => &["qweight"],
        }
    }
}

/// A matrix: its shape `[out, in]`, and what its rows are laid out as.
struct Described {
    shape: [usize; 2],
    format: Format,
}

/// The matrices of such a folder.
pub(super) struct FourBit {
    quantization: Quantization,
    /// By the names of an unquantized model.
    matrices: BTreeMap<String, Described>,
    /// Of what they are made of.
    places: Places,
}

impl FourBit {
    /// Takes what stands for matrices of four bits out of `places`, and leaves the names that an
    /// unquantized model has.
    ///
    /// # Errors
    /// A matrix of which a part is missing or has another type or shape.
    pub fn take_from(
        quantization: Quantization,
        places: &mut Places,
        files: &[TensorFile],
    ) -> Result<Self, ModelError> {
        let stem = |name: &String| {
            let mut signs = quantization.signs().iter();
            let stem = signs.find_map(|sign| name.strip_suffix(sign)?.strip_suffix('.'));
            stem.map(str::to_owned)
        };
        let stems: Vec<String> = places.keys().filter_map(stem).collect();
        let mut four_bit = FourBit {
            quantization,
            matrices: BTreeMap::new(),
            places: Places::new(),
        };
        for stem in stems {
            for end in quantization.ends() {
                let taken = places.remove_entry(&format!("{stem}.{end}"));
                four_bit.places.extend(taken);
            }
            let parts = four_bit.parts(files, &stem);
            let described = match quantization {
                Quantization::BitsAndBytes => bitsandbytes::describe(&parts),
                Quantization::Gptq { .. } => gptq::describe(&parts),
                Quantization::Awq => awq::describe(&parts),
            }?;
            let name = format!("{stem}.weight");
            four_bit.matrices.insert(name, described);
        }
        Ok(four_bit)
    }

    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.matrices.keys().map(String::as_str)
    }

    pub fn shape(&self, name: &str) -> Option<&[usize]> {
        self.matrices.get(name).map(|matrix| &matrix.shape[..])
    }

    /// Bytes of all parts of a matrix.
    pub fn stored_bytes(&self, files: &[TensorFile], name: &str) -> Option<u64> {
        let stem = name.strip_suffix(".weight")?;
        let parts = self.parts(files, stem);
        let ends = self.quantization.ends().iter();
        let bytes = ends.filter_map(|end| Some(parts.find(end)?.2.len() as u64));
        Some(bytes.sum())
    }

    /// What a matrix's rows are laid out as.
    pub fn format(&self, name: &str) -> Option<Format> {
        self.matrices.get(name).map(|matrix| matrix.format)
    }

    /// A matrix's rows, laid out, and its shape; an error where a part holds what it must not, `None`
    /// where there is no such matrix.
    pub fn stored<'a>(&'a self, files: &'a [TensorFile], name: &'a str) -> Option<Stored<'a>> {
        let described = self.matrices.get(name)?;
        let path = self.path(files, name)?;
        let rows = self.rows(files, name.strip_suffix(".weight")?, described.format);
        Some(rows.map(|rows| {
            let stored = self.stored_bytes(files, name).unwrap_or(0);
            let bytes = Bytes::new(path, name, described.format, rows.into());
            (&described.shape[..], Bytes { stored, ..bytes })
        }))
    }

    fn rows(
        &self,
        files: &[TensorFile],
        stem: &str,
        format: Format,
    ) -> Result<Vec<u8>, ModelError> {
        let parts = self.parts(files, stem);
        let rows = match self.quantization {
            Quantization::BitsAndBytes => bitsandbytes::rows(&parts, format),
            Quantization::Gptq { zeros_less_one } => gptq::rows(&parts, zeros_less_one),
            Quantization::Awq => awq::rows(&parts),
        }?;
        for end in self.quantization.ends() {
            if let Some((file, stored)) = self.places.get(&parts.name(end)) {
                files[*file].release(stored);
            }
        }
        Ok(rows)
    }

    /// The file of a matrix's numbers, for messages.
    pub fn path<'a>(&self, files: &'a [TensorFile], name: &str) -> Option<&'a Path> {
        let stem = name.strip_suffix(".weight")?;
        let first = self.quantization.ends().first()?;
        let (file, _) = self.places.get(&format!("{stem}.{first}"))?;
        Some(files[*file].path())
    }

    fn parts<'a>(&'a self, files: &'a [TensorFile], stem: &'a str) -> Parts<'a> {
        Parts {
            stem,
            files,
            places: &self.places,
        }
    }
}

/// The tensors of one matrix.
struct Parts<'a> {
    stem: &'a str,
    files: &'a [TensorFile],
    places: &'a Places,
}

impl<'a> Parts<'a> {
    fn name(&self, end: &str) -> String {
        format!("{}.{end}", self.stem)
    }

    /// The file of a part that is there, else of any; for messages.
    fn path(&self, end: &str) -> &'a Path {
        let place = self.places.get(&self.name(end));
        let place = place.or_else(|| {
            let mut all = self.places.iter();
            let own = all.find(|(name, _)| name.starts_with(self.stem));
            own.map(|(_, place)| place)
        });
        self.files[place.map_or(0, |(file, _)| *file)].path()
    }

    fn find(&self, end: &str) -> Option<(Dtype, &'a [usize], &'a [u8])> {
        let (file, name) = self.places.get(&self.name(end))?;
        self.files[*file].raw(name)
    }

    /// A part of one of these types.
    fn get(&self, end: &str, dtypes: &[Dtype]) -> Result<Part<'a>, ModelError> {
        let (dtype, shape, bytes) = self.find(end).ok_or_else(|| {
            self.damaged(
                end,
                "is missing; a matrix of four bits is stored in several".to_owned(),
            )
        })?;
        if !dtypes.contains(&dtype) {
            let known = dtypes.iter().map(|d| d.to_string()).collect::<Vec<_>>();
            return Err(self.damaged(end, format!("is {dtype}, not {}", known.join(" or "))));
        }
        Ok(Part {
            dtype,
            shape,
            bytes,
        })
    }

    /// A part of this type and shape.
    fn of_shape(
        &self,
        end: &str,
        dtypes: &[Dtype],
        expected: &[usize],
    ) -> Result<Part<'a>, ModelError> {
        let part = self.get(end, dtypes)?;
        if part.shape == expected {
            return Ok(part);
        }
        let problem = format!(
            "has shape {:?}, and its matrix asks for {expected:?}",
            part.shape
        );
        Err(self.damaged(end, problem))
    }

    fn damaged(&self, end: &str, problem: String) -> ModelError {
        ModelError::Corrupt {
            path: self.path(end).to_path_buf(),
            problem: format!("tensor `{}` {problem}", self.name(end)),
        }
    }

    /// Refuses numbers of a part that are not finite.
    fn finite(&self, end: &str, values: &[f32]) -> Result<(), ModelError> {
        let Some(index) = values.iter().position(|x| !x.is_finite()) else {
            return Ok(());
        };
        Err(ModelError::NotFinite {
            path: self.path(end).to_path_buf(),
            name: self.name(end),
            index,
            value: values[index],
        })
    }
}

/// One of them.
struct Part<'a> {
    dtype: Dtype,
    shape: &'a [usize],
    bytes: &'a [u8],
}

impl Part<'_> {
    /// Words of 32 bits.
    fn words(&self) -> Vec<u32> {
        let (words, _) = self.bytes.as_chunks::<4>();
        words.iter().map(|&word| u32::from_le_bytes(word)).collect()
    }

    /// Numbers of F32, or of 16 bits.
    fn floats(&self) -> Vec<f32> {
        let format = match self.dtype {
            Dtype::F16 => Format::F16,
            Dtype::BF16 => Format::Bf16,
            _ => Format::F32,
        };
        format.decode(self.bytes).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use safetensors::SafeTensors;
    use safetensors::tensor::TensorView;
    use serde_json::{Value, json};

    use super::*;
    use crate::model::{ModelConfig, Weights};

    type Tensors = BTreeMap<String, (Dtype, Vec<usize>, Vec<u8>)>;

    fn fixture(name: &str) -> std::path::PathBuf {
        Path::new(env!("CARGO_MANIFEST_DIR"))
            .join("fixtures/models")
            .join(name)
    }

    /// What is said of a copy whose tensors were changed, when it is opened or a matrix is read.
    fn refused(name: &str, edit: impl Fn(&mut Tensors)) -> String {
        let folder = tempfile::tempdir().unwrap();
        let file = std::fs::read(fixture(name).join("model.safetensors")).unwrap();
        let stored = SafeTensors::deserialize(&file).unwrap();
        let tensor = |(name, t): (&str, TensorView<'_>)| {
            let parts = (t.dtype(), t.shape().to_vec(), t.data().to_vec());
            (name.to_owned(), parts)
        };
        let mut tensors: Tensors = stored.iter().map(tensor).collect();
        edit(&mut tensors);
        let views = tensors.iter().map(|(name, (dtype, shape, data))| {
            let view = TensorView::new(*dtype, shape.clone(), data).unwrap();
            (name.as_str(), view)
        });
        let bytes = safetensors::serialize(views, None).unwrap();
        std::fs::write(folder.path().join("model.safetensors"), bytes).unwrap();
        let config = "config.json";
        std::fs::copy(fixture(name).join(config), folder.path().join(config)).unwrap();
        let error = match Weights::open_folder(folder.path()) {
            Err(error) => error,
            Ok(weights) => {
                let mut all = weights.names().into_iter().filter_map(|name| {
                    let shape = weights.shape(name)?;
                    weights.get(name, &shape).err()
                });
                all.next_back().unwrap()
            }
        };
        let text = error.to_string();
        text.replace(&folder.path().display().to_string(), "MODEL")
    }

    const K: &str = "model.layers.0.self_attn.k_proj";

    fn part(end: &str) -> String {
        format!("{K}.{end}")
    }

    #[test]
    fn a_part_that_is_missing_or_does_not_fit_is_named() {
        let texts = [
            refused("tiny-gptq", |t| drop(t.remove(&part("qzeros")))),
            refused("tiny-gptq", |t| {
                let scales = t.get_mut(&part("scales")).unwrap();
                scales.1 = vec![2, 32];
            }),
            refused("tiny-gptq-act-order", |t| {
                t.get_mut(&part("g_idx")).unwrap().2[..4].copy_from_slice(&[9, 0, 0, 0]);
            }),
            refused("tiny-gptq-act-order", |t| {
                t.get_mut(&part("g_idx")).unwrap().2[4..8].copy_from_slice(&[255; 4]);
            }),
            refused("tiny-awq", |t| {
                t.get_mut(&part("qweight")).unwrap().0 = Dtype::F32;
            }),
            refused("tiny-awq", |t| {
                t.get_mut(&part("scales")).unwrap().2[2..4].copy_from_slice(&[0, 0x7c]);
            }),
            refused("tiny-nf4", |t| {
                let codes = t.get_mut(&part("weight")).unwrap();
                codes.2.truncate(100);
                codes.1 = vec![100, 1];
            }),
            refused("tiny-nf4", |t| {
                drop(t.remove(&part("weight.nested_absmax")))
            }),
            refused("tiny-nf4", |t| {
                let map = t.get_mut(&part("weight.quant_map")).unwrap();
                map.2[..4].copy_from_slice(&0.5f32.to_le_bytes());
            }),
            refused("tiny-nf4", |t| {
                let state = t.get_mut(&part("weight.quant_state.bitsandbytes__nf4"));
                state.unwrap().2[0] = b'[';
            }),
            refused("tiny-nf4-single", |t| {
                let scales = t.get_mut(&part("weight.absmax")).unwrap();
                scales.2[8..12].copy_from_slice(&f32::NAN.to_le_bytes());
            }),
        ];
        insta::assert_snapshot!(texts.join("\n"), @r#"
        MODEL/model.safetensors is damaged: tensor `model.layers.0.self_attn.k_proj.qzeros` is missing; a matrix of four bits is stored in several; copy or download it again
        MODEL/model.safetensors is damaged: tensor `model.layers.0.self_attn.k_proj.scales` has shape [2, 32], and its matrix asks for [1, 64]; copy or download it again
        MODEL/model.safetensors is damaged: tensor `model.layers.0.self_attn.k_proj.g_idx` gives group 9 to input 0; there are 4; copy or download it again
        MODEL/model.safetensors is damaged: tensor `model.layers.0.self_attn.k_proj.g_idx` gives group -1 to input 1; there are 4; copy or download it again
        MODEL/model.safetensors is damaged: tensor `model.layers.0.self_attn.k_proj.qweight` is F32, not I32; copy or download it again
        MODEL/model.safetensors: tensor `model.layers.0.self_attn.k_proj.scales` holds inf at index 1; weights must be finite numbers, so the file is damaged or its training diverged
        MODEL/model.safetensors is damaged: tensor `model.layers.0.self_attn.k_proj.weight` has 100 bytes, and its matrix of [64, 128] asks for 4096; copy or download it again
        MODEL/model.safetensors is damaged: tensor `model.layers.0.self_attn.k_proj.weight.nested_absmax` is missing; a matrix of four bits is stored in several; copy or download it again
        MODEL/model.safetensors is damaged: tensor `model.layers.0.self_attn.k_proj.weight.quant_map` is not the table of nf4; copy or download it again
        MODEL/model.safetensors is damaged: tensor `model.layers.0.self_attn.k_proj.weight.quant_state.bitsandbytes__nf4` is no description of codes (expected `,` or `]` at line 1 column 14); copy or download it again
        MODEL/model.safetensors: tensor `model.layers.0.self_attn.k_proj.weight.absmax` holds NaN at index 2; weights must be finite numbers, so the file is damaged or its training diverged
        "#);
    }

    #[test]
    fn any_cut_of_the_description_of_codes_is_an_error() {
        let end = "weight.quant_state.bitsandbytes__nf4";
        for cut in (0..168).step_by(7) {
            let text = refused("tiny-nf4", |t| {
                let state = t.get_mut(&part(end)).unwrap();
                state.2.truncate(cut);
                state.1 = vec![cut];
            });
            assert!(text.contains("description of codes"), "{cut}: {text}");
        }
    }

    #[test]
    fn other_kinds_of_quantization_are_refused_by_name() {
        let read = |section: Value| {
            let folder = tempfile::tempdir().unwrap();
            let path = folder.path().join("config.json");
            let mut config: Value =
                serde_json::from_slice(&std::fs::read(fixture("tiny-nf4/config.json")).unwrap())
                    .unwrap();
            config["quantization_config"] = section;
            std::fs::write(&path, config.to_string()).unwrap();
            match ModelConfig::read(&path) {
                Ok(_) => "read".to_owned(),
                Err(error) => error
                    .to_string()
                    .replace(&path.display().to_string(), "config.json"),
            }
        };
        let texts = [
            json!({"load_in_4bit": true}),
            json!({"quant_method": "GPTQ", "bits": 4}),
            json!({"quant_method": "awq", "bits": 4, "version": "GEMM"}),
            json!({"quant_method": "bitsandbytes", "load_in_8bit": true}),
            json!({"quant_method": "gptq", "bits": 8}),
            json!({"quant_method": "gptq", "bits": 4, "checkpoint_format": "marlin"}),
            json!({"quant_method": "awq", "bits": 4, "version": "gemv"}),
            json!({"quant_method": "compressed-tensors"}),
            json!({"bits": 4}),
            json!("nf4"),
        ]
        .map(read);
        insta::assert_snapshot!(texts.join("\n"), @r#"
        read
        read
        read
        config.json: `quantization_config.load_in_8bit` = true is not supported; qeval reads bitsandbytes of 4 bits, and GPTQ and AWQ (gemm) of 4 bits; give one of them, the unquantized weights, or a GGUF file
        config.json: `quantization_config.bits` = 8 is not supported; qeval reads bitsandbytes of 4 bits, and GPTQ and AWQ (gemm) of 4 bits; give one of them, the unquantized weights, or a GGUF file
        config.json: `quantization_config.checkpoint_format` = "marlin" is not supported; qeval reads bitsandbytes of 4 bits, and GPTQ and AWQ (gemm) of 4 bits; give one of them, the unquantized weights, or a GGUF file
        config.json: `quantization_config.version` = "gemv" is not supported; qeval reads bitsandbytes of 4 bits, and GPTQ and AWQ (gemm) of 4 bits; give one of them, the unquantized weights, or a GGUF file
        config.json: `quantization_config.quant_method` = "compressed-tensors" is not supported; qeval reads bitsandbytes of 4 bits, and GPTQ and AWQ (gemm) of 4 bits; give one of them, the unquantized weights, or a GGUF file
        config.json: `quantization_config.quant_method` = null is not supported; qeval reads bitsandbytes of 4 bits, and GPTQ and AWQ (gemm) of 4 bits; give one of them, the unquantized weights, or a GGUF file
        config.json: `quantization_config` must be an object
        "#);
    }
}
