//! `connect(2)`: <https://man7.org/linux/man-pages/man3/io_uring_prep_connect.3.html>
#![allow(unsafe_code)]

use std::io;

use socket2::SockAddr;

use crate::driver::Op;
use crate::ring::{Cqe, Fd, Sqe, opcode};

/// Connects a socket, which belongs to the op until then: a late success is closed.
pub(crate) struct Connect {
    pub(crate) fd: Fd,
    /// Boxed: it is larger than a slot.
    pub(crate) address: Box<SockAddr>,
}

// SAFETY: CONNECT only reads `off` bytes at `addr`.
unsafe impl Op for Connect {
    type Output = io::Result<Fd>;

    fn fill<'op>(&'op mut self, sqe: &mut Sqe<'op>) {
        sqe.op(opcode::CONNECT)
            .fd(&self.fd)
            .lend(self.address.as_ptr().cast(), 0)
            .offset(u64::from(self.address.len()));
    }

    fn complete(self, cqe: Cqe) -> Self::Output {
        cqe.result().map(|_| self.fd)
    }
}
