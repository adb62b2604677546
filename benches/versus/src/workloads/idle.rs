//! `idle`: what a connection costs that does nothing, and what many of them cost the others.

use std::io;
use std::time::Duration;

use crate::cli::Plan;
use crate::client::Wait;
use crate::columns::Column;
use crate::load::Load;
use crate::record::Record;
use crate::server::{Listening, ServeOptions, Server};
use crate::sys;
use crate::workloads::{Progress, ROUNDS, RealTime, interleave, measured};

const IDLE: usize = 10_000;
const ACTIVE: usize = 64;
const MESSAGE: usize = 64;

/// Descriptors of this process, and of a server, besides those of the connections.
const OTHER_DESCRIPTORS: u64 = 200;
const WARM_UP: Duration = Duration::from_millis(200);
/// The server has then closed what the load reset.
const SETTLE: Duration = Duration::from_millis(500);

pub(super) fn run(plan: &Plan, progress: &mut Progress) -> Vec<Record> {
    let needed = (IDLE + ACTIVE) as u64 + OTHER_DESCRIPTORS;
    match sys::raise_nofile(needed) {
        Ok(limit) if limit >= needed => {}
        outcome => {
            let error =
                format!("idle: {needed} descriptors are needed, RLIMIT_NOFILE: {outcome:?}");
            eprintln!("{error}");
            progress.failures.push(error);
            return Vec::new();
        }
    }
    let rounds = plan.rounds.unwrap_or(ROUNDS);
    interleave("idle", &plan.columns, rounds, progress, |column, round| {
        measure(column, plan, round)
    })
}

fn measure(column: &'static Column, plan: &Plan, round: u32) -> io::Result<(Vec<Record>, String)> {
    let options = ServeOptions::for_messages(MESSAGE, plan.real_time);
    let listening = Listening::start(column, &options)?;
    let connect = |count| Load::connect(&listening.address, count, MESSAGE, Wait::Sleep);
    // One that has echoed says that the server is up and its runtime is built.
    let first = connect(1)?;
    let before = resident_bytes(listening.server.pid())?;
    let idle = connect(IDLE)?;
    let per_connection =
        (resident_bytes(listening.server.pid())? as f64 - before as f64) / IDLE as f64;

    let mut active = connect(ACTIVE)?;
    let beside = rate(&listening.server, &mut active, plan)?;
    idle.close()?;
    std::thread::sleep(SETTLE);
    let without = rate(&listening.server, &mut active, plan)?;
    active.close()?;
    first.close()?;

    let line = format!(
        "{per_connection:>6.0} B each  64 active: {:>7.0}/s beside, {:>7.0}/s without, {:.2}",
        beside.0,
        without.0,
        beside.0 / without.0
    );
    let base = Record {
        workload: "idle",
        column: column.name,
        round,
        ..Record::default()
    };
    let active = |what, (requests_per_s, cpu_ns)| Record {
        what: Some(what),
        conns: Some(ACTIVE),
        bytes: Some(MESSAGE),
        requests_per_s: Some(requests_per_s),
        cpu_ns: Some(cpu_ns),
        ..base.clone()
    };
    let records = vec![
        Record {
            what: Some("idle"),
            conns: Some(IDLE),
            bytes: Some(MESSAGE),
            rss_bytes_per_conn: Some(per_connection),
            ..base.clone()
        },
        active("active-beside", beside),
        active("active-without", without),
    ];
    Ok((records, line))
}

/// Requests per second, and the server's CPU nanoseconds for one.
fn rate(server: &Server, load: &mut Load, plan: &Plan) -> io::Result<(f64, f64)> {
    let _real_time = RealTime::enter(plan.real_time)?;
    load.run(WARM_UP.min(plan.window))?;
    let measured = measured(server, || load.run(plan.window))?;
    let window = measured.load;
    Ok((
        window.requests_per_s(),
        measured.server_cpu_ns as f64 / window.requests as f64,
    ))
}

/// From `smaps_rollup`, which counts pages: `VmRSS` is a sum of per-CPU counters that are off by
/// up to some hundred pages.
fn resident_bytes(pid: u32) -> io::Result<u64> {
    let text = std::fs::read_to_string(format!("/proc/{pid}/smaps_rollup"))?;
    parse_resident(&text).ok_or_else(|| io::Error::other("smaps_rollup has no Rss"))
}

fn parse_resident(text: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix("Rss:"))?;
    let kibibytes: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kibibytes * 1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn resident_bytes_are_read_from_a_rollup() {
        let text = "5581f7a00000-7ffd0 ---p 00000000 00:00 0   [rollup]\n\
                    Rss:                1692 kB\nPss:                 205 kB\n";
        assert_eq!(parse_resident(text), Some(1692 * 1024));
        assert_eq!(parse_resident("Pss: 205 kB"), None);
    }

    #[test]
    fn this_process_is_resident() {
        let bytes = resident_bytes(std::process::id()).expect("the kernel has the file");
        assert!(bytes > 100_000, "{bytes}");
    }
}
