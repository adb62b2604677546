//! What the report says about the machine.

use std::fs;

use crate::columns::{self, Column};

/// The lines above the tables.
pub(crate) fn header(columns: &[&Column], real_time: bool) -> String {
    let mut packages: Vec<_> = columns.iter().map(|column| column.package).collect();
    packages.dedup();
    let versions: Vec<_> = packages
        .iter()
        .map(|package| format!("{package} {}", columns::version(package).unwrap_or("?")))
        .collect();
    let scheduler = if real_time {
        "SCHED_FIFO"
    } else {
        "the ordinary scheduler"
    };
    let cpus = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let processor = cpus
        .lines()
        .find_map(|line| line.strip_prefix("model name"));
    let command: Vec<_> = std::env::args().skip(1).collect();
    format!(
        "- Machine: {}, {} CPUs, Linux {}\n\
         - Versions: {}; {} build, LTO off\n\
         - Server on CPU 0, verifying load on CPU 1, under {scheduler}; TCP_NODELAY, reno\n\
         - Command: `cargo run --release -p versus -- {}`\n",
        processor
            .unwrap_or("unknown processor")
            .trim_start_matches([' ', '\t', ':']),
        cpus.lines()
            .filter(|line| line.starts_with("processor"))
            .count(),
        release(),
        versions.join(", "),
        if cfg!(debug_assertions) {
            "DEBUG"
        } else {
            "release"
        },
        command.join(" "),
    )
}

fn release() -> String {
    let text = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    text.trim().to_owned()
}

/// Time that the hypervisor gave to others, and all time, in ticks of all CPUs since boot.
pub(crate) struct Steal {
    stolen: u64,
    all: u64,
}

impl Steal {
    pub(crate) fn now() -> Self {
        Self::parse(&fs::read_to_string("/proc/stat").unwrap_or_default())
    }

    fn parse(text: &str) -> Self {
        const STEAL: usize = 7;
        // The two columns behind it, guest and guest_nice, are part of the first two.
        let first = text.lines().next().unwrap_or_default();
        let ticks: Vec<u64> = first
            .split_whitespace()
            .skip(1)
            .take(STEAL + 1)
            .flat_map(str::parse)
            .collect();
        Self {
            stolen: ticks.get(STEAL).copied().unwrap_or(0),
            all: ticks.iter().sum(),
        }
    }

    pub(crate) fn percent_since(&self, before: &Self) -> f64 {
        let all = self.all.saturating_sub(before.all).max(1);
        self.stolen.saturating_sub(before.stolen) as f64 / all as f64 * 100.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn steal_is_a_share_of_the_ticks_between() {
        let before = Steal::parse("cpu  100 0 50 800 0 0 0 50 7 7\ncpu0 1 1 1 1 1 1 1 1 1 1\n");
        let after = Steal::parse("cpu  150 0 50 840 0 0 0 60 9 9\n");
        assert_eq!(before.all, 1000);
        assert_eq!(after.percent_since(&before), 10.0);
    }

    #[test]
    fn no_ticks_between_are_no_steal() {
        let now = Steal::parse("cpu  100 0 50 800 0 0 0 50 0 0\n");
        assert_eq!(now.percent_since(&now), 0.0);
    }
}
