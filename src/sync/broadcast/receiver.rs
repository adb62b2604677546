//! The receiving half.

use std::fmt;
use std::rc::Rc;

use super::{RecvError, Shared, TryRecvError};
use crate::sync::wait::until_called;

/// Receives every value that is sent while it is there, if it is fast enough.
pub struct Receiver<T> {
    shared: Rc<Shared<T>>,
    /// The number of the next value to receive.
    next: u64,
}

impl<T: Clone> Receiver<T> {
    /// Waits for the next value.
    ///
    /// # Errors
    ///
    /// [`RecvError::Lagged`] if some are lost, [`RecvError::Closed`] when there can be none any
    /// more.
    ///
    /// # Cancellation
    ///
    /// Dropped, it has taken no value.
    pub async fn recv(&mut self) -> Result<T, RecvError> {
        loop {
            until_called(&self.shared.line, || !self.would_wait()).await;
            return match self.try_recv() {
                Ok(value) => Ok(value),
                Err(TryRecvError::Closed) => Err(RecvError::Closed),
                Err(TryRecvError::Lagged(lost)) => Err(RecvError::Lagged(lost)),
                Err(TryRecvError::Empty) => continue,
            };
        }
    }

    /// The next value, if it is there.
    ///
    /// # Errors
    ///
    /// [`TryRecvError::Empty`] if one may still come, [`TryRecvError::Closed`] if not, and
    /// [`TryRecvError::Lagged`].
    pub fn try_recv(&mut self) -> Result<T, TryRecvError> {
        let mut ring = self.shared.ring.borrow_mut();
        if self.next == ring.next {
            return Err(match self.shared.senders.get() {
                0 => TryRecvError::Closed,
                _ => TryRecvError::Empty,
            });
        }
        let lost = ring.first().saturating_sub(self.next);
        if lost > 0 {
            self.next += lost;
            return Err(TryRecvError::Lagged(lost));
        }
        let place = ring.place(self.next);
        self.next += 1;
        place.left -= 1;
        if place.left == 0
            && let Some(value) = Rc::get_mut(&mut place.value).and_then(Option::take)
        {
            return Ok(value);
        }
        let value = Rc::clone(&place.value);
        drop(ring);
        Ok(there(&value).clone())
    }

    /// A receiver of what is sent from now on.
    #[must_use]
    pub fn resubscribe(&self) -> Receiver<T> {
        Receiver::new(&self.shared)
    }
}

impl<T> Receiver<T> {
    pub(super) fn new(shared: &Rc<Shared<T>>) -> Receiver<T> {
        shared.receivers.set(shared.receivers.get() + 1);
        Receiver {
            shared: Rc::clone(shared),
            next: shared.ring.borrow().next,
        }
    }

    /// How many values there are that it has not received, those that are lost among them.
    #[must_use]
    pub fn len(&self) -> usize {
        (self.shared.ring.borrow().next - self.next) as usize
    }

    /// Whether it has received all there is.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Whether both receive from the same channel.
    #[must_use]
    pub fn same_channel(&self, other: &Receiver<T>) -> bool {
        Rc::ptr_eq(&self.shared, &other.shared)
    }

    fn would_wait(&self) -> bool {
        self.is_empty() && self.shared.senders.get() > 0
    }

    /// The next value that was sent before `end`, if this is the last receiver of it.
    fn give_up_one(&mut self, end: u64) -> Option<Option<T>> {
        let mut ring = self.shared.ring.borrow_mut();
        let number = self.next.max(ring.first());
        if number >= end {
            return None;
        }
        self.next = number + 1;
        let place = ring.place(number);
        place.left -= 1;
        let is_last = place.left == 0;
        let value = Rc::get_mut(&mut place.value).filter(|_| is_last);
        Some(value.and_then(Option::take))
    }
}

/// The last receiver takes a value out: for the others it is there.
fn there<T>(value: &Option<T>) -> &T {
    value.as_ref().expect("this receiver had not got it")
}

impl<T> Drop for Receiver<T> {
    fn drop(&mut self) {
        let left = self.shared.receivers.get() - 1;
        self.shared.receivers.set(left);
        // What is sent from here on does not count this receiver.
        let end = self.shared.ring.borrow().next;
        while let Some(value) = self.give_up_one(end) {
            drop(value);
        }
        if left == 0 {
            self.shared.closed.call_all();
            self.shared.closed.wake_called();
        }
    }
}

impl<T> fmt::Debug for Receiver<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Receiver")
            .field("len", &self.len())
            .finish_non_exhaustive()
    }
}
