//! Machines that refuse a ring: each in a child, since limits and filters cannot be undone.

use std::error::Error;
use std::fs::{self, File};
use std::io::{self, ErrorKind};
use std::os::fd::AsRawFd;

use super::super::facts::kernel_version;
use super::super::{Cause, Config, Pages, Ring, Unavailable};
use super::child::alone;
use super::{SMALL, nop, reap};

/// Plus the number of the process, a user that nobody is: its account of locked memory is empty.
const NOBODY_AT_ALL: libc::uid_t = 1 << 24;

fn refused(result: io::Result<Ring>) -> (ErrorKind, Unavailable) {
    let error = result.expect_err("there is a ring");
    let inner = error
        .get_ref()
        .and_then(|e| <dyn Error>::downcast_ref::<Unavailable>(e));
    (error.kind(), inner.expect("the reason").clone())
}

/// Lets io_uring's three system calls fail with `errno` in this thread.
fn forbid_io_uring(errno: i32) {
    let instruction = |code: u32, jt, jf, k| libc::sock_filter {
        code: code as u16,
        jt,
        jf,
        k,
    };
    let (first, last) = (
        libc::SYS_io_uring_setup as u32,
        libc::SYS_io_uring_register as u32,
    );
    let mut filter = [
        instruction(libc::BPF_LD | libc::BPF_W | libc::BPF_ABS, 0, 0, 0),
        instruction(libc::BPF_JMP | libc::BPF_JGE | libc::BPF_K, 0, 2, first),
        instruction(libc::BPF_JMP | libc::BPF_JGT | libc::BPF_K, 1, 0, last),
        instruction(
            libc::BPF_RET | libc::BPF_K,
            0,
            0,
            libc::SECCOMP_RET_ERRNO | errno as u32,
        ),
        instruction(libc::BPF_RET | libc::BPF_K, 0, 0, libc::SECCOMP_RET_ALLOW),
    ];
    let program = libc::sock_fprog {
        len: filter.len() as u16,
        filter: filter.as_mut_ptr(),
    };
    // SAFETY: the kernel copies the program, which lives until the call returns.
    unsafe {
        assert_eq!(libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), 0);
        let mode = libc::SECCOMP_MODE_FILTER;
        assert_eq!(
            libc::prctl(libc::PR_SET_SECCOMP, mode, &raw const program),
            0
        );
    }
}

fn set_limit(resource: libc::__rlimit_resource_t, value: u64) {
    let limit = libc::rlimit {
        rlim_cur: value,
        rlim_max: value,
    };
    // SAFETY: `limit` is a live rlimit.
    let result = unsafe { libc::setrlimit(resource, &limit) };
    assert_eq!(result, 0, "{}", io::Error::last_os_error());
}

/// Makes this thread a user without capabilities; false if it may not.
fn become_nobody() -> bool {
    let id = NOBODY_AT_ALL + std::process::id();
    // The plain call, as glibc's would change every thread.
    // SAFETY: it takes no pointer.
    unsafe { libc::syscall(libc::SYS_setresuid, id, id, id) == 0 }
}

/// Whether rings count as locked memory here, as nobody with room for none of them.
fn rings_are_charged() -> bool {
    Ring::new(&SMALL).is_err()
}

#[test]
fn a_filter_that_answers_eperm_is_named_with_its_fix() {
    alone(|| {
        forbid_io_uring(libc::EPERM);
        let (kind, error) = refused(Ring::new(&SMALL));
        assert_eq!(
            (kind, error.cause()),
            (ErrorKind::PermissionDenied, Cause::Seccomp)
        );
        assert_eq!(error.errno(), libc::EPERM);
        let expected = "\
io_uring is not available: io_uring_setup was refused with EPERM, and a seccomp filter is active
       (Seccomp: 2 in /proc/self/status). Container runtimes block io_uring by default.
       Fix: run with the profile in deploy/seccomp.json, or allow io_uring_setup, io_uring_enter and
       io_uring_register in yours. `./kernel-check.sh` shows the whole picture.";
        assert_eq!(error.to_string(), expected);
        assert_eq!(format!("{error:?}"), expected, "what a failing main prints");
    });
}

#[test]
fn a_filter_that_answers_enosys_is_not_taken_for_an_old_kernel() {
    alone(|| {
        forbid_io_uring(libc::ENOSYS);
        let (kind, error) = refused(Ring::new(&SMALL));
        assert_eq!(
            (kind, error.cause()),
            (ErrorKind::PermissionDenied, Cause::Seccomp)
        );
        assert_eq!(error.errno(), libc::ENOSYS);
        let text = error.to_string();
        assert!(
            text.contains("refused with ENOSYS, and a seccomp filter is active"),
            "{text}"
        );
        assert!(text.contains("deploy/seccomp.json"), "{text}");
    });
}

