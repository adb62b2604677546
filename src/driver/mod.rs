//! The ops in flight on one core. Knows no opcode but cancel.
//!
//! * [`slot`]: where an op lives while the kernel may touch it. The memory-safety argument.
//! * [`op`]: what a single-shot op is, its claim ([`Ticket`]) and its future ([`Submit`]).
//! * [`multi`]: what a multishot op is.
//! * `buffers`: the provided buffers, and who waits for one. `pipes`: those for splicing.
//! * `departures`: what is kept back until the next submission.
//! * `teardown`: how a core ends without freeing what the kernel may still touch.
//!
//! # Rules
//!
//! 1. User code never runs while the driver is borrowed: no waker, no `Drop` of a buffer or of an
//!    output, no method of a buffer. An effect is computed, the borrow released, then it acts.
//! 2. A future holds a key. The op, its buffer and its result belong to the slot.
//! 3. An op reaches its driver through the resource that it belongs to, which holds an
//!    `Rc<Driver>`: two runtimes may live on one thread, and a key must never meet a foreign table.
//! 4. What does not fit into the SQ is kept, in order, and goes first: cancels too.

pub(crate) mod budget;
mod buffers;
mod counts;
mod departures;
mod erased;
mod key;
mod line;
mod look;
mod multi;
mod op;
mod pipes;
mod slices;
mod slot;
mod stable_vec;
mod teardown;
#[cfg(test)]
mod tests;

use std::cell::{Cell, OnceCell, RefCell};
use std::collections::VecDeque;
use std::fmt;
use std::io;
use std::mem;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::rc::{Rc, Weak};
use std::task::Waker;

use corering_buffers::BufRing;

pub(crate) use self::buffers::Resume;
use self::buffers::SPARE_BYTES;
pub(crate) use self::counts::Counts;
pub(crate) use self::departures::Departs;
pub(crate) use self::key::Key;
use self::line::Line;
pub(crate) use self::multi::{BUFFER_GROUP, DATAGRAM_GROUP, MultiOp, provide_buffers};
pub(crate) use self::op::{Op, Submit, Ticket, copied, filled};
pub(crate) use self::pipes::Pipe;
use self::slices::Slices;
pub(crate) use self::slot::Item;
use self::slot::{Abandoned, Effect, Slots};
use crate::ring::{self, Clock, Cqe, RawSqe, Ring, Wait};

/// Set in the `user_data` of a cancel, next to the key of its target.
const CANCEL: u64 = 1 << 31;
/// `user_data` of a message from another ring.
pub(crate) const MESSAGE: u64 = 1 << 30;
/// A cancel that does not find its op is tried again this often: the op may have been between two
/// states. After that the op's own completion is waited for.
const CANCEL_TRIES: u8 = 8;

/// One core's ring and the ops in flight on it.
pub(crate) struct Driver {
    core: RefCell<Core>,
    buffers: Rc<BufRing>,
    /// For datagrams; made when the first socket asks for it.
    datagram_buffers: OnceCell<Rc<BufRing>>,
    clock: Clock,
    /// Streams that found no buffer, oldest first; see [`Driver::starve`].
    starved: Line<Rc<dyn Resume>>,
    /// Sockets that found no buffer for datagrams, oldest first. Each is there at most once, and
    /// not kept by it: who closes one waits for nobody here.
    starved_of_datagrams: Line<Weak<dyn Resume>>,
    /// Resources with something to submit that they have kept back. Each is there at most once.
    departing: Line<Rc<dyn Departs>>,
    /// Bytes that ops without a provided buffer may still put aside; see [`Driver::borrow_bytes`].
    spare_bytes: Cell<usize>,
    /// Pipes that are not in use.
    pipes: RefCell<Vec<Pipe>>,
}

struct Core {
    /// `None` once the core has ended.
    ring: Option<Ring>,
    slots: Slots,
    /// Ops that are to be cancelled. At most one entry for each op in flight.
    cancels: VecDeque<Key>,
    /// SQEs that did not fit into the SQ. At most one for each op in flight.
    backlog: VecDeque<RawSqe>,
    /// Of what is in the SQ.
    slices: Slices,
    /// Committed ops without an owner, with the time at which they are cancelled, oldest first.
    lingering: VecDeque<(u64, Key)>,
    /// No op is taken any more.
    closing: bool,
    counts: Counts,
    /// That of the ring when completions were last counted.
    position: u32,
}

