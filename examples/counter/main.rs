//! A counter on three nodes, and its check on simulated hosts and a network that fail.
//!
//!     cargo run --release --features sim --example counter -- --seeds 20000
//!     cargo run --release --features sim --example counter -- --bug split-brain
//!     cargo run --release --features sim --example counter -- --node 0 --directory DIR \
//!         127.0.0.1:7100 127.0.0.1:7101 127.0.0.1:7102
//!
//! `node.rs` and `replica.rs` are the service, which knows nothing of a simulation: with `--node`
//! the same code runs on the real kernel. `checked.rs` is the test.

mod checked;
#[path = "../common/json_lines.rs"]
mod json_lines;
mod node;
mod replica;
#[path = "../common/seeds.rs"]
mod seeds;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, ValueEnum};
use corering::Runtime;

/// A replicated counter, checked.
#[derive(Parser)]
struct Arguments {
    #[command(flatten)]
    seeds: seeds::Seeds,
    /// Break the counter, to see that it is found
    #[arg(long, value_enum, default_value_t = Bug::None)]
    bug: Bug,
    /// Run this node (from 0) on the real kernel
    #[arg(long, value_name = "N", requires_all = ["directory", "addresses"])]
    node: Option<usize>,
    /// Where that node stores what it has promised
    #[arg(long, value_name = "DIR")]
    directory: Option<PathBuf>,
    /// Where all nodes listen
    addresses: Vec<String>,
}

#[derive(Clone, Copy, Eq, PartialEq, ValueEnum)]
enum Bug {
    None,
    /// The primary acknowledges what only one node has stored
    SplitBrain,
    /// A node forgets its votes when its power fails
    ForgottenVotes,
}

const COPIES: usize = 2;

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    if let (Some(node), Some(directory)) = (arguments.node, arguments.directory) {
        let config = node::Config {
            node,
            addresses: arguments.addresses,
            directory,
            copies: COPIES,
            votes_are_durable: true,
        };
        let served = Runtime::new().and_then(|runtime| runtime.block_on(node::serve(config)));
        eprintln!("{served:?}");
        return ExitCode::FAILURE;
    }
    let is_split = arguments.bug == Bug::SplitBrain;
    let options = checked::Options {
        copies: if is_split { 1 } else { COPIES },
        votes_are_durable: arguments.bug != Bug::ForgottenVotes,
    };
    let test = |sim| checked::test(sim, options);
    arguments.seeds.run(checked::check(), test)
}
