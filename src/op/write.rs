//! `pwrite(2)`: <https://man7.org/linux/man-pages/man3/io_uring_prep_write.3.html>
#![allow(unsafe_code)]

use std::io;
use std::rc::Rc;

use corering_buffers::IoBuf;

use super::Settle;
use crate::driver::Op;
use crate::ring::{Cqe, Sqe, opcode};

/// Writes once at an offset. One that was submitted runs to its end, whoever waits for it.
pub(crate) struct Write<F, B> {
    pub(crate) file: Rc<F>,
    pub(crate) buf: B,
    pub(crate) offset: u64,
}

// SAFETY: WRITE only reads `len` bytes at `addr`.
unsafe impl<F: Settle, B: IoBuf> Op for Write<F, B> {
    type Output = (io::Result<usize>, B);
    const COMMITTED: bool = true;

    fn fill<'op>(&'op mut self, sqe: &mut Sqe<'op>) {
        let (start, len) = self.buf.parts();
        sqe.op(opcode::WRITE)
            .fd(self.file.fd())
            .lend(start, len)
            .offset(self.offset);
    }

    fn complete(self, cqe: Cqe) -> Self::Output {
        (cqe.result().map(|n| n as usize), self.buf)
    }

    fn orphan(self, cqe: Cqe) {
        self.file.settled(cqe.result().map(drop));
    }
}
