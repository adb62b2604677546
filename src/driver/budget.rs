//! How much a task may do before it lets others run.
//!
//! A future of ours that finds its result ready spends one unit. A task that has spent all of them
//! is woken and returns, so that two tasks over sources that are always ready take turns. The
//! runtime refills the budget before each poll.

use std::cell::Cell;
use std::task::{Context, Poll};

/// What one poll of a task may take from sources that are always ready.
const UNITS: u32 = 128;

thread_local! {
    static LEFT: Cell<u32> = const { Cell::new(UNITS) };
}

/// Refills the budget; called before each poll of a task.
#[inline]
pub(crate) fn refill() {
    // Only a thread that is being torn down has no cell, and it polls no task.
    let _ = LEFT.try_with(|left| left.set(UNITS));
}

/// Takes one unit. Pending, with the task woken, if there is none left.
#[inline]
pub(crate) fn spend(cx: &Context<'_>) -> Poll<()> {
    let granted = LEFT.try_with(|left| {
        let units = left.get().checked_sub(1);
        units.inspect(|&units| left.set(units)).is_some()
    });
    if granted.unwrap_or(true) {
        return Poll::Ready(());
    }
    give_way(cx)
}

#[cold]
fn give_way(cx: &Context<'_>) -> Poll<()> {
    cx.waker().wake_by_ref();
    Poll::Pending
}
