//! `sendto(2)`: <https://man7.org/linux/man-pages/man3/io_uring_prep_sendto.3.html>
#![allow(unsafe_code)]

use std::rc::Rc;

use corering_buffers::{BufResult, IoBuf};

use super::MessageSender;
use crate::driver::Op;
use crate::ring::{Cqe, Name, Sqe, opcode};

/// Sends one message: all of it, or nothing. One that was submitted runs to its end, whoever waits
/// for it.
pub(crate) struct SendTo<S, B> {
    pub(crate) socket: Rc<S>,
    pub(crate) buf: B,
    /// Without a name it goes to the socket's peer.
    pub(crate) name: Name,
}

// SAFETY: SEND only reads `len` bytes at `addr` and as many at `off` as the name has.
unsafe impl<S: MessageSender, B: IoBuf> Op for SendTo<S, B> {
    type Output = BufResult<usize, B>;
    const COMMITTED: bool = true;

    #[inline]
    fn fill<'op>(&'op mut self, sqe: &mut Sqe<'op>) {
        let (start, len) = self.buf.parts();
        sqe.op(opcode::SEND)
            .fd(self.socket.fd())
            .lend(start, len)
            .destination(self.name.as_bytes())
            .op_flags(self.socket.flags());
    }

    #[inline]
    fn complete(self, cqe: Cqe) -> Self::Output {
        self.socket.sent();
        (cqe.result().map(|n| n as usize), self.buf)
    }

    fn orphan(self, cqe: Cqe) {
        self.socket.sent_unnoticed(cqe);
    }
}
