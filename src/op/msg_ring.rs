//! A completion in another ring:
//! <https://man7.org/linux/man-pages/man3/io_uring_prep_msg_ring.3.html>
#![allow(unsafe_code)]

use std::io;
use std::os::fd::RawFd;

use crate::driver::{MESSAGE, Op};
use crate::ring::{Cqe, Sqe, opcode};

/// Posts a completion to the ring `target`, which ends its wait.
pub(crate) struct MsgRing {
    pub(crate) target: RawFd,
}

// SAFETY: MSG_RING with data touches no memory; its `user_data` names no op in the other ring.
unsafe impl Op for MsgRing {
    type Output = io::Result<()>;

    fn fill<'op>(&'op mut self, sqe: &mut Sqe<'op>) {
        sqe.op(opcode::MSG_RING).raw_fd(self.target).offset(MESSAGE);
    }

    fn complete(self, cqe: Cqe) -> Self::Output {
        cqe.result().map(drop)
    }
}
