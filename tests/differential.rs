//! The simulated kernel is honest: the same scripts run on the real kernel and on the simulated
//! one, and a program cannot tell them apart.
//!
//! A script is an async function. It writes down what it sees, each thing with a label, and leaves
//! out what no kernel promises. Every line is compared. The simulated kernel runs each script with
//! several seeds, without faults and with those that a program is never told of.
//!
//! Differences that are known and kept are listed in `differential/known.rs`, each with its reason.
//! One that is listed and no longer differs is a failure, too.

#[path = "differential/addresses.rs"]
mod addresses;
#[path = "differential/cancels.rs"]
mod cancels;
mod common;
#[path = "differential/datagrams.rs"]
mod datagrams;
#[path = "differential/ends.rs"]
mod ends;
#[path = "differential/files.rs"]
mod files;
#[path = "differential/known.rs"]
mod known;
#[path = "differential/limits.rs"]
mod limits;
#[path = "differential/names.rs"]
mod names;
#[path = "differential/pipes.rs"]
mod pipes;
#[path = "differential/random.rs"]
mod random;
#[path = "differential/stage.rs"]
mod stage;
#[path = "differential/streams.rs"]
mod streams;
#[path = "differential/unix.rs"]
mod unix;
#[path = "differential/unix_messages.rs"]
mod unix_messages;

use stage::{compare, compare_many};

#[test]
fn addresses_are_bound_and_connected_alike() {
    compare(&addresses::scripts());
}

#[test]
fn streams_carry_alike() {
    compare(&streams::scripts());
}

#[test]
fn connections_end_alike() {
    compare(&ends::scripts());
}

#[test]
fn what_waits_is_cancelled_alike() {
    compare(&cancels::scripts());
}

#[test]
fn datagrams_come_alike() {
    compare(&datagrams::scripts());
}

#[test]
fn programs_with_datagrams_run_alike() {
    compare_many(&datagrams::programs());
}

#[test]
fn files_are_read_and_written_alike() {
    compare(&files::scripts());
}

#[test]
fn names_lead_to_files_alike() {
    compare(&names::scripts());
}

#[test]
fn a_process_without_descriptors_is_told_alike() {
    common::alone(|| compare(&limits::scripts()));
}

#[test]
fn programs_at_random_run_alike() {
    compare_many(&random::scripts());
}

#[test]
fn pipes_and_splices_are_alike() {
    compare(&pipes::scripts());
}

#[test]
fn unix_sockets_are_alike() {
    compare(&unix::scripts());
}

#[test]
fn unix_sockets_at_random_are_alike() {
    compare_many(&unix::programs());
}

#[test]
fn unix_messages_are_alike() {
    compare(&unix_messages::scripts());
}

#[test]
fn unix_messages_at_random_are_alike() {
    compare_many(&unix_messages::programs());
}

#[test]
fn every_known_difference_is_of_a_script() {
    let all = [
        addresses::scripts(),
        streams::scripts(),
        ends::scripts(),
        cancels::scripts(),
        datagrams::scripts(),
        files::scripts(),
        names::scripts(),
        limits::scripts(),
        pipes::scripts(),
        unix::scripts(),
        unix_messages::scripts(),
    ];
    for difference in known::DIFFERENCES {
        let known = all
            .iter()
            .flatten()
            .any(|script| script.name == difference.script);
        assert!(known, "there is no script {:?}", difference.script);
    }
}
