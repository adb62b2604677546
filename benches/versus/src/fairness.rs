//! A heartbeat beside tasks and streams that are always ready: the server's side.
//!
//! The schedule of the heartbeat stands. One that comes late stands for all that were due until
//! then, so that a pause counts for as long as it was, and the next is due when it would have been.

use std::io;
use std::net::TcpListener;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;

use crate::exec::Executor;
use crate::server::{ServeOptions, echoes};
use crate::sys;

const PERIOD: Duration = Duration::from_millis(1);
/// Tasks that yield for ever.
const READY: u32 = 1000;
/// By then all streams are at work, and all of them have data waiting.
const WARM: u64 = 10_000;
const LONGEST_NS: u64 = 60_000_000_000;

/// How often a task that yields for ever has done so, over all of them.
static YIELDS: AtomicU64 = AtomicU64::new(0);

/// What a heartbeat has seen.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Lateness {
    pub(crate) p50_us: f64,
    pub(crate) p99_us: f64,
    pub(crate) max_us: f64,
    /// Of the ready tasks together.
    pub(crate) yields_per_s: f64,
}

impl Lateness {
    fn text(&self) -> String {
        format!(
            "{} {} {} {}",
            self.p50_us, self.p99_us, self.max_us, self.yields_per_s
        )
    }

    /// From the line that a server prints.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let mut numbers = text.split_whitespace().map(str::parse);
        let mut next = || numbers.next()?.ok();
        Some(Self {
            p50_us: next()?,
            p99_us: next()?,
            max_us: next()?,
            yields_per_s: next()?,
        })
    }
}

/// Echoes on the connections that come, beside [`READY`] tasks and a heartbeat, which prints how
/// late it was and ends; the rest goes on.
///
/// # Errors
///
/// Whatever the runtime cannot go on from.
pub(crate) fn serve<E: Executor>(listener: TcpListener, options: &ServeOptions) -> io::Result<()> {
    let heart = Heart {
        beats: options.beats,
        real_time: options.real_time,
    };
    E::block_on(async move {
        // Held: some runtimes end a task whose handle is dropped.
        let _ready: Vec<_> = (0..READY).map(|_| E::spawn_ready()).collect();
        let _heart = E::spawn_heart(heart);
        E::accept(listener, options.buffer).await
    })?
}

/// What every ready task does.
pub(crate) async fn ready<F: Future<Output = ()>>(yield_now: fn() -> F) {
    loop {
        yield_now().await;
        // One thread counts: nothing needs a locked instruction.
        YIELDS.store(YIELDS.load(Ordering::Relaxed) + 1, Ordering::Relaxed);
    }
}

/// A heartbeat.
pub(crate) struct Heart {
    beats: u32,
    real_time: bool,
}

impl Heart {
    /// Waits until the streams are at work, beats, and prints a line.
    pub(crate) async fn beat<F: Future>(self, sleep: fn(Duration) -> F) {
        while echoes() < WARM {
            sleep(PERIOD).await;
        }
        // Only now: the kernel gives a CPU that was under SCHED_FIFO for nearly a second to others
        // for up to 50 ms, and the measurement is shorter than that second.
        if self.real_time {
            sys::real_time().expect("it was permitted before");
        }
        let mut late = Histogram::<u64>::new_with_bounds(1, LONGEST_NS, 3).expect("in order");
        let yields = YIELDS.load(Ordering::Relaxed);
        let since = Instant::now();
        let mut beat = 1;
        while beat <= self.beats {
            sleep((since + PERIOD * beat).saturating_duration_since(Instant::now())).await;
            let now = Instant::now();
            while beat <= self.beats && since + PERIOD * beat <= now {
                late.saturating_record((now - (since + PERIOD * beat)).as_nanos() as u64);
                beat += 1;
            }
        }
        let yields = YIELDS.load(Ordering::Relaxed) - yields;
        let yields_per_s = yields as f64 / since.elapsed().as_secs_f64();
        if self.real_time {
            sys::ordinary_time().expect("a thread may always give its priority up");
        }
        let at = |quantile| late.value_at_quantile(quantile) as f64 / 1e3;
        let lateness = Lateness {
            p50_us: at(0.5),
            p99_us: at(0.99),
            max_us: late.max() as f64 / 1e3,
            yields_per_s,
        };
        println!("{}", lateness.text());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_server_prints_is_read_back() {
        let lateness = Lateness {
            p50_us: 12.5,
            p99_us: 400.0,
            max_us: 1234.567,
            yields_per_s: 1e6,
        };
        assert_eq!(Lateness::parse(&lateness.text()), Some(lateness));
        assert_eq!(Lateness::parse("1 2 3"), None);
    }
}
