//! How many connections there may be: on one core, on all of them, or both.
//!
//! # Who owns what
//!
//! `free` holds the permits that nobody has, and a bit that is set while somebody stands in line.
//! The bit changes under the line's lock only, and is set exactly while the line is not empty; it
//! is set only when nothing is free. So whoever takes or gives back a permit without waiting needs
//! no lock, and who comes while others wait cannot overtake them.
//!
//! A permit that is given back while somebody waits never becomes free: it belongs to the first in
//! line from then on, who is taken out of the line with its waker. A waiter that is dropped with a
//! permit of which it does not know gives it back, to the next one.
//!
//! No waker is cloned, woken or dropped while the lock is held: they may run anything.

#[cfg(test)]
mod stories;
mod sync;

use std::collections::VecDeque;
use std::fmt;
use std::future::Future;
use std::mem;
use std::pin::Pin;
use std::sync::PoisonError;
use std::task::{Context, Poll, Waker, ready};

use self::sync::{Arc, AtomicUsize, Mutex, MutexGuard, Ordering};
use crate::driver::budget;

/// Set in `free` while somebody waits.
const WAITING: usize = 1 << (usize::BITS - 1);

/// How many connections there may be at a time, for
/// [`accept_within`](super::TcpListener::accept_within).
///
/// It can be shared by all cores of a process: clones count together. [`child`] makes a limit
/// within this one, for each core or each port.
///
/// Who waits is served in the order in which it has begun to, whatever core it waits on. A core
/// that waits for a *connection* has its permit already: of a limit that several cores share, as
/// many permits as there are idle cores lie ready there, so let it have many more than cores.
///
/// [`child`]: ConnectionLimit::child
///
/// # Examples
///
/// ```
/// use corering::net::ConnectionLimit;
///
/// let process = ConnectionLimit::new(3);
/// let cores = [process.child(2), process.child(2)];
///
/// let a = cores[0].try_acquire().expect("the first of both");
/// let b = cores[0].try_acquire().expect("the second of both");
/// assert!(cores[0].try_acquire().is_none(), "this core has all that it may");
/// let c = cores[1].try_acquire().expect("the third of the process");
/// assert!(cores[1].try_acquire().is_none(), "the process has all that it may");
///
/// drop(a);
/// assert!(cores[1].try_acquire().is_some());
/// ```
#[derive(Clone)]
pub struct ConnectionLimit(Arc<Level>);

struct Level {
    max: usize,
    /// Permits that nobody has, and [`WAITING`].
    free: AtomicUsize,
    line: Mutex<Line>,
    /// The limit that this one is within.
    parent: Option<Arc<Level>>,
}

#[derive(Default)]
struct Line {
    waiting: VecDeque<Waiter>,
    /// The number of the last who came.
    last: u64,
}

struct Waiter {
    number: u64,
    waker: Waker,
}

/// The right to one connection within a [`ConnectionLimit`], given back when it is dropped.
///
/// It may be dropped on any thread, and moved along with a connection that is
/// [handed over](super::TcpStream::detach) to another core.
#[must_use = "the permit is given back when it is dropped"]
pub struct ConnectionPermit(Arc<Level>);

impl ConnectionLimit {
    /// A limit of `max` connections.
    ///
    /// # Panics
    ///
    /// If `max` is 0, with which nothing would ever be accepted, or more than `usize::MAX / 4`.
    #[must_use]
    pub fn new(max: usize) -> ConnectionLimit {
        ConnectionLimit(Level::new(max, None))
    }

    /// A limit of `max` connections that are within this one, too.
    ///
    /// Who waits for a permit of a child waits for the child's first, and then, with that, for this
    /// one's.
    ///
    /// # Panics
    ///
    /// As [`new`](ConnectionLimit::new).
    #[must_use]
    pub fn child(&self, max: usize) -> ConnectionLimit {
        ConnectionLimit(Level::new(max, Some(Arc::clone(&self.0))))
    }

