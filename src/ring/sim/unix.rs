//! Unix sockets: names, and connections between programs of one host.
//!
//! There is no network between the two ends: what is sent is at the other end at once, and an end
//! that is closed shuts both directions of its peer, who learns of lost bytes by a single
//! `ECONNRESET` and of everything else by the end of the stream and `EPIPE`.

use std::collections::VecDeque;

use socket2::SockAddr;

use super::kernel::{Args, HostId, Kernel};
use super::memory::Lent;
use super::object::{Object, OpenFile};
use super::ops::Tried;
use super::table::Id;
use super::unix_messages::Parcel;

/// What a socket holds unless it is set, bytes.
const BUFFERS: [usize; 4] = [208 * 1024, 64 * 1024, 16 * 1024, 4096];
const SOCK_NONEMPTY: u32 = 1 << 2;

#[derive(Debug)]
pub(super) struct Unix {
    pub(super) kind: Kind,
    /// What it is bound to: `None` or its name as the kernel has it, an abstract one with its NUL.
    pub(super) local: Option<Vec<u8>>,
    key: Option<Key>,
    /// The name that the other end had when they were connected.
    pub(super) peer: Option<Vec<u8>>,
    pub(super) state: State,
    /// The socket at the other end; it may be gone.
    pub(super) other: Option<Id>,
    received: VecDeque<Vec<u8>>,
    received_bytes: usize,
    /// The same of sockets of messages.
    pub(super) messages: VecDeque<Parcel>,
    /// What its own messages count that nobody has received yet.
    pub(super) in_transit: usize,
    /// Sockets that wait for room in `messages`.
    pub(super) senders: Vec<Id>,
    pub(super) reports_times: bool,
    pub(super) is_read_shut: bool,
    pub(super) is_write_shut: bool,
    /// `SO_ERROR`, reported once.
    pub(super) error: Option<i32>,
    pub(super) send_buffer: usize,
    pub(super) receive_buffer: usize,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Kind {
    Stream,
    Datagrams,
    Records,
}

#[derive(Debug)]
pub(super) enum State {
    Fresh,
    Listening {
        backlog: usize,
        queue: VecDeque<Id>,
        /// Sockets that wait for room in the queue.
        callers: Vec<Id>,
    },
    Connected,
}

/// What finds a bound socket.
#[derive(Clone, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub(super) enum Key {
    /// The inode of the file that `bind` has made, wherever it is now.
    File(Id),
    Abstract(Vec<u8>),
}

/// What an address names.
enum Name {
    Path(Vec<u8>),
    Abstract(Vec<u8>),
}

impl Name {
    fn of(address: &SockAddr) -> Result<Name, i32> {
        if let Some(path) = address.as_pathname() {
            let path = path.as_os_str().as_encoded_bytes();
            return Ok(Name::Path(path.to_vec()));
        }
        let name = address.as_abstract_namespace().ok_or(libc::EINVAL)?;
        Ok(Name::Abstract(name.to_vec()))
    }

    /// As `getsockname` tells it.
    fn bytes(&self) -> Vec<u8> {
        match self {
            Name::Path(path) => path.clone(),
            Name::Abstract(name) => [b"\0", &name[..]].concat(),
        }
    }
}

impl Unix {
    fn new(kind: Kind, buffer: usize) -> Unix {
        Unix {
            kind,
            local: None,
            key: None,
            peer: None,
            state: State::Fresh,
            other: None,
            received: VecDeque::new(),
            received_bytes: 0,
            messages: VecDeque::new(),
            in_transit: 0,
            senders: Vec::new(),
            reports_times: false,
            is_read_shut: false,
            is_write_shut: false,
            error: None,
            send_buffer: buffer,
            receive_buffer: buffer,
        }
    }

    pub(super) fn is_readable(&self) -> bool {
        match &self.state {
            State::Listening { queue, .. } => !queue.is_empty(),
            State::Fresh | State::Connected => {
                let any = self.received_bytes > 0 || !self.messages.is_empty();
                any || self.is_read_shut || self.error.is_some()
            }
        }
    }

