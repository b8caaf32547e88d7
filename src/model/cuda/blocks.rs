//! Weights that stay in few bits: held in tiles (`model/tiles.rs`), widened in registers by products of
//! few rows, and into room of the step for products of many.

use super::frozen::{CudaVector, CudaWeight};
use super::mat::CudaMat;
use super::products::Form;
use super::rows::CudaRows;
use crate::gpu::{Arg, Boxed, Buffer, Cuda, Entry, Grid};
use crate::model::tiles::{SIDE, Tiles};
use crate::model::{ModelError, StoredTensor};

use Arg::{Float, Int, Long, Word};

/// Tiles of 64 outputs that a block takes at most, with 128 threads for each.
const GROUPS: usize = 5;
/// The same of the kernels that every GPU has.
const PLAIN_GROUPS: usize = 2;
/// Stages of those.
const PLAIN_STAGES: usize = 3;
/// Bytes of shared memory of a block on Hopper, less what the system takes.
const SHARED: usize = 226 << 10;
/// Bytes of a row of a tile's inputs.
const ROW: usize = SIDE * 2;
/// Groups that it takes to keep a processor busy.
const BUSY: usize = 3;
/// Tiles of inputs that it takes for a product to get going, and to end.
const START: usize = 3;

/// A matrix in tiles.
pub(super) struct Blocks {
    tiles: Tiles,
    buffer: Buffer,
}

/// The kernels of a format.
struct Kernels {
    widen: &'static str,
    embed: &'static str,
    random: &'static str,
    /// Products of up to so many rows, on every GPU and on Hopper.
    plain: [(&'static str, &'static str, usize); 2],
    hopper: [(&'static str, &'static str, usize); 4],
}

/// Names of the kernels of a format.
macro_rules! kernels {
    ($($format:literal),+) => {
        [$(Kernels {
            widen: concat!("widen_", $format),
            embed: concat!("embed_", $format),
            random: concat!("random_", $format),
            plain: [
                (concat!("plain_16_", $format), "blocks_plain_16", 16),
                (concat!("plain_64_", $format), "blocks_plain_64", 64),
            ],
            hopper: [
                (concat!("few_16_", $format), "blocks_16", 16),
                (concat!("few_32_", $format), "blocks_32", 32),
                (concat!("few_64_", $format), "blocks_64", 64),
                (concat!("few_128_", $format), "blocks_128", 128),
            ],
        }),+]
    };
}

/// In the order of [`Tiles::kernels`].
static KERNELS: [Kernels; 11] = kernels!(
    "nf4", "fp4", "q4_0", "q5_0", "q8_0", "q4_1", "q5_1", "q4_k", "q5_k", "q6_k", "int4"
);

/// How a product of few rows is shared among blocks.
#[derive(Debug, PartialEq, Eq)]
struct Shares {
    /// Tiles of outputs of a block, at most.
    groups: usize,
    /// Blocks that share the outputs.
    blocks: usize,
    /// Tiles of inputs of a block.
    tiles: usize,
    /// Blocks that share the inputs, whose sums stay apart.
    splits: usize,
}

impl Shares {
    /// Those that end first, by tiles that a processor takes one after another: a function of the
    /// weight, so that a row's sums are formed in one order whatever is beside it.
    fn new(outputs: usize, inputs: usize, parts: bool, processors: usize, most: usize) -> Self {
        let (panels, all) = (outputs.div_ceil(SIDE), inputs / SIDE);
        let of = |groups: usize| {
            let blocks = panels.div_ceil(groups);
            let wanted = match parts {
                true => (processors / blocks).clamp(1, all.div_ceil(START)),
                false => 1,
            };
            let tiles = all.div_ceil(wanted);
            let splits = all.div_ceil(tiles);
            let rounds = (blocks * splits).div_ceil(processors);
            let shares = Shares {
                groups,
                blocks,
                tiles,
                splits,
            };
            (rounds * groups.max(BUSY) * (tiles + START), shares)
        };
        // Of as quick ones the one that reads the rows less often.
        let all = (1..=most).rev().map(of);
        let best = all.min_by_key(|(time, _)| *time);
        best.map_or_else(
            || unreachable!("a block takes a tile"),
            |(_, shares)| shares,
        )
    }
}

impl Blocks {
    fn kernels(&self) -> &'static Kernels {
        &KERNELS[self.tiles.kernels()]
    }

    pub fn bytes(&self) -> usize {
        self.buffer.bytes()
    }

    /// Bytes of shared memory for the numbers of codes.
    fn code_table(&self) -> usize {
        self.tiles.code_table()
    }
}

