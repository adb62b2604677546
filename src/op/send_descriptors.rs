//! `sendmsg(2)` on a stream, with descriptors beside the bytes:
//! <https://man7.org/linux/man-pages/man3/io_uring_prep_sendmsg.3.html>
#![allow(unsafe_code)]

use std::io;
use std::rc::Rc;

use corering_buffers::IoBuf;

use super::Sender;
use crate::driver::Op;
use crate::ring::{ControlData, Cqe, Name, Outgoing, Sqe, opcode};

/// Sends as many bytes as the kernel takes at once, with descriptors beside the first of them. They
/// stay open until it has ended: the kernel has duplicates of its own then.
pub(crate) struct SendDescriptors<S, B> {
    pub(crate) socket: Rc<S>,
    pub(crate) buf: B,
    /// Boxed, as all that it points to.
    message: Box<Outgoing>,
    control: Box<ControlData>,
}

impl<S: Sender, B: IoBuf> SendDescriptors<S, B> {
    pub(crate) fn new(socket: Rc<S>, (buf, control): (B, Box<ControlData>)) -> Self {
        SendDescriptors {
            socket,
            buf,
            message: Outgoing::new(Name::default(), control.encoded()),
            control,
        }
    }
}

// SAFETY: SENDMSG only reads the header and what it points to: control data and the vector belong
// to the op, the bytes to its buffer.
unsafe impl<S: Sender, B: IoBuf> Op for SendDescriptors<S, B> {
    type Output = (io::Result<usize>, (B, Box<ControlData>));
    const COMMITTED: bool = true;

    fn fill<'op>(&'op mut self, sqe: &mut Sqe<'op>) {
        sqe.op(opcode::SENDMSG)
            .fd(self.socket.fd())
            .address(self.message.lend([self.buf.parts()]))
            .len(1)
            .op_flags(libc::MSG_NOSIGNAL.cast_unsigned());
    }

    fn complete(self, cqe: Cqe) -> Self::Output {
        let sent = cqe.result().map(|n| n as usize);
        (self.socket.sent(sent), (self.buf, self.control))
    }
}
