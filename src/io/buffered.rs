//! Buffers in front of sources that hold none, and of sinks that are written in small pieces.

use std::fmt;
use std::io;
use std::mem;

use bytes::BytesMut;
use corering_buffers::{BufResult, Fill, IoBuf, IoBufExt, IoBufMut, IoBufs, Lease};

use super::{AsyncBufRead, AsyncRead, AsyncWrite, PIECE_MAX, growable, no_room, piece_full};

/// Bytes that are read at once, or collected before they are written.
const CAPACITY: usize = 8 * 1024;

/// Makes an [`AsyncBufRead`] of any [`AsyncRead`].
///
/// For a file, for bytes in memory, for what a library offers. Not for a stream of this crate: that
/// has an inbox, and this would copy it.
///
/// # Cancellation
///
/// It holds what it has read until that is consumed, so dropping any of its futures loses nothing,
/// if dropping a read of the source does not.
///
/// # Examples
///
/// ```
/// use corering::fs::{File, FileCursor};
/// use corering::io::{AsyncBufRead, BufReader};
///
/// # fn main() -> std::io::Result<()> {
/// # let folder = tempfile::tempdir()?;
/// # let path = folder.path().join("hosts");
/// # std::fs::write(&path, "127.0.0.1 localhost\n::1 localhost\n")?;
/// # corering::Runtime::new()?.block_on(async {
/// let file = FileCursor::new(File::open(&path).await?);
/// let mut lines = BufReader::new(file).lines(4096);
/// assert_eq!(lines.next_line().await?.as_deref(), Some("127.0.0.1 localhost"));
/// # Ok(()) })
/// # }
/// ```
pub struct BufReader<R> {
    inner: R,
    /// Read, and not consumed.
    held: Lease,
    capacity: usize,
}

impl<R> BufReader<R> {
    /// Reads 8 KiB at once.
    pub fn new(inner: R) -> BufReader<R> {
        BufReader::with_capacity(CAPACITY, inner)
    }

    /// Reads `capacity` bytes at once.
    ///
    /// # Panics
    ///
    /// If that is 0.
    pub fn with_capacity(capacity: usize, inner: R) -> BufReader<R> {
        assert!(capacity > 0, "a buffer of 0 bytes");
        BufReader {
            inner,
            held: Lease::default(),
            capacity,
        }
    }

    /// What was read and not consumed.
    pub fn buffer(&self) -> &[u8] {
        &self.held
    }

    /// The source.
    pub fn get_ref(&self) -> &R {
        &self.inner
    }

    /// The source. What is read from it directly comes after what is [held](BufReader::buffer).
    pub fn get_mut(&mut self) -> &mut R {
        &mut self.inner
    }

    /// The source. What is [held](BufReader::buffer) is lost.
    pub fn into_inner(self) -> R {
        self.inner
    }
}

impl<R: AsyncRead> BufReader<R> {
    async fn read_piece(&mut self) -> io::Result<Lease> {
        let buf = BytesMut::with_capacity(self.capacity);
        let (result, buf) = self.inner.read(buf).await;
        result.map(|_| Lease::from(buf.freeze()))
    }
}

impl<R: AsyncRead> AsyncRead for BufReader<R> {
    async fn read<B: IoBufMut>(&mut self, mut buf: B) -> BufResult<usize, B> {
        let (_, room) = buf.parts_mut();
        if room == 0 {
            return (Err(no_room()), buf);
        }
        if self.held.is_empty() {
            if room >= self.capacity {
                return self.inner.read(buf).await;
            }
            match self.read_piece().await {
                Ok(piece) => self.held = piece,
                Err(error) => return (Err(error), buf),
            }
        }
        let mut out = Fill::new(&mut buf);
        let n = out.put(&self.held);
        out.finish();
        self.held.advance(n);
        (Ok(n), buf)
    }

    async fn read_exact<B: IoBuf + IoBufMut>(&mut self, buf: B) -> BufResult<(), B> {
        exactly(self, buf).await
    }
}

impl<R: AsyncRead> AsyncBufRead for BufReader<R> {
    async fn fill_buf(&mut self) -> io::Result<Lease> {
        if self.held.is_empty() {
            self.held = self.read_piece().await?;
        }
        Ok(self.held.clone())
    }

    async fn fill_more(&mut self) -> io::Result<()> {
        if self.held.len() >= PIECE_MAX {
            return Err(piece_full());
        }
        let piece = self.read_piece().await?;
        if piece.is_empty() {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        self.held = match mem::take(&mut self.held) {
            held if held.is_empty() => piece,
            held => {
                let mut whole = growable(held, piece.len());
                whole.extend_from_slice(&piece);
                Lease::from(whole.freeze())
            }
        };
        Ok(())
    }

    fn consume(&mut self, n: usize) {
        self.held.advance(n);
    }
}

/// Writes go through to the same stream.
impl<W: AsyncWrite> AsyncWrite for BufReader<W> {
    async fn write<B: IoBuf>(&mut self, buf: B) -> BufResult<usize, B> {
        self.inner.write(buf).await
    }

    async fn write_vectored<B: IoBufs>(&mut self, bufs: B) -> BufResult<usize, B> {
        self.inner.write_vectored(bufs).await
    }

    async fn flush(&mut self) -> io::Result<()> {
        self.inner.flush().await
    }

    async fn shutdown(&mut self) -> io::Result<()> {
        self.inner.shutdown().await
    }

