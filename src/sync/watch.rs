//! The latest value, for whoever looks.

use std::cell::{self, Cell, RefCell};
use std::error::Error;
use std::fmt;
use std::mem;
use std::ops::Deref;
use std::rc::Rc;

use super::line::Line;
use super::wait::until_called;

/// A channel that keeps the latest value only. Each receiver has seen `value`, and is told when
/// there is a newer one.
///
/// # Examples
///
/// ```
/// use corering::sync::watch;
///
/// # fn main() -> std::io::Result<()> {
/// corering::Runtime::new()?.block_on(async {
///     let (level, mut seen) = watch::channel("info");
///     let logger = corering::spawn(async move {
///         seen.changed().await.expect("it was sent before the sender is gone");
///         *seen.borrow_and_update()
///     });
///     level.send("warn").expect("there is a receiver");
///     level.send("debug").expect("there is a receiver");
///     assert_eq!(logger.await.unwrap(), "debug");
/// });
/// # Ok(())
/// # }
/// ```
#[must_use]
pub fn channel<T>(value: T) -> (Sender<T>, Receiver<T>) {
    let shared = Rc::new(Shared {
        value: RefCell::new(value),
        version: Cell::new(0),
        senders: Cell::new(1),
        receivers: Cell::new(1),
        changed: Line::new(),
        closed: Line::new(),
    });
    let receiver = Receiver {
        shared: Rc::clone(&shared),
        seen: 0,
    };
    (Sender { shared }, receiver)
}

struct Shared<T> {
    value: RefCell<T>,
    /// Counts values.
    version: Cell<u64>,
    senders: Cell<usize>,
    receivers: Cell<usize>,
    /// Receivers that wait for a value; called also when the last sender goes.
    changed: Line<()>,
    /// Senders that wait for the last receiver to go.
    closed: Line<()>,
}

impl<T> Shared<T> {
    fn borrow(&self, seen: u64) -> Ref<'_, T> {
        Ref {
            value: self.value.borrow(),
            changed: seen != self.version.get(),
        }
    }

    fn subscribe(self: &Rc<Self>, seen: u64) -> Receiver<T> {
        self.receivers.set(self.receivers.get() + 1);
        Receiver {
            shared: Rc::clone(self),
            seen,
        }
    }
}

/// Sets the value.
///
/// It can be changed only while no [`Ref`] is alive: those are to be short, and never held across
/// an `await`.
pub struct Sender<T> {
    shared: Rc<Shared<T>>,
}

impl<T> Sender<T> {
    /// Sets the value, and tells all receivers.
    ///
    /// # Errors
    ///
    /// [`SendError`], with the value, if there is no receiver.
    ///
    /// # Panics
    ///
    /// If somebody holds a [`Ref`].
    pub fn send(&self, value: T) -> Result<(), SendError<T>> {
        if self.shared.receivers.get() == 0 {
            return Err(SendError(value));
        }
        drop(self.send_replace(value));
        Ok(())
    }

    /// Sets the value, also without receivers, and returns the one before.
    ///
    /// # Panics
    ///
    /// If somebody holds a [`Ref`].
    pub fn send_replace(&self, mut value: T) -> T {
        self.send_modify(|current| mem::swap(current, &mut value));
        value
    }

    /// Changes the value in place, also without receivers, and tells them. If `modify` panics they
    /// are not told.
    ///
    /// # Panics
    ///
    /// If somebody holds a [`Ref`], or `modify` uses this channel's value.
    pub fn send_modify(&self, modify: impl FnOnce(&mut T)) {
        self.send_if_modified(|value| {
            modify(value);
            true
        });
    }

    /// Changes the value in place, and tells the receivers if `modify` says so. Returns what it
    /// says.
    ///
    /// # Panics
    ///
    /// If somebody holds a [`Ref`], or `modify` uses this channel's value.
    pub fn send_if_modified(&self, modify: impl FnOnce(&mut T) -> bool) -> bool {
        let shared = &self.shared;
        let modified = match shared.value.try_borrow_mut() {
            Ok(mut value) => modify(&mut value),
            Err(_) => panic!(
                "a watch channel's value was to be changed while somebody held a Ref of it: do not \
                 hold one across an await"
            ),
        };
        if modified {
            shared.version.set(shared.version.get() + 1);
            shared.changed.call_all();
            shared.changed.wake_called();
        }
        modified
    }

    /// The latest value.
    #[must_use]
    pub fn borrow(&self) -> Ref<'_, T> {
        self.shared.borrow(self.shared.version.get())
    }

    /// A receiver that has seen the value that there is now.
    #[must_use]
    pub fn subscribe(&self) -> Receiver<T> {
        self.shared.subscribe(self.shared.version.get())
    }

    /// Waits until no receiver is left.
    ///
    /// # Cancellation
    ///
    /// Dropped, it does nothing.
    pub async fn closed(&self) {
        while !self.is_closed() {
            until_called(&self.shared.closed, || self.is_closed()).await;
        }
    }

    /// Whether no receiver is left.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        self.shared.receivers.get() == 0
    }

    /// How many receivers there are.
    #[must_use]
    pub fn receiver_count(&self) -> usize {
        self.shared.receivers.get()
    }
}

