//! The send side of a stream: the one send that is in flight, and who waits for it.
//!
//! `busy` is set by the future that submits a send, and cleared by the send itself when it has
//! ended for good ([`Sender::sent`]), so it does not matter whether the future is still there.

use std::io;
use std::mem;
use std::task::{Context, Poll};

use super::{Handles, LINGER_NS, Socket};
use crate::driver::Op;
use crate::io::waiters::{Place, Waiters};
use crate::op::Sender;
use crate::ring::Fd;

#[derive(Default)]
pub(super) struct SendSide {
    /// A send is in flight, or between two of its submissions.
    busy: bool,
    /// The write side was shut down, or is going to be.
    closed: bool,
    /// The write side is to be shut down when the send has ended.
    shut_after: bool,
    /// The errno that ended the side. It stays.
    error: Option<i32>,
    /// A write was cancelled after a part of it: whatever followed would be taken for the rest.
    torn: bool,
    /// Changes whenever the kernel has taken something.
    taken: u32,
    waiters: Waiters,
}

/// Why a write side is over, if it is.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Ended {
    closed: bool,
    error: Option<i32>,
    torn: bool,
}

impl SendSide {
    pub(super) fn ended(&self) -> Ended {
        Ended {
            closed: self.closed,
            error: self.error,
            torn: self.torn,
        }
    }

    pub(super) fn taken(&self) -> u32 {
        self.taken
    }

    pub(super) fn begin_as(&mut self, ended: Ended) {
        (self.closed, self.error, self.torn) = (ended.closed, ended.error, ended.torn);
    }

    /// Remembers that the side is to be shut down. False if that can be done at once.
    pub(super) fn shut_after_send(&mut self) -> bool {
        self.closed = true;
        self.shut_after = self.busy;
        self.busy
    }

    pub(super) fn close(&mut self) {
        self.closed = true;
    }

    #[inline]
    fn is_over(&self) -> bool {
        self.error.is_some() || self.closed || self.torn
    }

    /// A send has failed. That it was cancelled says nothing about the next one.
    fn failed(&mut self, error: &io::Error) {
        let errno = error.raw_os_error().unwrap_or(libc::EIO);
        if errno != libc::ECANCELED {
            self.error.get_or_insert(errno);
        }
    }

    /// Why nothing can be sent any more.
    #[cold]
    fn refusal(&self) -> io::Error {
        if self.torn {
            let text = "a write was cancelled when a part of it was sent: the rest is missing";
            return io::Error::new(io::ErrorKind::BrokenPipe, text);
        }
        io::Error::from_raw_os_error(self.error.unwrap_or(libc::EPIPE))
    }
}

impl Socket {
    /// Waits in line until no send is in flight. Then it is the caller's turn, and the side is busy
    /// until [`Sender::sent`]. With `Err` there is no turn, and never will be.
    #[inline]
    pub(super) fn poll_turn(
        &self,
        place: &mut Option<Place>,
        cx: &Context<'_>,
    ) -> Poll<io::Result<()>> {
        let mut side = self.send.borrow_mut();
        if !side.busy && side.waiters.may_go(*place) {
            if side.is_over() {
                return Poll::Ready(Err(side.refusal()));
            }
            side.busy = true;
            return Poll::Ready(Ok(()));
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
    #[inline(always)]
    pub(super) fn leave_line(&self, place: &mut Option<Place>) {
        if place.is_some() {
            self.leave_line_slowly(place);
        }
    }

    #[cold]
    fn leave_line_slowly(&self, place: &mut Option<Place>) {
        let Some(place) = place.take() else {
            return;
        };
        let mut side = self.send.borrow_mut();
        let own = side.waiters.leave(place);
        let next = if side.busy { None } else { side.waiters.next() };
        drop(side);
        drop(own);
        if let Some(next) = next {
            next.wake();
        }
    }

    /// A send has ended with an error. Both sides may be over then.
    #[cold]
    fn send_failed(&self, error: io::Error) -> io::Error {
        self.send.borrow_mut().failed(&error);
        if error.raw_os_error() == Some(libc::ECONNRESET) {
            self.recv.borrow_mut().reset();
        }
        error
    }

    /// Somebody has waited for the end of a send.
    #[cold]
    fn sent_slowly(&self) {
        let mut side = self.send.borrow_mut();
        let shut = mem::take(&mut side.shut_after);
        let next = side.waiters.next();
        drop(side);
        if shut {
            self.shut_write_later();
        }
        if let Some(next) = next {
            next.wake();
        }
    }

    /// Gives a committed send of an abandoned stream its last ten seconds.
    pub(super) fn linger(&self) {
        let busy = self.send.borrow().busy;
        if let Some(key) = self.last_send.get().filter(|_| busy) {
            // Once: a send that is cancelled after a part of it reports the part, and its rest
            // must not get as much time again.
            if self.gives_up_ns.get() == 0 {
                self.gives_up_ns.set(self.driver.now_ns() + LINGER_NS);
            }
            self.driver.linger(key, self.gives_up_ns.get());
        }
    }

    /// Waits until no send is in flight; the error that ended the side, if one did.
    pub(super) async fn sends_done(&self) -> io::Result<()> {
        let mut waiting = Waiting {
            socket: self,
            place: None,
        };
        std::future::poll_fn(|cx| waiting.poll(cx)).await
    }
}

/// Waits for the send in flight without wanting a turn.
struct Waiting<'a> {
    socket: &'a Socket,
    place: Option<Place>,
}

impl Waiting<'_> {
    fn poll(&mut self, cx: &Context<'_>) -> Poll<io::Result<()>> {
        let side = self.socket.send.borrow();
        if !side.busy && side.waiters.may_go(self.place) {
            let error = side.error.map(io::Error::from_raw_os_error);
            return Poll::Ready(error.map_or(Ok(()), Err));
        }
        drop(side);
        self.socket.wait_turn(&mut self.place, cx);
        Poll::Pending
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.socket.leave_line(&mut self.place);
    }
}

impl Sender for Socket {
    #[inline]
    fn fd(&self) -> &Fd {
        &self.fd
    }

    #[inline]
    fn is_pipe(&self) -> bool {
        self.is_pipe
    }

    fn go_on<T: Op>(&self, rest: T) {
        if let Some(key) = self.driver.submit_detached(rest) {
            self.last_send.set(Some(key));
            if self.handles.get() == Handles::None {
                self.linger();
            }
        }
    }

    #[inline(always)]
    fn send_flags(&self, all: bool) -> u32 {
        let wait = if all && !self.paced.get() {
            libc::MSG_WAITALL
        } else {
            0
        };
        (libc::MSG_NOSIGNAL | wait).cast_unsigned()
    }

    fn took_a_part(&self) {
        let mut side = self.send.borrow_mut();
        side.taken = side.taken.wrapping_add(1);
    }

    fn torn(&self) {
        self.send.borrow_mut().torn = true;
    }

    #[inline(always)]
    fn sent(&self, result: io::Result<usize>) -> io::Result<usize> {
        let result = result.map_err(|error| self.send_failed(error));
        let mut side = self.send.borrow_mut();
        side.busy = false;
        side.taken = side.taken.wrapping_add(1);
        let awaited = side.shut_after || !side.waiters.is_empty();
        drop(side);
        if awaited {
            self.sent_slowly();
        }
        result
    }
}
