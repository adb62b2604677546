//! An owned descriptor of the kernel behind the door.
//!
//! The number never leaves this module tree but inside a submission: a simulated kernel's
//! descriptors have numbers of their own, and a plain system call on one of those would hit
//! whatever the process happens to have open under that number.
#![allow(unsafe_code)]

use std::mem::ManuallyDrop;
use std::os::fd::{AsFd, BorrowedFd, FromRawFd, IntoRawFd, OwnedFd, RawFd};

use super::sys;

/// An owned descriptor, closed on drop.
#[derive(Debug, Eq, PartialEq)]
pub(crate) struct Fd(RawFd);

impl Fd {
    /// Takes over a descriptor that the kernel has just created for us.
    #[inline]
    pub(super) fn adopt(fd: RawFd) -> Fd {
        debug_assert!(fd >= 0, "the kernel numbers descriptors from 0");
        Fd(fd)
    }

    /// The number, for a submission.
    #[inline]
    pub(super) fn raw(&self) -> RawFd {
        self.0
    }

    /// The number, which the caller now owes a close: for an op that closes it.
    #[inline]
    pub(crate) fn into_raw(self) -> RawFd {
        ManuallyDrop::new(self).0
    }

    /// Leaves the runtime: from here on the descriptor is std's.
    ///
    /// # Panics
    ///
    /// With a simulated descriptor: std would take it for one of the process's.
    pub(crate) fn into_owned(self) -> OwnedFd {
        #[cfg(feature = "sim")]
        assert!(
            self.simulated().is_none(),
            "a simulated descriptor cannot leave its simulation: into_std does not work there"
        );
        // SAFETY: `self` owned the descriptor and `into_raw` has given that up.
        unsafe { OwnedFd::from_raw_fd(self.into_raw()) }
    }
}

impl From<OwnedFd> for Fd {
    fn from(fd: OwnedFd) -> Fd {
        Fd(fd.into_raw_fd())
    }
}

impl AsFd for Fd {
    #[inline]
    fn as_fd(&self) -> BorrowedFd<'_> {
        // SAFETY: the descriptor stays open as long as `self` is borrowed, and is never -1.
        unsafe { BorrowedFd::borrow_raw(self.0) }
    }
}

impl Drop for Fd {
    fn drop(&mut self) {
        #[cfg(feature = "sim")]
        if let Some(call) = self.simulated() {
            return call.close();
        }
        sys::close(self.0);
    }
}
