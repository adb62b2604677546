//! Ticks at a fixed period.

use std::future::poll_fn;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use super::{Instant, Sleep, sleep_until};

/// A tick that is taken later than this is missed, however long the period.
const LATE_MAX: Duration = Duration::from_millis(5);

/// Ticks every `period`, the first time at once.
///
/// # Panics
///
/// If `period` is zero.
///
/// # Examples
///
/// ```
/// use std::time::Duration;
/// use corering::time::interval;
///
/// # fn main() -> std::io::Result<()> {
/// corering::Runtime::new()?.block_on(async {
///     let mut ticks = interval(Duration::from_millis(2));
///     let first = ticks.tick().await;
///     assert_eq!(ticks.tick().await, first + Duration::from_millis(2));
/// });
/// # Ok(())
/// # }
/// ```
#[track_caller]
pub fn interval(period: Duration) -> Interval {
    interval_at(Instant::now(), period)
}

/// Ticks every `period`, the first time at `start`.
///
/// # Panics
///
/// If `period` is zero.
///
/// # Examples
///
/// ```
/// use std::time::Duration;
/// use corering::time::{Instant, interval_at};
///
/// # fn main() -> std::io::Result<()> {
/// corering::Runtime::new()?.block_on(async {
///     let period = Duration::from_millis(2);
///     let start = Instant::now() + period;
///     assert_eq!(interval_at(start, period).tick().await, start);
/// });
/// # Ok(())
/// # }
/// ```
#[track_caller]
pub fn interval_at(start: Instant, period: Duration) -> Interval {
    assert!(
        !period.is_zero(),
        "the period of an interval must not be zero"
    );
    Interval {
        sleep: sleep_until(start),
        period,
        missed: MissedTickBehavior::default(),
    }
}

/// Ticks at a fixed period; made by [`interval`] and [`interval_at`].
#[derive(Debug)]
pub struct Interval {
    /// Its deadline is the time of the next tick.
    sleep: Sleep,
    period: Duration,
    missed: MissedTickBehavior,
}

impl Interval {
    /// Waits for the next tick and gives the instant at which it was due.
    ///
    /// # Cancellation
    ///
    /// Nothing is lost when the future is dropped: a tick that was not given is given next time.
    ///
    /// # Panics
    ///
    /// The future panics when it is polled outside a runtime.
    #[inline]
    pub fn tick(&mut self) -> impl Future<Output = Instant> + '_ {
        poll_fn(|cx| self.poll_tick(cx))
    }

    /// [`tick`](Self::tick) for futures that are written by hand.
    ///
    /// # Panics
    ///
    /// Outside a runtime.
    pub fn poll_tick(&mut self, cx: &mut Context<'_>) -> Poll<Instant> {
        ready!(Pin::new(&mut self.sleep).poll(cx));
        let (due, now) = (self.sleep.deadline(), Instant::now());
        self.sleep
            .restart(self.missed.next(due, now, self.period), now);
        Poll::Ready(due)
    }

    /// The time between two ticks.
    #[inline]
    #[must_use]
    pub fn period(&self) -> Duration {
        self.period
    }

    /// Starts anew: the next tick is one period from now.
    pub fn reset(&mut self) {
        let now = Instant::now();
        Pin::new(&mut self.sleep).reset(now.saturating_add(self.period));
    }

    /// What happens to ticks that were missed.
    #[inline]
    #[must_use]
    pub fn missed_tick_behavior(&self) -> MissedTickBehavior {
        self.missed
    }

    /// Chooses what happens to ticks that were missed. Until then it is
    /// [`Burst`](MissedTickBehavior::Burst).
    #[inline]
    pub fn set_missed_tick_behavior(&mut self, behavior: MissedTickBehavior) {
        self.missed = behavior;
    }
}

/// What an [`Interval`] does when a tick is taken too late.
///
/// That is later than an eighth of the period, or than 5 ms if that is less: so much and more may
/// come from rounding and from other tasks, and does not move the schedule.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum MissedTickBehavior {
    /// Ticks at once until it has caught up: each tick is given, in the end on the old schedule.
    #[default]
    Burst,
    /// The next tick is one period after the late one was taken: ticks are never closer than that.
    Delay,
    /// Leaves out what was missed: the next tick is the next one of the old schedule.
    Skip,
}

impl MissedTickBehavior {
    /// When to tick after the tick that was `due` was taken at `now`.
    fn next(self, due: Instant, now: Instant, period: Duration) -> Instant {
        let late = now - due;
        if late <= LATE_MAX.min(period / 8) {
            return due.saturating_add(period);
        }
        match self {
            MissedTickBehavior::Burst => due.saturating_add(period),
            MissedTickBehavior::Delay => now.saturating_add(period),
            MissedTickBehavior::Skip => {
                // Less than a period, which may be more than 64 bits of nanoseconds.
                let since = late.as_nanos() % period.as_nanos();
                let since = Duration::from_nanos(since as u64);
                now.saturating_add(period - since)
            }
        }
    }
}

#[cfg(test)]
mod tests;
