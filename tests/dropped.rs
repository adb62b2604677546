//! A future may be dropped at any time: no connection and no byte is lost, and no write is torn.

mod common;

use std::future::Future;
use std::io::{Read, Write};
use std::net::Shutdown;
use std::pin::pin;
use std::thread;
use std::time::Duration;

use corering::buffers::IoBuf;
use corering::net::{TcpListener, TcpSocket, TcpStream};
use corering::runtime::{Builder, stats};
use corering::task::yield_now;
use corering::time::sleep;
use futures_lite::future::{or, poll_once};
use futures_util::{FutureExt, select};

use common::{
    Random, descriptors, localhost, pair, pair_with_std, pattern, read_exactly, run, until,
};

/// When a future is dropped, in the life of what it waits for.
#[derive(Clone, Copy, Debug)]
enum When {
    Unpolled,
    /// Polled, and the kernel knows nothing yet.
    Staged,
    /// The kernel has it, and there is nothing to complete it.
    InFlight,
    /// It has happened, and the completion was not looked at.
    Raced,
    /// The completion was taken, and the future not polled since.
    Completed,
}

const ALWAYS: [When; 5] = [
    When::Unpolled,
    When::Staged,
    When::InFlight,
    When::Raced,
    When::Completed,
];

/// Rounds of the loop.
async fn turns(count: usize) {
    for _ in 0..count {
        yield_now().await;
    }
}

/// Drops `future` before, while or after `happens` completes it.
async fn drop_at<F: Future>(when: When, future: F, happens: impl FnOnce()) {
    {
        let mut future = pin!(future);
        let polls = match when {
            When::Unpolled => 0,
            When::Staged => 1,
            // A first poll may only cancel what is in the way of the second.
            _ => 3,
        };
        for n in 0..polls {
            if n > 0 {
                turns(3).await;
            }
            assert!(poll_once(&mut future).await.is_none(), "{when:?}");
        }
        match when {
            When::Unpolled | When::Staged => {}
            When::InFlight => turns(3).await,
            When::Raced | When::Completed => turns(1).await,
        }
        if matches!(when, When::Raced | When::Completed) {
            happens();
            if matches!(when, When::Completed) {
                turns(3).await;
            }
            return;
        }
    }
    happens();
    if matches!(when, When::InFlight) {
        // It comes while nobody waits.
        turns(3).await;
    }
}

#[test]
fn dropped_accept_keeps_the_connection() {
    run(async {
        let listener = TcpListener::bind(localhost()).await.unwrap();
        let address = listener.local_addr().unwrap();
        for when in ALWAYS {
            for round in 0..20 {
                let mut client = None;
                drop_at(when, listener.accept(), || {
                    client = Some(std::net::TcpStream::connect(address).unwrap());
                })
                .await;
                let client = client.unwrap();
                let (stream, peer) = listener.accept().await.unwrap();
                assert_eq!(peer, client.local_addr().unwrap(), "{when:?} {round}");
                (&client).write_all(b"x").unwrap();
                assert_eq!(read_exactly(&stream, 1).await, b"x");
            }
        }
    });
}

#[test]
fn connections_of_dropped_accepts_come_in_order() {
    common::alone(|| {
        run(async {
            let listener = TcpListener::bind(localhost()).await.unwrap();
            let address = listener.local_addr().unwrap();
            let before = descriptors();
            let mut accept = Box::pin(listener.accept());
            assert!(poll_once(&mut accept).await.is_none());
            turns(2).await;
            // More than the listener queues: the others stay in the backlog.
            let connect = |_| std::net::TcpStream::connect(address).unwrap();
            let clients: Vec<_> = (0..100).map(connect).collect();
            turns(10).await;
            drop(accept);
            turns(10).await;
            for client in &clients {
                let (_stream, peer) = listener.accept().await.unwrap();
                assert_eq!(peer, client.local_addr().unwrap());
            }
            assert!(poll_once(listener.accept()).await.is_none());
            drop(clients);
            until("all are closed", || descriptors() == before).await;
        });
    });
}

#[test]
fn dropped_recv_keeps_the_bytes() {
    run(async {
        let (stream, mut peer) = pair_with_std().await;
        for when in ALWAYS {
            for round in 0..20 {
                let message = pattern(round, 100);
                let happens = || peer.write_all(&message).unwrap();
                drop_at(when, stream.recv(), happens).await;
                let got = read_exactly(&stream, 100).await;
                assert!(got == message, "{when:?} {round}");
            }
        }
    });
}

