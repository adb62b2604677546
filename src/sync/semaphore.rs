//! A number of permits.

use std::error::Error;
use std::fmt;
use std::mem;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};

use super::permits::{Acquire, PERMITS_MAX, Permits};

/// Lets a limited number of tasks go on at a time; the others wait in order.
///
/// Permits go to whoever has waited longest. While that one lacks some, nobody overtakes it, also
/// who needs fewer.
///
/// # Examples
///
/// At most two connections to a database:
///
/// ```
/// use std::rc::Rc;
/// use corering::sync::Semaphore;
///
/// # fn main() -> std::io::Result<()> {
/// corering::Runtime::new()?.block_on(async {
///     let connections = Rc::new(Semaphore::new(2));
///     let queries: Vec<_> = (0..5)
///         .map(|number| {
///             let connections = Rc::clone(&connections);
///             corering::spawn(async move {
///                 let _permit = connections.acquire().await.expect("it is never closed");
///                 number * 2
///             })
///         })
///         .collect();
///     for query in queries {
///         query.await.unwrap();
///     }
///     assert_eq!(connections.available_permits(), 2);
/// });
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct Semaphore {
    permits: Permits,
}

impl Semaphore {
    /// The most permits that there can be: an eighth of `usize::MAX`.
    pub const MAX_PERMITS: usize = PERMITS_MAX;

    /// A semaphore with so many permits.
    ///
    /// # Panics
    ///
    /// If they are more than [`MAX_PERMITS`](Self::MAX_PERMITS).
    #[must_use]
    pub const fn new(permits: usize) -> Semaphore {
        Semaphore {
            permits: Permits::new(permits),
        }
    }

    /// The permits that nobody has. 0 while anybody waits.
    #[must_use]
    pub fn available_permits(&self) -> usize {
        self.permits.available()
    }

    /// Adds permits for good.
    ///
    /// # Panics
    ///
    /// If there are more than [`MAX_PERMITS`](Self::MAX_PERMITS) then.
    pub fn add_permits(&self, count: usize) {
        self.permits.release(count);
    }

    /// Removes permits for good, up to `count` and as far as nobody has them. Returns how many.
    pub fn forget_permits(&self, count: usize) -> usize {
        self.permits.remove(count)
    }

    /// Waits for a permit.
    ///
    /// # Errors
    ///
    /// [`AcquireError`] once the semaphore is [closed](Self::close).
    ///
    /// # Cancellation
    ///
    /// Dropped, it leaves the line. A permit that it has been given already goes to the next.
    #[inline]
    pub fn acquire(&self) -> impl Future<Output = Result<SemaphorePermit<'_>, AcquireError>> {
        self.acquire_many(1)
    }

    /// Waits for so many permits at once.
    ///
    /// # Errors
    ///
    /// [`AcquireError`] once the semaphore is [closed](Self::close).
    ///
    /// # Cancellation
    ///
    /// Dropped, it leaves the line. What it has been given already goes to the next.
    #[inline]
    pub fn acquire_many(
        &self,
        count: u32,
    ) -> impl Future<Output = Result<SemaphorePermit<'_>, AcquireError>> {
        AcquirePermit {
            acquire: self.permits.acquire(count as usize),
            semaphore: self,
            count,
        }
    }

    /// Takes a permit if nobody has to wait for it.
    ///
    /// # Errors
    ///
    /// [`TryAcquireError::NoPermits`] and [`TryAcquireError::Closed`].
    #[inline]
    pub fn try_acquire(&self) -> Result<SemaphorePermit<'_>, TryAcquireError> {
        self.try_acquire_many(1)
    }

    /// Takes so many permits if nobody has to wait for them.
    ///
    /// # Errors
    ///
    /// [`TryAcquireError::NoPermits`] and [`TryAcquireError::Closed`].
    #[inline]
    pub fn try_acquire_many(&self, count: u32) -> Result<SemaphorePermit<'_>, TryAcquireError> {
        self.try_take(count)?;
        Ok(SemaphorePermit {
            semaphore: self,
            count,
        })
    }

    /// Waits for a permit that keeps the semaphore alive, and may be moved to another task.
    ///
    /// # Errors
    ///
    /// [`AcquireError`] once the semaphore is [closed](Self::close).
    ///
    /// # Cancellation
    ///
    /// As [`acquire`](Self::acquire).
    pub async fn acquire_owned(self: Rc<Self>) -> Result<OwnedSemaphorePermit, AcquireError> {
        self.acquire_many_owned(1).await
    }

    /// Waits for so many permits that keep the semaphore alive.
    ///
    /// # Errors
    ///
    /// [`AcquireError`] once the semaphore is [closed](Self::close).
    ///
    /// # Cancellation
    ///
    /// As [`acquire_many`](Self::acquire_many).
    pub async fn acquire_many_owned(
        self: Rc<Self>,
        count: u32,
    ) -> Result<OwnedSemaphorePermit, AcquireError> {
        let acquired = self.permits.acquire(count as usize).await;
        acquired.map_err(|_| AcquireError(()))?;
        Ok(OwnedSemaphorePermit {
            semaphore: self,
            count,
        })
    }

    /// Takes a permit that keeps the semaphore alive, if nobody has to wait for it.
    ///
    /// # Errors
    ///
    /// [`TryAcquireError::NoPermits`] and [`TryAcquireError::Closed`].
    pub fn try_acquire_owned(self: Rc<Self>) -> Result<OwnedSemaphorePermit, TryAcquireError> {
        self.try_acquire_many_owned(1)
    }

    /// Takes so many permits that keep the semaphore alive, if nobody has to wait for them.
    ///
    /// # Errors
    ///
    /// [`TryAcquireError::NoPermits`] and [`TryAcquireError::Closed`].
    pub fn try_acquire_many_owned(
        self: Rc<Self>,
        count: u32,
    ) -> Result<OwnedSemaphorePermit, TryAcquireError> {
        self.try_take(count)?;
        Ok(OwnedSemaphorePermit {
            semaphore: self,
            count,
        })
    }

    #[inline]
    fn try_take(&self, count: u32) -> Result<(), TryAcquireError> {
        match self.permits.try_take(count as usize) {
            Ok(true) => Ok(()),
            Ok(false) => Err(TryAcquireError::NoPermits),
            Err(_) => Err(TryAcquireError::Closed),
        }
    }

    /// Hands out no more permits: all who wait get an error, and so does who comes later.
    ///
    /// Permits that somebody has remain valid.
    pub fn close(&self) {
        self.permits.close();
    }

    /// Whether it is [closed](Self::close).
    #[must_use]
    pub fn is_closed(&self) -> bool {
        self.permits.is_closed()
    }
}

