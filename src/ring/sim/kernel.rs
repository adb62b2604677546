//! The simulated kernel's state, and how its time goes on.
//!
//! * An *object* is what a descriptor stands for. It lives as long as a descriptor or an op in
//!   flight refers to it: closing a descriptor does not end the ops on it.
//! * An *op* is in exactly one state ([`Stage`]): waiting on its object, or due to be tried. It is
//!   tried while its ring is entered and at no other time, as with `DEFER_TASKRUN`, so that lent
//!   memory is touched in the last moment before the completion can be seen.
//! * Time passes only in [`Kernel::advance`], from event to event.

use std::cell::Cell;
use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, BinaryHeap, VecDeque};
use std::net::SocketAddr;
use std::rc::Rc;

use super::adversary::Adversary;
use super::buffers::Group;
use super::disk::Disk;
use super::links::Links;
use super::memory::Lent;
use super::messages::{Datagram, Outbound};
use super::object::{Object, OpenFile};
use super::table::{Id, Table};
use super::trace::Trace;
use super::unix::Key;
use crate::ring::Rooms;
use crate::ring::cqe::Cqe;
use crate::ring::sqe::RawSqe;

pub(crate) type HostId = usize;
pub(crate) type RingId = usize;

/// Objects, ops in flight and events for which there is room from the start.
const MANY: usize = 32;

#[derive(Debug)]
pub(crate) struct Kernel {
    pub(crate) adversary: Adversary,
    pub(crate) trace: Trace,
    pub(crate) hosts: Vec<Host>,
    pub(super) now_ns: u64,
    pub(super) events: BinaryHeap<Reverse<Timed>>,
    pub(super) rings: Vec<RingState>,
    pub(super) objects: Table<Object>,
    pub(super) ops: Table<InFlight>,
    pub(crate) links: Links,
    scheduled: u64,
}

/// One machine.
#[derive(Debug)]
pub(crate) struct Host {
    pub(crate) name: String,
    pub(crate) ip: std::net::IpAddr,
    /// Without power, or its process killed: its rings and descriptors do nothing any more.
    pub(crate) is_down: bool,
    pub(super) descriptors: Vec<Option<Id>>,
    /// The limit of open descriptors.
    pub(crate) nofile: usize,
    pub(super) disk: Disk,
    /// Listening sockets, and those that are bound, by port.
    pub(super) ports: BTreeMap<u16, Vec<Id>>,
    /// Connections that were accepted, or wait for that, by port.
    pub(super) accepted: BTreeSet<(u16, Id)>,
    /// UDP sockets that are bound, by port.
    pub(super) udp_ports: BTreeMap<u16, Vec<Id>>,
    pub(super) next_port: u16,
    /// Eventfds that are written when the process is interrupted.
    pub(super) interrupted: Vec<Id>,
    /// The process has asked for interrupts, which do not end it since then.
    pub(super) outlives_interrupts: bool,
    /// Unix sockets that have a name.
    pub(super) unix: BTreeMap<Key, Id>,
}

#[derive(Debug)]
pub(super) struct RingState {
    pub(super) host: HostId,
    pub(super) sq: Vec<RawSqe>,
    pub(super) entries: usize,
    pub(super) cq: VecDeque<Cqe>,
    pub(super) cq_entries: usize,
    pub(super) overflow: VecDeque<Cqe>,
    pub(super) overflows: u32,
    /// There is no room until the next enter.
    pub(super) fills_up: bool,
    /// Ops that are to be tried when the ring is entered.
    pub(super) due: VecDeque<Id>,
    pub(super) groups: Vec<Group>,
    /// Something has come since its core was last looked at.
    pub(super) stirred: Rc<Cell<bool>>,
    pub(super) is_gone: bool,
}

impl RingState {
    /// Whether the next completion is kept back: behind those that are, too.
    pub(super) fn is_full(&self) -> bool {
        self.fills_up || self.cq.len() >= self.cq_entries || !self.overflow.is_empty()
    }

    /// Whether there is something to reap, now or when the ring is entered.
    pub(super) fn has_work(&self) -> bool {
        !self.cq.is_empty() || !self.due.is_empty() || !self.overflow.is_empty()
    }

    /// Has an op tried when the ring is entered.
    fn add_due(&mut self, op: Id) {
        self.due.push_back(op);
        self.stirred.set(true);
    }

    pub(super) fn group(&self, number: u16) -> Option<&Group> {
        self.groups.iter().find(|group| group.number == number)
    }

    pub(super) fn group_mut(&mut self, number: u16) -> Option<&mut Group> {
        self.groups.iter_mut().find(|group| group.number == number)
    }
}

/// An op between its submission and its final completion.
#[derive(Debug)]
pub(super) struct InFlight {
    pub(super) ring: RingId,
    pub(super) sqe: RawSqe,
    pub(super) object: Option<Id>,
    pub(super) args: Args,
    pub(super) stage: Stage,
    /// Bytes that a `MSG_WAITALL` has sent so far.
    pub(super) done: usize,
    /// A cancel has found it, and it goes on all the same until it would wait.
    pub(super) is_cancelled: bool,
    /// What is linked to it, in order.
    pub(super) rest: Vec<Id>,
}

