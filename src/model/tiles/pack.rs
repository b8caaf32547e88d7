//! Stored rows as tiles: where each number and scale goes.

use candle_core::quantized::GgmlDType;
use half::f16;
use rayon::prelude::*;

use super::{LOW, SIDE, Scales, Tiles};
use crate::model::stored::{
    BYTES_OF_CODES, Format, StoredRows, block_of_int4, five_bits, four_bits, nibble_of_int4,
    nibbles, scale_and_least, scale_and_zero, six_bits,
};

impl Tiles {
    /// What a number that is stored without a sign is more than the one that it stands for.
    pub(super) const fn zero(self) -> u32 {
        match self.format {
            Format::Blocks(GgmlDType::Q4_0) => 8,
            Format::Blocks(GgmlDType::Q5_0) => 16,
            Format::Blocks(GgmlDType::Q8_0) => 128,
            Format::Blocks(GgmlDType::Q6K) => 32,
            _ => 0,
        }
    }

    /// A matrix of stacked rows; `None` where a scale cannot be held as it is, or gives a number
    /// that is larger than `most`.
    pub fn pack(self, parts: &[StoredRows<'_>], inputs: usize, most: f32) -> Option<Vec<u8>> {
        let rows: Vec<&[u8]> = parts
            .iter()
            .flat_map(|part| (0..part.count()).map(|row| part.row(row)))
            .collect();
        let mut packed = vec![0; self.bytes(rows.len(), inputs)];
        let panel = inputs / SIDE * self.tile();
        let panels = packed.par_chunks_mut(panel).zip(rows.par_chunks(SIDE));
        let done = panels.map(|(tiles, rows)| {
            let mut numbers = [0; SIDE];
            for (row, bytes) in rows.iter().enumerate() {
                for (at, tile) in tiles.chunks_exact_mut(self.tile()).enumerate() {
                    let scales = self.read(bytes, at, &mut numbers);
                    self.largest(scales).filter(|largest| *largest <= most)?;
                    self.put(tile, row, &numbers, scales);
                }
            }
            Some(())
        });
        done.collect::<Option<()>>()?;
        Some(packed)
    }

    /// The numbers of a row's tile without a sign, and its scales.
    fn read(self, row: &[u8], tile: usize, numbers: &mut [u8; SIDE]) -> [u32; 2] {
        use GgmlDType as G;
        let half = |block: &[u8], at| u32::from(u16::from_le_bytes([block[at], block[at + 1]]));
        // Blocks of 32 numbers with a scale, and some with a least number.
        let mut pairs = |scales: usize, size: usize, read: &dyn Fn(&[u8], &mut [u8])| {
            let mut words = [0; 2];
            for (part, numbers) in numbers.chunks_exact_mut(32).enumerate() {
                let block = &row[(2 * tile + part) * size..][..size];
                match scales {
                    2 => words[0] |= half(block, 0) << (16 * part),
                    _ => words[part] = half(block, 0) | half(block, 2) << 16,
                }
                read(&block[scales..], numbers);
            }
            words
        };
        let four = |block: &[u8], numbers: &mut [u8]| nibbles(block, |at, q| numbers[at] = q);
        let five = |block: &[u8], numbers: &mut [u8]| {
            let (fifths, block) = block.split_at(4);
            nibbles(block, |at, q| {
                numbers[at] = q | (fifths[at / 8] >> (at % 8) & 1) << 4;
            });
        };
        let eight = |block: &[u8], numbers: &mut [u8]| {
            let signed = numbers.iter_mut().zip(block);
            signed.for_each(|(number, byte)| *number = byte ^ 128);
        };
        let part = tile % 4;
        let of_super = |size: usize| &row[tile / 4 * size..][..size];
        let super_scales = |block: &[u8]| {
            let [first, second] = [0, 1].map(|p| scale_and_least(block, 2 * part + p));
            let own = u32::from_le_bytes([first[0], first[1], second[0], second[1]]);
            [own, half(block, 0) | half(block, 2) << 16]
        };
        match self.format {
            Format::Blocks(G::Q4_0) => pairs(2, 18, &four),
            Format::Blocks(G::Q4_1) => pairs(4, 20, &four),
            Format::Blocks(G::Q5_0) => pairs(2, 22, &five),
            Format::Blocks(G::Q5_1) => pairs(4, 24, &five),
            Format::Blocks(G::Q8_0) => pairs(2, 34, &eight),
            Format::Blocks(G::Q4K) => {
                let block = of_super(144);
                for (at, number) in numbers.iter_mut().enumerate() {
                    *number = four_bits(&block[16..], 2 * part + at / 32, at % 32);
                }
                super_scales(block)
            }
            Format::Blocks(G::Q5K) => {
                let block = of_super(176);
                for (at, number) in numbers.iter_mut().enumerate() {
                    *number = five_bits(block, 2 * part + at / 32, at % 32);
                }
                super_scales(block)
            }
            Format::Blocks(G::Q6K) => {
                let block = of_super(210);
                for (at, number) in numbers.iter_mut().enumerate() {
                    *number = six_bits(block, SIDE * part + at);
                }
                let own = half(block, 192 + 4 * part) | half(block, 194 + 4 * part) << 16;
                [own, half(block, 208)]
            }
            Format::Codes(_) => {
                let block = &row[tile * BYTES_OF_CODES..][..BYTES_OF_CODES];
                for (pair, byte) in numbers.chunks_exact_mut(2).zip(&block[4..]) {
                    pair.copy_from_slice(&[byte >> 4, byte & 15]);
                }
                [scale_and_zero_bits(block).0, 0]
            }
            Format::Int4 { inputs } => {
                let (tiles, size) = (inputs / SIDE, block_of_int4(inputs));
                let (head, codes) = row[tile / tiles * size..][..size].split_at(8);
                for (at, number) in numbers.iter_mut().enumerate() {
                    *number = nibble_of_int4(codes, tile % tiles * SIDE + at);
                }
                let (scale, zero) = scale_and_zero_bits(head);
                // A scale of 16 bits leaves room for a zero point; one of more does not.
                let fits = scale & 31 == 0 && zero < 32;
                [
                    if fits {
                        scale | zero
                    } else {
                        f32::NAN.to_bits()
                    },
                    0,
                ]
            }
            _ => unreachable!("`of` has no tiles of it"),
        }
    }

    /// A bound of the numbers that these scales give; `None` where one is not finite.
    fn largest(self, scales: [u32; 2]) -> Option<f32> {
        let mut most = 0.0f32;
        for step in 0..4 {
            let (scale, least) = self.scale(scales, step);
            let codes = matches!(self.scales, Scales::Codes);
            let largest = if codes {
                1.0
            } else {
                ((16 << self.high) - 1) as f32
            };
            let bounds = [least, scale * largest + least].map(f32::abs);
            if bounds.iter().any(|bound| !bound.is_finite()) {
                return None;
            }
            most = most.max(bounds[0]).max(bounds[1]);
        }
        Some(most)
    }

    /// The scale and the least number of 16 inputs, as the kernels form them.
    fn scale(self, words: [u32; 2], step: usize) -> (f32, f32) {
        let half = |word: u32, upper: usize| f16::from_bits((word >> (16 * upper)) as u16).to_f32();
        let byte = |at: usize| words[0].to_le_bytes()[at];
        let zero = self.zero() as f32;
        match self.scales {
            Scales::Codes => (f32::from_bits(words[0]), 0.0),
            Scales::Zero => {
                let scale = f32::from_bits(words[0] & !31);
                (scale, -scale * (words[0] & 31) as f32)
            }
            Scales::Halves => {
                let scale = half(words[0], step / 2);
                (scale, -scale * zero)
            }
            Scales::Pairs => (half(words[step / 2], 0), half(words[step / 2], 1)),
            Scales::Super => {
                let [own, least] = [0, 1].map(|at| f32::from(byte(step / 2 * 2 + at)));
                (half(words[1], 0) * own, -(half(words[1], 1) * least))
            }
            Scales::Signed => {
                let scale = half(words[1], 0) * f32::from(byte(step) as i8);
                (scale, -scale * zero)
            }
        }
    }

    fn put(self, tile: &mut [u8], row: usize, numbers: &[u8; SIDE], scales: [u32; 2]) {
        for (input, number) in numbers.iter().enumerate() {
            let place = Place::of(row, input);
            let (at, shift) = place.low();
            tile[at] |= (number & 15) << shift;
            if self.high > 0 {
                let (at, shift) = place.high(self.high);
                tile[at] |= (number >> 4) << shift;
            }
        }
        let at = tile.len() - self.words * SIDE * 4;
        for (word, scales) in scales.iter().take(self.words).enumerate() {
            tile[at + (word * SIDE + row) * 4..][..4].copy_from_slice(&scales.to_le_bytes());
        }
    }
}

/// A block's scale as bits, and its zero point.
fn scale_and_zero_bits(block: &[u8]) -> (u32, u32) {
    let (scale, zero) = scale_and_zero(block);
    (scale.to_bits(), zero)
}

/// Where a number of a tile stands: with which thread, of which step of 16 inputs, in which byte of
/// its words, as which of a pair.
struct Place {
    thread: usize,
    step: usize,
    byte: usize,
    second: usize,
}

impl Place {
    fn of(row: usize, input: usize) -> Self {
        let within = input % 16;
        Place {
            thread: row / 16 * 32 + row % 8 * 4 + within % 8 / 2,
            step: input / 16,
            byte: within / 8 * 2 + row % 16 / 8,
            second: input % 2,
        }
    }

