//! `accept`: connect, echo once, reset.

use std::io;
use std::time::Duration;

use crate::churn::{Churn, MESSAGE, OPEN};
use crate::cli::Plan;
use crate::columns::Column;
use crate::record::Record;
use crate::server::{Listening, ServeOptions};
use crate::workloads::{Progress, ROUNDS, RealTime, interleave, measured, syscalls_per};

const WARM_UP: Duration = Duration::from_millis(200);
const SYSCALLS: Duration = Duration::from_millis(50);

pub(super) fn run(plan: &Plan, progress: &mut Progress) -> Vec<Record> {
    let rounds = plan.rounds.unwrap_or(ROUNDS);
    interleave(
        "accept",
        &plan.columns,
        rounds,
        progress,
        |column, round| {
            let record = Record {
                round,
                ..measure(column, plan)?
            };
            let line = format!(
                "{:>8.0}/s  CPU {:>6.0} ns",
                record.requests_per_s.unwrap_or(f64::NAN),
                record.cpu_ns.unwrap_or(f64::NAN)
            );
            Ok((vec![record], line))
        },
    )
}

fn measure(column: &'static Column, plan: &Plan) -> io::Result<Record> {
    let options = ServeOptions::for_messages(MESSAGE, plan.real_time);
    let listening = Listening::start(column, &options)?;
    let mut churn = Churn::new(listening.address.clone())?;

    let real_time = RealTime::enter(plan.real_time)?;
    churn.run(WARM_UP.min(plan.window))?;
    let measured = measured(&listening.server, || churn.run(plan.window))?;
    let syscalls = syscalls_per(&listening.server, || Ok(churn.run(SYSCALLS)?.1))?;
    drop(real_time);
    churn.close()?;

    let (per_second, connections) = measured.load;
    if connections == 0 {
        return Err(io::Error::other("no connection was served"));
    }
    Ok(Record {
        workload: "accept",
        column: column.name,
        conns: Some(OPEN),
        bytes: Some(MESSAGE),
        requests_per_s: Some(per_second),
        cpu_ns: Some(measured.server_cpu_ns as f64 / connections as f64),
        syscalls_per_op: syscalls,
        ..Record::default()
    })
}
