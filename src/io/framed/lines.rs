//! Frames that are lines.

use std::io;

use corering_buffers::Lease;

use super::{Decoder, Encoder};
use crate::io::buf_read::{too_long, without_end};

/// Lines of text, which end with `\n`, or `\r\n` when they are read. Items are without their end.
///
/// What follows the last end is a line too. A `\r` at the end of what is written is read as a part
/// of the line's end. See
/// [`AsyncBufRead::lines`](crate::io::AsyncBufRead::lines) for reading alone.
///
/// # Examples
///
/// ```
/// use corering::io::{FramedWrite, LinesCodec};
///
/// # fn main() -> std::io::Result<()> {
/// # corering::Runtime::new()?.block_on(async {
/// let mut lines = FramedWrite::new(Vec::new(), LinesCodec::new(80));
/// lines.send("one").await?;
/// assert!(lines.send("two\nlines").await.is_err());
/// assert_eq!(lines.into_inner(), b"one\n");
/// # Ok(()) })
/// # }
/// ```
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct LinesCodec {
    max: usize,
}

impl LinesCodec {
    /// Lines of at most `max` bytes with their end.
    #[must_use]
    pub fn new(max: usize) -> LinesCodec {
        LinesCodec { max }
    }
}

impl Decoder for LinesCodec {
    type Item = String;

    fn find(&self, bytes: &[u8], seen: usize) -> io::Result<Option<usize>> {
        let looked = bytes.len().min(self.max);
        let new = &bytes[seen.min(looked)..looked];
        match new.iter().position(|&byte| byte == b'\n') {
            Some(at) => Ok(Some(seen + at + 1)),
            None if looked == self.max => Err(too_long(self.max)),
            None => Ok(None),
        }
    }

    fn decode(&mut self, frame: Lease) -> io::Result<String> {
        String::from_utf8(without_end(&frame).to_vec())
            .map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))
    }

    fn find_last(&self, bytes: &[u8]) -> io::Result<usize> {
        Ok(bytes.len())
    }
}

impl<T: AsRef<str>> Encoder<T> for LinesCodec {
    fn encode(&mut self, item: T, out: &mut Vec<u8>) -> io::Result<()> {
        let line = item.as_ref();
        if line.len() >= self.max {
            return Err(io::Error::new(
                io::ErrorKind::InvalidInput,
                format!(
                    "a line of {} bytes: the limit is {}",
                    line.len() + 1,
                    self.max
                ),
            ));
        }
        if line.contains('\n') {
            let text = "a line that contains the end of a line";
            return Err(io::Error::new(io::ErrorKind::InvalidInput, text));
        }
        out.reserve(line.len() + 1);
        out.extend_from_slice(line.as_bytes());
        out.push(b'\n');
        Ok(())
    }
}
