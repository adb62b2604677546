//! `unlinkat(2)`: <https://man7.org/linux/man-pages/man3/io_uring_prep_unlink.3.html>
#![allow(unsafe_code)]

use std::ffi::CString;
use std::io;

use crate::driver::Op;
use crate::ring::{Cqe, Sqe, opcode};

/// Takes a name out of its directory.
pub(crate) struct Unlink {
    pub(crate) path: CString,
    /// Of an empty directory, and of nothing else.
    pub(crate) directory: bool,
}

// SAFETY: UNLINKAT only reads the path, up to its NUL.
unsafe impl Op for Unlink {
    type Output = io::Result<()>;

    fn fill<'op>(&'op mut self, sqe: &mut Sqe<'op>) {
        let flags = if self.directory {
            libc::AT_REMOVEDIR
        } else {
            0
        };
        sqe.op(opcode::UNLINKAT)
            .raw_fd(libc::AT_FDCWD)
            .path(&self.path)
            .op_flags(flags.cast_unsigned());
    }

    fn complete(self, cqe: Cqe) -> Self::Output {
        cqe.result().map(drop)
    }
}
