//! GGUF's blocks of 256 numbers: Q4_K, Q5_K, Q6_K. Each has scales of its parts in a few bits, and
//! scales of those in half precision.

use super::kernels::{Five, Four, InBlocks, Scaled, Sink, in_words, of_8};
use super::lanes::{Lanes, PART, WORDS_OF_4, WORDS_OF_5, WORDS_OF_8, put_4, put_5, put_8};
use super::{LANES, half_of, put_scales};
use crate::model::stored::{five_bits, four_bits, scale_and_least, six_bits};

/// Numbers of a block.
const SIZE: usize = 256;
/// Parts of a block.
const PARTS: usize = SIZE / PART;

/// Four bits in parts of 32, `d s q - d_min m`.
pub(super) struct Q4K;
/// Five bits in parts of 32, `d s q - d_min m`.
pub(super) struct Q5K;
/// Six bits in parts of 16, `d s (q - 32)`; held as bytes.
pub(super) struct Q6K;

impl InBlocks for Q4K {
    const INPUTS: usize = SIZE;
    const BYTES: usize = 144;
    const WORDS: usize = PARTS * WORDS_OF_4;
    const HALVES: usize = 2 + PARTS;

    fn pack(block: &[u8], lane: usize, words: &mut [u32], halves: &mut [u16]) -> bool {
        scales_and_least(block, lane, halves);
        for (part, words) in words.chunks_exact_mut(WORDS_OF_4 * LANES).enumerate() {
            for number in 0..PART {
                put_4(
                    words,
                    lane,
                    number,
                    four_bits(&block[16..144], part, number),
                );
            }
        }
        put_scales(block, &[0, 2], lane, halves)
    }

    #[inline(always)]
    unsafe fn numbers<V: Lanes, const P: usize>(
        mut words: [*const u32; P],
        halves: [*const u16; P],
        to: &mut impl Sink<V, P>,
    ) {
        unsafe {
            for part in 0..PARTS {
                let four = Four::<V, false>::new(0.0);
                in_words(words, &four, &scaled(halves, part), PART, to);
                forward(&mut words, WORDS_OF_4);
            }
        }
    }
}

impl InBlocks for Q5K {
    const INPUTS: usize = SIZE;
    const BYTES: usize = 176;
    const WORDS: usize = PARTS * WORDS_OF_5;
    const HALVES: usize = 2 + PARTS;

    fn pack(block: &[u8], lane: usize, words: &mut [u32], halves: &mut [u16]) -> bool {
        scales_and_least(block, lane, halves);
        for (part, words) in words.chunks_exact_mut(WORDS_OF_5 * LANES).enumerate() {
            for number in 0..PART {
                let q = five_bits(block, part, number);
                put_5(words, lane, number, q);
            }
        }
        put_scales(block, &[0, 2], lane, halves)
    }

    #[inline(always)]
    unsafe fn numbers<V: Lanes, const P: usize>(
        mut words: [*const u32; P],
        halves: [*const u16; P],
        to: &mut impl Sink<V, P>,
    ) {
        unsafe {
            for part in 0..PARTS {
                let five = Five::<V, false>::new(0.0);
                in_words(words, &five, &scaled(halves, part), PART, to);
                forward(&mut words, WORDS_OF_5);
            }
        }
    }
}

impl InBlocks for Q6K {
    const INPUTS: usize = SIZE;
    const BYTES: usize = 210;
    const WORDS: usize = PARTS * WORDS_OF_8;
    const HALVES: usize = 1 + PARTS;

    fn pack(block: &[u8], lane: usize, words: &mut [u32], halves: &mut [u16]) -> bool {
        for pair in 0..PARTS {
            halves[(1 + pair) * LANES + lane] = half_of(block, 192 + 2 * pair);
        }
        for number in 0..SIZE {
            put_8(words, lane, number, six_bits(block, number) as i8 - 32);
        }
        put_scales(block, &[208], lane, halves)
    }

    #[inline(always)]
    unsafe fn numbers<V: Lanes, const P: usize>(
        mut words: [*const u32; P],
        halves: [*const u16; P],
        to: &mut impl Sink<V, P>,
    ) {
        unsafe {
            for pair in 0..PARTS {
                let mut scales = [[V::all(1.0); P]; 2];
                for p in 0..P {
                    let scale = V::halves(halves[p]);
                    let [first, second] = V::signed_pairs(halves[p].add((1 + pair) * LANES));
                    scales[0][p] = scale.times(first);
                    scales[1][p] = scale.times(second);
                }
                for scale in scales {
                    of_8(words, PART / 2, scale, to);
                    forward(&mut words, WORDS_OF_8 / 2);
                }
            }
        }
    }
}

/// After both scales of the block, for each part its own scale in the lower byte and its least number
/// in the upper one.
fn scales_and_least(block: &[u8], lane: usize, halves: &mut [u16]) {
    for part in 0..PARTS {
        halves[(2 + part) * LANES + lane] = u16::from_le_bytes(scale_and_least(block, part));
    }
}

/// What [`scales_and_least`] stored of a part.
#[inline(always)]
unsafe fn scaled<V: Lanes, const P: usize>(halves: [*const u16; P], part: usize) -> Scaled<V, P> {
    unsafe {
        let (mut scaled, minus) = (Scaled::<V, P>::plain(), V::all(-1.0));
        for (p, halves) in halves.into_iter().enumerate() {
            let [own, least] = V::pairs(halves.add((2 + part) * LANES));
            scaled.scale[p] = V::halves(halves).times(own);
            scaled.least[p] = V::halves(halves.add(LANES)).times(least.times(minus));
        }
        scaled
    }
}

#[inline(always)]
unsafe fn forward<const P: usize>(words: &mut [*const u32; P], of_lane: usize) {
    for words in words {
        *words = unsafe { words.add(of_lane * LANES) };
    }
}
