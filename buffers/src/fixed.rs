//! A pool whose buffers lie in one arena, to be registered with the kernel.
//!
//! # Invariants
//!
//! An index is in `free` or belongs to exactly one [`FixedBuf`], so no two handles reach the same
//! bytes. The arena is freed with the last of the pool's handles and its buffers. Of a buffer only
//! the first `len` bytes are initialised; what an earlier owner left behind them is not shown.
#![allow(unsafe_code)]

use std::alloc::{Layout, alloc, dealloc, handle_alloc_error};
use std::cell::{OnceCell, RefCell};
use std::fmt;
use std::io;
use std::ops::{Deref, DerefMut};
use std::ptr::NonNull;
use std::rc::Rc;
use std::slice;

use crate::{IoBuf, IoBufMut};

/// `count` buffers of `size` bytes in one piece of memory, for `IORING_REGISTER_BUFFERS`.
///
/// The memory is allocated, page-aligned and uninitialised, with the first
/// [`take`](FixedPool::take) or [`parts`](FixedPool::parts). Belongs to one core. Clones are
/// handles of the same pool: who registers the buffers keeps one until they are unregistered, so
/// that nothing else can come to lie in memory that the kernel still writes by index.
///
/// # Examples
///
/// ```
/// use corering_buffers::FixedPool;
///
/// let pool = FixedPool::new(8, 64 * 1024);
/// let to_register: Vec<(*mut u8, usize)> = pool.parts().collect();
/// assert_eq!(to_register.len(), 8);
///
/// let buf = pool.take().expect("all are free");
/// assert_eq!(to_register[usize::from(buf.index())].0.cast_const(), buf.as_ptr());
/// ```
#[derive(Clone)]
pub struct FixedPool {
    shared: Rc<Shared>,
}

struct Shared {
    arena: OnceCell<Arena>,
    layout: Layout,
    free: RefCell<Vec<u16>>,
    count: u16,
    size: usize,
}

/// Registering pins whole pages; buffers of whole pages are then good for `O_DIRECT`, too.
const ARENA_ALIGN: usize = 4096;

impl FixedPool {
    /// The most buffers that the kernel registers: `IORING_MAX_REG_BUFFERS`.
    pub const COUNT_MAX: u16 = 1 << 14;

    /// The most bytes that the kernel takes in one registered buffer: 1 GiB.
    pub const SIZE_MAX: usize = 1 << 30;

    /// A pool of `count` buffers of `size` bytes. Allocates no buffer yet.
    ///
    /// # Panics
    ///
    /// If `size` is 0 or more than [`SIZE_MAX`](FixedPool::SIZE_MAX), `count` more than
    /// [`COUNT_MAX`](FixedPool::COUNT_MAX), or all of them together more than `isize::MAX`.
    pub fn new(count: u16, size: usize) -> FixedPool {
        assert!(
            (1..=FixedPool::SIZE_MAX).contains(&size),
            "registered buffers of {size} bytes"
        );
        assert!(count <= FixedPool::COUNT_MAX, "{count} registered buffers");
        // The lowest index is taken first, so that few pages are touched while few are in use.
        let free = RefCell::new((0..count).rev().collect());
        let bytes = usize::from(count)
            .checked_mul(size)
            .expect("more bytes than addresses");
        let layout = Layout::from_size_align(bytes, ARENA_ALIGN).expect("more than isize::MAX");
        let arena = OnceCell::new();
        FixedPool {
            shared: Rc::new(Shared {
                arena,
                layout,
                free,
                count,
                size,
            }),
        }
    }

    /// An empty buffer, or `None` while all of them are taken.
    #[inline]
    pub fn take(&self) -> Option<FixedBuf> {
        let index = self.shared.free.borrow_mut().pop()?;
        let ptr = self.shared.buffer(index);
        Some(FixedBuf {
            ptr,
            len: 0,
            index,
            shared: Rc::clone(&self.shared),
        })
    }

    /// Address and size of every buffer, by index: what is registered with the kernel.
    pub fn parts(&self) -> impl ExactSizeIterator<Item = (*mut u8, usize)> {
        let shared = &*self.shared;
        (0..shared.count).map(|index| (shared.buffer(index).as_ptr(), shared.size))
    }

    /// How many buffers can be taken now.
    pub fn available(&self) -> usize {
        self.shared.free.borrow().len()
    }

