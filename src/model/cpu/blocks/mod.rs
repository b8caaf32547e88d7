//! Weights that stay in the blocks of their file: 4 to 8 bits a number.
//!
//! Sixteen outputs lie side by side, as those of a weight in F32 do: a block of each in words of 32
//! bits and scales of 16, lane beside lane. A product unpacks some hundred inputs of a few panels to
//! F32, into the nearest cache, and runs the one inner loop on them that every product runs. So
//! what a format needs is a [`Layout`], forward and backward and every number of rows are served by
//! it, and each number is the one that the widened weight holds: results have the same bits.

mod k_quants;
mod lanes;
mod legacy;

use candle_core::quantized::GgmlDType;
use half::f16;
use half::slice::{HalfBitsSliceExt, HalfFloatSliceExt};
use rayon::prelude::*;

use super::tile::PANEL;
use crate::model::stored::{Format, StoredRows};

/// Outputs side by side.
const LANES: usize = PANEL;
/// What is added where there is no smallest number: it leaves even the sign of a zero as it was.
const NOTHING: [f32; LANES] = [-0.0; LANES];
/// Inputs that are unpacked at once, at most: two panels of them fit the nearest cache.
const AT_ONCE: usize = 256;

/// How the blocks of a format lie in a panel, and what they stand for.
#[derive(Clone, Copy)]
struct Layout {
    /// Numbers of a block.
    inputs: usize,
    /// Bytes of a block in a file.
    bytes: usize,
    /// 32-bit words of an output for a block.
    words: usize,
    /// 16-bit numbers of an output for a block.
    halves: usize,
    /// Where in a block its numbers of half precision stand; they come first among the 16-bit ones.
    scales: &'static [usize],
    /// Puts the rest of a block of a file into a lane of zeros.
    pack: fn(block: &[u8], lane: usize, words: &mut [u32], halves: &mut [u16]),
    /// Numbers of a block of all lanes, input after input.
    unpack: fn(words: &[u32], halves: &[u16], out: &mut [f32]),
}

/// `None` for a format that is widened.
fn layout(format: Format) -> Option<Layout> {
    let Format::Blocks(dtype) = format else {
        return None;
    };
    match dtype {
        GgmlDType::Q4_0 => Some(legacy::Q4_0),
        GgmlDType::Q4_1 => Some(legacy::Q4_1),
        GgmlDType::Q5_0 => Some(legacy::Q5_0),
        GgmlDType::Q5_1 => Some(legacy::Q5_1),
        GgmlDType::Q8_0 => Some(legacy::Q8_0),
        GgmlDType::Q4K => Some(k_quants::Q4_K),
        GgmlDType::Q5K => Some(k_quants::Q5_K),
        GgmlDType::Q6K => Some(k_quants::Q6_K),
        _ => None,
    }
}

/// Bytes of a matrix in this format; `None` where it is widened.
pub fn bytes_of(format: Format, rows: usize, cols: usize) -> Option<u64> {
    let layout = layout(format).filter(|l| fits(l, rows, cols))?;
    let numbers = rows as u64 * (cols / layout.inputs) as u64;
    Some(numbers * (4 * layout.words + 2 * layout.halves) as u64)
}

/// Whole panels of whole blocks.
fn fits(layout: &Layout, rows: usize, cols: usize) -> bool {
    rows.is_multiple_of(LANES) && cols.is_multiple_of(layout.inputs)
}

/// A matrix in panels of 16 outputs.
#[derive(Clone)]
struct Part {
    layout: Layout,
    panels: usize,
    words: Vec<u32>,
    halves: Vec<u16>,
}

/// Matrices of as many inputs, stacked; each may have a format of its own.
#[derive(Clone)]
pub struct Blocks {
    inputs: usize,
    parts: Vec<Part>,
}

