//! Sends: each is one message, whole or not at all, committed once submitted.

use std::fmt;
use std::future::Future;
use std::io;
use std::mem;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use corering_buffers::{BufResult, IoBuf};

use super::Socket;
use super::control::Control;
use crate::driver::{Op, Ticket};
use crate::io::waiters::Place;
use crate::io::{Operation, Sealed, cancelled};
use crate::op::{self, Held, MessageSender, SendTo};
use crate::ring::Name;
use crate::time::{Sleep, sleep};

/// How long a message waits for a receiver without room: this at first, twice as long each time,
/// and at most 6.4 ms.
const PAUSE: Duration = Duration::from_micros(50);

/// The future of `send(buf)` and `send_to(buf, address)`.
///
/// # Cancellation
///
/// Dropped before its first poll or before its turn, it sends nothing. Dropped later, the message
/// is sent all the same, and an error of its own is lost.
#[must_use = "futures do nothing unless polled"]
pub struct SendDatagram<'a, B: IoBuf>(InTurn<'a, SendTo<Socket, B>>);

/// The future of `send_msg(buf, address, control)`.
///
/// # Cancellation
///
/// As that of [`SendDatagram`].
#[must_use = "futures do nothing unless polled"]
pub struct SendMsg<'a, B: IoBuf>(InTurn<'a, op::SendMsg<Socket, B>>);

/// An op that sends one message.
trait Sends: Op<Output = BufResult<usize, Self::Buf>> {
    type Buf;

    fn into_buf(self) -> Self::Buf;
}

impl<B: IoBuf> Sends for SendTo<Socket, B> {
    type Buf = B;

    fn into_buf(self) -> B {
        self.buf
    }
}

impl<B: IoBuf> Sends for op::SendMsg<Socket, B> {
    type Buf = B;

    fn into_buf(self) -> B {
        self.buf
    }
}

/// Waits for a turn, then submits an op.
struct InTurn<'a, T: Op> {
    socket: &'a Rc<Socket>,
    place: Option<Place>,
    state: State<T>,
    /// How often in a row there was no room.
    pauses: u32,
}

enum State<T: Op> {
    /// Not submitted: if it is dropped now, nothing is sent.
    Waiting(T),
    /// Committed: it runs to its end.
    Sent(Ticket<T>),
    /// The receiver has no room, and the kernel was told not to wait for it. It is still our turn.
    Pausing(T, Sleep),
    Over,
}

// Nothing is pinned here: the op moves into a slot before the kernel sees it.
impl<T: Op> Unpin for InTurn<'_, T> {}

impl<'a, B: IoBuf> SendDatagram<'a, B> {
    pub(crate) fn new(socket: &'a Rc<Socket>, buf: B, name: Name) -> Self {
        let op = SendTo {
            socket: Rc::clone(socket),
            buf,
            name,
        };
        SendDatagram(InTurn::new(socket, op))
    }
}

impl<'a, B: IoBuf> SendMsg<'a, B> {
    pub(crate) fn new(socket: &'a Rc<Socket>, buf: B, name: Name, control: Control) -> Self {
        let op = op::SendMsg::new(Rc::clone(socket), buf, name, control.into_data());
        SendMsg(InTurn::new(socket, op))
    }
}

