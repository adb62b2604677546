//! The executor's micro-benchmarks: each row of each column in a process of its own.
//!
//! The rows know an executor by a handful of functions that spawn one kind of task each, because
//! some executors ask for `Send` futures and generic ones are not: so each column writes its tasks
//! down, and the loops around them are the same for all. What is measured runs inside tasks. A
//! `block_on` future is woken by other means than a task in some runtimes.

use std::io;
use std::net::TcpListener;
use std::pin::Pin;
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use crate::coordination::CONTENDERS;
use crate::cross;
use crate::fairness::Heart;
use crate::sys::CpuClock;

/// One executor, as far as the rows need it.
pub(crate) trait Executor {
    /// Runs a future on a new runtime.
    fn block_on<F: Future>(future: F) -> io::Result<F::Output>;

    /// A task that yields so many times.
    fn spawn_yields(times: u32) -> impl Future<Output = ()>;

    /// A task that so many times spawns [`BATCH`] empty ones and then joins them.
    fn spawn_joins(times: u32) -> impl Future<Output = ()>;

    /// A task that sleeps once.
    fn spawn_sleep(time: Duration) -> impl Future<Output = ()>;

    /// Two tasks that send a number there and back so many times, over channels for one.
    fn spawn_round_trips(times: u32) -> impl Future<Output = ()>;

    /// A task that so many times takes a lock that nobody else wants.
    fn spawn_locks(times: u32) -> impl Future<Output = ()>;

    /// [`CONTENDERS`] tasks that take one lock so many times each, and yield while they hold it.
    fn spawn_contenders(times: u32) -> impl Future<Output = ()>;

    /// A task that so many times takes a permit that nobody else wants.
    fn spawn_permits(times: u32) -> impl Future<Output = ()>;

    /// Two tasks that notify each other so many times.
    fn spawn_notifications(times: u32) -> impl Future<Output = ()>;

    /// A task that yields for ever: [`fairness::ready`](crate::fairness::ready).
    fn spawn_ready() -> impl Future<Output = ()>;

    /// A task for a heartbeat.
    fn spawn_heart(heart: Heart) -> impl Future<Output = ()>;

    /// Accepts connections and echoes on each in a task of its own.
    fn accept(listener: TcpListener, buffer: usize) -> impl Future<Output = io::Result<()>>;

    /// A timer without a task.
    fn sleep(time: Duration) -> impl Future<Output = ()>;

    /// A row of `cross`: [`cross::measure`] unless it has better means of its own.
    ///
    /// # Errors
    ///
    /// As there.
    fn cross(row: &str) -> io::Result<f64>
    where
        Self: Sized,
    {
        cross::measure::<Self>(row)
    }
}

/// Tasks that are spawned before the first is joined.
pub(crate) const BATCH: u32 = 100;

/// For runtimes that have no `yield_now` of their own: to the back of the run queue.
pub(crate) fn yield_now() -> impl Future<Output = ()> {
    let mut yielded = false;
    std::future::poll_fn(move |context: &mut Context<'_>| {
        if std::mem::replace(&mut yielded, true) {
            return Poll::Ready(());
        }
        context.waker().wake_by_ref();
        Poll::Pending
    })
}

/// The rows, in the order of the report.
pub(crate) const ROWS: [&str; 11] = [
    "yield_1",
    "yield_1000",
    "spawn_join",
    "timer_make_cancel",
    "timer_fire",
    "local_round_trip",
    "mutex",
    "mutex_contended",
    "semaphore",
    "notify",
    "sleep_million",
];

const TIMERS: u32 = 100_000;
const MILLION: u32 = 1_000_000;
const SLEEP_MAX_MS: u32 = 1000;

