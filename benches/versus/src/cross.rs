//! A message to another core and back: two threads, a runtime each, and CPUs of their own.
//!
//! Runtimes that have no channel between threads take `async-channel`, whose wakers work anywhere.

use std::io;
use std::thread;
use std::time::{Duration, Instant};

use async_channel::{Receiver, Sender, bounded};

use crate::exec::Executor;
use crate::sys;

/// The rows, in the order of the report.
pub(crate) const ROWS: [&str; 5] = [
    "cross_ping",
    "cross_parked",
    "cross_busy",
    "spawn_on_spinning",
    "spawn_on_parked",
];

/// Few enough for the kernel's patience with SCHED_FIFO.
const TRIPS: u32 = 4000;
const PARKED: u32 = 200;
/// By then any core that spins a while has gone to sleep.
const PAUSE: Duration = Duration::from_millis(2);
/// Where the two run.
pub(crate) const CPUS: [usize; 2] = [0, 1];

/// Nanoseconds of a round trip: the mean of many, one after the other, between cores that have
/// nothing else to do, or have another task that is always ready; or the median of single ones to a
/// core that sleeps.
///
/// # Errors
///
/// What building the runtime gives, and `Unsupported` for a row that the column has not.
pub(crate) fn measure<E: Executor>(row: &str) -> io::Result<f64> {
    let (is_busy, is_parked) = match row {
        "cross_ping" => (false, false),
        "cross_parked" => (false, true),
        "cross_busy" => (true, false),
        _ => return Err(io::ErrorKind::Unsupported.into()),
    };
    let (there, arrives) = bounded(1);
    let (back, returns) = bounded(1);
    let other = thread::spawn(move || {
        sys::pin(CPUS[1])?;
        E::block_on(async move {
            let _ready = is_busy.then(E::spawn_ready);
            while let Ok(value) = arrives.recv().await {
                if back.send(value).await.is_err() {
                    break;
                }
            }
        })
    });
    sys::pin(CPUS[0])?;
    let measured = E::block_on(async move {
        let _ready = is_busy.then(E::spawn_ready);
        let trip = async |value| trip(&there, &returns, value).await;
        match is_parked {
            true => parked(trip, E::sleep).await,
            false => many(trip).await,
        }
    })?;
    other.join().expect("it does not panic")?;
    Ok(measured)
}

async fn trip(there: &Sender<u64>, back: &Receiver<u64>, value: u64) {
    there.send(value).await.expect("it is received");
    assert_eq!(back.recv().await, Ok(value));
}

/// The mean of many round trips.
pub(crate) async fn many(mut trip: impl AsyncFnMut(u64)) -> f64 {
    for value in 0..TRIPS / 4 {
        trip(value.into()).await;
    }
    let since = Instant::now();
    for value in 0..TRIPS {
        trip(value.into()).await;
    }
    since.elapsed().as_nanos() as f64 / f64::from(TRIPS)
}

/// The median of round trips with a pause before each.
pub(crate) async fn parked<S: Future<Output = ()>>(
    mut trip: impl AsyncFnMut(u64),
    sleep: impl Fn(Duration) -> S,
) -> f64 {
    let mut times = Vec::new();
    for value in 0..PARKED {
        sleep(PAUSE).await;
        let since = Instant::now();
        trip(value.into()).await;
        times.push(since.elapsed());
    }
    times.sort_unstable();
    times[times.len() / 2].as_nanos() as f64
}
