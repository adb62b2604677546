//! Large messages: received straight into the caller's buffer, sent in parts.

mod common;

use std::io::{Read, Write};
use std::net::Shutdown;
use std::thread;

use bytes::Bytes;
use corering::net::TcpStream;
use corering::runtime::stats;
use socket2::SockRef;

use common::{pair_with_std, pattern, read_exactly, run};

/// Receives `count` messages of `len` bytes, one after the other, into buffers with `room`.
/// Returns the number of submissions that took.
async fn messages(
    stream: &TcpStream,
    peer: &mut std::net::TcpStream,
    (count, len): (u32, usize),
    room: usize,
) -> u64 {
    let before = stats().unwrap().sqes;
    let mut buf = Vec::with_capacity(room);
    for seed in 0..count {
        let message = pattern(seed, len);
        peer.write_all(&message).unwrap();
        let mut got = Vec::new();
        while got.len() < len {
            let n;
            (n, buf) = stream.read(buf).await;
            assert_eq!(n.unwrap(), buf.len());
            assert!(!buf.is_empty() && buf.len() <= room);
            got.extend_from_slice(&buf);
        }
        assert!(got == message, "message {seed} of {len} bytes");
    }
    stats().unwrap().sqes - before
}

#[test]
fn large_messages_go_straight_into_the_buffer_and_small_ones_do_not() {
    for len in [16 * 1024, 64 * 1024] {
        run(async move {
            let (stream, mut peer) = pair_with_std().await;
            let peer = &mut peer;
            let few = messages(&stream, peer, (50, 500), len).await;
            assert!(few < 10, "one receive for all: {few}");
            // A receive for each read.
            let each = messages(&stream, peer, (50, len), len).await;
            assert!(each >= 50, "{each}");
            let few = messages(&stream, peer, (50, 500), len).await;
            assert!(few < 10, "back to one receive for all: {few}");
            let again = messages(&stream, peer, (50, len), len).await;
            assert!(again >= 50, "{again}");
            // Without the room there is nothing to gain.
            let few = messages(&stream, peer, (10, len), 1_000).await;
            assert!(few < 10, "{few}");
        });
    }
}

#[test]
fn every_way_to_read_sees_the_bytes_in_order() {
    const LEN: usize = 4 << 20;
    run(async {
        let (stream, mut peer) = pair_with_std().await;
        let writer = thread::spawn(move || {
            peer.write_all(&pattern(1, LEN)).unwrap();
            peer.shutdown(Shutdown::Write).unwrap();
            peer
        });
        let mut got = Vec::with_capacity(LEN);
        for n in 0.. {
            let part = match n % 5 {
                0 => stream.recv().await.unwrap().unwrap_or_default().to_vec(),
                1 => stream.read(Vec::with_capacity(10)).await.1,
                2 | 3 => stream.read(vec![0; 100_000]).await.1,
                _ => {
                    let len = stream.fill_buf().await.unwrap().len();
                    stream.consume_to_vec(len / 2 + len % 2)
                }
            };
            if part.is_empty() {
                break;
            }
            got.extend_from_slice(&part);
        }
        assert_eq!(got.len(), LEN);
        assert!(got == pattern(1, LEN));
        writer.join().unwrap();
    });
}

#[test]
fn the_end_of_the_stream_reaches_a_direct_read() {
    run(async {
        let (stream, mut peer) = pair_with_std().await;
        messages(&stream, &mut peer, (5, 16 * 1024), 32 * 1024).await;
        let writer = thread::spawn(move || {
            thread::sleep(std::time::Duration::from_millis(20));
            drop(peer);
        });
        for _ in 0..3 {
            let (n, buf) = stream.read(vec![1; 32 * 1024]).await;
            assert_eq!((n.unwrap(), buf.len(), buf.capacity()), (0, 0, 32 * 1024));
        }
        assert!(stream.recv().await.unwrap().is_none());
        writer.join().unwrap();
    });
}

/// A connection of sockets that hold little.
async fn narrow_pair() -> (TcpStream, std::net::TcpStream) {
    let (stream, peer) = pair_with_std().await;
    SockRef::from(&stream)
        .set_send_buffer_size(64 * 1024)
        .unwrap();
    SockRef::from(&peer)
        .set_recv_buffer_size(64 * 1024)
        .unwrap();
    (stream, peer)
}

