//! Reading from bytes that the source holds.

use std::io;

use corering_buffers::Lease;

use super::AsyncRead;

/// A source that shows the bytes it holds, and lets them go when they are understood.
///
/// It is std's `BufRead` with two differences: what is shown is a [`Lease`], a second handle on the
/// same bytes, which can be kept and sent on as it is; and [`fill_more`](AsyncBufRead::fill_more)
/// asks for more than is shown, so that a parser need not take half a message. Streams hold an
/// inbox anyway; what does not is wrapped in a [`BufReader`](crate::io::BufReader).
///
/// All that is built on it takes bytes only when it finishes: dropping any of its futures loses
/// nothing. One task reads at a time.
///
/// # Examples
///
/// ```
/// use corering::io::AsyncBufRead;
/// use corering::net::UnixStream;
///
/// # fn main() -> std::io::Result<()> {
/// # corering::Runtime::new()?.block_on(async {
/// let (mut a, b) = UnixStream::pair()?;
/// b.write_all("name: ring\r\n\r\nbody").await.0?;
/// drop(b);
/// assert_eq!(a.read_line(1024).await?.as_deref(), Some("name: ring"));
/// assert_eq!(a.read_line(1024).await?.as_deref(), Some(""));
/// assert_eq!(&*a.read_until(b'\n', 1024).await?, b"body");
/// assert!(a.read_until(b'\n', 1024).await?.is_empty());
/// # Ok(()) })
/// # }
/// ```
#[expect(
    async_fn_in_trait,
    reason = "the futures stay on their core: none is Send"
)]
pub trait AsyncBufRead: AsyncRead {
    /// The oldest bytes that are held, at least one; empty at the end. Nothing is consumed.
    ///
    /// # Errors
    ///
    /// Those of the source.
    ///
    /// # Cancellation
    ///
    /// Dropped, it has taken nothing.
    async fn fill_buf(&mut self) -> io::Result<Lease>;

    /// Waits until [`fill_buf`](AsyncBufRead::fill_buf) shows more than it did.
    ///
    /// # Errors
    ///
    /// Those of the source. `UnexpectedEof`: there will be no more; what was shown is still held.
    /// `OutOfMemory`: the source holds as much as it can in one piece, for streams
    /// [`PIECE_MAX`](crate::io::PIECE_MAX).
    ///
    /// # Cancellation
    ///
    /// Dropped, it has taken nothing.
    async fn fill_more(&mut self) -> io::Result<()>;

    /// Lets go of `n` bytes of what [`fill_buf`](AsyncBufRead::fill_buf) has shown.
    ///
    /// # Panics
    ///
    /// If fewer are held.
    fn consume(&mut self, n: usize);

    /// The oldest `n` bytes in one piece, or what is there if the end comes before. Nothing is
    /// consumed.
    ///
    /// # Errors
    ///
    /// As [`fill_more`](AsyncBufRead::fill_more), but for the end.
    ///
    /// # Cancellation
    ///
    /// Dropped, it has taken nothing.
    async fn fill_to(&mut self, n: usize) -> io::Result<Lease> {
        loop {
            let piece = self.fill_buf().await?;
            if piece.is_empty() || piece.len() >= n {
                return Ok(piece);
            }
            // With one handle less a source may be able to append in place.
            drop(piece);
            match self.fill_more().await {
                Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => {
                    return self.fill_buf().await;
                }
                more => more?,
            }
        }
    }

    /// Takes the next bytes as they are held, without a copy: `None` at the end.
    ///
    /// # Errors
    ///
    /// Those of the source.
    ///
    /// # Cancellation
    ///
    /// Dropped, it has taken nothing.
    async fn recv(&mut self) -> io::Result<Option<Lease>> {
        let piece = self.fill_buf().await?;
        self.consume(piece.len());
        Ok((!piece.is_empty()).then_some(piece))
    }

