//! TCP streams.

use std::fmt;
use std::io;
use std::net::{Shutdown, SocketAddr};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::rc::Rc;
use std::time::Duration;

use corering_buffers::{IoBuf, IoBufMut, IoBufs, Lease};
use socket2::SockAddr;

use super::race;
use super::socket::ip;
use crate::driver::Driver;
use crate::net::detached::{self, Detached};
use crate::net::halves::{self, OwnedReadHalf, OwnedWriteHalf};
use crate::net::lookup::{ToSocketAddrs, resolve};
use crate::net::stream::{
    FillBuf, FillMore, Read, Recv, Socket, StreamSocket, Write, WriteAll, WriteVectored,
    WriteZeroCopy,
};
use crate::ring::Fd;
use crate::time::timeout;

/// A TCP connection.
///
/// # Reading
///
/// What the kernel receives goes to the stream's *inbox*, in buffers that the core shares out, and
/// stays there until somebody takes it. [`recv`](TcpStream::recv) hands out the buffer itself,
/// [`read`](TcpStream::read) copies into yours (or receives there directly, when messages are
/// large), [`fill_buf`](TcpStream::fill_buf) shows the bytes to a parser. A connection that is idle
/// holds no buffer. The inbox holds at most about 256 KiB; then the kernel's own flow control stops
/// the peer.
///
/// # Writing
///
/// One write is in flight at a time, the others wait in order. A write that was submitted is
/// *committed*: it goes on to its end even if its future is dropped, so nothing is torn. An error
/// ends the write side and is reported by every later write.
///
/// # Cancellation
///
/// Dropping any future loses no byte: what was received is returned by the next read. Dropping the
/// stream cancels its receive, lets the committed write go on for at most 10 s, and closes it
/// then; as always with TCP, unread bytes make the kernel reset the connection.
pub struct TcpStream(pub(super) Rc<Socket>);

impl TcpStream {
    #[inline]
    pub(super) fn new(socket: Rc<Socket>) -> TcpStream {
        TcpStream(socket)
    }

    /// Connects to a host, by whichever of its addresses answers first.
    ///
    /// They are tried as [RFC 8305](https://www.rfc-editor.org/rfc/rfc8305) has it ("happy
    /// eyeballs"): IPv6 and IPv4 in turns, the next one when an attempt has failed or has not
    /// answered within 250 ms, 8 at once at most. The others are cancelled when one has connected;
    /// their peers may see a connection come and go.
    ///
    /// # Errors
    ///
    /// Those of [`TcpSocket::connect`](super::TcpSocket::connect) with the address that failed
    /// last, of [`lookup_host`](crate::net::lookup_host), and `EMFILE`.
    ///
    /// # Cancellation
    ///
    /// As [`TcpSocket::connect`](super::TcpSocket::connect): all attempts are cancelled.
    pub async fn connect(address: impl ToSocketAddrs) -> io::Result<TcpStream> {
        race::connect(resolve(address).await?).await
    }

    /// As [`connect`](TcpStream::connect), with a limit for all of it: the lookup of the name and
    /// the attempts.
    ///
    /// # Errors
    ///
    /// `TimedOut` when `limit` has passed; as [`connect`](TcpStream::connect).
    ///
    /// # Cancellation
    ///
    /// As [`connect`](TcpStream::connect).
    ///
    /// # Examples
    ///
    /// ```
    /// use std::time::Duration;
    /// use corering::net::{TcpListener, TcpStream};
    ///
    /// # fn main() -> std::io::Result<()> {
    /// # corering::Runtime::new()?.block_on(async {
    /// # let listener = TcpListener::bind("127.0.0.1:0").await?;
    /// let address = ("localhost", listener.local_addr()?.port());
    /// let stream = TcpStream::connect_timeout(address, Duration::from_secs(5)).await?;
    /// # Ok(()) })
    /// # }
    /// ```
    pub async fn connect_timeout(
        address: impl ToSocketAddrs,
        limit: Duration,
    ) -> io::Result<TcpStream> {
        timeout(limit, TcpStream::connect(address))
            .await
            .unwrap_or_else(|elapsed| Err(elapsed.into()))
    }

