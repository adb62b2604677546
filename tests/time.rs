//! Time: sleeps end when they should, and I/O and timers do not starve each other.

mod common;

use std::cell::Cell;
use std::future::poll_fn;
use std::io::{Read, Write};
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::task::{Context, Poll, Waker};
use std::thread;
use std::time::Duration;

use corering::runtime::{Builder, Spin, stats};
use corering::spawn;
use corering::task::{JoinSet, yield_now};
use corering::time::{Instant, MissedTickBehavior, interval, sleep, sleep_until, timeout};

use common::{pair_with_std, pattern, run, spawn_echo_server};

const MS: Duration = Duration::from_millis(1);
/// How late a timer may be where other programs run.
const LATE: Duration = Duration::from_millis(500);

#[test]
fn a_sleep_is_never_short_and_not_much_too_long() {
    run(async {
        for length in [0, 1, 30, 100, 1_000, 10_000, 50_000].map(Duration::from_micros) {
            let start = Instant::now();
            sleep(length).await;
            let slept = start.elapsed();
            assert!(
                slept >= length && slept < length + LATE,
                "{length:?}: {slept:?}"
            );
        }
        let deadline = Instant::now() + 5 * MS;
        sleep_until(deadline).await;
        assert!(Instant::now() >= deadline);
        sleep_until(deadline).await;
    });
}

#[test]
fn sleeps_end_in_the_order_of_their_deadlines() {
    run(async {
        let order = Rc::new(std::cell::RefCell::new(Vec::new()));
        let tasks: Vec<_> = [40_u32, 10, 30, 20]
            .into_iter()
            .map(|length| {
                let order = Rc::clone(&order);
                spawn(async move {
                    sleep(length * MS).await;
                    order.borrow_mut().push(length);
                })
            })
            .collect();
        for task in tasks {
            task.await.unwrap();
        }
        assert_eq!(*order.borrow(), [10, 20, 30, 40]);
        assert_eq!(stats().unwrap().timers, 1, "the one that watches this test");
    });
}

#[test]
fn a_timeout_ends_what_takes_too_long_and_loses_no_byte() {
    run(async {
        let (stream, mut peer) = pair_with_std().await;
        let start = Instant::now();
        assert!(timeout(20 * MS, stream.recv()).await.is_err());
        assert!(start.elapsed() >= 20 * MS);
        let read = stream.read(Vec::with_capacity(10));
        assert!(timeout(5 * MS, read).await.is_err());
        peer.write_all(b"late").unwrap();
        let got = timeout(1_000 * MS, stream.recv()).await.unwrap();
        assert_eq!(&*got.unwrap().unwrap(), b"late");
    });
}

#[test]
fn a_result_beats_its_timer() {
    run(async {
        let (stream, mut peer) = pair_with_std().await;
        for _ in 0..5 {
            let mut waiting = Box::pin(timeout(50 * MS, stream.recv()));
            assert!(
                futures_lite::future::poll_once(&mut waiting)
                    .await
                    .is_none()
            );
            yield_now().await;
            peer.write_all(b"x").unwrap();
            // Both are due when the core looks again.
            thread::sleep(60 * MS);
            let got = waiting.await.expect("the bytes were there in time");
            assert_eq!(&*got.unwrap().unwrap(), b"x");
        }
        assert_eq!(timeout(Duration::ZERO, async { 1 }).await.unwrap(), 1);
    });
}

#[test]
fn an_interval_ticks_and_makes_up_for_what_it_missed() {
    run(async {
        let start = Instant::now();
        let mut every = interval(5 * MS);
        for n in 0..5 {
            every.tick().await;
            assert!(start.elapsed() >= n * 5 * MS);
        }
        thread::sleep(26 * MS);
        let late = Instant::now();
        for _ in 0..5 {
            every.tick().await;
        }
        assert!(late.elapsed() < 4 * MS + LATE, "a burst");
        every.set_missed_tick_behavior(MissedTickBehavior::Skip);
        thread::sleep(26 * MS);
        every.tick().await;
        let next = Instant::now();
        every.tick().await;
        every.tick().await;
        assert!(next.elapsed() >= 4 * MS, "no burst");
    });
}

