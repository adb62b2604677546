//! What is always ready does not keep others from running.

mod common;

use std::cell::{Cell, RefCell};
use std::io::{Read, Write};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::thread;
use std::time::Duration;

use corering::net::TcpStream;
use corering::runtime::stats;
use corering::sync::mpsc;
use corering::task::{JoinSet, yield_now};
use corering::time::{Instant, interval, sleep};

use common::{localhost, pair_with_std, run, spawn_echo_server};

/// Results that a task takes from what is always ready before it gives way.
const BUDGET: usize = 128;

/// Who did something, in order.
#[derive(Clone, Default)]
struct Log(Rc<RefCell<Vec<u8>>>);

impl Log {
    fn say(&self, who: u8) {
        self.0.borrow_mut().push(who);
    }

    /// The longest that one of two went on while the other had something to do.
    fn longest_run(&self) -> usize {
        let log = self.0.borrow();
        let both = |from: usize| log[from..].contains(&0) && log[from..].contains(&1);
        let mut longest = 0;
        let mut from = 0;
        for run in log.chunk_by(|a, b| a == b) {
            if both(from) {
                longest = longest.max(run.len());
            }
            from += run.len();
        }
        longest
    }
}

/// A stream with `len` bytes in its inbox.
async fn full_stream(len: usize) -> (TcpStream, std::net::TcpStream) {
    let (stream, mut peer) = pair_with_std().await;
    peer.write_all(&vec![7; len]).unwrap();
    while stream.fill_buf().await.unwrap().len() < len {
        stream.fill_more().await.unwrap();
    }
    (stream, peer)
}

#[test]
fn two_streams_that_always_have_bytes_take_turns() {
    const BYTES: usize = 20_000;
    run(async {
        let log = Log::default();
        let mut readers = JoinSet::new();
        let streams = [full_stream(BYTES).await, full_stream(BYTES).await];
        for (who, (stream, peer)) in (0..2).zip(streams) {
            let log = log.clone();
            readers.spawn(async move {
                let mut buf = Vec::with_capacity(16);
                let mut left = BYTES;
                while left > 0 {
                    let n;
                    (n, buf) = stream.read(buf).await;
                    left -= n.unwrap();
                    log.say(who);
                }
                drop(peer);
            });
        }
        readers.join_all().await;
        let longest = log.longest_run();
        assert!((2..=BUDGET).contains(&longest), "{longest}");
    });
}

#[test]
fn two_channels_that_always_have_messages_take_turns() {
    const MESSAGES: usize = 10_000;
    run(async {
        let log = Log::default();
        let mut readers = JoinSet::new();
        for who in 0..2 {
            let (sender, mut receiver) = mpsc::channel(MESSAGES);
            for n in 0..MESSAGES {
                sender.try_send(n).unwrap();
            }
            let log = log.clone();
            readers.spawn(async move {
                for n in 0..MESSAGES {
                    assert_eq!(receiver.recv().await, Some(n));
                    log.say(who);
                }
            });
        }
        readers.join_all().await;
        let longest = log.longest_run();
        assert!((2..=BUDGET).contains(&longest), "{longest}");
    });
}

const BEAT: Duration = Duration::from_millis(1);
/// So often a heart that is late is listened to again: the machine may do something else.
const ATTEMPTS: usize = 10;

/// How late half of its beats are at least, and a tenth of them.
async fn listen_to_heart() -> (Duration, Duration) {
    const BEATS: u32 = 300;
    let mut late = Vec::new();
    let mut beats = interval(BEAT);
    for _ in 0..BEATS {
        let due = beats.tick().await;
        late.push(Instant::now().duration_since(due));
    }
    late.sort();
    (late[late.len() / 2], late[late.len() * 9 / 10])
}

/// Echoes on each stream, one after the other, until it is told to stop.
fn load_all(mut clients: Vec<std::net::TcpStream>, stop: Arc<AtomicBool>) -> u64 {
    let mut buf = [0; 64];
    let mut echoes = 0;
    while !stop.load(Relaxed) {
        for client in &mut clients {
            client.read_exact(&mut buf).unwrap();
            client.write_all(&buf).unwrap();
            echoes += 1;
        }
    }
    echoes
}

/// A timer that does not fire by then is forgotten.
const PATIENCE: Duration = Duration::from_secs(2);

#[test]
fn a_timer_fires_beside_a_task_that_yields_all_the_time() {
    run(async {
        let fired = Rc::new(Cell::new(false));
        let busy = corering::spawn({
            let fired = Rc::clone(&fired);
            async move {
                let start = Instant::now();
                while !fired.get() && start.elapsed() < PATIENCE {
                    yield_now().await;
                }
                start.elapsed()
            }
        });
        sleep(Duration::from_millis(1)).await;
        fired.set(true);
        let took = busy.await.unwrap();
        assert!(took < PATIENCE, "{took:?}");
    });
}

