//! GGUF's blocks of 256 numbers: Q4_K, Q5_K, Q6_K. Each has scales of its parts in a few bits, and
//! scales of those in half precision.

use super::lanes::{
    PART, Scaled, WORDS_OF_4, WORDS_OF_5, WORDS_OF_8, put_4, put_5, put_8, unpack_4, unpack_5,
    unpack_8,
};
use super::{LANES, Layout, half_of, widen_halves};

/// Numbers of a block.
const SIZE: usize = 256;
/// Parts of a block.
const PARTS: usize = SIZE / PART;

/// Four bits in parts of 32, `d s q - d_min m`.
pub(super) const Q4_K: Layout = Layout {
    inputs: SIZE,
    bytes: 144,
    words: PARTS * WORDS_OF_4,
    halves: 2 + PARTS,
    scales: &[0, 2],
    pack: |block, lane, words, halves| {
        scales_and_least(block, lane, halves);
        for (part, words) in words.chunks_exact_mut(WORDS_OF_4 * LANES).enumerate() {
            for number in 0..PART {
                put_4(words, lane, number, nibble(&block[16..144], part, number));
            }
        }
    },
    unpack: |words, halves, out| {
        for ((words, out), scaled) in pieces(words, WORDS_OF_4, out).zip(parts(halves)) {
            unpack_4(words, 0.0, &scaled, out);
        }
    },
};

/// Five bits in parts of 32, `d s q - d_min m`.
pub(super) const Q5_K: Layout = Layout {
    inputs: SIZE,
    bytes: 176,
    words: PARTS * WORDS_OF_5,
    halves: 2 + PARTS,
    scales: &[0, 2],
    pack: |block, lane, words, halves| {
        scales_and_least(block, lane, halves);
        for (part, words) in words.chunks_exact_mut(WORDS_OF_5 * LANES).enumerate() {
            for number in 0..PART {
                // Bit `part` of byte `j` is the fifth of number `j` of a part.
                let fifth = (block[16 + number] >> part & 1) << 4;
                let q = nibble(&block[48..176], part, number) | fifth;
                put_5(words, lane, number, q);
            }
        }
    },
    unpack: |words, halves, out| {
        for ((words, out), scaled) in pieces(words, WORDS_OF_5, out).zip(parts(halves)) {
            unpack_5(words, 0.0, &scaled, out);
        }
    },
};

/// Six bits in parts of 16, `d s (q - 32)`; held as bytes.
pub(super) const Q6_K: Layout = Layout {
    inputs: SIZE,
    bytes: 210,
    words: PARTS * WORDS_OF_8,
    halves: 1 + PARTS,
    scales: &[208],
    pack: |block, lane, words, halves| {
        for pair in 0..PARTS {
            halves[(1 + pair) * LANES + lane] = half_of(block, 192 + 2 * pair);
        }
        for number in 0..SIZE {
            let (half, quarter, j) = (number / 128, number / 32 % 4, number % 32);
            let lower = block[64 * half + 32 * (quarter % 2) + j] >> (4 * (quarter / 2)) & 15;
            let upper = block[128 + 32 * half + j] >> (2 * quarter) & 3;
            put_8(words, lane, number, (lower | upper << 4) as i8 - 32);
        }
    },
    unpack: |words, halves, out| {
        let scale = widen_halves(halves);
        let (pairs, _) = halves[LANES..].as_chunks::<LANES>();
        for ((words, out), pair) in pieces(words, WORDS_OF_8, out).zip(pairs) {
            for upper in 0..2 {
                let mut own = scale;
                for (own, pair) in own.iter_mut().zip(pair) {
                    *own *= f32::from(pair.to_le_bytes()[upper] as i8);
                }
                let half = PART / 2 * LANES;
                let words = &words[upper * half / 4..];
                unpack_8(words, &own, &mut out[upper * half..(upper + 1) * half]);
            }
        }
    },
};

/// After both scales of the block, for each part its own scale in the lower byte and its least number
/// in the upper one. The twelve bytes hold six bits of each of the sixteen.
fn scales_and_least(block: &[u8], lane: usize, halves: &mut [u16]) {
    let packed = &block[4..16];
    for part in 0..PARTS {
        let (scale, least) = if part < 4 {
            (packed[part] & 63, packed[part + 4] & 63)
        } else {
            let (upper, both) = (packed[part - 4], packed[part + 4]);
            let least = both >> 4 | (packed[part] >> 6) << 4;
            (both & 15 | (upper >> 6) << 4, least)
        };
        halves[(2 + part) * LANES + lane] = u16::from_le_bytes([scale, least]);
    }
}

/// Of every 32 bytes the lower four bits are one part, the upper four the next.
fn nibble(bytes: &[u8], part: usize, number: usize) -> u8 {
    bytes[part / 2 * PART + number] >> (4 * (part % 2)) & 15
}

/// The words of each part, and where its numbers go.
fn pieces<'a>(
    words: &'a [u32],
    of_part: usize,
    out: &'a mut [f32],
) -> impl Iterator<Item = (&'a [u32], &'a mut [f32])> {
    let words = words.chunks_exact(of_part * LANES);
    words.zip(out.chunks_exact_mut(PART * LANES))
}

/// What [`scales_and_least`] stored, part after part.
fn parts(halves: &[u16]) -> impl Iterator<Item = Scaled> + '_ {
    let (scale, least) = (widen_halves(halves), widen_halves(&halves[LANES..]));
    let (own, _) = halves[2 * LANES..].as_chunks::<LANES>();
    own.iter().map(move |own| {
        let mut scaled = Scaled { scale, least };
        for (lane, own) in own.iter().enumerate() {
            scaled.scale[lane] *= f32::from(own & 255);
            scaled.least[lane] *= -f32::from(own >> 8);
        }
        scaled
    })
}
