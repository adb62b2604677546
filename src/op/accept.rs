//! `accept4(2)`: <https://man7.org/linux/man-pages/man3/io_uring_prep_accept.3.html>
#![allow(unsafe_code)]

use std::rc::Rc;

use super::Acceptor;
use crate::driver::Op;
use crate::ring::{Cqe, Sqe, opcode};

/// Accepts one connection, for whoever waits at the listener.
pub(crate) struct Accept<L>(pub(crate) Rc<L>);

// SAFETY: ACCEPT without an address writes no memory; its result is a descriptor that is ours.
unsafe impl<L: Acceptor> Op for Accept<L> {
    type Output = ();

    fn fill<'op>(&'op mut self, sqe: &mut Sqe<'op>) {
        sqe.op(opcode::ACCEPT)
            .fd(self.0.fd())
            .op_flags(libc::SOCK_CLOEXEC as u32);
    }

    fn complete(self, cqe: Cqe) {
        let item = self.0.accepted(cqe.descriptor());
        self.0.accept_ended();
        if let Some(waker) = item.wake {
            waker.wake();
        }
    }
}
