//! The two directions of a stream end one by one.

mod common;

use std::io::{Read, Write};
use std::net::Shutdown;
use std::thread;
use std::time::Duration;

use corering::net::OwnedReadHalf;
use corering::runtime::stats;
use corering::task::yield_now;
use futures_lite::future::poll_once;

use common::{asleep_once, errno, pair_with_std, pattern, run, until};

const PATIENCE: Duration = Duration::from_secs(20);

#[test]
fn the_end_of_the_stream_stays_and_writing_goes_on() {
    run(async {
        let (stream, mut peer) = pair_with_std().await;
        peer.write_all(b"last").unwrap();
        peer.shutdown(Shutdown::Write).unwrap();
        assert_eq!(&*stream.recv().await.unwrap().unwrap(), b"last");
        let submitted = stats().unwrap().sqes;
        for _ in 0..5 {
            assert!(stream.recv().await.unwrap().is_none());
            let (n, buf) = stream.read(Vec::with_capacity(10)).await;
            assert_eq!((n.unwrap(), buf.len()), (0, 0));
            assert!(stream.fill_buf().await.unwrap().is_empty());
        }
        assert!(
            stats().unwrap().sqes <= submitted + 1,
            "the end is not asked for again"
        );
        let bytes = pattern(1, 1 << 20);
        let reader = thread::spawn(move || {
            let mut got = vec![0; 1 << 20];
            peer.read_exact(&mut got).unwrap();
            got
        });
        let (written, bytes) = stream.write_all(bytes).await;
        written.unwrap();
        assert!(reader.join().unwrap() == bytes);
    });
}

#[test]
fn after_a_shutdown_the_peer_sees_the_end_and_reading_goes_on() {
    run(async {
        let (stream, mut peer) = pair_with_std().await;
        stream.write_all("bye").await.0.unwrap();
        stream.shutdown(Shutdown::Write).await.unwrap();
        let mut text = String::new();
        peer.read_to_string(&mut text).unwrap();
        assert_eq!(text, "bye");
        let (written, buf) = stream.write_all("more").await;
        assert_eq!((errno(written), buf), (libc::EPIPE, "more"));
        assert_eq!(errno(stream.write("more").await.0), libc::EPIPE);
        peer.write_all(b"still here").unwrap();
        assert_eq!(&*stream.recv().await.unwrap().unwrap(), b"still here");
    });
}

#[test]
fn a_shutdown_of_the_read_side_ends_it() {
    run(async {
        let (stream, mut peer) = pair_with_std().await;
        let mut waiting = Box::pin(stream.recv());
        assert!(poll_once(&mut waiting).await.is_none());
        yield_now().await;
        stream.shutdown(Shutdown::Read).await.unwrap();
        assert!(waiting.await.unwrap().is_none());
        stream.write_all("on").await.0.unwrap();
        let mut two = [0; 2];
        peer.read_exact(&mut two).unwrap();
    });
}

#[test]
fn dropping_the_write_half_shuts_down_after_its_committed_send() {
    run(async {
        let (stream, mut peer) = pair_with_std().await;
        peer.set_read_timeout(Some(PATIENCE)).unwrap();
        let (read, write) = stream.into_split();
        let bytes = pattern(2, 4 << 20);
        let mut writing = Box::pin(write.write_all(bytes.clone()));
        assert!(poll_once(&mut writing).await.is_none());
        yield_now().await;
        drop(writing);
        drop(write);
        let reader = thread::spawn(move || {
            let mut got = Vec::new();
            peer.read_to_end(&mut got).unwrap();
            peer.write_all(b"thanks").unwrap();
            (got, peer)
        });
        assert_eq!(&*read.recv().await.unwrap().unwrap(), b"thanks");
        let (got, _peer) = reader.join().unwrap();
        assert!(got == bytes);
    });
}

