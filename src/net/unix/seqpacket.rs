//! Unix sockets of records: connected, in order, and with their boundaries kept.

use std::fmt;
use std::io;
use std::net::Shutdown;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::SocketAddr;
use std::path::Path;
use std::rc::Rc;

use corering_buffers::{IoBuf, IoBufMut};
use socket2::{Domain, SockAddr, Type};

use super::address::{of_path, of_std, to_std};
use super::credentials::UCred;
use super::record::{RecvRecord, RecvRecordInto};
use super::{CONTROL_ROOM, NAME_ROOM};
use crate::driver::{Driver, Op};
use crate::net::accept::Connection;
use crate::net::datagram::{
    Control, Datagram, DatagramSocket, SendDatagram, SendMsg, Shape, Socket,
};
use crate::op;
use crate::ring::{Fd, MessageOption, Name};

/// A connected Unix socket that keeps records apart (`SOCK_SEQPACKET`): as reliable and ordered as
/// a [`UnixStream`](crate::net::UnixStream), and what one call sends another receives as a whole.
///
/// A record without bytes is one like any other: the end of the connection is `None`. To tell them
/// apart, the socket has the kernel note when each record was sent
/// ([`Control::timestamp`]). Records can bring descriptors as messages of a
/// [`UnixDatagram`](crate::net::UnixDatagram) can.
///
/// # Cancellation
///
/// Dropping any future loses no record. A send that was submitted is committed. Dropping the socket
/// cancels its receive, lets the committed send go on for at most 10 s, and closes it then.
///
/// # Examples
///
/// ```
/// use corering::net::UnixSeqpacket;
///
/// # fn main() -> std::io::Result<()> {
/// # corering::Runtime::new()?.block_on(async {
/// let (a, b) = UnixSeqpacket::pair()?;
/// a.send("one").await.0?;
/// a.send("").await.0?;
/// a.send("two").await.0?;
/// drop(a);
/// let mut lengths = Vec::new();
/// while let Some(record) = b.recv().await? {
///     lengths.push(record.payload.len());
/// }
/// assert_eq!(lengths, [3, 0, 3]);
/// # Ok(()) })
/// # }
/// ```
///
/// # Source
///
/// [`unix(7)`](https://man7.org/linux/man-pages/man7/unix.7.html)
pub struct UnixSeqpacket(Rc<Socket>);

static RECORDS: Shape = Shape {
    name_room: NAME_ROOM,
    control_room: CONTROL_ROOM,
    sends: 1,
    late_errors: &[],
};

impl UnixSeqpacket {
    /// Connects to the [`UnixSeqpacketListener`](crate::net::UnixSeqpacketListener) at `path`.
    /// Waits if its backlog is full.
    ///
    /// # Errors
    ///
    /// As [`UnixStream::connect`](crate::net::UnixStream::connect).
    ///
    /// # Cancellation
    ///
    /// Dropping the future closes the socket, a connected one too.
    ///
    /// # Kernel
    ///
    /// `IORING_OP_CONNECT`, since 5.5.
    pub async fn connect(path: impl AsRef<Path>) -> io::Result<UnixSeqpacket> {
        UnixSeqpacket::connect_to(of_path(path.as_ref())?).await
    }

    /// Connects to an address of std's, which may be an abstract name.
    ///
    /// # Errors
    ///
    /// As [`connect`](UnixSeqpacket::connect); `InvalidInput` for an address without a name.
    ///
    /// # Cancellation
    ///
    /// As [`connect`](UnixSeqpacket::connect).
    pub async fn connect_addr(address: &SocketAddr) -> io::Result<UnixSeqpacket> {
        UnixSeqpacket::connect_to(of_std(address)?).await
    }

    async fn connect_to(address: SockAddr) -> io::Result<UnixSeqpacket> {
        let driver = Driver::current()?;
        let fd = driver.with_ring(|ring| ring.socket(Domain::UNIX, Type::SEQPACKET, None))?;
        let address = Box::new(address);
        let fd = op::Connect { fd, address }.submit(&driver).await?;
        UnixSeqpacket::of_connected(fd, driver)
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
    pub fn pair() -> io::Result<(UnixSeqpacket, UnixSeqpacket)> {
        let driver = Driver::current()?;
        let (a, b) = driver.with_ring(|ring| ring.socket_pair(Type::SEQPACKET))?;
        let of = |fd| UnixSeqpacket::of_connected(fd, Rc::clone(&driver));
        Ok((of(a)?, of(b)?))
    }

    fn of_connected(fd: Fd, driver: Rc<Driver>) -> io::Result<UnixSeqpacket> {
        // What tells a record without bytes from the end: see `record.rs`.
        fd.set_message_option(MessageOption::TimestampNs, 1)?;
        Ok(UnixSeqpacket(Socket::new(fd, driver, &RECORDS)))
    }

    /// Receives the next record, without a copy. `None`: the connection has ended.
    ///
    /// # Errors
    ///
    /// `ECONNRESET`: the peer was closed with records unread. It is told once, and before records
    /// that the peer had sent and that are still in the kernel: these follow, and then the end.
    /// `ENOMEM`: there is no memory for receive buffers. `ECANCELED`: the runtime has ended.
    ///
    /// # Cancellation
    ///
    /// Dropping the future loses nothing: the next call returns the record, with its descriptors.
    ///
    /// # Kernel
    ///
    /// `IORING_OP_RECVMSG` with `IORING_RECV_MULTISHOT`, since 6.0.
    ///
    /// # Source
    ///
    /// [`recvmsg(2)`](https://man7.org/linux/man-pages/man2/recvmsg.2.html)
    #[doc(alias = "recvmsg")]
    #[doc(alias = "SCM_RIGHTS")]
    pub fn recv(&self) -> RecvRecord<'_, UnixSeqpacket> {
        RecvRecord::new(&self.0)
    }

