//! `recv(2)`: <https://man7.org/linux/man-pages/man3/io_uring_prep_recv.3.html>, and of pipes
//! `read(2)`
#![allow(unsafe_code)]

use std::io;
use std::mem;
use std::rc::Rc;

use corering_buffers::IoBufMut;

use super::{NO_OFFSET, Receiver};
use crate::driver::{Op, copied, filled};
use crate::ring::{Cqe, Sqe, opcode};

/// Receives once, straight into the caller's buffer.
pub(crate) struct Recv<S, B> {
    pub(crate) socket: Rc<S>,
    pub(crate) buf: B,
    /// Nothing is there yet, so that the kernel need not try before it waits.
    pub(crate) poll_first: bool,
}

// SAFETY: RECV and READ write at most `len` bytes at `addr`, and the result is the number written.
unsafe impl<S: Receiver, B: IoBufMut> Op for Recv<S, B> {
    type Output = (io::Result<usize>, B);

    fn fill<'op>(&'op mut self, sqe: &mut Sqe<'op>) {
        let (start, len) = self.buf.parts_mut();
        sqe.fd(self.socket.fd()).lend_mut(start, len);
        if self.socket.is_pipe() {
            sqe.op(opcode::READ).offset(NO_OFFSET);
            return;
        }
        sqe.op(opcode::RECV);
        if self.poll_first {
            sqe.ioprio(opcode::POLL_FIRST);
        }
    }

    fn complete(mut self, cqe: Cqe) -> Self::Output {
        // First: a buffer may panic when it is told its length.
        self.socket.received_directly(cqe);
        (filled(cqe, &mut self.buf), self.buf)
    }

    fn orphan(mut self, cqe: Cqe) {
        let ending = Ending(&*self.socket);
        let bytes = copied(cqe, &mut self.buf);
        mem::forget(ending);
        self.socket.received_late(bytes);
    }
}

/// Ends a receive whose buffer panics when it is asked for what it has got.
struct Ending<'a, S: Receiver>(&'a S);

impl<S: Receiver> Drop for Ending<'_, S> {
    fn drop(&mut self) {
        self.0
            .received_late(Err(io::Error::from_raw_os_error(libc::ECANCELED)));
    }
}
