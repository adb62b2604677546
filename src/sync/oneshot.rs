//! One value, from one task to another.

use std::cell::Cell;
use std::error::Error;
use std::fmt;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};

use super::slot::Slot;

/// A channel for one value.
///
/// # Examples
///
/// ```
/// use corering::sync::oneshot;
///
/// # fn main() -> std::io::Result<()> {
/// corering::Runtime::new()?.block_on(async {
///     let (sender, receiver) = oneshot::channel();
///     corering::spawn(async move { sender.send(6 * 7) });
///     assert_eq!(receiver.await, Ok(42));
/// });
/// # Ok(())
/// # }
/// ```
pub fn channel<T>() -> (Sender<T>, Receiver<T>) {
    let shared = Rc::new(Shared {
        value: Cell::new(None),
        sender_gone: Cell::new(false),
        closed: Cell::new(false),
        receiver: Slot::default(),
        sender: Slot::default(),
    });
    let sender = Sender {
        shared: Rc::clone(&shared),
    };
    (sender, Receiver { shared })
}

struct Shared<T> {
    value: Cell<Option<T>>,
    sender_gone: Cell<bool>,
    /// By the receiver: nothing can be sent any more.
    closed: Cell<bool>,
    /// Who waits for the value.
    receiver: Slot,
    /// Who waits for the receiver's end.
    sender: Slot,
}

/// Sends the value.
pub struct Sender<T> {
    shared: Rc<Shared<T>>,
}

impl<T> Sender<T> {
    /// Sends the value. It stays with the receiver until that takes it or is dropped.
    ///
    /// # Errors
    ///
    /// The value, if the receiver is dropped or closed.
    #[inline]
    pub fn send(self, value: T) -> Result<(), T> {
        if self.shared.closed.get() {
            return Err(value);
        }
        self.shared.value.set(Some(value));
        // The receiver is woken when `self` is dropped.
        Ok(())
    }

    /// Waits until the receiver is dropped or closed.
    ///
    /// # Cancellation
    ///
    /// Dropped, it does nothing.
    pub async fn closed(&mut self) {
        std::future::poll_fn(|cx| self.poll_closed(cx)).await;
    }

    /// [`closed`](Self::closed) for futures that are written by hand.
    pub fn poll_closed(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if !self.is_closed() {
            self.shared.sender.register(cx);
        }
        // Registering may have run anything, also what closes the channel.
        match self.is_closed() {
            true => Poll::Ready(()),
            false => Poll::Pending,
        }
    }

    /// Whether the receiver is dropped or closed.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        self.shared.closed.get()
    }
}

impl<T> Drop for Sender<T> {
    #[inline]
    fn drop(&mut self) {
        self.shared.sender_gone.set(true);
        self.shared.sender.clear();
        self.shared.receiver.wake();
    }
}

impl<T> fmt::Debug for Sender<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sender")
            .field("is_closed", &self.is_closed())
            .finish()
    }
}

/// The value, once it was sent.
///
/// Resolves to a [`RecvError`] if the sender was dropped without sending, and if it is polled once
/// more after the value was taken.
///
/// # Cancellation
///
/// Dropped, it drops the value if that was sent already; later the sender gets its value back. To
/// wait for a limited time, poll `&mut receiver`.
#[must_use = "the value is lost when the receiver is dropped"]
pub struct Receiver<T> {
    shared: Rc<Shared<T>>,
}

impl<T> Receiver<T> {
    /// The value, if it is there.
    ///
    /// # Errors
    ///
    /// [`TryRecvError::Empty`] if it may still come, [`TryRecvError::Closed`] if not.
    pub fn try_recv(&mut self) -> Result<T, TryRecvError> {
        match self.shared.value.take() {
            Some(value) => Ok(value),
            None if self.is_terminated() => Err(TryRecvError::Closed),
            None => Err(TryRecvError::Empty),
        }
    }

    /// Refuses the value from now on. One that was sent already can still be taken.
    pub fn close(&mut self) {
        self.shared.closed.set(true);
        self.shared.sender.wake();
    }

    /// Whether no value can come any more; one that was sent may be there yet.
    #[must_use]
    pub fn is_terminated(&self) -> bool {
        self.shared.sender_gone.get() || self.shared.closed.get()
    }
}

impl<T> Future for Receiver<T> {
    type Output = Result<T, RecvError>;

    #[inline]
    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut outcome = self.try_recv();
        // Once more after a new waker, since its making may have run the sender.
        if matches!(outcome, Err(TryRecvError::Empty)) && self.shared.receiver.register(cx) {
            outcome = self.try_recv();
        }
        match outcome {
            Ok(value) => Poll::Ready(Ok(value)),
            Err(TryRecvError::Closed) => Poll::Ready(Err(RecvError(()))),
            Err(TryRecvError::Empty) => Poll::Pending,
        }
    }
}

impl<T> Drop for Receiver<T> {
    #[inline]
    fn drop(&mut self) {
        self.shared.receiver.clear();
        self.close();
        drop(self.shared.value.take());
    }
}

impl<T> fmt::Debug for Receiver<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Receiver")
            .field("is_terminated", &self.is_terminated())
            .finish()
    }
}

/// No value can come any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RecvError(());

impl fmt::Display for RecvError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the sender was dropped without sending")
    }
}

impl Error for RecvError {}

/// Why there is no value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TryRecvError {
    /// It was not sent yet.
    Empty,
    /// No value can come any more.
    Closed,
}

impl fmt::Display for TryRecvError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            TryRecvError::Empty => "no value was sent yet",
            TryRecvError::Closed => "the sender was dropped without sending",
        })
    }
}

impl Error for TryRecvError {}
