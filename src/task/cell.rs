//! One allocation per task: header, then future or output. What runs and frees it.
#![allow(unsafe_code)]

use std::{
    any::{Any, type_name},
    future::Ready,
    mem::ManuallyDrop,
    panic::{AssertUnwindSafe, Location, catch_unwind},
    pin::Pin,
    ptr::null,
    task::{Context, Poll, Waker},
};

use super::{
    error::JoinError,
    loom::{Arc, AtomicUsize, Life, UnsafeCell, bury, current},
    queue::Core,
    state::{COMPLETE, DETACHED, FINISHED, MERGED, ONE, OUTPUT, SCHEDULED, State},
    waker,
};

/// What all tasks have in common. A task is known by a pointer to it, which came from the whole
/// allocation and must keep its provenance: never make one from a `&Header`.
///
/// The order is what a poll touches, last, next to the future: one or two cache lines.
#[repr(C)]
pub(super) struct Header {
    /// `QUEUED`, `WAKE`, `MERGED` and the others' count.
    pub(super) word: AtomicUsize,
    /// Next in the foreign queue. Belongs to who set `QUEUED`, and after the push to the owner,
    /// until it clears `QUEUED`.
    link: UnsafeCell<*const Header>,
    own: UnsafeCell<Own>,
    /// From an `Arc`. A merged task has a count of it; the others are covered by their `Tasks`.
    pub(super) core: *const Core,
    /// Where it was spawned.
    pub(super) location: &'static Location<'static>,
    pub(super) vtable: &'static VTable,
    pub(super) life: Life,
}

/// What only the owner thread touches, and only briefly: no user code runs meanwhile.
#[repr(C)]
pub(super) struct Own {
    /// Who waits for the output.
    pub(super) joiner: Option<Waker>,
    /// Neighbours in the list of all tasks.
    pub(super) before: *const Header,
    pub(super) after: *const Header,
    /// Next in the run queue.
    pub(super) next: *const Header,
    pub(super) state: State,
}

/// What depends on the type of the future.
pub(super) struct VTable {
    /// Polls the future. `true`: the task is complete now.
    ///
    /// # Safety
    /// Owner thread, with a reference; not complete, and not being polled.
    pub(super) poll: unsafe fn(*const Header) -> bool,
    /// Drops the future and finishes the task as cancelled.
    ///
    /// # Safety
    /// As for `poll`.
    pub(super) cancel: unsafe fn(*const Header),
    /// Moves the output, a `Result<F::Output, JoinError>`, to where the second pointer points.
    ///
    /// # Safety
    /// Owner thread; the caller has cleared `OUTPUT`, and the place is fit for the output.
    pub(super) take: unsafe fn(*const Header, *mut ()),
    /// Gives back the memory. Runs no user code.
    ///
    /// # Safety
    /// Nobody has a claim on the task.
    dealloc: unsafe fn(*const Header),
    /// What the future is called.
    pub(super) name: fn() -> &'static str,
}

#[repr(C)] // the header first, so that a pointer to it is one to the whole
struct Task<F: Future> {
    header: Header,
    stage: UnsafeCell<Stage<F>>,
}

/// The flags say what it holds: the future until `COMPLETE`, the output while `OUTPUT`.
union Stage<F: Future> {
    future: ManuallyDrop<F>,
    output: ManuallyDrop<Result<F::Output, JoinError>>,
}

impl Header {
    /// What is no task, and complete from the beginning, but may stand in a run queue.
    #[track_caller]
    pub(super) fn gate() -> Self {
        let own = Own::new(State::new(0, COMPLETE));
        Self::new(
            MERGED,
            own,
            null(),
            Location::caller(),
            &Task::<Ready<()>>::VTABLE,
        )
    }

    #[inline(always)]
    fn new(
        word: usize,
        own: Own,
        core: *const Core,
        location: &'static Location<'static>,
        vtable: &'static VTable,
    ) -> Self {
        Self {
            word: AtomicUsize::new(word),
            link: UnsafeCell::new(null()),
            core,
            location,
            vtable,
            own: UnsafeCell::new(own),
            life: Life::new(),
        }
    }

    /// # Safety
    /// Owner thread, or nobody else has a claim on the task. `f` runs no user code and does not
    /// come back to the same task.
    #[inline(always)]
    pub(super) unsafe fn own<R>(&self, f: impl FnOnce(&mut Own) -> R) -> R {
        // SAFETY: one thread, and `f` does not come back: the only reference.
        self.own.with_mut(|own| f(unsafe { &mut *own }))
    }

