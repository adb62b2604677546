//! What becomes of one job in a story.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use crate::task::JoinError;

/// What happened to one job. No part of the story, hence invisible to loom.
#[derive(Clone, Default)]
pub(super) struct Job(Arc<Marks>);

#[derive(Default)]
struct Marks {
    runs: AtomicUsize,
    closures: AtomicUsize,
    results: AtomicUsize,
}

impl Job {
    /// A closure that does `work`.
    pub(super) fn doing<W, R>(&self, work: W) -> impl FnOnce() -> (R, Dropped) + Send + use<W, R>
    where
        W: FnOnce() -> R + Send,
    {
        let closure = Dropped(Arc::clone(&self.0), |marks| &marks.closures);
        let marks = Arc::clone(&self.0);
        move || {
            let _closure = closure;
            marks.runs.fetch_add(1, Relaxed);
            (work(), Dropped(marks, |marks| &marks.results))
        }
    }

    pub(super) fn closure(&self) -> impl FnOnce() -> ((), Dropped) + Send + use<> {
        self.doing(|| ())
    }

    pub(super) fn closure_is_dropped(&self) -> bool {
        self.0.closures.load(Relaxed) == 1
    }

    /// The end of the job as its handle saw it.
    pub(super) fn ended<R>(self, outcome: Result<(R, Dropped), JoinError>) -> Ended {
        let how = match &outcome {
            Ok(_) => How::Ran,
            Err(error) if error.is_refused() => How::Refused,
            Err(error) if error.is_cancelled() => How::Cancelled,
            Err(error) => panic!("{error}"),
        };
        Ended { job: self, how }
    }

    pub(super) fn detached(self) -> Ended {
        Ended {
            job: self,
            how: How::Detached,
        }
    }
}

/// Counts its drop.
pub(super) struct Dropped(Arc<Marks>, fn(&Marks) -> &AtomicUsize);

impl Drop for Dropped {
    fn drop(&mut self) {
        (self.1)(&self.0).fetch_add(1, Relaxed);
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum How {
    Ran,
    Cancelled,
    Refused,
    Detached,
}

pub(super) struct Ended {
    job: Job,
    pub(super) how: How,
}

impl Ended {
    pub(super) fn ran(self) -> Self {
        assert_eq!(self.how, How::Ran);
        self
    }

    /// The job ran or was cancelled, never both, and nothing of it was dropped twice or kept.
    pub(super) fn check(&self) {
        let Marks {
            runs,
            closures,
            results,
        } = &*self.job.0;
        let runs = runs.load(Relaxed);
        match self.how {
            How::Ran => assert_eq!(runs, 1),
            How::Cancelled | How::Refused => assert_eq!(runs, 0),
            How::Detached => assert!(runs <= 1),
        }
        assert_eq!(closures.load(Relaxed), 1, "the closure is dropped once");
        assert_eq!(results.load(Relaxed), runs, "the result is dropped once");
    }
}
