//! How streams and listeners end: closed in order, dropped, or handed to std.

mod common;

use std::io::{ErrorKind, Read, Write};
use std::os::fd::{AsFd, AsRawFd};
use std::thread;
use std::time::{Duration, Instant};

use corering::net::{TcpListener, TcpSocket, TcpStream};
use corering::runtime::stats;
use corering::task::yield_now;
use corering::time::sleep;
use futures_lite::future::poll_once;

use common::{
    alone, asleep_once, descriptors, errno, localhost, pair_with_std, pattern, run, until,
};

const PATIENCE: Duration = Duration::from_secs(20);

/// A write that the peer's socket has no room for, submitted.
async fn commit(stream: &TcpStream, bytes: Vec<u8>) {
    let mut write = Box::pin(stream.write_all(bytes));
    assert!(poll_once(&mut write).await.is_none());
    for _ in 0..5 {
        yield_now().await;
    }
    assert!(poll_once(&mut write).await.is_none(), "it fits");
}

#[test]
fn a_close_returns_what_was_not_read() {
    run(async {
        let (stream, mut peer) = pair_with_std().await;
        peer.write_all(b"unread").unwrap();
        assert_eq!(&*stream.fill_buf().await.unwrap(), b"unread");
        peer.write_all(b" and more").unwrap();
        for _ in 0..3 {
            yield_now().await;
        }
        let unread = stream.close().await.unwrap();
        let bytes: Vec<u8> = unread.iter().flat_map(|lease| lease.to_vec()).collect();
        assert_eq!(bytes, b"unread and more");
        // All had been taken from the socket, so that the peer sees an orderly end.
        assert_eq!(peer.read(&mut [0]).unwrap(), 0);
    });
}

#[test]
fn a_close_ends_the_receive_and_the_descriptor() {
    alone(|| {
        run(async {
            let (stream, mut peer) = pair_with_std().await;
            assert!(poll_once(stream.recv()).await.is_none());
            asleep_once().await;
            let (open, in_flight) = (descriptors(), stats().unwrap().in_flight);
            assert!(stream.close().await.unwrap().is_empty());
            assert_eq!(descriptors(), open - 1, "closed when it says so");
            assert_eq!(stats().unwrap().in_flight, in_flight - 1);
            assert_eq!(peer.read(&mut [0]).unwrap(), 0);
        });
    });
}

#[test]
fn a_close_waits_for_the_committed_write() {
    run(async {
        let (stream, mut peer) = pair_with_std().await;
        let bytes = pattern(1, 8 << 20);
        commit(&stream, bytes.clone()).await;
        let mut close = Box::pin(stream.close());
        assert!(poll_once(&mut close).await.is_none());
        let reader = thread::spawn(move || {
            let mut got = Vec::new();
            peer.read_to_end(&mut got).unwrap();
            got
        });
        close.await.unwrap();
        assert!(reader.join().unwrap() == bytes);
    });
}

#[test]
fn a_close_reports_the_error_of_a_write_that_was_dropped() {
    run(async {
        let (stream, peer) = pair_with_std().await;
        commit(&stream, pattern(1, 8 << 20)).await;
        // Unread bytes make the kernel reset the connection.
        drop(peer);
        let error = stream.close().await.unwrap_err();
        let reset = [ErrorKind::ConnectionReset, ErrorKind::BrokenPipe];
        assert!(reset.contains(&error.kind()), "{error}");
    });
}

#[test]
fn an_error_of_a_dropped_write_is_reported_by_every_later_write() {
    run(async {
        let (stream, peer) = pair_with_std().await;
        commit(&stream, pattern(1, 8 << 20)).await;
        drop(peer);
        let first = errno(stream.write_all("x").await.0);
        assert!([libc::ECONNRESET, libc::EPIPE].contains(&first), "{first}");
        for _ in 0..3 {
            let (n, buf) = stream.write("x").await;
            assert_eq!((errno(n), buf), (first, "x"));
        }
    });
}

#[test]
fn a_dropped_close_closes_all_the_same() {
    run(async {
        let (stream, mut peer) = pair_with_std().await;
        let bytes = pattern(1, 8 << 20);
        commit(&stream, bytes.clone()).await;
        let mut close = Box::pin(stream.close());
        assert!(poll_once(&mut close).await.is_none());
        drop(close);
        let reader = thread::spawn(move || {
            let mut got = Vec::new();
            peer.read_to_end(&mut got).unwrap();
            got
        });
        until("the peer has seen the end", || reader.is_finished()).await;
        assert!(reader.join().unwrap() == bytes);
    });
}