/// Reads `len` bytes after the writer has had to wait.
fn late_reader(mut peer: std::net::TcpStream, len: usize) -> thread::JoinHandle<Vec<u8>> {
    thread::spawn(move || {
        thread::sleep(std::time::Duration::from_millis(30));
        let mut bytes = vec![0; len];
        peer.read_exact(&mut bytes).unwrap();
        assert_eq!(peer.read(&mut [0]).unwrap(), 0, "more than was written");
        bytes
    })
}

#[test]
fn a_write_says_how_much_the_kernel_took() {
    const LEN: usize = 4 << 20;
    run(async {
        let (stream, peer) = narrow_pair().await;
        let reader = late_reader(peer, LEN);
        let bytes = Bytes::from(pattern(2, LEN));
        let mut rest = bytes.clone();
        let mut writes = 0;
        while !rest.is_empty() {
            let (n, buf) = stream.write(rest.clone()).await;
            let n = n.unwrap();
            assert!(n > 0 && n <= rest.len());
            assert_eq!(buf.len(), rest.len(), "the buffer comes back as it was");
            rest = rest.slice(n..);
            writes += 1;
        }
        assert!(writes > 1, "4 MiB fit into no such socket");
        stream.shutdown(Shutdown::Write).await.unwrap();
        assert!(reader.join().unwrap() == bytes);
    });
}

#[test]
fn several_buffers_are_written_in_order() {
    run(async {
        let (stream, mut peer) = pair_with_std().await;
        let parts = vec![
            Bytes::from_static(b"one "),
            Bytes::new(),
            Bytes::from_static(b"two "),
            Bytes::from(pattern(3, 5_000)),
            Bytes::from_static(b"end"),
        ];
        let whole = parts.concat();
        let (n, parts) = stream.write_vectored(parts).await;
        assert_eq!((n.unwrap(), parts.len()), (whole.len(), 5));
        let mut got = vec![0; whole.len()];
        peer.read_exact(&mut got).unwrap();
        assert!(got == whole);
        let (n, _) = stream.write_vectored(Vec::<Bytes>::new()).await;
        assert_eq!(n.unwrap(), 0);
        let (n, _) = stream.write_vectored(["array", " of two"]).await;
        assert_eq!(n.unwrap(), 12);
    });
}

#[test]
fn a_vectored_write_says_how_much_the_kernel_took() {
    const PART: usize = 128 * 1024;
    run(async {
        let (stream, peer) = narrow_pair().await;
        let parts: Vec<_> = (0..32).map(|seed| pattern(seed, PART)).collect();
        let whole = parts.concat();
        let (n, parts) = stream.write_vectored(parts).await;
        let n = n.unwrap();
        assert!(n > 0 && n < 32 * PART, "{n}");
        assert_eq!(parts.len(), 32);
        let reader = late_reader(peer, n);
        stream.shutdown(Shutdown::Write).await.unwrap();
        assert!(reader.join().unwrap() == whole[..n]);
    });
}

#[test]
fn what_is_sent_without_a_copy_arrives() {
    const LEN: usize = 2 << 20;
    run(async {
        let (stream, peer) = pair_with_std().await;
        let reader = late_reader(peer, LEN);
        let bytes = Bytes::from(pattern(4, LEN));
        let mut done = 0;
        while done < LEN {
            let (n, _) = stream.write_zero_copy(bytes.slice(done..)).await;
            done += n.unwrap();
        }
        stream.shutdown(Shutdown::Write).await.unwrap();
        assert!(reader.join().unwrap() == bytes);
    });
}

#[test]
fn a_large_echo_is_exact_in_both_forms() {
    run(async {
        let (stream, mut peer) = pair_with_std().await;
        let client = thread::spawn(move || {
            for seed in 0..60 {
                let len = [16 * 1024, 64 * 1024, 100][seed as usize % 3];
                let message = pattern(seed, len);
                peer.write_all(&message).unwrap();
                let mut back = vec![0; len];
                peer.read_exact(&mut back).unwrap();
                assert!(back == message, "message {seed}");
            }
        });
        let mut buf = Vec::with_capacity(64 * 1024);
        for _ in 0..20 {
            // Three messages, however many pieces they come in.
            let mut left = 16 * 1024 + 64 * 1024 + 100;
            while left > 40_000 {
                let n;
                (n, buf) = stream.read(buf).await;
                left -= n.unwrap();
                let sent;
                (sent, buf) = stream.write_all(buf).await;
                sent.unwrap();
            }
            while left > 0 {
                let lease = stream.recv().await.unwrap().unwrap();
                left -= lease.len();
                stream.write_all(lease).await.0.unwrap();
            }
        }
        client.join().unwrap();
        assert!(read_exactly(&stream, 0).await.is_empty());
    });
}
