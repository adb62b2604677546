//! The examples that check a service under simulation: what is right passes, and what was broken
//! on purpose is found.

#[path = "../examples/counter/checked.rs"]
mod counter;
#[path = "../examples/common/json_lines.rs"]
mod json_lines;
#[path = "../examples/wal/log.rs"]
mod log;
#[path = "../examples/counter/node.rs"]
mod node;
#[path = "../examples/counter/replica.rs"]
mod replica;
#[path = "../examples/wal/server.rs"]
mod server;
#[path = "../examples/wal/checked.rs"]
mod wal;

use corering::sim::Failure;

/// Within so many seeds a planted bug has to be found.
const SEEDS_TO_FIND: u64 = 1000;
/// With so many seeds nothing is found where nothing is wrong. `--example wal` and `--example
/// counter` try more of them, and many times as fast.
const SEEDS_TO_PASS: u64 = 80;
/// Where the search for the rarest bug begins, which a debug build would search for half a minute.
/// `--example counter -- --bug forgotten-votes` begins at 0.
const FIRST_SEED: u64 = 600;

fn wal(seeds: u64, options: log::Options) -> Result<(), Box<Failure>> {
    let options = log::Options {
        retained: wal::RETAINED,
        ..options
    };
    let check = wal::check().seeds(seeds).shrink(false);
    check.run(|sim| wal::test(sim, options)).map(drop)
}

fn counter(seeds: u64, options: counter::Options) -> Result<(), Box<Failure>> {
    let check = counter::check().seeds(seeds).shrink(false);
    let first = if options.votes_are_durable {
        0
    } else {
        FIRST_SEED
    };
    check
        .first_seed(first)
        .run(|sim| counter::test(sim, options))
        .map(drop)
}

fn found(result: Result<(), Box<Failure>>, words: &[&str]) {
    let failure = result.expect_err("the bug was not found");
    let message = failure.message();
    assert!(failure.is_repeatable(), "{failure}");
    assert!(words.iter().any(|word| message.contains(word)), "{failure}");
    eprintln!("seed {}: {message}", failure.seed());
}

#[test]
fn a_log_loses_no_acknowledged_record() {
    if let Err(failure) = wal(SEEDS_TO_PASS, log::Options::default()) {
        panic!("{failure}");
    }
}

#[test]
fn a_log_that_does_not_sync_its_file_is_found() {
    let options = log::Options {
        syncs_file: false,
        ..log::Options::default()
    };
    found(wal(SEEDS_TO_FIND, options), &["lost", "given twice"]);
}

#[test]
fn a_log_that_does_not_sync_its_directory_is_found() {
    let options = log::Options {
        syncs_directory: false,
        ..log::Options::default()
    };
    found(wal(SEEDS_TO_FIND, options), &["lost", "given twice"]);
}

const COUNTER: counter::Options = counter::Options {
    copies: 2,
    votes_are_durable: true,
};

#[test]
fn a_counter_loses_no_acknowledged_increment() {
    if let Err(failure) = counter(SEEDS_TO_PASS, COUNTER) {
        panic!("{failure}");
    }
}

#[test]
fn a_counter_that_acknowledges_without_a_majority_is_found() {
    let options = counter::Options {
        copies: 1,
        ..COUNTER
    };
    found(
        counter(SEEDS_TO_FIND, options),
        &["lost", "two primaries", "twice"],
    );
}

#[test]
fn a_counter_that_forgets_its_votes_is_found() {
    let options = counter::Options {
        votes_are_durable: false,
        ..COUNTER
    };
    found(
        counter(SEEDS_TO_FIND, options),
        &["lost", "two primaries", "twice"],
    );
}
