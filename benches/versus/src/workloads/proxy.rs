//! `proxy`: a request and its answer by way of a proxy, before the same echo server.
//!
//! The echo server shares the CPU of the load, so that the proxy has its own.

use std::io;
use std::time::Duration;

use crate::cells::{self, Cell};
use crate::cli::Plan;
use crate::client::Wait;
use crate::columns::{self, Column};
use crate::load::Load;
use crate::record::Record;
use crate::server::{Listening, ServeOptions, Service};
use crate::workloads::{Progress, ROUNDS, RealTime, interleave, measured, syscalls_per};

const WARM_UP: Duration = Duration::from_millis(200);
const SYSCALLS: Duration = Duration::from_millis(50);

/// What stands behind every proxy.
const ECHO: &str = "raw";
/// It is in no other workload, and has no place on the command line of most.
const SPLICE: &str = "corering-splice";

pub(super) fn run(plan: &Plan, progress: &mut Progress) -> Vec<Record> {
    let able = |column: &&&'static Column| column.proxy.is_some();
    let mut columns: Vec<_> = plan.columns.iter().filter(able).copied().collect();
    let has = |name| columns.iter().any(|column| column.name == name);
    if has("corering-recv") && !has(SPLICE) {
        columns.extend(columns::find(SPLICE));
    }
    let rounds = plan.rounds.unwrap_or(ROUNDS);
    let mut all = Vec::new();
    for &cell in plan.cells_or(&cells::PROXY) {
        let name = format!("proxy {cell}");
        all.extend(interleave(
            &name,
            &columns,
            rounds,
            progress,
            |column, round| {
                let record = Record {
                    round,
                    ..measure(column, cell, plan)?
                };
                let line = describe(&record);
                Ok((vec![record], line))
            },
        ));
    }
    all
}

fn measure(column: &'static Column, cell: Cell, plan: &Plan) -> io::Result<Record> {
    let echo = ServeOptions {
        beside_load: true,
        ..ServeOptions::for_messages(cell.bytes, plan.real_time)
    };
    let unknown = |text| io::Error::new(io::ErrorKind::NotFound, text);
    let echo = Listening::start(columns::find(ECHO).map_err(unknown)?, &echo)?;
    let options = ServeOptions {
        service: Service::Proxy,
        upstream: echo.address.as_socket(),
        ..ServeOptions::for_messages(cell.bytes, plan.real_time)
    };
    let proxy = Listening::start(column, &options)?;
    let mut load = Load::connect(&proxy.address, cell.connections, cell.bytes, Wait::Sleep)?;

    let real_time = RealTime::enter(plan.real_time)?;
    load.run(WARM_UP.min(plan.window))?;
    let measured = measured(&proxy.server, || load.run(plan.window))?;
    let syscalls = syscalls_per(&proxy.server, || Ok(load.run(SYSCALLS)?.requests))?;
    drop(real_time);
    load.close()?;

    let window = measured.load;
    if window.requests == 0 {
        return Err(io::Error::other("no request was answered"));
    }
    // There and back.
    let kib = 2.0 * cell.bytes as f64 / 1024.0;
    Ok(Record {
        workload: "proxy",
        column: column.name,
        conns: Some(cell.connections),
        bytes: Some(cell.bytes),
        requests_per_s: Some(window.requests_per_s()),
        cpu_ns: Some(measured.server_cpu_ns as f64 / window.requests as f64 / kib),
        p50_us: Some(window.latency_us(0.5)),
        p99_us: Some(window.latency_us(0.99)),
        syscalls_per_op: syscalls,
        ..Record::default()
    })
}

fn describe(record: &Record) -> String {
    let value = |of: Option<f64>| of.unwrap_or(f64::NAN);
    format!(
        "{:>8.0}/s  CPU {:>6.1} ns per KiB  p50 {:>7.1} µs  p99 {:>7.1} µs  {:.2} syscalls",
        value(record.requests_per_s),
        value(record.cpu_ns),
        value(record.p50_us),
        value(record.p99_us),
        value(record.syscalls_per_op),
    )
}
