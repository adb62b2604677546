//! What may go wrong, how often, and what did.

use std::fmt;
use std::mem;

use crate::ring::opcode;

/// One kind of misfortune. All of them are things that Linux does.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
#[non_exhaustive]
pub enum Fault {
    /// The operation is taken up late, as if a worker had to do it.
    Late,
    /// Other completions go first.
    Reordered,
    /// Fewer bytes than there could be.
    Short,
    /// The operation fails with an errno that its man page lists, and has had no effect. What is
    /// the disk's doing is [`DiskError`](Fault::DiskError).
    Error,
    /// The connection is reset.
    Reset,
    /// A multishot operation ends though nothing is wrong.
    MultishotEnd,
    /// A receive finds no provided buffer.
    NoBuffers,
    /// An incremental buffer comes without the flag that says that the kernel keeps it.
    FlagMissing,
    /// A cancel does not find its operation, which goes on.
    CancelMissed,
    /// A cancel succeeds, and the operation completes with its result all the same.
    CancelLost,
    /// A worker gives an operation up that nobody has cancelled.
    GivenUp,
    /// The notification of a zero-copy send comes late.
    LateNotification,
    /// `io_uring_enter` returns without having waited.
    Interrupted,
    /// `io_uring_enter` takes only some submissions, or none.
    Busy,
    /// A datagram does not arrive at another host.
    Lost,
    /// A datagram arrives twice.
    Duplicated,
    /// An operation on a file or its name fails as a bad or a full disk has it fail: `EIO`,
    /// `ENOSPC`, `EDQUOT`. A sync that fails loses what was not synced.
    DiskError,
    /// The completion queue is full: a completion is kept back until the ring is entered again, and
    /// a multishot operation ends with it.
    Overflow,
}

impl Fault {
    /// All kinds.
    pub const ALL: [Fault; 18] = [
        Fault::Late,
        Fault::Reordered,
        Fault::Short,
        Fault::Error,
        Fault::Reset,
        Fault::MultishotEnd,
        Fault::NoBuffers,
        Fault::FlagMissing,
        Fault::CancelMissed,
        Fault::CancelLost,
        Fault::GivenUp,
        Fault::LateNotification,
        Fault::Interrupted,
        Fault::Busy,
        Fault::Lost,
        Fault::Duplicated,
        Fault::DiskError,
        Fault::Overflow,
    ];

    pub(super) fn index(self) -> usize {
        self as usize
    }

    /// Whether it can happen to `op`. Both are counted, so that a run can show that all of what can
    /// happen did.
    pub(crate) const fn concerns(self, op: u8) -> bool {
        match self {
            Fault::Late => op != opcode::ASYNC_CANCEL,
            Fault::Reordered => op != opcode::ASYNC_CANCEL && op != opcode::SPLICE,
            Fault::Short => matches!(
                op,
                opcode::RECV
                    | opcode::SEND
                    | opcode::SENDMSG
                    | opcode::SEND_ZC
                    | opcode::READ
                    | opcode::WRITE
                    | opcode::SPLICE
            ),
            Fault::Error => !errnos(op).is_empty(),
            Fault::DiskError => !disk_errnos(op).is_empty(),
            Fault::Overflow => op != opcode::SPLICE,
            Fault::Reset => matches!(
                op,
                opcode::RECV | opcode::SEND | opcode::SENDMSG | opcode::SPLICE
            ),
            Fault::Lost | Fault::Duplicated => matches!(op, opcode::SEND | opcode::SENDMSG),
            Fault::MultishotEnd => matches!(op, opcode::RECV | opcode::RECVMSG | opcode::ACCEPT),
            Fault::NoBuffers => matches!(op, opcode::RECV | opcode::RECVMSG),
            Fault::FlagMissing => op == opcode::RECV,
            Fault::CancelMissed | Fault::CancelLost => can_wait(op),
            Fault::GivenUp => runs_on_worker(op),
            Fault::LateNotification => op == opcode::SEND_ZC,
            // Of the core, not of an operation: counted under NOP's row, which has nothing else.
            Fault::Interrupted | Fault::Busy => op == opcode::NOP,
        }
    }
}

/// Whether an op may still be in flight when a cancel comes.
const fn can_wait(op: u8) -> bool {
    !matches!(
        op,
        opcode::NOP | opcode::ASYNC_CANCEL | opcode::MSG_RING | opcode::SPLICE
    )
}