#[test]
fn timers_fire_while_io_is_busy() {
    run(async {
        let listener = corering::net::TcpListener::bind(common::localhost())
            .await
            .unwrap();
        let address = listener.local_addr().unwrap();
        spawn_echo_server(listener);
        let clients: Vec<_> = (0..8)
            .map(|seed| {
                thread::spawn(move || {
                    let mut client = std::net::TcpStream::connect(address).unwrap();
                    let (message, mut back) = (pattern(seed, 200), [0; 200]);
                    let start = std::time::Instant::now();
                    let mut rounds = 0;
                    while start.elapsed() < Duration::from_millis(600) {
                        client.write_all(&message).unwrap();
                        client.read_exact(&mut back).unwrap();
                        assert!(back[..] == message);
                        rounds += 1;
                    }
                    rounds
                })
            })
            .collect();
        let (mut ticks, mut worst) = (0, Duration::ZERO);
        while !clients.iter().all(thread::JoinHandle::is_finished) {
            let start = Instant::now();
            sleep(5 * MS).await;
            worst = worst.max(start.elapsed());
            ticks += 1;
        }
        assert!(ticks >= 20 && worst < 5 * MS + LATE, "{ticks}, {worst:?}");
        let rounds: u32 = clients.into_iter().map(|c| c.join().unwrap()).sum();
        assert!(rounds > 100, "{rounds}");
    });
}

#[test]
fn timers_fire_while_tasks_are_always_ready() {
    run(async {
        let stop = Rc::new(Cell::new(false));
        let busy = spawn({
            let stop = Rc::clone(&stop);
            async move {
                while !stop.get() {
                    yield_now().await;
                }
            }
        });
        let start = Instant::now();
        sleep(20 * MS).await;
        assert!(start.elapsed() < 20 * MS + LATE);
        stop.set(true);
        busy.await.unwrap();
    });
}

#[test]
fn io_goes_on_while_tasks_are_always_ready() {
    run(async {
        let (stream, mut peer) = pair_with_std().await;
        let busy = spawn(async {
            loop {
                yield_now().await;
            }
        });
        for n in 0..50 {
            peer.write_all(&[n]).unwrap();
            assert_eq!(stream.recv().await.unwrap().unwrap()[..], [n]);
        }
        busy.abort();
    });
}

#[test]
fn timers_fire_on_time_with_and_without_the_spin() {
    for spin in [Spin::Never, Spin::Adaptive, Spin::Always] {
        let runtime = Builder::new().spin(spin).build().unwrap();
        runtime.block_on(async {
            for _ in 0..20 {
                let start = Instant::now();
                sleep(Duration::from_micros(700)).await;
                let slept = start.elapsed();
                assert!(slept >= Duration::from_micros(700) && slept < LATE);
            }
        });
    }
}

#[test]
fn a_million_sleeps_end_in_bounded_time_and_none_too_early() {
    const SLEEPS: u32 = 1_000_000;
    run(async {
        let start = Instant::now();
        let early = Rc::new(Cell::new(0));
        let mut sleeps = JoinSet::new();
        for index in 0..SLEEPS {
            let early = Rc::clone(&early);
            let length = (index % 1000) * MS;
            sleeps.spawn(async move {
                let start = Instant::now();
                sleep(length).await;
                early.set(early.get() + u32::from(start.elapsed() < length));
            });
        }
        let ended = sleeps.join_all().await;
        assert_eq!((ended.len() as u32, early.get()), (SLEEPS, 0));
        let took = start.elapsed();
        assert!(took < Duration::from_secs(60), "{took:?}");
    });
}

/// Both in one, since so many timers take some 400 MB.
#[test]
fn of_ten_million_timers_the_last_are_refused_and_a_sleep_still_ends_on_time() {
    const TIMERS: usize = 10_000_000;
    const LIMIT: usize = 4_194_304;
    run(async {
        // The timer that watches this test is made when it first waits.
        yield_now().await;
        let own = stats().unwrap().timers;
        assert_eq!(own, 1);
        let mut cx = Context::from_waker(Waker::noop());
        let mut sleeps = Vec::with_capacity(LIMIT);
        let mut refused = 0;
        for _ in 0..TIMERS {
            let mut sleep = sleep(Duration::from_secs(1000));
            match Pin::new(&mut sleep).poll_elapsed(&mut cx) {
                Poll::Pending => sleeps.push(sleep),
                Poll::Ready(outcome) => {
                    let error = std::io::Error::from(outcome.unwrap_err());
                    assert_eq!(error.kind(), std::io::ErrorKind::QuotaExceeded);
                    refused += 1;
                }
            }
        }
        assert_eq!(sleeps.len() + own, LIMIT);
        assert_eq!(refused, TIMERS - sleeps.len());
        let start = Instant::now();
        sleep(5 * MS).await;
        assert!(start.elapsed() >= 5 * MS);
        let late = timeout(5 * MS, std::future::pending::<()>()).await;
        assert!(late.is_err());
        drop(sleeps);
        let mut sleep = pin!(sleep(MS));
        assert_eq!(poll_fn(|cx| sleep.as_mut().poll_elapsed(cx)).await, Ok(()));
    });
}
