//! The send side of a stream: the one send that is in flight, and who waits for it.
//!
//! `BUSY` is set by the future that submits a send, and cleared by the send itself when it has
//! ended for good ([`Sender::sent`]), so it does not matter whether the future is still there.

use std::cell::{Cell, RefCell};
use std::io;
use std::task::{Context, Poll};

use super::{Handles, LINGER_NS, Socket};
use crate::driver::Op;
use crate::io::waiters::{Place, Waiters};
use crate::op::Sender;
use crate::ring::Fd;

/// A send is in flight, or between two of its submissions.
const BUSY: u8 = 1;
/// Somebody stands in line.
const AWAITED: u8 = 2;
/// The write side was shut down, or is going to be.
const CLOSED: u8 = 4;
/// The write side is to be shut down when the send has ended.
const SHUT_AFTER: u8 = 8;
/// An error has ended the side. It stays.
const FAILED: u8 = 16;
/// A write was cancelled after a part of it: whatever followed would be taken for the rest.
const TORN: u8 = 32;

/// Apart but for the line, so that a send that nobody waits behind looks at one byte.
#[derive(Default)]
pub(super) struct SendSide {
    /// Which of the above are so. None: a send may go.
    state: Cell<u8>,
    /// The errno of `FAILED`.
    errno: Cell<i32>,
    /// Changes whenever the kernel has taken something.
    taken: Cell<u32>,
    waiters: RefCell<Waiters>,
}

/// Why a write side is over, if it is.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Ended {
    state: u8,
    errno: i32,
}

impl SendSide {
    pub(super) fn ended(&self) -> Ended {
        Ended {
            state: self.state.get() & (CLOSED | FAILED | TORN),
            errno: self.errno.get(),
        }
    }

    pub(super) fn begin_as(&self, ended: Ended) {
        self.set(ended.state);
        self.errno.set(ended.errno);
    }

    pub(super) fn tear(&self) {
        self.set(TORN);
    }

    #[inline]
    fn has(&self, any: u8) -> bool {
        self.state.get() & any != 0
    }

    #[inline]
    fn set(&self, all: u8) {
        self.state.set(self.state.get() | all);
    }

    #[inline]
    fn clear(&self, all: u8) {
        self.state.set(self.state.get() & !all);
    }

    pub(super) fn taken(&self) -> u32 {
        self.taken.get()
    }

    #[inline]
    fn took(&self) {
        self.taken.set(self.taken.get().wrapping_add(1));
    }

    /// Remembers that the side is to be shut down. False if that can be done at once.
    pub(super) fn shut_after_send(&self) -> bool {
        let busy = self.has(BUSY);
        self.set(if busy { CLOSED | SHUT_AFTER } else { CLOSED });
        busy
    }

    pub(super) fn close(&self) {
        self.set(CLOSED);
    }

    /// Whether the holder of `place` goes next, and no send is in flight.
    fn may_go(&self, place: Option<Place>) -> bool {
        !self.has(BUSY) && self.waiters.borrow().may_go(place)
    }

    /// A send has failed. That it was cancelled says nothing about the next one.
    fn failed(&self, error: &io::Error) {
        let errno = error.raw_os_error().unwrap_or(libc::EIO);
        if errno != libc::ECANCELED && !self.has(FAILED) {
            self.set(FAILED);
            self.errno.set(errno);
        }
    }

    /// The error that has ended the side, if one did.
    fn error(&self) -> Option<io::Error> {
        let errno = self.errno.get();
        self.has(FAILED)
            .then(|| io::Error::from_raw_os_error(errno))
    }

    /// Why nothing can be sent any more.
    #[cold]
    fn refusal(&self) -> io::Error {
        if self.has(TORN) {
            let text = "a write was cancelled when a part of it was sent: the rest is missing";
            return io::Error::new(io::ErrorKind::BrokenPipe, text);
        }
        let closed = || io::Error::from_raw_os_error(libc::EPIPE);
        self.error().unwrap_or_else(closed)
    }
}

impl Socket {
    /// Begins a turn if no send is in flight and nobody stands in line, the usual case of
    /// [`poll_turn`](Socket::poll_turn).
    #[inline(always)]
    pub(super) fn begins_at_once(&self) -> bool {
        let idle = self.send.state.get() == 0;
        if idle {
            self.send.state.set(BUSY);
        }
        idle
    }

    /// Waits in line until no send is in flight. Then it is the caller's turn, and the side is busy
    /// until [`Sender::sent`]. With `Err` there is no turn, and never will be.
    #[inline(never)]
    pub(super) fn poll_turn(
        &self,
        place: &mut Option<Place>,
        cx: &Context<'_>,
    ) -> Poll<io::Result<()>> {
        if !self.send.may_go(*place) {
            self.wait_turn(place, cx);
            return Poll::Pending;
        }
        if self.send.has(CLOSED | FAILED | TORN) {
            return Poll::Ready(Err(self.send.refusal()));
        }
        self.send.set(BUSY);
        Poll::Ready(Ok(()))
    }

    #[cold]
    fn wait_turn(&self, place: &mut Option<Place>, cx: &Context<'_>) {
        let waker = cx.waker().clone();
        let old = self.send.waiters.borrow_mut().wait(place, waker);
        self.send.set(AWAITED);
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
        let mut waiters = self.send.waiters.borrow_mut();
        let own = waiters.leave(place);
        let busy = self.send.has(BUSY);
        let next = if busy { None } else { waiters.next() };
        if waiters.is_empty() {
            self.send.clear(AWAITED);
        }
        drop(waiters);
        drop(own);
        if let Some(next) = next {
            next.wake();
        }
    }

    /// A send has ended with an error. Both sides may be over then.
    #[cold]
    fn send_failed(&self, error: io::Error) -> io::Error {
        self.send.failed(&error);
        if error.raw_os_error() == Some(libc::ECONNRESET) {
            self.recv.borrow_mut().reset();
        }
        error
    }

    #[inline(always)]
    fn send_ended(&self) {
        self.send.took();
        match self.send.state.get() {
            BUSY => self.send.state.set(0),
            _ => self.sent_slowly(),
        }
    }

    /// The send that has ended was not all that there is to say of the side: perhaps somebody has
    /// waited for it.
    #[cold]
    fn sent_slowly(&self) {
        let shut = self.send.has(SHUT_AFTER);
        self.send.clear(BUSY | SHUT_AFTER);
        let next = self.send.waiters.borrow_mut().next();
        if shut {
            self.shut_write_later();
        }
        if let Some(next) = next {
            next.wake();
        }
    }

    /// Gives a committed send of an abandoned stream its last ten seconds.
    pub(super) fn linger(&self) {
        let busy = self.send.has(BUSY);
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
        let side = &self.socket.send;
        if side.may_go(self.place) {
            return Poll::Ready(side.error().map_or(Ok(()), Err));
        }
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
        match all {
            true => self.whole_flags.get(),
            false => libc::MSG_NOSIGNAL.cast_unsigned(),
        }
    }

    fn took_a_part(&self) {
        self.send.took();
    }

    fn torn(&self) {
        self.send.set(TORN);
    }

    fn sent(&self, result: io::Result<usize>) -> io::Result<usize> {
        let result = result.map_err(|error| self.send_failed(error));
        self.send_ended();
        result
    }

    #[inline(always)]
    fn sent_well(&self, _: usize) {
        self.send_ended();
    }
}
