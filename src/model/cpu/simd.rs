//! Which vector instructions this machine has, and loops compiled once for each kind.
//!
//! Sums run over sixteen fixed lanes whatever the instruction set, so that a result depends
//! neither on how many rows are computed together nor on how many threads do it.

use std::sync::OnceLock;

/// Vector instructions that the kernels are compiled for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Isa {
    /// AVX-512F: 32 registers of 16 floats.
    Avx512,
    /// AVX2, FMA, and F16C: 16 registers of 8 floats.
    Avx2,
    /// Whatever the compiler makes of plain loops.
    Portable,
}

/// The best instruction set of this machine, found once. `QEVAL_ISA` (`avx2`, `portable`) takes a
/// lower one, to compare them.
pub fn isa() -> Isa {
    static ISA: OnceLock<Isa> = OnceLock::new();
    *ISA.get_or_init(|| {
        let asked = std::env::var("QEVAL_ISA").unwrap_or_default();
        if asked == "portable" {
            return Isa::Portable;
        }
        #[cfg(target_arch = "x86_64")]
        {
            if asked != "avx2"
                && is_x86_feature_detected!("avx512f")
                && is_x86_feature_detected!("avx512vl")
                && is_x86_feature_detected!("f16c")
            {
                return Isa::Avx512;
            }
            let avx2 = is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma");
            if avx2 && is_x86_feature_detected!("f16c") {
                return Isa::Avx2;
            }
        }
        Isa::Portable
    })
}

/// Defines a function whose body is compiled for each instruction set and chosen at run time.
macro_rules! vectorized {
    ($(#[$meta:meta])* $vis:vis fn $name:ident($($arg:ident: $ty:ty),* $(,)?) $(-> $ret:ty)? $body:block) => {
        $(#[$meta])*
        $vis fn $name($($arg: $ty),*) $(-> $ret)? {
            #[inline(always)]
            fn body($($arg: $ty),*) $(-> $ret)? $body
            #[cfg(target_arch = "x86_64")]
            {
                #[target_feature(enable = "avx512f,avx512vl,avx2,fma")]
                fn avx512($($arg: $ty),*) $(-> $ret)? { body($($arg),*) }
                #[target_feature(enable = "avx2,fma")]
                fn avx2($($arg: $ty),*) $(-> $ret)? { body($($arg),*) }
                // SAFETY: `isa` reports only what the processor has.
                match $crate::model::cpu::simd::isa() {
                    $crate::model::cpu::simd::Isa::Avx512 => return unsafe { avx512($($arg),*) },
                    $crate::model::cpu::simd::Isa::Avx2 => return unsafe { avx2($($arg),*) },
                    $crate::model::cpu::simd::Isa::Portable => {}
                }
            }
            body($($arg),*)
        }
    };
}
pub(super) use vectorized;

/// Lanes of a sum.
pub const LANES: usize = 16;

/// Adds the lanes of a sum in a fixed tree.
#[inline(always)]
pub fn add_lanes(mut lanes: [f32; LANES]) -> f32 {
    let mut half = LANES / 2;
    while half > 0 {
        for i in 0..half {
            lanes[i] += lanes[i + half];
        }
        half /= 2;
    }
    lanes[0]
}

/// e^x to about 1 unit in the last place, without branches, for loops that the compiler
/// vectorizes. Flushes to 0 below -87.3 and is capped at e^88.
///
/// Argument reduction and polynomial of Cephes `expf` (S. Moshier).
#[inline(always)]
pub fn exp(x: f32) -> f32 {
    const ROUND: f32 = 12_582_912.0; // 1.5 * 2^23: adding it rounds to an integer
    let clamped = x.clamp(-87.3, 88.0);
    let n = (clamped * std::f32::consts::LOG2_E + ROUND) - ROUND;
    let r = clamped - n * 0.693_359_4;
    let r = r - n * -2.121_944_4e-4;
    let mut p = 1.987_569_1e-4;
    p = p * r + 1.398_199_9e-3;
    p = p * r + 8.333_452e-3;
    p = p * r + 4.166_579_6e-2;
    p = p * r + 1.666_666_5e-1;
    p = p * r + 0.5;
    let y = p * r * r + r + 1.0;
    let scale = f32::from_bits(((n as i32 + 127) << 23) as u32);
    if x < -87.3 { 0.0 } else { y * scale }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exp_is_within_two_units_in_the_last_place() {
        let mut worst = 0.0f64;
        for i in -870_000..880_000 {
            let x = i as f32 * 1e-4;
            let want = f64::from(x).exp();
            worst = worst.max(((f64::from(exp(x)) - want) / want).abs());
        }
        assert!(worst < 2.0 * f64::from(f32::EPSILON), "{worst:e}");
        assert_eq!(exp(0.0), 1.0);
        assert_eq!(exp(f32::NEG_INFINITY), 0.0);
    }

    #[test]
    fn lanes_are_all_added() {
        let lanes: [f32; LANES] = std::array::from_fn(|i| i as f32);
        assert_eq!(add_lanes(lanes), 120.0);
    }
}
