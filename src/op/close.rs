//! `close(2)`: <https://man7.org/linux/man-pages/man3/io_uring_prep_close.3.html>
#![allow(unsafe_code)]

use std::io;

use crate::driver::Op;
use crate::ring::{Cqe, Fd, Sqe, opcode};

/// Closes a descriptor and reports what the kernel says about it.
pub(crate) struct Close(pub(crate) Fd);

// SAFETY: CLOSE touches no memory. The descriptor is the op's own, and `complete` forgets it.
unsafe impl Op for Close {
    type Output = io::Result<()>;
    const COMMITTED: bool = true;

    fn fill<'op>(&'op mut self, sqe: &mut Sqe<'op>) {
        sqe.op(opcode::CLOSE).fd(&self.0);
    }

    fn complete(self, cqe: Cqe) -> Self::Output {
        let closed = cqe.result();
        // Linux releases the number even if it reports an error. Only an op that never ran (its
        // runtime is gone) leaves it to us.
        match &closed {
            Err(e) if e.raw_os_error() == Some(libc::ECANCELED) => drop(self.0),
            _ => {
                self.0.into_raw();
            }
        }
        closed.map(drop)
    }
}