    async fn write_all<B: IoBuf>(&mut self, buf: B) -> BufResult<(), B> {
        self.inner.write_all(buf).await
    }
}

/// Fills all of `buf` from what `source` holds, once it holds enough.
pub(crate) async fn exactly<R: AsyncBufRead, B: IoBufMut>(
    source: &mut R,
    mut buf: B,
) -> BufResult<(), B> {
    let (_, room) = buf.parts_mut();
    if room > PIECE_MAX {
        return (Err(too_large()), buf);
    }
    if room == 0 {
        return (Ok(()), buf);
    }
    let held = match source.fill_to(room).await {
        Ok(held) if held.len() < room => Err(io::ErrorKind::UnexpectedEof.into()),
        held => held,
    };
    match held {
        Ok(held) => {
            let mut out = Fill::new(&mut buf);
            let n = out.put(&held[..room]);
            out.finish();
            source.consume(n);
            (Ok(()), buf)
        }
        Err(error) => (Err(error), buf),
    }
}

#[cold]
pub(crate) fn too_large() -> io::Error {
    let text = "all of it is held until it is there, and that is 16 MiB at most: read in parts";
    io::Error::new(io::ErrorKind::InvalidInput, text)
}

impl<R: fmt::Debug> fmt::Debug for BufReader<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BufReader")
            .field("inner", &self.inner)
            .field("held", &self.held.len())
            .finish_non_exhaustive()
    }
}

/// Collects small writes into large ones.
///
/// Every write to a stream is an operation of the kernel's, so this pays where many are small. What
/// is collected is written when it would exceed the capacity, and by
/// [`flush`](AsyncWrite::flush) and [`shutdown`](AsyncWrite::shutdown). Dropping the writer loses
/// it.
///
/// # Cancellation
///
/// What is collected is handed on by one `write_all`. Dropped during that, it is the sink's: a
/// stream writes it all the same.
///
/// # Examples
///
/// ```
/// use corering::io::{AsyncWrite, BufWriter};
///
/// # fn main() -> std::io::Result<()> {
/// # corering::Runtime::new()?.block_on(async {
/// let mut writer = BufWriter::new(Vec::new());
/// for number in 0..3 {
///     writer.write_all(format!("{number}\n")).await.0?;
/// }
/// assert!(writer.get_ref().is_empty());
/// writer.flush().await?;
/// assert_eq!(writer.get_ref(), b"0\n1\n2\n");
/// # Ok(()) })
/// # }
/// ```
pub struct BufWriter<W> {
    inner: W,
    collected: Vec<u8>,
    capacity: usize,
}

impl<W> BufWriter<W> {
    /// Collects up to 8 KiB.
    pub fn new(inner: W) -> BufWriter<W> {
        BufWriter::with_capacity(CAPACITY, inner)
    }

    /// Collects up to `capacity` bytes.
    pub fn with_capacity(capacity: usize, inner: W) -> BufWriter<W> {
        BufWriter {
            inner,
            collected: Vec::new(),
            capacity,
        }
    }

    /// What is collected and not written.
    pub fn buffer(&self) -> &[u8] {
        &self.collected
    }

    /// The sink.
    pub fn get_ref(&self) -> &W {
        &self.inner
    }

    /// The sink. What is written to it directly comes before what is
    /// [collected](BufWriter::buffer).
    pub fn get_mut(&mut self) -> &mut W {
        &mut self.inner
    }

    /// The sink. What is [collected](BufWriter::buffer) is lost.
    pub fn into_inner(self) -> W {
        self.inner
    }
}

impl<W: AsyncWrite> BufWriter<W> {
    async fn write_out(&mut self) -> io::Result<()> {
        if self.collected.is_empty() {
            return Ok(());
        }
        // While a write whose future was dropped is still going on, this stays here: it would have
        // to wait for its turn, and be lost with this future.
        self.inner.flush().await?;
        let (result, mut written) = self.inner.write_all(mem::take(&mut self.collected)).await;
        written.clear();
        self.collected = written;
        result
    }

    /// Takes `bytes` in. False if there are so many that they go to the sink directly.
    async fn collect(&mut self, bytes: &[u8]) -> io::Result<bool> {
        if self.collected.len() + bytes.len() > self.capacity {
            self.write_out().await?;
        }
        let fits = bytes.len() < self.capacity;
        if fits {
            self.collected.reserve(self.capacity - self.collected.len());
            self.collected.extend_from_slice(bytes);
        }
        Ok(fits)
    }
}

impl<W: AsyncWrite> AsyncWrite for BufWriter<W> {
    async fn write<B: IoBuf>(&mut self, buf: B) -> BufResult<usize, B> {
        match self.collect(buf.as_init()).await {
            Ok(true) => (Ok(buf.as_init().len()), buf),
            Ok(false) => self.inner.write(buf).await,
            Err(error) => (Err(error), buf),
        }
    }

    async fn flush(&mut self) -> io::Result<()> {
        self.write_out().await?;
        self.inner.flush().await
    }

    async fn shutdown(&mut self) -> io::Result<()> {
        self.flush().await?;
        self.inner.shutdown().await
    }

    async fn write_all<B: IoBuf>(&mut self, buf: B) -> BufResult<(), B> {
        match self.collect(buf.as_init()).await {
            Ok(true) => (Ok(()), buf),
            Ok(false) => self.inner.write_all(buf).await,
            Err(error) => (Err(error), buf),
        }
    }
}

impl<W: fmt::Debug> fmt::Debug for BufWriter<W> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BufWriter")
            .field("inner", &self.inner)
            .field("collected", &self.collected.len())
            .finish_non_exhaustive()
    }
}
