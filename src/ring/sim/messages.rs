//! UDP sockets: what ops and calls do with them.
//!
//! Datagrams to a socket of the same host are there when the send has completed, in order, as on
//! Linux. Those to another host take their time each, so that one may overtake another; a network
//! loses some and delivers some twice. A socket whose buffer is full drops what comes.
//!
//! There are no multicast groups, and nothing is joined to larger pieces (GRO), which Linux does
//! not promise either.

use std::collections::{BTreeMap, VecDeque};
use std::net::{IpAddr, SocketAddr};

use super::faults::Fault;
use super::kernel::{Args, HostId, Kernel, RingId, RingState};
use super::memory::Lent;
use super::object::{Object, OpenFile};
use super::ops::Tried;
use super::table::Id;
use crate::ring::sqe::RawSqe;
use crate::ring::{ControlData, MessageOption, Name, Rooms, SocketOption, opcode};

/// What a socket buffer holds unless it is set, bytes: the smaller, the more often it is full.
const BUFFERS: [usize; 3] = [212_992, 64 * 1024, 16 * 1024];
/// What the kernel counts for each datagram besides its bytes.
const OVERHEAD: usize = 768;
/// `struct io_uring_recvmsg_out`.
const HEADER: usize = 16;
/// The longest datagrams, by IPv4 and by IPv6.
const LEN_MAX: [usize; 2] = [65_507, 65_527];
/// Datagrams that one send makes at most.
const SEGMENTS_MAX: usize = 128;

#[derive(Debug)]
pub(super) struct MessageSocket {
    pub(super) is_v6: bool,
    pub(super) local: Option<SocketAddr>,
    pub(super) peer: Option<SocketAddr>,
    pub(super) reuse_address: bool,
    pub(super) reuse_port: bool,
    receive_buffer: usize,
    send_buffer: usize,
    numbers: BTreeMap<MessageOption, u32>,
    received: VecDeque<Datagram>,
    /// What the buffer counts for `received`.
    used: usize,
    /// `SO_ERROR`, reported once.
    pub(super) error: Option<i32>,
}

/// One datagram.
#[derive(Clone, Debug)]
pub(super) struct Datagram {
    pub(super) from: SocketAddr,
    pub(super) to: SocketAddr,
    pub(super) bytes: Vec<u8>,
    class: u8,
    sent_ns: u64,
}

/// What a send says besides its bytes.
#[derive(Debug)]
pub(super) struct Outbound {
    pub(super) name: Name,
    pub(super) control: ControlData,
    /// There are descriptors beside it.
    pub(super) passes_descriptors: bool,
}

impl MessageSocket {
    fn number(&self, option: MessageOption) -> u32 {
        let set = self.numbers.get(&option).copied();
        set.unwrap_or(match option {
            MessageOption::Ttl | MessageOption::HopsV6 => 64,
            MessageOption::MulticastLoopV4
            | MessageOption::MulticastLoopV6
            | MessageOption::MulticastTtlV4
            | MessageOption::MulticastHopsV6 => 1,
            _ => 0,
        })
    }

    /// Takes a datagram, if there is room: the first one always finds some.
    pub(super) fn arrive(&mut self, datagram: Datagram) {
        if self.used <= self.receive_buffer {
            self.used += datagram.bytes.len() + OVERHEAD;
            self.received.push_back(datagram);
        }
    }

    /// The control data that it reports of a datagram, in the kernel's order.
    fn control(&self, datagram: &Datagram) -> Vec<(i32, i32, Vec<u8>)> {
        let mut control = Vec::new();
        if self.number(MessageOption::TimestampNs) != 0 {
            control.push(timestamp(datagram.sent_ns));
        }
        let interface: u32 = if datagram.to.ip().is_loopback() { 1 } else { 2 };
        match datagram.to.ip() {
            IpAddr::V4(ip) if self.number(MessageOption::PacketInfoV4) != 0 => {
                let content = [interface.to_ne_bytes(), ip.octets(), ip.octets()].concat();
                control.push((libc::IPPROTO_IP, libc::IP_PKTINFO, content));
            }
            IpAddr::V6(ip) if self.number(MessageOption::PacketInfoV6) != 0 => {
                let content = [&ip.octets()[..], &interface.to_ne_bytes()].concat();
                control.push((libc::IPPROTO_IPV6, libc::IPV6_PKTINFO, content));
            }
            _ => {}
        }
        if self.is_v6 && self.number(MessageOption::TrafficClassV6) != 0 {
            let class = i32::from(datagram.class).to_ne_bytes().to_vec();
            control.push((libc::IPPROTO_IPV6, libc::IPV6_TCLASS, class));
        } else if !self.is_v6 && self.number(MessageOption::TrafficClassV4) != 0 {
            control.push((libc::IPPROTO_IP, libc::IP_TOS, vec![datagram.class]));
        }
        control
    }
}

