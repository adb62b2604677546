//! `splice(2)` from a pipe to a stream, whenever that has room:
//! <https://man7.org/linux/man-pages/man2/splice.2.html>
#![allow(unsafe_code)]

use std::{io, rc::Rc};

use super::{Poured, Send, Sender};
use crate::driver::{Driver, Op, Pipe};
use crate::ring::{Cqe, Sqe, opcode};

/// Pours what is in a pipe to a stream whenever that has room. Once submitted it runs to its end:
/// the bytes have left where they came from.
pub(crate) struct SpliceOut<S> {
    pub(crate) socket: Rc<S>,
    pub(crate) driver: Rc<Driver>,
    pub(crate) pipe: Pipe,
    /// Bytes in the pipe.
    pub(crate) left: usize,
}

impl<S: Sender> SpliceOut<S> {
    /// Pours as much as goes now.
    pub(crate) fn pour(mut self) -> Poured<S> {
        match self.pipe.pour(self.socket.fd(), self.left) {
            Ok(n) => self.left = self.left.saturating_sub(n),
            Err(error) => return self.fail(error),
        }
        if self.left > 0 {
            return Poured::Rest(self);
        }
        self.driver.return_pipe(self.pipe);
        Poured::All(self.socket.sent(Ok(0)).map(drop))
    }

    /// What is in the pipe is lost with it.
    fn fail(self, error: io::Error) -> Poured<S> {
        self.socket.torn();
        Poured::All(self.socket.sent(Err(error)).map(drop))
    }

    /// Copies the rest: the ring's own send knows how to wait.
    fn hand_over(self) -> Poured<S> {
        let bytes = match self.pipe.reader.drain(self.left) {
            Ok(bytes) => bytes,
            Err(error) => return self.fail(error),
        };
        self.driver.return_pipe(self.pipe);
        self.socket
            .go_on(Send::new(Rc::clone(&self.socket), bytes, true));
        Poured::HandedOver
    }
}

// SAFETY: POLL_ADD touches no memory.
unsafe impl<S: Sender> Op for SpliceOut<S> {
    type Output = Poured<S>;
    const COMMITTED: bool = true;

    fn fill<'op>(&'op mut self, sqe: &mut Sqe<'op>) {
        sqe.op(opcode::POLL_ADD).fd(self.socket.fd());
        sqe.op_flags(libc::POLLOUT as u32);
    }

    fn complete(self, cqe: Cqe) -> Self::Output {
        if let Err(error) = cqe.result() {
            return self.fail(error);
        }
        match self.pour() {
            // The poll also ends since the peer sends no more, and would again at once.
            Poured::Rest(rest) if cqe.res & i32::from(libc::POLLOUT) == 0 => rest.hand_over(),
            poured => poured,
        }
    }

    fn orphan(self, cqe: Cqe) {
        if let Poured::Rest(rest) = self.complete(cqe) {
            Rc::clone(&rest.socket).go_on(rest);
        }
    }
}
