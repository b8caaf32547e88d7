//! Random numbers without state: Philox4x32-10, a function of a key and a counter.
//!
//! J. K. Salmon, M. A. Moraes, R. O. Dror, D. E. Shaw, "Parallel random numbers: as easy as 1, 2,
//! 3" (SC 2011). A draw is addressed by (seed, stream, place), so a resumed run repeats the draws
//! of an undisturbed one and nothing of the generator has to be saved.

const MULTIPLIERS: [u32; 2] = [0xD251_1F53, 0xCD9E_8D57];
const WEYL: [u32; 2] = [0x9E37_79B9, 0xBB67_AE85];
const ROUNDS: usize = 10;

/// What a row of draws is for. Two purposes never share a counter, whatever their places are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u32)]
pub enum Purpose {
    /// Order of the examples in an epoch.
    Order = 1,
    /// Which rows `path#200` and a share take.
    Take = 2,
    /// Which groups go to the validation side.
    Split = 3,
    /// Which inputs of an adapter are dropped.
    Dropout = 4,
    /// First values of an adapter's A matrices.
    Init = 5,
    /// Which token of an answer is drawn.
    Sampling = 6,
    /// Which settings and probes `qeval tune` takes.
    Tuning = 12,
    /// Which kept probes stand beside the lost ones in an ablation.
    Ablation = 21,
    /// How `qeval suite check --mutants` changes adapters, and the texts that some learn.
    Mutant = 13,
    /// What a simulated comparison comes to.
    Simulation = 14,
}

/// The generator: 128 random bits for each 128-bit counter under a 64-bit key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Philox {
    key: [u32; 2],
}

impl Philox {
    /// A generator keyed by a seed.
    pub fn new(key: u64) -> Self {
        Philox {
            key: [key as u32, (key >> 32) as u32],
        }
    }

    /// The four words at a counter.
    pub fn block(&self, counter: [u32; 4]) -> [u32; 4] {
        let mut c = counter;
        let mut k = self.key;
        for _ in 0..ROUNDS {
            let p0 = u64::from(MULTIPLIERS[0]) * u64::from(c[0]);
            let p1 = u64::from(MULTIPLIERS[1]) * u64::from(c[2]);
            c = [
                (p1 >> 32) as u32 ^ c[1] ^ k[0],
                p1 as u32,
                (p0 >> 32) as u32 ^ c[3] ^ k[1],
                p0 as u32,
            ];
            k = [k[0].wrapping_add(WEYL[0]), k[1].wrapping_add(WEYL[1])];
        }
        c
    }

    /// A row of draws for one purpose at one place (an epoch, a source, a step).
    pub fn draws(&self, purpose: Purpose, place: u64) -> Draws {
        Draws {
            philox: *self,
            purpose,
            place,
            block: 0,
            words: [0; 4],
            used: 4,
        }
    }
}

/// Words of one purpose and place, in order.
#[derive(Debug, Clone)]
pub struct Draws {
    philox: Philox,
    purpose: Purpose,
    place: u64,
    block: u32,
    words: [u32; 4],
    used: usize,
}

impl Draws {
    /// The next 32 random bits.
    pub fn word(&mut self) -> u32 {
        if self.used == 4 {
            let place = [self.place as u32, (self.place >> 32) as u32];
            self.words = self
                .philox
                .block([self.block, place[0], place[1], self.purpose as u32]);
            self.block = self.block.wrapping_add(1);
            self.used = 0;
        }
        self.used += 1;
        self.words[self.used - 1]
    }

    /// Uniform in [0, 1), a multiple of 2^-24.
    pub fn uniform(&mut self) -> f32 {
        unit(self.word())
    }

    /// Uniform in 0..n without bias (D. Lemire, "Fast random integer generation in an interval",
    /// 2019). 0 when n is 0 or 1.
    pub fn below(&mut self, n: u32) -> u32 {
        if n < 2 {
            return 0;
        }
        let refused_below = n.wrapping_neg() % n;
        loop {
            let product = u64::from(self.word()) * u64::from(n);
            if product as u32 >= refused_below {
                return (product >> 32) as u32;
            }
        }
    }

    /// Puts a slice of at most 2^32 - 1 items in random order (Fisher and Yates).
    pub fn shuffle<T>(&mut self, items: &mut [T]) {
        for i in (1..items.len()).rev() {
            items.swap(i, self.below(i as u32 + 1) as usize);
        }
    }
}

/// A word as a number in [0, 1): its 24 upper bits, which an `f32` holds exactly.
pub fn unit(word: u32) -> f32 {
    (word >> 8) as f32 * (1.0 / 16_777_216.0)
}

/// 0..n in the random order of one epoch.
pub fn shuffled(n: usize, seed: u64, purpose: Purpose, place: u64) -> Vec<usize> {
    let mut order: Vec<usize> = (0..n).collect();
    Philox::new(seed).draws(purpose, place).shuffle(&mut order);
    order
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The lines `philox4x32 10` of `tests/kat_vectors` in Random123 1.14.
    #[test]
    fn known_answers_of_random123() {
        let zero = Philox::new(0).block([0; 4]);
        assert_eq!(zero, [0x6627_e8d5, 0xe169_c58d, 0xbc57_ac4c, 0x9b00_dbd8]);
        let ones = Philox::new(u64::MAX).block([u32::MAX; 4]);
        assert_eq!(ones, [0x408f_276d, 0x41c8_3b0e, 0xa20b_c7c6, 0x6d54_51fd]);
        let pi = Philox::new(0x299f_31d0_a409_3822).block([
            0x243f_6a88,
            0x85a3_08d3,
            0x1319_8a2e,
            0x0370_7344,
        ]);
        assert_eq!(pi, [0xd16c_fe09, 0x94fd_cceb, 0x5001_e420, 0x2412_6ea1]);
    }

    #[test]
    fn purposes_and_places_do_not_share_draws() {
        let first = |purpose, place| Philox::new(7).draws(purpose, place).word();
        let mut seen = vec![
            first(Purpose::Order, 0),
            first(Purpose::Order, 1),
            first(Purpose::Order, 1 << 32),
            first(Purpose::Take, 0),
            first(Purpose::Dropout, 0),
        ];
        seen.sort_unstable();
        seen.dedup();
        assert_eq!(seen.len(), 5);
    }

    #[test]
    fn shuffle_is_a_permutation_that_the_seed_decides() {
        let a = shuffled(100, 42, Purpose::Order, 0);
        assert_eq!(a, shuffled(100, 42, Purpose::Order, 0));
        assert_ne!(a, shuffled(100, 42, Purpose::Order, 1));
        assert_ne!(a, shuffled(100, 43, Purpose::Order, 0));
        let mut sorted = a.clone();
        sorted.sort_unstable();
        assert_eq!(sorted, (0..100).collect::<Vec<_>>());
        assert_ne!(a, sorted);
    }

    #[test]
    fn below_reaches_every_value_about_equally() {
        let mut draws = Philox::new(1).draws(Purpose::Sampling, 0);
        let mut counts = [0usize; 7];
        for _ in 0..70_000 {
            counts[draws.below(7) as usize] += 1;
        }
        assert!(
            counts.iter().all(|&c| (9_600..10_400).contains(&c)),
            "{counts:?}"
        );
    }

    #[test]
    fn uniform_never_reaches_one() {
        assert_eq!(unit(0), 0.0);
        assert!(unit(u32::MAX) < 1.0);
    }
}
