//! What one rendering may cost, and all renderings of an import together. Far above what any task or
//! configuration needs, far below what a person would wait for.
//!
//! An import runs on one thread, and what is left of its allowance is kept there: every template,
//! wherever it is rendered, draws on it.

use std::cell::Cell;

/// Most nodes that are evaluated.
const STEPS: u64 = 2_000_000;
/// Most nodes of an import.
const STEPS_IN_ALL: u64 = 50_000_000;
/// Most bytes of text and entries of lists that are made on the way.
const BYTES: u64 = 32 << 20;
/// The same of an import.
const BYTES_IN_ALL: u64 = 2 << 30;

thread_local! {
    static LEFT: Cell<(u64, u64)> = const { Cell::new((STEPS_IN_ALL, BYTES_IN_ALL)) };
}

/// An import begins: its allowance is whole.
pub(in crate::import) fn begin() {
    LEFT.set((STEPS_IN_ALL, BYTES_IN_ALL));
}

/// What is left of a rendering's budget.
#[derive(Debug)]
pub(super) struct Budget {
    steps: Cell<u64>,
    bytes: Cell<u64>,
    given: (u64, u64),
}

impl Budget {
    pub(super) fn new() -> Self {
        let (steps, bytes) = LEFT.get();
        let given = (steps.min(STEPS), bytes.min(BYTES));
        Budget {
            steps: Cell::new(given.0),
            bytes: Cell::new(given.1),
            given,
        }
    }

    /// One more node.
    pub(super) fn step(&self) -> Result<(), String> {
        let left = self.steps.get().checked_sub(1);
        let left = left.ok_or_else(|| {
            self.steps.set(0);
            format!("its template takes more than {} steps", self.given.0)
        })?;
        self.steps.set(left);
        Ok(())
    }

    /// So much text, or so many entries, before they are made.
    pub(super) fn make(&self, bytes: usize) -> Result<(), String> {
        let left = self.bytes.get().checked_sub(bytes as u64);
        let left = left.ok_or_else(|| {
            let most = crate::text::bytes(self.given.1);
            format!("its template makes more than {most} of text")
        })?;
        self.bytes.set(left);
        Ok(())
    }
}

impl Drop for Budget {
    fn drop(&mut self) {
        let (steps, bytes) = LEFT.get();
        let spent = |given: u64, left: &Cell<u64>| given - left.get();
        LEFT.set((
            steps.saturating_sub(spent(self.given.0, &self.steps)),
            bytes.saturating_sub(spent(self.given.1, &self.bytes)),
        ));
    }
}