struct AcquirePermit<'a> {
    acquire: Acquire<'a>,
    semaphore: &'a Semaphore,
    count: u32,
}

impl<'a> Future for AcquirePermit<'a> {
    type Output = Result<SemaphorePermit<'a>, AcquireError>;

    #[inline]
    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        match Pin::new(&mut self.acquire).poll(cx) {
            Poll::Pending => Poll::Pending,
            Poll::Ready(Ok(())) => Poll::Ready(Ok(SemaphorePermit {
                semaphore: self.semaphore,
                count: self.count,
            })),
            Poll::Ready(Err(_)) => Poll::Ready(Err(AcquireError(()))),
        }
    }
}

/// Permits of a [`Semaphore`], which it gets back when this is dropped.
#[derive(Debug)]
#[must_use = "the permits go back when this is dropped"]
pub struct SemaphorePermit<'a> {
    semaphore: &'a Semaphore,
    count: u32,
}

impl SemaphorePermit<'_> {
    /// Takes the permits out of the semaphore for good.
    pub fn forget(mut self) {
        self.count = 0;
    }

    /// How many permits these are.
    #[must_use]
    pub fn num_permits(&self) -> usize {
        self.count as usize
    }

    /// Joins them with others of the same semaphore.
    ///
    /// # Panics
    ///
    /// If they are of another one, or more than `u32::MAX` together.
    pub fn merge(&mut self, mut other: Self) {
        let same = std::ptr::eq(self.semaphore, other.semaphore);
        assert!(same, "permits of two semaphores cannot be merged");
        self.count = sum(self.count, other.count);
        other.count = 0;
    }

    /// Splits off `count` permits; `None` if these are fewer.
    pub fn split(&mut self, count: usize) -> Option<Self> {
        let count = u32::try_from(count).ok()?;
        self.count = self.count.checked_sub(count)?;
        Some(Self {
            semaphore: self.semaphore,
            count,
        })
    }
}

impl Drop for SemaphorePermit<'_> {
    #[inline]
    fn drop(&mut self) {
        self.semaphore.permits.release(self.count as usize);
    }
}

/// Permits of a [`Semaphore`] that keep it alive.
#[derive(Debug)]
#[must_use = "the permits go back when this is dropped"]
pub struct OwnedSemaphorePermit {
    semaphore: Rc<Semaphore>,
    count: u32,
}

impl OwnedSemaphorePermit {
    /// Takes the permits out of the semaphore for good.
    pub fn forget(mut self) {
        self.count = 0;
    }

    /// How many permits these are.
    #[must_use]
    pub fn num_permits(&self) -> usize {
        self.count as usize
    }

    /// The semaphore that they are of.
    #[must_use]
    pub fn semaphore(&self) -> &Rc<Semaphore> {
        &self.semaphore
    }

    /// Joins them with others of the same semaphore.
    ///
    /// # Panics
    ///
    /// If they are of another one, or more than `u32::MAX` together.
    pub fn merge(&mut self, mut other: Self) {
        let same = Rc::ptr_eq(&self.semaphore, &other.semaphore);
        assert!(same, "permits of two semaphores cannot be merged");
        self.count = sum(self.count, mem::take(&mut other.count));
    }

    /// Splits off `count` permits; `None` if these are fewer.
    pub fn split(&mut self, count: usize) -> Option<Self> {
        let count = u32::try_from(count).ok()?;
        self.count = self.count.checked_sub(count)?;
        Some(Self {
            semaphore: Rc::clone(&self.semaphore),
            count,
        })
    }
}

impl Drop for OwnedSemaphorePermit {
    #[inline]
    fn drop(&mut self) {
        self.semaphore.permits.release(self.count as usize);
    }
}

fn sum(a: u32, b: u32) -> u32 {
    a.checked_add(b).expect("at most u32::MAX permits in one")
}

/// The semaphore is [closed](Semaphore::close).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AcquireError(());

impl fmt::Display for AcquireError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the semaphore is closed")
    }
}

impl Error for AcquireError {}

/// Why there is no permit without waiting.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TryAcquireError {
    /// The semaphore is [closed](Semaphore::close).
    Closed,
    /// There are too few permits, or others wait for them.
    NoPermits,
}

impl fmt::Display for TryAcquireError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            TryAcquireError::Closed => "the semaphore is closed",
            TryAcquireError::NoPermits => "no permits are available",
        })
    }
}

impl Error for TryAcquireError {}
