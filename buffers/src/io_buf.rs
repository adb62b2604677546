//! The two traits that let an operation lend a buffer to the kernel, for std's types and `bytes`'.
//!
//! # Who owns what when
//!
//! An operation takes the buffer by value and puts it where it will stay. Only then does it ask
//! for the address, once, and remembers the answer. From there to the operation's final completion
//! the memory is the kernel's: nobody reads it, writes it, or asks the buffer again. Afterwards the
//! operation reports what was written with the same numbers it was given, and hands the value back.
//!
//! So an implementation promises two things that the compiler cannot check: that the memory does
//! not move with the value (it lies behind a pointer), and that what it says is true. Both are why
//! the traits are unsafe to implement. Nothing here needs unsafe code to be *used*.
#![allow(unsafe_code)]

use std::sync::Arc;

use bytes::{Bytes, BytesMut};

/// A buffer whose bytes the kernel may read: what `write` and `send` take.
///
/// Implemented for owned bytes that lie on the heap or are static, and not for arrays: those move
/// with their owner, so that the kernel would read from where they used to be.
///
/// ```compile_fail,E0277
/// fn send(_: impl corering_buffers::IoBuf) {}
/// send([0u8; 64]); // `Box::new([0u8; 64])` is the buffer to send.
/// ```
///
/// # Safety
///
/// For every `(ptr, len)` that [`parts`](IoBuf::parts) returns:
///
/// * `ptr` is not null, also when `len` is 0, and `len` bytes from it are initialised and readable;
/// * they stay there, readable and unchanged, when the value is moved, and until it is dropped or
///   used by a method that takes it by `&mut` or by value;
/// * until then a second call returns the same pair.
pub unsafe trait IoBuf: 'static {
    /// The address and the number of the initialised bytes.
    ///
    /// Called once per submission, when the value is where it stays until the final completion.
    fn parts(&self) -> (*const u8, usize);

    /// How far a [slice](crate::IoBufExt::slice) of this buffer may reach, in bytes: the
    /// initialised ones, and the room behind them if the kernel may write there.
    ///
    /// No safety depends on the answer.
    #[inline]
    fn bytes_total(&self) -> usize {
        self.parts().1
    }
}

/// A buffer that the kernel may fill: what `read` and `recv` take.
///
/// A read fills the buffer *from its start* and makes the length what came. To append, pass
/// [`buf.spare()`](crate::IoBufExt::spare); to fill a part, [`buf.slice(a..b)`](crate::IoBufExt).
///
/// Implemented for buffers with exactly one owner only, since the kernel writes while others run.
///
/// ```compile_fail,E0277
/// fn read(_: impl corering_buffers::IoBufMut) {}
/// read(std::sync::Arc::<[u8]>::from([0u8; 64]));
/// ```
///
/// # Safety
///
/// For every `(ptr, len)` that [`parts_mut`](IoBufMut::parts_mut) returns:
///
/// * `ptr` is not null, also when `len` is 0, and `len` bytes from it may be written, with any
///   values; they need not be initialised;
/// * nothing else reads or writes them, and they stay there when the value is moved, until it is
///   dropped or used again;
/// * the call changes neither the bytes nor how many of them are initialised.
///
/// If the type is an [`IoBuf`] too, both traits speak of the same memory: the same first byte, the
/// initialised bytes are the first ones of the room, and after [`set_init`](IoBufMut::set_init)
/// they are as many as it said, or all of them where the length is fixed.
pub unsafe trait IoBufMut: 'static {
    /// The address and the size in bytes of the whole room, initialised or not.
    ///
    /// Called once per submission, when the value is where it stays until the final completion.
    fn parts_mut(&mut self) -> (*mut u8, usize);

    /// Makes the first `n` bytes the buffer's contents.
    ///
    /// Buffers of a fixed length ignore it: there the count that comes with the buffer counts.
    ///
    /// # Safety
    ///
    /// The first `n` bytes of the room that `parts_mut` last returned are initialised, `n` is at
    /// most its size, and the value has not been used in between.
    unsafe fn set_init(&mut self, n: usize);
}

// SAFETY: the elements of a Vec lie in an allocation of its own, which only `&mut` methods change.
unsafe impl IoBuf for Vec<u8> {
    #[inline]
    fn parts(&self) -> (*const u8, usize) {
        (self.as_ptr(), self.len())
    }

    #[inline]
    fn bytes_total(&self) -> usize {
        self.capacity()
    }
}

// SAFETY: as above, and a Vec is the only owner of its allocation of `capacity` bytes.
unsafe impl IoBufMut for Vec<u8> {
    #[inline]
    fn parts_mut(&mut self) -> (*mut u8, usize) {
        (self.as_mut_ptr(), self.capacity())
    }

