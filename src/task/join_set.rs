//! A group of tasks that are joined in the order in which they end.
//!
//! Each future is wrapped in one that, as it is dropped, puts its key into the set's list: that is
//! when it returns, panics or is aborted, and in each case before its handle has the outcome. No
//! task knows that it is in a set, and none has a waker of its own for that.

use std::{
    cell::{Cell, RefCell},
    collections::VecDeque,
    fmt,
    pin::Pin,
    rc::Rc,
    task::{Context, Poll, Waker},
};

use pin_project_lite::pin_project;
use slab::Slab;

use super::{builder::Builder, error::JoinError, join::JoinHandle};

/// Tasks that belong together: they are joined as they end, and aborted when the set is dropped.
///
/// That is what is called a task group, a nursery or a scope elsewhere: no task outlives who holds
/// the set, and [`join_all`](Self::join_all) waits for all of them. With
/// [`try_join_all`](Self::try_join_all) the first that fails, or panics, ends the others. Tasks
/// cannot borrow from the function around them, though: a future may be forgotten, and then its
/// borrows would end before they do. Hand them an [`Rc`].
///
/// # Cancellation
///
/// Dropping the set aborts all its tasks. [`detach_all`](Self::detach_all) lets them run on.
///
/// # Examples
///
/// ```
/// use corering::task::JoinSet;
///
/// # fn main() -> std::io::Result<()> {
/// corering::Runtime::new()?.block_on(async {
///     let mut requests = JoinSet::new();
///     for number in 0..10 {
///         requests.spawn(async move { number * number });
///     }
///     let mut sum = 0;
///     while let Some(square) = requests.join_next().await {
///         sum += square.expect("no task panics");
///     }
///     assert_eq!(sum, 285);
/// });
/// # Ok(())
/// # }
/// ```
pub struct JoinSet<T> {
    handles: Slab<JoinHandle<T>>,
    ended: Rc<Ended>,
}

/// What tasks tell their set.
#[derive(Default)]
struct Ended {
    /// Keys of those that have ended and were not joined.
    keys: RefCell<VecDeque<usize>>,
    waker: Cell<Option<Waker>>,
}

impl<T: 'static> JoinSet<T> {
    /// A set without tasks.
    #[must_use]
    pub fn new() -> JoinSet<T> {
        JoinSet {
            handles: Slab::new(),
            ended: Rc::default(),
        }
    }

    /// Starts a task of the set, as [`spawn`](super::spawn) does.
    ///
    /// # Panics
    ///
    /// Outside of a runtime.
    #[track_caller]
    pub fn spawn<F: Future<Output = T> + 'static>(&mut self, future: F) {
        self.spawn_with(Builder::new(), future);
    }

    /// The same, for a task with a name or of a class.
    ///
    /// # Panics
    ///
    /// Outside of a runtime.
    #[track_caller]
    pub fn spawn_with<F>(&mut self, builder: Builder, future: F)
    where
        F: Future<Output = T> + 'static,
    {
        let member = Member {
            future,
            end: End {
                key: self.handles.vacant_key(),
                ended: Rc::clone(&self.ended),
            },
        };
        self.handles.insert(builder.spawn(member));
    }

    /// Waits for the next task to end, and gives its outcome; `None` if the set is empty.
    ///
    /// # Cancellation
    ///
    /// Dropped, it has joined no task.
    #[inline]
    pub fn join_next(&mut self) -> impl Future<Output = Option<Result<T, JoinError>>> {
        std::future::poll_fn(|cx| self.poll_join_next(cx))
    }

    /// [`join_next`](Self::join_next) for futures that are written by hand.
    pub fn poll_join_next(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<T, JoinError>>> {
        if self.handles.is_empty() {
            return Poll::Ready(None);
        }
        if let Some(outcome) = self.poll_ended(cx) {
            return Poll::Ready(Some(outcome));
        }
        let before = self.ended.waker.take();
        if before
            .as_ref()
            .is_some_and(|waker| waker.will_wake(cx.waker()))
        {
            self.ended.waker.set(before);
            return Poll::Pending;
        }
        self.ended.waker.set(Some(cx.waker().clone()));
        drop(before);
        // A foreign waker may run anything, also a task of the set.
        self.poll_ended(cx)
            .map_or(Poll::Pending, |outcome| Poll::Ready(Some(outcome)))
    }

    /// The outcome of a task that has ended, if there is one.
    pub fn try_join_next(&mut self) -> Option<Result<T, JoinError>> {
        self.poll_ended(&mut Context::from_waker(Waker::noop()))
    }

    fn poll_ended(&mut self, cx: &mut Context<'_>) -> Option<Result<T, JoinError>> {
        let key = self.ended.keys.borrow().front().copied()?;
        // Pending if the task's future is being dropped just now: then the handle wakes.
        let Poll::Ready(outcome) = Pin::new(&mut self.handles[key]).poll(cx) else {
            return None;
        };
        self.ended.keys.borrow_mut().pop_front();
        drop(self.handles.remove(key));
        Some(outcome)
    }

    /// Waits for all tasks, and gives their outputs in the order in which they ended.
    ///
    /// # Panics
    ///
    /// If a task panicked, with its panic, or was aborted. The others are aborted and have ended by
    /// then.
    ///
    /// # Cancellation
    ///
    /// Dropped, it aborts the tasks that have not ended.
    pub async fn join_all(mut self) -> Vec<T> {
        let mut outputs = Vec::with_capacity(self.len());
        while let Some(outcome) = self.join_next().await {
            match outcome {
                Ok(output) => outputs.push(output),
                Err(error) => {
                    self.shutdown().await;
                    resume(error)
                }
            }
        }
        outputs
    }

    /// Aborts all tasks and waits until they have ended.
    ///
    /// # Cancellation
    ///
    /// Dropped, it has aborted them all the same; those that have not ended are still in the set.
    pub async fn shutdown(&mut self) {
        self.abort_all();
        while self.join_next().await.is_some() {}
    }
}

