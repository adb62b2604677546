//! One holder at a time, also across awaits.
//!
//! The lock is the borrow of a `RefCell`. Who unlocks it while others wait hands it to the first of
//! them: until that one has taken it, or is dropped, it is neither borrowed nor free.

use std::cell::{Cell, RefCell, RefMut};
use std::error::Error;
use std::fmt;
use std::ops::{Deref, DerefMut};
use std::pin::Pin;
use std::task::{Context, Poll};

use super::line::{Line, Place};

/// A value that one task has at a time, also across awaits; the others wait in order.
///
/// What no task holds across an `await` needs no mutex on one core: a `RefCell` will do.
///
/// There is no poisoning. If a task that holds the lock panics or is aborted, the lock is free
/// again, and the value is as the task has left it. A guard that is forgotten
/// ([`std::mem::forget`]) keeps it locked for ever. A lock that is free is taken without giving
/// way: a loop that takes one over and over calls [`yield_now`](../task/fn.yield_now.html).
///
/// # Examples
///
/// ```
/// use std::rc::Rc;
/// use corering::sync::Mutex;
/// use corering::task::yield_now;
///
/// # fn main() -> std::io::Result<()> {
/// corering::Runtime::new()?.block_on(async {
///     let total = Rc::new(Mutex::new(0));
///     let same = Rc::clone(&total);
///     let adding = corering::spawn(async move {
///         let mut total = same.lock().await;
///         let before = *total;
///         yield_now().await; // nobody changes it meanwhile
///         *total = before + 1;
///     });
///     adding.await.unwrap();
///     assert_eq!(*total.lock().await, 1);
/// });
/// # Ok(())
/// # }
/// ```
pub struct Mutex<T: ?Sized> {
    queue: Queue,
    value: RefCell<T>,
}

#[derive(Debug)]
struct Queue {
    /// Whether one who was called has not come yet. The value is not borrowed then.
    handed: Cell<bool>,
    line: Line<()>,
}

impl<T> Mutex<T> {
    /// A mutex that nobody holds.
    #[must_use]
    pub const fn new(value: T) -> Mutex<T> {
        Mutex {
            queue: Queue {
                handed: Cell::new(false),
                line: Line::new(),
            },
            value: RefCell::new(value),
        }
    }

    /// The value, without locking: there can be no guard.
    pub fn into_inner(self) -> T {
        self.value.into_inner()
    }
}

impl<T: ?Sized> Mutex<T> {
    /// Waits for the lock.
    ///
    /// A task that waits for a lock which it holds itself waits for ever.
    ///
    /// # Cancellation
    ///
    /// Dropped, it leaves the line. If the lock has been handed to it already, the next gets it.
    #[inline]
    pub fn lock(&self) -> impl Future<Output = MutexGuard<'_, T>> {
        Lock {
            mutex: self,
            place: None,
        }
    }

    /// Takes the lock if it is free and nobody waits for it.
    ///
    /// # Errors
    ///
    /// [`TryLockError`] if it is not.
    #[inline]
    pub fn try_lock(&self) -> Result<MutexGuard<'_, T>, TryLockError> {
        if !self.queue.is_empty() {
            return Err(TryLockError(()));
        }
        let value = self.value.try_borrow_mut().map_err(|_| TryLockError(()))?;
        Ok(MutexGuard {
            value,
            _turn: Turn(&self.queue),
        })
    }

    /// The value, without locking: there can be no guard.
    pub fn get_mut(&mut self) -> &mut T {
        self.value.get_mut()
    }
}

impl<T: Default> Default for Mutex<T> {
    fn default() -> Mutex<T> {
        Mutex::new(T::default())
    }
}

impl<T> From<T> for Mutex<T> {
    fn from(value: T) -> Mutex<T> {
        Mutex::new(value)
    }
}

impl<T: fmt::Debug + ?Sized> fmt::Debug for Mutex<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut debug = f.debug_struct("Mutex");
        match self.try_lock() {
            Ok(guard) => debug.field("value", &&*guard).finish(),
            Err(_) => debug.finish_non_exhaustive(),
        }
    }
}

