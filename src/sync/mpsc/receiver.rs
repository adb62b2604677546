//! The receiving half.

use std::fmt;
use std::future::poll_fn;
use std::mem;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};

use super::{Shared, TryRecvError};
use crate::sync::fair::spend;

/// Receives the values of all senders, in the order in which they were sent.
///
/// Dropped, it drops the values that are on their way, and senders that wait get theirs back.
pub struct Receiver<T> {
    shared: Rc<Shared<T>>,
}

impl<T> Receiver<T> {
    pub(super) fn new(shared: Rc<Shared<T>>) -> Receiver<T> {
        Receiver { shared }
    }

    /// Waits for the next value; `None` when there can be none any more: all senders are gone, or
    /// it is [closed](Self::close), and all values are received.
    ///
    /// # Cancellation
    ///
    /// Dropped, it has taken no value.
    #[inline]
    pub fn recv(&mut self) -> impl Future<Output = Option<T>> {
        Recv(self)
    }

    /// [`recv`](Self::recv) for futures that are written by hand.
    #[inline]
    pub fn poll_recv(&mut self, cx: &mut Context<'_>) -> Poll<Option<T>> {
        if let Some(value) = self.shared.pop() {
            if spend(cx).is_pending() {
                self.shared.put_back(value);
                return Poll::Pending;
            }
            self.shared.room.release(1);
            return Poll::Ready(Some(value));
        }
        if self.is_at_end() {
            return Poll::Ready(None);
        }
        match self.shared.receiver.register(cx) {
            true => self.look_again(),
            false => Poll::Pending,
        }
    }

    /// With a new waker, since its making may have run a sender.
    #[cold]
    fn look_again(&mut self) -> Poll<Option<T>> {
        match self.try_recv() {
            Ok(value) => Poll::Ready(Some(value)),
            Err(TryRecvError::Disconnected) => Poll::Ready(None),
            Err(TryRecvError::Empty) => Poll::Pending,
        }
    }

    /// Waits for one value at least, and appends up to `limit` that are there by then to `buffer`.
    /// Returns how many: 0 only if there can be none any more, or if `limit` is 0.
    ///
    /// # Cancellation
    ///
    /// Dropped, it has taken no value.
    pub async fn recv_many(&mut self, buffer: &mut Vec<T>, limit: usize) -> usize {
        if limit == 0 {
            return 0;
        }
        let Some(first) = poll_fn(|cx| self.poll_recv(cx)).await else {
            return 0;
        };
        buffer.push(first);
        let mut count = 1;
        while count < limit
            && let Ok(value) = self.try_recv()
        {
            buffer.push(value);
            count += 1;
        }
        count
    }

    /// The next value, if it is there.
    ///
    /// # Errors
    ///
    /// [`TryRecvError::Empty`] if one may still come, [`TryRecvError::Disconnected`] if not.
    #[inline]
    pub fn try_recv(&mut self) -> Result<T, TryRecvError> {
        match self.shared.pop() {
            Some(value) => {
                self.shared.room.release(1);
                Ok(value)
            }
            None if self.is_at_end() => Err(TryRecvError::Disconnected),
            None => Err(TryRecvError::Empty),
        }
    }

    /// With an empty queue: whether it stays so.
    fn is_at_end(&self) -> bool {
        let shared = &self.shared;
        // A permit that was taken may still be used, also when no new one is given.
        let all_room_is_free = || shared.room.available() >= shared.capacity;
        shared.senders.get() == 0 || (shared.room.is_closed() && all_room_is_free())
    }

    /// Lets nothing more be sent. What was sent already, or has its room, can still be received.
    pub fn close(&mut self) {
        self.shared.room.close();
        self.shared.closers.call_all();
        self.shared.closers.wake_called();
    }

    /// Whether nothing more can be sent: it is closed, or all senders are gone.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        self.shared.room.is_closed() || self.shared.senders.get() == 0
    }

    /// Whether no value is there.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.shared.queue.borrow().is_empty()
    }

    /// How many values are there.
    #[must_use]
    pub fn len(&self) -> usize {
        self.shared.queue.borrow().len()
    }

    /// How many values there is room for now.
    #[must_use]
    pub fn capacity(&self) -> usize {
        self.shared.room.available()
    }

    /// How many values there is room for when none is on its way.
    #[must_use]
    pub fn max_capacity(&self) -> usize {
        self.shared.capacity
    }
}

impl<T> Drop for Receiver<T> {
    fn drop(&mut self) {
        self.shared.receiver_gone.set(true);
        self.shared.receiver.clear();
        self.close();
        // Dropped when nothing is borrowed.
        let values = mem::take(&mut *self.shared.queue.borrow_mut());
        drop(values);
    }
}

impl<T> fmt::Debug for Receiver<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Receiver")
            .field("len", &self.len())
            .field("is_closed", &self.is_closed())
            .finish()
    }
}

struct Recv<'a, T>(&'a mut Receiver<T>);

impl<T> Future for Recv<'_, T> {
    type Output = Option<T>;

    #[inline]
    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<T>> {
        self.0.poll_recv(cx)
    }
}
