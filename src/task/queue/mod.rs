//! One core's tasks: the run queue, the foreign queue, and the turn that empties them.
#![allow(unsafe_code)]

mod batch;
mod block_on;
mod classes;
mod foreign;
mod ready;
mod spawn;

use std::{marker::PhantomData, mem::ManuallyDrop};

pub(super) use self::spawn::{spawn_on, spawn_on_current};
use self::{
    batch::{Batch, Running},
    classes::Gates,
    foreign::{Closed, Foreign},
    ready::Owned,
};
use super::{
    builder::Name,
    cell::Header,
    loom::{Arc, Life, UnsafeCell, current, replace_current},
    pulse::Pulse,
    state::{ABORTED, COMPLETE, SCHEDULED},
    waker,
};

/// Wakes a core that is parked, as a write to its eventfd does.
///
/// Called once for each announcement of [`Tasks::try_park`] that a push replaced, on any thread, at
/// times in the middle of user code: it must not block, allocate, panic or wake a task. Dropped
/// with the last task or waker of the core, on any thread.
pub(crate) trait Kick: Send + Sync + 'static {
    /// Ends the sleep of the core, or its next one if it is awake by now.
    fn kick(&self);
}

/// The tasks of one core. They are run, and their futures dropped, on the thread that made it.
///
/// Dropping it is [`teardown`](Tasks::teardown).
pub(crate) struct Tasks {
    core: Arc<Core>,
    // What makes the creating thread the owner for good.
    _not_send: PhantomData<*const ()>,
}

/// What a core's tasks point to, and keep alive.
///
/// Both halves are in one place, because then one comparison of one address says whether the thread
/// is the owner and where its run queue is.
pub(super) struct Core {
    owned: UnsafeCell<Owned>,
    gates: Gates,
    pulse: Pulse,
    foreign: Foreign,
    kick: Box<dyn Kick>,
    life: Life,
}

// SAFETY: `owned` and `gates` are touched only by functions that promise to be on the thread of the
// `Tasks`, which is `!Send`; they hold pointers only, so dropping them elsewhere touches nothing.
// The rest is `Send` and `Sync`.
unsafe impl Send for Core {}
// SAFETY: as above.
unsafe impl Sync for Core {}

impl Tasks {
    /// The tasks of a core that `kick` wakes when it is parked.
    pub(crate) fn new(kick: Box<dyn Kick>) -> Self {
        let core = Core {
            owned: UnsafeCell::new(Owned::new()),
            gates: Gates::new(),
            pulse: Pulse::new(),
            foreign: Foreign::new(),
            kick,
            life: Life::new(),
        };
        Self {
            core: Arc::new(core),
            _not_send: PhantomData,
        }
    }

    /// Runs `f` with these tasks as the thread's current ones, and puts back those before.
    ///
    /// "Current" is what `task::spawn` spawns on, and whose wakes stay on the thread. Without it
    /// all works too, through the foreign queue.
    pub(crate) fn enter<R>(&self, f: impl FnOnce() -> R) -> R {
        let _left = Entered {
            before: replace_current(Arc::as_ptr(&self.core)),
        };
        f()
    }

    /// Whether this thread has entered any tasks, these or others.
    #[inline]
    pub(crate) fn current_exists() -> bool {
        !current().is_null()
    }

    /// Whether no task is ready. Says nothing of what other threads woke meanwhile.
    #[inline]
    pub(crate) fn is_idle(&self) -> bool {
        // SAFETY: owner thread.
        unsafe { self.core.owned(|owned| owned.ready.is_empty()) }
    }

    /// Whether other threads woke something. One plain load, fit for a spin.
    #[inline]
    pub(crate) fn has_foreign(&self) -> bool {
        self.core.foreign.has_tasks()
    }

    /// Announces that the core is about to sleep: from now on a wake by another thread kicks it.
    /// `false`: something was woken already, so do not sleep.
    ///
    /// The next [`run_batch`](Self::run_batch) takes the announcement back, whatever ended the
    /// sleep. If a completion did, a kick may still come, and end the next sleep for nothing.
    pub(crate) fn try_park(&self) -> bool {
        self.core.foreign.try_park()
    }

    /// Tasks whose futures are not finished.
    pub(crate) fn len(&self) -> usize {
        // SAFETY: owner thread.
        unsafe { self.core.owned(|owned| owned.alive) }
    }

