//! From a source to a sink, and between two streams.

use std::future::poll_fn;
use std::io;
use std::pin::{Pin, pin};
use std::task::{Context, Poll};

use super::{AsyncBufRead, AsyncWrite};

/// A piece of so many bytes makes [`copy`] read into one buffer of its own, again and again: that
/// stays in the processor's cache, where the receive buffers of a core do not.
const BULK_FROM: usize = 16 * 1024;
/// A read that brought less ends that again, so that who waits for long holds no buffer.
const BULK_UNTIL: usize = 4 * 1024;
/// Bytes of that buffer: larger ones save calls, and much larger ones leave the cache.
const BULK: usize = 128 * 1024;

/// Writes all that `reader` gives until its end to `writer`, and flushes that: the number of bytes.
///
/// What a stream has received is written from where the kernel has put it, without a copy. While
/// much comes at once, it is received into and written from one buffer of 128 KiB.
///
/// # Errors
///
/// The first error of either. What was written before is unknown.
///
/// # Cancellation
///
/// Dropped, it loses nothing between two streams, if nobody else writes to the other: what was
/// taken from one is committed to the other in the same moment, and written all the same. How much
/// that was is lost.
///
/// # Examples
///
/// ```
/// use corering::io::copy;
/// use corering::net::UnixStream;
///
/// # fn main() -> std::io::Result<()> {
/// # corering::Runtime::new()?.block_on(async {
/// let (client, mut stream) = UnixStream::pair()?;
/// client.write_all("hello").await.0?;
/// drop(client);
/// let mut bytes = Vec::new();
/// assert_eq!(copy(&mut stream, &mut bytes).await?, 5);
/// # Ok(()) })
/// # }
/// ```
pub async fn copy<R: AsyncBufRead, W: AsyncWrite>(
    reader: &mut R,
    writer: &mut W,
) -> io::Result<u64> {
    // A write whose future was dropped may still be going on. Bytes that were taken before its end
    // would have to wait for their turn, and be lost with this future.
    writer.flush().await?;
    let mut total = 0;
    while let Some(bytes) = reader.recv().await? {
        let len = bytes.len();
        writer.write_all(bytes).await.0?;
        total += len as u64;
        if len >= BULK_FROM {
            total += copy_bulk(reader, writer).await?;
        }
    }
    writer.flush().await?;
    Ok(total)
}

/// Copies through a buffer of its own while much comes, or until the end.
async fn copy_bulk<R: AsyncBufRead, W: AsyncWrite>(
    reader: &mut R,
    writer: &mut W,
) -> io::Result<u64> {
    let mut buf = Vec::with_capacity(BULK);
    let mut total = 0;
    loop {
        let (result, sent);
        (result, buf) = reader.read(buf).await;
        let n = result?;
        if n > 0 {
            (sent, buf) = writer.write_all(buf).await;
            sent?;
        }
        total += n as u64;
        if n < BULK_UNTIL {
            return Ok(total);
        }
    }
}

/// Copies both ways between two streams until both have ended: the bytes from `a` to `b`, and from
/// `b` to `a`.
///
/// The end of one direction is carried over (the write side of the other stream is shut down) and
/// the other direction goes on. A stream that is written slowly holds up nothing but what goes
/// there: the kernel slows its peer down once the inbox (256 KiB) is full.
///
/// # Errors
///
/// The first error of either direction, which ends both. The streams are still there, in whatever
/// state they are.
///
/// # Cancellation
///
/// As [`copy`], in both directions.
///
/// # Examples
///
/// ```
/// use corering::io::copy_bidirectional;
/// use corering::net::{TcpStream, UnixStream};
///
/// /// Connects a client to a server in another place.
/// async fn proxy(client: UnixStream, server: &str) -> std::io::Result<(u64, u64)> {
///     let server = TcpStream::connect(server).await?;
///     copy_bidirectional(&client, &server).await
/// }
/// ```
pub async fn copy_bidirectional<A, B>(a: &A, b: &B) -> io::Result<(u64, u64)>
where
    for<'s> &'s A: AsyncBufRead + AsyncWrite,
    for<'s> &'s B: AsyncBufRead + AsyncWrite,
{
    both(copy_to_end(a, b), copy_to_end(b, a)).await
}

/// Waits for both directions, or the first error of either.
pub(crate) async fn both(
    there: impl Future<Output = io::Result<u64>>,
    back: impl Future<Output = io::Result<u64>>,
) -> io::Result<(u64, u64)> {
    let mut there = OneWay(None, pin!(there));
    let mut back = OneWay(None, pin!(back));
    poll_fn(|cx| {
        if let (Poll::Ready(there), Poll::Ready(back)) = (there.poll(cx)?, back.poll(cx)?) {
            return Poll::Ready(Ok((there, back)));
        }
        Poll::Pending
    })
    .await
}

/// A direction that may have ended.
struct OneWay<'a, F>(Option<u64>, Pin<&'a mut F>);

impl<F: Future<Output = io::Result<u64>>> OneWay<'_, F> {
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<u64>> {
        if let Some(total) = self.0 {
            return Poll::Ready(Ok(total));
        }
        let done = self.1.as_mut().poll(cx);
        if let Poll::Ready(Ok(total)) = done {
            self.0 = Some(total);
        }
        done
    }
}

async fn copy_to_end<R: AsyncBufRead, W: AsyncWrite>(mut from: R, mut to: W) -> io::Result<u64> {
    let total = copy(&mut from, &mut to).await?;
    to.shutdown().await?;
    Ok(total)
}
