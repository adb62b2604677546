//! A runtime that is dropped gives everything back, whatever was going on.
#![allow(unsafe_code)]

mod common;

use std::cell::Cell;
use std::io::{Read, Write};
use std::sync::mpsc;
use std::task::{Context, Poll, Waker};
use std::thread;
use std::time::{Duration, Instant};

use corering::fs::File;
use corering::net::{TcpListener, TcpStream};
use corering::runtime::{Builder, nop, stats};
use corering::task::{spawn_blocking, yield_now};
use corering::time::{interval, sleep, timeout};
use corering::{IoBuf, IoBufMut, Runtime, spawn};
use futures_lite::future::{pending, poll_once};

use common::{alone, descriptors, errno, localhost, pair, pair_with_std, pattern};

thread_local! {
    /// Buffers of this thread that are there.
    static ALIVE: Cell<usize> = const { Cell::new(0) };
}

/// A buffer that is counted while it is there.
#[derive(Debug)]
struct Counted(Vec<u8>);

impl Counted {
    fn new(len: usize) -> Counted {
        ALIVE.set(ALIVE.get() + 1);
        Counted(vec![0; len])
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        ALIVE.set(ALIVE.get() - 1);
    }
}

// SAFETY: the parts are those of the vector, which keeps both promises.
unsafe impl IoBuf for Counted {
    fn parts(&self) -> (*const u8, usize) {
        self.0.parts()
    }
}

// SAFETY: as above.
unsafe impl IoBufMut for Counted {
    fn parts_mut(&mut self) -> (*mut u8, usize) {
        self.0.parts_mut()
    }

    unsafe fn set_init(&mut self, n: usize) {
        // SAFETY: the caller's promise is the same.
        unsafe { self.0.set_init(n) }
    }
}

/// Tasks that wait for all there is to wait for, and some of it abandoned.
async fn all_that_there_is() {
    let listener = TcpListener::bind(localhost()).await.unwrap();
    spawn(async move { listener.accept().await.map(drop) });
    let (reader, peer) = pair().await;
    spawn(async move {
        let _peer = peer;
        reader.recv().await.map(drop)
    });
    let (reader, peer) = pair().await;
    spawn(async move {
        let _peer = peer;
        reader.read(Counted::new(100)).await.0
    });
    // One whose buffer the kernel has.
    let (reader, mut peer) = pair_with_std().await;
    peer.write_all(&[1; 16 * 1024]).unwrap();
    spawn(async move {
        let _peer = peer;
        loop {
            reader.read(Counted::new(64 * 1024)).await.0.unwrap();
        }
    });
    let (writer, peer) = pair().await;
    spawn(async move {
        let _peer = peer;
        writer.write_all(Counted::new(16 << 20)).await.0
    });
    let (writer, peer) = pair().await;
    let mut committed = Box::pin(writer.write_all(Counted::new(16 << 20)));
    assert!(poll_once(&mut committed).await.is_none());
    drop(committed);
    drop(writer);
    spawn(async move {
        let _peer = peer;
        pending::<()>().await;
    });
    spawn(async {
        let file = File::open("/proc/self/maps").await.unwrap();
        loop {
            file.read_at(Counted::new(4096), 0).await.0.unwrap();
        }
    });
    spawn(async {
        loop {
            nop().await.unwrap();
        }
    });
    spawn(async { timeout(Duration::from_secs(9), sleep(Duration::from_secs(10))).await });
    spawn(async { interval(Duration::from_millis(1)).tick().await });
    spawn(async { spawn_blocking(|| 1).await.unwrap() });
}

#[test]
fn everything_comes_back() {
    alone(|| {
        let before = descriptors();
        for round in 0..30 {
            let runtime = Runtime::new().unwrap();
            runtime.block_on(async {
                all_that_there_is().await;
                for _ in 0..round {
                    yield_now().await;
                }
                if round % 5 == 4 {
                    sleep(Duration::from_millis(3)).await;
                }
            });
            drop(runtime);
            assert_eq!(ALIVE.get(), 0, "buffers in round {round}");
            assert_eq!(descriptors(), before, "descriptors in round {round}");
        }
    });
}