impl<T: 'static, E: 'static> JoinSet<Result<T, E>> {
    /// Waits for all tasks, and gives their outputs in the order in which they ended.
    ///
    /// # Errors
    ///
    /// The first error of a task. The others are aborted and have ended by then, their destructors
    /// too.
    ///
    /// # Panics
    ///
    /// If a task panicked, with its panic, or was aborted; the others as with an error.
    ///
    /// # Cancellation
    ///
    /// Dropped, it aborts the tasks that have not ended.
    ///
    /// # Examples
    ///
    /// ```
    /// use corering::task::JoinSet;
    ///
    /// # fn main() -> std::io::Result<()> {
    /// corering::Runtime::new()?.block_on(async {
    ///     let mut parts = JoinSet::new();
    ///     parts.spawn(std::future::pending());
    ///     parts.spawn(async { Err::<u32, _>("no such part") });
    ///     assert_eq!(parts.try_join_all().await, Err("no such part"));
    /// });
    /// # Ok(())
    /// # }
    /// ```
    pub async fn try_join_all(mut self) -> Result<Vec<T>, E> {
        let mut outputs = Vec::with_capacity(self.len());
        while let Some(outcome) = self.join_next().await {
            let error = match outcome {
                Ok(Ok(output)) => {
                    outputs.push(output);
                    continue;
                }
                Ok(Err(error)) => Ok(error),
                Err(error) => Err(error),
            };
            self.shutdown().await;
            return Err(error.unwrap_or_else(|error| resume(error)));
        }
        Ok(outputs)
    }
}

impl<T> JoinSet<T> {
    /// Aborts all tasks. They stay in the set until they are joined.
    pub fn abort_all(&self) {
        for (_, handle) in &self.handles {
            handle.abort();
        }
    }

    /// Takes all tasks out of the set, to run on by themselves.
    pub fn detach_all(&mut self) {
        // A set of its own takes what still ends, so that keys are not mistaken.
        self.ended = Rc::default();
        drop(std::mem::take(&mut self.handles));
    }

    /// Tasks that were not joined yet.
    #[must_use]
    pub fn len(&self) -> usize {
        self.handles.len()
    }

    /// Whether all tasks were joined.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.handles.is_empty()
    }
}

impl<T: 'static> Default for JoinSet<T> {
    fn default() -> JoinSet<T> {
        JoinSet::new()
    }
}

impl<T> Drop for JoinSet<T> {
    fn drop(&mut self) {
        self.abort_all();
    }
}

impl<T> fmt::Debug for JoinSet<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("JoinSet").field("len", &self.len()).finish()
    }
}

pin_project! {
    struct Member<F> {
        // Dropped first: what its destructors do is part of the task.
        #[pin]
        future: F,
        end: End,
    }
}

impl<F: Future> Future for Member<F> {
    type Output = F::Output;

    #[inline]
    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<F::Output> {
        self.project().future.poll(cx)
    }
}

/// Tells the set when it is dropped.
struct End {
    key: usize,
    ended: Rc<Ended>,
}

impl Drop for End {
    fn drop(&mut self) {
        self.ended.keys.borrow_mut().push_back(self.key);
        if let Some(waker) = self.ended.waker.take() {
            waker.wake();
        }
    }
}

#[cold]
fn resume(error: JoinError) -> ! {
    match error.try_into_panic() {
        Ok(payload) => std::panic::resume_unwind(payload),
        Err(error) => panic!("a task of the set has no output: {error}"),
    }
}
