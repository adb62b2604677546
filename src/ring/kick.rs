//! How another thread ends a ring's sleep.
//!
//! There are two ways: a write to an eventfd, a read of which the ring has, and a message, which
//! the kernel puts among the ring's completions and which takes no ring of the sender's.
//!
//! Who kicks may come when the ring has ended. So kicks have descriptors of their own:
//!
//! * the eventfd, which is open for as long as somebody can kick;
//! * a duplicate of the ring's descriptor, which would keep the ring, too, with its locked memory.
//!   At the ring's end its number is made to mean the eventfd, in one step and under the feet of
//!   whoever is about to use it. The kernel refuses a message to what is no ring. The number stays
//!   taken for as long as somebody can kick, so no stranger's file can come to have it.
//!
//! A message that the kernel does not take becomes a write: the read is there in any case. One that
//! it takes is not lost: where there is no room for a completion it is kept outside of the queue.
#![allow(unsafe_code)]

use std::io;
use std::os::fd::RawFd;
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use super::facts::kernel_version;
use super::fd::Fd;
use super::sqe::RawSqe;
use super::{Ring, Wait, opcode};

/// `IORING_REGISTER_SEND_MSG_RING`.
const REGISTER_SEND_MSG_RING: libc::c_uint = 31;
/// How often each way is tried. Some 2 µs each time.
const ROUNDS: usize = 24;
/// A message is preferred if it saves so many parts of a hundred: one that is as good takes memory
/// of the kernel's for nothing.
const GAIN: u32 = 5;

/// How another thread ends the sleep of a core; see [`Builder::kick`].
///
/// [`Builder::kick`]: crate::runtime::Builder::kick
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
#[non_exhaustive]
pub enum Kick {
    /// A write to an eventfd. The core has the kernel read it each time before it sleeps.
    #[default]
    Eventfd,
    /// A message to the core's ring, which takes nothing of the core before or after.
    ///
    /// # Kernel
    ///
    /// `IORING_REGISTER_SEND_MSG_RING`, used since 6.16. Before, and where the process has no
    /// descriptor left for it, this is as [`Eventfd`](Kick::Eventfd).
    MsgRing,
}

/// What ends the sleep of one ring, from any thread and from a signal handler.
#[derive(Debug)]
pub(crate) struct Kicker {
    eventfd: Arc<Fd>,
    ring: Option<Fd>,
    user_data: u64,
}

impl Kicker {
    /// Kicks by a message that is named `user_data`, if there is a [`Ring::duplicate`].
    pub(crate) fn new(eventfd: Arc<Fd>, ring: Option<Fd>, user_data: u64) -> Kicker {
        Kicker {
            eventfd,
            ring,
            user_data,
        }
    }

    /// Ends the ring's sleep, or its next one. Does nothing to a ring that has ended.
    pub(crate) fn kick(&self) {
        if let Some(ring) = &self.ring
            && post(ring.raw(), self.user_data).is_ok()
        {
            return;
        }
        self.eventfd.eventfd_write();
    }

    pub(crate) fn way(&self) -> Kick {
        match self.ring {
            Some(_) => Kick::MsgRing,
            None => Kick::Eventfd,
        }
    }

    /// Keeps the ring no longer: kicks go to the eventfd from now on.
    pub(crate) fn let_go(&self) {
        let Some(ring) = &self.ring else { return };
        // SAFETY: dup3 takes no pointer, and `ring` owns the number that is given another meaning.
        // A failure (a filter that forbids the call) leaves the ring open until the last waker
        // goes, which is late but safe.
        while unsafe { libc::dup3(self.eventfd.raw(), ring.raw(), libc::O_CLOEXEC) } < 0 {
            let error = io::Error::last_os_error();
            if error.kind() != io::ErrorKind::Interrupted {
                break;
            }
        }
    }
}

