//! How a task comes to its core.
#![allow(unsafe_code)]

use std::panic::Location;

#[cfg(test)]
use super::{super::Priority, Tasks};
use super::{
    super::{
        cell,
        error::JoinError,
        join::JoinHandle,
        loom::{Arc, current},
    },
    Core,
};

/// Starts a task on the core that this thread has entered; the future comes back if there is none.
/// `class` are the flags of its class.
#[inline]
pub(in crate::task) fn spawn_on_current<F: Future + 'static>(
    future: F,
    class: usize,
    location: &'static Location<'static>,
) -> Result<JoinHandle<F::Output>, F> {
    let core = current();
    if core.is_null() {
        return Err(future);
    }
    // SAFETY: entered, so the `Tasks` is borrowed on this thread; the future is `'static`.
    Ok(unsafe { spawn_on(core, future, class, location) })
}

/// # Safety
/// Owner thread of `core`, which came from an `Arc`. The future and its output may be used until
/// the task is complete and the handle is gone.
#[inline]
pub(in crate::task) unsafe fn spawn_on<F: Future>(
    core: *const Core,
    future: F,
    class: usize,
    location: &'static Location<'static>,
) -> JoinHandle<F::Output> {
    // SAFETY: owner thread, so the `Tasks` is there, which the core comes from. The task is new, so
    // in no list.
    unsafe {
        if (*core).owned(|owned| owned.closing) {
            drop(future);
            let why = JoinError::cancelled();
            Arc::increment_strong_count(core);
            let core = Arc::from_raw(core);
            return JoinHandle::new(cell::allocate_refused::<F>(core, why, location));
        }
        let task = cell::allocate(core, future, class, location);
        (*core).owned(|owned| {
            owned.alive += 1;
            owned.list(task);
            if class == 0 {
                owned.ready.push(task);
            }
        });
        if class != 0 {
            (*core).push_classed(task);
        }
        JoinHandle::new(task)
    }
}

#[cfg(test)]
impl Tasks {
    /// Starts a task. After [`teardown`](Self::teardown) has begun the future is dropped instead,
    /// and the handle yields a cancelled [`JoinError`].
    #[track_caller]
    pub(crate) fn spawn<F: Future + 'static>(&self, future: F) -> JoinHandle<F::Output> {
        self.spawn_of(Priority::Normal, future)
    }

    /// The same, of a class.
    #[track_caller]
    pub(crate) fn spawn_of<F: Future + 'static>(
        &self,
        priority: Priority,
        future: F,
    ) -> JoinHandle<F::Output> {
        let class = priority.flags();
        // SAFETY: owner thread, since `Tasks` is `!Send`; the future is `'static`.
        unsafe { spawn_on(Arc::as_ptr(&self.core), future, class, Location::caller()) }
    }
}
