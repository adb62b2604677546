//! Every value to every receiver, with a limit on how many are kept.
//!
//! The ring keeps the latest values; a receiver knows the number of the next one that it wants. A
//! value is gone when its last receiver has it, or when its place is needed: then those who have
//! not seen it have lagged.
//!
//! A value is reference-counted, since cloning it is user code and must not run while the ring is
//! borrowed. Its allocation stays in its place, so a channel that has been full once allocates no
//! more, unless somebody is just then cloning what a new value takes the place of.

mod receiver;

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::error::Error;
use std::fmt;
use std::rc::Rc;

pub use self::receiver::Receiver;

use super::line::Line;
use super::wait::until_called;

/// A channel that keeps the latest `capacity` values for receivers that have not seen them yet.
///
/// A sender never waits: a receiver that falls behind by more than `capacity` is told how many
/// values it has lost, by [`RecvError::Lagged`], and goes on with the oldest that is there.
///
/// # Panics
///
/// If `capacity` is 0.
///
/// # Examples
///
/// ```
/// use corering::sync::broadcast::{self, RecvError};
///
/// # fn main() -> std::io::Result<()> {
/// corering::Runtime::new()?.block_on(async {
///     let (sender, mut fast) = broadcast::channel(2);
///     let mut slow = sender.subscribe();
///     for line in ["a", "b", "c"] {
///         sender.send(line).expect("there are receivers");
///         assert_eq!(fast.recv().await, Ok(line));
///     }
///     assert_eq!(slow.recv().await, Err(RecvError::Lagged(1)));
///     assert_eq!(slow.recv().await, Ok("b"));
/// });
/// # Ok(())
/// # }
/// ```
#[must_use]
pub fn channel<T: Clone>(capacity: usize) -> (Sender<T>, Receiver<T>) {
    let sender = Sender::new(capacity);
    let receiver = sender.subscribe();
    (sender, receiver)
}

struct Shared<T> {
    capacity: usize,
    ring: RefCell<Ring<T>>,
    senders: Cell<usize>,
    receivers: Cell<usize>,
    /// Receivers that wait for a value; called also when the last sender goes.
    line: Line<()>,
    /// Senders that wait for the last receiver to go.
    closed: Line<()>,
}

struct Ring<T> {
    places: VecDeque<Place<T>>,
    /// The number of the next value. The last place has the one before.
    next: u64,
}

struct Place<T> {
    value: Rc<Option<T>>,
    /// Receivers that have not got it.
    left: usize,
}

impl<T> Ring<T> {
    /// The number of the oldest value.
    fn first(&self) -> u64 {
        self.next - self.places.len() as u64
    }

    fn place(&mut self, number: u64) -> &mut Place<T> {
        let index = number - self.first();
        &mut self.places[index as usize]
    }

    /// Values that somebody has not got.
    fn len(&self) -> usize {
        self.places.iter().filter(|place| place.left > 0).count()
    }

    /// Takes a value in, and gives what it takes the place of, to be dropped when nothing is
    /// borrowed.
    fn push(&mut self, value: T, capacity: usize, receivers: usize) -> Displaced<T> {
        let mut displaced = Displaced::default();
        let reused = (self.places.len() == capacity).then(|| self.places.pop_front());
        let value = match reused.flatten() {
            None => Rc::new(Some(value)),
            Some(mut place) => match Rc::get_mut(&mut place.value) {
                Some(inside) => {
                    displaced.value = inside.replace(value);
                    place.value
                }
                None => {
                    displaced.shared = Some(place.value);
                    Rc::new(Some(value))
                }
            },
        };
        self.places.push_back(Place {
            value,
            left: receivers,
        });
        self.next += 1;
        displaced
    }
}

/// What was in a place that is used again.
struct Displaced<T> {
    value: Option<T>,
    /// In its stead, while somebody clones it.
    shared: Option<Rc<Option<T>>>,
}

