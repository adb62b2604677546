//! A bounded pool of threads for calls that block.
//!
//! # Counting threads
//!
//! `State::idle` counts the threads that will look at the queue again before they sleep or leave:
//! those that wait, those that were woken and are not there yet, and those that are only starting.
//! Each of them takes one job, so only the jobs beyond `idle` are a backlog:
//! `queue.len() <= idle + queue_max`, and `idle <= threads <= threads_max`.
//!
//! No user code (a job, its result, a waker) runs, is dropped or is cloned while the lock is held,
//! and on a pool thread its panics are contained. What may happen to one job is in [`work`].
//!
//! A pool is never joined: a job that hangs in a system call keeps its thread and nothing else.

mod work;

use std::cell::RefCell;
use std::collections::VecDeque;
use std::fmt;
use std::marker::PhantomData;
use std::mem;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::ptr;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use super::JoinError;
use super::loom::{Condvar, Mutex, MutexGuard, thread};

use self::work::{Job, Outcome, Work};

/// Runs `f` on a thread that may block, and gives a handle to its result.
///
/// For calls that would hold up every task of this core: name resolution, a C library, long
/// computations. The threads belong to the runtime (or to all runtimes that were started
/// together), are started on demand and leave after 10 s without work.
///
/// # Sizes
///
/// At most 64 threads by default, and at most 1,024 jobs that wait for one. A job beyond that is
/// refused: its closure is dropped here and its handle yields a [`JoinError`] that says so.
///
/// # Cancellation
///
/// Dropping the handle detaches the job: it runs to its end and its result is dropped. See
/// [`BlockingHandle::abort`] for a job that has not begun. When the runtime is dropped, jobs that
/// wait are dropped (their handles yield a cancelled [`JoinError`]), and those that run go on by
/// themselves; nobody waits for them.
///
/// # Panics
///
/// Panics outside a runtime and outside a job of one. A panic of `f` itself does not get here: the
/// handle yields it.
///
/// # Examples
///
/// ```
/// # fn main() -> std::io::Result<()> {
/// corering::Runtime::new()?.block_on(async {
///     let sum = corering::task::spawn_blocking(|| (1..=1_000_u64).sum::<u64>());
///     assert_eq!(sum.await.expect("the sum does not panic"), 500_500);
/// });
/// # Ok(())
/// # }
/// ```
#[track_caller]
pub fn spawn_blocking<F, R>(f: F) -> BlockingHandle<R>
where
    F: FnOnce() -> R + Send + 'static,
    R: Send + 'static,
{
    let pool = CURRENT
        .try_with(|current| current.borrow().clone())
        .ok()
        .flatten();
    let pool = pool
        .expect("spawn_blocking needs a runtime: call it from inside Runtime::block_on or a task");
    pool.spawn(f)
}

/// A future for the result of a job that runs on a blocking thread.
///
/// Resolves to what the closure returned, or to a [`JoinError`] if it panicked, was aborted before
/// it began, was refused by a full queue, or was still waiting when the runtime was dropped.
///
/// # Cancellation
///
/// Dropping it detaches the job.
///
/// # Panics
///
/// Polling it again after it gave its result panics.
pub struct BlockingHandle<R> {
    job: Arc<dyn Outcome<R>>,
    pool: Arc<Shared>,
}

impl<R> BlockingHandle<R> {
    /// Takes the job out of the queue if it has not begun: its closure is dropped before this
    /// returns and the handle yields a cancelled [`JoinError`].
    ///
    /// A job that runs cannot be stopped: it goes on, and the handle yields its result.
    pub fn abort(&self) {
        if self.job.settle(JoinError::cancelled()) {
            self.pool.forget(&self.job);
        }
    }

    /// Whether the result is there (or was taken already).
    #[must_use]
    pub fn is_finished(&self) -> bool {
        self.job.is_finished()
    }
}

impl<R> Future for BlockingHandle<R> {
    type Output = Result<R, JoinError>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        self.job.poll(cx)
    }
}

