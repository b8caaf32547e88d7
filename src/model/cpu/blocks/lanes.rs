//! Sixteen numbers side by side, for each set of instructions, and the three ways in which quantized
//! numbers lie in words: eight of 4 bits, six of 5 bits, and bytes.

use super::super::simd::{Isa, isa};
use super::LANES;

/// Inputs that share a scale in every layout, or twice as many as do.
pub const PART: usize = 32;
/// Words of a lane for a part, with eight numbers a word.
pub const WORDS_OF_4: usize = PART / 8;
/// Words of a lane for a part, with six numbers a word; two bits of each, and most of the last, are
/// left over, so that a number is one shift away.
pub const WORDS_OF_5: usize = PART.div_ceil(6);
/// Words of a lane for a part of bytes.
pub const WORDS_OF_8: usize = PART / 4;

/// A multiple of a quantized number, and what is added to it.
#[derive(Clone, Copy)]
pub struct Scaled {
    pub scale: [f32; LANES],
    pub least: [f32; LANES],
}

/// Sixteen lanes.
trait Lanes: Copy {
    /// Words.
    type Words: Copy;
    /// What small numbers stand for.
    type Table: Copy;

    unsafe fn floats(at: *const f32) -> Self;
    unsafe fn words(at: *const u32) -> Self::Words;
    /// Without its lowest bits.
    unsafe fn shifted<const BITS: u32>(words: Self::Words) -> Self::Words;
    /// `q - zero` for `q` of up to five bits.
    unsafe fn table(zero: f32) -> Self::Table;
    /// Of the lowest four bits.
    unsafe fn of_4(words: Self::Words, table: Self::Table) -> Self;
    /// Of the lowest five bits.
    unsafe fn of_5(words: Self::Words, table: Self::Table) -> Self;
    /// Of sixteen bytes with a sign.
    unsafe fn of_bytes(at: *const u32) -> Self;
    unsafe fn times(self, other: Self) -> Self;
    unsafe fn plus(self, other: Self) -> Self;
    unsafe fn store(self, at: *mut f32);
}

/// What every set of instructions computes, in plain loops.
#[derive(Clone, Copy)]
struct Plain([f32; LANES]);

impl Lanes for Plain {
    type Words = [u32; LANES];
    type Table = f32;

    #[inline(always)]
    unsafe fn floats(at: *const f32) -> Self {
        Plain(unsafe { at.cast::<[f32; LANES]>().read() })
    }
    #[inline(always)]
    unsafe fn words(at: *const u32) -> Self::Words {
        unsafe { at.cast::<[u32; LANES]>().read() }
    }
    #[inline(always)]
    unsafe fn shifted<const BITS: u32>(words: Self::Words) -> Self::Words {
        words.map(|word| word >> BITS)
    }
    #[inline(always)]
    unsafe fn table(zero: f32) -> f32 {
        zero
    }
    #[inline(always)]
    unsafe fn of_4(words: Self::Words, zero: f32) -> Self {
        Plain(words.map(|word| (word & 15) as f32 - zero))
    }
    #[inline(always)]
    unsafe fn of_5(words: Self::Words, zero: f32) -> Self {
        Plain(words.map(|word| (word & 31) as f32 - zero))
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
    unsafe fn plus(self, other: Self) -> Self {
        Plain(std::array::from_fn(|lane| self.0[lane] + other.0[lane]))
    }
    #[inline(always)]
    unsafe fn store(self, at: *mut f32) {
        unsafe { at.cast::<[f32; LANES]>().write(self.0) }
    }
}

#[cfg(target_arch = "x86_64")]
mod x86 {
    use std::arch::x86_64::*;

    use super::Lanes;

    #[derive(Clone, Copy)]
    pub struct Avx512(__m512);

    impl Lanes for Avx512 {
        type Words = __m512i;
        type Table = (__m512, __m512);

