//! Slow loris: thousands of peers that send half a request and then a byte now and then, to occupy
//! a server for ever; and honest clients beside them.
//!
//!     cargo run --release --example slow_loris
//!     cargo run --release --example slow_loris -- --attackers 10000 --seconds 10
//!     cargo run --release --example slow_loris -- --no-deadlines
//!
//! The server has a limit of connections, and deadlines: for the first byte, for silence, and for
//! the rate of a request that has begun. Honest clients are measured alone and under attack. The
//! attackers are another process.

mod attack;
mod measure;
mod serve;

use std::env;
use std::io;
use std::net::SocketAddr;
use std::process::{Child, Command, ExitCode, Stdio};
use std::time::Duration;

use clap::Parser;
use corering::Runtime;
use corering::net::Deadlines;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Half-open requests against a server with limits and deadlines.
#[derive(Parser)]
struct Options {
    /// Peers that never finish their request
    #[arg(long, value_name = "N", default_value_t = 1000)]
    attackers: usize,
    /// Clients that do
    #[arg(long, value_name = "N", default_value_t = 50)]
    honest: usize,
    /// How long each measurement takes
    #[arg(long, value_name = "N", default_value_t = 5)]
    seconds: u64,
    /// Connections that the server has at a time [default: a tenth more than there are peers]
    #[arg(long, value_name = "N")]
    limit: Option<usize>,
    /// Let everybody take as long as they like
    #[arg(long)]
    no_deadlines: bool,
    /// Attack this server, until killed
    #[arg(long, value_name = "ADDRESS", hide = true)]
    attack: Option<SocketAddr>,
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
    allow_descriptors()?;
    if let Some(address) = options.attack {
        let attacked = async { attack::attack(address, options.attackers).await };
        Runtime::new()?.block_on(attacked);
        return Ok(());
    }
    let all = options.attackers + options.honest;
    let plan = measure::Plan {
        attackers: options.attackers,
        honest: options.honest,
        each: Duration::from_secs(options.seconds),
        limit: options.limit.unwrap_or(all + all / 10),
        deadlines: if options.no_deadlines {
            Deadlines::new()
        } else {
            serve::deadlines()
        },
    };
    let attackers = options.attackers.to_string();
    let figures = measure::measure(&plan, |address| {
        let program = Command::new(env::current_exe()?)
            .args(["--attackers", &attackers, "--attack", &address.to_string()])
            .stdin(Stdio::null())
            .spawn()?;
        Ok(Attackers(program))
    })?;
    print!("{figures}");
    Ok(())
}

/// A process that is ended when it is not needed any more.
struct Attackers(Child);

impl Drop for Attackers {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// As many descriptors as this process may have.
fn allow_descriptors() -> io::Result<()> {
    let limit = getrlimit(Resource::Nofile);
    let all = Rlimit {
        current: limit.maximum,
        maximum: limit.maximum,
    };
    Ok(setrlimit(Resource::Nofile, all)?)
}
