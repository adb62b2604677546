//! A submission being filled.
#![allow(unsafe_code)]

use std::ffi::CStr;
use std::marker::PhantomData;
use std::os::fd::RawFd;

use super::fd::Fd;
use super::opcode;

/// The most that one read or write moves, bytes (`MAX_RW_COUNT`): 2 GiB less a page.
const LEN_MAX: usize = 0x7fff_f000;

/// Bytes that take about as long to copy as a short op does to submit.
const COPIED: u32 = 8 * 1024;

/// The kernel's 64-byte submission queue entry.
///
/// That there is one says that its memory is taken care of: see [`Sqe::into_raw`].
#[derive(Clone, Copy, Debug, Default)]
#[repr(C)]
pub(crate) struct RawSqe {
    pub(super) opcode: u8,
    pub(super) flags: u8,
    pub(super) ioprio: u16,
    pub(super) fd: i32,
    pub(super) off: u64,
    pub(super) addr: u64,
    pub(super) len: u32,
    pub(super) op_flags: u32,
    pub(crate) user_data: u64,
    pub(super) buf_group: u16,
    pub(super) personality: u16,
    pub(super) file_index: u32,
    pub(super) addr3: u64,
    pub(super) pad: u64,
}

const _: () = assert!(size_of::<RawSqe>() == 64 && align_of::<RawSqe>() == 8);

impl RawSqe {
    /// Cancels the op that was pushed under `target`. Posts a completion only if it fails.
    pub(crate) fn cancel(target: u64, user_data: u64) -> RawSqe {
        RawSqe {
            opcode: opcode::ASYNC_CANCEL,
            flags: opcode::SKIP_SUCCESS,
            fd: -1,
            addr: target,
            user_data,
            ..RawSqe::default()
        }
    }

    /// Whether submitting it may take longer than a short op does: see [`weight`](RawSqe::weight).
    #[inline(always)]
    pub(crate) fn may_be_heavy(&self) -> bool {
        self.len >= COPIED
    }

    /// How much of the kernel's time it takes to submit, in short ops. What is copied at once adds
    /// to that, and weighs as much as an op every 8 KiB.
    pub(crate) fn weight(&self) -> u32 {
        let copies = match self.opcode {
            opcode::SEND | opcode::WRITE | opcode::READ => true,
            opcode::RECV => self.ioprio & opcode::POLL_FIRST == 0,
            // A number in the place of a length is none.
            _ => false,
        };
        if copies { 1 + self.len / COPIED } else { 1 }
    }

    /// Cancels all ops of the ring. Posts a completion only if it fails.
    pub(crate) fn cancel_all(user_data: u64) -> RawSqe {
        RawSqe {
            op_flags: opcode::CANCEL_ANY | opcode::CANCEL_ALL,
            ..RawSqe::cancel(0, user_data)
        }
    }
}

/// A submission whose pointers may only be taken from memory that lives for `'op`.
///
/// `'op` is the lifetime of the op at its final address, so an op can lend what it owns and
/// nothing else: a pointer to a local does not compile. The lifetime is invariant, since a
/// covariant one could be shortened to that of the local.
#[derive(Debug)]
pub(crate) struct Sqe<'op> {
    raw: RawSqe,
    _lends: PhantomData<fn(&'op ()) -> &'op ()>,
}

