//! A worker thread of the kernel's is stopped in the middle of copying from or to a buffer, and
//! everything ends meanwhile, in every way there is: the buffer is not dropped before the kernel is
//! done with it. A runtime whose time is over leaks it, and says so.
//!
//! Every operation that lends memory of the caller's and that a worker may run stands in the table:
//! `read_at` and `write_at`. The others copy on the thread that submits them, so that a page that
//! is missing stops that thread, and nothing can end meanwhile; a test measures that, too.
#![allow(unsafe_code)]

mod common;
#[path = "stalls/ends.rs"]
mod ends;
#[path = "stalls/lenders.rs"]
mod lenders;
#[path = "stalls/probe.rs"]
mod probe;
#[path = "common/stalled.rs"]
mod stalled;
#[path = "stalls/teardown.rs"]
mod teardown;

use common::alone;
use ends::LIVE;
use lenders::{
    CachedRead, DirectRecv, Lender, Named, OnDisk, OnWorker, ProcessMaps, Sent, SentZeroCopy,
};
use probe::{Copies, who_copies};
use teardown::TEARDOWN;

/// The cells that were run, and those that could not be.
#[derive(Default)]
struct Table {
    run: usize,
    skipped: usize,
}

impl Table {
    /// Ends one operation in every way. `number` makes the bytes of each cell different.
    fn row<L: OnWorker>(&mut self, lender: &L, copies: Copies) {
        let cells = LIVE.len() + 2 * TEARDOWN.len();
        if copies == Copies::Submitter {
            println!(
                "skipped: {}: {cells} cells: no worker runs it here",
                L::NAME
            );
            self.skipped += cells;
            return;
        }
        for end in LIVE {
            ends::live(lender, end, self.letter());
            self.cell::<L>(&format!("{end:?}"), "freed when the kernel was done");
        }
        for end in TEARDOWN {
            teardown::in_time(lender, end, self.letter());
            self.cell::<L>(&format!("{end:?}"), "freed when the kernel was done");
            teardown::too_late(lender, end, self.letter());
            self.cell::<L>(&format!("{end:?}, time over"), "leaked, and said so");
        }
    }

    fn cell<L: Lender>(&mut self, end: &str, outcome: &str) {
        self.run += 1;
        println!("{:<28} {end:<26} {outcome}", L::NAME);
    }

    /// What the page is filled with: no digit of a hexadecimal number, so that it is told apart
    /// from what a file of addresses holds.
    fn letter(&self) -> u8 {
        b'G' + (self.run % 20) as u8
    }
}

/// Whether this process may stop the kernel. If not, it is said.
fn may_stall(cells: usize) -> bool {
    match stalled::stalling() {
        Ok(_) => true,
        Err(e) => {
            println!("skipped: userfaultfd: {e}; cells: 0 run, {cells} skipped");
            false
        }
    }
}

#[test]
fn a_buffer_is_not_dropped_while_a_worker_copies_however_its_operation_ends() {
    alone(|| {
        if !may_stall(3 * (LIVE.len() + 2 * TEARDOWN.len())) {
            return;
        }
        let mut table = Table::default();
        let maps = ProcessMaps;
        let copies = who_copies(&maps);
        assert_eq!(copies, Copies::Worker, "{}", ProcessMaps::NAME);
        table.row(&maps, copies);
        let named = Named;
        let copies = who_copies(&named);
        assert_eq!(copies, Copies::Worker, "{}", Named::NAME);
        table.row(&named, copies);
        // Some file systems take writes without a worker.
        let file = OnDisk::new();
        table.row(&file, who_copies(&file));
        let Table { run, skipped } = table;
        println!("cells: {run} run, {skipped} skipped");
        assert!(run >= 2 * (LIVE.len() + 2 * TEARDOWN.len()));
    });
}

/// One that moved to a worker would have to be in the table above.
#[test]
fn what_is_not_in_the_table_is_copied_by_the_thread_that_submits_it() {
    alone(|| {
        if !may_stall(0) {
            return;
        }
        assert_eq!(who_copies(&CachedRead::new()), Copies::Submitter);
        assert_eq!(who_copies(&Sent), Copies::Submitter);
        assert_eq!(who_copies(&SentZeroCopy), Copies::Submitter);
        assert_eq!(who_copies(&DirectRecv), Copies::Submitter);
    });
}
