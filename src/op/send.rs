//! `send(2)`: <https://man7.org/linux/man-pages/man3/io_uring_prep_send.3.html>
#![allow(unsafe_code)]

use std::io;
use std::rc::Rc;

use corering_buffers::{BufResult, IoBuf};

use super::Sender;
use crate::driver::Op;
use crate::ring::{Cqe, Sqe, opcode};

/// Sends what is left of `buf`. One that was submitted runs to its end, whoever waits for it.
pub(crate) struct Send<S, B> {
    pub(crate) socket: Rc<S>,
    pub(crate) buf: B,
    pub(crate) progress: Progress,
}

/// How far a send has come.
pub(crate) struct Progress {
    /// Bytes sent by earlier submissions.
    pub(crate) done: usize,
    /// Bytes in the buffer, as it said when it was lent last.
    pub(crate) len: usize,
    /// Whether all bytes are to be sent, not only what the kernel takes at once.
    pub(crate) all: bool,
}

impl Progress {
    /// Takes the completion of one submission. `Some` is the send's result, of all its submissions:
    /// it has ended. `None`: there is a rest, to be submitted again.
    #[inline(always)]
    pub(crate) fn advance(&mut self, cqe: Cqe) -> Option<io::Result<usize>> {
        self.done += usize::try_from(cqe.res).unwrap_or(0);
        let short = self.all && self.done < self.len;
        match cqe.result() {
            Ok(_) if !short => Some(Ok(self.done)),
            Ok(0) => Some(Err(io::ErrorKind::WriteZero.into())),
            Ok(_) => None,
            Err(e) => Some(Err(e)),
        }
    }
}

impl<S: Sender, B: IoBuf> Send<S, B> {
    #[inline]
    pub(crate) fn new(socket: Rc<S>, buf: B, all: bool) -> Self {
        let (done, len) = (0, 0);
        Send {
            socket,
            buf,
            progress: Progress { done, len, all },
        }
    }
}

// SAFETY: SEND only reads `len` bytes at `addr`.
unsafe impl<S: Sender, B: IoBuf> Op for Send<S, B> {
    /// `Err`: there is a rest, to be submitted again.
    type Output = Result<BufResult<usize, B>, Self>;
    const COMMITTED: bool = true;

    #[inline]
    fn fill<'op>(&'op mut self, sqe: &mut Sqe<'op>) {
        let (start, len) = self.buf.parts();
        let progress = &mut self.progress;
        progress.len = len;
        let wait = if progress.all { libc::MSG_WAITALL } else { 0 };
        sqe.op(opcode::SEND)
            .fd(self.socket.fd())
            .lend(
                start.wrapping_add(progress.done),
                len.saturating_sub(progress.done),
            )
            .op_flags((libc::MSG_NOSIGNAL | wait).cast_unsigned());
    }

    // Field by field: an op that is moved as a whole is copied at each step.
    #[inline(always)]
    fn complete(self, cqe: Cqe) -> Self::Output {
        let Send {
            socket,
            buf,
            mut progress,
        } = self;
        let Some(result) = progress.advance(cqe) else {
            return Err(Send {
                socket,
                buf,
                progress,
            });
        };
        socket.sent(&result);
        Ok((result, buf))
    }

    fn orphan(self, cqe: Cqe) {
        if let Err(rest) = self.complete(cqe) {
            Rc::clone(&rest.socket).go_on(rest);
        }
    }
}