    /// Receives the next record into `buf`, from its start: as much of it as there is room for.
    /// What had no room is lost, and [`truncated`](crate::net::Received::truncated) says so.
    /// `None`: the connection has ended.
    ///
    /// `buf` comes back in every case.
    ///
    /// # Errors
    ///
    /// As [`recv`](UnixSeqpacket::recv).
    ///
    /// # Cancellation
    ///
    /// Dropping the future frees the buffer and loses no record.
    pub fn recv_into<B: IoBufMut>(&self, buf: B) -> RecvRecordInto<'_, UnixSeqpacket, B> {
        RecvRecordInto::new(&self.0, buf)
    }

    /// Sends `buf` as one record, and gives it back with its length. Waits while the peer has no
    /// room.
    ///
    /// # Errors
    ///
    /// `EPIPE`: the peer is gone, or one of the two has shut this direction down. `EMSGSIZE`: the
    /// record is longer than the socket's send buffer, 208 KiB as a rule. `ECANCELED`: the runtime
    /// has ended.
    ///
    /// # Cancellation
    ///
    /// Dropping the future before its turn has come sends nothing. After that the record is sent.
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

    /// Sends `buf` with control data as one record. See
    /// [`UnixDatagram::send_msg`](crate::net::UnixDatagram::send_msg).
    ///
    /// # Errors
    ///
    /// As [`send`](UnixSeqpacket::send), and as there.
    ///
    /// # Cancellation
    ///
    /// As [`send`](UnixSeqpacket::send). Descriptors of what was not sent are closed.
    #[doc(alias = "sendmsg")]
    #[doc(alias = "SCM_RIGHTS")]
    pub fn send_msg<B: IoBuf>(&self, buf: B, control: Control) -> SendMsg<'_, B> {
        SendMsg::new(&self.0, buf, Name::default(), control)
    }

    /// Ends one or both directions, without waiting for sends: await them first.
    ///
    /// # Errors
    ///
    /// As [`shutdown(2)`](https://man7.org/linux/man-pages/man2/shutdown.2.html).
    pub fn shutdown(&self, how: Shutdown) -> io::Result<()> {
        self.0.fd().shutdown(how)
    }

    /// Closes the socket in order: waits for the committed send, ends the receive, closes the
    /// descriptor. Returns the records that were received and never taken; one without bytes may
    /// be the end.
    ///
    /// # Errors
    ///
    /// What `close(2)` reports.
    ///
    /// # Cancellation
    ///
    /// Dropping the future closes the socket as dropping the socket does.
    pub async fn close(self) -> io::Result<Vec<Datagram<()>>> {
        Rc::clone(&self.0).close(self).await
    }

    /// The name of this end; mostly there is none.
    ///
    /// # Errors
    ///
    /// As [`getsockname(2)`](https://man7.org/linux/man-pages/man2/getsockname.2.html).
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        to_std(&self.0.fd().getsockname()?)
    }

    /// The name of the other end.
    ///
    /// # Errors
    ///
    /// As [`getpeername(2)`](https://man7.org/linux/man-pages/man2/getpeername.2.html).
    pub fn peer_addr(&self) -> io::Result<SocketAddr> {
        to_std(&self.0.fd().getpeername()?)
    }

    /// The process at the other end. See
    /// [`UnixStream::peer_cred`](crate::net::UnixStream::peer_cred).
    ///
    /// # Errors
    ///
    /// As there.
    pub fn peer_cred(&self) -> io::Result<UCred> {
        UCred::of_peer(self.0.fd())
    }

    /// Takes over a connected socket, which must be a Unix socket of type `SEQPACKET`. std has
    /// none; other crates do, and descriptors come from other processes.
    ///
    /// # Errors
    ///
    /// `ENOTSOCK`: it is no socket. `NotConnected`: no runtime runs on this thread.
    pub fn from_fd(fd: OwnedFd) -> io::Result<UnixSeqpacket> {
        let driver = Driver::current()?;
        let fd = Fd::from(fd);
        fd.set_blocking()?;
        UnixSeqpacket::of_connected(fd, driver)
    }
}

#[allow(private_interfaces, reason = "sealed")]
impl Connection for UnixSeqpacket {
    type Address = SocketAddr;

    fn of_accepted(fd: Fd, driver: Rc<Driver>) -> io::Result<UnixSeqpacket> {
        UnixSeqpacket::of_connected(fd, driver)
    }

    fn address(address: &SockAddr) -> io::Result<SocketAddr> {
        to_std(address)
    }
}

#[allow(private_interfaces, reason = "sealed")]
impl DatagramSocket for UnixSeqpacket {
    type Address = ();

    fn address(_: &Name) {}
}

impl Drop for UnixSeqpacket {
    fn drop(&mut self) {
        self.0.abandon();
    }
}

impl AsFd for UnixSeqpacket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.fd().as_fd()
    }
}

impl fmt::Debug for UnixSeqpacket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("UnixSeqpacket").field(&self.as_fd()).finish()
    }
}
