//! Ending an operation early, with its exact outcome.

use std::fmt;
use std::future::Future;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use corering_buffers::{BufResult, IoBuf};

use crate::time::{Sleep, sleep};

/// The future of one operation, which can be ended with its exact outcome.
///
/// It is submitted when it is first polled. All the futures that implement this are `Unpin`, so
/// one that stands in a `select!` by reference can be cancelled afterwards:
///
/// ```
/// use corering::io::Operation;
/// use corering::net::{TcpListener, TcpStream};
/// use corering::time::sleep;
/// use futures_util::{FutureExt, select_biased};
/// use std::time::Duration;
///
/// # fn main() -> std::io::Result<()> {
/// # corering::Runtime::new()?.block_on(async {
/// # let listener = TcpListener::bind("127.0.0.1:0").await?;
/// # let client = TcpStream::connect(listener.local_addr()?).await?;
/// # let (stream, _) = listener.accept().await?;
/// let mut read = stream.read(Vec::with_capacity(64));
/// let early = select_biased! {
///     outcome = (&mut read).fuse() => Some(outcome),
///     () = sleep(Duration::from_millis(5)).fuse() => None,
/// };
/// let (result, buf) = match early {
///     Some(outcome) => outcome,
///     None => read.cancel().await,
/// };
/// // Nobody has written: nothing was read, and the buffer is back.
/// assert_eq!(result.unwrap_err().raw_os_error(), Some(libc::ECANCELED));
/// assert_eq!(buf.capacity(), 64);
/// # Ok(()) })
/// # }
/// ```
///
/// Nobody else can implement it.
#[allow(private_bounds, reason = "sealed")]
pub trait Operation: Future + Unpin + Sealed {
    /// What comes of it when it is ended: its output, or for
    /// [`write_all`](crate::net::TcpStream::write_all) the number of bytes that were sent.
    type Outcome: Fallible + FromOutput<Self::Output>;

    /// Ends the operation, and waits for what came of it.
    ///
    /// What the kernel has done wins: the outcome is what it says in the operation's own
    /// completion, never in the answer to the cancel. `ECANCELED` means that nothing was done, and
    /// nothing will be.
    ///
    /// Whoever waits for an operation that a worker thread of the kernel has begun, such as a read
    /// of a hung file system, may wait for long: nothing stops that.
    ///
    /// # Errors
    ///
    /// `ECANCELED`, or what the operation reports.
    ///
    /// # Cancellation
    ///
    /// Dropping this future leaves the operation as it is: it can be awaited still.
    ///
    /// # Panics
    ///
    /// If the operation is over already, as if it were polled again.
    ///
    /// # Source
    ///
    /// [`io_uring_prep_cancel(3)`](https://man7.org/linux/man-pages/man3/io_uring_prep_cancel.3.html)
    #[doc(alias = "IORING_OP_ASYNC_CANCEL")]
    fn cancel(&mut self) -> Cancel<'_, Self>
    where
        Self: Sized,
    {
        Cancel(self)
    }

    /// Ends the operation once `duration` has passed, and waits for what came of it.
    ///
    /// A result wins over the end of the time, also one that comes while the operation is being
    /// cancelled. In both cases the buffer comes back, unlike from [`time::timeout`], which drops
    /// the future and the buffer with it.
    ///
    /// [`time::timeout`]: crate::time::timeout
    ///
    /// # Errors
    ///
    /// `ErrorKind::TimedOut`, or what the operation reports.
    ///
    /// # Cancellation
    ///
    /// As that of the operation.
    ///
    /// # Panics
    ///
    /// When it has to wait outside a runtime.
    fn timeout(self, duration: Duration) -> WithTimeout<Self>
    where
        Self: Sized,
    {
        WithTimeout {
            operation: self,
            sleep: sleep(duration),
            over: false,
        }
    }

    /// Polls an operation that is to end: asks the kernel for it the first time.
    #[doc(hidden)]
    fn poll_cancel(&mut self, cx: &mut Context<'_>) -> Poll<Self::Outcome>;

    /// The outcome of an operation that was not ended early.
    #[doc(hidden)]
    fn outcome(output: Self::Output) -> Self::Outcome {
        Self::Outcome::from_output(output)
    }
}

/// Keeps others from implementing [`Operation`].
pub trait Sealed {}

/// An outcome that may be an error.
pub trait Fallible {
    fn error(&mut self) -> Option<&mut io::Error>;
}

impl<T> Fallible for io::Result<T> {
    fn error(&mut self) -> Option<&mut io::Error> {
        self.as_mut().err()
    }
}

impl<T, B> Fallible for BufResult<T, B> {
    fn error(&mut self) -> Option<&mut io::Error> {
        self.0.as_mut().err()
    }
}

/// How an output becomes an outcome.
pub trait FromOutput<T> {
    fn from_output(output: T) -> Self;
}

impl<T: Fallible> FromOutput<T> for T {
    fn from_output(output: T) -> T {
        output
    }
}

/// Of a buffer that is written whole: all its bytes.
impl<B: IoBuf> FromOutput<BufResult<(), B>> for BufResult<usize, B> {
    fn from_output((result, buf): BufResult<(), B>) -> BufResult<usize, B> {
        let (_, len) = buf.parts();
        (result.map(|()| len), buf)
    }
}

/// What an operation that was ended in time reports.
#[cold]
pub(crate) fn cancelled() -> io::Error {
    io::Error::from_raw_os_error(libc::ECANCELED)
}

/// The future of [`Operation::cancel`].
///
/// # Cancellation
///
/// Dropped, it leaves the operation as it is, which may be cancelled already: await it still.
#[must_use = "futures do nothing unless polled"]
pub struct Cancel<'a, F>(&'a mut F);

impl<F: Operation> Future for Cancel<'_, F> {
    type Output = F::Outcome;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<F::Outcome> {
        self.0.poll_cancel(cx)
    }
}

impl<F> fmt::Debug for Cancel<'_, F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Cancel").finish_non_exhaustive()
    }
}

/// The future of [`Operation::timeout`].
///
/// # Cancellation
///
/// As that of the operation.
#[must_use = "futures do nothing unless polled"]
pub struct WithTimeout<F> {
    operation: F,
    sleep: Sleep,
    /// The time has passed, and the operation is being cancelled.
    over: bool,
}

impl<F: Operation> Future for WithTimeout<F> {
    type Output = F::Outcome;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<F::Outcome> {
        let this = &mut *self;
        if !this.over {
            if let Poll::Ready(output) = Pin::new(&mut this.operation).poll(cx) {
                return Poll::Ready(F::outcome(output));
            }
            ready!(Pin::new(&mut this.sleep).poll(cx));
            this.over = true;
        }
        let mut outcome = ready!(this.operation.poll_cancel(cx));
        if let Some(error) = outcome.error()
            && error.raw_os_error() == Some(libc::ECANCELED)
        {
            *error = io::ErrorKind::TimedOut.into();
        }
        Poll::Ready(outcome)
    }
}

impl<F> fmt::Debug for WithTimeout<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WithTimeout").finish_non_exhaustive()
    }
}
