//! The network between hosts: how long it takes, and what does not arrive.
//!
//! A connection is two wires, one to each socket. Segments arrive in order; one that a partition
//! stops is sent again, ever more rarely, until the connection times out.

use std::collections::BTreeSet;
use std::ops::Range;

use super::kernel::{Event, HostId, Kernel};
use super::socket::{Socket, State};
use super::table::Id;
use crate::ring::SocketOption;

/// A segment is sent again after this, twice this, and so on.
const RESEND_NS: u64 = 200_000_000;
const RESEND_MAX_NS: u64 = 10_000_000_000;
/// So many times; then the connection has timed out. About a minute.
const RESENDS: u32 = 11;
/// Between two programs on one host.
const LOCAL_NS: u64 = 10_000;

#[derive(Debug)]
pub(super) enum Segment {
    Data(u64, Vec<u8>),
    End(u64),
    Reset(u64),
}

impl Segment {
    fn arrives_ns(&self) -> u64 {
        match self {
            Segment::Data(at, _) | Segment::End(at) | Segment::Reset(at) => *at,
        }
    }
}

/// What the network is like.
#[derive(Debug)]
pub(crate) struct Links {
    /// Nanoseconds from one host to another.
    pub(crate) latency_ns: Range<u64>,
    /// Nothing gets from the first to the second.
    pub(crate) cut: BTreeSet<(HostId, HostId)>,
}

impl Default for Links {
    fn default() -> Links {
        Links {
            latency_ns: 50_000..500_000,
            cut: BTreeSet::new(),
        }
    }
}

impl Kernel {
    /// How long something takes from one host to another now.
    pub(super) fn latency(&mut self, from: HostId, to: HostId) -> u64 {
        let range = if from == to {
            LOCAL_NS..2 * LOCAL_NS
        } else {
            self.links.latency_ns.clone()
        };
        let jitter = range.end.saturating_sub(range.start);
        range.start + self.adversary.below("latency", jitter)
    }

    fn host_of(&self, socket: Id) -> HostId {
        self.objects.find(socket).map_or(0, |object| object.host)
    }

    /// How much a socket may send now.
    pub(super) fn room_to_send(&self, id: Id) -> Result<usize, i32> {
        if self.is_unix(Some(id)) {
            return self.unix_room(id);
        }
        let socket = self.socket(id)?;
        match socket.state {
            State::Fresh | State::Listening { .. } => return Err(libc::EPIPE),
            State::Connecting => return Ok(0),
            State::Closed => return Err(socket.error.unwrap_or(libc::EPIPE)),
            State::Connected if socket.is_write_shut => return Err(libc::EPIPE),
            State::Connected => {}
        }
        let Some(other) = socket.other.and_then(|other| self.socket(other).ok()) else {
            // Nobody is there any more, which this end does not know yet.
            return Ok(socket.options.send_buffer);
        };
        let used = other.received.len() + other.wire_bytes;
        let capacity = socket.options.send_buffer + other.options.receive_buffer;
        Ok(capacity.saturating_sub(used))
    }

    /// Sends `bytes` on a connected socket.
    pub(super) fn transmit(&mut self, from: Id, bytes: Vec<u8>) {
        if bytes.is_empty() {
            return;
        }
        let Ok(socket) = self.socket_mut(from) else {
            return self.unix_transmit(from, bytes);
        };
        let other = socket.other;
        match other.filter(|other| self.socket(*other).is_ok()) {
            Some(other) => self.put_on_wire(from, other, |at| Segment::Data(at, bytes)),
            None => self.answer_with_reset(from),
        }
    }

    fn put_on_wire(&mut self, from: Id, to: Id, segment: impl FnOnce(u64) -> Segment) {
        let (here, there) = (self.host_of(from), self.host_of(to));
        self.put_on_wire_between(here, there, to, segment);
    }

