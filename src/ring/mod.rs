//! The one door to the kernel.
//!
//! What crosses it is the kernel's own interface: submissions in ([`Sqe`]), completions out
//! ([`Cqe`]), [`enter`](Ring::enter), registering; and with them the plain system calls on
//! descriptors ([`sys`], [`Fd`]) and the [`Clock`]. Nothing above makes a system call on a
//! descriptor by other means, so that the simulated kernel (`sim`) can stand behind the same door.
//!
//! Invariants:
//!
//! * A ring is built, used and dropped by one thread: the kernel refuses any other (`EEXIST`).
//! * Memory that a submission points to belongs to the kernel from [`push`](Ring::push) to the
//!   op's final completion. Dropping the ring does not end that: the kernel takes requests down
//!   later, on a worker of its own. Whoever drops a ring has reaped everything or leaks it.
//! * A ring does what [`opcode::ALLOWED`] lists and nothing else: the rest is `EACCES`.
//! * No call blocks but [`enter`](Ring::enter), and [`new`](Ring::new) for half a second when
//!   locked memory is short. None runs code of the caller's.
#![allow(unsafe_code)]

pub(crate) mod affinity;
mod clock;
mod completions;
mod control;
mod cqe;
mod diagnose;
mod facts;
mod fd;
pub(crate) mod kick;
mod message;
mod message_options;
mod name;
pub(crate) mod opcode;
mod options;
mod pages;
mod probe;
mod register;
mod restrict;
mod setup;
#[cfg(feature = "sim")]
pub(crate) mod sim;
mod sqe;
pub(crate) mod sys;
mod thread;
mod uring;

#[cfg(test)]
mod tests;

use std::io;
use std::net::IpAddr;
use std::os::fd::RawFd;
use std::time::Duration;

use socket2::{Domain, Protocol, Type};

pub(crate) use clock::Clock;
pub(crate) use control::ControlData;
pub(crate) use cqe::{Cqe, sock_nonempty};
pub use diagnose::{Cause, Unavailable};
pub(crate) use fd::Fd;
pub use kick::Kick;
pub(crate) use kick::Kicker;
pub(crate) use message::{MessageHeader, Outgoing, Parts, Rooms};
pub(crate) use message_options::MessageOption;
pub(crate) use name::Name;
pub(crate) use options::SocketOption;
pub(crate) use pages::Pages;
pub(crate) use probe::Features;
pub(crate) use sqe::{RawSqe, Sqe};
pub(crate) use thread::{Thread, block_signals};
use uring::Uring;

/// How large the queues are.
#[derive(Clone, Debug)]
pub(crate) struct Config {
    /// Submission queue entries. They bound one batch, not what is in flight.
    pub(crate) entries: u32,
    /// Completion queue entries. When they run out, multishot ops end and the kernel allocates.
    pub(crate) cq_entries: u32,
    /// Threads of the kernel's for what it cannot do at once.
    pub(crate) workers: Workers,
}

/// At most so many worker threads of the kernel for one ring.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Workers {
    /// For files, which end in a time that is bounded.
    pub(crate) files: u32,
    /// For what may wait for ever.
    pub(crate) others: u32,
}

impl Workers {
    pub(crate) const DEFAULT: Workers = Workers {
        files: 4,
        others: 64,
    };
}

impl Default for Config {
    /// 256 and 2,048: larger ones were no faster at 1,024 connections, and 64 of these fit in the
    /// usual 8 MiB of locked memory.
    fn default() -> Config {
        Config {
            entries: 256,
            cq_entries: 2048,
            workers: Workers::DEFAULT,
        }
    }
}

/// How long [`Ring::enter`] waits for a completion.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Wait {
    /// Not at all: submits and reaps.
    No,
    /// Until there is one, or a signal.
    Forever,
    /// At most this long, and at most a day.
    For(Duration),
}

/// What [`Ring::enter`] came back with, when it did not fail.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[must_use = "a busy kernel has not taken what was staged"]
pub(crate) enum Entered {
    /// The kernel was there. A timeout and a signal count as this, too.
    Done,
    /// The kernel takes no more just now, for lack of memory or room for completions. What was
    /// staged is still staged: reap, and try again in a later turn.
    Busy,
}

