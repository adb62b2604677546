//! An op that hangs in the kernel: its buffer is not freed, whatever ends meanwhile.
//!
//! A page that a `userfaultfd` watches stops the kernel in the middle of copying to it, as a
//! network file system that does not answer would.
#![allow(unsafe_code)]

mod common;

use std::fs;
use std::io::{self, Seek};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::ptr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use corering::IoBufMut;
use corering::fs::File;
use corering::runtime::{Builder, nop, stats};
use corering::task::yield_now;
use corering::time::sleep;
use futures_lite::future::poll_once;

use common::{alone, until};

const PAGE: usize = 4096;
const UFFD_API: u64 = 0xAA;
const UFFDIO_API: libc::Ioctl = 0xC018_AA3F_u32 as libc::Ioctl;
const UFFDIO_REGISTER: libc::Ioctl = 0xC020_AA00_u32 as libc::Ioctl;
const UFFDIO_ZEROPAGE: libc::Ioctl = 0xC020_AA04_u32 as libc::Ioctl;
const MODE_MISSING: u64 = 1;
/// A file whose reads copy on a worker thread of the kernel's.
const SLOW_FILE: &str = "/proc/self/maps";

/// A page that nobody may touch until it is released. Never unmapped.
struct Watched {
    faults: OwnedFd,
    page: *mut u8,
}

impl Watched {
    /// # Errors
    ///
    /// `EPERM`: this process may not stop the kernel.
    fn new() -> io::Result<Watched> {
        let flags = libc::O_CLOEXEC | libc::O_NONBLOCK;
        // SAFETY: the call takes no pointer, and its result is a descriptor that is ours.
        let faults = unsafe {
            let fd = libc::syscall(libc::SYS_userfaultfd, flags);
            if fd < 0 {
                return Err(io::Error::last_os_error());
            }
            OwnedFd::from_raw_fd(fd as i32)
        };
        // SAFETY: a fresh mapping of the kernel's choice.
        let page = unsafe {
            let (access, kind) = (libc::PROT_READ | libc::PROT_WRITE, libc::MAP_PRIVATE);
            libc::mmap(
                ptr::null_mut(),
                PAGE,
                access,
                kind | libc::MAP_ANONYMOUS,
                -1,
                0,
            )
        };
        assert_ne!(page, libc::MAP_FAILED);
        let watched = Watched {
            faults,
            page: page.cast(),
        };
        watched.ask(UFFDIO_API, &mut [UFFD_API, 0, 0])?;
        watched.ask(
            UFFDIO_REGISTER,
            &mut [page as u64, PAGE as u64, MODE_MISSING, 0],
        )?;
        Ok(watched)
    }

    fn ask<const N: usize>(&self, what: libc::Ioctl, argument: &mut [u64; N]) -> io::Result<()> {
        let fd = self.faults.as_raw_fd();
        // SAFETY: the argument is as long as the number of the request says.
        match unsafe { libc::ioctl(fd, what, argument.as_mut_ptr()) } {
            0 => Ok(()),
            _ => Err(io::Error::last_os_error()),
        }
    }

    /// Whether the kernel is waiting for the page.
    fn is_awaited(&self) -> bool {
        let mut poll = libc::pollfd {
            fd: self.faults.as_raw_fd(),
            events: libc::POLLIN,
            revents: 0,
        };
        // SAFETY: one live `pollfd`.
        unsafe { libc::poll(&raw mut poll, 1, 0) == 1 }
    }

    /// Gives the page, and whoever waits for it goes on.
    fn release(&self) {
        let mut argument = [self.page as u64, PAGE as u64, 0, 0];
        self.ask(UFFDIO_ZEROPAGE, &mut argument).expect("the page");
    }

    /// What is there now. Only after it was released.
    fn first_byte(&self) -> u8 {
        // SAFETY: the page is mapped for ever. The kernel may be writing: any byte is fine.
        unsafe { self.page.read_volatile() }
    }
}

/// Lends the page, and counts its drops.
struct Buffer {
    page: *mut u8,
    drops: Arc<AtomicUsize>,
}

impl Drop for Buffer {
    fn drop(&mut self) {
        self.drops.fetch_add(1, Ordering::SeqCst);
    }
}

// SAFETY: the page is never unmapped and nobody else writes to it.
unsafe impl IoBufMut for Buffer {
    fn parts_mut(&mut self) -> (*mut u8, usize) {
        (self.page, PAGE)
    }

