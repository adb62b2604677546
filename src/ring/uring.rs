//! The real kernel, through the `io-uring` crate.
//!
//! Two of the crate's three halves are kept for the ring's whole life: the registered descriptor is
//! remembered by the `Submitter`, which `IoUring::submit` would make anew each time. They borrow
//! from the boxed `IoUring`, so [`Uring::drop`] drops them first. Instead of the third there is
//! [`Completions`].
#![allow(unsafe_code)]

use std::fmt;
use std::io;
use std::mem::ManuallyDrop;
use std::os::fd::{AsRawFd, RawFd};
use std::process;
use std::ptr::{self, NonNull};
use std::time::Duration;

use io_uring::{EnterFlags, IoUring, SubmissionQueue, Submitter, squeue};

use super::completions::Completions;
use super::cqe::Cqe;
use super::diagnose::Unavailable;
use super::probe::Features;
use super::sqe::RawSqe;
use super::{Config, Entered, Full, Wait, setup, sys};

/// The longest wait: a day. One that never ends would overflow the kernel's clock when it is added
/// to now, and return at once for ever; coming back once a day costs nothing.
const WAIT_MAX: Duration = Duration::from_secs(24 * 60 * 60);

pub(super) struct Uring {
    sq: ManuallyDrop<SubmissionQueue<'static>>,
    completions: ManuallyDrop<Completions>,
    submitter: ManuallyDrop<Submitter<'static>>,
    wait_flags: u32,
    overflows: u32,
    features: Features,
    /// What the halves point into. Not a `Box`, which would claim to be the only way to it.
    ring: NonNull<IoUring>,
    process: u32,
}

/// `struct io_uring_getevents_arg`.
#[repr(C)]
struct WaitArgument {
    sigmask: u64,
    sigmask_size: u32,
    min_wait_us: u32,
    timespec: u64,
}

/// `struct __kernel_timespec`.
#[repr(C)]
struct Timespec {
    seconds: i64,
    nanoseconds: i64,
}

const _: () = assert!(size_of::<WaitArgument>() == 24 && size_of::<Timespec>() == 16);
const _: () = assert!(size_of::<RawSqe>() == size_of::<squeue::Entry>());
const _: () = assert!(align_of::<RawSqe>() == align_of::<squeue::Entry>());

impl Uring {
    pub(super) fn new(config: &Config) -> io::Result<Uring> {
        let (ring, features) = setup::build(config)?;
        let completions = Completions::new(&ring)
            .map_err(|error| Unavailable::new("mmap of the completion queue", &error, config))?;
        let ring = NonNull::from(Box::leak(Box::new(ring)));
        // SAFETY: the pointer is from a live box that only `drop` frees, after the halves are
        // gone. Nothing else makes an exclusive reference to the ring in between.
        let (mut submitter, sq, _) = unsafe { &mut *ring.as_ptr() }.split();
        // Refused when the process has used up its 16 places; plain descriptors work as well.
        let _ = submitter.register_ring_fd();
        let no_iowait = if features.no_iowait {
            EnterFlags::NO_IOWAIT
        } else {
            EnterFlags::empty()
        };
        let wait_flags = (EnterFlags::GETEVENTS | no_iowait).bits();
        Ok(Uring {
            sq: ManuallyDrop::new(sq),
            completions: ManuallyDrop::new(completions),
            submitter: ManuallyDrop::new(submitter),
            wait_flags,
            overflows: 0,
            features,
            ring,
            process: process::id(),
        })
    }

    #[inline]
    pub(super) fn features(&self) -> &Features {
        &self.features
    }

    #[inline]
    pub(super) fn push(&mut self, sqe: &RawSqe) -> Result<(), Full> {
        // SAFETY: both are the kernel's `struct io_uring_sqe`: `repr(C)`, of one size and
        // alignment (asserted above), and every bit pattern is valid for either.
        let entry = unsafe { &*ptr::from_ref(sqe).cast::<squeue::Entry>() };
        // SAFETY: who made the entry with `Sqe::into_raw` keeps what it points to; the other ways
        // to make one lend nothing.
        unsafe { self.sq.push(entry) }.map_err(|_| Full)
    }

    #[inline]
    pub(super) fn staged(&self) -> usize {
        self.sq.len()
    }

    #[inline]
    pub(super) fn has_work(&self) -> bool {
        !self.completions.is_empty() || self.needs_enter()
    }