#[test]
fn dropped_fill_buf_and_fill_more_keep_the_bytes() {
    run(async {
        let (stream, mut peer) = pair_with_std().await;
        for when in ALWAYS {
            let happens = || peer.write_all(b"first ").unwrap();
            drop_at(when, stream.fill_buf(), happens).await;
            assert_eq!(&*stream.fill_buf().await.unwrap(), b"first ");
            let happens = || peer.write_all(b"second").unwrap();
            drop_at(when, stream.fill_more(), happens).await;
            assert_eq!(read_exactly(&stream, 12).await, b"first second");
        }
    });
}

#[test]
fn dropped_read_into_a_buffer_keeps_the_bytes() {
    run(async {
        let (stream, mut peer) = pair_with_std().await;
        for when in ALWAYS {
            for round in 0..20 {
                let message = pattern(round, 100);
                let happens = || peer.write_all(&message).unwrap();
                drop_at(when, stream.read(Vec::with_capacity(64)), happens).await;
                let got = read_exactly(&stream, 100).await;
                assert!(got == message, "{when:?} {round}");
            }
        }
    });
}

#[test]
fn dropped_direct_read_keeps_the_bytes() {
    const LEN: usize = 16 * 1024;
    run(async {
        let (stream, mut peer) = pair_with_std().await;
        for when in ALWAYS {
            for round in 0..20 {
                // A large message, and those after it go straight into their buffer.
                for seed in [round, round + 1_000] {
                    peer.write_all(&pattern(seed, LEN)).unwrap();
                    assert!(read_exactly(&stream, LEN).await == pattern(seed, LEN));
                }
                let message = pattern(round, LEN);
                let before = stats().unwrap().sqes;
                let happens = || peer.write_all(&message).unwrap();
                drop_at(when, stream.read(vec![0; 2 * LEN]), happens).await;
                if !matches!(when, When::Unpolled | When::Staged) {
                    assert!(stats().unwrap().sqes > before, "nothing was submitted");
                }
                let got = read_exactly(&stream, LEN).await;
                assert!(got == message, "{when:?} {round}");
            }
        }
    });
}

#[test]
fn a_stream_of_bytes_stays_exact_whatever_is_dropped() {
    for seed in 1..=8 {
        run(counter_stream(seed));
    }
}

/// Receives by every means, and drops about half of the futures.
async fn counter_stream(seed: u32) {
    const LEN: usize = 1 << 20;
    let (stream, mut peer) = pair_with_std().await;
    let writer = thread::spawn(move || {
        let (bytes, mut random, mut sent) = (pattern(seed, LEN), Random::new(seed), 0);
        while sent < LEN {
            let most = if random.below(3) == 0 { 40_000 } else { 300 };
            let end = LEN.min(sent + 1 + random.below(most));
            peer.write_all(&bytes[sent..end]).unwrap();
            sent = end;
            if random.below(8) == 0 {
                thread::sleep(Duration::from_micros(100));
            }
        }
        peer
    });
    let mut random = Random::new(seed + 100);
    let mut got: Vec<u8> = Vec::with_capacity(LEN);
    while got.len() < LEN {
        let patience = random.below(4);
        let dropped = async {
            turns(patience).await;
            Vec::new()
        };
        let part = match random.below(5) {
            0 => or(recv(&stream), dropped).await,
            1 => or(read(&stream, 1 + random.below(500)), dropped).await,
            2 => or(read(&stream, 32 * 1024), dropped).await,
            3 => or(fill(&stream, 1 + random.below(2_000)), dropped).await,
            _ => {
                let (mut recv, mut dropped) =
                    (Box::pin(recv(&stream).fuse()), Box::pin(dropped.fuse()));
                select! { part = recv => part, part = dropped => part }
            }
        };
        got.extend_from_slice(&part);
    }
    let peer = writer.join().unwrap();
    let wrong = got
        .iter()
        .zip(pattern(seed, LEN))
        .position(|(a, b)| *a != b);
    assert_eq!((wrong, got.len()), (None, LEN), "seed {seed}");
    drop(peer);
    assert!(stream.recv().await.unwrap().is_none());
}

