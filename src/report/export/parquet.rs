//! Parquet: `SUBJECT.parquet`, one row an answer, the columns of CSV with their types.
//!
//! Text is as it was said, and what may be missing is null. Pages are packed with Zstandard.

use std::path::Path;
use std::sync::Arc;

use parquet::basic::{Compression, ConvertedType, Repetition, Type as Physical, ZstdLevel};
use parquet::data_type::{BoolType, ByteArray, ByteArrayType, DoubleType, Int64Type};
use parquet::errors::ParquetError;
use parquet::file::properties::WriterProperties;
use parquet::file::writer::{SerializedFileWriter, SerializedRowGroupWriter};
use parquet::schema::types::Type;

use crate::flow::{Recorded, RecordedAnswer};

use super::PutFile;
use super::columns::{COLUMNS, Cell};
use super::file_name::file_name;

/// Rows of a group: what is in memory twice.
const ROWS: usize = 10_000;

/// Writes a subject.
///
/// # Errors
/// What `put` returns, or the writer: none that this input can cause.
pub fn parquet<E: From<ParquetError>>(recorded: &Recorded, put: PutFile<'_, E>) -> Result<(), E> {
    let suites = recorded.suites.iter();
    let rows: Vec<RecordedAnswer<'_>> = suites.flat_map(|s| recorded.answers(s)).collect();
    let bytes = file(recorded, &rows)?;
    let name = file_name(&recorded.subject().name) + ".parquet";
    put(Path::new(&name), &bytes)
}

fn file(recorded: &Recorded, rows: &[RecordedAnswer<'_>]) -> Result<Vec<u8>, ParquetError> {
    let first = rows.first();
    let fields = COLUMNS.iter().map(|column| {
        // What a column holds is the same in each row; without any row all are text.
        let cell = first.map_or(Cell::Text(None), |row| (column.cell)(recorded, row));
        let (physical, converted) = kind(&cell);
        let field = Type::primitive_type_builder(column.name, physical)
            .with_repetition(Repetition::OPTIONAL)
            .with_converted_type(converted)
            .build()?;
        Ok(Arc::new(field))
    });
    let fields = fields.collect::<Result<Vec<_>, ParquetError>>()?;
    let schema = Type::group_type_builder("answers")
        .with_fields(fields)
        .build()?;
    let properties = WriterProperties::builder()
        .set_compression(Compression::ZSTD(ZstdLevel::default()))
        .set_created_by(concat!("qeval ", env!("CARGO_PKG_VERSION")).to_owned())
        .build();
    let mut bytes = Vec::new();
    let mut writer = SerializedFileWriter::new(&mut bytes, Arc::new(schema), Arc::new(properties))?;
    for part in rows.chunks(ROWS) {
        let mut group = writer.next_row_group()?;
        for column in &COLUMNS {
            let cells: Vec<Cell> = part.iter().map(|r| (column.cell)(recorded, r)).collect();
            write_column(&mut group, &cells)?;
        }
        group.close()?;
    }
    writer.close()?;
    Ok(bytes)
}

fn kind(cell: &Cell) -> (Physical, ConvertedType) {
    match cell {
        Cell::Text(_) => (Physical::BYTE_ARRAY, ConvertedType::UTF8),
        Cell::Whole(_) => (Physical::INT64, ConvertedType::UINT_64),
        Cell::Real(_) => (Physical::DOUBLE, ConvertedType::NONE),
        Cell::Flag(_) => (Physical::BOOLEAN, ConvertedType::NONE),
    }
}

fn write_column<W: std::io::Write + Send>(
    group: &mut SerializedRowGroupWriter<'_, W>,
    cells: &[Cell],
) -> Result<(), ParquetError> {
    let Some(mut column) = group.next_column()? else {
        return Ok(());
    };
    let levels: Vec<i16> = cells.iter().map(|cell| i16::from(!is_null(cell))).collect();
    match cells.first() {
        None => {}
        Some(Cell::Text(_)) => {
            let values: Vec<ByteArray> = cells
                .iter()
                .filter_map(|cell| match cell {
                    Cell::Text(text) => text.as_deref().map(ByteArray::from),
                    _ => None,
                })
                .collect();
            let typed = column.typed::<ByteArrayType>();
            typed.write_batch(&values, Some(&levels), None)?;
        }
        Some(Cell::Whole(_)) => {
            let values: Vec<i64> = cells
                .iter()
                .filter_map(|cell| match cell {
                    // The same bits: the column says that it has no sign.
                    Cell::Whole(number) => number.map(u64::cast_signed),
                    _ => None,
                })
                .collect();
            let typed = column.typed::<Int64Type>();
            typed.write_batch(&values, Some(&levels), None)?;
        }
        Some(Cell::Real(_)) => {
            let values: Vec<f64> = cells
                .iter()
                .filter_map(|cell| match cell {
                    Cell::Real(number) => *number,
                    _ => None,
                })
                .collect();
            let typed = column.typed::<DoubleType>();
            typed.write_batch(&values, Some(&levels), None)?;
        }
        Some(Cell::Flag(_)) => {
            let values: Vec<bool> = cells
                .iter()
                .filter_map(|cell| match cell {
                    Cell::Flag(flag) => Some(*flag),
                    _ => None,
                })
                .collect();
            let typed = column.typed::<BoolType>();
            typed.write_batch(&values, Some(&levels), None)?;
        }
    }
    column.close()
}

fn is_null(cell: &Cell) -> bool {
    matches!(
        cell,
        Cell::Text(None) | Cell::Whole(None) | Cell::Real(None)
    )
}
