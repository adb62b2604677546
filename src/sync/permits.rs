//! Permits that are handed out in order: what semaphores, locks and channels stand on.
//!
//! Whoever is first in line gets permits as they come back, until it has all that it needs, and
//! nobody overtakes it. So while anybody is queued none are available, and taking some without
//! waiting is one comparison.

use std::cell::Cell;
use std::pin::Pin;
use std::task::{Context, Poll};

use super::fair::spend;
use super::line::{Line, Place};

/// The most that there can be.
pub(super) const PERMITS_MAX: usize = usize::MAX >> 3;

/// A number of permits, and who waits for some.
#[derive(Debug)]
pub(super) struct Permits {
    /// 0 while anybody is queued.
    available: Cell<usize>,
    /// If so nobody is queued.
    closed: Cell<bool>,
    /// What each lacks. One who was called has all, or the permits were closed.
    line: Line<usize>,
}

/// The permits were closed.
#[derive(Debug)]
pub(super) struct Closed;

impl Permits {
    pub(super) const fn new(permits: usize) -> Permits {
        assert!(
            permits <= PERMITS_MAX,
            "a semaphore has at most MAX_PERMITS permits"
        );
        Permits {
            available: Cell::new(permits),
            closed: Cell::new(false),
            line: Line::new(),
        }
    }

    #[inline]
    pub(super) fn available(&self) -> usize {
        self.available.get()
    }

    #[inline]
    pub(super) fn is_closed(&self) -> bool {
        self.closed.get()
    }

    /// Takes `count` permits if nobody has to wait for them.
    #[inline]
    pub(super) fn try_take(&self, count: usize) -> Result<bool, Closed> {
        if self.closed.get() {
            return Err(Closed);
        }
        Ok(self.take(count))
    }

    #[inline]
    fn take(&self, count: usize) -> bool {
        let available = self.available.get();
        let enough = available >= count;
        if enough {
            self.available.set(available - count);
        }
        enough
    }

    /// Takes as many of the available ones for good, up to `count`.
    pub(super) fn remove(&self, count: usize) -> usize {
        let removed = count.min(self.available.get());
        self.available.set(self.available.get() - removed);
        removed
    }

    /// Gives permits to those who wait, and keeps the rest.
    ///
    /// # Panics
    ///
    /// If there are more than [`PERMITS_MAX`] then.
    #[inline]
    pub(super) fn release(&self, count: usize) {
        if self.line.is_empty() {
            self.keep(count);
        } else {
            self.hand_out(count);
        }
    }

    #[inline]
    fn keep(&self, count: usize) {
        let available = self.available.get();
        assert!(
            count <= PERMITS_MAX - available,
            "a semaphore has at most MAX_PERMITS permits"
        );
        self.available.set(available + count);
    }

    fn hand_out(&self, mut count: usize) {
        // Most often one for one.
        if count == 1 && self.line.with_first(|missing| *missing) == Some(1) {
            if let Some(waker) = self.line.call_one(|missing| *missing = 0) {
                waker.wake();
            }
            return;
        }
        while count > 0 {
            let served = self.line.with_first(|missing| {
                let given = count.min(*missing);
                *missing -= given;
                count -= given;
                *missing == 0
            });
            match served {
                Some(true) => {
                    self.line.call_first();
                }
                Some(false) => {}
                None => {
                    self.keep(count);
                    count = 0;
                }
            }
        }
        self.line.wake_called();
    }

    /// Ends the waiting of all, and fails who comes later.
    pub(super) fn close(&self) {
        if !self.closed.replace(true) {
            self.line.call_all();
            self.line.wake_called();
        }
    }

    #[inline]
    pub(super) fn acquire(&self, count: usize) -> Acquire<'_> {
        Acquire {
            permits: self,
            needed: count,
            place: None,
        }
    }
}

/// Waits for permits, which are the caller's then: it has to [`release`](Permits::release) them.
///
/// Dropped, it gives back what it has been given already, also if that was all.
#[derive(Debug)]
#[must_use = "futures do nothing unless polled"]
pub(super) struct Acquire<'a> {
    permits: &'a Permits,
    needed: usize,
    place: Option<Place>,
}

impl Acquire<'_> {
    #[cold]
    fn put_back(&self) -> Poll<Result<(), Closed>> {
        self.permits.release(self.needed);
        Poll::Pending
    }

    #[cold]
    #[inline(never)]
    fn poll_queue(&mut self, cx: &Context<'_>) -> Poll<Result<(), Closed>> {
        if self.place.is_some() {
            let Some(missing) = self.permits.line.poll_leave(&mut self.place, cx) else {
                return Poll::Pending;
            };
            if missing == 0 {
                return Poll::Ready(Ok(()));
            }
            self.permits.release(self.needed - missing);
            return Poll::Ready(Err(Closed));
        }
        let waker = cx.waker().clone();
        // Again, since a foreign waker's clone may do anything.
        match self.permits.try_take(self.needed) {
            Ok(false) => {}
            outcome => return Poll::Ready(outcome.map(|_| ())),
        }
        let missing = self.needed - self.permits.available.take();
        self.place = Some(self.permits.line.push(missing, waker));
        Poll::Pending
    }

    /// What was missing in the end.
    fn leave(&mut self) -> usize {
        match self.place.take() {
            Some(place) => self.permits.line.leave(place).value,
            None => self.needed,
        }
    }
}

impl Future for Acquire<'_> {
    type Output = Result<(), Closed>;

    #[inline]
    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.get_mut();
        if this.place.is_none()
            && let Ok(true) = this.permits.try_take(this.needed)
        {
            return match spend(cx) {
                Poll::Ready(()) => Poll::Ready(Ok(())),
                Poll::Pending => this.put_back(),
            };
        }
        this.poll_queue(cx)
    }
}

impl Drop for Acquire<'_> {
    #[inline]
    fn drop(&mut self) {
        if self.place.is_some() {
            let back = self.needed - self.leave();
            if back > 0 {
                self.permits.release(back);
            }
        }
    }
}
