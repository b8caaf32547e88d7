//! A TensorBoard event file: numbers of a training run, written while it goes on.
//!
//! The file is a TFRecord: each record is its length, the length's checksum, the bytes, and the
//! bytes' checksum, both masked CRC-32C (Castagnoli), little-endian. A record is one `Event` in
//! protobuf's wire format, of which four fields are written here by hand: no crate that is still
//! looked after writes them. Numbers are `simple_value`, as TensorBoard's own `SummaryWriter` has
//! them.
//!
//! A process that takes a run up again writes a file of its own and begins it with `SessionLog.START`
//! at the step that it repeats. Readers then drop what an earlier file says of that step and later
//! ones, and one that is open all the while goes on reading.

use std::fs::{File, OpenOptions};
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use super::{RecordError, RunLock};
use crate::atomic_file::FileError;

/// How TensorBoard knows such a file.
const PREFIX: &str = "events.out.tfevents.";

/// A file that begins when the first numbers come.
#[derive(Debug)]
pub struct EventFile {
    path: PathBuf,
    file: Option<File>,
    /// The step from which earlier files do not count any more.
    from: Option<usize>,
}

impl EventFile {
    /// The next event file of a run; nothing is written yet. `from` is the first step that is told
    /// again.
    ///
    /// # Errors
    /// The folder cannot be listed.
    pub fn next(lock: &RunLock, from: Option<usize>) -> Result<Self, RecordError> {
        let folder = lock.run().folder();
        // Files are read in the order of their names, and two processes of one second have to
        // follow each other.
        let latest = written(folder)?.last().map_or(0, |&(second, _)| second + 1);
        let second = (seconds() as u64).max(latest);
        let name = format!("{PREFIX}{second:010}.qeval.{}", std::process::id());
        Ok(EventFile {
            path: folder.join(name),
            file: None,
            from,
        })
    }

    /// Whether a run has an event file already.
    ///
    /// # Errors
    /// The folder cannot be listed.
    pub fn exists(lock: &RunLock) -> Result<bool, RecordError> {
        Ok(!written(lock.run().folder())?.is_empty())
    }

    /// Appends numbers of a step, each under its tag (`train/loss`), in one write.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn append(&mut self, step: usize, numbers: &[(String, f64)]) -> Result<(), RecordError> {
        let now = seconds();
        let mut bytes = Vec::new();
        if self.file.is_none() {
            bytes.extend(record(&version(now)));
            if let Some(from) = self.from {
                bytes.extend(record(&restart(now, from)));
            }
        }
        bytes.extend(record(&scalars(now, step, numbers)));
        let path = &self.path;
        let file = match &mut self.file {
            Some(file) => file,
            none => {
                let opened = OpenOptions::new().create_new(true).append(true).open(path);
                none.insert(opened.map_err(FileError::at("create", path))?)
            }
        };
        let appended = file.write_all(&bytes);
        Ok(appended.map_err(FileError::at("append to", path))?)
    }
}

/// Event files of a folder with the second in their names, in the order of reading.
fn written(folder: &Path) -> Result<Vec<(u64, PathBuf)>, RecordError> {
    let mut files = Vec::new();
    for entry in std::fs::read_dir(folder).map_err(FileError::at("list", folder))? {
        let path = entry.map_err(FileError::at("list", folder))?.path();
        let name = path.file_name().and_then(|name| name.to_str());
        let rest = name.and_then(|name| name.strip_prefix(PREFIX));
        let second = rest.and_then(|rest| rest.split('.').next()?.parse().ok());
        files.extend(second.map(|second| (second, path)));
    }
    files.sort();
    Ok(files)
}

/// Seconds since 1970.
fn seconds() -> f64 {
    let since_1970 = SystemTime::now().duration_since(UNIX_EPOCH);
    since_1970.unwrap_or_default().as_secs_f64()
}

/// A record of the file.
fn record(event: &[u8]) -> Vec<u8> {
    let length = (event.len() as u64).to_le_bytes();
    let checksum = |bytes: &[u8]| masked(crc32c(bytes)).to_le_bytes();
    [&length[..], &checksum(&length), event, &checksum(event)].concat()
}

/// `Event { wall_time = 1, file_version = 3 }`, the first of a file.
fn version(now: f64) -> Vec<u8> {
    let mut event = double(1, now);
    event.extend(bytes(3, b"brain.Event:2"));
    event
}

/// `Event { wall_time = 1, step = 2, session_log = 7 { status = 1: START } }`.
fn restart(now: f64, step: usize) -> Vec<u8> {
    const START: u64 = 1;
    let mut event = double(1, now);
    event.extend(varint(2, step as u64));
    event.extend(bytes(7, &varint(1, START)));
    event
}

/// `Event { wall_time = 1, step = 2, summary = 5 { value = 1 { tag = 1, simple_value = 2 } .. } }`.
fn scalars(now: f64, step: usize, numbers: &[(String, f64)]) -> Vec<u8> {
    let mut summary = Vec::new();
    for (tag, number) in numbers {
        let mut value = bytes(1, tag.as_bytes());
        value.push(key(2, FIXED_32));
        value.extend((*number as f32).to_le_bytes());
        summary.extend(bytes(1, &value));
    }
    let mut event = double(1, now);
    event.extend(varint(2, step as u64));
    event.extend(bytes(5, &summary));
    event
}

