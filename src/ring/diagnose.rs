//! Why there is no ring, and what to do about it.
#![allow(unsafe_code)]

use std::error::Error;
use std::fmt;
use std::io;

use super::Config;

/// io_uring cannot be used here.
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
    /// The kernel was built without io_uring.
    NotBuilt,
    /// The sysctl `kernel.io_uring_disabled` forbids it.
    Sysctl,
    /// A seccomp filter, usually the container runtime's, forbids it.
    Seccomp,
    /// A security module, as SELinux or AppArmor, forbids it.
    SecurityModule,
    /// The limit of locked memory is used up.
    Memlock,
    /// The process or the machine has no descriptors left.
    Descriptors,
    /// Something else.
    Other,
}

impl Unavailable {
    pub(super) fn new(call: &'static str, error: &io::Error, size: &Config) -> Unavailable {
        let errno = error.raw_os_error().unwrap_or(0);
        let text = format!("io_uring is not available: {call} failed: {error} ({size:?})");
        Unavailable {
            errno,
            cause: Cause::Other,
            text,
        }
    }

    /// The kernel's error number.
    pub fn errno(&self) -> i32 {
        self.errno
    }

    /// What stands in the way.
    pub fn cause(&self) -> Cause {
        self.cause
    }
}

impl fmt::Display for Unavailable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl fmt::Debug for Unavailable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl Error for Unavailable {}

impl From<Unavailable> for io::Error {
    fn from(error: Unavailable) -> io::Error {
        let kind = match error.errno {
            libc::EPERM | libc::EACCES => io::ErrorKind::PermissionDenied,
            libc::ENOSYS | libc::EINVAL => io::ErrorKind::Unsupported,
            libc::ENOMEM => io::ErrorKind::OutOfMemory,
            _ => io::ErrorKind::Other,
        };
        io::Error::new(kind, error)
    }
}

/// The running kernel's major and minor version, 0.0 if it does not say.
pub(super) fn kernel_version() -> (u32, u32) {
    // SAFETY: all-zero bytes are a valid `utsname`, and the call fills a live one.
    let name = unsafe {
        let mut name: libc::utsname = std::mem::zeroed();
        libc::uname(&mut name);
        name
    };
    let release: String = name
        .release
        .iter()
        .take_while(|&&c| c != 0)
        .map(|&c| c as u8 as char)
        .collect();
    let mut numbers = release
        .split(|c: char| !c.is_ascii_digit())
        .map(|n| n.parse().unwrap_or(0));
    (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0))
}
