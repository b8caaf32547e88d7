//! GGUF's blocks of 32 numbers: Q4_0, Q4_1, Q5_0, Q5_1, Q8_0. Each has a scale in half precision, and
//! those that end in 1 a smallest number.

use super::kernels::{Five, Four, InBlocks, Scaled, Sink, in_words, of_8};
use super::lanes::{Lanes, PART, WORDS_OF_4, WORDS_OF_5, WORDS_OF_8, put_4, put_5, put_8};
use super::{LANES, put_scales};
use crate::model::stored::nibbles;

/// Four bits: `(q - 8) d`, or with a smallest number `q d + m`.
pub(super) struct Q4<const LEAST: bool>;
/// Five bits: `(q - 16) d`, or with a smallest number `q d + m`.
pub(super) struct Q5<const LEAST: bool>;
/// Eight bits with a sign, `q d`.
pub(super) struct Q8;

impl<const LEAST: bool> InBlocks for Q4<LEAST> {
    const INPUTS: usize = PART;
    const BYTES: usize = scales(LEAST) + PART / 2;
    const WORDS: usize = WORDS_OF_4;
    const HALVES: usize = scales(LEAST) / 2;

    fn pack(block: &[u8], lane: usize, words: &mut [u32], halves: &mut [u16]) -> bool {
        nibbles(&block[scales(LEAST)..], |number, q| {
            put_4(words, lane, number, q);
        });
        put_scales(block, &PLACES[..Self::HALVES], lane, halves)
    }

    #[inline(always)]
    unsafe fn numbers<V: Lanes, const P: usize>(
        words: [*const u32; P],
        halves: [*const u16; P],
        to: &mut impl Sink<V, P>,
    ) {
        unsafe {
            let scaled = scaled::<V, P, LEAST>(halves);
            match LEAST {
                true => in_words(words, &Four::<V, false>::new(0.0), &scaled, PART, to),
                false => in_words(words, &Four::<V, true>::new(8.0), &scaled, PART, to),
            }
        }
    }
}

impl<const LEAST: bool> InBlocks for Q5<LEAST> {
    const INPUTS: usize = PART;
    const BYTES: usize = scales(LEAST) + PART / 8 + PART / 2;
    const WORDS: usize = WORDS_OF_5;
    const HALVES: usize = scales(LEAST) / 2;

    /// After the scales: four bytes, bit `j` of which is the fifth of number `j`, and those of four
    /// bits.
    fn pack(block: &[u8], lane: usize, words: &mut [u32], halves: &mut [u16]) -> bool {
        let (fifths, numbers) = block[scales(LEAST)..].split_at(PART / 8);
        nibbles(numbers, |number, q| {
            let fifth = (fifths[number / 8] >> (number % 8) & 1) << 4;
            put_5(words, lane, number, q | fifth);
        });
        put_scales(block, &PLACES[..Self::HALVES], lane, halves)
    }

    #[inline(always)]
    unsafe fn numbers<V: Lanes, const P: usize>(
        words: [*const u32; P],
        halves: [*const u16; P],
        to: &mut impl Sink<V, P>,
    ) {
        unsafe {
            let scaled = scaled::<V, P, LEAST>(halves);
            match LEAST {
                true => in_words(words, &Five::<V, false>::new(0.0), &scaled, PART, to),
                false => in_words(words, &Five::<V, true>::new(16.0), &scaled, PART, to),
            }
        }
    }
}

impl InBlocks for Q8 {
    const INPUTS: usize = PART;
    const BYTES: usize = scales(false) + PART;
    const WORDS: usize = WORDS_OF_8;
    const HALVES: usize = 1;

    fn pack(block: &[u8], lane: usize, words: &mut [u32], halves: &mut [u16]) -> bool {
        for (number, &byte) in block[scales(false)..].iter().enumerate() {
            put_8(words, lane, number, byte as i8);
        }
        put_scales(block, &PLACES[..1], lane, halves)
    }

    #[inline(always)]
    unsafe fn numbers<V: Lanes, const P: usize>(
        words: [*const u32; P],
        halves: [*const u16; P],
        to: &mut impl Sink<V, P>,
    ) {
        unsafe { of_8(words, PART, scaled::<V, P, false>(halves).scale, to) }
    }
}

/// Where a scale and a smallest number stand in a block.
const PLACES: [usize; 2] = [0, 2];

/// Bytes of them.
const fn scales(least: bool) -> usize {
    if least { 4 } else { 2 }
}

#[inline(always)]
unsafe fn scaled<V: Lanes, const P: usize, const LEAST: bool>(
    halves: [*const u16; P],
) -> Scaled<V, P> {
    unsafe {
        let mut scaled = Scaled::<V, P>::plain();
        for (p, halves) in halves.into_iter().enumerate() {
            scaled.scale[p] = V::halves(halves);
            if LEAST {
                scaled.least[p] = V::halves(halves.add(LANES));
            }
        }
        scaled
    }
}