thread_local! {
    static CURRENT: RefCell<Option<Rc<Driver>>> = const { RefCell::new(None) };
}

/// Restores the thread's previous driver.
pub(crate) struct Entered(Option<Rc<Driver>>);

impl Drop for Entered {
    fn drop(&mut self) {
        let before = self.0.take();
        let _ = CURRENT.try_with(|current| current.replace(before));
    }
}

impl Driver {
    /// A driver on `ring`, with which `buffers` have been registered as [`BUFFER_GROUP`].
    pub(crate) fn new(ring: Ring, buffers: Rc<BufRing>) -> Rc<Driver> {
        Rc::new(Driver {
            clock: ring.clock(),
            core: RefCell::new(Core {
                slots: Slots::default(),
                cancels: VecDeque::new(),
                backlog: VecDeque::new(),
                slices: Slices::default(),
                lingering: VecDeque::new(),
                closing: false,
                counts: Counts::default(),
                position: ring.position(),
                ring: Some(ring),
            }),
            buffers,
            datagram_buffers: OnceCell::new(),
            starved: Line::new(),
            starved_of_datagrams: Line::new(),
            departing: Line::new(),
            spare_bytes: Cell::new(SPARE_BYTES),
            pipes: RefCell::default(),
        })
    }

    /// The driver of the runtime that runs on this thread.
    ///
    /// # Errors
    ///
    /// `ErrorKind::NotConnected` outside of a runtime.
    pub(crate) fn current() -> io::Result<Rc<Driver>> {
        let current = CURRENT.try_with(|current| current.borrow().clone());
        current.ok().flatten().ok_or_else(|| {
            io::Error::new(
                io::ErrorKind::NotConnected,
                "no corering runtime is running on this thread: call this inside \
                 `Runtime::block_on` or a task",
            )
        })
    }

    /// Makes this the thread's current driver until the guard is dropped. Not so in a destructor of
    /// a thread-local that runs after ours: a runtime that ends there has to end all the same, and
    /// what its tasks ask for then finds no driver.
    pub(crate) fn enter_current(self: &Rc<Self>) -> Entered {
        let before = CURRENT.try_with(|current| current.replace(Some(Rc::clone(self))));
        Entered(before.ok().flatten())
    }

    /// The runtime's clock, nanoseconds.
    #[inline]
    pub(crate) fn now_ns(&self) -> u64 {
        self.clock.now_ns()
    }

    /// The kernel that this core runs on. `ECANCELED` once the ring is gone.
    pub(crate) fn with_ring<T>(&self, f: impl FnOnce(&Ring) -> io::Result<T>) -> io::Result<T> {
        let core = self.core.borrow();
        let ring = core.ring.as_ref();
        f(ring.ok_or_else(|| io::Error::from_raw_os_error(libc::ECANCELED))?)
    }

    /// What was counted so far.
    pub(crate) fn counts(&self) -> Counts {
        let core = self.core.borrow();
        Counts {
            in_flight: core.slots.in_flight(),
            orphans: core.slots.orphans(),
            overflows: core.ring.as_ref().map_or(0, Ring::overflows),
            sqes: self.sqes(),
            ..core.counts
        }
    }

    /// Asks the kernel to end an op whose claim stays: it completes as cancelled, or as it will.
    pub(crate) fn cancel(&self, key: Key) {
        self.core.borrow_mut().cancel(key);
    }

    /// Cancels an op at `deadline_ns` if it has not ended by itself.
    pub(crate) fn linger(&self, key: Key, deadline_ns: u64) {
        let mut core = self.core.borrow_mut();
        if core.slots.is_in_flight(key) {
            // Nearly always the last one.
            let at = core
                .lingering
                .partition_point(|other| other.0 <= deadline_ns);
            core.lingering.insert(at, (deadline_ns, key));
        }
    }

    /// Whether the kernel still has this op.
    pub(crate) fn is_in_flight(&self, key: Key) -> bool {
        self.core.borrow().slots.is_in_flight(key)
    }

    /// When the first lingering op has to go.
    #[inline]
    pub(crate) fn next_linger_ns(&self) -> Option<u64> {
        self.core.borrow().lingering.front().map(|first| first.0)
    }

    /// Cancels the lingering ops whose time has come.
    pub(crate) fn expire(&self, now_ns: u64) {
        let mut core = self.core.borrow_mut();
        while let Some(&(deadline, key)) = core.lingering.front()
            && (deadline <= now_ns || !core.slots.is_in_flight(key))
        {
            core.lingering.pop_front();
            core.cancel(key);
        }
    }

