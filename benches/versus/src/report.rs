//! Markdown tables of what was measured: medians over the rounds.
//!
//! Where the raw ring is a column, it is written in absolute numbers and the others as their ratio
//! to it: of the medians, and in brackets the median of the ratios inside each round.

use std::fmt::Write;

use crate::columns::{self, Role};
use crate::record::Record;
use crate::stats::{median, ratio};

/// How a table is written.
#[derive(Clone, Copy, PartialEq)]
enum Style {
    /// As a ratio to the raw ring, or to the first column where that is missing.
    ToBase,
    /// As it is.
    Plain,
    /// As it is, and as a ratio to the best peer; the best is the lowest, or the highest.
    ToLowest,
    ToHighest,
}

/// One table: a figure of one workload.
struct Figure {
    workload: &'static str,
    title: &'static str,
    style: Style,
    decimals: usize,
    value: fn(&Record) -> Option<f64>,
}

const fn figure(
    workload: &'static str,
    title: &'static str,
    style: Style,
    decimals: usize,
    value: fn(&Record) -> Option<f64>,
) -> Figure {
    Figure {
        workload,
        title,
        style,
        decimals,
        value,
    }
}

const ECHO_CPU: &str = "server CPU, ns per request";
const ECHO_CALLS: &str = "system calls of the server per request";
const IDLE_RATE: &str = "64 active connections, requests per second";
const IDLE_CPU: &str = "64 active connections, server CPU, ns per request";
const ACCEPT_RATE: &str = "connections per second (× the best peer)";
const ACCEPT_CPU: &str = "server CPU, ns per connection (× the best peer)";
const ACCEPT_CALLS: &str = "system calls of the server per connection";
const UDP_CPU: &str = "server CPU, ns per datagram";
const UDP_CALLS: &str = "system calls of the server per datagram";
const UDP_LATE: &str = "datagrams without an answer for 250 ms";
const COPY_CPU: &str = "CPU of the proxy, ns per KiB";
const COPY_CALLS: &str = "system calls of the proxy per MiB";
const PROXY_CPU: &str = "CPU of the proxy, ns per KiB of requests and answers";
const PROXY_CALLS: &str = "system calls of the proxy per request";
const LATE_HALF: &str = "lateness of a heartbeat, p50, µs";
const LATE_MOST: &str = "lateness of a heartbeat, p99, µs";
const LATE_MAX: &str = "lateness of a heartbeat, longest, µs";
const READY_YIELDS: &str = "yields per second of the ready tasks together";
const EXEC_TIME: &str = "ns per operation, of CPU for timer_fire (× the best peer)";
const CROSS_TIME: &str = "ns per round trip to another core (× the best peer)";
const INSTRUCTIONS: &str = "user-space instructions per echo request";

