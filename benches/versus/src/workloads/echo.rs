//! `echo` and `unix`: a request and its answer, over and over, on some connections at once.

use std::io;
use std::time::Duration;

use crate::cells::{self, Cell};
use crate::cli::{Plan, Spin};
use crate::client::Wait;
use crate::columns::Column;
use crate::load::Load;
use crate::record::Record;
use crate::server::{Listening, ServeOptions, Service};
use crate::workloads::{Progress, ROUNDS, RealTime, interleave, measured, syscalls_per};

/// From here on every io_uring program falls anywhere in a fifth of its CPU time from run to run.
const MANY: usize = 1024;
const ROUNDS_OF_MANY: u32 = 10;

const WARM_UP: Duration = Duration::from_millis(200);
/// Long enough for thousands of requests, and apart from the measurement: counting costs.
const SYSCALLS: Duration = Duration::from_millis(50);

pub(super) fn run(plan: &Plan, progress: &mut Progress) -> Vec<Record> {
    run_on(Kind::Tcp, &plan.columns, plan, progress)
}

pub(super) fn run_unix(plan: &Plan, progress: &mut Progress) -> Vec<Record> {
    let able = |column: &&&Column| column.unix.is_some();
    let columns: Vec<_> = plan.columns.iter().filter(able).copied().collect();
    run_on(Kind::Unix, &columns, plan, progress)
}

/// What the connections are of.
#[derive(Clone, Copy, PartialEq)]
enum Kind {
    Tcp,
    Unix,
}

impl Kind {
    fn name(self) -> &'static str {
        match self {
            Self::Tcp => "echo",
            Self::Unix => "unix",
        }
    }

    fn service(self) -> Service {
        match self {
            Self::Tcp => Service::Echo,
            Self::Unix => Service::Unix,
        }
    }

    fn cells(self) -> &'static [Cell] {
        match self {
            Self::Tcp => &cells::ECHO,
            Self::Unix => &cells::UNIX,
        }
    }
}

fn run_on(
    kind: Kind,
    columns: &[&'static Column],
    plan: &Plan,
    progress: &mut Progress,
) -> Vec<Record> {
    let mut all = Vec::new();
    for &cell in plan.cells_or(kind.cells()) {
        // Where there is always work, a server that may spin never gets to it.
        let spins = if cell.connections == 1 {
            &plan.spin[..]
        } else {
            &[Spin::Default]
        };
        for &spin in spins {
            let name = match spin {
                Spin::Default => format!("{} {cell}", kind.name()),
                Spin::Off => format!("{} {cell} spin off", kind.name()),
            };
            let rounds = if cell.connections >= MANY {
                ROUNDS_OF_MANY
            } else {
                ROUNDS
            };
            let rounds = plan.rounds.unwrap_or(rounds);
            all.extend(interleave(
                &name,
                columns,
                rounds,
                progress,
                |column, round| {
                    let record = Record {
                        round,
                        ..measure(column, kind, cell, spin, plan)?
                    };
                    let line = describe(&record);
                    Ok((vec![record], line))
                },
            ));
        }
    }
    all
}

fn measure(
    column: &'static Column,
    kind: Kind,
    cell: Cell,
    spin: Spin,
    plan: &Plan,
) -> io::Result<Record> {
    let no_spin = spin == Spin::Off;
    let options = ServeOptions {
        service: kind.service(),
        no_spin,
        ..ServeOptions::for_messages(cell.bytes, plan.real_time)
    };
    let listening = Listening::start(column, &options)?;
    // Alone, a request takes as long as the two threads need to wake each other: the load spins so
    // that only the server's share of that is seen.
    let wait = if cell.connections == 1 {
        Wait::Spin
    } else {
        Wait::Sleep
    };
    let mut load = Load::connect(&listening.address, cell.connections, cell.bytes, wait)?;

    let real_time = RealTime::enter(plan.real_time)?;
    load.run(WARM_UP.min(plan.window))?;
    let measured = measured(&listening.server, || load.run(plan.window))?;
    let syscalls = syscalls_per(&listening.server, || Ok(load.run(SYSCALLS)?.requests))?;
    drop(real_time);
    load.close()?;

    let window = measured.load;
    if window.requests == 0 {
        return Err(io::Error::other("no request was answered"));
    }
    Ok(Record {
        workload: kind.name(),
        column: column.name,
        what: no_spin.then_some("spin-off"),
        conns: Some(cell.connections),
        bytes: Some(cell.bytes),
        requests_per_s: Some(window.requests_per_s()),
        cpu_ns: Some(measured.server_cpu_ns as f64 / window.requests as f64),
        p50_us: Some(window.latency_us(0.5)),
        p99_us: Some(window.latency_us(0.99)),
        syscalls_per_op: syscalls,
        ..Record::default()
    })
}

fn describe(record: &Record) -> String {
    let value = |of: Option<f64>| of.unwrap_or(f64::NAN);
    format!(
        "{:>8.0}/s  CPU {:>6.0} ns  p50 {:>7.1} µs  p99 {:>7.1} µs  {:.3} syscalls",
        value(record.requests_per_s),
        value(record.cpu_ns),
        value(record.p50_us),
        value(record.p99_us),
        value(record.syscalls_per_op),
    )
}
