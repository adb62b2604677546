//! Buffers at an address that is a multiple of a given power of two, for `O_DIRECT`.
//!
//! # Invariants
//!
//! `len <= init <= capacity`, and the first `init` bytes of the allocation are initialised. `init`
//! only grows, so that `set_len` may go back up to it without exposing bytes nobody wrote.
#![allow(unsafe_code)]

use std::alloc::{Layout, alloc, alloc_zeroed, dealloc, handle_alloc_error};
use std::fmt;
use std::io;
use std::ops::{Deref, DerefMut};
use std::ptr::{self, NonNull};
use std::slice;

use crate::{IoBuf, IoBufMut};

/// A buffer of fixed capacity at an aligned address.
///
/// Files opened with `O_DIRECT` take buffers whose address, length and file offset are multiples of
/// the device's block size: 512 or 4096 bytes, see `statx(2)` `STATX_DIOALIGN`.
///
/// Derefs to the initialised bytes. [`io::Write`] appends and stops at the capacity.
///
/// # Examples
///
/// ```
/// use corering_buffers::AlignedBuf;
///
/// let mut block = AlignedBuf::zeroed(4096, 512);
/// assert_eq!(block.as_ptr() as usize % 512, 0);
/// block[..5].copy_from_slice(b"magic");
/// ```
pub struct AlignedBuf {
    ptr: NonNull<u8>,
    len: usize,
    init: usize,
    layout: Layout,
}

// SAFETY: an AlignedBuf is the only owner of its allocation, and shared access only reads.
unsafe impl Send for AlignedBuf {}
// SAFETY: as above.
unsafe impl Sync for AlignedBuf {}

impl AlignedBuf {
    /// A buffer of `len` zero bytes, all of them initialised.
    ///
    /// # Panics
    ///
    /// If `align` is not a power of two, or `len` rounded up to it exceeds `isize::MAX`.
    pub fn zeroed(len: usize, align: usize) -> AlignedBuf {
        let layout = layout(len, align);
        // SAFETY: `allocate` calls it with a layout of at least one byte.
        let ptr = allocate(layout, |layout| unsafe { alloc_zeroed(layout) });
        AlignedBuf {
            ptr,
            len,
            init: len,
            layout,
        }
    }

    /// An empty buffer with room for `capacity` bytes.
    ///
    /// # Panics
    ///
    /// If `align` is not a power of two, or `capacity` rounded up to it exceeds `isize::MAX`.
    pub fn with_capacity(capacity: usize, align: usize) -> AlignedBuf {
        let layout = layout(capacity, align);
        // SAFETY: `allocate` calls it with a layout of at least one byte.
        let ptr = allocate(layout, |layout| unsafe { alloc(layout) });
        AlignedBuf {
            ptr,
            len: 0,
            init: 0,
            layout,
        }
    }

    /// The room in bytes, initialised or not.
    pub fn capacity(&self) -> usize {
        self.layout.size()
    }

    /// The alignment of the address, in bytes.
    pub fn align(&self) -> usize {
        self.layout.align()
    }

    /// Shortens the buffer, or lengthens it again over bytes that were initialised before.
    ///
    /// # Panics
    ///
    /// If `len` exceeds the bytes that were ever initialised (written, read into, or zeroed).
    pub fn set_len(&mut self, len: usize) {
        assert!(
            len <= self.init,
            "length {len} of {} initialised bytes",
            self.init
        );
        self.len = len;
    }
}

fn layout(len: usize, align: usize) -> Layout {
    Layout::from_size_align(len, align).expect("align is a power of two, len is at most isize::MAX")
}

fn allocate(layout: Layout, alloc: impl Fn(Layout) -> *mut u8) -> NonNull<u8> {
    if layout.size() == 0 {
        // Never read or freed, but aligned as promised.
        return NonNull::new(ptr::without_provenance_mut(layout.align())).expect("align is not 0");
    }
    NonNull::new(alloc(layout)).unwrap_or_else(|| handle_alloc_error(layout))
}

impl Drop for AlignedBuf {
    fn drop(&mut self) {
        if self.layout.size() > 0 {
            // SAFETY: `allocate` got it from the allocator with this layout, and it is freed once.
            unsafe { dealloc(self.ptr.as_ptr(), self.layout) }
        }
    }
}

impl Deref for AlignedBuf {
    type Target = [u8];

    #[inline]
    fn deref(&self) -> &[u8] {
        // SAFETY: the first len bytes are initialised, and only `&mut self` writes them.
        unsafe { slice::from_raw_parts(self.ptr.as_ptr(), self.len) }
    }
}

impl DerefMut for AlignedBuf {
    #[inline]
    fn deref_mut(&mut self) -> &mut [u8] {
        // SAFETY: as in deref, and we are borrowed exclusively.
        unsafe { slice::from_raw_parts_mut(self.ptr.as_ptr(), self.len) }
    }
}

impl io::Write for AlignedBuf {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let n = bytes.len().min(self.capacity() - self.len);
        // SAFETY: len + n <= capacity, and `bytes` cannot overlap what we are borrowed for.
        unsafe {
            self.ptr
                .as_ptr()
                .add(self.len)
                .copy_from_nonoverlapping(bytes.as_ptr(), n);
        }
        self.len += n;
        self.init = self.init.max(self.len);
        Ok(n)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

// SAFETY: the bytes lie in an allocation of our own, which only `&mut self` changes.
unsafe impl IoBuf for AlignedBuf {
    #[inline]
    fn parts(&self) -> (*const u8, usize) {
        (self.ptr.as_ptr(), self.len)
    }

    #[inline]
    fn bytes_total(&self) -> usize {
        self.capacity()
    }
}

// SAFETY: as above, and we are its only owner.
unsafe impl IoBufMut for AlignedBuf {
    #[inline]
    fn parts_mut(&mut self) -> (*mut u8, usize) {
        (self.ptr.as_ptr(), self.capacity())
    }

    #[inline]
    unsafe fn set_init(&mut self, n: usize) {
        assert!(
            n <= self.capacity(),
            "{n} bytes in an AlignedBuf of {}",
            self.capacity()
        );
        self.len = n;
        self.init = self.init.max(n);
    }
}

impl fmt::Debug for AlignedBuf {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AlignedBuf")
            .field("len", &self.len)
            .field("capacity", &self.capacity())
            .field("align", &self.align())
            .finish()
    }
}
