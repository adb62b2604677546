//! `exec`: the executors, without I/O. Each figure comes from a process of its own.

use std::io;
use std::process::{Command, Stdio};

use crate::cli::Plan;
use crate::columns::Column;
use crate::exec::ROWS;
use crate::record::Record;
use crate::workloads::{Progress, ROUNDS, interleave};

pub(super) fn run(plan: &Plan, progress: &mut Progress) -> Vec<Record> {
    let able = |column: &&&Column| column.exec.is_some();
    let columns: Vec<_> = plan.columns.iter().filter(able).copied().collect();
    let rounds = plan.rounds.unwrap_or(ROUNDS);
    let mut all = Vec::new();
    for row in ROWS {
        let cell = format!("exec {row}");
        all.extend(interleave(
            &cell,
            &columns,
            rounds,
            progress,
            |column, round| {
                let ns_per_op = measure(column, row, plan.real_time)?;
                let record = Record {
                    workload: "exec",
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

fn measure(column: &Column, row: &str, real_time: bool) -> io::Result<f64> {
    let (program, name) = column.program()?;
    let mut command = Command::new(program);
    command.args(["exec-row", name, row]);
    if real_time {
        command.arg("--real-time");
    }
    let output = command.stderr(Stdio::inherit()).output()?;
    let text = String::from_utf8_lossy(&output.stdout);
    match text.trim().parse() {
        Ok(nanoseconds) if output.status.success() => Ok(nanoseconds),
        _ => Err(io::Error::other(format!(
            "{}, after {text:?}",
            output.status
        ))),
    }
}