#[test]
fn no_locked_memory_left_is_named_with_the_limit_and_the_need() {
    alone(|| {
        set_limit(libc::RLIMIT_MEMLOCK, 0);
        if !become_nobody() || !rings_are_charged() {
            return println!("skipped: cannot become another user, or rings are not charged");
        }
        let (kind, error) = refused(Ring::new(&Config::default()));
        assert_eq!(
            (kind, error.cause()),
            (ErrorKind::OutOfMemory, Cause::Memlock)
        );
        let text = error.to_string();
        assert!(
            text.contains("may lock\n       0 KiB together (RLIMIT_MEMLOCK)"),
            "{text}"
        );
        assert!(
            text.contains("12 KiB that the smallest ring tried takes (32/256"),
            "{text}"
        );
        assert!(text.contains("Fix: raise it: `ulimit -l`"), "{text}");
    });
}

#[test]
fn a_ring_that_does_not_fit_becomes_a_smaller_one() {
    alone(|| {
        // 256/2048 entries take 52 KiB, half of that 28 KiB.
        set_limit(libc::RLIMIT_MEMLOCK, 32 * 1024);
        if !become_nobody() {
            return println!("skipped: cannot become another user");
        }
        let mut ring = Ring::new(&Config::default()).expect("a smaller ring");
        let room = (0..)
            .take_while(|&user_data| ring.push(&nop(user_data)).is_ok())
            .count();
        if room == 256 {
            return println!("skipped: rings are not charged");
        }
        assert_eq!(room, 128);
        assert_eq!(reap(&mut ring, room).len(), room, "it works like any other");
    });
}

#[test]
fn locked_memory_of_a_dropped_ring_is_waited_for() {
    alone(|| {
        set_limit(libc::RLIMIT_MEMLOCK, 56 * 1024);
        if !become_nobody() {
            return println!("skipped: cannot become another user");
        }
        for _ in 0..10 {
            let mut ring = Ring::new(&Config::default()).expect("room for one");
            let room = (0..)
                .take_while(|&user_data| ring.push(&nop(user_data)).is_ok())
                .count();
            assert_eq!(room, 256, "halved, though the last one is only dying");
        }
    });
}

#[test]
fn incremental_buffers_are_known_of_without_room_to_try_them() {
    alone(|| {
        // Two pages for the ring's queues, none for a buffer ring.
        set_limit(libc::RLIMIT_MEMLOCK, 8 * 1024);
        if !become_nobody() {
            return println!("skipped: cannot become another user");
        }
        let ring = Ring::new(&SMALL).expect("room for the smallest ring");
        let features = ring.features();
        assert_eq!(features.incremental, kernel_version() >= (6, 12));
    });
}

#[test]
fn a_buffer_ring_that_does_not_fit_is_an_error_and_the_ring_goes_on() {
    alone(|| {
        set_limit(libc::RLIMIT_MEMLOCK, 56 * 1024);
        if !become_nobody() {
            return println!("skipped: cannot become another user");
        }
        let mut ring = Ring::new(&Config::default()).unwrap();
        let pages = Pages::new(4096 * 16).unwrap();
        let address = pages.as_ptr().expose_provenance() as u64;
        // SAFETY: the pages outlive the ring's use.
        let result = unsafe { ring.register_buf_ring(address, 4096, 1, false) };
        if result.is_ok() {
            return println!("skipped: this kernel does not charge buffer rings");
        }
        assert_eq!(result.unwrap_err().raw_os_error(), Some(libc::ENOMEM));
        ring.push(&nop(1)).unwrap();
        assert_eq!(reap(&mut ring, 1).len(), 1);
    });
}

#[test]
fn no_descriptor_left_is_named_with_the_limit() {
    alone(|| {
        // The kernel gives out the lowest number that is free.
        let free = File::open("/dev/null").unwrap().as_raw_fd() as u64;
        set_limit(libc::RLIMIT_NOFILE, free);
        let result = Ring::new(&SMALL);
        let (kind, error) = refused(result);
        assert_eq!(
            (kind, error.cause()),
            (ErrorKind::Other, Cause::Descriptors)
        );
        let text = error.to_string();
        let expected = format!("EMFILE: this process has all {free}");
        assert!(text.contains(&expected), "{text}");
    });
}

#[test]
fn a_thousand_rings_leave_no_descriptor_behind() {
    alone(|| {
        let count = || fs::read_dir("/proc/self/fd").unwrap().count();
        drop(Ring::new(&SMALL).unwrap());
        let before = count();
        for user_data in 0..1_000 {
            let mut ring = Ring::new(&SMALL).unwrap();
            ring.push(&nop(user_data)).unwrap();
            assert_eq!(reap(&mut ring, 1).len(), 1);
        }
        assert_eq!(count(), before);
    });
}
