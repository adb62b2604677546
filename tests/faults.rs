//! Every system call by which the kernel is asked for something fails once, with every errno that
//! it may have: either what asked for it reports that, or the runtime copes. It neither panics nor
//! hangs nor loses a byte, and leaves nothing behind; the next one works.
//!
//! Memory comes from mappings (the ring's, the receive buffers') and from Rust's allocator, which
//! has no error: nothing in the library or in its buffers allocates by `try_reserve` or its like.
#![allow(unsafe_code)]

mod common;
#[path = "faults/filter.rs"]
mod filter;
#[path = "faults/scenario.rs"]
mod scenario;

use std::collections::BTreeMap;
use std::error::Error;
use std::fs;
use std::io;
use std::panic::catch_unwind;
use std::path::PathBuf;
use std::process;
use std::sync::mpsc::{self, Receiver, Sender};
use std::thread;
use std::time::{Duration, Instant};

use corering::runtime::Unavailable;
use libc::c_long;

use common::{alone, block_all_signals, descriptors, resident};
use filter::{Fault, Faults, WATCHED};

/// A run takes some milliseconds, and half a second when locked memory seems to be short.
const PATIENCE: Duration = Duration::from_secs(10);
/// A run that has as many calls of one kind never ends.
const CALLS_MAX: usize = 2000;

/// What each call may report, by the section ERRORS of its man page. That has no `ENOMEM` for
/// `io_uring_enter`, which says `EAGAIN` when there is no memory; one that said so by name would
/// mean the same.
const ERRORS: [(c_long, &[i32]); 5] = [
    (libc::SYS_io_uring_setup, &[libc::ENOMEM, libc::EMFILE]),
    (libc::SYS_io_uring_register, &[libc::ENOMEM, libc::EINVAL]),
    (
        libc::SYS_io_uring_enter,
        &[libc::EAGAIN, libc::EBUSY, libc::EINTR, libc::ENOMEM],
    ),
    (libc::SYS_mmap, &[libc::ENOMEM]),
    (libc::SYS_eventfd2, &[libc::ENOMEM, libc::EMFILE]),
];

/// `IORING_UNREGISTER_PBUF_RING`, an argument of `io_uring_register`.
const UNREGISTER_BUFFERS: u64 = 23;

/// How a run has ended.
enum Outcome {
    Exact,
    Failed(io::Error),
    Panicked,
}

/// The thread whose calls fail.
struct Subject {
    faults: Faults,
    go: Sender<()>,
    ended: Receiver<Outcome>,
}

impl Subject {
    /// # Errors
    ///
    /// As [`filter::install`].
    fn start(dir: PathBuf, entries: u32) -> io::Result<Subject> {
        let faults = Faults::default();
        let (go, gone) = mpsc::channel();
        let (tell, ended) = mpsc::channel();
        let (tell_installed, installed) = mpsc::channel();
        let own = faults.clone();
        thread::spawn(move || {
            // One would end the wait for an answer, as a failure that nobody has planned.
            block_all_signals();
            let result = filter::install(&own);
            let works = result.is_ok();
            tell_installed.send(result).expect("somebody listens");
            let each = gone.into_iter().take_while(|_| works);
            for () in each {
                let outcome = match catch_unwind(|| scenario::live(&dir, entries)) {
                    Ok(Ok(())) => Outcome::Exact,
                    Ok(Err(e)) => Outcome::Failed(e),
                    Err(_) => Outcome::Panicked,
                };
                tell.send(outcome).expect("somebody listens");
            }
        });
        installed.recv().expect("the thread")?;
        Ok(Subject { faults, go, ended })
    }

    /// One run. A run that hangs ends the process.
    fn run(&self, fault: Option<Fault>) -> Outcome {
        self.faults.plan(fault);
        self.go.send(()).expect("the thread");
        let Ok(outcome) = self.ended.recv_timeout(PATIENCE) else {
            eprintln!("hangs with {fault:?}");
            process::abort();
        };
        outcome
    }
}

/// What a process has, and must have again.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
struct Holdings {
    descriptors: usize,
    /// Memory that a forked child would not get: rings, and what the kernel writes to. KiB.
    kept_from_children: usize,
}

impl Holdings {
    fn now() -> Holdings {
        Holdings {
            descriptors: descriptors(),
            kept_from_children: kept_from_children(),
        }
    }

