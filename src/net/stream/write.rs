//! Writes: one in flight, in order, committed once submitted.

use std::fmt;
use std::future::Future;
use std::io;
use std::mem;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};

use corering_buffers::{BufResult, IoBuf, IoBufs};

use super::Socket;
use crate::driver::{Driver, Op, Ticket};
use crate::io::waiters::Place;
use crate::io::{Operation, Sealed, cancelled};
use crate::op::{Send, SendVectored, SendZc, Sender};
use crate::ring::Cqe;
use crate::task::clone_here;

/// The future of `write_all(buf)`.
///
/// # Cancellation
///
/// Dropped before its first poll or before its turn, it sends nothing. Dropped later, it is sent to
/// the end of the buffer, and an error is reported by the next write.
#[derive(Debug)]
#[must_use = "futures do nothing unless polled"]
pub struct WriteAll<'a, B: IoBuf>(InTurn<'a, B, Send<Socket, B>>);

/// The future of `write(buf)`.
///
/// # Cancellation
///
/// As that of [`WriteAll`], for what the kernel takes at once.
#[derive(Debug)]
#[must_use = "futures do nothing unless polled"]
pub struct Write<'a, B: IoBuf>(InTurn<'a, B, Send<Socket, B>>);

/// The future of `write_vectored(bufs)`.
///
/// # Cancellation
///
/// As that of [`WriteAll`], for what the kernel takes at once.
#[derive(Debug)]
#[must_use = "futures do nothing unless polled"]
pub struct WriteVectored<'a, B: IoBufs>(InTurn<'a, B, SendVectored<Socket, B>>);

/// The future of `write_zero_copy(buf)`.
///
/// # Cancellation
///
/// As that of [`WriteAll`], for what the kernel takes at once. The buffer is freed at the kernel's
/// notification.
#[derive(Debug)]
#[must_use = "futures do nothing unless polled"]
pub struct WriteZeroCopy<'a, B: IoBuf>(InTurn<'a, B, SendZc<Socket, B>>);

impl<'a, B: IoBuf> WriteAll<'a, B> {
    #[inline]
    pub(crate) fn new(socket: &'a Rc<Socket>, buf: B) -> Self {
        WriteAll(InTurn::new(socket, buf))
    }
}

impl<'a, B: IoBuf> Write<'a, B> {
    pub(crate) fn new(socket: &'a Rc<Socket>, buf: B) -> Self {
        Write(InTurn::new(socket, buf))
    }
}

impl<'a, B: IoBufs> WriteVectored<'a, B> {
    pub(crate) fn new(socket: &'a Rc<Socket>, bufs: B) -> Self {
        WriteVectored(InTurn::new(socket, bufs))
    }
}

impl<'a, B: IoBuf> WriteZeroCopy<'a, B> {
    pub(crate) fn new(socket: &'a Rc<Socket>, buf: B) -> Self {
        WriteZeroCopy(InTurn::new(socket, buf))
    }
}

impl<B: IoBuf> Future for WriteAll<'_, B> {
    type Output = BufResult<(), B>;

    #[inline(always)]
    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let all = |socket, buf| Send::new(socket, buf, true);
        match ready!(self.0.poll(cx, all)) {
            Ok((result, buf)) => Poll::Ready((result.map(drop), buf)),
            Err(op) => match self.go_on(op, cx) {
                Some(outcome) => Poll::Ready(*outcome),
                None => Poll::Pending,
            },
        }
    }
}

impl<B: IoBuf> Future for Write<'_, B> {
    type Output = BufResult<usize, B>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let once = |socket, buf| Send::new(socket, buf, false);
        match ready!(self.0.poll(cx, once)) {
            Ok((result, buf)) => Poll::Ready((result, buf)),
            Err(_) => unreachable!("a single write has no rest"),
        }
    }
}

impl<B: IoBufs> Future for WriteVectored<'_, B> {
    type Output = BufResult<usize, B>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        self.0.poll(cx, SendVectored::new)
    }
}

impl<B: IoBuf> Future for WriteZeroCopy<'_, B> {
    type Output = BufResult<usize, B>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        self.0.poll(cx, |socket, buf| SendZc { socket, buf })
    }
}

/// What one submission has come to: the send has ended, or the kernel took a part, and this is the
/// rest.
type Step<B> = Result<BufResult<usize, B>, Send<Socket, B>>;

/// What a future makes of its op in the end.
pub(super) trait Finish: Op {
    type Buf;
    type Done;

    fn finish(self, cqe: Cqe) -> Self::Done;

