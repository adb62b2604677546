//! `send(2)`: <https://man7.org/linux/man-pages/man3/io_uring_prep_send.3.html>
#![allow(unsafe_code)]

use std::io;
use std::rc::Rc;

use corering_buffers::{BufResult, IoBuf};

use super::{NO_OFFSET, Sender};
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
    #[inline]
    pub(crate) fn new(socket: Rc<S>, buf: B, all: bool) -> Self {
        let (done, len) = (0, 0);
        #[rustfmt::skip]
        return Send { socket, buf, done, len, all };
    }
}

// SAFETY: SEND and WRITE only read `len` bytes at `addr`.
unsafe impl<S: Sender, B: IoBuf> Op for Send<S, B> {
    /// `Err`: there is a rest, to be submitted again.
    type Output = Result<BufResult<usize, B>, Self>;
    const COMMITTED: bool = true;

    #[inline]
    fn fill<'op>(&'op mut self, sqe: &mut Sqe<'op>) {
        let (socket, done, (start, len)) = (&self.socket, self.done, self.buf.parts());
        self.len = len;
        sqe.fd(socket.fd());
        sqe.lend(start.wrapping_add(done), len.saturating_sub(done));
        match socket.is_pipe() {
            true => sqe.op(opcode::WRITE).offset(NO_OFFSET),
            false => sqe.op(opcode::SEND).op_flags(socket.send_flags(self.all)),
        };
    }

    #[inline(always)]
    fn complete(self, cqe: Cqe) -> Self::Output {
        // Piece by piece: an op that is moved as a whole is copied at each step.
        #[rustfmt::skip]
        let Send { socket, buf, done, len, all } = self;
        let done = done + usize::try_from(cqe.res).unwrap_or(0);
        if cqe.res >= 0 && (!all || done >= len) {
            socket.sent_well(done);
            return Ok((Ok(done), buf));
        }
        let error = match cqe.result() {
            Ok(0) => io::ErrorKind::WriteZero.into(),
            Ok(_) => {
                socket.took_a_part();
                #[rustfmt::skip]
                return Err(Send { socket, buf, done, len, all });
            }
            Err(e) => e,
        };
        Ok((socket.sent(Err(error)), buf))
    }

    fn orphan(self, cqe: Cqe) {
        if let Err(rest) = self.complete(cqe) {
            Rc::clone(&rest.socket).go_on(rest);
        }
    }
}