    /// Whether the runtime has begun to end: no op is taken any more.
    pub(crate) fn is_closing(&self) -> bool {
        self.core.borrow().closing
    }

    /// Submits what is staged, or its first [slice](slices), and waits as told if that was all.
    ///
    /// # Errors
    ///
    /// What `io_uring_enter` reports, but not what passes by itself (`EINTR`, `EAGAIN`, `EBUSY`,
    /// `ENOMEM`, `ETIME`).
    pub(crate) fn enter(&self, wait: Wait) -> io::Result<()> {
        if !self.departing.is_empty() {
            self.let_depart(false);
        }
        let mut core = self.core.borrow_mut();
        let whole = core.flush();
        // What did not fit must not wait for a completion that it alone would bring.
        let wait = if whole { wait } else { Wait::No };
        core.enter(wait)
    }

    /// Acts on every completion that is there. Wakers that `own` takes run no user code; the others
    /// come back from it and are woken once the driver is free. Says how many completions there
    /// were.
    #[inline(never)]
    pub(crate) fn reap(&self, mut own: impl FnMut(Waker) -> Result<(), Waker>) -> usize {
        let mut count = 0;
        loop {
            let mut borrowed = self.core.borrow_mut();
            let core = &mut *borrowed;
            let Some(ring) = &mut core.ring else {
                return 0;
            };
            let to_do = loop {
                let Some(cqe) = ring.pop() else {
                    break None;
                };
                if core.slots.is_answer(cqe.user_data) {
                    break Some((*cqe, Effect::Answer));
                }
                let key = Key::from_user_data(cqe.user_data);
                let effect = core.slots.complete(key, cqe, &self.buffers, &mut own);
                if let Some(effect) = effect {
                    break Some((*cqe, effect));
                }
            };
            let position = ring.position();
            let taken = position.wrapping_sub(mem::replace(&mut core.position, position));
            core.counts.cqes += u64::from(taken);
            count += taken as usize;
            drop(borrowed);
            let Some((cqe, effect)) = to_do else {
                return count;
            };
            self.act(Key::from_user_data(cqe.user_data), cqe, effect);
        }
    }

    /// Does what a completion asks for. A panic in it is reported and goes no further: the op has
    /// ended and the core goes on.
    #[cold]
    fn act(&self, key: Key, cqe: Cqe, effect: Effect) {
        if cqe.res == -libc::ENOBUFS {
            self.core.borrow_mut().counts.enobufs += 1;
        }
        let (waker, orphan) = match effect {
            Effect::Wake(waker) => (Some(waker), None),
            Effect::Stop(waker) => {
                self.cancel(key);
                (waker, None)
            }
            Effect::Ended(waker) => (waker, Some(self.core.borrow_mut().slots.remove(key))),
            Effect::Again => return self.again(key, cqe),
            Effect::Answer => return self.core.borrow_mut().answered(cqe),
        };
        // The panic's message has been printed by the hook.
        let _ = catch_unwind(AssertUnwindSafe(|| {
            if let Some(orphan) = orphan {
                orphan.finish();
            }
        }));
        let _ = catch_unwind(AssertUnwindSafe(|| {
            if let Some(waker) = waker {
                waker.wake();
            }
        }));
    }

    /// Submits an op again that the kernel has given up by itself. If that cannot be, it has ended
    /// with `cqe`.
    #[cold]
    fn again(&self, key: Key, cqe: Cqe) {
        let mut core = self.core.borrow_mut();
        if !core.closing {
            let refill = core.slots.refill(key);
            drop(core);
            // The op of a buffer that panics when it is asked where it is ends here.
            let sqe = catch_unwind(AssertUnwindSafe(|| refill.sqe()));
            core = self.core.borrow_mut();
            if let Ok(sqe) = sqe {
                return core.push(sqe);
            }
        }
        core.slots.set_cancelled(key);
        let effect = core.slots.complete(key, &cqe, &self.buffers, Err);
        drop(core);
        if let Some(effect) = effect {
            self.act(key, cqe, effect);
        }
    }

    /// Gives up interest in an op. Out of line: most futures see their op through.
    #[cold]
    fn abandon(&self, key: Key, cancel: bool) {
        let mut core = self.core.borrow_mut();
        let abandoned = core.slots.abandon(key);
        if cancel && matches!(abandoned, Abandoned::InFlight(_)) {
            core.cancel(key);
        }
        drop(core);
        match abandoned {
            Abandoned::InFlight(waker) => drop(waker),
            Abandoned::Done(orphan) => orphan.finish(),
        }
    }
}

