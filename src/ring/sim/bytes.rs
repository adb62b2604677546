//! Bytes that come in pieces and are read as one stream.

use std::collections::VecDeque;

use super::memory::Lent;

/// What was received and not read yet. The pieces stay as they came, so that no byte is moved but
/// to who reads it; none of them is empty.
#[derive(Debug, Default)]
pub(super) struct Received {
    pieces: VecDeque<Vec<u8>>,
    /// Bytes of the first piece that were read.
    read: usize,
    len: usize,
}

impl Received {
    pub(super) fn len(&self) -> usize {
        self.len
    }

    pub(super) fn is_empty(&self) -> bool {
        self.len == 0
    }

    pub(super) fn push(&mut self, piece: Vec<u8>) {
        if !piece.is_empty() {
            self.len += piece.len();
            self.pieces.push_back(piece);
        }
    }

    pub(super) fn clear(&mut self) {
        *self = Received::default();
    }

    /// Moves the first `n` bytes to the process.
    pub(super) fn move_to(&mut self, mut lent: Lent, n: usize) {
        self.take_each(n, |part| {
            lent.fill(part);
            lent = lent.skip(part.len());
        });
    }

    /// Takes the first `n` bytes.
    pub(super) fn take(&mut self, n: usize) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(n.min(self.len));
        self.take_each(n, |part| bytes.extend_from_slice(part));
        bytes
    }

    fn take_each(&mut self, n: usize, mut each: impl FnMut(&[u8])) {
        let mut left = n;
        while left > 0
            && let Some(first) = self.pieces.front()
        {
            let end = first.len().min(self.read + left);
            each(&first[self.read..end]);
            left -= end - self.read;
            self.read = end;
            if end == first.len() {
                self.pieces.pop_front();
                self.read = 0;
            }
        }
        self.len -= n - left;
    }
}