impl Kernel {
    pub(super) fn new_message_socket(&mut self, host: HostId, is_v6: bool) -> Id {
        let buffer = BUFFERS[self.adversary.fixed(0xda7a, BUFFERS.len() as u64) as usize];
        let socket = MessageSocket {
            is_v6,
            local: None,
            peer: None,
            reuse_address: false,
            reuse_port: false,
            receive_buffer: buffer,
            send_buffer: buffer,
            numbers: BTreeMap::new(),
            received: VecDeque::new(),
            used: 0,
            error: None,
        };
        let socket = OpenFile::Messages(Box::new(socket));
        self.objects.insert(Object::new(host, socket))
    }

    pub(super) fn messages(&self, id: Id) -> Result<&MessageSocket, i32> {
        match self.objects.find(id).map(|object| &object.file) {
            Some(OpenFile::Messages(socket)) => Ok(socket),
            Some(_) => Err(libc::ENOTSOCK),
            None => Err(libc::EBADF),
        }
    }

    pub(super) fn messages_mut(&mut self, id: Id) -> Result<&mut MessageSocket, i32> {
        match self.objects.find_mut(id).map(|object| &mut object.file) {
            Some(OpenFile::Messages(socket)) => Ok(socket),
            Some(_) => Err(libc::ENOTSOCK),
            None => Err(libc::EBADF),
        }
    }

    pub(super) fn set_shared_option(
        &mut self,
        id: Id,
        option: SocketOption,
        value: usize,
    ) -> Result<(), i32> {
        let socket = self.messages_mut(id)?;
        match option {
            SocketOption::ReuseAddress => socket.reuse_address = value != 0,
            SocketOption::ReusePort => socket.reuse_port = value != 0,
            SocketOption::RecvBuffer => socket.receive_buffer = (2 * value).max(2304),
            SocketOption::SendBuffer => socket.send_buffer = (2 * value).max(4608),
            _ => return Err(libc::ENOPROTOOPT),
        }
        Ok(())
    }

    pub(super) fn shared_option(&self, id: Id, option: SocketOption) -> Result<usize, i32> {
        let socket = self.messages(id)?;
        match option {
            SocketOption::ReuseAddress => Ok(socket.reuse_address.into()),
            SocketOption::ReusePort => Ok(socket.reuse_port.into()),
            SocketOption::RecvBuffer => Ok(socket.receive_buffer),
            SocketOption::SendBuffer => Ok(socket.send_buffer),
            _ => Err(libc::ENOPROTOOPT),
        }
    }

    pub(super) fn set_message_option(
        &mut self,
        id: Id,
        option: MessageOption,
        value: u32,
    ) -> Result<(), i32> {
        use MessageOption::{HopsV6, MulticastHopsV6, MulticastTtlV4, Ttl};
        let least = if option == Ttl { 1 } else { 0 };
        let is_hops = matches!(option, Ttl | HopsV6 | MulticastTtlV4 | MulticastHopsV6);
        if is_hops && !(least..=255).contains(&value) {
            return Err(libc::EINVAL);
        }
        self.messages_mut(id)?.numbers.insert(option, value);
        Ok(())
    }

    pub(super) fn message_option(&self, id: Id, option: MessageOption) -> Result<u32, i32> {
        Ok(self.messages(id)?.number(option))
    }

    /// An errno that was chosen for a send or a receive of any socket, as it is of this one.
    pub(super) fn errno_of_messages(&self, id: Id, errno: i32) -> i32 {
        let is_connected = self.messages(id).is_ok_and(|socket| socket.peer.is_some());
        match errno {
            libc::ECONNRESET => libc::EPERM,
            libc::EPIPE | libc::ETIMEDOUT => libc::ENETUNREACH,
            // Told by ICMP, and to a socket with a peer alone.
            libc::ECONNREFUSED | libc::EHOSTUNREACH if !is_connected => libc::ENOMEM,
            errno => errno,
        }
    }