    /// The same for one that was cancelled: the bytes that were sent.
    fn cut(self, cqe: Cqe) -> BufResult<usize, Self::Buf>;

    /// The same for one that was never made.
    fn refused(error: io::Error, buf: Self::Buf) -> Self::Done;
}

impl<B: IoBuf> Finish for Send<Socket, B> {
    type Buf = B;
    type Done = Step<B>;

    #[inline(always)]
    fn finish(self, cqe: Cqe) -> Step<B> {
        self.complete(cqe)
    }

    fn cut(mut self, cqe: Cqe) -> BufResult<usize, B> {
        self.done += usize::try_from(cqe.res).unwrap_or(0);
        let result = match cqe.result() {
            Err(e) if e.raw_os_error() != Some(libc::ECANCELED) || self.done == 0 => Err(e),
            _ => Ok(self.done),
        };
        if self.all && result.is_ok() && self.done < self.len {
            self.socket.torn();
        }
        (self.socket.sent(result), self.buf)
    }

    fn refused(error: io::Error, buf: B) -> Step<B> {
        Ok((Err(error), buf))
    }
}

impl<B: IoBufs> Finish for SendVectored<Socket, B> {
    type Buf = B;
    type Done = BufResult<usize, B>;

    fn finish(self, cqe: Cqe) -> Self::Done {
        self.complete(cqe)
    }

    fn cut(self, cqe: Cqe) -> Self::Done {
        self.complete(cqe)
    }

    fn refused(error: io::Error, buf: B) -> Self::Done {
        (Err(error), buf)
    }
}

impl<B: IoBuf> Finish for SendZc<Socket, B> {
    type Buf = B;
    type Done = BufResult<usize, B>;

    fn finish(self, cqe: Cqe) -> Self::Done {
        self.complete(cqe)
    }

    fn cut(self, cqe: Cqe) -> Self::Done {
        self.complete(cqe)
    }

    fn refused(error: io::Error, buf: B) -> Self::Done {
        (Err(error), buf)
    }
}

impl<B: IoBuf> Sealed for WriteAll<'_, B> {}
impl<B: IoBuf> Sealed for Write<'_, B> {}
impl<B: IoBufs> Sealed for WriteVectored<'_, B> {}
impl<B: IoBuf> Sealed for WriteZeroCopy<'_, B> {}

impl<B: IoBuf> Operation for WriteAll<'_, B> {
    type Outcome = BufResult<usize, B>;

    fn poll_cancel(&mut self, cx: &mut Context<'_>) -> Poll<Self::Outcome> {
        self.0.poll_cancel(cx)
    }
}

impl<B: IoBuf> Operation for Write<'_, B> {
    type Outcome = Self::Output;

    fn poll_cancel(&mut self, cx: &mut Context<'_>) -> Poll<Self::Outcome> {
        self.0.poll_cancel(cx)
    }
}

impl<B: IoBufs> Operation for WriteVectored<'_, B> {
    type Outcome = Self::Output;

    fn poll_cancel(&mut self, cx: &mut Context<'_>) -> Poll<Self::Outcome> {
        self.0.poll_cancel(cx)
    }
}

impl<B: IoBuf> Operation for WriteZeroCopy<'_, B> {
    type Outcome = Self::Output;

    fn poll_cancel(&mut self, cx: &mut Context<'_>) -> Poll<Self::Outcome> {
        self.0.poll_cancel(cx)
    }
}

impl<B: IoBuf> WriteAll<'_, B> {
    /// Submits the rest of a write of which the kernel took a part. It is still our turn. An
    /// outcome, which comes at once only from a core that ends, is boxed: room for it in the caller
    /// would have every outcome copied once more.
    #[cold]
    fn go_on(
        &mut self,
        mut rest: Send<Socket, B>,
        cx: &mut Context<'_>,
    ) -> Option<Box<BufResult<(), B>>> {
        loop {
            let submitted = submit(self.0.socket, || rest, cx);
            match self.0.keep(submitted) {
                Poll::Pending => return None,
                Poll::Ready(Ok((result, buf))) => return Some(Box::new((result.map(drop), buf))),
                Poll::Ready(Err(op)) => rest = op,
            }
        }
    }
}

/// Makes an op of a buffer and submits it when it is its turn.
pub(super) struct InTurn<'a, B, T: Op> {
    socket: &'a Rc<Socket>,
    place: Option<Place>,
    state: State<'a, B, T>,
}

enum State<'a, B, T: Op> {
    /// Not submitted: if it is dropped now, nothing is sent. `None` once it is over.
    Waiting(Option<B>),
    /// Committed: it runs to its end.
    Sent(Ticket<T, &'a Driver>),
}

