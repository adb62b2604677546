//! From errno and facts to a cause and a fix.

use super::super::diagnose::{Failure, explain, locked_bytes};
use super::super::facts::Facts;
use super::super::{Cause, Config, Workers};

const RING: Config = Config {
    entries: 256,
    cq_entries: 2048,
    workers: Workers::DEFAULT,
};

/// A kernel that has everything and forbids nothing.
fn facts() -> Facts {
    Facts {
        release: "6.12.0-1-amd64".into(),
        kernel: (6, 12),
        io_uring_disabled: 0,
        io_uring_group: -1,
        in_io_uring_group: false,
        seccomp: 0,
        administrator: false,
        may_lock: false,
        memlock: Some(8 << 20),
        nofile: 1024,
        lsm: "lockdown,apparmor".into(),
    }
}

/// The cause, and the text.
fn diagnosis(errno: i32, facts: &Facts) -> (Cause, String) {
    let failure = Failure {
        call: "io_uring_setup",
        errno,
        smallest: &RING,
    };
    let error = explain(&failure, facts);
    assert_eq!(error.errno(), errno);
    (error.cause(), error.to_string())
}

fn but(change: impl FnOnce(&mut Facts)) -> Facts {
    let mut facts = facts();
    change(&mut facts);
    facts
}

fn filtered() -> Facts {
    but(|f| f.seccomp = 2)
}

/// Where the sysctl leaves io_uring to some.
fn for_some(change: impl FnOnce(&mut Facts)) -> Facts {
    let mut facts = but(|f| f.io_uring_disabled = 1);
    change(&mut facts);
    facts
}

fn refusals() -> Vec<(i32, Facts, Cause)> {
    let old_and_filtered = Facts {
        kernel: (4, 19),
        ..filtered()
    };
    let forbidden_and_filtered = Facts {
        io_uring_disabled: 2,
        ..filtered()
    };
    let filtered_member = for_some(|f| (f.in_io_uring_group, f.seccomp) = (true, 2));
    let filtered_root = for_some(|f| (f.administrator, f.seccomp) = (true, 2));
    vec![
        (libc::EPERM, facts(), Cause::SecurityModule),
        (libc::EACCES, facts(), Cause::SecurityModule),
        (libc::EPERM, filtered(), Cause::Seccomp),
        (libc::ENOSYS, filtered(), Cause::Seccomp),
        (libc::ENOSYS, facts(), Cause::NotBuilt),
        (libc::ENOSYS, old_and_filtered, Cause::OldKernel),
        (libc::EPERM, forbidden_and_filtered, Cause::Sysctl),
        (libc::EPERM, for_some(|_| {}), Cause::Sysctl),
        (libc::EPERM, for_some(|f| f.seccomp = 2), Cause::Sysctl),
        (libc::EPERM, filtered_member, Cause::Seccomp),
        (libc::EPERM, filtered_root, Cause::Seccomp),
        // Root of a user namespace: the capability is not the one that counts.
        (
            libc::EPERM,
            for_some(|f| f.administrator = true),
            Cause::Sysctl,
        ),
        (libc::EINVAL, but(|f| f.kernel = (5, 10)), Cause::OldKernel),
        (libc::EINVAL, facts(), Cause::Other),
        (libc::ENOMEM, facts(), Cause::Memlock),
        (libc::ENOMEM, but(|f| f.may_lock = true), Cause::Other),
        (libc::ENOMEM, but(|f| f.memlock = None), Cause::Other),
        (libc::EMFILE, facts(), Cause::Descriptors),
        (libc::ENFILE, facts(), Cause::Descriptors),
        (libc::EIO, facts(), Cause::Other),
    ]
}

#[test]
fn each_refusal_has_its_own_cause() {
    for (errno, facts, expected) in refusals() {
        let (cause, text) = diagnosis(errno, &facts);
        assert_eq!(cause, expected, "errno {errno}, {facts:?}");
        let lines = text.lines().count();
        assert!((2..=4).contains(&lines), "{lines} lines:\n{text}");
        assert!(
            text.lines().all(|line| line.chars().count() <= 100),
            "{text}"
        );
        assert!(
            cause == Cause::Other || text.contains("\n       Fix: "),
            "{text}"
        );
        assert!(
            !text.contains(" \n") && !text.contains("  Fix:\n"),
            "{text}"
        );
    }
}

#[test]
fn an_old_kernel_is_named_with_its_version_and_the_one_needed() {
    let old = Facts {
        release: "5.10.0-35-amd64".into(),
        kernel: (5, 10),
        ..facts()
    };
    let (_, text) = diagnosis(libc::EINVAL, &old);
    assert!(
        text.contains("Linux 5.10.0-35-amd64, and corering needs 6.1 or later"),
        "{text}"
    );
}

#[test]
fn the_sysctl_is_named_with_its_value_and_the_command() {
    let off = Facts {
        io_uring_disabled: 2,
        ..facts()
    };
    let (_, text) = diagnosis(libc::EPERM, &off);
    assert!(text.contains("kernel.io_uring_disabled is 2"), "{text}");
    assert!(
        text.contains("`sysctl -w kernel.io_uring_disabled=0`"),
        "{text}"
    );
    let grouped = Facts {
        io_uring_disabled: 1,
        io_uring_group: 987,
        ..facts()
    };
    let (_, text) = diagnosis(libc::EPERM, &grouped);
    assert!(text.contains("kernel.io_uring_group is 987"), "{text}");
}

#[test]
fn a_security_module_is_named() {
    let (_, text) = diagnosis(libc::EACCES, &facts());
    assert!(
        text.contains("refused with EACCES") && text.contains("lockdown,apparmor"),
        "{text}"
    );
}

#[test]
fn locked_memory_is_reckoned_as_the_kernel_charges_it() {
    // Both measured, by the number of rings that fit in 8 MiB.
    assert_eq!(locked_bytes(&RING), 52 * 1024);
    assert_eq!(
        locked_bytes(&Config {
            entries: 1024,
            cq_entries: 4096,
            workers: Workers::DEFAULT,
        }),
        136 * 1024
    );
}

#[test]
fn the_status_of_a_process_is_understood() {
    let status = "Name:\tx\nGid:\t1\t20\t3\t4\nGroups:\t5 987 \n\
                  CapEff:\t0000000000204000\nSeccomp:\t2\nSeccomp_filters:\t1\n";
    let facts = Facts::of_status(status, 987);
    assert!(facts.may_lock && facts.administrator && facts.in_io_uring_group);
    assert_eq!(facts.seccomp, 2);
    assert!(
        Facts::of_status(status, 20).in_io_uring_group,
        "the effective group counts"
    );
    assert!(
        !Facts::of_status(status, 1).in_io_uring_group,
        "the real one does not"
    );
    let plain = status.replace("204000", "000000");
    let facts = Facts::of_status(&plain, -1);
    assert!(!facts.may_lock && !facts.administrator && !facts.in_io_uring_group);
}

#[test]
fn this_process_is_described_as_it_is() {
    let facts = Facts::read();
    let release = std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap();
    assert_eq!(facts.release, release.trim());
    assert!(
        facts
            .release
            .starts_with(&format!("{}.{}", facts.kernel.0, facts.kernel.1))
    );
    assert!(facts.nofile > 0);
    assert_eq!(facts.io_uring_disabled, 0, "the other tests have rings");
}
