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
    /// Bytes written by earlier submissions of a write whose future is gone.
    done: usize,
    /// Bytes in the buffer, as it said when it was lent.
    len: usize,
}

impl<F: Settle, B: IoBuf> Write<F, B> {
    pub(crate) fn new(file: Rc<F>, buf: B, offset: u64) -> Self {
        Write {
            file,
            buf,
            offset,
            done: 0,
            len: 0,
        }
    }
}

// SAFETY: WRITE only reads `len` bytes at `addr`.
unsafe impl<F: Settle, B: IoBuf> Op for Write<F, B> {
    type Output = (io::Result<usize>, B);
    const COMMITTED: bool = true;

    fn fill<'op>(&'op mut self, sqe: &mut Sqe<'op>) {
        let (start, len) = self.buf.parts();
        self.len = len;
        // At the file's end, which is no offset to add to, the rest goes to its end again.
        let offset = self.offset.saturating_add(self.done as u64);
        sqe.op(opcode::WRITE)
            .fd(self.file.fd())
            .lend(start.wrapping_add(self.done), len.saturating_sub(self.done))
            .offset(offset);
    }

    fn complete(self, cqe: Cqe) -> Self::Output {
        (cqe.result().map(|n| n as usize), self.buf)
    }

    fn orphan(mut self, cqe: Cqe) {
        // Nobody is left who could write the rest of one that was cut short.
        let n = usize::try_from(cqe.res).unwrap_or(0);
        self.done += n;
        if n > 0 && self.done < self.len {
            return Rc::clone(&self.file).go_on(self);
        }
        let missing = self.done < self.len;
        let result = cqe.result().and_then(|_| match missing {
            true => Err(io::ErrorKind::WriteZero.into()),
            false => Ok(()),
        });
        self.file.settled(result);
    }
}