/// The submission queue is full: [`Ring::submit`] makes room.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Full;

/// One ring of whatever kernel stands behind the door.
#[derive(Debug)]
pub(crate) struct Ring {
    kernel: Kernel,
}

/// Decided once, when a runtime is built.
#[derive(Debug)]
enum Kernel {
    Uring(Uring),
    #[cfg(feature = "sim")]
    Sim(sim::SimRing),
}

/// Which kernel a ring is asked of.
#[derive(Clone, Debug, Default)]
pub(crate) enum Door {
    #[default]
    Linux,
    #[cfg(feature = "sim")]
    Simulated(sim::Place),
}

impl Ring {
    /// Builds a ring of the kernel behind `door`.
    ///
    /// # Errors
    ///
    /// As [`new`](Ring::new).
    pub(crate) fn open(door: &Door, config: &Config) -> io::Result<Ring> {
        match door {
            Door::Linux => Ring::new(config),
            #[cfg(feature = "sim")]
            Door::Simulated(place) => {
                let kernel = Kernel::Sim(sim::SimRing::new(place, config)?);
                Ok(Ring { kernel })
            }
        }
    }

    /// Builds a ring of the real kernel for the calling thread.
    ///
    /// # Errors
    ///
    /// An [`Unavailable`] inside an `io::Error` of a fitting kind.
    pub(crate) fn new(config: &Config) -> io::Result<Ring> {
        let uring = Uring::new(config)?;
        Ok(Ring {
            kernel: Kernel::Uring(uring),
        })
    }

    /// What this kernel can do.
    #[inline]
    pub(crate) fn features(&self) -> &Features {
        match &self.kernel {
            Kernel::Uring(uring) => uring.features(),
            #[cfg(feature = "sim")]
            Kernel::Sim(sim) => sim.features(),
        }
    }

    /// Stages a submission. No system call, ever.
    #[inline]
    pub(crate) fn push(&mut self, sqe: &RawSqe) -> Result<(), Full> {
        match &mut self.kernel {
            Kernel::Uring(uring) => uring.push(sqe),
            #[cfg(feature = "sim")]
            Kernel::Sim(sim) => sim.push(sqe),
        }
    }

    /// Submissions that were pushed and that the kernel has not taken yet.
    #[inline]
    pub(crate) fn staged(&self) -> usize {
        match &self.kernel {
            Kernel::Uring(uring) => uring.staged(),
            #[cfg(feature = "sim")]
            Kernel::Sim(sim) => sim.staged(),
        }
    }

    /// Whether there is something to reap, now or after an enter: what to spin on.
    ///
    /// Exact once [`pop`](Ring::pop) has returned `None`; before that it may say yes for
    /// completions already popped.
    #[inline]
    pub(crate) fn has_work(&self) -> bool {
        match &self.kernel {
            Kernel::Uring(uring) => uring.has_work(),
            #[cfg(feature = "sim")]
            Kernel::Sim(sim) => sim.has_work(),
        }
    }

    /// Whether nothing is staged, and there is nothing to reap, now or after an enter.
    #[cfg(feature = "sim")]
    pub(crate) fn is_quiet(&self) -> bool {
        match &self.kernel {
            Kernel::Uring(uring) => uring.staged() == 0 && !uring.has_work(),
            Kernel::Sim(sim) => sim.is_quiet(),
        }
    }

    /// Is set when something comes to a simulated ring.
    #[cfg(feature = "sim")]
    pub(crate) fn stirred(&self) -> std::rc::Rc<std::cell::Cell<bool>> {
        match &self.kernel {
            Kernel::Uring(_) => Default::default(),
            Kernel::Sim(sim) => sim.stirred(),
        }
    }

    /// Whether the kernel holds something back until it is entered.
    #[inline]
    pub(crate) fn needs_enter(&self) -> bool {
        match &self.kernel {
            Kernel::Uring(uring) => uring.needs_enter(),
            #[cfg(feature = "sim")]
            Kernel::Sim(sim) => sim.needs_enter(),
        }
    }

