//! [`Lanes`] of AVX-512 and of AVX2.

use std::arch::x86_64::*;

use super::lanes::Lanes;

#[derive(Clone, Copy)]
pub struct Avx512(__m512);

impl Lanes for Avx512 {
    type Words = __m512i;
    type Table = (__m512, __m512);
    type Codes = __m512;

    #[inline(always)]
    unsafe fn all(number: f32) -> Self {
        Avx512(unsafe { _mm512_set1_ps(number) })
    }
    #[inline(always)]
    unsafe fn floats(at: *const f32) -> Self {
        Avx512(unsafe { _mm512_loadu_ps(at) })
    }
    #[inline(always)]
    unsafe fn halves(at: *const u16) -> Self {
        Avx512(unsafe { _mm512_cvtph_ps(_mm256_loadu_si256(at.cast())) })
    }
    #[inline(always)]
    unsafe fn bf16(at: *const u16) -> Self {
        unsafe {
            let upper = _mm512_cvtepu16_epi32(_mm256_loadu_si256(at.cast()));
            Avx512(_mm512_castsi512_ps(_mm512_slli_epi32::<16>(upper)))
        }
    }
    #[inline(always)]
    unsafe fn split_floats(at: *const u16) -> Self {
        unsafe {
            let lower = _mm512_cvtepu16_epi32(_mm256_loadu_si256(at.cast()));
            let upper = _mm512_cvtepu16_epi32(_mm256_loadu_si256(at.add(16).cast()));
            let upper = _mm512_slli_epi32::<16>(upper);
            Avx512(_mm512_castsi512_ps(_mm512_or_si512(lower, upper)))
        }
    }
    #[inline(always)]
    unsafe fn pairs(at: *const u16) -> [Self; 2] {
        unsafe {
            let pairs = _mm512_cvtepu16_epi32(_mm256_loadu_si256(at.cast()));
            let lower = _mm512_and_si512(pairs, _mm512_set1_epi32(255));
            let upper = _mm512_srli_epi32::<8>(pairs);
            [
                Avx512(_mm512_cvtepi32_ps(lower)),
                Avx512(_mm512_cvtepi32_ps(upper)),
            ]
        }
    }
    #[inline(always)]
    unsafe fn signed_pairs(at: *const u16) -> [Self; 2] {
        unsafe {
            let pairs = _mm512_cvtepi16_epi32(_mm256_loadu_si256(at.cast()));
            let lower = _mm512_srai_epi32::<24>(_mm512_slli_epi32::<24>(pairs));
            let upper = _mm512_srai_epi32::<8>(pairs);
            [
                Avx512(_mm512_cvtepi32_ps(lower)),
                Avx512(_mm512_cvtepi32_ps(upper)),
            ]
        }
    }
    #[inline(always)]
    unsafe fn words(at: *const u32) -> Self::Words {
        unsafe { _mm512_loadu_si512(at.cast()) }
    }
    #[inline(always)]
    unsafe fn shifted(words: Self::Words, bits: u32) -> Self::Words {
        unsafe { _mm512_srl_epi32(words, _mm_cvtsi32_si128(bits as i32)) }
    }
    #[inline(always)]
    unsafe fn table<const LESS: bool>(zero: f32) -> Self::Table {
        let mut numbers = [0.0f32; 32];
        for (q, number) in numbers.iter_mut().enumerate() {
            *number = q as f32 - zero;
        }
        let at = numbers.as_ptr();
        unsafe { (_mm512_loadu_ps(at), _mm512_loadu_ps(at.add(16))) }
    }
    #[inline(always)]
    unsafe fn of_4<const LESS: bool>(words: Self::Words, table: Self::Table) -> Self {
        // Of an index the lowest four bits count.
        Avx512(unsafe { _mm512_permutexvar_ps(words, table.0) })
    }
    #[inline(always)]
    unsafe fn of_5<const LESS: bool>(words: Self::Words, table: Self::Table) -> Self {
        // Of an index into two the lowest five bits count.
        Avx512(unsafe { _mm512_permutex2var_ps(table.0, words, table.1) })
    }
    #[inline(always)]
    unsafe fn codes(numbers: &[f32; 16]) -> __m512 {
        unsafe { _mm512_loadu_ps(numbers.as_ptr()) }
    }
    #[inline(always)]
    unsafe fn of_code(words: Self::Words, codes: __m512) -> Self {
        Avx512(unsafe { _mm512_permutexvar_ps(words, codes) })
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
    unsafe fn times_plus(self, other: Self, sum: Self) -> Self {
        Avx512(unsafe { _mm512_fmadd_ps(self.0, other.0, sum.0) })
    }
    #[inline(always)]
    unsafe fn store(self, at: *mut f32) {
        unsafe { _mm512_storeu_ps(at, self.0) }
    }
}

#[derive(Clone, Copy)]
pub struct Avx2([__m256; 2]);

// Closures would not be compiled for these instructions.
impl Avx2 {
    #[inline(always)]
    unsafe fn below<const LESS: bool>(words: [__m256i; 2], mask: i32, zero: __m256) -> Self {
        unsafe {
            let mask = _mm256_set1_epi32(mask);
            let lower = _mm256_cvtepi32_ps(_mm256_and_si256(words[0], mask));
            let upper = _mm256_cvtepi32_ps(_mm256_and_si256(words[1], mask));
            match LESS {
                true => Avx2([_mm256_sub_ps(lower, zero), _mm256_sub_ps(upper, zero)]),
                false => Avx2([lower, upper]),
            }
        }
    }

