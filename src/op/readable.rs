//! `poll(2)` of a stream, until there is something to receive:
//! <https://man7.org/linux/man-pages/man3/io_uring_prep_poll_add.3.html>
#![allow(unsafe_code)]

use std::io;
use std::rc::Rc;

use super::Receiver;
use crate::driver::Op;
use crate::ring::{Cqe, Sqe, opcode};

/// Waits for bytes, the end or an error, and takes none of them.
pub(crate) struct Readable<S> {
    pub(crate) socket: Rc<S>,
}

// SAFETY: POLL_ADD touches no memory.
unsafe impl<S: Receiver> Op for Readable<S> {
    type Output = io::Result<()>;

    fn fill<'op>(&'op mut self, sqe: &mut Sqe<'op>) {
        sqe.op(opcode::POLL_ADD)
            .fd(self.socket.fd())
            .op_flags(libc::POLLIN as u32);
    }

    fn complete(self, cqe: Cqe) -> Self::Output {
        self.socket.polled();
        cqe.result().map(drop)
    }
}
