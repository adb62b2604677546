//! A runtime ends while a worker copies: in time for it, or not.

use std::cell::Cell;
use std::fs::{self, File};
use std::future::Future;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::panic::{self, AssertUnwindSafe, catch_unwind};
use std::rc::Rc;
use std::sync::mpsc::{self, Receiver, Sender};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use corering::runtime::{Builder, Leftover, nop};
use corering::{Runtime, spawn};

use crate::common::{self, descriptors, until};
use crate::ends::{AFTERWARDS, MEANWHILE, PATIENCE, sound, stalls};
use crate::lenders::OnWorker;
use crate::stalled::{Page, Stall, stalling};

/// A limit that passes.
const SHORT: Duration = Duration::from_millis(40);
/// A limit that does not.
const LONG: Duration = Duration::from_secs(30);

/// What ends the runtime.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Teardown {
    RuntimeDropped,
    RuntimeShutDown,
    BlockOnPanicked,
    ThreadExited,
}

pub(crate) const TEARDOWN: [Teardown; 4] = [
    Teardown::RuntimeDropped,
    Teardown::RuntimeShutDown,
    Teardown::BlockOnPanicked,
    Teardown::ThreadExited,
];

/// The runtime's time is long: it waits for the kernel.
pub(crate) fn in_time<L: OnWorker>(lender: &L, end: Teardown, byte: u8) {
    let before = descriptors();
    let (stall, page) = stalling().expect("allowed before");
    let errors = Captured::new();
    let core = Core::start(lender, end, page, &stall, LONG);
    core.wait_until_it_ends();
    thread::sleep(MEANWHILE);
    assert_eq!(stall.drops(), 0, "the kernel has the page");
    assert!(core.told.try_recv().is_err(), "it has ended all the same");
    stall.release(byte);
    let left = core.join();
    assert!(left.is_none_or(|left| left.is_empty()), "{left:?}");
    assert_eq!(errors.text(), "", "nothing is left");
    drop(errors);
    assert_eq!(stall.drops(), 1, "the page is freed");
    assert!(lender.is_in_effect(byte), "it was committed");
    sound(stall, before);
}

/// The runtime's time passes: it says so, and leaks what the kernel may touch.
pub(crate) fn too_late<L: OnWorker>(lender: &L, end: Teardown, byte: u8) {
    let before = rings();
    let (stall, page) = stalling().expect("allowed before");
    let errors = Captured::new();
    let start = Instant::now();
    let core = Core::start(lender, end, page, &stall, SHORT);
    core.wait_until_it_ends();
    if matches!(end, Teardown::RuntimeShutDown) {
        let left = core.told.recv_timeout(PATIENCE).expect("it has ended");
        assert_eq!(left.expect("it was asked").operations, 1);
        assert_eq!(errors.text(), "", "it was told");
    } else {
        wait("the report", || errors.text().contains("leaked"));
        let text = errors.text();
        assert!(text.starts_with("corering: 1 operation"), "{text}");
        assert_eq!(text.lines().count(), 1, "{text}");
    }
    let waited = start.elapsed();
    assert!(waited >= SHORT && waited < 50 * SHORT, "{waited:?}");
    drop(errors);
    assert_eq!(stall.drops(), 0, "the kernel has the page");
    stall.release(byte);
    wait("the kernel goes on", || lender.is_done(&stall, byte));
    core.join();
    thread::sleep(AFTERWARDS);
    assert_eq!(stall.drops(), 0, "it is never freed");
    assert_eq!(rings(), before + 1, "nor the slots, which go with the ring");
    assert!(lender.is_in_effect(byte), "the page was there");
}

/// Rings that this process has.
fn rings() -> usize {
    let links = fs::read_dir("/proc/self/fd").expect("its descriptors");
    let links = links.filter_map(|entry| fs::read_link(entry.ok()?.path()).ok());
    let names = links.map(|link| link.to_string_lossy().into_owned());
    names.filter(|name| name.contains("[io_uring]")).count()
}

fn wait(what: &str, mut condition: impl FnMut() -> bool) {
    let start = Instant::now();
    while !condition() {
        assert!(start.elapsed() < PATIENCE, "waited in vain for {what}");
        thread::sleep(Duration::from_millis(1));
    }
}

