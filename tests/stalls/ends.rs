//! An operation is ended while a worker copies, on a runtime that goes on.

use std::future::Future;
use std::panic;
use std::thread;
use std::time::{Duration, Instant};

use corering::fs::File;
use corering::io::Operation;
use corering::runtime::{nop, stats};
use corering::spawn;
use corering::task::yield_now;
use corering::time::sleep;
use futures_lite::future::poll_once;

use crate::common::{self, descriptors, until};
use crate::lenders::{Ended, OnWorker};
use crate::stalled::{LEN, Page, Stall, stalling};

/// How long a page stays missing after the end was asked for.
pub(crate) const MEANWHILE: Duration = Duration::from_millis(30);
/// How long a late write would have to show.
pub(crate) const AFTERWARDS: Duration = Duration::from_millis(5);
pub(crate) const PATIENCE: Duration = Duration::from_secs(10);

/// What ends it.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Live {
    FutureDropped,
    Cancelled,
    TimedOut,
    FileDropped,
    FileClosed,
    TaskAborted,
    TaskPanicked,
}

pub(crate) const LIVE: [Live; 7] = [
    Live::FutureDropped,
    Live::Cancelled,
    Live::TimedOut,
    Live::FileDropped,
    Live::FileClosed,
    Live::TaskAborted,
    Live::TaskPanicked,
];

/// Runs one cell on a runtime that goes on.
pub(crate) fn live<L: OnWorker>(lender: &L, end: Live, byte: u8) {
    let before = descriptors();
    let (stall, page) = stalling().expect("allowed before");
    common::run(async {
        let file = lender.open().await;
        match end {
            Live::Cancelled | Live::TimedOut => {
                asked(lender, &file, &stall, page, (end, byte)).await
            }
            _ => dropped::<L>(file, &stall, page, (end, byte)).await,
        }
        until("the page is freed", || stall.drops() == 1).await;
        assert!(lender.is_in_effect(byte), "it was committed");
        // The core's own read of its wake-ups may be there.
        until("nothing is in flight", || stats().unwrap().in_flight <= 1).await;
    });
    sound(stall, before);
}

/// The operation is asked to end, and says what came of it: all, since a worker had begun it.
async fn asked<L: OnWorker>(
    lender: &L,
    file: &File,
    stall: &Stall,
    page: Page,
    (end, byte): (Live, u8),
) {
    let mut operation = L::lend(file, page);
    let (n, page) = match end {
        Live::Cancelled => {
            stalls(&mut operation, stall).await;
            ends(operation.cancel(), stall, byte).await
        }
        _ => {
            let mut timed = operation.timeout(Duration::from_millis(5));
            stalls(&mut timed, stall).await;
            ends(timed, stall, byte).await
        }
    };
    let n = n.expect("what the kernel has done wins");
    assert!(n > 0 && n <= LEN, "{n}");
    assert!(lender.is_exact(&page, byte));
    assert_eq!(stall.drops(), 0, "it has come back");
}

/// Lets the page go when the end was asked for, and waits for that end.
async fn ends<F: Future<Output = Ended> + Unpin>(mut end: F, stall: &Stall, byte: u8) -> Ended {
    assert!(
        poll_once(&mut end).await.is_none(),
        "the kernel has the page"
    );
    core_goes_on().await;
    assert!(
        poll_once(&mut end).await.is_none(),
        "the kernel has the page"
    );
    assert_eq!(stall.drops(), 0);
    stall.release(byte);
    end.await
}

/// What waits for the operation is dropped.
async fn dropped<L: OnWorker>(file: File, stall: &Stall, page: Page, (end, byte): (Live, u8)) {
    let own = descriptors();
    match end {
        Live::FutureDropped => {
            let mut operation = L::lend(&file, page);
            stalls(&mut operation, stall).await;
            drop(operation);
        }
        Live::FileDropped | Live::FileClosed => {
            let mut operation = L::lend(&file, page);
            stalls(&mut operation, stall).await;
            drop(operation);
            if matches!(end, Live::FileClosed) {
                return closed(file, stall, byte).await;
            }
            drop(file);
            assert_eq!(descriptors(), own, "a file is closed after its operations");
        }
        _ => in_task::<L>(file, stall, page, end).await,
    }
    core_goes_on().await;
    assert_eq!(stall.drops(), 0, "the kernel has the page");
    stall.release(byte);
}

/// The file is closed by `close().await`, which waits for writes.
async fn closed(file: File, stall: &Stall, byte: u8) {
    let mut close = Box::pin(file.close());
    let early = poll_once(&mut close).await;
    core_goes_on().await;
    assert_eq!(stall.drops(), 0, "the kernel has the page");
    stall.release(byte);
    match early {
        Some(closed) => closed.expect("closed"),
        None => close.await.expect("closed"),
    }
}

/// A task that waits for the operation ends.
async fn in_task<L: OnWorker>(file: File, stall: &Stall, page: Page, end: Live) {
    let watch = stall.clone();
    let task = spawn(async move {
        let mut operation = L::lend(&file, page);
        stalls(&mut operation, &watch).await;
        if matches!(end, Live::TaskPanicked) {
            panic::resume_unwind(Box::new("a task that panics"));
        }
        let _ = operation.await;
    });
    if matches!(end, Live::TaskAborted) {
        until("the worker is stopped", || stall.is_awaited()).await;
        task.abort();
    }
    let error = task.await.expect_err("it was ended");
    assert_eq!(error.is_panic(), matches!(end, Live::TaskPanicked));
}

/// Submits the operation, and waits until a worker is stopped in it.
pub(crate) async fn stalls<F: Future + Unpin>(operation: &mut F, stall: &Stall) {
    assert!(poll_once(&mut *operation).await.is_none());
    yield_now().await;
    until("a worker needs the page", || stall.is_awaited()).await;
    assert!(poll_once(&mut *operation).await.is_none());
}

/// Lets the runtime do other things for a while.
async fn core_goes_on() {
    let start = Instant::now();
    while start.elapsed() < MEANWHILE {
        nop().await.expect("the core works");
        sleep(Duration::from_millis(1)).await;
    }
}

/// What holds after each cell: no late write, nothing open.
pub(crate) fn sound(stall: Stall, before: usize) {
    thread::sleep(AFTERWARDS);
    assert!(stall.is_left_alone(), "a write to freed memory");
    drop(stall);
    let start = Instant::now();
    while descriptors() != before {
        assert!(start.elapsed() < PATIENCE, "{} of {before}", descriptors());
        thread::sleep(Duration::from_millis(1));
    }
}
