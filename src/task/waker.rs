//! Wakers and references: counting, waking, and the way of a task from other threads to its core.
//!
//! Each operation comes twice, for the owner thread and for others. `mod.rs` has the protocol.
#![allow(unsafe_code)]

use std::{
    hint::cold_path,
    mem::ManuallyDrop,
    ptr,
    sync::atomic::Ordering::{AcqRel, Acquire, Relaxed},
    task::{RawWaker, RawWakerVTable, Waker},
};

use super::{
    cell::{self, Header},
    loom::Arc,
    queue,
    state::{BULK, COMPLETE, LATENCY, MERGED, ONE, QUEUED, SCHEDULED, WAKE, count},
};

static VTABLE: RawWakerVTable = RawWakerVTable::new(clone, wake, wake_by_ref, drop_waker);

/// A waker that stands for a reference of the caller's.
///
/// # Safety
/// The reference is the caller's, and the waker gives it up if it is dropped.
#[inline(always)]
pub(super) unsafe fn from_reference(task: *const Header) -> Waker {
    // SAFETY: the functions of `VTABLE` expect a task with a reference, and work on any thread.
    unsafe { Waker::new(task.cast(), &VTABLE) }
}

/// Wakes a task of the core that this thread has entered, without running any user code.
///
/// # Errors
/// Any other waker comes back, also one of ours that belongs to another core: to wake it takes a
/// kick, and that is no thing to do while something is borrowed.
#[inline]
pub(crate) fn wake_own(waker: Waker) -> Result<(), Waker> {
    if !ptr::eq(waker.vtable(), &VTABLE) {
        return Err(waker);
    }
    let task = waker.data().cast::<Header>();
    // SAFETY: our vtable, so it is a task of ours, and the waker is a reference to it.
    if !unsafe { (*task).is_local() } {
        return Err(waker);
    }
    let _given_up = ManuallyDrop::new(waker);
    // SAFETY: owner thread; the waker's reference is given up here.
    unsafe { schedule_for_one(task) };
    Ok(())
}

/// As [`Waker::wake_by_ref`], without a call for a task of the core that this thread has entered.
#[inline]
pub(super) fn wake_by_ref_here(waker: &Waker) {
    let task = waker.data().cast::<Header>();
    // SAFETY: our vtable, so it is a task of ours, and the waker is a reference to it.
    if ptr::eq(waker.vtable(), &VTABLE) && unsafe { (*task).is_local() } {
        // SAFETY: owner thread, and the waker is a reference.
        unsafe { schedule(task) };
    } else {
        waker.wake_by_ref();
    }
}

/// As [`Waker::clone`], without a call for a task of the core that this thread has entered.
#[inline(always)]
pub(crate) fn clone_here(waker: &Waker) -> Waker {
    clone_own(waker).unwrap_or_else(|| {
        cold_path();
        waker.clone()
    })
}

/// Clones the waker of a task of the core that this thread has entered, without running any user
/// code. `None`: it is another one.
#[inline(always)]
pub(crate) fn clone_own(waker: &Waker) -> Option<Waker> {
    let task = waker.data().cast::<Header>();
    // SAFETY: our vtable, so a task of ours, and the waker is a reference to it; owner thread.
    if !ptr::eq(waker.vtable(), &VTABLE) || !unsafe { count_local(task) } {
        return None;
    }
    // SAFETY: the reference that was counted above. The vtable is ours, and at hand.
    Some(unsafe { Waker::new(task.cast(), waker.vtable()) })
}

/// Counts one more reference of a task of this thread. `false`: it must be counted in the word.
///
/// # Safety
/// The caller has a reference.
#[inline(always)]
unsafe fn count_local(task: *const Header) -> bool {
    // SAFETY: the caller's reference; owner thread.
    unsafe { (*task).is_local() && (*task).own(|own| own.state.count_one()) }
}

/// A waker of the handle's task.
#[cfg(test)]
pub(super) fn of<T>(handle: &super::JoinHandle<T>) -> Waker {
    // SAFETY: borrows the handle's reference; never dropped.
    let waker = ManuallyDrop::new(unsafe { from_reference(handle.task()) });
    Waker::clone(&waker)
}

unsafe fn clone(data: *const ()) -> RawWaker {
    let task = data.cast::<Header>();
    // SAFETY: the waker is a reference.
    unsafe {
        if !count_local(task) {
            // Relaxed: the waker's reference keeps the task, as in `Arc`.
            (*task).word.fetch_add(ONE, Relaxed);
        }
    }
    RawWaker::new(data, &VTABLE)
}

