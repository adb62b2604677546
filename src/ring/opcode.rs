//! The kernel's numbers that cross the door: opcodes and flags of submissions.
//!
//! From `include/uapi/linux/io_uring.h`. The `io-uring` crate keeps most of them to itself.

pub(crate) const NOP: u8 = 0;
pub(crate) const READV: u8 = 1;
pub(crate) const WRITEV: u8 = 2;
pub(crate) const FSYNC: u8 = 3;
pub(crate) const READ_FIXED: u8 = 4;
pub(crate) const WRITE_FIXED: u8 = 5;
pub(crate) const POLL_ADD: u8 = 6;
pub(crate) const POLL_REMOVE: u8 = 7;
pub(crate) const SENDMSG: u8 = 9;
pub(crate) const RECVMSG: u8 = 10;
pub(crate) const TIMEOUT: u8 = 11;
pub(crate) const ACCEPT: u8 = 13;
pub(crate) const ASYNC_CANCEL: u8 = 14;
pub(crate) const LINK_TIMEOUT: u8 = 15;
pub(crate) const CONNECT: u8 = 16;
pub(crate) const FALLOCATE: u8 = 17;
pub(crate) const OPENAT: u8 = 18;
pub(crate) const CLOSE: u8 = 19;
pub(crate) const STATX: u8 = 21;
pub(crate) const READ: u8 = 22;
pub(crate) const WRITE: u8 = 23;
pub(crate) const FADVISE: u8 = 24;
pub(crate) const SEND: u8 = 26;
pub(crate) const RECV: u8 = 27;
pub(crate) const SPLICE: u8 = 30;
pub(crate) const SHUTDOWN: u8 = 34;
pub(crate) const RENAMEAT: u8 = 35;
pub(crate) const UNLINKAT: u8 = 36;
pub(crate) const MKDIRAT: u8 = 37;
pub(crate) const SYMLINKAT: u8 = 38;
pub(crate) const LINKAT: u8 = 39;
pub(crate) const MSG_RING: u8 = 40;
pub(crate) const SEND_ZC: u8 = 47;
pub(crate) const SENDMSG_ZC: u8 = 48;
/// Since 6.7, as are [`WAITID`] and the futex opcodes.
pub(crate) const READ_MULTISHOT: u8 = 49;
pub(crate) const WAITID: u8 = 50;
/// Since 6.9.
pub(crate) const FTRUNCATE: u8 = 55;

/// What a ring may be asked for: every opcode above. The kernel refuses the others (`EACCES`).
pub(super) const ALLOWED: [u8; 37] = [
    NOP,
    READV,
    WRITEV,
    FSYNC,
    READ_FIXED,
    WRITE_FIXED,
    POLL_ADD,
    POLL_REMOVE,
    SENDMSG,
    RECVMSG,
    TIMEOUT,
    ACCEPT,
    ASYNC_CANCEL,
    LINK_TIMEOUT,
    CONNECT,
    FALLOCATE,
    OPENAT,
    CLOSE,
    STATX,
    READ,
    WRITE,
    FADVISE,
    SEND,
    RECV,
    SPLICE,
    SHUTDOWN,
    RENAMEAT,
    UNLINKAT,
    MKDIRAT,
    SYMLINKAT,
    LINKAT,
    MSG_RING,
    SEND_ZC,
    SENDMSG_ZC,
    READ_MULTISHOT,
    WAITID,
    FTRUNCATE,
];

/// `sqe.flags`: the next submission starts when this one has succeeded in full.
pub(crate) const IO_LINK: u8 = 1 << 2;
/// `sqe.flags`: as [`IO_LINK`], but a failure does not break the chain.
pub(crate) const IO_HARDLINK: u8 = 1 << 3;
/// `sqe.flags`: straight to a worker, without a first try in the submitting call.
pub(crate) const FORCE_ASYNC: u8 = 1 << 4;
/// `sqe.flags`: the kernel picks a buffer of the group.
pub(crate) const BUFFER_SELECT: u8 = 1 << 5;
/// `sqe.flags`: no completion unless it fails.
pub(crate) const SKIP_SUCCESS: u8 = 1 << 6;

/// `ioprio` of [`ACCEPT`].
pub(crate) const ACCEPT_MULTISHOT: u16 = 1 << 0;
/// `ioprio` of [`RECV`], [`SEND`] and their message forms: wait for readiness before the first try.
pub(crate) const POLL_FIRST: u16 = 1 << 0;
/// `ioprio` of [`RECV`] and [`RECVMSG`].
pub(crate) const RECV_MULTISHOT: u16 = 1 << 1;

/// `op_flags` of [`ASYNC_CANCEL`]: every match, not the first; the result is their number.
pub(crate) const CANCEL_ALL: u32 = 1 << 0;
/// `op_flags` of [`ASYNC_CANCEL`]: match everything on the ring.
pub(crate) const CANCEL_ANY: u32 = 1 << 2;
/// `op_flags` of [`FSYNC`].
pub(crate) const FSYNC_DATASYNC: u32 = 1 << 0;
