//! `read(2)` of the core's eventfd, by which threads without a ring end its sleep:
//! <https://man7.org/linux/man-pages/man2/eventfd.2.html>
#![allow(unsafe_code)]

use std::cell::Cell;
use std::rc::Rc;
use std::sync::Arc;

use crate::driver::Op;
use crate::ring::{Cqe, Fd, Sqe, opcode};

/// Waits for one kick. Nobody waits for the op itself: its completion is all that it is for.
pub(crate) struct Kick {
    pub(crate) eventfd: Arc<Fd>,
    pub(crate) armed: Rc<Cell<bool>>,
    /// The kicks since the last read. Nobody looks at them.
    pub(crate) count: u64,
}

// SAFETY: READ of an eventfd writes eight bytes at `addr`: the op's own `count`.
unsafe impl Op for Kick {
    type Output = ();

    fn fill<'op>(&'op mut self, sqe: &mut Sqe<'op>) {
        sqe.op(opcode::READ)
            .fd(&self.eventfd)
            .address_mut(&mut self.count)
            .len(8);
    }

    fn complete(self, _: Cqe) {
        self.armed.set(false);
    }
}
