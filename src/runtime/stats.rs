//! What a runtime has counted.

use std::time::Duration;

/// What one runtime has counted since it was built, and what it has in hand. Plain numbers: take
/// two of them and subtract.
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
    /// Time spent in user space waiting for completions.
    pub spun: Duration,
    /// Time spent in the kernel waiting for completions.
    pub parked: Duration,
}