/// The way that costs less here. Found out once in a process, on the first ring, which must be new.
pub(crate) fn cheaper(ring: &mut Ring, user_data: u64) -> Kick {
    static CHEAPER: OnceLock<Kick> = OnceLock::new();
    if let Some(known) = CHEAPER.get() {
        return *known;
    }
    // A failure is not kept: the next ring may tell.
    match measure(ring, user_data) {
        Some(found) => *CHEAPER.get_or_init(|| found),
        None => Kick::Eventfd,
    }
}

/// What both sides have to do for a kick, on one thread: the wake-up itself is the same either way,
/// and takes another core that may be busy. The least of all rounds, since others run in between.
pub(super) fn measure(ring: &mut Ring, user_data: u64) -> Option<Kick> {
    let eventfd = Arc::new(ring.eventfd().ok()?);
    let writes = Kicker::new(Arc::clone(&eventfd), None, user_data);
    let sends = Kicker::new(Arc::clone(&eventfd), Some(ring.duplicate()?), user_data);
    // Leaked if a read of it may still be under way.
    let count = Box::into_raw(Box::new(0_u64));
    let read = RawSqe {
        opcode: opcode::READ,
        fd: eventfd.raw(),
        addr: count.expose_provenance() as u64,
        len: 8,
        user_data,
        ..RawSqe::default()
    };
    let mut least = [Duration::MAX; 2];
    for _ in 0..ROUNDS {
        least[0] = least[0].min(round(ring, &writes, Some(&read))?);
        least[1] = least[1].min(round(ring, &sends, None)?);
    }
    // SAFETY: the pointer is from the box above, and every read of it has ended: each round with
    // one came to the completion.
    drop(unsafe { Box::from_raw(count) });
    let is_better = least[1] * 100 < least[0] * (100 - GAIN);
    Some(if is_better {
        Kick::MsgRing
    } else {
        Kick::Eventfd
    })
}

/// Prepares a sleep, kicks, and takes the completion. `None` if none has come.
fn round(ring: &mut Ring, kicker: &Kicker, read: Option<&RawSqe>) -> Option<Duration> {
    let start = Instant::now();
    if let Some(read) = read {
        ring.push(read).ok()?;
    }
    let _ = ring.enter_with(u32::MAX, Wait::No).ok()?;
    kicker.kick();
    for _ in 0..ROUNDS {
        let _ = ring.enter_with(u32::MAX, Wait::No).ok()?;
        if ring.pop().is_some() {
            let end = start.elapsed();
            return ring.pop().is_none().then_some(end);
        }
    }
    None
}

/// Whether messages can be sent by those who have no ring: the kernel has looked for the target.
///
/// The call is there since 6.13, but kernels before 6.16 were not tried.
pub(super) fn has_messages() -> bool {
    kernel_version() >= (6, 16) && post(-1, 0) == Err(libc::EBADF)
}

/// Another descriptor of a ring.
pub(super) fn duplicate(ring: RawFd) -> Option<Fd> {
    // SAFETY: fcntl takes no pointer here.
    let fd = unsafe { libc::fcntl(ring, libc::F_DUPFD_CLOEXEC, 0) };
    (fd >= 0).then(|| Fd::adopt(fd))
}

/// Posts a completion to the ring `target`, or says by an errno why not.
fn post(target: RawFd, user_data: u64) -> Result<(), i32> {
    let message = RawSqe {
        opcode: opcode::MSG_RING,
        fd: target,
        off: user_data,
        ..RawSqe::default()
    };
    let (call, no_ring) = (libc::SYS_io_uring_register, -1);
    // SAFETY: errno is this thread's own, and a signal handler must leave it as it was.
    let before = unsafe { *libc::__errno_location() };
    // SAFETY: the kernel reads one entry, `message`, for the duration of the call. It names no
    // memory: a message with data is two numbers.
    let result = unsafe {
        let message = &raw const message;
        libc::syscall(call, no_ring, REGISTER_SEND_MSG_RING, message, 1)
    };
    // SAFETY: as above.
    let errno = unsafe { libc::__errno_location().replace(before) };
    if result < 0 { Err(errno) } else { Ok(()) }
}
