//! A stream under deadlines.

use std::fmt;
use std::future::{Future, poll_fn};
use std::io;
use std::net::Shutdown;
use std::pin::pin;
use std::rc::Rc;
use std::task::Poll;

use corering_buffers::{BufResult, IoBuf, IoBufMut, IoBufs, Lease};

use super::watch::{Side, Watch};
use super::{DeadlineElapsed, Deadlines};
use crate::io::{Fallible, Operation};
use crate::net::stream::{
    FillBuf, FillMore, Read, Recv, Socket, StreamSocket, Write, WriteAll, WriteVectored,
};

/// A stream whose reads and writes have [`Deadlines`], made by [`Deadlines::guard`].
///
/// Its methods are those of the stream, and it is a source and a sink for generic code as the
/// stream is, also by reference. When a deadline has passed an operation fails with
/// `ErrorKind::TimedOut` ([`DeadlineElapsed`] says which it was). Bytes that are there win over a
/// deadline.
///
/// It costs two looks at the clock for a read that has to wait, and no timer: one for reads and one
/// for writes are set when they are needed first, and set anew when they fire.
///
/// # Cancellation
///
/// Dropping any future loses no byte, as with the stream itself, and no time: the deadlines of
/// reads go on where the next one waits. A read that times out has taken nothing, and its buffer
/// comes back. A `write_all` that times out after a part of it ends the write side, since whatever
/// followed would be taken for the rest.
pub struct Guarded<S> {
    pub(super) watch: Watch,
    stream: S,
}

impl<S: StreamSocket> Guarded<S> {
    pub(super) fn new(stream: S, deadlines: Deadlines) -> Guarded<S> {
        // Or a long write would look like a stalled one.
        stream.socket().pace_sends();
        let watch = Watch::new(deadlines);
        Guarded { watch, stream }
    }

    /// The stream, for its addresses and options. What is read by it counts as never received.
    pub fn stream(&self) -> &S {
        &self.stream
    }

    /// The stream without deadlines.
    pub fn into_stream(self) -> S {
        self.stream
    }

    /// Ends the message that is being received, for [`Deadlines::min_rate`]: the next byte begins
    /// another one. A write that ends does the same.
    pub fn message_done(&self) {
        self.watch.message_done();
    }

    /// As [`TcpStream::recv`](crate::net::TcpStream::recv).
    ///
    /// # Errors
    ///
    /// As there; `TimedOut`.
    ///
    /// # Cancellation
    ///
    /// Dropping the future loses nothing.
    pub async fn recv(&self) -> io::Result<Option<Lease>> {
        let received = self.in_time(Side::Read, Recv::new(self.socket())).await??;
        self.watch.took(received.as_ref().map_or(0, |it| it.len()));
        Ok(received)
    }

    /// As [`TcpStream::read`](crate::net::TcpStream::read).
    ///
    /// # Errors
    ///
    /// As there; `TimedOut`.
    ///
    /// # Cancellation
    ///
    /// Dropping the future frees its buffer and loses no byte.
    pub async fn read<B: IoBufMut>(&self, buf: B) -> BufResult<usize, B> {
        let (result, buf) = self
            .or_cancel(Side::Read, Read::new(self.socket(), buf))
            .await;
        self.watch.took(*result.as_ref().unwrap_or(&0));
        (result, buf)
    }

    /// Fills all the room of `buf`, as
    /// [`AsyncRead::read_exact`](crate::io::AsyncRead::read_exact) does.
    ///
    /// # Errors
    ///
    /// As there; `TimedOut`, and nothing was taken.
    ///
    /// # Cancellation
    ///
    /// Dropped, or at an error, it has taken nothing.
    pub async fn read_exact<B: IoBuf + IoBufMut>(&self, mut buf: B) -> BufResult<(), B> {
        let (_, room) = buf.parts_mut();
        let holding = self.socket().holds_exactly(room);
        let holding = match self.in_time(Side::Read, holding).await {
            Ok(holding) => holding,
            Err(late) => return (Err(late), buf),
        };
        let (result, buf) = self.socket().take_exactly(room, buf);
        drop(holding);
        if result.is_ok() {
            self.watch.took(room);
        }
        (result, buf)
    }

    /// Appends all that comes until the end to `buf`, as
    /// [`AsyncRead::read_to_end`](crate::io::AsyncRead::read_to_end) does.
    ///
    /// # Errors
    ///
    /// As there; `TimedOut`.
    ///
    /// # Cancellation
    ///
    /// Dropped, it leaves what it has read in `buf`.
    pub async fn read_to_end(&self, buf: &mut Vec<u8>, limit: usize) -> io::Result<usize> {
        let before = buf.len();
        loop {
            // Piece by piece, so that each is seen to come.
            let room = (limit - (buf.len() - before)).saturating_add(1);
            let piece = self.fill_buf().await?;
            if piece.is_empty() {
                return Ok(buf.len() - before);
            }
            let n = piece.len().min(room);
            buf.extend_from_slice(&piece[..n]);
            drop(piece);
            self.consume(n);
            if n == room {
                return Err(crate::io::too_much(limit));
            }
        }
    }

    /// As [`TcpStream::fill_buf`](crate::net::TcpStream::fill_buf).
    ///
    /// # Errors
    ///
    /// As there; `TimedOut`.
    ///
    /// # Cancellation
    ///
    /// Dropping the future loses nothing.
    pub async fn fill_buf(&self) -> io::Result<Lease> {
        self.in_time(Side::Read, FillBuf::new(self.socket()))
            .await?
    }

    /// As [`TcpStream::fill_more`](crate::net::TcpStream::fill_more).
    ///
    /// # Errors
    ///
    /// As there; `TimedOut`.
    ///
    /// # Cancellation
    ///
    /// Dropping the future loses nothing.
    pub async fn fill_more(&self) -> io::Result<()> {
        self.in_time(Side::Read, FillMore::new(self.socket()))
            .await?
    }

