//! Writes: one in flight, in order, committed once submitted.

use std::fmt;
use std::future::Future;
use std::mem;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};

use corering_buffers::{BufResult, IoBuf, IoBufs};

use super::Socket;
use crate::driver::{Op, Ticket};
use crate::net::waiters::Place;
use crate::op::{Send, SendVectored, SendZc, Sender, Sent};
use crate::ring::Cqe;

/// The future of `write_all(buf)`.
#[derive(Debug)]
#[must_use = "futures do nothing unless polled"]
pub struct WriteAll<'a, B: IoBuf>(InTurn<'a, Send<Socket, B>>);

/// The future of `write(buf)`.
#[derive(Debug)]
#[must_use = "futures do nothing unless polled"]
pub struct Write<'a, B: IoBuf>(InTurn<'a, Send<Socket, B>>);

/// The future of `write_vectored(bufs)`.
#[derive(Debug)]
#[must_use = "futures do nothing unless polled"]
pub struct WriteVectored<'a, B: IoBufs>(InTurn<'a, SendVectored<Socket, B>>);

/// The future of `write_zero_copy(buf)`.
#[derive(Debug)]
#[must_use = "futures do nothing unless polled"]
pub struct WriteZeroCopy<'a, B: IoBuf>(InTurn<'a, SendZc<Socket, B>>);

impl<'a, B: IoBuf> WriteAll<'a, B> {
    #[inline]
    pub(crate) fn new(socket: &'a Rc<Socket>, buf: B) -> Self {
        WriteAll(InTurn::new(socket, Send::new(Rc::clone(socket), buf, true)))
    }
}

impl<'a, B: IoBuf> Write<'a, B> {
    pub(crate) fn new(socket: &'a Rc<Socket>, buf: B) -> Self {
        Write(InTurn::new(
            socket,
            Send::new(Rc::clone(socket), buf, false),
        ))
    }
}

impl<'a, B: IoBufs> WriteVectored<'a, B> {
    pub(crate) fn new(socket: &'a Rc<Socket>, bufs: B) -> Self {
        WriteVectored(InTurn::new(
            socket,
            SendVectored::new(Rc::clone(socket), bufs),
        ))
    }
}

impl<'a, B: IoBuf> WriteZeroCopy<'a, B> {
    pub(crate) fn new(socket: &'a Rc<Socket>, buf: B) -> Self {
        let op = SendZc {
            socket: Rc::clone(socket),
            buf,
        };
        WriteZeroCopy(InTurn::new(socket, op))
    }
}

impl<B: IoBuf> Future for WriteAll<'_, B> {
    type Output = BufResult<(), B>;

    #[inline]
    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        loop {
            match ready!(self.0.poll(cx)) {
                Sent::Done(result, buf) => return Poll::Ready((result.map(drop), buf)),
                // Still our turn: the side stays busy.
                Sent::More(rest) => self.0.go_on(rest),
            }
        }
    }
}

impl<B: IoBuf> Future for Write<'_, B> {
    type Output = BufResult<usize, B>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        match ready!(self.0.poll(cx)) {
            Sent::Done(result, buf) => Poll::Ready((result, buf)),
            Sent::More(_) => unreachable!("a single write has no rest"),
        }
    }
}

impl<B: IoBufs> Future for WriteVectored<'_, B> {
    type Output = BufResult<usize, B>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        self.0.poll(cx)
    }
}

impl<B: IoBuf> Future for WriteZeroCopy<'_, B> {
    type Output = BufResult<usize, B>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        self.0.poll(cx)
    }
}

/// Submits an op when it is its turn.
struct InTurn<'a, T: Op> {
    socket: &'a Rc<Socket>,
    place: Option<Place>,
    state: State<T>,
}

enum State<T: Op> {
    /// Not submitted: if it is dropped now, nothing is sent.
    Waiting(T),
    /// A part was sent, and the turn is still ours.
    Rest(T),
    /// Committed: it runs to its end.
    Sent(Ticket<T>),
    Taken,
}

// The op is never pinned here: it moves into a slot before the kernel sees it.
impl<T: Op> Unpin for InTurn<'_, T> {}

impl<T: Op> fmt::Debug for InTurn<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = match self.state {
            State::Waiting(_) => "waiting for its turn",
            State::Rest(_) | State::Sent(_) => "in flight",
            State::Taken => "done",
        };
        f.debug_tuple("InTurn").field(&state).finish()
    }
}

impl<'a, T: Op> InTurn<'a, T> {
    #[inline]
    fn new(socket: &'a Rc<Socket>, op: T) -> Self {
        InTurn {
            socket,
            place: None,
            state: State::Waiting(op),
        }
    }

    #[inline]
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<T::Output> {
        if let State::Sent(ticket) = &mut self.state {
            let output = ready!(ticket.poll(cx));
            self.state = State::Taken;
            return Poll::Ready(output);
        }
        let mut turn = Ok(());
        if let State::Waiting(_) = self.state {
            turn = ready!(self.socket.poll_turn(&mut self.place, cx));
            self.socket.leave_line(&mut self.place);
        }
        let (State::Waiting(op) | State::Rest(op)) = mem::replace(&mut self.state, State::Taken)
        else {
            panic!("polled after completion");
        };
        if let Err(errno) = turn {
            return Poll::Ready(op.complete(Cqe::refused(errno)));
        }
        let turn = Turn(self.socket);
        let submitted = self.socket.driver.submit(op, cx);
        mem::forget(turn);
        match submitted {
            Ok(ticket) => {
                self.socket.in_flight(ticket.key());
                self.state = State::Sent(ticket);
                Poll::Pending
            }
            Err((op, cqe)) => Poll::Ready(op.complete(cqe)),
        }
    }

    #[cold]
    fn go_on(&mut self, rest: T) {
        self.state = State::Rest(rest);
    }
}

/// Ends the turn of a send whose buffer panics when it is asked where it is.
struct Turn<'a>(&'a Socket);

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        self.0.sent(&Ok(0));
    }
}

impl<T: Op> Drop for InTurn<'_, T> {
    #[inline]
    fn drop(&mut self) {
        self.socket.leave_line(&mut self.place);
    }
}
