//! The receive side of a socket: its inbox, and the one receive that is in flight.
//!
//! The receive is armed by a future that finds the inbox empty, and stays so until it ends: by an
//! error, a message without bytes, a lack of buffers, a completion queue that overflows, or because
//! the inbox is full. Whoever waits is woken then and arms it again. Only after a lack of buffers
//! nobody is woken: the socket stands in line for them, and so does every other that would arm a
//! receive meanwhile. Without the line, those whose tasks run first would take what buffers there
//! are, turn after turn, and the last ones would never have any.
//!
//! The kernel's own buffer of the socket goes on filling meanwhile, and drops UDP datagrams that
//! have no room in it, as it does for every slow reader.

use std::cell::RefMut;
use std::mem;
use std::rc::{Rc, Weak};
use std::task::{Context, Poll, Waker};

use corering_buffers::Lease;

use super::Socket;
use super::inbox::RecvSide;
use crate::driver::{Item, Resume};
use crate::io::waiters::Place;
use crate::op::{Message, MessageReceiver, RecvMsgMulti};
use crate::ring::{Cqe, Fd, Rooms};

impl Socket {
    /// Waits in line until the inbox has something. Ready: the caller is the first in line and
    /// takes it. Pending: a receive is in flight, if `arm` asks for one.
    #[inline]
    pub(super) fn poll_inbox(
        self: &Rc<Self>,
        place: &mut Option<Place>,
        cx: &Context<'_>,
        arm: bool,
    ) -> Poll<RefMut<'_, RecvSide>> {
        let side = self.recv.borrow_mut();
        if side.waiters.may_go(*place) && !side.entries.is_empty() {
            return Poll::Ready(side);
        }
        drop(side);
        self.wait_for_inbox(place, cx, arm);
        Poll::Pending
    }

    #[inline(never)]
    fn wait_for_inbox(self: &Rc<Self>, place: &mut Option<Place>, cx: &Context<'_>, arm: bool) {
        let side = self.stand_in_line(place, cx);
        // What is there already has to be taken first.
        let idle = side.armed.is_none() && side.entries.is_empty();
        drop(side);
        if arm && idle {
            self.arm();
        }
    }

    fn stand_in_line(&self, place: &mut Option<Place>, cx: &Context<'_>) -> RefMut<'_, RecvSide> {
        let side = self.recv.borrow_mut();
        if side.waiters.wakes(*place, cx) {
            return side;
        }
        drop(side);
        let waker = cx.waker().clone();
        let old = self.recv.borrow_mut().waiters.wait(place, waker);
        drop(old); // user code, so not while the side is borrowed
        self.recv.borrow_mut()
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
        if !left {
            self.leave_inbox(place);
        }
        if arm {
            self.arm();
        }
    }

    /// Leaves the line, and lets the next one go if there is something to take.
    #[inline]
    pub(super) fn leave_inbox(&self, place: &mut Option<Place>) {
        if let Some(place) = place.take() {
            self.leave_inbox_slowly(place);
        }
    }

    #[cold]
    fn leave_inbox_slowly(&self, place: Place) {
        let mut side = self.recv.borrow_mut();
        let own = side.waiters.leave(place);
        let next = next_reader(&mut side);
        drop(side);
        drop(own);
        if let Some(next) = next {
            next.wake();
        }
    }

    /// Arms the receive, if it is not in flight, or has it armed when its turn has come.
    #[cold]
    fn arm(self: &Rc<Self>) {
        let side = self.recv.borrow_mut();
        if side.armed.is_some() || side.starved {
            return;
        }
        if side.closed || self.driver.is_closing() {
            drop(side);
            return self.fail(libc::ECANCELED);
        }
        if self.driver.are_datagrams_awaited() {
            return self.stand_in_line_for_buffers(side);
        }
        drop(side);
        self.arm_now();
    }

    fn stand_in_line_for_buffers(self: &Rc<Self>, mut side: RefMut<'_, RecvSide>) {
        side.starved = true;
        let socket = Rc::downgrade(self) as Weak<dyn Resume>;
        self.driver.starve_of_datagrams(socket);
    }

    fn arm_now(self: &Rc<Self>) {
        self.recv.borrow_mut().paused = false;
        let rooms = Rooms {
            name: self.shape.name_room,
            control: self.control_room.get(),
        };
        let armed = self.driver.datagram_buffers().and_then(|buffers| {
            let op = RecvMsgMulti::new(Rc::clone(self), buffers, rooms);
            let armed = self.driver.arm(op);
            armed.map_err(|(_, cqe)| std::io::Error::from_raw_os_error(-cqe.res))
        });
        match armed {
            Ok(key) => self.recv.borrow_mut().armed = Some(key),
            Err(error) => self.fail(error.raw_os_error().unwrap_or(libc::EIO)),
        }
    }

    /// Tells one reader of an error.
    pub(super) fn fail(&self, errno: i32) {
        let mut side = self.recv.borrow_mut();
        side.push(Err(errno));
        let next = next_reader(&mut side);
        drop(side);
        if let Some(next) = next {
            next.wake();
        }
    }

    /// Cancels the receive that is in flight, for good.
    pub(super) fn stop_receiving(&self) {
        self.recv.borrow_mut().closed = true;
        self.rearm();
    }

    /// Cancels the receive that is in flight. Whoever waits arms another.
    pub(super) fn rearm(&self) {
        let mut side = self.recv.borrow_mut();
        if let Some(key) = side.armed {
            side.paused = true;
            drop(side);
            self.driver.cancel(key);
        }
    }

    /// Waits until no receive is in flight.
    pub(super) async fn receive_done(self: &Rc<Self>) {
        let mut waiting = Waiting {
            socket: self,
            place: None,
        };
        std::future::poll_fn(|cx| waiting.poll(cx)).await;
    }
}

