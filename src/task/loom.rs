//! One switch between loom's types and std's, and what only the model needs.
//!
//! Everything that two threads touch, and every field that only the owner may touch, goes through
//! here, so that a model checks it. Without `--cfg loom` all of this compiles to nothing.

#[cfg(loom)]
pub(super) use ::loom::{
    cell::UnsafeCell,
    sync::{
        Arc, Mutex, MutexGuard,
        atomic::{AtomicPtr, AtomicUsize},
    },
    thread,
};
use std::{cell::Cell, ptr::null};
#[cfg(not(loom))]
pub(super) use std::{
    sync::{
        Arc, Condvar, Mutex, MutexGuard,
        atomic::{AtomicPtr, AtomicUsize},
    },
    thread,
};
#[cfg(loom)]
use std::{
    sync::{LockResult, PoisonError, atomic::Ordering::Relaxed},
    time::Duration,
};

use super::queue::Core;

// No destructor, so it can be read at any time of a thread's life, in destructors of others too.
#[cfg(not(loom))]
std::thread_local! {
    static CURRENT: Cell<*const Core> = const { Cell::new(null()) };
}
#[cfg(loom)]
::loom::thread_local! {
    static CURRENT: Cell<*const Core> = Cell::new(null());
}

/// The core that this thread has entered, or null.
#[inline(always)]
pub(super) fn current() -> *const Core {
    // `LocalKey::get` and `with` are not `#[inline]`: some 20 instructions each, on every wake.
    CURRENT.try_with(Cell::get).unwrap_or(null())
}

/// Makes `core` the one that this thread has entered, and returns the one before.
pub(super) fn replace_current(core: *const Core) -> *const Core {
    CURRENT
        .try_with(|current| current.replace(core))
        .unwrap_or(null())
}

/// `std`'s cell with loom's interface.
#[cfg(not(loom))]
pub(super) struct UnsafeCell<T>(std::cell::UnsafeCell<T>);

#[cfg(not(loom))]
impl<T> UnsafeCell<T> {
    pub(super) const fn new(value: T) -> Self {
        Self(std::cell::UnsafeCell::new(value))
    }

    #[inline(always)]
    pub(super) fn with<R>(&self, f: impl FnOnce(*const T) -> R) -> R {
        f(self.0.get())
    }

    #[inline(always)]
    pub(super) fn with_mut<R>(&self, f: impl FnOnce(*mut T) -> R) -> R {
        f(self.0.get())
    }
}

/// Loom's condition variable never times out. This one does, when the model says so.
#[cfg(loom)]
pub(super) struct Condvar {
    signal: ::loom::sync::Condvar,
    expired: AtomicUsize,
}

#[cfg(loom)]
impl Condvar {
    pub(super) fn new() -> Self {
        Self {
            signal: ::loom::sync::Condvar::new(),
            expired: AtomicUsize::new(0),
        }
    }

    pub(super) fn wait_timeout<'a, T>(
        &self,
        guard: MutexGuard<'a, T>,
        _: Duration,
    ) -> LockResult<(MutexGuard<'a, T>, TimedOut)> {
        let waited = self.signal.wait(guard);
        let timed_out = TimedOut(self.expired.swap(0, Relaxed) == 1);
        match waited {
            Ok(guard) => Ok((guard, timed_out)),
            Err(error) => Err(PoisonError::new((error.into_inner(), timed_out))),
        }
    }

    pub(super) fn notify_one(&self) {
        self.signal.notify_one();
    }

    pub(super) fn notify_all(&self) {
        self.signal.notify_all();
    }

    /// The time of one waiter is over. It learns that with the lock in its hands, so whatever comes
    /// in between is there already; a signal that comes with it may be lost, as the system's may.
    #[cfg(test)]
    pub(super) fn expire(&self) {
        self.expired.store(1, Relaxed);
        self.signal.notify_one();
    }
}

/// What `std` calls `WaitTimeoutResult`, which nobody else can make.
#[cfg(loom)]
pub(super) struct TimedOut(bool);

#[cfg(loom)]
impl TimedOut {
    pub(super) fn timed_out(&self) -> bool {
        self.0
    }
}

/// Lets a model report whoever touches a task, or a core, after it was freed, or frees it twice.
pub(super) struct Life {
    #[cfg(loom)]
    alive: ::loom::cell::Cell<bool>,
}

impl Life {
    pub(super) fn new() -> Self {
        Self {
            #[cfg(loom)]
            alive: ::loom::cell::Cell::new(true),
        }
    }

    #[inline(always)]
    pub(super) fn touch(&self) {
        #[cfg(loom)]
        assert!(self.alive.get(), "touched after it was freed");
    }

    #[inline(always)]
    pub(super) fn end(&self) {
        #[cfg(loom)]
        assert!(self.alive.replace(false), "freed twice");
    }
}

/// Frees a task: now, or in a model when it is over, so that a late touch is reported and not
/// undefined.
#[cfg(not(loom))]
#[inline(always)]
pub(super) fn bury(free: impl FnOnce()) {
    free();
}

#[cfg(loom)]
std::thread_local! {
    // All threads of a model run on one thread of the system.
    static GRAVES: std::cell::RefCell<Vec<Box<dyn FnOnce()>>> = const {
        std::cell::RefCell::new(Vec::new())
    };
}

#[cfg(loom)]
pub(super) fn bury(free: impl FnOnce() + 'static) {
    GRAVES.with_borrow_mut(|graves| graves.push(Box::new(free)));
}

/// Ends one run of a model. Returns how many tasks were freed in it.
#[cfg(all(loom, test))]
pub(super) fn clear_graves() -> usize {
    let graves = GRAVES.take();
    let count = graves.len();
    graves.into_iter().for_each(|free| free());
    count
}