const FIGURES: [Figure; 36] = [
    figure("echo", ECHO_CPU, Style::ToBase, 0, |r| r.cpu_ns),
    figure("echo", "requests per second", Style::ToBase, 0, |r| {
        r.requests_per_s
    }),
    figure("echo", "p50, µs", Style::ToBase, 1, |r| r.p50_us),
    figure("echo", "p99, µs", Style::ToBase, 1, |r| r.p99_us),
    figure("echo", ECHO_CALLS, Style::Plain, 3, |r| r.syscalls_per_op),
    figure(
        "idle",
        "RSS bytes per idle connection",
        Style::Plain,
        0,
        |r| r.rss_bytes_per_conn,
    ),
    figure("idle", IDLE_RATE, Style::ToBase, 0, |r| r.requests_per_s),
    figure("idle", IDLE_CPU, Style::ToBase, 0, |r| r.cpu_ns),
    figure("accept", ACCEPT_RATE, Style::ToHighest, 0, |r| {
        r.requests_per_s
    }),
    figure("accept", ACCEPT_CPU, Style::ToLowest, 0, |r| r.cpu_ns),
    figure("accept", ACCEPT_CALLS, Style::Plain, 2, |r| {
        r.syscalls_per_op
    }),
    figure("unix", ECHO_CPU, Style::ToBase, 0, |r| r.cpu_ns),
    figure("unix", "requests per second", Style::ToBase, 0, |r| {
        r.requests_per_s
    }),
    figure("unix", "p50, µs", Style::ToBase, 1, |r| r.p50_us),
    figure("unix", "p99, µs", Style::ToBase, 1, |r| r.p99_us),
    figure("unix", ECHO_CALLS, Style::Plain, 3, |r| r.syscalls_per_op),
    figure("udp", UDP_CPU, Style::ToBase, 0, |r| r.cpu_ns),
    figure("udp", "datagrams per second", Style::ToBase, 0, |r| {
        r.requests_per_s
    }),
    figure("udp", "p50, µs", Style::ToBase, 1, |r| r.p50_us),
    figure("udp", UDP_CALLS, Style::Plain, 3, |r| r.syscalls_per_op),
    figure("udp", UDP_LATE, Style::Plain, 0, |r| {
        r.late.map(|late| late as f64)
    }),
    figure("udp", "datagrams lost", Style::Plain, 0, |r| {
        r.lost.map(|lost| lost as f64)
    }),
    figure("copy", COPY_CPU, Style::ToBase, 1, |r| r.cpu_ns),
    figure("copy", "MiB per second", Style::ToBase, 0, |r| {
        r.requests_per_s.map(|kib| kib / 1024.0)
    }),
    figure("copy", COPY_CALLS, Style::Plain, 1, |r| {
        r.syscalls_per_op.map(|per_kib| per_kib * 1024.0)
    }),
    figure("proxy", PROXY_CPU, Style::ToLowest, 1, |r| r.cpu_ns),
    figure("proxy", "requests per second", Style::ToHighest, 0, |r| {
        r.requests_per_s
    }),
    figure("proxy", PROXY_CALLS, Style::Plain, 2, |r| r.syscalls_per_op),
    figure("fairness", LATE_HALF, Style::Plain, 0, |r| r.p50_us),
    figure("fairness", LATE_MOST, Style::Plain, 0, |r| r.p99_us),
    figure("fairness", LATE_MAX, Style::Plain, 0, |r| r.max_us),
    figure("fairness", "echoes per second", Style::Plain, 0, |r| {
        r.requests_per_s
    }),
    figure("fairness", READY_YIELDS, Style::Plain, 0, |r| {
        r.yields_per_s
    }),
    figure("exec", EXEC_TIME, Style::ToLowest, 1, |r| r.ns_per_op),
    figure("cross", CROSS_TIME, Style::ToLowest, 0, |r| r.ns_per_op),
    figure("instructions", INSTRUCTIONS, Style::Plain, 0, |r| {
        r.instructions_per_op
    }),
];

/// All tables of the workloads that `records` are of, for these columns.
pub(crate) fn tables(records: &[Record], columns: &[&str]) -> String {
    let mut text = String::new();
    for figure in &FIGURES {
        let of_it: Vec<_> = records
            .iter()
            .filter(|record| record.workload == figure.workload)
            .filter(|record| (figure.value)(record).is_some())
            .collect();
        if !of_it.is_empty() {
            table(&mut text, figure, &of_it, columns);
        }
    }
    if let Some(line) = beside_to_without(records, columns) {
        text.push_str(&line);
    }
    text
}

