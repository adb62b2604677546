//! Chosen system calls of one thread fail, one at a time: a seccomp filter hands them to another
//! thread, which lets them go on or answers in the kernel's place.
//!
//! `seccomp_unotify(2)`: <https://man7.org/linux/man-pages/man2/seccomp_unotify.2.html>

use std::collections::HashMap;
use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::sync::{Arc, Mutex, OnceLock};
use std::thread;

use libc::{c_long, sock_filter};

/// The calls that may fail.
pub(crate) const WATCHED: [(c_long, &str); 5] = [
    (libc::SYS_io_uring_setup, "io_uring_setup"),
    (libc::SYS_io_uring_register, "io_uring_register"),
    (libc::SYS_io_uring_enter, "io_uring_enter"),
    (libc::SYS_mmap, "mmap"),
    (libc::SYS_eventfd2, "eventfd2"),
];

// <linux/seccomp.h>
const NOTIF_RECV: libc::Ioctl = 0xC050_2100_u32 as libc::Ioctl;
const NOTIF_SEND: libc::Ioctl = 0xC018_2101_u32 as libc::Ioctl;
const CONTINUE: u32 = libc::SECCOMP_USER_NOTIF_FLAG_CONTINUE as u32;

const _: () = assert!(size_of::<libc::seccomp_notif>() == 0x50);
const _: () = assert!(size_of::<libc::seccomp_notif_resp>() == 0x18);

/// Which call fails, once.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Fault {
    pub(crate) call: c_long,
    /// The first one is number 0.
    pub(crate) number: usize,
    pub(crate) errno: i32,
}

/// What is to fail next, and what was seen since that was said.
#[derive(Debug, Default)]
struct Plan {
    fault: Option<Fault>,
    seen: HashMap<c_long, usize>,
    /// The second argument of the call that has failed.
    failed: Option<u64>,
}

/// Decides what fails. Any thread may.
#[derive(Clone, Debug, Default)]
pub(crate) struct Faults(Arc<Mutex<Plan>>);

impl Faults {
    /// From now on calls are counted, and `fault` is made.
    pub(crate) fn plan(&self, fault: Option<Fault>) {
        *self.0.lock().expect("it does not panic") = Plan {
            fault,
            ..Plan::default()
        };
    }

    /// How many of these calls there were since then.
    pub(crate) fn seen(&self, call: c_long) -> usize {
        let plan = self.0.lock().expect("it does not panic");
        plan.seen.get(&call).copied().unwrap_or(0)
    }

    /// The second argument of the call that has failed since then: of `io_uring_register`, what was
    /// to be done.
    pub(crate) fn failed(&self) -> Option<u64> {
        self.0.lock().expect("it does not panic").failed
    }

    /// What to answer to a call: an errno, or 0 to let it go on.
    fn answer(&self, data: &libc::seccomp_data) -> i32 {
        let call = data.nr.into();
        let mut plan = self.0.lock().expect("it does not panic");
        let seen = plan.seen.entry(call).or_default();
        let number = *seen;
        *seen += 1;
        let fault = plan.fault.filter(|f| f.call == call && f.number == number);
        plan.failed = plan.failed.or(fault.map(|_| data.args[1]));
        fault.map_or(0, |fault| fault.errno)
    }
}

/// Has the [`WATCHED`] calls of this thread, from now on and for ever, answered by `faults`.
///
/// # Errors
///
/// `EBUSY`: there is a filter already that does it; `EINVAL`, `ENOSYS`: the kernel cannot.
pub(crate) fn install(faults: &Faults) -> io::Result<()> {
    let place = Arc::new(OnceLock::new());
    let listener = Arc::clone(&place);
    let faults = faults.clone();
    // Made before there is a filter, which threads inherit, and handed the listener without a call
    // that has to be answered. Ends with the process.
    thread::spawn(move || {
        while let Ok(call) = receive(listener.wait()) {
            let errno = faults.answer(&call.data);
            reply(listener.wait(), call.id, errno);
        }
    });
    let listener = listen()?;
    place.set(listener).expect("it is set once");
    Ok(())
}

fn listen() -> io::Result<OwnedFd> {
    let instruction = |code: u32, jt, jf, k| sock_filter {
        code: code as u16,
        jt,
        jf,
        k,
    };
    // The number of the call is the first field.
    let mut filter = vec![instruction(
        libc::BPF_LD | libc::BPF_W | libc::BPF_ABS,
        0,
        0,
        0,
    )];
    for (at, (call, _)) in (0..).zip(WATCHED) {
        let to_notify = WATCHED.len() as u8 - at;
        let equal = libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K;
        filter.push(instruction(equal, to_notify, 0, call as u32));
    }
    let answer = libc::BPF_RET | libc::BPF_K;
    filter.push(instruction(answer, 0, 0, libc::SECCOMP_RET_ALLOW));
    filter.push(instruction(answer, 0, 0, libc::SECCOMP_RET_USER_NOTIF));
    let program = libc::sock_fprog {
        len: filter.len() as u16,
        filter: filter.as_mut_ptr(),
    };
    // SAFETY: the kernel copies the program, which lives until the call returns; the result is a
    // descriptor that is ours.
    unsafe {
        assert_eq!(libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), 0);
        let flags = libc::SECCOMP_FILTER_FLAG_NEW_LISTENER;
        let mode = libc::SECCOMP_SET_MODE_FILTER;
        match libc::syscall(libc::SYS_seccomp, mode, flags, &raw const program) {
            fd if fd >= 0 => Ok(OwnedFd::from_raw_fd(fd as i32)),
            _ => Err(io::Error::last_os_error()),
        }
    }
}

fn receive(listener: &OwnedFd) -> io::Result<libc::seccomp_notif> {
    loop {
        // SAFETY: all-zero bytes are a valid `seccomp_notif`, and what the kernel wants to see.
        let mut call: libc::seccomp_notif = unsafe { std::mem::zeroed() };
        // SAFETY: the kernel writes one `seccomp_notif` to a live one.
        match unsafe { libc::ioctl(listener.as_raw_fd(), NOTIF_RECV, &raw mut call) } {
            0 => return Ok(call),
            _ => match io::Error::last_os_error() {
                // The thread was interrupted meanwhile, and asks again.
                e if matches!(e.raw_os_error(), Some(libc::EINTR | libc::ENOENT)) => {}
                e => return Err(e),
            },
        }
    }
}

fn reply(listener: &OwnedFd, id: u64, errno: i32) {
    let reply = libc::seccomp_notif_resp {
        id,
        val: 0,
        error: -errno,
        flags: if errno == 0 { CONTINUE } else { 0 },
    };
    // SAFETY: the kernel reads one `seccomp_notif_resp`. An error means that nobody waits any more.
    unsafe { libc::ioctl(listener.as_raw_fd(), NOTIF_SEND, &raw const reply) };
}
