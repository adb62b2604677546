//! `exec`: the executors, without I/O. Each figure comes from a process of its own.

use std::io;
use std::process::{Child, Command, Output, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use crate::cli::Plan;
use crate::columns::Column;
use crate::columns::Role;
use crate::cross;
use crate::exec::ROWS;
use crate::record::Record;
use crate::workloads::{Progress, ROUNDS, interleave};

/// A row takes a second or two.
const PATIENCE: Duration = Duration::from_secs(30);

pub(super) fn run(plan: &Plan, progress: &mut Progress) -> Vec<Record> {
    run_rows("exec", &ROWS, plan, progress)
}

/// `cross`: round trips between two cores.
pub(super) fn run_cross(plan: &Plan, progress: &mut Progress) -> Vec<Record> {
    run_rows("cross", &cross::ROWS, plan, progress)
}

fn run_rows(
    workload: &'static str,
    rows: &[&'static str],
    plan: &Plan,
    progress: &mut Progress,
) -> Vec<Record> {
    let rounds = plan.rounds.unwrap_or(ROUNDS);
    let mut all = Vec::new();
    for &row in rows {
        let able = |column: &&&Column| column.exec.is_some() && has_row(column, row);
        let columns: Vec<_> = plan.columns.iter().filter(able).copied().collect();
        let cell = format!("{workload} {row}");
        all.extend(interleave(
            &cell,
            &columns,
            rounds,
            progress,
            |column, round| {
                let ns_per_op = measure(column, row, plan.real_time)?;
                let record = Record {
                    workload,
                    column: column.name,
                    what: Some(row),
                    ns_per_op: Some(ns_per_op),
                    round,
                    ..Record::default()
                };
                Ok((vec![record], format!("{ns_per_op:>8.1} ns")))
            },
        ));
    }
    all
}

/// Peers have no work that is sent to another core; and one of them wakes other threads only if it
/// is built for that, which would change its other figures.
fn has_row(column: &Column, row: &str) -> bool {
    match row {
        "cross_ping" | "cross_busy" | "cross_parked" => {
            column.name != "monoio" || cfg!(feature = "monoio-sync")
        }
        _ => !cross::ROWS.contains(&row) || column.role != Role::Peer,
    }
}

fn measure(column: &Column, row: &str, real_time: bool) -> io::Result<f64> {
    let (program, name) = column.program()?;
    let mut command = Command::new(program);
    command.args(["exec-row", name, row]);
    if real_time {
        command.arg("--real-time");
    }
    let child = command.stdout(Stdio::piped()).spawn()?;
    let output = output_within(PATIENCE, child)?;
    let text = String::from_utf8_lossy(&output.stdout);
    match text.trim().parse() {
        Ok(nanoseconds) if output.status.success() => Ok(nanoseconds),
        _ => Err(io::Error::other(format!(
            "{}, after {text:?}",
            output.status
        ))),
    }
}

/// What the child has said by its end, which is made to come.
fn output_within(patience: Duration, mut child: Child) -> io::Result<Output> {
    let end = Instant::now() + patience;
    while child.try_wait()?.is_none() {
        if Instant::now() > end {
            child.kill()?;
            child.wait()?;
            return Err(io::Error::new(
                io::ErrorKind::TimedOut,
                format!("no figure within {patience:?}"),
            ));
        }
        thread::sleep(Duration::from_millis(2));
    }
    child.wait_with_output()
}
