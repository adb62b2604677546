//! Listeners for Unix sockets of records.

use std::fmt;
use std::future::Future;
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::SocketAddr;
use std::path::Path;
use std::rc::Rc;

use socket2::{SockAddr, Type};

use super::address::{of_path, of_std, to_std};
use super::listener::listen;
use super::seqpacket::UnixSeqpacket;
use crate::net::accept::{self, Accept};
use crate::net::accept_within::AcceptWithin;
use crate::net::limit::ConnectionLimit;
use crate::net::listener::Listener;
use crate::op::Acceptor;

/// A Unix socket that accepts connections of records (`SOCK_SEQPACKET`).
///
/// As [`UnixListener`](crate::net::UnixListener) in everything but what it accepts.
///
/// # Examples
///
/// ```
/// use corering::net::{UnixSeqpacket, UnixSeqpacketListener};
///
/// # fn main() -> std::io::Result<()> {
/// # let dir = tempfile::tempdir()?;
/// # let path = dir.path().join("socket");
/// # corering::Runtime::new()?.block_on(async {
/// let listener = UnixSeqpacketListener::bind(&path)?;
/// let client = UnixSeqpacket::connect(&path).await?;
/// let (server, _address) = listener.accept().await?;
/// client.send("a record").await.0?;
/// let record = server.recv().await?.expect("the client is there");
/// assert_eq!(&*record.payload, b"a record");
/// # Ok(()) })
/// # }
/// ```
pub struct UnixSeqpacketListener(Rc<Listener>);

impl UnixSeqpacketListener {
    /// Listens at `path`, which must not exist.
    ///
    /// # Errors
    ///
    /// As [`UnixListener::bind`](crate::net::UnixListener::bind).
    pub fn bind(path: impl AsRef<Path>) -> io::Result<UnixSeqpacketListener> {
        listen(Type::SEQPACKET, &of_path(path.as_ref())?).map(UnixSeqpacketListener)
    }

    /// Listens at an address of std's, which may be an abstract name.
    ///
    /// # Errors
    ///
    /// As [`bind`](UnixSeqpacketListener::bind); `InvalidInput` for an address without a name.
    pub fn bind_addr(address: &SocketAddr) -> io::Result<UnixSeqpacketListener> {
        let address: SockAddr = of_std(address)?;
        listen(Type::SEQPACKET, &address).map(UnixSeqpacketListener)
    }

    /// Accepts a connection, with the peer's address, which mostly has no name.
    ///
    /// # Errors
    ///
    /// As [`TcpListener::accept`](crate::net::TcpListener::accept).
    ///
    /// # Cancellation
    ///
    /// Dropping the future loses nothing: a connection that it would have got is returned by the
    /// next call.
    pub fn accept(&self) -> Accept<'_, UnixSeqpacket> {
        Accept::new(&self.0)
    }

    /// Accepts a connection, or gives `None` once `stop` is done: a shutdown signal, a
    /// cancellation.
    ///
    /// When `stop` is done nothing more is accepted, and what the kernel has accepted until then is
    /// still returned, a connection for each call, before `None` is. What is in the backlog stays
    /// there; [`close`](UnixSeqpacketListener::close) resets it.
    ///
    /// `stop` is polled first, in every call, so it has to be ready again once it was: clone it, or
    /// make it anew for each call.
    ///
    /// # Errors
    ///
    /// As [`accept`](UnixSeqpacketListener::accept).
    ///
    /// # Cancellation
    ///
    /// As [`accept`](UnixSeqpacketListener::accept).
    pub async fn accept_until(
        &self,
        stop: impl Future,
    ) -> io::Result<Option<(UnixSeqpacket, SocketAddr)>> {
        self.accept().until(stop).await
    }

    /// Accepts a connection when `limit` allows one more: the stream, the peer's address, and the
    /// permit, which counts as a connection until it is dropped. Move it into the connection's
    /// task.
    ///
    /// The permit is taken first. While there is none the kernel is asked for nothing, so the
    /// connections that come wait in the backlog, cost nothing, and are accepted in order as soon
    /// as others end. Nothing is accepted ahead: while somebody waits one single accept is armed.
    /// An [`accept`](UnixSeqpacketListener::accept) on the same listener has no limit, and accepts
    /// ahead.
    ///
    /// # Errors
    ///
    /// As [`accept`](UnixSeqpacketListener::accept).
    ///
    /// # Cancellation
    ///
    /// Dropping the future gives the permit back. A connection that it would have got is returned
    /// by the next call.
    pub fn accept_within<'a>(
        &'a self,
        limit: &'a ConnectionLimit,
    ) -> AcceptWithin<'a, UnixSeqpacket> {
        AcceptWithin::new(&self.0, limit)
    }

    /// Stops listening. Returns the connections that were accepted and that nobody has taken, with
    /// the peers' addresses.
    ///
    /// # Errors
    ///
    /// What `close(2)` reports.
    ///
    /// # Cancellation
    ///
    /// Dropping the future closes the listener as dropping the listener does.
    pub async fn close(self) -> io::Result<Vec<(UnixSeqpacket, SocketAddr)>> {
        accept::close(Rc::clone(&self.0), self).await
    }

    /// The name that the listener is bound to.
    ///
    /// # Errors
    ///
    /// As [`getsockname(2)`](https://man7.org/linux/man-pages/man2/getsockname.2.html).
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        to_std(&self.0.fd().getsockname()?)
    }
}

impl Drop for UnixSeqpacketListener {
    fn drop(&mut self) {
        self.0.stop();
    }
}

impl AsFd for UnixSeqpacketListener {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.fd().as_fd()
    }
}

impl fmt::Debug for UnixSeqpacketListener {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let fd = self.as_fd();
        f.debug_tuple("UnixSeqpacketListener").field(&fd).finish()
    }
}
