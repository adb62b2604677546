//! The command line.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Parser, Subcommand, ValueEnum};

use crate::cells::Cell;
use crate::columns::{self, Column};
use crate::server::ServeOptions;

/// The same workloads on corering, on a ring driven by hand, and on the other runtimes.
#[derive(Parser, Debug)]
#[command(
    version,
    args_conflicts_with_subcommands = true,
    arg_required_else_help = true
)]
pub(crate) struct Arguments {
    /// What to measure
    #[arg(value_enum, required_unless_present = "list")]
    pub(crate) workloads: Vec<Workload>,

    /// Columns to measure, separated by commas [default: all but raw-spin and before-…]
    #[arg(long, value_delimiter = ',', value_parser = columns::find)]
    pub(crate) columns: Vec<&'static Column>,

    /// Another build of this program, to be measured beside this one as before-recv and before-read
    #[arg(long, value_name = "PROGRAM")]
    pub(crate) before: Option<PathBuf>,

    /// Rounds of each measurement [default: 5, of 1,024 connections 10, of instructions 1]
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) rounds: Option<u32>,

    /// Length of a measurement
    #[arg(long, value_name = "SECONDS", default_value = "1", value_parser = seconds)]
    pub(crate) seconds: Duration,

    /// Cells of echo, unix, udp and proxy, CONNECTIONSxBYTES separated by commas [default: as
    /// --list has them]
    #[arg(long, value_delimiter = ',')]
    pub(crate) cells: Vec<Cell>,

    /// Bytes that copy passes on in one measurement, both directions together
    #[arg(long, default_value_t = 1 << 30)]
    #[arg(value_parser = clap::value_parser!(u64).range(1 << 20..))]
    pub(crate) bytes: u64,

    /// What servers do at one connection before they sleep: what is their default, or nothing
    #[arg(long, value_enum, value_delimiter = ',', default_values_t = [Spin::Default, Spin::Off])]
    pub(crate) spin: Vec<Spin>,

    /// Leave the ordinary scheduler in charge even where SCHED_FIFO is permitted
    #[arg(long)]
    pub(crate) no_fifo: bool,

    /// Write every measurement to this file, as a JSON array
    #[arg(long, value_name = "FILE")]
    pub(crate) json: Option<PathBuf>,

    /// List workloads, columns and cells
    #[arg(long)]
    pub(crate) list: bool,

    #[command(subcommand)]
    pub(crate) child: Option<Child>,
}

/// What this program is told when it starts itself.
#[derive(Subcommand, Debug)]
pub(crate) enum Child {
    /// Serve on the socket that is the standard input
    #[command(hide = true)]
    Serve {
        #[arg(value_parser = columns::find)]
        column: &'static Column,
        #[command(flatten)]
        options: ServeOptions,
    },
    /// Measure a row of exec and print the number
    #[command(hide = true)]
    ExecRow {
        #[arg(value_parser = columns::find)]
        column: &'static Column,
        row: String,
        /// Run under SCHED_FIFO
        #[arg(long)]
        real_time: bool,
    },
}

/// What can be measured.
#[derive(Clone, Copy, Debug, PartialEq, ValueEnum)]
pub(crate) enum Workload {
    /// A request and its answer, over and over
    Echo,
    /// 10,000 connections that do nothing, and 64 that echo beside them
    Idle,
    /// Connect, echo once, reset
    Accept,
    /// A request and its answer on a Unix socket
    Unix,
    /// A datagram and its answer, 16 at a time on each socket; and trains of them with GSO and GRO
    Udp,
    /// Two connections, and what comes on either is passed on to the other
    Copy,
    /// A request and its answer by way of a proxy
    Proxy,
    /// A heartbeat beside 64 streams and 1,000 tasks that are always ready
    Fairness,
    /// Yields, spawns and timers, without I/O
    Exec,
    /// A message to another core and back
    Cross,
    /// User-space instructions of a request, under callgrind
    Instructions,
    /// All of them
    All,
}

