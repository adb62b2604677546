//! A peer that resets the connection, or is gone: an error, which stays, and nothing worse.
#![allow(unsafe_code)]

mod common;

use std::io::{Read, Write};
use std::net::Shutdown;
use std::time::Duration;

use corering::net::{TcpListener, TcpStream};
use corering::spawn;
use corering::time::sleep;
use socket2::SockRef;

use common::{
    alone, descriptors, errno, localhost, pair_with_std, pattern, read_exactly, run, until,
};

/// What a write in flight ends with. The kernel has told the ring of the reset when it counts what
/// was sent before it (`MSG_WAITALL`); the rest is to a peer that is gone.
const GONE: [i32; 2] = [libc::ECONNRESET, libc::EPIPE];

/// Ends a connection with RST instead of FIN.
fn reset(peer: std::net::TcpStream) {
    let options = SockRef::from(&peer);
    options
        .set_linger(Some(Duration::ZERO))
        .expect("an option that all have");
}

#[test]
fn a_reset_comes_after_the_bytes_before_it_and_stays() {
    run(async {
        let (stream, mut peer) = pair_with_std().await;
        peer.write_all(b"hello").unwrap();
        reset(peer);
        assert_eq!(read_exactly(&stream, 5).await, b"hello");
        for _ in 0..3 {
            assert_eq!(errno(stream.recv().await), libc::ECONNRESET);
            let (n, buf) = stream.read(Vec::with_capacity(10)).await;
            assert_eq!(errno(n), libc::ECONNRESET);
            assert_eq!(
                (buf.len(), buf.capacity()),
                (0, 10),
                "the buffer comes back"
            );
            assert_eq!(errno(stream.fill_buf().await), libc::ECONNRESET);
            assert_eq!(errno(stream.fill_more().await), libc::ECONNRESET);
        }
    });
}

#[test]
fn a_reset_that_a_write_was_told_of_is_no_end_of_the_stream() {
    run(async {
        let (stream, peer) = pair_with_std().await;
        // Nothing is received yet, so the kernel tells the write, once.
        reset(peer);
        assert_eq!(errno(stream.write_all("late").await.0), libc::ECONNRESET);
        assert_eq!(errno(stream.recv().await), libc::ECONNRESET);
        assert_eq!(errno(stream.fill_buf().await), libc::ECONNRESET);
    });
}

#[test]
fn a_reset_ends_a_read_that_waits() {
    run(async {
        let (stream, peer) = pair_with_std().await;
        let reader = spawn(async move { (errno(stream.recv().await), stream) });
        sleep(Duration::from_millis(20)).await;
        assert!(!reader.is_finished());
        reset(peer);
        let (reason, stream) = reader.await.unwrap();
        assert_eq!(reason, libc::ECONNRESET);
        assert_eq!(errno(stream.recv().await), libc::ECONNRESET);
    });
}

#[test]
fn a_reset_ends_a_read_into_the_callers_own_buffer() {
    run(async {
        let (stream, mut peer) = pair_with_std().await;
        let large = pattern(1, 64 * 1024);
        let mut buf = Vec::with_capacity(large.len());
        // Large messages make the stream receive straight into the buffer.
        for _ in 0..4 {
            peer.write_all(&large).unwrap();
            assert!(read_exactly(&stream, large.len()).await == large);
        }
        let reader = spawn(async move {
            let n;
            (n, buf) = stream.read(buf).await;
            assert_eq!(buf.capacity(), 64 * 1024);
            (errno(n), stream)
        });
        sleep(Duration::from_millis(20)).await;
        reset(peer);
        let (reason, stream) = reader.await.unwrap();
        assert_eq!(reason, libc::ECONNRESET);
        let (n, _) = stream.read(Vec::with_capacity(64 * 1024)).await;
        assert_eq!(errno(n), libc::ECONNRESET);
    });
}

#[test]
fn a_reset_ends_a_write_gives_the_buffer_back_and_stays() {
    run(async {
        let (stream, mut peer) = pair_with_std().await;
        let writer = spawn(async move {
            let (sent, buf) = stream.write_all(vec![7_u8; 64 << 20]).await;
            assert_eq!(buf.len(), 64 << 20);
            (errno(sent), stream)
        });
        let mut part = [0; 4096];
        sleep(Duration::from_millis(20)).await;
        peer.read_exact(&mut part).unwrap();
        assert!(!writer.is_finished(), "64 MiB do not fit into the socket");
        reset(peer);
        let (reason, stream) = writer.await.unwrap();
        assert!(GONE.contains(&reason), "{reason}");
        assert_eq!(errno(stream.write_all("x").await.0), reason);
        assert_eq!(errno(stream.write("x").await.0), reason);
        assert_eq!(errno(stream.write_vectored(["x", "y"]).await.0), reason);
        assert_eq!(errno(stream.write_zero_copy("x").await.0), reason);
        assert_eq!(errno(stream.shutdown(Shutdown::Write).await), reason);
        assert_eq!(errno(stream.close().await), reason);
    });
}

