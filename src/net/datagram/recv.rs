//! `recv()`: the next message, where the kernel has put it.

use std::fmt;
use std::future::Future;
use std::io;
use std::marker::PhantomData;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};

use corering_buffers::Lease;

use super::Socket;
use super::control::Control;
use super::family::DatagramSocket;
use super::inbox::Entry;
use super::recv_from::truncated;
use crate::driver::budget;
use crate::io::waiters::Place;
use crate::io::{Operation, Sealed, cancelled};
use crate::op::Message;

/// A message that was received: its bytes, where the kernel has put them, and what came beside
/// them.
///
/// # Examples
///
/// ```
/// # use corering::net::UdpSocket;
/// async fn echo(socket: UdpSocket) -> std::io::Result<()> {
///     loop {
///         let datagram = socket.recv().await?;
///         if !datagram.truncated {
///             socket.send_to(datagram.payload, datagram.from).await.0?;
///         }
///     }
/// }
/// ```
#[derive(Debug)]
#[non_exhaustive]
pub struct Datagram<A> {
    /// The bytes, none in an empty message. While it lives, the kernel has one buffer less.
    pub payload: Lease,
    /// Who has sent it.
    pub from: A,
    /// What else came with it. Descriptors that nobody takes are closed with it.
    pub control: Control,
    /// The message was longer than `payload`: its end is lost.
    pub truncated: bool,
}

impl<A> Datagram<A> {
    fn new<S: DatagramSocket<Address = A>>(message: Message) -> Datagram<A> {
        Datagram {
            from: S::address(&message.name),
            truncated: truncated(&message),
            control: Control::received(message.flags, message.control),
            payload: message.payload,
        }
    }
}

/// The future of `recv()`.
///
/// # Cancellation
///
/// Dropped, it leaves the message to the next call.
#[must_use = "futures do nothing unless polled"]
pub struct RecvDatagram<'a, S> {
    socket: &'a Rc<Socket>,
    place: Option<Place>,
    family: PhantomData<fn() -> S>,
}

impl<'a, S: DatagramSocket> RecvDatagram<'a, S> {
    pub(crate) fn new(socket: &'a Rc<Socket>) -> Self {
        RecvDatagram {
            socket,
            place: None,
            family: PhantomData,
        }
    }

    fn poll_inbox(&mut self, cx: &mut Context<'_>, arm: bool) -> Poll<<Self as Future>::Output> {
        let mut side = ready!(self.socket.poll_inbox(&mut self.place, cx, arm));
        let entry = side.pop().expect("it is ready");
        self.socket.taken(side, &mut self.place);
        Poll::Ready(finish::<S>(entry))
    }
}

fn finish<S: DatagramSocket>(entry: Entry) -> io::Result<Datagram<S::Address>> {
    match entry {
        Ok(message) => Ok(Datagram::new::<S>(message)),
        Err(errno) => Err(io::Error::from_raw_os_error(errno)),
    }
}

impl<S: DatagramSocket> Future for RecvDatagram<'_, S> {
    type Output = io::Result<Datagram<S::Address>>;

    #[inline]
    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        if self.place.is_none() {
            ready!(budget::spend(cx));
        }
        self.poll_inbox(cx, true)
    }
}

impl<S> Sealed for RecvDatagram<'_, S> {}

impl<S: DatagramSocket> Operation for RecvDatagram<'_, S> {
    type Outcome = Self::Output;

    fn poll_cancel(&mut self, cx: &mut Context<'_>) -> Poll<Self::Outcome> {
        if let Poll::Ready(output) = self.poll_inbox(cx, false) {
            return Poll::Ready(output);
        }
        self.socket.leave_inbox(&mut self.place);
        Poll::Ready(Err(cancelled()))
    }
}

impl<S> Drop for RecvDatagram<'_, S> {
    #[inline]
    fn drop(&mut self) {
        self.socket.leave_inbox(&mut self.place);
    }
}

impl<S> fmt::Debug for RecvDatagram<'_, S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RecvDatagram").finish_non_exhaustive()
    }
}

impl Socket {
    /// Empties the inbox.
    pub(super) fn unread<S: DatagramSocket>(&self) -> Vec<Datagram<S::Address>> {
        let mut side = self.recv.borrow_mut();
        let entries = std::iter::from_fn(|| side.pop());
        entries.flatten().map(Datagram::new::<S>).collect()
    }
}
