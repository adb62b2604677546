//! A completion, as the kernel hands it over.

use std::io;

use super::fd::Fd;

const BUFFER: u32 = 1 << 0;
const MORE: u32 = 1 << 1;
const SOCK_NONEMPTY: u32 = 1 << 2;
const NOTIFICATION: u32 = 1 << 3;
const BUFFER_MORE: u32 = 1 << 4;
const BUFFER_SHIFT: u32 = 16;

/// Whether the flags of a receive's completion say that the socket held more bytes than it took.
#[inline]
pub(crate) fn sock_nonempty(flags: u32) -> bool {
    flags & SOCK_NONEMPTY != 0
}

/// One completion queue entry.
///
/// An op has one or more; the last is the one without [`is_more`](Cqe::is_more), and until then
/// the kernel may touch the op's memory, whatever `res` says.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[repr(C)]
pub(crate) struct Cqe {
    /// What the submission carried.
    pub(crate) user_data: u64,
    /// The result, or a negated errno.
    pub(crate) res: i32,
    /// `IORING_CQE_F_*`; the upper half is a buffer number if there is one.
    pub(crate) flags: u32,
}

impl Cqe {
    /// The completion of an op that never reached the kernel.
    pub(crate) fn refused(errno: i32) -> Cqe {
        Cqe {
            user_data: 0,
            res: -errno,
            flags: 0,
        }
    }

    /// Whether further completions of the same op follow.
    #[inline]
    pub(crate) fn is_more(self) -> bool {
        self.flags & MORE != 0
    }

    /// Whether this only says that zero-copy memory is free again; the result came earlier.
    #[inline]
    pub(crate) fn is_notification(self) -> bool {
        self.flags & NOTIFICATION != 0
    }

    /// Whether this is all that the kernel says of its op.
    #[inline]
    pub(crate) fn is_whole(self) -> bool {
        self.flags & (MORE | NOTIFICATION) == 0
    }

    /// The provided buffer that the kernel used.
    #[inline]
    pub(crate) fn buffer(self) -> Option<u16> {
        (self.flags & BUFFER != 0).then_some((self.flags >> BUFFER_SHIFT) as u16)
    }

    /// Whether the kernel goes on filling this buffer: only in incremental buffer rings (6.12).
    #[inline]
    pub(crate) fn buffer_is_kept(self) -> bool {
        self.flags & BUFFER_MORE != 0
    }

    /// The result, with the kernel's errno untouched.
    #[inline]
    pub(crate) fn result(self) -> io::Result<u32> {
        u32::try_from(self.res).map_err(|_| io::Error::from_raw_os_error(-self.res))
    }

    /// The descriptor that the op created: only for ops whose result is a fresh one.
    ///
    /// Whoever implements the op vouches for that; each such completion is turned once.
    #[inline]
    pub(crate) fn descriptor(self) -> io::Result<Fd> {
        self.result()?;
        Ok(Fd::adopt(self.res))
    }
}
