//! Many readers or one writer.

use std::cell::{Ref, RefCell, RefMut};
use std::fmt;
use std::ops::{Deref, DerefMut};

use super::mutex::TryLockError;
use super::permits::Permits;

/// What a writer takes, and a reader one of.
const ALL: usize = (u32::MAX >> 3) as usize;

/// A value that many tasks may read or one may change at a time, also across awaits.
///
/// Whoever has waited longest is next: a writer waits for the readers before it and no others, and
/// readers that come after it wait for it. So a task that reads already must not wait to read once
/// more: between the two a writer may stand in line, and both wait for ever.
///
/// There is no poisoning: see [`Mutex`](super::Mutex).
///
/// # Examples
///
/// ```
/// use corering::sync::RwLock;
///
/// # fn main() -> std::io::Result<()> {
/// corering::Runtime::new()?.block_on(async {
///     let settings = RwLock::new(String::from("a"));
///     {
///         let one = settings.read().await;
///         let other = settings.read().await;
///         assert_eq!(*one, *other);
///     }
///     settings.write().await.push('b');
///     assert_eq!(*settings.read().await, "ab");
/// });
/// # Ok(())
/// # }
/// ```
pub struct RwLock<T: ?Sized> {
    /// Whoever has all, or one, may borrow the value so.
    permits: Permits,
    value: RefCell<T>,
}

impl<T> RwLock<T> {
    /// A lock that nobody holds.
    #[must_use]
    pub const fn new(value: T) -> RwLock<T> {
        RwLock {
            permits: Permits::new(ALL),
            value: RefCell::new(value),
        }
    }

    /// The value, without locking: there can be no guard.
    pub fn into_inner(self) -> T {
        self.value.into_inner()
    }
}

impl<T: ?Sized> RwLock<T> {
    /// Waits until it may be read.
    ///
    /// # Cancellation
    ///
    /// Dropped, it leaves the line. If it was let in already, the next is.
    pub async fn read(&self) -> RwLockReadGuard<'_, T> {
        self.admitted(1).await;
        self.reader()
    }

    /// Waits until it may be changed.
    ///
    /// # Cancellation
    ///
    /// Dropped, it leaves the line. If it was let in already, the next is.
    pub async fn write(&self) -> RwLockWriteGuard<'_, T> {
        self.admitted(ALL).await;
        self.writer()
    }

    /// Reads if nobody changes it, or waits for that.
    ///
    /// # Errors
    ///
    /// [`TryLockError`] if somebody does.
    pub fn try_read(&self) -> Result<RwLockReadGuard<'_, T>, TryLockError> {
        match self.permits.try_take(1) {
            Ok(true) => Ok(self.reader()),
            _ => Err(TryLockError::new()),
        }
    }

    /// Changes it if nobody else reads or changes it, or waits for that.
    ///
    /// # Errors
    ///
    /// [`TryLockError`] if somebody does.
    pub fn try_write(&self) -> Result<RwLockWriteGuard<'_, T>, TryLockError> {
        match self.permits.try_take(ALL) {
            Ok(true) => Ok(self.writer()),
            _ => Err(TryLockError::new()),
        }
    }

    /// The value, without locking: there can be no guard.
    pub fn get_mut(&mut self) -> &mut T {
        self.value.get_mut()
    }

    async fn admitted(&self, count: usize) {
        let acquired = self.permits.acquire(count).await;
        acquired.expect("the permits of a lock are never closed");
    }

    /// For who has a permit.
    fn reader(&self) -> RwLockReadGuard<'_, T> {
        RwLockReadGuard {
            value: self.value.borrow(),
            _share: Share {
                permits: &self.permits,
                count: 1,
            },
        }
    }

    /// For who has all permits.
    fn writer(&self) -> RwLockWriteGuard<'_, T> {
        RwLockWriteGuard {
            value: self.value.borrow_mut(),
            share: Share {
                permits: &self.permits,
                count: ALL,
            },
            lock: self,
        }
    }
}

impl<T: Default> Default for RwLock<T> {
    fn default() -> RwLock<T> {
        RwLock::new(T::default())
    }
}

impl<T> From<T> for RwLock<T> {
    fn from(value: T) -> RwLock<T> {
        RwLock::new(value)
    }
}

impl<T: fmt::Debug + ?Sized> fmt::Debug for RwLock<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut debug = f.debug_struct("RwLock");
        match self.try_read() {
            Ok(guard) => debug.field("value", &&*guard).finish(),
            Err(_) => debug.finish_non_exhaustive(),
        }
    }
}

/// Permits that go back when this is dropped.
struct Share<'a> {
    permits: &'a Permits,
    count: usize,
}

impl Drop for Share<'_> {
    fn drop(&mut self) {
        self.permits.release(self.count);
    }
}

/// The value of a [`RwLock`], to read until this is dropped.
#[must_use = "the lock is released when the guard is dropped"]
pub struct RwLockReadGuard<'a, T: ?Sized> {
    // The borrow ends before others are let in.
    value: Ref<'a, T>,
    _share: Share<'a>,
}

impl<T: ?Sized> Deref for RwLockReadGuard<'_, T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.value
    }
}

impl<T: fmt::Debug + ?Sized> fmt::Debug for RwLockReadGuard<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        (**self).fmt(f)
    }
}

/// The value of a [`RwLock`], to change until this is dropped.
#[must_use = "the lock is released when the guard is dropped"]
pub struct RwLockWriteGuard<'a, T: ?Sized> {
    // The borrow ends before others are let in.
    value: RefMut<'a, T>,
    share: Share<'a>,
    lock: &'a RwLock<T>,
}

impl<'a, T: ?Sized> RwLockWriteGuard<'a, T> {
    /// Goes on as a reader, with nobody changing the value in between. Readers that are next in
    /// line are let in.
    pub fn downgrade(self) -> RwLockReadGuard<'a, T> {
        let RwLockWriteGuard {
            value,
            mut share,
            lock,
        } = self;
        drop(value);
        let value = lock.value.borrow();
        share.count = 1;
        lock.permits.release(ALL - 1);
        RwLockReadGuard {
            value,
            _share: share,
        }
    }
}

impl<T: ?Sized> Deref for RwLockWriteGuard<'_, T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.value
    }
}

impl<T: ?Sized> DerefMut for RwLockWriteGuard<'_, T> {
    fn deref_mut(&mut self) -> &mut T {
        &mut self.value
    }
}

impl<T: fmt::Debug + ?Sized> fmt::Debug for RwLockWriteGuard<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        (**self).fmt(f)
    }
}
