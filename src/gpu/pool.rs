//! Device memory that is handed out again: a step takes and gives back hundreds of matrices.
//!
//! All work is in one stream, so memory is free for its next user as soon as the host gives it
//! back. A graph keeps what its capture took: its replays write there.
//!
//! A step asks for room hundreds of times, in the middle of products that have no other way to
//! fail. So the first refusal is remembered, no room is given after it, and no work is started
//! ([`Cuda`](super::Cuda)) until whoever began the step has asked for it and let go of what it had.

use std::collections::HashMap;

use cudarc::driver::result;

/// Blocks by size.
pub(super) type Blocks = HashMap<usize, Vec<u64>>;

/// Where a pool's blocks come from.
pub(super) trait Source {
    /// Address of a new block, or `None` when the device is full.
    fn allocate(&mut self, size: usize) -> Option<u64>;

    /// Takes a block back that no one has.
    fn free(&mut self, address: u64);
}

/// The driver, whose context is current.
#[derive(Default)]
pub(super) struct Driver;

impl Source for Driver {
    fn allocate(&mut self, size: usize) -> Option<u64> {
        // SAFETY: a context is current; the block is freed by `free` or with the context.
        unsafe { result::malloc_sync(size) }.ok()
    }

    fn free(&mut self, address: u64) {
        // SAFETY: the pool has the block and forgets it. The driver waits for work that still uses
        // it.
        let _ = unsafe { result::free_sync(address) };
    }
}

/// An allocation that found no room.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Refusal {
    /// Bytes that were wanted.
    pub wanted: usize,
    /// Bytes that were in use.
    pub used: usize,
}

/// Memory taken from the driver.
#[derive(Default)]
pub(super) struct Pool<S: Source = Driver> {
    source: S,
    idle: Blocks,
    idle_bytes: usize,
    used: usize,
    peak: usize,
    /// Most bytes to have in use, where not the device alone sets an end.
    limit: Option<usize>,
    /// What was idle before a capture began, untouched until it ends.
    aside: Option<Blocks>,
    /// The first room in a step that there was not.
    refusal: Option<Refusal>,
}

impl<S: Source> Pool<S> {
    /// Sizes come in eight steps between powers of two, so that ragged batches find each other's
    /// blocks.
    fn class(bytes: usize) -> usize {
        let bytes = bytes.max(256);
        let step = (bytes.next_power_of_two() / 16).max(256);
        bytes.next_multiple_of(step)
    }

    /// Address and size of a block.
    pub(super) fn take(&mut self, bytes: usize) -> Result<(u64, usize), Refusal> {
        self.take_size(Self::class(bytes), bytes)
    }

    /// As [`Pool::take`], without room to spare: for what stays.
    pub(super) fn take_exactly(&mut self, bytes: usize) -> Result<(u64, usize), Refusal> {
        self.take_size(bytes.next_multiple_of(512).max(512), bytes)
    }

    /// As [`Pool::take`] in the middle of a step: after a refusal there is no room until
    /// [`Pool::refusal`] has told of it.
    pub(super) fn room(&mut self, bytes: usize) -> Option<(u64, usize)> {
        if self.is_full() {
            return None;
        }
        match self.take(bytes) {
            Ok(block) => Some(block),
            Err(refusal) => {
                self.refusal = Some(refusal);
                None
            }
        }
    }

    /// Whether the step under way was refused room.
    pub(super) fn is_full(&self) -> bool {
        self.refusal.is_some()
    }

    /// The refusal of the step that ends here.
    pub(super) fn refusal(&mut self) -> Option<Refusal> {
        self.refusal.take()
    }

    fn take_size(&mut self, size: usize, wanted: usize) -> Result<(u64, usize), Refusal> {
        if self.limit.is_some_and(|limit| self.used + size > limit) {
            let used = self.used;
            return Err(Refusal { wanted, used });
        }
        let found = self.idle.get_mut(&size).and_then(Vec::pop);
        let address = if let Some(address) = found {
            self.idle_bytes -= size;
            address
        } else {
            let used = self.used;
            self.allocate(size).ok_or(Refusal { wanted, used })?
        };
        self.used += size;
        self.peak = self.peak.max(self.used);
        Ok((address, size))
    }

    fn allocate(&mut self, size: usize) -> Option<u64> {
        self.source.allocate(size).or_else(|| {
            self.free_idle();
            self.source.allocate(size)
        })
    }

    pub(super) fn give(&mut self, address: u64, size: usize) {
        self.used -= size;
        self.idle_bytes += size;
        self.idle.entry(size).or_default().push(address);
    }

