//! Does nothing; measures the cost of everything else.
//! <https://man7.org/linux/man-pages/man3/io_uring_prep_nop.3.html>
#![allow(unsafe_code)]

use std::io;

use crate::driver::Op;
use crate::ring::{Cqe, Sqe, opcode};

pub(crate) struct Nop;

// SAFETY: NOP touches no memory.
unsafe impl Op for Nop {
    type Output = io::Result<()>;

    fn fill<'op>(&'op mut self, sqe: &mut Sqe<'op>) {
        sqe.op(opcode::NOP);
    }

    fn complete(self, cqe: Cqe) -> Self::Output {
        cqe.result().map(drop)
    }
}
