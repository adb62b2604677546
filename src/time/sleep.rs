//! Waiting for a deadline.

use std::error::Error;
use std::fmt;
use std::io;
use std::mem;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use crate::driver::budget;

use super::wheel::{ENTRIES_MAX, Key};
use super::{Instant, TICK_NS, Timers};

/// The longest that a sleep may be late for the sake of shared wake-ups.
const GRANULE_MAX_US: u64 = 1_024;

/// Waits until `duration` has passed since this call.
///
/// Zero gives way to nothing: it is ready at once. A duration beyond the clock's 584 years, such as
/// `Duration::MAX`, never ends. How exact it is stands in the [module's documentation](super).
///
/// # Cancellation
///
/// Dropping the future takes its timer out of the wheel at once.
///
/// # Panics
///
/// The future panics when it is polled outside a runtime.
///
/// # Examples
///
/// ```
/// use std::time::Duration;
/// use corering::time::{Instant, sleep};
///
/// # fn main() -> std::io::Result<()> {
/// corering::Runtime::new()?.block_on(async {
///     let begin = Instant::now();
///     sleep(Duration::from_millis(5)).await;
///     assert!(begin.elapsed() >= Duration::from_millis(5));
/// });
/// # Ok(())
/// # }
/// ```
#[inline]
pub fn sleep(duration: Duration) -> Sleep {
    let ns = duration.as_secs().saturating_mul(1_000_000_000);
    let ns = ns.saturating_add(u64::from(duration.subsec_nanos()));
    Sleep {
        deadline: Instant::from_ns(Instant::now().ns().saturating_add(ns)),
        registration: None,
        // Of a sleep of no length nothing is known but that it is over.
        granule_us: if ns == 0 { 0 } else { granule_us(ns) },
        exact: false,
    }
}

/// Waits until `deadline`; ready at once if that has passed.
///
/// As [`sleep`] in all else; how long the sleep is counts from its first poll.
///
/// # Cancellation
///
/// Dropping the future takes its timer out of the wheel at once.
///
/// # Panics
///
/// The future panics when it is polled outside a runtime.
///
/// # Examples
///
/// ```
/// use std::time::Duration;
/// use corering::time::{Instant, sleep_until};
///
/// # fn main() -> std::io::Result<()> {
/// corering::Runtime::new()?.block_on(async {
///     let deadline = Instant::now() + Duration::from_millis(5);
///     sleep_until(deadline).exact().await;
///     assert!(Instant::now() >= deadline);
/// });
/// # Ok(())
/// # }
/// ```
#[inline]
pub fn sleep_until(deadline: Instant) -> Sleep {
    Sleep {
        deadline,
        registration: None,
        granule_us: 0,
        exact: false,
    }
}

/// The future of [`sleep`] and [`sleep_until`].
///
/// Polled after it was ready, it is ready again until it is [`reset`](Sleep::reset). It may be
/// polled by another runtime of the thread than before: then it waits there.
///
/// # Cancellation
///
/// Dropped, it takes its timer out of the wheel.
#[must_use = "futures do nothing unless polled"]
pub struct Sleep {
    deadline: Instant,
    /// From the first poll that found it not yet over, to the one that finds it over.
    registration: Option<Registration>,
    /// What the deadline's tick is rounded up to; 0 if the clock has to be asked for that.
    granule_us: u16,
    exact: bool,
}

impl Sleep {
    /// Makes it exact to 1 µs, whatever its length, at the price of a wake-up of its own.
    #[inline]
    pub fn exact(mut self) -> Sleep {
        self.exact = true;
        self.granule_us = self.granule_us.min(1);
        if let Some(registration) = &self.registration {
            registration.rearm(tick_of(self.deadline));
        }
        self
    }

    /// The instant that it waits for, as asked for.
    #[inline]
    #[must_use]
    pub fn deadline(&self) -> Instant {
        self.deadline
    }

    /// Whether the deadline has passed. The future itself may be [late](super).
    #[inline]
    #[must_use]
    pub fn is_elapsed(&self) -> bool {
        match &self.registration {
            Some(registration) => registration.timers.now() >= self.deadline,
            None => Instant::now() >= self.deadline,
        }
    }