unsafe fn wake(data: *const ()) {
    let task = data.cast::<Header>();
    // SAFETY: the waker is a reference, given up here.
    unsafe {
        if (*task).is_local() {
            schedule_for_one(task);
        } else {
            drop_foreign(task, WAKE);
        }
    }
}

unsafe fn wake_by_ref(data: *const ()) {
    // SAFETY: the waker is a reference.
    unsafe { wake_reference(data.cast()) }
}

unsafe fn drop_waker(data: *const ()) {
    // SAFETY: the waker is a reference, given up here.
    unsafe { drop_reference(data.cast()) }
}

/// # Safety
/// The caller has a reference.
#[inline(always)]
pub(super) unsafe fn wake_reference(task: *const Header) {
    // SAFETY: the caller's reference; owner thread if the core is entered.
    unsafe {
        if (*task).is_local() {
            schedule(task)
        } else {
            wake_foreign(task)
        }
    }
}

/// # Safety
/// Gives up a reference of the caller.
#[inline(always)]
pub(super) unsafe fn drop_reference(task: *const Header) {
    // SAFETY: the caller's reference, given up below; owner thread if the core is entered.
    unsafe {
        if (*task).is_local() {
            drop_local(task)
        } else {
            drop_foreign(task, 0)
        }
    }
}

/// # Safety
/// Owner thread, and the caller has a reference or the task is not merged.
#[inline(always)]
pub(super) unsafe fn schedule(task: *const Header) {
    // SAFETY: the caller's promise.
    unsafe {
        let (idle, usual) = (*task).own(|own| {
            // One comparison for all that is not usual.
            let usual = !own.state.has(SCHEDULED | COMPLETE | LATENCY | BULK);
            let idle = usual || !own.state.has(SCHEDULED | COMPLETE);
            if idle {
                own.state.set(SCHEDULED);
            }
            (idle, usual)
        });
        if usual {
            queue::push_ready(task);
        } else if idle {
            queue::push_classed(task);
        }
    }
}

/// Schedules a task for a reference of the caller, which is given up.
///
/// # Safety
/// Owner thread, and the caller has that reference.
#[inline(always)]
unsafe fn schedule_for_one(task: *const Header) {
    // SAFETY: the reference is given up only here, once: in one step with the flag, or after it.
    unsafe {
        if (*task).own(|own| own.state.schedule_for_one()) {
            queue::push_ready(task);
        } else {
            schedule(task);
            drop_local(task);
        }
    }
}

/// # Safety
/// Owner thread. Gives up a reference of the caller.
#[inline(always)]
pub(super) unsafe fn drop_local(task: *const Header) {
    // SAFETY: the reference is given up only here, once.
    unsafe {
        if !(*task).own(|own| own.state.drop_one()) {
            drop_local_last(task);
        }
    }
}

/// # Safety
/// As for `drop_local`; it is the last reference that the owner counts, or the task is merged.
#[inline(never)]
unsafe fn drop_local_last(task: *const Header) {
    // SAFETY: the caller's promise.
    unsafe {
        if (*task).own(|own| own.state.take_count()) == 0 {
            drop_foreign(task, 0);
        } else if (*task).word.load(Acquire) == 0 {
            // Nobody else has a reference, so nobody can get one. The zero is no old one: whoever
            // counted one in the word had one that the owner counts, which has come here since, and
            // so has what was counted. Acquire: what others did to the task comes before.
            queue::unlist(task);
            cell::free_memory(task);
        } else {
            merge(task, 0);
        }
    }
}

/// Moves the owner's last `local` references into the word. From here on the task is everybody's.
///
/// # Safety
/// Owner thread; not merged yet; the owner's count was taken out.
pub(super) unsafe fn merge(task: *const Header, local: usize) {
    // SAFETY: only the owner frees a task that is not merged.
    let header = unsafe { &*task };
    // SAFETY: owner thread; a task is in the list until it is merged. The `Tasks` is there, and
    // from here on the task keeps the core itself.
    unsafe {
        queue::unlist(task);
        Arc::increment_strong_count(header.core);
    }
    let add = local * ONE + MERGED;
    // Release: the owner's uses come before another thread's free. Acquire: we may free.
    if header.word.fetch_add(add, AcqRel).wrapping_add(add) == MERGED {
        // SAFETY: no reference, not queued, and the owner counts no more.
        unsafe { cell::free(task) }
    }
}

