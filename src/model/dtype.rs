//! What a model computes in: F32 on a CPU; on a GPU numbers of 16 bits, of one of two kinds.

use half::{bf16, f16};
use serde::{Deserialize, Serialize};

/// A kind of 16-bit numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum HalfType {
    /// 8 bits of precision, and the range of F32.
    Bfloat16,
    /// 11 bits of precision, up to 65504.
    Float16,
}

/// What a GPU is to compute in, by the names that Hugging Face gives them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Dtype {
    /// As the weights are stored: float16 for F16 and for quantized GGUF files, else bfloat16.
    #[default]
    Auto,
    /// bf16.
    Bfloat16,
    /// Half precision.
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

impl Dtype {
    /// Every kind by its name.
    pub const WORDS: [(&str, Dtype); 3] = [
        ("auto", Dtype::Auto),
        ("bfloat16", Dtype::Bfloat16),
        ("float16", Dtype::Float16),
    ];

    /// The kind of numbers for weights that are stored in a way that `stored` suits.
    pub fn or(self, stored: HalfType) -> HalfType {
        match self {
            Dtype::Auto => stored,
            Dtype::Bfloat16 => HalfType::Bfloat16,
            Dtype::Float16 => HalfType::Float16,
        }
    }
}

impl std::str::FromStr for Dtype {
    type Err = String;

    fn from_str(name: &str) -> Result<Self, String> {
        let found = Dtype::WORDS.iter().find(|(word, _)| *word == name);
        let found = found.map(|(_, dtype)| *dtype);
        found.ok_or_else(|| "give auto, bfloat16, or float16".into())
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

    #[test]
    fn auto_is_as_stored_and_a_name_decides() {
        for stored in [HalfType::Bfloat16, HalfType::Float16] {
            assert_eq!(Dtype::Auto.or(stored), stored);
            assert_eq!(Dtype::Float16.or(stored), HalfType::Float16);
            assert_eq!(Dtype::Bfloat16.or(stored), HalfType::Bfloat16);
        }
        assert!("fp16".parse::<Dtype>().is_err());
        for (word, dtype) in Dtype::WORDS {
            assert_eq!(word.parse(), Ok(dtype));
            assert_eq!(serde_json::to_value(dtype).unwrap(), word);
        }
    }
}