fn table(text: &mut String, figure: &Figure, records: &[&Record], columns: &[&str]) {
    // Not every column has every figure; one that failed is named below the tables.
    let has_it = |name: &&&str| records.iter().any(|record| record.column == **name);
    let columns: Vec<&str> = columns.iter().filter(has_it).copied().collect();
    let base = columns
        .iter()
        .find(|&&name| name == "raw")
        .or(columns.first())
        .copied();
    let _ = writeln!(text, "\n### {}: {}\n", figure.workload, figure.title);
    heading(text, &columns);
    let mut labels: Vec<String> = Vec::new();
    for record in records {
        let label = label(record);
        if !labels.contains(&label) {
            labels.push(label);
        }
    }
    for label in labels {
        let series = |name: &str| series(records, figure, &label, name);
        let _ = write!(text, "| {label} |");
        for &name in &columns {
            let own = series(name);
            let cell = match figure.style {
                Style::ToBase if Some(name) != base => to_base(&own, &series(base.unwrap_or(""))),
                Style::ToBase | Style::Plain => plain(&own, figure.decimals),
                Style::ToLowest | Style::ToHighest => {
                    let best = best_peer(&columns, figure.style, series);
                    to_best(&own, best, figure.decimals)
                }
            };
            let _ = write!(text, " {} |", cell.unwrap_or_else(|| "–".into()));
        }
        text.push('\n');
    }
}

fn heading(text: &mut String, columns: &[&str]) {
    let _ = writeln!(
        text,
        "| | {} |\n|---|{}",
        columns.join(" | "),
        "--:|".repeat(columns.len())
    );
}

/// The row that a record belongs to.
fn label(record: &Record) -> String {
    let cell = record
        .conns
        .zip(record.bytes)
        .map(|(conns, bytes)| format!("{conns} × {bytes} B"));
    match (cell, record.what) {
        (Some(cell), Some(what)) => format!("{cell}, {what}"),
        (Some(cell), None) => cell,
        (None, what) => what.unwrap_or_default().into(),
    }
}

/// A column's values in one row, with their rounds.
fn series(records: &[&Record], figure: &Figure, row: &str, column: &str) -> Vec<(u32, f64)> {
    records
        .iter()
        .filter(|record| record.column == column && label(record) == row)
        .filter_map(|record| Some((record.round, (figure.value)(record)?)))
        .collect()
}

fn middle(series: &[(u32, f64)]) -> Option<f64> {
    median(&series.iter().map(|&(_, value)| value).collect::<Vec<_>>())
}

fn plain(own: &[(u32, f64)], decimals: usize) -> Option<String> {
    middle(own).map(|value| format!("{value:.decimals$}"))
}

fn to_base(own: &[(u32, f64)], base: &[(u32, f64)]) -> Option<String> {
    ratio(own, base).map(|ratio| format!("{:.2} ({:.2})", ratio.of_medians, ratio.per_round))
}

fn to_best(own: &[(u32, f64)], best: Option<f64>, decimals: usize) -> Option<String> {
    let value = middle(own)?;
    Some(match best {
        Some(best) => format!("{value:.decimals$} ({:.2})", value / best),
        None => format!("{value:.decimals$}"),
    })
}

fn best_peer(
    columns: &[&str],
    style: Style,
    series: impl Fn(&str) -> Vec<(u32, f64)>,
) -> Option<f64> {
    let is_peer = |name: &&&str| columns::find(name).is_ok_and(|found| found.role == Role::Peer);
    let values = columns
        .iter()
        .filter(is_peer)
        .filter_map(|name| middle(&series(name)));
    if style == Style::ToHighest {
        values.reduce(f64::max)
    } else {
        values.reduce(f64::min)
    }
}