#[test]
fn everything_comes_back_through_small_queues() {
    alone(|| {
        let before = descriptors();
        for _ in 0..5 {
            let builder = Builder::new().ring_entries(2).completion_entries(4);
            let runtime = builder.build().unwrap();
            runtime.block_on(async {
                for _ in 0..5 {
                    all_that_there_is().await;
                }
                sleep(Duration::from_millis(2)).await;
            });
            drop(runtime);
            assert_eq!((ALIVE.get(), descriptors()), (0, before));
        }
    });
}

#[test]
fn what_was_committed_when_the_runtime_ends_is_sent() {
    let runtime = Runtime::new().unwrap();
    let mut peer = runtime.block_on(async {
        let (stream, peer) = pair_with_std().await;
        let mut write = Box::pin(stream.write_all("last words"));
        assert!(poll_once(&mut write).await.is_none());
        peer
    });
    drop(runtime);
    let mut text = String::new();
    peer.read_to_string(&mut text).unwrap();
    assert_eq!(text, "last words");
}

#[test]
fn streams_files_and_leases_may_outlive_their_runtime() {
    alone(|| {
        let before = descriptors();
        let runtime = Runtime::new().unwrap();
        let left = runtime.block_on(async {
            let (stream, mut peer) = pair_with_std().await;
            peer.write_all(b"first").unwrap();
            let lease = stream.recv().await.unwrap().unwrap();
            peer.write_all(b"second").unwrap();
            assert_eq!(stream.fill_buf().await.unwrap().len(), 6);
            let listener = TcpListener::bind(localhost()).await.unwrap();
            let file = File::open("/proc/self/maps").await.unwrap();
            (stream, peer, lease, listener, file)
        });
        let spare = runtime.block_on(pair());
        drop(runtime);
        let (stream, mut peer, lease, listener, file) = left;
        assert_eq!(&lease[..], b"first");
        let other = Runtime::new().unwrap();
        other.block_on(async {
            timeout(Duration::from_secs(20), async {
                // What had come is still there.
                assert_eq!(&*stream.recv().await.unwrap().unwrap(), b"second");
                for _ in 0..2 {
                    assert_eq!(errno(stream.recv().await), libc::ECANCELED);
                    let (n, buf) = stream.read(vec![0; 9]).await;
                    assert_eq!((errno(n), buf.capacity()), (libc::ECANCELED, 9));
                    assert_eq!(errno(stream.fill_buf().await), libc::ECANCELED);
                    assert_eq!(errno(stream.fill_more().await), libc::ECANCELED);
                    let (n, buf) = stream.write_all("text").await;
                    assert_eq!((errno(n), buf), (libc::ECANCELED, "text"));
                    let accepted = listener.accept().await.map(drop);
                    assert_eq!(errno(accepted), libc::ECANCELED);
                    let (n, buf) = file.read_at(vec![0; 9], 0).await;
                    assert_eq!((errno(n), buf.len()), (libc::ECANCELED, 9));
                    assert_eq!(errno(file.sync_all().await), libc::ECANCELED);
                }
                let (read, _write) = spare.0.into_split();
                assert_eq!(errno(read.recv().await), libc::ECANCELED);
            })
            .await
            .expect("nothing waits for what never comes");
            // And its own work is untouched.
            nop().await.unwrap();
            assert!(stats().unwrap().in_flight <= 1);
        });
        drop((stream, listener, file, spare.1));
        assert_eq!(peer.read(&mut [0]).unwrap(), 0, "closed plainly");
        drop((peer, lease, other));
        assert_eq!(descriptors(), before);
    });
}

/// Does what a destructor may think of when its runtime ends.
struct Restless {
    stream: Option<TcpStream>,
    tell: mpsc::Sender<String>,
}

