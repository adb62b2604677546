//! The bytes of files.

use std::io;
use std::time::Duration;

use corering::fs::{self, File, OpenOptions};
use corering::time::sleep;
use futures_lite::future::zip;

use super::common::pattern;
use super::stage::{Script, Stage, script};

pub(crate) fn scripts() -> Vec<Script> {
    vec![
        script("bytes_at_offsets", bytes_at_offsets),
        script("beyond_the_end", beyond_the_end),
        script("offsets_that_are_none", offsets_that_are_none),
        script("nothing_at_all", nothing_at_all),
        script("what_a_file_was_opened_for", what_a_file_was_opened_for),
        script("at_the_end", at_the_end),
        script("an_append_at_the_position", an_append_at_the_position),
        script("lengths_are_set", lengths_are_set),
        script("lengths_that_are_none", lengths_that_are_none),
        script("two_opens_of_one_file", two_opens_of_one_file),
        script("a_directory_is_no_file", a_directory_is_no_file),
        script("metadata_of_files", metadata_of_files),
        script("times_go_on", times_go_on),
        script("whole_files", whole_files),
        script("many_at_once", many_at_once),
        script("a_file_with_a_large_hole", a_file_with_a_large_hole),
    ]
}

async fn open_rw(stage: &Stage, name: &str) -> File {
    let mut options = OpenOptions::new();
    options.read(true).write(true).create(true);
    options.open(stage.path(name)).await.unwrap()
}

/// Writes all of `bytes`, however short the writes are.
async fn write(file: &File, bytes: &[u8], offset: u64) -> io::Result<()> {
    let mut done = 0;
    while done < bytes.len() {
        done += file
            .write_at(bytes[done..].to_vec(), offset + done as u64)
            .await
            .0?;
    }
    Ok(())
}

/// Everything from `offset` on, as text in which NUL is a dot.
async fn text(file: &File, offset: u64) -> String {
    let mut bytes = Vec::new();
    loop {
        let (n, buf) = file
            .read_at(Vec::with_capacity(1000), offset + bytes.len() as u64)
            .await;
        match n {
            Ok(0) => break,
            Ok(_) => bytes.extend_from_slice(&buf),
            Err(e) => return format!("{e:?}"),
        }
    }
    String::from_utf8_lossy(&bytes).replace('\0', ".")
}

async fn bytes_at_offsets(stage: Stage) {
    let file = open_rw(&stage, "file").await;
    stage.told("write", &write(&file, b"0123456789", 0).await);
    stage.told("over", &write(&file, b"abc", 3).await);
    stage.told("beyond", &write(&file, b"XYZ", 9).await);
    stage.saw("all", text(&file, 0).await);
    stage.saw("a part", text(&file, 5).await);
    let (n, buf) = file.read_at(Vec::with_capacity(1), 3).await;
    stage.told("one", &n);
    stage.saw("which", format!("{buf:?}"));
    stage.told("sync", &file.sync_all().await);
    stage.told("sync data", &file.sync_data().await);
    stage.told("close", &file.close().await);
}

async fn beyond_the_end(stage: Stage) {
    let file = open_rw(&stage, "file").await;
    let read = |offset| file.read_at(Vec::<u8>::with_capacity(4), offset);
    stage.told("of nothing", &read(0).await.0);
    stage.told("far beyond", &read(1 << 40).await.0);
    write(&file, b"end", 10).await.unwrap();
    stage.saw("with a hole", text(&file, 0).await);
    stage.told("at the end", &read(13).await.0);
    stage.told("behind it", &read(14).await.0);
    write(&file, b"page", 5000).await.unwrap();
    let all = fs::read(stage.path("file")).await.unwrap();
    stage.saw("length", all.len());
    stage.saw("hole", all[13..5000].iter().all(|byte| *byte == 0));
}