/// Who goes next, if there is something to take or nothing in flight that would bring it.
#[inline]
fn next_reader(side: &mut RecvSide) -> Option<Waker> {
    let ready = !side.entries.is_empty() || side.armed.is_none();
    ready.then(|| side.waiters.next()).flatten()
}

/// Waits for the end of the receive in flight without wanting what it brings.
struct Waiting<'a> {
    socket: &'a Rc<Socket>,
    place: Option<Place>,
}

impl Waiting<'_> {
    fn poll(&mut self, cx: &Context<'_>) -> Poll<()> {
        if self.socket.recv.borrow().armed.is_none() {
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

impl MessageReceiver for Socket {
    #[inline]
    fn fd(&self) -> &Fd {
        &self.fd
    }

    #[inline]
    fn received(&self, cqe: Cqe, message: Option<Message>) -> Item {
        let side = &mut *self.recv.borrow_mut();
        let (mut stop, mut wake) = (false, None);
        let starved = cqe.res == -libc::ENOBUFS && side.wants_any();
        match (message, -cqe.res) {
            (Some(message), _) => {
                side.push(Ok(self.settled(message)));
                // Each message wakes one more of the line, so that they all go in one turn.
                wake = side.waiters.next_at(side.entries.len() - 1);
                if side.is_full() {
                    stop = !mem::replace(&mut side.paused, true);
                }
            }
            // A lack of buffers and a cancel of ours are no errors.
            (None, libc::ENOBUFS | libc::ECANCELED) => {}
            (None, errno @ 1..) => side.push(Err(errno)),
            // Too short for its header: the kernel has not done what was asked.
            (None, _) => side.push(Err(libc::EIO)),
        }
        if !cqe.is_more() {
            side.armed = None;
        }
        if self.driver.is_short_of_datagrams() {
            side.copy_out();
        }
        if !starved {
            wake = wake.or_else(|| next_reader(side));
        }
        Item { wake, stop }
    }

    #[cold]
    fn receive_ended(self: Rc<Self>, cqe: Cqe) {
        // After any other end, whoever waits has been woken with the last item, and arms again.
        if cqe.res != -libc::ENOBUFS {
            return;
        }
        let side = self.recv.borrow_mut();
        if !side.wants_any() || side.starved || side.armed.is_some() {
            return;
        }
        if self.driver.is_closing() {
            drop(side);
            return self.arm(); // which says so
        }
        self.stand_in_line_for_buffers(side);
    }
}

impl Resume for Socket {
    fn resume(self: Rc<Self>) {
        let mut side = self.recv.borrow_mut();
        side.starved = false;
        let wanted = side.wants_any();
        drop(side);
        if !wanted {
            return;
        }
        if self.driver.is_closing() {
            return self.arm(); // which says so
        }
        self.arm_now();
    }
}

impl Socket {
    /// The message, in memory of its own if buffers are short.
    #[inline]
    fn settled(&self, mut message: Message) -> Message {
        if message.payload.is_empty() {
            message.payload = Lease::default();
        } else if self.driver.is_short_of_datagrams() {
            message.payload.make_owned();
        }
        message
    }
}
