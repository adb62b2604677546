//! Reading into owned buffers.

use std::io;

use corering_buffers::{BufResult, IoBuf, IoBufExt, IoBufMut};

/// Bytes that [`AsyncRead::read_to_end`] reads at once.
const CHUNK: usize = 32 * 1024;

/// A source of bytes that reads into a buffer of the caller's, and gives it back.
///
/// It is std's `Read` with owned buffers. Streams implement it by their methods of the same name,
/// also for `&TcpStream` and the like: two tasks may read and write one stream, each by a reference
/// of its own.
///
/// None of its futures is `Send`: they stay on their core.
///
/// # Examples
///
/// ```
/// use corering::io::AsyncRead;
///
/// async fn version<R: AsyncRead>(source: &mut R) -> std::io::Result<u16> {
///     let (result, bytes) = source.read_exact(Box::new([0; 2])).await;
///     result.map(|()| u16::from_be_bytes(*bytes))
/// }
///
/// # fn main() -> std::io::Result<()> {
/// # corering::Runtime::new()?.block_on(async {
/// assert_eq!(version(&mut &[0, 7, 1][..]).await?, 7);
/// # Ok(()) })
/// # }
/// ```
#[expect(
    async_fn_in_trait,
    reason = "the futures stay on their core: none is Send"
)]
pub trait AsyncRead {
    /// Reads into `buf` from its start: the number of bytes, 0 at the end.
    ///
    /// `buf` comes back in every case; its length is what was read, at most its capacity.
    ///
    /// # Errors
    ///
    /// Those of the source. `InvalidInput` if `buf` has no room: such a read would look like the
    /// end.
    ///
    /// # Cancellation
    ///
    /// Dropped, it has taken nothing from any source of this crate: the next read gets the bytes.
    /// Other implementations say what they do.
    async fn read<B: IoBufMut>(&mut self, buf: B) -> BufResult<usize, B>;

    /// Fills all the room of `buf`: the capacity of a `Vec`, or what `buf.slice(..n)` bounds.
    ///
    /// # Errors
    ///
    /// Those of the source. `UnexpectedEof`: the end came before. `InvalidInput`: a source that
    /// keeps bytes until all are there (see below) was asked for more than
    /// [`PIECE_MAX`](crate::io::PIECE_MAX), 16 MiB.
    ///
    /// # Cancellation
    ///
    /// Streams, their halves, [`BufReader`](crate::io::BufReader) and what lies in memory take
    /// bytes only when all are there: dropped, or at an error, it has taken nothing. By default
    /// what was read so far is lost with its buffer.
    async fn read_exact<B: IoBuf + IoBufMut>(&mut self, mut buf: B) -> BufResult<(), B> {
        let (_, room) = buf.parts_mut();
        let mut done = 0;
        while done < room {
            let (result, part) = self.read(IoBufExt::slice(buf, done..room)).await;
            buf = part.into_inner();
            match result {
                Ok(0) => return (Err(io::ErrorKind::UnexpectedEof.into()), buf),
                Ok(n) => done += n,
                Err(error) => return (Err(error), buf),
            }
        }
        (Ok(()), buf)
    }

    /// Appends all that comes until the end to `buf`: the number of bytes, at most `limit`.
    ///
    /// # Errors
    ///
    /// Those of the source. `InvalidData`: more than `limit` bytes came; `buf` has one more than
    /// that, and the rest is still in the source. Whatever happens, `buf` has what was read.
    ///
    /// # Cancellation
    ///
    /// Dropped, it leaves what it has read in `buf`: no byte is lost, and another call goes on.
    async fn read_to_end(&mut self, buf: &mut Vec<u8>, limit: usize) -> io::Result<usize> {
        let mut total = 0;
        let mut chunk = Vec::new();
        loop {
            // A byte more than allowed, to learn that there is one.
            let room = CHUNK.min((limit - total).saturating_add(1));
            chunk.reserve(room);
            let (result, part) = self.read(IoBufExt::slice(chunk, ..room)).await;
            let n = result?;
            chunk = part.into_inner();
            buf.extend_from_slice(&chunk[..n]);
            total += n;
            if n == 0 {
                return Ok(total);
            }
            if total > limit {
                return Err(too_much(limit));
            }
            chunk.clear();
        }
    }
}

/// What [`AsyncRead::read_to_end`] says when there is more than it may read.
#[cold]
pub(crate) fn too_much(limit: usize) -> io::Error {
    let text = format!("more than {limit} bytes before the end");
    io::Error::new(io::ErrorKind::InvalidData, text)
}

/// A read into an empty buffer would look like the end of the stream.
#[cold]
pub(crate) fn no_room() -> io::Error {
    let text = "the buffer has no room: give it a capacity";
    io::Error::new(io::ErrorKind::InvalidInput, text)
}

impl<R: AsyncRead> AsyncRead for &mut R {
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