    /// Submits all that is staged, runs the kernel's deferred work and waits as told.
    ///
    /// Returns at once if there are completions already. Look at [`staged`](Ring::staged)
    /// afterwards: a kernel short of memory may take only some.
    ///
    /// # Errors
    ///
    /// `EBADR` if the kernel has lost completions for want of memory, `EEXIST` on a foreign
    /// thread. `EINTR`, `ETIME`, `EAGAIN`, `EBUSY` and `ENOMEM` are no errors here.
    #[cfg(test)]
    pub(crate) fn enter(&mut self, wait: Wait) -> io::Result<Entered> {
        self.enter_with(u32::MAX, wait)
    }

    /// As [`enter`](Ring::enter), with the first `at_most` of what is staged. Who keeps some back
    /// should not wait.
    ///
    /// # Errors
    ///
    /// As [`enter`](Ring::enter).
    #[inline]
    pub(crate) fn enter_with(&mut self, at_most: u32, wait: Wait) -> io::Result<Entered> {
        match &mut self.kernel {
            Kernel::Uring(uring) => uring.enter(at_most, wait),
            #[cfg(feature = "sim")]
            Kernel::Sim(sim) => sim.enter(at_most, wait),
        }
    }

    /// Submits all that is staged and reaps nothing: for a full queue.
    ///
    /// # Errors
    ///
    /// As [`enter`](Ring::enter).
    pub(crate) fn submit(&mut self) -> io::Result<Entered> {
        match &mut self.kernel {
            Kernel::Uring(uring) => uring.submit(),
            #[cfg(feature = "sim")]
            Kernel::Sim(sim) => sim.submit(),
        }
    }

    /// The next completion of those seen by the last enter.
    #[inline]
    pub(crate) fn pop(&mut self) -> Option<&Cqe> {
        match &mut self.kernel {
            Kernel::Uring(uring) => uring.pop(),
            #[cfg(feature = "sim")]
            Kernel::Sim(sim) => sim.pop(),
        }
    }

    /// Grows by one with each completion that is popped, and wraps.
    #[inline]
    pub(crate) fn position(&self) -> u32 {
        match &self.kernel {
            Kernel::Uring(uring) => uring.position(),
            #[cfg(feature = "sim")]
            Kernel::Sim(sim) => sim.position(),
        }
    }

    /// How many enters found the completion queue overflown. Nothing is lost by it, but each
    /// completion beyond the queue costs the kernel an allocation: the queue is too small.
    pub(crate) fn overflows(&self) -> u32 {
        match &self.kernel {
            Kernel::Uring(uring) => uring.overflows(),
            #[cfg(feature = "sim")]
            Kernel::Sim(sim) => sim.overflows(),
        }
    }

    /// Registers `entries` (a power of two, at most 32,768) buffer descriptors at `address` as
    /// `group`.
    ///
    /// # Errors
    ///
    /// `EINVAL` if the kernel lacks incremental buffers, `EEXIST` if the group is taken, `ENOMEM`
    /// beyond the limit of locked memory.
    ///
    /// # Safety
    ///
    /// `address` must be page-aligned memory of 16 × `entries` bytes, in use for nothing else and
    /// never unmapped before [`unregister_buf_ring`](Ring::unregister_buf_ring) has succeeded.
    pub(crate) unsafe fn register_buf_ring(
        &mut self,
        address: u64,
        entries: u16,
        group: u16,
        incremental: bool,
    ) -> io::Result<()> {
        match &mut self.kernel {
            // SAFETY: the caller's promise is the same.
            Kernel::Uring(uring) => unsafe {
                uring.register_buf_ring(address, entries, group, incremental)
            },
            #[cfg(feature = "sim")]
            // SAFETY: the caller's promise is the same.
            Kernel::Sim(sim) => unsafe {
                sim.register_buf_ring(address, entries, group, incremental)
            },
        }
    }

