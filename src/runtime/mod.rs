//! The runtime of one core: a ring, an executor, timers and buffers, and the loop that turns them.
//!
//! # A turn
//!
//! The loop runs the tasks that were ready when the turn began, submits all that they asked for and
//! reaps what is done with one `io_uring_enter`, and begins again. Without ready tasks it looks for
//! completions in user space for a while, if that has paid lately (see [`Spin`]), and then sleeps
//! in the kernel until something completes, a timer is due, or another thread wakes a task.
//!
//! # Starting one
//!
//! [`Runtime::new`] and `#[corering::main]` take the defaults, [`Builder`] has them all. A runtime
//! stays on the thread that built it: to use several cores, build one on a thread for each.
//!
//! # Looking into one
//!
//! [`stats`] and [`Runtime::stats`] are plain numbers, to be taken twice and subtracted:
//!
//! ```
//! use corering::runtime::{nop, stats};
//!
//! # fn main() -> std::io::Result<()> {
//! corering::Runtime::new()?.block_on(async {
//!     let before = stats().expect("a runtime runs here");
//!     nop().await?;
//!     let after = stats().expect("a runtime runs here");
//!     assert_eq!(after.sqes - before.sqes, 1);
//!     Ok(())
//! })
//! # }
//! ```
//!
//! # A task that holds the core
//!
//! While a task is polled nothing else runs on its core. One that goes on for more than 16 ms is
//! reported on stderr, with where it was spawned, while it goes on; [`Builder::stall_limit`] and
//! [`Builder::on_stall`] change that, and [`Stats::stalls`] counts.

mod builder;
mod cgroup;
mod core;
mod leftover;
mod nop;
mod spin;
mod stall;
mod stats;
#[cfg(feature = "sim")]
mod step;

use std::any::Any;
use std::cell::RefCell;
use std::fmt;
use std::future::Future;
use std::io;
use std::pin::pin;
use std::rc::Rc;
use std::time::Duration;

use self::core::Core;

pub use self::builder::Builder;
pub(crate) use self::cgroup::parse_list;
pub use self::leftover::Leftover;
pub use self::nop::{Nop, nop};
pub use self::spin::Spin;
pub use self::stall::Stall;
pub(crate) use self::stats::Messages;
pub use self::stats::Stats;
#[cfg(feature = "sim")]
pub(crate) use self::step::{Next, tell};
pub use crate::ring::{Cause, Kick, Unavailable};

/// One core's runtime: it runs futures on the thread that built it.
///
/// A runtime owns one io_uring, one set of receive buffers, one timer wheel and one run queue, and
/// shares them with no other thread. Several may live on one thread, one after the other.
///
/// # Dropping
///
/// Dropping a runtime drops all its tasks, cancels every op and waits until the kernel is done with
/// their memory. What does not end within the limit (see [`Builder::teardown_limit`]) is leaked,
/// with a line on stderr that says so. Streams, leases, wakers and handles may outlive it: their
/// methods report `ECANCELED`, leases stay readable.
///
/// # Examples
///
/// ```
/// # fn main() -> std::io::Result<()> {
/// let runtime = corering::Runtime::new()?;
/// let sum = runtime.block_on(async {
///     let task = corering::spawn(async { 20 });
///     22 + task.await.unwrap()
/// });
/// assert_eq!(sum, 42);
/// # Ok(())
/// # }
/// ```
pub struct Runtime {
    core: Rc<Core>,
    /// [`Runtime::shutdown`] has done what dropping does.
    ended: bool,
}

thread_local! {
    static CURRENT: RefCell<Option<Rc<Core>>> = const { RefCell::new(None) };
}

impl Runtime {
    /// A runtime with the defaults of [`Builder`].
    ///
    /// # Errors
    ///
    /// As [`Builder::build`].
    pub fn new() -> io::Result<Runtime> {
        Builder::new().build()
    }

    /// Runs `future`, and the tasks that it spawns, until it is finished. Tasks that are left over
    /// go on in the next `block_on`.
    ///
    /// # Panics
    ///
    /// If `future` panics, with its panic. If a runtime runs on this thread already: a task that
    /// waits for another awaits it.
    #[track_caller]
    pub fn block_on<F: Future>(&self, future: F) -> F::Output {
        let _current =
            Entered(CURRENT.with(|current| current.replace(Some(Rc::clone(&self.core)))));
        self.core.block_on(pin!(future))
    }

    /// What the runtime has counted since it was built.
    pub fn stats(&self) -> Stats {
        self.core.stats()
    }

    /// Ends the runtime as dropping it does, but within `limit`, and tells what was left.
    ///
    /// Every operation is cancelled, and the kernel is waited for until it has let go of all of
    /// them. One that it does not let go of in time, such as a read of a hung file system, keeps
    /// its buffer, and the runtime its memory, for ever: to free it would not be safe.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::time::Duration;
    ///
    /// # fn main() -> std::io::Result<()> {
    /// let runtime = corering::Runtime::new()?;
    /// runtime.block_on(async {
    ///     corering::spawn(corering::time::sleep(Duration::from_secs(60)));
    /// });
    /// let left = runtime.shutdown(Duration::from_secs(1));
    /// assert!(left.is_empty(), "{left}");
    /// # Ok(())
    /// # }
    /// ```
    pub fn shutdown(mut self, limit: Duration) -> Leftover {
        self.ended = true;
        self.core.shut_down(limit)
    }

    /// The same within the limit that it was built with.
    pub(crate) fn end(self) -> Leftover {
        let limit = self.core.teardown_limit();
        self.shutdown(limit)
    }
}

/// What the runtime that runs on this thread has counted since it was built; `None` outside of one.
///
/// # Examples
///
/// ```
/// # fn main() -> std::io::Result<()> {
/// let runtime = corering::Runtime::new()?;
/// let stats = runtime.block_on(async { corering::runtime::stats() });
/// assert_eq!(stats.unwrap().tasks, 1);
/// assert!(corering::runtime::stats().is_none());
/// # Ok(())
/// # }
/// ```
pub fn stats() -> Option<Stats> {
    let core = CURRENT.try_with(|current| current.borrow().clone());
    core.ok().flatten().map(|core| core.stats())
}

/// What was [attached](attach) to the runtime that runs on this thread.
pub(crate) fn attached() -> Option<Rc<dyn Any>> {
    let core = CURRENT.try_with(|current| current.borrow().clone());
    core.ok().flatten()?.attached()
}

/// Keeps something for whoever asks on the runtime that runs on this thread, until its end. What
/// `make` gets is counted in the runtime's [`Stats`].
pub(crate) fn attach<T: 'static>(make: impl FnOnce(Rc<Messages>) -> Rc<T>) -> Option<Rc<T>> {
    let core = CURRENT
        .try_with(|current| current.borrow().clone())
        .ok()??;
    let what = make(core.messages());
    core.attach(Rc::clone(&what) as Rc<_>);
    Some(what)
}

/// Restores the thread's previous runtime.
struct Entered(Option<Rc<Core>>);

impl Drop for Entered {
    fn drop(&mut self) {
        let before = self.0.take();
        let _ = CURRENT.try_with(|current| current.replace(before));
    }
}

impl Drop for Runtime {
    fn drop(&mut self) {
        if !self.ended {
            self.core.drop_down();
        }
    }
}

impl fmt::Debug for Runtime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Runtime")
            .field("stats", &self.stats())
            .finish()
    }
}
