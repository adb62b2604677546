//! TCP sockets: their states, and what ops do with them.

use std::collections::VecDeque;
use std::net::SocketAddr;

use super::bytes::Received;
use super::connect::reached;
use super::faults::Fault;
use super::kernel::{Args, Event, HostId, Kernel, RingId};
use super::links::Segment;
use super::object::{Object, OpenFile};
use super::ops::Tried;
use super::options::Options;
use super::table::Id;
use crate::ring::opcode;
use crate::ring::sqe::RawSqe;

const SOCK_NONEMPTY: u32 = 1 << 2;
/// What a socket buffer holds unless it is set, bytes: the smaller, the more often it is full.
const BUFFERS: [usize; 4] = [256 * 1024, 64 * 1024, 16 * 1024, 4096];

#[derive(Debug)]
pub(super) struct Socket {
    pub(super) is_v6: bool,
    pub(super) local: Option<SocketAddr>,
    pub(super) peer: Option<SocketAddr>,
    pub(super) state: State,
    pub(super) options: Options,
    /// The socket at the other end; it may be gone.
    pub(super) other: Option<Id>,
    /// Bytes that can be read.
    pub(super) received: Received,
    /// On their way here, in order.
    pub(super) wire: VecDeque<Segment>,
    pub(super) wire_bytes: usize,
    /// How often the first segment was sent in vain.
    pub(super) resent: u32,
    /// The peer sends no more.
    pub(super) has_end: bool,
    /// The peer knows that this end sends no more.
    pub(super) is_end_known: bool,
    pub(super) is_read_shut: bool,
    pub(super) is_write_shut: bool,
    /// `SO_ERROR`, reported once.
    pub(super) error: Option<i32>,
}

#[derive(Debug)]
pub(super) enum State {
    Fresh,
    Listening {
        backlog: usize,
        queue: VecDeque<Id>,
    },
    Connecting,
    Connected,
    /// Reset, or refused.
    Closed,
}

impl Socket {
    pub(super) fn new(is_v6: bool, buffer: usize) -> Socket {
        Socket {
            is_v6,
            local: None,
            peer: None,
            state: State::Fresh,
            options: Options::new(buffer),
            other: None,
            received: Received::default(),
            wire: VecDeque::new(),
            wire_bytes: 0,
            resent: 0,
            has_end: false,
            is_end_known: false,
            is_read_shut: false,
            is_write_shut: false,
            error: None,
        }
    }

    fn is_readable(&self) -> bool {
        match &self.state {
            State::Listening { queue, .. } => !queue.is_empty(),
            State::Connected | State::Closed => {
                !self.received.is_empty() || self.is_at_end() || self.error.is_some()
            }
            State::Fresh | State::Connecting => false,
        }
    }

    /// Whether both directions have ended: the connection is no more, though the descriptor is.
    pub(super) fn is_over(&self) -> bool {
        match self.state {
            State::Connected => self.has_end && self.is_end_known,
            State::Closed => true,
            State::Fresh | State::Listening { .. } | State::Connecting => false,
        }
    }

    /// The flag of a receive after which there is more to know: bytes, or that there are none.
    fn hint(&self) -> u32 {
        if self.received.is_empty() && !self.has_end {
            0
        } else {
            SOCK_NONEMPTY
        }
    }

    /// What a poll says of a socket that has `room` to send.
    fn ready(&self, room: Result<usize, i32>) -> i16 {
        let mut ready = 0;
        let mut set = |event, on| {
            if on {
                ready |= event;
            }
        };
        let is_open = matches!(self.state, State::Connected | State::Connecting);
        let reads_no_more =
            self.has_end || self.is_read_shut || matches!(self.state, State::Closed);
        let is_down = reads_no_more && self.is_write_shut;
        let listens = matches!(self.state, State::Listening { .. });
        set(libc::POLLIN, self.is_readable());
        set(libc::POLLOUT, room != Ok(0) && !listens);
        set(libc::POLLRDHUP, reads_no_more);
        set(libc::POLLHUP, is_down || !is_open && !listens);
        set(libc::POLLERR, self.error.is_some());
        ready
    }

    pub(super) fn is_shut(&self) -> bool {
        self.is_read_shut && self.is_write_shut
    }