    /// The most connections at a time.
    #[must_use]
    pub fn max(&self) -> usize {
        self.0.max
    }

    /// The permits that are taken, those of children included.
    #[must_use]
    pub fn in_use(&self) -> usize {
        // Nothing else depends on what is read here.
        self.0.max - (self.0.free.load(Ordering::Relaxed) & !WAITING)
    }

    /// Takes a permit if there is one, and nobody waits for it.
    pub fn try_acquire(&self) -> Option<ConnectionPermit> {
        if !self.0.try_take() {
            return None;
        }
        let mut held = &self.0;
        while let Some(parent) = &held.parent {
            if !parent.try_take() {
                give_back_up_to(&self.0, parent);
                return None;
            }
            held = parent;
        }
        Some(ConnectionPermit(Arc::clone(&self.0)))
    }

    /// Waits for a permit, in line.
    pub fn acquire(&self) -> Acquire<'_> {
        Acquire {
            leaf: &self.0,
            state: Waiting::Fresh(&self.0),
        }
    }
}

/// The future of [`ConnectionLimit::acquire`].
///
/// # Cancellation
///
/// Dropped, it leaves the line; a permit that it was handed goes to the next.
#[must_use = "futures do nothing unless polled"]
pub struct Acquire<'a> {
    leaf: &'a Arc<Level>,
    state: Waiting<'a>,
}

/// What a waiter has: the permits of all levels below the one that is named.
#[derive(Clone, Copy)]
enum Waiting<'a> {
    /// It does not stand in the line of this level.
    Fresh(&'a Arc<Level>),
    /// It does, or has been handed this level's permit: then it is not there any more.
    InLine(&'a Arc<Level>, u64),
    Over,
}

impl Acquire<'_> {
    /// Goes on to the level above `level`, of which the permit is taken.
    fn up<'a>(level: &'a Arc<Level>) -> Waiting<'a> {
        level.parent.as_ref().map_or(Waiting::Over, Waiting::Fresh)
    }

    /// Gives back what is there of a permit, and leaves the line.
    fn leave(&mut self) {
        match mem::replace(&mut self.state, Waiting::Over) {
            Waiting::Over => {}
            Waiting::Fresh(level) => give_back_up_to(self.leaf, level),
            Waiting::InLine(level, number) => {
                if !level.leave(number) {
                    level.give_back();
                }
                give_back_up_to(self.leaf, level);
            }
        }
    }
}

impl Acquire<'_> {
    pub(super) fn poll_permit(&mut self, cx: &Context<'_>) -> Poll<ConnectionPermit> {
        loop {
            self.state = match self.state {
                Waiting::Fresh(level) => match level.take_or_wait(cx.waker()) {
                    None => Self::up(level),
                    Some(number) => {
                        self.state = Waiting::InLine(level, number);
                        return Poll::Pending;
                    }
                },
                Waiting::InLine(level, number) => {
                    if level.still_waits(number, cx.waker()) {
                        return Poll::Pending;
                    }
                    Self::up(level)
                }
                Waiting::Over => panic!("polled after completion"),
            };
            if let Waiting::Over = self.state {
                return Poll::Ready(ConnectionPermit(Arc::clone(self.leaf)));
            }
        }
    }
}

impl Future for Acquire<'_> {
    type Output = ConnectionPermit;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<ConnectionPermit> {
        if let Waiting::Fresh(_) = self.state {
            ready!(budget::spend(cx));
        }
        self.poll_permit(cx)
    }
}

impl Drop for Acquire<'_> {
    fn drop(&mut self) {
        self.leave();
    }
}

impl Drop for ConnectionPermit {
    fn drop(&mut self) {
        let mut level = Some(&self.0);
        while let Some(held) = level {
            held.give_back();
            level = held.parent.as_ref();
        }
    }
}

