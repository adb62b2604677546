//! The receive side of a stream: its inbox, and the one receive that is in flight.
//!
//! | [`Arm`] | what the kernel has | ends by |
//! |---|---|---|
//! | `Idle` | nothing | a reader that finds the inbox empty, or below the low mark |
//! | `Multi` | a multishot receive over the core's buffers | its final completion |
//! | `Owned` | one receive into memory of our own, since there was no buffer | its completion |
//! | `Direct` | one receive into a reader's buffer | its completion |
//! | `Starved` | nothing, and the stream stands in the driver's line for buffers | [`Resume`] |

use std::cell::RefMut;
use std::io;
use std::mem;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

use bytes::Bytes;
use corering_buffers::Lease;

use super::Socket;
use super::inbox::{Arm, End, RecvSide};
use crate::driver::{Item, Resume};
use crate::io::waiters::Place;
use crate::op::{Receiver, RecvMulti, RecvOwned};
use crate::ring::{Cqe, Fd};
use crate::task::clone_own;

/// A receive, or a read of the inbox, that brought this much makes the stream read straight into
/// the caller's buffer, if that has as much room: a copy costs more than arming a receive for each
/// message.
pub(super) const DIRECT_FROM: usize = 8 * 1024;
/// A direct read that brought less ends that again.
const DIRECT_UNTIL: i32 = 4 * 1024;
/// What a receive without a provided buffer asks for, bytes.
const OWNED_LEN: usize = 4 * 1024;
impl Socket {
    /// Waits in line until the inbox has something or the stream has ended. Ready: the caller is
    /// the first in line and takes it. Pending: a receive is in flight, if `arm` asks for one.
    #[inline(always)]
    pub(super) fn poll_inbox(
        self: &Rc<Self>,
        place: &mut Option<Place>,
        cx: &Context<'_>,
        arm: bool,
    ) -> Poll<RefMut<'_, RecvSide>> {
        let mut side = self.recv.borrow_mut();
        if side.waiters.may_go(*place) && (side.head.is_some() || side.end != End::Open) {
            return Poll::Ready(side);
        }
        if side.waiters.is_empty()
            && let Some(waker) = clone_own(cx.waker())
        {
            side.waiters.wait_first(place, waker);
            let idle = side.is_idle();
            drop(side);
            if arm && idle {
                self.arm();
            }
        } else {
            drop(side);
            self.wait_for_inbox(place, cx, arm);
        }
        Poll::Pending
    }

    /// Stands in line, and arms a receive if that is to be done: for whoever is not alone, stands
    /// there already (most are polled once more, and go), or has a waker of another kind.
    #[cold]
    fn wait_for_inbox(self: &Rc<Self>, place: &mut Option<Place>, cx: &Context<'_>, arm: bool) {
        let side = self.stand_in_line(place, cx);
        let idle = side.is_idle();
        drop(side);
        if arm && idle {
            self.arm();
        }
    }

    #[inline(always)]
    pub(super) fn stand_in_line(
        &self,
        place: &mut Option<Place>,
        cx: &Context<'_>,
    ) -> RefMut<'_, RecvSide> {
        if place.is_some() {
            let side = self.recv.borrow_mut();
            if side.waiters.wakes(*place, cx) {
                return side;
            }
        }
        let waker = cx.waker().clone();
        let mut side = self.recv.borrow_mut();
        let old = side.waiters.wait(place, waker);
        if old.is_some() {
            drop(side);
            drop(old); // user code, so not while the side is borrowed
            side = self.recv.borrow_mut();
        }
        side
    }

    /// Leaves the line after something was taken, and arms a receive if there is room for it again.
    #[inline]
    pub(super) fn taken(
        self: &Rc<Self>,
        mut side: RefMut<'_, RecvSide>,
        place: &mut Option<Place>,
    ) {
        let arm = side.wants_more();
        let left = side.waiters.leave_alone(place);
        drop(side);
        if arm || !left {
            self.taken_slowly(place, arm);
        }
    }

    #[cold]
    fn taken_slowly(self: &Rc<Self>, place: &mut Option<Place>, arm: bool) {
        self.leave_inbox(place);
        if arm {
            self.arm();
        }
    }

    /// Leaves the line, and lets the next one go if there is something to take.
    #[inline(always)]
    pub(super) fn leave_inbox(&self, place: &mut Option<Place>) {
        if place.is_some() {
            self.leave_inbox_slowly(place);
        }
    }

    #[cold]
    fn leave_inbox_slowly(&self, place: &mut Option<Place>) {
        let Some(place) = place.take() else {
            return;
        };
        let mut side = self.recv.borrow_mut();
        let own = side.waiters.leave(place);
        let next = self.next_reader(&mut side);
        drop(side);
        drop(own);
        if let Some(next) = next {
            next.wake();
        }
    }

    /// Who goes next, if there is something to take or nothing in flight that would bring it.
    #[inline]
    fn next_reader(&self, side: &mut RecvSide) -> Option<Waker> {
        if side.waiters.is_empty() {
            return None;
        }
        let ready = side.head.is_some() || side.end != End::Open || !side.is_armed();
        ready.then(|| side.waiters.next()).flatten()
    }

    /// Arms a receive, if none is in flight: a multishot one if there are buffers, else one into
    /// memory of our own, else the stream stands in line for either.
    #[cold]
    pub(super) fn arm(self: &Rc<Self>) {
        let mut side = self.recv.borrow_mut();
        if side.is_armed() || side.end != End::Open {
            return;
        }
        if side.closed || self.driver.is_closing() {
            drop(side);
            return self.refuse();
        }
        side.paused = false;
        drop(side);
        let arm = if self.driver.buffers().available() > 0 {
            match self.driver.arm(RecvMulti(Rc::clone(self))) {
                Ok(key) => Arm::Multi(key),
                Err(_) => return self.refuse(),
            }
        } else {
            self.arm_owned()
        };
        self.recv.borrow_mut().arm = arm;
    }

    fn arm_owned(self: &Rc<Self>) -> Arm {
        if !self.driver.borrow_bytes(OWNED_LEN) {
            self.driver.starve(Rc::clone(self) as Rc<dyn Resume>);
            return Arm::Starved;
        }
        // The op frees the side when it ends, so the side must know of it before.
        self.recv.borrow_mut().arm = Arm::Owned(None);
        let op = RecvOwned {
            socket: Rc::clone(self),
            driver: Rc::clone(&self.driver),
            buf: Vec::with_capacity(OWNED_LEN),
        };
        match self.driver.submit_detached(op) {
            Some(key) => Arm::Owned(Some(key)),
            None => self.recv.borrow().arm,
        }
    }

    /// No receive is submitted any more: the runtime is gone. The reader stands in line already,
    /// and no completion will wake it.
    fn refuse(&self) {
        self.recv.borrow_mut().fail(libc::ECANCELED);
        self.wake_reader();
    }

    /// Cancels the receive that is in flight.
    pub(super) fn stop_receiving(&self) {
        let mut side = self.recv.borrow_mut();
        side.closed = true;
        let arm = side.arm;
        drop(side);
        if let Arm::Multi(key) | Arm::Owned(Some(key)) = arm {
            self.driver.cancel(key);
        }
    }

    /// Waits until no receive is in flight.
    pub(super) async fn receive_done(self: &Rc<Self>) {
        self.wait_until(|side| !side.is_armed()).await;
    }

    /// Waits until nobody else holds the socket for the sake of its receive, the driver's line for
    /// buffers included.
    pub(super) async fn receive_idle(self: &Rc<Self>) {
        self.wait_until(|side| side.arm == Arm::Idle).await;
    }

    async fn wait_until(self: &Rc<Self>, done: fn(&RecvSide) -> bool) {
        let mut waiting = Waiting {
            socket: self,
            place: None,
            done,
        };
        std::future::poll_fn(|cx| waiting.poll(cx)).await;
    }

    /// Cancels a multishot receive so that a direct one may follow. True if nothing is in flight.
    pub(super) fn disarm(&self) -> bool {
        let side = self.recv.borrow();
        let arm = side.arm;
        let paused = side.paused;
        drop(side);
        if let Arm::Multi(key) = arm
            && !paused
        {
            self.recv.borrow_mut().paused = true;
            self.driver.cancel(key);
        }
        arm == Arm::Idle
    }

    /// A direct receive is in flight from now on. Its reader, the first in line, is woken by the op
    /// and not by the line, so the waker that it left there is given back.
    pub(super) fn go_direct(&self) -> Option<Waker> {
        let mut side = self.recv.borrow_mut();
        side.arm = Arm::Direct;
        side.paused = false;
        side.waiters.next()
    }

    /// The reader's buffer panicked before the kernel had it: nothing is in flight.
    pub(super) fn direct_failed(&self) {
        self.recv.borrow_mut().arm = Arm::Idle;
    }

    fn wake_reader(&self) {
        let mut side = self.recv.borrow_mut();
        let next = self.next_reader(&mut side);
        drop(side);
        if let Some(next) = next {
            next.wake();
        }
    }
}

