//! Sixteen numbers side by side, for each set of instructions, and the ways in which quantized numbers
//! lie in words: eight of 4 bits, which may be codes of others, six of 5 bits, and bytes.

use super::LANES;

/// Inputs that share a scale in every format, or twice as many as do.
pub const PART: usize = 32;
/// Words of a lane for a part, with eight numbers a word.
pub const WORDS_OF_4: usize = PART / 8;
/// Words of a lane for a part, with six numbers a word; two bits of each, and most of the last, are
/// left over, so that a number is one shift away.
pub const WORDS_OF_5: usize = PART.div_ceil(6);
/// Words of a lane for a part of bytes.
pub const WORDS_OF_8: usize = PART / 4;

/// Sixteen lanes. Every function asks for the instructions of its type, and reads or writes sixteen
/// numbers where it is given a place.
pub trait Lanes: Copy {
    /// Words.
    type Words: Copy;
    /// What small numbers stand for.
    type Table: Copy;
    /// What sixteen codes stand for.
    type Codes: Copy;

    unsafe fn all(number: f32) -> Self;
    unsafe fn floats(at: *const f32) -> Self;
    /// Of half precision.
    unsafe fn halves(at: *const u16) -> Self;
    /// The upper halves of numbers of F32.
    unsafe fn bf16(at: *const u16) -> Self;
    /// The lower halves of numbers of F32, then the upper ones.
    unsafe fn split_floats(at: *const u16) -> Self;
    /// Of 16 bits, the lower eight, and the upper eight, without a sign.
    unsafe fn pairs(at: *const u16) -> [Self; 2];
    /// The same with a sign.
    unsafe fn signed_pairs(at: *const u16) -> [Self; 2];
    unsafe fn words(at: *const u32) -> Self::Words;
    /// Without its lowest bits.
    unsafe fn shifted(words: Self::Words, bits: u32) -> Self::Words;
    /// `q - zero` for `q` of up to five bits; `LESS` says that zero is not 0.
    unsafe fn table<const LESS: bool>(zero: f32) -> Self::Table;
    /// Of the lowest four bits.
    unsafe fn of_4<const LESS: bool>(words: Self::Words, table: Self::Table) -> Self;
    /// Of the lowest five bits.
    unsafe fn of_5<const LESS: bool>(words: Self::Words, table: Self::Table) -> Self;
    unsafe fn codes(numbers: &[f32; 16]) -> Self::Codes;
    /// Of a code in the lowest four bits.
    unsafe fn of_code(words: Self::Words, codes: Self::Codes) -> Self;
    /// Of sixteen bytes with a sign.
    unsafe fn of_bytes(at: *const u32) -> Self;
    unsafe fn times(self, other: Self) -> Self;
    /// `self other + sum`, rounded as the products of this machine round it.
    unsafe fn times_plus(self, other: Self, sum: Self) -> Self;
    unsafe fn store(self, at: *mut f32);
}

/// Puts number `number` of a lane, of four bits, into its words.
pub fn put_4(words: &mut [u32], lane: usize, number: usize, q: u8) {
    words[number / 8 * LANES + lane] |= u32::from(q) << (4 * (number % 8));
}

/// The same of five bits.
pub fn put_5(words: &mut [u32], lane: usize, number: usize, q: u8) {
    words[number / 6 * LANES + lane] |= u32::from(q) << (5 * (number % 6));
}

/// The same of a byte with a sign.
pub fn put_8(words: &mut [u32], lane: usize, number: usize, q: i8) {
    words[(number * LANES + lane) / 4] |= u32::from(q as u8) << (8 * (lane % 4));
}

/// What every set of instructions computes, in plain loops.
#[derive(Clone, Copy)]
pub struct Plain([f32; LANES]);

impl Plain {
    #[inline(always)]
    unsafe fn of_halves(at: *const u16, number: impl Fn(u16) -> f32) -> Self {
        Plain(unsafe { at.cast::<[u16; LANES]>().read_unaligned() }.map(number))
    }
}

