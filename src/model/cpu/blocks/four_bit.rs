//! Four bits of folders: codes of bitsandbytes, and numbers of GPTQ and AWQ in blocks of one scale.

use super::LANES;
use super::kernels::{Coded, Four, InBlocks, Scaled, Sink, in_words};
use super::lanes::{Lanes, put_4};
use crate::model::stored::{
    BYTES_OF_CODES, CODES_OF_BLOCK, Code, block_of_int4, nibble_of_int4, scale_and_zero,
};

/// Codes of a number each, and a scale in F32.
pub(super) struct Codes<const FP4: bool>;

/// `N` numbers less a zero point, `(q - zero) d`.
pub(super) struct Int4<const N: usize>;

impl<const FP4: bool> InBlocks for Codes<FP4> {
    const INPUTS: usize = CODES_OF_BLOCK;
    const BYTES: usize = BYTES_OF_CODES;
    const WORDS: usize = Self::INPUTS / 8;
    const HALVES: usize = 2;

    fn pack(block: &[u8], lane: usize, words: &mut [u32], halves: &mut [u16]) -> bool {
        let codes = put_float(block, lane, halves);
        for (at, byte) in codes.iter().enumerate() {
            // The first of a pair is in the upper half.
            put_4(words, lane, 2 * at, byte >> 4);
            put_4(words, lane, 2 * at + 1, byte & 15);
        }
        scale_and_zero(block).0.is_finite()
    }

    #[inline(always)]
    unsafe fn numbers<V: Lanes, const P: usize>(
        words: [*const u32; P],
        halves: [*const u16; P],
        to: &mut impl Sink<V, P>,
    ) {
        let code = if FP4 { Code::Fp4 } else { Code::Nf4 };
        unsafe {
            let mut scaled = Scaled::<V, P>::plain();
            for (scale, halves) in scaled.scale.iter_mut().zip(halves) {
                *scale = V::split_floats(halves);
            }
            let coded = Coded::<V>::new(code.numbers());
            in_words(words, &coded, &scaled, Self::INPUTS, to);
        }
    }
}

impl<const N: usize> InBlocks for Int4<N> {
    const INPUTS: usize = N;
    const BYTES: usize = block_of_int4(N);
    const WORDS: usize = N / 8;
    const HALVES: usize = 3;

    fn pack(block: &[u8], lane: usize, words: &mut [u32], halves: &mut [u16]) -> bool {
        let (head, numbers) = block.split_at(Self::BYTES - N / 2);
        put_float(head, lane, halves);
        halves[2 * LANES + lane] = scale_and_zero(head).1 as u16;
        for number in 0..N {
            put_4(words, lane, number, nibble_of_int4(numbers, number));
        }
        scale_and_zero(head).0.is_finite()
    }

    #[inline(always)]
    unsafe fn numbers<V: Lanes, const P: usize>(
        words: [*const u32; P],
        halves: [*const u16; P],
        to: &mut impl Sink<V, P>,
    ) {
        unsafe {
            let (mut scaled, minus) = (Scaled::<V, P>::plain(), V::all(-1.0));
            for (p, halves) in halves.into_iter().enumerate() {
                // `q scale` and `zero scale` are exact, scales being of 16 bits, and so is what one
                // is less than the other.
                let [zero, _] = V::pairs(halves.add(2 * LANES));
                let scale = V::split_floats(halves);
                scaled.scale[p] = scale;
                scaled.least[p] = zero.times(scale).times(minus);
            }
            in_words(words, &Four::<V, false>::new(0.0), &scaled, N, to);
        }
    }
}

/// Puts a number of F32 into two of 16 bits; returns what follows it.
fn put_float<'a>(bytes: &'a [u8], lane: usize, halves: &mut [u16]) -> &'a [u8] {
    let (number, rest) = bytes.split_at(size_of::<f32>());
    halves[lane] = u16::from_le_bytes([number[0], number[1]]);
    halves[LANES + lane] = u16::from_le_bytes([number[2], number[3]]);
    rest
}