/// A task comes out of the foreign queue.
///
/// # Safety
/// Owner thread; the task was taken from the queue and its link was read.
pub(super) unsafe fn arrive(task: *const Header) {
    // SAFETY: `QUEUED` keeps the task until it is cleared below.
    let header = unsafe { &*task };
    // SAFETY: owner thread. Read before `QUEUED` is cleared: a merged task may be gone then.
    let merged = unsafe { header.own(|own| own.state.count() == 0) };
    // Before the poll, so that a wake during it queues the task again. A read-modify-write, and
    // Acquire: what the wakers and droppers did, of which only one pushed. Release: hands the link
    // back, which we have read.
    let old = header.word.fetch_and(!(QUEUED | WAKE), AcqRel);
    if merged {
        if old & !(QUEUED | WAKE) == MERGED {
            // SAFETY: no reference, not queued, and the owner counts no more.
            unsafe { cell::free(task) }
        }
        return;
    }
    if old & WAKE != 0 {
        // SAFETY: owner thread, not merged.
        unsafe { schedule(task) }
    }
    let home = count(old);
    if home >= 0 {
        return;
    }
    // Others dropped references that the owner counts.
    // SAFETY: owner thread, not merged.
    let left = unsafe { header.own(|own| own.state.fold(home.unsigned_abs())) };
    if left == 0 {
        // SAFETY: the sum is zero, so nobody is left who could touch the task.
        unsafe {
            queue::unlist(task);
            cell::free_memory(task);
        }
    } else {
        // Relaxed: the merge, which is later, releases.
        header
            .word
            .fetch_sub((home * ONE.cast_signed()).cast_unsigned(), Relaxed);
    }
}

/// Gives up a reference; `wake` is 0 or `WAKE`, which goes along in the same exchange.
///
/// # Safety
/// Gives up a reference of the caller.
#[inline(never)]
unsafe fn drop_foreign(task: *const Header, wake: usize) {
    // SAFETY: the reference is given up only by the exchange.
    let header = unsafe { &*task };
    let mut old = header.word.load(Relaxed);
    loop {
        let mut new = old.wrapping_sub(ONE);
        // A reference that the owner counts must go home; with the same exchange, since afterwards
        // the task may be gone.
        if old & MERGED == 0 && (wake != 0 || count(new) < 0) {
            new |= QUEUED | wake;
        }
        // Release: our uses come before the free. Acquire: we may free, or write the link that the
        // owner read before it cleared `QUEUED`.
        match header.word.compare_exchange_weak(old, new, AcqRel, Relaxed) {
            Err(now) => old = now,
            // SAFETY: we set `QUEUED`.
            Ok(_) if old & QUEUED < new & QUEUED => return unsafe { send(task) },
            // SAFETY: no reference, not queued, and the owner counts no more.
            Ok(_) if new == MERGED => return unsafe { cell::free(task) },
            Ok(_) => return,
        }
    }
}

/// # Safety
/// The caller has a reference.
#[inline(never)]
unsafe fn wake_foreign(task: *const Header) {
    // SAFETY: the caller's reference.
    let header = unsafe { &*task };
    // `MERGED` is for good, so even an old value that has it is enough to do nothing. With `WAKE`
    // seen we still write: the owner must acquire what this thread did before it woke.
    if header.word.load(Relaxed) & MERGED != 0 {
        return;
    }
    // Acquire: the owner read the link, which we write, before it cleared `QUEUED`.
    if header.word.fetch_or(QUEUED | WAKE, AcqRel) & QUEUED == 0 {
        // SAFETY: we set `QUEUED`.
        unsafe { send(task) }
    }
}

/// Hands the task to its core.
///
/// # Safety
/// The caller set `QUEUED`. It may have given up its reference with the same exchange.
unsafe fn send(task: *const Header) {
    // SAFETY: `QUEUED` is ours, so the task is there, and with it its core: it has a count of it,
    // or is not merged, and then the `Tasks` is there.
    let core = unsafe {
        let core = (*task).core;
        Arc::increment_strong_count(core);
        // After the push the task may be gone, and with it the core: the kick needs a count of its
        // own.
        Arc::from_raw(core)
    };
    // SAFETY: `QUEUED` is ours.
    if !unsafe { core.push_foreign(task) } {
        // The core is gone and will merge, or has merged. Acquire and Release: who frees comes
        // after all uses.
        // SAFETY: refused, so `QUEUED` is still ours.
        let old = unsafe { (*task).word.fetch_and(!(QUEUED | WAKE), AcqRel) };
        if old & !(QUEUED | WAKE) == MERGED {
            // SAFETY: no reference, not queued, and the owner counts no more.
            unsafe { cell::free(task) }
        }
    }
}
