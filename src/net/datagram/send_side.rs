//! The send side of a socket: how many sends are in flight, and who waits for a turn.

use std::rc::Rc;
use std::task::{Context, Poll};

use super::outbox::Outbox;
use super::{LINGER_NS, Socket};
use crate::driver::Key;
use crate::io::waiters::{Place, Waiters};
use crate::op::{MessageSender, Train};
use crate::ring::{Cqe, Fd};

#[derive(Default)]
pub(super) struct SendSide {
    in_flight: u16,
    waiters: Waiters,
    /// Sends whose futures are gone, to be cancelled if they linger too long. Some may have ended.
    unnoticed: Vec<Key>,
    /// When those of an abandoned socket are cancelled. 0 while there is a handle.
    gives_up_ns: u64,
    /// Somebody waits for all of them to end.
    draining: bool,
    /// Sends that are not submitted yet. Each counts as in flight.
    pub(super) outbox: Outbox,
}

impl Socket {
    /// Waits in line for one of the sends that may be in flight. Ready: it counts as one of them
    /// until [`MessageSender::sent`].
    #[inline]
    pub(super) fn poll_turn(
        self: &Rc<Self>,
        place: &mut Option<Place>,
        cx: &Context<'_>,
    ) -> Poll<()> {
        let mut side = self.send.borrow_mut();
        if !side.outbox.is_empty() {
            drop(side);
            self.send_kept(); // it is not overtaken
            side = self.send.borrow_mut();
        }
        if side.in_flight < self.shape.sends && side.waiters.may_go(*place) {
            side.in_flight += 1;
            return Poll::Ready(());
        }
        drop(side);
        self.wait_turn(place, cx);
        Poll::Pending
    }

    #[cold]
    fn wait_turn(&self, place: &mut Option<Place>, cx: &Context<'_>) {
        let waker = cx.waker().clone();
        let old = self.send.borrow_mut().waiters.wait(place, waker);
        drop(old);
    }

    /// Leaves the line, and lets the next one go.
    #[inline]
    pub(super) fn leave_line(&self, place: &mut Option<Place>) {
        if let Some(place) = place.take() {
            self.leave_line_slowly(place);
        }
    }

    #[cold]
    fn leave_line_slowly(&self, place: Place) {
        let own = self.send.borrow_mut().waiters.leave(place);
        drop(own);
        self.wake_sender();
    }

    /// Wakes who goes next, if there is a turn.
    fn wake_sender(&self) {
        let mut side = self.send.borrow_mut();
        let turn = side.in_flight < self.shape.sends && (!side.draining || side.in_flight == 0);
        let next = turn.then(|| side.waiters.next()).flatten();
        drop(side);
        if let Some(next) = next {
            next.wake();
        }
    }

    /// So many sends have ended.
    #[inline]
    pub(super) fn sends_ended(&self, count: u16) {
        let mut side = self.send.borrow_mut();
        side.in_flight -= count;
        let awaited = !side.waiters.is_empty();
        drop(side);
        if awaited {
            self.wake_sender(); // who wakes the next one in turn
        }
    }

    /// An error that a send was told and that is none of its own goes to the next receive: the
    /// kernel tells of it once.
    pub(super) fn tell_of_late_error(&self, cqe: Cqe) {
        if self.shape.late_errors.contains(&-cqe.res) {
            self.fail(-cqe.res);
        }
    }

    /// Takes a turn if there is one now and nobody waits for it.
    #[inline]
    pub(super) fn take_turn(&self) -> bool {
        let mut side = self.send.borrow_mut();
        let free = side.in_flight < self.shape.sends && side.waiters.is_empty();
        side.in_flight += u16::from(free);
        free
    }

    /// A send that is in flight has no future, or no more.
    #[inline]
    pub(super) fn unnoticed(&self, key: Key) {
        let mut side = self.send.borrow_mut();
        side.unnoticed.push(key);
        // At least half of them have ended then: that is one look for each, however many there are.
        if side.unnoticed.len() >= 2 * usize::from(self.shape.sends) {
            side.unnoticed.retain(|&key| self.driver.is_in_flight(key));
        }
    }

    /// Gives committed sends of an abandoned socket their last ten seconds.
    pub(super) fn linger(&self) {
        self.send.borrow_mut().gives_up_ns = self.driver.now_ns() + LINGER_NS;
        self.linger_on();
    }

    /// The same for those that were submitted since, if it is abandoned.
    pub(super) fn linger_on(&self) {
        let mut side = self.send.borrow_mut();
        let deadline = side.gives_up_ns;
        if deadline == 0 {
            return;
        }
        for key in std::mem::take(&mut side.unnoticed) {
            self.driver.linger(key, deadline);
        }
    }

    /// Waits until no send is in flight. Nobody else may wait for a turn.
    pub(super) async fn sends_done(&self) {
        self.send.borrow_mut().draining = true;
        let mut waiting = Waiting {
            socket: self,
            place: None,
        };
        std::future::poll_fn(|cx| waiting.poll(cx)).await;
    }
}

/// Waits for the sends in flight without wanting a turn.
struct Waiting<'a> {
    socket: &'a Socket,
    place: Option<Place>,
}

impl Waiting<'_> {
    fn poll(&mut self, cx: &Context<'_>) -> Poll<()> {
        if self.socket.send.borrow().in_flight == 0 {
            return Poll::Ready(());
        }
        self.socket.wait_turn(&mut self.place, cx);
        Poll::Pending
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.socket.send.borrow_mut().draining = false;
        self.socket.leave_line(&mut self.place);
    }
}

impl MessageSender for Socket {
    #[inline]
    fn flags(&self) -> u32 {
        let flags = match self.kernel_waits.get() {
            true => libc::MSG_NOSIGNAL,
            false => libc::MSG_NOSIGNAL | libc::MSG_DONTWAIT,
        };
        flags.cast_unsigned()
    }

    #[inline]
    fn fd(&self) -> &Fd {
        &self.fd
    }

    #[inline]
    fn sent(&self) {
        self.sends_ended(1);
    }

    fn sent_unnoticed(&self, cqe: Cqe) {
        self.sent();
        self.tell_of_late_error(cqe);
    }

    fn train_ended(self: Rc<Self>, train: Train, cqe: Cqe) {
        self.end_train(train, cqe);
    }
}
