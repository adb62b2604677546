//! A connection of either family, as what talks on it sees it.

use std::io;
use std::net::Shutdown;

use corering::buffers::Lease;
use corering::net::{
    FillBuf, FillMore, OwnedReadHalf, OwnedWriteHalf, Read, Recv, TcpStream, UnixStream, Write,
    WriteAll, WriteVectored, WriteZeroCopy,
};
use corering::{IoBuf, IoBufMut, IoBufs};

pub(crate) enum Stream {
    Tcp(TcpStream),
    Unix(UnixStream),
}

pub(crate) enum ReadHalf {
    Tcp(OwnedReadHalf),
    Unix(OwnedReadHalf<UnixStream>),
}

pub(crate) enum WriteHalf {
    Tcp(OwnedWriteHalf),
    Unix(OwnedWriteHalf<UnixStream>),
}

impl Stream {
    pub(crate) fn recv(&self) -> Recv<'_> {
        match self {
            Stream::Tcp(it) => it.recv(),
            Stream::Unix(it) => it.recv(),
        }
    }

    pub(crate) fn read<B: IoBufMut>(&self, buf: B) -> Read<'_, B> {
        match self {
            Stream::Tcp(it) => it.read(buf),
            Stream::Unix(it) => it.read(buf),
        }
    }

    pub(crate) fn fill_buf(&self) -> FillBuf<'_> {
        match self {
            Stream::Tcp(it) => it.fill_buf(),
            Stream::Unix(it) => it.fill_buf(),
        }
    }

    pub(crate) fn fill_more(&self) -> FillMore<'_> {
        match self {
            Stream::Tcp(it) => it.fill_more(),
            Stream::Unix(it) => it.fill_more(),
        }
    }

    pub(crate) fn consume(&self, n: usize) {
        match self {
            Stream::Tcp(it) => it.consume(n),
            Stream::Unix(it) => it.consume(n),
        }
    }

    pub(crate) fn consume_to_vec(&self, n: usize) -> Vec<u8> {
        match self {
            Stream::Tcp(it) => it.consume_to_vec(n),
            Stream::Unix(it) => it.consume_to_vec(n),
        }
    }

    pub(crate) fn write_all<B: IoBuf>(&self, buf: B) -> WriteAll<'_, B> {
        match self {
            Stream::Tcp(it) => it.write_all(buf),
            Stream::Unix(it) => it.write_all(buf),
        }
    }

    pub(crate) fn write<B: IoBuf>(&self, buf: B) -> Write<'_, B> {
        match self {
            Stream::Tcp(it) => it.write(buf),
            Stream::Unix(it) => it.write(buf),
        }
    }

    pub(crate) fn write_vectored<B: IoBufs>(&self, bufs: B) -> WriteVectored<'_, B> {
        match self {
            Stream::Tcp(it) => it.write_vectored(bufs),
            Stream::Unix(it) => it.write_vectored(bufs),
        }
    }

    /// Unix sockets have no such thing, and give the buffer back.
    pub(crate) fn write_zero_copy<B: IoBuf>(&self, buf: B) -> Result<WriteZeroCopy<'_, B>, B> {
        match self {
            Stream::Tcp(it) => Ok(it.write_zero_copy(buf)),
            Stream::Unix(_) => Err(buf),
        }
    }

    pub(crate) async fn shutdown(&self, how: Shutdown) -> io::Result<()> {
        match self {
            Stream::Tcp(stream) => stream.shutdown(how).await,
            Stream::Unix(stream) => stream.shutdown(how).await,
        }
    }

    pub(crate) async fn close(self) -> io::Result<Vec<Lease>> {
        match self {
            Stream::Tcp(stream) => stream.close().await,
            Stream::Unix(stream) => stream.close().await,
        }
    }

    pub(crate) fn into_split(self) -> (ReadHalf, WriteHalf) {
        match self {
            Stream::Tcp(stream) => {
                let (read, write) = stream.into_split();
                (ReadHalf::Tcp(read), WriteHalf::Tcp(write))
            }
            Stream::Unix(stream) => {
                let (read, write) = stream.into_split();
                (ReadHalf::Unix(read), WriteHalf::Unix(write))
            }
        }
    }
}

impl ReadHalf {
    pub(crate) fn recv(&self) -> Recv<'_> {
        match self {
            ReadHalf::Tcp(it) => it.recv(),
            ReadHalf::Unix(it) => it.recv(),
        }
    }

    pub(crate) fn read<B: IoBufMut>(&self, buf: B) -> Read<'_, B> {
        match self {
            ReadHalf::Tcp(it) => it.read(buf),
            ReadHalf::Unix(it) => it.read(buf),
        }
    }

    pub(crate) fn fill_buf(&self) -> FillBuf<'_> {
        match self {
            ReadHalf::Tcp(it) => it.fill_buf(),
            ReadHalf::Unix(it) => it.fill_buf(),
        }
    }

    pub(crate) fn fill_more(&self) -> FillMore<'_> {
        match self {
            ReadHalf::Tcp(it) => it.fill_more(),
            ReadHalf::Unix(it) => it.fill_more(),
        }
    }

    pub(crate) fn consume(&self, n: usize) {
        match self {
            ReadHalf::Tcp(it) => it.consume(n),
            ReadHalf::Unix(it) => it.consume(n),
        }
    }
}

impl WriteHalf {
    pub(crate) fn write_all<B: IoBuf>(&self, buf: B) -> WriteAll<'_, B> {
        match self {
            WriteHalf::Tcp(it) => it.write_all(buf),
            WriteHalf::Unix(it) => it.write_all(buf),
        }
    }

    pub(crate) fn write<B: IoBuf>(&self, buf: B) -> Write<'_, B> {
        match self {
            WriteHalf::Tcp(it) => it.write(buf),
            WriteHalf::Unix(it) => it.write(buf),
        }
    }

    pub(crate) fn write_vectored<B: IoBufs>(&self, bufs: B) -> WriteVectored<'_, B> {
        match self {
            WriteHalf::Tcp(it) => it.write_vectored(bufs),
            WriteHalf::Unix(it) => it.write_vectored(bufs),
        }
    }

    /// Unix sockets have no such thing, and give the buffer back.
    pub(crate) fn write_zero_copy<B: IoBuf>(&self, buf: B) -> Result<WriteZeroCopy<'_, B>, B> {
        match self {
            WriteHalf::Tcp(it) => Ok(it.write_zero_copy(buf)),
            WriteHalf::Unix(_) => Err(buf),
        }
    }
}
