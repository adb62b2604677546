//! The bytes that are sent: random, made once, and cut at another place for every request, so
//! that an answer that is late, short, doubled or another connection's does not pass.

use std::sync::OnceLock;

/// Where a request may start.
const STARTS: u32 = 64 * 1024;
/// The longest request.
pub(crate) const MESSAGE_MAX: usize = 64 * 1024;

fn bytes() -> &'static [u8] {
    static BYTES: OnceLock<Vec<u8>> = OnceLock::new();
    BYTES.get_or_init(|| {
        let mut state = 0x9e37_79b9_7f4a_7c15_u64;
        (0..STARTS as usize + MESSAGE_MAX)
            .map(|_| {
                // xorshift64: the low byte of any full-period generator will do.
                state ^= state << 13;
                state ^= state >> 7;
                state ^= state << 17;
                (state >> 32) as u8
            })
            .collect()
    })
}

/// One connection's place in the pattern.
#[derive(Clone, Copy)]
pub(crate) struct Cursor {
    start: u32,
    received: u32,
}

impl Cursor {
    /// Different for each `tag`.
    pub(crate) fn new(tag: u32) -> Self {
        Self {
            start: tag.wrapping_mul(2053) % STARTS,
            received: 0,
        }
    }

    /// The next request, of `length` bytes. The answer to the one before no longer matches.
    pub(crate) fn next(&mut self, length: usize) -> &'static [u8] {
        // Odd, so every start comes once before any comes twice.
        self.start = (self.start + 4099) % STARTS;
        self.received = 0;
        &bytes()[self.start as usize..][..length]
    }

    /// Whether `piece` is what comes next of an answer of `length` bytes, and if so takes it.
    pub(crate) fn accepts(&mut self, piece: &[u8], length: usize) -> bool {
        let received = self.received as usize;
        let Some(end) = received
            .checked_add(piece.len())
            .filter(|&end| end <= length)
        else {
            return false;
        };
        let expected = &bytes()[self.start as usize..][received..end];
        self.received = end as u32;
        piece == expected
    }

    /// Bytes of an answer of `length` that have not come.
    pub(crate) fn left(&self, length: usize) -> usize {
        length - self.received as usize
    }

    /// Whether all of an answer of `length` bytes has come.
    pub(crate) fn is_complete(&self, length: usize) -> bool {
        self.received as usize == length
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_accepted_in_pieces_and_complete_at_its_end() {
        let mut cursor = Cursor::new(7);
        let request = cursor.next(100);
        assert!(cursor.accepts(&request[..30], 100));
        assert!(!cursor.is_complete(100));
        assert!(cursor.accepts(&request[30..], 100));
        assert!(cursor.is_complete(100));
    }

    #[test]
    fn one_wrong_byte_is_refused() {
        let mut cursor = Cursor::new(7);
        let mut answer = cursor.next(4096).to_vec();
        answer[4095] ^= 1;
        assert!(!cursor.accepts(&answer, 4096));
    }

    #[test]
    fn the_answer_to_the_request_before_is_refused() {
        let mut cursor = Cursor::new(7);
        let before = cursor.next(64);
        cursor.next(64);
        assert!(!cursor.accepts(before, 64));
    }

    #[test]
    fn the_answer_to_another_connection_is_refused() {
        let other = Cursor::new(8).next(64);
        let mut cursor = Cursor::new(7);
        cursor.next(64);
        assert!(!cursor.accepts(other, 64));
    }

    #[test]
    fn a_byte_too_many_is_refused() {
        let mut cursor = Cursor::new(7);
        let request = cursor.next(64);
        assert!(cursor.accepts(request, 64));
        assert!(!cursor.accepts(&request[..1], 64));
    }
}
