//! `fairness`: how late a heartbeat is beside streams and tasks that are always ready.

use std::io::{self, BufRead, BufReader};
use std::process::ChildStdout;
use std::sync::mpsc::{self, TryRecvError};
use std::thread;
use std::time::{Duration, Instant};

use crate::cli::Plan;
use crate::columns::Column;
use crate::fairness::Lateness;
use crate::load::Load;
use crate::record::Record;
use crate::server::{Listening, ServeOptions, Service};
use crate::workloads::{Progress, ROUNDS, RealTime, interleave};

const STREAMS: usize = 64;
/// As much as four reads of a server take.
const MESSAGE: usize = 16 * 1024;
/// Messages of each stream that are on the way: a server finds the next when it has echoed one.
const DEPTH: usize = 4;
/// Heartbeats, a millisecond each: fewer than would take the kernel's patience with SCHED_FIFO.
const BEATS_MAX: u32 = 800;
/// How often the load looks whether the heartbeat has ended.
const SLICE: Duration = Duration::from_millis(20);
const PATIENCE: Duration = Duration::from_secs(30);

pub(super) fn run(plan: &Plan, progress: &mut Progress) -> Vec<Record> {
    let able = |column: &&&Column| column.fairness.is_some();
    let columns: Vec<_> = plan.columns.iter().filter(able).copied().collect();
    let rounds = plan.rounds.unwrap_or(ROUNDS);
    // A runtime that never gets from its ready tasks to its sockets has no figure: that is a
    // result, and takes the load's patience, so once is enough.
    let mut starving = Vec::new();
    interleave("fairness", &columns, rounds, progress, |column, round| {
        if starving.contains(&column.name) {
            return Ok((Vec::new(), "left out".into()));
        }
        match measure(column, plan) {
            Ok(record) => {
                let line = describe(&record);
                Ok((vec![Record { round, ..record }], line))
            }
            Err(error) if error.kind() == io::ErrorKind::TimedOut => {
                starving.push(column.name);
                Ok((Vec::new(), "no answer beside the ready tasks".into()))
            }
            Err(error) => Err(error),
        }
    })
}

fn measure(column: &'static Column, plan: &Plan) -> io::Result<Record> {
    let options = ServeOptions {
        service: Service::Fairness,
        beats: (plan.window.as_millis() as u32).clamp(10, BEATS_MAX),
        ..ServeOptions::for_messages(0, plan.real_time)
    };
    let mut listening = Listening::start(column, &options)?;
    let output = listening.server.output().expect("it is one that speaks");
    let mut load = Load::streams(&listening.address, STREAMS, MESSAGE, DEPTH)?;

    let real_time = RealTime::enter(plan.real_time)?;
    let (lateness, requests_per_s) = until_said(output, &mut load)?;
    drop(real_time);
    load.close()?;
    Ok(Record {
        workload: "fairness",
        column: column.name,
        conns: Some(STREAMS),
        bytes: Some(MESSAGE),
        requests_per_s: Some(requests_per_s),
        p50_us: Some(lateness.p50_us),
        p99_us: Some(lateness.p99_us),
        max_us: Some(lateness.max_us),
        yields_per_s: Some(lateness.yields_per_s),
        ..Record::default()
    })
}

/// Runs the load until the server has said how late its heartbeat was.
fn until_said(output: ChildStdout, load: &mut Load) -> io::Result<(Lateness, f64)> {
    let (said, heard) = mpsc::channel();
    thread::spawn(move || {
        let mut line = String::new();
        let read = BufReader::new(output).read_line(&mut line);
        // Nobody hears it who has lost patience.
        let _ = said.send(read.map(|_| line));
    });
    let since = Instant::now();
    let mut requests = 0;
    while since.elapsed() < PATIENCE {
        requests += load.run(SLICE)?.requests;
        match heard.try_recv() {
            Ok(line) => {
                let line = line?;
                let wrong = || io::Error::other(format!("it said {line:?}"));
                let lateness = Lateness::parse(&line).ok_or_else(wrong)?;
                return Ok((lateness, requests as f64 / since.elapsed().as_secs_f64()));
            }
            Err(TryRecvError::Empty) => {}
            Err(TryRecvError::Disconnected) => return Err(io::ErrorKind::UnexpectedEof.into()),
        }
    }
    Err(io::ErrorKind::TimedOut.into())
}

fn describe(record: &Record) -> String {
    let value = |of: Option<f64>| of.unwrap_or(f64::NAN);
    format!(
        "late p50 {:>7.1} µs  p99 {:>7.1} µs  max {:>7.1} µs  {:>7.0} echoes/s  {:>9.0} yields/s",
        value(record.p50_us),
        value(record.p99_us),
        value(record.max_us),
        value(record.requests_per_s),
        value(record.yields_per_s),
    )
}
