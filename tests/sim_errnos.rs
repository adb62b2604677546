//! Every errno that an operation can fail with, forced on it: programs are told of it, and nothing
//! is lost, torn or left over.

#[path = "../examples/simulate/workload/mod.rs"]
mod workload;

use corering::sim::{Check, Fault, Faults};

/// Which of the operations of its kind fails in a run.
const NTH: [u64; 4] = [0, 1, 2, 5];
const SEEDS: u64 = 24;

/// The workload in which an operation is common.
fn workload_of(operation: &str) -> &'static str {
    match operation {
        "ACCEPT" | "CONNECT" | "RECV" | "SEND" | "SENDMSG" | "SEND_ZC" => "streams",
        "POLL_ADD" => "tasks",
        "RECVMSG" => "datagrams",
        _ => "files",
    }
}

/// What operations on Unix sockets fail with: fewer things than those on TCP.
const OF_UNIX: [(&str, &[i32]); 6] = [
    (
        "ACCEPT",
        &[libc::EMFILE, libc::ENFILE, libc::ENOMEM, libc::EPERM],
    ),
    ("CONNECT", &[libc::ECONNREFUSED, libc::EACCES, libc::ENOMEM]),
    ("RECV", &[libc::ENOMEM]),
    ("RECVMSG", &[libc::ENOMEM]),
    ("SEND", &[libc::ENOBUFS, libc::ENOMEM]),
    ("SENDMSG", &[libc::ENOBUFS, libc::ENOMEM]),
];

/// How often `errno` was forced on the `nth` operation `op`, in a few runs.
fn force(workload: &str, name: &str, op: u8, nth: u64, errno: i32) -> u64 {
    let report = Check::new()
        .seeds(SEEDS)
        .faults(Faults::none())
        .force(op, nth, errno)
        .run(|sim| workload::run(sim, Some(workload.to_owned())));
    match report {
        Ok(report) => report.coverage().count_of(Fault::Error),
        Err(failure) => panic!("{name} number {nth} fails with errno {errno}: {failure}"),
    }
}

/// Not reached by any program: messages go from ring to ring.
const UNREACHED: [&str; 1] = ["MSG_RING"];

#[test]
fn every_errno_of_every_operation_is_survived() {
    let mut table = String::new();
    for (name, op, errnos) in Fault::errors() {
        if UNREACHED.contains(&name) {
            continue;
        }
        for &errno in errnos {
            let counts = NTH.map(|nth| force(workload_of(name), name, op, nth, errno));
            table += &format!("{name:<10} errno {errno:>3}: forced {counts:?} times\n");
            // Not every run has three of each, but one is nearly everywhere.
            assert!(counts[0] >= SEEDS / 2, "{table}{name} is rare");
            assert!(counts[1] > 0 && counts[2] > 0, "{table}{name} is rare");
        }
    }
    eprint!("{table}");
}

#[test]
fn every_errno_of_a_unix_socket_is_survived() {
    for (name, errnos) in OF_UNIX {
        let (_, op, _) = Fault::errors()
            .find(|(known, ..)| *known == name)
            .expect("an operation");
        for &errno in errnos {
            let counts = NTH.map(|nth| force("unix", name, op, nth, errno));
            eprintln!("{name:<10} errno {errno:>3}: forced {counts:?} times");
            // Few connect more than a handful of times.
            assert!(counts[0] >= SEEDS / 3, "{name} is rare: {counts:?}");
            assert!(counts[1] > 0, "{name} is rare: {counts:?}");
        }
    }
}