    /// Takes the bytes up to the next `delimiter` and that with them, at most `max`; at the end
    /// what is left, which is empty when nothing is. Bytes that came in one piece are not copied.
    ///
    /// # Errors
    ///
    /// Those of the source. `InvalidData`: none of the next `max` bytes is `delimiter`. Nothing was
    /// taken then.
    ///
    /// # Cancellation
    ///
    /// Dropped, it has taken nothing.
    async fn read_until(&mut self, delimiter: u8, max: usize) -> io::Result<Lease> {
        let mut seen = 0;
        loop {
            let mut piece = self.fill_buf().await?;
            let looked = piece.len().min(max);
            let new = &piece[seen.min(looked)..looked];
            if let Some(at) = new.iter().position(|&byte| byte == delimiter) {
                let taken = piece.split_to(seen + at + 1);
                self.consume(taken.len());
                return Ok(taken);
            }
            if piece.is_empty() {
                return Ok(piece);
            }
            if looked == max {
                return Err(too_long(max));
            }
            seen = looked;
            // With one handle less a source may be able to append in place.
            drop(piece);
            match self.fill_more().await {
                Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => {
                    return Ok(self.recv().await?.unwrap_or_default());
                }
                more => more?,
            }
        }
    }

    /// Takes the next line, of at most `max` bytes with its end, which is `\n` or `\r\n` and is
    /// left out; `None` at the end. The last line need not have an end.
    ///
    /// # Errors
    ///
    /// As [`read_until`](AsyncBufRead::read_until). `InvalidData` also for a line that is not
    /// UTF-8: it is taken, and is in the error, a
    /// [`FromUtf8Error`](std::string::FromUtf8Error).
    ///
    /// # Cancellation
    ///
    /// Dropped, it has taken nothing.
    async fn read_line(&mut self, max: usize) -> io::Result<Option<String>> {
        let line = self.read_until(b'\n', max).await?;
        if line.is_empty() {
            return Ok(None);
        }
        let text = String::from_utf8(without_end(&line).to_vec());
        text.map(Some)
            .map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))
    }

    /// Reads line by line, each of at most `max` bytes with its end.
    fn lines(self, max: usize) -> Lines<Self>
    where
        Self: Sized,
    {
        Lines { source: self, max }
    }
}

/// The lines of a source, made by [`AsyncBufRead::lines`].
///
/// # Examples
///
/// ```
/// use corering::io::{AsyncBufRead, BufReader};
///
/// # fn main() -> std::io::Result<()> {
/// # corering::Runtime::new()?.block_on(async {
/// let mut lines = BufReader::new(&b"one\ntwo\r\nthree"[..]).lines(100);
/// let mut count = 0;
/// while let Some(line) = lines.next_line().await? {
///     count += line.len();
/// }
/// assert_eq!(count, "onetwothree".len());
/// # Ok(()) })
/// # }
/// ```
#[derive(Debug)]
pub struct Lines<R> {
    source: R,
    max: usize,
}

impl<R: AsyncBufRead> Lines<R> {
    /// The next line without its end, `None` at the end.
    ///
    /// # Errors
    ///
    /// As [`AsyncBufRead::read_line`].
    ///
    /// # Cancellation
    ///
    /// Dropped, it has taken nothing.
    pub async fn next_line(&mut self) -> io::Result<Option<String>> {
        self.source.read_line(self.max).await
    }
}

impl<R> Lines<R> {
    /// The source, which holds what no line was made of yet.
    pub fn into_inner(self) -> R {
        self.source
    }
}

/// A line without `\n` or `\r\n` at its end, if it has one.
pub(crate) fn without_end(line: &[u8]) -> &[u8] {
    let Some(line) = line.strip_suffix(b"\n") else {
        return line;
    };
    line.strip_suffix(b"\r").unwrap_or(line)
}

#[cold]
pub(crate) fn too_long(max: usize) -> io::Error {
    let text = format!("no end of the line within {max} bytes");
    io::Error::new(io::ErrorKind::InvalidData, text)
}

impl<R: AsyncBufRead> AsyncBufRead for &mut R {
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
