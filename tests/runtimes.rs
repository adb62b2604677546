//! Several runtimes on one thread: each op stays with its own.

mod common;

use std::io::Write;
use std::time::Duration;

use corering::Runtime;
use corering::net::{TcpListener, TcpStream};
use corering::runtime::{nop, stats};
use corering::task::yield_now;
use corering::time::{sleep, timeout};
use futures_lite::future::poll_once;

use common::{localhost, pair_with_std, pattern, read_exactly};

/// Turns a runtime's loop.
fn turn(runtime: &Runtime) {
    runtime.block_on(async {
        for _ in 0..5 {
            yield_now().await;
        }
    });
}

#[test]
fn one_after_the_other_they_are_as_good_as_new() {
    for seed in 0..50 {
        let runtime = Runtime::new().unwrap();
        runtime.block_on(async {
            let (stream, mut peer) = pair_with_std().await;
            peer.write_all(&pattern(seed, 100)).unwrap();
            assert!(read_exactly(&stream, 100).await == pattern(seed, 100));
        });
    }
}

#[test]
fn in_turns_each_has_its_own_streams() {
    let (one, other) = (Runtime::new().unwrap(), Runtime::new().unwrap());
    let (mut first, mut second) = (
        one.block_on(pair_with_std()),
        other.block_on(pair_with_std()),
    );
    for seed in 0..50 {
        first.1.write_all(&pattern(seed, 500)).unwrap();
        second.1.write_all(&pattern(seed + 1_000, 500)).unwrap();
        let got = one.block_on(read_exactly(&first.0, 500));
        assert!(got == pattern(seed, 500));
        let got = other.block_on(read_exactly(&second.0, 500));
        assert!(got == pattern(seed + 1_000, 500));
    }
}

#[test]
fn a_stream_used_in_the_other_runtime_waits_for_its_own() {
    let (one, other) = (Runtime::new().unwrap(), Runtime::new().unwrap());
    let (mut first, mut second) = (
        one.block_on(pair_with_std()),
        other.block_on(pair_with_std()),
    );
    // The same slot and generation in either, so that a mixed-up table would not be noticed by it.
    let mut foreign = Box::pin(first.0.recv());
    let mut own = Box::pin(second.0.recv());
    other.block_on(async {
        assert!(poll_once(&mut foreign).await.is_none());
        assert!(poll_once(&mut own).await.is_none());
        let before = stats().unwrap();
        first.1.write_all(b"first").unwrap();
        second.1.write_all(b"second").unwrap();
        assert_eq!(&*own.await.unwrap().unwrap(), b"second");
        assert!(poll_once(&mut foreign).await.is_none());
        assert!(stats().unwrap().cqes > before.cqes);
    });
    turn(&one);
    let lease = other.block_on(timeout(Duration::from_secs(20), foreign));
    assert_eq!(&*lease.unwrap().unwrap().unwrap(), b"first");
}

#[test]
fn futures_dropped_in_the_other_runtime_lose_nothing() {
    let (one, other) = (Runtime::new().unwrap(), Runtime::new().unwrap());
    let (stream, mut peer) = one.block_on(pair_with_std());
    for seed in 0..20 {
        let message = pattern(seed, 16 * 1024);
        other.block_on(async {
            assert!(poll_once(stream.read(vec![0; 32 * 1024])).await.is_none());
            assert!(poll_once(stream.recv()).await.is_none());
        });
        peer.write_all(&message).unwrap();
        if seed % 2 == 0 {
            turn(&other);
        }
        let got = one.block_on(read_exactly(&stream, message.len()));
        assert!(got == message, "{seed}");
    }
    turn(&one);
    // A receive that is armed, and in either the wait for wake-ups.
    assert!(one.stats().in_flight <= 2);
    assert!(other.stats().in_flight <= 1);
}

#[test]
fn a_runtime_inside_another_one_s_task_is_refused_but_may_be_built_and_dropped() {
    let outer = Runtime::new().unwrap();
    outer.block_on(async {
        let inner = Runtime::new().unwrap();
        let nested = std::panic::AssertUnwindSafe(|| inner.block_on(async {}));
        let panic = std::panic::catch_unwind(nested).unwrap_err();
        let text = panic.downcast_ref::<&str>().copied().map(str::to_owned);
        let text = text.or_else(|| panic.downcast_ref::<String>().cloned());
        assert!(text.unwrap().contains("inside a corering runtime"));
        drop(inner);
        // Whose turn it is has not changed.
        nop().await.unwrap();
        sleep(Duration::from_millis(1)).await;
        assert!(TcpListener::bind(localhost()).await.is_ok());
        assert!(stats().unwrap().cqes > 0);
    });
}

#[test]
fn outside_of_a_runtime_there_is_a_clear_error() {
    let mut bind = Box::pin(TcpListener::bind(localhost()));
    let mut connect = Box::pin(TcpStream::connect(localhost()));
    let errors = [
        futures_lite::future::block_on(&mut bind)
            .map(drop)
            .unwrap_err(),
        futures_lite::future::block_on(&mut connect)
            .map(drop)
            .unwrap_err(),
        futures_lite::future::block_on(nop()).unwrap_err(),
    ];
    for error in errors {
        assert_eq!(error.kind(), std::io::ErrorKind::NotConnected);
        assert!(error.to_string().contains("no corering runtime"), "{error}");
    }
}

#[test]
fn runtimes_of_several_threads_do_not_meet() {
    let threads: Vec<_> = (0..4)
        .map(|seed| {
            std::thread::spawn(move || {
                common::run(async move {
                    let (stream, mut peer) = pair_with_std().await;
                    for n in 0..50 {
                        peer.write_all(&pattern(seed + n, 3_000)).unwrap();
                        let got = read_exactly(&stream, 3_000).await;
                        assert!(got == pattern(seed + n, 3_000));
                    }
                });
            })
        })
        .collect();
    for thread in threads {
        thread.join().unwrap();
    }
}