    fn put_on_wire_between(
        &mut self,
        here: HostId,
        there: HostId,
        to: Id,
        segment: impl FnOnce(u64) -> Segment,
    ) {
        let at = self.now_ns + self.latency(here, there);
        let Ok(socket) = self.socket_mut(to) else {
            return;
        };
        let last = socket.wire.back().map_or(0, Segment::arrives_ns);
        let segment = segment(at.max(last));
        if let Segment::Data(_, bytes) = &segment {
            socket.wire_bytes += bytes.len();
        }
        let at = segment.arrives_ns();
        socket.wire.push_back(segment);
        if socket.wire.len() == 1 {
            self.after(at - self.now_ns, Event::Deliver(to));
        }
    }

    /// Takes what has arrived at a socket from its wire.
    pub(super) fn deliver(&mut self, to: Id) {
        let Ok(socket) = self.socket(to) else { return };
        let there = self.host_of(to);
        let here = socket.peer.and_then(|peer| self.host_at(peer.ip(), there));
        if let Some(here) = here
            && self.links.cut.contains(&(here, there))
        {
            return self.resend(to);
        }
        let now = self.now_ns;
        let Ok(socket) = self.socket_mut(to) else {
            return;
        };
        socket.resent = 0;
        let (mut is_end, mut is_unwanted) = (false, false);
        while let Some(segment) = socket.wire.front()
            && segment.arrives_ns() <= now
        {
            if let Some(segment) = socket.wire.pop_front() {
                is_end |= matches!(segment, Segment::End(_));
                is_unwanted = socket.is_shut() && matches!(segment, Segment::Data(..));
                if is_unwanted {
                    break;
                }
                arrive(socket, segment);
            }
        }
        let (next, other) = (socket.wire.front().map(Segment::arrives_ns), socket.other);
        if is_end && let Some(Ok(sender)) = other.map(|sender| self.socket_mut(sender)) {
            sender.is_end_known = true;
        }
        if is_unwanted {
            // Who has shut both sides gets more: Linux resets the connection, at both ends.
            return self.reset_both(to);
        }
        if let Some(at) = next {
            self.after(at - now, Event::Deliver(to));
        }
        self.stir(to);
    }

    /// A partition has stopped the first segment to `to`.
    fn resend(&mut self, to: Id) {
        let Ok(socket) = self.socket_mut(to) else {
            return;
        };
        socket.resent += 1;
        let (times, other) = (socket.resent, socket.other);
        if times <= RESENDS {
            let delay = (RESEND_NS << times.min(10)).min(RESEND_MAX_NS);
            return self.after(delay, Event::Deliver(to));
        }
        socket.wire.clear();
        socket.wire_bytes = 0;
        // The sender gives up. Who only waits does not learn of it.
        if let Some(sender) = other {
            self.close_with(sender, libc::ETIMEDOUT);
        }
    }

    /// The socket has read something: its peer may have room to send again.
    pub(super) fn has_room(&mut self, id: Id) {
        match self.socket(id).map(|socket| socket.other) {
            Ok(Some(other)) => self.stir(other),
            Ok(None) => {}
            Err(_) => self.unix_has_room(id),
        }
    }

    /// Ends a connection at this end with an error.
    pub(super) fn close_with(&mut self, id: Id, errno: i32) {
        if let Ok(socket) = self.socket_mut(id)
            && !matches!(socket.state, State::Closed)
        {
            socket.state = State::Closed;
            socket.error = Some(errno);
            socket.wire.clear();
            socket.wire_bytes = 0;
            self.stir(id);
            self.has_room(id);
        }
    }

    /// A connection that fails at this end, for whom its op reports why; its peer gets a reset.
    pub(super) fn break_connection(&mut self, id: Id) {
        if !self.is_connected(id) {
            return;
        }
        let other = self.socket(id).ok().and_then(|socket| socket.other);
        self.close_with(id, libc::ECONNRESET);
        if let Ok(socket) = self.socket_mut(id) {
            // Reported by the op already.
            socket.error = None;
            socket.received.clear();
        }
        if let Some(other) = other {
            self.put_on_wire(id, other, Segment::Reset);
        }
    }