impl<'op> Sqe<'op> {
    /// An empty submission. Its descriptor is −1: one that was forgotten is `EBADF`, not stdin.
    #[inline]
    pub(crate) fn new() -> Sqe<'op> {
        let raw = RawSqe {
            fd: -1,
            ..RawSqe::default()
        };
        Sqe {
            raw,
            _lends: PhantomData,
        }
    }

    /// The filled entry, to be pushed under `user_data`.
    ///
    /// # Safety
    ///
    /// Memory that was lent must stay where it is, and be left alone as the operation demands,
    /// until the final completion of each push of this entry was popped; for ever, if that never
    /// happens.
    #[inline]
    pub(crate) unsafe fn into_raw(self, user_data: u64) -> RawSqe {
        RawSqe {
            user_data,
            ..self.raw
        }
    }

    /// Which operation: one of [`opcode`].
    #[inline]
    pub(crate) fn op(&mut self, code: u8) -> &mut Self {
        self.raw.opcode = code;
        self
    }

    /// The descriptor to work on.
    #[inline]
    pub(crate) fn fd(&mut self, fd: &'op Fd) -> &mut Self {
        self.raw_fd(fd.raw())
    }

    /// A number in the place of the descriptor: `AT_FDCWD`, another ring, a socket's domain.
    #[inline]
    pub(crate) fn raw_fd(&mut self, fd: RawFd) -> &mut Self {
        self.raw.fd = fd;
        self
    }

    /// Lends `len` bytes to read from, clamped to what the kernel takes.
    ///
    /// A safe call that only stores two numbers: the op vouches for them.
    #[inline]
    pub(crate) fn lend(&mut self, ptr: *const u8, len: usize) -> &mut Self {
        self.raw.addr = ptr.expose_provenance() as u64;
        self.raw.len = len.min(LEN_MAX) as u32;
        self
    }

    /// Lends `len` bytes to write into, clamped to what the kernel takes.
    #[inline]
    pub(crate) fn lend_mut(&mut self, ptr: *mut u8, len: usize) -> &mut Self {
        self.raw.addr = ptr.expose_provenance() as u64;
        self.raw.len = len.min(LEN_MAX) as u32;
        self
    }

    /// Lends a value that the kernel reads. Of a slice, its first element.
    #[inline]
    pub(crate) fn address<T: ?Sized>(&mut self, value: &'op T) -> &mut Self {
        self.raw.addr = (&raw const *value).expose_provenance() as u64;
        self
    }

    /// Lends a value that the kernel writes.
    #[inline]
    pub(crate) fn address_mut<T: ?Sized>(&mut self, value: &'op mut T) -> &mut Self {
        self.raw.addr = (&raw mut *value).expose_provenance() as u64;
        self
    }

    /// Lends a path.
    #[inline]
    pub(crate) fn path(&mut self, path: &'op CStr) -> &mut Self {
        self.raw.addr = path.as_ptr().expose_provenance() as u64;
        self
    }

    /// Lends a second path, in the place of the offset.
    #[inline]
    pub(crate) fn second_path(&mut self, path: &'op CStr) -> &mut Self {
        self.raw.off = path.as_ptr().expose_provenance() as u64;
        self
    }

    /// Lends a second value, in the place of the offset, that the kernel writes.
    #[inline]
    pub(crate) fn second_address_mut<T: ?Sized>(&mut self, value: &'op mut T) -> &mut Self {
        self.raw.off = (&raw mut *value).expose_provenance() as u64;
        self
    }

    /// Lends the bytes of the name of the socket to send to. None if there are none.
    #[inline]
    pub(crate) fn destination(&mut self, name: &'op [u8]) -> &mut Self {
        if !name.is_empty() {
            self.raw.off = name.as_ptr().expose_provenance() as u64;
            // A 16-bit length in the first half of the field.
            let [low, high] = (name.len() as u16).to_ne_bytes();
            self.raw.file_index = u32::from_ne_bytes([low, high, 0, 0]);
        }
        self
    }

    /// The offset in a file, or another number that lives in its place.
    #[inline]
    pub(crate) fn offset(&mut self, offset: u64) -> &mut Self {
        self.raw.off = offset;
        self
    }

    /// The length, or another number that lives in its place.
    #[inline]
    pub(crate) fn len(&mut self, len: u32) -> &mut Self {
        self.raw.len = len;
        self
    }

    /// The operation's own flags (`msg_flags`, `open_flags`, `accept_flags`, …).
    #[inline]
    pub(crate) fn op_flags(&mut self, flags: u32) -> &mut Self {
        self.raw.op_flags = flags;
        self
    }

    /// The flags that the kernel keeps in `ioprio`.
    #[inline]
    pub(crate) fn ioprio(&mut self, ioprio: u16) -> &mut Self {
        self.raw.ioprio = ioprio;
        self
    }

    /// Adds flags that hold for every operation, as [`opcode::IO_LINK`].
    #[inline]
    pub(crate) fn flags(&mut self, flags: u8) -> &mut Self {
        self.raw.flags |= flags;
        self
    }

    /// Lets the kernel pick a buffer of `group`.
    #[inline]
    pub(crate) fn buffer_group(&mut self, group: u16) -> &mut Self {
        self.raw.buf_group = group;
        self.flags(opcode::BUFFER_SELECT)
    }
}