impl<'a, T: Sends> InTurn<'a, T> {
    fn new(socket: &'a Rc<Socket>, op: T) -> Self {
        InTurn {
            socket,
            place: None,
            state: State::Waiting(op),
            pauses: 0,
        }
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<T::Output> {
        loop {
            match &mut self.state {
                State::Sent(ticket) => {
                    let patient = !self.socket.kernel_waits.get();
                    let (op, cqe) = ready!(ticket.poll_op(cx));
                    if !patient || cqe.res != -libc::EAGAIN {
                        self.state = State::Over;
                        return Poll::Ready(op.complete(cqe));
                    }
                    self.pause(op);
                }
                State::Pausing(_, pause) => {
                    ready!(Pin::new(pause).poll(cx));
                    return self.submit(cx);
                }
                State::Over => panic!("polled after completion"),
                State::Waiting(_) => {
                    ready!(self.socket.poll_turn(&mut self.place, cx));
                    self.socket.leave_line(&mut self.place);
                    return self.submit(cx);
                }
            }
        }
    }

    #[cold]
    fn pause(&mut self, op: T) {
        let time = PAUSE * (1 << self.pauses.min(7));
        self.pauses += 1;
        self.state = State::Pausing(op, sleep(time));
    }

    /// Submits the op. It is our turn.
    #[inline]
    fn submit(&mut self, cx: &mut Context<'_>) -> Poll<T::Output> {
        let state = mem::replace(&mut self.state, State::Over);
        let (State::Waiting(op) | State::Pausing(op, _)) = state else {
            unreachable!("there is an op to submit");
        };
        let turn = Turn(self.socket);
        let submitted = self.socket.driver.submit(|| op, cx);
        mem::forget(turn);
        match submitted {
            Ok(ticket) => {
                self.state = State::Sent(ticket);
                Poll::Pending
            }
            Err((op, cqe)) => Poll::Ready(op.complete(cqe)),
        }
    }

    /// Ends the send: without a turn nothing is sent, and after it the kernel says whether it was.
    fn poll_cancel(&mut self, cx: &mut Context<'_>) -> Poll<T::Output> {
        match mem::replace(&mut self.state, State::Over) {
            State::Waiting(op) => {
                self.socket.leave_line(&mut self.place);
                Poll::Ready((Err(cancelled()), op.into_buf()))
            }
            State::Pausing(op, _) => {
                self.socket.sent();
                Poll::Ready((Err(cancelled()), op.into_buf()))
            }
            State::Sent(mut ticket) => {
                ticket.cancel();
                let output = ticket.poll(cx);
                if output.is_pending() {
                    self.state = State::Sent(ticket);
                }
                output
            }
            State::Over => panic!("polled after completion"),
        }
    }
}

impl Socket {
    /// Commits a send that nobody waits for, if there is a turn for it now.
    #[inline]
    pub(crate) fn try_send<B: IoBuf>(
        self: &Rc<Self>,
        buf: B,
        name: Name,
    ) -> Result<(), (io::Error, B)> {
        if self.driver.is_closing() {
            return Err((io::Error::from_raw_os_error(libc::ECANCELED), buf));
        }
        if !self.take_turn() {
            return Err((io::ErrorKind::WouldBlock.into(), buf));
        }
        let turn = Turn(self);
        let held = Held::new(buf);
        mem::forget(turn);
        self.keep_back(name, held);
        Ok(())
    }
}

/// Ends the turn of a send whose buffer panics when it is asked where it is.
struct Turn<'a>(&'a Socket);

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        self.0.sent();
    }
}

impl<T: Op> Drop for InTurn<'_, T> {
    #[inline]
    fn drop(&mut self) {
        self.socket.leave_line(&mut self.place);
        match &self.state {
            State::Sent(ticket) => {
                if let Some(key) = ticket.key() {
                    self.socket.unnoticed(key);
                }
            }
            State::Pausing(..) => self.socket.sent(),
            State::Waiting(_) | State::Over => {}
        }
    }
}

impl<B: IoBuf> Future for SendDatagram<'_, B> {
    type Output = BufResult<usize, B>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        self.0.poll(cx)
    }
}

impl<B: IoBuf> Future for SendMsg<'_, B> {
    type Output = BufResult<usize, B>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        self.0.poll(cx)
    }
}

impl<B: IoBuf> Sealed for SendDatagram<'_, B> {}
impl<B: IoBuf> Sealed for SendMsg<'_, B> {}

impl<B: IoBuf> Operation for SendDatagram<'_, B> {
    type Outcome = Self::Output;

    fn poll_cancel(&mut self, cx: &mut Context<'_>) -> Poll<Self::Outcome> {
        self.0.poll_cancel(cx)
    }
}

impl<B: IoBuf> Operation for SendMsg<'_, B> {
    type Outcome = Self::Output;

    fn poll_cancel(&mut self, cx: &mut Context<'_>) -> Poll<Self::Outcome> {
        self.0.poll_cancel(cx)
    }
}

impl<B: IoBuf> fmt::Debug for SendDatagram<'_, B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SendDatagram").finish_non_exhaustive()
    }
}

impl<B: IoBuf> fmt::Debug for SendMsg<'_, B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SendMsg").finish_non_exhaustive()
    }
}
