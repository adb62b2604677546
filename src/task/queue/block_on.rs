//! The main future of a core, which lives on the caller's stack.
#![allow(unsafe_code)]

use std::{panic::Location, pin::Pin};

use super::{
    super::{error::JoinError, join::JoinHandle, loom::Arc, state::COMPLETE},
    Core, Tasks, spawn_on,
};

impl Tasks {
    /// Runs `future` as a task, and with it all others, until it is finished: batches as long as
    /// one is ready and `again` says so, then `turn`, and so on. A panic of the future goes on
    /// here. `before_each` is as in [`run_batch`](Self::run_batch).
    ///
    /// # Panics
    /// If the thread has entered some tasks already; if teardown ended the future.
    #[track_caller]
    pub(crate) fn block_on<F: Future>(
        &self,
        future: Pin<&mut F>,
        mut before_each: impl FnMut(),
        mut again: impl FnMut() -> bool,
        mut turn: impl FnMut(),
    ) -> F::Output {
        assert!(
            !Self::current_exists(),
            "block_on was called inside a corering runtime: .await the future there, spawn it as a \
             task, or call block_on from another thread",
        );
        let location = Location::caller();
        self.enter(|| {
            let core = Arc::as_ptr(&self.core);
            // SAFETY: owner thread. `Main` ends the task, and takes its output, before this returns
            // or unwinds: the future, a borrow, and the output are not used longer than here.
            let handle = unsafe { spawn_on(core, future, 0, location) };
            let mut main = Main {
                core: &self.core,
                handle,
            };
            loop {
                self.run_batches(&mut before_each, || !main.handle.is_finished() && again());
                if let Some(outcome) = main.handle.take() {
                    return outcome.unwrap_or_else(|error| resume(error));
                }
                turn();
            }
        })
    }
}

/// The main task, which is over when this is dropped.
struct Main<'a, T> {
    core: &'a Core,
    handle: JoinHandle<T>,
}

impl<T> Drop for Main<'_, T> {
    fn drop(&mut self) {
        let task = self.handle.task();
        // SAFETY: made on the owner thread, and not `Send`. Not being polled: `run_batch`, which
        // contains what a poll panics with, has returned or not begun.
        unsafe {
            if !(*task).own(|own| own.state.has(COMPLETE)) {
                self.core.cancel(task);
            }
        }
        // The handle, dropped after this, takes the output with it.
    }
}

#[cold]
fn resume(error: JoinError) -> ! {
    match error.try_into_panic() {
        Ok(payload) => std::panic::resume_unwind(payload),
        Err(error) => panic!("the main future was not finished: {error}"),
    }
}