#[test]
fn a_dropped_stream_sends_what_was_committed() {
    run(async {
        for len in [10, 8 << 20] {
            let (stream, mut peer) = pair_with_std().await;
            let bytes = pattern(1, len);
            let mut write = Box::pin(stream.write_all(bytes.clone()));
            assert!(poll_once(&mut write).await.is_none());
            drop(write);
            drop(stream);
            let reader = thread::spawn(move || {
                let mut got = Vec::new();
                peer.read_to_end(&mut got).unwrap();
                got
            });
            until("the peer has seen the end", || reader.is_finished()).await;
            assert!(reader.join().unwrap() == bytes, "{len}");
        }
    });
}

/// How long the write of a dropped stream goes on.
async fn lingering(stream: TcpStream, len: usize) -> f64 {
    commit(&stream, vec![7; len]).await;
    let in_flight = stats().unwrap().in_flight;
    let start = Instant::now();
    drop(stream);
    until("it is given up", || stats().unwrap().in_flight < in_flight).await;
    start.elapsed().as_secs_f64()
}

/// All at once: each of them takes that long.
#[test]
fn a_dropped_stream_gives_its_write_ten_seconds() {
    thread::scope(|scope| {
        scope.spawn(a_peer_that_does_not_read_gets_ten_seconds);
        scope.spawn(a_peer_that_reads_slowly_does_not_get_more);
        scope.spawn(a_core_that_never_sleeps_gives_no_more_either);
    });
}

fn a_peer_that_does_not_read_gets_ten_seconds() {
    run(async {
        let (stream, mut peer) = pair_with_std().await;
        asleep_once().await;
        let waited = lingering(stream, 8 << 20).await;
        assert!((9.9..12.0).contains(&waited), "{waited}");
        // What the kernel had taken arrives, and then the connection is over.
        peer.set_read_timeout(Some(PATIENCE)).unwrap();
        let mut got = Vec::new();
        let _ = peer.read_to_end(&mut got);
        assert!(!got.is_empty() && got.len() < 8 << 20, "{}", got.len());
    });
}

fn a_peer_that_reads_slowly_does_not_get_more() {
    run(async {
        let (stream, mut peer) = pair_with_std().await;
        asleep_once().await;
        let reader = thread::spawn(move || {
            let mut part = vec![0; 64 * 1024];
            while matches!(peer.read(&mut part), Ok(n) if n > 0) {
                thread::sleep(Duration::from_millis(20));
            }
        });
        let waited = lingering(stream, 100 << 20).await;
        assert!((9.9..12.0).contains(&waited), "{waited}");
        drop(reader);
    });
}

fn a_core_that_never_sleeps_gives_no_more_either() {
    run(async {
        let (stream, _peer) = pair_with_std().await;
        asleep_once().await;
        let busy = corering::spawn(async {
            loop {
                thread::sleep(Duration::from_micros(200));
                yield_now().await;
            }
        });
        let waited = lingering(stream, 8 << 20).await;
        assert!((9.9..12.0).contains(&waited), "{waited}");
        busy.abort();
    });
}

#[test]
fn a_dropped_stream_is_closed_at_once() {
    alone(|| {
        run(async {
            let before = descriptors();
            let (stream, mut peer) = pair_with_std().await;
            assert!(poll_once(stream.recv()).await.is_none());
            yield_now().await;
            drop(stream);
            for _ in 0..3 {
                yield_now().await;
            }
            assert_eq!(peer.read(&mut [0]).unwrap(), 0);
            drop(peer);
            // The listener's cancel may be on its way.
            until("all is closed", || descriptors() == before).await;
        });
    });
}

#[test]
fn a_stream_becomes_std_s_with_what_was_not_read() {
    run(async {
        let (stream, mut peer) = pair_with_std().await;
        stream.write_all("before").await.0.unwrap();
        peer.write_all(b"unread").unwrap();
        assert_eq!(stream.fill_buf().await.unwrap().len(), 6);
        let (mut plain, unread) = stream.into_std().await.unwrap();
        assert_eq!((unread.len(), &*unread[0]), (1, &b"unread"[..]));
        peer.write_all(b"later").unwrap();
        let mut text = [0; 5];
        plain.read_exact(&mut text).unwrap();
        assert_eq!(&text, b"later");
        plain.write_all(b" after").unwrap();
        let mut text = [0; 12];
        peer.read_exact(&mut text).unwrap();
        assert_eq!(&text, b"before after");

        let again = TcpStream::from_std(plain).unwrap();
        peer.write_all(b"back").unwrap();
        assert_eq!(&*again.recv().await.unwrap().unwrap(), b"back");
    });
}

