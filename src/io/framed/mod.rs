//! Messages on a stream of bytes.
//!
//! A codec finds where a frame ends, and makes an item of it ([`Decoder`]), or appends the frame of
//! an item ([`Encoder`]). [`FramedRead`] and [`FramedWrite`] do the rest: they wait for whole
//! frames, take them, collect what is to be written, and write that whole.

mod length;
mod lines;

use std::fmt;
use std::io;
use std::mem;

use corering_buffers::Lease;

pub use self::length::LengthCodec;
pub use self::lines::LinesCodec;
use super::{AsyncBufRead, AsyncWrite};

/// Bytes that a [`FramedWrite`] collects before it writes them unasked.
const COLLECTED: usize = 64 * 1024;

/// Finds frames in the bytes that a source holds.
///
/// It decides from bytes that stay in the source until the frame is whole, so it keeps nothing
/// between two calls, and a reader that is dropped in between loses nothing.
///
/// # Examples
///
/// Two bytes to a frame:
///
/// ```
/// use std::io;
///
/// use bytes::Bytes;
/// use corering::Lease;
/// use corering::io::{Decoder, FramedRead};
///
/// struct Pairs;
///
/// impl Decoder for Pairs {
///     type Item = (u8, u8);
///
///     fn find(&self, _bytes: &[u8], _seen: usize) -> io::Result<Option<usize>> {
///         Ok(Some(2))
///     }
///
///     fn decode(&mut self, frame: Lease) -> io::Result<(u8, u8)> {
///         Ok((frame[0], frame[1]))
///     }
/// }
///
/// # fn main() -> io::Result<()> {
/// # corering::Runtime::new()?.block_on(async {
/// let mut pairs = FramedRead::new(Bytes::from_static(b"abcd"), Pairs);
/// assert_eq!(pairs.next().await?, Some((b'a', b'b')));
/// # Ok(()) })
/// # }
/// ```
pub trait Decoder {
    /// What a frame is decoded to.
    type Item;

    /// The length of the frame that starts with `bytes`, with all that belongs to it, once that is
    /// known; it may be more than `bytes`. `seen` bytes were there when it was asked before about
    /// the same frame, and could not tell.
    ///
    /// # Errors
    ///
    /// `InvalidData`: this is no frame, or one that is too long.
    fn find(&self, bytes: &[u8], seen: usize) -> io::Result<Option<usize>>;

    /// Makes an item of a whole frame, which is taken from the source.
    ///
    /// # Errors
    ///
    /// `InvalidData`: it means nothing.
    fn decode(&mut self, frame: Lease) -> io::Result<Self::Item>;

    /// The length of the frame that the source has ended with, which starts with `bytes` and is not
    /// whole.
    ///
    /// # Errors
    ///
    /// `UnexpectedEof`, unless a frame may end like that.
    fn find_last(&self, bytes: &[u8]) -> io::Result<usize> {
        let text = format!("the stream ends after {} bytes of a frame", bytes.len());
        Err(io::Error::new(io::ErrorKind::UnexpectedEof, text))
    }
}

/// Makes frames of items.
pub trait Encoder<T> {
    /// Appends the frame of `item` to `out`. At an error it has appended nothing.
    ///
    /// # Errors
    ///
    /// `InvalidInput`: there is no frame for this item, since it is too long, say.
    fn encode(&mut self, item: T, out: &mut Vec<u8>) -> io::Result<()>;
}

/// Reads frames.
///
/// # Examples
///
/// ```
/// use corering::io::{FramedRead, FramedWrite, LengthCodec};
/// use corering::net::UnixStream;
///
/// # fn main() -> std::io::Result<()> {
/// # corering::Runtime::new()?.block_on(async {
/// let (a, b) = UnixStream::pair()?;
/// let mut sending = FramedWrite::new(a, LengthCodec::new());
/// let mut receiving = FramedRead::new(b, LengthCodec::new());
/// sending.feed("first").await?;
/// sending.send("second").await?; // both in one write
/// assert_eq!(receiving.next().await?.as_deref(), Some(&b"first"[..]));
/// assert_eq!(receiving.next().await?.as_deref(), Some(&b"second"[..]));
/// drop(sending);
/// assert!(receiving.next().await?.is_none());
/// # Ok(()) })
/// # }
/// ```
pub struct FramedRead<R, D> {
    source: R,
    codec: D,
}

impl<R, D> FramedRead<R, D> {
    /// Reads the frames of `codec` from `source`.
    pub fn new(source: R, codec: D) -> FramedRead<R, D> {
        FramedRead { source, codec }
    }

    /// The source, which holds all bytes of which no item was made.
    pub fn into_inner(self) -> R {
        self.source
    }
}