impl<T> Default for Displaced<T> {
    fn default() -> Displaced<T> {
        Displaced {
            value: None,
            shared: None,
        }
    }
}

/// Sends values to all receivers that there are by then.
pub struct Sender<T> {
    shared: Rc<Shared<T>>,
}

impl<T: Clone> Sender<T> {
    /// A channel without a receiver, that keeps the latest `capacity` values.
    ///
    /// # Panics
    ///
    /// If `capacity` is 0.
    #[must_use]
    pub fn new(capacity: usize) -> Sender<T> {
        assert!(capacity > 0, "a channel needs room for one value at least");
        let ring = Ring {
            places: VecDeque::new(),
            next: 0,
        };
        Sender {
            shared: Rc::new(Shared {
                capacity,
                ring: RefCell::new(ring),
                senders: Cell::new(1),
                receivers: Cell::new(0),
                line: Line::new(),
                closed: Line::new(),
            }),
        }
    }

    /// A receiver of what is sent from now on.
    #[must_use]
    pub fn subscribe(&self) -> Receiver<T> {
        Receiver::new(&self.shared)
    }
}

impl<T> Sender<T> {
    /// Sends a value to all receivers. Returns how many they are.
    ///
    /// # Errors
    ///
    /// [`SendError`], with the value, if there is no receiver.
    pub fn send(&self, value: T) -> Result<usize, SendError<T>> {
        let shared = &self.shared;
        let receivers = shared.receivers.get();
        if receivers == 0 {
            return Err(SendError(value));
        }
        let displaced = shared
            .ring
            .borrow_mut()
            .push(value, shared.capacity, receivers);
        shared.line.call_all();
        shared.line.wake_called();
        drop(displaced);
        Ok(receivers)
    }

    /// How many values some receiver has not got.
    #[must_use]
    pub fn len(&self) -> usize {
        self.shared.ring.borrow().len()
    }

    /// Whether all receivers have got all values.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// How many receivers there are.
    #[must_use]
    pub fn receiver_count(&self) -> usize {
        self.shared.receivers.get()
    }

    /// Waits until no receiver is left.
    ///
    /// # Cancellation
    ///
    /// Dropped, it does nothing.
    pub async fn closed(&self) {
        let is_closed = || self.shared.receivers.get() == 0;
        while !is_closed() {
            until_called(&self.shared.closed, is_closed).await;
        }
    }

    /// Whether both send to the same receivers.
    #[must_use]
    pub fn same_channel(&self, other: &Sender<T>) -> bool {
        Rc::ptr_eq(&self.shared, &other.shared)
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
            self.shared.line.call_all();
            self.shared.line.wake_called();
        }
    }
}

impl<T> fmt::Debug for Sender<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sender")
            .field("len", &self.len())
            .field("receivers", &self.receiver_count())
            .finish()
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

/// Why [`Receiver::recv`] gives no value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RecvError {
    /// All senders are gone, and all values are received.
    Closed,
    /// So many values are lost, since the receiver was too slow. It goes on with the oldest that is
    /// there.
    Lagged(u64),
}

impl fmt::Display for RecvError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            RecvError::Closed => f.write_str("the senders are gone"),
            RecvError::Lagged(lost) => write!(f, "the receiver was too slow: {lost} values lost"),
        }
    }
}

impl Error for RecvError {}

/// Why [`Receiver::try_recv`] gives no value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TryRecvError {
    /// None is there yet.
    Empty,
    /// As [`RecvError::Closed`].
    Closed,
    /// As [`RecvError::Lagged`].
    Lagged(u64),
}

impl fmt::Display for TryRecvError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            TryRecvError::Empty => f.write_str("no value is there yet"),
            TryRecvError::Closed => RecvError::Closed.fmt(f),
            TryRecvError::Lagged(lost) => RecvError::Lagged(*lost).fmt(f),
        }
    }
}

impl Error for TryRecvError {}