    #[inline]
    unsafe fn set_init(&mut self, n: usize) {
        assert!(
            n <= self.capacity(),
            "{n} bytes in a Vec of {}",
            self.capacity()
        );
        // SAFETY: n is within the capacity, and the caller promises that n bytes are initialised.
        unsafe { self.set_len(n) }
    }
}

// SAFETY: the bytes lie in an allocation of the box's own, which only `&mut` can change.
unsafe impl IoBuf for Box<[u8]> {
    #[inline]
    fn parts(&self) -> (*const u8, usize) {
        (self.as_ptr(), self.len())
    }
}

// SAFETY: as above, and the box is its only owner.
unsafe impl IoBufMut for Box<[u8]> {
    #[inline]
    fn parts_mut(&mut self) -> (*mut u8, usize) {
        (self.as_mut_ptr(), self.len())
    }

    #[inline]
    unsafe fn set_init(&mut self, n: usize) {
        assert!(n <= self.len(), "{n} bytes in a box of {}", self.len());
    }
}

// SAFETY: the bytes lie in an allocation of the box's own, which only `&mut` can change.
unsafe impl<const N: usize> IoBuf for Box<[u8; N]> {
    #[inline]
    fn parts(&self) -> (*const u8, usize) {
        (self.as_ptr(), N)
    }
}

// SAFETY: as above, and the box is its only owner.
unsafe impl<const N: usize> IoBufMut for Box<[u8; N]> {
    #[inline]
    fn parts_mut(&mut self) -> (*mut u8, usize) {
        (self.as_mut_ptr(), N)
    }

    #[inline]
    unsafe fn set_init(&mut self, n: usize) {
        assert!(n <= N, "{n} bytes in a box of {N}");
    }
}

// SAFETY: a String is a Vec<u8>. Not IoBufMut: what the kernel writes need not be UTF-8.
unsafe impl IoBuf for String {
    #[inline]
    fn parts(&self) -> (*const u8, usize) {
        (self.as_ptr(), self.len())
    }
}

// SAFETY: borrowed for 'static, so nobody may ever write or free these bytes.
unsafe impl IoBuf for &'static [u8] {
    #[inline]
    fn parts(&self) -> (*const u8, usize) {
        (self.as_ptr(), self.len())
    }
}

// SAFETY: borrowed for 'static, so nobody may ever write or free these bytes.
unsafe impl IoBuf for &'static str {
    #[inline]
    fn parts(&self) -> (*const u8, usize) {
        (self.as_ptr(), self.len())
    }
}

// SAFETY: this clone keeps the allocation alive, and while it exists `Arc::get_mut` of any other
// refuses. Not IoBufMut: other clones may be read meanwhile.
unsafe impl IoBuf for Arc<[u8]> {
    #[inline]
    fn parts(&self) -> (*const u8, usize) {
        (self.as_ptr(), self.len())
    }
}

// SAFETY: the bytes are static, or in an allocation that this handle keeps alive and that nobody
// may write while it is shared. Not IoBufMut for that reason.
unsafe impl IoBuf for Bytes {
    #[inline]
    fn parts(&self) -> (*const u8, usize) {
        (self.as_ptr(), self.len())
    }
}

// SAFETY: the bytes lie in an allocation that this handle keeps alive, and its range of it, up to
// its capacity, belongs to no other handle.
unsafe impl IoBuf for BytesMut {
    #[inline]
    fn parts(&self) -> (*const u8, usize) {
        (self.as_ptr(), self.len())
    }

    #[inline]
    fn bytes_total(&self) -> usize {
        self.capacity()
    }
}

// SAFETY: as above.
unsafe impl IoBufMut for BytesMut {
    #[inline]
    fn parts_mut(&mut self) -> (*mut u8, usize) {
        // `as_mut_ptr` would go through a slice of the length, and a pointer made from that must
        // not be used beyond it; an empty BytesMut has the whole room as its spare capacity.
        let len = self.len();
        // SAFETY: nothing is initialised in the first 0 bytes of anything.
        unsafe { self.set_len(0) };
        let room = self.spare_capacity_mut();
        let parts = (room.as_mut_ptr().cast(), room.len());
        // SAFETY: `len` bytes were initialised two lines ago and have not been touched.
        unsafe { self.set_len(len) };
        parts
    }

    #[inline]
    unsafe fn set_init(&mut self, n: usize) {
        assert!(
            n <= self.capacity(),
            "{n} bytes in a BytesMut of {}",
            self.capacity()
        );
        // SAFETY: n is within the capacity, and the caller promises that n bytes are initialised.
        unsafe { self.set_len(n) }
    }
}
