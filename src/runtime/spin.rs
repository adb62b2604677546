//! Whether to spin before sleeping.
//!
//! To sleep and be woken costs a core about 5 µs, and the peer that wakes it about as much. So a
//! core that expects work sooner than that looks for it in user space first. That pays where
//! completions come one by one, as with one busy connection; where they come in bunches the sleep
//! is shared by all of them. And it pays where they come soon: what comes after 10 µs has cost more
//! than the sleep, and would often have come together with something else.

use std::cell::Cell;
use std::time::Duration;

/// What a core does before it sleeps in the kernel.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
#[non_exhaustive]
pub enum Spin {
    /// Sleeps at once.
    Never,
    /// Spins for at most the limit as long as that pays: if completions come one by one, and sooner
    /// than a sleep would cost, some 8 µs on the average.
    #[default]
    Adaptive,
    /// Spins for the limit each time.
    Always,
}

/// The longest spin unless the builder says otherwise.
pub(super) const LIMIT: Duration = Duration::from_micros(50);
/// A turn that brought more completions shares its sleep among them.
const FEW: u32 = 2;
/// Spins that take longer than this on the average, nanoseconds, cost more than they save.
const PAYS_NS: u64 = 8_000;
/// The part of the average that each spin makes up.
const WEIGHT: u64 = 16;
/// After this many sleeps without a spin it is tried once more.
const RETRY: u32 = 64;

/// The decision, and what it is based on.
#[derive(Debug)]
pub(super) struct Spinner {
    mode: Spin,
    limit_ns: u64,
    /// What late spins have taken, averaged, nanoseconds.
    spun_ns: Cell<u64>,
    sleeps: Cell<u32>,
    /// Completions of late turns, averaged, times 64.
    bunch: Cell<u32>,
}

impl Spinner {
    pub(super) fn new(mode: Spin, limit: Duration) -> Spinner {
        Spinner {
            mode,
            limit_ns: limit.as_nanos() as u64,
            spun_ns: Cell::new(0),
            sleeps: Cell::new(0),
            bunch: Cell::new(0),
        }
    }

    /// How long to spin now, nanoseconds. 0: not at all.
    #[inline]
    pub(super) fn limit_ns(&self) -> u64 {
        match self.mode {
            Spin::Never => 0,
            Spin::Always => self.limit_ns,
            Spin::Adaptive if self.pays() => self.limit_ns,
            Spin::Adaptive => 0,
        }
    }

    fn pays(&self) -> bool {
        if self.bunch.get() > FEW * 64 + 32 {
            return false;
        }
        if self.spun_ns.get() <= PAYS_NS {
            return true;
        }
        let sleeps = self.sleeps.get() + 1;
        self.sleeps.set(sleeps % RETRY);
        sleeps == RETRY
    }

    /// Learns from a spin that took so long, whether something came or not.
    #[inline]
    pub(super) fn spun(&self, ns: u64) {
        let average = self.spun_ns.get();
        self.spun_ns.set(average - average / WEIGHT + ns / WEIGHT);
    }

    /// Learns from a turn that took `completions`.
    #[inline]
    pub(super) fn turned(&self, completions: usize) {
        let bunch = self.bunch.get();
        let new = (completions as u32).min(1 << 16);
        self.bunch.set(bunch - bunch / 8 + 8 * new);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn adaptive() -> Spinner {
        Spinner::new(Spin::Adaptive, LIMIT)
    }

    /// How many of `sleeps` are spun for, if each spin takes so long.
    fn spins(spinner: &Spinner, sleeps: u32, ns: u64) -> u32 {
        let spun = (0..sleeps).filter(|_| {
            let spins = spinner.limit_ns() > 0;
            if spins {
                spinner.spun(ns);
            }
            spins
        });
        spun.count() as u32
    }

    #[test]
    fn spinning_stops_when_it_does_not_pay_and_is_tried_again_now_and_then() {
        let limit = LIMIT.as_nanos() as u64;
        for too_long in [limit, 2 * PAYS_NS] {
            let spinner = adaptive();
            let tried = spins(&spinner, 10_000, too_long);
            let most = 10_000 / RETRY + 2 * WEIGHT as u32;
            assert!((2..=most).contains(&tried), "{tried}");
            // What comes at once is noticed: a core that was idle becomes quick again.
            let tried = spins(&spinner, 10_000, 2_000);
            assert!(tried > 5_000, "{tried}");
        }
    }

    #[test]
    fn what_comes_soon_is_spun_for_each_time() {
        let spinner = adaptive();
        assert_eq!(spins(&spinner, 10_000, PAYS_NS / 2), 10_000);
        // Nothing for once is no reason to stop.
        spinner.spun(LIMIT.as_nanos() as u64);
        assert_eq!(spins(&spinner, 10_000, PAYS_NS / 2), 10_000);
    }

    #[test]
    fn bunches_of_completions_are_not_spun_for() {
        let spinner = adaptive();
        for _ in 0..100 {
            spinner.turned(64);
        }
        assert_eq!(spinner.limit_ns(), 0);
        for _ in 0..100 {
            spinner.turned(2);
        }
        assert!(spinner.limit_ns() > 0);
    }
}
