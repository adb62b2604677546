//! Why there is no ring, and what to do about it.
//!
//! One errno has many causes (`EPERM` has three), so the facts that tell them apart are read from
//! `/proc` at the moment of failing, by [`Facts::read`]; the rest is a function of errno and facts.

use std::error::Error;
use std::fmt;
use std::io;

use super::Config;
use super::facts::Facts;

/// Every text ends with it or with a fix that needs no more.
const WHOLE_PICTURE: &str = "`./kernel-check.sh` shows the whole picture.";
/// Lines after the first stand below the text that `Error: ` opens.
const LINE_BREAK: &str = "\n       ";

/// io_uring cannot be used here: says why, and which command or file fixes it.
///
/// Building a runtime returns it inside an [`io::Error`], whose kind is `PermissionDenied`,
/// `Unsupported`, `OutOfMemory` or `Other`. Both its `Display` and its `Debug` are the text for
/// people, two to four lines of it, since `Debug` is what a failing `main` prints.
///
/// # Examples
///
/// ```
/// use corering::runtime::{Cause, Unavailable};
///
/// /// Whether running with another seccomp profile would help.
/// fn is_a_matter_of_the_container(error: &std::io::Error) -> bool {
///     let inner = error.get_ref().and_then(|e| e.downcast_ref::<Unavailable>());
///     inner.is_some_and(|e| e.cause() == Cause::Seccomp)
/// }
/// # assert!(!is_a_matter_of_the_container(&std::io::Error::other("something else")));
/// ```
#[derive(Clone, Eq, PartialEq)]
pub struct Unavailable {
    errno: i32,
    cause: Cause,
    text: String,
}

/// What stands in the way of io_uring.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum Cause {
    /// The kernel is older than 6.1.
    OldKernel,
    /// The kernel was built without io_uring, or something that only resembles Linux runs here.
    NotBuilt,
    /// The sysctl `kernel.io_uring_disabled` forbids it.
    Sysctl,
    /// A seccomp filter forbids it: container runtimes install one by default.
    Seccomp,
    /// A security module forbids it, as SELinux or AppArmor.
    SecurityModule,
    /// The user's locked memory (`RLIMIT_MEMLOCK`) is used up.
    Memlock,
    /// The process or the machine has no descriptor left.
    Descriptors,
    /// Something else; the text says what the kernel answered.
    Other,
}

impl Unavailable {
    /// The kernel's error number.
    pub fn errno(&self) -> i32 {
        self.errno
    }

    /// What stands in the way.
    pub fn cause(&self) -> Cause {
        self.cause
    }

    /// For `call` that has just failed with `error`, when a ring of size `smallest` was tried last.
    pub(crate) fn new(call: &'static str, error: &io::Error, smallest: &Config) -> Unavailable {
        let errno = error.raw_os_error().unwrap_or(0);
        explain(
            &Failure {
                call,
                errno,
                smallest,
            },
            &Facts::read(),
        )
    }
}

impl fmt::Display for Unavailable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl fmt::Debug for Unavailable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl Error for Unavailable {}

impl From<Unavailable> for io::Error {
    fn from(error: Unavailable) -> io::Error {
        let kind = match error.cause {
            Cause::Sysctl | Cause::Seccomp | Cause::SecurityModule => {
                io::ErrorKind::PermissionDenied
            }
            Cause::OldKernel | Cause::NotBuilt => io::ErrorKind::Unsupported,
            Cause::Memlock => io::ErrorKind::OutOfMemory,
            Cause::Descriptors | Cause::Other => io::ErrorKind::Other,
        };
        io::Error::new(kind, error)
    }
}

/// Which call failed, how, and on what.
pub(super) struct Failure<'a> {
    pub(super) call: &'static str,
    pub(super) errno: i32,
    pub(super) smallest: &'a Config,
}

