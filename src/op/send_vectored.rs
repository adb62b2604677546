//! `sendmsg(2)`: <https://man7.org/linux/man-pages/man3/io_uring_prep_sendmsg.3.html>
#![allow(unsafe_code)]

use std::io;
use std::rc::Rc;

use corering_buffers::{IoBufs, IoVecs};

use super::Sender;
use crate::driver::Op;
use crate::ring::{Cqe, MessageHeader, Sqe, opcode};

/// Sends several buffers in order, as many bytes as the kernel takes at once.
pub(crate) struct SendVectored<S, B> {
    pub(crate) socket: Rc<S>,
    pub(crate) bufs: B,
    /// What the kernel reads besides the bytes. Boxed: it is larger than a slot.
    message: Box<(MessageHeader, IoVecs)>,
}

impl<S: Sender, B: IoBufs> SendVectored<S, B> {
    pub(crate) fn new(socket: Rc<S>, bufs: B) -> Self {
        SendVectored {
            socket,
            bufs,
            message: Box::new((
                MessageHeader::default(),
                IoVecs::lend(&[] as &[&'static str; 0]),
            )),
        }
    }
}

// SAFETY: SENDMSG only reads the header, its vectors and what they point to: the first two belong
// to the op, the rest is lent by `bufs`.
unsafe impl<S: Sender, B: IoBufs> Op for SendVectored<S, B> {
    type Output = (io::Result<usize>, B);
    const COMMITTED: bool = true;

    fn fill<'op>(&'op mut self, sqe: &mut Sqe<'op>) {
        let (header, vecs) = &mut *self.message;
        *vecs = IoVecs::lend(&self.bufs);
        header.set_vectors(vecs.as_ptr().cast(), vecs.len());
        sqe.op(opcode::SENDMSG)
            .fd(self.socket.fd())
            .address(header)
            .len(1)
            .op_flags(libc::MSG_NOSIGNAL.cast_unsigned());
    }

    fn complete(self, cqe: Cqe) -> Self::Output {
        let sent = cqe.result().map(|n| n as usize);
        (self.socket.sent(sent), self.bufs)
    }
}
