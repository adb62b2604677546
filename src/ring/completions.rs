//! The completion queue, read where the kernel writes it, and the flags of the ring.
//!
//! The `io-uring` crate hands out copies, each by a call that is not inlined: 14 instructions a
//! completion, and an echo has two. It asks for the flags one by one, which a core does between any
//! two batches of tasks. So both are mapped once more.
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

/// `IORING_SQ_CQ_OVERFLOW`.
const OVERFLOW: u32 = 1 << 1;
/// `IORING_SQ_TASKRUN`.
const TASKRUN: u32 = 1 << 2;

/// `struct io_uring_params`.
#[repr(C)]
struct Params {
    sq_entries: u32,
    cq_entries: u32,
    others: [u32; 8],
    sq_offsets: SqOffsets,
    cq_offsets: CqOffsets,
}

/// `struct io_sqring_offsets`.
#[repr(C)]
struct SqOffsets {
    queue: [u32; 4],
    flags: u32,
    others: [u32; 5],
}

/// `struct io_cqring_offsets`.
#[repr(C)]
struct CqOffsets {
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
    /// `IORING_SQ_*`: since Linux 5.4 both queues are one piece of memory.
    flags: NonNull<AtomicU32>,
    mapping: NonNull<u8>,
    len: usize,
}

impl Completions {
    pub(super) fn new(ring: &IoUring) -> io::Result<Completions> {
        if !ring.params().is_feature_single_mmap() {
            return Err(io::Error::from_raw_os_error(libc::EINVAL));
        }
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
                flags: at(params.sq_offsets.flags).cast(),
                mapping,
                len,
            })
        }
    }

    /// Whether all that the kernel has written was taken.
    #[inline]
    pub(super) fn is_empty(&self) -> bool {
        self.head == self.tail()
    }

    /// Whether an enter would bring completions.
    #[inline]
    pub(super) fn needs_enter(&self) -> bool {
        self.has_flags(TASKRUN | OVERFLOW)
    }

    /// Whether there were more completions than the queue has room for.
    #[inline]
    pub(super) fn has_overflown(&self) -> bool {
        self.has_flags(OVERFLOW)
    }

    #[inline]
    fn has_flags(&self, any: u32) -> bool {
        // Relaxed: an enter, which is what follows, synchronises.
        // SAFETY: in the mapping.
        unsafe { self.flags.as_ref() }.load(Ordering::Relaxed) & any != 0
    }

    /// The next one of those that were seen, where the kernel has put it; after the last, looks for
    /// more.
    #[inline]
    pub(super) fn pop(&mut self) -> Option<&Cqe> {
        if self.head == self.seen {
            self.sync();
            return None;
        }
        let index = self.head & self.mask;
        self.head = self.head.wrapping_add(1);
        // SAFETY: between the head and the tail that was seen; see the invariants. It stays until
        // the head is published, which no call does as long as the reference lives.
        Some(unsafe { self.entries.add(index as usize).as_ref() })
    }

    /// How many were taken, counted on behind `u32::MAX`.
    #[inline]
    pub(super) fn position(&self) -> u32 {
        self.head
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

#[cfg(test)]
mod tests {
    use std::mem::ManuallyDrop;

    use super::*;

    #[test]
    fn the_kernel_is_looked_at_and_gets_its_room_back_when_all_is_taken() {
        // The counters run on behind u32::MAX.
        let first = u32::MAX;
        let [head, tail, flags] = [first, first, 0].map(AtomicU32::new);
        let entries = [1, 2].map(|user_data| Cqe {
            user_data,
            ..Cqe::refused(0)
        });
        // Not dropped, since it is no mapping.
        let mut completions = ManuallyDrop::new(Completions {
            head: first,
            seen: first,
            mask: 1,
            entries: NonNull::from(&entries).cast(),
            shared_head: NonNull::from(&head),
            tail: NonNull::from(&tail),
            flags: NonNull::from(&flags),
            mapping: NonNull::dangling(),
            len: 0,
        });
        tail.store(first.wrapping_add(2), Ordering::Release);
        assert!(!completions.is_empty());
        assert_eq!(completions.pop(), None, "they were not seen yet");
        let popped = [(); 2].map(|()| completions.pop().unwrap().user_data);
        assert_eq!(popped, [2, 1]);
        assert_eq!(head.load(Ordering::Acquire), first);
        assert_eq!(completions.pop(), None);
        assert_eq!(head.load(Ordering::Acquire), first.wrapping_add(2));
        assert!(completions.is_empty());
    }
}
