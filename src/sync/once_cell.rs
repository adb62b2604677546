//! A value that is made once, when it is first asked for.

use std::cell;
use std::convert::Infallible;
use std::error::Error;
use std::fmt;

use super::permits::Permits;

/// A value that is made once, by the first task that asks for it; others wait meanwhile.
///
/// If that task's future fails, panics or is dropped, the next makes it.
///
/// # Examples
///
/// ```
/// use corering::sync::OnceCell;
///
/// # fn main() -> std::io::Result<()> {
/// corering::Runtime::new()?.block_on(async {
///     let address = OnceCell::new();
///     let first = address.get_or_init(|| async { "127.0.0.1" }).await;
///     let second = address.get_or_init(|| async { "it is not made again" }).await;
///     assert_eq!((*first, *second), ("127.0.0.1", "127.0.0.1"));
/// });
/// # Ok(())
/// # }
/// ```
pub struct OnceCell<T> {
    value: cell::OnceCell<T>,
    /// Who has the only one makes the value. Closed once it is there.
    maker: Permits,
}

/// Gives the right to make the value back.
struct Making<'a>(&'a Permits);

impl Drop for Making<'_> {
    fn drop(&mut self) {
        self.0.release(1);
    }
}

impl<T> OnceCell<T> {
    /// Without a value.
    #[must_use]
    pub const fn new() -> OnceCell<T> {
        OnceCell {
            value: cell::OnceCell::new(),
            maker: Permits::new(1),
        }
    }

    /// With a value that is there already.
    #[must_use]
    pub fn new_with(value: Option<T>) -> OnceCell<T> {
        value.map_or_else(OnceCell::new, OnceCell::from)
    }

    /// Whether the value is there.
    #[must_use]
    pub fn initialized(&self) -> bool {
        self.value.get().is_some()
    }

    /// The value, if it is there.
    #[inline]
    #[must_use]
    pub fn get(&self) -> Option<&T> {
        self.value.get()
    }

    /// The value, if it is there.
    #[inline]
    pub fn get_mut(&mut self) -> Option<&mut T> {
        self.value.get_mut()
    }

    /// Sets the value, unless it is there or being made.
    ///
    /// # Errors
    ///
    /// [`SetError`], with the value that was to be set.
    pub fn set(&self, value: T) -> Result<(), SetError<T>> {
        match self.maker.try_take(1) {
            Ok(true) => {
                let _making = Making(&self.maker);
                self.put(value);
                Ok(())
            }
            Ok(false) => Err(SetError::InitializingError(value)),
            Err(_) => Err(SetError::AlreadyInitializedError(value)),
        }
    }

    /// The value; made by `init` if it is neither there nor being made.
    ///
    /// # Cancellation
    ///
    /// Dropped, it drops the future of `init`, and the next who waits calls its own.
    pub async fn get_or_init<F, Fut>(&self, init: F) -> &T
    where
        F: FnOnce() -> Fut,
        Fut: Future<Output = T>,
    {
        let made = self.get_or_try_init(|| async { Ok::<T, Infallible>(init().await) });
        match made.await {
            Ok(value) => value,
            Err(never) => match never {},
        }
    }

    /// The value; made by `init` if it is neither there nor being made.
    ///
    /// # Errors
    ///
    /// Those of `init`: then the next who waits calls its own.
    ///
    /// # Cancellation
    ///
    /// Dropped, it drops the future of `init`, and the next who waits calls its own.
    pub async fn get_or_try_init<E, F, Fut>(&self, init: F) -> Result<&T, E>
    where
        F: FnOnce() -> Fut,
        Fut: Future<Output = Result<T, E>>,
    {
        if let Some(value) = self.value.get() {
            return Ok(value);
        }
        if self.maker.acquire(1).await.is_err() {
            return Ok(self.made());
        }
        let _making = Making(&self.maker);
        Ok(self.put(init().await?))
    }

    /// The value, taken out; the cell is as new then.
    pub fn take(&mut self) -> Option<T> {
        std::mem::take(self).into_inner()
    }

    /// The value, if it is there.
    pub fn into_inner(self) -> Option<T> {
        self.value.into_inner()
    }

    /// For who has seen that the maker is closed.
    fn made(&self) -> &T {
        self.value.get().expect("it is closed with a value only")
    }

    /// For who has the right to make it.
    fn put(&self, value: T) -> &T {
        let value = self.value.get_or_init(|| value);
        self.maker.close();
        value
    }
}

impl<T> Default for OnceCell<T> {
    fn default() -> OnceCell<T> {
        OnceCell::new()
    }
}

impl<T> From<T> for OnceCell<T> {
    fn from(value: T) -> OnceCell<T> {
        let made = OnceCell::new();
        made.put(value);
        made
    }
}

impl<T: fmt::Debug> fmt::Debug for OnceCell<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("OnceCell").field(&self.get()).finish()
    }
}

/// Why [`OnceCell::set`] did not set the value, which it gives back.
#[derive(Debug, PartialEq, Eq)]
pub enum SetError<T> {
    /// There is one.
    AlreadyInitializedError(T),
    /// Somebody makes one.
    InitializingError(T),
}

impl<T> fmt::Display for SetError<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            SetError::AlreadyInitializedError(_) => "the cell has a value",
            SetError::InitializingError(_) => "the value of the cell is being made",
        })
    }
}

impl<T: fmt::Debug> Error for SetError<T> {}
