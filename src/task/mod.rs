//! Tasks of one core: spawning, waking, joining, and work that blocks.
//!
//! A task is a future that its core polls on its own. It stays on the core that spawned it, so it
//! may hold what is neither `Send` nor `Sync`; its wakers work on any thread, at any time, also
//! when the runtime is gone.
//!
//! * Tasks run in the order in which they were woken. A core runs those that are ready, then looks
//!   for completions, then runs those that are ready by then. [`yield_now`] goes to the back.
//! * A task of the class [`Latency`](Priority::Latency) runs before all others of its turn, and of
//!   the class [`Bulk`](Priority::Bulk) run a few after them: at least one in eight. See
//!   [`Priority`]. Tasks that were not given a class pay nothing for it.
//! * A panic ends the task and nothing else: its [`JoinHandle`] yields it. Only a panic of the main
//!   future goes on, in the caller of `block_on`.
//! * Dropping the runtime drops the futures of all its tasks. What their destructors spawn then is
//!   dropped at once.
//!
//! * Tasks that belong together are spawned in a [`JoinSet`], which ends them when it is dropped;
//!   what a task and all that it calls are to know is a [`Local`], and [`Builder`] gives a task a
//!   name or a class.
//! * A wait that blocks the thread keeps every task of the core waiting, also the one that it is
//!   for. `block_on` within a task is a panic that says what to do; a blocking wait of another
//!   library is reported when it takes long ([`Stall`](crate::runtime::Stall)). The channels of
//!   [`sync`](../sync/index.html) wait without blocking.
//!
//! There is no limit on tasks: each is one allocation of 88 bytes and its future, or its
//! output if that is larger. A wake allocates nothing, neither here nor from another thread.

pub(crate) mod blocking;
mod builder;
mod cell;
mod error;
mod join;
mod join_set;
mod local;
mod loom;
mod priority;
mod pulse;
mod queue;
mod state;
#[cfg(test)]
pub(crate) mod tests;
mod waker;
mod yield_now;

use std::panic::Location;

pub use self::{
    blocking::{BlockingHandle, spawn_blocking},
    builder::{Builder, Name, current_name},
    error::JoinError,
    join::JoinHandle,
    join_set::JoinSet,
    local::{Local, LocalError, Scope},
    priority::Priority,
    yield_now::{YieldNow, yield_now},
};
pub(crate) use self::{
    pulse::Sample,
    queue::{Kick, Tasks, Watch},
    waker::{clone_here, clone_own, wake_own},
};

/// Starts a task on the current core and returns a handle to its output.
///
/// The task is polled for the first time when those that are ready now have had their turn. It runs
/// whether the handle is awaited or not.
///
/// # Cancellation
///
/// Dropping the handle detaches the task; [`JoinHandle::abort`] ends it.
///
/// # Panics
///
/// Outside of a runtime.
///
/// # Examples
///
/// ```
/// # fn main() -> std::io::Result<()> {
/// use std::rc::Rc;
///
/// corering::Runtime::new()?.block_on(async {
///     let name = Rc::new("not Send");
///     let same = Rc::clone(&name);
///     let length = corering::spawn(async move { same.len() });
///     assert_eq!(length.await.unwrap(), name.len());
/// });
/// # Ok(())
/// # }
/// ```
#[track_caller]
#[inline]
pub fn spawn<F: Future + 'static>(future: F) -> JoinHandle<F::Output> {
    spawn_at(future, Priority::Normal, Location::caller())
}

/// As [`spawn`], of a class, and for whoever is at `location`.
#[track_caller]
#[inline]
pub(crate) fn spawn_at<F: Future + 'static>(
    future: F,
    priority: Priority,
    location: &'static Location<'static>,
) -> JoinHandle<F::Output> {
    match queue::spawn_on_current(future, priority.flags(), location) {
        Ok(handle) => handle,
        Err(_) => outside(),
    }
}

#[cold]
#[track_caller]
fn outside() -> ! {
    panic!(
        "spawn was called outside of a corering runtime: call it from a future that the runtime \
         runs, that is from within block_on, a spawned task or #[corering::main]"
    )
}