impl Blocks {
    /// Of stored matrices; `None` where one of them is not kept as it is stored, or has a scale that
    /// is not finite.
    pub fn stack(parts: &[StoredRows<'_>], inputs: usize) -> Option<Self> {
        let layouts = parts
            .iter()
            .map(|part| layout(part.format()).filter(|layout| fits(layout, part.count(), inputs)));
        let layouts: Vec<Layout> = layouts.collect::<Option<_>>()?;
        let packed = parts.iter().zip(layouts);
        let packed = packed.map(|(part, layout)| Part::pack(part, layout, inputs));
        Some(Blocks {
            inputs,
            parts: packed.collect::<Option<_>>()?,
        })
    }

    /// Bytes held.
    pub fn bytes(&self) -> usize {
        let each = self.parts.iter();
        each.map(|part| 4 * part.words.len() + 2 * part.halves.len())
            .sum()
    }

    /// Inputs that [`Blocks::unpack`] takes at once: whole blocks of every part.
    pub fn at_once(&self) -> usize {
        AT_ONCE.min(self.inputs)
    }

    /// Numbers of a panel's inputs, the first of which begins a block, as `[inputs][16]`. A panel
    /// beyond the last is zeros.
    pub fn unpack(&self, mut panel: usize, inputs: std::ops::Range<usize>, out: &mut [f32]) {
        let out = &mut out[..inputs.len() * LANES];
        for part in &self.parts {
            if panel < part.panels {
                return part.unpack(panel, self.inputs, inputs, out);
            }
            panel -= part.panels;
        }
        out.fill(0.0);
    }
}

impl Part {
    fn pack(rows: &StoredRows<'_>, layout: Layout, inputs: usize) -> Option<Self> {
        let blocks = inputs / layout.inputs;
        let panels = rows.count() / LANES;
        let (words, halves) = (layout.words * LANES, layout.halves * LANES);
        let mut part = Part {
            layout,
            panels,
            words: vec![0; panels * blocks * words],
            halves: vec![0; panels * blocks * halves],
        };
        let all_words = part.words.par_chunks_mut(blocks * words);
        let all_halves = part.halves.par_chunks_mut(blocks * halves);
        let packed = all_words.zip(all_halves).enumerate();
        let packed = packed.map(|(panel, (all_words, all_halves))| {
            for lane in 0..LANES {
                let row = rows.row(panel * LANES + lane).chunks_exact(layout.bytes);
                let words = all_words.chunks_exact_mut(words);
                let halves = all_halves.chunks_exact_mut(halves);
                for (block, (words, halves)) in row.zip(words.zip(halves)) {
                    for (scale, &at) in layout.scales.iter().enumerate() {
                        let half = half_of(block, at);
                        if !f16::from_bits(half).is_finite() {
                            return None;
                        }
                        halves[scale * LANES + lane] = half;
                    }
                    (layout.pack)(block, lane, words, halves);
                }
            }
            Some(())
        });
        packed.collect::<Option<()>>()?;
        Some(part)
    }

    fn unpack(&self, panel: usize, all: usize, inputs: std::ops::Range<usize>, out: &mut [f32]) {
        let layout = &self.layout;
        debug_assert!(inputs.start.is_multiple_of(layout.inputs));
        let (words, halves) = (layout.words * LANES, layout.halves * LANES);
        let first = panel * (all / layout.inputs) + inputs.start / layout.inputs;
        let words = self.words[first * words..].chunks_exact(words);
        let halves = self.halves[first * halves..].chunks_exact(halves);
        let out = out.chunks_exact_mut(layout.inputs * LANES);
        for (out, (words, halves)) in out.zip(words.zip(halves)) {
            (layout.unpack)(words, halves, out);
        }
    }
}

fn half_of(block: &[u8], at: usize) -> u16 {
    u16::from_le_bytes([block[at], block[at + 1]])
}

/// The first sixteen numbers of half precision.
fn widen_halves(halves: &[u16]) -> [f32; LANES] {
    let mut wide = [0.0; LANES];
    let halves: &[f16] = halves[..LANES].reinterpret_cast();
    halves.convert_to_f32_slice(&mut wide);
    wide
}

#[cfg(test)]
mod tests {
    use super::super::{Packed, product, product_backward};
    use super::*;
    use crate::model::StoredTensor;
    use crate::random::{Philox, Purpose};

