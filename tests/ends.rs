//! Every operation, in every state, ended in every way: nothing is lost and nothing leaks.
//!
//! A row is an operation (a [`Scene`]), a column a way to end it, and a cell is tried in six
//! states. In each the same is asked: did every byte and every connection that was sent get to
//! somebody, in order, or is it where the next call finds it; and is everything that the cell took
//! (descriptors, slots, buffers, timers, tasks, mappings) back.

#[path = "ends/accept.rs"]
mod accept;
#[path = "ends/cell.rs"]
mod cell;
mod common;
#[path = "ends/connect.rs"]
mod connect;
#[path = "ends/core.rs"]
mod core;
#[path = "ends/datagram.rs"]
mod datagram;
#[path = "ends/files.rs"]
mod files;
#[path = "ends/inside.rs"]
mod inside;
#[path = "ends/metadata.rs"]
mod metadata;
#[path = "ends/open.rs"]
mod open;
#[path = "ends/oracle.rs"]
mod oracle;
#[path = "ends/outside.rs"]
mod outside;
#[path = "ends/paths.rs"]
mod paths;
#[path = "ends/peer.rs"]
mod peer;
#[path = "ends/receive.rs"]
mod receive;
#[path = "ends/send.rs"]
mod send;
#[path = "ends/splice.rs"]
mod splice;
#[path = "ends/unix_receive.rs"]
mod unix_receive;
#[path = "ends/unix_send.rs"]
mod unix_send;

use std::time::Instant;

use cell::{STATES, Scene, State, Verdict, WAYS, Way};

/// One operation of the catalogue.
struct Row {
    name: &'static str,
    files: &'static [&'static str],
    cells: fn() -> Vec<(Way, State, Verdict)>,
}

impl Row {
    fn of<S: Scene>() -> Row {
        Row {
            name: S::NAME,
            files: S::FILES,
            cells: cells::<S>,
        }
    }
}

fn catalogue() -> Vec<Row> {
    vec![
        Row::of::<accept::Accept<false>>(),
        Row::of::<accept::Accept<true>>(),
        Row::of::<connect::Connect>(),
        Row::of::<receive::Receive<receive::ByRecv>>(),
        Row::of::<receive::Receive<receive::ByRead>>(),
        Row::of::<receive::Receive<receive::ByDirectRead>>(),
        Row::of::<receive::Receive<receive::ByFillBuf>>(),
        Row::of::<receive::Receive<receive::ByFillMore>>(),
        Row::of::<send::Write<send::Once>>(),
        Row::of::<send::Write<send::All>>(),
        Row::of::<send::Write<send::Long>>(),
        Row::of::<send::Write<send::Vectored>>(),
        Row::of::<send::Write<send::ZeroCopy>>(),
        Row::of::<send::CloseStream>(),
        Row::of::<splice::Splice<false>>(),
        Row::of::<splice::Splice<true>>(),
        Row::of::<datagram::Receive<datagram::ByRecv>>(),
        Row::of::<datagram::Receive<datagram::ByRecvFrom>>(),
        Row::of::<datagram::Receive<datagram::ByPeek>>(),
        Row::of::<datagram::Send<datagram::ByAddress>>(),
        Row::of::<datagram::Send<datagram::WithControl>>(),
        Row::of::<datagram::Send<datagram::Together>>(),
        Row::of::<unix_receive::Receive<unix_receive::Datagrams>>(),
        Row::of::<unix_receive::Receive<unix_receive::Records<false>>>(),
        Row::of::<unix_receive::Receive<unix_receive::Records<true>>>(),
        Row::of::<unix_receive::Receive<unix_receive::Pieces>>(),
        Row::of::<unix_send::Send<unix_send::SendDatagram<false>>>(),
        Row::of::<unix_send::Send<unix_send::SendDatagram<true>>>(),
        Row::of::<unix_send::Send<unix_send::SendRecord>>(),
        Row::of::<unix_send::Send<unix_send::WriteWithDescriptors>>(),
        Row::of::<files::ReadAt>(),
        Row::of::<files::WriteAt>(),
        Row::of::<files::WriteFile<false>>(),
        Row::of::<files::WriteFile<true>>(),
        Row::of::<metadata::SetLen>(),
        Row::of::<metadata::OfFile>(),
        Row::of::<metadata::OfPath>(),
        Row::of::<files::Sync<true>>(),
        Row::of::<files::Sync<false>>(),
        Row::of::<open::Open>(),
        Row::of::<open::Create>(),
        Row::of::<open::CloseFile>(),
        Row::of::<paths::Changed<corering::fs::Rename>>(),
        Row::of::<paths::Changed<corering::fs::Remove>>(),
        Row::of::<paths::Changed<paths::RemoveDir>>(),
        Row::of::<paths::Changed<corering::fs::CreateDir>>(),
        Row::of::<core::Nop>(),
        Row::of::<core::Sleep>(),
        Row::of::<core::CtrlC>(),
        Row::of::<core::Wake>(),
    ]
}