async fn recv(stream: &TcpStream) -> Vec<u8> {
    stream.recv().await.unwrap().expect("more").to_vec()
}

async fn read(stream: &TcpStream, room: usize) -> Vec<u8> {
    let (n, buf) = stream.read(Vec::with_capacity(room)).await;
    assert_eq!(n.unwrap(), buf.len());
    buf
}

async fn fill(stream: &TcpStream, most: usize) -> Vec<u8> {
    let bytes = stream.fill_buf().await.unwrap();
    // Nothing is awaited between the look and the taking.
    stream.consume_to_vec(most.min(bytes.len()))
}

/// A frame says how long it is and which it is.
fn frame(number: u32, len: usize) -> Vec<u8> {
    let mut frame = Vec::with_capacity(8 + len);
    frame.extend_from_slice(&(len as u32).to_le_bytes());
    frame.extend_from_slice(&number.to_le_bytes());
    frame.extend_from_slice(&pattern(number, len));
    frame
}

/// The numbers of the frames that come, each of which must be whole.
fn read_frames(mut peer: std::net::TcpStream) -> Vec<u32> {
    let mut numbers = Vec::new();
    let mut header = [0; 8];
    loop {
        match peer.read(&mut header[..1]).unwrap() {
            0 => return numbers,
            _ => peer.read_exact(&mut header[1..]).unwrap(),
        }
        let word = |at: usize| u32::from_le_bytes(header[at..at + 4].try_into().unwrap());
        let mut body = vec![0; word(0) as usize];
        peer.read_exact(&mut body).unwrap();
        assert!(body == pattern(word(4), body.len()), "frame {}", word(4));
        numbers.push(word(4));
        if word(4) % 4 == 0 {
            thread::sleep(Duration::from_millis(1));
        }
    }
}

#[test]
fn dropped_write_all_is_never_torn() {
    run(async {
        let (stream, peer) = pair_with_std().await;
        let reader = thread::spawn(move || read_frames(peer));
        let mut random = Random::new(1);
        let (mut completed, mut dropped) = (Vec::new(), Vec::new());
        for number in 0..300 {
            let large = random.below(4) == 0;
            let len = random.below(if large { 400_000 } else { 1_000 });
            let write = async {
                stream.write_all(frame(number, len)).await.0.unwrap();
                true
            };
            let patience = random.below(5);
            let loses_patience = async {
                turns(patience).await;
                false
            };
            match or(write, loses_patience).await {
                true => completed.push(number),
                false => dropped.push(number),
            }
        }
        stream.shutdown(Shutdown::Write).await.unwrap();
        let got = reader.join().unwrap();
        assert!(got.is_sorted() && got.windows(2).all(|pair| pair[0] < pair[1]));
        let missing: Vec<_> = completed.iter().filter(|n| !got.contains(n)).collect();
        assert!(missing.is_empty(), "completed and not sent: {missing:?}");
        let committed = dropped.iter().filter(|n| got.contains(n)).count();
        assert!(committed > 10, "{committed} of {} dropped", dropped.len());
        assert!(committed < dropped.len(), "some never had their turn");
    });
}

/// Writes that the peer does not read, until the kernel takes no more.
async fn stuff<B: IoBuf>(stream: &TcpStream, buf: B) {
    let mut write = Box::pin(stream.write_all(buf));
    assert!(poll_once(&mut write).await.is_none());
    turns(5).await;
    assert!(
        poll_once(&mut write).await.is_none(),
        "it fits into the socket"
    );
}

#[test]
fn a_write_that_has_not_had_its_turn_is_not_sent() {
    run(async {
        let (stream, mut peer) = pair_with_std().await;
        let first = pattern(1, 8 << 20);
        stuff(&stream, first.clone()).await;
        let mut second = Box::pin(stream.write_all("second"));
        assert!(poll_once(&mut second).await.is_none());
        let mut third = Box::pin(stream.write_all("third"));
        assert!(poll_once(&mut third).await.is_none());
        turns(3).await;
        drop(second);
        let len = first.len() + "third".len();
        let reader = thread::spawn(move || {
            let mut bytes = vec![0; len];
            peer.read_exact(&mut bytes).unwrap();
            (bytes, peer)
        });
        third.await.0.unwrap();
        stream.shutdown(Shutdown::Write).await.unwrap();
        let (bytes, mut peer) = reader.join().unwrap();
        assert!(bytes[..first.len()] == first, "the first is whole");
        assert_eq!(&bytes[first.len()..], b"third");
        assert_eq!(peer.read(&mut [0]).unwrap(), 0, "nothing else was sent");
    });
}

