//! Who waits for one primitive, in order of arrival.
//!
//! A waiter is *queued* until it is *called*, in order or all at once, and stays in the slab until
//! its future takes it out with [`Line::leave`], so that nobody can be called and not know it. Its
//! value says what it was called for; it is the primitive's own, and plain data.
//!
//! Both kinds are in lists through the slab: joining, being called and leaving take constant time,
//! and allocate only when more wait than ever did before. Those who were called are in theirs until
//! their wakers are taken out to be woken.
//!
//! No waker is cloned, woken or dropped while the slab is borrowed: those may run anything, such as
//! the drop of another waiter of the same line. Hence two steps: first all is set right, by
//! `call_…`, then [`Line::wake_called`] wakes.
//!
//! `io/waiters.rs` is another kind of line: there nobody is handed anything, the first may look
//! whether there is something, and most lines have one waiter, for whom there is no slab.

use std::cell::{Cell, RefCell};
use std::mem;
use std::task::{Context, Waker};

use slab::Slab;

/// A place in one line, which has to be given back with [`Line::leave`].
#[derive(Debug)]
pub(super) struct Place(u32);

/// The line.
#[derive(Debug)]
pub(super) struct Line<T> {
    /// How many are queued: read far more often than the rest.
    queued: Cell<usize>,
    waiters: RefCell<Waiters<T>>,
}

/// One who has left the line.
#[derive(Debug)]
pub(super) struct Left<T> {
    pub(super) value: T,
    /// Whether it was called before.
    pub(super) called: bool,
}

#[derive(Debug)]
struct Waiters<T> {
    entries: Slab<Waiter<T>>,
    queue: List,
    called: List,
}

#[derive(Debug)]
struct Waiter<T> {
    value: T,
    /// There while the waiter is in a list.
    waker: Option<Waker>,
    /// Neighbours in the list; meaningless in none.
    before: u32,
    after: u32,
    at: At,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum At {
    Queue,
    /// Called, and yet to be woken.
    Called,
    /// Woken.
    NoList,
}

#[derive(Debug)]
struct List {
    first: u32,
    last: u32,
}

const NIL: u32 = u32::MAX;
const EMPTY: List = List {
    first: NIL,
    last: NIL,
};

impl<T> Line<T> {
    pub(super) const fn new() -> Line<T> {
        Line {
            queued: Cell::new(0),
            waiters: RefCell::new(Waiters {
                entries: Slab::new(),
                queue: EMPTY,
                called: EMPTY,
            }),
        }
    }

    /// Whether nobody is queued.
    #[inline]
    pub(super) fn is_empty(&self) -> bool {
        self.queued.get() == 0
    }

    /// How many are queued.
    #[inline]
    pub(super) fn len(&self) -> usize {
        self.queued.get()
    }

    /// Goes to the end of the line.
    ///
    /// The waker is cloned by the caller, who then has to look once more at what it waits for: a
    /// foreign waker's clone may have brought it about.
    pub(super) fn push(&self, value: T, waker: Waker) -> Place {
        let mut borrowed = self.waiters.borrow_mut();
        let waiters = &mut *borrowed;
        let vacant = waiters.entries.vacant_entry();
        let key = vacant.key();
        assert!(key < NIL as usize, "more than 2^32 - 1 waiters");
        let index = key as u32;
        let before = mem::replace(&mut waiters.queue.last, index);
        // Filled in place: a copy of an entry made of small stores would wait for each of them.
        let waiter = vacant.insert(Waiter {
            value,
            waker: None,
            before: NIL,
            after: NIL,
            at: At::Queue,
        });
        waiter.waker = Some(waker);
        waiter.before = before;
        match before {
            NIL => waiters.queue.first = index,
            before => waiters.entries[before as usize].after = index,
        }
        self.queued.set(self.queued.get() + 1);
        Place(index)
    }

    /// Takes the waiter out if it was called. If not, the task of `cx` is woken when it is.
    #[inline]
    pub(super) fn poll_leave(&self, place: &mut Option<Place>, cx: &Context<'_>) -> Option<T> {
        let Place(index) = *place.as_ref()?;
        let mut waiters = self.waiters.borrow_mut();
        if waiters.entries[index as usize].at == At::NoList {
            *place = None;
            // Woken, so without a waker that would be dropped here.
            return Some(waiters.entries.remove(index as usize).value);
        }
        drop(waiters);
        let called = place
            .as_ref()
            .is_some_and(|place| self.poll_called(place, cx));
        called
            .then(|| place.take().map(|place| self.leave(place).value))
            .flatten()
    }

    /// Whether the waiter was called. If not, the task of `cx` is woken when it is.
    pub(super) fn poll_called(&self, place: &Place, cx: &Context<'_>) -> bool {
        let waiters = self.waiters.borrow();
        let waiter = &waiters.entries[place.0 as usize];
        if waiter.at != At::Queue {
            return true;
        }
        let registered = waiter.waker.as_ref();
        if registered.is_some_and(|waker| waker.will_wake(cx.waker())) {
            return false;
        }
        drop(waiters);
        self.change_waker(place, cx)
    }

