//! What a format's blocks stand for, said once: stored for a product of many rows, or multiplied where
//! they are for one row.

use super::super::simd::{Isa, isa};
use super::LANES;
use super::lanes::{Lanes, Plain};
#[cfg(target_arch = "x86_64")]
use super::x86;

/// What is done with the numbers of a block, in the order of its inputs; those of `P` panels at once.
pub trait Sink<V, const P: usize> {
    unsafe fn take(&mut self, numbers: [V; P]);
}

/// A format: how its blocks lie in words of 32 bits and numbers of 16, lane beside lane, and what they
/// stand for.
pub trait InBlocks {
    /// Numbers of a block.
    const INPUTS: usize;
    /// Bytes of a block in a file.
    const BYTES: usize;
    /// 32-bit words of an output for a block.
    const WORDS: usize;
    /// 16-bit numbers of an output for a block.
    const HALVES: usize;

    /// Puts a block of a file into a lane of zeros. Returns whether all that it stands for is finite.
    fn pack(block: &[u8], lane: usize, words: &mut [u32], halves: &mut [u16]) -> bool;

    /// Numbers of a block of `P` panels.
    ///
    /// # Safety
    /// The instructions of `V` are there, and a block begins at every place.
    unsafe fn numbers<V: Lanes, const P: usize>(
        words: [*const u32; P],
        halves: [*const u16; P],
        to: &mut impl Sink<V, P>,
    );
}

/// A multiple of a quantized number, and what is added to it.
#[derive(Clone, Copy)]
pub struct Scaled<V, const P: usize> {
    pub scale: [V; P],
    pub least: [V; P],
}

impl<V: Lanes, const P: usize> Scaled<V, P> {
    /// Numbers as they are: nothing is added, which leaves even the sign of a zero.
    ///
    /// # Safety
    /// The instructions of `V` are there.
    #[inline(always)]
    pub unsafe fn plain() -> Self {
        unsafe {
            Scaled {
                scale: [V::all(1.0); P],
                least: [V::all(-0.0); P],
            }
        }
    }
}

/// What the lowest bits of words stand for.
pub trait Small<V: Lanes> {
    /// How many bits.
    const BITS: u32;

    unsafe fn of(&self, words: V::Words) -> V;
}

/// Four bits less a zero point, which is not 0 if `LESS`.
pub struct Four<V: Lanes, const LESS: bool>(V::Table);

/// Five of them.
pub struct Five<V: Lanes, const LESS: bool>(V::Table);

/// A code of four bits.
pub struct Coded<V: Lanes>(V::Codes);

impl<V: Lanes, const LESS: bool> Four<V, LESS> {
    #[inline(always)]
    pub unsafe fn new(zero: f32) -> Self {
        Four(unsafe { V::table::<LESS>(zero) })
    }
}

impl<V: Lanes, const LESS: bool> Five<V, LESS> {
    #[inline(always)]
    pub unsafe fn new(zero: f32) -> Self {
        Five(unsafe { V::table::<LESS>(zero) })
    }
}

impl<V: Lanes> Coded<V> {
    #[inline(always)]
    pub unsafe fn new(numbers: &[f32; 16]) -> Self {
        Coded(unsafe { V::codes(numbers) })
    }
}

impl<V: Lanes, const LESS: bool> Small<V> for Four<V, LESS> {
    const BITS: u32 = 4;

    #[inline(always)]
    unsafe fn of(&self, words: V::Words) -> V {
        unsafe { V::of_4::<LESS>(words, self.0) }
    }
}

impl<V: Lanes, const LESS: bool> Small<V> for Five<V, LESS> {
    const BITS: u32 = 5;

    #[inline(always)]
    unsafe fn of(&self, words: V::Words) -> V {
        unsafe { V::of_5::<LESS>(words, self.0) }
    }
}

impl<V: Lanes> Small<V> for Coded<V> {
    const BITS: u32 = 4;

    #[inline(always)]
    unsafe fn of(&self, words: V::Words) -> V {
        unsafe { V::of_code(words, self.0) }
    }
}