impl Drop for Restless {
    fn drop(&mut self) {
        let tell = |text: String| self.tell.send(text).unwrap();
        let stream = self.stream.take().unwrap();
        let mut write = Box::pin(stream.write_all(Counted::new(10)));
        let mut cx = Context::from_waker(Waker::noop());
        match write.as_mut().poll(&mut cx) {
            Poll::Ready((n, buf)) => tell(format!("{} {}", errno(n), buf.0.len())),
            Poll::Pending => tell("pending".into()),
        }
        let mut recv = Box::pin(stream.recv());
        // It is told that nothing will come, and asked again.
        let polls = [recv.as_mut().poll(&mut cx), recv.as_mut().poll(&mut cx)];
        match polls.into_iter().find(Poll::is_ready) {
            Some(Poll::Ready(received)) => tell(errno(received).to_string()),
            _ => tell("pending".into()),
        }
        let handle = spawn(async {});
        handle.abort();
        drop(handle);
    }
}

#[test]
fn a_destructor_that_does_io_while_the_runtime_ends_is_refused() {
    let (tell, told) = mpsc::channel();
    let runtime = Runtime::new().unwrap();
    runtime.block_on(async {
        let (stream, _peer) = pair().await;
        let restless = Restless {
            stream: Some(stream),
            tell,
        };
        spawn(async move {
            let _restless = restless;
            pending::<()>().await;
        });
        yield_now().await;
    });
    drop(runtime);
    let canceled = libc::ECANCELED;
    let said: Vec<_> = told.iter().collect();
    assert_eq!(said, [format!("{canceled} 10"), format!("{canceled}")]);
    assert_eq!(ALIVE.get(), 0);
}

#[test]
fn a_runtime_ends_when_its_thread_does() {
    alone(|| {
        let before = descriptors();
        thread_local! {
            static KEPT: Cell<Option<(Runtime, TcpStream)>> = const { Cell::new(None) };
        }
        let own = thread::spawn(|| {
            let runtime = Runtime::new().unwrap();
            let stream = runtime.block_on(async {
                all_that_there_is().await;
                let (stream, _) = pair().await;
                assert!(poll_once(stream.recv()).await.is_none());
                stream
            });
            KEPT.set(Some((runtime, stream)));
        });
        own.join().unwrap();
        let start = Instant::now();
        while descriptors() != before {
            assert!(start.elapsed() < Duration::from_secs(20));
            thread::sleep(Duration::from_millis(1));
        }
    });
}

#[test]
fn a_runtime_may_end_after_the_thread_locals_of_the_crate() {
    thread_local! {
        static KEPT: Kept = const { Kept(Cell::new(None)) };
    }
    /// Ends a runtime when its thread does, and says whether that panics.
    struct Kept(Cell<Option<(Runtime, mpsc::Sender<bool>)>>);
    impl Drop for Kept {
        fn drop(&mut self) {
            if let Some((runtime, said)) = self.0.take() {
                let end = || drop((stats(), runtime));
                let ended = std::panic::catch_unwind(std::panic::AssertUnwindSafe(end));
                said.send(ended.is_ok()).unwrap();
            }
        }
    }
    let (say, said) = mpsc::channel();
    let own = thread::spawn(|| {
        // Made first, so that it is destroyed last.
        KEPT.with(|_| ());
        let runtime = Runtime::new().unwrap();
        runtime.block_on(all_that_there_is());
        KEPT.with(|kept| kept.0.set(Some((runtime, say))));
    });
    own.join().unwrap();
    assert_eq!(said.recv(), Ok(true));
    assert_eq!(ALIVE.get(), 0);
}

#[test]
fn a_large_message_on_its_way_does_not_hold_up_the_end() {
    const LEN: usize = 8 << 20;
    let bytes = pattern(1, LEN);
    let runtime = Runtime::new().unwrap();
    let mut peer = runtime.block_on(async {
        let (stream, peer) = pair_with_std().await;
        let mut write = Box::pin(stream.write_all(bytes.clone()));
        assert!(poll_once(&mut write).await.is_none());
        yield_now().await;
        peer
    });
    let start = Instant::now();
    drop(runtime);
    let waited = start.elapsed();
    assert!(waited < Duration::from_secs(10), "{waited:?}");
    let mut got = Vec::new();
    let _ = peer.read_to_end(&mut got);
    assert!(got.len() < LEN && got == bytes[..got.len()]);
}
