//! A simulated ring: what the door calls.
#![allow(unsafe_code)]

use std::cell::Cell;
use std::collections::VecDeque;
use std::fmt;
use std::io;
use std::net::IpAddr;
use std::os::fd::RawFd;
use std::rc::Rc;

use socket2::{Domain, Type};

use super::buffers::Group;
use super::calls::os;
use super::faults::Fault;
use super::kernel::{HostId, Kernel, RingId, RingState};
use super::object::{Object, OpenFile};
use super::table::Id;
use super::unix::Kind;
use super::{Place, Time, World};
use crate::ring::cqe::Cqe;
use crate::ring::fd::Fd;
use crate::ring::opcode;
use crate::ring::probe::Features;
use crate::ring::sqe::RawSqe;
use crate::ring::{Config, Entered, Full, Wait};

/// A day: as the real ring, which cannot wait longer.
const WAIT_MAX_NS: u64 = 24 * 60 * 60 * 1_000_000_000;

/// Entries of its queues for which there is room from the start.
const FEW: usize = 8;

pub(crate) struct SimRing {
    world: Rc<World>,
    host: HostId,
    id: RingId,
    features: Features,
    fd: RawFd,
    /// The last one, for whoever looks at it.
    popped: Option<Cqe>,
    position: u32,
}

impl SimRing {
    pub(crate) fn new(place: &Place, config: &Config) -> io::Result<SimRing> {
        let (world, host) = (Rc::clone(&place.world), place.host);
        let mut kernel = world.kernel.borrow_mut();
        let id = kernel.rings.len();
        let object = Object::new(host, OpenFile::Ring(id));
        let object = kernel.objects.insert(object);
        let fd = kernel.install(host, object).map_err(os)?;
        let entries = (config.entries.max(1) as usize).next_power_of_two();
        kernel.rings.push(RingState {
            host,
            sq: Vec::with_capacity(FEW),
            entries,
            cq: VecDeque::with_capacity(FEW),
            cq_entries: (config.cq_entries.max(config.entries) as usize).next_power_of_two(),
            overflow: Default::default(),
            overflows: 0,
            fills_up: false,
            due: VecDeque::with_capacity(FEW),
            groups: Vec::new(),
            stirred: Rc::default(),
            is_gone: false,
        });
        // Some worlds run an older kernel.
        let incremental = kernel.adversary.fixed(0x1dc, 2) == 0;
        let features = Features::simulated(incremental, &opcode::ALLOWED);
        drop(kernel);
        Ok(SimRing {
            world,
            host,
            id,
            features,
            fd,
            popped: None,
            position: 0,
        })
    }

    pub(crate) fn features(&self) -> &Features {
        &self.features
    }

    pub(crate) fn push(&mut self, sqe: &RawSqe) -> Result<(), Full> {
        let mut kernel = self.world.kernel.borrow_mut();
        let ring = &mut kernel.rings[self.id];
        if ring.sq.len() >= ring.entries {
            return Err(Full);
        }
        ring.sq.push(*sqe);
        ring.stirred.set(true);
        Ok(())
    }

    pub(crate) fn staged(&self) -> usize {
        self.world.kernel.borrow().rings[self.id].sq.len()
    }

    pub(crate) fn has_work(&self) -> bool {
        let kernel = self.world.kernel.borrow();
        kernel.rings[self.id].has_work()
    }

    pub(crate) fn is_quiet(&self) -> bool {
        let kernel = self.world.kernel.borrow();
        let ring = &kernel.rings[self.id];
        ring.sq.is_empty() && !ring.has_work()
    }

    pub(crate) fn stirred(&self) -> Rc<Cell<bool>> {
        Rc::clone(&self.world.kernel.borrow().rings[self.id].stirred)
    }

    pub(crate) fn needs_enter(&self) -> bool {
        let kernel = self.world.kernel.borrow();
        let ring = &kernel.rings[self.id];
        !ring.due.is_empty() || !ring.overflow.is_empty()
    }