/// Whether the kernel leaves an op to a worker thread as a rule.
pub(super) const fn runs_on_worker(op: u8) -> bool {
    matches!(
        op,
        opcode::READ
            | opcode::WRITE
            | opcode::FSYNC
            | opcode::OPENAT
            | opcode::STATX
            | opcode::RENAMEAT
            | opcode::UNLINKAT
            | opcode::MKDIRAT
            | opcode::FTRUNCATE
    )
}

/// The operations that the simulated kernel knows, with the names that the kernel gives them.
pub(crate) const OPERATIONS: [(u8, &str); 22] = [
    (opcode::NOP, "NOP"),
    (opcode::FSYNC, "FSYNC"),
    (opcode::POLL_ADD, "POLL_ADD"),
    (opcode::SENDMSG, "SENDMSG"),
    (opcode::RECVMSG, "RECVMSG"),
    (opcode::ACCEPT, "ACCEPT"),
    (opcode::ASYNC_CANCEL, "ASYNC_CANCEL"),
    (opcode::CONNECT, "CONNECT"),
    (opcode::OPENAT, "OPENAT"),
    (opcode::CLOSE, "CLOSE"),
    (opcode::STATX, "STATX"),
    (opcode::READ, "READ"),
    (opcode::WRITE, "WRITE"),
    (opcode::SEND, "SEND"),
    (opcode::RECV, "RECV"),
    (opcode::RENAMEAT, "RENAMEAT"),
    (opcode::UNLINKAT, "UNLINKAT"),
    (opcode::MKDIRAT, "MKDIRAT"),
    (opcode::MSG_RING, "MSG_RING"),
    (opcode::SEND_ZC, "SEND_ZC"),
    (opcode::FTRUNCATE, "FTRUNCATE"),
    (opcode::SPLICE, "SPLICE"),
];

/// The name of an operation in traces.
pub(crate) fn name_of(op: u8) -> &'static str {
    let known = OPERATIONS.iter().find(|(code, _)| *code == op);
    known.map_or("?", |(_, name)| name)
}

/// What an operation can fail with though its arguments are right: the transient errors of its man
/// page and those of the io_uring layer.
pub(crate) const fn errnos(op: u8) -> &'static [i32] {
    use libc::{
        EACCES, EADDRNOTAVAIL, EBUSY, ECONNABORTED, ECONNREFUSED, ECONNRESET, EFBIG, EHOSTUNREACH,
        EINTR, EMFILE, ENETUNREACH, ENFILE, ENOBUFS, ENOMEM, EPERM, EPIPE, ETIMEDOUT,
    };
    match op {
        opcode::ACCEPT => &[ECONNABORTED, EMFILE, ENFILE, ENOBUFS, ENOMEM, EPERM],
        opcode::CONNECT => &[
            ECONNREFUSED,
            ETIMEDOUT,
            EHOSTUNREACH,
            ENETUNREACH,
            EADDRNOTAVAIL,
            EACCES,
            ENOMEM,
        ],
        opcode::RECV => &[ECONNRESET, ETIMEDOUT, EHOSTUNREACH, ENOMEM],
        opcode::RECVMSG => &[ECONNREFUSED, EHOSTUNREACH, ENOMEM],
        opcode::SEND | opcode::SENDMSG | opcode::SEND_ZC => {
            &[ECONNRESET, EPIPE, ETIMEDOUT, EHOSTUNREACH, ENOBUFS, ENOMEM]
        }
        opcode::READ | opcode::POLL_ADD => &[ENOMEM],
        opcode::WRITE => &[EFBIG, ENOMEM],
        opcode::OPENAT => &[EMFILE, ENFILE, ENOMEM, EACCES],
        opcode::CLOSE => &[EINTR],
        opcode::STATX | opcode::RENAMEAT | opcode::MKDIRAT => &[EACCES, ENOMEM],
        opcode::UNLINKAT => &[EACCES, EBUSY, ENOMEM],
        opcode::FTRUNCATE => &[EFBIG],
        opcode::MSG_RING => &[libc::EOVERFLOW, ENOMEM],
        opcode::SPLICE => &[ENOMEM],
        _ => &[],
    }
}

