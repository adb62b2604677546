//! `read(buf)`: bytes copied from the inbox, or received straight into the caller's buffer.

use std::future::Future;
use std::mem;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};

use corering_buffers::{BufResult, Fill, IoBufMut};

use super::Socket;
use super::recv_side::DIRECT_FROM;
use crate::driver::{Ticket, budget};
use crate::io::waiters::Place;
use crate::io::{Operation, Sealed, cancelled, no_room};
use crate::op;

/// The future of `read(buf)`.
///
/// # Cancellation
///
/// Dropped while it waits for the inbox, it frees its buffer and leaves the bytes to the next read.
/// Dropped while the kernel has its buffer, it cancels the receive; bytes that come all the same
/// are kept for the next read.
#[must_use = "futures do nothing unless polled"]
pub struct Read<'a, B: IoBufMut> {
    socket: &'a Rc<Socket>,
    place: Option<Place>,
    state: State<B>,
}

enum State<B: IoBufMut> {
    /// The bytes are to come from the inbox. The room in the buffer was asked for once.
    Waiting(B, usize),
    /// The kernel has the buffer.
    Direct(Ticket<op::Recv<Socket, B>>),
    Taken,
}

// The buffer is never pinned here: what is lent to the kernel lives in a slot.
impl<B: IoBufMut> Unpin for Read<'_, B> {}

impl<B: IoBufMut> std::fmt::Debug for Read<'_, B> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Read").finish_non_exhaustive()
    }
}

impl<'a, B: IoBufMut> Read<'a, B> {
    #[inline]
    pub(crate) fn new(socket: &'a Rc<Socket>, mut buf: B) -> Self {
        let (_, room) = buf.parts_mut();
        Read {
            socket,
            place: None,
            state: State::Waiting(buf, room),
        }
    }

    /// Fills `buf` from the inbox.
    #[inline]
    fn take(&mut self, mut buf: B) -> BufResult<usize, B> {
        let socket = self.socket;
        let mut out = Fill::new(&mut buf);
        let mut side = socket.recv.borrow_mut();
        let end = side.ended().filter(|_| side.head().is_none());
        let room = out.room();
        while out.room() > 0
            && let Some(mut lease) = side.pop()
        {
            let n = out.put(&lease);
            if n < lease.len() {
                lease.advance(n);
                side.unpop(lease);
            }
        }
        // Where buffers are small a large message comes in several of them.
        side.direct |= room - out.room() >= DIRECT_FROM;
        let ahead = side.direct && room >= DIRECT_FROM && side.stop_ahead();
        socket.taken(side, &mut self.place);
        if ahead {
            socket.disarm();
        }
        // Tells the buffer its length, which is user code.
        let n = out.finish();
        (end.unwrap_or(Ok(())).map(|()| n), buf)
    }

    /// Whether this read should go straight into its buffer, once nothing else is in flight.
    #[inline]
    fn wants_direct(&self, room: usize) -> bool {
        let is_pipe = self.socket.is_pipe;
        if room < DIRECT_FROM && !is_pipe {
            return false;
        }
        let side = self.socket.recv.borrow();
        (side.direct || is_pipe) && side.waiters.may_go(self.place)
    }

    #[cold]
    fn poll_direct(&mut self, cx: &mut Context<'_>) -> Poll<BufResult<usize, B>> {
        let State::Direct(ticket) = &mut self.state else {
            unreachable!("only called while the kernel has the buffer");
        };
        let output = ready!(ticket.poll(cx));
        self.state = State::Taken;
        self.socket.leave_inbox(&mut self.place);
        Poll::Ready(output)
    }

    /// Submits the receive. The place in line is kept, so that nobody overtakes.
    fn go_direct(&mut self, buf: B, cx: &mut Context<'_>) -> Poll<BufResult<usize, B>> {
        let poll_first = !self.socket.recv.borrow().left_something();
        let socket = Rc::clone(self.socket);
        let op = op::Recv {
            socket,
            buf,
            poll_first,
        };
        drop(self.socket.go_direct());
        let lending = Lending(self.socket);
        let submitted = self.socket.driver.submit(|| op, cx);
        mem::forget(lending);
        match submitted {
            Ok(ticket) => {
                self.state = State::Direct(ticket);
                Poll::Pending
            }
            Err((op, cqe)) => Poll::Ready(crate::driver::Op::complete(op, cqe)),
        }
    }
}

impl<B: IoBufMut> Future for Read<'_, B> {
    type Output = BufResult<usize, B>;

    #[inline]
    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = &mut *self;
        let room = match &this.state {
            State::Waiting(_, room) => *room,
            State::Direct(_) => return this.poll_direct(cx),
            State::Taken => panic!("polled after completion"),
        };
        if this.place.is_none() {
            ready!(budget::spend(cx));
        }
        if room > 0 {
            let direct = this.wants_direct(room);
            let arms = !direct && !this.socket.is_pipe;
            match this.socket.poll_inbox(&mut this.place, cx, arms) {
                Poll::Ready(side) => drop(side),
                Poll::Pending if direct && this.socket.disarm() => {
                    let State::Waiting(buf, _) = mem::replace(&mut this.state, State::Taken) else {
                        unreachable!("matched above");
                    };
                    return this.go_direct(buf, cx);
                }
                Poll::Pending => return Poll::Pending,
            }
        }
        let State::Waiting(buf, _) = mem::replace(&mut this.state, State::Taken) else {
            unreachable!("matched above");
        };
        if room == 0 {
            return Poll::Ready((Err(no_room()), buf));
        }
        Poll::Ready(this.take(buf))
    }
}

impl<B: IoBufMut> Sealed for Read<'_, B> {}

impl<B: IoBufMut> Operation for Read<'_, B> {
    type Outcome = Self::Output;

    fn poll_cancel(&mut self, cx: &mut Context<'_>) -> Poll<Self::Outcome> {
        let room = match &self.state {
            State::Waiting(_, room) => *room,
            State::Direct(ticket) => {
                ticket.cancel();
                return self.poll_direct(cx);
            }
            State::Taken => panic!("polled after completion"),
        };
        let there = room > 0
            && match self.socket.poll_inbox(&mut self.place, cx, false) {
                Poll::Ready(side) => {
                    drop(side);
                    true
                }
                Poll::Pending => false,
            };
        let State::Waiting(buf, _) = mem::replace(&mut self.state, State::Taken) else {
            unreachable!("matched above");
        };
        if there {
            return Poll::Ready(self.take(buf));
        }
        self.socket.leave_inbox(&mut self.place);
        Poll::Ready((Err(cancelled()), buf))
    }
}

impl<B: IoBufMut> Drop for Read<'_, B> {
    #[inline]
    fn drop(&mut self) {
        // A direct receive is abandoned after this: what it brings goes to the next in line. Its
        // buffer may panic then.
        self.socket.leave_inbox(&mut self.place);
    }
}

/// Ends a direct receive whose buffer panics when it is asked where it is.
struct Lending<'a>(&'a Socket);

impl Drop for Lending<'_> {
    fn drop(&mut self) {
        self.0.direct_failed();
    }
}
