//! Provided buffers: the kernel's half of a buffer ring.
#![allow(unsafe_code)]

use std::ptr;
use std::sync::atomic::{AtomicU16, Ordering};

use super::memory::{self, Lent};
use super::pool;

const BUFFER: u32 = 1 << 0;
const BUFFER_MORE: u32 = 1 << 4;
const BUFFER_SHIFT: u32 = 16;

/// A registered buffer ring.
#[derive(Debug)]
pub(super) struct Group {
    pub(super) number: u16,
    address: u64,
    entries: u16,
    is_incremental: bool,
    head: u16,
    /// Bytes of the first buffer that are used already, if the ring is incremental.
    used: usize,
}

/// `struct io_uring_buf`.
#[derive(Clone, Copy)]
#[repr(C)]
struct Entry {
    addr: u64,
    len: u32,
    bid: u16,
    resv: u16,
}

impl Group {
    /// # Safety
    ///
    /// As [`Ring::register_buf_ring`](crate::ring::Ring::register_buf_ring): until this is dropped.
    pub(super) unsafe fn new(number: u16, address: u64, entries: u16, incremental: bool) -> Group {
        Group {
            number,
            address,
            entries,
            is_incremental: incremental,
            head: 0,
            used: 0,
        }
    }

    /// The room that the next receive has.
    pub(super) fn next(&self) -> Option<Lent> {
        pool::assert_lent(self.address, size_of::<Entry>());
        if self.head == self.tail() {
            return None;
        }
        let entry = self.entry();
        // SAFETY: an entry between head and tail names memory that is the kernel's until a
        // completion says otherwise; the ring's owner promises that (see `new`).
        let buffer = unsafe { Lent::new(entry.addr, entry.len as usize) };
        Some(buffer.skip(self.used))
    }

    /// Uses `len` bytes of what [`next`](Group::next) has named. Returns the completion's flags.
    pub(super) fn commit(&mut self, len: usize, forget_flag: bool) -> u32 {
        let entry = self.entry();
        let mut flags = BUFFER | u32::from(entry.bid) << BUFFER_SHIFT;
        self.used += len;
        if self.is_incremental && self.used < entry.len as usize {
            if !forget_flag {
                flags |= BUFFER_MORE;
            }
        } else {
            self.head = self.head.wrapping_add(1);
            self.used = 0;
        }
        flags
    }

    pub(super) fn is_incremental(&self) -> bool {
        self.is_incremental
    }

    fn tail(&self) -> u16 {
        let at = self.address + std::mem::offset_of!(Entry, resv) as u64;
        let tail = ptr::with_exposed_provenance_mut::<u16>(at as usize);
        // SAFETY: the tail of the ring, aligned, and written by atomics alone.
        unsafe { AtomicU16::from_ptr(tail) }.load(Ordering::Acquire)
    }

    fn entry(&self) -> Entry {
        let index = u64::from(self.head & (self.entries - 1));
        // SAFETY: within the ring's `entries`; its owner writes only those that are not announced.
        unsafe { memory::value(self.address + index * size_of::<Entry>() as u64) }
    }
}
