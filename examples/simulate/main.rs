//! Random programs on the simulated kernel, as many seeds as you like, with books in which every
//! byte, connection and buffer must be accounted for.
//!
//!     cargo run --release --features sim --example simulate -- --seeds 10000
//!
//! `--profile simulation` instead of `--release` takes two minutes to build and is a fifth faster.
//!
//! Each seed is a run of its own: it chooses the workload, the hosts and what they do, and what the
//! kernel does to them. The same seed is the same run.

mod workload;

use std::process::ExitCode;
use std::time::Duration;

use clap::{Parser, ValueEnum};
use corering::sim::{Check, Coverage, Fault, Faults, Report};

/// Simulated time that one run may take.
const LIMIT: Duration = Duration::from_secs(3600);

/// Random programs on a simulated kernel, under seeds and faults
///
/// Fails if a byte, a connection, a buffer or a descriptor is lost, comes twice or is wrong, if
/// anything is left over at the end, or if nothing can go on. A failure is printed with its seed,
/// the shortest schedule found, the end of its trace, and the command that repeats it.
#[derive(Parser)]
struct Options {
    /// How many seeds to run [default: 10000, or 1 with --seed]
    #[arg(long, value_name = "N")]
    seeds: Option<u64>,
    /// The first seed
    #[arg(long, value_name = "N")]
    seed: Option<u64>,
    /// The only workload to run [default: each seed chooses one]
    #[arg(long, value_name = "NAME", value_parser = names())]
    workload: Option<String>,
    /// What may go wrong
    #[arg(long, value_enum, default_value_t = Kinds::All)]
    faults: Kinds,
    /// Print which fault has happened to which operation how often, and fail if one that can happen
    /// has not
    #[arg(long)]
    coverage: bool,
    /// Do not look for a shorter schedule of a run that fails
    #[arg(long)]
    no_shrink: bool,
    /// Print the workloads, and end
    #[arg(long)]
    list: bool,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq, ValueEnum)]
enum Kinds {
    /// Everything
    All,
    /// What the runtime hides from programs: no errors, no resets
    Invisible,
    /// Nothing: completions in order, in full and at once
    None,
}

fn names() -> clap::builder::PossibleValuesParser {
    workload::ALL.map(|workload| workload.name).into()
}

fn main() -> ExitCode {
    let options = Options::parse();
    if options.list {
        for workload in workload::ALL {
            println!("{:<10}  {}", workload.name, workload.about);
        }
        return ExitCode::SUCCESS;
    }
    let seeds = options.seeds.unwrap_or(match options.seed {
        Some(_) => 1,
        None => 10_000,
    });
    let check = Check::new()
        .first_seed(options.seed.unwrap_or(0))
        .seeds(seeds)
        .faults(faults(options.faults))
        .limit(LIMIT)
        .shrink(!options.no_shrink)
        .progress(true);
    let name = options.workload;
    match check.run(|sim| workload::run(sim, name.clone())) {
        Ok(report) => conclude(&report, options.coverage),
        Err(failure) => {
            eprintln!("{failure}");
            ExitCode::FAILURE
        }
    }
}

fn faults(kinds: Kinds) -> Faults {
    match kinds {
        Kinds::All => Faults::default()
            .rate(Fault::Error, 0.005)
            .rate(Fault::DiskError, 0.005)
            .rate(Fault::Reset, 0.002),
        Kinds::Invisible => Faults::default(),
        Kinds::None => Faults::none(),
    }
}

fn conclude(report: &Report, coverage: bool) -> ExitCode {
    println!("{report}");
    println!("digest {:016x}", report.digest());
    if !coverage {
        return ExitCode::SUCCESS;
    }
    println!("\n{}\n", report.coverage());
    let missing = report.coverage().missing();
    print_missing(report.coverage(), &missing);
    match missing.is_empty() {
        true => ExitCode::SUCCESS,
        false => ExitCode::FAILURE,
    }
}

fn print_missing(coverage: &Coverage, missing: &[(&str, Fault)]) {
    for (operation, fault) in missing {
        println!("has not happened: {operation} {fault:?}");
    }
    let unused = coverage.unused();
    if !unused.is_empty() {
        println!("operations that no workload reaches: {}", unused.join(", "));
    }
    println!("{} cells that can happen have not", missing.len());
}