#[test]
fn dropping_an_idle_write_half_shuts_down_at_once() {
    run(async {
        let (stream, mut peer) = pair_with_std().await;
        peer.set_read_timeout(Some(PATIENCE)).unwrap();
        let (read, write) = stream.into_split();
        write.write_all("all").await.0.unwrap();
        drop(write);
        let mut text = String::new();
        peer.read_to_string(&mut text).unwrap();
        assert_eq!(text, "all");
        peer.write_all(b"and back").unwrap();
        assert_eq!(&*read.recv().await.unwrap().unwrap(), b"and back");
    });
}

#[test]
fn dropping_the_read_half_ends_its_receive_and_writing_goes_on() {
    run(async {
        let (stream, mut peer) = pair_with_std().await;
        let (read, write) = stream.into_split();
        assert!(poll_once(read.recv()).await.is_none());
        asleep_once().await;
        let armed = stats().unwrap().in_flight;
        drop(read);
        until("the receive has ended", || {
            stats().unwrap().in_flight < armed
        })
        .await;
        write.write_all("hello").await.0.unwrap();
        let mut text = [0; 5];
        peer.read_exact(&mut text).unwrap();
        assert_eq!(&text, b"hello");
        drop(write);
        assert_eq!(peer.read(&mut text).unwrap(), 0);
    });
}

#[test]
fn halves_of_one_stream_make_it_whole_again() {
    run(async {
        let (stream, mut peer) = pair_with_std().await;
        let peer_addr = peer.local_addr().unwrap();
        let (read, write) = stream.into_split();
        assert_eq!(read.peer_addr().unwrap(), peer_addr);
        assert_eq!(write.peer_addr().unwrap(), peer_addr);
        peer.write_all(b"kept").unwrap();
        assert_eq!(&*read.fill_buf().await.unwrap(), b"kept");
        let stream = read.reunite(write).unwrap();
        assert_eq!(&*stream.recv().await.unwrap().unwrap(), b"kept");
        stream.write_all("whole").await.0.unwrap();
        let mut text = [0; 5];
        peer.read_exact(&mut text).unwrap();
        // The write side was not shut down, and the whole stream closes both.
        peer.write_all(b"x").unwrap();
        assert_eq!(&*stream.recv().await.unwrap().unwrap(), b"x");
        drop(stream);
        peer.set_read_timeout(Some(PATIENCE)).unwrap();
        for _ in 0..5 {
            yield_now().await;
        }
        assert_eq!(peer.read(&mut text).unwrap(), 0);
    });
}

#[test]
fn halves_of_two_streams_come_back() {
    run(async {
        let (one, mut peer_of_one) = pair_with_std().await;
        let (other, mut peer_of_other) = pair_with_std().await;
        let (read, _write) = one.into_split();
        let (_read, write) = other.into_split();
        let error = read.reunite(write).unwrap_err();
        assert_eq!(error.to_string(), "the halves are not of the same stream");
        let (read, write): (OwnedReadHalf, _) = error.into_halves();
        peer_of_one.write_all(b"one").unwrap();
        assert_eq!(&*read.recv().await.unwrap().unwrap(), b"one");
        write.write_all("other").await.0.unwrap();
        let mut text = [0; 5];
        peer_of_other.read_exact(&mut text).unwrap();
        assert_eq!(&text, b"other");
    });
}

#[test]
fn the_last_half_closes_the_connection() {
    run(async {
        for write_first in [true, false] {
            let (stream, mut peer) = pair_with_std().await;
            peer.set_read_timeout(Some(PATIENCE)).unwrap();
            let (read, write) = stream.into_split();
            assert!(poll_once(read.recv()).await.is_none());
            yield_now().await;
            if write_first {
                drop(write);
                assert_eq!(peer.read(&mut [0]).unwrap(), 0);
                drop(read);
            } else {
                drop(read);
                drop(write);
                assert_eq!(peer.read(&mut [0]).unwrap(), 0);
            }
            for _ in 0..10 {
                yield_now().await;
            }
            // Nobody is there any more: the first write is answered by a reset.
            peer.write_all(b"x").unwrap();
            let gone = || peer.write_all(b"x").is_err();
            until("the connection is closed", gone).await;
        }
    });
}