/// So many numbers, as many in a word of 32 bits as fit: `q scale + least`. The product is exact in
/// every format that has something to add, so that a fused sum has the bits of two steps.
///
/// # Safety
/// The instructions of `V` are there, and the words of so many numbers at every place.
#[inline(always)]
pub unsafe fn in_words<V: Lanes, S: Small<V>, const P: usize>(
    at: [*const u32; P],
    small: &S,
    scaled: &Scaled<V, P>,
    count: usize,
    to: &mut impl Sink<V, P>,
) {
    let of_word = (u32::BITS / S::BITS) as usize;
    unsafe {
        for word in 0..count.div_ceil(of_word) {
            let mut words = [V::words(at[0].add(word * LANES)); P];
            for (words, at) in words.iter_mut().zip(at) {
                *words = V::words(at.add(word * LANES));
            }
            for _ in 0..of_word.min(count - of_word * word) {
                let mut numbers = scaled.least;
                for p in 0..P {
                    let q = small.of(words[p]);
                    numbers[p] = q.times_plus(scaled.scale[p], scaled.least[p]);
                    words[p] = V::shifted(words[p], S::BITS);
                }
                to.take(numbers);
            }
        }
    }
}

/// So many bytes with a sign: `q scale`.
#[inline(always)]
pub unsafe fn of_8<V: Lanes, const P: usize>(
    at: [*const u32; P],
    count: usize,
    scale: [V; P],
    to: &mut impl Sink<V, P>,
) {
    unsafe {
        for number in 0..count {
            let mut numbers = scale;
            for (of, at) in numbers.iter_mut().zip(at) {
                *of = V::of_bytes(at.add(number * LANES / 4)).times(*of);
            }
            to.take(numbers);
        }
    }
}

/// Stores numbers one after the other.
struct Store {
    at: *mut f32,
}

impl<V: Lanes> Sink<V, 1> for Store {
    #[inline(always)]
    unsafe fn take(&mut self, [numbers]: [V; 1]) {
        unsafe {
            numbers.store(self.at);
            self.at = self.at.add(LANES);
        }
    }
}

/// Adds products with the inputs of a row, in one chain for each output.
struct Sum<V, const P: usize> {
    x: *const f32,
    sums: [V; P],
}

impl<V: Lanes, const P: usize> Sink<V, P> for Sum<V, P> {
    #[inline(always)]
    unsafe fn take(&mut self, numbers: [V; P]) {
        unsafe {
            let x = V::all(*self.x);
            self.x = self.x.add(1);
            for (sum, numbers) in self.sums.iter_mut().zip(numbers) {
                *sum = x.times_plus(numbers, *sum);
            }
        }
    }
}

/// Blocks of a panel: their words and 16-bit numbers.
pub type BlocksAt<'a> = (&'a [u32], &'a [u16]);

#[inline(always)]
fn blocks<F: InBlocks>((words, halves): BlocksAt<'_>, numbers: usize) -> usize {
    let count = numbers / F::INPUTS;
    assert!(words.len() >= count * F::WORDS * LANES);
    assert!(halves.len() >= count * F::HALVES * LANES);
    count
}

#[inline(always)]
unsafe fn unpack_on<F: InBlocks, V: Lanes>(at: BlocksAt<'_>, out: &mut [f32]) {
    let count = blocks::<F>(at, out.len() / LANES);
    let (words, halves) = (at.0.as_ptr(), at.1.as_ptr());
    let mut store = Store {
        at: out.as_mut_ptr(),
    };
    for block in 0..count {
        unsafe {
            let words = words.add(block * F::WORDS * LANES);
            let halves = halves.add(block * F::HALVES * LANES);
            F::numbers::<V, 1>([words], [halves], &mut store);
        }
    }
}