#[test]
fn writes_in_line_behind_one_that_failed_fail_too() {
    run(async {
        let (stream, peer) = pair_with_std().await;
        let stream = std::rc::Rc::new(stream);
        let write = |size: usize| {
            let stream = std::rc::Rc::clone(&stream);
            spawn(async move { errno(stream.write_all(vec![7_u8; size]).await.0) })
        };
        let writers = [write(64 << 20), write(1), write(2)];
        sleep(Duration::from_millis(20)).await;
        reset(peer);
        let [first, second, third] = writers;
        let reason = first.await.unwrap();
        assert!(GONE.contains(&reason), "{reason}");
        assert_eq!(second.await.unwrap(), reason);
        assert_eq!(third.await.unwrap(), reason);
    });
}

/// Writes until that is an error.
async fn write_to_the_end(stream: &TcpStream, how: usize) -> i32 {
    for _ in 0..1000 {
        let result = match how {
            0 => stream.write_all("x").await.0,
            1 => stream.write("x").await.0.map(drop),
            2 => stream.write_vectored(["x", "y"]).await.0.map(drop),
            _ => stream.write_zero_copy("x").await.0.map(drop),
        };
        if result.is_err() {
            return errno(result);
        }
        sleep(Duration::from_millis(1)).await;
    }
    panic!("the peer is gone and every write succeeds");
}

#[test]
fn writing_to_a_closed_peer_is_epipe_and_no_signal() {
    alone(|| {
        // Rust ignores the signal before `main`; a program in another language need not.
        // SAFETY: the default action takes no handler.
        unsafe { libc::signal(libc::SIGPIPE, libc::SIG_DFL) };
        run(async {
            for how in 0..4 {
                let (stream, peer) = pair_with_std().await;
                drop(peer);
                assert_eq!(write_to_the_end(&stream, how).await, libc::EPIPE, "{how}");
                assert_eq!(
                    write_to_the_end(&stream, how).await,
                    libc::EPIPE,
                    "it stays"
                );
            }
            for how in 0..4 {
                let (stream, _peer) = pair_with_std().await;
                stream.shutdown(Shutdown::Write).await.unwrap();
                assert_eq!(write_to_the_end(&stream, how).await, libc::EPIPE, "{how}");
            }
        });
    });
}

#[test]
fn a_peer_that_has_only_stopped_writing_is_answered() {
    run(async {
        let (stream, mut peer) = pair_with_std().await;
        peer.write_all(b"question").unwrap();
        peer.shutdown(Shutdown::Write).unwrap();
        assert_eq!(read_exactly(&stream, 8).await, b"question");
        for _ in 0..3 {
            assert!(stream.recv().await.unwrap().is_none(), "the end stays");
            assert_eq!(stream.read(Vec::with_capacity(1)).await.0.unwrap(), 0);
        }
        let answer = pattern(2, 1 << 20);
        let copy = answer.clone();
        let writer = spawn(async move { stream.write_all(copy).await.0 });
        let reader = std::thread::spawn(move || {
            let mut got = Vec::new();
            peer.read_to_end(&mut got).map(|_| got)
        });
        writer.await.unwrap().unwrap();
        until("the peer has all", || reader.is_finished()).await;
        assert!(reader.join().unwrap().unwrap() == answer);
    });
}

#[test]
fn connections_that_are_reset_before_they_are_accepted_do_not_stop_the_listener() {
    run(async {
        let listener = TcpListener::bind(localhost()).await.unwrap();
        let address = listener.local_addr().unwrap();
        for _ in 0..10 {
            reset(std::net::TcpStream::connect(address).unwrap());
        }
        let alive = std::net::TcpStream::connect(address).unwrap();
        let (_, peer) = listener.accept().await.unwrap();
        assert_eq!(peer, alive.local_addr().unwrap());
    });
}

#[test]
fn a_thousand_resets_leave_no_descriptor_behind() {
    alone(|| {
        run(async {
            let listener = TcpListener::bind(localhost()).await.unwrap();
            let address = listener.local_addr().unwrap();
            common::spawn_echo_server(listener);
            let before = descriptors();
            for number in 0..1000 {
                let mut peer = std::net::TcpStream::connect(address).unwrap();
                peer.write_all(b"x").unwrap();
                if number % 2 == 0 {
                    reset(peer);
                }
            }
            until("all are closed", || descriptors() == before).await;
        });
    });
}
