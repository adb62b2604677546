//! What is written to the JSON file: one record for each thing that was measured in a round.

use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::Path;

use serde::Serialize;

/// One measurement. Fields that do not apply are left out.
#[derive(Clone, Debug, Default, Serialize)]
pub(crate) struct Record {
    pub(crate) workload: &'static str,
    pub(crate) column: &'static str,
    /// The row of `exec`; the part of `idle`; `spin-off` where the column's default is not used;
    /// the buffers of `copy`; `trains` where datagrams come and go as such.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) what: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) conns: Option<usize>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) bytes: Option<usize>,
    /// Of `accept`: connections per second; of `udp`: datagrams; of `copy`: KiB.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) requests_per_s: Option<f64>,
    /// CPU time of the server process for one request; of `accept`: for one connection; of `udp`:
    /// for one datagram; of `copy` and `proxy`: for one KiB.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) cpu_ns: Option<f64>,
    /// Of `fairness`: how late a heartbeat was; so are the two that follow.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) p50_us: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) p99_us: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) max_us: Option<f64>,
    /// Of the tasks of `fairness` that are always ready.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) yields_per_s: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) syscalls_per_op: Option<f64>,
    /// Datagrams without an answer for a quarter of a second, in the window.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) late: Option<u64>,
    /// Those that had none at the end, of all.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) lost: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) rss_bytes_per_conn: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) ns_per_op: Option<f64>,
    /// User-space instructions for one request.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) instructions_per_op: Option<f64>,
    pub(crate) round: u32,
}

/// Writes all records as one JSON array, one record to a line.
pub(crate) fn write(path: &Path, records: &[Record]) -> io::Result<()> {
    let mut file = BufWriter::new(File::create(path)?);
    write!(file, "[")?;
    for (index, record) in records.iter().enumerate() {
        write!(file, "{}\n  ", if index == 0 { "" } else { "," })?;
        serde_json::to_writer(&mut file, record)?;
    }
    writeln!(file, "\n]")?;
    file.flush()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_file_is_one_array_without_fields_that_do_not_apply() {
        let file = tempfile::NamedTempFile::new().expect("a temporary file");
        let record = |round| Record {
            workload: "exec",
            column: "tokio",
            what: Some("yield_1"),
            ns_per_op: Some(383.5),
            round,
            ..Record::default()
        };
        write(file.path(), &[record(0), record(1)]).expect("it can be written");
        let text = std::fs::read_to_string(file.path()).expect("it can be read");
        let array: serde_json::Value = serde_json::from_str(&text).expect("it is JSON");
        let expected = |round| {
            serde_json::json!({
                "workload": "exec", "column": "tokio", "what": "yield_1", "ns_per_op": 383.5,
                "round": round,
            })
        };
        assert_eq!(array, serde_json::json!([expected(0), expected(1)]));
    }

    #[test]
    fn no_records_are_an_empty_array() {
        let file = tempfile::NamedTempFile::new().expect("a temporary file");
        write(file.path(), &[]).expect("it can be written");
        let text = std::fs::read_to_string(file.path()).expect("it can be read");
        assert_eq!(text.split_whitespace().collect::<String>(), "[]");
    }
}
