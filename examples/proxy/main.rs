//! A TCP proxy: each connection is passed on to one server, on every core, within the kernel.
//!
//!     cargo run --release --example proxy -- --listen 0.0.0.0:7000 --to 127.0.0.1:7001
//!     cargo run --release --example proxy -- --demo
//!
//! Bytes are spliced, which took the least processor time of what was measured with messages of
//! 16 KiB (see DESIGN.md); `--copy` has them copied, which is better where messages are small.
//!
//! Each core has a listener of its own, and the kernel spreads connections over them. A core that
//! has its share of `--max-connections` accepts no more, so that others wait in the backlog. The
//! end of a direction is carried over, and the other one goes on. Clients that say nothing, ends
//! that move nothing or do not read, and what lasts too long are cut off by `--first-byte`,
//! `--idle`, `--stalled` and `--lifetime`; see `connection.rs`. SIGINT and SIGTERM end it: it
//! accepts no more and gives connections `--drain` seconds to end; a second signal ends it at once.

mod connection;
mod demo;
mod metrics;

use std::io;
use std::net::SocketAddr;
use std::process::ExitCode;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use clap::Parser;
use corering::Cores;
use corering::cores::{Core, Running};
use corering::net::{ConnectionLimit, Deadlines, TcpListener, TcpSocket};
use corering::time::sleep;
use futures_lite::future::or;

use self::connection::{Passing, pass};
use self::metrics::Metrics;

/// Connections that the kernel may have accepted for a core before it takes them.
const BACKLOG: u32 = 1024;
/// Where the process has no descriptor left, it looks for one this often.
const SCARCE: Duration = Duration::from_millis(10);

/// A TCP proxy on every core
#[derive(Clone, Debug, Parser)]
struct Options {
    /// Where to listen
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:7000")]
    listen: SocketAddr,
    /// The server that connections are passed on to
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:7001")]
    to: SocketAddr,
    /// Cores to run on [default: one for each CPU]
    #[arg(long, value_name = "N")]
    cores: Option<usize>,
    /// Connections at a time, all cores together
    #[arg(long, value_name = "N", default_value_t = 10_000)]
    max_connections: usize,
    /// How long a connection to the server may take
    #[arg(long, value_name = "SECONDS", default_value = "5", value_parser = seconds)]
    connect: Duration,
    /// How long a client may take to say its first byte [default: for ever]
    #[arg(long, value_name = "SECONDS", value_parser = seconds)]
    first_byte: Option<Duration>,
    /// How long nothing may move in either direction [default: for ever]
    #[arg(long, value_name = "SECONDS", value_parser = seconds)]
    idle: Option<Duration>,
    /// How long a client or the server may take nothing of what is sent there [default: for ever]
    #[arg(long, value_name = "SECONDS", value_parser = seconds)]
    stalled: Option<Duration>,
    /// How long a connection may last [default: for ever]
    #[arg(long, value_name = "SECONDS", value_parser = seconds)]
    lifetime: Option<Duration>,
    /// How long connections may go on after SIGINT or SIGTERM
    #[arg(long, value_name = "SECONDS", default_value = "10", value_parser = seconds)]
    drain: Duration,
    /// Where to tell what was counted, to whoever connects
    #[arg(long, value_name = "ADDRESS")]
    metrics: Option<SocketAddr>,
    /// Copy instead of splicing
    #[arg(long)]
    copy: bool,
    /// Pass connections of its own on to an echo server of its own, and check every byte
    #[arg(long)]
    demo: bool,
}

impl Options {
    /// What of these each connection is to know.
    fn passing(&self) -> Passing {
        let mut deadlines = Deadlines::new();
        if let Some(limit) = self.idle {
            deadlines = deadlines.idle(limit);
        }
        if let Some(limit) = self.stalled {
            deadlines = deadlines.write(limit);
        }
        if let Some(limit) = self.lifetime {
            deadlines = deadlines.lifetime(limit);
        }
        Passing {
            to: self.to,
            connect: self.connect,
            first_byte: self.first_byte,
            deadlines,
            copy: self.copy,
        }
    }
}

fn seconds(text: &str) -> Result<Duration, String> {
    let seconds = text.parse().map_err(|error| format!("{error}"))?;
    Duration::try_from_secs_f64(seconds).map_err(|error| error.to_string())
}

fn main() -> ExitCode {
    let options = Options::parse();
    let done = match options.demo {
        true => demo::run(&options),
        false => run(options),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("proxy: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(options: Options) -> io::Result<()> {
    println!("passing {} on to {}", options.listen, options.to);
    let metrics = Arc::new(Metrics::default());
    end(start(options, &metrics)?)?;
    println!("{metrics}");
    Ok(())
}

/// Starts the proxy on its cores.
fn start(options: Options, metrics: &Arc<Metrics>) -> io::Result<Running<io::Result<()>>> {
    let cores = match options.cores {
        Some(count) => Cores::count(count)?,
        None => Cores::all()?,
    };
    // Those that are left after that are dropped by their cores, and counted.
    let cores = cores.stop_limit(options.drain + Duration::from_secs(5));
    let metrics = Arc::clone(metrics);
    cores.start(move |core| serve(core, options.clone(), Arc::clone(&metrics)))
}

/// Waits until it has stopped: the first error of any core.
fn end(running: Running<io::Result<()>>) -> io::Result<()> {
    for ended in running.join() {
        ended.output.map_err(io::Error::other)??;
    }
    Ok(())
}

/// One core's share.
async fn serve(core: Core, options: Options, metrics: Arc<Metrics>) -> io::Result<()> {
    let listener = listen(options.listen)?;
    if let Some(address) = options.metrics.filter(|_| core.index() == 0) {
        let told = metrics::tell(listen(address)?, Arc::clone(&metrics));
        let stopping = core.stopping();
        corering::spawn(or(told, stopping));
    }
    let share = (options.max_connections / core.count()).max(1);
    let drain = options.drain;
    accept(&core, &listener, share, options.passing(), &metrics).await;
    // From here on the kernel gives new connections to nobody.
    drop(listener);
    if let Err(error) = core.drain(drain).await {
        eprintln!("proxy: {error}");
        metrics.cut();
    }
    Ok(())
}

fn listen(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = match address {
        SocketAddr::V4(_) => TcpSocket::new_v4()?,
        SocketAddr::V6(_) => TcpSocket::new_v6()?,
    };
    socket.reuse_port()?.bind(address)?.listen(BACKLOG)
}

/// Accepts until the stop, within this core's share: who is one too many waits in the backlog.
async fn accept(
    core: &Core,
    listener: &TcpListener,
    share: usize,
    passing: Passing,
    metrics: &Arc<Metrics>,
) {
    let (limit, passing) = (ConnectionLimit::new(share), Rc::new(passing));
    loop {
        let next = listener.accept_within(&limit).until(core.stopping());
        let (stream, permit) = match next.await {
            Ok(Some((stream, _, permit))) => (stream, permit),
            Ok(None) => return,
            Err(error) => {
                metrics.refused(&error);
                sleep(SCARCE).await;
                continue;
            }
        };
        let (passing, metrics) = (Rc::clone(&passing), Arc::clone(metrics));
        corering::spawn(async move {
            metrics.begun();
            let passed = pass(stream, &passing).await;
            metrics.ended(&passed);
            drop(permit);
        });
    }
}
