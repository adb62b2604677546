//! Resources in line for something that the core does once a turn.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;

/// Oldest first. Whether anybody waits is asked after each batch of tasks, and answered without a
/// borrow.
pub(super) struct Line<T> {
    waiting: RefCell<VecDeque<T>>,
    len: Cell<usize>,
}

impl<T> Line<T> {
    pub(super) const fn new() -> Line<T> {
        Line {
            waiting: RefCell::new(VecDeque::new()),
            len: Cell::new(0),
        }
    }

    pub(super) fn push(&self, last: T) {
        let mut waiting = self.waiting.borrow_mut();
        waiting.push_back(last);
        self.len.set(waiting.len());
    }

    pub(super) fn pop(&self) -> Option<T> {
        let mut waiting = self.waiting.borrow_mut();
        let first = waiting.pop_front();
        self.len.set(waiting.len());
        first
    }

    #[inline]
    pub(super) fn len(&self) -> usize {
        self.len.get()
    }

    #[inline]
    pub(super) fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Empties it.
    pub(super) fn take(&self) -> VecDeque<T> {
        self.len.set(0);
        self.waiting.take()
    }
}
