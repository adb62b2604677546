//! Numbers that look random and follow from a seed.

use std::time::Duration;

pub(crate) struct Random(u64);

impl Random {
    pub(crate) fn new(seed: u64) -> Random {
        Random(mix(seed))
    }

    /// Another source, whose numbers have nothing to do with this one's.
    pub(crate) fn fork(&mut self) -> Random {
        Random::new(self.next())
    }

    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        mix(self.0)
    }

    /// A number below `bound`.
    pub(crate) fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound.max(1)
    }

    /// True once in `n` times; never if that is 0.
    pub(crate) fn one_in(&mut self, n: u64) -> bool {
        n > 0 && self.below(n) == 0
    }

    /// From 1 to `max`, a power of two; each order of magnitude as often as the others.
    pub(crate) fn size(&mut self, max: u64) -> u64 {
        let bound = 1 << self.below(u64::from(max.ilog2()) + 1);
        bound + self.below(bound.min(max - bound + 1))
    }

    /// Up to `max`, as [`size`](Random::size), in microseconds.
    pub(crate) fn time(&mut self, max: Duration) -> Duration {
        let max = (max.as_micros() as u64).next_power_of_two();
        Duration::from_micros(self.size(max))
    }

    /// One of several.
    pub(crate) fn pick<T: Copy>(&mut self, of: &[T]) -> T {
        of[self.below(of.len() as u64) as usize]
    }
}

/// A bijection in which every bit of the argument changes half of the result's.
pub(crate) fn mix(mut n: u64) -> u64 {
    n = (n ^ (n >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    n = (n ^ (n >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    n ^ (n >> 31)
}
