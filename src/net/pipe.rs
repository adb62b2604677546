//! Pipes: bytes in one direction, between tasks, to another program or from it.
//!
//! The two ends are what a stream's two sides are: they share all of its lines, its inbox and its
//! rules. Only what is submitted is a `READ` or a `WRITE`, and there is no multishot receive.

use std::fmt;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::rc::Rc;

use corering_buffers::{BufResult, IoBuf, IoBufMut};

use super::stream::{Read, Socket, Write, WriteAll};
use crate::driver::Driver;
use crate::io::{AsyncRead, AsyncWrite};
use crate::ring::{Fd, Ring};

/// A new pipe: what is written to the sender comes out of the receiver.
///
/// It holds 64 KiB, in 16 pages: a write goes into the last page if it fits there as a whole, so
/// many small ones may fill it earlier. Each end takes a descriptor.
///
/// # Errors
///
/// `EMFILE`, `ENFILE`: no descriptor is left. `NotConnected`: no runtime runs on this thread.
///
/// # Source
///
/// [`pipe(7)`](https://man7.org/linux/man-pages/man7/pipe.7.html)
///
/// # Examples
///
/// ```
/// use corering::net::pipe;
///
/// # fn main() -> std::io::Result<()> {
/// # corering::Runtime::new()?.block_on(async {
/// let (sender, receiver) = pipe::pipe()?;
/// sender.write_all("hello").await.0?;
/// drop(sender);
///
/// let (n, buf) = receiver.read(Vec::with_capacity(64)).await;
/// assert_eq!((n?, &buf[..]), (5, &b"hello"[..]));
/// assert_eq!(receiver.read(buf).await.0?, 0); // the end
/// # Ok(()) })
/// # }
/// ```
pub fn pipe() -> io::Result<(Sender, Receiver)> {
    let driver = Driver::current()?;
    let (reader, writer) = driver.with_ring(Ring::pipe)?;
    let receiver = Receiver(Socket::of_pipe(reader, Rc::clone(&driver)));
    Ok((Sender(Socket::of_pipe(writer, driver)), receiver))
}

/// The end of a pipe that is written to. When it is gone, the other end gets the end of the bytes.
///
/// Dropped, it lets a write that is committed go on for at most 10 s.
///
/// `SIGPIPE` comes with a write to a pipe whose other end is gone: Rust has it ignored, and a
/// program that gives itself its default action back is ended by it.
pub struct Sender(Rc<Socket>);

/// The end of a pipe that is read from.
pub struct Receiver(Rc<Socket>);

impl Sender {
    /// Takes over the end of a pipe, of a program's standard input for one.
    ///
    /// # Errors
    ///
    /// `NotConnected`: no runtime runs on this thread.
    pub fn from_owned_fd(fd: OwnedFd) -> io::Result<Sender> {
        let driver = Driver::current()?;
        Ok(Sender(Socket::of_pipe(Fd::from(fd), driver)))
    }

    /// Writes all of `buf`, which comes back in every case.
    ///
    /// # Errors
    ///
    /// `EPIPE`: the other end is gone. It stays.
    ///
    /// # Cancellation
    ///
    /// Before its turn has come nothing is written. After that all of it is, whoever waits for it.
    ///
    /// # Kernel
    ///
    /// `IORING_OP_WRITE`, since 5.6. Before 6.4 a kernel thread waits with each write to a full
    /// pipe, 64 of them at most.
    ///
    /// # Source
    ///
    /// [`pipe(7)`](https://man7.org/linux/man-pages/man7/pipe.7.html)
    #[doc(alias = "IORING_OP_WRITE")]
    pub fn write_all<B: IoBuf>(&self, buf: B) -> WriteAll<'_, B> {
        WriteAll::new(&self.0, buf)
    }

    /// Writes as much of `buf` as the pipe takes at once: the number of bytes. Up to 4,096 are
    /// written as a whole or not at all.
    ///
    /// # Errors
    ///
    /// As [`write_all`](Sender::write_all).
    ///
    /// # Cancellation
    ///
    /// As [`write_all`](Sender::write_all), for what the pipe takes at once.
    pub fn write<B: IoBuf>(&self, buf: B) -> Write<'_, B> {
        Write::new(&self.0, buf)
    }
}

impl Receiver {
    /// Takes over the end of a pipe, of a program's standard output for one.
    ///
    /// # Errors
    ///
    /// `NotConnected`: no runtime runs on this thread.
    pub fn from_owned_fd(fd: OwnedFd) -> io::Result<Receiver> {
        let driver = Driver::current()?;
        Ok(Receiver(Socket::of_pipe(Fd::from(fd), driver)))
    }

    /// Reads into `buf` from its start: the number of bytes, 0 at the end, when all senders are
    /// gone. `buf` comes back in every case.
    ///
    /// # Errors
    ///
    /// `InvalidInput`: `buf` has no room.
    ///
    /// # Cancellation
    ///
    /// Dropped, it is cancelled; bytes that come all the same are kept for the next read.
    ///
    /// # Kernel
    ///
    /// `IORING_OP_READ`, since 5.6. Before 6.4 a kernel thread waits with each read of an empty
    /// pipe, 64 of them at most.
    ///
    /// # Source
    ///
    /// [`pipe(7)`](https://man7.org/linux/man-pages/man7/pipe.7.html)
    #[doc(alias = "IORING_OP_READ")]
    pub fn read<B: IoBufMut>(&self, buf: B) -> Read<'_, B> {
        Read::new(&self.0, buf)
    }
}

impl AsyncRead for Receiver {
    async fn read<B: IoBufMut>(&mut self, buf: B) -> BufResult<usize, B> {
        Receiver::read(self, buf).await
    }
}

impl AsyncWrite for Sender {
    async fn write<B: IoBuf>(&mut self, buf: B) -> BufResult<usize, B> {
        Sender::write(self, buf).await
    }

    async fn flush(&mut self) -> io::Result<()> {
        self.0.flush().await
    }

    /// Waits for what is committed. The other end gets the end of the bytes when this one is
    /// dropped.
    async fn shutdown(&mut self) -> io::Result<()> {
        self.0.flush().await
    }

    async fn write_all<B: IoBuf>(&mut self, buf: B) -> BufResult<(), B> {
        Sender::write_all(self, buf).await
    }
}

impl Drop for Sender {
    fn drop(&mut self) {
        self.0.drop_whole();
    }
}

impl Drop for Receiver {
    fn drop(&mut self) {
        self.0.drop_whole();
    }
}

impl AsFd for Sender {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.fd().as_fd()
    }
}

impl AsFd for Receiver {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.fd().as_fd()
    }
}

impl fmt::Debug for Sender {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Sender").field(&self.as_fd()).finish()
    }
}

impl fmt::Debug for Receiver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Receiver").field(&self.as_fd()).finish()
    }
}
