//! A server and its clients, all of whose futures may end at any moment, for as long as you like.
//!
//!     cargo run --release --example soak -- --minutes 10
//!
//! Both sides send each other streams of which they know every byte, in writes of 1 B to 256 KiB,
//! and compare what comes, in whatever form they read it. One future in 20 is dropped, one in 20 is
//! timed out or cancelled, one connection in three is cut or reset by a side. At the end the
//! accounts of both sides must agree: to the byte where a connection ended in order, and where it
//! did not, what came must be how it began.

mod client;
mod core;
mod counts;
mod fate;
mod files;
mod pattern;
mod random;
mod receive;
mod report;
mod send;
mod server;
mod talk;

use std::io;
use std::pin::pin;
use std::process::ExitCode;
use std::sync::atomic::Ordering;
use std::sync::{Arc, mpsc};
use std::time::{Duration, Instant};

use clap::Parser;
use corering::Runtime;
use corering::signal::ctrl_c;
use corering::time::sleep;
use futures_lite::future::poll_once;
use futures_util::{FutureExt, select_biased};

use self::core::Core;
use crate::counts::Shared;
use crate::report::Sample;

/// A server and its clients, whose futures may end at any moment
///
/// Fails if a byte, a connection or a descriptor is lost or comes twice, if a byte is wrong, or if
/// something grows: of resident memory, descriptors and slots in flight, the medians of the second
/// and of the last fifth of the time are compared, and the last may be larger by a tenth and 16 MiB
/// or 64 pieces. When all connections are over, descriptors, slots, tasks, timers and receive
/// buffers must be what they were at the beginning. Ctrl-C ends it in order.
#[derive(Parser)]
struct Options {
    /// How long to go on
    #[arg(long, value_name = "MINUTES", default_value = "1", value_parser = minutes)]
    minutes: Duration,
    /// Connections at a time
    #[arg(long, value_name = "N", default_value_t = 1_000)]
    #[arg(value_parser = clap::value_parser!(u32).range(1..=8_000))]
    connections: u32,
    /// What is random follows from it, but for the moments [default: the time]
    #[arg(long, value_name = "N")]
    seed: Option<u64>,
}

fn main() -> ExitCode {
    match run(&Options::parse()) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("Error: {error}");
            ExitCode::FAILURE
        }
    }
}

/// False if something was lost.
fn run(options: &Options) -> io::Result<bool> {
    let now = std::time::SystemTime::UNIX_EPOCH.elapsed();
    let by_time = now.map_or(1, |time| time.as_secs());
    let seed = options.seed.unwrap_or(by_time);
    println!(
        "{} connections for {:?}, seed {seed}",
        options.connections, options.minutes
    );
    Runtime::new()?.block_on(watch(options, seed))
}

/// Starts both sides, prints a line each second, and ends them.
async fn watch(options: &Options, seed: u64) -> io::Result<bool> {
    let shared = Arc::new(Shared::default());
    let mut interrupted = pin!(ctrl_c().fuse());
    if let Some(early) = poll_once(&mut interrupted).await {
        early?;
    }
    let before = report::descriptors()?;
    let (started, address) = mpsc::channel();
    let server = Core::start(0, seed, &shared, |core| server::serve(core, started));
    let address = address.recv().map_err(io::Error::other)?;
    let connections = options.connections.into();
    let clients = Core::start(1, seed, &shared, move |core| {
        client::ask(core, address, connections)
    });

    let (start, mut samples) = (Instant::now(), Vec::new());
    report::print_head();
    while start.elapsed() < options.minutes && !clients.is_finished() && !server.is_finished() {
        select_biased! {
            signal = interrupted => {
                signal?;
                // Its descriptor was counted.
                interrupted.set(ctrl_c().fuse());
                let _ = poll_once(&mut interrupted).await;
                break;
            }
            () = sleep(Duration::from_secs(1)).fuse() => {}
        }
        let sample = Sample::take(&shared)?;
        report::print_line(start.elapsed(), &shared, &sample);
        samples.push(sample);
    }
    let elapsed = start.elapsed();
    shared.clients_stop.store(true, Ordering::Relaxed);
    while !clients.is_finished() {
        sleep(Duration::from_millis(10)).await;
    }
    shared.server_stops.store(true, Ordering::Relaxed);
    while !server.is_finished() {
        sleep(Duration::from_millis(10)).await;
    }
    for thread in [clients, server] {
        if thread.join().is_err() {
            shared.fault("a thread has panicked");
        }
    }
    let after = report::descriptors()?;
    if after != before {
        shared.fault(format!("{before} descriptors have become {after}"));
    }
    Ok(report::conclude(elapsed, &shared, &samples))
}

fn minutes(text: &str) -> Result<Duration, String> {
    let minutes = text
        .parse()
        .ok()
        .filter(|minutes| (0.05..=10_000.0).contains(minutes));
    minutes
        .map(|minutes: f64| Duration::from_secs_f64(60.0 * minutes))
        .ok_or_else(|| "a number from 0.05 to 10000".into())
}
