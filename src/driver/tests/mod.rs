//! The driver, tried on the kernel that is there.
//!
//! A test turns the loop itself: it polls futures by hand and enters when it says so, so that what
//! is submitted, completed and looked at is known at each line.
#![allow(unsafe_code)]

mod cancels;
mod catalogue;
mod connects;
mod departures;
mod ends;
mod multishot;
mod queues;
mod rings;
mod slots;
mod teardown;
mod zero_copy;

use std::cell::{Cell, RefCell};
use std::future::Future;
use std::io;
use std::ops::Deref;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll, Wake, Waker};
use std::time::{Duration, Instant};

use bytes::Bytes;
use corering_buffers::{IoBuf, IoBufMut, Lease};

use super::{Driver, Item, Key, Op, provide_buffers};
use crate::op::{Acceptor, Receiver, Sender, Settle};
use crate::ring::{Config, Cqe, Fd, Ring, Wait, Workers};

/// What is waited for comes within milliseconds. Longer than this and it does not come.
const PATIENCE: Duration = Duration::from_secs(10);

/// A driver that is shut down at the end of the test, which must leave nothing behind.
struct Core(Rc<Driver>);

impl Core {
    fn new() -> Core {
        Core::with_entries(8, 64)
    }

    fn with_entries(entries: u32, cq_entries: u32) -> Core {
        let config = Config {
            entries,
            cq_entries,
            workers: Workers::DEFAULT,
        };
        let mut ring = Ring::new(&config).expect("the tests need a kernel with io_uring");
        let buffers = provide_buffers(&mut ring).expect("memory for buffers");
        Core(Driver::new(ring, buffers))
    }

    /// Submits what is staged and takes what is there, at once.
    fn turn(&self) {
        self.enter(Wait::No).expect("enter");
        self.reap(Err);
    }

    /// Turns until `done`.
    fn turn_until(&self, what: &str, mut done: impl FnMut() -> bool) {
        let start = Instant::now();
        while !done() {
            assert!(start.elapsed() < PATIENCE, "{what}: {:?}", self.counts());
            let wait = Wait::For(Duration::from_millis(1));
            self.enter(wait).expect("enter");
            self.reap(Err);
        }
    }

    /// Turns until the kernel has nothing any more.
    fn drain(&self) {
        self.turn_until("every op ends", || self.counts().in_flight == 0);
    }

    /// Turns some more: for what must not happen.
    fn turn_on(&self) {
        let start = Instant::now();
        while start.elapsed() < Duration::from_millis(20) {
            let wait = Wait::For(Duration::from_millis(5));
            self.enter(wait).expect("enter");
            self.reap(Err);
        }
    }

    /// Turns until `future` is ready.
    fn finish<F: Future + Unpin>(&self, mut future: F) -> F::Output {
        let mut output = None;
        self.turn_until("the future is ready", || {
            if let Poll::Ready(ready) = poll(&mut future) {
                output = Some(ready);
            }
            output.is_some()
        });
        output.expect("the loop has ended")
    }
}

impl Deref for Core {
    type Target = Rc<Driver>;

    fn deref(&self) -> &Rc<Driver> {
        &self.0
    }
}

impl Drop for Core {
    fn drop(&mut self) {
        let left = self.shut_down(PATIENCE);
        if !std::thread::panicking() {
            assert_eq!(left, 0, "ops that never end");
        }
    }
}

/// Polls with a waker that does nothing.
fn poll<F: Future + Unpin>(future: &mut F) -> Poll<F::Output> {
    Pin::new(future).poll(&mut Context::from_waker(Waker::noop()))
}

/// Counts its wakes.
#[derive(Default)]
struct Wakes(AtomicUsize);

impl Wakes {
    fn count(&self) -> usize {
        self.0.load(Ordering::Relaxed)
    }
}

impl Wake for Wakes {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

/// How often something was dropped.
#[derive(Clone, Debug, Default)]
struct Drops(Rc<Cell<usize>>);

impl Drops {
    fn count(&self) -> usize {
        self.0.get()
    }

    /// A buffer of `len` bytes, all of them initialised, that counts its drop here.
    fn buf(&self, len: usize) -> Counted {
        Counted {
            bytes: vec![0; len],
            drops: self.clone(),
        }
    }
}

/// A buffer that counts its drops.
#[derive(Debug)]
struct Counted {
    bytes: Vec<u8>,
    drops: Drops,
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.drops.0.set(self.drops.count() + 1);
    }
}

// SAFETY: the parts are those of the vector, which keeps both promises.
unsafe impl IoBuf for Counted {
    fn parts(&self) -> (*const u8, usize) {
        self.bytes.parts()
    }
}

// SAFETY: as above.
unsafe impl IoBufMut for Counted {
    fn parts_mut(&mut self) -> (*mut u8, usize) {
        self.bytes.parts_mut()
    }

    unsafe fn set_init(&mut self, n: usize) {
        // SAFETY: the caller's promise is the same.
        unsafe { self.bytes.set_init(n) }
    }
}