/// Measures one row: nanoseconds per operation, of CPU time for `timer_fire` and
/// `sleep_million`, else of time.
///
/// # Errors
///
/// What building the runtime gives, and `InvalidInput` for a row that is not in [`ROWS`].
pub(crate) fn measure<E: Executor>(row: &str) -> io::Result<f64> {
    match row {
        "yield_1" => E::block_on(yields::<E>(1, 1_000_000)),
        "yield_1000" => E::block_on(yields::<E>(1000, 2000)),
        "spawn_join" => E::block_on(joins::<E>(10_000)),
        "timer_make_cancel" => E::block_on(make_and_cancel::<E>()),
        "timer_fire" => E::block_on(fire::<E>(TIMERS))?,
        "local_round_trip" => E::block_on(timed(1, MILLION, E::spawn_round_trips)),
        "mutex" => E::block_on(timed(1, 10 * MILLION, E::spawn_locks)),
        "mutex_contended" => E::block_on(timed(CONTENDERS, 5000, E::spawn_contenders)),
        "semaphore" => E::block_on(timed(1, 10 * MILLION, E::spawn_permits)),
        // A notification each way.
        "notify" => E::block_on(timed(2, MILLION, E::spawn_notifications)),
        "sleep_million" => E::block_on(fire::<E>(MILLION))?,
        row if cross::ROWS.contains(&row) => E::cross(row),
        _ => Err(io::Error::new(
            io::ErrorKind::InvalidInput,
            format!("there is no row {row}"),
        )),
    }
}

async fn yields<E: Executor>(tasks: u32, times: u32) -> f64 {
    // A first pass makes queues and slabs grow to what the second needs.
    run_yields::<E>(tasks, times / 10).await;
    let since = Instant::now();
    run_yields::<E>(tasks, times).await;
    per_operation(since.elapsed(), tasks * times)
}

async fn run_yields<E: Executor>(tasks: u32, times: u32) {
    let handles: Vec<_> = (0..tasks).map(|_| E::spawn_yields(times)).collect();
    for handle in handles {
        handle.await;
    }
}

async fn joins<E: Executor>(times: u32) -> f64 {
    E::spawn_joins(times / 10).await;
    let since = Instant::now();
    E::spawn_joins(times).await;
    per_operation(since.elapsed(), times * BATCH)
}

/// Makes all timers, so that all are live at once, then cancels all.
async fn make_and_cancel<E: Executor>() -> f64 {
    // The places are made before the clock runs: where a sleep is kept is not its own cost.
    let mut places: Vec<Pin<Box<Option<_>>>> = (0..TIMERS).map(|_| Box::pin(None)).collect();
    // One task could not hold them all: not every runtime counts that many wakers of a task.
    let mut context = Context::from_waker(Waker::noop());
    let mut last = 0.0;
    for _ in 0..3 {
        let since = Instant::now();
        for (place, index) in places.iter_mut().zip(0..) {
            // None comes due while this runs.
            let mut sleep = place.as_mut();
            sleep.set(Some(E::sleep(Duration::from_secs(60) + spread(index))));
            let sleep = sleep.as_pin_mut().expect("it has just been put there");
            assert!(
                sleep.poll(&mut context).is_pending(),
                "it sleeps for a minute"
            );
        }
        for place in &mut places {
            place.as_mut().set(None);
        }
        last = per_operation(since.elapsed(), TIMERS);
    }
    last
}

/// Tasks of which each run is so many times `each` operations.
async fn timed<F: Future>(each: u32, times: u32, spawn: impl Fn(u32) -> F) -> f64 {
    spawn(times / 10).await;
    let since = Instant::now();
    spawn(times).await;
    per_operation(since.elapsed(), each * times)
}

async fn fire<E: Executor>(timers: u32) -> io::Result<f64> {
    let before = CpuClock::OWN.now_ns()?;
    let sleepers: Vec<_> = (0..timers)
        .map(|index| E::spawn_sleep(spread(index)))
        .collect();
    for sleeper in sleepers {
        sleeper.await;
    }
    let used = CpuClock::OWN.now_ns()? - before;
    Ok(used as f64 / f64::from(timers))
}

/// From 1 ms to a second, neighbours far apart.
fn spread(index: u32) -> Duration {
    const STRIDE: u32 = 7919;
    let index = index % SLEEP_MAX_MS;
    Duration::from_millis(u64::from(index * STRIDE % SLEEP_MAX_MS + 1))
}

fn per_operation(time: Duration, operations: u32) -> f64 {
    time.as_nanos() as f64 / f64::from(operations)
}