fn cells<S: Scene>() -> Vec<(Way, State, Verdict)> {
    let mut cells = inside::cells::<S>();
    cells.extend(outside::cells::<S>());
    cells
}

/// Counts of what came out, and the table.
#[derive(Default)]
struct Report {
    table: String,
    broken: Vec<String>,
    reasons: Vec<String>,
    cells: usize,
    missing: usize,
}

impl Report {
    fn add(&mut self, row: &Row) {
        let cells = (row.cells)();
        self.table.push_str(&format!("{:<20}", row.name));
        for way in WAYS {
            let mut marks = String::new();
            for state in STATES {
                let mut found = cells.iter().filter(|cell| (cell.0, cell.1) == (way, state));
                let (_, _, verdict) = found.next().expect("every cell is tried");
                self.cells += 1;
                marks.push(self.mark(row.name, way, state, verdict));
            }
            self.table.push_str(&format!(
                " {marks:<width$}",
                width = way.head().len().max(6)
            ));
        }
        self.table.push_str(&format!("  {}\n", row.files.join(" ")));
    }

    fn mark(&mut self, name: &str, way: Way, state: State, verdict: &Verdict) -> char {
        match verdict {
            Verdict::Held => '+',
            Verdict::Missing(why) => {
                self.missing += 1;
                let reason = format!("{name}: {why}");
                if !self.reasons.contains(&reason) {
                    self.reasons.push(reason);
                }
                '-'
            }
            Verdict::Broken(what) => {
                self.broken
                    .push(format!("{name} × {way:?} × {state:?}: {what}"));
                '!'
            }
        }
    }
}

/// The one test of this program: it counts what the process has.
#[test]
fn every_operation_can_be_ended_in_every_state_and_nothing_is_lost() {
    let start = Instant::now();
    // A part of a row's name, to try that one alone.
    let only = std::env::var("CORERING_ENDS_ROW").unwrap_or_default();
    let mut report = Report::default();
    connect::warm_up();
    let before = oracle::Process::after_warming_up();
    for row in catalogue().iter().filter(|row| row.name.contains(&only)) {
        report.add(row);
    }
    let heads: Vec<_> = WAYS
        .iter()
        .map(|way| format!("{:<6}", way.head()))
        .collect();
    println!("\n{:<20} {}\n{}", "", heads.join(" "), report.table);
    println!("{}", report.reasons.join("\n"));
    println!(
        "\nstates: unpolled, staged, submitted, completed, posted, reaped; + held, - n/a, \
         ! broken\n\
         {} cells in {:.1?}: {} lost or leaked, {} n/a",
        report.cells,
        start.elapsed(),
        report.broken.len(),
        report.missing,
    );
    assert!(report.cells > 0, "no row has that name");
    assert!(report.broken.is_empty(), "\n{}\n", report.broken.join("\n"));
    assert_eq!(before.leaked(), None);
}