        #[inline(always)]
        unsafe fn floats(at: *const f32) -> Self {
            Avx512(unsafe { _mm512_loadu_ps(at) })
        }
        #[inline(always)]
        unsafe fn words(at: *const u32) -> Self::Words {
            unsafe { _mm512_loadu_si512(at.cast()) }
        }
        #[inline(always)]
        unsafe fn shifted<const BITS: u32>(words: Self::Words) -> Self::Words {
            unsafe { _mm512_srli_epi32::<BITS>(words) }
        }
        #[inline(always)]
        unsafe fn table(zero: f32) -> Self::Table {
            let lower: [f32; 16] = std::array::from_fn(|q| q as f32 - zero);
            let upper: [f32; 16] = std::array::from_fn(|q| (q + 16) as f32 - zero);
            unsafe {
                (
                    _mm512_loadu_ps(lower.as_ptr()),
                    _mm512_loadu_ps(upper.as_ptr()),
                )
            }
        }
        #[inline(always)]
        unsafe fn of_4(words: Self::Words, table: Self::Table) -> Self {
            // Of an index the lowest four bits count.
            Avx512(unsafe { _mm512_permutexvar_ps(words, table.0) })
        }
        #[inline(always)]
        unsafe fn of_5(words: Self::Words, table: Self::Table) -> Self {
            // Of an index into two the lowest five bits count.
            Avx512(unsafe { _mm512_permutex2var_ps(table.0, words, table.1) })
        }
        #[inline(always)]
        unsafe fn of_bytes(at: *const u32) -> Self {
            unsafe {
                let bytes = _mm_loadu_si128(at.cast());
                Avx512(_mm512_cvtepi32_ps(_mm512_cvtepi8_epi32(bytes)))
            }
        }
        #[inline(always)]
        unsafe fn times(self, other: Self) -> Self {
            Avx512(unsafe { _mm512_mul_ps(self.0, other.0) })
        }
        #[inline(always)]
        unsafe fn plus(self, other: Self) -> Self {
            Avx512(unsafe { _mm512_add_ps(self.0, other.0) })
        }
        #[inline(always)]
        unsafe fn store(self, at: *mut f32) {
            unsafe { _mm512_storeu_ps(at, self.0) }
        }
    }

    #[derive(Clone, Copy)]
    pub struct Avx2([__m256; 2]);

    impl Avx2 {
        #[inline(always)]
        unsafe fn below(words: [__m256i; 2], mask: i32, zero: __m256) -> Self {
            // Closures would not be compiled for these instructions.
            unsafe {
                let mask = _mm256_set1_epi32(mask);
                let lower = _mm256_cvtepi32_ps(_mm256_and_si256(words[0], mask));
                let upper = _mm256_cvtepi32_ps(_mm256_and_si256(words[1], mask));
                Avx2([_mm256_sub_ps(lower, zero), _mm256_sub_ps(upper, zero)])
            }
        }
    }

    impl Lanes for Avx2 {
        type Words = [__m256i; 2];
        type Table = __m256;

