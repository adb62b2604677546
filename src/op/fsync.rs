//! `fsync(2)`: <https://man7.org/linux/man-pages/man3/io_uring_prep_fsync.3.html>
#![allow(unsafe_code)]

use std::io;
use std::rc::Rc;

use super::Settle;
use crate::driver::Op;
use crate::ring::{Cqe, Sqe, opcode};

/// Makes a file's bytes durable. The kernel reports an error of writing them back once, so one
/// that nobody waits for is kept by the file.
pub(crate) struct Fsync<F> {
    pub(crate) file: Rc<F>,
    /// Only what is needed to read the bytes again, as `fdatasync(2)` does.
    pub(crate) data_only: bool,
}

// SAFETY: FSYNC touches no memory.
unsafe impl<F: Settle> Op for Fsync<F> {
    type Output = io::Result<()>;
    const COMMITTED: bool = true;

    fn fill<'op>(&'op mut self, sqe: &mut Sqe<'op>) {
        let flags = if self.data_only {
            opcode::FSYNC_DATASYNC
        } else {
            0
        };
        sqe.op(opcode::FSYNC).fd(self.file.fd()).op_flags(flags);
    }

    fn complete(self, cqe: Cqe) -> Self::Output {
        cqe.result().map(drop)
    }

    fn orphan(self, cqe: Cqe) {
        // One that was cancelled leaves its work to the next one, which is not to fail for that.
        let cancelled = cqe.res == -libc::ECANCELED;
        let synced = if cancelled {
            Ok(())
        } else {
            cqe.result().map(drop)
        };
        self.file.settled(synced);
    }
}
