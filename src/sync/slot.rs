//! The waker of the only one who may wait.

use std::cell::Cell;
use std::fmt;
use std::task::{Context, Waker};

/// At most one waker.
#[derive(Default)]
pub(super) struct Slot(Cell<Option<Waker>>);

impl Slot {
    /// Has the task of `cx` woken by the next [`wake`](Self::wake).
    ///
    /// True if the waker is a new one. Then the caller has to look once more at what it waits for:
    /// it was cloned and another dropped, which for foreign wakers may run anything. Once is
    /// enough, and more may be for ever: some wakers are never known again as the same.
    #[inline]
    pub(super) fn register(&self, cx: &Context<'_>) -> bool {
        let registered = self.0.take();
        match &registered {
            Some(waker) if waker.will_wake(cx.waker()) => {
                self.0.set(registered);
                false
            }
            _ => {
                self.0.set(Some(cx.waker().clone()));
                drop(registered);
                true
            }
        }
    }

    /// Wakes who waits, once.
    #[inline]
    pub(super) fn wake(&self) {
        if let Some(waker) = self.0.take() {
            waker.wake();
        }
    }

    /// Lets go of who waits.
    pub(super) fn clear(&self) {
        drop(self.0.take());
    }
}

impl fmt::Debug for Slot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Slot")
    }
}