async fn offsets_that_are_none(stage: Stage) {
    let file = open_rw(&stage, "file").await;
    write(&file, b"some", 0).await.unwrap();
    for offset in [
        1 << 60,
        i64::MAX as u64 - 1,
        i64::MAX as u64,
        1 << 63,
        u64::MAX - 1,
    ] {
        let read = file.read_at(Vec::<u8>::with_capacity(4), offset).await.0;
        stage.told(format!("read at {offset:x}"), &read);
        stage.told(
            format!("write at {offset:x}"),
            &file.write_at("four", offset).await.0,
        );
    }
    stage.saw("unchanged", text(&file, 0).await);
}

async fn nothing_at_all(stage: Stage) {
    let file = open_rw(&stage, "file").await;
    stage.told("write", &file.write_at("", 0).await.0);
    stage.told("write beyond", &file.write_at("", 100).await.0);
    stage.told("append", &file.append("").await.0);
    stage.told("read", &file.read_at(Vec::<u8>::new(), 0).await.0);
    stage.told("length", &file.metadata().await.map(|found| found.len()));
    drop(file);
    let file = File::open(stage.path("file")).await.unwrap();
    stage.told("write to one that is read", &file.write_at("", 0).await.0);
}

async fn what_a_file_was_opened_for(stage: Stage) {
    let path = stage.path("file");
    let file = File::create(&path).await.unwrap();
    write(&file, b"first", 0).await.unwrap();
    stage.told(
        "read of a created one",
        &file.read_at(Vec::<u8>::with_capacity(4), 0).await.0,
    );
    let file = File::open(&path).await.unwrap();
    stage.told("write to an opened one", &file.write_at("x", 0).await.0);
    stage.told("append to an opened one", &file.append("x").await.0);
    stage.told("length of an opened one", &file.set_len(1).await);
    stage.told("sync of an opened one", &file.sync_all().await);
    stage.saw("unchanged", text(&file, 0).await);
    File::create(&path).await.unwrap();
    stage.saw("created again", text(&file, 0).await);
}

async fn at_the_end(stage: Stage) {
    let path = stage.path("log");
    let mut options = OpenOptions::new();
    options.append(true).create(true).read(true);
    let log = options.open(&path).await.unwrap();
    for record in ["a", "b", "c"] {
        stage.told(record, &log.append(record).await.0);
    }
    stage.told("the offset is ignored", &log.write_at("d", 0).await.0);
    let other = open_rw(&stage, "log").await;
    write(&other, b"far", 10).await.unwrap();
    stage.told("behind what others wrote", &log.append("e").await.0);
    stage.saw("all", text(&log, 0).await);
    log.set_len(2).await.unwrap();
    stage.told("behind a cut", &log.append("f").await.0);
    stage.saw("all again", text(&log, 0).await);
}

async fn an_append_at_the_position(stage: Stage) {
    let file = open_rw(&stage, "file").await;
    write(&file, b"0123456789", 0).await.unwrap();
    stage.told("the first", &file.append("a").await.0);
    stage.told("the second", &file.append("b").await.0);
    stage.saw("all", text(&file, 0).await);
    let again = open_rw(&stage, "file").await;
    stage.told("of another", &again.append("c").await.0);
    stage.saw("all again", text(&file, 0).await);
}

async fn lengths_are_set(stage: Stage) {
    let file = open_rw(&stage, "file").await;
    write(&file, b"0123456789", 0).await.unwrap();
    for len in [4, 4, 8, 0, 3] {
        stage.told(format!("to {len}"), &file.set_len(len).await);
        stage.saw("then", text(&file, 0).await);
    }
}

async fn lengths_that_are_none(stage: Stage) {
    let file = open_rw(&stage, "file").await;
    for len in [1 << 60, i64::MAX as u64, 1 << 63, u64::MAX] {
        stage.told(format!("{len:x}"), &file.set_len(len).await);
    }
    stage.told("length", &file.metadata().await.map(|found| found.len()));
}

async fn two_opens_of_one_file(stage: Stage) {
    let one = open_rw(&stage, "file").await;
    let other = open_rw(&stage, "file").await;
    write(&one, b"of one", 0).await.unwrap();
    stage.saw("seen by the other", text(&other, 0).await);
    let mut options = OpenOptions::new();
    options
        .write(true)
        .truncate(true)
        .open(stage.path("file"))
        .await
        .unwrap();
    stage.saw("emptied for both", text(&one, 0).await);
    write(&other, b"late", 2).await.unwrap();
    stage.saw("seen by one", text(&one, 0).await);
}