        #[inline(always)]
        unsafe fn floats(at: *const f32) -> Self {
            Avx2(unsafe { [_mm256_loadu_ps(at), _mm256_loadu_ps(at.add(8))] })
        }
        #[inline(always)]
        unsafe fn words(at: *const u32) -> Self::Words {
            unsafe {
                [
                    _mm256_loadu_si256(at.cast()),
                    _mm256_loadu_si256(at.add(8).cast()),
                ]
            }
        }
        #[inline(always)]
        unsafe fn shifted<const BITS: u32>(words: Self::Words) -> Self::Words {
            words.map(|words| unsafe { _mm256_srl_epi32(words, _mm_cvtsi32_si128(BITS as i32)) })
        }
        #[inline(always)]
        unsafe fn table(zero: f32) -> __m256 {
            unsafe { _mm256_set1_ps(zero) }
        }
        #[inline(always)]
        unsafe fn of_4(words: Self::Words, zero: __m256) -> Self {
            unsafe { Self::below(words, 15, zero) }
        }
        #[inline(always)]
        unsafe fn of_5(words: Self::Words, zero: __m256) -> Self {
            unsafe { Self::below(words, 31, zero) }
        }
        #[inline(always)]
        unsafe fn of_bytes(at: *const u32) -> Self {
            unsafe {
                let lower = _mm256_cvtepi8_epi32(_mm_loadl_epi64(at.cast()));
                let upper = _mm256_cvtepi8_epi32(_mm_loadl_epi64(at.add(2).cast()));
                Avx2([_mm256_cvtepi32_ps(lower), _mm256_cvtepi32_ps(upper)])
            }
        }
        #[inline(always)]
        unsafe fn times(self, other: Self) -> Self {
            unsafe {
                Avx2([
                    _mm256_mul_ps(self.0[0], other.0[0]),
                    _mm256_mul_ps(self.0[1], other.0[1]),
                ])
            }
        }
        #[inline(always)]
        unsafe fn plus(self, other: Self) -> Self {
            unsafe {
                Avx2([
                    _mm256_add_ps(self.0[0], other.0[0]),
                    _mm256_add_ps(self.0[1], other.0[1]),
                ])
            }
        }
        #[inline(always)]
        unsafe fn store(self, at: *mut f32) {
            unsafe {
                _mm256_storeu_ps(at, self.0[0]);
                _mm256_storeu_ps(at.add(8), self.0[1]);
            }
        }
    }
}

#[inline(always)]
unsafe fn of_4<V: Lanes>(words: &[u32], zero: f32, scaled: &Scaled, out: &mut [f32]) {
    assert!(words.len() >= WORDS_OF_4 * LANES && out.len() >= PART * LANES);
    unsafe {
        let table = V::table(zero);
        let scale = V::floats(scaled.scale.as_ptr());
        let least = V::floats(scaled.least.as_ptr());
        let mut out = out.as_mut_ptr();
        for word in 0..WORDS_OF_4 {
            let mut word = V::words(words.as_ptr().add(word * LANES));
            for _ in 0..8 {
                V::of_4(word, table).times(scale).plus(least).store(out);
                word = V::shifted::<4>(word);
                out = out.add(LANES);
            }
        }
    }
}

#[inline(always)]
unsafe fn of_5<V: Lanes>(words: &[u32], zero: f32, scaled: &Scaled, out: &mut [f32]) {
    assert!(words.len() >= WORDS_OF_5 * LANES && out.len() >= PART * LANES);
    unsafe {
        let table = V::table(zero);
        let scale = V::floats(scaled.scale.as_ptr());
        let least = V::floats(scaled.least.as_ptr());
        let mut out = out.as_mut_ptr();
        for word in 0..WORDS_OF_5 {
            let numbers = 6.min(PART - 6 * word);
            let mut word = V::words(words.as_ptr().add(word * LANES));
            for _ in 0..numbers {
                V::of_5(word, table).times(scale).plus(least).store(out);
                word = V::shifted::<5>(word);
                out = out.add(LANES);
            }
        }
    }
}

#[inline(always)]
unsafe fn of_8<V: Lanes>(words: &[u32], scale: &[f32; LANES], out: &mut [f32]) {
    let numbers = out.len() / LANES;
    assert!(words.len() * 4 >= numbers * LANES);
    unsafe {
        let scale = V::floats(scale.as_ptr());
        for number in 0..numbers {
            let bytes = words.as_ptr().add(number * LANES / 4);
            V::of_bytes(bytes)
                .times(scale)
                .store(out.as_mut_ptr().add(number * LANES));
        }
    }
}

/// Defines a function that calls a kernel for the set of instructions that is there.
macro_rules! for_this_machine {
    ($(#[$meta:meta])* $name:ident = $kernel:ident($($arg:ident: $ty:ty),*)) => {
        $(#[$meta])*
        #[inline]
        pub fn $name($($arg: $ty),*) {
            #[cfg(target_arch = "x86_64")]
            #[target_feature(enable = "avx512f,avx512vl,avx2,fma")]
            unsafe fn avx512($($arg: $ty),*) {
                unsafe { $kernel::<x86::Avx512>($($arg),*) }
            }
            #[cfg(target_arch = "x86_64")]
            #[target_feature(enable = "avx2,fma")]
            unsafe fn avx2($($arg: $ty),*) {
                unsafe { $kernel::<x86::Avx2>($($arg),*) }
            }
            // SAFETY: `isa` reports only what the processor has; kernels assert what they touch.
            match isa() {
                #[cfg(target_arch = "x86_64")]
                Isa::Avx512 => unsafe { avx512($($arg),*) },
                #[cfg(target_arch = "x86_64")]
                Isa::Avx2 => unsafe { avx2($($arg),*) },
                _ => unsafe { $kernel::<Plain>($($arg),*) },
            }
        }
    };
}

for_this_machine! {
    /// A part of numbers of four bits: `(q - zero) scale + least`.
    unpack_4 = of_4(words: &[u32], zero: f32, scaled: &Scaled, out: &mut [f32])
}
for_this_machine! {
    /// A part of numbers of five bits: `(q - zero) scale + least`.
    unpack_5 = of_5(words: &[u32], zero: f32, scaled: &Scaled, out: &mut [f32])
}
for_this_machine! {
    /// Bytes with a sign, as many as there is room for: `q scale`.
    unpack_8 = of_8(words: &[u32], scale: &[f32; LANES], out: &mut [f32])
}

/// Puts number `number` of a lane of a part, of four bits, into its words.
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