impl Workload {
    pub(crate) const EACH: [Self; 11] = [
        Self::Echo,
        Self::Idle,
        Self::Accept,
        Self::Unix,
        Self::Udp,
        Self::Copy,
        Self::Proxy,
        Self::Fairness,
        Self::Exec,
        Self::Cross,
        Self::Instructions,
    ];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Echo => "echo",
            Self::Idle => "idle",
            Self::Accept => "accept",
            Self::Unix => "unix",
            Self::Udp => "udp",
            Self::Copy => "copy",
            Self::Proxy => "proxy",
            Self::Fairness => "fairness",
            Self::Exec => "exec",
            Self::Cross => "cross",
            Self::Instructions => "instructions",
            Self::All => "all",
        }
    }
}

/// How a server waits at one connection.
#[derive(Clone, Copy, Debug, PartialEq, ValueEnum)]
pub(crate) enum Spin {
    Default,
    Off,
}

/// What a run consists of.
pub(crate) struct Plan {
    pub(crate) columns: Vec<&'static Column>,
    pub(crate) rounds: Option<u32>,
    pub(crate) window: Duration,
    /// None if each workload is to have its own.
    pub(crate) cells: Vec<Cell>,
    pub(crate) spin: Vec<Spin>,
    pub(crate) bytes: u64,
    pub(crate) real_time: bool,
}

impl Plan {
    /// The cells that were asked for, or those of the workload.
    pub(crate) fn cells_or<'a>(&'a self, own: &'a [Cell]) -> &'a [Cell] {
        if self.cells.is_empty() {
            own
        } else {
            &self.cells
        }
    }
}

impl Arguments {
    /// Workloads in the order of the report, each once.
    pub(crate) fn selected(&self) -> Vec<Workload> {
        let all = self.workloads.contains(&Workload::All);
        let named = |workload: &Workload| all || self.workloads.contains(workload);
        Workload::EACH.into_iter().filter(named).collect()
    }

    pub(crate) fn plan(&self, fifo_permitted: bool) -> Plan {
        let or = |given: &[&'static Column], default: fn() -> Vec<&'static Column>| {
            if given.is_empty() {
                default()
            } else {
                given.to_vec()
            }
        };
        Plan {
            columns: or(&self.columns, columns::defaults),
            rounds: self.rounds,
            window: self.seconds,
            cells: self.cells.clone(),
            spin: self.spin.clone(),
            bytes: self.bytes,
            real_time: fifo_permitted && !self.no_fifo,
        }
    }
}

fn seconds(text: &str) -> Result<Duration, String> {
    text.parse()
        .ok()
        .filter(|seconds| (0.01..=600.0).contains(seconds))
        .map(Duration::from_secs_f64)
        .ok_or_else(|| "a number from 0.01 to 600".into())
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    fn parse(line: &str) -> Arguments {
        Arguments::try_parse_from(line.split(' ')).unwrap_or_else(|error| panic!("{error}"))
    }

    #[test]
    fn the_definition_is_consistent() {
        Arguments::command().debug_assert();
    }

    #[test]
    fn workloads_come_in_the_order_of_the_report_and_once() {
        use Workload::{Echo, Exec};
        assert_eq!(parse("versus exec echo exec").selected(), [Echo, Exec]);
        assert_eq!(parse("versus exec all").selected(), Workload::EACH);
    }

    #[test]
    fn lists_are_separated_by_commas() {
        let arguments = parse("versus echo --columns tokio,raw --cells 1x64,64x4096 --spin off");
        let plan = arguments.plan(true);
        let names: Vec<_> = plan.columns.iter().map(|column| column.name).collect();
        assert_eq!(names, ["tokio", "raw"]);
        assert_eq!(plan.cells.len(), 2);
        assert_eq!(plan.spin, [Spin::Off]);
    }

    #[test]
    fn a_child_is_told_what_its_options_say() {
        let line = "versus serve raw --buffer 16384 --no-spin --exit-after 9 --real-time";
        let Some(Child::Serve { column, options }) = parse(line).child else {
            panic!("it is a child")
        };
        assert_eq!(column.name, "raw");
        assert!(options.no_spin && options.real_time);
        assert_eq!((options.buffer, options.exit_after), (16_384, Some(9)));
    }

    #[test]
    fn unknown_columns_and_no_rounds_are_refused() {
        for line in [
            "versus echo --columns node",
            "versus echo --rounds 0",
            "versus --json a",
        ] {
            assert!(
                Arguments::try_parse_from(line.split(' ')).is_err(),
                "{line}"
            );
        }
    }
}