async fn a_directory_is_no_file(stage: Stage) {
    let path = stage.path("dir");
    fs::create_dir(&path).await.unwrap();
    let dir = File::open(&path).await.unwrap();
    stage.told("read", &dir.read_at(Vec::<u8>::with_capacity(4), 0).await.0);
    stage.told("write", &dir.write_at("x", 0).await.0);
    stage.told("length", &dir.set_len(0).await);
    stage.told("sync", &dir.sync_all().await);
    stage.told("sync data", &dir.sync_data().await);
    let found = dir.metadata().await.unwrap();
    stage.saw("kind", found.is_dir() && !found.is_file());
    stage.told("whole", &fs::read(&path).await);
    stage.told("write whole", &fs::write(&path, "x").await.0);
}

async fn metadata_of_files(stage: Stage) {
    let file = open_rw(&stage, "file").await;
    let seen = |label, found: io::Result<fs::Metadata>| {
        let found = found.map(|found| (found.len(), found.is_file(), found.is_dir()));
        stage.told(label, &found);
    };
    seen("empty", file.metadata().await);
    write(&file, b"12345", 3).await.unwrap();
    seen("by the file", file.metadata().await);
    seen("by its name", fs::metadata(stage.path("file")).await);
    let dir = fs::metadata(stage.path(".")).await;
    stage.told("of a directory", &dir.map(|found| found.is_dir()));
    let mut options = OpenOptions::new();
    options.write(true).create_new(true).mode(0o640);
    let secret = options.open(stage.path("secret")).await.unwrap();
    let mode = secret
        .metadata()
        .await
        .map(|found| format!("{:o}", found.mode()));
    stage.told("mode", &mode);
}

async fn times_go_on(stage: Stage) {
    let file = open_rw(&stage, "file").await;
    let before = file.metadata().await.unwrap().modified();
    sleep(Duration::from_millis(50)).await;
    let same = file.metadata().await.unwrap().modified();
    stage.saw("not by time", same == before);
    write(&file, b"x", 0).await.unwrap();
    let after = file.metadata().await.unwrap().modified();
    stage.saw("by a write", after > before);
    sleep(Duration::from_millis(50)).await;
    file.set_len(0).await.unwrap();
    stage.saw(
        "by a length",
        file.metadata().await.unwrap().modified() > after,
    );
    let passed = after.duration_since(before).unwrap();
    stage.saw("about as much", passed >= Duration::from_millis(30));
}

async fn whole_files(stage: Stage) {
    let path = stage.path("file");
    stage.told("missing", &fs::read(&path).await);
    let large = pattern(9, 300_000);
    stage.told("write", &fs::write(&path, large.clone()).await.0);
    stage.saw("read", fs::read(&path).await.unwrap() == large);
    stage.told("write less", &fs::write(&path, "less").await.0);
    stage.told("read less", &fs::read(&path).await);
    stage.told("write nothing", &fs::write(&path, "").await.0);
    stage.told("read nothing", &fs::read(&path).await);
}

async fn many_at_once(stage: Stage) {
    let file = open_rw(&stage, "file").await;
    let bytes = |n: u8| vec![n; 1000];
    let (one, two) = (bytes(1), bytes(2));
    zip(async { write(&file, &one, 0).await.unwrap() }, async {
        write(&file, &two, 1000).await.unwrap()
    })
    .await;
    let ok = fs::read(stage.path("file")).await.unwrap() == [one, two].concat();
    stage.saw("side by side", ok);
    // A sync covers what was written before it, also by a future that was dropped.
    drop(file.write_at("late", 2000));
    stage.told("sync", &file.sync_all().await);
    stage.told("length", &file.metadata().await.map(|found| found.len()));
}

async fn a_file_with_a_large_hole(stage: Stage) {
    let file = open_rw(&stage, "file").await;
    stage.told("write", &file.write_at("x", 1 << 31).await.0);
    stage.told("length", &file.set_len(1 << 32).await);
}
