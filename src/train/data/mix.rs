//! Which of the usable rows become examples: `path#200` and shares.

use crate::random::{Purpose, shuffled};
use crate::train::config::DataSection;

use super::error::DataError;
use super::example::Example;
use super::report::DataReport;

/// Takes rows from each source and joins them, in the order of sources and rows.
///
/// With shares the mix is the largest in which the weights hold and no row is repeated: the source
/// with the fewest rows for its weight gives all of them.
pub fn mix(
    mut usable: Vec<Vec<Example>>,
    data: &DataSection,
    report: &mut DataReport,
) -> Result<Vec<Example>, Vec<DataError>> {
    let mut errors = Vec::new();
    for (place, (rows, source)) in usable.iter_mut().zip(&data.sources).enumerate() {
        let Some(take) = source.take else { continue };
        if take > rows.len() {
            let (file, usable) = (source.path.clone(), rows.len());
            errors.push(DataError::TakeTooMany { file, take, usable });
            continue;
        }
        report.sources[place].not_taken = rows.len() - take;
        keep(rows, take, data.seed, place);
    }
    if !errors.is_empty() {
        return Err(errors);
    }
    let counts = shared_counts(&usable, data)?;
    for (place, (rows, count)) in usable.iter_mut().zip(counts).enumerate() {
        report.sources[place].not_shared = rows.len() - count;
        // Another place than that of `take`, so that the two choices are independent.
        keep(rows, count, data.seed, place + data.sources.len());
        report.sources[place].used = rows.len();
    }
    Ok(usable.into_iter().flatten().collect())
}

fn keep(rows: &mut Vec<Example>, count: usize, seed: u64, place: usize) {
    if count == rows.len() {
        return;
    }
    let mut chosen = shuffled(rows.len(), seed, Purpose::Take, place as u64);
    chosen.truncate(count);
    chosen.sort_unstable();
    let mut place = 0;
    rows.retain(|_| {
        place += 1;
        chosen.binary_search(&(place - 1)).is_ok()
    });
}

fn shared_counts(
    usable: &[Vec<Example>],
    data: &DataSection,
) -> Result<Vec<usize>, Vec<DataError>> {
    if data.sources.iter().all(|s| s.share.is_none()) {
        return Ok(usable.iter().map(Vec::len).collect());
    }
    let mut errors = Vec::new();
    let mut weights = Vec::new();
    for source in &data.sources {
        match source.share {
            Some(share) if share > 0.0 => weights.push(share),
            _ => errors.push(DataError::ShareMissing {
                file: source.path.clone(),
            }),
        }
    }
    if !errors.is_empty() {
        return Err(errors);
    }
    let scale = usable
        .iter()
        .zip(&weights)
        .map(|(rows, weight)| rows.len() as f64 / weight)
        .fold(f64::INFINITY, f64::min);
    let mut counts = Vec::new();
    for ((rows, weight), source) in usable.iter().zip(&weights).zip(&data.sources) {
        // Half a row is rounded, which forgives what the division lost.
        let count = ((scale * weight).round() as usize).min(rows.len());
        if count == 0 {
            let file = source.path.clone();
            errors.push(DataError::ShareTooSmall {
                file,
                usable: rows.len(),
            });
        }
        counts.push(count);
    }
    if errors.is_empty() {
        Ok(counts)
    } else {
        Err(errors)
    }
}
