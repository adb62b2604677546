//! The sending half.

use std::fmt;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};

use super::{SendError, Shared, TrySendError};
use crate::sync::permits::Acquire;
use crate::sync::wait::until_called;

/// Sends values. Clones of it send to the same receiver.
pub struct Sender<T> {
    shared: Rc<Shared<T>>,
}

impl<T> Sender<T> {
    /// The first one, which is counted already.
    pub(super) fn new(shared: Rc<Shared<T>>) -> Sender<T> {
        Sender { shared }
    }

    /// Sends a value, when there is room for it.
    ///
    /// # Errors
    ///
    /// [`SendError`], with the value, if the receiver is gone or closed.
    ///
    /// # Cancellation
    ///
    /// Dropped, it drops the value and leaves the line; nothing was sent. To keep the value,
    /// [`reserve`](Self::reserve) first.
    #[inline]
    pub fn send(&self, value: T) -> impl Future<Output = Result<(), SendError<T>>> {
        Send {
            shared: &self.shared,
            acquire: self.shared.room.acquire(1),
            value: Some(value),
        }
    }

    /// Sends a value if there is room for it.
    ///
    /// # Errors
    ///
    /// The value, in [`TrySendError::Full`] or [`TrySendError::Closed`].
    pub fn try_send(&self, value: T) -> Result<(), TrySendError<T>> {
        match self.shared.room.try_take(1) {
            Ok(true) => {
                self.shared.send(value);
                Ok(())
            }
            Ok(false) => Err(TrySendError::Full(value)),
            Err(_) => Err(TrySendError::Closed(value)),
        }
    }

    /// Waits for room for one value, which is kept until it is used or given up.
    ///
    /// # Errors
    ///
    /// [`SendError`] if the receiver is gone or closed.
    ///
    /// # Cancellation
    ///
    /// Dropped, it leaves the line.
    pub async fn reserve(&self) -> Result<Permit<'_, T>, SendError<()>> {
        let acquired = self.shared.room.acquire(1).await;
        acquired.map_err(|_| SendError(()))?;
        Ok(Permit {
            shared: Some(&self.shared),
        })
    }

    /// Room for one value, if there is some.
    ///
    /// # Errors
    ///
    /// [`TrySendError::Full`] and [`TrySendError::Closed`].
    pub fn try_reserve(&self) -> Result<Permit<'_, T>, TrySendError<()>> {
        match self.shared.room.try_take(1) {
            Ok(true) => Ok(Permit {
                shared: Some(&self.shared),
            }),
            Ok(false) => Err(TrySendError::Full(())),
            Err(_) => Err(TrySendError::Closed(())),
        }
    }

    /// Waits until the receiver is gone or closed.
    ///
    /// # Cancellation
    ///
    /// Dropped, it does nothing.
    pub async fn closed(&self) {
        while !self.is_closed() {
            until_called(&self.shared.closers, || self.is_closed()).await;
        }
    }

    /// Whether the receiver is gone or closed.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        self.shared.room.is_closed()
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

    /// Whether both send to the same receiver.
    #[must_use]
    pub fn same_channel(&self, other: &Sender<T>) -> bool {
        Rc::ptr_eq(&self.shared, &other.shared)
    }

    /// A sender that does not keep the receiver from seeing the end.
    #[must_use]
    pub fn downgrade(&self) -> WeakSender<T> {
        WeakSender {
            shared: Rc::clone(&self.shared),
        }
    }
}

impl<T> Clone for Sender<T> {
    fn clone(&self) -> Sender<T> {
        let senders = &self.shared.senders;
        senders.set(senders.get() + 1);
        Sender {
            shared: Rc::clone(&self.shared),
        }
    }
}

impl<T> Drop for Sender<T> {
    fn drop(&mut self) {
        let left = self.shared.senders.get() - 1;
        self.shared.senders.set(left);
        if left == 0 {
            self.shared.receiver.wake();
        }
    }
}

impl<T> fmt::Debug for Sender<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sender")
            .field("capacity", &self.capacity())
            .field("is_closed", &self.is_closed())
            .finish()
    }
}

struct Send<'a, T> {
    shared: &'a Shared<T>,
    acquire: Acquire<'a>,
    value: Option<T>,
}

// The value is moved, never pinned.
impl<T> Unpin for Send<'_, T> {}

impl<T> Future for Send<'_, T> {
    type Output = Result<(), SendError<T>>;

    #[inline]
    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.get_mut();
        let acquired = ready!(Pin::new(&mut this.acquire).poll(cx));
        let mut value = || this.value.take().expect("polled after it was ready");
        Poll::Ready(match acquired {
            Ok(()) => {
                this.shared.send(value());
                Ok(())
            }
            Err(_) => Err(SendError(value())),
        })
    }
}

/// Room for one value in a channel; made by [`Sender::reserve`]. It is given back when this is
/// dropped.
#[must_use = "the room is given back when this is dropped"]
pub struct Permit<'a, T> {
    shared: Option<&'a Shared<T>>,
}

impl<T> Permit<'_, T> {
    /// Sends the value. If the receiver is gone meanwhile, the value is dropped.
    pub fn send(mut self, value: T) {
        if let Some(shared) = self.shared.take() {
            shared.send(value);
        }
    }
}

impl<T> Drop for Permit<'_, T> {
    fn drop(&mut self) {
        if let Some(shared) = self.shared.take() {
            shared.give_back();
        }
    }
}

impl<T> fmt::Debug for Permit<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Permit").finish_non_exhaustive()
    }
}

/// A sender that does not keep the receiver from seeing the end.
pub struct WeakSender<T> {
    shared: Rc<Shared<T>>,
}

impl<T> WeakSender<T> {
    /// A sender, if there is one still.
    #[must_use]
    pub fn upgrade(&self) -> Option<Sender<T>> {
        let senders = self.shared.senders.get();
        (senders > 0).then(|| {
            self.shared.senders.set(senders + 1);
            Sender {
                shared: Rc::clone(&self.shared),
            }
        })
    }
}

impl<T> Clone for WeakSender<T> {
    fn clone(&self) -> WeakSender<T> {
        WeakSender {
            shared: Rc::clone(&self.shared),
        }
    }
}

impl<T> fmt::Debug for WeakSender<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WeakSender").finish_non_exhaustive()
    }
}