    /// Polls made so far.
    pub(crate) fn polls(&self) -> u64 {
        self.core.pulse.polls()
    }

    /// What another thread may watch of these tasks.
    pub(crate) fn watch(&self) -> Watch {
        Watch(Arc::clone(&self.core))
    }

    /// Tasks of other cores that were woken from here so far, and how many of them took a kick.
    pub(crate) fn wakes(&self) -> (u64, u64) {
        // SAFETY: owner thread.
        unsafe {
            self.core
                .owned(|owned| (owned.wakes_sent, owned.kicks_sent))
        }
    }

    /// Ends the core: drops all futures here and now, then leaves the tasks to the wakers and
    /// handles that remain, on whatever thread. Does nothing the second time.
    ///
    /// Panics of the futures' destructors are reported to their handles and go no further.
    ///
    /// # Panics
    /// If it is called within a poll of these tasks.
    pub(crate) fn teardown(&self) {
        let core = &*self.core;
        // SAFETY: owner thread.
        if unsafe { core.owned(|owned| owned.closing) } {
            return;
        }
        let _running = Running::new(core);
        self.enter(|| {
            // SAFETY: owner thread, entered, and `running`.
            unsafe {
                core.owned(|owned| owned.closing = true);
                core.teardown();
            }
        });
    }
}

/// Looks at the polls of a core from any thread. Keeps the core, but none of its tasks.
pub(crate) struct Watch(Arc<Core>);

impl Watch {
    pub(crate) fn pulse(&self) -> &Pulse {
        &self.0.pulse
    }
}

impl Drop for Core {
    fn drop(&mut self) {
        self.life.end();
    }
}

impl Drop for Tasks {
    fn drop(&mut self) {
        // Kept for good if that fails: tasks that are not merged have no count of the core.
        let core = ManuallyDrop::new(Arc::clone(&self.core));
        self.teardown();
        // SAFETY: owner thread.
        if unsafe { core.owned(|owned| owned.lists_none()) } {
            drop(ManuallyDrop::into_inner(core));
        }
    }
}

/// Counts what this thread's core has sent to another one.
fn count_wake(has_kicked: bool) {
    let core = current();
    if !core.is_null() {
        // SAFETY: entered, so the `Tasks` is borrowed on this thread, its owner's.
        unsafe {
            (*core).owned(|owned| {
                owned.wakes_sent += 1;
                owned.kicks_sent += u64::from(has_kicked);
            });
        }
    }
}

/// Puts a task on its core's run queue.
///
/// # Safety
/// Owner thread; the caller has just set `SCHEDULED`.
#[inline(always)]
pub(super) unsafe fn push_ready(task: *const Header) {
    // SAFETY: the caller's promise; the task keeps its core.
    unsafe { (*(*task).core).owned(|owned| owned.ready.push(task)) }
}

/// Puts a task on the queue of its class, which is not the usual one.
///
/// # Safety
/// As for `push_ready`.
#[cold]
pub(super) unsafe fn push_classed(task: *const Header) {
    // SAFETY: the caller's promise; the task keeps its core.
    unsafe { (*(*task).core).push_classed(task) }
}

/// Says what the task is called that this thread polls now.
pub(super) fn name_poll(name: &Name) {
    let core = current();
    if !core.is_null() {
        // SAFETY: entered, so the `Tasks` is borrowed on this thread.
        unsafe { (*core).pulse.name(name) }
    }
}

/// Takes a task off its core's list.
///
/// # Safety
/// Owner thread; the task is not merged.
#[inline(always)]
pub(super) unsafe fn unlist(task: *const Header) {
    // SAFETY: the caller's promise; the task keeps its core.
    unsafe { (*(*task).core).owned(|owned| owned.unlist(task)) }
}

impl Core {
    /// # Safety
    /// Owner thread. `f` runs no user code and does not come back here.
    #[inline(always)]
    unsafe fn owned<R>(&self, f: impl FnOnce(&mut Owned) -> R) -> R {
        // SAFETY: one thread, and `f` does not come back: the only reference.
        self.owned.with_mut(|owned| f(unsafe { &mut *owned }))
    }

    /// Takes a task from another thread, and wakes the core if it is parked. `false`: the core is
    /// gone, and the task is still the caller's.
    ///
    /// # Safety
    /// As for `Foreign::push`.
    pub(super) unsafe fn push_foreign(&self, task: *const Header) -> bool {
        // SAFETY: the caller's promise.
        match unsafe { self.foreign.push(task) } {
            Ok(parked) => {
                count_wake(parked);
                if parked {
                    self.life.touch();
                    self.kick.kick();
                }
                true
            }
            Err(Closed) => false,
        }
    }

