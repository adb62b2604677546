//! Unix datagram sockets.

use std::fmt;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::SocketAddr;
use std::path::Path;
use std::rc::Rc;

use corering_buffers::{IoBuf, IoBufMut};
use socket2::{Domain, SockAddr, Type};

use super::address::{of_name, of_path, of_std, to_std};
use super::credentials::UCred;
use super::{CONTROL_ROOM, NAME_ROOM};
use crate::driver::Driver;
use crate::net::datagram::{
    Control, Datagram, DatagramSocket, Peek, RecvDatagram, RecvFrom, SendDatagram, SendMsg, Shape,
    Socket,
};
use crate::ring::{Fd, Name};

/// A Unix datagram socket: messages between processes of one machine, none of which is lost.
///
/// It receives, peeks and ends as a [`UdpSocket`](crate::net::UdpSocket) does, whose documentation
/// holds for each method of the same name, with these differences:
///
/// * The kernel drops nothing: a message waits where it is sent until its receiver has room
///   (`net.unix.max_dgram_qlen` messages, 10 or 512 as a rule, besides those in the inbox).
///   Messages of one sender arrive in order, so one send is in flight at a time, and the others
///   wait, even for other receivers.
/// * A sender that is not bound has no name, and cannot be answered.
/// * A message can bring descriptors: see [`Control::add_descriptor`] and
///   [`Control::take_descriptors`], at most 253 with each. Those that are not taken are closed with
///   their message, wherever it is dropped, and come with `CLOEXEC`. Where the process has no
///   number left for one, it is lost, and so are those behind it:
///   [`Control::truncated`] says so.
///
/// The file that a path makes stays when the socket is dropped: remove it before binding again. An
/// abstract name ([`bind_addr`](UnixDatagram::bind_addr)) leaves nothing behind.
///
/// # Cancellation
///
/// Dropping any future that receives loses no message. A send that finds room is committed.
/// Dropping the socket cancels its receive, lets the committed send go on for at most 10 s, and
/// closes it then.
///
/// # Examples
///
/// ```
/// use corering::net::UnixDatagram;
///
/// # fn main() -> std::io::Result<()> {
/// # let dir = tempfile::tempdir()?;
/// # let path = dir.path().join("log");
/// # corering::Runtime::new()?.block_on(async {
/// let log = UnixDatagram::bind(&path)?;
/// let client = UnixDatagram::unbound()?;
/// client.send_to("started", &path).await.0?;
/// assert_eq!(&*log.recv().await?.payload, b"started");
/// # Ok(()) })
/// # }
/// ```
pub struct UnixDatagram(Rc<Socket>);

static DATAGRAMS: Shape = Shape {
    name_room: NAME_ROOM,
    control_room: CONTROL_ROOM,
    // The kernel keeps the order in which it takes them; the ring would not.
    sends: 1,
    late_errors: &[],
};

impl UnixDatagram {
    /// A socket at `path`, which must not exist.
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
    pub fn bind(path: impl AsRef<Path>) -> io::Result<UnixDatagram> {
        UnixDatagram::bound(&of_path(path.as_ref())?)
    }

    /// A socket at an address of std's, which may be an abstract name.
    ///
    /// # Errors
    ///
    /// As [`bind`](UnixDatagram::bind); `InvalidInput` for an address without a name.
    pub fn bind_addr(address: &SocketAddr) -> io::Result<UnixDatagram> {
        UnixDatagram::bound(&of_std(address)?)
    }

    fn bound(address: &SockAddr) -> io::Result<UnixDatagram> {
        let socket = UnixDatagram::unbound()?;
        socket.0.fd().bind(address)?;
        Ok(socket)
    }

    /// A socket without a name: it can send, and receives what its
    /// [peer](UnixDatagram::connect) sends it only if that has got it from
    /// [`pair`](UnixDatagram::pair).
    ///
    /// # Errors
    ///
    /// `EMFILE`; `NotConnected` if no runtime runs on this thread.
    pub fn unbound() -> io::Result<UnixDatagram> {
        let driver = Driver::current()?;
        let fd = driver.with_ring(|ring| ring.socket(Domain::UNIX, Type::DGRAM, None))?;
        Ok(UnixDatagram::of_unpaired(fd, driver))
    }

