//! Parts of owned buffers: a bounded range, and the room behind the initialised bytes.
//!
//! Both wrappers compute addresses from numbers that the buffer gave earlier, and the buffer may
//! have changed since (it can be reached through `get_mut`). So each call takes the buffer's
//! present answer and clamps its own numbers to it: a wrapper may then lend fewer bytes than
//! asked, never one outside of the buffer, and never reports as initialised a byte that was not.
#![allow(unsafe_code)]

use std::ops::{Bound, Deref, RangeBounds};
use std::slice;

use crate::{IoBuf, IoBufMut};

/// What every [`IoBuf`] can do.
pub trait IoBufExt: IoBuf + Sized {
    /// Bounds what an operation may use of the buffer: `buf.slice(a..b)`, in bytes.
    ///
    /// A write sends those bytes of the range that are initialised. A read fills the range from its
    /// start and touches nothing outside of it; the buffer then ends where the data ends, unless it
    /// was longer before. [`Slice::into_inner`] gives the buffer back.
    ///
    /// `Bytes` has a `slice` of its own, which borrows: write `Bytes::slice(&b, a..b)` for that one
    /// where this trait is imported.
    ///
    /// # Panics
    ///
    /// If the range is decreasing, ends behind [`bytes_total`](IoBuf::bytes_total) (the capacity of
    /// a `Vec`), or starts behind the initialised bytes: a read would leave a hole in front of it.
    ///
    /// # Examples
    ///
    /// ```
    /// use corering_buffers::IoBufExt;
    ///
    /// let part = b"GET / HTTP/1.1".to_vec().slice(4..);
    /// assert_eq!(&part[..], b"/ HTTP/1.1");
    /// assert_eq!(part.into_inner(), b"GET / HTTP/1.1");
    ///
    /// let _at_most_100_bytes = Vec::with_capacity(4096).slice(..100);
    /// ```
    fn slice(self, range: impl RangeBounds<usize>) -> Slice<Self> {
        let (start, end) = resolve(range, self.parts().1, self.bytes_total());
        Slice {
            buf: self,
            start,
            end,
        }
    }

    /// Makes a read append: the room behind the initialised bytes.
    ///
    /// # Examples
    ///
    /// ```
    /// use corering_buffers::{Fill, IoBufExt};
    ///
    /// let mut buf = Vec::with_capacity(64);
    /// buf.extend_from_slice(b"hello, ");
    /// let mut spare = buf.spare();
    /// let mut read = Fill::new(&mut spare); // A read into `spare` does this with what arrived.
    /// read.put(b"world");
    /// assert_eq!(read.finish(), 5);
    /// assert_eq!(spare.into_inner(), b"hello, world");
    /// ```
    fn spare(self) -> Spare<Self>
    where
        Self: IoBufMut,
    {
        let start = self.parts().1;
        Spare { buf: self, start }
    }

    /// The initialised bytes, whatever the type of the buffer.
    #[inline]
    fn as_init(&self) -> &[u8] {
        let (ptr, len) = self.parts();
        // SAFETY: IoBuf's contract: `len` initialised bytes, unchanged while `self` is borrowed.
        unsafe { slice::from_raw_parts(ptr, len) }
    }
}

impl<B: IoBuf> IoBufExt for B {}

/// A range of an owned buffer, made by [`IoBufExt::slice`].
#[derive(Debug)]
pub struct Slice<B> {
    buf: B,
    start: usize,
    end: usize,
}

impl<B> Slice<B> {
    /// Where the range starts in the buffer, in bytes.
    pub fn start(&self) -> usize {
        self.start
    }

    /// Where the range ends in the buffer, in bytes.
    pub fn end(&self) -> usize {
        self.end
    }

    /// The whole buffer.
    pub fn get_ref(&self) -> &B {
        &self.buf
    }

    /// The whole buffer, to change it. If it gets shorter than the range, so does what is lent.
    pub fn get_mut(&mut self) -> &mut B {
        &mut self.buf
    }

    /// Gives the whole buffer back.
    pub fn into_inner(self) -> B {
        self.buf
    }
}

impl<B: IoBuf> Slice<B> {
    /// A range of this range. The result holds the buffer itself, not a slice of a slice.
    ///
    /// # Panics
    ///
    /// As [`IoBufExt::slice`].
    ///
    /// # Examples
    ///
    /// ```
    /// use corering_buffers::{IoBufExt, Slice};
    ///
    /// let digits: Slice<String> = String::from("0123456789").slice(2..8).slice(1..3);
    /// assert_eq!(&digits[..], b"34");
    /// ```
    pub fn slice(self, range: impl RangeBounds<usize>) -> Slice<B> {
        let (start, end) = resolve(range, self.parts().1, self.bytes_total());
        // Both are at most the length of a buffer that starts at self.start, so neither overflows.
        Slice {
            buf: self.buf,
            start: self.start + start,
            end: self.start + end,
        }
    }
}

