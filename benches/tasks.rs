//! What tasks cost, without any I/O.
//!
//! * `spawn_join`: one task is spawned and awaited.
//! * `yield/1`: one task yields over and over, with nobody else there. Each yield is a turn.
//! * `yield/1000`: 1,000 tasks do; one element is one yield.
//!
//! Against `by_hand`: what no executor goes below, a boxed future that is made and polled, or
//! polled again, by a loop. For other executors see `cargo run --release -p versus -- exec`.
//!
//!     cargo bench --bench tasks

mod in_task;

use std::hint::black_box;
use std::pin::Pin;
use std::task::{Context, Waker};
use std::time::{Duration, Instant};

use corering::Runtime;
use corering::task::yield_now;
use criterion::{BenchmarkId, Criterion, Throughput};

fn main() {
    let mut criterion = Criterion::default().configure_from_args();
    let runtime = Runtime::new().expect("io_uring is there");

    let mut group = criterion.benchmark_group("spawn_join");
    group.bench_function("corering", |b| {
        b.iter_custom(|times| in_task::run(&runtime, spawn_join(times)));
    });
    group.bench_function("by_hand", |b| {
        let mut i = 0;
        b.iter(|| {
            i += 1;
            poll(&mut boxed(async move { assert!(black_box(i) > 0) }));
        });
    });
    group.finish();

    let mut group = criterion.benchmark_group("yield");
    for tasks in [1, 1000] {
        group.throughput(Throughput::Elements(tasks));
        group.bench_function(BenchmarkId::new("corering", tasks), |b| {
            b.iter_custom(|times| in_task::run(&runtime, yields(tasks, times)));
        });
        let mut futures: Vec<_> = (0..tasks).map(|_| boxed(yield_times(u64::MAX))).collect();
        group.bench_function(BenchmarkId::new("by_hand", tasks), |b| {
            b.iter(|| futures.iter_mut().for_each(poll));
        });
    }
    group.finish();
    criterion.final_summary();
}

async fn spawn_join(times: u64) -> Duration {
    let start = Instant::now();
    for i in 0..times {
        let joined = corering::spawn(async move { black_box(i) }).await;
        assert_eq!(joined.expect("it does not panic"), i);
    }
    start.elapsed()
}

async fn yields(tasks: u64, times: u64) -> Duration {
    let start = Instant::now();
    if tasks == 1 {
        yield_times(times).await;
    } else {
        let tasks: Vec<_> = (0..tasks)
            .map(|_| corering::spawn(yield_times(times)))
            .collect();
        for task in tasks {
            task.await.expect("it does not panic");
        }
    }
    start.elapsed()
}

async fn yield_times(times: u64) {
    for _ in 0..times {
        yield_now().await;
    }
}

type Boxed = Pin<Box<dyn Future<Output = ()>>>;

fn boxed(future: impl Future<Output = ()> + 'static) -> Boxed {
    Box::pin(future)
}

fn poll(future: &mut Boxed) {
    let mut context = Context::from_waker(Waker::noop());
    let _ = black_box(future.as_mut().poll(&mut context));
}
