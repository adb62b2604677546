//! Which thread copies.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use corering::spawn;
use corering::time::sleep;

use crate::common;
use crate::lenders::Lender;
use crate::stalled::{Stall, stalling};

/// A core that does nothing for this long has been stopped.
const STANDSTILL: Duration = Duration::from_millis(500);
const PATIENCE: Duration = Duration::from_secs(10);

/// Who is stopped by a missing page.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Copies {
    Worker,
    Submitter,
}

/// Measures which thread copies to or from the page: whether the core's other tasks go on while it
/// is missing.
pub(crate) fn who_copies<L: Lender>(lender: &L) -> Copies {
    let (stall, page) = stalling().expect("allowed before");
    let ticks = Arc::new(AtomicU64::new(0));
    let counter = Arc::clone(&ticks);
    let lender = lender.clone();
    let core = thread::spawn(move || {
        common::run(async {
            let clock = spawn(async move {
                loop {
                    counter.fetch_add(1, Ordering::SeqCst);
                    sleep(Duration::from_millis(1)).await;
                }
            });
            let resource = lender.open().await;
            let (n, _) = L::lend(&resource, page).await;
            clock.abort();
            n.unwrap_or_else(|e| panic!("{}: {e}", L::NAME));
        });
    });
    let copies = watch(&stall, &ticks);
    stall.release(b'y');
    core.join().expect("the core");
    assert!(stall.is_left_alone());
    copies
}

fn watch(stall: &Stall, ticks: &AtomicU64) -> Copies {
    let start = Instant::now();
    while !stall.is_awaited() {
        assert!(start.elapsed() < PATIENCE, "nobody needs the page");
        thread::sleep(Duration::from_millis(1));
    }
    let (start, before) = (Instant::now(), ticks.load(Ordering::SeqCst));
    while start.elapsed() < STANDSTILL {
        // One may have been on its way.
        if ticks.load(Ordering::SeqCst) > before + 2 {
            return Copies::Worker;
        }
        thread::sleep(Duration::from_millis(1));
    }
    Copies::Submitter
}
