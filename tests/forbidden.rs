//! Where io_uring is forbidden, building a runtime says who forbids it and what to do.
#![allow(unsafe_code)]

mod common;

use std::error::Error;
use std::io::{self, ErrorKind};
use std::path::Path;

use corering::Runtime;
use corering::runtime::{Cause, Unavailable};

use common::{alone, descriptors};

/// Lets the calls numbered `first` to `last` fail with `errno` in this thread.
fn forbid(first: libc::c_long, last: libc::c_long, errno: i32) {
    let instruction = |code: u32, jt, jf, k| libc::sock_filter {
        code: code as u16,
        jt,
        jf,
        k,
    };
    let refuse = libc::SECCOMP_RET_ERRNO | errno as u32;
    let mut filter = [
        // The number of the call is the first field.
        instruction(libc::BPF_LD | libc::BPF_W | libc::BPF_ABS, 0, 0, 0),
        instruction(
            libc::BPF_JMP | libc::BPF_JGE | libc::BPF_K,
            0,
            2,
            first as u32,
        ),
        instruction(
            libc::BPF_JMP | libc::BPF_JGT | libc::BPF_K,
            1,
            0,
            last as u32,
        ),
        instruction(libc::BPF_RET | libc::BPF_K, 0, 0, refuse),
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
        let result = libc::prctl(libc::PR_SET_SECCOMP, mode, &raw const program);
        assert_eq!(result, 0, "{}", io::Error::last_os_error());
    }
}

fn forbid_io_uring(errno: i32) {
    forbid(libc::SYS_io_uring_setup, libc::SYS_io_uring_register, errno);
}

/// Why there is no runtime.
fn refusal() -> (ErrorKind, Unavailable) {
    let before = descriptors();
    let error = Runtime::new().expect_err("no runtime");
    assert_eq!(
        descriptors(),
        before,
        "a failed attempt leaves nothing open"
    );
    let inner = error
        .get_ref()
        .and_then(|inner| <dyn Error>::downcast_ref::<Unavailable>(inner));
    let inner = inner.unwrap_or_else(|| panic!("no reason is given: {error}"));
    assert!(
        format!("{error:?}").contains(&inner.to_string()),
        "a main that returns the error prints the text: {error:?}"
    );
    (error.kind(), inner.clone())
}

fn names_the_filter_and_the_fix(call: &str, errno: i32, errno_name: &str) {
    let (kind, refused) = refusal();
    assert_eq!(kind, ErrorKind::PermissionDenied);
    assert_eq!(refused.cause(), Cause::Seccomp);
    assert_eq!(refused.errno(), errno);
    let text = refused.to_string();
    let cause = format!("{call} was refused with {errno_name}, and a seccomp filter is active");
    assert!(text.contains(&cause), "{text}");
    assert!(text.contains("\n       Fix: "), "{text}");
    let mut named = 0;
    for file in ["deploy/seccomp.json", "kernel-check.sh"] {
        assert!(text.contains(file), "{text}");
        let there = Path::new(env!("CARGO_MANIFEST_DIR")).join(file).exists();
        named += u32::from(there);
        assert!(there, "the text sends its reader to {file}");
    }
    assert_eq!(named, 2);
}

#[test]
fn a_filter_that_answers_eperm_is_named_with_its_fix() {
    alone(|| {
        forbid_io_uring(libc::EPERM);
        names_the_filter_and_the_fix("io_uring_setup", libc::EPERM, "EPERM");
    });
}

#[test]
fn a_filter_that_answers_enosys_is_named_with_its_fix() {
    alone(|| {
        forbid_io_uring(libc::ENOSYS);
        names_the_filter_and_the_fix("io_uring_setup", libc::ENOSYS, "ENOSYS");
    });
}

#[test]
fn a_filter_that_forbids_a_part_is_named_with_its_fix() {
    alone(|| {
        let register = libc::SYS_io_uring_register;
        forbid(register, register, libc::EPERM);
        names_the_filter_and_the_fix("io_uring_register", libc::EPERM, "EPERM");
    });
}

#[test]
fn a_filter_that_forbids_to_enter_is_named_when_the_runtime_is_built() {
    alone(|| {
        let enter = libc::SYS_io_uring_enter;
        forbid(enter, enter, libc::EPERM);
        names_the_filter_and_the_fix("io_uring_enter", libc::EPERM, "EPERM");
    });
}

#[test]
fn the_second_attempt_says_the_same() {
    alone(|| {
        forbid_io_uring(libc::EPERM);
        assert_eq!(refusal(), refusal());
    });
}
