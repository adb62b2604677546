//! An operation that is ended says exactly what came of it, and gives its buffer back.

mod common;

use std::future::Future;
use std::io::{self, ErrorKind, Read, Write};
use std::time::{Duration, Instant};

use corering::fs::File;
use corering::io::Operation;
use corering::net::{TcpListener, TcpSocket};
use corering::runtime::{nop, stats};
use corering::task::yield_now;
use corering::time::sleep;
use futures_lite::future::poll_once;

use common::{errno, localhost, pair, pair_with_std, pattern, read_exactly, run};

const SHORT: Duration = Duration::from_millis(5);
/// More than the buffers of two sockets hold.
const LONG: usize = 32 << 20;

async fn turns(count: usize) {
    for _ in 0..count {
        yield_now().await;
    }
}

/// Has the kernel work on `future`, which cannot complete yet.
async fn begin<F: Future + Unpin>(future: &mut F) {
    for _ in 0..3 {
        assert!(poll_once(&mut *future).await.is_none());
        turns(2).await;
    }
}

#[test]
fn a_cancelled_read_gives_its_buffer_back_and_loses_nothing() {
    run(async {
        let (stream, mut peer) = pair_with_std().await;
        let mut read = stream.read(vec![7; 100]);
        begin(&mut read).await;
        let (result, buf) = read.cancel().await;
        assert_eq!((errno(result), buf), (libc::ECANCELED, vec![7; 100]));
        peer.write_all(b"later").unwrap();
        assert_eq!(read_exactly(&stream, 5).await, b"later");
    });
}

#[test]
fn what_has_come_wins_over_the_cancel() {
    run(async {
        let (stream, mut peer) = pair_with_std().await;
        let (mut recv, mut message) = (stream.recv(), [0; 3]);
        begin(&mut recv).await;
        peer.write_all(b"won").unwrap();
        turns(3).await;
        message.copy_from_slice(&recv.cancel().await.unwrap().unwrap());
        assert_eq!(&message, b"won");

        let mut read = stream.read(Vec::with_capacity(3));
        begin(&mut read).await;
        peer.write_all(b"twice").unwrap();
        turns(3).await;
        let (result, buf) = read.cancel().await;
        assert_eq!((result.unwrap(), &buf[..]), (3, &b"twi"[..]));
        assert_eq!(read_exactly(&stream, 2).await, b"ce");

        // Never polled, but there already.
        peer.write_all(b"there").unwrap();
        assert!(!stream.fill_buf().await.unwrap().is_empty());
        let (result, buf) = stream.read(Vec::with_capacity(5)).cancel().await;
        assert_eq!((result.unwrap(), &buf[..]), (5, &b"there"[..]));
    });
}

#[test]
fn a_read_that_goes_straight_into_its_buffer_is_cancelled_with_it() {
    run(async {
        let (stream, mut peer) = pair_with_std().await;
        // A large message makes the next reads go straight.
        let large = pattern(1, 64 * 1024);
        let sender = std::thread::spawn(move || {
            peer.write_all(&large).unwrap();
            peer
        });
        assert!(read_exactly(&stream, 64 * 1024).await == pattern(1, 64 * 1024));
        let mut peer = sender.join().unwrap();
        let before = stats().unwrap().cancels;
        for round in 0..50 {
            let mut read = stream.read(Vec::with_capacity(32 * 1024));
            begin(&mut read).await;
            if round % 2 == 1 {
                peer.write_all(b"raced").unwrap();
            }
            let (result, buf) = read.cancel().await;
            assert_eq!(buf.capacity(), 32 * 1024);
            match result {
                Ok(n) => assert_eq!((round % 2, n, &buf[..]), (1, 5, &b"raced"[..])),
                Err(e) => {
                    assert_eq!(e.raw_os_error(), Some(libc::ECANCELED));
                    if round % 2 == 1 {
                        assert_eq!(read_exactly(&stream, 5).await, b"raced");
                    }
                }
            }
            if round % 2 == 0 {
                // A short message has ended it, a cancel has not.
                peer.write_all(&pattern(2, 16 * 1024)).unwrap();
                assert!(read_exactly(&stream, 16 * 1024).await == pattern(2, 16 * 1024));
            }
        }
        assert!(stats().unwrap().cancels >= before + 25);
    });
}