pub(super) fn explain(failure: &Failure<'_>, facts: &Facts) -> Unavailable {
    let cause = cause_of(failure.errno, facts);
    let lines = match cause {
        Cause::OldKernel => old_kernel(failure, facts),
        Cause::NotBuilt => not_built(failure, facts),
        Cause::Sysctl => sysctl(failure, facts),
        Cause::Seccomp => seccomp(failure, facts),
        Cause::SecurityModule => security_module(failure, facts),
        Cause::Memlock => memlock(failure, facts),
        Cause::Descriptors => descriptors(failure, facts),
        Cause::Other => other(failure, facts),
    };
    let text = format!("io_uring is not available: {}", lines.join(LINE_BREAK));
    Unavailable {
        errno: failure.errno,
        cause,
        text,
    }
}

fn cause_of(errno: i32, facts: &Facts) -> Cause {
    match errno {
        libc::EPERM if sysctl_forbids(facts) => Cause::Sysctl,
        libc::EPERM if facts.seccomp != 0 => Cause::Seccomp,
        libc::EPERM | libc::EACCES => Cause::SecurityModule,
        libc::ENOSYS if facts.kernel < (5, 1) => Cause::OldKernel,
        libc::ENOSYS if facts.seccomp != 0 => Cause::Seccomp,
        libc::ENOSYS => Cause::NotBuilt,
        libc::EINVAL if facts.kernel < (6, 1) => Cause::OldKernel,
        libc::ENOMEM if facts.memlock.is_some() && !facts.may_lock => Cause::Memlock,
        libc::EMFILE | libc::ENFILE => Cause::Descriptors,
        _ => Cause::Other,
    }
}

/// Root of a user namespace has the capability and is refused all the same, so that one counts
/// only when a filter could be the reason instead.
fn sysctl_forbids(facts: &Facts) -> bool {
    match facts.io_uring_disabled {
        0 => false,
        1 => !(facts.in_io_uring_group || facts.administrator && facts.seccomp != 0),
        _ => true,
    }
}

fn old_kernel(failure: &Failure<'_>, facts: &Facts) -> Vec<String> {
    vec![
        format!(
            "this is Linux {}, and corering needs 6.1 or later",
            facts.release
        ),
        format!(
            "({} failed with {}).",
            failure.call,
            errno_name(failure.errno)
        ),
        "Fix: boot a newer kernel; Debian 12, Ubuntu 24.04 and RHEL 10 have one.".into(),
    ]
}

fn not_built(failure: &Failure<'_>, facts: &Facts) -> Vec<String> {
    vec![
        format!(
            "the kernel does not know {} (ENOSYS, Linux {}):",
            failure.call, facts.release
        ),
        "it was built without io_uring, or a sandbox as gVisor answers in its place.".into(),
        "Fix: run on a kernel with CONFIG_IO_URING=y, outside of such a sandbox.".into(),
        WHOLE_PICTURE.into(),
    ]
}

fn sysctl(failure: &Failure<'_>, facts: &Facts) -> Vec<String> {
    let refused = format!(
        "{} was refused with EPERM, and kernel.io_uring_disabled is {}:",
        failure.call, facts.io_uring_disabled
    );
    let mut lines = vec![refused];
    if facts.io_uring_disabled == 1 {
        let group = facts.io_uring_group;
        lines.push("only CAP_SYS_ADMIN and the members of one group may use io_uring.".into());
        lines.push("Fix: `sysctl -w kernel.io_uring_disabled=0`, or run in that group".into());
        lines.push(format!(
            "(kernel.io_uring_group is {group}; -1 is none). {WHOLE_PICTURE}"
        ));
    } else {
        lines.push("nobody on this machine may use io_uring.".into());
        lines.push("Fix: `sysctl -w kernel.io_uring_disabled=0`.".into());
        lines.push(WHOLE_PICTURE.into());
    }
    lines
}

fn seccomp(failure: &Failure<'_>, facts: &Facts) -> Vec<String> {
    let (call, errno) = (failure.call, errno_name(failure.errno));
    vec![
        format!("{call} was refused with {errno}, and a seccomp filter is active"),
        format!(
            "(Seccomp: {} in /proc/self/status). Container runtimes block io_uring by default.",
            facts.seccomp
        ),
        "Fix: run with the profile in deploy/seccomp.json, or allow io_uring_setup, \
         io_uring_enter and"
            .into(),
        format!("io_uring_register in yours. {WHOLE_PICTURE}"),
    ]
}

