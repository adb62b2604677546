//! A simulated kernel behind the door.
//!
//! It interprets the submissions that the driver really makes, against hosts, sockets, files and a
//! network that are plain values of this process, in virtual time. Everything that Linux leaves
//! open is decided by a seed: when an op completes, in which order, with how much, who wins a
//! cancel, what fails. The same seed gives the same run, submission by submission.
//!
//! * [`kernel`]: the state, the descriptors, and how time goes on.
//! * [`adversary`] and [`faults`]: who decides, and what may go wrong how often. [`errnos`]: the
//!   table of all that can be forced.
//! * `ops`, `chains`, `cancel`, `arguments`: an op's way from its submission to its completions.
//!   `opcodes`: sets of them.
//! * `socket`, `options`, `connect`, `links`: TCP and the network. `bytes`: what was received.
//!   `messages`, `datagrams`: UDP.
//! * `unix`, `unix_messages`: sockets of one host. `pipes`: these, and splicing.
//! * `disk`, `files`, `names`: files, and what a power failure leaves of them. `buffers`: provided
//!   buffers.
//! * `memory`: the only place that touches what the process has lent. `pool`: mappings that are
//!   kept from world to world.
//! * `calls`: plain system calls. `trace`: what happened, as a digest and for a reader.
//!
//! # Rules
//!
//! 1. Lent memory is read and written as late as a kernel may: while the ring is entered, in the
//!    moment before the completion becomes visible. What was freed or moved too early shows.
//! 2. No call here runs code of the caller's, and none blocks. Time passes in [`World::advance`],
//!    and in an enter that waits while no scheduler steps the cores.
//! 3. Nothing depends on an address, a hash or the real time.
#![allow(unsafe_code)]

pub(crate) mod adversary;
mod arguments;
mod buffers;
mod bytes;
mod calls;
mod cancel;
mod chains;
mod connect;
mod datagrams;
mod disk;
pub(crate) mod errnos;
pub(crate) mod faults;
mod files;
pub(crate) mod kernel;
mod links;
mod memory;
mod messages;
mod names;
mod number;
mod object;
mod opcodes;
mod ops;
mod options;
mod pipes;
pub(super) mod pool;
mod ring;
mod socket;
mod table;
mod trace;
mod unix;
mod unix_messages;

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::io;
use std::net::{IpAddr, Ipv4Addr};
use std::rc::{Rc, Weak};

use self::adversary::{Adversary, Forced};
use self::disk::Disk;
use self::faults::{Coverage, Fault, Faults};
use self::kernel::{Host, HostId, Kernel};

pub(crate) use self::ring::SimRing;
use super::opcode;

/// Everything that is simulated together. One at a time on a thread.
pub(crate) struct World {
    pub(crate) kernel: RefCell<Kernel>,
    now_ns: Cell<u64>,
    /// Somebody steps the cores one by one and lets time go on himself, so that no enter waits.
    is_stepped: Cell<bool>,
}

/// A host of a world, to build a ring on.
#[derive(Clone, Debug)]
pub(crate) struct Place {
    pub(crate) world: Rc<World>,
    pub(crate) host: HostId,
}

/// The clock of a world.
#[derive(Clone)]
pub(crate) struct Time(Rc<World>);

/// How a world begins.
#[derive(Clone, Debug, Default)]
pub(crate) struct Setup {
    pub(crate) seed: u64,
    pub(crate) faults: Faults,
    /// The only choices that are not harmless, if it is set.
    pub(crate) keep: Option<Rc<BTreeSet<u64>>>,
    pub(crate) forced: Option<Forced>,
    /// Keep the lines of the trace, and the choices.
    pub(crate) is_recorded: bool,
}

thread_local! {
    static CURRENT: RefCell<Weak<World>> = const { RefCell::new(Weak::new()) };
}