    pub(crate) fn enter(&mut self, at_most: u32, wait: Wait) -> io::Result<Entered> {
        let entered = self.submit_some(at_most as usize)?;
        self.reap();
        if entered == Entered::Busy || wait == Wait::No || self.world.is_stepped.get() {
            return Ok(entered);
        }
        let limit = match wait {
            Wait::For(limit) => u64::try_from(limit.as_nanos()).unwrap_or(u64::MAX),
            _ => u64::MAX,
        };
        let end = self.world.now_ns() + limit.min(WAIT_MAX_NS);
        while !self.has_completions() {
            if self.has_overflown() {
                self.reap();
                continue;
            }
            let next = self.world.kernel.borrow().next_event_ns();
            match next {
                Some(at) if at <= end => self.world.advance(at),
                None if wait == Wait::Forever => {
                    panic!("deadlock: the core waits, and nothing is in flight that could wake it")
                }
                _ => {
                    self.world.advance(end);
                    break;
                }
            }
            self.reap();
        }
        Ok(Entered::Done)
    }

    fn has_completions(&self) -> bool {
        !self.world.kernel.borrow().rings[self.id].cq.is_empty()
    }

    fn has_overflown(&self) -> bool {
        !self.world.kernel.borrow().rings[self.id]
            .overflow
            .is_empty()
    }

    /// Tries what is due and makes completions visible.
    fn reap(&mut self) {
        let mut kernel = self.world.kernel.borrow_mut();
        if !kernel.rings[self.id].overflow.is_empty() {
            kernel.rings[self.id].overflows += 1;
        }
        kernel.run_due(self.id);
        let ring = &mut kernel.rings[self.id];
        if std::mem::take(&mut ring.fills_up) {
            return; // the next enter finds room
        }
        while ring.cq.len() < ring.cq_entries
            && let Some(cqe) = ring.overflow.pop_front()
        {
            ring.cq.push_back(cqe);
        }
    }

    pub(crate) fn submit(&mut self) -> io::Result<Entered> {
        self.submit_some(usize::MAX)
    }

    fn submit_some(&mut self, at_most: usize) -> io::Result<Entered> {
        let mut kernel = self.world.kernel.borrow_mut();
        if kernel.rings[self.id].sq.is_empty() {
            return Ok(Entered::Done);
        }
        let mut staged = std::mem::take(&mut kernel.rings[self.id].sq);
        let mut taken = staged.len().min(at_most);
        let busy = taken > 0 && kernel.adversary.strikes(Fault::Busy, opcode::NOP);
        if busy {
            taken = kernel.adversary.below("taken all the same", taken as u64) as usize;
        }
        kernel.submit_all(self.id, &staged[..taken]);
        staged.drain(..taken);
        kernel.rings[self.id].sq = staged;
        Ok(if busy { Entered::Busy } else { Entered::Done })
    }

    pub(crate) fn pop(&mut self) -> Option<&Cqe> {
        self.popped = self.world.kernel.borrow_mut().rings[self.id].cq.pop_front();
        self.position = self.position.wrapping_add(u32::from(self.popped.is_some()));
        self.popped.as_ref()
    }

    pub(crate) fn position(&self) -> u32 {
        self.position
    }

    pub(crate) fn overflows(&self) -> u32 {
        self.world.kernel.borrow().rings[self.id].overflows
    }

    /// # Safety
    ///
    /// As [`Ring::register_buf_ring`](crate::ring::Ring::register_buf_ring).
    pub(crate) unsafe fn register_buf_ring(
        &mut self,
        address: u64,
        entries: u16,
        group: u16,
        incremental: bool,
    ) -> io::Result<()> {
        if incremental && !self.features.incremental {
            return Err(os(libc::EINVAL));
        }
        let mut kernel = self.world.kernel.borrow_mut();
        let ring = &mut kernel.rings[self.id];
        if ring.group(group).is_some() {
            return Err(os(libc::EEXIST));
        }
        // SAFETY: the caller's promise; `unregister_buf_ring` drops it, and so does the ring.
        let group = unsafe { Group::new(group, address, entries, incremental) };
        ring.groups.push(group);
        Ok(())
    }

    pub(crate) fn unregister_buf_ring(&mut self, group: u16) -> io::Result<()> {
        let mut kernel = self.world.kernel.borrow_mut();
        let registered = &mut kernel.rings[self.id].groups;
        let before = registered.len();
        registered.retain(|registered| registered.number != group);
        if registered.len() == before {
            return Err(os(libc::ENOENT));
        }
        Ok(())
    }

    #[allow(dead_code, reason = "one core alone has nobody to tell")]
    pub(crate) fn raw_fd(&self) -> RawFd {
        self.fd
    }

    pub(crate) fn time(&self) -> Time {
        Time(Rc::clone(&self.world))
    }

