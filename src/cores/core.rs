//! What a program holds of the core that it runs on.

use std::any::Any;
use std::fmt;
use std::future::Future;
use std::io;
use std::panic::Location;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::Duration;

use super::mesh::{Level, Message, Refused, SharedMesh};
use super::spawn_on::{Broadcast, SpawnOn};
use super::wakers::Wakers;
use crate::runtime::{self, Messages};
use crate::time::{Instant, sleep_until};

/// How often [`Core::drain`] looks whether all tasks have ended.
const LOOK: Duration = Duration::from_millis(1);
/// Tasks that are no work of the program's: its main future, and the mailman.
const OWN_TASKS: usize = 2;

/// One of several cores, in the hands of what runs on it. Cheap to clone; it stays on its core.
///
/// # Examples
///
/// ```
/// # fn main() -> std::io::Result<()> {
/// corering::Cores::count(2)?.run(|core| async move {
///     if core.index() == 0 {
///         let sum = core.spawn_on(1, || async { 40 + 2 });
///         assert_eq!(sum.await.unwrap(), 42);
///         core.stop();
///     }
///     // One that has ended runs nothing for the others.
///     core.stopping().await;
///     Ok(())
/// })
/// # }
/// ```
#[derive(Clone)]
pub struct Core(pub(super) Rc<Local>);

/// One core's own half.
pub(super) struct Local {
    pub(super) mesh: SharedMesh,
    pub(super) index: usize,
    pub(super) cpu: Option<usize>,
    /// Those that wait for room in another core's queue.
    pub(super) room: Wakers,
    /// Those that wait for the stop.
    pub(super) stop: Wakers,
    pub(super) messages: Rc<Messages>,
}

impl Core {
    /// The core that the calling task runs on; `None` if its runtime is not one of several.
    #[must_use]
    pub fn current() -> Option<Core> {
        let attached: Rc<dyn Any> = runtime::attached()?;
        attached.downcast::<Local>().ok().map(Core)
    }

    /// Which one it is, from 0.
    #[must_use]
    pub fn index(&self) -> usize {
        self.0.index
    }

    /// How many there are.
    #[must_use]
    pub fn count(&self) -> usize {
        self.0.mesh.len()
    }

    /// The CPU that its thread is pinned to; `None` if it is not.
    #[must_use]
    pub fn cpu(&self) -> Option<usize> {
        self.0.cpu
    }

    /// Runs `make` on core `to`, spawns the future that it returns there, and gives its output.
    ///
    /// The closure is sent, so it and the output are `Send`; its future stays where it was made,
    /// and need not be. The message is sent at once if the queue to that core has room, and
    /// otherwise when there is and the future is polled. With room, messages to one core arrive in
    /// order. To one's own core it takes no queue.
    ///
    /// # Errors
    ///
    /// A [`JoinError`](crate::task::JoinError) if the closure or its future panics, or is dropped
    /// because its core ends.
    ///
    /// # Cancellation
    ///
    /// Dropped, it takes back a message that could not be sent yet; otherwise the task runs on, and
    /// its output is dropped. [`SpawnOn::abort`] ends it.
    ///
    /// # Panics
    ///
    /// If there is no core `to`.
    #[track_caller]
    pub fn spawn_on<M, F>(&self, to: usize, make: M) -> SpawnOn<F::Output>
    where
        M: FnOnce() -> F + Send + 'static,
        F: Future<Output: Send> + 'static,
    {
        assert!(
            to < self.count(),
            "there is no core {to}: there are {}, from 0",
            self.count()
        );
        SpawnOn::new(self, to, make, Location::caller())
    }

    /// Runs `make` on every core, this one too, and gives the outputs in the order of the cores.
    ///
    /// # Errors
    ///
    /// For each core as [`spawn_on`](Self::spawn_on).
    ///
    /// # Cancellation
    ///
    /// As of [`spawn_on`](Self::spawn_on).
    #[track_caller]
    pub fn broadcast<M, F>(&self, make: M) -> Broadcast<F::Output>
    where
        M: Fn() -> F + Clone + Send + 'static,
        F: Future<Output: Send> + 'static,
    {
        let from = Location::caller();
        let to_each = (0..self.count()).map(|to| SpawnOn::new(self, to, make.clone(), from));
        Broadcast::new(to_each.collect())
    }

