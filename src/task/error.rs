//! Why a task has no output.

use std::{
    any::Any,
    error::Error,
    fmt,
    sync::{Mutex, PoisonError},
};

/// A task ended without an output: it panicked, was cancelled, or was never started.
///
/// # Examples
///
/// To let a task's panic go on in the one that waits for it:
///
/// ```
/// # fn main() -> std::io::Result<()> {
/// # corering::Runtime::new()?.block_on(async {
/// let answer = match corering::spawn(async { 42 }).await {
///     Ok(answer) => Some(answer),
///     Err(error) if error.is_panic() => std::panic::resume_unwind(error.into_panic()),
///     Err(_cancelled) => None,
/// };
/// # assert_eq!(answer, Some(42));
/// # });
/// # Ok(())
/// # }
/// ```
pub struct JoinError {
    // A box, so that a `Result` without an output is one word: it is stored, taken out and handed
    // on as one, and takes no more of a task than its future does.
    cause: Box<Cause>,
}

const _: () = assert!(size_of::<Result<(), JoinError>>() == size_of::<usize>());

enum Cause {
    Cancelled,
    Refused(&'static str),
    // The mutex makes the error `Sync`, which the payload is not.
    Panic(Mutex<Box<dyn Any + Send>>),
}

impl JoinError {
    pub(crate) fn panic(payload: Box<dyn Any + Send>) -> Self {
        Self {
            cause: Box::new(Cause::Panic(Mutex::new(payload))),
        }
    }

    pub(crate) fn cancelled() -> Self {
        Self {
            cause: Box::new(Cause::Cancelled),
        }
    }

    /// The task was never started; `why` completes "the task was refused: ".
    pub(crate) fn refused(why: &'static str) -> Self {
        Self {
            cause: Box::new(Cause::Refused(why)),
        }
    }

    /// Whether the task panicked, or its future did when it was dropped.
    pub fn is_panic(&self) -> bool {
        matches!(*self.cause, Cause::Panic(_))
    }

    /// Whether the task was ended, or not even started, without a panic: it was aborted, its
    /// runtime is gone, or it was refused (see [`is_refused`](Self::is_refused)).
    pub fn is_cancelled(&self) -> bool {
        !self.is_panic()
    }

    /// Whether the task was never started because a limit was reached, so that it may be tried
    /// again later. Such an error [`is_cancelled`](Self::is_cancelled) too.
    pub fn is_refused(&self) -> bool {
        matches!(*self.cause, Cause::Refused(_))
    }

    /// What the task panicked with, to be passed to [`std::panic::resume_unwind`].
    ///
    /// # Panics
    ///
    /// If the task did not panic. [`try_into_panic`](Self::try_into_panic) does not.
    pub fn into_panic(self) -> Box<dyn Any + Send> {
        match self.try_into_panic() {
            Ok(payload) => payload,
            Err(error) => panic!("into_panic was called on an error that is no panic: {error}"),
        }
    }

    /// What the task panicked with.
    ///
    /// # Errors
    ///
    /// The error itself if the task did not panic.
    pub fn try_into_panic(self) -> Result<Box<dyn Any + Send>, Self> {
        match *self.cause {
            Cause::Panic(payload) => {
                Ok(payload.into_inner().unwrap_or_else(PoisonError::into_inner))
            }
            cause => Err(Self {
                cause: Box::new(cause),
            }),
        }
    }
}

impl fmt::Display for JoinError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &*self.cause {
            Cause::Cancelled => f.write_str("the task was cancelled"),
            Cause::Refused(why) => write!(f, "the task was refused: {why}"),
            Cause::Panic(payload) => {
                let payload = payload.lock().unwrap_or_else(PoisonError::into_inner);
                match message(&**payload) {
                    Some(message) => write!(f, "the task panicked: {message}"),
                    None => f.write_str("the task panicked"),
                }
            }
        }
    }
}

impl fmt::Debug for JoinError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "JoinError({self})")
    }
}

impl Error for JoinError {}

/// The text of a panic, which `panic!` makes one of these two types.
fn message(payload: &(dyn Any + Send)) -> Option<&str> {
    payload
        .downcast_ref::<&'static str>()
        .copied()
        .or_else(|| payload.downcast_ref::<String>().map(String::as_str))
}
