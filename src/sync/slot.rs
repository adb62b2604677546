//! The waker of the only one who may wait.

use std::cell::Cell;
use std::fmt;
use std::task::{Context, Waker};

/// At most one waker, which is woken if somebody waits.
///
/// It stays here when it was woken, so that a task that waits again and again clones it once.
/// Whoever waits has to [`clear`](Slot::clear) it in the end: a waker keeps the memory of its task.
#[derive(Default)]
pub(super) struct Slot {
    waits: Cell<bool>,
    waker: Cell<Option<Waker>>,
}

impl Slot {
    /// Has the task of `cx` woken by the next [`wake`](Self::wake).
    ///
    /// True if the waker is a new one. Then the caller has to look once more at what it waits for:
    /// it was cloned and another dropped, which for foreign wakers may run anything. Once is
    /// enough, and more may be for ever: some wakers are never known again as the same.
    #[inline]
    pub(super) fn register(&self, cx: &Context<'_>) -> bool {
        let registered = self.waker.take();
        match &registered {
            Some(waker) if waker.will_wake(cx.waker()) => {
                self.waker.set(registered);
                self.waits.set(true);
                false
            }
            _ => {
                self.change(registered, cx);
                true
            }
        }
    }

    #[cold]
    #[inline(never)]
    fn change(&self, registered: Option<Waker>, cx: &Context<'_>) {
        let waker = cx.waker().clone();
        self.waits.set(true);
        let other = self.waker.replace(Some(waker));
        drop((registered, other));
    }

    /// Wakes who waits, once.
    #[inline]
    pub(super) fn wake(&self) {
        if self.waits.get() {
            self.wake_waiting();
        }
    }

    #[inline(never)]
    fn wake_waiting(&self) {
        self.waits.set(false);
        if let Some(waker) = self.waker.take() {
            // Taken out, since waking may run anything, also another registration.
            waker.wake_by_ref();
            match self.waits.get() {
                true => drop(waker),
                false => self.waker.set(Some(waker)),
            }
        }
    }

    /// Lets go of who waits.
    pub(super) fn clear(&self) {
        self.waits.set(false);
        drop(self.waker.take());
    }
}

impl fmt::Debug for Slot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Slot")
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicU32, Ordering};
    use std::task::Wake;

    use super::*;

    struct Count(AtomicU32);

    impl Wake for Count {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    thread_local! {
        static SLOT: Slot = Slot::default();
    }

    /// Woken, it has another one wait in its place.
    struct Replaces(Waker);

    impl Wake for Replaces {
        fn wake(self: Arc<Self>) {
            SLOT.with(|slot| slot.register(&Context::from_waker(&self.0)));
        }
    }

    #[test]
    fn who_comes_while_another_is_woken_is_woken_next() {
        let count = Arc::new(Count(AtomicU32::new(0)));
        let second = Waker::from(Arc::clone(&count));
        let first = Waker::from(Arc::new(Replaces(second)));
        SLOT.with(|slot| {
            slot.register(&Context::from_waker(&first));
            slot.wake();
            assert_eq!(count.0.load(Ordering::Relaxed), 0);
            slot.wake();
            assert_eq!(count.0.load(Ordering::Relaxed), 1);
        });
    }

    #[test]
    fn who_does_not_wait_is_not_woken() {
        let count = Arc::new(Count(AtomicU32::new(0)));
        let waker = Waker::from(Arc::clone(&count));
        let slot = Slot::default();
        let woken = || {
            slot.wake();
            count.0.load(Ordering::Relaxed)
        };
        assert!(slot.register(&Context::from_waker(&waker)));
        assert_eq!((woken(), woken()), (1, 1));
        assert!(!slot.register(&Context::from_waker(&waker)));
        assert_eq!(woken(), 2);
        slot.register(&Context::from_waker(&waker));
        slot.clear();
        assert_eq!(woken(), 2);
        drop(waker);
        assert_eq!(Arc::strong_count(&count), 1, "nothing is kept");
    }
}