/// Wire types of protobuf.
const VARINT: u8 = 0;
const FIXED_64: u8 = 1;
const LENGTH_DELIMITED: u8 = 2;
const FIXED_32: u8 = 5;

/// A field's key; all numbers here are below 16, so that it is one byte.
fn key(field: u8, wire: u8) -> u8 {
    field << 3 | wire
}

fn double(field: u8, value: f64) -> Vec<u8> {
    let mut field = vec![key(field, FIXED_64)];
    field.extend(value.to_le_bytes());
    field
}

fn varint(field: u8, value: u64) -> Vec<u8> {
    let mut field = vec![key(field, VARINT)];
    push_varint(&mut field, value);
    field
}

fn bytes(field: u8, value: &[u8]) -> Vec<u8> {
    let mut field = vec![key(field, LENGTH_DELIMITED)];
    push_varint(&mut field, value.len() as u64);
    field.extend(value);
    field
}

/// Seven bits a byte, the lowest first; the highest bit says that more follow.
fn push_varint(into: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        into.push(value as u8 | 0x80);
        value >>= 7;
    }
    into.push(value as u8);
}

/// TFRecord's mask: a checksum of bytes that hold checksums would be a weak one.
fn masked(crc: u32) -> u32 {
    crc.rotate_right(15).wrapping_add(0xa282_ead8)
}

/// CRC-32C (Castagnoli), reflected, as RFC 3720 has it.
fn crc32c(bytes: &[u8]) -> u32 {
    let step = |crc: u32, byte: &u8| TABLE[usize::from(crc as u8 ^ byte)] ^ crc >> 8;
    !bytes.iter().fold(!0, step)
}

const TABLE: [u32; 256] = {
    let mut table = [0; 256];
    let mut byte = 0;
    while byte < table.len() {
        let mut crc = byte as u32;
        let mut bit = 0;
        while bit < 8 {
            crc = match crc & 1 {
                0 => crc >> 1,
                _ => crc >> 1 ^ 0x82f6_3b78,
            };
            bit += 1;
        }
        table[byte] = crc;
        byte += 1;
    }
    table
};

#[cfg(test)]
mod tests {
    use super::super::testing::locked_run;
    use super::*;

    /// The test vectors of RFC 3720, appendix B.4.
    #[test]
    fn checksums_are_those_of_the_rfc() {
        let rising: Vec<u8> = (0..32).collect();
        for (bytes, crc) in [
            (&[0; 32][..], 0x8a91_36aa),
            (&[0xff; 32], 0x62a8_ab43),
            (&rising, 0x46dd_794e),
            (b"123456789", 0xe306_9283),
        ] {
            assert_eq!(crc32c(bytes), crc);
        }
    }

    /// What `tensorboard.compat.proto.event_pb2.Event` serializes for the same values, TensorBoard
    /// 2.21.0: `fixtures/reference/make_event_bytes.py` prints it.
    #[test]
    fn events_are_those_of_tensorboard() {
        let hex = |bytes: Vec<u8>| -> String { bytes.iter().map(|b| format!("{b:02x}")).collect() };
        let numbers = [("train/loss".to_owned(), 2.5), ("a".to_owned(), -0.1)];
        insta::assert_snapshot!(hex(version(1.5)), @"09000000000000f83f1a0d627261696e2e4576656e743a32");
        insta::assert_snapshot!(hex(restart(1.5, 300)), @"09000000000000f83f10ac023a020801");
        insta::assert_snapshot!(hex(scalars(1.5, 300, &numbers)), @"09000000000000f83f10ac022a1d0a110a0a747261696e2f6c6f737315000020400a080a016115cdccccbd");
        insta::assert_snapshot!(hex(record(&version(1.5))), @"1800000000000000a37f4b2209000000000000f83f1a0d627261696e2e4576656e743a322a28646c");
    }

    #[test]
    fn a_file_begins_with_its_first_numbers_and_the_next_one_follows_it() {
        let (_runs, lock) = locked_run();
        let mut first = EventFile::next(&lock, None).unwrap();
        assert!(!EventFile::exists(&lock).unwrap());
        first.append(1, &[("train/loss".into(), 1.0)]).unwrap();
        first.append(2, &[("train/loss".into(), 0.5)]).unwrap();
        assert!(EventFile::exists(&lock).unwrap());
        let mut second = EventFile::next(&lock, Some(2)).unwrap();
        second.append(2, &[("train/loss".into(), 0.5)]).unwrap();
        let files = written(lock.run().folder()).unwrap();
        let paths: Vec<&PathBuf> = files.iter().map(|(_, path)| path).collect();
        assert_eq!(paths, [&first.path, &second.path]);
        let sizes: Vec<usize> = paths
            .iter()
            .map(|path| std::fs::read(path).unwrap().len())
            .collect();
        // The second says in one more record where it begins, and has one step less.
        let one = record(&scalars(0.0, 2, &[("train/loss".into(), 0.5)])).len();
        assert_eq!(sizes[0] - one + record(&restart(0.0, 2)).len(), sizes[1]);
    }
}
