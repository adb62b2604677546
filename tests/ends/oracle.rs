//! What must be as it was when a cell is over.

use std::fs;
use std::time::{Duration, Instant};

use corering::Runtime;
use corering::net::TcpStream;
use corering::runtime::{Stats, stats};
use corering::time::sleep;

use crate::common::{descriptors, mappings, pattern};
use crate::peer::Peer;

/// What is not back by then does not come back.
const PATIENCE: Duration = Duration::from_secs(10);
/// Allocations of the tests themselves: arenas of threads, a larger heap.
const SLACK_MAPPINGS: usize = 24;
const SLACK_BYTES: u64 = 192 << 20;
/// Together more than the buffers that a runtime begins with.
const MESSAGE: usize = 48 * 1024;
const ROUNDS: usize = 26;

/// What a runtime has in hand.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Baseline {
    descriptors: usize,
    in_flight: usize,
    orphans: usize,
    timers: usize,
    tasks: usize,
    buffers_taken: usize,
}

impl Baseline {
    /// Of the runtime that runs here.
    pub(crate) fn now() -> Baseline {
        Baseline::of(stats().expect("inside a runtime"))
    }

    fn of(stats: Stats) -> Baseline {
        Baseline {
            descriptors: descriptors(),
            in_flight: stats.in_flight,
            orphans: stats.orphans,
            timers: stats.timers,
            tasks: stats.tasks,
            buffers_taken: stats.buffers - stats.buffers_free,
        }
    }

    /// Waits until everything is back.
    pub(crate) async fn is_back(&self) -> Result<(), String> {
        let start = Instant::now();
        loop {
            let now = Baseline::now();
            if now == *self {
                return Ok(());
            }
            if start.elapsed() > PATIENCE {
                return Err(format!("leaked: {now:?} instead of {self:?}"));
            }
            sleep(Duration::from_millis(1)).await;
        }
    }
}

/// Sends more through a stream than all buffers hold. A buffer that is filled bit by bit counts as
/// free until it is full: only then does a lease show that nobody gave back.
pub(crate) async fn buffers_come_back() -> Result<(), String> {
    let (ours, peer) = Peer::pair(false);
    let stream = TcpStream::from_std(ours).expect("a runtime");
    let message = pattern(1, MESSAGE);
    for _ in 0..ROUNDS {
        peer.send(&message).expect("it fits");
        let mut left = message.len();
        while left > 0 {
            let lease = stream.recv().await.expect("bytes");
            left -= lease.expect("no end").len();
        }
    }
    let stats = stats().expect("inside a runtime");
    match stats.buffers_free == stats.buffers {
        true => Ok(()),
        false => Err(format!(
            "{} of {} buffers",
            stats.buffers_free, stats.buffers
        )),
    }
}

/// What a process has besides, when no runtime is there.
#[derive(Debug, Eq, PartialEq)]
pub(crate) struct Process {
    descriptors: usize,
    rings: usize,
    mappings: usize,
    bytes: u64,
}

impl Process {
    pub(crate) fn now() -> Process {
        Process {
            descriptors: descriptors(),
            rings: rings(),
            mappings: mappings(),
            bytes: size(),
        }
    }

    /// Of a process that has used what it keeps for good, once.
    pub(crate) fn after_warming_up() -> Process {
        for _ in 0..3 {
            let thread = std::thread::spawn(|| Runtime::new().map(drop));
            thread.join().expect("no panic").expect("a runtime");
        }
        drop(Runtime::new());
        Process::now()
    }

    /// Descriptors and rings that are not back, after a cell.
    pub(crate) fn is_back(&self) -> Result<(), String> {
        let now = Process::now();
        match (now.descriptors, now.rings) == (self.descriptors, self.rings) {
            true => Ok(()),
            false => Err(format!("leaked: {now:?} instead of {self:?}")),
        }
    }

    /// Mappings that are not back, after all cells. One of each runtime would be hundreds.
    pub(crate) fn leaked(&self) -> Option<String> {
        let now = Process::now();
        let is_back = now.descriptors == self.descriptors
            && now.rings == self.rings
            && now.mappings <= self.mappings + SLACK_MAPPINGS
            && now.bytes <= self.bytes + SLACK_BYTES;
        (!is_back).then(|| format!("{now:?} instead of {self:?}"))
    }
}

/// Mappings of rings.
fn rings() -> usize {
    let maps = fs::read_to_string("/proc/self/maps").expect("its mappings");
    maps.matches("[io_uring]").count()
}

/// The address space in use, bytes.
fn size() -> u64 {
    let status = fs::read_to_string("/proc/self/status").expect("its status");
    let line = status.lines().find_map(|line| line.strip_prefix("VmSize:"));
    let kilobytes = line.and_then(|line| line.trim().strip_suffix(" kB"));
    1024 * kilobytes.expect("VmSize").parse::<u64>().expect("a number")
}
