//! What a model computes in: F32 on a CPU; on a GPU numbers of 16 bits, of one of two kinds.

use serde::{Deserialize, Serialize};

use crate::half_type::HalfType;

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
