//! What comes back from another core.
//!
//! One cell for each message, made by who sends it and written once by who runs it. The value is
//! behind a mutex that is never contended, because who waits looks at it only after `done`; so to
//! answer, and to be woken by it, blocks nobody.

use std::task::{Context, Poll};

use super::sync::{Arc, AtomicBool, AtomicWaker, Mutex, Ordering::Acquire, Ordering::Release};
use crate::task::JoinError;

struct Cell<T> {
    done: AtomicBool,
    value: Mutex<Option<Result<T, JoinError>>>,
    /// Of who waits for the value.
    waiter: AtomicWaker,
    /// Who waits wants no value any more, and the task to end.
    aborted: AtomicBool,
    /// Of the task that makes the value.
    maker: AtomicWaker,
}

/// The end that waits.
pub(super) struct Reply<T>(Arc<Cell<T>>);

/// The end that answers. Dropped, it answers that the task was cancelled.
pub(super) struct Answer<T>(Option<Arc<Cell<T>>>);

pub(super) fn reply<T>() -> (Answer<T>, Reply<T>) {
    let cell = Arc::new(Cell {
        done: AtomicBool::new(false),
        value: Mutex::new(None),
        waiter: AtomicWaker::new(),
        aborted: AtomicBool::new(false),
        maker: AtomicWaker::new(),
    });
    (Answer(Some(Arc::clone(&cell))), Reply(cell))
}

impl<T> Cell<T> {
    fn put(&self, value: Result<T, JoinError>) {
        if let Ok(mut place) = self.value.lock() {
            *place = Some(value);
        }
        self.done.store(true, Release);
        self.waiter.wake();
    }
}

impl<T> Reply<T> {
    pub(super) fn is_done(&self) -> bool {
        self.0.done.load(Acquire)
    }

    /// The value, once it is there; it is there once.
    pub(super) fn poll(&self, cx: &Context<'_>) -> Poll<Result<T, JoinError>> {
        if let Some(value) = self.take() {
            return Poll::Ready(value);
        }
        register(&self.0.waiter, cx);
        // What came before the registering has woken nobody.
        self.take().map_or(Poll::Pending, Poll::Ready)
    }

    fn take(&self) -> Option<Result<T, JoinError>> {
        if !self.is_done() {
            return None;
        }
        let value = self.0.value.lock().ok()?.take();
        Some(value.unwrap_or_else(|| Err(JoinError::cancelled())))
    }

    /// Has the task dropped on its core, when it is next its turn.
    pub(super) fn abort(&self) {
        self.0.aborted.store(true, Release);
        self.0.maker.wake();
    }
}

impl<T> Answer<T> {
    pub(super) fn put(mut self, value: Result<T, JoinError>) {
        if let Some(cell) = self.0.take() {
            cell.put(value);
        }
    }

    /// Whether the task is to end. If not, the task of `cx` is woken when it is.
    pub(super) fn poll_aborted(&self, cx: &Context<'_>) -> bool {
        let Some(cell) = &self.0 else { return false };
        if cell.aborted.load(Acquire) {
            return true;
        }
        register(&cell.maker, cx);
        cell.aborted.load(Acquire)
    }
}

impl<T> Drop for Answer<T> {
    fn drop(&mut self) {
        if let Some(cell) = self.0.take() {
            cell.put(Err(JoinError::cancelled()));
        }
    }
}

/// Has `place` wake the task of `cx`. Who calls this has to look once more at what it waits for.
#[cfg(not(loom))]
pub(super) fn register(place: &AtomicWaker, cx: &Context<'_>) {
    place.register(cx.waker());
}

#[cfg(loom)]
pub(super) fn register(place: &AtomicWaker, cx: &Context<'_>) {
    place.register_by_ref(cx.waker());
}
