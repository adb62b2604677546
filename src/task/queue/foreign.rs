//! Tasks on their way from other threads to their core: a stack that the core takes whole.
//!
//! One word says everything: empty, parked (empty, and the core sleeps), closed, or the newest
//! task. So the core cannot park over a task, a pusher knows from its own exchange whether it must
//! kick, and nobody can push after the queue was closed. No fence is needed.
#![allow(unsafe_code)]

use std::{
    ptr::{null, null_mut, without_provenance_mut},
    sync::atomic::Ordering::{Acquire, Relaxed, Release},
};

use super::super::{cell::Header, loom::AtomicPtr};

const PARKED: *mut Header = without_provenance_mut(1);
const CLOSED: *mut Header = without_provenance_mut(2);

/// The queue was closed, so the task is still the pusher's.
pub(super) struct Closed;

/// Written by other threads, so it has cache lines of its own: 128 bytes, since the processor
/// fetches lines in pairs.
#[repr(align(128))]
pub(super) struct Foreign {
    head: AtomicPtr<Header>,
}

impl Foreign {
    pub(super) fn new() -> Self {
        Self {
            head: AtomicPtr::new(null_mut()),
        }
    }

    /// Pushes a task. `Ok(true)`: the core is parked, and the caller, and nobody else, must kick
    /// it.
    ///
    /// A retry means that another task was pushed, or that the core took, parked or closed.
    ///
    /// # Safety
    /// The caller set `QUEUED` on the task, so its link is the caller's until this returns `Ok`.
    pub(super) unsafe fn push(&self, task: *const Header) -> Result<bool, Closed> {
        let mut head = self.head.load(Relaxed);
        loop {
            if head == CLOSED {
                return Err(Closed);
            }
            let below = if head == PARKED { null_mut() } else { head };
            // SAFETY: the caller holds `QUEUED`, hence the task and its link.
            unsafe { (*task).set_link(below) };
            // Release: publishes the link. Pushes are read-modify-writes, so one Acquire of the
            // newest covers all below it.
            match self
                .head
                .compare_exchange_weak(head, task.cast_mut(), Release, Relaxed)
            {
                Ok(_) => return Ok(head == PARKED),
                Err(now) => head = now,
            }
        }
    }

    /// Whether a task waits here.
    #[inline(always)]
    pub(super) fn has_tasks(&self) -> bool {
        let head = self.head.load(Relaxed);
        !head.is_null() && head != PARKED && head != CLOSED
    }

    /// Takes all tasks, oldest first, and takes back the announcement of a park.
    ///
    /// # Safety
    /// Owner only. Each task is the caller's until it clears `QUEUED` on it.
    #[inline(always)]
    pub(super) unsafe fn take(&self, each: impl FnMut(*const Header)) {
        // The usual turn: one plain load.
        if !self.head.load(Relaxed).is_null() {
            // SAFETY: the chain was taken and is ours.
            unsafe { walk(self.head.swap(null_mut(), Acquire), each) }
        }
    }

    /// Takes what is left; nothing can be pushed afterwards.
    ///
    /// # Safety
    /// As for `take`.
    pub(super) unsafe fn close(&self, each: impl FnMut(*const Header)) {
        // SAFETY: the chain was taken and is ours.
        unsafe { walk(self.head.swap(CLOSED, Acquire), each) }
    }

    /// Announces that the core is about to sleep. `false`: something was pushed, so do not.
    ///
    /// Relaxed both ways: the modification order of this one word decides who comes first, and what
    /// was pushed is taken with its own Acquire.
    pub(super) fn try_park(&self) -> bool {
        self.head
            .compare_exchange(null_mut(), PARKED, Relaxed, Relaxed)
            .is_ok()
    }
}

/// # Safety
/// `newest` was the head of a queue and was taken out of it.
#[inline(never)]
unsafe fn walk(newest: *mut Header, mut each: impl FnMut(*const Header)) {
    if newest == PARKED || newest == CLOSED {
        return;
    }
    let mut at: *const Header = newest;
    let mut oldest: *const Header = null();
    while !at.is_null() {
        // SAFETY: `QUEUED` is set on all of the chain, and its pushes were acquired, so its links
        // are ours.
        unsafe {
            let below = (*at).link();
            (*at).set_link(oldest);
            oldest = at;
            at = below;
        }
    }
    while !oldest.is_null() {
        // SAFETY: as above. Read before `each` clears `QUEUED`: then a waker may write it.
        let next = unsafe { (*oldest).link() };
        each(oldest);
        oldest = next;
    }
}