    /// # Safety
    /// The caller owns the link, see the field.
    pub(super) unsafe fn link(&self) -> *const Header {
        // SAFETY: the caller owns it, so nobody writes.
        self.link.with(|link| unsafe { *link })
    }

    /// # Safety
    /// The caller owns the link, see the field.
    pub(super) unsafe fn set_link(&self, to: *const Header) {
        // SAFETY: the caller owns it, so nobody else reads or writes.
        self.link.with_mut(|link| unsafe { *link = to });
    }

    /// Whether this thread has entered the task's core. The comparison cannot be fooled by a
    /// reused address: the core is there as long as the task is.
    #[inline(always)]
    pub(super) fn is_local(&self) -> bool {
        self.life.touch();
        current() == self.core
    }
}

impl Own {
    #[inline(always)]
    const fn new(state: State) -> Self {
        Self {
            next: null(),
            before: null(),
            after: null(),
            joiner: None,
            state,
        }
    }
}

/// Allocates a task with two references counted by the owner, the runtime's and the handle's,
/// marked as scheduled, and with the flags of its class.
#[inline]
pub(super) fn allocate<F: Future>(
    core: *const Core,
    future: F,
    class: usize,
    location: &'static Location<'static>,
) -> *const Header {
    let stage = Stage {
        future: ManuallyDrop::new(future),
    };
    allocate_with(core, stage, 0, State::new(2, SCHEDULED | class), location)
}

/// Allocates a task that never runs, with one reference, the handle's, which is already merged. It
/// takes over a count of the core.
#[cold]
pub(super) fn allocate_refused<F: Future>(
    core: Arc<Core>,
    why: JoinError,
    location: &'static Location<'static>,
) -> *const Header {
    let stage = Stage::<F> {
        output: ManuallyDrop::new(Err(why)),
    };
    let state = State::new(0, COMPLETE | FINISHED | OUTPUT);
    allocate_with(Arc::into_raw(core), stage, MERGED | ONE, state, location)
}

#[inline(always)]
fn allocate_with<F: Future>(
    core: *const Core,
    stage: Stage<F>,
    word: usize,
    state: State,
    location: &'static Location<'static>,
) -> *const Header {
    let own = Own::new(state);
    let task = Box::new(Task {
        header: Header::new(word, own, core, location, &Task::<F>::VTABLE),
        stage: UnsafeCell::new(stage),
    });
    Box::into_raw(task).cast_const().cast()
}

/// The memory that a task of this future takes, in bytes.
#[cfg(test)]
pub(super) fn size_of_task<F: Future>(_: &F) -> usize {
    size_of::<Task<F>>()
}

/// Gives a merged task's memory back, and its count of the core.
///
/// # Safety
/// It is merged, nobody has a claim on it, and what the owner did to it comes before.
pub(super) unsafe fn free(task: *const Header) {
    // SAFETY: nobody else has a claim, so it is there until it is freed below.
    let core = unsafe { (*task).core };
    // SAFETY: the caller's promise.
    unsafe { free_memory(task) };
    // SAFETY: the count that a merged task has, given back once.
    drop(unsafe { Arc::from_raw(core) });
}

/// Gives a task's memory back. That is all for one that is not merged: it has no count of the core.
///
/// # Safety
/// Nobody has a claim on the task, or nobody but the owner, whose thread this is.
#[inline]
pub(super) unsafe fn free_memory(task: *const Header) {
    // SAFETY: nobody else has a claim, so it is there until we free it below.
    let header = unsafe { &*task };
    if cfg!(loom) {
        // SAFETY: nobody else has a claim. A model reports it if that, or the order, is wrong.
        unsafe {
            header.own(|own| assert!(!own.state.has(OUTPUT) && own.joiner.is_none()));
            header.set_link(null());
        }
    }
    header.life.end();
    let vtable = header.vtable;
    // SAFETY: nobody has a claim, and nobody can get one any more.
    bury(move || unsafe { (vtable.dealloc)(task) });
}

impl<F: Future> Task<F> {
    const VTABLE: VTable = VTable {
        poll: poll::<F>,
        cancel: cancel::<F>,
        take: take::<F>,
        dealloc: dealloc::<F>,
        name: type_name::<F>,
    };
}

