//! What `/proc` and the limits say about this process, for [`diagnose`](super::diagnose).
#![allow(unsafe_code)]

use std::fs;
use std::mem::MaybeUninit;

const CAP_IPC_LOCK: u32 = 14;
const CAP_SYS_ADMIN: u32 = 21;

/// Read once, when something has failed. What cannot be read counts as harmless.
#[derive(Clone, Debug)]
pub(super) struct Facts {
    /// As `uname -r` prints it.
    pub(super) release: String,
    pub(super) kernel: (u32, u32),
    /// 0 before 6.6, which has no such sysctl.
    pub(super) io_uring_disabled: u32,
    /// −1 for none.
    pub(super) io_uring_group: i64,
    pub(super) in_io_uring_group: bool,
    /// Of the calling thread: 0 none, 1 strict, 2 filter.
    pub(super) seccomp: u32,
    /// CAP_SYS_ADMIN, if only in a user namespace.
    pub(super) administrator: bool,
    /// CAP_IPC_LOCK: the limit of locked memory does not hold.
    pub(super) may_lock: bool,
    /// Bytes; none if there is no limit.
    pub(super) memlock: Option<u64>,
    pub(super) nofile: u64,
    /// The names of the active security modules.
    pub(super) lsm: String,
}

impl Facts {
    pub(super) fn read() -> Facts {
        // A filter belongs to a thread, and `self` is the first one's.
        let status = fs::read_to_string("/proc/thread-self/status").unwrap_or_default();
        Facts::of_status(
            &status,
            number("/proc/sys/kernel/io_uring_group").unwrap_or(-1),
        )
    }

    /// `status` is the thread's own file in `/proc`.
    pub(super) fn of_status(status: &str, io_uring_group: i64) -> Facts {
        let release = release();
        let lsm = fs::read_to_string("/sys/kernel/security/lsm").unwrap_or_default();
        Facts {
            kernel: version(&release),
            release,
            io_uring_disabled: number("/proc/sys/kernel/io_uring_disabled").unwrap_or(0) as u32,
            io_uring_group,
            in_io_uring_group: groups(status).any(|group| group == io_uring_group),
            seccomp: field(status, "Seccomp:").trim().parse().unwrap_or(0),
            administrator: has_capability(status, CAP_SYS_ADMIN),
            may_lock: has_capability(status, CAP_IPC_LOCK),
            memlock: limit(libc::RLIMIT_MEMLOCK),
            nofile: limit(libc::RLIMIT_NOFILE).unwrap_or(u64::MAX),
            lsm: if lsm.is_empty() {
                "its name cannot be read".into()
            } else {
                lsm
            },
        }
    }
}

/// The running kernel's major and minor version, 0.0 if it does not say.
pub(super) fn kernel_version() -> (u32, u32) {
    version(&release())
}

fn release() -> String {
    let mut name = MaybeUninit::<libc::utsname>::zeroed();
    // SAFETY: the call writes one `utsname` to a live one and cannot fail on it.
    unsafe { libc::uname(name.as_mut_ptr()) };
    // SAFETY: all-zero bytes are a valid `utsname` as well as those that the kernel wrote.
    let name = unsafe { name.assume_init() };
    let bytes = name.release.iter().map(|&byte| byte as u8);
    bytes
        .take_while(|&byte| byte != 0)
        .map(char::from)
        .collect()
}

fn version(release: &str) -> (u32, u32) {
    let mut parts = release
        .split(|c: char| !c.is_ascii_digit())
        .map(|n| n.parse().unwrap_or(0));
    (parts.next().unwrap_or(0), parts.next().unwrap_or(0))
}

fn number(path: &str) -> Option<i64> {
    fs::read_to_string(path).ok()?.trim().parse().ok()
}

/// The rest of the line of `status` that starts with `name`.
fn field<'a>(status: &'a str, name: &str) -> &'a str {
    status
        .lines()
        .find_map(|line| line.strip_prefix(name))
        .unwrap_or("")
}

/// The effective and the supplementary ones; the kernel asks for either.
fn groups(status: &str) -> impl Iterator<Item = i64> {
    let effective = field(status, "Gid:").split_whitespace().nth(1);
    let supplementary = field(status, "Groups:").split_whitespace();
    effective
        .into_iter()
        .chain(supplementary)
        .filter_map(|group| group.parse().ok())
}

fn has_capability(status: &str, capability: u32) -> bool {
    let effective = u64::from_str_radix(field(status, "CapEff:").trim(), 16).unwrap_or(0);
    effective >> capability & 1 != 0
}

fn limit(resource: libc::__rlimit_resource_t) -> Option<u64> {
    let mut limit = libc::rlimit {
        rlim_cur: libc::RLIM_INFINITY,
        rlim_max: libc::RLIM_INFINITY,
    };
    // SAFETY: the call writes one `rlimit` to a live one.
    unsafe { libc::getrlimit(resource, &mut limit) };
    (limit.rlim_cur != libc::RLIM_INFINITY).then_some(limit.rlim_cur)
}
