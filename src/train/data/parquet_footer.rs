//! The footer of a parquet file, walked once before the reader sees it: the reader passes over a list
//! of truth values without reading a byte, so that a few bytes can hold it for minutes.
//!
//! Encoding: <https://github.com/apache/thrift/blob/master/doc/specs/thrift-compact-protocol.md>.

/// Deepest nesting that is followed; a real footer has less than ten levels.
const DEEPEST: u8 = 32;

/// Refuses a footer whose lists claim more entries than it has bytes, or that ends within a value.
/// A file too short for a footer is left to the reader.
pub(super) fn check_footer(file: &[u8]) -> Result<(), String> {
    let Some((rest, end)) = file.split_last_chunk::<8>() else {
        return Ok(());
    };
    let length = u32::from_le_bytes([end[0], end[1], end[2], end[3]]);
    let start = usize::try_from(length)
        .ok()
        .and_then(|n| rest.len().checked_sub(n));
    match start {
        Some(start) => Walk(&rest[start..]).structure(0),
        None => Ok(()),
    }
}

/// What is left to walk.
struct Walk<'a>(&'a [u8]);

impl Walk<'_> {
    fn skip(&mut self, bytes: usize) -> Result<(), String> {
        self.0 = self
            .0
            .get(bytes..)
            .ok_or("its footer ends within a value")?;
        Ok(())
    }

    fn byte(&mut self) -> Result<u8, String> {
        let byte = *self.0.first().ok_or("its footer ends within a value")?;
        self.0 = &self.0[1..];
        Ok(byte)
    }

    /// An unsigned number of 7 bits a byte.
    fn number(&mut self) -> Result<u64, String> {
        let mut number = 0;
        for shift in (0..64).step_by(7) {
            let byte = self.byte()?;
            number |= u64::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return Ok(number);
            }
        }
        Err("its footer has a number beyond 64 bits".into())
    }

    /// A number of entries, each of which takes a byte at least.
    fn count(&self, count: u64) -> Result<usize, String> {
        let possible = usize::try_from(count)
            .ok()
            .filter(|count| *count <= self.0.len());
        possible.ok_or_else(|| {
            format!(
                "its footer names a list of {count} entries in {} bytes",
                self.0.len()
            )
        })
    }

    fn structure(&mut self, depth: u8) -> Result<(), String> {
        loop {
            let head = self.byte()?;
            let kind = head & 0x0f;
            if kind == 0 {
                return Ok(());
            }
            // The field's number, where it does not follow from the one before.
            if head >> 4 == 0 {
                self.number()?;
            }
            // A truth value stands in the kind itself.
            if kind > 2 {
                self.value(kind, depth)?;
            }
        }
    }

    fn value(&mut self, kind: u8, depth: u8) -> Result<(), String> {
        if depth == DEEPEST {
            return Err(format!("its footer is nested deeper than {DEEPEST} levels"));
        }
        match kind {
            1..=3 => self.skip(1),
            4..=6 => self.number().map(drop),
            7 => self.skip(8),
            8 => {
                let length = self.number()?;
                self.skip(usize::try_from(length).unwrap_or(usize::MAX))
            }
            9 | 10 => {
                let head = self.byte()?;
                let count = match head >> 4 {
                    15 => self.number()?,
                    short => u64::from(short),
                };
                for _ in 0..self.count(count)? {
                    self.value(head & 0x0f, depth + 1)?;
                }
                Ok(())
            }
            11 => {
                let count = self.number()?;
                if count == 0 {
                    return Ok(());
                }
                let kinds = self.byte()?;
                for _ in 0..self.count(count)? {
                    self.value(kinds >> 4, depth + 1)?;
                    self.value(kinds & 0x0f, depth + 1)?;
                }
                Ok(())
            }
            12 => self.structure(depth + 1),
            13 => self.skip(16),
            other => Err(format!(
                "its footer has a value of the unknown kind {other}"
            )),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(footer: &[u8]) -> Vec<u8> {
        let mut file = b"PAR1".to_vec();
        file.extend_from_slice(footer);
        file.extend_from_slice(&u32::try_from(footer.len()).unwrap().to_le_bytes());
        file.extend_from_slice(b"PAR1");
        file
    }

    #[test]
    fn lists_that_cannot_be_there_are_refused_at_once() {
        // Field 9, a list of 2^31 - 1 truth values.
        let endless = file(&[0x99, 0xf2, 0xff, 0xff, 0xff, 0xff, 0x07, 0]);
        let error = check_footer(&endless).unwrap_err();
        assert_eq!(
            error,
            "its footer names a list of 2147483647 entries in 1 bytes"
        );
        // Structures within structures, without end.
        assert!(
            check_footer(&file(&[0x1c; 100]))
                .unwrap_err()
                .contains("nested deeper")
        );
        assert!(
            check_footer(&file(&[0x15]))
                .unwrap_err()
                .contains("ends within")
        );
        assert!(check_footer(&file(&[0x15, 2, 0])).is_ok());
        assert!(
            check_footer(b"PAR1").is_ok(),
            "the reader says that it is short"
        );
    }
}
