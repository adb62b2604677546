//! A page that stops the kernel in the middle of a copy, as a hung network file system would, and a
//! buffer on it that tells when it is dropped.
//!
//! | the page | who touches it |
//! |---|---|
//! | missing | nobody can: the first one who tries is stopped until [`Stall::release`] |
//! | released | the kernel, then whoever has the [`Page`] |
//! | freed: the [`Page`] was dropped | nobody may. It holds [`FREED`], as memory that has got another owner would hold that one's bytes, so that a late write shows |
#![allow(dead_code, reason = "each test program uses a part")]
#![allow(unsafe_code)]

use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::ptr;
use std::slice;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use corering::{IoBuf, IoBufMut};

/// The size of the page, bytes: two of the processor's, so that a stream reads straight into it.
pub(crate) const LEN: usize = 8192;
/// What a page holds after its buffer was dropped.
const FREED: u8 = 0xA5;

// <https://www.man7.org/linux/man-pages/man2/ioctl_userfaultfd.2.html>, <linux/userfaultfd.h>.
const UFFD_API: u64 = 0xAA;
const UFFDIO_API: libc::Ioctl = 0xC018_AA3F_u32 as libc::Ioctl;
const UFFDIO_REGISTER: libc::Ioctl = 0xC020_AA00_u32 as libc::Ioctl;
const UFFDIO_COPY: libc::Ioctl = 0xC028_AA03_u32 as libc::Ioctl;
const MODE_MISSING: u64 = 1;

/// Watches one page. Any thread may use it.
#[derive(Clone, Debug)]
pub(crate) struct Stall(Arc<Watched>);

#[derive(Debug)]
struct Watched {
    faults: OwnedFd,
    /// Mapped for as long as this lives.
    start: usize,
    drops: AtomicUsize,
}

/// The buffer: what is lent to the kernel.
#[derive(Debug)]
pub(crate) struct Page(Arc<Watched>);

/// A missing page and the one buffer on it.
///
/// # Errors
///
/// `EPERM`: this process may not stop the kernel; `ENOSYS`: the kernel cannot be stopped.
pub(crate) fn stalling() -> io::Result<(Stall, Page)> {
    // SAFETY: the call takes no pointer, and its result is a descriptor that is ours.
    let faults = unsafe {
        let flags = libc::O_CLOEXEC | libc::O_NONBLOCK;
        let fd = libc::syscall(libc::SYS_userfaultfd, flags);
        if fd < 0 {
            return Err(io::Error::last_os_error());
        }
        OwnedFd::from_raw_fd(fd as i32)
    };
    let start = map(ptr::null_mut(), 0) as usize;
    let drops = AtomicUsize::new(0);
    let watched = Arc::new(Watched {
        faults,
        start,
        drops,
    });
    watched.ask(UFFDIO_API, &mut [UFFD_API, 0, 0])?;
    watched.ask(
        UFFDIO_REGISTER,
        &mut [start as u64, LEN as u64, MODE_MISSING, 0],
    )?;
    Ok((Stall(Arc::clone(&watched)), Page(watched)))
}

/// Maps a fresh page, at `start` if `flags` say so.
fn map(start: *mut libc::c_void, flags: i32) -> *mut libc::c_void {
    let access = libc::PROT_READ | libc::PROT_WRITE;
    let flags = flags | libc::MAP_PRIVATE | libc::MAP_ANONYMOUS;
    // SAFETY: at an address of the kernel's choice, or in the place of a page that is ours.
    let page = unsafe { libc::mmap(start, LEN, access, flags, -1, 0) };
    assert_ne!(page, libc::MAP_FAILED, "{}", io::Error::last_os_error());
    page
}

impl Stall {
    /// Whether somebody is stopped at the page.
    pub(crate) fn is_awaited(&self) -> bool {
        let mut poll = libc::pollfd {
            fd: self.0.faults.as_raw_fd(),
            events: libc::POLLIN,
            revents: 0,
        };
        // SAFETY: one live `pollfd`.
        unsafe { libc::poll(&raw mut poll, 1, 0) == 1 }
    }

    /// Fills the page with `byte`; whoever is stopped there goes on.
    pub(crate) fn release(&self, byte: u8) {
        let source = vec![byte; LEN];
        let (to, from) = (self.0.start as u64, source.as_ptr() as u64);
        let mut argument = [to, from, LEN as u64, 0, 0];
        self.0.ask(UFFDIO_COPY, &mut argument).expect("the page");
    }

    /// How often the buffer was dropped.
    pub(crate) fn drops(&self) -> usize {
        self.0.drops.load(Ordering::SeqCst)
    }

    /// What stands first in the page. Only after it was released: it stops this thread, too.
    pub(crate) fn first_byte(&self) -> u8 {
        // SAFETY: the page is mapped. The kernel may be writing: any byte is fine.
        unsafe { (self.0.start as *const u8).read_volatile() }
    }

    /// Whether nobody has written to the page since its buffer was dropped.
    pub(crate) fn is_left_alone(&self) -> bool {
        assert_eq!(self.drops(), 1, "the page was not freed");
        // SAFETY: the page is mapped, and its bytes are initialised. If a write does come in the
        // middle of it, the kernel's, this test is about to fail.
        let bytes = unsafe { slice::from_raw_parts(self.0.start as *const u8, LEN) };
        bytes.iter().all(|&byte| byte == FREED)
    }
}

impl Watched {
    fn ask<const N: usize>(&self, what: libc::Ioctl, argument: &mut [u64; N]) -> io::Result<()> {
        let fd = self.faults.as_raw_fd();
        // SAFETY: the argument is as long as the number of the request says.
        match unsafe { libc::ioctl(fd, what, argument.as_mut_ptr()) } {
            0 => Ok(()),
            _ => Err(io::Error::last_os_error()),
        }
    }
}

impl Drop for Watched {
    fn drop(&mut self) {
        // SAFETY: the mapping is ours. A buffer that the kernel may still have keeps this alive.
        unsafe { libc::munmap(self.start as *mut libc::c_void, LEN) };
    }
}

impl Page {
    /// What is in it. Only after it was released.
    pub(crate) fn bytes(&self) -> &[u8] {
        // SAFETY: the page is mapped and initialised, and whoever has the `Page` is its only user.
        unsafe { slice::from_raw_parts(self.0.start as *const u8, LEN) }
    }
}

impl Drop for Page {
    fn drop(&mut self) {
        let page = map(self.0.start as *mut libc::c_void, libc::MAP_FIXED);
        // SAFETY: the page was mapped a line ago.
        unsafe { ptr::write_bytes(page.cast::<u8>(), FREED, LEN) };
        self.0.drops.fetch_add(1, Ordering::SeqCst);
    }
}

// SAFETY: the page stays where it is, is not written to by anybody else while the `Page` lives, and
// reads as what it was released with.
unsafe impl IoBuf for Page {
    fn parts(&self) -> (*const u8, usize) {
        (self.0.start as *const u8, LEN)
    }
}

// SAFETY: as above, and there is one `Page` for each page.
unsafe impl IoBufMut for Page {
    fn parts_mut(&mut self) -> (*mut u8, usize) {
        (self.0.start as *mut u8, LEN)
    }

    unsafe fn set_init(&mut self, n: usize) {
        assert!(n <= LEN);
    }
}
