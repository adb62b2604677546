//! The workloads, as the parent process runs them.
//!
//! Columns take turns inside a round, and each round begins with another one, so that a machine
//! that slows down or speeds up does so for all. Every server is started anew for every
//! measurement: what a process is lucky or unlucky with (where its pages lie, above all) then
//! differs from round to round, and does not pass for a property of its column.

mod accept;
mod copy;
mod echo;
mod exec;
mod fairness;
mod idle;
mod instructions;
mod proxy;
mod udp;

use std::io;

use crate::cli::{Plan, Workload};
use crate::columns::Column;
use crate::record::Record;
use crate::server::Server;
use crate::sys;

/// Rounds of a measurement that is not said to need another number.
const ROUNDS: u32 = 5;

/// Measures one workload.
pub(crate) fn run(workload: Workload, plan: &Plan, progress: &mut Progress) -> Vec<Record> {
    match workload {
        Workload::Echo => echo::run(plan, progress),
        Workload::Unix => echo::run_unix(plan, progress),
        Workload::Idle => idle::run(plan, progress),
        Workload::Accept => accept::run(plan, progress),
        Workload::Udp => udp::run(plan, progress),
        Workload::Copy => copy::run(plan, progress),
        Workload::Proxy => proxy::run(plan, progress),
        Workload::Fairness => fairness::run(plan, progress),
        Workload::Exec => exec::run(plan, progress),
        Workload::Cross => exec::run_cross(plan, progress),
        Workload::Instructions => instructions::run(plan, progress),
        Workload::All => unreachable!("it was replaced by what it stands for"),
    }
}

/// One line on stderr for everything that was measured, and what could not be.
#[derive(Default)]
pub(crate) struct Progress {
    pub(crate) failures: Vec<String>,
}

/// Measures a cell of every column in every round.
///
/// A column that fails is left out of the later rounds of this cell.
fn interleave(
    cell: &str,
    columns: &[&'static Column],
    rounds: u32,
    progress: &mut Progress,
    mut measure: impl FnMut(&'static Column, u32) -> io::Result<(Vec<Record>, String)>,
) -> Vec<Record> {
    let mut columns = columns.to_vec();
    let mut all = Vec::new();
    for round in 0..rounds {
        let mut failed = Vec::new();
        for index in 0..columns.len() {
            let column = columns[(index + round as usize) % columns.len()];
            let name = column.name;
            let place = format!("{cell:<28} round {:>2}/{rounds}  {name:<14}", round + 1);
            match measure(column, round) {
                Ok((records, line)) => {
                    eprintln!("{place} {line}");
                    all.extend(records);
                }
                Err(error) => {
                    eprintln!("{place} FAILED: {error}");
                    progress.failures.push(format!("{cell}, {name}: {error}"));
                    failed.push(name);
                }
            }
        }
        columns.retain(|column| !failed.contains(&column.name));
    }
    all
}

/// While it lives, this thread is under `SCHED_FIFO`.
struct RealTime;

impl RealTime {
    fn enter(wanted: bool) -> io::Result<Option<Self>> {
        if !wanted {
            return Ok(None);
        }
        sys::real_time()?;
        Ok(Some(Self))
    }
}

impl Drop for RealTime {
    fn drop(&mut self) {
        sys::ordinary_time().expect("a thread may always give its priority up");
    }
}

/// What the load says of one stretch, and what the server used in it.
struct Measured<T> {
    load: T,
    server_cpu_ns: u64,
}

/// Runs the load and takes the server's CPU time around it.
fn measured<T>(server: &Server, load: impl FnOnce() -> io::Result<T>) -> io::Result<Measured<T>> {
    let before = server.cpu_ns()?;
    let load = load()?;
    Ok(Measured {
        load,
        server_cpu_ns: server.cpu_ns()? - before,
    })
}

/// System calls of the server for each of what the load did; `None` where they cannot be counted.
fn syscalls_per(
    server: &Server,
    load: impl FnOnce() -> io::Result<u64>,
) -> io::Result<Option<f64>> {
    let Some(mut counter) = sys::SyscallCounter::attach(server.pid()) else {
        return Ok(None);
    };
    let before = counter.count()?;
    let done = load()?;
    let calls = counter.count()? - before;
    Ok((done > 0).then(|| calls as f64 / done as f64))
}