    /// What a poll says of a socket that has `room` to send.
    pub(super) fn ready(&self, room: Result<usize, i32>) -> i16 {
        let mut ready = 0;
        let mut set = |event, on| {
            if on {
                ready |= event;
            }
        };
        set(libc::POLLIN, self.is_readable());
        set(libc::POLLOUT, room != Ok(0));
        set(libc::POLLRDHUP, self.is_read_shut);
        let is_down = self.is_read_shut && self.is_write_shut;
        set(libc::POLLHUP, is_down || matches!(self.state, State::Fresh));
        set(libc::POLLERR, self.error.is_some());
        ready
    }

    /// Takes `n` bytes that are there.
    pub(super) fn take_bytes(&mut self, n: usize) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(self.received_bytes);
        for piece in self.received.drain(..) {
            bytes.extend_from_slice(&piece);
        }
        let rest = bytes.split_off(n);
        self.received.push_back(rest);
        self.received_bytes -= n;
        bytes
    }

    /// Moves up to `n` bytes to the process.
    fn take(&mut self, lent: Lent, n: usize) {
        let mut done = 0;
        while done < n
            && let Some(first) = self.received.front_mut()
        {
            let part = first.len().min(n - done);
            lent.skip(done).fill(&first[..part]);
            if part == first.len() {
                self.received.pop_front();
            } else {
                first.drain(..part);
            }
            done += part;
        }
        self.received_bytes -= done;
    }
}

impl Kernel {
    pub(super) fn new_unix(&mut self, host: HostId, kind: Kind) -> Id {
        // A few messages fit in any: what the kernel counts besides their bytes is much.
        let sizes = if kind == Kind::Stream {
            BUFFERS.len()
        } else {
            BUFFERS.len() - 1
        };
        let buffer = BUFFERS[self.adversary.fixed(0x50d, sizes as u64) as usize];
        let socket = OpenFile::Unix(Box::new(Unix::new(kind, buffer)));
        self.objects.insert(Object::new(host, socket))
    }

    pub(super) fn unix(&self, id: Id) -> Result<&Unix, i32> {
        match self.objects.find(id).map(|object| &object.file) {
            Some(OpenFile::Unix(socket)) => Ok(socket),
            Some(_) => Err(libc::ENOTSOCK),
            None => Err(libc::EBADF),
        }
    }

    pub(super) fn unix_mut(&mut self, id: Id) -> Result<&mut Unix, i32> {
        match self.objects.find_mut(id).map(|object| &mut object.file) {
            Some(OpenFile::Unix(socket)) => Ok(socket),
            Some(_) => Err(libc::ENOTSOCK),
            None => Err(libc::EBADF),
        }
    }

    pub(super) fn is_unix(&self, object: Option<Id>) -> bool {
        object.is_some_and(|id| self.unix(id).is_ok())
    }

    pub(super) fn bind_unix(&mut self, id: Id, address: &SockAddr) -> Result<(), i32> {
        let host = self.objects.find(id).ok_or(libc::EBADF)?.host;
        let name = Name::of(address)?;
        let is_bound = self.unix(id)?.key.is_some();
        let key = match &name {
            _ if is_bound => return Err(libc::EINVAL),
            Name::Path(path) => Key::File(self.make_socket_file(host, path)?),
            Name::Abstract(name) => Key::Abstract(name.clone()),
        };
        if self.hosts[host].unix.contains_key(&key) {
            return Err(libc::EADDRINUSE);
        }
        self.hosts[host].unix.insert(key.clone(), id);
        let socket = self.unix_mut(id)?;
        (socket.key, socket.local) = (Some(key), Some(name.bytes()));
        Ok(())
    }

    pub(super) fn listen_unix(&mut self, id: Id, backlog: i32) -> Result<(), i32> {
        let socket = self.unix_mut(id)?;
        if socket.key.is_none() {
            return Err(libc::EINVAL);
        }
        let limit = backlog.clamp(0, 4096) as usize;
        match &mut socket.state {
            State::Listening { backlog, .. } => *backlog = limit,
            State::Connected => return Err(libc::EINVAL),
            state @ State::Fresh => {
                *state = State::Listening {
                    backlog: limit,
                    queue: VecDeque::new(),
                    callers: Vec::new(),
                };
            }
        }
        self.stir_callers(id);
        Ok(())
    }

