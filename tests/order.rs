//! Several futures on one stream: first come, first served.

mod common;

use std::cell::{Cell, RefCell};
use std::io::{Read, Write};
use std::net::Shutdown;
use std::rc::Rc;
use std::thread;

use corering::spawn;
use corering::task::yield_now;
use futures_lite::future::{poll_once, zip};

use common::{Random, pair_with_std, pattern, run};

#[test]
fn who_always_finds_something_lets_others_run() {
    run(async {
        let (stream, mut peer) = pair_with_std().await;
        peer.set_nodelay(true).unwrap();
        assert!(poll_once(stream.recv()).await.is_none());
        for _ in 0..300 {
            // In pieces of their own: each is received before the next is sent.
            peer.write_all(b"x").unwrap();
            for _ in 0..3 {
                yield_now().await;
            }
        }
        let taken = Rc::new(Cell::new(0));
        let count = Rc::clone(&taken);
        let reader = spawn(async move {
            while count.get() < 300 {
                count.set(count.get() + stream.recv().await.unwrap().unwrap().len());
            }
        });
        yield_now().await;
        assert!((1..=200).contains(&taken.get()), "{} at once", taken.get());
        reader.await.unwrap();
    });
}

#[test]
fn two_concurrent_readers_are_served_in_order() {
    run(async {
        let (stream, mut peer) = pair_with_std().await;
        let mut first = Box::pin(stream.recv());
        let mut second = Box::pin(stream.read(Vec::with_capacity(10)));
        let mut third = Box::pin(stream.recv());
        assert!(poll_once(&mut first).await.is_none());
        assert!(poll_once(&mut second).await.is_none());
        assert!(poll_once(&mut third).await.is_none());
        peer.write_all(b"one").unwrap();
        for _ in 0..5 {
            yield_now().await;
        }
        // Who is not the first in line does not take it.
        assert!(poll_once(&mut third).await.is_none());
        assert!(poll_once(&mut second).await.is_none());
        assert!(poll_once(stream.recv()).await.is_none());
        assert_eq!(&*first.await.unwrap().unwrap(), b"one");
        peer.write_all(b"two").unwrap();
        assert_eq!(second.await.1, b"two");
        peer.write_all(b"three").unwrap();
        assert_eq!(&*third.await.unwrap().unwrap(), b"three");
    });
}

#[test]
fn a_reader_that_leaves_lets_the_next_one_go() {
    run(async {
        let (stream, mut peer) = pair_with_std().await;
        let stream = Rc::new(stream);
        let mut first = Box::pin(stream.recv());
        assert!(poll_once(&mut first).await.is_none());
        let second = spawn({
            let stream = Rc::clone(&stream);
            async move { stream.recv().await.unwrap().unwrap().to_vec() }
        });
        yield_now().await;
        peer.write_all(b"for whoever is there").unwrap();
        for _ in 0..5 {
            yield_now().await;
        }
        // It was woken for these bytes, and goes without them.
        drop(first);
        assert_eq!(second.await.unwrap(), b"for whoever is there");
    });
}

#[test]
fn tasks_that_share_a_stream_see_its_bytes_in_order() {
    const LEN: usize = 2 << 20;
    run(async {
        let (stream, mut peer) = pair_with_std().await;
        let writer = thread::spawn(move || {
            let (bytes, mut random, mut sent) = (pattern(1, LEN), Random::new(5), 0);
            while sent < LEN {
                let most = if random.below(4) == 0 { 60_000 } else { 2_000 };
                let end = LEN.min(sent + 1 + random.below(most));
                peer.write_all(&bytes[sent..end]).unwrap();
                sent = end;
            }
        });
        let stream = Rc::new(stream);
        let got = Rc::new(RefCell::new(Vec::new()));
        let readers: Vec<_> = (0..4)
            .map(|kind| {
                let (stream, got) = (Rc::clone(&stream), Rc::clone(&got));
                spawn(async move {
                    loop {
                        let part = match kind {
                            0 => stream.recv().await.unwrap().map_or(vec![], |l| l.to_vec()),
                            1 => stream.read(Vec::with_capacity(100)).await.1,
                            _ => stream.read(Vec::with_capacity(64 * 1024)).await.1,
                        };
                        if part.is_empty() {
                            return;
                        }
                        got.borrow_mut().extend_from_slice(&part);
                    }
                })
            })
            .collect();
        for reader in readers {
            reader.await.unwrap();
        }
        writer.join().unwrap();
        let expected = pattern(1, LEN);
        let wrong = got.borrow().iter().zip(&expected).position(|(a, b)| a != b);
        assert_eq!((wrong, got.borrow().len()), (None, LEN));
    });
}

#[test]
fn two_concurrent_writers_do_not_interleave() {
    const FRAME: usize = 150_000;
    run(async {
        let (stream, mut peer) = pair_with_std().await;
        let reader = thread::spawn(move || {
            let mut writers = Vec::new();
            let mut frame = vec![0; FRAME];
            while peer.read_exact(&mut frame).is_ok() {
                assert!(frame.iter().all(|&byte| byte == frame[0]));
                writers.push(frame[0]);
            }
            writers
        });
        let stream = Rc::new(stream);
        let writers: Vec<_> = (0..3_u8)
            .map(|name| {
                let stream = Rc::clone(&stream);
                spawn(async move {
                    for _ in 0..20 {
                        stream.write_all(vec![name; FRAME]).await.0.unwrap();
                    }
                })
            })
            .collect();
        for writer in writers {
            writer.await.unwrap();
        }
        stream.shutdown(Shutdown::Write).await.unwrap();
        let writers = reader.join().unwrap();
        // They take turns, as nobody overtakes.
        assert_eq!(writers, [0, 1, 2].repeat(20));
    });
}

#[test]
fn a_shutdown_waits_for_the_writes_before_it() {
    run(async {
        let (stream, mut peer) = pair_with_std().await;
        let bytes = pattern(3, 4 << 20);
        let mut write = Box::pin(stream.write_all(bytes.clone()));
        assert!(poll_once(&mut write).await.is_none());
        let shutdown = stream.shutdown(Shutdown::Write);
        let reader = thread::spawn(move || {
            let mut got = Vec::new();
            peer.read_to_end(&mut got).unwrap();
            got
        });
        let (shut, (written, _)) = zip(shutdown, write).await;
        shut.unwrap();
        written.unwrap();
        assert!(reader.join().unwrap() == bytes);
    });
}
