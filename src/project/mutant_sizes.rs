//! How large a change without a direction has to be to do harm.
//!
//! Random matrices of eight times an adapter's norm ruin one base and leave another as it was, so the
//! norm tells nothing of the harm. What tells it, and takes no part in the verdict on a mutant, is how
//! likely the base's own answers still are.

use crate::flow::Measurement;
use crate::lora::{LoadedAdapter, Mutated};
use crate::run::{Session, own_answers};

use super::error::ProjectError;
use super::open::Project;
use super::order::Order;

/// Times the adapter's own size that are tried, in this order.
const TIMES: [f32; 5] = [4.0, 8.0, 16.0, 32.0, 64.0];
/// What the base's own answers have to be less likely by, in nats a token: a perplexity 1.28 times as
/// high.
const HARM: f64 = 0.25;

/// A size, and whether it does harm.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Size {
    /// Times the adapter's own.
    pub times: f32,
    pub harms: bool,
}

impl Size {
    /// For people: `16 times its size`.
    pub(super) fn told(self) -> String {
        let times = self.times;
        match self.harms {
            true => format!("{times} times its size"),
            false => format!("{times} times its size, and still harmless"),
        }
    }
}

impl Project {
    /// The smallest size at which a mutant does harm, else the largest.
    ///
    /// # Errors
    /// Whatever stops an answer.
    pub(super) fn harmful_size(
        &self,
        session: &Session,
        order: &Order,
        base: &Measurement,
        mutated: &Mutated,
    ) -> Result<Size, ProjectError> {
        let mut size = Size {
            times: 1.0,
            harms: false,
        };
        for times in TIMES {
            let scale = mutated.scale * times;
            let adapter = LoadedAdapter::new(&mutated.adapter, session.decoder.config(), scale);
            let (asking, mut on_event) = (self.asking(session)?, self.listener());
            let own = own_answers(asking, &order.suites, base, &[adapter], &mut on_event)?;
            let kept = own.first().copied().flatten().and_then(|own| own.kept);
            // NaN, of numbers that ran over, is harm.
            let harms = kept.is_some_and(|kept| kept.drift() >= HARM || kept.drift().is_nan());
            size = Size { times, harms };
            if harms {
                break;
            }
        }
        Ok(size)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_size_that_does_nothing_says_so() {
        let told = |times, harms| Size { times, harms }.told();
        assert_eq!(told(16.0, true), "16 times its size");
        assert_eq!(told(64.0, false), "64 times its size, and still harmless");
    }
}
