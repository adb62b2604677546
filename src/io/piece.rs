//! What makes one piece of several.

use std::io;

use bytes::BytesMut;
use corering_buffers::Lease;

/// Bytes that a source of this crate holds in one piece at most, and so the longest line, frame or
/// [`read_exact`](crate::io::AsyncRead::read_exact): 16 MiB.
pub const PIECE_MAX: usize = 16 * 1024 * 1024;

/// The bytes of `first`, with room for `more` behind them. Where nobody else has a handle on them
/// they stay where they are, so that a long piece that comes in many parts is not copied with each.
pub(crate) fn growable(first: Lease, more: usize) -> BytesMut {
    if !first.is_owned() {
        return copied(&first, more);
    }
    match first.into_bytes().try_into_mut() {
        Ok(mut whole) => {
            whole.reserve(more);
            whole
        }
        Err(shared) => copied(&shared, more),
    }
}

fn copied(first: &[u8], more: usize) -> BytesMut {
    let mut whole = BytesMut::with_capacity(first.len() + more);
    whole.extend_from_slice(first);
    whole
}

/// A source that holds [`PIECE_MAX`] bytes was asked for more.
#[cold]
pub(crate) fn piece_full() -> io::Error {
    let text = "16 MiB are held in one piece: consume some of it";
    io::Error::new(io::ErrorKind::OutOfMemory, text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_piece_that_comes_in_many_parts_is_moved_a_few_times_only() {
        let (mut piece, mut moves) = (Lease::from(vec![0; 100]), 0);
        for part in 1..10_000_usize {
            let before = piece.as_ptr();
            let mut whole = growable(piece, 100);
            whole.extend_from_slice(&[part as u8; 100]);
            piece = Lease::from(whole.freeze());
            moves += usize::from(piece.as_ptr() != before);
        }
        assert_eq!(
            (piece.len(), piece[999_999]),
            (1_000_000, 9_999_usize as u8)
        );
        assert!(moves < 30, "{moves} moves");
    }

    #[test]
    fn a_piece_that_somebody_else_has_stays_as_it_is() {
        let piece = Lease::from(vec![1; 100]);
        let other = piece.clone();
        let mut whole = growable(piece, 100);
        whole.extend_from_slice(&[2; 100]);
        assert_eq!((&*other, whole.len()), (&[1; 100][..], 200));
    }
}
