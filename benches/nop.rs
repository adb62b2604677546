//! What an operation costs at least: a NOP, from its future to the ring and back.
//!
//! * `1`: one at a time. Each takes a turn of the runtime with a system call.
//! * `32`: by 32 tasks at once, which share both.
//!
//! Against `raw`: a ring with the setup flags of the oldest kernel that counts, driven by hand,
//! without futures and tasks. The difference is what the runtime adds.
//!
//!     cargo bench --bench nop
#![allow(unsafe_code)]

mod in_task;

use std::time::{Duration, Instant};

use corering::Runtime;
use corering::runtime::nop;
use criterion::{BenchmarkId, Criterion, Throughput};
use io_uring::{IoUring, opcode};

fn main() {
    let mut criterion = Criterion::default().configure_from_args();
    let mut group = criterion.benchmark_group("nop");
    let runtime = Runtime::new().expect("io_uring is there");
    for batch in [1, 32] {
        group.throughput(Throughput::Elements(batch));
        group.bench_function(BenchmarkId::new("corering", batch), |b| {
            b.iter_custom(|times| in_task::run(&runtime, nops(batch, times)));
        });
        let mut ring = raw_ring();
        group.bench_function(BenchmarkId::new("raw", batch), |b| {
            b.iter(|| raw_nops(&mut ring, batch));
        });
    }
    group.finish();
    criterion.final_summary();
}

/// As many tasks as `batch`, each with so many NOPs one after the other.
async fn nops(batch: u64, times: u64) -> Duration {
    let start = Instant::now();
    let one_by_one = || async move {
        for _ in 0..times {
            nop().await.expect("a NOP does not fail");
        }
    };
    if batch == 1 {
        one_by_one().await;
    } else {
        let tasks: Vec<_> = (0..batch).map(|_| corering::spawn(one_by_one())).collect();
        for task in tasks {
            task.await.expect("it does not panic");
        }
    }
    start.elapsed()
}

fn raw_ring() -> IoUring {
    let mut setup = IoUring::builder();
    setup
        .setup_single_issuer()
        .setup_defer_taskrun()
        .setup_taskrun_flag()
        .setup_submit_all();
    setup
        .setup_cqsize(2048)
        .build(256)
        .expect("io_uring is there")
}

fn raw_nops(ring: &mut IoUring, batch: u64) {
    for _ in 0..batch {
        // SAFETY: a NOP points to no memory.
        unsafe { ring.submission().push(&opcode::Nop::new().build()) }.expect("there is room");
    }
    ring.submit_and_wait(batch as usize)
        .expect("no signal interrupts it");
    let completions = ring.completion().inspect(|cqe| assert_eq!(cqe.result(), 0));
    assert_eq!(completions.count() as u64, batch);
}
