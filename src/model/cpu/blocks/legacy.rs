//! GGUF's blocks of 32 numbers: Q4_0, Q4_1, Q5_0, Q5_1, Q8_0. Each has a scale in half precision, and
//! those that end in 1 a smallest number.

use super::kernels::{InBlocks, NOTHING, Scaled, Sink, of_4, of_5, of_8};
use super::lanes::{Lanes, PART, WORDS_OF_4, WORDS_OF_5, WORDS_OF_8, put_4, put_5, put_8};
use super::{LANES, put_scales};

/// Four bits, `(q - 8) d`.
pub(super) struct Q4_0;
/// Four bits, `q d + m`.
pub(super) struct Q4_1;
/// Five bits, `(q - 16) d`.
pub(super) struct Q5_0;
/// Five bits, `q d + m`.
pub(super) struct Q5_1;
/// Eight bits with a sign, `q d`.
pub(super) struct Q8_0;

impl InBlocks for Q4_0 {
    const INPUTS: usize = PART;
    const BYTES: usize = 18;
    const WORDS: usize = WORDS_OF_4;
    const HALVES: usize = 1;

    fn pack(block: &[u8], lane: usize, words: &mut [u32], halves: &mut [u16]) -> bool {
        pack_4(&block[2..], lane, words);
        put_scales(block, &[0], lane, halves)
    }

    #[inline(always)]
    unsafe fn numbers<V: Lanes, const P: usize>(
        words: [*const u32; P],
        halves: [*const u16; P],
        to: &mut impl Sink<V, P>,
    ) {
        unsafe { of_4::<V, P, true>(words, 8.0, &scaled(halves), to) }
    }
}

impl InBlocks for Q4_1 {
    const INPUTS: usize = PART;
    const BYTES: usize = 20;
    const WORDS: usize = WORDS_OF_4;
    const HALVES: usize = 2;

    fn pack(block: &[u8], lane: usize, words: &mut [u32], halves: &mut [u16]) -> bool {
        pack_4(&block[4..], lane, words);
        put_scales(block, &[0, 2], lane, halves)
    }

    #[inline(always)]
    unsafe fn numbers<V: Lanes, const P: usize>(
        words: [*const u32; P],
        halves: [*const u16; P],
        to: &mut impl Sink<V, P>,
    ) {
        unsafe { of_4::<V, P, false>(words, 0.0, &scaled_with_least(halves), to) }
    }
}

impl InBlocks for Q5_0 {
    const INPUTS: usize = PART;
    const BYTES: usize = 22;
    const WORDS: usize = WORDS_OF_5;
    const HALVES: usize = 1;

    fn pack(block: &[u8], lane: usize, words: &mut [u32], halves: &mut [u16]) -> bool {
        pack_5(&block[2..], lane, words);
        put_scales(block, &[0], lane, halves)
    }

    #[inline(always)]
    unsafe fn numbers<V: Lanes, const P: usize>(
        words: [*const u32; P],
        halves: [*const u16; P],
        to: &mut impl Sink<V, P>,
    ) {
        unsafe { of_5::<V, P, true>(words, 16.0, &scaled(halves), to) }
    }
}

impl InBlocks for Q5_1 {
    const INPUTS: usize = PART;
    const BYTES: usize = 24;
    const WORDS: usize = WORDS_OF_5;
    const HALVES: usize = 2;

    fn pack(block: &[u8], lane: usize, words: &mut [u32], halves: &mut [u16]) -> bool {
        pack_5(&block[4..], lane, words);
        put_scales(block, &[0, 2], lane, halves)
    }

    #[inline(always)]
    unsafe fn numbers<V: Lanes, const P: usize>(
        words: [*const u32; P],
        halves: [*const u16; P],
        to: &mut impl Sink<V, P>,
    ) {
        unsafe { of_5::<V, P, false>(words, 0.0, &scaled_with_least(halves), to) }
    }
}

impl InBlocks for Q8_0 {
    const INPUTS: usize = PART;
    const BYTES: usize = 34;
    const WORDS: usize = WORDS_OF_8;
    const HALVES: usize = 1;

    fn pack(block: &[u8], lane: usize, words: &mut [u32], halves: &mut [u16]) -> bool {
        for (number, &byte) in block[2..34].iter().enumerate() {
            put_8(words, lane, number, byte as i8);
        }
        put_scales(block, &[0], lane, halves)
    }

    #[inline(always)]
    unsafe fn numbers<V: Lanes, const P: usize>(
        words: [*const u32; P],
        halves: [*const u16; P],
        to: &mut impl Sink<V, P>,
    ) {
        unsafe { of_8(words, PART, scaled::<V, P>(halves).scale, to) }
    }
}

/// Byte `j` holds number `j` in its lower four bits and `j + 16` in its upper ones.
fn nibbles(bytes: &[u8], mut put: impl FnMut(usize, u8)) {
    for (j, byte) in bytes.iter().enumerate() {
        put(j, byte & 15);
        put(j + 16, byte >> 4);
    }
}

/// After the scales: sixteen bytes of four bits.
fn pack_4(block: &[u8], lane: usize, words: &mut [u32]) {
    nibbles(block, |number, q| put_4(words, lane, number, q));
}

/// After the scales: four bytes, bit `j` of which is the fifth of number `j`, and those of four bits.
fn pack_5(block: &[u8], lane: usize, words: &mut [u32]) {
    let (fifths, block) = block.split_at(PART / 8);
    nibbles(block, |number, q| {
        let fifth = (fifths[number / 8] >> (number % 8) & 1) << 4;
        put_5(words, lane, number, q | fifth);
    });
}

#[inline(always)]
unsafe fn scaled<V: Lanes, const P: usize>(halves: [*const u16; P]) -> Scaled<V, P> {
    unsafe {
        let mut scaled = Scaled::<V, P>::by(V::all(1.0), V::all(NOTHING));
        for (p, halves) in halves.into_iter().enumerate() {
            scaled.scale[p] = V::halves(halves);
        }
        scaled
    }
}

#[inline(always)]
unsafe fn scaled_with_least<V: Lanes, const P: usize>(halves: [*const u16; P]) -> Scaled<V, P> {
    unsafe {
        let mut scaled = scaled::<V, P>(halves);
        for (p, halves) in halves.into_iter().enumerate() {
            scaled.least[p] = V::halves(halves.add(LANES));
        }
        scaled
    }
}
