//! Streams of bytes that are known on both sides: each byte says of which stream it is and where it
//! stands.

use super::random::mix;

#[derive(Clone, Copy, Debug)]
pub(crate) struct Pattern(u64);

impl Pattern {
    /// One for each stream, or file, and direction.
    pub(crate) fn new(id: u64, direction: u64) -> Pattern {
        Pattern(mix(id.wrapping_mul(4).wrapping_add(direction)))
    }

    /// `len` bytes from `at`.
    pub(crate) fn bytes(self, at: u64, len: u64) -> Vec<u8> {
        let (first, skip) = (at / 8, (at % 8) as usize);
        let words = (skip as u64 + len).div_ceil(8);
        let mut bytes = Vec::with_capacity(8 * words as usize);
        for word in first..first + words {
            bytes.extend_from_slice(&self.word(word));
        }
        bytes.drain(..skip);
        bytes.truncate(len as usize);
        bytes
    }

    /// The first byte that is not what stands from `at` on.
    pub(crate) fn wrong(self, at: u64, bytes: &[u8]) -> Option<u64> {
        let ahead = (at.wrapping_neg() % 8).min(bytes.len() as u64);
        let (head, rest) = bytes.split_at(ahead as usize);
        let start = at + ahead;
        let words = (start / 8..).zip(rest.chunks(8));
        let fine = head == self.bytes(at, ahead)
            && words
                .into_iter()
                .all(|(word, part)| self.word(word)[..part.len()] == *part);
        if fine {
            return None;
        }
        let expected = self.bytes(at, bytes.len() as u64);
        let wrong = expected.iter().zip(bytes).position(|(a, b)| a != b);
        wrong.map(|index| at + index as u64)
    }

    fn word(self, number: u64) -> [u8; 8] {
        let word = (self.0 ^ number).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        (word ^ (word >> 29)).to_le_bytes()
    }
}
