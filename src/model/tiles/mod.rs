//! Weights in few bits as a GPU's tensor cores take them: tiles of 64 outputs by 64 inputs.
//!
//! The kernels that read them are in `gpu/kernels/blocks.cu`, which says where a number and a scale of
//! a tile stand; `pack` puts them there, and `kernels` is what they are told of a format. Every number
//! is the one that its format stands for. A scale of half precision and one of a byte stay what they
//! are, so that a matrix takes about the bytes of its file.

#[cfg(feature = "gpu")]
mod kernels;
#[cfg(any(feature = "gpu", test))]
mod pack;

use candle_core::quantized::GgmlDType;

use super::stored::Format;

/// Outputs and inputs of a tile.
pub const SIDE: usize = 64;
/// Bytes of four bits of each number.
const LOW: usize = SIDE * SIDE / 2;

/// What a format's tiles hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Tiles {
    format: Format,
    /// Bits of a number above four.
    high: usize,
    /// Words of a row's scales in a tile.
    words: usize,
    scales: Scales,
}

/// How words give the scales of a row in a tile; the kernels have the same numbers for them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Scales {
    /// One in F32 of codes.
    Codes = 0,
    /// One in F32, whose last five bits are a zero point.
    Zero = 1,
    /// Two in half precision.
    Halves = 2,
    /// Two, each with a least number, in half precision.
    Pairs = 3,
    /// Two of a byte, each with a least number; then scales of both in half precision.
    Super = 4,
    /// Four of a byte with a sign; then a scale of those in half precision.
    Signed = 5,
}

impl Tiles {
    /// `None` for a format that is widened on a GPU.
    pub fn of(format: Format) -> Option<Self> {
        use GgmlDType as G;
        let (high, words, scales) = match format {
            Format::Codes(_) => (0, 1, Scales::Codes),
            Format::Int4 { inputs } if inputs.is_multiple_of(SIDE) => (0, 1, Scales::Zero),
            Format::Blocks(G::Q4_0) => (0, 1, Scales::Halves),
            Format::Blocks(G::Q5_0) => (1, 1, Scales::Halves),
            Format::Blocks(G::Q8_0) => (4, 1, Scales::Halves),
            Format::Blocks(G::Q4_1) => (0, 2, Scales::Pairs),
            Format::Blocks(G::Q5_1) => (1, 2, Scales::Pairs),
            Format::Blocks(G::Q4K) => (0, 2, Scales::Super),
            Format::Blocks(G::Q5K) => (1, 2, Scales::Super),
            Format::Blocks(G::Q6K) => (2, 2, Scales::Signed),
            _ => return None,
        };
        Some(Tiles {
            format,
            high,
            words,
            scales,
        })
    }

    /// That of stacked matrices, all of one format and with whole tiles of inputs.
    pub fn of_all(formats: impl IntoIterator<Item = Format>, inputs: usize) -> Option<Self> {
        let mut tiles = formats.into_iter().map(Tiles::of);
        let first = tiles.next().flatten()?;
        let same = tiles.all(|other| other == Some(first));
        (same && inputs.is_multiple_of(SIDE)).then_some(first)
    }

    /// Bytes of a tile.
    pub const fn tile(self) -> usize {
        LOW + SIDE * SIDE * self.high / 8 + self.words * SIDE * 4
    }

    /// Bytes of a matrix.
    pub const fn bytes(self, outputs: usize, inputs: usize) -> usize {
        outputs.div_ceil(SIDE) * (inputs / SIDE) * self.tile()
    }
}
