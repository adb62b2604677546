//! Thousands of reads that end in one turn, through a submission queue of two entries.

use std::io::{Read, Write};
use std::net::TcpStream as StdStream;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::time::Duration;

use corering::net::TcpStream;
use corering::runtime::{Builder, stats};
use corering::task::yield_now;
use corering::time::timeout;
use futures_lite::future::poll_once;

use super::common::{allow_descriptors, descriptors, pattern, until};
use super::one_at_a_time;

const STREAMS: usize = 3_000;
/// A message after which a read lends its own buffer to the kernel.
const LARGE: usize = 16 * 1024;

/// One end is ours. Pairs, since they need no listener.
fn pair() -> (TcpStream, UnixStream) {
    let (ours, theirs) = UnixStream::pair().expect("a socket pair");
    theirs
        .set_read_timeout(Some(Duration::from_secs(10)))
        .expect("a time limit");
    let ours = StdStream::from(OwnedFd::from(ours));
    (TcpStream::from_std(ours).expect("a runtime"), theirs)
}

fn in_flight() -> usize {
    stats().expect("inside a runtime").in_flight
}

/// Polls each once: none is ready.
async fn poll_all<F: Future + Unpin>(reads: &mut [F]) {
    for some in reads.chunks_mut(100) {
        for read in some {
            assert!(poll_once(read).await.is_none());
        }
        // A task that never yields runs out of its budget.
        yield_now().await;
    }
}

/// Has every second stream read into the caller's memory.
async fn make_direct(streams: &[(TcpStream, UnixStream)]) {
    let message = pattern(1, LARGE);
    for (stream, peer) in streams.iter().step_by(2) {
        let mut peer = peer;
        peer.write_all(&message).expect("room in the socket");
        let mut got = Vec::new();
        while got.len() < LARGE {
            let (n, part) = stream.read(Vec::with_capacity(LARGE)).await;
            assert_ne!(n.expect("bytes"), 0);
            got.extend_from_slice(&part);
        }
        assert!(got == message);
    }
}

#[test]
fn idle_reads_dropped_in_one_turn_all_end_and_streams_stay_whole() {
    let _alone = one_at_a_time();
    if !allow_descriptors(2 * STREAMS + 100) {
        println!("skipped: {STREAMS} connections need more descriptors than there may be");
        return;
    }
    let before = descriptors();
    let runtime = Builder::new().ring_entries(2).build().expect("a runtime");
    runtime.block_on(async {
        let ends: Vec<_> = (0..STREAMS).map(|_| pair()).collect();
        make_direct(&ends).await;
        let buf = || Vec::with_capacity(LARGE);
        let mut reads: Vec<_> = ends.iter().map(|(stream, _)| stream.read(buf())).collect();
        poll_all(&mut reads).await;
        // The direct ones first cancel the receive that was in flight.
        let lent = timeout(Duration::from_secs(20), async {
            while in_flight() < STREAMS {
                poll_all(&mut reads).await;
            }
        });
        lent.await.expect("every read has an operation in flight");

        // Half of them own their operation. The others' stay armed for whoever reads next.
        drop(reads);
        let armed = STREAMS / 2;
        until("the direct reads have ended", || in_flight() <= armed + 1).await;
        for (number, (stream, peer)) in ends.iter().enumerate() {
            let mut peer = peer;
            let message = pattern(number as u32, 64);
            peer.write_all(&message).expect("room in the socket");
            assert_eq!(stream.read(Vec::with_capacity(128)).await.1, message);
        }

        let mut receives: Vec<_> = ends.iter().map(|(stream, _)| stream.recv()).collect();
        poll_all(&mut receives).await;
        assert!(in_flight() >= STREAMS, "{}", in_flight());
        drop(receives);
        let (streams, peers): (Vec<_>, Vec<_>) = ends.into_iter().unzip();
        drop(streams);
        // One is for the wake-ups of other threads.
        until("every op has ended", || in_flight() <= 1).await;
        assert_eq!(stats().expect("inside a runtime").orphans, in_flight());
        for mut peer in &peers {
            assert_eq!(peer.read(&mut [0]).expect("no error"), 0, "the end");
        }
    });
    assert!(
        runtime.stats().cancels >= STREAMS as u64,
        "{:?}",
        runtime.stats()
    );
    let left = runtime.shutdown(Duration::from_secs(20));
    assert!(left.is_empty(), "{left}");
    assert_eq!(descriptors(), before);
}
