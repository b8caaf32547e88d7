//! Ctrl-C ends a run at the next answer or step, so that nothing finished is lost.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// Set once the user asked to stop. Clones share it.
#[derive(Debug, Clone, Default)]
pub struct Interrupt(Arc<AtomicBool>);

impl Interrupt {
    /// One that hears Ctrl-C. A second Ctrl-C ends the process at once, with `second`.
    pub fn listen(runtime: &tokio::runtime::Handle, second: i32) -> Self {
        let interrupt = Interrupt::default();
        let heard = interrupt.clone();
        runtime.spawn(async move {
            while tokio::signal::ctrl_c().await.is_ok() {
                if heard.0.swap(true, Ordering::SeqCst) {
                    std::process::exit(second);
                }
            }
        });
        interrupt
    }

    /// Whether the user asked to stop.
    pub fn is_set(&self) -> bool {
        self.0.load(Ordering::SeqCst)
    }

    /// Whether the user asked to stop; the wish is then seen to, and another can come.
    pub fn take(&self) -> bool {
        self.0.swap(false, Ordering::SeqCst)
    }

    /// Asks to stop.
    pub fn set(&self) {
        self.0.store(true, Ordering::SeqCst);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_clone_hears_it_and_no_other_interrupt_does() {
        let (interrupt, other) = (Interrupt::default(), Interrupt::default());
        let clone = interrupt.clone();
        assert!(!clone.is_set());
        interrupt.set();
        assert!(clone.is_set() && !other.is_set());
        assert!(clone.take() && !interrupt.is_set() && !interrupt.take());
    }
}
