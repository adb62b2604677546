//! What threads that are no cores hold of them.

use std::error::Error;
use std::fmt;
use std::future::Future;
use std::panic::Location;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};
use std::thread::{self, Thread};
use std::time::Duration;

use super::mesh::{Level, Message, Refused, SharedMesh};
use super::reply::Reply;
use super::spawn_on::message;
use crate::task::JoinError;

/// How long a thread sleeps before it looks for room again.
const LOOK: Duration = Duration::from_micros(100);

/// The cores, for any thread: sends them work, and stops them. Cheap to clone.
///
/// # Examples
///
/// ```
/// # fn main() -> std::io::Result<()> {
/// let cores = corering::Cores::count(1)?.start(|core| async move {
///     core.stopping().await;
///     "stopped"
/// })?;
/// let sum = cores.handle().spawn_on(0, || async { 40 + 2 });
/// assert_eq!(sum.wait().unwrap(), 42);
/// cores.handle().stop();
/// assert_eq!(cores.join()[0].output.as_ref().unwrap(), &"stopped");
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct Handle(pub(super) SharedMesh);

impl Handle {
    /// How many cores there are.
    #[must_use]
    pub fn count(&self) -> usize {
        self.0.len()
    }

    /// Runs `make` on core `to`, spawns the future that it returns there, and gives its output: to
    /// be awaited on whatever runtime, or [waited for](Remote::wait).
    ///
    /// All threads share one queue to a core. While it is full this blocks the thread; a task of a
    /// core sends by [`Core::spawn_on`](super::Core::spawn_on) instead.
    ///
    /// # Errors
    ///
    /// As of [`Core::spawn_on`](super::Core::spawn_on).
    ///
    /// # Panics
    ///
    /// If there is no core `to`.
    #[track_caller]
    pub fn spawn_on<M, F>(&self, to: usize, make: M) -> Remote<F::Output>
    where
        M: FnOnce() -> F + Send + 'static,
        F: Future<Output: Send> + 'static,
    {
        let (mut message, reply) = self.message(to, make);
        while let Err(Refused::Full(back)) = self.0.send_from_outside(to, message) {
            message = back;
            thread::sleep(LOOK);
        }
        Remote(reply)
    }

    /// The same, but for a queue that is full, which is an error.
    ///
    /// # Errors
    ///
    /// [`Full`]: `make` was dropped.
    ///
    /// # Panics
    ///
    /// If there is no core `to`.
    #[track_caller]
    pub fn try_spawn_on<M, F>(&self, to: usize, make: M) -> Result<Remote<F::Output>, Full>
    where
        M: FnOnce() -> F + Send + 'static,
        F: Future<Output: Send> + 'static,
    {
        let (message, reply) = self.message(to, make);
        match self.0.send_from_outside(to, message) {
            Err(Refused::Full(_)) => Err(Full(())),
            // Dropped, it has answered that it was cancelled.
            Ok(()) | Err(Refused::Gone(_)) => Ok(Remote(reply)),
        }
    }

    #[track_caller]
    fn message<M, F>(&self, to: usize, make: M) -> (Message, Reply<F::Output>)
    where
        M: FnOnce() -> F + Send + 'static,
        F: Future<Output: Send> + 'static,
    {
        let count = self.count();
        assert!(
            to < count,
            "there is no core {to}: there are {count}, from 0"
        );
        message(make, Location::caller())
    }

    /// Begins a stop of all cores: [`Core::stopping`](super::Core::stopping) resolves on each.
    pub fn stop(&self) {
        self.0.stop(Level::Stopping);
    }

    /// Has every core drop its main future and all its tasks now.
    pub fn stop_now(&self) {
        self.0.stop(Level::Now);
    }
}

impl fmt::Debug for Handle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Handle")
            .field("count", &self.count())
            .finish_non_exhaustive()
    }
}

/// The core's queue for messages of other threads is full: try again later.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Full(());

impl fmt::Display for Full {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the core's queue for messages of other threads is full")
    }
}

impl Error for Full {}

/// The output of work that a thread has sent to a core; made by [`Handle::spawn_on`].
///
/// # Cancellation
///
/// Dropped, it lets the task run on, and drops its output. [`abort`](Self::abort) ends it.
#[must_use = "the output, or why there is none, is in here"]
pub struct Remote<T>(Reply<T>);

impl<T> Remote<T> {
    /// Blocks the thread until the output is there.
    ///
    /// # Errors
    ///
    /// As of [`Core::spawn_on`](super::Core::spawn_on).
    pub fn wait(self) -> Result<T, JoinError> {
        let waker = Waker::from(Arc::new(Unpark(thread::current())));
        let mut cx = Context::from_waker(&waker);
        let mut this = pin!(self);
        loop {
            match this.as_mut().poll(&mut cx) {
                Poll::Ready(output) => return output,
                Poll::Pending => thread::park(),
            }
        }
    }

    /// Has the task dropped by its core.
    pub fn abort(&self) {
        self.0.abort();
    }

    /// Whether the output is there.
    #[must_use]
    pub fn is_finished(&self) -> bool {
        self.0.is_done()
    }
}

impl<T> Future for Remote<T> {
    type Output = Result<T, JoinError>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        self.0.poll(cx)
    }
}

impl<T> fmt::Debug for Remote<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Remote")
            .field("is_finished", &self.is_finished())
            .finish()
    }
}

struct Unpark(Thread);

impl Wake for Unpark {
    fn wake(self: Arc<Unpark>) {
        self.0.unpark();
    }
}
