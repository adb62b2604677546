//! Replies, one behind the other until they are written.
//!
//! Short values are copied; long ones are shared with the store, so that a client that does not
//! read what it has asked for costs no memory but theirs.

use std::collections::VecDeque;
use std::mem;

use bytes::{Buf, Bytes};

/// Values of so many bytes are shared and not copied.
pub(crate) const SHARED_FROM: usize = 16 * 1024;
/// Bytes of replies at which a connection writes before it goes on.
pub(crate) const WRITE_AT: usize = 64 * 1024;
/// The longest reply to one command, bytes. What asks for more is cut off, as Redis does at its
/// limit of a client's output.
const REPLY_MAX: usize = 1 << 30;

/// A piece of replies.
#[derive(Debug)]
pub(crate) enum Piece {
    Own(Vec<u8>),
    Shared(Bytes),
}

/// What was not written yet.
#[derive(Debug, Default)]
pub(crate) struct Replies {
    /// What comes before `tail`: nothing, unless long values are among the replies.
    pieces: Vec<Piece>,
    tail: Vec<u8>,
    /// Bytes in `pieces`.
    before: usize,
    too_long: bool,
}

impl Replies {
    /// Bytes that are here.
    #[inline]
    pub(crate) fn len(&self) -> usize {
        self.before + self.tail.len()
    }

    /// Whether a reply was cut off: the connection cannot go on.
    pub(crate) fn is_too_long(&self) -> bool {
        self.too_long
    }

    #[inline]
    pub(crate) fn ok(&mut self) {
        self.tail.extend_from_slice(b"+OK\r\n");
    }

    pub(crate) fn simple(&mut self, text: &str) {
        self.tail.push(b'+');
        self.tail.extend_from_slice(text.as_bytes());
        self.tail.extend_from_slice(b"\r\n");
    }

    #[inline]
    pub(crate) fn null(&mut self) {
        self.tail.extend_from_slice(b"$-1\r\n");
    }

    #[inline]
    pub(crate) fn integer(&mut self, value: i64) {
        self.header(b':', value);
    }

    /// What comes then are so many replies that belong together.
    pub(crate) fn array(&mut self, len: usize) {
        self.header(b'*', len as i64);
    }

    #[inline]
    pub(crate) fn bulk(&mut self, bytes: &[u8]) {
        if self.cut(bytes.len()) {
            return;
        }
        self.tail.reserve(bytes.len() + 32);
        self.header(b'$', bytes.len() as i64);
        self.tail.extend_from_slice(bytes);
        self.tail.extend_from_slice(b"\r\n");
    }

    pub(crate) fn shared(&mut self, bytes: &Bytes) {
        if self.cut(bytes.len()) {
            return;
        }
        self.header(b'$', bytes.len() as i64);
        self.push_shared(bytes.clone());
        self.tail.extend_from_slice(b"\r\n");
    }

    /// An error: its kind in capitals, and a text. An error is one line, whatever is in it.
    #[cold]
    pub(crate) fn error(&mut self, text: &[u8]) {
        self.tail.push(b'-');
        let line = text.iter().map(|byte| match byte {
            b'\r' | b'\n' => b' ',
            other => *other,
        });
        self.tail.extend(line);
        self.tail.extend_from_slice(b"\r\n");
    }

    /// Bytes that are replies already.
    pub(crate) fn raw(&mut self, bytes: &[u8]) {
        self.tail.extend_from_slice(bytes);
    }

    pub(crate) fn push_shared(&mut self, bytes: Bytes) {
        self.seal();
        self.before += bytes.len();
        self.pieces.push(Piece::Shared(bytes));
    }

    /// The replies in the order in which they are to be written, if there is more than one piece.
    pub(crate) fn take_pieces(&mut self) -> Vec<Piece> {
        if !self.pieces.is_empty() {
            self.seal();
        }
        self.before = 0;
        mem::take(&mut self.pieces)
    }

    /// The replies that are in one piece, to be given back by [`reuse`](Replies::reuse).
    #[inline]
    pub(crate) fn take_tail(&mut self) -> Vec<u8> {
        mem::take(&mut self.tail)
    }

    /// Takes a buffer back after its bytes were written.
    #[inline]
    pub(crate) fn reuse(&mut self, mut buffer: Vec<u8>) {
        // One long reply must not cost memory as long as its connection is there.
        if self.tail.is_empty() && buffer.capacity() <= WRITE_AT {
            buffer.clear();
            self.tail = buffer;
        }
    }

    fn seal(&mut self) {
        if !self.tail.is_empty() {
            let tail = mem::take(&mut self.tail);
            self.before += tail.len();
            self.pieces.push(Piece::Own(tail));
        }
    }

    #[inline]
    fn cut(&mut self, len: usize) -> bool {
        self.too_long |= self.len() + len > REPLY_MAX;
        self.too_long
    }

    #[inline]
    fn header(&mut self, kind: u8, value: i64) {
        self.tail.push(kind);
        match u8::try_from(value) {
            Ok(digit @ 0..=9) => self.tail.push(b'0' + digit),
            _ => self
                .tail
                .extend_from_slice(itoa::Buffer::new().format(value).as_bytes()),
        }
        self.tail.extend_from_slice(b"\r\n");
    }
}

/// Replies that are taken a part at a time.
#[derive(Debug)]
pub(crate) struct Reading {
    pieces: VecDeque<Bytes>,
    /// How much was taken.
    at: usize,
}

impl From<Replies> for Reading {
    fn from(mut replies: Replies) -> Reading {
        let mut pieces: VecDeque<_> = replies.take_pieces().into_iter().map(Piece::into).collect();
        pieces.push_back(Bytes::from(replies.take_tail()));
        Reading { pieces, at: 0 }
    }
}

impl From<Piece> for Bytes {
    fn from(piece: Piece) -> Bytes {
        match piece {
            Piece::Own(bytes) => bytes.into(),
            Piece::Shared(bytes) => bytes,
        }
    }
}

impl Reading {
    /// Moves what comes before `end`, counted from the beginning of all, behind `replies`.
    pub(crate) fn copy_until(&mut self, end: usize, replies: &mut Replies) {
        while self.at < end {
            let piece = self.pieces.front_mut().expect("it goes on until the end");
            let part = piece.len().min(end - self.at);
            if part >= SHARED_FROM {
                replies.push_shared(piece.split_to(part));
            } else {
                replies.raw(&piece[..part]);
                piece.advance(part);
            }
            self.at += part;
            if piece.is_empty() {
                self.pieces.pop_front();
            }
        }
    }

    pub(crate) fn copy_rest(mut self, replies: &mut Replies) {
        let end = self.at + self.pieces.iter().map(Bytes::len).sum::<usize>();
        self.copy_until(end, replies);
    }
}
