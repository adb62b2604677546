//! `sendmsg(2)` of one message with control data:
//! <https://man7.org/linux/man-pages/man3/io_uring_prep_sendmsg.3.html>
#![allow(unsafe_code)]

use std::rc::Rc;

use corering_buffers::{BufResult, IoBuf};

use super::MessageSender;
use crate::driver::Op;
use crate::ring::{ControlData, Cqe, Name, Outgoing, Sqe, opcode};

/// As [`SendTo`](super::SendTo), with control data. Descriptors in it stay open until it has ended,
/// and are closed then: the kernel has duplicates of its own.
pub(crate) struct SendMsg<S, B> {
    pub(crate) socket: Rc<S>,
    pub(crate) buf: B,
    /// Boxed, as all that it points to.
    message: Box<Outgoing>,
    #[expect(
        dead_code,
        reason = "keeps the descriptors open that the message names"
    )]
    control: Option<Box<ControlData>>,
}

impl<S: MessageSender, B: IoBuf> SendMsg<S, B> {
    pub(crate) fn new(
        socket: Rc<S>,
        buf: B,
        name: Name,
        control: Option<Box<ControlData>>,
    ) -> Self {
        let encoded = control.as_ref().map(|control| control.encoded());
        SendMsg {
            socket,
            buf,
            message: Outgoing::new(name, encoded.unwrap_or_default()),
            control,
        }
    }
}

// SAFETY: SENDMSG only reads the header and what it points to: name, control data and the vector
// belong to the op, the bytes to its buffer.
unsafe impl<S: MessageSender, B: IoBuf> Op for SendMsg<S, B> {
    type Output = BufResult<usize, B>;
    const COMMITTED: bool = true;

    fn fill<'op>(&'op mut self, sqe: &mut Sqe<'op>) {
        sqe.op(opcode::SENDMSG)
            .fd(self.socket.fd())
            .address(self.message.lend([self.buf.parts()]))
            .len(1)
            .op_flags(self.socket.flags());
    }

    fn complete(self, cqe: Cqe) -> Self::Output {
        self.socket.sent();
        (cqe.result().map(|n| n as usize), self.buf)
    }

    fn orphan(self, cqe: Cqe) {
        self.socket.sent_unnoticed(cqe);
    }
}