    #[inline]
    pub(super) fn needs_enter(&self) -> bool {
        self.completions.needs_enter()
    }

    #[inline]
    pub(super) fn enter(&mut self, at_most: u32, wait: Wait) -> io::Result<Entered> {
        match wait {
            Wait::No => self.call::<()>(at_most, 0, EnterFlags::GETEVENTS.bits(), None),
            Wait::Forever => self.call::<()>(at_most, 1, self.wait_flags, None),
            Wait::For(timeout) => self.enter_for(at_most, timeout),
        }
    }

    fn enter_for(&mut self, at_most: u32, timeout: Duration) -> io::Result<Entered> {
        let timeout = timeout.min(WAIT_MAX);
        let timespec = Timespec {
            seconds: timeout.as_secs() as i64,
            nanoseconds: i64::from(timeout.subsec_nanos()),
        };
        let argument = WaitArgument {
            sigmask: 0,
            sigmask_size: 0,
            min_wait_us: 0,
            timespec: (&raw const timespec).expose_provenance() as u64,
        };
        self.call(
            at_most,
            1,
            self.wait_flags | EnterFlags::EXT_ARG.bits(),
            Some(&argument),
        )
    }

    pub(super) fn submit(&mut self) -> io::Result<Entered> {
        self.call::<()>(u32::MAX, 0, 0, None)
    }

    /// `argument` must be what `flags` say: [`WaitArgument`] with `EXT_ARG`, else none.
    #[inline]
    fn call<T>(
        &mut self,
        at_most: u32,
        want: u32,
        flags: u32,
        argument: Option<&T>,
    ) -> io::Result<Entered> {
        self.sq.sync();
        self.completions.sync();
        if self.completions.has_overflown() {
            self.overflows = self.overflows.saturating_add(1);
        }
        let staged = (self.sq.len() as u32).min(at_most);
        // SAFETY: `argument` is none or a live `WaitArgument` with its timespec. What the staged
        // entries point to is kept by those who pushed them.
        let result = unsafe { self.submitter.enter(staged, want, flags, argument) };
        self.sq.sync();
        self.completions.sync();
        match result {
            Ok(_) => Ok(Entered::Done),
            Err(error) => tolerate(error),
        }
    }

    #[inline]
    pub(super) fn pop(&mut self) -> Option<&Cqe> {
        self.completions.pop()
    }

    #[inline]
    pub(super) fn position(&self) -> u32 {
        self.completions.position()
    }

    pub(super) fn overflows(&self) -> u32 {
        self.overflows
    }

    pub(super) fn raw_fd(&self) -> RawFd {
        // SAFETY: the halves hold shared references into the ring and no exclusive one, so
        // another shared one is fine.
        unsafe { self.ring.as_ref() }.as_raw_fd()
    }

    pub(super) fn submitter(&mut self) -> &mut Submitter<'static> {
        &mut self.submitter
    }
}

#[cold]
fn tolerate(error: io::Error) -> io::Result<Entered> {
    match error.raw_os_error() {
        Some(libc::EINTR | libc::ETIME) => Ok(Entered::Done),
        // Without memory the kernel says EAGAIN; one that says so by name means the same.
        Some(libc::EAGAIN | libc::EBUSY | libc::ENOMEM) => Ok(Entered::Busy),
        _ => Err(error),
    }
}

impl Drop for Uring {
    fn drop(&mut self) {
        if process::id() != self.process {
            // A forked child: the ring's pages are not mapped here (DONTFORK), so a touch would be
            // a crash, and unmapping them would hit whatever was mapped there since.
            sys::close(self.raw_fd());
            return;
        }
        // The registered descriptor is a reference of the thread's: it would keep the ring, its
        // requests and its locked memory until the thread ends, and there are but 16 places.
        let _ = self.submitter.unregister_ring_fd();
        // SAFETY: the fields are not used after this, and each is dropped once. `new` made `ring`
        // from a box; the halves, which borrow from it, are gone before it is.
        unsafe {
            ManuallyDrop::drop(&mut self.sq);
            ManuallyDrop::drop(&mut self.completions);
            ManuallyDrop::drop(&mut self.submitter);
            drop(Box::from_raw(self.ring.as_ptr()));
        }
    }
}

impl fmt::Debug for Uring {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Uring")
            .field("staged", &self.sq.len())
            .field("overflows", &self.overflows)
            .field("features", &self.features)
            .finish_non_exhaustive()
    }
}