thread_local! {
    /// Dropped with its thread.
    static KEPT: Cell<Option<Runtime>> = const { Cell::new(None) };
}

/// A thread with a runtime that ends.
struct Core {
    thread: JoinHandle<()>,
    /// Told when a worker is stopped.
    stalled: Receiver<()>,
    /// Told when the runtime has ended, but when its thread exits: what was left.
    told: Receiver<Option<Leftover>>,
}

impl Core {
    fn start<L: OnWorker>(
        lender: &L,
        end: Teardown,
        page: Page,
        stall: &Stall,
        limit: Duration,
    ) -> Core {
        let (tell_stalled, stalled) = mpsc::channel();
        let (tell, told) = mpsc::channel();
        let (lender, stall) = (lender.clone(), stall.clone());
        let thread = thread::spawn(move || {
            let builder = Builder::new().teardown_limit(limit);
            let runtime = builder.build().expect("a runtime");
            let stopped = Rc::new(Cell::new(false));
            let is_stopped = Rc::clone(&stopped);
            let job = async move {
                let file = lender.open().await;
                let mut operation = L::lend(&file, page);
                stalls(&mut operation, &stall).await;
                tell_stalled.send(()).expect("somebody listens");
                stopped.set(true);
                if matches!(end, Teardown::BlockOnPanicked) {
                    panic::resume_unwind(Box::new("a future that panics"));
                }
                let _ = operation.await;
            };
            run(runtime, end, job, &is_stopped, limit, &tell);
        });
        Core {
            thread,
            stalled,
            told,
        }
    }

    fn wait_until_it_ends(&self) {
        self.stalled.recv_timeout(PATIENCE).expect("a worker stops");
    }

    fn join(self) -> Option<Leftover> {
        self.thread.join().expect("the thread of the core");
        self.told.try_recv().ok().flatten()
    }
}

fn run(
    runtime: Runtime,
    end: Teardown,
    job: impl Future<Output = ()> + 'static,
    is_stopped: &Cell<bool>,
    limit: Duration,
    tell: &Sender<Option<Leftover>>,
) {
    let mut left = None;
    if matches!(end, Teardown::BlockOnPanicked) {
        // The runtime is dropped while the panic unwinds.
        let panicked = catch_unwind(AssertUnwindSafe(move || {
            let runtime = runtime;
            runtime.block_on(job);
        }));
        panicked.expect_err("a panic");
    } else {
        runtime.block_on(async {
            spawn(job);
            until("a worker needs the page", || is_stopped.get()).await;
        });
        match end {
            Teardown::ThreadExited => return KEPT.set(Some(runtime)),
            Teardown::RuntimeShutDown => left = Some(runtime.shutdown(limit)),
            _ => drop(runtime),
        }
    }
    // Nobody listens any more if the cell has failed.
    let _ = tell.send(left);
    // The next runtime of the thread is as good as any.
    common::run(async { nop().await }).expect("it works");
}

/// What is written to standard error, until this is dropped. The process has no more of these.
struct Captured {
    file: File,
    before: OwnedFd,
}

impl Captured {
    fn new() -> Captured {
        let file = tempfile::tempfile().expect("a file");
        // SAFETY: no call takes a pointer, and the first one's result is ours.
        let before = unsafe {
            let before = libc::dup(2);
            assert!(before >= 0 && libc::dup2(file.as_raw_fd(), 2) == 2);
            OwnedFd::from_raw_fd(before)
        };
        Captured { file, before }
    }

    /// What has come so far. Whoever writes, writes at the end.
    fn text(&self) -> String {
        let path = format!("/proc/self/fd/{}", self.file.as_raw_fd());
        fs::read_to_string(path).expect("text")
    }
}

impl Drop for Captured {
    fn drop(&mut self) {
        // SAFETY: the call takes no pointer.
        unsafe { libc::dup2(self.before.as_raw_fd(), 2) };
        if thread::panicking() {
            eprint!("{}", self.text()); // the panic's own message is in it
        }
    }
}
