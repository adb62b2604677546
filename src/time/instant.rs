//! Points on the runtime's clock.

use std::fmt;
use std::ops::{Add, AddAssign, Sub, SubAssign};
use std::time::Duration;

use crate::ring::Clock;

use super::Timers;

/// A point in time on the clock that this module's sleeps go by.
///
/// As `std::time::Instant`, but of the runtime's clock, which under a simulation is virtual. It
/// counts nanoseconds and lasts for 584 years. Instants of different clocks must not be mixed.
///
/// # Examples
///
/// ```
/// use std::time::Duration;
/// use corering::time::Instant;
///
/// let begin = Instant::now();
/// assert!(begin + Duration::from_millis(5) > begin);
/// assert_eq!(begin.duration_since(begin + Duration::from_secs(1)), Duration::ZERO);
/// ```
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Instant {
    ns: u64,
}

impl Instant {
    /// The current time: of the runtime that this is called in, else of `CLOCK_MONOTONIC`.
    #[inline]
    #[must_use]
    pub fn now() -> Instant {
        let ns = Timers::with_current(|timers| timers.clock.now_ns());
        Instant::from_ns(ns.unwrap_or_else(|| Clock::monotonic().now_ns()))
    }

    /// How long after `earlier` this is, zero if it is not.
    #[inline]
    #[must_use]
    pub fn duration_since(&self, earlier: Instant) -> Duration {
        self.saturating_duration_since(earlier)
    }

    /// How long after `earlier` this is, `None` if it is before.
    #[inline]
    #[must_use]
    pub fn checked_duration_since(&self, earlier: Instant) -> Option<Duration> {
        self.ns.checked_sub(earlier.ns).map(Duration::from_nanos)
    }

    /// How long after `earlier` this is, zero if it is not.
    #[inline]
    #[must_use]
    pub fn saturating_duration_since(&self, earlier: Instant) -> Duration {
        Duration::from_nanos(self.ns.saturating_sub(earlier.ns))
    }

    /// How long ago this was, zero if it is yet to come.
    #[inline]
    #[must_use]
    pub fn elapsed(&self) -> Duration {
        Instant::now().saturating_duration_since(*self)
    }

    /// `duration` later, `None` beyond the clock's 584 years.
    #[inline]
    #[must_use]
    pub fn checked_add(&self, duration: Duration) -> Option<Instant> {
        self.ns.checked_add(ns_of(duration)?).map(Instant::from_ns)
    }

    /// `duration` earlier, `None` before the clock began.
    #[inline]
    #[must_use]
    pub fn checked_sub(&self, duration: Duration) -> Option<Instant> {
        self.ns.checked_sub(ns_of(duration)?).map(Instant::from_ns)
    }

    /// `duration` later, the clock's last instant if that is beyond it.
    #[inline]
    pub(super) fn saturating_add(self, duration: Duration) -> Instant {
        self.checked_add(duration)
            .unwrap_or(Instant { ns: u64::MAX })
    }

    #[inline]
    pub(super) fn from_ns(ns: u64) -> Instant {
        Instant { ns }
    }

    #[inline]
    pub(super) fn ns(self) -> u64 {
        self.ns
    }
}

#[inline]
fn ns_of(duration: Duration) -> Option<u64> {
    u64::try_from(duration.as_nanos()).ok()
}

impl fmt::Debug for Instant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Instant")
            .field(&Duration::from_nanos(self.ns))
            .finish()
    }
}

/// Panics beyond the clock's 584 years; see [`Instant::checked_add`].
impl Add<Duration> for Instant {
    type Output = Instant;

    #[inline]
    fn add(self, duration: Duration) -> Instant {
        self.checked_add(duration)
            .expect("the sum is an instant beyond the clock's range")
    }
}

impl AddAssign<Duration> for Instant {
    #[inline]
    fn add_assign(&mut self, duration: Duration) {
        *self = *self + duration;
    }
}

/// Panics before the clock began; see [`Instant::checked_sub`].
impl Sub<Duration> for Instant {
    type Output = Instant;

    #[inline]
    fn sub(self, duration: Duration) -> Instant {
        self.checked_sub(duration)
            .expect("the difference is an instant before the clock began")
    }
}

impl SubAssign<Duration> for Instant {
    #[inline]
    fn sub_assign(&mut self, duration: Duration) {
        *self = *self - duration;
    }
}

/// As [`Instant::duration_since`]: zero if `earlier` is later.
impl Sub<Instant> for Instant {
    type Output = Duration;

    #[inline]
    fn sub(self, earlier: Instant) -> Duration {
        self.saturating_duration_since(earlier)
    }
}

#[cfg(test)]
mod tests;