impl InFlight {
    /// One that is to be tried.
    pub(super) fn new(ring: RingId, sqe: &RawSqe, object: Option<Id>, args: Args) -> InFlight {
        InFlight {
            ring,
            sqe: *sqe,
            object,
            args,
            stage: Stage::Due,
            done: 0,
            is_cancelled: false,
            rest: Vec::new(),
        }
    }
}

/// What is copied from the process while the submission is taken.
#[derive(Debug)]
pub(super) enum Args {
    None,
    Memory(Lent),
    Vectors(Vec<Lent>),
    /// The pieces of a message, and what is said of it.
    Message(Vec<Lent>, Box<Outbound>),
    /// What a receive of messages leaves room for.
    Rooms(Rooms),
    Address(Box<socket2::SockAddr>),
    Paths(Vec<u8>, Vec<u8>),
    /// A path, and where its metadata go.
    Status(Vec<u8>, Lent),
}

impl Args {
    /// The memory that is read or written while the op is in flight.
    pub(super) fn lent(&self) -> &[Lent] {
        match self {
            Args::Memory(lent) | Args::Status(_, lent) => std::slice::from_ref(lent),
            Args::Vectors(vectors) | Args::Message(vectors, _) => vectors,
            Args::None | Args::Rooms(_) | Args::Address(_) | Args::Paths(..) => &[],
        }
    }
}

impl Args {
    /// Names and addresses, for traces.
    pub(super) fn texts(&self) -> String {
        let text = |path: &[u8]| String::from_utf8_lossy(path).into_owned();
        match self {
            Args::Paths(path, second) if second.is_empty() => text(path),
            Args::Paths(path, second) => format!("{} to {}", text(path), text(second)),
            Args::Status(path, _) => text(path),
            Args::Address(address) => {
                let ip = address.as_socket().map(|address| address.to_string());
                ip.unwrap_or_else(|| format!("{:?}", address.as_unix()))
            }
            Args::Message(_, outbound) => match outbound.name.ip() {
                Some(address) => address.to_string(),
                None => String::new(),
            },
            Args::None | Args::Memory(_) | Args::Vectors(_) | Args::Rooms(_) => String::new(),
        }
    }
}

#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) enum Stage {
    /// On its object's list.
    Waiting,
    /// On its ring's list, or an event puts it there.
    Due,
    /// It begins when the one before it in its chain has ended.
    Linked,
    /// The same, and then it fails.
    Refused(i32),
    /// Its result is posted; the memory is lent until the notification. The bytes as they were.
    Sent(Vec<u8>),
}

#[derive(Debug)]
pub(super) enum Event {
    /// An op is to be tried.
    Due(Id),
    /// The first segment on the wire to this socket arrives.
    Deliver(Id),
    /// A SYN of this socket arrives, sent for the n-th time.
    Syn(Id, u32),
    /// The answer to a SYN arrives: the server's socket, or an errno.
    Answer(Id, Result<Id, i32>),
    /// A datagram arrives, from the first host at the second, sent by this socket.
    Datagram(HostId, HostId, Id, Box<Datagram>),
    /// A socket is told that nobody is at this address.
    Refused(Id, SocketAddr),
}

#[derive(Debug)]
pub(super) struct Timed {
    at_ns: u64,
    order: u64,
    event: Event,
}

impl PartialEq for Timed {
    fn eq(&self, other: &Timed) -> bool {
        (self.at_ns, self.order) == (other.at_ns, other.order)
    }
}

impl Eq for Timed {}

impl PartialOrd for Timed {
    fn partial_cmp(&self, other: &Timed) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Timed {
    fn cmp(&self, other: &Timed) -> std::cmp::Ordering {
        (self.at_ns, self.order).cmp(&(other.at_ns, other.order))
    }
}

impl Kernel {
    pub(super) fn new(adversary: Adversary) -> Kernel {
        Kernel {
            adversary,
            trace: Trace::new(),
            hosts: Vec::new(),
            // Not zero: a program must not take a time for a span.
            now_ns: 1_000_000_000,
            events: BinaryHeap::with_capacity(MANY),
            rings: Vec::new(),
            objects: Table::with_capacity(MANY),
            ops: Table::with_capacity(MANY),
            links: Links::default(),
            scheduled: 0,
        }
    }

    pub(super) fn after(&mut self, delay_ns: u64, event: Event) {
        let order = self.scheduled;
        self.scheduled += 1;
        let at_ns = self.now_ns + delay_ns;
        self.events.push(Reverse(Timed {
            at_ns,
            order,
            event,
        }));
    }

    /// When the next event is.
    pub(crate) fn next_event_ns(&self) -> Option<u64> {
        self.events.peek().map(|Reverse(next)| next.at_ns)
    }

