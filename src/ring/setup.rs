//! Building a ring: what is tried, in which order, and what is given up.
#![allow(unsafe_code)]

use std::io;
use std::thread;
use std::time::{Duration, Instant};

use io_uring::{Builder, IoUring};

use super::diagnose::Unavailable;
use super::probe::Features;
use super::{Config, Workers, restrict};

/// Locked memory of a dropped ring comes back late, also that of a process that has ended: the
/// kernel frees it on a worker. Measured: 20 to 40 ms, and up to 200 on a machine that is busy.
const PATIENCE: Duration = Duration::from_millis(500);
const STEP: Duration = Duration::from_millis(10);
/// Below this a ring would spend its life in `submit`.
const ENTRIES_MIN: u32 = 32;

/// Builds a ring and finds out what it can do.
pub(super) fn build(config: &Config) -> io::Result<(IoUring, Features)> {
    let ring = allocate(config)?;
    let features = prepare(&ring, config.workers)
        .map_err(|error| Unavailable::new("io_uring_register", &error, config))?;
    // A filter may forbid this call alone, and then it is better known now than at the first op.
    let entered = ring.submitter().submit();
    entered.map_err(|error| Unavailable::new("io_uring_enter", &error, config))?;
    Ok((ring, features))
}

fn prepare(ring: &IoUring, workers: Workers) -> io::Result<Features> {
    let features = Features::probe(ring)?;
    // 0 would leave the kernel's own limits.
    let limits = &mut [workers.files.max(1), workers.others.max(1)];
    ring.submitter().register_iowq_max_workers(limits)?;
    restrict::enable(ring, &features)?;
    Ok(features)
}

fn allocate(config: &Config) -> io::Result<IoUring> {
    let mut size = config.clone();
    let mut result = patiently(|| set_up(&size));
    while let Err(error) = &result {
        if !is_no_memory(error) || size.entries <= ENTRIES_MIN {
            break;
        }
        size.entries = (size.entries / 2).max(ENTRIES_MIN);
        size.cq_entries = (size.cq_entries / 2).max(size.entries);
        result = set_up(&size);
    }
    result.map_err(|error| Unavailable::new("io_uring_setup", &error, &size).into())
}

/// Tries `attempt` again while it fails for want of memory, for half a second.
fn patiently<T>(mut attempt: impl FnMut() -> io::Result<T>) -> io::Result<T> {
    let end = Instant::now() + PATIENCE;
    loop {
        match attempt() {
            Err(error) if is_no_memory(&error) && Instant::now() < end => thread::sleep(STEP),
            result => return result,
        }
    }
}

fn set_up(size: &Config) -> io::Result<IoUring> {
    let entries = size.entries.max(1);
    match builder(size).setup_no_sqarray().build(entries) {
        // Before 6.6 there is always an array between the queue and its entries.
        Err(error) if error.raw_os_error() == Some(libc::EINVAL) => builder(size).build(entries),
        result => result,
    }
}

fn builder(size: &Config) -> Builder {
    let mut builder = IoUring::builder();
    builder
        .dontfork()
        .setup_single_issuer()
        .setup_defer_taskrun()
        .setup_taskrun_flag()
        .setup_submit_all()
        .setup_clamp()
        .setup_r_disabled()
        .setup_cqsize(size.cq_entries.max(size.entries).max(1));
    builder
}

fn is_no_memory(error: &io::Error) -> bool {
    error.raw_os_error() == Some(libc::ENOMEM)
}