    /// Returns idle blocks to the driver; while a graph is captured only those of before, since
    /// what it has recorded writes to its own.
    pub(super) fn free_idle(&mut self) {
        let idle = match &mut self.aside {
            Some(aside) => aside,
            None => {
                self.idle_bytes = 0;
                &mut self.idle
            }
        };
        for (_, blocks) in idle.drain() {
            for address in blocks {
                self.source.free(address);
            }
        }
    }

    /// From here on blocks come from a set of their own.
    pub(super) fn begin_capture(&mut self, own: Blocks) {
        let shared = std::mem::replace(&mut self.idle, own);
        self.idle_bytes = bytes(&self.idle);
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

    pub(super) fn limit(&mut self, limit: Option<usize>) {
        self.limit = limit;
    }

    pub(super) fn reset_peak(&mut self) {
        self.peak = self.used;
    }
}

fn bytes(blocks: &Blocks) -> usize {
    blocks.iter().map(|(size, b)| size * b.len()).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A device of so many bytes.
    struct Small {
        room: usize,
        sizes: HashMap<u64, usize>,
        next: u64,
    }

    impl Source for Small {
        fn allocate(&mut self, size: usize) -> Option<u64> {
            self.room = self.room.checked_sub(size)?;
            self.next += 1;
            self.sizes.insert(self.next, size);
            Some(self.next)
        }

        fn free(&mut self, address: u64) {
            self.room += self.sizes.remove(&address).expect("a block is freed once");
        }
    }

    fn pool(room: usize) -> Pool<Small> {
        Pool {
            source: Small {
                room,
                sizes: HashMap::new(),
                next: 0,
            },
            idle: Blocks::new(),
            idle_bytes: 0,
            used: 0,
            peak: 0,
            limit: None,
            aside: None,
            refusal: None,
        }
    }

    #[test]
    fn sizes_waste_at_most_an_eighth() {
        for bytes in [1, 255, 256, 1000, 5000, 1 << 20, (1 << 20) + 1, 123_456_789] {
            let class = Pool::<Driver>::class(bytes);
            assert!(
                class >= bytes && class <= (bytes + bytes / 8).max(256) + 256,
                "{bytes}"
            );
            assert_eq!(Pool::<Driver>::class(class), class);
        }
    }

    #[test]
    fn blocks_are_handed_out_again_and_counted() {
        let mut pool = pool(4096);
        let (a, size) = pool.take(1000).unwrap();
        assert_eq!((size, pool.used(), pool.idle()), (1024, 1024, 0));
        pool.give(a, size);
        assert_eq!((pool.used(), pool.idle(), pool.peak()), (0, 1024, 1024));
        assert_eq!(pool.take(900).unwrap(), (a, size));
        assert_eq!((pool.used(), pool.idle()), (1024, 0));
        pool.reset_peak();
        pool.give(a, size);
        // What is idle makes way for another size.
        let (b, size) = pool.take_exactly(4096).unwrap();
        assert_eq!((pool.used(), pool.idle(), pool.peak()), (4096, 0, 4096));
        let refusal = Refusal {
            wanted: 1,
            used: 4096,
        };
        assert_eq!(pool.take(1), Err(refusal));
        assert!(!pool.is_full(), "whoever took it knows");
        pool.give(b, size);
        pool.limit(Some(300));
        assert_eq!(
            pool.take(301),
            Err(Refusal {
                wanted: 301,
                used: 0
            })
        );
        pool.take(256).unwrap();
    }

    #[test]
    fn after_a_refusal_nothing_of_the_step_gets_room() {
        let mut pool = pool(4096);
        let kept = pool.room(3000).unwrap();
        assert_eq!(pool.room(2000), None);
        assert_eq!(pool.room(256), None, "though there would be room");
        assert!(pool.is_full());
        let refusal = Refusal {
            wanted: 2000,
            used: kept.1,
        };
        assert_eq!(pool.refusal(), Some(refusal));
        assert_eq!((pool.refusal(), pool.is_full()), (None, false));
        pool.give(kept.0, kept.1);
        assert!(pool.room(2000).is_some(), "the next step has its own luck");
    }

    #[test]
    fn blocks_of_a_capture_are_never_freed_before_its_end() {
        let mut pool = pool(4096);
        let before = pool.room(1024).unwrap();
        pool.give(before.0, before.1);
        pool.begin_capture(Blocks::new());
        let own = pool.room(2048).unwrap();
        pool.give(own.0, own.1);
        // The block of before makes way, the recorded one does not.
        assert!(pool.room(2000 - 256).is_some());
        assert_eq!(pool.room(3072), None);
        let blocks = pool.end_capture();
        assert_eq!(blocks[&own.1], [own.0]);
        assert_eq!(pool.idle(), 0);
        pool.adopt(blocks);
        assert_eq!(pool.idle(), own.1);
    }
}
