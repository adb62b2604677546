//! What a runtime has counted.

use std::cell::Cell;
use std::time::Duration;

use crate::ring::Kick;

/// What one runtime has counted since it was built, and what it has in hand. Plain numbers, but
/// for `kick`: take two of them and subtract.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
#[non_exhaustive]
pub struct Stats {
    /// Rounds of the loop: ready tasks, one enter, completions.
    pub turns: u64,
    /// Calls of `io_uring_enter`.
    pub enters: u64,
    /// Submissions handed to the kernel.
    pub sqes: u64,
    /// Completions taken from the kernel.
    pub cqes: u64,
    /// Polls of tasks.
    pub polls: u64,
    /// Polls that held the core longer than the limit: see
    /// [`Builder::stall_limit`](super::Builder::stall_limit).
    pub stalls: u64,
    /// Cancels asked of the kernel.
    pub cancels: u64,
    /// Receives that found no buffer.
    pub enobufs: u64,
    /// Enters that found the completion queue full. Nothing was lost, but the queue is too small.
    pub overflows: u64,
    /// Tasks that are not finished.
    pub tasks: usize,
    /// Ops that the kernel has.
    pub in_flight: usize,
    /// Those of them that nobody waits for.
    pub orphans: usize,
    /// Timers that are set.
    pub timers: usize,
    /// Receive buffers that the kernel may still fill.
    pub buffers_free: usize,
    /// Receive buffers in all, those for datagrams included once there is a socket for them.
    pub buffers: usize,
    /// How other threads end its sleep.
    pub kick: Kick,
    /// Messages sent to other cores; see [`cores`](crate::cores).
    pub messages_sent: u64,
    /// Messages of other cores and threads that were taken.
    pub messages_received: u64,
    /// Tasks of other cores that were woken from this one. Wakes that met another one on its way to
    /// the same task are not counted.
    pub wakes_sent: u64,
    /// Those of them whose core was awake, so that they took no system call.
    pub wakes_saved: u64,
    /// Time spent in user space waiting for completions.
    pub spun: Duration,
    /// Time spent in the kernel waiting for completions.
    pub parked: Duration,
}

/// Messages between cores, counted by what stands above the runtime.
#[derive(Debug, Default)]
pub(crate) struct Messages {
    pub(crate) sent: Cell<u64>,
    pub(crate) received: Cell<u64>,
}
