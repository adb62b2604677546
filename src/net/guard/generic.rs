//! Guarded streams as sources and sinks of generic code.

use std::io;
use std::net::Shutdown;

use corering_buffers::{BufResult, IoBuf, IoBufMut, IoBufs, Lease};

use super::Guarded;
use crate::io::{AsyncBufRead, AsyncRead, AsyncWrite, by_reference};
use crate::net::stream::StreamSocket;

impl<S: StreamSocket> AsyncRead for &Guarded<S> {
    async fn read<B: IoBufMut>(&mut self, buf: B) -> BufResult<usize, B> {
        (**self).read(buf).await
    }

    async fn read_exact<B: IoBuf + IoBufMut>(&mut self, buf: B) -> BufResult<(), B> {
        (**self).read_exact(buf).await
    }

    async fn read_to_end(&mut self, buf: &mut Vec<u8>, limit: usize) -> io::Result<usize> {
        (**self).read_to_end(buf, limit).await
    }
}

impl<S: StreamSocket> AsyncBufRead for &Guarded<S> {
    async fn fill_buf(&mut self) -> io::Result<Lease> {
        (**self).fill_buf().await
    }

    async fn fill_more(&mut self) -> io::Result<()> {
        (**self).fill_more().await
    }

    fn consume(&mut self, n: usize) {
        (**self).consume(n);
    }

    async fn fill_to(&mut self, n: usize) -> io::Result<Lease> {
        (**self).fill_to(n).await
    }

    async fn recv(&mut self) -> io::Result<Option<Lease>> {
        (**self).recv().await
    }
}

impl<S: StreamSocket> AsyncWrite for &Guarded<S> {
    async fn write<B: IoBuf>(&mut self, buf: B) -> BufResult<usize, B> {
        (**self).write(buf).await
    }

    async fn write_vectored<B: IoBufs>(&mut self, bufs: B) -> BufResult<usize, B> {
        (**self).write_vectored(bufs).await
    }

    async fn flush(&mut self) -> io::Result<()> {
        (**self).flush().await
    }

    async fn shutdown(&mut self) -> io::Result<()> {
        (**self).shutdown(Shutdown::Write).await
    }

    async fn write_all<B: IoBuf>(&mut self, buf: B) -> BufResult<(), B> {
        (**self).write_all(buf).await
    }
}

by_reference!([S: StreamSocket] Guarded<S>);
