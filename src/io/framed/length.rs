//! Frames that begin with their length.

use std::io;

use corering_buffers::Lease;

use super::{Decoder, Encoder};
use crate::io::PIECE_MAX;

/// The longest frame that is allowed unless something else is said: 8 MiB.
const MAX_FRAME: usize = 8 * 1024 * 1024;

/// Frames that begin with their length, a number of 1, 2, 4 or 8 bytes that does not count itself.
///
/// Items are [`Lease`]s of what follows: a frame that came in one piece is not copied. Whoever
/// keeps many for long calls [`into_bytes`](Lease::into_bytes), since each holds a receive buffer.
///
/// A length above the limit is an error as soon as it is seen; nothing is allocated for it.
///
/// # Examples
///
/// ```
/// use bytes::Bytes;
/// use corering::io::{FramedRead, LengthCodec};
///
/// # fn main() -> std::io::Result<()> {
/// # corering::Runtime::new()?.block_on(async {
/// let codec = LengthCodec::new().length_bytes(2).little_endian().max_frame(1000);
/// let mut frames = FramedRead::new(Bytes::from_static(b"\x02\x00hi\xff\xff..."), codec);
/// assert_eq!(frames.next().await?.as_deref(), Some(&b"hi"[..]));
/// assert!(frames.next().await.is_err()); // 65,535 bytes
/// # Ok(()) })
/// # }
/// ```
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct LengthCodec {
    /// Of the number, in bytes.
    width: usize,
    little_endian: bool,
    max: usize,
}

impl Default for LengthCodec {
    fn default() -> LengthCodec {
        LengthCodec::new()
    }
}

impl LengthCodec {
    /// A length of 4 bytes, big-endian; frames of at most 8 MiB.
    #[must_use]
    pub fn new() -> LengthCodec {
        LengthCodec {
            width: 4,
            little_endian: false,
            max: MAX_FRAME,
        }
    }

    /// A length of so many bytes.
    ///
    /// # Panics
    ///
    /// Unless that is 1, 2, 4 or 8.
    #[must_use]
    pub fn length_bytes(mut self, bytes: usize) -> LengthCodec {
        assert!(
            matches!(bytes, 1 | 2 | 4 | 8),
            "a length of {bytes} bytes: it may have 1, 2, 4 or 8"
        );
        self.width = bytes;
        self
    }

    /// A length that begins with its lowest byte.
    #[must_use]
    pub fn little_endian(mut self) -> LengthCodec {
        self.little_endian = true;
        self
    }

    /// Frames of at most `bytes` bytes, without their length.
    ///
    /// # Panics
    ///
    /// If that, with 8 bytes for the length, is more than a source holds in one piece:
    /// [`PIECE_MAX`](crate::io::PIECE_MAX), 16 MiB.
    #[must_use]
    pub fn max_frame(mut self, bytes: usize) -> LengthCodec {
        assert!(
            bytes <= PIECE_MAX - 8,
            "frames of {bytes} bytes: the limit is {}",
            PIECE_MAX - 8
        );
        self.max = bytes;
        self
    }

    /// The number that `head`, as many bytes as it has, stands for.
    fn length(&self, head: &[u8]) -> u64 {
        let mut bytes = [0; 8];
        if self.little_endian {
            bytes[..head.len()].copy_from_slice(head);
            return u64::from_le_bytes(bytes);
        }
        bytes[8 - head.len()..].copy_from_slice(head);
        u64::from_be_bytes(bytes)
    }
}

impl Decoder for LengthCodec {
    type Item = Lease;

    fn find(&self, bytes: &[u8], _seen: usize) -> io::Result<Option<usize>> {
        let Some(head) = bytes.get(..self.width) else {
            return Ok(None);
        };
        let len = self.length(head);
        match usize::try_from(len) {
            Ok(len) if len <= self.max => Ok(Some(self.width + len)),
            _ => {
                let text = format!("a frame of {len} bytes: the limit is {}", self.max);
                Err(io::Error::new(io::ErrorKind::InvalidData, text))
            }
        }
    }

    fn decode(&mut self, mut frame: Lease) -> io::Result<Lease> {
        frame.advance(self.width);
        Ok(frame)
    }
}

impl<T: AsRef<[u8]>> Encoder<T> for LengthCodec {
    fn encode(&mut self, item: T, out: &mut Vec<u8>) -> io::Result<()> {
        let bytes = item.as_ref();
        let len = bytes.len() as u64;
        // Of 8 bytes any length fits, which has no more than 64 bits.
        let fits = self.width == 8 || len >> (8 * self.width) == 0;
        if bytes.len() > self.max || !fits {
            let text = format!(
                "a frame of {len} bytes: the limit is {}, with a length of {} bytes",
                self.max, self.width
            );
            return Err(io::Error::new(io::ErrorKind::InvalidInput, text));
        }
        out.reserve(self.width + bytes.len());
        if self.little_endian {
            out.extend_from_slice(&len.to_le_bytes()[..self.width]);
        } else {
            out.extend_from_slice(&len.to_be_bytes()[8 - self.width..]);
        }
        out.extend_from_slice(bytes);
        Ok(())
    }
}
