//! A TCP socket before it listens or connects.

use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::rc::Rc;

use socket2::{Domain, Protocol, SockAddr, Type};

use super::connect::Connect;
use super::listener::TcpListener;
use crate::driver::{Driver, Op};
use crate::net::listener::Listener;
use crate::op;
use crate::ring::Fd;

/// A TCP socket that does not listen or connect yet, so that options can be set on it.
///
/// The methods without a value switch an option on and give the socket back, to be chained.
///
/// # Examples
///
/// ```
/// use corering::net::TcpSocket;
///
/// # fn main() -> std::io::Result<()> {
/// # corering::Runtime::new()?.block_on(async {
/// let listener = TcpSocket::new_v4()?
///     .reuse_port()?
///     .bind("127.0.0.1:0".parse().unwrap())?
///     .listen(1024)?;
/// assert_ne!(listener.local_addr()?.port(), 0);
/// # Ok(()) })
/// # }
/// ```
#[derive(Debug)]
pub struct TcpSocket {
    pub(super) fd: Fd,
    driver: Rc<Driver>,
}

impl TcpSocket {
    /// A socket for IPv4.
    ///
    /// # Errors
    ///
    /// `EMFILE`, `ENFILE`: no descriptor is left. `NotConnected`: no runtime runs on this thread.
    ///
    /// # Source
    ///
    /// [`socket(2)`](https://man7.org/linux/man-pages/man2/socket.2.html)
    pub fn new_v4() -> io::Result<TcpSocket> {
        TcpSocket::new(Domain::IPV4)
    }

    /// A socket for IPv6.
    ///
    /// # Errors
    ///
    /// As [`TcpSocket::new_v4`], and `EAFNOSUPPORT` where the kernel has no IPv6.
    pub fn new_v6() -> io::Result<TcpSocket> {
        TcpSocket::new(Domain::IPV6)
    }

    pub(super) fn for_address(address: &SocketAddr) -> io::Result<TcpSocket> {
        TcpSocket::new(Domain::for_address(*address))
    }

    fn new(domain: Domain) -> io::Result<TcpSocket> {
        let driver = Driver::current()?;
        let fd = driver.with_ring(|ring| ring.socket(domain, Type::STREAM, Some(Protocol::TCP)))?;
        Ok(TcpSocket { fd, driver })
    }

    /// Gives the socket a local address. Port 0 lets the kernel choose one.
    ///
    /// # Errors
    ///
    /// `EADDRINUSE`, `EADDRNOTAVAIL`, `EACCES` (a port below 1,024).
    ///
    /// # Source
    ///
    /// [`bind(2)`](https://man7.org/linux/man-pages/man2/bind.2.html)
    pub fn bind(self, address: SocketAddr) -> io::Result<TcpSocket> {
        self.fd.bind(&SockAddr::from(address))?;
        Ok(self)
    }

    /// Makes it a listener. At most `backlog` connections wait to be accepted; the kernel caps that
    /// at `net.core.somaxconn`.
    ///
    /// # Errors
    ///
    /// `EADDRINUSE`: another socket listens on this address.
    ///
    /// # Source
    ///
    /// [`listen(2)`](https://man7.org/linux/man-pages/man2/listen.2.html)
    pub fn listen(self, backlog: u32) -> io::Result<TcpListener> {
        self.fd.listen(i32::try_from(backlog).unwrap_or(i32::MAX))?;
        Ok(TcpListener::new(Listener::new(self.fd, self.driver)))
    }

    /// Connects to `address`.
    ///
    /// # Errors
    ///
    /// `ECONNREFUSED`, `ETIMEDOUT`, `ENETUNREACH`, `EHOSTUNREACH`, `EADDRNOTAVAIL` (no local port
    /// is left), and others as in the source.
    ///
    /// # Cancellation
    ///
    /// Dropping the future cancels the attempt. If the connection comes about all the same it is
    /// closed: the peer may see it come and go.
    ///
    /// # Kernel
    ///
    /// `IORING_OP_CONNECT`, since 5.5.
    ///
    /// # Source
    ///
    /// [`connect(2)`](https://man7.org/linux/man-pages/man2/connect.2.html)
    #[doc(alias = "IORING_OP_CONNECT")]
    pub fn connect(self, address: SocketAddr) -> Connect {
        let connect = op::Connect {
            fd: self.fd,
            address: Box::new(SockAddr::from(address)),
        };
        Connect::new(connect.submit(&self.driver), self.driver)
    }

    /// The address that the socket is bound to.
    ///
    /// # Errors
    ///
    /// As [`getsockname(2)`](https://man7.org/linux/man-pages/man2/getsockname.2.html).
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        ip(&self.fd.getsockname()?)
    }

    /// A socket made elsewhere. It is switched to blocking, which the ring needs to wait for it.
    ///
    /// # Errors
    ///
    /// `NotConnected`: no runtime runs on this thread.
    pub fn from_std(socket: OwnedFd) -> io::Result<TcpSocket> {
        let driver = Driver::current()?;
        let fd = Fd::from(socket);
        fd.set_blocking()?;
        Ok(TcpSocket { fd, driver })
    }

    /// The descriptor, which leaves the runtime.
    pub fn into_std(self) -> OwnedFd {
        self.fd.into_owned()
    }
}

impl AsFd for TcpSocket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

/// The Internet address in `address`.
pub(super) fn ip(address: &SockAddr) -> io::Result<SocketAddr> {
    address
        .as_socket()
        .ok_or_else(|| io::Error::from_raw_os_error(libc::EAFNOSUPPORT))
}
