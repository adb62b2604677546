//! Every errno that an operation can fail with, forced on it one by one: its caller is told of it,
//! or it is recovered from as the documentation says, and nothing is lost, torn or left over.

#[path = "sim_errnos/probes.rs"]
mod probes;
#[path = "../examples/simulate/workload/mod.rs"]
mod workload;

use std::cell::Cell;
use std::rc::Rc;

use corering::sim::{Check, Errnos, Fault, Faults, On};

/// Which of the operations of its kind fails in a run.
const NTH: [u64; 3] = [0, 1, 4];
/// Random programs for each of them.
const SEEDS: u64 = 8;

/// The workload in which an operation is common.
fn workload_of(operation: &str, on: On) -> &'static str {
    match on {
        _ if operation == "ASYNC_CANCEL" => "streams",
        _ if operation == "SPLICE" => "proxies",
        On::Tcp => "streams",
        On::Udp => "datagrams",
        On::Unix | On::UnixMessages => "unix",
        On::Event | On::Ring => "tasks",
        On::Pipe => "proxies",
        _ => "files",
    }
}

/// What is tried again, or done otherwise, without a word to anybody.
fn is_recovered_from(operation: &str, on: On, errno: &str) -> bool {
    match (operation, on) {
        ("ASYNC_CANCEL", _) | ("READ", On::Event) => true,
        // Nobody has asked for that.
        _ if errno == "ECANCELED" => true,
        // Of one connection, or for want of a descriptor: `accept` goes on.
        ("ACCEPT", _) => matches!(
            errno,
            "ECONNABORTED"
                | "ECONNRESET"
                | "EPROTO"
                | "ENETDOWN"
                | "ENOPROTOOPT"
                | "EHOSTDOWN"
                | "ENONET"
                | "EHOSTUNREACH"
                | "EOPNOTSUPP"
                | "ENETUNREACH"
                | "EPERM"
                | "EMFILE"
                | "ENFILE"
                | "ENOBUFS"
                | "ENOMEM"
        ),
        // The plain call says what is wrong, if anything is.
        ("FTRUNCATE", _) => errno == "EINVAL",
        // What cannot be spliced is copied.
        ("SPLICE", _) => errno == "EINVAL",
        // The other queue was full for a while.
        ("SEND" | "SENDMSG", On::UnixMessages) => errno == "EAGAIN",
        _ => false,
    }
}

/// How often something was forced.
fn forced(coverage: &corering::sim::Coverage) -> u64 {
    // A cancel that is refused, or an operation that nobody has run, is told to no program.
    let kinds = [Fault::Error, Fault::CancelMissed, Fault::GivenUp];
    kinds.map(|kind| coverage.count_of(kind)).iter().sum()
}

#[test]
fn every_errno_is_told_to_the_caller_or_recovered_from() {
    for row in Errnos::all() {
        let (operation, on) = (row.operation, row.on);
        for (name, errno) in row.errnos {
            let told = Rc::new(Cell::new(None));
            let seen = Rc::clone(&told);
            let report = Check::new()
                .seeds(1)
                .faults(Faults::none())
                .force(row.opcode, on, 0, errno)
                .run(|sim| {
                    let seen = Rc::clone(&seen);
                    async move {
                        let result = probes::probe(&sim, operation, on).await;
                        seen.set(Some(result.map_err(|error| error.raw_os_error())));
                    }
                });
            let report = report.unwrap_or_else(|e| panic!("{operation} {on:?} {name}: {e}"));
            assert_eq!(forced(report.coverage()), 1, "{operation} {on:?} {name}");
            let expected = match is_recovered_from(operation, on, name) {
                true => Ok(()),
                false => Err(Some(errno)),
            };
            assert_eq!(told.get(), Some(expected), "{operation} {on:?} {name}");
        }
    }
}

/// How often `errno` was forced on the `nth` operation `op`, in a few random programs.
fn force(row: &Errnos, name: &str, nth: u64, errno: i32) -> u64 {
    let workload = workload_of(row.operation, row.on);
    let report = Check::new()
        .seeds(SEEDS)
        .faults(Faults::none())
        .force(row.opcode, row.on, nth, errno)
        .run(|sim| workload::run(sim, Some(workload.to_owned())));
    match report {
        Ok(report) => forced(report.coverage()),
        Err(failure) => panic!(
            "{} on {:?}, number {nth}, fails with {name}: {failure}",
            row.operation, row.on
        ),
    }
}

#[test]
fn every_errno_of_every_operation_is_survived() {
    let (mut cells, mut none) = (0, Vec::new());
    for row in Errnos::all() {
        println!("{} on {:?}", row.operation, row.on);
        for &(name, errno) in &row.errnos {
            let counts = NTH.map(|nth| force(&row, name, nth, errno));
            let end = match is_recovered_from(row.operation, row.on, name) {
                true => "recovered from",
                false => "told",
            };
            println!("  {name:<16} forced {counts:>2?} times, {end}");
            cells += 1;
            if counts.iter().sum::<u64>() == 0 {
                none.push(format!("{} {:?} {name}", row.operation, row.on));
            }
        }
        println!("  left out: {}", row.left_out);
    }
    println!(
        "{cells} errnos, each forced in {} programs",
        SEEDS * NTH.len() as u64
    );
    assert!(none.is_empty(), "never forced: {none:?}");
}

#[test]
fn every_operation_has_a_row() {
    let coverage = corering::sim::Coverage::default();
    let known: Vec<_> = Errnos::all().map(|row| row.operation).collect();
    for operation in coverage.unused() {
        assert!(known.contains(&operation), "{operation} has no errnos");
    }
}
