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
        let mut bytes = vec![0; len as usize];
        let (ahead, mut word) = self.begin(at, len);
        let (head, rest) = bytes.split_at_mut(ahead.len());
        head.copy_from_slice(&ahead);
        let (whole, tail) = rest.as_chunks_mut();
        for chunk in whole {
            *chunk = self.word(word);
            word += 1;
        }
        tail.copy_from_slice(&self.word(word)[..tail.len()]);
        bytes
    }

    /// The first byte that is not what stands from `at` on.
    pub(crate) fn wrong(self, at: u64, bytes: &[u8]) -> Option<u64> {
        let (ahead, mut word) = self.begin(at, bytes.len() as u64);
        let (head, rest) = bytes.split_at(ahead.len());
        let (whole, tail) = rest.as_chunks();
        let mut fine = head == &ahead[..];
        for chunk in whole {
            fine &= *chunk == self.word(word);
            word += 1;
        }
        if fine && self.word(word).starts_with(tail) {
            return None;
        }
        let expected = self.bytes(at, bytes.len() as u64);
        let wrong = expected.iter().zip(bytes).position(|(a, b)| a != b);
        wrong.map(|index| at + index as u64)
    }

    /// The bytes of the word that `at` is in the middle of, up to `len`, and the number of the next
    /// word.
    fn begin(self, at: u64, len: u64) -> (Vec<u8>, u64) {
        let (ahead, next) = (at.wrapping_neg() % 8, at.div_ceil(8));
        if ahead == 0 {
            return (Vec::new(), next);
        }
        let word = self.word(next - 1);
        let rest = &word[8 - ahead as usize..];
        (rest[..len.min(ahead) as usize].to_vec(), next)
    }

    fn word(self, number: u64) -> [u8; 8] {
        let word = (self.0 ^ number).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        (word ^ (word >> 29)).to_le_bytes()
    }
}
