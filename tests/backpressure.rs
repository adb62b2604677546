//! A stream that nobody reads takes a bounded part of what its peer sends, and goes on when
//! somebody reads.

mod common;

use std::io::{ErrorKind, Write};
use std::thread;
use std::time::{Duration, Instant};

use corering::Lease;
use corering::net::TcpStream;
use corering::runtime::stats;
use corering::time::sleep;
use socket2::SockRef;

use common::{asleep_once, pair_with_std, pattern, read_exactly, run};

/// At this much in the inbox the receive is cancelled.
const HIGH_MARK: usize = 256 * 1024;
/// A flood is more than the inbox and both sockets together hold.
const FLOOD: usize = 8 << 20;

/// The most that an inbox may hold. A core that is kept from running finds in one turn what its
/// receive buffers, of at most 64 KiB each, have taken in the meantime: only then can it stop them.
fn bound() -> usize {
    let bound = HIGH_MARK + stats().unwrap().buffers * 64 * 1024;
    assert!(bound < FLOOD / 2, "every inbox of a flood is within it");
    bound
}

/// Sends until nothing more is taken for a while; how much was.
async fn flood(peer: &mut std::net::TcpStream, bytes: &[u8]) -> usize {
    peer.set_nonblocking(true).unwrap();
    let (mut sent, mut stuck) = (0, Instant::now());
    while stuck.elapsed() < Duration::from_millis(200) {
        match peer.write(&bytes[sent..]) {
            Ok(n) => (sent, stuck) = (sent + n, Instant::now()),
            Err(e) => {
                assert_eq!(e.kind(), ErrorKind::WouldBlock);
                sleep(Duration::from_millis(2)).await;
            }
        }
    }
    peer.set_nonblocking(false).unwrap();
    assert!(sent < bytes.len(), "it was all taken, and nobody read");
    sent
}

/// A stream whose receive is armed, and which nobody reads from then on. Its sockets are small.
async fn armed() -> (TcpStream, std::net::TcpStream) {
    let (stream, mut peer) = pair_with_std().await;
    SockRef::from(&stream)
        .set_recv_buffer_size(64 * 1024)
        .unwrap();
    SockRef::from(&peer)
        .set_send_buffer_size(64 * 1024)
        .unwrap();
    peer.write_all(b"!").unwrap();
    stream.fill_buf().await.unwrap();
    asleep_once().await;
    assert_eq!(stats().unwrap().in_flight, 2);
    (stream, peer)
}

fn total(leases: &[Lease]) -> usize {
    leases.iter().map(|lease| lease.len()).sum()
}

#[test]
fn an_inbox_that_nobody_reads_is_bounded() {
    run(async {
        let (stream, mut peer) = armed().await;
        let before = stats().unwrap().cancels;
        flood(&mut peer, &pattern(1, FLOOD)).await;
        assert_eq!(stats().unwrap().cancels, before + 1);
        assert_eq!(stats().unwrap().in_flight, 1, "it is received no more");
        let held = total(&stream.close().await.unwrap());
        assert!((HIGH_MARK..bound()).contains(&held), "{held}");
    });
}

#[test]
fn the_mark_is_met_where_the_pieces_are_small() {
    run(async {
        let (stream, mut peer) = armed().await;
        for piece in pattern(1, FLOOD).chunks(4096) {
            peer.write_all(piece).unwrap();
            // Longer than it takes to be received, on a core that sleeps.
            sleep(Duration::from_micros(100)).await;
            if stats().unwrap().in_flight == 1 {
                break;
            }
        }
        let held = total(&stream.close().await.unwrap());
        assert!((HIGH_MARK..bound()).contains(&held), "{held}");
    });
}

#[test]
fn the_receive_resumes_and_nothing_is_lost() {
    for large in [false, true] {
        run(async move {
            let (stream, mut peer) = armed().await;
            let bytes = pattern(1, FLOOD);
            let sent = flood(&mut peer, &bytes).await;
            let writer = thread::spawn(move || {
                peer.write_all(&bytes[sent..]).unwrap();
                drop(peer);
                bytes
            });
            let mut got = Vec::with_capacity(FLOOD + 1);
            loop {
                let part = if large {
                    stream.read(Vec::with_capacity(64 * 1024)).await.1
                } else {
                    stream.recv().await.unwrap().unwrap_or_default().to_vec()
                };
                if part.is_empty() {
                    break;
                }
                got.extend_from_slice(&part);
            }
            let bytes = writer.join().unwrap();
            assert_eq!(got.len(), FLOOD + 1);
            assert!(got[1..] == bytes);
        });
    }
}

#[test]
fn a_reader_that_takes_little_keeps_the_inbox_bounded() {
    run(async {
        let (stream, mut peer) = armed().await;
        let writer = thread::spawn(move || {
            peer.write_all(&pattern(1, FLOOD)).unwrap();
            peer
        });
        let mut got = read_exactly(&stream, 1).await;
        got.clear();
        while got.len() < FLOOD / 2 {
            got.extend(read_exactly(&stream, 10_000).await);
            sleep(Duration::from_micros(100)).await;
        }
        let rest = stream.close().await.unwrap();
        let held = total(&rest);
        assert!(held < bound(), "{held}");
        got.extend(rest.iter().flat_map(|lease| lease.to_vec()));
        assert!(got == pattern(1, FLOOD)[..got.len()]);
        drop(writer);
    });
}

#[test]
fn a_stream_at_its_mark_does_not_stop_the_others() {
    run(async {
        let (_full, mut flooding) = armed().await;
        flood(&mut flooding, &pattern(1, FLOOD)).await;
        let (other, mut peer) = pair_with_std().await;
        for seed in 0..100 {
            peer.write_all(&pattern(seed, 1_000)).unwrap();
            assert!(read_exactly(&other, 1_000).await == pattern(seed, 1_000));
        }
        assert_eq!(stats().unwrap().enobufs, 0);
    });
}
