//! TCP listeners.

use std::fmt;
use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};

use super::socket::{TcpSocket, ip};
use super::stream::TcpStream;
use crate::driver::{Driver, Op};
use crate::io::{Operation, Sealed, cancelled};
use crate::net::listener::{Accepting, Listener};
use crate::net::lookup::{ToSocketAddrs, first_that};
use crate::net::stream::Socket;
use crate::op::{self, Acceptor};
use crate::ring::Fd;

/// Connections that wait in the kernel unless [`TcpSocket::listen`] says otherwise.
const BACKLOG: u32 = 1024;

/// A TCP socket that accepts connections.
///
/// While somebody waits in [`accept`](TcpListener::accept) one multishot accept is armed. What it
/// brings belongs to the listener: at most 64 connections are queued, the others stay in the
/// kernel's backlog.
///
/// # Cancellation
///
/// Dropping an `accept()` loses no connection: the next call returns it. Dropping the listener
/// closes it, with the connections that are still queued.
///
/// # Examples
///
/// ```
/// use corering::net::{TcpListener, TcpStream};
///
/// # fn main() -> std::io::Result<()> {
/// # corering::Runtime::new()?.block_on(async {
/// let listener = TcpListener::bind("127.0.0.1:0").await?;
/// let client = TcpStream::connect(listener.local_addr()?).await?;
/// let (server, peer) = listener.accept().await?;
/// assert_eq!(peer, client.local_addr()?);
/// # drop(server);
/// # Ok(()) })
/// # }
/// ```
pub struct TcpListener(Rc<Listener>);

impl TcpListener {
    pub(super) fn new(listener: Rc<Listener>) -> TcpListener {
        TcpListener(listener)
    }

    /// Listens at the first of the host's addresses that can be bound, with `SO_REUSEADDR` and a
    /// backlog of 1,024. [`TcpSocket`] has more options.
    ///
    /// # Errors
    ///
    /// `EADDRINUSE`, `EADDRNOTAVAIL`, `EACCES` (a port below 1,024), `EMFILE`; those of
    /// [`lookup_host`](crate::net::lookup_host); `NotConnected` if no runtime runs on this thread.
    pub async fn bind(address: impl ToSocketAddrs) -> io::Result<TcpListener> {
        first_that(address, async |address| {
            let socket = TcpSocket::for_address(&address)?;
            socket.reuse_address()?.bind(address)?.listen(BACKLOG)
        })
        .await
    }

    /// Accepts a connection: the stream and the peer's address.
    ///
    /// Connections whose peer is gone already are skipped, and so are the errors of single
    /// connections (`ECONNABORTED`, …). When no descriptor is left the connection stays in the
    /// backlog and is tried again after 1 to 64 ms.
    ///
    /// # Errors
    ///
    /// `ECANCELED` if the runtime has ended; others mean that the socket cannot listen.
    ///
    /// # Cancellation
    ///
    /// Dropping the future loses nothing: a connection that it would have got is returned by the
    /// next call.
    ///
    /// # Kernel
    ///
    /// `IORING_OP_ACCEPT` with `IORING_ACCEPT_MULTISHOT`, since 5.19.
    ///
    /// # Source
    ///
    /// [`accept(2)`](https://man7.org/linux/man-pages/man2/accept.2.html)
    #[doc(alias = "IORING_OP_ACCEPT")]
    pub fn accept(&self) -> Accept<'_> {
        Accept {
            accepting: self.0.accepting(),
            driver: self.0.driver(),
        }
    }

    /// Stops listening. Returns the connections that were accepted and that nobody has taken, with
    /// the peers' addresses; those that are still in the kernel's backlog are reset.
    ///
    /// # Errors
    ///
    /// None that the network causes: what `close(2)` reports.
    ///
    /// # Cancellation
    ///
    /// Dropping the future closes the listener as dropping the listener does.
    ///
    /// # Source
    ///
    /// [`close(2)`](https://man7.org/linux/man-pages/man2/close.2.html)
    pub async fn close(self) -> io::Result<Vec<(TcpStream, SocketAddr)>> {
        let listener = Rc::clone(&self.0);
        let queued = listener.close().await;
        let driver = Rc::clone(listener.driver());
        let untaken = queued.into_iter().filter_map(|fd| accepted(fd, &driver));
        let untaken = untaken.collect();
        drop(self);
        // The accept has ended, so nobody else holds the socket.
        let closed = match Rc::try_unwrap(listener) {
            Ok(listener) => op::Close(listener.into_fd()).submit(&driver).await,
            Err(_) => Ok(()),
        };
        closed.and(untaken)
    }

    /// The address that the listener is bound to.
    ///
    /// # Errors
    ///
    /// As [`getsockname(2)`](https://man7.org/linux/man-pages/man2/getsockname.2.html).
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        ip(self.0.fd().getsockname()?)
    }

    /// Takes over a listener of std's. It is switched to blocking, which the ring needs to wait for
    /// it.
    ///
    /// # Errors
    ///
    /// `NotConnected`: no runtime runs on this thread.
    pub fn from_std(listener: std::net::TcpListener) -> io::Result<TcpListener> {
        let driver = Driver::current()?;
        listener.set_nonblocking(false)?;
        let fd = Fd::from(OwnedFd::from(listener));
        Ok(TcpListener(Listener::new(fd, driver)))
    }

    /// A listener of std's for the same socket (a duplicate of the descriptor). Connections that
    /// are queued here are closed.
    ///
    /// # Errors
    ///
    /// `EMFILE`: no descriptor is left.
    pub fn into_std(self) -> io::Result<std::net::TcpListener> {
        self.0
            .fd()
            .as_fd()
            .try_clone_to_owned()
            .map(std::net::TcpListener::from)
    }
}

impl Drop for TcpListener {
    fn drop(&mut self) {
        self.0.stop();
    }
}

impl AsFd for TcpListener {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.fd().as_fd()
    }
}

impl fmt::Debug for TcpListener {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("TcpListener").field(&self.as_fd()).finish()
    }
}

/// The future of [`TcpListener::accept`].
///
/// # Cancellation
///
/// Dropped, it leaves the connection to the next `accept`.
#[must_use = "futures do nothing unless polled"]
pub struct Accept<'a> {
    accepting: Accepting<'a>,
    driver: &'a Rc<Driver>,
}

impl Future for Accept<'_> {
    type Output = io::Result<(TcpStream, SocketAddr)>;

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
fn accepted(fd: Fd, driver: &Rc<Driver>) -> Option<io::Result<(TcpStream, SocketAddr)>> {
    // A multishot accept has one place for all addresses, so it is asked for afterwards.
    match fd.getpeername() {
        Ok(peer) => {
            let stream = TcpStream::new(Socket::new(fd, Rc::clone(driver)));
            Some(ip(peer).map(|peer| (stream, peer)))
        }
        // The peer has reset the connection in the backlog: nobody is left to talk to.
        Err(e) if e.raw_os_error() == Some(libc::ENOTCONN) => None,
        Err(e) => Some(Err(e)),
    }
}

impl Sealed for Accept<'_> {}

impl Operation for Accept<'_> {
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

impl fmt::Debug for Accept<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Accept").finish_non_exhaustive()
    }
}