    const KEPT: [GgmlDType; 8] = [
        GgmlDType::Q4_0,
        GgmlDType::Q4_1,
        GgmlDType::Q5_0,
        GgmlDType::Q5_1,
        GgmlDType::Q8_0,
        GgmlDType::Q4K,
        GgmlDType::Q5K,
        GgmlDType::Q6K,
    ];

    /// Any bits, with scales that are finite: small ones, some below the smallest normal number, some
    /// negative, some zero.
    fn any_bytes(dtype: GgmlDType, rows: usize, inputs: usize, seed: u64) -> Vec<u8> {
        let layout = layout(Format::Blocks(dtype)).unwrap();
        let mut draws = Philox::new(seed).draws(Purpose::Init, 0);
        let mut draw = |below: u32| (draws.uniform() * below as f32) as u32;
        let mut bytes = Vec::new();
        for block in 0..rows * inputs / layout.inputs {
            let start = bytes.len();
            bytes.extend((0..layout.bytes).map(|_| draw(256) as u8));
            for &at in layout.scales {
                let scale = match block % 5 {
                    0 => f16::from_bits(draw(1024) as u16),
                    1 => f16::from_f32(-0.01),
                    2 => f16::ZERO,
                    _ => f16::from_f32(draw(1000) as f32 * 1e-5),
                };
                bytes[start + at..start + at + 2].copy_from_slice(&scale.to_le_bytes());
            }
        }
        bytes
    }

    fn stored<'a>(dtype: GgmlDType, shape: &'a [usize], bytes: &'a [u8]) -> StoredTensor<'a> {
        StoredTensor::in_file(
            shape,
            crate::model::stored::Bytes {
                path: std::path::Path::new("file"),
                name: "w",
                format: Format::Blocks(dtype),
                bytes,
                interleaved_heads: None,
                rounded: None,
                progress: None,
            },
        )
    }

    fn bits(numbers: &[f32]) -> Vec<u32> {
        numbers.iter().map(|number| number.to_bits()).collect()
    }

    /// What candle makes of the blocks is the reference.
    #[test]
    fn every_format_unpacks_to_the_bits_that_it_is_widened_to() {
        let shape = [32, 768];
        for dtype in KEPT {
            let bytes = any_bytes(dtype, 32, 768, 1);
            let tensor = stored(dtype, &shape, &bytes);
            let packed = Packed::stored(&[tensor.rows().unwrap()], 768).unwrap();
            let widened = tensor.values().unwrap();
            let mut row = vec![0.0; 768];
            for (n, expected) in widened.chunks_exact(768).enumerate() {
                packed.read_row(n, &mut row);
                assert_eq!(bits(&row), bits(expected), "{dtype:?}, row {n}");
            }
        }
    }

    #[test]
    fn products_have_the_bits_of_those_with_widened_weights() {
        let (shapes, inputs) = ([[48, 512], [16, 512], [80, 512]], 512);
        for mixed in [
            [GgmlDType::Q4_0, GgmlDType::Q5_1, GgmlDType::Q8_0],
            [GgmlDType::Q4K, GgmlDType::Q6K, GgmlDType::Q5_0],
            [GgmlDType::Q5K, GgmlDType::Q4_1, GgmlDType::Q4K],
        ] {
            let bytes: Vec<Vec<u8>> = mixed
                .iter()
                .zip(shapes)
                .map(|(&dtype, [rows, _])| any_bytes(dtype, rows, inputs, 2))
                .collect();
            let tensors = mixed.iter().zip(&shapes).zip(&bytes);
            let tensors: Vec<_> = tensors
                .map(|((&dtype, shape), bytes)| stored(dtype, shape, bytes))
                .collect();
            let rows: Vec<_> = tensors.iter().map(|t| t.rows().unwrap()).collect();
            let kept = Packed::stored(&rows, inputs).unwrap();
            let values: Vec<_> = tensors.iter().map(|t| t.values().unwrap()).collect();
            let values: Vec<&[f32]> = values.iter().map(|v| &**v).collect();
            let widened = Packed::stack(&values, inputs);
            assert!(kept.bytes() * 3 < widened.bytes(), "{mixed:?}");
            let mut draws = Philox::new(3).draws(Purpose::Init, 0);
            for m in [1, 2, 3, 4, 13, 150] {
                let x: Vec<f32> = (0..m * inputs).map(|_| draws.uniform() - 0.5).collect();
                let dy: Vec<f32> = (0..m * kept.n).map(|_| draws.uniform() - 0.5).collect();
                let both = |w: &Packed| {
                    let mut y = vec![0.0; m * w.n];
                    let mut dx = vec![0.25; m * w.k];
                    product(&x, m, w, &mut y, false);
                    product_backward(&dy, m, w, &mut dx, true);
                    (bits(&y), bits(&dx))
                };
                assert!(both(&kept) == both(&widened), "{mixed:?}, {m} rows");
            }
        }
    }