/// The same for want of a disk that works or has room: of files and names alone.
pub(crate) const fn disk_errnos(op: u8) -> &'static [i32] {
    use libc::{EDQUOT, EIO, ENOSPC};
    match op {
        opcode::READ | opcode::OPENAT | opcode::STATX | opcode::UNLINKAT => &[EIO],
        opcode::WRITE
        | opcode::FSYNC
        | opcode::CLOSE
        | opcode::RENAMEAT
        | opcode::MKDIRAT
        | opcode::FTRUNCATE => &[EIO, ENOSPC, EDQUOT],
        _ => &[],
    }
}

/// The same on a Unix socket. What its peer does to it is no accident: it has no network.
pub(crate) fn errnos_of_unix(op: u8) -> &'static [i32] {
    use libc::{EACCES, ECONNREFUSED, EMFILE, ENFILE, ENOBUFS, ENOMEM, EPERM};
    match op {
        opcode::ACCEPT => &[EMFILE, ENFILE, ENOMEM, EPERM],
        opcode::CONNECT => &[ECONNREFUSED, EACCES, ENOMEM],
        opcode::RECV | opcode::RECVMSG => &[ENOMEM],
        opcode::SEND | opcode::SENDMSG => &[ENOBUFS, ENOMEM],
        _ => errnos(op),
    }
}

/// The same on a pipe.
pub(crate) fn errnos_of_pipe(op: u8) -> &'static [i32] {
    match op {
        opcode::READ | opcode::WRITE => &[libc::ENOMEM],
        _ => errnos(op),
    }
}

/// How often each kind of fault happens, where it can.
///
/// The kinds that a correct program never sees, because the runtime deals with them (lateness,
/// order, short counts, ended multishots, …), are on by default, and so are those that UDP does to
/// everybody ([`Fault::Lost`] and [`Fault::Duplicated`], between hosts). Those that a program is
/// told of, [`Fault::Error`], [`Fault::DiskError`] and [`Fault::Reset`], are off.
///
/// In each run some of the kinds are switched off, chosen by the seed: what many faults at once
/// would hide shows among few.
///
/// # Examples
///
/// ```
/// use corering::sim::{Fault, Faults};
///
/// let faults = Faults::default().rate(Fault::DiskError, 0.01).rate(Fault::Short, 0.0);
/// assert_eq!(faults.rate_of(Fault::DiskError), 0.01);
/// assert_eq!(Faults::none().rate_of(Fault::Late), 0.0);
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct Faults {
    rates: [f64; Fault::ALL.len()],
    swarm: bool,
}

impl Default for Faults {
    fn default() -> Faults {
        Faults::none()
            .rate(Fault::Late, 0.1)
            .rate(Fault::Reordered, 0.2)
            .rate(Fault::Short, 0.1)
            .rate(Fault::Lost, 0.05)
            .rate(Fault::Duplicated, 0.02)
            .rate(Fault::MultishotEnd, 0.05)
            .rate(Fault::NoBuffers, 0.05)
            .rate(Fault::FlagMissing, 0.05)
            .rate(Fault::CancelMissed, 0.1)
            .rate(Fault::CancelLost, 0.1)
            .rate(Fault::GivenUp, 0.02)
            .rate(Fault::LateNotification, 0.3)
            .rate(Fault::Interrupted, 0.05)
            .rate(Fault::Busy, 0.02)
            .rate(Fault::Overflow, 0.005)
            .swarm(true)
    }
}

impl Faults {
    /// No fault at all: the kernel of a quiet day.
    pub fn none() -> Faults {
        Faults {
            rates: [0.0; Fault::ALL.len()],
            swarm: false,
        }
    }

    /// Has `fault` happen with a probability of `rate` wherever it can, from 0 to 1.
    #[must_use]
    pub fn rate(mut self, fault: Fault, rate: f64) -> Faults {
        self.rates[fault.index()] = rate.clamp(0.0, 1.0);
        self
    }

    /// The probability of `fault`.
    pub fn rate_of(&self, fault: Fault) -> f64 {
        self.rates[fault.index()]
    }

    /// Whether each run leaves some kinds out, each with a probability of a half.
    #[must_use]
    pub fn swarm(mut self, on: bool) -> Faults {
        self.swarm = on;
        self
    }

    pub(super) fn is_swarm(&self) -> bool {
        self.swarm
    }
}