/// Waits for the receive in flight without wanting what it brings.
struct Waiting<'a> {
    socket: &'a Rc<Socket>,
    place: Option<Place>,
    done: fn(&RecvSide) -> bool,
}

impl Waiting<'_> {
    fn poll(&mut self, cx: &Context<'_>) -> Poll<()> {
        if (self.done)(&self.socket.recv.borrow()) {
            return Poll::Ready(());
        }
        drop(self.socket.stand_in_line(&mut self.place, cx));
        Poll::Pending
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.socket.leave_inbox(&mut self.place);
    }
}

impl Receiver for Socket {
    #[inline]
    fn fd(&self) -> &Fd {
        &self.fd
    }

    #[inline]
    fn is_pipe(&self) -> bool {
        self.is_pipe
    }

    #[inline(always)]
    fn received(&self, cqe: Cqe, lease: impl FnOnce() -> Option<Lease>) -> Item {
        let side = &mut *self.recv.borrow_mut();
        let mut stop = false;
        match lease() {
            Some(lease) => {
                if cqe.res >= DIRECT_FROM as i32 {
                    side.direct = true;
                }
                side.last_flags = cqe.flags;
                side.push(lease);
                // The kernel must not run out of buffers because somebody reads slowly.
                if self.driver.is_short_of_buffers() {
                    side.copy_out();
                }
                if side.is_full() {
                    stop = !mem::replace(&mut side.paused, true);
                }
            }
            None => side.end(cqe),
        }
        if !cqe.is_more() {
            side.arm = Arm::Idle;
        }
        Item {
            wake: self.next_reader(side),
            stop,
        }
    }

