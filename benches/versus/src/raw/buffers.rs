#![allow(unsafe_code)]
//! The buffers that the kernel receives into.
//!
//! A buffer belongs to the kernel from `give_back` on until it is full, and what was received in it
//! until its last piece is released.

use std::io;
use std::sync::atomic::{AtomicU16, Ordering};

use io_uring::Submitter;
use io_uring::types::BufRingEntry;

pub(super) const GROUP: u16 = 0;
const INCREMENTAL: u16 = 2; // IOU_PBUF_RING_INC
const BUFFER_MORE: u32 = 1 << 4; // IORING_CQE_F_BUF_MORE

/// The provided buffers. They are never unmapped: the process ends with them.
pub(super) struct Buffers {
    entries: *mut BufRingEntry,
    data: *mut u8,
    size: u32,
    uses: Vec<Use>,
    tail: u16,
    published: u16,
    /// Buffers that the kernel can still fill.
    pub(super) free: u32,
    /// Buffers that were given to the kernel at least once. They are used in turn, so that all of
    /// them go through the cache: no more than it takes.
    provided: u16,
}

impl Buffers {
    /// For streams.
    pub(super) fn new(submitter: &Submitter<'_>) -> io::Result<Self> {
        match Self::register(submitter, 128, 64 * 1024, INCREMENTAL) {
            Err(error) if error.raw_os_error() == Some(libc::EINVAL) => {
                Self::register(submitter, 2048, 4096, 0)
            }
            buffers => buffers,
        }
    }

    /// For datagrams, which each take a buffer of their own: what is left of one may be too short
    /// for the next, and would cut it off. `count` is a power of two.
    pub(super) fn whole(submitter: &Submitter<'_>, count: u16, size: u32) -> io::Result<Self> {
        Self::register(submitter, count, size, 0)
    }

    fn register(submitter: &Submitter<'_>, count: u16, size: u32, flags: u16) -> io::Result<Self> {
        let mut buffers = Self {
            entries: map(usize::from(count) * size_of::<BufRingEntry>())?.cast(),
            data: map(usize::from(count) * size as usize)?,
            size,
            uses: vec![Use::default(); count.into()],
            tail: 0,
            published: 0,
            free: 0,
            provided: 0,
        };
        let address = buffers.entries as u64;
        // SAFETY: the entries are mapped, page-aligned, `count` of them, and never unmapped.
        unsafe { submitter.register_buf_ring_with_flags(address, count, GROUP, flags)? };
        buffers.publish();
        Ok(buffers)
    }

    /// The piece that a completion says was filled.
    #[inline]
    pub(super) fn take(&mut self, bid: u16, length: u32, flags: u32) -> Piece {
        let used = &mut self.uses[usize::from(bid)];
        let offset = usize::from(bid) * self.size as usize + used.filled as usize;
        used.filled += length;
        used.pieces += 1;
        used.full = flags & BUFFER_MORE == 0;
        self.free -= u32::from(used.full);
        // SAFETY: uses has an entry for the bid, and the kernel fills no more than the size, so the
        // offset is inside the mapping of uses.len() × size bytes.
        let address = unsafe { self.data.add(offset) };
        Piece {
            address,
            length,
            bid,
        }
    }

    /// A piece is sent.
    #[inline]
    pub(super) fn release(&mut self, bid: u16) {
        let used = &mut self.uses[usize::from(bid)];
        used.pieces -= 1;
        if used.pieces == 0 && used.full {
            self.give_back(bid);
        }
    }

    #[inline]
    fn give_back(&mut self, bid: u16) {
        self.uses[usize::from(bid)] = Use::default();
        let index = usize::from(self.tail) & (self.uses.len() - 1);
        // SAFETY: the index is below the number of entries that are mapped, a power of two, and the
        // offset of the buffer inside the data's mapping. The kernel does not read this entry
        // before the tail is past it.
        unsafe {
            let entry = &mut *self.entries.add(index);
            entry.set_addr(self.data.add(usize::from(bid) * self.size as usize) as u64);
            entry.set_len(self.size);
            entry.set_bid(bid);
        }
        self.tail = self.tail.wrapping_add(1);
        self.free += 1;
    }

    /// Lets the kernel see all that was given back.
    #[inline]
    pub(super) fn publish(&mut self) {
        let step = (self.uses.len() / 8) as u16;
        if self.free < u32::from(self.provided).div_ceil(4).max(1)
            && usize::from(self.provided) < self.uses.len()
        {
            (self.provided..self.provided + step).for_each(|bid| self.give_back(bid));
            self.provided += step;
        }
        if self.published == self.tail {
            return;
        }
        self.published = self.tail;
        // SAFETY: the tail lies in the first entry of the mapping; we are its only writer, and the
        // kernel reads it atomically.
        unsafe {
            let tail = BufRingEntry::tail(self.entries).cast::<AtomicU16>();
            (*tail).store(self.tail, Ordering::Release);
        }
    }
}

/// A piece of a ring buffer that was filled and is not sent yet.
pub(super) struct Piece {
    pub(super) address: *const u8,
    pub(super) length: u32,
    pub(super) bid: u16,
}

/// One buffer, as far as it is used.
#[derive(Clone, Copy, Default)]
struct Use {
    filled: u32,
    /// Pieces that are not sent yet.
    pieces: u32,
    /// The kernel puts no more into it.
    full: bool,
}

/// Zeroed memory that starts at a page, for ever.
fn map(length: usize) -> io::Result<*mut u8> {
    // SAFETY: a new anonymous mapping touches no memory that is in use.
    let start = unsafe {
        libc::mmap(
            std::ptr::null_mut(),
            length,
            libc::PROT_READ | libc::PROT_WRITE,
            libc::MAP_PRIVATE | libc::MAP_ANONYMOUS,
            -1,
            0,
        )
    };
    if start == libc::MAP_FAILED {
        Err(io::Error::last_os_error())
    } else {
        Ok(start.cast())
    }
}
