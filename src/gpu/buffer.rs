//! A piece of device memory.

use super::context::Cuda;
use super::launch::Arg;

/// A piece of device memory, given back when dropped. One of no bytes stands for room that there
/// was not.
pub struct Buffer {
    cuda: Cuda,
    address: u64,
    size: usize,
}

impl Buffer {
    pub(super) fn new(cuda: Cuda, (address, size): (u64, usize)) -> Self {
        Buffer {
            cuda,
            address,
            size,
        }
    }

    pub(crate) fn address(&self) -> u64 {
        self.address
    }

    pub(crate) fn bytes(&self) -> usize {
        self.size
    }

    /// The buffer for a kernel that reads or writes its first `bytes` bytes.
    ///
    /// # Panics
    /// When it has fewer.
    pub(crate) fn holds(&self, bytes: usize) -> Arg {
        self.holds_from(0, bytes)
    }

    /// As [`Buffer::holds`], from `offset` bytes on.
    pub(crate) fn holds_from(&self, offset: usize, bytes: usize) -> Arg {
        if self.size == 0 {
            return Arg::Void;
        }
        assert!(
            offset + bytes <= self.size,
            "a kernel reads or writes {bytes} bytes from {offset} on of {}",
            self.size
        );
        Arg::Pointer(self.address + offset as u64)
    }
}

impl Drop for Buffer {
    fn drop(&mut self) {
        if self.size > 0 {
            self.cuda.give(self.address, self.size);
        }
    }
}