    /// Receives the next bytes, without a copy: `None` at the end of the stream.
    ///
    /// A [`Lease`] is as long as what one receive brought, 64 KiB at most, and never empty. It is
    /// an [`IoBuf`]: it can be sent on as it is. While it lives the kernel has one buffer less; a
    /// core that runs low hands out copies.
    ///
    /// # Errors
    ///
    /// `ECONNRESET`: the peer has reset the connection. `ETIMEDOUT`: it is gone. `ECANCELED`: the
    /// runtime has ended. An error stays: later calls report it again.
    ///
    /// The kernel reports a reset once. Where it tells a write that had sent a part, which then
    /// ends with `EPIPE`, this is `None`: bytes that the peer had not sent yet are no error. A
    /// protocol knows by itself where its messages end.
    ///
    /// # Cancellation
    ///
    /// Dropping the future loses nothing: the next call returns the bytes.
    ///
    /// # Kernel
    ///
    /// `IORING_OP_RECV` with `IORING_RECV_MULTISHOT`, since 6.0.
    ///
    /// # Source
    ///
    /// [`recv(2)`](https://man7.org/linux/man-pages/man2/recv.2.html)
    ///
    /// # Examples
    ///
    /// ```
    /// # use corering::net::{TcpListener, TcpStream};
    /// async fn echo(stream: TcpStream) -> std::io::Result<()> {
    ///     while let Some(lease) = stream.recv().await? {
    ///         stream.write_all(lease).await.0?;
    ///     }
    ///     Ok(())
    /// }
    /// # fn main() -> std::io::Result<()> {
    /// # corering::Runtime::new()?.block_on(async {
    /// # let listener = TcpListener::bind("127.0.0.1:0").await?;
    /// # let client = TcpStream::connect(listener.local_addr()?).await?;
    /// # corering::spawn(echo(listener.accept().await?.0));
    /// client.write_all("hello").await.0?;
    /// assert_eq!(&*client.recv().await?.unwrap(), b"hello");
    /// # Ok(()) })
    /// # }
    /// ```
    #[doc(alias = "IORING_OP_RECV")]
    #[inline]
    pub fn recv(&self) -> Recv<'_> {
        Recv::new(&self.0)
    }

    /// Reads into `buf` from its start: the number of bytes, 0 at the end of the stream.
    ///
    /// `buf` comes back in every case; its length is what was read, at most its capacity.
    ///
    /// # Errors
    ///
    /// As [`recv`](TcpStream::recv). `InvalidInput` if `buf` has no room: such a read would look
    /// like the end of the stream.
    ///
    /// # Cancellation
    ///
    /// Dropping the future loses no byte; the buffer is freed as soon as the kernel is done with
    /// it.
    ///
    /// # Kernel
    ///
    /// `IORING_OP_RECV`, since 5.6.
    ///
    /// # Source
    ///
    /// [`recv(2)`](https://man7.org/linux/man-pages/man2/recv.2.html)
    ///
    /// # Examples
    ///
    /// ```
    /// # use corering::net::TcpStream;
    /// async fn count(stream: &TcpStream) -> std::io::Result<usize> {
    ///     let (mut buf, mut total) = (Vec::with_capacity(16 * 1024), 0);
    ///     loop {
    ///         let n;
    ///         (n, buf) = stream.read(buf).await;
    ///         match n? {
    ///             0 => return Ok(total),
    ///             n => total += n,
    ///         }
    ///     }
    /// }
    /// ```
    #[inline]
    pub fn read<B: IoBufMut>(&self, buf: B) -> Read<'_, B> {
        Read::new(&self.0, buf)
    }

    /// The oldest bytes in the inbox, at least one; empty at the end of the stream. Nothing is
    /// consumed.
    ///
    /// # Errors
    ///
    /// As [`recv`](TcpStream::recv).
    ///
    /// # Cancellation
    ///
    /// Dropping the future loses nothing.
    ///
    /// # Examples
    ///
    /// ```
    /// # use corering::net::TcpStream;
    /// async fn line(stream: &TcpStream) -> std::io::Result<Vec<u8>> {
    ///     loop {
    ///         let bytes = stream.fill_buf().await?;
    ///         if let Some(end) = bytes.iter().position(|&byte| byte == b'\n') {
    ///             return Ok(stream.consume_to_vec(end + 1));
    ///         }
    ///         stream.fill_more().await?;
    ///     }
    /// }
    /// ```
    pub fn fill_buf(&self) -> FillBuf<'_> {
        FillBuf::new(&self.0)
    }

    /// Waits for more than [`fill_buf`](TcpStream::fill_buf) has shown, and makes one piece of it.
    ///
    /// # Errors
    ///
    /// `UnexpectedEof`: the stream has ended. `OutOfMemory`: the piece has reached 16 MiB. Others
    /// as [`recv`](TcpStream::recv).
    ///
    /// # Cancellation
    ///
    /// Dropping the future loses nothing.
    pub fn fill_more(&self) -> FillMore<'_> {
        FillMore::new(&self.0)
    }

    /// Takes `n` bytes off the inbox.
    ///
    /// # Panics
    ///
    /// If the inbox holds fewer bytes.
    pub fn consume(&self, n: usize) {
        self.0.consume(n);
    }

    /// Takes `n` bytes off the inbox and returns a copy of them.
    ///
    /// # Panics
    ///
    /// If the inbox holds fewer bytes.
    pub fn consume_to_vec(&self, n: usize) -> Vec<u8> {
        self.0.consume_to_vec(n)
    }

    /// Writes all of `buf`, which comes back in every case.
    ///
    /// # Errors
    ///
    /// `EPIPE`: the write side was shut down, or the peer is gone (there is no `SIGPIPE`).
    /// `ECONNRESET`: the peer has reset the connection. `ECANCELED`: the runtime has ended. An
    /// error stays: later writes report it again. How much was written before it is unknown.
    ///
    /// # Cancellation
    ///
    /// Dropping the future before its turn has come sends nothing. After that the write is
    /// committed and goes on to its end.
    ///
    /// # Kernel
    ///
    /// `IORING_OP_SEND` with `MSG_WAITALL`, since 5.6.
    ///
    /// # Source
    ///
    /// [`send(2)`](https://man7.org/linux/man-pages/man2/send.2.html)
    #[doc(alias = "IORING_OP_SEND")]
    #[inline]
    pub fn write_all<B: IoBuf>(&self, buf: B) -> WriteAll<'_, B> {
        WriteAll::new(&self.0, buf)
    }

    /// Writes as much of `buf` as the kernel takes at once: the number of bytes.
    ///
    /// # Errors
    ///
    /// As [`write_all`](TcpStream::write_all).
    ///
    /// # Cancellation
    ///
    /// As [`write_all`](TcpStream::write_all).
    pub fn write<B: IoBuf>(&self, buf: B) -> Write<'_, B> {
        Write::new(&self.0, buf)
    }

    /// Writes several buffers in order, as much as the kernel takes at once: the number of bytes.
    /// At most 1,024 buffers are looked at.
    ///
    /// # Errors
    ///
    /// As [`write_all`](TcpStream::write_all).
    ///
    /// # Cancellation
    ///
    /// As [`write_all`](TcpStream::write_all).
    ///
    /// # Kernel
    ///
    /// `IORING_OP_SENDMSG`, since 5.3.
    ///
    /// # Source
    ///
    /// [`sendmsg(2)`](https://man7.org/linux/man-pages/man2/sendmsg.2.html)
    #[doc(alias = "IORING_OP_SENDMSG")]
    pub fn write_vectored<B: IoBufs>(&self, bufs: B) -> WriteVectored<'_, B> {
        WriteVectored::new(&self.0, bufs)
    }

    /// Writes from the buffer's own pages, as much as the kernel takes at once.
    ///
    /// `buf` comes back when the kernel needs it no longer, which is when the peer has acknowledged
    /// the bytes. That pays for large buffers on a network card that can do it; on loopback the
    /// kernel copies all the same.
    ///
    /// # Errors
    ///
    /// As [`write_all`](TcpStream::write_all); `ENOMEM` if the limit of locked memory is reached.
    ///
    /// # Cancellation
    ///
    /// As [`write_all`](TcpStream::write_all).
    ///
    /// # Kernel
    ///
    /// `IORING_OP_SEND_ZC`, since 6.0.
    ///
    /// # Source
    ///
    /// [`io_uring_prep_send_zc(3)`](https://man7.org/linux/man-pages/man3/io_uring_prep_send_zc.3.html)
    #[doc(alias = "IORING_OP_SEND_ZC")]
    pub fn write_zero_copy<B: IoBuf>(&self, buf: B) -> WriteZeroCopy<'_, B> {
        WriteZeroCopy::new(&self.0, buf)
    }

    /// Shuts down one or both sides; the write side after the writes that are committed.
    ///
    /// # Errors
    ///
    /// The error that has ended the write side; `ENOTCONN`.
    ///
    /// # Source
    ///
    /// [`shutdown(2)`](https://man7.org/linux/man-pages/man2/shutdown.2.html)
    pub async fn shutdown(&self, how: Shutdown) -> io::Result<()> {
        self.0.shutdown(how).await
    }

    /// Closes the connection in order: waits for the committed write, ends the receive, closes the
    /// descriptor. Returns what was received and never read.
    ///
    /// # Errors
    ///
    /// The error that has ended the write side.
    ///
    /// # Cancellation
    ///
    /// Dropping the future closes the stream as dropping the stream does.
    ///
    /// # Source
    ///
    /// [`close(2)`](https://man7.org/linux/man-pages/man2/close.2.html)
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
    pub async fn detach(self) -> Detached {
        detached::detach(self).await
    }

    /// The two sides, to be used by different tasks.
    pub fn into_split(self) -> (OwnedReadHalf, OwnedWriteHalf) {
        halves::split(&self.0)
    }

    /// The address of this end.
    ///
    /// # Errors
    ///
    /// As [`getsockname(2)`](https://man7.org/linux/man-pages/man2/getsockname.2.html).
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        ip(&self.0.fd().getsockname()?)
    }

    /// The address of the other end.
    ///
    /// # Errors
    ///
    /// `ENOTCONN`: the peer has reset the connection.
    pub fn peer_addr(&self) -> io::Result<SocketAddr> {
        ip(&self.0.fd().getpeername()?)
    }

    /// Takes over a connection of std's. It is switched to blocking, which the ring needs to wait
    /// for it.
    ///
    /// # Errors
    ///
    /// `NotConnected`: no runtime runs on this thread.
    pub fn from_std(stream: std::net::TcpStream) -> io::Result<TcpStream> {
        let driver = Driver::current()?;
        stream.set_nonblocking(false)?;
        Ok(TcpStream(Socket::new(
            Fd::from(OwnedFd::from(stream)),
            driver,
        )))
    }

    /// A connection of std's on the same socket (a duplicate of the descriptor), with what was
    /// received and never read. Waits for the committed write and the end of the receive.
    ///
    /// # Errors
    ///
    /// The error that has ended the write side; `EMFILE`.
    pub async fn into_std(self) -> io::Result<(std::net::TcpStream, Vec<Lease>)> {
        let fd = self.as_fd().try_clone_to_owned()?;
        let unread = self.close().await?;
        let stream = std::net::TcpStream::from(fd);
        stream.set_nonblocking(false)?; // it may have been spliced
        Ok((stream, unread))
    }
}

impl StreamSocket for TcpStream {
    type Address = SocketAddr;

    fn of(socket: Rc<Socket>) -> TcpStream {
        TcpStream(socket)
    }

    fn socket(&self) -> &Rc<Socket> {
        &self.0
    }

    fn address(address: &SockAddr) -> io::Result<SocketAddr> {
        ip(address)
    }
}

impl Drop for TcpStream {
    #[inline]
    fn drop(&mut self) {
        self.0.drop_whole();
    }
}

impl AsFd for TcpStream {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.fd().as_fd()
    }
}

impl fmt::Debug for TcpStream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("TcpStream").field(&self.as_fd()).finish()
    }
}
