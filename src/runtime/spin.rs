//! Whether to spin before sleeping.
//!
//! To sleep and be woken costs a core some 5 µs of CPU and up to 20 µs of time, and the peer that
//! wakes it as much or more. So a core that expects work soon looks for it in user space first.
//! That pays where completions come one by one, as with one busy connection; where they come in
//! bunches the sleep is shared by all of them. And it pays where they come soon: what comes later
//! than a sleep costs both sides has cost more than it saves, and would often have come together
//! with something else. For a wake by another core it pays longer, since that core has to kick one
//! that sleeps.

use std::cell::Cell;
use std::time::Duration;

/// What a core does before it sleeps in the kernel.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
#[non_exhaustive]
pub enum Spin {
    /// Sleeps at once.
    Never,
    /// Spins as long as that pays: for at most 14 µs where completions come one by one, and two of
    /// five within that time; for at most the limit where other cores wake it while it spins.
    #[default]
    Adaptive,
    /// Spins for the limit each time.
    Always,
}

/// The longest spin unless the builder says otherwise.
pub(super) const LIMIT: Duration = Duration::from_micros(50);
/// A turn that brought more completions shares its sleep among them.
const FEW: u32 = 2;
/// A spin that took longer than this until a completion came, nanoseconds, has cost more than it
/// has saved.
const PAYS_NS: u64 = 14_000;
/// What a spin that pays earns, and what one that does not costs: two of five have to. One that
/// pays has saved a sleep, the peer's part in ending it, and the time in which neither of them
/// worked. And a core that sends something and sleeps until the next time fails every other time.
const EARNS: u32 = 3;
const COSTS: u32 = 2;
/// Spins in a row that may not pay before it is given up.
const PATIENCE: u32 = 16;
const CREDIT_MAX: u32 = PATIENCE * COSTS;
/// After this many sleeps without a spin it is tried once more.
const RETRY: u32 = 64;

/// What has ended a spin.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Found {
    Nothing,
    Completion,
    /// Another core or thread has woken a task.
    Wake,
}

/// The decision, and what it is based on.
#[derive(Debug)]
pub(super) struct Spinner {
    mode: Spin,
    limit_ns: u64,
    /// What is known of waits before which nothing was submitted, and of those before which
    /// something was: the former last until something new comes, the latter mostly until the peer
    /// has dealt with an answer. Of short-lived connections the next one comes 4 µs after the end
    /// of the last, and the end of one 20 µs after its answer.
    waits: [Waits; 2],
    /// Which of them this wait is.
    this: Cell<usize>,
    /// SQEs until the last wait.
    sqes: Cell<u64>,
    /// Completions of late turns, averaged, times 64.
    bunch: Cell<u32>,
    /// The last turn that it learned from.
    turn: Cell<u64>,
}

/// Whether to spin in waits of one kind.
#[derive(Debug)]
struct Waits {
    credit: Cell<u32>,
    /// The part of it that wakes have earned.
    wakes: Cell<u32>,
    sleeps: Cell<u32>,
}

impl Spinner {
    pub(super) fn new(mode: Spin, limit: Duration) -> Spinner {
        Spinner {
            mode,
            limit_ns: limit.as_nanos() as u64,
            waits: [Waits::new(), Waits::new()],
            this: Cell::new(0),
            sqes: Cell::new(0),
            bunch: Cell::new(0),
            turn: Cell::new(0),
        }
    }

    /// How long to spin now, when so many SQEs have been submitted or staged in all, nanoseconds.
    /// 0: not at all.
    #[inline]
    pub(super) fn limit_ns(&self, sqes: u64) -> u64 {
        match self.mode {
            Spin::Never => 0,
            Spin::Always => self.limit_ns,
            Spin::Adaptive => self.adaptive_ns(sqes),
        }
    }

    fn adaptive_ns(&self, sqes: u64) -> u64 {
        let has_submitted = sqes != self.sqes.replace(sqes);
        self.this.set(has_submitted.into());
        if self.bunch.get() > FEW * 64 + 32 {
            return 0;
        }
        self.waits[self.this.get()].limit_ns(self.limit_ns)
    }

    /// Learns from a spin that took so long.
    #[inline]
    pub(super) fn spun(&self, found: Found, ns: u64) {
        self.waits[self.this.get()].spun(found, ns);
    }

    /// Learns from the turn of this number, which took `completions`, and from those since the last
    /// one, which took none.
    #[inline]
    pub(super) fn turned(&self, turn: u64, completions: usize) {
        let mut bunch = self.bunch.get();
        let quiet = turn - self.turn.replace(turn) - 1;
        // After a hundred nothing is left of what was before.
        for _ in 0..quiet.min(100) {
            bunch -= bunch / 8;
        }
        let new = (completions as u32).min(1 << 16);
        self.bunch.set(bunch - bunch / 8 + 8 * new);
    }
}

impl Waits {
    fn new() -> Waits {
        Waits {
            credit: Cell::new(CREDIT_MAX),
            wakes: Cell::new(CREDIT_MAX),
            sleeps: Cell::new(0),
        }
    }