    /// Of an index the lowest three bits count; the fourth, as a sign, chooses between halves.
    #[inline(always)]
    unsafe fn code(words: __m256i, codes: [__m256; 2]) -> __m256 {
        unsafe {
            let fourth = _mm256_castsi256_ps(_mm256_slli_epi32::<28>(words));
            let lower = _mm256_permutevar8x32_ps(codes[0], words);
            let upper = _mm256_permutevar8x32_ps(codes[1], words);
            _mm256_blendv_ps(lower, upper, fourth)
        }
    }

    #[inline(always)]
    unsafe fn of_words(words: [__m256i; 2]) -> Self {
        unsafe { Avx2([_mm256_cvtepi32_ps(words[0]), _mm256_cvtepi32_ps(words[1])]) }
    }

    /// Numbers of 16 bits in words, without a sign.
    #[inline(always)]
    unsafe fn wide(at: *const u16) -> [__m256i; 2] {
        unsafe {
            [
                _mm256_cvtepu16_epi32(_mm_loadu_si128(at.cast())),
                _mm256_cvtepu16_epi32(_mm_loadu_si128(at.add(8).cast())),
            ]
        }
    }
}

impl Lanes for Avx2 {
    type Words = [__m256i; 2];
    type Table = __m256;
    type Codes = [__m256; 2];