    pub(crate) fn socket(&self, domain: Domain, kind: Type) -> io::Result<Fd> {
        let is_v6 = domain == Domain::IPV6;
        let mut kernel = self.world.kernel.borrow_mut();
        let socket = match (domain, kind) {
            (Domain::UNIX, kind) => kernel.new_unix(self.host, unix_kind(kind)?),
            (Domain::IPV4 | Domain::IPV6, Type::STREAM) => kernel.new_socket(self.host, is_v6),
            (Domain::IPV4 | Domain::IPV6, Type::DGRAM) => {
                kernel.new_message_socket(self.host, is_v6)
            }
            _ => return Err(os(libc::EAFNOSUPPORT)),
        };
        self.install(&mut kernel, socket)
    }

    pub(crate) fn socket_pair(&self, kind: Type) -> io::Result<(Fd, Fd)> {
        let kind = unix_kind(kind)?;
        let mut kernel = self.world.kernel.borrow_mut();
        let (a, b) = (
            kernel.new_unix(self.host, kind),
            kernel.new_unix(self.host, kind),
        );
        kernel.connect_pair(a, b);
        self.install_both(&mut kernel, a, b)
    }

    pub(crate) fn pipe(&self) -> io::Result<(Fd, Fd)> {
        let mut kernel = self.world.kernel.borrow_mut();
        let (reader, writer) = kernel.new_pipe(self.host);
        self.install_both(&mut kernel, reader, writer)
    }

    fn install_both(&self, kernel: &mut Kernel, a: Id, b: Id) -> io::Result<(Fd, Fd)> {
        let installed = self.install(kernel, a).and_then(|a| {
            // As a number: an `Fd` closes itself, which the borrowed kernel would not survive.
            let number = a.into_raw();
            self.install(kernel, b)
                .inspect_err(|_| {
                    let _ = kernel.close(self.host, number);
                })
                .map(|b| (Fd::adopt(number), b))
        });
        if installed.is_err() {
            // The one that was never installed.
            for id in [a, b] {
                kernel.objects.remove(id);
            }
        }
        installed
    }

    pub(crate) fn eventfd(&self) -> io::Result<Fd> {
        let mut kernel = self.world.kernel.borrow_mut();
        let event = Object::new(self.host, OpenFile::Event(0));
        let event = kernel.objects.insert(event);
        self.install(&mut kernel, event)
    }

    fn install(&self, kernel: &mut Kernel, object: Id) -> io::Result<Fd> {
        if kernel.hosts[self.host].is_down {
            kernel.objects.remove(object);
            return Err(os(libc::EIO));
        }
        match kernel.install(self.host, object) {
            Ok(fd) => Ok(Fd::adopt(fd)),
            Err(errno) => {
                kernel.objects.remove(object);
                Err(os(errno))
            }
        }
    }

    pub(crate) fn lookup(&self, name: &str) -> io::Result<Vec<IpAddr>> {
        let kernel = self.world.kernel.borrow();
        if name == "localhost" {
            return Ok(vec![IpAddr::from([127, 0, 0, 1])]);
        }
        let host = kernel.hosts.iter().find(|host| host.name == name);
        let host = host.ok_or_else(|| {
            let text = format!("no host of the simulation is called {name:?}");
            io::Error::new(io::ErrorKind::NotFound, text)
        })?;
        Ok(vec![host.ip])
    }
}

fn unix_kind(kind: Type) -> io::Result<Kind> {
    match kind {
        Type::STREAM => Ok(Kind::Stream),
        Type::DGRAM => Ok(Kind::Datagrams),
        Type::SEQPACKET => Ok(Kind::Records),
        _ => Err(os(libc::ESOCKTNOSUPPORT)),
    }
}

impl Drop for SimRing {
    fn drop(&mut self) {
        let mut kernel = self.world.kernel.borrow_mut();
        // What is still in flight is taken down by nobody: its memory is leaked with the ring, and
        // touched no more.
        let left: Vec<_> = kernel.of_ring(self.id).collect();
        for op in left {
            kernel.finish(op, -libc::ECANCELED, 0);
        }
        kernel.rings[self.id].is_gone = true;
        kernel.rings[self.id].groups.clear();
        let _ = kernel.close(self.host, self.fd);
    }
}

impl fmt::Debug for SimRing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SimRing")
            .field("id", &self.id)
            .field("host", &self.host)
            .finish_non_exhaustive()
    }
}
