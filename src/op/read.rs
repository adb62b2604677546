//! `pread(2)`: <https://man7.org/linux/man-pages/man3/io_uring_prep_read.3.html>
#![allow(unsafe_code)]

use std::io;
use std::rc::Rc;

use corering_buffers::IoBufMut;

use super::Settle;
use crate::driver::{Op, filled};
use crate::ring::{Cqe, Sqe, opcode};

/// Reads once at an offset. What comes when nobody waits any more is still in the file.
pub(crate) struct Read<F, B> {
    pub(crate) file: Rc<F>,
    pub(crate) buf: B,
    pub(crate) offset: u64,
}

// SAFETY: READ writes at most `len` bytes at `addr`, and its result is the number written.
unsafe impl<F: Settle, B: IoBufMut> Op for Read<F, B> {
    type Output = (io::Result<usize>, B);

    fn fill<'op>(&'op mut self, sqe: &mut Sqe<'op>) {
        let (start, len) = self.buf.parts_mut();
        sqe.op(opcode::READ)
            .fd(self.file.fd())
            .lend_mut(start, len)
            .offset(self.offset);
    }

    fn complete(mut self, cqe: Cqe) -> Self::Output {
        (filled(cqe, &mut self.buf), self.buf)
    }
}