    /// Lets time go on to `to_ns`, through all that happens until then.
    pub(crate) fn advance(&mut self, to_ns: u64) {
        while let Some(at_ns) = self.next_event_ns()
            && at_ns <= to_ns
        {
            self.set_now(at_ns);
            if let Some(Reverse(next)) = self.events.pop() {
                self.happen(next.event);
            }
        }
        self.set_now(to_ns);
    }

    fn set_now(&mut self, now_ns: u64) {
        self.now_ns = self.now_ns.max(now_ns);
        self.adversary.now_ns = self.now_ns;
    }

    fn happen(&mut self, event: Event) {
        match event {
            Event::Due(op) => self.make_due(op),
            Event::Deliver(socket) => self.deliver(socket),
            Event::Syn(client, times) => self.syn(client, times),
            Event::Answer(client, answer) => self.answer(client, answer),
            Event::Datagram(here, there, sender, datagram) => {
                self.arrive(here, there, sender, *datagram);
            }
            Event::Refused(sender, to) => self.refuse(sender, to),
        }
    }

    /// Puts an op on its ring's list of what is to be tried.
    pub(super) fn make_due(&mut self, id: Id) {
        if let Some(op) = self.ops.find_mut(id) {
            if op.stage == Stage::Waiting {
                op.stage = Stage::Due;
            }
            self.rings[op.ring].add_due(id);
        }
    }

    /// Something about an object has changed: the ops that wait on it are tried again.
    pub(super) fn stir(&mut self, object: Id) {
        let Some(object) = self.objects.find_mut(object) else {
            return;
        };
        for waiter in object.waiters.drain(..) {
            if let Some(op) = self.ops.find_mut(waiter)
                && op.stage == Stage::Waiting
            {
                op.stage = Stage::Due;
                self.rings[op.ring].add_due(waiter);
            }
        }
    }

    /// One descriptor or op less refers to an object; the last one ends it.
    pub(super) fn release(&mut self, id: Id) {
        let Some(object) = self.objects.find_mut(id) else {
            return;
        };
        object.references -= 1;
        if object.references > 0 {
            return;
        }
        let Some(object) = self.objects.remove(id) else {
            return;
        };
        match object.file {
            OpenFile::Socket(socket) => self.end_socket(id, object.host, *socket),
            OpenFile::Unix(socket) => self.end_unix(object.host, *socket),
            OpenFile::Messages(socket) => self.forget_udp_port(id, object.host, &socket),
            OpenFile::Disk(file) => self.hosts[object.host].disk.close(file.inode),
            OpenFile::PipeReader(pipe) => self.end_pipe_reader(&pipe),
            OpenFile::PipeWriter(pipe) => self.end_pipe_writer(&pipe),
            OpenFile::Event(_) | OpenFile::Ring(_) => {}
        }
    }

    /// The object behind a descriptor of `host`.
    pub(super) fn object_of(&self, host: HostId, fd: i32) -> Result<Id, i32> {
        let index = super::number::index_of(host, fd).ok_or(libc::EBADF)?;
        let slot = self.hosts[host].descriptors.get(index);
        slot.copied().flatten().ok_or(libc::EBADF)
    }

    /// A new descriptor for an object, the lowest that is free.
    pub(super) fn install(&mut self, host: HostId, object: Id) -> Result<i32, i32> {
        let descriptors = &mut self.hosts[host].descriptors;
        let free = descriptors.iter().position(Option::is_none);
        let index = free.unwrap_or(descriptors.len());
        if index >= self.hosts[host].nofile {
            return Err(libc::EMFILE);
        }
        let descriptors = &mut self.hosts[host].descriptors;
        if index == descriptors.len() {
            descriptors.push(None);
        }
        descriptors[index] = Some(object);
        if let Some(object) = self.objects.find_mut(object) {
            object.references += 1;
        }
        Ok(super::number::descriptor(host, index))
    }

    /// What is given a descriptor asks for its number first, before anything else can be wrong.
    pub(super) fn has_free_descriptor(&self, host: HostId) -> Result<(), i32> {
        let Host {
            descriptors,
            nofile,
            ..
        } = &self.hosts[host];
        let room = descriptors.len() < *nofile;
        let free = room || descriptors[..*nofile].iter().any(Option::is_none);
        if free { Ok(()) } else { Err(libc::EMFILE) }
    }

    pub(super) fn close(&mut self, host: HostId, fd: i32) -> Result<(), i32> {
        let object = self.object_of(host, fd)?;
        let index = super::number::index_of(host, fd).ok_or(libc::EBADF)?;
        self.hosts[host].descriptors[index] = None;
        self.release(object);
        Ok(())
    }

    /// The name of a ring's host, for traces.
    pub(crate) fn note(&mut self, host: HostId, text: impl FnOnce() -> String) {
        let name = &self.hosts[host].name;
        self.trace.note(self.now_ns, name, text);
    }
}