    fn receive_ended(self: Rc<Self>, cqe: Cqe) {
        // Whoever waits has been woken, and arms again. A lack of buffers is no error, but without
        // a reader there is no hurry.
        let _ = cqe;
    }

    fn received_directly(&self, cqe: Cqe) {
        let mut side = self.recv.borrow_mut();
        side.arm = Arm::Idle;
        side.last_flags = cqe.flags;
        // One that was cancelled says nothing about what comes.
        side.direct &= cqe.res >= DIRECT_UNTIL || cqe.res == -libc::ECANCELED;
        match cqe.res {
            0 => side.eof(),
            ..0 if cqe.res != -libc::ECANCELED => side.fail(-cqe.res),
            _ => {}
        }
        drop(side);
        self.wake_reader();
    }

    fn received_late(&self, bytes: io::Result<Bytes>) {
        let mut side = self.recv.borrow_mut();
        side.arm = Arm::Idle;
        match bytes {
            Ok(bytes) if bytes.is_empty() => side.eof(),
            Ok(bytes) => side.push(Lease::from(bytes)),
            Err(e) if e.raw_os_error() == Some(libc::ECANCELED) => {}
            Err(e) => side.fail(e.raw_os_error().unwrap_or(libc::EIO)),
        }
        drop(side);
        self.wake_reader();
    }

    fn polled(&self) {
        self.recv.borrow_mut().arm = Arm::Idle;
        self.wake_reader();
    }
}

impl Resume for Socket {
    fn resume(self: Rc<Self>) {
        let mut side = self.recv.borrow_mut();
        if side.arm == Arm::Starved {
            side.arm = Arm::Idle;
        }
        drop(side);
        self.wake_reader();
    }
}
