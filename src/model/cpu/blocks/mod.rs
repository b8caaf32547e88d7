//! Weights that stay in the blocks of their file: 4 to 8 bits a number.
//!
//! Sixteen outputs lie side by side, as those of a weight in F32 do: a block of each in words of 32
//! bits and scales of 16, lane beside lane. A product unpacks some hundred inputs of a few panels to
//! F32, into the nearest cache, and runs the one inner loop on them that every product runs. So
//! what a format needs is a [`Layout`], forward and backward and every number of rows are served by
//! it, and each number is the one that the widened weight holds: results have the same bits.

mod by_input;
mod four_bit;
mod halves;
mod k_quants;
mod kernels;
mod lanes;
mod legacy;
#[cfg(target_arch = "x86_64")]
mod x86;

use std::ops::Range;

use candle_core::quantized::GgmlDType;
use half::f16;
use rayon::prelude::*;

use by_input::Grouped;
use kernels::BlocksAt;
pub use kernels::PAIR;

use super::tile::PANEL;
use crate::model::stored::{Code, Format, StoredRows};

/// Outputs side by side.
const LANES: usize = PANEL;
/// Inputs that are unpacked at once, or a block where that is more: a panel of them and a tile's rows
/// share the nearest cache.
const AT_ONCE: usize = 128;

