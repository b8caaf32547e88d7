//! The rows of a parquet file, as Hugging Face writes its exports: each row the JSON object that
//! `datasets` would write for it, a missing value null.
//!
//! Columns that rows of text have no use for stay in the row, so that what is done about them is
//! told as for any other key: bytes that are no text are an object (`{"bytes": 1234}`), dates and
//! decimals are text.

use bytes::Bytes;
use parquet::data_type::AsBytes;
use parquet::errors::ParquetError;
use parquet::file::reader::{FileReader, SerializedFileReader};
use parquet::record::reader::RowIter;
use parquet::record::{Field, Row};
use serde_json::{Map, Value as Json, json};

use crate::exit::caught;

use super::error::DataError;
use super::example::Origin;
use super::file::RawRow;
use super::parquet_footer::check_footer;

/// What a parquet file begins and ends with.
const MAGIC: &[u8] = b"PAR1";

/// Whether these are the bytes of a parquet file.
pub(super) fn is_parquet(bytes: &[u8]) -> bool {
    bytes.starts_with(MAGIC)
}

/// Hands every row over, numbered from 1.
///
/// # Errors
/// A file that is damaged or packed in a way that is not known; rows before the damage were handed
/// over.
pub(super) fn each_parquet_row(
    file: &str,
    bytes: Vec<u8>,
    mut take: impl FnMut(RawRow),
) -> Result<(), DataError> {
    let mut number = 0;
    let read = || -> Result<(), String> {
        check_footer(&bytes)?;
        let reader = checked(|| SerializedFileReader::new(Bytes::from(bytes)))?;
        for group in 0..reader.num_row_groups() {
            let group = checked(|| reader.get_row_group(group))?;
            let mut rows = checked(|| RowIter::from_row_group(None, &*group))?;
            while let Some(row) = checked(|| rows.next().transpose())? {
                number += 1;
                take(RawRow {
                    origin: Origin {
                        file: file.to_string(),
                        line: number,
                    },
                    json: object(row),
                });
            }
        }
        Ok(())
    };
    read().map_err(|reason| DataError::Parquet {
        file: file.to_string(),
        reason,
    })
}

/// What the reader reads: it trusts what pages say of each other, and stops with a panic where they
/// lie.
fn checked<T>(read: impl FnOnce() -> Result<T, ParquetError>) -> Result<T, String> {
    match caught(read) {
        Ok(read) => read.map_err(|error| plain(&error.to_string())),
        Err(_) => Err("its pages contradict each other".to_owned()),
    }
}

/// The reader's own words without what it puts before them.
fn plain(reason: &str) -> String {
    let reason = reason.strip_prefix("Parquet error: ").unwrap_or(reason);
    reason.trim_end_matches('.').to_owned()
}

fn object(row: Row) -> Json {
    let columns = row.into_columns().into_iter();
    Json::Object(columns.map(|(name, field)| (name, value(&field))).collect())
}

fn value(field: &Field) -> Json {
    match field {
        Field::Null => Json::Null,
        Field::Bool(flag) => json!(flag),
        Field::Byte(n) => json!(n),
        Field::Short(n) => json!(n),
        Field::Int(n) => json!(n),
        Field::Long(n) => json!(n),
        Field::UByte(n) => json!(n),
        Field::UShort(n) => json!(n),
        Field::UInt(n) => json!(n),
        Field::ULong(n) => json!(n),
        Field::Float16(x) => json!(x.to_f64()),
        Field::Float(x) => json!(x),
        Field::Double(x) => json!(x),
        Field::Str(text) => json!(text),
        // Text of writers that leave its type out.
        Field::Bytes(bytes) => match std::str::from_utf8(bytes.as_bytes()) {
            Ok(text) => json!(text),
            Err(_) => json!({ "bytes": bytes.len() }),
        },
        Field::Group(row) => {
            let columns = row.get_column_iter();
            let columns = columns.map(|(name, field)| (name.clone(), value(field)));
            Json::Object(columns.collect())
        }
        Field::ListInternal(list) => list.elements().iter().map(value).collect(),
        Field::MapInternal(map) => {
            let entries = map.entries().iter().map(|(key, field)| {
                let key = match value(key) {
                    Json::String(text) => text,
                    other => other.to_string(),
                };
                (key, value(field))
            });
            Json::Object(entries.collect::<Map<String, Json>>())
        }
        Field::Decimal(_)
        | Field::Date(_)
        | Field::TimeMillis(_)
        | Field::TimeMicros(_)
        | Field::TimestampMillis(_)
        | Field::TimestampMicros(_) => json!(field.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use crate::train::data::file::read_rows;

    fn bytes(name: &str) -> Vec<u8> {
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/fixtures/rows/");
        std::fs::read(format!("{folder}{name}")).unwrap()
    }

    /// Written by `fixtures/reference/make_parquet_rows.py` with both ways of packing.
    #[test]
    fn a_table_of_hugging_face_is_read_as_its_own_json() {
        for name in ["messages", "mixed"] {
            let table = read_rows(name, bytes(&format!("{name}.parquet"))).unwrap();
            let lines = read_rows(name, bytes(&format!("{name}.jsonl"))).unwrap();
            assert_eq!(table.len(), lines.len());
            for (row, line) in table.iter().zip(&lines) {
                assert_eq!(row.json, line.json, "{name}");
                assert_eq!(row.origin.line, line.origin.line, "rows count from 1");
            }
        }
    }

    #[test]
    fn what_rows_have_no_use_for_is_kept_as_text() {
        let rows = read_rows("p", bytes("pandas.parquet")).unwrap();
        assert_eq!(rows[0].json["prompt"], "Who are you?");
        assert_eq!(rows[0].json["day"], "2026-11-30");
        assert_eq!(rows[1].json["__index_level_0__"], 9);
    }

    #[test]
    fn a_damaged_table_is_told_with_its_name() {
        let whole = bytes("mixed.parquet");
        let error = |bytes: &[u8]| read_rows("rows.parquet", bytes.to_vec()).unwrap_err();
        insta::assert_snapshot!(error(&whole[..whole.len() / 2]), @"
        rows.parquet: not a whole parquet file: Invalid Parquet file. Corrupt footer
        (fetch it again, it may be cut off; packings that are known: none, snappy, zstd)
        ");
        // Whatever byte is wrong, it is told or read: nothing else happens.
        for at in (0..whole.len()).step_by(7) {
            let mut damaged = whole.clone();
            damaged[at] ^= 0x55;
            if let Err(error) = read_rows("rows.parquet", damaged) {
                let error = error.to_string();
                assert!(error.contains("rows.parquet"), "{at}: {error}");
            }
        }
    }
}
