//! What a second core is worth: the same echo service on one core and on several, with its load on
//! the same core, so that no client's CPU is in the way.
//!
//! ```text
//! cargo run --release --example scale -- --seconds 2
//! ```
//!
//! Each core has a listener, some connections to it, and a task at both ends of each. Nothing is
//! shared, so what is missing to twice the requests is the machine's: its memory, its caches, its
//! other guests.

use std::cell::Cell;
use std::io;
use std::rc::Rc;
use std::time::Duration;

use clap::Parser;
use corering::cores::{Core, cpus};
use corering::io::AsyncRead;
use corering::net::{TcpListener, TcpStream};
use corering::time::{Instant, sleep};
use corering::{Cores, spawn};

/// Requests per second of an echo service on 1, 2, … cores, with the load on the same cores.
#[derive(Parser)]
struct Options {
    /// Length of each measurement, in seconds.
    #[arg(long, default_value_t = 2.0)]
    seconds: f64,
    /// Measurements of each number of cores, in turn; their medians are compared.
    #[arg(long, default_value_t = 5)]
    rounds: usize,
    /// Connections of each core.
    #[arg(long, default_value_t = 16)]
    connections: usize,
    /// Bytes of a request.
    #[arg(long, default_value_t = 64)]
    bytes: usize,
}

fn main() -> io::Result<()> {
    let options = Options::parse();
    let ids: Vec<usize> = cpus()?.iter().map(|cpu| cpu.id).collect();
    let mut rates = vec![Vec::new(); ids.len()];
    for round in 1..=options.rounds {
        for (count, rates) in (1..).zip(&mut rates) {
            let rate = measure(&ids[..count], &options)?;
            println!("round {round}, {count} cores: {rate:.0} requests/s");
            rates.push(rate);
        }
    }
    let medians: Vec<f64> = rates.iter_mut().map(|rates| median(rates)).collect();
    for (count, rate) in (1..).zip(&medians) {
        println!(
            "{count} cores: {:.2} times the requests of one",
            rate / medians[0]
        );
    }
    Ok(())
}

fn median(values: &mut [f64]) -> f64 {
    values.sort_unstable_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
}

/// Requests per second of all these CPUs together.
fn measure(cpus: &[usize], options: &Options) -> io::Result<f64> {
    let time = Duration::from_secs_f64(options.seconds);
    let (connections, bytes) = (options.connections, options.bytes);
    let cores = Cores::on(cpus.iter().copied())?;
    let running = cores.start(move |core| serve(core, time, connections, bytes))?;
    let mut sum = 0.0;
    for ended in running.join() {
        sum += ended.output.map_err(io::Error::other)??;
    }
    Ok(sum)
}

/// A server and its clients; gives their requests per second.
async fn serve(core: Core, time: Duration, connections: usize, bytes: usize) -> io::Result<f64> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let address = listener.local_addr()?;
    let done = Rc::new(Cell::new(0_u64));
    for _ in 0..connections {
        let client = TcpStream::connect(address).await?;
        let (server, _) = listener.accept().await?;
        spawn(echo(server));
        spawn(ask(client, bytes, Rc::clone(&done)));
    }
    // All cores begin to count when all are at work, more or less.
    sleep(time / 10).await;
    let (before, since) = (done.get(), Instant::now());
    sleep(time).await;
    let rate = (done.get() - before) as f64 / since.elapsed().as_secs_f64();
    // A core that ends early would leave the machine to the others.
    sleep(time / 10).await;
    core.stop();
    Ok(rate)
}

async fn echo(stream: TcpStream) -> io::Result<()> {
    while let Some(lease) = stream.recv().await? {
        stream.write_all(lease).await.0?;
    }
    Ok(())
}

/// Sends a request when it has the whole answer to the one before, which it checks.
async fn ask(mut stream: TcpStream, bytes: usize, done: Rc<Cell<u64>>) -> io::Result<()> {
    let (mut request, mut answer) = (vec![0; bytes], Vec::with_capacity(bytes));
    for number in 0_u64.. {
        request.fill(number as u8);
        let (sent, read);
        (sent, request) = stream.write_all(request).await;
        sent?;
        answer.clear();
        (read, answer) = stream.read_exact(answer).await;
        read?;
        assert!(answer == request, "the answer to another request");
        done.set(done.get() + 1);
    }
    Ok(())
}
