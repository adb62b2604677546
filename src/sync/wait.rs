//! Waiting to be called, for what is nobody's in particular.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use super::fair::spend;
use super::line::{Line, Place};

/// Waits until the line is called, unless `done` says that there is nothing to wait for.
///
/// Who was called looks again: others may have been faster.
pub(super) fn until_called<F: Fn() -> bool>(line: &Line<()>, done: F) -> Wait<'_, F> {
    Wait {
        line,
        done,
        place: None,
    }
}

#[must_use = "futures do nothing unless polled"]
pub(super) struct Wait<'a, F> {
    line: &'a Line<()>,
    done: F,
    place: Option<Place>,
}

// The closure is called through a shared reference, never pinned.
impl<F> Unpin for Wait<'_, F> {}

impl<F: Fn() -> bool> Future for Wait<'_, F> {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        if let Some(place) = &self.place {
            return match self.line.poll_called(place, cx) {
                true => Poll::Ready(()),
                false => Poll::Pending,
            };
        }
        if (self.done)() {
            ready!(spend(cx));
            return Poll::Ready(());
        }
        let waker = cx.waker().clone();
        // Again, since a foreign waker's clone may do anything.
        if (self.done)() {
            return Poll::Ready(());
        }
        self.place = Some(self.line.push((), waker));
        Poll::Pending
    }
}

impl<F> Drop for Wait<'_, F> {
    fn drop(&mut self) {
        if let Some(place) = self.place.take() {
            self.line.leave(place);
        }
    }
}
