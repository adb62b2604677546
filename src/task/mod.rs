//! Tasks of one core: spawning, waking, joining. Knows no I/O.

pub(crate) mod blocking;
mod cell;
mod error;
mod join;
mod loom;
mod queue;
mod state;
#[cfg(test)]
mod tests;
mod waker;
mod yield_now;

pub use self::{
    blocking::{BlockingHandle, spawn_blocking},
    error::JoinError,
    join::JoinHandle,
    yield_now::{YieldNow, yield_now},
};
pub(crate) use self::{
    queue::{Kick, Tasks},
    waker::wake_own,
};

/// Starts a task on the current core and returns a handle to its output.
///
/// # Panics
///
/// Outside of a runtime.
#[track_caller]
#[inline]
pub fn spawn<F: Future + 'static>(future: F) -> JoinHandle<F::Output> {
    match queue::spawn_on_current(future) {
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
