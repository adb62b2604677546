//! A bounded pool of equal buffers, for one core.
//!
//! # Invariants
//!
//! `free` holds the buffers that exist and are not taken, all empty; `taken` counts the others. No
//! more than `count` ever exist. A handle refers to the pool weakly: when the pool is gone, a
//! buffer that comes back is freed at once instead of being kept for nobody.

use std::cell::{Cell, RefCell};
use std::fmt;
use std::io;
use std::mem;
use std::ops::{Deref, DerefMut};
use std::rc::{Rc, Weak};

use crate::{IoBuf, IoBufMut};

/// At most `count` buffers of `size` bytes, allocated when first taken and then reused.
///
/// Belongs to one core. Clones are handles of the same pool.
///
/// # Examples
///
/// ```
/// use corering_buffers::Pool;
///
/// let pool = Pool::new(2, 4096);
/// let a = pool.take().expect("two are free");
/// let b = pool.take().expect("one is free");
/// assert!(pool.take().is_none()); // The limit: nothing is allocated beyond it.
///
/// drop(a);
/// assert_eq!(pool.available(), 1);
/// drop(pool);
/// drop(b); // Also fine after the pool is gone.
/// ```
#[derive(Clone)]
pub struct Pool {
    shared: Rc<Shared>,
}

struct Shared {
    free: RefCell<Vec<Vec<u8>>>,
    taken: Cell<usize>,
    count: usize,
    size: usize,
}

impl Pool {
    /// A pool of at most `count` buffers of `size` bytes. Allocates no buffer yet.
    ///
    /// # Panics
    ///
    /// If `size` is 0: nothing could be read into such buffers.
    pub fn new(count: usize, size: usize) -> Pool {
        assert!(size > 0, "a buffer without room");
        let (free, taken) = (RefCell::new(Vec::with_capacity(count)), Cell::new(0));
        Pool {
            shared: Rc::new(Shared {
                free,
                taken,
                count,
                size,
            }),
        }
    }

    /// An empty buffer, or `None` while all of them are taken.
    #[inline]
    pub fn take(&self) -> Option<PoolBuf> {
        let shared = &*self.shared;
        if shared.taken.get() == shared.count {
            return None;
        }
        let free = shared.free.borrow_mut().pop();
        let bytes = free.unwrap_or_else(|| Vec::with_capacity(shared.size));
        shared.taken.set(shared.taken.get() + 1);
        Some(PoolBuf {
            bytes,
            pool: Rc::downgrade(&self.shared),
        })
    }

    /// How many buffers can be taken now.
    pub fn available(&self) -> usize {
        self.shared.count - self.shared.taken.get()
    }

    /// How many buffers the pool has in all, taken or not.
    pub fn capacity(&self) -> usize {
        self.shared.count
    }

    /// The room of each buffer, in bytes.
    pub fn buf_size(&self) -> usize {
        self.shared.size
    }
}

impl fmt::Debug for Pool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pool")
            .field("available", &self.available())
            .field("capacity", &self.capacity())
            .field("buf_size", &self.buf_size())
            .finish()
    }
}

/// A buffer of a [`Pool`], given back when dropped.
///
/// Derefs to the initialised bytes; empty when taken. [`io::Write`] appends and stops at the room
/// there is.
pub struct PoolBuf {
    /// Never handed out by `&mut`, so its capacity stays what the pool gave it.
    bytes: Vec<u8>,
    pool: Weak<Shared>,
}

impl PoolBuf {
    /// The room in bytes, initialised or not.
    pub fn capacity(&self) -> usize {
        self.bytes.capacity()
    }

    /// Removes all bytes.
    pub fn clear(&mut self) {
        self.bytes.clear();
    }

    /// Keeps the first `len` bytes; no effect if there are no more.
    pub fn truncate(&mut self, len: usize) {
        self.bytes.truncate(len);
    }
}

impl Drop for PoolBuf {
    #[inline]
    fn drop(&mut self) {
        if let Some(shared) = self.pool.upgrade() {
            let mut bytes = mem::take(&mut self.bytes);
            bytes.clear();
            // Does not allocate: `free` was made with room for all of them.
            shared.free.borrow_mut().push(bytes);
            shared.taken.set(shared.taken.get() - 1);
        }
    }
}

impl Deref for PoolBuf {
    type Target = [u8];

    #[inline]
    fn deref(&self) -> &[u8] {
        &self.bytes
    }
}

impl DerefMut for PoolBuf {
    #[inline]
    fn deref_mut(&mut self) -> &mut [u8] {
        &mut self.bytes
    }
}

impl io::Write for PoolBuf {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let n = bytes.len().min(self.bytes.capacity() - self.bytes.len());
        self.bytes.extend_from_slice(&bytes[..n]);
        Ok(n)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl fmt::Debug for PoolBuf {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PoolBuf")
            .field("len", &self.bytes.len())
            .field("capacity", &self.bytes.capacity())
            .finish()
    }
}

#[allow(unsafe_code)]
// SAFETY: passes on what a Vec of our own answers.
unsafe impl IoBuf for PoolBuf {
    #[inline]
    fn parts(&self) -> (*const u8, usize) {
        self.bytes.parts()
    }

    #[inline]
    fn bytes_total(&self) -> usize {
        self.bytes.capacity()
    }
}

#[allow(unsafe_code)]
// SAFETY: passes on what a Vec of our own answers.
unsafe impl IoBufMut for PoolBuf {
    #[inline]
    fn parts_mut(&mut self) -> (*mut u8, usize) {
        self.bytes.parts_mut()
    }

    #[inline]
    unsafe fn set_init(&mut self, n: usize) {
        // SAFETY: the caller's promise, about the same room.
        unsafe { self.bytes.set_init(n) }
    }
}