unsafe fn poll<F: Future>(task: *const Header) -> bool {
    // SAFETY: the caller has a reference.
    let cell = unsafe { &*task.cast::<Task<F>>() };
    // SAFETY: borrows the caller's reference; never dropped.
    let waker = ManuallyDrop::new(unsafe { waker::from_reference(task) });
    let mut context = Context::from_waker(&waker);
    let polled = cell.stage.with_mut(|stage| {
        catch_unwind(AssertUnwindSafe(|| {
            // SAFETY: not complete, so the stage holds the future, and nobody else touches it: the
            // owner thread does not poll a task within its poll. It moves no more before its drop.
            unsafe { Pin::new_unchecked(&mut *(&raw mut (*stage).future).cast::<F>()) }
                .poll(&mut context)
        }))
    });
    let output = match polled {
        Ok(Poll::Pending) => return false,
        Ok(Poll::Ready(output)) => Ok(output),
        Err(payload) => Err(JoinError::panic(payload)),
    };
    // SAFETY: the caller's promise.
    unsafe { finish::<F>(task, output) };
    true
}

unsafe fn cancel<F: Future>(task: *const Header) {
    // SAFETY: the caller's promise.
    unsafe { finish::<F>(task, Err(JoinError::cancelled())) }
}

/// Drops the future, hands `output` to the handle, or drops it, and wakes who waits for it.
///
/// # Safety
/// As for `VTable::poll`.
#[inline(never)]
unsafe fn finish<F: Future>(task: *const Header, mut output: Result<F::Output, JoinError>) {
    // SAFETY: the caller has a reference.
    let cell = unsafe { &*task.cast::<Task<F>>() };
    let header = &cell.header;
    // SAFETY: owner thread.
    unsafe { header.own(|own| own.state.set(COMPLETE)) };
    let dropped = cell.stage.with_mut(|stage| {
        // SAFETY: it was not complete until now, so the stage holds the future. `COMPLETE` keeps
        // everybody else from it.
        contain(|| unsafe { ManuallyDrop::drop(&mut (*stage).future) })
    });
    if let Err(payload) = dropped {
        // The first panic is the one to report.
        let later = match &output {
            Err(first) if first.is_panic() => Err(JoinError::panic(payload)),
            _ => std::mem::replace(&mut output, Err(JoinError::panic(payload))),
        };
        discard(later);
    }
    // SAFETY: owner thread. Read only now: the future's destructor may have dropped the handle.
    if unsafe { header.own(|own| own.state.has(DETACHED)) } {
        // SAFETY: owner thread.
        unsafe { header.own(|own| own.state.set(FINISHED)) };
        return discard(output);
    }
    cell.stage.with_mut(|stage| {
        // SAFETY: the future is gone, and nobody reads an output before `OUTPUT` is set.
        unsafe { (*stage).output = ManuallyDrop::new(output) };
    });
    // SAFETY: owner thread.
    let joiner = unsafe {
        header.own(|own| {
            own.state.set(FINISHED | OUTPUT);
            own.joiner.take()
        })
    };
    if let Some(joiner) = joiner
        && let Err(other) = waker::wake_own(joiner)
        && let Err(payload) = contain(|| other.wake())
    {
        discard(payload);
    }
}

unsafe fn take<F: Future>(task: *const Header, into: *mut ()) {
    // SAFETY: the caller has a reference.
    let cell = unsafe { &*task.cast::<Task<F>>() };
    cell.stage.with(|stage| {
        // SAFETY: `OUTPUT` was set, so it is there; the caller cleared it, so it is moved out once.
        let output = unsafe { (&raw const (*stage).output).read() };
        // SAFETY: the caller's promise.
        unsafe {
            into.cast::<Result<F::Output, JoinError>>()
                .write(ManuallyDrop::into_inner(output))
        };
    });
}

unsafe fn dealloc<F: Future>(task: *const Header) {
    // SAFETY: `allocate_with` made it of this type. Future and output are gone, and a union does
    // not drop what it holds.
    drop(unsafe { Box::from_raw(task.cast::<Task<F>>().cast_mut()) });
}

/// Runs user code whose panic is not to go further.
pub(super) fn contain<R>(f: impl FnOnce() -> R) -> Result<R, Box<dyn Any + Send>> {
    catch_unwind(AssertUnwindSafe(f))
}

/// Drops a value of the user's, or what a panic threw, and contains what panics in that.
pub(super) fn discard<T>(value: T) {
    let mut dropped = contain(|| drop(value));
    // What a panic threw may panic as well when it is dropped, and throw more of the kind.
    for _ in 0..3 {
        match dropped {
            Ok(()) => return,
            Err(payload) => dropped = contain(|| drop(payload)),
        }
    }
    std::mem::forget(dropped);
}
