//! Unix listeners.

use std::fmt;
use std::future::Future;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::SocketAddr;
use std::path::Path;
use std::rc::Rc;

use socket2::{Domain, SockAddr, Type};

use super::address::{of_path, of_std, to_std};
use super::stream::UnixStream;
use crate::driver::Driver;
use crate::net::accept::{self, Accept};
use crate::net::accept_within::AcceptWithin;
use crate::net::limit::ConnectionLimit;
use crate::net::listener::Listener;
use crate::op::Acceptor;
use crate::ring::Fd;

/// Connections that the kernel keeps while nobody accepts them; `net.core.somaxconn` caps it.
const BACKLOG: i32 = 1024;

/// A new socket of `kind` that listens at `address`.
pub(super) fn listen(kind: Type, address: &SockAddr) -> io::Result<Rc<Listener>> {
    let driver = Driver::current()?;
    let fd = driver.with_ring(|ring| ring.socket(Domain::UNIX, kind, None))?;
    fd.bind(address)?;
    fd.listen(BACKLOG)?;
    Ok(Listener::new(fd, driver))
}

/// A Unix stream socket that accepts connections.
///
/// As [`TcpListener`](crate::net::TcpListener) in everything but its names.
///
/// The file that a path makes stays when the listener is dropped or the process ends: remove it
/// before binding again, or `EADDRINUSE` is the answer. Who connects to a file that nobody listens
/// at is refused (`ECONNREFUSED`), so a server that starts may try that first. An abstract name
/// ([`bind_addr`](UnixListener::bind_addr)) leaves nothing behind.
///
/// # Examples
///
/// ```
/// use corering::net::{UnixListener, UnixStream};
///
/// # fn main() -> std::io::Result<()> {
/// # let dir = tempfile::tempdir()?;
/// # let path = dir.path().join("socket");
/// # corering::Runtime::new()?.block_on(async {
/// let listener = UnixListener::bind(&path)?;
/// let client = UnixStream::connect(&path).await?;
/// let (server, _address) = listener.accept().await?;
/// client.write_all("hello").await.0?;
/// assert_eq!(server.recv().await?.as_deref(), Some(&b"hello"[..]));
/// # Ok(()) })
/// # }
/// ```
pub struct UnixListener(Rc<Listener>);

impl UnixListener {
    /// Listens at `path`, which must not exist.
    ///
    /// # Errors
    ///
    /// `EADDRINUSE`: the path exists. `ENOENT`, `ENOTDIR`, `EACCES`, `EROFS`: its directory.
    /// `InvalidInput`: it is empty, longer than 107 bytes, or has a NUL in it. `EMFILE`;
    /// `NotConnected` if no runtime runs on this thread.
    ///
    /// # Source
    ///
    /// [`unix(7)`](https://man7.org/linux/man-pages/man7/unix.7.html)
    pub fn bind(path: impl AsRef<Path>) -> io::Result<UnixListener> {
        listen(Type::STREAM, &of_path(path.as_ref())?).map(UnixListener)
    }

    /// Listens at an address of std's, which may be an abstract name.
    ///
    /// # Errors
    ///
    /// As [`bind`](UnixListener::bind); `InvalidInput` for an address without a name.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::os::linux::net::SocketAddrExt;
    /// use std::os::unix::net::SocketAddr;
    /// use corering::net::UnixListener;
    ///
    /// # fn main() -> std::io::Result<()> {
    /// # corering::Runtime::new()?.block_on(async {
    /// let name = format!("example-{}", std::process::id());
    /// let address = SocketAddr::from_abstract_name(&name)?;
    /// let listener = UnixListener::bind_addr(&address)?;
    /// assert_eq!(listener.local_addr()?.as_abstract_name(), Some(name.as_bytes()));
    /// # Ok(()) })
    /// # }
    /// ```
    pub fn bind_addr(address: &SocketAddr) -> io::Result<UnixListener> {
        listen(Type::STREAM, &of_std(address)?).map(UnixListener)
    }

    /// Accepts a connection: the stream and the peer's address, which mostly has no name.
    ///
    /// # Errors
    ///
    /// As [`TcpListener::accept`](crate::net::TcpListener::accept).
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
    pub fn accept(&self) -> Accept<'_, UnixStream> {
        Accept::new(&self.0)
    }

    /// Accepts a connection, or gives `None` once `stop` is done: a shutdown signal, a
    /// cancellation.
    ///
    /// When `stop` is done nothing more is accepted, and what the kernel has accepted until then is
    /// still returned, a connection for each call, before `None` is. What is in the backlog stays
    /// there; [`close`](UnixListener::close) resets it.
    ///
    /// `stop` is polled first, in every call, so it has to be ready again once it was: clone it, or
    /// make it anew for each call.
    ///
    /// # Errors
    ///
    /// As [`accept`](UnixListener::accept).
    ///
    /// # Cancellation
    ///
    /// As [`accept`](UnixListener::accept).
    pub async fn accept_until(
        &self,
        stop: impl Future,
    ) -> io::Result<Option<(UnixStream, SocketAddr)>> {
        self.accept().until(stop).await
    }

    /// Accepts a connection when `limit` allows one more: the stream, the peer's address, and the
    /// permit, which counts as a connection until it is dropped. Move it into the connection's
    /// task.
    ///
    /// The permit is taken first. While there is none the kernel is asked for nothing, so the
    /// connections that come wait in the backlog, cost nothing, and are accepted in order as soon
    /// as others end. Nothing is accepted ahead: while somebody waits one single accept is armed.
    /// An [`accept`](UnixListener::accept) on the same listener has no limit, and accepts ahead.
    ///
    /// # Errors
    ///
    /// As [`accept`](UnixListener::accept).
    ///
    /// # Cancellation
    ///
    /// Dropping the future gives the permit back. A connection that it would have got is returned
    /// by the next call.
    pub fn accept_within<'a>(&'a self, limit: &'a ConnectionLimit) -> AcceptWithin<'a, UnixStream> {
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
    ///
    /// # Source
    ///
    /// [`close(2)`](https://man7.org/linux/man-pages/man2/close.2.html)
    pub async fn close(self) -> io::Result<Vec<(UnixStream, SocketAddr)>> {
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

    /// Takes over a listener of std's. It is switched to blocking, which the ring needs to wait for
    /// it.
    ///
    /// # Errors
    ///
    /// `NotConnected`: no runtime runs on this thread.
    pub fn from_std(listener: std::os::unix::net::UnixListener) -> io::Result<UnixListener> {
        let driver = Driver::current()?;
        listener.set_nonblocking(false)?;
        let fd = Fd::from(OwnedFd::from(listener));
        Ok(UnixListener(Listener::new(fd, driver)))
    }

    /// A listener of std's for the same socket (a duplicate of the descriptor). Connections that
    /// are queued here are closed.
    ///
    /// # Errors
    ///
    /// `EMFILE`: no descriptor is left.
    pub fn into_std(self) -> io::Result<std::os::unix::net::UnixListener> {
        let fd = self.as_fd().try_clone_to_owned();
        fd.map(std::os::unix::net::UnixListener::from)
    }
}

impl Drop for UnixListener {
    fn drop(&mut self) {
        self.0.stop();
    }
}

impl AsFd for UnixListener {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.fd().as_fd()
    }
}

impl fmt::Debug for UnixListener {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("UnixListener").field(&self.as_fd()).finish()
    }
}
