//! Zeroed memory straight from the kernel, for what the kernel itself keeps a pointer to.
#![allow(unsafe_code)]

use std::io;
use std::mem::ManuallyDrop;
use std::ptr::{self, NonNull};

#[cfg(feature = "sim")]
use super::sim::pool as sim;

/// Anonymous pages, unmapped on drop and invisible to forked children.
#[derive(Debug)]
pub(crate) struct Pages {
    address: NonNull<u8>,
    len: usize,
}

impl Pages {
    /// Maps at least `len` bytes of zeroes, rounded up to whole pages.
    pub(crate) fn new(len: usize) -> io::Result<Pages> {
        let pages = Pages::scratch(len)?;
        #[cfg(feature = "sim")]
        if sim::has(pages.address) {
            // SAFETY: the mapping is as long as that, and nobody has seen it yet.
            unsafe { pages.as_ptr().write_bytes(0, pages.len) };
        }
        Ok(pages)
    }

    /// The same, of bytes that are initialised, and zeroes but in a simulation.
    pub(crate) fn scratch(len: usize) -> io::Result<Pages> {
        let len = len.max(1).next_multiple_of(page_size());
        #[cfg(feature = "sim")]
        if let Some(pages) = sim::take(len) {
            return Ok(pages);
        }
        let pages = Pages::map(len)?;
        #[cfg(feature = "sim")]
        if sim::adopt(pages.address, len) {
            // Whoever takes it next does not ask.
            pages.advise_small();
        }
        Ok(pages)
    }

    fn map(len: usize) -> io::Result<Pages> {
        let protection = libc::PROT_READ | libc::PROT_WRITE;
        let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS;
        // SAFETY: a fresh mapping at an address of the kernel's choice aliases nothing.
        let address = unsafe { libc::mmap(ptr::null_mut(), len, protection, flags, -1, 0) };
        if address == libc::MAP_FAILED {
            return Err(io::Error::last_os_error());
        }
        let address = NonNull::new(address.cast()).expect("the kernel never maps page 0 unasked");
        let pages = Pages { address, len };
        // A child would copy pages that the kernel goes on writing for the parent.
        // SAFETY: the range is the mapping that was just made.
        if unsafe { libc::madvise(address.as_ptr().cast(), len, libc::MADV_DONTFORK) } != 0 {
            return Err(io::Error::last_os_error());
        }
        Ok(pages)
    }

    /// Asks for pages of the usual size: of memory that is touched here and there only, huge ones
    /// would all be there at once. Where there are none, that is refused, and nothing is lost.
    pub(crate) fn keep_sparse(&self) {
        #[cfg(feature = "sim")]
        if sim::has(self.address) {
            return; // it has been asked for
        }
        self.advise_small();
    }

    fn advise_small(&self) {
        // SAFETY: the range is the mapping made in `new`; the advice changes none of its bytes.
        unsafe { libc::madvise(self.as_ptr().cast(), self.len, libc::MADV_NOHUGEPAGE) };
    }

    /// The first byte. Page-aligned.
    #[inline]
    pub(crate) fn as_ptr(&self) -> *mut u8 {
        self.address.as_ptr()
    }

    /// Those that were left to the pool of simulations.
    #[cfg(feature = "sim")]
    pub(super) fn again(address: NonNull<u8>, len: usize) -> Pages {
        Pages { address, len }
    }

    /// Never unmaps them: for memory that the kernel may still write when nobody waits any more.
    pub(crate) fn leak(self) {
        let _ = ManuallyDrop::new(self);
    }
}

impl Drop for Pages {
    fn drop(&mut self) {
        #[cfg(feature = "sim")]
        if sim::keep(self.address) {
            return;
        }
        // SAFETY: this is the mapping made in `new`, unmapped once. Whoever gave its address to
        // the kernel has taken it back or has called `leak`.
        unsafe { libc::munmap(self.address.as_ptr().cast(), self.len) };
    }
}

pub(super) fn page_size() -> usize {
    // SAFETY: sysconf takes no pointer.
    let size = unsafe { libc::sysconf(libc::_SC_PAGESIZE) };
    usize::try_from(size).expect("Linux always knows its page size")
}
