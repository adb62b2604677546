//! Received bytes, still where the kernel put them.
//!
//! # Invariants
//!
//! A ring chunk owns the bytes `ptr..ptr + len`, which lie in a range of a ring buffer that is
//! counted once in the buffer's state for exactly this chunk; no entry of the ring names them, and
//! no other chunk but its clones, which only read. It gives the count back once, when dropped. So
//! the bytes do not change while it lives, and its `Rc` keeps them mapped.
#![allow(unsafe_code)]

use std::fmt;
use std::io;
use std::mem::{self, ManuallyDrop};
use std::ops::Deref;
use std::ptr::{self, NonNull};
use std::rc::Rc;
use std::slice;

use bytes::{Buf, Bytes};

use crate::{BufRing, IoBuf};

/// Bytes that were received: a piece of a core's ring memory, or of owned memory.
///
/// Reads as a `[u8]`. It is an [`IoBuf`], so that it can be sent on as it is, without a copy. While
/// it lives, its buffer cannot receive: who keeps bytes for long calls
/// [`into_bytes`](Lease::into_bytes) or [`make_owned`](Lease::make_owned). It stays readable after
/// the runtime is gone, and does not leave its thread.
///
/// # Examples
///
/// ```
/// use corering_buffers::Lease;
///
/// let mut lease = Lease::from(b"name: value\r\n".to_vec());
/// let name = lease.split_to(4);
/// lease.advance(2);
/// lease.truncate(5);
/// assert_eq!((&name[..], &lease[..]), (&b"name"[..], &b"value"[..]));
/// ```
pub struct Lease {
    chunk: ManuallyDrop<Chunk>,
}

enum Chunk {
    Ring(RingChunk),
    /// Boxed, since it is the rare case and the larger one.
    Owned(Box<Bytes>),
}

// It moves through inbox, futures and operation with each message.
const _: () = assert!(size_of::<Lease>() == 24);
const _: () = assert!(size_of::<io::Result<Option<Lease>>>() == 32);

struct RingChunk {
    ring: Rc<BufRing>,
    ptr: NonNull<u8>,
    len: u32,
    bid: u16,
}

impl Lease {
    #[inline]
    fn of(chunk: Chunk) -> Lease {
        Lease {
            chunk: ManuallyDrop::new(chunk),
        }
    }

    /// # Safety
    ///
    /// The `len` bytes at `ptr` are initialised and lie in buffer `bid` of `ring`, whose state
    /// counts this lease; no other lease has them, and the kernel will not write them.
    #[inline]
    pub(crate) unsafe fn of_ring(ring: Rc<BufRing>, ptr: NonNull<u8>, len: u32, bid: u16) -> Lease {
        Lease::of(Chunk::Ring(RingChunk {
            ring,
            ptr,
            len,
            bid,
        }))
    }

    /// Whether the bytes are in memory of their own, not in a buffer of the ring.
    #[inline]
    pub fn is_owned(&self) -> bool {
        matches!(*self.chunk, Chunk::Owned(_))
    }

    /// Removes the first `n` bytes.
    ///
    /// # Panics
    ///
    /// If there are fewer.
    #[inline]
    pub fn advance(&mut self, n: usize) {
        match &mut *self.chunk {
            Chunk::Ring(chunk) => chunk.advance(n),
            Chunk::Owned(bytes) => bytes.advance(n),
        }
    }

    /// Keeps the first `len` bytes; no effect if there are no more.
    #[inline]
    pub fn truncate(&mut self, len: usize) {
        match &mut *self.chunk {
            Chunk::Ring(chunk) if len < chunk.len as usize => chunk.len = len as u32,
            Chunk::Ring(_) => {}
            Chunk::Owned(bytes) => bytes.truncate(len),
        }
    }

    /// Takes the first `n` bytes out as a lease of their own, without a copy.
    ///
    /// A buffer of the ring then goes back when both are gone. An empty part holds none.
    ///
    /// # Panics
    ///
    /// If there are fewer than `n` bytes.
    pub fn split_to(&mut self, n: usize) -> Lease {
        match &mut *self.chunk {
            Chunk::Ring(chunk) if n == chunk.len as usize => mem::take(self),
            Chunk::Ring(_) if n == 0 => Lease::default(),
            Chunk::Ring(chunk) => Lease::of(Chunk::Ring(chunk.split_to(n))),
            Chunk::Owned(bytes) => Lease::from(bytes.split_to(n)),
        }
    }

    /// The bytes in memory of their own.
    ///
    /// Free if they are already; otherwise one copy, and the buffer goes back to the ring at once.
    pub fn into_bytes(mut self) -> Bytes {
        match &mut *self.chunk {
            Chunk::Ring(chunk) => Bytes::copy_from_slice(chunk.bytes()),
            Chunk::Owned(bytes) => mem::take(bytes),
        }
    }

