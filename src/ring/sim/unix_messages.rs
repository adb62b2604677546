//! Unix datagrams and records: what ops and calls do with them.
//!
//! Nothing is dropped: a message is in its receiver's queue when its send has completed, and a send
//! waits while the sender has as much on its way as its buffer holds, or while the receiver of
//! datagrams, unless it has the sender for its peer, has as many as its queue may. Descriptors are
//! not passed: those that a program could send are the real kernel's, `EBADF` here.

use socket2::SockAddr;

use super::calls::unix_address;
use super::kernel::{Args, Kernel};
use super::messages::{finish_message, laid_out, timestamp};
use super::ops::Tried;
use super::table::Id;
use super::unix::{Kind, State};
use crate::ring::Name;
use crate::ring::sqe::RawSqe;

/// What the kernel counts for each message besides its bytes.
const OVERHEAD: usize = 768;
/// `net.unix.max_dgram_qlen` as kernels have had it.
const QUEUES: [usize; 2] = [10, 512];

/// One message in the queue of its receiver.
#[derive(Debug)]
pub(super) struct Parcel {
    pub(super) bytes: Vec<u8>,
    /// The sender, which may be gone, and its name.
    pub(super) sender: Id,
    from: Option<Vec<u8>>,
    sent_ns: u64,
}

/// What came of a send.
enum Sending {
    Sent,
    /// As much of the sender's is on its way as may be.
    NoRoomHere,
    /// The receiver's queue is full.
    NoRoomThere,
}

impl Parcel {
    fn size(&self) -> usize {
        self.bytes.len() + OVERHEAD
    }
}

impl Kernel {
    /// Gives a socket of datagrams its peer.
    pub(super) fn connect_unix(&mut self, id: Id, address: &SockAddr) -> Result<(), i32> {
        let host = self.objects.find(id).ok_or(libc::EBADF)?.host;
        let other = self.unix_at(host, address, self.unix(id)?.kind)?;
        self.may_send(id, other)?;
        let name = self.unix(other)?.local.clone();
        let socket = self.unix_mut(id)?;
        let before = socket.other.replace(other);
        (socket.peer, socket.state) = (name, State::Connected);
        if let Some(before) = before.filter(|before| *before != other) {
            self.turned_away(id, before);
        }
        Ok(())
    }

    /// A socket has turned to another peer: what it had received is lost, and the one before is
    /// told so, if that one still means it.
    fn turned_away(&mut self, id: Id, before: Id) {
        if self.forget_messages(id)
            && let Ok(socket) = self.unix_mut(before)
            && socket.other == Some(id)
        {
            socket.error = Some(libc::ECONNRESET);
            self.stir(before);
        }
    }

    /// Whether `other` takes datagrams of `id`.
    fn may_send(&self, id: Id, other: Id) -> Result<(), i32> {
        match self.unix(other)?.other {
            Some(peer) if peer != id => Err(libc::EPERM),
            _ => Ok(()),
        }
    }

    /// Empties a queue of messages. Says whether there were any.
    pub(super) fn forget_messages(&mut self, id: Id) -> bool {
        let Ok(socket) = self.unix_mut(id) else {
            return false;
        };
        let messages = std::mem::take(&mut socket.messages);
        let any = !messages.is_empty();
        for message in messages {
            self.consumed(&message);
        }
        self.stir_senders(id);
        any
    }

    /// A message is in no queue any more.
    pub(super) fn consumed(&mut self, message: &Parcel) {
        if let Ok(sender) = self.unix_mut(message.sender) {
            sender.in_transit -= message.size();
            self.stir(message.sender);
        }
    }

    /// There may be room for those who wait for it.
    fn stir_senders(&mut self, id: Id) {
        let senders = self.unix_mut(id).map(|it| std::mem::take(&mut it.senders));
        for sender in senders.into_iter().flatten() {
            self.stir(sender);
        }
    }

    pub(super) fn try_send_parcel(&mut self, op: Id, id: Id, sqe: &RawSqe) -> Tried {
        let Some(in_flight) = self.ops.find(op) else {
            return Tried::Wait;
        };
        let mut bytes = Vec::new();
        for piece in in_flight.args.lent() {
            piece.append_to(&mut bytes, piece.len());
        }
        let name = match &in_flight.args {
            Args::Message(_, outbound) => outbound.name.clone(),
            _ => Name::default(),
        };
        let len = bytes.len() as i32;
        let waits = sqe.op_flags & libc::MSG_DONTWAIT.cast_unsigned() == 0;
        match self.send_parcel(id, &name, bytes) {
            Ok(Sending::Sent) => Tried::Done(len, 0),
            Ok(_) if !waits => Tried::failed(libc::EAGAIN),
            Ok(Sending::NoRoomHere) => Tried::Wait,
            Ok(Sending::NoRoomThere) => {
                // The bytes are taken already, and what is sent when there is room is empty.
                if let Some(Args::Message(lent, _)) = self.ops.find_mut(op).map(|op| &mut op.args) {
                    lent.clear();
                } else if let Some(op) = self.ops.find_mut(op) {
                    op.args = Args::None;
                }
                Tried::Wait
            }
            Err(errno) => Tried::failed(errno),
        }
    }