    /// As [`AsyncBufRead::fill_to`](crate::io::AsyncBufRead::fill_to).
    ///
    /// # Errors
    ///
    /// As there; `TimedOut`.
    ///
    /// # Cancellation
    ///
    /// Dropping the future loses nothing.
    pub async fn fill_to(&self, n: usize) -> io::Result<Lease> {
        self.in_time(Side::Read, self.socket().fill_to(n)).await?
    }

    /// As [`TcpStream::consume`](crate::net::TcpStream::consume).
    ///
    /// # Panics
    ///
    /// If the inbox holds fewer bytes.
    pub fn consume(&self, n: usize) {
        self.socket().consume(n);
        self.watch.took(n);
    }

    /// As [`TcpStream::consume_to_vec`](crate::net::TcpStream::consume_to_vec).
    ///
    /// # Panics
    ///
    /// If the inbox holds fewer bytes.
    pub fn consume_to_vec(&self, n: usize) -> Vec<u8> {
        let bytes = self.socket().consume_to_vec(n);
        self.watch.took(n);
        bytes
    }

    /// As [`TcpStream::write_all`](crate::net::TcpStream::write_all).
    ///
    /// # Errors
    ///
    /// As there; `TimedOut`. If a part was sent by then the write side is over.
    ///
    /// # Cancellation
    ///
    /// As there: a write whose turn has come is sent to its end, and without a deadline when its
    /// future is gone.
    pub async fn write_all<B: IoBuf>(&self, buf: B) -> BufResult<(), B> {
        let mut write = WriteAll::new(self.socket(), buf);
        match self.in_time(Side::Write, &mut write).await {
            Ok(done) => done,
            Err(late) => match write.cancel().await {
                (Ok(n), buf) if n == buf.parts().1 => (Ok(()), buf),
                (Err(error), buf) if !is_cancelled(&error) => (Err(error), buf),
                (_, buf) => (Err(late), buf),
            },
        }
    }

    /// As [`TcpStream::write`](crate::net::TcpStream::write).
    ///
    /// # Errors
    ///
    /// As there; `TimedOut`, and nothing was sent.
    ///
    /// # Cancellation
    ///
    /// As there.
    pub async fn write<B: IoBuf>(&self, buf: B) -> BufResult<usize, B> {
        let write = Write::new(self.socket(), buf);
        self.or_cancel(Side::Write, write).await
    }

    /// As [`TcpStream::write_vectored`](crate::net::TcpStream::write_vectored).
    ///
    /// # Errors
    ///
    /// As there; `TimedOut`, and nothing was sent.
    ///
    /// # Cancellation
    ///
    /// As there.
    pub async fn write_vectored<B: IoBufs>(&self, bufs: B) -> BufResult<usize, B> {
        let write = WriteVectored::new(self.socket(), bufs);
        self.or_cancel(Side::Write, write).await
    }

    /// Waits for writes whose futures were dropped.
    ///
    /// # Errors
    ///
    /// The error that has ended the write side; `TimedOut`.
    ///
    /// # Cancellation
    ///
    /// Dropping the future leaves the writes as they are.
    pub async fn flush(&self) -> io::Result<()> {
        self.in_time(Side::Write, self.socket().flush()).await?
    }

    /// As [`TcpStream::shutdown`](crate::net::TcpStream::shutdown).
    ///
    /// # Errors
    ///
    /// As there; `TimedOut`.
    ///
    /// # Cancellation
    ///
    /// As there.
    pub async fn shutdown(&self, how: Shutdown) -> io::Result<()> {
        self.in_time(Side::Write, self.socket().shutdown(how))
            .await?
    }

    pub(super) fn socket(&self) -> &Rc<Socket> {
        self.stream.socket()
    }

    /// The output of `future`, unless a deadline passes before. Its drop must lose nothing.
    pub(super) async fn in_time<F: Future>(&self, side: Side, future: F) -> io::Result<F::Output> {
        let mut future = pin!(future);
        let mut waiting = self.watch.waiting(side);
        let socket = self.socket();
        let output = poll_fn(|cx| match future.as_mut().poll(cx) {
            Poll::Ready(output) => Poll::Ready(Ok(output)),
            Poll::Pending => {
                let late = waiting.poll(socket.held(), socket.taken_by_kernel(), cx);
                late.map(Err)
            }
        });
        let output = output.await;
        drop(waiting);
        match (side, &output) {
            (Side::Read, Ok(_)) => self.watch.holds(socket.held()),
            (Side::Write, Ok(_)) => self.watch.wrote(socket.taken_by_kernel()),
            (_, Err(_)) => {}
        }
        output.map_err(|deadline| {
            let limit = self.watch.limits().limit_of(deadline);
            DeadlineElapsed { deadline, limit }.into()
        })
    }

    /// The outcome of an operation, which is cancelled when a deadline passes.
    async fn or_cancel<F: Operation>(&self, side: Side, mut operation: F) -> F::Outcome {
        match self.in_time(side, &mut operation).await {
            Ok(output) => F::outcome(output),
            Err(late) => {
                let mut outcome = operation.cancel().await;
                if let Some(error) = outcome.error()
                    && is_cancelled(error)
                {
                    *error = late;
                }
                outcome
            }
        }
    }
}

/// What an operation says that was ended before it has done anything.
fn is_cancelled(error: &io::Error) -> bool {
    error.raw_os_error() == Some(libc::ECANCELED)
}

impl<S: fmt::Debug> fmt::Debug for Guarded<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Guarded")
            .field("stream", &self.stream)
            .field("deadlines", self.watch.limits())
            .finish()
    }
}
