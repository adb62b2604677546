//! `accept()` and `accept_until()`, which all listeners share, and what their connections become.

use std::fmt;
use std::future::{Future, poll_fn};
use std::io;
use std::marker::PhantomData;
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::task::{Context, Poll, ready};

use socket2::SockAddr;

use super::TcpStream;
use super::listener::{Accepting, Ahead, Listener};
use super::stream::{Socket, StreamSocket};
use crate::driver::{Driver, Op};
use crate::io::{Operation, Sealed, cancelled};
use crate::op;
use crate::ring::Fd;

/// A connection and its peer's address.
type Accepted<S> = io::Result<(S, <S as Connection>::Address)>;

/// What a listener accepts. Implemented by the sockets of this crate and by nothing else.
#[allow(private_interfaces, reason = "sealed")]
pub trait Connection: Sized {
    /// What its sockets are called.
    type Address;

    #[doc(hidden)]
    fn of_accepted(fd: Fd, driver: Rc<Driver>) -> io::Result<Self>;

    #[doc(hidden)]
    fn address(address: &SockAddr) -> io::Result<Self::Address>;
}

#[allow(private_interfaces, reason = "sealed")]
impl<S: StreamSocket> Connection for S {
    type Address = <S as StreamSocket>::Address;

    #[inline]
    fn of_accepted(fd: Fd, driver: Rc<Driver>) -> io::Result<S> {
        Ok(S::of(Socket::new(fd, driver)))
    }

    fn address(address: &SockAddr) -> io::Result<Self::Address> {
        <S as StreamSocket>::address(address)
    }
}

/// The future of a listener's `accept`: the stream and its peer's address.
///
/// # Cancellation
///
/// Dropped, it leaves the connection to the next `accept`.
#[must_use = "futures do nothing unless polled"]
pub struct Accept<'a, S = TcpStream> {
    accepting: Accepting<'a>,
    driver: &'a Rc<Driver>,
    _becomes: PhantomData<fn() -> S>,
}

impl<'a, S: Connection> Accept<'a, S> {
    pub(super) fn new(listener: &'a Rc<Listener>) -> Accept<'a, S> {
        Accept {
            accepting: listener.accepting(Ahead::All),
            driver: listener.driver(),
            _becomes: PhantomData,
        }
    }

    /// A future that has the kernel accept one connection, and nothing ahead of it.
    pub(super) fn single(listener: &'a Rc<Listener>) -> Accept<'a, S> {
        Accept {
            accepting: listener.accepting(Ahead::Nothing),
            ..Accept::new(listener)
        }
    }

    /// What the kernel has accepted already; `None` when that was all.
    pub(super) fn poll_rest(&mut self, cx: &Context<'_>) -> Poll<Option<Accepted<S>>> {
        while let Some(fd) = ready!(self.accepting.poll_rest(cx)) {
            let accepted = accepted(fd, self.driver);
            if accepted.is_some() {
                return Poll::Ready(accepted);
            }
        }
        Poll::Ready(None)
    }

    /// Accepts until `stop` is done, and then what the kernel has accepted already.
    pub(super) async fn until(mut self, stop: impl Future) -> io::Result<Option<(S, S::Address)>> {
        let mut stop = pin!(stop);
        let going_on = poll_fn(|cx| {
            // First, or a listener that always has a connection would never stop.
            if stop.as_mut().poll(cx).is_ready() {
                return Poll::Ready(None);
            }
            Pin::new(&mut self).poll(cx).map(Some)
        });
        match going_on.await {
            Some(accepted) => accepted.map(Some),
            None => poll_fn(|cx| self.poll_rest(cx)).await.transpose(),
        }
    }
}

impl<S: Connection> Future for Accept<'_, S> {
    type Output = io::Result<(S, S::Address)>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        loop {
            let fd = ready!(self.accepting.poll(cx))?;
            if let Some(accepted) = accepted(fd, self.driver) {
                return Poll::Ready(accepted);
            }
        }
    }
}

/// A connection and its peer's address. `None` if the peer is gone already.
fn accepted<S: Connection>(fd: Fd, driver: &Rc<Driver>) -> Option<Accepted<S>> {
    // A multishot accept has one place for all addresses, so it is asked for afterwards.
    match fd.getpeername() {
        Ok(peer) => {
            let connection = S::of_accepted(fd, Rc::clone(driver));
            Some(connection.and_then(|it| Ok((it, S::address(&peer)?))))
        }
        // The peer has reset the connection in the backlog: nobody is left to talk to.
        Err(e) if e.raw_os_error() == Some(libc::ENOTCONN) => None,
        Err(e) => Some(Err(e)),
    }
}

/// Closes a listener that `owner` owns, and hands out the connections that nobody has taken.
pub(super) async fn close<S: Connection>(
    listener: Rc<Listener>,
    owner: impl Sized,
) -> io::Result<Vec<(S, S::Address)>> {
    let queued = listener.close().await;
    let driver = Rc::clone(listener.driver());
    let untaken = queued.into_iter().filter_map(|fd| accepted(fd, &driver));
    let untaken = untaken.collect();
    drop(owner);
    // The accept has ended, so nobody else holds the socket.
    let closed = match Rc::try_unwrap(listener) {
        Ok(listener) => op::Close(listener.into_fd()).submit(&driver).await,
        Err(_) => Ok(()),
    };
    closed.and(untaken)
}

impl<S> Sealed for Accept<'_, S> {}

impl<S: Connection> Operation for Accept<'_, S> {
    type Outcome = Self::Output;

    fn poll_cancel(&mut self, _: &mut Context<'_>) -> Poll<Self::Outcome> {
        while let Some(fd) = self.accepting.cancel() {
            if let Some(accepted) = accepted(fd, self.driver) {
                return Poll::Ready(accepted);
            }
        }
        Poll::Ready(Err(cancelled()))
    }
}

impl<S> fmt::Debug for Accept<'_, S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Accept").finish_non_exhaustive()
    }
}