// Nothing is pinned here: the op moves into a slot before the kernel sees it.
impl<B, T: Op> Unpin for InTurn<'_, B, T> {}

impl<B, T: Op> fmt::Debug for InTurn<'_, B, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = match self.state {
            State::Waiting(Some(_)) => "waiting for its turn",
            State::Waiting(None) => "done",
            State::Sent(_) => "in flight",
        };
        f.debug_tuple("InTurn").field(&state).finish()
    }
}

impl<'a, B, T: Finish<Buf = B>> InTurn<'a, B, T> {
    #[inline]
    pub(super) fn new(socket: &'a Rc<Socket>, buf: B) -> Self {
        InTurn {
            socket,
            place: None,
            state: State::Waiting(Some(buf)),
        }
    }

    /// What becomes of the op, once its completion has come. `make` is asked for the op when its
    /// turn comes.
    #[inline(always)]
    pub(super) fn poll(
        &mut self,
        cx: &mut Context<'_>,
        make: impl FnOnce(Rc<Socket>, B) -> T,
    ) -> Poll<T::Done> {
        let buf = match &mut self.state {
            State::Sent(ticket) => {
                let (op, cqe) = ready!(ticket.poll_op(cx));
                // The ticket has given up its claim: there is nothing left in it to drop.
                mem::forget(mem::replace(&mut self.state, State::Waiting(None)));
                return Poll::Ready(op.finish(cqe));
            }
            State::Waiting(buf) => buf,
        };
        assert!(buf.is_some(), "polled after completion");
        // Whoever has a place is one of those awaited, so a turn at once is for nobody with one.
        if !self.socket.begins_at_once() {
            let turn = ready!(self.socket.poll_turn(&mut self.place, cx));
            self.socket.leave_line(&mut self.place);
            if let Err(error) = turn {
                return Poll::Ready(T::refused(error, unsent(buf)));
            }
        }
        let socket = self.socket;
        let op = || make(Rc::clone(socket), unsent(buf));
        let submitted = submit(socket, op, cx);
        self.keep(submitted)
    }

    /// Ends the write: without a turn nothing is sent, and after it the kernel says how much was.
    pub(super) fn poll_cancel(&mut self, cx: &mut Context<'_>) -> Poll<BufResult<usize, B>> {
        match &mut self.state {
            State::Sent(ticket) => {
                ticket.cancel();
                let (op, cqe) = ready!(ticket.poll_op(cx));
                self.state = State::Waiting(None);
                Poll::Ready(op.cut(cqe))
            }
            State::Waiting(buf) => {
                self.socket.leave_line(&mut self.place);
                Poll::Ready((Err(cancelled()), unsent(buf)))
            }
        }
    }

    #[inline(always)]
    fn keep(&mut self, submitted: Submitted<'a, T>) -> Poll<T::Done> {
        match submitted {
            Ok(ticket) => {
                mem::forget(mem::replace(&mut self.state, State::Sent(ticket)));
                Poll::Pending
            }
            Err((op, cqe)) => Poll::Ready(op.finish(cqe)),
        }
    }
}

/// The claim on an op, or the op, if it was refused.
type Submitted<'a, T> = Result<Ticket<T, &'a Driver>, (T, Cqe)>;

#[inline(always)]
fn unsent<B>(buf: &mut Option<B>) -> B {
    buf.take().expect("polled after completion")
}

#[inline(always)]
fn submit<'a, T: Op>(
    socket: &'a Rc<Socket>,
    make: impl FnOnce() -> T,
    cx: &mut Context<'_>,
) -> Submitted<'a, T> {
    let turn = Turn(socket);
    // First: cloning a waker may run user code, and what is moved after it moves only once.
    let waker = clone_here(cx.waker());
    let submitted = socket.driver.submit_borrowed(make, waker);
    mem::forget(turn);
    submitted
}

/// Ends the turn of a send whose buffer panics when it is asked where it is, or whose waker does
/// when it is cloned.
pub(super) struct Turn<'a>(pub(super) &'a Socket);

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        let _ = self.0.sent(Ok(0));
    }
}

impl<B, T: Op> Drop for InTurn<'_, B, T> {
    #[inline(always)]
    fn drop(&mut self) {
        // Early enough: who asks for it is the stream when it is dropped, and it outlives this.
        if let State::Sent(ticket) = &self.state {
            self.socket.last_send.set(ticket.key());
        }
        self.socket.leave_line(&mut self.place);
    }
}
