//! UDP sockets: sending and receiving.

use std::fmt;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::rc::Rc;

use corering_buffers::{IoBuf, IoBufMut};
use socket2::{Domain, Protocol, SockAddr, Type};

use crate::driver::Driver;
use crate::net::datagram::{
    Control, Datagram, DatagramSocket, Peek, RecvDatagram, RecvFrom, SendDatagram, SendMsg, Shape,
    Socket,
};
use crate::net::lookup::{ToSocketAddrs, first_that};
use crate::ring::{Fd, MessageOption, Name, SocketOption};

/// A UDP socket.
///
/// # Receiving
///
/// Datagrams that come while somebody waits, and those that come after, go to the socket's *inbox*,
/// each with its sender, its control data and its flags. [`recv`](UdpSocket::recv) hands out the
/// buffer that the kernel has filled, [`recv_from`](UdpSocket::recv_from) copies into yours,
/// [`peek`](UdpSocket::peek) looks. All take whole datagrams in the order in which they came; one
/// without bytes is a datagram like any other.
///
/// The inbox takes datagrams until it holds 256 of them or 256 KiB, and again below 64 and 64 KiB.
/// In between, and while nobody has waited yet, they stay in the kernel's buffer of the socket
/// ([`set_recv_buffer_size`](UdpSocket::set_recv_buffer_size)), which drops what has no room.
///
/// # Sending
///
/// Each send is one datagram, sent whole or not at all. 64 sends of one socket may be in flight at
/// once; others wait in order. Those that nobody waits for, of
/// [`try_send_to`](UdpSocket::try_send_to), go together as far as they are for one address.
///
/// # Errors
///
/// An error is told to one caller, and the socket goes on. Of a connected socket `ECONNREFUSED`
/// means that an earlier datagram has found no socket at its peer; whichever call comes first after
/// that is told, and a send that is told has sent nothing.
///
/// # Cancellation
///
/// Dropping any future loses no datagram: what was received is returned by the next call. A send
/// that was submitted is committed. Dropping the socket cancels its receive, lets committed sends
/// go on for at most 10 s, and closes it then.
///
/// # Examples
///
/// ```
/// use corering::net::UdpSocket;
///
/// # fn main() -> std::io::Result<()> {
/// # corering::Runtime::new()?.block_on(async {
/// let server = UdpSocket::bind("127.0.0.1:0").await?;
/// let client = UdpSocket::bind("127.0.0.1:0").await?;
/// client.connect(server.local_addr()?).await?;
/// client.send("hello").await.0?;
///
/// let datagram = server.recv().await?;
/// assert_eq!(datagram.from, client.local_addr()?);
/// server.send_to(datagram.payload, datagram.from).await.0?; // the same bytes, not copied
///
/// let (received, buf) = client.recv_from(Vec::with_capacity(1500)).await;
/// assert_eq!((received?.len, &buf[..]), (5, &b"hello"[..]));
/// # Ok(()) })
/// # }
/// ```
pub struct UdpSocket(Rc<Socket>);

static UDP: Shape = Shape {
    // `struct sockaddr_in6`, and what makes the control data aligned behind it.
    name_room: 32,
    control_room: 256,
    sends: 64,
    // What ICMP tells of an earlier datagram.
    late_errors: &[libc::ECONNREFUSED, libc::EHOSTUNREACH, libc::EPROTO],
};

impl UdpSocket {
    /// Binds to the first of the host's addresses where that is possible. Port 0 is any that is
    /// free.
    ///
    /// # Errors
    ///
    /// `EADDRINUSE`: another socket has the port. `EADDRNOTAVAIL`: the address is not this host's.
    /// `EACCES`: the port is privileged. `EAFNOSUPPORT`: the kernel has no IPv6. `EMFILE`; those of
    /// [`lookup_host`](crate::net::lookup_host); `NotConnected` if no runtime runs on this thread.
    ///
    /// # Source
    ///
    /// [`udp(7)`](https://man7.org/linux/man-pages/man7/udp.7.html)
    pub async fn bind(address: impl ToSocketAddrs) -> io::Result<UdpSocket> {
        first_that(address, async |address| {
            let socket = UdpSocket::unbound(&address)?;
            socket.0.fd().bind(&address.into())?;
            Ok(socket)
        })
        .await
    }

    /// As [`bind`](UdpSocket::bind), together with other sockets that do the same: the kernel
    /// spreads datagrams over them by the sender's address (`SO_REUSEPORT`).
    ///
    /// # Errors
    ///
    /// As [`bind`](UdpSocket::bind). `EADDRINUSE` also if the other sockets are another user's.
    pub async fn bind_reuse_port(address: impl ToSocketAddrs) -> io::Result<UdpSocket> {
        UdpSocket::bind_sharing(address, SocketOption::ReusePort).await
    }