#[test]
fn a_heartbeat_keeps_its_time_beside_busy_streams_and_busy_tasks() {
    const STREAMS: usize = 16;
    const TASKS: usize = 200;
    run(async {
        let listener = corering::net::TcpListener::bind(localhost()).await.unwrap();
        let address = listener.local_addr().unwrap();
        spawn_echo_server(listener);
        // Each keeps a request under way, and another behind it.
        let clients: Vec<_> = (0..STREAMS)
            .map(|_| {
                let mut stream = std::net::TcpStream::connect(address).unwrap();
                stream.write_all(&[1; 128]).unwrap();
                stream
            })
            .collect();
        let stop = Arc::new(AtomicBool::new(false));
        let load = thread::spawn({
            let stop = Arc::clone(&stop);
            move || load_all(clients, stop)
        });
        let mut busy = JoinSet::new();
        for _ in 0..TASKS {
            let stop = Arc::clone(&stop);
            busy.spawn(async move {
                let mut turns = 0_u64;
                while !stop.load(Relaxed) {
                    yield_now().await;
                    turns += 1;
                }
                turns
            });
        }

        let in_time = |(middle, most)| middle < 5 * BEAT && most < 20 * BEAT;
        let mut late = listen_to_heart().await;
        for _ in 1..ATTEMPTS {
            if in_time(late) {
                break;
            }
            late = listen_to_heart().await;
        }
        assert!(in_time(late), "{late:?}");
        stop.store(true, Relaxed);

        let turns = busy.join_all().await;
        let (fewest, most) = (turns.iter().min(), turns.iter().max());
        // All of them have as many turns, to within one batch.
        assert!(most.unwrap() - fewest.unwrap() <= 1, "{fewest:?} {most:?}");
        let load = corering::task::spawn_blocking(move || load.join().unwrap());
        assert!(load.await.unwrap() > 100);
    });
}

#[test]
fn large_writes_are_handed_over_a_few_at_a_time() {
    const STREAMS: usize = 64;
    const LEN: usize = 64 * 1024;
    run(async {
        let mut streams = Vec::new();
        for _ in 0..STREAMS {
            streams.push(pair_with_std().await);
        }
        let mut writes = JoinSet::new();
        let mut peers = Vec::new();
        for (stream, peer) in streams {
            peers.push(peer);
            writes.spawn(async move {
                stream.write_all(vec![3; LEN]).await.0.unwrap();
                stream
            });
        }
        let reader = thread::spawn(move || {
            for mut peer in peers {
                let mut buf = vec![0; LEN];
                peer.read_exact(&mut buf).unwrap();
            }
        });
        let before = stats().unwrap();
        let streams = writes.join_all().await;
        let after = stats().unwrap();
        // Each of them a turn, with timers and tasks beside it.
        let (enters, turns) = (after.enters - before.enters, after.turns - before.turns);
        let few = STREAMS as u64 / 8;
        assert!(enters >= few && turns >= few, "{enters}, {turns}");
        drop(streams);
        reader.join().unwrap();
    });
}

#[test]
fn a_task_that_yields_all_the_time_does_not_keep_a_stream_waiting() {
    const TIMES: usize = 100;
    // Without a timer, and so without a limit of `run`: a core that has none looks for less.
    let runtime = corering::Runtime::new().unwrap();
    runtime.block_on(async {
        let done = Rc::new(Cell::new(false));
        let is_done = Rc::clone(&done);
        let busy = corering::spawn(async move {
            let start = Instant::now();
            while !is_done.get() {
                assert!(start.elapsed() < Duration::from_secs(10), "nothing came");
                yield_now().await;
            }
        });
        let ask = async {
            let (stream, mut peer) = pair_with_std().await;
            let echo = thread::spawn(move || {
                let mut buf = [0; 4];
                for _ in 0..TIMES {
                    peer.read_exact(&mut buf).unwrap();
                    peer.write_all(&buf).unwrap();
                }
            });
            for _ in 0..TIMES {
                stream.write_all("ping").await.0.unwrap();
                assert_eq!(&stream.recv().await.unwrap().unwrap()[..], b"ping");
            }
            echo.join().unwrap();
            done.set(true);
            std::future::pending().await
        };
        // Who yields ends when all has come, or too late.
        futures_lite::future::or(busy, ask).await.unwrap();
    });
}
