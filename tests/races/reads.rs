//! Reads raced against their end, while bytes come.

use std::cell::Cell;
use std::io::Write;
use std::net::{Shutdown, TcpStream as StdStream};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use corering::net::TcpStream;
use corering::spawn;
use corering::task::{JoinHandle, spawn_blocking};

use super::common::{Random, pair_with_std};
use super::{Way, cancels_wanted, race, run};

const STREAMS: u32 = 16;
/// Room of a buffer that is read into; the larger ones go to the kernel when messages are large.
pub(crate) const ROOMS: [usize; 3] = [61, 4 * 1024, 40 * 1024];
/// What is in the socket is less than this: so a write without a reader does not block.
const UNREAD_MAX: u64 = 64 * 1024;

/// An endless stream of bytes, of which each says where it stands.
struct Counter {
    seed: u64,
    at: u64,
}

impl Counter {
    fn new(seed: u32) -> Counter {
        let (seed, at) = (u64::from(seed) << 40, 0);
        Counter { seed, at }
    }

    fn bytes(&mut self, len: usize) -> Vec<u8> {
        let start = self.seed + self.at;
        self.at += len as u64;
        // A multiple of what is nearly the golden ratio: neighbours differ, and so do distances.
        let byte = |n: u64| (n.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 53) as u8;
        (start..start + len as u64).map(byte).collect()
    }

    fn expect(&mut self, bytes: &[u8]) {
        let at = self.at;
        let expected = self.bytes(bytes.len());
        let wrong = expected.iter().zip(bytes).position(|(a, b)| a != b);
        assert_eq!(wrong, None, "after {at} bytes, wrong in {}", bytes.len());
    }
}

/// How much is written at once: small pieces, and now and then a large one.
fn size(random: &mut Random) -> usize {
    match random.below(50) {
        0 => 1 + random.below(32 * 1024),
        _ => 1 + random.below(200),
    }
}

/// One read in any form: what it has taken off the stream, empty at its end. `None` if it was
/// ended before.
async fn read(stream: &TcpStream, random: &mut Random, happens: impl FnMut()) -> Option<Vec<u8>> {
    let (way, polls) = (Way::random(random), 1 + random.below(3));
    let room = ROOMS[random.below(ROOMS.len())];
    match random.below(4) {
        0 => {
            let lease = race(stream.recv(), way, happens, polls).await?;
            Some(
                lease
                    .expect("an error has ended it")
                    .map_or(vec![], |lease| lease.to_vec()),
            )
        }
        1 => {
            let lease = race(stream.fill_buf(), way, happens, polls).await?;
            let len = lease.expect("an error has ended it").len();
            Some(stream.consume_to_vec(len.min(1 + random.below(1_000))))
        }
        _ => {
            let buf = Vec::with_capacity(room);
            let (n, buf) = race(stream.read(buf), way, happens, polls).await?;
            assert_eq!(n.expect("an error has ended it"), buf.len());
            Some(buf)
        }
    }
}

#[test]
fn reads_raced_on_one_thread_lose_no_byte() {
    run(async {
        let cancels = Rc::new(Cell::new(0));
        let tasks: Vec<_> = (0..STREAMS)
            .map(|n| spawn(alone(n, Rc::clone(&cancels))))
            .collect();
        let bytes = sum(tasks).await;
        let cancels = cancels.get();
        format!("reads on one thread: {cancels} ended before, {bytes} bytes came, 0 lost")
    });
}

/// Reads what it has written itself, while the reads are in flight.
async fn alone(number: u32, cancels: Rc<Cell<u64>>) -> u64 {
    let (stream, mut peer) = pair_with_std().await;
    let mut moments = Random::new(number + 1);
    let mut random = Random::new(number + 100);
    let (mut sent, mut got) = (Counter::new(number), Counter::new(number));
    while cancels.get() < cancels_wanted() {
        let unread = sent.at - got.at;
        let mut write = || {
            if unread < UNREAD_MAX && moments.below(6) == 0 {
                let bytes = sent.bytes(size(&mut moments));
                peer.write_all(&bytes).expect("room in the socket");
            }
        };
        // Before it is submitted, too.
        write();
        match read(&stream, &mut random, write).await {
            Some(bytes) => got.expect(&bytes),
            None => cancels.set(cancels.get() + 1),
        }
    }
    peer.shutdown(Shutdown::Write)
        .expect("the end of the stream");
    rest(&stream, &mut random, &mut got).await;
    assert_eq!(got.at, sent.at, "every byte came");
    got.at
}

/// Reads to the end, and is not left alone meanwhile.
async fn rest(stream: &TcpStream, random: &mut Random, got: &mut Counter) {
    loop {
        match read(stream, random, || {}).await {
            Some(bytes) if bytes.is_empty() => return,
            Some(bytes) => got.expect(&bytes),
            None => {}
        }
    }
}

async fn sum(tasks: Vec<JoinHandle<u64>>) -> u64 {
    let mut sum = 0;
    for task in tasks {
        sum += task
            .await
            .unwrap_or_else(|error| std::panic::resume_unwind(error.into_panic()));
    }
    sum
}

#[test]
fn reads_raced_with_writing_threads_lose_no_byte() {
    run(async {
        let cancels = Rc::new(Cell::new(0));
        let enough = Arc::new(AtomicBool::new(false));
        let (mut streams, mut writers) = (Vec::new(), Vec::new());
        for _ in 0..2 {
            let mut peers = Vec::new();
            for _ in 0..STREAMS / 2 {
                let number = streams.len() as u32;
                let (stream, peer) = pair_with_std().await;
                streams.push(stream);
                peers.push((peer, Counter::new(number)));
            }
            let enough = Arc::clone(&enough);
            writers.push(spawn_blocking(move || write_at_random(peers, &enough)));
        }
        let tasks = (0..).zip(streams).map(|(number, stream)| {
            let (cancels, enough) = (Rc::clone(&cancels), Arc::clone(&enough));
            spawn(async move {
                let mut random = Random::new(number + 1);
                let mut got = Counter::new(number);
                while cancels.get() < cancels_wanted() {
                    match read(&stream, &mut random, || {}).await {
                        Some(bytes) => got.expect(&bytes),
                        None => cancels.set(cancels.get() + 1),
                    }
                }
                enough.store(true, Ordering::Relaxed);
                rest(&stream, &mut random, &mut got).await;
                got.at
            })
        });
        let bytes = sum(tasks.collect()).await;
        let mut sent = 0;
        for writer in writers {
            sent += writer.await.expect("a writer");
        }
        assert_eq!(bytes, sent, "every byte came");
        let cancels = cancels.get();
        format!("reads and writing threads: {cancels} ended before, {bytes} bytes came, 0 lost")
    });
}

/// Writes to each of `peers` until it is enough: how many bytes.
fn write_at_random(mut peers: Vec<(StdStream, Counter)>, enough: &AtomicBool) -> u64 {
    let mut random = Random::new(peers.len() as u32);
    while !enough.load(Ordering::Relaxed) {
        let count = peers.len();
        let (peer, counter) = &mut peers[random.below(count)];
        let bytes = counter.bytes(size(&mut random));
        peer.write_all(&bytes).expect("a reader that goes on");
        thread::sleep(Duration::from_micros(random.below(60) as u64));
    }
    peers.iter().map(|(_, counter)| counter.at).sum()
}