    /// As [`bind`](UdpSocket::bind), together with other sockets that do the same: a multicast
    /// datagram goes to all of them, another one to the one that was bound last (`SO_REUSEADDR`).
    ///
    /// # Errors
    ///
    /// As [`bind`](UdpSocket::bind).
    pub async fn bind_reuse_address(address: impl ToSocketAddrs) -> io::Result<UdpSocket> {
        UdpSocket::bind_sharing(address, SocketOption::ReuseAddress).await
    }

    async fn bind_sharing(
        address: impl ToSocketAddrs,
        option: SocketOption,
    ) -> io::Result<UdpSocket> {
        first_that(address, async |address| {
            let socket = UdpSocket::unbound(&address)?;
            socket.0.fd().set_option(option, 1)?;
            socket.0.fd().bind(&address.into())?;
            Ok(socket)
        })
        .await
    }

    fn unbound(address: &SocketAddr) -> io::Result<UdpSocket> {
        let driver = Driver::current()?;
        let domain = Domain::for_address(*address);
        let fd = driver.with_ring(|ring| ring.socket(domain, Type::DGRAM, Some(Protocol::UDP)))?;
        Ok(UdpSocket(Socket::new(fd, driver, &UDP)))
    }

    /// Makes the first of the host's addresses that has a route the socket's peer:
    /// [`send`](UdpSocket::send) goes there, and only datagrams from there are received from now
    /// on. Those that came before stay in the inbox. Nothing is sent, so nobody need be there.
    ///
    /// # Errors
    ///
    /// `ENETUNREACH`: there is no route. `EAFNOSUPPORT`, `EINVAL`: the address is not of the
    /// socket's family. `EACCES`: a broadcast address, without
    /// [`set_broadcast`](UdpSocket::set_broadcast). Those of
    /// [`lookup_host`](crate::net::lookup_host).
    ///
    /// # Source
    ///
    /// [`connect(2)`](https://man7.org/linux/man-pages/man2/connect.2.html)
    pub async fn connect(&self, address: impl ToSocketAddrs) -> io::Result<()> {
        first_that(address, async |address| {
            self.0.fd().connect_datagrams(&address.into())
        })
        .await
    }

