//! `sendmsg(2)` of many datagrams as one, which the kernel cuts again (`UDP_SEGMENT`, GSO):
//! <https://man7.org/linux/man-pages/man7/udp.7.html>
#![allow(unsafe_code)]

use std::rc::Rc;

use corering_buffers::IoBuf;

use super::{MessageSender, Train};
use crate::driver::Op;
use crate::ring::{ControlData, Cqe, Outgoing, Sqe, opcode};

/// Sends a train. The kernel takes all of it, or nothing.
pub(crate) struct SendTrain<S> {
    socket: Rc<S>,
    /// Boxed: it is larger than a slot.
    train: Box<Train>,
    /// Boxed, as all that it points to.
    message: Box<Outgoing>,
}

impl<S: MessageSender> SendTrain<S> {
    pub(crate) fn new(socket: Rc<S>, train: Train) -> Self {
        let segment = train.first.parts().1 as u16;
        let mut control = ControlData::default();
        control.push(libc::SOL_UDP, libc::UDP_SEGMENT, &segment.to_ne_bytes());
        SendTrain {
            socket,
            message: Outgoing::new(train.name.clone(), control.encoded()),
            train: Box::new(train),
        }
    }
}

// SAFETY: SENDMSG only reads the header and what it points to: name, control data and the vectors
// belong to the op, the bytes to its buffers.
unsafe impl<S: MessageSender> Op for SendTrain<S> {
    type Output = ();
    const COMMITTED: bool = true;

    fn fill<'op>(&'op mut self, sqe: &mut Sqe<'op>) {
        let Train { first, rest, .. } = &*self.train;
        let parts = std::iter::once(first).chain(rest).map(IoBuf::parts);
        sqe.op(opcode::SENDMSG)
            .fd(self.socket.fd())
            .address(self.message.lend(parts))
            .len(1)
            .op_flags(self.socket.flags());
    }

    fn complete(self, cqe: Cqe) {
        self.socket.train_ended(*self.train, cqe);
    }
}
