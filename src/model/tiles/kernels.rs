//! What the kernels of a format are told of its tiles.

use candle_core::quantized::GgmlDType;
use half::f16;

use super::{Scales, Tiles};
use crate::model::stored::{Code, Format};

impl Tiles {
    /// Its place in the list of formats that have kernels.
    pub fn kernels(self) -> usize {
        use GgmlDType as G;
        match self.format {
            Format::Codes(Code::Nf4) => 0,
            Format::Codes(Code::Fp4) => 1,
            Format::Blocks(G::Q4_0) => 2,
            Format::Blocks(G::Q5_0) => 3,
            Format::Blocks(G::Q8_0) => 4,
            Format::Blocks(G::Q4_1) => 5,
            Format::Blocks(G::Q5_1) => 6,
            Format::Blocks(G::Q4K) => 7,
            Format::Blocks(G::Q5K) => 8,
            Format::Blocks(G::Q6K) => 9,
            _ => 10,
        }
    }

    /// Bytes of shared memory in which the kernels lay out the numbers of codes.
    pub const fn code_table(self) -> usize {
        match self.scales {
            Scales::Codes => 256 * 16 * 8,
            _ => 0,
        }
    }

    /// What the kernels' source asks the host to define.
    pub fn header(self) -> String {
        let codes = match self.format {
            Format::Codes(code) => code.numbers().map(|n| format!("{n:e}f")).join(", "),
            _ => String::new(),
        };
        format!(
            "#define HIGH {}\n#define WORDS {}\n#define SCALES {}\n#define ZERO {}\n#define CODES {{{codes}}}\n",
            self.high,
            self.words,
            self.scales as u32,
            self.zero(),
        )
    }

    /// The words of a row's scales in a tile whose numbers are in about +-`width`: for measuring
    /// without a model.
    pub fn scales_for(self, width: f32) -> [u32; 2] {
        let half = |x: f32| u32::from(f16::from_f32(x).to_bits());
        let step = width * 2.0 / (1 << (4 + self.high)) as f32;
        match self.scales {
            Scales::Codes => [width.to_bits(), 0],
            Scales::Zero => [step.to_bits() & !31 | 8, 0],
            Scales::Halves => [half(step) * 0x0001_0001, 0],
            Scales::Pairs => [half(step) | half(-width) << 16; 2],
            Scales::Super => [0x2020_2020, half(step / 32.0) | half(width / 32.0) << 16],
            Scales::Signed => [0x2020_2020, half(step / 32.0)],
        }
    }
}