    unsafe fn set_init(&mut self, _: usize) {}
}

/// A page, a buffer on it, and its drops; `None` if this process may not have that.
fn stalling() -> Option<(Watched, Buffer, Arc<AtomicUsize>)> {
    let watched = match Watched::new() {
        Ok(watched) => watched,
        Err(e) => {
            println!("skipped: userfaultfd: {e}");
            return None;
        }
    };
    let drops = Arc::new(AtomicUsize::new(0));
    let buffer = Buffer {
        page: watched.page,
        drops: Arc::clone(&drops),
    };
    Some((watched, buffer, drops))
}

/// Submits the read, and drops its future when the kernel is in the middle of it.
async fn abandon(watched: &Watched, buffer: Buffer) {
    let file = File::open(SLOW_FILE).await.expect("a file of the kernel's");
    let mut read = Box::pin(file.read_at(buffer, 0));
    assert!(poll_once(&mut read).await.is_none());
    yield_now().await;
    until("the kernel needs the page", || watched.is_awaited()).await;
    assert!(poll_once(&mut read).await.is_none());
}

#[test]
fn a_read_that_hangs_keeps_its_buffer_until_it_ends() {
    alone(|| {
        let Some((watched, buffer, drops)) = stalling() else {
            return;
        };
        common::run(async {
            abandon(&watched, buffer).await;
            // The core goes on meanwhile.
            for _ in 0..10 {
                nop().await.unwrap();
                sleep(Duration::from_millis(2)).await;
            }
            assert_eq!(drops.load(Ordering::SeqCst), 0, "the kernel has the buffer");
            assert_eq!(stats().unwrap().orphans, 2, "with the wait for wake-ups");
            watched.release();
            until("it has ended", || drops.load(Ordering::SeqCst) == 1).await;
            assert_ne!(watched.first_byte(), 0, "the kernel has written it");
        });
        assert_eq!(drops.load(Ordering::SeqCst), 1);
    });
}

/// What `body` and the library write to standard error.
fn standard_error(body: impl FnOnce()) -> String {
    let mut file = tempfile::tempfile().expect("a file");
    // SAFETY: no call takes a pointer. The process has but this thread.
    let before = unsafe { libc::dup(2) };
    // SAFETY: as above.
    unsafe { libc::dup2(file.as_raw_fd(), 2) };
    body();
    // SAFETY: as above.
    unsafe { libc::dup2(before, 2) };
    file.rewind().expect("a file");
    io::read_to_string(file).expect("text")
}

/// Rings that this process has.
fn rings() -> usize {
    let links = fs::read_dir("/proc/self/fd").expect("its descriptors");
    let links = links.filter_map(|entry| fs::read_link(entry.ok()?.path()).ok());
    links
        .filter(|link| link.to_string_lossy().contains("[io_uring]"))
        .count()
}

#[test]
fn a_runtime_that_ends_before_its_op_leaks_it_and_says_so() {
    alone(|| {
        let Some((watched, buffer, drops)) = stalling() else {
            return;
        };
        let limit = Duration::from_millis(200);
        let runtime = Builder::new().teardown_limit(limit).build().unwrap();
        runtime.block_on(abandon(&watched, buffer));
        let start = Instant::now();
        let report = standard_error(|| drop(runtime));
        let waited = start.elapsed();
        assert!(
            waited >= limit && waited < limit + Duration::from_secs(2),
            "{waited:?}"
        );
        assert!(report.contains("corering: 1 operation"), "{report:?}");
        assert!(report.contains("leaked"), "{report:?}");
        assert_eq!(drops.load(Ordering::SeqCst), 0, "the kernel has the buffer");
        assert_eq!(rings(), 1, "what the kernel may touch is there");
        watched.release();
        // Nobody waits for it any more, and now the kernel writes.
        let start = Instant::now();
        while watched.first_byte() == 0 {
            assert!(
                start.elapsed() < Duration::from_secs(10),
                "the read was stopped"
            );
            thread::sleep(Duration::from_millis(1));
        }
        thread::sleep(Duration::from_millis(50));
        assert_eq!(drops.load(Ordering::SeqCst), 0, "it is never freed");
        // The next runtime is as good as any.
        common::run(async { nop().await }).unwrap();
    });
}
