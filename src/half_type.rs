//! Numbers of 16 bits, of two kinds: what a GPU computes in, and what most weights are stored as.

use half::{bf16, f16};

/// A kind of 16-bit numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum HalfType {
    /// 8 bits of precision, and the range of F32.
    Bfloat16,
    /// 11 bits of precision, up to 65504.
    Float16,
}

impl HalfType {
    /// For people and records.
    pub fn name(self) -> &'static str {
        match self {
            HalfType::Bfloat16 => "bf16",
            HalfType::Float16 => "f16",
        }
    }

    /// The bits of the nearest number; beyond the range, of an infinity.
    pub fn bits(self, x: f32) -> u16 {
        match self {
            HalfType::Bfloat16 => bf16::from_f32(x).to_bits(),
            HalfType::Float16 => f16::from_f32(x).to_bits(),
        }
    }

    /// The number that has these bits.
    pub fn number(self, bits: u16) -> f32 {
        match self {
            HalfType::Bfloat16 => bf16::from_bits(bits).to_f32(),
            HalfType::Float16 => f16::from_bits(bits).to_f32(),
        }
    }

    /// The largest number.
    pub fn largest(self) -> f32 {
        match self {
            HalfType::Bfloat16 => bf16::MAX.to_f32(),
            HalfType::Float16 => f16::MAX.to_f32(),
        }
    }

    /// The nearest number of this kind.
    pub fn round(self, x: f32) -> f32 {
        self.number(self.bits(x))
    }

    /// What the gradient by an activation is multiplied with while it has 16 bits: most of it is
    /// smaller than half precision's least normal number, 6e-5. A power of two, so that nothing is
    /// rounded; see "Mixed Precision Training", Micikevicius and others, 2018, section 3.2.
    pub fn loss_scale(self) -> f32 {
        match self {
            HalfType::Bfloat16 => 1.0,
            HalfType::Float16 => 4096.0,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kinds_round_as_ieee_says() {
        let third = 1.0f32 / 3.0;
        assert_eq!(HalfType::Bfloat16.round(third), 0.333_984_38);
        assert_eq!(HalfType::Float16.round(third), 0.333_251_95);
        assert_eq!(HalfType::Float16.round(65504.0), 65504.0);
        assert_eq!(HalfType::Float16.round(65520.0), f32::INFINITY);
        assert_eq!(HalfType::Bfloat16.round(65520.0), 65536.0);
    }
}