    /// Polls as the future does, but fails where that would wait without a timer of its own.
    ///
    /// A core has at most 4,194,304 timers. A sleep that is awaited beyond that ends on time, too,
    /// but looks at the clock in every turn, and keeps the core from sleeping, until it is over or
    /// another timer ends. Who would rather know polls this way.
    ///
    /// # Errors
    ///
    /// [`TimerLimit`]. The sleep may be polled again.
    ///
    /// # Panics
    ///
    /// Outside a runtime.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::future::poll_fn;
    /// use std::time::Duration;
    /// use corering::time::sleep;
    ///
    /// # fn main() -> std::io::Result<()> {
    /// corering::Runtime::new()?.block_on(async {
    ///     let mut sleep = std::pin::pin!(sleep(Duration::from_millis(1)));
    ///     poll_fn(|cx| sleep.as_mut().poll_elapsed(cx)).await?;
    ///     Ok(())
    /// })
    /// # }
    /// ```
    #[inline]
    pub fn poll_elapsed(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Result<(), TimerLimit>> {
        let this = self.get_mut();
        match this.registration {
            None => this.poll_first(cx),
            Some(_) => this.poll_again(cx),
        }
    }

    /// Moves the deadline, before or after the old one has passed, without an allocation.
    ///
    /// A task that waits for it keeps waiting, for the new deadline. One that does not has to poll
    /// it again, as any new future.
    pub fn reset(self: Pin<&mut Self>, deadline: Instant) {
        let this = self.get_mut();
        this.deadline = deadline;
        this.granule_us = 0;
        if let Some(registration) = &this.registration {
            let granule_us = this.granule_from(registration.timers.now());
            if !registration.rearm(round_up(tick_of(deadline), granule_us)) {
                this.registration = None;
            }
        }
    }

    /// [`reset`](Self::reset) for a sleep that nobody waits for, at a time that is known to be
    /// `now`: saves looking at the clock.
    #[inline]
    pub(super) fn restart(&mut self, deadline: Instant, now: Instant) {
        self.registration = None;
        self.deadline = deadline;
        self.granule_us = if deadline > now {
            self.granule_from(now)
        } else {
            0
        };
    }

    #[inline]
    fn granule_from(&self, now: Instant) -> u16 {
        let left_ns = self.deadline.ns().saturating_sub(now.ns());
        if self.exact { 1 } else { granule_us(left_ns) }
    }

    /// Only without a registration.
    fn poll_first(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), TimerLimit>> {
        let timers = Timers::current().unwrap_or_else(|| outside());
        let known_over = self.granule_us == 0 && {
            let now = timers.now();
            self.granule_us = if self.deadline > now {
                self.granule_from(now)
            } else {
                0
            };
            self.deadline <= now
        };
        // Cloned before the wheel is borrowed, see `Timers`.
        let waker = cx.waker().clone();
        let tick = tick_of(self.deadline);
        let mut wheel = timers.wheel.borrow_mut();
        // If the clock was asked when the sleep was made, the turn's time will do: asking is most
        // of what a timer costs, and what ended since then is fired by the next turn.
        if known_over || tick <= wheel.now() {
            drop(wheel);
            // Nothing was waited for, so a loop over such sleeps has to be stopped here.
            ready!(budget::spend(cx));
            return Poll::Ready(Ok(()));
        }
        let inserted = wheel.insert(round_up(tick, self.granule_us), waker);
        drop(wheel);
        let Ok(key) = inserted else {
            return Poll::Ready(Err(TimerLimit(())));
        };
        let none = self.registration.replace(Registration { timers, key });
        // Dropping what is known to be nothing costs as much as the clone of a waker.
        mem::forget(none);
        Poll::Pending
    }

    fn poll_again(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), TimerLimit>> {
        let Some(registration) = &self.registration else {
            return self.poll_first(cx);
        };
        match registration.poll(cx) {
            Progress::Waits => Poll::Pending,
            Progress::Fired => {
                self.registration = None;
                Poll::Ready(Ok(()))
            }
            Progress::Foreign => {
                self.registration = None;
                self.granule_us = 0;
                self.poll_first(cx)
            }
        }
    }
}

impl Future for Sleep {
    type Output = ();

