//! Whether to spin before sleeping.
//!
//! To sleep and be woken costs a core 5 to 20 µs, and the peer that wakes it about as much. So a
//! core that expects work within a few microseconds looks for it in user space first. That pays
//! where completions come one by one, as with one busy connection; where they come in bunches the
//! sleep is shared by all of them, and spinning only burns the processor.

use std::cell::Cell;
use std::time::Duration;

/// What a core does before it sleeps in the kernel.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
#[non_exhaustive]
pub enum Spin {
    /// Sleeps at once.
    Never,
    /// Spins for at most the limit as long as that pays: if completions come one by one, and come
    /// while it spins.
    #[default]
    Adaptive,
    /// Spins for the limit each time.
    Always,
}

/// The longest spin unless the builder says otherwise.
pub(super) const LIMIT: Duration = Duration::from_micros(50);
/// A turn that brought more completions shares its sleep among them.
const FEW: u32 = 2;
/// Spins that may fail in a row before it is given up.
const CREDIT_MAX: u32 = 16;
/// What a spin that paid earns.
const REWARD: u32 = 2;
/// After this many sleeps without a spin it is tried once more.
const RETRY: u32 = 64;

/// The decision, and what it is based on.
#[derive(Debug)]
pub(super) struct Spinner {
    mode: Spin,
    limit_ns: u64,
    credit: Cell<u32>,
    sleeps: Cell<u32>,
    /// Completions of late turns, averaged, times 64.
    bunch: Cell<u32>,
}

impl Spinner {
    pub(super) fn new(mode: Spin, limit: Duration) -> Spinner {
        Spinner {
            mode,
            limit_ns: limit.as_nanos() as u64,
            credit: Cell::new(CREDIT_MAX),
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
        if self.credit.get() > 0 {
            return true;
        }
        let sleeps = self.sleeps.get() + 1;
        self.sleeps.set(sleeps % RETRY);
        sleeps == RETRY
    }

    /// Learns from a spin.
    #[inline]
    pub(super) fn spun(&self, paid: bool) {
        let credit = self.credit.get();
        self.credit.set(if paid {
            (credit + REWARD).min(CREDIT_MAX)
        } else {
            credit.saturating_sub(1)
        });
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

    #[test]
    fn spinning_stops_when_it_does_not_pay_and_is_tried_again_now_and_then() {
        let spinner = adaptive();
        let mut spins = 0;
        for _ in 0..10_000 {
            if spinner.limit_ns() > 0 {
                spins += 1;
                spinner.spun(false);
            }
        }
        assert!(
            (CREDIT_MAX..10_000 / RETRY + 2 * CREDIT_MAX).contains(&spins),
            "{spins}"
        );
        spinner.spun(true);
        assert!(
            spinner.limit_ns() > 0,
            "one that paid is followed by another"
        );
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
