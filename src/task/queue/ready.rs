//! The owner's half of a core: the run queues and the lists of its tasks. All of it is intrusive,
//! so that neither a wake nor a spawn allocates here.
#![allow(unsafe_code)]

use std::{mem::replace, ptr::null};

use super::super::{cell::Header, state::ENDED};

/// Tasks that are `SCHEDULED`, oldest first.
pub(super) struct Queue {
    head: *const Header,
    tail: *const Header,
}

/// Tasks that were taken out of a queue and not run. Their links stay.
pub(super) struct Chain {
    first: *const Header,
    last: *const Header,
}

impl Queue {
    const fn new() -> Self {
        Self {
            head: null(),
            tail: null(),
        }
    }

    /// # Safety
    /// Owner thread; the caller has just set `SCHEDULED`, so the task is in no queue.
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

    /// As `push`, but in front of all others.
    ///
    /// # Safety
    /// As for `push`.
    pub(super) unsafe fn push_front(&mut self, task: *const Header) {
        // SAFETY: a chain of one, which the caller may push.
        unsafe { self.put_back(Chain::of(task)) }
    }

    /// Takes all that is there.
    #[inline(always)]
    pub(super) fn take(&mut self) -> Chain {
        Chain {
            first: replace(&mut self.head, null()),
            last: replace(&mut self.tail, null()),
        }
    }

    /// Puts what is left of a chain back in front.
    ///
    /// # Safety
    /// Owner thread; the chain was taken and has not come to its end.
    pub(super) unsafe fn put_back(&mut self, chain: Chain) {
        // SAFETY: a scheduled task is kept by the runtime's reference.
        unsafe { (*chain.last).own(|own| own.next = self.head) };
        self.head = chain.first;
        if self.tail.is_null() {
            self.tail = chain.last;
        }
    }

    #[inline(always)]
    pub(super) fn is_empty(&self) -> bool {
        self.head.is_null()
    }
}

impl Chain {
    const fn of(task: *const Header) -> Self {
        Self {
            first: task,
            last: task,
        }
    }

    #[inline(always)]
    pub(super) fn is_empty(&self) -> bool {
        self.first.is_null()
    }

    #[inline(always)]
    pub(super) fn pop(&mut self) -> Option<*const Header> {
        let task = self.first;
        if task.is_null() {
            return None;
        }
        // SAFETY: owner thread, as who took the chain; a scheduled task is kept by the runtime's
        // reference. Read now: when the task is run it may be scheduled anew.
        self.first = unsafe { (*task).own(|own| own.next) };
        Some(task)
    }

    /// Has `task` follow the last one.
    ///
    /// # Safety
    /// Owner thread; the chain has not come to its end; the caller has just set `SCHEDULED`.
    pub(super) unsafe fn append(&mut self, task: *const Header) {
        // SAFETY: a scheduled task is kept by the runtime's reference, the last one as well.
        unsafe {
            (*task).own(|own| own.next = null());
            (*self.last).own(|own| own.next = task);
        }
        self.last = task;
    }

    /// What is left, which leaves nothing here.
    pub(super) fn take(&mut self) -> Chain {
        replace(self, Self::of(null()))
    }
}

/// What only the owner thread touches, and only briefly: no user code runs meanwhile.
pub(super) struct Owned {
    /// The run queue. Of the other classes it has a gate, each of which stands for a queue: see
    /// `classes`.
    pub(super) ready: Queue,
    pub(super) latency: Queue,
    pub(super) bulk: Queue,
    /// The tasks that are not merged, newest first. A complete one stays while the owner counts
    /// references, or teardown could not hand those to who remains.
    listed: *const Header,
    /// The same, once teardown has come by: they are `ENDED`.
    ended: *const Header,
    /// Tasks that are not complete.
    pub(super) alive: usize,
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
            ready: Queue::new(),
            latency: Queue::new(),
            bulk: Queue::new(),
            listed: null(),
            ended: null(),
            alive: 0,
            wakes_sent: 0,
            kicks_sent: 0,
            running: false,
            closing: false,
        }
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

    /// Whether all tasks are merged, or freed.
    pub(super) fn lists_none(&self) -> bool {
        self.listed.is_null() && self.ended.is_null()
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
