//! Running what is ready, a batch at a time.
#![allow(unsafe_code)]

use std::ptr;

use super::{
    super::{
        loom::{Arc, current},
        waker,
    },
    Core, Tasks,
    ready::Chain,
};

impl Tasks {
    /// Takes what other threads woke, then runs at most the tasks that were ready by then, each
    /// once; of the class that has a share, no more than that, and perhaps one that another task of
    /// the batch woke. `before_each` is called before each poll. Returns the polls made.
    ///
    /// # Panics
    /// If it is called within a poll of these tasks.
    #[cfg(any(test, feature = "sim"))]
    pub(crate) fn run_batch(&self, before_each: impl FnMut()) -> usize {
        self.run_batches(before_each, || false)
    }

    /// The same, and then the next batch, as long as there is one and `again` says so.
    ///
    /// # Panics
    /// As for one batch.
    #[inline]
    pub(crate) fn run_batches(
        &self,
        mut before_each: impl FnMut(),
        mut again: impl FnMut() -> bool,
    ) -> usize {
        debug_assert!(
            ptr::eq(current(), Arc::as_ptr(&self.core)),
            "run_batch outside of enter"
        );
        let core = &*self.core;
        let _running = Running::new(core);
        let first = core.pulse.number();
        let mut before = first;
        let mut batch = Batch::new(core);
        loop {
            while let Some(task) = batch.chain.pop() {
                // SAFETY: owner thread; it came from the run queue, and `_running` keeps the task
                // from being polled within its own poll.
                unsafe {
                    if core.is_to_be_polled(task) {
                        core.poll(task, &mut before_each);
                    } else {
                        let rest = batch.chain.take();
                        batch.chain = core.run_other(task, rest, before, &mut before_each);
                    }
                }
            }
            if self.is_idle() || !again() {
                return core.pulse.polls_since(first) as usize;
            }
            before = core.pulse.number();
            batch.chain = core.next_chain();
        }
    }
}

impl Core {
    /// What is ready, with what other threads have woken.
    #[inline(always)]
    fn next_chain(&self) -> Chain {
        // SAFETY: callers are methods of `Tasks`, hence on the owner thread; each task is handed
        // over with `QUEUED`.
        unsafe {
            self.foreign.take(|task| waker::arrive(task));
            self.owned(|owned| owned.ready.take())
        }
    }
}

/// The tasks that were ready when a batch began. What is not run goes back, if a panic ends it.
pub(super) struct Batch<'a> {
    pub(super) core: &'a Core,
    pub(super) chain: Chain,
}

impl<'a> Batch<'a> {
    #[inline(always)]
    fn new(core: &'a Core) -> Self {
        let chain = core.next_chain();
        Self { core, chain }
    }
}

impl Drop for Batch<'_> {
    #[inline(always)]
    fn drop(&mut self) {
        self.core.pulse.end();
        if !self.chain.is_empty() {
            let left = self.chain.take();
            // SAFETY: owner thread; what is left was taken and not run.
            unsafe { self.core.owned(|owned| owned.ready.put_back(left)) };
        }
    }
}

/// Keeps a core's futures from being polled, or dropped, within a poll.
pub(super) struct Running<'a> {
    core: &'a Core,
}

impl<'a> Running<'a> {
    #[inline(always)]
    pub(super) fn new(core: &'a Core) -> Self {
        // SAFETY: callers are methods of `Tasks`, hence on the owner thread.
        let before = unsafe { core.owned(|owned| std::mem::replace(&mut owned.running, true)) };
        assert!(
            !before,
            "a core's tasks were run or torn down from within one of them"
        );
        Self { core }
    }
}

impl Drop for Running<'_> {
    #[inline(always)]
    fn drop(&mut self) {
        // SAFETY: made on the owner thread, and not `Send`.
        unsafe { self.core.owned(|owned| owned.running = false) };
    }
}
