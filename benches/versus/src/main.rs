//! The same workloads on corering, on a ring driven by hand, and on the other runtimes.
//!
//! # What is measured, and how
//!
//! A server is this program again, in a process of its own on CPU 0; the load runs on CPU 1 and is
//! the same for all: it checks every byte, so a column cannot win by losing some. CPU time is that
//! of the server's process, from its own clock, in nanoseconds. Machines that share their host have
//! no steady rates, so what counts is the ratio of two columns that took turns, and CPU time rather
//! than requests per second.
//!
//! Both processes are under `SCHED_FIFO` while they measure, where that is permitted: eight rounds
//! beside other busy processes had a spread of tokio's ratio to raw, taken round by round, of 0.04
//! to 0.07 with it, and of 0.06 to 0.15 without. It lasts for a second or so at a time, with the
//! start of the next server in between. From 64 connections on, the load has to sleep or spin no
//! matter which: it always has work, and the figures were the same.
//!
//! System calls are counted by the kernel's trace point, in a short window after the measured one,
//! since counting slows the counted process down. They need root.
//!
//! A row of `echo` with one connection is there twice: as each column is by default, and with the
//! spin before sleeping turned off where a column has one. `raw` does not spin in either, as it is
//! the limit of CPU time; `raw-spin` does, and is measured when named.

mod cells;
mod churn;
mod cli;
mod client;
mod columns;
mod coordination;
mod corering;
mod cross;
mod datagrams;
mod exec;
mod fairness;
mod host;
mod load;
mod pattern;
mod peers;
mod primitives;
mod raw;
mod record;
mod report;
mod server;
mod stats;
mod sys;
mod workloads;

use std::io;
use std::process::ExitCode;

use clap::Parser;

use crate::cli::{Arguments, Child, Workload};
use crate::columns::COLUMNS;
use crate::workloads::Progress;

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let outcome = match &arguments.child {
        Some(child) => run_child(child).map(|()| ExitCode::SUCCESS),
        None if arguments.list => {
            list();
            Ok(ExitCode::SUCCESS)
        }
        None => run(&arguments),
    };
    outcome.unwrap_or_else(|error| {
        eprintln!("versus: {error}");
        ExitCode::FAILURE
    })
}

fn run_child(child: &Child) -> io::Result<()> {
    match child {
        Child::Serve { column, options } => server::serve(column, options),
        Child::ExecRow {
            column,
            row,
            real_time,
        } => {
            let measure = column.exec.ok_or(io::ErrorKind::Unsupported)?;
            match cross::ROWS.contains(&row.as_str()) {
                true => sys::allow(&cross::CPUS)?,
                false => sys::pin(sys::SERVER_CPU)?,
            }
            if *real_time {
                sys::real_time()?;
            }
            println!("{}", measure(row)?);
            Ok(())
        }
    }
}

fn list() {
    println!(
        "workloads: {}",
        Workload::EACH.map(Workload::name).join(" ")
    );
    let names: Vec<_> = COLUMNS.iter().map(|column| column.name).collect();
    println!("columns:   {}", names.join(" "));
    println!("cells of echo: {}", listed(&cells::ECHO));
    println!("cells of unix: {}", listed(&cells::UNIX));
    println!("cells of udp:  {}", listed(&cells::UDP));
    println!("rows of exec: {}", exec::ROWS.join(" "));
    println!("rows of cross: {}", cross::ROWS.join(" "));
}

fn listed(cells: &[cells::Cell]) -> String {
    let texts: Vec<_> = cells.iter().map(ToString::to_string).collect();
    texts.join(" ")
}

fn run(arguments: &Arguments) -> io::Result<ExitCode> {
    let fifo_permitted = sys::real_time().is_ok();
    sys::ordinary_time()?;
    sys::pin(sys::LOAD_CPU)?;
    // Both ends of a connection, and what else a process has; the limit is inherited.
    sys::raise_nofile(16_384)?;

    if let Some(before) = &arguments.before {
        columns::set_before(before.clone());
    }
    let plan = arguments.plan(fifo_permitted);
    let steal = host::Steal::now();
    let mut records = Vec::new();
    let mut progress = Progress::default();
    let names: Vec<_> = plan.columns.iter().map(|column| column.name).collect();

    println!("{}", host::header(&plan.columns, plan.real_time));
    for workload in arguments.selected() {
        let of_it = workloads::run(workload, &plan, &mut progress);
        // A workload may have a column of its own.
        let mut columns = names.clone();
        for record in &of_it {
            if !columns.contains(&record.column) {
                columns.push(record.column);
            }
        }
        print!("{}", report::tables(&of_it, &columns));
        records.extend(of_it);
        if let Some(path) = &arguments.json {
            record::write(path, &records)?;
        }
    }
    println!(
        "\nSteal during the run: {:.1} %",
        host::Steal::now().percent_since(&steal)
    );
    for failure in &progress.failures {
        println!("FAILED: {failure}");
    }
    Ok(if progress.failures.is_empty() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}
