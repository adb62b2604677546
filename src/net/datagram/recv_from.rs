//! `recv_from(buf)` and `peek(buf)`: a message copied from the inbox.

use std::fmt;
use std::future::Future;
use std::io;
use std::marker::PhantomData;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};

use corering_buffers::{BufResult, Fill, IoBufMut};

use super::Socket;
use super::control::Control;
use super::family::DatagramSocket;
use crate::driver::budget;
use crate::io::waiters::Place;
use crate::io::{Operation, Sealed, cancelled};
use crate::op::Message;

/// What is known of a message whose bytes are in a buffer.
#[derive(Debug)]
#[non_exhaustive]
pub struct Received<A> {
    /// How many bytes are in the buffer. 0 of an empty message, too.
    pub len: usize,
    /// Who has sent it.
    pub from: A,
    /// What else came with it; nothing if it was peeked at. Descriptors that nobody takes are
    /// closed with it.
    pub control: Control,
    /// The message was longer than the buffer: its end is lost, unless it was peeked at.
    pub truncated: bool,
}

/// The future of `recv_from(buf)`.
///
/// # Cancellation
///
/// Dropped, it frees its buffer and leaves the message to the next call.
#[must_use = "futures do nothing unless polled"]
pub struct RecvFrom<'a, S, B: IoBufMut>(Copying<'a, S, B>);

/// The future of `peek(buf)`.
///
/// # Cancellation
///
/// Dropped, it has taken nothing.
#[must_use = "futures do nothing unless polled"]
pub struct Peek<'a, S, B: IoBufMut>(Copying<'a, S, B>);

struct Copying<'a, S, B: IoBufMut> {
    socket: &'a Rc<Socket>,
    place: Option<Place>,
    /// `None` once it is over.
    buf: Option<B>,
    family: PhantomData<fn() -> S>,
}

// The buffer is never pinned here: it is not lent to the kernel.
impl<S, B: IoBufMut> Unpin for Copying<'_, S, B> {}

type Output<S, B> = BufResult<Received<<S as DatagramSocket>::Address>, B>;

impl<'a, S: DatagramSocket, B: IoBufMut> Copying<'a, S, B> {
    fn new(socket: &'a Rc<Socket>, buf: B) -> Self {
        Copying {
            socket,
            place: None,
            buf: Some(buf),
            family: PhantomData,
        }
    }

    fn poll(
        &mut self,
        cx: &mut Context<'_>,
        arm: bool,
        take: impl FnOnce(&mut Self, Fill<'_, B>) -> io::Result<Received<S::Address>>,
    ) -> Poll<Output<S, B>> {
        drop(ready!(self.socket.poll_inbox(&mut self.place, cx, arm)));
        let mut buf = self.buf.take().expect("polled after completion");
        // User code, so not while the inbox is borrowed, and before anything is taken from it.
        let out = Fill::new(&mut buf);
        let result = take(self, out);
        Poll::Ready((result, buf))
    }

    /// Takes the oldest message, with as much of it as the buffer has room for.
    fn take(&mut self, mut out: Fill<'_, B>) -> io::Result<Received<S::Address>> {
        let mut side = self.socket.recv.borrow_mut();
        let entry = side.pop();
        self.socket.taken(side, &mut self.place);
        let Some(entry) = entry else {
            return Err(taken_meanwhile());
        };
        let message = entry.map_err(io::Error::from_raw_os_error)?;
        let put = out.put(&message.payload);
        let truncated = truncated(&message) || put < message.payload.len();
        Ok(Received {
            len: out.finish(),
            from: S::address(&message.name),
            control: Control::received(message.flags, message.control),
            truncated,
        })
    }

    /// Looks at the oldest message. An error is taken.
    fn look(&mut self, mut out: Fill<'_, B>) -> io::Result<Received<S::Address>> {
        let side = self.socket.recv.borrow_mut();
        let Some(Ok(message)) = side.entries.front() else {
            drop(side);
            return self.take(out);
        };
        let put = out.put(&message.payload);
        let truncated = truncated(message) || put < message.payload.len();
        let from = S::address(&message.name);
        drop(side);
        self.socket.leave_inbox(&mut self.place);
        Ok(Received {
            len: out.finish(),
            from,
            control: Control::default(),
            truncated,
        })
    }

    /// Ends it without a message.
    fn give_up(&mut self) -> Poll<Output<S, B>> {
        self.socket.leave_inbox(&mut self.place);
        let buf = self.buf.take().expect("polled after completion");
        Poll::Ready((Err(cancelled()), buf))
    }
}

/// A buffer that takes the message itself while it is asked where it is: there is no other way.
#[cold]
fn taken_meanwhile() -> io::Error {
    io::Error::other("the buffer has taken the message")
}

/// Whether the kernel has cut the message.
pub(super) fn truncated(message: &Message) -> bool {
    message.flags & libc::MSG_TRUNC != 0
}

impl<S, B: IoBufMut> Drop for Copying<'_, S, B> {
    #[inline]
    fn drop(&mut self) {
        self.socket.leave_inbox(&mut self.place);
    }
}

impl<'a, S: DatagramSocket, B: IoBufMut> RecvFrom<'a, S, B> {
    pub(crate) fn new(socket: &'a Rc<Socket>, buf: B) -> Self {
        RecvFrom(Copying::new(socket, buf))
    }
}

impl<'a, S: DatagramSocket, B: IoBufMut> Peek<'a, S, B> {
    pub(crate) fn new(socket: &'a Rc<Socket>, buf: B) -> Self {
        Peek(Copying::new(socket, buf))
    }
}

impl<S: DatagramSocket, B: IoBufMut> Future for RecvFrom<'_, S, B> {
    type Output = Output<S, B>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        if self.0.place.is_none() {
            ready!(budget::spend(cx));
        }
        self.0.poll(cx, true, Copying::take)
    }
}

impl<S: DatagramSocket, B: IoBufMut> Future for Peek<'_, S, B> {
    type Output = Output<S, B>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        if self.0.place.is_none() {
            ready!(budget::spend(cx));
        }
        self.0.poll(cx, true, Copying::look)
    }
}

impl<S, B: IoBufMut> Sealed for RecvFrom<'_, S, B> {}
impl<S, B: IoBufMut> Sealed for Peek<'_, S, B> {}

impl<S: DatagramSocket, B: IoBufMut> Operation for RecvFrom<'_, S, B> {
    type Outcome = Self::Output;

    fn poll_cancel(&mut self, cx: &mut Context<'_>) -> Poll<Self::Outcome> {
        match self.0.poll(cx, false, Copying::take) {
            Poll::Pending => self.0.give_up(),
            ready => ready,
        }
    }
}

impl<S: DatagramSocket, B: IoBufMut> Operation for Peek<'_, S, B> {
    type Outcome = Self::Output;

    fn poll_cancel(&mut self, cx: &mut Context<'_>) -> Poll<Self::Outcome> {
        match self.0.poll(cx, false, Copying::look) {
            Poll::Pending => self.0.give_up(),
            ready => ready,
        }
    }
}

impl<S, B: IoBufMut> fmt::Debug for RecvFrom<'_, S, B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RecvFrom").finish_non_exhaustive()
    }
}

impl<S, B: IoBufMut> fmt::Debug for Peek<'_, S, B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Peek").finish_non_exhaustive()
    }
}