    /// There may be room for those who wait to connect, or nobody to connect to any more.
    pub(super) fn stir_callers(&mut self, listener: Id) {
        let callers = match self.unix_mut(listener).map(|socket| &mut socket.state) {
            Ok(State::Listening { callers, .. }) => std::mem::take(callers),
            _ => return,
        };
        for caller in callers {
            self.stir(caller);
        }
    }

    /// Who has an address. Linux looks for it anew whenever it goes on waiting.
    pub(super) fn unix_at(&self, host: HostId, address: &SockAddr, kind: Kind) -> Result<Id, i32> {
        let key = match Name::of(address)? {
            Name::Path(path) => Key::File(self.socket_file(host, &path)?),
            Name::Abstract(name) => Key::Abstract(name),
        };
        let found = self.hosts[host].unix.get(&key).copied();
        let found = found.ok_or(libc::ECONNREFUSED)?;
        match self.unix(found)?.kind == kind {
            true => Ok(found),
            false => Err(libc::EPROTOTYPE),
        }
    }

    pub(super) fn try_connect_unix(&mut self, op: Id, id: Id) -> Tried {
        let host = self.objects.find(id).map_or(0, |object| object.host);
        let kind = self.unix(id).map_or(Kind::Stream, |socket| socket.kind);
        let found = match self.ops.find(op).map(|op| &op.args) {
            Some(Args::Address(address)) => self.unix_at(host, address, kind),
            _ => Err(libc::EFAULT),
        };
        let listener = match found {
            Ok(listener) => listener,
            Err(errno) => return Tried::failed(errno),
        };
        match self.unix_mut(listener).map(|socket| &mut socket.state) {
            Ok(State::Listening {
                backlog,
                queue,
                callers,
            }) => {
                if queue.len() > *backlog {
                    // `EAGAIN` to a socket that does not block; the ring has a worker wait.
                    callers.push(id);
                    return Tried::Wait;
                }
            }
            _ => return Tried::failed(libc::ECONNREFUSED),
        }
        match self.unix(id).map(|socket| &socket.state) {
            Ok(State::Fresh) => self.join_unix(id, listener, host, kind),
            Ok(State::Connected) => Tried::failed(libc::EISCONN),
            _ => Tried::failed(libc::EINVAL),
        }
    }

    /// Makes the other end of a connection and puts it into the backlog.
    fn join_unix(&mut self, client: Id, listener: Id, host: HostId, kind: Kind) -> Tried {
        let server = self.new_unix(host, kind);
        if let Some(object) = self.objects.find_mut(server) {
            object.references = 1;
        }
        self.connect_pair(client, server);
        let name_of = |id| self.unix(id).ok().and_then(|socket| socket.local.clone());
        let (name, caller) = (name_of(listener), name_of(client));
        if let Ok(socket) = self.unix_mut(server) {
            (socket.local, socket.peer) = (name.clone(), caller);
        }
        if let Ok(socket) = self.unix_mut(client) {
            socket.peer = name;
        }
        if let Ok(State::Listening { queue, .. }) =
            self.unix_mut(listener).map(|socket| &mut socket.state)
        {
            queue.push_back(server);
        }
        self.stir(listener);
        Tried::Done(0, 0)
    }

    /// Makes two sockets each other's peer.
    pub(super) fn connect_pair(&mut self, a: Id, b: Id) {
        for (one, other) in [(a, b), (b, a)] {
            if let Ok(socket) = self.unix_mut(one) {
                (socket.state, socket.other) = (State::Connected, Some(other));
            }
        }
    }

    /// How many bytes there are to read, if it is a socket to read from.
    pub(super) fn unix_readable(&self, id: Id) -> Result<usize, i32> {
        let socket = self.unix(id)?;
        match socket.state {
            State::Connected => Ok(socket.received_bytes),
            State::Fresh | State::Listening { .. } => Err(libc::EINVAL),
        }
    }

    /// What a receive says that has found nothing.
    pub(super) fn unix_nothing(&mut self, id: Id) -> Tried {
        let flags = self.unix_hint(id);
        match self.unix_mut(id) {
            Ok(socket) => match socket.error.take() {
                Some(errno) => Tried::failed(errno),
                None if socket.is_read_shut => Tried::Done(0, flags),
                None => Tried::Wait,
            },
            Err(errno) => Tried::failed(errno),
        }
    }