#[test]
fn a_timeout_gives_the_buffer_back_and_a_result_beats_it() {
    run(async {
        let (stream, mut peer) = pair_with_std().await;
        let start = Instant::now();
        let (result, buf) = stream.read(vec![1; 64]).timeout(SHORT).await;
        assert_eq!(result.unwrap_err().kind(), ErrorKind::TimedOut);
        assert!(start.elapsed() >= SHORT && buf == [1; 64]);

        // Both are there when it is polled again.
        let mut read = stream.read(buf).timeout(SHORT);
        assert!(poll_once(&mut read).await.is_none());
        peer.write_all(b"tie").unwrap();
        std::thread::sleep(2 * SHORT);
        turns(3).await;
        let (result, buf) = read.await;
        assert_eq!((result.unwrap(), &buf[..]), (3, &b"tie"[..]));

        let recv = stream.recv().timeout(SHORT).await;
        assert_eq!(recv.unwrap_err().kind(), ErrorKind::TimedOut);
        let full = stream.fill_buf().timeout(SHORT).await;
        assert_eq!(full.unwrap_err().kind(), ErrorKind::TimedOut);
        peer.write_all(b"x").unwrap();
        let more = stream.fill_more().timeout(4 * SHORT).await;
        assert_eq!(more.unwrap_err().kind(), ErrorKind::TimedOut);
        assert_eq!(read_exactly(&stream, 1).await, b"x");
    });
}

#[test]
fn a_write_that_is_cut_says_how_much_was_sent_and_nothing_follows_it() {
    run(async {
        let (stream, mut peer) = pair_with_std().await;
        let mut write = stream.write_all(pattern(5, LONG));
        begin(&mut write).await;
        let (sent, buf) = write.cancel().await;
        let sent = sent.unwrap();
        assert!(0 < sent && sent < LONG, "{sent}");
        assert!(buf == pattern(5, LONG));
        let (refused, _) = stream.write_all("more").await;
        let refused = refused.unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::BrokenPipe);
        assert!(refused.to_string().contains("cancelled"), "{refused}");
        // Exactly that much has been sent, and the other direction is as it was.
        peer.write_all(b"hello").unwrap();
        assert_eq!(read_exactly(&stream, 5).await, b"hello");
        stream.shutdown(std::net::Shutdown::Write).await.unwrap();
        let mut received = Vec::new();
        peer.read_to_end(&mut received).unwrap();
        assert!(received == buf[..sent], "{} of {sent}", received.len());
    });
}

#[test]
fn a_write_that_has_not_begun_sends_nothing_and_breaks_nothing() {
    run(async {
        let (stream, mut peer) = pair_with_std().await;
        let mut first = stream.write_all(pattern(5, LONG));
        begin(&mut first).await;
        let mut second = stream.write_all("second");
        begin(&mut second).await;
        let (refused, buf) = second.cancel().await;
        assert_eq!((errno(refused), buf), (libc::ECANCELED, "second"));
        let (late, _) = stream.write("third").timeout(SHORT).await;
        assert_eq!(late.unwrap_err().kind(), ErrorKind::TimedOut);
        let reader = std::thread::spawn(move || {
            let mut received = vec![0; LONG + 4];
            peer.read_exact(&mut received).unwrap();
            received
        });
        first.await.0.unwrap();
        stream.write_all("last").await.0.unwrap();
        let received = reader.join().unwrap();
        assert!(received[..LONG] == pattern(5, LONG) && &received[LONG..] == b"last");
    });
}

#[test]
fn a_cut_write_that_is_let_go_is_finished_all_the_same() {
    run(async {
        let (stream, mut peer) = pair_with_std().await;
        let mut write = stream.write_all(pattern(5, LONG));
        begin(&mut write).await;
        assert!(poll_once(write.cancel()).await.is_none());
        drop(write);
        let reader = std::thread::spawn(move || {
            let mut received = vec![0; LONG];
            peer.read_exact(&mut received).unwrap();
            received
        });
        stream.write_all("").await.0.unwrap();
        assert!(reader.join().unwrap() == pattern(5, LONG));
    });
}

#[test]
fn other_writes_are_cut_too() {
    run(async {
        for kind in 0..3 {
            let (stream, mut peer) = pair_with_std().await;
            // Fills the sockets, so that the next one has to wait.
            let mut all = stream.write_all(pattern(5, LONG));
            begin(&mut all).await;
            let filled = all.cancel().await.0.unwrap();
            drop(all);
            let result = match kind {
                0 => stream.write(pattern(1, 10)).cancel().await.0,
                1 => stream.write_vectored([pattern(1, 10)]).cancel().await.0,
                _ => stream.write_zero_copy(pattern(1, 10)).cancel().await.0,
            };
            assert_eq!(errno(result), libc::ECANCELED);
            peer.write_all(b"x").unwrap();
            assert_eq!(read_exactly(&stream, 1).await, b"x");
            stream.shutdown(std::net::Shutdown::Write).await.unwrap();
            assert_eq!(io::copy(&mut peer, &mut io::sink()).unwrap(), filled as u64);
        }
    });
}

#[test]
fn a_cancelled_accept_keeps_what_comes_for_the_next() {
    run(async {
        let listener = TcpListener::bind(localhost()).await.unwrap();
        let address = listener.local_addr().unwrap();
        let mut accept = listener.accept();
        begin(&mut accept).await;
        assert_eq!(errno(accept.cancel().await), libc::ECANCELED);
        let late = listener.accept().timeout(SHORT).await;
        assert_eq!(late.unwrap_err().kind(), ErrorKind::TimedOut);

        let mut accept = listener.accept();
        begin(&mut accept).await;
        let client = std::net::TcpStream::connect(address).unwrap();
        turns(3).await;
        let (_, peer) = accept.cancel().await.unwrap();
        assert_eq!(peer, client.local_addr().unwrap());

        let client = std::net::TcpStream::connect(address).unwrap();
        let (_, peer) = listener.accept().await.unwrap();
        assert_eq!(peer, client.local_addr().unwrap());
    });
}

