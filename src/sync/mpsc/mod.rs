//! Values from many tasks to one, in order, with a limit on how many are on their way.
//!
//! There is no unbounded channel: a sender that is faster than its receiver would fill the memory.

mod receiver;
mod sender;

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::error::Error;
use std::fmt;
use std::rc::Rc;

pub use self::receiver::Receiver;
pub use self::sender::{Permit, Sender, WeakSender};

use super::line::Line;
use super::permits::Permits;
use super::slot::Slot;

/// A channel that holds at most `buffer` values. Senders wait, in order, while it is full.
///
/// # Panics
///
/// If `buffer` is 0, or more than [`Semaphore::MAX_PERMITS`](super::Semaphore::MAX_PERMITS).
///
/// # Examples
///
/// ```
/// use corering::sync::mpsc;
///
/// # fn main() -> std::io::Result<()> {
/// corering::Runtime::new()?.block_on(async {
///     let (sender, mut receiver) = mpsc::channel(8);
///     for worker in 0..3 {
///         let sender = sender.clone();
///         corering::spawn(async move { sender.send(worker * 10).await });
///     }
///     drop(sender); // the last sender to go ends the stream
///     let mut sum = 0;
///     while let Some(result) = receiver.recv().await {
///         sum += result;
///     }
///     assert_eq!(sum, 30);
/// });
/// # Ok(())
/// # }
/// ```
#[must_use]
pub fn channel<T>(buffer: usize) -> (Sender<T>, Receiver<T>) {
    assert!(buffer > 0, "a channel needs room for one value at least");
    let shared = Rc::new(Shared {
        room: Permits::new(buffer),
        capacity: buffer,
        queue: RefCell::new(VecDeque::new()),
        receiver: Slot::default(),
        receiver_gone: Cell::new(false),
        senders: Cell::new(1),
        closers: Line::new(),
    });
    let sender = Sender::new(Rc::clone(&shared));
    (sender, Receiver::new(shared))
}

/// A value takes its place when its sender has got a permit, and gives it back when it is received.
struct Shared<T> {
    /// Permits for places that are free; closed when the receiver wants no more.
    room: Permits,
    capacity: usize,
    /// Borrowed to push or pop, and for nothing else.
    queue: RefCell<VecDeque<T>>,
    receiver: Slot,
    receiver_gone: Cell<bool>,
    senders: Cell<usize>,
    /// Senders that wait for the receiver's end.
    closers: Line<()>,
}

impl<T> Shared<T> {
    /// For who has a permit, which goes to the value. Without a receiver the value is dropped.
    #[inline]
    fn send(&self, value: T) {
        if self.receiver_gone.get() {
            return;
        }
        self.queue.borrow_mut().push_back(value);
        self.receiver.wake();
    }

    /// The next value. Its place is free when the permit is released.
    #[inline]
    fn pop(&self) -> Option<T> {
        self.queue.borrow_mut().pop_front()
    }

    #[cold]
    fn put_back(&self, value: T) {
        self.queue.borrow_mut().push_front(value);
    }

    /// For who has a permit and sends nothing.
    fn give_back(&self) {
        self.room.release(1);
        // The last place that comes back is the end of a closed channel.
        if self.room.is_closed() {
            self.receiver.wake();
        }
    }
}

/// The receiver is gone or closed; here is the value.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct SendError<T>(pub T);

impl<T> fmt::Debug for SendError<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SendError").finish_non_exhaustive()
    }
}

impl<T> fmt::Display for SendError<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the channel is closed")
    }
}

impl<T> Error for SendError<T> {}

/// Why a value was not sent at once; here it is.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum TrySendError<T> {
    /// The channel is full, or others wait for room.
    Full(T),
    /// The receiver is gone or closed.
    Closed(T),
}

impl<T> TrySendError<T> {
    /// The value.
    pub fn into_inner(self) -> T {
        match self {
            TrySendError::Full(value) | TrySendError::Closed(value) => value,
        }
    }
}

impl<T> fmt::Debug for TrySendError<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            TrySendError::Full(_) => "Full(..)",
            TrySendError::Closed(_) => "Closed(..)",
        })
    }
}

impl<T> fmt::Display for TrySendError<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            TrySendError::Full(_) => "the channel is full",
            TrySendError::Closed(_) => "the channel is closed",
        })
    }
}

impl<T> Error for TrySendError<T> {}

/// Why no value was received.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TryRecvError {
    /// None is there yet.
    Empty,
    /// None can come any more.
    Disconnected,
}

impl fmt::Display for TryRecvError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            TryRecvError::Empty => "the channel is empty",
            TryRecvError::Disconnected => "the channel is empty, and its senders are gone",
        })
    }
}

impl Error for TryRecvError {}
