#![allow(unsafe_code)]
//! The kernel calls that std and socket2 have no safe name for.

use std::fs;
use std::io::{self, Read};
use std::mem;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, IntoRawFd, OwnedFd, RawFd};

/// Where every server and every executor benchmark runs.
pub(crate) const SERVER_CPU: usize = 0;
/// Where the load runs.
pub(crate) const LOAD_CPU: usize = 1;

// Above the default of nothing, far below the kernel's own watchdogs.
const FIFO_PRIORITY: i32 = 10;

fn check(result: libc::c_int) -> io::Result<()> {
    if result == -1 {
        Err(io::Error::last_os_error())
    } else {
        Ok(())
    }
}

/// Binds the calling thread, and the threads that it starts, to one CPU.
pub(crate) fn pin(cpu: usize) -> io::Result<()> {
    allow(&[cpu])
}

/// Binds the calling thread, and the threads that it starts, to these CPUs.
pub(crate) fn allow(cpus: &[usize]) -> io::Result<()> {
    // SAFETY: cpu_set_t is an array of integers, for which zero is a value.
    let mut set: libc::cpu_set_t = unsafe { mem::zeroed() };
    for &cpu in cpus {
        // SAFETY: CPU_SET checks the index against the size of the set and writes inside it.
        unsafe { libc::CPU_SET(cpu, &mut set) };
    }
    // SAFETY: the set outlives the call, and its true size is passed.
    check(unsafe { libc::sched_setaffinity(0, size_of_val(&set), &set) })
}

/// Puts the calling thread under `SCHED_FIFO`, so that nothing but the kernel interrupts it.
///
/// # Errors
///
/// `EPERM` without `CAP_SYS_NICE`, or in a cgroup that has no real-time budget.
pub(crate) fn real_time() -> io::Result<()> {
    set_scheduler(libc::SCHED_FIFO, FIFO_PRIORITY)
}

/// Puts the calling thread back under the ordinary scheduler.
pub(crate) fn ordinary_time() -> io::Result<()> {
    set_scheduler(libc::SCHED_OTHER, 0)
}

fn set_scheduler(policy: i32, priority: i32) -> io::Result<()> {
    let parameters = libc::sched_param {
        sched_priority: priority,
    };
    // SAFETY: the parameters outlive the call, which only reads them.
    check(unsafe { libc::sched_setscheduler(0, policy, &parameters) })
}

/// Has the kernel kill this process when the thread that started it is gone.
///
/// Otherwise a server whose parent was killed would keep its CPU, and maybe spin there, for ever.
pub(crate) fn die_with_parent() -> io::Result<()> {
    // SAFETY: PR_SET_PDEATHSIG takes a signal number and touches no memory.
    check(unsafe { libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL) })
}

/// Raises the limit of open descriptors as far as permitted, up to `wanted`; the limit that holds.
pub(crate) fn raise_nofile(wanted: u64) -> io::Result<u64> {
    let mut limit = libc::rlimit {
        rlim_cur: 0,
        rlim_max: 0,
    };
    // SAFETY: the kernel writes one rlimit into the one that outlives the call.
    check(unsafe { libc::getrlimit(libc::RLIMIT_NOFILE, &mut limit) })?;
    let hard = limit.rlim_max.max(wanted);
    for max in [hard, limit.rlim_max] {
        let raised = libc::rlimit {
            rlim_cur: wanted.clamp(limit.rlim_cur, max),
            rlim_max: max,
        };
        // SAFETY: the kernel only reads the rlimit, which outlives the call.
        if unsafe { libc::setrlimit(libc::RLIMIT_NOFILE, &raised) } == 0 {
            return Ok(raised.rlim_cur);
        }
    }
    Ok(limit.rlim_cur)
}

/// The CPU time of a whole process, all its threads and ring workers included, in nanoseconds.
#[derive(Clone, Copy)]
pub(crate) struct CpuClock(libc::clockid_t);

impl CpuClock {
    pub(crate) const OWN: Self = Self(libc::CLOCK_PROCESS_CPUTIME_ID);

    pub(crate) fn of(pid: u32) -> io::Result<Self> {
        let mut id = 0;
        // SAFETY: the call writes one clock id into the one that outlives it.
        match unsafe { libc::clock_getcpuclockid(pid as libc::pid_t, &mut id) } {
            0 => Ok(Self(id)),
            errno => Err(io::Error::from_raw_os_error(errno)),
        }
    }

    pub(crate) fn now_ns(self) -> io::Result<u64> {
        let mut time = libc::timespec {
            tv_sec: 0,
            tv_nsec: 0,
        };
        // SAFETY: the kernel writes one timespec into the one that outlives the call.
        check(unsafe { libc::clock_gettime(self.0, &mut time) })?;
        Ok(time.tv_sec as u64 * 1_000_000_000 + time.tv_nsec as u64)
    }
}

/// Counts the system calls that all threads of a process make while the counter lives.
///
/// The trace point costs the counted process time in every call, so the counter lives in a window
/// of its own.
pub(crate) struct SyscallCounter(Vec<fs::File>);

