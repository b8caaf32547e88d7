//! Device memory that is handed out again: a step takes and gives back hundreds of matrices.
//!
//! All work is in one stream, so memory is free for its next user as soon as the host gives it
//! back. A graph keeps what its capture took: its replays write there.

use std::collections::HashMap;
use std::sync::Arc;

use cudarc::driver::result;

use super::context::Context;

/// Blocks by size.
pub(super) type Blocks = HashMap<usize, Vec<u64>>;

/// Memory taken from the driver.
#[derive(Default)]
pub(super) struct Pool {
    idle: Blocks,
    idle_bytes: usize,
    used: usize,
    peak: usize,
    /// What was idle before a capture began, untouched until it ends.
    aside: Option<Blocks>,
}

impl Pool {
    /// Sizes come in eight steps between powers of two, so that ragged batches find each other's
    /// blocks.
    fn class(bytes: usize) -> usize {
        let bytes = bytes.max(256);
        let step = (bytes.next_power_of_two() / 16).max(256);
        bytes.next_multiple_of(step)
    }

    /// Address and size of a block, or `None` when the device is full.
    pub(super) fn take(&mut self, bytes: usize) -> Option<(u64, usize)> {
        self.take_size(Self::class(bytes))
    }

    /// As [`Pool::take`], without room to spare: for what stays.
    pub(super) fn take_exactly(&mut self, bytes: usize) -> Option<(u64, usize)> {
        self.take_size(bytes.next_multiple_of(512).max(512))
    }

    fn take_size(&mut self, size: usize) -> Option<(u64, usize)> {
        let found = self.idle.get_mut(&size).and_then(Vec::pop);
        let address = match found {
            Some(address) => {
                self.idle_bytes -= size;
                address
            }
            None => self.allocate(size)?,
        };
        self.used += size;
        self.peak = self.peak.max(self.used);
        Some((address, size))
    }

    fn allocate(&mut self, size: usize) -> Option<u64> {
        // SAFETY: a context is current; the block is freed by `free_idle` or with the context.
        unsafe {
            result::malloc_sync(size).ok().or_else(|| {
                self.free_idle();
                result::malloc_sync(size).ok()
            })
        }
    }

    pub(super) fn give(&mut self, address: u64, size: usize) {
        self.used -= size;
        self.idle_bytes += size;
        self.idle.entry(size).or_default().push(address);
    }

    /// Returns idle blocks to the driver.
    pub(super) fn free_idle(&mut self) {
        for (_, blocks) in self.idle.drain() {
            for address in blocks {
                // SAFETY: no one has the block. The driver waits for work that still uses it.
                let _ = unsafe { result::free_sync(address) };
            }
        }
        self.idle_bytes = 0;
    }

    /// From here on blocks come from a set of their own.
    pub(super) fn begin_capture(&mut self, own: Blocks) {
        let shared = std::mem::replace(&mut self.idle, own);
        self.aside = Some(shared);
    }

    /// Ends [`Pool::begin_capture`]; returns the set.
    pub(super) fn end_capture(&mut self) -> Blocks {
        let shared = self.aside.take().unwrap_or_default();
        let own = std::mem::replace(&mut self.idle, shared);
        self.idle_bytes = bytes(&self.idle);
        own
    }

    /// Takes over the blocks of a graph that is gone.
    pub(super) fn adopt(&mut self, blocks: Blocks) {
        self.idle_bytes += bytes(&blocks);
        for (size, addresses) in blocks {
            self.idle.entry(size).or_default().extend(addresses);
        }
    }

    pub(super) fn idle(&self) -> usize {
        self.idle_bytes
    }

    pub(super) fn used(&self) -> usize {
        self.used
    }

    pub(super) fn peak(&self) -> usize {
        self.peak
    }

    pub(super) fn reset_peak(&mut self) {
        self.peak = self.used;
    }
}

fn bytes(blocks: &Blocks) -> usize {
    blocks.iter().map(|(size, b)| size * b.len()).sum()
}

/// A piece of device memory, given back when dropped.
pub struct Buffer {
    context: Arc<Context>,
    address: u64,
    size: usize,
}

impl Buffer {
    pub(super) fn new(context: Arc<Context>, address: u64, size: usize) -> Self {
        Buffer {
            context,
            address,
            size,
        }
    }

    pub(super) fn address(&self) -> u64 {
        self.address
    }

    pub(super) fn bytes(&self) -> usize {
        self.size
    }
}

impl Drop for Buffer {
    fn drop(&mut self) {
        self.context.give(self.address, self.size);
    }
}

#[cfg(test)]
mod tests {
    use super::Pool;

    #[test]
    fn sizes_waste_at_most_an_eighth() {
        for bytes in [1, 255, 256, 1000, 5000, 1 << 20, (1 << 20) + 1, 123_456_789] {
            let class = Pool::class(bytes);
            assert!(
                class >= bytes && class <= (bytes + bytes / 8).max(256) + 256,
                "{bytes}"
            );
            assert_eq!(Pool::class(class), class);
        }
    }
}
