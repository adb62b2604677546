//! A long computation, done four ways beside a heartbeat of 1 ms.
//!
//!     cargo run --release --example chunked
//!
//! A core runs one task at a time and takes none from its work. So whoever computes for long has to
//! give way, or to do it elsewhere: the heartbeat shows what happens to everybody else if not.

use std::future::Future;
use std::io;
use std::thread;
use std::time::Duration;

use clap::Parser;
use corering::sync::oneshot;
use corering::task::{spawn_blocking, yield_now};
use corering::time::{Instant, interval};

const BEAT: Duration = Duration::from_millis(1);
/// Numbers between two looks at the others: some 100 µs of work.
const PIECE: u64 = 500;

/// Counts primes in four ways, and shows how late a heartbeat beside it was
#[derive(Parser)]
struct Options {
    /// Up to which number primes are counted
    #[arg(long, value_name = "N", default_value_t = 400_000)]
    #[arg(value_parser = clap::value_parser!(u64).range(10_000..=50_000_000))]
    numbers: u64,
}

#[corering::main]
async fn main() -> io::Result<()> {
    let n = Options::parse().numbers;
    println!("primes below {n}, and how late the worst beat was:");
    let inline = measured("in the task itself", in_one_go(n)).await;
    let pieces = measured("in pieces, with yield_now", in_pieces(n)).await;
    let pool = measured("on spawn_blocking", on_the_pool(n)).await;
    let channel = measured("on a thread with a channel", on_a_thread(n)).await;

    let same = [&pieces, &pool, &channel].map(|other| other.primes == inline.primes);
    if same != [true; 3] {
        return Err(io::Error::other("they do not agree"));
    }
    let gentle = pieces.worst.max(pool.worst).max(channel.worst);
    let times = inline.worst.as_secs_f64() / gentle.as_secs_f64();
    println!("whoever does not give way makes the others wait {times:.0} times as long");
    Ok(())
}

struct Measured {
    primes: u64,
    worst: Duration,
}

/// Computes beside a heartbeat.
async fn measured(way: &str, computation: impl Future<Output = u64> + 'static) -> Measured {
    let (stop, stopped) = oneshot::channel();
    let heart = corering::spawn(heartbeat(stopped));
    let start = Instant::now();
    // A task of its own, as a request of a server would be.
    let primes = corering::spawn(computation).await.expect("no panic");
    let took = start.elapsed();
    drop(stop);
    let worst = heart.await.expect("no panic");
    println!("{way:<27} {worst:>10.1?}   {primes} primes in {took:.0?}");
    Measured { primes, worst }
}

/// The worst delay of a beat, until it is told to stop.
async fn heartbeat(mut stopped: oneshot::Receiver<()>) -> Duration {
    let mut worst = Duration::ZERO;
    let mut beats = interval(BEAT);
    while matches!(stopped.try_recv(), Err(oneshot::TryRecvError::Empty)) {
        let due = beats.tick().await;
        worst = worst.max(Instant::now().duration_since(due));
    }
    worst
}

async fn in_one_go(n: u64) -> u64 {
    primes(0, n)
}

async fn in_pieces(n: u64) -> u64 {
    let mut count = 0;
    for from in (0..n).step_by(PIECE as usize) {
        count += primes(from, n.min(from + PIECE));
        yield_now().await; // all who are ready have their turn, then timers and completions
    }
    count
}

async fn on_the_pool(n: u64) -> u64 {
    let computing = spawn_blocking(move || primes(0, n));
    computing.await.expect("there is room in the pool")
}

/// A thread of our own, for what goes on for ever. Its results come through a channel: wakers work
/// from every thread.
async fn on_a_thread(n: u64) -> u64 {
    let (sender, receiver) = async_channel::bounded(16);
    let worker = thread::spawn(move || {
        for from in (0..n).step_by(100 * PIECE as usize) {
            let count = primes(from, n.min(from + 100 * PIECE));
            if sender.send_blocking(count).is_err() {
                return; // nobody waits any more
            }
        }
    });
    let mut count = 0;
    while let Ok(more) = receiver.recv().await {
        count += more;
    }
    worker.join().expect("no panic");
    count
}

/// How many numbers from `from` to below `to` are prime.
fn primes(from: u64, to: u64) -> u64 {
    let is_prime = |&n: &u64| n > 1 && (2..).take_while(|d| d * d <= n).all(|d| n % d != 0);
    (from..to).filter(is_prime).count() as u64
}