/// How often each fault happened to each operation, over any number of runs.
///
/// Displays as a table: `-` where a fault cannot happen, 0 where it could and did not.
#[derive(Clone)]
pub struct Coverage {
    rows: Vec<Row>,
}

/// What is counted of one operation.
#[derive(Clone, Copy, Default)]
struct Row {
    submitted: u64,
    faults: [u64; Fault::ALL.len()],
}

/// The row of an operation: its place in [`OPERATIONS`], or the last one, which those share that
/// are not there. A run begins with all of them empty, so there are no others.
const ROWS: [u8; 64] = {
    let mut rows = [OPERATIONS.len() as u8; 64];
    let mut at = 0;
    while at < OPERATIONS.len() {
        rows[OPERATIONS[at].0 as usize] = at as u8;
        at += 1;
    }
    rows
};

impl Default for Coverage {
    fn default() -> Coverage {
        Coverage {
            rows: vec![Row::default(); OPERATIONS.len() + 1],
        }
    }
}

impl Coverage {
    /// Takes all that was counted. Nothing can be counted after that.
    pub(super) fn take(&mut self) -> Coverage {
        Coverage {
            rows: mem::take(&mut self.rows),
        }
    }

    fn row_mut(&mut self, op: u8) -> Option<&mut Row> {
        let row = ROWS.get(usize::from(op))?;
        self.rows.get_mut(usize::from(*row))
    }

    pub(super) fn count(&mut self, op: u8, fault: Fault) {
        if let Some(row) = self.row_mut(op) {
            row.faults[fault.index()] += 1;
        }
    }

    pub(super) fn submitted(&mut self, op: u8) {
        if let Some(row) = self.row_mut(op) {
            row.submitted += 1;
        }
    }

    /// Adds the counts of another run.
    pub fn merge(&mut self, other: &Coverage) {
        for (row, other) in self.rows.iter_mut().zip(&other.rows) {
            row.submitted += other.submitted;
            for (count, other) in row.faults.iter_mut().zip(other.faults) {
                *count += other;
            }
        }
    }

    /// Operations submitted.
    pub fn operations(&self) -> u64 {
        self.rows.iter().map(|row| row.submitted).sum()
    }

    /// Faults that happened.
    pub fn faults(&self) -> u64 {
        self.rows.iter().flat_map(|row| row.faults).sum()
    }

    /// How often a fault happened, to whatever operation.
    pub fn count_of(&self, fault: Fault) -> u64 {
        let rows = self.rows.iter();
        rows.map(|row| row.faults[fault.index()]).sum()
    }

    /// The operations that were never submitted.
    pub fn unused(&self) -> Vec<&'static str> {
        let unused = self.operations_and_rows();
        let unused = unused.filter(|(_, _, row)| row.submitted == 0);
        unused.map(|(_, name, _)| name).collect()
    }

    /// The cells that could have happened to operations which were submitted, and did not.
    pub fn missing(&self) -> Vec<(&'static str, Fault)> {
        let mut missing = Vec::new();
        for (op, name, row) in self.operations_and_rows() {
            if row.submitted == 0 {
                continue;
            }
            for fault in Fault::ALL {
                let none = row.faults[fault.index()] == 0;
                if none && fault.concerns(op) {
                    missing.push((name, fault));
                }
            }
        }
        missing
    }

    fn operations_and_rows(&self) -> impl Iterator<Item = (u8, &'static str, &Row)> {
        let operations = OPERATIONS.iter().zip(&self.rows);
        operations.map(|((op, name), row)| (*op, *name, row))
    }
}

impl fmt::Display for Coverage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:<13}{:>12}", "operation", "submitted")?;
        for fault in Fault::ALL {
            write!(f, "{:>17}", format!("{fault:?}"))?;
        }
        for (op, name, row) in self.operations_and_rows() {
            write!(f, "\n{name:<13}{:>12}", row.submitted)?;
            for fault in Fault::ALL {
                if fault.concerns(op) {
                    write!(f, "{:>17}", row.faults[fault.index()])?;
                } else {
                    write!(f, "{:>17}", "-")?;
                }
            }
        }
        Ok(())
    }
}

impl fmt::Debug for Coverage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Coverage")
            .field("operations", &self.operations())
            .field("faults", &self.faults())
            .finish()
    }
}