    /// Where a message goes that a receive gets: the ring, the parts of its buffer, and the buffer.
    /// That comes first, whatever there is to receive.
    pub(super) fn room_for_message(
        &mut self,
        op: Id,
        sqe: &RawSqe,
    ) -> Result<(RingId, Rooms, Lent), i32> {
        let op = self.ops.find(op).ok_or(libc::EINVAL)?;
        let Args::Rooms(rooms) = op.args else {
            return Err(libc::EINVAL);
        };
        let ring = op.ring;
        let none = self.adversary.strikes(Fault::NoBuffers, sqe.opcode);
        let group = self.rings[ring].group(sqe.buf_group);
        let room = group.filter(|_| !none).and_then(|group| group.next());
        Ok((ring, rooms, room.ok_or(libc::ENOBUFS)?))
    }

    pub(super) fn try_recvmsg(&mut self, op: Id, id: Id, sqe: &RawSqe) -> Tried {
        let (ring, rooms, room) = match self.room_for_message(op, sqe) {
            Ok(found) => found,
            Err(errno) => return Tried::failed(errno),
        };
        let Ok(socket) = self.messages_mut(id) else {
            return Tried::failed(libc::ENOTSOCK);
        };
        if let Some(errno) = socket.error.take() {
            return Tried::failed(errno);
        }
        let Some(datagram) = socket.received.pop_front() else {
            return Tried::Wait;
        };
        socket.used -= datagram.bytes.len() + OVERHEAD;
        let (name, control) = (Name::from(datagram.from), socket.control(&datagram));
        let message = laid_out(&name, &datagram.bytes, &control, rooms, room.len());
        let Some(message) = message else {
            return Tried::failed(libc::EFAULT);
        };
        room.fill(&message);
        let is_empty = datagram.bytes.is_empty();
        finish_message(&mut self.rings[ring], sqe, message.len(), is_empty)
    }

    pub(super) fn try_send_message(&mut self, op: Id, id: Id, sqe: &RawSqe) -> Tried {
        let Some(in_flight) = self.ops.find(op) else {
            return Tried::Wait;
        };
        let mut bytes = Vec::new();
        for piece in in_flight.args.lent() {
            piece.append_to(&mut bytes, piece.len());
        }
        let (name, segment, class) = match &in_flight.args {
            Args::Message(_, outbound) => {
                let (segment, class) = asked_of(&outbound.control);
                (outbound.name.clone(), segment, class)
            }
            _ => (Name::default(), None, 0),
        };
        let len = bytes.len() as i32;
        let sent = self.send_datagrams(id, sqe.opcode, bytes, &name, segment, class);
        Tried::of(sent.map(|()| len))
    }

    fn send_datagrams(
        &mut self,
        id: Id,
        code: u8,
        bytes: Vec<u8>,
        name: &Name,
        segment: Option<u16>,
        class: u8,
    ) -> Result<(), i32> {
        let socket = self.messages(id)?;
        let is_v6 = socket.is_v6;
        if bytes.len() > 0xffff {
            return Err(libc::EMSGSIZE);
        }
        let to = match (name.as_bytes().is_empty(), socket.peer) {
            (true, peer) => peer.ok_or(libc::EDESTADDRREQ)?,
            (false, _) => destination(name, is_v6)?,
        };
        if bytes.len() > LEN_MAX[usize::from(is_v6)] {
            return Err(libc::EMSGSIZE);
        }
        // What an earlier datagram has come to is told first.
        if let Some(errno) = self.messages_mut(id)?.error.take() {
            return Err(errno);
        }
        let from = self.source(id, to)?;
        let segment = segment.map_or(usize::MAX, usize::from).max(1);
        if bytes.len().div_ceil(segment) > SEGMENTS_MAX {
            return Err(libc::EINVAL);
        }
        let sent_ns = self.now_ns;
        let datagram = |bytes: &[u8]| Datagram {
            from,
            to,
            bytes: bytes.to_vec(),
            class,
            sent_ns,
        };
        if bytes.is_empty() {
            self.emit(id, code, datagram(&[]));
        }
        for part in bytes.chunks(segment) {
            self.emit(id, code, datagram(part));
        }
        Ok(())
    }
}