    fn is_at_end(&self) -> bool {
        self.has_end || self.is_read_shut || matches!(self.state, State::Closed)
    }
}

impl Kernel {
    pub(super) fn new_socket(&mut self, host: HostId, is_v6: bool) -> Id {
        let buffer = BUFFERS[self.adversary.fixed(0x50c, BUFFERS.len() as u64) as usize];
        let socket = OpenFile::Socket(Box::new(Socket::new(is_v6, buffer)));
        self.objects.insert(Object::new(host, socket))
    }

    pub(super) fn socket(&self, id: Id) -> Result<&Socket, i32> {
        match self.objects.find(id).map(|object| &object.file) {
            Some(OpenFile::Socket(socket)) => Ok(socket),
            Some(_) => Err(libc::ENOTSOCK),
            None => Err(libc::EBADF),
        }
    }

    pub(super) fn socket_mut(&mut self, id: Id) -> Result<&mut Socket, i32> {
        match self.objects.find_mut(id).map(|object| &mut object.file) {
            Some(OpenFile::Socket(socket)) => Ok(socket),
            Some(_) => Err(libc::ENOTSOCK),
            None => Err(libc::EBADF),
        }
    }

    pub(super) fn try_accept(&mut self, id: Id, sqe: &RawSqe) -> Tried {
        let Some(host) = self.objects.find(id).map(|object| object.host) else {
            return Tried::failed(libc::EBADF);
        };
        if let Err(errno) = self.has_free_descriptor(host) {
            return Tried::failed(errno);
        }
        let connection = match self.backlog(id) {
            Ok(queue) => queue.front().copied(),
            Err(errno) => return Tried::failed(errno),
        };
        let Some(connection) = connection else {
            return Tried::Wait;
        };
        // The descriptor comes first: without one the connection stays in the backlog.
        match self.install(host, connection) {
            Ok(fd) => {
                if let Ok(queue) = self.backlog(id) {
                    queue.pop_front();
                }
                self.stir_callers(id);
                // The queue's own reference.
                self.release(connection);
                if sqe.ioprio & opcode::ACCEPT_MULTISHOT != 0 {
                    Tried::Item(fd, 0)
                } else {
                    Tried::Done(fd, 0)
                }
            }
            Err(errno) => Tried::failed(errno),
        }
    }

    /// The connections that wait for an accept.
    fn backlog(&mut self, listener: Id) -> Result<&mut VecDeque<Id>, i32> {
        let file = self
            .objects
            .find_mut(listener)
            .map(|object| &mut object.file);
        match file.ok_or(libc::EBADF)? {
            OpenFile::Socket(socket) => match &mut socket.state {
                State::Listening { queue, .. } => Ok(queue),
                _ => Err(libc::EINVAL),
            },
            OpenFile::Unix(socket) => match &mut socket.state {
                super::unix::State::Listening { queue, .. } => Ok(queue),
                _ => Err(libc::EINVAL),
            },
            _ => Err(libc::ENOTSOCK),
        }
    }

    /// The first connection in the backlog is reset by its peer before anybody accepts it.
    pub(super) fn abort_first(&mut self, listener: Id) {
        let first = match self.socket_mut(listener).map(|socket| &mut socket.state) {
            Ok(State::Listening { queue, .. }) => queue.pop_front(),
            _ => None,
        };
        if let Some(connection) = first {
            self.break_connection(connection);
            self.release(connection);
        }
    }

    pub(super) fn try_connect(&mut self, op: Id, id: Id) -> Tried {
        if self.is_unix(Some(id)) {
            return self.try_connect_unix(op, id);
        }
        let Some(Args::Address(address)) = self.ops.find(op).map(|op| &op.args) else {
            return Tried::failed(libc::EFAULT);
        };
        let Some(address) = address.as_socket() else {
            return Tried::failed(libc::EAFNOSUPPORT);
        };
        let Ok(socket) = self.socket_mut(id) else {
            return Tried::failed(libc::ENOTSOCK);
        };
        match socket.state {
            State::Fresh => match self.start_connect(id, address) {
                Ok(()) => Tried::Wait,
                Err(errno) => Tried::failed(errno),
            },
            State::Connecting => Tried::Wait,
            State::Connected if socket.peer == Some(reached(address)) => Tried::Done(0, 0),
            State::Connected => Tried::failed(libc::EISCONN),
            State::Closed => {
                let errno = socket.error.take().unwrap_or(libc::ECONNABORTED);
                Tried::failed(errno)
            }
            State::Listening { .. } => Tried::failed(libc::EISCONN),
        }
    }