    #[inline(always)]
    unsafe fn all(number: f32) -> Self {
        unsafe {
            let number = _mm256_set1_ps(number);
            Avx2([number, number])
        }
    }
    #[inline(always)]
    unsafe fn floats(at: *const f32) -> Self {
        Avx2(unsafe { [_mm256_loadu_ps(at), _mm256_loadu_ps(at.add(8))] })
    }
    #[inline(always)]
    unsafe fn halves(at: *const u16) -> Self {
        unsafe {
            Avx2([
                _mm256_cvtph_ps(_mm_loadu_si128(at.cast())),
                _mm256_cvtph_ps(_mm_loadu_si128(at.add(8).cast())),
            ])
        }
    }
    #[inline(always)]
    unsafe fn bf16(at: *const u16) -> Self {
        unsafe {
            let upper = Self::wide(at);
            let first = _mm256_slli_epi32::<16>(upper[0]);
            let second = _mm256_slli_epi32::<16>(upper[1]);
            Avx2([_mm256_castsi256_ps(first), _mm256_castsi256_ps(second)])
        }
    }
    #[inline(always)]
    unsafe fn split_floats(at: *const u16) -> Self {
        unsafe {
            let (lower, upper) = (Self::wide(at), Self::wide(at.add(16)));
            let first = _mm256_or_si256(lower[0], _mm256_slli_epi32::<16>(upper[0]));
            let second = _mm256_or_si256(lower[1], _mm256_slli_epi32::<16>(upper[1]));
            Avx2([_mm256_castsi256_ps(first), _mm256_castsi256_ps(second)])
        }
    }
    #[inline(always)]
    unsafe fn pairs(at: *const u16) -> [Self; 2] {
        unsafe {
            let (pairs, mask) = (Self::wide(at), _mm256_set1_epi32(255));
            let lower = [
                _mm256_and_si256(pairs[0], mask),
                _mm256_and_si256(pairs[1], mask),
            ];
            [
                Self::of_words(lower),
                Self::of_words(Self::shifted(pairs, 8)),
            ]
        }
    }
    #[inline(always)]
    unsafe fn signed_pairs(at: *const u16) -> [Self; 2] {
        unsafe {
            let pairs = Self::wide(at);
            let lower = [
                _mm256_srai_epi32::<24>(_mm256_slli_epi32::<24>(pairs[0])),
                _mm256_srai_epi32::<24>(_mm256_slli_epi32::<24>(pairs[1])),
            ];
            let upper = [
                _mm256_srai_epi32::<24>(_mm256_slli_epi32::<16>(pairs[0])),
                _mm256_srai_epi32::<24>(_mm256_slli_epi32::<16>(pairs[1])),
            ];
            [Self::of_words(lower), Self::of_words(upper)]
        }
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
    unsafe fn shifted(words: Self::Words, bits: u32) -> Self::Words {
        unsafe {
            let by = _mm_cvtsi32_si128(bits as i32);
            [
                _mm256_srl_epi32(words[0], by),
                _mm256_srl_epi32(words[1], by),
            ]
        }
    }
    #[inline(always)]
    unsafe fn table<const LESS: bool>(zero: f32) -> __m256 {
        unsafe { _mm256_set1_ps(zero) }
    }
    #[inline(always)]
    unsafe fn of_4<const LESS: bool>(words: Self::Words, zero: __m256) -> Self {
        unsafe { Self::below::<LESS>(words, 15, zero) }
    }
    #[inline(always)]
    unsafe fn of_5<const LESS: bool>(words: Self::Words, zero: __m256) -> Self {
        unsafe { Self::below::<LESS>(words, 31, zero) }
    }
    #[inline(always)]
    unsafe fn codes(numbers: &[f32; 16]) -> Self::Codes {
        let at = numbers.as_ptr();
        unsafe { [_mm256_loadu_ps(at), _mm256_loadu_ps(at.add(8))] }
    }
    #[inline(always)]
    unsafe fn of_code(words: Self::Words, codes: Self::Codes) -> Self {
        unsafe { Avx2([Self::code(words[0], codes), Self::code(words[1], codes)]) }
    }
    #[inline(always)]
    unsafe fn of_bytes(at: *const u32) -> Self {
        unsafe {
            Self::of_words([
                _mm256_cvtepi8_epi32(_mm_loadl_epi64(at.cast())),
                _mm256_cvtepi8_epi32(_mm_loadl_epi64(at.add(2).cast())),
            ])
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
    unsafe fn times_plus(self, other: Self, sum: Self) -> Self {
        unsafe {
            Avx2([
                _mm256_fmadd_ps(self.0[0], other.0[0], sum.0[0]),
                _mm256_fmadd_ps(self.0[1], other.0[1], sum.0[1]),
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
