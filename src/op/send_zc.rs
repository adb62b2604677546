//! `send(2)` without a copy: <https://man7.org/linux/man-pages/man3/io_uring_prep_send_zc.3.html>
#![allow(unsafe_code)]

use std::io;
use std::rc::Rc;

use corering_buffers::IoBuf;

use super::Sender;
use crate::driver::Op;
use crate::ring::{Cqe, Sqe, opcode};

/// Sends from the caller's own pages. Completes when the kernel needs them no longer (its
/// notification), which may be as late as the peer's acknowledgement.
pub(crate) struct SendZc<S, B> {
    pub(crate) socket: Rc<S>,
    pub(crate) buf: B,
}

// SAFETY: SEND_ZC only reads `len` bytes at `addr`, until its notification, which is its final
// completion.
unsafe impl<S: Sender, B: IoBuf> Op for SendZc<S, B> {
    type Output = (io::Result<usize>, B);
    const COMMITTED: bool = true;

    fn fill<'op>(&'op mut self, sqe: &mut Sqe<'op>) {
        let (start, len) = self.buf.parts();
        sqe.op(opcode::SEND_ZC)
            .fd(self.socket.fd())
            .lend(start, len)
            .op_flags(libc::MSG_NOSIGNAL.cast_unsigned());
    }

    fn complete(self, cqe: Cqe) -> Self::Output {
        let sent = cqe.result().map(|n| n as usize);
        (self.socket.sent(sent), self.buf)
    }
}