impl Lanes for Plain {
    type Words = [u32; LANES];
    type Table = f32;
    type Codes = [f32; 16];

    #[inline(always)]
    unsafe fn all(number: f32) -> Self {
        Plain([number; LANES])
    }
    #[inline(always)]
    unsafe fn floats(at: *const f32) -> Self {
        Plain(unsafe { at.cast::<[f32; LANES]>().read() })
    }
    #[inline(always)]
    unsafe fn halves(at: *const u16) -> Self {
        unsafe { Self::of_halves(at, |half| half::f16::from_bits(half).to_f32()) }
    }
    #[inline(always)]
    unsafe fn bf16(at: *const u16) -> Self {
        unsafe { Self::of_halves(at, |half| f32::from_bits(u32::from(half) << 16)) }
    }
    #[inline(always)]
    unsafe fn split_floats(at: *const u16) -> Self {
        let at = at.cast::<[u16; LANES]>();
        let [lower, upper] = unsafe { [at.read(), at.add(1).read()] };
        Plain(std::array::from_fn(|lane| {
            f32::from_bits(u32::from(lower[lane]) | u32::from(upper[lane]) << 16)
        }))
    }
    #[inline(always)]
    unsafe fn pairs(at: *const u16) -> [Self; 2] {
        unsafe {
            [
                Self::of_halves(at, |pair| f32::from(pair & 255)),
                Self::of_halves(at, |pair| f32::from(pair >> 8)),
            ]
        }
    }
    #[inline(always)]
    unsafe fn signed_pairs(at: *const u16) -> [Self; 2] {
        unsafe {
            [
                Self::of_halves(at, |pair| f32::from(pair as u8 as i8)),
                Self::of_halves(at, |pair| f32::from((pair >> 8) as u8 as i8)),
            ]
        }
    }
    #[inline(always)]
    unsafe fn words(at: *const u32) -> Self::Words {
        unsafe { at.cast::<[u32; LANES]>().read() }
    }
    #[inline(always)]
    unsafe fn shifted(words: Self::Words, bits: u32) -> Self::Words {
        words.map(|word| word >> bits)
    }
    #[inline(always)]
    unsafe fn table<const LESS: bool>(zero: f32) -> f32 {
        zero
    }
    #[inline(always)]
    unsafe fn of_4<const LESS: bool>(words: Self::Words, zero: f32) -> Self {
        Plain(words.map(|word| (word & 15) as f32 - zero))
    }
    #[inline(always)]
    unsafe fn of_5<const LESS: bool>(words: Self::Words, zero: f32) -> Self {
        Plain(words.map(|word| (word & 31) as f32 - zero))
    }
    #[inline(always)]
    unsafe fn codes(numbers: &[f32; 16]) -> Self::Codes {
        *numbers
    }
    #[inline(always)]
    unsafe fn of_code(words: Self::Words, codes: Self::Codes) -> Self {
        Plain(words.map(|word| codes[(word & 15) as usize]))
    }
    #[inline(always)]
    unsafe fn of_bytes(at: *const u32) -> Self {
        let words = unsafe { at.cast::<[u32; LANES / 4]>().read() };
        Plain(std::array::from_fn(|lane| {
            f32::from((words[lane / 4] >> (8 * (lane % 4))) as u8 as i8)
        }))
    }
    #[inline(always)]
    unsafe fn times(self, other: Self) -> Self {
        Plain(std::array::from_fn(|lane| self.0[lane] * other.0[lane]))
    }
    #[inline(always)]
    unsafe fn times_plus(self, other: Self, sum: Self) -> Self {
        Plain(std::array::from_fn(|lane| {
            // As the tile of a product does.
            if cfg!(target_arch = "aarch64") {
                self.0[lane].mul_add(other.0[lane], sum.0[lane])
            } else {
                sum.0[lane] + self.0[lane] * other.0[lane]
            }
        }))
    }
    #[inline(always)]
    unsafe fn store(self, at: *mut f32) {
        unsafe { at.cast::<[f32; LANES]>().write(self.0) }
    }
}
