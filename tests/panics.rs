//! A panic in user code ends what it belongs to, and nothing else.
#![allow(unsafe_code)]

mod common;

use std::cell::Cell;
use std::future::{Future, pending, poll_fn};
use std::io::Write;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::pin;
use std::rc::Rc;
use std::task::{Context, Poll, RawWakerVTable, Waker};
use std::time::Duration;

use corering::buffers::{IoBuf, IoBufMut};
use corering::net::TcpStream;
use corering::runtime::stats;
use corering::task::yield_now;
use corering::time::{sleep, timeout};
use corering::{Runtime, spawn};

use common::{alone, buffers_are_large, pair, pair_with_std, pattern, read_exactly, run, until};

/// Panics when it is dropped.
struct Bomb(&'static str);

impl Drop for Bomb {
    fn drop(&mut self) {
        panic!("{}", self.0);
    }
}

/// A buffer that panics when one of its methods is called once too often.
#[derive(Debug)]
struct Fragile {
    bytes: Vec<u8>,
    parts_left: Cell<u32>,
    init_left: u32,
}

impl Fragile {
    fn new(len: usize, parts_left: u32, init_left: u32) -> Fragile {
        Fragile {
            bytes: vec![0; len],
            parts_left: Cell::new(parts_left),
            init_left,
        }
    }

    fn ask(&self) {
        let left = self.parts_left.get().checked_sub(1);
        self.parts_left.set(left.expect("fragile: parts"));
    }
}

// SAFETY: where it answers at all it answers as its `Vec` does.
unsafe impl IoBuf for Fragile {
    fn parts(&self) -> (*const u8, usize) {
        self.ask();
        self.bytes.parts()
    }
}

// SAFETY: as above.
unsafe impl IoBufMut for Fragile {
    fn parts_mut(&mut self) -> (*mut u8, usize) {
        self.ask();
        self.bytes.parts_mut()
    }

    unsafe fn set_init(&mut self, n: usize) {
        self.init_left = self.init_left.checked_sub(1).expect("fragile: init");
        // SAFETY: the caller's promise is the same.
        unsafe { self.bytes.set_init(n) }
    }
}

/// Whether the two ends can still talk, in both directions.
async fn still_talk(a: &TcpStream, b: &TcpStream) {
    for (from, to) in [(a, b), (b, a), (a, b)] {
        from.write_all("hello").await.0.expect("written");
        assert_eq!(read_exactly(to, 5).await, b"hello");
    }
}

#[test]
fn a_task_that_panics_says_so_and_the_others_go_on() {
    run(async {
        let (a, b) = pair().await;
        let other = spawn(async move {
            for _ in 0..10 {
                yield_now().await;
            }
            still_talk(&a, &b).await;
            5
        });
        let number = stats().unwrap().tasks;
        let task = spawn(async move { panic!("task {number} of it") });
        drop(spawn(async { panic!("nobody waits for this one") }));
        let error: corering::task::JoinError = task.await.unwrap_err();
        assert!(error.is_panic() && !error.is_cancelled() && !error.is_refused());
        assert_eq!(error.to_string(), "the task panicked: task 2 of it");
        let payload = error.into_panic();
        assert_eq!(payload.downcast_ref::<String>().unwrap(), "task 2 of it");
        assert_eq!(other.await.unwrap(), 5);
        assert_eq!(stats().unwrap().tasks, 1, "the main one");
    });
}

#[test]
fn a_future_that_panics_when_it_is_dropped_says_so() {
    run(async {
        let task = spawn(async {
            let _bomb = Bomb("boom");
            pending::<()>().await;
        });
        yield_now().await;
        task.abort();
        let error = task.await.unwrap_err();
        assert!(error.is_panic(), "{error}");
        assert!(error.to_string().contains("boom"), "{error}");
        let detached = spawn(async {
            let _bomb = Bomb("unheard");
            yield_now().await;
        });
        drop(detached);
        sleep(Duration::from_millis(2)).await;
        assert_eq!(stats().unwrap().tasks, 1, "the main one");
    });
}

#[test]
fn futures_that_panic_when_the_runtime_drops_them_do_not_keep_it_from_ending() {
    let runtime = Runtime::new().unwrap();
    let (a, b) = runtime.block_on(pair());
    let handles = runtime.block_on(async {
        let waits = spawn(async move {
            let _bomb = Bomb("boom");
            b.recv().await.map(drop)
        });
        let sleeps = spawn(async {
            let _bomb = Bomb("boom");
            sleep(Duration::from_secs(60)).await;
            Ok(())
        });
        yield_now().await;
        [waits, sleeps]
    });
    drop(runtime);
    for handle in handles {
        let error = futures_lite::future::block_on(handle).unwrap_err();
        assert!(error.is_panic(), "{error}");
    }
    drop(a);
    run(async { still_talk_anew().await });
}

async fn still_talk_anew() {
    let (a, b) = pair().await;
    still_talk(&a, &b).await;
}

#[test]
fn a_panic_of_the_main_future_goes_on_in_the_caller_and_the_runtime_ends_well() {
    let runtime = Runtime::new().unwrap();
    let dropped = Rc::new(Cell::new(false));
    struct Note(Rc<Cell<bool>>);
    impl Drop for Note {
        fn drop(&mut self) {
            self.0.set(true);
        }
    }
    let note = Note(Rc::clone(&dropped));
    let panicked = catch_unwind(AssertUnwindSafe(|| {
        runtime.block_on(async {
            let (a, b) = pair().await;
            spawn(async move {
                let _note = note;
                a.recv().await.map(drop)
            });
            yield_now().await;
            let _ends = b;
            std::panic::panic_any(42_u8);
        })
    }));
    assert_eq!(panicked.unwrap_err().downcast_ref(), Some(&42_u8));
    // It is no worse for it.
    runtime.block_on(still_talk_anew());
    drop(runtime);
    assert!(dropped.get(), "its tasks are dropped");
    run(async { still_talk_anew().await });
}

#[test]
fn a_write_whose_buffer_panics_leaves_the_stream_usable() {
    run(async {
        let (a, b) = pair().await;
        let (a, b) = (Rc::new(a), Rc::new(b));
        for how in 0..4 {
            let stream = Rc::clone(&a);
            let task = spawn(async move {
                let buf = Fragile::new(100, 0, 0);
                match how {
                    0 => stream.write_all(buf).await.0,
                    1 => stream.write(buf).await.0.map(drop),
                    2 => stream.write_vectored([buf]).await.0.map(drop),
                    _ => stream.write_zero_copy(buf).await.0.map(drop),
                }
            });
            let error = task.await.unwrap_err();
            assert!(
                error.to_string().contains("fragile: parts"),
                "{how}: {error}"
            );
            still_talk(&a, &b).await;
        }
        let before = stats().unwrap();
        assert!(
            before.in_flight <= 3,
            "two receives and the kick: {before:?}"
        );
        assert!(before.orphans <= 1, "no slot is left: {before:?}");
    });
}

/// A waker that panics when it is cloned.
fn fragile_waker() -> Waker {
    static TABLE: RawWakerVTable =
        RawWakerVTable::new(|_| panic!("fragile: clone"), |_| {}, |_| {}, |_| {});
    // SAFETY: none of the functions uses the pointer.
    unsafe { Waker::new(std::ptr::null(), &TABLE) }
}

/// Polls `future` with a waker that panics, which is to reach the caller.
fn poll_with_fragile_waker(future: impl Future) {
    let mut future = pin!(future);
    let waker = fragile_waker();
    let polled = catch_unwind(AssertUnwindSafe(|| {
        future
            .as_mut()
            .poll(&mut Context::from_waker(&waker))
            .is_ready()
    }));
    assert!(polled.is_err(), "it does not wait without a waker");
}

#[test]
fn a_stream_whose_waker_panics_when_it_is_cloned_stays_usable() {
    run(async {
        let (a, b) = pair().await;
        poll_with_fragile_waker(a.recv());
        poll_with_fragile_waker(a.read(vec![0; 100]));
        poll_with_fragile_waker(a.write_all(b"all".to_vec()));
        poll_with_fragile_waker(a.write(b"once".to_vec()));
        poll_with_fragile_waker(a.write_vectored([b"several".to_vec()]));
        poll_with_fragile_waker(a.write_zero_copy(b"zero".to_vec()));
        still_talk(&a, &b).await;
        still_talk(&b, &a).await;
    });
}

#[test]
fn writes_in_line_behind_one_whose_buffer_panics_go_on() {
    run(async {
        let (stream, mut peer) = pair_with_std().await;
        let stream = Rc::new(stream);
        // Fills the socket, so that the others stand in line.
        let long = vec![1; 16 << 20];
        let tasks = [None, Some(0), None].map(|fragile| {
            let (stream, long) = (Rc::clone(&stream), long.clone());
            spawn(async move {
                match fragile {
                    Some(parts) => stream.write_all(Fragile::new(10, parts, 0)).await.0,
                    None => stream.write_all(long).await.0,
                }
            })
        });
        yield_now().await;
        drop(stream);
        let reader = std::thread::spawn(move || {
            peer.flush().unwrap();
            std::io::copy(&mut peer, &mut std::io::sink()).unwrap()
        });
        let [first, second, third] = tasks;
        first.await.unwrap().unwrap();
        assert!(second.await.unwrap_err().is_panic());
        third.await.unwrap().unwrap();
        until("the peer has all", || reader.is_finished()).await;
        assert_eq!(reader.join().unwrap(), 2 * (16 << 20));
    });
}

/// A pair whose first end receives straight into large buffers.
async fn direct_pair() -> (Rc<TcpStream>, TcpStream) {
    let (stream, peer) = pair().await;
    let large = pattern(1, 32 * 1024);
    for _ in 0..4 {
        peer.write_all(large.clone()).await.0.unwrap();
        assert!(read_exactly(&stream, large.len()).await == large);
    }
    (Rc::new(stream), peer)
}

/// How a read ended whose buffer is `buf`, and for which `bytes` come.
async fn read_fragile(stream: &Rc<TcpStream>, peer: &TcpStream, buf: Fragile, bytes: &str) {
    let reader = Rc::clone(stream);
    let task = spawn(async move { reader.read(buf).await.0 });
    sleep(Duration::from_millis(5)).await;
    peer.write_all(bytes.to_owned()).await.0.unwrap();
    let error = task.await.unwrap_err();
    assert!(error.to_string().contains("fragile: "), "{error}");
}

#[test]
fn a_read_whose_buffer_panics_leaves_the_stream_usable() {
    run(async {
        let (a, b) = pair().await;
        let (a, b) = (Rc::new(a), b);
        // Asked for its room, then told its length.
        read_fragile(&a, &b, Fragile::new(64, 0, 0), "").await;
        still_talk(&a, &b).await;
        read_fragile(&a, &b, Fragile::new(64, 9, 0), "taken").await;
        still_talk(&a, &b).await;
    });
}

#[test]
fn a_direct_read_whose_buffer_panics_leaves_the_stream_usable() {
    alone(|| {
        if !buffers_are_large() {
            return println!("skipped: reads are never direct on this kernel");
        }
        run(async {
            // Asked for its room, asked again when it is lent to the kernel, told its length.
            for (parts, init) in [(0, 0), (1, 0), (9, 0)] {
                let (a, b) = direct_pair().await;
                let bytes = if parts == 9 { "taken" } else { "" };
                let buf = Fragile::new(32 * 1024, parts, init);
                let ended = timeout(Duration::from_secs(20), read_fragile(&a, &b, buf, bytes));
                ended.await.expect("the read panics");
                let talk = timeout(Duration::from_secs(20), still_talk(&a, &b));
                talk.await
                    .unwrap_or_else(|_| panic!("silent after panic {parts}"));
            }
        });
    });
}

#[test]
fn a_dropped_direct_read_whose_buffer_panics_leaves_the_stream_usable() {
    alone(|| {
        if !buffers_are_large() {
            return println!("skipped: reads are never direct on this kernel");
        }
        run(async {
            let (a, b) = direct_pair().await;
            let stream = Rc::clone(&a);
            let task = spawn(async move {
                // Asked a third time when what it brought is put aside for the next reader.
                let mut read = Box::pin(stream.read(Fragile::new(32 * 1024, 2, 0)));
                let once = poll_fn(|cx| Poll::Ready(read.as_mut().poll(cx).is_pending()));
                assert!(once.await, "nothing was sent");
                sleep(Duration::from_millis(5)).await;
                assert!(poll_fn(|cx| Poll::Ready(read.as_mut().poll(cx).is_pending())).await);
                b.write_all("taken").await.0.unwrap();
                sleep(Duration::from_millis(5)).await;
                let dropped = catch_unwind(AssertUnwindSafe(|| drop(read)));
                assert!(dropped.is_err(), "the buffer was asked");
                b
            });
            let b = task.await.unwrap();
            let talk = timeout(Duration::from_secs(20), still_talk(&a, &b)).await;
            talk.expect("the stream goes on");
        });
    });
}

/// A buffer that panics when it is dropped, and has real bytes.
struct Explosive(Vec<u8>, #[expect(dead_code, reason = "dropped")] Bomb);

// SAFETY: it answers as its `Vec` does.
unsafe impl IoBuf for Explosive {
    fn parts(&self) -> (*const u8, usize) {
        self.0.parts()
    }
}

#[test]
fn a_buffer_that_panics_when_a_committed_write_drops_it_harms_nobody() {
    run(async {
        let (a, b) = pair().await;
        let buf = Explosive(pattern(4, 8 << 20), Bomb("the buffer"));
        let late = timeout(Duration::from_millis(10), a.write_all(buf)).await;
        assert!(late.is_err(), "8 MiB do not fit into the socket");
        assert!(read_exactly(&b, 8 << 20).await == pattern(4, 8 << 20));
        still_talk(&a, &b).await;
        let after = stats().unwrap();
        assert!(after.orphans <= 1, "only what waits for a kick: {after:?}");
    });
}