    fn of_unpaired(fd: Fd, driver: Rc<Driver>) -> UnixDatagram {
        let socket = Socket::new(fd, driver, &DATAGRAMS);
        socket.wait_outside();
        UnixDatagram(socket)
    }

    /// Two sockets, each the other's peer.
    ///
    /// # Errors
    ///
    /// `EMFILE`; `NotConnected` if no runtime runs on this thread.
    ///
    /// # Source
    ///
    /// [`socketpair(2)`](https://man7.org/linux/man-pages/man2/socketpair.2.html)
    pub fn pair() -> io::Result<(UnixDatagram, UnixDatagram)> {
        let driver = Driver::current()?;
        let (a, b) = driver.with_ring(|ring| ring.socket_pair(Type::DGRAM))?;
        let of = |fd| UnixDatagram(Socket::new(fd, Rc::clone(&driver), &DATAGRAMS));
        Ok((of(a), of(b)))
    }

    /// Makes the socket at `path` the peer: [`send`](UnixDatagram::send) goes there, and only
    /// messages from there are received from now on. Those that came before stay in the inbox.
    ///
    /// # Errors
    ///
    /// `ENOENT`: there is no such file. `ECONNREFUSED`: nobody has bound it, or not any more.
    /// `EACCES`: it may not be written. `EPROTOTYPE`: its socket is of another type. `EPERM`: it
    /// has another peer. `InvalidInput`: as [`bind`](UnixDatagram::bind).
    ///
    /// # Source
    ///
    /// [`connect(2)`](https://man7.org/linux/man-pages/man2/connect.2.html)
    pub fn connect(&self, path: impl AsRef<Path>) -> io::Result<()> {
        self.connect_to(&of_path(path.as_ref())?)
    }

    /// As [`connect`](UnixDatagram::connect), to an address of std's.
    ///
    /// # Errors
    ///
    /// As there.
    pub fn connect_addr(&self, address: &SocketAddr) -> io::Result<()> {
        self.connect_to(&of_std(address)?)
    }

    fn connect_to(&self, address: &SockAddr) -> io::Result<()> {
        // It may have been one of a pair.
        self.0.wait_outside();
        self.0.fd().connect_datagrams(address)
    }

