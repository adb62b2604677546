//! TCP listeners.

use std::fmt;
use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::rc::Rc;

use super::socket::{TcpSocket, ip};
use super::stream::TcpStream;
use crate::driver::Driver;
use crate::net::accept::{self, Accept};
use crate::net::accept_within::AcceptWithin;
use crate::net::limit::ConnectionLimit;
use crate::net::listener::Listener;
use crate::net::lookup::{ToSocketAddrs, first_that};
use crate::op::Acceptor;
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
        Accept::new(&self.0)
    }

    /// Accepts a connection, or gives `None` once `stop` is done: a shutdown signal, a
    /// cancellation.
    ///
    /// When `stop` is done nothing more is accepted, and what the kernel has accepted until then is
    /// still returned, a connection for each call, before `None` is. What is in the backlog stays
    /// there; [`close`](TcpListener::close) resets it.
    ///
    /// `stop` is polled first, in every call, so it has to be ready again once it was: clone it, or
    /// make it anew for each call.
    ///
    /// # Errors
    ///
    /// As [`accept`](TcpListener::accept).
    ///
    /// # Cancellation
    ///
    /// As [`accept`](TcpListener::accept).
    ///
    /// # Examples
    ///
    /// ```
    /// use corering::net::{TcpListener, TcpStream};
    /// use corering::sync::watch;
    ///
    /// # fn main() -> std::io::Result<()> {
    /// # corering::Runtime::new()?.block_on(async {
    /// let listener = TcpListener::bind("127.0.0.1:0").await?;
    /// let client = TcpStream::connect(listener.local_addr()?).await?;
    /// let (stop, stopping) = watch::channel(false);
    /// let mut served = 0;
    /// loop {
    ///     let mut stopping = stopping.clone();
    ///     let stopped = async move { stopping.wait_for(|stop| *stop).await.is_ok() };
    ///     let Some((stream, _peer)) = listener.accept_until(stopped).await? else {
    ///         break;
    ///     };
    ///     served += 1;
    ///     stop.send(true).expect("somebody listens"); // normally in another task
    ///     # drop(stream);
    /// }
    /// assert_eq!(served, 1);
    /// # Ok(()) })
    /// # }
    /// ```
    pub async fn accept_until(
        &self,
        stop: impl Future,
    ) -> io::Result<Option<(TcpStream, SocketAddr)>> {
        self.accept().until(stop).await
    }

    /// Accepts a connection when `limit` allows one more: the stream, the peer's address, and the
    /// permit, which counts as a connection until it is dropped. Move it into the connection's
    /// task.
    ///
    /// The permit is taken first. While there is none the kernel is asked for nothing, so the
    /// connections that come wait in the backlog, cost nothing, and are accepted in order as soon
    /// as others end. Nothing is accepted ahead: while somebody waits one single accept is armed.
    /// An [`accept`](TcpListener::accept) on the same listener has no limit, and accepts ahead.
    ///
    /// # Errors
    ///
    /// As [`accept`](TcpListener::accept).
    ///
    /// # Cancellation
    ///
    /// Dropping the future gives the permit back. A connection that it would have got is returned
    /// by the next call.
    ///
    /// # Kernel
    ///
    /// `IORING_OP_ACCEPT`, since 5.5.
    ///
    /// # Examples
    ///
    /// ```
    /// use corering::net::{ConnectionLimit, TcpListener, TcpStream};
    ///
    /// # fn main() -> std::io::Result<()> {
    /// # corering::Runtime::new()?.block_on(async {
    /// let listener = TcpListener::bind("127.0.0.1:0").await?;
    /// # let client = TcpStream::connect(listener.local_addr()?).await?;
    /// let limit = ConnectionLimit::new(10_000);
    /// let (stream, _peer, permit) = listener.accept_within(&limit).await?;
    /// let connection = corering::spawn(async move {
    ///     let _permit = permit; // given back when the task ends
    ///     stream.write_all("hello").await.0
    /// });
    /// # connection.await.unwrap()?;
    /// # Ok(()) })
    /// # }
    /// ```
    pub fn accept_within<'a>(&'a self, limit: &'a ConnectionLimit) -> AcceptWithin<'a> {
        AcceptWithin::new(&self.0, limit)
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
        accept::close(Rc::clone(&self.0), self).await
    }

    /// The address that the listener is bound to.
    ///
    /// # Errors
    ///
    /// As [`getsockname(2)`](https://man7.org/linux/man-pages/man2/getsockname.2.html).
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        ip(&self.0.fd().getsockname()?)
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
