//! `statx(2)`: <https://man7.org/linux/man-pages/man3/io_uring_prep_statx.3.html>
#![allow(unsafe_code)]

use std::ffi::CString;
use std::io;
use std::mem::offset_of;
use std::rc::Rc;

use super::Settle;
use crate::driver::Op;
use crate::ring::{Cqe, Sqe, opcode};

/// Reads what is known of a file besides its bytes.
pub(crate) struct Statx<F> {
    pub(crate) of: Target<F>,
    /// What the kernel fills. Boxed: it is larger than a slot.
    pub(crate) stat: Box<Stat>,
}

/// Of what. A link is followed.
pub(crate) enum Target<F> {
    Path(CString),
    File(Rc<F>),
}

/// `struct statx`, with names for what is asked for. Zero in what a file system does not fill.
#[derive(Debug, Default)]
#[repr(C)]
pub(crate) struct Stat {
    head: [u32; 7],
    pub(crate) mode: u16,
    inode: u64,
    pub(crate) size: u64,
    middle: [u64; 8],
    pub(crate) modified_s: i64,
    pub(crate) modified_ns: u32,
    rest: [u64; 16],
}

const _: () = assert!(
    size_of::<Stat>() == size_of::<libc::statx>()
        && align_of::<Stat>() >= align_of::<libc::statx>()
        && offset_of!(Stat, mode) == offset_of!(libc::statx, stx_mode)
        && offset_of!(Stat, size) == offset_of!(libc::statx, stx_size)
        && offset_of!(Stat, modified_s) == offset_of!(libc::statx, stx_mtime.tv_sec)
        && offset_of!(Stat, modified_ns) == offset_of!(libc::statx, stx_mtime.tv_nsec)
);

const MASK: u32 = libc::STATX_TYPE | libc::STATX_MODE | libc::STATX_SIZE | libc::STATX_MTIME;

// SAFETY: STATX reads the path, up to its NUL, and writes one `struct statx`, which the assertion
// above says `Stat` has room for; any bytes are a `Stat`.
unsafe impl<F: Settle> Op for Statx<F> {
    type Output = io::Result<Box<Stat>>;

    fn fill<'op>(&'op mut self, sqe: &mut Sqe<'op>) {
        sqe.op(opcode::STATX)
            .len(MASK)
            .second_address_mut(&mut *self.stat);
        match &self.of {
            Target::Path(path) => sqe.raw_fd(libc::AT_FDCWD).path(path),
            Target::File(file) => sqe
                .fd(file.fd())
                .path(c"")
                .op_flags(libc::AT_EMPTY_PATH.cast_unsigned()),
        };
    }

    fn complete(self, cqe: Cqe) -> Self::Output {
        cqe.result().map(|_| self.stat)
    }
}