    pub(super) fn try_recv(&mut self, op: Id, id: Id, sqe: &RawSqe) -> Tried {
        let reset = self.is_connected(id) && self.adversary.strikes(Fault::Reset, sqe.opcode);
        if reset {
            self.reset_both(id);
        }
        let readable = match self.readable_bytes(id) {
            Ok(readable) => readable,
            Err(errno) => return Tried::failed(errno),
        };
        let (ring, lent) = match self.ops.find(op) {
            Some(op) => match op.args {
                Args::Memory(lent) => (op.ring, Some(lent)),
                _ => (op.ring, None),
            },
            None => return Tried::Wait,
        };
        // The buffer comes first, whatever there is to read.
        if lent.is_none() && !self.has_buffer(ring, sqe.buf_group) {
            return Tried::failed(libc::ENOBUFS);
        }
        match lent {
            _ if readable == 0 => self.nothing_to_read(id),
            Some(lent) => self.recv_into(id, lent, readable),
            None => self.recv_provided(ring, id, sqe, readable),
        }
    }

    pub(super) fn readable_bytes(&self, id: Id) -> Result<usize, i32> {
        if self.is_unix(Some(id)) {
            return self.unix_readable(id);
        }
        let socket = self.socket(id)?;
        match socket.state {
            State::Fresh | State::Listening { .. } => Err(libc::ENOTCONN),
            _ => Ok(socket.received.len()),
        }
    }

    pub(super) fn nothing_to_read(&mut self, id: Id) -> Tried {
        let Ok(socket) = self.socket_mut(id) else {
            return self.unix_nothing(id);
        };
        // What came in order counts, not what came after it.
        if socket.has_end {
            return Tried::Done(0, socket.hint());
        }
        match socket.error.take() {
            Some(errno) => Tried::failed(errno),
            None if socket.is_at_end() => Tried::Done(0, 0),
            None => Tried::Wait,
        }
    }

    /// Moves `n` bytes to the process. Returns the flags of the completion.
    fn take_from(&mut self, id: Id, lent: super::memory::Lent, n: usize) -> u32 {
        let flags = match self.socket_mut(id) {
            Ok(socket) => {
                socket.received.move_to(lent, n);
                socket.hint()
            }
            Err(_) => self.unix_take(id, lent, n),
        };
        self.has_room(id);
        flags
    }

    fn has_buffer(&self, ring: RingId, number: u16) -> bool {
        let group = self.rings[ring].group(number);
        group.is_some_and(|group| group.next().is_some())
    }

    fn recv_into(&mut self, id: Id, lent: super::memory::Lent, readable: usize) -> Tried {
        let n = self.shortened(opcode::RECV, readable.min(lent.len()));
        let flags = self.take_from(id, lent, n);
        Tried::Done(n as i32, flags)
    }

    fn recv_provided(&mut self, ring: RingId, id: Id, sqe: &RawSqe, readable: usize) -> Tried {
        let none = self.adversary.strikes(Fault::NoBuffers, sqe.opcode);
        let group = self.rings[ring].group(sqe.buf_group).filter(|_| !none);
        let Some((room, incremental)) = group.and_then(|g| Some((g.next()?, g.is_incremental())))
        else {
            return Tried::failed(libc::ENOBUFS);
        };
        let n = self.shortened(opcode::RECV, readable.min(room.len()));
        let forget = incremental && self.adversary.strikes(Fault::FlagMissing, sqe.opcode);
        let mut flags = self.take_from(id, room, n);
        if let Some(group) = self.rings[ring].group_mut(sqe.buf_group) {
            flags |= group.commit(n, forget);
        }
        if sqe.ioprio & opcode::RECV_MULTISHOT != 0 {
            Tried::Item(n as i32, flags)
        } else {
            Tried::Done(n as i32, flags)
        }
    }

    /// As many bytes as `n`, or fewer.
    pub(super) fn shortened(&mut self, op: u8, n: usize) -> usize {
        if n > 1 && self.adversary.strikes(Fault::Short, op) {
            n - 1 - self.adversary.below("bytes less", n as u64 - 1) as usize
        } else {
            n
        }
    }