    #[inline]
    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        match self.poll_elapsed(cx) {
            Poll::Ready(Ok(())) => Poll::Ready(()),
            Poll::Ready(Err(_)) => look_again(cx),
            Poll::Pending => Poll::Pending,
        }
    }
}

/// Without a timer: the task is polled in every turn, until it is time or a timer is free.
#[cold]
fn look_again(cx: &Context<'_>) -> Poll<()> {
    cx.waker().wake_by_ref();
    Poll::Pending
}

/// A core has as many timers as it may: 4,194,304.
///
/// Given by [`Sleep::poll_elapsed`]; converts into an [`io::Error`] of kind `QuotaExceeded`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TimerLimit(());

impl fmt::Display for TimerLimit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the core has {ENTRIES_MAX} timers, and may have no more")
    }
}

impl Error for TimerLimit {}

impl From<TimerLimit> for io::Error {
    fn from(limit: TimerLimit) -> io::Error {
        io::Error::new(io::ErrorKind::QuotaExceeded, limit)
    }
}

impl fmt::Debug for Sleep {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sleep")
            .field("deadline", &self.deadline)
            .finish_non_exhaustive()
    }
}

/// One entry of one wheel; removes it when dropped.
struct Registration {
    timers: Rc<Timers>,
    key: Key,
}

enum Progress {
    Waits,
    Fired,
    /// The runtime that polls is not the one whose wheel this is in, which may never turn again.
    Foreign,
}

impl Registration {
    #[inline]
    fn poll(&self, cx: &mut Context<'_>) -> Progress {
        let mut wheel = self.timers.wheel.borrow_mut();
        let Some(waker) = wheel.waker_mut(&self.key) else {
            return Progress::Fired;
        };
        let is_same = waker.will_wake(cx.waker());
        drop(wheel);
        match Timers::with_current(|current| Rc::ptr_eq(current, &self.timers)) {
            Some(true) if is_same => Progress::Waits,
            Some(true) => self.change_waker(cx),
            Some(false) => Progress::Foreign,
            None => outside(),
        }
    }

    #[cold]
    fn change_waker(&self, cx: &mut Context<'_>) -> Progress {
        let mut waker = cx.waker().clone();
        // Cloning may have run anything, even the wheel.
        match self.timers.wheel.borrow_mut().waker_mut(&self.key) {
            Some(old) => mem::swap(old, &mut waker),
            None => return Progress::Fired,
        }
        drop(waker);
        Progress::Waits
    }

    /// False if it has fired.
    fn rearm(&self, when: u64) -> bool {
        self.timers.wheel.borrow_mut().rearm(&self.key, when)
    }
}

impl Drop for Registration {
    #[inline]
    fn drop(&mut self) {
        // A binding of its own, so that the borrow has ended when the waker is dropped.
        let waker = self.timers.wheel.borrow_mut().remove(&self.key);
        drop(waker);
    }
}

/// 1/64 to 1/32 of the sleep and a power of two, so that the multiples of one granule are multiples
/// of all smaller ones, too, and long and short sleeps end together.
#[inline]
fn granule_us(sleep_ns: u64) -> u16 {
    let us = sleep_ns.saturating_add(63_999) / 64_000;
    us.min(GRANULE_MAX_US).next_power_of_two() as u16
}

/// The first tick that is not before `deadline`.
#[inline]
fn tick_of(deadline: Instant) -> u64 {
    const { assert!(TICK_NS == 1_000, "granules are counted in ticks") };
    deadline.ns().saturating_add(TICK_NS - 1) / TICK_NS
}

/// The first multiple of the granule, a power of two, that is not before `tick`.
#[inline]
fn round_up(tick: u64, granule_us: u16) -> u64 {
    let mask = u64::from(granule_us) - 1;
    (tick + mask) & !mask
}

#[cold]
fn outside() -> ! {
    panic!(
        "a sleep, timeout or interval was polled outside a runtime: await it inside \
         Runtime::block_on or a task"
    )
}

#[cfg(test)]
mod tests;
