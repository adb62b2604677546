//! Streams of bytes that are known on both sides: each byte says of which stream it is and where it
//! stands.

use super::random::mix;

/// Bytes of a word.
const WORD: u64 = 8;
/// From one word to the next: odd, so that none comes twice.
const STEP: u64 = 0x9e37_79b9_7f4a_7c15;

#[derive(Clone, Copy, Debug)]
pub(crate) struct Pattern(u64);

impl Pattern {
    /// One for each stream, or file, and direction.
    pub(crate) fn new(id: u64, direction: u64) -> Pattern {
        Pattern(mix(id.wrapping_mul(4).wrapping_add(direction)))
    }

    /// `len` bytes from `at`.
    pub(crate) fn bytes(self, at: u64, len: u64) -> Vec<u8> {
        let (first, skipped) = (at / WORD, (at % WORD) as usize);
        let words = (at + len).div_ceil(WORD) - first;
        let mut word = self.word(first);
        let next = |_| {
            let bytes = bytes_of(word);
            word = after(word);
            bytes
        };
        let words: Vec<_> = (0..words).map(next).collect();
        let mut bytes = words.into_flattened();
        if skipped > 0 {
            bytes.copy_within(skipped.., 0);
        }
        bytes.truncate(len as usize);
        bytes
    }

    /// The same behind a head.
    pub(crate) fn bytes_behind(self, head: &[u8], at: u64, len: u64) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(head.len() + len as usize);
        bytes.extend_from_slice(head);
        bytes.extend(self.bytes(at, len));
        bytes
    }

    /// The first byte that is not what stands from `at` on.
    pub(crate) fn wrong(self, at: u64, bytes: &[u8]) -> Option<u64> {
        let (ahead, next) = (at.wrapping_neg() % WORD, at.div_ceil(WORD));
        let (head, rest) = bytes.split_at(bytes.len().min(ahead as usize));
        let (whole, tail) = rest.as_chunks();
        let mut word = self.word(next);
        let mut differs = 0;
        for chunk in whole {
            differs |= u64::from_le_bytes(*chunk) ^ mixed(word);
            word = after(word);
        }
        let before = bytes_of(self.word(next.wrapping_sub(1)));
        let before = &before[(at % WORD) as usize..];
        if differs == 0 && bytes_of(word).starts_with(tail) && before.starts_with(head) {
            return None;
        }
        let expected = self.bytes(at, bytes.len() as u64);
        let wrong = bytes.iter().zip(expected).position(|(a, b)| *a != b);
        wrong.map(|index| at + index as u64)
    }

    /// A word before it is [mixed].
    fn word(self, number: u64) -> u64 {
        self.0.wrapping_add(number.wrapping_mul(STEP))
    }
}

/// The word that follows. An addition, so that several are made at once.
fn after(word: u64) -> u64 {
    word.wrapping_add(STEP)
}

fn mixed(word: u64) -> u64 {
    word ^ (word >> 29)
}

fn bytes_of(word: u64) -> [u8; WORD as usize] {
    mixed(word).to_le_bytes()
}
