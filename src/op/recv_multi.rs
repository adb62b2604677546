//! Multishot `recv(2)` into provided buffers:
//! <https://man7.org/linux/man-pages/man3/io_uring_prep_recv_multishot.3.html>
#![allow(unsafe_code)]

use std::rc::Rc;

use corering_buffers::Lease;

use super::Receiver;
use crate::driver::{BUFFER_GROUP, Item, MultiOp};
use crate::ring::{Cqe, Sqe, opcode};

/// Receives until the end of the stream, an error, a lack of buffers, or a cancel.
pub(crate) struct RecvMulti<S>(pub(crate) Rc<S>);

// SAFETY: RECV with a buffer group writes only buffers that the core's ring provides, which it
// names in its completions with the number of bytes written.
unsafe impl<S: Receiver> MultiOp for RecvMulti<S> {
    fn fill<'op>(&'op self, sqe: &mut Sqe<'op>) {
        sqe.op(opcode::RECV)
            .fd(self.0.fd())
            .ioprio(opcode::RECV_MULTISHOT)
            .buffer_group(BUFFER_GROUP);
    }

    #[inline(always)]
    fn item(&self, cqe: Cqe, lease: impl FnOnce() -> Option<Lease>) -> Item {
        self.0.received(cqe, lease)
    }

    fn ended(self, cqe: Cqe) {
        self.0.receive_ended(cqe);
    }
}