/// A resource of any kind that writes down what its ops tell it.
struct Resource {
    fd: Fd,
    driver: Rc<Driver>,
    log: RefCell<Vec<String>>,
    /// Connections that were accepted.
    accepted: RefCell<Vec<Fd>>,
    /// What a multishot receive has brought.
    leases: RefCell<Vec<Lease>>,
    waker: RefCell<Option<Waker>>,
    /// Items after which a multishot op has enough.
    enough: Cell<usize>,
}

impl Resource {
    fn new(core: &Core, fd: impl Into<OwnedFd>) -> Rc<Resource> {
        Rc::new(Resource {
            fd: Fd::from(fd.into()),
            driver: Rc::clone(core),
            log: RefCell::default(),
            accepted: RefCell::default(),
            leases: RefCell::default(),
            waker: RefCell::default(),
            enough: Cell::new(usize::MAX),
        })
    }

    /// One end of a connection, and the other end.
    fn pair(core: &Core) -> (Rc<Resource>, UnixStream) {
        let (ours, theirs) = UnixStream::pair().expect("a socket pair");
        theirs
            .set_read_timeout(Some(PATIENCE))
            .expect("a time limit");
        (Resource::new(core, ours), theirs)
    }

    fn note(&self, what: impl Into<String>) {
        self.log.borrow_mut().push(what.into());
    }

    /// What was written down since the last look.
    fn notes(&self) -> Vec<String> {
        self.log.take()
    }

    fn item(&self, what: String, count: usize) -> Item {
        self.note(what);
        Item {
            wake: self.waker.take(),
            stop: count >= self.enough.get(),
        }
    }
}

/// A result in few words: `ok 5`, `err 104`.
fn words<T>(result: &io::Result<T>, value: impl FnOnce(&T) -> String) -> String {
    match result {
        Ok(ok) => format!("ok {}", value(ok)),
        Err(e) => format!("err {}", e.raw_os_error().unwrap_or(0)),
    }
}

impl Receiver for Resource {
    fn fd(&self) -> &Fd {
        &self.fd
    }

    fn received(&self, cqe: Cqe, lease: impl FnOnce() -> Option<Lease>) -> Item {
        self.leases.borrow_mut().extend(lease());
        let count = self.leases.borrow().len();
        self.item(format!("item {}", cqe.res), count)
    }

    fn receive_ended(self: Rc<Self>, cqe: Cqe) {
        self.note(format!("ended {}", cqe.res));
    }

    fn received_directly(&self, cqe: Cqe) {
        self.note(format!("direct {}", cqe.res));
    }

    fn received_late(&self, bytes: io::Result<Bytes>) {
        let text = |bytes: &Bytes| String::from_utf8_lossy(bytes).into_owned();
        self.note(format!("late {}", words(&bytes, text)));
    }

    fn polled(&self) {
        self.note("polled");
    }
}

impl Sender for Resource {
    fn fd(&self) -> &Fd {
        &self.fd
    }

    fn go_on<T: Op>(&self, rest: T) {
        self.note("goes on");
        self.driver.submit_detached(rest);
    }

    fn send_flags(&self, all: bool) -> u32 {
        let wait = if all { libc::MSG_WAITALL } else { 0 };
        (libc::MSG_NOSIGNAL | wait).cast_unsigned()
    }

    fn took_a_part(&self) {}

    fn torn(&self) {
        self.note("torn");
    }

    fn sent(&self, result: io::Result<usize>) -> io::Result<usize> {
        self.note(format!("sent {}", words(&result, usize::to_string)));
        result
    }

    fn sent_well(&self, n: usize) {
        let _ = self.sent(Ok(n));
    }
}

impl Acceptor for Resource {
    fn fd(&self) -> &Fd {
        &self.fd
    }

    fn accepted(&self, connection: io::Result<Fd>) -> Item {
        let what = words(&connection, |_| "connection".into());
        self.accepted.borrow_mut().extend(connection.ok());
        let count = self.accepted.borrow().len();
        self.item(what, count)
    }

    fn accept_ended(&self) {
        self.note("ended");
    }
}

impl Settle for Resource {
    fn fd(&self) -> &Fd {
        &self.fd
    }

    fn go_on<T: Op>(&self, _: T) {
        self.note("go on");
    }

    fn settled(&self, result: io::Result<()>) {
        self.note(format!("settled {}", words(&result, |()| String::new())));
    }
}

/// A descriptor of which the kernel knows nothing but a path: every op on it is `EBADF`.
fn useless() -> Fd {
    use std::os::unix::fs::OpenOptionsExt;
    let file = std::fs::OpenOptions::new()
        .read(true)
        .custom_flags(libc::O_PATH)
        .open("/")
        .expect("the root folder");
    Fd::from(OwnedFd::from(file))
}

/// Whether `fd` is at the end of its stream. Takes what comes before.
fn ends(mut fd: &UnixStream) -> bool {
    let mut rest = Vec::new();
    io::Read::read_to_end(&mut fd, &mut rest).is_ok()
}

/// The errno of an error that must be there.
fn errno<T>(result: io::Result<T>) -> Option<i32> {
    result.err().and_then(|e| e.raw_os_error())
}

/// Another descriptor of the same thing.
fn duplicate(fd: &impl AsFd) -> OwnedFd {
    fd.as_fd().try_clone_to_owned().expect("a descriptor")
}