    /// Whether a stop has begun.
    #[must_use]
    pub fn is_stopping(&self) -> bool {
        self.0.mesh.level() >= Level::Stopping
    }

    /// Resolves when a stop has begun: by a signal, by [`stop`](Self::stop), or because another
    /// core has panicked.
    ///
    /// # Cancellation
    ///
    /// Dropping it forgets nothing: a stop that has begun goes on.
    #[must_use = "futures do nothing unless polled"]
    pub fn stopping(&self) -> Stopping {
        Stopping {
            local: Rc::clone(&self.0),
            place: None,
        }
    }

    /// Begins a stop of all cores. Called again it changes nothing.
    pub fn stop(&self) {
        self.0.mesh.stop(Level::Stopping);
    }

    /// Waits until all tasks of this core have ended but the main one, at most for `limit`. For the
    /// end of main: those that are left then are dropped with the runtime.
    ///
    /// It does not begin a stop. What never ends by itself should wait for
    /// [`stopping`](Self::stopping), too.
    ///
    /// # Errors
    ///
    /// `TimedOut`, with the number of tasks that were left at the limit, or when the stop became
    /// urgent before it.
    ///
    /// # Cancellation
    ///
    /// Dropping it changes nothing.
    pub async fn drain(&self, limit: Duration) -> io::Result<()> {
        let end = Instant::now() + limit;
        loop {
            let tasks = runtime::stats().map_or(0, |stats| stats.tasks);
            let left = tasks.saturating_sub(OWN_TASKS);
            if left == 0 {
                return Ok(());
            }
            let now = Instant::now();
            if now >= end || self.0.mesh.level() == Level::Now {
                let index = self.0.index;
                return Err(io::Error::new(
                    io::ErrorKind::TimedOut,
                    format!("core {index}: {left} tasks had not ended within {limit:?}"),
                ));
            }
            sleep_until((now + LOOK).min(end)).await;
        }
    }
}

impl Local {
    pub(super) fn new(
        mesh: &SharedMesh,
        index: usize,
        cpu: Option<usize>,
        messages: Rc<Messages>,
    ) -> Local {
        Local {
            mesh: mesh.clone(),
            index,
            cpu,
            room: Wakers::default(),
            stop: Wakers::default(),
            messages,
        }
    }

    pub(super) fn send(&self, to: usize, message: Message) -> Result<(), Refused> {
        self.mesh.send(self.index, to, message)?;
        let sent = &self.messages.sent;
        sent.set(sent.get() + 1);
        Ok(())
    }
}

impl fmt::Debug for Core {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Core")
            .field("index", &self.0.index)
            .field("count", &self.count())
            .field("cpu", &self.0.cpu)
            .finish()
    }
}

/// Resolves when a stop of the cores has begun; made by [`Core::stopping`].
///
/// Cheap to clone, so that it can be asked in every round of a loop.
///
/// # Cancellation
///
/// Dropping it forgets nothing: a stop that has begun goes on.
pub struct Stopping {
    local: Rc<Local>,
    place: Option<usize>,
}

impl Future for Stopping {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let this = &mut *self;
        if this.local.mesh.level() >= Level::Stopping {
            return Poll::Ready(());
        }
        // Woken by the mailman, on this thread: a stop that begins now wakes it.
        this.local.stop.register(&mut this.place, cx);
        Poll::Pending
    }
}

impl Clone for Stopping {
    fn clone(&self) -> Stopping {
        Stopping {
            local: Rc::clone(&self.local),
            place: None,
        }
    }
}

impl Drop for Stopping {
    fn drop(&mut self) {
        self.local.stop.leave(&mut self.place);
    }
}

impl fmt::Debug for Stopping {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let begun = self.local.mesh.level() >= Level::Stopping;
        f.debug_struct("Stopping").field("begun", &begun).finish()
    }
}
