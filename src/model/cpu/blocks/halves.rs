//! Numbers of 16 bits: bf16 and half precision, as most folders have them.

use half::{bf16, f16};

use super::LANES;
use super::kernels::{InBlocks, Sink};
use super::lanes::{Lanes, PART};

/// The upper half of F32.
pub(super) struct Bf16;
/// Half precision.
pub(super) struct F16;

impl InBlocks for Bf16 {
    const INPUTS: usize = PART;
    const BYTES: usize = 2 * PART;
    const WORDS: usize = 0;
    const HALVES: usize = PART;

    fn pack(block: &[u8], lane: usize, _: &mut [u32], halves: &mut [u16]) -> bool {
        put(block, lane, halves, |bits| {
            bf16::from_bits(bits).is_finite()
        })
    }

    #[inline(always)]
    unsafe fn numbers<V: Lanes, const P: usize>(
        _: [*const u32; P],
        halves: [*const u16; P],
        to: &mut impl Sink<V, P>,
    ) {
        unsafe {
            for number in 0..PART {
                let mut numbers = [V::all(0.0); P];
                for p in 0..P {
                    numbers[p] = V::bf16(halves[p].add(number * LANES));
                }
                to.take(numbers);
            }
        }
    }
}

impl InBlocks for F16 {
    const INPUTS: usize = PART;
    const BYTES: usize = 2 * PART;
    const WORDS: usize = 0;
    const HALVES: usize = PART;

    fn pack(block: &[u8], lane: usize, _: &mut [u32], halves: &mut [u16]) -> bool {
        put(block, lane, halves, |bits| f16::from_bits(bits).is_finite())
    }

    #[inline(always)]
    unsafe fn numbers<V: Lanes, const P: usize>(
        _: [*const u32; P],
        halves: [*const u16; P],
        to: &mut impl Sink<V, P>,
    ) {
        unsafe {
            for number in 0..PART {
                let mut numbers = [V::all(0.0); P];
                for p in 0..P {
                    numbers[p] = V::halves(halves[p].add(number * LANES));
                }
                to.take(numbers);
            }
        }
    }
}

/// Whether all are finite.
fn put(block: &[u8], lane: usize, halves: &mut [u16], is_finite: impl Fn(u16) -> bool) -> bool {
    let (numbers, _) = block.as_chunks::<2>();
    let each = numbers.iter().zip(halves.chunks_exact_mut(LANES));
    each.fold(true, |finite, (&number, halves)| {
        halves[lane] = u16::from_le_bytes(number);
        finite && is_finite(halves[lane])
    })
}