#[inline(always)]
unsafe fn sum_on<F: InBlocks, V: Lanes, const P: usize>(
    at: [BlocksAt<'_>; P],
    x: &[f32],
    sums: &mut [[f32; LANES]; P],
) {
    let mut count = 0;
    let (mut words, mut halves) = ([at[0].0.as_ptr(); P], [at[0].1.as_ptr(); P]);
    for p in 0..P {
        count = blocks::<F>(at[p], x.len());
        (words[p], halves[p]) = (at[p].0.as_ptr(), at[p].1.as_ptr());
    }
    unsafe {
        let mut sum = Sum {
            x: x.as_ptr(),
            sums: [V::floats(sums[0].as_ptr()); P],
        };
        for (sum, from) in sum.sums.iter_mut().zip(&*sums) {
            *sum = V::floats(from.as_ptr());
        }
        for _ in 0..count {
            F::numbers::<V, P>(words, halves, &mut sum);
            for p in 0..P {
                words[p] = words[p].add(F::WORDS * LANES);
                halves[p] = halves[p].add(F::HALVES * LANES);
            }
        }
        for (sum, to) in sum.sums.into_iter().zip(sums) {
            sum.store(to.as_mut_ptr());
        }
    }
}

/// The scale and least number of a group in each lane.
#[derive(Clone, Copy)]
pub struct Group {
    pub scale: [f32; LANES],
    pub least: [f32; LANES],
}

#[inline(always)]
unsafe fn of_groups<V: Lanes>(
    words: &[u32],
    groups: &[u16],
    of: &[Group],
    to: &mut impl Sink<V, 1>,
) {
    assert!(words.len() >= groups.len() / 8 * LANES);
    unsafe {
        let small = Four::<V, false>::new(0.0);
        for (word, groups) in groups.chunks_exact(8).enumerate() {
            let mut word = V::words(words.as_ptr().add(word * LANES));
            for &group in groups {
                let of = &of[usize::from(group)];
                let scale = V::floats(of.scale.as_ptr());
                let least = V::floats(of.least.as_ptr());
                to.take([small.of(word).times_plus(scale, least)]);
                word = V::shifted(word, 4);
            }
        }
    }
}

#[inline(always)]
unsafe fn unpack_groups_on<V: Lanes>(words: &[u32], groups: &[u16], of: &[Group], out: &mut [f32]) {
    assert!(out.len() >= groups.len() * LANES);
    let at = out.as_mut_ptr();
    unsafe { of_groups::<V>(words, groups, of, &mut Store { at }) }
}

#[inline(always)]
unsafe fn sum_groups_on<V: Lanes>(
    words: &[u32],
    groups: &[u16],
    of: &[Group],
    x: &[f32],
    sums: &mut [f32; LANES],
) {
    assert!(x.len() >= groups.len());
    unsafe {
        let mut sum = Sum {
            x: x.as_ptr(),
            sums: [V::floats(sums.as_ptr())],
        };
        of_groups::<V>(words, groups, of, &mut sum);
        sum.sums[0].store(sums.as_mut_ptr());
    }
}

/// Defines a function that calls another for the set of instructions that is there.
macro_rules! for_this_machine {
    (
        $(#[$meta:meta])*
        $name:ident $([$format:ident])? ($($arg:ident: $ty:ty),*) = $kernel:ident $([$count:ident])?
    ) => {
        $(#[$meta])*
        pub fn $name $(<$format: InBlocks>)? ($($arg: $ty),*) {
            #[cfg(target_arch = "x86_64")]
            #[target_feature(enable = "avx512f,avx512vl,avx2,fma,f16c")]
            unsafe fn avx512 $(<$format: InBlocks>)? ($($arg: $ty),*) {
                unsafe { $kernel::<$($format,)? x86::Avx512 $(, $count)?>($($arg),*) }
            }
            #[cfg(target_arch = "x86_64")]
            #[target_feature(enable = "avx2,fma,f16c")]
            unsafe fn avx2 $(<$format: InBlocks>)? ($($arg: $ty),*) {
                unsafe { $kernel::<$($format,)? x86::Avx2 $(, $count)?>($($arg),*) }
            }
            // SAFETY: `isa` reports only what the processor has; lengths are asserted.
            match isa() {
                #[cfg(target_arch = "x86_64")]
                Isa::Avx512 => unsafe { avx512 $(::<$format>)? ($($arg),*) },
                #[cfg(target_arch = "x86_64")]
                Isa::Avx2 => unsafe { avx2 $(::<$format>)? ($($arg),*) },
                _ => unsafe { $kernel::<$($format,)? Plain $(, $count)?>($($arg),*) },
            }
        }
    };
}

/// Panels whose products with one row are summed at once: so many chains that none waits for itself.
pub const PAIR: usize = 2;

for_this_machine! {
    /// The numbers of as many blocks of a panel as there is room for, input after input.
    unpack[F](at: BlocksAt<'_>, out: &mut [f32]) = unpack_on
}
for_this_machine! {
    /// Adds the products of as many blocks as a row has inputs here, to the sums of each panel.
    sum[F](at: [BlocksAt<'_>; PAIR], x: &[f32], sums: &mut [[f32; LANES]; PAIR]) = sum_on[PAIR]
}
for_this_machine! {
    /// The numbers of inputs that belong to these groups.
    unpack_groups(words: &[u32], groups: &[u16], of: &[Group], out: &mut [f32]) = unpack_groups_on
}
for_this_machine! {
    /// Adds their products with a row.
    sum_groups(words: &[u32], groups: &[u16], of: &[Group], x: &[f32], sums: &mut [f32; LANES])
        = sum_groups_on
}
