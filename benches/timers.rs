//! What a timer costs, with 10,000 others set.
//!
//! * `make_drop`: a sleep is made, waited for once and dropped: a timeout that did not come.
//! * `fire`: of 1,000 tasks whose time has come, each is woken, polled and ends. Waiting for the
//!   time is not measured. One element is one task.
//!
//! Against `map`: the simplest queue of timers, a `BTreeMap` by deadline. What it fires is a waker
//! that does nothing, so its `fire` lacks the tasks.
//!
//!     cargo bench --bench timers

mod in_task;

use std::collections::BTreeMap;
use std::pin::pin;
use std::task::{Context, Waker};
use std::thread;
use std::time::{Duration, Instant};

use corering::Runtime;
use corering::task::{JoinHandle, yield_now};
use corering::time::sleep;
use criterion::{Criterion, Throughput};

const OTHERS: u64 = 10_000;
const DUE: u64 = 1_000;

fn main() {
    let mut criterion = Criterion::default().configure_from_args();
    let runtime = Runtime::new().expect("io_uring is there");
    let mut map = Map::default();
    let others: Vec<JoinHandle<()>> = runtime.block_on(async {
        let others = (0..OTHERS)
            .map(|n| corering::spawn(sleep(far(n))))
            .collect();
        yield_now().await;
        others
    });
    for n in 0..OTHERS {
        map.add(far(n));
    }

    let mut group = criterion.benchmark_group("timers");
    group.bench_function("make_drop/corering", |b| {
        b.iter_custom(|times| in_task::run(&runtime, make_drop(times)));
    });
    group.bench_function("make_drop/map", |b| {
        let mut n = 0;
        b.iter(|| {
            n += 1;
            let key = map.add(far(n));
            map.0.remove(&key)
        });
    });
    group.throughput(Throughput::Elements(DUE));
    group.bench_function("fire/corering", |b| {
        b.iter_custom(|times| in_task::run(&runtime, fire(times)));
    });
    group.bench_function("fire/map", |b| b.iter_custom(|times| map.fire(times)));
    group.finish();
    criterion.final_summary();
    others.iter().for_each(JoinHandle::abort);
}

/// An hour or more, no two alike.
fn far(n: u64) -> Duration {
    Duration::from_secs(3600) + Duration::from_micros(n * 7919 % 1_000_003)
}

/// Up to a millisecond.
fn near(n: u64) -> Duration {
    Duration::from_micros(n * 7919 % 1000 + 1)
}

async fn make_drop(times: u64) -> Duration {
    let start = Instant::now();
    for n in 0..times {
        let waiting = pin!(sleep(far(n)));
        let polled = waiting.poll(&mut Context::from_waker(Waker::noop()));
        assert!(polled.is_pending());
    }
    start.elapsed()
}

async fn fire(times: u64) -> Duration {
    let mut total = Duration::ZERO;
    for _ in 0..times {
        let due: Vec<_> = (0..DUE).map(|n| corering::spawn(sleep(near(n)))).collect();
        yield_now().await;
        // Nothing fires while the core is blocked.
        thread::sleep(Duration::from_millis(2));
        let start = Instant::now();
        for task in due {
            task.await.expect("it does not panic");
        }
        total += start.elapsed();
    }
    total
}

#[derive(Default)]
struct Map(BTreeMap<(Instant, u64), Waker>, u64);

impl Map {
    fn add(&mut self, after: Duration) -> (Instant, u64) {
        self.1 += 1;
        let key = (Instant::now() + after, self.1);
        self.0.insert(key, Waker::noop().clone());
        key
    }

    fn fire(&mut self, times: u64) -> Duration {
        let mut total = Duration::ZERO;
        for _ in 0..times {
            for n in 0..DUE {
                self.add(near(n));
            }
            thread::sleep(Duration::from_millis(2));
            let start = Instant::now();
            while self
                .0
                .first_key_value()
                .is_some_and(|(key, _)| key.0 <= Instant::now())
            {
                let (_, waker) = self.0.pop_first().expect("looked at above");
                waker.wake();
            }
            total += start.elapsed();
        }
        total
    }
}