impl Queue {
    #[inline]
    fn is_empty(&self) -> bool {
        !self.handed.get() && self.line.is_empty()
    }

    /// Hands the lock, which nobody holds, to the next.
    #[cold]
    fn hand_on(&self) {
        let next = self.line.call_one(|()| {});
        self.handed.set(next.is_some());
        if let Some(waker) = next {
            waker.wake();
        }
    }
}

struct Lock<'a, T: ?Sized> {
    mutex: &'a Mutex<T>,
    place: Option<Place>,
}

impl<'a, T: ?Sized> Lock<'a, T> {
    /// Takes the lock if it was handed to this one.
    #[inline(never)]
    fn poll_place(&mut self, cx: &Context<'_>) -> Poll<MutexGuard<'a, T>> {
        let mutex = self.mutex;
        if mutex.queue.line.poll_leave(&mut self.place, cx).is_none() {
            return Poll::Pending;
        }
        mutex.queue.handed.set(false);
        // It was handed to this one, who alone may borrow it.
        Poll::Ready(MutexGuard {
            value: mutex.value.borrow_mut(),
            _turn: Turn(&mutex.queue),
        })
    }

    #[cold]
    #[inline(never)]
    fn join_line(&mut self, cx: &Context<'_>) -> Poll<MutexGuard<'a, T>> {
        let mutex = self.mutex;
        let waker = cx.waker().clone();
        // Again, since a foreign waker's clone may do anything.
        if let Ok(guard) = mutex.try_lock() {
            return Poll::Ready(guard);
        }
        self.place = Some(mutex.queue.line.push((), waker));
        Poll::Pending
    }

    /// Whether the lock was handed to this one, and is nobody's now.
    fn leave(&mut self) -> bool {
        let queue = &self.mutex.queue;
        let called = self
            .place
            .take()
            .is_some_and(|place| queue.line.leave(place).called);
        if called {
            queue.handed.set(false);
        }
        called
    }
}

impl<'a, T: ?Sized> Future for Lock<'a, T> {
    type Output = MutexGuard<'a, T>;

    #[inline]
    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.get_mut();
        if this.place.is_some() {
            return this.poll_place(cx);
        }
        match this.mutex.try_lock() {
            Ok(guard) => Poll::Ready(guard),
            Err(_) => this.join_line(cx),
        }
    }
}

impl<T: ?Sized> Drop for Lock<'_, T> {
    #[inline]
    fn drop(&mut self) {
        if self.place.is_some() && self.leave() {
            self.mutex.queue.hand_on();
        }
    }
}

/// The value of a [`Mutex`], which is unlocked when this is dropped.
#[must_use = "the mutex is unlocked when the guard is dropped"]
pub struct MutexGuard<'a, T: ?Sized> {
    // The borrow ends before the turn does.
    value: RefMut<'a, T>,
    _turn: Turn<'a>,
}

impl<T: ?Sized> Deref for MutexGuard<'_, T> {
    type Target = T;

    #[inline]
    fn deref(&self) -> &T {
        &self.value
    }
}

impl<T: ?Sized> DerefMut for MutexGuard<'_, T> {
    #[inline]
    fn deref_mut(&mut self) -> &mut T {
        &mut self.value
    }
}

impl<T: fmt::Debug + ?Sized> fmt::Debug for MutexGuard<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        (**self).fmt(f)
    }
}

impl<T: fmt::Display + ?Sized> fmt::Display for MutexGuard<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        (**self).fmt(f)
    }
}

struct Turn<'a>(&'a Queue);

impl Drop for Turn<'_> {
    #[inline]
    fn drop(&mut self) {
        if !self.0.line.is_empty() {
            self.0.hand_on();
        }
    }
}

/// The lock is held, or others wait for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TryLockError(());

impl TryLockError {
    pub(super) const fn new() -> TryLockError {
        TryLockError(())
    }
}

impl fmt::Display for TryLockError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the lock is held")
    }
}

impl Error for TryLockError {}
