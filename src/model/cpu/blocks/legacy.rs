//! GGUF's blocks of 32 numbers: Q4_0, Q4_1, Q5_0, Q5_1, Q8_0. Each has a scale in half precision, and
//! those that end in 1 a smallest number.

use super::lanes::{
    PART, Scaled, WORDS_OF_4, WORDS_OF_5, WORDS_OF_8, put_4, put_5, put_8, unpack_4, unpack_5,
    unpack_8,
};
use super::{LANES, Layout, NOTHING, widen_halves};

/// Four bits, `(q - 8) d`.
pub(super) const Q4_0: Layout = Layout {
    inputs: PART,
    bytes: 18,
    words: WORDS_OF_4,
    halves: 1,
    scales: &[0],
    pack: |block, lane, words, _| pack_4(&block[2..], lane, words),
    unpack: |words, halves, out| unpack_4(words, 8.0, &scaled(halves), out),
};

/// Four bits, `q d + m`.
pub(super) const Q4_1: Layout = Layout {
    inputs: PART,
    bytes: 20,
    words: WORDS_OF_4,
    halves: 2,
    scales: &[0, 2],
    pack: |block, lane, words, _| pack_4(&block[4..], lane, words),
    unpack: |words, halves, out| unpack_4(words, 0.0, &scaled_with_least(halves), out),
};

/// Five bits, `(q - 16) d`.
pub(super) const Q5_0: Layout = Layout {
    inputs: PART,
    bytes: 22,
    words: WORDS_OF_5,
    halves: 1,
    scales: &[0],
    pack: |block, lane, words, _| pack_5(&block[2..], lane, words),
    unpack: |words, halves, out| unpack_5(words, 16.0, &scaled(halves), out),
};

/// Five bits, `q d + m`.
pub(super) const Q5_1: Layout = Layout {
    inputs: PART,
    bytes: 24,
    words: WORDS_OF_5,
    halves: 2,
    scales: &[0, 2],
    pack: |block, lane, words, _| pack_5(&block[4..], lane, words),
    unpack: |words, halves, out| unpack_5(words, 0.0, &scaled_with_least(halves), out),
};

/// Eight bits with a sign, `q d`.
pub(super) const Q8_0: Layout = Layout {
    inputs: PART,
    bytes: 34,
    words: WORDS_OF_8,
    halves: 1,
    scales: &[0],
    pack: |block, lane, words, _| {
        for (number, &byte) in block[2..34].iter().enumerate() {
            put_8(words, lane, number, byte as i8);
        }
    },
    unpack: |words, halves, out| unpack_8(words, &widen_halves(halves), out),
};

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

fn scaled(halves: &[u16]) -> Scaled {
    Scaled {
        scale: widen_halves(halves),
        least: NOTHING,
    }
}

fn scaled_with_least(halves: &[u16]) -> Scaled {
    Scaled {
        scale: widen_halves(halves),
        least: widen_halves(&halves[LANES..]),
    }
}
