//! One core's tasks: the run queue, the foreign queue, and the turn that empties them.
#![allow(unsafe_code)]

mod block_on;
mod foreign;

mod ready;

use std::{marker::PhantomData, ptr};

use self::{
    foreign::{Closed, Foreign},
    ready::Owned,
};
use super::{
    cell::{self, Header},
    error::JoinError,
    join::JoinHandle,
    loom::{Arc, Life, UnsafeCell, current, replace_current},
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
    foreign: Foreign,
    kick: Box<dyn Kick>,
    life: Life,
}

// SAFETY: `owned` is touched only by functions that promise to be on the thread of the `Tasks`,
// which is `!Send`; it holds pointers only, so dropping it elsewhere touches nothing. The rest is
// `Send` and `Sync`.
unsafe impl Send for Core {}
// SAFETY: as above.
unsafe impl Sync for Core {}

impl Tasks {
    /// The tasks of a core that `kick` wakes when it is parked.
    pub(crate) fn new(kick: Box<dyn Kick>) -> Self {
        let core = Core {
            owned: UnsafeCell::new(Owned::new()),
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

    /// Starts a task. After [`teardown`](Self::teardown) has begun the future is dropped instead,
    /// and the handle yields a cancelled [`JoinError`].
    #[cfg(test)]
    pub(crate) fn spawn<F: Future + 'static>(&self, future: F) -> JoinHandle<F::Output> {
        // SAFETY: owner thread, since `Tasks` is `!Send`; the future is `'static`.
        unsafe { spawn_on(Arc::as_ptr(&self.core), future) }
    }

    /// Takes what other threads woke, then runs at most the tasks that were ready by then, each
    /// once. `before_each` is called before each poll. Returns the polls made.
    ///
    /// # Panics
    /// If it is called within a poll of these tasks.
    #[inline]
    pub(crate) fn run_batch(&self, mut before_each: impl FnMut()) -> usize {
        debug_assert!(
            ptr::eq(current(), Arc::as_ptr(&self.core)),
            "run_batch outside of enter"
        );
        let core = &*self.core;
        let _running = Running::new(core);
        // SAFETY: owner thread; each task is handed over with `QUEUED`.
        unsafe { core.foreign.take(|task| waker::arrive(task)) };
        let mut batch = Batch::new(core);
        let mut polls = 0;
        while let Some(task) = batch.pop() {
            // SAFETY: owner thread; it came from the run queue, and `_running` keeps the task from
            // being polled within its own poll.
            polls += usize::from(unsafe { core.run(task, &mut before_each) });
        }
        // SAFETY: owner thread.
        unsafe { core.owned(|owned| owned.polls += polls as u64) };
        polls
    }

    /// Whether no task is ready. Says nothing of what other threads woke meanwhile.
    #[inline]
    pub(crate) fn is_idle(&self) -> bool {
        // SAFETY: owner thread.
        unsafe { self.core.owned(|owned| owned.is_idle()) }
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
        // SAFETY: owner thread.
        unsafe { self.core.owned(|owned| owned.polls) }
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

impl Drop for Core {
    fn drop(&mut self) {
        self.life.end();
    }
}

impl Drop for Tasks {
    fn drop(&mut self) {
        self.teardown();
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

/// Starts a task on the core that this thread has entered; `None`: there is none.
#[inline]
pub(super) fn spawn_on_current<F: Future + 'static>(future: F) -> Result<JoinHandle<F::Output>, F> {
    let core = current();
    if core.is_null() {
        return Err(future);
    }
    // SAFETY: entered, so the `Tasks` is borrowed on this thread; the future is `'static`.
    Ok(unsafe { spawn_on(core, future) })
}

/// # Safety
/// Owner thread of `core`, which came from an `Arc`. The future and its output may be used until
/// the task is complete and the handle is gone.
#[inline]
unsafe fn spawn_on<F: Future>(core: *const Core, future: F) -> JoinHandle<F::Output> {
    // SAFETY: from an `Arc` that is there.
    let core = unsafe {
        Arc::increment_strong_count(core);
        Arc::from_raw(core)
    };
    let at = Arc::as_ptr(&core);
    // SAFETY: owner thread. The task keeps the core from here on; it is new, so in no list.
    unsafe {
        if (*at).owned(|owned| owned.closing) {
            drop(future);
            return JoinHandle::new(cell::allocate_refused::<F>(core, JoinError::cancelled()));
        }
        let task = cell::allocate(core, future);
        (*at).owned(|owned| {
            owned.alive += 1;
            owned.list(task);
            owned.push(task);
        });
        JoinHandle::new(task)
    }
}

/// Puts a task on its core's run queue.
///
/// # Safety
/// Owner thread; the caller has just set `SCHEDULED`.
#[inline(always)]
pub(super) unsafe fn push_ready(task: *const Header) {
    // SAFETY: the caller's promise; the task keeps its core.
    unsafe { (*(*task).core).owned(|owned| owned.push(task)) }
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

    /// Polls a task that came out of the run queue, or drops its future if it was aborted. Returns
    /// whether there was something to poll.
    ///
    /// # Safety
    /// Owner thread, and `running`.
    #[inline(always)]
    unsafe fn run(&self, task: *const Header, before: impl FnOnce()) -> bool {
        // SAFETY: the runtime's reference keeps the task.
        let header = unsafe { &*task };
        // SAFETY: owner thread.
        let ended = unsafe {
            header.own(|own| {
                own.state.take(SCHEDULED);
                own.state.has(COMPLETE | ABORTED)
            })
        };
        if ended {
            // SAFETY: the caller's promise.
            unsafe { self.end(task) };
            return false;
        }
        before();
        // SAFETY: not complete, and `running` keeps it from being polled within its poll.
        if unsafe { (header.vtable.poll)(task) } {
            // SAFETY: owner thread, just completed.
            unsafe { self.completed(task) }
        }
        true
    }

    /// What `run` does with a task that is not to be polled.
    ///
    /// # Safety
    /// As for `run`; complete or aborted.
    #[inline(never)]
    unsafe fn end(&self, task: *const Header) {
        // SAFETY: owner thread. Complete and no longer in the run queue: the runtime's reference
        // goes. Aborted: it is not being polled, or `running` would have kept it from here.
        unsafe {
            if (*task).own(|own| own.state.has(COMPLETE)) {
                waker::drop_local(task);
            } else {
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
        // 2. The run queue holds complete tasks only: the runtime's references go.
        let mut batch = Batch::new(self);
        while let Some(task) = batch.pop() {
            // SAFETY: owner thread, and `running`.
            unsafe { self.run(task, || {}) };
        }
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

/// The tasks that were ready when a batch began. What is not run goes back, if a panic ends it.
struct Batch<'a> {
    core: &'a Core,
    first: *const Header,
    last: *const Header,
}

impl<'a> Batch<'a> {
    #[inline(always)]
    fn new(core: &'a Core) -> Self {
        // SAFETY: callers are methods of `Tasks`, hence on the owner thread.
        let (first, last) = unsafe { core.owned(|owned| owned.take()) };
        Self { core, first, last }
    }

    #[inline(always)]
    fn pop(&mut self) -> Option<*const Header> {
        let task = self.first;
        if task.is_null() {
            return None;
        }
        // SAFETY: owner thread; a scheduled task is kept by the runtime's reference. Read now: when
        // the task is run it may be scheduled anew.
        self.first = unsafe { (*task).own(|own| own.next) };
        Some(task)
    }
}

impl Drop for Batch<'_> {
    #[inline(always)]
    fn drop(&mut self) {
        if !self.first.is_null() {
            // SAFETY: owner thread; what is left was taken and not run.
            unsafe {
                self.core
                    .owned(|owned| owned.put_back(self.first, self.last))
            };
        }
    }
}

/// Keeps a core's futures from being polled, or dropped, within a poll.
struct Running<'a> {
    core: &'a Core,
}

impl<'a> Running<'a> {
    #[inline(always)]
    fn new(core: &'a Core) -> Self {
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