    /// Moves `n` bytes to the process. Returns the flags of the completion.
    pub(super) fn unix_take(&mut self, id: Id, lent: Lent, n: usize) -> u32 {
        if let Ok(socket) = self.unix_mut(id) {
            socket.take(lent, n);
        }
        self.unix_hint(id)
    }

    /// Whether more is said to be there, which kernels do in three ways: the first ones say it
    /// always, others never, and since 6.17 it is true.
    fn unix_hint(&self, id: Id) -> u32 {
        let left = self.unix(id).map_or(0, |socket| socket.received_bytes);
        let says_so = match self.unix_age() {
            0 => left > 0,
            1 => false,
            _ => true,
        };
        if says_so { SOCK_NONEMPTY } else { 0 }
    }

    fn unix_age(&self) -> u64 {
        self.adversary.fixed(0x1d0, 3)
    }

    /// Whether a multishot receive that has brought something is tried once more. A kernel that
    /// does not know how much is left tries, and asks for another buffer to do so.
    pub(super) fn unix_goes_on(&self, id: Id) -> bool {
        let is_readable = self.unix(id).is_ok_and(Unix::is_readable);
        is_readable || self.unix_age() != 0
    }

    /// The socket has read something: its peer may have room to send again.
    pub(super) fn unix_has_room(&mut self, id: Id) {
        if let Some(other) = self.unix(id).ok().and_then(|socket| socket.other) {
            self.stir(other);
        }
    }

    /// How much a socket may send now.
    pub(super) fn unix_room(&self, id: Id) -> Result<usize, i32> {
        let socket = self.unix(id)?;
        match socket.state {
            State::Fresh | State::Listening { .. } => return Err(libc::ENOTCONN),
            State::Connected if socket.is_write_shut => return Err(libc::EPIPE),
            State::Connected => {}
        }
        let other = socket.other.and_then(|other| self.unix(other).ok());
        let used = other.map_or(0, |other| other.received_bytes);
        Ok(socket.send_buffer.saturating_sub(used))
    }

    /// Sends `bytes` on a connected socket.
    pub(super) fn unix_transmit(&mut self, from: Id, bytes: Vec<u8>) {
        let other = self.unix(from).ok().and_then(|socket| socket.other);
        let Some(other) = other.filter(|_| !bytes.is_empty()) else {
            return;
        };
        if let Ok(socket) = self.unix_mut(other) {
            socket.received_bytes += bytes.len();
            socket.received.push_back(bytes);
        }
        self.stir(other);
    }

    /// Ends one or both directions of a socket, and the opposite ones of its peer.
    pub(super) fn shut_down_unix(&mut self, id: Id, read: bool, write: bool) -> Result<(), i32> {
        let socket = self.unix_mut(id)?;
        socket.is_read_shut |= read;
        socket.is_write_shut |= write;
        let other = socket.other;
        self.stir(id);
        if let Some(other) = other
            && let Ok(socket) = self.unix_mut(other)
        {
            socket.is_read_shut |= write;
            socket.is_write_shut |= read;
            self.stir(other);
        }
        Ok(())
    }

    /// The last reference to a socket is gone.
    pub(super) fn end_unix(&mut self, host: HostId, socket: Unix) {
        if let Some(key) = &socket.key {
            self.hosts[host].unix.remove(key);
        }
        for message in &socket.messages {
            self.consumed(message);
        }
        for sender in &socket.senders {
            self.stir(*sender);
        }
        match socket.state {
            State::Fresh => {}
            State::Connected if socket.kind == Kind::Datagrams => {}
            State::Connected => {
                let unread = socket.received_bytes > 0 || !socket.messages.is_empty();
                self.leave_unix(socket.other, unread);
            }
            State::Listening { queue, callers, .. } => {
                for connection in queue {
                    let other = self.unix(connection).ok().and_then(|it| it.other);
                    self.leave_unix(other, true);
                    self.release(connection);
                }
                for caller in callers {
                    self.stir(caller);
                }
            }
        }
    }

    /// A socket's peer is gone, with bytes unread or without.
    fn leave_unix(&mut self, id: Option<Id>, unread: bool) {
        if let Some(id) = id
            && let Ok(socket) = self.unix_mut(id)
        {
            (socket.is_read_shut, socket.is_write_shut) = (true, true);
            if unread {
                socket.error = Some(libc::ECONNRESET);
            }
            self.stir(id);
        }
    }
}
