//! How much a task may take from what is always ready.

use std::task::{Context, Poll};

use crate::driver::budget;
use crate::time::Timers;

/// Takes one unit of the task's [budget]. Pending, with the task woken, if there is none left.
#[inline]
pub(super) fn spend(cx: &Context<'_>) -> Poll<()> {
    match budget::spend(cx) {
        Poll::Ready(()) => Poll::Ready(()),
        Poll::Pending => exhausted(),
    }
}

/// Outside of a runtime nobody refills the budget: other executors have to see to it themselves.
#[cold]
fn exhausted() -> Poll<()> {
    if Timers::current_exists() {
        Poll::Pending
    } else {
        Poll::Ready(())
    }
}