/// The rate of the active connections beside the idle ones against without them, round by round.
fn beside_to_without(records: &[Record], columns: &[&str]) -> Option<String> {
    let rates = |column: &str, part: &str| -> Vec<(u32, f64)> {
        records
            .iter()
            .filter(|record| record.column == column && record.what == Some(part))
            .filter_map(|record| Some((record.round, record.requests_per_s?)))
            .collect()
    };
    let cells: Vec<_> = columns
        .iter()
        .map(|name| {
            to_base(
                &rates(name, "active-beside"),
                &rates(name, "active-without"),
            )
        })
        .collect();
    if cells.iter().all(Option::is_none) {
        return None;
    }
    let mut text = "\n### idle: rate of the active ones, beside the idle × without\n\n".to_owned();
    heading(&mut text, columns);
    let cells: Vec<_> = cells
        .into_iter()
        .map(|cell| cell.unwrap_or_else(|| "–".into()))
        .collect();
    let _ = writeln!(text, "| | {} |", cells.join(" | "));
    Some(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn echo(column: &'static str, round: u32, cpu_ns: f64) -> Record {
        Record {
            workload: "echo",
            column,
            conns: Some(64),
            bytes: Some(64),
            cpu_ns: Some(cpu_ns),
            round,
            ..Record::default()
        }
    }

    fn exec(column: &'static str, ns: f64) -> Record {
        let what = Some("yield_1");
        Record {
            workload: "exec",
            column,
            what,
            ns_per_op: Some(ns),
            ..Record::default()
        }
    }

    #[test]
    fn raw_is_absolute_and_the_others_are_ratios() {
        let records = [
            echo("raw", 0, 3000.0),
            echo("tokio", 0, 3600.0),
            echo("raw", 1, 4000.0),
            echo("tokio", 1, 4400.0),
        ];
        let text = tables(&records, &["raw", "tokio"]);
        let expected = "\n### echo: server CPU, ns per request\n\n\
                        | | raw | tokio |\n|---|--:|--:|\n| 64 × 64 B | 3500 | 1.14 (1.15) |\n";
        assert_eq!(text, expected);
    }

    #[test]
    fn without_raw_the_first_column_is_the_base() {
        let text = tables(
            &[echo("tokio", 0, 4000.0), echo("monoio", 0, 3000.0)],
            &["tokio", "monoio"],
        );
        assert!(
            text.contains("| 64 × 64 B | 4000 | 0.75 (0.75) |"),
            "{text}"
        );
    }

    #[test]
    fn a_row_that_a_column_lacks_is_a_dash() {
        let large = Record {
            bytes: Some(4096),
            ..echo("tokio", 0, 4000.0)
        };
        let text = tables(&[echo("raw", 0, 3000.0), large], &["raw", "tokio"]);
        assert!(text.contains("| 64 × 64 B | 3000 | – |"), "{text}");
    }

    #[test]
    fn a_column_without_the_figure_is_left_out() {
        let text = tables(&[exec("tokio", 400.0)], &["raw", "tokio"]);
        assert!(
            text.contains("| | tokio |\n|---|--:|\n| yield_1 |"),
            "{text}"
        );
    }

    #[test]
    fn the_rows_of_exec_are_compared_with_the_best_peer() {
        let records = [exec("tokio", 400.0), exec("glommio", 50.0)];
        let text = tables(&records, &["tokio", "glommio"]);
        assert!(
            text.contains("| yield_1 | 400.0 (8.00) | 50.0 (1.00) |"),
            "{text}"
        );
    }

    #[test]
    fn cells_with_the_spin_off_are_rows_of_their_own() {
        let off = Record {
            what: Some("spin-off"),
            ..echo("raw", 0, 5000.0)
        };
        let text = tables(&[echo("raw", 0, 3000.0), off], &["raw"]);
        assert!(
            text.contains("| 64 × 64 B | 3000 |\n| 64 × 64 B, spin-off | 5000 |"),
            "{text}"
        );
    }

    #[test]
    fn active_beside_idle_is_compared_with_active_without() {
        let part = |what, rate| Record {
            workload: "idle",
            column: "raw",
            what: Some(what),
            requests_per_s: Some(rate),
            ..Record::default()
        };
        let records = [part("active-beside", 90.0), part("active-without", 100.0)];
        let text = tables(&records, &["raw"]);
        assert!(
            text.contains("× without\n\n| | raw |\n|---|--:|\n| | 0.90 (0.90) |\n"),
            "{text}"
        );
    }

    #[test]
    fn nothing_measured_is_no_table() {
        assert_eq!(tables(&[], &["raw"]), "");
    }
}