impl World {
    /// A world without hosts, the current one of this thread from now on.
    ///
    /// # Panics
    ///
    /// If the thread has a world already.
    pub(crate) fn new(setup: Setup) -> Rc<World> {
        assert!(
            World::current().is_none(),
            "a simulation runs on this thread already: one at a time"
        );
        let mut adversary = Adversary::new(setup.seed, &setup.faults, setup.keep);
        if let Some(forced) = setup.forced {
            adversary.force(forced);
        }
        if setup.is_recorded {
            adversary.record();
        }
        let mut kernel = Kernel::new(adversary);
        if setup.is_recorded {
            kernel.trace.record();
        }
        number::next_world();
        pool::open(setup.seed);
        let world = Rc::new(World {
            now_ns: Cell::new(kernel.now_ns),
            kernel: RefCell::new(kernel),
            is_stepped: Cell::new(false),
        });
        CURRENT.with(|current| current.replace(Rc::downgrade(&world)));
        world
    }

    /// The thread may have another world: a runtime that did not end keeps this one for ever.
    pub(crate) fn leave(&self) {
        let _ = CURRENT.try_with(|current| {
            if std::ptr::eq(current.borrow().as_ptr(), self) {
                current.replace(Weak::new());
                pool::close();
            }
        });
    }

    fn current() -> Option<Rc<World>> {
        CURRENT
            .try_with(|current| current.borrow().upgrade())
            .ok()
            .flatten()
    }

    /// A host more. Its address is 10.0.0.1 for the first, and so on.
    ///
    /// # Panics
    ///
    /// Beyond 64 hosts.
    pub(crate) fn add_host(&self, name: &str) -> HostId {
        let mut kernel = self.kernel.borrow_mut();
        let id = kernel.hosts.len();
        assert!(id < number::HOSTS, "a simulation has at most 64 hosts");
        kernel.hosts.push(Host {
            name: name.to_owned(),
            ip: IpAddr::V4(Ipv4Addr::new(10, 0, 0, id as u8 + 1)),
            is_down: false,
            descriptors: Vec::new(),
            nofile: 1024,
            disk: Disk::new(),
            ports: BTreeMap::new(),
            udp_ports: BTreeMap::new(),
            accepted: BTreeSet::new(),
            next_port: 32_768,
            interrupted: Vec::new(),
            outlives_interrupts: false,
            unix: BTreeMap::new(),
        });
        id
    }

    /// Nanoseconds since an arbitrary point.
    pub(crate) fn now_ns(&self) -> u64 {
        self.now_ns.get()
    }

    /// Lets time go on.
    pub(crate) fn advance(&self, to_ns: u64) {
        let mut kernel = self.kernel.borrow_mut();
        kernel.advance(to_ns);
        self.now_ns.set(kernel.now_ns);
    }

    /// Whether cores are stepped by somebody who lets time go on himself.
    ///
    /// Returns how it was before.
    pub(crate) fn set_stepped(&self, on: bool) -> bool {
        self.is_stepped.replace(on)
    }

    /// Ends what runs on a host. `power`: its disk loses what was not synced, and its peers hear
    /// nothing. Otherwise the kernel lives on and closes the process's descriptors.
    pub(crate) fn fell(&self, host: HostId, power: bool) {
        let mut kernel = self.kernel.borrow_mut();
        kernel.note(host, || {
            let what = if power { "power failure" } else { "killed" };
            what.to_owned()
        });
        if power {
            // First: a host without power says nothing to its peers.
            kernel.hosts[host].is_down = true;
        }
        kernel.drop_process(host);
        kernel.hosts[host].is_down = true;
        if power {
            let Kernel {
                hosts, adversary, ..
            } = &mut *kernel;
            hosts[host].disk.crash(adversary);
        }
    }

    /// Interrupts the process of a host. False: it has never asked for that, and is to end.
    pub(crate) fn interrupt(&self, host: HostId) -> bool {
        let mut kernel = self.kernel.borrow_mut();
        kernel.note(host, || "interrupted".to_owned());
        for event in kernel.hosts[host].interrupted.clone() {
            kernel.add_to_event(event, 1);
        }
        kernel.hosts[host].outlives_interrupts
    }