    #[cold]
    fn change_waker(&self, place: &Place, cx: &Context<'_>) -> bool {
        let waker = cx.waker().clone();
        let mut waiters = self.waiters.borrow_mut();
        let waiter = &mut waiters.entries[place.0 as usize];
        // The clone may have called it.
        if waiter.at != At::Queue {
            drop(waiters);
            drop(waker);
            return true;
        }
        let old = waiter.waker.replace(waker);
        drop(waiters);
        drop(old);
        false
    }

    /// Whether the waiter was called.
    pub(super) fn is_called(&self, place: &Place) -> bool {
        self.waiters.borrow().entries[place.0 as usize].at != At::Queue
    }

    /// What `f` makes of the value of the first in line.
    pub(super) fn with_first<R>(&self, f: impl FnOnce(&mut T) -> R) -> Option<R> {
        let mut waiters = self.waiters.borrow_mut();
        let first = waiters.queue.first;
        (first != NIL).then(|| f(&mut waiters.entries[first as usize].value))
    }

    /// Calls the first in line, to be woken by [`wake_called`](Self::wake_called). False if nobody
    /// is queued.
    pub(super) fn call_first(&self) -> bool {
        let mut waiters = self.waiters.borrow_mut();
        let Some(first) = waiters.pop() else {
            return false;
        };
        waiters.entries[first as usize].at = At::Called;
        waiters.link(first);
        self.queued.set(self.queued.get() - 1);
        true
    }

    /// Calls the first in line, after `f` has seen its value. The caller wakes it, with nothing
    /// borrowed. `None` if nobody is queued.
    ///
    /// For one alone this is less work than [`call_first`](Self::call_first).
    pub(super) fn call_one(&self, f: impl FnOnce(&mut T)) -> Option<Waker> {
        let mut waiters = self.waiters.borrow_mut();
        let first = waiters.pop()?;
        self.queued.set(self.queued.get() - 1);
        let waiter = &mut waiters.entries[first as usize];
        waiter.at = At::NoList;
        f(&mut waiter.value);
        waiter.waker.take()
    }

    /// Calls all who are queued, to be woken by [`wake_called`](Self::wake_called).
    pub(super) fn call_all(&self) {
        while self.call_first() {}
    }

    /// Wakes those who were called, in order.
    pub(super) fn wake_called(&self) {
        loop {
            // A binding of its own, so that the borrow has ended when the waker runs.
            let waker = self.waiters.borrow_mut().next_called();
            match waker {
                Some(waker) => waker.wake(),
                None => return,
            }
        }
    }

    /// Takes a waiter out, whether it was called or not.
    pub(super) fn leave(&self, place: Place) -> Left<T> {
        let mut waiters = self.waiters.borrow_mut();
        let at = waiters.entries[place.0 as usize].at;
        if at != At::NoList {
            waiters.unlink(place.0);
        }
        if at == At::Queue {
            self.queued.set(self.queued.get() - 1);
        }
        let waiter = waiters.entries.remove(place.0 as usize);
        drop(waiters);
        drop(waiter.waker);
        Left {
            value: waiter.value,
            called: at != At::Queue,
        }
    }
}

impl<T> Waiters<T> {
    /// Takes the first out of the queue; it is in no list then.
    fn pop(&mut self) -> Option<u32> {
        let first = self.queue.first;
        if first == NIL {
            return None;
        }
        let after = self.entries[first as usize].after;
        self.queue.first = after;
        match after {
            NIL => self.queue.last = NIL,
            after => self.entries[after as usize].before = NIL,
        }
        Some(first)
    }

    /// Puts a waiter at the end of the list that it says it is in.
    fn link(&mut self, index: u32) {
        let at = self.entries[index as usize].at;
        let last = mem::replace(&mut self.list(at).last, index);
        if last == NIL {
            self.list(at).first = index;
        } else {
            self.entries[last as usize].after = index;
        }
        let waiter = &mut self.entries[index as usize];
        waiter.before = last;
        waiter.after = NIL;
    }

    fn unlink(&mut self, index: u32) {
        let waiter = &self.entries[index as usize];
        let (at, before, after) = (waiter.at, waiter.before, waiter.after);
        match before {
            NIL => self.list(at).first = after,
            before => self.entries[before as usize].after = after,
        }
        match after {
            NIL => self.list(at).last = before,
            after => self.entries[after as usize].before = before,
        }
    }

    fn list(&mut self, at: At) -> &mut List {
        match at {
            At::Queue => &mut self.queue,
            At::Called | At::NoList => &mut self.called,
        }
    }

    fn next_called(&mut self) -> Option<Waker> {
        let first = self.called.first;
        if first == NIL {
            return None;
        }
        self.unlink(first);
        let waiter = &mut self.entries[first as usize];
        waiter.at = At::NoList;
        waiter.waker.take()
    }
}

#[cfg(test)]
mod tests;
