//! Streams as sources and sinks of generic code: the traits of [`io`](crate::io).
//!
//! All of it goes to the same inbox and the same line of writes as the streams' own methods.

use std::io;
use std::net::Shutdown;

use corering_buffers::{BufResult, IoBuf, IoBufMut, IoBufs, Lease};

use super::stream::{FillBuf, FillMore, Read, Recv, StreamSocket, Write, WriteAll, WriteVectored};
use super::{OwnedReadHalf, OwnedWriteHalf, TcpStream, UnixStream};
use crate::io::{AsyncBufRead, AsyncRead, AsyncWrite, by_reference};

macro_rules! reads {
    ([$($generics:tt)*] $Stream:ty) => {
        impl<$($generics)*> AsyncRead for $Stream {
            async fn read<B: IoBufMut>(&mut self, buf: B) -> BufResult<usize, B> {
                Read::new(self.socket(), buf).await
            }

            async fn read_exact<B: IoBuf + IoBufMut>(&mut self, buf: B) -> BufResult<(), B> {
                self.socket().read_exact(buf).await
            }

            async fn read_to_end(&mut self, buf: &mut Vec<u8>, limit: usize) -> io::Result<usize> {
                self.socket().read_to_end(buf, limit).await
            }
        }

        impl<$($generics)*> AsyncBufRead for $Stream {
            async fn fill_buf(&mut self) -> io::Result<Lease> {
                FillBuf::new(self.socket()).await
            }

            async fn fill_more(&mut self) -> io::Result<()> {
                FillMore::new(self.socket()).await
            }

            fn consume(&mut self, n: usize) {
                self.socket().consume(n);
            }

            async fn fill_to(&mut self, n: usize) -> io::Result<Lease> {
                self.socket().fill_to(n).await
            }

            async fn recv(&mut self) -> io::Result<Option<Lease>> {
                Recv::new(self.socket()).await
            }
        }
    };
}

macro_rules! writes {
    ([$($generics:tt)*] $Stream:ty) => {
        impl<$($generics)*> AsyncWrite for $Stream {
            async fn write<B: IoBuf>(&mut self, buf: B) -> BufResult<usize, B> {
                Write::new(self.socket(), buf).await
            }

            async fn write_vectored<B: IoBufs>(&mut self, bufs: B) -> BufResult<usize, B> {
                WriteVectored::new(self.socket(), bufs).await
            }

            async fn flush(&mut self) -> io::Result<()> {
                self.socket().flush().await
            }

            async fn shutdown(&mut self) -> io::Result<()> {
                self.socket().shutdown(Shutdown::Write).await
            }

            async fn write_all<B: IoBuf>(&mut self, buf: B) -> BufResult<(), B> {
                WriteAll::new(self.socket(), buf).await
            }
        }
    };
}

reads!([] & TcpStream);
writes!([] & TcpStream);
by_reference!([] TcpStream);
reads!([] & UnixStream);
writes!([] & UnixStream);
by_reference!([] UnixStream);
reads!([S: StreamSocket] OwnedReadHalf<S>);
reads!([S: StreamSocket] &OwnedReadHalf<S>);
writes!([S: StreamSocket] OwnedWriteHalf<S>);
writes!([S: StreamSocket] &OwnedWriteHalf<S>);
