//! Weights that stay in few bits on the GPU: their numbers, and products of few and of many rows with
//! them.

use std::path::Path;

use half::f16;
use qeval::gpu::Cuda;
use qeval::model::{
    Batch, Code, Cpu, Decoder, Device, Format, KvCache, LayerSite, Linear, Mat, ModelFiles,
    NoLowRank, Site, Span, Storage, StoredTensor,
};

use crate::support::{assert_close, down, gpus, numbers};

/// A matrix in a format, and its numbers as a GPU computes with them.
struct Stored {
    name: String,
    format: Format,
    shape: [usize; 2],
    bytes: Vec<u8>,
    numbers: Mat,
}

impl Stored {
    fn tensor(&self) -> StoredTensor<'_> {
        StoredTensor::made(&self.shape, self.format, self.bytes.clone())
    }

    fn new(cuda: &Cuda, name: &str, format: Format, shape: [usize; 2], bytes: Vec<u8>) -> Self {
        let values = StoredTensor::made(&shape, format, bytes.clone());
        let values = values.values().unwrap();
        let data = values.iter().map(|v| cuda.half_type().round(*v)).collect();
        Stored {
            name: name.to_owned(),
            format,
            shape,
            bytes,
            numbers: Mat {
                data,
                cols: shape[1],
            },
        }
    }
}

/// Random matrices in every format that stays as it is.
fn matrices(cuda: &Cuda, outputs: usize, inputs: usize) -> Vec<Stored> {
    let shape = [outputs, inputs];
    let mut values = numbers(outputs, inputs, 9).data;
    values.iter_mut().for_each(|v| *v *= 0.05);
    let named = Format::NAMED.into_iter().filter(|(_, f)| f.is_quantized());
    let mut all: Vec<Stored> = named
        .filter_map(|(name, format)| {
            // Blocks of 256 numbers fit some rows alone.
            let bytes = format.encode(&values, inputs)?;
            Some(Stored::new(cuda, name, format, shape, bytes))
        })
        .collect();
    // What folders alone have: a scale in F32, of four-bit numbers a zero point, and the numbers.
    for (name, format, group, zeros) in [
        ("fp4", Format::Codes(Code::Fp4), 64, false),
        ("int4 of 64", Format::Int4 { inputs: 64 }, 64, true),
        ("int4 of 128", Format::Int4 { inputs: 128 }, 128, true),
    ] {
        if !inputs.is_multiple_of(group) {
            continue;
        }
        let mut bytes = Vec::new();
        for (at, group) in values.chunks_exact(group).enumerate() {
            let scale = f16::from_f32(0.002 * (1 + at % 9) as f32).to_f32();
            bytes.extend(scale.to_le_bytes());
            if zeros {
                bytes.extend((at as u32 % 17).to_le_bytes());
            }
            let pairs = group.chunks_exact(2);
            bytes.extend(pairs.map(|p| (p[0] * 5e4) as i32 as u8 ^ (p[1] * 3e4) as i32 as u8));
        }
        all.push(Stored::new(cuda, name, format, shape, bytes));
    }
    all
}

fn linear(weight: <Cuda as Device>::Weight, bias: Option<&[f32]>, cuda: &Cuda) -> Linear<Cuda> {
    Linear {
        weight,
        bias: bias.map(|b| cuda.vector(b).unwrap()),
        place: LayerSite {
            layer: 0,
            site: Site::Qkv,
        },
    }
}

pub fn tables_hold_the_numbers_of_their_format() {
    for cuda in gpus() {
        for stored in matrices(&cuda, 200, 512) {
            let table = cuda.weight(&[stored.tensor()]).unwrap();
            let bits = cuda.bytes(&table) as f64 * 8.0 / (256.0 * 512.0);
            assert!(bits < 9.0, "{}: {bits} bits a number", stored.name);
            let tokens: Vec<u32> = (0..200).rev().collect();
            let span = Span {
                slot: 0,
                position: 0,
                rows: 0..200,
            };
            let rows = cuda.rows(&tokens, &[span], 200);
            let found = down(&cuda, &cuda.embed(&table, &rows, 1.0));
            for (row, found) in found.chunks_exact(512).enumerate() {
                assert_eq!(found, stored.numbers.row(199 - row), "{}", stored.name);
            }
        }
    }
}

