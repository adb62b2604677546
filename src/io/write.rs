//! Writing from owned buffers.

use std::io;

use corering_buffers::{BufResult, IoBuf, IoBufExt, IoBufs, IoBufsExt};

/// Bytes of a set of buffers that a sink without a vectored write takes at once.
const GATHERED: usize = 64 * 1024;

/// A sink for bytes, which takes a buffer and gives it back.
///
/// It is std's `Write` with owned buffers. Streams implement it by their methods of the same name,
/// also for `&TcpStream` and the like.
///
/// None of its futures is `Send`: they stay on their core.
///
/// # Examples
///
/// ```
/// use corering::io::AsyncWrite;
///
/// async fn greet<W: AsyncWrite>(sink: &mut W) -> std::io::Result<()> {
///     sink.write_all("hello, ").await.0?;
///     sink.write_all(b"world".to_vec()).await.0?;
///     sink.flush().await
/// }
///
/// # fn main() -> std::io::Result<()> {
/// # corering::Runtime::new()?.block_on(async {
/// let mut bytes = Vec::new();
/// greet(&mut bytes).await?;
/// assert_eq!(bytes, b"hello, world");
/// # Ok(()) })
/// # }
/// ```
#[expect(
    async_fn_in_trait,
    reason = "the futures stay on their core: none is Send"
)]
pub trait AsyncWrite {
    /// Writes as much of `buf` as the sink takes at once: the number of bytes.
    ///
    /// # Errors
    ///
    /// Those of the sink.
    ///
    /// # Cancellation
    ///
    /// For a stream: dropped before its turn it writes nothing, later it is committed, and an error
    /// is reported by the next write. Other implementations say what they do.
    async fn write<B: IoBuf>(&mut self, buf: B) -> BufResult<usize, B>;

    /// Writes several buffers in order, as much as the sink takes at once: the number of bytes.
    ///
    /// By default the first 64 KiB of them are copied into one buffer.
    ///
    /// # Errors
    ///
    /// Those of the sink.
    ///
    /// # Cancellation
    ///
    /// As [`write`](AsyncWrite::write).
    async fn write_vectored<B: IoBufs>(&mut self, bufs: B) -> BufResult<usize, B> {
        let mut gathered = Vec::new();
        bufs.each_slice(|bytes| {
            let room = GATHERED - gathered.len();
            gathered.extend_from_slice(&bytes[..bytes.len().min(room)]);
        });
        let (result, _) = self.write(gathered).await;
        (result, bufs)
    }

    /// Hands on what the sink has kept back. A stream keeps nothing; it waits for writes whose
    /// futures were dropped.
    ///
    /// # Errors
    ///
    /// Those of the sink, and those of writes that nobody waited for.
    ///
    /// # Cancellation
    ///
    /// Dropped, it leaves what was not handed on to the next call.
    async fn flush(&mut self) -> io::Result<()>;

    /// Flushes, and ends the sink: a stream shuts its write side down (`SHUT_WR`), so that the peer
    /// sees the end.
    ///
    /// # Errors
    ///
    /// As [`flush`](AsyncWrite::flush). `ENOTCONN`: the connection is gone.
    ///
    /// # Cancellation
    ///
    /// Dropped, it may or may not have ended the sink; it can be called again.
    async fn shutdown(&mut self) -> io::Result<()>;

    /// Writes all of `buf`.
    ///
    /// # Errors
    ///
    /// Those of the sink. `WriteZero`: it takes no more. How much was written before is unknown.
    ///
    /// # Cancellation
    ///
    /// A stream writes a buffer whole or not at all: see
    /// [`TcpStream::write_all`](crate::net::TcpStream::write_all). So does what lies in memory. By
    /// default a part may have been written.
    async fn write_all<B: IoBuf>(&mut self, mut buf: B) -> BufResult<(), B> {
        let (_, len) = buf.parts();
        let mut done = 0;
        while done < len {
            let (result, part) = self.write(IoBufExt::slice(buf, done..len)).await;
            buf = part.into_inner();
            match result {
                Ok(0) => return (Err(io::ErrorKind::WriteZero.into()), buf),
                Ok(n) => done += n,
                Err(error) => return (Err(error), buf),
            }
        }
        (Ok(()), buf)
    }

    /// Writes all of several buffers, in order.
    ///
    /// # Errors
    ///
    /// As [`write_all`](AsyncWrite::write_all).
    ///
    /// # Cancellation
    ///
    /// Dropped, it may have written a part, also to a stream: what has to arrive whole is written
    /// from one buffer, by [`write_all`](AsyncWrite::write_all) or a
    /// [`FramedWrite`](crate::io::FramedWrite).
    async fn write_all_vectored<B: IoBufs>(&mut self, mut bufs: B) -> BufResult<(), B> {
        let len = bufs.bytes_init();
        let mut done = 0;
        while done < len {
            let (result, rest) = self.write_vectored(bufs.skip(done)).await;
            bufs = rest.into_inner();
            match result {
                Ok(0) => return (Err(io::ErrorKind::WriteZero.into()), bufs),
                Ok(n) => done += n,
                Err(error) => return (Err(error), bufs),
            }
        }
        (Ok(()), bufs)
    }
}

impl<W: AsyncWrite> AsyncWrite for &mut W {
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
        (**self).shutdown().await
    }

    async fn write_all<B: IoBuf>(&mut self, buf: B) -> BufResult<(), B> {
        (**self).write_all(buf).await
    }
}
