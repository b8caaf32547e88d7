//! Lists of the host side by side in one buffer of the device.

use crate::gpu::{Buffer, Cuda};

/// Where each list's numbers are among all.
#[derive(Clone)]
pub(crate) struct Lists {
    /// First number and how many, in the host's order.
    order: Vec<(usize, usize)>,
}

impl Lists {
    pub(super) fn new(order: Vec<(usize, usize)>) -> Self {
        Lists { order }
    }

    /// Numbers of all lists.
    pub(crate) fn count(&self) -> usize {
        self.order.iter().map(|(_, len)| len).sum()
    }

    /// Copies lists to a buffer of F32 numbers.
    ///
    /// # Panics
    /// When their lengths are others.
    pub(crate) fn write(&self, cuda: &Cuda, buffer: &Buffer, lists: &[&[f32]]) {
        assert_eq!(self.order.len(), lists.len());
        for (&(at, len), list) in self.order.iter().zip(lists) {
            assert_eq!(len, list.len());
            cuda.write(buffer, at * 4, list);
        }
    }

    /// The lists of a buffer.
    pub(crate) fn read(&self, cuda: &Cuda, buffer: &Buffer) -> Vec<Vec<f32>> {
        let all: Vec<f32> = cuda.read(buffer, 0, self.count());
        let list = |&(at, len): &(usize, usize)| all[at..at + len].to_vec();
        self.order.iter().map(list).collect()
    }
}
