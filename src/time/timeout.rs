//! Giving a future a deadline.

use std::error::Error;
use std::fmt;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use pin_project_lite::pin_project;

use super::{Instant, Sleep, sleep, sleep_until};

/// Gives the output of `future`, or [`Elapsed`] once `duration` has passed.
///
/// The future is polled first: in a tie its output wins. A timer is made only if it is not ready at
/// its first poll, and then lives in this future, without an allocation.
///
/// # Errors
///
/// [`Elapsed`], which converts into an [`io::Error`] of kind `TimedOut`.
///
/// # Cancellation
///
/// When the time is over, `future` is dropped with this future, not before.
///
/// # Panics
///
/// The future panics when it has to wait outside a runtime.
///
/// # Examples
///
/// ```
/// use std::time::Duration;
/// use corering::time::timeout;
///
/// # fn main() -> std::io::Result<()> {
/// corering::Runtime::new()?.block_on(async {
///     assert_eq!(timeout(Duration::ZERO, async { 5 }).await, Ok(5));
///     let late = timeout(Duration::from_millis(1), std::future::pending::<()>()).await;
///     let late = std::io::Error::from(late.unwrap_err());
///     assert_eq!(late.kind(), std::io::ErrorKind::TimedOut);
/// });
/// # Ok(())
/// # }
/// ```
#[inline]
pub fn timeout<F: IntoFuture>(duration: Duration, future: F) -> Timeout<F::IntoFuture> {
    Timeout {
        future: future.into_future(),
        sleep: sleep(duration),
    }
}

/// Gives the output of `future`, or [`Elapsed`] once `deadline` has passed.
///
/// As [`timeout`] in all else.
///
/// # Errors
///
/// [`Elapsed`], which converts into an [`io::Error`] of kind `TimedOut`.
///
/// # Cancellation
///
/// When the time is over, `future` is dropped with this future, not before.
///
/// # Panics
///
/// The future panics when it has to wait outside a runtime.
///
/// # Examples
///
/// ```
/// use std::time::Duration;
/// use corering::time::{Instant, sleep, timeout_at};
///
/// # fn main() -> std::io::Result<()> {
/// corering::Runtime::new()?.block_on(async {
///     // One deadline for both steps.
///     let deadline = Instant::now() + Duration::from_millis(5);
///     assert!(timeout_at(deadline, async {}).await.is_ok());
///     assert!(timeout_at(deadline, sleep(Duration::MAX)).await.is_err());
/// });
/// # Ok(())
/// # }
/// ```
#[inline]
pub fn timeout_at<F: IntoFuture>(deadline: Instant, future: F) -> Timeout<F::IntoFuture> {
    Timeout {
        future: future.into_future(),
        sleep: sleep_until(deadline),
    }
}

pin_project! {
    /// The future of [`timeout`] and [`timeout_at`].
    ///
    /// # Cancellation
    ///
    /// Dropped, it drops the future that it holds.
    #[derive(Debug)]
    #[must_use = "futures do nothing unless polled"]
    pub struct Timeout<F> {
        #[pin]
        future: F,
        sleep: Sleep,
    }
}

impl<F: Future> Future for Timeout<F> {
    type Output = Result<F::Output, Elapsed>;

    #[inline]
    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        if let Poll::Ready(output) = this.future.poll(cx) {
            return Poll::Ready(Ok(output));
        }
        Pin::new(this.sleep).poll(cx).map(|()| Err(Elapsed(())))
    }
}

/// The time was over before the future was ready.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Elapsed(());

impl fmt::Display for Elapsed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("deadline has elapsed")
    }
}

impl Error for Elapsed {}

impl From<Elapsed> for io::Error {
    fn from(elapsed: Elapsed) -> io::Error {
        io::Error::new(io::ErrorKind::TimedOut, elapsed)
    }
}
