//! `mkdirat(2)`: <https://man7.org/linux/man-pages/man3/io_uring_prep_mkdir.3.html>
#![allow(unsafe_code)]

use std::ffi::CString;
use std::io;

use crate::driver::Op;
use crate::ring::{Cqe, Sqe, opcode};

/// Makes an empty directory.
pub(crate) struct Mkdir {
    pub(crate) path: CString,
    pub(crate) mode: u32,
}

// SAFETY: MKDIRAT only reads the path, up to its NUL.
unsafe impl Op for Mkdir {
    type Output = io::Result<()>;

    fn fill<'op>(&'op mut self, sqe: &mut Sqe<'op>) {
        sqe.op(opcode::MKDIRAT)
            .raw_fd(libc::AT_FDCWD)
            .path(&self.path)
            .len(self.mode);
    }

    fn complete(self, cqe: Cqe) -> Self::Output {
        cqe.result().map(drop)
    }
}