    /// Receives the next message, without a copy. See
    /// [`UdpSocket::recv`](crate::net::UdpSocket::recv).
    ///
    /// # Errors
    ///
    /// `ECONNRESET`: the peer has turned to another one. `ENOMEM`: there is no memory for receive
    /// buffers. `ECANCELED`: the runtime has ended.
    ///
    /// # Cancellation
    ///
    /// Dropping the future loses nothing: the next call returns the message, with its descriptors.
    ///
    /// # Kernel
    ///
    /// `IORING_OP_RECVMSG` with `IORING_RECV_MULTISHOT`, since 6.0.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::io::Read;
    /// use corering::net::{Control, UnixDatagram};
    ///
    /// # fn main() -> std::io::Result<()> {
    /// # corering::Runtime::new()?.block_on(async {
    /// let (a, b) = UnixDatagram::pair()?;
    /// let mut control = Control::new();
    /// control.add_descriptor(std::fs::File::open("/proc/self/comm")?.into());
    /// a.send_msg("a file", control).await.0?;
    ///
    /// let mut message = b.recv().await?;
    /// let file = message.control.take_descriptors().pop().expect("it came along");
    /// let mut text = String::new();
    /// std::fs::File::from(file).read_to_string(&mut text)?;
    /// # Ok(()) })
    /// # }
    /// ```
    #[doc(alias = "recvmsg")]
    #[doc(alias = "SCM_RIGHTS")]
    pub fn recv(&self) -> RecvDatagram<'_, UnixDatagram> {
        RecvDatagram::new(&self.0)
    }

    /// Receives the next message into `buf`, from its start: as much of it as there is room for.
    /// See [`UdpSocket::recv_from`](crate::net::UdpSocket::recv_from).
    ///
    /// # Errors
    ///
    /// As [`recv`](UnixDatagram::recv).
    ///
    /// # Cancellation
    ///
    /// Dropping the future frees the buffer and loses no message.
    pub fn recv_from<B: IoBufMut>(&self, buf: B) -> RecvFrom<'_, UnixDatagram, B> {
        RecvFrom::new(&self.0, buf)
    }

    /// As [`recv_from`](UnixDatagram::recv_from), but the message stays where it is, with its
    /// descriptors: the next call returns it again.
    ///
    /// # Errors
    ///
    /// As [`recv`](UnixDatagram::recv).
    ///
    /// # Cancellation
    ///
    /// Dropping the future takes nothing.
    pub fn peek<B: IoBufMut>(&self, buf: B) -> Peek<'_, UnixDatagram, B> {
        Peek::new(&self.0, buf)
    }

    /// Sends `buf` as one message to the peer, and gives it back with its length. Waits while the
    /// peer has no room.
    ///
    /// # Errors
    ///
    /// `ENOTCONN`: there is no peer. `ECONNREFUSED`: it is gone. `EMSGSIZE`: the message is longer
    /// than the socket's send buffer. `ECANCELED`: the runtime has ended. None of them stays.
    ///
    /// # Cancellation
    ///
    /// Dropping the future before its turn has come sends nothing, and neither does it while the
    /// receiver has no room. After that the message is sent. Of a socket made by
    /// [`pair`](UnixDatagram::pair) it is sent from its turn on, room or not.
    ///
    /// # Kernel
    ///
    /// `IORING_OP_SEND`, since 5.6.
    ///
    /// # Source
    ///
    /// [`send(2)`](https://man7.org/linux/man-pages/man2/send.2.html)
    pub fn send<B: IoBuf>(&self, buf: B) -> SendDatagram<'_, B> {
        SendDatagram::new(&self.0, buf, Name::default())
    }

    /// Sends `buf` as one message to the socket at `path`.
    ///
    /// # Errors
    ///
    /// Those of [`connect`](UnixDatagram::connect) and of [`send`](UnixDatagram::send), also a path
    /// that cannot be one.
    ///
    /// # Cancellation
    ///
    /// As [`send`](UnixDatagram::send).
    ///
    /// # Kernel
    ///
    /// `IORING_OP_SEND` with an address, since 6.1.
    pub async fn send_to<B: IoBuf>(
        &self,
        buf: B,
        path: impl AsRef<Path>,
    ) -> (io::Result<usize>, B) {
        match of_path(path.as_ref()) {
            Ok(address) => SendDatagram::new(&self.0, buf, Name::from(&address)).await,
            Err(error) => (Err(error), buf),
        }
    }

    /// Sends `buf` as one message to an address of std's: that of a message's sender, for one.
    ///
    /// # Errors
    ///
    /// As [`send_to`](UnixDatagram::send_to); `InvalidInput` for an address without a name.
    ///
    /// # Cancellation
    ///
    /// As [`send`](UnixDatagram::send).
    ///
    /// # Kernel
    ///
    /// As [`send_to`](UnixDatagram::send_to).
    pub async fn send_to_addr<B: IoBuf>(
        &self,
        buf: B,
        address: &SocketAddr,
    ) -> (io::Result<usize>, B) {
        match of_std(address) {
            Ok(address) => SendDatagram::new(&self.0, buf, Name::from(&address)).await,
            Err(error) => (Err(error), buf),
        }
    }

    /// Sends `buf` with control data to the peer: with descriptors, as a rule, which are closed
    /// here when it has ended, whatever came of it.
    ///
    /// # Errors
    ///
    /// As [`send`](UnixDatagram::send). `EINVAL`: there are more than 253 descriptors, or the
    /// control data is not for such a socket. `ETOOMANYREFS`: more descriptors are on their way
    /// than the process may have open.
    ///
    /// # Cancellation
    ///
    /// As [`send`](UnixDatagram::send). Descriptors of what was not sent are closed.
    ///
    /// # Kernel
    ///
    /// `IORING_OP_SENDMSG`, since 5.3.
    ///
    /// # Source
    ///
    /// `SCM_RIGHTS` in [`unix(7)`](https://man7.org/linux/man-pages/man7/unix.7.html)
    #[doc(alias = "sendmsg")]
    #[doc(alias = "SCM_RIGHTS")]
    pub fn send_msg<B: IoBuf>(&self, buf: B, control: Control) -> SendMsg<'_, B> {
        SendMsg::new(&self.0, buf, Name::default(), control)
    }

    /// As [`send_msg`](UnixDatagram::send_msg), to an address of std's.
    ///
    /// # Errors
    ///
    /// As there, and as [`send_to_addr`](UnixDatagram::send_to_addr).
    ///
    /// # Cancellation
    ///
    /// As there.
    pub async fn send_msg_to<B: IoBuf>(
        &self,
        buf: B,
        address: &SocketAddr,
        control: Control,
    ) -> (io::Result<usize>, B) {
        match of_std(address) {
            Ok(address) => SendMsg::new(&self.0, buf, Name::from(&address), control).await,
            Err(error) => (Err(error), buf),
        }
    }

    /// Closes the socket in order: waits for the committed send, ends the receive, closes the
    /// descriptor. Returns what was received and never taken.
    ///
    /// # Errors
    ///
    /// What `close(2)` reports.
    ///
    /// # Cancellation
    ///
    /// Dropping the future closes the socket as dropping the socket does.
    pub async fn close(self) -> io::Result<Vec<Datagram<SocketAddr>>> {
        Rc::clone(&self.0).close(self).await
    }

    /// The name of this end, if it has one.
    ///
    /// # Errors
    ///
    /// As [`getsockname(2)`](https://man7.org/linux/man-pages/man2/getsockname.2.html).
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        to_std(&self.0.fd().getsockname()?)
    }

    /// The name of the peer, if it has one.
    ///
    /// # Errors
    ///
    /// `ENOTCONN`: there is no peer.
    pub fn peer_addr(&self) -> io::Result<SocketAddr> {
        to_std(&self.0.fd().getpeername()?)
    }

    /// The process that has made the pair that this is one of.
    ///
    /// # Errors
    ///
    /// As [`getsockopt(2)`](https://man7.org/linux/man-pages/man2/getsockopt.2.html).
    pub fn peer_cred(&self) -> io::Result<UCred> {
        UCred::of_peer(self.0.fd())
    }

    /// Takes over a socket of std's. It is switched to blocking, which the ring needs to wait for
    /// it.
    ///
    /// # Errors
    ///
    /// `NotConnected`: no runtime runs on this thread.
    pub fn from_std(socket: std::os::unix::net::UnixDatagram) -> io::Result<UnixDatagram> {
        let driver = Driver::current()?;
        socket.set_nonblocking(false)?;
        let fd = Fd::from(OwnedFd::from(socket));
        match is_of_a_pair(&fd) {
            true => Ok(UnixDatagram(Socket::new(fd, driver, &DATAGRAMS))),
            false => Ok(UnixDatagram::of_unpaired(fd, driver)),
        }
    }
}

#[allow(private_interfaces, reason = "sealed")]
impl DatagramSocket for UnixDatagram {
    type Address = SocketAddr;

    fn address(name: &Name) -> SocketAddr {
        of_name(name)
    }
}

impl Drop for UnixDatagram {
    fn drop(&mut self) {
        self.0.abandon();
    }
}

impl AsFd for UnixDatagram {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.fd().as_fd()
    }
}

impl fmt::Debug for UnixDatagram {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("UnixDatagram").field(&self.as_fd()).finish()
    }
}

/// Whether a socket has its peer from `socketpair`: only that notes the credentials of a peer of
/// datagrams, and only such a peer may be without a name.
fn is_of_a_pair(fd: &Fd) -> bool {
    let has_credentials = fd.peer_credentials().is_ok_and(|peer| peer.uid != u32::MAX);
    let peer = fd.getpeername().and_then(|name| to_std(&name));
    has_credentials && peer.is_ok_and(|name| name.is_unnamed())
}
