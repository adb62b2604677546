//! What a runtime counts, and that it costs nothing when there is nothing to do.

mod common;

use std::io::{Read, Write};
use std::time::Duration;

use corering::Runtime;
use corering::net::TcpStream;
use corering::runtime::{Builder, Spin, Stats, nop, stats};
use corering::spawn;
use corering::task::yield_now;
use corering::time::sleep;
use futures_lite::future::poll_once;

use common::{alone, asleep_once, pair_with_std, process_cpu, run, until};

fn now() -> Stats {
    stats().expect("inside a runtime")
}

#[test]
fn every_op_is_counted_on_its_way() {
    run(async {
        asleep_once().await;
        let before = now();
        nop().await.unwrap();
        let after = now();
        assert_eq!(after.sqes - before.sqes, 1);
        assert_eq!(after.cqes - before.cqes, 1);
        assert!(after.enters > before.enters && after.turns > before.turns);
        assert!(after.polls > before.polls);
        let mut in_flight = Box::pin(nop());
        assert!(poll_once(&mut in_flight).await.is_none());
        assert_eq!(now().in_flight, after.in_flight + 1);
        drop(in_flight);
        assert_eq!(now().orphans, after.orphans + 1);
        assert_eq!(now().cancels, after.cancels + 1);
        yield_now().await;
        yield_now().await;
        assert_eq!(now().orphans, after.orphans);
    });
}

#[test]
fn tasks_and_timers_are_counted_while_they_are_there() {
    run(async {
        // The timer that watches this test is set after its first poll.
        yield_now().await;
        let before = now();
        let tasks: Vec<_> = (0..5)
            .map(|_| spawn(sleep(Duration::from_secs(60))))
            .collect();
        yield_now().await;
        assert_eq!(now().tasks - before.tasks, 5);
        assert_eq!(now().timers - before.timers, 5);
        for task in &tasks {
            task.abort();
        }
        yield_now().await;
        assert_eq!((now().tasks, now().timers), (before.tasks, before.timers));
    });
}

#[test]
fn buffers_are_counted_while_they_are_held() {
    run(async {
        let (stream, mut peer) = pair_with_std().await;
        let before = now();
        assert_eq!(before.buffers_free, before.buffers);
        let mut held = Vec::new();
        while now().buffers_free == before.buffers {
            peer.write_all(&[1; 4096]).unwrap();
            held.push(stream.recv().await.unwrap().unwrap());
            assert!(held.len() < 1_000, "no buffer is ever used up");
        }
        held.clear();
        // There may be more of them now.
        assert_eq!(now().buffers_free, now().buffers);
        assert_eq!(now().enobufs, 0);
    });
}

#[test]
fn buffers_grow_before_what_they_hold_is_copied() {
    run(async {
        let before = now().buffers;
        let mut pairs = Vec::new();
        for _ in 0..32 {
            let (stream, mut peer) = pair_with_std().await;
            peer.write_all(&[1; 64 * 1024]).unwrap();
            // It is received from now on, and nobody takes it.
            drop(poll_once(stream.recv()).await);
            pairs.push((stream, peer));
        }
        until("there are more buffers", || now().buffers > before).await;
    });
}

#[test]
fn a_runtime_counts_for_itself_and_nobody_else() {
    assert!(stats().is_none(), "outside of a runtime");
    let (one, other) = (Runtime::new().unwrap(), Runtime::new().unwrap());
    one.block_on(async { nop().await.unwrap() });
    assert!(one.stats().cqes > 0);
    assert_eq!(other.stats().cqes, 0);
    assert!(stats().is_none());
}

/// Streams whose receive is armed and to which nothing comes.
async fn idle_streams(count: usize) -> Vec<(TcpStream, std::net::TcpStream)> {
    let mut streams = Vec::new();
    for _ in 0..count {
        let (stream, peer) = pair_with_std().await;
        assert!(poll_once(stream.recv()).await.is_none());
        streams.push((stream, peer));
    }
    streams
}

#[test]
fn an_idle_runtime_sleeps() {
    for spin in [Spin::Never, Spin::Adaptive] {
        sleeps_when_idle(spin);
    }
}

fn sleeps_when_idle(spin: Spin) {
    let runtime = Builder::new().spin(spin).build().unwrap();
    runtime.block_on(async {
        let streams = idle_streams(50).await;
        sleep(Duration::from_millis(50)).await;
        let before = now();
        sleep(Duration::from_millis(300)).await;
        let after = now();
        // One enter for the sleep itself, and no more for fifty connections.
        assert!(after.enters - before.enters <= 6, "{before:?} {after:?}");
        assert!(after.turns - before.turns <= 6);
        assert_eq!(after.in_flight, before.in_flight);
        let parked = after.parked - before.parked;
        assert!(parked >= Duration::from_millis(290), "{parked:?}");
        assert!(after.spun - before.spun < Duration::from_millis(3));
        drop(streams);
    });
}

#[test]
fn an_idle_runtime_uses_no_processor() {
    alone(|| {
        let runtime = Runtime::new().unwrap();
        runtime.block_on(async {
            let _streams = idle_streams(50).await;
            sleep(Duration::from_millis(50)).await;
            let before = process_cpu();
            sleep(Duration::from_secs(1)).await;
            let used = process_cpu() - before;
            assert!(used < Duration::from_millis(10), "{used:?}");
        });
    });
}

#[test]
fn a_spin_is_counted_and_never_means_never() {
    for (spin, spins) in [(Spin::Always, true), (Spin::Never, false)] {
        let limit = Duration::from_millis(1);
        let runtime = Builder::new().spin(spin).spin_limit(limit).build().unwrap();
        runtime.block_on(async {
            for _ in 0..5 {
                sleep(Duration::from_millis(3)).await;
            }
        });
        let stats = runtime.stats();
        assert_eq!(stats.spun >= 4 * limit, spins, "{stats:?}");
        assert!(stats.parked >= 4 * limit, "{stats:?}");
    }
}

#[test]
fn a_request_that_is_spun_for_costs_two_enters() {
    const REQUESTS: u64 = 200;
    let builder = Builder::new().spin(Spin::Always);
    let runtime = builder.spin_limit(Duration::from_secs(10)).build().unwrap();
    let enters = runtime.block_on(async {
        let (stream, mut peer) = pair_with_std().await;
        let client = std::thread::spawn(move || {
            for _ in 0..REQUESTS {
                peer.write_all(&[7; 64]).unwrap();
                peer.read_exact(&mut [0; 64]).unwrap();
                // Long enough that the next request is not there when the answer is sent.
                std::thread::sleep(Duration::from_micros(100));
            }
        });
        let before = now().enters;
        for _ in 0..REQUESTS {
            let lease = stream.recv().await.unwrap().unwrap();
            stream.write_all(lease).await.0.unwrap();
        }
        let enters = now().enters - before;
        client.join().unwrap();
        enters
    });
    assert!(enters <= 2 * REQUESTS + 10, "{enters} enters");
}

#[test]
fn what_does_not_pay_is_not_spun_for() {
    let runtime = Builder::new().spin(Spin::Adaptive).build().unwrap();
    runtime.block_on(async {
        // Nothing ever comes within the limit of the spin.
        for _ in 0..300 {
            sleep(Duration::from_micros(300)).await;
        }
    });
    let stats = runtime.stats();
    // 50 µs each would be 15 ms.
    assert!(stats.spun < Duration::from_millis(5), "{stats:?}");
}