/// Gives back the permits of the levels from `leaf` on that are below `end`.
fn give_back_up_to(leaf: &Arc<Level>, end: &Arc<Level>) {
    let mut level = leaf;
    while !Arc::ptr_eq(level, end) {
        level.give_back();
        level = level.parent.as_ref().expect("`end` is above `leaf`");
    }
}

impl Level {
    fn new(max: usize, parent: Option<Arc<Level>>) -> Arc<Level> {
        assert!(max > 0, "a limit of no connections would accept nothing");
        assert!(max <= usize::MAX / 4, "the limit is too large to be one");
        Arc::new(Level {
            max,
            free: AtomicUsize::new(max),
            line: Mutex::default(),
            parent,
        })
    }

    fn lock(&self) -> MutexGuard<'_, Line> {
        // Nothing that is done under the lock leaves the line half changed.
        self.line.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes a permit that is free. What its last holder did was before this.
    fn try_take(&self) -> bool {
        let take = |free: usize| (free & WAITING == 0 && free > 0).then(|| free - 1);
        let order = (Ordering::Acquire, Ordering::Relaxed);
        self.free.fetch_update(order.0, order.1, take).is_ok()
    }

    /// Takes a permit, or a place at the end of the line, which is returned.
    fn take_or_wait(&self, waker: &Waker) -> Option<u64> {
        if self.try_take() {
            return None;
        }
        let waker = waker.clone();
        let mut line = self.lock();
        let take_or_mark = |free: usize| match free {
            0 => Some(WAITING),
            free if free & WAITING == 0 => Some(free - 1),
            _ => None,
        };
        let order = (Ordering::Acquire, Ordering::Relaxed);
        let before = self.free.fetch_update(order.0, order.1, take_or_mark);
        if before.is_ok_and(|free| free > 0) {
            drop(line);
            return None;
        }
        line.last += 1;
        let number = line.last;
        line.waiting.push_back(Waiter { number, waker });
        Some(number)
    }

    /// Whether `number` is still in line, to be woken by `waker`. If not, it has a permit.
    fn still_waits(&self, number: u64, waker: &Waker) -> bool {
        let waker = waker.clone();
        let mut line = self.lock();
        let Some(waiter) = line.find(number) else {
            return false;
        };
        let old = mem::replace(&mut waiter.waker, waker);
        drop(line);
        drop(old);
        true
    }

    /// Takes `number` out of the line. False if it is not there: it has a permit.
    fn leave(&self, number: u64) -> bool {
        let mut line = self.lock();
        let place = line.waiting.iter().position(|it| it.number == number);
        let left = place.and_then(|place| line.waiting.remove(place));
        self.unmark(&line);
        drop(line);
        left.is_some()
    }

    fn give_back(&self) {
        let give = |free: usize| (free & WAITING == 0).then_some(free + 1);
        let order = (Ordering::Release, Ordering::Relaxed);
        if self.free.fetch_update(order.0, order.1, give).is_ok() {
            return;
        }
        let mut line = self.lock();
        let first = line.waiting.pop_front();
        self.unmark(&line);
        if first.is_none() {
            // The last one has left the line since, and its bit with it.
            self.free.fetch_add(1, Ordering::Release);
        }
        drop(line);
        if let Some(first) = first {
            first.waker.wake();
        }
    }

    /// Clears the bit if the line has become empty.
    fn unmark(&self, line: &Line) {
        if line.waiting.is_empty() {
            self.free.fetch_and(!WAITING, Ordering::Relaxed);
        }
    }
}

impl Line {
    fn find(&mut self, number: u64) -> Option<&mut Waiter> {
        self.waiting.iter_mut().find(|it| it.number == number)
    }
}

impl fmt::Debug for ConnectionLimit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ConnectionLimit")
            .field("max", &self.max())
            .field("in_use", &self.in_use())
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for ConnectionPermit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ConnectionPermit").finish_non_exhaustive()
    }
}

impl fmt::Debug for Acquire<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Acquire").finish_non_exhaustive()
    }
}