impl<R> fmt::Debug for BlockingHandle<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BlockingHandle")
            .field("finished", &self.is_finished())
            .finish()
    }
}

/// How far a [`Pool`] may grow.
#[derive(Clone)]
pub(crate) struct Limits {
    /// Threads at once, at least one. The default of 64 bounds what a burst costs (a thread is a
    /// kernel stack and 8 MiB of address space) and is far above what name resolution needs.
    pub(crate) threads_max: usize,
    /// Jobs that wait while every thread is busy; one more is refused.
    pub(crate) queue_max: usize,
    /// How long a thread waits for another job before it leaves.
    pub(crate) idle_max: Duration,
    /// Called first in each new thread. A thread inherits the CPU affinity of the one that started
    /// it, which is a pinned core: whoever pins cores has to widen the mask again here.
    pub(crate) thread_start: Option<Arc<dyn Fn() + Send + Sync>>,
    /// No threads at all: a job runs while it is spawned, in its caller.
    pub(crate) inline: bool,
}

impl fmt::Debug for Limits {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Limits")
            .field("threads_max", &self.threads_max)
            .field("queue_max", &self.queue_max)
            .field("idle_max", &self.idle_max)
            .field("inline", &self.inline)
            .finish_non_exhaustive()
    }
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            threads_max: 64,
            queue_max: 1_024,
            idle_max: Duration::from_secs(10),
            thread_start: None,
            inline: false,
        }
    }
}

/// The threads and their queue. Runtimes share one in an `Arc`; dropping the last drops what is
/// queued, tells the threads to leave and does not wait for them.
pub(crate) struct Pool {
    shared: Arc<Shared>,
}

impl Pool {
    /// Starts no thread: the first job does.
    pub(crate) fn new(limits: Limits) -> Self {
        let limits = Limits {
            threads_max: limits.threads_max.max(1),
            ..limits
        };
        let state = Mutex::new(State {
            queue: VecDeque::new(),
            threads: 0,
            idle: 0,
            closed: false,
        });
        let shared = Shared {
            state,
            arrived: Condvar::new(),
            limits,
        };
        Self {
            shared: Arc::new(shared),
        }
    }

    /// Makes this the pool of [`spawn_blocking`] on this thread until the guard is dropped.
    pub(crate) fn enter(&self) -> Entered {
        enter(Arc::clone(&self.shared))
    }

    /// [`spawn_blocking`] for callers that know their pool.
    #[cfg(test)]
    pub(crate) fn spawn<F, R>(&self, f: F) -> BlockingHandle<R>
    where
        F: FnOnce() -> R + Send + 'static,
        R: Send + 'static,
    {
        self.shared.spawn(f)
    }
}

impl Pool {
    /// Calls that run now.
    pub(crate) fn running(&self) -> usize {
        let state = lock(&self.shared.state);
        state.threads - state.idle
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        let (queued, threads) = {
            let mut state = lock(&self.shared.state);
            state.closed = true;
            (mem::take(&mut state.queue), state.threads)
        };
        if threads > 0 {
            self.shared.arrived.notify_all();
        }
        for job in queued {
            // One closure that panics in its `Drop` must not leave the others' handles waiting.
            contain(|| {
                job.settle(JoinError::cancelled());
            });
        }
    }
}

#[cfg(not(loom))]
thread_local! {
    static CURRENT: RefCell<Option<Arc<Shared>>> = const { RefCell::new(None) };
}
#[cfg(loom)]
::loom::thread_local! {
    static CURRENT: RefCell<Option<Arc<Shared>>> = RefCell::new(None);
}

fn enter(pool: Arc<Shared>) -> Entered {
    let previous = CURRENT
        .try_with(|current| current.replace(Some(pool)))
        .ok()
        .flatten();
    Entered {
        previous,
        _this_thread: PhantomData,
    }
}

/// While it lives, its pool is the thread's current one; then the one before it is again.
pub(crate) struct Entered {
    previous: Option<Arc<Shared>>,
    _this_thread: PhantomData<*const ()>,
}