impl<R: AsyncBufRead, D: Decoder> FramedRead<R, D> {
    /// The next item, `None` at the end.
    ///
    /// # Errors
    ///
    /// Those of the source. `InvalidData` or what else the codec says; where it finds no frame
    /// nothing was taken, and the next call says the same: nobody knows where the next frame
    /// begins. `UnexpectedEof`: the end came within a frame.
    ///
    /// # Cancellation
    ///
    /// Dropped, it has taken nothing.
    pub async fn next(&mut self) -> io::Result<Option<D::Item>> {
        let (mut seen, mut wanted) = (0, 1);
        loop {
            let mut piece = self.source.fill_to(wanted).await?;
            if piece.is_empty() {
                return Ok(None);
            }
            let len = if piece.len() < wanted {
                self.codec.find_last(&piece)?.clamp(1, piece.len())
            } else {
                match self.codec.find(&piece, seen)? {
                    Some(0) => return Err(empty_frame()),
                    Some(len) => len,
                    None => piece.len() + 1,
                }
            };
            if len <= piece.len() {
                let frame = piece.split_to(len);
                self.source.consume(len);
                return self.codec.decode(frame).map(Some);
            }
            (seen, wanted) = (piece.len(), len);
        }
    }
}

/// A frame without a byte could be found for ever.
#[cold]
fn empty_frame() -> io::Error {
    let text = "the codec has found a frame of 0 bytes";
    io::Error::new(io::ErrorKind::InvalidData, text)
}

/// Writes frames.
///
/// Frames are collected, up to 64 KiB and the last one, and written from one buffer: to a stream
/// whole or not at all, whatever is dropped.
pub struct FramedWrite<W, E> {
    sink: W,
    codec: E,
    collected: Vec<u8>,
}

impl<W, E> FramedWrite<W, E> {
    /// Writes frames of `codec` to `sink`.
    pub fn new(sink: W, codec: E) -> FramedWrite<W, E> {
        FramedWrite {
            sink,
            codec,
            collected: Vec::new(),
        }
    }

    /// The sink. Frames that were fed and not flushed are lost.
    pub fn into_inner(self) -> W {
        self.sink
    }
}

impl<W: AsyncWrite, E> FramedWrite<W, E> {
    /// Collects the frame of `item`, and writes what was collected before if that is 64 KiB or
    /// more: a reader that is slow slows this down.
    ///
    /// # Errors
    ///
    /// Those of the sink; `InvalidInput` or what else the codec says, and then nothing was
    /// collected.
    ///
    /// # Cancellation
    ///
    /// Dropped, it has not collected `item`. What it was writing is the sink's: a stream sends it
    /// all the same.
    pub async fn feed<T>(&mut self, item: T) -> io::Result<()>
    where
        E: Encoder<T>,
    {
        if self.collected.len() >= COLLECTED {
            self.write_out().await?;
        }
        self.codec.encode(item, &mut self.collected)
    }

    /// Writes the frame of `item`, and those that were fed before.
    ///
    /// # Errors
    ///
    /// As [`feed`](FramedWrite::feed).
    ///
    /// # Cancellation
    ///
    /// Dropped, it has done nothing about `item`; or its frame is collected, and written with the
    /// next one; or it is on its way, whole. So is what was fed before.
    pub async fn send<T>(&mut self, item: T) -> io::Result<()>
    where
        E: Encoder<T>,
    {
        self.feed(item).await?;
        self.flush().await
    }

    /// Writes what was fed.
    ///
    /// # Errors
    ///
    /// Those of the sink.
    ///
    /// # Cancellation
    ///
    /// As [`send`](FramedWrite::send).
    pub async fn flush(&mut self) -> io::Result<()> {
        self.write_out().await?;
        self.sink.flush().await
    }

    /// Writes what was fed, and ends the sink.
    ///
    /// # Errors
    ///
    /// Those of the sink.
    ///
    /// # Cancellation
    ///
    /// As [`send`](FramedWrite::send). It can be called again.
    pub async fn shutdown(&mut self) -> io::Result<()> {
        self.write_out().await?;
        self.sink.shutdown().await
    }

    async fn write_out(&mut self) -> io::Result<()> {
        if self.collected.is_empty() {
            return Ok(());
        }
        // While a write whose future was dropped is still going on, frames stay here: they would
        // have to wait for their turn, and be lost with this future.
        self.sink.flush().await?;
        let (result, mut written) = self.sink.write_all(mem::take(&mut self.collected)).await;
        // One large frame must not hold its memory for good.
        if written.capacity() <= 2 * COLLECTED {
            written.clear();
            self.collected = written;
        }
        result
    }
}

impl<R: fmt::Debug, D> fmt::Debug for FramedRead<R, D> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FramedRead")
            .field("source", &self.source)
            .finish_non_exhaustive()
    }
}

impl<W: fmt::Debug, E> fmt::Debug for FramedWrite<W, E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FramedWrite")
            .field("sink", &self.sink)
            .field("collected", &self.collected.len())
            .finish_non_exhaustive()
    }
}
