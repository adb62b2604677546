//! The program as it is called: short runs, for what they write and not for what they measure.

use std::process::Command;
use std::sync::{Mutex, PoisonError};

use serde_json::Value;

/// Two programs at once would be servers on one CPU, and one that always has work lets no other
/// run.
static CPU: Mutex<()> = Mutex::new(());

fn records(arguments: &[&str]) -> (String, Vec<Value>) {
    let _alone = CPU.lock().unwrap_or_else(PoisonError::into_inner);
    let file = tempfile::NamedTempFile::new_in(env!("CARGO_TARGET_TMPDIR")).expect("a file");
    let output = Command::new(env!("CARGO_BIN_EXE_versus"))
        .args(arguments)
        .args(["--rounds", "1", "--seconds", "0.05", "--json"])
        .arg(file.path())
        .output()
        .expect("it starts");
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{errors}");
    let text = std::fs::read_to_string(file.path()).expect("it has written the file");
    let records = serde_json::from_str(&text).expect("an array of records");
    (
        String::from_utf8(output.stdout).expect("a report is text"),
        records,
    )
}

fn columns(records: &[Value]) -> Vec<&str> {
    records
        .iter()
        .map(|record| record["column"].as_str().expect("a name"))
        .collect()
}

#[test]
fn echo_measures_every_column_and_both_ways_to_wait_at_one_connection() {
    let (report, records) = records(&["echo", "--cells", "1x64,8x5000", "--columns", "raw,tokio"]);
    assert_eq!(
        columns(&records),
        ["raw", "tokio", "raw", "tokio", "raw", "tokio"]
    );
    for record in &records {
        for field in ["requests_per_s", "cpu_ns", "p50_us", "p99_us"] {
            assert!(record[field].as_f64().expect(field) > 0.0, "{record}");
        }
    }
    assert_eq!(records[2]["what"], "spin-off");
    assert!(report.contains("| 8 × 5000 B |"), "{report}");
}

#[test]
fn accept_counts_connections() {
    let (_, records) = records(&["accept", "--columns", "raw,monoio"]);
    assert_eq!(columns(&records), ["raw", "monoio"]);
    assert!(
        records
            .iter()
            .all(|record| record["requests_per_s"].as_f64() > Some(0.0))
    );
}

#[test]
fn unix_measures_what_echo_does() {
    let all = "corering-recv,corering-read,raw,tokio,monoio,compio,glommio,tokio-uring";
    let (report, records) = records(&["unix", "--cells", "4x70", "--columns", all]);
    assert_eq!(columns(&records).join(","), all);
    for record in &records {
        for field in ["requests_per_s", "cpu_ns", "p50_us", "p99_us"] {
            assert!(record[field].as_f64().expect(field) > 0.0, "{record}");
        }
    }
    assert!(report.contains("### unix: server CPU"), "{report}");
}

#[test]
fn udp_answers_every_datagram_and_has_a_row_for_trains() {
    let all = "corering-read,corering-recv,raw,tokio,monoio,compio,glommio,tokio-uring";
    let (report, records) = records(&["udp", "--cells", "3x1000", "--columns", all]);
    assert_eq!(
        columns(&records).join(","),
        format!("{all},corering-recv,raw")
    );
    for record in &records {
        for field in ["requests_per_s", "cpu_ns", "p50_us", "p99_us"] {
            assert!(record[field].as_f64().expect(field) > 0.0, "{record}");
        }
        assert_eq!(record["lost"], 0, "{record}");
    }
    assert!(report.contains("| 3 × 1000 B, trains |"), "{report}");
}

#[test]
fn copy_passes_everything_on_and_both_ends_with_it() {
    let all = "corering-recv,corering-read,raw,tokio,monoio,compio,glommio,tokio-uring";
    let (report, records) = records(&["copy", "--bytes", "4194304", "--columns", all]);
    assert_eq!(columns(&records).join(","), format!("{all},{all}"));
    for record in &records {
        for field in ["requests_per_s", "cpu_ns"] {
            assert!(record[field].as_f64().expect(field) > 0.0, "{record}");
        }
    }
    assert!(report.contains("| 64 KiB buffers |"), "{report}");
}

#[test]
fn fairness_says_how_late_a_heartbeat_is_and_that_the_others_went_on() {
    let (_, records) = records(&["fairness", "--columns", "raw,corering-recv,tokio"]);
    assert_eq!(columns(&records), ["corering-recv", "tokio"]);
    for record in &records {
        let of = |field: &str| record[field].as_f64().expect(field);
        assert!(of("p50_us") <= of("p99_us") && of("p99_us") <= of("max_us"));
        assert!(of("requests_per_s") > 0.0 && of("yields_per_s") > 0.0);
    }
}

#[test]
fn exec_has_a_row_for_each_operation() {
    let (_, records) = records(&["exec", "--columns", "tokio,raw"]);
    let rows: Vec<_> = records
        .iter()
        .map(|record| record["what"].as_str().expect("a row"))
        .collect();
    let expected = [
        "yield_1",
        "yield_1000",
        "spawn_join",
        "timer_make_cancel",
        "timer_fire",
        "local_round_trip",
        "mutex",
        "mutex_contended",
        "semaphore",
        "notify",
        "sleep_million",
    ];
    assert_eq!(rows, expected);
    assert!(
        records
            .iter()
            .all(|record| record["ns_per_op"].as_f64() > Some(0.0))
    );
}

#[test]
fn every_column_echoes_messages_that_come_in_pieces() {
    let all = "corering-recv,corering-read,raw,raw-spin,tokio,monoio,compio,glommio,tokio-uring";
    let (_, records) = records(&["echo", "--cells", "4x65536", "--columns", all]);
    assert_eq!(columns(&records).join(","), all);
}
