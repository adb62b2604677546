//! A write-ahead log, and its check on simulated machines whose power fails.
//!
//!     cargo run --release --features sim --example wal -- --seeds 20000
//!     cargo run --release --features sim --example wal -- --bug no-directory-sync
//!     cargo run --release --features sim --example wal -- --serve 127.0.0.1:7000 --directory DIR
//!
//! `log.rs` and `server.rs` are the service, which knows nothing of a simulation: with `--serve`
//! the same code runs on the real kernel. `checked.rs` is the test.

mod checked;
#[path = "../common/json_lines.rs"]
mod json_lines;
mod log;
#[path = "../common/seeds.rs"]
mod seeds;
mod server;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, ValueEnum};
use corering::Runtime;

use log::Options;

/// A write-ahead log, checked.
#[derive(Parser)]
struct Arguments {
    #[command(flatten)]
    seeds: seeds::Seeds,
    /// Break the log, to see that it is found
    #[arg(long, value_enum, default_value_t = Bug::None)]
    bug: Bug,
    /// Serve the log at this address on the real kernel
    #[arg(long, value_name = "ADDRESS", requires = "directory")]
    serve: Option<String>,
    /// Where that log is
    #[arg(long, value_name = "DIR")]
    directory: Option<PathBuf>,
}

#[derive(Clone, Copy, ValueEnum)]
enum Bug {
    None,
    NoFileSync,
    NoDirectorySync,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    if let (Some(address), Some(directory)) = (&arguments.serve, &arguments.directory) {
        let served = Runtime::new().and_then(|runtime| {
            runtime.block_on(server::serve(address, directory, Options::default()))
        });
        eprintln!("{served:?}");
        return ExitCode::FAILURE;
    }
    let options = Options {
        retained: checked::RETAINED,
        syncs_file: !matches!(arguments.bug, Bug::NoFileSync),
        syncs_directory: !matches!(arguments.bug, Bug::NoDirectorySync),
    };
    arguments
        .seeds
        .run(checked::check(), |sim| checked::test(sim, options))
}