pub fn many_rows_have_the_bits_of_the_widened_weight() {
    for cuda in gpus() {
        for (outputs, inputs) in [(200, 256), (1000, 1792)] {
            let (x, dy) = (numbers(37, inputs, 2), numbers(37, outputs, 3));
            let (x, dy) = (cuda.upload(&x), cuda.upload(&dy));
            for stored in matrices(&cuda, outputs, inputs) {
                let held = linear(cuda.weight(&[stored.tensor()]).unwrap(), None, &cuda);
                let wide = [StoredTensor::of(&stored.numbers.data, inputs)];
                let wide = linear(cuda.weight(&wide).unwrap(), None, &cuda);
                let both = [&held, &wide].map(|linear| {
                    let y = down(&cuda, &cuda.product(linear, &x, None));
                    let dx = down(&cuda, &cuda.product_backward(&linear.weight, &dy, None));
                    (y, dx)
                });
                assert_eq!(both[0], both[1], "{} {outputs} x {inputs}", stored.name);
            }
        }
    }
}

/// Rows of the matrices that taller ones repeat: whole in no tile.
const PERIOD: usize = 200;

pub fn few_rows_in_every_format() {
    few_rows(&[(200, 256), (960, 576)]);
}

pub fn few_rows_of_large_weights() {
    few_rows(&[(4608, 3584), (3584, 9472), (21000, 256)]);
}

fn few_rows(shapes: &[(usize, usize)]) {
    for cuda in gpus() {
        for &(outputs, inputs) in shapes {
            let bias = numbers(1, outputs, 4).data;
            let x = numbers(128, inputs, 2);
            for mut stored in matrices(&cuda, PERIOD, inputs) {
                let period = [StoredTensor::of(&stored.numbers.data, inputs)];
                let cpu = Cpu.weight(&period).unwrap();
                let expected = Cpu.logits(&cpu, &x);
                let expected = |rows: usize, bias: Option<&[f32]>| -> Vec<f32> {
                    let of_row = |row| {
                        let add = |o: usize| bias.map_or(0.0, |b: &[f32]| b[o]);
                        let expected = &expected;
                        (0..outputs).map(move |o| expected.row(row)[o % PERIOD] + add(o))
                    };
                    (0..rows).flat_map(of_row).collect()
                };
                let row = stored.bytes.len() / PERIOD;
                let all = stored.bytes.iter().cycle().take(row * outputs);
                stored.bytes = all.copied().collect();
                stored.shape[0] = outputs;
                let weight = cuda.weight(&[stored.tensor()]).unwrap();
                let mut held = linear(weight, Some(&bias), &cuda);
                for site in [Site::Qkv, Site::GateUp] {
                    held.place.site = site;
                    let product = |rows: usize| {
                        let x = x.gather(&(0..rows).collect::<Vec<_>>());
                        let x = cuda.of_slots(cuda.upload(&x));
                        down(&cuda, &cuda.product(&held, &x, None))
                    };
                    let first = product(1);
                    for rows in [1, 16, 20, 64, 80, 128] {
                        let found = product(rows);
                        let what = format!("{} {rows} x {outputs} x {inputs}", stored.name);
                        assert_close(&what, &found, &expected(rows, Some(&bias)), 4e-3);
                        // A GPU without Hopper's products has kernels for 64.
                        if rows <= 64 {
                            assert_eq!(found[..outputs], first, "{what}: the first row");
                        }
                    }
                }
                let x = x.gather(&[0, 1, 2]);
                let logits = cuda.logits(&held.weight, &cuda.of_slots(cuda.upload(&x)));
                let what = format!("{} F32", stored.name);
                assert_close(&what, &down(&cuda, &logits), &expected(3, None), 1e-4);
            }
        }
    }
}

/// Logits of a whole sequence, which are products of many rows.
fn logits(cuda: &Cuda, files: &ModelFiles) -> (Vec<f32>, usize) {
    let decoder = Decoder::load_on(cuda.clone(), &files.config, &files.weights).unwrap();
    let batch = Batch {
        tokens: (0..90)
            .map(|t| t % files.config.vocab_size as u32)
            .collect(),
        spans: vec![Span {
            slot: 0,
            position: 0,
            rows: 0..90,
        }],
    };
    let mut cache = KvCache::on(cuda, &files.config, 1, 90).unwrap();
    let hidden = decoder.forward(&batch, &mut cache, &mut NoLowRank).unwrap();
    let logits = decoder.logits(&hidden).unwrap();
    (down(cuda, &logits), decoder.bytes())
}

pub fn models_as_they_are_stored() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/models");
    for cuda in gpus() {
        for name in [
            "tiny-nf4",
            "tiny-fp4",
            "tiny-gptq",
            "tiny-awq",
            "tiny-gptq-act-order",
        ] {
            let mut files = ModelFiles::open(&folder.join(name)).unwrap();
            let (stored, few) = logits(&cuda, &files);
            files.weights.hold(Storage::Widened).unwrap();
            let (widened, many) = logits(&cuda, &files);
            assert_eq!(stored, widened, "{name}");
            // Where any input may be of any group, nothing is kept.
            assert_eq!(few < many, name != "tiny-gptq-act-order", "{name}");
        }
    }
}