    /// Takes a task that came out of a queue. `false`: it is complete, or aborted, or a gate.
    ///
    /// # Safety
    /// Owner thread, and `running`.
    #[inline(always)]
    unsafe fn is_to_be_polled(&self, task: *const Header) -> bool {
        // SAFETY: owner thread; the runtime's reference keeps the task.
        unsafe {
            (*task).own(|own| {
                own.state.take(SCHEDULED);
                !own.state.has(COMPLETE | ABORTED)
            })
        }
    }

    /// # Safety
    /// Owner thread, and `running`; the task is to be polled.
    #[inline(always)]
    unsafe fn poll(&self, task: *const Header, before: impl FnOnce()) {
        before();
        // SAFETY: the runtime's reference keeps the task.
        let (location, vtable) = unsafe { ((*task).location, (*task).vtable) };
        self.pulse.begin(location, vtable);
        // SAFETY: not complete, and `running` keeps it from being polled within its poll.
        if unsafe { (vtable.poll)(task) } {
            // SAFETY: owner thread, just completed.
            unsafe { self.completed(task) }
        }
    }

    /// What becomes of a task that is not to be polled.
    ///
    /// # Safety
    /// Owner thread, and `running`; complete or aborted, and no gate.
    unsafe fn end(&self, task: *const Header) {
        // SAFETY: owner thread. Complete and no longer in the run queue: the runtime's reference
        // goes. Aborted: it is not being polled, or `running` would have kept it from here.
        unsafe {
            if (*task).own(|own| own.state.has(COMPLETE)) {
                waker::drop_local(task);
            } else {
                // The future is dropped: the user's code, too, and it may take as long.
                self.pulse.begin_drop((*task).location, (*task).vtable);
                self.cancel(task);
            }
        }
    }

    /// # Safety
    /// Owner thread; the task is not complete and not being polled.
    #[inline(never)]
    unsafe fn cancel(&self, task: *const Header) {
        // SAFETY: the caller's promise.
        unsafe {
            ((*task).vtable.cancel)(task);
            self.completed(task);
        }
    }

    /// # Safety
    /// Owner thread; the task has just become complete.
    #[inline(always)]
    unsafe fn completed(&self, task: *const Header) {
        // SAFETY: owner thread. The runtime's reference goes now, or when the task leaves the run
        // queue.
        unsafe {
            self.owned(|owned| owned.alive -= 1);
            if !(*task).own(|own| own.state.has(SCHEDULED)) {
                waker::drop_local(task);
            }
        }
    }

    /// # Safety
    /// Owner thread, entered, `running` and `closing`.
    unsafe fn teardown(&self) {
        // 1. The futures. Their destructors are user code: they may wake, clone, drop, abort and
        //    spawn, but `closing` refuses what is spawned, so the list only gets shorter.
        loop {
            // SAFETY: owner thread.
            let task = unsafe { self.owned(|owned| owned.next_to_end()) };
            if task.is_null() {
                break;
            }
            // SAFETY: owner thread. A task that is not complete is not being polled either: it
            // would be `running`, which began only with teardown.
            unsafe {
                if !(*task).own(|own| own.state.has(COMPLETE)) {
                    self.cancel(task);
                }
            }
        }
        // No user code runs from here on.
        // 2. The run queues hold complete tasks only: the runtime's references go.
        // SAFETY: owner thread, and `running`.
        unsafe { self.empty_queues() };
        // 3. What other threads sent home. Who comes later is refused.
        // SAFETY: owner thread; each task is handed over with `QUEUED`.
        unsafe { self.foreign.close(|task| waker::arrive(task)) };
        // 4. The references that the owner counts go to who holds them.
        loop {
            // SAFETY: owner thread.
            let task = unsafe { self.owned(|owned| owned.first_ended()) };
            if task.is_null() {
                break;
            }
            // SAFETY: owner thread; in the list, so not merged.
            unsafe {
                let local = (*task).own(|own| own.state.take_count());
                waker::merge(task, local);
            }
        }
    }
}

/// Puts back what was current.
struct Entered {
    before: *const Core,
}

impl Drop for Entered {
    fn drop(&mut self) {
        replace_current(self.before);
    }
}
