//! Files: read and written at offsets, synced, closed; an error is not lost with its future.

mod common;

use std::fs::{self, Permissions};
use std::io::ErrorKind;
use std::os::fd::AsRawFd;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;

use corering::buffers::{AlignedBuf, IoBufExt};
use corering::fs::{File, OpenOptions};
use corering::runtime::stats;
use corering::task::yield_now;
use futures_lite::future::{poll_once, zip};
use futures_util::future::join_all;
use tempfile::TempDir;

use common::{alone, asleep_once, descriptors, errno, pattern, run, until};

/// A folder on disk.
fn folder() -> TempDir {
    tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("a folder")
}

fn folder_and_path() -> (TempDir, PathBuf) {
    let folder = folder();
    let path = folder.path().join("file");
    (folder, path)
}

#[test]
fn what_is_written_at_an_offset_is_read_there() {
    let (_folder, path) = folder_and_path();
    run(async {
        let file = File::create(&path).await.unwrap();
        let bytes = pattern(1, 100_000);
        let (n, back) = file.write_at(bytes.clone(), 0).await;
        assert_eq!((n.unwrap(), back.len()), (100_000, 100_000));
        let (n, _) = file.write_at("in between", 50_000).await;
        assert_eq!(n.unwrap(), 10);
        file.sync_all().await.unwrap();
        file.close().await.unwrap();

        let file = File::open(&path).await.unwrap();
        let (n, buf) = file.read_at(Vec::with_capacity(20), 49_990).await;
        assert_eq!((n.unwrap(), buf.len()), (20, 20));
        assert_eq!(&buf[..10], &bytes[49_990..50_000]);
        assert_eq!(&buf[10..], b"in between");
        let (n, buf) = file.read_at(buf, 99_995).await;
        assert_eq!((n.unwrap(), buf.len()), (5, 5), "up to the end");
        let (n, buf) = file.read_at(buf, 100_000).await;
        assert_eq!((n.unwrap(), buf.len()), (0, 0), "at the end");
        let (n, buf) = file.read_at(b"head ".to_vec().slice(..), 0).await;
        drop((n, buf));
    });
    let mut expected = pattern(1, 100_000);
    expected[50_000..50_010].copy_from_slice(b"in between");
    assert!(fs::read(&path).unwrap() == expected);
}

#[test]
fn several_reads_and_writes_may_be_in_flight() {
    let (_folder, path) = folder_and_path();
    run(async {
        let mut options = OpenOptions::new();
        let file = options.read(true).write(true).create(true).open(&path);
        let file = file.await.unwrap();
        let parts: Vec<_> = (0..50).map(|seed| pattern(seed, 4096)).collect();
        let writes = parts.iter().enumerate();
        let writes = writes.map(|(n, part)| file.write_at(part.clone(), n as u64 * 4096));
        for (n, _) in join_all(writes).await {
            assert_eq!(n.unwrap(), 4096);
        }
        let reads = (0..50).map(|n| file.read_at(vec![0; 4096], n * 4096));
        let read: Vec<_> = join_all(reads).await.into_iter().map(|r| r.1).collect();
        assert!(read == parts);
    });
}

#[test]
fn a_direct_read_fills_an_aligned_buffer() {
    let (_folder, path) = folder_and_path();
    fs::write(&path, pattern(1, 8192)).unwrap();
    run(async {
        let mut options = OpenOptions::new();
        let open = options.read(true).custom_flags(libc::O_DIRECT).open(&path);
        let Ok(file) = open.await else {
            println!("skipped: this file system has no direct reads");
            return;
        };
        let (n, buf) = file.read_at(AlignedBuf::zeroed(4096, 4096), 4096).await;
        assert_eq!(n.unwrap(), 4096);
        assert!(buf[..] == pattern(1, 8192)[4096..]);
    });
}

#[test]
fn options_are_those_of_std() {
    let folder = folder();
    let at = |name: &str| folder.path().join(name);
    let kind = |result: std::io::Result<File>| result.unwrap_err().kind();
    run(async {
        assert_eq!(kind(File::open(at("none")).await), ErrorKind::NotFound);
        assert_eq!(
            kind(OpenOptions::new().open(at("x")).await),
            ErrorKind::InvalidInput
        );
        let mut nothing_to_write = OpenOptions::new();
        nothing_to_write.read(true).create(true);
        assert_eq!(
            kind(nothing_to_write.open(at("x")).await),
            ErrorKind::InvalidInput
        );
        assert_eq!(kind(File::open("a\0b").await), ErrorKind::InvalidInput);
        let mut new = OpenOptions::new();
        new.write(true).create_new(true).mode(0o640);
        let file = new.open(at("new")).await.unwrap();
        file.write_at("0123456789", 0).await.0.unwrap();
        assert_eq!(kind(new.open(at("new")).await), ErrorKind::AlreadyExists);
        let mode = fs::metadata(at("new")).unwrap().permissions().mode();
        assert_eq!(mode & 0o777 & !0o640, 0);
        let mut plain = OpenOptions::new();
        plain.write(true).open(at("new")).await.unwrap();
        assert_eq!(fs::read(at("new")).unwrap().len(), 10, "nothing was lost");
        File::create(at("new")).await.unwrap();
        assert_eq!(fs::read(at("new")).unwrap().len(), 0);
        assert_eq!(
            kind(File::open(at("new").join("below")).await),
            ErrorKind::NotADirectory
        );
        fs::set_permissions(at("new"), Permissions::from_mode(0o600)).unwrap();
    });
}

