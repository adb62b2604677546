//! Values of one type from one core to another.

use std::fmt;
use std::future::poll_fn;
use std::task::{Context, Poll};

use concurrent_queue::{ConcurrentQueue, PopError, PushError};

use super::reply::register;
use super::sync::{Arc, AtomicWaker};
use crate::sync::mpsc::{SendError, TryRecvError, TrySendError};

/// A channel that holds at most `capacity` values: its two ends are sent to the cores, or other
/// threads, that talk by it.
///
/// One sends and one receives, so no end can be cloned; several cores that send to one have a
/// channel each. A send into a full channel waits, a receive from an empty one too. Both work on
/// any runtime, and neither takes a system call unless the other side's core sleeps.
///
/// # Panics
///
/// If `capacity` is 0.
///
/// # Examples
///
/// ```
/// # fn main() -> std::io::Result<()> {
/// use corering::cores::{self, Core};
///
/// corering::Cores::count(2)?.run(|core| async move {
///     if core.index() == 0 {
///         let (mut squares, mut incoming) = cores::channel(16);
///         let work = core.spawn_on(1, move || async move {
///             for n in 0..100_u64 {
///                 squares.send(n * n).await.expect("it is received");
///             }
///         });
///         let mut sum = 0;
///         while let Some(square) = incoming.recv().await {
///             sum += square;
///         }
///         assert_eq!(sum, 328_350);
///         work.await.expect("no panic");
///         core.stop();
///     }
///     core.stopping().await;
///     Ok(())
/// })
/// # }
/// ```
#[must_use]
pub fn channel<T: Send>(capacity: usize) -> (Sender<T>, Receiver<T>) {
    assert!(capacity > 0, "a channel needs room for one value at least");
    let shared = Arc::new(Shared {
        queue: ConcurrentQueue::bounded(capacity),
        receiver: AtomicWaker::new(),
        sender: AtomicWaker::new(),
    });
    (Sender(Arc::clone(&shared)), Receiver(shared))
}

/// Each side registers its waker before it looks a last time, and wakes the other after it has put
/// in or taken out a value: one of the two comes first.
struct Shared<T> {
    /// Closed by whoever goes first.
    queue: ConcurrentQueue<T>,
    receiver: AtomicWaker,
    sender: AtomicWaker,
}

/// The end that sends; made by [`channel`]. Dropped, it ends the channel: what is in it is still
/// received.
pub struct Sender<T>(Arc<Shared<T>>);

/// The end that receives; made by [`channel`]. Dropped, it drops what is in the channel, and sends
/// fail from then on.
pub struct Receiver<T>(Arc<Shared<T>>);

impl<T> Sender<T> {
    /// Sends a value; waits while the channel is full.
    ///
    /// # Errors
    ///
    /// [`SendError`], with the value, if the receiver is gone.
    ///
    /// # Cancellation
    ///
    /// Dropped before it was ready, it has sent nothing, and the value is dropped.
    pub async fn send(&mut self, value: T) -> Result<(), SendError<T>> {
        let mut value = Some(value);
        poll_fn(|cx| self.poll_send(cx, &mut value)).await
    }

    /// Sends a value if there is room.
    ///
    /// # Errors
    ///
    /// [`TrySendError`], with the value.
    pub fn try_send(&mut self, value: T) -> Result<(), TrySendError<T>> {
        match self.0.queue.push(value) {
            Ok(()) => {
                self.0.receiver.wake();
                Ok(())
            }
            Err(PushError::Full(value)) => Err(TrySendError::Full(value)),
            Err(PushError::Closed(value)) => Err(TrySendError::Closed(value)),
        }
    }

    fn poll_send(
        &mut self,
        cx: &Context<'_>,
        unsent: &mut Option<T>,
    ) -> Poll<Result<(), SendError<T>>> {
        let mut has_registered = false;
        while let Some(value) = unsent.take() {
            match self.try_send(value) {
                Ok(()) => break,
                Err(TrySendError::Closed(value)) => return Poll::Ready(Err(SendError(value))),
                Err(TrySendError::Full(value)) => *unsent = Some(value),
            }
            if has_registered {
                return Poll::Pending;
            }
            register(&self.0.sender, cx);
            has_registered = true;
        }
        Poll::Ready(Ok(()))
    }

    /// Whether the receiver is gone.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        self.0.queue.is_closed()
    }
}

impl<T> Receiver<T> {
    /// The next value, in the order of sending; `None` if the sender is gone and all are received.
    ///
    /// # Cancellation
    ///
    /// Dropped before it was ready, it has received nothing.
    pub async fn recv(&mut self) -> Option<T> {
        poll_fn(|cx| self.poll_recv(cx)).await
    }

    /// [`recv`](Self::recv) for futures and streams that are written by hand.
    pub fn poll_recv(&mut self, cx: &mut Context<'_>) -> Poll<Option<T>> {
        for has_registered in [false, true] {
            match self.try_recv() {
                Ok(value) => return Poll::Ready(Some(value)),
                Err(TryRecvError::Disconnected) => return Poll::Ready(None),
                Err(TryRecvError::Empty) if !has_registered => register(&self.0.receiver, cx),
                Err(TryRecvError::Empty) => {}
            }
        }
        Poll::Pending
    }

    /// The next value if it is there.
    ///
    /// # Errors
    ///
    /// [`TryRecvError`].
    pub fn try_recv(&mut self) -> Result<T, TryRecvError> {
        match self.0.queue.pop() {
            Ok(value) => {
                self.0.sender.wake();
                Ok(value)
            }
            Err(PopError::Empty) => Err(TryRecvError::Empty),
            Err(PopError::Closed) => Err(TryRecvError::Disconnected),
        }
    }
}

impl<T> Drop for Sender<T> {
    fn drop(&mut self) {
        self.0.queue.close();
        self.0.receiver.wake();
    }
}

impl<T> Drop for Receiver<T> {
    fn drop(&mut self) {
        self.0.queue.close();
        while self.0.queue.pop().is_ok() {}
        self.0.sender.wake();
    }
}

impl<T> fmt::Debug for Sender<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sender")
            .field("is_closed", &self.is_closed())
            .finish_non_exhaustive()
    }
}

impl<T> fmt::Debug for Receiver<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Receiver")
            .field("len", &self.0.queue.len())
            .finish_non_exhaustive()
    }
}