    /// Takes a buffer ring back: the kernel picks from it no more. Ops that already hold one of
    /// its buffers go on with that.
    ///
    /// # Errors
    ///
    /// `ENOENT` if there is no such group.
    pub(crate) fn unregister_buf_ring(&mut self, group: u16) -> io::Result<()> {
        match &mut self.kernel {
            Kernel::Uring(uring) => uring.unregister_buf_ring(group),
            #[cfg(feature = "sim")]
            Kernel::Sim(sim) => sim.unregister_buf_ring(group),
        }
    }

    /// The ring's own descriptor: the target of another ring's message.
    #[allow(dead_code, reason = "one core alone has nobody to tell")]
    pub(crate) fn raw_fd(&self) -> RawFd {
        match &self.kernel {
            Kernel::Uring(uring) => uring.raw_fd(),
            #[cfg(feature = "sim")]
            Kernel::Sim(sim) => sim.raw_fd(),
        }
    }

    /// Another descriptor of the ring, to which a [`Kicker`] sends messages. `None` if that takes
    /// more than this kernel can do, or no descriptor is left.
    pub(crate) fn duplicate(&self) -> Option<Fd> {
        match &self.kernel {
            Kernel::Uring(uring) if uring.features().messages => kick::duplicate(uring.raw_fd()),
            Kernel::Uring(_) => None,
            #[cfg(feature = "sim")]
            Kernel::Sim(_) => None,
        }
    }

    /// A new socket of this kernel, CLOEXEC and *blocking*: on a non-blocking one the ring answers
    /// `EAGAIN` instead of waiting.
    pub(crate) fn socket(
        &self,
        domain: Domain,
        kind: Type,
        protocol: Option<Protocol>,
    ) -> io::Result<Fd> {
        match &self.kernel {
            Kernel::Uring(_) => sys::socket(domain, kind, protocol),
            #[cfg(feature = "sim")]
            Kernel::Sim(sim) => sim.socket(domain, kind),
        }
    }

    /// Two new Unix sockets, connected to each other.
    pub(crate) fn socket_pair(&self, kind: Type) -> io::Result<(Fd, Fd)> {
        match &self.kernel {
            Kernel::Uring(_) => sys::socket_pair(kind),
            #[cfg(feature = "sim")]
            Kernel::Sim(sim) => sim.socket_pair(kind),
        }
    }

    /// A new pipe: its ends to read from and to write to, CLOEXEC and blocking.
    pub(crate) fn pipe(&self) -> io::Result<(Fd, Fd)> {
        match &self.kernel {
            Kernel::Uring(_) => sys::pipe(),
            #[cfg(feature = "sim")]
            Kernel::Sim(sim) => sim.pipe(),
        }
    }

    /// A new eventfd of this kernel, CLOEXEC and blocking, with count 0.
    pub(crate) fn eventfd(&self) -> io::Result<Fd> {
        match &self.kernel {
            Kernel::Uring(_) => sys::eventfd(),
            #[cfg(feature = "sim")]
            Kernel::Sim(sim) => sim.eventfd(),
        }
    }

    /// The addresses of a host that this kernel knows by itself. `None`: ask the resolver.
    pub(crate) fn lookup(&self, name: &str) -> Option<io::Result<Vec<IpAddr>>> {
        match &self.kernel {
            Kernel::Uring(_) => {
                let _ = name;
                None
            }
            #[cfg(feature = "sim")]
            Kernel::Sim(sim) => Some(sim.lookup(name)),
        }
    }

    /// Whether time is virtual here, so that nothing may spin, sleep or use another thread.
    pub(crate) fn is_simulated(&self) -> bool {
        match &self.kernel {
            Kernel::Uring(_) => false,
            #[cfg(feature = "sim")]
            Kernel::Sim(_) => true,
        }
    }

    /// The clock of this kernel.
    pub(crate) fn clock(&self) -> Clock {
        match &self.kernel {
            Kernel::Uring(_) => Clock::monotonic(),
            #[cfg(feature = "sim")]
            Kernel::Sim(sim) => Clock::simulated(sim.time()),
        }
    }
}