#[test]
fn a_write_that_is_never_polled_is_not_sent() {
    run(async {
        let (stream, mut peer) = pair_with_std().await;
        drop(stream.write_all("never"));
        drop(stream.write("never"));
        drop(stream.write_vectored(vec!["ne", "ver"]));
        turns(3).await;
        stream.shutdown(Shutdown::Write).await.unwrap();
        assert_eq!(peer.read(&mut [0]).unwrap(), 0);
    });
}

#[test]
fn a_dropped_connect_leaves_nothing_behind() {
    common::alone(|| {
        run(async {
            let listener = std::net::TcpListener::bind(localhost()).unwrap();
            let address = listener.local_addr().unwrap();
            let before = descriptors();
            for when in ALWAYS {
                if matches!(when, When::InFlight | When::Raced) {
                    // A connect on loopback is done within the call that submits it.
                    continue;
                }
                let mut connect = Box::pin(TcpStream::connect(address));
                if !matches!(when, When::Unpolled) {
                    assert!(poll_once(&mut connect).await.is_none());
                }
                if matches!(when, When::Completed) {
                    turns(3).await;
                }
                drop(connect);
                until("the socket is closed", || descriptors() == before).await;
            }
        });
    });
}

#[test]
fn a_connect_that_fails_leaves_nothing_behind() {
    common::alone(|| {
        run(async {
            // Bound, and not listening.
            let socket = TcpSocket::new_v4().unwrap().bind(localhost()).unwrap();
            let address = socket.local_addr().unwrap();
            let before = descriptors();
            for _ in 0..10 {
                let refused = TcpStream::connect(address).await.unwrap_err();
                assert_eq!(refused.kind(), std::io::ErrorKind::ConnectionRefused);
                assert_eq!(descriptors(), before);
            }
        });
    });
}

#[test]
fn a_thousand_reads_dropped_in_one_turn_all_end() {
    common::alone(|| {
        if !common::allow_descriptors(2 * 1_000 + 100) {
            println!("skipped: 1,000 connections need more descriptors than there may be");
            return;
        }
        let runtime = Builder::new().ring_entries(2).build().unwrap();
        let before = descriptors();
        runtime.block_on(async {
            let mut ends = Vec::new();
            for _ in 0..1_000 {
                let (ours, theirs) = std::os::unix::net::UnixStream::pair().unwrap();
                let ours = std::net::TcpStream::from(std::os::fd::OwnedFd::from(ours));
                ends.push((TcpStream::from_std(ours).unwrap(), theirs));
            }
            let (streams, peers): (Vec<_>, Vec<_>) = ends.into_iter().unzip();
            let mut reads: Vec<_> = streams.iter().map(|stream| stream.recv()).collect();
            for (n, read) in reads.iter_mut().enumerate() {
                assert!(poll_once(read).await.is_none());
                if n % 100 == 99 {
                    // A task that never yields runs out of its budget.
                    turns(1).await;
                }
            }
            drop(reads);
            drop(streams);
            let in_flight = || stats().unwrap().in_flight;
            assert!(in_flight() >= 1_000);
            // One is for the wake-ups of other threads.
            until("every op has ended", || in_flight() <= 1).await;
            assert_eq!(stats().unwrap().orphans, 1);
            for mut peer in &peers {
                assert_eq!(peer.read(&mut [0]).unwrap(), 0, "the end of the stream");
            }
        });
        assert_eq!(descriptors(), before);
    });
}

#[test]
fn dropped_sleeps_and_streams_leave_no_op() {
    run(async {
        let before = stats().unwrap();
        let (client, server) = pair().await;
        assert!(poll_once(server.recv()).await.is_none());
        assert!(poll_once(sleep(Duration::from_secs(60))).await.is_none());
        drop((client, server));
        until("nothing is in flight", || {
            stats().unwrap().in_flight <= before.in_flight + 1
        })
        .await;
    });
}
