//! The line of each second, the table at the end, and the verdict.

use std::fs;
use std::io;
use std::time::Duration;

use crate::counts::Shared;

/// Samples before anything is compared, and how many it takes at least.
const SAMPLES_MIN: usize = 20;
/// What memory may grow by, besides a tenth: what an allocator keeps.
const RSS_SLACK: u64 = 16 << 20;
/// What a number of descriptors or slots may grow by, besides a tenth.
const COUNT_SLACK: u64 = 64;

/// What must not grow.
#[derive(Clone, Copy)]
pub(crate) struct Sample {
    pub(crate) rss: u64,
    pub(crate) descriptors: u64,
    pub(crate) slots: u64,
}

/// One of them.
type Value = fn(&Sample) -> u64;

impl Sample {
    pub(crate) fn take(shared: &Shared) -> io::Result<Sample> {
        Ok(Sample {
            rss: resident()?,
            descriptors: descriptors()?,
            slots: shared.slots(),
        })
    }
}

fn resident() -> io::Result<u64> {
    let status = fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kilobytes = line.and_then(|line| line.trim().strip_suffix(" kB")?.parse::<u64>().ok());
    kilobytes
        .map(|n| n << 10)
        .ok_or_else(|| io::Error::other("no VmRSS in /proc/self/status"))
}

/// Descriptors of this process, but the one that counts them.
pub(crate) fn descriptors() -> io::Result<u64> {
    Ok(fs::read_dir("/proc/self/fd")?.count() as u64 - 1)
}

pub(crate) fn print_head() {
    println!(
        "{:>6} {:>9} {:>10} {:>9} {:>8} {:>8} {:>8} {:>7} {:>6} {:>7} {:>6} {:>6}",
        "s",
        "conns",
        "operations",
        "MiB",
        "dropped",
        "timeouts",
        "cancels",
        "resets",
        "errors",
        "RSS MiB",
        "fds",
        "slots"
    );
}

pub(crate) fn print_line(elapsed: Duration, shared: &Shared, sample: &Sample) {
    println!(
        "{:>6} {:>9} {:>10} {:>9} {:>8} {:>8} {:>8} {:>7} {:>6} {:>7} {:>6} {:>6}",
        elapsed.as_secs(),
        shared.connections.value(),
        shared.operations.value(),
        shared.received.value() >> 20,
        shared.dropped.value(),
        shared.timeouts.value(),
        shared.cancels.value(),
        shared.resets.value(),
        shared.faults.value(),
        sample.rss >> 20,
        sample.descriptors,
        sample.slots,
    );
}

/// Prints the table. False if anything was lost, duplicated, wrong or leaked.
pub(crate) fn conclude(elapsed: Duration, shared: &Shared, samples: &[Sample]) -> bool {
    reconcile(shared);
    let rows = [
        ("connections", shared.connections.value()),
        ("  ended in order by both sides", shared.whole.value()),
        ("  cut in the middle by a side", shared.cuts.value()),
        ("  of these with a reset", shared.resets.value()),
        (
            "connects ended before they were done",
            shared.connects_ended.value(),
        ),
        (
            "  that the server has seen come and go",
            shared.strangers.value(),
        ),
        ("operations", shared.operations.value()),
        ("  dropped", shared.dropped.value()),
        ("  timed out", shared.timeouts.value()),
        ("  cancelled", shared.cancels.value()),
        ("writes torn by a cancel", shared.torn.value()),
        ("half-closes", shared.half_closes.value()),
        ("files written and read", shared.files.value()),
        ("bytes sent", shared.sent.value()),
        (
            "  received, every one as it was sent",
            shared.received.value(),
        ),
        (
            "  not received when they were cut",
            shared.cut_bytes.value(),
        ),
    ];
    println!("\nafter {:.0} s:", elapsed.as_secs_f64());
    for (name, value) in rows {
        println!("{value:>16}  {name}");
    }
    for (name, early, late) in growth(samples, shared) {
        println!("{early:>16}  {name} after the warm-up, {late} at the end");
    }
    for fault in shared.faults() {
        println!("fault: {fault}");
    }
    let faults = shared.faults.value();
    match faults {
        0 => println!("nothing was lost, duplicated, wrong or leaked"),
        n => println!("{n} faults"),
    }
    faults == 0
}

/// Every connection is in the ledger once from each side.
fn reconcile(shared: &Shared) {
    let unmatched = shared.unmatched();
    if unmatched > 0 {
        shared.fault(format!("{unmatched} connections that one side knows"));
    }
    let (made, strangers) = (shared.connections.value(), shared.strangers.value());
    let (accepted, ended) = (shared.accepted.value(), shared.connects_ended.value());
    if accepted != made + strangers {
        let text = format!("{accepted} connections accepted, {made} and {strangers} served");
        shared.fault(text);
    }
    if strangers > ended {
        let text = format!("{strangers} strangers, and {ended} connects that were ended");
        shared.fault(text);
    }
    let (sent, received) = (shared.sent.value(), shared.received.value());
    if sent != received + shared.cut_bytes.value() {
        shared.fault(format!("{sent} bytes sent, {received} received"));
    }
}

/// Medians of the second fifth of the time and of the last one.
fn growth(samples: &[Sample], shared: &Shared) -> Vec<(&'static str, u64, u64)> {
    if samples.len() < SAMPLES_MIN {
        println!("too short to say whether memory grows");
        return Vec::new();
    }
    let fifth = samples.len() / 5;
    let (early, late) = (
        &samples[fifth..2 * fifth],
        &samples[samples.len() - fifth..],
    );
    let rows: [(&str, Value, u64); 3] = [
        ("bytes resident", |sample| sample.rss, RSS_SLACK),
        ("descriptors", |sample| sample.descriptors, COUNT_SLACK),
        ("slots in flight", |sample| sample.slots, COUNT_SLACK),
    ];
    let mut medians = Vec::new();
    for (name, value, slack) in rows {
        let (early, late) = (median(early, value), median(late, value));
        if late > early + early / 10 + slack {
            shared.fault(format!("{name}: {early} have become {late}"));
        }
        medians.push((name, early, late));
    }
    medians
}

fn median(samples: &[Sample], value: Value) -> u64 {
    let mut values: Vec<_> = samples.iter().map(value).collect();
    values.sort_unstable();
    values[values.len() / 2]
}
