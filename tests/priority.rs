//! Classes of tasks beside I/O: who is woken by a completion or a timer does not wait for bulk.

mod common;

use std::cell::Cell;
use std::rc::Rc;
use std::time::Duration;

use corering::runtime::{nop, stats};
use corering::spawn;
use corering::task::{Builder, JoinHandle, Priority, yield_now};
use corering::time::{Instant, sleep};

use common::{pair_with_std, run};

const CROWD: usize = 1_000;

/// So many tasks that are always ready, and their polls.
fn crowd(class: Priority, count: usize) -> Rc<Cell<u64>> {
    let polls = Rc::new(Cell::new(0));
    for _ in 0..count {
        let polls = Rc::clone(&polls);
        drop(Builder::new().priority(class).spawn(async move {
            loop {
                polls.set(polls.get() + 1);
                yield_now().await;
            }
        }));
    }
    polls
}

/// Polls of the crowd between a submission and the poll that its completion brings, at worst.
async fn worst_wait(polls: Rc<Cell<u64>>) -> u64 {
    let mut worst = 0;
    for _ in 0..50 {
        let before = polls.get();
        nop().await.unwrap();
        worst = worst.max(polls.get() - before);
    }
    worst
}

/// Polls of the crowd in a turn while nobody else has anything to do.
async fn polls_a_turn(polls: Rc<Cell<u64>>) -> u64 {
    let turns = || stats().expect("inside a runtime").turns;
    let before = (polls.get(), turns());
    sleep(Duration::from_millis(5)).await;
    let turns = turns() - before.1;
    assert!(turns > 1, "{turns}");
    (polls.get() - before.0).div_ceil(turns)
}

fn latency<F: Future + 'static>(future: F) -> JoinHandle<F::Output> {
    Builder::new().priority(Priority::Latency).spawn(future)
}

#[test]
fn who_waits_for_the_kernel_waits_for_eight_of_a_thousand_bulk_tasks() {
    run(async {
        let polls = crowd(Priority::Bulk, CROWD);
        let alone = latency(worst_wait(Rc::clone(&polls))).await.unwrap();
        assert!((1..=8).contains(&alone), "{alone}");
        let turn = latency(polls_a_turn(Rc::clone(&polls))).await.unwrap();
        assert!((4..=8).contains(&turn), "{turn}");
        // The same as a task without a class.
        let usual = spawn(worst_wait(Rc::clone(&polls))).await.unwrap();
        assert!((1..=8).contains(&usual), "{usual}");
    });
    run(async {
        let polls = crowd(Priority::Normal, CROWD);
        let beside = latency(worst_wait(polls)).await.unwrap();
        assert!(beside >= CROWD as u64, "{beside}");
    });
}

#[test]
fn bulk_has_its_share_beside_a_crowd_and_the_crowd_the_rest() {
    run(async {
        let normal = crowd(Priority::Normal, 70);
        let bulk = crowd(Priority::Bulk, CROWD);
        sleep(Duration::from_millis(50)).await;
        let (normal, bulk) = (normal.get() as f64, bulk.get() as f64);
        let share = bulk / (bulk + normal);
        assert!((0.124..0.14).contains(&share), "{share}");
    });
}

#[test]
fn a_timer_and_a_stream_are_served_beside_bulk_that_computes() {
    run(async {
        for _ in 0..CROWD {
            drop(Builder::new().priority(Priority::Bulk).spawn(async {
                loop {
                    let start = std::time::Instant::now();
                    while start.elapsed() < Duration::from_micros(50) {}
                    yield_now().await;
                }
            }));
        }
        let (stream, peer) = pair_with_std().await;
        let echo = latency(async move {
            while let Some(bytes) = stream.recv().await.unwrap() {
                stream.write_all(bytes).await.0.unwrap();
            }
        });
        let client = std::thread::spawn(move || {
            use std::io::{Read, Write};
            let mut peer = peer;
            let mut best = Duration::MAX;
            for _ in 0..50 {
                let start = std::time::Instant::now();
                peer.write_all(&[7; 16]).unwrap();
                peer.read_exact(&mut [0; 16]).unwrap();
                best = best.min(start.elapsed());
            }
            best
        });
        let mut late = Duration::MAX;
        for _ in 0..20 {
            let due = Instant::now() + Duration::from_millis(1);
            latency(sleep(Duration::from_millis(1))).await.unwrap();
            late = late.min(Instant::now().duration_since(due));
        }
        echo.await.unwrap();
        let round_trip = client.join().unwrap();
        // All of the crowd takes 50 ms. The best of many: other programs may hold the processor.
        let bound = Duration::from_millis(10);
        assert!(
            late < bound && round_trip < bound,
            "{late:?} {round_trip:?}"
        );
    });
}