    /// Something between the two ends resets the connection.
    pub(super) fn reset_both(&mut self, id: Id) {
        let other = self.socket(id).ok().and_then(|socket| socket.other);
        self.close_with(id, libc::ECONNRESET);
        if let Some(other) = other {
            self.put_on_wire(id, other, Segment::Reset);
        }
    }

    /// What was sent to a socket that is gone: if its host is there, it answers with a reset; if
    /// not, the sender times out.
    pub(super) fn answer_with_reset(&mut self, from: Id) {
        let here = self.host_of(from);
        let peer = self.socket(from).ok().and_then(|socket| socket.peer);
        let Some(there) = peer.and_then(|peer| self.host_at(peer.ip(), here)) else {
            return;
        };
        let cut = &self.links.cut;
        let is_cut = cut.contains(&(here, there)) || cut.contains(&(there, here));
        if self.hosts[there].is_down || is_cut {
            // As often as a partition would have it sent again.
            self.after(60_000_000_000, Event::Answer(from, Err(libc::ETIMEDOUT)));
        } else {
            let delay = self.latency(here, there) + self.latency(there, here);
            self.after(delay, Event::Answer(from, Err(libc::ECONNRESET)));
        }
    }

    /// The last reference to a socket is gone.
    pub(super) fn end_socket(&mut self, id: Id, host: HostId, socket: Socket) {
        self.forget_port(id, host, &socket);
        match socket.state {
            State::Listening { queue, .. } => {
                for connection in queue {
                    self.reset_both(connection);
                    self.release(connection);
                }
            }
            State::Connected => self.say_goodbye(host, &socket),
            State::Fresh | State::Connecting | State::Closed => {}
        }
    }

    fn say_goodbye(&mut self, host: HostId, socket: &Socket) {
        let Some(other) = socket.other else { return };
        if self.hosts[host].is_down {
            return;
        }
        let there = self.host_of(other);
        // Bytes that nobody will read are lost, and the peer is told so.
        let unread = !socket.received.is_empty() || socket.wire_bytes > 0;
        if unread || socket.options.get(SocketOption::ZeroLinger) != 0 {
            self.put_on_wire_between(host, there, other, Segment::Reset);
        } else if !socket.is_write_shut {
            self.put_on_wire_between(host, there, other, Segment::End);
        }
    }

    /// Ends one or both directions of a connection.
    pub(super) fn shut_down(&mut self, id: Id, read: bool, write: bool) -> Result<(), i32> {
        if self.is_unix(Some(id)) {
            return self.shut_down_unix(id, read, write);
        }
        let socket = self.socket_mut(id)?;
        if !matches!(socket.state, State::Connected) || socket.is_over() {
            return Err(libc::ENOTCONN);
        }
        let first = write && !socket.is_write_shut;
        socket.is_read_shut |= read;
        socket.is_write_shut |= write;
        let other = socket.other;
        if let Some(other) = other.filter(|_| first) {
            if self.socket(other).is_ok() {
                self.put_on_wire(id, other, Segment::End);
            } else if let Ok(socket) = self.socket_mut(id) {
                // The kernel that has closed the other end still knows it.
                socket.is_end_known = true;
            }
        }
        self.stir(id);
        Ok(())
    }
}

fn arrive(socket: &mut Socket, segment: Segment) {
    match segment {
        Segment::Data(_, bytes) => {
            socket.wire_bytes -= bytes.len();
            // A peer that speaks first may be heard before the answer that it has accepted.
            if matches!(socket.state, State::Connected | State::Connecting) {
                socket.received.push(bytes);
            }
        }
        Segment::End(_) => socket.has_end = true,
        Segment::Reset(_) => {
            if matches!(socket.state, State::Connected) {
                socket.state = State::Closed;
                // After the peer's orderly end a reset only says that it takes nothing more.
                let errno = if socket.has_end {
                    libc::EPIPE
                } else {
                    libc::ECONNRESET
                };
                socket.error = Some(errno);
            }
        }
    }
}
