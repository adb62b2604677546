//! `renameat2(2)`: <https://man7.org/linux/man-pages/man3/io_uring_prep_rename.3.html>
#![allow(unsafe_code)]

use std::ffi::CString;
use std::io;

use crate::driver::Op;
use crate::ring::{Cqe, Sqe, opcode};

/// Gives a file or directory another path, whatever was there.
pub(crate) struct Rename {
    pub(crate) from: CString,
    pub(crate) to: CString,
}

// SAFETY: RENAMEAT only reads the two paths, up to their NULs.
unsafe impl Op for Rename {
    type Output = io::Result<()>;

    fn fill<'op>(&'op mut self, sqe: &mut Sqe<'op>) {
        sqe.op(opcode::RENAMEAT)
            .raw_fd(libc::AT_FDCWD)
            .path(&self.from)
            .second_path(&self.to)
            // The directory that the second path is relative to.
            .len(libc::AT_FDCWD.cast_unsigned());
    }

    fn complete(self, cqe: Cqe) -> Self::Output {
        cqe.result().map(drop)
    }
}