#[test]
fn a_cancelled_connect_is_over() {
    run(async {
        // A backlog that is full keeps a connect waiting.
        let listener = TcpSocket::new_v4().unwrap().bind(localhost()).unwrap();
        let listener = listener.listen(1).unwrap();
        let address = listener.local_addr().unwrap();
        let connect = || TcpSocket::new_v4().unwrap().connect(address);
        let mut held = Vec::new();
        loop {
            match connect().timeout(20 * SHORT).await {
                Ok(stream) => held.push(stream),
                Err(e) => {
                    assert_eq!(e.kind(), ErrorKind::TimedOut);
                    break;
                }
            }
            assert!(held.len() < 100, "the backlog is never full");
        }
        let mut waiting = connect();
        begin(&mut waiting).await;
        assert_eq!(errno(waiting.cancel().await), libc::ECANCELED);
        assert_eq!(errno(connect().cancel().await), libc::ECANCELED);
    });
}

#[test]
fn operations_on_files_say_what_was_done() {
    let dir = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    run(async {
        let path = dir.path().join("file");
        assert_eq!(errno(File::create(&path).cancel().await), libc::ECANCELED);
        assert!(!path.exists());
        let file = File::create(&path).timeout(100 * SHORT).await.unwrap();
        let (refused, buf) = file.write_at("not written", 0).cancel().await;
        assert_eq!((errno(refused), buf), (libc::ECANCELED, "not written"));
        assert_eq!(errno(file.sync_all().cancel().await), libc::ECANCELED);
        assert_eq!(std::fs::read(&path).unwrap(), b"");

        let mut write = file.write_at(pattern(2, 1 << 20), 0);
        assert!(poll_once(&mut write).await.is_none());
        let (written, buf) = write.cancel().await;
        // Whoever was first, the answer is true.
        let there = std::fs::read(&path).unwrap();
        match written {
            Ok(n) => assert!(there == buf[..n]),
            Err(e) => assert_eq!((e.raw_os_error(), there.len()), (Some(libc::ECANCELED), 0)),
        }
        let mut sync = file.sync_data();
        assert!(poll_once(&mut sync).await.is_none());
        let synced = sync.cancel().await;
        assert!(synced.is_ok() || errno(synced) == libc::ECANCELED);
        let file = File::open(&path).await.unwrap();
        let (refused, buf) = file.read_at(vec![3; 10], 0).cancel().await;
        assert_eq!((errno(refused), buf), (libc::ECANCELED, vec![3; 10]));
    });
}

#[test]
fn an_operation_that_is_ended_leaves_nothing_behind() {
    run(async {
        turns(1).await; // the test's own time limit is set
        let before = stats().unwrap().timers;
        assert_eq!(errno(nop().cancel().await), libc::ECANCELED);
        let mut asked = nop();
        assert!(poll_once(&mut asked).await.is_none());
        asked.cancel().await.unwrap();
        let (stream, _peer) = pair().await;
        for _ in 0..100 {
            let (result, _) = stream
                .read(Vec::with_capacity(8))
                .timeout(Duration::ZERO)
                .await;
            assert_eq!(result.unwrap_err().kind(), ErrorKind::TimedOut);
        }
        let stats = stats().unwrap();
        // The receive of the stream, and the wait for a kick if there was one.
        assert!(stats.in_flight <= 2 && stats.orphans <= 1, "{stats:?}");
        assert_eq!(stats.timers, before);
    });
}

#[test]
fn an_operation_that_a_worker_was_interrupted_in_is_cancelled() {
    let dir = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let path = dir.path().join("pipe");
    let made = std::process::Command::new("mkfifo").arg(&path).status();
    assert!(made.unwrap().success());
    run(async {
        // It waits for somebody who reads, on a worker thread.
        let mut create = File::create(&path);
        begin(&mut create).await;
        sleep(SHORT).await;
        assert_eq!(errno(create.cancel().await), libc::ECANCELED);
        let late = File::create(&path).timeout(SHORT).await;
        assert_eq!(late.unwrap_err().kind(), ErrorKind::TimedOut);
    });
}

#[test]
fn a_cancelled_sync_that_is_let_go_does_not_fail_the_next() {
    let dir = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    run(async {
        let file = File::create(dir.path().join("file")).await.unwrap();
        for _ in 0..20 {
            let mut sync = file.sync_all();
            assert!(poll_once(&mut sync).await.is_none());
            assert!(poll_once(sync.cancel()).await.is_none());
            drop(sync);
            file.sync_all().await.unwrap();
        }
    });
}
