//! Memory that submissions lend: the only place where the simulated kernel touches it.
//!
//! A real kernel reads and writes lent memory at any time between the submission and the final
//! completion. This one does it as late as it may, in the moment before the completion becomes
//! visible, so that memory which was freed or moved too early is touched after that.
#![allow(unsafe_code)]

use std::ffi::CStr;
use std::ptr;

use super::pool;

/// `len` bytes of the process that an op in flight has lent.
///
/// Everything that keeps one is dropped before the op's final completion can be popped.
#[derive(Clone, Copy, Debug)]
pub(super) struct Lent {
    address: u64,
    len: usize,
}

impl Lent {
    /// # Safety
    ///
    /// Until it is dropped, the range must be the kernel's to read, and to write if
    /// [`fill`](Lent::fill) or [`touch`](Lent::touch) is called: that of an op in flight.
    pub(super) unsafe fn new(address: u64, len: usize) -> Lent {
        Lent { address, len }
    }

    pub(super) fn len(self) -> usize {
        self.len
    }

    /// The range from `from` on.
    pub(super) fn skip(self, from: usize) -> Lent {
        let from = from.min(self.len);
        Lent {
            address: self.address + from as u64,
            len: self.len - from,
        }
    }

    /// Writes `bytes` at the start, as many as fit.
    pub(super) fn fill(self, bytes: &[u8]) {
        let len = bytes.len().min(self.len);
        pool::assert_lent(self.address, len);
        // SAFETY: `new`'s caller has promised that the range may be written; `bytes` is the
        // simulated kernel's own, so they do not overlap.
        unsafe { ptr::copy_nonoverlapping(bytes.as_ptr(), self.start(), len) };
    }

    /// Adds a copy of the first `len` bytes, or of all there are.
    pub(super) fn append_to(self, into: &mut Vec<u8>, len: usize) {
        let len = len.min(self.len);
        if len == 0 {
            return; // of a message without control data, for instance: at no address
        }
        pool::assert_lent(self.address, len);
        // SAFETY: `new`'s caller has promised that the range may be read; it is not empty, so it
        // has an address.
        let bytes = unsafe { std::slice::from_raw_parts(self.start(), len) };
        into.extend_from_slice(bytes);
    }

    /// A copy of the first `len` bytes.
    pub(super) fn read(self, len: usize) -> Vec<u8> {
        let mut bytes = Vec::new();
        self.append_to(&mut bytes, len);
        bytes
    }

    /// Reads the first and the last byte, and writes them as they are if they are lent for that:
    /// what a kernel that is still at work there might do. Memory that is gone shows it.
    pub(super) fn touch(self, writes: bool) {
        if self.len == 0 {
            return;
        }
        pool::assert_lent(self.address, self.len);
        for at in [0, self.len - 1] {
            // SAFETY: within the range that `new`'s caller has lent for this.
            unsafe {
                let byte = self.start().add(at);
                let value = ptr::read_volatile(byte);
                if writes {
                    ptr::write_volatile(byte, value);
                }
            }
        }
    }

    fn start(self) -> *mut u8 {
        ptr::with_exposed_provenance_mut(self.address as usize)
    }
}

/// A path that ends with a NUL, as the kernel copies it while it takes a submission.
///
/// # Safety
///
/// `address` is that of a string with a NUL that nobody changes now.
pub(super) unsafe fn path(address: u64) -> Vec<u8> {
    let start = ptr::with_exposed_provenance(address as usize);
    // SAFETY: the caller's promise.
    unsafe { CStr::from_ptr(start) }.to_bytes().to_vec()
}

/// A value that the kernel copies while it takes a submission.
///
/// # Safety
///
/// `address` is that of a `T` that nobody changes now, and of which any bytes are a value.
pub(super) unsafe fn value<T: Copy>(address: u64) -> T {
    let start = ptr::with_exposed_provenance::<T>(address as usize);
    // SAFETY: the caller's promise.
    unsafe { start.read_unaligned() }
}

/// What `STATX` tells about a file.
pub(super) struct Status {
    pub(super) mode: u16,
    pub(super) links: u32,
    pub(super) len: u64,
    pub(super) modified_s: u64,
    pub(super) modified_ns: u32,
}

impl Status {
    pub(super) fn write(&self, into: Lent) {
        // SAFETY: all its fields are numbers, of which zero is one.
        let mut status: libc::statx = unsafe { std::mem::zeroed() };
        status.stx_mask = libc::STATX_BASIC_STATS;
        status.stx_blksize = 4096;
        status.stx_mode = self.mode;
        status.stx_nlink = self.links;
        status.stx_size = self.len;
        status.stx_mtime.tv_sec = self.modified_s.cast_signed();
        status.stx_mtime.tv_nsec = self.modified_ns;
        status.stx_blocks = self.len.div_ceil(512);
        let start = (&raw const status).cast::<u8>();
        // SAFETY: the value is live, and every byte of it was zeroed.
        let bytes = unsafe { std::slice::from_raw_parts(start, size_of::<libc::statx>()) };
        into.fill(bytes);
    }
}
