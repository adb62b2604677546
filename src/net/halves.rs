//! The two sides of a stream, apart.

use std::error::Error;
use std::fmt;
use std::io;
use std::marker::PhantomData;
use std::rc::Rc;

use corering_buffers::{IoBuf, IoBufMut, IoBufs};

use super::TcpStream;
use super::stream::{
    FillBuf, FillMore, Read, Recv, Socket, StreamSocket, Write, WriteAll, WriteVectored,
    WriteZeroCopy,
};

/// The read side of a stream, made by [`TcpStream::into_split`] and
/// [`UnixStream::into_split`](super::UnixStream::into_split).
///
/// Dropping it cancels the receive; the write side goes on.
pub struct OwnedReadHalf<S = TcpStream>(Option<Rc<Socket>>, PhantomData<S>);

/// The write side of a stream, made by [`TcpStream::into_split`] and
/// [`UnixStream::into_split`](super::UnixStream::into_split).
///
/// Dropping it shuts the write side down (`SHUT_WR`) once the committed writes have ended: the peer
/// sees the end of the stream. The read side goes on.
pub struct OwnedWriteHalf<S = TcpStream>(Option<Rc<Socket>>, PhantomData<S>);

/// Two halves that are not of the same stream, given back.
pub struct ReuniteError<S = TcpStream>(pub OwnedReadHalf<S>, pub OwnedWriteHalf<S>);

impl<S> fmt::Display for ReuniteError<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the halves are not of the same stream")
    }
}

impl<S> fmt::Debug for ReuniteError<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ReuniteError").finish_non_exhaustive()
    }
}

impl<S> Error for ReuniteError<S> {}

pub(super) fn split<S>(socket: &Rc<Socket>) -> (OwnedReadHalf<S>, OwnedWriteHalf<S>) {
    socket.set_split(true);
    (
        OwnedReadHalf(Some(Rc::clone(socket)), PhantomData),
        OwnedWriteHalf(Some(Rc::clone(socket)), PhantomData),
    )
}

impl<S: StreamSocket> OwnedReadHalf<S> {
    pub(super) fn socket(&self) -> &Rc<Socket> {
        self.0.as_ref().expect("only drop and reunite take it")
    }

    /// See [`TcpStream::recv`].
    pub fn recv(&self) -> Recv<'_> {
        Recv::new(self.socket())
    }

    /// See [`TcpStream::read`].
    pub fn read<B: IoBufMut>(&self, buf: B) -> Read<'_, B> {
        Read::new(self.socket(), buf)
    }

    /// See [`TcpStream::fill_buf`].
    pub fn fill_buf(&self) -> FillBuf<'_> {
        FillBuf::new(self.socket())
    }

    /// See [`TcpStream::fill_more`].
    pub fn fill_more(&self) -> FillMore<'_> {
        FillMore::new(self.socket())
    }

    /// See [`TcpStream::consume`].
    ///
    /// # Panics
    ///
    /// If the inbox holds fewer bytes.
    pub fn consume(&self, n: usize) {
        self.socket().consume(n);
    }

    /// See [`TcpStream::peer_addr`].
    ///
    /// # Errors
    ///
    /// As there.
    pub fn peer_addr(&self) -> io::Result<S::Address> {
        S::address(&self.socket().fd().getpeername()?)
    }

    /// Makes a stream of its two halves again.
    ///
    /// # Errors
    ///
    /// The halves, if they are not of the same stream.
    pub fn reunite(mut self, mut write: OwnedWriteHalf<S>) -> Result<S, ReuniteError<S>> {
        if !Rc::ptr_eq(self.socket(), write.socket()) {
            return Err(ReuniteError(self, write));
        }
        drop(write.0.take());
        let socket = Rc::clone(self.socket());
        self.0 = None;
        socket.set_split(false);
        Ok(S::of(socket))
    }
}

impl<S: StreamSocket> OwnedWriteHalf<S> {
    pub(super) fn socket(&self) -> &Rc<Socket> {
        self.0.as_ref().expect("only drop and reunite take it")
    }

    /// See [`TcpStream::write_all`].
    pub fn write_all<B: IoBuf>(&self, buf: B) -> WriteAll<'_, B> {
        WriteAll::new(self.socket(), buf)
    }

    /// See [`TcpStream::write`].
    pub fn write<B: IoBuf>(&self, buf: B) -> Write<'_, B> {
        Write::new(self.socket(), buf)
    }

    /// See [`TcpStream::write_vectored`].
    pub fn write_vectored<B: IoBufs>(&self, bufs: B) -> WriteVectored<'_, B> {
        WriteVectored::new(self.socket(), bufs)
    }

    /// See [`TcpStream::write_zero_copy`].
    pub fn write_zero_copy<B: IoBuf>(&self, buf: B) -> WriteZeroCopy<'_, B> {
        WriteZeroCopy::new(self.socket(), buf)
    }

    /// See [`TcpStream::peer_addr`].
    ///
    /// # Errors
    ///
    /// As there.
    pub fn peer_addr(&self) -> io::Result<S::Address> {
        S::address(&self.socket().fd().getpeername()?)
    }
}

impl<S> Drop for OwnedReadHalf<S> {
    fn drop(&mut self) {
        if let Some(socket) = self.0.take() {
            socket.drop_read_half();
        }
    }
}

impl<S> Drop for OwnedWriteHalf<S> {
    fn drop(&mut self) {
        if let Some(socket) = self.0.take() {
            socket.drop_write_half();
        }
    }
}

impl<S> fmt::Debug for OwnedReadHalf<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OwnedReadHalf").finish_non_exhaustive()
    }
}

impl<S> fmt::Debug for OwnedWriteHalf<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OwnedWriteHalf").finish_non_exhaustive()
    }
}

impl<S> ReuniteError<S> {
    /// The halves.
    pub fn into_halves(self) -> (OwnedReadHalf<S>, OwnedWriteHalf<S>) {
        (self.0, self.1)
    }
}
