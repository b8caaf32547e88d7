//! Numbers of 16 bits: bf16 and half precision, as most folders have them.

use half::{bf16, f16};

use super::LANES;
use super::kernels::{InBlocks, Sink};
use super::lanes::{Lanes, PART};

/// Half precision, or the upper half of F32.
pub(super) struct Halves<const BF16: bool>;

impl<const BF16: bool> InBlocks for Halves<BF16> {
    const INPUTS: usize = PART;
    const BYTES: usize = 2 * PART;
    const WORDS: usize = 0;
    const HALVES: usize = PART;

    fn pack(block: &[u8], lane: usize, _: &mut [u32], halves: &mut [u16]) -> bool {
        let (numbers, _) = block.as_chunks::<2>();
        let each = numbers.iter().zip(halves.chunks_exact_mut(LANES));
        each.fold(true, |finite, (&number, halves)| {
            let bits = u16::from_le_bytes(number);
            halves[lane] = bits;
            let is_finite = match BF16 {
                true => bf16::from_bits(bits).is_finite(),
                false => f16::from_bits(bits).is_finite(),
            };
            finite && is_finite
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
                    let at = halves[p].add(number * LANES);
                    numbers[p] = if BF16 { V::bf16(at) } else { V::halves(at) };
                }
                to.take(numbers);
            }
        }
    }
}