/// A format that computes, as it was chosen at run time: see [`kernels::InBlocks`].
#[derive(Clone, Copy)]
struct Layout {
    inputs: usize,
    bytes: usize,
    words: usize,
    halves: usize,
    pack: fn(block: &[u8], lane: usize, words: &mut [u32], halves: &mut [u16]) -> bool,
    unpack: fn(at: BlocksAt<'_>, out: &mut [f32]),
    sum: fn(at: [BlocksAt<'_>; PAIR], x: &[f32], sums: &mut [[f32; LANES]; PAIR]),
}

impl Layout {
    fn of<F: kernels::InBlocks>() -> Self {
        Layout {
            inputs: F::INPUTS,
            bytes: F::BYTES,
            words: F::WORDS,
            halves: F::HALVES,
            pack: F::pack,
            unpack: kernels::unpack::<F>,
            sum: kernels::sum::<F>,
        }
    }
}

/// `None` for a format that is widened.
fn layout(format: Format) -> Option<Layout> {
    use four_bit::{Codes, Int4};
    use halves::Halves;
    use k_quants::{Q4K, Q5K, Q6K};
    use legacy::{Q4, Q5, Q8};
    Some(match format {
        Format::F16 => Layout::of::<Halves<false>>(),
        Format::Bf16 => Layout::of::<Halves<true>>(),
        Format::Codes(Code::Nf4) => Layout::of::<Codes<false>>(),
        Format::Codes(Code::Fp4) => Layout::of::<Codes<true>>(),
        Format::Int4 { inputs: 32 } => Layout::of::<Int4<32>>(),
        Format::Int4 { inputs: 64 } => Layout::of::<Int4<64>>(),
        Format::Int4 { inputs: 128 } => Layout::of::<Int4<128>>(),
        Format::Blocks(GgmlDType::Q4_0) => Layout::of::<Q4<false>>(),
        Format::Blocks(GgmlDType::Q4_1) => Layout::of::<Q4<true>>(),
        Format::Blocks(GgmlDType::Q5_0) => Layout::of::<Q5<false>>(),
        Format::Blocks(GgmlDType::Q5_1) => Layout::of::<Q5<true>>(),
        Format::Blocks(GgmlDType::Q8_0) => Layout::of::<Q8>(),
        Format::Blocks(GgmlDType::Q4K) => Layout::of::<Q4K>(),
        Format::Blocks(GgmlDType::Q5K) => Layout::of::<Q5K>(),
        Format::Blocks(GgmlDType::Q6K) => Layout::of::<Q6K>(),
        _ => return None,
    })
}

/// Bytes of a matrix in this format; `None` where it is widened.
pub fn bytes_of(format: Format, rows: usize, cols: usize) -> Option<u64> {
    if let Format::Int4ByInput(format) = format {
        return by_input::fits(format, rows, cols).then(|| by_input::bytes_of(format, rows));
    }
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
enum Part {
    InBlocks(InBlocks),
    Grouped(Grouped),
}

/// One whose rows are blocks.
#[derive(Clone)]
struct InBlocks {
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
        // Before any is packed: where one is widened, all are.
        let all = || parts.iter();
        if all().any(|part| bytes_of(part.format(), part.count(), inputs).is_none()) {
            return None;
        }
        let packed = all().map(|part| Part::pack(part, inputs));
        Some(Blocks {
            inputs,
            parts: packed.collect::<Option<_>>()?,
        })
    }

    /// Bytes held.
    pub fn bytes(&self) -> usize {
        self.parts.iter().map(Part::bytes).sum()
    }

    /// Inputs that [`Blocks::unpack`] takes at once: whole blocks of every part.
    pub fn at_once(&self) -> usize {
        let block = |part: &Part| match part {
            Part::InBlocks(part) => part.layout.inputs,
            Part::Grouped(_) => 0,
        };
        let largest = self.parts.iter().map(block).fold(AT_ONCE, usize::max);
        largest.min(self.inputs)
    }

    /// Numbers of a panel's inputs, the first of which begins a block, as `[inputs][16]`. A panel
    /// beyond the last is zeros.
    pub fn unpack(&self, panel: usize, inputs: Range<usize>, out: &mut [f32]) {
        let out = &mut out[..inputs.len() * LANES];
        match self.find(panel) {
            Some((Part::InBlocks(part), panel)) => {
                (part.layout.unpack)(part.place(panel, self.inputs, inputs.start), out);
            }
            Some((Part::Grouped(part), panel)) => part.unpack(panel, inputs, out),
            None => out.fill(0.0),
        }
    }

    /// Adds the products of a row with the outputs of a pair of panels, each in one chain in the order
    /// of inputs, as a tile's are. Those of a panel beyond the last stay as they are.
    pub fn sum(&self, first: usize, x: &[f32], sums: &mut [[f32; LANES]; PAIR]) {
        let x = &x[..self.inputs];
        let panels = [first, first + 1].map(|panel| self.find(panel));
        if let [
            Some((Part::InBlocks(part), one)),
            Some((Part::InBlocks(same), other)),
        ] = panels
            && std::ptr::eq(part, same)
        {
            let places = [one, other].map(|panel| part.place(panel, self.inputs, 0));
            return (part.layout.sum)(places, x, sums);
        }
        for (panel, sums) in panels.into_iter().zip(sums) {
            match panel {
                Some((Part::InBlocks(part), panel)) => {
                    let mut twice = [*sums; PAIR];
                    let place = part.place(panel, self.inputs, 0);
                    (part.layout.sum)([place; PAIR], x, &mut twice);
                    *sums = twice[0];
                }
                Some((Part::Grouped(part), panel)) => part.sum(panel, x, sums),
                None => {}
            }
        }
    }

    /// The matrix of a panel, and the panel's place there.
    fn find(&self, mut panel: usize) -> Option<(&Part, usize)> {
        for part in &self.parts {
            if panel < part.panels() {
                return Some((part, panel));
            }
            panel -= part.panels();
        }
        None
    }
}

impl Part {
    fn pack(rows: &StoredRows<'_>, inputs: usize) -> Option<Self> {
        match rows.format() {
            Format::Int4ByInput(format) => Some(Part::Grouped(Grouped::pack(rows, format))),
            format => InBlocks::pack(rows, layout(format)?, inputs).map(Part::InBlocks),
        }
    }

    fn panels(&self) -> usize {
        match self {
            Part::InBlocks(part) => part.panels,
            Part::Grouped(part) => part.panels,
        }
    }

    fn bytes(&self) -> usize {
        match self {
            Part::InBlocks(part) => 4 * part.words.len() + 2 * part.halves.len(),
            Part::Grouped(part) => part.bytes(),
        }
    }
}

impl InBlocks {
    fn pack(rows: &StoredRows<'_>, layout: Layout, inputs: usize) -> Option<Self> {
        let blocks = inputs / layout.inputs;
        let panels = rows.count() / LANES;
        let (words, halves) = (layout.words * LANES, layout.halves * LANES);
        let mut part = InBlocks {
            layout,
            panels,
            words: vec![0; panels * blocks * words],
            halves: vec![0; panels * blocks * halves],
        };
        let all_words = split(&mut part.words, panels);
        let all_halves = split(&mut part.halves, panels);
        let packed = all_words.into_par_iter().zip(all_halves).enumerate();
        let packed = packed.map(|(panel, (all_words, all_halves))| {
            for lane in 0..LANES {
                let row = rows.row(panel * LANES + lane).chunks_exact(layout.bytes);
                for (at, block) in row.enumerate() {
                    let words = &mut all_words[at * words..(at + 1) * words];
                    let halves = &mut all_halves[at * halves..(at + 1) * halves];
                    if !(layout.pack)(block, lane, words, halves) {
                        return None;
                    }
                }
            }
            Some(())
        });
        packed.collect::<Option<()>>()?;
        Some(part)
    }

    /// Blocks of a panel from an input on that begins one, of so many inputs in all.
    fn place(&self, panel: usize, inputs: usize, from: usize) -> BlocksAt<'_> {
        let layout = &self.layout;
        debug_assert!(from.is_multiple_of(layout.inputs));
        let block = panel * (inputs / layout.inputs) + from / layout.inputs;
        let words = &self.words[block * layout.words * LANES..];
        let halves = &self.halves[block * layout.halves * LANES..];
        (words, halves)
    }
}

/// So many equal parts, which may be empty.
fn split<T>(mut all: &mut [T], count: usize) -> Vec<&mut [T]> {
    let size = all.len() / count.max(1);
    let parts = (0..count).map(|_| {
        let (part, rest) = std::mem::take(&mut all).split_at_mut(size);
        all = rest;
        part
    });
    parts.collect()
}

/// Puts the numbers of half precision that stand at these places of a block before the others.
/// Returns whether all are finite.
fn put_scales(block: &[u8], places: &[usize], lane: usize, halves: &mut [u16]) -> bool {
    places
        .iter()
        .enumerate()
        .fold(true, |finite, (scale, &at)| {
            let half = half_of(block, at);
            halves[scale * LANES + lane] = half;
            finite && f16::from_bits(half).is_finite()
        })
}

fn half_of(block: &[u8], at: usize) -> u16 {
    u16::from_le_bytes([block[at], block[at + 1]])
}

#[cfg(test)]
mod tests {
    use half::bf16;

    use super::super::{Packed, product, product_backward};
    use super::*;
    use crate::model::StoredTensor;
    use crate::model::stored::{ByInput, head_of_int4};
    use crate::random::{Philox, Purpose};

    /// Each with the places in a block of its scales of half precision.
    const KEPT: [(Format, &[usize]); 15] = [
        (Format::Blocks(GgmlDType::Q4_0), &[0]),
        (Format::Blocks(GgmlDType::Q4_1), &[0, 2]),
        (Format::Blocks(GgmlDType::Q5_0), &[0]),
        (Format::Blocks(GgmlDType::Q5_1), &[0, 2]),
        (Format::Blocks(GgmlDType::Q8_0), &[0]),
        (Format::Blocks(GgmlDType::Q4K), &[0, 2]),
        (Format::Blocks(GgmlDType::Q5K), &[0, 2]),
        (Format::Blocks(GgmlDType::Q6K), &[208]),
        (Format::Codes(Code::Nf4), &[]),
        (Format::Codes(Code::Fp4), &[]),
        (Format::Int4 { inputs: 32 }, &[]),
        (Format::Int4 { inputs: 64 }, &[]),
        (Format::Int4 { inputs: 128 }, &[]),
        (Format::Bf16, &[]),
        (Format::F16, &[]),
    ];

    const BY_INPUT: ByInput = ByInput {
        groups: 5,
        inputs: 512,
    };

    /// Any bits, with scales that are finite: small ones, some below the smallest normal number, some
    /// negative, some zero.
    fn any_bytes(format: Format, rows: usize, inputs: usize, seed: u64) -> Vec<u8> {
        let mut draws = Philox::new(seed).draws(Purpose::Init, 0);
        let mut draw = |below: u32| (draws.uniform() * below as f32) as u32;
        let mut bytes = Vec::new();
        if let Format::Int4ByInput(ByInput { groups, inputs }) = format {
            for _ in 0..rows {
                for _ in 0..groups {
                    let scale = bf16::from_f32(draw(1000) as f32 * 1e-5 + 1e-6).to_f32();
                    bytes.extend(head_of_int4(scale, draw(17)));
                }
                let group = |input: usize| (input * 7 % groups) as u16;
                bytes.extend((0..inputs).flat_map(|input| group(input).to_le_bytes()));
                bytes.extend((0..inputs / 2).map(|_| draw(256) as u8));
            }
            return bytes;
        }
        let layout = layout(format).unwrap();
        let scales = KEPT.iter().find(|(kept, _)| *kept == format).unwrap().1;
        for block in 0..rows * inputs / layout.inputs {
            let start = bytes.len();
            bytes.extend((0..layout.bytes).map(|_| draw(256) as u8));
            let mut scale = || match block % 5 {
                0 => f16::from_bits(draw(1024) as u16),
                1 => f16::from_f32(-0.01),
                2 => f16::ZERO,
                _ => f16::from_f32(draw(1000) as f32 * 1e-5),
            };
            for &at in scales {
                bytes[start + at..start + at + 2].copy_from_slice(&scale().to_le_bytes());
            }
            let block = &mut bytes[start..];
            match format {
                Format::Codes(_) => {
                    block[..4].copy_from_slice(&(1.1 * scale().to_f32()).to_le_bytes());
                }
                Format::Int4 { .. } => {
                    // Of a scale of nothing zeros would lose their sign; no quantizer writes one.
                    let scale = scale().to_f32().abs().max(f16::MIN_POSITIVE.to_f32());
                    let head = head_of_int4(scale, u32::from(block[9] % 17));
                    block[..8].copy_from_slice(&head);
                }
                Format::Bf16 | Format::F16 => {
                    // No infinity, and no number that is none.
                    block.chunks_exact_mut(2).for_each(|half| half[1] &= 0xbb);
                }
                _ => {}
            }
        }
        bytes
    }

    fn stored<'a>(format: Format, shape: &'a [usize], bytes: &'a [u8]) -> StoredTensor<'a> {
        let path = std::path::Path::new("file");
        let bytes = crate::model::stored::Bytes::new(path, "w", format, bytes.into());
        StoredTensor::in_file(shape, bytes)
    }

    fn bits(numbers: &[f32]) -> Vec<u32> {
        numbers.iter().map(|number| number.to_bits()).collect()
    }

    /// What candle makes of GGUF's blocks is the reference; folders have theirs beside the fixtures.
    #[test]
    fn every_format_unpacks_to_the_bits_that_it_is_widened_to() {
        let formats = KEPT.iter().map(|(format, _)| (*format, 768));
        for (format, inputs) in formats.chain([(Format::Int4ByInput(BY_INPUT), 512)]) {
            let shape = [32, inputs];
            let bytes = any_bytes(format, 32, inputs, 1);
            let tensor = stored(format, &shape, &bytes);
            let packed = Packed::stored(&[tensor.rows().unwrap()], inputs).unwrap();
            assert_eq!(
                packed.bytes() as u64,
                bytes_of(format, 32, inputs).unwrap(),
                "{format:?}"
            );
            let widened = tensor.values().unwrap();
            let mut row = vec![0.0; inputs];
            for (n, expected) in widened.chunks_exact(inputs).enumerate() {
                packed.read_row(n, &mut row);
                assert_eq!(bits(&row), bits(expected), "{format:?}, row {n}");
            }
        }
    }

    #[test]
    fn products_have_the_bits_of_those_with_widened_weights() {
        let (shapes, inputs) = ([[48, 512], [16, 512], [80, 512]], 512);
        let blocks = Format::Blocks;
        for mixed in [
            [GgmlDType::Q4_0, GgmlDType::Q5_1, GgmlDType::Q8_0].map(blocks),
            [GgmlDType::Q4K, GgmlDType::Q6K, GgmlDType::Q5_0].map(blocks),
            [GgmlDType::Q5K, GgmlDType::Q4_1, GgmlDType::Q4K].map(blocks),
            [Format::Codes(Code::Nf4), Format::F16, Format::Bf16],
            [
                Format::Int4 { inputs: 128 },
                Format::Int4ByInput(BY_INPUT),
                Format::Codes(Code::Fp4),
            ],
            [
                Format::Int4ByInput(BY_INPUT),
                Format::Int4 { inputs: 32 },
                Format::Int4 { inputs: 64 },
            ],
        ] {
            let bytes: Vec<Vec<u8>> = mixed
                .iter()
                .zip(shapes)
                .map(|(&format, [rows, _])| any_bytes(format, rows, inputs, 2))
                .collect();
            let tensors = mixed.iter().zip(&shapes).zip(&bytes);
            let tensors: Vec<_> = tensors
                .map(|((&format, shape), bytes)| stored(format, shape, bytes))
                .collect();
            let rows: Vec<_> = tensors.iter().map(|t| t.rows().unwrap()).collect();
            let kept = Packed::stored(&rows, inputs).unwrap();
            let values: Vec<_> = tensors.iter().map(|t| t.values().unwrap()).collect();
            let values: Vec<&[f32]> = values.iter().map(|v| &**v).collect();
            let widened = Packed::stack(&values, inputs);
            assert!(kept.bytes() * 5 < widened.bytes() * 3, "{mixed:?}");
            let mut draws = Philox::new(3).draws(Purpose::Init, 0);
            for m in [1, 2, 3, 4, 13, 150] {
                let x: Vec<f32> = (0..m * inputs).map(|_| draws.uniform() - 0.5).collect();
                let dy: Vec<f32> = (0..m * kept.n).map(|_| draws.uniform() - 0.5).collect();
                let both = |w: &Packed| {
                    let mut y = vec![0.5; m * w.n];
                    let mut dx = vec![0.25; m * w.k];
                    product(&x, m, w, &mut y, m == 13);
                    let plain = bits(&y);
                    product(&x, m, w, &mut y, true);
                    product_backward(&dy, m, w, &mut dx, true);
                    (plain, bits(&y), bits(&dx))
                };
                assert!(both(&kept) == both(&widened), "{mixed:?}, {m} rows");
            }
        }
    }

    /// A product over more outputs than are contracted at once, by one and by several threads.
    #[test]
    fn a_long_backward_has_the_bits_of_the_widened_one_too() {
        let (n, k, m) = (1104, 288, 40);
        let format = Format::Blocks(GgmlDType::Q4_1);
        let bytes = any_bytes(format, n, k, 4);
        let shape = [n, k];
        let tensor = stored(format, &shape, &bytes);
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
            (Format::F16, 32, 48),
            (Format::F32, 32, 64),
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
        let format = Format::Blocks(GgmlDType::Q8_0);
        let mut bytes = any_bytes(format, 16, 32, 6);
        bytes[34 * 7..34 * 7 + 2].copy_from_slice(&f16::INFINITY.to_le_bytes());
        let tensor = stored(format, &shape, &bytes);
        assert!(Packed::stored(&[tensor.rows().unwrap()], 32).is_none());
        let named = tensor.values().unwrap_err().to_string();
        assert!(named.starts_with("file: tensor `w` holds"), "{named}");
    }
}