    /// A product over more outputs than are contracted at once, by one and by several threads.
    #[test]
    fn a_long_backward_has_the_bits_of_the_widened_one_too() {
        let (n, k, m) = (1104, 288, 40);
        let bytes = any_bytes(GgmlDType::Q4_1, n, k, 4);
        let shape = [n, k];
        let tensor = stored(GgmlDType::Q4_1, &shape, &bytes);
        let kept = Packed::stored(&[tensor.rows().unwrap()], k).unwrap();
        let widened = Packed::stack(&[&tensor.values().unwrap()], k);
        let mut draws = Philox::new(5).draws(Purpose::Init, 0);
        let dy: Vec<f32> = (0..m * n).map(|_| draws.uniform() - 0.5).collect();
        let backward = |w: &Packed, threads| {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads);
            pool.build().unwrap().install(|| {
                let mut dx = vec![0.0; m * k];
                product_backward(&dy, m, w, &mut dx, false);
                bits(&dx)
            })
        };
        let expected = backward(&widened, 1);
        assert!(
            [1, 2, 5]
                .into_iter()
                .all(|threads| backward(&kept, threads) == expected)
        );
    }

    #[test]
    fn what_is_no_whole_panel_of_whole_blocks_is_widened() {
        let whole = bytes_of(Format::Blocks(GgmlDType::Q4_1), 32, 64);
        assert_eq!(whole, Some(32 * 2 * 20));
        assert_eq!(
            bytes_of(Format::Blocks(GgmlDType::Q4K), 16, 256),
            Some(16 * 148)
        );
        for (format, rows, cols) in [
            (Format::Blocks(GgmlDType::Q4_1), 24, 64),
            (Format::Blocks(GgmlDType::Q4K), 32, 64),
            (Format::Blocks(GgmlDType::Q3K), 32, 256),
            (Format::F16, 32, 64),
        ] {
            assert_eq!(
                bytes_of(format, rows, cols),
                None,
                "{format:?} {rows} {cols}"
            );
        }
    }

    #[test]
    fn a_scale_that_is_not_finite_is_left_to_the_decoder_that_names_it() {
        let shape = [16, 32];
        let mut bytes = any_bytes(GgmlDType::Q8_0, 16, 32, 6);
        bytes[34 * 7..34 * 7 + 2].copy_from_slice(&f16::INFINITY.to_le_bytes());
        let tensor = stored(GgmlDType::Q8_0, &shape, &bytes);
        assert!(Packed::stored(&[tensor.rows().unwrap()], 32).is_none());
        let named = tensor.values().unwrap_err().to_string();
        assert!(named.starts_with("file: tensor `w` holds"), "{named}");
    }

    #[test]
    fn every_number_of_half_precision_is_widened_exactly() {
        for bits in (0..=u16::MAX).filter(|&bits| f16::from_bits(bits).is_finite()) {
            let wide = widen_halves(&[bits; LANES])[3];
            assert_eq!(wide.to_bits(), f16::from_bits(bits).to_f32().to_bits());
        }
    }
}
