//! `instructions`: user-space instructions of a request, under callgrind.
//!
//! Two runs that differ in nothing but the number of requests: what they differ in instructions is
//! what the requests cost, and start and end cancel out. The one figure here that hardly depends on
//! the machine: what moves it by a few percent is how often the next request is there when an
//! answer is sent, so that one poll does for both.

use std::io;

use crate::cli::Plan;
use crate::client::Wait;
use crate::columns::Column;
use crate::load::Load;
use crate::record::Record;
use crate::server::{Listening, ServeOptions};
use crate::workloads::{Progress, interleave};

const CONNECTIONS: usize = 64;
const MESSAGE: usize = 64;
const REQUESTS: u64 = 100_000;

pub(super) fn run(plan: &Plan, progress: &mut Progress) -> Vec<Record> {
    let rounds = plan.rounds.unwrap_or(1);
    interleave(
        "instructions",
        &plan.columns,
        rounds,
        progress,
        |column, round| {
            let once = count(column, REQUESTS)?;
            let twice = count(column, 2 * REQUESTS)?;
            let instructions = (twice as f64 - once as f64) / REQUESTS as f64;
            let record = Record {
                workload: "instructions",
                column: column.name,
                conns: Some(CONNECTIONS),
                bytes: Some(MESSAGE),
                instructions_per_op: Some(instructions),
                round,
                ..Record::default()
            };
            Ok((vec![record], format!("{instructions:>8.1} instructions")))
        },
    )
}

/// Instructions of a server that starts, answers so many requests and exits.
fn count(column: &'static Column, requests: u64) -> io::Result<u64> {
    let counts = tempfile::NamedTempFile::new()?;
    let valgrind = [
        "valgrind".to_owned(),
        "--quiet".to_owned(),
        "--tool=callgrind".to_owned(),
        format!("--callgrind-out-file={}", counts.path().display()),
    ];
    let options = ServeOptions {
        no_spin: true,
        exit_after: Some(requests),
        ..ServeOptions::for_messages(MESSAGE, false)
    };
    let mut listening = Listening::start_under(&valgrind, column, &options)
        .map_err(|error| io::Error::new(error.kind(), format!("cannot start valgrind: {error}")))?;
    let mut load = Load::connect(&listening.address, CONNECTIONS, MESSAGE, Wait::Sleep)?;
    // Each connection has echoed once.
    load.run_exactly(requests - CONNECTIONS as u64)?;
    let status = listening.server.wait()?;
    if !status.success() {
        return Err(io::Error::other(format!("valgrind: {status}")));
    }
    let text = std::fs::read_to_string(counts.path())?;
    parse_total(&text).ok_or_else(|| io::Error::other("callgrind wrote no total"))
}

/// The sum over all threads.
fn parse_total(text: &str) -> Option<u64> {
    text.lines()
        .find_map(|line| line.strip_prefix("totals: "))?
        .trim()
        .parse()
        .ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_total_is_read_from_what_callgrind_writes() {
        let text = "version: 1\ncreator: callgrind-3.19.0\nevents: Ir\nsummary: 99\n\n\
                    fn=(1) main\n16 4\n\ntotals: 123456789\n";
        assert_eq!(parse_total(text), Some(123_456_789));
        assert_eq!(parse_total("events: Ir\n"), None);
    }
}
