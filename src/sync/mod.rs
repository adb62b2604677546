//! Channels, locks and signals between the tasks of one core.
//!
//! | | |
//! |---|---|
//! | [`oneshot`] | one value, from one task to another |
//! | [`mpsc`] | values from many tasks to one; senders wait while it is full |
//! | [`broadcast`] | every value to every receiver; slow ones are told what they have lost |
//! | [`watch`] | the latest value, and word of a newer one |
//! | [`Mutex`], [`RwLock`] | a value that is held across an `await` |
//! | [`Semaphore`] | a number of permits |
//! | [`Notify`] | word that something has happened |
//! | [`Barrier`] | a point that tasks reach together |
//! | [`OnceCell`] | a value that is made when it is first asked for |
//!
//! Names and meaning are those of `tokio::sync`, where it has them. What differs:
//!
//! * Nothing here is `Send` or `Sync`: tasks of one core share it, by an [`Rc`](std::rc::Rc). There
//!   is no atomic in it and no lock; for another thread take a channel that is `Sync`, whose wakers
//!   work from there too.
//! * There are no unbounded channels, and no owned guards of locks: a task holds an `Rc` of the
//!   lock.
//! * None needs a runtime. But a task that finds results ready gives way after 128 of them, as with
//!   I/O, so that two tasks that talk to each other do not keep all others waiting.
//!
//! # Order
//!
//! Who waits stands in line, and is served in the order of arrival; nobody overtakes, also not who
//! asks just as something comes free. To wait allocates nothing, unless more wait at one place than
//! ever did before there.
//!
//! # Cancellation
//!
//! Any future here may be dropped at any time. It leaves the line; what it had been given and not
//! taken yet, a permit, a lock, a notification, goes to the next. Nothing is lost and nobody is
//! forgotten. The guards of an aborted task are dropped with it. There is no poisoning: a value is
//! as the task has left it.
//!
//! # Waiting for ever
//!
//! A task that waits for what it holds itself waits for ever, and so do two that wait for each
//! other. The core goes on with the others meanwhile. What does stop the core is a wait that blocks
//! the thread, such as `std::sync::mpsc::Receiver::recv` for a value which another task of the same
//! core was to send: that cannot be noticed from here. Wait in a task with the channels of this
//! module, and for what blocks use [`spawn_blocking`](../task/fn.spawn_blocking.html).

mod barrier;
pub mod broadcast;
mod fair;
mod line;
pub mod mpsc;
mod mutex;
mod notify;
mod once_cell;
pub mod oneshot;
mod permits;
mod rwlock;
mod semaphore;
mod slot;
mod wait;
pub mod watch;

pub use self::barrier::{Barrier, BarrierWaitResult};
pub use self::mutex::{Mutex, MutexGuard, TryLockError};
pub use self::notify::{Notified, Notify};
pub use self::once_cell::{OnceCell, SetError};
pub use self::rwlock::{RwLock, RwLockReadGuard, RwLockWriteGuard};
pub use self::semaphore::{
    AcquireError, OwnedSemaphorePermit, Semaphore, SemaphorePermit, TryAcquireError,
};
