//! The two sides of a stream, apart.

use std::error::Error;
use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::rc::Rc;

use corering_buffers::{IoBuf, IoBufMut, IoBufs};

use super::socket::ip;
use super::stream::TcpStream;
use crate::net::stream::{
    FillBuf, FillMore, Read, Recv, Socket, Write, WriteAll, WriteVectored, WriteZeroCopy,
};

/// The read side of a [`TcpStream`], made by [`TcpStream::into_split`].
///
/// Dropping it cancels the receive; the write side goes on.
pub struct OwnedReadHalf(Option<Rc<Socket>>);

/// The write side of a [`TcpStream`], made by [`TcpStream::into_split`].
///
/// Dropping it shuts the write side down (`SHUT_WR`) once the committed writes have ended: the peer
/// sees the end of the stream. The read side goes on.
pub struct OwnedWriteHalf(Option<Rc<Socket>>);

/// Two halves that are not of the same stream, given back.
#[derive(Debug)]
pub struct ReuniteError(pub OwnedReadHalf, pub OwnedWriteHalf);

impl fmt::Display for ReuniteError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the halves are not of the same stream")
    }
}

impl Error for ReuniteError {}

pub(super) fn split(socket: &Rc<Socket>) -> (OwnedReadHalf, OwnedWriteHalf) {
    socket.set_split(true);
    (
        OwnedReadHalf(Some(Rc::clone(socket))),
        OwnedWriteHalf(Some(Rc::clone(socket))),
    )
}

impl OwnedReadHalf {
    fn socket(&self) -> &Rc<Socket> {
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
    pub fn peer_addr(&self) -> io::Result<SocketAddr> {
        ip(self.socket().fd().getpeername()?)
    }

    /// Makes a stream of its two halves again.
    ///
    /// # Errors
    ///
    /// The halves, if they are not of the same stream.
    pub fn reunite(mut self, mut write: OwnedWriteHalf) -> Result<TcpStream, ReuniteError> {
        if !Rc::ptr_eq(self.socket(), write.socket()) {
            return Err(ReuniteError(self, write));
        }
        drop(write.0.take());
        let socket = Rc::clone(self.socket());
        self.0 = None;
        socket.set_split(false);
        Ok(TcpStream::new(socket))
    }
}

impl OwnedWriteHalf {
    fn socket(&self) -> &Rc<Socket> {
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
    pub fn peer_addr(&self) -> io::Result<SocketAddr> {
        ip(self.socket().fd().getpeername()?)
    }
}

impl Drop for OwnedReadHalf {
    fn drop(&mut self) {
        if let Some(socket) = self.0.take() {
            socket.drop_read_half();
        }
    }
}

impl Drop for OwnedWriteHalf {
    fn drop(&mut self) {
        if let Some(socket) = self.0.take() {
            socket.drop_write_half();
        }
    }
}

impl fmt::Debug for OwnedReadHalf {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OwnedReadHalf").finish_non_exhaustive()
    }
}

impl fmt::Debug for OwnedWriteHalf {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OwnedWriteHalf").finish_non_exhaustive()
    }
}

impl ReuniteError {
    /// The halves.
    pub fn into_halves(self) -> (OwnedReadHalf, OwnedWriteHalf) {
        (self.0, self.1)
    }
}
