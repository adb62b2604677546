//! Unix streams.

use std::fmt;
use std::io;
use std::net::Shutdown;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::SocketAddr;
use std::path::Path;
use std::rc::Rc;

use corering_buffers::{IoBuf, IoBufMut, IoBufs, Lease};
use socket2::{Domain, SockAddr, Type};

use super::address::{of_path, of_std, to_std};
use super::credentials::UCred;
use super::descriptors::UnixDescriptorReceiver;
use crate::driver::{Driver, Op};
use crate::net::detached::{self, Detached};
use crate::net::halves::{self, OwnedReadHalf, OwnedWriteHalf};
use crate::net::stream::{
    FillBuf, FillMore, Read, Recv, Socket, StreamSocket, Write, WriteAll, WriteVectored,
    WriteWithDescriptors,
};
use crate::op;
use crate::ring::Fd;

/// A connected Unix stream socket: bytes between two processes of one machine.
///
/// It reads, writes and ends exactly as a [`TcpStream`](crate::net::TcpStream) does, whose
/// documentation holds for each method of the same name.
///
/// # Cancellation
///
/// Dropping any future loses no byte. Dropping the stream cancels its receive, lets the committed
/// write go on for at most 10 s, and closes it then.
///
/// # Examples
///
/// ```
/// use corering::net::UnixStream;
///
/// # fn main() -> std::io::Result<()> {
/// # corering::Runtime::new()?.block_on(async {
/// let (a, b) = UnixStream::pair()?;
/// a.write_all("hello").await.0?;
/// drop(a);
/// assert_eq!(b.recv().await?.as_deref(), Some(&b"hello"[..]));
/// assert!(b.recv().await?.is_none());
/// # Ok(()) })
/// # }
/// ```
pub struct UnixStream(Rc<Socket>);

impl UnixStream {
    /// Connects to the listener at `path`. Waits if its backlog is full.
    ///
    /// # Errors
    ///
    /// `ENOENT`: there is no such file. `ECONNREFUSED`: nobody listens there, or not any more.
    /// `EACCES`: it may not be written. `EPROTOTYPE`: its socket is of another type.
    /// `InvalidInput`: the path is empty, longer than 107 bytes, or has a NUL in it. `EMFILE`;
    /// `NotConnected` if no runtime runs on this thread.
    ///
    /// # Cancellation
    ///
    /// Dropping the future closes the socket, a connected one too.
    ///
    /// # Kernel
    ///
    /// `IORING_OP_CONNECT`, since 5.5.
    ///
    /// # Source
    ///
    /// [`unix(7)`](https://man7.org/linux/man-pages/man7/unix.7.html)
    #[doc(alias = "IORING_OP_CONNECT")]
    pub async fn connect(path: impl AsRef<Path>) -> io::Result<UnixStream> {
        UnixStream::connect_to(of_path(path.as_ref())?).await
    }

    /// Connects to an address of std's, which may be an abstract name.
    ///
    /// # Errors
    ///
    /// As [`connect`](UnixStream::connect); `InvalidInput` for an address without a name.
    ///
    /// # Cancellation
    ///
    /// As [`connect`](UnixStream::connect).
    pub async fn connect_addr(address: &SocketAddr) -> io::Result<UnixStream> {
        UnixStream::connect_to(of_std(address)?).await
    }

    async fn connect_to(address: SockAddr) -> io::Result<UnixStream> {
        let driver = Driver::current()?;
        let fd = driver.with_ring(|ring| ring.socket(Domain::UNIX, Type::STREAM, None))?;
        let address = Box::new(address);
        let fd = op::Connect { fd, address }.submit(&driver).await?;
        Ok(UnixStream(Socket::new(fd, driver)))
    }

    /// Two streams, each the other's peer.
    ///
    /// # Errors
    ///
    /// `EMFILE`; `NotConnected` if no runtime runs on this thread.
    ///
    /// # Source
    ///
    /// [`socketpair(2)`](https://man7.org/linux/man-pages/man2/socketpair.2.html)
    pub fn pair() -> io::Result<(UnixStream, UnixStream)> {
        let driver = Driver::current()?;
        let (a, b) = driver.with_ring(|ring| ring.socket_pair(Type::STREAM))?;
        let of = |fd| UnixStream(Socket::new(fd, Rc::clone(&driver)));
        Ok((of(a), of(b)))
    }

