//! A UDP echo server on one core: one socket for as many clients as there are.
//!
//!     cargo run --release --example udp_echo -- --demo 5
//!     cargo run --release --example udp_echo -- --addr 127.0.0.1:7000
//!
//! With `--demo` clients on another thread ask for that long and check every byte that comes back;
//! without it the server runs until Ctrl-C.

use std::cell::Cell;
use std::io;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::{Duration, Instant};

use clap::Parser;
use corering::Runtime;
use corering::io::Operation;
use corering::net::UdpSocket;
use corering::runtime::stats;
use corering::task::spawn_blocking;
use rustix::time::{ClockId, clock_gettime};

/// A UDP echo server on one core.
#[derive(Clone, Parser)]
struct Options {
    /// Where to receive; with --demo on a port that the kernel chooses, unless this is given
    #[arg(long, value_name = "ADDRESS")]
    addr: Option<String>,
    /// Ask the server for so many seconds, and print what that took
    #[arg(long, value_name = "SECONDS")]
    #[arg(value_parser = clap::value_parser!(u64).range(1..=3600))]
    demo: Option<u64>,
    /// Sockets that ask
    #[arg(long, value_name = "N", default_value_t = 64)]
    #[arg(value_parser = clap::value_parser!(u32).range(1..=1_000))]
    sockets: u32,
    /// Bytes of each datagram
    #[arg(long, value_name = "N", default_value_t = 64)]
    #[arg(value_parser = clap::value_parser!(u32).range(8..=65_507))]
    bytes: u32,
}

/// Tasks that answer. Each waits until its answer is sent, and the answers of all of them go with
/// one system call.
const ECHOES: usize = 16;
/// An answer that takes longer is lost: nobody sends a datagram again but who misses it.
const PATIENCE: Duration = Duration::from_secs(1);

#[corering::main]
async fn main() -> io::Result<()> {
    let options = Options::parse();
    let default = options.demo.map_or("127.0.0.1:7000", |_| "127.0.0.1:0");
    let socket = UdpSocket::bind(options.addr.as_deref().unwrap_or(default)).await?;
    let address = socket.local_addr()?;
    println!("echoing on {address}");
    let socket = Rc::new(socket);
    for _ in 0..ECHOES {
        corering::spawn(echo(Rc::clone(&socket)));
    }
    if options.demo.is_none() {
        return corering::signal::ctrl_c().await;
    }

    let (cpu, enters, start) = (cpu()?, enters(), Instant::now());
    let asked = spawn_blocking(move || Runtime::new()?.block_on(ask_all(address, &options)));
    let (answers, lost) = asked.await.map_err(io::Error::other)??;
    if answers == 0 {
        return Err(io::Error::other("no datagram was answered"));
    }
    let each = |total: f64| total / answers as f64;
    println!("{answers} datagrams came back as they were sent, {lost} were lost");
    println!(
        "{:>12.0} datagrams/s",
        answers as f64 / start.elapsed().as_secs_f64()
    );
    let spent = (self::cpu()? - cpu).as_nanos();
    println!("{:>12.0} ns of the server's CPU each", each(spent as f64));
    println!(
        "{:>12.3} system calls (io_uring_enter) each",
        each(self::enters() - enters)
    );
    Ok(())
}

/// Sends every datagram back to where it came from, in the buffer that the kernel has filled.
async fn echo(socket: Rc<UdpSocket>) -> io::Result<()> {
    loop {
        let datagram = socket.recv().await?;
        if datagram.truncated {
            continue; // the rest is gone: what is left is not what was sent
        }
        // Who cannot be reached any more is no reason to stop.
        if let (Err(error), _) = socket.send_to(datagram.payload, datagram.from).await {
            eprintln!("{}: {error}", datagram.from);
        }
    }
}

/// Asks from several sockets at once. How many answers came, and how many did not.
async fn ask_all(server: SocketAddr, options: &Options) -> io::Result<(u64, u64)> {
    let end = Instant::now() + Duration::from_secs(options.demo.unwrap_or(1));
    let lost = Rc::new(Cell::new(0));
    let asking = (0..options.sockets).map(|number| {
        let request = (0..options.bytes).map(|i| (i ^ number) as u8).collect();
        corering::spawn(ask(server, request, end, Rc::clone(&lost)))
    });
    let mut answers = 0;
    for asking in asking.collect::<Vec<_>>() {
        answers += asking.await.map_err(io::Error::other)??;
    }
    Ok((answers, lost.get()))
}

async fn ask(
    server: SocketAddr,
    mut request: Vec<u8>,
    end: Instant,
    lost: Rc<Cell<u64>>,
) -> io::Result<u64> {
    let socket = UdpSocket::bind((server.ip(), 0)).await?;
    socket.connect(server).await?;
    let mut answers = 0;
    for number in 0_u64.. {
        if Instant::now() >= end {
            break;
        }
        request[..8].copy_from_slice(&number.to_le_bytes());
        let sent;
        (sent, request) = socket.send(request).await;
        sent?;
        match socket.recv().timeout(PATIENCE).await {
            Ok(answer) if *answer.payload == request => answers += 1,
            Ok(answer) if number_of(&answer.payload) < Some(number) => {} // it was late
            Ok(_) => return Err(io::Error::other("not what was sent")),
            Err(error) if error.kind() == io::ErrorKind::TimedOut => lost.set(lost.get() + 1),
            Err(error) => return Err(error),
        }
    }
    Ok(answers)
}

/// The number that a datagram begins with.
fn number_of(datagram: &[u8]) -> Option<u64> {
    datagram.first_chunk().map(|head| u64::from_le_bytes(*head))
}

/// The CPU time of this thread.
fn cpu() -> io::Result<Duration> {
    Duration::try_from(clock_gettime(ClockId::ThreadCPUTime)).map_err(io::Error::other)
}

/// The system calls of this thread's runtime.
fn enters() -> f64 {
    stats().map_or(0.0, |stats| stats.enters as f64)
}
