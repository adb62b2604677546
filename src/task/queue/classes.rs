//! The classes of tasks.
//!
//! The run queue holds the usual tasks, and is all that a batch, a wake and the question whether
//! there is something to do look at. Each other class has a queue of its own, and while there is
//! something in it, one *gate* in the run queue stands for all of them: a header without a future,
//! complete from the beginning, so a batch comes upon it on the same branch as upon a task that has
//! ended meanwhile. Hence classes cost nothing where they are not used.
//!
//! * The gate of `Latency` is put in front. A batch that passes it runs all that is behind it.
//! * The gate of `Bulk` is put at the end. A batch that passes it runs a few, and puts it into the
//!   next batch if more are left.
//!
//! A gate is `SCHEDULED` while it is in the run queue, or in the chain that a batch has taken. A
//! queue in which something is has its gate there, except while a batch passes it.
#![allow(unsafe_code)]

use std::ptr;

use super::{
    super::{
        cell::Header,
        priority::{BULK_ALONE, OTHERS_PER_BULK},
        state::{LATENCY, SCHEDULED},
        waker,
    },
    Batch, Core,
    ready::{Chain, Owned, Queue},
};

/// What stands in the run queue for the queues of the classes.
pub(super) struct Gates {
    latency: Header,
    bulk: Header,
}

impl Gates {
    pub(super) fn new() -> Self {
        Self {
            latency: Header::gate(),
            bulk: Header::gate(),
        }
    }

    /// Whether this is one of them, and no task.
    pub(super) fn have(&self, task: *const Header) -> bool {
        ptr::eq(task, &self.latency) || ptr::eq(task, &self.bulk)
    }
}

impl Core {
    /// Puts a task on the queue of its class.
    ///
    /// # Safety
    /// Owner thread; the caller has just set `SCHEDULED`; the task is `LATENCY` or `BULK`.
    pub(super) unsafe fn push_classed(&self, task: *const Header) {
        // SAFETY: owner thread; the caller has set `SCHEDULED`, and so does `schedules` for gates,
        // which live as long as the core.
        unsafe {
            let is_latency = (*task).own(|own| own.state.has(LATENCY));
            self.owned(|owned| {
                if is_latency {
                    owned.latency.push(task);
                    if schedules(&self.gates.latency) {
                        owned.ready.push_front(&self.gates.latency);
                    }
                } else {
                    owned.bulk.push(task);
                    if schedules(&self.gates.bulk) {
                        owned.ready.push(&self.gates.bulk);
                    }
                }
            });
        }
    }

    /// Does what is to be done with a task that is not to be polled, or with what a gate stands
    /// for.
    ///
    /// `rest` is the rest of the batch, by value so that the loop over it keeps it in registers,
    /// and `before` the number of the last poll before the batch.
    ///
    /// # Safety
    /// Owner thread, and `running`; what was taken is complete, aborted or a gate.
    #[inline(never)]
    pub(super) unsafe fn run_other(
        &self,
        taken: *const Header,
        rest: Chain,
        before: u64,
        before_each: &mut impl FnMut(),
    ) -> Chain {
        // Puts it back if there is a panic.
        let mut batch = Batch {
            core: self,
            chain: rest,
        };
        // SAFETY: the caller's promise.
        unsafe {
            if !self.gates.have(taken) {
                self.end(taken);
            } else if ptr::eq(taken, &self.gates.latency) {
                self.pass(taken, Owned::latency_queue, usize::MAX, before_each);
            } else if batch.chain.is_empty() {
                let share = share(self.pulse.polls_since(before));
                self.pass(taken, Owned::bulk_queue, share, before_each);
            } else if schedules(taken) {
                // All others first.
                batch.chain.append(taken);
            }
        }
        batch.chain.take()
    }

    /// Runs at most so many of the tasks behind a gate.
    ///
    /// # Safety
    /// Owner thread, and `running`; the gate was taken.
    unsafe fn pass(
        &self,
        gate: *const Header,
        queue: QueueOf,
        at_most: usize,
        before_each: &mut impl FnMut(),
    ) {
        let mut passing = Passing::new(self, gate, queue);
        for _ in 0..at_most {
            let Some(task) = passing.chain.pop() else {
                break;
            };
            // SAFETY: owner thread, and `running`; the task came from a run queue.
            unsafe {
                if self.is_to_be_polled(task) {
                    self.poll(task, &mut *before_each);
                } else {
                    self.end(task);
                }
            }
        }
    }

    /// Gives up the runtime's references to tasks that are still in a queue.
    ///
    /// # Safety
    /// Owner thread, and `running`; all of them are complete.
    pub(super) unsafe fn empty_queues(&self) {
        for queue in [
            Owned::ready_queue as QueueOf,
            Owned::latency_queue,
            Owned::bulk_queue,
        ] {
            // SAFETY: owner thread.
            let mut chain = unsafe { self.owned(|owned| queue(owned).take()) };
            while let Some(task) = chain.pop() {
                // SAFETY: owner thread; complete, and in no queue any more.
                unsafe {
                    (*task).own(|own| own.state.take(SCHEDULED));
                    if !self.gates.have(task) {
                        waker::drop_local(task);
                    }
                }
            }
        }
    }
}

/// How many tasks of the class `Bulk` are run in a batch in which so many others were polled.
fn share(others: u64) -> usize {
    match others as usize {
        0 => BULK_ALONE,
        others => others.div_ceil(OTHERS_PER_BULK),
    }
}

/// Sets `SCHEDULED`; whether it was not set before.
///
/// # Safety
/// Owner thread.
unsafe fn schedules(gate: *const Header) -> bool {
    // SAFETY: the caller's promise.
    unsafe {
        (*gate).own(|own| {
            let was = own.state.has(SCHEDULED);
            own.state.set(SCHEDULED);
            !was
        })
    }
}

type QueueOf = fn(&mut Owned) -> &mut Queue;

impl Owned {
    fn ready_queue(&mut self) -> &mut Queue {
        &mut self.ready
    }

    fn latency_queue(&mut self) -> &mut Queue {
        &mut self.latency
    }

    fn bulk_queue(&mut self) -> &mut Queue {
        &mut self.bulk
    }
}

/// What was behind a gate when a batch came to it. What is not run goes back, in front of what came
/// meanwhile, and the gate into the next batch.
struct Passing<'a> {
    core: &'a Core,
    gate: *const Header,
    queue: QueueOf,
    chain: Chain,
}

impl<'a> Passing<'a> {
    fn new(core: &'a Core, gate: *const Header, queue: QueueOf) -> Self {
        // SAFETY: only `pass_gate`, which is on the owner thread, makes one.
        let chain = unsafe { core.owned(|owned| queue(owned).take()) };
        Self {
            core,
            gate,
            queue,
            chain,
        }
    }
}

impl Drop for Passing<'_> {
    fn drop(&mut self) {
        if self.chain.is_empty() {
            return;
        }
        let left = self.chain.take();
        // SAFETY: owner thread; what is left was taken and not run. The gate is in no queue unless
        // `schedules` says so.
        unsafe {
            self.core.owned(|owned| {
                (self.queue)(owned).put_back(left);
                if schedules(self.gate) {
                    owned.ready.push(self.gate);
                }
            });
        }
    }
}