    /// Receives the next bytes, without a copy: `None` at the end of the stream. See
    /// [`TcpStream::recv`](crate::net::TcpStream::recv).
    #[doc(alias = "IORING_OP_RECV")]
    #[inline]
    pub fn recv(&self) -> Recv<'_> {
        Recv::new(&self.0)
    }

    /// Reads into `buf` from its start. See [`TcpStream::read`](crate::net::TcpStream::read).
    #[inline]
    pub fn read<B: IoBufMut>(&self, buf: B) -> Read<'_, B> {
        Read::new(&self.0, buf)
    }

    /// The oldest bytes in the inbox, not consumed. See
    /// [`TcpStream::fill_buf`](crate::net::TcpStream::fill_buf).
    pub fn fill_buf(&self) -> FillBuf<'_> {
        FillBuf::new(&self.0)
    }

    /// Waits for more than [`fill_buf`](UnixStream::fill_buf) has shown. See
    /// [`TcpStream::fill_more`](crate::net::TcpStream::fill_more).
    pub fn fill_more(&self) -> FillMore<'_> {
        FillMore::new(&self.0)
    }

    /// Takes `n` bytes of what [`fill_buf`](UnixStream::fill_buf) has shown, or all if it is less.
    pub fn consume(&self, n: usize) {
        self.0.consume(n);
    }

    /// The same, and hands them out.
    pub fn consume_to_vec(&self, n: usize) -> Vec<u8> {
        self.0.consume_to_vec(n)
    }

    /// Writes all of `buf`. See [`TcpStream::write_all`](crate::net::TcpStream::write_all).
    #[doc(alias = "IORING_OP_SEND")]
    #[inline]
    pub fn write_all<B: IoBuf>(&self, buf: B) -> WriteAll<'_, B> {
        WriteAll::new(&self.0, buf)
    }

    /// Writes as much of `buf` as the kernel takes at once. See
    /// [`TcpStream::write`](crate::net::TcpStream::write).
    pub fn write<B: IoBuf>(&self, buf: B) -> Write<'_, B> {
        Write::new(&self.0, buf)
    }

    /// Writes several buffers in order. See
    /// [`TcpStream::write_vectored`](crate::net::TcpStream::write_vectored).
    #[doc(alias = "IORING_OP_SENDMSG")]
    pub fn write_vectored<B: IoBufs>(&self, bufs: B) -> WriteVectored<'_, B> {
        WriteVectored::new(&self.0, bufs)
    }

    /// Writes as much of `buf` as the kernel takes at once, with `descriptors` beside the first of
    /// these bytes, and gives `buf` back with their number. Write the rest as usual: the
    /// descriptors are with the first part.
    ///
    /// The descriptors are closed here when the write has ended, whatever came of it: the kernel
    /// has duplicates. The peer gets them if it receives them
    /// ([`receive_descriptors`](UnixStream::receive_descriptors)), or else they are closed as its
    /// kernel reads past them.
    ///
    /// # Errors
    ///
    /// As [`write`](UnixStream::write). `EINVAL`: there are more than 253 descriptors.
    /// `InvalidInput`: `buf` is empty. `ETOOMANYREFS`: more descriptors are on their way than the
    /// process may have open.
    ///
    /// # Cancellation
    ///
    /// As [`write`](UnixStream::write). Descriptors of what is not sent are closed.
    ///
    /// # Kernel
    ///
    /// `IORING_OP_SENDMSG`, since 5.3.
    ///
    /// # Source
    ///
    /// `SCM_RIGHTS` in [`unix(7)`](https://man7.org/linux/man-pages/man7/unix.7.html)
    #[doc(alias = "SCM_RIGHTS")]
    pub fn write_with_descriptors<B: IoBuf>(
        &self,
        buf: B,
        descriptors: Vec<OwnedFd>,
    ) -> WriteWithDescriptors<'_, B> {
        WriteWithDescriptors::new(&self.0, buf, descriptors)
    }

    /// From now on what comes is received through the handle that this returns, with the
    /// descriptors that come along. Call it before the first receive.
    ///
    /// The receive of a stream is armed once and for all, and descriptors that come to one which
    /// does not ask for them are closed by the kernel: so a stream is told before, and has no way
    /// back. Its own receiving methods fail with `EBUSY` from then on. It still writes.
    ///
    /// # Errors
    ///
    /// `InvalidInput`: a receive was begun already. `EMFILE`: no descriptor is left.
    ///
    /// # Examples
    ///
    /// ```
    /// use corering::net::UnixStream;
    ///
    /// # fn main() -> std::io::Result<()> {
    /// # corering::Runtime::new()?.block_on(async {
    /// let (a, b) = UnixStream::pair()?;
    /// let incoming = b.receive_descriptors()?;
    /// let file = std::fs::File::open("/proc/self/comm")?;
    /// a.write_with_descriptors("a file", vec![file.into()]).await.0?;
    ///
    /// let mut piece = incoming.recv().await?.expect("the peer is there");
    /// assert_eq!(&*piece.payload, b"a file");
    /// assert_eq!(piece.control.take_descriptors().len(), 1);
    /// # Ok(()) })
    /// # }
    /// ```
    pub fn receive_descriptors(&self) -> io::Result<UnixDescriptorReceiver> {
        UnixDescriptorReceiver::new(&self.0)
    }

    /// Ends one or both directions. See [`TcpStream::shutdown`](crate::net::TcpStream::shutdown).
    ///
    /// # Errors
    ///
    /// As there.
    ///
    /// # Cancellation
    ///
    /// As there.
    pub async fn shutdown(&self, how: Shutdown) -> io::Result<()> {
        self.0.shutdown(how).await
    }

    /// Closes the stream in order and hands out what nobody has read. See
    /// [`TcpStream::close`](crate::net::TcpStream::close).
    ///
    /// # Errors
    ///
    /// As there.
    ///
    /// # Cancellation
    ///
    /// As there.
    pub async fn close(self) -> io::Result<Vec<Lease>> {
        Rc::clone(&self.0).close(self).await
    }

    /// Takes the stream off this core, so that another one can [`attach`] it: with what was
    /// received and not read, and what is known of its ends. Waits for the committed write and the
    /// end of the receive; a connection that was just accepted has neither, and is ready at once.
    ///
    /// [`attach`]: crate::net::Detached::attach
    ///
    /// # Cancellation
    ///
    /// Dropping the future closes the stream as dropping the stream does.
    pub async fn detach(self) -> Detached<UnixStream> {
        detached::detach(self).await
    }

    /// The two directions, for two tasks.
    pub fn into_split(self) -> (OwnedReadHalf<UnixStream>, OwnedWriteHalf<UnixStream>) {
        halves::split(&self.0)
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

    /// The process at the other end: for a server, whom it talks to.
    ///
    /// # Errors
    ///
    /// As [`getsockopt(2)`](https://man7.org/linux/man-pages/man2/getsockopt.2.html).
    ///
    /// # Examples
    ///
    /// ```
    /// use corering::net::UnixStream;
    ///
    /// # fn main() -> std::io::Result<()> {
    /// # corering::Runtime::new()?.block_on(async {
    /// let (a, _b) = UnixStream::pair()?;
    /// assert_eq!(a.peer_cred()?.pid(), Some(std::process::id() as i32));
    /// # Ok(()) })
    /// # }
    /// ```
    ///
    /// # Source
    ///
    /// `SO_PEERCRED` in [`unix(7)`](https://man7.org/linux/man-pages/man7/unix.7.html)
    #[doc(alias = "SO_PEERCRED")]
    pub fn peer_cred(&self) -> io::Result<UCred> {
        UCred::of_peer(self.0.fd())
    }

    /// Takes over a stream of std's. It is switched to blocking, which the ring needs to wait for
    /// it.
    ///
    /// # Errors
    ///
    /// `NotConnected`: no runtime runs on this thread.
    pub fn from_std(stream: std::os::unix::net::UnixStream) -> io::Result<UnixStream> {
        let driver = Driver::current()?;
        stream.set_nonblocking(false)?;
        let fd = Fd::from(OwnedFd::from(stream));
        Ok(UnixStream(Socket::new(fd, driver)))
    }

    /// A stream of std's on the same socket, with what was received and never read. See
    /// [`TcpStream::into_std`](crate::net::TcpStream::into_std).
    ///
    /// # Errors
    ///
    /// As there.
    ///
    /// # Cancellation
    ///
    /// As there.
    pub async fn into_std(self) -> io::Result<(std::os::unix::net::UnixStream, Vec<Lease>)> {
        let fd = self.as_fd().try_clone_to_owned()?;
        let unread = self.close().await?;
        let stream = std::os::unix::net::UnixStream::from(fd);
        stream.set_nonblocking(false)?; // it may have been spliced
        Ok((stream, unread))
    }
}

impl StreamSocket for UnixStream {
    type Address = SocketAddr;

    fn of(socket: Rc<Socket>) -> UnixStream {
        UnixStream(socket)
    }

    fn socket(&self) -> &Rc<Socket> {
        &self.0
    }

    fn address(address: &SockAddr) -> io::Result<SocketAddr> {
        to_std(address)
    }
}

impl Drop for UnixStream {
    #[inline]
    fn drop(&mut self) {
        self.0.drop_whole();
    }
}

impl AsFd for UnixStream {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.fd().as_fd()
    }
}

impl fmt::Debug for UnixStream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("UnixStream").field(&self.as_fd()).finish()
    }
}