#[test]
fn what_a_file_was_not_opened_for_fails() {
    let (_folder, path) = folder_and_path();
    run(async {
        let written = File::create(&path).await.unwrap();
        let (n, buf) = written.read_at(Vec::with_capacity(10), 0).await;
        assert_eq!((errno(n), buf.capacity()), (libc::EBADF, 10));
        let read = File::open(&path).await.unwrap();
        let (n, buf) = read.write_at("text", 0).await;
        assert_eq!((errno(n), buf), (libc::EBADF, "text"));
        let (n, _) = read.read_at(Vec::new(), 0).await;
        assert_eq!(n.unwrap_err().kind(), ErrorKind::InvalidInput);
        // An error that was reported is not reported again.
        read.sync_all().await.unwrap();
        read.close().await.unwrap();
    });
}

#[test]
fn a_dropped_write_runs_to_its_end() {
    let (_folder, path) = folder_and_path();
    run(async {
        let file = File::create(&path).await.unwrap();
        drop(file.write_at("never polled", 100));
        let mut write = Box::pin(file.write_at("dropped", 0));
        assert!(poll_once(&mut write).await.is_none());
        drop(write);
        file.sync_all().await.unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"dropped");
        let mut write = Box::pin(file.write_at("DROPPED", 0));
        assert!(poll_once(&mut write).await.is_none());
        drop(write);
        file.close().await.unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"DROPPED");
    });
}

#[test]
fn a_write_of_a_dropped_file_runs_to_its_end() {
    let (_folder, path) = folder_and_path();
    run(async {
        let file = File::create(&path).await.unwrap();
        let bytes = pattern(1, 1 << 20);
        let mut write = Box::pin(file.write_at(bytes.clone(), 0));
        assert!(poll_once(&mut write).await.is_none());
        drop(write);
        drop(file);
        until("it is written", || fs::read(&path).unwrap() == bytes).await;
    });
}

/// Submits a write that fails, and drops its future before or after it has failed.
async fn drop_a_failing_write(file: &File, completed: bool) {
    asleep_once().await;
    let in_flight = || stats().unwrap().in_flight;
    let before = in_flight();
    let mut write = Box::pin(file.write_at("text", 0));
    assert!(poll_once(&mut write).await.is_none());
    if completed {
        until("it has failed", || in_flight() == before).await;
    }
    drop(write);
}

#[test]
fn a_late_error_is_reported_once_by_the_next_sync_or_close() {
    let (_folder, path) = folder_and_path();
    fs::write(&path, "").unwrap();
    run(async {
        for completed in [false, true] {
            let file = File::open(&path).await.unwrap();
            drop_a_failing_write(&file, completed).await;
            assert_eq!(errno(file.sync_all().await), libc::EBADF);
            file.sync_all().await.unwrap();
            drop_a_failing_write(&file, completed).await;
            drop_a_failing_write(&file, completed).await;
            assert_eq!(errno(file.sync_data().await), libc::EBADF);
            drop_a_failing_write(&file, completed).await;
            assert_eq!(errno(file.close().await), libc::EBADF);
        }
    });
}

#[test]
fn a_dropped_read_discards_what_it_read_and_no_more() {
    let (_folder, path) = folder_and_path();
    fs::write(&path, pattern(1, 4096)).unwrap();
    run(async {
        let file = File::open(&path).await.unwrap();
        for _ in 0..20 {
            let mut read = Box::pin(file.read_at(vec![0; 4096], 0));
            assert!(poll_once(&mut read).await.is_none());
            drop(read);
        }
        let (n, buf) = file.read_at(vec![0; 4096], 0).await;
        assert_eq!(n.unwrap(), 4096);
        assert!(buf == pattern(1, 4096));
        file.close().await.unwrap();
    });
}

#[test]
fn a_dropped_open_leaves_no_descriptor() {
    alone(|| {
        let (_folder, path) = folder_and_path();
        fs::write(&path, "").unwrap();
        run(async {
            let before = descriptors();
            for turns in 0..4 {
                let mut open = Box::pin(File::open(&path));
                assert!(poll_once(&mut open).await.is_none());
                for _ in 0..turns {
                    yield_now().await;
                }
                drop(open);
            }
            until("all are closed", || descriptors() == before).await;
        });
    });
}

#[test]
fn a_file_is_closed_when_close_says_so_and_on_exec() {
    alone(|| {
        let (_folder, path) = folder_and_path();
        run(async {
            let before = descriptors();
            let file = File::create(&path).await.unwrap();
            let number = std::os::fd::AsFd::as_fd(&file).as_raw_fd();
            let info = fs::read_to_string(format!("/proc/self/fdinfo/{number}")).unwrap();
            let flags = info.lines().find_map(|l| l.strip_prefix("flags:")).unwrap();
            let flags = i32::from_str_radix(flags.trim(), 8).unwrap();
            assert_ne!(flags & libc::O_CLOEXEC, 0);
            let (a, b) = zip(file.write_at("a", 0), file.sync_data()).await;
            assert_eq!(a.0.unwrap(), 1);
            b.unwrap();
            file.close().await.unwrap();
            assert_eq!(descriptors(), before);
        });
    });
}