    /// Whether a send has descriptors beside its bytes.
    pub(super) fn passes_descriptors(&self, op: Id) -> bool {
        let args = self.ops.find(op).map(|op| &op.args);
        matches!(args, Some(Args::Message(_, outbound)) if outbound.passes_descriptors)
    }

    fn send_parcel(&mut self, id: Id, name: &Name, bytes: Vec<u8>) -> Result<Sending, i32> {
        let socket = self.unix_mut(id)?;
        let is_record = socket.kind == Kind::Records;
        if is_record && let Some(errno) = socket.error.take() {
            return Err(errno);
        }
        let is_named = !name.as_bytes().is_empty() && !is_record;
        if !is_named && !matches!(socket.state, State::Connected) {
            return Err(libc::ENOTCONN);
        }
        if bytes.len() > socket.send_buffer.saturating_sub(32) {
            return Err(libc::EMSGSIZE);
        }
        if let Some(errno) = socket.error.take() {
            return Err(errno);
        }
        if socket.is_write_shut {
            return Err(libc::EPIPE);
        }
        if socket.in_transit >= socket.send_buffer {
            return Ok(Sending::NoRoomHere);
        }
        let target = match is_named {
            true => {
                let host = self.objects.find(id).ok_or(libc::EBADF)?.host;
                self.unix_at(
                    host,
                    &name.to_socket2().map_err(|_| libc::EINVAL)?,
                    Kind::Datagrams,
                )?
            }
            false => self.peer_of(id)?,
        };
        if !is_record {
            self.may_send(id, target)?;
            if self.is_full_for(id, target) {
                self.unix_mut(target)?.senders.push(id);
                return Ok(Sending::NoRoomThere);
            }
        }
        self.deliver_parcel(id, target, bytes)?;
        Ok(Sending::Sent)
    }

    /// The peer of a socket. One of datagrams that is gone is forgotten.
    fn peer_of(&mut self, id: Id) -> Result<Id, i32> {
        let other = self.unix(id)?.other.ok_or(libc::ENOTCONN)?;
        if self.unix(other).is_ok() {
            return Ok(other);
        }
        let socket = self.unix_mut(id)?;
        if socket.kind == Kind::Records {
            return Err(libc::EPIPE);
        }
        (socket.other, socket.peer, socket.state) = (None, None, State::Fresh);
        self.forget_messages(id);
        Err(libc::ECONNREFUSED)
    }

    fn is_full_for(&self, sender: Id, target: Id) -> bool {
        let most = QUEUES[self.adversary.fixed(0x91e7, QUEUES.len() as u64) as usize];
        let Ok(socket) = self.unix(target) else {
            return false;
        };
        let is_peer = socket.other == Some(sender);
        target != sender && !is_peer && socket.messages.len() > most
    }

    fn deliver_parcel(&mut self, sender: Id, target: Id, bytes: Vec<u8>) -> Result<(), i32> {
        let parcel = Parcel {
            from: self.unix(sender)?.local.clone(),
            bytes,
            sender,
            sent_ns: self.now_ns,
        };
        self.unix_mut(sender)?.in_transit += parcel.size();
        self.unix_mut(target)?.messages.push_back(parcel);
        self.stir(target);
        Ok(())
    }

    pub(super) fn try_recv_parcel(&mut self, op: Id, id: Id, sqe: &RawSqe) -> Tried {
        let (ring, rooms, room) = match self.room_for_message(op, sqe) {
            Ok(found) => found,
            Err(errno) => return Tried::failed(errno),
        };
        let Ok(socket) = self.unix_mut(id) else {
            return Tried::failed(libc::ENOTSOCK);
        };
        let is_record = socket.kind == Kind::Records;
        if is_record && !matches!(socket.state, State::Connected) {
            return Tried::failed(libc::ENOTCONN);
        }
        if let Some(errno) = socket.error.take() {
            return Tried::failed(errno);
        }
        let reports_times = socket.reports_times;
        let (message, bytes) = match socket.messages.pop_front() {
            Some(parcel) => {
                self.consumed(&parcel);
                self.stir_senders(id);
                let name = parcel
                    .from
                    .as_deref()
                    .and_then(|from| unix_address(Some(from)).ok());
                let name = name.as_ref().map_or_else(Name::default, Name::from);
                let times = reports_times.then(|| timestamp(parcel.sent_ns));
                let control: Vec<_> = times.into_iter().collect();
                let message = laid_out(&name, &parcel.bytes, &control, rooms, room.len());
                (message, parcel.bytes.len())
            }
            // The end: a message of nothing, with nothing beside it.
            None if is_record && socket.is_read_shut => {
                (laid_out(&Name::default(), &[], &[], rooms, room.len()), 0)
            }
            None => return Tried::Wait,
        };
        let Some(message) = message else {
            return Tried::failed(libc::EFAULT);
        };
        room.fill(&message);
        finish_message(&mut self.rings[ring], sqe, message.len(), bytes == 0)
    }
}
