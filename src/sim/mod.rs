//! Simulation: a service, its machines, their disks and the network, under seeds and faults.
//!
//! [`check`] runs a test many times on a simulated Linux kernel. Each run has its own seed, which
//! decides everything that the real world leaves open: the order and the delay of completions, how
//! many bytes a call moves, what fails, which core goes next, what a power failure leaves on disks.
//! Time is virtual: an hour of sleeping costs nothing. The same seed gives the same run.
//!
//! The service's code is the code of production: nothing in it knows that it is simulated. A test
//! makes [`Host`]s, runs programs on them, cuts their network, pulls their plugs, and asserts what
//! must hold.
//!
//! # What is simulated
//!
//! TCP, UDP, Unix sockets, files and directories, timers, eventfds, and the io_uring interface
//! itself with everything that the runtime uses of it. Programs find hosts by name, and a file's
//! path on its own host's disk, which is empty at first. Unix sockets connect programs of one host.
//! Datagrams to another host may get lost, come twice and overtake each other; on one host they are
//! dropped only where a UDP socket's buffer is full.
//!
//! # What is not
//!
//! * [`spawn_blocking`](crate::task::spawn_blocking) runs its closure at once, in its caller.
//! * Names other than those of hosts and `localhost` are `NotFound`; nothing asks a real resolver.
//! * Multicast groups are refused, and datagrams are never joined to larger ones (GRO).
//! * Signals are those of [`Host::interrupt`], which the test sends; the real ones do not come.
//! * Std's sockets and files meet the real system: `into_std` and `as_fd` have nothing to give.
//! * Descriptors are not passed along with messages: what would send them is `EBADF`.
//! * Threads, `std::time` and hash maps with random keys are the program's own affair. A test that
//!   uses them may differ from run to run; a failure's report says so.

mod check;
mod failure;
mod host;
mod quiet;
mod run;

pub use self::{
    check::{Check, Report, check},
    failure::Failure,
    host::{Host, Sim},
};
pub use crate::ring::sim::{
    errnos::{Errnos, On},
    faults::{Coverage, Fault, Faults},
};