impl<T> Clone for Sender<T> {
    fn clone(&self) -> Sender<T> {
        self.shared.senders.set(self.shared.senders.get() + 1);
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
            self.shared.changed.call_all();
            self.shared.changed.wake_called();
        }
    }
}

impl<T: fmt::Debug> fmt::Debug for Sender<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sender")
            .field("value", &self.shared.value)
            .finish()
    }
}

/// Sees the latest value. A clone has seen what this one has.
pub struct Receiver<T> {
    shared: Rc<Shared<T>>,
    /// The version that was seen last.
    seen: u64,
}

impl<T> Receiver<T> {
    /// The latest value, which stays as new to this receiver as it was.
    #[must_use]
    pub fn borrow(&self) -> Ref<'_, T> {
        self.shared.borrow(self.seen)
    }

    /// The latest value, which is seen then.
    #[must_use]
    pub fn borrow_and_update(&mut self) -> Ref<'_, T> {
        let before = mem::replace(&mut self.seen, self.shared.version.get());
        self.shared.borrow(before)
    }

    /// Whether there is a value that was not seen.
    ///
    /// # Errors
    ///
    /// [`RecvError`] if all senders are gone.
    pub fn has_changed(&self) -> Result<bool, RecvError> {
        if self.shared.senders.get() == 0 {
            return Err(RecvError(()));
        }
        Ok(self.is_behind())
    }

    /// Has the next [`changed`](Self::changed) return at once.
    pub fn mark_changed(&mut self) {
        self.seen = self.shared.version.get().wrapping_sub(1);
    }

    /// Takes the latest value as seen.
    pub fn mark_unchanged(&mut self) {
        self.seen = self.shared.version.get();
    }

    /// Waits for a value that was not seen, which is seen then. Of several only the latest is
    /// there.
    ///
    /// # Errors
    ///
    /// [`RecvError`] if all senders are gone, and the last value was seen.
    ///
    /// # Cancellation
    ///
    /// Dropped, it has seen nothing.
    pub async fn changed(&mut self) -> Result<(), RecvError> {
        loop {
            let done = || self.is_behind() || self.shared.senders.get() == 0;
            until_called(&self.shared.changed, done).await;
            if self.is_behind() {
                self.mark_unchanged();
                return Ok(());
            }
            if self.shared.senders.get() == 0 {
                return Err(RecvError(()));
            }
        }
    }

    /// Waits until the latest value is as `condition` wants it, and returns it. It is seen then.
    ///
    /// # Errors
    ///
    /// [`RecvError`] if all senders are gone, and the last value is not so.
    ///
    /// # Cancellation
    ///
    /// Dropped, it does nothing but that values may have been seen.
    pub async fn wait_for(
        &mut self,
        mut condition: impl FnMut(&T) -> bool,
    ) -> Result<Ref<'_, T>, RecvError> {
        self.mark_unchanged();
        while !condition(&self.shared.value.borrow()) {
            self.changed().await?;
        }
        Ok(self.borrow_and_update())
    }

    /// Whether both receive from the same channel.
    #[must_use]
    pub fn same_channel(&self, other: &Receiver<T>) -> bool {
        Rc::ptr_eq(&self.shared, &other.shared)
    }

    fn is_behind(&self) -> bool {
        self.seen != self.shared.version.get()
    }
}

impl<T> Clone for Receiver<T> {
    fn clone(&self) -> Receiver<T> {
        self.shared.subscribe(self.seen)
    }
}

impl<T> Drop for Receiver<T> {
    fn drop(&mut self) {
        let left = self.shared.receivers.get() - 1;
        self.shared.receivers.set(left);
        if left == 0 {
            self.shared.closed.call_all();
            self.shared.closed.wake_called();
        }
    }
}

impl<T: fmt::Debug> fmt::Debug for Receiver<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Receiver")
            .field("value", &self.shared.value)
            .finish()
    }
}

/// The value of a watch channel, which cannot be changed while this is alive.
#[derive(Debug)]
pub struct Ref<'a, T> {
    value: cell::Ref<'a, T>,
    changed: bool,
}

impl<T> Ref<'_, T> {
    /// Whether the receiver that it was asked of had not seen the value before.
    #[must_use]
    pub fn has_changed(&self) -> bool {
        self.changed
    }
}

impl<T> Deref for Ref<'_, T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.value
    }
}

/// There is no receiver; here is the value.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct SendError<T>(pub T);

impl<T> fmt::Debug for SendError<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SendError").finish_non_exhaustive()
    }
}

impl<T> fmt::Display for SendError<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the channel has no receiver")
    }
}

impl<T> Error for SendError<T> {}

/// All senders are gone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RecvError(());

impl fmt::Display for RecvError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the senders are gone")
    }
}

impl Error for RecvError {}