    /// The byte and the bit of its lower four.
    fn low(&self) -> (usize, usize) {
        (
            self.thread * 16 + self.step * 4 + self.byte,
            4 * self.second,
        )
    }

    /// Those of its bits above.
    fn high(&self, bits: usize) -> (usize, usize) {
        let bit = (2 * self.step + self.second) * bits;
        (
            LOW + (self.thread * bits + bit / 8) * 4 + self.byte,
            bit % 8,
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::StoredTensor;
    use crate::model::stored::Code;
    use crate::random::{Philox, Purpose};

    impl Tiles {
        /// A number as the kernels form it, before it is rounded.
        fn number(self, packed: &[u8], inputs: usize, row: usize, input: usize) -> f32 {
            let at = row / SIDE * (inputs / SIDE) + input / SIDE;
            let tile = &packed[at * self.tile()..][..self.tile()];
            let (row, input) = (row % SIDE, input % SIDE);
            let place = Place::of(row, input);
            let (at, shift) = place.low();
            let mut number = tile[at] >> shift & 15;
            if self.high > 0 {
                let (at, shift) = place.high(self.high);
                number |= (tile[at] >> shift & ((1 << self.high) - 1)) << 4;
            }
            let word = |word: usize| {
                let at = tile.len() - self.words * SIDE * 4 + (word * SIDE + row) * 4;
                u32::from_le_bytes(tile[at..at + 4].try_into().unwrap())
            };
            let words = [word(0), if self.words > 1 { word(1) } else { 0 }];
            let (scale, least) = self.scale(words, input / 16);
            match self.format {
                Format::Codes(code) => code.numbers()[usize::from(number)] * scale,
                _ => f32::from(number).mul_add(scale, least),
            }
        }
    }

    fn random(bytes: usize, seed: u64) -> Vec<u8> {
        let mut draws = Philox::new(seed).draws(Purpose::Init, 3);
        (0..bytes).map(|_| draws.below(256) as u8).collect()
    }

    /// Formats with the bytes of their blocks, and where in a block scales stand: in half precision, or
    /// in F32.
    const HELD: [(Format, usize, usize, &[usize]); 12] = {
        use GgmlDType as G;
        [
            (Format::Blocks(G::Q4_0), 32, 18, &[0]),
            (Format::Blocks(G::Q4_1), 32, 20, &[0, 2]),
            (Format::Blocks(G::Q5_0), 32, 22, &[0]),
            (Format::Blocks(G::Q5_1), 32, 24, &[0, 2]),
            (Format::Blocks(G::Q8_0), 32, 34, &[0]),
            (Format::Blocks(G::Q4K), 256, 144, &[0, 2]),
            (Format::Blocks(G::Q5K), 256, 176, &[0, 2]),
            (Format::Blocks(G::Q6K), 256, 210, &[208]),
            (Format::Codes(Code::Nf4), 64, 36, &[]),
            (Format::Codes(Code::Fp4), 64, 36, &[]),
            (Format::Int4 { inputs: 64 }, 64, 40, &[]),
            (Format::Int4 { inputs: 128 }, 128, 72, &[]),
        ]
    };

    /// Random rows with scales that are numbers.
    fn rows(
        (format, inputs, size, scales): (Format, usize, usize, &[usize]),
        count: usize,
    ) -> Vec<u8> {
        let mut bytes = random(count * 512 / inputs * size, 5);
        for (at, block) in bytes.chunks_exact_mut(size).enumerate() {
            for (which, place) in scales.iter().enumerate() {
                let scale = f16::from_f32(0.001 * (1.0 + (at + 7 * which) as f32 % 29.0));
                block[*place..place + 2].copy_from_slice(&scale.to_le_bytes());
            }
            let scale = f16::from_f32(0.01 * (1.0 + at as f32 % 31.0)).to_f32();
            match format {
                Format::Codes(_) => block[..4].copy_from_slice(&scale.to_le_bytes()),
                Format::Int4 { .. } => {
                    block[..4].copy_from_slice(&scale.to_le_bytes());
                    block[4..8].copy_from_slice(&(at as u32 % 17).to_le_bytes());
                }
                _ => {}
            }
        }
        bytes
    }

    #[test]
    fn every_number_is_the_one_of_its_format() {
        for held in HELD {
            let format = held.0;
            let tiles = Tiles::of(format).unwrap();
            // The last panel is not whole.
            let bytes = rows(held, 100);
            let expected = format.decode(&bytes).unwrap();
            let shape = [100, 512];
            let stored = StoredTensor::made(&shape, format, bytes);
            let packed = tiles
                .pack(&[stored.rows().unwrap()], 512, f32::MAX)
                .unwrap();
            assert_eq!(packed.len(), tiles.bytes(100, 512));
            for (at, expected) in expected.iter().enumerate() {
                let found = tiles.number(&packed, 512, at / 512, at % 512);
                assert_eq!(found, *expected, "{format:?}: number {at}");
            }
        }
    }

    #[test]
    fn a_number_takes_the_bits_of_its_file_or_half_a_bit_more() {
        let table: Vec<String> = HELD
            .iter()
            .map(|&(format, inputs, size, _)| {
                let held = 8.0 * Tiles::of(format).unwrap().bytes(64, 512) as f64 / (64.0 * 512.0);
                let stored = 8.0 * size as f64 / inputs as f64;
                format!("{format:?}: {stored:.3}, held {held:.1}")
            })
            .collect();
        insta::assert_snapshot!(table.join("\n"), @r"
        Blocks(Q4_0): 4.500, held 4.5
        Blocks(Q4_1): 5.000, held 5.0
        Blocks(Q5_0): 5.500, held 5.5
        Blocks(Q5_1): 6.000, held 6.0
        Blocks(Q8_0): 8.500, held 8.5
        Blocks(Q4K): 4.500, held 5.0
        Blocks(Q5K): 5.500, held 6.0
        Blocks(Q6K): 6.562, held 7.0
        Codes(Nf4): 4.500, held 4.5
        Codes(Fp4): 4.500, held 4.5
        Int4 { inputs: 64 }: 5.000, held 4.5
        Int4 { inputs: 128 }: 4.500, held 4.5
        ");
    }

    #[test]
    fn what_cannot_be_held_is_left() {
        let stack = |formats: &[Format], inputs| Tiles::of_all(formats.iter().copied(), inputs);
        let [q4, q6] = [GgmlDType::Q4K, GgmlDType::Q6K].map(Format::Blocks);
        assert!(stack(&[q4, q4], 256).is_some());
        assert!(stack(&[q4, q6], 256).is_none());
        assert!(stack(&[Format::Blocks(GgmlDType::Q8_0)], 96).is_none());
        assert!(stack(&[Format::Bf16], 64).is_none());
        // A scale that is infinite, one that is too large for half precision, and one of more than 16
        // bits beside a zero point.
        let pack = |held: (Format, usize, usize, &[usize]), scale: f32, most| {
            let mut bytes = rows(held, 1);
            match held.0 {
                Format::Blocks(_) => {
                    bytes[..2].copy_from_slice(&f16::from_f32(scale).to_le_bytes())
                }
                _ => bytes[..4].copy_from_slice(&scale.to_le_bytes()),
            }
            let shape = [1, 512];
            let stored = StoredTensor::made(&shape, held.0, bytes);
            let tiles = Tiles::of(held.0).unwrap();
            tiles.pack(&[stored.rows().unwrap()], 512, most).is_some()
        };
        assert!(!pack(HELD[0], f32::INFINITY, f32::MAX));
        assert!(!pack(HELD[8], f32::NAN, f32::MAX));
        assert!(pack(HELD[0], 60_000.0, f32::MAX));
        assert!(!pack(HELD[0], 60_000.0, 65_504.0));
        assert!(pack(HELD[10], 0.25, 65_504.0));
        assert!(!pack(HELD[10], 0.1, 65_504.0));
    }
}
