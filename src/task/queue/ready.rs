//! The owner's half of a core: the run queue and the lists of its tasks. All of it is intrusive, so
//! that neither a wake nor a spawn allocates here.
#![allow(unsafe_code)]

use std::{mem::replace, ptr::null};

use super::super::{cell::Header, state::ENDED};

/// What only the owner thread touches, and only briefly: no user code runs meanwhile.
pub(super) struct Owned {
    /// The run queue: tasks that are `SCHEDULED`, oldest first.
    head: *const Header,
    tail: *const Header,
    /// The tasks that are not merged, newest first. A complete one stays while the owner counts
    /// references, or teardown could not hand those to who remains.
    listed: *const Header,
    /// The same, once teardown has come by: they are `ENDED`.
    ended: *const Header,
    /// Tasks that are not complete.
    pub(super) alive: usize,
    /// Polls since the core began.
    pub(super) polls: u64,
    /// Tasks of other cores woken from here, and those whose core had to be kicked.
    pub(super) wakes_sent: u64,
    pub(super) kicks_sent: u64,
    /// A batch runs or futures are dropped by teardown, so neither may begin anew: a future would
    /// be polled, or dropped, while it is polled.
    pub(super) running: bool,
    /// Teardown has begun: nothing is spawned any more.
    pub(super) closing: bool,
}

impl Owned {
    pub(super) fn new() -> Self {
        Self {
            head: null(),
            tail: null(),
            listed: null(),
            ended: null(),
            alive: 0,
            polls: 0,
            wakes_sent: 0,
            kicks_sent: 0,
            running: false,
            closing: false,
        }
    }

    /// # Safety
    /// Owner thread; the caller has just set `SCHEDULED`, so the task is not in the run queue.
    #[inline(always)]
    pub(super) unsafe fn push(&mut self, task: *const Header) {
        // SAFETY: a scheduled task is kept by the runtime's reference, the tail as well.
        unsafe {
            (*task).own(|own| own.next = null());
            if self.tail.is_null() {
                self.head = task;
            } else {
                (*self.tail).own(|own| own.next = task);
            }
        }
        self.tail = task;
    }

    /// Takes the whole run queue: its oldest and its newest task, or nulls. The links stay.
    #[inline(always)]
    pub(super) fn take(&mut self) -> (*const Header, *const Header) {
        (
            replace(&mut self.head, null()),
            replace(&mut self.tail, null()),
        )
    }

    /// Puts a part of what was taken back in front.
    ///
    /// # Safety
    /// Owner thread; the chain from `first` to `last` was taken, and none of it was run.
    pub(super) unsafe fn put_back(&mut self, first: *const Header, last: *const Header) {
        // SAFETY: a scheduled task is kept by the runtime's reference.
        unsafe { (*last).own(|own| own.next = self.head) };
        self.head = first;
        if self.tail.is_null() {
            self.tail = last;
        }
    }

    #[inline(always)]
    pub(super) fn is_idle(&self) -> bool {
        self.head.is_null()
    }

    /// # Safety
    /// Owner thread; the task is new.
    #[inline(always)]
    pub(super) unsafe fn list(&mut self, task: *const Header) {
        // SAFETY: owner thread; what is listed is not freed.
        unsafe { push_front(&mut self.listed, task) }
    }

    /// # Safety
    /// Owner thread; the task is in one of the two lists.
    #[inline(always)]
    pub(super) unsafe fn unlist(&mut self, task: *const Header) {
        // SAFETY: owner thread; what is listed is not freed, the neighbours neither.
        unsafe {
            let (before, after, ended) =
                (*task).own(|own| (own.before, own.after, own.state.has(ENDED)));
            if !after.is_null() {
                (*after).own(|own| own.before = before);
            }
            if !before.is_null() {
                (*before).own(|own| own.after = after);
            } else if ended {
                self.ended = after;
            } else {
                self.listed = after;
            }
        }
    }

    /// Moves the first task that teardown has not come by to those that it has; null: none is left.
    ///
    /// # Safety
    /// Owner thread.
    pub(super) unsafe fn next_to_end(&mut self) -> *const Header {
        let task = self.listed;
        if !task.is_null() {
            // SAFETY: owner thread; what is listed is not freed.
            unsafe {
                self.unlist(task);
                (*task).own(|own| own.state.set(ENDED));
                push_front(&mut self.ended, task);
            }
        }
        task
    }

    /// The first task that teardown has come by, or null.
    pub(super) fn first_ended(&self) -> *const Header {
        self.ended
    }
}

/// # Safety
/// Owner thread; the task is in no list, and what is in the list is not freed.
#[inline(always)]
unsafe fn push_front(list: &mut *const Header, task: *const Header) {
    let after = *list;
    // SAFETY: the caller's promise.
    unsafe {
        (*task).own(|own| {
            own.before = null();
            own.after = after;
        });
        if !after.is_null() {
            (*after).own(|own| own.before = task);
        }
    }
    *list = task;
}