impl SyscallCounter {
    /// `None` where trace points may not be read: not root, or no tracefs.
    pub(crate) fn attach(pid: u32) -> Option<Self> {
        let id = trace_point_id()?;
        let mut counters = Vec::new();
        for task in fs::read_dir(format!("/proc/{pid}/task")).ok()? {
            let thread = task.ok()?.file_name().to_str()?.parse().ok()?;
            counters.push(open_counter(id, thread).ok()?);
        }
        Some(Self(counters))
    }

    pub(crate) fn count(&mut self) -> io::Result<u64> {
        let mut sum = 0;
        for counter in &mut self.0 {
            let mut value = [0; 8];
            counter.read_exact(&mut value)?;
            sum += u64::from_ne_bytes(value);
        }
        Ok(sum)
    }
}

fn trace_point_id() -> Option<u64> {
    const EVENT: &str = "events/raw_syscalls/sys_enter/id";
    let read = || {
        ["/sys/kernel/tracing", "/sys/kernel/debug/tracing"]
            .iter()
            .find_map(|root| fs::read_to_string(format!("{root}/{EVENT}")).ok())
    };
    let text = read().or_else(|| {
        // As perf(1) does it: tracefs is there but nobody has mounted it yet.
        mount_tracefs().ok()?;
        read()
    })?;
    text.trim().parse().ok()
}

fn mount_tracefs() -> io::Result<()> {
    // SAFETY: three literals that end in NUL; the data may be null for tracefs.
    check(unsafe {
        libc::mount(
            c"tracefs".as_ptr(),
            c"/sys/kernel/tracing".as_ptr(),
            c"tracefs".as_ptr(),
            0,
            std::ptr::null(),
        )
    })
}

/// `struct perf_event_attr` up to `PERF_ATTR_SIZE_VER0`, which every kernel accepts.
#[repr(C)]
#[derive(Default)]
struct PerfEventAttr {
    kind: u32,
    size: u32,
    config: u64,
    sample_period: u64,
    sample_type: u64,
    read_format: u64,
    flags: u64,
    wakeup_events: u32,
    breakpoint_kind: u32,
    config1: u64,
}

const _: () = assert!(size_of::<PerfEventAttr>() == 64);

fn open_counter(event: u64, thread: libc::pid_t) -> io::Result<fs::File> {
    const PERF_TYPE_TRACEPOINT: u32 = 2;
    const PERF_FLAG_FD_CLOEXEC: libc::c_ulong = 8;
    const ANY_CPU: libc::c_int = -1;
    const NO_GROUP: libc::c_int = -1;
    let attributes = PerfEventAttr {
        kind: PERF_TYPE_TRACEPOINT,
        size: size_of::<PerfEventAttr>() as u32,
        config: event,
        ..PerfEventAttr::default()
    };
    // SAFETY: the attributes outlive the call and carry their own size; the rest are integers.
    let fd = unsafe {
        libc::syscall(
            libc::SYS_perf_event_open,
            &attributes,
            thread,
            ANY_CPU,
            NO_GROUP,
            PERF_FLAG_FD_CLOEXEC,
        )
    };
    check(fd as libc::c_int)?;
    // SAFETY: the kernel has just made this descriptor for us alone.
    Ok(unsafe { fs::File::from_raw_fd(fd as RawFd) })
}

/// The listening socket that the parent gave this process as its standard input.
pub(crate) fn inherited_socket() -> io::Result<OwnedFd> {
    io::stdin().as_fd().try_clone_to_owned()
}

/// Lets `bind` to port 0 choose the address alone; `connect` then chooses the port.
///
/// Otherwise a port is taken from all of the machine, although the connection needs one that is
/// free for its two addresses only.
pub(crate) fn bind_address_only(socket: BorrowedFd<'_>) -> io::Result<()> {
    set_option(socket, libc::IPPROTO_IP, libc::IP_BIND_ADDRESS_NO_PORT, 1)
}

/// Has sends of this socket cut into datagrams of so many bytes.
pub(crate) fn set_udp_segment(socket: BorrowedFd<'_>, bytes: u16) -> io::Result<()> {
    set_option(socket, libc::SOL_UDP, libc::UDP_SEGMENT, bytes.into())
}

/// Has this socket receive trains of datagrams whole.
pub(crate) fn set_udp_gro(socket: BorrowedFd<'_>) -> io::Result<()> {
    set_option(socket, libc::SOL_UDP, libc::UDP_GRO, 1)
}

fn set_option(
    socket: BorrowedFd<'_>,
    level: libc::c_int,
    name: libc::c_int,
    value: libc::c_int,
) -> io::Result<()> {
    // SAFETY: the option is a c_int that outlives the call, and its true size is passed.
    check(unsafe {
        libc::setsockopt(
            socket.as_raw_fd(),
            level,
            name,
            (&raw const value).cast(),
            size_of_val(&value) as libc::socklen_t,
        )
    })
}

/// A socket that the parent left open for this process, under the number that it told.
pub(crate) fn handed_down(number: RawFd) -> OwnedFd {
    // SAFETY: it was opened for this process by the one that started it, which says so once, and
    // this is called once for each: nobody else owns it.
    unsafe { OwnedFd::from_raw_fd(number) }
}

/// A descriptor as a type that can be made of raw descriptors only.
pub(crate) fn adopt<T: FromRawFd>(fd: OwnedFd) -> T {
    // SAFETY: the descriptor is open, and into_raw_fd has just given up our ownership of it.
    unsafe { T::from_raw_fd(fd.into_raw_fd()) }
}
