//! One job, shared by the queue (or the thread that runs it) and its handle.
//!
//! Its stage only moves forward:
//!
//! ```text
//! Queued ──run──► Running ──► Done ──poll──► Taken
//!    └─abort, refusal, pool dropped──► Done
//! ```
//!
//! Whoever moves it out of `Queued` owns the closure from there, so a job is run at most once and
//! an aborted one never. The closure, its result and the waker are user code: they are called,
//! dropped and cloned with the stage unlocked.

use std::any::Any;
use std::mem;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use crate::task::JoinError;
use crate::task::loom::Mutex;

use super::lock;

/// What the queue sees of a [`Work`].
pub(super) trait Job: Send + Sync {
    fn run(self: Arc<Self>);
    /// Ends a job that has not begun, with `error`; false if it has begun or ended.
    fn settle(&self, error: JoinError) -> bool;
}

/// What the handle sees of a [`Work`].
pub(super) trait Outcome<R>: Job {
    fn poll(&self, cx: &mut Context<'_>) -> Poll<Result<R, JoinError>>;
    fn is_finished(&self) -> bool;
}

pub(super) struct Work<F, R> {
    progress: Mutex<Progress<F, R>>,
}

struct Progress<F, R> {
    stage: Stage<F, R>,
    /// Whom to wake when `stage` becomes `Done`; none from then on.
    waker: Option<Waker>,
}

enum Stage<F, R> {
    Queued(F),
    Running,
    Done(Result<R, JoinError>),
    Taken,
}

impl<F, R> Work<F, R> {
    pub(super) fn new(f: F) -> Self {
        Self {
            progress: Mutex::new(Progress {
                stage: Stage::Queued(f),
                waker: None,
            }),
        }
    }

    fn finish(&self, result: Result<R, JoinError>) {
        let mut progress = lock(&self.progress);
        progress.stage = Stage::Done(result);
        let waker = progress.waker.take();
        drop(progress);
        if let Some(waker) = waker {
            waker.wake();
        }
    }
}

impl<F, R> Job for Work<F, R>
where
    F: FnOnce() -> R + Send,
    R: Send,
{
    fn run(self: Arc<Self>) {
        let mut progress = lock(&self.progress);
        let Stage::Queued(_) = progress.stage else {
            return;
        };
        let Stage::Queued(f) = mem::replace(&mut progress.stage, Stage::Running) else {
            unreachable!("the stage was looked at under this lock")
        };
        drop(progress);
        let result = catch_unwind(AssertUnwindSafe(f));
        self.finish(result.map_err(|payload: Box<dyn Any + Send>| JoinError::panic(payload)));
    }

    fn settle(&self, error: JoinError) -> bool {
        let mut progress = lock(&self.progress);
        let Stage::Queued(_) = progress.stage else {
            return false;
        };
        let queued = mem::replace(&mut progress.stage, Stage::Done(Err(error)));
        let waker = progress.waker.take();
        drop(progress);
        if let Some(waker) = waker {
            waker.wake();
        }
        drop(queued);
        true
    }
}

impl<F, R> Outcome<R> for Work<F, R>
where
    F: FnOnce() -> R + Send,
    R: Send,
{
    fn poll(&self, cx: &mut Context<'_>) -> Poll<Result<R, JoinError>> {
        // Cloned before the lock is taken and dropped after it is released: a waker may do
        // anything, such as aborting this very job.
        let waker = cx.waker().clone();
        let mut progress = lock(&self.progress);
        match progress.stage {
            Stage::Queued(_) | Stage::Running => {
                let previous = progress.waker.replace(waker);
                drop(progress);
                drop(previous);
                Poll::Pending
            }
            Stage::Done(_) => {
                let stage = mem::replace(&mut progress.stage, Stage::Taken);
                drop(progress);
                let Stage::Done(result) = stage else {
                    unreachable!("matched under the lock")
                };
                Poll::Ready(result)
            }
            Stage::Taken => {
                drop(progress);
                panic!("a BlockingHandle was polled after it gave its result")
            }
        }
    }

    fn is_finished(&self) -> bool {
        matches!(lock(&self.progress).stage, Stage::Done(_) | Stage::Taken)
    }
}