    pub(super) fn try_send(&mut self, op: Id, id: Id, sqe: &RawSqe) -> Tried {
        let reset = self.is_connected(id) && self.adversary.strikes(Fault::Reset, sqe.opcode);
        if reset {
            self.reset_both(id);
        }
        let Some(in_flight) = self.ops.find(op) else {
            return Tried::Wait;
        };
        let done = in_flight.done;
        let len = in_flight
            .args
            .lent()
            .iter()
            .map(|piece| piece.len())
            .sum::<usize>()
            - done;
        let room = match self.room_to_send(id) {
            Ok(room) => room,
            Err(errno) => {
                // Told once, to whoever asks first.
                let told = self.socket_mut(id).ok().and_then(|it| it.error.take());
                // A part was sent: that is the result, and the errno is swallowed.
                if done > 0 {
                    return Tried::Done(done as i32, 0);
                }
                return self.send_failed(sqe, told.unwrap_or(errno));
            }
        };
        if room == 0 && len > 0 {
            return Tried::Wait;
        }
        let n = self.shortened(sqe.opcode, len.min(room));
        let args = self.ops.find(op).map(|op| &op.args);
        let bytes = args.map_or_else(Vec::new, |args| gather(args.lent(), done, n));
        let all = sqe.op_flags & libc::MSG_WAITALL.cast_unsigned() != 0;
        let copy = (sqe.opcode == opcode::SEND_ZC).then(|| bytes.clone());
        self.transmit(id, bytes);
        let done = done + n;
        // A signal or a lack of memory ends it early, too.
        let is_cut = n < len.min(room) && self.adversary.below("cut", 2) == 1;
        if all && n < len && !is_cut {
            if let Some(op) = self.ops.find_mut(op) {
                op.done = done;
            }
            if n < room {
                self.after(0, Event::Due(op));
            }
            return Tried::Wait;
        }
        match copy {
            Some(bytes) => Tried::Sent(done as i32, bytes),
            None => Tried::Done(done as i32, 0),
        }
    }

    fn send_failed(&mut self, sqe: &RawSqe, errno: i32) -> Tried {
        // Its notification was made when it was submitted.
        if sqe.opcode == opcode::SEND_ZC {
            return Tried::Sent(-errno, Vec::new());
        }
        Tried::failed(errno)
    }

    pub(super) fn is_readable(&self, object: Option<Id>) -> bool {
        object.is_some_and(|id| match self.socket(id) {
            Ok(socket) => socket.is_readable(),
            Err(_) => self.unix_goes_on(id),
        })
    }

    pub(super) fn is_connected(&self, id: Id) -> bool {
        self.socket(id)
            .is_ok_and(|socket| matches!(socket.state, State::Connected))
    }

    pub(super) fn try_poll(&mut self, id: Id, events: u32) -> Tried {
        let Some(object) = self.objects.find(id) else {
            return Tried::failed(libc::EBADF);
        };
        let ready = match &object.file {
            OpenFile::Event(0) => libc::POLLOUT,
            OpenFile::Event(_) | OpenFile::Disk(_) => libc::POLLIN | libc::POLLOUT,
            OpenFile::Socket(socket) => socket.ready(self.room_to_send(id)),
            OpenFile::Unix(socket) => socket.ready(self.room_to_send(id)),
            OpenFile::PipeReader(pipe) => pipe.ready(),
            OpenFile::PipeWriter(_) => self.pipe_takes(id),
            OpenFile::Messages(_) | OpenFile::Ring(_) => 0,
        };
        // Those are told of without being asked for.
        let always = libc::POLLERR | libc::POLLHUP | libc::POLLRDHUP;
        match ready as u32 & (events | always as u32) {
            0 => Tried::Wait,
            ready => Tried::Done(ready.cast_signed(), 0),
        }
    }
}

/// Copies `n` bytes of the process from `from` on.
fn gather(pieces: &[super::memory::Lent], mut from: usize, n: usize) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(n);
    for piece in pieces {
        let rest = piece.skip(from);
        from = from.saturating_sub(piece.len());
        let left = n - bytes.len();
        rest.append_to(&mut bytes, left);
    }
    bytes
}