    /// A host that was felled can run programs again.
    pub(crate) fn raise(&self, host: HostId) {
        let mut kernel = self.kernel.borrow_mut();
        kernel.hosts[host].is_down = false;
        kernel.note(host, || "started".to_owned());
    }

    /// Limits the bytes that the files of a host may have.
    pub(crate) fn set_disk_capacity(&self, host: HostId, bytes: u64) {
        self.kernel.borrow_mut().hosts[host].disk.capacity = bytes;
    }

    /// How many descriptors are open on a host.
    pub(crate) fn open_descriptors(&self, host: HostId) -> usize {
        let kernel = self.kernel.borrow();
        kernel.hosts[host].descriptors.iter().flatten().count()
    }

    /// What is still there that ought to be gone when all programs have ended: descriptors, ops,
    /// and objects of the kernel.
    pub(crate) fn leftovers(&self) -> Option<String> {
        let kernel = self.kernel.borrow();
        let open = |host: &Host| host.descriptors.iter().flatten().count();
        let descriptors = kernel.hosts.iter().map(open).sum::<usize>();
        let (ops, objects) = (kernel.ops.len(), kernel.objects.len());
        (descriptors + ops + objects > 0).then(|| {
            format!("{descriptors} descriptors, {ops} operations and {objects} objects are left")
        })
    }
}

impl Kernel {
    /// No more faults.
    pub(crate) fn calm(&mut self) {
        self.adversary.calm();
    }

    /// Whether something happens to a core as such.
    pub(crate) fn core_is_hit(&mut self, fault: Fault) -> bool {
        self.adversary.strikes(fault, opcode::NOP)
    }

    /// A choice of the seed's that belongs to the set-up.
    pub(crate) fn setup_choice(&self, what: u64, below: u64) -> u64 {
        self.adversary.fixed(what, below)
    }

    /// How often a fault has happened so far.
    pub(crate) fn happened(&self, fault: Fault) -> u64 {
        self.adversary.coverage.count_of(fault)
    }

    pub(crate) fn take_coverage(&mut self) -> Coverage {
        self.adversary.coverage.take()
    }

    /// Ends the ops and closes the descriptors of a host's process.
    fn drop_process(&mut self, host: HostId) {
        let rings: Vec<usize> = (0..self.rings.len())
            .filter(|&ring| self.rings[ring].host == host && !self.rings[ring].is_gone)
            .collect();
        for ring in rings {
            let ops: Vec<_> = self.of_ring(ring).collect();
            for op in ops {
                self.finish(op, -libc::ECANCELED, 0);
            }
        }
        let descriptors = std::mem::take(&mut self.hosts[host].descriptors);
        for object in descriptors.into_iter().flatten() {
            self.release(object);
        }
        self.hosts[host].ports.clear();
        self.hosts[host].udp_ports.clear();
        self.hosts[host].accepted.clear();
        self.hosts[host].unix.clear();
        self.hosts[host].interrupted.clear();
        self.hosts[host].outlives_interrupts = false;
    }
}

impl Drop for World {
    fn drop(&mut self) {
        self.leave();
    }
}

impl Time {
    #[inline]
    pub(crate) fn now_ns(&self) -> u64 {
        self.0.now_ns()
    }
}

impl fmt::Debug for Time {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Time").field(&self.now_ns()).finish()
    }
}

impl fmt::Debug for World {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("World")
            .field("now_ns", &self.now_ns)
            .finish_non_exhaustive()
    }
}

/// The error of what a simulation does not have.
pub(crate) fn unsupported(what: &str) -> io::Error {
    io::Error::new(
        io::ErrorKind::Unsupported,
        format!("{what} are not simulated"),
    )
}
