//! `recv(2)` into memory of our own, for a stream that found no provided buffer:
//! <https://man7.org/linux/man-pages/man3/io_uring_prep_recv.3.html>
#![allow(unsafe_code)]

use std::rc::Rc;

use super::Receiver;
use crate::driver::{Driver, Op, copied};
use crate::ring::{Cqe, Sqe, opcode};

/// Receives once, for whoever reads next. Nobody waits for the op itself.
pub(crate) struct RecvOwned<S> {
    pub(crate) socket: Rc<S>,
    pub(crate) driver: Rc<Driver>,
    pub(crate) buf: Vec<u8>,
}

// SAFETY: RECV writes at most `len` bytes at `addr`, and its result is the number written.
unsafe impl<S: Receiver> Op for RecvOwned<S> {
    type Output = ();

    fn fill<'op>(&'op mut self, sqe: &mut Sqe<'op>) {
        let spare = self.buf.spare_capacity_mut();
        let (start, len) = (spare.as_mut_ptr().cast::<u8>(), spare.len());
        sqe.op(opcode::RECV)
            .fd(self.socket.fd())
            .lend_mut(start, len)
            .ioprio(opcode::POLL_FIRST);
    }

    fn complete(mut self, cqe: Cqe) {
        self.driver.return_bytes(self.buf.capacity());
        self.socket.received_late(copied(cqe, &mut self.buf));
    }
}
