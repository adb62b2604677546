//! What it costs to end an operation that waits.
//!
//! * `turn`: a turn of the loop in which nothing happens: what the others contain.
//! * `recv/dropped`: a task leaves the line, and the receive stays armed.
//! * `read/dropped`: a receive into the caller's buffer is submitted, cancelled, and ends.
//! * `read/cancelled`: the same, and the buffer is waited for.
//!
//!     cargo bench --bench cancel

mod in_task;

use std::io::Write;
use std::time::{Duration, Instant};

use corering::Runtime;
use corering::io::Operation;
use corering::net::{TcpListener, TcpStream};
use corering::task::yield_now;
use criterion::Criterion;
use futures_lite::future::poll_once;

/// More than a stream copies: its next reads go straight into their buffers.
const LARGE: usize = 32 * 1024;

fn main() {
    let mut criterion = Criterion::default().configure_from_args();
    let mut group = criterion.benchmark_group("cancel");
    let runtime = Runtime::new().expect("io_uring is there");
    let (stream, mut peer) = runtime.block_on(connected());
    group.bench_function("turn", |b| {
        b.iter_custom(|times| in_task::run(&runtime, turns(times)));
    });
    group.bench_function("recv/dropped", |b| {
        b.iter_custom(|times| runtime.block_on(dropped_recvs(&stream, times)));
    });
    peer.write_all(&[1; LARGE]).expect("there is room");
    runtime.block_on(async {
        let mut left = LARGE;
        while left > 0 {
            left -= stream
                .read(Vec::with_capacity(LARGE))
                .await
                .0
                .expect("bytes");
        }
        // Ends the receive that is armed, for good.
        drop(waiting(&stream).await);
    });
    group.bench_function("read/dropped", |b| {
        b.iter_custom(|times| runtime.block_on(dropped_reads(&stream, times)));
    });
    group.bench_function("read/cancelled", |b| {
        b.iter_custom(|times| runtime.block_on(cancelled_reads(&stream, times)));
    });
    group.finish();
    criterion.final_summary();
}

async fn connected() -> (TcpStream, std::net::TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let address = listener.local_addr().expect("it is bound");
    let peer = std::net::TcpStream::connect(address).expect("it listens");
    let (stream, _) = listener.accept().await.expect("it is connected");
    (stream, peer)
}

async fn turns(times: u64) -> Duration {
    let start = Instant::now();
    for _ in 0..times {
        yield_now().await;
    }
    start.elapsed()
}

async fn dropped_recvs(stream: &TcpStream, times: u64) -> Duration {
    let start = Instant::now();
    for _ in 0..times {
        assert!(poll_once(stream.recv()).await.is_none());
        yield_now().await;
    }
    start.elapsed()
}

/// A read that the kernel has, with the caller's buffer.
async fn waiting(stream: &TcpStream) -> impl Operation + '_ {
    let mut read = stream.read(Vec::with_capacity(LARGE));
    // The first poll may only cancel what is in the way.
    for _ in 0..3 {
        assert!(poll_once(&mut read).await.is_none());
        yield_now().await;
    }
    read
}

async fn dropped_reads(stream: &TcpStream, times: u64) -> Duration {
    let start = Instant::now();
    for _ in 0..times {
        let mut read = stream.read(Vec::with_capacity(LARGE));
        assert!(poll_once(&mut read).await.is_none());
        yield_now().await;
        drop(read);
        yield_now().await;
    }
    start.elapsed()
}

async fn cancelled_reads(stream: &TcpStream, times: u64) -> Duration {
    let (start, mut buf) = (Instant::now(), Vec::with_capacity(LARGE));
    for _ in 0..times {
        let mut read = stream.read(buf);
        assert!(poll_once(&mut read).await.is_none());
        yield_now().await;
        buf = read.cancel().await.1;
    }
    start.elapsed()
}
