//! Every errno of every operation: what can be forced, one by one.
//!
//! From the man page of the call that an operation stands for, from the kernel's own code where the
//! page says less (`sk_err_soft` of a connection that is given up, errors of network file systems),
//! and from the ring's layer. What never reaches a caller of the runtime is left out, and the table
//! says why.

use super::kernel::Kernel;
use super::object::OpenFile;
use super::table::Id;
use super::unix::Kind;
use crate::ring::opcode;

/// What an operation works on, as far as its errors differ.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum On {
    /// A TCP socket.
    Tcp,
    /// A UDP socket.
    Udp,
    /// A Unix stream socket.
    Unix,
    /// A Unix socket of datagrams or records.
    UnixMessages,
    /// An open file or directory.
    File,
    /// A pipe.
    Pipe,
    /// An eventfd.
    Event,
    /// Another ring.
    Ring,
    /// No object of its own: paths, numbers of descriptors, other operations.
    Nothing,
}

/// What one operation can fail with on one kind of object: a row of the table of all errnos.
///
/// # Examples
///
/// ```
/// use corering::sim::{Errnos, On};
///
/// let accept = Errnos::all().find(|row| row.operation == "ACCEPT" && row.on == On::Tcp);
/// assert!(accept.unwrap().errnos.contains(&("EMFILE", libc::EMFILE)));
/// ```
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Errnos {
    /// Its name, without `IORING_OP_`.
    pub operation: &'static str,
    /// Its number.
    pub opcode: u8,
    /// What it works on.
    pub on: On,
    /// What it can fail with, by name and by number.
    /// [`Check::force`](crate::sim::Check::force) forces any of them.
    pub errnos: Vec<(&'static str, i32)>,
    /// What the man page lists besides, and why no program is ever told of it.
    pub left_out: &'static str,
}

impl Errnos {
    /// The whole table, operation by operation.
    pub fn all() -> impl Iterator<Item = Errnos> {
        ROWS.iter().map(|&(opcode, on, errnos, left_out)| Errnos {
            operation: super::faults::name_of(opcode),
            opcode,
            on,
            errnos: numbers(errnos).collect(),
            left_out,
        })
    }
}

fn numbers(names: &'static str) -> impl Iterator<Item = (&'static str, i32)> {
    names.split_ascii_whitespace().map(|name| {
        let known = NUMBERS.iter().find(|(known, _)| *known == name);
        *known.unwrap_or_else(|| panic!("{name} has no number"))
    })
}

/// Whether an operation on such an object can fail with `errno`.
pub(crate) fn is_possible(op: u8, on: On, errno: i32) -> bool {
    let mut rows = ROWS.iter().filter(|row| (row.0, row.1) == (op, on));
    rows.any(|row| numbers(row.2).any(|(_, number)| number == errno))
}

impl Kernel {
    /// What an op works on.
    pub(super) fn on(&self, object: Option<Id>) -> On {
        let object = object.and_then(|object| self.objects.find(object));
        match object.map(|object| &object.file) {
            Some(OpenFile::Socket(_)) => On::Tcp,
            Some(OpenFile::Messages(_)) => On::Udp,
            Some(OpenFile::Unix(socket)) if socket.kind == Kind::Stream => On::Unix,
            Some(OpenFile::Unix(_)) => On::UnixMessages,
            Some(OpenFile::Disk(_)) => On::File,
            Some(OpenFile::PipeReader(_) | OpenFile::PipeWriter(_)) => On::Pipe,
            Some(OpenFile::Event(_)) => On::Event,
            Some(OpenFile::Ring(_)) => On::Ring,
            None => On::Nothing,
        }
    }
}

/// On all of them: the memory that is read and written is the operation's own, a descriptor stays
/// what it is, and no signal interrupts what waits in the ring.
const OF_SOCKETS: &str = "\
     EFAULT, ENOTSOCK: memory and socket are the runtime's; EAGAIN, EINTR: \
                          the ring waits, and no signal ends that; ENOSYS: checked at the start";
const OF_RECEIVES: &str = "\
     ENOBUFS: a lack of provided buffers, a fault of its own; EFAULT, \
                           ENOTSOCK: memory and socket are the runtime's; EAGAIN, EINTR: the ring \
                           waits, and no signal ends that";
const OF_FILES: &str =
    "EFAULT: the memory is the runtime's; EAGAIN: no file is opened non-blocking";
const OF_PIPES: &str = "\
     EFAULT: the memory is the runtime's; EAGAIN, EINTR: the ring waits, and no \
                        signal ends that";
const OF_PATHS: &str =
    "EFAULT: the path is the operation's; EBADF: no directory descriptor is used";

/// ECONNABORTED: `ss --kill`. After ETIMEDOUT those that ICMP has told of the way.
const TCP_RECEIVES: &str = "\
     ECONNRESET ETIMEDOUT EHOSTUNREACH ENETUNREACH ECONNREFUSED ECONNABORTED EHOSTDOWN ENONET \
     ENOPROTOOPT EPROTO EOPNOTSUPP EACCES EPIPE ENETDOWN ENOTCONN ENOMEM EPERM EBADF EINVAL";
const TCP_SENDS: &str = "\
     ECONNRESET EPIPE ETIMEDOUT EHOSTUNREACH ENETUNREACH ECONNREFUSED ECONNABORTED EHOSTDOWN \
     ENONET ENOPROTOOPT EPROTO EOPNOTSUPP EACCES ENETDOWN ENOTCONN ENOBUFS ENOMEM EPERM EBADF \
     EINVAL";
const UDP_SENDS: &str = "\
     ECONNREFUSED EHOSTUNREACH ENETUNREACH EHOSTDOWN ENONET ENOPROTOOPT EPROTO EOPNOTSUPP ENETDOWN \
     EADDRNOTAVAIL EAFNOSUPPORT EDESTADDRREQ EMSGSIZE EACCES EPERM EPIPE ENOBUFS ENOMEM EBADF \
     EINVAL";
const UNIX_SENDS: &str = "EPIPE ECONNRESET ENOTCONN EPERM ENOBUFS ENOMEM EBADF EINVAL";
/// EAGAIN: these do not wait in the kernel while the other queue is full.
const UNIX_MESSAGE_SENDS: &str = "\
     EAGAIN ECONNREFUSED ECONNRESET ENOENT ENOTCONN EDESTADDRREQ EPROTOTYPE EMSGSIZE EPIPE EACCES \
     EPERM ENOBUFS ENOMEM EBADF EINVAL";
const UNIX_RECEIVES: &str = "ECONNRESET ENOTCONN ENOMEM EPERM EBADF EINVAL";
const UNIX_ACCEPTS: &str = "EMFILE ENFILE ENOBUFS ENOMEM EPERM EBADF EINVAL";

const UNIX_CONNECTS: &str = "\
     ECONNREFUSED ENOENT ENOTDIR ELOOP ENAMETOOLONG EPROTOTYPE EACCES EPERM \
     ENOMEM EBADF EINVAL";
const OF_UNIX_CONNECTS: &str = "\
     EAGAIN: of a full backlog, for which the ring waits; EISCONN: a socket is connected once";

type Row = (u8, On, &'static str, &'static str);

const ROWS: [Row; 37] = [
    (
        opcode::NOP,
        On::Nothing,
        "",
        "all: it does nothing that could fail",
    ),
    (
        opcode::FSYNC,
        On::File,
        "EIO ENOSPC EDQUOT EROFS ESTALE EINTR ENOMEM ECANCELED EBADF EINVAL",
        OF_FILES,
    ),
    (
        opcode::POLL_ADD,
        On::Event,
        "ENOMEM ECANCELED EBADF EINVAL",
        "EFAULT, EINTR: of poll(2) alone, which copies an array and waits",
    ),
    (opcode::SENDMSG, On::Tcp, TCP_SENDS, OF_SOCKETS),
    (opcode::SENDMSG, On::Udp, UDP_SENDS, OF_SOCKETS),
    (opcode::SENDMSG, On::Unix, UNIX_SENDS, OF_SOCKETS),
    (
        opcode::SENDMSG,
        On::UnixMessages,
        UNIX_MESSAGE_SENDS,
        OF_SOCKETS,
    ),
    (
        opcode::RECVMSG,
        On::Udp,
        "ECONNREFUSED EHOSTUNREACH ENETUNREACH EHOSTDOWN ENONET ENOPROTOOPT EPROTO EOPNOTSUPP \
         EACCES EMSGSIZE ENETDOWN ENOMEM EPERM EBADF EINVAL",
        OF_RECEIVES,
    ),
    (
        opcode::RECVMSG,
        On::UnixMessages,
        UNIX_RECEIVES,
        OF_RECEIVES,
    ),
    (
        opcode::ACCEPT,
        On::Tcp,
        "ECONNABORTED EMFILE ENFILE ENOBUFS ENOMEM EPERM EPROTO ENETDOWN ENOPROTOOPT EHOSTDOWN \
         ENONET EHOSTUNREACH EOPNOTSUPP ENETUNREACH ECONNRESET ETIMEDOUT ENOSR ESOCKTNOSUPPORT \
         EPROTONOSUPPORT ECANCELED EBADF EINVAL",
        OF_SOCKETS,
    ),
    (opcode::ACCEPT, On::Unix, UNIX_ACCEPTS, OF_SOCKETS),
    (opcode::ACCEPT, On::UnixMessages, UNIX_ACCEPTS, OF_SOCKETS),
    (
        opcode::ASYNC_CANCEL,
        On::Nothing,
        "ENOENT EALREADY",
        "EBADF, EINVAL, ENOMEM: it names its target by key alone, which needs no memory",
    ),
    (
        opcode::CONNECT,
        On::Tcp,
        "ECONNREFUSED ETIMEDOUT EHOSTUNREACH ENETUNREACH EADDRNOTAVAIL EADDRINUSE EAFNOSUPPORT \
         EACCES EPERM ECONNRESET ECONNABORTED ENETDOWN EHOSTDOWN ENONET ENOPROTOOPT EPROTO \
         ENOBUFS ENOMEM EBADF EINVAL",
        "EALREADY, EINPROGRESS, EISCONN: a socket is connected once, and the ring waits for it; \
         EFAULT, ENOTSOCK: address and socket are the runtime's; EINTR: no signal ends it",
    ),
    (opcode::CONNECT, On::Unix, UNIX_CONNECTS, OF_UNIX_CONNECTS),
    (
        opcode::CONNECT,
        On::UnixMessages,
        UNIX_CONNECTS,
        OF_UNIX_CONNECTS,
    ),
    (
        opcode::OPENAT,
        On::Nothing,
        "EMFILE ENFILE ENOMEM EACCES EIO ENOENT EEXIST EISDIR ENOTDIR ELOOP ENAMETOOLONG ENOSPC \
         EDQUOT EROFS EPERM EBUSY ENXIO ENODEV ETXTBSY EOVERFLOW EOPNOTSUPP ESTALE EINTR \
         ECANCELED EINVAL",
        OF_PATHS,
    ),
    (
        opcode::CLOSE,
        On::Nothing,
        "EIO EINTR ENOSPC EDQUOT ECANCELED EBADF",
        "all others: close(2) has no more",
    ),
    (
        opcode::STATX,
        On::Nothing,
        "EIO EACCES ENOMEM ENOENT ENOTDIR ELOOP ENAMETOOLONG EOVERFLOW ESTALE ECANCELED EBADF \
         EINVAL",
        "EFAULT: path and result are the operation's",
    ),
    (
        opcode::READ,
        On::File,
        "EIO ENOMEM EINTR EISDIR ENXIO EOVERFLOW ESPIPE ESTALE ETIMEDOUT ECANCELED EBADF EINVAL",
        OF_FILES,
    ),
    (
        opcode::READ,
        On::Event,
        "ENOMEM EIO EINTR ECANCELED EBADF EINVAL",
        "EFAULT: the count is the operation's; EAGAIN: the ring waits",
    ),
    (
        opcode::READ,
        On::Pipe,
        "ENOMEM EPERM EBADF EINVAL",
        OF_PIPES,
    ),
    (
        opcode::WRITE,
        On::Pipe,
        "EPIPE ENOMEM EPERM EBADF EINVAL",
        OF_PIPES,
    ),
    (
        opcode::SPLICE,
        On::Tcp,
        "ECONNRESET EPIPE ETIMEDOUT EHOSTUNREACH ENETUNREACH ECONNREFUSED ECONNABORTED ENETDOWN \
         ENOTCONN ENOBUFS ENOMEM EPERM EBADF EINVAL",
        "EAGAIN, EINTR: it is tried again; ESPIPE: no offsets are given; EFAULT: nor memory",
    ),
    (
        opcode::WRITE,
        On::File,
        "EIO ENOSPC EDQUOT EFBIG ENOMEM EROFS EPERM EINTR ENXIO EOVERFLOW ESPIPE ESTALE \
         ETIMEDOUT ECANCELED EBADF EINVAL",
        "EPIPE, EDESTADDRREQ: of pipes and sockets; EFAULT: the memory is the runtime's; EAGAIN: \
         no file is opened non-blocking",
    ),
    (opcode::SEND, On::Tcp, TCP_SENDS, OF_SOCKETS),
    (opcode::SEND, On::Udp, UDP_SENDS, OF_SOCKETS),
    (opcode::SEND, On::Unix, UNIX_SENDS, OF_SOCKETS),
    (
        opcode::SEND,
        On::UnixMessages,
        UNIX_MESSAGE_SENDS,
        OF_SOCKETS,
    ),
    (opcode::RECV, On::Tcp, TCP_RECEIVES, OF_RECEIVES),
    (opcode::RECV, On::Unix, UNIX_RECEIVES, OF_RECEIVES),
    (
        opcode::RENAMEAT,
        On::Nothing,
        "EIO EACCES EPERM EBUSY ENOENT EEXIST ENOTEMPTY EISDIR ENOTDIR ELOOP EMLINK ENAMETOOLONG \
         ENOSPC EDQUOT EROFS EXDEV ENOMEM ESTALE ECANCELED EINVAL",
        OF_PATHS,
    ),
    (
        opcode::UNLINKAT,
        On::Nothing,
        "EIO EACCES EPERM EBUSY ENOENT EISDIR ENOTDIR ENOTEMPTY EEXIST ELOOP ENAMETOOLONG EROFS \
         ENOMEM ESTALE ECANCELED EINVAL",
        OF_PATHS,
    ),
    (
        opcode::MKDIRAT,
        On::Nothing,
        "EIO EACCES EPERM EEXIST ENOENT ENOTDIR ELOOP EMLINK ENAMETOOLONG ENOSPC EDQUOT EROFS \
         ENOMEM ESTALE ECANCELED EINVAL",
        OF_PATHS,
    ),
    (
        opcode::MSG_RING,
        On::Ring,
        "EOVERFLOW ENOMEM EBADFD EBADF EOWNERDEAD EINVAL",
        "ENXIO, ENFILE, EMFILE: no descriptors are sent; EAGAIN: of rings that are polled; EACCES: \
         the opcode is allowed",
    ),
    (opcode::SEND_ZC, On::Tcp, TCP_SENDS, OF_SOCKETS),
    (
        opcode::FTRUNCATE,
        On::File,
        "EIO ENOSPC EDQUOT EFBIG EPERM EROFS ETXTBSY EISDIR ENOMEM EINTR ESTALE ECANCELED EBADF \
         EINVAL",
        OF_FILES,
    ),
];

/// Their numbers.
const NUMBERS: [(&str, i32); 58] = [
    ("EACCES", libc::EACCES),
    ("EADDRINUSE", libc::EADDRINUSE),
    ("EADDRNOTAVAIL", libc::EADDRNOTAVAIL),
    ("EAFNOSUPPORT", libc::EAFNOSUPPORT),
    ("EAGAIN", libc::EAGAIN),
    ("EALREADY", libc::EALREADY),
    ("EBADF", libc::EBADF),
    ("EBADFD", libc::EBADFD),
    ("EBUSY", libc::EBUSY),
    ("ECANCELED", libc::ECANCELED),
    ("ECONNABORTED", libc::ECONNABORTED),
    ("ECONNREFUSED", libc::ECONNREFUSED),
    ("ECONNRESET", libc::ECONNRESET),
    ("EDESTADDRREQ", libc::EDESTADDRREQ),
    ("EDQUOT", libc::EDQUOT),
    ("EEXIST", libc::EEXIST),
    ("EFBIG", libc::EFBIG),
    ("EHOSTDOWN", libc::EHOSTDOWN),
    ("EHOSTUNREACH", libc::EHOSTUNREACH),
    ("EINTR", libc::EINTR),
    ("EINVAL", libc::EINVAL),
    ("EIO", libc::EIO),
    ("EISDIR", libc::EISDIR),
    ("ELOOP", libc::ELOOP),
    ("EMFILE", libc::EMFILE),
    ("EMLINK", libc::EMLINK),
    ("EMSGSIZE", libc::EMSGSIZE),
    ("ENAMETOOLONG", libc::ENAMETOOLONG),
    ("ENETDOWN", libc::ENETDOWN),
    ("ENETUNREACH", libc::ENETUNREACH),
    ("ENFILE", libc::ENFILE),
    ("ENOBUFS", libc::ENOBUFS),
    ("ENODEV", libc::ENODEV),
    ("ENOENT", libc::ENOENT),
    ("ENOMEM", libc::ENOMEM),
    ("ENONET", libc::ENONET),
    ("ENOPROTOOPT", libc::ENOPROTOOPT),
    ("ENOSPC", libc::ENOSPC),
    ("ENOSR", libc::ENOSR),
    ("ENOTCONN", libc::ENOTCONN),
    ("ENOTDIR", libc::ENOTDIR),
    ("ENOTEMPTY", libc::ENOTEMPTY),
    ("ENXIO", libc::ENXIO),
    ("EOPNOTSUPP", libc::EOPNOTSUPP),
    ("EOVERFLOW", libc::EOVERFLOW),
    ("EOWNERDEAD", libc::EOWNERDEAD),
    ("EPERM", libc::EPERM),
    ("EPIPE", libc::EPIPE),
    ("EPROTO", libc::EPROTO),
    ("EPROTONOSUPPORT", libc::EPROTONOSUPPORT),
    ("EPROTOTYPE", libc::EPROTOTYPE),
    ("EROFS", libc::EROFS),
    ("ESOCKTNOSUPPORT", libc::ESOCKTNOSUPPORT),
    ("ESPIPE", libc::ESPIPE),
    ("ESTALE", libc::ESTALE),
    ("ETIMEDOUT", libc::ETIMEDOUT),
    ("ETXTBSY", libc::ETXTBSY),
    ("EXDEV", libc::EXDEV),
];
