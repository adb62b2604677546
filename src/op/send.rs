//! `send(2)`: <https://man7.org/linux/man-pages/man3/io_uring_prep_send.3.html>
#![allow(unsafe_code)]

use std::io;
use std::rc::Rc;

use corering_buffers::IoBuf;

use super::Sender;
use crate::driver::Op;
use crate::ring::{Cqe, Sqe, opcode};

/// Sends from `done` on. One that was submitted runs to its end, whoever waits for it.
pub(crate) struct Send<S, B> {
    pub(crate) socket: Rc<S>,
    pub(crate) buf: B,
    /// Bytes sent by earlier submissions.
    pub(crate) done: usize,
    /// Bytes in the buffer, as it said when it was lent last.
    pub(crate) len: usize,
    /// Whether all bytes are to be sent, not only what the kernel takes at once.
    pub(crate) all: bool,
}

impl<S: Sender, B: IoBuf> Send<S, B> {
    pub(crate) fn new(socket: Rc<S>, buf: B, all: bool) -> Self {
        Send {
            socket,
            buf,
            done: 0,
            len: 0,
            all,
        }
    }
}

/// What one submission has come to.
pub(crate) enum Sent<S, B> {
    /// The send has ended; the count is of all its submissions.
    Done(io::Result<usize>, B),
    /// The kernel took a part. The rest is to be submitted.
    More(Send<S, B>),
}

// SAFETY: SEND only reads `len` bytes at `addr`.
unsafe impl<S: Sender, B: IoBuf> Op for Send<S, B> {
    type Output = Sent<S, B>;
    const COMMITTED: bool = true;

    #[inline]
    fn fill<'op>(&'op mut self, sqe: &mut Sqe<'op>) {
        let (start, len) = self.buf.parts();
        self.len = len;
        let wait = if self.all { libc::MSG_WAITALL } else { 0 };
        sqe.op(opcode::SEND)
            .fd(self.socket.fd())
            .lend(start.wrapping_add(self.done), len.saturating_sub(self.done))
            .op_flags((libc::MSG_NOSIGNAL | wait).cast_unsigned());
    }

    #[inline]
    fn complete(mut self, cqe: Cqe) -> Self::Output {
        let sent = cqe.result();
        self.done += sent.as_ref().map_or(0, |n| *n as usize);
        let short = self.all && self.done < self.len;
        let result = match sent {
            Ok(n) if short && n > 0 => return Sent::More(self),
            Ok(_) if short => Err(io::ErrorKind::WriteZero.into()),
            sent => sent.map(|_| self.done),
        };
        self.socket.sent(&result);
        Sent::Done(result, self.buf)
    }

    fn orphan(self, cqe: Cqe) {
        if let Sent::More(op) = self.complete(cqe) {
            let socket = Rc::clone(&op.socket);
            if let Some(key) = socket.driver().submit_detached(op) {
                socket.continued(key);
            }
        }
    }
}