impl fmt::Debug for Driver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Driver").finish_non_exhaustive()
    }
}

impl Core {
    #[inline]
    fn has_staged(&self) -> bool {
        let ring = self.ring.as_ref();
        ring.is_some_and(|ring| ring.staged() > 0)
            || !self.cancels.is_empty()
            || !self.backlog.is_empty()
    }

    /// Stages an SQE. One that does not fit waits in the backlog, behind those that are there.
    #[inline]
    fn push(&mut self, sqe: RawSqe) {
        if !self.backlog.is_empty() || !self.try_push(sqe) {
            self.backlog.push_back(sqe);
        }
    }

    #[inline(always)]
    fn try_push(&mut self, sqe: RawSqe) -> bool {
        let Some(ring) = &mut self.ring else {
            return false;
        };
        let pushed = ring.push(&sqe).is_ok() || self.push_to_full(sqe);
        if sqe.may_be_heavy() && pushed {
            self.note_weight(sqe.weight());
        }
        pushed
    }

    /// The op that was pushed last takes the kernel as long as so many short ones. Not known of one
    /// that waits in the backlog.
    fn weighs(&mut self, weight: u32) {
        if self.backlog.is_empty() {
            self.note_weight(weight);
        }
    }

    #[cold]
    fn note_weight(&mut self, weight: u32) {
        if let Some(ring) = self.ring.as_ref().filter(|_| weight > 1) {
            self.slices.staged(ring.staged() - 1, weight);
        }
    }

    /// A full SQ is submitted as it is: that makes room, and its ops go on their way.
    #[cold]
    fn push_to_full(&mut self, sqe: RawSqe) -> bool {
        let Some(ring) = &mut self.ring else {
            return false;
        };
        self.counts.enters += 1;
        let before = ring.staged();
        let all = matches!(ring.submit(), Ok(ring::Entered::Done));
        let submitted = before - ring.staged();
        self.counts.sqes += submitted as u64;
        self.slices.submitted(submitted);
        all && ring.push(&sqe).is_ok()
    }

    fn cancel(&mut self, key: Key) {
        if self.slots.begin_cancel(key) {
            self.cancels.push_back(key);
            self.counts.cancels += 1;
        }
    }

    /// Stages what did not fit before and the cancels. False if something still does not fit.
    #[inline]
    fn flush(&mut self) -> bool {
        if self.backlog.is_empty() && self.cancels.is_empty() {
            return true;
        }
        self.flush_waiting()
    }

    #[cold]
    fn flush_waiting(&mut self) -> bool {
        while let Some(sqe) = self.backlog.pop_front() {
            if !self.try_push(sqe) {
                self.backlog.push_front(sqe);
                return false;
            }
        }
        while let Some(key) = self.cancels.pop_front() {
            if !self.slots.is_in_flight(key) {
                continue;
            }
            let target = key.to_user_data();
            if !self.try_push(RawSqe::cancel(target, target | CANCEL)) {
                self.cancels.push_front(key);
                return false;
            }
        }
        true
    }

    fn enter(&mut self, wait: Wait) -> io::Result<()> {
        self.counts.enters += 1;
        let Some(ring) = &mut self.ring else {
            return Err(io::Error::from_raw_os_error(libc::ECANCELED));
        };
        let staged = ring.staged();
        let at_most = self.slices.first(staged);
        // What is kept back must not wait for a completion that it alone would bring.
        let wait = if (at_most as usize) < staged {
            Wait::No
        } else {
            wait
        };
        let entered = ring.enter_with(at_most, wait);
        let submitted = staged - ring.staged();
        self.counts.sqes += submitted as u64;
        self.slices.submitted(submitted);
        entered.map(drop)
    }

    /// A completion is not an op's, but the answer to a cancel or a message. The success of a
    /// cancel says nothing about the op, whose own completion counts.
    #[cold]
    fn answered(&mut self, cqe: Cqe) {
        if cqe.user_data & CANCEL != 0 && cqe.res == -libc::ENOENT {
            let key = Key::from_user_data(cqe.user_data & !CANCEL);
            if self.slots.is_in_flight(key) && self.slots.missed(key) < CANCEL_TRIES {
                self.cancels.push_back(key);
            }
        }
    }
}
