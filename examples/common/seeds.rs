//! How many seeds an example runs, and what it says of them.

use std::future::Future;
use std::process::ExitCode;

use clap::Args;
use corering::sim::{Check, Sim};

#[derive(Args)]
pub(crate) struct Seeds {
    /// How many seeds are run
    #[arg(long, value_name = "N", default_value_t = 1000)]
    seeds: u64,
    /// Run this seed alone, and print its trace
    #[arg(long, value_name = "S")]
    seed: Option<u64>,
}

impl Seeds {
    /// Runs the test; the exit code tells whether every seed has passed.
    pub(crate) fn run<F>(&self, mut check: Check, test: impl Fn(Sim) -> F) -> ExitCode
    where
        F: Future<Output = ()> + 'static,
    {
        check = check.seeds(self.seeds).progress(true);
        if let Some(seed) = self.seed {
            check = check.seed(seed);
        }
        match check.run(test) {
            Ok(report) => {
                println!("{report}\n0 violations");
                ExitCode::SUCCESS
            }
            Err(failure) => {
                println!("{failure}");
                ExitCode::FAILURE
            }
        }
    }
}
