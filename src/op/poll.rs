//! `poll(2)` of one descriptor, once:
//! <https://man7.org/linux/man-pages/man3/io_uring_prep_poll_add.3.html>
#![allow(unsafe_code)]

use std::io;
use std::sync::Arc;

use crate::driver::Op;
use crate::ring::{Cqe, Fd, Sqe, opcode};

/// Waits until one of `events` (`POLLIN`, …) holds; the output says which do.
pub(crate) struct Poll {
    /// Shared with whoever makes it ready, a signal handler for one.
    pub(crate) fd: Arc<Fd>,
    pub(crate) events: u32,
}

// SAFETY: POLL_ADD touches no memory.
unsafe impl Op for Poll {
    type Output = io::Result<u32>;

    fn fill<'op>(&'op mut self, sqe: &mut Sqe<'op>) {
        sqe.op(opcode::POLL_ADD).fd(&self.fd).op_flags(self.events);
    }

    fn complete(self, cqe: Cqe) -> Self::Output {
        cqe.result()
    }
}
