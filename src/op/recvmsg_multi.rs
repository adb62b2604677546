//! Multishot `recvmsg(2)` into provided buffers:
//! <https://man7.org/linux/man-pages/man3/io_uring_prep_recvmsg_multishot.3.html>
#![allow(unsafe_code)]

use std::rc::Rc;

use corering_buffers::{BufRing, Lease};

use super::{Message, MessageReceiver};
use crate::driver::{DATAGRAM_GROUP, Item, MultiOp};
use crate::ring::{ControlData, Cqe, MessageHeader, Name, Parts, Rooms, Sqe, opcode};

/// Receives messages, each with its sender, until an error, a message without bytes, a lack of
/// buffers, or a cancel.
pub(crate) struct RecvMsgMulti<S> {
    pub(crate) socket: Rc<S>,
    buffers: Rc<BufRing>,
    rooms: Rooms,
    /// Boxed: it is larger than a slot.
    header: Box<MessageHeader>,
}

impl<S: MessageReceiver> RecvMsgMulti<S> {
    pub(crate) fn new(socket: Rc<S>, buffers: Rc<BufRing>, rooms: Rooms) -> Self {
        let mut header = Box::<MessageHeader>::default();
        header.set_rooms(rooms);
        RecvMsgMulti {
            socket,
            buffers,
            rooms,
            header,
        }
    }

    /// The message in a buffer.
    #[inline]
    fn message(&self, mut lease: Lease) -> Option<Message> {
        let parts = Parts::of(&lease, self.rooms)?;
        let name = Name::from_bytes(&lease[parts.name]);
        let control = Some(parts.control)
            .filter(|control| !control.is_empty())
            .map(|control| Box::new(ControlData::received(&lease[control])));
        lease.truncate(parts.payload.end);
        lease.advance(parts.payload.start);
        Some(Message {
            payload: lease,
            name,
            control,
            flags: parts.flags,
        })
    }
}

// SAFETY: RECVMSG with a buffer group reads the header, and writes only buffers that the group's
// ring provides, which it names in its completions with the number of bytes written.
unsafe impl<S: MessageReceiver> MultiOp for RecvMsgMulti<S> {
    fn fill<'op>(&'op self, sqe: &mut Sqe<'op>) {
        sqe.op(opcode::RECVMSG)
            .fd(self.socket.fd())
            .address(&*self.header)
            .len(1)
            .ioprio(opcode::RECV_MULTISHOT)
            .buffer_group(DATAGRAM_GROUP)
            .op_flags(libc::MSG_CMSG_CLOEXEC.cast_unsigned());
    }

    fn buffers<'a>(&'a self, _: &'a Rc<BufRing>) -> &'a Rc<BufRing> {
        &self.buffers
    }

    #[inline]
    fn item(&self, cqe: Cqe, lease: impl FnOnce() -> Option<Lease>) -> Item {
        let message = lease().and_then(|lease| self.message(lease));
        self.socket.received(cqe, message)
    }

    fn ended(self, cqe: Cqe) {
        self.socket.receive_ended(cqe);
    }
}
