//! An echo server on one core, and a load that measures it.
//!
//!     cargo run --release --example echo -- --demo 5
//!     cargo run --release --example echo -- --addr 127.0.0.1:7000 --cpu 0
//!
//! With `--demo` a second runtime on another CPU asks for that long and checks every byte that
//! comes back; without it the server runs until Ctrl-C and prints what its runtime has counted.

mod load;

use std::io;
use std::process::ExitCode;
use std::time::Duration;

use clap::Parser;
use corering::Runtime;
use corering::net::{TcpListener, TcpStream};
use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};

/// An echo server on one core.
#[derive(Parser)]
struct Options {
    /// Where to listen; with --demo on a port that the kernel chooses, unless this is given
    #[arg(long, value_name = "ADDRESS")]
    addr: Option<String>,
    /// The CPU that the server runs on [default: with --demo the first, otherwise any]
    #[arg(long, value_name = "N")]
    cpu: Option<usize>,
    /// Ask the server for so many seconds, and print what that took
    #[arg(long, value_name = "SECONDS", value_parser = seconds)]
    demo: Option<Duration>,
    /// Connections of the demo
    #[arg(long, value_name = "N", default_value_t = 64)]
    #[arg(value_parser = clap::value_parser!(u32).range(1..=10_000))]
    connections: u32,
    /// Bytes of each of its requests
    #[arg(long, value_name = "N", default_value_t = 64)]
    #[arg(value_parser = clap::value_parser!(u32).range(1..=65_536))]
    bytes: u32,
}

fn main() -> ExitCode {
    match run(&Options::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("Error: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(options: &Options) -> io::Result<()> {
    let cpus = sched_getaffinity(None)?;
    let allowed: Vec<usize> = (0..CpuSet::MAX_CPU).filter(|&n| cpus.is_set(n)).collect();
    let first = options.demo.and_then(|_| allowed.first().copied());
    let cpu = options.cpu.or(first);

    let runtime = Runtime::new()?;
    if let Some(cpu) = cpu {
        pin(cpu)?;
    }
    let default = if options.demo.is_some() {
        "127.0.0.1:0"
    } else {
        "127.0.0.1:7000"
    };
    runtime.block_on(async {
        let listener = TcpListener::bind(options.addr.as_deref().unwrap_or(default)).await?;
        let address = listener.local_addr()?;
        println!("serving on {address}");
        corering::spawn(serve(listener));
        let Some(time) = options.demo else {
            corering::signal::ctrl_c().await?;
            println!("{:#?}", runtime.stats());
            return Ok(());
        };
        let load = load::Load {
            address,
            cpu: allowed.into_iter().find(|&other| Some(other) != cpu),
            connections: options.connections,
            bytes: options.bytes as usize,
        };
        load::demo(load, time).await
    })
}

async fn serve(listener: TcpListener) {
    loop {
        match listener.accept().await {
            Ok((stream, peer)) => {
                corering::spawn(async move {
                    if let Err(error) = echo(stream).await {
                        eprintln!("{peer}: {error}");
                    }
                });
            }
            // What passes by itself (no descriptor left, say) does not come here.
            Err(error) => return eprintln!("no more connections: {error}"),
        }
    }
}

async fn echo(stream: TcpStream) -> io::Result<()> {
    stream.set_nodelay(true)?;
    while let Some(lease) = stream.recv().await? {
        stream.write_all(lease).await.0?;
    }
    Ok(())
}

/// Keeps the calling thread on one CPU.
fn pin(cpu: usize) -> io::Result<()> {
    let mut only = CpuSet::new();
    only.set(cpu);
    sched_setaffinity(None, &only).map_err(|e| io::Error::other(format!("CPU {cpu}: {e}")))
}

fn seconds(text: &str) -> Result<Duration, String> {
    let seconds = text
        .parse()
        .ok()
        .filter(|seconds| (0.1..=3600.0).contains(seconds));
    seconds
        .map(Duration::from_secs_f64)
        .ok_or_else(|| "a number from 0.1 to 3600".into())
}
