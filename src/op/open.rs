//! `openat(2)`: <https://man7.org/linux/man-pages/man3/io_uring_prep_openat.3.html>
#![allow(unsafe_code)]

use std::ffi::CString;
use std::io;

use crate::driver::Op;
use crate::ring::{Cqe, Fd, Sqe, opcode};

/// Opens a file. One that is opened when nobody waits any more is closed.
pub(crate) struct Open {
    pub(crate) path: CString,
    pub(crate) flags: i32,
    pub(crate) mode: u32,
}

// SAFETY: OPENAT only reads the path, up to its NUL; its result is a descriptor that is ours.
unsafe impl Op for Open {
    type Output = io::Result<Fd>;

    fn fill<'op>(&'op mut self, sqe: &mut Sqe<'op>) {
        sqe.op(opcode::OPENAT)
            .raw_fd(libc::AT_FDCWD)
            .path(&self.path)
            .len(self.mode)
            .op_flags((self.flags | libc::O_CLOEXEC) as u32);
    }

    fn complete(self, cqe: Cqe) -> Self::Output {
        cqe.descriptor()
    }
}