    /// How many buffers the pool has in all, taken or not.
    pub fn capacity(&self) -> usize {
        usize::from(self.shared.count)
    }

    /// The room of each buffer, in bytes.
    pub fn buf_size(&self) -> usize {
        self.shared.size
    }
}

impl Shared {
    #[inline]
    fn buffer(&self, index: u16) -> NonNull<u8> {
        assert!(index < self.count);
        let arena = self.arena.get_or_init(|| Arena::new(self.layout));
        // SAFETY: index < count, and the arena has count * size bytes.
        unsafe { arena.ptr.add(usize::from(index) * self.size) }
    }
}

/// The memory of all buffers.
struct Arena {
    ptr: NonNull<u8>,
    layout: Layout,
}

impl Arena {
    fn new(layout: Layout) -> Arena {
        assert!(layout.size() > 0);
        // SAFETY: the layout has at least one byte.
        let ptr = unsafe { alloc(layout) };
        let ptr = NonNull::new(ptr).unwrap_or_else(|| handle_alloc_error(layout));
        Arena { ptr, layout }
    }
}

impl Drop for Arena {
    fn drop(&mut self) {
        // SAFETY: it comes from the allocator with this layout; buffers hold an Rc of our owner.
        unsafe { dealloc(self.ptr.as_ptr(), self.layout) }
    }
}

impl fmt::Debug for FixedPool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FixedPool")
            .field("available", &self.available())
            .field("capacity", &self.capacity())
            .field("buf_size", &self.buf_size())
            .finish()
    }
}

/// A buffer of a [`FixedPool`], given back when dropped.
///
/// Derefs to the initialised bytes; empty when taken. [`io::Write`] appends and stops at the room
/// there is.
pub struct FixedBuf {
    ptr: NonNull<u8>,
    len: usize,
    index: u16,
    shared: Rc<Shared>,
}

impl FixedBuf {
    /// Which of the registered buffers this is.
    #[inline]
    pub fn index(&self) -> u16 {
        self.index
    }

    /// The room in bytes, initialised or not.
    #[inline]
    pub fn capacity(&self) -> usize {
        self.shared.size
    }

    /// Removes all bytes.
    pub fn clear(&mut self) {
        self.len = 0;
    }

    /// Keeps the first `len` bytes; no effect if there are no more.
    pub fn truncate(&mut self, len: usize) {
        self.len = self.len.min(len);
    }
}

impl Drop for FixedBuf {
    #[inline]
    fn drop(&mut self) {
        // Does not allocate: `free` once held every index.
        self.shared.free.borrow_mut().push(self.index);
    }
}

impl Deref for FixedBuf {
    type Target = [u8];

    #[inline]
    fn deref(&self) -> &[u8] {
        // SAFETY: the first len bytes are initialised, and the index is ours alone, so that only
        // `&mut self` writes them.
        unsafe { slice::from_raw_parts(self.ptr.as_ptr(), self.len) }
    }
}

impl DerefMut for FixedBuf {
    #[inline]
    fn deref_mut(&mut self) -> &mut [u8] {
        // SAFETY: as in deref, and we are borrowed exclusively.
        unsafe { slice::from_raw_parts_mut(self.ptr.as_ptr(), self.len) }
    }
}

impl io::Write for FixedBuf {
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
        Ok(n)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

// SAFETY: the bytes lie in the arena, which our Rc keeps, and only `&mut self` changes them.
unsafe impl IoBuf for FixedBuf {
    #[inline]
    fn parts(&self) -> (*const u8, usize) {
        (self.ptr.as_ptr(), self.len)
    }

    #[inline]
    fn bytes_total(&self) -> usize {
        self.capacity()
    }
}

// SAFETY: as above, and no other handle has our index.
unsafe impl IoBufMut for FixedBuf {
    #[inline]
    fn parts_mut(&mut self) -> (*mut u8, usize) {
        (self.ptr.as_ptr(), self.capacity())
    }

    #[inline]
    unsafe fn set_init(&mut self, n: usize) {
        assert!(
            n <= self.capacity(),
            "{n} bytes in a FixedBuf of {}",
            self.capacity()
        );
        self.len = n;
    }
}

impl fmt::Debug for FixedBuf {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FixedBuf")
            .field("index", &self.index)
            .field("len", &self.len)
            .field("capacity", &self.capacity())
            .finish()
    }
}