/// Bytes of a stage of `groups` tiles and so many rows, with its two barriers.
fn stage(tiles: Tiles, rows: usize, groups: usize) -> usize {
    rows * ROW + groups * tiles.tile() + 16
}

/// Stages of the kernel for so many rows on Hopper.
fn stages(tiles: Tiles, rows: usize) -> usize {
    ((SHARED - tiles.code_table()) / stage(tiles, rows, GROUPS)).min(8)
}

impl Cuda {
    /// Uploads stored matrices in tiles; `None` where they are to be widened.
    pub(super) fn in_blocks(
        &self,
        parts: &[StoredTensor<'_>],
        inputs: usize,
    ) -> Result<Option<Blocks>, ModelError> {
        let rows: Option<Vec<_>> = parts.iter().map(StoredTensor::rows).collect();
        let Some(rows) = rows else {
            return Ok(None);
        };
        let Some(tiles) = Tiles::of_all(rows.iter().map(|rows| rows.format()), inputs) else {
            return Ok(None);
        };
        let most = self.half_type().largest();
        let Some(packed) = tiles.pack(&rows, inputs, most) else {
            return Ok(None);
        };
        let blocks = self.room_for_blocks(tiles, packed.len())?;
        self.write(&blocks.buffer, 0, &packed);
        parts.iter().for_each(StoredTensor::taken);
        Ok(Some(blocks))
    }

    fn room_for_blocks(&self, tiles: Tiles, bytes: usize) -> Result<Blocks, ModelError> {
        let kernels = &KERNELS[tiles.kernels()];
        let table = tiles.code_table();
        let plain = kernels.plain.map(|(name, symbol, rows)| {
            let stages = PLAIN_STAGES * stage(tiles, rows, PLAIN_GROUPS);
            (name, symbol, table + stages)
        });
        let hopper = kernels.hopper.map(|(name, symbol, rows)| {
            let stages = stages(tiles, rows) * stage(tiles, rows, GROUPS);
            (name, symbol, table + stages)
        });
        let mut entries: Vec<Entry> = vec![
            (kernels.widen, "blocks_widen", 0),
            (kernels.embed, "blocks_embed", 0),
            (kernels.random, "blocks_random", 0),
        ];
        entries.extend(plain);
        if self.warp_groups() {
            entries.extend(hopper);
        }
        let stages = kernels.hopper.iter().map(|&(_, _, rows)| {
            let stages = stages(tiles, rows);
            format!("#define STAGES_{rows} {stages}\n")
        });
        let defined: String = std::iter::once(tiles.header()).chain(stages).collect();
        self.add_kernels_of_blocks(&defined, &entries)?;
        Ok(Blocks {
            tiles,
            buffer: self.keep(bytes)?,
        })
    }

    /// Random numbers in tiles, in about +-`width`.
    pub(super) fn random_blocks(
        &self,
        tiles: Tiles,
        (outputs, inputs): (usize, usize),
        seed: u64,
        width: f32,
    ) -> Result<Blocks, ModelError> {
        let bytes = tiles.bytes(outputs, inputs);
        let blocks = self.room_for_blocks(tiles, bytes)?;
        let [first, second] = tiles.scales_for(width);
        let args = [
            blocks.buffer.holds(bytes),
            Long(bytes as u64 / 4),
            Long(seed),
            Word(first),
            Word(second),
        ];
        let grid = Grid::rows(self.processors() * 8);
        // SAFETY: `blocks_random(w, words, seed, first, second)` writes so many words.
        unsafe { self.launch(blocks.kernels().random, grid, &args) };
        Ok(blocks)
    }

    /// All numbers in 16 bits, in room of the step.
    pub(super) fn widened(&self, of: &Blocks, outputs: usize, inputs: usize) -> Buffer {
        let wide = self.room(outputs * inputs * 2);
        let (panels, tiles) = (outputs.div_ceil(SIDE), inputs / SIDE);
        let each = tiles.clamp(1, 8);
        let args = [
            of.buffer.holds(of.tiles.bytes(outputs, inputs)),
            wide.holds(outputs * inputs * 2),
            Int(outputs as i32),
            Int(inputs as i32),
            Int(each as i32),
        ];
        let grid = Grid::new((tiles.div_ceil(each), panels, 1), 128);
        // SAFETY: `blocks_widen(w, y, n, k, each)` reads all tiles and writes [n, k] numbers of 16 bits.
        unsafe { self.launch(of.kernels().widen, grid, &args) };
        wide
    }

    /// The tokens' rows of a table, times `scale`, to the rows of `x`.
    pub(super) fn embed_blocks(
        &self,
        of: &Blocks,
        table: &CudaWeight,
        rows: &CudaRows,
        scale: f32,
        x: &CudaMat,
    ) {
        let (count, n) = x.whole_rows();
        assert_eq!((x.planes, n), (1, table.inputs), "F32 rows of the table");
        let args = [
            of.buffer.holds(of.tiles.bytes(table.outputs, table.inputs)),
            rows.tokens.pointer(),
            x.pointer(),
            Int(n as i32),
            Float(scale),
        ];
        let grid = Grid::rows(count);
        // SAFETY: `blocks_embed(w, tokens, x, k, scale)` reads tiles of the tokens' rows and writes k
        // numbers of each. Tokens lie in the vocabulary, as for `embed_rows`.
        unsafe { self.launch_early(of.kernels().embed, grid, &args) };
    }

    /// A product of one row a slot, where there is a kernel for so many.
    pub(super) fn few_rows_of_blocks(
        &self,
        of: &Blocks,
        x: &CudaMat,
        weight: &CudaWeight,
        bias: Option<&CudaVector>,
        out: Form,
    ) -> Option<CudaMat> {
        let (outputs, inputs) = (weight.outputs, weight.inputs);
        let (kernels, most) = match self.warp_groups() {
            true => (&of.kernels().hopper[..], GROUPS),
            false => (&of.kernels().plain[..], PLAIN_GROUPS),
        };
        let &(name, _, most_rows) = kernels.iter().find(|(_, _, rows)| x.rows <= *rows)?;
        let parts = matches!(out, Form::Parts | Form::Scores);
        let shares = Shares::new(outputs, inputs, parts, self.processors(), most);
        let y = match out {
            Form::Half => x.beside(self, outputs),
            Form::Single | Form::Parts | Form::Scores => CudaMat {
                height: x.height,
                ..CudaMat::planes(self, x.rows, outputs, shares.splits)
            },
        };
        assert_eq!(x.half_rows(), (x.rows, inputs), "inputs of every row");
        let rows = match self.warp_groups() {
            true => Arg::Matrix(self.tensor_map(&Boxed {
                of: x.operand(),
                rows: x.rows,
                cols: inputs,
                apart: None,
                high: most_rows,
            })),
            false => x.pointer(),
        };
        let args = [
            rows,
            of.buffer.holds(of.tiles.bytes(outputs, inputs)),
            y.pointer(),
            bias.map_or(Arg::NONE, |b| b.pointer(outputs)),
            Int(x.rows as i32),
            Int(outputs as i32),
            Int(inputs as i32),
            Int(y.stride as i32),
            Int(shares.tiles as i32),
            Int(i32::from(y.planes > 0)),
            Int(shares.groups as i32),
        ];
        let stages = match self.warp_groups() {
            true => stages(of.tiles, most_rows),
            false => PLAIN_STAGES,
        };
        let shared = of.code_table() + stages * stage(of.tiles, most_rows, shares.groups);
        let grid = Grid::new((shares.blocks, shares.splits, 1), 128 * shares.groups);
        let grid = grid.shared(shared);
        // SAFETY: `blocks_N(x, w, y, bias, rows, outputs, inputs, stride, tiles, f32, groups)` multiplies
        // at most N rows and writes a plane of y a split, by blocks of at most `groups` tiles of
        // outputs. It waits for the kernel before.
        unsafe { self.launch_early(name, grid, &args) };
        Some(y)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn outputs_and_inputs_are_shared_evenly() {
        let shares = |outputs, inputs, parts| {
            let s = Shares::new(outputs, inputs, parts, 132, GROUPS);
            assert!(outputs.div_ceil(SIDE).div_ceil(s.blocks) <= s.groups);
            assert!(
                s.tiles * s.splits >= inputs / SIDE && s.tiles * (s.splits - 1) < inputs / SIDE
            );
            format!("{} x {} of {} by {}", s.blocks, s.splits, s.groups, s.tiles)
        };
        // Qwen2.5-7B: queries, keys, and values; attention's output; gates and ups; down; a head.
        let of_7b = [
            shares(4608, 3584, true),
            shares(3584, 3584, true),
            shares(37888, 3584, false),
            shares(3584, 18944, true),
            shares(152_064, 3584, false),
        ];
        insta::assert_snapshot!(of_7b.join("\n"), @r"
        18 x 7 of 4 by 8
        19 x 6 of 3 by 10
        119 x 1 of 5 by 56
        14 x 9 of 4 by 33
        792 x 1 of 3 by 56
        ");
    }
}
