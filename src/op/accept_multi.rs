//! Multishot `accept4(2)`:
//! <https://man7.org/linux/man-pages/man3/io_uring_prep_multishot_accept.3.html>
#![allow(unsafe_code)]

use std::rc::Rc;

use corering_buffers::Lease;

use super::Acceptor;
use crate::driver::{Item, MultiOp};
use crate::ring::{Cqe, Sqe, opcode};

/// Accepts connections until an error or a cancel.
pub(crate) struct AcceptMulti<L>(pub(crate) Rc<L>);

// SAFETY: ACCEPT without an address writes no memory; every result is a descriptor that is ours.
unsafe impl<L: Acceptor> MultiOp for AcceptMulti<L> {
    fn fill<'op>(&'op self, sqe: &mut Sqe<'op>) {
        sqe.op(opcode::ACCEPT)
            .fd(self.0.fd())
            .op_flags(libc::SOCK_CLOEXEC as u32)
            .ioprio(opcode::ACCEPT_MULTISHOT);
    }

    fn item(&self, cqe: Cqe, _: impl FnOnce() -> Option<Lease>) -> Item {
        self.0.accepted(cqe.descriptor())
    }

    fn ended(self, _: Cqe) {
        self.0.accept_ended();
    }
}
