//! The random programs of the `simulate` example, a few seeds of each.

#[path = "../examples/simulate/workload/mod.rs"]
mod workload;

use corering::sim::{Check, Fault, Faults};

const SEEDS: u64 = 150;

fn check(name: &str, faults: Faults) {
    let begin = std::time::Instant::now();
    let report = Check::new()
        .seeds(SEEDS)
        .faults(faults)
        .run(|sim| workload::run(sim, Some(name.to_owned())));
    let report = report.unwrap_or_else(|failure| panic!("{failure}"));
    eprintln!("{name}: {report}, {:?}", begin.elapsed());
    assert_eq!(report.runs(), SEEDS);
    assert!(report.coverage().operations() > SEEDS);
}

fn all() -> Faults {
    Faults::default()
        .rate(Fault::Error, 0.005)
        .rate(Fault::DiskError, 0.005)
        .rate(Fault::Reset, 0.002)
}

#[test]
fn no_byte_and_no_connection_is_lost() {
    check("streams", all());
}

#[test]
fn without_errors_every_conversation_is_exact() {
    check("streams", Faults::default());
}

#[test]
fn a_runtime_ends_with_everything_in_flight() {
    check("teardown", all());
}

#[test]
fn hosts_are_killed_and_parted() {
    check("kills", all());
}

#[test]
fn files_are_read_as_they_were_written() {
    check("files", all());
}

#[test]
fn what_was_synced_survives_a_power_failure() {
    check("power", all());
}

#[test]
fn timers_and_tasks_are_in_time() {
    check("tasks", all());
}

#[test]
fn channels_and_locks_lose_nothing_and_let_nobody_in_twice() {
    check("sync", all());
}

#[test]
fn unix_sockets_lose_nothing_between_programs_of_a_host() {
    check("unix", all());
}

#[test]
fn without_errors_every_unix_conversation_is_exact() {
    check("unix", Faults::default());
}

#[test]
fn datagrams_come_whole_and_none_is_lost_on_its_own_host() {
    check("datagrams", all());
}

#[test]
fn what_a_proxy_splices_is_neither_lost_nor_changed() {
    check("proxies", all());
}

#[test]
fn without_errors_every_byte_comes_through_a_proxy() {
    check("proxies", Faults::default());
}

#[test]
fn every_workload_has_a_test() {
    let names = workload::ALL.map(|workload| (workload.name, workload.about));
    let tested = [
        "streams",
        "teardown",
        "kills",
        "files",
        "power",
        "tasks",
        "sync",
        "unix",
        "datagrams",
        "proxies",
    ];
    assert_eq!(names.map(|(name, _)| name), tested);
}
