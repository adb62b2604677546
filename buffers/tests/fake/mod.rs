//! The kernel's side of a buffer ring and of a read, for tests: written from io_uring_register(2)
//! and `io_uring/kbuf.c`, not from the crate under test.
#![allow(unsafe_code)]
// Every test program uses a part of it.
#![allow(dead_code)]

use std::alloc::{Layout, alloc_zeroed, dealloc};
use std::cell::Cell;
use std::ptr::{self, NonNull};
use std::rc::Rc;
use std::sync::atomic::{AtomicU16, Ordering};

use corering_buffers::{BufRing, IoBufMut, RingConfig, RingMemory};

/// The byte at a position of the stream that the fake kernel receives. No short period, so that
/// bytes which come from another position are noticed.
pub(crate) fn byte_at(position: u64) -> u8 {
    (position.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 56) as u8
}

pub(crate) fn stream(first: u64, len: usize) -> Vec<u8> {
    (first..first + len as u64).map(byte_at).collect()
}

/// Zeroed memory that notes when it is freed.
pub(crate) struct Pages {
    pub(crate) ptr: NonNull<u8>,
    layout: Layout,
    freed: Rc<Cell<bool>>,
}

impl Pages {
    pub(crate) fn new(len: usize, freed: Rc<Cell<bool>>) -> Pages {
        let layout = Layout::from_size_align(len.max(1), 4096).unwrap();
        // SAFETY: the size is not 0.
        let ptr = NonNull::new(unsafe { alloc_zeroed(layout) }).unwrap();
        Pages { ptr, layout, freed }
    }
}

impl Drop for Pages {
    fn drop(&mut self) {
        // SAFETY: allocated with this layout, and freed once.
        unsafe { dealloc(self.ptr.as_ptr(), self.layout) }
        self.freed.set(true);
    }
}

/// A ring with memory of its own, and the kernel that takes from it.
pub(crate) struct Rig {
    pub(crate) ring: Rc<BufRing>,
    pub(crate) kernel: Kernel,
    pub(crate) freed: Rc<Cell<bool>>,
}

impl Rig {
    pub(crate) fn new(config: RingConfig) -> Rig {
        let freed = Rc::new(Cell::new(false));
        let ring = Pages::new(usize::from(config.entries) * 16, Rc::default());
        let data = usize::from(config.bufs) * config.buf_size as usize;
        let data = Pages::new(data, Rc::clone(&freed));
        let memory = RingMemory {
            ring: ring.ptr,
            data: data.ptr,
            keep: Box::new((ring, data)),
        };
        // SAFETY: the memory is zeroed, of the right sizes, and only the fake kernel of this rig
        // uses it, which ends with the rig.
        let ring = unsafe { BufRing::new(memory, config) };
        let kernel = Kernel::new(ring.ring_address(), config.entries, config.incremental);
        Rig {
            ring,
            kernel,
            freed,
        }
    }

    pub(crate) fn grow(&self, n: u16) {
        let data = Pages::new(
            usize::from(n) * self.ring.buf_size() as usize,
            Rc::default(),
        );
        // SAFETY: room for n buffers, zeroed, freed when the box is dropped.
        unsafe { self.ring.grow(data.ptr, Box::new(data), n) };
    }
}

/// What a CQE says of a buffer, and what the test wants to know besides.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Completion {
    pub(crate) bid: u16,
    pub(crate) len: usize,
    pub(crate) more: bool,
    /// Where in the stream the bytes stand.
    pub(crate) first: u64,
}

/// One entry as the kernel sees it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Entry {
    pub(crate) addr: u64,
    pub(crate) len: u32,
    pub(crate) bid: u16,
}

/// The kernel's head, and its stream.
pub(crate) struct Kernel {
    ring: *mut u8,
    entries: u16,
    incremental: bool,
    head: u16,
    position: u64,
}

impl Kernel {
    fn new(address: u64, entries: u16, incremental: bool) -> Kernel {
        let ring = ptr::with_exposed_provenance_mut(address as usize);
        Kernel {
            ring,
            entries,
            incremental,
            head: 0,
            position: 0,
        }
    }

    fn tail(&self) -> u16 {
        // SAFETY: bytes 14 and 15 of the ring are its tail, aligned to 2, and written atomically.
        unsafe { AtomicU16::from_ptr(self.ring.add(14).cast()) }.load(Ordering::Acquire)
    }

    fn at(&self, index: u16) -> *mut u8 {
        // SAFETY: the mask keeps it within the ring.
        unsafe { self.ring.add(usize::from(index & (self.entries - 1)) * 16) }
    }

    /// The entries between head and tail.
    pub(crate) fn provided(&self) -> Vec<Entry> {
        let count = self.tail().wrapping_sub(self.head);
        assert!(
            count <= self.entries,
            "the ring overflows: {count} of {}",
            self.entries
        );
        (0..count)
            .map(|n| {
                let at = self.at(self.head.wrapping_add(n));
                // SAFETY: an entry in front of the tail, so the ring's owner does not write it.
                unsafe {
                    let (addr, len) = (at.cast::<u64>().read(), at.add(8).cast::<u32>().read());
                    Entry {
                        addr,
                        len,
                        bid: at.add(12).cast::<u16>().read(),
                    }
                }
            })
            .collect()
    }

    /// Receives at most `want` bytes into the buffer at the head; `None` is ENOBUFS.
    pub(crate) fn receive(&mut self, want: usize) -> Option<Completion> {
        let entry = *self.provided().first()?;
        let len = want.min(entry.len as usize);
        let first = self.position;
        let to = ptr::with_exposed_provenance_mut::<u8>(entry.addr as usize);
        for (index, byte) in stream(first, len).into_iter().enumerate() {
            // SAFETY: the entry offers entry.len bytes there, and len is not more.
            unsafe { to.add(index).write(byte) }
        }
        self.position += len as u64;
        let more = self.commit(entry, len as u32);
        Some(Completion {
            bid: entry.bid,
            len,
            more,
            first,
        })
    }

    /// Moves the head, or the entry's start, as `io_kbuf_commit` does.
    fn commit(&mut self, entry: Entry, len: u32) -> bool {
        if !self.incremental {
            self.head = self.head.wrapping_add(1);
            return false;
        }
        let at = self.at(self.head);
        // SAFETY: the entry at the head is the kernel's.
        unsafe {
            at.cast::<u64>().write(entry.addr + u64::from(len));
            at.add(8).cast::<u32>().write(entry.len - len);
        }
        let more = entry.len > len;
        self.head = self.head.wrapping_add(u16::from(!more));
        more
    }
}

/// Does what a read with `data` to give does: asks once, writes, reports once.
pub(crate) fn read_into<B: IoBufMut>(buf: &mut B, data: &[u8]) -> usize {
    let (ptr, room) = buf.parts_mut();
    let n = data.len().min(room);
    // SAFETY: room bytes at ptr may be written, n of them are, and the buffer is not used between.
    unsafe {
        ptr.copy_from_nonoverlapping(data.as_ptr(), n);
        buf.set_init(n);
    }
    n
}