/// Where a name leads: as the kernel looks at it.
fn destination(name: &Name, is_v6: bool) -> Result<SocketAddr, i32> {
    let address = name.ip().ok_or(libc::EINVAL)?;
    match (is_v6, address.is_ipv6()) {
        (false, true) => return Err(libc::EAFNOSUPPORT),
        (true, false) => return Err(libc::ENETUNREACH),
        _ => {}
    }
    if address.port() == 0 {
        return Err(libc::EINVAL);
    }
    Ok(super::connect::reached(address))
}

/// The segment size and the traffic class that control data asks for.
fn asked_of(control: &ControlData) -> (Option<u16>, u8) {
    let number = |level, kind| {
        let content = control.find(level, kind)?;
        Some(u16::from_ne_bytes(*content.first_chunk()?))
    };
    let segment = number(libc::SOL_UDP, libc::UDP_SEGMENT).filter(|&size| size > 0);
    let class = control
        .find(libc::IPPROTO_IP, libc::IP_TOS)
        .and_then(|content| Some(i32::from_ne_bytes(*content.first_chunk()?)));
    (segment, class.unwrap_or(0) as u8)
}

/// The entry of control data that says when a message was sent.
pub(super) fn timestamp(sent_ns: u64) -> (i32, i32, Vec<u8>) {
    let (seconds, rest) = (sent_ns / 1_000_000_000, sent_ns % 1_000_000_000);
    let content = [seconds.to_ne_bytes(), rest.to_ne_bytes()].concat();
    (libc::SOL_SOCKET, libc::SCM_TIMESTAMPNS, content)
}

/// What a receive has come to that has put `len` bytes into its buffer.
pub(super) fn finish_message(
    ring: &mut RingState,
    sqe: &RawSqe,
    len: usize,
    is_empty: bool,
) -> Tried {
    let group = ring.group_mut(sqe.buf_group);
    let flags = group.map_or(0, |group| group.commit(len, false));
    // A result of 0 ends a multishot receive, whatever it is of.
    if sqe.ioprio & opcode::RECV_MULTISHOT != 0 && !is_empty {
        Tried::Item(len as i32, flags)
    } else {
        Tried::Done(len as i32, flags)
    }
}

/// A message as a multishot receive lays it out in a buffer of `room` bytes. `None` if that is too
/// short for what comes before the bytes.
pub(super) fn laid_out(
    name: &Name,
    bytes: &[u8],
    control: &[(i32, i32, Vec<u8>)],
    rooms: Rooms,
    room: usize,
) -> Option<Vec<u8>> {
    let (name_room, control_room) = (rooms.name as usize, rooms.control as usize);
    let room = room.checked_sub(HEADER + name_room + control_room)?;
    let name = name.as_bytes();
    let mut flags = 0;
    let mut written = Vec::new();
    for (level, kind, content) in control {
        flags |= put_control(&mut written, control_room, *level, *kind, content);
    }
    let payload = &bytes[..bytes.len().min(room)];
    if payload.len() < bytes.len() {
        flags |= libc::MSG_TRUNC;
    }
    let mut message = Vec::with_capacity(HEADER + name_room + control_room + payload.len());
    for word in [name.len(), written.len(), payload.len(), flags as usize] {
        message.extend((word as u32).to_ne_bytes());
    }
    message.extend(&name[..name.len().min(name_room)]);
    message.resize(HEADER + name_room, 0);
    message.extend(&written);
    message.resize(HEADER + name_room + control_room, 0);
    message.extend(payload);
    Some(message)
}

/// Adds one entry, as much of it as there is room for: `put_cmsg` of the kernel. Says with what
/// flag.
fn put_control(
    written: &mut Vec<u8>,
    room: usize,
    level: i32,
    kind: i32,
    content: &[u8],
) -> libc::c_int {
    let header = size_of::<libc::cmsghdr>();
    let left = room - written.len();
    if left < header {
        return libc::MSG_CTRUNC;
    }
    let len = (header + content.len()).min(left);
    written.extend(len.to_ne_bytes());
    written.extend(level.to_ne_bytes());
    written.extend(kind.to_ne_bytes());
    written.extend(&content[..len - header]);
    let end = written.len().next_multiple_of(size_of::<usize>());
    written.resize(end.min(room), 0);
    if len < header + content.len() {
        libc::MSG_CTRUNC
    } else {
        0
    }
}
