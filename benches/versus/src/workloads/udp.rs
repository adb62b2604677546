//! `udp`: a datagram and its answer, over and over, on some sockets at once.

use std::io;
use std::os::fd::OwnedFd;
use std::time::Duration;

use crate::cells::{self, Cell};
use crate::cli::{Plan, Spin};
use crate::client::Wait;
use crate::columns::Column;
use crate::datagrams::{Datagrams, OUTSTANDING, Shape};
use crate::record::Record;
use crate::server::{ServeOptions, Server, Service};
use crate::workloads::{Progress, ROUNDS, RealTime, interleave, measured, syscalls_per};

const WARM_UP: Duration = Duration::from_millis(200);
const SYSCALLS: Duration = Duration::from_millis(50);

/// What a server receives into: more than any datagram that crosses an Ethernet.
const BUFFER: usize = 2048;
/// As long as a datagram, or a train, can be.
const BUFFER_MAX: usize = 65_536;
/// Trains are for datagrams of at least so many bytes, on several sockets.
const TRAINS_FROM: usize = 512;

/// One row.
#[derive(Clone, Copy)]
struct Row {
    cell: Cell,
    spin: Spin,
    shape: Shape,
}

impl Row {
    fn what(self) -> Option<&'static str> {
        match (self.shape, self.spin) {
            (Shape::Train, _) => Some("trains"),
            (Shape::Single, Spin::Off) => Some("spin-off"),
            (Shape::Single, Spin::Default) => None,
        }
    }
}

pub(super) fn run(plan: &Plan, progress: &mut Progress) -> Vec<Record> {
    let rounds = plan.rounds.unwrap_or(ROUNDS);
    let mut all = Vec::new();
    for row in rows(plan) {
        let able = |column: &&&Column| match row.shape {
            Shape::Single => column.udp.is_some(),
            Shape::Train => column.udp_trains.is_some(),
        };
        let columns: Vec<_> = plan.columns.iter().filter(able).copied().collect();
        let name = format!("udp {} {}", row.cell, row.what().unwrap_or_default());
        let name = name.trim_end();
        let each = |column, round| {
            let record = Record {
                round,
                ..measure(column, row, plan)?
            };
            let line = describe(&record);
            Ok((vec![record], line))
        };
        all.extend(interleave(name, &columns, rounds, progress, each));
    }
    all
}

fn rows(plan: &Plan) -> Vec<Row> {
    let mut rows = Vec::new();
    for &cell in plan.cells_or(&cells::UDP) {
        // As of echo: where there is always work, a server never gets to spin.
        let spins = if cell.connections == 1 {
            &plan.spin[..]
        } else {
            &[Spin::Default]
        };
        let shape = Shape::Single;
        rows.extend(spins.iter().map(|&spin| Row { cell, spin, shape }));
        let fits = (TRAINS_FROM..=BUFFER_MAX / OUTSTANDING - 8).contains(&cell.bytes);
        if cell.connections > 1 && fits {
            let (spin, shape) = (Spin::Default, Shape::Train);
            rows.push(Row { cell, spin, shape });
        }
    }
    rows
}

fn measure(column: &'static Column, row: Row, plan: &Plan) -> io::Result<Record> {
    let Row { cell, spin, shape } = row;
    let (service, buffer) = match shape {
        Shape::Single => (Service::Udp, BUFFER.max(cell.bytes)),
        Shape::Train => (Service::UdpTrains, BUFFER_MAX),
    };
    let options = ServeOptions {
        service,
        buffer,
        no_spin: spin == Spin::Off,
        ..ServeOptions::for_messages(cell.bytes, plan.real_time)
    };
    let wait = if cell.connections == 1 {
        Wait::Spin
    } else {
        Wait::Sleep
    };
    let (mut load, others) = Datagrams::new(cell.connections, cell.bytes, shape, wait)?;
    let others: Vec<_> = others.into_iter().map(OwnedFd::from).collect();
    let server = Server::start_on(column, &options, others)?;
    load.begin()?;

    let real_time = RealTime::enter(plan.real_time)?;
    load.run(WARM_UP.min(plan.window))?;
    let measured = measured(&server, || load.run(plan.window))?;
    let syscalls = syscalls_per(&server, || Ok(load.run(SYSCALLS)?.0.requests))?;
    drop(real_time);
    let lost = load.close()?;

    let (window, late) = measured.load;
    if window.requests == 0 {
        return Err(io::Error::other("no datagram was answered"));
    }
    Ok(Record {
        workload: "udp",
        column: column.name,
        what: row.what(),
        conns: Some(cell.connections),
        bytes: Some(cell.bytes),
        requests_per_s: Some(window.requests_per_s()),
        cpu_ns: Some(measured.server_cpu_ns as f64 / window.requests as f64),
        p50_us: Some(window.latency_us(0.5)),
        p99_us: Some(window.latency_us(0.99)),
        syscalls_per_op: syscalls,
        late: Some(late),
        lost: Some(lost),
        ..Record::default()
    })
}

fn describe(record: &Record) -> String {
    let value = |of: Option<f64>| of.unwrap_or(f64::NAN);
    format!(
        "{:>8.0}/s  CPU {:>6.0} ns  p50 {:>7.1} µs  p99 {:>7.1} µs  {:.3} syscalls  \
         {} late, {} lost",
        value(record.requests_per_s),
        value(record.cpu_ns),
        value(record.p50_us),
        value(record.p99_us),
        value(record.syscalls_per_op),
        record.late.unwrap_or_default(),
        record.lost.unwrap_or_default(),
    )
}
