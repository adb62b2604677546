//! A key-value server that speaks the protocol of Redis, sharded over cores by key.
//!
//!     cargo run --release --example kv -- --demo
//!     cargo run --release --example kv -- --addr 127.0.0.1:6379    and: redis-cli, redis-benchmark
//!
//! Each core accepts connections of its own and has a part of the keys. A command whose key is on
//! the core of its connection is run at once, out of the buffer that the kernel has filled and
//! without an await. Those for another core go there together, one message for all that a client
//! has sent in one go, and their replies come back in one. What there is of Redis: strings with
//! deadlines, see `server/commands/table.rs`; pipelines, lines that are typed in, and its errors.
//!
//! It also shows what a server has to limit: see `--help`, and `server/connection.rs` for clients
//! that send without reading. It stops on Ctrl-C or SIGTERM: no connection is accepted any more,
//! what has come is answered, and who does not read the answers is cut off after `--drain` seconds.

mod demo;
mod server;

use std::io;
use std::net::SocketAddr;
use std::process::ExitCode;
use std::time::Duration;

use clap::Parser;
use corering::Cores;
use corering::cores::Core;
use corering::runtime::Spin;

use server::{Clock, Config, Hashing, Server, listen, reserve};

/// A key-value server that speaks the protocol of Redis.
#[derive(Clone, Parser)]
struct Options {
    /// Where to listen; with port 0 on one that the kernel chooses
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:6379")]
    addr: SocketAddr,
    /// How many cores serve [default: one for each CPU that the process may use]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=1024))]
    cores: Option<u16>,
    /// The CPUs that serve, one core on each
    #[arg(
        long,
        value_name = "N,…",
        value_delimiter = ',',
        conflicts_with = "cores"
    )]
    cpu: Vec<usize>,
    /// Connections at the same time; who comes then is told so
    #[arg(long, value_name = "N", default_value_t = 10_000)]
    max_clients: usize,
    /// Bytes of the longest key or value, at most 512 MiB
    #[arg(long, value_name = "BYTES", default_value_t = 512 << 20)]
    #[arg(value_parser = clap::value_parser!(u32).range(1..=512 << 20))]
    max_bulk: u32,
    /// Bytes of all keys and values, estimated; each core has an equal share, and adds nothing
    /// when that is used up
    #[arg(long, value_name = "BYTES", default_value_t = 1 << 30)]
    max_memory: usize,
    /// Where to show what is counted, for Prometheus
    #[arg(long, value_name = "ADDRESS")]
    metrics: Option<SocketAddr>,
    /// How long a stop waits for connections
    #[arg(long, value_name = "SECONDS", default_value_t = 10)]
    drain: u64,
    /// Look for work for a while before sleeping: faster replies for more CPU time
    #[arg(long)]
    spin: bool,
    /// Serve clients of its own, check every reply, and stop
    #[arg(long)]
    demo: bool,
}

fn main() -> ExitCode {
    match run(Options::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("Error: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(mut options: Options) -> io::Result<()> {
    if options.demo {
        options.addr = ([127, 0, 0, 1], 0).into();
    }
    let cores = match (options.cpu.is_empty(), options.cores) {
        (false, _) => Cores::on(options.cpu.iter().copied())?,
        (true, Some(count)) => Cores::count(count.into())?,
        (true, None) => Cores::all()?,
    };
    let (_reserved, addr) = reserve(options.addr)?;
    options.addr = addr;
    let config = config(&options, cores.len());
    println!("serving on {} with {} cores", options.addr, cores.len());

    let drain = Duration::from_secs(options.drain);
    let spin = if options.spin {
        Spin::Adaptive
    } else {
        Spin::Never
    };
    let cores = cores
        .configure(move |runtime| runtime.spin(spin))
        .stop_limit(drain + Duration::from_secs(5));
    let (addr, demo) = (options.addr, options.demo);
    let main = move |core| serve(core, options.clone(), config.clone());
    if !demo {
        return cores.run(main);
    }
    let running = cores.start(main)?;
    let handle = running.handle();
    let done = demo::run(addr);
    handle.stop();
    for ended in running.join() {
        ended.output.map_err(io::Error::other)??;
    }
    done
}

fn config(options: &Options, cores: usize) -> Config {
    Config {
        port: options.addr.port(),
        cores,
        bulk_max: options.max_bulk as usize,
        clients_max: options.max_clients,
        memory_max: options.max_memory,
        hashing: Hashing::random(),
        clock: Clock::start(),
        clients: Default::default(),
    }
}

async fn serve(core: Core, options: Options, config: Config) -> io::Result<()> {
    let mut server = Server::start(core.clone(), &config, listen(options.addr)?);
    if let Some(address) = options.metrics
        && core.index() == 0
    {
        server.show_metrics(listen(address)?);
    }
    core.stopping().await;
    server.stop(Duration::from_secs(options.drain)).await
}