impl Drop for Entered {
    fn drop(&mut self) {
        let previous = self.previous.take();
        // A thread that is being torn down has no current pool to restore.
        drop(CURRENT.try_with(|current| current.replace(previous)));
    }
}

struct Shared {
    state: Mutex<State>,
    /// Signalled once for each job that an idle thread is to take, and for all on closing.
    arrived: Condvar,
    limits: Limits,
}

struct State {
    queue: VecDeque<Arc<dyn Job>>,
    threads: usize,
    idle: usize,
    closed: bool,
}

impl Shared {
    fn spawn<F, R>(self: &Arc<Self>, f: F) -> BlockingHandle<R>
    where
        F: FnOnce() -> R + Send + 'static,
        R: Send + 'static,
    {
        let job = Arc::new(Work::new(f));
        if self.limits.inline {
            contain(|| (Arc::clone(&job) as Arc<dyn Job>).run());
        } else if let Err(refusal) = self.submit(Arc::clone(&job) as Arc<dyn Job>) {
            job.settle(refusal);
        }
        BlockingHandle {
            job,
            pool: Arc::clone(self),
        }
    }

    fn submit(self: &Arc<Self>, job: Arc<dyn Job>) -> Result<(), JoinError> {
        let mut state = lock(&self.state);
        if state.closed {
            return Err(JoinError::cancelled());
        }
        if state.queue.len() >= state.idle && state.threads < self.limits.threads_max {
            self.start_thread(&mut state);
        }
        if state.threads == 0 {
            // Queued, it would wait for ever.
            return Err(JoinError::refused("no blocking thread could be started"));
        }
        if state.queue.len() >= state.idle + self.limits.queue_max {
            return Err(JoinError::refused(
                "the queue of the blocking threads is full",
            ));
        }
        state.queue.push_back(job);
        self.arrived.notify_one();
        Ok(())
    }

    /// Under the lock, so that a failure is known before the job is queued. Starting takes some
    /// 30 µs and happens at most once per thread and idle time.
    fn start_thread(self: &Arc<Self>, state: &mut State) {
        let shared = Arc::clone(self);
        let thread = thread::Builder::new().name(NAME.to_owned());
        if thread.spawn(move || shared.work()).is_ok() {
            state.threads += 1;
            state.idle += 1;
        }
    }

    fn work(self: Arc<Self>) {
        // A job may spawn another one.
        let _current = enter(Arc::clone(&self));
        if let Some(thread_start) = &self.limits.thread_start {
            contain(|| thread_start());
        }
        let mut state = lock(&self.state);
        loop {
            if let Some(job) = state.queue.pop_front() {
                state.idle -= 1;
                drop(state);
                contain(|| job.run());
                state = lock(&self.state);
                state.idle += 1;
            } else if state.closed {
                break;
            } else {
                let waited = self.arrived.wait_timeout(state, self.limits.idle_max);
                let (guard, timeout) = waited.expect(NOT_POISONED);
                state = guard;
                if timeout.timed_out() && state.queue.is_empty() {
                    break;
                }
            }
        }
        state.idle -= 1;
        state.threads -= 1;
    }

    /// Gives the queue place of a settled job back. It looks at up to `queue_max` places, which is
    /// why only an abort does this.
    fn forget<J: ?Sized>(&self, job: &Arc<J>) {
        let mut state = lock(&self.state);
        let found = state
            .queue
            .iter()
            .position(|j| ptr::addr_eq(Arc::as_ptr(j), Arc::as_ptr(job)));
        let job = found.and_then(|index| state.queue.remove(index));
        drop(state);
        drop(job);
    }
}

const NAME: &str = "corering-blocking";

/// Stops a panic of user code here. Its payload is leaked, since dropping it may panic again.
fn contain(f: impl FnOnce()) {
    if let Err(payload) = catch_unwind(AssertUnwindSafe(f)) {
        mem::forget(payload);
    }
}

const NOT_POISONED: &str = "no user code runs while this lock is held";

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().expect(NOT_POISONED)
}

#[cfg(all(test, loom))]
mod stories;
#[cfg(all(test, not(loom)))]
mod tests;
