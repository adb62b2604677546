//! Copying into an owned buffer, in as many pieces as there are.
#![allow(unsafe_code)]

use std::fmt;

use crate::IoBufMut;

/// Copies bytes into a buffer as a read would: from its start, and its length is what came.
///
/// For who has the bytes already (received before anyone asked) and a buffer to deliver them in.
/// Asks the buffer for its room once, when made, and tells it the total once, in
/// [`finish`](Fill::finish); without that the buffer keeps its old length.
///
/// # Examples
///
/// ```
/// use corering_buffers::Fill;
///
/// let mut buf = Vec::with_capacity(8);
/// let mut read = Fill::new(&mut buf);
/// assert_eq!(read.put(b"first "), 6);
/// assert_eq!(read.put(b"second"), 2); // As much as there is room for.
/// assert_eq!(read.finish(), 8);
/// assert_eq!(buf, b"first se");
/// ```
#[must_use = "the buffer keeps its old length until `finish`"]
pub struct Fill<'a, B: IoBufMut> {
    buf: &'a mut B,
    ptr: *mut u8,
    room: usize,
    len: usize,
}

impl<'a, B: IoBufMut> Fill<'a, B> {
    /// Starts at the first byte of `buf`'s room.
    #[inline]
    pub fn new(buf: &'a mut B) -> Self {
        let (ptr, room) = buf.parts_mut();
        Fill {
            buf,
            ptr,
            room,
            len: 0,
        }
    }

    /// How many bytes still fit.
    #[inline]
    pub fn room(&self) -> usize {
        self.room - self.len
    }

    /// Copies the first bytes of `bytes`, as many as fit, and returns their number.
    #[inline]
    pub fn put(&mut self, bytes: &[u8]) -> usize {
        let n = bytes.len().min(self.room());
        // SAFETY: parts_mut gave `room` writable bytes that nothing else reads or writes until the
        // buffer is used again, which our `&mut` to it excludes; len + n <= room. `bytes` cannot
        // overlap them, for it would be such a reader.
        unsafe {
            self.ptr
                .add(self.len)
                .copy_from_nonoverlapping(bytes.as_ptr(), n)
        }
        self.len += n;
        n
    }

    /// Makes what was put the buffer's contents, and returns how many bytes that are.
    #[inline]
    pub fn finish(self) -> usize {
        // SAFETY: `put` has written the first `len` bytes of the room, and the buffer has not been
        // used since `new`.
        unsafe { self.buf.set_init(self.len) }
        self.len
    }
}

impl<B: IoBufMut> fmt::Debug for Fill<'_, B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Fill")
            .field("len", &self.len)
            .field("room", &self.room())
            .finish()
    }
}
