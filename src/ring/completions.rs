//! The completion queue, read where the kernel writes it.
//!
//! The `io-uring` crate hands out copies, each by a call that is not inlined: 14 instructions a
//! completion, which is what an echo of 64 bytes has two of. So the queue is mapped once more.
//!
//! The head is published when all that was seen is taken, and before every enter: a kernel that
//! still sees the old entries would not wait.
#![allow(unsafe_code)]

use std::io;
use std::os::fd::AsRawFd;
use std::ptr::{self, NonNull};
use std::sync::atomic::{AtomicU32, Ordering};

use io_uring::{IoUring, Parameters};

use super::cqe::Cqe;

/// `IORING_OFF_CQ_RING`.
const OFFSET: libc::off_t = 0x800_0000;

/// `struct io_uring_params`.
#[repr(C)]
struct Params {
    sq_entries: u32,
    cq_entries: u32,
    others: [u32; 8],
    sq_offsets: [u32; 10],
    cq_offsets: Offsets,
}

/// `struct io_cqring_offsets`.
#[repr(C)]
struct Offsets {
    head: u32,
    tail: u32,
    ring_mask: u32,
    ring_entries: u32,
    overflow: u32,
    cqes: u32,
    others: [u32; 4],
}

// The crate says that the one is a transparent wrapper of the other.
const _: () = assert!(size_of::<Params>() == 120 && size_of::<Parameters>() == 120);
const _: () = assert!(align_of::<Params>() <= align_of::<Parameters>());
// `struct io_uring_cqe`.
const _: () = assert!(size_of::<Cqe>() == 16 && align_of::<Cqe>() == 8);

/// # Invariants
///
/// The pointers lie in the mapping, which is there until `drop`. The kernel writes entries from
/// `tail` on, as long as they are fewer than the mask beyond the shared head, and then `tail`. So
/// those from `head` to the tail that we have seen do not change.
pub(super) struct Completions {
    head: u32,
    seen: u32,
    mask: u32,
    entries: NonNull<Cqe>,
    shared_head: NonNull<AtomicU32>,
    tail: NonNull<AtomicU32>,
    mapping: NonNull<u8>,
    len: usize,
}

impl Completions {
    pub(super) fn new(ring: &IoUring) -> io::Result<Completions> {
        // SAFETY: see the assertions above; the crate has it from the kernel.
        let params = unsafe { &*ptr::from_ref(ring.params()).cast::<Params>() };
        let offsets = &params.cq_offsets;
        let len = offsets.cqes as usize + params.cq_entries as usize * size_of::<Cqe>();
        let mapping = map(ring, len)?;
        // SAFETY: the kernel says where in a mapping of this length each of them is.
        unsafe {
            let at = |offset: u32| mapping.add(offset as usize);
            let shared_head = at(offsets.head).cast::<AtomicU32>();
            let head = shared_head.as_ref().load(Ordering::Relaxed);
            Ok(Completions {
                head,
                seen: head,
                mask: at(offsets.ring_mask).cast::<u32>().read(),
                entries: at(offsets.cqes).cast(),
                shared_head,
                tail: at(offsets.tail).cast(),
                mapping,
                len,
            })
        }
    }

    /// Whether the kernel has written more than was taken.
    #[inline]
    pub(super) fn is_empty(&self) -> bool {
        self.head == self.tail()
    }

    /// The next one of those that were seen; after the last, looks for more.
    #[inline]
    pub(super) fn pop(&mut self) -> Option<Cqe> {
        if self.head == self.seen {
            self.sync();
            return None;
        }
        let index = self.head & self.mask;
        self.head = self.head.wrapping_add(1);
        // SAFETY: between the head and the tail that was seen; see the invariants.
        Some(unsafe { self.entries.add(index as usize).read() })
    }

    /// Gives the kernel the room of what was taken, and looks at what it has written.
    #[inline]
    pub(super) fn sync(&mut self) {
        // Release: our reads of the entries come before the kernel writes others there.
        // SAFETY: in the mapping.
        unsafe { self.shared_head.as_ref() }.store(self.head, Ordering::Release);
        self.seen = self.tail();
    }

    #[inline]
    fn tail(&self) -> u32 {
        // Acquire: the entries that it announces are read after it.
        // SAFETY: in the mapping.
        unsafe { self.tail.as_ref() }.load(Ordering::Acquire)
    }
}

fn map(ring: &IoUring, len: usize) -> io::Result<NonNull<u8>> {
    let (protection, flags) = (
        libc::PROT_READ | libc::PROT_WRITE,
        libc::MAP_SHARED | libc::MAP_POPULATE,
    );
    // SAFETY: a fresh mapping at an address of the kernel's choice aliases nothing but the crate's
    // own, through which nobody looks at completions.
    let address = unsafe {
        libc::mmap(
            ptr::null_mut(),
            len,
            protection,
            flags,
            ring.as_raw_fd(),
            OFFSET,
        )
    };
    if address == libc::MAP_FAILED {
        return Err(io::Error::last_os_error());
    }
    // The kernel writes it for the parent.
    // SAFETY: the range is the mapping that was just made.
    if unsafe { libc::madvise(address, len, libc::MADV_DONTFORK) } != 0 {
        let error = io::Error::last_os_error();
        // SAFETY: the same range, which nobody has seen.
        unsafe { libc::munmap(address, len) };
        return Err(error);
    }
    Ok(NonNull::new(address.cast()).expect("the kernel never maps page 0 unasked"))
}

impl Drop for Completions {
    fn drop(&mut self) {
        // SAFETY: made by `map` with that length, and unmapped once.
        unsafe { libc::munmap(self.mapping.as_ptr().cast(), self.len) };
    }
}
