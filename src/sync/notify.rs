//! Waking without a value.

use std::cell::Cell;
use std::pin::Pin;
use std::task::{Context, Poll, Waker, ready};

use super::fair::spend;
use super::line::{Line, Place};

/// Tells tasks that something has happened, without a value.
///
/// [`notify_one`](Self::notify_one) wakes the task that has waited longest; if nobody waits it is
/// remembered, once, for the next who does. [`notify_waiters`](Self::notify_waiters) wakes all who
/// wait by then, and is not remembered.
///
/// # Examples
///
/// ```
/// use std::cell::Cell;
/// use std::rc::Rc;
/// use corering::sync::Notify;
///
/// # fn main() -> std::io::Result<()> {
/// corering::Runtime::new()?.block_on(async {
///     let state = Rc::new((Cell::new(0), Notify::new()));
///     let same = Rc::clone(&state);
///     let waiting = corering::spawn(async move {
///         let (value, changed) = &*same;
///         while value.get() == 0 {
///             changed.notified().await;
///         }
///         value.get()
///     });
///     state.0.set(7);
///     state.1.notify_one();
///     assert_eq!(waiting.await.unwrap(), 7);
/// });
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct Notify {
    /// Whether the next who comes need not wait. Only while nobody is queued.
    stored: Cell<bool>,
    /// Calls of `notify_waiters`: those made since a future was made are meant for it.
    calls: Cell<u64>,
    line: Line<Notice>,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Notice {
    /// By `notify_one`: somebody else gets it if the waiter does not.
    One,
    /// By `notify_waiters`, or not yet.
    All,
}

impl Notify {
    /// With nobody notified.
    #[must_use]
    pub const fn new() -> Notify {
        Notify {
            stored: Cell::new(false),
            calls: Cell::new(0),
            line: Line::new(),
        }
    }

    /// Wakes who has waited longest, or else the next who comes.
    ///
    /// Notifications that nobody waits for do not add up: at most one is remembered.
    #[inline]
    pub fn notify_one(&self) {
        if self.line.is_empty() {
            self.stored.set(true);
        } else if let Some(waker) = self.line.call_one(|notice| *notice = Notice::One) {
            waker.wake();
        }
    }

    /// Wakes all who wait: every [`Notified`] that exists, also one that was not polled yet.
    pub fn notify_waiters(&self) {
        self.calls.set(self.calls.get().wrapping_add(1));
        self.line.call_all();
        self.line.wake_called();
    }

    /// Waits for a notification.
    ///
    /// # Cancellation
    ///
    /// Dropped, it leaves the line. If it was woken by `notify_one` already, that wakes the next,
    /// or is remembered.
    #[inline]
    pub fn notified(&self) -> Notified<'_> {
        Notified {
            notify: self,
            calls: self.calls.get(),
            state: State::New,
        }
    }
}

impl Default for Notify {
    fn default() -> Notify {
        Notify::new()
    }
}

/// The future of [`Notify::notified`]. Polled after it was ready, it is ready again.
///
/// # Cancellation
///
/// Dropped, it leaves the line. If it was woken by `notify_one` already, that wakes the next, or is
/// remembered.
#[derive(Debug)]
#[must_use = "futures do nothing unless polled"]
pub struct Notified<'a> {
    notify: &'a Notify,
    /// As there were when it was made.
    calls: u64,
    state: State,
}

#[derive(Debug)]
enum State {
    New,
    Queued(Place),
    Done,
}

impl Notified<'_> {
    /// Stands in line from now on, without being polled. True if it was notified already.
    ///
    /// For whoever checks a condition after that: what is notified in between is not missed.
    pub fn enable(self: Pin<&mut Self>) -> bool {
        let this = self.get_mut();
        match &this.state {
            State::Done => true,
            State::Queued(place) => {
                let called = this.notify.line.is_called(place);
                if called {
                    this.finish();
                }
                called
            }
            State::New if this.is_notified() => {
                this.take();
                true
            }
            State::New => {
                let place = this.notify.line.push(Notice::All, Waker::noop().clone());
                this.state = State::Queued(place);
                false
            }
        }
    }

    #[inline]
    fn is_notified(&self) -> bool {
        self.notify.stored.get() || self.notify.calls.get() != self.calls
    }

    /// For one who is notified and never was in line.
    #[inline]
    fn take(&mut self) {
        if self.notify.calls.get() == self.calls {
            self.notify.stored.set(false);
        }
        self.state = State::Done;
    }

    fn finish(&mut self) -> Option<Notice> {
        match std::mem::replace(&mut self.state, State::Done) {
            State::Queued(place) => {
                let left = self.notify.line.leave(place);
                left.called.then_some(left.value)
            }
            State::New | State::Done => None,
        }
    }
}

impl Future for Notified<'_> {
    type Output = ();

    #[inline]
    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let this = self.get_mut();
        match &this.state {
            State::Done => Poll::Ready(()),
            State::Queued(place) => {
                if !this.notify.line.poll_called(place, cx) {
                    return Poll::Pending;
                }
                this.finish();
                Poll::Ready(())
            }
            State::New => {
                if this.is_notified() {
                    ready!(spend(cx));
                }
                let waker = (!this.is_notified()).then(|| cx.waker().clone());
                // Again, since wakers of others may do anything.
                match waker {
                    Some(waker) if !this.is_notified() => {
                        this.state = State::Queued(this.notify.line.push(Notice::All, waker));
                        Poll::Pending
                    }
                    _ => {
                        this.take();
                        Poll::Ready(())
                    }
                }
            }
        }
    }
}

impl Drop for Notified<'_> {
    #[inline]
    fn drop(&mut self) {
        if matches!(self.state, State::Queued(_)) && self.finish() == Some(Notice::One) {
            self.notify.notify_one();
        }
    }
}