    /// Waits until the process has no more than this: what goes, may go late.
    fn are_back(&self, fault: Fault) {
        let start = Instant::now();
        loop {
            let now = Holdings::now();
            if now == *self {
                return;
            }
            assert!(start.elapsed() < PATIENCE, "{fault:?}: {now:?} of {self:?}");
            thread::sleep(Duration::from_millis(1));
        }
    }
}

fn kept_from_children() -> usize {
    let maps = fs::read_to_string("/proc/self/smaps").expect("its mappings");
    let (mut sum, mut size) = (0, 0);
    for line in maps.lines() {
        let mut words = line.split_whitespace();
        match words.next() {
            Some("Size:") => size = words.next().expect("a size").parse().expect("a number"),
            Some("VmFlags:") if words.any(|flag| flag == "dc") => sum += size,
            _ => {}
        }
    }
    sum
}

/// How runs have ended, by what failed.
type Counts = BTreeMap<&'static str, usize>;

#[test]
fn every_call_that_fails_once_is_reported_or_survived() {
    alone(|| fail_each(256));
}

/// So few that operations wait for room.
#[test]
fn every_call_that_fails_once_is_reported_or_survived_on_a_queue_of_two_entries() {
    alone(|| fail_each(2));
}

/// Fails each call of a run with a submission queue of `entries`.
fn fail_each(entries: u32) {
    let dir = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("a directory");
    let subject = match Subject::start(dir.path().into(), entries) {
        Ok(subject) => subject,
        Err(e) => return println!("skipped: seccomp: {e}; cells: 0"),
    };
    for _ in 0..5 {
        // Memory that the first runs take is kept for the next ones.
        clean(&subject);
    }
    let (mut before, memory) = (Holdings::now(), resident());
    let mut runs = 0;
    for (call, errors) in ERRORS {
        for &errno in errors {
            let counts = each(&subject, call, errno, &mut before);
            runs += counts.values().sum::<usize>();
            println!("{:<18} {:<6} {counts:?}", name(call), error_name(errno));
        }
    }
    println!("cells: {runs} runs with a failing call, on {entries} entries");
    let more = resident().saturating_sub(memory);
    assert!(more < 4 << 20, "{more} bytes are left of {runs} runs");
}

/// Each call of a kind fails, in a run for each.
fn each(subject: &Subject, call: c_long, errno: i32, before: &mut Holdings) -> Counts {
    let mut counts = Counts::new();
    for number in 0..CALLS_MAX {
        let fault = Fault {
            call,
            number,
            errno,
        };
        let outcome = subject.run(Some(fault));
        if subject.faults.seen(call) <= number {
            assert!(number > 0, "no run makes this call: {fault:?}");
            assert!(matches!(outcome, Outcome::Exact), "a run without a fault");
            return counts;
        }
        let how = match outcome {
            Outcome::Exact => "exact",
            Outcome::Failed(error) => {
                assert!(is_clear(&error, fault), "{fault:?}: {error:?}");
                if subject.faults.failed() == Some(UNREGISTER_BUFFERS) {
                    // The page of the trial is not freed if the kernel does not let go of it.
                    before.kept_from_children += 4;
                }
                clean(subject);
                "reported"
            }
            Outcome::Panicked => panic!("{fault:?}: a panic"),
        };
        *counts.entry(how).or_default() += 1;
        before.are_back(fault);
    }
    panic!("{} never ends", name(call));
}

fn clean(subject: &Subject) {
    match subject.run(None) {
        Outcome::Exact => {}
        Outcome::Failed(e) => panic!("a run without a fault: {e:?}"),
        Outcome::Panicked => panic!("a run without a fault: a panic"),
    }
}

/// Whether the error says what has failed: the errno, and of a ring the call.
fn is_clear(error: &io::Error, fault: Fault) -> bool {
    let inner = error.get_ref();
    match inner.and_then(|inner| <dyn Error>::downcast_ref::<Unavailable>(inner)) {
        Some(unavailable) => {
            unavailable.errno() == fault.errno
                && (fault.call == libc::SYS_mmap
                    || unavailable.to_string().contains(name(fault.call)))
        }
        None => error.raw_os_error() == Some(fault.errno),
    }
}

fn name(call: c_long) -> &'static str {
    let found = WATCHED.iter().find(|watched| watched.0 == call);
    found.expect("a watched call").1
}

fn error_name(errno: i32) -> &'static str {
    match errno {
        libc::EAGAIN => "EAGAIN",
        libc::EBUSY => "EBUSY",
        libc::EINTR => "EINTR",
        libc::EINVAL => "EINVAL",
        libc::EMFILE => "EMFILE",
        libc::ENOMEM => "ENOMEM",
        _ => "?",
    }
}