// SAFETY: the bytes are a part of what `buf` answers for; both ends are clamped to its answer.
unsafe impl<B: IoBuf> IoBuf for Slice<B> {
    #[inline]
    fn parts(&self) -> (*const u8, usize) {
        let (ptr, init) = self.buf.parts();
        let start = self.start.min(init);
        let end = self.end.clamp(start, init);
        // SAFETY: start <= init, and `buf` promises init bytes from ptr.
        (unsafe { ptr.add(start) }, end - start)
    }

    #[inline]
    fn bytes_total(&self) -> usize {
        self.end
            .min(self.buf.bytes_total())
            .saturating_sub(self.start)
    }
}

// SAFETY: the room is a part of what `buf` answers for; both ends are clamped to its answer. It
// starts no later than the initialised bytes end, so `set_init` leaves no hole behind it.
unsafe impl<B: IoBuf + IoBufMut> IoBufMut for Slice<B> {
    #[inline]
    fn parts_mut(&mut self) -> (*mut u8, usize) {
        let init = self.buf.parts().1;
        let (ptr, room) = self.buf.parts_mut();
        let start = self.start.min(init).min(room);
        // A buffer that has become too short lends nothing: bytes that were written at another
        // place than asked for would be taken for those of the range.
        let end = if start < self.start {
            start
        } else {
            self.end.clamp(start, room)
        };
        // SAFETY: start <= room, and `buf` promises room bytes from ptr.
        (unsafe { ptr.add(start) }, end - start)
    }

    #[inline]
    unsafe fn set_init(&mut self, n: usize) {
        assert!(
            n <= self.end - self.start,
            "{n} bytes in {}..{}",
            self.start,
            self.end
        );
        let init = self.buf.parts().1;
        let end = self.start + n;
        // The buffer's own end stays if it lies behind ours: its later bytes are still good. The
        // first condition can only be false for a buffer whose answers change; it makes no hole.
        if self.start <= init && init < end {
            // SAFETY: the first `init` bytes are initialised because `buf` says so, those from
            // start to end because our caller does, and start <= init.
            unsafe { self.buf.set_init(end) }
        }
    }
}

impl<B: IoBuf> Deref for Slice<B> {
    type Target = [u8];

    #[inline]
    fn deref(&self) -> &[u8] {
        self.as_init()
    }
}

/// The room behind the initialised bytes of an owned buffer, made by [`IoBufExt::spare`].
///
/// A read into it appends. It has no room if the buffer is full or of a fixed length.
#[derive(Debug)]
pub struct Spare<B> {
    buf: B,
    /// Where the room that was lent last starts. Remembered, so that what the kernel wrote there
    /// is not reported as lying elsewhere by a buffer that changes its answers.
    start: usize,
}

impl<B> Spare<B> {
    /// The whole buffer.
    pub fn get_ref(&self) -> &B {
        &self.buf
    }

    /// The whole buffer, to change it.
    pub fn get_mut(&mut self) -> &mut B {
        &mut self.buf
    }

    /// Gives the whole buffer back.
    pub fn into_inner(self) -> B {
        self.buf
    }
}

// SAFETY: the room is a part of what `buf` answers for; its start is clamped to the answer.
unsafe impl<B: IoBuf + IoBufMut> IoBufMut for Spare<B> {
    #[inline]
    fn parts_mut(&mut self) -> (*mut u8, usize) {
        let init = self.buf.parts().1;
        let (ptr, room) = self.buf.parts_mut();
        self.start = init.min(room);
        // SAFETY: start <= room, and `buf` promises room bytes from ptr.
        (unsafe { ptr.add(self.start) }, room - self.start)
    }

    #[inline]
    unsafe fn set_init(&mut self, n: usize) {
        // SAFETY: the bytes in front of start were initialised when it was set, and `buf` has not
        // been used since; the caller promises the n behind it.
        unsafe { self.buf.set_init(self.start + n) }
    }
}

/// Turns `range` into offsets, checked against a buffer of `total` bytes of which `init` are
/// initialised.
fn resolve(range: impl RangeBounds<usize>, init: usize, total: usize) -> (usize, usize) {
    let start = match range.start_bound() {
        Bound::Included(&start) => start,
        Bound::Excluded(&before) => before.checked_add(1).expect("slice start overflows"),
        Bound::Unbounded => 0,
    };
    let end = match range.end_bound() {
        Bound::Included(&last) => last.checked_add(1).expect("slice end overflows"),
        Bound::Excluded(&end) => end,
        Bound::Unbounded => total,
    };
    assert!(start <= end, "slice {start}..{end} is decreasing");
    assert!(
        end <= total,
        "slice {start}..{end} ends behind the {total} bytes of the buffer"
    );
    assert!(
        start <= init,
        "slice {start}..{end} starts behind the {init} initialised bytes"
    );
    (start, end)
}