    /// Moves the bytes out of the ring, as [`into_bytes`](Lease::into_bytes) does, in place.
    pub fn make_owned(&mut self) {
        if !self.is_owned() {
            *self = Lease::from(Bytes::copy_from_slice(self));
        }
    }
}

impl RingChunk {
    #[inline]
    fn bytes(&self) -> &[u8] {
        // SAFETY: the chunk owns len initialised bytes at ptr, which do not change (see above).
        unsafe { slice::from_raw_parts(self.ptr.as_ptr(), self.len as usize) }
    }

    #[inline]
    fn advance(&mut self, n: usize) {
        assert!(
            n <= self.len as usize,
            "advance by {n} of {} bytes",
            self.len
        );
        // SAFETY: n is at most len, so this stays within the buffer or one behind it.
        self.ptr = unsafe { self.ptr.add(n) };
        // Not truncated: n is at most len.
        self.len -= n as u32;
    }

    fn split_to(&mut self, n: usize) -> RingChunk {
        assert!(n <= self.len as usize, "split {n} off {} bytes", self.len);
        self.ring.retain(self.bid);
        // Not truncated: n is at most len.
        let (ring, len) = (Rc::clone(&self.ring), n as u32);
        let front = RingChunk {
            ring,
            ptr: self.ptr,
            len,
            bid: self.bid,
        };
        self.advance(n);
        front
    }
}

/// A second handle on the same bytes, without a copy. A buffer of the ring goes back when both are
/// gone.
impl Clone for Lease {
    #[inline]
    fn clone(&self) -> Lease {
        let chunk = match &*self.chunk {
            Chunk::Ring(chunk) => {
                chunk.ring.retain(chunk.bid);
                Chunk::Ring(RingChunk {
                    ring: Rc::clone(&chunk.ring),
                    ptr: chunk.ptr,
                    len: chunk.len,
                    bid: chunk.bid,
                })
            }
            Chunk::Owned(bytes) => Chunk::Owned(bytes.clone()),
        };
        Lease::of(chunk)
    }
}

impl Drop for Lease {
    #[inline]
    fn drop(&mut self) {
        match &mut *self.chunk {
            // SAFETY: all that a ring chunk has to drop, once: here, or in `drop_slowly`.
            Chunk::Ring(chunk) if !chunk.ring.release(chunk.bid) => unsafe {
                ptr::drop_in_place(&mut chunk.ring);
            },
            _ => self.drop_slowly(),
        }
    }
}

impl Lease {
    /// One that gives its buffer back, or has memory of its own. By itself, so that the usual drop
    /// is a few instructions wherever it is inlined.
    #[inline(never)]
    fn drop_slowly(&mut self) {
        if let Chunk::Ring(chunk) = &*self.chunk {
            chunk.ring.publish(chunk.bid);
        }
        // SAFETY: called by `drop` alone, which does nothing else then.
        unsafe { ManuallyDrop::drop(&mut self.chunk) };
    }
}

impl Deref for Lease {
    type Target = [u8];

    #[inline]
    fn deref(&self) -> &[u8] {
        match &*self.chunk {
            Chunk::Ring(chunk) => chunk.bytes(),
            Chunk::Owned(bytes) => bytes,
        }
    }
}

impl AsRef<[u8]> for Lease {
    #[inline]
    fn as_ref(&self) -> &[u8] {
        self
    }
}

/// No bytes.
impl Default for Lease {
    #[inline]
    fn default() -> Lease {
        Lease::from(Bytes::new())
    }
}

impl From<Bytes> for Lease {
    #[inline]
    fn from(bytes: Bytes) -> Lease {
        Lease::of(Chunk::Owned(Box::new(bytes)))
    }
}

impl From<Vec<u8>> for Lease {
    #[inline]
    fn from(bytes: Vec<u8>) -> Lease {
        Lease::from(Bytes::from(bytes))
    }
}

// SAFETY: ring memory stays until the chunk, which keeps the ring, is dropped, and does not change
// (see above); a Bytes promises the same.
unsafe impl IoBuf for Lease {
    #[inline]
    fn parts(&self) -> (*const u8, usize) {
        match &*self.chunk {
            Chunk::Ring(chunk) => (chunk.ptr.as_ptr(), chunk.len as usize),
            Chunk::Owned(bytes) => bytes.parts(),
        }
    }
}

impl fmt::Debug for Lease {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Not the bytes: they may be many, and somebody's password.
        f.debug_struct("Lease")
            .field("len", &self.len())
            .field("is_owned", &self.is_owned())
            .finish()
    }
}
