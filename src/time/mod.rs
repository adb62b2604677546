//! Sleeping, deadlines and intervals on the clock of one core.
//!
//! Each core has one timer wheel; the runtime waits in the kernel until its earliest deadline, so a
//! timer costs no system call of its own.
//!
//! # How exact
//!
//! Never early. A sleep of more than 64 µs may be late by a granule of 1/64 to 1/32 of itself, at
//! most 1,024 µs, on top of what the tasks before it take: its deadline is rounded up to a multiple
//! of the granule, so that timers of about the same length share one wake-up of the core. Shorter
//! ones are exact to 1 µs, and so is any with [`Sleep::exact`].
//!
//! # Examples
//!
//! ```
//! use std::time::Duration;
//! use corering::time::{sleep, timeout};
//!
//! # fn main() -> std::io::Result<()> {
//! corering::Runtime::new()?.block_on(async {
//!     sleep(Duration::from_millis(2)).await;
//!     let late = timeout(Duration::from_millis(2), std::future::pending::<()>()).await;
//!     assert!(late.is_err());
//! });
//! # Ok(())
//! # }
//! ```

mod instant;
mod interval;
mod sleep;
mod timeout;
mod wheel;

use std::cell::RefCell;
use std::marker::PhantomData;
use std::rc::Rc;
use std::task::Waker;

use crate::ring::Clock;

pub use self::instant::Instant;
pub use self::interval::{Interval, MissedTickBehavior, interval, interval_at};
pub use self::sleep::{Sleep, TimerLimit, sleep, sleep_until};
pub use self::timeout::{Elapsed, Timeout, timeout, timeout_at};

use self::wheel::Wheel;

/// What the wheel counts in: fine enough for the shortest useful sleep.
const TICK_NS: u64 = 1_000;

/// The timers of one core.
///
/// A sleep that waits keeps the wheel it waits in alive, so it may be dropped at any time, also
/// after its runtime. The wheel is borrowed only inside this module and never while a waker is
/// cloned, woken or dropped: those may run anything, such as the drop of another sleep.
pub(crate) struct Timers {
    clock: Clock,
    wheel: RefCell<Wheel>,
}

impl Timers {
    pub(crate) fn new(clock: Clock) -> Rc<Timers> {
        let wheel = RefCell::new(Wheel::new(clock.now_ns() / TICK_NS));
        Rc::new(Timers { clock, wheel })
    }

    /// Whether the thread is inside a runtime.
    pub(crate) fn current_exists() -> bool {
        Timers::with_current(|_| ()).is_some()
    }

    /// Makes these the thread's current timers until the guard is dropped.
    #[inline]
    pub(crate) fn enter(self: &Rc<Timers>) -> Entered {
        let timers = Some(Rc::clone(self));
        let previous = CURRENT
            .try_with(|current| current.replace(timers))
            .ok()
            .flatten();
        Entered {
            previous,
            _this_thread: PhantomData,
        }
    }

    /// When [`fire`](Self::fire) has something to do, in nanoseconds of the clock; `None` without
    /// timers. In the past if something is due.
    #[inline]
    pub(crate) fn next_deadline_ns(&self) -> Option<u64> {
        // What is beyond the clock's range never comes.
        self.wheel
            .borrow()
            .next()
            .map(|tick| tick.saturating_mul(TICK_NS))
    }

    /// Passes each waker whose deadline is at or before `now_ns` to `wake`, the earliest first.
    ///
    /// At most as many as there were timers on entry, so that a waker which arms another due timer
    /// does not keep this going for ever; [`next_deadline_ns`](Self::next_deadline_ns) tells of the
    /// rest.
    #[inline]
    pub(crate) fn fire(&self, now_ns: u64, mut wake: impl FnMut(Waker)) {
        let to = now_ns / TICK_NS;
        // One turn more than there are timers: also an empty wheel has to learn the time.
        for _ in 0..=self.len() {
            // A binding of its own, so that the borrow has ended when the waker runs.
            let due = self.wheel.borrow_mut().pop_due(to);
            match due {
                Some(waker) => wake(waker),
                None => break,
            }
        }
    }

    #[inline]
    pub(crate) fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Timers that wait for their deadline.
    #[inline]
    pub(crate) fn len(&self) -> usize {
        self.wheel.borrow().armed()
    }

    #[inline]
    fn now(&self) -> Instant {
        Instant::from_ns(self.clock.now_ns())
    }

    #[inline]
    fn current() -> Option<Rc<Timers>> {
        Timers::with_current(Rc::clone)
    }

    /// `None` outside a runtime and while the thread is being torn down.
    #[inline]
    fn with_current<T>(f: impl FnOnce(&Rc<Timers>) -> T) -> Option<T> {
        CURRENT
            .try_with(|current| current.borrow().as_ref().map(f))
            .ok()
            .flatten()
    }
}

thread_local! {
    static CURRENT: RefCell<Option<Rc<Timers>>> = const { RefCell::new(None) };
}

/// While it lives, its timers are the thread's current ones; then those before them are again.
pub(crate) struct Entered {
    previous: Option<Rc<Timers>>,
    _this_thread: PhantomData<*const ()>,
}

impl Drop for Entered {
    #[inline]
    fn drop(&mut self) {
        let previous = self.previous.take();
        // A thread that is being torn down has no current timers to restore. The replaced ones are
        // dropped outside the cell, since their wakers may look into it.
        drop(CURRENT.try_with(|current| current.replace(previous)));
    }
}

#[cfg(test)]
mod tests;
