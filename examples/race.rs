//! Slow numbers: one after the other, all at once, as they come, the first of them, until a
//! deadline; and two connections of which the slower one loses nothing.
//!
//!     cargo run --release --example race
//!
//! The combinators are those of the `futures-util` crate: a runtime needs none of its own.

use std::future::Future;
use std::io;
use std::pin::pin;
use std::time::Duration;

use clap::Parser;
use corering::net::{TcpListener, TcpStream};
use corering::task::JoinSet;
use corering::time::{Instant, sleep, timeout};
use futures_util::future::{Either, join_all, select, select_all};
use futures_util::stream::{FuturesUnordered, StreamExt};

/// Waits for slow numbers in all the ways that there are
#[derive(Parser)]
struct Options {
    /// What the slowest number takes, in milliseconds
    #[arg(long, value_name = "MS", default_value_t = 100)]
    #[arg(value_parser = clap::value_parser!(u64).range(20..=10_000))]
    slowest: u64,
}

/// A number that is known after a while.
async fn slow(number: u64, after: Duration) -> u64 {
    sleep(after).await;
    number
}

#[corering::main]
async fn main() -> io::Result<()> {
    let slowest = Duration::from_millis(Options::parse().slowest);
    // 1 takes longest, 5 is the first.
    let numbers = move || (1..=5).map(move |n| slow(n, slowest * (6 - n as u32) / 5));

    let in_turn = async {
        let mut all = Vec::new();
        for number in numbers() {
            all.push(number.await); // nothing is under way but this one
        }
        all
    };
    shown("one after the other", in_turn).await;

    shown("all at once", join_all(numbers())).await;

    let as_they_come = numbers().collect::<FuturesUnordered<_>>();
    shown("as they come", as_they_come.collect::<Vec<_>>()).await;

    let tasks = async {
        let mut tasks = JoinSet::new();
        numbers().for_each(|number| tasks.spawn(number));
        tasks.join_all().await
    };
    shown("as tasks of their own", tasks).await;

    let first = async {
        let boxed = numbers().map(Box::pin);
        vec![select_all(boxed).await.0] // the others are dropped, and their timers with them
    };
    shown("the first", first).await;

    let mut unfinished = numbers().collect::<FuturesUnordered<_>>();
    let mut known = Vec::new();
    let until_deadline = async {
        let all = async {
            while let Some(number) = unfinished.next().await {
                known.push(number);
            }
        };
        let _ = timeout(slowest * 7 / 10, all).await; // what is known by then stays known
        known
    };
    shown("until a deadline", until_deadline).await;

    two_mirrors().await
}

async fn shown(way: &str, numbers: impl Future<Output = Vec<u64>>) {
    let start = Instant::now();
    let numbers = numbers.await;
    println!("{way:<22} {numbers:?} after {:.0?}", start.elapsed());
}

/// Asks two servers and takes the first answer. The other one is not lost with its future.
async fn two_mirrors() -> io::Result<()> {
    let near = mirror("near", Duration::from_millis(5)).await?;
    let far = mirror("far", Duration::from_millis(20)).await?;
    let slower = match select(pin!(near.recv()), pin!(far.recv())).await {
        Either::Left((answer, _)) => {
            println!("the first mirror says {}", text(&answer?));
            &far
        }
        Either::Right((answer, _)) => {
            println!("the first mirror says {}", text(&answer?));
            &near
        }
    };
    // The future that lost was dropped: its stream has kept what it was to get.
    println!("the other one says {}", text(&slower.recv().await?));
    Ok(())
}

fn text(answer: &Option<corering::Lease>) -> String {
    let bytes = answer.as_deref().unwrap_or_default();
    String::from_utf8_lossy(bytes).into_owned()
}

/// A connection to a server that says its name after a while.
async fn mirror(name: &'static str, after: Duration) -> io::Result<TcpStream> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let client = TcpStream::connect(listener.local_addr()?).await?;
    let (server, _) = listener.accept().await?;
    corering::spawn(async move {
        sleep(after).await;
        let _ = server.write_all(name).await; // a client that is gone misses nothing
    });
    Ok(client)
}