fn security_module(failure: &Failure<'_>, facts: &Facts) -> Vec<String> {
    let (call, errno) = (failure.call, errno_name(failure.errno));
    vec![
        format!("{call} was refused with {errno}, and neither a seccomp filter nor"),
        format!(
            "kernel.io_uring_disabled does that here: a security module does ({}).",
            facts.lsm
        ),
        "Fix: allow io_uring to this program in its policy; the kernel's audit log names the rule."
            .into(),
        WHOLE_PICTURE.into(),
    ]
}

fn memlock(failure: &Failure<'_>, facts: &Facts) -> Vec<String> {
    let limit = facts.memlock.unwrap_or(u64::MAX) / 1024;
    let Config {
        entries,
        cq_entries,
        ..
    } = *failure.smallest;
    // The buffer ring is registered when the ring itself is there.
    let buffers = match failure.call {
        "io_uring_register" => BUFFER_RING,
        _ => 0,
    };
    let need = (locked_bytes(failure.smallest) + buffers) / 1024;
    vec![
        format!(
            "{} failed with ENOMEM. All processes of this user may lock",
            failure.call
        ),
        format!("{limit} KiB together (RLIMIT_MEMLOCK), and what is left is less than the"),
        format!("{need} KiB that the smallest ring tried takes ({entries}/{cq_entries} entries)."),
        "Fix: raise it: `ulimit -l`, LimitMEMLOCK= of systemd, `--ulimit memlock=` of Docker."
            .into(),
    ]
}

fn descriptors(failure: &Failure<'_>, facts: &Facts) -> Vec<String> {
    if failure.errno == libc::ENFILE {
        return vec![
            format!(
                "{} failed with ENFILE: the machine has no descriptor left.",
                failure.call
            ),
            "Fix: raise `sysctl fs.file-max`, or find out who holds them (`lsof`).".into(),
        ];
    }
    vec![
        format!(
            "{} failed with EMFILE: this process has all {}",
            failure.call, facts.nofile
        ),
        "descriptors open that it may have (RLIMIT_NOFILE).".into(),
        "Fix: raise it: `ulimit -n`, LimitNOFILE= of systemd, `--ulimit nofile=` of Docker.".into(),
    ]
}

fn other(failure: &Failure<'_>, facts: &Facts) -> Vec<String> {
    let reason = match failure.errno {
        libc::ENOMEM => "the machine or the control group has no memory left.",
        libc::EINVAL => "the kernel lacks what the version that it claims to be has.",
        _ => "no known cause of it was found.",
    };
    let error = io::Error::from_raw_os_error(failure.errno);
    vec![
        format!("{} failed: {error}.", failure.call),
        format!("This is Linux {}; {reason}", facts.release),
        WHOLE_PICTURE.into(),
    ]
}

/// What the kernel charges for a core's buffer ring: a page, before 6.12 four of them.
const BUFFER_RING: u64 = 4096;

/// What the kernel charges for a ring: the submission entries, and the completion entries with the
/// queues' heads and the indirection array, each in whole pages.
pub(super) fn locked_bytes(size: &Config) -> u64 {
    const PAGE: u64 = 4096;
    const HEADS: u64 = 320;
    let (entries, cq_entries) = (u64::from(size.entries), u64::from(size.cq_entries));
    let submissions = (entries * 64).next_multiple_of(PAGE);
    submissions + (HEADS + cq_entries * 16 + entries * 4).next_multiple_of(PAGE)
}

fn errno_name(errno: i32) -> String {
    match errno {
        libc::EPERM => "EPERM".into(),
        libc::EACCES => "EACCES".into(),
        libc::EINVAL => "EINVAL".into(),
        libc::ENOSYS => "ENOSYS".into(),
        _ => format!("errno {errno}"),
    }
}
