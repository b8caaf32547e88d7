//! The error rates of made-up suites: the worst cell of each size and number of looks, claimed beside
//! measured. JSON has every cell.

use super::style::{ROWS, Style, Tone};
use super::wrap::wrapped;
use crate::flow::{Grid, GridCell, GridRates, share_error};

/// Cells in which base and candidate differ so seldom that a loss can be seen, by the chance that two
/// answers to one probe differ.
const QUIET: f64 = 0.05;

/// The cells of one number of probes and one of looks.
struct Row<'a> {
    probes: usize,
    looks: usize,
    cells: Vec<&'a (GridCell, GridRates)>,
}

impl Row<'_> {
    fn highest(&self, of: fn(&GridRates) -> f64) -> f64 {
        self.cells.iter().map(|(_, r)| of(r)).fold(0.0, f64::max)
    }

    /// The least power in the quiet cells, at one look and in the run.
    fn power(&self, of: fn(&GridRates) -> Option<[f64; 2]>) -> Option<[f64; 2]> {
        let quiet = self.cells.iter().filter(|(_, r)| r.flips <= QUIET);
        let all: Vec<[f64; 2]> = quiet.filter_map(|(_, r)| of(r)).collect();
        let least = |i: usize| all.iter().map(|p| p[i]).fold(1.0, f64::min);
        (!all.is_empty()).then(|| [least(0), least(1)])
    }
}

fn rows(grid: &Grid) -> Vec<Row<'_>> {
    let mut rows: Vec<Row> = Vec::new();
    for cell in &grid.cells {
        let (probes, looks) = (cell.0.probes, cell.0.looks);
        match rows
            .iter_mut()
            .find(|r| r.probes == probes && r.looks == looks)
        {
            Some(row) => row.cells.push(cell),
            None => rows.push(Row {
                probes,
                looks,
                cells: vec![cell],
            }),
        }
    }
    rows
}

/// The table for people.
pub fn grid_text(grid: &Grid, style: Style) -> String {
    let heads = ["looks", "probes", "alarm", "wrong", "0.05", "0.10"];
    let mut table = style.table(ROWS, &heads);
    let most = grid.claimed + 2.0 * share_error(grid.claimed, grid.comparisons);
    for row in rows(grid) {
        let share = |share: f64| {
            let tone = if share > most { Tone::Bad } else { Tone::Plain };
            (tone, format!("{:.1}", 100.0 * share))
        };
        let power = |power: Option<[f64; 2]>| {
            let text = match power {
                None => "-".to_owned(),
                Some([first, _]) if row.looks == 1 => format!("{:.0}", 100.0 * first),
                Some([first, all]) => format!("{:.0}, {:.0}", 100.0 * first, 100.0 * all),
            };
            (Tone::Plain, text)
        };
        let cells = [
            (Tone::Plain, row.looks.to_string()),
            (Tone::Plain, row.probes.to_string()),
            share(row.highest(|r| r.false_alarms)),
            share(row.highest(|r| r.passes_at_margin)),
            power(row.power(|r| r.found_5)),
            power(row.power(|r| r.found_10)),
        ];
        table.add_row(cells.iter().map(|(tone, text)| style.cell(*tone, text)));
    }
    let broken = grid
        .cells
        .iter()
        .filter(|(_, r)| r.false_alarms > most || r.passes_at_margin > most)
        .count();
    let mut text = style.rendered(&table);
    let said = format!(
        "of 100 runs, {} comparisons a cell: the most false alarms and wrong passes of any cell of a \
         row, claimed at most {:.0} each; then the least power for a true loss of 0.05 and 0.10, at \
         one look and in the run, where two answers to one probe differ in 5 of 100 or fewer",
        grid.comparisons,
        100.0 * grid.claimed
    );
    text += &wrapped("", &[(Tone::Dim, said)], style);
    let (tone, said) = match broken {
        0 => (
            Tone::Good,
            format!("above what is claimed: none of {} cells", grid.cells.len()),
        ),
        n => (
            Tone::Bad,
            format!(
                "{n} of {} cells are above what is claimed",
                grid.cells.len()
            ),
        ),
    };
    text += &wrapped("", &[(tone, said)], style);
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_has_the_worst_of_its_cells() {
        let cell = |looks, rate, alarms: f64, flips, found| {
            (
                GridCell {
                    probes: 100,
                    rate,
                    correlation: 0.6,
                    looks,
                    unscored: 0.0,
                },
                GridRates {
                    flips,
                    false_alarms: alarms,
                    passes: 0.5,
                    passes_at_margin: 0.03,
                    found_5: None,
                    found_10: Some([found, 0.99]),
                },
            )
        };
        let grid = Grid {
            comparisons: 10_000,
            seed: 0,
            claimed: 0.05,
            cells: vec![
                cell(1, 0.5, 0.012, 0.2, 0.3),
                cell(1, 0.95, 0.009, 0.04, 0.87),
                cell(20, 0.95, 0.061, 0.04, 0.31),
            ],
        };
        insta::assert_snapshot!(grid_text(&grid, Style::plain(80)), @"
        ┌───────┬────────┬───────┬───────┬──────┬────────┐
        │ looks ┆ probes ┆ alarm ┆ wrong ┆ 0.05 ┆ 0.10   │
        ╞═══════╪════════╪═══════╪═══════╪══════╪════════╡
        │ 1     ┆ 100    ┆ 1.2   ┆ 3.0   ┆ -    ┆ 87     │
        │ 20    ┆ 100    ┆ 6.1   ┆ 3.0   ┆ -    ┆ 31, 99 │
        └───────┴────────┴───────┴───────┴──────┴────────┘
        of 100 runs, 10000 comparisons a cell: the most false alarms and wrong passes of
        any cell of a row, claimed at most 5 each; then the least power for a true loss
        of 0.05 and 0.10, at one look and in the run, where two answers to one probe
        differ in 5 of 100 or fewer
        1 of 3 cells are above what is claimed
        ");
    }
}