    fn limit_ns(&self, longest: u64) -> u64 {
        if self.credit.get() > 0 {
            let by_wakes = self.wakes.get() > 0;
            return if by_wakes {
                longest
            } else {
                PAYS_NS.min(longest)
            };
        }
        let sleeps = self.sleeps.get() + 1;
        self.sleeps.set(sleeps % RETRY);
        if sleeps == RETRY { longest } else { 0 }
    }

    fn spun(&self, found: Found, ns: u64) {
        let learn = |credit: &Cell<u32>, pays: bool| {
            credit.set(match pays {
                true => (credit.get() + EARNS).min(CREDIT_MAX),
                false => credit.get().saturating_sub(COSTS),
            });
        };
        let by_wake = found == Found::Wake;
        let in_time = found == Found::Completion && ns <= PAYS_NS;
        learn(&self.credit, by_wake || in_time);
        learn(&self.wakes, by_wake);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn adaptive() -> Spinner {
        Spinner::new(Spin::Adaptive, LIMIT)
    }

    /// How many of `waits` are spun for, if nothing was submitted and each spin ends like this.
    fn spins(spinner: &Spinner, waits: u32, found: Found, ns: u64) -> u32 {
        let spun = (0..waits).filter(|_| {
            let spins = spinner.limit_ns(0) > 0;
            if spins {
                spinner.spun(found, ns);
            }
            spins
        });
        spun.count() as u32
    }

    #[test]
    fn spinning_stops_when_it_does_not_pay_and_is_tried_again_now_and_then() {
        let limit = LIMIT.as_nanos() as u64;
        let late = 2 * PAYS_NS;
        for (found, ns) in [(Found::Nothing, limit), (Found::Completion, late)] {
            let spinner = adaptive();
            let tried = spins(&spinner, 10_000, found, ns);
            let most = 10_000 / RETRY + 2 * PATIENCE;
            assert!((PATIENCE..=most).contains(&tried), "{tried}");
            // What comes soon is noticed: a core that was idle becomes quick again.
            let tried = spins(&spinner, 10_000, Found::Completion, PAYS_NS / 2);
            assert!(tried > 10_000 - 2 * RETRY, "{tried}");
        }
    }

    #[test]
    fn what_comes_soon_and_what_another_core_sends_is_spun_for() {
        let spinner = adaptive();
        let soon = PAYS_NS / 2;
        assert_eq!(spins(&spinner, 10_000, Found::Completion, soon), 10_000);
        for (found, ns) in [(Found::Wake, 3 * PAYS_NS), (Found::Completion, soon)] {
            for _ in 0..1_000 {
                assert_eq!(spins(&spinner, 2, found, ns), 2);
                assert_eq!(spins(&spinner, 3, Found::Nothing, PAYS_NS), 3);
            }
        }
        // One of three is not enough.
        let tried = (0..1_000).map(|_| {
            spins(&spinner, 1, Found::Completion, soon)
                + spins(&spinner, 2, Found::Nothing, PAYS_NS)
        });
        let tried = tried.sum::<u32>();
        assert!(tried < 1_000, "{tried} of 3,000");
    }

    #[test]
    fn only_a_core_that_others_wake_spins_for_the_whole_limit() {
        let spinner = adaptive();
        let limit = LIMIT.as_nanos() as u64;
        assert_eq!(spinner.limit_ns(0), limit);
        spins(&spinner, 100, Found::Completion, PAYS_NS / 2);
        assert_eq!(spinner.limit_ns(0), PAYS_NS);
        spins(&spinner, 1, Found::Wake, PAYS_NS / 2);
        assert_eq!(spinner.limit_ns(0), limit);
        // A smaller limit holds for all.
        let spinner = Spinner::new(Spin::Adaptive, Duration::from_nanos(PAYS_NS / 2));
        spins(&spinner, 100, Found::Completion, 1);
        assert_eq!(spinner.limit_ns(0), PAYS_NS / 2);
    }

    #[test]
    fn waits_after_something_was_submitted_are_learned_apart() {
        let spinner = adaptive();
        let mut sqes = 0;
        let (mut with, mut without) = (0, 0);
        for _ in 0..1_000 {
            sqes += 1;
            if spinner.limit_ns(sqes) > 0 {
                spinner.spun(Found::Nothing, PAYS_NS);
                with += 1;
            }
            if spinner.limit_ns(sqes) > 0 {
                spinner.spun(Found::Completion, PAYS_NS / 2);
                without += 1;
            }
        }
        assert!(with < 100, "{with}");
        assert_eq!(without, 1_000);
    }

    #[test]
    fn bunches_of_completions_are_not_spun_for() {
        let spinner = adaptive();
        let mut turns = 0_u64;
        let mut turned = |quiet: u32, completions| {
            turns += u64::from(quiet) + 1;
            spinner.turned(turns, completions);
        };
        for _ in 0..100 {
            turned(0, 64);
        }
        assert_eq!(spinner.limit_ns(0), 0);
        for _ in 0..100 {
            turned(0, 2);
        }
        assert!(spinner.limit_ns(0) > 0);
        // Turns that took none, and were not reported, count as well.
        turned(0, 64);
        assert_eq!(spinner.limit_ns(0), 0);
        turned(50, 1);
        assert!(spinner.limit_ns(0) > 0);
    }
}