#[test]
fn a_stream_of_std_s_that_does_not_block_is_taken_over() {
    run(async {
        let listener = std::net::TcpListener::bind(localhost()).unwrap();
        let plain = std::net::TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        plain.set_nonblocking(true).unwrap();
        let stream = TcpStream::from_std(plain).unwrap();
        let (mut peer, _) = listener.accept().unwrap();
        let mut recv = Box::pin(stream.recv());
        assert!(poll_once(&mut recv).await.is_none());
        sleep(Duration::from_millis(5)).await;
        peer.write_all(b"waited for").unwrap();
        assert_eq!(&*recv.await.unwrap().unwrap(), b"waited for");
    });
}

#[test]
fn a_listener_goes_to_std_and_back() {
    run(async {
        let plain = std::net::TcpListener::bind(localhost()).unwrap();
        plain.set_nonblocking(true).unwrap();
        let listener = TcpListener::from_std(plain).unwrap();
        let address = listener.local_addr().unwrap();
        let connect = || std::net::TcpStream::connect(address).unwrap();
        let client = connect();
        let (_, peer) = listener.accept().await.unwrap();
        assert_eq!(peer, client.local_addr().unwrap());
        let plain = listener.into_std().unwrap();
        for _ in 0..5 {
            yield_now().await;
        }
        let client = connect();
        let (_, peer) = plain.accept().unwrap();
        assert_eq!(peer, client.local_addr().unwrap());
    });
}

#[test]
fn a_dropped_listener_is_closed() {
    run(async {
        let listener = TcpListener::bind(localhost()).await.unwrap();
        let address = listener.local_addr().unwrap();
        assert!(poll_once(listener.accept()).await.is_none());
        yield_now().await;
        drop(listener);
        sleep(Duration::from_millis(5)).await;
        assert!(std::net::TcpStream::connect(address).is_err());
    });
}

#[test]
fn a_closed_listener_hands_out_the_connections_that_nobody_took() {
    alone(|| {
        run(async {
            let before = descriptors();
            let listener = TcpListener::bind(localhost()).await.unwrap();
            let address = listener.local_addr().unwrap();
            let mut accept = Box::pin(listener.accept());
            assert!(poll_once(&mut accept).await.is_none());
            yield_now().await;
            let connect = |_| std::net::TcpStream::connect(address).unwrap();
            let mut clients: Vec<_> = (0..10).map(connect).collect();
            for _ in 0..5 {
                yield_now().await;
            }
            drop(accept);
            let untaken = listener.close().await.unwrap();
            assert_eq!(untaken.len(), clients.len());
            for ((stream, peer), client) in untaken.iter().zip(&mut clients) {
                assert_eq!(*peer, client.local_addr().unwrap());
                stream.write_all("late").await.0.unwrap();
                client.read_exact(&mut [0; 4]).unwrap();
            }
            assert!(std::net::TcpStream::connect(address).is_err());
            drop((untaken, clients));
            until("all are closed", || descriptors() == before).await;
        });
    });
}

#[test]
fn options_and_addresses_are_those_of_the_socket() {
    run(async {
        let (stream, peer) = pair_with_std().await;
        assert_eq!(stream.peer_addr().unwrap(), peer.local_addr().unwrap());
        assert_eq!(stream.local_addr().unwrap(), peer.peer_addr().unwrap());
        assert!(!stream.nodelay().unwrap());
        stream.set_nodelay(true).unwrap();
        assert!(stream.nodelay().unwrap());
        assert!(
            socket2::SockRef::from(&stream.as_fd())
                .tcp_nodelay()
                .unwrap()
        );
        let listener = TcpListener::bind(localhost()).await.unwrap();
        assert!(listener.as_fd().as_raw_fd() > 2);

        let socket = TcpSocket::new_v4().unwrap().nodelay().unwrap();
        let socket = socket.bind(localhost()).unwrap();
        let bound = socket.local_addr().unwrap();
        let stream = socket
            .connect(listener.local_addr().unwrap())
            .await
            .unwrap();
        assert_eq!(stream.local_addr().unwrap(), bound);
        assert!(stream.nodelay().unwrap());
    });
}
