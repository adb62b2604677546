//! The `struct iovec` array of one vectored operation.
//!
//! # Invariants
//!
//! The entries up to `first` are done with and keep their length; the entry at `first` starts
//! `skipped` bytes behind where it started once; those behind it are as they were pushed. So what
//! is still to transfer is a plain array for the kernel, and what was lent at first can still be
//! told, which distributing the result needs.
//!
//! Not `Clone`: a copy would outlive the buffers that it points into without anyone noticing. It
//! holds the addresses, never the memory, and does not touch it.

use std::fmt;
use std::slice;

use crate::{IoBufs, IoBufsMut, Shares};

/// One address and length, laid out as the kernel's `struct iovec`.
#[repr(C)]
pub struct IoVec {
    base: *const u8,
    len: usize,
}

impl IoVec {
    const EMPTY: IoVec = IoVec {
        base: std::ptr::null(),
        len: 0,
    };

    /// The address.
    pub fn base(&self) -> *const u8 {
        self.base
    }

    /// The number of bytes.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }
}

// struct iovec is a pointer and a size_t, in this order (readv(2)).
const _: () = assert!(size_of::<IoVec>() == 2 * size_of::<usize>());
const _: () = assert!(std::mem::offset_of!(IoVec, len) == size_of::<usize>());

impl fmt::Debug for IoVec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:p}+{}", self.base, self.len)
    }
}

/// Entries that need no allocation.
const INLINE: usize = 8;

/// The addresses of a set of buffers, for one operation: up to 8 in place, more on the heap.
///
/// At most [`IoVecs::MAX`] buffers and [`IoVecs::TOTAL_MAX`] bytes are taken, which is what the
/// kernel transfers at once; the rest of the set stays as it is until the next operation.
///
/// [`as_ptr`](IoVecs::as_ptr) points into this value, so it is asked for where the value stays.
///
/// # Examples
///
/// ```
/// use corering_buffers::IoVecs;
///
/// let parts = (String::from("HTTP/1.1 200 OK\r\n\r\n"), b"body".to_vec());
/// let mut vecs = IoVecs::lend(&parts);
/// assert_eq!((vecs.len(), vecs.total()), (2, 23));
///
/// vecs.advance(21); // Only so much was sent: what is left is the second buffer's second half.
/// assert_eq!((vecs.len(), vecs.total()), (1, 2));
/// ```
pub struct IoVecs {
    store: Store,
    first: usize,
    skipped: usize,
    total: usize,
}

enum Store {
    Inline([IoVec; INLINE], usize),
    Heap(Vec<IoVec>),
}

impl IoVecs {
    /// The most buffers that one operation takes: the kernel's `UIO_MAXIOV`, POSIX's `IOV_MAX`.
    pub const MAX: usize = 1024;

    /// The most bytes that one operation takes: the kernel's `MAX_RW_COUNT`.
    pub const TOTAL_MAX: usize = 0x7fff_f000;

    /// Collects what the kernel may read of a set.
    pub fn lend(bufs: &impl IoBufs) -> IoVecs {
        let mut vecs = IoVecs::empty();
        bufs.each(&mut |ptr, len| vecs.push(ptr, len));
        vecs
    }

    /// Collects what the kernel may fill of a set.
    pub fn lend_mut(bufs: &mut impl IoBufsMut) -> IoVecs {
        let mut vecs = IoVecs::empty();
        bufs.each_mut(&mut |ptr, len| vecs.push(ptr, len));
        vecs
    }

    /// How `total` bytes, from the start of the set, fall on its buffers.
    ///
    /// # Panics
    ///
    /// If that is more than was lent: the kernel cannot have written it.
    pub fn shares(&self, total: usize) -> Shares<'_> {
        let lent: usize = (0..self.all().len()).map(|index| self.lent(index)).sum();
        assert!(total <= lent, "{total} bytes in buffers of {lent}");
        Shares::new(self, total)
    }

    /// Where the entries that are still to transfer stand, as a `struct iovec *`.
    pub fn as_ptr(&self) -> *const IoVec {
        self.as_slice().as_ptr()
    }

    /// The entries that are still to transfer.
    pub fn as_slice(&self) -> &[IoVec] {
        &self.all()[self.first..]
    }

    /// How many entries are still to transfer.
    pub fn len(&self) -> usize {
        self.as_slice().len()
    }

    /// Whether no entry is left.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// How many bytes are still to transfer.
    pub fn total(&self) -> usize {
        self.total
    }

    /// Takes `n` bytes from the front, those that a short transfer has done.
    ///
    /// # Panics
    ///
    /// If `n` is more than [`total`](IoVecs::total).
    pub fn advance(&mut self, n: usize) {
        assert!(n <= self.total, "advance by {n} of {} bytes", self.total);
        self.total -= n;
        let mut left = n;
        // Entries without bytes left go too, so that no operation starts with one.
        while self.first < self.all().len() && self.all()[self.first].len <= left {
            left -= self.all()[self.first].len;
            self.finish_first();
        }
        if left > 0 {
            let first = self.first;
            let vec = &mut self.all_mut()[first];
            vec.base = vec.base.wrapping_add(left);
            vec.len -= left;
            self.skipped += left;
        }
    }

    /// Leaves the first entry behind, with the length that it had when it was pushed.
    fn finish_first(&mut self) {
        let (first, skipped) = (self.first, self.skipped);
        self.all_mut()[first].len += skipped;
        self.skipped = 0;
        self.first += 1;
    }

    /// The length that the entry at `index` had when it was pushed; 0 behind the last one.
    pub(crate) fn lent(&self, index: usize) -> usize {
        let skipped = if index == self.first { self.skipped } else { 0 };
        self.all().get(index).map_or(0, |vec| vec.len + skipped)
    }

    fn empty() -> IoVecs {
        let store = Store::Inline([IoVec::EMPTY; INLINE], 0);
        IoVecs {
            store,
            first: 0,
            skipped: 0,
            total: 0,
        }
    }

    fn push(&mut self, base: *const u8, len: usize) {
        if self.all().len() == IoVecs::MAX {
            return;
        }
        // The kernel refuses a length that is negative as a ssize_t, and stops at this total.
        let len = len.min(IoVecs::TOTAL_MAX - self.total);
        self.total += len;
        let vec = IoVec { base, len };
        match &mut self.store {
            Store::Inline(vecs, count) if *count < INLINE => {
                vecs[*count] = vec;
                *count += 1;
            }
            Store::Inline(vecs, _) => {
                let mut heap: Vec<IoVec> = Vec::with_capacity(4 * INLINE);
                heap.extend(std::mem::replace(vecs, [IoVec::EMPTY; INLINE]));
                heap.push(vec);
                self.store = Store::Heap(heap);
            }
            Store::Heap(vecs) => vecs.push(vec),
        }
    }

    fn all(&self) -> &[IoVec] {
        match &self.store {
            Store::Inline(vecs, count) => &vecs[..*count],
            Store::Heap(vecs) => vecs,
        }
    }

    fn all_mut(&mut self) -> &mut [IoVec] {
        match &mut self.store {
            Store::Inline(vecs, count) => &mut vecs[..*count],
            Store::Heap(vecs) => vecs,
        }
    }
}

impl<'a> IntoIterator for &'a IoVecs {
    type Item = &'a IoVec;
    type IntoIter = slice::Iter<'a, IoVec>;

    fn into_iter(self) -> Self::IntoIter {
        self.as_slice().iter()
    }
}

impl fmt::Debug for IoVecs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("IoVecs")
            .field("len", &self.len())
            .field("total", &self.total)
            .finish()
    }
}
