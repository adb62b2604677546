//! Who waits for one primitive, in order of arrival.
//!
//! A waiter is *queued* until it is *called*, in order or all at once, and keeps its entry until
//! its future gives it back with [`Line::leave`], so that nobody can be called and not know it. Its
//! value says what it was called for; it is the primitive's own, and plain data.
//!
//! Both kinds are in lists through the entries, and so are those that are vacant: joining, being
//! called and leaving take constant time, and allocate only when more wait than ever did before.
//! Those who were called are in theirs until their wakers are taken out to be woken. The `slab`
//! crate would do, but to fill a vacant entry in place is a third of its instructions.
//!
//! No waker is cloned, woken or dropped while the entries are borrowed: those may run anything,
//! such as the drop of another waiter of the same line. Hence two steps: first all is set right, by
//! `call_…`, then [`Line::wake_called`] wakes.
//!
//! `io/waiters.rs` is another kind of line: there nobody is handed anything, the first may look
//! whether there is something, and most lines have one waiter, for whom there is no slab.

use std::cell::{Cell, RefCell};
use std::mem;
use std::task::{Context, Waker};

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
    entries: Vec<Waiter<T>>,
    /// The first entry that is vacant, or `NIL`.
    vacant: u32,
    queue: List,
    called: List,
}

#[derive(Debug)]
struct Waiter<T> {
    value: T,
    /// There while the waiter is in a list.
    waker: Option<Waker>,
    /// Neighbours in the list; in `after` of a vacant entry the next one.
    before: u32,
    after: u32,
    at: At,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum At {
    Queue,
    /// Called, and yet to be woken.
    Called,
    /// Woken, or nobody's.
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

impl<T: Copy> Line<T> {
    pub(super) const fn new() -> Line<T> {
        Line {
            queued: Cell::new(0),
            waiters: RefCell::new(Waiters {
                entries: Vec::new(),
                vacant: NIL,
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
    #[inline]
    pub(super) fn push(&self, value: T, waker: Waker) -> Place {
        // Not beside the end of the borrow: the two would be one access that has to wait for both.
        self.queued.set(self.queued.get() + 1);
        let mut borrowed = self.waiters.borrow_mut();
        let waiters = &mut *borrowed;
        let index = match waiters.vacant {
            NIL => waiters.grow(value),
            vacant => vacant,
        };
        let waiter = &mut waiters.entries[index as usize];
        waiters.vacant = waiter.after;
        waiter.value = value;
        // A vacant entry has none: there is nothing to drop.
        mem::forget(waiter.waker.replace(waker));
        waiter.at = At::Queue;
        waiters.queue.push(&mut waiters.entries, index);
        Place(index)
    }

    /// Takes the waiter out if it was called. If not, the task of `cx` is woken when it is.
    #[inline]
    pub(super) fn poll_leave(&self, place: &mut Option<Place>, cx: &Context<'_>) -> Option<T> {
        let Place(index) = *place.as_ref()?;
        let mut waiters = self.waiters.borrow_mut();
        if waiters.entries[index as usize].at == At::NoList {
            *place = None;
            return Some(waiters.vacate(index));
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
        let mut borrowed = self.waiters.borrow_mut();
        let waiters = &mut *borrowed;
        let first = waiters.queue.first;
        let Some(waiter) = waiters.queue.pop(&mut waiters.entries) else {
            return false;
        };
        waiter.at = At::Called;
        waiters.called.push(&mut waiters.entries, first);
        self.queued.set(self.queued.get() - 1);
        true
    }

    /// Calls the first in line, after `f` has seen its value. The caller wakes it, with nothing
    /// borrowed. `None` if nobody is queued.
    ///
    /// For one alone this is less work than [`call_first`](Self::call_first).
    #[inline]
    pub(super) fn call_one(&self, f: impl FnOnce(&mut T)) -> Option<Waker> {
        let mut borrowed = self.waiters.borrow_mut();
        let waiters = &mut *borrowed;
        let waiter = waiters.queue.pop(&mut waiters.entries)?;
        self.queued.set(self.queued.get() - 1);
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
        let mut borrowed = self.waiters.borrow_mut();
        let waiters = &mut *borrowed;
        let Place(index) = place;
        let waiter = &mut waiters.entries[index as usize];
        let (at, waker) = (waiter.at, waiter.waker.take());
        match at {
            At::Queue => {
                self.queued.set(self.queued.get() - 1);
                waiters.queue.unlink(&mut waiters.entries, index);
            }
            At::Called => waiters.called.unlink(&mut waiters.entries, index),
            At::NoList => {}
        }
        let value = waiters.vacate(index);
        drop(borrowed);
        drop(waker);
        Left {
            value,
            called: at != At::Queue,
        }
    }
}

impl<T: Copy> Waiters<T> {
    /// One more entry, which is vacant as yet.
    #[cold]
    fn grow(&mut self, value: T) -> u32 {
        let index = self.entries.len();
        assert!(index < NIL as usize, "more than 2^32 - 1 waiters");
        self.entries.push(Waiter {
            value,
            waker: None,
            before: NIL,
            after: NIL,
            at: At::NoList,
        });
        index as u32
    }

    /// Takes back the entry of one who is in no list and has no waker any more.
    #[inline]
    fn vacate(&mut self, index: u32) -> T {
        let waiter = &mut self.entries[index as usize];
        waiter.after = mem::replace(&mut self.vacant, index);
        waiter.value
    }

    fn next_called(&mut self) -> Option<Waker> {
        self.called.pop(&mut self.entries)?.waker.take()
    }
}

// Neither is there a neighbour before the first nor one after the last: what their entries say of
// it is left over, and not looked at.
impl List {
    /// Puts a waiter that is in no list at the end.
    #[inline]
    fn push<T>(&mut self, entries: &mut [Waiter<T>], index: u32) {
        let last = mem::replace(&mut self.last, index);
        match entries.get_mut(last as usize) {
            Some(before) => before.after = index,
            None => self.first = index,
        }
        entries[index as usize].before = last;
    }

    /// Takes out the first, which is in no list then.
    #[inline]
    fn pop<'a, T>(&mut self, entries: &'a mut [Waiter<T>]) -> Option<&'a mut Waiter<T>> {
        let waiter = entries.get_mut(self.first as usize)?;
        waiter.at = At::NoList;
        if self.first == self.last {
            *self = EMPTY;
        } else {
            self.first = waiter.after;
        }
        Some(waiter)
    }

    fn unlink<T>(&mut self, entries: &mut [Waiter<T>], index: u32) {
        let Waiter { before, after, .. } = entries[index as usize];
        match (index == self.first, index == self.last) {
            (true, true) => *self = EMPTY,
            (true, false) => self.first = after,
            (false, true) => self.last = before,
            (false, false) => {
                entries[before as usize].after = after;
                entries[after as usize].before = before;
            }
        }
    }
}

#[cfg(test)]
mod tests;
