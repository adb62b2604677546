//! Reads and accepts raced against all that may end them: no byte, no connection and no descriptor
//! is lost, and none comes twice.
//!
//! Moments are random. More of them, and what has happened in them:
//!
//! ```sh
//! CORERING_CANCELS=1000000 cargo test --release --test races -- --nocapture
//! ```

#[path = "races/accepts.rs"]
mod accepts;
mod common;
#[path = "races/idle.rs"]
mod idle;
#[path = "races/reads.rs"]
mod reads;

use std::env;
use std::future::Future;
use std::io;
use std::sync::{Mutex, MutexGuard};
use std::time::{Duration, Instant};

use corering::io::Operation;
use corering::runtime::stats;
use corering::task::yield_now;
use corering::time::{sleep, timeout};
use corering::{Runtime, spawn};
use futures_lite::future::poll_once;
use futures_util::{FutureExt, select_biased};

use common::{Random, descriptors, until};

/// How long an operation gets before it is ended.
const MOMENT: Duration = Duration::from_micros(50);

/// How an operation is ended, if it has not completed before.
#[derive(Clone, Copy, Debug)]
enum Way {
    /// Polled a few times, then dropped.
    Dropped,
    /// The loser of a `select!`.
    Selected,
    TimedOut,
    /// By `time::timeout`, which drops it.
    DroppedInTime,
    Cancelled,
}

const WAYS: [Way; 5] = [
    Way::Dropped,
    Way::Selected,
    Way::TimedOut,
    Way::DroppedInTime,
    Way::Cancelled,
];

impl Way {
    fn random(random: &mut Random) -> Way {
        WAYS[random.below(WAYS.len())]
    }
}

/// Races `operation` against its end. `None` if nothing came of it. `happens` runs at moments when
/// the operation may be anywhere.
async fn race<F, T>(
    mut operation: F,
    way: Way,
    mut happens: impl FnMut(),
    polls: usize,
) -> Option<T>
where
    F: Operation<Outcome = T> + Future<Output = T>,
    T: Ended,
{
    match way {
        Way::Dropped | Way::Cancelled => {
            for _ in 0..polls {
                if let Some(output) = poll_once(&mut operation).await {
                    return output.if_done();
                }
                happens();
                yield_now().await;
            }
            match way {
                Way::Dropped => None,
                _ => operation.cancel().await.if_done(),
            }
        }
        Way::Selected => select_biased! {
            output = operation.fuse() => output.if_done(),
            () = sleep(MOMENT).fuse() => None,
        },
        Way::TimedOut => operation.timeout(MOMENT).await.if_done(),
        Way::DroppedInTime => timeout(MOMENT, operation).await.ok()?.if_done(),
    }
}

/// An outcome that may be "nothing was done".
trait Ended: Sized {
    fn error(&self) -> Option<&io::Error>;

    /// `None` if nothing was done. Panics if something else went wrong.
    fn if_done(self) -> Option<Self> {
        let Some(error) = self.error() else {
            return Some(self);
        };
        let cancelled = error.raw_os_error() == Some(libc::ECANCELED);
        let timed_out = error.kind() == io::ErrorKind::TimedOut && error.raw_os_error().is_none();
        assert!(cancelled || timed_out, "{error}");
        None
    }
}

impl<T> Ended for io::Result<T> {
    fn error(&self) -> Option<&io::Error> {
        self.as_ref().err()
    }
}

impl<T> Ended for (io::Result<T>, Vec<u8>) {
    fn error(&self) -> Option<&io::Error> {
        let room = self.1.capacity();
        assert!(reads::ROOMS.contains(&room), "not the same buffer: {room}");
        self.0.as_ref().err()
    }
}

/// Operations that each test ends.
fn cancels_wanted() -> u64 {
    let number = env::var("CORERING_CANCELS").map_or(Ok(25_000), |text| text.parse());
    number.expect("CORERING_CANCELS is a number")
}

/// They count the descriptors of the process.
fn one_at_a_time() -> MutexGuard<'static, ()> {
    static RUNNING: Mutex<()> = Mutex::new(());
    RUNNING.lock().unwrap_or_else(|broken| broken.into_inner())
}

/// Runs `race` on a runtime of its own, which must be as empty afterwards as it was before.
fn run(race: impl Future<Output = String> + 'static) {
    let _alone = one_at_a_time();
    let wanted = cancels_wanted();
    let patience = Duration::from_secs(30) + wanted as u32 * Duration::from_micros(200);
    let (before, start) = (descriptors(), Instant::now());
    let runtime = Runtime::new().expect("a runtime");
    let report = runtime.block_on(async {
        // A task of its own: `block_on` polls its future after every turn.
        let done = timeout(patience, spawn(race)).await;
        let report = done.unwrap_or_else(|_| panic!("not done in {patience:?}: {:?}", stats()));
        let in_flight = || stats().expect("inside a runtime").in_flight;
        // One is for the wake-ups of other threads.
        until("every op has ended", || in_flight() <= 1).await;
        report.unwrap_or_else(|error| std::panic::resume_unwind(error.into_panic()))
    });
    let stats = runtime.stats();
    assert_eq!((stats.tasks, stats.timers), (0, 0));
    assert_eq!(stats.buffers_free, stats.buffers, "receive buffers");
    let left = runtime.shutdown(Duration::from_secs(20));
    assert_eq!(left.operations, 0, "{left}");
    // A thread that played the peers may still be closing its own.
    let end = Instant::now() + Duration::from_secs(20);
    while descriptors() != before && Instant::now() < end {
        std::thread::sleep(Duration::from_millis(1));
    }
    assert_eq!(descriptors(), before, "descriptors");
    println!("{report}, in {:.1} s", start.elapsed().as_secs_f64());
}
