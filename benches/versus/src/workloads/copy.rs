//! `copy`: a proxy between two connections, both directions at once.

use std::io;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::os::fd::OwnedFd;
use std::time::Duration;

use socket2::Socket;

use crate::cli::Plan;
use crate::columns::Column;
use crate::load::{CONGESTION, Load, connected};
use crate::record::Record;
use crate::server::{ServeOptions, Server, Service};
use crate::workloads::{Progress, ROUNDS, RealTime, interleave, measured, syscalls_per};

/// What is sent at once, and how many of it are on the way in each direction.
const MESSAGE: usize = 64 * 1024;
const DEPTH: usize = 4;
const KIB: f64 = (MESSAGE / 1024) as f64;

/// Of a measurement of everything: what comes before it, and what system calls are counted in.
const WARM_UP: u64 = 10;
const SYSCALLS: u64 = 20;
/// For a proxy to end once both directions have.
const PATIENCE: Duration = Duration::from_secs(5);

/// The buffers of a column: its default, or as large as receives are that have none.
const ROWS: [(&str, usize); 2] = [("default buffers", 0), ("64 KiB buffers", 64 * 1024)];

pub(super) fn run(plan: &Plan, progress: &mut Progress) -> Vec<Record> {
    let able = |column: &&&Column| column.copy.is_some();
    let columns: Vec<_> = plan.columns.iter().filter(able).copied().collect();
    let rounds = plan.rounds.unwrap_or(ROUNDS);
    let mut all = Vec::new();
    for (what, buffer) in ROWS {
        let name = format!("copy {what}");
        let each = |column, round| {
            let record = measure(column, buffer, plan)?;
            let line = describe(&record);
            let what = Some(what);
            Ok((
                vec![Record {
                    what,
                    round,
                    ..record
                }],
                line,
            ))
        };
        all.extend(interleave(&name, &columns, rounds, progress, each));
    }
    all
}

fn measure(column: &'static Column, buffer: usize, plan: &Plan) -> io::Result<Record> {
    let options = ServeOptions {
        service: Service::Copy,
        buffer,
        ..ServeOptions::for_messages(MESSAGE, plan.real_time)
    };
    let (ours, theirs) = pairs()?;
    let mut server = Server::start_on(column, &options, theirs.into())?;
    let mut load = Load::through(ours, MESSAGE, DEPTH)?;
    let messages = plan.bytes.div_ceil(MESSAGE as u64);

    let real_time = RealTime::enter(plan.real_time)?;
    load.run_exactly(messages.div_ceil(WARM_UP))?;
    let measured = measured(&server, || load.run_exactly(messages))?;
    let syscalls = syscalls_per(&server, || {
        Ok(load.run_exactly(messages.div_ceil(SYSCALLS))?.requests)
    })?;
    drop(real_time);
    load.finish()?;
    if !server.has_ended(PATIENCE)? {
        return Err(io::Error::other("it has not ended with its connections"));
    }
    let window = measured.load;
    Ok(Record {
        workload: "copy",
        column: column.name,
        requests_per_s: Some(window.requests_per_s() * KIB),
        cpu_ns: Some(measured.server_cpu_ns as f64 / window.requests as f64 / KIB),
        syscalls_per_op: syscalls.map(|calls| calls / KIB),
        ..Record::default()
    })
}

/// Two connections: this side's ends, and those of the proxy.
fn pairs() -> io::Result<([Socket; 2], [OwnedFd; 2])> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    let address: SocketAddr = listener.local_addr()?;
    let pair = |tag| -> io::Result<(Socket, OwnedFd)> {
        let ours = connected(&address.into(), tag)?;
        let theirs = Socket::from(listener.accept()?.0);
        theirs.set_tcp_nodelay(true)?;
        theirs.set_tcp_congestion(CONGESTION)?;
        Ok((ours, theirs.into()))
    };
    let ((a, to_a), (b, to_b)) = (pair(1)?, pair(2)?);
    Ok(([a, b], [to_a, to_b]))
}

fn describe(record: &Record) -> String {
    let value = |of: Option<f64>| of.unwrap_or(f64::NAN);
    format!(
        "{:>6.0} MiB/s  CPU {:>6.1} ns per KiB  {:>7.1} syscalls per MiB",
        value(record.requests_per_s) / 1024.0,
        value(record.cpu_ns),
        value(record.syscalls_per_op) * 1024.0,
    )
}
