//! Deadlines of connections on the real kernel: what a busy connection costs, what a stalled one
//! comes to, and guarded streams in generic code. When exactly each passes is in `sim_listening`,
//! in virtual time.

mod common;

use std::io::{ErrorKind, Read, Write};
use std::net::Shutdown;
use std::thread;
use std::time::{Duration, Instant};

use common::{pair_with_std, pattern, run, until};
use corering::io::{AsyncBufRead, AsyncRead, AsyncWrite, copy, split};
use corering::net::{Deadline, DeadlineElapsed, Deadlines, UnixStream};
use corering::runtime::stats;
use corering::spawn;
use corering::time::timeout;

const LIMIT: Duration = Duration::from_millis(100);

#[test]
fn a_busy_connection_has_two_timers_and_sets_none_for_a_read() {
    run(async {
        let (stream, mut peer) = pair_with_std().await;
        let echoing = thread::spawn(move || {
            let mut bytes = [0; 64];
            while let Ok(n @ 1..) = peer.read(&mut bytes) {
                peer.write_all(&bytes[..n]).unwrap();
            }
        });
        let before = stats().unwrap().timers;
        let deadlines = Deadlines::new().first_byte(LIMIT).idle(LIMIT).write(LIMIT);
        let stream = deadlines.min_rate(1, LIMIT, LIMIT).guard(stream);
        for _ in 0..1000 {
            stream.write_all("ping").await.0.unwrap();
            let (result, bytes) = stream.read_exact(Box::new([0; 4])).await;
            result.unwrap();
            assert_eq!(&*bytes, b"ping");
            assert!(stats().unwrap().timers <= before + 2);
        }
        drop(stream.into_stream());
        assert_eq!(stats().unwrap().timers, before, "a timer is left");
        until("the peer sees the end", || echoing.is_finished()).await;
    });
}

#[test]
fn a_peer_that_does_not_read_stalls_a_write_and_one_that_reads_slowly_does_not() {
    run(async {
        const LEN: usize = 16 << 20;
        let (stream, _peer) = pair_with_std().await;
        let stream = Deadlines::new().write(LIMIT).guard(stream);
        let begin = Instant::now();
        let (result, buf) = stream.write_all(vec![1; LEN]).await;
        let error = result.unwrap_err();
        assert_eq!(DeadlineElapsed::of(&error), Some(Deadline::Write));
        assert!(error.to_string().contains("100ms"), "{error}");
        assert_eq!(buf.len(), LEN);
        assert!(begin.elapsed() >= LIMIT);
        let error = stream.write_all("more").await.0.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::BrokenPipe);

        let (stream, peer) = UnixStream::pair().unwrap();
        let (mut peer, _) = peer.into_std().await.unwrap();
        let stream = Deadlines::new().write(5 * LIMIT).guard(stream);
        let reading = thread::spawn(move || {
            let (mut all, mut part) = (Vec::new(), vec![0; LEN / 128]);
            loop {
                thread::sleep(LIMIT);
                match peer.read(&mut part).unwrap() {
                    0 => return all,
                    n => all.extend_from_slice(&part[..n]),
                }
            }
        });
        let sent = pattern(1, LEN / 8);
        let begin = Instant::now();
        stream.write_all(sent.clone()).await.0.unwrap();
        let spent = begin.elapsed();
        stream.shutdown(Shutdown::Write).await.unwrap();
        assert!(spent > 5 * LIMIT, "{spent:?}: it was not slow");
        until("the peer has all", || reading.is_finished()).await;
        assert!(reading.join().unwrap() == sent, "not what was sent");
    });
}

#[test]
fn bytes_that_are_there_win_over_a_deadline_that_has_passed() {
    run(async {
        let (stream, mut peer) = pair_with_std().await;
        let stream = Deadlines::new()
            .first_byte(LIMIT)
            .lifetime(LIMIT)
            .guard(stream);
        peer.write_all(b"in time").unwrap();
        assert!(!stream.fill_buf().await.unwrap().is_empty());
        thread::sleep(2 * LIMIT);
        let lease = stream.recv().await.unwrap().expect("bytes");
        assert_eq!(&*lease, b"in time");
        let error = stream.recv().await.unwrap_err();
        assert_eq!(DeadlineElapsed::of(&error), Some(Deadline::Lifetime));
        let error = stream.fill_more().await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::TimedOut);
    });
}

#[test]
fn guarded_streams_are_sources_and_sinks() {
    run(async {
        let (near, far) = UnixStream::pair().unwrap();
        let deadlines = Deadlines::new().idle(LIMIT).write(LIMIT);
        let near = deadlines.guard(near);
        let echoing = spawn(async move {
            let far = deadlines.guard(far);
            let (mut from, mut to) = (&far, &far);
            copy(&mut from, &mut to).await.unwrap()
        });
        let (mut reader, mut writer) = split(near);
        writer.write_all("one\ntwo\n").await.0.unwrap();
        assert_eq!(reader.read_line(10).await.unwrap().as_deref(), Some("one"));
        assert_eq!(&*reader.fill_to(4).await.unwrap(), b"two\n");
        reader.consume(4);
        writer.write_vectored(vec!["th", "ree"]).await.0.unwrap();
        writer.shutdown().await.unwrap();
        let mut rest = Vec::new();
        assert_eq!(reader.read_to_end(&mut rest, 100).await.unwrap(), 5);
        assert_eq!(rest, b"three");
        assert_eq!(echoing.await.unwrap(), 13);
    });
}

#[test]
fn a_limit_of_read_to_end_holds_and_a_late_one_keeps_what_came() {
    run(async {
        let (near, far) = UnixStream::pair().unwrap();
        let near = Deadlines::new().idle(LIMIT).guard(near);
        far.write_all("12345").await.0.unwrap();
        let mut bytes = Vec::new();
        let error = near.read_to_end(&mut bytes, 4).await.unwrap_err();
        assert_eq!(
            (error.kind(), &bytes[..]),
            (ErrorKind::InvalidData, &b"12345"[..])
        );
        far.write_all("678").await.0.unwrap();
        let late = timeout(20 * LIMIT, near.read_to_end(&mut bytes, 100))
            .await
            .unwrap();
        assert_eq!(late.unwrap_err().kind(), ErrorKind::TimedOut);
        assert_eq!(bytes, b"12345678");
    });
}
