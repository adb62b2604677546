//! `ftruncate(2)`: <https://man7.org/linux/man-pages/man3/io_uring_prep_ftruncate.3.html>
#![allow(unsafe_code)]

use std::io;
use std::rc::Rc;

use super::Settle;
use crate::driver::Op;
use crate::ring::{Cqe, Sqe, opcode};

/// Cuts a file, or makes it longer. As a write, it runs to its end, whoever waits for it.
pub(crate) struct Ftruncate<F> {
    pub(crate) file: Rc<F>,
    pub(crate) len: u64,
}

// SAFETY: FTRUNCATE touches no memory.
unsafe impl<F: Settle> Op for Ftruncate<F> {
    type Output = io::Result<()>;
    const COMMITTED: bool = true;

    fn fill<'op>(&'op mut self, sqe: &mut Sqe<'op>) {
        sqe.op(opcode::FTRUNCATE)
            .fd(self.file.fd())
            .offset(self.len);
    }

    fn complete(self, cqe: Cqe) -> Self::Output {
        match cqe.result() {
            // Before 6.9 the ring says so of the opcode. What is wrong with the length or with the
            // file is found again by the plain call.
            Err(e) if e.raw_os_error() == Some(libc::EINVAL) => self.file.fd().ftruncate(self.len),
            set => set.map(drop),
        }
    }

    fn orphan(self, cqe: Cqe) {
        let file = Rc::clone(&self.file);
        file.settled(self.complete(cqe));
    }
}