    /// Receives the next datagram, without a copy.
    ///
    /// A [`Lease`](crate::Lease) of its bytes, the sender's address and
    /// [control data](crate::net::Control): the whole message.
    ///
    /// # Errors
    ///
    /// `ECONNREFUSED`, `EHOSTUNREACH`: see [above](UdpSocket#errors). `ENOMEM`: there is no memory
    /// for receive buffers. `ECANCELED`: the runtime has ended.
    ///
    /// # Cancellation
    ///
    /// Dropping the future loses nothing: the next call returns the datagram.
    ///
    /// # Kernel
    ///
    /// `IORING_OP_RECVMSG` with `IORING_RECV_MULTISHOT`, since 6.0.
    ///
    /// # Source
    ///
    /// [`recvmsg(2)`](https://man7.org/linux/man-pages/man2/recvmsg.2.html)
    ///
    /// # Examples
    ///
    /// ```
    /// # use corering::net::UdpSocket;
    /// async fn echo(socket: UdpSocket) -> std::io::Result<()> {
    ///     loop {
    ///         let datagram = socket.recv().await?;
    ///         socket.send_to(datagram.payload, datagram.from).await.0?;
    ///     }
    /// }
    /// ```
    #[doc(alias = "IORING_OP_RECVMSG")]
    #[doc(alias = "recvmsg")]
    #[inline]
    pub fn recv(&self) -> RecvDatagram<'_, UdpSocket> {
        RecvDatagram::new(&self.0)
    }

    /// Receives the next datagram into `buf`, from its start: as much of it as there is room for.
    ///
    /// `buf` comes back in every case. What had no room is lost, and
    /// [`truncated`](crate::net::Received::truncated) says so.
    ///
    /// # Errors
    ///
    /// As [`recv`](UdpSocket::recv).
    ///
    /// # Cancellation
    ///
    /// Dropping the future frees the buffer and loses no datagram.
    ///
    /// # Kernel
    ///
    /// As [`recv`](UdpSocket::recv).
    ///
    /// # Source
    ///
    /// [`recvmsg(2)`](https://man7.org/linux/man-pages/man2/recvmsg.2.html)
    ///
    /// # Examples
    ///
    /// ```
    /// # use corering::net::UdpSocket;
    /// # fn main() -> std::io::Result<()> {
    /// # corering::Runtime::new()?.block_on(async {
    /// # let socket = UdpSocket::bind("127.0.0.1:0").await?;
    /// socket.send_to("too long", socket.local_addr()?).await.0?;
    /// let (received, buf) = socket.recv_from(Vec::with_capacity(3)).await;
    /// let received = received?;
    /// assert_eq!((received.len, received.truncated, &buf[..]), (3, true, &b"too"[..]));
    /// # Ok(()) })
    /// # }
    /// ```
    pub fn recv_from<B: IoBufMut>(&self, buf: B) -> RecvFrom<'_, UdpSocket, B> {
        RecvFrom::new(&self.0, buf)
    }

    /// As [`recv_from`](UdpSocket::recv_from), but the datagram stays where it is: the next call
    /// returns it again. Its control data is not shown.
    ///
    /// # Errors
    ///
    /// As [`recv`](UdpSocket::recv).
    ///
    /// # Cancellation
    ///
    /// Dropping the future takes nothing.
    pub fn peek<B: IoBufMut>(&self, buf: B) -> Peek<'_, UdpSocket, B> {
        Peek::new(&self.0, buf)
    }

    /// Sends `buf` as one datagram to the socket's peer, and gives it back with its length.
    ///
    /// # Errors
    ///
    /// `EDESTADDRREQ`: the socket is not connected. Others as [`send_to`](UdpSocket::send_to).
    ///
    /// # Cancellation
    ///
    /// As [`send_to`](UdpSocket::send_to).
    ///
    /// # Kernel
    ///
    /// `IORING_OP_SEND`, since 5.6.
    ///
    /// # Source
    ///
    /// [`send(2)`](https://man7.org/linux/man-pages/man2/send.2.html)
    #[doc(alias = "IORING_OP_SEND")]
    pub fn send<B: IoBuf>(&self, buf: B) -> SendDatagram<'_, B> {
        SendDatagram::new(&self.0, buf, Name::default())
    }

    /// Sends `buf` as one datagram to `address`, and gives it back with its length.
    ///
    /// That it was sent does not mean that it arrives.
    ///
    /// A task that answers datagrams one after the other waits a turn of the core for each. If it
    /// needs neither the buffer nor to know how a send went, it takes
    /// [`try_send_to`](UdpSocket::try_send_to), and this when that has no room: then the answers to
    /// all that has come go out with one system call, and those to one peer as one message.
    ///
    /// # Errors
    ///
    /// `EMSGSIZE`: it is longer than 65,507 bytes (65,527 by IPv6), or than the path allows where
    /// it must not be cut. `ENETUNREACH`: there is no route. `EACCES`: a broadcast address, without
    /// [`set_broadcast`](UdpSocket::set_broadcast). `EPERM`: a packet filter. `EAFNOSUPPORT`,
    /// `EINVAL`: the address is not of the socket's family, or its port is 0. `ENOBUFS`: the
    /// network device's queue is full. `ECONNREFUSED`: see [above](UdpSocket#errors).
    /// `ECANCELED`: the runtime has ended. None of them stays.
    ///
    /// # Cancellation
    ///
    /// Dropping the future before its turn has come sends nothing. After that the datagram is sent.
    ///
    /// # Kernel
    ///
    /// `IORING_OP_SEND` with an address, since 6.1.
    ///
    /// # Source
    ///
    /// [`sendto(2)`](https://man7.org/linux/man-pages/man2/sendto.2.html)
    #[inline]
    pub fn send_to<B: IoBuf>(&self, buf: B, address: impl Into<SocketAddr>) -> SendDatagram<'_, B> {
        SendDatagram::new(&self.0, buf, Name::from(address.into()))
    }

    /// Sends `buf` with control data to `address`, or to the socket's peer.
    ///
    /// With a [segment size](Control::set_segment_size) the kernel makes several datagrams of it
    /// (GSO): many for the price of little more than one.
    ///
    /// # Errors
    ///
    /// `EINVAL`: the control data is not for such a socket, or there would be more than 64
    /// datagrams (128 since Linux 6.9). `EMSGSIZE`: `buf` is longer than 65,507 bytes in all, or a
    /// segment is longer than the path allows. `EIO`: segments of a socket without checksums.
    /// Others as [`send_to`](UdpSocket::send_to).
    ///
    /// # Cancellation
    ///
    /// As [`send_to`](UdpSocket::send_to).
    ///
    /// # Kernel
    ///
    /// `IORING_OP_SENDMSG`, since 5.3. `UDP_SEGMENT`, since 4.18.
    ///
    /// # Source
    ///
    /// [`sendmsg(2)`](https://man7.org/linux/man-pages/man2/sendmsg.2.html),
    /// [`udp(7)`](https://man7.org/linux/man-pages/man7/udp.7.html)
    ///
    /// # Examples
    ///
    /// ```
    /// use corering::net::{Control, UdpSocket};
    /// # fn main() -> std::io::Result<()> {
    /// # corering::Runtime::new()?.block_on(async {
    /// # let socket = UdpSocket::bind("127.0.0.1:0").await?;
    /// # let address = socket.local_addr()?;
    /// let mut control = Control::new();
    /// control.set_segment_size(4);
    /// socket.send_msg("one two ", Some(address), control).await.0?;
    /// assert_eq!(&*socket.recv().await?.payload, b"one ");
    /// assert_eq!(&*socket.recv().await?.payload, b"two ");
    /// # Ok(()) })
    /// # }
    /// ```
    #[doc(alias = "IORING_OP_SENDMSG")]
    #[doc(alias = "sendmsg")]
    pub fn send_msg<B: IoBuf>(
        &self,
        buf: B,
        address: Option<SocketAddr>,
        control: Control,
    ) -> SendMsg<'_, B> {
        let name = address.map(Name::from).unwrap_or_default();
        SendMsg::new(&self.0, buf, name, control)
    }

    /// Closes the socket in order: waits for committed sends, ends the receive, closes the
    /// descriptor. Returns what was received and never taken.
    ///
    /// # Errors
    ///
    /// What `close(2)` reports.
    ///
    /// # Cancellation
    ///
    /// Dropping the future closes the socket as dropping the socket does.
    ///
    /// # Source
    ///
    /// [`close(2)`](https://man7.org/linux/man-pages/man2/close.2.html)
    pub async fn close(self) -> io::Result<Vec<Datagram<SocketAddr>>> {
        Rc::clone(&self.0).close(self).await
    }

    /// The address of this end.
    ///
    /// # Errors
    ///
    /// As [`getsockname(2)`](https://man7.org/linux/man-pages/man2/getsockname.2.html).
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        ip(&self.0.fd().getsockname()?)
    }

    /// The address of the socket's peer.
    ///
    /// # Errors
    ///
    /// `ENOTCONN`: the socket is not connected.
    pub fn peer_addr(&self) -> io::Result<SocketAddr> {
        ip(&self.0.fd().getpeername()?)
    }

    /// Takes over a socket of std's. It is switched to blocking, which the ring needs to wait for
    /// it.
    ///
    /// # Errors
    ///
    /// `NotConnected`: no runtime runs on this thread.
    pub fn from_std(socket: std::net::UdpSocket) -> io::Result<UdpSocket> {
        let driver = Driver::current()?;
        socket.set_nonblocking(false)?;
        let fd = Fd::from(OwnedFd::from(socket));
        // Of any protocol, perhaps, or with datagrams that are cut already.
        let is_plain = matches!(fd.message_option(MessageOption::Segment), Ok(0));
        let socket = Socket::new(fd, driver, &UDP);
        if !is_plain {
            socket.send_apart();
        }
        Ok(UdpSocket(socket))
    }

    /// A socket of std's for the same socket (a duplicate of the descriptor), with what was
    /// received and never taken. Waits for committed sends and the end of the receive.
    ///
    /// # Errors
    ///
    /// `EMFILE`: no descriptor is left.
    ///
    /// # Cancellation
    ///
    /// As [`close`](UdpSocket::close).
    pub async fn into_std(self) -> io::Result<(std::net::UdpSocket, Vec<Datagram<SocketAddr>>)> {
        let fd = self.as_fd().try_clone_to_owned()?;
        let unread = self.close().await?;
        Ok((std::net::UdpSocket::from(fd), unread))
    }

    pub(super) fn socket(&self) -> &Rc<Socket> {
        &self.0
    }
}

fn ip(address: &SockAddr) -> io::Result<SocketAddr> {
    let address = address.as_socket();
    address.ok_or_else(|| io::Error::from_raw_os_error(libc::EAFNOSUPPORT))
}

#[allow(private_interfaces, reason = "sealed")]
impl DatagramSocket for UdpSocket {
    type Address = SocketAddr;

    fn address(name: &Name) -> SocketAddr {
        let unspecified = (Ipv4Addr::UNSPECIFIED, 0).into();
        name.ip().unwrap_or(unspecified)
    }
}

impl Drop for UdpSocket {
    fn drop(&mut self) {
        self.0.abandon();
    }
}

impl AsFd for UdpSocket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.fd().as_fd()
    }
}

impl fmt::Debug for UdpSocket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("UdpSocket").field(&self.as_fd()).finish()
    }
}
